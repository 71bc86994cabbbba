//! `entente-node budget`.

use clap::Args;
use entente_host::Error;
use entente_host::terminal::{print, print_json, table};
use serde::Serialize;

use super::options::Dir;

#[derive(Args)]
pub(super) struct Budget {
    #[command(flatten)]
    dir: Dir,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Account {
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

impl Budget {
    pub(super) fn run(self) -> Result<(), Error> {
        let folder = self.dir.folder();
        let config = crate::config::load(&folder)?;
        let ledger = super::ledger::checked(&folder)?;
        let chain = ledger.chain();
        let delta = config.caps.delta;
        let amount = |rho: entente_protocols::privacy::rho::Rho| Amount {
            rho: rho.value(),
            rho_micro: rho.micro().to_string(),
            epsilon: rho.epsilon(delta),
        };
        let budgets: Vec<Account> = config
            .datasets
            .keys()
            .map(|dataset| {
                let (spent, cap) = (chain.spent(dataset), chain.cap(dataset).unwrap_or(config.caps.lifetime));
                Account {
                    dataset: dataset.clone(),
                    delta,
                    cap: amount(cap),
                    spent: amount(spent.rho),
                    left: amount(cap.minus(spent.rho)),
                    spent_person: amount(spent.person),
                }
            })
            .collect();
        if self.json {
            return print_json(&budgets);
        }
        let mut table = table(["data set", "", "ρ", &format!("ε at δ = {delta:e}")]);
        for budget in budgets {
            let Account { dataset, cap, spent, left, spent_person, .. } = budget;
            let rows =
                [("cap", cap), ("spent", spent), ("left", left), ("spent, person at all partners", spent_person)];
            for (i, (name, amount)) in rows.into_iter().enumerate() {
                let dataset = if i == 0 { dataset.clone() } else { String::new() };
                table.add_row([dataset, name.into(), format!("{:.6}", amount.rho), format!("{:.3}", amount.epsilon)]);
            }
        }
        print(table)?;
        for hold in chain.paused() {
            print(format!("{} is paused by {}: {}", hold.subject, hold.officer, hold.reason))?;
        }
        ledger.quarantine().map_or(Ok(()), print)
    }
}
