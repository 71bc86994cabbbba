//! The draw of noise: opendp's discrete Gaussian (Canonne, Kamath, Steinke 2020), exact on the integers.
//!
//! **Randomness.** Without its `use-openssl` feature, opendp 0.16 draws from `rand` 0.7's `thread_rng`: ChaCha20 with
//! 20 rounds, seeded by the operating system, reseeded every 64 KiB and after a fork. opendp calls this "not secure"
//! because `rand` does not promise the algorithm across versions. In a build whose lock file fixes rand 0.7.3 and
//! rand_chacha 0.2 the algorithm *is* fixed and is a cryptographic generator, and a build with OpenSSL from source
//! would need perl and make on every machine, to end up with an AES-CTR or ChaCha generator seeded the same way. So we
//! take the former knowingly; a test holds the lock file to it, so that an update cannot change it unseen.

use opendp::domains::{AtomDomain, VectorDomain};
use opendp::error::Fallible;
use opendp::measurements::make_gaussian;
use opendp::measures::ZeroConcentratedDivergence;
use opendp::metrics::L2Distance;

/// `values` plus independent discrete Gaussian noise of standard deviation `sigma` each.
///
/// Fails only where the operating system gives no randomness, or σ is not positive.
pub(crate) fn add_noise(values: Vec<i64>, sigma: u64) -> Fallible<Vec<i64>> {
    // Zeroes are noised and the values added with wrap-around afterwards, as opendp's own sum would saturate: a
    // saturated value depends on the data in a way that modular sums do not.
    let domain = VectorDomain::new(AtomDomain::<i64>::default());
    let gaussian =
        make_gaussian::<_, _, ZeroConcentratedDivergence>(domain, L2Distance::<f64>::default(), sigma as f64, None)?;
    let noise = gaussian.invoke(&vec![0i64; values.len()])?;
    Ok(values.iter().zip(noise).map(|(value, noise)| value.wrapping_add(noise)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pearson's χ² of 200,000 draws at σ = 4 against the exact distribution, over the 33 values from −16 to 16 and
    /// the two tails: 34 degrees of freedom. The bound 130 is exceeded by chance with probability below 1e-12.
    #[test]
    fn draws_have_the_exact_distribution() {
        let (sigma, draws) = (4u64, 200_000usize);
        let weight = |x: i64| (-(x as f64).powi(2) / (2.0 * (sigma as f64).powi(2))).exp();
        let total: f64 = (-200..=200).map(weight).sum();
        let mut counts = [0u32; 35];
        for value in add_noise(vec![0; draws], sigma).unwrap() {
            counts[(value.clamp(-17, 17) + 17) as usize] += 1;
        }
        let tail: f64 = (17..=200).map(weight).sum();
        let chi_squared: f64 = (-17..=17)
            .map(|x: i64| {
                let expected = draws as f64 / total * if x.abs() == 17 { tail } else { weight(x) };
                (f64::from(counts[(x + 17) as usize]) - expected).powi(2) / expected
            })
            .sum();
        assert!(chi_squared < 130.0, "χ² = {chi_squared}");
    }

    /// With σ in the millions, as in a release: mean within 7 standard errors (false alarm 3e-12) and variance within
    /// 7 standard errors too.
    #[test]
    fn large_noise_has_its_variance() {
        let (sigma, draws) = (1u64 << 30, 20_000);
        let noise = add_noise(vec![0; draws], sigma).unwrap();
        let scaled = || noise.iter().map(|&value| value as f64 / sigma as f64);
        let mean = scaled().sum::<f64>() / draws as f64;
        let variance = scaled().map(|z| z * z).sum::<f64>() / draws as f64;
        assert!(mean.abs() < 7.0 / (draws as f64).sqrt(), "{mean}");
        assert!((variance - 1.0).abs() < 7.0 * (2.0 / draws as f64).sqrt(), "{variance}");
    }

    #[test]
    fn sums_wrap_instead_of_saturating() {
        let noised = add_noise(vec![i64::MAX; 64], 1 << 20).unwrap();
        assert!(noised.iter().any(|value| *value < 0), "half of the draws carry the sum over the edge");
    }

    /// See the module's note on randomness.
    #[test]
    fn the_generator_behind_opendp_is_the_one_we_chose() {
        let lock = include_str!("../../../Cargo.lock");
        let package = |name: &str, version: &str| lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\""));
        assert!(
            package("rand", "0.7.3") && package("rand_chacha", "0.2.2"),
            "look at opendp's source of randomness again"
        );
        assert!(
            !lock.contains("name = \"openssl"),
            "opendp would take OpenSSL's randomness; say so in the module's note"
        );
        let opendp = lock.split("[[package]]").find(|package| package.contains("name = \"opendp\"")).unwrap();
        assert!(opendp.contains("\"rand 0.7.3\""), "{opendp}");
    }
}
