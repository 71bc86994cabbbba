//! Studies that partners ask for: what is looked at before one is taken on.

use entente_host::Error;
use entente_host::terminal::clean;
use entente_protocols::identity::Roster;
use entente_protocols::identity::petition::{Asking, Petition};
use entente_protocols::study::Study;

use super::partners::participants_of;
use super::record::new_record;
use crate::hall::Hall;
use crate::store::{StudyRecord, StudyState};

/// The most studies of one partner that go on at once.
const MOST_OPEN: usize = 20;
/// How many seconds a partner's clock may be off, by which its study's identifier is drawn.
const OFF: i64 = 3600;

/// A study that a partner asks for.
pub(crate) struct Asked {
    pub(crate) study: Study,
    /// Drawn by the partner.
    pub(crate) id: String,
    /// Who asks, by its certificate.
    pub(crate) requester: String,
    pub(crate) petition: Petition,
}

/// Keeps a study that a partner asks for, if it may; `None` if that is done.
pub(super) fn keep_new(hall: &Hall, asked: Asked) -> Result<Option<StudyRecord>, Error> {
    if is_known(hall, &asked)? {
        return Ok(None);
    }
    let Asked { study, id, requester, petition } = asked;
    let participants = participants_of(hall, &study)?;
    let new = new_record(id, hall.clock.now(), study, participants);
    let record = StudyRecord { requester, petition: Some(petition), ..new };
    hall.store.add_study(&record)?;
    let (participants, requester) = (record.participants.join(","), &record.requester);
    tracing::info!(study = record.id, requester, participants, "submitted");
    Ok(Some(record))
}

/// Checks that a partner has signed what it asks for, and may ask. True if the study is kept already: a request whose answer was lost
/// comes again.
///
/// Nodes verify the signature themselves. It is verified here as well, so that a partner hears at once what is wrong.
fn is_known(hall: &Hall, asked: &Asked) -> Result<bool, Error> {
    let Asked { study, id, requester, petition } = asked;
    let roster = hall.roster()?;
    let member = roster.members.get(requester).ok_or_else(|| Error::refused("its certificate is revoked"))?;
    let asking = Asking { authority: roster.authority, id, requester };
    let is_signed = petition.study_sha256 == study.digest() && petition.verify(&asking, &member.identity);
    if !is_signed || !petition.has_drawn(id) {
        return Err(Error::refused(format!("the study is not signed by `{requester}` under this identifier"))
            .help("is its node of another version than the coordinator?"));
    }
    let now = hall.clock.now();
    if now.as_second().abs_diff(petition.time) > OFF.unsigned_abs() {
        return Err(Error::refused(format!(
            "the clocks of `{requester}` and of the coordinator differ by more than {OFF} s"
        ))
        .help("synchronise both by NTP, and ask again"));
    }
    match hall.store.study(id)? {
        Some(known)
            if (&known.requester, known.petition.as_ref(), &known.study) == (requester, Some(petition), study) =>
        {
            return Ok(true);
        }
        known if known.is_some() || hall.store.composed(id)?.is_some() => {
            return Err(Error::refused(format!("there is another study `{}`", clean(id))).help("ask again"));
        }
        _ => {}
    }
    study.validate().map_err(Error::refused)?;
    let open = open(hall, requester)?.len();
    if open >= MOST_OPEN {
        return Err(Error::refused(format!("{open} studies that `{requester}` has asked for go on"))
            .help("wait until one has ended, or cancel one"));
    }
    Ok(false)
}

/// Whether a partner has asked for a study, with the key that it has now: one that has enrolled anew may be somebody else.
pub(crate) fn is_of(study: &StudyRecord, partner: &str, roster: &Roster) -> bool {
    let asking = Asking { authority: roster.authority, id: &study.id, requester: partner };
    let signed = study.petition.as_ref().zip(roster.members.get(partner));
    study.requester == partner && signed.is_some_and(|(petition, member)| petition.verify(&asking, &member.identity))
}

/// The studies that go on and that were asked for in a partner's name.
pub(super) fn open(hall: &Hall, partner: &str) -> Result<Vec<String>, Error> {
    let named = |study: &StudyRecord| study.petition.is_some() && study.requester == partner;
    let studies = hall.store.studies()?.into_iter();
    Ok(studies.filter(|study| study.state == StudyState::Running && named(study)).map(|study| study.id).collect())
}

/// By whom a study is given up whose requester is no longer part of the alliance.
pub(super) fn revoked(partner: &str) -> String {
    format!("the operator, who has revoked `{partner}`, which had asked for it")
}
