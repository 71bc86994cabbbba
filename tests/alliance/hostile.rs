//! A hostile coordinator: it speaks the real protocol to real participants, without a wire between, so that every message
//! can be changed, lost, repeated or reordered, and every node killed between any two of them.

use std::collections::BTreeMap;

use entente_examples::alliance::{Error, PARTNERS};
use entente_node::participant::Participant;
use entente_node::state::Folder;
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::identity::{IdentityKey, Member, Roster, Signature};
use entente_protocols::ledger::entry::State;
use entente_protocols::privacy::rho::Rho;
use entente_protocols::secagg::collect::{Collector, Stage};
use entente_protocols::secagg::pledge::SignedPledge;
use entente_protocols::study::{Question, Study};
use entente_protocols::wire::frame::{Frame, FrameReader};
use entente_protocols::wire::message::{FromAttempt, FromNode, Proposal, ToAttempt, ToNode};
use entente_tests::{World, ledger, study};

pub const SQL: &str = "SELECT housing, COUNT(*) AS n FROM clients GROUP BY housing";

/// The participants of a world whose nodes do not run: driven by hand.
pub struct Puppets {
    pub world: World,
    pub roster: Roster,
    participants: BTreeMap<&'static str, Participant>,
}

impl Puppets {
    pub async fn new() -> Result<Self, Error> {
        let mut world = World::new().await?;
        for partner in PARTNERS {
            world.stop(partner).await;
        }
        Self::over(world)
    }

    /// Over an alliance of which nothing runs.
    pub fn over(world: World) -> Result<Self, Error> {
        let folder = Folder::new(world.folders().node(PARTNERS[2]));
        let roster = folder.offered_roster()?.ok_or("the last to join has seen all")?;
        let mut puppets = Self { world, roster, participants: BTreeMap::new() };
        for partner in PARTNERS {
            puppets.restart(partner)?;
        }
        Ok(puppets)
    }

    /// Kills a participant and starts it again from its disk.
    pub fn restart(&mut self, partner: &'static str) -> Result<(), Error> {
        self.participants.remove(partner);
        let folder = Folder::new(self.world.folders().node(partner));
        let participant = Participant::open(&folder, entente_node::load(&folder)?)?;
        participant.welcome(self.roster.clone())?;
        self.participants.insert(partner, participant);
        Ok(())
    }

    /// Connects a participant anew, as after a restart of the coordinator.
    pub fn reconnect(&self, partner: &str) {
        self.participants[partner].begin_connection();
    }

    /// What a participant answers, once the others have witnessed its ledger.
    pub fn tell(&self, partner: &str, message: ToNode) -> Vec<Frame> {
        let (mut asks, mut answers): (Vec<Frame>, Vec<Frame>) =
            self.tell_alone(partner, message).into_iter().partition(asks_witnesses);
        while let Some(frame) = asks.pop() {
            let Ok(FromNode::Witness { request, .. }) = frame.decode() else { continue };
            for witness in PARTNERS.iter().filter(|witness| **witness != partner) {
                let asked = ToNode::Witness { node: partner.into(), request: request.clone() };
                let FromNode::Witnessed { node, answer } = self.ask(witness, asked) else {
                    panic!("a witness answers")
                };
                assert_eq!(node, partner);
                let told = ToNode::Witnessed { by: Some((*witness).into()), answer };
                let (again, more): (Vec<Frame>, Vec<Frame>) =
                    self.tell_alone(partner, told).into_iter().partition(asks_witnesses);
                asks.extend(again);
                answers.extend(more);
            }
        }
        answers
    }

    /// What a participant answers at once.
    pub fn tell_alone(&self, partner: &str, message: ToNode) -> Vec<Frame> {
        let frames = tokio::task::block_in_place(|| self.participants[partner].handle(message));
        let mut reader = FrameReader::from_nodes();
        frames.iter().for_each(|frame| reader.feed(frame));
        std::iter::from_fn(|| reader.next_frame().expect("nodes send frames")).collect()
    }

    /// The one answer to a message, which is no contribution.
    pub fn ask(&self, partner: &str, message: ToNode) -> FromNode {
        let frames = self.tell(partner, message);
        assert_eq!(frames.len(), 1);
        frames[0].decode().expect("no contribution")
    }

    pub fn pledge(&self, partner: &str, proposed: &Proposed) -> SignedPledge {
        match self.ask(partner, proposed.propose()) {
            FromNode::Attempt(_, FromAttempt::Pledged(pledge)) => pledge,
            other => panic!("{partner} must pledge: {other:?}"),
        }
    }

