//! Witnesses: this node's checkpoints on their way to them, and vectors that wait for their cosignatures.
//!
//! ```text
//! RESERVED ─▶ checkpoint, proofs ─▶ Witness ─▶ coordinator, other partners
//! COMPUTED ─▶ waits                                │ Witnessed: Cosigned ─▶ quorum ─▶ the vector leaves
//!                                                  └─────────── Holds ─▶ ours? ask again : quarantine
//! ```
//!
//! A cosignature of a checkpoint that includes the charge is enough, also of a later one. What waits is in memory only: after a
//! restart the coordinator asks for the round again, and the same stored vector waits anew.
//!
//! For a charge, as many partners are asked as are enough ([`super::quorum`]): those that follow this one by name, so that all have their
//! share. Each writes what several ask at once in one go ([`super::witnessing`]), so that what a round writes in an alliance grows with
//! its partners, and not with their square. All are asked where those do not answer, when a study ends, and when the node connects. The
//! coordinator always is, and never counts: whoever passes requests on could keep them from those who know better.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use entente_host::Error;
use entente_host::clock::Moment;
use entente_host::locks::lock;
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::identity::{PublicIdentity, Roster};
use entente_protocols::kind::Kind;
use entente_protocols::ledger::checkpoint::{coordinator_origin, node_origin};
use entente_protocols::ledger::note::SignatureLine;
use entente_protocols::ledger::store::Store;
use entente_protocols::ledger::witness::{Answer, Consistency, MAX_PROOFS, Recovered, Request};
use entente_protocols::ledger::{Checkpoint, Outbound};
use entente_protocols::wire::frame;
use entente_protocols::wire::message::{FromAttempt, FromNode};
use tracing::{debug, error, info, warn};

use super::quorum::{Quorum, long};
use super::refusals::Refusals;
use super::{Participant, Problem, saying};

/// After how long witnesses are asked again, and the coordinator learns which of them this node waits for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Of how many that do not cosign it is kept why: names are the coordinator's to say.
const MOST_REFUSED: usize = 1024;
/// The most checkpoints that wait for cosignatures; older ones are included in newer ones.
const MAX_ASKED: usize = 64;

/// What this node knows of its witnesses. In memory: it is asked for again after a restart.
#[derive(Default)]
pub(super) struct Witnesses {
    /// Who has said since this start what it holds.
    pub(super) read: BTreeSet<String>,
    /// When they were asked for that.
    pub(super) last_read: Option<Moment>,
    /// How often on this connection.
    pub(super) reads: u32,
    /// What was said last of why studies wait until they have said that.
    pub(super) told: Option<String>,
    /// What staff can see of whom is waited for.
    shown: Option<String>,
    /// Who was asked on this connection and has not answered, and since when.
    silent: BTreeMap<String, Moment>,
    /// Why some do not cosign, as they said last: they may not have confirmed this node yet.
    refused: BTreeMap<String, String>,
    /// Checkpoints that cosignatures were asked for, by size, and whether they are kept with enough of them.
    asked: BTreeMap<u64, (Checkpoint, bool)>,
    /// Up to which size each witness has cosigned.
    cosigned: BTreeMap<String, u64>,
    /// What size each holds, as far as it is known.
    held: BTreeMap<String, u64>,
    /// What some of them held when this node started.
    began: Option<u64>,
    /// The recoveries that those need to see who hold what was recovered from.
    recoveries: BTreeMap<String, BTreeSet<u64>>,
    waiting: Vec<Waiting>,
    last_asked: Option<Moment>,
    /// Which connection to the coordinator this is.
    connection: Connection,
}

/// Connections are counted: a vector goes to the coordinator on the one that it was asked for on, or not at all. After another
/// one has begun, it is asked for again, and one that came unasked would be taken for what it is not.
pub type Connection = u64;

/// A vector that waits for cosignatures of its charge.
struct Waiting {
    release: Release,
    outbound: Outbound,
    since: Moment,
    told: Option<String>,
}

