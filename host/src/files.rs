//! Files and folders that only their owner can read, written whole or not at all.
//!
//! ```text
//! new ─▶ .NAME.PID-N.new, 0600, locked ─ write ─ sync ─ rename ─ sync the folder ─▶ NAME
//! ```
//!
//! When a call returns, the content is on the disk under its name, even after a loss of power. Readers see the old
//! content or the new, also where two processes write the same file at once. What a killed writer leaves behind is
//! removed by the next one.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::Error;

/// A file that appears under its name once it is complete and on the disk, in the place of what was there.
pub struct NewFile {
    file: File,
    /// Where it is until it is complete.
    beside: PathBuf,
    path: PathBuf,
    placed: bool,
}

/// Tells apart what one process writes at once.
static NUMBER: AtomicU64 = AtomicU64::new(0);
const END: &str = ".new";

impl NewFile {
    /// Begins the file that will be at `path`, readable by its owner alone.
    ///
    /// # Errors
    ///
    /// If no file can be made there.
    pub fn private(path: &Path) -> io::Result<Self> {
        Self::begin(path, 0o600)
    }

    /// Begins the file that will be at `path`, with the user's usual permissions.
    ///
    /// # Errors
    ///
    /// If no file can be made there.
    pub fn public(path: &Path) -> io::Result<Self> {
        Self::begin(path, 0o666)
    }

    fn begin(path: &Path, mode: u32) -> io::Result<Self> {
        // A link stays one: the file that it leads to is replaced.
        let is_link = fs::symlink_metadata(path).is_ok_and(|there| there.is_symlink());
        let path = &if is_link { fs::canonicalize(path)? } else { path.to_owned() };
        let name = path.file_name();
        let name = name.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "this is not the path of a file"))?;
        // A folder or a device such as /dev/null is not to be replaced.
        if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let mut start = OsString::from(".");
        start.push(name);
        start.push(".");
        remove_leftovers(folder_of(path), &start);
        start.push(format!("{}-{}{END}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
        let beside = path.with_file_name(start);
        let file = with_mode(mode).write(true).create_new(true).open(&beside)?;
        // Shows that a writer is at work. Where the file system has no locks, nothing is ever taken for a leftover.
        let _ = file.try_lock();
        Ok(Self { file, beside, path: path.to_owned(), placed: false })
    }

    /// Puts it under its name.
    ///
    /// # Errors
    ///
    /// If it cannot be written or renamed; then it is gone, and what was there before stays.
    pub fn place(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.beside, &self.path)?;
        self.placed = true;
        // The name, too, has to outlive a loss of power.
        sync(folder_of(&self.path))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.placed {
            // Nothing can be done about a failure.
            let _ = fs::remove_file(&self.beside);
        }
    }
}

/// Removes unfinished files whose writer is gone: nobody holds their lock.
fn remove_leftovers(folder: &Path, start: &OsStr) {
    // A folder that cannot be listed can still be written to.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(start.as_encoded_bytes()) && name.ends_with(END.as_bytes()) {
            // Whatever else has such a name was not left by a writer, and opening it may wait for ever.
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            if is_file && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a folder's entries to the disk.
fn sync(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    match File::open(folder)?.sync_all() {
        // Some network file systems do not support this.
        Err(error) if !matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => return Err(error),
        _ => {}
    }
    let _ = folder;
    Ok(())
}

/// Options to open a file, which gets this mode if it is made.
pub(crate) fn with_mode(mode: u32) -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let _ = mode;
    options
}

/// Writes a file that only its owner can read.
///
/// # Errors
///
/// If it cannot be written; then what was there before stays.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), Error> {
    write(NewFile::private(path), path, content)
}

/// Writes a file with the user's usual permissions.
///
/// # Errors
///
/// If it cannot be written; then what was there before stays.
pub fn write_public(path: &Path, content: &[u8]) -> Result<(), Error> {
    write(NewFile::public(path), path, content)
}

fn write(new: io::Result<NewFile>, path: &Path, content: &[u8]) -> Result<(), Error> {
    let written = new.and_then(|mut file| {
        file.write_all(content)?;
        file.place()
    });
    written.map_err(|error| Error::file("write", path, &error))
}

