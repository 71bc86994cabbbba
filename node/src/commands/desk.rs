//! The steward's desk: `studies`, `approve`, `deny`.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use entente_host::Error;
use entente_host::clock;
use entente_host::terminal::{one_line, print, print_json, table};
use entente_protocols::digest::Digest;
use entente_protocols::kind::Kind;
use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::ledger::{AccountKey, Chain};
use entente_protocols::policy::{StewardDecision, Verdict, usual_colluders};
use entente_protocols::privacy::mechanism::Scope;
use entente_protocols::privacy::rho::Rho;
use entente_protocols::study::proposal::Proposal;
use entente_protocols::study::{Question, StudySpec, Terms};
use serde::Serialize;

use super::options::{Dir, studies};
use crate::config::Config;
use crate::state::Folder;
use crate::store::attempts::{Attempt, Stage};

#[derive(Args)]
pub(super) struct Studies {
    #[command(flatten)]
    dir: Dir,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Approve {
    /// The study's identifier, as `studies` shows it.
    id: String,
    #[command(flatten)]
    dir: Dir,
    /// The digest that `studies` shows, or its first 8 digits or more: approves that and nothing else.
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// Who approves, as the ledger will say; the name of the account by default.
    #[arg(long)]
    steward: Option<String>,
}

#[derive(Args)]
pub(super) struct Deny {
    /// The study's identifier, as `studies` shows it.
    id: String,
    /// The reason, which the operator sees and the ledger records.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    dir: Dir,
    /// The digest that `studies` shows, or its first 8 digits or more, where several wait under one identifier.
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// Who denies, as the ledger will say; the name of the account by default.
    #[arg(long)]
    steward: Option<String>,
}

#[derive(Serialize)]
struct Listed {
    id: String,
    attempt: u32,
    name: String,
    purpose: String,
    kind: Kind,
    asks: String,
    own_numbers: Option<String>,
    /// The public schema of each partner's data set that it is asked over, while it waits for a decision.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    schemas: BTreeMap<String, DatasetSchema>,
    /// The same in a line.
    #[serde(skip)]
    over: Option<String>,
    /// The years that it is charged to here, while it waits for a decision and the budget is by year.
    #[serde(skip_serializing_if = "Option::is_none")]
    charged_to: Option<String>,
    legal_basis: Option<String>,
    requester: String,
    /// Whether that is a partner, whose signature was verified.
    signed: bool,
    /// What a decision is about.
    digest: Digest,
    /// Those who take part in this attempt.
    partners: Vec<String>,
    /// Those who may take part in any.
    proposed_to: Vec<String>,
    /// Fewest of them.
    min_partners: usize,
    scope: Scope,
    colluders: Option<u32>,
    /// What that comes to, in a study that waits.
    #[serde(skip)]
    assumed: u32,
    epsilon: f64,
    /// Of all attempts together, those included that may be lost.
    epsilon_at_most: f64,
    delta: f64,
    stage: &'static str,
    reason: Option<String>,
    decision: Option<String>,
    received: String,
    #[serde(skip)]
    waits: bool,
}

impl Studies {
    pub(super) fn run(self) -> Result<(), Error> {
        let listed = listed(&self.dir.folder())?;
        if self.json {
            return print_json(&listed);
        }
        let folder = self.dir.folder();
        let unconfirmed = folder.pinned_roster()?.is_none();
        if unconfirmed {
            print(format!(
                "The roster is not confirmed: what is proposed waits, unread, until `entente-node roster --accept --dir {}`.",
                folder.path().display()
            ))?;
        }
        if let Some(waits) = folder.waits() {
            print(format!("Studies wait for {}.", one_line(&waits)))?;
        }
        if listed.is_empty() {
            return if unconfirmed { Ok(()) } else { print("no study was proposed to this node yet") };
        }
        let mut table = table(["study", "attempt", "asked by", "name", "purpose", "with", "ε", "stage", "decision"]);
        let waiting = listed.iter().filter(|study| study.waits).map(|study| {
            let beside: String = [&study.own_numbers, &study.over, &study.charged_to]
                .into_iter()
                .flatten()
                .map(|words| format!("\n  {}", one_line(words)))
                .collect();
            format!("{} asks {}{beside}\n  {}", study.id, study.asks, study.terms())
        });
        let waiting: Vec<String> = waiting.collect();
        for study in listed {
            let note = study.decision.or(study.reason).unwrap_or_default();
            table.add_row([
                study.id,
                study.attempt.to_string(),
                one_line(&study.requester),
                one_line(&study.name),
                one_line(&study.purpose),
                study.partners.join(", "),
                study.epsilon.to_string(),
                study.stage.to_owned(),
                one_line(&note),
            ]);
        }
        print(table)?;
        waiting.iter().try_for_each(print)
    }
}

impl Listed {
    /// What a decision on it is about, beside what is asked.
    fn terms(&self) -> String {
        let basis = self.legal_basis.as_deref().map_or_else(|| "none stated".to_owned(), one_line);
        let most = if self.epsilon_at_most > self.epsilon {
            format!(", up to {:.3} if attempts are lost and repeated", self.epsilon_at_most)
        } else {
            String::new()
        };
        let partners = match (self.proposed_to.len(), self.min_partners) {
            (all, least) if least < all => format!("{}, or at least {least} of them", self.proposed_to.join(", ")),
            _ => self.proposed_to.join(", "),
        };
        let colluders = self.assumed.to_string() + if self.colluders.is_none() { " (default)" } else { "" };
        let signed = if self.signed { ", which has signed it" } else { "" };
        format!(
            "requested by {}{signed}; purpose: {}; legal basis: {basis}; partners: {partners}; assumed colluders: {colluders}; ε = {}{most} at δ = \
             {:e} for a {}; digest {}",
            one_line(&self.requester),
            one_line(&self.purpose),
            self.epsilon,
            self.delta,
            self.scope.name(),
            shown(self.digest)
        )
    }
}

fn listed(folder: &Folder) -> Result<Vec<Listed>, Error> {
    let (store, config) = (studies(folder)?, crate::config::load(folder)?);
    // To read it takes a while, and tells nothing where no budget is by year.
    let by_year = config.datasets.values().any(|dataset| dataset.event.is_some());
    let ledger = by_year.then(|| super::ledger::checked(folder)).transpose()?;
    let me = &config.name;
    let mut listed = Vec::new();
    for Attempt { id, proposal, stage, received } in store.all()? {
        let digest = proposal.digest(&id);
        let decision = store.recorded_decision(&id.study, digest)?;
        let decision = decision.map(|(StewardDecision { by, verdict, .. }, ..)| match verdict {
            Verdict::Approve => format!("approved by {by}"),
            Verdict::Deny(reason) => format!("denied by {by}: {reason}"),
        });
        let min_partners = proposal.min_partners();
        let Terms { rho, delta, epsilon, scope, colluders, .. } = proposal.study.privacy;
        let most = proposal.study.privacy.most();
        let planned = if stage.is_waiting() { proposal.question().ok() } else { None };
        let charged_to = planned.as_ref().zip(ledger.as_ref());
        let charged_to = charged_to.and_then(|(question, ledger)| self::charged_to(&config, question, ledger.chain()));
        let assumed = planned.and_then(|question| Some(question.round(0)?.colluders()));
        let usual = || usual_colluders(u32::try_from(proposal.participants.len()).unwrap_or(u32::MAX));
        let assumed = assumed.or(colluders).unwrap_or_else(usual);
        listed.push(Listed {
            id: id.study,
            attempt: id.number,
            kind: proposal.study.spec.kind(),
            asks: asks(&proposal.study.spec, me),
            // Of what is decided on: it takes a plan to tell.
            own_numbers: stage.is_waiting().then(|| config.own_numbers(&proposal)).flatten(),
            over: stage.is_waiting().then(|| over(&proposal, me)).flatten(),
            charged_to,
            schemas: if stage.is_waiting() { schemas(&proposal) } else { BTreeMap::new() },
            name: proposal.study.name,
            purpose: proposal.study.purpose,
            legal_basis: proposal.study.legal_basis,
            requester: proposal.requester,
            signed: proposal.petition.is_some(),
            digest,
            partners: proposal.participants,
            proposed_to: proposal.partners,
            min_partners,
            scope,
            colluders,
            assumed,
            epsilon,
            epsilon_at_most: if most > rho { most.epsilon(delta) } else { epsilon },
            delta,
            stage: stage.name(),
            reason: stage.reason().map(String::from),
            waits: stage.is_waiting(),
            decision,
            received,
        });
    }
    Ok(listed)
}

/// The years that a study is charged to here, and what was spent in them and over all time.
fn charged_to(config: &Config, question: &Question, chain: &Chain) -> Option<String> {
    let part = question.parts().of(&config.name).filter(|part| part.charged)?;
    let reads = part.work.reads()?;
    let (by_year, population) = (config.by_year(reads)?, &config.datasets.get(reads.dataset)?.population);
    let epsilon = |rho: Rho| format!("ε = {:.3}", rho.epsilon(config.caps.delta));
    let all_time = chain.spent(&AccountKey::Population(population.clone())).rho;
    let of_year = |year: i16| {
        let of_year = chain.years(population).find(|(known, _)| *known == year);
        let spent = all_time.plus(of_year.map_or(Rho::ZERO, |(_, totals)| totals.spent));
        format!("{year} (spent {})", epsilon(spent))
    };
    let years = by_year.years.map(|years| years.iter().map(of_year).collect::<Vec<_>>().join(", "));
    let sum = epsilon(chain.spent_all_time(population).rho);
    Some(format!(
        "charged to {}; over all time and years a customer has lost {sum} at most",
        years.unwrap_or_else(|| "all time, which counts in every year".into())
    ))
}

/// The public schema of each partner's data set that a study is asked over.
fn schemas(proposal: &Proposal) -> BTreeMap<String, DatasetSchema> {
    let schema = |(name, digest): (&String, &Digest)| Some((name.clone(), proposal.datasets.get(digest)?.clone()));
    proposal.schemas.iter().filter_map(schema).collect()
}

/// So many columns by which a schema differs are named.
const SHOWN: usize = 8;

/// How those of other partners differ from this node's, which its steward knows.
fn over(proposal: &Proposal, me: &str) -> Option<String> {
    let mut others = schemas(proposal);
    let own = others.remove(me);
    let said = |(name, schema): (String, DatasetSchema)| match &own {
        Some(own) if *own == schema => format!("{name} as here"),
        Some(own) => {
            let columns: BTreeSet<&String> = own.columns.keys().chain(schema.columns.keys()).collect();
            let differ = columns.into_iter().filter(|column| own.columns.get(*column) != schema.columns.get(*column));
            let differ: Vec<&str> = differ.map(String::as_str).collect();
            let differ = match differ.split_at_checked(SHOWN) {
                Some((first, rest)) if !rest.is_empty() => {
                    format!("{} and {} more columns", first.join(", "), rest.len())
                }
                _ if differ.is_empty() => "its name or privacy unit".into(),
                _ => differ.join(", "),
            };
            format!("{name} another, by {differ}")
        }
        None => format!("{name} {} by {}", schema.name, schema.privacy_unit),
    };
    let said: Vec<String> = others.into_iter().map(said).collect();
    (!said.is_empty()).then(|| format!("over others' public schemas: {} (`--json` shows them)", said.join("; ")))
}

/// What a study asks of this node, for whoever decides on it.
fn asks(spec: &StudySpec, me: &str) -> String {
    // A line end is more than a blank: it ends a comment.
    spec.asks(me, &|text| one_line(&text.lines().map(str::trim).collect::<Vec<_>>().join(" ⏎ ")))
}

impl Approve {
    pub(super) fn run(self) -> Result<(), Error> {
        let (folder, by) = (self.dir.folder(), self.steward.unwrap_or_else(account));
        let proposal = decide(&folder, (&self.id, self.digest.as_deref()), by, Verdict::Approve)?;
        print(format!("approved {} as {}; a running node goes on with it at once", self.id, shown(proposal)))
    }
}

impl Deny {
    pub(super) fn run(self) -> Result<(), Error> {
        if self.reason.trim().is_empty() {
            return Err(Error::refused("a denial needs a reason").help("write one with --reason; the operator sees it"));
        }
        let (folder, by) = (self.dir.folder(), self.steward.unwrap_or_else(account));
        let proposal = decide(&folder, (&self.id, self.digest.as_deref()), by, Verdict::Deny(self.reason))?;
        print(format!("denied {} as {}", self.id, shown(proposal)))
    }
}

/// Fewest digits by which a proposal is chosen; it is looked for among all that were ever made under the identifier, so that two that
/// were made to begin alike are distinguished.
const FEWEST_DIGITS: usize = 8;

/// So many digits are shown that nobody makes two proposals that agree in them.
fn shown(proposal: Digest) -> String {
    proposal.to_string()[..32].to_owned()
}

/// Records a decision on the one proposal under this identifier that it can be about. Which it was.
fn decide(folder: &Folder, (id, digest): (&str, Option<&str>), by: String, verdict: Verdict) -> Result<Digest, Error> {
    let (store, now) = (studies(folder)?, clock::now());
    let attempts = store.of_study(id)?;
    let Some(newest) = attempts.first() else {
        let all = store.all()?;
        let waiting: Vec<&str> =
            all.iter().filter(|attempt| attempt.stage.is_waiting()).map(|attempt| attempt.id.study.as_str()).collect();
        let waiting =
            if waiting.is_empty() { "no study is waiting".into() } else { format!("waiting: {}", waiting.join(", ")) };
        return Err(Error::refused(format!("no study `{id}` was proposed to this node")).help(waiting));
    };
    let is_finished = attempts.iter().any(|attempt| matches!(attempt.stage, Stage::Finished(_)));
    let is_open = |stage: &Stage| match verdict {
        Verdict::Approve => stage.is_waiting(),
        // Also between two attempts: no further one is then computed.
        Verdict::Deny(_) => !stage.has_ended() || !is_finished,
    };
    let proposal = |attempt: &Attempt| attempt.proposal.digest(&attempt.id);
    let open: Vec<&Attempt> = attempts.iter().filter(|attempt| is_open(&attempt.stage)).collect();
    if open.is_empty() {
        let stage = newest.stage.name();
        return Err(Error::refused(format!("study `{id}` does not wait for a decision: it is {stage}")));
    }
    // Whoever was shown one proposal is not to decide on the next that takes its place.
    let mut proposals: Vec<Digest> = attempts.iter().map(proposal).collect();
    proposals.sort_unstable();
    proposals.dedup();
    if let Some(digest) = digest {
        let digits = digest.to_lowercase();
        if digits.len() < FEWEST_DIGITS {
            let help = format!(
                "give at least {FEWEST_DIGITS} digits of what `entente-node studies --dir {}` shows",
                folder.path().display()
            );
            return Err(Error::refused("--digest is too short").help(help));
        }
        proposals.retain(|proposal| proposal.to_string().starts_with(&digits));
    }
    let problem = match proposals[..] {
        [chosen] if open.iter().any(|attempt| proposal(attempt) == chosen) => {
            store.decide(id, &StewardDecision { proposal: chosen, by, verdict }, &now.to_string())?;
            return Ok(chosen);
        }
        [_] | [] => format!("nothing was decided: no proposal that waits under `{id}` has this digest"),
        _ => format!("{} different proposals were made under `{id}`", proposals.len()),
    };
    Err(Error::refused(problem).help(choices(folder, &attempts, &open)))
}

/// What can be decided on under one identifier, in the order in which it came, and how all that cannot any more differs from it.
fn choices(folder: &Folder, attempts: &[Attempt], open: &[&Attempt]) -> String {
    let digest = |attempt: &Attempt| attempt.proposal.digest(&attempt.id);
    let of = |attempt: &Attempt| {
        format!("{} (attempt {}, {})", shown(digest(attempt)), attempt.id.number, attempt.stage.name())
    };
    let mut known = Vec::new();
    // The newest attempt at a proposal stands for all of them.
    let mut newest = |attempt: &&Attempt| {
        let is_new = !known.contains(&digest(attempt));
        known.push(digest(attempt));
        is_new
    };
    let mut waiting: Vec<String> = open.iter().copied().filter(&mut newest).map(of).collect();
    let mut ended: Vec<String> = attempts
        .iter()
        .filter(&mut newest)
        .map(|attempt| format!("{} {}", of(attempt), differing(&attempt.proposal, &open[0].proposal)))
        .collect();
    waiting.reverse();
    ended.reverse();
    let earlier = if ended.is_empty() { String::new() } else { format!("; not any more: {}", ended.join(", ")) };
    format!(
        "read `entente-node studies --dir {}`, and give the digest of what you have read: --digest {}{earlier}",
        folder.path().display(),
        waiting.join(", or --digest ")
    )
}

/// In what a proposal differs from another under the same identifier.
fn differing(one: &Proposal, other: &Proposal) -> String {
    let (a, b) = (&one.study, &other.study);
    let differences = [
        ("name", a.name != b.name),
        ("purpose", a.purpose != b.purpose),
        ("legal basis", a.legal_basis != b.legal_basis),
        ("requester", one.requester != other.requester),
        ("partners", one.partners != other.partners || one.min_partners() != other.min_partners()),
        ("privacy", a.privacy != b.privacy),
        ("what it asks", a.spec != b.spec),
        ("how long it waits", a.wait != b.wait),
        ("schemas", one.schemas != other.schemas),
    ];
    let differences: Vec<&str> = differences.iter().filter(|(_, differs)| *differs).map(|(what, _)| *what).collect();
    if differences.is_empty() {
        "is the same study before it was resumed".into()
    } else {
        format!("differs in: {}", differences.join(", "))
    }
}

/// The account that runs the command; the ledger records it as the steward unless told otherwise.
pub(super) fn account() -> String {
    std::env::var("USER").or_else(|_| std::env::var("USERNAME")).unwrap_or_else(|_| "unnamed".into())
}

#[cfg(test)]
mod tests {
    use entente_protocols::attempt::AttemptId;
    use entente_protocols::language::schema::ColumnType;
    use entente_protocols::study::Study;
    use entente_protocols::testing::study;

