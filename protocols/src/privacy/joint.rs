//! Columns of few codes each, kept as one: what rounds over bins go over, again and again.
//!
//! Up to three narrow neighbours have so few combinations of codes that a table with a number for each stays in the fastest
//! cache. A row's **joint code** is its place in such a table: (a·w + b·s + c) of codes a, b and c, where c is below s, and
//! b·s + c below w. To read it takes a third of the memory that the three codes take, and to add to its place is one
//! addition rather than three, which nothing foretells; margins of the table are what each column gets ([`super::cells`]).
//! Taken apart again, it says what each column adds to a score (`crate::kernels::lookups`).
//!
//! What is joined depends on what the columns mean, not on the rows, unless a caller passes what was found in them.

use std::ops::Range;

use pulp::Arch;

/// Most places of a table: 32 bits each leave room in the fastest cache for what is read beside it.
pub(crate) const PLACES: usize = 6400;
/// Most columns that are joined.
pub(crate) const JOINED: usize = 3;
/// w is a multiple of this: rows of a table are added up in steps.
pub(super) const LANES: usize = 32;

/// Some neighbouring columns as one, or a column by itself.
pub(crate) struct Joint {
    /// Which columns.
    pub(crate) columns: Range<usize>,
    /// How many codes each of them can have.
    pub(super) slots: Vec<usize>,
    /// One code a row; none for a column by itself, whose own codes they would be.
    pub(super) codes: Vec<u16>,
}

impl Joint {
    /// Joins columns, each given by its codes and how many it can have, where a table has at most `most` places; a code
    /// beyond counts as the last. Columns with other than `rows` codes stay by themselves.
    pub(super) fn all(columns: &[(&[u16], usize)], rows: usize, most: usize) -> Vec<Self> {
        let alone = usize::MAX;
        let slots = columns.iter().map(|(codes, slots)| if codes.len() == rows { *slots } else { alone });
        let slots: Vec<usize> = slots.collect();
        let groups = groups(&slots, most).into_iter();
        groups.map(|group| Self::new(group.clone(), &columns[group.clone()], slots[group].to_vec())).collect()
    }

    /// How many places a table of its codes has.
    pub(super) fn places(&self) -> usize {
        table(&self.slots)
    }

    fn new(columns: Range<usize>, each: &[(&[u16], usize)], slots: Vec<usize>) -> Self {
        let strides = strides(&slots);
        let codes = match (each, &strides[..]) {
            (&[first, second], &[width]) => join([first, second, (second.0, 1)], [width, 1]),
            (&[first, second, third], &[width, stride]) => join([first, second, third], [width, stride]),
            _ => Vec::new(),
        };
        Self { columns, slots, codes }
    }
}

/// Which neighbours are joined: one range of columns after the other, from how many codes each can have.
pub(crate) fn groups(slots: &[usize], most: usize) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    for number in 0..slots.len() {
        match groups.last_mut() {
            Some(last) if fits(&slots[last.start..=number], most.min(PLACES)) => last.end += 1,
            _ => groups.push(number..number + 1),
        }
    }
    groups
}

/// What the codes of all joined columns but the last are multiplied with: w, and s where there are three.
pub(crate) fn strides(slots: &[usize]) -> Vec<usize> {
    let behind = |column: usize| slots[column + 1..].iter().fold(1, |all: usize, slots| all.saturating_mul(*slots));
    let rounded = |column: usize| match column {
        0 => behind(0).checked_next_multiple_of(LANES).unwrap_or(usize::MAX),
        _ => behind(column),
    };
    (0..slots.len().saturating_sub(1)).map(rounded).collect()
}

/// Whether several columns can be one. Those with a single code are left out: places could not be divided by 1.
fn fits(slots: &[usize], most: usize) -> bool {
    slots.len() <= JOINED && !slots.contains(&1) && table(slots) <= most
}

fn table(slots: &[usize]) -> usize {
    let width = strides(slots).first().copied().unwrap_or(1);
    slots.first().map_or(0, |first| first.saturating_mul(width))
}

/// Joint codes: below [`PLACES`], so that nothing overflows. Of two columns, the third is any with a single code.
fn join(columns: [(&[u16], usize); JOINED], strides: [usize; JOINED - 1]) -> Vec<u16> {
    let [first, second, third] = columns.map(|(codes, slots)| (codes, (slots - 1) as u16));
    let [width, stride] = strides.map(|stride| stride as u16);
    let mut joint = vec![0; first.0.len()];
    let rows = joint.iter_mut().zip(first.0).zip(second.0).zip(third.0);
    Arch::new().dispatch(|| {
        for (((joint, a), b), c) in rows {
            *joint = (*a).min(first.1) * width + (*b).min(second.1) * stride + (*c).min(third.1);
        }
    });
    joint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_joined_while_a_table_has_room() {
        let cases: [(&[usize], &[Range<usize>]); 6] = [
            (&[], &[]),
            (&[17; 5], &[0..3, 3..5]),
            (&[17, 1 << 16, 17, 17, 1, 2, 2], &[0..1, 1..2, 2..4, 4..5, 5..7]),
            (&[34, 34, 34, 34], &[0..2, 2..4]),
            (&[2; 8], &[0..3, 3..6, 6..8]),
            (&[usize::MAX, usize::MAX, 100, 64, 2], &[0..1, 1..2, 2..4, 4..5]),
        ];
        for (slots, expected) in cases {
            assert_eq!(groups(slots, usize::MAX), expected, "{slots:?}");
        }
        assert_eq!(groups(&[17; 5], 5439), [0..2, 2..4, 4..5], "three take 17·320 places");
        assert_eq!(groups(&[17; 5], 0), [0..1, 1..2, 2..3, 3..4, 4..5]);
    }

    /// Every combination of codes has a place of its own, and codes beyond the last are the last.
    #[test]
    fn joint_codes_are_places() {
        let all: Vec<[u16; 3]> = (0..17 * 19 * 5).map(|i| [i % 17, i / 17 % 19, i / (17 * 19)]).collect();
        let column = |i: usize| all.iter().map(|codes| codes[i]).chain([40_000]).collect::<Vec<u16>>();
        let (a, b, c) = (column(0), column(1), column(2));
        let slots = [17, 19, 5];
        let joints = Joint::all(&[(&a, 17), (&b, 19), (&c, 5), (&b, 19), (&c[1..], 5)], a.len(), PLACES);
        assert_eq!(joints.iter().map(|joint| joint.columns.clone()).collect::<Vec<_>>(), [0..3, 3..4, 4..5]);
        assert!(joints[0].slots == slots && strides(&slots) == [96, 5] && joints[1].codes.is_empty());
        for (codes, joint) in all.iter().chain([&[16, 18, 4]]).zip(&joints[0].codes) {
            let [a, b, c] = *codes;
            assert_eq!(*joint, a * 96 + b * 5 + c);
        }
        let joints = Joint::all(&[(&a, 17), (&b, 19)], a.len(), PLACES);
        assert_eq!(
            joints[0].codes,
            a.iter().zip(&b).map(|(a, b)| (*a).min(16) * 32 + (*b).min(18)).collect::<Vec<_>>()
        );
    }
}
