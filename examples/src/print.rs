//! What the quickstart prints.

use std::path::Path;

use comfy_table::{Table, presets};
use entente_examples::alliance::Error;
use entente_examples::truth::Row;
use entente_node::state::Folder;
use entente_node::store::LedgerStore;
use entente_protocols::ledger::entry::Entry;
use entente_protocols::ledger::store::Store;
use entente_protocols::privacy::mechanism::Scope;
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

/// That a question asked again is answered again, not computed.
pub fn repeated(result: &Value) -> Result<(), Error> {
    match result["repeated"].as_bool() {
        Some(true) => println!("answered with the very same bytes from each node's outbox; nothing was charged"),
        _ => return Err("the same question was computed again".into()),
    }
    Ok(())
}

/// A node's ledger.
pub fn ledger(dir: &Path) -> Result<(), Error> {
    let header = ["#", "state", "data set", "study", "charge ρ", "spent ρ", "cap ρ", "ε spent"];
    let mut table = table(header.map(String::from).into());
    let store = LedgerStore::open_read_only(&Folder::new(dir).state("ledger.sqlite"))?;
    for line in store.entries()? {
        let entry: Entry = serde_json::from_str(&line.json)?;
        table.add_row([
            entry.sequence.to_string(),
            format!("{:?}", entry.state).to_uppercase(),
            entry.dataset,
            entry.study.name,
            entry.account.charge.to_string(),
            entry.account.spent_after.to_string(),
            entry.account.cap.to_string(),
            format!("{:.2}", entry.account.epsilon_after),
        ]);
    }
    println!("{table}");
    Ok(())
}
