//! The state of a chain of entries, checked one by one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::Deserialize;

use super::absence::{Absence, Away, day, is_day};
use super::account::Spent;
use super::checkpoint::{Checkpoint, Statement, Totals, is_dataset_name};
use super::entry::{Entry, Head, Record, State, StudyRecord};
use super::line::Line;
use super::office::{Action, CapChange, Hold, Proposal, Recovery, Subject, restored};
use super::read::Reader;
use super::tree::Tree;
use crate::digest::Digest;
use crate::identity::check_name;
use crate::kind::Kind;
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

/// The state of a chain of entries.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    head: Option<Head>,
    tree: Tree,
    datasets: BTreeMap<String, Totals>,
    configured: BTreeMap<String, Rho>,
    /// Where each has got to, and over which data set.
    releases: HashMap<Digest, (State, Arc<str>)>,
    /// The names in `releases`.
    names: BTreeSet<Arc<str>>,
    reader: Reader,
    paused: BTreeMap<Subject, Hold>,
    proposals: BTreeMap<u64, Proposal>,
    recovered: BTreeMap<(u64, Digest), u64>,
    /// Until when witnesses are away, as it was recorded last.
    away: BTreeMap<String, String>,
    /// The latest day of any entry: a clock that is set back makes no absence longer.
    day: String,
}

/// Why an entry does not follow.
type Problem = String;

fn require(good: bool, problem: &str) -> Result<(), Problem> {
    if good { Ok(()) } else { Err(problem.into()) }
}

impl Chain {
    /// An empty chain with room for `releases` releases.
    pub(super) fn with_room(releases: usize) -> Self {
        Self { releases: HashMap::with_capacity(releases), ..Self::default() }
    }

    /// The end of the chain.
    pub fn head(&self) -> Head {
        self.head.unwrap_or(Head::EMPTY)
    }

    /// The tree over the entries.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What has been spent on a data set.
    pub fn spent(&self, dataset: &str) -> Spent {
        self.datasets
            .get(dataset)
            .map_or_else(Spent::default, |totals| Spent { rho: totals.spent, person: totals.person })
    }

    /// The accounts of the data sets that have one.
    pub fn datasets(&self) -> &BTreeMap<String, Totals> {
        &self.datasets
    }

    /// A data set's cap, once it is recorded.
    pub fn cap(&self, dataset: &str) -> Option<Rho> {
        self.datasets.get(dataset).map(|totals| totals.cap)
    }

    /// What `node.toml` said of a data set's budget when it was last recorded.
    pub fn configured(&self, dataset: &str) -> Option<Rho> {
        self.configured.get(dataset).copied()
    }

    /// What is paused.
    pub fn paused(&self) -> impl Iterator<Item = &Hold> {
        self.paused.values()
    }

    /// Why nothing may be released of a data set for a study of this kind now, if an officer has paused one of them.
    pub fn hold(&self, dataset: &str, kind: Kind) -> Option<&Hold> {
        if self.paused.is_empty() {
            return None;
        }
        let of = |subject| self.paused.get(&subject);
        of(Subject::Dataset(dataset.into())).or_else(|| of(Subject::Kind(kind)))
    }

    /// Open proposals by sequence.
    pub fn proposals(&self) -> &BTreeMap<u64, Proposal> {
        &self.proposals
    }

    /// Which entry has taken over a checkpoint, if one has.
    pub fn recovered(&self, checkpoint: &Statement) -> Option<u64> {
        self.recovered.get(&(checkpoint.size, checkpoint.root)).copied()
    }

    /// Which witnesses are away now, by what is recorded.
    pub fn away(&self, now: &str) -> Vec<Absence> {
        let today = day(now).max(&*self.day);
        let away = self.away.iter().filter(|(_, until)| until.as_str() > today);
        away.map(|(partner, until)| Absence { partner: partner.clone(), until: until.clone() }).collect()
    }

    /// Whether the chain goes on from what a checkpoint states.
    pub fn goes_on_from(&self, checkpoint: &Statement) -> bool {
        self.tree.root_at(checkpoint.size) == Some(checkpoint.root)
    }

