//! Alarms: what a node's ledger shows contradicts what was witnessed of it. They stay until an operator has looked into them, also
//! when the node's next ledger is as it should be.

use entente_host::Error;
use rusqlite::params;

use super::database::{Store, failed};

/// An alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Counted from 1.
    pub number: i64,
    /// The node.
    pub node: String,
    /// What contradicts what, in words.
    pub reason: String,
    /// When it was first seen, in seconds since 1970.
    pub first: i64,
    /// When it was last seen, in seconds since 1970.
    pub last: i64,
    /// When an operator has looked into it, and what was found.
    pub acknowledged: Option<(i64, String)>,
}

impl Store {
    /// Raises an alarm, or counts on one that is open for the same reason.
    pub fn alarm(&self, node: &str, reason: &str, now: i64) -> Result<(), Error> {
        let connection = self.lock();
        let sql = "UPDATE alarm SET last = ?3 WHERE node = ?1 AND reason = ?2 AND acknowledged IS NULL";
        if connection.execute(sql, params![node, reason, now]).map_err(failed)? == 0 {
            let sql = "INSERT INTO alarm (node, reason, first, last) VALUES (?1, ?2, ?3, ?3)";
            connection.execute(sql, params![node, reason, now]).map_err(failed)?;
        }
        Ok(())
    }

    /// Ends an alarm: an operator has looked into it, and this is what was found.
    ///
    /// # Errors
    ///
    /// Refused where no alarm of this number is open.
    pub fn acknowledge(&self, number: i64, note: &str, now: i64) -> Result<(), Error> {
        let sql = "UPDATE alarm SET acknowledged = ?2, note = ?3 WHERE number = ?1 AND acknowledged IS NULL";
        match self.lock().execute(sql, params![number, now, note]).map_err(failed)? {
            0 => {
                Err(Error::refused("there is no open alarm with this number")
                    .help("entente partners shows the open ones"))
            }
            _ => Ok(()),
        }
    }

    /// The alarms that are open, or all; the oldest first.
    pub fn alarms(&self, all: bool) -> Result<Vec<Alarm>, Error> {
        let connection = self.lock();
        let sql = "SELECT number, node, reason, first, last, acknowledged, note FROM alarm
            WHERE ?1 OR acknowledged IS NULL ORDER BY number";
        let mut query = connection.prepare_cached(sql).map_err(failed)?;
        let rows = query.query_map([all], |row| {
            let acknowledged: Option<i64> = row.get(5)?;
            let note: Option<String> = row.get(6)?;
            Ok(Alarm {
                number: row.get(0)?,
                node: row.get(1)?,
                reason: row.get(2)?,
                first: row.get(3)?,
                last: row.get(4)?,
                acknowledged: acknowledged.map(|time| (time, note.unwrap_or_default())),
            })
        });
        rows.and_then(Iterator::collect).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_one_until_it_is_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        for now in 1..4 {
            store.alarm("bank", "forked", now).unwrap();
        }
        store.alarm("bank", "behind", 4).unwrap();
        let open = store.alarms(false).unwrap();
        assert_eq!(open.iter().map(|alarm| (alarm.first, alarm.last)).collect::<Vec<_>>(), [(1, 3), (4, 4)]);
        store.acknowledge(open[0].number, "a restored backup", 5).unwrap();
        assert!(store.acknowledge(open[0].number, "again", 6).unwrap_err().to_string().contains("no open alarm"));
        store.alarm("bank", "forked", 7).unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.alarms(false).unwrap().len(), 2, "it has happened again");
        let all = store.alarms(true).unwrap();
        assert_eq!(all[0].acknowledged, Some((5, "a restored backup".into())));
        assert_eq!(all.len(), 3);
    }
}
