//! Checkpoints: what a node states of its whole ledger, signed by it and cosigned by witnesses.
//!
//! A checkpoint is a note in the form of C2SP's tlog-checkpoint (<https://c2sp.org/tlog-checkpoint>): the log's origin, the number
//! of entries, the root of the Merkle tree over them ([`super::tree`]), then lines of our own, which other tools pass over:
//!
//! ```text
//! entente/5aa0…/bank
//! 12
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! head 7c1f…                                             hash of the last entry
//! version 4                                              of the entries' form
//! population client spent 40000 person 360000 cap 1250000  cumulative ρ, in micro-units
//! year client:2027 spent 40000 person 360000 cap 1250000   the same of a year, without what is charged to all time
//! away telecom until 2027-01-05                          a witness that the node does not wait for, if there is one
//! ```
//!
//! Ledgers from before there were populations have a `dataset` for each data set; its line stays, with cap 0, when that is carried over.
//!
//! The text is a function of the entries alone. A ledger has one checkpoint of each size: it is signed anew after a restart with the
//! same bytes, and two of one size that differ show a fork.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use super::absence::{Absence, is_day};
use super::account::{AccountKey, YearKey};
use super::note::{Note, NoteError, SignatureLine};
use crate::digest::Digest;
use crate::identity::{IdentityKey, PublicIdentity, check_name};
use crate::privacy::rho::Rho;

/// The version of the entries' form.
pub const ENTRIES: u32 = 4;

/// The name under which the node called `node` signs its checkpoints and cosigns others'.
pub fn node_origin(authority: Digest, node: &str) -> String {
    format!("entente/{authority}/{node}")
}

/// The name under which the coordinator cosigns. No node has it.
pub fn coordinator_origin(authority: Digest) -> String {
    format!("entente/{authority}")
}

/// Where an account stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Σρ of the charges, each in its study's scope.
    pub spent: Rho,
    /// Σ of the losses to a person who may be a customer of every participant.
    pub person: Rho,
    /// What may be spent.
    pub cap: Rho,
}

/// What a checkpoint states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Whose log it is.
    pub origin: String,
    /// The number of entries.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Digest,
    /// The hash of the last one; zeroes where there is none.
    pub head: Digest,
    /// The accounts.
    pub accounts: BTreeMap<AccountKey, Totals>,
    /// The witnesses that are away on the latest day of an entry, by name.
    pub away: Vec<Absence>,
}

impl Statement {
    /// The text that is signed.
    pub fn text(&self) -> String {
        let Self { origin, size, root, head, accounts, away } = self;
        let root = data_encoding::BASE64.encode(&root.0);
        let mut text = format!("{origin}\n{size}\n{root}\nhead {head}\nversion {ENTRIES}\n");
        for (account, Totals { spent, person, cap }) in accounts {
            let kind = match account {
                AccountKey::Dataset(_) => "dataset",
                AccountKey::Population(_) => "population",
                AccountKey::Year(_) => "year",
            };
            let (spent, person, cap) = (spent.micro(), person.micro(), cap.micro());
            // Writing into a string does not fail.
            let _ = writeln!(text, "{kind} {} spent {spent} person {person} cap {cap}", account.name());
        }
        for Absence { partner, until } in away {
            let _ = writeln!(text, "away {partner} until {until}");
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (origin, size, root) = (lines.next()?.to_owned(), lines.next()?.parse().ok()?, lines.next()?);
        let root = Digest(data_encoding::BASE64.decode(root.as_bytes()).ok()?.try_into().ok()?);
        let head = lines.next()?.strip_prefix("head ")?.parse().ok()?;
        lines.next()?.strip_prefix("version ")?;
        let (mut accounts, mut away) = (BTreeMap::new(), BTreeMap::new());
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            if let ["away", partner, "until", until] = words[..] {
                if check_name(partner).is_err() || !is_day(until) {
                    return None;
                }
                away.insert(partner.to_owned(), until.to_owned());
                continue;
            }
            let [kind, name, "spent", spent, "person", person, "cap", cap] = words[..] else { return None };
            let account = match kind {
                "dataset" => AccountKey::Dataset(name.into()),
                "population" => AccountKey::Population(name.into()),
                "year" => AccountKey::Year(YearKey::parse(name)?),
                _ => return None,
            };
            let rho = |digits: &str| digits.parse().ok().map(Rho::from_micro);
            let totals = Totals { spent: rho(spent)?, person: rho(person)?, cap: rho(cap)? };
            if !account.is_valid() {
                return None;
            }
            accounts.insert(account, totals);
        }
        let away = away.into_iter().map(|(partner, until)| Absence { partner, until }).collect();
        let statement = Self { origin, size, root, head, accounts, away };
        // One text for one statement: no sign, leading zero, order or version but ours.
        (statement.text() == text).then_some(statement)
    }
}

