//! The study kind `lookalike`: one partner's model scores the customers of others, who see no model; the model's owner
//! sees no customer ([`crate::lookalike`]).
//!
//! ```text
//! [lookalike] of a study file + model file ─▶ LookalikeSpec ─(schema)─▶ LookalikePlan = features query + public model
//! ```
//!
//! What is released is the reach: how many candidates score at least so much, one bounded vector sum over the candidates'
//! owners. The model's owner contributes nothing to it, and is charged nothing.
//!
//! Where a study names seeds instead of a model, the model is trained first ([`seeds`]).

pub mod seeds;

use super::schema::DatasetSchema;
use super::train::rows::RowsPlan;
use crate::config::nearest;
use crate::identity::check_name;
use crate::learn::training::MILLION;
use crate::lookalike::model::PublicModel;
use crate::lookalike::params::Params;
use crate::privacy::bounds::{Component, Layout};
use crate::privacy::rho::Rho;
use crate::privacy::rows::UNIT;

/// What may be opened of a candidate's score.
pub const OUTPUTS: [&str; 1] = ["scores"];
/// The most candidates of one partner, unless the study says otherwise.
pub const CANDIDATES: u64 = 1_000_000;
/// Where there are several candidates' owners: the share of the budget that says how many candidates each has.
const OWNERS: u32 = 200_000;

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
    /// The most candidates of one partner.
    pub candidates: u64,
}

/// The typed plan of a lookalike study over one data set.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct LookalikePlan {
    /// The features query.
    pub rows: RowsPlan,
    /// What is public of the model.
    pub model: PublicModel,
    /// The partner that holds the model.
    pub seed_partner: String,
    /// The partners whose customers are scored, sorted.
    pub candidate_partners: Vec<String>,
    /// The most candidates of one partner.
    pub candidates: u64,
}

/// Why a lookalike study cannot be asked: what is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("[lookalike]: {0}")]
pub struct Refusal(pub String);

impl LookalikeSpec {
    /// Checks what the types alone cannot say.
    ///
    /// # Errors
    ///
    /// What is wrong, in words.
    pub fn validate(&self, partners: &[String]) -> Result<(), String> {
        check_parties(&self.seed_partner, &self.candidate_partners, partners)?;
        self.model.check().map_err(|problem| format!("`model`: {problem}"))
    }

    /// The seed partner, then the candidates' partners.
    pub fn participants(&self) -> Vec<String> {
        std::iter::once(&self.seed_partner).chain(&self.candidate_partners).cloned().collect()
    }

    /// The typed plan over a data set of this schema.
    ///
    /// # Errors
    ///
    /// The features query's refusal; features that are not the model's; or a model that does not fit the parameters.
    pub fn plan(&self, schema: &DatasetSchema) -> Result<LookalikePlan, super::Refusal> {
        let rows = super::query::sql::rows(&self.features, schema)?;
        let names: Vec<&str> = rows.outputs.iter().map(|output| output.name.as_str()).collect();
        for feature in &self.model.recipe.features {
            let name = &feature.name;
            let Some(output) = rows.outputs.iter().find(|output| output.name == *name) else {
                let near = nearest(name, names.iter().copied());
                let near = near.map_or_else(String::new, |near| format!("; `{near}` is near it"));
                return Err(Refusal(format!("the model's feature `{name}` is not selected by `features`{near}")).into());
            };
            if output.values != feature.values {
                return Err(Refusal(format!(
                    "`{name}` has other bounds or categories in data set `{}` than in the model; they must be declared as they were when it was trained",
                    schema.name
                ))
                .into());
            }
        }
        if let Some(more) = rows
            .outputs
            .iter()
            .find(|output| !self.model.recipe.features.iter().any(|feature| feature.name == output.name))
        {
            return Err(Refusal(format!(
                "`features` selects `{}`, which the model does not know; leave it out",
                more.name
            ))
            .into());
        }
        // In the order of the model, whatever that of the SELECT list.
        let mut rows = rows;
        let position = |name: &str| self.model.recipe.features.iter().position(|feature| feature.name == name);
        rows.outputs.sort_by_key(|output| position(&output.name));
        let mut candidate_partners = self.candidate_partners.clone();
        candidate_partners.sort();
        let plan = LookalikePlan {
            rows,
            model: self.model.clone(),
            seed_partner: self.seed_partner.clone(),
            candidate_partners,
            candidates: self.candidates,
        };
        plan.params().map_err(|infeasible| Refusal(format!("the model cannot be scored blindly: {infeasible}")))?;
        Ok(plan)
    }
}

