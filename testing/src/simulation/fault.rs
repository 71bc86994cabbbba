//! What goes wrong, and when.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use crate::choices::Choices;

/// What goes wrong with a frame, or when one arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It is lost.
    Drop,
    /// It arrives late, and all behind it.
    Delay,
    /// It arrives twice.
    Duplicate,
    /// It arrives late, and those behind it in time.
    Reorder,
    /// A byte of it is changed.
    Corrupt,
    /// The connection is lost.
    Disconnect,
    /// The node is killed, and started again.
    Kill,
    /// The same while it hears the frame.
    KillWithin,
    /// The same, and writes are torn.
    KillTorn,
    /// The node is killed, and started again from an older state of its folder.
    PutBack,
    /// The node is killed, and started again when nobody waits for it any more, unless for its steward.
    KillForGood,
    /// The coordinator is killed, and started again.
    KillCoordinator,
    /// The same while it hears the frame.
    KillCoordinatorWithin,
    /// The same, and a write is torn.
    KillCoordinatorTorn,
    /// The node's clock is set to another time of day.
    Clock,
    /// The partner is revoked.
    Revoke,
    /// Another partner enrols.
    Enrol,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Drop,
        Self::Delay,
        Self::Duplicate,
        Self::Reorder,
        Self::Corrupt,
        Self::Disconnect,
        Self::Kill,
        Self::KillWithin,
        Self::KillTorn,
        Self::PutBack,
        Self::KillForGood,
        Self::KillCoordinator,
        Self::KillCoordinatorWithin,
        Self::KillCoordinatorTorn,
        Self::Clock,
        Self::Revoke,
        Self::Enrol,
    ];
}

/// When what goes wrong.
pub(super) struct Plan {
    faults: VecDeque<(u64, Fault)>,
    /// How many frames have arrived.
    arrived: u64,
}

impl Plan {
    /// At most a few faults among the first `frames` frames.
    pub(super) fn new(choices: &mut Choices, frames: usize) -> Self {
        let count = choices.one_of(&[0, 1, 1, 2, 2, 3, 5, 8]);
        let fault = |_| (choices.below(frames) as u64, choices.one_of(&Fault::ALL));
        let mut faults: Vec<(u64, Fault)> = (0..count).map(fault).collect();
        faults.sort_unstable();
        Self { faults: faults.into(), arrived: 0 }
    }

    /// A frame arrives: what goes wrong with it.
    pub(super) fn arrives(&mut self) -> Option<Fault> {
        self.arrived += 1;
        let (_, fault) = self.faults.pop_front_if(|(at, _)| *at < self.arrived)?;
        Some(fault)
    }

    /// This goes wrong so many frames later.
    pub(super) fn postpone(&mut self, fault: Fault, frames: usize) {
        self.faults.push_back((self.arrived + frames as u64, fault));
        self.faults.make_contiguous().sort_unstable();
    }

    /// Whether this is to go wrong some time.
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.faults.iter().any(|(_, other)| *other == fault)
    }

    /// From now on nothing goes wrong.
    pub(super) fn ends(&mut self) {
        self.faults.clear();
    }
}

/// Which faults were met in which stages of a study, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Met(pub BTreeMap<(String, Fault), u64>);

impl Met {
    pub(super) fn add(&mut self, stage: String, fault: Fault) {
        *self.0.entry((stage, fault)).or_default() += 1;
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(pair, count)| *self.0.entry(pair.clone()).or_default() += count);
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut stages: Vec<&str> = self.0.keys().map(|(stage, _)| stage.as_str()).collect();
        stages.dedup();
        write!(f, "{:22}", "")?;
        stages.iter().try_for_each(|stage| write!(f, " {stage:>10}"))?;
        for fault in Fault::ALL {
            write!(f, "\n{:22}", format!("{fault:?}"))?;
            for stage in &stages {
                let count = self.0.get(&((*stage).to_owned(), fault)).copied().unwrap_or_default();
                write!(f, " {count:>10}")?;
            }
        }
        Ok(())
    }
}
