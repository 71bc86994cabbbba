//! How many refusals of what nobody has looked at are recorded: an entry of the ledger is there for ever, and whoever proposes
//! studies could fill it.

use tracing::warn;

/// The most that are recorded a day, and since the process was started.
const MOST: u32 = 100;
/// The longest reason, in characters.
const LONGEST: usize = 1000;

/// What was recorded today.
#[derive(Default)]
pub(super) struct Refusals {
    day: String,
    recorded: u32,
}

impl Refusals {
    /// A reason as it is recorded.
    pub(super) fn short(reason: &str) -> String {
        reason.chars().take(LONGEST).collect()
    }

    /// The reason to record, if there is room today. The last one says that more may follow that are not.
    pub(super) fn recorded(&mut self, reason: &str, now: &str) -> Option<String> {
        let day = now.get(..10).unwrap_or_default();
        if self.day != day {
            *self = Self { day: day.to_owned(), recorded: 0 };
        }
        self.recorded = self.recorded.saturating_add(1);
        let reason = Self::short(reason);
        match self.recorded {
            0..MOST => Some(reason),
            MOST => {
                warn!(most = MOST, "the last refusal that is recorded today; further ones are only answered");
                Some(format!("{reason} (the last refusal that is recorded on this day)"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_day_and_no_longer_than_a_reason_is() {
        let mut refusals = Refusals::default();
        for day in ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"] {
            let recorded: Vec<String> = (0..3 * MOST).filter_map(|_| refusals.recorded("no", day)).collect();
            assert_eq!(recorded.len(), MOST as usize);
            assert!(recorded[0] == "no" && recorded[MOST as usize - 1].contains("the last refusal"));
        }
        let long = Refusals::default().recorded(&"é".repeat(9000), "2026-01-01T00:00:00Z");
        assert_eq!(long.unwrap().chars().count(), LONGEST);
    }
}
