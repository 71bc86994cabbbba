//! A hostile coordinator between a model's owner and those whose candidates it scores.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Barrier;
use std::time::Duration;

use entente_node::data::audience::StudyId;
use entente_node::link::inbox::Answerer;
use entente_node::store::StudyStore;
use entente_protocols::digest::Digest;
use entente_protocols::kind::Kind;
use entente_protocols::ledger::Act;
use entente_protocols::ledger::entry::State;
use entente_protocols::ledger::office::Subject;
use entente_protocols::policy::{StewardDecision, Verdict};
use entente_protocols::wire::frame::{Frame, FrameReader};
use entente_protocols::wire::message::{FromAttempt, FromNode, ToAttempt};
use entente_testing::{Error, NOW, PARTNERS, Proposed, Puppets, Signed, World, last_study, refused};
use tokio::sync::mpsc;

use super::hostile::{SQL, proposal};
use super::lookalike::{lookalike, model};

const OWNER: &str = "retailer";
const CANDIDATES: &str = "telecom";
/// More messages than scoring takes.
const MANY: usize = 5;

/// A lookalike study that both have joined and signed, driven by hand.
struct Scoring {
    puppets: Puppets,
    proposed: Proposed,
    /// What the candidates' owner says.
    said: mpsc::Receiver<Vec<u8>>,
    /// How many vectors it had computed before.
    computed: usize,
    /// How often the model's owner has answered.
    answered: usize,
    /// The messages to it, sealed, each once: a slow machine repeats some.
    sealed: Vec<Vec<u8>>,
}

async fn scoring() -> Result<Scoring, Error> {
    let mut world = World::new().await?;
    let model = model(&world, "logistic").await?;
    for partner in PARTNERS {
        world.stop(partner).await;
    }
    let study = lookalike("scored", &[CANDIDATES]).with("candidates", 1024).build_with(&model)?;
    let puppets = Puppets::over(world)?;
    let (link, said) = mpsc::channel(64);
    puppets.participant(CANDIDATES).connected(link);
    let mut proposed = Proposed::new(study);
    proposed.proposal.participants = vec![OWNER.into(), CANDIDATES.into()];
    proposed.proposal.partners = proposed.proposal.participants.clone();
    let computed = puppets.world.count(CANDIDATES, State::Computed)?;
    Ok(Scoring { puppets, proposed, said, computed, answered: 0, sealed: Vec::new() })
}

/// A sealed message of an attempt to another participant.
fn sealed(frame: &Frame) -> Option<Vec<u8>> {
    match frame.decode() {
        Ok(FromNode::Attempt(_, FromAttempt::Relay { sealed, .. })) => Some(sealed),
        _ => None,
    }
}

impl Scoring {
    /// Carries what both say until the candidates' owner has a vector, and is ended where there is no end; `between` happens
    /// before each message to the model's owner arrives. How many these are, if there is a vector.
    fn carry(&mut self, between: impl Fn(&Puppets, &Proposed)) -> Result<Option<usize>, Error> {
        let signed = self.puppets.signatures(&self.proposed);
        self.carry_on(&signed, between)
    }

