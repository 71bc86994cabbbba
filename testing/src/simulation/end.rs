//! What must hold once a study is over.

use std::collections::BTreeMap;

use entente::store::{RECEIPT, StudyState};
use entente_examples::alliance::Error;
use entente_node::store::StudyStore;
use entente_protocols::attempt::AttemptId;
use entente_protocols::identity::petition::OPERATOR;
use entente_protocols::ledger::cross::cross_check;
use entente_protocols::ledger::receipt::{Receipt, verify_receipt};
use entente_protocols::ledger::report::{Facts, Report};
use entente_protocols::ledger::store::Store;
use entente_protocols::ledger::verify::{export, verify_to_compare};
use entente_protocols::privacy::rho::Rho;
use serde_json::Value;

use super::End;
use super::alliance::Alliance;
use super::asked::Needs;
use super::watch::{is_small, open};

impl Alliance {
    /// How a study ended that has such needs, once everybody has heard of it.
    pub(super) fn ends(&mut self, id: &str, needs: &Needs) -> Result<(End, Option<String>), Error> {
        // What a partner has asked for is given up when it is revoked.
        let is_revoked = self.requester.as_ref().is_some_and(|(asked, party)| asked == id && self.revoked[*party]);
        let excuse = self.excuse(needs) || is_revoked;
        let (state, why) = self.outcome(id)?;
        self.until_told()?;
        let end = match state {
            StudyState::Done => End::Result,
            _ if excuse => End::AsMust,
            _ => End::Lost,
        };
        if state != StudyState::Done && why.is_none() {
            return Err("it has neither a result nor a reason".into());
        }
        let present = self.up()?.present(id)?;
        self.all_have_ended(&present)?;
        Ok((end, why))
    }

