//! A participant and the time that it is handed.

use std::fs;
use std::time::Duration;

use entente_host::files::write_private;
use entente_host::link::tls::pem;

use super::*;
use crate::config;

/// A participant that has joined, at the turn of a year long gone.
fn joined(folder: &Folder) -> (Participant, entente_host::clock::Hands) {
    folder.create().unwrap();
    write_private(&folder.key("identity.key"), "07".repeat(32).as_bytes()).unwrap();
    write_private(&folder.key("authority.crt"), pem(b"authority").as_bytes()).unwrap();
    fs::write(
        folder.config(),
        "[node]\nname = \"bank\"\ncoordinator = \"127.0.0.1:1\"\n[budget]\nepsilon = 1.0\ndelta = 1e-6\n",
    )
    .unwrap();
    let config = config::parse(&folder.config(), &fs::read_to_string(folder.config()).unwrap()).unwrap();
    let (clock, hands) = Clock::by_hand("2020-01-01T00:00:00Z".parse().unwrap());
    (Participant::open(folder, config, clock).unwrap(), hands)
}

/// While the node runs, a day is over when a day has passed, and not when somebody says so.
#[test]
fn a_clock_that_is_set_brings_no_requester_the_next_day_s_studies() {
    let place = tempfile::tempdir().unwrap();
    let (participant, hands) = joined(&Folder::new(place.path()));
    let since = || participant.quota("operator").since.to_string();
    assert_eq!(since(), "2019-12-31T00:00:00Z");
    hands.set("2020-01-09T00:00:00Z".parse().unwrap());
    assert_eq!(since(), "2019-12-31T00:00:00Z", "set forward");
    hands.set("2019-06-01T00:00:00Z".parse().unwrap());
    assert_eq!(since(), "2019-05-31T00:00:00Z", "set back: more counts");
    hands.set("2020-01-01T00:00:00Z".parse().unwrap());
    hands.advance(Duration::from_secs(24 * 3600));
    assert_eq!(since(), "2020-01-01T00:00:00Z", "a day has passed");
}

#[test]
fn keys_are_swept_and_time_is_told_by_the_clock_that_was_handed_in() {
    let place = tempfile::tempdir().unwrap();
    let (participant, hands) = joined(&Folder::new(place.path()));
    let told = |participant: &Participant| match participant.hello() {
        FromNode::Hello { clock, .. } => Timestamp::from_second(clock).unwrap().to_string(),
        _ => panic!("a connection begins with a hello"),
    };
    assert_eq!(told(&participant), "2020-01-01T00:00:00Z");
    // No attempt needs it.
    let id = AttemptId::new("s", 1);
    participant.ephemeral.make(&id, participant.clock.now()).unwrap();
    let is_there = || participant.ephemeral.get(&id).unwrap().is_some();
    participant.reconsider();
    hands.advance(Duration::from_secs(3599));
    participant.reconsider();
    assert!(is_there(), "it is younger than an hour");
    hands.advance(Duration::from_secs(1));
    participant.reconsider();
    assert!(!is_there());
    assert_eq!(told(&participant), "2020-01-01T01:00:00Z");
}
