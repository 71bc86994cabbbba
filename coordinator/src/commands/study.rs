//! `study check`, `run`, `list`, `show`, `cancel`, `resume`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use entente_host::Error;
use entente_host::files;
use entente_host::process::stop_signal;
use entente_host::results::{self, Asks, REHEARSED, check_folder, check_free};
use entente_host::terminal::{print, print_json, print_json_text};
use entente_protocols::kind::Kind;
use entente_protocols::reason::Reason;
use entente_protocols::study as protocol;
use entente_protocols::study::file::{self, Asked};

use super::options::Dir;
use super::progress::Reporter;
use crate::client::{Client, check_study, rehearse_study, run_study};
use crate::hall::serving;
use crate::rehearsal::marked;
use crate::seeds::{check_seeded, run_seeded};
use crate::store::StudyState;
use crate::tables;
use crate::views::{Files, StudyView};

/// How long `check` waits for partners to connect if it has to serve itself.
const CONNECTING: Duration = Duration::from_secs(10);
/// Where in the results folder the model of a lookalike study's seeds is.
const MODEL: &str = "model";

#[derive(Subcommand)]
pub(super) enum Study {
    /// Ask each partner who would approve, what it would cost and how accurate it would be; touches no data
    #[command(after_help = "\
Example:
  entente study check spend.toml --dir alliance
  entente study check spend.toml --dir alliance --rehearse
Exit code 1 if somebody would refuse.")]
    Check(Check),
    /// Run a study: submit it, follow it, write the result folder
    #[command(after_help = "\
Example:
  entente study run spend.toml --dir alliance --out results
  entente study run spend.toml --dir alliance --no-wait
Without a running coordinator it serves for the length of the study. A lookalike study with `seeds` trains its
model first, and writes that result to RESULTS/model; the coordinator takes one after the other under one identifier.")]
    Run(Run),
    /// List all studies
    #[command(after_help = "Example:\n  entente study list --dir alliance")]
    List(List),
    /// Show a study: the partner, stage and reason that it waits for; or write its result
    #[command(after_help = "\
Example:
  entente study show 20261122-101530-a1b2c3 --dir alliance
  entente study show 20261122-101530-a1b2c3 --dir alliance --out results")]
    Show(Show),
    /// Give a study up; what was charged stays charged
    #[command(after_help = "Example:\n  entente study cancel 20261122-101530-a1b2c3 --dir alliance")]
    Cancel(One),
    /// Take a study up again that was interrupted, refused, cancelled or has failed
    #[command(after_help = "Example:\n  entente study resume 20261122-101530-a1b2c3 --dir alliance")]
    Resume(One),
}

#[derive(Args)]
pub(super) struct Check {
    /// The study file
    file: PathBuf,
    #[command(flatten)]
    dir: Dir,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Run it over invented rows of the declared schemas instead, so that its SQL is debugged without budget; asks nobody
    #[arg(long)]
    rehearse: bool,
    /// The folder for what came of the rehearsal
    #[arg(long, value_name = "FOLDER", requires = "rehearse")]
    out: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Run {
    /// The study file
    file: PathBuf,
    #[command(flatten)]
    dir: Dir,
    /// The folder for the result
    #[arg(long, value_name = "RESULTS", required_unless_present = "no_wait")]
    out: Option<PathBuf>,
    /// Print result.json
    #[arg(long)]
    json: bool,
    /// Submit only, and print the study's identifier; `entente study show ID --out RESULTS` writes the result later
    #[arg(long, conflicts_with = "out")]
    no_wait: bool,
}

#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    dir: Dir,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Show {
    /// The study's identifier
    id: String,
    #[command(flatten)]
    dir: Dir,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Wait for the study to end and write its result to this folder
    #[arg(long, value_name = "RESULTS")]
    out: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct One {
    /// The study's identifier
    id: String,
    #[command(flatten)]
    dir: Dir,
}

impl Study {
    pub(super) async fn run(self) -> Result<(), Error> {
        match self {
            Self::Check(check) => check.run().await,
            Self::Run(run) => run.run().await,
            Self::List(List { dir: Dir { dir }, json }) => {
                let studies = Client::connect(&dir).await?.studies().await?;
                if json { print_json(&studies) } else { print(tables::studies(&studies)) }
            }
            Self::Show(show) => show.run().await,
            Self::Cancel(One { id, dir }) => print(Client::connect(&dir.dir).await?.cancel(&id).await?),
            Self::Resume(One { id, dir }) => print(Client::connect(&dir.dir).await?.resume(&id).await?),
        }
    }
}

fn read(path: &Path) -> Result<Asked, Error> {
    let text = files::read_text(path)?;
    let model = |name: &str| files::read_named_in(path, name);
    Ok(file::parse_asked(&path.display().to_string(), &text, model)?)
}

impl Check {
    /// Over invented rows.
    async fn rehearse(self) -> Result<(), Error> {
        let study = match read(&self.file)? {
            Asked::Study(study) => *study,
            Asked::Seeded(_) => return Err(Error::refused("only queries are rehearsed")),
        };
        self.out.as_deref().map_or(Ok(()), check_folder)?;
        let files = rehearse_study(&self.dir.dir, study, CONNECTING).await?;
        self.out.as_deref().map_or(Ok(()), |out| write(out, &files))?;
        let content = files.get(&marked("result.json")).map_or(&[][..], Vec::as_slice);
        if self.json {
            return print_json_text(String::from_utf8_lossy(content).trim_end());
        }
        print(REHEARSED)?;
        print(tables::result(content))
    }

