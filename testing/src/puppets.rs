//! Participants without a wire: a coordinator that a test plays speaks the real protocol to real participants over their real
//! folders, so that every message can be changed, lost, repeated or reordered, and every participant killed between any two.

use std::collections::BTreeMap;

use entente_examples::alliance::{Error, PARTNERS};
use entente_host::clock::{Clock, Hands, now};
use entente_node::participant::Participant;
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::identity::petition::Petition;
use entente_protocols::identity::{Roster, Signature};
use entente_protocols::ledger::entry::State;
use entente_protocols::ledger::reading::Reading;
use entente_protocols::ledger::receipt;
use entente_protocols::ledger::witness::Request;
use entente_protocols::secagg::agreement::Encapsulation;
use entente_protocols::secagg::collect::Collector;
use entente_protocols::secagg::pledge::SignedPledge;
use entente_protocols::study::proposal::Proposal;
use entente_protocols::study::{Question, Study};
use entente_protocols::testing::NOW;
use entente_protocols::wire::frame::{Frame, FrameReader};
use entente_protocols::wire::message::{Contribution, FromAttempt, FromNode, ToAttempt, ToNode};
use jiff::Timestamp;

use crate::world::{Founding, World};

/// The participants of an alliance of [`PARTNERS`], none of which runs.
pub struct Puppets {
    /// The alliance.
    pub world: World,
    /// The roster that they are shown when they start.
    pub roster: Roster,
    participants: BTreeMap<&'static str, Participant>,
    /// Of those whose clock a test moves by hand.
    clocks: BTreeMap<&'static str, Clock>,
    /// The hands of clocks that go on when a reply is waited for.
    moved: BTreeMap<&'static str, Hands>,
}

impl Puppets {
    /// Those of a new alliance, with the example's tables, who have confirmed the roster.
    pub async fn new() -> Result<Self, Error> {
        Self::of(World::of(&PARTNERS)).await
    }

    /// Those of an alliance of [`PARTNERS`] that is founded so.
    pub async fn of(founding: Founding<'_>) -> Result<Self, Error> {
        let mut world = founding.enrolled().await?;
        world.stop_coordinator().await;
        Self::over(world)
    }

    /// Over an alliance that was made before.
    pub fn over(world: World) -> Result<Self, Error> {
        let last = PARTNERS[PARTNERS.len() - 1];
        let roster = world.folder(last).offered_roster()?.ok_or("the last to join has seen all")?;
        let mut puppets =
            Self { world, roster, participants: BTreeMap::new(), clocks: BTreeMap::new(), moved: BTreeMap::new() };
        for partner in PARTNERS {
            puppets.start(partner)?;
        }
        PARTNERS.iter().for_each(|partner| puppets.read(partner));
        Ok(puppets)
    }

    /// Kills a participant, starts it again from its disk, and lets the others say what they hold of its ledger.
    pub fn restart(&mut self, partner: &'static str) -> Result<(), Error> {
        self.start(partner)?;
        self.read(partner);
        Ok(())
    }

    /// The same, and nobody has said anything to it yet.
    pub fn start(&mut self, partner: &'static str) -> Result<(), Error> {
        self.participants.remove(partner);
        self.moved.remove(partner);
        let folder = self.world.folder(partner);
        let clock = self.clocks.get(partner).cloned().unwrap_or_default();
        let participant = Participant::open(&folder, entente_node::load(&folder)?, clock)?;
        participant.identify()?;
        self.participants.insert(partner, participant);
        self.welcome(partner)
    }

    /// Kills a participant and starts it again at another time, until it is started again.
    pub fn restart_at(&mut self, partner: &'static str, now: Timestamp) -> Result<(), Error> {
        let (clock, hands) = Clock::by_hand(now);
        self.clocks.insert(partner, clock);
        let started = self.start(partner);
        self.clocks.remove(partner);
        self.moved.insert(partner, hands);
        started?;
        self.read(partner);
        Ok(())
    }

    /// Starts a participant again with a clock that stands still until its hands are moved.
    pub fn by_hand(&mut self, partner: &'static str) -> Result<Hands, Error> {
        let (clock, hands) = Clock::by_hand(entente_host::clock::now());
        self.clocks.insert(partner, clock);
        self.restart(partner)?;
        Ok(hands)
    }

    /// Lets the other participants say to one that has started what they hold of its ledger.
    pub fn read(&self, partner: &str) {
        for frame in frames_of(&self.participants[partner].ask_witnesses()) {
            let Ok(FromNode::Read { nonce }) = frame.decode() else { continue };
            for by in self.participants.keys().filter(|by| **by != partner) {
                if let Some(reading) = self.reading(by, partner, nonce) {
                    self.tell(partner, ToNode::Held { by: (*by).into(), reading });
                }
            }
        }
        // What else it has asked for is lost.
        self.reconnect(partner);
    }

