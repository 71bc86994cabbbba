//! The review page's first view of a ledger of a million entries, over HTTP on loopback: while the ledger is still being verified, and
//! after. Asked: below 200 ms.
//!
//! `cargo bench -p entente-node --bench review [-- ENTRIES]`

#![expect(clippy::disallowed_macros, clippy::disallowed_methods, reason = "a bench prints what it measures")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use entente_host::pages::Access;
use entente_node::review::{Review, router};
use entente_node::state::Folder;
use entente_node::store::LedgerStore;
use entente_protocols::digest::Digest;
use entente_protocols::ledger::entry::Entry;
use entente_protocols::ledger::line::Line;
use entente_protocols::ledger::rules::Rules;
use entente_protocols::ledger::{Budgets, Caps, Ledger};
use entente_protocols::policy::{Request, StudyRef};
use entente_protocols::privacy::bounds::{Component, Layout};
use entente_protocols::privacy::mechanism::{Mechanism, Scope};
use entente_protocols::privacy::rho::Rho;
use entente_protocols::testing::{self, NOW, approved};

type Error = Box<dyn std::error::Error>;

const CONFIG: &str = "[node]\nname = \"bank\"\ncoordinator = \"127.0.0.1:1\"\n[[dataset]]\nname = \"clients\"\nsource = \"c.csv\"\n\
                      privacy_unit = \"id\"\n[dataset.columns]\nage = { type = \"int\", min = 0, max = 100 }\n[budget]\nepsilon = 10.0\ndelta = 1e-6\n";

fn main() -> Result<(), Error> {
    let entries: u64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let place = tempfile::tempdir()?;
    let folder = Folder::new(place.path());
    folder.create()?;
    std::fs::write(folder.config(), CONFIG)?;
    fill(&folder.state("ledger.sqlite"), entries)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let config = entente_node::load(&folder)?;
    let review = Arc::new(Review::open(&folder, config)?);
    let (bound, access) =
        (runtime.block_on(entente_host::pages::bind("127.0.0.1:0".parse()?))?, Access::open(&folder.state_folder())?);
    let (address, url) = (bound.address(), access.url(bound.address()));
    runtime.spawn(bound.serve(access, "bench", router(review.clone())));
    let cookie = log_in(address, &url)?;
    let started = Instant::now();
    let verifying = std::thread::spawn({
        let review = review.clone();
        move || review.verify()
    });
    let mut during = Vec::new();
    while !verifying.is_finished() {
        during.push(view(address, &cookie)?);
    }
    let verified = started.elapsed().as_secs_f64();
    verifying.join().map_err(|_| "the verification panicked")?;
    let after: Vec<f64> = (0..20).map(|_| view(address, &cookie)).collect::<Result<_, _>>()?;
    println!(
        "a ledger of {entries} entries, verified in {verified:.1} s while it was looked at {} times",
        during.len()
    );
    println!(
        "the first view, while it is verified: {:.1} ms; the slowest of those: {:.1} ms",
        during[0],
        worst(&during)
    );
    println!("after: the first {:.1} ms, the slowest of 20 {:.1} ms; asked: below 200 ms", after[0], worst(&after));
    Ok(())
}

fn worst(times: &[f64]) -> f64 {
    times.iter().copied().fold(0.0, f64::max)
}

/// Milliseconds that the overview takes.
fn view(address: SocketAddr, cookie: &str) -> Result<f64, Error> {
    let started = Instant::now();
    let answer =
        ask(address, &format!("GET / HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"))?;
    let elapsed = started.elapsed().as_secs_f64() * 1e3;
    if answer.starts_with("HTTP/1.1 200") && answer.contains("Budget left") { Ok(elapsed) } else { Err(answer.into()) }
}

fn log_in(address: SocketAddr, url: &str) -> Result<String, Error> {
    let path = url.split_once(&address.to_string()).ok_or("a path")?.1;
    let answer = ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))?;
    let cookie = answer.split("entente_session=").nth(1).and_then(|rest| rest.split(';').next()).ok_or("a cookie")?;
    Ok(format!("entente_session={cookie}"))
}

fn ask(address: SocketAddr, request: &str) -> Result<String, Error> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A ledger of charges: a real first one, then others like it, which only the bench writes, in one transaction.
fn fill(path: &Path, entries: u64) -> Result<(), Error> {
    let lifetime = Rho::from_micro(u64::MAX / 4);
    let caps = Caps { lifetime, per_study: lifetime, delta: 1e-6 };
    let mut ledger = Ledger::open(
        LedgerStore::open(path)?,
        Budgets::new(Rules::open([("clients", "customer", "id")]), caps),
        "bench",
    )?;
    let layout = Layout::sums(vec![Component::Cells { cells: 50, touches: 1, per_cell: 1 << 20 }]);
    let mechanism = Mechanism::new(layout, Scope::Customer, 3, 1, Rho::from_micro(1000))?;
    let request = testing::request(&mechanism, &["bank", "retailer", "telecom"].map(String::from));
    let request = Request {
        study: StudyRef {
            id: "20260101-000000-000001".into(),
            name: "spend-by-region".into(),
            purpose: "Quarterly benchmark of the alliance".into(),
            plan_sha256: Some(Digest([2; 32])),
            question_sha256: Some(Digest([3; 32])),
            ..request.study
        }
        .asked_by(&request.requester),
        dataset: "clients".into(),
        ..request
    };
    ledger.reserve(approved(request), Digest([4; 32]), Digest([4; 32]), NOW)?;
    let (head, delta) = (ledger.head(), caps.delta);
    let last = ledger.store().some_after(head.entries - 1, 1)?.pop().ok_or("the charge")?;
    drop(ledger);
    let mut entry: Entry = last.entry()?;
    let mut previous = last.hash;
    let mut connection = rusqlite::Connection::open(path)?;
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare("INSERT INTO entries (sequence, hash, entry) VALUES (?1, ?2, ?3)")?;
        for sequence in head.entries + 1..=entries {
            entry.sequence = sequence;
            entry.previous = previous;
            let entente_protocols::ledger::entry::Record::Reserved(record) = &mut entry.record else {
                return Err("a charge".into());
            };
            record.release = Some(Digest::plain(&sequence.to_le_bytes()));
            std::sync::Arc::make_mut(&mut record.study).id = format!("20260101-000000-{sequence:06x}");
            let account = &mut record.account;
            account.spent_before = account.spent_after;
            account.epsilon_before = account.epsilon_after;
            account.spent_after = account.spent_before.plus(account.charge);
            account.epsilon_after = account.spent_after.epsilon(delta);
            account.spent_person_after = account.spent_person_after.plus(mechanism.rho_person());
            let line = Line::of(&entry);
            insert.execute(rusqlite::params![sequence, line.hash.to_string(), line.json])?;
            previous = line.hash;
        }
    }
    transaction.commit()?;
    Ok(())
}
