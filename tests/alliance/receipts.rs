//! Receipts: signed by everybody, also by who comes back later; held against the ledgers of all.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use entente_node::store::WitnessStore;
use entente_protocols::identity::{IdentityKey, Roster};
use entente_protocols::ledger::absence::Absence;
use entente_protocols::ledger::cross::cross_check;
use entente_protocols::ledger::office::Subject;
use entente_protocols::ledger::outside::{Outside, write_witnessed};
use entente_protocols::ledger::receipt::{Receipt, Round, verify_files, verify_receipt};
use entente_protocols::ledger::report::{Facts, Report};
use entente_protocols::ledger::store::{Memory, Store};
use entente_protocols::ledger::verify::{export, verify_export, verify_outside, verify_to_compare};
use entente_protocols::ledger::{Act, Budgets, Checkpoint, Ledger, Signer};
use entente_protocols::privacy::rho::Rho;
use entente_protocols::wire::message::{ToAttempt, ToNode};
use entente_testing::{Does, Draft, Driven, Error, Manners, PARTNERS, World, study, until};

use super::customers::{by_region, partners};
use super::training::CLIENTS;

fn roster(world: &World) -> Result<Roster, Error> {
    Ok(serde_json::from_slice(&std::fs::read(world.alliance().join("roster.json"))?)?)
}

fn by_housing() -> Draft {
    study("counts").sql("SELECT housing, COUNT(*) AS n FROM clients GROUP BY housing")
}

fn older(name: &str, age: u32) -> Draft {
    study(name).sql(&format!("SELECT COUNT(*) AS n FROM clients WHERE age > {age}"))
}

/// The receipt among a study's files, which verifies with them.
fn receipt(world: &World, files: &BTreeMap<String, Vec<u8>>) -> Result<Receipt, Error> {
    let text = String::from_utf8(files["receipt.json"].clone())?;
    let (mut report, receipt) = verify_receipt(&text, Some(&roster(world)?));
    let receipt = receipt.ok_or_else(|| report.text())?;
    verify_files(&mut report, &receipt.statement, files);
    assert!(report.passed(), "{}", report.text());
    Ok(receipt)
}

/// What a partner's ledger says, exported and verified.
fn facts(world: &World, partner: &str) -> Result<Facts, Error> {
    let report = verify_to_compare(&world.export(partner)?, Some(&roster(world)?));
    assert!(report.passed(), "{}", report.text());
    Ok(*report.facts.ok_or("facts")?)
}

