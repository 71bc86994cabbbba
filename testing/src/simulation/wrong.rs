//! What goes wrong in an alliance, when a frame arrives.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use entente_examples::alliance::Error;

use super::alliance::{Alliance, Coming, FASTEST, LOOKS, SLOWEST};
use super::fault::Fault;
use super::founding::{MOST, NAMES, enrol};
use super::party::{Kill, Party};
use super::watch::Secrets;

/// Longer than a partner is waited for, unless its steward has to decide: for that, a week.
const LONG: Duration = Duration::from_secs(1800);

impl Alliance {
    /// A fault meets a frame that arrives.
    pub(super) fn goes_wrong(&mut self, fault: Fault, mut frame: Coming) -> Result<(), Error> {
        let stage = self.stage();
        let (Coming::FromNode { party, .. } | Coming::ToNode { party, .. }) = frame else { return Ok(()) };
        let is_for_it = matches!(frame, Coming::ToNode { .. });
        let soon = self.choices.between(Duration::from_secs(1), Duration::from_secs(20));
        let late = self.choices.between(SLOWEST, Duration::from_secs(20));
        match fault {
            Fault::Drop => {}
            Fault::Delay => {
                self.last.insert((party, is_for_it), self.now + late);
                self.travels(party, is_for_it, frame);
            }
            Fault::Reorder => self.comes(late, frame),
            Fault::Duplicate => {
                if let Some(again) = again(&frame) {
                    self.comes(late, again);
                }
                self.arrives(frame)?;
            }
            Fault::Corrupt => {
                if let Coming::FromNode { bytes, .. } | Coming::ToNode { bytes, .. } = &mut frame {
                    let place = self.choices.below(bytes.len());
                    bytes[place] ^= 1 << self.choices.below(8);
                }
                self.changed = true;
                self.arrives(frame)?;
            }
            Fault::Disconnect => self.disconnect(party)?,
            Fault::Kill | Fault::KillWithin | Fault::KillTorn | Fault::KillForGood => {
                let within = self.choices.below(8) + 1;
                let torn: Vec<u8> = (0..self.choices.below(6000)).map(|_| self.choices.next() as u8).collect();
                let (kill, last) = match (&frame, fault) {
                    (Coming::ToNode { bytes, .. }, Fault::KillWithin | Fault::KillTorn) => {
                        (Kill::Within(within), Some(bytes.as_slice()))
                    }
                    _ => (Kill::Now, None),
                };
                let torn = (fault == Fault::KillTorn).then_some(torn.as_slice());
                self.parties[party].kill(kill, last.map(|bytes| (bytes, self.beside)), torn)?;
                let connection = self.connections[party] + 1;
                self.connections[party] = connection;
                let notices = self.choices.between(Duration::ZERO, Duration::from_secs(10));
                self.comes(notices, Coming::Noticed { party, connection });
                let back = if fault == Fault::KillForGood { LONG } else { soon };
                self.gone[party] |= fault == Fault::KillForGood;
                self.comes(back, Coming::Restarts(party));
            }
            Fault::KillCoordinator | Fault::KillCoordinatorWithin if self.coordinator.is_some() => {
                let looks = self.choices.below(6) + 1;
                let within = (fault == Fault::KillCoordinatorWithin && !is_for_it).then_some((looks, frame));
                self.kill_coordinator(within)?;
                self.comes(soon, Coming::CoordinatorRestarts);
            }
            Fault::KillCoordinator | Fault::KillCoordinatorWithin => {}
            Fault::Clock => {
                let ahead = self.choices.one_of(&[-7200, -60, 60, 7200]);
                // What a steward approves later than now is not approved.
                self.late |= ahead < 0 && self.parties[party].is_by_steward;
                self.parties[party].set_clock(ahead);
                self.arrives(frame)?;
            }
            Fault::Revoke => {
                let name = self.parties[party].name;
                if let Some(coordinator) = &mut self.coordinator
                    && !self.revoked[party]
                {
                    coordinator.revoke(name)?;
                    self.revoked[party] = true;
                    self.connections[party] += 1;
                    self.parties[party].lose();
                }
            }
            Fault::Enrol => {
                self.enrols()?;
                self.arrives(frame)?;
            }
        }
        self.met.add(stage, fault);
        Ok(())
    }

    /// The coordinator is killed, perhaps while it hears a frame: when it has looked at its clock so often.
    fn kill_coordinator(&mut self, within: Option<(usize, Coming)>) -> Result<(), Error> {
        let (alliance, image) = (self.founded.alliance(), self.founded.alliance().join("image"));
        if let Some((most, frame)) = within {
            let (looks, from, to) = (AtomicUsize::new(0), alliance.clone(), image.clone());
            self.hands.looked_at(Some(Arc::new(move || {
                if looks.fetch_add(1, Ordering::Relaxed) + 1 == most {
                    databases(&from, &to).expect("files are copied");
                }
            })));
            self.arrives(frame)?;
            self.hands.looked_at(None);
        }
        if !image.exists() {
            databases(&alliance, &image)?;
        }
        self.coordinator = None;
        fs::remove_file(alliance.join(WAL)).or_else(absent)?;
        for entry in fs::read_dir(&image)? {
            let entry = entry?;
            fs::rename(entry.path(), alliance.join(entry.file_name()))?;
        }
        fs::remove_dir(&image)?;
        (0..self.parties.len()).try_for_each(|party| self.disconnect(party))
    }

    /// Another partner enrols. It takes no part in what is running.
    fn enrols(&mut self) -> Result<(), Error> {
        if self.coordinator.is_none() {
            return Ok(());
        }
        // Also one that was revoked since does not come back under the same name.
        let new = |name: &&&str| self.parties.iter().all(|party| party.name != **name);
        let Some(name) = NAMES[MOST..].iter().find(new) else { return Ok(()) };
        let (alliance, node) = (self.founded.alliance(), self.founded.node(name));
        enrol(self.up()?, &alliance, &node, name)?;
        let secrets = Secrets::new(self.founded.rows(name, &mut self.choices)?);
        let party = self.parties.len();
        self.parties.push(Party::start(name, node, secrets)?);
        self.connections.push(0);
        self.gone.push(false);
        self.revoked.push(false);
        self.comes(FASTEST, Coming::Dials(party));
        self.comes(LOOKS, Coming::Looks(party));
        Ok(())
    }
}

/// The coordinator's log, into which it writes first.
const WAL: &str = "entente.db-wal";

/// Copies the coordinator's database as it is now.
fn databases(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for name in ["entente.db", WAL] {
        fs::copy(from.join(name), to.join(name)).map(drop).or_else(absent)?;
    }
    Ok(())
}

fn absent(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// The same frame once more.
fn again(frame: &Coming) -> Option<Coming> {
    match frame {
        Coming::FromNode { party, connection, bytes, is_hello } => {
            let (party, connection, bytes) = (*party, *connection, bytes.clone());
            Some(Coming::FromNode { party, connection, bytes, is_hello: *is_hello })
        }
        Coming::ToNode { party, connection, bytes } => {
            Some(Coming::ToNode { party: *party, connection: *connection, bytes: bytes.clone() })
        }
        _ => None,
    }
}
