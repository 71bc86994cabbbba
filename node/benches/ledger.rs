//! What a charge costs over a durable write of the same disk: the two are measured in turn.

#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench measures time beside the disk's and prints it"
)]

use std::fs::File;
use std::io::Write;
use std::time::Instant;

use entente_node::store::LedgerStore;
use entente_protocols::digest::Digest;
use entente_protocols::ledger::rules::Rules;
use entente_protocols::ledger::{Begin, Budgets, Caps, Ledger};
use entente_protocols::policy::{Request, StudyRef};
use entente_protocols::privacy::bounds::{Component, Layout};
use entente_protocols::privacy::mechanism::{Mechanism, Scope};
use entente_protocols::privacy::rho::Rho;
use entente_protocols::testing::{self, NOW, approved};

type Error = Box<dyn std::error::Error>;

const CHARGES: usize = 300;

fn main() -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let lifetime = Rho::from_micro(u64::MAX / 4);
    let caps = Caps { lifetime, per_study: lifetime, delta: 1e-6 };
    let store = LedgerStore::open(&folder.path().join("ledger.sqlite"))?;
    let mut ledger =
        Ledger::open(store, Budgets::new(Rules::open([("clients", "customer", "customer_id")]), caps), "bench")?;
    let layout = Layout::sums(vec![Component::Cells { cells: 50, touches: 1, per_cell: 1 << 20 }]);
    let mechanism = Mechanism::new(layout, Scope::Customer, 3, 1, Rho::from_micro(1000))?;
    let mut probe = File::create(folder.path().join("probe"))?;
    let (mut charges, mut writes) = (Vec::new(), Vec::new());
    for number in 0..CHARGES as u64 {
        let started = Instant::now();
        probe.write_all(&[1; 4096])?;
        probe.sync_data()?;
        writes.push(started.elapsed().as_secs_f64());
        let release = Digest::plain(&number.to_le_bytes());
        let approved = approved(request(&mechanism, number));
        let started = Instant::now();
        let Begin::Compute(_) = ledger.reserve(approved, release, release, NOW)? else {
            return Err("it is new".into());
        };
        charges.push(started.elapsed().as_secs_f64());
    }
    // The first one records the cap as well, and computes what ε is.
    let (charge, write) = (median(charges.split_off(10)), median(writes));
    println!(
        "a charge, durable: median {:.3} ms; a durable write of 4 KiB beside it: {:.3} ms",
        charge * 1e3,
        write * 1e3
    );
    println!("ratio: {:.2}, asked: below 2", charge / write);
    Ok(())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn request(mechanism: &Mechanism, number: u64) -> Request {
    let request = testing::request(mechanism, &["bank", "retailer", "telecom"].map(String::from));
    Request {
        study: StudyRef {
            id: format!("study-{number}"),
            name: "spend-by-region".into(),
            purpose: "Quarterly benchmark of the alliance".into(),
            legal_basis: Some("consent".into()),
            plan_sha256: Some(Digest::plain(&number.to_le_bytes())),
            question_sha256: Some(Digest::plain(&number.to_be_bytes())),
            ..request.study
        }
        .asked_by(&request.requester),
        dataset: "clients".into(),
        consent: Some("marketing_consent".into()),
        privacy_unit: "customer_id".into(),
        ..request
    }
}
