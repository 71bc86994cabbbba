//! Linear regression from one release of second moments.
//!
//! **Release.** Each customer brings the upper triangle of w·zzᵀ, z its design vector ([`crate::privacy::rows`]) with
//! the target behind the constant, all in units of one; Wang 2018 (AdaSSP, arXiv 1803.02596) in a single component.
//! With the public clip X², w is 1 where ‖z‖² ≤ X² and X²/‖z‖² beyond it: a least-squares fit in which a customer who
//! stands far out counts for less. That moves the fit only where the relation is not linear. By default X² is the
//! squared norm of a typical customer: 1 for the constant and for each category, ½ for each number and for the target,
//! whose squares are between 0 and 1. A smaller X² means less noise and more customers weighed down. A customer whose
//! target is missing counts for nothing.
//!
//! **What is made of it**, with s the noise's standard deviation in an entry off the diagonal, in customers:
//!
//! 1. Entries that must be zero (two values of one category) become zero; the square of an indicator and its product
//!    with the constant are the same sum, so both become their mean, weighed by precision.
//! 2. The constant is not shrunk: moments are centred, C = Σ(x − x̄)(x − x̄)ᵀ, b = Σ(x − x̄)(y − ȳ).
//! 3. The indicators of a category sum to the constant, so that C's rows over them sum to zero; the noise that says
//!    otherwise is projected away.
//! 4. With C's eigenvalues μ and eigenvectors v, the weights are Σ v·(v·b)·μ/(μ² + κ²), κ = s·(√d + 2), negative μ
//!    taken for 0. AdaSSP has 1/(μ + λ) here, with λ = max(0, s·√(d·ln(2d²/0.05)) − μ_min): the smallest ridge that
//!    outweighs the noise of C in every direction. With indicators in the model μ_min is about 0, so λ is paid in full
//!    in *all* directions. But the noise of b (and of C·w) is as large along every v, so that the least expected error,
//!    with weights of about one a priori, is that of a Wiener filter: a direction with μ ≫ κ is left alone. κ is half
//!    of the spectral norm of C's noise (at most s·(2√d + 4) but for one in twenty: Davidson & Szarek 2001). Measured
//!    on simulated data of 58 entries, mean R² out of at most 0.5, 3,000 to 100,000 customers and ρ 0.005 and 0.05:
//!    between 0.02 less (where both explain next to nothing) and 0.05 more than AdaSSP's λ.
//!
//! The result scores numbers in the target's range scaled to −1 to 1.

use nalgebra::{DMatrix, DVector};

use super::frame::{Contribute, Implausible, Input, Release, Role, SLACK, Train, Unfit};
use super::matrix;
use super::model::Parameters;
use super::options::{Options, affordable, only};
use super::recipe::{Recipe, Target};
use crate::privacy::bounds::Component;
use crate::privacy::rho::MILLION;
use crate::privacy::rows::{self, Block, Column, UNIT, number};
use crate::privacy::sums::{MOMENT_FACTORS, MOMENT_SCALE, Part, Sums, triangle};

/// Settings.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, bincode::Encode, bincode::Decode)]
pub struct Settings {
    /// The largest squared norm X² of a customer with full weight: 1 for the constant and each category, at most 1 for
    /// each number and for the target. `None`: that of a typical customer.
    pub clip: Option<f64>,
    /// A fixed ridge λ, in customers: each weight is shrunk as by so many customers of whom it explains nothing.
    /// `None`: as the noise asks for.
    pub regularisation: Option<f64>,
}

/// The longest design vector, its constant included; the coordinator's work grows with the cube of it.
pub const MAX_DIMS: usize = 1000;
/// The weight of a customer within the clip, so that others can have less.
const WEIGHT: i32 = 1024;
/// One, in an entry of the design vector as second moments have it.
const ONE: i64 = (UNIT / MOMENT_SCALE) as i64;

/// Far more than floating point rounds off.
const ROUNDING: f64 = 1e-9;

