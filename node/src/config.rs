//! `node.toml`: where the data are, what they mean, what may be spent on them and who approves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use entente_host::Error;
use entente_protocols::config::{self, ConfigError};
use entente_protocols::digest::Digest;
use entente_protocols::identity::check_name;
use entente_protocols::kind::Kind;
use entente_protocols::language::event::Event;
use entente_protocols::language::schema::{ColumnType, DatasetSchema};
use entente_protocols::ledger::rules::{DatasetRules, Rules};
use entente_protocols::ledger::{Budgets, Caps, is_dataset_name, is_population_name, population_of};
use entente_protocols::policy::{Admitted, ApprovalMode, Limits, MinColluders, Policy, Requesters};
use entente_protocols::privacy::blocks::ByYear;
use entente_protocols::privacy::rho::Rho;
use entente_protocols::reason::Reason;
use entente_protocols::study::OwnNumbers;
use entente_protocols::study::parts::Reads;
use entente_protocols::study::plans::score::{CANDIDATES, MOST_BUCKETED, OUTPUTS, Output};
use entente_protocols::study::proposal::Proposal;
use serde::Deserialize;

use crate::state::Folder;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The partner's name.
    pub name: String,
    /// The coordinator, `host:port`.
    pub coordinator: String,
    /// Where the review page is served, if it is.
    pub review: Option<std::net::SocketAddr>,
    /// The data sets, by name.
    pub datasets: BTreeMap<String, DatasetConfig>,
    /// The budget of each population.
    pub caps: Caps,
    /// The most that a person may lose who may be in the data of all participants of studies.
    pub person: Option<Rho>,
    /// ε of the lifetime budget, as stated.
    pub epsilon: f64,
    /// The rules.
    pub policy: Policy,
    /// The rules for this node's models.
    pub models: ModelRules,
    /// Who watches over the ledger.
    pub oversight: Oversight,
    /// How much is computed at a time.
    pub computing: Computing,
    /// The rules for exporting audiences, which concern nobody but this node.
    pub activation: Activation,
}

impl Config {
    /// What may be spent on whom, by which rules.
    pub fn budgets(&self) -> Budgets {
        Budgets::new(self.rules(), self.caps)
    }

    /// What the ledger records of this configuration.
    fn rules(&self) -> Rules {
        let Policy {
            approve,
            ref kinds,
            min_partners,
            min_colluders,
            own_numbers,
            per_study,
            min_epsilon: _,
            requesters: _,
        } = self.policy;
        let of = |(name, dataset): (&String, &DatasetConfig)| {
            let DatasetConfig { source, population, consent, event, schema } = dataset;
            let rules = DatasetRules {
                source: source.clone(),
                population: population.clone(),
                privacy_unit: schema.privacy_unit.clone(),
                columns: schema.columns.keys().cloned().collect(),
                schema_sha256: schema.digest(),
                consent_sha256: consent.as_ref().map(|consent| Digest::plain(consent.as_bytes())),
                event: event.as_ref().map(|event| event.column().to_owned()),
            };
            (name.clone(), rules)
        };
        Rules {
            approve,
            kinds: kinds.iter().map(|kind| kind.name().to_owned()).collect(),
            own_numbers,
            min_partners,
            min_colluders: match min_colluders {
                MinColluders::Relative => None,
                MinColluders::Absolute(number) => Some(number),
            },
            min_audience: u32::try_from(self.activation.min_audience).unwrap_or(u32::MAX),
            witnesses: self.oversight.witnesses,
            per_study,
            person: self.person,
            officers: self.oversight.officers.iter().cloned().collect(),
            datasets: self.datasets.iter().map(of).collect(),
        }
    }

    /// The public schema of the data set of this name, however a study writes that.
    pub fn schema(&self, name: &str) -> Option<&DatasetSchema> {
        DatasetSchema::named(self.datasets.values().map(|dataset| &dataset.schema), name)
    }

    /// What a part is charged to that reads these rows, where the budget of their data set is by year.
    pub fn by_year(&self, reads: Reads<'_>) -> Option<ByYear> {
        let event = self.datasets.get(reads.dataset)?.event.as_ref()?;
        Some(ByYear { event: event.column().to_owned(), years: event.restriction(reads.filter).years })
    }

