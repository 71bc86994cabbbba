//! Evaluation keys of models whose scores are put into buckets: 23 MB each, kept by both sides.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use entente_host::Error;
use entente_host::files::{private_folder, read, remove, write_private};
use entente_host::locks::lock;
use entente_protocols::canonical::{canonical_bytes, from_canonical};
use entente_protocols::digest::Digest;
use entente_protocols::lookalike::buckets::message::EvaluationKey;
use entente_protocols::lookalike::buckets::owner::EvaluationSecret;
use tracing::warn;
use zeroize::Zeroizing;

use crate::state::Folder;

/// The most keys of others that are kept: who has models scored elsewhere is not to fill this disk.
const GIVEN: usize = 16;
/// The most keys of this node's own models that are kept in memory.
const OWN: usize = 4;

/// The keys that other partners gave to this node, by digest, as files of its folder.
#[derive(Clone, Debug)]
pub struct GivenKeys(PathBuf);

impl GivenKeys {
    /// Those in a node's folder.
    pub fn of(folder: &Folder) -> Self {
        Self(folder.state("evaluation-keys"))
    }

    /// The key of this digest, if it is here and whole.
    pub fn get(&self, digest: Digest) -> Option<EvaluationKey> {
        let bytes = read(&self.file(digest)).ok()?;
        let key: EvaluationKey = from_canonical(&bytes, EvaluationKey::LIMIT).ok()?;
        (key.fits() && key.digest() == digest).then_some(key)
    }

    /// Keeps a key. Where there are too many, the oldest goes.
    pub fn put(&self, key: &EvaluationKey) -> Result<(), Error> {
        private_folder(&self.0)?;
        write_private(&self.file(key.digest()), &canonical_bytes(key))?;
        let entries = fs::read_dir(&self.0).map_err(|error| Error::file("read", &self.0, &error))?;
        let dated = entries.flatten().filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())));
        let mut files: Vec<_> = dated.filter(|(_, path)| path.extension().is_some_and(|kind| kind == "key")).collect();
        files.sort();
        for (_, path) in files.iter().take(files.len().saturating_sub(GIVEN)) {
            if let Err(error) = remove(path) {
                warn!(%error, "an old evaluation key stays");
            }
        }
        Ok(())
    }

    fn file(&self, digest: Digest) -> PathBuf {
        self.0.join(format!("{digest}.key"))
    }
}

/// The keys of this node's models towards each candidates' owner, who all have others. They come out of the node's secret
/// every time, so that none need be on the disk; making one takes seconds.
#[derive(Default)]
pub struct OwnKeys(Mutex<HashMap<(Digest, String), Arc<OwnKey>>>);

/// One of them. No `Debug`.
pub struct OwnKey {
    secret: EvaluationSecret,
    made: OnceLock<(Digest, Vec<u8>)>,
}

impl OwnKeys {
    /// The key of the model with this file towards this candidates' owner.
    pub fn of(&self, folder: &Folder, model: Digest, candidates: &str) -> Result<Arc<OwnKey>, Error> {
        let mut keys = lock(&self.0);
        let name = (model, candidates.to_owned());
        if let Some(key) = keys.get(&name) {
            return Ok(key.clone());
        }
        let key = Arc::new(OwnKey::new(secret(folder, model, candidates)?));
        if keys.len() >= OWN {
            keys.clear();
        }
        keys.insert(name, key.clone());
        Ok(key)
    }
}

/// What a key comes out of: another for each model and each candidates' owner.
fn secret(folder: &Folder, model: Digest, candidates: &str) -> Result<Zeroizing<[u8; 32]>, Error> {
    let secret = folder.local_secret(&format!("evaluation key 1 of model {model} for {candidates}"))?;
    Ok(Zeroizing::new(secret.0))
}

impl OwnKey {
    /// Of a secret that serves for nothing else.
    pub fn new(secret: Zeroizing<[u8; 32]>) -> Self {
        Self { secret: EvaluationSecret::new(secret), made: OnceLock::new() }
    }

    pub(super) fn secret(&self) -> &EvaluationSecret {
        &self.secret
    }

    /// Its digest.
    pub(super) fn digest(&self) -> Digest {
        self.made().0
    }

    /// Its canonical bytes, for whoever evaluates.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.made().1
    }

    fn made(&self) -> &(Digest, Vec<u8>) {
        self.made.get_or_init(|| {
            let key = self.secret.key();
            (key.digest(), canonical_bytes(&key))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of the right size.
    fn key(fill: u8) -> EvaluationKey {
        let key = EvaluationKey { masks: [fill; 32], bootstrap: vec![fill; 22_560_768], packing: vec![fill; 270_336] };
        assert!(key.fits());
        key
    }

    #[test]
    fn a_key_is_kept_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let keys = GivenKeys::of(&Folder::new(folder.path()));
        let mut key = key(1);
        let digest = key.digest();
        assert!(keys.get(digest).is_none());
        keys.put(&key).unwrap();
        assert!(keys.get(digest) == Some(key.clone()));
        // A file that was changed is as none.
        let mut bytes = fs::read(keys.file(digest)).unwrap();
        bytes[1000] ^= 1;
        fs::write(keys.file(digest), bytes).unwrap();
        assert!(keys.get(digest).is_none());
        // The folder does not grow without end.
        for masks in 0..=GIVEN as u8 {
            key.masks = [masks; 32];
            keys.put(&key).unwrap();
        }
        assert_eq!(fs::read_dir(&keys.0).unwrap().count(), GIVEN);
        assert!(keys.get(key.digest()).is_some(), "the newest stays");
    }

    #[test]
    fn each_candidates_owner_has_another_key_and_always_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder::new(folder.path());
        folder.create().unwrap();
        write_private(&folder.key("identity.key"), "07".repeat(32).as_bytes()).unwrap();
        let secret = |model: u8, partner: &str| secret(&folder, Digest([model; 32]), partner).unwrap();
        assert_eq!(secret(1, "bank"), secret(1, "bank"), "after a restart as well");
        assert!(secret(1, "bank") != secret(1, "telecom") && secret(1, "bank") != secret(2, "bank"));
        let keys = OwnKeys::default();
        let of = |partner: &str| keys.of(&folder, Digest([1; 32]), partner).unwrap();
        assert!(Arc::ptr_eq(&of("bank"), &of("bank")) && !Arc::ptr_eq(&of("bank"), &of("telecom")));
    }
}
