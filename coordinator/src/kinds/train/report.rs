//! `report.html` of a trained model: its card, how well it does, and what it has learnt.

use entente_protocols::language::schema::Day;
use entente_protocols::learn::evaluation::{Curves, Detail, Evaluation, Performance};
use entente_protocols::learn::model::Parameters;
use entente_protocols::learn::recipe::{Target, Values};
use entente_protocols::privacy::interval::Estimate;
use maud::{Markup, html};

use super::draw::{self, Curve};
use super::flat::named;
use super::terms::{Profile, Term, profiles, terms};
use super::trained::{HeldOutChange, MODEL, ONNX, Round, Trained, shares};
use crate::results::header::Header;
use crate::results::number::{self, Style};
use crate::results::{RESULT, page};

/// The most features whose effects are shown.
const MOST_TERMS: usize = 60;
/// The most levels of a feature in a table.
const MOST_LEVELS: usize = 200;

/// The page.
pub(super) fn page(header: &Header<'_>, trained: &Trained<'_>) -> Markup {
    let body = html! {
        (page::heading(header, "Model card"))
        (card(header, trained))
        (page::privacy(header, trained.privacy_unit))
        @if let Some(evaluation) = trained.evaluation { (evaluated(header, evaluation)) }
        (learnt(trained))
        (page::asked_for(header, trained.dataset, trained.sql))
        (rounds(trained))
        (limits(trained))
        (page::warnings(header))
        (page::record(header))
    };
    page::page(header, &body)
}

fn card(header: &Header<'_>, trained: &Trained<'_>) -> Markup {
    let model = &trained.file.model;
    let (training, evaluation) = trained.charges;
    html! {
        section aria-labelledby="card" {
            h2 id="card" { "The model" }
            div.scroll {
                table.result {
                    tbody {
                        tr { th scope="row" { "Predicts" } td { (predicts(trained)) } }
                        tr { th scope="row" { "Kind" } td { (kind(trained.file.kind())) } }
                        tr {
                            th scope="row" { "Learnt from" }
                            td {
                                "customers of " (header.participants.join(", ")) ", data set " (trained.dataset)
                                @if trained.holdout > 0.0 {
                                    "; " (draw::short(100.0 * trained.holdout)) " % of them were held out"
                                }
                            }
                        }
                        tr {
                            th scope="row" { "Budget" }
                            td {
                                "ρ = " (number::trimmed(training)) " for training, "
                                (number::trimmed(evaluation)) " for the evaluation, in "
                                (trained.rounds.len()) @if trained.rounds.len() == 1 { " release" } @else { " releases" }
                            }
                        }
                        @if let Some(metric) = trained.evaluation.and_then(|evaluation| evaluation.all.metrics.first()) {
                            tr {
                                th scope="row" { "On held-out customers" }
                                td { (meaning(metric.name).0) " " strong { (interval(&metric.estimate)) } }
                            }
                        }
                    }
                }
            }
            h3 { "Features" }
            div.scroll {
                table.result {
                    thead { tr { th scope="col" { "Feature" } th scope="col" { "Values" } } }
                    tbody {
                        @for feature in &model.recipe.features {
                            tr { th scope="row" { bdi { (feature.name) } } td { bdi { (values(&feature.values)) } } }
                        }
                    }
                }
            }
            p.soft {
                code { (MODEL) } " is the model, for " code { "entente model predict" } "; " code { (ONNX) }
                " is the same for every program that runs ONNX; " code { (RESULT) } " has the numbers of this page as released."
            }
        }
    }
}

fn predicts(trained: &Trained<'_>) -> String {
    match &trained.file.model.target {
        None => "nothing: it assigns each customer to the nearest of its clusters".into(),
        Some(target) => match &target.values {
            Values::Bool => format!("the probability that {} is true", target.name),
            Values::Category { values } => {
                format!("the probability that {} is {}", target.name, values.get(1).map_or("", String::as_str))
            }
            other => format!("{}: {}", target.name, self::values(other)),
        },
    }
}

fn kind(kind: &str) -> &str {
    match kind {
        "linear" => "linear regression",
        "logistic" => "logistic regression",
        "additive" => "additive model: a sum of one step function a feature",
        "kmeans" => "k-means clusters",
        other => other,
    }
}

fn values(values: &Values) -> String {
    match values {
        Values::Number { low, high } => format!("a number, clipped to {low} to {high}"),
        Values::Date { low, high } => format!("a date, clipped to {} to {}", Day(*low), Day(*high)),
        Values::Category { values } if values.len() <= 12 => format!("one of {}", values.join(", ")),
        Values::Category { values } => format!("one of {} categories", values.len()),
        Values::Bool => "true or false".into(),
    }
}

