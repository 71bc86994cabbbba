//! What officers do with the ledger, and what `node.toml` changes of it. What they do about its quarantine is in [`super::quarantine`].

use super::absence::{Absence, Away, day, is_day};
use super::account::{AccountKey, Caps};
use super::entry::Record;
use super::error::LedgerError;
use super::ledger::Ledger;
use super::office::{Action, CapChange, Hold, Note, Proposal, Subject};
use super::store::Store;
use crate::privacy::rho::Rho;

/// What became of something that takes two officers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is proposed; another officer has to do the same.
    Proposed,
    /// It is done.
    Done,
}

/// Who acts, why and when.
#[derive(Clone, Copy, Debug)]
pub struct Act<'a> {
    /// The officer's name.
    pub officer: &'a str,
    /// Why.
    pub reason: &'a str,
    /// RFC 3339.
    pub now: &'a str,
}

pub(super) fn refuse<T>(words: String) -> Result<T, LedgerError> {
    Err(LedgerError::Office(words))
}

impl<S: Store> Ledger<S> {
    /// Attaches a note to an entry.
    pub fn note(&mut self, about: u64, act: Act<'_>) -> Result<(), LedgerError> {
        self.append(act.now, None, |ledger| {
            let entries = ledger.head().entries;
            if !(1..=entries).contains(&about) {
                return refuse(format!("there is no entry {about}: the ledger has {entries}"));
            }
            Ok(Record::Note(Note { about, officer: act.officer.into(), text: act.reason.into() }))
        })
    }

    /// Pauses a data set or a study kind, or lets it go on.
    pub fn hold(&mut self, subject: &Subject, paused: bool, act: Act<'_>) -> Result<(), LedgerError> {
        let hold = Hold { subject: subject.clone(), officer: act.officer.into(), reason: act.reason.into() };
        self.append(act.now, None, |ledger| {
            let held = ledger.chain.paused().find(|held| held.subject == *subject);
            match (paused, held) {
                (true, None) => Ok(Record::Paused(hold.clone())),
                (false, Some(_)) => Ok(Record::Resumed(hold.clone())),
                (true, Some(held)) => {
                    refuse(format!("{subject} is paused already, by {}: {}", held.officer, held.reason))
                }
                (false, None) => refuse(format!("{subject} is not paused")),
            }
        })
    }

    /// Changes the cap of a population, by its name or that of one of its data sets: at once where it becomes lower, with a second officer
    /// where it becomes higher.
    pub fn set_cap(&mut self, of: &str, to: Rho, act: Act<'_>) -> Result<Outcome, LedgerError> {
        self.sync()?;
        let (account, caps) = self.budgets.called(of).ok_or_else(|| LedgerError::NoBudget(of.into()))?;
        let (configured, from) = (caps.lifetime, self.chain.cap(&account).unwrap_or(caps.lifetime));
        if to == from {
            return refuse(format!("the cap of {account} is ρ = {from} already"));
        }
        let change = |ledger: &Self, officers: Vec<String>, proposal| {
            Record::Cap(CapChange {
                account: account.clone(),
                from: ledger.chain.cap(&account),
                to,
                configured: ledger.chain.configured(&account).unwrap_or(configured),
                officers,
                reason: act.reason.into(),
                proposal,
                for_year: None,
            })
        };
        if to < from {
            self.append(act.now, None, |ledger| Ok(change(ledger, vec![act.officer.into()], None)))?;
            return Ok(Outcome::Done);
        }
        if self.chain.cap(&account).is_none() {
            return refuse(format!("{account} was never used, and its cap is what node.toml says: change it there"));
        }
        let action = Action::Cap { account: account.clone(), to };
        self.second(&action, act, |ledger, proposal, officers| Ok(change(ledger, officers, Some(proposal))))
    }

