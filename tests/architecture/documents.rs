//! What the documents say is there: the README leads in and no more, links lead somewhere, and examples of files are what the
//! product reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use entente_examples::alliance::{DATASETS, PARTNERS};
use entente_node::config::{self, Config};
use entente_protocols::digest::Digest;
use entente_protocols::kind::Kind;
use entente_protocols::language::schema::DatasetSchema;
use entente_protocols::language::sql;
use entente_protocols::learn::file::{Budget, FORMAT, ModelFile, Provenance, ScoreShare, VERSION};
use entente_protocols::learn::model::{Model, Parameters};
use entente_protocols::learn::recipe::{Feature, Recipe, Target, Values};
use entente_protocols::privacy::mechanism::Scope;
use entente_protocols::privacy::rho::Rho;
use entente_protocols::privacy::rows;
use entente_protocols::study::file::{Asked, parse_asked};
use entente_protocols::study::{Question, Study};

use super::sources::root;

/// Whoever opens the README is at work within minutes; the rest is in `docs`.
const MOST_WORDS: usize = 1200;

#[test]
fn the_readme_is_short() {
    let words = text(&root().join("README.md")).split_whitespace().count();
    assert!(
        words <= MOST_WORDS,
        "README.md has {words} words, and {MOST_WORDS} at most; move what is reference to docs/"
    );
}

