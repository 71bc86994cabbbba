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
        let at = error.span().map_or("", |span| text.get(..span.start).unwrap_or_default());
        let reason = with_suggestion(error.message(), key_of(at));
        let reason = match line {
            Some(line) => reason.at(format_args!("line {line}")),
            None => reason,
        };
        ConfigError { file: file.into(), reason }
    })
}

/// The key whose value begins behind this part of a file.
fn key_of(before: &str) -> Option<&str> {
    let line = before.rsplit('\n').next().unwrap_or_default().trim_end().strip_suffix('=')?;
    let key = line.rsplit(['{', ',']).next().unwrap_or_default().trim();
    (!key.is_empty()).then_some(key)
}

/// Adds the nearest known name to serde's "unknown field `x`, expected one of `a`, `b`"; to its "invalid type: …, expected u32", the key and
/// what to write.
fn with_suggestion(message: &str, key: Option<&str>) -> Reason {
    if let (Some(key), Some((found, expected))) = (key, message.split_once(", expected "))
        && let Some(found) = found.strip_prefix("invalid type: ").or_else(|| found.strip_prefix("invalid value: "))
    {
        let instead = match expected {
            "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative, without quotes or unit",
            "i32" | "i64" | "isize" => "a whole number, without quotes or unit",
            "f32" | "f64" => "a number, without quotes",
            "a string" => "text, in quotes",
            "a boolean" => "true or false, without quotes",
            other => other,
        };
        return Reason::from(format!("`{key}` is {found}")).help(format!("write {instead}"));
    }
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

    #[test]
    fn a_value_of_the_wrong_type_is_said_with_its_key() {
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "only parsed")]
        struct Numbers {
            wait: Option<u32>,
            epsilon: Option<f64>,
            name: Option<String>,
            within: Option<Box<Numbers>>,
        }
        for (text, problem, remedy) in [
            ("wait = \"10m\"", "`wait` is string \"10m\"", "a whole number that is not negative"),
            ("name = \"a\"\nwait = -1", "line 2: `wait` is integer `-1`", "a whole number that is not negative"),
            ("epsilon = \"1.0\"", "`epsilon` is string \"1.0\"", "a number, without quotes"),
            ("name = 7", "`name` is integer `7`", "text, in quotes"),
            ("within = { wait = 1, epsilon = true }", "`epsilon` is boolean `true`", "a number, without quotes"),
        ] {
            let reason = parse::<Numbers>("x.toml", text).unwrap_err().reason;
            assert!(reason.problem.ends_with(problem), "{reason}");
            assert!(reason.remedy.as_deref().is_some_and(|it| it.contains(remedy)), "{reason}");
        }
    }
}
