//! Secrets are gone from memory when what held them is dropped: this process reads its own memory.
//!
//! Stacks are left out: what is moved leaves copies on them until others are written over these.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "memory is read as a file")]

use std::fs::{File, read_to_string};
use std::os::unix::fs::FileExt;

use entente_protocols::digest::Digest;
use entente_protocols::identity::IdentityKey;
use entente_protocols::learn::file::ScoreShare;
use entente_protocols::learn::model::Parameters;
use entente_protocols::learn::recipe::{Feature, Recipe, Values};
use entente_protocols::lookalike::buckets::owner::EvaluationSecret;
use entente_protocols::lookalike::candidates::Awaiting;
use entente_protocols::lookalike::model::PublicModel;
use entente_protocols::lookalike::owner::Offer;
use entente_protocols::lookalike::params::{Column, Params, Shape};
use entente_protocols::secagg::pledge::EphemeralKey;
use zeroize::Zeroizing;

/// Bytes to look for, hidden: the search is not to find what it searches with.
struct Needle([u8; 32]);

const HIDE: u8 = 0x5a;

impl Needle {
    fn of(mut bytes: [u8; 32]) -> Self {
        bytes.iter_mut().for_each(|byte| *byte ^= HIDE);
        Self(bytes)
    }

    /// How often it is in the memory of this process, stacks aside.
    fn count(&self) -> usize {
        let mut buffer = [0u8; 1 << 16];
        let here = buffer.as_ptr() as usize;
        let memory = File::open("/proc/self/mem").unwrap();
        let mut count = 0;
        for line in read_to_string("/proc/self/maps").unwrap().lines() {
            let mut words = line.split_whitespace();
            let (Some(range), Some(access)) = (words.next(), words.next()) else { continue };
            let (start, end) = range.split_once('-').unwrap();
            let [start, end] = [start, end].map(|address| usize::from_str_radix(address, 16).unwrap());
            if !access.starts_with("rw") || line.ends_with("[stack]") || (start..end).contains(&here) {
                continue;
            }
            let mut at = start;
            while at < end {
                // Overlapping, so that nothing lies across.
                let part = (end - at).min(buffer.len());
                let Ok(read) = memory.read_at(&mut buffer[..part], at as u64) else { break };
                let alike = |window: &&[u8]| window.iter().zip(&self.0).all(|(byte, hidden)| byte ^ HIDE == *hidden);
                count += buffer[..read].windows(32).filter(alike).count();
                if read < buffer.len() {
                    break;
                }
                at += read - 31;
            }
        }
        buffer.fill(0);
        count
    }
}

fn secret(mut state: u64) -> [u8; 32] {
    std::array::from_fn(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
}

/// What is made of a secret holds it, and no longer does when it is dropped.
#[track_caller]
fn gone<T>(seed: u64, make: impl FnOnce(Zeroizing<[u8; 32]>) -> T) {
    let needle = Needle::of(secret(seed));
    let held = Box::new(make(Zeroizing::new(secret(seed))));
    assert!(needle.count() > 0, "the search finds what is there");
    drop(held);
    assert_eq!(needle.count(), 0);
}

fn params() -> Params {
    Params::new(Shape { columns: vec![Column::Scaled { bound: 127, weight: 2047 }], blocks: 1 }).unwrap()
}

/// One after another: what a search reads is on its stack, where another one would find it.
#[test]
fn secrets_are_gone_when_they_are_dropped() {
    keys();
    weights();
    features();
}

fn keys() {
    let context = Digest([1; 32]);
    gone(1, |secret| IdentityKey::from_secret(&secret));
    gone(2, |secret| EphemeralKey::from_secret(*secret));
    gone(3, |secret| Offer::new(context, params(), secret));
    gone(4, |secret| {
        Awaiting::new(context, params(), Offer::new(context, params(), Zeroizing::new([9; 32])).commitment(), secret)
    });
    gone(5, EvaluationSecret::new);
    // With the key that comes out of it, and after an answer.
    gone(6, |secret| {
        let offer = Offer::new(context, params(), secret);
        let awaiting = Awaiting::new(context, params(), offer.commitment(), Zeroizing::new([8; 32]));
        offer.request(&awaiting.contribution(), &[5]).unwrap().0
    });
}

fn model() -> (PublicModel, Parameters) {
    let feature = |i: usize| Feature { name: format!("x{i}"), values: Values::Number { low: 0.0, high: 1.0 } };
    let public = PublicModel {
        study: "s".into(),
        sha256: Digest::ZERO,
        content: Digest::ZERO,
        predicts: "y".into(),
        recipe: Recipe { features: (0..4).map(feature).collect() },
        recoding: None,
        additive: false,
        pairs: Vec::new(),
        shares: vec![ScoreShare { threshold: 0.0, events: 0.5, others: 0.5 }],
    };
    (public, Parameters::Weights { weights: (0..9).map(|i| f64::from(i) * 0.37 - 1.1).collect() })
}

fn weights() {
    let (public, parameters) = model();
    let quantised = Box::new(public.quantised(&parameters).unwrap());
    let mut bytes = [0; 32];
    for (to, weight) in bytes.chunks_mut(4).zip(quantised.weights.iter()) {
        to.copy_from_slice(&weight.to_le_bytes());
    }
    let needle = Needle::of(bytes);
    assert!(needle.count() > 0, "the search finds what is there");
    drop(quantised);
    assert_eq!(needle.count(), 0);
}

fn features() {
    let (public, _) = model();
    let codes: Vec<u16> = secret(7).iter().chain(&secret(8)).map(|byte| u16::from(*byte) * 257).collect();
    let features = public.features(&[&codes[..]; 4]).unwrap();
    let entente_protocols::lookalike::candidates::Feature::Scaled(values) = &features.columns()[0] else {
        panic!("a number")
    };
    let needle = Needle::of(std::array::from_fn(|at| values[at].cast_unsigned()));
    assert!(needle.count() > 0, "the search finds what is there");
    drop(features);
    assert_eq!(needle.count(), 0);
}
