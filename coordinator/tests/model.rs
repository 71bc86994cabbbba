//! `entente model` as a process: what goes where, and exit codes.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the program is run as people run it")]

use std::path::Path;
use std::process::{Command, Output};

fn entente(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_entente")).current_dir(folder).args(arguments).output().unwrap()
}

const MODEL: &str = r#"{
  "format": "entente-model", "version": 1,
  "study": {"id": "s-1", "name": "spend", "purpose": "test",
    "plan_sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
  "participants": ["bank", "retailer"],
  "privacy": {"scope": "customer", "epsilon": 1.0, "delta": 1e-6, "rho": "20000",
    "rho_person": "80000", "colluders": 1},
  "metrics": {"r2": {"value": 0.41, "low": 0.38, "high": 0.44}},
  "transcript_sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  "model": {
    "recipe": [{"name": "member", "values": {"type": "bool"}}],
    "target": {"name": "spend", "values": {"type": "number", "low": 0.0, "high": 100.0}},
    "recoding": null,
    "parameters": {"kind": "weights", "weights": [0.0, -0.5, 0.5, 0.0]}
  }
}"#;

#[test]
fn tables_are_scored_and_models_shown() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("model.json"), MODEL).unwrap();
    std::fs::write(folder.join("t.csv"), "id,member\na,yes\nb,no\nc,\n").unwrap();

    let to_stdout = entente(folder, &["model", "predict", "model.json", "t.csv"]);
    assert_eq!(to_stdout.status.code(), Some(0));
    assert_eq!(String::from_utf8(to_stdout.stdout).unwrap(), "id,score\na,75.0\nb,25.0\nc,50.0\n");
    assert_eq!(String::from_utf8(to_stdout.stderr).unwrap(), "scored 3 rows\n");

    let to_file = entente(folder, &["model", "predict", "model.json", "t.csv", "--out", "s.csv"]);
    assert_eq!((to_file.status.code(), to_file.stdout.len()), (Some(0), 0));
    assert!(std::fs::read_to_string(folder.join("s.csv")).unwrap().ends_with("\nc,50.0\n"));

    let other = entente(folder, &["model", "predict", "model.json", "t.csv", "--out", "s.xlsx"]);
    assert!(String::from_utf8(other.stderr).unwrap().contains("s.xlsx is neither .csv nor .parquet"));
    assert!(other.status.code() == Some(1) && !folder.join("s.xlsx").exists());

    let shown = entente(folder, &["model", "show", "model.json"]);
    let text = String::from_utf8(shown.stdout).unwrap();
    for expected in
        ["linear model of study spend", "number, 0 to 100", "member", "true or false", "r2", "0.410 [0.380, 0.440]"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let json = entente(folder, &["model", "show", "model.json", "--json"]);
    assert!(String::from_utf8(json.stdout).unwrap().contains("\"entente-model\""));

    std::fs::write(folder.join("u.csv"), "id,membr\na,yes\n").unwrap();
    let refused = entente(folder, &["model", "predict", "model.json", "u.csv"]);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("did you mean its column `membr`?"));
    let help = entente(folder, &["model", "predict", "--help"]);
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().contains("Example"));
}