/// A metric's name for people, and how to read it.
fn meaning(metric: &str) -> (&str, &'static str) {
    match metric {
        "auc" => ("AUC", "the chance that of two customers the one with the event has the higher score; 0.5 is chance"),
        "gini" => ("Gini", "2 · AUC − 1; 0 is chance, 1 perfect"),
        "ks" => (
            "KS",
            "the largest gap between the scores of those with and without the event; a little too large where noise is",
        ),
        "log_loss" => ("log loss", "how surprised the model is by what happens; smaller is better"),
        "brier" => ("Brier score", "mean squared error of the probability; smaller is better"),
        "accuracy" => {
            ("accuracy", "share classified correctly, when as many are predicted to have the event as have it")
        }
        "events" => ("events", "how many held-out customers have the event"),
        "r2" => ("R²", "the share of the target's variance that is explained; 0 says no more than the mean"),
        "rmse" => ("RMSE", "the typical error, in the target's unit"),
        "mean" => ("mean", "of the target, in its unit"),
        "distance" => (
            "distance",
            "mean squared distance from the nearest centre; a number's range counts 2, two categories are √2 apart",
        ),
        "customers" => ("customers", "how many were held out"),
        other => (other, ""),
    }
}

fn interval(estimate: &Estimate) -> String {
    let shown = number::shown(estimate, Style::Typeset);
    format!("{} ({} to {})", shown.value, shown.low, shown.high)
}

fn evaluated(header: &Header<'_>, evaluation: &Evaluation) -> Markup {
    html! {
        section aria-labelledby="evaluation" {
            h2 id="evaluation" { "How well it does on customers it has not seen" }
            (metrics(&evaluation.all))
            p.soft {
                "Intervals are at 95 %. They cover the noise, and that the held-out customers are a sample; those of counts cover the noise alone."
            }
            @if !evaluation.partners.is_empty() { (partners(header.participants, &evaluation.partners)) }
            @if let Detail::Event(curves) = &evaluation.detail { (self::curves(curves)) }
        }
    }
}

fn metrics(performance: &Performance) -> Markup {
    html! {
        div.scroll {
            table.result {
                thead {
                    tr {
                        th scope="col" { "Metric" }
                        th.number scope="colgroup" colspan="2" { "Value" small { "and 95 % interval" } }
                        th scope="col" { "How to read it" }
                    }
                }
                tbody {
                    @for (name, estimate) in named(performance) {
                        @let shown = number::shown(&estimate, Style::Typeset);
                        tr {
                            th scope="row" { (meaning(name).0) }
                            td.number.value { (shown.value) }
                            td.number.interval { (shown.low) " to " (shown.high) }
                            td { small { (meaning(name).1) } }
                        }
                    }
                }
            }
        }
    }
}

