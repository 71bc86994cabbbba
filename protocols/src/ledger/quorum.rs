//! How many witnesses are enough: to let something leave, and to begin after a start.
//!
//! Of w partners, up to t may work with whoever would like a ledger to be forgotten. Any two sets of q partners have at least 2q − w in
//! common. With q = ⌊(w+t)/2⌋ + 1,
//!
//! ```text
//! 2q − w  ≥  (w + t − 1) + 2 − w  =  t + 1,
//! ```
//!
//! so at least one of those in common is honest: it has seen what the first set cosigned, and will not cosign, as one of the second, what
//! does not go on from it. A node hears as many before its first charge after a start: among them is then an honest one of any that
//! cosigned a charge before.
//!
//! Where q is more than w, all are asked, and the argument needs w > t: with one other partner (n = 2), that partner alone is enough to
//! deceive. The coordinator is asked as well and never counted: it is who passes all of this on.

/// How many of `witnesses` partners are enough if up to `colluders` of them collude, and no fewer than `demanded` where there are so
/// many. Never none: whoever has no witness left waits for one.
pub fn quorum(witnesses: usize, colluders: usize, demanded: usize) -> usize {
    let enough = witnesses.saturating_add(colluders) / 2 + 1;
    enough.max(demanded).min(witnesses).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::usual_colluders;

    #[test]
    fn two_quorums_have_an_honest_witness_in_common() {
        for partners in 3..=64_u32 {
            let (witnesses, colluders) = (partners as usize - 1, usual_colluders(partners) as usize);
            let enough = quorum(witnesses, colluders, 0);
            assert!(2 * enough > witnesses + colluders, "of {partners}: {enough}");
            assert!(enough == 1 || 2 * (enough - 1) <= witnesses + colluders, "of {partners}, fewer would do");
        }
    }

    #[test]
    fn quorums_of_small_alliances_are_as_documented() {
        let of = |partners: u32| quorum(partners as usize - 1, usual_colluders(partners) as usize, 0);
        assert_eq!([2, 3, 4, 5, 6, 7, 10].map(of), [1, 2, 3, 4, 4, 5, 7]);
        assert_eq!(quorum(6, 3, 6), 6, "a number demands more");
        assert_eq!(quorum(6, 3, 2), 5, "and never less");
        assert_eq!(quorum(2, 1, 9), 2, "nor more than there are");
        assert_eq!(quorum(0, 1, 0), 1, "where all are away, somebody is waited for");
    }
}
