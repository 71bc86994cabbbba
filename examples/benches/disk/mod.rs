//! The floor of whatever is durable.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// The median time of a durable write of 4 KiB in a folder, in seconds.
pub fn durable_write(folder: &Path) -> std::io::Result<f64> {
    let mut file = File::create(folder.join("probe"))?;
    let mut seconds = Vec::new();
    for _ in 0..50 {
        let started = Instant::now();
        file.write_all(&[1; 4096])?;
        file.sync_data()?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[25])
}
