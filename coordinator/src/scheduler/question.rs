//! What the question of an attempt is made of: what each participant has published.

use std::collections::BTreeMap;

use entente_protocols::config::nearest;
use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::reason::Reason;
use entente_protocols::study::Study;
use entente_protocols::study::proposal::{MAX_SCHEMAS, Proposal};

/// Of each partner the schema of the data set that a study is about, as far as it needs one and has it.
///
/// # Errors
///
/// If one of the participants has published others and not this one, or if they do not fit into a proposal.
pub(super) fn schemas(
    study: &Study,
    participants: &[String],
    published: &BTreeMap<String, Vec<DatasetSchema>>,
) -> Result<BTreeMap<String, DatasetSchema>, Reason> {
    let mut schemas = BTreeMap::new();
    for (partner, published) in published {
        let Some(name) = study.spec.dataset_of(partner).map_err(|refusal| refusal.reason())? else { continue };
        match DatasetSchema::named(published.iter(), &name) {
            Some(schema) => drop(schemas.insert(partner.clone(), schema.clone())),
            None if participants.contains(partner) => return Err(no_dataset(partner, &name, published)),
            None => {}
        }
    }
    fit(study, schemas)
}

/// Schemas that fit into a proposal. Of others, nodes would refuse it, and would be lost for what is not theirs.
fn fit(study: &Study, schemas: BTreeMap<String, DatasetSchema>) -> Result<BTreeMap<String, DatasetSchema>, Reason> {
    let size =
        |schemas: BTreeMap<String, DatasetSchema>| Proposal::first(study.clone(), &[], "").over(schemas).schemas_size();
    let together = size(schemas.clone());
    if together <= MAX_SCHEMAS {
        return Ok(schemas);
    }
    let each = schemas.into_iter().map(|(partner, schema)| (size([(partner.clone(), schema)].into()), partner));
    let (largest, partner) = each.max().unwrap_or_default();
    let problem = format!(
        "the schemas of the participants' data sets take {together} bytes together, and a study has room for {MAX_SCHEMAS}; that of \
         `{partner}` is the largest, of {largest} bytes"
    );
    Err(Reason::from(problem).help("make its categories coarser, or declare only columns that studies need"))
}

/// The same, where what those will publish who have never connected is taken to be as somebody else's: they are asked themselves
/// before anything goes on.
///
/// # Errors
///
/// As above, and if nobody has connected.
pub(super) fn assumed_schemas(
    study: &Study,
    participants: &[String],
    published: &BTreeMap<String, Vec<DatasetSchema>>,
) -> Result<BTreeMap<String, DatasetSchema>, Reason> {
    let mut schemas = schemas(study, participants, published)?;
    let example = schemas.values().next().cloned().ok_or("no participant has connected yet")?;
    for partner in participants.iter().filter(|partner| !published.contains_key(*partner)) {
        if study.spec.dataset_of(partner).map_err(|refusal| refusal.reason())?.is_some() {
            schemas.insert(partner.clone(), example.clone());
        }
    }
    Ok(schemas)
}

fn no_dataset(partner: &str, dataset: &str, published: &[DatasetSchema]) -> Reason {
    let names: Vec<String> = published.iter().map(|schema| format!("`{}`", schema.name)).collect();
    let has = if names.is_empty() { "it has none".into() } else { format!("it has {}", names.join(", ")) };
    let instead = match nearest(dataset, published.iter().map(|schema| schema.name.as_str())) {
        Some(near) => {
            format!("did you mean `{near}`? If not, a data set has the same name at every partner, in node.toml")
        }
        None => "ask for one of those, or name the data set alike at every partner, in node.toml".into(),
    };
    Reason::from(format!("`{partner}` has no data set `{dataset}`; {has}")).help(instead)
}

#[cfg(test)]
mod tests {
    use entente_protocols::language::schema::ColumnType;
    use entente_protocols::testing;

    use super::*;

    fn schema(name: &str) -> DatasetSchema {
        DatasetSchema { name: name.into(), privacy_unit: "id".into(), columns: BTreeMap::new() }
    }

    fn asked(published: &[(&str, &[DatasetSchema])]) -> Result<BTreeMap<String, DatasetSchema>, Reason> {
        let study = testing::study("n").query("SELECT COUNT(*) AS n FROM customers").build().unwrap();
        let published =
            published.iter().map(|(partner, published)| ((*partner).to_owned(), published.to_vec())).collect();
        assumed_schemas(&study, &["bank".into(), "telecom".into()], &published)
    }

    #[test]
    fn who_has_no_such_data_set_is_named_and_who_was_never_here_is_not() {
        let customers = [schema("customers")];
        let both = asked(&[("bank", &customers), ("telecom", &customers)]).unwrap();
        assert_eq!(asked(&[("bank", &customers)]).unwrap(), both);
        let problem = asked(&[("bank", &customers), ("telecom", &[schema("clients")])]).unwrap_err().to_string();
        assert!(
            problem.contains("`telecom` has no data set `customers`") && problem.contains("`clients`"),
            "{problem}"
        );
        assert!(asked(&[]).unwrap_err().to_string().contains("no participant has connected"));
    }

    #[test]
    fn a_study_whose_schemas_have_no_room_is_refused_with_the_largest() {
        let large = |values: usize| {
            let values = (0..values).map(|value| format!("{value:0>1000}")).collect();
            let columns = [("kind".to_owned(), ColumnType::Category { values })].into();
            DatasetSchema { columns, ..schema("customers") }
        };
        let problem = asked(&[("bank", &[large(500)]), ("telecom", &[large(700)])]).unwrap_err().to_string();
        for part in ["1048576", "`telecom` is the largest, of 70"] {
            assert!(problem.contains(part), "{problem} lacks {part}");
        }
        // Those that are alike are there once.
        asked(&[("bank", &[large(700)]), ("telecom", &[large(700)])]).unwrap();
    }
}
