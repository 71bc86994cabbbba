//! How long a ledger takes to verify, beside hashing the same bytes. Asked: a million entries under 5 s on one core.
//!
//! `cargo bench -p entente-protocols --bench verify [-- ENTRIES]`

#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench measures time and prints it; this one verifies in a process of its own"
)]

use std::sync::Arc;
use std::time::Instant;

use entente_protocols::digest::Digest;
use entente_protocols::identity::IdentityKey;
use entente_protocols::ledger::rules::Rules;
use entente_protocols::ledger::store::Memory;
use entente_protocols::ledger::verify::{export, verify_export};
use entente_protocols::ledger::{Budgets, Caps, Ledger, Signer};
use entente_protocols::policy::{Request, StudyRef};
use entente_protocols::privacy::bounds::{Component, Layout};
use entente_protocols::privacy::mechanism::{Mechanism, Scope};
use entente_protocols::privacy::rho::Rho;
use entente_protocols::privacy::sums::Sums;
use entente_protocols::release::add_full_noise;
use entente_protocols::testing::{self, NOW, charge};

/// Set in the process that verifies: the export's file. It has nothing to do with what made it, as `entente verify` has.
const CHILD: &str = "ENTENTE_BENCH_EXPORT";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Ok(path) = std::env::var(CHILD) {
        return verify(&std::fs::read_to_string(path)?);
    }
    let entries: u64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let lifetime = Rho::from_micro(u64::MAX / 4);
    let caps = Caps { lifetime, per_study: lifetime, delta: 1e-6 };
    let mut ledger = Ledger::open(
        Memory::default(),
        Budgets::new(Rules::open([("clients", "customer", "client_id")]), caps),
        "bench",
    )?;
    let layout = Layout::sums(vec![Component::Cells { cells: 1, touches: 1, per_cell: 1 << 20 }]);
    let mechanism = Mechanism::new(layout, Scope::Customer, 1, 0, Rho::from_micro(1000))?;
    let layout = Arc::new(mechanism.layout().clone());
    // The first entry is the cap; each release has three, as a node writes them: charged, computed, released.
    while ledger.head().entries < entries {
        let number = ledger.head().entries;
        let release = Digest::plain(&number.to_le_bytes());
        let permit = charge(&mut ledger, request(&mechanism, number), release, release);
        let nobody = Sums::new(Arc::clone(&layout)).finish();
        ledger.computed(add_full_noise(permit, nobody)?, None, NOW)?;
        ledger.released(release, Digest::plain(&release.0), NOW)?;
    }
    let signer = Signer { origin: "entente/5a/bank".into(), key: IdentityKey::from_secret(&[7; 32]) };
    let text = export("bank", &signer, ledger.store())?;
    println!("an export of {} entries, {} MB", ledger.head().entries, text.len() / 1_000_000);
    drop(ledger);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("ledger.jsonl");
    std::fs::write(&path, text)?;
    let child = std::process::Command::new(std::env::current_exe()?).env(CHILD, &path).status()?;
    if child.success() { Ok(()) } else { Err("the verification failed".into()) }
}

fn verify(text: &str) -> Result<(), Box<dyn std::error::Error>> {
    let started = Instant::now();
    let hash = Digest::plain(text.as_bytes());
    let hashing = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let report = verify_export(text, None);
    let verifying = started.elapsed().as_secs_f64();
    if !report.passed() {
        return Err(report.text().into());
    }
    println!("verified in {verifying:.2} s; asked for a million: below 5 s");
    println!("hashed once ({}) in {hashing:.2} s; ratio {:.1}", hash.short(), verifying / hashing);
    Ok(())
}

fn request(mechanism: &Mechanism, number: u64) -> Request {
    let request = testing::request(mechanism, &["bank".to_owned()]);
    Request {
        study: StudyRef {
            id: format!("20260101-000000-{number:06x}"),
            name: "spend-by-region".into(),
            purpose: "Quarterly benchmark of the alliance".into(),
            plan_sha256: Some(Digest::plain(&number.to_le_bytes())),
            question_sha256: Some(Digest::plain(&number.to_be_bytes())),
            ..request.study
        }
        .asked_by(&request.requester),
        dataset: "clients".into(),
        privacy_unit: "client_id".into(),
        ..request
    }
}
