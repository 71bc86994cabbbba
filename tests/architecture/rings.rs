//! Files that import one another, and why that is left.

use std::collections::BTreeSet;

use crate::sources::WORKSPACE;

/// The sets of modules of which each imports the others, directly or by way of others. There is none in `protocols` and
/// `coordinator`; these are to become fewer.
const RINGS: &[(&[&str], &str)] = &[
    (
        &[
            "node",
            "node::activation",
            "node::commands",
            "node::commands::audience",
            "node::commands::budget",
            "node::commands::check",
            "node::commands::desk",
            "node::commands::join",
            "node::commands::ledger",
            "node::commands::models",
            "node::commands::office",
            "node::commands::review",
            "node::commands::roster",
            "node::commands::serve",
            "node::commands::study",
            "node::commands::witnessed",
            "node::link::connection",
            "node::participant",
            "node::participant::rounds",
            "node::participant::witness",
            "node::review",
            "node::review::pages",
            "node::review::report",
            "node::review::watch",
        ],
        "the crate's lib.rs has its name and version, and starts all of its parts",
    ),
    (
        &[
            "node::store",
            "node::store::contacts",
            "node::store::identities",
            "node::store::models",
            "node::store::witnessed",
        ],
        "the folder's mod.rs is the database, and opens each of its tables",
    ),
];

#[test]
fn files_do_not_import_one_another() {
    let owned = |ring: &[&str]| ring.iter().map(|module| (*module).to_owned()).collect();
    let known: BTreeSet<BTreeSet<String>> = RINGS.iter().map(|(ring, _)| owned(ring)).collect();
    let found = WORKSPACE.rings();
    let new = found.iter().filter(|ring| !known.contains(*ring)).flat_map(|ring| {
        let within = |module: &String| {
            let imports = &WORKSPACE.0[&module.split("::").map(str::to_owned).collect::<Vec<_>>()].imports;
            let imports = imports.iter().map(|import| import.join("::")).filter(|import| ring.contains(import));
            imports.map(|import| format!("{module} imports {import}")).collect::<Vec<_>>()
        };
        ring.iter().flat_map(within)
    });
    let new: Vec<String> = new.collect();
    assert!(new.is_empty(), "files import one another; what several need belongs below them: {new:#?}");
    let opened: Vec<_> = known.iter().filter(|ring| !found.contains(*ring)).collect();
    assert!(opened.is_empty(), "these do not import one another any more; strike them from RINGS: {opened:#?}");
}
