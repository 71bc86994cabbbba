//! The study kind `lookalike`: one partner's model scores the customers of others, who see no model; the model's owner
//! sees no customer ([`crate::lookalike`]).
//!
//! ```text
//! [lookalike] of a study file + model file ─▶ LookalikeSpec ─(schemas)─▶ ScorePlan = features query + public model, at each candidates' owner
//! ```
//!
//! What is released is the reach: how many candidates reach each of a list of scores, one bounded vector sum over the candidates'
//! owners. The model's owner contributes nothing to it, and is charged nothing. Where a public column tells segments apart, each
//! candidate counts in one cell all the same, that of its segment and score: the sensitivity is the same. Segments are read
//! beside the features, and no block that is scored has them.
//!
//! Where a study names seeds instead of a model, the model is trained first ([`super::seeded`]).
//!
//! **The seed partner's own customers** can be scored as well, beside others': it holds the model, and scores them in the clear, to
//! the same whole numbers. It alone can tell who of its customers are seeds, and leaves them out: of its audience, and of the
//! reach. Whether a customer is left out depends on that customer's one row alone.
//!
//! **Sensitivity.** Where a partner has no more customers than the study has room for (`candidates`), one customer more or less is one
//! count more or less in one cell by score, and in that of its owner. Where it has more, the node keeps those of lowest keyed rank: one
//! customer more can push another one out, whose cell then has one less, while the owner's count stays. So a neighbour moves at most
//! two cells by score by one each (Δ² = 2), and its owner's cell by at most one (Δ² = 1). Who is left out is dropped after the cap, and
//! is one of these two or neither. The study's public text says whom the condition is on; who fulfils it shows
//! nowhere but in the noisy counts.

use std::sync::Arc;

use super::parts::{Dialogue, Learns, Parts, Planned, Schemas, Side, Work, alike};
use super::plans::score::{OUTPUTS, Output, ScorePlan, Scoring};
use super::refusal::{Line, Refusal};
use crate::config::{nearest, suggesting};
use crate::identity::check_name;
use crate::kind::Kind;
use crate::language::expr::Expr;
use crate::language::rows;
use crate::language::schema::{ColumnType, DatasetSchema};
use crate::language::sql;
use crate::learn::recipe::Values;
use crate::lookalike::buckets::MAX_BUCKETS;
use crate::lookalike::model::PublicModel;
use crate::reason::Reason;

/// The most candidates of one partner, unless the study says otherwise, where scores are put into buckets, which takes far longer and
/// tells of keys as well ([`crate::lookalike::buckets`]); [`super::plans::score::CANDIDATES`] where they are not.
pub const BUCKETED: u64 = 50_000;
/// How many buckets there are, unless the study says otherwise.
pub const BUCKETS: u32 = 10;
/// What says who is left out, among the outputs of a plan.
const LEFT_OUT: &str = "is_left_out";
/// How much a seed counts, where `seeds` says so, as its features query calls it.
pub(super) const WEIGHT: &str = "seed_weight";

/// A lookalike study as its file states it.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct LookalikeSpec {
    /// The partner that holds the model.
    pub seed_partner: String,
    /// What is public of the model.
    pub model: PublicModel,
    /// The partners whose customers are scored, without repeats.
    pub candidate_partners: Vec<String>,
    /// The features query.
    pub features: String,
    /// The column by whose values the reach is split, if it is.
    pub segment: Option<String>,
    /// A seeds query: whom of its own customers the seed partner leaves out, where these are candidates.
    pub leave_out: Option<String>,
    /// The most candidates of one partner.
    pub candidates: u64,
    /// What is opened.
    pub output: Output,
}

/// The refusal of what a lookalike study states.
fn refused(problem: impl Into<String>) -> Refusal {
    Refusal::Stated { kind: Kind::Lookalike, problem: problem.into() }
}

