//! Verification of an exported ledger: pure functions that trust nobody who wrote it.
//!
//! The export is JSON lines: a [`Header`]; every entry as `{"hash": …, "entry": …}`, the entry's text exactly as hashed; the
//! checkpoints that were kept as `{"checkpoint": "…"}`, each a note with cosignatures, the last over all entries; what the node was
//! shown and does not go on from as `{"sighting": …}`; and `{"seal": "…"}`, the node's signature over the SHA-256 of the lines before it other than entries.
//!
//! What was changed, dropped, added or moved in an export is found: in an entry, as its hash is that of its exact text, the next entry
//! names it, and the last checkpoint, which is under the seal, states the hash of the last one and how many there are; in another
//! line, by the seal. So every byte is hashed once. What a node changes in its own ledger before it exports it
//! shows in the checkpoints that others have cosigned or hold ([`super::outside`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::absence::Away;
use super::chain::Chain;
use super::checkpoint::{Checkpoint, CheckpointLine, Signer, node_origin};
use super::entry::Record;
use super::error::LedgerError;
use super::line::Line;
use super::note::verifier;
use super::office::Sighting;
use super::outside::{Answered, Of, Outside, verdict, witness_key};
use super::read::Text;
use super::recompute::Recompute;
use super::report::{Facts, Report};
use super::requesters::Requesters;
use super::store::{Store, StoreError};
use crate::digest::{Digest, PlainSum};
use crate::identity::{PublicIdentity, Roster, Signature};

/// The first line of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// `entente-ledger`.
    pub format: String,
    /// 5.
    pub version: u32,
    /// The node's name.
    pub node: String,
    /// The log's name, as in its checkpoints.
    pub origin: String,
    /// Its identity key.
    pub identity: PublicIdentity,
    /// The same as tools of transparency logs take it.
    pub verifier: String,
    /// `1e-6`: integers named ρ are in this unit.
    pub rho_unit: String,
}

const FORMAT: &str = "entente-ledger";
const VERSION: u32 = 5;
/// How the lines of checkpoints and sightings begin; those of entries begin otherwise.
const CHECKPOINT: &str = "{\"checkpoint\"";
const SIGHTING: &str = "{\"sighting\"";
const SEAL_LABEL: &str = "entente ledger export 5";

#[derive(Serialize)]
struct EntryLine<'a> {
    hash: Digest,
    entry: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SightingLine {
    sighting: Sighting,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealLine {
    seal: Signature,
}

/// What the seal is over: the header, the checkpoints and the sightings, each with its line's end.
fn seal_message<'a>(lines: impl IntoIterator<Item = &'a str>) -> Digest {
    let mut sum = PlainSum::default();
    for line in lines {
        sum.add(line.as_bytes());
        sum.add(b"\n");
    }
    sum.finish()
}

/// Writes a store's content as an export, with a checkpoint over all of it and the node's seal.
pub fn export(node: &str, signer: &Signer, store: &impl Store) -> Result<String, LedgerError> {
    let identity = signer.key.public();
    let header = Header {
        format: FORMAT.into(),
        version: VERSION,
        node: node.into(),
        origin: signer.origin.clone(),
        identity,
        verifier: verifier(&signer.origin, &identity),
        rho_unit: "1e-6".into(),
    };
    let infallible = "these types have string keys and no failing serialisers";
    let mut sealed = vec![serde_json::to_string(&header).expect(infallible)];
    let mut text = format!("{}\n", sealed[0]);
    let mut chain = Chain::default();
    for line in store.entries()? {
        let damaged =
            |error: serde_json::Error| StoreError { what: "read", why: format!("an entry is not JSON: {error}") };
        let entry: &RawValue = serde_json::from_str(&line.json).map_err(damaged)?;
        text += &serde_json::to_string(&EntryLine { hash: line.hash, entry }).expect(infallible);
        text += "\n";
        // What does not verify is exported all the same, for people to see; the last checkpoint is then over what does.
        let _ = chain.check::<Text>(line.as_deref());
    }
    let last = Checkpoint::sign(chain.statement(&signer.origin), &signer.key)?;
    let mut checkpoints = store.checkpoints()?;
    if checkpoints.last().and_then(|kept| Checkpoint::parse(kept).ok()).is_none_or(|kept| kept.bare() != last.bare()) {
        checkpoints.push(last.to_string());
    }
    let checkpoint = |checkpoint| serde_json::to_string(&CheckpointLine { checkpoint }).expect(infallible);
    let sighting = |sighting| serde_json::to_string(&SightingLine { sighting }).expect(infallible);
    let sightings = store.sightings()?;
    for line in checkpoints.into_iter().map(checkpoint).chain(sightings.into_iter().map(sighting)) {
        text += &line;
        text += "\n";
        sealed.push(line);
    }
    let seal = signer.key.sign(SEAL_LABEL, &seal_message(sealed.iter().map(String::as_str)).0);
    text += &serde_json::to_string(&SealLine { seal }).expect(infallible);
    text += "\n";
    Ok(text)
}

