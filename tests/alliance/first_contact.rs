//! A coordinator that lies from the first day on: nodes whose staff have not compared anything yet.

use entente_host::clock::Clock;
use entente_node::participant::Participant;
use entente_node::roster;
use entente_node::store::StudyStore;
use entente_protocols::digest::Digest;
use entente_protocols::identity::{IdentityKey, Member};
use entente_protocols::ledger::entry::State;
use entente_protocols::ledger::witness::Answer;
use entente_protocols::secagg::collect::Stage;
use entente_protocols::wire::message::{FromAttempt, FromNode, ToNode};
use entente_testing::{Error, PARTNERS, Proposed, Puppets, World, refused, study};

const SQL: &str = "SELECT COUNT(*) AS n FROM clients";

/// The bank among 63 partners that there are not. Joined, it would add a 63rd of the noise that it is charged for, and nobody
/// else would add any.
fn invented(puppets: &mut Puppets) -> Result<Proposed, Error> {
    puppets.roster.members.retain(|name, _| name == "bank");
    for number in 0..63u8 {
        let key = IdentityKey::from_secret(&[number + 1; 32]);
        puppets.roster.members.insert(format!("p{number:02}"), Member { identity: key.public(), tls: Digest::ZERO });
    }
    puppets.welcome("bank")?;
    let mut proposed = Proposed::new(study("first-contact").sql(SQL).colluders(1).build()?);
    proposed.proposal.participants = puppets.roster.members.keys().cloned().collect();
    proposed.proposal.partners = proposed.proposal.participants.clone();
    Ok(proposed)
}

