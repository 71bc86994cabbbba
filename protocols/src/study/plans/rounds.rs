//! A model trained in rounds of sums over customers.

use crate::language::rows::RowsPlan;
use crate::learn::frame::FULL;
use crate::learn::training::Training;

/// The typed plan of a training over one data set.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct RoundsPlan {
    /// The features query.
    pub rows: RowsPlan,
    /// Which of its outputs is the target.
    pub target: Option<u32>,
    /// Which of its outputs says how much a customer counts, and whether of customers with the event alone.
    pub weight: Option<(u32, bool)>,
    /// Customers per million that are held out.
    pub holdout: u32,
    /// Another seed gives another choice of held-out customers.
    pub seed: u64,
    /// How the model is trained.
    pub training: Training,
}

impl RoundsPlan {
    /// How much customers count, by their codes of the weight and of the target; `None` where all count in full.
    pub fn weigher(&self) -> Option<Weigher> {
        let (position, events) = self.weight?;
        let values = &self.rows.outputs.get(position as usize)?.values;
        let (_, high) = values.bounds()?;
        let weight = |code: u16| {
            let share = values.number(code).map_or(0.0, |value| value / high);
            // Within 0 to FULL; of a plan that the planner did not make, whatever it is, the clipping step bounds what it does.
            (share.clamp(0.0, 1.0) * f64::from(FULL) + 0.5) as u16
        };
        Some(Weigher { table: (0..=u16::MAX).map(weight).collect(), events })
    }
}

/// From codes to weights in steps of 1/[`FULL`].
pub struct Weigher {
    /// By code.
    table: Vec<u16>,
    events: bool,
}

impl Weigher {
    /// The weights of some customers.
    pub fn weights(&self, codes: &[u16], target: &[u16]) -> Vec<u16> {
        let counts = |row: usize| !self.events || target.get(row) == Some(&2);
        let weight = |(row, code): (usize, &u16)| if counts(row) { self.table[usize::from(*code)] } else { FULL };
        codes.iter().enumerate().map(weight).collect()
    }
}
