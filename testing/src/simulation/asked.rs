//! What is asked: tiny studies of every kind.

use entente_examples::alliance::Error;
use entente_protocols::kind::Kind;
use entente_protocols::study::file;
use entente_protocols::testing::{Draft, study};

use super::founding::NAMES;

const FEATURES: &str = "SELECT id, region, age, spend, churned FROM customers";

/// A kind of study, or a way to ask it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asked {
    /// One release.
    Counts,
    /// One release of sums of several columns.
    Sums,
    Linear,
    Logistic,
    Additive,
    Clusters,
    /// The first partner's model, which all have trained, scores the customers of the others.
    Lookalike,
    /// The same, of a model that the first partner trains alone, in a study that comes before.
    Seeds,
}

/// Without whom a study has no result.
pub(super) struct Needs {
    /// How many take part, the first ones of the alliance.
    pub(super) participants: usize,
    /// How many of these there must be at least.
    pub(super) least: usize,
    /// Whether the very first is one of them.
    pub(super) first: bool,
}

impl Asked {
    /// The ways to ask each kind, with how often each is asked: the quick ones more often, as what scoring computes takes longer than a
    /// hundred rounds.
    fn of(kind: Kind) -> &'static [(Self, usize)] {
        match kind {
            Kind::Query => &[(Self::Counts, 6), (Self::Sums, 4)],
            Kind::Train => &[(Self::Linear, 3), (Self::Logistic, 3), (Self::Additive, 3), (Self::Clusters, 3)],
            Kind::Lookalike => &[(Self::Lookalike, 1), (Self::Seeds, 1)],
        }
    }

    /// All ways to ask every kind, each as often as it is asked.
    pub(super) fn mix() -> Vec<Self> {
        let often = |(way, times): &(Self, usize)| std::iter::repeat_n(*way, *times);
        Kind::all().flat_map(Self::of).flat_map(often).collect()
    }

    fn draft(self, count: usize) -> Draft {
        let study = study("simulated").epsilon(4.0).delta(1e-6).wait_seconds(60).lost_attempts(4);
        let train = |model: &str| study.clone().train(model, FEATURES).with("target", "churned");
        match self {
            Self::Counts => study.sql("SELECT region, COUNT(*) AS n FROM customers GROUP BY region"),
            Self::Sums => study.sql("SELECT region, SUM(spend) AS s, AVG(age) AS a FROM customers GROUP BY region"),
            Self::Linear => study.train("linear", FEATURES).with("target", "spend"),
            Self::Logistic => train("logistic").with("rounds", 2),
            Self::Additive => train("additive").with("rounds", 3),
            Self::Clusters => {
                study.train("kmeans", "SELECT id, age, spend FROM customers").with("clusters", 2).with("rounds", 2)
            }
            Self::Lookalike | Self::Seeds => {
                let features = "SELECT id, region, age, spend FROM customers";
                let study =
                    study.lookalike(NAMES[0], &NAMES[1..self.participants(count)], features).with("candidates", 64);
                if self == Self::Seeds { study.with("seeds", "SELECT id FROM customers WHERE churned") } else { study }
            }
        }
    }

    /// Whether candidates are scored in it.
    pub(super) fn scores(self) -> bool {
        matches!(self, Self::Lookalike | Self::Seeds)
    }

    /// How many take part, of an alliance of so many.
    fn participants(self, count: usize) -> usize {
        if self.scores() { count.min(5) } else { count }
    }

    /// Without whom it has no result, in an alliance of so many, where it goes on while so many are left.
    pub(super) fn needs(self, count: usize, least: Option<u32>) -> Needs {
        let participants = self.participants(count);
        let least = least.map_or(participants, |least| least as usize);
        Needs { participants, least, first: self.scores() }
    }

    /// The study that trains its model, if one has before.
    pub(super) fn training(self, count: usize) -> Result<Option<file::Asked>, Error> {
        if self == Self::Lookalike { Self::Logistic.study(count, None, None).map(Some) } else { Ok(None) }
    }

    /// The study, of an alliance of so many, that goes on while so many are left; of this model, if it is of one.
    pub(super) fn study(self, count: usize, least: Option<u32>, model: Option<&[u8]>) -> Result<file::Asked, Error> {
        let draft = self.draft(count);
        let draft = least.map_or(draft.clone(), |least| draft.min_partners(least));
        Ok(match (self, model) {
            (Self::Seeds, _) => file::Asked::Seeded(Box::new(draft.build_seeded()?)),
            (_, Some(model)) => file::Asked::Study(Box::new(draft.build_with(model)?)),
            (_, None) => file::Asked::Study(Box::new(draft.build()?)),
        })
    }
}
