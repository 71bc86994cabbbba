//! Both sides of the exchange over a way that loses, repeats, reorders and changes messages.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{self, TryRecvError};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use entente_host::clock::Clock;
use entente_protocols::attempt::AttemptId;
use entente_protocols::canonical::{canonical_bytes, from_canonical};
use entente_protocols::digest::Digest;
use entente_protocols::identity::{IdentityKey, Member, Roster};
use entente_protocols::language::rows::RowsPlan;
use entente_protocols::language::schema::{ColumnType, DatasetSchema};
use entente_protocols::learn::file::ScoreShare;
use entente_protocols::learn::model::Parameters;
use entente_protocols::learn::recipe::{Feature, Recipe, Values};
use entente_protocols::ledger::Head;
use entente_protocols::lookalike::buckets::clear;
use entente_protocols::lookalike::buckets::owner::range;
use entente_protocols::lookalike::exchange::{KEY_PARTS, LIMIT, SESSIONS, ToCandidatesOwner, ToModelOwner};
use entente_protocols::lookalike::message::{MaskedBlock, SeedPart};
use entente_protocols::lookalike::model::PublicModel;
use entente_protocols::lookalike::params::{BLOCK, Params};
use entente_protocols::privacy::bounds::Layout;
use entente_protocols::privacy::rows::{Block, UNIT};
use entente_protocols::secagg::agreement::{Agreed, Encapsulation};
use entente_protocols::secagg::channel::{Channel, NONCE};
use entente_protocols::secagg::pledge::{EphemeralKey, Pledge, SignedPledge};
use entente_protocols::secagg::transcript::Transcript;
use entente_protocols::study::lookalike::LookalikeSpec;
use entente_protocols::study::plans::score::{Output, ScorePlan, Scoring};
use entente_protocols::study::proposal::Proposal;
use entente_protocols::study::{Question, Study};
use entente_protocols::testing;
use entente_protocols::wire::frame::FrameReader;
use entente_protocols::wire::message::{FromAttempt, FromNode};
use zeroize::Zeroizing;

use super::candidates::Session;
use super::keys::{GivenKeys, OwnKey};
use super::owner::{Buckets, Owner, Sessions};
use super::talk::{Meeting, Stop, Talk, context};
use super::{cells, kept, scored_here};
use crate::data::{BlockSpec, Candidates, Dataset, Engine, Labels, Options, UnitKey};
use crate::dialogue::Dialogue;
use crate::peers::Peers;
use crate::state::Folder;
use crate::store::{StoredModel, StudyStore};
use crate::turn::Alone;

const NAMES: [&str; 2] = ["retailer", "telecom"];

/// Makes the evaluation key once: it takes its time.
static KEY: OnceLock<Arc<OwnKey>> = OnceLock::new();

/// A transcript of two, and a channel for either end.
fn channels() -> (Transcript, Channel, Channel) {
    let parties: Vec<(IdentityKey, EphemeralKey)> =
        (1..3).map(|i| (IdentityKey::from_secret(&[i; 32]), EphemeralKey::from_secret([9 + i; 32]))).collect();
    let pledge = |(name, (identity, ephemeral)): (&&str, &(IdentityKey, EphemeralKey))| {
        let pledge = Pledge {
            attempt: AttemptId::new("s", 1),
            participant: (*name).into(),
            proposal: Digest([6; 32]),
            question: Digest([3; 32]),
            ephemeral: ephemeral.public(),
            ledger: Head::EMPTY,
            stored: None,
            seen: Vec::new(),
        };
        SignedPledge::new(pledge, identity)
    };
    let pledges: Vec<SignedPledge> = NAMES.iter().zip(&parties).map(pledge).collect();
    let member =
        |(identity, _): &(IdentityKey, EphemeralKey)| Member { identity: identity.public(), tls: Digest::ZERO };
    let members: BTreeMap<String, Member> =
        NAMES.iter().map(|name| (*name).to_owned()).zip(parties.iter().map(member)).collect();
    let coordinator = IdentityKey::from_secret(&[99; 32]).public();
    let roster = Roster { alliance: "test".into(), authority: Digest::ZERO, coordinator, members };
    let transcript = Transcript::of(&pledges, &NAMES.map(String::from), &roster).unwrap();
    let sent: Vec<Encapsulation> = NAMES
        .iter()
        .zip(&parties)
        .flat_map(|(name, (identity, key))| Encapsulation::of(&transcript, name, key, identity).unwrap())
        .collect();
    let channel = |i: usize| {
        let agreed = Agreed::with_all(&transcript, NAMES[i], &parties[i].1, &sent).unwrap();
        Channel::new(&agreed, NAMES[i], NAMES[1 - i], &sent).unwrap()
    };
    let (owner, candidates) = (channel(0), channel(1));
    (transcript, owner, candidates)
}