    use super::*;
    use crate::store::StudyStore;

    const NODE: &str = r#"
[node]
name = "bank"
coordinator = "127.0.0.1:4433"
[[dataset]]
name = "customers"
source = "customers.csv"
privacy_unit = "id"
columns = { age = { type = "int", min = 18, max = 95 }, gone = { type = "bool" } }
[budget]
epsilon = 10.0
delta = 1e-6
"#;

    /// A node's folder, with its studies.
    fn node() -> (tempfile::TempDir, Folder, StudyStore) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        folder.create().unwrap();
        std::fs::write(folder.config(), NODE).unwrap();
        let store = studies(&folder).unwrap();
        (dir, folder, store)
    }

    fn put(store: &StudyStore, number: u32, proposal: Proposal) {
        let received = "2026-01-01T00:00:00Z".to_owned();
        store.put(&Attempt::proposed(AttemptId::new("s", number), proposal, received)).unwrap();
    }

    #[test]
    fn a_steward_is_told_of_a_study_that_shows_a_partner_s_own_numbers() {
        let (_dir, folder, store) = node();
        let train = || study("t").train("logistic", "SELECT id, age, gone FROM customers").with("target", "gone");
        let counts = || study("q").sql("SELECT COUNT(*) AS n FROM customers");
        let cases = [
            (train().with("per_partner", true), vec!["bank", "telecom"], Some("each partner's own numbers")),
            (train(), vec!["bank", "telecom"], None),
            (counts(), vec!["bank", "telecom"], None),
            (counts(), vec!["bank"], Some("All its numbers are bank's own")),
            (
                counts().min_partners(1),
                vec!["bank", "telecom"],
                Some("If others are lost on the way: All its numbers are bank's own"),
            ),
        ];
        for (number, (draft, participants, _)) in (1..).zip(&cases) {
            let participants: Vec<String> = participants.iter().map(|name| (*name).to_owned()).collect();
            let proposal = Proposal::first(draft.build().unwrap(), &participants, "operator");
            let schema = &crate::config::load(&folder).unwrap().datasets["customers"].schema;
            let schemas = participants.iter().map(|name| (name.clone(), schema.clone()));
            put(&store, number, proposal.over(schemas));
        }
        let listed = listed(&folder).unwrap();
        let asks = "for its part in a model of kind logistic that predicts gone, trained on: SELECT id, age, gone FROM customers";
        assert!(listed.iter().any(|study| study.asks == asks), "{:?}", listed[0].asks);
        assert!(
            listed
                .iter()
                .all(|study| study.terms().contains("assumed colluders: 1 (default)") == (study.partners.len() == 2))
        );
        for (number, (_, _, expected)) in (1..).zip(&cases) {
            let told = listed.iter().find(|study| study.attempt == number).unwrap().own_numbers.as_deref();
            assert_eq!(told.is_some(), expected.is_some(), "{number}: {told:?}");
            assert!(expected.is_none_or(|expected| told.unwrap_or_default().contains(expected)), "{told:?}");
        }
    }

