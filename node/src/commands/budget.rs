//! `entente-node budget`.

use clap::Args;
use entente_host::terminal::{print, print_json};
use entente_host::{Error, clock};
use entente_protocols::attempt::AttemptId;
use entente_protocols::ledger::Ledger;
use entente_protocols::privacy::rho::Rho;
use jiff::Timestamp;
use serde::Serialize;

use super::{Dir, studies, table};
use crate::participant::still_to_charge;
use crate::state::Folder;
use crate::store::LedgerStore;
use crate::store::attempts::{Attempt, Stage};
use crate::store::holds::Hold;

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
    /// Of what is left, what studies that go on may still cost: no other is admitted for that.
    set_aside: Amount,
    set_aside_for: Vec<SetAside>,
    /// The loss of a person who may be a customer of every participant of every study.
    spent_person: Amount,
}

#[derive(Serialize)]
struct Amount {
    rho: f64,
    rho_micro: String,
    epsilon: f64,
}

/// What is set aside for one attempt.
#[derive(Serialize)]
struct SetAside {
    study: String,
    attempt: u32,
    since: Timestamp,
    #[serde(flatten)]
    amount: Amount,
}

/// What is set aside for attempts that go on, each with the data set that it is of.
fn set_aside(
    folder: &Folder,
    node: &str,
    ledger: &Ledger<LedgerStore>,
    amount: impl Fn(Rho) -> Amount,
) -> Result<Vec<(String, Rho, SetAside)>, Error> {
    let mut all = Vec::new();
    for Hold { attempt: Attempt { id, proposal, stage, .. }, since } in studies(folder)?.holds(clock::now())? {
        let (Stage::Started(started), Ok(question)) = (stage, proposal.question()) else { continue };
        if let Some((dataset, open)) = still_to_charge(ledger, node, &question, &started) {
            let AttemptId { study, number: attempt } = id;
            all.push((dataset.to_owned(), open, SetAside { study, attempt, since, amount: amount(open) }));
        }
    }
    Ok(all)
}

impl Budget {
    pub(super) fn run(self) -> Result<(), Error> {
        let folder = self.dir.folder();
        let config = crate::load(&folder)?;
        let ledger = super::ledger::checked(&folder)?;
        let chain = ledger.chain();
        let delta = config.caps.delta;
        let amount =
            |rho: Rho| Amount { rho: rho.value(), rho_micro: rho.micro().to_string(), epsilon: rho.epsilon(delta) };
        let mut held = set_aside(&folder, &config.name, &ledger, amount)?;
        let budgets: Vec<Account> = config
            .datasets
            .keys()
            .map(|dataset| {
                let (spent, cap) = (chain.spent(dataset), chain.cap(dataset).unwrap_or(config.caps.lifetime));
                let of_this: Vec<_> = held.extract_if(.., |(of, ..)| of == dataset).collect();
                Account {
                    dataset: dataset.clone(),
                    delta,
                    cap: amount(cap),
                    spent: amount(spent.rho),
                    left: amount(cap.minus(spent.rho)),
                    set_aside: amount(of_this.iter().map(|(_, open, _)| *open).sum()),
                    set_aside_for: of_this.into_iter().map(|(.., hold)| hold).collect(),
                    spent_person: amount(spent.person),
                }
            })
            .collect();
        if self.json {
            return print_json(&budgets);
        }
        let mut table = table(&["data set", "", "ρ", &format!("ε at δ = {delta:e}")]);
        for budget in budgets {
            let Account { dataset, cap, spent, left, set_aside_for, spent_person, .. } = budget;
            let rows = [("cap", cap), ("spent", spent), ("left", left)].map(|(name, amount)| (name.to_owned(), amount));
            let held = set_aside_for.into_iter().map(|SetAside { study, attempt, amount, .. }| {
                (format!("of that, set aside for {study}, attempt {attempt}"), amount)
            });
            let person = ("spent, person at all partners".to_owned(), spent_person);
            for (i, (name, amount)) in rows.into_iter().chain(held).chain([person]).enumerate() {
                let dataset = if i == 0 { dataset.clone() } else { String::new() };
                table.add_row([dataset, name, format!("{:.6}", amount.rho), format!("{:.3}", amount.epsilon)]);
            }
        }
        print(table)?;
        for hold in chain.paused() {
            print(format!("{} is paused by {}: {}", hold.subject, hold.officer, hold.reason))?;
        }
        ledger.quarantine().map_or(Ok(()), print)
    }
}