fn model() -> (PublicModel, Parameters) {
    let feature = |name: &str, values| Feature { name: name.into(), values };
    let region = Values::Category { values: vec!["north".into(), "south".into()] };
    let features = vec![feature("age", Values::Number { low: 0.0, high: 100.0 }), feature("region", region)];
    let public = PublicModel {
        study: "m".into(),
        sha256: Digest([1; 32]),
        content: Digest::ZERO,
        predicts: "y".into(),
        recipe: Recipe { features },
        recoding: None,
        additive: false,
        pairs: Vec::new(),
        shares: [-0.5, 0.5].map(|threshold| ScoreShare { threshold, events: 0.5, others: 0.5 }).to_vec(),
    };
    (public, Parameters::Weights { weights: vec![2.0, -1.0, 0.5, 0.25, -0.75, 0.1] })
}

/// Some candidates, from a real table.
fn candidates(rows: usize) -> Candidates {
    candidates_of(0..rows, None)
}

/// Those of them with these numbers, as many as there is room for.
fn candidates_of(rows: impl IntoIterator<Item = usize>, most: Option<u64>) -> Candidates {
    let folder = tempfile::tempdir().unwrap();
    let row = |i: usize| format!("c{i},{},{}\n", i * 29 % 101, ["north", "south", ""][i % 3]);
    let table: String = std::iter::once("id,age,region\n".to_owned()).chain(rows.into_iter().map(row)).collect();
    std::fs::write(folder.path().join("t.csv"), table).unwrap();
    let config = "[node]\nname = \"n\"\ncoordinator = \"h:1\"\n[[dataset]]\nname = \"t\"\nsource = \"t.csv\"\n\
                  privacy_unit = \"id\"\n[dataset.columns]\nage = { type = \"int\", min = 0, max = 100 }\n\
                  region = { type = \"category\", values = [\"north\", \"south\"] }\n[budget]\nepsilon = 1.0\ndelta = 1e-6\n";
    let config = crate::config::parse(std::path::Path::new("node.toml"), config).unwrap();
    let schema = config.datasets["t"].schema.clone();
    let plan: RowsPlan = entente_protocols::language::sql::rows("SELECT id, age, region FROM t", &schema).unwrap();
    assert_eq!(plan.outputs.iter().map(|output| output.name.as_str()).collect::<Vec<_>>(), ["age", "region"]);
    let dataset = Dataset::open(schema, "t.csv", folder.path(), None).unwrap();
    let engine = Engine::new(Options::new(folder.path().join("spill"), UnitKey::new([5; 32])));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime
        .block_on(engine.candidates(
            &dataset,
            &plan,
            BlockSpec { block_rows: BLOCK, most, segment: None, left_out: None },
        ))
        .unwrap()
}

/// What [`candidates`] are drawn from, with a column more to tell segments by.
fn schema() -> DatasetSchema {
    let text = |values: &[&str]| ColumnType::Category { values: values.iter().map(|value| (*value).into()).collect() };
    DatasetSchema {
        name: "t".into(),
        privacy_unit: "id".into(),
        columns: [
            ("age".into(), ColumnType::Int { min: Some(0), max: Some(100) }),
            ("region".into(), text(&["north", "south"])),
            ("tier".into(), text(&["gold", "silver", "none"])),
        ]
        .into(),
    }
}

fn spec() -> LookalikeSpec {
    LookalikeSpec {
        seed_partner: NAMES[0].into(),
        model: model().0,
        candidate_partners: vec![NAMES[1].into()],
        leave_out: None,
        features: "SELECT id, age, region FROM t".into(),
        segment: None,
        candidates: 1000,
        output: Output::Scores,
    }
}

