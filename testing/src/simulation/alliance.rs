//! An alliance whose parts run in one thread, and whose frames are on their way until their time has come.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use entente::stepped::Stepped;
use entente::store::StudyState;
use entente_examples::alliance::Error;
use entente_host::clock::Hands;
use entente_protocols::identity::petition::{Asking, Petition, identifier};
use entente_protocols::study::Study;
use entente_protocols::wire::frame::FrameReader;

use super::fault::{Met, Plan};
use super::founding::{Founded, NAMES, clock};
use super::party::{Lost, Party};
use super::watch::Secrets;
use crate::choices::Choices;

pub(super) const FASTEST: Duration = Duration::from_millis(1);
pub(super) const SLOWEST: Duration = Duration::from_millis(20);
/// How often nodes look again at what waits.
pub(super) const LOOKS: Duration = Duration::from_secs(1);
/// After how long without an answer to its hello a node dials again.
const GREETING: Duration = Duration::from_secs(10);
/// By when a study is over: no partner is waited for so long, in as many attempts as there can be.
const OVER: Duration = Duration::from_secs(3600);
/// How long its end may take to reach everybody, once nothing goes wrong any more.
const TOLD: Duration = Duration::from_secs(300);

/// See the module.
pub(super) struct Alliance {
    pub(super) founded: Founded,
    /// How many contribute to the present study, whatever becomes of them.
    contributors: usize,
    pub(super) choices: Choices,
    pub(super) parties: Vec<Party>,
    pub(super) coordinator: Option<Stepped>,
    pub(super) hands: Hands,
    clock: entente_host::clock::Clock,
    pub(super) now: Duration,
    /// What is to come, in its order.
    coming: BTreeMap<(Duration, u64), Coming>,
    number: u64,
    /// When the last frame that is on a way arrives, by the party and whether it is for it.
    pub(super) last: HashMap<(usize, bool), Duration>,
    /// Which connection of each party this is.
    pub(super) connections: Vec<u64>,
    plan: Plan,
    study: Option<String>,
    /// Which partner has asked for the present study, unless it was the operator.
    pub(super) requester: Option<usize>,
    pub(super) beside: bool,
    pub(super) gone: Vec<bool>,
    pub(super) revoked: Vec<bool>,
    pub(super) changed: bool,
    /// Whether a steward's approval may be later than now, by its node's clock.
    pub(super) late: bool,
    pub(super) met: Met,
    pub(super) frames: u64,
}

/// What comes, of which party.
pub(super) enum Coming {
    Dials(usize),
    /// Its hello, or a frame of it.
    FromNode {
        party: usize,
        connection: u64,
        bytes: Vec<u8>,
        is_hello: bool,
    },
    ToNode {
        party: usize,
        connection: u64,
        bytes: Vec<u8>,
    },
    /// It should have been welcomed by now.
    Greeted {
        party: usize,
        connection: u64,
    },
    /// The coordinator notices that it is gone.
    Noticed {
        party: usize,
        connection: u64,
    },
    Looks(usize),
    Restarts(usize),
    CoordinatorRestarts,
}

impl Alliance {
    /// Founds it, of so many partners who are about to connect.
    pub(super) fn new(count: usize, choices: &mut Choices) -> Result<Self, Error> {
        let founded = Founded::new(count)?;
        let (clock, hands) = clock();
        let mut parties = Vec::new();
        for name in &NAMES[..count] {
            let secrets = Secrets::new(founded.rows(name, choices)?);
            if choices.below(4) == 0 {
                founded.by_steward(name)?;
            }
            parties.push(Party::start(name, founded.node(name), secrets)?);
        }
        let coordinator = Stepped::open(&founded.alliance(), clock.clone())?;
        let mut alliance = Self {
            founded,
            contributors: count,
            choices: Choices::new(choices.next(), [1]),
            parties,
            coordinator: Some(coordinator),
            hands,
            clock,
            now: Duration::ZERO,
            coming: BTreeMap::new(),
            number: 0,
            last: HashMap::new(),
            connections: vec![0; count],
            plan: Plan::new(&mut Choices::new(0, [0]), 1),
            study: None,
            requester: None,
            beside: false,
            gone: vec![false; count],
            revoked: vec![false; count],
            changed: false,
            late: false,
            met: Met::default(),
            frames: 0,
        };
        alliance.plan.ends();
        for party in 0..count {
            let within = alliance.choices.between(Duration::ZERO, LOOKS);
            alliance.comes(within, Coming::Dials(party));
            alliance.comes(within, Coming::Looks(party));
        }
        Ok(alliance)
    }

