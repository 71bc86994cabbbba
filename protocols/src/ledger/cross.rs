//! Several partners' ledgers, and receipts, held against each other: what one says of a study, the others say as well.

use std::collections::BTreeSet;

use super::checkpoint::Checkpoint;
use super::receipt::{Receipt, Round, Subject};
use super::report::{Facts, Index, Key, Released, Report};

/// Holds ledgers against each other. All of one alliance, each of another node.
pub fn cross_check(report: &mut Report, ledgers: &[&Facts], receipts: &[&Receipt]) {
    report.note("one ledger a node", one_a_node(ledgers));
    let indices: Vec<_> = ledgers.iter().map(|ledger| ledger.index()).collect();
    let mut studies = BTreeSet::new();
    let agree = ledgers.iter().zip(&indices).try_for_each(|(one, index)| {
        for released in index.values() {
            studies.insert(&released.study.id);
            for (other, theirs) in ledgers.iter().zip(&indices).filter(|(other, _)| other.node != one.node) {
                agrees(one, released, other, theirs)?;
            }
        }
        Ok(())
    });
    let detail = format!("{} studies: participants, plans, transcripts, charges and results agree", studies.len());
    report.note("ledgers agree", agree.map(|()| detail));
    let computed: Vec<_> = ledgers.iter().map(|ledger| ledger.computed()).collect();
    for receipt in receipts {
        let mut each = ledgers.iter().zip(indices.iter().zip(&computed));
        let held = each.try_fold(0, |count, (ledger, (released, computed))| {
            holds(ledger, (released, computed), receipt).map(|held| count + u32::from(held))
        });
        let held = held.and_then(|count| somebody_has(ledgers, &computed, receipt).map(|()| count));
        let detail = |count| format!("study {}: it is as {count} ledgers have it", receipt.statement.subject.study);
        report.note("receipt and ledgers agree", held.map(detail));
    }
}

fn one_a_node(ledgers: &[&Facts]) -> Result<String, String> {
    let names: BTreeSet<&String> = ledgers.iter().map(|ledger| &ledger.node).collect();
    let alliances: BTreeSet<Option<&str>> =
        ledgers.iter().map(|ledger| ledger.origin.strip_suffix(&ledger.node)).collect();
    match (names.len() == ledgers.len(), alliances.len()) {
        (false, _) => Err("two are of the same node; give the newest of each".into()),
        (true, 2..) => Err("they are of different alliances".into()),
        (true, _) => Ok(names.into_iter().cloned().collect::<Vec<_>>().join(", ")),
    }
}

/// Whether another ledger has a release as `one` has it, where its node took part.
fn agrees(one: &Facts, released: &Released, other: &Facts, index: &Index<'_>) -> Result<(), String> {
    let theirs = index.get(&released.key()).copied();
    let (study, attempt, round) = released.key();
    let takes_part = released.participants.contains(&other.node);
    let place = format!("study {study}, attempt {attempt}, round {round}");
    let theirs = match theirs {
        Some(theirs) if takes_part => theirs,
        Some(theirs) => {
            return Err(format!(
                "{place}: entry {} of {} is of a study in which {} says that it took no part",
                theirs.sequence, other.node, one.node
            ));
        }
        None if takes_part && released.study.kind.charges_all() => {
            // What it has of what came later tells that it was left out. Without that, an older export looks the same.
            let mut later = one.released.iter().filter(|later| later.sequence > released.sequence);
            let again = if later.any(|later| index.contains_key(&later.key())) {
                String::new()
            } else {
                format!("; if the export of {} is older than that, export it again", other.node)
            };
            return Err(format!(
                "{place}: entry {} of {} has no counterpart at {}{again}",
                released.sequence, one.node, other.node
            ));
        }
        None => return Ok(()),
    };
    let same = [
        ("participants", released.participants == theirs.participants),
        ("proposal", released.study.proposal_sha256 == theirs.study.proposal_sha256),
        ("plan", released.study.plan_sha256 == theirs.study.plan_sha256),
        ("transcript", released.transcript == theirs.transcript),
        ("charge", released.rho == theirs.rho),
        ("result", released.result == theirs.result),
    ];
    match same.iter().find(|(_, same)| !same) {
        None => Ok(()),
        Some((what, _)) => Err(format!(
            "{place}: the {what} of entry {} of {} is another than of entry {} of {}",
            released.sequence, one.node, theirs.sequence, other.node
        )),
    }
}