    /// What a proposed study tells of single partners, as a sentence for whoever decides on it or looks back at it.
    pub fn own_numbers(&self, proposal: &Proposal) -> Option<String> {
        let told = |mut participants: Vec<String>| {
            participants.sort();
            let asked = Proposal { participants, ..proposal.clone() };
            asked.question().map_or(OwnNumbers::None, |question| question.own_numbers())
        };
        let all = told(proposal.participants.clone());
        if let OwnNumbers::Alone(_) = all {
            return all.words();
        }
        // An approval is for any of its attempts, also those with the fewest: with at most one other there may be one contributor.
        let others = proposal.partners.iter().filter(|name| **name != self.name);
        let fewest = [None].into_iter().chain(others.map(Some));
        let fewest = fewest.map(|other| [&self.name].into_iter().chain(other).cloned().collect::<Vec<_>>());
        let least = proposal.min_partners();
        let alone = fewest.filter(|few| (least..=2).contains(&few.len())).filter_map(|few| match told(few) {
            OwnNumbers::Alone(name) => Some(name),
            _ => None,
        });
        let alone: BTreeSet<String> = alone.collect();
        let of_one = match Vec::from_iter(alone).as_slice() {
            [] => None,
            [name] => OwnNumbers::Alone(name.clone()).words(),
            several => Some(format!(
                "All its numbers may be those of one partner ({}): nobody else's customers are then added to them, only noise.",
                several.join(" or ")
            )),
        };
        let of_one = of_one.map(|words| format!("If others are lost on the way: {words}"));
        let words: Vec<String> = all.words().into_iter().chain(of_one).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
}

/// How far this node lets its models score other partners' customers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelRules {
    /// The most candidates of one partner in one study.
    pub max_candidates: u64,
    /// The most studies with one model.
    pub max_studies_per_model: u32,
    /// The most candidates of one partner whose scores are put into buckets with one model, in all studies: buckets of those
    /// at an edge tell of the model's keys.
    pub max_bucketed: u64,
    /// Whether scores may be opened.
    pub scores: bool,
    /// Whether buckets may.
    pub buckets: bool,
}

impl ModelRules {
    /// Whether this may be opened.
    pub fn admit(&self, output: Output) -> bool {
        match output {
            Output::Scores => self.scores,
            Output::Buckets(_) => self.buckets,
        }
    }
}

/// Who watches over the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oversight {
    /// Who may pause, change caps and recover, by the names under which the ledger records it.
    pub officers: Vec<String>,
    /// How many partners at least must have cosigned the charge before a vector leaves, where there are so many. As many as it takes for
    /// any two sets of them to share an honest one must in any case ([`entente_protocols::ledger::quorum`]); 0 demands no more.
    pub witnesses: u32,
    /// After how long without a partner's answer staff are told what to do about it.
    pub witness_wait: Duration,
}

/// What an exported audience has to keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The fewest customers.
    pub min_audience: u64,
    /// The most exports that a customer may be in within `contact_days`; 0 for as many as one likes.
    pub max_contacts: u32,
    /// In how many days contacts are counted.
    pub contact_days: u32,
}

/// A data set as configured.
#[derive(Clone, Debug)]
pub struct DatasetConfig {
    /// File, folder or glob, relative to the node's folder.
    pub source: String,
    /// Who its customers are: data sets of one population share one account.
    pub population: String,
    /// SQL predicate on the source's columns; rows for which it is not true do not exist for studies.
    pub consent: Option<String>,
    /// The column that says when that has happened which a row tells of, where budgets are by year.
    pub event: Option<Event>,
    /// The public schema.
    pub schema: DatasetSchema,
}

/// How much is computed at a time, and in how much memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Computing {
    /// Rounds of studies; others wait for their turn.
    pub max: usize,
    /// Bytes that all of them may take together for customers; what does not fit goes to files.
    pub memory: usize,
}

