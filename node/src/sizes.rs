//! About how large data sets are: what replies are timed by ([`crate::grid`]), and so nothing that one customer may change.
//!
//! Of each data set a power of two above its rows is recorded: by `entente-node check`, which staff run, or else when the node first sees
//! it. Rows that come and go later change nothing; staff do, by running `check` again. Whoever sees when replies leave may learn it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use entente_host::{Error, files};

use crate::state::Folder;

/// Data sets with fewer rows are all of one size.
const LEAST: u64 = 1 << 10;

/// The recorded sizes, in the node's folder.
pub struct Sizes(PathBuf);

impl Sizes {
    /// Those of a node.
    pub fn of(folder: &Folder) -> Self {
        Self(folder.state("sizes.json"))
    }

    /// The recorded size of a data set, in rows; `None` before there is one.
    ///
    /// # Errors
    ///
    /// If what was recorded cannot be read.
    pub fn rows(&self, dataset: &str) -> Result<Option<u64>, Error> {
        Ok(self.all()?.get(dataset).copied())
    }

    /// Records that a data set has about so many rows.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn record(&self, dataset: &str, rows: u64) -> Result<(), Error> {
        let mut all = self.all()?;
        let size = rows.saturating_add(1).checked_next_power_of_two().unwrap_or(u64::MAX).max(LEAST);
        if all.insert(dataset.to_owned(), size) == Some(size) {
            return Ok(());
        }
        let json = serde_json::to_vec_pretty(&all).map_err(|error| Error::failed(error.to_string()))?;
        files::write_private(&self.0, &json)
    }

    fn all(&self) -> Result<BTreeMap<String, u64>, Error> {
        let Some(bytes) = files::read_if_there(&self.0)? else { return Ok(BTreeMap::new()) };
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::failed(format!("{} is damaged ({error})", self.0.display()))
                .help("delete it, then run `entente-node check`, which writes it anew")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_power_of_two_above_the_rows() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path());
        folder.create().unwrap();
        let sizes = Sizes::of(&folder);
        assert_eq!(sizes.rows("d").unwrap(), None);
        for (rows, size) in [(0, 1 << 10), (1023, 1 << 10), (1024, 1 << 11), (1_000_000, 1 << 20), (7, 1 << 10)] {
            sizes.record("d", rows).unwrap();
            assert_eq!(Sizes::of(&folder).rows("d").unwrap(), Some(size), "{rows}");
        }
        sizes.record("other", 5000).unwrap();
        assert_eq!(sizes.rows("d").unwrap(), Some(1 << 10));
        files::write_private(&folder.state("sizes.json"), b"{").unwrap();
        assert!(sizes.rows("d").unwrap_err().to_string().contains("damaged"));
    }
}
