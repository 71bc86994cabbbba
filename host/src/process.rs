//! The life of a command: its arguments, its log, how it is told to stop, and how it ends.
//!
//! ```text
//! arguments ─▶ begin (log, no core dumps) ─▶ the command ─▶ exit: 0 done, 1 refused or the user's mistake, 2 failure
//! ```

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use entente_protocols::reason::Reason;
use tracing_subscriber::EnvFilter;

use crate::error::Error;
use crate::files;
use crate::terminal::printable;

/// What a daemon logs unless told otherwise: what it does, and the warnings of the libraries below it.
pub const DEFAULT_LOG: &str = "warn,entente=info";

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The system's folder for what may live no longer than the machine is up, if it has one for this process: systemd's for a service,
/// else that of the user's session.
pub fn runtime_folder() -> Option<PathBuf> {
    let first = |folders: OsString| std::env::split_paths(&folders).next();
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = set("RUNTIME_DIRECTORY").and_then(first).or_else(|| set("XDG_RUNTIME_DIR").map(PathBuf::from));
    folder.filter(|folder| files::is_folder(folder))
}

/// Bytes of memory that this process may count on: the machine's, or fewer where its control group is given fewer; `None` where
/// the system does not say.
pub fn memory() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let limits = read("/proc/self/cgroup").map(|groups| limit_files(&groups)).unwrap_or_default();
    let limits = limits.iter().filter_map(|path| read(path)?.trim().parse().ok());
    limits.chain(read("/proc/meminfo").and_then(|text| machine_memory(&text))).min()
}

/// Where the limits of a process's control groups stand, by `/proc/self/cgroup`: its own and those of the groups it is in.
fn limit_files(groups: &str) -> Vec<String> {
    let file = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_end_matches('/').to_owned());
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        Some(ends.map(|end| format!("{root}{}/{name}", &path[..end])).collect::<Vec<_>>())
    };
    groups.lines().filter_map(file).flatten().collect()
}

/// The machine's memory, by `/proc/meminfo`.
fn machine_memory(text: &str) -> Option<u64> {
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Parses the arguments of this process. Where there is nothing to run, prints why.
///
/// # Errors
///
/// The exit code: 0 if help or the version was asked for, 1 if the arguments are wrong.
pub fn arguments<C: Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|error| {
        // Nothing can be done where not even this can be printed.
        let _ = error.print();
        ExitCode::from(u8::from(error.use_stderr()))
    })
}

/// Starts the log, to stderr, and turns core dumps off: memory may hold keys and customers.
///
/// # Errors
///
/// If `filter` is not a log filter.
pub fn begin(filter: &str, format: LogFormat) -> Result<(), Error> {
    log(filter, format)?;
    if let Err(problem) = no_core_dumps() {
        tracing::warn!("core dumps could not be turned off ({problem}): a crash may write secrets to the disk");
    }
    Ok(())
}

fn log(filter: &str, format: LogFormat) -> Result<(), Error> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        let problem = format!("`--log {filter}` is not understood ({error})");
        Error::refused(problem).help("use error, warn, info, debug or trace")
    })?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => subscriber.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => subscriber.json().try_init(),
    };
    started.map_err(|error| Error::failed(format!("the log could not be started: {error}")))
}

fn no_core_dumps() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    }
    Ok(())
}

/// Runs asynchronous work to its end, on several threads.
///
/// # Errors
///
/// If the work fails, or no thread can be started.
pub fn block_on<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Error::failed(format!("the runtime could not be started: {error}")))?.block_on(work)
}

/// Waits for Ctrl-C or a request to stop.
pub async fn stop_signal() {
    let interrupted = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminated) => {
                tokio::select! {
                    _ = interrupted => {}
                    _ = terminated.recv() => {}
                }
            }
            // Without a handler, the signal ends the process at once.
            Err(_) => drop(interrupted.await),
        }
    }
    #[cfg(not(unix))]
    drop(interrupted.await);
}

/// Reports how a command ended, and returns its exit code. An error without text is not reported: the command's output
/// has said it.
pub fn exit(ended: Result<(), Error>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let Reason { problem, remedy } = error.reason();
            if !problem.is_empty() {
                eprintln!("error: {}", printable(problem));
            }
            if let Some(remedy) = remedy {
                eprintln!("help: {}", printable(remedy));
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// `command` and its subcommands at any depth whose help shows no example. For tests, which expect an empty list.
pub fn without_example(command: &clap::Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let name = command.get_name().to_owned();
    let shown = help.contains("Example") && help.contains("entente");
    let own = if shown { Vec::new() } else { vec![name.clone()] };
    let below = command.get_subcommands().filter(|below| below.get_name() != "help");
    own.into_iter().chain(below.flat_map(without_example).map(|below| format!("{name} {below}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_help_shows_no_example_is_found_at_any_depth() {
        let shown = |name: &'static str| clap::Command::new(name).after_help("Example:\n  entente x");
        let bare = clap::Command::new("b");
        let command =
            shown("a").subcommand(bare.clone().subcommand(shown("c"))).subcommand(shown("d").subcommand(bare));
        assert_eq!(without_example(&command), ["a b", "a d b"]);
        assert!(without_example(&shown("a").subcommand(shown("b"))).is_empty());
    }

    #[test]
    fn limits_are_looked_for_at_a_group_and_all_it_is_in() {
        assert_eq!(
            limit_files("0::/a/b\n"),
            ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/a/b/memory.max"]
        );
        let older = limit_files("4:cpu,memory:/a\n3:cpuset:/a\n0::/\n");
        assert_eq!(
            older,
            [
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(machine_memory("MemTotal:       24000 kB\nMemFree: 1 kB\n"), Some(24_576_000));
        assert_eq!((machine_memory("MemFree: 1 kB\n"), limit_files("what")), (None, Vec::new()));
    }

    #[test]
    fn a_wrong_filter_says_what_to_write() {
        let error = log("entente=loud", LogFormat::Text).unwrap_err();
        assert!(error.exit_code() == 1 && error.to_string().contains("trace"), "{error}");
    }
}
