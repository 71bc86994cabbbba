//! Exports of real audiences from a node's folder.

use std::fs;

use entente_protocols::identity::IdentityKey;

use super::*;
use crate::data::audience::{Naming, Scores};

const TUESDAY: &str = "2026-03-03T10:00:00Z";

/// A node that has joined, with customers `c0` to `c199` of whom all consent, and with rules.
fn node(policy: &str) -> (tempfile::TempDir, Folder) {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path().join("telecom"));
    folder.create().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    let key = IdentityKey::from_secret(&[7; 32]);
    fs::write(folder.key("identity.key"), data_encoding::HEXLOWER.encode(&key.secret()[..])).unwrap();
    fs::write(folder.key("tls.crt"), "").unwrap();
    let config = format!(
        "[node]\nname = \"telecom\"\ncoordinator = \"127.0.0.1:1\"\n[[dataset]]\nname = \"people\"\n\
         source = \"data/people.csv\"\nprivacy_unit = \"person\"\nconsent = \"ok\"\n[dataset.columns]\n\
         age = {{ type = \"int\", min = 0, max = 99 }}\n[budget]\nepsilon = 1.0\ndelta = 1e-6\n[policy]\n{policy}\n"
    );
    fs::write(folder.config(), config).unwrap();
    people(&folder, |_| true);
    (place, folder)
}

fn people(folder: &Folder, consents: impl Fn(usize) -> bool) {
    let row = |number| format!("c{number},40,{}\n", if consents(number) { "yes" } else { "no" });
    let rows: String = (0..200).map(row).collect();
    fs::write(folder.path().join("data/people.csv"), format!("person,age,ok\n{rows}")).unwrap();
}

/// An audience of a study in which customer `cN` has score N.
async fn scored(folder: &Folder, study: &str) {
    let config = crate::config::load(folder).unwrap();
    let key = UnitKey::new(folder.local_secret("privacy units").unwrap().0);
    let engine = Engine::new(Options::new(spill_folder(folder), key.clone()));
    let names: arrow_array::ArrayRef =
        std::sync::Arc::new(arrow_array::StringArray::from_iter_values((0..200).map(|number| format!("c{number}"))));
    let units = key.units(&names).into_iter().flatten();
    let scores = Scores::of_scores(units.zip((0..200).map(f64::from)).collect()).unwrap();
    let DatasetConfig { source, consent, schema, .. } = &config.datasets["people"];
    let dataset = Dataset::open(schema.clone(), source, folder.path(), consent.as_deref()).unwrap();
    let naming = Naming { folder: folder.audiences(), study: study.parse().unwrap(), created: TUESDAY.into() };
    assert_eq!(engine.name_audience(&dataset, scores, &naming).await.unwrap(), 200);
}

fn request(folder: &Folder, study: &str, selection: Selection) -> Request {
    Request { study: study.parse().unwrap(), selection, out: folder.path().join(format!("{study}.csv")) }
}

async fn exported(folder: &Folder, request: &Request, now: &str) -> Result<Manifest, String> {
    export(folder, request, now.parse().unwrap()).await.map_err(|error| format!("{}: {error}", error.exit_code()))
}

