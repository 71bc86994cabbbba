//! Which part may import which, and what some parts must not name at all: read off the sources.
//!
//! What is ambient (time, randomness, files, printing) is clippy's to ban, by the `clippy.toml` of the workspace and of its crates.

mod documents;
mod rings;
mod sources;
mod threats;

use entente_protocols::kind::Kind;
use sources::{Module, WORKSPACE, Workspace, is_within};

/// The parts of `protocols`, floor by floor: a part imports what stands on a floor below, or on its own.
const FLOORS: &[&[&str]] = &[
    &["attempt", "canonical", "config", "digest", "kind", "reason"],
    // Vector loops know how rows are laid out, and sums are made by these loops.
    &["identity", "kernels", "privacy"],
    &["learn", "policy"],
    &["language", "ledger", "lookalike"],
    &["secagg"],
    &["release"],
    &["study"],
    &["wire"],
    &["testing"],
];

/// Who may not name what: modules of the workspace, or of libraries.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("protocols", &["host", "tables", "node", "coordinator", "examples", "std::net", "tokio"]),
    // Values are read, computed and coded in one crate, which knows neither who asks nor where rows come from.
    ("tables", &["host", "node", "coordinator", "examples", "std::net", "std::fs", "rusqlite", "tokio"]),
    // What is said over a link is no matter of the link's: it knows frames and no message.
    ("host", &["tables", "node", "coordinator", "examples", "protocols::wire::message"]),
    ("host::pages", &["protocols", "host::link", "host::sqlite", "rusqlite", "quinn"]),
    ("node", &["coordinator", "examples"]),
    ("coordinator", &["node", "examples"]),
    // What tests are made of is in no product.
    ("protocols", &["testing"]),
    ("host", &["testing", "protocols::testing"]),
    ("tables", &["testing", "protocols::testing"]),
    ("node", &["testing", "protocols::testing"]),
    ("coordinator", &["testing", "protocols::testing"]),
    ("examples", &["testing", "protocols::testing"]),
    // Data and link meet only where a study is executed.
    ("node::data", &["node::link", "node::participant", "node::peers", "node::store", "quinn", "rusqlite"]),
    ("node::link", &["node::data", "node::works", "tables", "arrow_array"]),
    // The coordinator, floor by floor: what all stands on; results, which nobody need be connected for; studies; what is said; and
    // beside these the link, which knows who is connected and nothing of what is said.
    ("coordinator::store", &["coordinator::hall", "coordinator::kinds", "coordinator::scheduler"]),
    (
        "coordinator::hall",
        &["coordinator::kinds", "coordinator::link", "coordinator::office", "coordinator::scheduler"],
    ),
    ("coordinator::results", &["coordinator::hall", "coordinator::kinds", "coordinator::store", "tokio"]),
    (
        "coordinator::kinds",
        &["coordinator::hall", "coordinator::link", "coordinator::office", "coordinator::scheduler", "tokio"],
    ),
    ("coordinator::scheduler", &["coordinator::link", "coordinator::office"]),
    // What a study does is decided without I/O and clock, so that tests can drive it.
    ("coordinator::scheduler::run", PURE),
    ("coordinator::scheduler::attempt", PURE),
    ("coordinator::scheduler::queue", PURE),
    ("coordinator::scheduler::step", PURE),
    (
        "coordinator::link",
        &[
            "coordinator::kinds",
            "coordinator::office",
            "coordinator::scheduler",
            "coordinator::store",
            "protocols::wire::message::FromNode",
            "protocols::wire::message::FromOperator",
            "protocols::wire::message::ToNode",
            "protocols::wire::message::ToOperator",
        ],
    ),
    // What a compliance officer sees is read from the ledger: the page has no door to customers.
    (
        "node::review",
        &[
            "node::activation",
            "node::data",
            "node::link",
            "node::participant",
            "node::dialogue",
            "node::peers",
            "node::works",
        ],
    ),
    // The ledger's double for tests survives nothing: a permit from it would be a charge that is forgotten.
    ("node", &["protocols::ledger::store::Memory"]),
    ("coordinator", &["protocols::ledger::store::Memory"]),
    ("examples", &["protocols::ledger::store::Memory"]),
];

