//! The exchange as a whole: scores are those of plain integers, and nothing malformed is taken.

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::Refused;
use super::candidates::{Awaiting, Evaluator, Feature};
use super::draw::Stream;
use super::message::{Commitment, MaskedBlock, Request, SeedPart, Share};
use super::owner::{KeyHolder, Offer};
use super::params::{BLOCK, Column, MAX_WEIGHTS, Params, Shape};
use crate::canonical::{canonical_bytes, from_canonical};
use crate::digest::Digest;

pub(super) fn context() -> Digest {
    Digest::of("test", &[b"study, seed owner, candidates' owner"])
}

/// Both sides after the request, and the request.
pub(super) fn exchange(params: &Params, weights: &[i32], seed: u8) -> (KeyHolder, Evaluator, Request) {
    let offer = Offer::new(context(), params.clone(), Zeroizing::new([seed; 32]));
    let secret = Zeroizing::new([seed ^ 0x80; 32]);
    let awaiting = Awaiting::new(context(), params.clone(), offer.commitment(), secret);
    let (holder, request) = offer.request(&awaiting.contribution(), weights).unwrap();
    let evaluator = awaiting.accept(&request).unwrap();
    (holder, evaluator, request)
}

/// The features of one block, owned.
pub(super) enum Data {
    Scaled(Vec<i8>),
    OneHot(Vec<u16>),
}

pub(super) fn views(data: &[Data]) -> Vec<Feature<'_>> {
    let views = data.iter().map(|data| match data {
        Data::Scaled(values) => Feature::Scaled(values),
        Data::OneHot(values) => Feature::OneHot(values),
    });
    views.collect()
}

pub(super) fn draw(params: &Params, count: usize, seed: u8) -> (Vec<i32>, Vec<Data>) {
    let mut stream = Stream::new(&[seed; 32], "test data", &[]);
    let mut below = |bound: u64| {
        let mut word = [0];
        stream.fill(&mut word);
        word[0] % bound
    };
    let (mut weights, mut data) = (Vec::new(), Vec::new());
    for column in &params.shape().columns {
        let bound = i64::from(column.weight_bound());
        weights.extend(
            (0..column.weights())
                .map(|_| i32::try_from(below(2 * bound.cast_unsigned() + 1).cast_signed() - bound).unwrap()),
        );
        data.push(match column {
            Column::Scaled { bound, .. } => {
                let value = |x: u64| i8::try_from(x.cast_signed() - i64::from(*bound)).unwrap();
                Data::Scaled((0..count).map(|_| value(below(2 * u64::from(*bound) + 1))).collect())
            }
            Column::OneHot { levels, .. } => {
                Data::OneHot((0..count).map(|_| u16::try_from(below(u64::from(*levels))).unwrap()).collect())
            }
        });
    }
    (weights, data)
}

/// By the definition.
fn plain(params: &Params, weights: &[i32], data: &[Data], count: usize) -> Vec<i64> {
    let mut scores = vec![0; count];
    let mut weights = weights.iter().map(|weight| i64::from(*weight));
    for (column, values) in params.shape().columns.iter().zip(data) {
        let weights: Vec<i64> = weights.by_ref().take(column.weights()).collect();
        for (customer, score) in scores.iter_mut().enumerate() {
            *score += match values {
                Data::Scaled(values) => weights[0] * i64::from(values[customer]),
                Data::OneHot(values) => weights[usize::from(values[customer])],
            };
        }
    }
    scores
}

fn score(holder: &KeyHolder, evaluator: &Evaluator, data: &[Data]) -> Vec<i64> {
    let (block, pending) = evaluator.worker().block(&views(data)).unwrap();
    pending.open(&holder.worker().share(&block).unwrap()).unwrap()
}

fn params(columns: Vec<Column>, blocks: u32) -> Params {
    Params::new(Shape { columns, blocks }).unwrap()
}

pub(super) fn small(blocks: u32) -> Params {
    params(vec![Column::Scaled { bound: 127, weight: 2047 }, Column::OneHot { levels: 3, weight: 2047 }], blocks)
}

