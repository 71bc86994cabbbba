//! The commands as people type them: separate processes in separate folders, killed without warning.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use entente_examples::alliance::{DATASETS, free_port};
use entente_examples::tables;
use entente_node::state::Folder;
use entente_protocols::ledger::store::Memory;
use entente_protocols::ledger::verify::export;
use entente_testing::{Error, PARTNERS};
use serde_json::Value;

/// A binary of this workspace: it lies beside the folder of this test, and is built if it may be older than what is tested.
pub(super) fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let profile = test.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
    let path = profile.join(name);
    let made = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        if made(&path) < made(&test) {
            // With the features of what is built with this test, so that little is built twice.
            let features = ["--features", "entente-protocols/testing"];
            let bins = ["build", "--bins", "-p", "entente", "-p", "entente-node"];
            let built = Command::new(env!("CARGO")).args(bins).args(features).status();
            assert!(built.is_ok_and(|status| status.success()), "{} can be built", path.display());
        }
    });
    path
}

/// A process that is killed when dropped.
pub(super) struct Running(pub(super) Child);

impl Running {
    /// Whether it has not ended.
    #[cfg(target_os = "linux")]
    pub(super) fn is_alive(&mut self) -> Result<bool, Error> {
        Ok(self.0.try_wait()?.is_none())
    }

    /// The memory that it had at its peak.
    #[cfg(target_os = "linux")]
    pub(super) fn peak_mib(&self) -> Result<u64, Error> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("this system does not tell")?;
        Ok(peak.trim().trim_end_matches(" kB").parse::<u64>()? >> 10)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a command that runs on, logging all there is to `DIR.log`, and waits for a line of its output that begins with `ready`.
fn start(program: &str, dir: &Path, ready: &str) -> Result<Running, Error> {
    let log = File::options().create(true).append(true).open(dir.with_extension("log"))?;
    let mut child = Command::new(binary(program))
        .args(["serve", "--log", "trace", "--log-format", "json", "--dir"])
        .arg(dir)
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()?;
    let out = child.stdout.take().ok_or("stdout is a pipe")?;
    let running = Running(child);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let line = receiver.recv_timeout(Duration::from_secs(20)).map_err(|_| format!("{program} prints nothing"))?;
    assert!(line.starts_with(ready), "{line}");
    Ok(running)
}

fn run(program: &str, arguments: &[&str]) -> Result<Output, Error> {
    Ok(Command::new(binary(program)).args(arguments).output()?)
}

/// Runs a command that must succeed; its output.
pub(super) fn good(program: &str, arguments: &[&str]) -> Result<String, Error> {
    let output = run(program, arguments)?;
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {message}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs a command that must be refused, with exit code 1 and nothing on stdout; its message.
fn refused(program: &str, arguments: &[&str], expected: &str) -> Result<(), Error> {
    let output = run(program, arguments)?;
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{program} {arguments:?}: {message}");
    assert!(message.contains(expected), "{program} {arguments:?}: `{expected}` is not in: {message}");
    assert!(output.stdout.is_empty());
    Ok(())
}

pub(super) struct Place {
    pub(super) folder: tempfile::TempDir,
}

impl Place {
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn entente(&self, arguments: &[&str]) -> Result<String, Error> {
        good("entente", &[arguments, &["--dir", &self.path("alliance")]].concat())
    }

    fn node(&self, partner: &str, arguments: &[&str]) -> Result<String, Error> {
        good("entente-node", &[arguments, &["--dir", &self.path(partner)]].concat())
    }

    /// An alliance of three, as the README makes it, with the coordinator serving.
    pub(super) fn new() -> Result<(Self, Running, u16), Error> {
        let place = Self { folder: tempfile::tempdir()? };
        let port = free_port()?;
        place.entente(&["init", "--name", "spring", "--listen", &format!("127.0.0.1:{port}")])?;
        for partner in PARTNERS {
            place.entente(&["invite", partner, "--out", &place.path(&format!("{partner}.ticket"))])?;
        }
        let coordinator =
            start("entente", &place.folder.path().join("alliance"), &format!("listening on 127.0.0.1:{port}"))?;
        for (number, partner) in (0..).zip(PARTNERS) {
            place.node(partner, &["join", &place.path(&format!("{partner}.ticket"))])?;
            let dir = place.folder.path().join(partner);
            tables::write(&dir, number, 3)?;
            let config = dir.join("node.toml");
            std::fs::write(&config, std::fs::read_to_string(&config)? + DATASETS)?;
            place.node(partner, &["check"])?;
        }
        Ok((place, coordinator, port))
    }

    /// What everybody compares, as the last to join sees it, confirmed at all nodes.
    fn confirm(&self) -> Result<(), Error> {
        let fingerprints = |partner: &str| -> Result<Value, Error> {
            Ok(serde_json::from_str(&self.node(partner, &["roster", "--json"])?)?)
        };
        let last = fingerprints(PARTNERS[PARTNERS.len() - 1])?;
        let fingerprint = last["offered"].as_str().ok_or("one is offered")?;
        for partner in PARTNERS {
            let until = Instant::now() + Duration::from_secs(20);
            while fingerprints(partner)?["offered"] != fingerprint && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(50));
            }
            self.node(partner, &["roster", "--accept", fingerprint])?;
        }
        Ok(())
    }

