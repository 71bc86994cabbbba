//! Studies in virtual time: participants answer by hand, and what is kept is kept in memory.

use std::collections::BTreeMap;

use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::language::schema::{ColumnType, DatasetSchema};
use entente_protocols::learn::file::ScoreShare;
use entente_protocols::learn::recipe::{Feature, Recipe, Values};
use entente_protocols::ledger::Head;
use entente_protocols::lookalike::model::PublicModel;
use entente_protocols::privacy::rho::Rho;
use entente_protocols::secagg::pledge::{Pledge, SignedPledge};
use entente_protocols::secagg::transcript::Transcript;
use entente_protocols::study::Study;
use entente_protocols::study::lookalike::LookalikeSpec;
use entente_protocols::study::plans::score::Output;
use entente_protocols::testing::{self, Draft, Party, alliance};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// How long the studies here wait for a partner.
const WAIT: Duration = Duration::from_secs(60);

/// An alliance of which nothing is real.
struct Alliance {
    roster: Roster,
    schema: DatasetSchema,
    /// Who has connected since the coordinator started, and whether it is connected still.
    seen: BTreeMap<String, bool>,
    distrusted: BTreeMap<String, String>,
}

impl Known for Alliance {
    fn roster(&self) -> Result<Roster, Error> {
        Ok(self.roster.clone())
    }

    fn schemas(&self, node: &str) -> Option<Vec<DatasetSchema>> {
        self.seen.contains_key(node).then(|| vec![self.schema.clone()])
    }

    fn published(&self, partners: &[String]) -> Result<BTreeMap<String, Vec<DatasetSchema>>, Error> {
        Ok(partners.iter().filter_map(|name| Some((name.clone(), self.schemas(name)?))).collect())
    }

    fn distrusted(&self, node: &str) -> Option<String> {
        self.distrusted.get(node).cloned()
    }

    fn is_connected(&self, node: &str) -> bool {
        self.seen.get(node).copied().unwrap_or_default()
    }
}

/// What survives a restart.
#[derive(Clone)]
struct Kept {
    record: StudyRecord,
    rounds: Vec<RoundRecord>,
    begun: Vec<LostRound>,
}

impl Kept {
    /// The last one of each attempt.
    fn begin(&mut self, begun: LostRound) {
        self.begun.retain(|before| before.attempt != begun.attempt);
        self.begun.push(begun);
    }

    fn lost(&self) -> Vec<LostRound> {
        let is_complete = |lost: &&LostRound| {
            self.rounds.iter().any(|round| (round.attempt, round.round) == (lost.attempt, lost.round))
        };
        self.begun.iter().filter(|lost| !is_complete(lost)).copied().collect()
    }
}

/// A study, its participants and the time.
struct World {
    run: Run,
    alliance: Alliance,
    parties: Vec<Party>,
    now: Moment,
    kept: Kept,
    /// What each was told last, and how many messages there were.
    told: BTreeMap<String, (AttemptId, ToAttempt)>,
    messages: usize,
    progress: Option<Progress>,
    /// The hash of the question of a result that is to be made.
    finishing: Option<Vec<RoundRecord>>,
    /// Which rounds its result states to be lost.
    made: Option<Vec<LostRound>>,
    end: Option<Result<(), Error>>,
    /// When.
    ended: Moment,
}

fn draft() -> Draft {
    testing::study("n").sql("SELECT COUNT(*) AS n FROM d").wait_seconds(WAIT.as_secs() as u32)
}

impl World {
    /// Three participants, all of whom are connected; the study has a turn.
    fn new(draft: &Draft) -> Self {
        let mut world = Self::queued(draft);
        world.turn(Turn::Running);
        world
    }

    /// The same, before its turn.
    fn queued(draft: &Draft) -> Self {
        Self::queued_study(draft.build().unwrap())
    }

    fn queued_study(study: Study) -> Self {
        let parties = Party::some(3);
        let (names, roster) = alliance(&parties);
        let schema = DatasetSchema {
            name: "d".into(),
            privacy_unit: "id".into(),
            columns: [("a".to_owned(), ColumnType::Bool)].into(),
        };
        let seen = names.iter().map(|name| (name.clone(), true)).collect();
        let record = StudyRecord {
            id: "s".into(),
            created: jiff::Timestamp::UNIX_EPOCH,
            study,
            requester: "operator".into(),
            petition: None,
            named: names.clone(),
            state: StudyState::Running,
            attempt: 1,
            begun: 1,
            participants: names,
            warnings: Vec::new(),
            reason: None,
        };
        let kept = Kept { record, rounds: Vec::new(), begun: Vec::new() };
        let mut world = Self {
            run: Run::new(kept.record.clone(), Vec::new(), Vec::new()),
            alliance: Alliance { roster, schema, seen, distrusted: BTreeMap::new() },
            parties,
            now: Moment::ZERO,
            kept,
            told: BTreeMap::new(),
            messages: 0,
            progress: None,
            finishing: None,
            made: None,
            end: None,
            ended: Moment::ZERO,
        };
        world.turn(Turn::Queued(1));
        world
    }

