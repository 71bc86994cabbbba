//! The beginning of an attempt: may this node take part, does it, and with whom.

use std::sync::Arc;
use std::time::Duration;

use entente_host::locks::lock;
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::ledger::LedgerError;
use entente_protocols::policy::{ApprovalMode, Approved, Decision, Request, StewardDecision, StudyRef, Verdict};
use entente_protocols::privacy::rho::Rho;
use entente_protocols::secagg::agreement::Encapsulation;
use entente_protocols::secagg::pledge::{Pledge, SignedPledge};
use entente_protocols::secagg::transcript::Transcript;
use entente_protocols::study::Question;
use entente_protocols::study::parts::{Learns, Part};
use entente_protocols::study::proposal::Proposal;
use entente_protocols::wire::message::{Approval, CheckAnswer, FromAttempt};
use jiff::Timestamp;
use tracing::info;

use super::{Participant, Problem, ended, release_id};
use crate::data::Dataset;
use crate::store::OLDEST;
use crate::store::attempts::{Attempt, Computed, Finished, Pledged, Repeated, Signed, Stage, Started};
use crate::works;

/// The most attempts of one study.
const MOST_ATTEMPTS: usize = 64;
/// The most attempts that go on, or wait for a steward, at once.
const MOST_OPEN: usize = 256;
/// The most attempts that are proposed within a day, and how long they may be together.
const MOST_A_DAY: u64 = 1000;
const MOST_BYTES_A_DAY: u64 = 16 << 20;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a node does about a proposal.
struct Admission {
    question: Question,
    /// Of its first round.
    request: Request,
    /// The transcript under which the answer is stored.
    stored: Option<Digest>,
    decision: Decision,
    /// Why it cannot be charged for, if so.
    not_anew: Option<LedgerError>,
}

/// A refusal that the ledger records with all that was asked.
fn refused(reason: impl ToString, request: Request) -> Problem {
    Problem::Refused { reason: reason.to_string(), request: Some(Box::new(request)) }
}

/// The same of what cannot be charged.
pub(super) fn over(error: LedgerError, request: Request) -> Problem {
    match error {
        LedgerError::OverCap(over) => refused(over, request),
        LedgerError::OverQuota(over) => refused(over, request),
        other => other.into(),
    }
}

impl Participant {
    /// What this node would answer if the study were proposed now.
    pub(super) fn check(&self, proposal: &Proposal) -> CheckAnswer {
        let refused = |reason: String| CheckAnswer {
            approval: Approval::Refused(reason),
            rho: Rho::ZERO,
            spent: Rho::ZERO,
            cap: Rho::ZERO,
            all_time: None,
            stored: None,
            not_anew: None,
        };
        // Of no study yet.
        let id = AttemptId::new("check", 1);
        if let Err(reason) = proposal.validate(&id) {
            return refused(reason);
        }
        let unconfirmed = self.confirmed().err().map(Problem::told);
        // Before anything is planned: whoever invents partners is not to make this node plan for all of them.
        if unconfirmed.is_none()
            && let Err(problem) =
                self.confirmed_with(&proposal.participants).and_then(|()| self.knows(&proposal.requester))
        {
            return refused(problem.told());
        }
        // Whether its data can be read now is nobody's business before it takes part.
        let admission = self.planned(&id, proposal).and_then(|question| {
            let snapshot = self.present(&question, proposal).ok().flatten();
            self.admission((&id, proposal), question, snapshot)
        });
        let Admission { question, request, stored, decision, not_anew } = match admission {
            Ok(admission) => admission,
            Err(problem) => return refused(problem.told()),
        };
        let not_anew = not_anew.map(|error| Problem::from(error).told());
        let decided = match (decision, &not_anew) {
            (Decision::Refused(refusal), _) => Approval::Refused(refusal.to_string()),
            (_, Some(words)) if stored.is_none() => Approval::Refused(words.clone()),
            (Decision::AskSteward, _) => Approval::Steward,
            (Decision::Approved(_), _) => Approval::Rules,
        };
        let approval = match (decided, unconfirmed) {
            (Approval::Rules | Approval::Steward, Some(words)) => Approval::Unconfirmed(words),
            (decided, _) => decided,
        };
        // Of the years that it would be charged to, the one in which least is left.
        let (standing, all_time) = {
            let ledger = lock(&self.ledger);
            let all_time = request.by_year.as_ref().map(|_| ledger.spent_all_time(&request.dataset).rho);
            (ledger.standing(&request.dataset, request.by_year.as_ref()), all_time)
        };
        let (spent, cap) = standing.map_or_else(Default::default, |standing| (standing.spent.rho, standing.cap));
        CheckAnswer {
            approval,
            rho: if self.contributes(&question) { request.rho } else { Rho::ZERO },
            spent,
            cap,
            all_time,
            stored,
            not_anew: not_anew.filter(|_| stored.is_some()),
        }
    }

