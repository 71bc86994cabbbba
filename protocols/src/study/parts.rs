//! Parts: what each participant does in a study.
//!
//! ```text
//! StudySpec ─(participants, the public schema of each one's data set, ρ)─▶ Parts
//! Part = participant + work + whether it is charged + what it learns + with whom it talks
//! ```
//!
//! Study kinds are many, works are few. A kind says which participant does which work; nodes know works alone, so that a kind that
//! only makes something else of released sums changes nothing at them. Everybody plans all parts from the same public facts; they
//! are in the question whose hash is in every pledge, so that nobody does a part of another question.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::own_numbers::OwnNumbers;
use super::plans::rounds::RoundsPlan;
use super::plans::score::{ScorePlan, Scoring};
use super::refusal::Refusal;
use crate::canonical::canonical_bytes;
use crate::digest::Digest;
use crate::language::expr::Expr;
use crate::language::rows::RowsPlan;
use crate::language::schema::{ColumnType, DatasetSchema};
use crate::language::sums::SumsPlan;
use crate::learn::frame::Release;
use crate::privacy::bounds::Layout;
use crate::privacy::rho::{MILLION, Rho};

/// Public schemas of the participants' data sets: of each the one that the study is about.
pub trait Schemas {
    /// That of this participant; `None` if it has none.
    fn of(&self, participant: &str) -> Option<&DatasetSchema>;
}

/// Everybody's data set is declared as this one is.
impl Schemas for DatasetSchema {
    fn of(&self, _: &str) -> Option<&DatasetSchema> {
        Some(self)
    }
}

/// That of each participant which is named.
impl Schemas for BTreeMap<String, DatasetSchema> {
    fn of(&self, participant: &str) -> Option<&DatasetSchema> {
        self.get(participant)
    }
}

/// What one participant does in a study.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The participant.
    pub participant: &'a str,
    /// What it does.
    pub work: &'a Work,
    /// Whether its customers are summed over: then it sends a vector each round, and its ledger is charged.
    pub charged: bool,
    /// What it learns besides the hash of the result.
    pub learns: Learns,
    /// Whom it talks to, through the coordinator and sealed from it.
    pub dialogues: &'a [Dialogue],
}

/// The same as it is planned.
pub(super) struct Planned {
    pub(super) participant: String,
    pub(super) work: Work,
    pub(super) charged: bool,
    pub(super) learns: Learns,
    pub(super) dialogues: Vec<Dialogue>,
}

/// What a participant receives of what is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode)]
pub enum Learns {
    /// Nothing.
    Nothing,
    /// What came of each round, as the next one goes on from it, and the model at the end.
    Rounds,
}

/// Two participants who talk.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode)]
pub struct Dialogue {
    /// The other one.
    pub with: String,
    /// Which side this participant is.
    pub side: Side,
}

/// A side of a dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode)]
pub enum Side {
    /// Speaks first, and says again what is not answered.
    Asks,
    /// Answers, as long as the attempt goes on: the same message with the same bytes.
    Answers,
}

/// What a participant does. Participants who do the same share the plan.
#[derive(Clone, Debug, PartialEq, bincode::Encode)]
pub enum Work {
    /// Sums over its customers' rows, in one release.
    Sums(Arc<SumsPlan>),
    /// Sums over its customers in rounds, each of which has what came of those before as its input.
    Rounds(Arc<RoundsPlan>),
    /// Scores its customers by a model, and counts them by score.
    Score(Arc<ScorePlan>),
    /// Holds the model by which others score their customers, and brings none of its own.
    Hold(Arc<Scoring>),
}

/// What a work reads of its participant's data set.
#[derive(Clone, Copy, Debug)]
pub struct Reads<'a> {
    /// The data set's name.
    pub dataset: &'a str,
    /// The column that is one customer.
    pub privacy_unit: &'a str,
    /// The columns, with the types and bounds that are relied on.
    pub columns: &'a [(String, ColumnType)],
    /// Where this is true, rows are kept.
    pub filter: Option<&'a Expr>,
}

impl<'a> Reads<'a> {
    fn of(RowsPlan { dataset, privacy_unit, columns, filter, .. }: &'a RowsPlan) -> Self {
        Reads { dataset, privacy_unit, columns, filter: filter.as_ref() }
    }
}

