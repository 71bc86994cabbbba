//! `entente-node study check`, `run`, `list`, `show`, `cancel`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use entente_host::Error;
use entente_host::files;
use entente_host::process::stop_signal;
use entente_host::results::{self, Asks, REHEARSED, check_folder, check_free};
use entente_host::terminal::{one_line, print, print_json_text};
use entente_protocols::study as protocol;
use entente_protocols::study::file;
use entente_protocols::wire::message::{News, Progress};

use super::options::Dir;
use crate::asking::{Delivered, Requester, Shown, Update};

#[derive(Subcommand)]
pub(super) enum Study {
    /// Ask each partner who would approve, what it would cost and how accurate it would be; touches no data
    #[command(after_help = "\
Example:
  entente-node study check spend.toml --dir bank
  entente-node study check spend.toml --dir bank --rehearse
Exit code 1 if somebody would refuse.")]
    Check(Check),
    /// Ask for a study as this partner: sign it, follow it, write the result folder
    #[command(after_help = "\
Example:
  entente-node study run spend.toml --dir bank --out results
  entente-node study run spend.toml --dir bank --no-wait
The study is signed with this node's identity, so that everybody can verify who asks. It goes on when this command is stopped.")]
    Run(Run),
    /// List the studies that this partner has asked for
    #[command(after_help = "Example:\n  entente-node study list --dir bank")]
    List(List),
    /// Show a study that this partner has asked for; or write its result
    #[command(after_help = "\
Example:
  entente-node study show 20261122-101530-a1b2c3 --dir bank
  entente-node study show 20261122-101530-a1b2c3 --dir bank --out results")]
    Show(Show),
    /// Give up a study that this partner has asked for; what was charged stays charged
    #[command(after_help = "Example:\n  entente-node study cancel 20261122-101530-a1b2c3 --dir bank")]
    Cancel(Cancel),
}

