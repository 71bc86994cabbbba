//! Files for what does not fit into memory: words or bytes in, the same out, gone when dropped.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many words go through memory at a time.
const CHUNK: usize = 8 << 10;

/// A file that only this process can reach: readable by its user alone, and without a name where the system allows
/// that, so that nothing is left behind even by a crash.
#[derive(Debug)]
pub(crate) struct SpillFile {
    file: File,
    bytes: u64,
    /// Whose turn it is to read at a place, where the system does not read at places.
    #[cfg(not(unix))]
    turn: std::sync::Mutex<()>,
    /// Still to be removed.
    path: Option<PathBuf>,
}

impl SpillFile {
    /// Makes an empty file in `folder`, and the folder if it is not there.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(folder)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{}-{number}.spill", std::process::id()));
            match options.open(&path) {
                // Left over by a process that had this one's id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
                Ok(file) => {
                    let removed = cfg!(unix) && fs::remove_file(&path).is_ok();
                    return Ok(Self {
                        file,
                        bytes: 0,
                        #[cfg(not(unix))]
                        turn: std::sync::Mutex::default(),
                        path: (!removed).then_some(path),
                    });
                }
            }
        }
    }

    /// What has been written.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes words behind those that are there.
    pub(super) fn append(&mut self, words: &[i64]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(8 * CHUNK);
        self.file.seek(SeekFrom::Start(self.bytes))?;
        for chunk in words.chunks(CHUNK) {
            bytes.clear();
            bytes.extend(chunk.iter().flat_map(|word| word.to_le_bytes()));
            self.file.write_all(&bytes)?;
            self.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    /// Writes bytes behind those that are there, and says where they begin.
    pub(super) fn append_bytes(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let at = self.file.seek(SeekFrom::Start(self.bytes))?;
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(at)
    }

    /// Fills `bytes` with what begins at byte `at`. Several threads may do so at once.
    pub(super) fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_exact_at(&self.file, bytes, at);
        #[cfg(not(unix))]
        {
            let _turn = entente_host::locks::lock(&self.turn);
            let mut file = &self.file;
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(bytes)
        }
    }

    /// Reads everything, `width` words at a time.
    pub(super) fn read(&mut self, width: usize, mut f: impl FnMut(&[i64])) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        let mut bytes = vec![0; 8 * width * (CHUNK / width).max(1)];
        let mut words = Vec::with_capacity(bytes.len() / 8);
        let mut left = self.bytes;
        while left > 0 {
            let length = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.file.read_exact(&mut bytes[..length])?;
            left -= length as u64;
            words.clear();
            let read = bytes[..length].as_chunks::<8>().0;
            words.extend(read.iter().map(|word| i64::from_le_bytes(*word)));
            words.chunks_exact(width).for_each(&mut f);
        }
        Ok(())
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Nothing can be done about a failure; the folder is swept when a node starts.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_and_nothing_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = SpillFile::create(folder.path()).unwrap();
        let words: Vec<i64> = (0..30_000).collect();
        file.append(&words[..9_000]).unwrap();
        file.append(&words[9_000..]).unwrap();
        for _ in 0..2 {
            let mut read = Vec::new();
            file.read(3, |entry| read.extend_from_slice(entry)).unwrap();
            assert_eq!(read, words);
        }
        drop(file);
        let mut file = SpillFile::create(folder.path()).unwrap();
        assert_eq!((file.append_bytes(b"one").unwrap(), file.append_bytes(b"three").unwrap()), (0, 3));
        let mut read = [0; 5];
        file.read_at(3, &mut read).unwrap();
        assert_eq!(&read, b"three");
        assert!(file.read_at(4, &mut read).is_err(), "past the end");
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
