//! Entries: what they say.
//!
//! An entry is written as one line of JSON ([`super::line`]). Integers that may exceed 2^53 are decimal strings; ρ is in micro-units.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::absence::{Absence, Away};
use super::account::AccountKey;
use super::carry::CarriedOver;
use super::office::{CapChange, Hold, Note, Proposal, Recovery, RulesChange};
use crate::digest::Digest;
use crate::identity::petition::Petition;
use crate::policy::StudyRef;
use crate::privacy::mechanism::{Mechanism, Scope};
use crate::privacy::rho::Rho;

/// Where a chain of entries ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct Head {
    /// The number of entries.
    pub entries: u64,
    /// The hash of the last one.
    pub hash: Digest,
}

impl Head {
    /// Of a ledger without entries.
    pub const EMPTY: Self = Self { entries: 0, hash: Digest::ZERO };
}

/// What kind of thing an entry records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// A release is charged; nothing is computed yet.
    Reserved,
    /// The exact bytes to be sent are stored.
    Computed,
    /// The bytes were sent and the result is known.
    Released,
    /// A stored answer was sent again, at no charge.
    Repeated,
    /// A study was refused.
    Refused,
    /// An officer says something about an entry.
    Note,
    /// An officer stops a data set or a study kind.
    Paused,
    /// An officer lets it go on.
    Resumed,
    /// An officer proposes what takes two.
    Proposed,
    /// A population's cap, for the first time or changed.
    Cap,
    /// What was spent on a data set, in an older form of ledger, is carried over to its population.
    Carried,
    /// The rules that hold from now on.
    Rules,
    /// Two officers have taken over what witnesses saw and this ledger had lost.
    Recovered,
    /// Two officers go on without a witness, or one says that it is back.
    Away,
}

/// The noise of one component of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noise {
    /// What is summed.
    pub component: String,
    /// Squared L2 sensitivity, in grid units squared; decimal.
    pub sensitivity_squared: String,
    /// Standard deviation of each participant's noise, in grid units; decimal.
    pub sigma: String,
    /// How many numbers it releases.
    #[serde(default)]
    pub numbers: u64,
}

/// The privacy of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Privacy {
    /// The column that is one customer.
    pub privacy_unit: String,
    /// Whom the charge protects.
    pub scope: Scope,
    /// Largest number of groups one customer may touch.
    pub max_groups: u32,
    /// Largest number of rows one customer may count with.
    pub max_rows: u32,
    /// Numbers released for each component of sums in one release; 0 where components differ, which then say theirs.
    pub cells: u64,
    /// The mechanism's name.
    pub mechanism: String,
    /// n.
    pub participants: u32,
    /// t.
    pub colluders: u32,
    /// Component by component.
    pub noise: Vec<Noise>,
    /// The loss, in the stated scope.
    pub rho: Rho,
    /// The loss of a person who may be a customer of every participant.
    pub rho_person: Rho,
    /// The δ the study states.
    pub delta: f64,
    /// The loss as ε at this δ.
    pub epsilon: f64,
}

/// The name under which entries record the mechanism.
pub const MECHANISM: &str = "distributed discrete Gaussian";

impl Privacy {
    /// What a mechanism promises.
    pub fn of(mechanism: &Mechanism, privacy_unit: &str, delta: f64) -> Self {
        let layout = mechanism.layout();
        let noise =
            layout.components().iter().zip(mechanism.sigmas()).enumerate().map(|(i, (component, sigma))| Noise {
                component: component.to_string(),
                sensitivity_squared: layout.sensitivity_squared(i).to_string(),
                sigma: sigma.to_string(),
                numbers: layout.component_len(i) as u64,
            });
        Self {
            privacy_unit: privacy_unit.into(),
            scope: mechanism.scope(),
            max_groups: layout.max_groups(),
            max_rows: layout.max_rows(),
            cells: layout.cells() as u64,
            mechanism: MECHANISM.into(),
            participants: mechanism.participants(),
            colluders: mechanism.colluders(),
            noise: noise.collect(),
            rho: mechanism.rho(),
            rho_person: mechanism.rho_person(),
            delta,
            epsilon: mechanism.rho().epsilon(delta),
        }
    }
}

/// An account before and after an entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// What this entry charges: the release's ρ for RESERVED, nothing for every other state.
    pub charge: Rho,
    /// The account's cap.
    pub cap: Rho,
    /// Σρ before.
    pub spent_before: Rho,
    /// Σρ after.
    pub spent_after: Rho,
    /// Σ of the losses to a person, after.
    pub spent_person_after: Rho,
    /// The δ of the budget.
    pub delta: f64,
    /// Σρ before as ε at that δ.
    pub epsilon_before: f64,
    /// Σρ after as ε at that δ.
    pub epsilon_after: f64,
}

/// What is charged where the data set has an event column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct YearCharges {
    /// The event column.
    pub event: String,
    /// The years that are charged, in order. None where the study is not restricted to some: it is charged to all time.
    pub accounts: Vec<YearAccount>,
    /// Σρ after, of all time and of every year: what a customer with rows of all years has lost at most.
    pub spent_all_time: Rho,
    /// The same as ε, at the δ of the budget.
    pub epsilon_all_time: f64,
}

/// The account of a year before and after a charge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct YearAccount {
    /// The year.
    pub year: i16,
    /// Its account, without what is charged to all time.
    #[serde(flatten)]
    pub account: Account,
}

