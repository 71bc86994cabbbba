//! What may be asked: a study file becomes a [`Study`], and with a data set's schema a [`Question`].
//!
//! ```text
//! study.toml ─▶ Study ─(schema, participants)─▶ Question = plan + mechanism + participants
//! ```
//!
//! A study kind is one file or folder here, one in the node and one in the coordinator, and a variant of
//! [`StudySpec`] and [`Plan`], which are matched without wildcards: the compiler lists what a new kind still lacks.
//! Coordinator and nodes make the question themselves, by the same code from the same study; its hash is in every
//! signed join, so that nobody computes what another was not asked.

pub mod file;
pub mod lookalike;
mod own_numbers;
pub mod proposal;
pub mod query;
mod refusal;
pub mod seeded;
pub mod train;

use crate::digest::Digest;
use crate::identity::check_name;
use crate::kind::Kind;
use crate::language::schema::{ColumnType, DatasetSchema};
use crate::language::sql;
use crate::language::sums::SumsPlan;
use crate::learn::frame::Release;
use crate::policy::usual_colluders;
use crate::privacy::bounds::Layout;
use crate::privacy::mechanism::{Infeasible, Mechanism, Scope};
use crate::privacy::rho::{MILLION, Rho};
use lookalike::{LookalikePlan, LookalikeSpec};
use query::QuerySpec;
use train::{TrainPlan, TrainSpec};

pub use own_numbers::OwnNumbers;
pub use refusal::Refusal;

/// A study as its file states it, checked.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct Study {
    /// Its name.
    pub name: String,
    /// Why it is made; shown to stewards and written to every ledger.
    pub purpose: String,
    /// Its legal basis, where stated.
    pub legal_basis: Option<String>,
    /// The partners named; empty for all that are enrolled.
    pub partners: Vec<String>,
    /// Fewest participants; `None` for all named.
    pub min_partners: Option<u32>,
    /// Seconds to wait for a partner in one attempt, from the moment the study is approved everywhere.
    pub wait: u32,
    /// The promise.
    pub privacy: Terms,
    /// What is asked.
    pub spec: StudySpec,
}

impl Study {
    /// Checks what the types alone cannot say; what is wrong otherwise, in words. A node checks it again, as a study
    /// reaches it from a coordinator that it need not trust.
    pub fn validate(&self) -> Result<(), String> {
        let Self { name, purpose, legal_basis, partners, min_partners, privacy, .. } = self;
        if name.trim().is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
            return Err("`name` must be one line of 1 to 200 bytes".into());
        }
        if purpose.trim().is_empty() || purpose.len() > 2000 {
            return Err("`purpose` must say in 1 to 2000 bytes what the study is for; stewards decide by it".into());
        }
        if legal_basis.as_ref().is_some_and(|basis| basis.len() > 2000) {
            return Err("`legal_basis` is longer than 2000 bytes".into());
        }
        // Before `partners`, which usually follow from it.
        if let StudySpec::Lookalike(lookalike) = &self.spec {
            lookalike.validate(partners)?;
        }
        for (i, partner) in partners.iter().enumerate() {
            check_name(partner).map_err(|error| format!("`partners`: {error}"))?;
            if partners[..i].contains(partner) {
                return Err(format!("`partners` names `{partner}` twice"));
            }
        }
        let most = if partners.is_empty() { usize::MAX } else { partners.len() };
        if let Some(min) = min_partners.filter(|min| *min == 0 || *min as usize > most) {
            return Err(format!("`min_partners` is {min}, but {} are named", partners.len()));
        }
        let text_ends = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        if [Some(purpose), legal_basis.as_ref()].into_iter().flatten().any(|text| text.chars().any(text_ends)) {
            return Err("`purpose` and `legal_basis` must be text without control characters".into());
        }
        let Terms { epsilon, delta, rho, lost_attempts, .. } = *privacy;
        if lost_attempts > MAX_LOST_ATTEMPTS {
            return Err(format!(
                "`lost_attempts` in [privacy] is {lost_attempts}; it must be at most {MAX_LOST_ATTEMPTS}"
            ));
        }
        if !(delta > 0.0 && delta <= 0.01) {
            return Err(format!(
                "`delta` in [privacy] is {delta}; it must lie above 0 and at most 0.01, best below 1 / number of customers"
            ));
        }
        if !(epsilon > 0.0 && epsilon <= 100.0) || rho == Rho::ZERO {
            return Err(format!(
                "`epsilon` in [privacy] is {epsilon}; it must be a number above 0 (and at most 100, which protects little)"
            ));
        }
        // ρ is stated with (ε, δ), so that all use the same number; it must be what they allow.
        if rho.epsilon(delta) > epsilon * (1.0 + 1e-9) {
            return Err("the study's ρ is more than its (ε, δ) allow".into());
        }
        Ok(())
    }
}