    /// The signatures of all under the transcript of a proposal that all have joined.
    pub fn signatures(&self, proposed: &Proposed) -> Vec<(String, Signature)> {
        let pledges: Vec<SignedPledge> = PARTNERS.iter().map(|partner| self.pledge(partner, proposed)).collect();
        PARTNERS
            .iter()
            .map(|partner| match self.ask(partner, proposed.start(&pledges)) {
                FromNode::Attempt(_, FromAttempt::Signed(signature)) => ((*partner).to_owned(), signature),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    pub fn reserved(&self) -> Result<Vec<usize>, Error> {
        let count = |partner: &&str| {
            let entries = ledger(&self.world.folders().node(partner))?;
            Ok(entries.iter().filter(|entry| entry.state() == State::Reserved).count())
        };
        PARTNERS.iter().map(count).collect()
    }
}

fn asks_witnesses(frame: &Frame) -> bool {
    matches!(frame.decode(), Ok(FromNode::Witness { .. }))
}

/// An attempt with what is proposed of it.
#[derive(Clone)]
pub struct Proposed {
    pub id: AttemptId,
    pub proposal: Proposal,
}

impl Proposed {
    /// Something that is told of it.
    pub fn tells(&self, told: ToAttempt) -> ToNode {
        ToNode::Attempt(self.id.clone(), told)
    }

    pub fn propose(&self) -> ToNode {
        self.tells(ToAttempt::Propose(self.proposal.clone()))
    }

    pub fn start(&self, pledges: &[SignedPledge]) -> ToNode {
        self.tells(ToAttempt::Start { pledges: pledges.to_vec() })
    }

    /// The first round, without an input.
    pub fn go(&self, signatures: &[(String, Signature)]) -> ToNode {
        self.tells(ToAttempt::Go { round: 1, input: Vec::new(), signatures: signatures.to_vec() })
    }

    pub fn resend(&self, round: u32, transcript: Digest) -> ToNode {
        self.tells(ToAttempt::Resend { round, transcript })
    }

    /// Another attempt of the same study, behind so many rounds.
    pub fn again(&self, number: u32, completed: u32) -> Self {
        let proposal = Proposal { completed, ..self.proposal.clone() };
        Self { id: AttemptId::new(&self.id.study, number), proposal }
    }
}

pub fn proposal(id: &str, sql: &str) -> Result<Proposed, Error> {
    Ok(proposed(study(id, sql)?))
}

/// The first attempt of a study by all partners.
pub fn proposed(study: Study) -> Proposed {
    let participants = PARTNERS.map(String::from).into();
    let id = AttemptId::new(&study.name, 1);
    let proposal = Proposal { completed: 0, spent: Rho::ZERO, study, participants, requester: "operator".into() };
    Proposed { id, proposal }
}

pub fn refused(answer: FromNode, expected: &str) {
    match answer {
        FromNode::Attempt(_, FromAttempt::Refused { reason }) => assert!(reason.contains(expected), "{reason}"),
        other => panic!("must be refused for {expected}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_key_makes_every_node_abort_before_anything_is_charged() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let proposal = proposal("swap", SQL)?;
    let mut pledges: Vec<SignedPledge> = PARTNERS.iter().map(|partner| puppets.pledge(partner, &proposal)).collect();
    pledges[0].pledge.ephemeral = [9; 32];
    pledges[0] = SignedPledge::new(pledges[0].pledge.clone(), &IdentityKey::from_secret(&[66; 32]));
    for partner in PARTNERS {
        refused(puppets.ask(partner, proposal.start(&pledges)), "not signed");
    }
    assert_eq!(puppets.reserved()?, [0, 0, 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn different_plans_for_different_nodes_are_found() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let (one, other) = (proposal("plans", SQL)?, proposal("plans", &SQL.replace("GROUP", "WHERE age > 30 GROUP"))?);
    let pledges = [puppets.pledge("bank", &one), puppets.pledge("retailer", &other), puppets.pledge("telecom", &other)];
    for partner in PARTNERS {
        refused(puppets.ask(partner, one.start(&pledges)), "another plan");
    }
    assert_eq!(puppets.reserved()?, [0, 0, 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn invented_and_re_keyed_partners_are_refused_by_nodes_that_have_pinned() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    // The first study pins.
    puppets.pledge("bank", &proposal("pins", SQL)?);
    let fake = IdentityKey::from_secret(&[66; 32]);
    let member = Member { identity: fake.public(), tls: Digest::ZERO };
    for name in ["fake-one", "fake-two", "fake-three"] {
        puppets.roster.members.insert(name.into(), member.clone());
    }
    puppets.roster.members.insert("telecom".into(), member);
    puppets.participants["bank"].welcome(puppets.roster.clone())?;
    let mut invented = proposal("invented", SQL)?;
    invented.proposal.participants = ["bank", "fake-one", "fake-two", "fake-three"].map(String::from).into();
    refused(puppets.ask("bank", invented.propose()), "`fake-one` is not in the roster");
    refused(puppets.ask("bank", proposal("re-keyed", SQL)?.propose()), "`telecom` is not in the roster");
    // A restart forgets nothing of it.
    puppets.restart("bank")?;
    refused(puppets.ask("bank", proposal("again", SQL)?.propose()), "`telecom` is not in the roster");
    assert_eq!(puppets.reserved()?, [0, 0, 0]);
    Ok(())
}

/// Signatures over the transcript that are missing, or of another attempt.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_computed_until_all_have_signed_the_same() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let proposal = proposal("signatures", SQL)?;
    let signatures = puppets.signatures(&proposal);
    refused(puppets.ask("bank", proposal.go(&signatures[..2])), "did not sign");
    let mut exchanged = signatures.clone();
    exchanged[0].1 = signatures[1].1;
    refused(puppets.ask("retailer", proposal.go(&exchanged)), "did not sign");
    // A stored answer that nobody offered.
    refused(puppets.ask("telecom", proposal.resend(1, Digest::ZERO)), "did not offer");
    assert_eq!(puppets.reserved()?, [0, 0, 0]);
    Ok(())
}

/// Every node is killed between any two messages, and every message comes twice: one charge, one byte string each.
#[tokio::test(flavor = "multi_thread")]
async fn kills_and_repetitions_at_every_step_cost_nothing_more() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    let proposal = proposal("kills", SQL)?;
    let folder = Folder::new(puppets.world.folders().node("bank"));
    let schema = entente_node::load(&folder)?.datasets["clients"].schema.clone();
    let question = Question::new(&proposal.proposal.study, &schema, &proposal.proposal.participants, 0)?;
    let length = question.mechanism().layout().len();
    let mut collector = Collector::new(
        proposal.id.clone(),
        question.participants().to_vec(),
        puppets.roster.clone(),
        question.digest(),
        1,
        Vec::new(),
        length,
    );
    let mut sent: BTreeMap<&str, Vec<Vec<i64>>> = BTreeMap::new();
    while collector.stage() != Stage::Complete {
        for partner in PARTNERS {
            let step = collector.next_for(partner);
            let Some(told) = ToAttempt::of(step, || proposal.proposal.clone()) else { continue };
            let message = proposal.tells(told);
            for _ in 0..2 {
                puppets.restart(partner)?;
                let frame = puppets.tell(partner, message.clone()).pop().ok_or("an answer")?;
                if frame.is_contribution() {
                    let contribution = frame.decode_contribution()?;
                    collector.contribution(
                        partner,
                        contribution.transcript,
                        contribution.round,
                        &contribution.values,
                    )?;
                    sent.entry(partner).or_default().push(contribution.values);
                    continue;
                }
                let FromNode::Attempt(_, said) = frame.decode()? else { panic!("it is of the attempt") };
                match said {
                    FromAttempt::Pledged(pledge) => drop(collector.pledged(partner, pledge)?),
                    FromAttempt::Signed(signature) => drop(collector.signed(partner, signature)?),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert!(sent.values().all(|vectors| vectors.len() == 2 && vectors[0] == vectors[1]), "the same bytes");
    assert_eq!(puppets.reserved()?, [1, 1, 1]);
    // The sum is the answer: counts of clients with and without a housing loan.
    let sum = collector.sum().ok_or("complete")?;
    let entente_protocols::study::Plan::Query(plan) = question.plan() else { panic!("a query was asked") };
    let rows =
        entente_protocols::study::query::outcome::rows(plan, question.mechanism(), sum).ok_or("as long as the plan")?;
    let total: f64 = rows.iter().map(|row| row.measures[0].value).sum();
    let sd = question.mechanism().total_sd(0) * plan.grid_unit(&plan.sums[0]) * 2f64.sqrt();
    assert!((total - 18036.0).abs() < 7.0 * sd + 2.0, "{total} ± {sd}");
    // No vector alone resembles an answer: masked, its numbers are spread over all 64 bits.
    let large = |vector: &Vec<i64>| vector.iter().any(|value| value.unsigned_abs() > 1 << 50);
    assert!(sent.values().all(|vectors| large(&vectors[0])));
    Ok(())
}
