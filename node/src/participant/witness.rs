//! Witnesses: this node's checkpoints on their way to them, vectors that wait for their cosignatures, and this node as a witness of
//! others.
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
//! For a charge, as many are asked as policy wants: the coordinator, and of the study's partners those that follow this one, so that
//! all have their share. That keeps what a round writes in an alliance proportional to its partners, not to their square. All are
//! asked where those do not answer, when a study ends, and when the node connects.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use entente_host::Error;
use entente_host::clock::Moment;
use entente_host::locks::lock;
use entente_protocols::attempt::AttemptId;
use entente_protocols::identity::{PublicIdentity, Roster};
use entente_protocols::kind::Kind;
use entente_protocols::ledger::checkpoint::{coordinator_origin, node_origin};
use entente_protocols::ledger::note::SignatureLine;
use entente_protocols::ledger::store::Store;
use entente_protocols::ledger::witness::{Answer, Consistency, MAX_PROOFS, Recovered, Request, answer, takes_over};
use entente_protocols::ledger::{Checkpoint, Outbound};
use entente_protocols::wire::frame;
use entente_protocols::wire::message::{FromAttempt, FromNode};
use tracing::{debug, error, info, warn};

use super::{Participant, Problem, saying};

/// After how long witnesses are asked again, and the coordinator learns which of them this node waits for.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most checkpoints that wait for cosignatures; older ones are included in newer ones.
const MAX_ASKED: usize = 64;

/// What this node knows of its witnesses. In memory: it is asked for again after a restart.
#[derive(Default)]
pub(super) struct Witnesses {
    /// Checkpoints that cosignatures were asked for, by size, and whether they are kept with as many as policy asks.
    asked: BTreeMap<u64, (Checkpoint, bool)>,
    /// Up to which size each witness has cosigned.
    cosigned: BTreeMap<String, u64>,
    /// What size each holds, as far as it is known.
    held: BTreeMap<String, u64>,
    /// What some of them held when this node started.
    began: Option<u64>,
    /// The recoveries that those need to see who hold what was recovered from.
    recoveries: BTreeMap<String, BTreeSet<u64>>,
    /// Who has refused to witness the ledger when it was last asked: it may not have confirmed this node yet.
    refused: BTreeSet<String>,
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
    /// By how many.
    pub(super) quorum: usize,
    pub(super) dataset: String,
    pub(super) kind: Kind,
}

/// The names of the next participants after `name`, continuing from the last to the first.
fn following(name: &str, participants: &[String], count: usize) -> Vec<String> {
    let (before, behind): (Vec<&String>, Vec<&String>) =
        participants.iter().filter(|other| *other != name).partition(|other| other.as_str() < name);
    behind.into_iter().chain(before).take(count).cloned().collect()
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

    fn have(&self, entry: u64) -> Vec<&str> {
        let have = self.cosigned.iter().filter(|(_, size)| **size >= entry);
        have.map(|(name, _)| name.as_str()).collect()
    }
}

impl Participant {
    /// A connection begins, which is the present one from now on: whatever waits was asked for on another one.
    pub fn begin_connection(&self) -> Connection {
        let mut witnesses = lock(&self.witnesses);
        witnesses.connection += 1;
        let (now, dropped) = (witnesses.connection, std::mem::take(&mut witnesses.waiting));
        drop(witnesses);
        dropped.iter().for_each(|waiting| waiting.release.is_dropped());
        now
    }

    /// The present connection.
    pub(super) fn connection(&self) -> Connection {
        lock(&self.witnesses).connection
    }

    /// Asks all witnesses to cosign the ledger as it is now.
    pub fn ask_witnesses(&self) -> Vec<Vec<u8>> {
        match self.request_cosignatures(None) {
            Ok(request) => vec![request],
            Err(problem) => {
                error!(why = problem.into_words(), "witnesses cannot be asked");
                Vec::new()
            }
        }
    }

    /// The frame that asks, of these partners or of all.
    fn request_cosignatures(&self, of: Option<Vec<String>>) -> Result<Vec<u8>, Problem> {
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
        witnesses.last_asked = Some(self.clock.moment());
        Ok(frame::encode(&FromNode::Witness { request, of }))
    }