    /// What a participant says that it holds of another's ledger.
    pub fn reading(&self, by: &str, node: &str, nonce: Digest) -> Option<Reading> {
        let said = self.tell_alone(by, ToNode::Read { node: node.into(), nonce });
        match said.first()?.decode() {
            Ok(FromNode::Held { reading, .. }) => Some(reading),
            _ => None,
        }
    }

    /// A participant.
    pub fn participant(&self, partner: &str) -> &Participant {
        &self.participants[partner]
    }

    /// Lets go of a participant, over whose folder something else is to run.
    pub fn let_go(&mut self, partner: &str) {
        self.participants.remove(partner);
    }

    /// Shows a participant the roster.
    pub fn welcome(&self, partner: &str) -> Result<(), Error> {
        Ok(self.participants[partner].welcome(self.roster.clone())?)
    }

    /// What a participant says at once when it connects.
    pub fn says_when_it_connects(&self, partner: &str) -> Vec<FromNode> {
        self.decoded(&self.participants[partner].ask_witnesses())
    }

    /// Frames of a participant.
    pub fn frames(&self, said: &[Vec<u8>]) -> Vec<Frame> {
        frames_of(said)
    }

    /// The same, where there is no contribution among them.
    pub fn decoded(&self, said: &[Vec<u8>]) -> Vec<FromNode> {
        frames_of(said).iter().map(|frame| frame.decode().expect("no contribution")).collect()
    }

    /// What a participant says of itself when it looks again at what waited.
    pub fn reconsider(&self, partner: &str) -> Vec<FromNode> {
        let participant = &self.participants[partner];
        let mut said = participant.reconsider();
        let taken_up = participant.taken_up().into_iter();
        said.extend(taken_up.flat_map(|(attempt, told)| participant.handle(ToNode::Attempt(attempt, told))));
        self.decoded(&said)
    }

    /// What a participant asks those who witness its ledger.
    pub fn asks_witnesses(&self, partner: &str) -> Vec<Request> {
        let asked = self.participants[partner].ask_witnesses();
        let request = |frame: &Frame| match frame.decode() {
            Ok(FromNode::Witness { request, .. }) => Some(request),
            _ => None,
        };
        frames_of(&asked).iter().filter_map(request).collect()
    }

    /// Connects a participant anew, as after a restart of the coordinator.
    pub fn reconnect(&self, partner: &str) {
        self.participants[partner].begin_connection();
    }

    /// What a participant answers, once the others have witnessed its ledger.
    pub fn tell(&self, partner: &str, message: ToNode) -> Vec<Frame> {
        self.witnessed(partner, self.tell_alone(partner, message))
    }

    /// What a participant says, once the others have witnessed its ledger as it asks in that.
    pub fn witnessed(&self, partner: &str, said: Vec<Frame>) -> Vec<Frame> {
        let (mut asks, mut answers) = apart(said);
        while let Some(frame) = asks.pop() {
            let Ok(FromNode::Witness { request, .. }) = frame.decode() else { continue };
            for witness in PARTNERS.iter().filter(|witness| **witness != partner) {
                let asked = ToNode::Witness { node: partner.into(), request: request.clone() };
                let FromNode::Witnessed { node, answer } = self.ask(witness, asked) else {
                    panic!("a witness answers")
                };
                assert_eq!(node, partner);
                let witnessed = ToNode::Witnessed { by: Some((*witness).into()), answer };
                let (again, more) = apart(self.tell_alone(partner, witnessed));
                asks.extend(again);
                answers.extend(more);
            }
        }
        answers
    }

    /// A proposal with what its partners publish, as an honest coordinator makes it.
    pub fn with_schemas(&self, proposal: Proposal) -> Proposal {
        let schema = |partner: &String| {
            let dataset = proposal.study.spec.dataset_of(partner).ok()??;
            let config = entente_node::load(&self.world.folder(partner)).ok()?;
            Some((partner.clone(), config.schema(&dataset)?.clone()))
        };
        let schemas: Vec<_> = proposal.partners.iter().filter_map(schema).collect();
        proposal.over(schemas)
    }