    /// The same, once both have signed.
    fn carry_on(&mut self, signed: &Signed, between: impl Fn(&Puppets, &Proposed)) -> Result<Option<usize>, Error> {
        let Self { puppets, proposed, said, computed, answered, sealed: all } = self;
        let (puppets, proposed) = (&*puppets, &*proposed);
        let runtime = tokio::runtime::Handle::current();
        let (mut messages, mut came) = (0, 0);
        std::thread::scope(|scope| {
            let computes = scope.spawn(move || {
                let _runtime = runtime.enter();
                puppets.participant(CANDIDATES).handle(proposed.go(signed))
            });
            let mut reader = FrameReader::from_nodes();
            while !computes.is_finished() {
                let Ok(bytes) = said.try_recv() else {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                };
                reader.feed(&bytes);
                let frame = reader.next_frame()?.ok_or("a whole frame")?;
                // What it asks its witnesses is no matter here: what it has computed is on its disk.
                let Some(sealed) = sealed(&frame) else { continue };
                came += 1;
                if !all.contains(&sealed) {
                    messages += 1;
                    all.push(sealed.clone());
                }
                if messages == MANY || came == 2 * MANY {
                    // It waits for whoever computes, as the link has it done at once.
                    Answerer::end(puppets.participant(CANDIDATES), &proposed.id);
                }
                between(puppets, proposed);
                let relayed = ToAttempt::Relayed { from: CANDIDATES.into(), sealed };
                for answer in puppets.tell_alone(OWNER, proposed.tells(relayed)).iter().filter_map(self::sealed) {
                    *answered += 1;
                    let relayed = ToAttempt::Relayed { from: OWNER.into(), sealed: answer };
                    puppets.tell_alone(CANDIDATES, proposed.tells(relayed));
                }
            }
            computes.join().map_err(|_| "the candidates' owner does not panic")?;
            Ok::<_, Error>(())
        })?;
        let has_vector = puppets.world.count(CANDIDATES, State::Computed)? > *computed;
        Ok(has_vector.then_some(messages))
    }
}

/// What a model's owner knows of those whom it answers limits how often it does: were it forgotten as often as somebody says that a
/// study is finished, one attempt would be as good as any number of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_s_owner_begins_nothing_anew_when_a_study_is_said_to_be_finished() -> Result<(), Error> {
    let undisturbed = tokio::task::block_in_place(|| scoring_now()?.carry(|_, _| ()))?.ok_or("a vector")?;
    let untrue = |puppets: &Puppets, proposed: &Proposed| {
        let told = ToAttempt::Finished { result: Digest::ZERO, statement: String::new(), model: None };
        puppets.tell_alone(OWNER, proposed.tells(told));
    };
    let disturbed = tokio::task::block_in_place(|| scoring_now()?.carry(untrue))?;
    assert_eq!(disturbed, Some(undisturbed), "as many messages as if nobody had said so");
    Ok(())
}

/// Nor when it was really given up: what is still on its way is answered by nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_s_owner_answers_nobody_in_an_attempt_that_has_ended() -> Result<(), Error> {
    let ends = |puppets: &Puppets, proposed: &Proposed| Answerer::end(puppets.participant(OWNER), &proposed.id);
    let mut scoring = tokio::task::block_in_place(scoring_now)?;
    assert_eq!(tokio::task::block_in_place(|| scoring.carry(ends))?, None);
    assert_eq!(scoring.answered, 0);
    Ok(())
}

/// Whatever it is told of rounds that it has no part in: its model was scored with.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_s_owner_that_has_answered_does_not_say_that_it_refused() -> Result<(), Error> {
    tokio::task::block_in_place(|| {
        let mut scoring = scoring_now()?;
        scoring.carry(|_, _| ())?.ok_or("a vector")?;
        let Scoring { puppets, proposed, .. } = &scoring;
        puppets.tell_alone(OWNER, proposed.go(&Signed::default()));
        assert_eq!(puppets.world.count(OWNER, State::Refused)?, 0);
        let store = StudyStore::open(&puppets.world.folder(OWNER).state("studies.sqlite"))?;
        let attempt = store.get(&proposed.id)?.ok_or("the attempt")?;
        assert!(!attempt.stage.has_ended());
        Ok(())
    })
}

/// It charges nothing, and what leaves it is as good as what others charge for.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_s_owner_answers_nobody_once_an_officer_has_paused_the_kind() -> Result<(), Error> {
    let pauses = |puppets: &Puppets, _: &Proposed| {
        let act = Act { officer: "ann", reason: "a test", now: NOW };
        let ledger = puppets.world.open_ledger(OWNER);
        // Paused already, from the second message on.
        let _ = ledger.expect("the ledger opens").hold(&Subject::Kind(Kind::Lookalike), true, act);
    };
    let mut scoring = tokio::task::block_in_place(scoring_now)?;
    assert_eq!(tokio::task::block_in_place(|| scoring.carry(pauses))?, None);
    assert_eq!(scoring.puppets.world.count(OWNER, State::Paused)?, 1);
    Ok(())
}

