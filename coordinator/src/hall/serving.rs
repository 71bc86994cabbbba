//! Whether the coordinator runs: a lock that only one process can hold, and a file that says where it listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use entente_host::Error;
use entente_host::{clock, files};
use serde::{Deserialize, Serialize};

/// Held while the coordinator runs.
pub(crate) struct Serving {
    dir: PathBuf,
    _lock: files::Lock,
}

#[derive(Serialize, Deserialize)]
struct Where {
    address: SocketAddr,
    pid: u32,
}

impl Serving {
    /// Becomes the one coordinator of the alliance in `dir`.
    pub(crate) fn claim(dir: &Path) -> Result<Self, Error> {
        if let Some(lock) = files::lock_file(&path(dir))? {
            // One that crashed may have left its address behind.
            let _ = files::remove(&dir.join("serve.json"));
            return Ok(Self { dir: dir.into(), _lock: lock });
        }
        let place = match read(dir) {
            Some(Where { address, pid }) => format!(" (process {pid}, listening on {address})"),
            None => String::new(),
        };
        Err(Error::refused(format!("the coordinator of {} is already running{place}", dir.display()))
            .help("stop it first"))
    }

    /// Lets commands know where it listens.
    pub(crate) fn announce(&self, address: SocketAddr) -> Result<(), Error> {
        let text = serde_json::to_vec(&Where { address, pid: std::process::id() })
            .map_err(|error| Error::failed(error.to_string()))?;
        files::write_private(&self.dir.join("serve.json"), &text)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // If it stays behind, the free lock tells that nothing runs.
        let _ = files::remove(&self.dir.join("serve.json"));
    }
}

/// Where the coordinator of `dir` can be reached from this machine; `None` if it does not run.
pub(crate) fn running(dir: &Path) -> Result<Option<SocketAddr>, Error> {
    let begin = clock::moment();
    while files::is_locked(&path(dir))? {
        if let Some(Where { address, .. }) = read(dir) {
            return Ok(Some(reachable(address)));
        }
        if clock::moment().since(begin) > Duration::from_secs(5) {
            return Err(Error::failed("the coordinator is starting or stopping and does not say where it listens"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(None)
}

fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn path(dir: &Path) -> PathBuf {
    dir.join("serve.lock")
}

fn read(dir: &Path) -> Option<Where> {
    serde_json::from_slice(&files::read(&dir.join("serve.json")).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_coordinator_serves_and_commands_know_where() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        assert_eq!(running(dir).unwrap(), None);
        let serving = Serving::claim(dir).unwrap();
        serving.announce("0.0.0.0:4433".parse().unwrap()).unwrap();
        assert_eq!(running(dir).unwrap(), Some("127.0.0.1:4433".parse().unwrap()));
        let second = Serving::claim(dir).map(drop).unwrap_err();
        assert!(second.to_string().contains("already running") && second.exit_code() == 1, "{second}");
        drop(serving);
        assert_eq!(running(dir).unwrap(), None);
        assert!(Serving::claim(dir).is_ok());
    }
}