/// Makes an empty file that only its owner can read. One that exists is left as it is.
///
/// # Errors
///
/// If it can be neither made nor opened.
pub fn create_private(path: &Path) -> io::Result<()> {
    with_mode(0o600).write(true).create(true).truncate(false).open(path).map(drop)
}

/// Reads a file.
///
/// # Errors
///
/// If it cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| Error::file("read", path, &error))
}

/// Reads a file; `None` where there is none.
///
/// # Errors
///
/// If it is there and cannot be read.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("read", path, &error)),
    }
}

/// Reads a file as text.
///
/// # Errors
///
/// If it cannot be read, or is not text.
pub fn read_text(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|error| Error::file("read", path, &error))
}

/// Reads a file that another one names: as seen from where the command runs, else beside the other one.
///
/// # Errors
///
/// In words, if it cannot be read.
pub fn read_named_in(other: &Path, name: &str) -> Result<Vec<u8>, String> {
    let here = Path::new(name);
    let beside = other.parent().unwrap_or(Path::new("")).join(name);
    let found = if here.exists() { here } else { &beside };
    fs::read(found).map_err(|error| format!("{} cannot be read: {error}", here.display()))
}

/// Whether something is there, as far as can be told.
pub fn exists(path: &Path) -> bool {
    path.exists()
}

/// Whether a folder is there.
pub fn is_folder(path: &Path) -> bool {
    path.is_dir()
}

/// Removes a file.
///
/// # Errors
///
/// If it is not there or cannot be removed.
pub fn remove(path: &Path) -> Result<(), Error> {
    fs::remove_file(path).map_err(|error| Error::file("remove", path, &error))
}

/// Removes a folder with all that is in it, if it is there.
///
/// # Errors
///
/// If something of it cannot be removed.
pub fn remove_folder(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file("remove", path, &error)),
        _ => Ok(()),
    }
}

/// Makes a folder that only its owner can enter; an existing one is closed to others. Folders above it that have to be
/// made are private as well.
///
/// # Errors
///
/// If it cannot be made, or its permissions cannot be changed.
pub fn private_folder(path: &Path) -> Result<(), Error> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| Error::file("make the folder", path, &error))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let closed = fs::metadata(path).and_then(|folder| match folder.permissions().mode() & 0o077 {
            0 => Ok(()),
            _ => fs::set_permissions(path, PermissionsExt::from_mode(0o700)),
        });
        closed.map_err(|error| Error::file("restrict access to", path, &error))?;
    }
    Ok(())
}

/// The lock of a file. It ends when this is dropped, or with the process, however that ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock of a file, which is made if it is not there; `None` where another process holds it.
///
/// # Errors
///
/// If the file cannot be made or locked.
pub fn lock_file(path: &Path) -> Result<Option<Lock>, Error> {
    let file = with_mode(0o600).read(true).write(true).create(true).truncate(false).open(path);
    let file = file.map_err(|error| Error::file("open", path, &error))?;
    // `is_locked` holds it for an instant: a few attempts.
    for _ in 0..10 {
        match file.try_lock() {
            Ok(()) => return Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(30)),
            Err(TryLockError::Error(error)) => return Err(Error::file("lock", path, &error)),
        }
    }
    Ok(None)
}

