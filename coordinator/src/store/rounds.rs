//! The sums of rounds that are complete: what a study goes on from, after a restart or without a partner.

use entente_host::Error;
use entente_protocols::digest::Digest;
use entente_protocols::privacy::rho::Rho;
use rusqlite::{Connection, params};

use super::database::{Store, digest, failed};

/// A round that is complete.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundRecord {
    /// Its number, counted from 1.
    pub round: u32,
    /// The attempt it was summed in.
    pub attempt: u32,
    /// How many participants that attempt had.
    pub participants: u32,
    /// Hash of the plan.
    pub plan: Digest,
    /// The transcript that the vectors were masked under.
    pub transcript: Digest,
    /// Whether stored vectors were sent again, at no charge.
    pub repeated: bool,
    /// The charge, in the study's scope.
    pub rho: Rho,
    /// The loss of a person who may be a customer of every participant.
    pub rho_person: Rho,
    /// Standard deviation of the noise in the sum, for each component, in grid units.
    pub sd: Vec<f64>,
    /// The sum of all vectors, in grid units.
    pub sum: Vec<i64>,
    /// How long it took.
    pub seconds: f64,
}

fn words(bytes: &[u8]) -> Vec<i64> {
    bytes.as_chunks::<8>().0.iter().map(|word| i64::from_le_bytes(*word)).collect()
}

/// The round in which an attempt was given up, or is being computed: its charge, and the loss of a person who may be a customer of
/// every participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostRound {
    /// The attempt.
    pub attempt: u32,
    /// The round.
    pub round: u32,
    /// The charge, in the study's scope.
    pub rho: Rho,
    /// See [`RoundRecord::rho_person`].
    pub rho_person: Rho,
}

fn micro(rho: Rho) -> i64 {
    i64::try_from(rho.micro()).unwrap_or(i64::MAX)
}

fn unsigned(rho: i64) -> Rho {
    Rho::from_micro(rho.unsigned_abs())
}

