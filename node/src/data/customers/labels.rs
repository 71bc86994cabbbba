//! What is said of customers beside the features of a model.

/// Something of each output of a features query that is no feature: which output it is, or what its codes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels<T> {
    /// What a training predicts.
    pub target: T,
    /// How much a customer counts in a training.
    pub weight: T,
    /// In what segment a candidate is.
    pub segment: T,
    /// Whether a candidate is to be left out.
    pub left_out: T,
}

impl<T> Labels<T> {
    /// All of them, in the order in which `map` meets them.
    pub(crate) fn each(&self) -> [&T; 4] {
        [&self.target, &self.weight, &self.segment, &self.left_out]
    }

    /// Makes something else of each.
    pub(crate) fn map<U>(&self, mut f: impl FnMut(&T) -> U) -> Labels<U> {
        let Self { target, weight, segment, left_out } = self;
        Labels { target: f(target), weight: f(weight), segment: f(segment), left_out: f(left_out) }
    }
}

impl Labels<Option<usize>> {
    /// Whether an output is one of them.
    pub(crate) fn contain(&self, output: usize) -> bool {
        self.each().contains(&&Some(output))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.each().into_iter().flatten().count()
    }
}
