//! A hostile coordinator: it speaks the real protocol to real participants, without a wire between, so that every message
//! can be changed, lost, repeated or reordered, and every node killed between any two of them.

use std::collections::BTreeMap;

use entente_examples::alliance::{Error, PARTNERS};
use entente_node::participant::Participant;
use entente_node::state::Folder;
use entente_protocols::digest::Digest;
use entente_protocols::identity::{IdentityKey, Member, Roster, Signature};
use entente_protocols::ledger::entry::State;
use entente_protocols::privacy::rho::Rho;
use entente_protocols::secagg::collect::{Collector, Stage, Step};
use entente_protocols::secagg::join::SignedJoin;
use entente_protocols::study::{Question, Study};
use entente_protocols::wire::frame::{Frame, FrameReader};
use entente_protocols::wire::message::{FromNode, Proposal, ToNode};
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

    pub fn join(&self, partner: &str, proposal: &Proposal) -> SignedJoin {
        match self.ask(partner, ToNode::Propose(proposal.clone())) {
            FromNode::Joined(join) => join,
            other => panic!("{partner} must join: {other:?}"),
        }
    }

    /// The signatures of all under the transcript of a proposal that all have joined.
    pub fn signatures(&self, proposal: &Proposal) -> Vec<(String, Signature)> {
        let joins: Vec<SignedJoin> = PARTNERS.iter().map(|partner| self.join(partner, proposal)).collect();
        PARTNERS
            .iter()
            .map(|partner| match self.ask(partner, start(proposal, &joins)) {
                FromNode::Signed { signature, .. } => ((*partner).to_owned(), signature),
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

pub fn proposal(id: &str, sql: &str) -> Result<Proposal, Error> {
    Ok(proposed(study(id, sql)?))
}

/// The first attempt of a study by all partners.
pub fn proposed(study: Study) -> Proposal {
    let participants = PARTNERS.map(String::from).into();
    Proposal {
        id: study.name.clone(),
        attempt: 1,
        completed: 0,
        spent: Rho::ZERO,
        study,
        participants,
        requester: "operator".into(),
    }
}

pub fn start(proposal: &Proposal, joins: &[SignedJoin]) -> ToNode {
    ToNode::Start { study: proposal.id.clone(), attempt: proposal.attempt, joins: joins.to_vec() }
}

pub fn refused(answer: FromNode, expected: &str) {
    match answer {
        FromNode::Refused { reason, .. } => assert!(reason.contains(expected), "{reason}"),
        other => panic!("must be refused for {expected}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_key_makes_every_node_abort_before_anything_is_charged() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let proposal = proposal("swap", SQL)?;
    let mut joins: Vec<SignedJoin> = PARTNERS.iter().map(|partner| puppets.join(partner, &proposal)).collect();
    joins[0].join.ephemeral = [9; 32];
    joins[0] = SignedJoin::new(joins[0].join.clone(), &IdentityKey::from_secret(&[66; 32]));
    for partner in PARTNERS {
        refused(puppets.ask(partner, start(&proposal, &joins)), "not signed");
    }
    assert_eq!(puppets.reserved()?, [0, 0, 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn different_plans_for_different_nodes_are_found() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let (one, other) = (proposal("plans", SQL)?, proposal("plans", &SQL.replace("GROUP", "WHERE age > 30 GROUP"))?);
    let joins = [puppets.join("bank", &one), puppets.join("retailer", &other), puppets.join("telecom", &other)];
    for partner in PARTNERS {
        refused(puppets.ask(partner, start(&one, &joins)), "another plan");
    }
    assert_eq!(puppets.reserved()?, [0, 0, 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn invented_and_re_keyed_partners_are_refused_by_nodes_that_have_pinned() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    // The first study pins.
    puppets.join("bank", &proposal("pins", SQL)?);
    let fake = IdentityKey::from_secret(&[66; 32]);
    let member = Member { identity: fake.public(), tls: Digest::ZERO };
    for name in ["fake-one", "fake-two", "fake-three"] {
        puppets.roster.members.insert(name.into(), member.clone());
    }
    puppets.roster.members.insert("telecom".into(), member);
    puppets.participants["bank"].welcome(puppets.roster.clone())?;
    let mut invented = proposal("invented", SQL)?;
    invented.participants = ["bank", "fake-one", "fake-two", "fake-three"].map(String::from).into();
    refused(puppets.ask("bank", ToNode::Propose(invented)), "`fake-one` is not in the roster");
    refused(puppets.ask("bank", ToNode::Propose(proposal("re-keyed", SQL)?)), "`telecom` is not in the roster");
    // A restart forgets nothing of it.
    puppets.restart("bank")?;
    refused(puppets.ask("bank", ToNode::Propose(proposal("again", SQL)?)), "`telecom` is not in the roster");
    assert_eq!(puppets.reserved()?, [0, 0, 0]);
    Ok(())
}

/// Signatures over the transcript that are missing, or of another attempt.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_computed_until_all_have_signed_the_same() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let proposal = proposal("signatures", SQL)?;
    let signatures = puppets.signatures(&proposal);
    let go = |signatures: Vec<_>| ToNode::Go {
        study: proposal.id.clone(),
        attempt: 1,
        round: 1,
        input: Vec::new(),
        signatures,
    };
    refused(puppets.ask("bank", go(signatures[..2].to_vec())), "did not sign");
    let mut exchanged = signatures.clone();
    exchanged[0].1 = signatures[1].1;
    refused(puppets.ask("retailer", go(exchanged)), "did not sign");
    // A stored answer that nobody offered.
    let resend = ToNode::Resend { study: proposal.id.clone(), attempt: 1, round: 1, transcript: Digest::ZERO };
    refused(puppets.ask("telecom", resend), "did not offer");
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
    let question = Question::new(&proposal.study, &schema, &proposal.participants, 0)?;
    let length = question.mechanism().layout().len();
    let mut collector = Collector::new(
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
            let (study, attempt) = (proposal.id.clone(), 1);
            let message = match collector.next_for(partner) {
                Step::Propose => ToNode::Propose(proposal.clone()),
                Step::Start(joins) => ToNode::Start { study, attempt, joins },
                Step::Go { round, input, signatures } => ToNode::Go { study, attempt, round, input, signatures },
                Step::Resend { round, transcript } => ToNode::Resend { study, attempt, round, transcript },
                Step::Wait => continue,
            };
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
                match frame.decode()? {
                    FromNode::Joined(join) => drop(collector.join(partner, join)?),
                    FromNode::Signed { signature, .. } => drop(collector.signed(partner, signature)?),
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
