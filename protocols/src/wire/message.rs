//! What the parties say. Every message to a node can be repeated without harm: the node answers from its own state.

use crate::attempt::AttemptId;
use crate::digest::Digest;
use crate::identity::petition::Petition;
use crate::identity::{Member, Roster, Signature};
use crate::language::schema::DatasetSchema;
use crate::ledger::Head;
use crate::ledger::reading::Reading;
use crate::ledger::receipt::Part;
use crate::ledger::witness::{Answer, Request};
use crate::privacy::rho::Rho;
use crate::reason::Reason;
use crate::secagg::agreement::Encapsulation;
use crate::secagg::collect::Step;
use crate::secagg::pledge::SignedPledge;
use crate::study::Study;
use crate::study::file::Asked;
use crate::study::proposal::Proposal;

/// ALPN of a node's or an operator's connection.
pub const ALPN: &[u8] = b"entente/1";
/// ALPN of an enrolment, the one connection without a client certificate.
pub const ALPN_ENROL: &[u8] = b"entente-enrol/1";
/// ALPN of a connection on which a partner asks for a study, beside its node's.
pub const ALPN_ASK: &[u8] = b"entente-ask/1";
/// The identifier under which a rehearsal's result comes.
pub const REHEARSAL: &str = "rehearsal";
/// The name in every coordinator's certificate: it is identified by its authority, not by where it listens.
pub const COORDINATOR_NAME: &str = "coordinator.entente";
/// The name in the operator's certificate. No partner can have it, as it is not a valid partner's name.
pub const OPERATOR_NAME: &str = "Operator";

/// From the coordinator to a node.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub enum ToNode {
    /// The answer to a node's hello.
    Welcome {
        /// The present roster.
        roster: Roster,
        /// Seconds since 1970 by the coordinator's clock.
        clock: i64,
    },
    /// The roster has changed since. Nothing else has: what is asked for and waits, goes on.
    Roster(Roster),
    /// What would you answer to this study? Nothing is touched.
    Check {
        /// Echoed in the answer.
        number: u64,
        /// The study, as it would be proposed.
        proposal: Box<Proposal>,
    },
    /// About an attempt of a study.
    Attempt(AttemptId, ToAttempt),
    /// Witness another node's ledger.
    Witness {
        /// The node.
        node: String,
        /// What it asks.
        request: Request,
    },
    /// A witness's answer on this node's ledger.
    Witnessed {
        /// The partner; `None` for the coordinator.
        by: Option<String>,
        /// What it says.
        answer: Answer,
    },
    /// Another node has started: what do you hold of its ledger?
    Read {
        /// The node.
        node: String,
        /// Of its start.
        nonce: Digest,
    },
    /// What a partner holds of this node's ledger.
    Held {
        /// The partner.
        by: String,
        /// Its answer.
        reading: Reading,
    },
}

/// From the coordinator to a node that takes part in an attempt, or is asked to.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub enum ToAttempt {
    /// Take part.
    Propose(Box<Proposal>),
    /// Everybody has pledged to take part.
    Start {
        /// All pledges.
        pledges: Vec<SignedPledge>,
    },
    /// Everybody has signed, and all earlier rounds are summed: compute this one.
    Go {
        /// The round, counted from 1 over all attempts.
        round: u32,
        /// Its public input; empty where there is none.
        input: Vec<u8>,
        /// All signatures over the transcript.
        signatures: Vec<(String, Signature)>,
        /// What later participants have encapsulated to this one.
        encapsulations: Vec<Encapsulation>,
    },
    /// Everybody holds a stored answer: send it again.
    Resend {
        /// The round.
        round: u32,
        /// The transcript it is stored under.
        transcript: Digest,
    },
    /// Another participant's message, which it sealed for this node ([`crate::secagg::channel`]).
    Relayed {
        /// Who sealed it.
        from: String,
        /// The sealed message.
        sealed: Vec<u8>,
    },
    /// The result is there.
    Finished {
        /// SHA-256 of the result.
        result: Digest,
        /// What the receipt states ([`crate::ledger::receipt`]), to be signed; empty where there is none.
        statement: String,
        /// The model file, where the study trained one.
        model: Option<Vec<u8>>,
    },
    /// The attempt is given up. What was charged stays charged.
    Abandoned {
        /// Why.
        reason: String,
        /// Whether the study is, and with it what staff have approved.
        is_over: bool,
    },
}

