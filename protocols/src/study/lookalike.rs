//! The study kind `lookalike`: one partner's model scores the customers of others, who see no model; the model's owner
//! sees no customer ([`crate::lookalike`]).
//!
//! ```text
//! [lookalike] of a study file + model file ─▶ LookalikeSpec ─(schema)─▶ LookalikePlan = features query + public model
//! ```
//!
//! What is released is the reach: how many candidates score at least so much, one bounded vector sum over the candidates'
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

use super::refusal::Refusal;
use crate::config::nearest;
use crate::identity::check_name;
use crate::kind::Kind;
use crate::language::expr::Expr;
use crate::language::rows::{self, RowsPlan};
use crate::language::schema::{ColumnType, DatasetSchema};
use crate::language::sql;
use crate::learn::file::ScoreShare;
use crate::learn::recipe::Values;
use crate::lookalike::buckets::MAX_BUCKETS;
use crate::lookalike::model::PublicModel;
use crate::lookalike::params::Params;
use crate::privacy::bounds::{Component, Layout};
use crate::privacy::rho::{MILLION, Rho};
use crate::privacy::rows::UNIT;

/// What may be opened of a candidate's score.
pub const OUTPUTS: [&str; 2] = ["scores", "buckets"];
/// The most candidates of one partner, unless the study says otherwise.
pub const CANDIDATES: u64 = 1_000_000;
/// The same where scores are put into buckets, which takes far longer and tells of keys as well ([`crate::lookalike::buckets`]).
pub const BUCKETED: u64 = 50_000;
/// How many buckets there are, unless the study says otherwise.
pub const BUCKETS: u32 = 10;
/// Milliseconds that a core may take to put one candidate into its bucket: what is told beforehand, and how long is waited for
/// it. With room: `cargo bench -p entente-protocols --bench buckets` gave 20.5 on an idle machine.
pub const BUCKET_MILLIS: u64 = 27;
/// Where there are several candidates' owners: the share of the budget that says how many candidates each has.
const OWNERS: u32 = 200_000;
/// What says who is left out, among the outputs of a plan.
const LEFT_OUT: &str = "is_left_out";
/// How much a seed counts, where `seeds` says so, as its features query calls it.
pub(super) const WEIGHT: &str = "seed_weight";

/// What a candidates' owner learns of each of its candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Output {
    /// The score.
    Scores,
    /// In which of so many ranges of scores it lies: at most, as ranges of no customer are left out.
    Buckets(u32),
}

impl Output {
    /// One of [`OUTPUTS`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Scores => OUTPUTS[0],
            Self::Buckets(_) => OUTPUTS[1],
        }
    }

    /// Seconds that one core takes for so many candidates, where that is worth telling.
    pub fn seconds(self, candidates: u64) -> u32 {
        match self {
            Self::Scores => 0,
            Self::Buckets(_) => u32::try_from(candidates.saturating_mul(BUCKET_MILLIS) / 1000).unwrap_or(u32::MAX / 2),
        }
    }
}

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
    /// The column by whose values the reach is told apart, if it is.
    pub segment: Option<String>,
    /// A seeds query: whom of its own customers the seed partner leaves out, where these are candidates.
    pub leave_out: Option<String>,
    /// The most candidates of one partner.
    pub candidates: u64,
    /// What is opened.
    pub output: Output,
}

/// The typed plan of a lookalike study over one data set.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct LookalikePlan {
    /// The features query, in the order of the model's features; behind them, where there is one, the segment.
    pub rows: RowsPlan,
    /// Which of the outputs of `rows` is the segment: the last one. It may have the name of a feature.
    pub segment: Option<u32>,
    /// What the seed partner reads instead of `rows`, where it leaves customers out: the same, and behind it whether one is.
    pub leave_out: Option<RowsPlan>,
    /// What is public of the model.
    pub model: PublicModel,
    /// The partner that holds the model.
    pub seed_partner: String,
    /// The partners whose customers are scored, sorted.
    pub candidate_partners: Vec<String>,
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
    /// What is wrong, in words.
    pub fn validate(&self, partners: &[String]) -> Result<(), String> {
        check_parties(&self.seed_partner, &self.candidate_partners, partners)?;
        if let Output::Buckets(count) = self.output
            && !(2..=MAX_BUCKETS as u32).contains(&count)
        {
            return Err(format!("`buckets` is {count}; there can be 2 to {MAX_BUCKETS}"));
        }
        if self.leave_out.is_some() && !self.candidate_partners.contains(&self.seed_partner) {
            return Err(format!(
                "`leave_out` is about customers of `{0}`, the seed partner, who are no candidates; name `{0}` among \
                 `candidate_partners` as well, or leave it out",
                self.seed_partner
            ));
        }
        self.model.check().map_err(|problem| format!("`model`: {problem}"))
    }

    /// The seed partner, then the candidates' partners.
    pub fn participants(&self) -> Vec<String> {
        participants(&self.seed_partner, &self.candidate_partners)
    }

    /// The typed plan over a data set of this schema.
    ///
    /// # Errors
    ///
    /// The features query's refusal; features that are not the model's; or a model that does not fit the parameters.
    pub fn plan(&self, schema: &DatasetSchema) -> Result<LookalikePlan, Refusal> {
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
        let leave_out = self.leave_out.as_ref().map(|seeds| self.leaving_out(seeds, &rows, schema)).transpose()?;
        let mut candidate_partners = self.candidate_partners.clone();
        candidate_partners.sort();
        let plan = LookalikePlan {
            rows,
            segment,
            leave_out,
            model: self.model.clone(),
            seed_partner: self.seed_partner.clone(),
            candidate_partners,
            candidates: self.candidates,
            output: self.output,
        };
        plan.params().map_err(|infeasible| refused(format!("the model cannot be scored blindly: {infeasible}")))?;
        // Cells are counted in 16 bits; long before that, there is nothing but noise in them.
        let cells = plan.scores() * plan.segments();
        if cells > usize::from(u16::MAX) {
            return Err(refused(format!(
                "`segment` has {} values, and the reach {} cells for each: {cells} in all, where it has at most {}; declare a \
                 coarser category at each partner",
                plan.segments(),
                plan.scores(),
                u16::MAX
            )));
        }
        Ok(plan)
    }
}

