//! Models of random parameters, as bytes and as ONNX Runtime runs them.

#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "another program scores as well, if the environment names one"
)]

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use entente_protocols::learn::model::Recoding;
use entente_protocols::learn::recipe::{Feature, Recipe, Target};
use entente_protocols::privacy::rows;

use super::*;
use crate::kinds::train::samples;

/// Numbers without a pattern, the same in every run: splitmix64.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, most: usize) -> usize {
        (self.bits() % most as u64) as usize
    }

    fn values(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| 4.0 * self.unit() - 2.0).collect()
    }
}

/// Every type of feature, among them some whose names are those of outputs and of inner values.
fn recipe() -> Recipe {
    let feature = |name: &str, values| Feature { name: name.into(), values };
    let list = |values: &[&str]| Values::Category { values: values.iter().map(|value| (*value).to_owned()).collect() };
    Recipe {
        features: vec![
            feature("age", Values::Number { low: 18.0, high: 95.0 }),
            feature("score", Values::Number { low: -1.0 / 3.0, high: 1e7 }),
            feature("v7", list(&["north", "south", "east & west", "ünïcode", ""])),
            feature("joined", Values::Date { low: 16_000, high: 20_000 }),
            feature("consent", Values::Bool),
            feature("same", Values::Number { low: 3.0, high: 3.0 }),
            feature("tier", list(&["gold"])),
        ],
    }
}

const COUNT: usize = 7;

fn keep() -> Vec<Recode> {
    vec![Recode::Keep; COUNT]
}

fn bins() -> Vec<Recode> {
    let mut columns = keep();
    columns[0] = Recode::Bins(vec![1, 2, 20_000, 32_768, 50_000, 65_535]);
    columns[1] = Recode::Bins((1..200).map(|i| i * 300).collect());
    columns[3] = Recode::Bins(vec![40_000]);
    columns[5] = Recode::Bins(vec![]);
    columns
}

fn scales() -> Vec<Recode> {
    let mut columns = keep();
    columns[0] = Recode::Scale(vec![(1, 1), (7_001, 30_000), (40_000, 30_000), (65_535, 65_535)]);
    columns[1] = Recode::Scale(vec![(100, 1), (101, 9), (3_000, 65_535)]);
    columns[3] = Recode::Scale(vec![(500, 700)]);
    columns
}

fn model(random: &mut Random, target: Option<Values>, recodes: Option<Vec<Recode>>, kind: &str) -> Model {
    let recipe = recipe();
    let recoding = recodes.map(|columns| Recoding { columns });
    let columns = recoding.as_ref().map_or_else(|| recipe.columns(), |recoding| recoding.columns(&recipe));
    let dims = rows::dims(&columns);
    let size = |column: &Column| match column {
        Column::Number => 2,
        Column::Category { values } => usize::from(*values) + 1,
    };
    let parameters = match kind {
        "weights" => Parameters::Weights { weights: random.values(dims) },
        "centres" => Parameters::Centres { centres: (0..5).map(|_| random.values(dims - 1)).collect() },
        _ => {
            let shapes = columns.iter().map(|column| random.values(size(column))).collect();
            let mut pair = |first: usize, second: usize| {
                let mut groups = |feature: usize, most: usize| -> Vec<u16> {
                    (0..size(&columns[feature]))
                        .map(|code| if code == 0 { most as u16 - 1 } else { random.below(most) as u16 })
                        .collect()
                };
                let groups = (groups(first, 3), groups(second, 4));
                Pair { features: (first as u32, second as u32), groups, values: random.values(12) }
            };
            let pairs = vec![pair(0, 2), pair(4, 1), pair(3, 3)];
            Parameters::Additive { intercept: random.unit(), shapes, pairs }
        }
    };
    let target = target.map(|values| Target { name: "target".into(), values });
    Model { recipe, target, recoding, parameters }
}

/// A raw value as text, and its code.
fn raw(random: &mut Random, values: &Values) -> (String, u16) {
    if random.below(8) == 0
        && *values != (Values::Category { values: vec![] })
        && !matches!(values, Values::Category { .. })
    {
        return (String::new(), 0);
    }
    match values {
        Values::Number { low, high } => {
            let beyond = 0.2 * (high - low) + 1.0;
            let x = match random.below(6) {
                0 => *low,
                1 => *high,
                2 => (low + (high - low) * random.unit()).round(),
                _ => low - beyond + (high - low + 2.0 * beyond) * random.unit(),
            };
            (x.to_string(), values.code_of_number(x))
        }
        Values::Date { low, high } => {
            let x = f64::from(low - 100) + (f64::from(high - low + 200) * random.unit()).floor();
            (x.to_string(), values.code_of_number(x))
        }
        Values::Bool => {
            let value = random.below(2) == 1;
            (u8::from(value).to_string(), values.code_of_bool(value))
        }
        Values::Category { values: list } => {
            let text = match random.below(list.len() + 2) {
                at if at < list.len() => list[at].clone(),
                at if at == list.len() => "North".to_owned(),
                _ => "elsewhere, \"quoted\"".to_owned(),
            };
            let code = values.code_of_text(&text);
            (text, code)
        }
    }
}

