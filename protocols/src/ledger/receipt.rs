//! Receipts: what came of a study, signed by the coordinator and by every participant.
//!
//! ```text
//! coordinator: Subject ─▶ result.json names its hash ─▶ Statement = Subject + hashes of all files ── Finished ─▶ nodes
//! node: RELEASED is recorded ─▶ Part = its checkpoints before and after, its signature       ◀── Closed ──
//! receipt.json = Statement, the coordinator's signature, the parts
//! ```
//!
//! **Hashes.** The receipt names every file of the result by its SHA-256; `result.json` and `model.json` name the SHA-256 of the
//! receipt's subject, which says what was asked of whom and under which transcripts, and does not depend on them.
//!
//! **Form.** What is hashed and signed is JSON without white space, keys in the order of their bytes, and no number but small whole
//! ones ([`canonical`]); the file itself is the same JSON, indented by two spaces. So there is one file for one receipt.
//!
//! **Before and after.** A node's checkpoint before is of its ledger when it joined, the one after includes all that it recorded of
//! the study. Both are notes that it has signed; what witnesses saw of them is in its ledger's export.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, coordinator_origin, node_origin};
use super::note::NoteError;
use super::report::Report;
use crate::digest::Digest;
use crate::identity::{IdentityKey, PublicIdentity, Roster, Signature};
use crate::kind::Kind;
use crate::privacy::rho::Rho;

const FORMAT: &str = "entente-receipt";
const VERSION: u32 = 1;
const STATEMENT_LABEL: &str = "entente receipt 1";
const PART_LABEL: &str = "entente receipt part 1";
/// The longest statement that a node looks at, in bytes.
pub const MAX_STATEMENT: usize = 1 << 20;

/// A round of a study. Fields of all types here stand in the order of their names, as [`canonical`] has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// The attempt it was summed in.
    pub attempt: u32,
    /// Whether stored vectors were sent again, at no charge.
    pub repeated: bool,
    /// The charge, in the study's scope.
    pub rho: Rho,
    /// The loss of a person who may be a customer of every participant.
    pub rho_person: Rho,
    /// Its number, counted from 1.
    pub round: u32,
    /// Hash of the transcript that all participants had signed.
    pub transcript_sha256: Digest,
}

/// What a study was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The alliance's name.
    pub alliance: String,
    /// The attempt that gave the result.
    pub attempt: u32,
    /// Fingerprint of the alliance's authority.
    pub authority: Digest,
    /// Study kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Who took part in the attempt, sorted.
    pub participants: Vec<String>,
    /// Hash of the canonical plan.
    pub plan_sha256: Digest,
    /// Its purpose.
    pub purpose: String,
    /// Who asked.
    pub requester: String,
    /// Its rounds.
    pub rounds: Vec<Round>,
    /// Its identifier.
    pub study: String,
}

impl Subject {
    /// What results name it by.
    pub fn digest(&self) -> Digest {
        Digest::plain(canonical(self).as_bytes())
    }
}

/// What the coordinator states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// SHA-256 of every file of the result, by name.
    pub files: BTreeMap<String, Digest>,
    /// When the result was there, RFC 3339.
    pub finished: String,
    /// What was done.
    pub subject: Subject,
}

impl Statement {
    /// Hash of its canonical form: what is signed.
    pub fn digest(&self) -> Digest {
        Digest::plain(canonical(self).as_bytes())
    }

    /// Hash of `result.json`.
    pub fn result(&self) -> Option<Digest> {
        self.files.get("result.json").copied()
    }
}

/// A participant's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its checkpoint when it has recorded the end, a note.
    pub after: String,
    /// Its checkpoint when it joined, a note.
    pub before: String,
    /// Its identity key.
    pub identity: PublicIdentity,
    /// Its name.
    pub node: String,
    /// Its signature over these and the statement.
    pub signature: Signature,
}

/// Why a participant's part of a receipt does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// The key is not that of the participant.
    #[error("it has another identity key")]
    Identity,
    /// Something else was signed.
    #[error("its signature is not over this statement")]
    Signature,
    /// A checkpoint that is not in the form of one.
    #[error("its checkpoint {which}: {error}")]
    Checkpoint {
        /// `before` or `after`.
        which: &'static str,
        /// What is wrong with it.
        error: NoteError,
    },
    /// A checkpoint of another log or key.
    #[error("it has not signed its checkpoint {which}")]
    NotSigned {
        /// `before` or `after`.
        which: &'static str,
    },
    /// What ledgers never do.
    #[error("its ledger is shorter after the study than before, or has spent less")]
    Shorter,
}

#[derive(Serialize)]
struct Signed<'a> {
    after: &'a str,
    before: &'a str,
    node: &'a str,
    statement_sha256: Digest,
}

