//! Secrets of attempts' ephemeral keys: a file an attempt in `state/ephemeral`, so that what is deleted is gone. A database keeps
//! old pages in its log for as long as it likes.
//!
//! A file is sealed by XChaCha20-Poly1305 under a key in the system's runtime directory, which is in memory and ends with the
//! machine. So a disk or a copy of this folder gives nobody the keys of attempts, be they over or not; and a machine that is started
//! anew has lost them, which ends the attempts that still need theirs. Where there is no runtime directory, the key lies beside the
//! files: then deleting is overwriting and no more than that.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use entente_host::Error;
use entente_host::files::{private_folder, read_if_there, write_private};
use entente_host::random::{random, random_secret};
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::secagg::pledge::EphemeralKey;
use jiff::Timestamp;
use tracing::warn;
use zeroize::Zeroizing;

/// The oldest a key is. It is made when its node pledges to take part; then other partners' stewards have a week.
pub const OLDEST: Duration = Duration::from_secs(14 * 24 * 3600);
const NONCE: usize = 24;
/// Bytes of a file: nonce, secret and the cipher's tag.
const LENGTH: usize = NONCE + 32 + 16;
/// The wrapping key where the system has no runtime directory.
const BESIDE: &str = "key";

/// The ephemeral keys of this node's attempts.
pub struct EphemeralStore {
    folder: PathBuf,
    cipher: XChaCha20Poly1305,
}

impl EphemeralStore {
    /// Opens the folder; makes it, and the wrapping key, where there is none.
    ///
    /// # Errors
    ///
    /// If they can be neither read nor made.
    pub fn open(folder: &Path, runtime: Option<&Path>) -> Result<Self, Error> {
        private_folder(folder)?;
        let path = match runtime {
            Some(runtime) => {
                let folder = fs::canonicalize(folder).map_err(|error| failed(folder, error))?;
                let name = Digest::of("entente ephemeral folder 1", &[folder.as_os_str().as_encoded_bytes()]);
                // What lay beside the files before there was a runtime directory opens nothing any more.
                delete(&folder.join(BESIDE));
                runtime.join(format!("entente-{}.key", name.short()))
            }
            None => folder.join(BESIDE),
        };
        let has_files = fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some());
        if has_files && !path.exists() {
            warn!(
                folder = %folder.display(),
                "the key that seals the keys of attempts is not there any more: attempts that this node had joined and not computed end"
            );
        }
        Ok(Self { folder: folder.to_owned(), cipher: XChaCha20Poly1305::new(&Key::from(*wrapping_key(&path)?)) })
    }

    /// Makes an attempt's key, whose age is counted from `now`. It is on the disk when this returns; one that was there
    /// is replaced.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn make(&self, id: &AttemptId, now: Timestamp) -> Result<EphemeralKey, Error> {
        let (secret, nonce) = (random_secret()?, random::<NONCE>()?);
        let payload = Payload { msg: &secret[..], aad: &bound(id).0 };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| Error::failed("an ephemeral key could not be sealed"))?;
        let path = self.path(id);
        write_private(&path, &[&nonce[..], &sealed].concat())?;
        // By the clock that its age is read from as well.
        let dated = OpenOptions::new().write(true).open(&path).and_then(|file| file.set_modified(now.into()));
        dated.map_err(|error| failed(&path, error))?;
        Ok(EphemeralKey::from_secret(*secret))
    }

    /// An attempt's key; `None` if it is gone.
    ///
    /// # Errors
    ///
    /// If the file is there and cannot be read.
    pub fn get(&self, id: &AttemptId) -> Result<Option<EphemeralKey>, Error> {
        let path = self.path(id);
        let Some(bytes) = read_if_there(&path)? else { return Ok(None) };
        let opened = bytes.split_first_chunk::<NONCE>().and_then(|(nonce, sealed)| {
            let payload = Payload { msg: sealed, aad: &bound(id).0 };
            self.cipher.decrypt(&XNonce::from(*nonce), payload).ok().map(Zeroizing::new)
        });
        // Sealed under the key of another start of the machine.
        let secret = opened.and_then(|secret| <[u8; 32]>::try_from(&secret[..]).ok());
        Ok(secret.map(EphemeralKey::from_secret))
    }

    /// Deletes an attempt's key, if there is one.
    pub fn remove(&self, id: &AttemptId) {
        delete(&self.path(id));
    }

    /// Deletes the keys of other attempts than these, unless they were made in the `last` while before `now`, and of
    /// all that are too old.
    pub fn keep(&self, attempts: &[AttemptId], last: Duration, now: Timestamp) {
        let now = SystemTime::from(now);
        let kept: HashSet<PathBuf> = attempts.iter().map(|id| self.path(id)).collect();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            // By a clock that was set back, a file is of the future; it is looked at again.
            let age =
                entry.metadata().and_then(|file| file.modified()).ok().and_then(|made| now.duration_since(made).ok());
            let most = if kept.contains(&path) { OLDEST } else { last };
            if !path.ends_with(BESIDE) && age.is_some_and(|age| age >= most) {
                delete(&path);
            }
        }
    }

    fn path(&self, id: &AttemptId) -> PathBuf {
        self.folder.join(bound(id).to_string())
    }
}