impl Work {
    /// What it reads; `None` if it reads no data set.
    pub fn reads(&self) -> Option<Reads<'_>> {
        Some(match self {
            Self::Sums(plan) => Reads {
                dataset: &plan.dataset,
                privacy_unit: &plan.privacy_unit,
                columns: &plan.columns,
                filter: plan.filter.as_ref(),
            },
            Self::Rounds(plan) => Reads::of(&plan.rows),
            Self::Score(plan) => Reads::of(&plan.rows),
            Self::Hold(_) => return None,
        })
    }

    /// How many nodes its expressions have, all of which are computed on every row.
    pub fn nodes(&self) -> u64 {
        let of_rows = |plan: &RowsPlan| {
            plan.filter.iter().chain(plan.outputs.iter().map(|output| &output.expr)).map(Expr::nodes).sum()
        };
        match self {
            Self::Sums(plan) => plan.exprs().map(Expr::nodes).sum(),
            Self::Rounds(plan) => of_rows(&plan.rows),
            Self::Score(plan) => of_rows(&plan.rows),
            Self::Hold(_) => 0,
        }
    }

    /// Whether it is one plan, not only an equal one.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sums(one), Self::Sums(other)) => Arc::ptr_eq(one, other),
            (Self::Rounds(one), Self::Rounds(other)) => Arc::ptr_eq(one, other),
            (Self::Score(one), Self::Score(other)) => Arc::ptr_eq(one, other),
            (Self::Hold(one), Self::Hold(other)) => Arc::ptr_eq(one, other),
            (Self::Sums(_) | Self::Rounds(_) | Self::Score(_) | Self::Hold(_), _) => false,
        }
    }

    /// Hash of the plan, whoever takes part.
    pub fn digest(&self) -> Digest {
        Digest::of("entente plan 3", &[&canonical_bytes(self)])
    }

    /// The rounds in order: how the vector that each of so many contributors releases is laid out and bounded, and what each of its
    /// components may cost of `rho`.
    fn rounds(&self, contributors: usize, rho: Rho) -> Vec<(Layout, Vec<Rho>)> {
        match self {
            Self::Sums(plan) => {
                let layout = plan.layout();
                let components = layout.components().len();
                let each = rho.micro().checked_div(components as u64).unwrap_or(0);
                vec![(layout, vec![Rho::from_micro(each); components])]
            }
            Self::Rounds(plan) => {
                let budget = |share: u32| {
                    let part = u128::from(rho.micro()) * u128::from(share.min(MILLION)) / u128::from(MILLION);
                    Rho::from_micro(u64::try_from(part).unwrap_or(u64::MAX))
                };
                let releases = plan.training.releases(contributors).into_iter();
                let round = |release: Release| {
                    let budgets = release.components.iter().map(|(_, share)| budget(*share)).collect();
                    (release.layout(), budgets)
                };
                releases.map(round).collect()
            }
            Self::Score(plan) => vec![plan.round(rho)],
            Self::Hold(_) => Vec::new(),
        }
    }

    /// What its sums over these contributors tell of single ones.
    fn own_numbers(&self, contributors: Vec<String>) -> OwnNumbers {
        let each =
            |plan: &RoundsPlan| plan.training.evaluation.as_ref().is_some_and(|evaluation| evaluation.per_partner);
        match self {
            Self::Rounds(plan) if each(plan) => return OwnNumbers::Evaluated(contributors),
            Self::Sums(_) | Self::Rounds(_) | Self::Score(_) | Self::Hold(_) => {}
        }
        match (self, <[String; 1]>::try_from(contributors)) {
            (_, Ok([alone])) => OwnNumbers::Alone(alone),
            (Self::Score(_) | Self::Hold(_), Err(several)) => OwnNumbers::Candidates(several),
            (Self::Sums(_) | Self::Rounds(_), Err(_)) => OwnNumbers::None,
        }
    }

    /// The same, but that sums are not told by how they are shown, and a model by what it is and not by the study and the file that
    /// it came with.
    fn unnamed(&self) -> Self {
        let unnamed = |scoring: &Scoring| Scoring { model: scoring.model.unnamed(), ..scoring.clone() };
        match self {
            Self::Sums(plan) => Self::Sums(Arc::new(plan.unnamed())),
            Self::Rounds(_) => self.clone(),
            Self::Score(plan) => {
                Self::Score(Arc::new(ScorePlan { scoring: unnamed(&plan.scoring), ..ScorePlan::clone(plan) }))
            }
            Self::Hold(scoring) => Self::Hold(Arc::new(unnamed(scoring))),
        }
    }
}

impl Part<'_> {
    /// Whether it answers others, beside what it does itself.
    pub fn answers(&self) -> bool {
        self.dialogues.iter().any(|dialogue| dialogue.side == Side::Answers)
    }
}

