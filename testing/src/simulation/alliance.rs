//! An alliance whose parts run in one thread, and whose frames are on their way until their time has come.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use entente::stepped::Stepped;
use entente::store::StudyState;
use entente_examples::alliance::Error;
use entente_host::clock::Hands;
use entente_node::store::WitnessStore;
use entente_protocols::attempt::AttemptId;
use entente_protocols::identity::petition::{Asking, Petition, identifier};
use entente_protocols::ledger::quorum::quorum;
use entente_protocols::policy::usual_colluders;
use entente_protocols::study::file::Asked;
use entente_protocols::wire::frame::FrameReader;
use entente_protocols::wire::message::{ToAttempt, ToNode};

use super::fault::{Fault, Met, Plan};
use super::founding::{Founded, NAMES, clock};
use super::party::{Lost, Party};
use super::room::Room;
use crate::choices::Choices;

pub(super) const FASTEST: Duration = Duration::from_millis(1);
pub(super) const SLOWEST: Duration = Duration::from_millis(20);
/// How often nodes look again at what waits.
pub(super) const LOOKS: Duration = Duration::from_secs(1);
/// After how long without an answer to its hello a node dials again.
const GREETING: Duration = Duration::from_secs(10);
/// How long nobody does anything before a study is submitted.
const PAUSE: Duration = Duration::from_secs(1);
/// By when a study is over: no partner is waited for so long, in as many attempts as there can be.
const OVER: Duration = Duration::from_secs(3600);
/// How long its end may take to reach everybody, once nothing goes wrong any more.
const TOLD: Duration = Duration::from_secs(300);

/// See the module.
pub(super) struct Alliance {
    pub(super) founded: Founded,
    /// How many there were when it was founded: who enrols later is confirmed by nobody.
    founding: usize,
    /// Who contributes to attempts that were proposed.
    pub(super) contributors: HashMap<AttemptId, Vec<String>>,
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
    pub(super) plan: Plan,
    room: Option<Room>,
    study: Option<String>,
    /// Which partner has asked for a study, unless all are the operator's.
    pub(super) requester: Option<(String, usize)>,
    pub(super) beside: bool,
    pub(super) gone: Vec<bool>,
    pub(super) revoked: Vec<bool>,
    /// Of whom a message was changed on its way, and whether one was that is for all.
    pub(super) changed: Vec<bool>,
    pub(super) changed_for_all: bool,
    /// Whose older state was put back.
    pub(super) put_back: Vec<bool>,
    /// How many entries of another's ledger a party had witnessed before it was put back.
    knew: HashMap<(usize, usize), u64>,
    /// Whether a steward's approval may be later than now, by its node's clock.
    pub(super) late: bool,
    pub(super) met: Met,
    pub(super) frames: u64,
    /// How many bytes the coordinator has been sent.
    pub(super) heard: u64,
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
    /// Founds it, of so many partners who are about to connect. Several studies come at once where it is busy; at most so many run at once, where that is said.
    pub(super) fn new(
        count: usize,
        (is_busy, at_once): (bool, Option<usize>),
        choices: &mut Choices,
    ) -> Result<Self, Error> {
        let founded = Founded::new(count)?;
        if let Some(studies) = at_once {
            founded.at_once(studies)?;
        }
        let (clock, hands) = clock();
        let mut parties = Vec::new();
        for name in &NAMES[..count] {
            let secrets = founded.rows(name, choices)?;
            // What waits for a steward is looked at in no order, so there is one study where one decides.
            if choices.below(4) == 0 && !is_busy {
                founded.by_steward(name)?;
            }
            parties.push(Party::start(name, founded.node(name), secrets)?);
        }
        let coordinator = Stepped::open(&founded.alliance(), clock.clone())?;
        let mut alliance = Self {
            founded,
            founding: count,
            contributors: HashMap::new(),
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
            room: None,
            study: None,
            requester: None,
            beside: false,
            gone: vec![false; count],
            revoked: vec![false; count],
            changed: vec![false; count],
            changed_for_all: false,
            put_back: vec![false; count],
            knew: HashMap::new(),
            late: false,
            met: Met::default(),
            frames: 0,
            heard: 0,
        };
        alliance.plan.ends();
        for party in 0..count {
            let within = alliance.choices.between(Duration::ZERO, LOOKS);
            alliance.comes(within, Coming::Dials(party));
            alliance.comes(within, Coming::Looks(party));
        }
        Ok(alliance)
    }

    /// From now on, this goes wrong, and what all keep is bounded, while so many studies run.
    pub(super) fn plan(&mut self, plan: Plan, studies: u64) -> Result<(), Error> {
        if plan.has(Fault::PutBack) {
            self.parties.iter_mut().try_for_each(Party::keep_state)?;
        }
        self.plan = plan;
        self.room = Some(Room::of(&self.parties, &self.founded.alliance(), self.frames, studies)?);
        Ok(())
    }