    /// Whether the chain goes on from the tree of so many entries with this root, or has taken that over.
    pub fn knows(&self, size: u64, root: Digest) -> bool {
        self.tree.root_at(size) == Some(root) || self.recovered.contains_key(&(size, root))
    }

    /// What a checkpoint of the chain as it is now states.
    pub fn statement(&self, origin: &str) -> Statement {
        let Head { entries, hash } = self.head();
        let (root, datasets, away) = (self.tree.root(), self.datasets.clone(), self.away(""));
        Statement { origin: origin.into(), size: entries, root, head: hash, datasets, away }
    }

    /// Checks the next entry and goes on behind it.
    pub fn check<'a, S>(&mut self, line: Line<&'a str>) -> Result<Entry<S>, Finding>
    where
        S: Deserialize<'a> + AsRef<str>,
    {
        let entry = self.reader.read(line.json);
        let entry = self.follows(line, entry)?;
        self.accept(line.hash, &entry);
        Ok(entry)
    }

    /// Checks the next entry: hash, chain, sums, cap and the order of states.
    pub fn verify<'a, S>(&self, line: Line<&'a str>) -> Result<Entry<S>, Finding>
    where
        S: Deserialize<'a> + AsRef<str>,
    {
        self.follows(line, Reader::default().read(line.json))
    }

    fn follows<S: AsRef<str>>(
        &self,
        line: Line<&str>,
        entry: Result<Entry<S>, serde_json::Error>,
    ) -> Result<Entry<S>, Finding> {
        let head = self.head();
        let fail = |problem: String| Finding { sequence: head.entries + 1, problem };
        let entry = entry.map_err(|error| {
            // Whole JSON with other fields is not damage.
            let by = if error.is_data() { "; another version of this software may have written it" } else { "" };
            fail(format!("cannot be read: {error}{by}"))
        })?;
        let checked = || {
            require(Line::hash(line.json) == line.hash, "its hash is not that of its text: it was changed")?;
            require(
                entry.sequence == head.entries + 1,
                "its sequence does not follow: an entry is missing or was added",
            )?;
            require(entry.previous == head.hash, "it does not name the entry before: the chain is broken")?;
            if !self.away.is_empty() || !entry.away.is_empty() {
                let away = self.away(entry.time.as_ref());
                require(entry.away == away, "it does not say which witnesses are away, as it was recorded before it")?;
            }
            match &entry.record {
                Record::Reserved(record)
                | Record::Computed(record)
                | Record::Released(record)
                | Record::Repeated(record)
                | Record::Refused(record) => self.verify_study(entry.state(), record),
                Record::Note(note) => {
                    require((1..entry.sequence).contains(&note.about), "it is about an entry that is not before it")?;
                    require(!note.officer.is_empty(), "nobody has written it")
                }
                Record::Paused(hold) => {
                    require(!hold.officer.is_empty(), "nobody has paused it")?;
                    require(!self.paused.contains_key(&hold.subject), "it pauses what is paused")
                }
                Record::Resumed(hold) => {
                    require(!hold.officer.is_empty(), "nobody has resumed it")?;
                    require(self.paused.contains_key(&hold.subject), "it resumes what is not paused")
                }
                Record::Proposed(proposal) => require(!proposal.officer.is_empty(), "nobody proposes it"),
                Record::Cap(change) => self.verify_cap(change),
                Record::Recovered(recovery) => self.verify_recovery(recovery),
                Record::Away(away) => self.verify_away(entry.time.as_ref(), away),
            }
        };
        checked().map_err(fail)?;
        Ok(entry)
    }

    fn verify_study(&self, state: State, record: &StudyRecord<impl AsRef<str>>) -> Result<(), Problem> {
        let dataset = record.dataset.as_ref();
        let (account, before) = (&record.account, self.spent(dataset));
        require(account.spent_before == before.rho, "its `spent_before` is not the sum of the charges before it")?;
        require(account.spent_after == before.rho.plus(account.charge), "its `spent_after` is not the sum")?;
        let charged = state == State::Reserved;
        let (rho, person) = record.privacy.as_ref().map_or_else(Default::default, |p| (p.rho, p.rho_person));
        require(account.charge == if charged { rho } else { Rho::ZERO }, "its charge is not that of its state")?;
        let person = before.person.plus(if charged { person } else { Rho::ZERO });
        require(account.spent_person_after == person, "its `spent_person_after` is not the sum")?;
        if charged {
            require(account.spent_after <= account.cap, "it spends more than the cap")?;
            let cap = self.cap(dataset).ok_or("it is charged before its cap was recorded")?;
            require(account.cap <= cap, "its cap is above the one that was recorded")?;
        }
        if matches!(state, State::Reserved | State::Repeated) {
            let held = self.hold(dataset, record.study.kind);
            require(held.is_none(), "an officer had paused its data set or study kind")?;
        }
        let before = record.release.and_then(|release| self.releases.get(&release));
        let same_dataset = before.is_none_or(|(_, over)| **over == *dataset);
        let follows = match (state, before.map(|(state, _)| *state)) {
            (State::Refused, _) => return require(record.release.is_none(), "a refusal has no release"),
            (State::Reserved, None) => record.release.is_some(),
            (State::Computed, Some(State::Reserved)) | (State::Released, Some(State::Computed)) => true,
            (State::Repeated, Some(State::Computed | State::Released)) => true,
            _ => false,
        };
        require(follows && same_dataset, "its state does not follow from what was recorded of its release")
    }

    fn verify_cap(&self, change: &CapChange) -> Result<(), Problem> {
        let CapChange { dataset, from, to, officers, proposal, .. } = change;
        require(is_dataset_name(dataset), "its data set cannot be called so")?;
        require(*from == self.cap(dataset), "the cap before is another")?;
        let raised = from.is_some_and(|from| *to > from);
        if !raised {
            return require(proposal.is_none() && officers.len() <= 1, "a cap that is not raised takes no proposal");
        }
        self.verify_second(*proposal, officers, &Action::Cap { dataset: dataset.clone(), to: *to })
    }

    fn verify_recovery(&self, recovery: &Recovery) -> Result<(), Problem> {
        let Recovery { witnessed, officers, proposal, datasets, .. } = recovery;
        require(!witnessed.is_empty(), "it takes over nothing")?;
        let notes: Vec<String> = witnessed.iter().map(|sighting| sighting.checkpoint.clone()).collect();
        let checkpoints = checkpoints(&notes).ok_or("what it takes over is not a checkpoint")?;
        self.verify_second(Some(*proposal), officers, &Action::Recover(notes))?;
        let expected = restored(|dataset| self.datasets.get(dataset).copied(), &checkpoints);
        require(*datasets == expected, "its sums are not the larger of this ledger's and those that were witnessed")
    }

    fn verify_away(&self, time: &str, away: &Away) -> Result<(), Problem> {
        let Away { partner, until, officers, steward, proposal, .. } = away;
        require(check_name(partner).is_ok() && is_day(until), "no partner is called so, or it is no day")?;
        let today = day(time).max(&*self.day);
        let known = self.away.get(partner).map_or("", String::as_str).max(today);
        if until.as_str() <= known {
            let by_one = steward.iter().chain(officers).count() == 1 && proposal.is_none();
            return require(
                by_one && known > today,
                "one officer says that a witness is back, and of one that is away",
            );
        }
        match steward {
            Some(steward) => {
                let alone = officers.is_empty() && proposal.is_none();
                require(alone && !steward.is_empty(), "a steward says so alone, where there are no officers")
            }
            None => {
                let absence = Absence { partner: partner.clone(), until: until.clone() };
                self.verify_second(*proposal, officers, &Action::Away(absence))
            }
        }
    }

    /// Two different officers, of whom the first has proposed it.
    fn verify_second(&self, proposal: Option<u64>, officers: &[String], action: &Action) -> Result<(), Problem> {
        let proposal = proposal.and_then(|sequence| self.proposals.get(&sequence));
        let proposal = proposal.filter(|proposal| proposal.action == *action);
        let proposal = proposal.ok_or("no open proposal says so")?;
        let [first, second] = officers else { return Err("it takes two officers".into()) };
        require(*first == proposal.officer, "the first officer is not who has proposed it")?;
        require(first != second && !second.is_empty(), "it takes two different officers")
    }

    /// Goes on behind an entry that [`Chain::verify`] has passed.
    pub fn accept(&mut self, hash: Digest, entry: &Entry<impl AsRef<str>>) {
        self.head = Some(Head { entries: entry.sequence, hash });
        self.tree.push(hash);
        let today = entry.time.as_ref().get(..10).unwrap_or_default();
        // Seldom later: a day is looked at once.
        if today > &*self.day && is_day(today) {
            today.clone_into(&mut self.day);
        }
        match &entry.record {
            Record::Reserved(record)
            | Record::Computed(record)
            | Record::Released(record)
            | Record::Repeated(record)
            | Record::Refused(record) => self.accept_study(entry.state(), record),
            Record::Note(_) => {}
            Record::Paused(hold) => drop(self.paused.insert(hold.subject.clone(), hold.clone())),
            Record::Resumed(hold) => drop(self.paused.remove(&hold.subject)),
            Record::Proposed(proposal) => {
                self.proposals.retain(|_, open| open.action != proposal.action);
                self.proposals.insert(entry.sequence, proposal.clone());
            }
            Record::Cap(change) => {
                self.datasets.entry(change.dataset.clone()).or_default().cap = change.to;
                self.configured.insert(change.dataset.clone(), change.configured);
                // A proposal was made over the cap of its time.
                self.proposals.retain(
                    |_, open| !matches!(&open.action, Action::Cap { dataset, .. } if *dataset == change.dataset),
                );
            }
            Record::Recovered(recovery) => {
                for restored in &recovery.datasets {
                    let totals =
                        Totals { spent: restored.spent_after, person: restored.spent_person_after, cap: restored.cap };
                    self.datasets.insert(restored.dataset.clone(), totals);
                }
                let notes: Vec<String> = recovery.witnessed.iter().map(|seen| seen.checkpoint.clone()).collect();
                for checkpoint in checkpoints(&notes).unwrap_or_default() {
                    let Statement { size, root, .. } = *checkpoint.statement();
                    self.recovered.insert((size, root), entry.sequence);
                }
                self.proposals.retain(|_, open| !matches!(open.action, Action::Recover(_)));
            }
            Record::Away(away) => {
                self.away.insert(away.partner.clone(), away.until.clone());
                // A proposal was made over what was recorded at its time.
                self.proposals.retain(
                    |_, open| !matches!(&open.action, Action::Away(absence) if absence.partner == away.partner),
                );
            }
        }
    }

    fn accept_study(&mut self, state: State, record: &StudyRecord<impl AsRef<str>>) {
        let (account, dataset) = (&record.account, record.dataset.as_ref());
        if let Some(totals) = self.datasets.get_mut(dataset) {
            (totals.spent, totals.person) = (account.spent_after, account.spent_person_after);
        }
        let Some(release) = record.release else { return };
        if state == State::Repeated {
            return;
        }
        let name = self.names.get(dataset).cloned().unwrap_or_else(|| {
            let name: Arc<str> = dataset.into();
            self.names.insert(Arc::clone(&name));
            name
        });
        self.releases.insert(release, (state, name));
    }
}

/// Notes as checkpoints; `None` if one is not a checkpoint, or is there twice.
fn checkpoints(notes: &[String]) -> Option<Vec<Checkpoint>> {
    let parsed: Option<Vec<Checkpoint>> = notes.iter().map(|note| Checkpoint::parse(note).ok()).collect();
    let parsed = parsed?;
    let states: BTreeSet<(u64, Digest)> =
        parsed.iter().map(|checkpoint| (checkpoint.statement().size, checkpoint.statement().root)).collect();
    (states.len() == parsed.len()).then_some(parsed)
}
