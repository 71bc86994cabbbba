//! The running coordinator: hall, scheduler, office and link together.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use entente_host::Error;
use entente_host::clock::Clock;
use entente_protocols::study::Study;

use crate::hall::Hall;
use crate::hall::alliance::Alliance;
use crate::hall::serving::Serving;
use crate::link::{Listening, Port};
use crate::office::Office;
use crate::office::members::Members;
use crate::scheduler::Scheduler;

/// Starts coordinators.
pub struct Coordinator;

/// Which studies a coordinator takes up when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeUp {
    /// All that had not ended when the last one stopped.
    Unfinished,
    /// None: it serves for one new study alone.
    Nothing,
}

/// A running coordinator. Stops when it is dropped; [`Running::shutdown`] lets nodes know.
pub struct Running {
    hall: Arc<Hall>,
    scheduler: Arc<Scheduler>,
    listening: Listening,
    address: SocketAddr,
    _serving: Serving,
}

impl Coordinator {
    /// Starts the coordinator of the alliance in `dir` and takes up the studies that had not ended. Needs a runtime of
    /// tokio.
    pub async fn start(dir: &Path) -> Result<Running, Error> {
        Self::start_with(dir, TakeUp::Unfinished).await
    }

    /// The same, with a say on which studies are taken up.
    pub async fn start_with(dir: &Path, take_up: TakeUp) -> Result<Running, Error> {
        let alliance = Alliance::open(dir)?;
        let serving = Serving::claim(dir)?;
        let hall = Arc::new(Hall::open(alliance, Clock::default())?);
        let port = Port::open(&hall.alliance, hall.access.clone()).await?;
        let address = port.address();
        let scheduler = Arc::new(Scheduler::new(hall.clone()));
        let members = Arc::new(Members::new(hall.clone()));
        members.publish()?;
        if take_up == TakeUp::Unfinished {
            scheduler.take_up()?;
        }
        let office = Arc::new(Office::new(&hall, &scheduler, &members));
        let listening = port.listen(move |peer| {
            let office = office.clone();
            async move { office.serve(peer).await }
        });
        serving.announce(address)?;
        tracing::info!(%address, alliance = hall.alliance.name(), "listening");
        Ok(Running { hall, scheduler, listening, address, _serving: serving })
    }
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn hall(&self) -> &Arc<Hall> {
        &self.hall
    }

    pub(crate) fn scheduler(&self) -> &Arc<Scheduler> {
        &self.scheduler
    }

    /// Whether a partner's node is connected.
    pub fn is_connected(&self, partner: &str) -> bool {
        self.hall.sessions.is_connected(partner)
    }

    /// Whether all partners of a study are connected: those it names, or all.
    pub(crate) fn has_all(&self, study: &Study) -> Result<bool, Error> {
        let connected = |name: &String| self.is_connected(name);
        Ok(if study.partners.is_empty() {
            self.hall.store.partners()?.keys().all(connected)
        } else {
            study.partners.iter().all(connected)
        })
    }

    /// Stops. Studies that go on are taken up by the next start.
    pub async fn shutdown(self) {
        self.scheduler.stop();
        self.listening.end().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.scheduler.stop();
    }
}