impl Settings {
    /// What is chosen for a recipe and a budget (ρ of the method's release), within what the study says.
    ///
    /// # Errors
    ///
    /// A refusal that says what is wrong with an option, or how many features the budget can carry.
    pub fn choose(options: &Options, recipe: &Recipe, rho: f64) -> Result<Self, String> {
        only(options, "linear", &["clip", "regularisation"])?;
        let settings = Self { clip: options.clip, regularisation: options.regularisation };
        settings.check(recipe)?;
        // One customer's second moments have a norm of about the number of features.
        affordable(recipe.features.len(), recipe.features.len() as f64 / (2.0 * rho).sqrt())?;
        Ok(settings)
    }

    /// Whether these can train a model on this recipe; if not, why.
    pub fn check(&self, recipe: &Recipe) -> Result<(), String> {
        let dims = rows::dims(&recipe.columns());
        if dims > MAX_DIMS {
            return Err(format!(
                "a linear model has at most {MAX_DIMS} weights, these features would take {dims}; \
                 leave out features or merge categories"
            ));
        }
        if self.clip.is_some_and(|clip| !(0.1..=1e6).contains(&clip)) {
            return Err("`clip` is a squared norm between 0.1 and 1000000".into());
        }
        if self.regularisation.is_some_and(|ridge| !(0.0..=1e12).contains(&ridge)) {
            return Err("`regularisation` is a number of customers between 0 and 10^12".into());
        }
        Ok(())
    }

    /// X² in units of one, at least 0.1 and at most what any customer can have.
    fn clip(&self, columns: &[Column]) -> f64 {
        let numbers = columns.iter().filter(|column| **column == Column::Number).count() as f64;
        let most = columns.len() as f64 + 2.0;
        self.clip.filter(|clip| clip.is_finite()).unwrap_or(most - numbers / 2.0 - 0.5).clamp(0.1, most)
    }
}

pub(super) fn releases(settings: &Settings, recipe: &Recipe) -> Vec<Release> {
    let columns = recipe.columns();
    // Below 2^10·2^7·2^16·2^21.
    let norm = (f64::from(WEIGHT) * (MOMENT_FACTORS.0 * ONE * ONE) as f64 * settings.clip(&columns)).floor() as u64;
    let length = triangle(rows::dims(&columns) + 1) as u64;
    vec![Release {
        name: "second moments".into(),
        role: Role::Training,
        components: vec![(Component::Vector { length, norm }, MILLION)],
    }]
}

pub(super) fn contributor(target: Option<&Target>, release: usize) -> Result<Box<dyn Contribute>, Unfit> {
    match target {
        Some(target) if release == 0 => Ok(Box::new(Moments { target: target.clone() })),
        Some(_) => Err(Unfit("a linear model has one release".into())),
        None => Err(Unfit("a linear model needs a target".into())),
    }
}

pub(super) fn start(settings: &Settings, recipe: &Recipe) -> Box<dyn Train> {
    Box::new(Regression { settings: settings.clone(), columns: recipe.columns(), parameters: Parameters::None })
}

struct Moments {
    target: Target,
}

impl Contribute for Moments {
    fn add(&self, block: &Block, target: &[u16], _: &[u16], sums: &mut Sums) {
        let event = self.target.is_event();
        let entry = |code: &u16| match (event, *code) {
            (true, 1) => -UNIT as i16,
            (true, 2) => UNIT as i16,
            (true, _) => 0,
            // Within ±UNIT, which is i16's.
            (false, code) => number(code) as i16,
        };
        let known = |code: &u16| *code != 0 && (!event || *code <= 2);
        let extra: Vec<i16> = target.iter().map(entry).collect();
        let weights: Vec<i32> = target.iter().map(|code| if known(code) { WEIGHT } else { 0 }).collect();
        sums.add(&[Part::Moments { block, extra: &[&extra], weights: &weights }]);
    }
}

struct Regression {
    settings: Settings,
    columns: Vec<Column>,
    parameters: Parameters,
}

impl Train for Regression {
    fn input(&self) -> Input {
        Input { recoding: None, parameters: self.parameters.clone(), unit: 1.0, checkpoints: Vec::new() }
    }