impl Part {
    /// Signs a statement together with one's checkpoints.
    pub fn sign(statement: &Statement, node: &str, key: &IdentityKey, before: String, after: String) -> Self {
        let identity = key.public();
        let signed = Signed { after: &after, before: &before, node, statement_sha256: statement.digest() };
        let signature = key.sign(PART_LABEL, canonical(&signed).as_bytes());
        Self { after, before, identity, node: node.into(), signature }
    }

    /// Without which witnesses its ledger went on, in words, if its checkpoints say so.
    fn away(&self) -> Option<String> {
        let of = |note: &String| Some(Checkpoint::parse(note).ok()?.statement().away.clone());
        let mut away: Vec<String> =
            [&self.before, &self.after].into_iter().filter_map(of).flatten().map(|away| away.to_string()).collect();
        away.dedup();
        (!away.is_empty()).then(|| format!("for {}, {}", self.node, away.join(", ")))
    }

    /// Checks the part of a participant with this identity.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn verify(&self, statement: &Statement, identity: &PublicIdentity) -> Result<(), PartError> {
        let Self { after, before, node, signature, .. } = self;
        if self.identity != *identity {
            return Err(PartError::Identity);
        }
        let signed = Signed { after, before, node, statement_sha256: statement.digest() };
        if !identity.verify(PART_LABEL, canonical(&signed).as_bytes(), signature) {
            return Err(PartError::Signature);
        }
        let origin = node_origin(statement.subject.authority, node);
        let checkpoint = |note: &str, which: &'static str| {
            let parsed = Checkpoint::parse(note).map_err(|error| PartError::Checkpoint { which, error })?;
            if parsed.is_of(&origin, identity) { Ok(parsed) } else { Err(PartError::NotSigned { which }) }
        };
        let (before, after) = (checkpoint(before, "before")?, checkpoint(after, "after")?);
        let (before, after) = (before.statement(), after.statement());
        let shrinks = before.accounts.iter().any(|(name, before)| {
            after.accounts.get(name).is_none_or(|after| after.spent < before.spent || after.person < before.person)
        });
        if after.size < before.size || shrinks {
            return Err(PartError::Shorter);
        }
        Ok(())
    }
}

/// The coordinator's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coordinator {
    /// Its identity key.
    pub identity: PublicIdentity,
    /// Over the statement.
    pub signature: Signature,
}

impl Coordinator {
    /// Signs a statement.
    pub fn sign(statement: &Statement, key: &IdentityKey) -> Self {
        Self { identity: key.public(), signature: key.sign(STATEMENT_LABEL, canonical(statement).as_bytes()) }
    }
}

/// A receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The coordinator.
    pub coordinator: Coordinator,
    /// `entente-receipt`.
    pub format: String,
    /// The participants, by name.
    pub nodes: Vec<Part>,
    /// What they sign.
    pub statement: Statement,
    /// 1.
    pub version: u32,
}

/// What is hashed and signed of a value: JSON without white space, keys in the order of their bytes.
pub fn canonical(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("these types have string keys and no failing serialisers")
}

/// Why a text is not a receipt, or not a receipt's statement.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// Not a statement, or not in its canonical form.
    #[error("it is not a receipt's statement")]
    Statement,
    /// It is not JSON, or has other fields.
    #[error("it is not a receipt: {0}")]
    Malformed(serde_json::Error),
    /// Another format, or a later version.
    #[error("{format} version {version} is not known here")]
    Version {
        /// The format that it names.
        format: String,
        /// The version.
        version: u32,
    },
    /// It says the same in another way.
    #[error("it is not written as receipts are: something was changed")]
    Changed,
}

/// Reads a statement that a coordinator has sent, in its canonical form.
///
/// # Errors
///
/// If it is not a receipt's statement.
pub fn parse_statement(text: &str) -> Result<Statement, ReceiptError> {
    let statement = Some(text).filter(|text| text.len() <= MAX_STATEMENT);
    let statement = statement.and_then(|text| serde_json::from_str::<Statement>(text).ok());
    statement.filter(|statement| canonical(statement) == text).ok_or(ReceiptError::Statement)
}

impl Receipt {
    /// With the parts that are there.
    pub fn new(statement: Statement, coordinator: Coordinator, mut nodes: Vec<Part>) -> Self {
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        Self { coordinator, format: FORMAT.into(), nodes, statement, version: VERSION }
    }

    /// The content of `receipt.json`.
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("these types have string keys and no failing serialisers") + "\n"
    }

    /// Reads a `receipt.json`.
    ///
    /// # Errors
    ///
    /// If it is not a receipt, or is not in a receipt's form.
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        let receipt: Self = serde_json::from_str(text).map_err(ReceiptError::Malformed)?;
        if receipt.format != FORMAT || receipt.version != VERSION {
            return Err(ReceiptError::Version { format: receipt.format, version: receipt.version });
        }
        if receipt.text() != text {
            return Err(ReceiptError::Changed);
        }
        Ok(receipt)
    }
}