impl ToAttempt {
    /// What a participant receives at this step, if anything.
    pub fn of(step: Step, proposal: impl FnOnce() -> Proposal) -> Option<Self> {
        match step {
            Step::Propose => Some(Self::Propose(Box::new(proposal()))),
            Step::Start(pledges) => Some(Self::Start { pledges }),
            Step::Go { round, input, signatures, encapsulations } => {
                Some(Self::Go { round, input, signatures, encapsulations })
            }
            Step::Resend { round, transcript } => Some(Self::Resend { round, transcript }),
            Step::Wait => None,
        }
    }
}

/// From a node to the coordinator. Nothing in it depends on the data, and no error says why.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub enum FromNode {
    /// The first message of a connection.
    Hello {
        /// Name and version of the software.
        software: String,
        /// Fingerprint of the pinned roster, if one is pinned.
        roster: Option<Digest>,
        /// Public schemas of the data sets.
        datasets: Vec<DatasetSchema>,
        /// The ledger's head.
        ledger: Head,
        /// Seconds since 1970 by the node's clock.
        clock: i64,
    },
    /// The answer to a check.
    Checked {
        /// As in the question.
        number: u64,
        /// The answer.
        answer: CheckAnswer,
    },
    /// About an attempt of a study.
    Attempt(AttemptId, FromAttempt),
    /// Asks witnesses to cosign a checkpoint of this node's ledger: the coordinator, and through it other partners.
    Witness {
        /// What is asked.
        request: Request,
        /// Which partners are asked; all where there is no word of it.
        of: Option<Vec<String>>,
    },
    /// This node's answer on another one's ledger.
    Witnessed {
        /// The other.
        node: String,
        /// What is said to it.
        answer: Answer,
    },
    /// This node has started, and asks what other partners hold of its ledger.
    Read {
        /// Of this start.
        nonce: Digest,
    },
    /// What this node holds of another one's ledger.
    Held {
        /// The other.
        node: String,
        /// What is answered.
        reading: Reading,
    },
}

/// From a node that takes part in an attempt, or was asked to.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub enum FromAttempt {
    /// Takes part.
    Pledged(Box<SignedPledge>),
    /// Not yet: a person must decide, or the ledger's witnesses have not answered.
    Waiting {
        /// For what.
        reason: String,
    },
    /// Does not take part; by policy, budget, schema or a steward, never because of the data.
    Refused {
        /// Why.
        reason: String,
    },
    /// Signs the transcript.
    Signed {
        /// Over its hash.
        signature: Signature,
        /// What this node has encapsulated to every earlier participant, in the order of their names.
        encapsulations: Vec<Encapsulation>,
    },
    /// For another participant, sealed for it; the coordinator passes it on and keeps nothing.
    Relay {
        /// For whom.
        to: String,
        /// The sealed message.
        sealed: Vec<u8>,
    },
    /// Something went wrong here; this node's staff can see what.
    Failed,
    /// Has recorded the end of the attempt.
    Closed {
        /// Its part of the receipt; `None` of an attempt that was given up, or where it does not sign.
        part: Option<Box<Part>>,
    },
    /// Its round waits for its turn; said again whenever the round is asked for again.
    Queued {
        /// After so many rounds of other studies.
        after: u32,
    },
}