/// Data with and without one customer differ in that customer's one cell: what the clipping step is given of the others is the
/// same, in whatever segment the one is.
#[test]
fn a_candidate_counts_in_the_one_cell_of_its_segment_and_score() {
    let plan = LookalikeSpec { segment: Some("tier".into()), ..spec() }.plan(&schema()).unwrap();
    assert_eq!((plan.scoring.scores(), plan.segments()), (3, 4));
    let scores: Vec<u16> = (0..32).map(|row| row % 3).collect();
    let segments: Vec<u16> = (0..32).map(|row| row / 3 % 4).collect();
    let all = cells(&plan, &scores, &segments);
    let mut expected = vec![0; 12];
    for ((cell, score), segment) in all.iter().zip(&scores).zip(&segments) {
        assert_eq!(*cell, 3 * segment + score);
        expected[usize::from(*cell)] += 1;
    }
    assert!(expected.iter().all(|count| *count > 0), "every cell has somebody: {expected:?}");
    for without in 0..all.len() {
        let (mut fewer, mut others, mut rest) = (scores.clone(), segments.clone(), all.clone());
        fewer.remove(without);
        others.remove(without);
        rest.remove(without);
        assert_eq!(cells(&plan, &fewer, &others), rest);
    }
    let whole = spec().plan(&schema()).unwrap();
    assert!(cells(&whole, &scores, &[]).iter().zip(&scores).all(|(cell, score)| cell == score));
    // What is scored, and so what the model's owner answers, is of the same columns with segments as without.
    assert_eq!(plan.scoring.params().unwrap().shape(), whole.scoring.params().unwrap().shape());
}

/// A plan over [`candidates`] with three buckets and room for `room`, and the layout of what is released by it.
fn plan_of_buckets(room: u64) -> (ScorePlan, Layout) {
    let shares = [(0.0, 0.75), (0.5, 0.25)].map(|(threshold, events)| ScoreShare { threshold, events, others: 0.5 });
    let model = PublicModel { shares: shares.to_vec(), ..model().0 };
    let spec = LookalikeSpec { model, candidates: room, output: Output::Buckets(4), ..spec() };
    let schema = schema();
    let plan = spec.plan(&schema).unwrap();
    let study = testing::lookalike(spec);
    let layout = Question::new(&study, &schema, &study.partners, 0).unwrap().mechanism().layout().clone();
    (plan, layout)
}

/// The same, but that scores are opened.
fn opened_as_scores(plan: &ScorePlan) -> ScorePlan {
    ScorePlan { scoring: Scoring { output: Output::Scores, ..plan.scoring.clone() }, ..plan.clone() }
}

/// A node's own customers lie in the buckets of their scores.
#[test]
fn buckets_of_own_customers_are_those_of_their_scores() {
    let (plan, _) = plan_of_buckets(1000);
    let own = plan.scoring.model.quantised(&model().1).unwrap();
    let candidates = candidates(300);
    let buckets = scored_here(&plan, &candidates, &own).unwrap();
    let scores = scored_here(&opened_as_scores(&plan), &candidates, &own).unwrap();
    let mut found = [0; 3];
    for (bucket, score) in buckets.iter().flatten().zip(scores.iter().flatten()) {
        let log_odds = *score as f64 * f64::from(-own.bits).exp2();
        assert_eq!(*bucket, i64::from(log_odds >= 0.0) + i64::from(log_odds >= 0.5), "{log_odds}");
        found[*bucket as usize] += 1;
    }
    assert!(found.iter().sum::<i32>() == 300 && found.iter().all(|count| *count > 0), "{found:?}");
}

/// One customer more under a cap comes into one cell and may push another customer out of another cell. What the layout says of
/// the reach's sensitivity, which the noise and the charge follow from, covers both, and one of them would not.
#[test]
fn one_customer_more_under_a_cap_moves_the_reach_by_what_is_charged_for() {
    let (plan, layout) = plan_of_buckets(20);
    let own = plan.scoring.model.quantised(&model().1).unwrap();
    let reach = |without: Option<usize>| {
        let candidates = candidates_of((0..60).filter(|row| Some(*row) != without), Some(plan.scoring.candidates));
        let mut reach = vec![0i64; plan.cells()];
        let buckets = scored_here(&plan, &candidates, &own).unwrap();
        buckets.iter().flatten().for_each(|bucket| reach[*bucket as usize] += i64::from(UNIT));
        reach
    };
    let whole = reach(None);
    assert_eq!(whole.iter().sum::<i64>(), 20 * i64::from(UNIT));
    let moved = (0..60).map(|one| {
        let apart = reach(Some(one)).into_iter().zip(&whole).map(|(one, other)| (one - other).unsigned_abs());
        apart.map(|apart| u128::from(apart).pow(2)).sum::<u128>()
    });
    assert_eq!(moved.max(), Some(layout.sensitivity_squared(0)));
}

