//! A hostile coordinator, played by hand.

use std::collections::BTreeMap;

use entente_protocols::digest::Digest;
use entente_protocols::identity::{IdentityKey, Member};
use entente_protocols::secagg::collect::Stage;
use entente_protocols::secagg::pledge::SignedPledge;
use entente_protocols::study::parts::Work;
use entente_protocols::study::query::outcome;
use entente_testing::{Error, PARTNERS, Proposed, Puppets, refused, study};

pub const SQL: &str = "SELECT housing, COUNT(*) AS n FROM clients GROUP BY housing";

/// The first attempt of a query by all partners.
pub fn proposal(id: &str, sql: &str) -> Result<Proposed, Error> {
    Ok(Proposed::new(study(id).sql(sql).build()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_key_makes_every_node_abort_before_anything_is_charged() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let proposal = proposal("swap", SQL)?;
    let mut pledges: Vec<SignedPledge> = PARTNERS.iter().map(|partner| puppets.pledge(partner, &proposal)).collect();
    pledges[0].pledge.ephemeral.x25519 = [9; 32];
    pledges[0] = SignedPledge::new(pledges[0].pledge.clone(), &IdentityKey::from_secret(&[66; 32]));
    for partner in PARTNERS {
        refused(puppets.ask(partner, proposal.start(&pledges)), "not signed");
    }
    assert_eq!(puppets.reserved()?, [0, 0, 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn different_plans_for_different_nodes_are_found() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let (one, other) = (proposal("plans", SQL)?, proposal("plans", &SQL.replace("GROUP", "WHERE age > 30 GROUP"))?);
    let pledges = [puppets.pledge("bank", &one), puppets.pledge("retailer", &other), puppets.pledge("telecom", &other)];
    for partner in PARTNERS {
        refused(puppets.ask(partner, one.start(&pledges)), "another plan");
    }
    assert_eq!(puppets.reserved()?, [0, 0, 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn invented_and_re_keyed_partners_are_refused_by_nodes_that_have_confirmed() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    let fake = IdentityKey::from_secret(&[66; 32]);
    let member = Member { identity: fake.public(), tls: Digest::ZERO };
    for name in ["fake-one", "fake-two", "fake-three"] {
        puppets.roster.members.insert(name.into(), member.clone());
    }
    puppets.roster.members.insert("telecom".into(), member);
    puppets.welcome("bank")?;
    let mut invented = proposal("invented", SQL)?;
    invented.proposal.participants = ["bank", "fake-one", "fake-three", "fake-two"].map(String::from).into();
    invented.proposal.partners = invented.proposal.participants.clone();
    refused(puppets.ask("bank", invented.propose()), "`fake-one` is not in the roster");
    refused(puppets.ask("bank", proposal("re-keyed", SQL)?.propose()), "`telecom` is not in the roster");
    // A restart forgets nothing of it.
    puppets.restart("bank")?;
    refused(puppets.ask("bank", proposal("again", SQL)?.propose()), "`telecom` is not in the roster");
    assert_eq!(puppets.reserved()?, [0, 0, 0]);
    Ok(())
}

/// Signatures over the transcript that are missing, or of another attempt.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_computed_until_all_have_signed_the_same() -> Result<(), Error> {
    let puppets = Puppets::new().await?;
    let proposal = proposal("signatures", SQL)?;
    let signatures = puppets.signatures(&proposal);
    let mut fewer = signatures.clone();
    fewer.signatures.pop();
    refused(puppets.ask("bank", proposal.go(&fewer)), "did not sign");
    let mut exchanged = signatures.clone();
    exchanged.signatures[0].1 = signatures.signatures[1].1;
    refused(puppets.ask("retailer", proposal.go(&exchanged)), "did not sign");
    // A stored answer that nobody offered.
    refused(puppets.ask("telecom", proposal.resend(1, Digest::ZERO)), "did not offer");
    assert_eq!(puppets.reserved()?, [0, 0, 0]);
    Ok(())
}

/// Every node is killed between any two messages, and every message comes twice: one charge, one byte string each.
#[tokio::test(flavor = "multi_thread")]
async fn kills_and_repetitions_at_every_step_cost_nothing_more() -> Result<(), Error> {
    let mut puppets = Puppets::new().await?;
    let proposal = proposal("kills", SQL)?;
    let question = puppets.question("clients", &proposal)?;
    let mut collector = puppets.collector(&proposal, &question, Vec::new());
    let mut sent: BTreeMap<&str, Vec<Vec<i64>>> = BTreeMap::new();
    while collector.stage() != Stage::Complete {
        puppets.step_with_kills(&mut collector, &proposal, |partner, came| {
            sent.entry(partner).or_default().push(came.values);
        })?;
    }
    assert!(sent.values().all(|vectors| vectors.len() == 2 && vectors[0] == vectors[1]), "the same bytes");
    assert_eq!(puppets.reserved()?, [1, 1, 1]);
    // The sum is the answer: counts of clients with and without a housing loan.
    let sum = collector.sum().ok_or("complete")?;
    let Work::Sums(plan) = question.work() else { panic!("a query was asked") };
    let rows = outcome::rows(plan, question.mechanism(), sum).ok_or("as long as the plan")?;
    let total: f64 = rows.iter().map(|row| row.measures[0].value).sum();
    let sd = question.mechanism().total_sd(0) * plan.grid_unit(&plan.sums[0]) * 2f64.sqrt();
    assert!((total - 18036.0).abs() < 7.0 * sd + 2.0, "{total} ± {sd}");
    // No vector alone resembles an answer: masked, its numbers are spread over all 64 bits.
    let large = |vector: &Vec<i64>| vector.iter().any(|value| value.unsigned_abs() > 1 << 50);
    assert!(sent.values().all(|vectors| large(&vectors[0])));
    Ok(())
}