    /// Submits a study of the operator's. Its identifier.
    pub(super) fn submit(&mut self, asked: Asked) -> Result<String, Error> {
        self.submit_by(None, asked)
    }

    /// The same of a partner's, which signs it; what follows one another is the operator's.
    pub(super) fn submit_by(&mut self, requester: Option<usize>, asked: Asked) -> Result<String, Error> {
        // Before that, nothing is heard for a second: identifiers begin with the time, and nothing depends on how they go on.
        self.passes(PAUSE);
        let id = match (requester, asked) {
            (Some(party), Asked::Study(study)) => {
                let (now, name) = (self.clock.now(), self.parties[party].name);
                let key = self.parties[party].folder().identity()?;
                let id = identifier(now, [0, 0, 7]);
                let authority = self.up()?.roster()?.authority;
                let asking = Asking { authority, id: &id, requester: name };
                let petition = Petition::sign(&asking, study.digest(), now.as_second(), &key);
                self.requester = Some((id.clone(), party));
                self.up()?.submit_asked(*study, id, name, petition)?
            }
            (_, asked) => self.up()?.submit(asked)?,
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
                let progress = self
                    .coordinator
                    .as_ref()
                    .and_then(|coordinator| coordinator.progress(&coordinator.present(id).ok()?));
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
        // What witnesses say to whoever came back with an older state may be on its way.
        let until = self.now + if self.put_back.contains(&true) { LOOKS } else { Duration::ZERO };
        while self.now < until {
            self.step()?;
        }
        Ok(())
    }

    fn is_over(&self, id: &str) -> Result<bool, Error> {
        let Some(coordinator) = &self.coordinator else { return Ok(false) };
        let (stage, state, _) = stands(coordinator, id)?;
        // Between two stages there is one with a result, and none that runs.
        let is_between = state == StudyState::Done && stage != id;
        Ok(state != StudyState::Running && !is_between && coordinator.progress(&stage).is_none())
    }

    /// Goes on until all have been welcomed.
    pub(super) fn until_welcomed(&mut self) -> Result<(), Error> {
        while !self.parties.iter().all(Party::is_welcomed) {
            self.step()?;
        }
        Ok(())
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
        let (_, state, reason) = stands(self.up()?, id)?;
        Ok((state, reason))
    }

    /// A file of a study's result.
    pub(super) fn file(&mut self, id: &str, name: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.up()?.store().result_file(id, name)?)
    }

