//! What goes wrong in an alliance, when a frame arrives.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use entente_examples::alliance::Error;
use entente_protocols::wire::frame::FrameReader;
use entente_protocols::wire::message::{FromNode, ToAttempt, ToNode};

use super::alliance::{Alliance, Coming, FASTEST, LOOKS, SLOWEST};
use super::fault::Fault;
use super::founding::{MOST, NAMES, enrol};
use super::party::{Kill, Party};
use super::torn;

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
        // Before anything has left, an older state is hardly another one.
        if fault == Fault::PutBack && !self.parties[party].has_sent_since() && self.choices.below(16) > 0 {
            self.plan.postpone(fault, 1);
            return self.arrives(frame);
        }
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
                    let (place, before) = (self.choices.below(bytes.len()), bytes.clone());
                    bytes[place] ^= 1 << self.choices.below(8);
                    match changed(&before, bytes, is_for_it) {
                        Changed::Nothing => {}
                        Changed::ForIt => self.changed[party] = true,
                        Changed::ForAll => self.changed_for_all = true,
                    }
                }
                self.arrives(frame)?;
            }
            Fault::Disconnect => self.disconnect(party)?,
            Fault::Kill | Fault::KillWithin | Fault::KillTorn | Fault::KillForGood | Fault::PutBack => {
                let within = self.choices.below(8) + 1;
                let (kill, last) = match (&frame, fault) {
                    (Coming::ToNode { bytes, .. }, Fault::KillWithin | Fault::KillTorn) => {
                        (Kill::Within(within), Some(bytes.as_slice()))
                    }
                    _ => (Kill::Now, None),
                };
                let torn = (fault == Fault::KillTorn).then_some(&mut self.choices);
                self.parties[party].kill(kill, last.map(|bytes| (bytes, self.beside)), torn)?;
                // Whoever enrolled since has no older state.
                if fault == Fault::PutBack && self.parties[party].has_kept_state() && !self.parties[party].is_up() {
                    self.put_back(party)?;
                }
                let connection = self.connections[party] + 1;
                self.connections[party] = connection;
                let notices = self.choices.between(Duration::ZERO, Duration::from_secs(10));
                self.comes(notices, Coming::Noticed { party, connection });
                let back = if fault == Fault::KillForGood { LONG } else { soon };
                self.gone[party] |= fault == Fault::KillForGood;
                self.comes(back, Coming::Restarts(party));
            }
            Fault::KillCoordinator | Fault::KillCoordinatorWithin | Fault::KillCoordinatorTorn
                if self.coordinator.is_some() =>
            {
                let looks = self.choices.below(6) + 1;
                let within = (fault != Fault::KillCoordinator && !is_for_it).then_some((looks, frame));
                self.kill_coordinator(within, fault == Fault::KillCoordinatorTorn)?;
                self.comes(soon, Coming::CoordinatorRestarts);
            }
            Fault::KillCoordinator | Fault::KillCoordinatorWithin | Fault::KillCoordinatorTorn => {}
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

    /// The coordinator is killed, perhaps while it hears a frame: when it has looked at its clock so often. Perhaps a write is torn.
    fn kill_coordinator(&mut self, within: Option<(usize, Coming)>, is_torn: bool) -> Result<(), Error> {
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
        if is_torn {
            torn::database(&image.join(DATABASE), &alliance.join(DATABASE), &mut self.choices)?;
            torn::file(&alliance, &mut self.choices)?;
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
        let secrets = self.founded.rows(name, &mut self.choices)?;
        let party = self.parties.len();
        self.parties.push(Party::start(name, node, secrets)?);
        self.connections.push(0);
        self.gone.push(false);
        self.revoked.push(false);
        self.changed.push(false);
        self.put_back.push(false);
        self.comes(FASTEST, Coming::Dials(party));
        self.comes(LOOKS, Coming::Looks(party));
        Ok(())
    }
}

/// The coordinator's log, into which it writes first.
const WAL: &str = "entente.db-wal";
const DATABASE: &str = "entente.db";

/// Copies the coordinator's database as it is now.
fn databases(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for name in [DATABASE, WAL] {
        fs::copy(from.join(name), to.join(name)).map(drop).or_else(absent)?;
    }
    Ok(())
}

fn absent(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// What a change of a frame on its way may come to.
enum Changed {
    /// Nothing, or the end of the connection: what was said is said again on the next one.
    Nothing,
    /// The partner says, or is told, what is not so.
    ForIt,
    /// Others are told what is not so, or its part of a sum is not what it was.
    ForAll,
}

/// What a change of a frame may come to, of one that is for a node, or from it.
fn changed(before: &[u8], after: &[u8], is_for_it: bool) -> Changed {
    let read = |bytes: &[u8]| {
        let mut reader = if is_for_it { FrameReader::to_nodes() } else { FrameReader::from_nodes() };
        reader.feed(bytes);
        reader.next_frame()
    };
    let frame = match (read(before), read(after)) {
        // It waits for bytes that do not come.
        (_, Ok(None)) => return Changed::ForIt,
        (_, Err(_)) => return Changed::Nothing,
        (before, after) if before == after => return Changed::Nothing,
        (_, Ok(Some(frame))) => frame,
    };
    if is_for_it {
        return match frame.decode::<ToNode>() {
            Err(_) => Changed::Nothing,
            // What it computes is then for another round or input than what others compute.
            Ok(ToNode::Attempt(_, ToAttempt::Go { .. })) => Changed::ForAll,
            Ok(_) => Changed::ForIt,
        };
    }
    if frame.is_contribution() {
        return if frame.decode_contribution().is_ok() { Changed::ForAll } else { Changed::Nothing };
    }
    match frame.decode::<FromNode>() {
        Err(_) => Changed::Nothing,
        // Its schema is part of what all are asked.
        Ok(FromNode::Hello { .. }) => Changed::ForAll,
        Ok(_) => Changed::ForIt,
    }
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
