//! Result folders, as whoever has asked for a study is given them.

use std::collections::BTreeMap;
use std::path::Path;

use entente_protocols::kind::Kind;
use entente_protocols::ledger::receipt::{Receipt, Statement};

use crate::error::Error;
use crate::files;
use crate::terminal::one_line;

/// What stands above the numbers of a rehearsal.
pub const REHEARSED: &str = "REHEARSAL: all rows are invented, and no number says anything about anybody";

/// By what a study is known again in its results.
pub struct Asks<'a> {
    /// `None` for one that is yet to be submitted.
    pub id: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
    /// Its kind.
    pub kind: Kind,
    /// Its purpose.
    pub purpose: &'a str,
}

/// That results can be written there is found out before anything is asked of anybody.
///
/// # Errors
///
/// If they cannot.
pub fn check_folder(out: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(out).map_err(|error| Error::file("make the folder", out, &error))?;
    let probe = out.join(".entente-can-write");
    std::fs::write(&probe, b"").map_err(|error| Error::file("write into", out, &error))?;
    std::fs::remove_file(&probe).map_err(|error| Error::file("write into", out, &error))
}

/// That the folder has no other study's result, whose files would be replaced in part. A study that is repeated replaces its own.
///
/// # Errors
///
/// If it has one, or its receipt cannot be read.
pub fn check_free(out: &Path, asks: &Asks<'_>) -> Result<(), Error> {
    let path = out.join("receipt.json");
    if !files::exists(&path) {
        return Ok(());
    }
    let other = match Receipt::parse(&files::read_text(&path)?) {
        Ok(Receipt { statement: Statement { subject, .. }, .. }) => {
            let repeats =
                (subject.name.as_str(), subject.kind, subject.purpose.as_str()) == (asks.name, asks.kind, asks.purpose);
            if repeats || asks.id == Some(&subject.study) {
                return Ok(());
            }
            format!(
                "the result of another study, `{}` ({}, {})",
                one_line(&subject.name),
                subject.kind,
                one_line(&subject.study)
            )
        }
        Err(_) => "a receipt.json that is not one of this version".into(),
    };
    Err(Error::refused(format!("{} has {other}", out.display())).help("give another folder with --out"))
}

/// Writes a result folder, result.json last. What was written, in words.
///
/// # Errors
///
/// If a file has a name that leads elsewhere, or cannot be written.
pub fn write(out: &Path, result: &BTreeMap<String, Vec<u8>>) -> Result<String, Error> {
    let plain = |file: &str| Path::new(file).file_name().is_some_and(|name| name == file);
    if let Some(file) = result.keys().find(|file| !plain(file)) {
        return Err(Error::failed(format!("the result has a file with the name `{file}`, and nothing is written")));
    }
    let (last, others): (Vec<_>, Vec<_>) = result.iter().partition(|(file, _)| *file == "result.json");
    for (file, content) in others.into_iter().chain(last) {
        files::write_public(&out.join(file), content)?;
    }
    let names: Vec<&str> = result.keys().map(String::as_str).collect();
    Ok(format!("wrote {} to {}", names.join(", "), out.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_result_stay_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        check_folder(&out).unwrap();
        for bad in ["../x", "/tmp/x", "a/b", "..", ""] {
            let files = [(bad.to_owned(), vec![1]), ("a.csv".to_owned(), vec![1])].into();
            assert!(write(&out, &files).is_err(), "{bad}");
        }
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0);
        let files = [("result.json".to_owned(), b"{}".to_vec()), ("a.csv".to_owned(), vec![1])].into();
        assert!(write(&out, &files).unwrap().starts_with("wrote a.csv, result.json to "));
        assert_eq!(std::fs::read(out.join("result.json")).unwrap(), b"{}");
    }
}