impl LookalikeSpec {
    /// Checks what the types alone cannot say.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn validate(&self, partners: &[String]) -> Result<(), Reason> {
        check_parties(&self.seed_partner, &self.candidate_partners, partners)?;
        if let Output::Buckets(count) = self.output
            && !(2..=MAX_BUCKETS as u32).contains(&count)
        {
            return Err(Reason::from(format!("`buckets` is {count}")).help(format!("write 2 to {MAX_BUCKETS}")));
        }
        if self.leave_out.is_some() && !self.candidate_partners.contains(&self.seed_partner) {
            let seed = &self.seed_partner;
            let problem =
                format!("`leave_out` is about customers of `{seed}`, the seed partner, who are not candidates");
            let help = format!("name `{seed}` among `candidate_partners` as well, or leave it out");
            return Err(Reason::from(problem).help(help));
        }
        self.model.check().map_err(|problem| format!("`model`: {problem}").into())
    }

    pub(super) fn asks(&self, me: &str, line: Line<'_>) -> String {
        let model = line(&self.model.study);
        if self.seed_partner == me {
            return format!(
                "for the model of study {model} to score, under encryption, at most {} customers of each of: {}{}",
                self.candidates,
                self.candidate_partners.join(", "),
                self.asks_own(line)
            );
        }
        format!(
            "to score this node's customers by the model of study {model} of {}, keep the scores here, and release how many score \
             how much{}; features: {}",
            self.seed_partner,
            line(&self.segment.as_ref().map_or_else(String::new, |segment| format!(", by {segment}"))),
            line(&self.features)
        )
    }

    /// What a model's owner is asked of its own customers.
    fn asks_own(&self, line: Line<'_>) -> String {
        if !self.candidate_partners.contains(&self.seed_partner) {
            return String::new();
        }
        let seeds = self.leave_out.as_ref();
        let but = seeds.map_or_else(String::new, |seeds| format!(", but for those of: {}", line(seeds)));
        format!(
            "; this node's own are scored here, the scores kept here, and how many score how much is released{but}; features: {}",
            line(&self.features)
        )
    }

    /// The seed partner, then the candidates' partners.
    pub fn participants(&self) -> Vec<String> {
        participants(&self.seed_partner, &self.candidate_partners)
    }

    /// The data set whose candidates a participant brings.
    pub(super) fn dataset_of(&self, participant: &str) -> Result<Option<String>, Refusal> {
        let is_owner = self.candidate_partners.iter().any(|name| name == participant);
        Ok(if is_owner { Some(sql::dataset_name(&self.features)?) } else { None })
    }

    /// Candidates' owners score and are charged; the seed partner holds the model and answers all others of them.
    pub(super) fn parts(&self, participants: &[String], schemas: &impl Schemas) -> Result<Parts, Refusal> {
        if !participants.contains(&self.seed_partner) {
            return Err(refused(format!("`{}`, whose model it is, does not take part", self.seed_partner)));
        }
        let is_owner = |name: &&String| self.candidate_partners.contains(name);
        let owners: Vec<String> = participants.iter().filter(is_owner).cloned().collect();
        let dataset = sql::dataset_name(&self.features)?;
        let work = alike(&owners, schemas, &dataset, |schema| Ok(Work::Score(Arc::new(self.plan(schema)?))))?;
        let part = |participant: &String| {
            let is_seed = *participant == self.seed_partner;
            let others = owners.iter().filter(|name| *name != participant);
            let dialogues = if is_seed {
                others.map(|with| Dialogue { with: with.clone(), side: Side::Answers }).collect()
            } else {
                vec![Dialogue { with: self.seed_partner.clone(), side: Side::Asks }]
            };
            let charged = owners.contains(participant);
            let work = match (&work, &self.leave_out, schemas.of(participant)) {
                _ if !charged => Work::Hold(Arc::new(self.scoring())),
                (Work::Score(plan), Some(seeds), Some(schema)) if is_seed => {
                    Work::Score(Arc::new(self.leaving_out(seeds, ScorePlan::clone(plan), schema)?))
                }
                _ => work.clone(),
            };
            Ok(Planned { participant: participant.clone(), work, charged, learns: Learns::Nothing, dialogues })
        };
        Ok(Parts::new(participants.iter().map(part).collect::<Result<_, Refusal>>()?))
    }

    /// By which model it scores, and what is opened.
    pub(super) fn scoring(&self) -> Scoring {
        let mut candidate_partners = self.candidate_partners.clone();
        candidate_partners.sort();
        Scoring {
            model: self.model.clone(),
            seed_partner: self.seed_partner.clone(),
            candidate_partners,
            candidates: self.candidates,
            output: self.output,
        }
    }

    /// The typed plan over a data set of this schema, where nobody is left out.
    ///
    /// # Errors
    ///
    /// The features query's refusal; features that are not the model's; or a model that does not fit the parameters.
    pub fn plan(&self, schema: &DatasetSchema) -> Result<ScorePlan, Refusal> {
        let rows = sql::rows(&self.features, schema)?;
        let names: Vec<&str> = rows.outputs.iter().map(|output| output.name.as_str()).collect();
        for feature in &self.model.recipe.features {
            let name = &feature.name;
            let Some(output) = rows.outputs.iter().find(|output| output.name == *name) else {
                let near = nearest(name, names.iter().copied());
                let near = near.map_or_else(String::new, |near| format!("; `{near}` is near it"));
                return Err(refused(format!("the model's feature `{name}` is not selected by `features`{near}")));
            };
            if output.values != feature.values {
                return Err(refused(format!(
                    "`{name}` has other bounds or categories in data set `{}` than in the model; they must be declared as they were when it was trained",
                    schema.name
                )));
            }
        }
        if let Some(more) = rows
            .outputs
            .iter()
            .find(|output| !self.model.recipe.features.iter().any(|feature| feature.name == output.name))
        {
            return Err(refused(format!(
                "`features` selects `{}`, which the model does not know; leave it out",
                more.name
            )));
        }
        // In the order of the model, whatever that of the SELECT list.
        let mut rows = rows;
        let position = |name: &str| self.model.recipe.features.iter().position(|feature| feature.name == name);
        rows.outputs.sort_by_key(|output| position(&output.name));
        let segment = match &self.segment {
            None => None,
            Some(name) => {
                let (output, column) = segment(name, schema)?;
                if let Err(place) = rows.columns.binary_search_by(|(other, _)| other.cmp(name)) {
                    rows.columns.insert(place, (name.clone(), column.clone()));
                }
                rows.outputs.push(output);
                Some(rows.outputs.len() as u32 - 1)
            }
        };
        let plan = ScorePlan { rows, segment, left_out: None, scoring: self.scoring() };
        let params = plan.scoring.params();
        params.map_err(|infeasible| refused(format!("the model cannot be scored blindly: {infeasible}")))?;
        // Cells are counted in 16 bits; long before that, there is nothing but noise in them.
        let cells = plan.cells();
        if cells > usize::from(u16::MAX) {
            return Err(refused(format!(
                "`segment` has {} values, and the reach {} cells for each: {cells} in all, where it has at most {}; declare a \
                 coarser category at each partner",
                plan.segments(),
                plan.scoring.scores(),
                u16::MAX
            )));
        }
        Ok(plan)
    }
}