/// What a vector is sent for, and what it waits for.
#[derive(Clone)]
pub(super) struct Release {
    pub(super) attempt: AttemptId,
    pub(super) round: u32,
    /// The entry that must be witnessed.
    pub(super) entry: u64,
    pub(super) dataset: String,
    pub(super) kind: Kind,
}

/// As people call a witness.
fn called(by: Option<&str>) -> &str {
    by.unwrap_or("the coordinator")
}

impl Release {
    fn is_dropped(&self) {
        let AttemptId { study, number: attempt } = &self.attempt;
        let round = self.round;
        info!(
            study,
            attempt,
            round,
            "a vector that was asked for on an earlier connection is not sent; it is stored, to be asked for again"
        );
    }
}

impl Witnesses {
    /// Begins with what was kept before this node started.
    pub(super) fn begin(kept: Option<&String>) -> Self {
        let began = kept.and_then(|kept| Checkpoint::parse(kept).ok()).map(|kept| kept.statement().size);
        Self { began, ..Self::default() }
    }

    /// Whether this partner has cosigned a checkpoint that includes an entry.
    fn has(&self, name: &str, entry: u64) -> bool {
        self.cosigned.get(name).is_some_and(|size| *size >= entry)
    }

    /// These are asked for something.
    pub(super) fn asks(&mut self, names: &[String], now: Moment) {
        for name in names {
            self.silent.entry(name.clone()).or_insert(now);
        }
    }

    /// This one has answered something.
    pub(super) fn answers(&mut self, name: &str) {
        self.silent.remove(name);
    }

    /// Who is waited for to do `what`, in words, and what to do about those who have not answered for `wait`.
    pub(super) fn words(
        &self,
        (more, lacking): &(usize, Vec<&str>),
        what: &str,
        (now, wait): (Moment, Duration),
    ) -> String {
        let (more, of) = match lacking[..] {
            [] => return format!("a partner that is not away {what}: all are recorded to be away"),
            [name] => (String::new(), name.to_owned()),
            _ if *more == lacking.len() => (String::new(), lacking.join(" and ")),
            _ => (format!("{more} of "), lacking.join(", ")),
        };
        let refused = lacking.iter().filter_map(|name| Some(format!("{name}: {}", self.refused.get(*name)?)));
        let silent = lacking.iter().filter_map(|name| {
            let silent = now.since(*self.silent.get(*name)?);
            (silent >= wait).then(|| {
                format!(
                    "{name} has not answered for {}; if it stays away, record that by `entente-node witness away {name}`",
                    long(silent)
                )
            })
        });
        let also: Vec<String> = refused.chain(silent).collect();
        let also = if also.is_empty() { String::new() } else { format!(" ({})", also.join("; ")) };
        format!("{more}{of} {what}{also}")
    }
}

impl Participant {
    /// A connection begins, which is the present one from now on: whatever waits was asked for on another one.
    pub fn begin_connection(&self) -> Connection {
        let mut witnesses = lock(&self.witnesses);
        witnesses.connection += 1;
        // What was asked for may be lost with the one before.
        witnesses.last_asked = None;
        witnesses.silent.clear();
        witnesses.reads = 0;
        let (now, dropped) = (witnesses.connection, std::mem::take(&mut witnesses.waiting));
        drop(witnesses);
        dropped.iter().for_each(|waiting| waiting.release.is_dropped());
        now
    }

    /// The present connection.
    pub(super) fn connection(&self) -> Connection {
        lock(&self.witnesses).connection
    }

    /// Asks all witnesses to cosign the ledger as it is now, and until enough have said what they hold of it, for that.
    pub fn ask_witnesses(&self) -> Vec<Vec<u8>> {
        let request = self.quorum().map_err(Problem::from).and_then(|quorum| self.request_cosignatures(&quorum, None));
        let request = request.map_err(|problem| error!(why = problem.into_words(), "witnesses cannot be asked"));
        self.ask_to_read().into_iter().chain(request.ok()).collect()
    }

