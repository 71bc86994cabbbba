//! A hash table from (customer, cell) to the number of rows and their sums: entries in one array in order of arrival,
//! found by an index of 8 bytes a slot with linear probing.

use entente_protocols::privacy::bounds::CustomerCell;

use crate::data::unit;

/// Keys of the hash that spreads customers and entries. It only has to be unpredictable for who made the data.
#[derive(Clone, Debug)]
pub(super) struct Seeds([u64; 3]);

impl Seeds {
    pub(super) fn new(key: &[u8; 16]) -> Self {
        let [low, high] = [0, 8].map(|at| u64::from_le_bytes(key[at..at + 8].try_into().expect("8 of 16 bytes")));
        // Odd and with many bits, whatever the key: the multipliers must not lose anything.
        let odd = |word: u64, salt: u64| (word ^ salt) | 1;
        Self([low ^ 0x243f_6a88_85a3_08d3, odd(high, 0x1319_8a2e_0370_7345), odd(low, 0xa409_3822_299f_31d1)])
    }

    /// The hash of a customer.
    #[inline]
    pub(super) fn unit<const W: usize>(&self, unit: &[i64; W]) -> u64 {
        unit.iter().fold(self.0[0], |hash, &word| fold(hash ^ word as u64, self.0[1]))
    }

    /// The hash of a customer's cell.
    #[inline]
    fn entry(&self, unit: u64, cell: i64) -> u64 {
        fold(unit ^ (cell as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15), self.0[2])
    }
}

/// Both halves of the 128-bit product, as in wyhash.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The table. An entry is `W` words of customer, the cell, the rows and the sums.
#[derive(Debug)]
pub(super) struct Table<const W: usize> {
    width: usize,
    entries: Vec<i64>,
    /// 0, or 32 bits of the entry's hash above its number plus one.
    index: Vec<u64>,
}

impl<const W: usize> Table<W> {
    pub(super) fn new(values: usize) -> Self {
        Self { width: Self::width(values), entries: Vec::new(), index: Vec::new() }
    }

    /// Words of an entry.
    pub(super) fn width(values: usize) -> usize {
        W + 2 + values
    }

    /// Memory taken.
    pub(super) fn bytes(&self) -> usize {
        8 * (self.entries.capacity() + self.index.capacity())
    }

    /// All entries, one behind the other.
    pub(super) fn entries(&self) -> &[i64] {
        &self.entries
    }

    fn len(&self) -> usize {
        self.entries.len() / self.width
    }

    /// Adds rows of a customer in a cell, and the sums over them.
    #[inline]
    pub(super) fn add(&mut self, seeds: &Seeds, unit: &[i64; W], cell: i64, rows: i64, sums: &[i64]) {
        if self.len() * 4 >= self.index.len() * 3 {
            self.grow(seeds);
        }
        let hash = seeds.entry(seeds.unit(unit), cell);
        let mask = self.index.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let found = self.index[slot];
            if found == 0 {
                break;
            }
            if (found ^ hash) >> 32 == 0 {
                let start = (found as u32 as usize - 1) * self.width;
                let entry = &mut self.entries[start..start + self.width];
                if entry[..W] == *unit && entry[W] == cell {
                    entry[W + 1] = entry[W + 1].wrapping_add(rows);
                    for (sum, value) in entry[W + 2..].iter_mut().zip(sums) {
                        *sum = sum.wrapping_add(*value);
                    }
                    return;
                }
            }
            slot = (slot + 1) & mask;
        }
        self.index[slot] = (hash & !0xffff_ffff) | (self.len() as u64 + 1);
        self.entries.extend_from_slice(unit);
        self.entries.extend_from_slice(&[cell, rows]);
        self.entries.extend_from_slice(sums);
    }

    #[cold]
    fn grow(&mut self, seeds: &Seeds) {
        let slots = (self.index.len() * 2).max(64);
        // The index holds three quarters of its slots. Growing the entries with it, not past it, wastes less.
        self.entries.reserve_exact((slots / 4 * 3 + 1) * self.width - self.entries.len());
        self.index = vec![0; slots];
        let mask = slots - 1;
        for (number, entry) in self.entries.chunks_exact(self.width).enumerate() {
            let unit = entry.first_chunk::<W>().expect("an entry is wider than its unit");
            let hash = seeds.entry(seeds.unit(unit), entry[W]);
            let mut slot = hash as usize & mask;
            while self.index[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.index[slot] = (hash & !0xffff_ffff) | (number as u64 + 1);
        }
    }

    /// The cell of an entry.
    pub(super) fn cell(&self, entry: usize) -> u32 {
        self.entries[entry * self.width + W] as u32
    }

    /// An entry without its customer.
    pub(super) fn customer_cell(&self, entry: usize) -> CustomerCell<'_> {
        let words = &self.entries[entry * self.width..(entry + 1) * self.width];
        CustomerCell { cell: words[W] as u32, rows: words[W + 1] as u64, sums: &words[W + 2..] }
    }

    /// Calls `f` for each customer with the numbers of its entries.
    pub(super) fn by_unit(&self, seeds: &Seeds, mut f: impl FnMut(u128, Chain<'_>)) {
        // A second index, of customers this time: each slot is the last entry of one, from which the others hang.
        let slots = (self.len() * 4 / 3 + 1).next_power_of_two();
        let mask = slots - 1;
        let mut last = vec![0u32; slots];
        let mut before = vec![0u32; self.len()];
        let unit_of = |entry: u32| &self.entries[(entry as usize - 1) * self.width..][..W];
        for number in 1..=self.len() as u32 {
            let unit: &[i64; W] = unit_of(number).try_into().expect("W words");
            let mut slot = seeds.unit(unit) as usize & mask;
            while last[slot] != 0 && unit_of(last[slot]) != unit {
                slot = (slot + 1) & mask;
            }
            before[number as usize - 1] = last[slot];
            last[slot] = number;
        }
        for number in last.into_iter().filter(|number| *number != 0) {
            let unit: &[i64; W] = unit_of(number).try_into().expect("W words");
            f(unit::number(unit), Chain { before: &before, number });
        }
    }
}

/// The entries of one customer.
pub(super) struct Chain<'a> {
    before: &'a [u32],
    number: u32,
}

impl Iterator for Chain<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let entry = (self.number as usize).checked_sub(1)?;
        self.number = self.before[entry];
        Some(entry)
    }
}
