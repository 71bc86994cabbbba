//! The commands about audiences, as people call them.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the program is run as people run it")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array};
use entente_node::data::audience::{Naming, Scores};
use entente_node::data::{Dataset, Engine, Options, UnitKey};
use entente_node::state::Folder;

const CONFIG: &str = r#"
[node]
name = "telecom"
coordinator = "127.0.0.1:1"
[[dataset]]
name = "people"
source = "people.ndjson"
privacy_unit = "person"
[budget]
epsilon = 1.0
delta = 1e-6
[policy]
min_audience = 5
"#;

fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entente-node"));
    let Output { status, stdout, stderr } =
        command.current_dir(folder).arg("audience").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A node with the audience of a study: 50 customers in 10 buckets.
async fn node(folder: &Path) {
    let node = Folder::new(folder);
    node.create().unwrap();
    fs::write(node.key("identity.key"), "07".repeat(32)).unwrap();
    fs::write(node.key("tls.crt"), "").unwrap();
    fs::write(node.config(), CONFIG).unwrap();
    let rows: String = (0..50).map(|person| format!("{{\"person\": {person}}}\n")).collect();
    fs::write(folder.join("people.ndjson"), rows).unwrap();
    let key = UnitKey::new(node.local_secret("privacy units").unwrap().0);
    let names: ArrayRef = Arc::new(Int64Array::from_iter_values(0..50));
    let buckets = key.units(&names).into_iter().flatten().zip((0..50).map(|person| person % 10)).collect();
    let config = entente_node::load(&node).unwrap();
    let dataset = Dataset::open(config.datasets["people"].schema.clone(), "people.ndjson", folder, None).unwrap();
    let naming =
        Naming { folder: node.audiences(), study: "s-1".parse().unwrap(), created: "2026-01-01T00:00:00Z".into() };
    let engine = Engine::new(Options::new(node.state("spill"), key));
    assert_eq!(engine.name_audience(&dataset, Scores::of_buckets(buckets).unwrap(), &naming).await.unwrap(), 50);
}

#[tokio::test]
async fn audiences_are_listed_exported_and_verified() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    assert!(run(folder, &["list"]).2.contains("no node has joined"));
    node(folder).await;
    assert!(run(folder, &["list"]).1.contains("s-1"));
    assert!(run(folder, &["list", "--json"]).1.contains("\"customers\": 50"));

    let (code, out, error) = run(folder, &["export", "s-1", "--bucket", "9,8,9"]);
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("wrote 10 customers to s-1.csv and s-1.csv.manifest.json"), "{out}");
    let csv = fs::read_to_string(folder.join("s-1.csv")).unwrap();
    assert!(
        csv.starts_with("person,bucket,percentile\n")
            && csv.lines().filter(|line| line.ends_with(",9,100")).count() == 5
    );
    let (code, out, _) = run(folder, &["verify", "s-1.csv.manifest.json"]);
    assert!(code == 0 && out.contains("10 customers of study s-1 (bucket 8,9)"), "{out}");
    let (code, out, _) = run(folder, &["export", "s-1", "--top", "10", "--out", "a.parquet", "--json"]);
    assert!(code == 0 && out.contains("\"selection\": \"top 10\""), "{out}");

    // The key has to be known from elsewhere than the manifest.
    let manifest = folder.join("s-1.csv.manifest.json");
    let elsewhere = tempfile::tempdir().unwrap();
    let (code, _, error) = run(elsewhere.path(), &["verify", manifest.to_str().unwrap()]);
    assert!(code == 1 && error.contains("--identity"), "{error}");
    let identity = Folder::new(folder).identity().unwrap().public().to_string();
    let verify =
        |identity: &str| run(elsewhere.path(), &["verify", manifest.to_str().unwrap(), "--identity", identity]);
    assert_eq!((verify(&identity).0, verify(&"0".repeat(64)).0, verify("0").0), (0, 2, 1));

    // A byte of the file, or of the manifest.
    for file in ["s-1.csv", "s-1.csv.manifest.json"] {
        let good = fs::read(folder.join(file)).unwrap();
        let mut bytes = good.clone();
        let place = bytes.len() / 2;
        bytes[place] ^= 1;
        fs::write(folder.join(file), bytes).unwrap();
        let (code, out, _) = run(folder, &["verify", "s-1.csv.manifest.json"]);
        assert!(code == 2 && out.contains("FAILED"), "{file}: {out}");
        fs::write(folder.join(file), good).unwrap();
    }
    fs::remove_file(folder.join("s-1.csv")).unwrap();
    assert_eq!(run(folder, &["verify", "s-1.csv.manifest.json"]).0, 2);
}

#[tokio::test]
async fn mistakes_and_refusals_end_with_1() {
    let place = tempfile::tempdir().unwrap();
    node(place.path()).await;
    for (arguments, expected) in [
        (&["export", "../x", "--top", "5"][..], "cannot be a study's identifier"),
        (&["export", "s-2", "--top", "5"], "there is no audience of study `s-2`"),
        (&["export", "s-1"], "--top"),
        (&["export", "s-1", "--top", "5", "--bucket", "1"], "cannot be used with"),
        (&["export", "s-1", "--top", "0%"], "such as 5%"),
        (&["export", "s-1", "--bucket", "16"], "0..=15"),
        (&["export", "s-1", "--min-score", "-0.5"], "has buckets, not scores"),
        (&["export", "s-1", "--top", "4"], "4 customers would be exported, fewer than `min_audience` = 5"),
        (&["export", "s-1", "--top", "5", "--out", "a.xls"], "neither .csv nor .parquet"),
        (&["verify", "nothing.json"], "could not read"),
    ] {
        let (code, _, error) = run(place.path(), arguments);
        assert!(code == 1 && error.contains(expected), "{arguments:?}: {error}");
    }
    assert!(!place.path().join("s-1.csv").exists());
    let (code, help, _) = run(place.path(), &["export", "--help"]);
    assert!(code == 0 && help.contains("Example:"));
}