impl LookalikeSpec {
    /// The plan with, behind all else that is read, whether a customer is one of `seeds`.
    fn leaving_out(&self, seeds: &str, mut plan: ScorePlan, schema: &DatasetSchema) -> Result<ScorePlan, Refusal> {
        let refusal = |refusal: sql::LabelRefusal| refused(format!("who is left out: {refusal}"));
        let (labelled, _) = sql::labelled(&self.features, seeds, LEFT_OUT, WEIGHT).map_err(refusal)?;
        let labelled = sql::rows(&labelled, schema)?;
        plan.left_out = Some(plan.rows.outputs.len() as u32);
        plan.rows.outputs.extend(labelled.outputs.into_iter().filter(|output| output.name == LEFT_OUT));
        for (name, column) in labelled.columns {
            if let Err(place) = plan.rows.columns.binary_search_by(|(other, _)| other.cmp(&name)) {
                plan.rows.columns.insert(place, (name, column));
            }
        }
        Ok(plan)
    }
}

/// The output that a segment is, and its column's type.
pub(super) fn segment<'s>(name: &str, schema: &'s DatasetSchema) -> Result<(rows::Output, &'s ColumnType), Refusal> {
    let Some(column) = schema.columns.get(name) else {
        let near = nearest(name, schema.columns.keys().map(String::as_str));
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(refused(format!("`segment` is `{name}`, which data set `{}` does not have{near}", schema.name)));
    };
    let values = match column {
        ColumnType::Category { values } => Values::Category { values: values.clone() },
        ColumnType::Bool => Values::Bool,
        ColumnType::Int { .. } | ColumnType::Float { .. } | ColumnType::Date { .. } => {
            return Err(refused(format!(
                "`segment` is `{name}`, which is of type {}; the reach is split by a category or a bool, whose values \
                 are public",
                column.name()
            )));
        }
    };
    Ok((rows::Output { name: name.into(), expr: Expr::Column(name.into()), values }, column))
}

