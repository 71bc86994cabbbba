//! What may be asked: a study file becomes a [`Study`], and with the schemas of those who take part a [`Question`].
//!
//! ```text
//! study.toml ─▶ Study ─(participants, their schemas)─▶ Question = parts + mechanisms + participants
//! ```
//!
//! A study kind is one file or folder here and one at the coordinator, and a variant of [`StudySpec`], which is matched without
//! wildcards: the compiler lists what a new kind still lacks. Nodes know no kinds, but what each participant does ([`parts`]).
//! Coordinator and nodes make the question themselves, by the same code from the same study and schemas; its hash is in every
//! pledge, so that nobody computes what another was not asked.

pub mod file;
pub mod lookalike;
mod own_numbers;
pub mod parts;
pub mod plans;
pub mod proposal;
pub mod query;
mod refusal;
pub mod seeded;
pub mod train;

use crate::canonical::canonical_bytes;
use crate::digest::Digest;
use crate::identity::check_name;
use crate::kind::Kind;
use crate::language::sql;
use crate::policy::usual_colluders;
use crate::privacy::bounds::Layout;
use crate::privacy::mechanism::{Infeasible, Mechanism, Scope};
use crate::privacy::rho::Rho;
use crate::reason::Reason;
use lookalike::LookalikeSpec;
use parts::{Parts, Schemas, Work};
use plans::score::Scoring;
use query::QuerySpec;
use train::TrainSpec;

pub use own_numbers::OwnNumbers;
pub use refusal::{Line, Refusal};

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
    /// Hash of what it states.
    pub fn digest(&self) -> Digest {
        Digest::of("entente study 1", &[&canonical_bytes(self)])
    }

    /// Checks what the types alone cannot say; the error is what is wrong. A node checks it again, as a study
    /// reaches it from a coordinator that it need not trust.
    pub fn validate(&self) -> Result<(), Reason> {
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
        self.spec.validate(partners)?;
        for (i, partner) in partners.iter().enumerate() {
            check_name(partner).map_err(|error| format!("`partners`: {error}"))?;
            if partners[..i].contains(partner) {
                return Err(format!("`partners` names `{partner}` twice").into());
            }
        }
        let most = if partners.is_empty() { usize::MAX } else { partners.len() };
        if let Some(min) = min_partners.filter(|min| *min == 0 || *min as usize > most) {
            return Err(format!("`min_partners` is {min}, but {} are named", partners.len()).into());
        }
        let text_ends = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        if [Some(purpose), legal_basis.as_ref()].into_iter().flatten().any(|text| text.chars().any(text_ends)) {
            return Err("`purpose` and `legal_basis` must be text without control characters".into());
        }
        let Terms { epsilon, delta, rho, lost_attempts, .. } = *privacy;
        if lost_attempts > MAX_LOST_ATTEMPTS {
            return Err(Reason::from(format!("`lost_attempts` in [privacy] is {lost_attempts}"))
                .help(format!("write at most {MAX_LOST_ATTEMPTS}")));
        }
        if !(delta > 0.0 && delta <= 0.01) {
            return Err(Reason::from(format!("`delta` in [privacy] is {delta}"))
                .help("write a number above 0 and at most 0.01, best below 1 / number of customers"));
        }
        if !(epsilon > 0.0 && epsilon <= 100.0) || rho == Rho::ZERO {
            return Err(Reason::from(format!("`epsilon` in [privacy] is {epsilon}"))
                .help("write a number above 0 (and at most 100, which protects little)"));
        }
        // ρ is stated with (ε, δ), so that all use the same number; it must be what they allow.
        if rho.epsilon(delta) > epsilon * (1.0 + 1e-9) {
            return Err("the study's ρ is more than its (ε, δ) allow".into());
        }
        Ok(())
    }
}

/// Rounds go on with one part in so many of the budget that they were to have, and not with less: their noise would be more than
/// three times what it was to be.
const LEAST_SHARE: u64 = 10;
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

    /// By which model it scores others' customers, if it does.
    pub fn scores(&self) -> Option<Scoring> {
        match self {
            Self::Lookalike(lookalike) => Some(lookalike.scoring()),
            Self::Query(_) | Self::Train(_) => None,
        }
    }

    /// Checks what it says of its own, and of the partners named; what is wrong with a text, its plan says.
    fn validate(&self, partners: &[String]) -> Result<(), Reason> {
        match self {
            Self::Query(_) | Self::Train(_) => Ok(()),
            Self::Lookalike(lookalike) => lookalike.validate(partners),
        }
    }

    /// The data set whose customers a participant brings, as the study writes it; SQL does not distinguish its case. `None` for a
    /// participant that brings none.
    pub fn dataset_of(&self, participant: &str) -> Result<Option<String>, Refusal> {
        match self {
            Self::Query(query) => Ok(Some(sql::dataset_name(&query.sql)?)),
            Self::Train(train) => Ok(Some(sql::dataset_name(&train.features)?)),
            Self::Lookalike(lookalike) => lookalike.dataset_of(participant),
        }
    }

    /// What it asks of a participant, for whoever decides on that; what others have written passes through `line`.
    pub fn asks(&self, participant: &str, line: Line<'_>) -> String {
        match self {
            Self::Query(query) => query.asks(line),
            Self::Train(train) => train.asks(line),
            Self::Lookalike(lookalike) => lookalike.asks(participant, line),
        }
    }

    /// What each of the participants does, in a study that may spend `rho`.
    fn parts(&self, participants: &[String], schemas: &impl Schemas, rho: Rho) -> Result<Parts, Refusal> {
        match self {
            Self::Query(query) => query.parts(participants, schemas),
            Self::Train(train) => train.parts(participants, schemas, rho),
            Self::Lookalike(lookalike) => lookalike.parts(participants, schemas),
        }
    }
}

