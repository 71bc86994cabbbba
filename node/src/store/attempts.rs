//! Attempts of studies as this node keeps them: one struct a stage, so that an attempt has what its stage needs and nothing
//! else.
//!
//! ```text
//! Waiting ─▶ Pledged ─▶ Started ─▶ Computed ─▶ Finished
//!               │          ├───────────────────────┤
//!               └──────────┴────▶ Repeated ────────┘
//! Waiting, Pledged, Started without a charge ─▶ Refused (here)
//! any but Finished and Refused               ─▶ Abandoned (by the coordinator)
//! ```
//!
//! Finished, Abandoned and Refused are ends: no message leads out of them.

use entente_protocols::attempt::AttemptId;
use entente_protocols::canonical::{MAX_CANONICAL, canonical_bytes, from_canonical};
use entente_protocols::ledger::store::StoreError;
use entente_protocols::secagg::agreement::Encapsulation;
use entente_protocols::secagg::pledge::SignedPledge;
use entente_protocols::secagg::transcript::Transcript;
use entente_protocols::study::proposal::Proposal;
use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::database::{read, written};
use super::studies::StudyStore;

/// An attempt of a study as this node keeps it.
#[derive(Clone)]
pub struct Attempt<S = Stage> {
    /// Which.
    pub id: AttemptId,
    /// What was proposed.
    pub proposal: Proposal,
    /// When it was proposed first, RFC 3339.
    pub received: String,
    /// Where it stands.
    pub stage: S,
}

/// Where an attempt stands at this node.
#[derive(Clone)]
pub enum Stage {
    /// Proposed; a steward is asked.
    Waiting,
    /// This node takes part.
    Pledged(Pledged),
    /// Everybody does, and this node has signed the transcript.
    Started(Started),
    /// All vectors are stored.
    Computed(Computed),
    /// A stored vector is sent again.
    Repeated(Repeated),
    /// The result is known.
    Finished(Finished),
    /// Given up by the coordinator.
    Abandoned(Ended),
    /// Refused here.
    Refused(Ended),
}

/// What a node signs when everybody has pledged to take part. Others may need it as long as the attempt goes on.
#[derive(Clone)]
pub struct Signed {
    /// Everybody's pledges, verified.
    pub transcript: Transcript,
    /// What this node has encapsulated to earlier participants.
    pub sent: Vec<Encapsulation>,
}

/// See [`Stage::Pledged`].
#[derive(Clone)]
pub struct Pledged {
    /// This node's pledge, of whose key [`super::EphemeralStore`] has the secret.
    pub pledge: SignedPledge,
}

/// See [`Stage::Started`].
#[derive(Clone)]
pub struct Started {
    /// This node's pledge.
    pub pledge: SignedPledge,
    /// What this node has signed.
    pub signed: Signed,
}

/// See [`Stage::Computed`].
#[derive(Clone)]
pub struct Computed {
    /// This node's pledge.
    pub pledge: SignedPledge,
    /// What this node has signed.
    pub signed: Signed,
    /// Whether others may still have to be answered under the key in the pledge.
    pub answers: bool,
}

/// See [`Stage::Repeated`].
#[derive(Clone)]
pub struct Repeated {
    /// This node's pledge, which says under which transcript the vector is stored.
    pub pledge: SignedPledge,
}

/// See [`Stage::Finished`].
#[derive(Clone)]
pub struct Finished {
    /// This node's pledge.
    pub pledge: SignedPledge,
    /// What this node has signed; `None` where a stored vector was sent again.
    pub signed: Option<Signed>,
}

/// An attempt that ended without a result.
#[derive(Clone)]
pub struct Ended {
    /// Why.
    pub reason: String,
    /// This node's pledge, if it took part.
    pub pledge: Option<SignedPledge>,
}

impl Pledged {
    /// Everybody takes part.
    pub fn start(self, signed: Signed) -> Started {
        Started { pledge: self.pledge, signed }
    }
}

impl Started {
    /// All vectors are stored; `answers` says whether others may still have to be answered.
    pub fn computed(self, answers: bool) -> Computed {
        Computed { pledge: self.pledge, signed: self.signed, answers }
    }
}

