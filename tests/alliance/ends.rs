//! A hostile coordinator and the ends of attempts: what was computed stays what the ledger says, what has ended stays ended.

use entente_node::store::StudyStore;
use entente_protocols::digest::Digest;
use entente_protocols::ledger::entry::State;
use entente_protocols::ledger::receipt;
use entente_protocols::wire::message::{FromAttempt, FromNode, ToAttempt, ToNode};
use entente_testing::{Error, Proposed, Puppets, Signed, refused};

use super::hostile::{SQL, proposal};

pub(super) const RESULT: Digest = Digest([7; 32]);

/// The transcript of the vector that a node sends in answer to a message; `None` if it sends none.
fn sent(puppets: &Puppets, message: ToNode) -> Option<Digest> {
    let frames = puppets.tell("bank", message);
    frames.iter().find_map(|frame| frame.decode_contribution().ok()).map(|sent| sent.transcript)
}

fn states(puppets: &Puppets) -> Result<Vec<State>, Error> {
    let entries = puppets.world.ledger("bank")?;
    let state = |entry: &entente_protocols::ledger::entry::Entry| entry.study().map(|_| entry.state());
    Ok(entries.iter().filter_map(state).collect())
}

fn stage(puppets: &Puppets, proposed: &Proposed) -> Result<&'static str, Error> {
    let studies = StudyStore::open(&puppets.world.folder("bank").state("studies.sqlite"))?;
    Ok(studies.get(&proposed.id)?.ok_or("the attempt is kept")?.stage.name())
}