/// The parts of a study, by participant. Works are there once, however many do the same: a plan may be long, and is hashed.
#[derive(Clone, Debug, PartialEq, bincode::Encode)]
pub struct Parts {
    works: Vec<Work>,
    parts: Vec<Entry>,
}

/// A part, with its work's place among the works.
#[derive(Clone, Debug, PartialEq, bincode::Encode)]
struct Entry {
    participant: String,
    work: u32,
    charged: bool,
    learns: Learns,
    dialogues: Vec<Dialogue>,
}

impl Parts {
    /// These parts, each of another participant.
    pub(super) fn new(mut planned: Vec<Planned>) -> Self {
        planned.sort_by(|one, other| one.participant.cmp(&other.participant));
        let mut works: Vec<Work> = Vec::new();
        let mut place = |work: Work| {
            let known = works.iter().position(|known| known.is_same(&work));
            known.unwrap_or_else(|| {
                works.push(work);
                works.len() - 1
            }) as u32
        };
        let entry = |Planned { participant, work, charged, learns, dialogues }| Entry {
            participant,
            work: place(work),
            charged,
            learns,
            dialogues,
        };
        let parts = planned.into_iter().map(entry).collect();
        Self { works, parts }
    }

    /// All do the same with their own customers, and talk to nobody.
    pub(super) fn of_all(participants: &[String], work: Work, learns: Learns) -> Self {
        let part = |participant: &String| Planned {
            participant: participant.clone(),
            work: work.clone(),
            charged: true,
            learns,
            dialogues: Vec::new(),
        };
        Self::new(participants.iter().map(part).collect())
    }

    /// All of them, by the names of their participants.
    pub fn iter(&self) -> impl Iterator<Item = Part<'_>> {
        self.parts.iter().map(|Entry { participant, work, charged, learns, dialogues }| Part {
            participant,
            // `new` gives each the place of one of them.
            work: &self.works[*work as usize],
            charged: *charged,
            learns: *learns,
            dialogues,
        })
    }

    /// That of this participant.
    pub fn of(&self, participant: &str) -> Option<Part<'_>> {
        self.iter().find(|part| part.participant == participant)
    }

    /// What is done by the first of those whose customers are summed over, or by the first one where nobody's are.
    pub fn work(&self) -> &Work {
        let contributor = self.iter().find(|part| part.charged).or(self.iter().next());
        // `Question::new` makes none without participants.
        contributor.expect("a study has participants").work
    }

    /// Those whose customers are summed over, sorted.
    pub fn contributors(&self) -> Vec<String> {
        self.iter().filter(|part| part.charged).map(|part| part.participant.to_owned()).collect()
    }

    pub(super) fn rounds(&self, rho: Rho) -> Vec<(Layout, Vec<Rho>)> {
        self.work().rounds(self.contributors().len(), rho)
    }

    pub(super) fn own_numbers(&self) -> OwnNumbers {
        self.work().own_numbers(self.contributors())
    }

    pub(super) fn unnamed(&self) -> Self {
        Self { works: self.works.iter().map(Work::unnamed).collect(), parts: self.parts.clone() }
    }
}

/// The one work of these participants, planned from the schema of each, which must come to the same: their sums are added.
pub(super) fn alike(
    participants: &[String],
    schemas: &impl Schemas,
    dataset: &str,
    plan: impl Fn(&DatasetSchema) -> Result<Work, Refusal>,
) -> Result<Work, Refusal> {
    let mut first: Option<(&str, &DatasetSchema, Work)> = None;
    // Others that were found to come to the same: many may be declared alike, and planning takes a while.
    let mut alike: Vec<&DatasetSchema> = Vec::new();
    for participant in participants {
        let lacks = || Refusal::NoData { participant: participant.clone(), dataset: dataset.into() };
        let schema = schemas.of(participant).ok_or_else(lacks)?;
        let Some((example, reference, work)) = &first else {
            first = Some((participant, schema, plan(schema)?));
            continue;
        };
        if *reference == schema || alike.contains(&schema) {
            continue;
        }
        if let Some(difference) = difference(work, (example, reference), (participant, schema)) {
            return Err(Refusal::Differs(difference));
        }
        let theirs = plan(schema).map_err(|refusal| Refusal::Differs(format!("at `{participant}`: {refusal}")))?;
        if theirs != *work {
            return Err(Refusal::Differs(format!(
                "the schema of data set `{dataset}` at `{participant}` gives another plan than at `{example}`; compare them: entente partners"
            )));
        }
        alike.push(schema);
    }
    first
        .map(|(_, _, work)| work)
        .ok_or_else(|| Refusal::Differs("nobody takes part whose customers could be summed over".into()))
}