    fn absorb(&mut self, sum: &[&[i64]], sd: &[f64]) -> Result<(), Implausible> {
        let dims = rows::dims(&self.columns) + 1;
        let (&[sum], &[sd]) = (sum, sd) else {
            return Err(Implausible("second moments have one component".into()));
        };
        if sum.len() != triangle(dims) || !sd.is_finite() || sd < 0.0 {
            return Err(Implausible("the sum of second moments has another form than the release's".into()));
        }
        let scale = (i64::from(WEIGHT) * ONE * ONE) as f64;
        let (diagonal, other) = (MOMENT_FACTORS.0 as f64 * scale, MOMENT_FACTORS.1 as f64 * scale);
        let mut moments = matrix::from_upper(dims, sum.iter().map(|entry| *entry as f64 / other));
        for i in 0..dims {
            moments[(i, i)] *= other / diagonal;
        }
        self.plausible(&moments, sd / diagonal)?;
        let weights = self.weights(moments, sd / diagonal).unwrap_or_else(|| vec![0.0; dims - 1]);
        self.parameters = Parameters::Weights { weights };
        Ok(())
    }

    fn finish(&self) -> Parameters {
        self.parameters.clone()
    }
}

impl Regression {
    /// Whether customers can have brought these moments (in customers, `sd` the noise on the diagonal): every entry of
    /// a customer's z is within ±1 and its weight at most 1, so no sum of products is beyond the number of customers.
    fn plausible(&self, moments: &DMatrix<f64>, sd: f64) -> Result<(), Implausible> {
        let constant = moments.nrows() - 2;
        let customers = moments[(constant, constant)];
        // The difference of two entries has at most √2 of the noise of one.
        let slack = SLACK * sd * std::f64::consts::SQRT_2 + ROUNDING * customers.abs();
        let whose = "some participant sent something else than its customers' moments; the masks hide which one";
        if customers < -slack {
            return Err(Implausible(format!(
                "the sum counts {customers:.0} customers, less than noise explains: {whose}"
            )));
        }
        for i in 0..moments.nrows() {
            let square = moments[(i, i)];
            if square < -slack || square > customers + slack {
                return Err(Implausible(format!(
                    "a sum of squares is {square:.0}, where {customers:.0} customers can bring 0 to 1 each: {whose}"
                )));
            }
            for j in 0..i {
                let product = moments[(i, j)];
                if product.abs() > customers + slack {
                    return Err(Implausible(format!(
                        "a sum of products is {product:.0}, where {customers:.0} customers can bring −1 to 1 each: \
                         {whose}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// The weights, the constant's last, from the moments in customers; `sd` is the noise on the diagonal. `None` where
    /// too few customers are in them to say anything.
    fn weights(&self, mut moments: DMatrix<f64>, sd: f64) -> Option<Vec<f64>> {
        let (constant, target) = (moments.nrows() - 2, moments.nrows() - 1);
        let customers = moments[(constant, constant)];
        if customers <= SLACK * sd || customers <= 0.0 {
            return None;
        }
        let places = rows::places(&self.columns);
        for (column, place) in self.columns.iter().zip(&places) {
            for i in place.clone() {
                for j in place.start..i {
                    matrix::set(&mut moments, i, j, 0.0);
                }
                if *column != Column::Number || i == place.start + 1 {
                    // Off the diagonal the variance is half of that on it.
                    let both = (moments[(i, i)] + 2.0 * moments[(i, constant)]) / 3.0;
                    moments[(i, i)] = both;
                    matrix::set(&mut moments, i, constant, both);
                }
            }
        }
        let means: Vec<f64> = (0..moments.nrows()).map(|i| moments[(i, constant)] / customers).collect();
        let centred = |i: usize, j: usize| moments[(i, j)] - customers * means[i] * means[j];
        let mut c = DMatrix::from_fn(constant, constant, centred);
        let mut b = DVector::from_fn(constant, |i, _| centred(i, target));
        for (column, place) in self.columns.iter().zip(&places) {
            if *column != Column::Number {
                let count = place.len() as f64;
                let mean = b.rows(place.start, place.len()).sum() / count;
                b.rows_mut(place.start, place.len()).add_scalar_mut(-mean);
                for i in 0..constant {
                    let mean = c.view((i, place.start), (1, place.len())).sum() / count;
                    c.view_mut((i, place.start), (1, place.len())).add_scalar_mut(-mean);
                }
                for i in 0..constant {
                    let mean = c.view((place.start, i), (place.len(), 1)).sum() / count;
                    c.view_mut((place.start, i), (place.len(), 1)).add_scalar_mut(-mean);
                }
            }
        }
        // Directions in which customers hardly differ say nothing even without noise.
        let floor = 1e-9 * customers;
        let kappa = (sd * std::f64::consts::FRAC_1_SQRT_2 * ((constant as f64).sqrt() + 2.0)).max(floor);
        let mut weights = matrix::filter(c, &b, |value| {
            let value = value.max(0.0);
            match self.settings.regularisation {
                Some(ridge) if value + ridge > floor => 1.0 / (value + ridge),
                Some(_) => 0.0,
                None => value / (value * value + kappa * kappa),
            }
        })?;
        let constant = means[target] - weights.iter().zip(&means).map(|(weight, mean)| weight * mean).sum::<f64>();
        weights.push(constant);
        weights.iter().all(|weight| weight.is_finite()).then_some(weights)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::frame::Place;
    use super::super::recipe::{Feature, Values};
    use super::super::trainer::Trainer;
    use super::super::training::{Method, Training};
    use super::*;

    const PLACE: Place = Place { position: 0, participants: 3 };

    fn training(settings: Settings) -> Training {
        let number = Values::Number { low: 0.0, high: 10.0 };
        let category = Values::Category { values: vec!["a".into(), "b".into(), "c".into()] };
        let features = [("x", number.clone()), ("c", category), ("z", number.clone())];
        Training {
            recipe: Recipe { features: features.map(|(name, values)| Feature { name: name.into(), values }).to_vec() },
            target: Some(Target { name: "y".into(), values: number }),
            method: Method::Linear(settings),
            evaluation: None,
        }
    }

    /// The exact sum over rows of (codes, target).
    fn sum(training: &Training, rows: &[([u16; 3], u16)]) -> Vec<i64> {
        let release = &training.releases(3)[0];
        let mut sums = Sums::new(Arc::new(release.layout()));
        let column = |i: usize| rows.iter().map(|row| row.0[i]).collect::<Vec<_>>();
        let block = Block::new(training.recipe.columns().into(), (0..3).map(column).collect()).unwrap();
        let target: Vec<u16> = rows.iter().map(|row| row.1).collect();
        let input = Trainer::new(training, 3).input();
        training.contributor(0, &input, PLACE).unwrap().add(&block, &target, &[], &mut sums);
        sums.finish().values
    }

    /// Customers of whom y = 0.3·x − 0.2·z + (0.1, −0.1, 0.2 by category), and the category depends on x.
    fn customers(count: usize) -> Vec<([u16; 3], u16)> {
        let mut state = 7u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / (1u64 << 31) as f64
        };
        let code = |x: f64| (32768.0 + 32767.0 * x).round() as u16;
        let customer = |_| {
            let (x, z) = (2.0 * uniform() - 1.0, uniform() - 0.5);
            let category = if uniform() < 0.3 {
                1
            } else if x > 0.2 {
                2
            } else {
                3
            };
            let y = 0.3 * x - 0.2 * z + [0.1, -0.1, 0.2][category - 1];
            ([code(x), category as u16, code(z)], code(y))
        };
        (0..count).map(customer).collect()
    }

    fn weights(training: &Training, sum: &[i64], sd: f64) -> Vec<f64> {
        let mut trainer = Trainer::new(training, 3);
        trainer.absorb(sum, &[sd]).unwrap();
        let Parameters::Weights { weights } = trainer.model().parameters else { panic!("no weights") };
        assert_eq!(trainer.model().check(), Ok(()));
        assert_eq!(trainer.input().parameters, trainer.model().parameters);
        weights
    }

    #[test]
    fn known_coefficients_are_found() {
        let ridge = Settings { clip: Some(6.0), regularisation: Some(0.0) };
        for training in [training(Settings::default()), training(ridge)] {
            let mut rows = customers(3000);
            // Without a target: no matter what they are.
            rows.extend([([65535, 1, 1], 0); 500]);
            let weights = weights(&training, &sum(&training, &rows), 4.0);
            // Entries have steps of 1/255.
            let close = |a: f64, b: f64| assert!((a - b).abs() < 0.006, "{a} {b}: {weights:?}");
            close(weights[0], 0.3);
            close(weights[6], -0.2);
            close(weights[3] - weights[4], 0.2);
            close(weights[5] - weights[4], 0.3);
            for (codes, target) in customers(50) {
                let score = Parameters::Weights { weights: weights.clone() }.score(&training.recipe.columns(), &codes);
                close(score, f64::from(number(target)) / f64::from(UNIT));
            }
        }
    }

    #[test]
    fn noise_shrinks_the_weights_and_not_the_mean() {
        let training = training(Settings::default());
        let rows = customers(3000);
        let sum = sum(&training, &rows);
        let scale = f64::from(WEIGHT) * 128.0 * (ONE * ONE) as f64;
        // As if the noise were of a standard deviation of 300 customers, though there is none.
        let shrunk = weights(&training, &sum, 300.0 * scale);
        assert!(shrunk[0] > 0.02 && shrunk[0] < 0.25, "{shrunk:?}");
        let score =
            |codes: &[u16]| Parameters::Weights { weights: shrunk.clone() }.score(&training.recipe.columns(), codes);
        let error = |row: &([u16; 3], u16)| score(&row.0) - f64::from(number(row.1)) / f64::from(UNIT);
        let bias = rows.iter().map(error).sum::<f64>() / rows.len() as f64;
        assert!(bias.abs() < 0.01, "{bias}");
        // With noise far above the number of customers nothing is said.
        assert_eq!(weights(&training, &sum, 1e4 * scale), vec![0.0; 9]);
    }

    #[test]
    fn sums_that_no_customers_can_bring_are_named() {
        let training = training(Settings::default());
        let honest = sum(&training, &customers(100));
        let absorb = |place: usize, value: i64| {
            let mut sum = honest.clone();
            sum[place] = value;
            Trainer::new(&training, 3).absorb(&sum, &[1e6]).unwrap_err().0
        };
        assert!(absorb(0, i64::MIN).contains("sum of squares"));
        assert!(absorb(1, 1 << 50).contains("sum of products"));
        assert!(absorb(triangle(10) - 3, -(1 << 50)).contains("counts -132"));
        assert!(Trainer::new(&training, 3).absorb(&honest, &[f64::NAN]).is_err());
        assert!(Trainer::new(&training, 3).absorb(&honest[1..], &[1e6]).is_err());
    }

    #[test]
    fn settings_are_checked() {
        let recipe = training(Settings::default()).recipe;
        let check = |clip, regularisation| Settings { clip, regularisation }.check(&recipe).is_ok();
        assert!(check(None, None) && check(Some(2.0), Some(0.0)));
        assert!(!check(Some(f64::NAN), None) && !check(Some(0.0), None) && !check(None, Some(f64::INFINITY)));
        // 1 + one category + ½ for each number and the target; times 1024·128·255².
        let component = releases(&Settings::default(), &recipe)[0].components[0].0;
        assert_eq!(component, Component::Vector { length: 55, norm: (3.5 * 1024.0 * 128.0 * 65025.0) as u64 });
    }

    proptest! {
        /// Whatever the sum is, it is refused or makes a model that scores.
        #[test]
        fn no_sum_panics(
            sum in proptest::collection::vec(prop_oneof![any::<i64>(), -1_000_000_000_000i64..1_000_000_000_000], 55),
            sd in prop_oneof![Just(4.0), 1e8..1e13, Just(1e19)],
            ridge in prop_oneof![Just(None), Just(Some(0.0)), Just(Some(5.0))],
        ) {
            let training = training(Settings { clip: None, regularisation: ridge });
            let mut trainer = Trainer::new(&training, 3);
            if trainer.absorb(&sum, &[sd]).is_ok() {
                prop_assert_eq!(trainer.model().check(), Ok(()));
            }
        }
    }
}