/// What a node would answer to a study.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub struct CheckAnswer {
    /// Who would decide: `rules`, `steward`, or nobody since it would be refused.
    pub approval: Approval,
    /// What it would cost; nothing if it would be refused before.
    pub rho: Rho,
    /// Spent on the data set so far.
    pub spent: Rho,
    /// The data set's cap.
    pub cap: Rho,
    /// Where its budget is by year, and `spent` is of the year in which least is left: the sum over all time and all years.
    pub all_time: Option<Rho>,
    /// The transcript under which it holds the answer over its present data, if it does: where all who contribute hold that of one
    /// transcript, it is sent again, and nobody is charged.
    pub stored: Option<Digest>,
    /// Why it would refuse to be charged anew, where it holds an answer and would send that again.
    pub not_anew: Option<String>,
}

/// Who would decide on a study.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Approval {
    /// The rules approve.
    Rules,
    /// A steward will be asked.
    Steward,
    /// Refused, and why.
    Refused(String),
    /// Nobody before the node's staff have confirmed the roster, and how they do that.
    Unconfirmed(String),
}

/// A contribution as the coordinator decodes it. It is another type than what nodes send: decoding makes nothing that
/// could be sent on as a contribution.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Decode)]
pub struct Contribution {
    /// The attempt.
    pub attempt: AttemptId,
    /// The round.
    pub round: u32,
    /// The transcript it is masked under.
    pub transcript: Digest,
    /// The masked vector, in grid units modulo 2^64.
    pub values: Vec<i64>,
}

/// From a joining node: the one message without a certificate.
#[derive(Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Enrol {
    /// The partner's name, as in the ticket.
    pub partner: String,
    /// The ticket's secret.
    pub secret: [u8; 32],
    /// Certificate signing request (DER), made with the node's TLS key.
    pub request: Vec<u8>,
    /// The node's identity and the hash of its TLS public key.
    pub member: Member,
}

/// The coordinator's answer to [`Enrol`].
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Enrolled {
    /// Welcome.
    Accepted {
        /// The node's certificate (DER).
        certificate: Vec<u8>,
        /// The authority's certificate (DER).
        authority: Vec<u8>,
        /// The roster with the new partner.
        roster: Roster,
    },
    /// No, and why.
    Refused(String),
}

/// From an operator's command line.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub enum FromOperator {
    /// Who is enrolled and connected.
    Partners,
    /// What would this study cost, and who must approve?
    Check {
        /// The study.
        study: Study,
    },
    /// Run it; followed by progress until it ends, if `follow`.
    Run {
        /// The study, or what comes to several that follow one another.
        asked: Asked,
        /// Whether to report progress.
        follow: bool,
    },
    /// Follow a study that runs.
    Follow(String),
    /// All studies.
    List,
    /// One study.
    Show(String),
    /// Give a study up.
    Cancel(String),
    /// Take a study up again.
    Resume(String),
    /// End a partner's certificate.
    Revoke(String),
    /// An operator has looked into an alarm.
    Acknowledge {
        /// Its number.
        alarm: i64,
        /// What was found.
        note: String,
    },
    /// Run this study over invented rows.
    Rehearse {
        /// The study.
        study: Study,
    },
}

/// From the command line of a partner's node, which asks for studies: one request a connection, as an operator has.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub enum FromRequester {
    /// What would this study cost, and who must approve?
    Check {
        /// The study.
        study: Study,
    },
    /// Run it; followed by progress until it ends, if `follow`.
    Run {
        /// The study.
        study: Study,
        /// The identifier that the requester has drawn for it.
        id: String,
        /// Its signature.
        petition: Petition,
        /// Whether to report progress.
        follow: bool,
    },
    /// Follow a study that it has asked for.
    Follow(String),
    /// All studies that it has asked for.
    List,
    /// One of them.
    Show(String),
    /// Give one of them up.
    Cancel(String),
    /// Run this study over invented rows.
    Rehearse {
        /// The study.
        study: Study,
    },
}