/// Whether a ledger has what a receipt says of its node, if it is a participant: of the receipt's attempt as released, of those that it
/// went on from as computed.
fn holds(ledger: &Facts, (released, computed): (&Index<'_>, &Index<'_>), receipt: &Receipt) -> Result<bool, String> {
    let subject = &receipt.statement.subject;
    let Some(part) = receipt.nodes.iter().find(|part| part.node == ledger.node) else { return Ok(false) };
    for (note, which) in [(&part.before, "before"), (&part.after, "after")] {
        let checkpoint = Checkpoint::parse(note).map_err(|error| format!("{}: {error}", ledger.node))?;
        let statement = checkpoint.statement();
        let entries = ledger.chain.head().entries;
        if entries < statement.size && statement.origin == ledger.origin {
            return Err(format!(
                "the ledger of {} has {entries} entries, and had {} {which} the study: it was shortened, or is an export from before; \
                 export it again",
                ledger.node, statement.size
            ));
        }
        if statement.origin != ledger.origin || !ledger.chain.goes_on_from(statement) {
            return Err(format!("the ledger of {} does not go on from its checkpoint {which} the study", ledger.node));
        }
    }
    // And the other way round: what it has of this attempt is in the receipt, as charged for.
    for own in of_attempt(released, subject, subject.attempt) {
        let is_stated = |round: &Round| (round.attempt, round.round) == (subject.attempt, own.round) && !round.repeated;
        if !subject.rounds.iter().any(is_stated) {
            return Err(format!(
                "entry {} of {} is round {} of study {}, which the receipt does not state as charged for",
                own.sequence, ledger.node, own.round, subject.study
            ));
        }
    }
    for round in subject.rounds.iter().filter(|round| round.repeated) {
        if let Some(own) = computed.get(&key(subject, round)) {
            let place = format!("study {}, attempt {}, round {}", subject.study, round.attempt, round.round);
            return Err(format!("{place}: entry {} of {} says that it was charged for", own.sequence, ledger.node));
        }
    }
    for round in subject.rounds.iter().filter(|round| !round.repeated) {
        let is_last = round.attempt == subject.attempt;
        let place = format!("study {}, attempt {}, round {}", subject.study, round.attempt, round.round);
        let index = if is_last { released } else { computed };
        let Some(own) = index.get(&key(subject, round)) else {
            // In an earlier attempt it may have taken no part; of one that it did, it has entries.
            let took_part = is_last || of_attempt(computed, subject, round.attempt).next().is_some();
            if subject.kind.charges_all() && took_part {
                return Err(format!("{place}: {} has no entry of it", ledger.node));
            }
            continue;
        };
        let same = own.transcript == Some(round.transcript_sha256)
            && own.rho == Some((round.rho, round.rho_person))
            && (!is_last || own.result == receipt.statement.result());
        if !same {
            return Err(format!("{place}: entry {} of {} says otherwise", own.sequence, ledger.node));
        }
    }
    Ok(true)
}

/// Whether each round of earlier attempts is in a ledger, where those of all participants are there.
fn somebody_has(ledgers: &[&Facts], computed: &[Index<'_>], receipt: &Receipt) -> Result<(), String> {
    let subject = &receipt.statement.subject;
    let is_there = |name: &String| ledgers.iter().any(|ledger| ledger.node == *name);
    if !subject.participants.iter().all(is_there) {
        return Ok(());
    }
    let mut earlier = subject.rounds.iter().filter(|round| !round.repeated && round.attempt != subject.attempt);
    match earlier.find(|round| !computed.iter().any(|index| index.contains_key(&key(subject, round)))) {
        None => Ok(()),
        Some(round) => Err(format!(
            "study {}, attempt {}, round {}: no ledger has it; whose have taken part in it?",
            subject.study, round.attempt, round.round
        )),
    }
}

fn key<'a>(subject: &'a Subject, round: &Round) -> Key<'a> {
    (&subject.study, round.attempt, round.round)
}

fn of_attempt<'a>(index: &'a Index<'a>, subject: &'a Subject, attempt: u32) -> impl Iterator<Item = &'a Released> {
    let study = subject.study.as_str();
    index.range((study, attempt, 0)..=(study, attempt, u32::MAX)).map(|(_, released)| *released)
}