impl LookalikeSpec {
    /// The rows with, behind all else, whether a customer is one of `seeds`.
    fn leaving_out(&self, seeds: &str, rows: &RowsPlan, schema: &DatasetSchema) -> Result<RowsPlan, Refusal> {
        let refusal = |refusal: sql::LabelRefusal| refused(format!("who is left out: {refusal}"));
        let (labelled, _) = sql::labelled(&self.features, seeds, LEFT_OUT, WEIGHT).map_err(refusal)?;
        let labelled = sql::rows(&labelled, schema)?;
        let mut leave_out = rows.clone();
        leave_out.outputs.extend(labelled.outputs.into_iter().filter(|output| output.name == LEFT_OUT));
        for (name, column) in labelled.columns {
            if let Err(place) = leave_out.columns.binary_search_by(|(other, _)| other.cmp(&name)) {
                leave_out.columns.insert(place, (name, column));
            }
        }
        Ok(leave_out)
    }
}

impl LookalikePlan {
    /// What a partner reads, and which of the outputs says who is left out, if one does: the seed partner can tell alone.
    pub fn reads(&self, partner: &str) -> (&RowsPlan, Option<usize>) {
        match &self.leave_out {
            Some(rows) if partner == self.seed_partner => (rows, rows.outputs.len().checked_sub(1)),
            _ => (&self.rows, None),
        }
    }

    /// The columns that any of the participants reads.
    pub(super) fn columns(&self) -> &[(String, ColumnType)] {
        &self.leave_out.as_ref().unwrap_or(&self.rows).columns
    }

    /// The parameters of the encryption, which every node computes by itself.
    ///
    /// # Errors
    ///
    /// If none fit.
    pub fn params(&self) -> Result<Params, crate::lookalike::params::Infeasible> {
        self.model.params(self.candidates)
    }

    /// The scores by which candidates are counted, ascending: all that the model's evaluation has, or the edges of the
    /// buckets.
    pub fn steps(&self) -> Vec<ScoreShare> {
        match self.output {
            Output::Scores => self.model.shares.clone(),
            Output::Buckets(count) => self.model.edges(count),
        }
    }

    /// Cells by score: below the first threshold, from each threshold to the next, and from the last.
    pub fn scores(&self) -> usize {
        self.steps().len() + 1
    }

    /// How many segments there are, by a customer's code: the declared values, and before them, under code 0, whoever has none
    /// of these. One where there is no segment.
    pub fn segments(&self) -> usize {
        self.segment_output().map_or(1, |output| output.values.column().dims())
    }

    /// The segment, where there is one.
    pub fn segment_output(&self) -> Option<&rows::Output> {
        self.rows.outputs.get(self.segment? as usize)
    }

    /// Cells of the reach: of each segment those by score, segment after segment.
    pub fn cells(&self) -> usize {
        self.scores() * self.segments()
    }

