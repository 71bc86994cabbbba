//! `model.onnx`: a model for every program that runs ONNX, from raw values to scores.
//!
//! Opset 17 with ai.onnx.ml 3. **Inputs**: one a feature, by its name, of shape [N, 1]: numbers, dates (days since
//! 1970-01-01) and conditions (0 or 1) as double, where NaN is a missing value; categories as string, where whatever is not
//! in the list is missing. **Outputs** of shape [N, 1]: `score`, as [`Model::score`], and `raw`, as [`Model::raw`]; both double,
//! and int64 for clusters. An output whose name is a feature's gets underscores at its end.
//!
//! ```text
//! raw value ─▶ code (recipe, in the same order of operations) ─▶ recoded ─▶ terms ─▶ raw ─▶ score
//! ```
//!
//! Everything is done in double and int64, so that scores are those of [`Model`] but for the order in which a runtime adds
//! up.

mod graph;
mod proto;

use entente_protocols::learn::file::ModelFile;
use entente_protocols::learn::model::{Model, Pair, Parameters, Recode};
use entente_protocols::learn::recipe::{STEPS, Values};
use entente_protocols::privacy::rows::{Column, UNIT};
use graph::{Graph, ML, Name, int, ints, strings};
use prost::Message;
use proto::{
    DataType, Dim, Dimension, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorShapeProto, TensorType,
    TypeProto, ValueInfoProto,
};

/// The bytes of `model.onnx`.
///
/// # Errors
///
/// If the model's parts do not fit one another.
pub fn write(file: &ModelFile) -> Result<Vec<u8>, String> {
    file.check().map_err(|problem| format!("the model {problem}"))?;
    let model = &file.model;
    let features = &model.recipe.features;
    let mut taken: std::collections::HashSet<String> = features.iter().map(|feature| feature.name.clone()).collect();
    let [score, raw] = ["score", "raw"].map(|name| {
        let mut name = name.to_owned();
        while !taken.insert(name.clone()) {
            name.push('_');
        }
        name
    });
    let mut graph = Graph::new(taken);
    let values = scores(&mut graph, model);
    graph.output(&values.score, &score);
    graph.output(&values.raw, &raw);
    let mut graph = graph.finish();
    let text = |values: &Values| matches!(values, Values::Category { .. });
    graph.input = features
        .iter()
        .map(|feature| {
            let data_type = if text(&feature.values) { DataType::String } else { DataType::Double };
            port(&feature.name, data_type, &doc(&feature.values))
        })
        .collect();
    let data_type = if model.target.is_some() { DataType::Double } else { DataType::Int64 };
    let (score_doc, raw_doc) = match &model.target {
        None => ("number of the nearest cluster, from 1", "its position, from 0"),
        Some(target) if target.is_event() => ("probability", "log-odds"),
        Some(_) => ("prediction in the target's unit", "prediction in the target's range scaled to -1 to 1"),
    };
    graph.output = vec![port(&score, data_type, score_doc), port(&raw, data_type, raw_doc)];
    let entry = |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into() };
    let target = model.target.as_ref().map_or("", |target| target.name.as_str());
    let proto = ModelProto {
        ir_version: 8,
        producer_name: "entente".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        doc_string: file.study.purpose.clone(),
        graph: Some(graph),
        opset_import: vec![
            OperatorSetIdProto { domain: String::new(), version: 17 },
            OperatorSetIdProto { domain: ML.into(), version: 3 },
        ],
        metadata_props: vec![
            entry("kind", file.kind()),
            entry("target", target),
            entry("study", &file.study.id),
            entry("study_name", &file.study.name),
            entry("plan_sha256", &file.study.plan_sha256.to_string()),
        ],
    };
    Ok(proto.encode_to_vec())
}

fn port(name: &str, data_type: DataType, doc: &str) -> ValueInfoProto {
    let dim = |value| Dimension { value: Some(value) };
    let shape = TensorShapeProto { dim: vec![dim(Dim::Param("N".into())), dim(Dim::Value(1))] };
    let tensor_type = TensorType { elem_type: data_type.into(), shape: Some(shape) };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto { tensor_type: Some(tensor_type) }),
        doc_string: doc.into(),
    }
}

fn doc(values: &Values) -> String {
    match values {
        Values::Number { low, high } => format!("number, clipped to {low} to {high}; NaN is missing"),
        Values::Date { low, high } => {
            format!("days since 1970-01-01, clipped to {low} to {high}; NaN is missing")
        }
        Values::Category { values } => format!("one of {} categories; anything else is missing", values.len()),
        Values::Bool => "0 or 1; NaN is missing".into(),
    }
}

/// What a model says.
struct Scores {
    score: Name,
    raw: Name,
}