/// The most attempts that a study may provide for losing.
pub const MAX_LOST_ATTEMPTS: u32 = 10;
/// How many attempts may be lost unless a study says otherwise.
pub const LOST_ATTEMPTS: u32 = 1;

/// The privacy that a study states.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct Terms {
    /// ε.
    pub epsilon: f64,
    /// δ.
    pub delta: f64,
    /// The largest ρ within (ε, δ), made with [`Rho::within`].
    pub rho: Rho,
    /// Whom it protects.
    pub scope: Scope,
    /// t; `None` for the default, which depends on n.
    pub colluders: Option<u32>,
    /// How many attempts may be lost after they were charged for, each at the whole ρ.
    pub lost_attempts: u32,
}

impl Terms {
    /// The most that all attempts together cost: ρ, and as much again for each that may be lost.
    pub fn most(&self) -> Rho {
        Rho::from_micro(self.rho.micro().saturating_mul(u64::from(self.lost_attempts) + 1))
    }

    /// t for n participants: as stated, else max(1, ⌊(n−1)/2⌋); 0 where there is one participant.
    pub fn colluders_of(&self, participants: u32) -> u32 {
        self.colluders.unwrap_or_else(|| usual_colluders(participants))
    }
}

/// What is asked, by study kind.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub enum StudySpec {
    /// SQL over a data set.
    Query(QuerySpec),
    /// A model.
    Train(Box<TrainSpec>),
    /// Scores of other partners' customers.
    Lookalike(Box<LookalikeSpec>),
}

impl StudySpec {
    /// The study kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Query(_) => Kind::Query,
            Self::Train(_) => Kind::Train,
            Self::Lookalike(_) => Kind::Lookalike,
        }
    }

    /// The data set it is about, as the study writes it; SQL does not distinguish its case.
    pub fn dataset(&self) -> Result<String, Refusal> {
        match self {
            Self::Query(query) => Ok(sql::dataset_name(&query.sql)?),
            Self::Train(train) => Ok(sql::dataset_name(&train.features)?),
            Self::Lookalike(lookalike) => Ok(sql::dataset_name(&lookalike.features)?),
        }
    }

    /// The typed plan over a data set of this schema, for a study that may spend `rho`.
    pub fn plan(&self, schema: &DatasetSchema, rho: Rho) -> Result<Plan, Refusal> {
        match self {
            Self::Query(query) => Ok(Plan::Query(query.plan(schema)?)),
            Self::Train(train) => Ok(Plan::Train(Box::new(train.plan(schema, rho)?))),
            Self::Lookalike(lookalike) => Ok(Plan::Lookalike(Box::new(lookalike.plan(schema)?))),
        }
    }
}

/// A typed plan, by study kind.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub enum Plan {
    /// Of a query.
    Query(SumsPlan),
    /// Of a training.
    Train(Box<TrainPlan>),
    /// Of a lookalike study.
    Lookalike(Box<LookalikePlan>),
}

impl Plan {
    /// Hash of the canonical plan.
    pub fn digest(&self) -> Digest {
        Digest::of("entente plan 1", &[&crate::canonical::canonical_bytes(self)])
    }