impl Computing {
    /// Two rounds, so that a long one does not stop all others, in half of this machine's memory.
    fn usual() -> Self {
        // As on a small machine, where the system does not say.
        let memory = entente_host::process::memory().unwrap_or(4 << 30) / 2;
        Self { max: 2, memory: usize::try_from(memory).unwrap_or(usize::MAX) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    node: Node,
    #[serde(default)]
    dataset: Vec<Dataset>,
    budget: Budget,
    #[serde(default)]
    policy: PolicyTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    name: String,
    coordinator: String,
    #[serde(default = "off")]
    review: String,
    max_computing: Option<usize>,
    memory_mib: Option<usize>,
}

fn off() -> String {
    "off".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dataset {
    name: String,
    source: String,
    privacy_unit: String,
    population: Option<String>,
    consent: Option<String>,
    event: Option<String>,
    #[serde(default)]
    columns: BTreeMap<String, toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    epsilon: f64,
    delta: f64,
    per_study_epsilon: Option<f64>,
    person_epsilon: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PolicyTable {
    approve: ApprovalMode,
    kinds: Vec<String>,
    min_partners: u32,
    min_colluders: Option<u32>,
    own_numbers: bool,
    min_epsilon: f64,
    max_candidates: u64,
    max_studies_per_model: u32,
    max_bucketed: u64,
    outputs: Vec<String>,
    min_audience: u64,
    max_contacts: u32,
    contact_days: u32,
    officers: Vec<String>,
    witnesses: Option<u32>,
    witness_wait: Option<String>,
    requesters: RequestersTable,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RequestersTable {
    studies_per_day: Option<u32>,
    epsilon_per_day: Option<f64>,
    steward_above_epsilon: Option<f64>,
    named: BTreeMap<String, LimitsTable>,
}

/// Of one requester; what is not there is as for all.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LimitsTable {
    studies_per_day: Option<u32>,
    epsilon_per_day: Option<f64>,
    steward_above_epsilon: Option<f64>,
}

impl Default for PolicyTable {
    fn default() -> Self {
        let kinds = Kind::all().map(|kind| kind.name().to_owned()).collect();
        Self {
            approve: ApprovalMode::Manual,
            kinds,
            min_partners: 2,
            min_colluders: None,
            own_numbers: false,
            // Of a lifetime budget of ε = 10, some 30,000 questions.
            min_epsilon: 0.05,
            max_candidates: CANDIDATES,
            max_studies_per_model: 10,
            max_bucketed: 200_000,
            outputs: OUTPUTS.map(String::from).into(),
            min_audience: 100,
            max_contacts: 3,
            contact_days: 30,
            officers: Vec::new(),
            witnesses: None,
            witness_wait: None,
            requesters: RequestersTable::default(),
        }
    }
}

/// The configuration of the node in `folder`.
pub fn load(folder: &Folder) -> Result<Config, Error> {
    let path = folder.config();
    Ok(parse(&path, &folder.read(&path)?)?)
}

/// Parses the configuration file `file` with content `text`.
pub fn parse(file: &Path, text: &str) -> Result<Config, ConfigError> {
    let file = file.display().to_string();
    let fail = |reason: Reason| ConfigError { file: file.clone(), reason };
    let File { node, dataset, budget, policy } = config::parse(&file, text)?;
    check_name(&node.name).map_err(|error| fail(format!("`name` in [node]: {error}").into()))?;
    if !node.coordinator.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
        let problem = format!("`coordinator` in [node] is `{}`", node.coordinator);
        return Err(fail(Reason::from(problem).help("write host:port, as in the ticket")));
    }
    let review = match node.review.as_str() {
        "off" => None,
        text => match text.parse::<std::net::SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Some(address),
            Ok(_) => {
                let problem = format!("`review` in [node] is `{text}`, and the page is served on loopback only");
                return Err(fail(Reason::from(problem).help("write an address such as 127.0.0.1:8081, or off")));
            }
            Err(_) => {
                let problem = format!("`review` in [node] is `{text}`, which is not an address");
                return Err(fail(Reason::from(problem).help("write an address such as 127.0.0.1:8081, or off")));
            }
        },
    };
    let computing = parse_computing(&node).map_err(|reason| fail(reason.at("[node]")))?;
    let mut datasets = BTreeMap::new();
    for raw in dataset {
        let name = raw.name.clone();
        let parsed = parse_dataset(raw).map_err(|reason| fail(reason.at(format_args!("data set `{name}`"))))?;
        if datasets.insert(name.clone(), parsed).is_some() {
            return Err(fail(Reason::from(format!("two data sets are called `{name}`")).help("rename one")));
        }
    }
    let (caps, person) = parse_budget(&budget).map_err(|reason| fail(reason.at("[budget]")))?;
    let admitted = |name: &String| {
        name.parse::<Admitted>().map_err(|_| {
            let known: Vec<&str> = Admitted::all().map(Admitted::name).collect();
            let problem = format!("`kinds` in [policy] names `{name}`, which is not a study kind");
            fail(Reason::from(problem).help(format!("known: {}", known.join(", "))))
        })
    };
    let kinds = policy.kinds.iter().map(admitted).collect::<Result<Vec<_>, _>>()?;
    if !(1..=3660).contains(&policy.contact_days) {
        let problem = format!("`contact_days` in [policy] is {}", policy.contact_days);
        return Err(fail(Reason::from(problem).help("write 1 to 3660; `max_contacts = 0` turns counting off")));
    }
    if let Some(other) = policy.outputs.iter().find(|output| !OUTPUTS.contains(&output.as_str())) {
        let problem = format!("`outputs` in [policy] names `{other}`");
        return Err(fail(Reason::from(problem).help(format!("known: {}", OUTPUTS.join(", ")))));
    }
    if policy.max_bucketed > MOST_BUCKETED {
        let problem = format!("`max_bucketed` in [policy] is {}", policy.max_bucketed);
        let help = format!("write at most {MOST_BUCKETED}, the most for which keys are known to be safe");
        return Err(fail(Reason::from(problem).help(help)));
    }
    let may = |output: &str| policy.outputs.iter().any(|named| named == output);
    let models = ModelRules {
        max_candidates: policy.max_candidates,
        max_studies_per_model: policy.max_studies_per_model,
        max_bucketed: policy.max_bucketed,
        scores: may(OUTPUTS[0]),
        buckets: may(OUTPUTS[1]),
    };
    if let Some(bad) = policy.officers.iter().find(|name| name.trim().is_empty() || name.chars().any(char::is_control))
    {
        return Err(fail(format!("`officers` in [policy] has `{bad}`, which is not a name").into()));
    }
    if let Some(twice) = policy.officers.iter().enumerate().find(|(i, name)| policy.officers[..*i].contains(name)) {
        let problem = format!("`officers` in [policy] names `{}` twice", twice.1);
        return Err(fail(Reason::from(problem).help("name each once: some decisions take two different officers")));
    }
    let oversight = parse_oversight(&policy).map_err(|reason| fail(reason.at("[policy]")))?;
    let PolicyTable { min_audience, max_contacts, contact_days, .. } = policy;
    let activation = Activation { min_audience, max_contacts, contact_days };
    let PolicyTable { approve, min_partners, min_colluders, own_numbers, min_epsilon, .. } = policy;
    if !(0.0..=100.0).contains(&min_epsilon) {
        let problem = format!("`min_epsilon` in [policy] is {min_epsilon}");
        let help = "write the least ε that a study may ask for, such as 0.05";
        return Err(fail(Reason::from(problem).help(help)));
    }
    let min_colluders = min_colluders.map_or(MinColluders::Relative, MinColluders::Absolute);
    let requesters = parse_requesters(&policy.requesters, budget.delta);
    let requesters = requesters.map_err(|reason| fail(reason.at("[policy.requesters]")))?;
    let per_study = caps.per_study;
    let policy =
        Policy { approve, kinds, min_partners, min_colluders, own_numbers, per_study, min_epsilon, requesters };
    Ok(Config {
        name: node.name,
        coordinator: node.coordinator,
        review,
        datasets,
        caps,
        person,
        epsilon: budget.epsilon,
        policy,
        models,
        oversight,
        computing,
        activation,
    })
}

fn parse_oversight(policy: &PolicyTable) -> Result<Oversight, Reason> {
    let witnesses = policy.witnesses.unwrap_or_default();
    if policy.witnesses == Some(0) {
        return Err(Reason::from("`witnesses` is 0, and a ledger without witnesses can be put back unnoticed").help(
            "leave it out: how many partners are enough follows from how many there are; a number only demands more",
        ));
    }
    let witness_wait = match &policy.witness_wait {
        None => Duration::from_secs(3600),
        Some(text) => {
            let wait = text.parse::<jiff::SignedDuration>().ok().and_then(|wait| Duration::try_from(wait).ok());
            wait.filter(|wait| !wait.is_zero()).ok_or_else(|| {
                Reason::from(format!("`witness_wait` is `{text}`")).help("write how long, such as 1h or 30min")
            })?
        }
    };
    Ok(Oversight { officers: policy.officers.clone(), witnesses, witness_wait })
}

fn parse_computing(node: &Node) -> Result<Computing, Reason> {
    let Computing { max, memory } = Computing::usual();
    let max = node.max_computing.unwrap_or(max);
    if !(1..=64).contains(&max) {
        return Err(Reason::from(format!("`max_computing` is {max}"))
            .help("write how many rounds of studies are computed at a time, from 1 to 64"));
    }
    let memory =
        node.memory_mib.map_or(Some(memory), |mib| mib.checked_mul(1 << 20)).filter(|bytes| *bytes >= 64 << 20);
    let memory = memory.ok_or_else(|| {
        Reason::from("`memory_mib` is too small").help("write how many MiB computations may take together, at least 64")
    })?;
    Ok(Computing { max, memory })
}

fn parse_requesters(table: &RequestersTable, delta: f64) -> Result<Requesters, Reason> {
    let rho = |key: &str, epsilon: Option<f64>| {
        let within = |epsilon: f64| if epsilon == 0.0 { Some(Rho::ZERO) } else { Rho::within(epsilon, delta) };
        let problem = |epsilon| Reason::from(format!("`{key}` is {epsilon}")).help("it must be a number, 0 or above");
        epsilon.map(|epsilon| within(epsilon).ok_or_else(|| problem(epsilon))).transpose()
    };
    let limits = |table: &LimitsTable, usual: Limits| {
        let LimitsTable { studies_per_day, epsilon_per_day, steward_above_epsilon } = *table;
        Ok::<_, Reason>(Limits {
            studies: studies_per_day.or(usual.studies),
            rho: rho("epsilon_per_day", epsilon_per_day)?.or(usual.rho),
            steward_above: rho("steward_above_epsilon", steward_above_epsilon)?.or(usual.steward_above),
        })
    };
    let RequestersTable { studies_per_day, epsilon_per_day, steward_above_epsilon, named } = table;
    let (studies_per_day, epsilon_per_day) = (*studies_per_day, *epsilon_per_day);
    let all = LimitsTable { studies_per_day, epsilon_per_day, steward_above_epsilon: *steward_above_epsilon };
    let usual = limits(&all, Limits::default())?;
    let mut by_name = BTreeMap::new();
    for (name, table) in named {
        let at = |reason: Reason| reason.at(format_args!("`{name}`"));
        check_name(name).map_err(|error| at(error.into()))?;
        by_name.insert(name.clone(), limits(table, usual).map_err(at)?);
    }
    Ok(Requesters { usual, named: by_name })
}

fn parse_budget(budget: &Budget) -> Result<(Caps, Option<Rho>), Reason> {
    let Budget { epsilon, delta, per_study_epsilon, person_epsilon } = *budget;
    if !(delta > 0.0 && delta <= 0.01) {
        return Err(Reason::from(format!("`delta` is {delta}")).help("it must be above 0 and at most 0.01"));
    }
    let rho = |name: &str, epsilon: f64| {
        let rho = Rho::within(epsilon, delta).filter(|rho| *rho > Rho::ZERO);
        rho.ok_or_else(|| Reason::from(format!("`{name}` is {epsilon}")).help("it must be a number above 0"))
    };
    let lifetime = rho("epsilon", epsilon)?;
    let per_study = per_study_epsilon.map_or(Ok(lifetime), |epsilon| rho("per_study_epsilon", epsilon))?;
    if per_study > lifetime {
        return Err(Reason::from("`per_study_epsilon` is above `epsilon`").help("lower it"));
    }
    let person = person_epsilon.map(|epsilon| rho("person_epsilon", epsilon)).transpose()?;
    Ok((Caps { lifetime, per_study, delta }, person))
}

fn parse_dataset(raw: Dataset) -> Result<DatasetConfig, Reason> {
    let Dataset { name, source, privacy_unit, population, consent, event, columns } = raw;
    if !is_dataset_name(&name) {
        let help = "use letters, digits and `_`, so that SQL can say FROM it";
        return Err(Reason::from("this cannot be the name of a data set").help(help));
    }
    let mut typed = BTreeMap::new();
    for (column, table) in columns {
        typed.insert(
            column.clone(),
            parse_column(table).map_err(|reason| reason.at(format_args!("column `{column}`")))?,
        );
    }
    let schema = DatasetSchema { name, privacy_unit, columns: typed };
    schema.validate().map_err(|error| error.to_string())?;
    let population = population.unwrap_or_else(|| population_of(&schema.privacy_unit));
    if !is_population_name(&population) {
        let problem = format!("`population` is `{population}`");
        return Err(Reason::from(problem).help("write one word for who the customers are, such as customers"));
    }
    let event = event.map(|column| Event::new(&column, schema.columns.get(&column))).transpose();
    let event = event.map_err(|(problem, remedy)| Reason::from(problem).help(remedy))?;
    Ok(DatasetConfig { source, population, consent, event, schema })
}

fn parse_column(table: toml::Table) -> Result<ColumnType, Reason> {
    const TYPES: [&str; 5] = ["category", "int", "float", "date", "bool"];
    let Some(type_name) = table.get("type").and_then(|value| value.as_str()).map(str::to_owned) else {
        return Err(Reason::from("`type` is missing").help(format!("write one of {}", TYPES.join(", "))));
    };
    if !TYPES.contains(&type_name.as_str()) {
        let reason = Reason::from(format!("type `{type_name}` is not one of {}", TYPES.join(", ")));
        return Err(config::suggesting(reason, &type_name, TYPES.into_iter()));
    }
    let known: &[&str] = match type_name.as_str() {
        "category" => &["type", "values"],
        "bool" => &["type"],
        _ => &["type", "min", "max"],
    };
    if let Some(unknown) = table.keys().find(|key| !known.contains(&key.as_str())) {
        let reason = Reason::from(format!("unknown key `{unknown}` (type {type_name} has {})", known.join(", ")));
        return Err(config::suggesting(reason, unknown, known.iter().copied()));
    }
    table.try_into().map_err(|error: toml::de::Error| format!("as {type_name}: {}", error.message()).into())
}

/// The first of the usual ports for the review page that nothing listens on now: nodes of several partners can try things out on one
/// machine.
#[expect(clippy::disallowed_types, reason = "a port is free where it can be bound")]
fn review_port() -> u16 {
    let free = |port: &u16| std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, *port)).is_ok();
    (8081..8100).find(free).unwrap_or(8081)
}