fn together(ledgers: &[&Facts], receipts: &[&Receipt]) -> Report {
    let mut report = Report::default();
    cross_check(&mut report, ledgers, receipts);
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn every_study_has_a_receipt_that_all_have_signed_and_all_ledgers_agree_with() -> Result<(), Error> {
    let world = World::new().await?;
    let first = world.files(by_housing().build()?).await?;
    let again = world.files(by_housing().build()?).await?;
    let some = study("some").sql("SELECT COUNT(*) AS n FROM clients WHERE age > 30").partners(&["bank", "telecom"]);
    let some = world.files(some.build()?).await?;
    let model = study("model").train("logistic", CLIENTS).with("target", "loan").with("rounds", 3).epsilon(2.0);
    let trained = world.files(model.build()?).await?;
    let receipts = [&first, &again, &some, &trained].map(|files| receipt(&world, files));
    let receipts: Vec<Receipt> = receipts.into_iter().collect::<Result<_, _>>()?;
    let repeated = |receipt: &Receipt| receipt.statement.subject.rounds.iter().all(|round| round.repeated);
    assert_eq!(receipts.iter().map(repeated).collect::<Vec<_>>(), [false, true, false, false]);
    assert!(receipts[3].statement.subject.rounds.len() > 3 && receipts[3].statement.files.contains_key("model.onnx"));
    let model: serde_json::Value = serde_json::from_slice(&trained["model.json"])?;
    assert_eq!(model["receipt_sha256"], receipts[3].statement.subject.digest().to_string());
    let ledgers: Vec<Facts> = PARTNERS.iter().map(|partner| facts(&world, partner)).collect::<Result<_, _>>()?;
    let report = together(&ledgers.iter().collect::<Vec<_>>(), &receipts.iter().collect::<Vec<_>>());
    assert!(report.passed(), "{}", report.text());
    // A receipt that says otherwise what was charged, whoever has signed it.
    type Change = fn(&mut Vec<Round>);
    let changes: [Change; 3] = [
        |rounds| rounds[0].repeated = true,
        |rounds| (rounds[0].attempt, rounds[0].rho) = (7, Rho::ZERO),
        |rounds| rounds.truncate(rounds.len() - 1),
    ];
    for change in changes {
        for receipt in [&receipts[0], &receipts[3]] {
            let mut changed = receipt.clone();
            change(&mut changed.statement.subject.rounds);
            let report = together(&[&ledgers[0]], &[&changed]);
            assert!(report.text().contains("does not state as charged for"), "{}", report.text());
        }
    }
    // Others of the same alliance's studies: another world with the same questions.
    let other = World::new().await?;
    other.files(by_housing().build()?).await?;
    let stranger = facts(&other, "bank")?;
    let report = together(&[&ledgers[0], &stranger], &[&receipts[0]]);
    assert!(!report.passed() && report.text().contains("different alliances"), "{}", report.text());
    assert!(report.text().contains("does not go on from its checkpoint"), "{}", report.text());
    let twice = together(&[&ledgers[0], &ledgers[0]], &[]);
    assert!(twice.text().contains("of the same node"), "{}", twice.text());
    Ok(())
}

/// A ledger that was put back to what it was before a study lacks what others have.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_lacks_a_study_is_named() -> Result<(), Error> {
    let world = World::new().await?;
    world.files(older("before", 30).build()?).await?;
    let yesterday = facts(&world, "bank")?;
    let done = world.files(older("after", 40).build()?).await?;
    let receipt = receipt(&world, &done)?;
    let report = together(&[&yesterday, &facts(&world, "telecom")?], &[&receipt]);
    let again = "has no counterpart at bank; if the export of bank is older than that, export it again";
    assert!(report.text().contains(again), "{}", report.text());
    let shorter = "after the study: it was shortened, or is an export from before; export it again";
    assert!(report.text().contains(shorter), "{}", report.text());
    assert!(together(&[&facts(&world, "bank")?, &facts(&world, "telecom")?], &[&receipt]).passed());
    Ok(())
}

/// A node that goes before it has recorded the end signs when it comes back.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_signs_then() -> Result<(), Error> {
    let mut world = partners().enrolled().await?;
    for partner in ["retailer", "telecom"] {
        world.start(partner).await?;
    }
    let is_end = |message: &ToNode| matches!(message, ToNode::Attempt(_, ToAttempt::Finished { .. }));
    let bank = Driven::start(&world, "bank", Manners::default().once(Does::Leaves, is_end)).await?;
    let files = world.files(by_region("gone").build()?).await?;
    let (report, receipt) = verify_receipt(&String::from_utf8(files["receipt.json"].clone())?, None);
    assert!(!report.passed() && report.text().contains("bank has not signed it"), "{}", report.text());
    bank.stop().await;
    world.start("bank").await?;
    let id = receipt.ok_or("a receipt")?.statement.subject.study;
    until("it signs when it is back", async || {
        let files = world.client().await?.follow(&id, |_| ()).await?;
        let text = String::from_utf8(files["receipt.json"].clone())?;
        Ok(verify_receipt(&text, Some(&roster(&world)?)).0.passed())
    })
    .await
}

/// What a partner has witnessed of others.
fn held(world: &World, partner: &str) -> Result<Vec<Checkpoint>, Error> {
    Ok(WitnessStore::open(&world.folder(partner).state("witnessed.sqlite"))?.all()?)
}

/// What a partner's staff could write in the place of its ledger: nothing, or all but the last charge and what follows, as short as that or
/// made longer than it was; each consistent, and sealed with the node's key.
fn written_anew(world: &World, partner: &str) -> Result<Vec<String>, Error> {
    let lines = world.open_ledger(partner)?.store().entries()?;
    let charged = lines.iter().rposition(|line| line.json.contains("\"RESERVED\"")).ok_or("a charge")?;
    let signer = world.folder(partner).signer(partner)?;
    let anew = [(0, 0), (charged, 0), (charged, 99)].map(|(kept, notes)| {
        let mut store = Memory::default();
        for (sequence, line) in (1..).zip(&lines[..kept]) {
            store.append(sequence, line, None)?;
        }
        let mut ledger = Ledger::open(store, Budgets::default(), "anew")?;
        for _ in 0..notes {
            ledger.note(1, Act { officer: "ann", reason: "filler", now: "2026-01-01T00:00:00Z" })?;
        }
        Ok(export(partner, &signer, ledger.store())?)
    });
    anew.into_iter().collect()
}