/// What a state machine does not name.
const PURE: &[&str] = &[
    "coordinator::hall",
    "jiff::Timestamp::now",
    "quinn",
    "rusqlite",
    "std::fs",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
    "tracing",
];

/// What a crate may depend on of the workspace.
const MANIFESTS: &[(&str, &[&str])] = &[
    ("protocols", &[]),
    ("host", &["entente-protocols"]),
    ("tables", &["entente-protocols"]),
    ("node", &["entente-host", "entente-protocols", "entente-tables"]),
    ("coordinator", &["entente-host", "entente-protocols", "entente-tables"]),
    ("examples", &["entente", "entente-node", "entente-protocols"]),
];

/// Where each kind of study is a module of its name, which knows no other kind. What else stands in these folders stands above the kinds,
/// and chooses among them.
const KINDS_STAND_IN: [&str; 2] = ["protocols::study", "coordinator::kinds"];
/// Where no kind is known: there, a study is what its participants do, or what `Kind` says of all kinds.
const NO_KIND_IN: [&str; 2] = ["protocols::ledger", "node"];
/// Where no text and no documentation speaks of one either.
const NO_KIND_SAID_IN: [&str; 8] = [
    "protocols::ledger",
    "node::participant",
    "node::review",
    "node::config",
    "node::commands",
    "node::dialogue",
    "node::link",
    "node::state",
];

#[test]
fn a_part_of_protocols_imports_what_stands_below_it() {
    let floor = |part: &str| FLOORS.iter().position(|parts| parts.contains(&part));
    for (path, module) in WORKSPACE.within("protocols").filter(|(path, _)| path.len() > 1) {
        let own = floor(&path[1]);
        assert!(own.is_some(), "{} stands on no floor", path[1]);
        for import in module.imports.iter().filter(|import| import[0] == "protocols" && import.len() > 1) {
            assert!(floor(&import[1]) <= own, "{module} imports {}, which stands above it", import.join("::"));
        }
    }
}

#[test]
fn nothing_is_imported_against_its_direction() {
    for (part, forbidden) in DIRECTIONS {
        assert!(WORKSPACE.within(part).next().is_some(), "there is no {part}");
        for (_, module) in WORKSPACE.within(part) {
            for name in &module.names {
                assert!(!forbidden.iter().any(|other| is_within(name, other)), "{module} names {name}");
            }
        }
    }
}

/// What tests are made of opens no other way to a release: what it hands out comes from where nodes have it from.
#[test]
fn what_tests_are_made_of_goes_through_the_door() {
    for (_, module) in WORKSPACE.within("protocols::testing") {
        let text = std::fs::read_to_string(&module.file).expect("sources are text");
        for made in ["Permit", "Bounded", "Noised", "Masked", "Outbound", "Approved"] {
            assert!(!text.contains(&format!("{made} {{ ")), "{module} makes a {made}");
        }
        assert!(!module.words.contains("sealed") && !module.calls.contains("into_parts"), "{module}");
    }
}

#[test]
fn crates_depend_downwards_alone() {
    for (name, allowed) in MANIFESTS {
        let path = sources::root().join(name).join("Cargo.toml");
        let text = std::fs::read_to_string(path).expect("the manifest is there");
        let manifest: toml::Table = text.parse().expect("a manifest is TOML");
        let mut lists = ["dependencies", "build-dependencies"].into_iter().filter_map(|list| manifest.get(list));
        let names = lists.clone().flat_map(|list| list.as_table().expect("dependencies are a table").keys());
        let ours: Vec<&str> = names.map(String::as_str).filter(|name| name.starts_with("entente")).collect();
        assert_eq!(ours, *allowed, "{name}");
        // Nor on what tests are made of, which is a feature.
        assert!(lists.all(|list| !list.to_string().contains("testing")), "{name}");
        // An engine whose expressions may skip rows, fail or differ between versions is a peer in a bench and nothing else.
        assert!(!text.contains("datafusion"), "{name}");
    }
}