    /// The frame that asks, of these partners or of all.
    fn request_cosignatures(&self, quorum: &Quorum, of: Option<Vec<String>>) -> Result<Vec<u8>, Problem> {
        let ledger = self.ledger()?;
        let checkpoint = ledger.checkpoint(&self.signer)?;
        let mut witnesses = lock(&self.witnesses);
        let (chain, size) = (ledger.chain(), checkpoint.statement().size);
        let known = witnesses.held.values().copied().chain(witnesses.began);
        let mut sizes: Vec<u64> = known.filter(|held| (1..size).contains(held)).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes.dedup();
        let proofs = sizes.into_iter().take(MAX_PROOFS).filter_map(|from| {
            let hashes = chain.tree().consistency(from, size)?;
            Some(Consistency { from, hashes })
        });
        let proofs = proofs.collect();
        let mut recoveries = Vec::new();
        for sequence in witnesses.recoveries.values().flatten().collect::<BTreeSet<_>>().into_iter().take(MAX_PROOFS) {
            let line = ledger.store().entries_after(sequence - 1)?.into_iter().next();
            if let (Some(line), Some(hashes)) = (line, chain.tree().inclusion(sequence - 1, size)) {
                recoveries.push(Recovered { entry: line.json, hashes });
            }
        }
        let request = Request { checkpoint: checkpoint.bare(), proofs, recoveries };
        witnesses.asked.entry(size).or_insert((checkpoint, false));
        while witnesses.asked.len() > MAX_ASKED {
            witnesses.asked.pop_first();
        }
        let now = self.clock.moment();
        witnesses.last_asked = Some(now);
        witnesses.asks(of.as_ref().unwrap_or(&quorum.names), now);
        Ok(frame::encode(&FromNode::Witness { request, of }))
    }

    /// Asks for cosignatures of a charge that was just made, while the vector is computed. Without a connection they are asked for when
    /// it is to be sent.
    pub(super) fn ask_early(&self) -> Result<(), Problem> {
        let (quorum, now) = (self.quorum()?, self.clock.moment());
        let first = {
            let witnesses = lock(&self.witnesses);
            let is_late = |since: &Moment| now.since(*since) >= PATIENCE;
            quorum.first(|name| witnesses.silent.get(name).is_some_and(is_late))
        };
        if self.peers.say(self.request_cosignatures(&quorum, Some(first))?).is_err() {
            lock(&self.witnesses).last_asked = None;
        }
        Ok(())
    }

    /// Sends a vector that was asked for on this connection, if enough witnesses have cosigned its charge, or keeps it until they
    /// have.
    pub(super) fn send_when_witnessed(
        &self,
        release: Release,
        outbound: Outbound,
        connection: Connection,
    ) -> Result<Vec<Vec<u8>>, Problem> {
        let quorum = self.quorum()?;
        {
            let mut witnesses = lock(&self.witnesses);
            if witnesses.connection != connection {
                release.is_dropped();
                return Ok(Vec::new());
            }
            if !quorum.has(|name| witnesses.has(name, release.entry)) {
                let known = witnesses.waiting.iter().position(|known| known.release.attempt == release.attempt);
                let known = known.map(|place| witnesses.waiting.swap_remove(place));
                // Asked for again, it has waited since it was asked for first.
                let known = known.filter(|known| known.release.round == release.round);
                let (since, told) = known.map_or((self.clock.moment(), None), |known| (known.since, known.told));
                // Asked for again, it says again what it waits for.
                let said = told.clone().map(|reason| saying(&release.attempt, FromAttempt::Waiting { reason }));
                let asked = witnesses.asked.last_key_value().is_some_and(|(size, _)| *size >= release.entry)
                    && witnesses.last_asked.is_some();
                witnesses.waiting.push(Waiting { release, outbound, since, told });
                drop(witnesses);
                let request = if asked { None } else { Some(self.request_cosignatures(&quorum, None)?) };
                return Ok(request.into_iter().chain(said).collect());
            }
        }
        self.released(&release, &outbound)
    }

    /// The frame of a vector whose charge is witnessed, unless an officer has paused it since.
    fn released(&self, release: &Release, outbound: &Outbound) -> Result<Vec<Vec<u8>>, Problem> {
        self.ledger()?.obstacle(&release.dataset, release.kind)?;
        Ok(vec![frame::encode_contribution(&release.attempt, release.round, outbound)])
    }