#[derive(Args)]
pub(super) struct Check {
    /// The study file.
    file: PathBuf,
    #[command(flatten)]
    dir: Dir,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Run it over invented rows of the declared schemas instead, so that its SQL is debugged without budget; asks nobody.
    #[arg(long)]
    rehearse: bool,
    /// The folder for what came of the rehearsal.
    #[arg(long, value_name = "FOLDER", requires = "rehearse")]
    out: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Run {
    /// The study file.
    file: PathBuf,
    #[command(flatten)]
    dir: Dir,
    /// The folder for the result.
    #[arg(long, value_name = "RESULTS", required_unless_present = "no_wait")]
    out: Option<PathBuf>,
    /// Print result.json.
    #[arg(long)]
    json: bool,
    /// Ask only, and print the study's identifier; `entente-node study show ID --out RESULTS` writes the result later.
    #[arg(long, conflicts_with = "out")]
    no_wait: bool,
}

#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    dir: Dir,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Show {
    /// The study's identifier.
    id: String,
    #[command(flatten)]
    dir: Dir,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Wait for the study to end and write its result to this folder.
    #[arg(long, value_name = "RESULTS")]
    out: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Cancel {
    /// The study's identifier.
    id: String,
    #[command(flatten)]
    dir: Dir,
}

impl Study {
    pub(super) async fn run(self) -> Result<(), Error> {
        match self {
            Self::Check(check) => check.run().await,
            Self::Run(run) => run.run().await,
            Self::List(List { dir, json }) => {
                let shown = requester(&dir)?.list().await?;
                if !json && shown.json == "[]" {
                    return print("this partner has asked for no study yet");
                }
                show(&shown, json)
            }
            Self::Show(show) => show.run().await,
            Self::Cancel(Cancel { id, dir }) => print(requester(&dir)?.cancel(&id).await?),
        }
    }
}

fn requester(dir: &Dir) -> Result<Requester, Error> {
    let folder = dir.folder();
    Ok(Requester::new(&folder, crate::config::load(&folder)?))
}

fn show(shown: &Shown, json: bool) -> Result<(), Error> {
    if json { print_json_text(&shown.json) } else { print(&shown.text) }
}

fn read(path: &Path) -> Result<protocol::Study, Error> {
    let text = files::read_text(path)?;
    let model = |name: &str| files::read_named_in(path, name);
    Ok(file::parse_with(&path.display().to_string(), &text, model)?)
}

impl Check {
    async fn run(self) -> Result<(), Error> {
        let (requester, study) = (requester(&self.dir)?, read(&self.file)?);
        if self.rehearse {
            self.out.as_deref().map_or(Ok(()), check_folder)?;
            let Delivered { files, text } = requester.rehearse(study).await?;
            if let Some(out) = &self.out {
                eprintln!("{}", one_line(&results::write(out, &files)?));
            }
            let result = files.iter().find(|(name, _)| name.ends_with("result.json"));
            let content = result.map_or(&[][..], |(_, content)| content.as_slice());
            return if self.json {
                print_json_text(String::from_utf8_lossy(content).trim_end())
            } else {
                print(format!("{REHEARSED}\n{text}"))
            };
        }
        let shown = requester.check(study).await?;
        show(&shown, self.json)?;
        if shown.refused { Err(Error::refused("the study would be refused")) } else { Ok(()) }
    }
}

impl Run {
    async fn run(self) -> Result<(), Error> {
        let (requester, study) = (requester(&self.dir)?, read(&self.file)?);
        let Some(out) = self.out else { return print(requester.submit(requester.sign(study)?).await?) };
        check_folder(&out)?;
        check_free(&out, &Asks { id: None, name: &study.name, kind: study.spec.kind(), purpose: &study.purpose })?;
        let asked = requester.sign(study)?;
        let (id, dir) = (asked.id.clone(), self.dir.dir.display());
        let mut last = None;
        let delivered = tokio::select! {
            delivered = requester.run(asked, |update| report(&update, &mut last)) => delivered?,
            () = stop_signal() => return Err(Error::refused("interrupted; a study that was accepted goes on").help(format!(
                "entente-node study show {id} --dir {dir} --out RESULTS writes its result, and entente-node study cancel {id} --dir \
                 {dir} ends it"
            ))),
        };
        deliver(&out, &delivered, self.json)
    }
}

impl Show {
    async fn run(self) -> Result<(), Error> {
        let requester = requester(&self.dir)?;
        let shown = requester.show(&self.id).await?;
        let Some(out) = self.out else { return show(&shown, self.json) };
        check_folder(&out)?;
        let view: View = serde_json::from_str(&shown.json)
            .map_err(|error| Error::failed(format!("the coordinator's answer cannot be read ({error})")))?;
        check_free(&out, &Asks { id: Some(&view.id), name: &view.name, kind: view.kind, purpose: &view.purpose })?;
        let mut last = None;
        let delivered = requester.follow(&self.id, |update| report(&update, &mut last)).await?;
        deliver(&out, &delivered, self.json)
    }
}

/// What is told of a study by which its result is known again.
#[derive(serde::Deserialize)]
struct View {
    id: String,
    name: String,
    kind: entente_protocols::kind::Kind,
    purpose: String,
}

/// A line for each change, to stderr.
fn report(update: &Update, last: &mut Option<Progress>) {
    match update {
        Update::Accepted(id) => eprintln!("study {}", one_line(id)),
        Update::Progress(progress) => {
            let News { notes, line, is_detail } = progress.news(last.as_ref());
            let line = line.as_ref().filter(|_| !is_detail);
            notes.iter().chain(line).for_each(|line| eprintln!("{}", one_line(line)));
            *last = Some(progress.clone());
        }
    }
}

/// Writes the result folder and prints the result.
fn deliver(out: &Path, delivered: &Delivered, json: bool) -> Result<(), Error> {
    let Delivered { files, text } = delivered;
    eprintln!("{}", one_line(&results::write(out, files)?));
    let content = files.get("result.json").map_or(&[][..], Vec::as_slice);
    if json { print_json_text(String::from_utf8_lossy(content).trim_end()) } else { print(text) }
}
