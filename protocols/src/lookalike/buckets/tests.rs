//! Bucketing as a whole: buckets are those of plain integers away from edges, edges are as sharp as documented, and
//! nothing malformed is taken.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::super::Refused;
use super::super::candidates::{Awaiting, Feature};
use super::super::message::{Request, SeedPart, Share};
use super::super::owner::{KeyHolder, Offer};
use super::super::params::{BLOCK, Column, Params, Shape};
use super::super::ring::MODULUS_BITS;
use super::super::tests::{context, small};
use super::candidates::{BucketEvaluator, Evaluation, ScoredBlock};
use super::message::{BucketRequest, EvaluationKey};
use super::owner::{EvaluationSecret, range};
use super::params::{Budget, POSITION_BITS, guard, room};
use super::{blur, clear};
use crate::canonical::{canonical_bytes, from_canonical};
use crate::digest::Digest;

fn model() -> EvaluationSecret {
    EvaluationSecret::new(Zeroizing::new([41; 32]))
}

/// A key whose every byte is this: of the right size, which is all that is asked of one.
fn filled(byte: u8) -> EvaluationKey {
    EvaluationKey {
        masks: [byte; 32],
        bootstrap: vec![byte; 6 * EvaluationKey::BOOTSTRAP],
        packing: vec![byte; 6 * EvaluationKey::PACKING],
    }
}

fn requests(
    params: &Params,
    weights: &[i32],
    edges: &[i64],
    key: Digest,
) -> (KeyHolder, Awaiting, Request, BucketRequest) {
    let offer = Offer::new(context(), params.clone(), Zeroizing::new([42; 32]));
    let awaiting = Awaiting::new(context(), params.clone(), offer.commitment(), Zeroizing::new([43; 32]));
    let contribution = awaiting.contribution();
    let (holder, request, buckets) = offer.request_buckets(&contribution, weights, edges, &model(), key).unwrap();
    (holder, awaiting, request, buckets)
}

fn sides(params: &Params, weights: &[i32], edges: &[i64], key: Arc<Evaluation>) -> (KeyHolder, BucketEvaluator) {
    let (holder, awaiting, request, buckets) = requests(params, weights, edges, key.digest());
    let evaluator = awaiting.accept_buckets(&request, &buckets, key).unwrap();
    (holder, evaluator)
}

