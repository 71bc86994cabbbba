//! `model predict`, `show`: what can be done with a model.json, without a coordinator.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use entente_host::Error;
use entente_host::terminal::{print, print_json, printable};

use crate::{scoring, tables};

#[derive(Subcommand)]
pub(super) enum Model {
    /// Score the rows of a local table with a model
    #[command(after_help = "\
Example:
  entente model predict results/model.json customers.csv --out scores.csv
The table (CSV, NDJSON or Parquet) needs columns with the names of the model's features, computed as the study's query does;
all other columns are written as they are, and `score` behind them: a probability, a prediction in the target's unit, or
the number of a cluster.")]
    Predict(Predict),
    /// Show what a model predicts, from what, how well, and what it cost
    #[command(after_help = "Example:\n  entente model show results/model.json")]
    Show(Show),
}

#[derive(Args)]
pub(super) struct Predict {
    /// The model.json of a study of kind train
    model: PathBuf,
    /// The table: a file that ends in .csv, .ndjson, .jsonl or .parquet
    table: PathBuf,
    /// Where to write, as CSV, or as Parquet where the name ends in .parquet; without it, CSV to stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Show {
    /// The model.json of a study of kind train
    model: PathBuf,
    /// Print JSON, the parameters included
    #[arg(long)]
    json: bool,
}

impl Model {
    pub(super) fn run(self) -> Result<(), Error> {
        match self {
            Self::Predict(Predict { model, table, out }) => {
                let model = scoring::read_model(&model)?;
                let other =
                    out.as_deref().filter(|out| out.extension().is_some_and(|it| it != "csv" && it != "parquet"));
                if let Some(other) = other {
                    return Err(Error::refused(format!("{} is neither .csv nor .parquet", other.display()))
                        .help("end its name with one of them"));
                }
                let scored = scoring::predict(&model, &table, out.as_deref())?;
                for (feature, unread) in &scored.unread {
                    let feature = printable(feature);
                    eprintln!("{unread} values of `{feature}` are not what the model knows, and count as missing");
                }
                let to = out.map_or_else(String::new, |out| format!(" to {}", out.display()));
                eprintln!("scored {} rows{to}", scored.rows);
                Ok(())
            }
            Self::Show(Show { model, json }) => {
                let model = scoring::read_model(&model)?;
                if json { print_json(&model) } else { print(tables::model(&model)) }
            }
        }
    }
}
