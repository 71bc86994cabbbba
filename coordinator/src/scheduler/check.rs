//! What a study would cost, how accurate it would be, and who would approve it, before anything is touched.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use entente_host::Error;
use entente_host::locks::lock;
use entente_host::terminal::clean;
use entente_protocols::privacy::rho::Rho;
use entente_protocols::study::proposal::Proposal;
use entente_protocols::study::{Question, Study};
use entente_protocols::wire::message::{Approval, CheckAnswer, ToNode};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::partners::{participants_of, published};
use super::question::assumed_schemas;
use crate::hall::Hall;
use crate::kinds;
use crate::rehearsal::rehearse;
use crate::views::{AnswerView, CheckView, MeasureView, PrivacyView};

/// How long a node may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// What a node answered, or how its part stands without an answer, and why.
type Answered<'a> = Result<CheckAnswer, (&'a str, String)>;

/// Asks nodes what they would answer.
pub(crate) struct Checks {
    hall: Arc<Hall>,
    /// Who was asked, by the number of the question.
    waiting: Mutex<HashMap<u64, (String, oneshot::Sender<CheckAnswer>)>>,
    number: AtomicU64,
    /// Held while a study is rehearsed: one at a time.
    rehearsing: tokio::sync::Mutex<()>,
}

impl Checks {
    pub(crate) fn new(hall: Arc<Hall>) -> Self {
        Self { hall, waiting: Mutex::default(), number: AtomicU64::default(), rehearsing: Default::default() }
    }

    /// Asks every participant what it would answer to a study that `requester` asks for.
    pub(crate) async fn check(&self, study: Study, requester: &str) -> Result<CheckView, Error> {
        let participants = participants_of(&self.hall, &study)?;
        // What a node said when it was last here will do: it is asked itself as well.
        let published = published(&self.hall, &participants)?;
        let schemas = assumed_schemas(&study, &participants, &published);
        let proposal =
            Proposal::first(study.clone(), &participants, requester).over(schemas.clone().unwrap_or_default());
        let question = schemas.and_then(|_| proposal.question().map_err(|refusal| refusal.reason()));
        let proposal = Box::new(proposal);
        let mut waiting = Vec::new();
        for name in &participants {
            let (number, answer) = self.ask(name);
            let message = ToNode::Check { number, proposal: proposal.clone() };
            let sent = self.hall.sessions.send(name, &message);
            waiting.push((name, number, sent, answer));
        }
        let mut answers = Vec::new();
        let deadline = self.hall.clock.moment() + ANSWER;
        for (name, number, sent, answer) in waiting {
            let answer = match (self.hall.sessions.distrusted(name), sent) {
                (Some(why), _) => Err(("refused", why)),
                (None, false) => Err(("unknown", "not connected".to_owned())),
                (None, true) => match tokio::time::timeout(deadline.since(self.hall.clock.moment()), answer).await {
                    Ok(Ok(answer)) => Ok(answer),
                    _ => Err(("unknown", format!("did not answer within {} s", ANSWER.as_secs()))),
                },
            };
            self.forget(number);
            answers.push((name, answer));
        }
        let problem = question.as_ref().err().cloned();
        let repeats = question.as_ref().is_ok_and(|question| is_repeated(question, &answers));
        let over_years = answers.iter().filter_map(|(name, answer)| Some((name, answer.as_ref().ok()?.all_time?)));
        let over_years: Vec<String> =
            over_years.map(|(name, rho)| over_years_note(name, rho, study.privacy.delta)).collect();
        let answers = answers.into_iter().map(|(name, answer)| (name, answer.map(|answer| as_run(answer, repeats))));
        let partners: Vec<AnswerView> =
            answers.map(|(name, answer)| view_of_answer(name, answer, study.privacy.delta)).collect();
        let refused = problem.is_some() || partners.iter().any(|partner| partner.approval == "refused");
        let question = question.ok();
        let mut notes = question.as_ref().map(|question| kinds::notes(&study, question)).unwrap_or_default();
        notes.extend(over_years);
        if repeats {
            notes
                .push("All who contribute hold the answer of an earlier study: it is sent again, at no charge.".into());
        }
        Ok(CheckView {
            study: study.name.clone(),
            kind: study.spec.kind(),
            participants,
            refused,
            problem: problem.as_ref().map(|reason| reason.problem.clone()),
            remedy: problem.and_then(|reason| reason.remedy),
            privacy: question.as_ref().map(|question| privacy(&study, question)),
            measures: question.as_ref().map(measures).unwrap_or_default(),
            notes,
            partners,
        })
    }