/// One entry of the ledger.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry<S = String> {
    /// Counted from 1.
    pub sequence: u64,
    /// Hash of the entry before; zeroes for the first.
    pub previous: Digest,
    /// RFC 3339, by the node's clock. Nothing depends on it.
    pub time: S,
    /// Name and version of the software.
    pub software: S,
    /// Which witnesses are away, by what was recorded before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub away: Vec<Absence>,
    /// What is recorded; its fields stand beside the others, and `state` says which they are.
    #[serde(flatten)]
    pub record: Record<S>,
}

/// What an entry records, by its state.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "UPPERCASE")]
pub enum Record<S = String> {
    /// See [`State::Reserved`].
    Reserved(Box<StudyRecord<S>>),
    /// See [`State::Computed`].
    Computed(Box<StudyRecord<S>>),
    /// See [`State::Released`].
    Released(Box<StudyRecord<S>>),
    /// See [`State::Repeated`].
    Repeated(Box<StudyRecord<S>>),
    /// See [`State::Refused`].
    Refused(Box<StudyRecord<S>>),
    /// See [`State::Note`].
    Note(Note),
    /// See [`State::Paused`].
    Paused(Hold),
    /// See [`State::Resumed`].
    Resumed(Hold),
    /// See [`State::Proposed`].
    Proposed(Proposal),
    /// See [`State::Cap`].
    Cap(CapChange),
    /// See [`State::Carried`].
    Carried(CarriedOver),
    /// See [`State::Rules`].
    Rules(RulesChange),
    /// See [`State::Recovered`].
    Recovered(Box<Recovery>),
    /// See [`State::Away`].
    Away(Away),
}

/// What is recorded of a study. Fields that do not apply to its state are null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StudyRecord<S = String> {
    /// Identifies a release over its states.
    pub release: Option<Digest>,
    /// The study.
    #[serde(serialize_with = "shared")]
    pub study: Arc<StudyRef>,
    /// The data set.
    pub dataset: S,
    /// The population whose account it is; none in entries from before there were populations, and where the data set is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub population: Option<S>,
    /// The data's snapshot, keyed so that nobody else can compare it.
    pub snapshot: Option<Digest>,
    /// The consent predicate that was applied.
    pub consent: Option<S>,
    /// Who asked.
    pub requester: S,
    /// Its signature, where that is a partner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub petition: Option<Petition>,
    /// Who is given the result.
    pub recipients: Vec<S>,
    /// All participants.
    pub participants: Vec<S>,
    /// The round of the study, counted from 1.
    pub round: Option<u32>,
    /// The loss; null where a study was refused before it could be known.
    #[serde(serialize_with = "maybe_shared")]
    pub privacy: Option<Arc<Privacy>>,
    /// The account.
    pub account: Account,
    /// What is charged where the data set has an event column; in entries that charge, and in no others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_year: Option<Box<YearCharges>>,
    /// The rule or the steward that approved.
    pub approved_by: Option<S>,
    /// T.
    pub transcript: Option<Digest>,
    /// SHA-256 of the stored bytes, for COMPUTED; of the published result, for RELEASED and REPEATED.
    pub result_sha256: Option<Digest>,
    /// Why a study was refused.
    pub reason: Option<S>,
}

impl<S> StudyRecord<S> {
    /// What it charges: to its account, or to that of each year.
    pub fn charge(&self) -> Rho {
        let of_year = self.by_year.as_ref().and_then(|by_year| by_year.accounts.first());
        of_year.map_or(self.account.charge, |year| year.account.charge)
    }

    /// Σρ after it, of all time and, where it is charged by year, of every year.
    pub fn spent_all_time(&self) -> Rho {
        self.by_year.as_ref().map_or(self.account.spent_after, |by_year| by_year.spent_all_time)
    }
}

impl<S: AsRef<str>> StudyRecord<S> {
    /// The account that it is about.
    pub fn account_key(&self) -> AccountKey {
        match &self.population {
            Some(population) => AccountKey::Population(population.as_ref().to_owned()),
            None => AccountKey::Dataset(self.dataset.as_ref().to_owned()),
        }
    }
}

/// What records share is written in each.
fn shared<S: Serializer>(value: &Arc<impl Serialize>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().serialize(serializer)
}

fn maybe_shared<S: Serializer>(value: &Option<Arc<impl Serialize>>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_deref().serialize(serializer)
}

impl<S> Entry<S> {
    /// What kind of thing it records.
    pub fn state(&self) -> State {
        match &self.record {
            Record::Reserved(_) => State::Reserved,
            Record::Computed(_) => State::Computed,
            Record::Released(_) => State::Released,
            Record::Repeated(_) => State::Repeated,
            Record::Refused(_) => State::Refused,
            Record::Note(_) => State::Note,
            Record::Paused(_) => State::Paused,
            Record::Resumed(_) => State::Resumed,
            Record::Proposed(_) => State::Proposed,
            Record::Cap(_) => State::Cap,
            Record::Carried(_) => State::Carried,
            Record::Rules(_) => State::Rules,
            Record::Recovered(_) => State::Recovered,
            Record::Away(_) => State::Away,
        }
    }

    /// What it records of a study, if it is about one.
    pub fn study(&self) -> Option<&StudyRecord<S>> {
        match &self.record {
            Record::Reserved(record)
            | Record::Computed(record)
            | Record::Released(record)
            | Record::Repeated(record)
            | Record::Refused(record) => Some(record),
            Record::Note(_)
            | Record::Paused(_)
            | Record::Resumed(_)
            | Record::Proposed(_)
            | Record::Cap(_)
            | Record::Carried(_)
            | Record::Rules(_)
            | Record::Recovered(_)
            | Record::Away(_) => None,
        }
    }
}