    fn event(&mut self, event: Event) {
        for action in self.run.handle(self.now, &self.alliance, event) {
            assert!(self.end.is_none(), "nothing is done after the end");
            match action {
                Action::Tell { node, attempt, told } => {
                    if self.alliance.is_connected(&node) {
                        self.messages += 1;
                        self.told.insert(node, (attempt, told));
                    }
                }
                Action::Begin(begun) => self.kept.begin(begun),
                Action::Keep(round, next) => {
                    self.kept.rounds.push(round);
                    next.into_iter().for_each(|begun| self.kept.begin(begun));
                }
                Action::GiveUp { record, nodes, attempt, reason } => {
                    let (id, is_over) = (AttemptId::new("s", attempt), record.is_over());
                    let told = ToAttempt::Abandoned { reason, is_over };
                    self.told.extend(nodes.into_iter().map(|node| (node, (id.clone(), told.clone()))));
                    self.kept.record = *record;
                }
                Action::Report(progress) => self.progress = Some(progress),
                Action::Finish(complete) => {
                    self.kept.record = complete.record;
                    self.made = Some(complete.lost);
                    self.finishing = Some(complete.rounds);
                }
                Action::End(end) => (self.end, self.ended) = (Some(end), self.now),
            }
        }
    }

    fn turn(&mut self, turn: Turn) {
        self.event(Event::Turn(turn));
    }

    fn node(&mut self, node: &str, event: NodeEvent) {
        self.event(Event::Attempt(AttemptEvent::Node { node: node.into(), event }));
    }

    fn says(&mut self, node: &str, said: FromAttempt) {
        let number = self.told[node].0.number;
        self.node(node, NodeEvent::Said { number, said: Box::new(said) });
    }

    fn disconnect(&mut self, node: &str) {
        self.alliance.seen.insert(node.into(), false);
        self.told.remove(node);
        self.node(node, NodeEvent::Disconnected);
    }

    fn connect(&mut self, node: &str) {
        self.alliance.seen.insert(node.into(), true);
        self.node(node, NodeEvent::Connected);
    }

    /// Nothing happens for so long, but what the run itself does about that.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.run.timeout().filter(|next| *next <= until) {
            assert!(next >= self.now, "it does not wake up without end");
            self.now = next;
            self.event(Event::Time);
        }
        self.now = until;
    }

    /// The study's task is lost and the store is all that is left.
    fn restart(&mut self) {
        let lost = self.kept.lost();
        let Kept { record, rounds, .. } = self.kept.clone();
        self.run = Run::new(record, rounds, lost);
        (self.now, self.told) = (Moment::ZERO, BTreeMap::new());
        self.turn(Turn::Running);
    }

    fn stage(&self) -> &str {
        &self.progress.as_ref().unwrap().stage
    }

    fn waiting(&self) -> Vec<(&str, &str)> {
        let waiting = &self.progress.as_ref().unwrap().waiting;
        waiting.iter().map(|(name, reason)| (name.as_str(), reason.as_str())).collect()
    }

    /// A participant does what it was told last, as honest ones do.
    fn answer(&mut self, node: &str) {
        let (attempt, told) = self.told[node].clone();
        let position = self.parties.iter().position(|party| party.name == node).unwrap();
        match told {
            ToAttempt::Propose(proposal) => {
                let pledge = self.pledge(position, &attempt, &proposal);
                self.says(node, FromAttempt::Pledged(Box::new(pledge)));
            }
            ToAttempt::Start { pledges } => {
                let party = &self.parties[position];
                let names: Vec<String> = pledges.iter().map(|signed| signed.pledge.participant.clone()).collect();
                let own = pledges.iter().find(|signed| signed.pledge.participant == node).unwrap();
                let transcript = Transcript::verify(&pledges, &names, &own.pledge, &self.alliance.roster).unwrap();
                let (signature, encapsulations) = party.sign(&transcript);
                self.says(node, FromAttempt::Signed { signature, encapsulations });
            }
            ToAttempt::Go { round, .. } => self.contribute(node, round),
            other => panic!("{node} was told {other:?}"),
        }
    }

    fn pledge(&self, position: usize, attempt: &AttemptId, proposal: &Proposal) -> SignedPledge {
        let party = &self.parties[position];
        let question = proposal.question().unwrap().digest();
        let pledge = Pledge {
            attempt: attempt.clone(),
            participant: party.name.clone(),
            proposal: proposal.digest(attempt),
            question,
            ephemeral: party.public.clone(),
            ledger: Head::EMPTY,
            stored: None,
            seen: Vec::new(),
        };
        SignedPledge::new(pledge, &party.identity)
    }

    fn contribute(&mut self, node: &str, round: u32) {
        let Phase::Collecting(attempt) = &self.run.phase else { panic!("an attempt goes on") };
        let length = attempt.question.round(round).unwrap().layout().len();
        let transcript = attempt.collector.transcript().unwrap();
        let attempt = self.told[node].0.clone();
        let contribution = Contribution { attempt, round, transcript, values: vec![7; length] };
        self.node(node, NodeEvent::Contribution(contribution));
    }

    fn answer_all(&mut self, nodes: &[&str]) {
        nodes.iter().for_each(|node| self.answer(node));
    }

    /// The result is made, and recorded by all.
    fn close(&mut self, nodes: &[&str]) {
        let told = ToAttempt::Finished { result: Digest::ZERO, statement: String::new(), model: None };
        self.event(Event::Made(Box::new(told)));
        for node in nodes {
            assert!(matches!(self.told[*node].1, ToAttempt::Finished { .. }), "{node}");
            self.says(node, FromAttempt::Closed { part: None });
        }
    }
}

