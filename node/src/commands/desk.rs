//! The steward's desk: `studies`, `approve`, `deny`.

use clap::Args;
use entente_host::Error;
use entente_host::terminal::{one_line, print, print_json};
use entente_protocols::kind::Kind;
use entente_protocols::policy::StewardDecision;
use entente_protocols::study::StudySpec;
use entente_protocols::study::lookalike::LookalikeSpec;
use serde::Serialize;

use super::{Dir, studies, table};
use crate::state::Folder;
use crate::store::attempts::Attempt;

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
    /// Who approves, as the ledger will say; the name of the account by default.
    #[arg(long)]
    steward: Option<String>,
}

#[derive(Args)]
pub(super) struct Deny {
    /// The study's identifier, as `studies` shows it.
    id: String,
    /// Why; the operator and the ledger are told.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    dir: Dir,
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
    requester: String,
    partners: Vec<String>,
    epsilon: f64,
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
        if listed.is_empty() {
            return if unconfirmed { Ok(()) } else { print("no study was proposed to this node yet") };
        }
        let mut table = table(&["study", "attempt", "name", "purpose", "with", "ε", "stage", "decision"]);
        let waiting = listed.iter().filter(|study| study.waits).map(|study| {
            let own = study.own_numbers.as_ref().map_or_else(String::new, |words| format!("\n  {}", one_line(words)));
            format!("{} asks {}{own}", study.id, study.asks)
        });
        let waiting: Vec<String> = waiting.collect();
        for study in listed {
            let note = study.decision.or(study.reason).unwrap_or_default();
            table.add_row([
                study.id,
                study.attempt.to_string(),
                study.name,
                study.purpose,
                study.partners.join(", "),
                study.epsilon.to_string(),
                study.stage.to_owned(),
                note,
            ]);
        }
        print(table)?;
        waiting.iter().try_for_each(print)
    }
}

fn listed(folder: &Folder) -> Result<Vec<Listed>, Error> {
    let (store, config) = (studies(folder)?, crate::load(folder)?);
    let me = &config.name;
    let mut listed = Vec::new();
    for Attempt { id, proposal, stage, received } in store.all()? {
        let decision = store.decision(&id.study)?.map(|decision| match decision {
            StewardDecision::Approve(by) => format!("approved by {by}"),
            StewardDecision::Deny(by, reason) => format!("denied by {by}: {reason}"),
        });
        listed.push(Listed {
            id: id.study,
            attempt: id.number,
            kind: proposal.study.spec.kind(),
            asks: asks(&proposal.study.spec, me),
            // Of what is decided on: it takes a plan to tell.
            own_numbers: stage.is_waiting().then(|| config.own_numbers(&proposal)).flatten(),
            name: proposal.study.name,
            purpose: proposal.study.purpose,
            requester: proposal.requester,
            partners: proposal.participants,
            epsilon: proposal.study.privacy.epsilon,
            delta: proposal.study.privacy.delta,
            stage: stage.name(),
            reason: stage.reason().map(String::from),
            waits: stage.is_waiting(),
            decision,
            received,
        });
    }
    Ok(listed)
}

