//! Known answers. Whatever is left out of what a key, a signature or a transcript is bound to changes one of these numbers, and most
//! such changes make no attack that a test would happen to try.
//!
//! All but T were computed from the secrets by another program as well, with other libraries: OpenSSL's X25519 and Ed25519, `kyber-py`'s
//! ML-KEM, HKDF from HMAC, after [`crate::secagg::agreement`].

use crate::digest::Digest;
use crate::secagg::agreement::Encapsulation;
use crate::secagg::transcript::{Abort, Transcript};
use crate::testing::{Party, agreed, alliance, encapsulations};

fn transcript(parties: &[Party]) -> Transcript {
    let (names, roster) = alliance(parties);
    let pledges: Vec<_> = parties.iter().map(|party| party.pledge(Digest([1; 32]))).collect();
    Transcript::of(&pledges, &names, &roster).unwrap()
}

#[test]
fn keys_signatures_and_transcripts_are_of_all_that_they_name() {
    let parties = Party::some(3);
    let transcript = transcript(&parties);
    let sent = encapsulations(&parties, &transcript);
    let key = |me: usize, peer: &str, label: &str, of: &[&[u8]]| {
        let (key, _) = agreed(&parties, me, &transcript).unwrap().key(peer, label, of).unwrap();
        Digest(*key).to_string()
    };
    let mask = |me: usize, peer: &str| key(me, peer, "entente mask 2", &[&7_u32.to_le_bytes(), &[5; 32]]);
    let channel = |from: &str, to: &str| key(0, "p1", "entente channel 2", &[from.as_bytes(), to.as_bytes()]);
    let encapsulation =
        |one: &Encapsulation| Digest::plain(&[&one.ciphertext[..], &one.signature.0].concat()).to_string();
    let found = [
        ("T", transcript.digest().to_string()),
        ("encapsulation 1 to 0", encapsulation(&sent[0])),
        ("encapsulation 2 to 0", encapsulation(&sent[1])),
        ("encapsulation 2 to 1", encapsulation(&sent[2])),
        ("mask 0 1", mask(0, "p1")),
        ("mask 0 2", mask(0, "p2")),
        ("mask 1 2", mask(1, "p2")),
        ("channel 0 to 1", channel("p0", "p1")),
        ("channel 1 to 0", channel("p1", "p0")),
    ];
    let expected = [
        "e8b7d6e8ed5751f92b8f9d2cc8d829d1ad586e30fbf8ddf7cb21b9a2cfbfc631",
        "4b16624b4f1ec6b8156c73f1ddb3e4e3afd9a0facdff759552a243b1c31711a8",
        "5c86ec9d30870cf578079aea13dac441a427106c7e855735a5ca9450ebbea0da",
        "0feb7d7b7d6d01e4b7d8e39ffd219b8c4718ce98dd1b38064de8894b6cd690fa",
        "0c3df04efc3f78e208781c0a510e472062ecd28318d51c583674117fea4aa546",
        "00bf6d8fff0d9e69d2ea74c23a8e8b58c0cb68a815344d28b9d244abbe20cf85",
        "11348b80ce7f32d62654ca89c35830c10836a3d4ab11cb7932bd6cb350c10d78",
        "371d66e865b717900f1a49c198387916a0802cd81687ffbed6121ba29fe4ffdc",
        "ba38cea80e93b9d594d5048b29e3256c978a6654381b64f412a58e4a88e1b88f",
    ];
    assert_eq!(found.map(|(_, found)| found), expected);
    assert_eq!((mask(1, "p0"), mask(2, "p0"), mask(2, "p1")), (mask(0, "p1"), mask(0, "p2"), mask(1, "p2")));
}

#[test]
fn an_encapsulation_is_of_a_later_participant_for_an_earlier_one_of_this_attempt() {
    let parties = Party::some(3);
    let transcript = transcript(&parties);
    let sent = encapsulations(&parties, &transcript);
    let good = sent.iter().find(|one| (one.from.as_str(), one.to.as_str()) == ("p2", "p0")).unwrap();
    assert_eq!(good.verify(&transcript), Ok(()));
    let changed = |change: &dyn Fn(&mut Encapsulation)| {
        let mut one = good.clone();
        change(&mut one);
        one.verify(&transcript)
    };
    assert!(changed(&|one| one.to = "p1".into()).is_err());
    assert!(changed(&|one| one.from = "p1".into()).is_err());
    assert!(changed(&|one| one.ciphertext[0] ^= 1).is_err());
    // Signed, but not by a later one.
    let by_the_earlier = Encapsulation::signed(&transcript, ("p0", &parties[0].identity), "p2", good.ciphertext);
    assert!(by_the_earlier.verify(&transcript).is_err());
    // Of another attempt, whose participants are the same.
    let (names, roster) = alliance(&parties);
    let pledges: Vec<_> = parties.iter().map(|party| party.pledge(Digest([2; 32]))).collect();
    assert!(good.verify(&Transcript::of(&pledges, &names, &roster).unwrap()).is_err());
}

#[test]
fn a_pledge_for_another_attempt_or_proposal_ends_this_one() {
    let parties = Party::some(2);
    let (names, roster) = alliance(&parties);
    let pledge = |party: &Party| party.pledge(Digest([1; 32]));
    let own = pledge(&parties[0]);
    let with = |change: &dyn Fn(&mut crate::secagg::pledge::Pledge)| {
        let mut other = pledge(&parties[1]).pledge;
        change(&mut other);
        let other = crate::secagg::pledge::SignedPledge::new(other, &parties[1].identity);
        Transcript::verify(&[own.clone(), other], &names, &own.pledge, &roster).map(|_| ())
    };
    assert_eq!(with(&|_| ()), Ok(()));
    assert_eq!(with(&|pledge| pledge.attempt.number += 1), Err(Abort::Question("p1".into())));
    assert_eq!(with(&|pledge| pledge.attempt.study.push('x')), Err(Abort::Question("p1".into())));
    assert_eq!(with(&|pledge| pledge.question = Digest::ZERO), Err(Abort::Question("p1".into())));
    assert_eq!(with(&|pledge| pledge.proposal = Digest::ZERO), Err(Abort::Proposal("p1".into())));
}
