//! How far two machines' clocks may differ.

use std::time::{SystemTime, UNIX_EPOCH};

/// How many seconds two clocks may differ before people are warned.
const TOLERANCE: i64 = 300;

/// Seconds since 1970 by this machine's clock.
pub fn seconds() -> i64 {
    let whole = |time: std::time::Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => whole(since),
        Err(before) => whole(before.duration()).saturating_neg(),
    }
}

/// By how many seconds another machine's clock, which shows `theirs` now, is ahead of this one's. Saturates: a peer may
/// claim anything.
pub fn ahead(theirs: i64) -> i64 {
    theirs.saturating_sub(seconds())
}

/// Whether a clock that is `ahead` by this many seconds, or behind by as many, is worth a warning.
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
        // What a peer makes up does not overflow.
        assert!(is_off(ahead(i64::MIN)) && is_off(ahead(i64::MAX)) && is_off(i64::MIN));
    }
}