fn scores(graph: &mut Graph, model: &Model) -> Scores {
    let recoded = |recode: Option<&Recode>, before: Column| recode.map_or(before, |recode| recode.column(before));
    let mut codes = Vec::new();
    for (i, feature) in model.recipe.features.iter().enumerate() {
        let recode = model.recoding.as_ref().and_then(|recoding| recoding.columns.get(i));
        let code = code(graph, &feature.name, &feature.values);
        let code = match recode {
            None | Some(Recode::Keep) => code,
            Some(Recode::Bins(edges)) => bins(graph, &code, edges),
            Some(Recode::Scale(knots)) => scale(graph, &code, knots),
        };
        codes.push((code, recoded(recode, feature.values.column())));
    }
    let raw = match &model.parameters {
        Parameters::None => graph.double(0.0),
        Parameters::Weights { weights } => weighted(graph, &codes, weights),
        Parameters::Additive { intercept, shapes, pairs } => additive(graph, &codes, *intercept, shapes, pairs),
        Parameters::Centres { centres } => nearest(graph, &codes, centres),
    };
    let score = match &model.target {
        None => {
            let one = graph.int(1);
            graph.op("Add", &[&raw, &one])
        }
        Some(target) => match target.values.bounds() {
            None => {
                let one = graph.double(1.0);
                let negative = graph.op("Neg", &[&raw]);
                let odds = graph.op("Exp", &[&negative]);
                let sum = graph.op("Add", &[&one, &odds]);
                graph.op("Div", &[&one, &sum])
            }
            Some((low, high)) => {
                let [low, range, one, two] = [low, high - low, 1.0, 2.0].map(|value| graph.double(value));
                let from_zero = graph.op("Add", &[&raw, &one]);
                let doubled = graph.op("Mul", &[&range, &from_zero]);
                let offset = graph.op("Div", &[&doubled, &two]);
                graph.op("Add", &[&low, &offset])
            }
        },
    };
    Scores { score, raw }
}

/// The code of a raw value, as [`Values`] has it.
fn code(graph: &mut Graph, name: &str, values: &Values) -> Name {
    let x = Name::input(name);
    let zero = graph.int(0);
    match values {
        Values::Category { values } => {
            let codes = (1..=values.len() as i64).collect();
            let attributes =
                vec![strings("keys_strings", values), ints("values_int64s", codes), int("default_int64", 0)];
            graph.op_with("LabelEncoder", &[&x], attributes)
        }
        Values::Bool => {
            let [no, yes, nothing] = [graph.int(1), graph.int(2), graph.double(0.0)];
            let missing = graph.op("IsNaN", &[&x]);
            let is_no = graph.op("Equal", &[&x, &nothing]);
            let code = graph.op("Where", &[&is_no, &no, &yes]);
            graph.op("Where", &[&missing, &zero, &code])
        }
        Values::Number { .. } | Values::Date { .. } => {
            let (low, high) = values.bounds().unwrap_or_default();
            let missing = graph.op("IsNaN", &[&x]);
            let step = if high > low {
                let [low, high, range, steps, half] =
                    [low, high, high - low, STEPS, 0.5].map(|value| graph.double(value));
                // A missing value has no code, but must not meet an operator that leaves NaN undefined.
                let filled = graph.op("Where", &[&missing, &low, &x]);
                let clipped = graph.op("Clip", &[&filled, &low, &high]);
                let offset = graph.op("Sub", &[&clipped, &low]);
                let share = graph.op("Div", &[&offset, &range]);
                let steps = graph.op("Mul", &[&share, &steps]);
                let rounded = graph.op("Add", &[&steps, &half]);
                let step = graph.op("Floor", &[&rounded]);
                graph.as_int(&step)
            } else {
                graph.int(32767)
            };
            let one = graph.int(1);
            let code = graph.op("Add", &[&step, &one]);
            graph.op("Where", &[&missing, &zero, &code])
        }
    }
}

/// How many of the ascending numbers are at most the code.
fn passed(graph: &mut Graph, code: &Name, list: impl Iterator<Item = u16>) -> Name {
    let list: Vec<i64> = list.map(i64::from).collect();
    let list = graph.ints(&list);
    let passed = graph.op("LessOrEqual", &[&list, code]);
    let passed = graph.as_int(&passed);
    graph.row_sum(&passed)
}

fn unless_missing(graph: &mut Graph, code: &Name, recoded: &Name) -> Name {
    let zero = graph.int(0);
    let missing = graph.op("Equal", &[code, &zero]);
    graph.op("Where", &[&missing, &zero, recoded])
}

/// [`Recode::Bins`].
fn bins(graph: &mut Graph, code: &Name, edges: &[u16]) -> Name {
    let one = graph.int(1);
    if edges.is_empty() {
        return unless_missing(graph, code, &one);
    }
    let passed = passed(graph, code, edges.iter().copied());
    let bin = graph.op("Add", &[&passed, &one]);
    unless_missing(graph, code, &bin)
}

