//! `entente-node budget`.

use clap::Args;
use entente_host::Error;
use entente_host::terminal::{print, print_json, table};
use entente_protocols::ledger::{AccountKey, Spent};
use entente_protocols::privacy::rho::Rho;
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
        let ledger = super::ledger::under(&folder, config.budgets())?;
        let (chain, delta) = (ledger.chain(), config.caps.delta);
        let amount =
            |rho: Rho| Amount { rho: rho.value(), rho_micro: rho.micro().to_string(), epsilon: rho.epsilon(delta) };
        let row = |dataset: Option<&String>, population: &str| {
            let account = AccountKey::Population(population.to_owned());
            let (of_all, cap) = (chain.spent(&account), chain.cap(&account).unwrap_or(config.caps.lifetime));
            let Spent { rho, person } = dataset.map_or(of_all, |dataset| chain.spent_on(dataset));
            Row {
                dataset: dataset.cloned(),
                population: population.to_owned(),
                delta,
                cap: amount(cap),
                cap_person: config.person.map(amount),
                spent: amount(rho),
                left: amount(cap.minus(of_all.rho)),
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
        for Row { dataset, population, cap, cap_person, spent, left, spent_person, .. } in rows {
            let name = match dataset {
                Some(dataset) => format!("data set {dataset}, of population {population}"),
                None => format!("population {population}"),
            };
            let amounts = [
                (name, "cap of the population", cap),
                (String::new(), "spent", spent),
                (String::new(), "left of the population's", left),
                (String::new(), "spent, person at all partners", spent_person),
            ];
            let person = cap_person.map(|cap| (String::new(), "cap of a person at all partners", cap));
            for (name, what, amount) in amounts.into_iter().chain(person) {
                table.add_row([name, what.into(), format!("{:.6}", amount.rho), format!("{:.3}", amount.epsilon)]);
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