/// Checks an export: its form and seal, the chain with its sums, caps, states and officers, the checkpoints with the root and sums
/// at each, their signatures and cosignatures, that it goes on from what the node was shown or has taken that over, and, with a roster, that the node and its witnesses are who the roster says.
pub fn verify_export(text: &str, roster: Option<&Roster>) -> Report {
    verify_outside(text, &Outside { roster, ..Outside::default() }, false)
}

/// The same, with [`Report::facts`] to hold against other ledgers and receipts: they take more memory than the verification.
pub fn verify_to_compare(text: &str, roster: Option<&Roster>) -> Report {
    verify_outside(text, &Outside { roster, ..Outside::default() }, true)
}

/// Checks an export with all that is known outside of the node; with [`Report::facts`] if it is to be compared.
pub fn verify_outside(text: &str, outside: &Outside<'_>, compare: bool) -> Report {
    let roster = outside.roster;
    let mut report = Report::default();
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let header = Some(first).filter(|line| !line.is_empty()).ok_or("the file is empty".to_owned()).and_then(|line| {
        let header: Header =
            serde_json::from_str(line).map_err(|error| format!("line 1 is not a ledger's header: {error}"))?;
        let known = header.format == FORMAT && header.version == VERSION && header.rho_unit == "1e-6";
        if known { Ok(header) } else { Err(format!("{} version {} is not known here", header.format, header.version)) }
    });
    let header = match header {
        Ok(header) => header,
        Err(problem) => {
            report.note("format", Err(problem));
            return report;
        }
    };
    report.note("format", Ok(format!("{FORMAT} version {VERSION} of node {}", header.node)));
    if let Some(roster) = roster {
        let known = roster.members.get(&header.node).is_some_and(|member| member.identity == header.identity)
            && header.origin == node_origin(roster.authority, &header.node);
        let problem = format!("{} with this identity is not in the roster", header.node);
        report.note("identity", if known { Ok("the one in the roster".into()) } else { Err(problem) });
    }
    let (entries, others, last) = parts(rest);
    let sealed = std::iter::once(first).chain(others.iter().copied());
    report.note("seal", verify_seal(sealed, last, &header));
    let mut checkpoints = Checkpoints { header: &header, roster, by_size: BTreeMap::new(), problem: None };
    let (sighting_lines, checkpoint_lines): (Vec<&str>, _) =
        others.into_iter().partition(|line| line.starts_with(SIGHTING));
    for line in checkpoint_lines {
        match serde_json::from_str::<CheckpointLine>(line) {
            Ok(CheckpointLine { checkpoint }) => checkpoints.take(&checkpoint),
            Err(error) => drop(checkpoints.problem.get_or_insert(format!("a line is not a checkpoint: {error}"))),
        }
    }
    // A release has three entries, and an entry more than 100 bytes: who lies about their number makes nobody reserve more than that.
    let stated = checkpoints.by_size.last_key_value().map_or(0, |(size, _)| *size);
    let mut chain = Chain::with_room(usize::try_from(stated / 3).unwrap_or(usize::MAX).min(entries.len() / 100));
    checkpoints.hold_against(&chain);
    let mut chained = Ok(());
    let (node, origin) = (header.node.clone(), header.origin.clone());
    let mut facts = compare.then(|| Box::new(Facts { node, origin, ..Facts::default() }));
    let (mut recompute, mut computed, mut numbers) = (Recompute::default(), 0u64, Ok(()));
    let (mut answered, mut requesters, mut absences) = (Answered::default(), Requesters::of(roster), Vec::new());
    for (i, line) in entry_lines(entries).enumerate() {
        let number = i + 2;
        chained = entry_line(line)
            .ok_or_else(|| format!("line {number} is neither an entry nor a checkpoint"))
            .and_then(|line| {
                let entry = chain.check::<Text>(line).map_err(|finding| finding.to_string())?;
                if let Some(facts) = &mut facts {
                    facts.take(&entry);
                }
                answered.take(&entry);
                requesters.take(&entry);
                match recompute.check(&entry) {
                    Ok(counts) => computed += u64::from(counts),
                    Err(problem) if numbers.is_ok() => numbers = Err(format!("entry {}: {problem}", entry.sequence)),
                    Err(_) => {}
                }
                if let Record::Away(away) = &entry.record {
                    let Away { partner, until, .. } = away;
                    let by = away.by();
                    absences.push(format!("{partner} until {until}, by {by} (entry {})", entry.sequence));
                }
                let Record::Recovered(recovery) = &entry.record else { return Ok(()) };
                let signed = |sighting: &Sighting| {
                    let identity = sighting.identity.unwrap_or(header.identity);
                    Checkpoint::parse(&sighting.checkpoint).is_ok_and(|seen| seen.is_of(&header.origin, &identity))
                };
                let all = recovery.witnessed.iter().all(signed);
                if all {
                    Ok(())
                } else {
                    Err(format!("entry {}: it takes over what the node has not signed", entry.sequence))
                }
            });
        if chained.is_err() {
            break;
        }
        checkpoints.hold_against(&chain);
    }
    let (entries, whole) = (chain.head().entries, chained.is_ok());
    report.note(
        "chain, sums, caps and states",
        chained.map(|()| format!("{entries} entries, each follows from the one before")),
    );
    let numbers = numbers.map(|()| format!("ρ and ε of {computed} entries follow from their noise"));
    report.note("numbers, computed anew", numbers);
    if let Some(verdict) = requesters.verdict() {
        report.note("requesters", verdict);
    }
    report.note("checkpoints", checkpoints.verdict(entries));
    report.note("sightings", verify_sightings(&sighting_lines, &header, &chain));
    // Of a part nobody has signed anything; it has failed above.
    if whole {
        let own = checkpoints.by_size.values().flatten();
        let of = Of { node: &header.node, origin: &header.origin, identity: &header.identity };
        let (verdict, detail) = verdict(of, &chain, own, &answered, outside);
        report.judge("witnesses", verdict, detail);
    }
    if !absences.is_empty() {
        let now: Vec<String> = chain.away("").iter().map(ToString::to_string).collect();
        let now =
            if now.is_empty() { "at its end none is away".into() } else { format!("at its end {}", now.join(", ")) };
        report.note("witnesses that are away", Ok(format!("{}; {now}", absences.join("; "))));
    }
    report.spent = chain.accounts().keys().map(|account| (account.clone(), chain.spent(account))).collect();
    report.facts = facts.map(|facts| Box::new(Facts { chain, ..*facts }));
    report
}

