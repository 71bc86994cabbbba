//! A node in memory: real keys, masks, ledger and noise of the protocols crate over real QUIC; made-up customers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use entente_host::link::{Frames, dial, tls, transport};
use entente_host::random::{random, random_secret};
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::identity::{IdentityKey, Member, Roster, Ticket};
use entente_protocols::kind::Kind;
use entente_protocols::language::schema::{ColumnType, DatasetSchema};
use entente_protocols::ledger::checkpoint::node_origin;
use entente_protocols::ledger::store::Memory;
use entente_protocols::ledger::witness::{self, Consistency, MAX_PROOFS};
use entente_protocols::ledger::{Begin, Caps, Head, Ledger, Signer};
use entente_protocols::policy::{Admitted, ApprovalMode, Approved, Decision, Policy, Request, StudyRef};
use entente_protocols::privacy::bounds::{Clipping, CustomerCell};
use entente_protocols::privacy::rho::Rho;
use entente_protocols::release;
use entente_protocols::secagg::mask::MaskKeys;
use entente_protocols::secagg::pledge::{EphemeralKey, Pledge, SignedPledge};
use entente_protocols::secagg::transcript::Transcript;
use entente_protocols::study::Question;
use entente_protocols::wire::frame::{self, Frame, FrameReader};
use entente_protocols::wire::message::{
    ALPN, ALPN_ENROL, Approval, COORDINATOR_NAME, CheckAnswer, Enrol, Enrolled, FromAttempt, FromNode, Proposal,
    ToAttempt, ToNode,
};
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::sync::{mpsc, watch};

/// How a node behaves other than well.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manners {
    /// Refuses proposals, with this reason.
    pub refuses: Option<String>,
    /// Closes the connection once, instead of answering this kind of message, and comes back.
    pub drops_once_at: Option<&'static str>,
    /// Goes for good instead of answering this kind of message.
    pub goes_at: Option<&'static str>,
    /// Says first that its steward must decide.
    pub asks_steward: bool,
    /// Its clock is ahead by so many seconds.
    pub clock_ahead: i64,
    /// Hides its ledger's entries, as if restored from a backup.
    pub forgets_ledger: bool,
}

/// Keys and a certificate: what joining gives.
pub struct Identity {
    pub name: String,
    pub address: SocketAddr,
    pub authority: CertificateDer<'static>,
    pub identity: IdentityKey,
    pub tls: KeyPair,
    pub certificate: Option<CertificateDer<'static>>,
    pub roster: Option<Roster>,
}

impl Identity {
    pub fn new(dir: &Path, name: &str, address: SocketAddr) -> Self {
        let secret = random_secret().unwrap();
        Self {
            name: name.into(),
            address,
            authority: CertificateDer::from_pem_file(dir.join("keys/authority.pem")).unwrap(),
            identity: IdentityKey::from_secret(&secret),
            tls: KeyPair::generate().unwrap(),
            certificate: None,
            roster: None,
        }
    }

    fn member(&self) -> Member {
        Member { identity: self.identity.public(), tls: Digest::plain(&self.tls.subject_public_key_info()) }
    }

