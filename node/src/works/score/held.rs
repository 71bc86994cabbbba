//! The model that a node holds: its rules, and what it answers with it.

use entente_host::locks::lock;
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::learn::file::ModelFile;
use entente_protocols::lookalike::model::PublicModel;
use entente_protocols::study::plans::score::{Output, Scoring};

use super::owner::{Buckets, Owner, Sessions};
use super::talk::context;
use crate::dialogue::Answer;
use crate::store::attempts::Attempt;
use crate::works::execution::{Own, Problem};

/// What answers a candidates' owner.
///
/// # Errors
///
/// If the model is not here.
pub fn answering(
    scoring: &Scoring,
    (id, transcript): (&AttemptId, Digest),
    from: &str,
    own: Own<'_>,
) -> Result<Box<dyn Answer>, Problem> {
    let file = model(scoring, own)?;
    let context = context(transcript, own.name, from);
    let params = scoring.params().map_err(|infeasible| Problem::Refused(infeasible.to_string()))?;
    let buckets = match scoring.output {
        Output::Scores => None,
        Output::Buckets(_) => {
            let key = own.memory.keys.of(own.folder, scoring.model.sha256, from)?;
            Some(Buckets { edges: scoring.steps(), key })
        }
    };
    let named = (scoring.model.study.clone(), scoring.model.sha256);
    let sessions = Sessions { studies: own.studies.clone(), model: named, attempt: id.clone(), with: from.into() };
    let owner = Owner::new(context, params, (&scoring.model, &file.model.parameters), buckets, sessions);
    Ok(Box::new(owner.map_err(|unfit| Problem::Failed(unfit.to_string()))?))
}

/// Whether this node's rules let an attempt score with its model.
///
/// # Errors
///
/// Which does not.
pub fn rules(scoring: &Scoring, id: &AttemptId, own: Own<'_>) -> Result<(), Problem> {
    model(scoring, own)?;
    let rules = own.rules;
    if scoring.candidates > rules.max_candidates {
        return Err(Problem::Refused(format!(
            "the study may score {} candidates of each partner; policy admits at most {} (`max_candidates`), since scores of many customers tell the model",
            scoring.candidates, rules.max_candidates
        )));
    }
    if !rules.admit(scoring.output) {
        let output = scoring.output.name();
        return Err(Problem::Refused(format!("policy does not admit that {output} are opened (`outputs`)")));
    }
    let scored = |attempt: &Attempt| {
        let other = attempt.proposal.study.spec.scores()?;
        let counts = attempt.id != *id && attempt.stage.pledge().is_some() && other.model.same_model(&scoring.model);
        let bucketed = if matches!(other.output, Output::Buckets(_)) { other.candidates } else { 0 };
        counts.then_some(bucketed)
    };
    // Attempts, as each can score others.
    let attempts = lock(own.studies).all().map_err(|error| Problem::Failed(error.to_string()))?;
    let scored: Vec<u64> = attempts.iter().filter_map(scored).collect();
    let bucketed = scored.iter().fold(0, |sum: u64, bucketed| sum.saturating_add(*bucketed));
    let scored = scored.len();
    if matches!(scoring.output, Output::Buckets(_)) && bucketed.saturating_add(scoring.candidates) > rules.max_bucketed
    {
        return Err(Problem::Refused(format!(
            "the study may put {} candidates of each partner into buckets, after {bucketed} with this model before, attempts \
             counted; policy admits at most {} (`max_bucketed`), since buckets of candidates at an edge tell of the model's keys",
            scoring.candidates, rules.max_bucketed
        )));
    }
    if scored >= rules.max_studies_per_model as usize {
        return Err(Problem::Refused(format!(
            "{scored} studies have scored with the model of study {} already, attempts counted; policy admits at most {} \
             (`max_studies_per_model`)",
            scoring.model.study, rules.max_studies_per_model
        )));
    }
    Ok(())
}

/// The model that a study asks this node to score with.
///
/// # Errors
///
/// If it is not here, or another one than the study states.
pub fn model(scoring: &Scoring, own: Own<'_>) -> Result<ModelFile, Problem> {
    let stated = &scoring.model;
    let stored = lock(own.studies).model(&stated.study).map_err(|error| Problem::Failed(error.to_string()))?;
    let stored = stored.filter(|stored| stored.sha256 == stated.sha256).ok_or_else(|| {
        Problem::Refused(format!(
            "{} does not hold the model of study {} (SHA-256 {}); give it with `entente-node models import`",
            own.name, stated.study, stated.sha256
        ))
    })?;
    let (public, file) = PublicModel::of(&stored.bytes)
        .map_err(|problem| Problem::Refused(format!("the model of study {} {problem}", stated.study)))?;
    if public != *stated {
        return Err(Problem::Refused("the study states another public half of the model than its file has".into()));
    }
    Ok(file)
}
