//! A model's parameters as people read them: what each feature adds to the score, level by level, and what clusters are
//! like.

use entente_protocols::language::schema::Day;
use entente_protocols::learn::model::{Model, Parameters, Recode};
use entente_protocols::learn::recipe::{Feature, STEPS, Values};
use entente_protocols::privacy::rows::UNIT;

/// What one feature adds to the score.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    /// The feature.
    pub feature: String,
    /// Whether its levels follow upon one another, the missing one not counted.
    pub sequence: bool,
    /// The missing value first.
    pub levels: Vec<Level>,
}

/// A value or a range of values of a feature.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Level {
    /// How people write it.
    pub label: String,
    /// Where a range begins and ends; dates in days since 1970-01-01.
    pub bounds: Option<(f64, f64)>,
    /// What it adds: log-odds for an event, else in the target's unit.
    pub value: f64,
    /// The standard deviation that the noise of the releases gives it, where known.
    pub noise: Option<f64>,
}

impl Term {
    /// How far apart the levels that are not missing are: how much the feature matters.
    pub(super) fn range(&self) -> f64 {
        let values = self.levels.iter().skip(1).map(|level| level.value);
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        if low <= high { high - low } else { 0.0 }
    }

    /// Whether no level that is not missing is further than three standard deviations of the noise from their mean.
    pub(super) fn is_noise(&self) -> bool {
        let levels = self.levels.get(1..).unwrap_or_default();
        let mean = levels.iter().map(|level| level.value).sum::<f64>() / levels.len().max(1) as f64;
        levels.iter().all(|level| level.noise.is_some_and(|sd| (level.value - mean).abs() <= 3.0 * sd))
    }
}

/// From the score's scale to what people read: half of the range of a target that is a number.
fn unit(model: &Model) -> f64 {
    let bounds = model.target.as_ref().and_then(|target| target.values.bounds());
    bounds.map_or(1.0, |(low, high)| (high - low) / 2.0)
}

/// The terms of an additive model, or of a linear one; none of clusters. For a number of a linear one, its two ends.
/// `noise` is the standard deviation in each value of an additive model's shapes, where known.
pub(super) fn terms(model: &Model, noise: &[Vec<f64>]) -> Vec<Term> {
    let unit = unit(model);
    let features = &model.recipe.features;
    match &model.parameters {
        Parameters::None | Parameters::Centres { .. } => Vec::new(),
        Parameters::Additive { shapes, .. } => {
            let term = |(i, (feature, shape)): (usize, (&Feature, &Vec<f64>))| {
                let levels = levels(&feature.values, recode(model, i), shape.len());
                let scaled = shape.iter().map(|value| value * unit);
                let mut term = term(feature, levels.into_iter().zip(scaled));
                let noise = noise.get(i).filter(|noise| noise.len() == shape.len()).into_iter().flatten();
                for (level, sd) in term.levels.iter_mut().zip(noise) {
                    level.noise = Some(sd * unit).filter(|sd| sd.is_finite());
                }
                term
            };
            features.iter().zip(shapes).enumerate().map(term).collect()
        }
        Parameters::Weights { weights } => {
            let mut rest = weights.as_slice();
            let mut terms = Vec::new();
            for (i, feature) in features.iter().enumerate() {
                let recode = recode(model, i);
                let column = recode.column(feature.values.column());
                let (own, others) = rest.split_at(column.dims().min(rest.len()));
                rest = others;
                terms.push(match (feature.values.bounds(), recode, own) {
                    (Some((low, high)), Recode::Keep | Recode::Scale(_), [weight, missing]) => {
                        let name = |x: f64| text(&feature.values, x, high - low);
                        let missing =
                            (Level { label: "missing".into(), bounds: None, value: 0.0, noise: None }, missing * unit);
                        let end = |x: f64, value: f64| {
                            (Level { label: name(x), bounds: Some((x, x)), value: 0.0, noise: None }, value * unit)
                        };
                        // What a number adds at the ends of its range, after it has been stretched.
                        let at =
                            |code: u16| f64::from(i32::from(recode.apply(code)) - UNIT - 1) / f64::from(UNIT) * weight;
                        term(feature, [missing, end(low, at(1)), end(high, at(u16::MAX))].into_iter())
                    }
                    _ => {
                        let levels = levels(&feature.values, recode, own.len());
                        term(feature, levels.into_iter().zip(own.iter().map(|weight| weight * unit)))
                    }
                });
            }
            terms
        }
    }
}

