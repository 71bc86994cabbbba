//! What must hold once a study is over.

use entente::store::{RECEIPT, StudyState};
use entente_examples::alliance::Error;
use entente_protocols::identity::petition::OPERATOR;
use entente_protocols::ledger::cross::cross_check;
use entente_protocols::ledger::receipt::verify_receipt;
use entente_protocols::ledger::report::{Facts, Report};
use entente_protocols::ledger::store::Store;
use entente_protocols::ledger::verify::{export, verify_to_compare};

use super::End;
use super::alliance::Alliance;
use super::asked::Needs;
use super::watch::open;

/// What a node's folder may have more than at the beginning, and how much more a byte that it is sent: a database grows by pages.
const ROOM: u64 = 1 << 20;
const A_BYTE: u64 = 16;
/// How many lines are logged at most whatever happens, and for each frame that arrives.
const LINES: u64 = 100;
const A_FRAME: u64 = 2;

impl Alliance {
    /// How a study ended that has such needs; once everybody has heard of it, ledgers and receipts are as they must be.
    pub(super) fn ends(&mut self, id: &str, needs: &Needs) -> Result<(End, Option<String>), Error> {
        let gone = self.gone.iter().zip(&self.revoked).map(|(gone, revoked)| *gone || *revoked);
        let left: Vec<bool> = gone.take(needs.participants).map(|gone| !gone).collect();
        // What a partner has asked for is given up when it is revoked.
        let is_revoked = self.requester.is_some_and(|requester| self.revoked[requester]);
        let too_few = needs.first && !left[0] || left.iter().filter(|left| **left).count() < needs.least;
        let (state, why) = self.outcome(id)?;
        self.until_told()?;
        let end = match state {
            StudyState::Done => End::Result,
            _ if self.changed || self.late || too_few || is_revoked => End::AsMust,
            _ => End::Lost,
        };
        if state != StudyState::Done && why.is_none() {
            return Err("it has neither a result nor a reason".into());
        }
        self.verify(id, state)?;
        Ok((end, why))
    }

    fn verify(&mut self, id: &str, state: StudyState) -> Result<(), Error> {
        let mut facts: Vec<Box<Facts>> = Vec::new();
        let requester = self.requester.map_or(OPERATOR, |party| self.parties[party].name);
        for (party, revoked) in self.parties.iter().zip(&self.revoked) {
            let folder = party.folder();
            let store = open(folder)?;
            for line in store.entries()? {
                if let Some(study) = line.entry()?.study()
                    && study.study.id == id
                    && study.requester != requester
                {
                    return Err(
                        format!("{} says that {} asked for it, not {requester}", party.name, study.requester).into()
                    );
                }
            }
            let text = export(party.name, &folder.signer(party.name)?, &store)?;
            let mut report = verify_to_compare(&text, folder.pinned_roster()?.as_ref());
            if !report.passed() {
                return Err(format!("the ledger of {}: {}", party.name, report.text()).into());
            }
            // Whoever is revoked is told nothing any more, and its ledger does not know how it ended.
            facts.extend(report.facts.take().filter(|_| !revoked));
        }
        // What was changed on its way may keep a node from recording the end.
        if state != StudyState::Done || self.changed {
            return Ok(());
        }
        let roster = self.up()?.roster()?;
        let files = self.up()?.store().result(id)?;
        let receipt = String::from_utf8(files.get(RECEIPT).ok_or("a result has a receipt")?.clone())?;
        let any_revoked = self.revoked.contains(&true);
        let (mut report, receipt) = verify_receipt(&receipt, (!any_revoked).then_some(&roster));
        if any_revoked {
            report = Report::default();
        }
        let receipts = [&receipt.ok_or("a receipt that can be read")?];
        let signed: Vec<&str> =
            receipts.iter().flat_map(|receipt| &receipt.nodes).map(|part| part.node.as_str()).collect();
        let takes_part = |name: &str| receipts[0].statement.subject.participants.iter().any(|other| other == name);
        let mut told =
            self.parties.iter().zip(&self.revoked).filter(|(party, revoked)| !**revoked && takes_part(party.name));
        if let Some((unsigned, _)) = told.find(|(party, _)| !signed.contains(&party.name)) {
            return Err(format!("{} has not signed the receipt", unsigned.name).into());
        }
        cross_check(&mut report, &facts.iter().map(|facts| &**facts).collect::<Vec<_>>(), &receipts);
        if report.passed() { Ok(()) } else { Err(report.text().into()) }
    }

    /// Whether what nodes keep is bounded by what they were sent, and what all have logged by how many frames arrived.
    pub(super) fn check_room(&self, before: &[u64], lines: u64) -> Result<(), Error> {
        if lines > LINES + self.frames * A_FRAME {
            return Err(format!("{lines} lines are logged, and {} frames have arrived", self.frames).into());
        }
        for (party, before) in self.parties.iter().zip(before) {
            let (size, most) = (size(&party.folder().state_folder())?, before + ROOM + A_BYTE * party.heard);
            if size > most {
                return Err(format!("{} keeps {size} bytes, {} of which were sent", party.name, party.heard).into());
            }
        }
        Ok(())
    }

    /// What nodes keep now.
    pub(super) fn disks(&self) -> Result<Vec<u64>, Error> {
        self.parties.iter().map(|party| size(&party.folder().state_folder())).collect()
    }
}

/// How long all files of a folder are, but for logs, which are written anew when they are long.
fn size(folder: &std::path::Path) -> Result<u64, Error> {
    let mut all = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (kind, name) = (entry.metadata()?, entry.file_name().to_string_lossy().into_owned());
        if kind.is_dir() {
            all += size(&entry.path())?;
        } else if !name.ends_with("-wal") && !name.ends_with("-shm") {
            all += kind.len();
        }
    }
    Ok(all)
}