    /// Goes on without a witness before a day, as soon as a second officer says so too; at once if `is_steward`, where a node names no
    /// officers.
    pub fn away(&mut self, absence: &Absence, is_steward: bool, act: Act<'_>) -> Result<Outcome, LedgerError> {
        self.sync()?;
        let Absence { partner, until } = absence;
        let known = self.chain.away(act.now).into_iter().find(|known| known.partner == *partner);
        if !is_day(until) {
            return refuse(format!("`{until}` is no day; write it as 2027-01-05"));
        }
        let later = known.as_ref().map_or_else(|| day(act.now), |known| &known.until);
        if until.as_str() <= later {
            return refuse(match &known {
                Some(known) => format!("{known} already; name a later day, or record that it is back"),
                None => format!("{until} is not after today, {later} (UTC)"),
            });
        }
        let record = |officers, steward, proposal| {
            let (partner, until, reason) = (partner.clone(), until.clone(), act.reason.into());
            Record::Away(Away { partner, until, officers, steward, reason, proposal })
        };
        if is_steward {
            self.require_named(act.officer)?;
            self.append(act.now, None, |_| Ok(record(Vec::new(), Some(act.officer.into()), None)))?;
            return Ok(Outcome::Done);
        }
        let action = Action::Away(absence.clone());
        self.second(&action, act, |_, proposal, officers| Ok(record(officers, None, Some(proposal))))
    }

    /// Waits for a witness again, from now on.
    pub fn back(&mut self, partner: &str, is_steward: bool, act: Act<'_>) -> Result<(), LedgerError> {
        self.require_named(act.officer)?;
        self.append(act.now, None, |ledger| {
            if ledger.chain.away(act.now).iter().all(|known| known.partner != partner) {
                return refuse(format!("{partner} is not recorded to be away"));
            }
            let officer = act.officer.to_owned();
            let (officers, steward) = if is_steward { (Vec::new(), Some(officer)) } else { (vec![officer], None) };
            let (partner, until, reason) = (partner.into(), day(act.now).into(), act.reason.into());
            Ok(Record::Away(Away { partner, until, officers, steward, reason, proposal: None }))
        })
    }

    /// Proposes or does what takes two officers; where the rules name fewer than two, one who answers for the node does it.
    pub(super) fn confirmed(
        &mut self,
        action: &Action,
        act: Act<'_>,
        done: impl Fn(&Self, Vec<String>, Option<u64>) -> Record,
    ) -> Result<Outcome, LedgerError> {
        if self.chain.rules().confirming() == 2 {
            return self.second(action, act, |ledger, proposal, officers| Ok(done(ledger, officers, Some(proposal))));
        }
        self.require_named(act.officer)?;
        self.append(act.now, None, |ledger| Ok(done(ledger, vec![act.officer.into()], None)))?;
        Ok(Outcome::Done)
    }

    /// Proposes, or does what another officer has proposed.
    pub(super) fn second(
        &mut self,
        action: &Action,
        act: Act<'_>,
        done: impl Fn(&Self, u64, Vec<String>) -> Result<Record, LedgerError>,
    ) -> Result<Outcome, LedgerError> {
        self.require_named(act.officer)?;
        let open = self.chain.proposals().iter().find(|(_, open)| open.action == *action);
        let open = open.map(|(sequence, open)| (*sequence, open.officer.clone()));
        match open {
            Some((_, first)) if first == act.officer => {
                refuse(format!("{first} has proposed this already; it takes another officer to do it"))
            }
            Some((sequence, first)) => {
                let officers = vec![first, act.officer.to_owned()];
                self.append(act.now, None, |ledger| done(ledger, sequence, officers.clone()))?;
                Ok(Outcome::Done)
            }
            None => {
                let (officer, reason) = (act.officer.into(), act.reason.into());
                let proposal = Proposal { action: action.clone(), officer, reason };
                self.append(act.now, None, |_| Ok(Record::Proposed(proposal.clone())))?;
                Ok(Outcome::Proposed)
            }
        }
    }

    /// Whoever `node.toml` names, officers are those that the ledger has recorded.
    fn require_named(&self, officer: &str) -> Result<(), LedgerError> {
        let rules = self.chain.rules().rules();
        if rules.is_none_or(|rules| rules.names(officer)) {
            return Ok(());
        }
        refuse(format!("`{officer}` is not an officer by the rules that the ledger records"))
    }

