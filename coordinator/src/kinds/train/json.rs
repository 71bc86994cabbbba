//! `result.json` of a trained model, and its metrics as a table for terminals.

use entente_host::terminal::one_line;
use entente_protocols::learn::evaluation::{Calibration, Detail, Gain, Performance, Point};
use entente_protocols::learn::model::Parameters;
use entente_protocols::learn::recipe::{Feature, Target};
use entente_protocols::privacy::interval::{CONFIDENCE, Estimate};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::flat::named;
use super::terms;
use super::trained::{Round, Trained, shares};
use crate::results::header::Header;
use crate::results::json::{self, EstimateView, cell};

/// The order in which people want metrics.
const ORDER: [&str; 12] =
    ["auc", "gini", "ks", "log_loss", "brier", "accuracy", "events", "r2", "rmse", "mean", "distance", "customers"];

/// The bytes of `result.json`.
pub(super) fn write(header: &Header<'_>, trained: &Trained<'_>) -> Result<Vec<u8>, String> {
    let model = &trained.file.model;
    let document = Document {
        header,
        confidence: CONFIDENCE,
        model: ModelPart {
            kind: trained.file.kind(),
            settings: &trained.settings,
            target: model.target.as_ref(),
            features: &model.recipe.features,
            parameters: summary(&model.parameters),
        },
        metrics: trained.evaluation.map(|evaluation| Metrics(&evaluation.all)),
        per_partner: trained
            .evaluation
            .filter(|evaluation| !evaluation.partners.is_empty())
            .map(|evaluation| PerPartner { participants: header.participants, partners: &evaluation.partners }),
        holdout: trained.holdout,
        detail: detail(trained),
        rounds: &trained.rounds,
    };
    json::write(&document)
}

/// The metrics of a `result.json` as a table: one row a metric, one column for all and for each partner.
///
/// `None` if it has no metrics.
pub fn table(result: &[u8]) -> Option<(Vec<String>, Vec<Vec<String>>)> {
    let result: serde_json::Value = serde_json::from_slice(result).ok()?;
    result.get("model")?;
    let Some(metrics) = result.get("metrics").and_then(serde_json::Value::as_object) else {
        return Some((vec!["rounds".into()], vec![vec![result.get("rounds")?.as_array()?.len().to_string()]]));
    };
    let partners: Vec<_> = result.get("per_partner").and_then(|all| all.as_object()).into_iter().flatten().collect();
    let mut names: Vec<&str> = metrics.keys().map(String::as_str).collect();
    names.sort_by_key(|name| ORDER.iter().position(|known| known == name).unwrap_or(ORDER.len()));
    let mut columns = vec!["metric".to_owned(), "all".to_owned()];
    columns.extend(partners.iter().map(|(partner, _)| one_line(partner)));
    let rows = names.into_iter().map(|name| {
        let mut row = vec![one_line(name), cell(&metrics[name])?];
        row.extend(partners.iter().map(|(_, of)| of.get(name).and_then(cell).unwrap_or_default()));
        Some(row)
    });
    Some((columns, rows.collect::<Option<_>>()?))
}

#[derive(serde::Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    header: &'a Header<'a>,
    confidence: f64,
    model: ModelPart<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<Metrics<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_partner: Option<PerPartner<'a>>,
    holdout: f64,
    #[serde(flatten)]
    detail: DetailPart<'a>,
    rounds: &'a [Round],
}

#[derive(serde::Serialize)]
struct ModelPart<'a> {
    kind: &'a str,
    settings: &'a serde_json::Value,
    target: Option<&'a Target>,
    features: &'a [Feature],
    parameters: Summary,
}

/// How large a model is; `model.json` has all of it.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Summary {
    Weights { weights: usize },
    Additive { intercept: f64, levels: Vec<usize>, pairs: usize },
    Centres { clusters: usize },
    None {},
}

fn summary(parameters: &Parameters) -> Summary {
    match parameters {
        Parameters::None => Summary::None {},
        Parameters::Weights { weights } => Summary::Weights { weights: weights.len() },
        Parameters::Additive { intercept, shapes, pairs } => Summary::Additive {
            intercept: *intercept,
            levels: shapes.iter().map(Vec::len).collect(),
            pairs: pairs.len(),
        },
        Parameters::Centres { centres } => Summary::Centres { clusters: centres.len() },
    }
}

#[derive(serde::Serialize)]
struct DetailPart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration: Option<&'a [Calibration]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gains: Option<&'a [Gain]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roc: Option<&'a [Point]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clusters: Vec<ClusterPart>,
}

#[derive(serde::Serialize)]
struct ClusterPart {
    cluster: usize,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    customers: Option<Estimate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<Estimate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    distance: Option<Estimate>,
    profile: serde_json::Map<String, serde_json::Value>,
}

fn detail<'a>(trained: &'a Trained<'_>) -> DetailPart<'a> {
    let detail = trained.evaluation.map(|evaluation| &evaluation.detail);
    let curves = match detail {
        Some(Detail::Event(curves)) => Some(curves),
        _ => None,
    };
    let evaluated = match detail {
        Some(Detail::Clusters { clusters }) => clusters.as_slice(),
        _ => &[],
    };
    let profiles = terms::profiles(&trained.file.model, shares(trained.evaluation).as_deref());
    let cluster = |(i, profile): (usize, terms::Profile)| {
        let evaluated = evaluated.get(i);
        let levels = |levels: Vec<(String, f64)>| levels.into_iter().map(|(label, x)| (label, x.into())).collect();
        ClusterPart {
            cluster: i + 1,
            name: profile.name,
            customers: evaluated.map(|cluster| cluster.customers),
            share: evaluated.map(|cluster| cluster.share),
            distance: evaluated.map(|cluster| cluster.distance),
            profile: (profile.features.into_iter())
                .map(|(feature, values)| (feature, serde_json::Value::Object(levels(values))))
                .collect(),
        }
    };
    DetailPart {
        calibration: curves.map(|curves| curves.calibration.as_slice()),
        gains: curves.map(|curves| curves.gains.as_slice()),
        roc: curves.map(|curves| curves.roc.as_slice()),
        clusters: profiles.into_iter().enumerate().map(cluster).collect(),
    }
}

/// Metrics by name, in their order.
struct Metrics<'a>(&'a Performance);

impl Serialize for Metrics<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(named(self.0).into_iter().map(|(name, estimate)| (name, EstimateView::from(estimate))))
    }
}

struct PerPartner<'a> {
    participants: &'a [String],
    partners: &'a [Performance],
}

impl Serialize for PerPartner<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.partners.len()))?;
        for (participant, performance) in self.participants.iter().zip(self.partners) {
            map.serialize_entry(participant, &Metrics(performance))?;
        }
        map.end()
    }
}
