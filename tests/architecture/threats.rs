//! `docs/threats.md` names tests: each is there.

use std::collections::BTreeSet;
use std::fs;

use super::sources::{root, rust_files};

#[test]
fn the_tests_that_threats_are_shown_by_are_there() {
    let text = fs::read_to_string(root().join("docs/threats.md")).expect("the document is there");
    let named = text.split('`').skip(1).step_by(2).filter(|name| name.contains("::"));
    let named: BTreeSet<&str> = named.filter_map(|name| name.rsplit("::").next()).collect();
    assert!(named.len() > 30, "{named:?}");
    let mut there = BTreeSet::new();
    let crates = ["protocols", "tables", "host", "node", "coordinator", "tests"];
    for file in crates.iter().flat_map(|folder| rust_files(&root().join(folder))) {
        there.extend(file.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
        there.extend(file.parent().and_then(|folder| folder.file_name()?.to_str()).map(str::to_owned));
        let code = fs::read_to_string(&file).expect("sources are text");
        for item in ["fn ", "struct "] {
            let names =
                code.split(item).skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next());
            there.extend(names.flatten().map(str::to_owned));
        }
    }
    let lacking: Vec<&&str> = named.iter().filter(|name| !there.contains(**name)).collect();
    assert!(lacking.is_empty(), "docs/threats.md names what there is not: {lacking:?}");
}
