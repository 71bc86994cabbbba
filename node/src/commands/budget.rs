//! `entente-node budget`.

use entente_host::Error;
use serde::Serialize;

use super::{print_json, table};
use crate::state::Folder;

#[derive(Serialize)]
struct Budget {
    dataset: String,
    delta: f64,
    cap: Amount,
    spent: Amount,
    left: Amount,
    /// The loss of a person who may be a customer of every participant of every study.
    spent_person: Amount,
}

#[derive(Serialize)]
struct Amount {
    rho: f64,
    rho_micro: String,
    epsilon: f64,
}

pub fn run(folder: &Folder, json: bool) -> Result<(), Error> {
    let config = crate::load(folder)?;
    let ledger = super::ledger::checked(folder)?;
    let chain = ledger.chain();
    let delta = config.caps.delta;
    let amount = |rho: entente_protocols::privacy::rho::Rho| Amount {
        rho: rho.value(),
        rho_micro: rho.micro().to_string(),
        epsilon: rho.epsilon(delta),
    };
    let budgets: Vec<Budget> = config
        .datasets
        .keys()
        .map(|dataset| {
            let (spent, cap) = (chain.spent(dataset), chain.cap(dataset).unwrap_or(config.caps.lifetime));
            Budget {
                dataset: dataset.clone(),
                delta,
                cap: amount(cap),
                spent: amount(spent.rho),
                left: amount(cap.minus(spent.rho)),
                spent_person: amount(spent.person),
            }
        })
        .collect();
    if json {
        return print_json(&budgets);
    }
    let mut table = table(&["data set", "", "ρ", &format!("ε at δ = {delta:e}")]);
    for budget in budgets {
        let Budget { dataset, cap, spent, left, spent_person, .. } = budget;
        let rows = [("cap", cap), ("spent", spent), ("left", left), ("spent, person at all partners", spent_person)];
        for (i, (name, amount)) in rows.into_iter().enumerate() {
            let dataset = if i == 0 { dataset.clone() } else { String::new() };
            table.add_row([dataset, name.into(), format!("{:.6}", amount.rho), format!("{:.3}", amount.epsilon)]);
        }
    }
    say!("{table}");
    for hold in chain.paused() {
        say!("{} is paused by {}: {}", hold.subject, hold.officer, hold.reason);
    }
    if let Some(words) = ledger.quarantine() {
        say!("{words}");
    }
    Ok(())
}
