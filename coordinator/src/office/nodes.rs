//! A partner's node: its hello, then whatever its studies need, both ways, until one side goes.

use std::sync::Arc;

use entente_host::link::LinkError;
use entente_protocols::wire::frame::{Frame, FrameReader};
use tokio::sync::mpsc;

use super::desk::{Desk, Heard};
use super::notices::Notices;
use crate::hall::Hall;
use crate::hall::close::Close;
use crate::hall::sessions::QUEUE;
use crate::link::peer::{FIRST, Peer};
use crate::scheduler::Scheduler;
use crate::scheduler::check::Checks;
use crate::scheduler::event::NodeEvent;

/// Serves nodes.
pub(super) struct Nodes {
    hall: Arc<Hall>,
    scheduler: Arc<Scheduler>,
    desk: Desk,
}

impl Nodes {
    pub(super) fn new(hall: Arc<Hall>, scheduler: Arc<Scheduler>, checks: Arc<Checks>) -> Self {
        Self { desk: Desk::new(hall.clone(), checks), hall, scheduler }
    }

    /// Serves one connection of the node `name`, whose certificate is checked.
    pub(super) async fn serve(&self, name: &str, peer: &Peer) -> Result<(), LinkError> {
        let (out, mut frames) = peer.open(FrameReader::from_nodes()).await?;
        let hello = frames.next_within(FIRST).await?.decode()?;
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let number = match self.desk.greet(name, hello, (peer.closer(), peer.address()), outgoing) {
            Ok(number) => number,
            Err(error) => {
                tracing::warn!(node = name, %error, "hello refused");
                peer.close(Close::Protocol, &error.to_string());
                return Ok(());
            }
        };
        if !peer.is_let_in() {
            // Revoked while it said hello.
            self.hall.sessions.expel(name, "this node's certificate is revoked");
            return Ok(());
        }
        tracing::info!(node = name, from = %peer.address(), "connected");
        let reading = async {
            let missed = self.hall.store.notices(name).unwrap_or_else(|error| {
                tracing::error!(%error, node = name, "what this node has missed is not known");
                Vec::new()
            });
            let mut notices = Notices::new(missed);
            self.desk.tell(name, &mut notices);
            self.scheduler.connected(name).await;
            while let Some(frame) = frames.next().await? {
                self.receive(name, &frame, &mut notices).await?;
            }
            Ok::<(), LinkError>(())
        };
        let ended = tokio::select! {
            ended = reading => ended,
            () = out.say_all(queue) => Ok(()),
        };
        if self.hall.sessions.remove(name, number) || !self.hall.sessions.is_connected(name) {
            tracing::info!(node = name, "disconnected");
            self.scheduler.tell_all(name, || NodeEvent::Disconnected).await;
        }
        ended
    }

    async fn receive(&self, name: &str, frame: &Frame, notices: &mut Notices) -> Result<(), LinkError> {
        match self.desk.hear(name, frame, notices)? {
            Heard::Done => {}
            Heard::OfStudy(study, event) => self.scheduler.tell(&study, name, event).await,
            Heard::Witness(request, of) => {
                // First, as their answers take longer.
                self.desk.ask_partners(name, &request, of);
                let witnessed = self.desk.witnesses.witness(name, request).await;
                self.desk.tell_witnessed(name, witnessed);
            }
        }
        Ok(())
    }
}
