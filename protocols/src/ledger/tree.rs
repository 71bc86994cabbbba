//! A Merkle tree over the ledger's entries, with proofs that an entry is in it and that it only grew (RFC 6962, section 2.1;
//! the verifiers are those of RFC 9162, sections 2.1.3.2 and 2.1.4.2).
//!
//! A leaf is an entry's exact line of JSON. Hashes are plain SHA-256 with a byte in front that tells leaves from nodes, as the
//! RFC has it and not as [`Digest::of`], so that any transparency-log tool computes the same. The two bytes keep a leaf
//! from being passed off as a node (second preimages).
//!
//! What is proved: under collision resistance of SHA-256, a root and a size determine every leaf. A consistency proof from (m, R) to
//! (n, S) shows that the first m leaves under S are those under R; so who keeps (m, R) and accepts (n, S) only with such a
//! proof accepts no tree in which one of the first m entries was changed, dropped or moved.

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

/// The most hashes in a proof: a tree has fewer than 2^64 leaves.
pub const MAX_PROOF: usize = 64;

/// The hash of a leaf.
pub fn leaf(entry: &[u8]) -> Digest {
    Digest(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

fn node(left: Digest, right: Digest) -> Digest {
    Digest(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The hash of the tree without leaves.
pub fn empty_root() -> Digest {
    Digest::plain(b"")
}

/// A tree that grows. It holds the hashes of all its complete subtrees, 64 bytes a leaf: appending takes O(1) hashes in the mean
/// and O(log n) at most, a root or a proof of any earlier size O(log n).
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// `levels[k][i]` is over leaves i·2^k to (i+1)·2^k.
    levels: Vec<Vec<Digest>>,
}

impl Tree {
    /// The number of leaves.
    pub fn len(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// Whether it has no leaves.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends an entry, by its hash as a leaf.
    pub fn push(&mut self, leaf: Digest) {
        let mut hash = leaf;
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let hashes = &mut self.levels[level];
            hashes.push(hash);
            let [.., left, right] = hashes.as_slice() else { return };
            if hashes.len() % 2 == 1 {
                return;
            }
            hash = node(*left, *right);
        }
    }

    /// The root.
    pub fn root(&self) -> Digest {
        self.range(0, self.len())
    }

    /// The root when the tree had `size` leaves; `None` if it never had so many.
    pub fn root_at(&self, size: u64) -> Option<Digest> {
        (size <= self.len()).then(|| self.range(0, size))
    }

    /// The proof that leaf number `index`, counted from 0, is in the tree of the first `size`.
    pub fn inclusion(&self, index: u64, size: u64) -> Option<Vec<Digest>> {
        if index >= size || size > self.len() {
            return None;
        }
        let (mut proof, mut from, mut to) = (Vec::new(), 0, size);
        while to - from > 1 {
            let middle = from + split(to - from);
            if index < middle {
                proof.push(self.range(middle, to));
                to = middle;
            } else {
                proof.push(self.range(from, middle));
                from = middle;
            }
        }
        proof.reverse();
        Some(proof)
    }

    /// The proof that the tree of the first `new` leaves goes on where that of the first `old` ended.
    pub fn consistency(&self, old: u64, new: u64) -> Option<Vec<Digest>> {
        if old > new || new > self.len() {
            return None;
        }
        let (mut proof, mut from, mut to) = (Vec::new(), 0, new);
        if old == 0 || old == new {
            return Some(proof);
        }
        // Down to the subtree that ends where the old tree did.
        while to != old {
            let middle = from + split(to - from);
            if old <= middle {
                proof.push(self.range(middle, to));
                to = middle;
            } else {
                proof.push(self.range(from, middle));
                from = middle;
            }
        }
        if from > 0 {
            proof.push(self.range(from, to));
        }
        proof.reverse();
        Some(proof)
    }

    /// The hash over leaves `from` to `to`, where `from` begins a subtree that reaches to `to` at least.
    fn range(&self, from: u64, to: u64) -> Digest {
        let length = to - from;
        if length == 0 {
            return empty_root();
        }
        if length.is_power_of_two() {
            let level = length.trailing_zeros();
            // Subtrees begin at multiples of their length, and are complete once all their leaves are there.
            return self.levels[level as usize][usize::try_from(from >> level).unwrap_or(usize::MAX)];
        }
        let middle = from + split(length);
        node(self.range(from, middle), self.range(middle, to))
    }
}

/// The largest power of two below `length`, which is at least 2.
fn split(length: u64) -> u64 {
    1 << (63 - (length - 1).leading_zeros())
}

/// Whether `proof` shows that the entry with the hash `leaf` is number `index`, counted from 0, of the `size` under `root`.
pub fn verify_inclusion(leaf: Digest, index: u64, size: u64, proof: &[Digest], root: Digest) -> bool {
    if index >= size {
        return false;
    }
    let (mut number, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if number % 2 == 1 || number == last {
            hash = node(*sibling, hash);
            while number % 2 == 0 && number != 0 {
                (number, last) = (number >> 1, last >> 1);
            }
        } else {
            hash = node(hash, *sibling);
        }
        (number, last) = (number >> 1, last >> 1);
    }
    last == 0 && hash == root
}

/// Whether `proof` shows that the tree of `new` leaves under `new_root` goes on where that of `old` leaves under `old_root`
/// ended. Any tree goes on where the empty one ended.
pub fn verify_consistency(old: u64, new: u64, proof: &[Digest], old_root: Digest, new_root: Digest) -> bool {
    if old > new {
        return false;
    }
    if old == new || old == 0 {
        let same = if old == new { old_root == new_root } else { old_root == empty_root() };
        return proof.is_empty() && same;
    }
    let mut hashes = proof.iter().copied();
    let first = if old.is_power_of_two() { Some(old_root) } else { hashes.next() };
    let Some(first) = first else { return false };
    let (mut number, mut last) = (old - 1, new - 1);
    while number % 2 == 1 {
        (number, last) = (number >> 1, last >> 1);
    }
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in hashes {
        if last == 0 {
            return false;
        }
        if number % 2 == 1 || number == last {
            old_hash = node(sibling, old_hash);
            new_hash = node(sibling, new_hash);
            while number % 2 == 0 && number != 0 {
                (number, last) = (number >> 1, last >> 1);
            }
        } else {
            new_hash = node(new_hash, sibling);
        }
        (number, last) = (number >> 1, last >> 1);
    }
    last == 0 && old_hash == old_root && new_hash == new_root
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The leaves of the reference implementation's tests (certificate-transparency, `merkle_tree_test`), and the roots after each.
    const LEAVES: [&[u8]; 8] = [
        b"",
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
    ];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn tree(leaves: u64) -> Tree {
        let mut tree = Tree::default();
        (0..leaves).for_each(|i| tree.push(leaf(&i.to_be_bytes())));
        tree
    }

    /// The definitions of RFC 6962, section 2.1, word by word.
    mod definitions {
        use super::super::*;

        pub fn root(leaves: &[Digest]) -> Digest {
            match leaves {
                [] => empty_root(),
                [one] => *one,
                more => {
                    let (left, right) = more.split_at(split(more.len() as u64) as usize);
                    node(root(left), root(right))
                }
            }
        }

        pub fn path(m: usize, leaves: &[Digest]) -> Vec<Digest> {
            if leaves.len() < 2 {
                return Vec::new();
            }
            let k = split(leaves.len() as u64) as usize;
            let (left, right) = leaves.split_at(k);
            let (mut proof, last) = if m < k { (path(m, left), root(right)) } else { (path(m - k, right), root(left)) };
            proof.push(last);
            proof
        }

        pub fn subproof(m: usize, leaves: &[Digest], whole: bool) -> Vec<Digest> {
            if m == leaves.len() {
                return if whole { Vec::new() } else { vec![root(leaves)] };
            }
            let k = split(leaves.len() as u64) as usize;
            let (left, right) = leaves.split_at(k);
            let (mut proof, last) = if m <= k {
                (subproof(m, left, whole), root(right))
            } else {
                (subproof(m - k, right, false), root(left))
            };
            proof.push(last);
            proof
        }
    }

    #[test]
    fn roots_are_those_of_the_reference_implementation() {
        let mut tree = Tree::default();
        assert_eq!(tree.root().to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (leaf, root) in LEAVES.iter().zip(ROOTS) {
            tree.push(super::leaf(leaf));
            assert_eq!(tree.root().to_string(), root);
        }
        for (i, root) in ROOTS.iter().enumerate() {
            assert_eq!(tree.root_at(i as u64 + 1).unwrap().to_string(), *root);
        }
        assert_eq!(tree.root_at(9), None);
    }

    #[test]
    fn proofs_are_those_of_the_definitions_and_verify() {
        let n = 70;
        let tree = tree(n);
        let leaves: Vec<Digest> = (0..n).map(|i| leaf(&i.to_be_bytes())).collect();
        for size in 1..=n {
            let (now, root) = (&leaves[..size as usize], tree.root_at(size).unwrap());
            assert_eq!(root, definitions::root(now));
            for index in 0..size {
                let proof = tree.inclusion(index, size).unwrap();
                assert_eq!(proof, definitions::path(index as usize, now));
                assert!(verify_inclusion(now[index as usize], index, size, &proof, root));
            }
            for old in 1..=size {
                let proof = tree.consistency(old, size).unwrap();
                assert_eq!(proof, definitions::subproof(old as usize, now, true));
                assert!(verify_consistency(old, size, &proof, tree.root_at(old).unwrap(), root));
            }
            assert!(verify_consistency(0, size, &[], empty_root(), root));
        }
        assert_eq!((tree.inclusion(n, n), tree.consistency(n, n + 1), tree.consistency(3, 2)), (None, None, None));
    }

    /// Whatever is changed in a proof, or in what it is for, is found.
    #[test]
    fn changed_proofs_do_not_verify() {
        let tree = tree(40);
        let root = |size| tree.root_at(size).unwrap();
        let other = leaf(b"other");
        for (index, size) in [(0, 40), (7, 40), (39, 40), (38, 39), (5, 8), (0, 1)] {
            let (good, proof) = (leaf(&u64::to_be_bytes(index)), tree.inclusion(index, size).unwrap());
            assert!(!verify_inclusion(other, index, size, &proof, root(size)));
            assert!(!verify_inclusion(good, index, size, &proof, other));
            assert!(!verify_inclusion(good, index + 1, size, &proof, root(size)));
            assert!(!verify_inclusion(good, size, size, &proof, root(size)));
            let longer = [&proof[..], &[other]].concat();
            assert!(!verify_inclusion(good, index, size, &longer, root(size)));
            for i in 0..proof.len() {
                let mut changed = proof.clone();
                changed[i] = other;
                assert!(!verify_inclusion(good, index, size, &changed, root(size)));
                assert!(!verify_inclusion(good, index, size, &proof[..i], root(size)));
            }
        }
        for (old, new) in [(1, 40), (7, 40), (8, 40), (32, 40), (39, 40), (40, 40), (6, 8), (0, 5)] {
            let proof = tree.consistency(old, new).unwrap();
            let verify = |proof: &[Digest], a, b| verify_consistency(old, new, proof, a, b);
            assert!(verify(&proof, root(old), root(new)));
            assert!(!verify(&proof, other, root(new)), "{old} {new}");
            assert!(old == 0 || !verify(&proof, root(old), other), "{old} {new}");
            assert!(!verify(&[&proof[..], &[other]].concat(), root(old), root(new)));
            assert!(!verify_consistency(new + 1, new, &proof, root(old), root(new)));
            for i in 0..proof.len() {
                let mut changed = proof.clone();
                changed[i] = other;
                assert!(!verify(&changed, root(old), root(new)));
                assert!(!verify(&proof[..i], root(old), root(new)));
            }
        }
    }

    #[test]
    fn proofs_and_memory_stay_small() {
        let tree = tree(1 << 16);
        assert_eq!(tree.inclusion(12345, 1 << 16).map(|proof| proof.len()), Some(16));
        let hashes: usize = tree.levels.iter().map(Vec::len).sum();
        assert_eq!(hashes, (1 << 17) - 1, "two a leaf");
    }
}