    /// The rounds in order: how the vector that each releases is laid out and bounded, and what each of its components
    /// may cost of `rho`.
    fn rounds(&self, participants: usize, rho: Rho) -> Vec<(Layout, Vec<Rho>)> {
        match self {
            Self::Query(plan) => {
                let layout = plan.layout();
                let components = layout.components().len();
                let each = rho.micro().checked_div(components as u64).unwrap_or(0);
                vec![(layout, vec![Rho::from_micro(each); components])]
            }
            Self::Train(plan) => {
                let budget = |share: u32| {
                    let part = u128::from(rho.micro()) * u128::from(share.min(MILLION)) / u128::from(MILLION);
                    Rho::from_micro(u64::try_from(part).unwrap_or(u64::MAX))
                };
                let releases = plan.training.releases(participants).into_iter();
                let round = |release: Release| {
                    let budgets = release.components.iter().map(|(_, share)| budget(*share)).collect();
                    (release.layout(), budgets)
                };
                releases.map(round).collect()
            }
            Self::Lookalike(plan) => vec![plan.round(rho)],
        }
    }

    /// Those of the participants, who are sorted, whose customers are summed over: the others are charged nothing, and send
    /// nothing in rounds.
    pub fn contributors(&self, participants: &[String]) -> Vec<String> {
        match self {
            Self::Query(_) | Self::Train(_) => participants.to_vec(),
            Self::Lookalike(plan) => {
                let owner = |name: &&String| plan.candidate_partners.contains(name);
                participants.iter().filter(owner).cloned().collect()
            }
        }
    }

    /// Whether a participant has to answer others beside its own part in rounds: as the owner of a model that scores theirs.
    pub fn answers(&self, participant: &str) -> bool {
        match self {
            Self::Query(_) | Self::Train(_) => false,
            Self::Lookalike(plan) => plan.seed_partner == participant,
        }
    }

    /// The privacy-unit column.
    pub fn privacy_unit(&self) -> &str {
        match self {
            Self::Query(plan) => &plan.privacy_unit,
            Self::Train(plan) => &plan.rows.privacy_unit,
            Self::Lookalike(plan) => &plan.rows.privacy_unit,
        }
    }

    /// Whether participants are told what is released, round by round: a model is sent to those who train it.
    pub fn tells_participants(&self) -> bool {
        match self {
            Self::Query(_) | Self::Lookalike(_) => false,
            Self::Train(_) => true,
        }
    }

    /// Whether each partner's held-out customers are evaluated by themselves as well.
    fn evaluates_each(&self) -> bool {
        match self {
            Self::Query(_) | Self::Lookalike(_) => false,
            Self::Train(plan) => plan.training.evaluation.as_ref().is_some_and(|evaluation| evaluation.per_partner),
        }
    }

    /// The columns that it reads, with the types and bounds that it relies on.
    pub fn columns(&self) -> &[(String, ColumnType)] {
        match self {
            Self::Query(plan) => &plan.columns,
            Self::Train(plan) => &plan.rows.columns,
            Self::Lookalike(plan) => plan.columns(),
        }
    }
}

/// A plan with the participants and the noise that go with it: what is released, round after round, by whom and how well
/// protected.
#[derive(Clone, Debug, PartialEq, bincode::Encode)]
pub struct Question {
    plan: Plan,
    completed: u32,
    spent: Rho,
    mechanisms: Vec<Mechanism>,
    participants: Vec<String>,
}

/// What earlier attempts of a study have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// How many rounds they have completed.
    pub completed: u32,
    /// What they have charged, rounds that were lost included.
    pub spent: Rho,
}

impl From<u32> for Earlier {
    fn from(completed: u32) -> Self {
        Self { completed, spent: Rho::ZERO }
    }
}

