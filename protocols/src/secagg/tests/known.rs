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
        "364f8efdaaf9c121efb1ce6e2e80a7bbfe998acbfb29238997c911d997baab53",
        "bdadb6e1a095301eb88d07b56bf187817c8840a3e17d4c1ee8bb168a8ca39d0f",
        "2aad55f8fecb1d71a4831aa58a2839facdd297b5152ec323dceee79c1421922d",
        "f6026c2165a01f3fafe6f6691deef19d9300f9903a0e16edfec3a014a1fd5fbd",
        "20e2960dcb3e499e92e19a5358f6f777c3c1d9a6b995ca42651b7c5bb0a12e0a",
        "1b5ebe9e4a6cb534013e0d437b31af27427c970c4070690a718f5cda705f8317",
        "e4be7baaa8c8f98c2eb399030a0c3d213be4011d64a550d6474941fab176de6e",
        "cf83678edac517770613c0af6df0316a406387d49352d8a466ca64db4ea79baa",
        "1518f3a2412f440f5c2dbc6bea1160423920f9b8bf93a09ff3e473a22676eb77",
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