/// Whose ledger it is: what checkpoints are signed with.
pub struct Signer {
    /// The log's name ([`node_origin`]).
    pub origin: String,
    /// The node's identity.
    pub key: IdentityKey,
}

/// A signed statement, with cosignatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    statement: Statement,
    note: Note,
}

impl Checkpoint {
    /// Signs a statement in the name of its origin.
    ///
    /// # Errors
    ///
    /// A statement with too many accounts for a note.
    pub fn sign(statement: Statement, key: &IdentityKey) -> Result<Self, NoteError> {
        let mut note = Note::new(statement.text())?;
        note.sign(&statement.origin, key);
        Ok(Self { statement, note })
    }

    /// Reads a checkpoint. Its signature is not verified yet.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let note = Note::parse(text)?;
        let statement = Statement::parse(note.text()).ok_or(NoteError("its text is not a checkpoint's"))?;
        Ok(Self { statement, note })
    }

    /// What it states.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The note.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Whether it is the node's that signs as `origin` with `identity`.
    pub fn is_of(&self, origin: &str, identity: &PublicIdentity) -> bool {
        self.statement.origin == origin && self.note.is_signed_by(origin, identity)
    }

    /// Adds a cosignature that was verified.
    pub fn add(&mut self, cosignature: SignatureLine) {
        self.note.add(cosignature);
    }

    /// The cosignatures, verified or not.
    pub fn cosignatures(&self) -> impl Iterator<Item = &SignatureLine> {
        self.note.signatures().iter().skip(1)
    }

    /// The same without cosignatures.
    #[must_use]
    pub fn bare(&self) -> String {
        let own: String = self.note.signatures().first().map(|line| format!("{line}\n")).unwrap_or_default();
        format!("{}\n{own}", self.note.text())
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

/// A checkpoint as a line of JSON, as exports and witnesses' files have it: its note.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckpointLine {
    pub(super) checkpoint: String,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn statement(size: u64) -> Statement {
        let totals = |micro| Totals {
            spent: Rho::from_micro(micro),
            person: Rho::from_micro(9 * micro),
            cap: Rho::from_micro(1_250_000),
        };
        Statement {
            origin: node_origin(Digest([0x5a; 32]), "bank"),
            size,
            root: Digest([1; 32]),
            head: Digest([2; 32]),
            accounts: [
                (AccountKey::Dataset("clients".into()), totals(40_000)),
                (AccountKey::Dataset("purchases".into()), totals(0)),
                (AccountKey::Population("客户".into()), totals(40_000)),
                (AccountKey::Year(YearKey::new("客户", 2027)), totals(10_000)),
            ]
            .into(),
            away: vec![Absence { partner: "telecom".into(), until: "2027-01-05".into() }],
        }
    }

    #[test]
    fn a_checkpoint_is_read_as_it_is_written() {
        let key = IdentityKey::from_secret(&[7; 32]);
        let checkpoint = Checkpoint::sign(statement(12), &key).unwrap();
        assert_eq!(Checkpoint::parse(&checkpoint.to_string()).unwrap(), checkpoint);
        assert!(checkpoint.is_of(&statement(12).origin, &key.public()));
        assert!(!checkpoint.is_of("entente/other", &key.public()));
        assert!(!checkpoint.is_of(&statement(12).origin, &IdentityKey::from_secret(&[8; 32]).public()));
        assert_eq!(checkpoint.bare(), checkpoint.to_string());
        let again = Checkpoint::sign(statement(12), &key).unwrap();
        assert_eq!(again, checkpoint, "the same bytes");
    }

    #[test]
    fn a_statement_has_one_text() {
        let good = statement(12).text();
        assert_eq!(Statement::parse(&good), Some(statement(12)));
        for (from, to) in [
            ("\n12\n", "\n012\n"),
            ("\n12\n", "\n+12\n"),
            ("version 4", "version 5"),
            ("spent 40000", "spent 040000"),
            ("clients", "cli ents"),
            ("dataset clients", "dataset zlients"),
            ("dataset clients", "population zlients"),
            ("dataset purchases", "data purchases"),
            ("population 客户", "population 客\u{3000}户"),
            ("population 客户", "dataset 客户"),
            ("year 客户:2027", "year 客户:27"),
            ("year 客户:2027", "year 客户"),
            ("year 客户:2027", "population 客户"),
            ("dataset clients", "dataset 1lients"),
            ("head 02", "head 0"),
            (" cap 1250000\n", " cap 1250000 \n"),
            ("until 2027-01-05", "until 2027-02-30"),
            ("until 2027-01-05", "until 2027-1-5"),
            ("away telecom", "away Telecom"),
            ("until 2027-01-05\n", "until 2027-01-05\naway bank until 2027-01-05\n"),
            ("head", "heads"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert_eq!(Statement::parse(&bad), None, "{to}");
        }
    }
}
