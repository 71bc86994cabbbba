//! Rehearsals: a query over invented rows of the schemas that partners have published, so that its SQL is debugged without anybody's
//! data, budget or ledger.
//!
//! ```text
//! public schemas ─▶ invented rows ─▶ the study's plan, expressions by entente_tables ─▶ sums + noise of a run's size ─▶ result, marked
//! ```
//!
//! Planned, evaluated and shown as in a run, by the same code; but added up here, as every invented customer has one row and there is
//! nothing to bound. Nothing is protected, as nothing is about anybody: the noise has the size of a run's, and is no mechanism's.

mod invented;
mod sums;

use std::collections::BTreeMap;

use entente_host::Error;
use entente_host::random::random;
use entente_protocols::digest::Digest;
use entente_protocols::identity::petition::OPERATOR;
use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::language::sums::SumsPlan;
use entente_protocols::privacy::rho::Rho;
use entente_protocols::study::parts::Work;
use entente_protocols::study::proposal::Proposal;
use entente_protocols::study::{Question, Study};
use entente_protocols::wire::message::REHEARSAL;

use crate::kinds::{self, Finished, RoundState};
use crate::store::RoundRecord;
use invented::Draws;

/// What stands before the study's name, in every file that has it, and before the name of every file.
const MARK: &str = "REHEARSAL";
/// The name of a file of a rehearsal.
pub(crate) fn marked(file: &str) -> String {
    format!("{MARK}-{file}")
}

/// How many customers each partner is given.
const CUSTOMERS: usize = 1000;

/// The result of a study over invented rows, file by file.
///
/// # Errors
///
/// Where a run would be refused for what it asks; or if it is of a kind that is not rehearsed.
pub(crate) fn rehearse(
    study: &Study,
    participants: &[String],
    schemas: BTreeMap<String, DatasetSchema>,
    now: jiff::Timestamp,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let proposal = Proposal::first(study.clone(), participants, OPERATOR).over(schemas);
    let question = proposal.question().map_err(|refusal| Error::refused(refusal.reason()))?;
    let Work::Sums(plan) = question.work() else {
        return Err(Error::refused(format!("studies of kind {} are not rehearsed, only queries", study.spec.kind()))
            .help("without --rehearse, `study check` says what is wrong with its SQL, and how accurate it will be"));
    };
    let sum = noisy(&question, plan).map_err(Error::failed)?;
    let named = Study { name: format!("{MARK}, invented rows: {}", study.name), ..study.clone() };
    let mechanism = question.mechanism();
    let round = RoundRecord {
        round: 1,
        attempt: 1,
        participants: mechanism.participants(),
        plan: question.plan_digest(),
        transcript: Digest::ZERO,
        repeated: false,
        rho: Rho::ZERO,
        rho_person: Rho::ZERO,
        sd: (0..mechanism.sigmas().len()).map(|component| mechanism.total_sd(component)).collect(),
        sum,
        seconds: 0.0,
    };
    let warnings = [format!(
        "{MARK}: all rows are invented, {CUSTOMERS} customers of each partner with one row each and values anywhere in their declared \
         ranges. No number says anything about anybody. Nothing was charged; the noise has the size that a run's would have."
    )];
    let finished = Finished {
        id: REHEARSAL,
        study: &named,
        question: &question,
        state: &RoundState::Sums,
        rounds: &[round],
        lost: &[],
        started: now,
        finished: now,
        warnings: &warnings,
        receipt: Digest::ZERO,
    };
    let files = kinds::finish(&finished).map_err(Error::failed)?;
    Ok(files.into_iter().map(|(name, content)| (marked(&name), content)).collect())
}