/// The file that `join` writes for a partner to edit.
pub fn template(name: &str, coordinator: &str) -> String {
    let review = review_port();
    let kinds = Kind::all().map(|kind| format!("\"{kind}\"")).collect::<Vec<_>>().join(", ");
    format!(
        r#"# The configuration of this node. Check it with `entente-node check --dir .` after every change.

[node]
name = "{name}"
coordinator = "{coordinator}"
review = "127.0.0.1:{review}"          # the page for compliance officers, on this machine alone; "off" to not serve it
# max_computing = 2                # so many rounds of studies are computed at a time; others wait for their turn
# memory_mib = 4096                # that they may take together; the rest goes to files. Without: half of this machine's memory

# One table per data set. The types, bounds and categories are PUBLIC and agreed among the partners: they must be the same at
# each, and they must not be read off the data. A column that is not declared does not exist for studies.
#
# [[dataset]]
# name = "customers"               # studies say FROM customers
# source = "data/customers.csv"    # file, folder or glob of Parquet, CSV or NDJSON; relative to this folder
# privacy_unit = "customer_id"     # the column whose value is one customer
# population = "customers"         # who they are; without: as that column. Data sets over the same people share one account
# consent = "marketing_consent"    # optional: rows for which this is not true do not exist for studies
# event = "joined"                 # optional: the date of what a row tells of, which never changes; the budget is then for each year
#
# [dataset.columns]
# region = {{ type = "category", values = ["north", "south", "east", "west"] }}
# age    = {{ type = "int", min = 18, max = 95 }}
# spend  = {{ type = "float", min = 0.0, max = 5000.0 }}
# joined = {{ type = "date", min = "2015-01-01", max = "2030-12-31" }}
# active = {{ type = "bool" }}

# What may be spent on each population, over its lifetime and by one study. Raising it later takes two officers
# (`entente-node ledger cap`).
[budget]
epsilon = 10.0
delta = 1e-6
per_study_epsilon = 2.0
# person_epsilon = 30.0            # what a person may lose who may be a customer of every partner; without: no limit

[policy]
approve = "manual"                 # or "auto": what the rules below admit needs no steward
kinds = [{kinds}]
own_numbers = false                # true: studies may show this partner's own numbers beside the sums of all (`per_partner`)
min_partners = 2
min_epsilon = 0.05                 # the least of a study; cheaper questions could be asked by the million
# min_colluders = 1                # a number is asked for however many take part; without: max(1, (n - 1) / 2) of n participants
max_candidates = 1000000           # of each partner, whom a model of this node may score in one study
max_studies_per_model = 10         # studies in which one model may score
max_bucketed = 200000              # candidates of each partner whose buckets one model may give, in all studies
outputs = ["scores", "buckets"]    # outputs a model of this node may produce
min_audience = 100                 # `entente-node audience export` refuses an audience of fewer customers,
max_contacts = 3                   # and leaves out who was in so many exports (0: however many)
contact_days = 30                  # within so many days
officers = []                      # who may pause, change caps and rules and recover the ledger; what admits more takes two of them
witnesses = 2                      # who must have cosigned a charge (the coordinator, other partners) before anything leaves

# What one requester may ask for within 24 hours: a partner, or the operator. Without a number, there is no such limit.
# [policy.requesters]
# studies_per_day = 20
# epsilon_per_day = 3.0            # of all its studies together, over all data sets
# steward_above_epsilon = 1.0      # one that costs more waits for a steward, also where approve = "auto"
# [policy.requesters.named.telecom]
# studies_per_day = 5              # instead of the number above; the others hold for it as well
"#
    )
}