fn columns() -> impl Strategy<Value = Vec<Column>> {
    let scaled = (1u8..=127, 1u32..4096).prop_map(|(bound, weight)| Column::Scaled { bound, weight });
    let one_hot = (1u16..=5, 1u32..4096).prop_map(|(levels, weight)| Column::OneHot { levels, weight });
    proptest::collection::vec(prop_oneof![scaled, one_hot], 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn scores_are_those_of_integers(columns in columns(), count in 0..=BLOCK, seed in any::<u8>()) {
        let params = params(columns, 16);
        let (weights, data) = draw(&params, count, seed);
        let (holder, evaluator, _) = exchange(&params, &weights, seed);
        prop_assert_eq!(score(&holder, &evaluator, &data), plain(&params, &weights, &data, count));
    }
}

#[test]
fn scores_are_exact_at_all_bounds_and_in_short_blocks() {
    let columns = vec![Column::Scaled { bound: 127, weight: 2047 }; 32];
    let params = params(columns, 512);
    for (weight, value) in [(2047, 127i8), (-2047, 127), (2047, -127)] {
        let (holder, evaluator, _) = exchange(&params, &[weight; 32], 5);
        for count in [BLOCK, 1, 0] {
            let data: Vec<Data> = (0..32).map(|_| Data::Scaled(vec![value; count])).collect();
            assert_eq!(score(&holder, &evaluator, &data), vec![32 * i64::from(weight) * i64::from(value); count]);
        }
    }
}

#[test]
fn many_columns_and_wide_levels_are_exact() {
    let columns = vec![Column::OneHot { levels: 16, weight: (1 << 19) - 1 }; 8];
    let params = params(columns, 512);
    let (weights, data) = draw(&params, BLOCK, 9);
    let (holder, evaluator, _) = exchange(&params, &weights, 9);
    assert_eq!(score(&holder, &evaluator, &data), plain(&params, &weights, &data, BLOCK));
}

#[test]
fn inputs_outside_the_shape_are_refused() {
    let params = small(1);
    let offer = || Offer::new(context(), params.clone(), Zeroizing::new([1; 32]));
    for weights in [&[1, 2, 3][..], &[1, 2, 3, 4, 5], &[2048, 0, 0, 0], &[0, 0, 0, i32::MIN]] {
        assert_eq!(offer().request(&SeedPart([2; 32]), weights).err(), Some(Refused::Weights));
    }
    let (_, evaluator, _) = exchange(&params, &[1, 2, 3, 4], 1);
    let mut worker = evaluator.worker();
    let long = (vec![0i8; BLOCK + 1], vec![0u16; BLOCK + 1]);
    for features in [
        vec![],
        vec![Feature::Scaled(&[1])],
        vec![Feature::Scaled(&[1, 2]), Feature::OneHot(&[0])],
        vec![Feature::Scaled(&long.0), Feature::OneHot(&long.1)],
    ] {
        assert_eq!(worker.block(&features).err(), Some(Refused::Features));
    }
    let wrong = [
        ([Feature::Scaled(&[-128]), Feature::OneHot(&[0])], 0),
        ([Feature::OneHot(&[0]), Feature::OneHot(&[0])], 0),
        ([Feature::Scaled(&[1]), Feature::OneHot(&[3])], 1),
    ];
    for (features, column) in wrong {
        assert_eq!(worker.block(&features).err(), Some(Refused::Column(column)));
    }
    // None of these took the study's one block.
    let good = [Feature::Scaled(&[1]), Feature::OneHot(&[2])];
    assert!(worker.block(&good).is_ok());
    assert_eq!(worker.block(&good).err(), Some(Refused::Number));
}

#[test]
fn messages_of_a_wrong_size_or_number_are_refused() {
    let params = small(2);
    let offer = Offer::new(context(), params.clone(), Zeroizing::new([1; 32]));
    let awaiting =
        |context, params: &Params| Awaiting::new(context, params.clone(), offer.commitment(), Zeroizing::new([2; 32]));
    let contribution = awaiting(context(), &params).contribution();
    let (_, evaluator, request) = exchange(&params, &[1, 2, 3, 4], 1);
    let mut long = request.clone();
    long.bodies.push(0);
    let mut short = request.clone();
    short.bodies.pop();
    for request in [long, short, Request { opening: request.opening, bodies: Vec::new() }] {
        assert_eq!(awaiting(context(), &params).accept(&request).err(), Some(Refused::Size));
    }
    let other = Request { opening: [9; 32], bodies: request.bodies.clone() };
    assert_eq!(awaiting(context(), &params).accept(&other).err(), Some(Refused::Opening));
    // Another study, or other parameters, are another commitment.
    assert_eq!(awaiting(Digest::ZERO, &params).accept(&request).err(), Some(Refused::Opening));
    assert_eq!(awaiting(context(), &small(3)).accept(&request).err(), Some(Refused::Opening));

    let (holder, _) = offer.request(&contribution, &[1, 2, 3, 4]).unwrap();
    let features = [Feature::Scaled(&[1]), Feature::OneHot(&[2])];
    let (block, pending) = evaluator.worker().block(&features).unwrap();
    let mut sharer = holder.worker();
    let cut = MaskedBlock { number: 0, values: block.values[1..].to_vec() };
    assert_eq!(sharer.share(&cut).err(), Some(Refused::Size));
    let beyond = MaskedBlock { number: 2, values: block.values.clone() };
    assert_eq!(sharer.share(&beyond).err(), Some(Refused::Number));
    let share = sharer.share(&block).unwrap();
    assert_eq!(sharer.share(&block).err(), Some(Refused::Number), "answered once");
    assert_eq!(pending.open(&Share { number: 1, values: share.values }).err(), Some(Refused::Number));
    let (_, pending) = evaluator.worker().block(&features).unwrap();
    assert_eq!(pending.open(&Share { number: 1, values: vec![0; 7] }).err(), Some(Refused::Size));
}

#[test]
fn messages_round_trip_within_their_limits_and_no_claim_is_believed() {
    let widest = params(vec![Column::OneHot { levels: MAX_WEIGHTS as u16, weight: 1 }], 1);
    let request = Request::pack([1; 32], (0..(MAX_WEIGHTS + 1) * BLOCK).map(|i| i as u64));
    assert!(request.fits(&widest));
    assert_eq!(from_canonical(&canonical_bytes(&request), Request::LIMIT), Ok(request));
    let block = MaskedBlock::pack(3, &[0x2a_bcde_f012_3456; BLOCK]);
    assert_eq!(from_canonical(&canonical_bytes(&block), MaskedBlock::LIMIT), Ok(block));
    // 2^40 bytes are claimed.
    let mut hostile = 0u32.to_le_bytes().to_vec();
    hostile.extend((1u64 << 40).to_le_bytes());
    hostile.extend([0; 100]);
    assert!(from_canonical::<MaskedBlock>(&hostile, MaskedBlock::LIMIT).is_err());
    assert!(from_canonical::<Share>(&hostile, Share::LIMIT).is_err());
}

/// The noise that is left when a share is opened, at the largest features: its deviation is that of the smudging and of
/// no more than the budget's other noise, within 6.2 standard errors (false alarms below 1e-9).
#[test]
fn noise_is_as_the_budget_has_it() {
    for columns in [32, 120] {
        let params = params(vec![Column::Scaled { bound: 127, weight: 2047 }; columns], 64);
        let (weights, _) = draw(&params, 0, 7);
        let (holder, evaluator, _) = exchange(&params, &weights, 7);
        let values: Vec<i8> = (0..BLOCK).map(|j| if j % 3 == 0 { 127 } else { -127 }).collect();
        let (block, pending) = evaluator.worker().block(&vec![Feature::Scaled(&values); columns]).unwrap();
        let noise = pending.noise(&holder.worker().share(&block).unwrap());
        let deviation = (noise.iter().map(|x| (*x as f64).powi(2)).sum::<f64>() / BLOCK as f64).sqrt();
        let budget = params.budget();
        // T is more than ten deviations of the other noise.
        let most = budget.sigma.hypot(budget.noise / 10.0);
        let slack = 6.2 / (2.0 * BLOCK as f64).sqrt();
        assert!(deviation > budget.sigma * (1.0 - slack) && deviation < most * (1.0 + slack), "{deviation}");
    }
}

/// Bytes of both directions for a candidate.
#[test]
fn a_candidate_costs_nine_bytes() {
    let params = small(1);
    let (holder, evaluator, _) = exchange(&params, &[1, 2, 3, 4], 1);
    let (block, _) = evaluator.worker().block(&[Feature::Scaled(&[1]), Feature::OneHot(&[2])]).unwrap();
    let share = holder.worker().share(&block).unwrap();
    let bytes = canonical_bytes(&block).len() + canonical_bytes(&share).len();
    assert_eq!(bytes, 9 * BLOCK + 24);
}

proptest! {
    #[test]
    fn no_bytes_make_a_side_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), seed in any::<u8>()) {
        let params = small(1);
        let awaiting = Awaiting::new(context(), params, Commitment(Digest::ZERO), Zeroizing::new([seed; 32]));
        if let Ok(request) = from_canonical::<Request>(&bytes, Request::LIMIT) {
            prop_assert!(awaiting.accept(&request).is_err());
        }
        prop_assert!(from_canonical::<MaskedBlock>(&bytes, MaskedBlock::LIMIT).map_or(true, |block| !block.fits()));
        prop_assert!(from_canonical::<Share>(&bytes, Share::LIMIT).map_or(true, |share| !share.fits()));
        let _ = from_canonical::<Shape>(&bytes, 0x1000).map(Params::new);
    }
}

/// Whatever a message of the right size contains, the answer is of the same kind.
#[test]
fn contents_make_no_difference_to_whether_there_is_an_answer() {
    let params = small(4);
    let (holder, evaluator, _) = exchange(&params, &[1, 2, 3, 4], 1);
    let (mut worker, mut sharer) = (evaluator.worker(), holder.worker());
    for (number, byte) in (0..).zip([0, 1, 0x80, 0xff]) {
        assert!(sharer.share(&MaskedBlock { number, values: vec![byte; 5 * BLOCK] }).is_ok());
        let (_, pending) = worker.block(&[Feature::Scaled(&[1]), Feature::OneHot(&[2])]).unwrap();
        assert!(pending.open(&Share { number, values: vec![byte; 4 * BLOCK] }).is_ok());
    }
}