    /// What is asked, if this node can do its part as far as public facts and the rules of works go.
    fn planned(&self, id: &AttemptId, proposal: &Proposal) -> Result<Question, Problem> {
        let question = self.question(proposal)?;
        let part = self.part(&question)?;
        self.schema(part, proposal)?;
        works::rules(part, id, self.own())?;
        Ok(question)
    }

    /// The snapshot of the data that its part reads, as they are now; `None` where it reads none, or they are being identified.
    pub(super) fn present(&self, question: &Question, proposal: &Proposal) -> Result<Option<Digest>, Problem> {
        match self.schema(self.part(question)?, proposal)? {
            Some(schema) => Ok(self.snapshot(&self.dataset(schema)?)),
            None => Ok(None),
        }
    }

    /// What this node does about a proposal as things are, by what is stored, policy, steward and budget.
    fn admission(
        &self,
        (id, proposal): (&AttemptId, &Proposal),
        question: Question,
        snapshot: Option<Digest>,
    ) -> Result<Admission, Problem> {
        let stored = snapshot.and_then(|snapshot| self.stored_answer(&question, snapshot));
        let request = self.request((id, proposal), &question, *question.rounds().start(), snapshot)?;
        self.let_go_of_denied()?;
        let (obstacle, within, over) = {
            let ledger = self.ledger()?;
            let (within, over) = if self.contributes(&question) {
                (ledger.within(&request, &self.quota(&request.requester)), ledger.admits(&request, request.rho))
            } else {
                (Ok(()), Ok(()))
            };
            (ledger.obstacle(&request.dataset, request.study.kind), within, over)
        };
        // Before a steward is asked, and whether or not there will be a charge.
        obstacle.map_err(|error| refused(error, request.clone()))?;
        // Nor is a steward asked about more than a requester may ask for; what is stored costs nothing.
        let over = match within {
            Err(error) if stored.is_none() => return Err(self::over(error, request)),
            within => over.and(within),
        };
        let steward = lock(&self.studies).decision(&id.study, request.study.proposal_sha256, self.clock.now())?;
        let decision = self.config.policy.decide(request.clone(), steward.as_ref());
        Ok(Admission { question, request, stored, decision, not_anew: over.err() })
    }