    pub(super) fn serve(&self, partner: &str) -> Result<Running, Error> {
        start("entente-node", &self.folder.path().join(partner), "connected to 127.0.0.1:")
    }
}

const STUDY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/studies/campaign-by-job.toml");

/// The whole way by hand, with every node killed while the study waits for the stewards.
#[test]
fn a_study_by_hand_survives_kills() -> Result<(), Error> {
    let (place, coordinator, _) = Place::new()?;
    let mut nodes: Vec<Running> = PARTNERS.iter().map(|partner| place.serve(partner)).collect::<Result<_, _>>()?;
    refused("entente-node", &["serve", "--dir", &place.path("bank")], "already")?;
    // Nobody has confirmed the roster yet: all who could tell say so.
    let check: Value = serde_json::from_str(&place.entente(&["study", "check", STUDY, "--json"])?)?;
    assert_eq!(check["partners"][0]["approval"], "unconfirmed", "{check}");
    for command in ["check", "studies"] {
        let said = place.node("bank", &[command])?;
        assert!(said.contains("not confirmed") && said.contains("roster --accept"), "{said}");
    }
    let fingerprints: Value = serde_json::from_str(&place.node("bank", &["roster", "--json"])?)?;
    assert!(fingerprints["pinned"].is_null() && fingerprints["offered"].is_string(), "{fingerprints}");
    let bank = place.path("bank");
    refused("entente-node", &["roster", "--accept", "--dir", &bank], "--accept FINGERPRINT")?;
    refused("entente-node", &["roster", "--accept", &"0".repeat(64), "--dir", &bank], "nothing was accepted")?;
    refused("entente-node", &["roster", "--drop", "telecom", "--dir", &bank], "no roster is confirmed")?;

    let unseen = run("entente-node", &["ledger", "verify", "--dir", &bank])?;
    assert_eq!(unseen.status.code(), Some(1), "nothing outside of it supports it");
    place.node("bank", &["ledger", "verify", "--alone"])?;

    let (alliance, results) = (place.path("alliance"), place.path("results"));
    let arguments = ["study", "run", STUDY, "--dir", &alliance, "--out", &results, "--json"];
    let study =
        Command::new(binary("entente")).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let until = Instant::now() + Duration::from_secs(20);
    while !place.entente(&["study", "list", "--json"])?.contains("not confirmed at bank") {
        assert!(Instant::now() < until, "the operator is told what is waited for");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(place.node("bank", &["studies", "--json"])?.trim(), "[]", "nothing is kept of it");
    // Beside the running nodes, which look at it again.
    place.confirm()?;
    let check: Value = serde_json::from_str(&place.entente(&["study", "check", STUDY, "--json"])?)?;
    assert!(check.to_string().contains("steward"), "{check}");
    let waiting = |partner: &str| -> Result<String, Error> {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            let studies: Value = serde_json::from_str(&place.node(partner, &["studies", "--json"])?)?;
            if let Some(id) = studies[0]["id"].as_str().filter(|_| studies[0]["stage"] == "waiting") {
                return Ok(id.to_owned());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!("no study waits at {partner}").into())
    };
    let id = waiting("bank")?;
    waiting("telecom")?;
    waiting("retailer")?;
    // `kill` is SIGKILL.
    for (node, partner) in nodes.iter_mut().zip(PARTNERS) {
        node.0.kill()?;
        node.0.wait()?;
        *node = place.serve(partner)?;
    }
    for partner in PARTNERS {
        place.node(partner, &["approve", &id, "--steward", "ann"])?;
    }
    let output = study.wait_with_output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed: Value = serde_json::from_slice(&output.stdout)?;
    let written: Value = serde_json::from_slice(&std::fs::read(Path::new(&results).join("result.json"))?)?;
    assert_eq!(printed, written);
    assert_eq!(written["rows"].as_array().map(Vec::len), Some(12));
    assert!(Path::new(&results).join("report.html").exists());
    // Another study does not take its place, and is not even submitted; its own is written again.
    let receipt = std::fs::read(Path::new(&results).join("receipt.json"))?;
    let other = Path::new(STUDY).with_file_name("churn-model.toml").display().to_string();
    let arguments = ["study", "run", &other, "--dir", &alliance, "--out", &results];
    refused("entente", &arguments, "has the result of another study, `campaign-by-job`")?;
    assert_eq!(std::fs::read(Path::new(&results).join("receipt.json"))?, receipt);
    let listed: Value = serde_json::from_str(&place.entente(&["study", "list", "--json"])?)?;
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    place.entente(&["study", "show", &id, "--out", &results])?;

    for partner in PARTNERS {
        let states: Vec<Value> = place
            .node(partner, &["ledger", "show", "--json"])?
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).map(|entry| entry["state"].clone()))
            .collect::<Result<_, _>>()?;
        assert_eq!(states, ["RULES", "CAP", "RESERVED", "COMPUTED", "RELEASED"], "{partner}");
        let exported = place.path(&format!("{partner}.jsonl"));
        let roster = place.path("alliance/roster.json");
        // The end's cosignatures may still be on their way.
        let began = Instant::now();
        loop {
            place.node(partner, &["ledger", "export", "--out", &exported])?;
            let verified = run("entente", &["verify", &exported, "--roster", &roster])?;
            if verified.status.success() {
                break;
            }
            let said = String::from_utf8_lossy(&verified.stdout);
            assert!(said.contains("not witnessed") && began.elapsed() < Duration::from_secs(20), "{said}");
            std::thread::sleep(Duration::from_millis(100));
        }
        place.node(partner, &["ledger", "verify"])?;
        good("entente", &["verify", &exported, "--alone"])?;
        let alone = run("entente", &["verify", &exported])?;
        assert_eq!(alone.status.code(), Some(1), "nobody but the node says so");
        assert!(String::from_utf8_lossy(&alone.stdout).contains("not witnessed  witnesses: nothing outside"));
        let budget: Value = serde_json::from_str(&place.node(partner, &["budget", "--json"])?)?;
        assert_eq!(budget[0]["spent"]["rho_micro"], written["privacy"]["rho_micro"]);
    }
    // The check knows the cap that holds, and what `serve` would refuse.
    let config = place.folder.path().join("bank/node.toml");
    let text = std::fs::read_to_string(&config)?;
    std::fs::write(&config, text.replacen("epsilon = 10.0", "epsilon = 12.0", 1))?;
    let check = run("entente-node", &["check", "--dir", &bank, "--json"])?;
    let lines: Value = serde_json::from_slice(&check.stdout)?;
    assert_eq!(check.status.code(), Some(1));
    assert!(lines[0]["finding"].as_str().ok_or("a finding")?.starts_with("node.toml raises the cap"), "{lines}");
    std::fs::write(&config, text)?;
    let lines: Value = serde_json::from_str(&place.node("bank", &["check", "--json"])?)?;
    assert_eq!(lines[0]["verdict"], "ok", "{lines}");
    // Going on without a witness: the steward decides, as node.toml names no officers, and the log says so.
    let bank = place.path("bank");
    let away = ["witness", "away", "telecom", "--until", "2999-01-01", "--reason", "a test", "--dir", &bank];
    good("entente-node", &away)?;
    refused("entente-node", &away, "already")?;
    refused("entente-node", &[&["witness", "away", "retailer"][..], &away[3..]].concat(), "last witness")?;
    refused("entente-node", &[&["witness", "away", "bank"][..], &away[3..]].concat(), "its witnesses are: retailer")?;
    let shown = place.node("bank", &["ledger", "show"])?;
    assert!(shown.contains("WITNESS telecom AWAY until 2999-01-01"), "{shown}");
    place.node("bank", &["witness", "back", "telecom", "--reason", "a test"])?;
    // An export that was changed is found by anybody.
    let changed = place.path("changed.jsonl");
    std::fs::write(
        &changed,
        std::fs::read_to_string(place.path("bank.jsonl"))?.replacen("steward ann", "steward bob", 1),
    )?;
    assert_ne!(run("entente", &["verify", &changed])?.status.code(), Some(0));
    // So is one that its keeper has written anew, by who asks its witnesses.
    let (held, by_coordinator, anew) =
        (place.path("telecom.checkpoints"), place.path("coordinator.checkpoints"), place.path("anew.jsonl"));
    place.node("telecom", &["witnessed", "--out", &held])?;
    good("entente", &["partners", "--dir", &place.path("alliance"), "--checkpoints", &by_coordinator])?;
    let (bank, roster) = (place.path("bank.jsonl"), place.path("alliance/roster.json"));
    good("entente", &["verify", &bank, "--roster", &roster, "--witnessed", &held, "--cosigned-by", "1"])?;
    std::fs::write(
        &anew,
        export("bank", &Folder::new(Path::new(&place.path("bank"))).signer("bank")?, &Memory::default())?,
    )?;
    good("entente", &["verify", &anew, "--roster", &roster, "--alone"])?;
    for file in [&held, &by_coordinator] {
        let found = run("entente", &["verify", &anew, "--witnessed", file, "--alone"])?;
        let said = String::from_utf8_lossy(&found.stdout);
        assert!(found.status.code() == Some(1) && said.contains("FAILED  witnesses: "), "{said}");
    }
    drop(coordinator);
    Ok(())
}

