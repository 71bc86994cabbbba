//! Attacks that work on the exchange with one defence removed, and fail on the exchange as it is. The weakened variants
//! are built here, of parts that nothing outside this module's parent can reach.

use zeroize::Zeroizing;

use super::candidates::{Awaiting, Evaluator, Feature};
use super::draw::Stream;
use super::message::{MaskedBlock, Request};
use super::owner::Offer;
use super::owner::tests::secret_bits;
use super::params::{BLOCK, Column, MASK_CUT, Params, Shape};
use super::ring::tests::product;
use super::tests::{Data, context, draw, exchange, small, views};

const KEPT: u32 = 54 - MASK_CUT;

fn received(block: &MaskedBlock) -> Vec<u64> {
    let mut values = vec![0; BLOCK];
    block.unpack(&mut values);
    values
}

/// Eight features of five bits a customer, as numbers from −15 to 15.
fn eight() -> Params {
    Params::new(Shape { columns: vec![Column::Scaled { bound: 15, weight: 1 }; 8], blocks: 64 }).unwrap()
}

fn columns(data: &[Data]) -> Vec<Vec<i64>> {
    let column = |data: &Data| match data {
        Data::Scaled(values) => values.iter().map(|value| i64::from(*value)).collect(),
        Data::OneHot(_) => unreachable!("all columns of this test are scaled"),
    };
    data.iter().map(column).collect()
}

/// Reads the features of all customers off a mask to which they were added as digits: a_i = 2^(14 + 5i).
fn digits(mask: &[u64]) -> Vec<Vec<i64>> {
    let mut features = vec![Vec::new(); 8];
    for value in mask {
        let mut rest = (value << (64 - 54)).cast_signed() >> (64 - KEPT);
        for feature in &mut features {
            let digit = (rest << 59) >> 59;
            feature.push(digit);
            rest = (rest - digit) >> 5;
        }
    }
    features
}

/// Ciphertexts of a key owner that chooses its masks: digits, behind a public key whose mask is `a_0`; bodies do not
/// matter.
fn hostile(a_0: Vec<u64>) -> Vec<u64> {
    let mut polynomials = a_0;
    polynomials.extend([0; BLOCK]);
    for i in 0..8 {
        let mut pair = vec![0; 2 * BLOCK];
        pair[0] = 1 << (MASK_CUT + 5 * i);
        polynomials.extend(pair);
    }
    polynomials
}

/// Without u (a_0 = 0 makes a_0·u vanish) and with chosen masks the key owner reads every feature of every customer.
/// With a joint a_0 it reads nothing, even if it could choose all other masks: a digit is right by chance alone,
/// 2048·8/32 = 512 times, within 6.2 standard deviations of 22.3 (false alarms below 1e-9).
#[test]
fn features_are_read_off_the_mask_without_u_and_not_with_it() {
    let params = eight();
    let (_, data) = draw(&params, BLOCK, 3);
    let right = |polynomials: &[u64]| {
        let evaluator = Evaluator::new(params.clone(), Zeroizing::new([4; 32]), polynomials);
        let (block, _) = evaluator.worker().block(&views(&data)).unwrap();
        let read = digits(&received(&block));
        let pairs = read.iter().flatten().zip(columns(&data).into_iter().flatten());
        pairs.filter(|(read, feature)| **read == *feature).count()
    };
    assert_eq!(right(&hostile(vec![0; BLOCK])), 8 * BLOCK);
    let mut a_0 = vec![0; BLOCK];
    Stream::new(&[5; 32], "test", &[]).fill(&mut a_0);
    let chance = right(&hostile(a_0.iter().map(|value| value >> 10).collect()));
    assert!((chance as f64 - 512.0).abs() < 6.2 * 22.3, "{chance}");
}