/// Whoever is left out is in no cell, and changes nobody else's: whether one customer is there, or is a seed, moves one cell by one.
#[test]
fn who_is_left_out_counts_nowhere_and_moves_nobody() {
    let codes = |left_out: &[bool]| left_out.iter().map(|is| Values::Bool.code_of_bool(*is)).collect::<Vec<u16>>();
    let rows = |left_out: &[bool]| kept(left_out.len(), &codes(left_out));
    assert_eq!(kept(3, &[]), [0, 1, 2], "nobody says so");
    assert_eq!(kept(2, &[0, 0]), [0, 1], "nothing is known of them");
    let all: Vec<bool> = (0..40).map(|row| row * 7 % 5 == 0).collect();
    let others = |but: usize, rows: Vec<usize>| rows.into_iter().filter(|row| *row != but).collect::<Vec<_>>();
    for one in 0..all.len() {
        let mut changed = all.clone();
        changed[one] = !changed[one];
        assert_eq!(others(one, rows(&all)), others(one, rows(&changed)));
        assert_eq!(rows(&all).contains(&one), !all[one]);
    }
}

/// What the way does to a message: how often it arrives, and whether changed.
type Way = fn(number: usize) -> (usize, bool);

struct Scored {
    scores: Vec<Vec<i64>>,
    candidates: Candidates,
    params: Params,
    public: PublicModel,
    /// How long each message was that the model's owner got.
    messages: Vec<usize>,
}

/// Scores all candidates over a way that is `bad`, with an owner that starts anew before these messages.
fn scored(rows: usize, room: usize, again: Duration, bad: Way, anew: &'static [usize]) -> Scored {
    let folder = tempfile::tempdir().unwrap();
    opened((rows, room), Output::Scores, &Folder::new(folder.path()), again, (bad, anew))
}