const ALL: [&str; 3] = ["p0", "p1", "p2"];

#[test]
fn a_study_goes_through_its_stages_to_its_end() {
    let mut world = World::new(&draft());
    assert_eq!((world.stage(), world.waiting().len()), ("joining", 3));
    for stage in ["joining", "signing", "summing"] {
        assert_eq!(world.stage(), stage);
        world.answer_all(&ALL);
    }
    assert_eq!((world.stage(), world.messages), ("complete", 9), "each was told each thing once");
    let rounds = world.finishing.clone().unwrap();
    assert_eq!((rounds[0].sum.as_slice(), &world.kept.rounds, rounds.len()), (&[21][..], &rounds, 1));
    assert_eq!((world.kept.record.state, &world.end), (StudyState::Done, &None));
    world.close(&ALL);
    assert_eq!((&world.end, world.run.timeout()), (&Some(Ok(())), None));
    assert!(world.kept.lost().is_empty());
}

#[test]
fn messages_that_are_repeated_or_late_change_nothing() {
    let mut world = World::new(&draft());
    let proposals = world.told.clone();
    world.answer_all(&ALL);
    let signing = world.told.clone();
    // Pledges again: from a node that is told anew after it was away.
    for node in ALL {
        world.told.insert(node.into(), proposals[node].clone());
        world.answer(node);
        assert_eq!(world.stage(), "signing");
    }
    world.told.clone_from(&signing);
    world.answer_all(&["p0", "p0", "p1", "p1"]);
    assert_eq!((world.stage(), world.waiting()), ("signing", vec![("p2", "checks the others' keys and signs")]));
    world.answer("p2");
    world.answer_all(&["p0", "p0", "p1"]);
    assert_eq!(world.waiting(), [("p2", "computes")]);
    world.answer("p2");
    assert_eq!(world.finishing.as_ref().unwrap()[0].sum, [21]);
    // What comes now is too late.
    world.contribute_late("p1");
    world.close(&ALL);
    assert_eq!(world.end, Some(Ok(())));
}

impl World {
    fn contribute_late(&mut self, node: &str) {
        let contribution = Contribution {
            attempt: self.told[node].0.clone(),
            round: 1,
            transcript: self.kept.rounds[0].transcript,
            values: vec![7],
        };
        self.node(node, NodeEvent::Contribution(contribution));
    }
}

#[test]
fn a_partner_that_does_not_answer_is_asked_again_and_then_lost() {
    let mut world = World::new(&draft().min_partners(2));
    world.answer_all(&ALL);
    world.answer_all(&["p0", "p1"]);
    let before = world.messages;
    world.pass(WAIT - SECOND);
    assert_eq!(world.messages, before + 3, "p2 alone, every quarter of the wait");
    world.pass(SECOND);
    let record = &world.kept.record;
    assert_eq!((record.attempt, record.participants.as_slice()), (2, &["p0".to_owned(), "p1".to_owned()][..]));
    assert_eq!(
        record.warnings,
        ["Attempt 1 was given up: `p2`: did not answer within 60 s. The study went on without."]
    );
    assert!(matches!(&world.told["p2"].1, ToAttempt::Abandoned { is_over: false, .. }));
    assert!(world.kept.lost().is_empty(), "nobody was told to compute");
    for _ in 0..3 {
        world.answer_all(&["p0", "p1"]);
    }
    assert_eq!(world.finishing.as_ref().unwrap()[0].participants, 2);
}