/// On the shipped path, whatever weights, b_i and b_0 the key owner sends: 49 blocks, 100,352 coefficients.
///
/// A key owner that knows everything but u (the masks, and the features of all customers but for one bit: are they at
/// their upper or lower bounds?) compares the masks it receives with its guess. Uniformity of the high byte of A' and
/// of A' less the right guess: χ² with 255 degrees of freedom, below 430 but with a probability of 2e-10 (Wilson and
/// Hilferty). Agreement of the top bit of A' with the guess's: half the coefficients, within 6.2 standard deviations.
/// The same test finds A' without u.
#[test]
fn nobody_tells_masks_from_noise() {
    let params = eight();
    let (_, _, request) = exchange(&params, &[1, -1, 1, 0, 0, 1, 1, -1], 6);
    let bodies = [request.bodies.clone(), vec![0; request.bodies.len()], vec![0xff; request.bodies.len()]];
    let mut masks: Vec<Vec<Vec<u64>>> = Vec::new();
    for bodies in bodies {
        let offer = Offer::new(context(), params.clone(), Zeroizing::new([6; 32]));
        let secret = Zeroizing::new([6 ^ 0x80; 32]);
        let awaiting = Awaiting::new(context(), params.clone(), offer.commitment(), secret);
        let evaluator = awaiting.accept(&Request { opening: request.opening, bodies }).unwrap();
        let features: Vec<Data> = (0..8).map(|_| Data::Scaled(vec![15; BLOCK])).collect();
        let mut worker = evaluator.worker();
        masks.push((0..49).map(|_| received(&worker.block(&views(&features)).unwrap().0)).collect());
    }
    // What leaves does not depend on the bodies at all.
    assert!(masks[0] == masks[1] && masks[0] == masks[2]);

    let a = a_of(&params, &request);
    let guess = a[1..].iter().fold(vec![0u64; BLOCK], |sum, a| {
        let term = product(&[15; BLOCK], a);
        sum.iter().zip(term).map(|(sum, term)| sum.wrapping_add(term)).collect()
    });
    let shipped: Vec<u64> = masks[0].iter().flatten().copied().collect();
    let guesses: Vec<u64> = (0..49).flat_map(|_| guess.iter().copied()).collect();
    let difference: Vec<u64> = shipped.iter().zip(&guesses).map(|(mask, guess)| mask.wrapping_sub(*guess)).collect();
    assert!(chi_square(&shipped) < 430.0 && chi_square(&difference) < 430.0);
    let count = shipped.len() as f64;
    let bound = 6.2 * count.sqrt() / 2.0;
    assert!((agreement(&shipped, &guesses) - count / 2.0).abs() < bound);
    // Without u all agree, and the difference is nothing.
    assert!((agreement(&guesses, &guesses) - count / 2.0).abs() > bound);
    assert!(chi_square(&vec![0; shipped.len()]) > 430.0);
}

/// The masks of a request, the public key's first.
fn a_of(params: &Params, request: &Request) -> Vec<Vec<u64>> {
    let offer = Offer::new(context(), params.clone(), Zeroizing::new([6; 32]));
    let secret = Zeroizing::new([6 ^ 0x80; 32]);
    let awaiting = Awaiting::new(context(), params.clone(), offer.commitment(), secret);
    let polynomials = awaiting.polynomials(request).unwrap();
    polynomials.chunks_exact(BLOCK).step_by(2).map(<[u64]>::to_vec).collect()
}

fn chi_square(values: &[u64]) -> f64 {
    let mut counts = [0u32; 256];
    values.iter().for_each(|value| counts[((value >> 46) & 0xff) as usize] += 1);
    let expected = values.len() as f64 / 256.0;
    counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
}

fn agreement(one: &[u64], two: &[u64]) -> f64 {
    one.iter().zip(two).filter(|(one, two)| (*one ^ *two) >> 53 & 1 == 0).count() as f64
}

/// The key from A'·s: in the lowest bit that travels the ring is F_2[X]/(X + 1)^2048, where f^2048 = f(1), so the
/// inverse of an f with f(1) = 1 is f^2047 = Π_{i<11} f(X^(2^i)).
fn invert(mask: &[u64], product: &[u64]) -> Option<Vec<bool>> {
    let bits = |values: &[u64]| -> Vec<bool> { values.iter().map(|value| (value >> MASK_CUT) & 1 == 1).collect() };
    let f = bits(mask);
    if f.iter().filter(|bit| **bit).count() % 2 == 0 {
        return None;
    }
    let mut key = bits(product);
    for i in 0..11 {
        let mut sum = vec![false; BLOCK];
        for (j, _) in f.iter().enumerate().filter(|(_, bit)| **bit) {
            let shift = (j << i) % BLOCK;
            let (low, high) = sum.split_at_mut(shift);
            let (straight, wrapped) = key.split_at(BLOCK - shift);
            high.iter_mut().zip(straight).chain(low.iter_mut().zip(wrapped)).for_each(|(sum, key)| *sum ^= key);
        }
        key = sum;
    }
    Some(key)
}

/// Without smudging, one answer gives the key; with it, every bit is a coin: 1024 of 2048 right, within 6.2 standard
/// deviations of 22.6.
#[test]
fn one_share_without_smudging_gives_the_key_and_with_it_nothing() {
    let params = small(16);
    let (holder, evaluator, _) = exchange(&params, &[5, 6, 7, 8], 11);
    let key = secret_bits(&[11; 32]);
    let (mut worker, mut sharer) = (evaluator.worker(), holder.worker());
    let right = |found: &[bool]| found.iter().zip(&key).filter(|(found, key)| found == key).count();
    loop {
        let (block, _) = worker.block(&[Feature::Scaled(&[1, 2, 3]), Feature::OneHot(&[0, 1, 2])]).unwrap();
        let mask = received(&block);
        let Some(found) = invert(&mask, sharer.decrypt(&block)) else { continue };
        assert_eq!(right(&found), BLOCK);
        let smudged = invert(&mask, sharer.smudge(&block)).expect("it is the same mask");
        let shipped: Vec<u64> = sharer.share(&block).unwrap().unpack().collect();
        let shipped = invert(&mask, &shipped).expect("it is the same mask");
        for found in [smudged, shipped] {
            assert!((right(&found) as f64 - 1024.0).abs() < 6.2 * 22.6, "{}", right(&found));
        }
        break;
    }
}
