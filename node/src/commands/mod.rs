//! The command line: one file a command, or a few that belong together.

/// Prints a line of a result. Whoever reads it may stop reading: that is no failure.
macro_rules! say {
    ($($arguments:tt)*) => {
        $crate::commands::print(&format!($($arguments)*), "\n")
    };
}

mod audience;
mod budget;
mod check;
mod desk;
mod join;
mod ledger;
mod models;
mod office;
mod roster;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use entente_host::Error;
use tracing_subscriber::EnvFilter;

use crate::state::Folder;
use crate::store::StudyStore;

/// A partner's node of an Entente alliance: it takes part in joint studies without a record leaving it.
#[derive(Parser)]
#[command(name = "entente-node", version, max_term_width = 100)]
struct Cli {
    /// Form of the log on stderr.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace.
    #[arg(long, global = true, default_value = "info")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Args, Clone)]
struct Dir {
    /// The node's folder.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

impl Dir {
    fn folder(&self) -> Folder {
        Folder::new(&self.dir)
    }
}

#[derive(Subcommand)]
enum Command {
    /// Join an alliance with a ticket: makes keys here, and writes a node.toml to edit
    #[command(
        after_help = "Example:\n  entente-node join bank.ticket --dir bank\n  entente-node join entente-ticket-1.AAAA… --dir bank"
    )]
    Join {
        /// The ticket, or a file that holds it.
        ticket: String,
        #[command(flatten)]
        dir: Dir,
    },
    /// Check configuration, data, ledger and reachability
    #[command(after_help = "Example:\n  entente-node check --dir bank")]
    Check {
        #[command(flatten)]
        dir: Dir,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run the node; prints `connected to ADDR` when ready and keeps reconnecting
    #[command(after_help = "Example:\n  entente-node serve --dir bank")]
    Serve {
        #[command(flatten)]
        dir: Dir,
    },
    /// List the studies this node was asked to take part in
    #[command(after_help = "Example:\n  entente-node studies --dir bank")]
    Studies {
        #[command(flatten)]
        dir: Dir,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Approve a study that waits for the steward
    #[command(after_help = "Example:\n  entente-node approve 20261122-101500-ab12 --dir bank")]
    Approve {
        /// The study's identifier, as `studies` shows it.
        id: String,
        #[command(flatten)]
        dir: Dir,
        /// Who approves, as the ledger will say; the name of the account by default.
        #[arg(long)]
        steward: Option<String>,
    },
    /// Deny a study
    #[command(after_help = "Example:\n  entente-node deny 20261122-101500-ab12 --reason \"no legal basis\" --dir bank")]
    Deny {
        /// The study's identifier, as `studies` shows it.
        id: String,
        /// Why; the operator and the ledger are told.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        dir: Dir,
        /// Who denies, as the ledger will say; the name of the account by default.
        #[arg(long)]
        steward: Option<String>,
    },
    /// Show what has been spent of each data set's privacy budget
    #[command(after_help = "Example:\n  entente-node budget --dir bank")]
    Budget {
        #[command(flatten)]
        dir: Dir,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the address that opens the review page of a running node, with its token
    #[command(after_help = "Example:\n  entente-node review --dir bank")]
    Review {
        #[command(flatten)]
        dir: Dir,
    },
    /// Show, verify or export the ledger; what officers record in it
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// List, export or import the models that this node keeps
    #[command(subcommand)]
    Models(ModelsCommand),
    /// List the audiences of lookalike studies, export the best of one, verify an export
    #[command(subcommand)]
    Audience(audience::AudienceCommand),
    /// Show the pinned roster and its fingerprint
    #[command(
        after_help = "Example:\n  entente-node roster --dir bank\n  entente-node roster --accept 1f3a… --dir bank"
    )]
    Roster {
        #[command(flatten)]
        dir: Dir,
        /// Accept the roster that the coordinator offers, if it has this fingerprint (its first 16 digits or more).
        #[arg(long, value_name = "FINGERPRINT")]
        accept: Option<String>,
    },
}

#[derive(Subcommand)]
enum ModelsCommand {
    /// List the models: those of studies that this node took part in, and those that were imported
    #[command(after_help = "Example:\n  entente-node models list --dir bank")]
    List {
        #[command(flatten)]
        dir: Dir,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write a model's file
    #[command(after_help = "Example:\n  entente-node models export 20261122-101500-ab12 --out model.json --dir bank")]
    Export {
        /// The study that trained it.
        study: String,
        /// Where to write it; to the terminal without it.
        #[arg(long)]
        out: Option<PathBuf>,
        #[command(flatten)]
        dir: Dir,
    },
    /// Keep a model that was given as a file
    #[command(after_help = "Example:\n  entente-node models import results/churn/model.json --dir bank")]
    Import {
        /// The model file.
        file: PathBuf,
        #[command(flatten)]
        dir: Dir,
    },
}

#[derive(Subcommand)]
enum LedgerCommand {
    /// Show the entries
    #[command(after_help = "Example:\n  entente-node ledger show --dir bank")]
    Show {
        #[command(flatten)]
        dir: Dir,
        /// Print the entries as JSON lines.
        #[arg(long)]
        json: bool,
    },
    /// Check chain, sums, caps, states and signatures
    #[command(after_help = "Example:\n  entente-node ledger verify --dir bank")]
    Verify {
        #[command(flatten)]
        dir: Dir,
    },
    /// Write the whole ledger as JSON lines, which `entente verify` checks anywhere
    #[command(after_help = "Example:\n  entente-node ledger export --dir bank --out bank-ledger.jsonl")]
    Export {
        #[command(flatten)]
        dir: Dir,
        /// The file to write; standard output by default.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Attach a note to an entry
    #[command(
        after_help = "Example:\n  entente-node ledger note 12 --officer ann --text \"see contract 7\" --dir bank"
    )]
    Note {
        /// The entry's number, as `show` shows it.
        entry: u64,
        /// The officer; one of `officers` in [policy] of node.toml.
        #[arg(long)]
        officer: String,
        /// What the note says.
        #[arg(long)]
        text: String,
        #[command(flatten)]
        dir: Dir,
    },
    /// Pause a data set or a study kind: nothing leaves from now on, not even in a study that runs
    #[command(
        after_help = "Example:\n  entente-node ledger pause --dataset customers --officer ann --reason \"legal hold\" --dir bank"
    )]
    Pause(Hold),
    /// Let a data set or a study kind go on
    #[command(
        after_help = "Example:\n  entente-node ledger resume --dataset customers --officer ann --reason \"hold is over\" --dir bank"
    )]
    Resume(Hold),
    /// Change a data set's cap: lower at once, higher once a second officer runs the same command
    #[command(
        after_help = "Example:\n  entente-node ledger cap customers --epsilon 5 --officer ann --reason \"board of May\" --dir bank"
    )]
    Cap {
        /// The data set.
        dataset: String,
        /// The cap over its lifetime, at the δ of [budget].
        #[arg(long)]
        epsilon: f64,
        #[command(flatten)]
        by: office::By,
        #[command(flatten)]
        dir: Dir,
    },
    /// End the quarantine of a ledger that is not what witnesses saw: takes over what was spent, once a second officer runs it too
    #[command(
        after_help = "Example:\n  entente-node ledger recover --officer ann --reason \"disk of 3 May lost\" --dir bank"
    )]
    Recover {
        #[command(flatten)]
        by: office::By,
        #[command(flatten)]
        dir: Dir,
    },
}