/// In the middle of the sum: the round is charged all the same, and a signature that comes after the attempt changes nothing.
#[test]
fn a_round_that_is_given_up_is_kept_as_charged_and_what_is_late_is_of_no_use() {
    let mut world = World::new(&draft().min_partners(2));
    world.answer_all(&ALL);
    let signing = world.told["p2"].clone();
    world.answer_all(&ALL);
    world.answer_all(&["p0", "p1"]);
    world.disconnect("p2");
    assert_eq!(world.run.need(&world.alliance), Need::Rest(["p2".to_owned()].into()));
    assert_eq!(world.waiting(), [("p2", "not connected")]);
    world.pass(WAIT);
    assert_eq!(world.kept.lost().iter().map(|lost| lost.attempt).collect::<Vec<_>>(), [1]);
    assert!(world.kept.lost()[0].rho > Rho::ZERO);
    world.told.insert("p2".into(), signing);
    world.answer("p2");
    assert_eq!((world.stage(), world.kept.record.attempt), ("joining", 2));
    let ToAttempt::Propose(proposal) = &world.told["p0"].1 else { panic!("the next attempt is proposed") };
    assert_eq!((proposal.spent, proposal.completed), (world.kept.lost()[0].rho, 0));
}

/// Whatever ends the attempt after that: nodes have been charged.
#[test]
fn a_round_at_work_when_the_coordinator_stopped_is_kept_as_charged() {
    let mut world = World::new(&draft().min_partners(2));
    (0..2).for_each(|_| world.answer_all(&ALL));
    world.answer_all(&["p0", "p1"]);
    world.restart();
    world.answer_all(&["p0", "p1"]);
    world.disconnect("p2");
    world.pass(WAIT);
    assert_eq!(world.kept.record.attempt, 2);
    assert_eq!(world.kept.lost().iter().map(|lost| lost.attempt).collect::<Vec<_>>(), [1]);
    let ToAttempt::Propose(proposal) = &world.told["p0"].1 else { panic!("the next attempt is proposed") };
    assert_eq!(proposal.spent, world.kept.lost()[0].rho);
    (0..3).for_each(|_| world.answer_all(&["p0", "p1"]));
    assert_eq!(world.made.as_ref().unwrap().len(), 1, "and the result states it");
}

#[test]
fn a_study_that_needs_all_its_partners_ends_with_one() {
    let mut world = World::new(&draft());
    world.answer("p0");
    world.says("p1", FromAttempt::Refused { reason: "its budget is spent".into() });
    let Some(Err(Error::Refused(reason))) = &world.end else { panic!("{:?}", world.end) };
    assert!(reason.problem.starts_with("`p1` refused: its budget is spent; the study needs all"), "{reason}");
    assert_eq!(world.kept.record.state, StudyState::Refused);
    assert!(ALL.iter().all(|node| matches!(world.told[*node].1, ToAttempt::Abandoned { is_over: true, .. })));
}

#[test]
fn it_is_cancelled_in_every_stage_but_the_last() {
    for stage in 0..=3 {
        let mut world = World::new(&draft());
        (0..stage).for_each(|_| world.answer_all(&ALL));
        world.event(Event::Attempt(AttemptEvent::Cancel("the operator".into())));
        if stage == 3 {
            assert_eq!((&world.end, world.stage()), (&None, "complete"), "its result is being made");
            continue;
        }
        assert_eq!(world.end, Some(Err(Error::refused("cancelled by the operator"))), "{stage}");
        assert_eq!(world.kept.record.state, StudyState::Cancelled);
        assert_eq!(world.kept.lost().len(), usize::from(stage == 2), "what may have been charged is kept");
    }
    let mut world = World::queued(&draft());
    world.event(Event::Attempt(AttemptEvent::Cancel("the operator".into())));
    assert_eq!((world.kept.record.state, world.messages), (StudyState::Cancelled, 0), "before its turn");
}

#[test]
fn it_goes_on_from_the_store_after_a_restart_at_every_stage() {
    for stage in 0..=3 {
        let mut world = World::new(&draft());
        (0..stage).for_each(|_| world.answer_all(&ALL));
        // What was kept of the study before its result was.
        world.kept.record.state = StudyState::Running;
        world.restart();
        if stage < 3 {
            assert_eq!((world.stage(), world.kept.record.attempt), ("joining", 1), "the same attempt");
            (0..3).for_each(|_| world.answer_all(&ALL));
        }
        assert_eq!(world.finishing.as_ref().unwrap()[0].sum, [21], "{stage}");
        assert_eq!(world.kept.rounds.len(), 1);
        world.alliance.seen.values_mut().for_each(|connected| *connected = false);
        world.close(&[]);
        assert_eq!(world.end, Some(Ok(())), "nobody is there to be waited for");
    }
}

