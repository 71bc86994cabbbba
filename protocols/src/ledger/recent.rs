//! The last few of something that took work to make: entries that follow each other have much in common.

/// Pairs of a key and what was made of it; a new one takes the place of the oldest.
#[derive(Clone, Debug)]
pub(super) struct Recent<K, V> {
    pairs: Vec<(K, V)>,
    oldest: usize,
}

/// So many that studies that run beside each other do not drive out each other's.
const KEPT: usize = 8;

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { pairs: Vec::new(), oldest: 0 }
    }
}

impl<K, V: Clone> Recent<K, V> {
    /// What is kept of the key that `is` finds.
    pub(super) fn get(&self, is: impl Fn(&K) -> bool) -> Option<V> {
        self.pairs.iter().find(|(key, _)| is(key)).map(|(_, value)| value.clone())
    }

    pub(super) fn keep(&mut self, key: K, value: V) {
        if self.pairs.len() < KEPT {
            self.pairs.push((key, value));
        } else {
            self.pairs[self.oldest] = (key, value);
            self.oldest = (self.oldest + 1) % KEPT;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let mut recent = Recent::default();
        for i in 0..100 {
            assert_eq!(recent.get(|key| *key == i), None);
            recent.keep(i, -i);
            for kept in 0..=i {
                let expected = (kept > i - KEPT as i32).then_some(-kept);
                assert_eq!(recent.get(|key| *key == kept), expected);
            }
        }
    }
}