    /// Uses a ticket.
    pub async fn join(&mut self, ticket: &Ticket) -> Result<(), String> {
        assert_eq!(ticket.authority, Digest::plain(&self.authority));
        let connection = self.dial(ALPN_ENROL, false).await?;
        let (mut send, receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
        let request = CertificateParams::default().serialize_request(&self.tls).unwrap().der().to_vec();
        let enrol = Enrol { partner: self.name.clone(), secret: ticket.secret, request, member: self.member() };
        send.write_all(&frame::encode(&enrol)).await.map_err(|error| error.to_string())?;
        let frame = next(&mut Frames::new(receive, FrameReader::enrolment())).await?;
        connection.close(0u32.into(), b"");
        match frame.decode::<Enrolled>().unwrap() {
            Enrolled::Accepted { certificate, authority, roster } => {
                assert_eq!(authority, self.authority.to_vec());
                assert_eq!(roster.members.get(&self.name), Some(&self.member()));
                (self.certificate, self.roster) = (Some(certificate.into()), Some(roster));
                Ok(())
            }
            Enrolled::Refused(reason) => Err(reason),
        }
    }

    /// Opens a connection, with the certificate or without.
    pub async fn dial(&self, alpn: &[u8], authenticated: bool) -> Result<quinn::Connection, String> {
        let builder = tls::client().with_root_certificates(tls::roots(&self.authority).unwrap());
        let config = if authenticated {
            let key = PrivatePkcs8KeyDer::from(self.tls.serialize_der());
            builder.with_client_auth_cert(vec![self.certificate.clone().unwrap()], key.into()).unwrap()
        } else {
            builder.with_no_client_auth()
        };
        let config = tls::quic_client(config, alpn, transport()).unwrap();
        let dialled = dial(config, self.address, COORDINATOR_NAME).await;
        dialled.map(|dialled| dialled.connection().clone()).map_err(|error| error.to_string())
    }

    /// Opens a connection and says hello. The streams have to be kept: their end is the session's.
    pub async fn hello(
        &self,
        datasets: Vec<DatasetSchema>,
    ) -> Result<(quinn::Connection, (quinn::SendStream, Frames)), String> {
        let connection = self.dial(ALPN, true).await?;
        let (mut send, receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
        let hello = FromNode::Hello {
            software: "fake 1".into(),
            roster: None,
            datasets,
            ledger: Head::EMPTY,
            clock: jiff::Timestamp::now().as_second(),
        };
        send.write_all(&frame::encode(&hello)).await.map_err(|error| error.to_string())?;
        let mut frames = Frames::new(receive, FrameReader::to_nodes());
        next(&mut frames).await?;
        Ok((connection, (send, frames)))
    }
}

/// The next frame of a stream that has one.
async fn next(frames: &mut Frames) -> Result<Frame, String> {
    frames.next().await.map_err(|error| error.to_string())?.ok_or_else(|| "the stream ended".into())
}

/// The schema of every fake node's data set.
pub fn schema() -> DatasetSchema {
    let region = ColumnType::Category { values: vec!["north".into(), "south".into()] };
    DatasetSchema { name: "customers".into(), privacy_unit: "id".into(), columns: [("region".into(), region)].into() }
}

/// A node that takes part.
pub struct FakeNode {
    pub identity: Identity,
    pub manners: Manners,
    pub schema: DatasetSchema,
    /// Customers in north and south.
    pub customers: [u32; 2],
    ledger: Ledger<Memory>,
    joined: HashMap<AttemptId, (Proposal, SignedPledge, [u8; 32])>,
    transcripts: HashMap<AttemptId, Transcript>,
    released: HashMap<AttemptId, Digest>,
    /// Kinds of the messages that came, in order.
    seen: mpsc::UnboundedSender<String>,
}

/// What the test holds of a node that runs.
pub struct Handle {
    pub seen: mpsc::UnboundedReceiver<String>,
    task: tokio::task::JoinHandle<FakeNode>,
    stop: watch::Sender<bool>,
}

enum After {
    Goes,
    ComesBack,
}

impl FakeNode {
    pub async fn enrolled(dir: &Path, name: &str, address: SocketAddr, customers: [u32; 2]) -> (Self, Unstarted) {
        let mut identity = Identity::new(dir, name, address);
        let ticket = entente::invite(dir, name, entente::DEFAULT_EXPIRES).unwrap();
        identity.join(&ticket).await.unwrap();
        let caps = Caps { lifetime: Rho::from_micro(10_000_000), per_study: Rho::from_micro(5_000_000), delta: 1e-6 };
        let ledger = Ledger::open(Memory::default(), [("customers".into(), caps)].into(), "fake 1").unwrap();
        let (seen, watched) = mpsc::unbounded_channel();
        let node = Self {
            identity,
            manners: Manners::default(),
            schema: schema(),
            customers,
            ledger,
            joined: HashMap::new(),
            transcripts: HashMap::new(),
            released: HashMap::new(),
            seen,
        };
        (node, Unstarted(watched))
    }

    pub fn spent(&self) -> Rho {
        self.ledger.spent("customers").rho
    }

    /// Runs until stopped, or until its manners make it go.
    pub fn start(mut self, watched: Unstarted) -> Handle {
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            loop {
                let after = tokio::select! {
                    after = self.session() => after,
                    _ = stopped.wait_for(|stop| *stop) => return self,
                };
                match after {
                    Ok(After::Goes) => return self,
                    Ok(After::ComesBack) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        Handle { seen: watched.0, task, stop }
    }

    async fn session(&mut self) -> Result<After, String> {
        let connection = self.identity.dial(ALPN, true).await?;
        let (mut send, receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
        let hello = FromNode::Hello {
            software: "fake 1".into(),
            roster: None,
            datasets: vec![self.schema.clone()],
            ledger: if self.manners.forgets_ledger { Head::EMPTY } else { self.ledger.head() },
            clock: jiff::Timestamp::now().as_second() + self.manners.clock_ahead,
        };
        send.write_all(&frame::encode(&hello)).await.map_err(|error| error.to_string())?;
        let mut frames = Frames::new(receive, FrameReader::to_nodes());
        loop {
            let message: ToNode = next(&mut frames).await?.decode().unwrap();
            let kind = kind(&message);
            let _ = self.seen.send(kind.into());
            if self.manners.goes_at == Some(kind) {
                connection.close(0u32.into(), b"gone");
                return Ok(After::Goes);
            }
            if self.manners.drops_once_at == Some(kind) {
                self.manners.drops_once_at = None;
                connection.close(0u32.into(), b"back soon");
                return Ok(After::ComesBack);
            }
            for bytes in self.answer(message) {
                send.write_all(&bytes).await.map_err(|error| error.to_string())?;
            }
        }
    }

    fn answer(&mut self, message: ToNode) -> Vec<Vec<u8>> {
        match message {
            ToNode::Welcome { roster, .. } => {
                self.identity.roster = Some(roster);
                vec![]
            }
            ToNode::Check { number, study, participants } => {
                let question = Question::new(&study, &self.schema, &participants, 0).unwrap();
                let approval = match &self.manners.refuses {
                    Some(reason) => Approval::Refused(reason.clone()),
                    None => Approval::Rules,
                };
                let answer = CheckAnswer {
                    approval,
                    rho: question.mechanism().rho(),
                    spent: self.spent(),
                    cap: Rho::from_micro(10_000_000),
                };
                vec![frame::encode(&FromNode::Checked { number, answer })]
            }
            ToNode::Attempt(id, told) => self.told(id, told),
            ToNode::Witness { .. } | ToNode::Witnessed { .. } => vec![],
        }
    }

    fn told(&mut self, id: AttemptId, told: ToAttempt) -> Vec<Vec<u8>> {
        let says = |said| frame::encode(&FromNode::Attempt(id.clone(), said));
        match told {
            ToAttempt::Propose(proposal) => self.propose(id, proposal),
            // No study of these tests has anything that participants say to each other.
            ToAttempt::Relayed { .. } => vec![],
            ToAttempt::Start { pledges } => {
                let (proposal, own, _) = &self.joined[&id];
                let roster = self.identity.roster.as_ref().unwrap();
                let transcript = Transcript::verify(&pledges, &proposal.participants, &own.pledge, roster).unwrap();
                let signature = transcript.sign(&self.identity.identity);
                self.transcripts.insert(id.clone(), transcript);
                vec![says(FromAttempt::Signed(signature))]
            }
            ToAttempt::Go { round, input, signatures } => {
                assert!(round == 1 && input.is_empty(), "a query has one round without an input");
                self.transcripts[&id].verify_signatures(&signatures).unwrap();
                vec![self.contribute(&id)]
            }
            ToAttempt::Resend { round: 1, transcript } => {
                let (proposal, own, _) = &self.joined[&id];
                assert_eq!(own.pledge.stored, Some(transcript), "what was offered, and nothing else");
                let question = Question::new(&proposal.study, &self.schema, &proposal.participants, 0).unwrap();
                let approved = self.approved(&id, proposal, &question);
                let outbound = self.ledger.repeated(approved, release_of(transcript), "now").unwrap();
                vec![frame::encode_contribution(&id, 1, &outbound)]
            }
            ToAttempt::Resend { .. } => panic!("a query has one round"),
            ToAttempt::Finished { result, .. } => {
                if let Some(release) = self.released.get(&id) {
                    self.ledger.released(*release, result, "now").unwrap();
                }
                vec![self.asks_witnesses(), says(FromAttempt::Closed { part: None })]
            }
            ToAttempt::Abandoned { .. } => vec![],
        }
    }

    fn asks_witnesses(&self) -> Vec<u8> {
        let origin = node_origin(Digest::plain(&self.identity.authority), &self.identity.name);
        let key = IdentityKey::from_secret(&self.identity.identity.secret());
        let checkpoint = self.ledger.checkpoint(&Signer { origin, key }).unwrap();
        // From every size that the coordinator may hold.
        let (tree, size) = (self.ledger.chain().tree(), checkpoint.statement().size);
        let proofs = (1..size).rev().take(MAX_PROOFS);
        let proofs = proofs.map(|from| Consistency { from, hashes: tree.consistency(from, size).unwrap() }).collect();
        let request = witness::Request { checkpoint: checkpoint.to_string(), proofs, recoveries: Vec::new() };
        frame::encode(&FromNode::Witness { request, of: None })
    }

    fn propose(&mut self, id: AttemptId, proposal: Proposal) -> Vec<Vec<u8>> {
        let says = |said| frame::encode(&FromNode::Attempt(id.clone(), said));
        if let Some(reason) = &self.manners.refuses {
            return vec![says(FromAttempt::Refused { reason: reason.clone() })];
        }
        let mut answers = Vec::new();
        if self.manners.asks_steward {
            answers.push(says(FromAttempt::Waiting { reason: "its steward has to decide".into() }));
        }
        if !self.joined.contains_key(&id) {
            let question = Question::new(&proposal.study, &self.schema, &proposal.participants, 0).unwrap();
            let secret = random::<32>().unwrap();
            let stored = self.ledger.stored_answer(question.digest(), self.snapshot());
            let pledge = Pledge {
                attempt: id.clone(),
                participant: self.identity.name.clone(),
                question: question.digest(),
                ephemeral: EphemeralKey::from_secret(secret).public(),
                ledger: self.ledger.head(),
                stored,
            };
            let signed = SignedPledge::new(pledge, &self.identity.identity);
            self.joined.insert(id.clone(), (proposal, signed, secret));
        }
        answers.push(says(FromAttempt::Pledged(self.joined[&id].1.clone())));
        answers
    }

    fn contribute(&mut self, key: &AttemptId) -> Vec<u8> {
        let (proposal, _, secret) = &self.joined[key];
        let (transcript, question) =
            (&self.transcripts[key], Question::new(&proposal.study, &self.schema, &proposal.participants, 0).unwrap());
        let digest = transcript.digest();
        let approved = self.approved(key, proposal, &question);
        let release = release_of(digest);
        let ephemeral = EphemeralKey::from_secret(*secret);
        let keys = MaskKeys::derive(transcript, &self.identity.name, &ephemeral, 1, Digest::ZERO).unwrap();
        let outbound = match self.ledger.reserve(approved, release, digest, "now").unwrap() {
            Begin::Send(outbound) => outbound,
            Begin::Compute(mut reservation) => {
                let mut clipping = Clipping::new(Arc::new(question.mechanism().layout().clone()));
                for (cell, count) in self.customers.iter().enumerate() {
                    for _ in 0..*count {
                        let cell = u32::try_from(cell).unwrap();
                        clipping.customer(std::iter::once(CustomerCell { cell, rows: 1, sums: &[] }));
                    }
                }
                let permit = reservation.draw().unwrap();
                let masked = release::add_noise(permit, clipping.finish()).unwrap().mask(&keys).unwrap();
                self.ledger.computed(masked, "now").unwrap()
            }
        };
        self.released.insert(key.clone(), release);
        frame::encode_contribution(key, 1, &outbound)
    }

    fn snapshot(&self) -> Digest {
        Digest::of("fake snapshot", &[&self.customers[0].to_le_bytes(), &self.customers[1].to_le_bytes()])
    }

    fn approved(&self, id: &AttemptId, proposal: &Proposal, question: &Question) -> Approved {
        let policy = Policy {
            approve: ApprovalMode::Auto,
            kinds: vec![Admitted::Studies(Kind::Query)],
            min_partners: 1,
            min_colluders: 0,
            per_study: Rho::from_micro(5_000_000),
        };
        let study = StudyRef {
            id: id.study.clone(),
            attempt: id.number,
            name: proposal.study.name.clone(),
            purpose: proposal.study.purpose.clone(),
            legal_basis: None,
            kind: proposal.study.spec.kind(),
            plan_sha256: Some(question.plan().digest()),
            question_sha256: Some(question.digest()),
        };
        let request = Request {
            study,
            dataset: "customers".into(),
            snapshot: self.snapshot(),
            consent: None,
            requester: proposal.requester.clone(),
            recipients: vec![proposal.requester.clone()],
            participants: proposal.participants.clone(),
            privacy_unit: "id".into(),
            round: 1,
            rho: question.rho_from(0),
            mechanism: Arc::new(question.mechanism().clone()),
            delta: proposal.study.privacy.delta,
        };
        match policy.decide(request, None) {
            Decision::Approved(approved) => approved,
            Decision::AskSteward => panic!("the rules decide"),
            Decision::Refused(reason) => panic!("{reason}"),
        }
    }
}

/// The name of the one release under a transcript.
fn release_of(transcript: Digest) -> Digest {
    Digest::of("fake release", &[&transcript.0])
}

/// The watching half of a node that does not run yet.
pub struct Unstarted(mpsc::UnboundedReceiver<String>);

impl Handle {
    /// Waits until a message of this kind has come.
    pub async fn sees(&mut self, kind: &str) {
        let wait = async {
            while let Some(seen) = self.seen.recv().await {
                if seen == kind {
                    return;
                }
            }
            panic!("the node has ended without seeing {kind}");
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("{kind} did not come"));
    }

    /// Stops the node and gives it back.
    pub async fn stop(mut self) -> (FakeNode, Unstarted) {
        let _ = self.stop.send(true);
        let node = self.task.await.unwrap();
        while self.seen.try_recv().is_ok() {}
        (node, Unstarted(self.seen))
    }
}

fn kind(message: &ToNode) -> &'static str {
    match message {
        ToNode::Welcome { .. } => "welcome",
        ToNode::Check { .. } => "check",
        ToNode::Witness { .. } => "witness",
        ToNode::Witnessed { .. } => "witnessed",
        ToNode::Attempt(_, told) => match told {
            ToAttempt::Propose(_) => "propose",
            ToAttempt::Start { .. } => "start",
            ToAttempt::Go { .. } => "go",
            ToAttempt::Resend { .. } => "resend",
            ToAttempt::Relayed { .. } => "relayed",
            ToAttempt::Finished { .. } => "finished",
            ToAttempt::Abandoned { .. } => "abandoned",
        },
    }
}
