//! What people read of hand-made models; whole result folders are tested where studies are finished.

use entente_protocols::learn::model::{Model, Recode, Recoding};
use entente_protocols::learn::recipe::{Feature, Recipe, Target, Values};

use super::super::terms::{profiles, terms, text};
use super::super::{samples, table};
use super::*;

fn recipe() -> Recipe {
    let feature = |name: &str, values| Feature { name: name.into(), values };
    let regions = ["north", "south"].map(str::to_owned).to_vec();
    Recipe {
        features: vec![
            feature("spend", Values::Number { low: 0.0, high: 65534.0 }),
            feature("region", Values::Category { values: regions }),
            feature("joined", Values::Date { low: 0, high: 65534 }),
        ],
    }
}

fn number() -> Option<Target> {
    Some(Target { name: "amount".into(), values: Values::Number { low: 0.0, high: 200.0 } })
}

fn bins() -> Option<Recoding> {
    Some(Recoding { columns: vec![Recode::Bins(vec![101, 20_001]), Recode::Keep, Recode::Bins(vec![366])] })
}

#[test]
fn shapes_are_in_the_targets_unit_and_have_readable_bins() {
    let shapes = vec![vec![0.0, -0.5, 0.25, 0.5], vec![0.0, 0.01, -0.01], vec![0.0, 0.1, 0.2]];
    let parameters = Parameters::Additive { intercept: 0.0, shapes, pairs: vec![] };
    let model = Model { recipe: recipe(), target: number(), recoding: bins(), parameters };
    model.check().unwrap();
    let noise = [vec![0.1; 4], vec![0.1; 3], vec![0.001; 3]];
    let terms = terms(&model, &noise);
    let labels: Vec<&str> = terms[0].levels.iter().map(|level| level.label.as_str()).collect();
    assert_eq!(labels, ["missing", "0 to 100", "100 to 20000", "20000 to 65534"]);
    let values: Vec<f64> = terms[0].levels.iter().map(|level| level.value).collect();
    assert_eq!(values, [0.0, -50.0, 25.0, 50.0]);
    assert_eq!((terms[0].range(), terms[0].levels[1].noise), (100.0, Some(10.0)));
    let labels: Vec<&str> = terms[2].levels.iter().map(|level| level.label.as_str()).collect();
    assert_eq!(labels, ["missing", "1970-01-01 to 1970-12-31", "1971-01-01 to 2149-06-05"]);
    assert_eq!(terms.iter().map(|term| term.is_noise()).collect::<Vec<_>>(), [false, true, false]);
    assert!(!super::super::terms::terms(&model, &[])[1].is_noise(), "nothing is known");
}

#[test]
fn weights_are_told_at_the_ends_of_a_range() {
    let weights = vec![0.5, 0.1, 0.0, 0.2, -0.2, 1.0, 0.0, -0.3];
    let mut scaled = vec![Recode::Keep; 3];
    scaled[0] = Recode::Scale(vec![(1, 32_768), (1000, 65_535)]);
    let parameters = Parameters::Weights { weights };
    let recoding = Some(Recoding { columns: scaled });
    let model = Model { recipe: recipe(), target: number(), recoding, parameters };
    model.check().unwrap();
    let terms = terms(&model, &[]);
    let levels = |term: usize| -> Vec<(&str, f64)> {
        terms[term].levels.iter().map(|level| (level.label.as_str(), level.value)).collect()
    };
    assert_eq!(
        levels(0),
        [("missing", 10.0), ("0", 0.0), ("65534", 50.0)],
        "after stretching, from the middle to the end"
    );
    assert_eq!(levels(1), [("missing", 0.0), ("north", 20.0), ("south", -20.0)]);
    assert_eq!(levels(2), [("missing", 0.0), ("1970-01-01", -100.0), ("2149-06-05", 100.0)]);
}

#[test]
fn clusters_are_named_by_what_sets_them_apart() {
    let centres = vec![
        vec![0.8, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0],
        vec![-0.8, 0.0, 0.0, 0.45, 0.55, 0.0, 0.0],
        vec![0.0, 0.1, 0.0, 0.0, 1.0, 0.0, 0.0],
        vec![0.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0],
    ];
    let parameters = Parameters::Centres { centres };
    let model = Model { recipe: recipe(), target: None, recoding: None, parameters };
    model.check().unwrap();
    let profiles = profiles(&model, Some(&[0.3, 0.3, 0.1, 0.3]));
    let names: Vec<&str> = profiles.iter().map(|profile| profile.name.as_str()).collect();
    assert_eq!(names, ["high spend", "low spend", "region south", "close to the average"]);
    assert_eq!(profiles[0].shown, ["58981", "north 50 %, south 50 %", "2059-09-18"]);
    assert_eq!(profiles[2].shown[1], "south 100 %");
}

#[test]
fn numbers_have_as_many_digits_as_their_range_asks_for() {
    let age = Values::Number { low: 18.0, high: 95.0 };
    assert_eq!(text(&age, 23.456, 77.0), "23.5");
    assert_eq!(text(&age, 23.0, 77.0), "23");
    assert_eq!(text(&age, -0.001, 77.0), "0");
    assert_eq!(text(&age, 0.012_345, 0.5), "0.012");
    assert_eq!(text(&age, 12_345.6, 1e6), "12346");
    assert_eq!(text(&age, f64::MAX, f64::MAX).len(), 309);
}

#[test]
fn tables_of_something_else_are_none() {
    assert_eq!(table(b"{}"), None);
    assert_eq!(table(b"{\"model\": {}, \"metrics\": {\"auc\": 3, \"ks\": null}}"), None);
    let hostile = b"{\"model\": {}, \"metrics\": {\"\\u001bx\": {\"value\": 1, \"low\": 0, \"high\": 2}}}";
    assert_eq!(table(hostile).unwrap().1, [["\u{fffd}x", "1 [0, 2]"]]);
}

#[test]
fn features_that_hardly_matter_are_named() {
    let shapes = vec![vec![0.0, -0.5, 0.25, 0.5], vec![9.0, 0.01, -0.01], vec![0.0, 0.1, 0.2]];
    let parameters = Parameters::Additive { intercept: 0.0, shapes, pairs: vec![] };
    let model = Model { recipe: recipe(), target: number(), recoding: bins(), parameters };
    let mut trained = Trained {
        sql: "",
        dataset: "",
        privacy_unit: "",
        file: samples::file(model),
        settings: serde_json::Value::Null,
        evaluation: None,
        noise: vec![],
        charges: (Rho::ZERO, Rho::ZERO),
        holdout: 0.0,
        rounds: vec![],
    };
    assert_eq!(idle_features(&trained), ["region"]);
    trained.noise = vec![vec![0.01; 4], vec![0.0; 3], vec![0.03; 3]];
    assert_eq!(idle_features(&trained), ["region", "joined"], "the last one's steps are noise");
    if let Parameters::Additive { pairs, .. } = &mut trained.file.model.parameters {
        let groups = (vec![0, 0, 0], vec![0, 0, 0]);
        pairs.push(entente_protocols::learn::model::Pair { features: (1, 2), groups, values: vec![1.0] });
    }
    assert_eq!(idle_features(&trained), [""; 0], "both matter together");
}
