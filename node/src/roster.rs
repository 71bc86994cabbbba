//! What a person at a node decides about its roster: to accept the one that is offered, and to drop a partner.
//!
//! A running node reads what is decided here before it joins, computes or witnesses anything ([`crate::participant`]).

use entente_host::Error;
use entente_protocols::identity::{Roster, check_name};

use crate::config;
use crate::state::Folder;

/// The fewest digits of a fingerprint that tell that somebody compared it: whoever makes the rosters could search for one that
/// agrees with another in fewer.
const FEWEST_DIGITS: usize = 32;

/// Accepts the roster that the coordinator offers, if it has this fingerprint, or one that begins so; returns it.
pub fn accept(folder: &Folder, fingerprint: &str) -> Result<Roster, Error> {
    accept_without(folder, fingerprint, None)
}

/// The same without a partner that is dropped: it is never in the roster that this node works with, not even for a moment.
pub fn accept_without(folder: &Folder, fingerprint: &str, dropped: Option<&str>) -> Result<Roster, Error> {
    let digits: String = fingerprint.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
    let offered = offered(folder)?;
    let known = offered.fingerprint().to_string();
    if digits.len() < FEWEST_DIGITS || !known.starts_with(&digits) {
        let why = if known.starts_with(&digits) {
            format!("{fingerprint} has fewer than {FEWEST_DIGITS} digits of the offered roster's fingerprint, {known}")
        } else {
            format!("the offered roster has fingerprint {known}, not {fingerprint}")
        };
        return Err(Error::refused(format!("nothing was accepted: {why}")));
    }
    confirm(folder, offered, dropped)
}

/// Checks that a roster is of this node's alliance, has this node's own keys under its name, and no name that paints. Partners who
/// compare fingerprints see only that all were shown the same: whether an entry is true, each can say of its own alone.
///
/// # Errors
///
/// If it is not.
pub fn check(folder: &Folder, me: &str, roster: &Roster) -> Result<(), Error> {
    let Roster { alliance, authority, members, .. } = roster;
    if members.keys().chain([alliance]).any(|name| check_name(name).is_err()) {
        return Err(Error::failed("the coordinator offers a roster with invalid names").help("do not accept it"));
    }
    if *authority != folder.authority()? || members.get(me) != Some(&folder.member()?) {
        return Err(Error::failed(format!(
            "the coordinator offers a roster in which `{me}` does not have this node's keys, or of another alliance"
        ))
        .help("do not accept it, and tell the other partners"));
    }
    Ok(())
}

/// Confirms a roster that somebody has seen and agreed to, without a partner that is dropped.
pub fn confirm(folder: &Folder, mut seen: Roster, dropped: Option<&str>) -> Result<Roster, Error> {
    let path = folder.config();
    let me = config::parse(&path, &folder.read(&path)?)?.name;
    check(folder, &me, &seen)?;
    if let Some(partner) = dropped {
        remove(folder, &mut seen, partner)?;
    }
    folder.pin(&seen)?;
    Ok(seen)
}

/// Drops a partner from the confirmed roster: this node refuses studies with it until a roster that has it is accepted anew.
pub fn drop_partner(folder: &Folder, partner: &str) -> Result<Roster, Error> {
    let pinned = folder.pinned_roster()?.ok_or_else(|| {
        Error::refused(format!("no roster is confirmed here, so nothing is joined with `{partner}` or anybody else"))
            .help(format!("`entente-node roster --accept FINGERPRINT --drop {partner}` accepts the others"))
    })?;
    confirm(folder, pinned, Some(partner))
}

/// The roster that the coordinator offers.
pub fn offered(folder: &Folder) -> Result<Roster, Error> {
    folder.offered_roster()?.ok_or_else(|| {
        Error::refused("the coordinator has not offered a roster yet")
            .help("join with a ticket, and let `entente-node serve` connect")
    })
}

fn remove(folder: &Folder, roster: &mut Roster, partner: &str) -> Result<(), Error> {
    let own = folder.identity()?.public();
    if roster.members.get(partner).is_some_and(|member| member.identity == own) {
        return Err(Error::refused(format!("`{partner}` is this node itself")).help("name another partner to drop"));
    }
    if roster.members.remove(partner).is_none() {
        let names: Vec<&str> = roster.members.keys().map(String::as_str).collect();
        return Err(
            Error::refused(format!("`{partner}` is not in the roster")).help(format!("it has: {}", names.join(", ")))
        );
    }
    Ok(())
}