    #[test]
    fn a_steward_is_told_over_what_schemas_of_others_a_study_is_asked() {
        let (_dir, folder, _store) = node();
        let own = crate::config::load(&folder).unwrap().datasets["customers"].schema.clone();
        let mut older = own.clone();
        older.columns.insert("age".into(), ColumnType::Int { min: Some(18), max: Some(120) });
        let partners = ["bank", "retailer", "telecom"].map(String::from);
        let counts = study("q").sql("SELECT COUNT(*) AS n FROM customers").build().unwrap();
        let proposal = Proposal::first(counts, &partners, "operator");
        assert_eq!(over(&proposal, "bank"), None);
        let proposal = proposal.over(partners.iter().cloned().zip([own.clone(), older.clone(), own]));
        let told = over(&proposal, "bank").unwrap();
        assert!(told.contains("retailer another, by age; telecom as here"), "{told}");
        assert_eq!(schemas(&proposal)["retailer"], older);
        let told =
            over(&Proposal { schemas: [("telecom".into(), older.digest())].into(), ..proposal }, "bank").unwrap();
        assert!(told.contains("telecom customers by id"), "{told}");
    }

    /// What the node asks for is what it takes, and the list has it too.
    #[test]
    fn a_resumed_study_is_approved_by_the_digest_of_what_waits() {
        let (_dir, folder, store) = node();
        let study = study("q").sql("SELECT COUNT(*) AS n FROM customers").build().unwrap();
        let first = Proposal::first(study, &["bank", "telecom"].map(String::from), "operator");
        let resumed = |begun: u32| Proposal { begun, ..first.clone() };
        put(&store, 1, first.clone());
        for begun in 2..=3 {
            let before = store.get(&AttemptId::new("s", begun - 1)).unwrap().unwrap();
            store.put(&before.with(Stage::Abandoned(before.stage.ended("cancelled")))).unwrap();
            put(&store, begun, resumed(begun));
        }
        let approve = |digest: Option<&str>| decide(&folder, ("s", digest), "ann".into(), Verdict::Approve);
        let shown = |begun: u32| shown(resumed(begun).digest(&AttemptId::new("s", begun)));
        let refused = approve(None).unwrap_err();
        let ended =
            |begun| format!("{} (attempt {begun}, abandoned) is the same study before it was resumed", shown(begun));
        let expected = format!("--digest {} (attempt 3, waiting); not any more: {}, {}", shown(3), ended(1), ended(2));
        let help = refused.reason().remedy.as_deref().unwrap();
        assert!(help.ends_with(&expected), "{help}\n{expected}");
        assert!(approve(Some(&shown(1))).unwrap_err().reason().remedy.as_deref().unwrap().ends_with(&expected));
        assert!(approve(Some(&shown(3))).is_ok());
    }

