//! What a disk, a crash and a clock can do to a charge: a process that takes part in a study is stopped, or its disk fails, at every
//! event of its ledger's files; then another one goes on from what is left.
//!
//! Whatever happens: what has left was charged durably, within the cap, and one request is answered by one string of bytes.
//!
//! The process is this test binary, which drives real participants over their real folders; the faults are those of `faults.c`,
//! which is compiled and loaded in front of the C library.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use entente_examples::alliance::Folders;
use entente_node::store::LedgerStore;
use entente_protocols::digest::Digest;
use entente_protocols::ledger::entry::State;
use entente_protocols::ledger::{Budgets, Ledger, Outbound};
use entente_protocols::privacy::rho::Rho;
use entente_protocols::wire::message::{FromNode, ToNode};
use entente_testing::{Error, Puppets, World, last_study, ledger};

use super::hostile::{SQL, proposal};

/// Where the process that is to fail finds its alliance.
const FOLDER: &str = "FAULT_FOLDER";
const RESULT: Digest = Digest([7; 32]);

fn go(puppets: &Puppets) -> Result<ToNode, Error> {
    let proposal = proposal("faulty", SQL)?;
    let signatures = puppets.signatures(&proposal);
    Ok(proposal.go(&signatures))
}

/// The process: the bank computes its vector and sends it, then learns of the result. What leaves is printed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of the others"]
async fn process() -> Result<(), Error> {
    let folder = PathBuf::from(std::env::var(FOLDER)?);
    let puppets = Puppets::over(World::over(&folder))?;
    let mut has_left = None;
    for frame in puppets.tell("bank", go(&puppets)?) {
        match frame.decode_contribution() {
            Ok(sent) => {
                has_left = Some(sent.transcript);
                let bytes = sent.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
                println!("sent {} {}", sent.transcript, Digest::plain(&bytes));
            }
            Err(_) => match frame.decode()? {
                FromNode::Attempt(_, said) => println!("instead {said:?}"),
                other => println!("instead {other:?}"),
            },
        }
    }
    // A coordinator to which it failed has no result.
    if let Some(transcript) = has_left {
        puppets.tell("bank", puppets.end("clients", &proposal("faulty", SQL)?, transcript, RESULT)?);
    }
    Ok(())
}

/// An alliance whose nodes have signed the study's transcript, to be copied; and the library of faults.
struct Bench {
    folder: tempfile::TempDir,
    library: PathBuf,
}

/// What a process has printed.
#[derive(Debug, Default)]
struct Printed {
    sent: Vec<String>,
    instead: Vec<String>,
    ended: bool,
}

impl Printed {
    fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = |kind: &str| {
            text.lines().filter_map(|line| line.split_once(kind)).map(|(_, rest)| rest.to_owned()).collect()
        };
        Self { sent: lines("sent "), instead: lines("instead "), ended: output.status.success() }
    }
}

impl Bench {
    async fn new() -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        let library = folder.path().join("faults.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("alliance/faults.c");
        let built =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").status();
        assert!(built?.success(), "faults.c needs the C compiler that the project needs");
        let puppets = Puppets::new().await?;
        go(&puppets)?;
        let root = puppets.world.folders().coordinator().parent().map(Path::to_path_buf).ok_or("a folder")?;
        copy(&root, &folder.path().join("ready"))?;
        Ok(Self { folder, library })
    }

    fn start(&self) -> Result<PathBuf, Error> {
        let folder = self.folder.path().join("run");
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        copy(&self.folder.path().join("ready"), &folder)?;
        Ok(folder)
    }