fn partners(participants: &[String], partners: &[Performance]) -> Markup {
    let names: Vec<&str> = partners.first().map(named).unwrap_or_default().into_iter().map(|(name, _)| name).collect();
    html! {
        h3 { "By partner" }
        div.scroll {
            table.result {
                thead {
                    tr {
                        th scope="col" { "Customers of" }
                        @for name in &names { th.number scope="col" { (meaning(name).0) } }
                    }
                }
                tbody {
                    @for (participant, performance) in participants.iter().zip(partners) {
                        tr {
                            th scope="row" { (participant) }
                            @for (_, estimate) in named(performance) {
                                @let shown = number::shown(&estimate, Style::Typeset);
                                td.number { strong { (shown.value) } br; small { (shown.low) " to " (shown.high) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn curves(curves: &Curves) -> Markup {
    let calibration: Vec<_> = curves.calibration.iter().map(|group| (group.predicted, group.observed)).collect();
    let most = calibration.iter().map(|(x, y)| x.max(y.high)).fold(0.0, f64::max);
    let calibration = draw::curve(&Curve {
        id: 0,
        title: "Calibration",
        desc: "What is predicted against what happens, in groups of customers by score; on the diagonal both agree.",
        axes: ("predicted probability", "share with the event"),
        points: calibration,
        joined: false,
        most: most * 1.05,
    });
    let exact = |x: f64| Estimate { value: x, low: x, high: x };
    let gains = std::iter::once((0.0, exact(0.0)));
    let gains = draw::curve(&Curve {
        id: 1,
        title: "Gains",
        desc: "The share of all events among the best-scored share of customers; on the diagonal targeting is at random.",
        axes: ("customers targeted, best first", "events reached"),
        points: gains.chain(curves.gains.iter().map(|gain| (gain.targeted, gain.captured))).collect(),
        joined: true,
        most: 1.0,
    });
    let roc = curves.roc.iter().map(|point| (point.false_positives.value, point.true_positives));
    let roc = draw::curve(&Curve {
        id: 2,
        title: "ROC",
        desc: "True against false positives as the threshold falls; on the diagonal scores say nothing.",
        axes: ("false positives", "true positives"),
        points: std::iter::once((0.0, exact(0.0))).chain(roc).chain([(1.0, exact(1.0))]).collect(),
        joined: true,
        most: 1.0,
    });
    html! {
        figure {
            h3 { "Calibration" }
            div.scroll { (calibration) }
            figcaption { "Each dot is a group of customers with similar scores; on the diagonal what is predicted is what happens. Whiskers are 95 % intervals." }
        }
        figure {
            h3 { "Gains" }
            div.scroll { (gains) }
            figcaption { "How many of all events are reached with the best-scored customers; the diagonal is choosing at random." }
        }
        div.scroll {
            table.result {
                thead {
                    tr { th scope="col" { "Customers targeted" } th scope="col" { "Events reached" } th scope="col" { "Lift" } }
                }
                tbody {
                    @for gain in &curves.gains {
                        tr {
                            th scope="row" { "best " (draw::short(100.0 * gain.targeted)) " %" }
                            td { (draw::percent(&gain.captured)) }
                            td { (interval(&gain.lift)) }
                        }
                    }
                }
            }
        }
        figure {
            h3 { "ROC" }
            div.scroll { (roc) }
            figcaption { "The band is the 95 % interval of true positives at each threshold." }
        }
    }
}

fn learnt(trained: &Trained<'_>) -> Markup {
    let model = &trained.file.model;
    let unit = match &model.target {
        Some(target) if target.is_event() => "log-odds".to_owned(),
        Some(target) => format!("units of {}", target.name),
        None => String::new(),
    };
    let mut terms = terms(model, &trained.noise);
    terms.sort_by(|a, b| b.range().total_cmp(&a.range()));
    html! {
        section aria-labelledby="learnt" {
            h2 id="learnt" { "What it has learnt" }
            @match &model.parameters {
                Parameters::None => p { "Nothing." },
                Parameters::Centres { .. } => (clusters(trained)),
                Parameters::Weights { .. } => (weights(&terms, &unit)),
                Parameters::Additive { pairs, .. } => {
                    (shapes(&terms, &unit))
                    @if !pairs.is_empty() {
                        p {
                            "Besides, these pairs of features have a table of values each, in " code { (MODEL) } ": "
                            @for (i, pair) in pairs.iter().enumerate() {
                                @let name = |feature: u32| model.recipe.features.get(feature as usize).map_or("", |feature| &feature.name);
                                @if i > 0 { "; " }
                                (name(pair.features.0)) " and " (name(pair.features.1))
                            }
                            "."
                        }
                    }
                }
            }
        }
    }
}

fn shapes(terms: &[Term], unit: &str) -> Markup {
    let values = terms.iter().flat_map(|term| term.levels.iter().map(|level| level.value));
    let ends = values.fold((0.0, 0.0), |(low, high): (f64, f64), x| (low.min(x), high.max(x)));
    html! {
        p {
            "The score is the sum of what each feature adds, in " (unit)
            "; features that matter most come first, and all axes have the same scale. Steps hold noise: small ones may mean nothing."
            @if terms.iter().any(|term| term.levels.iter().any(|level| level.noise.is_some())) {
                " Bands and whiskers are where 95 % of the noise lies."
            }
        }
        @for (i, term) in terms.iter().take(MOST_TERMS).enumerate() {
            figure {
                h3 { (term.feature) }
                // The first three are those of the evaluation.
                div.scroll { (draw::term(i + 3, term, unit, ends)) }
                @if term.sequence {
                    @if let Some(missing) = term.levels.first() {
                        figcaption { "Each step is one bin, drawn equally wide. A missing value adds " (draw::short(missing.value)) "." }
                    }
                }
            }
        }
        @if terms.len() > MOST_TERMS { p.soft { "The first " (MOST_TERMS) " of " (terms.len()) " features; shapes.csv has all." } }
    }
}

fn weights(terms: &[Term], unit: &str) -> Markup {
    let odds = unit == "log-odds";
    html! {
        p {
            "The score is the sum of what each feature adds, in " (unit) ", and a constant. A number adds in proportion, between what it adds at the ends of its range."
            @if odds { " Odds are multiplied by the factor." }
        }
        div.scroll {
            table.result {
                thead {
                    tr {
                        th scope="col" { "Feature" }
                        th scope="col" { "Value" }
                        th.number scope="col" { "Adds" }
                        @if odds { th.number scope="col" { "Factor" } }
                    }
                }
                tbody {
                    @for term in terms {
                        @for (i, level) in term.levels.iter().enumerate().take(MOST_LEVELS) {
                            tr {
                                th scope="row" { @if i == 0 { bdi { (term.feature) } } }
                                td { bdi { (level.label) } }
                                td.number { (draw::short(level.value)) }
                                @if odds { td.number { (draw::short(level.value.exp())) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn clusters(trained: &Trained<'_>) -> Markup {
    let model = &trained.file.model;
    let profiles: Vec<Profile> = profiles(model, shares(trained.evaluation).as_deref());
    let evaluated = match trained.evaluation.map(|evaluation| &evaluation.detail) {
        Some(Detail::Clusters { clusters }) => clusters.as_slice(),
        _ => &[],
    };
    html! {
        p { "Each cluster is named after what sets it apart most from the average customer. Numbers are means, categories their most frequent values." }
        div.scroll {
            table.result {
                thead {
                    tr {
                        th scope="col" { "Cluster" }
                        @if !evaluated.is_empty() { th.number scope="col" { "Share" small { "of held-out customers" } } }
                        @for feature in &model.recipe.features { th scope="col" { (feature.name) } }
                    }
                }
                tbody {
                    @for (i, profile) in profiles.iter().enumerate() {
                        tr {
                            th scope="row" { (i + 1) ": " bdi { (profile.name) } }
                            @if let Some(cluster) = evaluated.get(i) { td { (draw::percent(&cluster.share)) } }
                            @for shown in &profile.shown { td { bdi { (shown) } } }
                        }
                    }
                }
            }
        }
    }
}

/// What rounds are compared by.
fn loss(trained: &Trained<'_>) -> &'static str {
    match trained.file.model.target.as_ref().map(Target::is_event) {
        Some(true) => "the Brier score",
        Some(false) => "the mean squared error, in the target's unit squared",
        None => "the mean squared distance",
    }
}

fn rounds(trained: &Trained<'_>) -> Markup {
    let compared = trained.rounds.iter().any(|round| round.held_out_change.is_some());
    html! {
        section aria-labelledby="rounds" {
            h2 id="rounds" { "Rounds" }
            p { "Each round released one sum over customers, with noise, and nothing else." }
            @if compared {
                p {
                    "The evaluation also shows how rounds changed the loss of held-out customers (" (loss(trained)) "): below zero the model became better, above it worse. Intervals are at 95 % and cover the noise."
                }
            }
            div.scroll {
                table.result {
                    thead {
                        tr {
                            th.number scope="col" { "Round" } th scope="col" { "For" } th scope="col" { "Customers" }
                            th.number scope="col" { "ρ" } th.number scope="col" { "Participants" } th.number scope="col" { "Attempt" }
                            th.number scope="col" { "Seconds" }
                            @if compared { th.number scope="colgroup" colspan="2" { "Change of loss" small { "held-out, and 95 % interval" } } }
                        }
                    }
                    tbody {
                        @for round in &trained.rounds {
                            tr {
                                td.number { (round.round) } td { (round.name) } td { (round.customers) }
                                td.number { (round.rho) @if round.repeated { " (again, at no charge)" } }
                                td.number { (round.participants) } td.number { (round.attempt) }
                                td.number { (format!("{:.1}", round.seconds)) }
                                @if compared { (change(round)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn change(round: &Round) -> Markup {
    html! {
        @if let Some(HeldOutChange { change, since_round }) = &round.held_out_change {
            @let shown = number::shown(change, Style::Typeset);
            td.number.value { (shown.value) @if let Some(since) = since_round { small { " since round " (since) } } }
            td.number.interval { (shown.low) " to " (shown.high) }
        } @else {
            td {} td {}
        }
    }
}

fn limits(trained: &Trained<'_>) -> Markup {
    html! {
        section aria-labelledby="limits" {
            h2 id="limits" { "What to keep in mind" }
            ul {
                li { "Values beyond their public bounds count as the nearest bound, and values outside their public lists count as missing, in training as in scoring." }
                li { "What one customer adds to a sum is clipped, so outlying customers count for less." }
                li { "Noise of the releases is in the parameters; a single weight or step may have the wrong sign. Judge the model by the held-out metrics." }
                li { "Masks hide what each participant sent, including what is wrong: a participant whose data are wrong or made up shifts the model, within the bound on each of its customers. Sums that no customers could produce end a training, and a round that makes the model worse for held-out customers is named, if it does so by more than the noise hides; small or slow changes are not noticed." }
                li { "The model is for customers like those it was trained on; it describes what goes together, not what causes what." }
                @if trained.evaluation.is_none() {
                    li { "Nothing was spent on an evaluation, so it is not known how well it does on other customers." }
                }
            }
        }
    }
}