impl Stage {
    /// As stored and shown.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Pledged(_) | Self::Started(_) => "joined",
            Self::Computed(_) => "computed",
            Self::Repeated(_) => "repeated",
            Self::Finished(_) => "finished",
            Self::Abandoned(_) => "abandoned",
            Self::Refused(_) => "refused",
        }
    }

    /// Why the attempt was refused or given up.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Abandoned(ended) | Self::Refused(ended) => Some(&ended.reason),
            _ => None,
        }
    }

    /// This node's pledge, if it has made one, however the attempt went on.
    pub fn pledge(&self) -> Option<&SignedPledge> {
        match self {
            Self::Waiting => None,
            Self::Pledged(Pledged { pledge, .. })
            | Self::Started(Started { pledge, .. })
            | Self::Computed(Computed { pledge, .. })
            | Self::Repeated(Repeated { pledge }) => Some(pledge),
            Self::Finished(Finished { pledge, .. }) => Some(pledge),
            Self::Abandoned(Ended { pledge, .. }) | Self::Refused(Ended { pledge, .. }) => pledge.as_ref(),
        }
    }

    /// What this node has signed, unless the attempt was given up.
    pub fn signed(&self) -> Option<&Signed> {
        match self {
            Self::Started(Started { signed, .. }) | Self::Computed(Computed { signed, .. }) => Some(signed),
            Self::Finished(Finished { signed, .. }) => signed.as_ref(),
            Self::Waiting | Self::Pledged(_) | Self::Repeated(_) | Self::Abandoned(_) | Self::Refused(_) => None,
        }
    }

    /// Everybody's pledges, once this node has signed them, unless the attempt was given up.
    pub fn transcript(&self) -> Option<&Transcript> {
        self.signed().map(|signed| &signed.transcript)
    }

    /// Where others may have to be answered under the attempt's key: what this node has signed.
    pub fn answers(&self) -> Option<&Signed> {
        match self {
            Self::Started(Started { signed, .. }) | Self::Computed(Computed { signed, answers: true, .. }) => {
                Some(signed)
            }
            _ => None,
        }
    }

    /// Whether something may still have to be done with the attempt's key.
    pub fn needs_key(&self) -> bool {
        matches!(self, Self::Pledged(_)) || self.answers().is_some()
    }

    /// Whether a person must still decide.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting)
    }

    /// Whether it has ended, however.
    pub fn has_ended(&self) -> bool {
        matches!(self, Self::Finished(_) | Self::Abandoned(_) | Self::Refused(_))
    }

    /// The end of the attempt with a result; `None` where this node has brought nothing to one.
    pub fn finished(&self) -> Option<Finished> {
        match self.clone() {
            Self::Started(Started { pledge, signed, .. }) | Self::Computed(Computed { pledge, signed, .. }) => {
                Some(Finished { pledge, signed: Some(signed) })
            }
            Self::Repeated(Repeated { pledge }) => Some(Finished { pledge, signed: None }),
            Self::Finished(finished) => Some(finished),
            Self::Waiting | Self::Pledged(_) | Self::Abandoned(_) | Self::Refused(_) => None,
        }
    }

    /// Its end without one.
    pub fn ended(&self, reason: &str) -> Ended {
        Ended { reason: reason.into(), pledge: self.pledge().cloned() }
    }
}

impl Attempt {
    /// An attempt that was just proposed.
    pub fn proposed(id: AttemptId, proposal: Proposal, received: String) -> Self {
        Self { id, proposal, received, stage: Stage::Waiting }
    }
}

impl<S> Attempt<S> {
    /// What to keep of it at another stage.
    pub fn with(&self, stage: Stage) -> Attempt {
        Attempt { id: self.id.clone(), proposal: self.proposal.clone(), received: self.received.clone(), stage }
    }

    /// The same attempt at another stage.
    pub fn at(self, stage: Stage) -> Attempt {
        Attempt { id: self.id, proposal: self.proposal, received: self.received, stage }
    }
}

impl StudyStore {
    /// Writes an attempt, new or changed.
    pub fn put(&self, attempt: &Attempt) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO tried
            (study, number, received, stage, reason, proposal, pledge, signed, answers)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let Attempt { id, proposal, received, stage } = attempt;
        let row = params![
            id.study,
            id.number,
            received,
            stage.name(),
            stage.reason(),
            canonical_bytes(&(id, proposal)),
            stage.pledge().map(canonical_bytes),
            stage.signed().map(|Signed { transcript, sent }| canonical_bytes(&(transcript, sent))),
            stage.answers().is_some(),
        ];
        self.0.execute(sql, row).map(drop).map_err(written)
    }

    /// An attempt.
    pub fn get(&self, id: &AttemptId) -> Result<Option<Attempt>, StoreError> {
        let sql = format!("{SELECT} WHERE study = ?1 AND number = ?2");
        let mut select = self.0.prepare_cached(&sql).map_err(read)?;
        let found = select.query_row(params![id.study, id.number], Row::read).optional().map_err(read)?;
        found.map(Row::attempt).transpose()
    }

    /// The attempts of a study, the newest first.
    pub fn of_study(&self, study: &str) -> Result<Vec<Attempt>, StoreError> {
        let sql = format!("{SELECT} WHERE study = ?1 ORDER BY number DESC");
        let mut statement = self.0.prepare_cached(&sql).map_err(read)?;
        let rows = statement.query_map([study], Row::read).map_err(read)?;
        rows.map(|row| row.map_err(read)?.attempt()).collect()
    }

    /// How many that were proposed since have neither ended nor are computed.
    pub fn count_open(&self, since: Timestamp) -> Result<usize, StoreError> {
        let sql = "SELECT COUNT(*) FROM tried WHERE stage IN ('waiting', 'joined', 'repeated') AND received > ?1";
        let count =
            self.0.prepare_cached(sql).and_then(|mut count| count.query_row([since.to_string()], |row| row.get(0)));
        count.map_err(read)
    }

    /// The attempts with whose keys something may still have to be done ([`Stage::needs_key`]).
    pub fn needing_keys(&self) -> Result<Vec<AttemptId>, StoreError> {
        let mut select =
            self.0.prepare("SELECT study, number FROM tried WHERE stage = 'joined' OR answers").map_err(read)?;
        let ids =
            select.query_map([], |row| Ok(AttemptId::new(row.get::<_, String>(0)?, row.get(1)?))).map_err(read)?;
        ids.collect::<Result<_, _>>().map_err(read)
    }

    /// How many were proposed since, and how many bytes long they are together.
    pub fn proposed(&self, since: Timestamp) -> Result<(u64, u64), StoreError> {
        let sql = "SELECT COUNT(*), COALESCE(SUM(LENGTH(proposal)), 0) FROM tried WHERE received > ?1";
        let mut count = self.0.prepare_cached(sql).map_err(read)?;
        count.query_row([since.to_string()], |row| Ok((row.get(0)?, row.get(1)?))).map_err(read)
    }

    /// All attempts, the newest first.
    pub fn all(&self) -> Result<Vec<Attempt>, StoreError> {
        let sql = format!("{SELECT} ORDER BY received DESC, study, number DESC");
        let mut statement = self.0.prepare(&sql).map_err(read)?;
        let rows = statement.query_map([], Row::read).map_err(read)?;
        rows.map(|row| row.map_err(read)?.attempt()).collect()
    }
}