#[cfg(test)]
mod tests {
    use entente_protocols::privacy::bounds::{Component, Layout};
    use entente_protocols::privacy::mechanism::{Mechanism, Scope};
    use entente_protocols::testing::request;

    use super::*;

    const GOOD: &str = r#"
[node]
name = "retailer"
coordinator = "alliance.example:4433"
[[dataset]]
name = "customers"
source = "data/customers.parquet"
privacy_unit = "customer_id"
consent = "marketing_consent"
[dataset.columns]
region = { type = "category", values = ["north", "south"] }
age = { type = "int", min = 18, max = 95 }
spend = { type = "float", min = 0, max = 5000.0 }
joined = { type = "date", min = "2015-01-01", max = "2030-12-31" }
churned = { type = "bool" }
[budget]
epsilon = 10.0
delta = 1e-6
per_study_epsilon = 2.0
[policy]
approve = "auto"
kinds = ["query", "train", "lookalike"]
min_partners = 2
min_colluders = 1
"#;

    fn problem(text: &str) -> String {
        parse(Path::new("node.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn witnesses_can_only_be_demanded_more() {
        let with = |line: &str| GOOD.to_owned() + line;
        let oversight = |line: &str| parse(Path::new("node.toml"), &with(line)).unwrap().oversight;
        assert_eq!(
            (oversight("").witness_wait, oversight("witnesses = 3\n").witnesses),
            (Duration::from_secs(3600), 3)
        );
        assert_eq!(oversight("witness_wait = \"30min\"\n").witness_wait, Duration::from_secs(1800));
        assert!(problem(&with("witnesses = 0\n")).contains("without witnesses"));
        assert!(problem(&with("witness_wait = \"soon\"\n")).contains("`witness_wait` is `soon`"));
    }

    #[test]
    fn the_contract_s_example_is_read() {
        let config = parse(Path::new("node.toml"), GOOD).unwrap();
        let columns = &config.datasets["customers"].schema.columns;
        assert_eq!(columns.len(), 5);
        assert_eq!(columns["spend"], ColumnType::Float { min: Some(0.0), max: Some(5000.0) });
        assert!(config.caps.per_study < config.caps.lifetime);
        assert_eq!(
            config.budgets().population("customers"),
            Some("customer_id"),
            "as its unit, unless it says otherwise"
        );
        let stated = GOOD.replacen("consent =", "population = \"customers\"\nconsent =", 1);
        let config = parse(Path::new("node.toml"), &stated).unwrap();
        assert_eq!(config.budgets().population("customers"), Some("customers"));
        assert_eq!((config.oversight.officers.len(), config.oversight.witnesses), (0, 0));
        assert_eq!(config.policy.min_colluders, MinColluders::Absolute(1));
        assert!(!config.policy.own_numbers, "unless it says otherwise");
        assert_eq!(config.computing, Computing::usual());
        let stated = GOOD.replacen("[[dataset]]", "max_computing = 1\nmemory_mib = 64\n[[dataset]]", 1);
        let computing = parse(Path::new("node.toml"), &stated).unwrap().computing;
        assert_eq!(computing, Computing { max: 1, memory: 64 << 20 });
        let Activation { min_audience, max_contacts, contact_days } = config.activation;
        assert_eq!((min_audience, max_contacts, contact_days), (100, 3, 30), "unless it says otherwise");
    }

    #[test]
    fn what_requesters_may_ask_for_is_read() {
        let none = parse(Path::new("node.toml"), GOOD).unwrap().policy.requesters;
        assert_eq!(none, Requesters::default(), "unless it says otherwise");
        let stated = "[policy.requesters]\nstudies_per_day = 3\nepsilon_per_day = 2.0\nsteward_above_epsilon = 0\n\
                      [policy.requesters.named.bank]\nstudies_per_day = 0\n";
        let requesters = parse(Path::new("node.toml"), &format!("{GOOD}{stated}")).unwrap().policy.requesters;
        let usual = Limits { studies: Some(3), rho: Rho::within(2.0, 1e-6), steward_above: Some(Rho::ZERO) };
        assert_eq!((requesters.of("operator"), requesters.of("bank")), (usual, Limits { studies: Some(0), ..usual }));
    }

    /// Whoever invents most of the participants would take what is left of the noise for an exact answer.
    #[test]
    fn one_colluder_of_64_participants_is_too_few_unless_node_toml_says_so() {
        let layout = Layout::new(2, 1, 1, vec![Component::Rows { unit: 1 << 30 }]);
        let objects = |text: &str, participants: u32, colluders: u32| {
            let rho = Rho::from_micro(1000);
            let mechanism = Mechanism::new(layout.clone(), Scope::Customer, participants, colluders, rho).unwrap();
            let names: Vec<String> = (0..participants).map(|number| format!("p{number}")).collect();
            let policy = parse(Path::new("node.toml"), text).unwrap().policy;
            policy.objection(&request(&mechanism, &names)).map(|objection| objection.to_string())
        };
        let default = GOOD.replace("min_colluders = 1\n", "");
        let why = objects(&default, 64, 1).expect("31 of 64 may collude, unless a study says otherwise");
        assert!(why.contains("at least 31") && why.contains("`min_colluders`"), "{why}");
        assert!(objects(&default, 64, 30).is_some() && objects(&default, 64, 31).is_none());
        assert!(objects(&default, 3, 1).is_none() && objects(&default, 2, 1).is_none());
        assert!(objects(GOOD, 64, 1).is_none(), "a number that is written down is what is asked for");
    }

    #[test]
    fn the_template_is_read() {
        let config = parse(Path::new("node.toml"), &template("bank", "127.0.0.1:4433")).unwrap();
        assert_eq!((config.name.as_str(), config.policy.approve), ("bank", ApprovalMode::Manual));
        assert_eq!((config.policy.min_colluders, config.policy.own_numbers), (MinColluders::Relative, false));
        assert_eq!(config.policy.kinds, Kind::all().map(Admitted::Studies).collect::<Vec<_>>());
        // And so is its example, uncommented.
        let uncommented: String = template("bank", "127.0.0.1:4433")
            .lines()
            .map(|line| {
                let code = line.strip_prefix("# ").filter(|code| code.contains(" = ") || code.starts_with('['));
                format!("{}\n", code.unwrap_or(line))
            })
            .collect();
        assert_eq!(parse(Path::new("node.toml"), &uncommented).unwrap().datasets["customers"].schema.columns.len(), 5);
    }

    #[test]
    fn mistakes_are_named_with_what_to_write() {
        let cases = [
            ("name = \"retailer\"", "name = \"Retailer\"", "cannot be a name"),
            ("name = \"retailer\"", "max_computing = 0\nname = \"retailer\"", "from 1 to 64"),
            ("name = \"retailer\"", "memory_mib = 63\nname = \"retailer\"", "at least 64"),
            ("name = \"retailer\"", "memory_mb = 64\nname = \"retailer\"", "did you mean `memory_mib`"),
            (":4433", "", "host:port"),
            ("type = \"int\"", "type = \"integer\"", "did you mean `int`"),
            ("min = 18", "mni = 18", "did you mean `min`"),
            ("max = 95", "max = 9.5", "as int"),
            ("max = 95", "max = 1", "above max"),
            ("consent = ", "event = \"age\"\nconsent = ", "declare a date with min and max"),
            ("consent = ", "event = \"join\"\nconsent = ", "`event` names `join`, which is not declared"),
            ("consent =", "population = \"our customers\"\nconsent =", "write one word"),
            ("consent =", "populaton = \"customers\"\nconsent =", "did you mean `population`"),
            ("privacy_unit = \"customer_id\"", "privacy_unit = \"age\"", "privacy unit"),
            ("min_colluders = 1", "min_coluders = 1", "did you mean `min_colluders`"),
            ("epsilon = 10.0\n", "epsilon = -1.0\n", "`epsilon`"),
            ("per_study_epsilon = 2.0", "per_study_epsilon = 20.0", "lower it"),
            ("per_study_epsilon = 2.0", "person_epsilon = 0.0", "`person_epsilon`"),
            ("kinds = [\"query\"", "kinds = [\"querry\"", "known: query"),
            ("min_colluders = 1", "officers = [\"ann\", \"ann\"]", "two different"),
            ("min_colluders = 1", "officers = [\"\"]", "is not a name"),
            ("min_colluders = 1", "min_audiense = 1", "did you mean `min_audience`"),
            ("min_colluders = 1", "max_contact = 1", "did you mean `max_contacts`"),
            ("min_colluders = 1", "contact_days = 0", "write 1 to 3660"),
            ("min_colluders = 1", "outputs = [\"score\"]", "known: scores, buckets"),
            ("min_colluders = 1", "max_bucketed = 5000000", "keys are known to be safe"),
            ("min_colluders = 1", "min_audience = -1", "`min_audience` is integer `-1`; write a whole number"),
            ("min_colluders = 1", "own_number = true", "did you mean `own_numbers`"),
            ("min_colluders = 1", "min_epsilon = 101", "such as 0.05"),
            ("min_colluders = 1", "min_epsilon = nan", "such as 0.05"),
            ("min_colluders = 1", "[policy.requesters]\nstudies_a_day = 1", "did you mean `studies_per_day`"),
            (
                "min_colluders = 1",
                "[policy.requesters]\nepsilon_per_day = -1.0",
                "[policy.requesters]: `epsilon_per_day` is -1",
            ),
            ("min_colluders = 1", "[policy.requesters.named.Bank]\nstudies_per_day = 1", "cannot be a name"),
            ("approve = \"auto\"", "approve = \"never\"", "unknown value `never`; known here: manual, auto"),
            ("2015-01-01", "2015-13-01", "ISO 8601"),
        ];
        for (good, bad, expected) in cases {
            let text = GOOD.replacen(good, bad, 1);
            assert_ne!(text, GOOD, "{good}");
            assert!(problem(&text).contains(expected), "{bad}: {}", problem(&text));
        }
    }
}
