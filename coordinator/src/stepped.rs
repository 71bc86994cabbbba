//! A coordinator without connections, tasks and a clock of its own: whoever holds it carries frames to and fro, and says when time
//! has passed. All else is as [`crate::Coordinator`] has it: the same folder, the same studies, the same answers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use entente_host::Error;
use entente_host::clock::Clock;
use entente_host::link::LinkError;
use entente_protocols::identity::Roster;
use entente_protocols::identity::petition::Petition;
use entente_protocols::study::Study;
use entente_protocols::study::file::Asked;
use entente_protocols::wire::frame::FrameReader;
use entente_protocols::wire::message::{Enrol, Enrolled, Progress};
use tokio::sync::mpsc;

use crate::hall::Hall;
use crate::hall::alliance::Alliance;
use crate::hall::close::Closer;
use crate::hall::sessions::QUEUE;
use crate::office::desk::{Desk, Heard};
use crate::office::enrolment;
use crate::office::members::Members;
use crate::office::notices::Notices;
use crate::scheduler::asked;
use crate::scheduler::check::Checks;
use crate::scheduler::composed;
use crate::scheduler::event::NodeEvent;
use crate::scheduler::held::Held;
use crate::store::Store;

/// See the module.
pub struct Stepped {
    hall: Arc<Hall>,
    members: Members,
    desk: Desk,
    studies: Held,
    links: BTreeMap<String, Link>,
}

/// What connects a node.
struct Link {
    number: u64,
    reader: FrameReader,
    notices: Notices,
    outgoing: mpsc::Receiver<Vec<u8>>,
    /// Set by whatever closes it from inside.
    closed: Arc<AtomicBool>,
}

impl Stepped {
    /// Opens the alliance in `dir` and takes up the studies that had not ended, by this clock.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be read.
    pub fn open(dir: &Path, clock: Clock) -> Result<Self, Error> {
        let hall = Arc::new(Hall::open(Alliance::open(dir)?, clock)?);
        let members = Members::new(hall.clone());
        members.publish()?;
        let studies = Held::take_up(hall.clone())?;
        let desk = Desk::new(hall.clone(), Arc::new(Checks::new(hall.clone())));
        Ok(Self { hall, members, desk, studies, links: BTreeMap::new() })
    }

    /// Enrols whoever shows a ticket, or says why not.
    pub fn enrol(&self, request: &Enrol) -> Enrolled {
        enrolment::answer(&self.members, request, &"memory")
    }

    /// Ends a partner's membership at once. What was done, in words.
    ///
    /// # Errors
    ///
    /// If it is not enrolled, or that cannot be kept.
    pub fn revoke(&mut self, partner: &str) -> Result<String, Error> {
        let done = self.members.revoke(partner)?;
        self.links.remove(partner);
        self.studies.revoked(partner)?;
        Ok(done)
    }

    /// Starts a study, or the first of those that follow one another. Its identifier.
    ///
    /// # Errors
    ///
    /// If it is none of this alliance, or cannot be kept.
    pub fn submit(&mut self, asked: Asked) -> Result<String, Error> {
        self.studies.submit(asked)
    }

    /// Starts a study that a partner asks for under an identifier of its own, unless that is done. The identifier.
    ///
    /// # Errors
    ///
    /// If it is not signed by that partner, is none of this alliance, or cannot be kept.
    pub fn submit_asked(
        &mut self,
        study: Study,
        id: String,
        requester: &str,
        petition: Petition,
    ) -> Result<String, Error> {
        self.studies.submit_asked(asked::Asked { study, id, requester: requester.into(), petition })
    }

    /// Gives a study up that runs.
    ///
    /// # Errors
    ///
    /// If that cannot be kept.
    pub fn cancel(&mut self, study: &str) -> Result<(), Error> {
        self.studies.cancel(study)
    }

    /// A partner's node connects, with this frame as its hello; an earlier connection of it ends.
    ///
    /// # Errors
    ///
    /// If it is not let in.
    pub fn connect(&mut self, node: &str, hello: &[u8]) -> Result<(), LinkError> {
        if !self.hall.roster().map_err(refused)?.members.contains_key(node) {
            return Err(LinkError::Connection("it is not enrolled".into()));
        }
        let mut reader = FrameReader::from_nodes();
        reader.feed(hello);
        let hello = reader.next_frame()?.ok_or(LinkError::Ended)?.decode()?;
        let (sender, outgoing) = mpsc::channel(QUEUE);
        let closed = Arc::new(AtomicBool::new(false));
        let closes = closed.clone();
        let closer = Closer::new(move |_, _| closes.store(true, Ordering::Relaxed));
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let number = self.desk.greet(node, hello, (closer, nowhere), sender).map_err(refused)?;
        let mut notices = Notices::new(self.hall.store.notices(node).map_err(refused)?);
        self.desk.tell(node, &mut notices);
        self.links.insert(node.into(), Link { number, reader, notices, outgoing, closed });
        self.studies.connected(node).map_err(refused)
    }

    /// Takes bytes of a node that is connected.
    ///
    /// # Errors
    ///
    /// If they are no frames of a node's, which ends its connection.
    pub fn receive(&mut self, node: &str, bytes: &[u8]) -> Result<(), LinkError> {
        let Some(link) = self.links.get_mut(node) else { return Err(LinkError::Ended) };
        link.reader.feed(bytes);
        while let Some(link) = self.links.get_mut(node)
            && let Some(frame) = link.reader.next_frame()?
        {
            match self.desk.hear(node, &frame, &mut link.notices)? {
                Heard::Done => {}
                Heard::OfStudy(study, event) => self.studies.tell(&study, node, event).map_err(refused)?,
                Heard::Witness(request, of) => self.desk.witness(node, request, of),
            }
        }
        Ok(())
    }

    /// A node's connection has ended.
    ///
    /// # Errors
    ///
    /// If what follows from it cannot be kept.
    pub fn disconnect(&mut self, node: &str) -> Result<(), Error> {
        let Some(link) = self.links.remove(node) else { return Ok(()) };
        self.hall.sessions.remove(node, link.number);
        self.studies.tell_all(node, || NodeEvent::Disconnected)
    }

    /// What is to be carried to a node: some frames, or `None` when its connection has been closed.
    pub fn outgoing(&mut self, node: &str) -> Option<Vec<Vec<u8>>> {
        let link = self.links.get_mut(node)?;
        let frames = std::iter::from_fn(|| link.outgoing.try_recv().ok()).collect();
        (!link.closed.load(Ordering::Relaxed)).then_some(frames)
    }

    /// In how long to say that time has passed, if nothing happens before.
    pub fn timeout(&self) -> Option<Duration> {
        self.studies.timeout()
    }

    /// Time has passed.
    ///
    /// # Errors
    ///
    /// If what follows from it cannot be kept.
    pub fn time_passes(&mut self) -> Result<(), Error> {
        self.studies.time()
    }

    /// The study that an identifier stands for now: of studies that follow one another, the one that has begun last.
    ///
    /// # Errors
    ///
    /// If that cannot be read.
    pub fn present(&self, id: &str) -> Result<String, Error> {
        composed::present(&self.hall, id)
    }

    /// Where a study stands that runs.
    pub fn progress(&self, study: &str) -> Option<&Progress> {
        self.studies.progress(study)
    }

    /// What is kept: studies, results, receipts, what nodes have still to be told.
    pub fn store(&self) -> &Store {
        &self.hall.store
    }

    /// The present roster.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn roster(&self) -> Result<Roster, Error> {
        self.hall.roster()
    }
}

fn refused(error: Error) -> LinkError {
    LinkError::Connection(error.to_string())
}