    /// How the one released vector is laid out and bounded, with what each component may cost of `rho`: a candidate
    /// counts in the cell of its segment and score, and, where there are several owners, in that of its owner.
    pub(super) fn round(&self, rho: Rho) -> (Layout, Vec<Rho>) {
        let component =
            |cells: usize, touches| Component::Cells { cells: cells as u64, touches, per_cell: UNIT as u64 };
        // Under the cap, one customer can take another's place: see the module.
        let (by_score, by_owner) = (component(self.cells(), 2), component(self.candidate_partners.len(), 1));
        if self.candidate_partners.len() < 2 {
            return (Layout::sums(vec![by_score]), vec![rho]);
        }
        let part = |share: u32| {
            let part = u128::from(rho.micro()) * u128::from(share) / u128::from(MILLION);
            Rho::from_micro(u64::try_from(part).unwrap_or(u64::MAX))
        };
        let components = vec![by_score, by_owner];
        (Layout::sums(components), vec![part(MILLION - OWNERS), part(OWNERS)])
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
                "`segment` is `{name}`, which is of type {}; the reach is told apart by a category or a bool, whose values \
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
) -> Result<(), String> {
    check_name(seed_partner).map_err(|error| format!("`seed_partner`: {error}"))?;
    if candidate_partners.is_empty() {
        return Err("`candidate_partners` names nobody; name the partners whose customers are to be scored".into());
    }
    for (i, partner) in candidate_partners.iter().enumerate() {
        check_name(partner).map_err(|error| format!("`candidate_partners`: {error}"))?;
        if candidate_partners[..i].contains(partner) {
            return Err(format!("`candidate_partners` names `{partner}` twice"));
        }
    }
    if candidate_partners == [seed_partner] {
        return Err(format!(
            "`candidate_partners` names the seed partner alone: {seed_partner} can score its own customers without a study \
             (entente model predict); name others, or others as well"
        ));
    }
    let all = participants(seed_partner, candidate_partners);
    let mut all: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut named: Vec<&str> = partners.iter().map(String::as_str).collect();
    all.sort_unstable();
    named.sort_unstable();
    if all == named {
        return Ok(());
    }
    Err("`partners` are not the seed partner and the candidates' partners; leave it out of a lookalike study".into())
}

/// What is said of an output that does not exist.
pub(super) fn unknown_output(output: &str) -> String {
    let near =
        nearest(output, OUTPUTS.into_iter()).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    format!("there is no output `{output}` in this version, which has: {}{near}", OUTPUTS.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::learn::recipe::{Feature, Recipe};
    use crate::study::Question;
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
        let crate::study::Plan::Lookalike(plan) = question.plan() else { panic!("a lookalike plan") };
        assert_eq!(plan.rows.outputs.iter().map(|output| output.name.as_str()).collect::<Vec<_>>(), ["active", "age"]);
        assert!(question.rho_from(0) <= several.privacy.rho);
        let one = study(LookalikeSpec { candidate_partners: vec!["telecom".into()], ..spec() });
        let question = Question::new(&one, &schema(), &one.partners, 0).unwrap();
        assert_eq!((question.mechanism().participants(), question.mechanism().colluders()), (1, 0));
        assert_eq!(question.mechanism().layout().len(), 3);
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
        let crate::study::Plan::Lookalike(plan) = question.plan() else { panic!("a lookalike plan") };
        let names = |rows: &RowsPlan| rows.outputs.iter().map(|output| output.name.clone()).collect::<Vec<_>>();
        let read = |rows: &RowsPlan| rows.columns.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let (own, left_out) = plan.reads("retailer");
        assert_eq!((names(own), left_out), (["active", "age", "region", LEFT_OUT].map(String::from).to_vec(), Some(3)));
        assert_eq!(read(own), ["active", "age", "other", "region"]);
        for other in ["bank", "telecom"] {
            let (theirs, left_out) = plan.reads(other);
            assert_eq!((names(theirs).len(), left_out), (3, None));
            assert_eq!(read(theirs), ["active", "age", "region"], "nothing of the condition");
        }
        assert_eq!(question.plan().columns().len(), 4);
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
        let crate::study::Plan::Lookalike(plan) = few.plan() else { panic!("a lookalike plan") };
        // A quarter of the seeds in each.
        assert_eq!(plan.steps().iter().map(|step| step.events).collect::<Vec<_>>(), [0.75, 0.5, 0.25]);
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
            let crate::study::Plan::Lookalike(plan) = question.plan() else { panic!("a lookalike plan") };
            let names: Vec<&str> = plan.rows.outputs.iter().map(|output| output.name.as_str()).collect();
            assert_eq!((names, plan.segment), (vec!["active", "age", segment], Some(2)));
            assert!(
                plan.rows.columns.is_sorted_by(|(a, _), (b, _)| a < b)
                    && plan.rows.columns.iter().any(|(name, _)| name == segment)
            );
            assert_eq!((plan.scores(), plan.segments(), plan.cells()), (3, segments, 3 * segments));
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
            study.validate().and_then(planned).map(drop).unwrap_err()
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
            (|spec| spec.leave_out = Some("SELECT id FROM customers WHERE other".into()), "are no candidates"),
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
        assert!(others.validate().unwrap_err().contains("`partners`"));
    }
}