/// What stands behind the header: entries, the lines of checkpoints and sightings, and the last line if it ends. Lines end with a line feed and
/// nothing else; a carriage return would be a part of its line.
fn parts(text: &str) -> (&str, Vec<&str>, Option<&str>) {
    let Some(text) = text.strip_suffix('\n') else { return (text, Vec::new(), None) };
    let (mut entries, last) = text.split_at(memchr::memrchr(b'\n', text.as_bytes()).map_or(0, |end| end + 1));
    let mut others = Vec::new();
    while let Some(rest) = entries.strip_suffix('\n') {
        let start = memchr::memrchr(b'\n', rest.as_bytes()).map_or(0, |end| end + 1);
        if !rest[start..].starts_with(CHECKPOINT) && !rest[start..].starts_with(SIGHTING) {
            break;
        }
        others.push(&rest[start..]);
        entries = &entries[..start];
    }
    others.reverse();
    (entries, others, Some(last))
}

/// One after the other, so that each is still in the processor's cache when it is read. All of them end.
fn entry_lines(entries: &str) -> impl Iterator<Item = &str> {
    let mut start = 0;
    memchr::memchr_iter(b'\n', entries.as_bytes()).map(move |end| &entries[std::mem::replace(&mut start, end + 1)..end])
}

/// An entry's line, as [`export`] writes it and not otherwise: what stands around the entry is in no hash.
fn entry_line(line: &str) -> Option<Line<&str>> {
    let rest = line.strip_prefix("{\"hash\":\"")?;
    let (hash, rest) = rest.split_at_checked(64)?;
    let json = rest.strip_prefix("\",\"entry\":")?.strip_suffix('}')?;
    let upper = hash.bytes().fold(false, |upper, digit| upper | digit.is_ascii_uppercase());
    Some(Line { json, hash: hash.parse().ok().filter(|_| !upper)? })
}

fn verify_seal<'a>(
    sealed: impl Iterator<Item = &'a str>,
    last: Option<&str>,
    header: &Header,
) -> Result<String, String> {
    let last = last.ok_or("the last line does not end: something is missing")?;
    let line = serde_json::from_str::<SealLine>(last);
    let line = line.map_err(|_| "the last line is not a seal: something is missing or was added".to_owned())?;
    let written = serde_json::to_string(&line).is_ok_and(|line| line == last);
    if written && header.identity.verify(SEAL_LABEL, &seal_message(sealed).0, &line.seal) {
        Ok("by the node, over all lines but the entries', whose hashes the checkpoints state".into())
    } else {
        Err("the export is not as the node wrote and signed it".into())
    }
}

