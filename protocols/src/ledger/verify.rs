//! Verification of a ledger: pure functions over lines of text, the same at the node, the coordinator and for anybody
//! with an export.
//!
//! An **export** is JSON lines: a header that names format, version, node, identity and the unit of ρ; each entry as
//! `{"hash": …, "entry": …}`, the entry's text exactly as hashed; then the checkpoints.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::book::Spent;
use super::entry::{Checkpoint, Entry, Head, Line, State};
use super::store::{Store, StoreError};
use crate::digest::Digest;
use crate::identity::{PublicIdentity, Roster};
use crate::privacy::rho::Rho;

/// Something that is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {sequence}: {problem}")]
pub struct Finding {
    /// Which entry, counted from 1.
    pub sequence: u64,
    /// What is wrong.
    pub problem: String,
}

/// The state of a chain of entries, checked one by one.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    head: Option<Head>,
    spent: BTreeMap<String, Spent>,
    by_study: HashMap<(String, String), Rho>,
    releases: HashMap<Digest, (State, String)>,
}

impl Chain {
    /// The end of the chain.
    pub fn head(&self) -> Head {
        self.head.unwrap_or(Head::EMPTY)
    }

    /// What has been spent on a data set.
    pub fn spent(&self, dataset: &str) -> Spent {
        self.spent.get(dataset).copied().unwrap_or_default()
    }

    /// What one study has spent on a data set.
    pub fn spent_by_study(&self, dataset: &str, study: &str) -> Rho {
        self.by_study.get(&(dataset.to_owned(), study.to_owned())).copied().unwrap_or_default()
    }

    /// Σρ of each data set.
    pub fn totals(&self) -> BTreeMap<String, Rho> {
        self.spent.iter().map(|(dataset, spent)| (dataset.clone(), spent.rho)).collect()
    }

    /// Checks the next entry and goes on behind it.
    pub fn check(&mut self, line: &Line) -> Result<Entry, Finding> {
        let entry = self.verify(line)?;
        self.accept(line, &entry);
        Ok(entry)
    }

    /// Checks the next entry: hash, chain, sums, cap and the order of states.
    pub fn verify(&self, line: &Line) -> Result<Entry, Finding> {
        let head = self.head();
        let fail = |problem: String| Finding { sequence: head.entries + 1, problem };
        let entry: Entry =
            serde_json::from_str(&line.json).map_err(|error| fail(format!("cannot be read: {error}")))?;
        let require = |good: bool, problem: &str| if good { Ok(()) } else { Err(fail(problem.into())) };
        require(Line::hash(&line.json) == line.hash, "its hash is not that of its text: it was changed")?;
        require(entry.sequence == head.entries + 1, "its sequence does not follow: an entry is missing or was added")?;
        require(entry.previous == head.hash, "it does not name the entry before: the chain is broken")?;
        let (account, before) = (&entry.account, self.spent(&entry.dataset));
        require(account.spent_before == before.rho, "its `spent_before` is not the sum of the charges before it")?;
        require(account.spent_after == before.rho.plus(account.charge), "its `spent_after` is not the sum")?;
        let charged = entry.state == State::Reserved;
        let (rho, person) = entry.privacy.as_ref().map_or_else(Default::default, |p| (p.rho, p.rho_person));
        require(account.charge == if charged { rho } else { Rho::ZERO }, "its charge is not that of its state")?;
        let person = before.person.plus(if charged { person } else { Rho::ZERO });
        require(account.spent_person_after == person, "its `spent_person_after` is not the sum")?;
        require(!charged || account.spent_after <= account.cap, "it spends more than the cap")?;
        self.verify_state(&entry).map_err(|problem| fail(problem.into()))?;
        Ok(entry)
    }

