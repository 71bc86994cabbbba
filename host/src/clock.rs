//! Clocks of two machines, and how far they may be apart.

use std::time::{SystemTime, UNIX_EPOCH};

/// How many seconds two clocks may be apart before it is worth a word.
const TOLERANCE: i64 = 300;

/// Seconds since 1970 by this machine's clock.
pub fn seconds() -> i64 {
    let whole = |time: std::time::Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => whole(since),
        Err(before) => whole(before.duration()).saturating_neg(),
    }
}

/// By how many seconds another machine's clock, which shows `theirs` now, is ahead of this one's. Whatever it claims to show.
pub fn ahead(theirs: i64) -> i64 {
    theirs.saturating_sub(seconds())
}

/// Whether a clock that is ahead by so many seconds, or behind, is worth a word.
pub fn is_off(ahead: i64) -> bool {
    ahead.saturating_abs() > TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_beyond_five_minutes_either_way() {
        assert!(!is_off(ahead(seconds() + 290)) && !is_off(ahead(seconds() - 290)));
        assert!(is_off(ahead(seconds() + 310)) && is_off(ahead(seconds() - 310)));
        // What a peer makes up is no arithmetic error.
        assert!(is_off(ahead(i64::MIN)) && is_off(ahead(i64::MAX)) && is_off(i64::MIN));
    }
}