/// The parts of all participants with the noise that goes with them: what is released, round after round, by whom and how well
/// protected.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    parts: Parts,
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
    /// The question that `study` asks of `participants`, whose data sets have these schemas, behind what earlier attempts have
    /// done.
    ///
    /// Where they have completed rounds, the rounds that are left share what they have left over of the study's ρ: a round that
    /// was charged and lost makes the others noisier, not the study more expensive. Where hardly anything is left of ρ, as after
    /// a last round, they draw on what the study provides for lost attempts.
    pub fn new(
        study: &Study,
        schemas: &impl Schemas,
        participants: &[String],
        earlier: impl Into<Earlier>,
    ) -> Result<Self, Refusal> {
        let Earlier { completed, spent } = earlier.into();
        // Without complete rounds to go on from, the question is the same as if it were asked for the first time.
        let spent = if completed > 0 { spent } else { Rho::ZERO };
        let mut participants = participants.to_vec();
        participants.sort();
        participants.dedup();
        let parts = study.spec.parts(&participants, schemas, study.privacy.rho)?;
        let n = u32::try_from(parts.contributors().len()).unwrap_or(u32::MAX);
        let terms = &study.privacy;
        let mut rounds: Vec<(Layout, Vec<Rho>)> =
            parts.rounds(terms.rho).into_iter().skip(completed as usize).collect();
        let wanted: Rho = rounds.iter().flat_map(|(_, budgets)| budgets).copied().sum();
        let suffices = |left: Rho| left.micro() >= wanted.micro() / LEAST_SHARE;
        let (in_rho, in_all) = (terms.rho.minus(spent), terms.most().minus(spent));
        let left = if suffices(in_rho) { in_rho } else { in_all };
        let used_up = || Refusal::Spent { spent, most: terms.most(), left: in_all, wanted };
        if !suffices(left) {
            return Err(used_up());
        }
        if left < wanted {
            let part = |budget: Rho| u128::from(budget.micro()) * u128::from(left.micro()) / u128::from(wanted.micro());
            for budget in rounds.iter_mut().flat_map(|(_, budgets)| budgets) {
                // Less than the budget itself.
                *budget = Rho::from_micro(part(*budget) as u64);
            }
        }
        let mechanism = |(layout, budgets): (Layout, Vec<Rho>)| {
            Mechanism::with_budgets(layout, terms.scope, n, terms.colluders_of(n), &budgets)
                .map_err(|infeasible| if left < wanted { used_up() } else { infeasible.into() })
        };
        let mechanisms = rounds.into_iter().map(mechanism).collect::<Result<Vec<_>, Refusal>>()?;
        if mechanisms.is_empty() {
            return Err(Infeasible::Budget { rho: terms.rho, components: 0 }.into());
        }
        Ok(Self { parts, completed, spent, mechanisms, participants })
    }

    /// What each participant does.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// What is done by those whose customers are summed over.
    pub fn work(&self) -> &Work {
        self.parts.work()
    }

    /// Hash of what is done by those whose customers are summed over, whoever they are.
    pub fn plan_digest(&self) -> Digest {
        self.work().digest()
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
        self.parts.contributors()
    }

    /// What it tells of single partners.
    pub fn own_numbers(&self) -> OwnNumbers {
        self.parts.own_numbers()
    }

    /// Hash of the question: equal for the same question under any name or purpose.
    pub fn digest(&self) -> Digest {
        self.digest_of(&self.parts)
    }

    fn digest_of(&self, parts: &Parts) -> Digest {
        let Self { parts: _, completed, spent, mechanisms, participants } = self;
        Digest::of("entente question 3", &[&canonical_bytes(&(parts, *completed, *spent, mechanisms, participants))])
    }

    /// What answers are stored by: [`Self::digest`], but that a lookalike study's model is told by what it is and not by the
    /// study and the file that it came with. The same training asked again gives the same model in another file.
    ///
    /// Participants join by [`Self::digest`]: what is computed, is computed with the model that everybody was told of. By this
    /// one a node finds only bytes that it has sent before, under the transcript it sent them under, so whoever makes two
    /// questions agree in it gets nothing new.
    pub fn answer_key(&self) -> Digest {
        self.digest_of(&self.parts.unnamed())
    }
}