    fn verify_state(&self, entry: &Entry) -> Result<(), &'static str> {
        let before = entry.release.and_then(|release| self.releases.get(&release));
        let same_dataset = before.is_none_or(|(_, dataset)| *dataset == entry.dataset);
        let follows = match (entry.state, before.map(|(state, _)| *state)) {
            (State::Refused, _) => {
                return if entry.release.is_none() { Ok(()) } else { Err("a refusal has no release") };
            }
            (State::Reserved, None) => entry.release.is_some(),
            (State::Computed, Some(State::Reserved)) | (State::Released, Some(State::Computed)) => true,
            (State::Repeated, Some(State::Computed | State::Released)) => true,
            _ => false,
        };
        if follows && same_dataset {
            Ok(())
        } else {
            Err("its state does not follow from what was recorded of its release")
        }
    }

    /// Goes on behind an entry that [`Chain::verify`] has passed.
    pub fn accept(&mut self, line: &Line, entry: &Entry) {
        self.head = Some(Head { entries: entry.sequence, hash: line.hash });
        let account = &entry.account;
        let spent = Spent { rho: account.spent_after, person: account.spent_person_after };
        self.spent.insert(entry.dataset.clone(), spent);
        let study = self.by_study.entry((entry.dataset.clone(), entry.study.id.clone())).or_default();
        *study = study.plus(account.charge);
        if let Some(release) = entry.release
            && entry.state != State::Repeated
        {
            self.releases.insert(release, (entry.state, entry.dataset.clone()));
        }
    }
}

/// The first line of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// `entente-ledger`.
    pub format: String,
    /// 1.
    pub version: u32,
    /// The node's name.
    pub node: String,
    /// Its identity key.
    pub identity: PublicIdentity,
    /// `1e-6`: integers named ρ are in this unit.
    pub rho_unit: String,
}

const FORMAT: &str = "entente-ledger";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct EntryLine<'a> {
    hash: Digest,
    #[serde(borrow)]
    entry: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
struct CheckpointLine {
    checkpoint: Checkpoint,
}

/// Writes a store's content as an export.
pub fn export(node: &str, identity: PublicIdentity, store: &impl Store) -> Result<String, StoreError> {
    let header =
        Header { format: FORMAT.into(), version: VERSION, node: node.into(), identity, rho_unit: "1e-6".into() };
    let infallible = "these types have string keys and no failing serialisers";
    let mut text = serde_json::to_string(&header).expect(infallible) + "\n";
    for line in store.entries()? {
        let damaged =
            |error: serde_json::Error| StoreError { what: "read", why: format!("an entry is not JSON: {error}") };
        let entry: &RawValue = serde_json::from_str(&line.json).map_err(damaged)?;
        let line = serde_json::to_string(&EntryLine { hash: line.hash, entry }).expect(infallible);
        text = text + &line + "\n";
    }
    for checkpoint in store.checkpoints()? {
        text = text + &serde_json::to_string(&CheckpointLine { checkpoint }).expect(infallible) + "\n";
    }
    Ok(text)
}

/// One check and its verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub check: &'static str,
    /// Whether it passed.
    pub passed: bool,
    /// What was found.
    pub detail: String,
}

/// The checks of an export.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In order.
    pub checks: Vec<Check>,
    /// What each data set has spent, as far as the chain holds.
    pub spent: BTreeMap<String, Spent>,
}

impl Report {
    /// Whether all checks passed.
    pub fn passed(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.passed)
    }

    fn note(&mut self, check: &'static str, result: Result<String, String>) -> bool {
        let passed = result.is_ok();
        let detail = result.unwrap_or_else(|problem| problem);
        self.checks.push(Check { check, passed, detail });
        passed
    }

    /// One line a check, for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Check { check, passed, detail } in &self.checks {
            let verdict = if *passed { "ok    " } else { "FAILED" };
            let _ = writeln!(text, "{verdict}  {check}: {detail}");
        }
        text
    }
}