#[test]
fn it_waits_for_those_who_have_not_connected_since_the_start() {
    let mut world = World::queued(&draft());
    world.alliance.seen.clear();
    world.turn(Turn::Running);
    world.connect("p0");
    assert_eq!((world.stage(), world.waiting()), ("waiting", vec![("p1", "not connected"), ("p2", "not connected")]));
    assert_eq!(world.run.need(&world.alliance), Need::Rest(["p1".to_owned(), "p2".to_owned()].into()));
    world.turn(Turn::Resting);
    world.pass(WAIT / 2);
    world.connect("p1");
    world.connect("p2");
    assert_eq!(
        (world.messages, world.run.need(&world.alliance)),
        (0, Need::Turn),
        "it is asked for when it has a turn"
    );
    world.turn(Turn::Running);
    assert_eq!((world.stage(), world.messages), ("joining", 3));

    let mut world = World::queued(&draft());
    world.alliance.seen.remove("p1");
    world.turn(Turn::Running);
    world.pass(WAIT);
    let Some(Err(Error::Failed(reason))) = &world.end else { panic!("{:?}", world.end) };
    assert!(reason.problem.starts_with("`p1`: did not connect within 60 s"), "{reason}");
}

/// One that waits for two partners of whom one is back: had it rested until both are, it would have lost both.
#[test]
fn a_partner_that_is_back_is_asked_whoever_else_is_away() {
    let mut world = World::new(&draft());
    (0..2).for_each(|_| world.answer_all(&ALL));
    world.answer("p0");
    world.alliance.seen.extend(["p1", "p2"].map(|away| (away.to_owned(), false)));
    assert_eq!(world.run.need(&world.alliance), Need::Rest(["p1".to_owned(), "p2".to_owned()].into()));
    world.turn(Turn::Resting);
    let before = world.messages;
    world.connect("p1");
    assert_eq!(world.run.need(&world.alliance), Need::Turn);
    world.turn(Turn::Running);
    assert_eq!((world.stage(), world.messages), ("summing", before + 1));
}

#[test]
fn a_study_that_waits_for_a_steward_rests_and_waits_for_its_turn_again() {
    let mut world = World::new(&draft());
    world.answer_all(&["p0", "p1"]);
    world.says("p2", FromAttempt::Waiting { reason: "its steward's decision".into() });
    assert_eq!(world.run.need(&world.alliance), Need::Rest(BTreeSet::new()));
    world.turn(Turn::Resting);
    world.pass(6 * 24 * 3600 * SECOND);
    assert_eq!((world.stage(), world.waiting()), ("joining", vec![("p2", "its steward's decision")]));
    let before = world.messages;
    world.answer("p2");
    assert_eq!((world.messages, world.run.need(&world.alliance)), (before, Need::Turn), "nobody is told to go on");
    world.turn(Turn::Queued(3));
    assert_eq!(world.stage(), "queued, 3rd");
    // However long others take, nobody is late.
    world.pass(100 * WAIT);
    assert_eq!((world.run.timeout(), world.messages), (None, before));
    world.turn(Turn::Running);
    assert_eq!((world.stage(), world.messages), ("signing", before + 3));
    world.pass(WAIT - SECOND);
    assert_eq!(world.end, None);
    world.pass(SECOND);
    assert!(matches!(&world.end, Some(Err(Error::Failed(_)))), "{:?}", world.end);
}

/// That its steward has approved may be lost on the way as anything else.
#[test]
fn a_partner_whose_steward_decides_is_asked_again_now_and_then() {
    let mut world = World::new(&draft());
    world.answer_all(&["p0", "p1"]);
    world.says("p2", FromAttempt::Waiting { reason: "its steward's decision".into() });
    world.turn(Turn::Resting);
    let before = world.messages;
    world.pass(14 * 60 * SECOND);
    assert_eq!(world.messages, before);
    world.pass(60 * SECOND);
    assert_eq!(world.messages, before + 1);
    world.pass(24 * 3600 * SECOND);
    let most = before + 1 + 24 * 4;
    assert!((before + 90..=most).contains(&world.messages), "{} of at most {most}", world.messages);
    world.answer("p2");
    assert_eq!(world.run.need(&world.alliance), Need::Turn);
}

#[test]
fn no_answer_is_forced_by_a_steward_who_never_decides() {
    let mut world = World::new(&draft());
    world.answer_all(&["p0", "p1"]);
    world.says("p2", FromAttempt::Waiting { reason: "its steward's decision".into() });
    world.pass(7 * 24 * 3600 * SECOND);
    let Some(Err(Error::Failed(reason))) = &world.end else { panic!("{:?}", world.end) };
    assert!(reason.problem.starts_with("`p2`: did not decide within 7 days; the study"), "{reason}");
}

