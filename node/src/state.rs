//! A node's folder: where its configuration, keys and state are, and who may read them.
//!
//! ```text
//! node.toml                  configuration, edited by people
//! keys/identity.key          Ed25519 secret, hexadecimal
//! keys/tls.key               TLS private key, PEM
//! keys/tls.crt               its certificate, PEM
//! keys/authority.crt         the alliance's authority, PEM: the node trusts no other
//! state/roster.json          the roster that staff have confirmed; without it nothing is joined
//! state/roster.offered.json  what the coordinator last offered
//! state/ledger.sqlite        the privacy-budget ledger
//! state/studies.sqlite       studies and the steward's decisions
//! state/ephemeral/           keys of attempts that go on, a file each, of no use elsewhere: not for backups
//! state/witnessed.sqlite     the newest checkpoints of other nodes' ledgers
//! state/waits                for whom a running node waits to witness its ledger, in words; not there while it waits for nobody
//! state/identities.sqlite    what files of data sets contain, by their stamps; made again where it is lost
//! state/sizes.json           about how large data sets are, by which replies are timed
//! state/audience/            audiences, one file a study: customers by name, with their scores
//! state/contacts.sqlite      which customers, by pseudonym, were in which exported audience, and when
//! state/audience.lock        held while an audience is exported
//! state/serve.lock           held by a running node
//! ```

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use entente_host::Error;
use entente_host::files::{self, Lock, private_folder, write_private};
use entente_protocols::digest::Digest;
use entente_protocols::identity::{IdentityKey, Member, Roster};
use entente_protocols::ledger::Signer;
use entente_protocols::ledger::checkpoint::node_origin;
use rcgen::{KeyPair, PublicKeyData as _};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

/// Name and version of the software, as ledgers and the coordinator record it.
pub const SOFTWARE: &str = concat!("entente-node ", env!("CARGO_PKG_VERSION"));

/// Of a file that is written anew whenever it changes: another one has another stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    number: u64,
    length: u64,
    modified: SystemTime,
}