/// Checks an export: its form, the chain with its sums, caps and states, the checkpoints and their signatures, and, with
/// a roster, that the node is who the roster says.
pub fn verify_export(text: &str, roster: Option<&Roster>) -> Report {
    let mut report = Report::default();
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
    let header = lines.next().ok_or("the file is empty".to_owned()).and_then(|(_, line)| {
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
        let known = roster.members.get(&header.node).is_some_and(|member| member.identity == header.identity);
        let problem = format!("{} with this identity is not in the roster", header.node);
        report.note("identity", if known { Ok("the one in the roster".into()) } else { Err(problem) });
    }
    let mut chain = Chain::default();
    // Head and Σρ after each number of entries, to hold checkpoints against.
    let mut heads = vec![(Head::EMPTY, chain.totals())];
    let mut checkpoints: Vec<Checkpoint> = Vec::new();
    let mut chained = Ok(());
    for (number, line) in lines {
        if let Ok(CheckpointLine { checkpoint }) = serde_json::from_str(line) {
            checkpoints.push(checkpoint);
        } else if let Ok(EntryLine { hash, entry }) = serde_json::from_str(line)
            && checkpoints.is_empty()
        {
            if chained.is_ok() {
                let line = Line { json: entry.get().into(), hash };
                chained = chain.check(&line).map(drop).map_err(|finding| finding.to_string());
                heads.push((chain.head(), chain.totals()));
            }
        } else {
            chained = chained.and(Err(format!("line {number} is neither an entry nor a checkpoint")));
        }
    }
    let entries = chain.head().entries;
    report.note(
        "chain, sums, caps and states",
        chained.map(|()| format!("{entries} entries, each follows from the one before")),
    );
    report.note("checkpoints", verify_checkpoints(&checkpoints, &header, &heads));
    report.spent = chain.spent;
    report
}

fn verify_checkpoints(
    checkpoints: &[Checkpoint],
    header: &Header,
    heads: &[(Head, BTreeMap<String, Rho>)],
) -> Result<String, String> {
    for (i, checkpoint) in checkpoints.iter().enumerate() {
        let Checkpoint { statement, .. } = checkpoint;
        let name = format!("checkpoint {} over {} entries", i + 1, statement.head.entries);
        if statement.node != header.node || !checkpoint.verify(&header.identity) {
            return Err(format!("{name} is not signed by the node"));
        }
        let at = usize::try_from(statement.head.entries).ok().and_then(|entries| heads.get(entries));
        match at {
            None => return Err(format!("{name}: the ledger is shorter; entries are missing")),
            Some((head, _)) if *head != statement.head => {
                return Err(format!("{name}: the entries are others than were signed"));
            }
            Some((_, spent)) if *spent != statement.spent => {
                return Err(format!("{name}: the sums are others than were signed"));
            }
            Some(_) => {}
        }
    }
    let covered = checkpoints.last().map_or(0, |last| last.statement.head.entries);
    Ok(format!("{} signed by the node, the last over {covered} of {} entries", checkpoints.len(), heads.len() - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{IdentityKey, Member};
    use crate::ledger::book::{Caps, Ledger};
    use crate::ledger::store::Memory;
    use crate::policy::tests::{approved, request};

    fn key() -> IdentityKey {
        IdentityKey::from_secret(&[3; 32])
    }

    fn good() -> String {
        let caps = Caps { lifetime: Rho::from_micro(100_000), per_study: Rho::from_micro(50_000), delta: 1e-6 };
        let mut ledger = Ledger::open(Memory::default(), [("d".into(), caps)].into(), "test 1").unwrap();
        for i in 1..=3 {
            let id = Digest([i; 32]);
            ledger.reserve(approved(request("s", i, 10_000)), id, id, "now").unwrap();
            ledger.checkpoint("a", &key(), "now").unwrap();
        }
        export("a", key().public(), ledger.store()).unwrap()
    }

    fn failed(text: &str) -> String {
        let report = verify_export(text, None);
        assert!(!report.passed(), "must fail: {text}");
        report.text()
    }

    fn without_line(text: &str, line: usize) -> String {
        text.lines().enumerate().filter(|(i, _)| *i != line).map(|(_, l)| format!("{l}\n")).collect()
    }

    #[test]
    fn every_kind_of_tampering_is_found() {
        let good = good();
        assert!(verify_export(&good, None).passed(), "{}", verify_export(&good, None).text());
        assert!(failed(&good.replacen("\"10000\"", "\"10001\"", 1)).contains("hash"));
        assert!(failed(&without_line(&good, 1)).contains("sequence"));
        assert!(failed(&without_line(&good, 2)).contains("sequence"));
        assert!(failed(&without_line(&good, 3)).contains("shorter"), "the last entry, which a checkpoint has seen");
        assert!(failed(&good.replacen("now", "new", 20)).contains("FAILED"));
        let other = IdentityKey::from_secret(&[4; 32]).public().to_string();
        assert!(failed(&good.replacen(&key().public().to_string(), &other, 1)).contains("not signed"));
        assert!(failed("").contains("empty"));
        assert!(failed("{}").contains("header"));
        assert!(failed(&(good.clone() + "nonsense\n")).contains("neither"));
    }

    #[test]
    fn the_roster_tells_whose_ledger_it_is() {
        let mut roster = Roster {
            alliance: "a".into(),
            authority: Digest::ZERO,
            coordinator: key().public(),
            members: [("a".into(), Member { identity: key().public(), tls: Digest::ZERO })].into(),
        };
        assert!(verify_export(&good(), Some(&roster)).passed());
        roster.members.clear();
        assert!(!verify_export(&good(), Some(&roster)).passed());
    }
}
