//! What pages list, kept in memory: one line a study and data set, what was spent over time, what officers did. Made of the entries, each
//! verified as it is read.

use std::collections::{BTreeMap, HashMap};

use entente_host::Error;
use entente_protocols::kind::Kind;
use entente_protocols::ledger::chain::Finding;
use entente_protocols::ledger::entry::{Entry, Record, State};
use entente_protocols::ledger::{AccountKey, Chain, Checkpoint};
use entente_protocols::privacy::rho::Rho;

use crate::store::LedgerStore;

/// The most points of a line over time; twice as many are thinned out.
const POINTS: usize = 200;

/// A study over one data set.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) dataset: String,
    pub(super) requester: String,
    /// What was last recorded of it.
    pub(super) state: State,
    /// When something was first recorded of it.
    pub(super) time: String,
    pub(super) charge: Rho,
    pub(super) person: Rho,
    /// Who approved it, or why it was refused.
    pub(super) decision: String,
    /// The numbers of its entries.
    pub(super) entries: Vec<u64>,
}

/// The ledger, as far as it was read.
#[derive(Default)]
pub(super) struct Index {
    pub(super) chain: Chain,
    /// Where it stops to follow.
    pub(super) broken: Option<Finding>,
    pub(super) lines: Vec<Line>,
    by_study: HashMap<String, Vec<usize>>,
    /// By account: seconds since 1970 and Σρ, after charges.
    pub(super) history: BTreeMap<AccountKey, Vec<(f64, f64)>>,
    /// The numbers of what officers recorded.
    pub(super) officers: Vec<u64>,
    /// Entries by state.
    pub(super) states: BTreeMap<&'static str, u64>,
    /// Bytes of the vectors that were stored to be sent.
    pub(super) bytes: u64,
}

/// As pages and metrics name a state.
pub(super) fn name(state: State) -> &'static str {
    match state {
        State::Reserved => "charged",
        State::Computed => "sent",
        State::Released => "released",
        State::Repeated => "repeated",
        State::Refused => "refused",
        State::Note => "note",
        State::Paused => "paused",
        State::Resumed => "resumed",
        State::Proposed => "proposed",
        State::Cap => "cap",
        State::Rules => "rules",
        State::Carried => "carried over",
        State::Recovered => "recovered",
        State::Away => "away",
    }
}

impl Index {
    /// Reads up to `count` more entries. Returns true at the end of the ledger or at an entry that breaks the chain.
    pub(super) fn take(&mut self, store: &LedgerStore, count: usize) -> Result<bool, Error> {
        if self.broken.is_some() {
            return Ok(true);
        }
        let lines = store.some_after(self.chain.head().entries, count)?;
        for line in &lines {
            match self.chain.check::<String>(line.as_deref()) {
                Ok(entry) => self.add(&entry),
                Err(finding) => {
                    self.broken = Some(finding);
                    return Ok(true);
                }
            }
        }
        Ok(lines.len() < count)
    }

    fn add(&mut self, entry: &Entry) {
        *self.states.entry(name(entry.state())).or_default() += 1;
        let Some(study) = entry.study() else {
            self.officers.push(entry.sequence);
            match &entry.record {
                Record::Recovered(recovery) => {
                    for restored in &recovery.datasets {
                        self.point(&restored.account, &entry.time, restored.spent_after);
                    }
                }
                Record::Carried(carried) => {
                    let account = AccountKey::Population(carried.population.clone());
                    self.point(&account, &entry.time, self.chain.spent(&account).rho);
                }
                _ => {}
            }
            return;
        };
        let of_study = self.by_study.entry(study.study.id.clone()).or_default();
        let known = of_study.iter().find(|at| self.lines[**at].dataset == study.dataset).copied();
        let at = known.unwrap_or_else(|| {
            of_study.push(self.lines.len());
            self.lines.push(Line {
                id: study.study.id.clone(),
                name: study.study.name.clone(),
                kind: study.study.kind,
                dataset: study.dataset.clone(),
                requester: study.requester.clone(),
                state: entry.state(),
                time: entry.time.clone(),
                charge: Rho::ZERO,
                person: Rho::ZERO,
                decision: String::new(),
                entries: Vec::new(),
            });
            self.lines.len() - 1
        });
        let line = &mut self.lines[at];
        line.state = entry.state();
        line.entries.push(entry.sequence);
        if let Some(decision) = study.reason.as_ref().or(study.approved_by.as_ref()) {
            line.decision.clone_from(decision);
        }
        if entry.state() == State::Computed {
            let numbers = study.privacy.iter().flat_map(|privacy| &privacy.noise).map(|noise| noise.numbers);
            self.bytes = self.bytes.saturating_add(numbers.sum::<u64>().saturating_mul(8));
        }
        if entry.state() == State::Reserved {
            line.charge = line.charge.plus(study.charge());
            let person = study.privacy.as_ref().map(|privacy| privacy.rho_person);
            line.person = line.person.plus(person.unwrap_or_default());
            self.point(&study.account_key(), &entry.time, study.spent_all_time());
        }
    }

    fn point(&mut self, account: &AccountKey, time: &str, spent: Rho) {
        let at = time.parse::<jiff::Timestamp>().map_or(0.0, |time| time.as_second() as f64);
        let points = self.history.entry(account.clone()).or_default();
        points.push((at, spent.value()));
        if points.len() > 2 * POINTS {
            let mut number = 0;
            points.retain(|_| {
                number += 1;
                number % 2 == 0
            });
        }
    }

    /// The lines of a study, one a data set.
    pub(super) fn study(&self, id: &str) -> Vec<&Line> {
        let mut found: Vec<&Line> =
            self.by_study.get(id).into_iter().flatten().filter_map(|at| self.lines.get(*at)).collect();
        found.sort_by_key(|line| &line.dataset);
        found
    }

    /// Whether somebody holds a checkpoint that the ledger neither goes on from nor has taken over.
    pub(super) fn contradicts(&self, note: &str) -> bool {
        Checkpoint::parse(note).is_ok_and(|seen| {
            !self.chain.goes_on_from(seen.statement()) && self.chain.recovered(seen.statement()).is_none()
        })
    }
}