fn term(feature: &Feature, levels: impl Iterator<Item = (Level, f64)>) -> Term {
    let levels = levels.map(|(level, value)| Level { value, ..level }).collect();
    Term { feature: feature.name.clone(), sequence: feature.values.bounds().is_some(), levels }
}

fn recode(model: &Model, feature: usize) -> &Recode {
    model.recoding.as_ref().and_then(|recoding| recoding.columns.get(feature)).unwrap_or(&Recode::Keep)
}

/// The levels of a category, or of a number in bins, the missing one first; as many as `count`.
fn levels(values: &Values, recode: &Recode, count: usize) -> Vec<Level> {
    let level = |label: String, bounds| Level { label, bounds, value: 0.0, noise: None };
    let mut levels = vec![level("missing".into(), None)];
    match (values, recode, values.bounds()) {
        (Values::Category { values }, ..) => levels.extend(values.iter().map(|value| level(value.clone(), None))),
        (Values::Bool, ..) => levels.extend(["false", "true"].map(|value| level(value.into(), None))),
        (_, Recode::Bins(edges), Some((low, high))) => {
            // Between the middles of two steps.
            let edge = |edge: &u16| (low + (high - low) * (f64::from(*edge) - 1.5) / STEPS).clamp(low, high);
            let cuts: Vec<f64> = std::iter::once(low).chain(edges.iter().map(edge)).chain([high]).collect();
            levels.extend(cuts.windows(2).map(|pair| level(range(values, pair[0], pair[1]), Some((pair[0], pair[1])))));
        }
        _ => levels.extend((1..count).map(|code| level(code.to_string(), None))),
    }
    levels.truncate(count);
    levels
}

fn range(values: &Values, from: f64, to: f64) -> String {
    let whole = values.bounds().map_or(1.0, |(low, high)| high - low);
    match values {
        // A day belongs to the bin that begins with it.
        Values::Date { high, .. } => {
            let last = if to >= f64::from(*high) { to } else { to.ceil() - 1.0 };
            format!("{} to {}", text(values, from.ceil(), whole), text(values, last, whole))
        }
        _ => format!("{} to {}", text(values, from, whole), text(values, to, whole)),
    }
}

/// A number or a date with as many digits as its range of values asks for.
pub(super) fn text(values: &Values, x: f64, range: f64) -> String {
    match values {
        Values::Date { .. } => Day(x as i32).to_string(),
        _ => {
            let digits = if range > 0.0 { (3 - range.log10().ceil() as i32).clamp(0, 9) } else { 0 };
            let fixed = format!("{x:.*}", digits as usize);
            let trimmed = if digits > 0 { fixed.trim_end_matches('0').trim_end_matches('.') } else { &fixed };
            if trimmed == "-0" { "0".into() } else { trimmed.to_owned() }
        }
    }
}

/// What a cluster is like.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Profile {
    /// By what sets it apart most.
    pub name: String,
    /// Of each feature its mean, or the shares of its values.
    pub features: Vec<(String, Vec<(String, f64)>)>,
    /// Means as text, feature by feature; shares as the most frequent values.
    pub shown: Vec<String>,
}