#[test]
fn links_lead_to_files_and_headings_that_are_there() {
    let mut wrong = Vec::new();
    for document in documents() {
        let folder = document.parent().expect("a document is in a folder");
        for link in links(&prose(&text(&document))).iter().filter(|link| !link.contains("://")) {
            let (path, heading) = link.split_once('#').map_or((link.as_str(), None), |(path, name)| (path, Some(name)));
            let target = if path.is_empty() { document.clone() } else { folder.join(path) };
            let there =
                target.exists() && heading.is_none_or(|heading| anchors(&prose(&text(&target))).contains(heading));
            if !there {
                wrong.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere: {wrong:#?}");
}

/// Every document is found from the README, directly or by way of others.
#[test]
fn every_page_is_reached_from_the_readme() {
    let canonical = |path: PathBuf| path.canonicalize().expect("it is there");
    let (mut reached, mut next) = (BTreeSet::new(), vec![canonical(root().join("README.md"))]);
    while let Some(document) = next.pop() {
        if reached.insert(document.clone()) {
            let folder = document.parent().expect("a document is in a folder");
            let paths = links(&prose(&text(&document))).into_iter().filter(|link| !link.contains("://"));
            let pages = paths.filter_map(|link| Some(folder.join(link.split('#').next()?)));
            next.extend(pages.filter(|path| path.extension().is_some_and(|kind| kind == "md")).map(canonical));
        }
    }
    let lost: Vec<PathBuf> = documents().into_iter().map(canonical).filter(|page| !reached.contains(page)).collect();
    assert!(lost.is_empty(), "nothing leads to {lost:?}");
}

/// What lists the study kinds, lists all of them.
#[test]
fn lists_of_study_kinds_are_whole() {
    let lists =
        [("asking.md", "kind = \"query\" "), ("terms.md", "| **study kind** |"), ("operations.md", "kinds = [")];
    for (document, list) in lists {
        let text = text(&root().join("docs").join(document));
        let line =
            text.lines().find(|line| line.starts_with(list)).unwrap_or_else(|| panic!("{document} has no {list}"));
        let lacks: Vec<Kind> = Kind::all().filter(|kind| !line.contains(kind.name())).collect();
        assert!(lacks.is_empty(), "docs/{document} names no {lacks:?} in: {line}");
    }
}

/// A block says what it is: a study file, of which it may leave out what all have in common, or a `node.toml`.
#[test]
fn examples_of_files_are_read_and_planned() {
    let documents = documents();
    let blocks: Vec<(String, Block)> = documents
        .iter()
        .flat_map(|document| {
            blocks(&text(document), "toml").into_iter().map(|block| (document.display().to_string(), block))
        })
        .collect();
    let of = |kind: &'static str| blocks.iter().filter(move |(_, block)| block.kind == kind);
    of("node").for_each(|(document, block)| drop(node(document, &block.text)));
    let alliance = alliance();
    let mut planned = 0;
    for (document, block) in of("study") {
        plan(document, &block.text, &alliance);
        planned += 1;
    }
    assert!(planned >= 5, "{planned} study files");
    for study in fs::read_dir(root().join("examples/studies")).expect("the studies are there") {
        let study = study.expect("a readable folder").path();
        plan(&study.display().to_string(), &text(&study), &alliance);
    }
    for (document, block) in &blocks {
        assert!(["study", "node"].contains(&block.kind.as_str()), "{document}: ```toml {} is not tested", block.kind);
    }
}

/// What whoever follows the README has made by then: no document names another folder to work in.
#[test]
fn commands_that_documents_show_are_of_the_readme_s_alliance() {
    let folders = |text: &str| -> BTreeSet<String> {
        let blocks = blocks(text, "console").into_iter().map(|block| block.text).collect::<String>();
        let named = blocks.split("--dir ").skip(1).filter_map(|rest| rest.split_whitespace().next()).map(String::from);
        named.filter(|folder| !folder.contains('$')).collect()
    };
    let made: BTreeSet<String> = PARTNERS.iter().chain(&["alliance"]).map(|name| format!("try/{name}")).collect();
    let named: Vec<(PathBuf, BTreeSet<String>)> =
        documents().into_iter().map(|document| (document.clone(), folders(&text(&document)))).collect();
    let other: Vec<_> = named.iter().filter(|(_, folders)| !folders.is_subset(&made)).collect();
    assert!(other.is_empty(), "folders that the README's alliance does not have: {other:?}");
    assert!(named.iter().filter(|(_, folders)| !folders.is_empty()).count() > 5, "{named:?}");
}

/// Each command that a document shows, and each of its options, is in the help that `tests/cases` pins.
#[test]
fn commands_that_documents_show_are_there() {
    let helps =
        ["entente", "entente-node"].map(|program| text(&root().join(format!("tests/cases/{program}-help.txt"))));
    let help: BTreeMap<&str, &str> = helps
        .iter()
        .flat_map(|text| text.split("$ ").skip(1))
        .filter_map(|case| case.split_once(" --help\n"))
        .collect();
    let (mut wrong, mut shown) = (Vec::new(), 0);
    // Labels of signatures, which begin alike, are in one document.
    for document in documents().into_iter().filter(|document| !document.ends_with("ledger-format.md")) {
        let text = text(&document);
        let inline = prose(&text).split('`').skip(1).step_by(2).map(|code| code.replace('\n', " ")).collect::<Vec<_>>();
        let blocks = blocks(&text, "console").into_iter().map(|block| block.text);
        let code: Vec<String> = blocks.chain(inline).collect();
        for typed in code.iter().flat_map(|code| commands(code)) {
            shown += 1;
            let words: Vec<&str> = typed.split_whitespace().collect();
            let known = (1..=words.len().min(3)).rev().find_map(|many| help.get(words[..many].join(" ").as_str()));
            let options = words.iter().filter_map(|word| word.strip_prefix("--"));
            let is_known = |help: &&str| {
                // A command with others below it is not complete by itself.
                !help.contains("\nCommands:\n")
                    && options
                        .clone()
                        .all(|option| help.contains(&format!("--{option} ")) || help.contains(&format!("--{option}\n")))
            };
            if !known.is_some_and(is_known) {
                wrong.push(format!("{}: {typed}", document.display()));
            }
        }
    }
    assert!(shown > 20 && wrong.is_empty(), "of {shown} commands, these are not as the help says: {wrong:#?}");
}

/// The calls of this project's programs in a shell's lines.
fn commands(text: &str) -> Vec<&str> {
    let parts = text.lines().flat_map(|line| line.split(['|', ';', '&', '(', '<', '`']));
    let parts = parts.map(|part| part.trim().trim_start_matches("$ ").trim_start_matches("do ").trim());
    parts.filter(|part| part.starts_with("entente ") || part.starts_with("entente-node ")).collect()
}

fn node(document: &str, text: &str) -> Config {
    config::parse(Path::new(document), text).unwrap_or_else(|error| panic!("{error}"))
}

/// A node of the README's alliance: what `join` writes, and the data sets that the README adds to it.
fn alliance() -> Config {
    node("README.md", &(config::template("bank", "127.0.0.1:4433") + DATASETS))
}

/// Plans a study as the README's alliance would, which does not refuse what it costs.
fn plan(document: &str, text: &str, alliance: &Config) {
    let text = &whole(text);
    let schemas: Vec<DatasetSchema> = alliance.datasets.values().map(|dataset| dataset.schema.clone()).collect();
    let schemas = schemas.as_slice();
    let model = |_: &str| Ok(model(text, schemas));
    let asked = parse_asked(document, text, model).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let question = |study: &Study| {
        let (asked, most) = (study.privacy.rho, alliance.policy.per_study);
        assert!(asked <= most, "{document}: costs {asked}, and nodes admit {most} by study\n{text}");
        let all = PARTNERS.map(String::from).to_vec();
        let participants = if study.partners.is_empty() { all } else { study.partners.clone() };
        let schema_of = |participant: &String| {
            let name = study.spec.dataset_of(participant);
            let name = name.unwrap_or_else(|refusal| panic!("{document}: {refusal}\n{text}"))?;
            let schema = DatasetSchema::named(schemas.iter(), &name);
            Some(schema.unwrap_or_else(|| panic!("{document}: no data set `{name}`")))
        };
        let schema = participants.iter().find_map(schema_of).unwrap_or_else(|| panic!("{document}: of nobody's data"));
        Question::new(study, schema, &participants, 0)
            .unwrap_or_else(|refusal| panic!("{document}: {refusal}\n{text}"));
    };
    match asked {
        Asked::Study(study) => question(&study),
        Asked::Seeded(seeded) => {
            let everywhere: BTreeMap<String, Vec<DatasetSchema>> =
                PARTNERS.iter().map(|partner| ((*partner).to_owned(), schemas.to_vec())).collect();
            seeded.check(&everywhere).unwrap_or_else(|problem| panic!("{document}: {problem}\n{text}"));
            question(seeded.training());
        }
    }
}

/// A study file, with the common part if it is left out.
fn whole(text: &str) -> String {
    let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
    if table.contains_key("name") {
        return text.to_owned();
    }
    let kind = table.keys().next().expect("a table of a study kind");
    format!("name = \"n\"\npurpose = \"p\"\nkind = \"{kind}\"\nprivacy = {{ epsilon = 1.0, delta = 1e-6 }}\n{text}")
}

/// A model over the features of a lookalike study: the file that it names.
fn model(text: &str, schemas: &[DatasetSchema]) -> Vec<u8> {
    let table: toml::Table = text.parse().expect("it is TOML");
    let features = table["lookalike"]["features"].as_str().expect("a query");
    let rows =
        schemas.iter().find_map(|schema| sql::rows(features, schema).ok()).expect("features of a known data set");
    let features = rows.outputs.iter().map(|it| Feature { name: it.name.clone(), values: it.values.clone() }).collect();
    let recipe = Recipe { features };
    let weights = vec![0.0; rows::dims(&recipe.columns())];
    let file = ModelFile {
        format: FORMAT.into(),
        version: VERSION,
        study: Provenance { id: "i".into(), name: "n".into(), purpose: "p".into(), plan_sha256: Digest::ZERO },
        participants: PARTNERS.map(String::from).to_vec(),
        privacy: Budget {
            scope: Scope::Customer,
            epsilon: 1.0,
            delta: 1e-6,
            rho: Rho::ZERO,
            rho_person: Rho::ZERO,
            colluders: 1,
        },
        metrics: BTreeMap::new(),
        transcript_sha256: Digest::ZERO,
        receipt_sha256: None,
        score_shares: vec![ScoreShare { threshold: 0.0, events: 0.5, others: 0.5 }],
        model: Model {
            recipe,
            target: Some(Target { name: "event".into(), values: Values::Bool }),
            recoding: None,
            parameters: Parameters::Weights { weights },
        },
    };
    serde_json::to_vec(&file).expect("a model file is JSON")
}

/// The README, what it says to read, and `docs`.
fn documents() -> Vec<PathBuf> {
    let pages = fs::read_dir(root().join("docs")).expect("the documents are there");
    let pages = pages.map(|page| page.expect("a readable folder").path());
    let pages = pages.filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    ["README.md", "CONTRIBUTING.md"].map(|name| root().join(name)).into_iter().chain(pages).collect()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

struct Block {
    kind: String,
    text: String,
}

/// What stands between fences that say `language`, and what else they say.
fn blocks(text: &str, language: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(fence) = line.strip_prefix("```") {
            let text: String =
                lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            if let Some(kind) = fence.strip_prefix(language) {
                blocks.push(Block { kind: kind.trim().to_owned(), text });
            }
        }
    }
    blocks
}

/// A document without its blocks of code.
fn prose(text: &str) -> String {
    let outside = text.split("\n```").step_by(2).map(|part| part.split_once('\n').map_or(part, |(_, rest)| rest));
    // The first part has no fence before it.
    std::iter::once(text.split("\n```").next().unwrap_or_default())
        .chain(outside.skip(1))
        .collect::<Vec<_>>()
        .join("\n")
}

fn links(prose: &str) -> Vec<String> {
    prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// The anchors of headings, as GitHub makes them.
fn anchors(prose: &str) -> BTreeSet<String> {
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| -> String {
        let kept = heading.trim_start_matches('#').trim().chars();
        let kept = kept.filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_headings_and_blocks_are_found() {
    let text =
        "# A node's `x`\n[a](b.md#c) and [d](#e)\n```toml study\n[no](link)\n```\n## Two — 3\n```console\n```\nend";
    let prose = prose(text);
    assert_eq!(links(&prose), ["b.md#c", "#e"]);
    assert_eq!(anchors(&prose), ["a-nodes-x", "two--3"].map(String::from).into());
    let blocks = blocks(text, "toml");
    assert_eq!((blocks.len(), blocks[0].kind.as_str(), blocks[0].text.as_str()), (1, "study", "[no](link)\n"));
    assert_eq!(
        commands("$ entente a --b &\n$ x=$(entente-node c | grep d)\n$ for p in q; do entente e $p; done"),
        ["entente a --b", "entente-node c", "entente e $p"]
    );
    assert!(prose.contains("end") && !prose.contains("[no]"));
}