impl LookalikePlan {
    /// The parameters of the encryption, which every node computes by itself.
    ///
    /// # Errors
    ///
    /// If none fit.
    pub fn params(&self) -> Result<Params, crate::lookalike::params::Infeasible> {
        self.model.params(self.candidates)
    }

    /// Cells of the reach: below the first threshold, from each threshold to the next, and from the last.
    pub fn cells(&self) -> usize {
        self.model.shares.len() + 1
    }

    /// How the one released vector is laid out and bounded, with what each component may cost of `rho`: a candidate
    /// counts in the cell of its score, and, where there are several owners, in that of its owner.
    pub(super) fn round(&self, rho: Rho) -> (Layout, Vec<Rho>) {
        let cells = |cells: usize| Component::Cells { cells: cells as u64, touches: 1, per_cell: UNIT as u64 };
        if self.candidate_partners.len() < 2 {
            return (Layout::sums(vec![cells(self.cells())]), vec![rho]);
        }
        let part = |share: u32| {
            let part = u128::from(rho.micro()) * u128::from(share) / u128::from(MILLION);
            Rho::from_micro(u64::try_from(part).unwrap_or(u64::MAX))
        };
        let components = vec![cells(self.cells()), cells(self.candidate_partners.len())];
        (Layout::sums(components), vec![part(MILLION - OWNERS), part(OWNERS)])
    }
}

/// Checks who takes part in a lookalike study whose `partners` are these.
fn check_parties(seed_partner: &str, candidate_partners: &[String], partners: &[String]) -> Result<(), String> {
    check_name(seed_partner).map_err(|error| format!("`seed_partner`: {error}"))?;
    if candidate_partners.is_empty() {
        return Err("`candidate_partners` names nobody; name the partners whose customers are to be scored".into());
    }
    for (i, partner) in candidate_partners.iter().enumerate() {
        check_name(partner).map_err(|error| format!("`candidate_partners`: {error}"))?;
        if candidate_partners[..i].contains(partner) {
            return Err(format!("`candidate_partners` names `{partner}` twice"));
        }
        if partner == seed_partner {
            return Err(format!("`{partner}` is both `seed_partner` and among `candidate_partners`"));
        }
    }
    let mut all: Vec<&str> = candidate_partners.iter().map(String::as_str).chain([seed_partner]).collect();
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
    use crate::learn::file::ScoreShare;
    use crate::learn::recipe::{Feature, Recipe, Values};
    use crate::privacy::mechanism::Scope;
    use crate::study::schema::ColumnType;
    use crate::study::{Question, Study, StudySpec, Terms};

    fn schema() -> DatasetSchema {
        DatasetSchema {
            name: "customers".into(),
            privacy_unit: "id".into(),
            columns: [
                ("age".into(), ColumnType::Int { min: Some(18), max: Some(95) }),
                ("active".into(), ColumnType::Bool),
                ("other".into(), ColumnType::Bool),
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
            candidates: CANDIDATES,
        }
    }

    fn study(spec: LookalikeSpec) -> Study {
        let rho = Rho::within(1.0, 1e-6).unwrap();
        Study {
            name: "n".into(),
            purpose: "p".into(),
            legal_basis: None,
            partners: spec.participants(),
            min_partners: None,
            wait: 60,
            privacy: Terms { epsilon: 1.0, delta: 1e-6, rho, scope: Scope::Customer, colluders: None },
            spec: StudySpec::Lookalike(Box::new(spec)),
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
        let cases: [(Change, &str); 8] = [
            (|spec| spec.features = "SELECT id, age FROM customers".into(), "`active` is not selected"),
            (|spec| spec.features = "SELECT id, age, active, other FROM customers".into(), "`other`, which the model"),
            (
                |spec| spec.features = "SELECT id, age + 1 AS age, active FROM customers".into(),
                "`age` has other bounds",
            ),
            (|spec| spec.features = "SELECT id, agee AS age, active FROM customers".into(), "agee"),
            (|spec| spec.candidate_partners.clear(), "names nobody"),
            (|spec| spec.candidate_partners.push("retailer".into()), "both"),
            (|spec| spec.candidates = 1 << 40, "blocks"),
            (|spec| spec.model.shares.clear(), "`holdout`"),
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