    /// Once all have ended: ledgers, and the receipts and costs of those with a result, are as they must be, and so is what is kept.
    pub(super) fn verify<'i>(&mut self, with_result: impl Iterator<Item = &'i str>) -> Result<(), Error> {
        let facts = self.verify_ledgers()?;
        for id in with_result {
            self.verify_receipt(id, &facts)?;
            self.verify_spent(id)?;
        }
        self.check_sums()?;
        self.check_folders()
    }

    /// How many nodes have come back with an older state than what had left.
    pub(super) fn behind(&self) -> u64 {
        self.parties.iter().filter(|party| party.watched.is_behind()).count() as u64
    }

    /// Whether there may be no result of a study with such needs.
    fn excuse(&self, needs: &Needs) -> bool {
        let left: Vec<bool> =
            (0..needs.participants).map(|party| !self.gone[party] && self.is_as_it_was(party)).collect();
        let too_few = needs.first && !left[0] || left.iter().filter(|left| **left).count() < needs.least;
        self.changed_for_all || self.late || too_few
    }

    /// Whether a partner is enrolled, was told what was said, and knows it.
    fn is_as_it_was(&self, party: usize) -> bool {
        !self.revoked[party] && !self.changed[party] && !self.put_back[party]
    }

    /// Every attempt has ended where it was taken part in, and where there is no result, it is said why.
    fn all_have_ended(&self, id: &str) -> Result<(), Error> {
        for (number, party) in self.parties.iter().enumerate() {
            if !self.is_as_it_was(number) {
                continue;
            }
            let studies = StudyStore::open(&party.folder().state("studies.sqlite"))?;
            for attempt in studies.of_study(id)? {
                let is_said =
                    attempt.stage.finished().is_some() || attempt.stage.reason().is_some_and(|why| !why.is_empty());
                if !attempt.stage.has_ended() || !is_said {
                    return Err(
                        format!("{} of {} is {} at the end", attempt.id, party.name, attempt.stage.name()).into()
                    );
                }
            }
        }
        Ok(())
    }

    /// All ledgers verify, or are in quarantine. What they have, of those who were told how all has ended.
    fn verify_ledgers(&self) -> Result<Vec<Facts>, Error> {
        let mut facts = Vec::new();
        for (number, party) in self.parties.iter().enumerate() {
            let (folder, ledger) = (party.folder(), open(party.folder())?);
            self.names_requesters(party.name, &ledger)?;
            let text = export(party.name, &folder.signer(party.name)?, &ledger)?;
            let mut report = verify_to_compare(&text, folder.pinned_roster()?.as_ref());
            let is_in_quarantine = self.put_back[number] && !ledger.sightings()?.is_empty();
            if party.watched.is_behind() && !is_in_quarantine && !self.revoked[number] {
                return Err(format!("{} was put back to an older state, and does not know it", party.name).into());
            }
            if report.passed() == is_in_quarantine {
                return Err(format!("the ledger of {}: {}", party.name, report.text()).into());
            }
            facts.extend(report.facts.take().filter(|_| self.is_as_it_was(number)).map(|facts| *facts));
        }
        Ok(facts)
    }

    /// A ledger says of each study who has asked for it.
    fn names_requesters(&self, node: &str, ledger: &impl Store) -> Result<(), Error> {
        for line in ledger.entries()? {
            let entry = line.entry()?;
            let Some(record) = entry.study() else { continue };
            let asked = self.requester.as_ref().filter(|(asked, _)| *asked == record.study.id);
            let requester = asked.map_or(OPERATOR, |(_, party)| self.parties[*party].name);
            if record.requester != requester {
                return Err(format!("{node} says that {} asked for it, not {requester}", record.requester).into());
            }
        }
        Ok(())
    }

    /// A result's receipt verifies, agrees with ledgers, and is signed by all participants.
    fn verify_receipt(&mut self, id: &str, facts: &[Facts]) -> Result<(), Error> {
        let (mut report, receipt) = {
            let roster = self.up()?.roster()?;
            let text = self.receipt(id)?;
            // Of whoever is revoked, the roster knows no key any more.
            let roster = (!self.revoked.contains(&true)).then_some(&roster);
            let (report, receipt) = verify_receipt(&String::from_utf8(text)?, roster);
            (if roster.is_some() { report } else { Report::default() }, receipt.ok_or("a receipt that can be read")?)
        };
        let participants = &receipt.statement.subject.participants;
        let is_signed = |name: &str| receipt.nodes.iter().any(|part| part.node == name);
        for (number, party) in self.parties.iter().enumerate() {
            if is_signed(party.name) || !participants.iter().any(|name| name == party.name) {
                continue;
            }
            if self.is_as_it_was(number) {
                return Err(format!("{} has not signed the receipt", party.name).into());
            }
            report.checks.retain(|check| check.check != "participants");
        }
        let receipts: [&Receipt; 1] = [&receipt];
        cross_check(&mut report, &facts.iter().collect::<Vec<_>>(), &receipts);
        if report.passed() { Ok(()) } else { Err(report.text().into()) }
    }

    fn receipt(&mut self, id: &str) -> Result<Vec<u8>, Error> {
        Ok(self.up()?.store().result(id)?.remove(RECEIPT).ok_or("a result has a receipt")?)
    }

    /// What a result says that it has cost is what its contributors were charged: all of it where no round was lost, and no more
    /// where nodes may have been charged for one.
    fn verify_spent(&mut self, id: &str) -> Result<(), Error> {
        let result: Value =
            serde_json::from_slice(&self.file(id, "result.json")?.ok_or("a result has a result.json")?)?;
        let receipt: Value = serde_json::from_slice(&self.receipt(id)?)?;
        let privacy = &result["privacy"];
        let said: Rho = serde_json::from_value(privacy["rho_micro"].clone())?;
        let rounds = &receipt["statement"]["subject"]["rounds"];
        let rounds = rounds.as_array().ok_or_else(|| format!("a receipt states rounds: {receipt}"))?;
        let of = |is_repeated: bool| -> Result<Rho, Error> {
            let of: Vec<&Value> = rounds.iter().filter(|round| round["repeated"] == is_repeated).collect();
            let rho: Result<Vec<Rho>, _> =
                of.iter().map(|round| serde_json::from_value(round["rho"].clone())).collect();
            Ok(rho?.into_iter().sum())
        };
        let (fresh, repeated) = (of(false)?, of(true)?);
        let number = receipt["statement"]["subject"]["attempt"].as_u64().and_then(|number| u32::try_from(number).ok());
        let attempt = AttemptId::new(id, number.ok_or("a receipt states its attempt")?);
        let contributors = self.contributors.get(&attempt).ok_or("what has a result was proposed")?;
        let mut largest = Rho::ZERO;
        for (number, party) in self.parties.iter().enumerate() {
            let charged = party.watched.charged(id);
            if self.put_back[number] || !contributors.iter().any(|name| name == party.name) {
                continue;
            }
            if charged < fresh || charged.plus(repeated) > said {
                let about =
                    format!("{fresh} of {said} is for rounds that are in the result, and {repeated} was paid before");
                return Err(format!("{} was charged {charged}, and {about}", party.name).into());
            }
            largest = largest.max(charged);
        }
        let delta = privacy["delta"].as_f64().ok_or("a result states δ")?;
        let spent = privacy["epsilon_spent"].as_f64().ok_or("a result states ε")?;
        if spent + 1e-9 < largest.epsilon(delta) || said == largest && spent != largest.epsilon(delta) {
            return Err(format!("the result says ε = {spent}, and ledgers say {}", largest.epsilon(delta)).into());
        }
        Ok(())
    }

    /// Whether masked vectors are, on average, as small below their masks as one must be to be told from a masked one: if not, nothing has
    /// told the one from the other.
    fn check_sums(&self) -> Result<(), Error> {
        let mut sums: BTreeMap<_, (usize, usize, Vec<i64>)> = BTreeMap::new();
        for (release, values, contributors) in self.parties.iter().flat_map(|party| party.watched.sent()) {
            let (count, _, sum) = sums.entry(*release).or_insert((0, contributors, vec![0; values.len()]));
            *count += 1;
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum = sum.wrapping_add(*value));
        }
        let complete = sums.values().filter(|(count, contributors, _)| count == contributors);
        let mut means = complete.map(|(count, _, sum)| sum.iter().map(|sum| sum / *count as i64).collect::<Vec<_>>());
        let large = means.find(|mean| !mean.is_empty() && !is_small(mean));
        match large.filter(|_| !self.changed_for_all && !self.changed.contains(&true)) {
            Some(mean) => Err(format!("vectors are not small below their masks, but {mean:?}").into()),
            None => Ok(()),
        }
    }
}