    async fn run(self) -> Result<(), Error> {
        if self.rehearse {
            return self.rehearse().await;
        }
        let view = match read(&self.file)? {
            Asked::Study(study) => check_study(&self.dir.dir, *study, CONNECTING).await?,
            Asked::Seeded(seeded) => check_seeded(&self.dir.dir, &seeded, CONNECTING).await?,
        };
        if self.json {
            print_json(&view)?;
        } else {
            print(tables::check(&view))?;
        }
        if let Some(problem) = view.problem {
            return Err(Error::refused(Reason { problem, remedy: view.remedy }));
        }
        let by = |approval: &str| -> Vec<String> {
            let answers = view.partners.iter().filter(|answer| answer.approval == approval);
            answers
                .map(|answer| format!("`{}`: {}", answer.name, answer.reason.as_deref().unwrap_or("no reason")))
                .collect()
        };
        let (refused, unknown) = (by("refused"), by("unknown"));
        if !refused.is_empty() {
            Err(Error::refused(format!("the study would be refused by {}", refused.join("; "))))
        } else if !unknown.is_empty() {
            Err(Error::failed(format!("not everybody has answered: {}", unknown.join("; "))))
        } else {
            Ok(())
        }
    }
}

impl Run {
    async fn run(self) -> Result<(), Error> {
        let (asked, dir) = (read(&self.file)?, &self.dir.dir);
        let Some(out) = self.out else { return print(Client::connect(dir).await?.submit_asked(asked).await?) };
        check_folder(&out)?;
        match &asked {
            Asked::Study(study) => check_free(&out, &asks(study, study.spec.kind()))?,
            Asked::Seeded(seeded) => {
                let folder = out.join(MODEL);
                check_folder(&folder)?;
                check_free(&out, &asks(seeded.training(), Kind::Lookalike))?;
                check_free(&folder, &asks(seeded.training(), Kind::Train))?;
            }
        }
        let serves = serving::running(dir)?.is_none();
        let mut reporter = Reporter::new();
        let id = reporter.id();
        let id = || id.borrow().clone();
        let result = match asked {
            Asked::Study(study) => tokio::select! {
                result = run_study(dir, *study, |update| reporter.report(update)) => result,
                () = stop_signal() => Err(interrupted(id(), dir, serves)),
            },
            Asked::Seeded(seeded) => {
                let folder = out.join(MODEL);
                reporter.say("training the model of the seeds first");
                tokio::select! {
                    result = run_seeded(dir, &seeded, |update| reporter.report(update), |files| write(&folder, files)) => result,
                    () = stop_signal() => Err(interrupted(id(), dir, serves)),
                }
            }
        };
        reporter.end();
        deliver(&out, &result?, self.json)
    }
}

fn interrupted(id: Option<String>, dir: &Path, served: bool) -> Error {
    let (id, dir) = (id.unwrap_or_else(|| "ID".into()), dir.display());
    let (stands, first) = if served {
        ("interrupted; the study is kept", format!("entente serve --dir {dir} continues it; then "))
    } else {
        ("interrupted; the study continues", String::new())
    };
    Error::refused(stands).help(format!(
        "{first}entente study show {id} --dir {dir} --out RESULTS writes its result, and entente study cancel {id} --dir {dir} \
         ends it"
    ))
}

impl Show {
    async fn run(self) -> Result<(), Error> {
        let dir = &self.dir.dir;
        let Some(out) = self.out else {
            let study = Client::connect(dir).await?.show(&self.id).await?;
            return if self.json { print_json(&study) } else { print(tables::study(&study)) };
        };
        check_folder(&out)?;
        let study = Client::connect(dir).await?.show(&self.id).await?;
        let StudyView { id, name, kind, purpose, .. } = &study;
        check_free(&out, &Asks { id: Some(id), name, kind: *kind, purpose })?;
        let mut reporter = Reporter::new();
        let on_leg = |files: &Files| {
            let folder = out.join(MODEL);
            check_folder(&folder)?;
            write(&folder, files)
        };
        if study.state == StudyState::Running {
            reporter.say(&format!("study {} is running", study.id));
        }
        let result = Client::connect(dir).await?.follow_legs(&self.id, |update| reporter.report(update), on_leg).await;
        reporter.end();
        deliver(&out, &result?, self.json)
    }
}

/// By what a study that is yet to be submitted is known again in its results.
fn asks(study: &protocol::Study, kind: Kind) -> Asks<'_> {
    Asks { id: None, name: &study.name, kind, purpose: &study.purpose }
}

/// Writes the result folder and prints the result.
fn deliver(out: &Path, result: &Files, json: bool) -> Result<(), Error> {
    write(out, result)?;
    let content = result.get("result.json").map_or(&[][..], Vec::as_slice);
    if json { print_json_text(String::from_utf8_lossy(content).trim_end()) } else { print(tables::result(content)) }
}

/// Writes the result folder.
fn write(out: &Path, result: &Files) -> Result<(), Error> {
    let wrote = results::write(out, result)?;
    eprintln!("{wrote}");
    Ok(())
}
