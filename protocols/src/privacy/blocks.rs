//! Blocks of time: accounts by the year in which what a row tells of has happened, so that a budget lasts for more than one.
//!
//! **Setting.** A data set may name its *event column*: a date that is fixed once a row is there. A row is of the year of that
//! date, as it is stored. What years there are is public: those of the column's declared range. Rows without a date, or with one
//! outside of that range, count in no study at all, so that none moves from one year to another when the range is changed.
//! Neighbours are tables that differ in one customer with *all* of its rows; Y is the set of years in which that customer has rows,
//! or ever had any.
//!
//! **Accounts.** A population has one account for all time, with T spent, and one for each year y, with S(y) spent. A study says
//! with its plan, which is public, which years B it can touch ([`crate::language::event`]); rows of other years do not count in it,
//! whatever its conditions are on them. A release of ρ is charged to S(y) of each y in B; where B is not restricted, or a data
//! set has no event column, to T. The filter admits it only if T + S(y) stays within the cap of y, for each y in B; charged to T,
//! for every year, those of which nothing was ever spent included.
//!
//! **Theorem.** Whatever is asked, each study chosen by what came of those before, all releases together are ρ-zCDP with
//! ρ = T + Σ S(y) over Y, which is at most the sum of the caps over Y: one cap for a customer whose rows are all of one year.
//!
//! *Proof.* Fix two neighbours. Of the i-th release, the cost ρ(i) and the years B(i) are functions of what was released before. If
//! B(i) and Y have no year in common, no row that counts is in one table alone, and the release has one distribution over both: it
//! is 0-zCDP between them. Otherwise it is ρ(i)-zCDP, as the customer's rows that count, in however many years of B(i), are one
//! contribution that is clipped as a whole ([`super::bounds`], [`super::rows`]). So along every course of events the losses between the two
//! sum to at most Σ ρ(i) over the releases that meet Y. Each of these was charged to T, or to S(y) of at least one y in Y: the sum is at
//! most T + Σ S(y) over Y, and by the filter at most Σ (T + S(y)) ≤ Σ cap(y). Losses that are so bounded along every course
//! compose, adaptively, to zCDP of the bound (Whitehouse, Ramdas, Rogers, Wu 2023, Theorem 1; filters are due to Rogers, Roth, Ullman, Vadhan 2016;
//! that releases which do not touch somebody cost them nothing, to Feldman and Zrnic 2021). ∎
//!
//! It is the block composition of Lécuyer, Spahn, Vodrahalli, Geambasu, Hsu (SOSP 2019) with customers as units, who may have rows in
//! several blocks: their sum over all time is therefore stated wherever a year's ε is. T + Σ S(y) over *all* years bounds what anybody
//! has lost. It counts a study over two years twice, and so says too much rather than too little.
//!
//! **What it needs.** The date of a row does not change: where one is corrected, the row has been in both years, and Y has both. The
//! event column of a data set does not change either; the ledger refuses another one. What is not a release tells nothing: that data
//! changed at all can be told from stored answers, whatever year they are of.
//!
//! **What it does not say.** If two tables differ only in a customer's rows of *one* year y, while others stay, a study of y alone costs ρ
//! between them. A study over several years can cost up to 4ρ: the customer's clipped vector moves by at most twice the bound Δ, where
//! adding the whole customer moves it by Δ, and ρ grows with the square.

/// Years in a row, one at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Years {
    first: i16,
    last: i16,
}

impl Years {
    /// From `first` to `last`; `None` where there is no year from one to the other.
    pub fn new(first: i16, last: i16) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// One by one.
    pub fn iter(self) -> impl Iterator<Item = i16> {
        self.first..=self.last
    }

    /// How many there are.
    pub fn count(self) -> u64 {
        self.iter().count() as u64
    }

    /// The first one.
    pub fn first(self) -> i16 {
        self.first
    }

    /// The last one.
    pub fn last(self) -> i16 {
        self.last
    }
}

/// What releases over a data set with an event column are charged to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByYear {
    /// The event column.
    pub event: String,
    /// The years of the rows that count; `None` where they may be of all time.
    pub years: Option<Years>,
}
