//! The study kind `lookalike`: one partner's model scores the customers of others, who see no model; the model's owner
//! sees no customer ([`crate::lookalike`]).
//!
//! ```text
//! [lookalike] of a study file + model file ─▶ LookalikeSpec ─(schema)─▶ LookalikePlan = features query + public model
//! ```
//!
//! What is released is the reach: how many candidates score at least so much, one bounded vector sum over the candidates'
//! owners. The model's owner contributes nothing to it, and is charged nothing.

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
        check_name(&self.seed_partner).map_err(|error| format!("`seed_partner`: {error}"))?;
        if self.candidate_partners.is_empty() {
            return Err("`candidate_partners` names nobody; name the partners whose customers are to be scored".into());
        }
        for (i, partner) in self.candidate_partners.iter().enumerate() {
            check_name(partner).map_err(|error| format!("`candidate_partners`: {error}"))?;
            if self.candidate_partners[..i].contains(partner) {
                return Err(format!("`candidate_partners` names `{partner}` twice"));
            }
            if *partner == self.seed_partner {
                return Err(format!("`{partner}` is both `seed_partner` and among `candidate_partners`"));
            }
        }
        let mut all = self.participants();
        let mut named = partners.to_vec();
        all.sort();
        named.sort();
        if all != named {
            return Err(
                "`partners` are not the seed partner and the candidates' partners; leave it out of a lookalike study"
                    .into(),
            );
        }
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

/// What is said of an output that does not exist.
pub(super) fn unknown_output(output: &str) -> String {
    let near =
        nearest(output, OUTPUTS.into_iter()).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    format!("there is no output `{output}` in this version, which has: {}{near}", OUTPUTS.join(", "))
}