/// The seed partner, then the candidates' partners other than it.
pub(super) fn participants(seed_partner: &str, candidate_partners: &[String]) -> Vec<String> {
    let others = candidate_partners.iter().map(String::as_str).filter(|partner| *partner != seed_partner);
    std::iter::once(seed_partner).chain(others).map(str::to_owned).collect()
}

/// Checks who takes part in a lookalike study whose `partners` are these.
pub(super) fn check_parties(
    seed_partner: &str,
    candidate_partners: &[String],
    partners: &[String],
) -> Result<(), Reason> {
    check_name(seed_partner).map_err(|error| format!("`seed_partner`: {error}"))?;
    if candidate_partners.is_empty() {
        let help = "name the partners whose customers are to be scored";
        return Err(Reason::from("`candidate_partners` names nobody").help(help));
    }
    for (i, partner) in candidate_partners.iter().enumerate() {
        check_name(partner).map_err(|error| format!("`candidate_partners`: {error}"))?;
        if candidate_partners[..i].contains(partner) {
            return Err(format!("`candidate_partners` names `{partner}` twice").into());
        }
    }
    if candidate_partners == [seed_partner] {
        let problem = format!(
            "`candidate_partners` names the seed partner alone: {seed_partner} can score its own customers without a study \
             (entente model predict)"
        );
        return Err(Reason::from(problem).help("name others, or others as well"));
    }
    let all = participants(seed_partner, candidate_partners);
    let mut all: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut named: Vec<&str> = partners.iter().map(String::as_str).collect();
    all.sort_unstable();
    named.sort_unstable();
    if all == named {
        return Ok(());
    }
    Err(Reason::from("`partners` are not the seed partner and the candidates' partners")
        .help("leave it out of a lookalike study"))
}