/// Whether a process holds the lock of a file.
///
/// # Errors
///
/// If the file is there and cannot be looked at.
pub fn is_locked(path: &Path) -> Result<bool, Error> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        file => file.map_err(|error| Error::file("open", path, &error))?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(Error::file("lock", path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[cfg(unix)]
    fn mode(path: &Path) -> u32 {
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777
    }

    #[test]
    fn what_is_not_there_is_none_and_what_cannot_be_read_is_an_error() {
        let place = tempfile::tempdir().unwrap();
        let (folder, file) = (place.path().join("folder"), place.path().join("folder").join("file"));
        assert_eq!(read_if_there(&file).unwrap(), None);
        remove_folder(&folder).unwrap();
        let why = remove(&file).unwrap_err().to_string();
        assert!(read(&file).is_err() && why.contains(&file.display().to_string()), "{why}");
        private_folder(&folder).unwrap();
        write_private(&file, b"x").unwrap();
        assert_eq!((read(&file).unwrap(), read_if_there(&file).unwrap()), (b"x".to_vec(), Some(b"x".to_vec())));
        assert!(read_if_there(&folder).is_err() && remove_folder(&file).is_err(), "the wrong way round");
        assert!(is_folder(&folder) && !is_folder(&file) && exists(&file));
        remove_folder(&folder).unwrap();
        assert!(!exists(&folder));
    }

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        write_private(&path, b"old").unwrap();
        let mut new = NewFile::private(&path).unwrap();
        new.write_all(b"half").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(new);
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"old".to_vec(), vec!["keys".to_owned()]));
        write_private(&path, b"new").unwrap();
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"new".to_vec(), vec!["keys".to_owned()]));
        let nowhere = write_private(&folder.path().join("none/keys"), b"").unwrap_err();
        assert!(nowhere.exit_code() == 1 && nowhere.to_string().starts_with("could not write"), "{nowhere}");
        assert_eq!(write_private(Path::new("/"), b"").unwrap_err().exit_code(), 1);
    }

    #[test]
    #[cfg(unix)]
    fn a_link_stays_one_and_what_it_leads_to_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, b"old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_public(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        fs::remove_file(&file).unwrap();
        assert_eq!(write_public(&link, b"new").unwrap_err().exit_code(), 1, "it leads nowhere");
    }

    #[test]
    #[cfg(unix)]
    fn a_device_or_a_folder_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        for path in [Path::new("/dev/null"), folder.path()] {
            let refused = write_public(path, b"x").unwrap_err();
            assert!(refused.exit_code() == 1 && refused.to_string().contains("not a regular file"), "{refused}");
        }
    }

    #[test]
    fn two_who_write_the_same_file_do_not_mix_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roster");
        let (mut one, mut other) = (NewFile::private(&path).unwrap(), NewFile::private(&path).unwrap());
        one.write_all(b"one").unwrap();
        other.write_all(b"the other").unwrap();
        one.place().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        other.place().unwrap();
        assert_eq!((fs::read(&path).unwrap(), names(folder.path()).len()), (b"the other".to_vec(), 1));
    }

    #[test]
    fn the_next_writer_removes_what_a_killed_one_left_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (leftover, others) = (".audience.1-0.new", [".audience", ".other.1-0.new", "audience.1-0.new"]);
        for name in others.iter().chain([&leftover]) {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        write_private(&folder.path().join("audience"), b"").unwrap();
        let mut expected: Vec<&str> = others.iter().copied().chain(["audience"]).collect();
        expected.sort_unstable();
        assert_eq!(names(folder.path()), expected);
    }

    #[test]
    #[cfg(unix)]
    fn what_is_private_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (inner, open) = (folder.path().join("a/b"), folder.path().join("open"));
        private_folder(&inner).unwrap();
        assert_eq!((mode(&inner), mode(&folder.path().join("a"))), (0o700, 0o700));
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        private_folder(&open).unwrap();
        assert_eq!(mode(&open), 0o700);
        for (name, make) in [("w", NewFile::private as fn(&Path) -> _), ("p", NewFile::public)] {
            make(&inner.join(name)).unwrap().place().unwrap();
        }
        create_private(&inner.join("c")).unwrap();
        drop(lock_file(&inner.join("l")).unwrap());
        assert!(["w", "c", "l"].iter().all(|name| mode(&inner.join(name)) == 0o600));
        assert_eq!(mode(&inner.join("p")) & 0o600, 0o600);
        fs::write(inner.join("c"), "content").unwrap();
        create_private(&inner.join("c")).unwrap();
        assert_eq!(read_text(&inner.join("c")).unwrap(), "content");
    }

    #[test]
    fn a_lock_is_one_process_s_and_others_can_see_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serve.lock");
        assert!(!is_locked(&path).unwrap() && !path.exists());
        let held = lock_file(&path).unwrap().unwrap();
        assert!(is_locked(&path).unwrap() && lock_file(&path).unwrap().is_none());
        drop(held);
        assert!(!is_locked(&path).unwrap() && lock_file(&path).unwrap().is_some());
    }
}
