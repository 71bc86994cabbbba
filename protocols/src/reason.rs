//! Why something was not done, apart from what to do about it: a person reads the one and acts on the other.

use std::fmt;

/// A problem, and its remedy where one is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Reason {
    /// What failed, where and why.
    pub problem: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Reason {
    /// With what to do about it.
    #[must_use]
    pub fn help(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// With the place of the problem before it.
    #[must_use]
    pub fn at(self, place: impl fmt::Display) -> Self {
        Self { problem: format!("{place}: {}", self.problem), ..self }
    }
}

impl From<String> for Reason {
    fn from(problem: String) -> Self {
        Self { problem, remedy: None }
    }
}

impl From<&str> for Reason {
    fn from(problem: &str) -> Self {
        problem.to_owned().into()
    }
}

/// On one line, for what knows of no remedies.
impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.to_string()
    }
}

/// On one line, for logs and for what keeps a text.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.remedy {
            Some(remedy) => write!(f, "{}; {remedy}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_stands_apart_and_behind() {
        let reason = Reason::from("unknown key `mni`").help("did you mean `min`?").at("line 2");
        assert_eq!(
            (reason.problem.as_str(), reason.remedy.as_deref()),
            ("line 2: unknown key `mni`", Some("did you mean `min`?"))
        );
        assert_eq!(reason.to_string(), "line 2: unknown key `mni`; did you mean `min`?");
        assert_eq!(Reason::from("it is lost").to_string(), "it is lost");
    }
}