/// Where its table is.
fn table(puppets: &Puppets) -> PathBuf {
    puppets.world.folders().node(CANDIDATES).join("data/subscribers.csv")
}

/// Something that happens before message number `number` to the model's owner arrives, and at no other.
fn before(number: usize, happens: impl Fn(&Puppets, &Proposed)) -> impl Fn(&Puppets, &Proposed) {
    let messages = Cell::new(0);
    move |puppets, proposed| {
        messages.set(messages.get() + 1);
        if messages.get() == number {
            happens(puppets, proposed);
        }
    }
}

/// The model's owner can be slow, and staff look at things meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_staff_say_while_the_model_s_owner_is_waited_for_is_looked_at_before_the_charge() -> Result<(), Error> {
    let denies = |puppets: &Puppets, Proposed { id, proposal }: &Proposed| {
        let proposal = puppets.with_schemas(proposal.clone()).digest(id);
        let decision = StewardDecision { proposal, by: "ann".into(), verdict: Verdict::Deny("stop this".into()) };
        let store = StudyStore::open(&puppets.world.folder(CANDIDATES).state("studies.sqlite")).expect("it opens");
        store.decide(&id.study, &decision, &jiff::Timestamp::now().to_string()).expect("it is written");
    };
    let drops = |puppets: &Puppets, _: &Proposed| {
        let mut roster = puppets.roster.clone();
        roster.members.remove(OWNER);
        puppets.world.folder(CANDIDATES).pin(&roster).expect("it is written");
    };
    for says in [&denies as &dyn Fn(&Puppets, &Proposed), &drops] {
        let mut scoring = tokio::task::block_in_place(scoring_now)?;
        let charged = scoring.puppets.world.count(CANDIDATES, State::Reserved)?;
        // The last message before the two have met.
        assert_eq!(tokio::task::block_in_place(|| scoring.carry(before(2, says)))?, None);
        assert_eq!(scoring.puppets.world.count(CANDIDATES, State::Reserved)?, charged);
    }
    Ok(())
}

/// The rows are read again to name those who were scored; by then they are charged for.
#[tokio::test(flavor = "multi_thread")]
async fn a_vector_is_stored_whatever_becomes_of_the_data_before_the_audience_is_named() -> Result<(), Error> {
    let mut scoring = tokio::task::block_in_place(scoring_now)?;
    // The first block is on its way: all rows were read once.
    let gone = before(3, |puppets, _| std::fs::remove_file(table(puppets)).expect("it is removed"));
    assert!(tokio::task::block_in_place(|| scoring.carry(gone))?.is_some());
    let Scoring { puppets, proposed, .. } = &scoring;
    let file = proposed.id.study.parse::<StudyId>()?.file(&puppets.world.folder(CANDIDATES).audiences());
    assert!(!file.exists());
    let store = StudyStore::open(&puppets.world.folder(CANDIDATES).state("studies.sqlite"))?;
    assert_eq!(store.get(&proposed.id)?.ok_or("the attempt")?.stage.name(), "computed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_could_not_write_an_audience_signs_nothing() -> Result<(), Error> {
    let Scoring { puppets, proposed, .. } = scoring().await?;
    std::fs::write(puppets.world.folder(CANDIDATES).audiences(), "in its way")?;
    let pledges = [OWNER, CANDIDATES].map(|partner| puppets.pledge(partner, &proposed));
    let answer = puppets.ask(CANDIDATES, proposed.start(&pledges));
    assert!(matches!(answer, FromNode::Attempt(_, FromAttempt::Failed)), "{answer:?}");
    Ok(())
}

fn sizes(scoring: &Scoring) -> Vec<usize> {
    scoring.sealed.iter().map(Vec::len).collect()
}

/// A sum over nobody looks like any other to who answers its blocks.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_s_owner_does_not_see_that_the_candidates_cannot_be_read() -> Result<(), Error> {
    let mut readable = tokio::task::block_in_place(scoring_now)?;
    tokio::task::block_in_place(|| readable.carry(|_, _| ()))?.ok_or("a vector")?;
    for (before_it_is_opened, before_it_is_read) in [(true, false), (false, true)] {
        let mut scoring = tokio::task::block_in_place(scoring_now)?;
        let table = table(&scoring.puppets);
        tokio::task::block_in_place(|| {
            let signed = scoring.puppets.signatures(&scoring.proposed);
            if before_it_is_opened {
                std::fs::remove_file(&table)?;
            }
            let gone = |_: &Puppets, _: &Proposed| std::fs::remove_file(&table).expect("it is removed");
            scoring.carry_on(&signed, before(usize::from(before_it_is_read), gone))?.ok_or("a vector")?;
            Ok::<_, Error>(())
        })?;
        assert_eq!(sizes(&scoring), sizes(&readable));
        let entries = scoring.puppets.world.ledger(CANDIDATES)?;
        assert_eq!(last_study(&entries)?.snapshot, None, "it is a sum over nobody");
    }
    Ok(())
}