/// What was written anew fails against what a partner has witnessed, and is not witnessed where nobody is asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_written_anew_is_not_what_others_hold() -> Result<(), Error> {
    let world = World::new().await?;
    world.files(by_housing().build()?).await?;
    let roster = roster(&world)?;
    until("the end is witnessed", async || {
        let outside = Outside { roster: Some(&roster), witnessed: &held(&world, "telecom")?, cosigned_by: 1 };
        let report = verify_outside(&world.export("bank")?, &outside, false);
        assert!(report.passed(), "{}", report.text());
        Ok(report.is_witnessed() && report.text().contains("cosigned by"))
    })
    .await?;
    let held = held(&world, "telecom")?;
    for text in written_anew(&world, "bank")? {
        for roster in [None, Some(&roster)] {
            let report = verify_outside(&text, &Outside { roster, ..Outside::default() }, false);
            assert!(report.passed() && !report.is_witnessed(), "{}", report.text());
            let report = verify_outside(&text, &Outside { roster, witnessed: &held, cosigned_by: 0 }, false);
            assert!(!report.passed() && report.text().contains("telecom holds a checkpoint"), "{}", report.text());
        }
    }
    Ok(())
}

/// Another verifier, in another language, over the same files: it takes what is good, and refuses each changed one.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs python3 with cryptography and dp-accounting; .ci/run installs them"]
async fn in_python() -> Result<(), Error> {
    let world = World::new().await?;
    let result = world.files(by_housing().build()?).await?;
    world.files(by_housing().build()?).await?;
    let folder = tempfile::tempdir()?;
    let roster = world.alliance().join("roster.json");
    {
        let mut ledger = world.open_ledger("bank")?;
        let act = |officer| Act { officer, reason: "a \"test\", é", now: "2026-01-01T00:00:00Z" };
        ledger.note(2, act("ann"))?;
        ledger.hold(&Subject::Dataset("clients".into()), true, act("ann"))?;
        ledger.hold(&Subject::Dataset("clients".into()), false, act("bob"))?;
        let cap = ledger.cap("clients").ok_or("a cap")?;
        ledger.set_cap("clients", cap.times(2), act("ann"))?;
        ledger.set_cap("clients", cap.times(2), act("bob"))?;
        let absence = |partner: &str| Absence { partner: partner.into(), until: "2999-01-01".into() };
        ledger.away(&absence("telecom"), false, act("ann"))?;
        ledger.away(&absence("telecom"), false, act("bob"))?;
        ledger.away(&absence("retailer"), true, act("eve"))?;
        ledger.back("retailer", false, act("bob"))?;
        ledger.note(2, act("ann"))?;
    }
    let known: Roster = serde_json::from_slice(&std::fs::read(&roster)?)?;
    until("the end is witnessed", async || {
        let outside = Outside { roster: Some(&known), witnessed: &held(&world, "telecom")?, cosigned_by: 1 };
        Ok(verify_outside(&world.export("bank")?, &outside, false).is_witnessed())
    })
    .await?;
    let ledger = world.export("bank")?;
    let receipt = String::from_utf8(result["receipt.json"].clone())?;
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (name, text) in [("ledger.jsonl", &ledger), ("receipt.json", &receipt)] {
        good.push(folder.path().join(name));
        std::fs::write(&good[good.len() - 1], text)?;
        for at in (0..text.len()).step_by(23) {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let path = folder.path().join(format!("{at}-{name}"));
            let ours = String::from_utf8(changed.clone()).is_ok_and(|text| match name {
                "ledger.jsonl" => verify_export(&text, None).passed(),
                _ => verify_receipt(&text, None).0.passed(),
            });
            assert!(!ours, "{name}, byte {at}");
            std::fs::write(&path, changed)?;
            bad.push(path);
        }
    }
    let cases: Vec<String> = [
        (100, 1e-6),
        (24_355, 1e-6),
        (100_000, 1e-6),
        (1_000_000, 1e-6),
        (50_000, 1e-9),
        (400_000, 8.7e-5),
        (5_000_000, 1e-5),
    ]
    .map(|(micro, delta)| format!("{micro},{delta},{}", Rho::from_micro(micro).epsilon(delta)))
    .into();
    std::fs::write(folder.path().join("cases.csv"), cases.join("\n") + "\n")?;
    let python = |script: &str, arguments: &[&Path]| -> Result<(bool, String), Error> {
        let program = std::env::var("ENTENTE_PYTHON").unwrap_or_else(|_| "python3".into());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/verify").join(script);
        let output = Command::new(program).arg(script).args(arguments).output()?;
        Ok((
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        ))
    };
    let (passed, said) = python("verify.py", &[Path::new("--roster"), &roster, &good[0], &good[1]])?;
    assert!(passed, "{said}");
    // Written anew with the node's own key: what witnesses hold tells, and without it nobody vouches for it.
    let held = held(&world, "telecom")?;
    let file = folder.path().join("telecom.checkpoints");
    std::fs::write(&file, write_witnessed(held.clone()))?;
    let plain = ["--roster".as_ref(), &*roster];
    let with = [&plain[..], &["--witnessed".as_ref(), &*file]].concat();
    let one = [&with[..], &["--cosigned-by".as_ref(), Path::new("1")]].concat();
    let three = [&with[..], &["--cosigned-by".as_ref(), Path::new("3")]].concat();
    let alone: &[&Path] = &["--alone".as_ref()];
    let mut texts = vec![(ledger.clone(), ["ok", "ok", "ok", "not", "not"])];
    for anew in written_anew(&world, "bank")? {
        texts.push((anew, ["not", "FAILED", "FAILED", "FAILED", "not"]));
    }
    for (number, (text, expected)) in texts.iter().enumerate() {
        let path = folder.path().join(format!("anew-{number}.jsonl"));
        std::fs::write(&path, text)?;
        for (expected, arguments) in expected.iter().zip([&plain[..], &with, &one, &three, alone]) {
            let (passed, said) = python("verify.py", &[arguments, &[&*path]].concat())?;
            assert!(said.starts_with(&format!("{expected} ")), "{number}, {arguments:?}: {said}");
            assert_eq!(passed, *expected == "ok" || arguments == alone, "{number}, {arguments:?}: {said}");
            let outside = Outside {
                roster: (arguments != alone).then_some(&known),
                witnessed: if arguments.len() > 2 { &held } else { &[] },
                cosigned_by: arguments.get(5).map_or(Ok(0), |count| count.display().to_string().parse())?,
            };
            let report = verify_outside(text, &outside, false);
            let ours = if !report.passed() {
                "FAILED"
            } else if report.is_witnessed() {
                "ok"
            } else {
                "not"
            };
            assert_eq!(ours, *expected, "{number}, {arguments:?}: {}", report.text());
        }
    }
    // Under another key, begun anew: nobody who holds nothing else may be content with it.
    let theirs = Signer { key: IdentityKey::from_secret(&[9; 32]), ..world.folder("bank").signer("bank")? };
    let path = folder.path().join("another-key.jsonl");
    std::fs::write(&path, export("bank", &theirs, &Memory::default())?)?;
    let found = "holds a checkpoint of";
    let (passed, said) = python("verify.py", &[alone, &with[2..], &[&*path]].concat())?;
    assert!(!passed && said.starts_with("FAILED") && said.contains(found), "{said}");
    let outside = Outside { witnessed: &held, ..Outside::default() };
    let report = verify_outside(&std::fs::read_to_string(&path)?, &outside, false);
    assert!(!report.passed() && report.text().contains(found), "{}", report.text());
    let (passed, said) = python("verify.py", &bad.iter().map(|path| &**path).collect::<Vec<_>>())?;
    assert!(!passed && said.matches("FAILED  ").count() == bad.len(), "{said}");
    let (agree, said) = python("accounting.py", &[&folder.path().join("cases.csv")])?;
    assert!(agree, "{said}");
    Ok(())
}
