//! Messages without end: repeated by the hundred, or about attempts that there are not.

use std::time::Duration;

use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::ledger::entry::State;
use entente_protocols::ledger::witness::Answer;
use entente_protocols::wire::message::{FromAttempt, FromNode, ToAttempt, ToNode};
use entente_testing::{Driven, Error, Listener, Manners, Puppets, World, study};
use tokio::time::timeout;

use super::hostile::{SQL, proposal};
use super::hostile_training::{Attempt, ROUNDS, proposal as training};

const SOON: Duration = Duration::from_secs(60);
/// More than a runtime has threads that may block.
const MANY: u32 = 700;

/// A coordinator that tells a node to go, over and over, while its disk is slow: as an officer's command that holds the ledger makes
/// it. What comes again must not take what the first needs to get on.
#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_repeated_messages_do_not_wedge_the_node() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    let proposal = proposal("repeated", SQL)?;
    let signatures = puppets.signatures(&proposal);
    puppets.let_go("bank");
    let listener = Listener::start(&puppets.world)?;
    let folder = puppets.world.folder("bank");
    let served = folder.clone();
    let node = tokio::spawn(async move { entente_node::serve(&served, |_| ()).await.map(|_| ()) });
    let mut bank = timeout(SOON, listener.accept(&puppets.roster)).await??;
    // As it has started, the others say what they hold of its ledger.
    let nonce = loop {
        if let FromNode::Read { nonce } = timeout(SOON, bank.hear()).await??.decode()? {
            break nonce;
        }
    };
    for by in ["retailer", "telecom"] {
        let reading = puppets.reading(by, "bank", nonce).ok_or("it answers")?;
        bank.say(&ToNode::Held { by: by.into(), reading }).await?;
    }

    let disk = rusqlite::Connection::open(folder.state("ledger.sqlite"))?;
    disk.execute_batch("BEGIN IMMEDIATE")?;
    let go = proposal.go(&signatures);
    for _ in 0..MANY {
        bank.say(&go).await?;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    disk.execute_batch("ROLLBACK")?;
    let answered = async {
        loop {
            let frame = bank.hear().await?;
            if frame.is_contribution() {
                return Ok::<(), Error>(());
            } else if let FromNode::Witness { request, .. } = frame.decode()? {
                for witness in ["retailer", "telecom"] {
                    let asked = ToNode::Witness { node: "bank".into(), request: request.clone() };
                    let FromNode::Witnessed { answer, .. } = puppets.ask(witness, asked) else {
                        return Err("a witness answers".into());
                    };
                    bank.say(&ToNode::Witnessed { by: Some(witness.into()), answer }).await?;
                }
            }
        }
    };
    timeout(SOON, answered).await.map_err(|_| "the node is wedged")??;
    // It goes on: told once more, it sends what is stored once more, and something else it answers as well.
    bank.say(&go).await?;
    let asked = Box::new(puppets.with_schemas(proposal.proposal.clone()));
    bank.say(&ToNode::Check { number: 7, proposal: asked }).await?;
    let (mut again, mut checked) = (false, false);
    let both = async {
        while !again || !checked {
            let frame = bank.hear().await?;
            if frame.is_contribution() {
                again = true;
            } else {
                checked |= matches!(frame.decode()?, FromNode::Checked { number: 7, .. });
            }
        }
        Ok::<(), Error>(())
    };
    timeout(SOON, both).await.map_err(|_| "the node is wedged")??;
    assert_eq!(puppets.world.count("bank", State::Reserved)?, 1);
    node.abort();
    Ok(())
}

/// Whatever a coordinator says of attempts that were never proposed, a node remembers nothing of them.
#[tokio::test(flavor = "multi_thread")]
async fn messages_about_attempts_that_there_are_not_leave_nothing_behind() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let known = Attempt::new(&puppets, training("known")?)?;
    let said = [
        ToAttempt::Start { pledges: Vec::new() },
        ToAttempt::Go { round: 1, input: Vec::new(), signatures: Vec::new(), encapsulations: Vec::new() },
        ToAttempt::Resend { round: 1, transcript: Digest::ZERO },
        ToAttempt::Abandoned { reason: "it never was".into(), is_over: false },
        ToAttempt::Finished { result: Digest::ZERO, statement: String::new(), model: None },
    ];
    for number in 1..20 {
        for told in &said {
            puppets.tell_alone("bank", ToNode::Attempt(AttemptId::new("unknown", number), told.clone()));
        }
    }
    assert_eq!(puppets.participant("bank").attempts_in_memory(), 0);
    // One that there is, is remembered as long as it is needed.
    let mut trainer = known.trainer();
    for (next, remembered) in [(2, 1), (ROUNDS, 1), (ROUNDS + 1, 0)] {
        known.until(&puppets, &mut trainer, next)?;
        assert_eq!(puppets.participant("bank").attempts_in_memory(), remembered, "before round {next}");
    }
    Ok(())
}

/// A partner that says to another, through the coordinator, what that has not asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_says_much_to_another_does_not_cut_it_off() -> Result<(), Error> {
    let mut world = World::new().await?;
    world.stop("retailer").await;
    world.go_on_without("retailer")?;
    let mut has_said = false;
    let manners = Manners::default().says(move |message| {
        let mut all = vec![message];
        if !matches!(all[0], FromNode::Hello { .. }) && !std::mem::replace(&mut has_said, true) {
            let unasked = FromNode::Witnessed { node: "bank".into(), answer: Answer::Refused("x".repeat(100)) };
            all.extend(std::iter::repeat_n(unasked, 100_000));
        }
        all
    });
    let since = async |world: &World| -> Result<_, Error> {
        let partners = world.client().await?.partners().await?.partners;
        Ok(partners.iter().find(|partner| partner.name == "bank").and_then(|partner| partner.since.clone()))
    };
    let before = since(&world).await?;
    let _retailer = Driven::start(&world, "retailer", manners).await?;
    for number in 0..5 {
        let sql = format!("SELECT COUNT(*) AS n FROM clients WHERE age > {number}");
        let draft = study(&format!("calm-{number}")).sql(&sql).epsilon(0.2).partners(&["bank", "telecom"]);
        world.run(draft.build()?).await?;
    }
    assert_eq!(since(&world).await?, before, "the bank's connection is the one that it had");
    Ok(())
}

/// The same in the midst of a study in which both take part: what they say to each other has room, witnesses and the coordinator have more.
#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_says_much_to_another_within_a_study_keeps_no_witness_from_it() -> Result<(), Error> {
    let mut world = World::new().await?;
    world.stop("retailer").await;
    world.go_on_without("retailer")?;
    let mut has_said = false;
    let manners = Manners::default().says(move |message| match &message {
        FromNode::Attempt(id, FromAttempt::Pledged(_)) if !std::mem::replace(&mut has_said, true) => {
            let said = FromAttempt::Relay { to: "bank".into(), sealed: vec![7; 100] };
            vec![FromNode::Attempt(id.clone(), said); 200_000]
        }
        _ => vec![message],
    });
    let _retailer = Driven::start(&world, "retailer", manners).await?;
    let all = world.spawn(study("all").sql("SELECT COUNT(*) AS n FROM clients").epsilon(0.3).wait_seconds(60).build()?);
    for number in 0..5 {
        let sql = format!("SELECT COUNT(*) AS n FROM clients WHERE age > {number}");
        let draft = study(&format!("calm-{number}")).sql(&sql).epsilon(0.2).partners(&["bank", "telecom"]);
        timeout(SOON, world.run(draft.build()?)).await.map_err(|_| "studies of others go on")??;
    }
    all.abort();
    Ok(())
}
