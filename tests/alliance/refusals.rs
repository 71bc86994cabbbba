//! What bad studies and settings get: a clear refusal, nothing charged.

use entente_protocols::ledger::entry::State;
use entente_testing::{Draft, Error, PARTNERS, SETTINGS, World, study};

async fn refusal(world: &World, study: Draft) -> Result<String, Error> {
    let error = world.refusal(study.build()?).await?;
    for partner in PARTNERS {
        assert_eq!(world.count(partner, State::Reserved)?, 0, "nothing is charged: {error}");
    }
    Ok(error)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_refused_with_what_to_write() -> Result<(), Error> {
    let world = World::new().await?;
    let cases = [
        ("SELECT SUM(balanse) AS s FROM clients", "balance"),
        ("SELECT SUM(duration) AS s FROM clients", "declared"),
        ("SELECT COUNT(*) AS n FROM customers", "customers"),
        ("SELECT COUNT(*) AS n FROM clients WHERE client_id = 'B00004'", "privacy unit"),
        ("SELECT MEDIAN(age) AS m FROM clients", "MEDIAN"),
        ("SELECT client_id FROM clients", "client_id"),
        ("SELECT job, COUNT(*) AS n FROM clients GROUP BY job ORDER BY n", "ORDER BY"),
    ];
    for (sql, expected) in cases {
        let error = refusal(&world, study("bad").sql(sql)).await?;
        assert!(error.contains(expected), "{sql}: {error}");
    }
    let strangers = study("strangers").sql("SELECT COUNT(*) AS n FROM clients").partners(&["bank", "baker"]);
    assert!(refusal(&world, strangers).await?.contains("baker"));
    let nearly = study("nearly").sql("SELECT COUNT(*) AS n FROM clients").partners(&["bank", "retail"]);
    assert!(refusal(&world, nearly).await?.contains("did you mean `retailer`"));
    Ok(())
}

/// The others can go on, where they are enough.
#[tokio::test(flavor = "multi_thread")]
async fn caps_and_rules_refuse_with_the_numbers() -> Result<(), Error> {
    let world = World::with(|partner| match partner {
        "telecom" => SETTINGS.replace("per_study_epsilon = 4.0", "per_study_epsilon = 0.5"),
        _ => SETTINGS.to_owned(),
    })
    .await?;
    let dear = study("dear").sql("SELECT COUNT(*) AS n FROM clients");
    let error = refusal(&world, dear.clone()).await?;
    assert!(error.contains("`telecom` refused: ") && error.contains("per study") && error.contains("0.5"), "{error}");
    let entry = world.ledger("telecom")?.pop().ok_or("a refusal is recorded")?;
    assert_eq!(entry.state(), State::Refused);

    let check = world.client().await?.check(dear.build()?).await?;
    assert!(check.refused);
    let telecom = check.partners.iter().find(|partner| partner.name == "telecom").ok_or("the telecom")?;
    let reason = telecom.reason.as_deref().ok_or("a reason")?;
    assert!(telecom.approval == "refused" && error.contains(reason), "{reason}: {error}");
    assert_eq!(check.measures.len(), 1);
    assert!(check.measures[0].error > 0.0 && check.privacy.ok_or("its privacy")?.epsilon <= 1.0);

    let result = world.run(dear.min_partners(2).build()?).await?;
    assert_eq!(result["participants"], serde_json::json!(["bank", "retailer"]));
    assert_eq!(world.count("telecom", State::Reserved)?, 0);
    Ok(())
}

/// One partner declares another bound: no study that uses the column can be asked, others can.
#[tokio::test(flavor = "multi_thread")]
async fn schemas_that_differ_are_named() -> Result<(), Error> {
    let mut world = World::of(&PARTNERS).enrolled().await?;
    let path = world.folder("bank").config();
    let text = std::fs::read_to_string(&path)?.replace("min = 18, max = 95", "min = 18, max = 90");
    std::fs::write(&path, text)?;
    for partner in PARTNERS {
        world.start(partner).await?;
    }
    let error = refusal(&world, study("differs").sql("SELECT AVG(age) AS age FROM clients")).await?;
    assert!(error.contains("bank") && error.contains("age") && error.contains("90") && error.contains("95"), "{error}");
    world.run(study("agrees").sql("SELECT AVG(balance) AS b FROM clients").build()?).await?;
    Ok(())
}

/// Something wrong with the data is told to nobody outside: the same reply, whatever it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_nothing_about_its_data() -> Result<(), Error> {
    let world = World::new().await?;
    let table = world.folders().node("bank").join("data/clients.csv");
    let good = std::fs::read_to_string(&table)?;
    let mut replies = Vec::new();
    for bad in [None, Some(good.replacen("balance", "balanse", 1)), Some(good.replacen("client_id", "clientid", 1))] {
        match bad {
            None => std::fs::remove_file(&table)?,
            Some(text) => std::fs::write(&table, text)?,
        }
        let error = refusal(&world, study("secret").sql("SELECT AVG(balance) AS b FROM clients")).await?;
        assert!(error.contains("bank") && !error.contains("balanse") && !error.contains(".csv"), "{error}");
        // Identifiers of studies differ.
        replies.push(error.split_whitespace().filter(|word| !word.contains("-")).collect::<Vec<_>>().join(" "));
    }
    assert!(replies.iter().all(|reply| *reply == replies[0]), "{replies:?}");
    Ok(())
}