impl Question {
    /// The question that `study` asks of `participants` whose data set has `schema`, behind what earlier attempts have
    /// done.
    ///
    /// Where they have completed rounds, the rounds that are left share what they have left over of the study's budget:
    /// a round that was charged and lost makes the others noisier, not the study more expensive.
    pub fn new(
        study: &Study,
        schema: &DatasetSchema,
        participants: &[String],
        earlier: impl Into<Earlier>,
    ) -> Result<Self, Refusal> {
        let Earlier { completed, spent } = earlier.into();
        // Without complete rounds to go on from, the question is the same as if it were asked for the first time.
        let spent = if completed > 0 { spent } else { Rho::ZERO };
        let plan = study.spec.plan(schema, study.privacy.rho)?;
        let mut participants = participants.to_vec();
        participants.sort();
        participants.dedup();
        let contributors = plan.contributors(&participants);
        let n = u32::try_from(contributors.len()).unwrap_or(u32::MAX);
        let terms = &study.privacy;
        let all = plan.rounds(contributors.len(), terms.rho).into_iter();
        let mut rounds: Vec<(Layout, Vec<Rho>)> = all.skip(completed as usize).collect();
        let (left, wanted) = (terms.rho.minus(spent), rounds.iter().flat_map(|(_, budgets)| budgets).copied().sum());
        if left < wanted {
            let part = |budget: Rho| u128::from(budget.micro()) * u128::from(left.micro()) / u128::from(wanted.micro());
            for budget in rounds.iter_mut().flat_map(|(_, budgets)| budgets) {
                // Less than the budget itself.
                *budget = Rho::from_micro(part(*budget) as u64);
            }
        }
        let mechanism = |(layout, budgets): (Layout, Vec<Rho>)| {
            Mechanism::with_budgets(layout, terms.scope, n, terms.colluders_of(n), &budgets)
        };
        let mechanisms = rounds.into_iter().map(mechanism).collect::<Result<Vec<_>, _>>()?;
        if mechanisms.is_empty() {
            return Err(Infeasible::Budget { rho: terms.rho, components: 0 }.into());
        }
        Ok(Self { plan, completed, spent, mechanisms, participants })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Noise and charge of the first of the rounds that are left, which for a query is its only one.
    pub fn mechanism(&self) -> &Mechanism {
        // `new` makes no question without rounds.
        &self.mechanisms[0]
    }

    /// Noise and charge of a round, counted from 1 over all attempts; `None` if it is not one of those that are left.
    pub fn round(&self, round: u32) -> Option<&Mechanism> {
        let index = round.checked_sub(self.completed)?.checked_sub(1)?;
        self.mechanisms.get(index as usize)
    }

    /// The numbers of the rounds that are left, counted from 1 over all attempts.
    pub fn rounds(&self) -> std::ops::RangeInclusive<u32> {
        self.completed + 1..=self.completed + u32::try_from(self.mechanisms.len()).unwrap_or(u32::MAX)
    }

    /// What the rounds from number `round` on cost together, in the stated scope.
    pub fn rho_from(&self, round: u32) -> Rho {
        self.rounds().filter(|other| *other >= round).filter_map(|other| Some(self.round(other)?.rho())).sum()
    }

    /// What all rounds that are left cost a person who may be a customer of every participant.
    pub fn rho_person(&self) -> Rho {
        self.mechanisms.iter().map(Mechanism::rho_person).sum()
    }

    /// The participants, sorted.
    pub fn participants(&self) -> &[String] {
        &self.participants
    }

    /// Those of them who bring something to a round, sorted.
    pub fn contributors(&self) -> Vec<String> {
        self.plan.contributors(&self.participants)
    }

    /// What it tells of single partners.
    pub fn own_numbers(&self) -> OwnNumbers {
        let contributors = self.contributors();
        if self.plan.evaluates_each() {
            return OwnNumbers::Evaluated(contributors);
        }
        match (<[String; 1]>::try_from(contributors), &self.plan) {
            (Ok([alone]), _) => OwnNumbers::Alone(alone),
            (Err(several), Plan::Lookalike(_)) => OwnNumbers::Candidates(several),
            (Err(_), Plan::Query(_) | Plan::Train(_)) => OwnNumbers::None,
        }
    }

    /// Hash of the question: equal for the same question under any name or purpose.
    pub fn digest(&self) -> Digest {
        Digest::of("entente question 1", &[&crate::canonical::canonical_bytes(self)])
    }

    /// What answers are stored by: [`Self::digest`], but that a lookalike study's model is told by what it is and not by the
    /// study and the file that it came with. The same training asked again gives the same model in another file.
    ///
    /// Participants join by [`Self::digest`]: what is computed, is computed with the model that everybody was told of. By this
    /// one a node finds only bytes that it has sent before, under the transcript it sent them under, so whoever makes two
    /// questions agree in it gets nothing new.
    pub fn answer_key(&self) -> Digest {
        match &self.plan {
            Plan::Query(_) | Plan::Train(_) => self.digest(),
            Plan::Lookalike(plan) => {
                let plan = LookalikePlan { model: plan.model.unnamed(), ..(**plan).clone() };
                Self { plan: Plan::Lookalike(Box::new(plan)), ..self.clone() }.digest()
            }
        }
    }
}
