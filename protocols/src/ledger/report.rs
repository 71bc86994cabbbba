//! What a verification finds: checks with their verdicts, and what is held against other ledgers.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use super::account::{AccountKey, Spent};
use super::chain::Chain;
use super::entry::{Entry, State};
use crate::digest::Digest;
use crate::policy::StudyRef;
use crate::privacy::rho::Rho;

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is as it should be.
    Ok,
    /// It is not.
    Failed,
    /// Nothing outside of the node says whether it is.
    NotWitnessed,
}

/// One check and its verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub check: &'static str,
    /// Whether its verdict is [`Verdict::Ok`].
    pub passed: bool,
    /// What came of it.
    pub verdict: Verdict,
    /// What was found.
    pub detail: String,
}

/// The checks of an export.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In order.
    pub checks: Vec<Check>,
    /// What was spent from each account, as far as the chain holds.
    pub spent: BTreeMap<AccountKey, Spent>,
    /// What a ledger says, to be held against others', as far as the chain holds; where that was asked for.
    pub facts: Option<Box<Facts>>,
}

impl Report {
    /// Whether nothing was found to be wrong. Whether anybody but the node says that it is right, [`Report::is_witnessed`] tells.
    pub fn passed(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.verdict != Verdict::Failed)
    }

    /// Whether no check lacked witnesses.
    pub fn is_witnessed(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::NotWitnessed)
    }

    pub(super) fn note(&mut self, check: &'static str, result: Result<String, String>) -> bool {
        let passed = result.is_ok();
        let verdict = if passed { Verdict::Ok } else { Verdict::Failed };
        self.judge(check, verdict, result.unwrap_or_else(|problem| problem));
        passed
    }

    pub(super) fn judge(&mut self, check: &'static str, verdict: Verdict, detail: String) {
        self.checks.push(Check { check, passed: verdict == Verdict::Ok, verdict, detail });
    }

    /// Goes on with the checks of another.
    pub fn append(&mut self, mut other: Self) {
        self.checks.append(&mut other.checks);
    }

    /// One line a check, for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Check { check, verdict, detail, .. } in &self.checks {
            let verdict = match verdict {
                Verdict::Ok => "ok    ",
                Verdict::Failed => "FAILED",
                Verdict::NotWitnessed => "not witnessed",
            };
            let _ = writeln!(text, "{verdict}  {check}: {detail}");
        }
        text
    }
}

/// A release as one ledger has it: whose result was recorded, or that was computed and has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// The entry that says so.
    pub(super) sequence: u64,
    pub(super) study: Arc<StudyRef>,
    pub(super) round: u32,
    pub(super) participants: Arc<[String]>,
    pub(super) transcript: Option<Digest>,
    pub(super) rho: Option<(Rho, Rho)>,
    pub(super) result: Option<Digest>,
}

/// A study's identifier, an attempt and a round.
pub(super) type Key<'a> = (&'a str, u32, u32);

/// Releases by what they are of.
pub(super) type Index<'a> = BTreeMap<Key<'a>, &'a Released>;

impl Released {
    pub(super) fn key(&self) -> Key<'_> {
        (&self.study.id, self.study.attempt, self.round)
    }
}

/// What a ledger says, beside others.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Whose ledger it is.
    pub node: String,
    /// Its log's name.
    pub origin: String,
    pub(super) chain: Chain,
    pub(super) released: Vec<Released>,
    /// What was computed and has no result of its own, by release: rounds of attempts that others went on from, or that were lost.
    pub(super) computed: HashMap<Digest, Released>,
}

impl Facts {
    pub(super) fn take(&mut self, entry: &Entry<impl AsRef<str>>) {
        let (state @ (State::Computed | State::Released), Some(study)) = (entry.state(), entry.study()) else { return };
        let Some(release) = study.release else { return };
        let same = |before: &&Released| before.participants.iter().eq(study.participants.iter().map(AsRef::as_ref));
        let before = self.released.last().filter(same).map(|before| Arc::clone(&before.participants));
        let released = Released {
            sequence: entry.sequence,
            study: Arc::clone(&study.study),
            round: study.round.unwrap_or(1),
            participants: before
                .unwrap_or_else(|| study.participants.iter().map(|name| name.as_ref().to_owned()).collect()),
            transcript: study.transcript,
            rho: study.privacy.as_ref().map(|privacy| (privacy.rho, privacy.rho_person)),
            result: study.result_sha256,
        };
        if state == State::Released {
            self.computed.remove(&release);
            self.released.push(released);
        } else {
            self.computed.insert(release, released);
        }
    }

    /// The releases with a result, to look up.
    pub(super) fn index(&self) -> Index<'_> {
        self.released.iter().map(|released| (released.key(), released)).collect()
    }

    /// Those without one.
    pub(super) fn computed(&self) -> Index<'_> {
        self.computed.values().map(|computed| (computed.key(), computed)).collect()
    }
}