/// Everything that may be said of an attempt at the wrong time.
fn nonsense(proposed: &Proposed) -> Vec<ToNode> {
    let mut others = proposed.clone();
    others.proposal.requester = "somebody else".into();
    vec![
        proposed.resend(1, Digest::ZERO),
        proposed.start(&[]),
        proposed.round(2, &[], &Signed::default()),
        proposed.round(0, &[1], &Signed::default()),
        others.propose(),
        proposed.tells(ToAttempt::Finished { result: Digest::ZERO, statement: String::new(), model: None }),
        proposed.tells(ToAttempt::Finished { result: Digest::ZERO, statement: "{}".into(), model: Some(vec![1]) }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_said_after_a_vector_was_computed_changes_what_the_ledger_says() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    let proposed = proposal("computed", SQL)?;
    let signatures = puppets.signatures(&proposed);
    let transcript = sent(&puppets, proposed.go(&signatures)).ok_or("a vector")?;
    for kill in [false, true] {
        for message in nonsense(&proposed) {
            if kill {
                puppets.restart("bank")?;
            }
            assert_eq!(sent(&puppets, message), None);
            assert_eq!(states(&puppets)?, [State::Reserved, State::Computed]);
            assert_eq!(stage(&puppets, &proposed)?, "computed");
        }
    }
    // The true end is recorded all the same, and nothing changes that either.
    let end = puppets.end("clients", &proposed, transcript, RESULT)?;
    let closed = puppets.tell("bank", end.clone()).pop().ok_or("an answer")?.decode()?;
    assert!(matches!(closed, FromNode::Attempt(_, FromAttempt::Closed { part: Some(_) })), "{closed:?}");
    let abandoned = proposed.tells(ToAttempt::Abandoned { reason: "never mind".into(), is_over: false });
    for message in nonsense(&proposed).into_iter().chain([abandoned, end]) {
        assert_eq!(sent(&puppets, message), None);
        assert_eq!(states(&puppets)?, [State::Reserved, State::Computed, State::Released]);
        assert_eq!(stage(&puppets, &proposed)?, "finished");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_was_refused_or_given_up_is_neither_charged_nor_answered_again() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    // Refused while everything was made ready for it: the key of another is not signed.
    let refusal = proposal("refused", SQL)?;
    let signatures = puppets.signatures(&refusal);
    let mut fewer = signatures.clone();
    fewer.signatures.pop();
    refused(puppets.ask("bank", refusal.go(&fewer)), "did not sign");
    // Given up when the node was about to go.
    let given_up = proposal("given-up", SQL)?;
    let signed = puppets.signatures(&given_up);
    puppets.tell(
        "bank",
        given_up.tells(ToAttempt::Abandoned { reason: "the operator thinks better of it".into(), is_over: false }),
    );
    for kill in [false, true] {
        for (proposed, signatures, stays) in [(&refusal, &signatures, "refused"), (&given_up, &signed, "abandoned")] {
            for message in [proposed.propose(), proposed.go(signatures), proposed.go(signatures)] {
                if kill {
                    puppets.restart("bank")?;
                }
                assert_eq!(sent(&puppets, message), None);
                assert_eq!(stage(&puppets, proposed)?, stays);
            }
        }
    }
    assert_eq!(states(&puppets)?, [State::Refused]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_that_ended_after_the_roster_changed_is_recorded_as_it_was() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    let proposed = proposal("before", SQL)?;
    let signatures = puppets.signatures(&proposed);
    let transcript = sent(&puppets, proposed.go(&signatures)).ok_or("a vector")?;
    // Telecom leaves, and the bank accepts that.
    puppets.roster.members.remove("telecom");
    puppets.world.folder("bank").pin(&puppets.roster)?;
    puppets.restart("bank")?;
    let end = puppets.end("clients", &proposed, transcript, RESULT)?;
    let closed = puppets.tell("bank", end).pop().ok_or("an answer")?.decode()?;
    assert!(matches!(closed, FromNode::Attempt(_, FromAttempt::Closed { part: Some(_) })), "{closed:?}");
    assert_eq!(states(&puppets)?, [State::Reserved, State::Computed, State::Released]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_sent_whatever_became_of_the_data() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    let proposed = proposal("moved", SQL)?;
    let signatures = puppets.signatures(&proposed);
    let transcript = sent(&puppets, proposed.go(&signatures)).ok_or("a vector")?;
    let folder = puppets.world.folder("bank");
    let config = std::fs::read_to_string(folder.config())?;
    std::fs::write(folder.config(), config.replace("source = \"", "source = \"gone/"))?;
    puppets.restart("bank")?;
    assert_eq!(sent(&puppets, proposed.go(&signatures)), Some(transcript));
    assert_eq!(states(&puppets)?, [State::Reserved, State::Computed]);
    Ok(())
}

/// A stored answer leaves for another study only with an entry that says for which.
#[tokio::test(flavor = "multi_thread")]
async fn stored_bytes_do_not_leave_for_a_study_that_the_ledger_does_not_name() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let first = proposal("first", SQL)?;
    let signatures = puppets.signatures(&first);
    let transcript = sent(&puppets, first.go(&signatures)).ok_or("a vector")?;
    let again = puppets.asked_by("telecom", &proposal("second", SQL)?)?;
    assert_eq!(puppets.pledge("bank", &again).pledge.stored, Some(transcript));
    let end = puppets.end("clients", &again, transcript, RESULT)?;
    puppets.tell("bank", end);
    assert_eq!(sent(&puppets, again.resend(1, transcript)), None);
    assert_eq!(states(&puppets)?, [State::Reserved, State::Computed]);
    Ok(())
}

/// Whoever gets the disk later has nothing to open the masks of the past with.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_an_attempt_is_on_the_disk_as_long_as_it_is_needed() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let folder = puppets.world.folder("bank").state("ephemeral");
    let keys = || -> Result<usize, Error> {
        let files = std::fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
        Ok(files.iter().filter(|file| file.file_name() != "key").count())
    };
    let needing = || -> Result<Vec<String>, Error> {
        let studies = StudyStore::open(&puppets.world.folder("bank").state("studies.sqlite"))?;
        Ok(studies.needing_keys()?.into_iter().map(|id| id.study).collect())
    };
    let (computed, given_up) = (proposal("computed", SQL)?, proposal("given-up", SQL)?);
    let signatures = puppets.signatures(&computed);
    puppets.pledge("bank", &given_up);
    assert_eq!((keys()?, needing()?), (2, vec!["computed".into(), "given-up".into()]));
    sent(&puppets, computed.go(&signatures)).ok_or("a vector")?;
    assert_eq!((keys()?, needing()?), (1, vec!["given-up".into()]));
    puppets.tell("bank", given_up.tells(ToAttempt::Abandoned { reason: "never mind".into(), is_over: false }));
    assert_eq!((keys()?, needing()?), (0, vec![]));
    Ok(())
}

/// As when its machine was started anew: the attempt ends here, and the coordinator is told what to do.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_key_is_gone_is_refused_and_charged_nothing() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    let lost = proposal("lost", SQL)?;
    let signatures = puppets.signatures(&lost);
    for file in std::fs::read_dir(puppets.world.folder("bank").state("ephemeral"))? {
        std::fs::remove_file(file?.path())?;
    }
    puppets.restart("bank")?;
    refused(puppets.ask("bank", lost.go(&signatures)), "run the study again");
    assert_eq!(puppets.world.count("bank", State::Reserved)?, 0);
    assert_eq!(stage(&puppets, &lost)?, "refused");
    Ok(())
}

/// What a node signs when it is told of an end; `None` if it does not.
fn signs(puppets: &Puppets, partner: &str, told: ToNode) -> bool {
    let closed = puppets.tell(partner, told);
    closed.iter().any(|frame| matches!(frame.decode(), Ok(FromNode::Attempt(_, FromAttempt::Closed { part: Some(_) }))))
}

/// Whoever is answered by this node, or waits for what it computes, would otherwise begin anew as often as the coordinator likes.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_not_true_ends_nothing() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let proposed = proposal("goes-on", SQL)?;
    let signatures = puppets.signatures(&proposed);
    let remembered = puppets.participant("bank").attempts_in_memory();
    for statement in ["", "{}"] {
        let untrue = ToAttempt::Finished { result: Digest::ZERO, statement: statement.into(), model: None };
        assert!(!signs(&puppets, "bank", proposed.tells(untrue)));
        assert_eq!(puppets.participant("bank").attempts_in_memory(), remembered);
    }
    let transcript = sent(&puppets, proposed.go(&signatures)).ok_or("a vector")?;
    assert!(signs(&puppets, "bank", puppets.end("clients", &proposed, transcript, RESULT)?));
    assert!(puppets.participant("bank").attempts_in_memory() > remembered, "it is remembered to be over");
    Ok(())
}

/// A receipt that all sign would make others believe that it was.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_signs_for_rounds_that_were_not_computed() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let signed = proposal("forged", SQL)?.again(2, 0);
    puppets.signatures(&signed);
    let true_one = signed_transcript(&puppets, &signed)?;
    let end = puppets.end("clients", &signed, true_one, RESULT)?;
    let of_another_attempt = restated(&end, |statement| {
        statement.subject.rounds[0].attempt = 1;
        statement.subject.rounds[0].transcript_sha256 = Digest([0x42; 32]);
    })?;
    let of_no_rounds = restated(&end, |statement| statement.subject.rounds.clear())?;
    for told in [end, of_another_attempt, of_no_rounds] {
        assert!(!signs(&puppets, "bank", told));
    }
    assert_eq!((puppets.reserved()?, stage(&puppets, &signed)?), (vec![0, 0, 0], "joined"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_has_one_end_that_is_signed() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let proposed = proposal("two-ends", SQL)?;
    let signatures = puppets.signatures(&proposed);
    let transcript = sent(&puppets, proposed.go(&signatures)).ok_or("a vector")?;
    let end = |result| puppets.end("clients", &proposed, transcript, result);
    assert!(signs(&puppets, "bank", end(RESULT)?));
    assert!(!signs(&puppets, "bank", end(Digest([8; 32]))?));
    assert!(signs(&puppets, "bank", end(RESULT)?), "the same as before");
    // Rounds that it has not taken part in, beside its own.
    let more = restated(&end(RESULT)?, |statement| {
        let own = statement.subject.rounds[0].clone();
        statement.subject.rounds.push(receipt::Round { round: 2, ..own });
    })?;
    assert!(!signs(&puppets, "bank", more));
    Ok(())
}

/// An end that states something else.
pub(super) fn restated(told: &ToNode, change: impl FnOnce(&mut receipt::Statement)) -> Result<ToNode, Error> {
    let ToNode::Attempt(id, ToAttempt::Finished { result, statement, .. }) = told else { return Err("an end".into()) };
    let mut changed = receipt::parse_statement(statement)?;
    change(&mut changed);
    let statement = receipt::canonical(&changed);
    Ok(ToNode::Attempt(id.clone(), ToAttempt::Finished { result: *result, statement, model: None }))
}

/// The transcript that the bank has signed.
pub(super) fn signed_transcript(puppets: &Puppets, proposed: &Proposed) -> Result<Digest, Error> {
    let studies = StudyStore::open(&puppets.world.folder("bank").state("studies.sqlite"))?;
    let attempt = studies.get(&proposed.id)?.ok_or("the attempt is kept")?;
    Ok(attempt.stage.transcript().ok_or("it is signed")?.digest())
}
