//! Witnesses that are away, by what officers have recorded ([`super::office`]): until a day, and not a moment longer by a clock that is
//! set back.

use serde::{Deserialize, Serialize};

/// A witness that is away: nobody waits for its cosignatures, and they do not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    /// The partner.
    pub partner: String,
    /// Before this day, as `YYYY-MM-DD` in UTC.
    pub until: String,
}

impl std::fmt::Display for Absence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is away until {}", self.partner, self.until)
    }
}

/// That a witness is away, for longer or not so long as was recorded before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Away {
    /// The partner.
    pub partner: String,
    /// Before this day it is away. On this day and from then on it is back.
    pub until: String,
    /// Who says so: two where it is away for longer than was recorded.
    pub officers: Vec<String>,
    /// Who does so in their place, at a node that names no officers; else null.
    pub steward: Option<String>,
    /// Why.
    pub reason: String,
    /// The sequence of the proposal, where there is one.
    pub proposal: Option<u64>,
}

impl Away {
    /// Who says so, in words.
    pub fn by(&self) -> String {
        match &self.steward {
            Some(steward) => format!("{steward}, its steward"),
            None => self.officers.join(" and "),
        }
    }
}

/// The day of a time as entries have it; nothing if it has none.
pub fn day(time: &str) -> &str {
    let day = time.get(..10).unwrap_or_default();
    if is_day(day) { day } else { "" }
}

/// Whether a text is a day, written as `YYYY-MM-DD`.
pub fn is_day(text: &str) -> bool {
    text.parse::<jiff::civil::Date>().is_ok_and(|day| day.to_string() == text)
}