/// The same, with what the study opens, and the candidates' owner's folder.
fn opened(
    (rows, room): (usize, usize),
    output: Output,
    folder: &Folder,
    again: Duration,
    (bad, anew): (Way, &'static [usize]),
) -> Scored {
    let (transcript, owner_channel, channel) = channels();
    let (public, parameters) = model();
    let candidates = candidates(rows);
    let params = public.params(room.max(1) as u64).unwrap();
    let context = context(transcript.digest(), NAMES[0], NAMES[1]);
    let (sender, mut link) = tokio::sync::mpsc::channel(16);
    let peers = Peers::default();
    peers.connected(sender);
    let id = AttemptId::new("s", 1);
    let dialogue = peers.converse(id.clone(), NAMES[0]);
    let dialogue =
        Dialogue::new(dialogue, channel, (Clock::default(), Duration::from_secs(60)), &Alone).again_after(again);
    let meeting = Meeting { context, talk: Talk::new(&dialogue), keys: GivenKeys::of(folder) };
    let key = KEY.get_or_init(|| Arc::new(OwnKey::new(Zeroizing::new([7; 32])))).clone();
    let edges = public.shares.clone();
    let (done, stop) = mpsc::channel::<()>();
    let counted = tempfile::tempdir().unwrap();
    let counted = counted.path();
    let (result, messages) = thread::scope(|scope| {
        let (owner_params, owner_public) = (params.clone(), public.clone());
        let peers = &peers;
        let answering = scope.spawn(move || {
            let mut messages = Vec::new();
            let fresh = || {
                let buckets = || Buckets { edges: edges.clone(), key: key.clone() };
                let buckets = matches!(output, Output::Buckets(_)).then(buckets);
                let model = (&owner_public, &parameters);
                Owner::new(context, owner_params.clone(), model, buckets, sessions(counted)).unwrap()
            };
            let (mut owner, mut number) = (fresh(), 0);
            while stop.try_recv() == Err(TryRecvError::Empty) {
                let Ok(frame) = link.try_recv() else {
                    thread::sleep(Duration::from_millis(1));
                    continue;
                };
                let mut reader = FrameReader::from_nodes();
                reader.feed(&frame);
                let message = reader.next_frame().unwrap().unwrap().decode::<FromNode>().unwrap();
                let FromNode::Attempt(_, FromAttempt::Relay { to, mut sealed }) = message else {
                    panic!("{message:?}")
                };
                assert_eq!(to, NAMES[0]);
                number += 1;
                messages.push(sealed.len());
                let (times, changed) = bad(number);
                if changed {
                    sealed[NONCE + 3] ^= 1;
                }
                if anew.contains(&number) {
                    owner = fresh();
                }
                for _ in 0..times {
                    let Ok(opened) = owner_channel.open(&sealed) else { continue };
                    let answer = owner.answered(from_canonical(&opened, LIMIT).unwrap()).unwrap();
                    let nonce = entente_host::random::random::<NONCE>().unwrap();
                    let sealed = owner_channel.seal(nonce, &canonical_bytes(&answer));
                    peers.deliver(&AttemptId::new("s", 1), NAMES[0], sealed);
                }
            }
            messages
        });
        let score = || {
            loop {
                let session = Session::begin(params.clone(), output, &meeting)?;
                match session.score(&public, &candidates, &meeting.talk, meeting.talk.heard()) {
                    Err(Stop::Unknown) => {}
                    done => return done,
                }
            }
        };
        let result = score();
        drop(done);
        (result.map_err(|problem| format!("{problem:?}")), answering.join().unwrap())
    });
    Scored { scores: result.unwrap(), candidates, params, public, messages }
}

fn check(rows: usize, bad: Way, anew: &'static [usize]) {
    let scored = scored(rows, rows, Duration::from_millis(30), bad, anew);
    assert_eq!(scored.scores.len(), scored.candidates.blocks());
    for (number, scores) in scored.scores.iter().enumerate() {
        assert_eq!(*scores, plain(&scored, number), "block {number}");
    }
}

/// The scores of a block by plain integers.
fn plain(scored: &Scored, number: usize) -> Vec<i64> {
    let Scored { candidates, params, public, .. } = scored;
    let quantised = public.quantised(&model().1).unwrap();
    let totals = |_: &[u128], block: &Block, _: &Labels<Vec<u16>>| {
        let codes: Vec<&[u16]> = (0..2).map(|column| block.codes(column)).collect();
        let features = public.features(&codes).unwrap();
        let mut totals = vec![0i64; block.rows()];
        let mut weights = &quantised.weights[..];
        for (feature, column) in features.columns().iter().zip(&params.shape().columns) {
            let (own, rest) = weights.split_at(column.weights());
            weights = rest;
            for (row, total) in totals.iter_mut().enumerate() {
                use entente_protocols::lookalike::candidates::Feature as Of;
                *total += match feature {
                    Of::Scaled(values) => i64::from(values[row]) * i64::from(own[0]),
                    Of::OneHot(levels) => i64::from(own[usize::from(levels[row])]),
                };
            }
        }
        assert_eq!(public.scores(&quantised, &codes).unwrap(), totals, "as the model's owner scores its own");
        totals
    };
    candidates.block(number, totals).unwrap()
}

/// Buckets are those of plain integers, but for customers too near to an edge, over a way that loses and repeats; the evaluation
/// key comes once, and is found in the folder the next time.
#[test]
fn buckets_are_those_of_the_scores_and_their_key_comes_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = Folder::new(folder.path());
    folder.create().unwrap();
    let bad: Way = |number| (usize::from(number % 5 != 0) + usize::from(number % 7 == 0), false);
    let once = |rows: usize| opened((rows, 1), Output::Buckets(3), &folder, Duration::from_secs(2), (bad, &[]));
    let first = once(40);
    let quantised = first.public.quantised(&model().1).unwrap();
    let edges = quantised.edges(&first.public.shares);
    let (low, high) = range(&first.params, &quantised.weights).unwrap();
    let near = clear(&first.params) * (high - low) as f64;
    let (mut sure, mut seen) = (0, [0; 3]);
    for (bucket, score) in first.scores[0].iter().zip(plain(&first, 0)) {
        if edges.iter().all(|edge| (score - edge).abs() as f64 > near) {
            assert_eq!(*bucket as usize, edges.iter().filter(|edge| **edge <= score).count(), "{score} of {edges:?}");
            sure += 1;
            seen[*bucket as usize] += 1;
        }
    }
    assert!(sure > 30 && seen.iter().all(|bucket| *bucket > 0), "{seen:?}");
    // Hello, contribution, key and block, some of them twice.
    let again = once(1);
    assert!(first.messages.len() >= 3 + KEY_PARTS as usize && again.messages.len() <= 6, "{:?}", again.messages);
}