    /// Populations in use of which `node.toml` says something else than was last recorded, with the cap that is recorded.
    fn reconfigured(&self) -> impl Iterator<Item = (AccountKey, Caps, Rho)> {
        let named = self.budgets.populations().into_iter();
        let named = named.map(|(population, caps)| (AccountKey::Population(population.into()), caps));
        let recorded = named.filter_map(|(account, caps)| Some((self.chain.cap(&account)?, account, caps)));
        let changed = recorded.filter(|(_, account, caps)| self.chain.configured(account) != Some(caps.lifetime));
        changed.map(|(cap, account, caps)| (account, caps, cap))
    }

    /// Looks whether `node.toml` raises the cap of a population that is in use.
    ///
    /// # Errors
    ///
    /// Where it does: that takes two officers.
    pub fn check_configuration(&self) -> Result<(), LedgerError> {
        let Some((account, caps, cap)) = self.reconfigured().find(|(_, caps, cap)| caps.lifetime > *cap) else {
            return Ok(());
        };
        let to = caps.lifetime;
        let (is, says) = (cap.epsilon(caps.delta), to.epsilon(caps.delta));
        refuse(format!(
            "node.toml raises the cap of {account} from ρ = {cap} (ε = {is:.3} at δ = {:e}) to ρ = {to} (ε = {says:.3}); \
             that takes two officers: set `epsilon` back, and let each of them run `entente-node ledger cap {} --epsilon \
             {says:.3} --officer NAME --reason TEXT`",
            caps.delta,
            account.name()
        ))
    }

