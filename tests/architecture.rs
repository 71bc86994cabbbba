//! Which part may import which, and what `protocols` must not touch: read off the sources.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let mut found = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the sources are there") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("sources are text");
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder}");
    found
}

/// Code without comments and without its tests, which stand last.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

fn nowhere(folder: &str, words: &[&str]) {
    for (path, text) in sources(folder) {
        if path.to_string_lossy().contains("tests") {
            continue;
        }
        for word in words {
            assert!(!code(&text).contains(word), "{} must not contain `{word}`", path.display());
        }
    }
}

#[test]
fn node_and_coordinator_know_protocols_and_not_each_other() {
    nowhere("node/src", &["entente::", "entente_examples"]);
    nowhere("coordinator/src", &["entente_node", "entente_examples"]);
    nowhere("protocols/src", &["entente_node", "entente::", "entente_examples"]);
}

#[test]
fn protocols_has_no_sockets_files_clocks_ambient_randomness_or_async() {
    let ambient = [
        "std::net",
        "std::fs",
        "std::env",
        "std::process",
        "SystemTime",
        "Instant::now",
        "Timestamp::now",
        "Zoned::now",
        "getrandom",
        "thread_rng",
        "OsRng",
        "async fn",
        "tokio",
    ];
    nowhere("protocols/src", &ambient);
}

#[test]
fn primitives_do_not_know_what_studies_are() {
    for primitive in ["privacy", "secagg", "ledger", "identity", "learn", "lookalike"] {
        nowhere(&format!("protocols/src/{primitive}"), &["crate::study"]);
    }
}

#[test]
fn at_a_node_data_and_link_meet_only_where_a_study_is_executed() {
    nowhere("node/src/data", &["crate::link", "crate::participant", "crate::store", "quinn", "rusqlite"]);
    nowhere("node/src/link", &["crate::data", "crate::study", "datafusion", "arrow"]);
}

/// What a compliance officer sees is read from the ledger: the page has no way to data, studies or the link.
#[test]
fn the_review_page_has_no_door_to_customers() {
    let doors =
        ["crate::data", "crate::study", "crate::participant", "crate::peers", "crate::link", "crate::activation"];
    nowhere("node/src/review", &doors);
    nowhere("pages/src", &["entente_protocols", "entente_node", "rusqlite", "quinn"]);
}

/// The ledger's double for tests survives nothing: a permit from it would be a charge that is forgotten.
#[test]
fn no_product_keeps_its_ledger_in_memory() {
    nowhere("node/src", &["store::Memory", "Memory::default"]);
    nowhere("coordinator/src", &["store::Memory", "Memory::default"]);
    nowhere("examples/src", &["store::Memory", "Memory::default"]);
}

/// What participants say to each other is the one way to the wire beside releases: nothing but the exchange of a lookalike
/// study takes it.
#[test]
fn messages_between_participants_are_sealed_where_a_lookalike_study_talks_alone() {
    let only = |word: &str, places: &[&str]| {
        let found: Vec<String> = sources("node/src")
            .into_iter()
            .filter(|(path, text)| !path.ends_with("tests.rs") && code(text).contains(word))
            .map(|(path, _)| path.to_string_lossy().replace('\\', "/"))
            .collect();
        assert_eq!(found.len(), places.len(), "{word}: {found:?}");
        assert!(places.iter().all(|place| found.iter().any(|path| path.ends_with(place))), "{word}: {found:?}");
    };
    only("FromAttempt::Relay ", &["node/src/peers.rs", "node/src/participant/relay.rs"]);
    only(
        ".seal(",
        &[
            "node/src/study/lookalike/talk.rs",
            "node/src/study/lookalike/candidates.rs",
            "node/src/participant/relay.rs",
        ],
    );
}

#[test]
fn bincode_is_named_where_canonical_bytes_are_made_alone() {
    for (path, text) in sources("protocols/src") {
        let derives = text.replace("bincode::Encode", "").replace("bincode::Decode", "");
        let canonical = path.ends_with("protocols/src/canonical.rs");
        assert!(canonical || !code(&derives).contains("bincode::"), "{}", path.display());
    }
}

#[test]
fn no_floating_point_reaches_a_release() {
    for file in ["release.rs", "secagg/mask.rs", "privacy/bounds.rs", "privacy/rows.rs", "privacy/sums.rs"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocols/src").join(file);
        let text = code(&fs::read_to_string(path).expect("the source is there"));
        assert!(!text.contains("f64") && !text.contains("f32"), "{file}");
    }
}