#[test]
fn nodes_and_ledgers_know_no_kind_of_study() {
    type Found = fn(&Module, Kind) -> Option<&str>;
    for (parts, found) in [(&NO_KIND_IN[..], known as Found), (&NO_KIND_SAID_IN[..], said)] {
        for part in parts {
            assert!(WORKSPACE.within(part).next().is_some(), "there is no {part}");
            for (_, module) in WORKSPACE.within(part) {
                for kind in Kind::all() {
                    assert_eq!(found(module, kind), None, "{module} names a kind of study");
                }
            }
        }
    }
}

/// Where a module knows a kind: as a variant, or by a module of the kind's own.
fn known(module: &Module, kind: Kind) -> Option<&str> {
    let is_variant = |name: &str| ["Kind", "StudySpec"].iter().any(|of| name.ends_with(&format!("{of}::{kind:?}")));
    let is_own = |name: &str| KINDS_STAND_IN.iter().any(|folder| is_within(name, &format!("{folder}::{kind}")));
    module.names.iter().find(|name| is_variant(name) || is_own(name)).map(String::as_str)
}

/// Where a module speaks of a kind, in a text or in documentation.
fn said(module: &Module, kind: Kind) -> Option<&str> {
    let is_said = |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == kind.name());
    module.texts.iter().find(|text| is_said(text)).map(String::as_str)
}

#[test]
fn a_kind_is_found_however_it_is_named() {
    let found = |text: &str| {
        let workspace = small(&[("a/lib", ""), ("a/here", text)]);
        let here = &workspace.0[&["a", "here"].map(str::to_owned)[..]];
        Kind::all().find(|kind| known(here, *kind).or(said(here, *kind)).is_some())
    };
    for kind in Kind::all() {
        let variant = format!("use protocols::kind::Kind; fn f() -> Kind {{ Kind::{kind:?} }}");
        let spec = format!("use protocols::study::StudySpec::{kind:?};");
        let own = format!("use coordinator::kinds::{kind}::finish;");
        let text = format!("fn f() {{ print(\"a study of kind `{kind}`, or\") }}");
        let documented = format!("/// What a {kind} has.\nstruct Thing;");
        for code in [variant, spec, own, text, documented] {
            assert_eq!(found(&code), Some(kind), "{code}");
        }
    }
    assert_eq!(found("/// Queries, trained.\nuse axum::extract::Query; fn f() { say(\"querying\") }"), None);
}

#[test]
fn kinds_of_study_do_not_know_each_other() {
    for kind in Kind::all() {
        for folder in KINDS_STAND_IN {
            let own = format!("{folder}::{kind}");
            assert!(WORKSPACE.within(&own).next().is_some(), "there is no {own}");
            for (_, module) in WORKSPACE.within(&own) {
                for other in Kind::all().filter(|other| *other != kind) {
                    let others = KINDS_STAND_IN.map(|folder| format!("{folder}::{other}"));
                    let known = module.names.iter().find(|name| others.iter().any(|other| is_within(name, other)));
                    assert_eq!(known, None, "{module} knows another kind");
                }
            }
        }
    }
}

/// Another transport is another folder beside it.
#[test]
fn connections_of_the_coordinator_are_its_links_alone() {
    let uses = |module: &Module| module.names.iter().any(|name| is_within(name, "quinn"));
    assert!(WORKSPACE.within("coordinator::link").any(|(_, module)| uses(module)));
    for (path, module) in WORKSPACE.within("coordinator") {
        assert!(!uses(module) || is_within(&path.join("::"), "coordinator::link"), "{module} names quinn");
    }
}

#[test]
fn protocols_is_not_async() {
    for (_, module) in WORKSPACE.within("protocols") {
        assert!(!module.words.contains("async"), "{module}");
    }
}

/// What participants say to each other is the one way to the wire beside releases: nothing but dialogues take it, and of all works
/// scoring alone has one.
#[test]
fn messages_between_participants_are_sealed_where_scoring_talks_alone() {
    let only = |what: &str, is_there: &dyn Fn(&Module) -> bool, places: &[&str]| {
        let found = WORKSPACE.within("node").filter(|(_, module)| is_there(module)).map(|(path, _)| path.join("::"));
        assert_eq!(found.collect::<Vec<_>>(), places, "{what}");
    };
    let relays = |module: &Module| module.names.contains("protocols::wire::message::FromAttempt::Relay");
    only("FromAttempt::Relay", &relays, &["node::participant::dialogues", "node::peers"]);
    let seals = |module: &Module| module.calls.contains("seal");
    only("seal", &seals, &["node::dialogue", "node::works::score::candidates", "node::works::score::talk"]);
}