    pub(super) fn propose(&self, id: &AttemptId, proposal: Proposal) -> Result<SignedPledge, Problem> {
        // Before anything is read, said or recorded of it.
        if let Err(unconfirmed) = self.confirmed() {
            self.keep_until_confirmed(id, proposal);
            return Err(unconfirmed);
        }
        let known = lock(&self.studies).get(id)?;
        if let Some(known) = &known {
            if known.proposal != proposal {
                return Err(Problem::failed(
                    "the coordinator proposed something else under the same study and attempt",
                ));
            }
            match &known.stage {
                Stage::Waiting => {}
                // Said again, not recorded again.
                Stage::Refused(end) => return Err(Problem::refused(&end.reason)),
                Stage::Abandoned(_) => return Err(ended()),
                Stage::Pledged(Pledged { pledge, .. })
                | Stage::Started(Started { pledge, .. })
                | Stage::Computed(Computed { pledge, .. })
                | Stage::Repeated(Repeated { pledge })
                | Stage::Finished(Finished { pledge, .. }) => return Ok(pledge.clone()),
            }
        }
        self.one_study(id, &proposal)?;
        self.confirmed_with(&proposal.participants)?;
        self.asked_for(id, &proposal)?;
        if let Some(partner) = self.unheard(&proposal.participants) {
            self.keep_until_confirmed(id, proposal);
            return Err(Problem::Waiting(format!(
                "{partner}, which had not confirmed {} when it was asked what it has witnessed of its ledger",
                self.name()
            )));
        }
        let question = self.planned(id, &proposal)?;
        let snapshot = self.present(&question, &proposal)?;
        let must_be_identified = snapshot.is_none() && self.part(&question)?.work.reads().is_some();
        let Admission { question, request, stored, decision, not_anew } =
            self.admission((id, &proposal), question, snapshot)?;
        let decided_on = request.study.proposal_sha256;
        let attempt = known.unwrap_or_else(|| Attempt::proposed(id.clone(), proposal, self.now()));
        match decision {
            Decision::Refused(refusal) => return Err(refused(refusal, request)),
            Decision::Approved(_) => {}
            Decision::AskSteward => {
                self.keep(&attempt)?;
                if lock(&self.waiting).insert(id.clone()) {
                    info!(
                        study = id.study,
                        name = attempt.proposal.study.name,
                        proposal = decided_on.short(),
                        "waiting for the steward: `entente-node studies --dir {folder}`, then `entente-node approve {} --digest \
                         {:.32} --dir {folder}`",
                        id.study,
                        decided_on.to_string(),
                        folder = self.folder.path().display(),
                    );
                }
                return Err(Problem::Waiting(format!("the steward of {}", self.name())));
            }
        }
        lock(&self.waiting).remove(id);
        if must_be_identified {
            return Err(self.wait_for_identity(id, &attempt.proposal));
        }
        // Whoever holds the answer may send it again; if others do not, it is looked at again before anybody is charged.
        if let Some(error) = not_anew.filter(|_| stored.is_none()) {
            return Err(over(error, request));
        }
        let joining = lock(&self.joining);
        // Another attempt may have been joined since.
        self.one_study(id, &attempt.proposal)?;
        works::rules(self.part(&question)?, id, self.own())?;
        let seen = self.seen_of(&attempt.proposal.participants)?;
        let pledge = Pledge {
            attempt: id.clone(),
            participant: self.name().into(),
            proposal: decided_on,
            question: question.digest(),
            ephemeral: self.ephemeral.make(id, self.clock.now())?.public(),
            ledger: lock(&self.ledger).head(),
            stored,
            seen,
        };
        let pledge = SignedPledge::new(pledge, &self.signer.key);
        let before = self.ledger()?.checkpoint(&self.signer)?.bare();
        lock(&self.studies).put_before(id, &before)?;
        self.keep(&attempt.at(Stage::Pledged(Pledged { pledge: pledge.clone() })))?;
        drop(joining);
        info!(study = id.study, attempt = id.number, "pledged");
        Ok(pledge)
    }

    /// Under the rules alone, nobody looks at what is proposed under the name of another study; a steward does.
    fn one_study(&self, id: &AttemptId, proposal: &Proposal) -> Result<(), Problem> {
        let earlier = lock(&self.studies).of_study(&id.study)?;
        if earlier.iter().filter(|attempt| attempt.id != *id).count() >= MOST_ATTEMPTS {
            return Err(Problem::refused("the study had too many attempts; submit it anew"));
        }
        let is_new = !earlier.iter().any(|attempt| attempt.id == *id);
        if is_new {
            self.has_room()?;
        }
        if self.config.policy.approve == ApprovalMode::Manual {
            return Ok(());
        }
        if let Some(StewardDecision { by, verdict: Verdict::Deny(reason), .. }) =
            lock(&self.studies).denial(&id.study)?
        {
            return Err(Problem::refused(format!("denied by {by}: {reason}")));
        }
        if earlier.iter().all(|attempt| proposal.continues(&attempt.proposal)) {
            return Ok(());
        }
        Err(Problem::refused("another study was proposed to this node under the same identifier"))
    }

