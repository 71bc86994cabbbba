//! What an alliance answers: numbers near the truth, the same answer to the same question, ledgers that add up.

use entente_examples::truth;
use entente_protocols::ledger::entry::{Entry, State};
use entente_protocols::ledger::store::Store;
use entente_protocols::ledger::verify::verify_export;
use entente_protocols::ledger::{AccountKey, Checkpoint};
use entente_protocols::privacy::rho::Rho;
use entente_testing::{Error, PARTNERS, World, last_study, study};
use serde_json::Value;

/// Half the width of a 95 % interval is 1.96 standard deviations: seven of them are 3.57 half-widths. Beyond that lies a
/// normal variable with probability 2.6e-12.
const SEVEN_SIGMA: f64 = 7.0 / 1.96;

fn near(estimate: &Value, truth: f64, slack: f64) {
    let number = |name: &str| estimate[name].as_f64().unwrap_or_else(|| panic!("{estimate} has no {name}"));
    let (value, low, high) = (number("value"), number("low"), number("high"));
    assert!(low <= value && value <= high, "{estimate}");
    let reach = (high - low) / 2.0 * SEVEN_SIGMA + slack;
    assert!((value - truth).abs() <= reach, "{estimate} is too far from {truth}");
}

/// The studies of the quickstart, over real tables of one row a customer: no bias, so that all numbers are near the truth.
#[tokio::test(flavor = "multi_thread")]
async fn studies_over_real_tables_are_near_the_truth() -> Result<(), Error> {
    let world = World::new().await?;
    let files = [
        include_str!("../../examples/studies/campaign-by-job.toml"),
        include_str!("../../examples/studies/churn-by-contract.toml"),
    ];
    for text in files {
        let study = entente_protocols::study::file::parse("example.toml", text)?;
        let name = study.name.clone();
        let result = world.run(study).await?;
        assert_eq!(result["participants"], serde_json::json!(["bank", "retailer", "telecom"]));
        let rows = result["rows"].as_array().ok_or("rows")?;
        let truth = truth::of(&name).ok_or("truth")?;
        for row in rows {
            let keys: Vec<&str> = row.as_object().ok_or("row")?.values().filter_map(Value::as_str).collect();
            let known = truth.iter().find(|truth| truth.keys.iter().all(|key| keys.contains(&key.as_str())));
            for (measure, estimate) in row.as_object().ok_or("row")?.iter().filter(|(_, value)| value.is_object()) {
                // A group without rows has no average.
                let exact = known.map_or(0.0, |truth| truth.measures[measure.as_str()]);
                if known.is_some() {
                    // Counts are rounded to whole numbers.
                    near(estimate, exact, 1.0);
                }
            }
        }
        assert!(
            truth.iter().all(|truth| rows
                .iter()
                .any(|row| truth.keys.iter().all(|key| row.to_string().contains(key.as_str()))))
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_is_answered_once_however_it_is_called() -> Result<(), Error> {
    let world = World::new().await?;
    let sql = "SELECT housing, COUNT(*) AS n FROM clients GROUP BY housing";
    let asked = study("first").sql(sql).build()?;
    let first = world.run(asked.clone()).await?;
    for i in 0..20 {
        // Other names and purposes, other white space, another case: the plan is the same.
        let sql = sql.replace("SELECT", if i % 2 == 0 { "select  " } else { "SELECT" });
        let again = study(&format!("again-{i}")).sql(&sql).purpose("another");
        let again = world.run(again.build()?).await?;
        assert_eq!((&again["rows"], &again["repeated"]), (&first["rows"], &Value::Bool(true)));
        assert_eq!(again["transcript_sha256"], first["transcript_sha256"]);
    }
    for partner in PARTNERS {
        assert_eq!(world.count(partner, State::Reserved)?, 1);
        assert_eq!(world.count(partner, State::Repeated)?, 20);
        let spent = last_study(&world.ledger(partner)?)?.account.spent_after;
        assert!(spent > Rho::ZERO && spent <= asked.privacy.rho, "{spent}");
    }
    let studies = world.client().await?.studies().await?;
    assert!(studies.len() == 21 && studies.iter().all(|study| study.state.to_string() == "done"));
    // Another question is another charge.
    let other = study("other").sql("SELECT loan, COUNT(*) AS n FROM clients GROUP BY loan");
    world.run(other.build()?).await?;
    assert_eq!(world.count("bank", State::Reserved)?, 2);
    Ok(())
}

/// Names, the order of items, keys and conditions, and how a number is written, are how a question is put and how its answer is shown.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_in_another_order_is_charged_once_and_shown_under_its_own_names() -> Result<(), Error> {
    let world = World::new().await?;
    let one = "SELECT housing, loan, COUNT(*) AS n, AVG(age) AS mean FROM clients \
               WHERE age > 30 AND job IN ('services', 'management') GROUP BY housing, loan";
    let other = "SELECT AVG(age) AS years, loan AS credit, COUNT(*) AS people, housing AS home FROM clients \
                 WHERE job IN ('management', 'services') AND age > 30.0 GROUP BY loan, housing";
    let first = world.run(study("one").sql(one).build()?).await?;
    let second = world.run(study("other").sql(other).build()?).await?;
    assert_eq!((&first["repeated"], &second["repeated"]), (&Value::Bool(false), &Value::Bool(true)));
    assert_eq!(first["transcript_sha256"], second["transcript_sha256"]);
    let cells = |result: &Value, names: [&str; 4]| -> Result<Vec<[Value; 4]>, Error> {
        let rows = result["rows"].as_array().ok_or("rows")?;
        Ok(rows.iter().map(|row| names.map(|name| row[name].clone())).collect())
    };
    let [first, second] =
        [cells(&first, ["housing", "loan", "n", "mean"])?, cells(&second, ["home", "credit", "people", "years"])?];
    // Each lists its rows by its own keys.
    let keys = |cells: &[[Value; 4]], at: usize| cells.iter().map(|row| row[at].clone()).collect::<Vec<_>>();
    assert_eq!((first.len(), keys(&first, 0)), (4, keys(&second, 1)));
    assert_ne!(keys(&first, 0), keys(&second, 0));
    for row in &first {
        assert!(row.iter().all(|cell| !cell.is_null()) && second.contains(row), "{row:?} is not in {second:?}");
    }
    for partner in PARTNERS {
        assert_eq!((world.count(partner, State::Reserved)?, world.count(partner, State::Repeated)?), (1, 1));
    }
    // Another constant is another question.
    let third = world.run(study("third").sql(&one.replace("> 30", "> 31")).build()?).await?;
    assert_eq!(third["repeated"], Value::Bool(false));
    assert_eq!(world.count("bank", State::Reserved)?, 2);
    Ok(())
}

/// If one partner's data have changed, everybody draws afresh and is charged: reused noise of the others would cancel.
#[tokio::test(flavor = "multi_thread")]
async fn new_data_at_one_partner_mean_fresh_noise_and_a_charge_at_all() -> Result<(), Error> {
    let world = World::new().await?;
    let question = || study("q").sql("SELECT housing, COUNT(*) AS n FROM clients GROUP BY housing").build();
    let first = world.run(question()?).await?;
    let table = world.folders().node("bank").join("data/clients.csv");
    let mut text = std::fs::read_to_string(&table)?;
    text += "B99999,40,services,single,primary,no,1,yes,no,unknown,5,may,1,1,-1,0,unknown,no\n";
    std::fs::write(&table, text)?;
    let second = world.run(question()?).await?;
    assert_eq!(second["repeated"], Value::Bool(false));
    assert_ne!(first["transcript_sha256"], second["transcript_sha256"]);
    for partner in PARTNERS {
        let charged: Vec<_> =
            world.ledger(partner)?.into_iter().filter(|entry| entry.state() == State::Reserved).collect();
        assert_eq!(charged.len(), 2, "{partner}");
        // What each node sent is new, not only the changed one's.
        let entries = world.ledger(partner)?;
        let sent = entries.iter().filter(|entry| entry.state() == State::Computed).filter_map(Entry::study);
        let sent: Vec<_> = sent.map(|record| record.result_sha256).collect();
        assert_ne!(sent[0], sent[1]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ledgers_add_up_and_verify_anywhere() -> Result<(), Error> {
    let world = World::new().await?;
    let asked = study("one").sql("SELECT AVG(MonthlyCharges) AS charges FROM subscribers");
    let result = world.run(asked.build()?).await?;
    let rho = result["privacy"]["rho_micro"].as_str().ok_or("rho_micro")?.parse::<u64>()?;
    for partner in PARTNERS {
        let folder = world.folder(partner);
        let entries = world.ledger(partner)?;
        let states: Vec<State> = entries.iter().map(Entry::state).collect();
        assert_eq!(states, [State::Rules, State::Cap, State::Reserved, State::Computed, State::Released]);
        let last = last_study(&entries)?;
        assert_eq!(last.account.spent_after.micro(), rho);
        assert_eq!((last.dataset.as_str(), last.study.purpose.as_str()), ("subscribers", "test"));
        assert!(last.result_sha256.is_some() && last.transcript.is_some() && last.approved_by.is_some());
        let store = entente_node::store::LedgerStore::open_read_only(&folder.state("ledger.sqlite"))?;
        let kept = store.checkpoints()?;
        let cosigned = kept.iter().map(|kept| Checkpoint::parse(kept)).collect::<Result<Vec<_>, _>>()?;
        assert!(!cosigned.is_empty() && cosigned.iter().all(|kept| kept.cosignatures().count() >= 2), "{kept:?}");
        let report = verify_export(&world.export(partner)?, folder.pinned_roster()?.as_ref());
        assert!(report.passed(), "{}", report.text());
        assert_eq!(report.spent[&AccountKey::Population("customerID".into())].rho.micro(), rho);
    }
    Ok(())
}

/// A person at all three partners: the noise is three times that of the same study for customers.
#[tokio::test(flavor = "multi_thread")]
async fn scope_person_widens_the_intervals_by_the_number_of_partners() -> Result<(), Error> {
    let world = World::new().await?;
    let sql = "SELECT SUM(MonthlyCharges) AS charges FROM subscribers";
    let mut width = Vec::new();
    for study in [study("customer").sql(sql), study("person").sql(sql).for_persons()] {
        let estimate = &world.run(study.build()?).await?["rows"][0]["charges"];
        width.push(estimate["high"].as_f64().ok_or("high")? - estimate["low"].as_f64().ok_or("low")?);
    }
    assert!((width[1] / width[0] - 3.0).abs() < 0.01, "{width:?}");
    let privacy = last_study(&world.ledger("bank")?)?.privacy.clone().ok_or("privacy")?;
    assert_eq!(privacy.rho, privacy.rho_person);
    Ok(())
}
