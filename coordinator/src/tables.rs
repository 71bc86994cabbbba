//! Tables for people.

use entente_host::terminal::table;
use entente_protocols::language::schema::Day;
use entente_protocols::learn::file::ModelFile;
use entente_protocols::learn::model::Parameters;
use entente_protocols::learn::recipe::Values;
use entente_protocols::privacy::mechanism::Scope;

use crate::kinds;
use crate::results::number::{self, Style};
use crate::views::{AccountView, AnswerView, CheckView, PartnersView, StudyView};

/// The most rows of a result that are printed; all are in its files.
const MAX_ROWS: usize = 60;

pub(crate) fn partners(view: &PartnersView) -> String {
    if view.partners.is_empty() {
        return format!("nobody is enrolled in alliance {} yet; entente invite PARTNER makes a ticket", view.alliance);
    }
    let mut table = table(["partner", "connected", "since", "software", "data sets", "ledger"]);
    for partner in &view.partners {
        let datasets: Vec<&str> = partner.datasets.iter().map(|dataset| dataset.name.as_str()).collect();
        let ledger = partner.ledger.map_or_else(String::new, |head| format!("{} {}", head.entries, head.hash.short()));
        let connected = if partner.connected { "yes" } else { "no" };
        table.add_row([
            partner.name.as_str(),
            connected,
            partner.since.as_deref().unwrap_or("never"),
            partner.software.as_deref().unwrap_or(""),
            &datasets.join(", "),
            &ledger,
        ]);
    }
    let mut text = format!("alliance {}, roster {}\n{table}", view.alliance, view.roster_fingerprint);
    for partner in &view.partners {
        for dataset in &partner.datasets {
            text += &format!("\n{}: {} (one customer is one {})", partner.name, dataset.name, dataset.privacy_unit);
            for (column, column_type) in &dataset.columns {
                text += &format!("\n  {column}: {column_type}");
            }
        }
        for (of, account) in partner.witnessed.iter().flat_map(|witnessed| &witnessed.accounts) {
            let AccountView { spent_rho, spent_rho_person, cap_rho } = account;
            text += &format!(
                "\n{}: {of} has spent ρ = {spent_rho:.6} of {cap_rho:.6}, {spent_rho_person:.6} for a person, as witnessed here",
                partner.name
            );
        }
        for alarm in &partner.alarms {
            text += &format!(
                "\n{}: ALARM {}, {} to {}: {}; entente acknowledge {1} ends it",
                partner.name, alarm.number, alarm.first, alarm.last, alarm.reason
            );
        }
        for notice in &partner.notices {
            text += &format!("\n{}: {notice}", partner.name);
        }
    }
    text
}

pub(crate) fn studies(views: &[StudyView]) -> String {
    if views.is_empty() {
        return "no studies yet; entente study run FILE --out RESULTS runs one".into();
    }
    let mut table = table(["study", "name", "kind", "asked for by", "state", "attempt", "waits for"]);
    for view in views {
        let waiting: Vec<&str> = view.waiting.iter().map(|waiting| waiting.partner.as_str()).collect();
        let state = match &view.stage {
            Some(stage) => format!("{}, {stage}", view.state),
            None => view.state.to_string(),
        };
        table.add_row([
            &view.id,
            &view.name,
            view.kind.name(),
            &view.requester,
            &state,
            &view.attempt.to_string(),
            &waiting.join(", "),
        ]);
    }
    table.to_string()
}

pub(crate) fn study(view: &StudyView) -> String {
    let mut lines = vec![
        format!("study {} ({}, {})", view.id, view.name, view.kind),
        format!("purpose: {}", view.purpose),
        format!("asked for by: {}", view.requester),
        format!("submitted {}", view.created),
        format!("participants: {}", view.participants.join(", ")),
        match &view.stage {
            Some(stage) => format!("{}, attempt {}, stage {stage}", view.state, view.attempt),
            None => format!("{}, attempt {}", view.state, view.attempt),
        },
    ];
    lines.extend(view.waiting.iter().map(|waiting| format!("waits for {}: {}", waiting.partner, waiting.reason)));
    lines.extend(view.notes.iter().map(|note| format!("note: {note}")));
    lines.extend(view.reason.iter().map(|reason| format!("reason: {reason}")));
    if view.stage.as_deref() == Some("interrupted") {
        lines.push(format!(
            "interrupted: entente study resume {0} takes it up again, entente study cancel {0} gives it up",
            view.id
        ));
    }
    lines.join("\n")
}

