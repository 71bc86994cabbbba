//! What other participants say, and what is said to them: channels of an attempt.

use std::time::Duration;

use entente_host::Error;
use entente_host::locks::lock;
use entente_host::random::random;
use entente_protocols::attempt::AttemptId;
use entente_protocols::canonical::{canonical_bytes, from_canonical};
use entente_protocols::learn::file::ModelFile;
use entente_protocols::lookalike::exchange::{LIMIT, ToModelOwner};
use entente_protocols::lookalike::model::PublicModel;
use entente_protocols::secagg::agreement::Agreed;
use entente_protocols::secagg::channel::{Channel, NONCE};
use entente_protocols::study::lookalike::{LookalikePlan, Output};
use entente_protocols::study::{Plan, Question, StudySpec};
use entente_protocols::wire::message::FromAttempt;
use tracing::{info, warn};

use super::{Participant, Problem, now, saying};
use crate::activation::audiences;
use crate::data::audience::{Naming, Scores};
use crate::data::{Dataset, Engine};
use crate::store::attempts::{Attempt, Signed, Started};
use crate::study::lookalike::keys::GivenKeys;
use crate::study::lookalike::owner::{Buckets, Owner};
use crate::study::lookalike::{Meeting, Scorer, Talk, context};

fn failed(error: impl std::fmt::Display) -> Error {
    Error::failed(error.to_string())
}

impl Participant {
    /// Takes what another participant has sealed for this node, and answers it, if it is to be answered here.
    pub(super) fn relayed(&self, id: &AttemptId, from: &str, sealed: &[u8]) -> Vec<Vec<u8>> {
        if self.peers.deliver(id, from, sealed.to_vec()) {
            return Vec::new();
        }
        match self.answered(id, from, sealed) {
            Ok(sealed) => vec![saying(id, FromAttempt::Relay { to: from.into(), sealed })],
            Err(error) => {
                let AttemptId { study, number: attempt } = id;
                // Late, repeated, or not what it seems: nothing is said of it to anybody.
                warn!(study, attempt, from, %error, "a message of another participant is passed over");
                Vec::new()
            }
        }
    }

    fn answered(&self, id: &AttemptId, from: &str, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let problem = |problem: Problem| Error::failed(problem.into_words());
        let owner = self.owners.of(id, from, || {
            let Attempt { proposal, stage, .. } = self.attempt(id).map_err(problem)?;
            let (_, question) = self.question(&proposal).map_err(problem)?;
            let Plan::Lookalike(plan) = question.plan() else {
                return Err(Error::failed("the study has nothing that participants say to each other"));
            };
            if plan.seed_partner != self.name() || !plan.candidate_partners.iter().any(|name| name == from) {
                return Err(Error::failed("it is not for this node to answer"));
            }
            let unknown = || Error::failed("the participants are not known yet, or nobody is answered any more");
            let Signed { transcript, sent } = stage.answers().ok_or_else(unknown)?;
            let own = self.key(id).map_err(problem)?;
            let received = Channel::encapsulation(from, self.name(), sealed);
            let agreed = Agreed::with(transcript, self.name(), &own, from, received.as_slice());
            let channel = Channel::new(&agreed.map_err(failed)?, self.name(), from, sent).ok_or_else(unknown)?;
            let file = self.model(plan).map_err(problem)?;
            let context = context(transcript.digest(), self.name(), from);
            let params = plan.params().map_err(failed)?;
            let buckets = match plan.output {
                Output::Scores => None,
                Output::Buckets(_) => {
                    let key = self.own_keys.of(&self.folder, plan.model.sha256, from)?;
                    Some(Buckets { edges: plan.steps(), key })
                }
            };
            let model = (&plan.model, &file.model.parameters);
            let owner = Owner::new(context, params, model, buckets).map_err(failed)?;
            Ok((channel, owner))
        })?;
        let mut owner = lock(&owner);
        let (channel, owner) = &mut *owner;
        let message = channel.open(sealed).map_err(failed)?;
        let message: ToModelOwner = from_canonical(&message, LIMIT).map_err(failed)?;
        let answer = owner.answer(message)?;
        Ok(channel.seal(random::<NONCE>()?, &canonical_bytes(&answer)))
    }