/// What is secret at a partner: its customers, some of their records, its keys.
fn secrets(dir: &Path) -> Result<Vec<Vec<u8>>, Error> {
    let mut secrets = Vec::new();
    let text = std::fs::read_to_string(dir.join("data/subscribers.csv"))?;
    for line in text.lines().skip(1).step_by(100) {
        // The customer, and what is known of it.
        let (name, record) = line.split_once(',').ok_or("columns")?;
        secrets.extend([name.as_bytes().to_vec(), record.as_bytes().to_vec()]);
    }
    let identity = std::fs::read_to_string(dir.join("keys/identity.key"))?;
    let bytes: Vec<u8> =
        (0..32).map(|at| u8::from_str_radix(&identity[2 * at..2 * at + 2], 16)).collect::<Result<_, _>>()?;
    let tls = std::fs::read_to_string(dir.join("keys/tls.key"))?;
    let tls = tls.lines().nth(1).ok_or("a key in PEM")?.as_bytes().to_vec();
    secrets.extend([identity.trim().as_bytes().to_vec(), bytes, tls]);
    Ok(secrets)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(bytes, wanted).is_some()
}

/// All files in a folder.
fn all(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            all(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// A training and a lookalike study, logged as much as there is to log: no partner's customers, records or keys are in any log,
/// or in any file that is not in its own folder.
#[test]
fn nothing_secret_is_in_a_log_or_at_anybody_else() -> Result<(), Error> {
    let (place, coordinator, _) = Place::new()?;
    for partner in PARTNERS {
        let config = place.folder.path().join(partner).join("node.toml");
        let text = std::fs::read_to_string(&config)?;
        std::fs::write(&config, text.replacen("approve = \"manual\"", "approve = \"auto\"", 1))?;
    }
    let nodes: Vec<Running> = PARTNERS.iter().map(|partner| place.serve(partner)).collect::<Result<_, _>>()?;
    place.confirm()?;
    let studies = Path::new(STUDY).parent().ok_or("a folder")?;
    let train = std::fs::read_to_string(studies.join("churn-model.toml"))?;
    std::fs::write(place.path("train.toml"), train)?;
    let results = place.path("churn");
    place.entente(&["study", "run", &place.path("train.toml"), "--out", &results])?;
    let text = std::fs::read_to_string(studies.join("like-leavers.toml"))?;
    let model = text.lines().find(|line| line.starts_with("model = ")).ok_or("a model")?;
    let text = text.replacen(model, &format!("model = \"{results}/model.json\""), 1);
    std::fs::write(place.path("like.toml"), text)?;
    place.entente(&["study", "run", &place.path("like.toml"), "--out", &place.path("like")])?;
    let audience = place.folder.path().join("telecom/state/audience");
    assert_eq!(std::fs::read_dir(audience)?.count(), 1, "candidates were scored");
    for process in nodes.iter().chain([&coordinator]) {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.0.id()))?;
        let core: Vec<&str> =
            limits.lines().find(|line| line.starts_with("Max core")).ok_or("a limit")?.split_whitespace().collect();
        assert_eq!(core[4..6], ["0", "0"], "a crash writes no memory to the disk");
    }
    drop(nodes);
    drop(coordinator);

    let mut files = Vec::new();
    all(place.folder.path(), &mut files)?;
    let logs = files.iter().filter(|path| path.extension().is_some_and(|kind| kind == "log")).count();
    assert_eq!(logs, 4, "{files:?}");
    for partner in PARTNERS {
        let own = place.folder.path().join(partner);
        let secrets = secrets(&own)?;
        let found = |bytes: &[u8]| secrets.iter().any(|secret| contains(bytes, secret));
        for path in files.iter().filter(|path| !path.starts_with(&own)) {
            let bytes = std::fs::read(path)?;
            assert!(!found(&bytes), "of {partner} in {}", path.display());
        }
        // The search finds what is there.
        assert!(found(&std::fs::read(own.join("data/subscribers.csv"))?));
    }
    Ok(())
}