/// What the node was shown of its own ledger and has kept as evidence: all of it is gone on from, or taken over.
fn verify_sightings(lines: &[&str], header: &Header, chain: &Chain) -> Result<String, String> {
    for line in lines {
        let SightingLine { sighting } =
            serde_json::from_str(line).map_err(|error| format!("a line is not a sighting: {error}"))?;
        let seen = Checkpoint::parse(&sighting.checkpoint).map_err(|error| format!("a sighting: {error}"))?;
        if !seen.is_of(&header.origin, &sighting.identity.unwrap_or(header.identity)) {
            return Err(format!("what {} has shown is not signed by the node", sighting.by));
        }
        let statement = seen.statement();
        if !chain.goes_on_from(statement) && chain.recovered(statement).is_none() {
            let whose = if sighting.identity.is_some() { "an earlier identity of its name" } else { "this node" };
            return Err(format!(
                "the ledger is in quarantine: {} has shown ({}) a checkpoint of {} entries that {whose} has signed, and from which \
                 it does not go on",
                sighting.by, sighting.time, statement.size
            ));
        }
    }
    Ok(match lines.len() {
        0 => "nobody has shown the node another ledger of its own".into(),
        count => format!("{count} shown, and taken over"),
    })
}

/// The checkpoints of an export, held against the chain as it grows.
struct Checkpoints<'a> {
    header: &'a Header,
    roster: Option<&'a Roster>,
    by_size: BTreeMap<u64, Vec<Checkpoint>>,
    problem: Option<String>,
}

impl Checkpoints<'_> {
    fn take(&mut self, text: &str) {
        let parsed = Checkpoint::parse(text).map_err(|error| format!("a checkpoint: {error}"));
        let checked = parsed.and_then(|checkpoint| {
            let size = checkpoint.statement().size;
            if !checkpoint.is_of(&self.header.origin, &self.header.identity) {
                return Err(format!("the checkpoint over {size} entries is not signed by the node"));
            }
            self.verify_cosignatures(&checkpoint).map_err(|who| {
                format!("the checkpoint over {size} entries has a cosignature of {who} that does not verify")
            })?;
            Ok(checkpoint)
        });
        match checked {
            Ok(checkpoint) => self.by_size.entry(checkpoint.statement().size).or_default().push(checkpoint),
            Err(problem) => drop(self.problem.get_or_insert(problem)),
        }
    }

    /// Those of whom the roster knows. Others are former members of the alliance, or nobody.
    fn verify_cosignatures(&self, checkpoint: &Checkpoint) -> Result<(), String> {
        let Some(roster) = self.roster else { return Ok(()) };
        for line in checkpoint.cosignatures() {
            let key = witness_key(roster, line.name());
            if key.is_some_and(|key| checkpoint.note().cosigned(line, line.name(), &key).is_none()) {
                return Err(line.name().to_owned());
            }
        }
        Ok(())
    }

    /// Those over as many entries as the chain has now.
    fn hold_against(&mut self, chain: &Chain) {
        let Some(checkpoints) = self.by_size.get(&chain.head().entries) else { return };
        let now = chain.statement(&self.header.origin);
        for checkpoint in checkpoints {
            let stated = checkpoint.statement();
            if *stated != now {
                let what = if stated.root == now.root { "sums" } else { "entries" };
                let problem =
                    format!("the checkpoint over {} entries: the {what} are others than were signed", now.size);
                self.problem.get_or_insert(problem);
            }
        }
    }

    fn verdict(&self, entries: u64) -> Result<String, String> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        let last = self.by_size.last_key_value().map(|(size, _)| *size);
        match last {
            Some(size) if size > entries => {
                Err(format!("a checkpoint is over {size} entries: the ledger is shorter, entries are missing"))
            }
            Some(size) if size == entries => {
                let count = self.by_size.values().map(Vec::len).sum::<usize>();
                let all = || self.by_size.values().flatten();
                let cosigned = all().filter(|checkpoint| checkpoint.cosignatures().next().is_some());
                let last = cosigned
                    .max_by_key(|checkpoint| checkpoint.statement().size)
                    .map_or(0, |checkpoint| checkpoint.statement().size);
                let known = if self.roster.is_some() { "" } else { " (by whom, a roster would tell)" };
                Ok(format!("{count} signed by the node, the last over all entries; cosigned up to entry {last}{known}"))
            }
            _ => Err("no checkpoint is over all entries: some were added".into()),
        }
    }
}

#[cfg(test)]
mod tests;
