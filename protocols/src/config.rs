//! Reading TOML that people write: unknown keys are errors that suggest the nearest known one.

use serde::de::DeserializeOwned;

use crate::reason::Reason;

/// A file that could not be used, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {reason}")]
pub struct ConfigError {
    /// Which file.
    pub file: String,
    /// What is wrong, where, and what to do.
    pub reason: Reason,
}

/// Parses `text`, the content of `file`.
pub fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let reason = with_suggestion(error.message());
        let reason = match line {
            Some(line) => reason.at(format_args!("line {line}")),
            None => reason,
        };
        ConfigError { file: file.into(), reason }
    })
}

/// Adds the nearest known name to serde's "unknown field `x`, expected one of `a`, `b`".
fn with_suggestion(message: &str) -> Reason {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let what = if message.starts_with("unknown field") { "key" } else { "value" };
    match quoted.split_first() {
        Some((unknown, known)) if message.starts_with("unknown ") => match nearest(unknown, known.iter().copied()) {
            Some(nearest) => {
                Reason::from(format!("unknown {what} `{unknown}`")).help(format!("did you mean `{nearest}`?"))
            }
            None => {
                Reason::from(format!("unknown {what} `{unknown}`")).help(format!("known here: {}", known.join(", ")))
            }
        },
        Some((missing, _)) if message.starts_with("missing field") => {
            Reason::from(format!("the key `{missing}` is missing")).help("add it")
        }
        _ => message.into(),
    }
}

/// With the one of `known` that `word` most probably was meant to be as the remedy, if any is near.
pub fn suggesting<'a>(reason: Reason, word: &str, known: impl Iterator<Item = &'a str>) -> Reason {
    match nearest(word, known) {
        Some(near) => reason.help(format!("did you mean `{near}`?")),
        None => reason,
    }
}

/// The one of `known` that `word` most probably was meant to be, if any is near.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let score = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        // Short words with two letters exchanged are unlike by the first measure.
        let one_slip = if strsim::osa_distance(&word, &candidate) <= 1 { 0.9 } else { 0.0 };
        strsim::jaro_winkler(&word, &candidate).max(one_slip)
    };
    let scored = known.map(|candidate| (score(candidate), candidate));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(score, _)| *score > 0.75).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Example {
        purpose: String,
        name: Option<String>,
    }

    #[test]
    fn short_words_with_a_slip_are_recognised() {
        assert_eq!(nearest("mni", ["type", "min", "max"].into_iter()), Some("min"));
        assert_eq!(nearest("colour", ["type", "min", "max"].into_iter()), None);
    }

    #[test]
    fn unknown_keys_suggest_the_nearest() {
        let problem = |text| parse::<Example>("x.toml", text).unwrap_err().to_string();
        assert_eq!(
            problem("purpose = \"a\"\npurpse = \"b\""),
            "x.toml: line 2: unknown key `purpse`; did you mean `purpose`?"
        );
        assert!(problem("zzz = 1").contains("known here: purpose, name"));
        assert!(problem("name = \"a\"").contains("purpose"), "a missing key is named");
        assert!(problem("purpose = ").contains("line 1"));
    }
}
