//! The memory of a node that reads ten million customers with 50 numbers and computes rounds over them.
//!
//! `cargo bench -p entente-node --bench memory [-- ROWS]`. The file is written by a process of its own, so that this one's
//! peak is what reading, recoding and the rounds take; the file, 2 GB and random, stays in the page cache, which is not
//! the process's. Asked: below 4 GiB.

#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench prints what it measures, this one of processes of its own"
)]

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, BooleanArray, Float32Array, Int64Array, RecordBatch};
use entente_node::data::{Customers, Dataset, Engine, Options, Role, Split, UnitKey};
use entente_protocols::language::expr::Expr;
use entente_protocols::language::rows::{Output, RowsPlan};
use entente_protocols::language::schema::{ColumnType, DatasetSchema};
use entente_protocols::learn::frame::{Input, Place};
use entente_protocols::learn::logistic;
use entente_protocols::learn::model::{Parameters, Recode, Recoding};
use entente_protocols::learn::recipe::{Feature, Recipe, Target, Values};
use entente_protocols::learn::training::{Method, Training};
use entente_protocols::privacy::rows::dims;
use entente_protocols::privacy::sums::Sums;
use parquet::arrow::ArrowWriter;

const ROWS: usize = 10_000_000;
const FEATURES: usize = 50;
const SEED: u64 = 20_251_204;
const HOLDOUT: u32 = 200_000;

/// Set in the process that writes the file: its folder and the number of rows.
const CHILD: (&str, &str) = ("ENTENTE_BENCH_FOLDER", "ENTENTE_BENCH_ROWS");

fn main() -> Result<(), Box<dyn Error>> {
    if let (Ok(folder), Ok(rows)) = (std::env::var(CHILD.0), std::env::var(CHILD.1)) {
        return generate(&Path::new(&folder).join("rows.parquet"), rows.parse()?);
    }
    let rows = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(ROWS);
    let folder = tempfile::tempdir()?;
    let child = std::process::Command::new(std::env::current_exe()?)
        .envs([(CHILD.0, folder.path().as_os_str()), (CHILD.1, rows.to_string().as_ref())])
        .status()?;
    assert!(child.success(), "the file could not be written");
    let size = fs::metadata(folder.path().join("rows.parquet"))?.len();
    println!("{rows} rows of {FEATURES} numbers, {} MB of Parquet, seed {SEED}", size >> 20);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(folder.path()))
}

async fn measure(folder: &Path) -> Result<(), Box<dyn Error>> {
    let engine = Engine::new(Options::new(folder.join("spill"), UnitKey::new([7; 32])));
    let started = Instant::now();
    let dataset = Dataset::open(schema(), "rows.parquet", folder, None)?;
    let split = Split { target: Some(FEATURES), weight: None, holdout: HOLDOUT, seed: 1 };
    let mut customers = engine.customers(&dataset, &plan(), split).await?;
    let (training, held_out) = (customers.len(Role::Training), customers.len(Role::HeldOut));
    said("reading", started, format!("{training} to train on, {held_out} held out"))?;

    let training = self::training();
    let scale = Recode::Scale(vec![(1, 1), (20_000, 30_000), (65535, 65535)]);
    let recoding = Recoding { columns: vec![scale; FEATURES] };
    let columns = recoding.columns(&training.recipe).into();
    let tables: Vec<Vec<u16>> = (0..FEATURES).map(|feature| recoding.table(feature)).collect();
    let started = Instant::now();
    customers.recode(columns, &tables)?;
    said("recoding", started, String::new())?;

    let weights = (0..dims(&training.recipe.columns())).map(|i| f64::from(i as u32 % 7) * 0.1 - 0.3).collect();
    let input = Input {
        recoding: Some(recoding),
        parameters: Parameters::Weights { weights },
        unit: 1.0,
        checkpoints: Vec::new(),
    };
    for _ in 0..3 {
        let started = Instant::now();
        gradient(&customers, &training, &input)?;
        said("a gradient", started, String::new())?;
    }
    println!("asked: a peak below 4096 MiB");
    Ok(())
}