/// How busy a partner is, and what is decided there, is no matter of the others.
#[test]
fn what_a_partner_waits_for_is_told_to_the_operator_alone() {
    let mut world = World::new(&draft().min_partners(2));
    (0..2).for_each(|_| world.answer_all(&ALL));
    world.answer_all(&["p0", "p1"]);
    world.says("p2", FromAttempt::Waiting { reason: "2 witnesses of the charge in its ledger".into() });
    assert_eq!(world.waiting(), [("p2", "2 witnesses of the charge in its ledger")]);
    world.pass(WAIT);
    let ToAttempt::Abandoned { reason, .. } = &world.told["p2"].1 else { panic!("it is given up") };
    assert_eq!(reason, "`p2`: did not answer within 60 s");
    assert_eq!(
        world.kept.record.warnings,
        ["Attempt 1 was given up: `p2`: did not answer within 60 s. The study went on without."]
    );
}

/// It is charged by then, and its staff may go on without the witness that is away.
#[test]
fn who_waits_for_witnesses_and_goes_on_saying_so_is_not_late() {
    let mut world = World::new(&draft().min_partners(2));
    (0..2).for_each(|_| world.answer_all(&ALL));
    world.answer("p0");
    let wait = |world: &mut World, node: &str| {
        world.says(node, FromAttempt::Waiting { reason: "p9 to witness the charge in its ledger".into() });
    };
    for _ in 0..4 {
        wait(&mut world, "p1");
        wait(&mut world, "p2");
        world.pass(WAIT / 2);
    }
    assert!(world.end.is_none() && world.kept.record.attempt == 1, "{:?}", world.end);
    wait(&mut world, "p1");
    world.pass(WAIT / 2);
    assert_eq!(world.kept.record.attempt, 2, "the one that says nothing more is lost");
    assert!(world.kept.record.warnings[0].contains("`p2`: did not answer"), "{:?}", world.kept.record.warnings);
}

#[test]
fn a_node_whose_ledger_is_not_trusted_takes_no_part() {
    let mut world = World::new(&draft());
    world.alliance.distrusted.insert("p1".into(), "its ledger is shorter than was witnessed".into());
    world.answer("p1");
    let Some(Err(Error::Refused(reason))) = &world.end else { panic!("{:?}", world.end) };
    assert!(reason.problem.starts_with("`p1` refused: its ledger is shorter"), "{reason}");
}

#[test]
fn what_cannot_be_kept_ends_the_study() {
    let mut world = World::new(&draft());
    (0..3).for_each(|_| world.answer_all(&ALL));
    world.event(Event::Failed(Error::failed("the disk is full")));
    assert_eq!(world.end, Some(Err(Error::failed("the disk is full"))));
    assert_eq!(world.kept.record.state, StudyState::Failed);
}

/// Rounds of a training follow one another under one transcript, and the next attempt goes on behind them.
#[test]
fn rounds_that_are_complete_stay_so() {
    let training = testing::study("t").train("kmeans", "SELECT id, a FROM d").with("clusters", 2).with("rounds", 3);
    let mut world = World::new(&training.min_partners(2).wait_seconds(60));
    (0..4).for_each(|_| world.answer_all(&ALL));
    assert_eq!(
        world.kept.rounds.iter().map(|round| (round.round, round.attempt)).collect::<Vec<_>>(),
        [(1, 1), (2, 1)]
    );
    world.node("p0", NodeEvent::Revoked);
    let lost = world.kept.lost().clone();
    assert_eq!((lost.len(), world.kept.record.attempt), (1, 2));
    let ToAttempt::Propose(proposal) = &world.told["p1"].1 else { panic!("the next attempt is proposed") };
    let charged: Rho = world.kept.rounds.iter().map(|round| round.rho).sum();
    assert_eq!((proposal.completed, proposal.spent), (2, [charged, lost[0].rho].into_iter().sum()));
    (0..2).for_each(|_| world.answer_all(&ALL[1..]));
    let Some((_, ToAttempt::Go { round, .. })) = world.told.get("p2") else { panic!("the third round") };
    assert_eq!(*round, 3);
    assert_eq!(world.progress.as_ref().unwrap().notes.len(), 1);
}