#[test]
fn scores_are_exact_over_a_good_way() {
    check(0, |_| (1, false), &[]);
    check(1, |_| (1, false), &[]);
    check(40 * BLOCK + 17, |_| (1, false), &[]);
}

/// The model's owner gets as many messages, of the same sizes, whatever the number of candidates within the study's room.
#[test]
fn messages_do_not_tell_how_many_candidates_there_are() {
    let messages = |rows: usize| scored(rows, 20 * BLOCK, Duration::from_secs(50), |_| (1, false), &[]).messages;
    let few = messages(3);
    assert_eq!(few.len(), 4, "hello, contribution and two batches");
    assert_eq!(few, messages(2 * BLOCK + 1));
}

/// A third of the messages are lost, a seventh come twice, a fifth are changed on their way.
#[test]
fn scores_are_exact_over_a_bad_way() {
    let bad: Way = |number| (if number % 3 == 0 { 0 } else { 1 + usize::from(number % 7 == 0) }, number % 5 == 0);
    check(40 * BLOCK + 17, bad, &[]);
}

/// The model's owner loses its keys twice in the middle, and scoring begins again under others.
#[test]
fn a_model_owner_that_starts_anew_is_met_again() {
    check(40 * BLOCK, |_| (1, false), &[2, 6]);
}

/// What is in a model owner's folder, where the model is kept.
fn sessions(folder: &Path) -> Sessions {
    let studies = StudyStore::open(&folder.join("studies.sqlite")).unwrap();
    let file = b"the model";
    let model = StoredModel {
        study: "m".into(),
        name: "churn".into(),
        predicts: "y".into(),
        source: "a file".into(),
        sha256: Digest::plain(file),
        received: "2026-01-01T00:00:00Z".into(),
        bytes: file.to_vec(),
    };
    studies.put_model(&model).unwrap();
    Sessions {
        studies: Arc::new(Mutex::new(studies)),
        model: (model.study, model.sha256),
        attempt: AttemptId::new("s", 1),
        with: NAMES[1].into(),
    }
}

/// A model's owner as it starts over its folder.
fn owner(folder: &Path) -> Owner {
    let (public, parameters) = model();
    let params = public.params(2 * BLOCK as u64).unwrap();
    Owner::new(Digest([1; 32]), params, (&public, &parameters), None, sessions(folder)).unwrap()
}

fn block(number: u32, fill: u8) -> MaskedBlock {
    MaskedBlock { number, values: vec![fill; 5 * BLOCK] }
}

