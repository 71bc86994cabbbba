//! Candidates of real files, against the recipe's own coding.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::*;
use crate::data::customers::tests::*;
use crate::data::{Dataset, Engine, Options, Room, UnitKey};

const SPEC: BlockSpec = BlockSpec { block_rows: 64, most: None, segment: None, left_out: None };

async fn candidates(folder: &Path, source: &str, sql: &str, spec: BlockSpec, options: Options) -> Candidates {
    let dataset = Dataset::open(schema(), source, folder, None).unwrap();
    Engine::new(options).candidates(&dataset, &plan(sql), spec).await.unwrap()
}

/// The codes of each candidate, its segment's last, in order; blocks are as long as they have to be.
fn listed(candidates: &Candidates, block_rows: usize) -> Vec<(u128, Vec<u16>)> {
    let mut listed = Vec::new();
    for number in 0..candidates.blocks() {
        let each = |units: &[u128], block: &Block, labels: &Labels<Vec<u16>>| {
            assert_eq!(units.len(), block.rows());
            let full = number + 1 < candidates.blocks();
            assert!(units.len() == block_rows || (!full && (1..block_rows).contains(&units.len())));
            for (row, unit) in units.iter().enumerate() {
                let codes = (0..block.columns().len()).map(|column| block.codes(column)[row]);
                let codes = codes.chain(labels.segment.get(row).copied()).chain(labels.left_out.get(row).copied());
                listed.push((*unit, codes.collect()));
            }
        };
        candidates.block(number, each).unwrap();
    }
    assert_eq!(listed.len() as u64, candidates.len());
    listed
}

fn by_unit(candidates: &Candidates) -> BTreeMap<u128, Vec<u16>> {
    listed(candidates, 64).into_iter().collect()
}

#[tokio::test]
async fn each_customer_has_its_codes_whatever_the_format_order_and_threads() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = rows(0..500);
    write_csv(&folder.path().join("a.csv"), &rows);
    rows.reverse();
    fs::create_dir(folder.path().join("parts")).unwrap();
    write_parquet(&folder.path().join("parts/1.parquet"), &rows[..123]);
    write_parquet(&folder.path().join("parts/2.parquet"), &rows[123..]);
    let expected: BTreeMap<u128, Vec<u16>> = rows.iter().map(|row| (row.id as u128, expected(row))).collect();
    for (source, threads) in [("a.csv", 1), ("a.csv", 3), ("parts", 1), ("parts", 2)] {
        let options = Options { threads, ..options(folder.path()) };
        let found = candidates(folder.path(), source, ALL, SPEC, options).await;
        assert_eq!(by_unit(&found), expected, "{source}");
        assert_eq!((found.blocks(), found.several_rows(), found.over_cap()), (8, 0, 0));
        assert_eq!(found.columns()[2], Column::Category { values: 3 });
        assert!(found.block(8, |_, _, _| ()).is_err());
    }
}

/// The segment is no column of any block, in memory or in a file, and what becomes of the columns leaves it alone.
#[tokio::test]
async fn a_segment_stands_beside_the_codes() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows(0..1_000);
    write_csv(&folder.path().join("a.csv"), &rows);
    let expected = |row: &Row| {
        let mut codes = expected(row);
        let region = codes.remove(2);
        codes.push(region);
        codes
    };
    let expected: BTreeMap<u128, Vec<u16>> = rows.iter().map(|row| (row.id as u128, expected(row))).collect();
    for limit in [64 << 20, 9_000, 0] {
        let options = Options { customers: Room::of(limit), ..options(folder.path()) };
        let spec = BlockSpec { segment: Some(2), ..SPEC };
        let mut found = candidates(folder.path(), "a.csv", ALL, spec, options).await;
        assert_eq!(found.columns().len(), 4);
        assert_eq!(by_unit(&found), expected);
        let none = vec![vec![0; 1 << 16]; 4];
        found.recode(found.columns().clone(), &none).unwrap();
        let segments = expected.iter().map(|(unit, codes)| (*unit, vec![0, 0, 0, 0, codes[4]]));
        assert_eq!(by_unit(&found), segments.collect());
    }
}

#[tokio::test]
async fn the_order_is_that_of_a_keyed_hash() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = rows(0..300);
    write_parquet(&folder.path().join("a.parquet"), &rows);
    rows.reverse();
    write_parquet(&folder.path().join("b.parquet"), &rows);
    let order = async |source, key| {
        let options = Options { threads: 1, key: UnitKey::new([key; 32]), ..options(folder.path()) };
        listed(&candidates(folder.path(), source, ALL, BlockSpec { block_rows: 512, ..SPEC }, options).await, 512)
    };
    let one = order("a.parquet", 1).await;
    assert_eq!(one, order("b.parquet", 1).await);
    assert_ne!(one, order("a.parquet", 2).await);
    assert!(!one.is_sorted());
}