/// The profiles of clusters; `shares` are how many customers each has, where known.
pub(super) fn profiles(model: &Model, shares: Option<&[f64]>) -> Vec<Profile> {
    let Parameters::Centres { centres } = &model.parameters else { return Vec::new() };
    let dims = centres.first().map_or(0, Vec::len);
    let weight = |cluster: usize| shares.and_then(|shares| shares.get(cluster)).map_or(1.0, |share| share.max(1e-9));
    let total: f64 = (0..centres.len()).map(weight).sum();
    let mean = |entry: usize| {
        let sum: f64 = centres.iter().enumerate().map(|(cluster, centre)| weight(cluster) * centre[entry]).sum();
        sum / total
    };
    let means: Vec<f64> = (0..dims).map(mean).collect();
    centres.iter().map(|centre| profile(model, centre, &means)).collect()
}

fn profile(model: &Model, centre: &[f64], means: &[f64]) -> Profile {
    let (mut features, mut shown) = (Vec::new(), Vec::new());
    // How far from the mean, and what to call that.
    let mut apart: Vec<(f64, String)> = Vec::new();
    let mut start = 0;
    for (i, feature) in model.recipe.features.iter().enumerate() {
        let recode = recode(model, i);
        let column = recode.column(feature.values.column());
        let place = start..start + column.dims();
        start = place.end;
        let (Some(own), Some(mean)) = (centre.get(place.clone()), means.get(place)) else { continue };
        match (feature.values.bounds(), recode, own) {
            (Some((low, high)), Recode::Keep | Recode::Scale(_), [x, missing]) => {
                let value = low + (high - low) * share_of(recode, *x);
                features.push((feature.name.clone(), vec![("mean".into(), value), ("missing".into(), *missing)]));
                shown.push(text(&feature.values, value, high - low));
                let offset = x - mean[0];
                let word = if offset < 0.0 { "low" } else { "high" };
                apart.push((offset.abs(), format!("{word} {}", feature.name)));
            }
            _ => {
                let levels = levels(&feature.values, recode, own.len());
                let mut shares: Vec<(String, f64)> =
                    levels.into_iter().zip(own).map(|(level, share)| (level.label, share.clamp(0.0, 1.0))).collect();
                for ((label, share), mean) in shares.iter().zip(mean) {
                    let name = match label.as_str() {
                        "true" => feature.name.clone(),
                        "false" => format!("not {}", feature.name),
                        label => format!("{} {label}", feature.name),
                    };
                    // Only what it has more of than others says what it is.
                    apart.push((share - mean, name));
                }
                features.push((feature.name.clone(), shares.clone()));
                shares.sort_by(|a, b| b.1.total_cmp(&a.1));
                let most = shares.iter().take(2).filter(|(_, share)| *share >= 0.05);
                let most: Vec<String> = most.map(|(label, share)| format!("{label} {:.0} %", 100.0 * share)).collect();
                shown.push(most.join(", "));
            }
        }
    }
    apart.sort_by(|a, b| b.0.total_cmp(&a.0));
    let telling: Vec<String> =
        apart.into_iter().take(2).filter(|(apart, _)| *apart > 0.1).map(|(_, name)| name).collect();
    let name = if telling.is_empty() { "close to the average".into() } else { telling.join(", ") };
    Profile { name, features, shown }
}

/// Where in its range from 0 to 1 a number is whose recoded x is this: the way back through a stretched scale.
fn share_of(recode: &Recode, x: f64) -> f64 {
    let code = (x.clamp(-1.0, 1.0) * f64::from(UNIT)).round() as i32 + UNIT + 1;
    let back = match recode {
        Recode::Scale(knots) => {
            let after = knots.partition_point(|(_, to)| i32::from(*to) < code);
            match (after.checked_sub(1).and_then(|before| knots.get(before)), knots.get(after)) {
                (Some(&(a, x)), Some(&(b, y))) if y > x => {
                    f64::from(a) + f64::from(b - a) * (f64::from(code) - f64::from(x)) / f64::from(y - x)
                }
                (_, Some(&(at, _))) | (Some(&(at, _)), None) => f64::from(at),
                (None, None) => f64::from(code),
            }
        }
        Recode::Keep | Recode::Bins(_) => f64::from(code),
    };
    ((back - 1.0) / STEPS).clamp(0.0, 1.0)
}