    /// Forgets a vector that is not waited for any more.
    pub(super) fn let_go(&self, attempt: &AttemptId) {
        lock(&self.witnesses).waiting.retain(|waiting| waiting.release.attempt != *attempt);
    }

    /// Takes a witness's answer; returns frames to send.
    pub(super) fn witnessed(&self, by: Option<&str>, answer: Answer) -> Vec<Vec<u8>> {
        if let Some(name) = by {
            let refused = &mut lock(&self.witnesses).refused;
            match &answer {
                // Also before this node has confirmed it, which may be soon.
                Answer::Refused(reason) if refused.len() < MOST_REFUSED => {
                    refused.insert(name.to_owned(), Refusals::short(reason));
                }
                _ => drop(refused.remove(name)),
            }
        }
        let taken = match answer {
            // This node has signed it itself, whoever shows it.
            Answer::Holds(checkpoint) => self.shown(by, &checkpoint),
            // Partners that staff have not confirmed, or dropped, are asked along with the others; what they say counts for nothing.
            _ if self.witness(by).is_none() => {
                debug!(by = called(by), "it is not in the confirmed roster");
                Ok(Vec::new())
            }
            Answer::Cosigned { size, line } => self.cosigned(by, size, &line),
            Answer::Earlier { identity, checkpoint } => self.shown_earlier(by, identity, &checkpoint),
            Answer::Refused(reason) => {
                warn!(by = called(by), reason, "does not witness this node's ledger");
                if let Some(name) = by {
                    let mut witnesses = lock(&self.witnesses);
                    witnesses.answers(name);
                }
                Ok(Vec::new())
            }
        };
        taken.unwrap_or_else(|problem| {
            error!(by = called(by), why = problem.into_words(), "a witness's answer could not be taken");
            Vec::new()
        })
    }

    fn cosigned(&self, by: Option<&str>, size: u64, line: &str) -> Result<Vec<Vec<u8>>, Problem> {
        let (origin, identity) = self.witness(by).ok_or_else(|| Problem::failed("it is not in the roster"))?;
        let line = SignatureLine::parse(line).map_err(Problem::failed)?;
        let quorum = self.quorum()?;
        let kept = {
            let mut witnesses = lock(&self.witnesses);
            // Asked for long ago, or never.
            let Some((checkpoint, is_kept)) = witnesses.asked.get_mut(&size) else { return Ok(Vec::new()) };
            if checkpoint.note().cosigned(&line, &origin, &identity).is_none() {
                return Err(Problem::failed("its cosignature does not verify"));
            }
            checkpoint.add(line);
            let is_complete = quorum.has_cosigned(checkpoint) && !std::mem::replace(is_kept, true);
            let complete = is_complete.then(|| checkpoint.clone());
            let name = by.unwrap_or_default().to_owned();
            let cosigned = witnesses.cosigned.entry(name.clone()).or_default();
            *cosigned = size.max(*cosigned);
            let cosigned = *cosigned;
            witnesses.held.insert(name.clone(), cosigned);
            witnesses.recoveries.remove(&name);
            witnesses.refused.remove(&name);
            witnesses.answers(&name);
            complete
        };
        let frames = self.send_witnessed(&quorum);
        // Kept once, and not where a vector waits for it: that of the study's end follows, and goes on from this one.
        let kept = kept.filter(|_| frames.is_empty());
        // The vectors are on their way before the evidence is on the disk: nothing depends on it.
        let unsent = frames.into_iter().filter_map(|frame| self.peers.say(frame).err()).collect();
        if let Some(kept) = kept {
            self.ledger()?.keep(&kept)?;
        }
        Ok(unsent)
    }

    /// The frames of vectors that have waited, and whose charges enough have witnessed.
    fn send_witnessed(&self, quorum: &Quorum) -> Vec<Vec<u8>> {
        let mut witnesses = lock(&self.witnesses);
        let waiting = std::mem::take(&mut witnesses.waiting);
        let (done, open): (Vec<Waiting>, Vec<Waiting>) =
            waiting.into_iter().partition(|waiting| quorum.has(|name| witnesses.has(name, waiting.release.entry)));
        witnesses.waiting = open;
        drop(witnesses);
        let frames = done.iter().flat_map(|Waiting { release, outbound, .. }| {
            let id = &release.attempt;
            self.released(release, outbound).unwrap_or_else(|problem| vec![saying(id, self.explain(id, problem, None))])
        });
        frames.collect()
    }