    /// Asks for cosignatures of a charge that was just made for a study of these participants, while the vector is computed.
    /// Without a connection they are asked for when it is to be sent.
    pub(super) fn ask_early(&self, participants: &[String]) -> Result<(), Problem> {
        let witnesses = self.config.oversight.witnesses as usize;
        if witnesses == 0 {
            return Ok(());
        }
        // With the coordinator they are as many as are waited for.
        let of = following(self.name(), participants, witnesses - 1);
        if self.peers.say(self.request_cosignatures(Some(of))?).is_err() {
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
        {
            let mut witnesses = lock(&self.witnesses);
            if witnesses.connection != connection {
                release.is_dropped();
                return Ok(Vec::new());
            }
            if witnesses.have(release.entry).len() < release.quorum {
                let known = witnesses.waiting.iter().position(|known| known.release.attempt == release.attempt);
                let known = known.map(|place| witnesses.waiting.swap_remove(place));
                // Asked for again, it has waited since it was asked for first.
                let known = known.filter(|known| known.release.round == release.round);
                let (since, told) = known.map_or((self.clock.moment(), None), |known| (known.since, known.told));
                let asked = witnesses.asked.last_key_value().is_some_and(|(size, _)| *size >= release.entry)
                    && witnesses.last_asked.is_some();
                witnesses.waiting.push(Waiting { release, outbound, since, told });
                drop(witnesses);
                return if asked { Ok(Vec::new()) } else { Ok(vec![self.request_cosignatures(None)?]) };
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
        {
            let (refused, name) = (&mut lock(&self.witnesses).refused, by.unwrap_or_default());
            match answer {
                Answer::Refused(_) => drop(refused.insert(name.to_owned())),
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
        let mut ready = Vec::new();
        let mut kept = None;
        {
            let mut witnesses = lock(&self.witnesses);
            let quorum = self.config.oversight.witnesses.max(1) as usize;
            // Asked for long ago, or never.
            let Some((checkpoint, is_kept)) = witnesses.asked.get_mut(&size) else { return Ok(Vec::new()) };
            if checkpoint.note().cosigned(&line, &origin, &identity).is_none() {
                return Err(Problem::failed("its cosignature does not verify"));
            }
            checkpoint.add(line);
            // Kept once, and not where a vector waits for it: that of the study's end follows, and goes on from this one.
            let complete = checkpoint.cosignatures().count() >= quorum && !std::mem::replace(is_kept, true);
            let complete = complete.then(|| checkpoint.clone());
            let name = by.unwrap_or_default().to_owned();
            let cosigned = witnesses.cosigned.entry(name.clone()).or_default();
            *cosigned = size.max(*cosigned);
            let cosigned = *cosigned;
            witnesses.held.insert(name.clone(), cosigned);
            witnesses.recoveries.remove(&name);
            let waiting = std::mem::take(&mut witnesses.waiting);
            let have = |release: &Release| witnesses.have(release.entry).len() >= release.quorum;
            let (done, open): (Vec<Waiting>, Vec<Waiting>) =
                waiting.into_iter().partition(|waiting| have(&waiting.release));
            witnesses.waiting = open;
            if done.is_empty() {
                kept = complete;
            }
            ready.extend(done);
        }
        let frames = ready.iter().flat_map(|Waiting { release, outbound, .. }| {
            let id = &release.attempt;
            self.released(release, outbound).unwrap_or_else(|problem| vec![saying(id, self.explain(id, problem, None))])
        });
        let frames: Vec<Vec<u8>> = frames.collect();
        // The vectors are on their way before the evidence is on the disk: nothing depends on it.
        let unsent = frames.into_iter().filter_map(|frame| self.peers.say(frame).err()).collect();
        if let Some(kept) = kept {
            self.ledger()?.keep(&kept)?;
        }
        Ok(unsent)
    }

    /// A witness holds another checkpoint than it was asked to cosign.
    fn shown(&self, by: Option<&str>, checkpoint: &str) -> Result<Vec<Vec<u8>>, Problem> {
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
        let again = match recovery {
            Some(sequence) => witnesses.recoveries.entry(name).or_default().insert(sequence),
            None => {
                let new = witnesses.held.insert(name, statement.size) != Some(statement.size);
                // Where it holds what this node has asked for in the meantime, its cosignature of that is on the way.
                new && statement.size < size
            }
        };
        drop(witnesses);
        if again { Ok(vec![self.request_cosignatures(None)?]) } else { Ok(Vec::new()) }
    }

    /// Under which name and key a witness cosigns.
    fn witness(&self, by: Option<&str>) -> Option<(String, PublicIdentity)> {
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
        participants.iter().find(|name| refused.contains(*name)).cloned()
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

    /// Asks again, and says who is waited for.
    pub(super) fn remind_witnesses(&self) -> Vec<Vec<u8>> {
        let mut frames = self.ask_witnesses();
        let mut witnesses = lock(&self.witnesses);
        let mut waiting = std::mem::take(&mut witnesses.waiting);
        for Waiting { release, told, .. } in &mut waiting {
            let have = witnesses.have(release.entry);
            let names: Vec<&str> =
                have.iter().map(|name| if name.is_empty() { "the coordinator" } else { name }).collect();
            let has = if names.is_empty() {
                "nobody has answered".to_owned()
            } else {
                format!("it has {}", names.join(", "))
            };
            let reason =
                format!("{} witnesses of the charge in its ledger, which its policy asks for; {has}", release.quorum);
            if told.as_ref() != Some(&reason) {
                let AttemptId { study, number: attempt } = &release.attempt;
                info!(study, attempt, "waiting for {reason}");
                frames.push(saying(&release.attempt, FromAttempt::Waiting { reason: reason.clone() }));
                *told = Some(reason);
            }
        }
        witnesses.waiting = waiting;
        frames
    }

    /// This node as a witness: looks at another one's checkpoint, keeps the newest, and cosigns it.
    pub(super) fn witness_for(&self, node: &str, request: &Request) -> Vec<Vec<u8>> {
        let answer = self.answer_for(node, request).unwrap_or_else(|error| {
            error!(node, %error, "its ledger could not be witnessed here");
            Answer::Refused(format!("{} could not keep it", self.name()))
        });
        match &answer {
            Answer::Cosigned { .. } => {}
            Answer::Holds(_) => {
                warn!(node, "its ledger is not the one that was witnessed here, or it has not shown that it is");
            }
            Answer::Earlier { .. } => {
                warn!(node, "its ledger has not taken over what was spent under an earlier identity of its name");
            }
            Answer::Refused(reason) => warn!(node, reason, "its ledger is not witnessed here"),
        }
        vec![frame::encode(&FromNode::Witnessed { node: node.into(), answer })]
    }

    fn answer_for(&self, node: &str, request: &Request) -> Result<Answer, Error> {
        // Staff may have confirmed one since.
        let confirmed = self.rosters()?.pinned.is_some();
        let Some((origin, identity)) = self.witness(Some(node)) else {
            let why =
                if confirmed { format!("`{node}` is not in the roster") } else { "there is no roster".to_owned() };
            return Ok(Answer::Refused(format!("{why} that {} has confirmed", self.name())));
        };
        // Held until the answer is made, so that what is kept only grows.
        let store = lock(&self.witnessed);
        let earlier = store.earlier(node, &identity)?;
        let is_open = |(_, kept): &&(PublicIdentity, Checkpoint)| !takes_over(request, (&origin, &identity), kept);
        if let Some((identity, kept)) = earlier.iter().find(is_open) {
            return Ok(Answer::Earlier { identity: *identity, checkpoint: kept.to_string() });
        }
        let held = store.newest(&identity)?;
        let by = (&*self.signer.origin, &self.signer.key);
        let time = u64::try_from(self.clock.now().as_second()).unwrap_or_default();
        let keep = |checkpoint: &Checkpoint| store.keep(node, &identity, checkpoint);
        let answer = answer(request, (&origin, &identity), held, by, time, keep)?;
        if matches!(answer, Answer::Cosigned { .. }) {
            earlier.iter().try_for_each(|(identity, _)| store.taken_over(identity))?;
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partner_witnesses_its_share() {
        let partners = ["a", "b", "c", "d", "e"].map(String::from);
        for count in 0..=5 {
            let asked: Vec<String> = partners.iter().flat_map(|name| following(name, &partners, count)).collect();
            let shares = partners.iter().map(|name| asked.iter().filter(|other| *other == name).count());
            assert_eq!(shares.collect::<Vec<_>>(), [count.min(4); 5]);
        }
        assert_eq!(following("d", &partners, 2), ["e", "a"]);
        assert_eq!(following("x", &partners[..1], 2), ["a"], "one that takes no part");
    }
}
