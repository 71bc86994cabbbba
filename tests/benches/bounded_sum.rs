//! A grouped bounded sum over ten million rows of Parquet, against DataFusion on the same two-level query.
//!
//! `cargo bench -p entente-tests --features peer --bench bounded_sum [-- ROWS]`. Both run in turn, five times each, over
//! the same file in the page cache. Ours does more (exact integers, a bound on groups and rows a customer, a sensitivity)
//! and must stay within 1.3 times DataFusion's time, and its process below 1 GiB, which is measured in a process of its own.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::{Expr as FusionExpr, lit, when};
use datafusion::prelude::{ParquetReadOptions, SessionContext, col};
use entente_node::data::{Dataset, Engine, Options, UnitKey};
use entente_protocols::language::expr::{Expr, Value};
use entente_protocols::language::schema::{ColumnType, DatasetSchema};
use entente_protocols::language::sums::{BaseSum, GroupKey, Shown, SumsPlan};

const ROWS: usize = 10_000_000;
const CUSTOMERS: u64 = 1_000_000;
const REGIONS: [&str; 8] = ["north", "south", "east", "west", "centre", "islands", "abroad", "unknown"];
const MOST: f64 = 500.0;
const MAX_ROWS: u32 = 20;
const SEED: u64 = 20_251_122;
const RUNS: usize = 5;

/// Set in the process whose memory is measured: the folder with the file.
const CHILD: &str = "ENTENTE_BENCH_FOLDER";

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Ok(folder) = std::env::var(CHILD) {
        runtime.block_on(ours(Path::new(&folder), 8))?;
        println!("{}", peak_memory()?);
        return Ok(());
    }
    let rows = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(ROWS);
    let folder = tempfile::tempdir()?;
    generate(&folder.path().join("rows.parquet"), rows)?;
    let size = fs::metadata(folder.path().join("rows.parquet"))?.len();
    let cores = std::thread::available_parallelism()?;
    println!(
        "{rows} rows, {CUSTOMERS} customers, {} regions, seed {SEED}, {} MB, {cores} cores",
        REGIONS.len(),
        size >> 20
    );

    let child = std::process::Command::new(std::env::current_exe()?).env(CHILD, folder.path()).output()?;
    let memory: u64 = String::from_utf8(child.stdout)?.trim().parse()?;

    let (mut peers, mut all, mut three) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        peers.push(runtime.block_on(peer(folder.path()))?);
        all.push(runtime.block_on(ours(folder.path(), 8))?);
        three.push(runtime.block_on(ours(folder.path(), 3))?);
    }
    let (peer, all, three) = (median(&mut peers), median(&mut all), median(&mut three));
    println!("DataFusion, two levels of GROUP BY      {peer:.3} s  {peers:.3?}");
    println!("ours, at most 8 groups a customer       {all:.3} s");
    println!("ours, at most 3 groups a customer       {three:.3} s");
    println!("ratio                                   {:.2} (limit 1.30)", all / peer);
    println!("peak memory of a process with ours      {} MiB (limit 1024)", memory >> 10);
    Ok(())
}

/// The peak resident memory of this process in KiB, as Linux counts it.
fn peak_memory() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
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
    let mut left = rows;
    while left > 0 {
        let count = left.min(100_000);
        left -= count;
        let customers: Int64Array = (0..count).map(|_| Some((random() % CUSTOMERS) as i64)).collect();
        let regions: StringArray = (0..count).map(|_| Some(REGIONS[(random() % 8) as usize])).collect();
        // Cents, of which a twentieth is beyond the bound.
        let amounts: Float64Array = (0..count).map(|_| Some((random() % 52_500) as f64 / 100.0)).collect();
        let batch = RecordBatch::try_from_iter([
            ("customer_id", Arc::new(customers) as ArrayRef),
            ("region", Arc::new(regions)),
            ("amount", Arc::new(amounts)),
        ])?;
        if writer.is_none() {
            writer = Some(parquet::arrow::ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?);
        }
        if let Some(writer) = &mut writer {
            writer.write(&batch)?;
        }
    }
    if let Some(writer) = writer {
        writer.close()?;
    }
    Ok(())
}

async fn ours(folder: &Path, max_groups: u32) -> Result<Duration, Box<dyn Error>> {
    let regions: Vec<String> = REGIONS.map(str::to_owned).to_vec();
    let domain = regions.iter().cloned().map(Value::Text).collect();
    let columns = [
        ("amount".to_owned(), ColumnType::Float { min: Some(0.0), max: Some(MOST) }),
        ("region".to_owned(), ColumnType::Category { values: regions }),
    ];
    let schema =
        DatasetSchema { name: "rows".into(), privacy_unit: "customer_id".into(), columns: columns.clone().into() };
    let plan = SumsPlan {
        dataset: "rows".into(),
        privacy_unit: "customer_id".into(),
        columns: columns.into(),
        filter: None,
        groups: vec![GroupKey { expr: Expr::Column("region".into()), domain }],
        sums: vec![BaseSum::Values { expr: Expr::Column("amount".into()), low: 0.0, high: MOST, center: 0.0 }],
        shown: Shown::default(),
        max_groups,
        max_rows: MAX_ROWS,
    };
    let engine = Engine::new(Options::new(folder.join("spill"), UnitKey::new([7; 32])));
    let start = Instant::now();
    let dataset = Dataset::open(schema, "rows.parquet", folder, None)?;
    let bounded = engine.bounded_sums(&dataset, &plan).await?;
    let took = start.elapsed();
    assert_eq!(bounded.layout().cells(), REGIONS.len());
    Ok(took)
}

async fn peer(folder: &Path) -> Result<Duration, Box<dyn Error>> {
    let clip = |value: FusionExpr, most: f64| {
        when(value.clone().gt(lit(most)), lit(most)).when(value.clone().lt(lit(0.0)), lit(0.0)).otherwise(value)
    };
    let path = folder.join("rows.parquet");
    let start = Instant::now();
    let context = SessionContext::new();
    let rows = context.read_parquet(path.to_str().ok_or("not UTF-8")?, ParquetReadOptions::default()).await?;
    let customers =
        rows.aggregate(vec![col("customer_id"), col("region")], vec![sum(col("amount")).alias("amount")])?;
    let clipped =
        customers.select(vec![col("region"), clip(col("amount"), MOST * f64::from(MAX_ROWS))?.alias("amount")])?;
    let result = clipped.aggregate(vec![col("region")], vec![sum(col("amount"))])?.collect().await?;
    let took = start.elapsed();
    assert_eq!(result.iter().map(RecordBatch::num_rows).sum::<usize>(), REGIONS.len());
    Ok(took)
}
