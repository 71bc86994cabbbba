//! The model's owner: answers one candidates' owner in one attempt.
//!
//! Every message is answered from the session's state, and the same one with the same bytes. A block's number is answered
//! once: another block under it is refused, and so are more blocks than the study has candidates. Where one side has lost its
//! state, a candidates' owner begins another session, a few times in an attempt; these are counted on the disk before they are
//! answered, so that a restart gives nobody more of them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use entente_host::Error;
use entente_host::locks::lock;
use entente_host::random::random_secret;
use entente_protocols::attempt::AttemptId;
use entente_protocols::canonical::{canonical_bytes, from_canonical};
use entente_protocols::digest::Digest;
use entente_protocols::learn::file::ScoreShare;
use entente_protocols::learn::model::Parameters;
use entente_protocols::lookalike::buckets::message::BucketRequest;
use entente_protocols::lookalike::exchange::{
    BATCH, KEY_PART, LIMIT, SESSIONS, ToCandidatesOwner, ToModelOwner, WINDOW,
};
use entente_protocols::lookalike::message::{Commitment, MaskedBlock, Request, SeedPart, Share};
use entente_protocols::lookalike::model::{PublicModel, PublicModelError, Quantised};
use entente_protocols::lookalike::owner::{KeyHolder, Offer};
use entente_protocols::lookalike::params::Params;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::keys::OwnKey;
use crate::dialogue::Answer;
use crate::store::StudyStore;

/// A model's owner towards one candidates' owner in one attempt.
pub struct Owner {
    context: Digest,
    params: Params,
    model: Quantised,
    buckets: Option<Buckets>,
    sessions: Sessions,
    session: Option<Session>,
}

/// What a model's owner needs where scores are put into buckets.
pub struct Buckets {
    /// By log-odds, ascending.
    pub edges: Vec<ScoreShare>,
    /// The model's towards this candidates' owner.
    pub key: Arc<OwnKey>,
}

/// What this node's disk knows: whether the model is still kept, and how often a candidates' owner has begun a session in an attempt.
pub struct Sessions {
    /// Where that is.
    pub studies: Arc<Mutex<StudyStore>>,
    /// The study that trained the model, and its file's hash.
    pub model: (String, Digest),
    /// The attempt.
    pub attempt: AttemptId,
    /// The candidates' owner.
    pub with: String,
}

impl Sessions {
    /// Whether staff still have the model scored with.
    fn may_answer(&self) -> Result<bool, Error> {
        let (study, sha256) = &self.model;
        Ok(lock(&self.studies).has_model(study, *sha256)?)
    }

    /// Counts one more, unless there have been [`SESSIONS`].
    fn begin(&self) -> Result<bool, Error> {
        Ok(lock(&self.studies).begin_session(&self.attempt, &self.with, SESSIONS)?)
    }
}

struct Session {
    hello: u32,
    name: Commitment,
    state: State,
}

enum State {
    /// A commitment was sent.
    Offered(Option<Offer>),
    /// The request was sent.
    Answering(Box<Answering>),
}

struct Answering {
    contribution: SeedPart,
    request: Request,
    buckets: Option<BucketRequest>,
    holder: KeyHolder,
    /// The last answers, with hashes of what they answer.
    recent: BTreeMap<u32, (Digest, Share)>,
}

impl Answer for Owner {
    fn answer(&mut self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let message = from_canonical(message, LIMIT).map_err(|malformed| Error::failed(malformed.to_string()))?;
        Ok(canonical_bytes(&self.answered(message)?))
    }
}

impl Owner {
    /// With the model whose public half and parameters these are; scores are opened, unless there are `buckets`.
    ///
    /// # Errors
    ///
    /// If the parameters are of another model.
    pub fn new(
        context: Digest,
        params: Params,
        (public, parameters): (&PublicModel, &Parameters),
        buckets: Option<Buckets>,
        sessions: Sessions,
    ) -> Result<Self, PublicModelError> {
        let model = public.quantised(parameters)?;
        Ok(Self { context, params, model, buckets, sessions, session: None })
    }

    /// The answer to a message.
    ///
    /// # Errors
    ///
    /// If there is no randomness, or the disk cannot be read or written.
    pub fn answered(&mut self, message: ToModelOwner) -> Result<ToCandidatesOwner, Error> {
        if !self.sessions.may_answer()? {
            return Ok(ToCandidatesOwner::Refused("the model is not kept there any more".into()));
        }
        Ok(match message {
            ToModelOwner::Hello { session } => return self.hello(session),
            ToModelOwner::Part { session, contribution } => self.contribution(session, contribution),
            ToModelOwner::Key { session, part } => self.key_part(session, part),
            ToModelOwner::Blocks { session, blocks } => beside_rounds(|| self.blocks(session, &blocks)),
        })
    }

    fn hello(&mut self, hello: u32) -> Result<ToCandidatesOwner, Error> {
        let known = self.session.as_ref().filter(|session| session.hello == hello).map(|session| session.name);
        let commitment = match known {
            Some(name) => name,
            None if !self.sessions.begin()? => {
                let refusal = format!("it has begun {SESSIONS} sessions in this attempt already; run the study again");
                return Ok(ToCandidatesOwner::Refused(refusal));
            }
            None => {
                let offer = Offer::new(self.context, self.params.clone(), random_secret()?);
                let name = offer.commitment();
                self.session = Some(Session { hello, name, state: State::Offered(Some(offer)) });
                name
            }
        };
        Ok(ToCandidatesOwner::Offered { session: hello, commitment })
    }