    /// Who scores the customers of this node, a candidates' owner, where the plan has a model: its owner, with whom to talk, or
    /// this node itself.
    pub(super) fn scorer(
        &self,
        Attempt { id, proposal, .. }: &Attempt,
        (Started { signed: Signed { transcript, sent }, .. }, agreed): (&Started, &Agreed),
        plan: &Plan,
    ) -> Result<Option<Scorer<'_>>, Problem> {
        let Plan::Lookalike(plan) = plan else { return Ok(None) };
        if plan.seed_partner == self.name() {
            let file = self.model(plan)?;
            return Ok(Some(Scorer::Own(plan.model.quantised(&file.model.parameters).map_err(Problem::failed)?)));
        }
        let channel = Channel::new(agreed, self.name(), &plan.seed_partner, sent);
        let channel = channel.ok_or_else(|| Problem::failed("the model's owner takes no part"))?;
        let patience = Duration::from_secs(u64::from(proposal.study.wait.max(1)));
        let talk = Talk::new(self.peers.converse(id.clone(), &plan.seed_partner), channel, patience);
        let context = context(transcript.digest(), &plan.seed_partner, self.name());
        Ok(Some(Scorer::Blind(Box::new(Meeting { context, talk, keys: GivenKeys::of(&self.folder) }))))
    }

    /// Whether this node's rules let the attempt score with its model, if it asks for one of this node.
    pub(super) fn model_rules(&self, question: &Question, id: &AttemptId) -> Result<(), Problem> {
        let Plan::Lookalike(plan) = question.plan() else { return Ok(()) };
        if plan.seed_partner != self.name() {
            return Ok(());
        }
        self.model(plan)?;
        let rules = self.config.models;
        if plan.candidates > rules.max_candidates {
            return Err(Problem::refused(format!(
                "the study may score {} candidates of each partner; policy admits at most {} (`max_candidates`), since scores of many customers tell the model",
                plan.candidates, rules.max_candidates
            )));
        }
        if !rules.admit(plan.output) {
            let output = plan.output.name();
            return Err(Problem::refused(format!("policy does not admit that {output} are opened (`outputs`)")));
        }
        let scored = |attempt: &Attempt| match &attempt.proposal.study.spec {
            StudySpec::Lookalike(spec) if attempt.stage.pledge().is_some() && spec.model.same_model(&plan.model) => {
                let bucketed = if matches!(spec.output, Output::Buckets(_)) { spec.candidates } else { 0 };
                (attempt.id != *id).then_some(bucketed)
            }
            StudySpec::Lookalike(_) | StudySpec::Query(_) | StudySpec::Train(_) => None,
        };
        // Attempts, as each can score others.
        let scored: Vec<u64> = lock(&self.studies).all()?.iter().filter_map(scored).collect();
        let bucketed = scored.iter().fold(0, |sum: u64, bucketed| sum.saturating_add(*bucketed));
        let scored = scored.len();
        if matches!(plan.output, Output::Buckets(_)) && bucketed.saturating_add(plan.candidates) > rules.max_bucketed {
            return Err(Problem::refused(format!(
                "the study may put {} candidates of each partner into buckets, after {bucketed} with this model before, attempts \
                 counted; policy admits at most {} (`max_bucketed`), since buckets of candidates at an edge tell of the model's keys",
                plan.candidates, rules.max_bucketed
            )));
        }
        if scored >= rules.max_studies_per_model as usize {
            return Err(Problem::refused(format!(
                "{scored} studies have scored with the model of study {} already, attempts counted; policy admits at most {} \
                 (`max_studies_per_model`)",
                plan.model.study, rules.max_studies_per_model
            )));
        }
        Ok(())
    }

    /// Writes the audience of a study into this node's folder, where it stays.
    pub(super) fn keep_audience(&self, id: &AttemptId, dataset: &Dataset, scores: Scores) -> Result<(), Problem> {
        let naming = Naming {
            folder: audiences(&self.folder),
            study: id.study.parse().map_err(Problem::failed)?,
            created: now(),
        };
        let written = tokio::runtime::Handle::current().block_on(self.engine.name_audience(dataset, scores, &naming));
        let customers = written.map_err(Problem::failed)?;
        info!(
            study = id.study,
            customers, "the audience is written; `entente-node audience export` makes a file of it"
        );
        Ok(())
    }

    /// The model that a study asks this node to score with.
    pub(super) fn model(&self, plan: &LookalikePlan) -> Result<ModelFile, Problem> {
        let stored = lock(&self.studies).model(&plan.model.study)?;
        let stored = stored.filter(|stored| stored.sha256 == plan.model.sha256).ok_or_else(|| {
            Problem::refused(format!(
                "{} does not hold the model of study {} (SHA-256 {}); give it with `entente-node models import`",
                self.name(),
                plan.model.study,
                plan.model.sha256
            ))
        })?;
        let (public, file) = PublicModel::of(&stored.bytes)
            .map_err(|problem| Problem::refused(format!("the model of study {} {problem}", plan.model.study)))?;
        if public != plan.model {
            return Err(Problem::refused("the study states another public half of the model than its file has"));
        }
        Ok(file)
    }
}
