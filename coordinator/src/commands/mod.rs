//! The command line of the operator: arguments become calls of the library. One file a command, or a few that belong together.

mod alliance;
mod model;
mod options;
#[expect(clippy::disallowed_methods, reason = "progress goes to stderr")]
mod progress;
mod study;
#[expect(clippy::disallowed_methods, reason = "a result is a folder")]
mod verify;

use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use entente_host::Error;
use entente_host::process::{self, DEFAULT_LOG, LogFormat, block_on};

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
    /// What to log to stderr: error, warn, info, debug or trace, or a filter such as entente=debug [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<String>,
    /// Form of the log on stderr
    #[arg(long, global = true, value_parser = log_formats(), default_value = "text", value_name = "FORM")]
    log_format: LogFormat,
}

/// The forms by their names alone: described, they would make every command's help long.
fn log_formats() -> impl TypedValueParser<Value = LogFormat> {
    PossibleValuesParser::new(["text", "json"])
        .map(|name| if name == "json" { LogFormat::Json } else { LogFormat::Text })
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
    Serve(alliance::Serve),
    /// Show who is enrolled and connected, with versions, public schemas and ledgers
    #[command(after_help = "\
Example:
  entente partners --dir alliance --json
  entente partners --dir alliance --checkpoints coordinator.checkpoints")]
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
    Page(alliance::Page),
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
  entente verify results bank-ledger.jsonl telecom-ledger.jsonl --roster alliance/roster.json
  entente verify bank-ledger.jsonl --roster alliance/roster.json --witnessed telecom.checkpoints --cosigned-by 1
Several are held against each other as well: the same studies, participants, charges and hashes.
Exit code 0 if every check passed; 1 if one failed, or if nothing outside of a node supports its ledger.")]
    Verify(verify::Verify),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    match process::arguments::<Cli>() {
        Ok(cli) => process::exit(cli.run()),
        Err(code) => code,
    }
}

impl Cli {
    fn run(self) -> Result<(), Error> {
        // A study shows how it gets on, and is not to be interrupted by a log that nobody asked for.
        let default = if matches!(self.command, Command::Serve(_)) { DEFAULT_LOG } else { "error" };
        process::begin(self.log.as_deref().unwrap_or(default), self.log_format)?;
        match self.command {
            Command::Init(init) => init.run(),
            Command::Invite(invite) => invite.run(),
            Command::Serve(serve) => block_on(serve.run()),
            Command::Partners(partners) => block_on(partners.run()),
            Command::Study(study) => block_on(study.run()),
            Command::Model(model) => model.run(),
            Command::Revoke(revoke) => block_on(revoke.run()),
            Command::Page(page) => page.run(),
            Command::Acknowledge(acknowledge) => block_on(acknowledge.run()),
            Command::Verify(verify) => verify.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_shows_an_example() {
        let command = Cli::command();
        command.clone().debug_assert();
        assert!(process::without_example(&command).is_empty(), "{:?}", process::without_example(&command));
    }
}