/// What a hostile candidates' owner might ask for is answered once, with the same bytes, or refused.
#[test]
fn a_model_owner_answers_each_block_once_and_no_more_than_the_study_has() {
    let folder = tempfile::tempdir().unwrap();
    let mut owner = owner(folder.path());
    let mut answer = |message: ToModelOwner| owner.answered(message).unwrap();
    let ToCandidatesOwner::Offered { commitment: session, .. } = answer(ToModelOwner::Hello { session: 7 }) else {
        panic!("an offer")
    };
    let blocks = |blocks: Vec<MaskedBlock>| ToModelOwner::Blocks { session, blocks };
    assert_eq!(answer(blocks(vec![block(0, 1)])), ToCandidatesOwner::Unknown { session }, "not before the request");
    let contribution = |part: u8| ToModelOwner::Part { session, contribution: SeedPart([part; 32]) };
    let request = answer(contribution(1));
    assert!(matches!(request, ToCandidatesOwner::Weights { .. }));
    assert_eq!(answer(contribution(1)), request, "the same again");
    assert_eq!(answer(contribution(2)), ToCandidatesOwner::Unknown { session }, "no other choice of masks");
    let first = answer(blocks(vec![block(0, 1), block(1, 2)]));
    let ToCandidatesOwner::Shares { shares, .. } = &first else { panic!("shares") };
    assert_eq!(answer(blocks(vec![block(0, 1), block(1, 2)])), first, "the same again");
    assert_eq!(shares.len(), 2);
    for bad in [
        vec![block(0, 9)],
        vec![block(2, 1)],
        vec![block(u32::MAX, 1)],
        vec![MaskedBlock { number: 1, values: vec![0; 5] }],
        vec![MaskedBlock { number: 1, values: vec![0; 6 * BLOCK] }],
        vec![block(0, 1); 17],
    ] {
        assert!(matches!(answer(blocks(bad)), ToCandidatesOwner::Refused(_)));
    }
    assert_eq!(answer(blocks(vec![])), ToCandidatesOwner::Shares { session, shares: vec![] });
    // Sessions are counted: each gives shares of as many blocks again.
    for other in 8..11 {
        assert!(matches!(answer(ToModelOwner::Hello { session: other }), ToCandidatesOwner::Offered { .. }));
    }
    assert!(matches!(answer(ToModelOwner::Hello { session: 11 }), ToCandidatesOwner::Refused(_)));
    assert!(matches!(answer(ToModelOwner::Hello { session: 10 }), ToCandidatesOwner::Offered { .. }), "the same again");
}

/// Each session gives shares of all blocks again: were they counted in memory alone, whoever has the model's owner restarted, or only
/// waits until it is, would have scored as many customers as it likes.
#[test]
fn a_restart_of_the_model_s_owner_gives_nobody_more_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let hello = |session: u32| owner(folder.path()).answered(ToModelOwner::Hello { session }).unwrap();
    for session in 0..SESSIONS {
        assert!(matches!(hello(session), ToCandidatesOwner::Offered { .. }), "{session}");
    }
    assert!(matches!(hello(SESSIONS), ToCandidatesOwner::Refused(_)));
    assert!(matches!(hello(0), ToCandidatesOwner::Refused(_)), "its keys are gone, and others would give other shares");
}

/// Beside the running node, in the midst of scoring.
#[test]
fn a_model_that_staff_have_removed_answers_nobody_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut owner = owner(folder.path());
    let hello = ToModelOwner::Hello { session: 7 };
    assert!(matches!(owner.answered(hello.clone()).unwrap(), ToCandidatesOwner::Offered { .. }));
    StudyStore::open(&folder.path().join("studies.sqlite")).unwrap().remove_model("m").unwrap();
    let ToCandidatesOwner::Refused(why) = owner.answered(hello).unwrap() else { panic!("a refusal") };
    assert!(why.contains("not kept"), "{why}");
}

/// Whoever holds the model then learns one partner's reach and no sum.
#[test]
fn a_steward_is_told_where_scoring_may_come_down_to_one_partner_s_customers() {
    let partners = ["bank", NAMES[0], NAMES[1]].map(String::from);
    let told = |me: &str, least: u32| {
        let spec = LookalikeSpec { candidate_partners: vec!["bank".into(), NAMES[1].into()], ..spec() };
        let study = Study { min_partners: Some(least), ..testing::lookalike(spec) };
        let schemas = ["bank", NAMES[1]].map(|name| (name.to_owned(), schema()));
        let proposal = Proposal::first(study, &partners, "operator").over(schemas);
        let config = format!(
            "[node]\nname = \"{me}\"\ncoordinator = \"h:1\"\n[[dataset]]\nname = \"own\"\nsource = \"t.csv\"\n\
             privacy_unit = \"id\"\n[dataset.columns]\nage = {{ type = \"bool\" }}\n[budget]\nepsilon = 1.0\ndelta = 1e-6\n"
        );
        let config = crate::config::parse(Path::new("node.toml"), &config).unwrap();
        config.own_numbers(&proposal).unwrap()
    };
    for me in ["bank", NAMES[0], NAMES[1]] {
        let all = told(me, 3);
        assert!(all.contains("how many candidates each of bank, telecom") && !all.contains("lost on the way"), "{all}");
    }
    let (held, brought) = (told(NAMES[0], 2), told("bank", 2));
    assert!(held.contains("candidates each of") && held.contains("one partner (bank or telecom)"), "{held}");
    assert!(brought.contains("lost on the way: All its numbers are bank's own"), "{brought}");
}
