//! What a file is: its contents, found out once, and its stamp, by which a change is seen without reading it.

use std::fs::{self, File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use entente_host::locks::lock;
use entente_protocols::digest::{Digest, PlainSum};

use super::error::{FilesError, unreadable};
use crate::data::error::DataError;

/// What is hashed by itself, so that several threads can.
const PIECE: u64 = 16 << 20;
const BUFFER: usize = 1 << 20;
/// Longer than file systems take for two changes to have different times: how old a stamp has to be before a file is read for its
/// contents. Whoever writes after that leaves another stamp; whoever wrote before is read.
pub const TICK: Duration = Duration::from_millis(20);

/// What changes when somebody writes to a file or puts another one in its place. The time of its last change of any kind (ctime) is
/// the system's own: whoever sets the time of modification back changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The file system it is in.
    pub device: u64,
    /// Its number there.
    pub number: u64,
    /// Its size.
    pub bytes: u64,
    /// When its contents were changed last, in nanoseconds.
    pub modified: i64,
    /// When anything about it was changed last, in nanoseconds.
    pub changed: i64,
}

impl Stamp {
    /// Of a file as it is now.
    pub(super) fn of(path: &Path) -> Result<Self, FilesError> {
        Ok(Self::from(&fs::metadata(path).map_err(|error| unreadable(path, &error))?))
    }
}

#[cfg(unix)]
impl From<&Metadata> for Stamp {
    fn from(file: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let time = |seconds: i64, nanoseconds: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
        Self {
            device: file.dev(),
            number: file.ino(),
            bytes: file.len(),
            modified: time(file.mtime(), file.mtime_nsec()),
            changed: time(file.ctime(), file.ctime_nsec()),
        }
    }
}

/// A file with its stamp.
#[derive(Clone, Debug)]
pub struct Stamped {
    /// Where it is.
    pub path: PathBuf,
    /// What it is now.
    pub stamp: Stamp,
}

/// What came of looking for a file's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Their hash.
    Are(Digest),
    /// Somebody has written to it since the stamp was taken: there is nothing that it is.
    Moved,
}

impl Stamped {
    /// The hash of all its bytes, of which so many threads read a piece each. The stamp is older than a [`TICK`]: a change in the same
    /// one as that which made it could not be told from it.
    pub fn contents(&self, threads: usize) -> Result<Contents, DataError> {
        let pieces = self.hashes(threads).map_err(|error| unreadable(&self.path, &error))?;
        if Stamp::of(&self.path)? != self.stamp {
            return Ok(Contents::Moved);
        }
        let size = self.stamp.bytes.to_le_bytes();
        let parts: Vec<&[u8]> = std::iter::once(&size[..]).chain(pieces.iter().map(|piece| &piece.0[..])).collect();
        Ok(Contents::Are(Digest::of("entente file 1", &parts)))
    }

    fn hashes(&self, threads: usize) -> std::io::Result<Vec<Digest>> {
        let count = usize::try_from(self.stamp.bytes.div_ceil(PIECE)).unwrap_or(usize::MAX);
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || -> std::io::Result<()> {
            let (mut file, mut buffer) = (File::open(&self.path)?, vec![0; BUFFER]);
            loop {
                let piece = next.fetch_add(1, Ordering::Relaxed);
                if piece >= count {
                    return Ok(());
                }
                let digest = hash(&mut file, piece as u64 * PIECE, &mut buffer)?;
                lock(&done).push((piece, digest));
            }
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (1..threads.min(count)).map(|_| scope.spawn(work)).collect();
            let own = work();
            workers.into_iter().map(|worker| worker.join().expect("hashing does not panic")).fold(own, Result::and)
        })?;
        let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        done.sort_by_key(|(piece, _)| *piece);
        Ok(done.into_iter().map(|(_, digest)| digest).collect())
    }
}

fn hash(file: &mut File, start: u64, buffer: &mut [u8]) -> std::io::Result<Digest> {
    file.seek(SeekFrom::Start(start))?;
    let (mut sum, mut rest) = (PlainSum::default(), file.take(PIECE));
    loop {
        match rest.read(buffer)? {
            0 => return Ok(sum.finish()),
            read => sum.add(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, Stamped) {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("a.csv"), bytes).unwrap();
        let path = place.path().join("a.csv");
        let stamped = Stamped { stamp: Stamp::of(&path).unwrap(), path };
        (place, stamped)
    }

    #[test]
    fn contents_do_not_depend_on_threads_and_every_byte_counts() {
        let mut bytes: Vec<u8> = (0..PIECE * 2 + 5).map(|at| (at % 251) as u8).collect();
        let (_place, whole) = file(&bytes);
        let contents = whole.contents(1).unwrap();
        assert_eq!(whole.contents(3).unwrap(), contents);
        let mut others = vec![contents];
        for at in [0, PIECE as usize, bytes.len() - 1] {
            bytes[at] ^= 1;
            let (_place, changed) = file(&bytes);
            others.push(changed.contents(2).unwrap());
        }
        assert!(others.iter().all(|one| others.iter().filter(|other| *other == one).count() == 1), "{others:?}");
    }

    /// Somebody who sets the time of modification back is found out by the time that nobody can set.
    #[test]
    fn the_same_size_and_time_of_modification_do_not_hide_a_change() {
        let (_place, before) = file(b"x\n1\n");
        let modified = fs::metadata(&before.path).unwrap().modified().unwrap();
        thread::sleep(TICK);
        fs::write(&before.path, b"x\n2\n").unwrap();
        File::options().write(true).open(&before.path).unwrap().set_modified(modified).unwrap();
        let after = Stamp::of(&before.path).unwrap();
        assert_eq!((after.bytes, after.modified, after.number), {
            let Stamp { bytes, modified, number, .. } = before.stamp;
            (bytes, modified, number)
        });
        assert_ne!(after, before.stamp);
        assert_eq!(before.contents(1).unwrap(), Contents::Moved);
    }
}