#[test]
fn bincode_is_named_by_canonical_bytes_alone() {
    for (path, module) in WORKSPACE.within("protocols") {
        let derived = ["bincode::Encode", "bincode::Decode"];
        let named = module.names.iter().find(|name| is_within(name, "bincode") && !derived.contains(&name.as_str()));
        assert!(named.is_none() || path[1] == "canonical", "{module} names {named:?}");
    }
}

#[test]
fn no_floating_point_reaches_a_release() {
    for part in ["release", "secagg::mask", "privacy::bounds", "privacy::rows", "privacy::sums"] {
        let path = format!("protocols::{part}");
        assert!(WORKSPACE.within(&path).next().is_some(), "there is no {path}");
        for (_, module) in WORKSPACE.within(&path) {
            assert!(!module.words.contains("f64") && !module.words.contains("f32"), "{module}");
        }
    }
}

/// A small workspace: `a` and `b` by their crates' names, with sources by path.
fn small(sources: &[(&str, &str)]) -> Workspace {
    let crates = [("entente_a".to_owned(), "a".to_owned()), ("entente_b".to_owned(), "b".to_owned())].into();
    let sources = sources.iter().map(|(path, text)| {
        (path.split('/').map(str::to_owned).collect(), format!("{path}.rs").into(), (*text).to_owned())
    });
    Workspace::of(&crates, sources)
}

#[test]
fn what_a_file_names_is_found_however_it_is_written() {
    let text = r#"
        //! crate::comment
        use std::{fs, time::{self, Instant as Moment}};
        use entente_b::wire::{self, Frame};
        use super::{super::{low, mid}, self as parent};
        mod child { use super::super::beside::Thing; }
        macro_rules! say { () => { $crate::print("crate::text") }; }
        fn f() { fs::read(Moment::now()); Vec::<u8>::new(); format!("{}", low::A::B); wire::send(Frame::new()).seal() }
        #[cfg(test)]
        mod tests { use crate::tested; }
        #[cfg(test)]
        use crate::tested::too;
        use crate::last as end;
    "#;
    let workspace = small(&[
        ("a/lib", ""),
        ("a/low", ""),
        ("a/mid/mod", ""),
        ("a/mid/here", text),
        ("a/mid/beside", ""),
        ("a/tested", ""),
        ("a/mid/tests", "use crate::low;"),
        ("b/wire/mod", ""),
    ]);
    assert!(!workspace.0.contains_key(&["a", "mid", "tests"].map(str::to_owned)[..]));
    let here = &workspace.0[&["a", "mid", "here"].map(str::to_owned)[..]];
    let names: Vec<&str> = here.names.iter().map(String::as_str).collect();
    let expected = [
        "a::last",
        "a::low",
        "a::low::A::B",
        "a::mid",
        "a::mid::beside::Thing",
        "a::print",
        "b::wire",
        "b::wire::Frame",
        "b::wire::Frame::new",
        "b::wire::send",
        "std::fs",
        "std::fs::read",
        "std::time",
        "std::time::Instant",
        "std::time::Instant::now",
    ];
    assert_eq!(names, expected);
    let imports: Vec<String> = here.imports.iter().map(|path| path.join("::")).collect();
    assert_eq!(imports, ["a", "a::low", "a::mid", "a::mid::beside", "b::wire"]);
    assert!(here.calls.contains("seal") && !here.calls.contains("send") && here.words.contains("Frame"));
}

#[test]
fn rings_are_found_and_chains_are_none() {
    let workspace = small(&[
        ("a/lib", "mod one; mod two; mod three; mod four;"),
        ("a/one", "use crate::two::X;"),
        ("a/two", "fn f() { crate::three::g() }"),
        ("a/three/mod", "use super::one; mod inner; use inner::Y;"),
        ("a/three/inner", ""),
        ("a/four", "use crate::one; use crate::three;"),
    ]);
    let ring = ["a::one", "a::three", "a::two"].map(str::to_owned).into();
    assert_eq!(workspace.rings(), [ring].into());
}
