//! The question of an attempt: one plan, which every participant's public schema must give.

use std::collections::BTreeMap;

use entente_protocols::language::schema::{ColumnType, DatasetSchema};
use entente_protocols::study::{Earlier, Plan, Question, Study};

/// Makes the question from what each participant has published, or says whose declaration differs, and how.
pub(super) fn question(
    study: &Study,
    participants: &[String],
    schemas: &BTreeMap<String, Vec<DatasetSchema>>,
    earlier: Earlier,
) -> Result<Question, String> {
    let dataset = study.spec.dataset().map_err(|refusal| refusal.to_string())?;
    let mut first: Option<(&str, &DatasetSchema, Question)> = None;
    for (partner, published) in schemas {
        let schema = DatasetSchema::named(published.iter(), &dataset);
        let schema = schema.ok_or_else(|| no_dataset(partner, &dataset, published))?;
        let Some((example, reference, known)) = &first else {
            let question =
                Question::new(study, schema, participants, earlier).map_err(|refusal| refusal.to_string())?;
            first = Some((partner, schema, question));
            continue;
        };
        if let Some(difference) = difference(known.plan(), (example, reference), (partner, schema)) {
            return Err(difference);
        }
        let question = Question::new(study, schema, participants, earlier)
            .map_err(|refusal| format!("at `{partner}`: {refusal}"))?;
        if question.digest() != known.digest() {
            return Err(format!(
                "the schema of data set `{dataset}` at `{partner}` gives another plan than at `{example}`; compare them: entente partners"
            ));
        }
    }
    first.map(|(_, _, question)| question).ok_or_else(|| "no participant has connected yet".to_owned())
}

fn no_dataset(partner: &str, dataset: &str, published: &[DatasetSchema]) -> String {
    let names: Vec<String> = published.iter().map(|schema| format!("`{}`", schema.name)).collect();
    let has = if names.is_empty() { "it has none".into() } else { format!("it has {}", names.join(", ")) };
    format!("`{partner}` has no data set `{dataset}`; {has}. Name the data set alike at every partner, in node.toml")
}

/// The first declaration that the plan relies on and that differs.
fn difference(
    plan: &Plan,
    (example, reference): (&str, &DatasetSchema),
    (partner, schema): (&str, &DatasetSchema),
) -> Option<String> {
    let dataset = &schema.name;
    if reference.privacy_unit != schema.privacy_unit {
        return Some(format!(
            "data set `{dataset}` has the privacy unit `{}` at `{example}`, but `{}` at `{partner}`; agree on one name",
            reference.privacy_unit, schema.privacy_unit
        ));
    }
    for (column, _) in plan.columns() {
        let (at_example, at_partner) = (reference.columns.get(column), schema.columns.get(column));
        if at_example != at_partner {
            return Some(format!(
                "column `{column}` of data set `{dataset}` is declared as {} at `{example}`, but {} at `{partner}`; agree on one declaration",
                declaration(at_example),
                declaration(at_partner)
            ));
        }
    }
    None
}

/// A declaration as node.toml has it.
fn declaration(column: Option<&ColumnType>) -> String {
    let Some(column) = column else { return "nothing".into() };
    let text = toml::Value::try_from(column).map_or_else(|_| column.to_string(), |value| value.to_string());
    if text.chars().count() > 400 { text.chars().take(400).chain(['…']).collect() } else { text }
}

#[cfg(test)]
mod tests {
    use entente_protocols::testing;

    use super::*;

    fn schema(change: impl Fn(&mut DatasetSchema)) -> Vec<DatasetSchema> {
        let region = ColumnType::Category { values: vec!["north".into(), "south".into()] };
        let age = ColumnType::Int { min: Some(18), max: Some(95) };
        let mut schema = DatasetSchema {
            name: "customers".into(),
            privacy_unit: "id".into(),
            columns: [("region".into(), region), ("age".into(), age), ("other".into(), ColumnType::Bool)].into(),
        };
        change(&mut schema);
        vec![schema]
    }

    fn asked(change: impl Fn(&mut DatasetSchema)) -> Result<Question, String> {
        let study =
            testing::study("n").query("SELECT region, AVG(age) AS age FROM customers GROUP BY region").build().unwrap();
        let schemas = [("bank".to_owned(), schema(|_| ())), ("telecom".to_owned(), schema(change))];
        question(&study, &["bank".into(), "telecom".into()], &schemas.into(), Earlier::default())
    }

    #[test]
    fn a_difference_names_the_partner_the_column_and_both_declarations() {
        assert!(asked(|_| ()).is_ok());
        assert!(asked(|schema| drop(schema.columns.remove("other"))).is_ok(), "what the plan does not use may differ");
        type Change = fn(&mut DatasetSchema);
        let cases: [(Change, &[&str]); 4] = [
            (|s| s.name = "clients".into(), &["`telecom` has no data set `customers`", "it has `clients`"]),
            (|s| s.privacy_unit = "key".into(), &["privacy unit `id` at `bank`", "`key` at `telecom`"]),
            (|s| drop(s.columns.remove("age")), &["column `age`", "nothing at `telecom`"]),
            (
                |s| drop(s.columns.insert("age".into(), ColumnType::Int { min: Some(0), max: Some(95) })),
                &["column `age`", "min = 18", "min = 0", "`telecom`"],
            ),
        ];
        for (change, expected) in cases {
            let problem = asked(change).unwrap_err();
            for part in expected {
                assert!(problem.contains(part), "{problem} lacks {part}");
            }
        }
    }
}