    fn contribution(&mut self, name: Commitment, contribution: SeedPart) -> ToCandidatesOwner {
        let unknown = ToCandidatesOwner::Unknown { session: name };
        let Some(session) = self.session.as_mut().filter(|session| session.name == name) else { return unknown };
        if let State::Offered(offer) = &mut session.state {
            let Some(offer) = offer.take() else { return unknown };
            let weights = &self.model.weights;
            let made = match &self.buckets {
                None => offer.request(&contribution, weights).map(|(holder, request)| (holder, request, None)),
                Some(Buckets { edges, key }) => {
                    let edges = self.model.edges(edges);
                    let made = offer.request_buckets(&contribution, weights, &edges, key.secret(), key.digest());
                    made.map(|(holder, request, buckets)| (holder, request, Some(buckets)))
                }
            };
            match made {
                Ok((holder, request, buckets)) => {
                    let answering = Answering { contribution, request, buckets, holder, recent: BTreeMap::new() };
                    session.state = State::Answering(Box::new(answering));
                }
                Err(refused) => return ToCandidatesOwner::Refused(refused.to_string()),
            }
        }
        match &session.state {
            State::Answering(answering) if answering.contribution == contribution => ToCandidatesOwner::Weights {
                session: name,
                request: answering.request.clone(),
                bits: self.model.bits,
                buckets: answering.buckets.clone(),
            },
            // Another contribution to the same commitment would be another choice of masks.
            State::Answering(_) | State::Offered(_) => unknown,
        }
    }

    fn key_part(&self, name: Commitment, part: u32) -> ToCandidatesOwner {
        let known = self.session.as_ref().filter(|session| session.name == name);
        let Some(Session { state: State::Answering(_), .. }) = known else {
            return ToCandidatesOwner::Unknown { session: name };
        };
        let bytes = self.buckets.as_ref().and_then(|buckets| buckets.key.bytes().chunks(KEY_PART).nth(part as usize));
        match bytes {
            Some(bytes) => ToCandidatesOwner::KeyPart { session: name, part, bytes: bytes.to_vec() },
            None => ToCandidatesOwner::Refused("there is no such part of an evaluation key".into()),
        }
    }

    fn blocks(&mut self, name: Commitment, blocks: &[MaskedBlock]) -> ToCandidatesOwner {
        let session = self.session.as_mut().filter(|session| session.name == name);
        let Some(Session { state: State::Answering(answering), .. }) = session else {
            return ToCandidatesOwner::Unknown { session: name };
        };
        if blocks.len() > BATCH {
            return ToCandidatesOwner::Refused(format!("more than {BATCH} blocks at once"));
        }
        let Answering { holder, recent, .. } = &mut **answering;
        let asked: Vec<Digest> = blocks.iter().map(|block| Digest::plain(&canonical_bytes(block))).collect();
        let known = |block: &MaskedBlock, digest: &Digest| {
            recent.get(&block.number).filter(|(answered, _)| answered == digest).map(|(_, share)| share.clone())
        };
        let shares: Result<Vec<Share>, _> = blocks
            .par_iter()
            .zip(&asked)
            .map_init(
                || holder.worker(),
                |worker, (block, digest)| match known(block, digest) {
                    Some(share) => Ok(share),
                    None => worker.share(block),
                },
            )
            .collect();
        match shares {
            Ok(shares) => {
                for (digest, share) in asked.iter().zip(&shares) {
                    recent.insert(share.number, (*digest, share.clone()));
                }
                while recent.len() > 2 * BATCH * WINDOW {
                    recent.pop_first();
                }
                ToCandidatesOwner::Shares { session: name, shares }
            }
            Err(refused) => ToCandidatesOwner::Refused(refused.to_string()),
        }
    }
}

/// Does work for an answer on threads that are there for answers. Rounds that are computed here fill rayon's own for as long as a
/// pass over customers takes, and a partner's study would wait for them.
fn beside_rounds<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    static ANSWERING: LazyLock<Option<ThreadPool>> =
        LazyLock::new(|| ThreadPoolBuilder::new().thread_name(|number| format!("answer-{number}")).build().ok());
    match &*ANSWERING {
        Some(threads) => threads.install(work),
        // There are no more threads to be had.
        None => work(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, mpsc};
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_does_not_wait_for_rounds_that_fill_all_threads() {
        let threads = rayon::current_num_threads();
        let (filled, done) = (Arc::new(Barrier::new(threads + 1)), Arc::new(Barrier::new(threads + 1)));
        for _ in 0..threads {
            let (filled, done) = (filled.clone(), done.clone());
            rayon::spawn(move || {
                filled.wait();
                done.wait();
            });
        }
        filled.wait();
        let (answer, answered) = mpsc::channel();
        std::thread::spawn(move || answer.send(beside_rounds(|| (0..1000u32).into_par_iter().sum::<u32>())));
        let answered = answered.recv_timeout(Duration::from_secs(20));
        done.wait();
        assert_eq!(answered, Ok(499_500));
    }
}
