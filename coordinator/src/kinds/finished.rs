//! What every kind of study has when it is finished, and says of itself.

use entente_protocols::digest::Digest;
use entente_protocols::privacy::mechanism::Scope;
use entente_protocols::privacy::rho::Rho;
use entente_protocols::study::{Question, Study};

use super::round_state::RoundState;
use crate::results::header::{Header, PrivacyPart, StudyPart};
use crate::results::number::{self, Style};
use crate::store::{LostRound, RoundRecord};

/// A study whose rounds are all there.
#[derive(Clone, Copy)]
pub struct Finished<'a> {
    /// Its id.
    pub id: &'a str,
    /// The study.
    pub study: &'a Study,
    /// What was asked, of whom in the last attempt.
    pub question: &'a Question,
    /// What was made of the rounds' sums.
    pub state: &'a RoundState,
    /// All rounds, the last one last.
    pub rounds: &'a [RoundRecord],
    /// Rounds in which attempts were given up, and which are charged as well.
    pub lost: &'a [LostRound],
    /// When it was submitted.
    pub started: jiff::Timestamp,
    /// When the sum was there.
    pub finished: jiff::Timestamp,
    /// What came up while it ran, and what could be told before.
    pub warnings: &'a [String],
    /// Hash of what the receipt is about ([`entente_protocols::ledger::receipt`]).
    pub receipt: Digest,
}

/// How far a number will be from the truth, told before anything is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasureError {
    /// The measure's name.
    pub name: String,
    /// Half the width of its 95 % interval, in its own unit.
    pub half_width: f64,
    /// What this depends on, if on anything.
    pub note: Option<String>,
}

/// What every kind of result says about its study.
///
/// `own` is what its kind notes.
pub(super) fn header<'a>(finished: &Finished<'a>, own: Vec<String>) -> Header<'a> {
    let Finished { id, study, question, rounds, lost, started, finished: end, .. } = *finished;
    let mut warnings = notes(study, question, own);
    for warning in finished.warnings {
        if !warnings.contains(warning) {
            warnings.push(warning.clone());
        }
    }
    let study_part = StudyPart {
        id,
        name: &study.name,
        kind: study.spec.kind(),
        purpose: &study.purpose,
        legal_basis: study.legal_basis.as_deref(),
        plan_sha256: question.plan_digest(),
    };
    Header {
        study: study_part,
        participants: question.participants(),
        privacy: privacy(study, question, rounds, lost),
        started,
        finished: end,
        warnings,
        transcript_sha256: rounds.last().map_or(Digest::ZERO, |round| round.transcript),
        receipt_sha256: finished.receipt,
        repeated: rounds.iter().all(|round| round.repeated),
    }
}

fn privacy(study: &Study, question: &Question, rounds: &[RoundRecord], lost: &[LostRound]) -> PrivacyPart {
    let (terms, mechanism) = (&study.privacy, question.mechanism());
    // A division rounds to the nearest number, which prints as the decimal that the micro-units are.
    let value = |rho: Rho| rho.micro() as f64 / 1e6;
    let rho: Rho = rounds.iter().map(|round| round.rho).chain(lost.iter().map(|lost| lost.rho)).sum();
    let persons = rounds.iter().map(|round| round.rho_person).chain(lost.iter().map(|lost| lost.rho_person));
    let rho_person: Rho = persons.sum();
    PrivacyPart {
        scope: mechanism.scope(),
        epsilon: terms.epsilon,
        delta: terms.delta,
        rho: value(rho),
        rho_person: value(rho_person),
        rho_micro: rho,
        rho_person_micro: rho_person,
        epsilon_spent: finite(rho.epsilon(terms.delta)),
        epsilon_person: finite(rho_person.epsilon(terms.delta)),
        colluders: mechanism.colluders(),
        mechanism: if mechanism.participants() > 1 { "distributed discrete Gaussian" } else { "discrete Gaussian" },
    }
}

fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}

/// What a reader should mind: what the study's kind notes, and what is noted of every kind.
pub(super) fn notes(study: &Study, question: &Question, own: Vec<String>) -> Vec<String> {
    let mut notes = own;
    notes.extend(question.own_numbers().words());
    notes.extend(person_note(study, question));
    notes
}

/// The loss of a person who is a customer of several participants, where the study promises something else.
fn person_note(study: &Study, question: &Question) -> Option<String> {
    let mechanism = question.mechanism();
    let n = mechanism.participants();
    if mechanism.scope() == Scope::Person || n < 2 {
        return None;
    }
    let delta = study.privacy.delta;
    let readings = [question.rho_from(0), question.rho_person()].map(|rho| (rho, finite(rho.epsilon(delta))));
    let [spent, person] = readings.map(|(rho, epsilon)| match epsilon {
        Some(epsilon) => format!(
            "ρ = {}, that is ε = {} at δ = {delta:e}",
            number::trimmed(rho),
            number::half_width(epsilon, Style::Plain)
        ),
        None => format!("ρ = {}, for which no ε can be given", number::trimmed(rho)),
    });
    Some(format!(
        "The privacy promise is for one customer of one partner ({spent}). For a person who is a customer of all \
         {n} participants the loss is up to {n}² = {} times that ρ ({person}); scope = \"person\" promises ε to that \
         person instead, with about {n} times the noise.",
        u64::from(n).pow(2)
    ))
}
