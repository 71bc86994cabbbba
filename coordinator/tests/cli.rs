//! The binary itself: exit codes, what goes to stdout, and a clean stop.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the program is run as people run it")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn entente(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_entente")).args(arguments).current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn free_port() -> String {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn mistakes_exit_with_1_and_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let listen = free_port();
    let made = entente(&["init", "--dir", "a", "--name", "spring", "--listen", &listen], folder.path());
    assert!(made.status.success(), "{}", text(&made.stderr));
    let cases: [(&[&str], &str); 9] = [
        (&["init", "--dir", "a", "--name", "spring"], "already"),
        (&["init", "--dir", "b", "--name", "spring", "--listen", "127.0.0.1:0"], "port other than 0"),
        (&["init", "--dir", "b", "--nam", "spring"], "--name"),
        (&[], "Usage"),
        (&["partners", "--dir", "nowhere"], "entente init"),
        (&["partners", "--dir", "a"], "entente serve --dir a"),
        (&["study", "list", "--dir", "a"], "entente serve --dir a"),
        (&["study", "run", "none.toml", "--dir", "a", "--out", "r"], "none.toml"),
        (&["invite", "bank", "--dir", "a", "--expires", "soon"], "7d"),
    ];
    for (arguments, expected) in cases {
        let output = entente(arguments, folder.path());
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
        assert_eq!(stdout, "", "{arguments:?}");
    }
    for arguments in [["--help", ""], ["--version", ""], ["study", "--help"]] {
        let arguments: Vec<&str> = arguments.into_iter().filter(|argument| !argument.is_empty()).collect();
        let output = entente(&arguments, folder.path());
        assert!(output.status.success() && !output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn it_serves_until_told_to_stop_and_invites_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let listen = free_port();
    assert!(entente(&["init", "--dir", "a", "--name", "spring", "--listen", &listen], folder.path()).status.success());
    let mut serving = Command::new(env!("CARGO_BIN_EXE_entente"))
        .args(["serve", "--dir", "a"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(serving.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, format!("listening on {listen}\n"));

    let invited = entente(&["invite", "bank", "--dir", "a"], folder.path());
    assert!(
        text(&invited.stdout).parse::<entente_protocols::identity::Ticket>().is_ok(),
        "the ticket and nothing else"
    );
    let partners = entente(&["partners", "--dir", "a", "--json"], folder.path());
    let view: serde_json::Value = serde_json::from_slice(&partners.stdout).unwrap();
    assert_eq!(view["alliance"], "spring");
    let second = entente(&["serve", "--dir", "a"], folder.path());
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("already running"));

    let killed = Command::new("kill").args(["-TERM", &serving.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert!(serving.wait().unwrap().success(), "a clean stop");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "one line is all there is");
}

#[test]
fn a_ledger_that_does_not_verify_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("export"), "nonsense\n").unwrap();
    let output = entente(&["verify", "export"], folder.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("FAILED"));
}