/// What is said of an output that does not exist.
pub(super) fn unknown_output(output: &str) -> Reason {
    let reason =
        Reason::from(format!("there is no output `{output}` in this version, which has: {}", OUTPUTS.join(", ")));
    suggesting(reason, output, OUTPUTS.into_iter())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::digest::Digest;
    use crate::language::rows::RowsPlan;
    use crate::learn::file::ScoreShare;
    use crate::learn::recipe::{Feature, Recipe};
    use crate::privacy::bounds::Component;
    use crate::privacy::rows::UNIT;
    use crate::study::Question;
    use crate::study::plans::score::CANDIDATES;
    use crate::testing::lookalike as study;

    fn schema() -> DatasetSchema {
        DatasetSchema {
            name: "customers".into(),
            privacy_unit: "id".into(),
            columns: [
                ("age".into(), ColumnType::Int { min: Some(18), max: Some(95) }),
                ("active".into(), ColumnType::Bool),
                ("other".into(), ColumnType::Bool),
                ("many".into(), ColumnType::Category { values: (0..1285).map(|i| i.to_string()).collect() }),
                ("region".into(), ColumnType::Category { values: ["north", "south"].map(String::from).to_vec() }),
            ]
            .into(),
        }
    }

    fn spec() -> LookalikeSpec {
        let features = vec![
            Feature { name: "active".into(), values: Values::Bool },
            Feature { name: "age".into(), values: Values::Number { low: 18.0, high: 95.0 } },
        ];
        let share = |threshold: f64| ScoreShare { threshold, events: 0.5, others: 0.1 };
        let model = PublicModel {
            study: "m".into(),
            sha256: Digest::ZERO,
            content: Digest::ZERO,
            predicts: "y".into(),
            recipe: Recipe { features },
            recoding: None,
            additive: false,
            pairs: Vec::new(),
            shares: vec![share(-1.0), share(1.0)],
        };
        LookalikeSpec {
            seed_partner: "retailer".into(),
            model,
            candidate_partners: vec!["telecom".into(), "bank".into()],
            features: "SELECT id, age, active FROM customers".into(),
            segment: None,
            leave_out: None,
            candidates: CANDIDATES,
            output: Output::Scores,
        }
    }

    /// The model's owner brings nothing to the sum; features are in the model's order; one owner's noise is enough by itself.
    #[test]
    fn candidates_owners_alone_are_summed_over_and_charged() {
        let several = study(spec());
        several.validate().unwrap();
        let question = Question::new(&several, &schema(), &several.partners, 0).unwrap();
        assert_eq!(question.contributors(), ["bank", "telecom"]);
        assert_eq!(question.participants().len(), 3);
        assert_eq!((question.mechanism().participants(), question.mechanism().colluders()), (2, 1));
        assert_eq!(question.mechanism().layout().len(), 3 + 2);
        let Work::Score(plan) = question.work() else { panic!("a lookalike plan") };
        assert_eq!(plan.rows.outputs.iter().map(|output| output.name.as_str()).collect::<Vec<_>>(), ["active", "age"]);
        assert!(question.rho_from(0) <= several.privacy.rho);
        let one = study(LookalikeSpec { candidate_partners: vec!["telecom".into()], ..spec() });
        let question = Question::new(&one, &schema(), &one.partners, 0).unwrap();
        assert_eq!((question.mechanism().participants(), question.mechanism().colluders()), (1, 0));
        assert_eq!(question.mechanism().layout().len(), 3);
    }

    /// Whoever holds the model needs no data set: it answers those who ask.
    #[test]
    fn the_model_s_owner_reads_nothing_and_answers_the_others() {
        let asked = study(spec());
        let owners = BTreeMap::from(["bank", "telecom"].map(|name| (name.to_owned(), schema())));
        let question = Question::new(&asked, &owners, &asked.partners, 0).unwrap();
        assert_eq!(question, Question::new(&asked, &schema(), &asked.partners, 0).unwrap());
        let part = |name: &str| question.parts().of(name).unwrap();
        let with = |name: &str| part(name).dialogues.iter().map(|dialogue| dialogue.with.clone()).collect::<Vec<_>>();
        assert!(part("retailer").work.reads().is_none() && !part("retailer").charged && part("retailer").answers());
        assert_eq!(with("retailer"), ["bank", "telecom"]);
        assert!(part("bank").work.reads().is_some() && part("bank").charged && !part("bank").answers());
        assert_eq!(with("bank"), ["retailer"]);
        let refusal = Question::new(&asked, &BTreeMap::from([("bank".to_owned(), schema())]), &asked.partners, 0);
        assert!(refusal.unwrap_err().to_string().contains("`telecom` has no data set"));
    }

    /// The seed partner's own customers are summed over like others'; it alone reads who is left out.
    #[test]
    fn the_seed_partner_can_be_a_candidates_owner_and_leaves_seeds_out() {
        let mut with = LookalikeSpec { segment: Some("region".into()), ..spec() };
        with.candidate_partners.push("retailer".into());
        with.leave_out = Some("SELECT id, age FROM customers WHERE other AND age > 30".into());
        assert_eq!(with.participants(), ["retailer", "telecom", "bank"]);
        let asked = study(with.clone());
        asked.validate().unwrap();
        let question = Question::new(&asked, &schema(), &asked.partners, 0).unwrap();
        assert_eq!(question.contributors(), ["bank", "retailer", "telecom"]);
        assert_eq!(question.mechanism().participants(), 3);
        let plan = |name: &str| match question.parts().of(name).unwrap().work {
            Work::Score(plan) => plan.clone(),
            other => panic!("a candidates' owner: {other:?}"),
        };
        let names = |rows: &RowsPlan| rows.outputs.iter().map(|output| output.name.clone()).collect::<Vec<_>>();
        let read = |rows: &RowsPlan| rows.columns.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let own = plan("retailer");
        assert_eq!(names(&own.rows), ["active", "age", "region", LEFT_OUT]);
        assert_eq!((read(&own.rows).join(" "), own.left_out), ("active age other region".into(), Some(3)));
        for other in ["bank", "telecom"] {
            let theirs = plan(other);
            assert_eq!((names(&theirs.rows).len(), theirs.left_out), (3, None));
            assert_eq!(read(&theirs.rows), ["active", "age", "region"], "nothing of the condition");
        }
        // The same cells, and another question.
        let none = study(LookalikeSpec { leave_out: None, ..with });
        let none = Question::new(&none, &schema(), &none.partners, 0).unwrap();
        assert_eq!(none.mechanism().layout(), question.mechanism().layout());
        assert_ne!(none.digest(), question.digest());
    }

    /// Buckets have cells of their own, and are another question.
    #[test]
    fn buckets_are_counted_by_their_edges() {
        let shares = (0..100).map(|i| ScoreShare {
            threshold: f64::from(i) / 10.0 - 5.0,
            events: 1.0 - f64::from(i) / 100.0,
            others: 0.1,
        });
        let mut scores = spec();
        scores.model.shares = shares.collect();
        let bucketed = LookalikeSpec { output: Output::Buckets(4), ..scores.clone() };
        let question = |spec: &LookalikeSpec| {
            let study = study(spec.clone());
            study.validate().unwrap();
            Question::new(&study, &schema(), &study.partners, 0).unwrap()
        };
        let (all, few) = (question(&scores), question(&bucketed));
        assert_eq!((all.mechanism().layout().len(), few.mechanism().layout().len()), (101 + 2, 4 + 2));
        assert_ne!(all.digest(), few.digest());
        let Work::Score(plan) = few.work() else { panic!("a lookalike plan") };
        // A quarter of the seeds in each.
        assert_eq!(plan.scoring.steps().iter().map(|step| step.events).collect::<Vec<_>>(), [0.75, 0.5, 0.25]);
        // Where the model tells fewer scores apart, there are fewer.
        scores.model.shares.truncate(2);
        assert_eq!(
            question(&LookalikeSpec { output: Output::Buckets(16), ..scores }).mechanism().layout().len(),
            2 + 2
        );
    }

    /// The segment stands behind the features, be it one of them or not, and is read whether the query selects it or not.
    #[test]
    fn a_segment_has_cells_of_its_own_at_the_same_cost() {
        let whole = study(spec());
        let whole = Question::new(&whole, &schema(), &whole.partners, 0).unwrap();
        for (segment, segments) in [("region", 3), ("active", 3)] {
            let study = study(LookalikeSpec { segment: Some(segment.into()), ..spec() });
            let question = Question::new(&study, &schema(), &study.partners, 0).unwrap();
            let Work::Score(plan) = question.work() else { panic!("a lookalike plan") };
            let names: Vec<&str> = plan.rows.outputs.iter().map(|output| output.name.as_str()).collect();
            assert_eq!((names, plan.segment), (vec!["active", "age", segment], Some(2)));
            assert!(
                plan.rows.columns.is_sorted_by(|(a, _), (b, _)| a < b)
                    && plan.rows.columns.iter().any(|(name, _)| name == segment)
            );
            assert_eq!((plan.scoring.scores(), plan.segments(), plan.cells()), (3, segments, 3 * segments));
            let layout = question.mechanism().layout();
            let unit = UNIT as u64;
            let cells = |cells: usize, touches| Component::Cells { cells: cells as u64, touches, per_cell: unit };
            assert_eq!(layout.components(), [cells(3 * segments, 2), cells(2, 1)]);
            // As many touches a customer, whatever the number of cells: the same noise.
            assert_eq!(question.mechanism().sigmas(), whole.mechanism().sigmas());
        }
    }

    /// A file of another name does not make another question of it where answers are stored, but does where parties join.
    #[test]
    fn answers_are_stored_by_what_the_model_is() {
        let question = |change: &dyn Fn(&mut LookalikeSpec)| {
            let mut spec = spec();
            change(&mut spec);
            let study = study(spec);
            Question::new(&study, &schema(), &study.partners, 0).unwrap()
        };
        let first = question(&|_| ());
        let again = question(&|spec| (spec.model.study, spec.model.sha256) = ("again".into(), Digest([9; 32])));
        assert_eq!(first.answer_key(), again.answer_key());
        assert_ne!(first.digest(), again.digest());
        type Change = fn(&mut LookalikeSpec);
        let others: [Change; 5] = [
            |spec| spec.model.content = Digest([8; 32]),
            |spec| spec.model.shares[0].events = 0.4,
            |spec| spec.segment = Some("region".into()),
            |spec| spec.candidates = 1000,
            |spec| drop(spec.candidate_partners.pop()),
        ];
        for other in others {
            assert_ne!(question(&other).answer_key(), first.answer_key());
        }
    }

    #[test]
    fn what_cannot_be_scored_is_refused_with_what_to_write() {
        let refusal = |change: &dyn Fn(&mut LookalikeSpec)| {
            let mut changed = spec();
            change(&mut changed);
            let study = study(changed);
            let planned =
                |()| Question::new(&study, &schema(), &study.partners, 0).map_err(|refusal| refusal.to_string());
            study.validate().map_err(String::from).and_then(planned).map(drop).unwrap_err()
        };
        type Change = fn(&mut LookalikeSpec);
        let cases: [(Change, &str); 16] = [
            (|spec| spec.features = "SELECT id, age FROM customers".into(), "`active` is not selected"),
            (|spec| spec.features = "SELECT id, age, active, other FROM customers".into(), "`other`, which the model"),
            (
                |spec| spec.features = "SELECT id, age + 1 AS age, active FROM customers".into(),
                "`age` has other bounds",
            ),
            (|spec| spec.features = "SELECT id, agee AS age, active FROM customers".into(), "agee"),
            (|spec| spec.segment = Some("regoin".into()), "did you mean `region`"),
            (|spec| spec.segment = Some("id".into()), "does not have"),
            (|spec| spec.segment = Some("age".into()), "of type int"),
            (
                |spec| {
                    let share =
                        |threshold: u16| ScoreShare { threshold: f64::from(threshold), events: 0.5, others: 0.1 };
                    spec.model.shares = (0..50).map(share).collect();
                    spec.segment = Some("many".into());
                },
                "65586 in all",
            ),
            (|spec| spec.candidate_partners.clear(), "names nobody"),
            (|spec| spec.candidate_partners = vec!["retailer".into()], "the seed partner alone"),
            (|spec| spec.leave_out = Some("SELECT id FROM customers WHERE other".into()), "are not candidates"),
            (
                |spec| {
                    spec.candidate_partners.push("retailer".into());
                    spec.leave_out = Some("SELECT id FROM customers WHERE otter".into());
                },
                "otter",
            ),
            (|spec| spec.candidates = 1 << 40, "blocks"),
            (|spec| spec.model.shares.clear(), "`holdout`"),
            (|spec| spec.output = Output::Buckets(1), "2 to 16"),
            (|spec| spec.output = Output::Buckets(17), "2 to 16"),
        ];
        for (change, expected) in cases {
            let refusal = refusal(&change);
            assert!(refusal.contains(expected), "{refusal} lacks {expected}");
        }
        let mut others = study(spec());
        others.partners.pop();
        assert!(others.validate().unwrap_err().to_string().contains("`partners`"));
    }
}
