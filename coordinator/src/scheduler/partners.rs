//! Whom a study is about, and what they have published.

use std::collections::BTreeMap;

use entente_host::Error;
use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::privacy::mechanism::MAX_PARTICIPANTS;
use entente_protocols::study::Study;

use crate::hall::{Hall, not_enrolled};

/// The public schemas of those of these partners that have ever connected: as they are now, or were when they were last here.
pub(super) fn published(hall: &Hall, partners: &[String]) -> Result<BTreeMap<String, Vec<DatasetSchema>>, Error> {
    let mut seen = hall.store.last_seen()?;
    let known = |name: &String| {
        let schemas = hall.sessions.schemas(name).or_else(|| Some(seen.remove(name)?.datasets))?;
        Some((name.clone(), schemas))
    };
    Ok(partners.iter().filter_map(known).collect())
}

/// The participants of a new study's first attempt: those named, or all.
pub(super) fn participants_of(hall: &Hall, study: &Study) -> Result<Vec<String>, Error> {
    are_enrolled(hall, &study.partners)?;
    named(hall, study)
}

/// The same of a study that follows another: who has been revoked meanwhile is left out of its attempts, if it goes on without.
pub(super) fn participants_after(hall: &Hall, study: &Study) -> Result<Vec<String>, Error> {
    let enrolled = hall.store.partners()?;
    let left = study.partners.iter().filter(|partner| enrolled.contains_key(*partner)).count();
    if study.min_partners.is_none_or(|least| left < least as usize) {
        are_enrolled(hall, &study.partners)?;
    }
    named(hall, study)
}

fn named(hall: &Hall, study: &Study) -> Result<Vec<String>, Error> {
    let enrolled = hall.store.partners()?;
    if enrolled.is_empty() {
        return Err(Error::refused("nobody is enrolled yet").help("entente invite PARTNER makes a ticket"));
    }
    let mut participants: Vec<String> =
        if study.partners.is_empty() { enrolled.into_keys().collect() } else { study.partners.clone() };
    participants.sort();
    participants.dedup();
    let count = u32::try_from(participants.len()).unwrap_or(u32::MAX);
    if count > MAX_PARTICIPANTS {
        return Err(Error::refused(format!("a study has at most {MAX_PARTICIPANTS} participants, not {count}")));
    }
    if let Some(least) = study.min_partners.filter(|least| *least > count) {
        return Err(Error::refused(format!("`min_partners` is {least}, but only {count} are enrolled")));
    }
    Ok(participants)
}

/// Refuses partners that are not enrolled.
pub(super) fn are_enrolled(hall: &Hall, partners: &[String]) -> Result<(), Error> {
    let enrolled = hall.store.partners()?;
    match partners.iter().find(|partner| !enrolled.contains_key(*partner)) {
        None => Ok(()),
        Some(partner) => {
            let why = not_enrolled(partner, enrolled.keys().map(String::as_str));
            Err(Error::refused(why.at("`partners` of the study")))
        }
    }
}
