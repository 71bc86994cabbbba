//! Whether what all keep and log is bounded by what they are told: whoever is told much must not fill a disk, or memory.

use std::path::Path;

use entente_examples::alliance::Error;

use super::log;
use super::party::Party;

/// What a folder may have more than at the beginning, and how much more a byte that is heard: a database grows by pages.
const ROOM: u64 = 1 << 20;
const A_BYTE: u64 = 16;
/// What the coordinator makes of a study: its result, with tables, charts and a page.
const A_RESULT: u64 = 2 << 20;
/// How long the log of a database gets before it is written anew: a thousand pages, and a transaction.
const A_LOG: u64 = 5 << 20;
/// How many lines are logged at most whatever happens, and for each frame that arrives.
const LINES: u64 = 100;
const A_FRAME: u64 = 2;
/// How often folders are looked at: after one of so many steps, and at the end. What was kept is not lost between.
const SELDOM: u64 = 64;

/// What there was at the beginning.
pub(super) struct Room {
    nodes: Vec<u64>,
    coordinator: u64,
    lines: u64,
    frames: u64,
    studies: u64,
}

impl Room {
    /// As it is now, of which so many studies are about to make more.
    pub(super) fn of(parties: &[Party], coordinator: &Path, frames: u64, studies: u64) -> Result<Self, Error> {
        let nodes = parties.iter().map(|party| size(&party.folder().state_folder())).collect::<Result<_, _>>()?;
        Ok(Self { nodes, coordinator: size(coordinator)?, lines: log::lines(), frames, studies })
    }

    /// After a step: so many frames have arrived, and the coordinator has heard so many bytes.
    pub(super) fn check(&self, parties: &[Party], coordinator: &Path, frames: u64, heard: u64) -> Result<(), Error> {
        let (lines, frames) = (log::lines() - self.lines, frames - self.frames);
        if lines > LINES + frames * A_FRAME {
            return Err(format!("{lines} lines are logged, and {frames} frames have arrived").into());
        }
        if frames.is_multiple_of(SELDOM) { self.check_folders(parties, coordinator, heard) } else { Ok(()) }
    }

    /// What is on the disk.
    pub(super) fn check_folders(&self, parties: &[Party], coordinator: &Path, heard: u64) -> Result<(), Error> {
        for (party, before) in parties.iter().zip(&self.nodes) {
            let (size, most) = (size(&party.folder().state_folder())?, before + ROOM + A_BYTE * party.heard);
            if size > most {
                return Err(format!("{} keeps {size} bytes, {} of which were sent", party.name, party.heard).into());
            }
        }
        let size = size(coordinator)?;
        if size > self.coordinator + ROOM + self.studies * A_RESULT + A_BYTE * heard {
            return Err(format!("the coordinator keeps {size} bytes, {heard} of which were sent").into());
        }
        Ok(())
    }
}

/// How long all files of a folder are; of a log of a database, by how much it is longer than that may be.
fn size(folder: &Path) -> Result<u64, Error> {
    let mut all = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // What is there for a moment may be gone.
        let Ok(kind) = entry.metadata() else { continue };
        all += match kind.is_dir() {
            true => size(&entry.path())?,
            false if name.ends_with("-shm") => 0,
            false if name.ends_with("-wal") => kind.len().saturating_sub(A_LOG),
            false => kind.len(),
        };
    }
    Ok(all)
}
