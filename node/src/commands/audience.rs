//! `entente-node audience list / export / verify`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use entente_host::process::block_on;
use entente_host::terminal::{print, print_json, table};
use entente_host::{Error, clock, files};
use entente_protocols::identity::PublicIdentity;
use serde::Serialize;

use super::options::Dir;
use crate::activation::manifest::Signed;
use crate::activation::{Request, export, manifest_of, sha256_of};
use crate::data::audience::{self, Selection, StudyId};
use crate::state::Folder;

#[derive(Subcommand)]
pub(super) enum Audience {
    /// List the audiences: the customers that each study has scored
    #[command(after_help = "Example:\n  entente-node audience list --dir telecom")]
    List(List),
    /// Export the best customers of an audience for activation, with a signed manifest beside the file
    ///
    /// Consent is asked of the data again, [policy] of node.toml caps how often a customer is exported, and too small
    /// an audience is refused.
    #[command(
        after_help = "Example:\n  entente-node audience export 20261122-101500-ab12 --top 5% --out spring.csv --dir telecom\n  entente-node audience export 20261122-101500-ab12 --bucket 14,15 --out spring.parquet --dir telecom"
    )]
    Export(Export),
    /// Check an exported file against its manifest, and the manifest's signature
    ///
    /// The key is this node's own, or that of the partner of this name in the pinned roster.
    #[command(
        after_help = "Example:\n  entente-node audience verify spring.csv.manifest.json --dir telecom\n  entente-node audience verify spring.csv.manifest.json --identity 9f3c…"
    )]
    Verify(Verify),
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
pub(super) struct Export {
    /// The study, as `audience list` shows it.
    study: String,
    #[command(flatten)]
    choice: Choice,
    /// The file to write, .csv or .parquet; STUDY.csv where you are by default.
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    dir: Dir,
    /// Print the manifest as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Verify {
    /// The manifest; its file has to be in the same folder.
    manifest: PathBuf,
    /// The identity key of the node that exported it, where there is no node here to ask.
    #[arg(long, value_name = "KEY", value_parser = identity)]
    identity: Option<PublicIdentity>,
    #[command(flatten)]
    dir: Dir,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Choice {
    /// The best: a share of all (5%) or a number of customers (5000).
    #[arg(long, value_parser = top)]
    top: Option<Selection>,
    /// Those with at least this score.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true, value_parser = score)]
    min_score: Option<f64>,
    /// Those in one of these buckets.
    #[arg(long, value_name = "BUCKET", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(0..=15))]
    bucket: Vec<u8>,
}

impl Choice {
    fn selection(self) -> Selection {
        let Self { top, min_score, bucket } = self;
        let by_score = top.or(min_score.map(Selection::MinScore));
        by_score.unwrap_or_else(|| Selection::Buckets(bucket.into_iter().collect::<BTreeSet<u8>>()))
    }
}

fn top(text: &str) -> Result<Selection, String> {
    let wrong =
        || "write a share above 0% and up to 100%, such as 5%, or a number of customers, such as 5000".to_owned();
    match text.strip_suffix('%') {
        Some(percent) => {
            let percent = percent.trim().parse().ok().filter(|percent| *percent > 0.0 && *percent <= 100.0);
            percent.map(Selection::Share).ok_or_else(wrong)
        }
        None => text.parse().ok().filter(|count| *count > 0).map(Selection::Count).ok_or_else(wrong),
    }
}

fn score(text: &str) -> Result<f64, String> {
    // Zero has two forms, and an export is known by its selection.
    let score = text.parse().ok().filter(|score: &f64| score.is_finite()).map(|score| score + 0.0);
    score.ok_or_else(|| "write a number, such as 0.7".to_owned())
}

fn identity(text: &str) -> Result<PublicIdentity, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

impl Audience {
    pub(super) fn run(self) -> Result<(), Error> {
        match self {
            Self::List(list) => list.run(),
            Self::Export(export) => block_on(export.run()),
            Self::Verify(verify) => verify.run(),
        }
    }
}

#[derive(Serialize)]
struct Listed {
    study: String,
    dataset: String,
    privacy_unit: String,
    /// `score` or `bucket`.
    output: &'static str,
    customers: u64,
    created: String,
}

impl List {
    fn run(self) -> Result<(), Error> {
        let folder = self.dir.folder();
        // Says so where no node has joined.
        folder.read(&folder.config())?;
        let path = folder.audiences();
        let found = audience::list(&path).map_err(|error| Error::file("read", &path, &error))?;
        let mut listed = Vec::new();
        for header in found {
            match header {
                Ok(audience::Header { study, dataset, privacy_unit, created, opened, customers }) => {
                    listed.push(Listed {
                        study: study.to_string(),
                        dataset,
                        privacy_unit,
                        output: opened.column(),
                        customers,
                        created,
                    })
                }
                Err(error) => eprintln!("warning: {error}"),
            }
        }
        if self.json {
            return print_json(&listed);
        }
        if listed.is_empty() {
            eprintln!("there are no audiences; a study leaves one at the node whose customers it scores");
            return Ok(());
        }
        let mut table = table(["study", "data set", "customers", "value type", "created"]);
        for Listed { study, dataset, output, customers, created, .. } in listed {
            table.add_row([study, dataset, customers.to_string(), output.to_owned(), created]);
        }
        print(table)
    }
}

impl Export {
    async fn run(self) -> Result<(), Error> {
        let Self { study, choice, out, dir, json } = self;
        let study: StudyId = study.parse().map_err(|error| Error::refused(format!("{error}")))?;
        let out = out.unwrap_or_else(|| format!("{study}.csv").into());
        let request = Request { study, selection: choice.selection(), out };
        let manifest = export(&dir.folder(), &request, clock::now()).await?;
        if json {
            return print_json(&manifest);
        }
        let beside = manifest_of(&request.out);
        print(format!("wrote {} customers to {} and {}", manifest.exported, request.out.display(), beside.display()))?;
        print(format!(
            "{} candidates, {} selected; left out: {} without consent now, {} over the contact cap",
            manifest.candidates, manifest.selected, manifest.without_consent, manifest.over_contact_cap
        ))
    }
}

impl Verify {
    fn run(self) -> Result<(), Error> {
        let path = &self.manifest;
        let bytes = files::read(path)?;
        // What is printed says what fails.
        let failed = || Err(Error::failed(""));
        let signed = match Signed::parse(&String::from_utf8_lossy(&bytes)) {
            Ok(signed) => signed,
            Err(problem) => {
                print(format!("manifest    FAILED  {problem}"))?;
                return failed();
            }
        };
        let identity = self.identity.map_or_else(|| known(&self.dir.folder(), &signed.manifest.node), Ok)?;
        let manifest = &signed.manifest;
        let by = signed.is_by(&identity);
        let checks = [
            ("signature", by, format!("node `{}`, key {identity}", manifest.node)),
            match content(path, &manifest.file) {
                Ok(sha256) => ("content", sha256 == manifest.sha256, format!("{} has SHA-256 {sha256}", manifest.file)),
                Err(error) => ("content", false, format!("{} cannot be read: {error}", manifest.file)),
            },
        ];
        for (check, passed, detail) in &checks {
            print(format!("{check:<10}  {}  {detail}", if *passed { "ok    " } else { "FAILED" }))?;
        }
        if !checks.iter().all(|(_, passed, _)| *passed) {
            return failed();
        }
        print(format!(
            "{} customers of study {} ({}), exported {}",
            manifest.exported, manifest.study, manifest.selection, manifest.created
        ))
    }
}

/// The key of the node of this name: this node's own, or what its pinned roster says.
fn known(folder: &Folder, node: &str) -> Result<PublicIdentity, Error> {
    if folder.is_joined() {
        if crate::config::load(folder)?.name == node {
            return Ok(folder.identity()?.public());
        }
        if let Some(member) = folder.pinned_roster()?.and_then(|mut roster| roster.members.remove(node)) {
            return Ok(member.identity);
        }
    }
    let help = "give the folder of a node that has it in its roster with --dir, or the key with --identity";
    Err(Error::refused(format!("the key of node `{node}` is not known in {}", folder.path().display())).help(help))
}

/// The hash of a manifest's file, which is beside it.
fn content(manifest: &Path, file: &str) -> std::io::Result<entente_protocols::digest::Digest> {
    if Path::new(file).file_name().is_none_or(|name| name != file) {
        return Err(std::io::Error::other("it is not beside its manifest"));
    }
    sha256_of(&manifest.with_file_name(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_best_is_a_share_or_a_number() {
        assert_eq!(top("5%"), Ok(Selection::Share(5.0)));
        assert_eq!(top("100 %"), Ok(Selection::Share(100.0)));
        assert_eq!(top("5000"), Ok(Selection::Count(5000)));
        for bad in ["", "0", "0%", "-1", "101%", "NaN%", "%", "5.5", "five"] {
            assert!(top(bad).is_err(), "{bad}");
        }
        assert_eq!(score("-0").map(f64::to_bits), Ok(0));
        assert!(score("inf").is_err() && score("NaN").is_err() && score("x").is_err());
    }

    #[test]
    fn a_manifest_s_file_is_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.csv"), "x").unwrap();
        let manifest = folder.path().join("sub/a.csv.manifest.json");
        for hostile in ["../a.csv", "/etc/hostname", "..", "", "a.csv/"] {
            assert!(content(&manifest, hostile).is_err(), "{hostile}");
        }
        assert!(content(&folder.path().join("a.csv.manifest.json"), "a.csv").is_ok());
    }
}