#[test]
fn mistakes_end_with_code_1_and_what_to_do() -> Result<(), Error> {
    let (place, coordinator, port) = Place::new()?;
    let dir = place.path("alliance");
    refused("entente", &["init", "--dir", &dir, "--name", "spring"], "already")?;
    refused("entente", &["serve", "--dir", &dir], "already running")?;
    refused("entente-node", &["join", &place.path("bank.ticket"), "--dir", &place.path("bank")], "already")?;
    refused("entente-node", &["join", &place.path("bank.ticket"), "--dir", &place.path("again")], "used")?;
    refused("entente-node", &["join", "entente-ticket-1.nonsense", "--dir", &place.path("new")], "not a ticket")?;
    refused("entente-node", &["serve", "--dir", &place.path("nobody")], "no node has joined")?;
    refused("entente-node", &["approve", "nothing", "--dir", &place.path("bank")], "no study `nothing`")?;
    refused("entente-node", &["budget", "--nonsense"], "--nonsense")?;
    refused(
        "entente",
        &["study", "run", &place.path("missing.toml"), "--dir", &dir, "--out", &place.path("r")],
        "missing.toml",
    )?;
    // A column that is not in the file, and NULLs in the privacy unit: the node's own check finds them.
    let table = place.folder.path().join("bank/data/clients.csv");
    let text = std::fs::read_to_string(&table)?;
    std::fs::write(&table, text.replacen("balance", "balanse", 1))?;
    let check = run("entente-node", &["check", "--dir", &place.path("bank")])?;
    let found = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.code() == Some(1) && found.contains("balance"), "{found}");
    std::fs::write(
        &table,
        text.clone() + ",40,services,single,primary,no,1,yes,no,unknown,5,may,1,1,-1,0,unknown,no\n",
    )?;
    let check = run("entente-node", &["check", "--dir", &place.path("bank")])?;
    let found = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.code() == Some(1) && found.contains("ERROR"), "{found}");
    // Another process has the port.
    drop(coordinator);
    refused("entente", &["partners", "--dir", &dir], "not running")?;
    let _taken = std::net::UdpSocket::bind(("127.0.0.1", port))?;
    refused("entente", &["serve", "--dir", &dir], &port.to_string())?;
    Ok(())
}
