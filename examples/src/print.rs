//! What the quickstart prints.

use std::path::Path;

use comfy_table::{Table, presets};
use entente_examples::alliance::Error;
use entente_examples::truth::Row;
use entente_node::state::Folder;
use entente_node::store::LedgerStore;
use entente_protocols::ledger::entry::{State, StudyRecord};
use entente_protocols::ledger::store::Store;
use entente_protocols::privacy::mechanism::Scope;
use entente_protocols::privacy::rho::Rho;
use entente_protocols::study::Study;
use serde_json::Value;

/// A heading.
pub fn rule(title: &str) -> String {
    format!("── {title} {}", "─".repeat(90usize.saturating_sub(title.chars().count())))
}

/// Whom a study's promise protects.
pub fn scope(study: &Study) -> &'static str {
    match study.privacy.scope {
        Scope::Customer => "for each customer of each partner",
        Scope::Person => "for each person, even one who is a customer of all",
    }
}

fn table(header: Vec<String>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header(header);
    table
}

/// A result as a table, each measure with its interval and the true value.
pub fn beside_the_truth(result: &Value, truth: &[Row]) -> Result<(), Error> {
    let columns: Vec<&str> =
        result["columns"].as_array().ok_or("no columns")?.iter().filter_map(Value::as_str).collect();
    let rows = result["rows"].as_array().ok_or("no rows")?;
    let first = rows.first().ok_or("no rows")?;
    let is_measure = |column: &str| first[column].is_object();
    let header = columns.iter().flat_map(|column| match is_measure(column) {
        true => vec![(*column).to_owned(), "95 %".into(), "true".into()],
        false => vec![(*column).to_owned()],
    });
    let mut table = table(header.collect());
    let (mut covered, mut numbers) = (0, 0);
    for row in rows {
        let keys: Vec<String> =
            columns.iter().filter(|column| !is_measure(column)).map(|column| key(&row[*column])).collect();
        let known = truth.iter().find(|truth| truth.keys == keys);
        let mut cells = Vec::new();
        for column in &columns {
            let Some(value) = row[*column]["value"].as_f64() else {
                cells.push(key(&row[*column]));
                continue;
            };
            let (low, high) =
                (row[*column]["low"].as_f64().unwrap_or(value), row[*column]["high"].as_f64().unwrap_or(value));
            let exact = known.and_then(|truth| truth.measures.get(column).copied()).unwrap_or(0.0);
            let digits = if high - low < 2.0 {
                3
            } else if high - low < 50.0 {
                1
            } else {
                0
            };
            numbers += 1;
            covered += usize::from(low <= exact && exact <= high);
            cells.extend([
                format!("{value:.digits$}"),
                format!("{low:.digits$} … {high:.digits$}"),
                format!("{exact:.digits$}"),
            ]);
        }
        table.add_row(cells);
    }
    println!("{table}");
    println!(
        "{covered} of {numbers} intervals hold the true value (noise alone would give 95 %; bounding a customer's share adds a bias)"
    );
    let rho = &result["privacy"]["rho"];
    println!("charged at each node: ρ = {rho}");
    Ok(())
}

fn key(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What a model does on customers it has not seen.
pub fn model(result: &Value) -> Result<(), Error> {
    let metrics = result["metrics"].as_object().ok_or("no metrics")?;
    let mut table = table(["metric", "held-out", "95 %"].map(String::from).into());
    for (name, estimate) in metrics {
        let number = |part: &str| estimate[part].as_f64().unwrap_or(f64::NAN);
        table.add_row([
            name.clone(),
            format!("{:.3}", number("value")),
            format!("{:.3} … {:.3}", number("low"), number("high")),
        ]);
    }
    println!("{table}");
    let rounds = result["rounds"].as_array().ok_or("no rounds")?;
    println!("{} releases; charged at each node: ρ = {}", rounds.len(), result["privacy"]["rho"]);
    Ok(())
}

/// The released reach at each score, beside the true one.
pub fn reach(result: &Value, scores: &[f64]) -> Result<(), Error> {
    let mut table = table(["score ≥", "of the seeds", "candidates", "95 %", "true", "lift"].map(String::from).into());
    let steps = result["reach"].as_array().ok_or("no reach")?;
    // Of some twenty, every third from the best.
    for step in steps.iter().rev().step_by(3) {
        let number = |path: &str| step.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let threshold = number("/threshold");
        table.add_row([
            format!("{threshold:.3}"),
            format!("{:.0} %", 100.0 * number("/seeds")),
            format!("{:.0}", number("/size/value")),
            format!("{:.0} … {:.0}", number("/size/low"), number("/size/high")),
            scores.iter().filter(|score| **score >= threshold).count().to_string(),
            format!("{:.1}", number("/lift/value")),
        ]);
    }
    println!("{table}");
    println!(
        "The retailer saw no subscriber, the telecom no weight; the scores are at the telecom alone. Charged there: ρ = {}",
        result["privacy"]["rho"]
    );
    Ok(())
}

/// That a question asked again is answered again, not computed.
pub fn repeated(result: &Value) -> Result<(), Error> {
    match result["repeated"].as_bool() {
        Some(true) => println!("answered with the very same bytes from each node's outbox; nothing was charged"),
        _ => return Err("the same question was computed again".into()),
    }
    Ok(())
}

/// A node's ledger, study by study.
pub fn ledger(dir: &Path) -> Result<(), Error> {
    let store = LedgerStore::open_read_only(&Folder::new(dir).state("ledger.sqlite"))?;
    let mut studies: Vec<(StudyRecord, State, usize, Rho)> = Vec::new();
    let entries = store.entries()?;
    for line in &entries {
        let entry = line.entry()?;
        let (Some(record), state) = (entry.study().cloned(), entry.state()) else { continue };
        let charge = record.charge();
        let released = usize::from(state == State::Reserved);
        match studies.iter_mut().find(|(known, ..)| known.study.id == record.study.id) {
            Some((last, ended, releases, charged)) => {
                (*last, *ended, *releases, *charged) = (record, state, *releases + released, charged.plus(charge));
            }
            None => studies.push((record, state, released, charge)),
        }
    }
    let header = ["study", "data set", "releases", "ended as", "charged ρ", "spent ρ", "of ρ", "ε spent"];
    let mut table = table(header.map(String::from).into());
    for (last, ended, releases, charged) in studies {
        table.add_row([
            last.study.name.clone(),
            last.dataset,
            releases.to_string(),
            format!("{ended:?}").to_uppercase(),
            charged.to_string(),
            last.account.spent_after.to_string(),
            last.account.cap.to_string(),
            format!("{:.2}", last.account.epsilon_after),
        ]);
    }
    println!("{table}\n{} entries, each with the hash of the one before", entries.len());
    Ok(())
}