    /// The result of a study over invented rows, file by file: of what participants have published, without asking any.
    pub(crate) async fn rehearse(&self, study: Study) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let participants = participants_of(&self.hall, &study)?;
        let published = published(&self.hall, &participants)?;
        let schemas = assumed_schemas(&study, &participants, &published).map_err(Error::refused)?;
        let (_one, now) = (self.rehearsing.lock().await, self.hall.clock.now());
        let rehearsed = spawn_blocking(move || rehearse(&study, &participants, schemas, now)).await;
        let fault = |_| {
            Err(Error::failed("the study could not be rehearsed: a fault in this program").help("please report it"))
        };
        rehearsed.unwrap_or_else(fault)
    }

    /// Takes a node's answer.
    pub(crate) fn answered(&self, node: &str, number: u64, answer: CheckAnswer) {
        let mut waiting = lock(&self.waiting);
        if waiting.get(&number).is_some_and(|(asked, _)| asked == node)
            && let Some((_, waiting)) = waiting.remove(&number)
        {
            // Whoever asked may have stopped waiting.
            let _ = waiting.send(answer);
        }
    }

    fn ask(&self, node: &str) -> (u64, oneshot::Receiver<CheckAnswer>) {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiting).insert(number, (node.into(), sender));
        (number, receiver)
    }

    fn forget(&self, number: u64) {
        lock(&self.waiting).remove(&number);
    }
}

/// Whether all who contribute hold the answer of one transcript, which they would send again.
fn is_repeated(question: &Question, answers: &[(&String, Answered<'_>)]) -> bool {
    let stored = |name: String| {
        let (_, answer) = answers.iter().find(|(other, _)| **other == name)?;
        answer.as_ref().ok()?.stored
    };
    let mut contributors = question.contributors().into_iter().map(stored);
    let first = contributors.next().flatten();
    first.is_some() && contributors.all(|other| other == first)
}

/// What a node would do in a run in which all send again what they hold, or all compute anew.
fn as_run(answer: CheckAnswer, repeats: bool) -> CheckAnswer {
    match answer.not_anew.clone() {
        _ if repeats => CheckAnswer { rho: Rho::ZERO, ..answer },
        Some(reason) => CheckAnswer { approval: Approval::Refused(reason), ..answer },
        None => answer,
    }
}

/// What a partner says of its customers whose budget is by year.
fn over_years_note(name: &str, rho: Rho, delta: f64) -> String {
    format!(
        "{name} has a budget for each year of what rows tell of, and shows that of the year in which least is left; over all time and \
         years a customer there has lost ρ = {rho} (ε = {:.3}) at most.",
        rho.epsilon(delta)
    )
}

fn measures(question: &Question) -> Vec<MeasureView> {
    let error =
        |error: kinds::MeasureError| MeasureView { name: error.name, error: error.half_width, note: error.note };
    kinds::expected_error(question).into_iter().map(error).collect()
}

fn privacy(study: &Study, question: &Question) -> PrivacyView {
    let (mechanism, delta) = (question.mechanism(), study.privacy.delta);
    PrivacyView {
        scope: mechanism.scope().name().into(),
        rho: question.rho_from(0).value(),
        epsilon: question.rho_from(0).epsilon(delta),
        delta,
        rho_person: question.rho_person().value(),
        epsilon_person: epsilon(question.rho_person(), delta),
        colluders: mechanism.colluders(),
    }
}

fn epsilon(rho: Rho, delta: f64) -> Option<f64> {
    Some(rho.epsilon(delta)).filter(|epsilon| epsilon.is_finite())
}

fn view_of_answer(name: &str, answer: Answered<'_>, delta: f64) -> AnswerView {
    let mut view = AnswerView {
        name: name.into(),
        approval: String::new(),
        reason: None,
        rho: None,
        epsilon: None,
        spent_rho: None,
        spent_epsilon: None,
        cap_rho: None,
        cap_epsilon: None,
    };
    match answer {
        Err((approval, reason)) => (view.approval, view.reason) = (approval.into(), Some(reason)),
        Ok(CheckAnswer { approval, rho, spent, cap, .. }) => {
            (view.approval, view.reason) = match approval {
                Approval::Rules => ("rules".into(), None),
                Approval::Steward => ("steward".into(), None),
                Approval::Refused(reason) => ("refused".into(), Some(clean(&reason))),
                Approval::Unconfirmed(reason) => ("unconfirmed".into(), Some(clean(&reason))),
            };
            (view.rho, view.epsilon) = (Some(rho.value()), epsilon(rho, delta));
            (view.spent_rho, view.spent_epsilon) = (Some(spent.value()), epsilon(spent, delta));
            (view.cap_rho, view.cap_epsilon) = (Some(cap.value()), epsilon(cap, delta));
        }
    }
    view
}