fn cases() -> Vec<(String, ModelFile)> {
    let mut random = Random(42);
    let mut cases = Vec::new();
    let mut case = |name: &str, target: Option<Values>, recodes: Option<Vec<Recode>>, kind: &str| {
        let model = model(&mut random, target, recodes, kind);
        let file = samples::file(model);
        file.check().unwrap();
        cases.push((name.to_owned(), file));
    };
    let spend = || Some(Values::Number { low: -50.0, high: 5000.0 });
    let tier = || Some(Values::Category { values: vec!["silver".into(), "gold".into()] });
    case("logistic", Some(Values::Bool), None, "weights");
    case("logistic-scaled", tier(), Some(scales()), "weights");
    case("linear", spend(), Some(keep()), "weights");
    case("linear-binned", spend(), Some(bins()), "weights");
    let mut additive = bins();
    additive[5] = Recode::Bins(vec![32_768]);
    case("additive", Some(Values::Bool), Some(additive.clone()), "additive");
    case("additive-number", Some(Values::Date { low: 0, high: 100 }), Some(additive), "additive");
    case("kmeans", None, None, "centres");
    case("kmeans-scaled", None, Some(scales()), "centres");
    case("kmeans-binned", None, Some(bins()), "centres");
    cases
}

#[test]
fn files_are_models_with_named_inputs_and_outputs() {
    for (name, file) in cases() {
        let bytes = write(&file).unwrap();
        let read = ModelProto::decode(bytes.as_slice()).unwrap();
        let graph = read.graph.unwrap();
        let names: Vec<&str> = graph.input.iter().map(|port| port.name.as_str()).collect();
        assert_eq!(names, ["age", "score", "v7", "joined", "consent", "same", "tier"], "{name}");
        let outputs: Vec<&str> = graph.output.iter().map(|port| port.name.as_str()).collect();
        assert_eq!(outputs, ["score_", "raw"], "a feature's name is not taken from it");
        let mut seen: Vec<&str> = graph.initializer.iter().map(|constant| constant.name.as_str()).collect();
        seen.extend(&names);
        for node in &graph.node {
            assert!(node.input.iter().all(|input| seen.contains(&input.as_str())), "{name}: {node:?}");
            assert!(!seen.contains(&node.output[0].as_str()), "{name}: {node:?}");
            seen.push(&node.output[0]);
        }
        assert!(outputs.iter().all(|output| seen.contains(output)));
    }
    let mut broken = cases().remove(0).1;
    broken.model.parameters = Parameters::Weights { weights: vec![] };
    assert!(write(&broken).is_err());
}

/// Writes models of all kinds with rows and expected scores, and has ONNX Runtime score the rows.
#[test]
#[ignore = "needs python3 with onnxruntime; .ci/run installs it"]
fn onnx_runtime_scores_as_we_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(7);
    for (name, file) in cases() {
        std::fs::write(folder.path().join(format!("{name}.onnx")), write(&file).unwrap()).unwrap();
        let features = &file.model.recipe.features;
        let mut csv: String = features.iter().map(|feature| format!("in:{},", feature.name)).collect();
        csv += "out:score_,out:raw\n";
        for _ in 0..3000 {
            let values: Vec<(String, u16)> = features.iter().map(|feature| raw(&mut random, &feature.values)).collect();
            let codes: Vec<u16> = values.iter().map(|(_, code)| *code).collect();
            for (text, _) in values {
                write!(csv, "\"{}\",", text.replace('"', "\"\"")).unwrap();
            }
            writeln!(csv, "{},{}", file.model.score(&codes), file.model.raw(&codes)).unwrap();
        }
        std::fs::write(folder.path().join(format!("{name}.csv")), csv).unwrap();
    }
    let python = std::env::var("ENTENTE_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx.py");
    let output = Command::new(&python).arg(script).arg(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{python}: {said}");
    println!("{said}");
}