/// A node's folder.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `node.toml`.
    pub fn config(&self) -> PathBuf {
        self.0.join("node.toml")
    }

    /// A file in `keys/`.
    pub fn key(&self, name: &str) -> PathBuf {
        self.0.join("keys").join(name)
    }

    /// `state/`.
    pub fn state_folder(&self) -> PathBuf {
        self.0.join("state")
    }

    /// The folder of audiences.
    pub fn audiences(&self) -> PathBuf {
        self.state("audience")
    }

    /// A file in `state/`.
    pub fn state(&self, name: &str) -> PathBuf {
        self.0.join("state").join(name)
    }

    /// Makes the folders, readable by their owner alone.
    pub fn create(&self) -> Result<(), Error> {
        for folder in [self.0.clone(), self.0.join("keys"), self.0.join("state")] {
            private_folder(&folder)?;
        }
        Ok(())
    }

    /// For whom the node waits to witness its ledger, in words, as it was when it last ran.
    pub fn waits(&self) -> Option<String> {
        files::read_text(&self.state("waits")).ok()
    }

    /// Keeps that, or that it waits for nobody.
    pub fn keep_waits(&self, words: Option<&str>) -> Result<(), Error> {
        let path = self.state("waits");
        match words {
            Some(words) => write_private(&path, words.as_bytes()),
            None if files::exists(&path) => files::remove(&path),
            None => Ok(()),
        }
    }

    /// Whether a node has joined here.
    pub fn is_joined(&self) -> bool {
        files::exists(&self.key("tls.crt"))
    }

    /// Whether there is an identity, be it of a node that has not joined to the end.
    pub fn has_identity(&self) -> bool {
        files::exists(&self.key("identity.key"))
    }

    /// The identity key made by `join`.
    pub fn identity(&self) -> Result<IdentityKey, Error> {
        let path = self.key("identity.key");
        let text = Zeroizing::new(self.read(&path)?);
        let bytes = data_encoding::HEXLOWER.decode(text.trim().as_bytes()).ok().map(Zeroizing::new);
        let secret = bytes.and_then(|bytes| <[u8; 32]>::try_from(&bytes[..]).ok()).map(Zeroizing::new);
        let secret = secret.ok_or_else(|| {
            Error::refused(format!("{} is not an identity key", path.display()))
                .help("restore it from a backup, or join again with a new ticket")
        })?;
        Ok(IdentityKey::from_secret(&secret))
    }

    /// What the checkpoints of the ledger of `node`, this node, are signed with.
    pub fn signer(&self, node: &str) -> Result<Signer, Error> {
        Ok(Signer { origin: node_origin(self.authority()?, node), key: self.identity()? })
    }

    /// The fingerprint of the alliance's authority.
    pub fn authority(&self) -> Result<Digest, Error> {
        let path = self.key("authority.crt");
        let authority = CertificateDer::from_pem_slice(self.read(&path)?.as_bytes());
        let authority = authority.map_err(|_| {
            Error::refused(format!("{} is not a certificate", path.display())).help("restore it from a backup")
        })?;
        Ok(Digest::plain(&authority))
    }

    /// What a roster has to say of this node.
    pub fn member(&self) -> Result<Member, Error> {
        let path = self.key("tls.key");
        let key = KeyPair::from_pem(&Zeroizing::new(self.read(&path)?)).map_err(|_| {
            Error::refused(format!("{} is not a private key", path.display())).help("restore it from a backup")
        })?;
        Ok(Member { identity: self.identity()?.public(), tls: Digest::plain(&key.subject_public_key_info()) })
    }

    /// A text file of this folder; a missing one most likely means that the node has not joined.
    pub fn read(&self, path: &Path) -> Result<String, Error> {
        files::read_text(path).map_err(|error| match files::exists(path) || self.is_joined() {
            true => error,
            false => Error::refused(format!("no node has joined in {}", self.0.display()))
                .help(format!("run `entente-node join TICKET --dir {}` first", self.0.display())),
        })
    }

    /// The pinned roster, which staff have confirmed; `None` before the first.
    pub fn pinned_roster(&self) -> Result<Option<Roster>, Error> {
        read_roster(&self.state("roster.json"))
    }

    /// What tells whether the pinned roster's file is the one that was read before; `None` where there is none.
    #[expect(clippy::disallowed_methods, reason = "asked for on every message, where reading the file would be dear")]
    pub fn pinned_stamp(&self) -> Option<Stamp> {
        let file = std::fs::metadata(self.state("roster.json")).ok()?;
        #[cfg(unix)]
        let number = std::os::unix::fs::MetadataExt::ino(&file);
        #[cfg(not(unix))]
        let number = 0;
        Some(Stamp { number, length: file.len(), modified: file.modified().ok()? })
    }

    /// The roster the coordinator last offered.
    pub fn offered_roster(&self) -> Result<Option<Roster>, Error> {
        read_roster(&self.state("roster.offered.json"))
    }

    /// Pins a roster that staff have confirmed ([`crate::roster`]).
    pub fn pin(&self, roster: &Roster) -> Result<(), Error> {
        write_roster(&self.state("roster.json"), roster)
    }

    /// Keeps what the coordinator offers, for people to compare and accept.
    pub fn keep_offered(&self, roster: &Roster) -> Result<(), Error> {
        write_roster(&self.state("roster.offered.json"), roster)
    }

    /// Locks the folder for a running node. The lock ends with the process, however it ends.
    pub fn lock(&self) -> Result<Lock, Error> {
        self.lock_file("serve.lock", "a node is already running", "stop it first")
    }

    /// Locks the audiences for an export, beside a running node or without one.
    pub fn lock_audiences(&self) -> Result<Lock, Error> {
        self.lock_file("audience.lock", "another audience is being exported", "try again when it is done")
    }

    fn lock_file(&self, name: &str, held: &str, advice: &str) -> Result<Lock, Error> {
        let lock = files::lock_file(&self.state(name))?;
        lock.ok_or_else(|| Error::refused(format!("{held} in {}", self.0.display())).help(advice))
    }

    /// Keys everything that must not be comparable outside this node (snapshots, units): derived from the identity.
    pub fn local_secret(&self, purpose: &str) -> Result<Digest, Error> {
        let identity = self.identity()?;
        Ok(Digest::of("entente node local secret 1", &[purpose.as_bytes(), &identity.secret()[..]]))
    }
}

fn read_roster(path: &Path) -> Result<Option<Roster>, Error> {
    let Some(bytes) = files::read_if_there(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Error::failed(format!("{} is damaged ({error})", path.display()))
            .help("compare fingerprints with the other partners, then `entente-node roster --accept` writes it anew")
    })
}

fn write_roster(path: &Path, roster: &Roster) -> Result<(), Error> {
    let json = serde_json::to_vec_pretty(roster).map_err(|error| Error::failed(error.to_string()))?;
    write_private(path, &json)
}
