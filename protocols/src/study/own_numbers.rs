//! How far the numbers of a study are one partner's own.
//!
//! Masks hide each partner's numbers in the sum of all, but some studies release numbers of one partner by their nature or because
//! somebody asks for them. These have the noise that they are charged for, so they protect customers as all others do; what they
//! tell of is a partner: how many customers it has, and how many of them leave.

/// What a study tells of single partners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnNumbers {
    /// Nothing: each number is over the customers of all contributors together.
    None,
    /// All its numbers are of this one's customers, as nobody else contributes.
    Alone(String),
    /// How many candidates each of these has, beside what is over all of them.
    Candidates(Vec<String>),
    /// How each one's held-out customers fare, beside what is over all of them.
    Evaluated(Vec<String>),
}

impl OwnNumbers {
    /// Whether the study could be asked without them: a policy admits these by `own_numbers` and not by the study kind.
    pub fn are_extra(&self) -> bool {
        match self {
            Self::None | Self::Alone(_) | Self::Candidates(_) => false,
            Self::Evaluated(_) => true,
        }
    }

    /// What they are, as a sentence for whoever decides on the study or reads its result.
    pub fn words(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Alone(name) => Some(format!(
                "All its numbers are {name}'s own: nobody else's customers are added to them, only noise."
            )),
            Self::Candidates(names) => {
                Some(format!("It shows how many candidates each of {} has, by name and with noise.", names.join(", ")))
            }
            Self::Evaluated(names) => Some(format!(
                "It shows each partner's own numbers, by name and with noise ({}): how many customers it has held out, what became of \
                 them, and how well the model does on them.",
                names.join(", ")
            )),
        }
    }
}
