//! Trainings that go on from the rounds of an attempt that was lost: whoever signs for them signs for what they cost.

use entente_node::store::StudyStore;
use entente_protocols::digest::Digest;
use entente_protocols::identity::IdentityKey;
use entente_protocols::learn::trainer::Trainer;
use entente_protocols::ledger::cross::cross_check;
use entente_protocols::ledger::entry::State;
use entente_protocols::ledger::receipt::{self, Coordinator, Part, Receipt, Round};
use entente_protocols::ledger::report::{Facts, Report};
use entente_protocols::ledger::verify::verify_to_compare;
use entente_protocols::policy::{StewardDecision, Verdict};
use entente_protocols::privacy::rho::Rho;
use entente_protocols::wire::frame::Frame;
use entente_protocols::wire::message::{FromAttempt, FromNode, ToAttempt, ToNode};
use entente_testing::{Error, PARTNERS, Proposed, Puppets, SETTINGS, World, study};

use super::ends::{RESULT, restated, signed_transcript};
use super::hostile_training::{Attempt, ROUNDS, proposal};

/// The rounds that the first of two attempts has made.
const MADE: u32 = 2;

/// Computes rounds honestly up to this one.
fn compute(puppets: &Puppets, attempt: &Attempt, trainer: &mut Trainer, last: u32) -> Result<Vec<Round>, Error> {
    let before = trainer.next() as u32;
    attempt.until(puppets, trainer, last + 1)?;
    let transcript_sha256 = signed_transcript(puppets, &attempt.proposed)?;
    let stated = |round| {
        let mechanism = attempt.question.round(round).ok_or("a round")?;
        Ok(Round {
            attempt: attempt.proposed.id.number,
            repeated: false,
            rho: mechanism.rho(),
            rho_person: mechanism.rho_person(),
            round,
            transcript_sha256,
        })
    };
    (before + 1..=last).map(stated).collect()
}

/// What a partner signs when it is told of an end.
fn part(puppets: &Puppets, partner: &str, told: ToNode) -> Option<Part> {
    puppets.tell(partner, told).iter().find_map(|frame| match frame.decode() {
        Ok(FromNode::Attempt(_, FromAttempt::Closed { part })) => part.map(|part| *part),
        _ => None,
    })
}

fn statement(told: &ToNode) -> Result<receipt::Statement, Error> {
    let ToNode::Attempt(_, ToAttempt::Finished { statement, .. }) = told else { return Err("an end".into()) };
    Ok(receipt::parse_statement(statement)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_of_an_attempt_before_are_signed_for_and_pass_as_they_were_charged() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let first = proposal("resumed")?;
    let attempt = Attempt::new(&puppets, first.clone())?;
    let mut trainer = attempt.trainer();
    let mut rounds = compute(&puppets, &attempt, &mut trainer, MADE)?;
    for partner in PARTNERS {
        puppets.tell(partner, first.tells(ToAttempt::Abandoned { reason: "lost".into(), is_over: false }));
    }
    let second = first.again(2, MADE);
    rounds.extend(compute(&puppets, &Attempt::new(&puppets, second.clone())?, &mut trainer, ROUNDS)?);
    let end = puppets.end("clients", &second, signed_transcript(&puppets, &second)?, RESULT)?;
    let end = |change: fn(&mut Round)| {
        let mut rounds = rounds.clone();
        change(&mut rounds[1]);
        restated(&end, |statement| statement.subject.rounds = rounds)
    };
    let lies: [fn(&mut Round); 4] = [
        |round| round.rho = Rho::ZERO,
        |round| round.rho_person = Rho::ZERO,
        |round| round.repeated = true,
        |round| round.transcript_sha256 = Digest([0x42; 32]),
    ];
    for (lie, partner) in lies.iter().flat_map(|lie| PARTNERS.map(|partner| (lie, partner))) {
        assert!(part(&puppets, partner, end(*lie)?).is_none(), "{partner} signs what was not");
    }
    let truth = end(|_| ())?;
    let parts: Option<Vec<Part>> = PARTNERS.iter().map(|partner| part(&puppets, partner, truth.clone())).collect();
    let parts = parts.ok_or("everybody signs what was")?;

    let key = IdentityKey::from_secret(&[1; 32]);
    let with_parts = |statement: receipt::Statement| {
        let coordinator = Coordinator::sign(&statement, &key);
        Receipt::new(statement, coordinator, parts.clone())
    };
    let mut ledgers: Vec<Facts> = Vec::new();
    for partner in PARTNERS {
        let report = verify_to_compare(&puppets.world.export(partner)?, Some(&puppets.roster));
        assert!(report.passed(), "{}", report.text());
        ledgers.push(*report.facts.ok_or("facts")?);
    }
    let ledgers: Vec<&Facts> = ledgers.iter().collect();
    let held = |statement, ledgers: &[&Facts]| {
        let mut report = Report::default();
        cross_check(&mut report, ledgers, &[&with_parts(statement)]);
        report
    };
    let report = held(statement(&truth)?, &ledgers);
    assert!(report.passed(), "{}", report.text());
    for lie in lies {
        let lie = statement(&end(lie)?)?;
        assert!(!held(lie.clone(), &ledgers).passed() && !held(lie, &ledgers[..1]).passed());
    }
    // Nobody took part in it: no ledger by itself can tell, all together can.
    let mut invented = statement(&truth)?;
    let round = Round { attempt: 7, ..invented.subject.rounds[1].clone() };
    invented.subject.rounds[1] = round;
    assert!(held(invented.clone(), &ledgers[..1]).passed());
    assert!(held(invented, &ledgers).text().contains("no ledger has it"));
    Ok(())
}

/// What was stored before is sent again at no charge, or the attempt is computed anew: both would be a charge that no receipt states.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_repeated_in_an_attempt_that_was_charged_for() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let first = proposal("first")?;
    let attempt = Attempt::new(&puppets, first.clone())?;
    attempt.until(&puppets, &mut attempt.trainer(), ROUNDS + 1)?;
    for partner in PARTNERS {
        assert_eq!(puppets.participant(partner).attempts_in_memory(), 0, "nothing of it is kept in memory");
    }
    let stored = signed_transcript(&puppets, &first)?;
    // Everybody says that the answer is stored; the coordinator goes on all the same.
    let again = proposal("again")?;
    let anew = Attempt::new(&puppets, again.clone())?;
    anew.until(&puppets, &mut anew.trainer(), 2)?;
    for partner in PARTNERS {
        assert!(!puppets.tell(partner, again.resend(1, stored)).iter().any(Frame::is_contribution), "{partner}");
        assert_eq!(puppets.world.count(partner, State::Repeated)?, 0);
    }
    Ok(())
}

