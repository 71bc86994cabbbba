//! Tables of customers that benches read.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float32Array, Int64Array, RecordBatch};
use entente_examples::alliance::Error;

/// Normal features, and an event with odds that are linear in them; splitmix64 from a seed.
pub fn write(path: &Path, features: usize, rows: usize, mut seed: u64) -> Result<(), Error> {
    let mut uniform = move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut columns: Vec<Vec<f32>> = (0..features).map(|_| Vec::with_capacity(rows)).collect();
    let mut events = Vec::with_capacity(rows);
    for _ in 0..rows {
        let mut odds = -0.5;
        for (feature, column) in columns.iter_mut().enumerate() {
            // A sum of four is normal enough.
            let x = ((0..4).map(|_| uniform()).sum::<f64>() - 2.0) * 3f64.sqrt();
            odds += x * if feature % 2 == 0 { 0.3 } else { -0.2 };
            column.push(x as f32);
        }
        events.push(uniform() < 1.0 / (1.0 + (-odds).exp()));
    }
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
    let mut named = vec![("id".to_owned(), id), ("y".to_owned(), Arc::new(BooleanArray::from(events)) as ArrayRef)];
    for (feature, column) in columns.into_iter().enumerate() {
        named.push((format!("x{feature}"), Arc::new(Float32Array::from(column))));
    }
    let batch = RecordBatch::try_from_iter(named)?;
    let mut writer = parquet::arrow::ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}