pub(crate) fn check(view: &CheckView) -> String {
    let mut text = format!("study {} ({}) with {}", view.study, view.kind, view.participants.join(", "));
    if let Some(privacy) = &view.privacy {
        text += &format!(
            "\ncosts ρ = {:.6}, that is ε = {:.3} at δ = {:e}, per {}, assuming {} colluding {}",
            privacy.rho,
            privacy.epsilon,
            privacy.delta,
            privacy.scope,
            privacy.colluders,
            if privacy.colluders == 1 { "partner" } else { "partners" }
        );
    }
    let mut answers = table(["partner", "decided by", "cost ε", "spent ε", "cap ε", "cost ρ", "spent ρ", "cap ρ"]);
    for answer in &view.partners {
        let AnswerView { name, approval, rho, epsilon, spent_rho, spent_epsilon, cap_rho, cap_epsilon, .. } = answer;
        let [cost, spent, cap] = [epsilon, spent_epsilon, cap_epsilon].map(|number| shown(number, 3));
        let [cost_rho, spent_rho, cap_rho] = [rho, spent_rho, cap_rho].map(|number| shown(number, 6));
        answers.add_row([name, approval, &cost, &spent, &cap, &cost_rho, &spent_rho, &cap_rho]);
    }
    text += &format!("\n{answers}");
    if !view.measures.is_empty() {
        let mut measures = table(["measure", "expected error (95 %)", ""]);
        for measure in &view.measures {
            let note = measure.note.clone().unwrap_or_default();
            measures.add_row([measure.name.clone(), format!("± {}", significant(measure.error)), note]);
        }
        text += &format!("\n{measures}");
    }
    for answer in &view.partners {
        if let Some(reason) = &answer.reason {
            text += &format!("\n{}: {reason}", answer.name);
        }
    }
    for note in &view.notes {
        text += &format!("\nnote: {note}");
    }
    text
}

fn shown(number: &Option<f64>, decimals: usize) -> String {
    number.map_or_else(String::new, |number| format!("{number:.decimals$}"))
}

/// Three significant digits.
fn significant(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let digits = 2 - number.abs().log10().floor() as i32;
    format!("{number:.*}", usize::try_from(digits).unwrap_or(0).min(12))
}

/// The table of a result.json.
pub(crate) fn result(json: &[u8]) -> String {
    let Some(result) = kinds::table(json) else { return String::from_utf8_lossy(json).into_owned() };
    let mut table = table(result.columns.iter().map(String::as_str));
    for row in result.rows.iter().take(MAX_ROWS) {
        table.add_row(row);
    }
    let mut text = table.to_string();
    if let Some(more) = result.rows.len().checked_sub(MAX_ROWS).filter(|more| *more > 0) {
        text += &format!("\n… and {more} more rows in the files");
    }
    text
}

/// A model in short.
pub(crate) fn model(file: &ModelFile) -> String {
    let model = &file.model;
    let mut text = format!("{} model of study {} ({})", file.kind(), file.study.name, file.study.id);
    text += &match &model.target {
        Some(target) => format!("\npredicts {}: {}", target.name, values(&target.values)),
        None => "\nassigns each customer to a cluster".to_owned(),
    };
    text += &format!("\npurpose: {}", file.study.purpose);
    text += &format!("\ntrained by {}", file.participants.join(", "));
    text += &format!(
        "\nspent ρ = {}; promised ε = {} at δ = {:e} to {}",
        number::trimmed(file.privacy.rho),
        file.privacy.epsilon,
        file.privacy.delta,
        match file.privacy.scope {
            Scope::Customer => "each customer of one partner",
            Scope::Person => "each person",
        }
    );
    text += &match &model.parameters {
        Parameters::None => String::new(),
        Parameters::Weights { weights } => format!("\n{} weights", weights.len()),
        Parameters::Additive { shapes, pairs, .. } => {
            let steps: usize = shapes.iter().map(Vec::len).sum();
            format!("\n{} shapes with {steps} steps, {} pairs of features", shapes.len(), pairs.len())
        }
        Parameters::Centres { centres } => format!("\n{} clusters", centres.len()),
    };
    let mut features = table(["feature", "values"]);
    for feature in &model.recipe.features {
        features.add_row([&feature.name, &values(&feature.values)]);
    }
    text += &format!("\n{features}");
    if file.metrics.is_empty() {
        return text + "\nnot evaluated on held-out customers";
    }
    let mut metrics = table(["metric on held-out customers", "value and 95 % interval"]);
    for (name, estimate) in &file.metrics {
        let shown = number::shown(estimate, Style::Plain);
        metrics.add_row([name, &format!("{} [{}, {}]", shown.value, shown.low, shown.high)]);
    }
    text + &format!("\n{metrics}")
}

fn values(values: &Values) -> String {
    match values {
        Values::Number { low, high } => format!("number, {low} to {high}"),
        Values::Date { low, high } => format!("date, {} to {}", Day(*low), Day(*high)),
        Values::Category { values } if values.len() <= 8 => format!("one of {}", values.join(", ")),
        Values::Category { values } => format!("one of {} categories", values.len()),
        Values::Bool => "true or false".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_three_digits() {
        let shown = [0.0, 0.012_345, 1.2345, 123.45, 1_234_567.0].map(significant);
        assert_eq!(shown, ["0", "0.0123", "1.23", "123", "1234567"]);
    }
}
