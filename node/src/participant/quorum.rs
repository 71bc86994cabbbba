//! Which partners witness this node's ledger, and how many of them are enough ([`entente_protocols::ledger::quorum`]).

use std::time::Duration;

use entente_protocols::digest::Digest;
use entente_protocols::ledger::Checkpoint;
use entente_protocols::ledger::absence::Absence;
use entente_protocols::ledger::checkpoint::coordinator_origin;
use entente_protocols::ledger::quorum::quorum;

use crate::config::Config;

/// The witnesses of a node's ledger: the partners that its staff have confirmed, without those that are recorded to be away.
pub(super) struct Quorum {
    /// Their names, from the one that follows this node's on, and from the last one to the first: so all partners have their share.
    pub(super) names: Vec<String>,
    /// How many of them are enough; 0 of an alliance of one.
    pub(super) needed: usize,
    authority: Digest,
}

/// The names of the others from `name` on, continuing from the last to the first.
fn following(name: &str, others: Vec<String>) -> Vec<String> {
    let (before, behind): (Vec<String>, Vec<String>) =
        others.into_iter().filter(|other| other != name).partition(|other| other.as_str() < name);
    behind.into_iter().chain(before).collect()
}

impl Quorum {
    /// Those to ask first: of those who are not silent, as far as they are enough.
    pub(super) fn first(&self, is_silent: impl Fn(&str) -> bool) -> Vec<String> {
        let (silent, answering): (Vec<&String>, Vec<&String>) = self.names.iter().partition(|name| is_silent(name));
        answering.into_iter().chain(silent).take(self.needed).cloned().collect()
    }

    /// Whether enough of them are so.
    pub(super) fn has(&self, is: impl Fn(&str) -> bool) -> bool {
        self.lacks(is).is_none()
    }

    /// How many are lacking that are so, and who is not; `None` if enough are.
    pub(super) fn lacks(&self, is: impl Fn(&str) -> bool) -> Option<(usize, Vec<&str>)> {
        let lacking: Vec<&str> = self.names.iter().map(String::as_str).filter(|name| !is(name)).collect();
        let more = self.needed.saturating_sub(self.names.len() - lacking.len());
        (more > 0).then_some((more, lacking))
    }

    /// Whether enough of them have cosigned this checkpoint.
    pub(super) fn has_cosigned(&self, checkpoint: &Checkpoint) -> bool {
        let alliance = coordinator_origin(self.authority);
        let partner = |line: &str| line.strip_prefix(&alliance)?.strip_prefix('/').map(str::to_owned);
        let by: Vec<String> = checkpoint.cosignatures().filter_map(|line| partner(line.name())).collect();
        self.has(|name| by.iter().any(|other| other == name))
    }
}

impl Quorum {
    /// Of node `me`, that works with `partners`, itself included, as `node.toml` says; some of whom are `away`.
    pub(super) fn of(
        me: &str,
        (partners, authority): (Vec<String>, Digest),
        away: &[Absence],
        config: &Config,
    ) -> Self {
        let count = u32::try_from(partners.len()).unwrap_or(u32::MAX);
        let mut names = following(me, partners);
        let is_alone = names.is_empty();
        names.retain(|name| away.iter().all(|absence| absence.partner != *name));
        let colluders = config.policy.min_colluders.of(count) as usize;
        let demanded = config.oversight.witnesses as usize;
        let needed = if is_alone { 0 } else { quorum(names.len(), colluders, demanded) };
        Self { names, needed, authority }
    }
}

/// How long somebody has not answered, as people say it, and not another time every minute.
pub(super) fn long(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    if minutes < 60 { format!("{minutes} min") } else { format!("{} h", minutes / 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partner_witnesses_its_share() {
        let partners = ["a", "b", "c", "d", "e"].map(String::from);
        for needed in 1..=4 {
            let first = |name: &String| {
                Quorum { names: following(name, partners.to_vec()), needed, authority: Digest::ZERO }.first(|_| false)
            };
            let asked: Vec<String> = partners.iter().flat_map(first).collect();
            let shares = partners.iter().map(|name| asked.iter().filter(|other| *other == name).count());
            assert_eq!(shares.collect::<Vec<_>>(), [needed; 5]);
        }
        let names = following("d", partners.to_vec());
        assert_eq!(names, ["e", "a", "b", "c"]);
        let quorum = Quorum { names, needed: 3, authority: Digest::ZERO };
        assert_eq!(quorum.first(|name| name == "a" || name == "e"), ["b", "c", "e"]);
    }

    #[test]
    fn those_that_are_not_in_it_do_not_count() {
        let quorum = Quorum { names: vec!["b".into(), "c".into()], needed: 2, authority: Digest::ZERO };
        assert_eq!(quorum.lacks(|name| name == "c" || name == "x"), Some((1, vec!["b"])));
        assert!(quorum.has(|_| true));
        let nobody = Quorum { names: Vec::new(), needed: 1, authority: Digest::ZERO };
        assert_eq!(nobody.lacks(|_| true), Some((1, vec![])));
    }
}