const SELECT: &str = "SELECT received, stage, reason, proposal, pledge, signed, answers FROM tried";

/// What was proposed. Before partners asked for studies, proposals ended without the byte that says that nobody has signed.
fn proposed(bytes: &[u8]) -> Result<(AttemptId, Proposal), StoreError> {
    let earlier = || from_canonical(&[bytes, &[0]].concat(), MAX_CANONICAL);
    from_canonical(bytes, MAX_CANONICAL).or_else(|_| earlier()).map_err(read)
}

/// What a row says, whatever its stage.
struct Row {
    received: String,
    stage: String,
    reason: Option<String>,
    proposal: Vec<u8>,
    pledge: Option<Vec<u8>>,
    signed: Option<Vec<u8>>,
    answers: bool,
}

impl Row {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            received: row.get(0)?,
            stage: row.get(1)?,
            reason: row.get(2)?,
            proposal: row.get(3)?,
            pledge: row.get(4)?,
            signed: row.get(5)?,
            answers: row.get(6)?,
        })
    }

    /// The attempt, with what its stage needs: without it the row is damaged.
    fn attempt(self) -> Result<Attempt, StoreError> {
        let (id, proposal) = proposed(&self.proposal)?;
        let pledge: Option<SignedPledge> =
            self.pledge.map(|bytes| from_canonical(&bytes, MAX_CANONICAL).map_err(read)).transpose()?;
        let signed: Option<(Transcript, Vec<Encapsulation>)> =
            self.signed.map(|bytes| from_canonical(&bytes, MAX_CANONICAL).map_err(read)).transpose()?;
        let signed = signed.map(|(transcript, sent)| Signed { transcript, sent });
        let lacks = |what: &str| read(format!("{id} lacks {what}; restore studies.sqlite from a backup"));
        let ended = |pledge| Ended { reason: self.reason.clone().unwrap_or_default(), pledge };
        let stage = match (self.stage.as_str(), pledge) {
            ("waiting", _) => Stage::Waiting,
            ("abandoned", pledge) => Stage::Abandoned(ended(pledge)),
            ("refused", pledge) => Stage::Refused(ended(pledge)),
            ("joined" | "computed" | "repeated" | "finished", None) => return Err(lacks("this node's pledge")),
            ("joined", Some(pledge)) => {
                let pledged = Pledged { pledge };
                match signed {
                    Some(signed) => Stage::Started(pledged.start(signed)),
                    None => Stage::Pledged(pledged),
                }
            }
            ("computed", Some(pledge)) => {
                let signed = signed.ok_or_else(|| lacks("the participants' pledges"))?;
                Stage::Computed(Computed { pledge, signed, answers: self.answers })
            }
            ("finished", Some(pledge)) => Stage::Finished(Finished { pledge, signed }),
            ("repeated", Some(pledge)) => Stage::Repeated(Repeated { pledge }),
            _ => return Err(read("an unknown stage; a newer version wrote it")),
        };
        Ok(Attempt { id, proposal, received: self.received, stage })
    }
}

#[cfg(test)]
mod tests {
    use entente_protocols::testing;

    use super::*;

    #[test]
    fn proposals_of_before_partners_asked_for_studies_are_read() {
        let study = testing::study("n").query("SELECT COUNT(*) FROM d").build().unwrap();
        let known = (AttemptId::new("s", 1), Proposal::first(study, &["bank".into()], "operator"));
        let bytes = canonical_bytes(&known);
        assert_eq!(proposed(&bytes).unwrap(), known);
        assert_eq!(proposed(&bytes[..bytes.len() - 1]).unwrap(), known);
        assert!(proposed(&bytes[..bytes.len() - 2]).is_err());
    }
}