/// The sums over all partners' invented rows, with noise.
fn noisy(question: &Question, plan: &SumsPlan) -> Result<Vec<i64>, String> {
    let (mechanism, mut total) = (question.mechanism(), vec![0i64; plan.layout().len()]);
    for partner in question.contributors() {
        // The same rows every time, so that a number that changes has changed by the SQL or by noise.
        let mut draws = Draws::of(partner.as_bytes());
        let sums = sums::over(plan, &mut draws, CUSTOMERS)?;
        total.iter_mut().zip(sums).for_each(|(total, sum)| *total = total.wrapping_add(sum));
    }
    let mut draws = Draws::of(&random::<16>().map_err(|error| error.to_string())?);
    for (component, range) in plan.layout().ranges().into_iter().enumerate() {
        let sd = mechanism.total_sd(component);
        total[range].iter_mut().for_each(|sum| *sum = sum.wrapping_add((draws.normal() * sd) as i64));
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use entente_protocols::language::schema::{ColumnType, Day};
    use entente_protocols::testing;

    use super::*;

    fn schema() -> DatasetSchema {
        let columns = [
            ("region", ColumnType::Category { values: ["north", "south"].map(String::from).into() }),
            ("age", ColumnType::Int { min: Some(18), max: Some(95) }),
            ("spend", ColumnType::Float { min: Some(0.0), max: Some(100.0) }),
            ("joined", ColumnType::Date { min: Some(Day(0)), max: Some(Day(10_000)) }),
            ("churned", ColumnType::Bool),
        ];
        let columns = columns.map(|(name, column)| (name.to_owned(), column)).into();
        DatasetSchema { name: "customers".into(), privacy_unit: "id".into(), columns }
    }

    fn rehearsed(study: &Study) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let partners = ["bank", "telecom"].map(String::from);
        let schemas = partners.iter().map(|partner| (partner.clone(), schema())).collect();
        rehearse(study, &partners, schemas, jiff::Timestamp::UNIX_EPOCH)
    }

    fn query(sql: &str) -> Study {
        testing::study("spend").epsilon(4.0).sql(sql).build().unwrap()
    }

    /// 2000 invented customers with one in twenty values missing; noise of a standard deviation of some rows.
    #[test]
    fn numbers_are_those_of_invented_rows_and_every_file_says_so() {
        let study = query(
            "SELECT region, COUNT(*) AS n, COUNT(DISTINCT id) AS c, AVG(age) AS age, SUM(spend) AS s FROM customers WHERE joined >= DATE \
             '1970-01-01' OR churned GROUP BY region",
        );
        let files = rehearsed(&study).unwrap();
        assert!(files.len() >= 4 && files.keys().all(|name| name.starts_with("REHEARSAL-")), "{:?}", files.keys());
        for name in ["REHEARSAL-result.json", "REHEARSAL-report.html"] {
            let text = String::from_utf8_lossy(&files[name]);
            assert!(
                text.contains("REHEARSAL, invented rows: spend") && text.contains("No number says anything"),
                "{name}"
            );
        }
        let result: serde_json::Value = serde_json::from_slice(&files["REHEARSAL-result.json"]).unwrap();
        assert_eq!((&result["study"]["id"], &result["privacy"]["rho"]), (&"rehearsal".into(), &0.0.into()));
        let rows = result["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 2);
        let value = |row: &serde_json::Value, measure: &str| row[measure]["value"].as_f64().unwrap();
        for row in rows {
            assert!((700.0..1200.0).contains(&value(row, "n")) && (700.0..1200.0).contains(&value(row, "c")), "{row}");
            assert!((50.0..63.0).contains(&value(row, "age")), "{row}");
            assert!((30_000.0..70_000.0).contains(&value(row, "s")), "{row}");
        }
    }

    #[test]
    fn what_a_run_would_be_refused_for_a_rehearsal_is_refused_for() {
        let error = |study: &Study| rehearsed(study).unwrap_err().to_string();
        let unknown = error(&query("SELECT COUNT(*) AS n FROM customers WHERE agee > 3"));
        let study = query("SELECT COUNT(*) AS n FROM customers WHERE agee > 3");
        let partners = ["bank", "telecom"].map(String::from);
        let proposal = Proposal::first(study, &partners, OPERATOR)
            .over(partners.iter().map(|partner| (partner.clone(), schema())));
        assert_eq!(unknown, Error::refused(proposal.question().unwrap_err().reason()).to_string());
        let training = testing::study("t").train("logistic", "SELECT id, age, churned FROM customers");
        let training = error(&training.with("target", "churned").build().unwrap());
        assert!(training.contains("only queries"), "{training}");
    }
}