    /// What a participant answers, nobody having witnessed it; replies of rounds when they leave, unless its clock is moved by hand.
    pub fn tell_alone(&self, partner: &str, message: ToNode) -> Vec<Frame> {
        let message = match message {
            ToNode::Attempt(id, ToAttempt::Propose(proposal)) if proposal.schemas.is_empty() => {
                ToNode::Attempt(id, ToAttempt::Propose(Box::new(self.with_schemas(*proposal))))
            }
            other => other,
        };
        let participant = &self.participants[partner];
        tokio::task::block_in_place(|| {
            let mut said = participant.handle(message);
            while let Some(wait) = participant.due().filter(|_| !self.clocks.contains_key(partner)) {
                match self.moved.get(partner) {
                    Some(hands) => hands.advance(wait),
                    None => std::thread::sleep(wait),
                }
                said.extend(participant.leaves());
            }
            frames_of(&said)
        })
    }

    /// The one answer to a message, which must not be a contribution.
    pub fn ask(&self, partner: &str, message: ToNode) -> FromNode {
        let frames = self.tell(partner, message);
        assert_eq!(frames.len(), 1);
        frames[0].decode().expect("no contribution")
    }

    /// The same study as a partner asks for it, which has signed that under this identifier.
    pub fn asked_by(&self, partner: &str, proposed: &Proposed) -> Result<Proposed, Error> {
        let mut asked = proposed.clone();
        asked.proposal.requester = partner.into();
        let (asking, key) = (asked.proposal.asking(&asked.id, &self.roster), self.world.folder(partner).identity()?);
        asked.proposal.petition = Some(Petition::sign(&asking, asked.proposal.study.digest(), now().as_second(), &key));
        Ok(asked)
    }

    /// A participant's pledge to take part.
    pub fn pledge(&self, partner: &str, proposed: &Proposed) -> SignedPledge {
        match self.ask(partner, proposed.propose()) {
            FromNode::Attempt(_, FromAttempt::Pledged(pledge)) => *pledge,
            other => panic!("{partner} must pledge: {other:?}"),
        }
    }

    /// What all participants of an attempt sign, after all have pledged themselves to it.
    pub fn signatures(&self, proposed: &Proposed) -> Signed {
        let names = &proposed.proposal.participants;
        let pledges: Vec<SignedPledge> = names.iter().map(|partner| self.pledge(partner, proposed)).collect();
        let mut signed = Signed::default();
        for partner in names {
            match self.ask(partner, proposed.start(&pledges)) {
                FromNode::Attempt(_, FromAttempt::Signed { signature, encapsulations }) => {
                    signed.signatures.push((partner.clone(), signature));
                    signed.encapsulations.extend(encapsulations);
                }
                other => panic!("{partner} must sign: {other:?}"),
            }
        }
        signed
    }

    /// The question that an attempt over a data set asks.
    pub fn question(&self, dataset: &str, Proposed { proposal, .. }: &Proposed) -> Result<Question, Error> {
        let schema = entente_node::load(&self.world.folder(PARTNERS[0]))?.datasets[dataset].schema.clone();
        Ok(Question::new(&proposal.study, &schema, &proposal.participants, proposal.completed)?)
    }

    /// Collects the first round of a question that the attempt asks.
    pub fn collector(&self, proposed: &Proposed, question: &Question, input: Vec<u8>) -> Collector {
        let (names, length) = (question.participants().to_vec(), question.mechanism().layout().len());
        let (id, roster) = (proposed.id.clone(), self.roster.clone());
        Collector::new(id, names, roster, question.digest(), 1, input, length)
    }