    /// A witness holds another checkpoint than it was asked to cosign.
    pub(super) fn shown(&self, by: Option<&str>, checkpoint: &str) -> Result<Vec<Vec<u8>>, Problem> {
        let checkpoint = Checkpoint::parse(checkpoint).map_err(Problem::failed)?;
        if !checkpoint.is_of(&self.signer.origin, &self.signer.key.public()) {
            return Err(Problem::failed("what it shows was not signed by this node: it proves nothing"));
        }
        self.held_by(by, &checkpoint, None)
    }

    /// A witness holds a checkpoint of the ledger that this node's name had under an earlier identity.
    fn shown_earlier(
        &self,
        by: Option<&str>,
        identity: PublicIdentity,
        checkpoint: &str,
    ) -> Result<Vec<Vec<u8>>, Problem> {
        let checkpoint = Checkpoint::parse(checkpoint).map_err(Problem::failed)?;
        let (origin, witness) = self.witness(by).ok_or_else(|| Problem::failed("it is not in the roster"))?;
        let cosigned = |line| checkpoint.note().cosigned(line, &origin, &witness).is_some();
        if !checkpoint.is_of(&self.signer.origin, &identity) || !checkpoint.cosignatures().any(cosigned) {
            return Err(Problem::failed("what it shows of an earlier identity was not signed by that and by itself"));
        }
        self.held_by(by, &checkpoint, Some(identity))
    }

    /// Looks at what a witness holds: signed by this node, or by an earlier identity of its name.
    fn held_by(
        &self,
        by: Option<&str>,
        checkpoint: &Checkpoint,
        earlier: Option<PublicIdentity>,
    ) -> Result<Vec<Vec<u8>>, Problem> {
        let mut ledger = self.ledger()?;
        let statement = checkpoint.statement();
        let was_quarantined = ledger.quarantine().is_some();
        let contradicts = match earlier {
            None => ledger.sighted(checkpoint, called(by), &self.now())?,
            Some(identity) => ledger.sighted_earlier(checkpoint, identity, called(by), &self.now())?,
        };
        if contradicts {
            let words = ledger.quarantine().unwrap_or_default();
            drop(ledger);
            if !was_quarantined {
                error!("{words}");
            }
            // Whatever waits is refused with these words.
            let waiting = std::mem::take(&mut lock(&self.witnesses).waiting);
            let refused = waiting.into_iter().map(|Waiting { release, .. }| {
                let id = &release.attempt;
                saying(id, self.explain(id, Problem::refused(words.clone()), None))
            });
            return Ok(refused.collect());
        }
        let recovery = ledger.chain().recovered(statement);
        let size = ledger.head().entries;
        drop(ledger);
        let name = by.unwrap_or_default().to_owned();
        let mut witnesses = lock(&self.witnesses);
        witnesses.answers(&name);
        let again = match recovery {
            Some(sequence) => witnesses.recoveries.entry(name).or_default().insert(sequence),
            None => {
                let new = witnesses.held.insert(name, statement.size) != Some(statement.size);
                // Where it holds what this node has asked for in the meantime, its cosignature of that is on the way.
                new && statement.size < size
            }
        };
        drop(witnesses);
        if again { Ok(vec![self.request_cosignatures(&self.quorum()?, None)?]) } else { Ok(Vec::new()) }
    }

    /// The witnesses of this node's ledger, and how many are enough, as things are now.
    pub(super) fn quorum(&self) -> Result<Quorum, Error> {
        let partners = match &self.rosters()?.pinned {
            Some(roster) => (roster.members.keys().cloned().collect(), roster.authority),
            None => (Vec::new(), Digest::ZERO),
        };
        let away = lock(&self.ledger).chain().away(&self.now());
        Ok(Quorum::of(self.name(), partners, &away, &self.config))
    }

