use super::*;
use crate::identity::Member;
use crate::ledger::AccountKey;
use crate::ledger::checkpoint::{Statement as Checkpointed, Totals};

pub fn key(byte: u8) -> IdentityKey {
    IdentityKey::from_secret(&[byte; 32])
}

pub fn statement() -> Statement {
    let round = |round| Round {
        attempt: 1,
        repeated: false,
        rho: Rho::from_micro(10_000),
        rho_person: Rho::from_micro(40_000),
        round,
        transcript_sha256: Digest([9; 32]),
    };
    let subject = Subject {
        alliance: "spring".into(),
        attempt: 1,
        authority: Digest([1; 32]),
        kind: Kind::Query,
        name: "n \"é\"\n".into(),
        participants: vec!["a".into(), "b".into()],
        plan_sha256: Digest([2; 32]),
        purpose: "p".into(),
        requester: "operator".into(),
        rounds: vec![round(1), round(2)],
        study: "s".into(),
    };
    let result = result(&subject);
    let files = [("result.json".to_owned(), Digest::plain(&result)), ("table.csv".to_owned(), Digest::plain(b"x"))];
    Statement { files: files.into(), finished: "2026-01-01T00:00:00Z".into(), subject }
}

fn result(subject: &Subject) -> Vec<u8> {
    format!("{{\"receipt_sha256\":\"{}\",\"rows\":[]}}", subject.digest()).into_bytes()
}

fn checkpoint(node: &str, size: u64, spent: u64) -> String {
    let totals = Totals { spent: Rho::from_micro(spent), ..Totals::default() };
    let (origin, key) = (node_origin(Digest([1; 32]), node), key(node.as_bytes()[0]));
    let statement = Checkpointed {
        origin,
        size,
        root: Digest([size as u8; 32]),
        head: Digest([size as u8; 32]),
        accounts: [(AccountKey::Population("people".into()), totals)].into(),
        away: Vec::new(),
    };
    Checkpoint::sign(statement, &key).unwrap().to_string()
}

fn part(statement: &Statement, node: &str) -> Part {
    Part::sign(statement, node, &key(node.as_bytes()[0]), checkpoint(node, 3, 10), checkpoint(node, 7, 30))
}

fn receipt() -> Receipt {
    let statement = statement();
    let nodes = ["b", "a"].map(|node| part(&statement, node)).to_vec();
    Receipt::new(statement.clone(), Coordinator::sign(&statement, &key(9)), nodes)
}

fn roster() -> Roster {
    let member =
        |node: &str| (node.to_owned(), Member { identity: key(node.as_bytes()[0]).public(), tls: Digest::ZERO });
    Roster {
        alliance: "spring".into(),
        authority: Digest([1; 32]),
        coordinator: key(9).public(),
        members: ["a", "b"].map(member).into(),
    }
}

#[test]
fn a_receipt_is_read_as_it_is_written_with_sorted_keys() {
    let text = receipt().text();
    assert_eq!(Receipt::parse(&text).unwrap(), receipt());
    let sorted: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(canonical(&sorted), canonical(&receipt()), "maps sort their keys");
    for roster in [None, Some(&roster())] {
        let (report, _) = verify_receipt(&text, roster);
        assert!(report.passed(), "{}", report.text());
    }
    let statement = statement();
    assert_eq!(parse_statement(&canonical(&statement)).unwrap(), statement);
    assert!(parse_statement(&(canonical(&statement) + " ")).is_err());
}

#[test]
fn every_changed_byte_of_a_receipt_is_found() {
    let good = receipt().text();
    for i in 0..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[i] ^= 1;
        let Ok(changed) = String::from_utf8(changed) else { continue };
        assert!(!verify_receipt(&changed, None).0.passed(), "byte {i} of {changed}");
    }
    for cut in [0, good.len() / 2, good.len() - 1] {
        assert!(!verify_receipt(&good[..cut], None).0.passed());
    }
}

#[test]
fn who_has_not_signed_or_is_somebody_else_is_named() {
    let failed = |change: &dyn Fn(&mut Receipt), roster: Option<&Roster>, expected: &str| {
        let mut receipt = receipt();
        change(&mut receipt);
        let report = verify_receipt(&receipt.text(), roster).0;
        assert!(!report.passed() && report.text().contains(expected), "{expected}: {}", report.text());
    };
    failed(&|receipt| drop(receipt.nodes.pop()), None, "b has not signed");
    failed(&|receipt| receipt.nodes.push(receipt.nodes[0].clone()), None, "a has not signed");
    failed(&|receipt| receipt.statement.subject.purpose.push('!'), None, "coordinator's signature");
    // Signed anew by the coordinator alone.
    let again = |receipt: &mut Receipt| {
        receipt.statement.subject.purpose.push('!');
        receipt.coordinator = Coordinator::sign(&receipt.statement, &key(9));
    };
    failed(&again, None, "a: its signature");
    let other = |receipt: &mut Receipt| {
        receipt.nodes[0] = Part::sign(&receipt.statement, "a", &key(7), checkpoint("a", 3, 10), checkpoint("a", 7, 30));
    };
    failed(&other, None, "a: it has not signed its checkpoint");
    failed(&other, Some(&roster()), "a: it has another identity");
    let shrunk = |receipt: &mut Receipt| {
        let (before, after) = (checkpoint("a", 3, 40), checkpoint("a", 7, 30));
        receipt.nodes[0] = Part::sign(&receipt.statement, "a", &key(b'a'), before, after);
    };
    failed(&shrunk, None, "spent less");
    let mut stranger = roster();
    stranger.coordinator = key(8).public();
    failed(&|_| (), Some(&stranger), "not the one in the roster");
}

#[test]
fn files_are_those_that_the_receipt_names() {
    let statement = statement();
    let files: BTreeMap<String, Vec<u8>> =
        [("result.json".to_owned(), result(&statement.subject)), ("table.csv".to_owned(), b"x".to_vec())].into();
    let report = |files: &BTreeMap<String, Vec<u8>>| {
        let mut report = Report::default();
        verify_files(&mut report, &statement, files);
        report
    };
    assert!(report(&files).passed());
    let mut more = files.clone();
    more.insert("notes.txt".into(), Vec::new());
    assert!(report(&more).passed() && report(&more).text().contains("not covered: notes.txt"));
    let mut changed = files.clone();
    changed.insert("table.csv".into(), b"y".to_vec());
    assert!(report(&changed).text().contains("table.csv is not the one"));
    let mut missing = files;
    missing.remove("result.json");
    assert!(!report(&missing).passed());
}
