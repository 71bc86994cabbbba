//! How large a plan may become.

use super::error::Refusal;
use super::scope::{MAX_NODES, Scope};

/// The nodes of a plan, counted as they come, so that a short text cannot fill the memory.
#[derive(Default)]
pub(super) struct Size(usize);

impl Size {
    pub fn grow(&mut self, scope: &Scope<'_>, nodes: usize) -> Result<(), Refusal> {
        self.0 += nodes;
        if self.0 > MAX_NODES {
            let why = format!("written out the query has over {MAX_NODES} parts");
            return Err(scope.source.refuse(scope.source.whole(), why, "Write less, or several studies"));
        }
        Ok(())
    }
}
