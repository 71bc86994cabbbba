//! Rounds: the rows of the features query are read once; every round sums over them.

use std::sync::Arc;

use entente_host::locks::lock;
use entente_protocols::canonical::from_canonical;
use entente_protocols::digest::Digest;
use entente_protocols::learn::file::ModelFile;
use entente_protocols::learn::frame::{Contribute, Input, Place, Role};
use entente_protocols::learn::model::Recoding;
use entente_protocols::privacy::bounds::{Bounded, Layout};
use entente_protocols::privacy::sums::Sums;
use entente_protocols::study::plans::rounds::{RoundsPlan, Weigher};

use super::execution::{self, Computed, End, Keep, Means, Own, Problem};
use crate::data::{Customers, DataError, Dataset, Engine, Labels, Split};
use crate::store::StoredModel;

/// The model's name in result folders.
const MODEL: &str = "model.json";
/// The longest input of a round, as messages to nodes have it.
const MAX_INPUT: usize = 0x40_0000;

/// What the rounds of a training share.
pub struct Execution {
    plan: Arc<RoundsPlan>,
    place: Place,
    customers: Option<Customers>,
    /// How much they count, unless all count in full.
    weigher: Option<Weigher>,
    /// What the customers' codes have been changed by.
    recoding: Option<Recoding>,
    /// The round that is next.
    next: Option<Ready>,
}

/// A round whose input has been checked.
struct Ready {
    contribute: Box<dyn Contribute>,
    role: Role,
    /// What the codes have to be changed by first.
    recode: Option<(Recoding, Vec<entente_protocols::privacy::rows::Column>)>,
}

impl Execution {
    /// Of this plan; nothing is read yet.
    pub fn new(plan: Arc<RoundsPlan>, place: Place) -> Self {
        Self { plan, place, customers: None, weigher: None, recoding: None, next: None }
    }
}

impl execution::Execution for Execution {
    fn ready(&mut self, round: u32, input: &[u8]) -> Result<Option<Digest>, String> {
        let plan = &self.plan;
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
        self.next = Some(Ready { contribute, role, recode });
        Ok((role == Role::HeldOut).then_some(learnt))
    }

    fn compute(&mut self, means: &Means<'_>, dataset: &Dataset, layout: Layout) -> Result<Computed, Problem> {
        tokio::runtime::Handle::current().block_on(self.read(means.own.engine, dataset))?;
        let bounded = self.sums(Arc::new(layout))?;
        Ok(Computed { bounded, keeps: None })
    }
}

/// The model that the rounds of a plan led to, as the end of the attempt has it: if it is the receipt's, of the plan, and the one that
/// the last round has evaluated. A training without an evaluation shows its nodes no last model: what it learnt is then what the
/// coordinator says.
///
/// # Errors
///
/// What tells that it is not.
pub fn learnt(plan: &RoundsPlan, end: &End<'_>, own: Own<'_>) -> Result<Keep, String> {
    let End { id, statement, model: bytes, .. } = end;
    if statement.files.get(MODEL) != Some(&Digest::plain(bytes)) {
        return Err("it is not the file that the receipt names".into());
    }
    let file = ModelFile::parse(bytes).map_err(|error| error.to_string())?;
    let (subject, study) = (&statement.subject, &file.study);
    let is_of_study = (&study.id, study.plan_sha256) == (&id.study, end.plan)
        && file.transcript_sha256 == end.transcript
        && file.receipt_sha256 == Some(subject.digest())
        && (&study.name, &study.purpose, &file.participants)
            == (&subject.name, &subject.purpose, &subject.participants);
    if !is_of_study {
        return Err("it says that another study trained it".into());
    }
    if (&file.model.recipe, &file.model.target) != (&plan.training.recipe, &plan.training.target) {
        return Err("it has other features or another target than the study's plan".into());
    }
    let evaluated = lock(own.studies).evaluated(end.transcript).map_err(|error| error.to_string())?;
    if plan.training.evaluation.is_some() && evaluated != Some(file.model.learnt()) {
        return Err("it is not the model that the last round evaluated".into());
    }
    let source = format!("study {}, with result {}", id.study, end.result);
    Ok(Keep::Model(StoredModel::new(&id.study, &subject.name, &source, &file, bytes, end.now.clone())))
}

/// Keeps a model among this node's.
pub fn keep(model: &StoredModel, own: Own<'_>) -> Result<(), Problem> {
    lock(own.studies).put_model(model).map_err(|error| Problem::Failed(error.to_string()))
}

impl Execution {
    /// Reads the customers, unless that is done.
    async fn read(&mut self, engine: &Engine, dataset: &Dataset) -> Result<(), DataError> {
        let plan = &self.plan;
        if self.customers.is_none() {
            let target = plan.target.map(|target| target as usize);
            let weight = plan.weight.map(|(weight, _)| weight as usize);
            let split = Split { target, weight, holdout: plan.holdout, seed: plan.seed };
            self.customers = Some(engine.customers(dataset, &plan.rows, split).await?);
            self.weigher = plan.weigher();
        }
        Ok(())
    }

    /// The sums of the next round over the customers that were read.
    fn sums(&mut self, layout: Arc<Layout>) -> Result<Bounded, DataError> {
        let next = self.next.take().ok_or_else(|| DataError::opaque("no round is ready"))?;
        let Ready { contribute, role, recode } = next;
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