    /// The process over a folder, with a fault.
    fn process(&self, folder: &Path, fault: &str) -> Result<Command, Error> {
        let mut process = Command::new(std::env::current_exe()?);
        process
            .args(["--exact", "faults::process", "--ignored", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder)
            .env("LD_PRELOAD", &self.library)
            .env("FAULT", fault)
            .env("FAULT_FILES", "bank/state/ledger.sqlite")
            .env("FAULT_EVENTS", folder.join("events"))
            .stderr(Stdio::null());
        Ok(process)
    }

    fn run(&self, folder: &Path, fault: &str) -> Result<Printed, Error> {
        Ok(Printed::of(&self.process(folder, fault)?.output()?))
    }

    /// The events of a run without a fault, a letter each.
    fn events(&self) -> Result<String, Error> {
        let folder = self.start()?;
        let printed = self.run(&folder, "count:0")?;
        assert!(printed.ended && printed.sent.len() == 1, "{printed:?}");
        Ok(std::fs::read_to_string(folder.join("events"))?)
    }

    /// A fault, then a process that goes on. Whether the vector had left before the fault.
    fn survives(&self, fault: &str) -> Result<Printed, Error> {
        let folder = self.start()?;
        let first = self.run(&folder, fault)?;
        let spent = opened(&folder)?.spent("clients").rho;
        assert!(first.sent.is_empty() || spent > Rho::ZERO, "{fault}: it left before it was charged");
        let again = self.run(&folder, "count:0")?;
        assert!(again.ended && again.sent.len() == 1, "{fault}: {again:?}");
        let bytes: BTreeSet<&String> = first.sent.iter().chain(&again.sent).collect();
        assert_eq!(bytes.len(), 1, "{fault}: one request has one answer: {first:?} {again:?}");
        let entries = ledger(&Folders::new(&folder).node("bank"))?;
        let count = |state| entries.iter().filter(|entry| entry.state() == state).count();
        assert_eq!([State::Reserved, State::Computed, State::Released].map(count), [1, 1, 1], "{fault}");
        let account = &last_study(&entries)?.account;
        assert!(account.spent_after > Rho::ZERO && account.spent_after <= account.cap, "{fault}");
        assert_eq!(opened(&folder)?.spent("clients").rho, account.spent_after, "{fault}");
        Ok(first)
    }
}

/// The bank's ledger, checked from its first entry on.
fn opened(folder: &Path) -> Result<Ledger<LedgerStore>, Error> {
    let path = Folders::new(folder).node("bank").join("state/ledger.sqlite");
    Ok(Ledger::open(LedgerStore::open(&path)?, Budgets::default(), "test")?)
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (entry, to) = (entry?, to);
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_or_a_loss_of_power_at_any_event_charges_once_and_sends_one_string_of_bytes() -> Result<(), Error> {
    let bench = Bench::new().await?;
    let events = bench.events()?;
    assert!(events.matches('s').count() >= 3, "a charge, the bytes and the result are three commits: {events}");
    let mut left = 0;
    for (number, event) in (1..).zip(events.chars()) {
        bench.survives(&format!("kill:{number}"))?;
        left += bench.survives(&format!("lose:{number}"))?.sent.len();
        if event == 'w' {
            bench.survives(&format!("torn:{number}"))?;
        }
    }
    assert!(left > 0 && left < events.len(), "faults before and after the vector left: {left} of {events}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_or_failing_syncs_let_nothing_leave_that_is_not_durable() -> Result<(), Error> {
    let bench = Bench::new().await?;
    let events = bench.events()?;
    let mut refused = 0;
    for (number, event) in (1..).zip(events.chars()) {
        let fault = if event == 's' { "sync" } else { "full" };
        let first = bench.survives(&format!("{fault}:{number}"))?;
        // The coordinator learns that it failed, and nothing else.
        assert!(first.instead.iter().all(|text| text == "Failed"), "{first:?}");
        assert!(!first.ended || first.sent.len() + first.instead.len() == 1, "an answer: {first:?}");
        refused += first.instead.len();
    }
    assert!(refused > 0, "faults before the vector left");
    Ok(())
}

/// Every page of the database, at several places: what is read is what was written, or it is not used.
#[tokio::test(flavor = "multi_thread")]
async fn a_corrupted_page_is_found_or_harmless() -> Result<(), Error> {
    let bench = Bench::new().await?;
    let folder = bench.start()?;
    let printed = bench.run(&folder, "count:0")?;
    assert!(printed.ended, "{printed:?}");
    let path = Folders::new(&folder).node("bank").join("state/ledger.sqlite");
    // All of it in the one file.
    rusqlite::Connection::open(&path)?.pragma_update(None, "wal_checkpoint", "TRUNCATE").ok();
    let whole = std::fs::read(&path)?;
    let id = last_study(&ledger(&Folders::new(&folder).node("bank"))?)?.release.ok_or("a release")?;
    let release = |ledger: &Ledger<LedgerStore>| -> Result<Outbound, Error> { Ok(ledger.stored(id)?) };
    let expected = release(&opened(&folder)?)?.bytes().to_vec();
    let head = opened(&folder)?.head();
    let (mut found, mut harmless) = (0, 0);
    for place in (0..whole.len()).step_by(11) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x11;
        for file in ["ledger.sqlite-wal", "ledger.sqlite-shm"] {
            let _ = std::fs::remove_file(path.with_file_name(file));
        }
        std::fs::write(&path, &damaged)?;
        match opened(&folder).and_then(|ledger| Ok((ledger.head(), release(&ledger)?))) {
            Ok((now, outbound)) => {
                assert!(now == head && outbound.bytes() == expected, "a flip at {place} changed what is released");
                harmless += 1;
            }
            Err(_) => found += 1,
        }
    }
    assert!(found > 0 && harmless > 0, "{found} found, {harmless} in unused space");
    Ok(())
}

/// Nothing that the ledger does depends on the time, which it only records.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ten_years_off_charges_as_ever() -> Result<(), Error> {
    let bench = Bench::new().await?;
    let mut recorded = Vec::new();
    for days in [-3652_i64, 0, 3652] {
        let folder = bench.start()?;
        let output = bench.process(&folder, "count:0")?.env("FAULT_CLOCK", (days * 24 * 3600).to_string()).output()?;
        assert!(output.status.success() && Printed::of(&output).sent.len() == 1, "{days}");
        let entries = ledger(&Folders::new(&folder).node("bank"))?;
        let last = entries.last().ok_or("an entry")?;
        recorded.push((last.time.clone(), last_study(&entries)?.account.spent_after));
    }
    assert!(recorded.is_sorted_by(|(a, _), (b, _)| a[..3] < b[..3]), "each in its decade: {recorded:?}");
    assert!(recorded.windows(2).all(|two| two[0].1 == two[1].1 && two[0].1 > Rho::ZERO), "{recorded:?}");
    Ok(())
}
