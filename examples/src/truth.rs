//! The true values of the example studies, computed from the whole tables, without bounding customers or noise. In an
//! alliance nobody could do this.

use std::collections::{BTreeMap, HashSet};

use std::path::Path;

use crate::alliance::Error;
use crate::tables::Table;

/// One row: group keys as text, and the value of each measure.
pub struct Row {
    /// In the order of the study's GROUP BY.
    pub keys: Vec<String>,
    /// By measure.
    pub measures: BTreeMap<&'static str, f64>,
}

/// The truth of an example study; `None` for any other.
pub fn of(study: &str) -> Option<Vec<Row>> {
    match study {
        "campaign-by-job" => campaign_by_job(),
        "churn-by-contract" => churn_by_contract(),
        "spend-by-quarter" => spend_by_quarter(),
        _ => None,
    }
}

/// What a model says of the customers of a CSV table, by the table's first column.
pub fn scores(model: &[u8], table: &Path) -> Result<BTreeMap<String, f64>, Error> {
    let folder = tempfile::tempdir()?;
    let (file, out) = (folder.path().join("model.json"), folder.path().join("scores.csv"));
    std::fs::write(&file, model)?;
    entente::scoring::predict(&entente::scoring::read_model(&file)?, table, Some(&out))?;
    let (table, scores) = (std::fs::read_to_string(table)?, std::fs::read_to_string(&out)?);
    // Scores stand in the order of the table's rows, in the last column.
    let names = table.lines().skip(1).map(|line| line.split(',').next().unwrap_or_default().to_owned());
    let last = |line: &str| line.rsplit(',').next().unwrap_or_default().trim().parse::<f64>();
    let rows = names.zip(scores.lines().skip(1).map(last));
    rows.map(|(name, score)| Ok((name, score?))).collect()
}

#[derive(Default)]
struct Group {
    rows: f64,
    sums: [f64; 2],
    customers: HashSet<&'static str>,
}

/// Groups rows by the keys that `row` gives, adds up its two values, and collects customers.
fn group(
    table: &Table,
    unit: &str,
    row: impl Fn(&[&'static str]) -> Option<(Vec<String>, [f64; 2])>,
) -> Option<BTreeMap<Vec<String>, Group>> {
    let unit = table.column(unit)?;
    let mut groups: BTreeMap<Vec<String>, Group> = BTreeMap::new();
    for fields in &table.rows {
        if let Some((keys, values)) = row(fields) {
            let group = groups.entry(keys).or_default();
            group.rows += 1.0;
            group.sums[0] += values[0];
            group.sums[1] += values[1];
            group.customers.insert(fields[unit]);
        }
    }
    Some(groups)
}

fn rows(
    groups: BTreeMap<Vec<String>, Group>,
    measures: impl Fn(&Group) -> BTreeMap<&'static str, f64>,
) -> Option<Vec<Row>> {
    Some(groups.into_iter().map(|(keys, group)| Row { keys, measures: measures(&group) }).collect())
}

fn campaign_by_job() -> Option<Vec<Row>> {
    let table = Table::of("clients")?;
    let [age, job, balance, y] = ["age", "job", "balance", "y"].map(|name| table.column(name));
    let (age, job, balance, y) = (age?, job?, balance?, y?);
    let groups = group(&table, "client_id", |fields| {
        let (years, euros): (u32, f64) = (fields[age].parse().ok()?, fields[balance].parse().ok()?);
        let won = f64::from(u8::from(fields[y] == "yes"));
        (years >= 25).then(|| (vec![fields[job].to_owned()], [euros.clamp(-2000.0, 10_000.0), won]))
    })?;
    rows(groups, |group| {
        [("clients", group.rows), ("balance", group.sums[0] / group.rows), ("won", group.sums[1])].into()
    })
}

fn churn_by_contract() -> Option<Vec<Row>> {
    let table = Table::of("subscribers")?;
    let [contract, tenure, churn, charges] =
        ["Contract", "tenure", "Churn", "MonthlyCharges"].map(|name| table.column(name));
    let (contract, tenure, churn, charges) = (contract?, tenure?, churn?, charges?);
    let groups = group(&table, "customerID", |fields| {
        let months: u32 = fields[tenure].parse().ok()?;
        let bin = match months {
            0..12 => "first year",
            12..36 => "1 to 3 years",
            _ => "longer",
        };
        let left = f64::from(u8::from(fields[churn] == "Yes"));
        Some((vec![fields[contract].to_owned(), bin.to_owned()], [left, fields[charges].parse().ok()?]))
    })?;
    rows(groups, |group| {
        [("subscribers", group.rows), ("churn", group.sums[0] / group.rows), ("charges", group.sums[1] / group.rows)]
            .into()
    })
}

fn spend_by_quarter() -> Option<Vec<Row>> {
    let table = Table::of("purchases")?;
    let (date, dollars) = (table.column("date")?, table.column("dollars")?);
    let groups = group(&table, "customer_id", |fields| {
        let (year, month): (&str, u32) = (&fields[date][..4], fields[date].get(5..7)?.parse().ok()?);
        let quarter = format!("{year}-{:02}-01", (month - 1) / 3 * 3 + 1);
        Some((vec![quarter], [fields[dollars].parse::<f64>().ok()?.clamp(0.0, 300.0), 0.0]))
    })?;
    rows(groups, |group| [("dollars", group.sums[0]), ("buyers", group.customers.len() as f64)].into())
}