#[derive(clap::Args)]
struct Hold {
    #[command(flatten)]
    what: office::What,
    #[command(flatten)]
    by: office::By,
    #[command(flatten)]
    dir: Dir,
}

/// Runs the command line and ends with its exit code: 0 done, 1 refused or the user's mistake, 2 failure.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match EnvFilter::try_new(&cli.log) {
        Ok(filter) => {
            let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
            match cli.log_format {
                LogFormat::Text => log.with_target(false).with_ansi(std::io::stderr().is_terminal()).init(),
                LogFormat::Json => log.json().init(),
            }
        }
        Err(_) => {
            eprintln!("error: `--log {}` is not a level; use error, warn, info, debug or trace", cli.log);
            return ExitCode::from(1);
        }
    }
    if let Err(problem) = no_core_dumps() {
        tracing::warn!("core dumps could not be turned off ({problem}): a crash may write secrets to the disk");
    }
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// A crash is not to write keys and customers to the disk.
fn no_core_dumps() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    }
    Ok(())
}

fn run(command: Command) -> Result<ExitCode, Error> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Join { ticket, dir } => runtime()?.block_on(join::run(&ticket, &dir.folder())).map(done),
        Command::Check { dir, json } => runtime()?.block_on(check::run(&dir.folder(), json)),
        Command::Serve { dir } => runtime()?.block_on(serve(&dir.folder())).map(done),
        Command::Studies { dir, json } => desk::list(&dir.folder(), json).map(done),
        Command::Approve { id, dir, steward } => desk::approve(&dir.folder(), &id, steward).map(done),
        Command::Deny { id, reason, dir, steward } => desk::deny(&dir.folder(), &id, reason, steward).map(done),
        Command::Budget { dir, json } => budget::run(&dir.folder(), json).map(done),
        Command::Ledger(LedgerCommand::Show { dir, json }) => ledger::show(&dir.folder(), json).map(done),
        Command::Ledger(LedgerCommand::Verify { dir }) => ledger::verify(&dir.folder()),
        Command::Ledger(LedgerCommand::Export { dir, out }) => ledger::export(&dir.folder(), out.as_deref()).map(done),
        Command::Ledger(LedgerCommand::Note { entry, officer, text, dir }) => {
            office::note(&dir.folder(), entry, officer, text).map(done)
        }
        Command::Ledger(LedgerCommand::Pause(Hold { what, by, dir })) => {
            office::hold(&dir.folder(), what, true, &by).map(done)
        }
        Command::Ledger(LedgerCommand::Resume(Hold { what, by, dir })) => {
            office::hold(&dir.folder(), what, false, &by).map(done)
        }
        Command::Ledger(LedgerCommand::Cap { dataset, epsilon, by, dir }) => {
            office::cap(&dir.folder(), &dataset, epsilon, &by).map(done)
        }
        Command::Ledger(LedgerCommand::Recover { by, dir }) => office::recover(&dir.folder(), &by).map(done),
        Command::Models(ModelsCommand::List { dir, json }) => models::list(&dir.folder(), json).map(done),
        Command::Models(ModelsCommand::Export { study, out, dir }) => {
            models::export(&dir.folder(), &study, out.as_deref()).map(done)
        }
        Command::Models(ModelsCommand::Import { file, dir }) => models::import(&dir.folder(), &file).map(done),
        Command::Audience(command) => audience::run(command),
        Command::Review { dir } => {
            say!("{}", crate::review::url(&dir.folder())?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Roster { dir, accept } => roster::run(&dir.folder(), accept.as_deref()).map(done),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Error::failed(format!("the runtime could not be started: {error}")))
}

async fn serve(folder: &Folder) -> Result<(), Error> {
    let stop = async {
        #[cfg(unix)]
        {
            let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .map_err(|error| Error::failed(format!("signals cannot be awaited: {error}")))?;
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
        Ok(())
    };
    let connected = |address: &str| say!("connected to {address}");
    tokio::select! {
        ended = crate::serve(folder, connected) => ended.map(|never| match never {}),
        stopped = stop => stopped,
    }
}

fn print(text: &str, end: &str) {
    use std::io::Write;
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(end.as_bytes())).and_then(|()| out.flush());
}

/// The studies and models of the node in a folder.
fn studies(folder: &Folder) -> Result<StudyStore, Error> {
    // Says so where no node has joined.
    folder.read(&folder.config())?;
    Ok(StudyStore::open(&folder.state("studies.sqlite"))?)
}

/// A table for a terminal.
fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_BORDERS_ONLY).set_header(header);
    table
}

/// Prints JSON for machines.
fn print_json(value: &impl serde::Serialize) -> Result<(), Error> {
    let json = serde_json::to_string_pretty(value).map_err(|error| Error::failed(error.to_string()))?;
    say!("{json}");
    Ok(())
}
