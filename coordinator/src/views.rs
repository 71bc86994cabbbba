//! What the coordinator tells the operator's command line about partners and studies; `--json` prints these as they are.

use std::collections::BTreeMap;

use entente_protocols::digest::Digest;
use entente_protocols::identity::PublicIdentity;
use entente_protocols::kind::Kind;
use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::ledger::Head;
use serde::{Deserialize, Serialize};

use crate::store::StudyState;

/// All partners.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartnersView {
    /// The alliance's name.
    pub alliance: String,
    /// Fingerprint of the roster, to be compared with what nodes show.
    pub roster_fingerprint: Digest,
    /// Who is enrolled.
    pub partners: Vec<PartnerView>,
}

/// One partner.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartnerView {
    /// Its name.
    pub name: String,
    /// Whether its node is connected.
    pub connected: bool,
    /// Since when it is, or was last seen; RFC 3339.
    pub since: Option<String>,
    /// From where it connects.
    pub address: Option<String>,
    /// Name and version of its software.
    pub software: Option<String>,
    /// When it enrolled; RFC 3339.
    pub enrolled: String,
    /// Its identity key.
    pub identity: PublicIdentity,
    /// Public schemas of its data sets.
    pub datasets: Vec<DatasetSchema>,
    /// The end of its ledger, as it last said.
    pub ledger: Option<Head>,
    /// Its clock minus the coordinator's, in seconds.
    pub clock_ahead_seconds: Option<i64>,
    /// What it has spent, as the coordinator has witnessed it.
    pub witnessed: Option<WitnessedView>,
    /// Alarms about its ledger that nobody has acknowledged.
    pub alarms: Vec<AlarmView>,
    /// What should be looked into.
    pub notices: Vec<String>,
}

/// The newest checkpoint of a node's ledger that the coordinator has cosigned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WitnessedView {
    /// The end of the ledger.
    pub ledger: Head,
    /// Its accounts by population; of a ledger from before there were populations, by data set.
    pub accounts: BTreeMap<String, AccountView>,
}

/// A population's account.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct AccountView {
    /// Σρ of the charges, each in its study's scope.
    pub spent_rho: f64,
    /// Σρ of a person who may be a customer of every participant.
    pub spent_rho_person: f64,
    /// The cap, as ρ.
    pub cap_rho: f64,
}

/// An alarm: what a node's ledger shows contradicts what was witnessed of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AlarmView {
    /// By which it is acknowledged.
    pub number: i64,
    /// What contradicts what.
    pub reason: String,
    /// When it was first seen; RFC 3339.
    pub first: String,
    /// When it was last seen; RFC 3339.
    pub last: String,
}

/// One study.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StudyView {
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Its purpose.
    pub purpose: String,
    /// Who asked for it: the operator, or a partner.
    pub requester: String,
    /// When it was submitted; RFC 3339.
    pub created: String,
    /// Whether it goes on.
    pub state: StudyState,
    /// The present attempt.
    pub attempt: u32,
    /// Its participants.
    pub participants: Vec<String>,
    /// The stage it is in, while it runs.
    pub stage: Option<String>,
    /// Who is waited for.
    pub waiting: Vec<WaitingView>,
    /// What happened on the way.
    pub notes: Vec<String>,
    /// Why it ended, if not well.
    pub reason: Option<String>,
}

/// A partner that a study waits for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WaitingView {
    /// Who.
    pub partner: String,
    /// For what.
    pub reason: String,
}

/// What a study would cost, how accurate it would be, and who would approve.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckView {
    /// The study's name.
    pub study: String,
    /// Its kind.
    pub kind: Kind,
    /// Who would take part.
    pub participants: Vec<String>,
    /// Whether somebody would refuse.
    pub refused: bool,
    /// Why it cannot be asked at all, if so.
    pub problem: Option<String>,
    /// What to do about that, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The promise.
    pub privacy: Option<PrivacyView>,
    /// The predicted error of each measure at 95 %.
    pub measures: Vec<MeasureView>,
    /// What to mind.
    pub notes: Vec<String>,
    /// The answer of each participant.
    pub partners: Vec<AnswerView>,
}

/// The privacy that a study would have.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PrivacyView {
    /// `customer` or `person`.
    pub scope: String,
    /// ρ.
    pub rho: f64,
    /// ρ as ε at `delta`.
    pub epsilon: f64,
    /// δ.
    pub delta: f64,
    /// ρ of a person who may be a customer of every participant.
    pub rho_person: f64,
    /// That as ε, where it can be given.
    pub epsilon_person: Option<f64>,
    /// t.
    pub colluders: u32,
}

/// The predicted error of a measure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MeasureView {
    /// The measure's name.
    pub name: String,
    /// Half the width of its 95 % interval.
    pub error: f64,
    /// What this depends on.
    pub note: Option<String>,
}

/// What a participant would answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AnswerView {
    /// Who.
    pub name: String,
    /// `rules`, `steward`, `refused`, `unconfirmed` where its staff have not confirmed the roster, or `unknown` where it did not answer.
    pub approval: String,
    /// Why it would refuse, what its staff have to do, or why it did not answer.
    pub reason: Option<String>,
    /// What it would be charged, as ρ.
    pub rho: Option<f64>,
    /// That as ε at the study's δ.
    pub epsilon: Option<f64>,
    /// What its data set has spent, as ρ.
    pub spent_rho: Option<f64>,
    /// That as ε at the study's δ.
    pub spent_epsilon: Option<f64>,
    /// The data set's cap, as ρ.
    pub cap_rho: Option<f64>,
    /// That as ε at the study's δ.
    pub cap_epsilon: Option<f64>,
}

/// A study's result, file by file.
pub type Files = BTreeMap<String, Vec<u8>>;