fn scoring_now() -> Result<Scoring, Error> {
    tokio::runtime::Handle::current().block_on(scoring())
}

/// As when the end of an attempt overtakes a round that was about to be charged for.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_charged_for_an_attempt_that_has_just_ended() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let proposed = proposal("overtaken", SQL)?;
    let signed = puppets.signatures(&proposed);
    Answerer::end(puppets.participant("bank"), &proposed.id);
    assert!(!puppets.tell("bank", proposed.go(&signed)).iter().any(Frame::is_contribution));
    assert_eq!(puppets.world.count("bank", State::Reserved)?, 0);
    Ok(())
}

/// Each of these is within the limit that the policy sets, and together they are not.
#[tokio::test(flavor = "multi_thread")]
async fn proposals_that_come_at_once_pass_no_limit_that_they_would_not_pass_one_by_one() -> Result<(), Error> {
    let mut world = World::new().await?;
    let model = model(&world, "logistic").await?;
    for partner in PARTNERS {
        world.stop(partner).await;
    }
    let path = world.folder(OWNER).config();
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(&path, text.replacen("[policy]\n", "[policy]\nmax_studies_per_model = 1\n", 1))?;
    let puppets = Puppets::over(world)?;
    let proposals = (0..8).map(|number| {
        let study = lookalike(&format!("at-once-{number}"), &[CANDIDATES]).build_with(&model)?;
        let mut proposed = Proposed::new(study);
        proposed.proposal.participants = vec![OWNER.into(), CANDIDATES.into()];
        proposed.proposal.partners = proposed.proposal.participants.clone();
        proposed.proposal = puppets.with_schemas(proposed.proposal);
        Ok(proposed)
    });
    let proposals: Vec<Proposed> = proposals.collect::<Result<_, Error>>()?;
    let (all_are_here, owner) = (Barrier::new(proposals.len()), puppets.participant(OWNER));
    let answers: Vec<Vec<Vec<u8>>> = std::thread::scope(|scope| {
        let propose = |proposed: &Proposed| {
            all_are_here.wait();
            owner.handle(proposed.propose())
        };
        let threads: Vec<_> = proposals.iter().map(|proposed| scope.spawn(move || propose(proposed))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a participant does not panic")).collect()
    });
    let mut reader = FrameReader::from_nodes();
    answers.iter().flatten().for_each(|frame| reader.feed(frame));
    let mut joined = 0;
    for _ in &proposals {
        match reader.next_frame()?.ok_or("an answer to each")?.decode()? {
            FromNode::Attempt(_, FromAttempt::Pledged(_)) => joined += 1,
            answer => refused(answer, "max_studies_per_model"),
        }
    }
    assert_eq!(joined, 1);
    Ok(())
}