/// The first declaration that a work relies on and that differs.
fn difference(
    work: &Work,
    (example, reference): (&str, &DatasetSchema),
    (participant, schema): (&str, &DatasetSchema),
) -> Option<String> {
    let dataset = &schema.name;
    if reference.privacy_unit != schema.privacy_unit {
        return Some(format!(
            "data set `{dataset}` has the privacy unit `{}` at `{example}`, but `{}` at `{participant}`; agree on one name",
            reference.privacy_unit, schema.privacy_unit
        ));
    }
    for (column, _) in work.reads()?.columns {
        let (at_example, at_participant) = (reference.columns.get(column), schema.columns.get(column));
        if at_example != at_participant {
            return Some(format!(
                "column `{column}` of data set `{dataset}` is declared as {} at `{example}`, but {} at `{participant}`; agree on one declaration",
                declaration(at_example),
                declaration(at_participant)
            ));
        }
    }
    None
}

/// A declaration as node.toml has it.
fn declaration(column: Option<&ColumnType>) -> String {
    let Some(column) = column else { return "nothing".into() };
    let text = toml::Value::try_from(column).map_or_else(|_| column.to_string(), |value| value.to_string());
    if text.chars().count() > 400 { text.chars().take(400).chain(['…']).collect() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::Question;
    use crate::testing;

    fn schema(change: impl Fn(&mut DatasetSchema)) -> DatasetSchema {
        let region = ColumnType::Category { values: vec!["north".into(), "south".into()] };
        let age = ColumnType::Int { min: Some(18), max: Some(95) };
        let mut schema = DatasetSchema {
            name: "customers".into(),
            privacy_unit: "id".into(),
            columns: [("region".into(), region), ("age".into(), age), ("other".into(), ColumnType::Bool)].into(),
        };
        change(&mut schema);
        schema
    }

    fn asked(change: impl Fn(&mut DatasetSchema)) -> Result<Question, Refusal> {
        let study =
            testing::study("n").query("SELECT region, AVG(age) AS age FROM customers GROUP BY region").build().unwrap();
        let schemas = BTreeMap::from([("bank".to_owned(), schema(|_| ())), ("telecom".to_owned(), schema(change))]);
        Question::new(&study, &schemas, &["bank".into(), "telecom".into()], 0)
    }

    #[test]
    fn a_difference_names_the_partner_the_column_and_both_declarations() {
        assert!(asked(|_| ()).is_ok());
        assert!(asked(|schema| drop(schema.columns.remove("other"))).is_ok(), "what the plan does not use may differ");
        type Change = fn(&mut DatasetSchema);
        let cases: [(Change, &[&str]); 3] = [
            (|s| s.privacy_unit = "key".into(), &["privacy unit `id` at `bank`", "`key` at `telecom`"]),
            (|s| drop(s.columns.remove("age")), &["column `age`", "nothing at `telecom`"]),
            (
                |s| drop(s.columns.insert("age".into(), ColumnType::Int { min: Some(0), max: Some(95) })),
                &["column `age`", "min = 18", "min = 0", "`telecom`"],
            ),
        ];
        for (change, expected) in cases {
            let problem = asked(change).unwrap_err().to_string();
            for part in expected {
                assert!(problem.contains(part), "{problem} lacks {part}");
            }
        }
    }

    #[test]
    fn who_has_no_data_set_is_named() {
        let study = testing::study("n").query("SELECT COUNT(*) AS n FROM customers").build().unwrap();
        let schemas = BTreeMap::from([("bank".to_owned(), schema(|_| ()))]);
        let refusal = Question::new(&study, &schemas, &["bank".into(), "telecom".into()], 0).unwrap_err();
        assert!(refusal.to_string().contains("`telecom` has no data set `customers`"), "{refusal}");
    }

    /// Whoever proposes a study to a thousand does not make everybody hash its plan a thousand times.
    #[test]
    fn a_plan_is_there_once_however_many_do_the_same() {
        let study =
            testing::study("n").query("SELECT region, COUNT(*) AS n FROM customers GROUP BY region").build().unwrap();
        let length = |count: usize| {
            let names: Vec<String> = (0..count).map(|number| format!("p{number:03}")).collect();
            let question = Question::new(&study, &schema(|_| ()), &names, 0).unwrap();
            crate::canonical::canonical_bytes(question.parts()).len()
        };
        let (few, many) = (length(2), length(900));
        assert!(many < few + 900 * 40, "{few} bytes for two, {many} for 900");
    }
}