    /// Tells everybody what comes next, each twice and each time after it was killed, and hands the collector what they answer.
    /// Their contributions are `sent`.
    pub fn step_with_kills(
        &mut self,
        collector: &mut Collector,
        proposed: &Proposed,
        mut sent: impl FnMut(&'static str, Contribution),
    ) -> Result<(), Error> {
        for partner in PARTNERS {
            let step = collector.next_for(partner);
            let Some(told) = ToAttempt::of(step, || proposed.proposal.clone()) else { continue };
            for _ in 0..2 {
                self.restart(partner)?;
                let frame = self.tell(partner, proposed.tells(told.clone())).pop().ok_or("an answer")?;
                if frame.is_contribution() {
                    let came = frame.decode_contribution()?;
                    collector.contribution(partner, came.transcript, came.round, &came.values)?;
                    sent(partner, came);
                    continue;
                }
                match frame.decode()? {
                    FromNode::Attempt(_, FromAttempt::Pledged(pledge)) => drop(collector.pledged(partner, *pledge)?),
                    FromNode::Attempt(_, FromAttempt::Signed { signature, encapsulations }) => {
                        collector.signed(partner, signature, encapsulations)?;
                    }
                    other => return Err(format!("{partner} answers {other:?}").into()),
                }
            }
        }
        Ok(())
    }

    /// The true end of an attempt whose one round was summed under this transcript, with a result of this hash.
    pub fn end(&self, dataset: &str, proposed: &Proposed, transcript: Digest, result: Digest) -> Result<ToNode, Error> {
        let question = self.question(dataset, proposed)?;
        let Proposed { id, proposal } = proposed;
        let round = receipt::Round {
            attempt: id.number,
            repeated: false,
            rho: question.mechanism().rho(),
            rho_person: question.mechanism().rho_person(),
            round: 1,
            transcript_sha256: transcript,
        };
        let subject = receipt::Subject {
            alliance: self.roster.alliance.clone(),
            attempt: id.number,
            authority: self.roster.authority,
            kind: proposal.study.spec.kind(),
            name: proposal.study.name.clone(),
            participants: question.participants().to_vec(),
            plan_sha256: question.plan_digest(),
            purpose: proposal.study.purpose.clone(),
            requester: proposal.requester.clone(),
            rounds: vec![round],
            study: id.study.clone(),
        };
        let files = BTreeMap::from([("result.json".to_owned(), result)]);
        let statement = receipt::Statement { files, finished: NOW.into(), subject };
        Ok(proposed.tells(ToAttempt::Finished { result, statement: receipt::canonical(&statement), model: None }))
    }

    /// How often each partner was charged.
    pub fn reserved(&self) -> Result<Vec<usize>, Error> {
        PARTNERS.iter().map(|partner| self.world.count(partner, State::Reserved)).collect()
    }
}

/// What the participants of an attempt have signed.
#[derive(Clone, Default)]
pub struct Signed {
    /// The signatures over the transcript.
    pub signatures: Vec<(String, Signature)>,
    /// What they have encapsulated to one another.
    pub encapsulations: Vec<Encapsulation>,
}

fn frames_of(said: &[Vec<u8>]) -> Vec<Frame> {
    let mut reader = FrameReader::from_nodes();
    said.iter().for_each(|frame| reader.feed(frame));
    std::iter::from_fn(|| reader.next_frame().expect("nodes send frames")).collect()
}

/// An attempt with what is proposed of it.
#[derive(Clone)]
pub struct Proposed {
    /// The attempt.
    pub id: AttemptId,
    /// What is proposed.
    pub proposal: Proposal,
}

impl Proposed {
    /// The first attempt of a study by all partners.
    pub fn new(study: Study) -> Self {
        let id = AttemptId::new(&study.name, 1);
        Self { id, proposal: Proposal::first(study, &PARTNERS.map(String::from), "operator") }
    }

    /// Another attempt of the same study, after `completed` rounds.
    #[must_use]
    pub fn again(&self, number: u32, completed: u32) -> Self {
        let proposal = Proposal { completed, ..self.proposal.clone() };
        Self { id: AttemptId::new(&self.id.study, number), proposal }
    }

    /// A message about it.
    pub fn tells(&self, told: ToAttempt) -> ToNode {
        ToNode::Attempt(self.id.clone(), told)
    }

    /// That it is proposed.
    pub fn propose(&self) -> ToNode {
        self.tells(ToAttempt::Propose(Box::new(self.proposal.clone())))
    }

    /// That these have pledged themselves.
    pub fn start(&self, pledges: &[SignedPledge]) -> ToNode {
        self.tells(ToAttempt::Start { pledges: pledges.to_vec() })
    }

    /// That the first round is to be computed, without an input.
    pub fn go(&self, signed: &Signed) -> ToNode {
        self.round(1, &[], signed)
    }

    /// That a round is to be computed.
    pub fn round(&self, round: u32, input: &[u8], signed: &Signed) -> ToNode {
        let Signed { signatures, encapsulations } = signed.clone();
        self.tells(ToAttempt::Go { round, input: input.to_vec(), signatures, encapsulations })
    }

    /// That what is stored is to be sent again.
    pub fn resend(&self, round: u32, transcript: Digest) -> ToNode {
        self.tells(ToAttempt::Resend { round, transcript })
    }
}

/// What a participant asks its witnesses, and what else it says.
fn apart(said: Vec<Frame>) -> (Vec<Frame>, Vec<Frame>) {
    said.into_iter().partition(|frame| matches!(frame.decode(), Ok(FromNode::Witness { .. })))
}

/// The answer is a refusal that says so.
pub fn refused(answer: FromNode, expected: &str) {
    match answer {
        FromNode::Attempt(_, FromAttempt::Refused { reason }) => assert!(reason.contains(expected), "{reason}"),
        other => panic!("must be refused for {expected}: {other:?}"),
    }
}