    /// What was seen of it.
    pub(super) fn seen(self) -> (Met, Vec<i64>, u64) {
        let masked = self.parties.iter().flat_map(|party| party.watched.numbers()).collect();
        (self.met, masked, self.frames)
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

    /// Time passes, and nobody is told anything.
    fn passes(&mut self, by: Duration) {
        self.now += by;
        if !by.is_zero() {
            self.hands.advance(by);
            self.parties.iter_mut().for_each(|party| party.advance(by));
        }
    }

    /// What comes next comes.
    fn step(&mut self) -> Result<(), Error> {
        let due = self.coordinator.as_ref().and_then(Stepped::timeout).map(|within| self.now + within);
        let next = self.coming.first_key_value().map(|((at, _), _)| *at);
        let leaves = self.parties.iter().filter_map(Party::due).map(|within| self.now + within);
        let at = due.into_iter().chain(next).chain(leaves).min().ok_or("something comes")?;
        self.passes(at.saturating_sub(self.now));
        if next.is_some_and(|next| next <= at) {
            let (_, coming) = self.coming.pop_first().ok_or("something comes")?;
            self.happens(coming)?;
        } else if let Some(coordinator) = self.coordinator.as_mut().filter(|_| due.is_some_and(|due| due <= at)) {
            coordinator.time_passes()?;
        }
        self.carry()?;
        let folder = self.founded.alliance();
        self.room.as_ref().map_or(Ok(()), |room| room.check(&self.parties, &folder, self.frames, self.heard))
    }

    /// At the end.
    pub(super) fn check_folders(&self) -> Result<(), Error> {
        let folder = self.founded.alliance();
        self.room.as_ref().map_or(Ok(()), |room| room.check_folders(&self.parties, &folder, self.heard))
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
                        self.proposes(&bytes)?;
                        self.travels(party, true, Coming::ToNode { party, connection, bytes });
                    }
                }
                None => coordinator.disconnect(name)?,
            }
        }
        Ok(())
    }

    /// The coordinator tells a node something: who contributes, if it proposes an attempt.
    fn proposes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut reader = FrameReader::to_nodes();
        reader.feed(bytes);
        let frame = reader.next_frame()?.ok_or("the coordinator says whole frames")?;
        if let ToNode::Attempt(attempt, ToAttempt::Propose(proposal)) = frame.decode()?
            && !self.contributors.contains_key(&attempt)
        {
            let contributors = proposal.question().map_err(|refusal| refusal.to_string())?.contributors();
            self.contributors.insert(attempt, contributors);
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
                .says(&frame, &bytes, |attempt| self.contributors.get(attempt).map(Vec::len))
                .map_err(|problem| format!("{}: {problem}", who.name))?;
            if let Some(entry) = who.watched.charged_by(&frame) {
                self.check_witnessed(party, entry)?;
            }
            let who = &self.parties[party];
            if who.is_connected() {
                let connection = self.connections[party];
                self.travels(party, false, Coming::FromNode { party, connection, bytes, is_hello: false });
            }
        }
        Ok(())
    }

    /// How many entries of a party's ledger another one has witnessed, as far as it knows.
    fn knows(&self, witness: usize, party: usize) -> Result<u64, Error> {
        let Party { name, .. } = &self.parties[party];
        let identity = self.parties[party].folder().signer(name)?.key.public();
        let store = WitnessStore::open(&self.parties[witness].folder().state("witnessed.sqlite"))?;
        Ok(store.newest(&identity)?.map_or(0, |held| held.statement().size))
    }

    /// A party is put back to an older state, and does not know any more what it has witnessed since.
    pub(super) fn put_back(&mut self, party: usize) -> Result<(), Error> {
        for other in (0..self.founding).filter(|other| *other != party) {
            let knows = self.knows(party, other)?;
            let knew = self.knew.entry((party, other)).or_default();
            *knew = knows.max(*knew);
        }
        self.parties[party].put_back()?;
        self.put_back[party] = true;
        Ok(())
    }

    /// Of a vector that leaves, enough partners hold a checkpoint that includes its charge: so many that any two such sets share an
    /// honest one.
    fn check_witnessed(&self, party: usize, entry: u64) -> Result<(), Error> {
        let Party { name, watched, .. } = &self.parties[party];
        let others = (0..self.founding).filter(|other| *other != party);
        let witnesses: Vec<usize> = others.filter(|other| !watched.away.contains(self.parties[*other].name)).collect();
        let colluders = usual_colluders(u32::try_from(self.founding)?) as usize;
        let needed = if self.founding == 1 { 0 } else { quorum(witnesses.len(), colluders, 0) };
        let mut held = Vec::new();
        for witness in witnesses {
            let knew = self.knew.get(&(witness, party)).copied().unwrap_or_default();
            held.push((self.parties[witness].name, self.knows(witness, party)?.max(knew)));
        }
        let hold = held.iter().filter(|(_, entries)| *entries >= entry).count();
        if hold < needed {
            return Err(format!(
                "{name}: a vector leaves whose charge, entry {entry}, {hold} partners hold, and {needed} must: {held:?}"
            )
            .into());
        }
        Ok(())
    }

    fn happens(&mut self, coming: Coming) -> Result<(), Error> {
        match coming {
            Coming::Dials(party) => self.dials(party),
            Coming::Looks(party) => {
                self.comes(LOOKS, Coming::Looks(party));
                let decides = self.choices.below(3) == 0;
                if decides && self.parties[party].is_up() {
                    let is_missing =
                        |other: &usize| self.revoked[*other] || self.gone[*other] && !self.parties[*other].is_up();
                    let missing: Vec<&str> =
                        (0..self.founding).filter(is_missing).map(|other| self.parties[other].name).collect();
                    let away = &self.parties[party].watched.away;
                    let absent = away.len() + missing.iter().filter(|name| !away.contains(**name)).count();
                    // As the command does not go on without any witness.
                    if absent + 1 < self.founding {
                        self.parties[party].goes_on_without(&missing)?;
                    }
                }
                let said = self.parties[party].looks(decides, self.beside)?;
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
                self.heard += bytes.len() as u64;
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
        let present = self.study.as_ref().and_then(|study| Some((study, coordinator.present(study).ok()?)));
        let progress = present.and_then(|(study, present)| Some((*study == present, coordinator.progress(&present)?)));
        match progress {
            None => "over".into(),
            Some((true, progress)) => progress.stage.clone(),
            // What others follow.
            Some((false, progress)) => format!("1 {}", progress.stage),
        }
    }
}

/// The study that an identifier stands for now, how that stands, and why.
fn stands(coordinator: &Stepped, id: &str) -> Result<(String, StudyState, Option<String>), Error> {
    let (store, present) = (coordinator.store(), coordinator.present(id)?);
    let study = store.study(&present)?.ok_or("the study is kept")?;
    Ok(match store.composed(id)?.and_then(|composed| composed.refusal) {
        Some(refusal) => (present, StudyState::Refused, Some(refusal)),
        None => (present, study.state, study.reason),
    })
}