    /// Follows `node.toml` where it makes rules stricter or lowers the cap of a population that is in use, and records that.
    ///
    /// # Errors
    ///
    /// Where it raises one ([`Self::check_configuration`]); nothing is recorded then.
    pub fn follow_configuration(&mut self, now: &str) -> Result<(), LedgerError> {
        self.check_configuration()?;
        let lowered: Vec<(AccountKey, Rho)> =
            self.reconfigured().map(|(account, caps, _)| (account, caps.lifetime)).collect();
        self.follow_rules(now)?;
        for (account, to) in lowered {
            self.append(now, None, |ledger| {
                Ok(Record::Cap(CapChange {
                    account: account.clone(),
                    from: ledger.chain.cap(&account),
                    to,
                    configured: to,
                    officers: Vec::new(),
                    reason: "node.toml was changed".into(),
                    proposal: None,
                    for_year: None,
                }))
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::chain::Chain;
    use super::super::checkpoint::{Checkpoint, node_origin};
    use super::super::line::Line;
    use super::super::office::Sighting;
    use super::super::rules::Rules;
    use super::super::store::Memory;
    use super::super::verify::{export, verify_export};
    use super::super::witness::{Consistency, Recovered, Request, Verdict, judge};
    use super::super::{Begin, Budgets, Signer};
    use super::*;
    use crate::digest::Digest;
    use crate::identity::IdentityKey;
    use crate::kind::Kind;
    use crate::policy::tests::{approved, request};

    fn caps(micro: u64) -> Budgets {
        let caps = Caps { lifetime: Rho::from_micro(micro), per_study: Rho::from_micro(90_000), delta: 1e-6 };
        Budgets::new(Rules::open([("d", "people", "id")]), caps)
    }

    fn ledger() -> Ledger<Memory> {
        Ledger::open(Memory::default(), caps(100_000), "test 1").unwrap()
    }

    fn signer() -> Signer {
        Signer { origin: node_origin(Digest::ZERO, "a"), key: IdentityKey::from_secret(&[3; 32]) }
    }

    fn act(officer: &str) -> Act<'_> {
        Act { officer, reason: "why", now: "now" }
    }

    fn charge(ledger: &mut Ledger<Memory>, id: u8, micro: u64) -> Result<(), LedgerError> {
        let release = Digest([id; 32]);
        ledger.reserve(approved(request(&format!("s{id}"), id, micro)), release, release, "now").map(drop)
    }

    /// The same ledger when it had `entries`.
    fn backup(ledger: &Ledger<Memory>, entries: u64) -> Ledger<Memory> {
        let mut store = Memory::default();
        for (sequence, line) in (1..).zip(ledger.store().entries().unwrap()).take(entries as usize) {
            store.append(sequence, &line, None).unwrap();
        }
        Ledger::open(store, caps(100_000), "test 1").unwrap()
    }

    fn judged(
        ledger: &Ledger<Memory>,
        held: Option<&Checkpoint>,
        recovery: Option<u64>,
    ) -> Result<Verdict, &'static str> {
        let checkpoint = ledger.checkpoint(&signer()).unwrap();
        let (tree, size) = (ledger.chain().tree(), checkpoint.statement().size);
        let from = held.map_or(0, |held| held.statement().size);
        let proofs = tree.consistency(from, size).map(|hashes| Consistency { from, hashes }).into_iter().collect();
        let recoveries = recovery.map(|sequence| Recovered {
            entry: ledger.store().entries().unwrap()[sequence as usize - 1].json.clone(),
            hashes: tree.inclusion(sequence - 1, size).unwrap(),
        });
        let request =
            Request { checkpoint: checkpoint.to_string(), proofs, recoveries: recoveries.into_iter().collect() };
        judge(&request, &signer().origin, &signer().key.public(), held)
    }

    fn kept(ledger: &Ledger<Memory>) -> Checkpoint {
        ledger.checkpoint(&signer()).unwrap()
    }

    fn on<'a>(officer: &'a str, now: &'a str) -> Act<'a> {
        Act { officer, reason: "why", now }
    }

    fn absence(until: &str) -> Absence {
        Absence { partner: "telecom".into(), until: until.into() }
    }

    #[test]
    fn a_witness_is_away_by_two_officers_until_its_day_and_all_that_follows_says_so() {
        let (mut ledger, first) = (ledger(), "2027-01-01T10:00:00Z");
        let until = absence("2027-01-05");
        for bad in ["2027-01-01", "2026-12-31", "2027-02-30", "soon"] {
            assert!(ledger.away(&absence(bad), false, on("ann", first)).is_err(), "{bad}");
        }
        assert_eq!(ledger.away(&until, false, on("ann", first)).unwrap(), Outcome::Proposed);
        assert!(ledger.away(&until, false, on("ann", first)).is_err(), "the same officer");
        assert!(ledger.chain().away(first).is_empty(), "one is not enough");
        assert_eq!(ledger.away(&until, false, on("bob", first)).unwrap(), Outcome::Done);
        assert_eq!(ledger.chain().away("2027-01-04T23:59:59Z"), std::slice::from_ref(&until));
        assert!(ledger.chain().away("2027-01-05T00:00:00Z").is_empty());
        ledger.note(1, on("ann", "2027-01-04T00:00:00Z")).unwrap();
        assert_eq!(kept(&ledger).statement().away, std::slice::from_ref(&until));
        // Nobody can leave it out, or say it of a witness that is there.
        let line = ledger.store().entries().unwrap().pop().unwrap();
        let before = backup(&ledger, 2);
        for away in [Vec::new(), vec![absence("2027-01-06")]] {
            let mut entry = line.entry().unwrap();
            assert_eq!(entry.away, std::slice::from_ref(&until));
            entry.away = away;
            let problem = before.chain().verify::<String>(Line::of(&entry).as_deref()).unwrap_err().to_string();
            assert!(problem.contains("which witnesses are away"), "{problem}");
        }
        // It ends by its day, and is not prolonged by a clock that is set back.
        ledger.note(1, on("ann", "2027-01-05T00:00:00Z")).unwrap();
        assert!(kept(&ledger).statement().away.is_empty());
        assert!(ledger.chain().away(first).is_empty());
        let report = verify_export(&export("a", &signer(), ledger.store()).unwrap(), None);
        assert!(
            report.passed() && report.text().contains("telecom until 2027-01-05, by ann and bob"),
            "{}",
            report.text()
        );
    }

    #[test]
    fn one_officer_ends_an_absence_and_a_steward_decides_where_there_are_none() {
        let (mut ledger, now) = (ledger(), "2027-01-01T10:00:00Z");
        assert!(ledger.back("telecom", false, on("ann", now)).is_err(), "it is not away");
        assert_eq!(ledger.away(&absence("2027-01-05"), true, on("eve", now)).unwrap(), Outcome::Done);
        assert!(ledger.away(&absence("2027-01-05"), true, on("eve", now)).is_err(), "it is already");
        ledger.back("telecom", false, on("ann", now)).unwrap();
        assert!(ledger.chain().away(now).is_empty());
        let report = verify_export(&export("a", &signer(), ledger.store()).unwrap(), None);
        assert!(report.passed() && report.text().contains("by eve, its steward"), "{}", report.text());
        // An officer alone is no steward, and a steward is no officer.
        let forged = |officers: &[&str], steward: Option<&str>| {
            let mut entry = ledger.store().entries().unwrap()[0].entry().unwrap();
            let Record::Away(away) = &mut entry.record else { panic!("an absence") };
            away.officers = officers.iter().map(|officer| (*officer).to_owned()).collect();
            away.steward = steward.map(String::from);
            Chain::default().verify::<String>(Line::of(&entry).as_deref()).map(drop)
        };
        assert_eq!(forged(&[], Some("eve")), Ok(()));
        for (officers, steward) in
            [(&["ann"][..], None), (&["ann", "bob"], None), (&["ann"], Some("eve")), (&[], Some(""))]
        {
            assert!(forged(officers, steward).is_err(), "{officers:?}, {steward:?}");
        }
    }

    #[test]
    fn a_pause_holds_until_it_is_ended() {
        let mut ledger = ledger();
        charge(&mut ledger, 1, 1000).unwrap();
        for subject in [Subject::Dataset("d".into()), Subject::Kind(Kind::Query)] {
            ledger.hold(&subject, true, act("ann")).unwrap();
            let error = charge(&mut ledger, 2, 1000).unwrap_err().to_string();
            assert!(error.contains("paused by ann: why"), "{error}");
            let again = charge(&mut ledger, 1, 1000).unwrap_err().to_string();
            assert!(again.contains("paused"), "also what is charged already: {again}");
            assert!(ledger.hold(&subject, true, act("bob")).is_err());
            ledger.hold(&subject, false, act("bob")).unwrap();
            assert!(ledger.hold(&subject, false, act("bob")).is_err());
        }
        ledger.hold(&Subject::Dataset("other".into()), true, act("ann")).unwrap();
        charge(&mut ledger, 2, 1000).unwrap();
        ledger.note(2, act("ann")).unwrap();
        assert!(ledger.note(99, act("ann")).is_err());
        let text = export("a", &signer(), ledger.store()).unwrap();
        assert!(verify_export(&text, None).passed(), "{}", verify_export(&text, None).text());
    }

    #[test]
    fn a_cap_is_lowered_by_one_officer_and_raised_by_two() {
        let mut ledger = ledger();
        let to = Rho::from_micro;
        charge(&mut ledger, 1, 40_000).unwrap();
        assert_eq!(ledger.set_cap("d", to(50_000), act("ann")).unwrap(), Outcome::Done);
        assert!(charge(&mut ledger, 2, 20_000).unwrap_err().to_string().contains("of 0.050000"));
        assert_eq!(ledger.set_cap("d", to(80_000), act("ann")).unwrap(), Outcome::Proposed);
        let error = ledger.set_cap("d", to(80_000), act("ann")).unwrap_err().to_string();
        assert!(error.contains("another officer"), "{error}");
        assert!(charge(&mut ledger, 2, 20_000).is_err(), "one alone changes nothing");
        assert_eq!(ledger.set_cap("d", to(90_000), act("bob")).unwrap(), Outcome::Proposed, "not the same cap");
        assert_eq!(ledger.set_cap("d", to(80_000), act("bob")).unwrap(), Outcome::Done);
        charge(&mut ledger, 2, 20_000).unwrap();
        // The other proposal was made over a cap that is gone.
        assert_eq!(ledger.set_cap("d", to(90_000), act("ann")).unwrap(), Outcome::Proposed);
        let text = export("a", &signer(), ledger.store()).unwrap();
        assert!(verify_export(&text, None).passed(), "{}", verify_export(&text, None).text());
    }

    #[test]
    fn node_toml_lowers_a_cap_and_does_not_raise_it() {
        let mut ledger = ledger();
        charge(&mut ledger, 1, 40_000).unwrap();
        let reopened = |ledger: Ledger<Memory>, micro| Ledger::open(ledger.store, caps(micro), "test 1").unwrap();
        let mut ledger = reopened(ledger, 60_000);
        ledger.follow_configuration("now").unwrap();
        assert_eq!(ledger.cap("d"), Some(Rho::from_micro(60_000)));
        let mut ledger = reopened(ledger, 100_000);
        let error = ledger.follow_configuration("now").unwrap_err().to_string();
        assert!(error.contains("takes two officers") && error.contains("0.060000"), "{error}");
        assert!(charge(&mut ledger, 2, 30_000).is_err());
        // What two have raised stays, whatever node.toml goes on to say.
        let mut ledger = reopened(ledger, 60_000);
        ledger.set_cap("d", Rho::from_micro(100_000), act("ann")).unwrap();
        ledger.set_cap("d", Rho::from_micro(100_000), act("bob")).unwrap();
        let entries = ledger.head().entries;
        ledger.follow_configuration("now").unwrap();
        assert_eq!((ledger.head().entries, ledger.cap("d")), (entries, Some(Rho::from_micro(100_000))));
        // And where it follows, it may be lowered again.
        let mut ledger = reopened(ledger, 100_000);
        ledger.follow_configuration("now").unwrap();
        let mut ledger = reopened(ledger, 60_000);
        ledger.follow_configuration("now").unwrap();
        assert_eq!(ledger.cap("d"), Some(Rho::from_micro(60_000)));
    }

    #[test]
    fn a_witness_takes_what_goes_on_and_nothing_else() {
        let mut ledger = ledger();
        assert!(matches!(judged(&ledger, None, None), Ok(Verdict::Keep(_))));
        let empty = kept(&ledger);
        charge(&mut ledger, 1, 40_000).unwrap();
        assert!(matches!(judged(&ledger, Some(&empty), None), Ok(Verdict::Keep(_))), "from nothing");
        let first = kept(&ledger);
        assert_eq!(judged(&ledger, Some(&first), None), Ok(Verdict::Kept), "the same again");
        charge(&mut ledger, 2, 10_000).unwrap();
        assert!(matches!(judged(&ledger, Some(&first), None), Ok(Verdict::Keep(_))));
        let second = kept(&ledger);
        let rolled_back = backup(&ledger, first.statement().size);
        assert_eq!(judged(&rolled_back, Some(&second), None), Ok(Verdict::Holds));
        assert_eq!(judged(&backup(&ledger, 0), Some(&second), None), Ok(Verdict::Holds), "an empty ledger");
        let mut clone = backup(&ledger, first.statement().size);
        charge(&mut clone, 3, 10_000).unwrap();
        assert_eq!(judged(&clone, Some(&second), None), Ok(Verdict::Holds), "as long, and other");
        charge(&mut clone, 4, 10_000).unwrap();
        assert_eq!(judged(&clone, Some(&second), None), Ok(Verdict::Holds), "longer, and other");
        // Signed by another, or without a proof.
        let request = Request { checkpoint: kept(&ledger).to_string(), proofs: Vec::new(), recoveries: Vec::new() };
        let other = IdentityKey::from_secret(&[4; 32]).public();
        assert!(judge(&request, &signer().origin, &other, None).is_err());
        assert!(judge(&request, "entente/other", &signer().key.public(), None).is_err());
        assert_eq!(judge(&request, &signer().origin, &signer().key.public(), Some(&first)), Ok(Verdict::Holds));
    }

    #[test]
    fn a_rolled_back_ledger_is_in_quarantine_until_two_officers_take_over_what_was_spent() {
        let mut ledger = ledger();
        charge(&mut ledger, 1, 30_000).unwrap();
        let size = ledger.head().entries;
        charge(&mut ledger, 2, 20_000).unwrap();
        let lost = kept(&ledger);
        let mut restored = backup(&ledger, size);
        assert!(!restored.sighted(&kept(&restored), "the coordinator", "now").unwrap(), "its own past");
        assert!(restored.recover(act("ann")).is_err(), "there is nothing to recover from");
        assert!(restored.sighted(&lost, "the coordinator", "then").unwrap());
        let error = charge(&mut restored, 3, 1000).unwrap_err().to_string();
        for words in ["quarantine", "the coordinator", "then", "recover", "3 entries", "4 entries"] {
            assert!(error.contains(words), "{words}: {error}");
        }
        // A restart forgets nothing.
        let mut restored = Ledger::open(restored.store, caps(100_000), "test 1").unwrap();
        assert!(restored.quarantine().is_some());
        assert_eq!(restored.recover(act("ann")).unwrap(), Outcome::Proposed);
        assert!(restored.recover(act("ann")).is_err(), "one officer is not two");
        assert!(restored.quarantine().is_some());
        assert_eq!(restored.recover(act("bob")).unwrap(), Outcome::Done);
        assert_eq!(restored.quarantine(), None);
        assert_eq!(restored.spent("d"), ledger.spent("d"), "the larger");
        charge(&mut restored, 3, 1000).unwrap();
        // Witnesses take the new chain with the recovery alone.
        let at = restored.chain().recovered(lost.statement()).unwrap();
        assert_eq!(judged(&restored, Some(&lost), None), Ok(Verdict::Holds));
        assert_eq!(judged(&restored, Some(&lost), Some(1)), Ok(Verdict::Holds), "that entry is none");
        assert!(matches!(judged(&restored, Some(&lost), Some(at)), Ok(Verdict::Keep(_))));
        // It takes over this checkpoint and no other.
        charge(&mut ledger, 4, 1000).unwrap();
        assert_eq!(judged(&restored, Some(&kept(&ledger)), Some(at)), Ok(Verdict::Holds));
        let text = export("a", &signer(), restored.store()).unwrap();
        assert!(verify_export(&text, None).passed(), "{}", verify_export(&text, None).text());
    }

    /// Two over one store, as a running node and an officer's command are, never fork it.
    #[test]
    fn two_over_one_store_see_each_other() {
        use std::cell::RefCell;
        use std::rc::Rc;

        use super::super::line::Line;
        use super::super::store::StoreError;

        #[derive(Clone, Default)]
        struct Shared(Rc<RefCell<Memory>>);

        impl Store for Shared {
            fn entries_after(&self, sequence: u64) -> Result<Vec<Line>, StoreError> {
                self.0.borrow().entries_after(sequence)
            }
            fn append(&mut self, sequence: u64, line: &Line, of: Option<(Digest, &[u8])>) -> Result<(), StoreError> {
                self.0.borrow_mut().append(sequence, line, of)
            }
            fn release(&self, release: Digest) -> Result<Option<Vec<u8>>, StoreError> {
                self.0.borrow().release(release)
            }
            fn append_checkpoint(&mut self, checkpoint: &str) -> Result<(), StoreError> {
                self.0.borrow_mut().append_checkpoint(checkpoint)
            }
            fn checkpoints(&self) -> Result<Vec<String>, StoreError> {
                self.0.borrow().checkpoints()
            }
            fn append_sighting(&mut self, sighting: &Sighting) -> Result<(), StoreError> {
                self.0.borrow_mut().append_sighting(sighting)
            }
            fn sightings(&self) -> Result<Vec<Sighting>, StoreError> {
                self.0.borrow().sightings()
            }
        }

        let store = Shared::default();
        let open = || Ledger::open(store.clone(), caps(100_000), "test 1").unwrap();
        let (mut node, mut command) = (open(), open());
        let reserve = |ledger: &mut Ledger<Shared>, id: u8| -> Result<Begin, LedgerError> {
            let release = Digest([id; 32]);
            ledger.reserve(approved(request(&format!("s{id}"), id, 1000)), release, release, "now")
        };
        reserve(&mut node, 1).map(drop).unwrap();
        command.hold(&Subject::Dataset("d".into()), true, act("ann")).unwrap();
        assert!(reserve(&mut node, 2).is_err(), "the pause holds at once");
        command.hold(&Subject::Dataset("d".into()), false, act("ann")).unwrap();
        reserve(&mut node, 2).map(drop).unwrap();
        command.note(1, act("ann")).unwrap();
        node.sync().unwrap();
        assert_eq!(node.head(), command.head());
        assert_eq!(open().head(), node.head());
    }
}