/// The answer is that a person at the node has to confirm the roster first.
fn waits(answer: FromNode) {
    match answer {
        FromNode::Attempt(_, FromAttempt::Waiting { reason }) => {
            assert!(reason.contains("not confirmed at bank: entente-node roster --accept"), "{reason}");
        }
        other => panic!("nobody has confirmed this roster: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_invents_an_alliance_on_the_first_day_gets_a_node_to_join_nothing() -> Result<(), Error> {
    let mut puppets = Puppets::of(World::of(&PARTNERS).unconfirmed()).await?;
    let folder = puppets.world.folder("bank");
    let proposed = invented(&mut puppets)?;
    waits(puppets.ask("bank", proposed.propose()));
    assert!(folder.pinned_roster()?.is_none(), "nothing is pinned");
    assert_eq!(puppets.world.ledger("bank")?.len(), 0, "nothing is recorded");
    assert_eq!(StudyStore::open(&folder.state("studies.sqlite"))?.all()?.len(), 0, "nothing is kept");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_asks_for_each_partner_s_own_numbers_is_refused_by_rules_that_do_not_say_so()
-> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let features = "SELECT customerID, tenure, MonthlyCharges, Churn FROM subscribers";
    let training = study("league-table").train("logistic", features).with("target", "Churn");
    let proposed = Proposed::new(training.clone().with("per_partner", true).build()?);
    for partner in PARTNERS {
        refused(puppets.ask(partner, proposed.propose()), "`own_numbers = true`");
    }
    puppets
        .pledge("bank", &Proposed::new(study("together").train("logistic", features).with("target", "Churn").build()?));
    Ok(())
}

/// Neither a study that is refused nor one that makes no sense leaves anything behind, and each is looked at once there is a roster.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_proposes_leaves_no_trace_before_the_roster_is_confirmed() -> Result<(), Error> {
    let puppets = Puppets::of(World::of(&PARTNERS).unconfirmed()).await?;
    let (folder, good) = (puppets.world.folder("bank"), Proposed::new(study("good").sql(SQL).build()?));
    let nonsense = Proposed::new(study("nonsense").sql("SELECT COUNT(*) FROM nowhere").build()?);
    waits(puppets.ask("bank", good.propose()));
    waits(puppets.ask("bank", nonsense.propose()));
    assert!(puppets.reconsider("bank").is_empty(), "they wait on");
    assert_eq!(puppets.world.ledger("bank")?.len(), 0, "no refusal is recorded");
    assert!(folder.pinned_roster()?.is_none());

    let fingerprint = puppets.roster.fingerprint().to_string();
    let short = roster::accept(&folder, &fingerprint[..16]).unwrap_err().to_string();
    assert!(short.contains("nothing was accepted"), "{short}");
    roster::accept(&folder, &fingerprint)?;
    // Now there are partners to say what they hold of its ledger.
    let asked = puppets.reconsider("bank");
    assert!(asked.iter().any(|said| matches!(said, FromNode::Read { .. })), "{asked:?}");
    puppets.read("bank");
    let said = puppets.reconsider("bank");
    let (mut pledged, mut refusals) = (0, 0);
    for answer in said {
        match answer {
            FromNode::Attempt(_, FromAttempt::Pledged(_)) => pledged += 1,
            FromNode::Attempt(_, FromAttempt::Refused { .. }) => refusals += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((pledged, refusals), (1, 1));
    assert!(puppets.reconsider("bank").is_empty(), "once");
    Ok(())
}

/// Beside the running participant: what it does next is what its staff have decided.
#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_was_dropped_stays_so_whatever_the_coordinator_offers() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    let folder = puppets.world.folder("bank");
    let study = |name: &str| Ok::<_, Error>(Proposed::new(study(name).sql(SQL).build()?));
    let begun = study("begun")?;
    let pledges: Vec<_> = PARTNERS.iter().map(|partner| puppets.pledge(partner, &begun)).collect();
    let signed = study("signed")?;
    let signatures = puppets.signatures(&signed);
    let left = roster::drop_partner(&folder, "telecom")?;
    assert!(!left.members.contains_key("telecom") && left.members.len() == 2);
    refused(puppets.ask("bank", begun.start(&pledges)), "`telecom` is not in the pinned roster");
    refused(puppets.ask("bank", signed.go(&signatures)), "`telecom` is not in the roster");
    refused(puppets.ask("bank", study("new")?.propose()), "`telecom` is not in the roster");
    assert_eq!(puppets.world.count("bank", State::Reserved)?, 0);
    // Offered again, with a partner more.
    let newcomer = Member { identity: IdentityKey::from_secret(&[9; 32]).public(), tls: Digest::ZERO };
    puppets.roster.members.insert("insurer".into(), newcomer);
    puppets.welcome("bank")?;
    puppets.restart("bank")?;
    refused(puppets.ask("bank", study("again")?.propose()), "`telecom` is not in the roster");
    let mut others = study("others")?;
    others.proposal.participants.retain(|name| name != "telecom");
    others.proposal.partners = others.proposal.participants.clone();
    puppets.pledge("bank", &others);
    // Accepting the newcomer does not have to take the other one back.
    let fingerprint = puppets.roster.fingerprint().to_string();
    let without = roster::accept_without(&folder, &fingerprint, Some("telecom"))?;
    assert!(without.members.contains_key("insurer") && !without.members.contains_key("telecom"));
    refused(puppets.ask("bank", study("still")?.propose()), "`telecom` is not in the roster");
    roster::accept(&folder, &fingerprint)?;
    puppets.pledge("bank", &study("anew")?);
    // Whom there is to drop.
    for (partner, why) in [("bank", "this node itself"), ("nobody", "it has: bank, insurer, retailer, telecom")] {
        let error = roster::drop_partner(&folder, partner).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    Ok(())
}

/// Whoever is offered alone is nobody yet: else a coordinator could fill a disk with the checkpoints of partners it invents.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_keeps_no_checkpoints_of_partners_that_are_only_offered() -> Result<(), Error> {
    let puppets = Puppets::of(World::of(&PARTNERS).unconfirmed()).await?;
    let request = puppets.asks_witnesses("retailer").pop().ok_or("it asks")?;
    let asked = || ToNode::Witness { node: "retailer".into(), request: request.clone() };
    let answer = |said| match said {
        FromNode::Witnessed { answer, .. } => answer,
        other => panic!("a witness answers: {other:?}"),
    };
    match answer(puppets.ask("bank", asked())) {
        Answer::Refused(why) => assert!(why.contains("no roster that bank has confirmed"), "{why}"),
        other => panic!("it must be refused: {other:?}"),
    }
    puppets.world.confirm("bank")?;
    assert!(matches!(answer(puppets.ask("bank", asked())), Answer::Cosigned { .. }));
    Ok(())
}

/// What was done together stays on record, and no entry says that it was refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_is_dropped_after_a_study_does_not_undo_it() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    let proposed = Proposed::new(study("done").sql(SQL).build()?);
    let question = puppets.question("clients", &proposed)?;
    let mut collector = puppets.collector(&proposed, &question, Vec::new());
    while collector.stage() != Stage::Complete {
        puppets.step_with_kills(&mut collector, &proposed, |_, _| ())?;
    }
    roster::drop_partner(&puppets.world.folder("bank"), "telecom")?;
    let transcript = collector.transcript().ok_or("all have signed")?;
    let said = puppets.tell("bank", puppets.end("clients", &proposed, transcript, Digest([7; 32]))?);
    assert!(said.iter().any(|frame| matches!(frame.decode(), Ok(FromNode::Attempt(_, FromAttempt::Closed { .. })))));
    let count = |state| puppets.world.count("bank", state);
    assert_eq!((count(State::Released)?, count(State::Refused)?), (1, 0));
    Ok(())
}

/// All partners are shown one and the same roster, so that their fingerprints agree; only whose entry is false can tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_roster_that_is_false_of_a_node_is_not_accepted_there() -> Result<(), Error> {
    let mut puppets = Puppets::of(World::of(&PARTNERS).unconfirmed()).await?;
    let (folder, truth) = (puppets.world.folder("retailer"), puppets.roster.clone());
    let fake = Member { identity: IdentityKey::from_secret(&[61; 32]).public(), tls: Digest::ZERO };
    let mut false_ones = vec![truth.clone(); 5];
    false_ones[0].members.insert("retailer".into(), fake.clone());
    false_ones[1].members.remove("retailer");
    false_ones[2].authority = Digest([9; 32]);
    false_ones[3].alliance = "spring` (offered)\nfingerprint: 8c1f".into();
    false_ones[4].members.insert("zz\n telecom-2 \u{202e}txet".into(), fake);
    for roster in false_ones {
        puppets.roster = roster.clone();
        let why = puppets.welcome("retailer").unwrap_err().to_string();
        assert!(why.contains("do not accept it") && why.lines().count() == 1, "{why}");
        assert_eq!(folder.offered_roster()?.as_ref(), Some(&truth), "it is not even kept to be looked at");
        // Whatever has come onto the disk.
        folder.keep_offered(&roster)?;
        assert!(roster::accept(&folder, &roster.fingerprint().to_string()).is_err());
        folder.keep_offered(&truth)?;
    }
    assert!(folder.pinned_roster()?.is_none());
    roster::accept(&folder, &truth.fingerprint().to_string())?;
    Ok(())
}

/// From its first message on, and whatever its staff do beside it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_with_whom_it_works_as_it_is_on_the_disk() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let folder = puppets.world.folder("bank");
    let says = || match puppets.participant("bank").hello() {
        FromNode::Hello { roster, .. } => roster,
        other => panic!("a hello: {other:?}"),
    };
    let unheard = Participant::open(&folder, entente_node::load(&folder)?, Clock::default())?;
    assert!(matches!(unheard.hello(), FromNode::Hello { roster: Some(_), .. }), "before anybody has spoken to it");
    assert_eq!(says(), Some(puppets.roster.fingerprint()));
    let left = roster::drop_partner(&folder, "telecom")?;
    assert_eq!(says(), Some(left.fingerprint()));
    Ok(())
}
