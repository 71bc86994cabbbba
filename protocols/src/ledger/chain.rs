//! The state of a chain of entries, checked one by one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::Deserialize;

use super::absence::{Absence, Away, day, is_day};
use super::account::{AccountKey, Spent, is_population_name};
use super::carry::CarriedOver;
use super::checkpoint::{Checkpoint, Statement, Totals};
use super::entry::{Entry, Head, Record, State, StudyRecord};
use super::line::Line;
use super::office::{Action, CapChange, Hold, Proposal, Recovery, RulesChange, Sighting, Subject, Witnessed, restored};
use super::read::Reader;
use super::rules::Seen;
use super::tree::Tree;
use crate::digest::Digest;
use crate::identity::{PublicIdentity, check_name};
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
    pub(super) accounts: BTreeMap<AccountKey, Totals>,
    configured: BTreeMap<AccountKey, Rho>,
    /// What was added to caps in calendar years.
    pub(super) allowances: BTreeMap<(AccountKey, i16), Rho>,
    /// Of data sets, what was charged for each.
    datasets: BTreeMap<String, OfDataset>,
    /// Of data sets' own accounts, what was carried over to populations.
    carried: BTreeMap<String, Spent>,
    /// Where each has got to, and over which data set.
    releases: HashMap<Digest, (State, Arc<str>)>,
    /// The names in `releases`.
    names: BTreeSet<Arc<str>>,
    reader: Reader,
    rules: Seen,
    paused: BTreeMap<Subject, Hold>,
    proposals: BTreeMap<u64, Proposal>,
    recovered: BTreeMap<(u64, Digest), u64>,
    /// What was taken over of ledgers under earlier identities.
    inherited: BTreeMap<(PublicIdentity, AccountKey), Spent>,
    /// Until when witnesses are away, as it was recorded last.
    away: BTreeMap<String, String>,
    /// The latest day of any entry: a clock that is set back makes no absence longer.
    day: String,
}

/// What charges say of a data set.
#[derive(Clone, Debug, Default)]
struct OfDataset {
    spent: Spent,
    population: Option<String>,
    unit: String,
    event: Option<String>,
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

    /// What has been spent from an account.
    pub fn spent(&self, account: &AccountKey) -> Spent {
        self.accounts
            .get(account)
            .map_or_else(Spent::default, |totals| Spent { rho: totals.spent, person: totals.person })
    }

    /// What was charged for one data set, whatever its account. What was recovered is of accounts alone.
    pub fn spent_on(&self, dataset: &str) -> Spent {
        self.datasets.get(dataset).map_or_else(Spent::default, |of| of.spent)
    }

    /// The accounts that there are.
    pub fn accounts(&self) -> &BTreeMap<AccountKey, Totals> {
        &self.accounts
    }

    /// The account that a data set was last charged to.
    pub fn account_of(&self, dataset: &str) -> AccountKey {
        let population = self.datasets.get(dataset).and_then(|of| of.population.clone());
        population.map_or_else(|| AccountKey::Dataset(dataset.into()), AccountKey::Population)
    }

    /// The column of a data set that was one customer when it was last charged.
    pub fn unit(&self, dataset: &str) -> Option<&str> {
        self.datasets.get(dataset).map(|of| of.unit.as_str())
    }

    /// The column of a data set by which its charges are of years, once one was.
    pub fn event(&self, dataset: &str) -> Option<&str> {
        self.datasets.get(dataset)?.event.as_deref()
    }

    /// An account's cap, once it is recorded.
    pub fn cap(&self, account: &AccountKey) -> Option<Rho> {
        self.accounts.get(account).map(|totals| totals.cap)
    }

    /// What `node.toml` said of an account's budget when it was last recorded.
    pub fn configured(&self, account: &AccountKey) -> Option<Rho> {
        self.configured.get(account).copied()
    }

    /// What there is to carry over of a data set's own account to that of a population.
    pub(super) fn to_carry_over(&self, dataset: &str, population: &str) -> Option<CarriedOver> {
        let from = *self.accounts.get(&AccountKey::Dataset(dataset.into()))?;
        let to = self.accounts.get(&AccountKey::Population(population.into())).copied();
        CarriedOver::of((dataset, from), self.carried.get(dataset).copied(), (population, to))
    }

    /// Whether accounts are of populations.
    fn has_populations(&self) -> bool {
        self.accounts.last_key_value().is_some_and(|(account, _)| !matches!(account, AccountKey::Dataset(_)))
    }

