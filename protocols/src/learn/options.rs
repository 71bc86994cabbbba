//! What a study may say about a method, and what every method holds its own choices to.

/// What a study may say about a method, which chooses what is left open from public facts and the budget.
#[derive(Clone, Debug, Default, PartialEq, bincode::Encode, bincode::Decode)]
pub struct Options {
    /// How many rounds.
    pub rounds: Option<u32>,
    /// What one customer's part is clipped to, in the method's own unit.
    pub clip: Option<f64>,
    /// The most bins of a number.
    pub bins: Option<u32>,
    /// How many clusters.
    pub clusters: Option<u32>,
    /// How strongly parameters are drawn to zero, where 1 is what the method chooses.
    pub regularisation: Option<f64>,
    /// How many terms of two features.
    pub pairs: Option<u32>,
    /// Features whose effect may only rise (true) or fall.
    pub monotone: Vec<(String, bool)>,
    /// For whatever a method draws, and for the choice of held-out customers.
    pub seed: Option<u64>,
}

/// A sum whose noise is as large as so many customers is too noisy for any alliance: a training that would make such
/// sums is refused.
pub const MOST_NOISE: f64 = 100_000.0;

/// Refuses options that a method does not have.
pub(super) fn only(options: &Options, model: &str, known: &[&str]) -> Result<(), String> {
    let stated = [
        ("rounds", options.rounds.is_some()),
        ("clip", options.clip.is_some()),
        ("bins", options.bins.is_some()),
        ("clusters", options.clusters.is_some()),
        ("regularisation", options.regularisation.is_some()),
        ("pairs", options.pairs.is_some()),
        ("monotone", !options.monotone.is_empty()),
    ];
    match stated.iter().find(|(name, stated)| *stated && !known.contains(name)) {
        Some((name, _)) => Err(format!("model = \"{model}\" has no option `{name}`; leave it out")),
        None => Ok(()),
    }
}

/// Refuses a training of `features` features whose sums have a noise of `noise` customers each, where the noise grows with
/// the square root of the number of features.
pub(super) fn affordable(features: usize, noise: f64) -> Result<(), String> {
    if noise <= MOST_NOISE {
        return Ok(());
    }
    let most = (features as f64 * (MOST_NOISE / noise).powi(2)).floor();
    let instead = if most >= 1.0 {
        format!("the budget carries {most} features, not {features}: select fewer, or ask for a larger epsilon")
    } else {
        "the budget does not carry a single feature: ask for a larger epsilon".into()
    };
    Err(format!("the noise of each sum would be as large as {noise:.0} customers; {instead}"))
}
