//! What officers record: notes, holds, caps, recoveries, and witnesses that are away. Entries of the same chain as charges, checked like
//! them.
//!
//! What makes the node stricter (a hold, a lower cap, a witness that is back) takes one officer and holds at once. What takes something
//! back (a higher cap, a recovery, a witness that is away) takes two: one proposes, which is an entry, and another one does it, by an
//! entry that names the proposal. No cap changes by time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::absence::Absence;
use super::account::{AccountKey, Spent};
use super::checkpoint::{Checkpoint, Totals};
use super::rules::Rules;
use crate::identity::PublicIdentity;
use crate::kind::Kind;
use crate::privacy::rho::Rho;

/// A note about an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The sequence of the entry.
    pub about: u64,
    /// Who says it.
    pub officer: String,
    /// What.
    pub text: String,
}

/// What can be paused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// A data set.
    Dataset(String),
    /// A study kind.
    Kind(Kind),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dataset(name) => write!(f, "data set `{name}`"),
            Self::Kind(name) => write!(f, "study kind `{name}`"),
        }
    }
}

/// A pause, or its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// What is paused or goes on.
    pub subject: Subject,
    /// Who says so.
    pub officer: String,
    /// Why.
    pub reason: String,
}

/// What takes two officers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// A higher cap.
    Cap {
        /// Of this account.
        #[serde(flatten)]
        account: AccountKey,
        /// The new cap.
        to: Rho,
    },
    /// An allowance: so much more, once in a calendar year.
    Allow {
        /// Of this account.
        #[serde(flatten)]
        account: AccountKey,
        /// The year in which it is granted, by its name.
        for_year: i16,
        /// What is added to the cap.
        rho: Rho,
    },
    /// Taking over what these checkpoints state; each as a note of its node's signature alone.
    Recover(Vec<String>),
    /// These rules, which admit more.
    Rules(Box<Rules>),
    /// Going on without a witness.
    Away(Absence),
}

/// A proposal, to be done by another officer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// What is proposed.
    pub action: Action,
    /// By whom.
    pub officer: String,
    /// Why.
    pub reason: String,
}

/// An account's cap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapChange {
    /// The account.
    #[serde(flatten)]
    pub account: AccountKey,
    /// The cap before; null for the first.
    pub from: Option<Rho>,
    /// The cap from now on.
    pub to: Rho,
    /// What `node.toml` says at this time.
    pub configured: Rho,
    /// Who changed it: nobody where `node.toml` was followed, two where it was raised.
    pub officers: Vec<String>,
    /// Why.
    pub reason: String,
    /// The sequence of the proposal, where it was raised.
    pub proposal: Option<u64>,
    /// The calendar year, where it was raised by an allowance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_year: Option<i16>,
}

/// The rules that hold from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesChange {
    /// All of them.
    pub rules: Box<Rules>,
    /// Who confirmed them: nobody where they admit no more than those before.
    pub officers: Vec<String>,
    /// Why.
    pub reason: String,
    /// The sequence of the proposal, where two have confirmed them.
    pub proposal: Option<u64>,
}

/// A checkpoint that somebody holds and that the ledger does not go on from: of this ledger, or of the one that the node's name had
/// under an earlier identity, whose machine is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The checkpoint, as a note that the node has signed.
    pub checkpoint: String,
    /// The earlier identity that has signed it; none if it is this node's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<PublicIdentity>,
    /// Who showed it.
    pub by: String,
    /// When, RFC 3339.
    pub time: String,
}

/// What is spent of an account, taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The account.
    #[serde(flatten)]
    pub account: AccountKey,
    /// Σρ by this ledger.
    pub spent_before: Rho,
    /// The larger of that and what was witnessed, and what was spent under earlier identities.
    pub spent_after: Rho,
    /// Σ of the losses to a person, by this ledger.
    pub spent_person_before: Rho,
    /// The same of these losses.
    pub spent_person_after: Rho,
    /// The smaller of the caps.
    pub cap: Rho,
}

/// A recovery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// What was seen, by whom and when.
    pub witnessed: Vec<Sighting>,
    /// Who proposed and who did it.
    pub officers: Vec<String>,
    /// Why.
    pub reason: String,
    /// The sequence of the proposal; none where one who answers for the node has taken over what earlier identities had spent.
    pub proposal: Option<u64>,
    /// The accounts that the witnessed checkpoints name.
    pub datasets: Vec<Restored>,
}

/// A checkpoint that is taken over, and the earlier identity whose it is, if it is not this node's own.
pub(super) type Witnessed = (Checkpoint, Option<PublicIdentity>);

/// What the accounts are after a recovery. Where neither knows a cap, nothing may be spent.
///
/// Of this ledger's own checkpoints the larger of two sums is enough: a charge that is in neither sum's checkpoint was witnessed by nobody
/// who was heard, and a release waits for its witnesses, so nothing has left for it. (Where quorums of two forks have no witness in common,
/// each fork may have released on its own. A quorum of more than half of the witnesses rules that out.) Of a ledger under an earlier
/// identity nothing is in this one but what was `inherited` of it before, so that what is more adds up.
pub(super) fn restored(
    local: impl Fn(&AccountKey) -> Option<Totals>,
    inherited: impl Fn(&PublicIdentity, &AccountKey) -> Spent,
    witnessed: &[Witnessed],
) -> Vec<Restored> {
    let mut accounts: BTreeMap<&AccountKey, (Rho, BTreeMap<Option<PublicIdentity>, Spent>)> = BTreeMap::new();
    for (checkpoint, identity) in witnessed {
        for (account, totals) in &checkpoint.statement().accounts {
            let (cap, seen) = accounts.entry(account).or_insert((totals.cap, BTreeMap::new()));
            *cap = totals.cap.min(*cap);
            let seen = seen.entry(*identity).or_default();
            (seen.rho, seen.person) = (seen.rho.max(totals.spent), seen.person.max(totals.person));
        }
    }
    let restored = accounts.into_iter().map(|(account, (cap, seen))| {
        let known = local(account);
        let own = known.unwrap_or_default();
        let (mut spent, mut person) = (own.spent, own.person);
        // The own ones come first.
        for (identity, seen) in seen {
            match identity {
                None => (spent, person) = (spent.max(seen.rho), person.max(seen.person)),
                Some(identity) => {
                    let before = inherited(&identity, account);
                    spent = spent.plus(seen.rho.minus(before.rho));
                    person = person.plus(seen.person.minus(before.person));
                }
            }
        }
        Restored {
            account: account.clone(),
            spent_before: own.spent,
            spent_after: spent,
            spent_person_before: own.person,
            spent_person_after: person,
            cap: known.map_or(cap, |own| own.cap.min(cap)),
        }
    });
    restored.collect()
}
