//! What a node has missed, on its way to it: a few at a time, as it answers.
//!
//! A notice is over when the node says that it has recorded it, and is told again on its next connection until then.

use std::collections::{HashSet, VecDeque};

use entente_protocols::attempt::AttemptId;

use crate::store::Notice;

/// How many may be without an answer: far fewer than fit into what waits to be written to a node, and with models a node is not
/// to hold more at once.
const OPEN: usize = 16;

/// The notices of a node that has just connected.
pub(crate) struct Notices {
    left: VecDeque<Notice>,
    open: HashSet<AttemptId>,
}

impl Notices {
    /// All that it has missed.
    pub(crate) fn new(missed: Vec<Notice>) -> Self {
        Self { left: missed.into(), open: HashSet::new() }
    }

    /// The next to be told, unless enough are without an answer.
    pub(super) fn next(&mut self) -> Option<Notice> {
        let notice = if self.open.len() < OPEN { self.left.pop_front() } else { None }?;
        self.open.insert(notice.attempt.clone());
        Some(notice)
    }

    /// The node has said something of an attempt: that its end is recorded, or that this has failed.
    pub(super) fn answered(&mut self, attempt: &AttemptId) {
        self.open.remove(attempt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_told_once_and_few_at_a_time() {
        let missed = (1..=100).map(|number| Notice {
            attempt: AttemptId::new("s", number),
            result: None,
            reason: String::new(),
        });
        let mut notices = Notices::new(missed.collect());
        let mut told: Vec<AttemptId> = std::iter::from_fn(|| notices.next()).map(|notice| notice.attempt).collect();
        assert_eq!(told.len(), OPEN);
        notices.answered(&AttemptId::new("another", 1));
        assert_eq!(notices.next(), None);
        for answered in 0..100 {
            notices.answered(&told[answered].clone());
            told.extend(notices.next().map(|notice| notice.attempt));
            assert!(told.len() <= answered + 1 + OPEN);
        }
        assert_eq!(told, (1..=100).map(|number| AttemptId::new("s", number)).collect::<Vec<_>>());
    }
}