    /// Whether there is room for one attempt more. None is ever forgotten, as what was proposed before is what decisions and receipts are
    /// held against; so that is limited which comes.
    fn has_room(&self) -> Result<(), Problem> {
        let since = |ago: Duration| self.clock.now().checked_sub(ago).unwrap_or(Timestamp::MIN);
        let studies = lock(&self.studies);
        // Older ones have no keys any more: a coordinator that never said how they ended takes no place for ever.
        if studies.count_open(since(OLDEST))? >= MOST_OPEN {
            return Err(Problem::refused(format!("{MOST_OPEN} attempts go on or wait at {} already", self.name())));
        }
        let (count, bytes) = studies.proposed(since(DAY))?;
        if count >= MOST_A_DAY || bytes >= MOST_BYTES_A_DAY {
            return Err(Problem::refused(format!(
                "{count} attempts were proposed to {} within a day already",
                self.name()
            )));
        }
        Ok(())
    }

    /// Whether this node's customers are summed over, and its ledger charged.
    pub(super) fn contributes(&self, question: &Question) -> bool {
        question.parts().of(self.name()).is_some_and(|part| part.charged)
    }

    /// The transcript under which an answer to this question over this snapshot is stored, all rounds of it.
    fn stored_answer(&self, question: &Question, snapshot: Digest) -> Option<Digest> {
        let ledger = lock(&self.ledger);
        let transcript = ledger.stored_answer(question.answer_key(), snapshot)?;
        question
            .rounds()
            .all(|round| ledger.is_stored_over(release_id(transcript, round), snapshot))
            .then_some(transcript)
    }

    /// Checks everybody's pledges and signs the transcript.
    pub(super) fn start(&self, id: &AttemptId, pledges: Vec<SignedPledge>) -> Result<FromAttempt, Problem> {
        let attempt = self.attempt(id)?;
        match &attempt.stage {
            Stage::Pledged(pledged) => {
                let transcript = {
                    let rosters = self.rosters()?;
                    let pinned = rosters.pinned.as_ref().ok_or_else(|| Problem::failed("no roster is confirmed"))?;
                    let participants = &attempt.proposal.participants;
                    Transcript::verify(&pledges, participants, &pledged.pledge.pledge, pinned)
                        .map_err(Problem::refused)?
                };
                self.compare_ledgers(transcript.pledges())?;
                let (signature, key) = (transcript.sign(&self.signer.key), self.key(id)?);
                let encapsulations = Encapsulation::of(&transcript, self.name(), &key, &self.signer.key);
                let encapsulations = encapsulations.map_err(Problem::refused)?;
                self.commit(&attempt, &pledged.pledge.pledge)?;
                let started = pledged.clone().start(Signed { transcript, sent: encapsulations.clone() });
                self.keep(&attempt.at(Stage::Started(started)))?;
                Ok(FromAttempt::Signed { signature, encapsulations })
            }
            stage => match stage.signed() {
                // The same as before, whoever still needs it.
                Some(Signed { transcript, sent }) if transcript.is_of(&pledges) => {
                    let signature = transcript.sign(&self.signer.key);
                    Ok(FromAttempt::Signed { signature, encapsulations: sent.clone() })
                }
                Some(_) => Err(Problem::out_of_place("the coordinator presented other pledges than before")),
                None => Err(ended()),
            },
        }
    }

    /// What a proposal asks of its participants, of whom this node must be one. It follows from the proposal alone, so that it is
    /// the same whatever `node.toml` has become.
    pub(super) fn question(&self, proposal: &Proposal) -> Result<Question, Problem> {
        if !proposal.participants.iter().any(|name| name == self.name()) {
            return Err(Problem::refused("this node is not among the participants"));
        }
        self.has_dataset(proposal)?;
        proposal.study.validate().map_err(Problem::refused)?;
        proposal.question().map_err(Problem::refused)
    }

    /// A data set that this node has never declared is named before anything else is.
    fn has_dataset(&self, proposal: &Proposal) -> Result<(), Problem> {
        let Some(name) = proposal.study.spec.dataset_of(self.name()).map_err(Problem::refused)? else { return Ok(()) };
        if proposal.schemas.contains_key(self.name()) || self.config.schema(&name).is_some() {
            return Ok(());
        }
        let known: Vec<&str> = self.config.datasets.keys().map(String::as_str).collect();
        Err(Problem::refused(format!("{} has no data set `{name}`; it has: {}", self.name(), known.join(", "))))
    }

