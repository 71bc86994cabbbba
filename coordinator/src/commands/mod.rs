//! The command line of the operator: arguments become calls of the library, errors become words and exit codes.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 done; 1 refused, or the user's mistake; 2 failure.

mod alliance;
mod model;
mod progress;
mod study;
mod tables;
mod verify;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use entente_host::Error;
use tracing_subscriber::EnvFilter;

/// Entente: studies over the data of several organisations, none of which hands its records over.
///
/// The operator of a data alliance makes the alliance (init), invites partners (invite), runs the coordinator (serve) and
/// runs studies (study run).
#[derive(Parser)]
#[command(
    name = "entente",
    version,
    after_help = "\
Example: an alliance from nothing to its first study
  entente init --dir alliance --name spring --listen 0.0.0.0:4433
  entente invite bank --dir alliance --out bank.ticket
  entente serve --dir alliance
  entente study run study.toml --dir alliance --out results

Exit codes: 0 done; 1 refused, or a mistake in what was given; 2 failure."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What to log to stderr: error, warn, info, debug or trace, or a filter such as entente=debug
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<String>,
    /// The form of the log
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORM")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// Which alliance.
#[derive(Args)]
struct Dir {
    /// The alliance's folder, which `entente init` made
    #[arg(long, value_name = "D", default_value = ".")]
    dir: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Make an alliance: certificate authority, coordinator identity, alliance.toml
    #[command(after_help = "\
Example:
  entente init --dir alliance --name spring --listen 0.0.0.0:4433 --address alliance.example:4433")]
    Init(alliance::Init),
    /// Print or write a one-time ticket with which a partner joins
    #[command(after_help = "\
Example:
  entente invite bank --dir alliance --out bank.ticket --expires 2d
Hand the ticket over in private: whoever uses it first is the partner. There it goes on with
  entente-node join bank.ticket --dir node")]
    Invite(alliance::Invite),
    /// Run the coordinator; prints `listening on ADDR` when it is ready
    #[command(after_help = "\
Example:
  entente serve --dir alliance --log info --log-format json
Nodes dial in to the one UDP port. Studies that had not ended are taken up again.")]
    Serve(Dir),
    /// Show who is enrolled and connected, with versions, public schemas and ledgers
    #[command(after_help = "\
Example:
  entente partners --dir alliance --json")]
    Partners(alliance::Partners),
    /// Check, run and look after studies
    #[command(
        subcommand,
        after_help = "\
Example:
  entente study check spend.toml --dir alliance
  entente study run spend.toml --dir alliance --out results"
    )]
    Study(study::Study),
    /// Use a trained model: score a local table, show what it is
    #[command(
        subcommand,
        after_help = "\
Example:
  entente model show results/model.json
  entente model predict results/model.json customers.csv --out scores.csv"
    )]
    Model(model::Model),
    /// End a partner's certificate at once
    #[command(after_help = "\
Example:
  entente revoke bank --dir alliance
Its connection is closed and no other is let in; entente invite bank lets it join anew.")]
    Revoke(alliance::Revoke),
    /// Print the address that opens the operator's page of a running coordinator, with its token
    #[command(after_help = "\
Example:
  entente page --dir alliance")]
    Page(Dir),
    /// End an alarm about a node's ledger, with what was found
    #[command(after_help = "\
Example:
  entente acknowledge 3 --dir alliance --note \"the bank restored a backup; two of its officers have recorded the recovery\"")]
    Acknowledge(alliance::Acknowledge),
    /// Check exported ledgers, receipts and result folders, offline; prints each check and its verdict
    #[command(after_help = "\
Example:
  entente verify bank-ledger.jsonl --roster alliance/roster.json
  entente verify results/receipt.json
  entente verify results bank-ledger.jsonl telecom-ledger.jsonl
Several are held against each other as well: the same studies, participants, charges and hashes.
Exit code 0 if every check passed, 1 if not.")]
    Verify(verify::Verify),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done where not even this can be printed.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(1),
            };
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", printable(&error.to_string()));
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Error> {
    let serves = matches!(cli.command, Command::Serve(_));
    log(cli.log.as_deref().unwrap_or(if serves { "warn,entente=info" } else { "error" }), cli.log_format)?;
    if let Err(problem) = no_core_dumps() {
        tracing::warn!("core dumps could not be turned off ({problem}): a crash may write keys to the disk");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::failed(format!("could not start: {error}")))?;
    match cli.command {
        Command::Init(init) => init.run(),
        Command::Invite(invite) => invite.run(),
        Command::Serve(Dir { dir }) => runtime.block_on(alliance::serve(&dir)),
        Command::Partners(partners) => runtime.block_on(partners.run()),
        Command::Study(study) => runtime.block_on(study.run()),
        Command::Model(model) => model.run(),
        Command::Revoke(revoke) => runtime.block_on(revoke.run()),
        Command::Page(Dir { dir }) => alliance::page(&dir),
        Command::Acknowledge(acknowledge) => runtime.block_on(acknowledge.run()),
        Command::Verify(verify) => verify.run(),
    }
}

/// A crash is not to write keys to the disk.
fn no_core_dumps() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    }
    Ok(())
}

fn log(filter: &str, format: LogFormat) -> Result<(), Error> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Error::refused(format!("--log {filter}: {error}; write for example --log info")))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match format {
        LogFormat::Text => subscriber.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => subscriber.json().try_init(),
    };
    installed.map_err(|error| Error::failed(format!("the log could not be started: {error}")))
}

/// Prints a view as JSON.
fn print_json<T: serde::Serialize>(view: &T) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(view).map_err(|error| Error::failed(error.to_string()))?;
    print(&text)
}

/// Text without control characters but line ends and tabs: what nodes wrote must not steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Prints to stdout; a reader that has gone away is no failure.
fn print(text: &str) -> Result<(), Error> {
    use std::io::Write;

    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", printable(text)).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::failed(format!("could not write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Waits for Ctrl-C or a request to stop.
async fn stop_signal() {
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
            Err(_) => drop(interrupted.await),
        }
    }
    #[cfg(not(unix))]
    drop(interrupted.await);
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_shows_an_example() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example") && help.contains("entente"), "{path} has no example");
            command.get_subcommands().filter(|sub| sub.get_name() != "help").for_each(|sub| check(sub, &path));
        }
        let command = Cli::command();
        command.clone().debug_assert();
        check(&command, "");
    }
}
