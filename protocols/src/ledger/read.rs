//! Reading entries. By hand, as what serde derives for a field that says what its neighbours are keeps all of them in memory first, which
//! took a third of the time of verifying a ledger.

use std::borrow::Cow;
use std::sync::Arc;

use serde::de::{Deserialize, DeserializeOwned, Error as _};
use serde_json::Error;
use serde_json::value::RawValue;

use super::absence::{Absence, Away};
use super::account::AccountKey;
use super::carry::CarriedOver;
use super::entry::{Account, Entry, Privacy, Record, State, StudyRecord, YearCharges};
use super::office::{Action, CapChange, Hold, Note, Proposal, Recovery, Restored, RulesChange, Sighting, Subject};
use super::recent::Recent;
use super::rules::Rules;
use crate::digest::Digest;
use crate::identity::petition::Petition;
use crate::policy::StudyRef;
use crate::privacy::rho::Rho;

/// Reads entries, and knows what the last ones said of their study and its privacy: a release's three entries say the same, and so
/// do the rounds of a training.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    studies: Parts<StudyRef>,
    privacy: Parts<Privacy>,
}

/// By their exact text.
type Parts<T> = Recent<Box<str>, Arc<T>>;

impl Reader {
    /// The entry that a line of JSON says.
    ///
    /// # Errors
    ///
    /// It is not an entry.
    pub fn read<'a, S: Deserialize<'a> + AsRef<str>>(&mut self, json: &'a str) -> Result<Entry<S>, Error> {
        let mut fields: Fields<'a, S> = serde_json::from_str(json)?;
        let record = fields.record(self)?;
        let Fields { sequence, previous, time, software, away, .. } = fields;
        Ok(Entry { sequence, previous, time, software, away, record })
    }
}

fn part<T: DeserializeOwned>(known: &mut Parts<T>, raw: &RawValue) -> Result<Arc<T>, Error> {
    if let Some(known) = known.get(|text| **text == *raw.get()) {
        return Ok(known);
    }
    let part = Arc::new(serde_json::from_str(raw.get())?);
    known.keep(raw.get().into(), Arc::clone(&part));
    Ok(part)
}

/// A text in an entry that is only read: borrowed from the line, unless something in it is escaped there.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The fields of entries of all states; no two states have one of the same name and another type.
#[derive(serde::Deserialize)]
struct Fields<'a, S> {
    sequence: u64,
    previous: Digest,
    time: S,
    software: S,
    #[serde(default)]
    away: Vec<Absence>,
    state: State,
    release: Option<Digest>,
    #[serde(borrow)]
    study: Option<&'a RawValue>,
    dataset: Option<S>,
    population: Option<S>,
    snapshot: Option<Digest>,
    consent: Option<S>,
    requester: Option<S>,
    petition: Option<Petition>,
    recipients: Option<Vec<S>>,
    participants: Option<Vec<S>>,
    round: Option<u32>,
    #[serde(borrow)]
    privacy: Option<&'a RawValue>,
    account: Option<Account>,
    by_year: Option<Box<YearCharges>>,
    approved_by: Option<S>,
    transcript: Option<Digest>,
    result_sha256: Option<Digest>,
    reason: Option<S>,
    about: Option<u64>,
    officer: Option<String>,
    text: Option<String>,
    subject: Option<Subject>,
    action: Option<Action>,
    from: Option<Rho>,
    to: Option<Rho>,
    spent: Option<Rho>,
    person: Option<Rho>,
    cap: Option<Rho>,
    rules: Option<Box<Rules>>,
    configured: Option<Rho>,
    for_year: Option<i16>,
    officers: Option<Vec<String>>,
    proposal: Option<u64>,
    witnessed: Option<Vec<Sighting>>,
    datasets: Option<Vec<Restored>>,
    partner: Option<String>,
    until: Option<String>,
    steward: Option<String>,
}

fn there<T>(field: Option<T>, name: &'static str) -> Result<T, Error> {
    field.ok_or_else(|| Error::missing_field(name))
}

fn owned(field: Option<impl AsRef<str>>, name: &'static str) -> Result<String, Error> {
    Ok(there(field, name)?.as_ref().to_owned())
}

