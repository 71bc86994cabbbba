//! The study kind `train`: the rows of the features query are read once; every round sums over them.

use std::sync::Arc;

use entente_protocols::canonical::from_canonical;
use entente_protocols::digest::Digest;
use entente_protocols::learn::frame::{Contribute, Input, Place, Role};
use entente_protocols::learn::model::Recoding;
use entente_protocols::privacy::bounds::{Bounded, Layout};
use entente_protocols::privacy::sums::Sums;
use entente_protocols::study::train::{TrainPlan, Weigher};

use crate::data::{Customers, DataError, Dataset, Engine, Labels, Split};

/// The longest input of a round, as messages to nodes have it.
const MAX_INPUT: usize = 0x40_0000;

/// What the rounds of a training share.
pub struct Execution {
    place: Place,
    customers: Option<Customers>,
    /// How much they count, unless all count in full.
    weigher: Option<Weigher>,
    /// What the customers' codes have been changed by.
    recoding: Option<Recoding>,
}

/// A round whose input has been checked.
pub struct Ready {
    contribute: Box<dyn Contribute>,
    role: Role,
    /// Hash of the model that the round is told of.
    learnt: Digest,
    /// What the codes have to be changed by first.
    recode: Option<(Recoding, Vec<entente_protocols::privacy::rows::Column>)>,
}

impl Ready {
    /// Hash of the model that the round evaluates, if it evaluates one.
    pub fn evaluates(&self) -> Option<Digest> {
        (self.role == Role::HeldOut).then_some(self.learnt)
    }
}

impl Execution {
    /// Nothing is read yet.
    pub fn new(place: Place) -> Self {
        Self { place, customers: None, weigher: None, recoding: None }
    }

    /// Checks what a round is told.
    pub fn ready(&self, plan: &TrainPlan, round: u32, input: &[u8]) -> Result<Ready, String> {
        let input: Input = from_canonical(input, MAX_INPUT).map_err(|error| format!("the round's input: {error}"))?;
        let learnt = input.learnt();
        let index = round.saturating_sub(1) as usize;
        let contribute = plan.training.contributor(index, &input, self.place).map_err(|unfit| unfit.to_string())?;
        let releases = plan.training.releases(self.place.participants);
        let role = releases.get(index).map(|release| release.role).ok_or("the training has no such round")?;
        let recode = match (&self.recoding, input.recoding) {
            (None, None) => None,
            (Some(known), Some(told)) if *known == told => None,
            (None, Some(told)) => {
                let columns = told.columns(&plan.training.recipe);
                Some((told, columns))
            }
            (Some(_), _) => return Err("the coordinator changed the recoding of features in mid-training".into()),
        };
        Ok(Ready { contribute, role, learnt, recode })
    }

    /// Reads the customers, unless that is done.
    pub async fn read(&mut self, engine: &impl Engine, dataset: &Dataset, plan: &TrainPlan) -> Result<(), DataError> {
        if self.customers.is_none() {
            let target = plan.target.map(|target| target as usize);
            let weight = plan.weight.map(|(weight, _)| weight as usize);
            let split = Split { target, weight, holdout: plan.holdout, seed: plan.seed };
            self.customers = Some(engine.customers(dataset, &plan.rows, split).await?);
            self.weigher = plan.weigher();
        }
        Ok(())
    }

    /// The sums of a round over the customers that were read.
    pub fn compute(&mut self, ready: Ready, layout: Arc<Layout>) -> Result<Bounded, DataError> {
        let Ready { contribute, role, recode, .. } = ready;
        let customers = self.customers.as_mut().ok_or_else(|| DataError::opaque("the customers are not read"))?;
        if let Some((recoding, columns)) = recode {
            let tables: Vec<Vec<u16>> = (0..columns.len()).map(|feature| recoding.table(feature)).collect();
            customers.recode(columns.into(), &tables)?;
            self.recoding = Some(recoding);
        }
        let weigher = &self.weigher;
        let sums = customers.fold(
            role,
            || Sums::new(layout.clone()),
            |sums, block, Labels { target, weight, .. }| {
                let weights = weigher.as_ref().map(|weigher| weigher.weights(weight, target)).unwrap_or_default();
                contribute.add(block, target, &weights, sums);
            },
            |mut sums, other| {
                // Both were made for this layout.
                let merged = sums.merge(&other);
                debug_assert!(merged);
                sums
            },
        )?;
        Ok(sums.finish())
    }
}