/// To an operator's command line, or a partner's that asks for studies.
#[derive(Clone, Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub enum ToOperator {
    /// Partners, as JSON.
    Partners(String),
    /// The answers of all participants, as JSON.
    Checked(String),
    /// The study is accepted under this identifier.
    Accepted(String),
    /// Where a study stands.
    Progress(Progress),
    /// A piece of a file of a study's result folder; the pieces of one file follow one another.
    Piece {
        /// The file's name.
        file: String,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// The result of this study is complete: all its pieces were sent. Of a composed study each leg has one, and the last has
    /// the identifier that was accepted.
    Result(String),
    /// Studies, as JSON.
    Studies(String),
    /// Done; the text says what.
    Done(String),
    /// Refused, or the user's mistake.
    Refused(Reason),
    /// Failed.
    Failed(Reason),
    /// What a partner has asked to see, as JSON and for people.
    Shown {
        /// The JSON.
        json: String,
        /// The same for people.
        text: String,
        /// Whether something in it speaks against running the study.
        refused: bool,
    },
}

/// Where a study stands.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Progress {
    /// The study.
    pub study: String,
    /// The attempt.
    pub attempt: u32,
    /// `waiting`, `joining`, `signing`, `summing`, `resending` or `complete`; `queued, 3rd` while others run.
    pub stage: String,
    /// The present round, counted from 1, and how many there are; 0 of 0 before that is known.
    pub rounds: (u32, u32),
    /// Seconds that the rounds to come will take if they go on like those before, once there are some.
    pub seconds_left: Option<u32>,
    /// Partners waited for, with the reason of each.
    pub waiting: Vec<(String, String)>,
    /// What happened on the way: partners that are no longer part of it, and why.
    pub notes: Vec<String>,
}

/// What is new in a study's progress, for whoever is told of it line by line.
pub struct News<'a> {
    /// What has happened since.
    pub notes: &'a [String],
    /// The present state, if it has changed.
    pub line: Option<String>,
    /// Whether only details of the same round have: who of many partners is waited for in it changes too often for a log.
    pub is_detail: bool,
}

impl Progress {
    /// What is new since the same study was here.
    pub fn news(&self, last: Option<&Self>) -> News<'_> {
        let known = last.map_or(0, |last| last.notes.len());
        let line = Some(self.line()).filter(|line| last.is_none_or(|last| last.line() != *line));
        let is_same = |last: &Self| self.rounds.1 > 1 && (&last.stage, last.rounds) == (&self.stage, self.rounds);
        News { notes: self.notes.get(known..).unwrap_or_default(), line, is_detail: last.is_some_and(is_same) }
    }

    /// The same in a line.
    pub fn line(&self) -> String {
        let attempt = if self.attempt > 1 { format!("attempt {}, ", self.attempt) } else { String::new() };
        let stage = match self.stage.as_str() {
            "waiting" => "gathering",
            "complete" => "writing the result",
            stage => stage,
        };
        let round = match self.rounds {
            (round, rounds) if rounds > 1 => format!(" round {round} of {rounds}"),
            _ => String::new(),
        };
        let left = self.seconds_left.map_or_else(String::new, |seconds| format!(", about {} left", duration(seconds)));
        let waiting: Vec<String> =
            self.waiting.iter().map(|(partner, reason)| format!("{partner} ({reason})")).collect();
        if waiting.is_empty() {
            format!("{attempt}{stage}{round}{left}")
        } else {
            format!("{attempt}{stage}{round}{left}: waiting for {}", waiting.join(", "))
        }
    }
}

fn duration(seconds: u32) -> String {
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5400 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_is_waited_for_and_why() {
        let waiting = vec![("bank".into(), "not connected".into()), ("telecom".into(), "computes".into())];
        let mut progress = Progress {
            study: "s".into(),
            attempt: 2,
            stage: "summing".into(),
            rounds: (1, 1),
            seconds_left: None,
            waiting,
            notes: vec![],
        };
        assert_eq!(progress.line(), "attempt 2, summing: waiting for bank (not connected), telecom (computes)");
        (progress.rounds, progress.seconds_left) = ((3, 20), Some(100));
        progress.waiting.clear();
        assert_eq!(progress.line(), "attempt 2, summing round 3 of 20, about 2 min left");
    }
}