impl<S: AsRef<str>> Fields<'_, S> {
    fn record(&mut self, reader: &mut Reader) -> Result<Record<S>, Error> {
        Ok(match self.state {
            State::Reserved => Record::Reserved(self.study_record(reader)?),
            State::Computed => Record::Computed(self.study_record(reader)?),
            State::Released => Record::Released(self.study_record(reader)?),
            State::Repeated => Record::Repeated(self.study_record(reader)?),
            State::Refused => Record::Refused(self.study_record(reader)?),
            State::Note => Record::Note(Note {
                about: there(self.about.take(), "about")?,
                officer: there(self.officer.take(), "officer")?,
                text: there(self.text.take(), "text")?,
            }),
            State::Paused => Record::Paused(self.hold()?),
            State::Resumed => Record::Resumed(self.hold()?),
            State::Proposed => Record::Proposed(Proposal {
                action: there(self.action.take(), "action")?,
                officer: there(self.officer.take(), "officer")?,
                reason: owned(self.reason.take(), "reason")?,
            }),
            State::Cap => Record::Cap(CapChange {
                account: self.account_key()?,
                from: self.from,
                to: there(self.to.take(), "to")?,
                configured: there(self.configured.take(), "configured")?,
                officers: there(self.officers.take(), "officers")?,
                reason: owned(self.reason.take(), "reason")?,
                proposal: self.proposal,
                for_year: self.for_year,
            }),
            State::Carried => Record::Carried(CarriedOver {
                dataset: owned(self.dataset.take(), "dataset")?,
                population: owned(self.population.take(), "population")?,
                spent: there(self.spent.take(), "spent")?,
                person: there(self.person.take(), "person")?,
                cap: there(self.cap.take(), "cap")?,
            }),
            State::Rules => Record::Rules(RulesChange {
                rules: there(self.rules.take(), "rules")?,
                officers: there(self.officers.take(), "officers")?,
                reason: owned(self.reason.take(), "reason")?,
                proposal: self.proposal,
            }),
            State::Recovered => Record::Recovered(Box::new(Recovery {
                witnessed: there(self.witnessed.take(), "witnessed")?,
                officers: there(self.officers.take(), "officers")?,
                reason: owned(self.reason.take(), "reason")?,
                proposal: self.proposal,
                datasets: there(self.datasets.take(), "datasets")?,
            })),
            State::Away => Record::Away(Away {
                partner: there(self.partner.take(), "partner")?,
                until: there(self.until.take(), "until")?,
                officers: there(self.officers.take(), "officers")?,
                steward: self.steward.take(),
                reason: owned(self.reason.take(), "reason")?,
                proposal: self.proposal,
            }),
        })
    }

    /// Of a population, or, as older ledgers have it, of a data set.
    fn account_key(&mut self) -> Result<AccountKey, Error> {
        match self.population.take() {
            Some(population) => Ok(AccountKey::Population(population.as_ref().to_owned())),
            None => Ok(AccountKey::Dataset(owned(self.dataset.take(), "dataset")?)),
        }
    }

    fn hold(&mut self) -> Result<Hold, Error> {
        Ok(Hold {
            subject: there(self.subject.take(), "subject")?,
            officer: there(self.officer.take(), "officer")?,
            reason: owned(self.reason.take(), "reason")?,
        })
    }

    fn study_record(&mut self, reader: &mut Reader) -> Result<Box<StudyRecord<S>>, Error> {
        Ok(Box::new(StudyRecord {
            release: self.release,
            study: part(&mut reader.studies, there(self.study, "study")?)?,
            dataset: there(self.dataset.take(), "dataset")?,
            population: self.population.take(),
            snapshot: self.snapshot,
            consent: self.consent.take(),
            requester: there(self.requester.take(), "requester")?,
            petition: self.petition.take(),
            recipients: there(self.recipients.take(), "recipients")?,
            participants: there(self.participants.take(), "participants")?,
            round: self.round,
            privacy: self.privacy.map(|raw| part(&mut reader.privacy, raw)).transpose()?,
            account: there(self.account.take(), "account")?,
            by_year: self.by_year.take(),
            approved_by: self.approved_by.take(),
            transcript: self.transcript,
            result_sha256: self.result_sha256,
            reason: self.reason.take(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::rules::Rules;
    use crate::ledger::store::{Memory, Store};
    use crate::ledger::{Budgets, Caps, Ledger};
    use crate::policy::tests::{approved, request};

    /// What is shared is what is the same to the last byte: an entry says what it says whatever was read before.
    #[test]
    fn what_was_read_before_changes_no_entry() {
        let caps = Caps { lifetime: Rho::from_micro(100_000), per_study: Rho::from_micro(50_000), delta: 1e-6 };
        let mut ledger =
            Ledger::open(Memory::default(), Budgets::new(Rules::open([("d", "people", "id")]), caps), "test 1")
                .unwrap();
        for (number, (study, rho)) in
            [("s", 10_000), ("t", 10_000), ("s", 20_000), ("s", 10_000)].into_iter().enumerate()
        {
            let id = Digest([number as u8; 32]);
            ledger.reserve(approved(request(study, 1, rho)), id, id, "now").unwrap();
        }
        let (mut reader, mut read) = (Reader::default(), Vec::new());
        for line in ledger.store().entries().unwrap() {
            let entry: Entry = reader.read(&line.json).unwrap();
            assert_eq!(entry, line.entry().unwrap());
            read.extend(entry.study().cloned());
        }
        let shared = |one: usize, other: usize| {
            let same = |one: &Option<Arc<Privacy>>, other: &Option<Arc<Privacy>>| {
                one.as_ref().zip(other.as_ref()).is_some_and(|(one, other)| Arc::ptr_eq(one, other))
            };
            (Arc::ptr_eq(&read[one].study, &read[other].study), same(&read[one].privacy, &read[other].privacy))
        };
        assert_eq!((shared(0, 1), shared(0, 2), shared(0, 3)), ((false, true), (true, false), (true, true)));
    }
}
