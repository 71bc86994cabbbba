//! Reading entries. By hand, as what serde derives for a field that says what its neighbours are keeps all of them in memory first, which
//! took a third of the time of verifying a ledger.

use serde::de::{Deserialize, Deserializer, Error};

use super::{Account, Entry, Privacy, Record, StudyRecord};
use crate::digest::Digest;
use crate::ledger::office::{Action, CapChange, Hold, Note, Proposal, Recovery, Restored, Sighting, Subject};
use crate::policy::StudyRef;
use crate::privacy::rho::Rho;

/// The fields of entries of all states; no two states have one of the same name and another type.
#[derive(serde::Deserialize)]
struct Fields {
    sequence: u64,
    previous: Digest,
    time: String,
    software: String,
    state: Word,
    release: Option<Digest>,
    study: Option<StudyRef>,
    dataset: Option<String>,
    snapshot: Option<Digest>,
    consent: Option<String>,
    requester: Option<String>,
    recipients: Option<Vec<String>>,
    participants: Option<Vec<String>>,
    round: Option<u32>,
    privacy: Option<Privacy>,
    account: Option<Account>,
    approved_by: Option<String>,
    transcript: Option<Digest>,
    result_sha256: Option<Digest>,
    reason: Option<String>,
    about: Option<u64>,
    officer: Option<String>,
    text: Option<String>,
    subject: Option<Subject>,
    action: Option<Action>,
    from: Option<Rho>,
    to: Option<Rho>,
    configured: Option<Rho>,
    officers: Option<Vec<String>>,
    proposal: Option<u64>,
    witnessed: Option<Vec<Sighting>>,
    datasets: Option<Vec<Restored>>,
}

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Word {
    Reserved,
    Computed,
    Released,
    Repeated,
    Refused,
    Note,
    Paused,
    Resumed,
    Proposed,
    Cap,
    Recovered,
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Fields::deserialize(deserializer)?;
        let (sequence, previous) = (fields.sequence, fields.previous);
        let (time, software) = (std::mem::take(&mut fields.time), std::mem::take(&mut fields.software));
        Ok(Self { sequence, previous, time, software, record: fields.record::<D::Error>()? })
    }
}

fn there<T, E: Error>(field: Option<T>, name: &'static str) -> Result<T, E> {
    field.ok_or_else(|| E::missing_field(name))
}

impl Fields {
    fn record<E: Error>(self) -> Result<Record, E> {
        Ok(match self.state {
            Word::Reserved => Record::Reserved(self.study_record()?),
            Word::Computed => Record::Computed(self.study_record()?),
            Word::Released => Record::Released(self.study_record()?),
            Word::Repeated => Record::Repeated(self.study_record()?),
            Word::Refused => Record::Refused(self.study_record()?),
            Word::Note => Record::Note(Note {
                about: there(self.about, "about")?,
                officer: there(self.officer, "officer")?,
                text: there(self.text, "text")?,
            }),
            Word::Paused => Record::Paused(self.hold()?),
            Word::Resumed => Record::Resumed(self.hold()?),
            Word::Proposed => Record::Proposed(Proposal {
                action: there(self.action, "action")?,
                officer: there(self.officer, "officer")?,
                reason: there(self.reason, "reason")?,
            }),
            Word::Cap => Record::Cap(CapChange {
                dataset: there(self.dataset, "dataset")?,
                from: self.from,
                to: there(self.to, "to")?,
                configured: there(self.configured, "configured")?,
                officers: there(self.officers, "officers")?,
                reason: there(self.reason, "reason")?,
                proposal: self.proposal,
            }),
            Word::Recovered => Record::Recovered(Box::new(Recovery {
                witnessed: there(self.witnessed, "witnessed")?,
                officers: there(self.officers, "officers")?,
                reason: there(self.reason, "reason")?,
                proposal: there(self.proposal, "proposal")?,
                datasets: there(self.datasets, "datasets")?,
            })),
        })
    }

    fn hold<E: Error>(self) -> Result<Hold, E> {
        Ok(Hold {
            subject: there(self.subject, "subject")?,
            officer: there(self.officer, "officer")?,
            reason: there(self.reason, "reason")?,
        })
    }

    fn study_record<E: Error>(self) -> Result<Box<StudyRecord>, E> {
        Ok(Box::new(StudyRecord {
            release: self.release,
            study: there(self.study, "study")?,
            dataset: there(self.dataset, "dataset")?,
            snapshot: self.snapshot,
            consent: self.consent,
            requester: there(self.requester, "requester")?,
            recipients: there(self.recipients, "recipients")?,
            participants: there(self.participants, "participants")?,
            round: self.round,
            privacy: self.privacy,
            account: there(self.account, "account")?,
            approved_by: self.approved_by,
            transcript: self.transcript,
            result_sha256: self.result_sha256,
            reason: self.reason,
        }))
    }
}
