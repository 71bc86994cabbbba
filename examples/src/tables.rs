//! The tables, and how they are shared out.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;

/// A table: a header and rows of text fields. The files have no quoted fields.
pub struct Table {
    /// Column names.
    pub header: Vec<&'static str>,
    /// Rows of as many fields.
    pub rows: Vec<Vec<&'static str>>,
}

/// The example tables by data set, and each one's privacy unit.
pub const TABLES: [(&str, &str, &str); 3] = [
    ("clients", "client_id", include_str!("../data/bank_marketing.csv")),
    ("subscribers", "customerID", include_str!("../data/telco_churn.csv")),
    ("purchases", "customer_id", include_str!("../data/cdnow_transactions.csv")),
];

impl Table {
    /// The whole table of a data set.
    pub fn of(dataset: &str) -> Option<Self> {
        let (_, _, text) = TABLES.iter().find(|(name, _, _)| *name == dataset)?;
        let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        Some(Self { header: lines.next()?, rows: lines.collect() })
    }

    /// The position of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|column| *column == name)
    }
}

/// The part of partner number `partner` of `partners`, as CSV: the customers whose hash falls to it, with all their rows.
pub fn part(text: &str, unit: &str, partner: u64, partners: u64) -> String {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let position = header.split(',').position(|column| column == unit).unwrap_or(0);
    let mine = |line: &&str| {
        let mut hasher = DefaultHasher::new();
        line.split(',').nth(position).hash(&mut hasher);
        hasher.finish() % partners == partner
    };
    let rows: Vec<&str> = std::iter::once(header).chain(lines.filter(mine)).collect();
    rows.join("\n") + "\n"
}

/// Writes partner number `partner`'s parts of all tables into its node's folder, where its configuration says they are.
pub fn write(node: &Path, partner: u64, partners: u64) -> std::io::Result<()> {
    let folder = node.join("data");
    fs::create_dir_all(&folder)?;
    for (dataset, unit, text) in TABLES {
        fs::write(folder.join(format!("{dataset}.csv")), part(text, unit, partner, partners))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_disjoint_and_complete() {
        for (dataset, unit, text) in TABLES {
            let whole = Table::of(dataset).unwrap();
            assert!(whole.rows.iter().all(|row| row.len() == whole.header.len()) && whole.column(unit).is_some());
            let sizes: usize = (0..3).map(|partner| part(text, unit, partner, 3).lines().count() - 1).sum();
            assert_eq!(sizes, whole.rows.len());
        }
    }
}
