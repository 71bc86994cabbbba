//! Which data a study is asked over: identified by their contents, apart from studies.
//!
//! ```text
//! at start, and when a stamp has changed ─▶ files are read and hashed, in a thread of its own ─▶ contents by stamp, on the disk
//! Propose ─▶ are all contents known? ─no─▶ Waiting, kept in memory ─(once they are)─▶ looked at again
//!                └─yes─▶ snapshot = hash of contents, consent and schema under the node's secret
//! ```
//!
//! Nothing is read in the path of a proposal, since the time would tell how much changed, and nothing after a charge: what changes
//! then is computed over as it is, and its answer is stored under no snapshot.

use entente_host::Error;
use entente_host::locks::lock;
use entente_protocols::attempt::AttemptId;
use entente_protocols::digest::Digest;
use entente_protocols::study::proposal::Proposal;
use entente_protocols::wire::message::{ToAttempt, ToNode};

use super::{Participant, Problem};
use crate::data::{Dataset, open_source};

/// The most proposals that are kept until data are identified. Others come again with the next connection.
const MOST_KEPT: usize = 64;

impl Participant {
    /// Finds out what the files of all data sets contain, as far as that is not known, and about how large they are that were not seen
    /// before; the number of files that were read for it. May take as long as reading them does.
    pub fn identify(&self) -> Result<usize, Error> {
        let count = self.identities.identify()?;
        for (name, config) in &self.config.datasets {
            if self.sizes.rows(name)?.is_none()
                && let Ok(source) = open_source(&config.source, self.folder.path())
            {
                self.sizes.record(name, source.about())?;
            }
        }
        Ok(count)
    }

    /// What identifies the data as they were when they were opened, and how they are read; keyed, so that nobody outside can compare it.
    pub(super) fn snapshot(&self, dataset: &Dataset) -> Option<Digest> {
        let contents = dataset.identity(&|stamp| self.identities.contents(stamp))?;
        let consent = dataset.consent().map_or("", |consent| consent.text());
        let parts = [&self.snapshot_secret.0[..], &contents.0, consent.as_bytes(), &dataset.schema().digest().0];
        Some(Digest::of("entente snapshot 2", &parts))
    }

    /// Has data identified, and keeps the proposal that waits for it, in memory alone.
    pub(super) fn wait_for_identity(&self, id: &AttemptId, proposal: &Proposal) -> Problem {
        let mut unidentified = lock(&self.unidentified);
        if unidentified.len() < MOST_KEPT || unidentified.contains_key(id) {
            unidentified.insert(id.clone(), proposal.clone());
        }
        self.identities.begin();
        Problem::Waiting(format!("{}: its data set changed; it is being identified", self.name()))
    }

    /// What waited for data to be identified, once somebody has looked at all of them.
    pub(super) fn identified_since(&self) -> Vec<ToNode> {
        if self.identities.is_begun() {
            return Vec::new();
        }
        let waited = std::mem::take(&mut *lock(&self.unidentified));
        waited.into_iter().map(|(id, proposal)| ToNode::Attempt(id, ToAttempt::Propose(Box::new(proposal)))).collect()
    }
}
