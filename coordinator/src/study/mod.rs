//! What the coordinator does with each study kind: tell its error beforehand, and finish it.
//!
//! ```text
//! Question ─▶ notes, expected_error             (study check: nothing has run)
//! Question, sums of earlier rounds ─▶ Course    (what the next round is told)
//! Question, sums of all rounds ─▶ files         (finish: the result folder)
//! ```
//!
//! [`StudySpec`] and [`Plan`] are matched here without wildcards: a new study kind does not compile until it is told
//! what its result looks like.

mod course;
mod lookalike;
mod query;
mod train;

use std::collections::BTreeMap;

use entente_protocols::digest::Digest;
use entente_protocols::kind::Kind;
use entente_protocols::language::sums::SumsPlan;
use entente_protocols::privacy::mechanism::Scope;
use entente_protocols::privacy::rho::Rho;
use entente_protocols::study::lookalike::LookalikeSpec;
use entente_protocols::study::parts::Work;
use entente_protocols::study::plans::rounds::RoundsPlan;
use entente_protocols::study::plans::score::ScorePlan;
use entente_protocols::study::query::QuerySpec;
use entente_protocols::study::train::TrainSpec;
use entente_protocols::study::{Question, Study, StudySpec};

use crate::results::number::{self, Style};
use crate::results::{Header, PrivacyPart, StudyPart, json, model, reach};
use crate::store::{LostRound, RoundRecord};

pub use course::Course;

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
    pub course: &'a Course,
    /// All rounds, the last one last.
    pub rounds: &'a [RoundRecord],
    /// Rounds in which attempts were given up, and which are charged as well.
    pub lost: &'a [LostRound],
    /// When it was submitted.
    pub started: jiff::Timestamp,
    /// When the sum was there.
    pub finished: jiff::Timestamp,
    /// What came up while it ran; [`notes`] are added to it.
    pub warnings: &'a [String],
    /// Hash of what the receipt is about ([`entente_protocols::ledger::receipt`]).
    pub receipt: Digest,
}

/// The files of the result folder, by name.
///
/// # Errors
///
/// If the sum is not one of this question, with words for the operator.
pub fn finish(finished: &Finished<'_>) -> Result<BTreeMap<String, Vec<u8>>, String> {
    match planned(finished.study, finished.question)? {
        Planned::Query(spec, plan) => query::finish(finished, spec, plan),
        Planned::Train(spec, plan) => match finished.course {
            Course::Train(trainer) => train::finish(finished, spec, plan, trainer),
            Course::Query | Course::Lookalike => Err(UNLIKE.into()),
        },
        Planned::Lookalike(spec, plan) => lookalike::finish(finished, spec, plan),
    }
}

/// A fault in this program.
const UNLIKE: &str = "study, plan and state are of different kinds; please report it";

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

/// How far each measure will be from the truth at 95 %; for averages it is told for a group of 1000 rows.
pub fn expected_error(question: &Question) -> Vec<MeasureError> {
    match question.work() {
        Work::Sums(plan) => query::expected_error(plan, question.mechanism()),
        Work::Rounds(plan) => train::expected_error(plan, question),
        Work::Score(plan) => lookalike::expected_error(plan, question.mechanism()),
        Work::Hold(_) => Vec::new(),
    }
}

/// What a reader of the study or of its result should mind, known before anything runs.
pub fn notes(study: &Study, question: &Question) -> Vec<String> {
    let mut notes = match planned(study, question) {
        Ok(Planned::Query(spec, plan)) => query::notes(spec, plan),
        Ok(Planned::Train(spec, plan)) => train::notes(spec, plan),
        Ok(Planned::Lookalike(spec, plan)) => lookalike::notes(spec, plan),
        Err(_) => Vec::new(),
    };
    notes.extend(question.own_numbers().words());
    notes.extend(person_note(study, question));
    notes
}

/// A table as text, for terminals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Names of the columns, in the order of the result.
    pub columns: Vec<String>,
    /// The rows; measures as `value [low, high]`, rounded to what the interval supports.
    pub rows: Vec<Vec<String>>,
}

/// The table of a `result.json`; `None` if it has none.
pub fn table(result_json: &[u8]) -> Option<Table> {
    #[derive(serde::Deserialize)]
    struct Stated {
        study: OfKind,
    }
    #[derive(serde::Deserialize)]
    struct OfKind {
        kind: Kind,
    }
    let stated: Stated = serde_json::from_slice(result_json).ok()?;
    let (columns, rows) = match stated.study.kind {
        Kind::Query => json::read(result_json),
        Kind::Train => model::table(result_json),
        Kind::Lookalike => reach::table(result_json),
    }?;
    Some(Table { columns, rows })
}

/// A study with its plan, by kind.
enum Planned<'a> {
    Query(&'a QuerySpec, &'a SumsPlan),
    Train(&'a TrainSpec, &'a RoundsPlan),
    Lookalike(&'a LookalikeSpec, &'a ScorePlan),
}

fn planned<'a>(study: &'a Study, question: &'a Question) -> Result<Planned<'a>, String> {
    match (&study.spec, question.work()) {
        (StudySpec::Query(spec), Work::Sums(plan)) => Ok(Planned::Query(spec, plan)),
        (StudySpec::Train(spec), Work::Rounds(plan)) => Ok(Planned::Train(spec, plan)),
        (StudySpec::Lookalike(spec), Work::Score(plan)) => Ok(Planned::Lookalike(spec, plan)),
        (StudySpec::Query(_) | StudySpec::Train(_) | StudySpec::Lookalike(_), _) => Err(UNLIKE.into()),
    }
}

/// What every kind of result says about its study.
fn header<'a>(finished: &Finished<'a>) -> Header<'a> {
    let Finished { id, study, question, rounds, lost, started, finished: end, .. } = *finished;
    let mut warnings = notes(study, question);
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

#[cfg(test)]
mod tests;