/// The customers in a file, by number.
fn customers(path: &Path) -> Vec<usize> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().skip(1);
    lines.map(|line| line.split(',').next().unwrap().strip_prefix('c').unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn the_best_who_consent_now_are_exported_with_a_manifest() {
    let (_place, folder) = node("min_audience = 5");
    scored(&folder, "s").await;
    people(&folder, |number| number % 2 == 0);
    // A running node holds this.
    let _running = folder.lock().unwrap();
    let request = request(&folder, "s", Selection::Share(5.0));
    let manifest = exported(&folder, &request, TUESDAY).await.unwrap();
    assert_eq!(customers(&request.out), [198, 196, 194, 192, 190]);
    assert!(fs::read_to_string(&request.out).unwrap().starts_with("person,score,percentile\nc198,198,99.5\n"));
    let counts = (manifest.candidates, manifest.selected, manifest.without_consent, manifest.over_contact_cap);
    assert_eq!((counts, manifest.exported), ((200, 10, 5, 0), 5));
    assert_eq!((manifest.selection.as_str(), manifest.file.as_str()), ("top 5%", "s.csv"));
    assert_eq!(manifest.sha256, sha256_of(&request.out).unwrap());
    let text = fs::read_to_string(manifest_of(&request.out)).unwrap();
    let signed = Signed::parse(&text).unwrap();
    assert!(signed.manifest == manifest && signed.is_by(&folder.identity().unwrap().public()));
    let contacts = fs::read(folder.state("contacts.sqlite")).unwrap();
    assert!(!contacts.windows(4).any(|bytes| bytes == b"c198"), "no customer is there by name");
    let out = request.out.with_extension("parquet");
    let parquet = exported(&folder, &Request { out, ..request }, TUESDAY).await.unwrap();
    assert_eq!(parquet.exported, 5);
}

#[tokio::test]
async fn too_few_are_refused_with_numbers_and_not_counted() {
    let (_place, folder) = node("min_audience = 20\nmax_contacts = 1");
    scored(&folder, "s").await;
    people(&folder, |number| number < 190);
    let small = request(&folder, "s", Selection::Count(29));
    let error = exported(&folder, &small, TUESDAY).await.unwrap_err();
    let told = ["1: only 19 customers", "`min_audience` = 20", "Of 29 selected, 10 do not", "nobody was counted"];
    assert!(told.iter().all(|part| error.contains(part)), "{error}");
    assert!(!small.out.exists() && !manifest_of(&small.out).exists());
    let enough = exported(&folder, &request(&folder, "s", Selection::Count(30)), TUESDAY).await.unwrap();
    assert_eq!(enough.exported, 20);
    // 100 is the fewest unless the policy says otherwise.
    let (_place, folder) = node("");
    scored(&folder, "s").await;
    let error = exported(&folder, &request(&folder, "s", Selection::Count(99)), TUESDAY).await.unwrap_err();
    assert!(error.contains("`min_audience` = 100"), "{error}");
}

#[tokio::test]
async fn contacts_are_capped_over_studies() {
    let (_place, folder) = node("min_audience = 1\nmax_contacts = 1\ncontact_days = 7");
    for study in ["s", "t"] {
        scored(&folder, study).await;
    }
    let first = request(&folder, "s", Selection::Count(10));
    assert_eq!(exported(&folder, &first, TUESDAY).await.unwrap().exported, 10);
    let second = request(&folder, "t", Selection::MinScore(185.0));
    let manifest = exported(&folder, &second, TUESDAY).await.unwrap();
    assert_eq!((manifest.selected, manifest.over_contact_cap, manifest.exported), (15, 10, 5));
    assert_eq!(customers(&second.out), [189, 188, 187, 186, 185]);
    // The same again on the same day is the same file, and counts nobody twice.
    let before = fs::read(&second.out).unwrap();
    assert_eq!(exported(&folder, &second, "2026-03-03T23:00:00Z").await.unwrap().exported, 5);
    assert_eq!(fs::read(&second.out).unwrap(), before);
    let error = exported(&folder, &second, "2026-03-04T10:00:00Z").await.unwrap_err();
    assert!(error.contains("15 were in 1 exports within 7 days"), "{error}");
    assert_eq!(exported(&folder, &second, "2026-03-11T10:00:00Z").await.unwrap().exported, 15);
}

#[tokio::test]
async fn a_crash_between_record_and_file_counts_once() {
    let (_place, folder) = node("min_audience = 1\nmax_contacts = 1");
    for study in ["s", "t"] {
        scored(&folder, study).await;
    }
    let first = request(&folder, "s", Selection::Count(10));
    // Where the manifest would be, nothing can be put.
    fs::create_dir(manifest_of(&first.out)).unwrap();
    let error = exported(&folder, &first, TUESDAY).await.unwrap_err();
    assert!(error.starts_with("1: could not write"), "{error}");
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!first.out.exists() && !names.iter().any(|name| name.to_string_lossy().ends_with(".new")), "{names:?}");
    // They are counted: it was not known whether the file had appeared.
    let other = request(&folder, "t", Selection::Count(15));
    assert_eq!(exported(&folder, &other, TUESDAY).await.unwrap().exported, 5);
    // The day after, it is still the export that was begun.
    fs::remove_dir(manifest_of(&first.out)).unwrap();
    let manifest = exported(&folder, &first, "2026-03-04T10:00:00Z").await.unwrap();
    assert_eq!((manifest.exported, manifest.over_contact_cap), (10, 0));
    assert!(exported(&folder, &first, "2026-03-05T10:00:00Z").await.unwrap_err().contains("only 0 customers"));
}

#[tokio::test]
async fn what_cannot_be_written_or_asked_counts_nobody() {
    let (_place, folder) = node("min_audience = 1\nmax_contacts = 1");
    for study in ["s", "t"] {
        scored(&folder, study).await;
    }
    let good = request(&folder, "s", Selection::Count(10));
    let refused = async |request: Request, expected: &str| {
        let error = exported(&folder, &request, TUESDAY).await.unwrap_err();
        assert!(error.starts_with("1: ") && error.contains(expected), "{error}");
    };
    refused(Request { out: folder.path().join("nowhere/a.csv"), ..good.clone() }, "could not write").await;
    refused(Request { out: folder.path().join("a.txt"), ..good.clone() }, "neither .csv nor .parquet").await;
    let out = folder.path().join("folder.csv");
    fs::create_dir(&out).unwrap();
    refused(Request { out, ..good.clone() }, "is a folder").await;
    refused(Request { study: "u".parse().unwrap(), ..good.clone() }, "`entente-node audience list --dir ").await;
    refused(Request { selection: Selection::Buckets([3].into()), ..good.clone() }, "has scores, not buckets").await;
    {
        let _other = folder.lock_audiences().unwrap();
        refused(good.clone(), "another audience is being exported").await;
    }
    let config = fs::read_to_string(folder.config()).unwrap();
    for (from, to, expected) in [
        ("name = \"people\"", "name = \"persons\"", "no data set `people`"),
        ("privacy_unit = \"person\"", "privacy_unit = \"ok\"", "had privacy unit `person` and has `ok` now"),
        ("consent = \"ok\"", "consent = \"okay\"", "did you mean `ok`"),
    ] {
        fs::write(folder.config(), config.replace(from, to)).unwrap();
        refused(good.clone(), expected).await;
    }
    fs::write(folder.config(), config).unwrap();
    assert_eq!(exported(&folder, &request(&folder, "t", Selection::Count(10)), TUESDAY).await.unwrap().exported, 10);
}
