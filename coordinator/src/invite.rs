//! Invitations: a ticket is written into the store and handed over once.

use std::path::Path;
use std::time::Duration;

use entente_host::Error;
use entente_host::clock::now;
use entente_host::random::random_secret;
use entente_protocols::identity::{Ticket, check_name};

use crate::hall::alliance::Alliance;
use crate::hall::certificates;
use crate::store::Store;

/// How long a ticket lasts unless told otherwise.
pub const DEFAULT_EXPIRES: Duration = Duration::from_secs(7 * 24 * 3600);
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Makes a one-time ticket for `partner`, which need not wait for the coordinator to run.
pub fn invite(dir: &Path, partner: &str, expires: Duration) -> Result<Ticket, Error> {
    check_name(partner).map_err(Error::refused)?;
    if !certificates::can_be_certified(partner) {
        return Err(Error::refused(format!("`{partner}` cannot be a name in a certificate"))
            .help("use at most 63 characters, and no `-` at the end"));
    }
    if expires.is_zero() || expires > LONGEST {
        return Err(Error::refused("a ticket must last for some time, and at most a year")
            .help("write for example --expires 7d"));
    }
    let alliance = Alliance::open(dir)?;
    let store = Store::open(dir)?;
    let secret = random_secret()?;
    let expires = now().as_second().saturating_add(i64::try_from(expires.as_secs()).unwrap_or(i64::MAX));
    store.add_ticket(partner, &secret, expires)?;
    Ok(Ticket {
        alliance: alliance.name().into(),
        partner: partner.into(),
        address: alliance.address().into(),
        authority: alliance.authority(),
        secret: *secret,
        expires,
    })
}

/// Reads `7d`, `12h`, `30m` or `90s`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let problem = || format!("`{text}` is not a duration; write for example 7d, 12h, 30m or 90s");
    let unit = match text.chars().last() {
        Some('d') => 24 * 3600,
        Some('h') => 3600,
        Some('m') => 60,
        Some('s') => 1,
        _ => return Err(problem()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| problem())?;
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("7d"), Ok(DEFAULT_EXPIRES));
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        for bad in ["", "7", "d", "-1d", "7 d", "99999999999999999999d", "18446744073709551615d", "ä"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tickets_need_an_alliance_and_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("d");
        let refusal = |partner: &str| invite(&dir, partner, DEFAULT_EXPIRES).map(drop).unwrap_err().to_string();
        assert!(refusal("bank").contains("entente init"));
        crate::hall::alliance::init(&dir, "spring", "127.0.0.1:4433", None).unwrap();
        assert!(refusal("Bank").contains("lower-case"));
        assert!(refusal("bank-").contains("certificate"));
        let ticket = invite(&dir, "bank", DEFAULT_EXPIRES).unwrap();
        assert_eq!((ticket.partner.as_str(), ticket.address.as_str()), ("bank", "127.0.0.1:4433"));
    }
}