/// A study that states no more than one attempt costs: the partners that are left would refuse another, each with its own words.
#[test]
fn a_study_that_cannot_pay_for_another_attempt_ends_with_the_loss() {
    let mut world = World::new(&draft().min_partners(2).lost_attempts(0));
    (0..2).for_each(|_| world.answer_all(&ALL));
    let messages = world.messages;
    world.node("p0", NodeEvent::Revoked);
    let Some(Err(Error::Refused(reason))) = &world.end else { panic!("{:?}", world.end) };
    let words = reason.to_string();
    assert!(words.starts_with("`p0`: its certificate was revoked; earlier attempts were charged ρ = "), "{words}");
    assert!(words.contains("Submit the study anew"), "{words}");
    assert_eq!((world.messages, world.kept.record.attempt), (messages, 1), "nobody is asked once more");
    assert!(matches!(world.told["p1"].1, ToAttempt::Abandoned { is_over: true, .. }));
    // It is not asked again in the words of a study that goes on.
    assert!(world.kept.record.warnings.is_empty());
}

/// Then nothing is left of its ρ for the round that is missing.
#[test]
fn a_training_whose_last_round_is_lost_goes_on_if_it_provides_for_that() {
    let training = || {
        let training = testing::study("t").train("kmeans", "SELECT id, a FROM d").with("clusters", 2);
        training.with("rounds", 3).min_partners(2).wait_seconds(60)
    };
    let lose_the_last = |draft: &Draft| {
        let mut world = World::new(draft);
        let rounds = |world: &World| world.progress.as_ref().unwrap().rounds;
        while rounds(&world).0 < rounds(&world).1 || world.stage() != "summing" {
            world.answer_all(&ALL);
        }
        world.node("p0", NodeEvent::Revoked);
        world
    };
    let world = lose_the_last(&training().lost_attempts(0));
    let Some(Err(Error::Refused(reason))) = &world.end else { panic!("{:?}", world.end) };
    assert!(reason.to_string().starts_with("`p0`: its certificate was revoked; earlier"), "{reason}");

    let mut world = lose_the_last(&training().lost_attempts(1));
    let ToAttempt::Propose(proposal) = &world.told["p1"].1 else { panic!("the next attempt is proposed") };
    let question = proposal.question().unwrap();
    let rounds = world.kept.rounds.len();
    assert_eq!(question.rounds().count(), 1, "all others are complete");
    assert!(question.rho_from(0) >= world.kept.lost()[0].rho, "as much as was lost");
    assert!(proposal.spent.plus(question.rho_from(0)) <= proposal.study.privacy.most());
    (0..3).for_each(|_| world.answer_all(&ALL[1..]));
    assert_eq!(world.finishing.as_ref().unwrap().len(), rounds + 1);
}

/// The model of p0 scores the customers of p1 and p2, who have been told to begin.
fn scoring(min_partners: Option<u32>) -> World {
    let model = PublicModel {
        study: "m".into(),
        sha256: Digest::ZERO,
        content: Digest::ZERO,
        predicts: "y".into(),
        recipe: Recipe { features: vec![Feature { name: "a".into(), values: Values::Bool }] },
        recoding: None,
        additive: false,
        pairs: Vec::new(),
        shares: [-1.0, 1.0].map(|threshold| ScoreShare { threshold, events: 0.5, others: 0.1 }).into(),
    };
    let study = testing::lookalike(LookalikeSpec {
        seed_partner: "p0".into(),
        model,
        candidate_partners: vec!["p1".into(), "p2".into()],
        features: "SELECT id, a FROM d".into(),
        segment: None,
        leave_out: None,
        candidates: 2000,
        output: Output::Scores,
    });
    let mut world = World::queued_study(Study { min_partners, ..study });
    world.turn(Turn::Running);
    (0..2).for_each(|_| world.answer_all(&ALL));
    assert_eq!((world.stage(), world.waiting()), ("summing", vec![("p1", "computes"), ("p2", "computes")]));
    world
}

impl World {
    fn relay(&mut self, from: &str, to: &str) {
        let number = self.kept.record.attempt;
        self.node(from, NodeEvent::Relayed { number, to: to.into() });
    }

    /// Time passes while these ask p0 again and again, as they do who are not answered.
    fn ask_the_owner(&mut self, asking: &[&str], time: Duration) {
        let until = self.now + time;
        while self.now < until && self.end.is_none() && self.kept.record.attempt == 1 {
            asking.iter().for_each(|from| self.relay(from, "p0"));
            self.pass(2 * SECOND);
        }
    }

    fn failed(&self) -> String {
        let Some(Err(error)) = &self.end else { panic!("{:?}", self.end) };
        error.to_string()
    }
}

