//! Secure aggregation of one million numbers by ten parties, against the keystream alone.
//!
//! The floor of masking is the ChaCha20 keystream: nine streams of 8 MB at each party. Both are measured in this run, in
//! turn, and the medians compared.

#![expect(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a bench measures time and prints it")]

use std::time::Instant;

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::identity::{IdentityKey, Member, Roster};
use entente_protocols::ledger::Head;
use entente_protocols::secagg::agreement::{Agreed, Encapsulation};
use entente_protocols::secagg::collect::Collector;
use entente_protocols::secagg::mask::MaskKeys;
use entente_protocols::secagg::pledge::{EphemeralKey, Pledge, SignedPledge};
use entente_protocols::secagg::transcript::Transcript;

const PARTIES: u8 = 10;
const LENGTH: usize = 1_000_000;
const RUNS: usize = 9;

fn main() {
    let (keys, mut collector, transcript) = parties();
    let (mut keystream, mut masking, mut summing) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = vec![0u8; 8 * LENGTH];
    let mut values = vec![0i64; LENGTH];
    for run in 0..RUNS {
        keystream.push(time(|| {
            for peer in 1..PARTIES {
                ChaCha20::new((&[peer; 32]).into(), (&[0u8; 12]).into()).apply_keystream(&mut bytes);
            }
        }));
        masking.push(time(|| keys.bench_apply(&mut values)));
        if run == 0 {
            for party in 0..PARTIES {
                let name = format!("p{party}");
                summing.push(time(|| {
                    collector.contribution(&name, transcript, 1, &values).expect("a participant");
                }));
            }
        }
    }
    let (keystream, masking, summing) = (median(keystream), median(masking), median(summing));
    let streams = f64::from(PARTIES - 1) * 8.0 * LENGTH as f64 / 1e9;
    println!("one party masks {LENGTH} numbers towards {} others (median of {RUNS} runs, one core)", PARTIES - 1);
    println!("  ChaCha20 keystream alone  {:7.1} ms  {:5.2} GB/s", keystream * 1e3, streams / keystream);
    println!("  masking                   {:7.1} ms  {:5.2} GB/s", masking * 1e3, streams / masking);
    println!("  ratio to the keystream's rate {:.2} (at least 0.5 is asked)", keystream / masking);
    println!("the coordinator adds one contribution in {:.2} ms", summing * 1e3);
}

fn time(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// The first party's mask keys, and a collector that waits for the vectors.
fn parties() -> (MaskKeys, Collector, Digest) {
    let identity = |i: u8| IdentityKey::from_secret(&[i + 1; 32]);
    let ephemeral = |i: u8| EphemeralKey::from_secret([i + 101; 32]);
    let names: Vec<String> = (0..PARTIES).map(|i| format!("p{i}")).collect();
    let members = (0..PARTIES)
        .map(|i| (names[usize::from(i)].clone(), Member { identity: identity(i).public(), tls: Digest::ZERO }));
    let roster = Roster {
        alliance: "bench".into(),
        authority: Digest::ZERO,
        coordinator: identity(99).public(),
        members: members.collect(),
    };
    let question = Digest::ZERO;
    let pledge = |i: u8| {
        let pledge = Pledge {
            attempt: AttemptId::new("s", 1),
            participant: names[usize::from(i)].clone(),
            proposal: Digest::ZERO,
            question,
            ephemeral: ephemeral(i).public(),
            ledger: Head::EMPTY,
            stored: None,
            seen: Vec::new(),
        };
        SignedPledge::new(pledge, &identity(i))
    };
    let pledges: Vec<SignedPledge> = (0..PARTIES).map(pledge).collect();
    let transcript = Transcript::of(&pledges, &names, &roster).expect("all is signed");
    let mut collector = Collector::new(AttemptId::new("s", 1), names.clone(), roster, question, 1, Vec::new(), LENGTH);
    for (name, pledge) in names.iter().zip(pledges) {
        collector.pledged(name, pledge).expect("a participant");
    }
    let mut received = Vec::new();
    for i in 0..PARTIES {
        let name = &names[usize::from(i)];
        let sent = Encapsulation::of(&transcript, name, &ephemeral(i), &identity(i)).expect("keys that are some");
        received.extend(sent.iter().filter(|one| one.to == "p0").cloned());
        collector.signed(name, transcript.sign(&identity(i)), sent).expect("a participant");
    }
    let agreed = Agreed::with_all(&transcript, "p0", &ephemeral(0), &received).expect("a participant");
    let keys = MaskKeys::with_all(&agreed, 1, Digest::ZERO);
    (keys, collector, transcript.digest())
}
