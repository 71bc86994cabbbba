//! `entente-node budget`.

use clap::Args;
use entente_host::terminal::{print, print_json, table};
use entente_host::{Error, clock};
use entente_protocols::attempt::AttemptId;
use entente_protocols::ledger::{AccountKey, Ledger, Spent};
use entente_protocols::privacy::rho::Rho;
use jiff::Timestamp;
use serde::Serialize;

use super::options::{Dir, studies};
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

/// A data set, or a population, which has no `dataset`.
#[derive(Serialize)]
struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset: Option<String>,
    population: String,
    delta: f64,
    /// The population's.
    cap: Amount,
    /// What a person may lose who may be a customer of every participant, where that is limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    cap_person: Option<Amount>,
    /// By this data set's studies, or by all of the population's.
    spent: Amount,
    /// Of the population's account.
    left: Amount,
    /// Of what is left, what studies that go on may still cost: no other is admitted for that.
    set_aside: Amount,
    set_aside_for: Vec<SetAside>,
    /// The loss of a person who may be a customer of every participant of every study.
    spent_person: Amount,
}

#[derive(Clone, Serialize)]
struct Amount {
    rho: f64,
    rho_micro: String,
    epsilon: f64,
}

/// What is set aside for one attempt.
#[derive(Clone, Serialize)]
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
            all.push((dataset.to_owned(), open.rho, SetAside { study, attempt, since, amount: amount(open.rho) }));
        }
    }
    Ok(all)
}

impl Budget {
    pub(super) fn run(self) -> Result<(), Error> {
        let folder = self.dir.folder();
        let config = crate::config::load(&folder)?;
        let ledger = super::ledger::under(&folder, config.budgets())?;
        let (chain, delta) = (ledger.chain(), config.caps.delta);
        let amount =
            |rho: Rho| Amount { rho: rho.value(), rho_micro: rho.micro().to_string(), epsilon: rho.epsilon(delta) };
        let held = set_aside(&folder, &config.name, &ledger, amount)?;
        let row = |dataset: Option<&String>, population: &str| {
            let account = AccountKey::Population(population.to_owned());
            let (of_all, cap) = (chain.spent(&account), chain.cap(&account).unwrap_or(config.caps.lifetime));
            let Spent { rho, person } = dataset.map_or(of_all, |dataset| chain.spent_on(dataset));
            let of_this: Vec<&(String, Rho, SetAside)> = held
                .iter()
                .filter(|(of, ..)| match dataset {
                    Some(dataset) => of == dataset,
                    None => config.datasets.get(of).is_some_and(|of| of.population == population),
                })
                .collect();
            Row {
                dataset: dataset.cloned(),
                population: population.to_owned(),
                delta,
                cap: amount(cap),
                cap_person: config.person.map(amount),
                spent: amount(rho),
                left: amount(cap.minus(of_all.rho)),
                set_aside: amount(of_this.iter().map(|(_, open, _)| *open).sum()),
                set_aside_for: of_this.into_iter().map(|(.., hold)| hold.clone()).collect(),
                spent_person: amount(person),
            }
        };
        let datasets = config.datasets.iter().map(|(name, dataset)| row(Some(name), &dataset.population));
        let budgets = config.budgets();
        let populations = budgets.populations().into_keys().map(|population| row(None, population));
        let rows: Vec<Row> = datasets.chain(populations).collect();
        if self.json {
            return print_json(&rows);
        }
        let mut table = table(["budget", "", "ρ", &format!("ε at δ = {delta:e}")]);
        for Row { dataset, population, cap, cap_person, spent, left, set_aside_for, spent_person, .. } in rows {
            let name = match dataset {
                Some(dataset) => format!("data set {dataset}, of population {population}"),
                None => format!("population {population}"),
            };
            let amounts = [("cap of the population", cap), ("spent", spent), ("left of the population's", left)];
            let amounts = amounts.map(|(what, amount)| (what.to_owned(), amount));
            let held = set_aside_for.into_iter().map(|SetAside { study, attempt, amount, .. }| {
                (format!("of that, set aside for {study}, attempt {attempt}"), amount)
            });
            let person = [
                Some(("spent, person at all partners".to_owned(), spent_person)),
                cap_person.map(|cap| ("cap of a person at all partners".to_owned(), cap)),
            ];
            for (i, (what, amount)) in amounts.into_iter().chain(held).chain(person.into_iter().flatten()).enumerate() {
                let name = if i == 0 { name.clone() } else { String::new() };
                table.add_row([name, what, format!("{:.6}", amount.rho), format!("{:.3}", amount.epsilon)]);
            }
        }
        print(table)?;
        if let Some(carried) = ledger.to_carry_over() {
            let dataset = carried.dataset;
            print(format!(
                "what was spent on data set {dataset} before there were populations counts when the node starts"
            ))?;
        }
        for hold in chain.paused() {
            print(format!("{} is paused by {}: {}", hold.subject, hold.officer, hold.reason))?;
        }
        ledger.quarantine().map_or(Ok(()), print)
    }
}