fn gradient(customers: &Customers, training: &Training, input: &Input) -> Result<(), Box<dyn Error>> {
    // The third release, behind histograms and sums by label.
    let (release, place) = (2, Place { position: 0, participants: 3 });
    let contribute = training.contributor(release, input, place)?;
    let layout = Arc::new(training.releases(place.participants)[release].layout());
    let sums = customers.fold(
        Role::Training,
        || Sums::new(layout.clone()),
        |sums, block, labels| contribute.add(block, &labels.target, &[], sums),
        |mut sums, other| {
            assert!(sums.merge(&other), "both have one layout");
            sums
        },
    )?;
    std::hint::black_box(sums.finish());
    Ok(())
}

fn said(what: &str, started: Instant, more: String) -> Result<(), Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    let peak: u64 = line.trim().trim_end_matches(" kB").parse()?;
    println!("{what:12} {:7.2} s, peak so far {} MiB {more}", started.elapsed().as_secs_f64(), peak >> 10);
    Ok(())
}

fn name(feature: usize) -> String {
    format!("x{feature}")
}

fn columns() -> Vec<(String, ColumnType)> {
    let numbers = (0..FEATURES).map(|i| (name(i), ColumnType::Float { min: Some(-1.0), max: Some(1.0) }));
    numbers.chain([("y".to_owned(), ColumnType::Bool)]).collect()
}

fn schema() -> DatasetSchema {
    DatasetSchema { name: "rows".into(), privacy_unit: "id".into(), columns: columns().into_iter().collect() }
}

fn plan() -> RowsPlan {
    let output = |(name, column): &(String, ColumnType)| {
        let values = if *column == ColumnType::Bool { Values::Bool } else { Values::Number { low: -1.0, high: 1.0 } };
        Output { name: name.clone(), expr: Expr::Column(name.clone()), values }
    };
    let outputs = columns().iter().map(output).collect();
    let mut columns = columns();
    columns.sort_by(|a, b| a.0.cmp(&b.0));
    RowsPlan { dataset: "rows".into(), privacy_unit: "id".into(), columns, filter: None, outputs }
}

fn training() -> Training {
    let feature = |i: usize| Feature { name: name(i), values: Values::Number { low: -1.0, high: 1.0 } };
    Training {
        recipe: Recipe { features: (0..FEATURES).map(feature).collect() },
        target: Some(Target { name: "y".into(), values: Values::Bool }),
        method: Method::Logistic(logistic::Settings { rounds: 12, clip: 0.8, regularisation: 1.0 }),
        evaluation: None,
    }
}

fn generate(path: &Path, rows: usize) -> Result<(), Box<dyn Error>> {
    let mut state = SEED;
    let mut random = move || {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut writer = None;
    let mut written = 0;
    while written < rows {
        let count = (rows - written).min(100_000);
        let ids = Int64Array::from_iter_values((written..written + count).map(|id| id as i64));
        let mut columns = vec![("id".to_owned(), Arc::new(ids) as ArrayRef)];
        for feature in 0..FEATURES {
            let number = |_| (random() >> 40) as f32 / (1 << 23) as f32 - 1.0;
            columns.push((name(feature), Arc::new(Float32Array::from_iter_values((0..count).map(number)))));
        }
        let events: BooleanArray = (0..count).map(|_| Some(random().is_multiple_of(2))).collect();
        columns.push(("y".to_owned(), Arc::new(events)));
        let batch = RecordBatch::try_from_iter(columns)?;
        if writer.is_none() {
            writer = Some(ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?);
        }
        if let Some(writer) = &mut writer {
            writer.write(&batch)?;
        }
        written += count;
    }
    if let Some(writer) = writer {
        writer.close()?;
    }
    Ok(())
}
