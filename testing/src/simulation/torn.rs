//! Writes that do not come to their end: what a loss of power leaves of them, where nothing promises more.
//!
//! ```text
//! short    the log of a database ends within the transaction that was being written: `state` has all of it, `image` nothing
//! noise    what was to be written there before is what the disk had there
//! moved    a page that was being moved from the log to the database is half there
//! begun    a file that replaces another is begun, and not yet under its name
//! ```
//!
//! What is synchronised is whole: there is no model of what the system has accepted and not yet written. Databases synchronise each transaction,
//! and files are synchronised before they have their names, so that what was not, is one of the above.

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use entente_examples::alliance::Error;

use crate::choices::Choices;

/// A log's header, and that of each of its frames.
const HEADER: usize = 32;
const FRAME: usize = 24;

/// Tears what is written to a database between `image`, in which it is torn, and `later`.
pub(super) fn database(image: &Path, later: &Path, choices: &mut Choices) -> Result<(), Error> {
    // How many of these are needed depends on what was written, which no other choice may depend on.
    let choices = &mut Choices::new(choices.next(), [0x7ea2]);
    let (log, page) = (with(image, "-wal"), choices.unit());
    let Ok(before) = fs::read(&log) else { return Ok(()) };
    let after = fs::read(with(later, "-wal")).unwrap_or_default();
    moved(image, &before, page)?;
    let noise: Vec<u8> = (0..choices.below(6000)).map(|_| choices.next().to_le_bytes()[0]).collect();
    let torn = match after.strip_prefix(&before[..]) {
        Some(written) if !written.is_empty() && !before.is_empty() => {
            let transaction = first_transaction(&after, before.len());
            // A byte less than all of it at most: with all of it, it may have been synchronised.
            &written[..choices.below(transaction)]
        }
        _ => &noise[..],
    };
    Ok(OpenOptions::new().append(true).open(log)?.write_all(torn)?)
}

/// Begins a file that was to replace another one in a folder.
pub(super) fn file(folder: &Path, choices: &mut Choices) -> Result<(), Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    let name = if names.is_empty() { "new".to_owned() } else { names.swap_remove(choices.below(names.len())) };
    // As `host::files` calls it.
    Ok(fs::write(folder.join(format!(".{name}.1-1.new")), choices.next().to_le_bytes())?)
}

fn with(path: &Path, end: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn number(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..at + 4).map_or(0, |bytes| bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

/// How many bytes the first transaction has that a log has from `start` on.
fn first_transaction(log: &[u8], start: usize) -> usize {
    let frame = FRAME + number(log, 8);
    let mut end = start;
    while end + frame <= log.len() {
        // The last frame of a transaction says how long the database is after it.
        let is_last = number(log, end + 4) != 0;
        end += frame;
        if is_last {
            break;
        }
    }
    (end - start).max(1)
}

/// Half a page of a database is what it was, half is what its log has of it: any one that the log still has.
fn moved(database: &Path, log: &[u8], which: f64) -> Result<(), Error> {
    let size = number(log, 8);
    let Some(frames) = log.get(HEADER..).filter(|_| size > 0) else { return Ok(()) };
    let frames: Vec<&[u8]> =
        frames.chunks_exact(FRAME + size).take_while(|frame| frame[8..16] == log[16..24]).collect();
    let whole = frames.iter().rposition(|frame| number(frame, 4) != 0).map_or(0, |last| last + 1);
    let Some(frame) = frames[..whole].get((which * whole as f64) as usize) else { return Ok(()) };
    let mut file = OpenOptions::new().write(true).open(database)?;
    file.seek(SeekFrom::Start((number(frame, 0) as u64 - 1) * size as u64))?;
    Ok(file.write_all(&frame[FRAME..FRAME + size / 2])?)
}