#[tokio::test]
async fn customers_with_several_rows_and_rows_without_a_customer_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let csv = "id,number,spend,region,joined,churned,consent\n7,1,,,,,\nann,2,,,,,\nbob,3,,,,,\nbob,3,,,,,\n,4,,,,,\n";
    fs::write(folder.path().join("a.csv"), csv).unwrap();
    let json = r#"{"id":"ann","number":2,"spend":1,"region":"","joined":"","churned":""}
{"id":7,"number":1}
{"id":"bob","number":3}
{"number":4}
{"id":"bob","number":4}
"#;
    fs::write(folder.path().join("a.ndjson"), json).unwrap();
    for source in ["a.csv", "a.ndjson"] {
        let found =
            candidates(folder.path(), source, "SELECT id, number FROM people", SPEC, options(folder.path())).await;
        let mut codes: Vec<(u128, Vec<u16>)> = listed(&found, 64);
        codes.sort();
        // A number stands for itself, a name for a hash.
        assert!(codes.len() == 2 && codes[0] == (7, vec![2]) && codes[1].1 == [3], "{source}: {codes:?}");
        assert_eq!(found.several_rows(), 1);
    }
}

#[tokio::test]
async fn a_cap_keeps_the_same_customers_whatever_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = rows(0..5_000);
    write_parquet(&folder.path().join("a.parquet"), &rows);
    rows.reverse();
    write_csv(&folder.path().join("b.csv"), &rows);
    let capped = async |source, most, threads, key| {
        let options = Options { threads, key: UnitKey::new([key; 32]), ..options(folder.path()) };
        let spec = BlockSpec { most: Some(most), ..SPEC };
        let found = candidates(folder.path(), source, ALL, spec, options).await;
        assert_eq!((found.len(), found.over_cap()), (most.min(5_000), 5_000 - most.min(5_000)));
        by_unit(&found)
    };
    let one = capped("a.parquet", 1_000, 1, 1).await;
    assert_eq!(one, capped("b.csv", 1_000, 3, 1).await);
    let other = capped("a.parquet", 1_000, 2, 2).await;
    let both = one.keys().filter(|unit| other.contains_key(unit)).count();
    // 200 expected; the hypergeometric's standard deviation is 11.3, and 6.2 of them are 70.
    assert!(both.abs_diff(200) < 70, "another key has other customers: {both}");
    // A larger cap has the same and more.
    let more = capped("b.csv", 1_200, 2, 1).await;
    assert!(one.iter().all(|(unit, codes)| more.get(unit) == Some(codes)));
    assert!(one.iter().all(|(unit, codes)| *codes == expected(&rows[4_999 - *unit as usize])));
    for most in [0, 1, 63, 64, 65, 5_000, u64::MAX] {
        capped("a.parquet", most, 2, 1).await;
    }
}

#[tokio::test]
async fn files_hold_what_memory_does_not_and_codes_can_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    write_parquet(&folder.path().join("a.parquet"), &rows(0..3_000));
    let mut found = Vec::new();
    for (memory, limit) in [(64 << 20, 64 << 20), (100_000, 9_000), (0, 0)] {
        let options = Options { memory, customers: Room::of(limit), ..options(folder.path()) };
        let mut candidates = candidates(folder.path(), "a.parquet", ALL, SPEC, options).await;
        let before = by_unit(&candidates);
        let same: Vec<u16> = (0..=u16::MAX).collect();
        let halves: Vec<u16> = (0..=u16::MAX).map(|code| code / 2).collect();
        let tables = [halves, same.clone(), same.clone(), same.clone(), same];
        let columns = candidates.columns().clone();
        assert!(candidates.recode(columns.clone(), &tables[..2]).is_err());
        candidates.recode(columns, &tables).unwrap();
        let halved = |(unit, codes): (&u128, &Vec<u16>)| (*unit, [&[codes[0] / 2], &codes[1..]].concat());
        assert_eq!(by_unit(&candidates), before.iter().map(halved).collect());
        found.push(before);
        #[cfg(unix)]
        assert!(fs::read_dir(folder.path().join("spill")).map_or(0, Iterator::count) == 0);
    }
    assert!(found[0].len() == 3_000 && found.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn no_rows_are_no_candidates() {
    let folder = tempfile::tempdir().unwrap();
    write_csv(&folder.path().join("a.csv"), &[]);
    for spec in [SPEC, BlockSpec { block_rows: 0, most: Some(3), ..SPEC }] {
        let found = candidates(folder.path(), "a.csv", ALL, spec, options(folder.path())).await;
        assert!(found.is_empty() && found.blocks() == 0);
    }
}

/// One customer more takes the place of one other at most where there is no room, and does so for some: the reach is charged for both.
#[tokio::test]
async fn under_a_cap_one_customer_more_moves_one_other_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let spec = BlockSpec { most: Some(20), ..SPEC };
    let mut exchanged = 0;
    let all = rows(0..60);
    write_csv(&folder.path().join("all.csv"), &all);
    let with = by_unit(&candidates(folder.path(), "all.csv", ALL, spec, options(folder.path())).await);
    for one in (0..all.len()).step_by(3) {
        let mut fewer = rows(0..60);
        fewer.remove(one);
        write_csv(&folder.path().join("fewer.csv"), &fewer);
        let without = by_unit(&candidates(folder.path(), "fewer.csv", ALL, spec, options(folder.path())).await);
        let gone = with.keys().filter(|unit| !without.contains_key(*unit)).count();
        let come = without.keys().filter(|unit| !with.contains_key(*unit)).count();
        assert!(gone == come && gone <= 1, "{gone} {come}");
        exchanged += gone;
    }
    assert!(exchanged > 0, "a third of them are within the cap");
}