impl Store {
    /// Keeps a round of a study, and that nodes may be charged for the next from now on, if there is one.
    pub fn add_round(&self, study: &str, record: &RoundRecord, next: Option<LostRound>) -> Result<(), Error> {
        let sum: Vec<u8> = record.sum.iter().flat_map(|value| value.to_le_bytes()).collect();
        let sd: Vec<u8> = record.sd.iter().flat_map(|sd| sd.to_le_bytes()).collect();
        let row = params![
            study,
            record.round,
            record.attempt,
            record.participants,
            record.plan.0.as_slice(),
            record.transcript.0.as_slice(),
            record.repeated,
            micro(record.rho),
            micro(record.rho_person),
            sd,
            sum,
            record.seconds,
        ];
        let sql = "INSERT OR REPLACE INTO round (study, round, attempt, participants, plan, transcript, repeated, rho,
            rho_person, sd, sum, seconds) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let mut connection = self.lock();
        let transaction = connection.transaction().map_err(failed)?;
        transaction.prepare_cached(sql).and_then(|mut insert| insert.execute(row)).map_err(failed)?;
        if let Some(next) = next {
            begin(&transaction, study, next)?;
        }
        transaction.commit().map_err(failed)
    }

    /// Keeps that nodes may be charged for a round from now on: whatever becomes of this process, it is known to have been lost, unless
    /// it is complete.
    pub fn begin_round(&self, study: &str, begun: LostRound) -> Result<(), Error> {
        begin(&self.lock(), study, begun)
    }

    /// The rounds that nodes may have been charged for, and that are not complete: those in which attempts of a study were given up,
    /// and the one that is being computed.
    pub fn lost_rounds(&self, study: &str) -> Result<Vec<LostRound>, Error> {
        let connection = self.lock();
        let sql = "SELECT attempt, round, rho, rho_person FROM lost_round AS lost WHERE study = ?1 AND NOT EXISTS (SELECT 1 FROM round
            WHERE round.study = lost.study AND round.attempt = lost.attempt AND round.round = lost.round) ORDER BY attempt";
        let mut query = connection.prepare(sql).map_err(failed)?;
        let rows = query.query_map([study], |row| {
            let (rho, rho_person) = (unsigned(row.get(2)?), unsigned(row.get(3)?));
            Ok(LostRound { attempt: row.get(0)?, round: row.get(1)?, rho, rho_person })
        });
        rows.and_then(Iterator::collect).map_err(failed)
    }

    /// The rounds of a study that are complete, from the first on without a gap.
    pub fn rounds(&self, study: &str) -> Result<Vec<RoundRecord>, Error> {
        let connection = self.lock();
        let sql = "SELECT round, attempt, participants, plan, transcript, repeated, rho, rho_person, sd, sum, seconds
            FROM round WHERE study = ?1 ORDER BY round";
        let mut query = connection.prepare(sql).map_err(failed)?;
        let rows = query.query_map([study], |row| {
            let sd: Vec<u8> = row.get(8)?;
            let sum: Vec<u8> = row.get(9)?;
            Ok(RoundRecord {
                round: row.get(0)?,
                attempt: row.get(1)?,
                participants: row.get(2)?,
                plan: digest(row.get(3)?)?,
                transcript: digest(row.get(4)?)?,
                repeated: row.get(5)?,
                rho: unsigned(row.get(6)?),
                rho_person: unsigned(row.get(7)?),
                sd: words(&sd).into_iter().map(|word| f64::from_bits(word.cast_unsigned())).collect(),
                sum: words(&sum),
                seconds: row.get(10)?,
            })
        });
        let rounds: Vec<RoundRecord> = rows.and_then(Iterator::collect).map_err(failed)?;
        let gapless = rounds.into_iter().enumerate().take_while(|(i, record)| record.round as usize == i + 1);
        Ok(gapless.map(|(_, record)| record).collect())
    }
}

fn begin(connection: &Connection, study: &str, begun: LostRound) -> Result<(), Error> {
    let row = params![study, begun.attempt, begun.round, micro(begun.rho), micro(begun.rho_person)];
    let sql = "INSERT OR REPLACE INTO lost_round (study, attempt, round, rho, rho_person) VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(sql).and_then(|mut insert| insert.execute(row)).map(drop).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_come_back_up_to_the_first_gap() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let record = |round| RoundRecord {
            round,
            attempt: 1,
            participants: 3,
            plan: Digest([1; 32]),
            transcript: Digest([2; 32]),
            repeated: false,
            rho: Rho::from_micro(7),
            rho_person: Rho::from_micro(63),
            sd: vec![1.5, 2.25],
            sum: vec![i64::MIN, -1, i64::MAX],
            seconds: 0.25,
        };
        for round in [1, 2, 4] {
            store.add_round("s", &record(round), None).unwrap();
        }
        assert_eq!(store.rounds("s").unwrap(), [record(1), record(2)]);
        assert_eq!(store.rounds("t").unwrap(), []);
        let begun =
            |attempt, round| LostRound { attempt, round, rho: Rho::from_micro(3), rho_person: Rho::from_micro(27) };
        store.begin_round("s", begun(1, 2)).unwrap();
        assert_eq!(store.lost_rounds("s").unwrap(), [], "it is complete");
        store.begin_round("s", begun(1, 3)).unwrap();
        assert_eq!((store.lost_rounds("s").unwrap(), store.lost_rounds("t").unwrap()), (vec![begun(1, 3)], vec![]));
        store.add_round("s", &record(3), Some(begun(1, 4))).unwrap();
        assert_eq!(store.lost_rounds("s").unwrap(), [], "and so is the next, in this attempt");
        store.begin_round("s", begun(2, 4)).unwrap();
        assert_eq!(store.lost_rounds("s").unwrap(), [begun(2, 4)]);
    }
}
