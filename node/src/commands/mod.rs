//! The command line of a node: arguments become calls of the library. One file a command, or a few that belong together.

mod audience;
mod budget;
#[expect(clippy::disallowed_methods, reason = "a link is tried for a while")]
mod check;
#[expect(clippy::disallowed_methods, reason = "a steward is who has logged in")]
mod desk;
mod join;
mod ledger;
mod models;
mod office;
mod options;
mod plan;
mod review;
mod roster;
mod serve;
mod study;
mod witness;
mod witnessed;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use entente_host::Error;
use entente_host::process::{self, DEFAULT_LOG, LogFormat, block_on};

/// A partner's node of an Entente alliance: it takes part in joint studies without a record leaving it.
#[derive(Parser)]
#[command(
    name = "entente-node",
    version,
    max_term_width = 100,
    after_help = "\
Example: a node from its ticket to its first study
  entente-node join bank.ticket --dir bank
  entente-node check --dir bank
  entente-node serve --dir bank
  entente-node roster --accept --dir bank"
)]
struct Cli {
    /// Form of the log on stderr.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,
    #[arg(
        long,
        global = true,
        help = "What is logged: error, warn, info, debug or trace [default: info]",
        long_help = "What is logged: error, warn, info, debug or trace\n\n[default: info]"
    )]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Join an alliance with a ticket: makes keys here, and writes a node.toml to edit
    #[command(
        after_help = "Example:\n  entente-node join bank.ticket --dir bank\n  entente-node join entente-ticket-1.AAAA… --dir bank"
    )]
    Join(join::Join),
    /// Check configuration, data, ledger and reachability
    #[command(after_help = "Example:\n  entente-node check --dir bank")]
    Check(check::Check),
    /// Run the node; prints `connected to ADDR` when ready and keeps reconnecting
    #[command(after_help = "Example:\n  entente-node serve --dir bank")]
    Serve(serve::Serve),
    /// Ask for studies as this partner: check, run and look after them
    #[command(
        subcommand,
        after_help = "\
Example:
  entente-node study check spend.toml --dir bank
  entente-node study run spend.toml --dir bank --out results"
    )]
    Study(study::Study),
    /// List the studies this node was asked to take part in
    #[command(after_help = "Example:\n  entente-node studies --dir bank")]
    Studies(desk::Studies),
    /// Approve a study that waits for the steward
    #[command(after_help = "Example:\n  entente-node approve 20261122-101500-ab12 --dir bank")]
    Approve(desk::Approve),
    /// Deny a study
    #[command(after_help = "Example:\n  entente-node deny 20261122-101500-ab12 --reason \"no legal basis\" --dir bank")]
    Deny(desk::Deny),
    /// Show what has been spent of the privacy budget, by data set and by population
    #[command(after_help = "Example:\n  entente-node budget --dir bank\n  entente-node budget --plan --dir bank")]
    Budget(budget::Budget),
    /// Print the address that opens the review page of a running node, with its token
    #[command(after_help = "Example:\n  entente-node review --dir bank")]
    Review(review::Review),
    /// Show, verify or export the ledger; what officers record in it
    #[command(
        subcommand,
        after_help = "\
Example:
  entente-node ledger show --dir bank
  entente-node ledger export --dir bank --out bank-ledger.jsonl"
    )]
    Ledger(ledger::Ledger),
    /// Write the newest checkpoints of others' ledgers that this node has cosigned, for `entente verify --witnessed`
    #[command(after_help = "Example:\n  entente-node witnessed --out telecom.checkpoints --dir telecom")]
    Witnessed(witnessed::Witnessed),
    /// Record that a partner is away, so that its cosignatures are not waited for, or that it is back
    #[command(
        subcommand,
        after_help = "\
Example:
  entente-node witness away telecom --until 2027-01-05 --officer ann --reason \"moves its data centre\" --dir bank
  entente-node witness back telecom --officer ann --reason \"it is up again\" --dir bank"
    )]
    Witness(witness::Witness),
    /// List, export, import or remove the models that this node keeps
    #[command(
        subcommand,
        after_help = "\
Example:
  entente-node models list --dir bank
  entente-node models import results/churn/model.json --dir bank"
    )]
    Models(models::Models),
    /// List the audiences that studies leave here, export the best of one, verify an export
    #[command(
        subcommand,
        after_help = "\
Example:
  entente-node audience list --dir telecom
  entente-node audience export 20261122-101500-ab12 --top 5% --out spring.csv --dir telecom"
    )]
    Audience(audience::Audience),
    /// Show the pinned and the offered roster with their fingerprints; accept one, drop a partner
    #[command(after_help = "\
Example:
  entente-node roster --dir bank
  entente-node roster --accept 1f3a… --dir bank
  entente-node roster --drop telecom --dir bank")]
    Roster(roster::Roster),
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
        // Whoever asks for a study is shown how it gets on.
        let default = if matches!(self.command, Command::Study(_)) { "error" } else { DEFAULT_LOG };
        process::begin(self.log.as_deref().unwrap_or(default), self.log_format)?;
        match self.command {
            Command::Join(join) => block_on(join.run()),
            Command::Check(check) => block_on(check.run()),
            Command::Serve(serve) => block_on(serve.run()),
            Command::Study(study) => block_on(study.run()),
            Command::Studies(studies) => studies.run(),
            Command::Approve(approve) => approve.run(),
            Command::Deny(deny) => deny.run(),
            Command::Budget(budget) => budget.run(),
            Command::Review(review) => review.run(),
            Command::Ledger(ledger) => ledger.run(),
            Command::Witnessed(witnessed) => witnessed.run(),
            Command::Witness(witness) => witness.run(),
            Command::Models(models) => models.run(),
            Command::Audience(audience) => audience.run(),
            Command::Roster(roster) => roster.run(),
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