/// What a study asks of this node, for whoever decides on it.
fn asks(spec: &StudySpec, me: &str) -> String {
    let line = |text: &str| one_line(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    match spec {
        StudySpec::Query(query) => format!("for noisy numbers: {}", line(&query.sql)),
        StudySpec::Train(train) => {
            let target = train.target.as_deref().map_or_else(String::new, |target| format!(" that predicts {target}"));
            let weight = train.weight.as_ref();
            let weight = weight.map_or_else(String::new, |weight| format!(", weighed by {}", weight.column));
            format!(
                "for its part in a {} model{}{}, trained on: {}",
                line(&train.model),
                line(&target),
                line(&weight),
                line(&train.features)
            )
        }
        StudySpec::Lookalike(spec) if spec.seed_partner == me => format!(
            "for the model of study {} to score, under encryption, at most {} customers of each of: {}{}",
            line(&spec.model.study),
            spec.candidates,
            spec.candidate_partners.join(", "),
            own_candidates(spec, line)
        ),
        StudySpec::Lookalike(spec) => format!(
            "to score this node's customers by the model of study {} of {}, keep the scores here, and release how many score \
             how much{}; features: {}",
            line(&spec.model.study),
            spec.seed_partner,
            line(&spec.segment.as_ref().map_or_else(String::new, |segment| format!(", by {segment}"))),
            line(&spec.features)
        ),
    }
}

/// What a model's owner is asked of its own customers.
fn own_candidates(spec: &LookalikeSpec, line: impl Fn(&str) -> String) -> String {
    if !spec.candidate_partners.contains(&spec.seed_partner) {
        return String::new();
    }
    let but = spec.leave_out.as_ref().map_or_else(String::new, |seeds| format!(", but for those of: {}", line(seeds)));
    format!(
        "; this node's own are scored here, the scores kept here, and how many score how much is released{but}; features: {}",
        line(&spec.features)
    )
}

impl Approve {
    pub(super) fn run(self) -> Result<(), Error> {
        let decision = StewardDecision::Approve(self.steward.unwrap_or_else(account));
        decide(&self.dir.folder(), &self.id, &decision)?;
        print(format!("approved {}; a running node goes on with it at once", self.id))
    }
}

impl Deny {
    pub(super) fn run(self) -> Result<(), Error> {
        if self.reason.trim().is_empty() {
            return Err(Error::refused("a denial needs a --reason; the operator is told"));
        }
        let decision = StewardDecision::Deny(self.steward.unwrap_or_else(account), self.reason);
        decide(&self.dir.folder(), &self.id, &decision)?;
        print(format!("denied {}", self.id))
    }
}

fn decide(folder: &Folder, id: &str, decision: &StewardDecision) -> Result<(), Error> {
    let store = studies(folder)?;
    let attempts = store.all()?;
    let Some(attempt) = attempts.iter().find(|attempt| attempt.id.study == id) else {
        let waiting: Vec<&str> = attempts
            .iter()
            .filter(|attempt| attempt.stage.is_waiting())
            .map(|attempt| attempt.id.study.as_str())
            .collect();
        let waiting =
            if waiting.is_empty() { "none is waiting".into() } else { format!("waiting: {}", waiting.join(", ")) };
        return Err(Error::refused(format!("no study `{id}` was proposed to this node; {waiting}")));
    };
    if !attempt.stage.is_waiting() {
        let stage = attempt.stage.name();
        return Err(Error::refused(format!("study `{id}` does not wait for a decision: it is {stage}")));
    }
    Ok(store.decide(id, decision, &jiff::Timestamp::now().to_string())?)
}

/// The account that runs the command; the ledger records it as the steward unless told otherwise.
fn account() -> String {
    std::env::var("USER").or_else(|_| std::env::var("USERNAME")).unwrap_or_else(|_| "steward".into())
}

#[cfg(test)]
mod tests {
    use entente_protocols::attempt::AttemptId;
    use entente_protocols::privacy::rho::Rho;
    use entente_protocols::testing::study;
    use entente_protocols::wire::message::Proposal;

    use super::*;

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

    #[test]
    fn a_steward_is_told_of_a_study_that_shows_a_partner_s_own_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        folder.create().unwrap();
        std::fs::write(folder.config(), NODE).unwrap();
        let store = studies(&folder).unwrap();
        let train = || study("t").train("logistic", "SELECT id, age, gone FROM customers").with("target", "gone");
        let counts = || study("q").sql("SELECT COUNT(*) AS n FROM customers");
        let cases = [
            (train().with("per_partner", true), vec!["bank", "telecom"], Some("each partner's own numbers")),
            (train(), vec!["bank", "telecom"], None),
            (counts(), vec!["bank", "telecom"], None),
            (counts(), vec!["bank"], Some("All its numbers are bank's own")),
        ];
        for (number, (draft, participants, _)) in (1..).zip(&cases) {
            let participants = participants.iter().map(|name| (*name).to_owned()).collect();
            let (study, requester) = (draft.build().unwrap(), "operator".to_owned());
            let proposal = Proposal { completed: 0, spent: Rho::ZERO, study, participants, requester };
            let received = "2026-01-01T00:00:00Z".to_owned();
            store.put(&Attempt::proposed(AttemptId::new("s", number), proposal, received)).unwrap();
        }
        let listed = listed(&folder).unwrap();
        for (number, (_, _, expected)) in (1..).zip(&cases) {
            let told = listed.iter().find(|study| study.attempt == number).unwrap().own_numbers.as_deref();
            assert_eq!(told.is_some(), expected.is_some(), "{number}: {told:?}");
            assert!(expected.is_none_or(|expected| told.unwrap_or_default().contains(expected)), "{told:?}");
        }
    }
}
