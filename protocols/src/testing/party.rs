//! Parties of an alliance in memory.

use std::sync::Arc;

use crate::attempt::AttemptId;
use crate::digest::Digest;
use crate::identity::{IdentityKey, Member, Roster, Signature};
use crate::kind::Kind;
use crate::ledger::rules::Rules;
use crate::ledger::store::{Memory, Store};
use crate::ledger::{Begin, Budgets, Caps, Head, Ledger, Permit};
use crate::policy::{Admitted, ApprovalMode, Approved, Decision, MinColluders, Policy, Request, Requesters, StudyRef};
use crate::privacy::bounds::Bounded;
use crate::privacy::mechanism::Mechanism;
use crate::privacy::rho::Rho;
use crate::release::{add_full_noise, add_noise};
use crate::secagg::agreement::{Agreed, Encapsulation};
use crate::secagg::mask::MaskKeys;
use crate::secagg::pledge::{EphemeralKey, EphemeralPublic, Pledge, SignedPledge};
use crate::secagg::transcript::{Abort, Transcript};
use crate::wire::frame::{FrameReader, encode_contribution};
use crate::wire::message::Contribution;

/// The data set that requests are about unless a test says otherwise.
pub const DATASET: &str = "d";
/// What stewards have decided on.
const PROPOSAL: Digest = Digest([6; 32]);
/// The snapshot that everything is computed over.
const SNAPSHOT: Digest = Digest([1; 32]);
/// The time of entries.
pub const NOW: &str = "2026-01-01T00:00:00Z";

/// The attempt that parties take part in.
pub fn attempt() -> AttemptId {
    AttemptId::new("s", 1)
}

/// What a node whose rules admit it is asked: the first round of [`attempt`], over [`DATASET`].
pub fn request(mechanism: &Mechanism, participants: &[String]) -> Request {
    Request {
        study: StudyRef {
            id: attempt().study,
            attempt: attempt().number,
            name: "n".into(),
            purpose: "p".into(),
            legal_basis: None,
            kind: Kind::Query,
            plan_sha256: None,
            question_sha256: None,
            terms_sha256: Digest([4; 32]),
            proposal_sha256: Digest::ZERO,
        }
        .asked_by("operator"),
        dataset: DATASET.into(),
        snapshot: Some(SNAPSHOT),
        consent: None,
        requester: "operator".into(),
        petition: None,
        recipients: vec!["operator".into()],
        participants: participants.to_vec(),
        privacy_unit: "id".into(),
        round: 1,
        mechanism: Arc::new(mechanism.clone()),
        by_year: None,
        rho: mechanism.rho(),
        most: Rho::from_micro(u64::MAX),
        stated: mechanism.rho(),
        delta: 1e-6,
        own_numbers: false,
    }
}

/// Has a request decided on by rules that admit it.
pub fn approved(request: Request) -> Approved {
    let rules = Policy {
        approve: ApprovalMode::Auto,
        kinds: vec![Admitted::Studies(request.study.kind)],
        min_partners: 1,
        min_colluders: MinColluders::Absolute(0),
        own_numbers: true,
        per_study: request.rho,
        min_epsilon: 0.0,
        requesters: Requesters::default(),
    };
    match rules.decide(request, None) {
        Decision::Approved(approved) => approved,
        Decision::AskSteward => panic!("the rules decide"),
        Decision::Refused(reason) => panic!("the rules admit it: {reason}"),
    }
}

/// Charges a release that was not charged before.
pub fn charge<S: Store>(ledger: &mut Ledger<S>, request: Request, release: Digest, transcript: Digest) -> Permit {
    let begun = ledger.reserve(approved(request), release, transcript, NOW).expect("within the caps");
    let Begin::Compute(mut reservation) = begun else { panic!("nothing is computed yet") };
    reservation.draw().expect("the first permit of a reservation")
}

/// A party with fixed keys and a ledger of its own.
pub struct Party {
    /// Its name.
    pub name: String,
    /// Signs its pledges and transcripts.
    pub identity: IdentityKey,
    /// Its mask key.
    pub ephemeral: EphemeralKey,
    /// What it says the public half of that is.
    pub public: EphemeralPublic,
    /// Its ledger.
    pub ledger: Ledger<Memory>,
}

impl Party {
    /// Party number `number`, which may spend `budget` on [`DATASET`].
    pub fn new(name: &str, number: u8, budget: Rho) -> Self {
        let ephemeral = EphemeralKey::from_secret([100 + number; 32]);
        let caps = Caps { lifetime: budget, per_study: budget, delta: 1e-6 };
        Self {
            name: name.into(),
            identity: IdentityKey::from_secret(&[1 + number; 32]),
            public: ephemeral.public(),
            ephemeral,
            ledger: Ledger::open(
                Memory::default(),
                Budgets::new(Rules::open([(DATASET, "people", "id")]), caps),
                "test 1",
            )
            .expect("an empty store"),
        }
    }

    /// So many parties, `p0` and on.
    pub fn some(count: u8) -> Vec<Self> {
        (0..count).map(|number| Self::new(&format!("p{number}"), number, Rho::from_micro(1_000_000))).collect()
    }

    /// Pledges to take part in [`attempt`].
    pub fn pledge(&self, question: Digest) -> SignedPledge {
        self.pledge_with(question, None)
    }