    /// Once there are populations, nothing new is of a data set's own account, which would be a fresh budget for the same people.
    fn require_population(&self, account: &AccountKey) -> Result<(), Problem> {
        let is_population = matches!(account, AccountKey::Population(_));
        require(is_population || !self.has_populations(), "it names no population, and the ledger has them")
    }

    /// What it has seen of rules.
    pub fn rules(&self) -> &Seen {
        &self.rules
    }

    /// Whether anything was ever charged.
    pub fn has_charged(&self) -> bool {
        self.accounts.values().any(|totals| (totals.spent, totals.person) != (Rho::ZERO, Rho::ZERO))
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

    /// What was taken over of the ledger under an earlier identity.
    pub(super) fn inherited(&self, identity: &PublicIdentity, account: &AccountKey) -> Spent {
        self.inherited.get(&(*identity, account.clone())).copied().unwrap_or_default()
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
        let (root, accounts, away) = (self.tree.root(), self.accounts.clone(), self.away(""));
        Statement { origin: origin.into(), size: entries, root, head: hash, accounts, away }
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
                Record::Cap(change) => self.verify_cap(change, entry.time.as_ref()),
                Record::Carried(carried) => self.verify_carried(carried),
                Record::Rules(change) => self.verify_rules(change),
                Record::Recovered(recovery) => self.verify_recovery(recovery),
                Record::Away(away) => self.verify_away(entry.time.as_ref(), away),
            }
        };
        checked().map_err(fail)?;
        Ok(entry)
    }

    fn verify_study(&self, state: State, record: &StudyRecord<impl AsRef<str>>) -> Result<(), Problem> {
        let (dataset, key) = (record.dataset.as_ref(), record.account_key());
        let (account, before) = (&record.account, self.spent(&key));
        require(account.spent_before == before.rho, "its `spent_before` is not the sum of the charges before it")?;
        require(account.spent_after == before.rho.plus(account.charge), "its `spent_after` is not the sum")?;
        let charged = state == State::Reserved;
        let loss = record.privacy.as_ref().map_or_else(Default::default, |p| (p.rho, p.rho_person));
        let of_years = record.by_year.as_ref().is_some_and(|by_year| !by_year.accounts.is_empty());
        let (rho, person) = if charged && !of_years { loss } else { (Rho::ZERO, Rho::ZERO) };
        require(account.charge == rho, "its charge is not that of its state")?;
        let person = before.person.plus(person);
        require(account.spent_person_after == person, "its `spent_person_after` is not the sum")?;
        require(charged || record.by_year.is_none(), "it charges years, and its state does not charge")?;
        if charged {
            require(account.spent_after <= account.cap, "it spends more than the cap")?;
            self.require_population(&key)?;
            self.verify_ruled(record)?;
            let cap = self.cap(&key).ok_or("it is charged before its cap was recorded")?;
            require(account.cap <= cap, "its cap is above the one that was recorded")?;
            self.verify_years(record, loss)?;
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

    /// Charges to a population are as the rules say that hold.
    fn verify_ruled(&self, record: &StudyRecord<impl AsRef<str>>) -> Result<(), Problem> {
        let Some(population) = &record.population else { return Ok(()) };
        let rules = self.rules.rules().ok_or("it is charged before rules were recorded")?;
        let dataset = rules.datasets.get(record.dataset.as_ref()).ok_or("the rules have no such data set")?;
        require(dataset.population == population.as_ref(), "its population is another than the rules say")?;
        let unit = record.privacy.as_ref().map(|privacy| privacy.privacy_unit.as_str());
        require(unit == Some(&dataset.privacy_unit), "its privacy unit is another than the rules say")?;
        let lost = self.person_after(record, population.as_ref());
        require(rules.person.is_none_or(|most| lost <= most), "a person loses more than the rules say")?;
        let event = record.by_year.as_ref().map(|by_year| &by_year.event);
        let same = event.is_none() || event == dataset.event.as_ref();
        require(same, "its event column is another than the rules say")?;
        let consent = record.consent.as_ref().map(|consent| Digest::plain(consent.as_ref().as_bytes()));
        require(consent == dataset.consent_sha256, "its consent predicate is another than the rules say")
    }

    fn verify_rules(&self, change: &RulesChange) -> Result<(), Problem> {
        let RulesChange { rules, officers, proposal, .. } = change;
        let valid = rules.datasets.values().all(|dataset| is_population_name(&dataset.population));
        require(valid, "a population cannot be called so")?;
        if self.has_charged() && !self.rules.loosened(rules).is_empty() {
            return self.verify_confirmed(*proposal, officers, &Action::Rules(rules.clone()));
        }
        require(proposal.is_none() && officers.is_empty(), "rules that admit no more take no officers")
    }

    /// Two officers, or, where the rules name fewer than two, whoever answers for the node.
    fn verify_confirmed(&self, proposal: Option<u64>, officers: &[String], action: &Action) -> Result<(), Problem> {
        if self.rules.confirming() == 2 {
            return self.verify_second(proposal, officers, action);
        }
        self.require_named(officers)?;
        let one = matches!(officers, [one] if !one.is_empty()) && proposal.is_none();
        require(one, "somebody has to confirm it, and no proposal is needed")
    }

    fn verify_cap(&self, change: &CapChange, time: &str) -> Result<(), Problem> {
        let CapChange { account, from, to, officers, proposal, for_year, .. } = change;
        let has_cap = account.is_valid() && !matches!(account, AccountKey::Year(_));
        require(has_cap, "its account cannot be called so, or is of a year, which has its population's cap")?;
        self.require_population(account)?;
        require(*from == self.cap(account), "the cap before is another")?;
        let raised = from.is_some_and(|from| *to > from);
        if let Some(year) = *for_year {
            require(raised, "an allowance adds nothing")?;
            self.verify_allowance(account, year, time)?;
            let rho = to.minus(from.unwrap_or_default());
            return self.verify_second(
                *proposal,
                officers,
                &Action::Allow { account: account.clone(), for_year: year, rho },
            );
        }
        if !raised {
            return require(proposal.is_none() && officers.len() <= 1, "a cap that is not raised takes no proposal");
        }
        self.verify_second(*proposal, officers, &Action::Cap { account: account.clone(), to: *to })
    }

    fn verify_carried(&self, carried: &CarriedOver) -> Result<(), Problem> {
        require(is_population_name(&carried.population), "its population cannot be called so")?;
        let expected = self.to_carry_over(&carried.dataset, &carried.population);
        require(expected.as_ref() == Some(carried), "its sums are not what is to be carried over")
    }

    fn verify_recovery(&self, recovery: &Recovery) -> Result<(), Problem> {
        let Recovery { witnessed, officers, proposal, datasets, .. } = recovery;
        require(!witnessed.is_empty(), "it takes over nothing")?;
        let notes = witnessed.iter().map(|sighting| sighting.checkpoint.clone()).collect();
        let checkpoints = checkpoints(witnessed).ok_or("what it takes over is not a checkpoint")?;
        let action = Action::Recover(notes);
        // What this very ledger has lost takes two; what another one had spent only adds to it.
        if witnessed.iter().any(|sighting| sighting.identity.is_none()) {
            self.verify_second(*proposal, officers, &action)?;
        } else {
            self.verify_confirmed(*proposal, officers, &action)?;
        }
        let local = |account: &AccountKey| self.accounts.get(account).copied();
        let expected = restored(local, |identity, account| self.inherited(identity, account), &checkpoints);
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
        self.require_named(officers)?;
        require(*first == proposal.officer, "the first officer is not who has proposed it")?;
        require(first != second && !second.is_empty(), "it takes two different officers")
    }

    fn require_named(&self, officers: &[String]) -> Result<(), Problem> {
        let named = |officer: &String| self.rules.rules().is_none_or(|rules| rules.names(officer));
        require(officers.iter().all(named), "the rules name other officers")
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
                self.accounts.entry(change.account.clone()).or_default().cap = change.to;
                self.configured.insert(change.account.clone(), change.configured);
                if let Some(year) = change.for_year {
                    self.allowances
                        .insert((change.account.clone(), year), change.to.minus(change.from.unwrap_or_default()));
                }
                // A proposal was made over the cap of its time.
                self.proposals.retain(|_, open| {
                    !matches!(&open.action, Action::Cap { account, .. } | Action::Allow { account, .. } if *account == change.account)
                });
            }
            Record::Carried(carried) => {
                let [to, from] =
                    [AccountKey::Population(carried.population.clone()), AccountKey::Dataset(carried.dataset.clone())];
                let totals = |account| self.accounts.get(account).copied().unwrap_or_default();
                let accounts = carried.accounts(totals(&from), totals(&to));
                if let Some(configured) = self.configured(&from) {
                    self.configured.insert(to, configured);
                }
                self.accounts.extend(accounts);
                let done = self.carried.entry(carried.dataset.clone()).or_default();
                (done.rho, done.person) = (done.rho.plus(carried.spent), done.person.plus(carried.person));
            }
            Record::Rules(change) => self.accept_rules(change),
            Record::Recovered(recovery) => {
                for restored in &recovery.datasets {
                    let totals =
                        Totals { spent: restored.spent_after, person: restored.spent_person_after, cap: restored.cap };
                    self.accounts.insert(restored.account.clone(), totals);
                }
                for (checkpoint, identity) in checkpoints(&recovery.witnessed).unwrap_or_default() {
                    let Statement { size, root, ref accounts, .. } = *checkpoint.statement();
                    self.recovered.insert((size, root), entry.sequence);
                    self.carried_elsewhere(accounts);
                    let Some(identity) = identity else { continue };
                    for (account, totals) in accounts {
                        let inherited = self.inherited.entry((identity, account.clone())).or_default();
                        inherited.rho = inherited.rho.max(totals.spent);
                        inherited.person = inherited.person.max(totals.person);
                    }
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

    /// Data sets whose customers are said to be others inherit what was spent on those that they were said to be.
    fn accept_rules(&mut self, change: &RulesChange) {
        let before = self.accounts.clone();
        let of = |population: &str| before.get(&AccountKey::Population(population.into())).copied();
        // What was spent in single years counts in all of them there.
        let sums: BTreeMap<String, Spent> =
            before.keys().map(|account| (account.name().to_owned(), self.spent_all_time(account.name()))).collect();
        for (from, to) in self.rules.moved(&change.rules) {
            let Some((inherited, sum)) = of(from).zip(sums.get(from)) else { continue };
            let (known, account) = (of(to), AccountKey::Population(to.into()));
            let totals = self.accounts.entry(account.clone()).or_default();
            totals.spent = totals.spent.plus(sum.rho);
            totals.person = totals.person.plus(sum.person);
            // A cap that is there holds; else the smallest of those that it has inherited.
            totals.cap = match known {
                Some(known) => known.cap,
                None if totals.cap == Rho::ZERO => inherited.cap,
                None => totals.cap.min(inherited.cap),
            };
            if let Some(configured) = self.configured.get(&AccountKey::Population(from.into())).copied() {
                self.configured.entry(account).or_insert(configured);
            }
        }
        self.rules.follow(&change.rules);
        self.proposals.retain(|_, open| !matches!(open.action, Action::Rules(_)));
    }

    /// What was carried over in the ledger that a checkpoint is of is in the sums that are taken over from it.
    fn carried_elsewhere(&mut self, accounts: &BTreeMap<AccountKey, Totals>) {
        for (account, totals) in accounts {
            let AccountKey::Dataset(dataset) = account else { continue };
            if totals.cap == Rho::ZERO {
                let carried = self.carried.entry(dataset.clone()).or_default();
                carried.rho = carried.rho.max(totals.spent);
                carried.person = carried.person.max(totals.person);
            }
        }
    }

    fn charged(&mut self, record: &StudyRecord<impl AsRef<str>>) {
        let of = match self.datasets.get_mut(record.dataset.as_ref()) {
            Some(of) => of,
            None => self.datasets.entry(record.dataset.as_ref().to_owned()).or_default(),
        };
        of.spent.rho = of.spent.rho.plus(record.charge());
        if let Some(by_year) = record.by_year.as_ref().filter(|by_year| of.event.as_ref() != Some(&by_year.event)) {
            of.event = Some(by_year.event.clone());
        }
        if let Some(privacy) = &record.privacy {
            of.spent.person = of.spent.person.plus(privacy.rho_person);
            if of.unit != privacy.privacy_unit {
                of.unit.clone_from(&privacy.privacy_unit);
            }
        }
        let population = record.population.as_ref().map(AsRef::as_ref);
        if of.population.as_deref() != population {
            of.population = population.map(str::to_owned);
        }
    }

    fn accept_study(&mut self, state: State, record: &StudyRecord<impl AsRef<str>>) {
        let (account, dataset) = (&record.account, record.dataset.as_ref());
        if state == State::Reserved {
            self.charged(record);
        }
        if let Some(totals) = self.accounts.get_mut(&record.account_key()) {
            (totals.spent, totals.person) = (account.spent_after, account.spent_person_after);
        }
        self.accept_years(record);
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

/// What was seen, as checkpoints; `None` if something is not a checkpoint, or is there twice.
fn checkpoints(witnessed: &[Sighting]) -> Option<Vec<Witnessed>> {
    let parse = |seen: &Sighting| Some((Checkpoint::parse(&seen.checkpoint).ok()?, seen.identity));
    let parsed = witnessed.iter().map(parse).collect::<Option<Vec<Witnessed>>>()?;
    let states: BTreeSet<(u64, Digest)> =
        parsed.iter().map(|(checkpoint, _)| (checkpoint.statement().size, checkpoint.statement().root)).collect();
    (states.len() == parsed.len()).then_some(parsed)
}