/// Whoever has approved both has not approved that one is stated as the other's.
#[tokio::test(flavor = "multi_thread")]
async fn rounds_of_another_purpose_or_plan_are_not_signed_for() -> Result<(), Error> {
    let other_purpose = |proposed: &mut Proposed| proposed.proposal.study.purpose = "another purpose".into();
    let other_plan = |proposed: &mut Proposed| {
        let features = "SELECT client_id, age, balance, housing, loan, y FROM clients WHERE age < 90";
        let study = study("resumed").train("additive", features).with("target", "y").with("rounds", 2);
        proposed.proposal.study = study.build().expect("a study");
    };
    let changes: [&dyn Fn(&mut Proposed); 2] = [&other_purpose, &other_plan];
    for change in changes {
        let puppets = Puppets::over(World::with(|_| SETTINGS.replace("auto", "manual")).await?)?;
        let first = proposal("resumed")?;
        approve(&puppets, &first)?;
        let attempt = Attempt::new(&puppets, first.clone())?;
        let mut trainer = attempt.trainer();
        let mut rounds = compute(&puppets, &attempt, &mut trainer, MADE)?;
        for partner in PARTNERS {
            puppets.tell(partner, first.tells(ToAttempt::Abandoned { reason: "lost".into(), is_over: false }));
        }
        let mut second = first.again(2, MADE);
        change(&mut second);
        approve(&puppets, &second)?;
        let attempt = Attempt::new(&puppets, second.clone())?;
        rounds.extend(compute(&puppets, &attempt, &mut trainer, ROUNDS)?);
        let end = puppets.end("clients", &second, signed_transcript(&puppets, &second)?, RESULT)?;
        let end = restated(&end, |statement| statement.subject.rounds = rounds)?;
        for partner in PARTNERS {
            assert!(part(&puppets, partner, end.clone()).is_none(), "{partner} signs for it");
        }
    }
    Ok(())
}

/// The steward of each partner approves what waits.
fn approve(puppets: &Puppets, proposed: &Proposed) -> Result<(), Error> {
    for partner in PARTNERS {
        puppets.tell(partner, proposed.propose());
        let store = StudyStore::open(&puppets.world.folder(partner).state("studies.sqlite"))?;
        let waiting = store.get(&proposed.id)?.ok_or("it waits")?;
        let proposal = waiting.proposal.digest(&waiting.id);
        let decision = StewardDecision { proposal, by: "ann".into(), verdict: Verdict::Approve };
        store.decide(&proposed.id.study, &decision, &jiff::Timestamp::now().to_string())?;
    }
    Ok(())
}