    /// The same, offering a stored answer.
    pub fn pledge_with(&self, question: Digest, stored: Option<Digest>) -> SignedPledge {
        let (attempt, participant, ephemeral) = (attempt(), self.name.clone(), self.public.clone());
        let (proposal, ledger, seen) = (PROPOSAL, Head::EMPTY, Vec::new());
        let pledge = Pledge { attempt, participant, proposal, question, ephemeral, ledger, stored, seen };
        SignedPledge::new(pledge, &self.identity)
    }
}

impl Party {
    /// Its signature over a transcript, and what it has encapsulated to earlier participants.
    pub fn sign(&self, transcript: &Transcript) -> (Signature, Vec<Encapsulation>) {
        let Self { name, ephemeral, identity, .. } = self;
        let sent = Encapsulation::of(transcript, name, ephemeral, identity).expect("keys that are some");
        (transcript.sign(identity), sent)
    }
}

/// What they have all encapsulated to one another, those whose pledges and keys agree.
pub fn encapsulations(parties: &[Party], transcript: &Transcript) -> Vec<Encapsulation> {
    let of = |party: &Party| Encapsulation::of(transcript, &party.name, &party.ephemeral, &party.identity);
    parties.iter().filter_map(|party| of(party).ok()).flatten().collect()
}

/// What party number `me` shares with the others.
///
/// # Errors
///
/// As [`Agreed::with_all`].
pub fn agreed(parties: &[Party], me: usize, transcript: &Transcript) -> Result<Agreed, Abort> {
    let Party { name, ephemeral, .. } = &parties[me];
    Agreed::with_all(transcript, name, ephemeral, &encapsulations(parties, transcript))
}

/// Names and roster of parties.
pub fn alliance(parties: &[Party]) -> (Vec<String>, Roster) {
    let member = |party: &Party| (party.name.clone(), Member { identity: party.identity.public(), tls: Digest::ZERO });
    let names = parties.iter().map(|party| party.name.clone()).collect();
    let members = parties.iter().map(member).collect();
    let coordinator = IdentityKey::from_secret(&[99; 32]).public();
    (names, Roster { alliance: "a".into(), authority: Digest([5; 32]), coordinator, members })
}

/// Parties that have pledged to take part in one attempt and signed its transcript.
pub struct Parties {
    /// The parties, in the order of their names here.
    pub parties: Vec<Party>,
    names: Vec<String>,
    transcript: Transcript,
}

impl Parties {
    /// Each of these may spend `budget`. Each has checked the others' pledges and signatures.
    pub fn new(names: &[&str], question: Digest, budget: Rho) -> Self {
        let party = |(number, name): (u8, &&str)| Party::new(name, number, budget);
        let parties: Vec<Party> = (0..).zip(names).map(party).collect();
        let (names, roster) = alliance(&parties);
        let pledges: Vec<SignedPledge> = parties.iter().map(|party| party.pledge(question)).collect();
        let transcripts = pledges.iter().map(|own| Transcript::verify(&pledges, &names, &own.pledge, &roster));
        let transcripts: Vec<Transcript> = transcripts.collect::<Result<_, _>>().expect("all pledged the same");
        let signed = parties.iter().zip(&transcripts);
        let signatures: Vec<_> =
            signed.map(|(party, transcript)| (party.name.clone(), transcript.sign(&party.identity))).collect();
        let transcript = transcripts.into_iter().next().expect("there is a party");
        transcript.verify_signatures(&signatures).expect("all have signed");
        Self { parties, names, transcript }
    }

    /// One party's vector of a round, as the coordinator receives it.
    pub fn release(&mut self, party: usize, round: u32, mechanism: &Mechanism, bounded: Bounded) -> Contribution {
        let transcript = self.transcript.digest();
        let release = Digest::of("test release", &[&transcript.0, &round.to_le_bytes()]);
        let agreed = agreed(&self.parties, party, &self.transcript).expect("keys of all");
        let ledger = &mut self.parties[party].ledger;
        let permit = charge(ledger, Request { round, ..request(mechanism, &self.names) }, release, transcript);
        let outbound = if self.names.len() == 1 {
            ledger.computed(
                add_full_noise(permit, bounded).expect("of the layout that was charged for"),
                Some(SNAPSHOT),
                NOW,
            )
        } else {
            let noised = add_noise(permit, bounded).expect("of the layout that was charged for");
            let keys = MaskKeys::with_all(&agreed, round, Digest::ZERO);
            ledger.computed(noised.mask(&keys).expect("keys of all"), Some(SNAPSHOT), NOW)
        };
        let mut reader = FrameReader::from_nodes();
        reader.feed(&encode_contribution(&attempt(), round, &outbound.expect("charged before")));
        let frame = reader.next_frame().expect("a frame").expect("all of it");
        frame.decode_contribution().expect("a contribution")
    }

    /// The sum of a round over all parties, each of which brings what `bounded` says.
    pub fn sum(&mut self, round: u32, mechanism: &Mechanism, bounded: impl Fn(usize) -> Bounded) -> Vec<i64> {
        let mut total = vec![0i64; mechanism.layout().len()];
        for party in 0..self.parties.len() {
            let values = self.release(party, round, mechanism, bounded(party)).values;
            total.iter_mut().zip(values).for_each(|(total, value)| *total = total.wrapping_add(value));
        }
        total
    }
}
