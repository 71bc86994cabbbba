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
        if listed.is_empty() {
            return print("no study was proposed to this node yet");
        }
        let mut table = table(&["study", "attempt", "name", "purpose", "with", "ε", "stage", "decision"]);
        let waiting: Vec<(String, String)> =
            (listed.iter().filter(|study| study.waits)).map(|study| (study.id.clone(), study.asks.clone())).collect();
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
        waiting.iter().try_for_each(|(id, asks)| print(format!("{id} asks {asks}")))
    }
}

fn listed(folder: &Folder) -> Result<Vec<Listed>, Error> {
    let (store, me) = (studies(folder)?, crate::load(folder)?.name);
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
            asks: asks(&proposal.study.spec, &me),
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