/// What a file is of.
fn bound(id: &AttemptId) -> Digest {
    Digest::of("entente ephemeral key 1", &[id.study.as_bytes(), &id.number.to_le_bytes()])
}

fn wrapping_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, Error> {
    let kept = read_if_there(path)?.map(Zeroizing::new);
    if let Some(key) = kept.and_then(|bytes| <[u8; 32]>::try_from(&bytes[..]).ok()) {
        return Ok(Zeroizing::new(key));
    }
    let key = random_secret()?;
    write_private(path, &key[..])?;
    Ok(key)
}

fn delete(path: &Path) {
    let overwritten = OpenOptions::new().write(true).open(path).and_then(|mut file: File| {
        file.write_all(&[0; LENGTH])?;
        file.sync_data()
    });
    match overwritten.and_then(|()| fs::remove_file(path)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            warn!(path = %path.display(), %error, "an ephemeral key could not be deleted; it is tried again");
        }
        _ => {}
    }
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use entente_host::clock::now;

    use super::*;

    fn id(number: u32) -> AttemptId {
        AttemptId::new("s", number)
    }

    #[test]
    fn a_key_survives_a_restart_of_the_process_and_not_one_of_the_machine() {
        let (disk, runtime) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let open = || EphemeralStore::open(&disk.path().join("ephemeral"), Some(runtime.path())).unwrap();
        let made = open().make(&id(1), now()).unwrap().public();
        assert!(open().get(&id(1)).unwrap().is_some_and(|key| key.public() == made));
        assert!(open().get(&id(2)).unwrap().is_none());
        // Under another attempt's name it is nothing.
        let path = |number| open().path(&id(number));
        fs::copy(path(1), path(2)).unwrap();
        assert!(open().get(&id(2)).unwrap().is_none());
        for entry in fs::read_dir(runtime.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        assert!(open().get(&id(1)).unwrap().is_none());
    }

    #[test]
    fn what_is_not_kept_is_gone_with_and_without_a_runtime_directory() {
        let runtime = tempfile::tempdir().unwrap();
        for runtime in [None, Some(runtime.path())] {
            let disk = tempfile::tempdir().unwrap();
            let store = EphemeralStore::open(disk.path(), runtime).unwrap();
            (1..=3).for_each(|number| drop(store.make(&id(number), now()).unwrap()));
            let second = fs::read(store.path(&id(2))).unwrap();
            assert_eq!(second.len(), LENGTH);
            store.remove(&id(2));
            store.keep(&[], Duration::from_secs(3600), now());
            assert!(store.get(&id(1)).unwrap().is_some(), "it was made just now");
            store.keep(&[id(3)], Duration::ZERO, now());
            let left: Vec<PathBuf> = fs::read_dir(disk.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
            let all = usize::from(runtime.is_none()) + 1;
            assert!(left.contains(&store.path(&id(3))) && left.len() == all, "{left:?}");
            assert!(store.get(&id(3)).unwrap().is_some() && store.get(&id(1)).unwrap().is_none());
        }
    }
}