    /// From now on, this goes wrong.
    pub(super) fn plan(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// Submits a study of the operator's to which so many contribute. Its identifier.
    pub(super) fn submit(&mut self, study: Study, contributors: usize) -> Result<String, Error> {
        self.submit_by(None, study, contributors)
    }

    /// The same of a partner's, which signs it.
    pub(super) fn submit_by(
        &mut self,
        requester: Option<usize>,
        study: Study,
        contributors: usize,
    ) -> Result<String, Error> {
        (self.contributors, self.requester) = (contributors, requester);
        let id = match requester {
            None => self.up()?.submit(study)?,
            Some(party) => {
                let (now, name) = (self.clock.now(), self.parties[party].name);
                let key = self.parties[party].folder().identity()?;
                let id = identifier(now, [0, 0, 7]);
                let authority = self.up()?.roster()?.authority;
                let asking = Asking { authority, id: &id, requester: name };
                let petition = Petition::sign(&asking, study.digest(), now.as_second(), &key);
                self.up()?.submit_asked(study, id, name, petition)?
            }
        };
        self.study = Some(id.clone());
        self.carry()?;
        Ok(id)
    }

    /// Goes on until a study is over.
    pub(super) fn until_over(&mut self, id: &str, beside: bool) -> Result<(), Error> {
        self.beside = beside;
        let until = self.now + OVER;
        while !self.is_over(id)? {
            self.step()?;
            if self.now > until {
                let progress = self.coordinator.as_ref().and_then(|coordinator| coordinator.progress(id));
                return Err(format!("it is not over after {} s: {progress:?}", OVER.as_secs()).into());
            }
        }
        Ok(())
    }

    /// Once a study is over, everybody comes back, and hears of it.
    pub(super) fn until_told(&mut self) -> Result<(), Error> {
        self.plan.ends();
        for party in 0..self.parties.len() {
            if !self.parties[party].is_up() {
                self.comes(FASTEST, Coming::Restarts(party));
            }
        }
        let (again, until) = (self.now + TOLD / 2, self.now + TOLD);
        let mut is_again = false;
        while !self.is_told()? {
            self.step()?;
            if self.now > again && !is_again {
                // What was lost on a connection is told again on the next.
                is_again = true;
                (0..self.parties.len()).try_for_each(|party| self.disconnect(party))?;
            }
            if self.now > until {
                return Err("the end of the study does not reach everybody".into());
            }
        }
        Ok(())
    }

    fn is_over(&self, id: &str) -> Result<bool, Error> {
        let Some(coordinator) = &self.coordinator else { return Ok(false) };
        let study = coordinator.store().study(id)?.ok_or("the study is kept")?;
        Ok(study.state != StudyState::Running && coordinator.progress(id).is_none())
    }

    fn is_told(&self) -> Result<bool, Error> {
        let Some(coordinator) = &self.coordinator else { return Ok(false) };
        for (party, _) in self.parties.iter().zip(&self.revoked).filter(|(_, revoked)| !**revoked) {
            if !party.is_welcomed() || !coordinator.store().notices(party.name)?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The coordinator, which is up.
    pub(super) fn up(&mut self) -> Result<&mut Stepped, Error> {
        Ok(self.coordinator.as_mut().ok_or("the coordinator is up")?)
    }

    /// How a study stands, and why, where it has no result.
    pub(super) fn outcome(&mut self, id: &str) -> Result<(StudyState, Option<String>), Error> {
        let study = self.up()?.store().study(id)?.ok_or("the study is kept")?;
        Ok((study.state, study.reason))
    }

    /// A file of a study's result.
    pub(super) fn file(&mut self, id: &str, name: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.up()?.store().result_file(id, name)?)
    }

    /// What was seen of it.
    pub(super) fn seen(self) -> (Met, Vec<i64>, u64) {
        let masked = self.parties.iter().flat_map(|party| party.watched.numbers()).collect();
        (self.met, if self.beside { Vec::new() } else { masked }, self.frames)
    }

    pub(super) fn comes(&mut self, within: Duration, coming: Coming) {
        self.number += 1;
        self.coming.insert((self.now + within, self.number), coming);
    }

    /// A frame is on its way: behind those before it.
    pub(super) fn travels(&mut self, party: usize, is_for_it: bool, coming: Coming) {
        let arrives = self.now + self.choices.between(FASTEST, SLOWEST);
        let last = self.last.entry((party, is_for_it)).or_default();
        *last = arrives.max(*last);
        self.number += 1;
        self.coming.insert((*last, self.number), coming);
    }

    /// What comes next comes.
    fn step(&mut self) -> Result<(), Error> {
        let due = self.coordinator.as_ref().and_then(Stepped::timeout).map(|within| self.now + within);
        let next = self.coming.first_key_value().map(|((at, _), _)| *at);
        let at = due.into_iter().chain(next).min().ok_or("something comes")?;
        let by = at.saturating_sub(self.now);
        self.now += by;
        if !by.is_zero() {
            self.hands.advance(by);
            self.parties.iter_mut().for_each(|party| party.advance(by));
        }
        if next.is_some_and(|next| next <= at) {
            let (_, coming) = self.coming.pop_first().ok_or("something comes")?;
            self.happens(coming)?;
        } else if let Some(coordinator) = &mut self.coordinator {
            coordinator.time_passes()?;
        }
        self.carry()
    }

    /// Takes up what all have said.
    fn carry(&mut self) -> Result<(), Error> {
        for party in 0..self.parties.len() {
            let said = self.parties[party].said();
            self.says(party, said)?;
            let Some(coordinator) = &mut self.coordinator else { continue };
            let name = self.parties[party].name;
            let connection = self.connections[party];
            match coordinator.outgoing(name) {
                Some(frames) => {
                    for bytes in frames {
                        self.travels(party, true, Coming::ToNode { party, connection, bytes });
                    }
                }
                None => coordinator.disconnect(name)?,
            }
        }
        Ok(())
    }

    /// A node says frames.
    fn says(&mut self, party: usize, said: Vec<Vec<u8>>) -> Result<(), Error> {
        self.parties[party].check()?;
        for bytes in said {
            let mut reader = FrameReader::from_nodes();
            reader.feed(&bytes);
            let frame = reader.next_frame()?.ok_or("a node says whole frames")?;
            let who = &mut self.parties[party];
            who.watched
                .says(&frame, &bytes, self.contributors)
                .map_err(|problem| format!("{}: {problem}", who.name))?;
            if who.is_connected() {
                let connection = self.connections[party];
                self.travels(party, false, Coming::FromNode { party, connection, bytes, is_hello: false });
            }
        }
        Ok(())
    }

    fn happens(&mut self, coming: Coming) -> Result<(), Error> {
        match coming {
            Coming::Dials(party) => self.dials(party),
            Coming::Looks(party) => {
                self.comes(LOOKS, Coming::Looks(party));
                let decides = self.choices.below(3) == 0;
                let said = self.parties[party].looks(decides)?;
                self.says(party, said)
            }
            Coming::Greeted { party, connection } => {
                let is_late = connection == self.connections[party] && !self.parties[party].is_welcomed();
                if is_late { self.disconnect(party) } else { Ok(()) }
            }
            Coming::Noticed { party, connection } => {
                let name = self.parties[party].name;
                match &mut self.coordinator {
                    Some(coordinator) if connection == self.connections[party] => Ok(coordinator.disconnect(name)?),
                    _ => Ok(()),
                }
            }
            Coming::Restarts(party) => {
                self.parties[party].restart()?;
                self.comes(FASTEST, Coming::Dials(party));
                Ok(())
            }
            Coming::CoordinatorRestarts => {
                if self.coordinator.is_none() {
                    self.coordinator = Some(Stepped::open(&self.founded.alliance(), self.clock.clone())?);
                }
                Ok(())
            }
            Coming::FromNode { party, connection, .. } | Coming::ToNode { party, connection, .. }
                if connection != self.connections[party] =>
            {
                Ok(())
            }
            frame => {
                self.frames += 1;
                match self.plan.arrives() {
                    Some(fault) => self.goes_wrong(fault, frame),
                    None => self.arrives(frame),
                }
            }
        }
    }

    fn dials(&mut self, party: usize) -> Result<(), Error> {
        let who = &mut self.parties[party];
        if who.is_connected() || !who.is_up() || self.revoked[party] {
            return Ok(());
        }
        if self.coordinator.is_none() {
            self.comes(LOOKS, Coming::Dials(party));
            return Ok(());
        }
        let Some(bytes) = who.dial() else { return Ok(()) };
        self.connections[party] += 1;
        let connection = self.connections[party];
        self.travels(party, false, Coming::FromNode { party, connection, bytes, is_hello: true });
        self.comes(GREETING, Coming::Greeted { party, connection });
        Ok(())
    }

    /// A frame arrives.
    pub(super) fn arrives(&mut self, frame: Coming) -> Result<(), Error> {
        match frame {
            Coming::ToNode { party, bytes, .. } => match self.parties[party].hear(&bytes, self.beside) {
                Ok(said) => self.says(party, said),
                Err(Lost) => self.disconnect(party),
            },
            Coming::FromNode { party, bytes, is_hello, .. } => {
                let name = self.parties[party].name;
                let Some(coordinator) = &mut self.coordinator else { return Ok(()) };
                let heard = match is_hello {
                    true => coordinator.connect(name, &bytes),
                    false => coordinator.receive(name, &bytes),
                };
                if heard.is_err() { self.disconnect(party) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// A connection is lost, and both ends notice.
    pub(super) fn disconnect(&mut self, party: usize) -> Result<(), Error> {
        self.connections[party] += 1;
        self.parties[party].lose();
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.disconnect(self.parties[party].name)?;
        }
        let within = self.choices.between(Duration::from_millis(100), Duration::from_secs(2));
        self.comes(within, Coming::Dials(party));
        Ok(())
    }

    /// In which stage the study is.
    pub(super) fn stage(&self) -> String {
        let Some(coordinator) = &self.coordinator else { return "down".into() };
        let progress = self.study.as_ref().and_then(|study| coordinator.progress(study));
        progress.map_or_else(|| "over".into(), |progress| progress.stage.clone())
    }
}
