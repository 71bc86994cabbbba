//! Budgets by year: a study costs the years of the rows that it can touch, and officers add to a cap by the year's name.

use std::process::Command;

use entente_protocols::ledger::entry::State;
use entente_protocols::ledger::verify::verify_export;
use entente_protocols::ledger::{Act, Outcome};
use entente_protocols::privacy::rho::Rho;
use entente_protocols::study::Study;
use entente_testing::{Error, SETTINGS, World, study};

const COLUMNS: &str = "\
bought = { type = \"date\", min = \"2024-01-01\", max = \"2028-12-31\" }
shop = { type = \"category\", values = [\"north\", \"south\"] }";

/// Customers with a row in 2026, others in 2027, and as many again whose rows are behind the declared range or have no date.
const EACH: usize = 500;

fn rows(partner: &str) -> String {
    let mut text = "customer,bought,shop\n".to_owned();
    for (kind, day) in ["2026-05-05", "2027-05-05", "2031-05-05", ""].into_iter().enumerate() {
        for customer in 0..EACH {
            text += &format!("{partner}-{kind}-{customer},{day},north\n");
        }
    }
    text
}

/// Two partners with a budget for two studies of ε = 1 a year.
async fn world() -> Result<World, Error> {
    let settings = SETTINGS.replace("epsilon = 10.0", "epsilon = 1.6").replace("4.0", "1.0");
    let of = World::of(&["bank", "telecom"]).settings(move |_| settings.clone());
    of.table("purchases", COLUMNS, "customer", rows).events("bought").start().await
}

/// Each of another name is another question.
fn sales(name: &str, condition: &str) -> Result<Study, Error> {
    let sql = format!("SELECT shop, COUNT(*) AS {name} FROM purchases WHERE {condition} GROUP BY shop");
    Ok(study(name).sql(&sql).build()?)
}

fn spent(world: &World, year: i16) -> Result<Rho, Error> {
    let ledger = world.open_ledger("bank")?;
    Ok(ledger.chain().years("customer").find(|(known, _)| *known == year).map_or(Rho::ZERO, |(_, totals)| totals.spent))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_over_one_year_leaves_the_budget_of_the_next() -> Result<(), Error> {
    let world = world().await?;
    let of_2026 = "bought BETWEEN '2026-01-01' AND '2026-12-31'";
    let result = world.run(sales("first", of_2026)?).await?;
    let count = result["rows"][0]["first"]["value"].as_f64().ok_or("a count")?;
    assert!((count - 2.0 * EACH as f64).abs() < EACH as f64, "{count}");
    let once = spent(&world, 2026)?;
    assert!(once > Rho::ZERO && spent(&world, 2027)? == Rho::ZERO);
    assert_eq!(world.open_ledger("bank")?.spent("purchases").rho, Rho::ZERO, "nothing of all time");

    world.run(sales("second", &format!("{of_2026} AND shop = 'north'"))?).await?;
    let asked = sales("third", &format!("{of_2026} AND shop = 'south'"))?;
    let check = world.client().await?.check(asked.clone()).await?;
    assert!(check.refused && check.partners[0].spent_rho == Some(spent(&world, 2026)?.value()), "{:?}", check.partners);
    let error = world.refusal(asked).await?;
    assert!(error.contains("population `customer` in 2026"), "{error}");
    // The next year has all of its budget; a study that looks like one of it, and is of all time, has not.
    let error = world.refusal(sales("fourth", "EXTRACT(YEAR FROM bought) = 2027 OR 1 = 1")?).await?;
    assert!(error.contains("in 2026"), "{error}");
    world.run(sales("fifth", "EXTRACT(YEAR FROM bought) = 2027")?).await?;
    assert_eq!(spent(&world, 2027)?, once);
    for partner in ["bank", "telecom"] {
        assert_eq!(world.count(partner, State::Reserved)?, 3);
        let report = verify_export(&world.export(partner)?, None);
        assert!(report.passed(), "{}", report.text());
    }
    let entries = world.ledger("bank")?;
    let all_time = entries.iter().filter_map(|entry| entry.study()?.by_year.as_ref()).next_back().ok_or("a charge")?;
    assert_eq!(all_time.spent_all_time, once.times(3), "the sum over all time is stated");
    Ok(())
}

/// A day behind the declared range is read as its last, so that conditions hold on it; the row is of no year for all that.
#[tokio::test(flavor = "multi_thread")]
async fn rows_outside_of_the_years_that_are_charged_do_not_count() -> Result<(), Error> {
    let world = world().await?;
    let result = world.run(sales("late", "bought >= '2028-01-01'")?).await?;
    let count = result["rows"][0]["late"]["value"].as_f64().ok_or("a count")?;
    assert!(count.abs() < EACH as f64, "{count}: nobody has bought anything in 2028");
    let entries = world.ledger("bank")?;
    let record = entries.iter().rev().find(|entry| entry.state() == State::Reserved).and_then(|entry| entry.study());
    let by_year = record.and_then(|record| record.by_year.as_ref()).ok_or("years")?;
    assert_eq!(by_year.accounts.iter().map(|account| account.year).collect::<Vec<_>>(), [2028]);
    assert_eq!(by_year.event, "bought");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_aside_of_a_year_is_set_aside_after_a_restart() -> Result<(), Error> {
    let mut world = world().await?;
    world.run(sales("first", "EXTRACT(YEAR FROM bought) = 2026")?).await?;
    let before = spent(&world, 2026)?;
    world.stop("bank").await;
    world.start("bank").await?;
    world.run(sales("second", "EXTRACT(YEAR FROM bought) = 2026 AND shop = 'north'")?).await?;
    assert_eq!(spent(&world, 2026)?, before.times(2));
    let error = world.refusal(sales("third", "EXTRACT(YEAR FROM bought) = 2026 AND shop = 'south'")?).await?;
    assert!(error.contains("in 2026"), "{error}");
    Ok(())
}

fn allow(world: &World, officer: &str, year: i16) -> Result<Outcome, Error> {
    let act = Act { officer, reason: "board", now: "2027-03-01T10:00:00Z" };
    Ok(world.open_ledger("bank")?.allow("purchases", year, Rho::within(1.0, 1e-6).ok_or("ε")?, act)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowance_lets_a_study_go_on_once_two_officers_have_granted_it() -> Result<(), Error> {
    let world = world().await?;
    for name in ["first", "second"] {
        world.run(sales(name, &format!("shop = '{}'", if name == "first" { "north" } else { "south" }))?).await?;
    }
    let partners = || sales("third", "shop IN ('north', 'south')");
    assert!(world.refusal(partners()?).await?.contains("the lifetime budget"));
    assert_eq!(allow(&world, "ann", 2027)?, Outcome::Proposed);
    assert!(world.refusal(partners()?).await?.contains("the lifetime budget"), "one officer is not two");
    assert!(allow(&world, "bob", 2028).is_err(), "in another year than by the clock");
    assert_eq!(allow(&world, "bob", 2027)?, Outcome::Done);
    // The other partner has none.
    let error = world.refusal(partners()?).await?;
    assert!(error.contains("telecom") && !error.contains("bank"), "{error}");
    let ledger = world.open_ledger("bank")?;
    assert_eq!(ledger.chain().allowances(&ledger.account_of("purchases")).count(), 1);
    let report = verify_export(&world.export("bank")?, None);
    assert!(report.passed(), "{}", report.text());
    Ok(())
}

/// The other verifier takes years and allowances as this one does, and refuses each of them changed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs python3 with cryptography; .ci/run installs it"]
async fn years_in_python() -> Result<(), Error> {
    let world = world().await?;
    world.run(sales("first", "EXTRACT(YEAR FROM bought) IN (2026, 2027)")?).await?;
    world.run(sales("second", "shop = 'north'")?).await?;
    allow(&world, "ann", 2027)?;
    allow(&world, "bob", 2027)?;
    world.run(sales("third", "EXTRACT(YEAR FROM bought) = 2028")?).await?;
    let folder = tempfile::tempdir()?;
    let verify = |text: &str| -> Result<String, Error> {
        let path = folder.path().join("ledger.jsonl");
        std::fs::write(&path, text)?;
        let program = std::env::var("ENTENTE_PYTHON").unwrap_or_else(|_| "python3".into());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/verify/verify.py");
        let output = Command::new(program).arg(script).arg("--alone").arg(&path).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    };
    let said = verify(&world.export("bank")?)?;
    assert!(!said.contains("FAILED") && said.contains("ledger.jsonl"), "{said}");
    Ok(())
}