/// Candidates' owners do nothing without the model's.
#[test]
fn who_is_waited_for_is_lost_and_not_who_waits_for_it() {
    // It says nothing.
    let mut world = scoring(None);
    world.ask_the_owner(&["p1", "p2"], WAIT);
    assert!(world.failed().starts_with("`p0`: did not answer `p1` within 60 s; the study"), "{}", world.failed());
    // It went away at the last moment.
    let mut world = scoring(None);
    world.ask_the_owner(&["p1", "p2"], WAIT - 10 * SECOND);
    ["p1", "p2"].iter().for_each(|to| world.relay("p0", to));
    world.disconnect("p0");
    world.ask_the_owner(&["p1", "p2"], 10 * SECOND);
    assert!(world.failed().starts_with("`p0`: did not answer `p1`"), "{}", world.failed());
    // Whoever has waited so long gives up before the coordinator does.
    for gives_up in [FromAttempt::Failed, FromAttempt::Refused { reason: "the model's owner did not answer".into() }] {
        let mut world = scoring(None);
        world.ask_the_owner(&["p1"], WAIT / 2);
        world.says("p1", gives_up);
        assert!(world.failed().starts_with("`p0`: did not answer `p1`"), "{}", world.failed());
    }
    // There is no study without it, however few partners would do.
    let mut world = scoring(Some(2));
    world.ask_the_owner(&["p1", "p2"], WAIT);
    assert!(world.failed().contains("`p0`, whose model it is, does not take part"), "{}", world.failed());
    assert_eq!(world.kept.record.attempt, 1);
}

/// Whoever says nonsense is not answered, and says so of whom it likes.
#[test]
fn who_works_with_others_is_not_lost_for_one_that_it_does_not_answer() {
    let mut world = scoring(None);
    world.relay("p1", "p0");
    while world.end.is_none() {
        world.relay("p2", "p0");
        world.relay("p0", "p2");
        world.pass(2 * SECOND);
    }
    // p2 is late as well.
    assert!(world.failed().starts_with("`p1`: did not answer within 60 s; `p2`: did not"), "{}", world.failed());
    // What it was asked has been answered.
    let mut world = scoring(None);
    world.relay("p1", "p0");
    world.relay("p0", "p1");
    world.pass(WAIT);
    assert!(world.failed().starts_with("`p1`: did not answer within 60 s"), "{}", world.failed());
}

/// Others were charged for the round: it is not lost because one of them is busy, as long as that says so.
#[test]
fn a_round_that_waits_for_its_turn_has_more_time_up_to_a_bound() {
    let summing = || {
        let mut world = World::new(&draft());
        (0..2).for_each(|_| world.answer_all(&ALL));
        world.answer_all(&["p0", "p1"]);
        world
    };
    // As a node does: it says so whenever it is asked.
    let queue = |world: &mut World, time: Duration| {
        let until = world.now + time;
        while world.now < until && world.end.is_none() {
            world.says("p2", FromAttempt::Queued { after: 2 });
            world.pass((WAIT / 4).min(until - world.now));
        }
    };
    let mut world = summing();
    queue(&mut world, 50 * WAIT);
    assert_eq!(world.waiting(), [("p2", "its turn, after 2 rounds of other studies")]);
    // Its turn has come.
    world.pass(WAIT / 2);
    world.answer("p2");
    assert!(world.finishing.is_some());

    let mut world = summing();
    queue(&mut world, 50 * WAIT);
    let said_last = world.now - WAIT / 4;
    world.pass(2 * WAIT);
    assert!(world.failed().starts_with("`p2`: did not answer within 60 s; the study"), "{}", world.failed());
    assert_eq!(world.ended, said_last + WAIT, "it has its time from when it said so last");

    let mut world = summing();
    let began = world.now;
    queue(&mut world, 1000 * WAIT);
    assert!(world.failed().starts_with("`p2`: did not answer"), "{}", world.failed());
    assert_eq!(world.ended, began + WAIT + 3600 * SECOND, "whatever it says");
}

/// The bound is of all rounds together.
#[test]
fn rounds_that_wait_for_their_turn_share_one_bound() {
    let training = testing::study("t").train("kmeans", "SELECT id, a FROM d").with("clusters", 2).with("rounds", 3);
    let mut world = World::new(&training.wait_seconds(60));
    (0..2).for_each(|_| world.answer_all(&ALL));
    let began = world.now;
    let late = |world: &mut World, time: Duration| {
        let until = world.now + time;
        world.answer_all(&["p0", "p1"]);
        while world.now < until && world.end.is_none() {
            world.says("p2", FromAttempt::Queued { after: 1 });
            world.pass(WAIT / 4);
        }
    };
    late(&mut world, 2400 * SECOND);
    assert_eq!(world.waiting(), [("p2", "its turn, after a round of another study")]);
    world.answer("p2");
    late(&mut world, 2400 * SECOND);
    assert!(world.failed().starts_with("`p2`: did not answer"), "{}", world.failed());
    assert_eq!(world.ended, began + 2 * WAIT + 3600 * SECOND);
}