/// [`Recode::Scale`]: in each segment base + rise·(code − start) ÷ run in whole numbers; flat before the first knot and
/// after the last.
fn scale(graph: &mut Graph, code: &Name, knots: &[(u16, u16)]) -> Name {
    let (Some(first), Some(last)) = (knots.first(), knots.last()) else { return code.clone() };
    let between = knots.windows(2).map(|pair| (pair[0], pair[1]));
    let segment = |((a, x), (b, y)): ((u16, u16), (u16, u16))| [x, y - x, a, b - a].map(i64::from);
    let flat = |knot: &(u16, u16)| [i64::from(knot.1), 0, 0, 1];
    let segments: Vec<[i64; 4]> =
        std::iter::once(flat(first)).chain(between.map(segment)).chain([flat(last)]).collect();
    let at = passed(graph, code, knots.iter().map(|(at, _)| *at));
    let [base, rise, start, run] = [0, 1, 2, 3].map(|part| {
        let list: Vec<i64> = segments.iter().map(|segment| segment[part]).collect();
        let list = graph.ints(&list);
        graph.look_up(&list, &at)
    });
    let along = graph.op("Sub", &[code, &start]);
    let risen = graph.op("Mul", &[&rise, &along]);
    let risen = graph.op("Div", &[&risen, &run]);
    let scaled = graph.op("Add", &[&base, &risen]);
    unless_missing(graph, code, &scaled)
}

/// A number's code as x from −1 to 1, times `weight`; 0 where it is missing.
fn number(graph: &mut Graph, code: &Name, weight: f64, missing: f64) -> Name {
    let [zero, middle] = [graph.int(0), graph.int(i64::from(UNIT) + 1)];
    let [weight, unit, missing] = [weight, f64::from(UNIT), missing].map(|value| graph.double(value));
    let x = graph.op("Sub", &[code, &middle]);
    let x = graph.as_double(&x);
    let x = graph.op("Mul", &[&weight, &x]);
    let x = graph.op("Div", &[&x, &unit]);
    let absent = graph.op("Equal", &[code, &zero]);
    graph.op("Where", &[&absent, &missing, &x])
}

fn sum(graph: &mut Graph, start: f64, terms: &[Name]) -> Name {
    let mut sum = graph.double(start);
    for term in terms {
        sum = graph.op("Add", &[&sum, term]);
    }
    sum
}

fn weighted(graph: &mut Graph, codes: &[(Name, Column)], weights: &[f64]) -> Name {
    let mut rest = weights;
    let mut terms = Vec::new();
    for (code, column) in codes {
        // The model was checked: there is a weight for each entry.
        let (own, others) = rest.split_at(column.dims().min(rest.len()));
        rest = others;
        terms.push(match (column, own) {
            (Column::Number, [weight, missing]) => number(graph, code, *weight, *missing),
            _ => {
                let own = graph.doubles(own);
                graph.look_up(&own, code)
            }
        });
    }
    sum(graph, rest.last().copied().unwrap_or(0.0), &terms)
}

fn additive(graph: &mut Graph, codes: &[(Name, Column)], intercept: f64, shapes: &[Vec<f64>], pairs: &[Pair]) -> Name {
    let mut terms = Vec::new();
    for ((code, _), shape) in codes.iter().zip(shapes) {
        let shape = graph.doubles(shape);
        terms.push(graph.look_up(&shape, code));
    }
    let shapes = sum(graph, 0.0, &terms);
    terms.clear();
    for Pair { features, groups, values } in pairs {
        let width = groups.1.iter().max().map_or(0, |most| i64::from(*most) + 1);
        let mut group = |feature: u32, groups: &[u16]| {
            let groups: Vec<i64> = groups.iter().map(|group| i64::from(*group)).collect();
            let groups = graph.ints(&groups);
            // The model was checked: there is such a feature.
            codes.get(feature as usize).map(|(code, _)| graph.look_up(&groups, code))
        };
        let (Some(first), Some(second)) = (group(features.0, &groups.0), group(features.1, &groups.1)) else {
            continue;
        };
        let width = graph.int(width);
        let row = graph.op("Mul", &[&first, &width]);
        let cell = graph.op("Add", &[&row, &second]);
        let values = graph.doubles(values);
        terms.push(graph.look_up(&values, &cell));
    }
    let pairs = sum(graph, 0.0, &terms);
    let intercept = graph.double(intercept);
    let sum = graph.op("Add", &[&intercept, &shapes]);
    graph.op("Add", &[&sum, &pairs])
}

/// The position of the nearest centre, the first of those that are equally near.
fn nearest(graph: &mut Graph, codes: &[(Name, Column)], centres: &[Vec<f64>]) -> Name {
    let mut entries = Vec::new();
    for (code, column) in codes {
        match *column {
            Column::Number => {
                entries.push(number(graph, code, 1.0, 0.0));
                let missing = graph.is_each(code, &[0]);
                entries.push(graph.as_double(&missing));
            }
            Column::Category { values } => {
                let list: Vec<i64> = (0..=i64::from(values)).collect();
                let indicators = graph.is_each(code, &list);
                entries.push(graph.as_double(&indicators));
            }
        }
    }
    let x = graph.beside(&entries);
    let mut distances = Vec::new();
    for centre in centres {
        let centre = graph.doubles(centre);
        let apart = graph.op("Sub", &[&centre, &x]);
        let square = graph.op("Mul", &[&apart, &apart]);
        distances.push(graph.row_sum(&square));
    }
    let distances = graph.beside(&distances);
    graph.op_with("ArgMin", &[&distances], vec![int("axis", 1), int("keepdims", 1)])
}

#[cfg(test)]
mod tests;