    /// A coordinator that proposes something else under the same identifier while the steward reads.
    #[test]
    fn what_is_approved_is_what_was_read() {
        let (_dir, folder, store) = node();
        let proposal = |purpose: &str| {
            let counts = study("q").sql("SELECT COUNT(*) AS n FROM customers").build().unwrap();
            let study = Study { purpose: purpose.into(), ..counts };
            Proposal::first(study, &["bank", "telecom"].map(String::from), "operator")
        };
        let digest = |proposal: &Proposal| proposal.digest(&AttemptId::new("s", 1));
        let approve = |prefix: Option<&str>| {
            decide(&folder, ("s", prefix), "ann".into(), Verdict::Approve).map_err(|e| e.to_string())
        };
        let (read, swapped) = (proposal("statistics"), proposal("marketing"));
        put(&store, 1, read.clone());
        put(&store, 2, read.clone());
        assert_eq!(approve(None), Ok(digest(&read)), "two attempts of one proposal");
        put(&store, 3, swapped.clone());
        let why = approve(None).unwrap_err();
        assert!(why.contains("2 different proposals") && why.contains(&shown(digest(&swapped))), "{why}");
        let digits = digest(&read).to_string();
        assert_eq!(approve(Some(&digits[..16])), Ok(digest(&read)));
        assert!(approve(Some(&digits[..7])).unwrap_err().contains("at least 8 digits"));
        assert!(approve(Some("00000000")).unwrap_err().contains("nothing was decided"));
        // Given up in its favour, what was read does not wait any more.
        for number in 1..=2 {
            let read = store.get(&AttemptId::new("s", number)).unwrap().unwrap();
            store.put(&read.with(Stage::Abandoned(read.stage.ended("another one")))).unwrap();
        }
        assert!(approve(None).unwrap_err().contains("2 different proposals"));
        assert!(approve(Some(&digits)).unwrap_err().contains("nothing was decided"));
        let now = clock::now();
        assert!(store.decision("s", digest(&read), now).unwrap().is_some());
        let help = decide(&folder, ("s", None), "ann".into(), Verdict::Approve).unwrap_err();
        let help = help.reason().remedy.clone().unwrap();
        let (waits, ended) = help.split_once("; not any more: ").unwrap();
        assert!(waits.ends_with(&format!("--digest {} (attempt 3, waiting)", shown(digest(&swapped)))), "{help}");
        assert_eq!(ended, format!("{} (attempt 2, abandoned) differs in: purpose", shown(digest(&read))));
        // Between two attempts, what was approved can be taken back.
        let deny = Verdict::Deny("second thoughts".into());
        assert_eq!(decide(&folder, ("s", Some(&digits)), "ann".into(), deny.clone()).unwrap(), digest(&read));
        let now = clock::now();
        assert_eq!(store.decision("s", digest(&read), now).unwrap().unwrap().verdict, deny);
        assert_eq!(store.denial("s").unwrap().unwrap().verdict, deny);
        assert!(store.decision("s", digest(&swapped), now).unwrap().is_none());
    }
}
