//! What every result says about its study, whatever its kind.

use entente_protocols::digest::Digest;
use entente_protocols::kind::Kind;
use entente_protocols::privacy::mechanism::Scope;
use entente_protocols::privacy::rho::Rho;
use serde::Serialize;

/// What every result says about its study, whatever its kind; the order of the fields is that of `result.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Header<'a> {
    /// The study.
    pub study: StudyPart<'a>,
    /// Who took part, sorted.
    pub participants: &'a [String],
    /// What was promised and what was spent.
    pub privacy: PrivacyPart,
    /// When it was submitted.
    pub started: jiff::Timestamp,
    /// When the result was there.
    pub finished: jiff::Timestamp,
    /// What a reader must know to not misread the numbers.
    pub warnings: Vec<String>,
    /// Hash of the transcript that all participants signed.
    pub transcript_sha256: Digest,
    /// Hash of the subject of the receipt, which names this file in turn.
    pub receipt_sha256: Digest,
    /// Whether this is an earlier release once more, at no charge.
    pub repeated: bool,
}

/// See [`Header::study`].
#[derive(Clone, Debug, Serialize)]
pub struct StudyPart<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its kind.
    pub kind: Kind,
    /// Why it was made.
    pub purpose: &'a str,
    /// Its legal basis, where stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legal_basis: Option<&'a str>,
    /// Hash of the canonical plan.
    pub plan_sha256: Digest,
}

/// See [`Header::privacy`]. ρ is in its own unit, and in micro-units as decimal strings.
#[derive(Clone, Debug, Serialize)]
pub struct PrivacyPart {
    /// Whom the stated loss protects.
    pub scope: Scope,
    /// The ε that the study stated.
    pub epsilon: f64,
    /// Its δ.
    pub delta: f64,
    /// The charge, in the stated scope.
    pub rho: f64,
    /// The loss of a person who is a customer of every participant.
    pub rho_person: f64,
    /// [`Self::rho`] as every ledger has it.
    pub rho_micro: Rho,
    /// [`Self::rho_person`] likewise.
    pub rho_person_micro: Rho,
    /// The tight ε of the charge at δ; null where it is not finite.
    pub epsilon_spent: Option<f64>,
    /// The tight ε of the person reading at δ; null where it is not finite.
    pub epsilon_person: Option<f64>,
    /// How many participants may collude with the coordinator.
    pub colluders: u32,
    /// The mechanism's name.
    pub mechanism: &'static str,
}
