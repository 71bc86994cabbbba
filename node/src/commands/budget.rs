//! `entente-node budget`.

use std::collections::BTreeMap;

use clap::Args;
use entente_host::terminal::{print, print_json, table};
use entente_host::{Error, clock};
use entente_protocols::attempt::AttemptId;
use entente_protocols::ledger::checkpoint::Totals;
use entente_protocols::ledger::{AccountKey, Ledger, Spent};
use entente_protocols::privacy::rho::Rho;
use jiff::Timestamp;
use serde::Serialize;

use super::options::{Dir, studies};
use super::plan::{self, Amount, Standing, Studies};
use crate::config::Config;
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
    /// Show for how many studies of which ε what is left is enough.
    #[arg(long)]
    plan: bool,
    /// With --plan, how many partners take part in each study, for the reading of a person; all by default.
    #[arg(long, value_name = "COUNT", requires = "plan")]
    partners: Option<u32>,
}

/// A data set, or a population, which has no `dataset`, or a year of one.
#[derive(Serialize)]
struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset: Option<String>,
    population: String,
    /// The year of what rows tell of: what is spent over all time counts in it, and so does `spent` here.
    #[serde(skip_serializing_if = "Option::is_none")]
    year: Option<i16>,
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
    /// Of a population with years: what a customer with rows of every year has lost at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    spent_all_time: Option<Amount>,
    /// What is in the cap of a population that two officers have added in calendar years.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    allowances: BTreeMap<i16, Amount>,
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
        if let Some((reads, open)) = still_to_charge(ledger, node, &question, &started) {
            let AttemptId { study, number: attempt } = id;
            all.push((
                reads.dataset.to_owned(),
                open.rho,
                SetAside { study, attempt, since, amount: amount(open.rho) },
            ));
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
        if self.plan {
            return self.plan(&folder, &config, &ledger);
        }
        let amount = |rho: Rho| Amount::of(rho, delta);
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
                year: None,
                delta,
                cap: amount(cap),
                cap_person: config.person.map(amount),
                spent: amount(rho),
                left: amount(cap.minus(of_all.rho)),
                set_aside: amount(of_this.iter().map(|(_, open, _)| *open).sum()),
                set_aside_for: of_this.into_iter().map(|(.., hold)| hold.clone()).collect(),
                spent_person: amount(person),
                spent_all_time: None,
                allowances: BTreeMap::new(),
            }
        };
        let datasets = config.datasets.iter().map(|(name, dataset)| row(Some(name), &dataset.population));
        let budgets = config.budgets();
        let populations = budgets.populations().into_keys().flat_map(|population| {
            let account = AccountKey::Population(population.to_owned());
            let (all_time, cap) = (chain.spent(&account), chain.cap(&account).unwrap_or(config.caps.lifetime));
            let of_year = |(year, totals): (i16, &Totals)| Row {
                year: Some(year),
                spent: amount(all_time.rho.plus(totals.spent)),
                left: amount(cap.minus(all_time.rho).minus(totals.spent)),
                spent_person: amount(all_time.person.plus(totals.person)),
                ..row(None, population)
            };
            let years: Vec<Row> = chain.years(population).map(of_year).collect();
            let sum = (!years.is_empty()).then(|| amount(chain.spent_all_time(population).rho));
            let allowances = chain.allowances(&account).map(|(year, rho)| (year, amount(rho))).collect();
            std::iter::once(Row { spent_all_time: sum, allowances, ..row(None, population) }).chain(years)
        });
        let rows: Vec<Row> = datasets.chain(populations).collect();
        if self.json {
            return print_json(&rows);
        }
        let mut table = table(["budget", "", "ρ", &format!("ε at δ = {delta:e}")]);
        for row in rows {
            let Row { dataset, population, year, cap, cap_person, spent, left, spent_person, .. } = row;
            let name = match (dataset, year) {
                (Some(dataset), _) => format!("data set {dataset}, of population {population}"),
                (None, Some(year)) => format!("population {population} in {year}, with all time"),
                (None, None) => format!("population {population}"),
            };
            let amounts = [("cap of the population", cap), ("spent", spent), ("left of the population's", left)];
            let amounts = amounts.map(|(what, amount)| (what.to_owned(), amount));
            let held = row.set_aside_for.into_iter().map(|SetAside { study, attempt, amount, .. }| {
                (format!("of that, set aside for {study}, attempt {attempt}"), amount)
            });
            let further = [
                Some(("spent, person at all partners".to_owned(), spent_person)),
                cap_person.map(|cap| ("cap of a person at all partners".to_owned(), cap)),
                row.spent_all_time.map(|sum| ("spent, all time and all years".to_owned(), sum)),
            ];
            let allowed =
                row.allowances.into_iter().map(|(year, amount)| (format!("in the cap, allowed in {year}"), amount));
            let lines = amounts.into_iter().chain(held).chain(further.into_iter().flatten()).chain(allowed);
            for (i, (what, amount)) in lines.enumerate() {
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

impl Budget {
    /// Shows what is left in studies, of each population and of each of its years.
    fn plan(&self, folder: &Folder, config: &Config, ledger: &Ledger<LedgerStore>) -> Result<(), Error> {
        let pinned = folder.pinned_roster()?.map(|roster| u32::try_from(roster.members.len()).unwrap_or(u32::MAX));
        let partners = self.partners.or(pinned).unwrap_or(config.policy.min_partners);
        let studies = Studies { per_study: config.caps.per_study, partners, delta: config.caps.delta };
        let chain = ledger.chain();
        let (budgets, mut standings) = (config.budgets(), Vec::new());
        for population in budgets.populations().into_keys() {
            let account = AccountKey::Population(population.to_owned());
            let (all_time, cap) = (chain.spent(&account), chain.cap(&account).unwrap_or(config.caps.lifetime));
            let with = |totals: &Totals| Spent {
                rho: all_time.rho.plus(totals.spent),
                person: all_time.person.plus(totals.person),
            };
            // Of all time there is no more than of the year in which most was spent.
            let most = chain.years(population).map(|(_, totals)| with(totals)).max_by_key(|spent| spent.rho);
            standings.push(Standing { account: account.to_string(), spent: most.unwrap_or(all_time), cap });
            let of_year =
                |(year, totals)| Standing { account: format!("{account} in {year}"), spent: with(totals), cap };
            standings.extend(chain.years(population).map(of_year));
            if config.datasets.values().any(|dataset| dataset.population == population && dataset.event.is_some()) {
                standings.push(Standing { account: format!("{account} in any other year"), spent: all_time, cap });
            }
        }
        plan::show(standings, &studies, self.json)
    }
}
