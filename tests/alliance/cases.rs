//! What the two programs say, word for word: the help of every command, and common mistakes.
//!
//! `tests/cases` has what is typed, the exit code and what is printed, stdout before stderr; `[..]` stands for anything within a
//! line. With `ENTENTE_CASES=overwrite` the files are written anew where they differ: read the difference as a user would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use entente_testing::{Error, PARTNERS};

use super::processes::{Place, Running, binary};

#[test]
fn every_command_says_what_it_does() -> Result<(), Error> {
    for program in ["entente", "entente-node"] {
        let shown = help(program, &[])?;
        assert!(shown.len() > 10, "{program} has subcommands");
        pinned(&format!("{program}-help.txt"), &shown)?;
    }
    Ok(())
}

#[test]
fn mistakes_are_answered_with_what_to_do() -> Result<(), Error> {
    let (place, _coordinator, port) = Place::new()?;
    let _nodes = PARTNERS.iter().map(|partner| place.serve(partner)).collect::<Result<Vec<Running>, _>>()?;
    copy(&cases().join("files"), place.folder.path())?;
    let typed = fs::read_to_string(cases().join("mistakes.txt"))?;
    let typed: Vec<&str> = typed.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert!(typed.len() >= 30, "{} cases", typed.len());
    let run = |typed: &str| {
        let words = words(typed);
        let output = Command::new(binary(&words[0])).args(&words[1..]).current_dir(place.folder.path()).output()?;
        let printed = printed(&output)?.replace(&format!(":{port}"), ":PORT");
        assert!(!printed.starts_with("exit 0"), "{typed} is no mistake: {printed}");
        Ok(format!("$ {typed}\n{printed}"))
    };
    pinned("mistakes.txt", &typed.into_iter().map(run).collect::<Result<Vec<String>, Error>>()?)
}

/// The help of a command and of all below it.
fn help(program: &str, command: &[&str]) -> Result<Vec<String>, Error> {
    let output = Command::new(binary(program)).args(command).arg("--help").output()?;
    let text = printed(&output)?;
    let typed = [&[program], command].concat().join(" ");
    let listed = text.split_once("\nCommands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap_or_default());
    // Names are indented by two; what is said of them goes on further in.
    let named = listed.lines().filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    let names = named.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let below: Vec<Vec<String>> =
        names.map(|name| help(program, &[command, &[name]].concat())).collect::<Result<_, _>>()?;
    Ok([vec![format!("$ {typed} --help\n{text}")], below.concat()].concat())
}

/// The exit code and what was printed.
fn printed(output: &std::process::Output) -> Result<String, Error> {
    let code = output.status.code().ok_or("it ends by itself")?;
    let text = String::from_utf8([&output.stdout[..], &output.stderr].concat())?;
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    Ok(format!("exit {code}\n{}", lines.join("\n").trim_end()))
}

/// The words of a command line; those in quotes are one.
fn words(typed: &str) -> Vec<String> {
    let parts = typed.split('"').enumerate();
    let words = parts.flat_map(|(number, part)| match number % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    words.collect()
}

/// Compares cases with those in a file.
fn pinned(file: &str, shown: &[String]) -> Result<(), Error> {
    let path = cases().join(file);
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let expected: Vec<&str> = expected.split("\n\n$ ").map(|case| case.trim_start_matches("$ ").trim_end()).collect();
    let mut whole = Vec::new();
    for (number, case) in shown.iter().enumerate() {
        let expected = expected.get(number).map(|expected| format!("$ {expected}")).unwrap_or_default();
        let fits = fits(&expected, case);
        if std::env::var("ENTENTE_CASES").is_ok_and(|how| how == "overwrite") {
            whole.push(if fits { expected } else { case.clone() });
        } else {
            assert!(fits, "tests/cases/{file} has:\n{expected}\n\nand this is said:\n{case}");
        }
    }
    if whole.is_empty() {
        assert_eq!(expected.len(), shown.len(), "tests/cases/{file} has cases that are not there any more");
    } else {
        fs::write(path, whole.join("\n\n") + "\n")?;
    }
    Ok(())
}

/// Whether a text has the expected lines, in which `[..]` stands for anything.
fn fits(expected: &str, text: &str) -> bool {
    let same = |(expected, line): (&str, &str)| {
        let mut parts = expected.split("[..]");
        let Some(mut rest) = parts.next().and_then(|start| line.strip_prefix(start)) else { return false };
        for part in parts {
            match rest.find(part) {
                Some(at) if !part.is_empty() => rest = &rest[at + part.len()..],
                Some(_) => rest = "",
                None => return false,
            }
        }
        rest.is_empty()
    };
    expected.lines().count() == text.lines().count() && expected.lines().zip(text.lines()).all(same)
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

/// Copies the files of a folder and of those in it.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if path.is_dir() {
            copy(&path, &to.join(name))?;
        } else {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

#[test]
fn a_wildcard_stands_for_anything_within_a_line() {
    assert!(fits("a [..] b\nc[..]", "a 1 2 b\nc"));
    assert!(!fits("a [..] b", "a 1 c") && !fits("a", "a\nb") && !fits("a[..]b", "ab c") && !fits("a", "ab"));
    assert_eq!(words("x --note \"two words\" y"), ["x", "--note", "two words", "y"]);
}