    /// Under which name and key a witness cosigns.
    pub(super) fn witness(&self, by: Option<&str>) -> Option<(String, PublicIdentity)> {
        let rosters = self.rosters().ok()?;
        let roster: &Roster = rosters.pinned.as_ref()?;
        match by {
            None => Some((coordinator_origin(roster.authority), roster.coordinator)),
            Some(name) if name != self.name() => {
                Some((node_origin(roster.authority, name), roster.members.get(name)?.identity))
            }
            Some(_) => None,
        }
    }

    /// Whether vectors have waited for so long that it is worth a word.
    pub(super) fn waits_for_witnesses(&self) -> bool {
        let witnesses = lock(&self.witnesses);
        let now = self.clock.moment();
        let is_late = |since: Moment| now.since(since) >= PATIENCE;
        witnesses.waiting.iter().any(|waiting| is_late(waiting.since)) && witnesses.last_asked.is_none_or(is_late)
    }

    /// Which of these partners had not confirmed this node when it was asked what it knows of the ledger, while that is empty: it may know
    /// what was spent under an earlier identity.
    pub(super) fn unheard(&self, participants: &[String]) -> Option<String> {
        if lock(&self.ledger).chain().has_charged() {
            return None;
        }
        let refused = &lock(&self.witnesses).refused;
        participants.iter().find(|name| refused.contains_key(*name)).cloned()
    }

    /// Whether somebody who had not confirmed this node is worth asking again.
    pub(super) fn asks_again(&self) -> bool {
        let witnesses = lock(&self.witnesses);
        let now = self.clock.moment();
        !witnesses.refused.is_empty() && witnesses.last_asked.is_none_or(|asked| now.since(asked) >= PATIENCE)
    }

    /// Whether officers have ended the ledger's quarantine since this node last looked: witnesses have to see that.
    pub(super) fn has_recovered(&self) -> bool {
        let mut ledger = lock(&self.ledger);
        ledger.quarantine().is_some() && ledger.sync().is_ok() && ledger.quarantine().is_none()
    }

    /// Asks again, and says who is waited for. Officers may have recorded meanwhile who is away.
    pub(super) fn remind_witnesses(&self) -> Vec<Vec<u8>> {
        let mut frames = self.ask_witnesses();
        let Ok(quorum) = self.quorum() else { return frames };
        frames.extend(self.send_witnessed(&quorum));
        let wait = self.witness_wait();
        let mut witnesses = lock(&self.witnesses);
        let mut waiting = std::mem::take(&mut witnesses.waiting);
        for Waiting { release, told, .. } in &mut waiting {
            let lacks = quorum.lacks(|name| witnesses.has(name, release.entry));
            let Some(lacks) = lacks else { continue };
            let reason = witnesses.words(&lacks, "to witness the charge in its ledger", wait);
            if told.as_ref() != Some(&reason) {
                let AttemptId { study, number: attempt } = &release.attempt;
                warn!(study, attempt, "waiting for {reason}");
                frames.push(saying(&release.attempt, FromAttempt::Waiting { reason: reason.clone() }));
                *told = Some(reason);
            }
        }
        witnesses.waiting = waiting;
        frames
    }

    /// Lets staff see for whom studies wait, beside this node.
    pub(super) fn show_waits(&self) {
        let words = {
            let mut witnesses = lock(&self.witnesses);
            let unread = witnesses.told.clone().filter(|_| self.has_put_off());
            let words = unread.or_else(|| witnesses.waiting.iter().find_map(|waiting| waiting.told.clone()));
            if words == witnesses.shown {
                return;
            }
            witnesses.shown.clone_from(&words);
            words
        };
        if let Err(error) = self.folder.keep_waits(words.as_deref()) {
            error!(%error, "for whom this node waits could not be kept for its staff");
        }
    }

    /// The time, and after how long without an answer a witness is worth a word.
    pub(super) fn witness_wait(&self) -> (Moment, Duration) {
        (self.clock.moment(), self.config.oversight.witness_wait)
    }
}