/// Whether a file is a receipt, rather than a ledger.
pub fn is_receipt(text: &str) -> bool {
    text.starts_with("{\n")
}

/// Checks a receipt: its form, the coordinator's signature, and every participant's, with its checkpoints. With a roster, that they
/// are who it says.
pub fn verify_receipt(text: &str, roster: Option<&Roster>) -> (Report, Option<Receipt>) {
    let mut report = Report::default();
    let receipt = match Receipt::parse(text) {
        Ok(receipt) => receipt,
        Err(problem) => {
            report.note("format", Err(problem.to_string()));
            return (report, None);
        }
    };
    let Receipt { coordinator, nodes, statement, .. } = &receipt;
    let subject = &statement.subject;
    report.note("format", Ok(format!("{FORMAT} version {VERSION} of study {}", subject.study)));
    if let Some(roster) = roster {
        let same = roster.authority == subject.authority && roster.coordinator == coordinator.identity;
        let problem = "the coordinator is not the one in the roster".to_owned();
        report.note("coordinator", if same { Ok(coordinator_origin(roster.authority)) } else { Err(problem) });
    }
    let signed = coordinator.identity.verify(STATEMENT_LABEL, canonical(statement).as_bytes(), &coordinator.signature);
    let problem = "it does not verify: the statement is not as it was signed".to_owned();
    report.note("coordinator's signature", if signed { Ok("over the statement".into()) } else { Err(problem) });
    report.note("participants", participants(statement, nodes, roster));
    let away: Vec<String> = nodes.iter().filter_map(Part::away).collect();
    if !away.is_empty() {
        report.note("witnesses that are away", Ok(away.join("; ")));
    }
    let rho: Rho = subject.rounds.iter().filter(|round| !round.repeated).map(|round| round.rho).sum();
    let numbers: Vec<u32> = subject.rounds.iter().map(|round| round.round).collect();
    let in_order = !numbers.is_empty() && numbers.iter().copied().eq(1..=numbers.len() as u32);
    let rounds =
        if in_order { Ok(format!("{}, charged ρ = {rho}", numbers.len())) } else { Err("some are missing".into()) };
    report.note("rounds", rounds);
    (report, Some(receipt))
}

fn participants(statement: &Statement, nodes: &[Part], roster: Option<&Roster>) -> Result<String, String> {
    let names = &statement.subject.participants;
    for name in names {
        let parts: Vec<&Part> = nodes.iter().filter(|part| part.node == *name).collect();
        let [part] = parts[..] else {
            return Err(format!(
                "{name} has not signed it; its node signs when it comes back: entente study show ID --out RESULTS"
            ));
        };
        let identity = match roster {
            None => part.identity,
            Some(roster) => roster.members.get(name).ok_or_else(|| format!("{name} is not in the roster"))?.identity,
        };
        part.verify(statement, &identity).map_err(|problem| format!("{name}: {problem}"))?;
    }
    if nodes.len() > names.len() {
        return Err("somebody has signed it who took no part".into());
    }
    Ok(format!("{} have signed it, each with its checkpoints before and after", names.join(", ")))
}

/// Checks the files of a result folder against its receipt, by name, and that `result.json` names the receipt.
pub fn verify_files(report: &mut Report, statement: &Statement, files: &BTreeMap<String, Vec<u8>>) {
    for (name, digest) in &statement.files {
        let result = match files.get(name) {
            None => Err(format!("{name} is not there")),
            Some(content) if Digest::plain(content) == *digest => continue,
            Some(_) => Err(format!("{name} is not the one that the receipt names: it was changed")),
        };
        report.note("files", result);
    }
    let others = files.keys().filter(|name| !statement.files.contains_key(*name) && *name != "receipt.json");
    let others: Vec<&str> = others.map(String::as_str).collect();
    let others = if others.is_empty() { String::new() } else { format!("; not covered: {}", others.join(", ")) };
    report.note("files", Ok(format!("{} named by the receipt{others}", statement.files.len())));
    #[derive(Deserialize)]
    struct Names {
        receipt_sha256: Digest,
    }
    let named = files.get("result.json").and_then(|result| serde_json::from_slice::<Names>(result).ok());
    let same = named.is_some_and(|named| named.receipt_sha256 == statement.subject.digest());
    let problem = "result.json does not name this receipt's subject".to_owned();
    report.note("result names receipt", if same { Ok("by its subject's hash".into()) } else { Err(problem) });
}

#[cfg(test)]
mod tests;
