//! The question of an attempt, made from what each participant has published.

use std::collections::BTreeMap;

use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::study::parts::Schemas;
use entente_protocols::study::{Earlier, Question, Study};

/// Of each partner the schema of the data set that a study is about, as far as it has one and needs it.
pub(super) fn schemas(
    study: &Study,
    published: &BTreeMap<String, Vec<DatasetSchema>>,
) -> Result<BTreeMap<String, DatasetSchema>, String> {
    let mut schemas = BTreeMap::new();
    for (partner, published) in published {
        if let Some(name) = study.spec.dataset_of(partner).map_err(|refusal| refusal.to_string())?
            && let Some(schema) = DatasetSchema::named(published.iter(), &name)
        {
            schemas.insert(partner.clone(), schema.clone());
        }
    }
    Ok(schemas)
}

/// Makes the question from what each participant has published, or says whose declaration differs, and how. What those will publish
/// who have never connected is taken to be as somebody else's: they are asked themselves before anything goes on.
pub(super) fn question(
    study: &Study,
    participants: &[String],
    published: &BTreeMap<String, Vec<DatasetSchema>>,
    earlier: Earlier,
) -> Result<Question, String> {
    let schemas = schemas(study, published)?;
    for (partner, published) in published {
        if let Some(name) = study.spec.dataset_of(partner).map_err(|refusal| refusal.to_string())?
            && !schemas.contains_key(partner)
        {
            return Err(no_dataset(partner, &name, published));
        }
    }
    let Some(example) = schemas.values().next() else { return Err("no participant has connected yet".to_owned()) };
    let known = Known { schemas: &schemas, example };
    Question::new(study, &known, participants, earlier).map_err(|refusal| refusal.to_string())
}

struct Known<'a> {
    schemas: &'a BTreeMap<String, DatasetSchema>,
    example: &'a DatasetSchema,
}

impl Schemas for Known<'_> {
    fn of(&self, participant: &str) -> Option<&DatasetSchema> {
        Some(self.schemas.get(participant).unwrap_or(self.example))
    }
}

fn no_dataset(partner: &str, dataset: &str, published: &[DatasetSchema]) -> String {
    let names: Vec<String> = published.iter().map(|schema| format!("`{}`", schema.name)).collect();
    let has = if names.is_empty() { "it has none".into() } else { format!("it has {}", names.join(", ")) };
    format!("`{partner}` has no data set `{dataset}`; {has}. Name the data set alike at every partner, in node.toml")
}

#[cfg(test)]
mod tests {
    use entente_protocols::testing;

    use super::*;

    fn schema(name: &str) -> DatasetSchema {
        DatasetSchema { name: name.into(), privacy_unit: "id".into(), columns: BTreeMap::new() }
    }

    fn asked(published: &[(&str, &[DatasetSchema])]) -> Result<Question, String> {
        let study = testing::study("n").query("SELECT COUNT(*) AS n FROM customers").build().unwrap();
        let published =
            published.iter().map(|(partner, published)| ((*partner).to_owned(), published.to_vec())).collect();
        question(&study, &["bank".into(), "telecom".into()], &published, Earlier::default())
    }

    #[test]
    fn who_has_no_such_data_set_is_named_and_who_was_never_here_is_not() {
        let customers = [schema("customers")];
        let both = asked(&[("bank", &customers), ("telecom", &customers)]).unwrap();
        assert_eq!(asked(&[("bank", &customers)]).unwrap(), both);
        let problem = asked(&[("bank", &customers), ("telecom", &[schema("clients")])]).unwrap_err();
        assert!(
            problem.contains("`telecom` has no data set `customers`") && problem.contains("`clients`"),
            "{problem}"
        );
        assert!(asked(&[]).unwrap_err().contains("no participant has connected"));
    }
}