    /// What this node does in it.
    pub(super) fn part<'q>(&self, question: &'q Question) -> Result<Part<'q>, Problem> {
        question.parts().of(self.name()).ok_or_else(|| Problem::refused("this node is not among the participants"))
    }

    /// The schema of the data set that its part reads, which must be the one that the question was made of; `None` if it reads none.
    pub(super) fn schema(&self, part: Part<'_>, proposal: &Proposal) -> Result<Option<&DatasetSchema>, Problem> {
        let Some(reads) = part.work.reads() else { return Ok(None) };
        let schema = self.config.schema(reads.dataset);
        if schema.map(DatasetSchema::digest).as_ref() != proposal.schemas.get(self.name()) {
            return Err(Problem::refused(format!(
                "the study is proposed over another schema than {} has by now; run it again",
                self.name()
            )));
        }
        Ok(schema)
    }

    /// What a round of a proposal asks, as policy and ledger see it.
    pub(super) fn request(
        &self,
        (id, proposal): (&AttemptId, &Proposal),
        question: &Question,
        round: u32,
        snapshot: Option<Digest>,
    ) -> Result<Request, Problem> {
        let part = self.part(question)?;
        let (dataset, privacy_unit) = part
            .work
            .reads()
            .map_or_else(Default::default, |reads| (reads.dataset.to_owned(), reads.privacy_unit.to_owned()));
        let mechanism = question.round(round).ok_or_else(|| Problem::out_of_place("the study has no such round"))?;
        let mut recipients = vec![proposal.requester.clone()];
        recipients.retain(|name| !name.is_empty());
        let learn = question.parts().iter().filter(|part| part.learns == Learns::Rounds);
        recipients.extend(learn.map(|part| part.participant.to_owned()));
        Ok(Request {
            study: StudyRef {
                plan_sha256: Some(question.plan_digest()),
                question_sha256: Some(question.answer_key()),
                ..proposal.study_ref(id)
            },
            snapshot,
            consent: self.config.datasets.get(&dataset).and_then(|dataset| dataset.consent.clone()),
            requester: proposal.requester.clone(),
            petition: proposal.petition.clone(),
            recipients,
            participants: question.participants().to_vec(),
            dataset,
            privacy_unit,
            round,
            mechanism: Arc::new(mechanism.clone()),
            by_year: part.work.reads().and_then(|reads| self.config.by_year(reads)),
            rho: question.rho_from(0),
            most: proposal.study.privacy.most(),
            stated: proposal.study.privacy.rho,
            delta: proposal.study.privacy.delta,
            own_numbers: question.own_numbers().are_extra(),
        })
    }

    /// What policy and steward say of a request of this attempt now; once this node has signed, time alone ends no approval.
    pub(super) fn approved(&self, Attempt { id, stage, .. }: &Attempt, request: Request) -> Result<Approved, Problem> {
        let decided_on = request.study.proposal_sha256;
        let steward = {
            let studies = lock(&self.studies);
            match stage {
                Stage::Started(_) => studies.standing_decision(&id.study, decided_on)?,
                _ => studies.decision(&id.study, decided_on, self.clock.now())?,
            }
        };
        match self.config.policy.decide(request.clone(), steward.as_ref()) {
            Decision::Approved(approved) => Ok(approved),
            Decision::Refused(refusal) => {
                Err(Problem::Refused { reason: refusal.to_string(), request: Some(Box::new(request)) })
            }
            Decision::AskSteward => Err(Problem::refused(
                "the steward's approval has ended or the policy has changed since this node pledged itself; run the study again",
            )),
        }
    }

    pub(super) fn dataset(&self, schema: &DatasetSchema) -> Result<Dataset, Problem> {
        let config = self.config.datasets.get(&schema.name).ok_or_else(|| Problem::failed("the data set is gone"))?;
        let base = self.folder.path();
        let opened = Dataset::open(config.schema.clone(), &config.source, base, config.consent.as_deref());
        Ok(opened.map_err(Problem::failed)?.with_event(config.event.clone()))
    }
}