/// The block after all bootstraps, by two workers.
fn bootstrapped(evaluator: &BucketEvaluator, features: &[Feature<'_>]) -> ScoredBlock {
    let block = evaluator.worker().scores(features).unwrap();
    let run = || {
        let mut worker = evaluator.worker();
        std::iter::from_fn(|| worker.bootstrap(&block).then_some(())).count()
    };
    let done: usize = std::thread::scope(|scope| {
        let threads = [scope.spawn(run), scope.spawn(run)];
        threads.map(|thread| thread.join().unwrap()).iter().sum()
    });
    assert_eq!(done, block.customers(), "every customer is bootstrapped once");
    block
}

/// Sixteen buckets over the whole range; customers at both ends, and as near to edges as is promised; blocks of different
/// lengths. In one test, as the keys take their time:
///
/// - what is left when a share is opened is the smudging noise and no more than the budget's other noise, which is at
///   most a tenth of the tail, within 6.2 standard errors (false alarms below 1e-9), customer or not;
/// - both directions are nine bytes a candidate, the requests aside.
#[test]
fn buckets_are_those_of_integers_away_from_edges() {
    let columns = vec![Column::Scaled { bound: 127, weight: 1 }, Column::OneHot { levels: 32, weight: 127 * 31 }];
    let params = Params::new(Shape { columns, blocks: 8 }).unwrap();
    // Any number in the range is somebody's score.
    let weights: Vec<i32> = std::iter::once(1).chain((0..32).map(|level| 127 * (level - 12))).collect();
    let (low, high) = range(&params, &weights).unwrap();
    assert_eq!((low, high), (-127 * 13, 127 * 20));
    let width = (high - low) as f64;
    let edges: Vec<i64> = (1..16).map(|k| low + (width / 16.0 * f64::from(k)).round() as i64).collect();
    let near = (clear(&params) * width).ceil() as i64;
    let mut scores = vec![low, high, low + 1, high - 1];
    // Below one edge, above the next.
    scores.extend(edges.iter().zip([-near - 1, near].into_iter().cycle()).map(|(edge, by)| edge + by));

    let key = model().key();
    assert!(key.fits());
    let evaluation = Arc::new(Evaluation::new(&key).unwrap());
    assert_eq!(evaluation.digest(), key.digest());
    let (holder, evaluator) = sides(&params, &weights, &edges, evaluation);
    let (mut worker, mut sharer) = (evaluator.worker(), holder.worker());
    for scores in [&scores[..], &scores[9..10], &[]] {
        let level = |score: &i64| ((score + 127 * 12 + 63).div_euclid(127)).clamp(0, 31) as u16;
        let levels: Vec<u16> = scores.iter().map(level).collect();
        let rest = |(score, level): (&i64, &u16)| i8::try_from(score - 127 * (i64::from(*level) - 12)).unwrap();
        let numbers: Vec<i8> = scores.iter().zip(&levels).map(rest).collect();
        let bucket = |score: &i64| edges.iter().filter(|edge| *edge <= score).count() as u8;
        let expected: Vec<u8> = scores.iter().map(bucket).collect();
        let block = bootstrapped(&evaluator, &[Feature::Scaled(&numbers), Feature::OneHot(&levels)]);
        let (masked, pending) = worker.finish(block);
        let share = sharer.share(&masked).unwrap();

        let noise = pending.noise(&share);
        let deviation = (noise.iter().map(|x| (*x as f64).powi(2)).sum::<f64>() / BLOCK as f64).sqrt();
        let budget = Budget::of(&params);
        let most = budget.sigma.hypot(budget.noise / 10.0);
        let slack = 6.2 / (2.0 * BLOCK as f64).sqrt();
        assert!(deviation > budget.sigma * (1.0 - slack) && deviation < most * (1.0 + slack), "{deviation}");
        assert_eq!(canonical_bytes(&masked).len() + canonical_bytes(&share).len(), 9 * BLOCK + 24);
        assert_eq!(pending.open(&share).unwrap(), expected);
    }
}

/// Where scores are looked up, of 200 customers: the deviation is the one that `blur` says, within 6.2 standard errors
/// (false alarms below 1e-9), and none is off by what `clear` says nobody is.
#[test]
fn edges_are_as_sharp_as_documented() {
    let params = small(2);
    let weights = [1000, 2000, -500, 77];
    let key = Evaluation::new(&filled(0)).unwrap();
    let (_, evaluator) = sides(&params, &weights, &[0], Arc::new(key));
    let count = 200;
    let numbers: Vec<i8> = (0..count).map(|i| (i * 37 % 255 - 127) as i8).collect();
    let levels: Vec<u16> = (0..count).map(|i| (i % 3) as u16).collect();
    let mut worker = evaluator.worker();
    let block = worker.scores(&[Feature::Scaled(&numbers), Feature::OneHot(&levels)]).unwrap();
    let (low, high) = range(&params, &weights).unwrap();
    let step = ((room(&params) as u64) << POSITION_BITS) / high.abs_diff(low);
    let small_key = model();
    let unit = 2f64.powi(POSITION_BITS.cast_signed());
    let errors: Vec<f64> = (0..count as usize)
        .map(|customer| {
            let score = i64::from(weights[0]) * i64::from(numbers[customer])
                + i64::from(weights[1 + usize::from(levels[customer])]);
            let phase = (score.cast_unsigned().wrapping_mul(step)) & ((1 << MODULUS_BITS) - 1);
            let position = worker.position(&block, customer, small_key.small());
            let off = position as f64 + 0.5 - phase as f64 / unit;
            let round = 2.0 * BLOCK as f64;
            off - (off / round).round() * round
        })
        .collect();
    let deviation = (errors.iter().map(|error| error * error).sum::<f64>() / f64::from(count)).sqrt();
    let expected = blur(&params) * room(&params);
    let slack = 6.2 / (2.0 * f64::from(count)).sqrt();
    assert!((deviation / expected - 1.0).abs() < slack, "{deviation} of {expected}");
    assert!(errors.iter().all(|error| error.abs() < guard(&params)));
}

#[test]
fn sizes_are_exact_and_no_others_are_taken() {
    let key = filled(7);
    let bytes = canonical_bytes(&key);
    assert_eq!((bytes.len(), EvaluationKey::LIMIT), (22_831_152, 22_831_152));
    assert!(from_canonical::<EvaluationKey>(&bytes, EvaluationKey::LIMIT).as_ref() == Ok(&key));
    let cut = |bytes: &Vec<u8>, by: usize| bytes[by..].to_vec();
    for (bootstrap, packing) in [(1, 0), (0, 1), (6, 0), (0, 6), (key.bootstrap.len(), key.packing.len())] {
        let key = EvaluationKey {
            masks: key.masks,
            bootstrap: cut(&key.bootstrap, bootstrap),
            packing: cut(&key.packing, packing),
        };
        assert_eq!(Evaluation::new(&key).err(), Some(Refused::Size));
    }

    let params = small(2);
    let evaluation = Arc::new(Evaluation::new(&key).unwrap());
    let (_, _, _, buckets) = requests(&params, &[1, 2, 3, 4], &[5], evaluation.digest());
    let bytes = canonical_bytes(&buckets);
    assert_eq!((bytes.len(), BucketRequest::LIMIT), (86_104, 86_104));
    assert_eq!(from_canonical(&bytes, BucketRequest::LIMIT), Ok(buckets.clone()));
    let wrong = [
        (BucketRequest { down: cut(&buckets.down, 6), ..buckets.clone() }, Refused::Size),
        (BucketRequest { table: cut(&buckets.table, 6), ..buckets.clone() }, Refused::Size),
        (BucketRequest { switch: cut(&buckets.switch, 1), ..buckets.clone() }, Refused::Size),
        (BucketRequest { switch: [&buckets.switch[..], &[0]].concat(), ..buckets.clone() }, Refused::Size),
        (BucketRequest { key: Digest::ZERO, ..buckets.clone() }, Refused::Key),
    ];
    for (buckets, why) in wrong {
        let (_, awaiting, request, _) = requests(&params, &[1, 2, 3, 4], &[5], evaluation.digest());
        assert_eq!(awaiting.accept_buckets(&request, &buckets, Arc::clone(&evaluation)).err(), Some(why));
    }
    // 2^40 bytes are claimed.
    let mut hostile = vec![0; 32];
    hostile.extend((1u64 << 40).to_le_bytes());
    hostile.extend([0; 100]);
    assert!(from_canonical::<EvaluationKey>(&hostile, EvaluationKey::LIMIT).is_err());
}

#[test]
fn edges_and_weights_that_are_none_are_refused() {
    let (params, model) = (small(1), model());
    let refused = |weights: &[i32], edges: &[i64]| {
        let offer = Offer::new(context(), params.clone(), Zeroizing::new([1; 32]));
        offer.request_buckets(&SeedPart([2; 32]), weights, edges, &model, Digest::ZERO).err()
    };
    let many: Vec<i64> = (0..16).collect();
    for edges in [&[][..], &[1, 1], &[2, 1], &many] {
        assert_eq!(refused(&[1, 2, 3, 4], edges), Some(Refused::Edges));
    }
    assert_eq!(refused(&[1, 2, 3], &[1]), Some(Refused::Weights));
    assert_eq!(refused(&[2048, 0, 0, 0], &[1]), Some(Refused::Weights));
    assert_eq!(refused(&[1, 2, 3, 4], &many[..15]), None);
}

/// Whatever keys, tables and shares of the right size contain, the answer is of the same kind; and the same customers
/// leave under another mask each time, of which no two coefficients are alike but with a probability of 2^-58.
#[test]
fn contents_make_no_difference_to_whether_there_is_an_answer() {
    let params = small(2);
    for byte in [0, 0xff] {
        let evaluation = Arc::new(Evaluation::new(&filled(byte)).unwrap());
        let (holder, awaiting, request, honest) = requests(&params, &[1, 2, 3, 4], &[5], evaluation.digest());
        let hostile = BucketRequest {
            key: evaluation.digest(),
            masks: [byte; 32],
            down: vec![byte; honest.down.len()],
            table: vec![byte; honest.table.len()],
            switch: vec![byte; honest.switch.len()],
        };
        let evaluator = awaiting.accept_buckets(&request, &hostile, evaluation).unwrap();
        let mut worker = evaluator.worker();
        let mut mask = || {
            let block = worker.scores(&[Feature::Scaled(&[1]), Feature::OneHot(&[2])]).unwrap();
            worker.finish(block)
        };
        let (one, pending) = mask();
        assert!(pending.open(&holder.worker().share(&one).unwrap()).unwrap()[0] < 16);
        let (two, pending) = mask();
        assert!(pending.open(&Share { number: 1, values: vec![byte; 4 * BLOCK] }).unwrap()[0] < 16);
        let alike = one.values.chunks(5).zip(two.values.chunks(5)).filter(|(one, two)| one == two).count();
        assert!(alike < 2, "{alike}");
        assert_eq!(worker.scores(&[Feature::Scaled(&[1]), Feature::OneHot(&[2])]).err(), Some(Refused::Number));
    }
}
