//! The memory of this process, in MiB.

use entente_examples::alliance::Error;

/// Now.
pub fn now() -> Result<u64, Error> {
    status("VmRSS:")
}

/// At its peak.
pub fn peak() -> Result<u64, Error> {
    status("VmHWM:")
}

fn status(what: &str) -> Result<u64, Error> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)).ok_or("this system does not tell")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? >> 10)
}
