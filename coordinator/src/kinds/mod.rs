//! What the coordinator does with each study kind: tell its error beforehand, and finish it.
//!
//! ```text
//! Question ─▶ notes, expected_error               (study check: nothing has run)
//! Question, sums of earlier rounds ─▶ RoundState  (what the next round is told)
//! Question, sums of all rounds ─▶ files           (finish: the result folder)
//! ```
//!
//! [`StudySpec`] and [`Work`] are matched here without wildcards: a new study kind does not compile until it is told
//! what its result looks like.

mod finished;
mod lookalike;
mod query;
mod round_state;
pub(crate) mod train;

use std::collections::BTreeMap;

use entente_protocols::kind::Kind;
use entente_protocols::language::sums::SumsPlan;
use entente_protocols::study::lookalike::LookalikeSpec;
use entente_protocols::study::parts::Work;
use entente_protocols::study::plans::rounds::RoundsPlan;
use entente_protocols::study::plans::score::ScorePlan;
use entente_protocols::study::query::QuerySpec;
use entente_protocols::study::train::TrainSpec;
use entente_protocols::study::{Question, Study, StudySpec};

pub use finished::{Finished, MeasureError};
pub use round_state::RoundState;

/// The files of the result folder, by name.
///
/// # Errors
///
/// If the sum is not one of this question, with words for the operator.
pub fn finish(finished: &Finished<'_>) -> Result<BTreeMap<String, Vec<u8>>, String> {
    match planned(finished.study, finished.question)? {
        Planned::Query(spec, plan) => query::finish(finished, spec, plan),
        Planned::Train(spec, plan) => match finished.state {
            RoundState::Rounds(trainer) => train::finish(finished, spec, plan, trainer),
            RoundState::Sums | RoundState::Score => Err(UNLIKE.into()),
        },
        Planned::Lookalike(spec, plan) => lookalike::finish(finished, spec, plan),
    }
}

/// A fault in this program.
const UNLIKE: &str = "study, plan and state are of different kinds; please report it";

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
    let own = match planned(study, question) {
        Ok(Planned::Query(spec, plan)) => query::notes(spec, plan),
        Ok(Planned::Train(spec, plan)) => train::notes(spec, plan),
        Ok(Planned::Lookalike(spec, plan)) => lookalike::notes(spec, plan),
        Err(_) => Vec::new(),
    };
    finished::notes(study, question, own)
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
        Kind::Query => query::table(result_json),
        Kind::Train => train::table(result_json),
        Kind::Lookalike => lookalike::table(result_json),
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
