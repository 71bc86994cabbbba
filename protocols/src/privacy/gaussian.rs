//! The draw of noise: opendp's discrete Gaussian (Canonne, Kamath, Steinke 2020), exact on the integers.
//!
//! **Randomness.** Without its `use-openssl` feature, opendp 0.16 draws from `rand` 0.7's `thread_rng`: ChaCha20 with
//! 20 rounds, seeded by the operating system, reseeded every 64 KiB and after a fork. opendp calls this "not secure"
//! because `rand` does not promise the algorithm across versions. In a build whose lock file fixes rand 0.7.3 and
//! rand_chacha 0.2 the algorithm *is* fixed and is a cryptographic generator, and a build with OpenSSL from source
//! would need perl and make on every machine, to end up with an AES-CTR or ChaCha generator seeded the same way. So we
//! take the former knowingly; a test holds the lock file to it, so that an update cannot change it unseen.
//!
//! **A machine that is resumed.** A generator that lives on in memory would repeat itself in a virtual machine that is resumed from a
//! snapshot: two releases would have the same noise, which cancels in their difference. So all noise of a release is drawn in a thread
//! of its own: its generator begins there, with a seed that the operating system gives at that moment, and ends with it. What the
//! operating system gives after a machine was resumed is new where it is told of that (Linux: `vmgenid`). A snapshot that is taken
//! within a draw, some 10 µs a number, repeats the noise of that one release, whose vector it belongs to in any case.
//!
//! **A release that is computed again.** What is not stored before a crash is computed again under the same charge, with new noise: it
//! has not left, as nothing leaves that is not stored. A machine that is put back to before it was stored, after its vector has left,
//! can be asked for a second one, whose noise is another. The charge is in its ledger and with its witnesses, and that of the second
//! vector is not: whoever puts a partner's machine back must take it for one that was restored (`docs/operations.md`).

use std::thread::{self, ThreadId};

use opendp::domains::{AtomDomain, VectorDomain};
use opendp::error::Fallible;
use opendp::measurements::make_gaussian;
use opendp::measures::ZeroConcentratedDivergence;
use opendp::metrics::L2Distance;
use zeroize::Zeroizing;

/// The values of each component plus independent discrete Gaussian noise of its standard deviation, all drawn by one generator, which
/// is new.
///
/// Fails only where the operating system gives no randomness or no thread, or a σ is not positive.
pub(crate) fn add_noise(components: &[(&[i64], u64)]) -> Result<Vec<i64>, String> {
    let (noise, _) = drawn(components)?;
    let values = components.iter().flat_map(|(values, _)| *values);
    Ok(values.zip(noise.iter()).map(|(value, noise)| value.wrapping_add(*noise)).collect())
}

/// The noise alone, and in which thread it was drawn.
fn drawn(components: &[(&[i64], u64)]) -> Result<(Zeroizing<Vec<i64>>, ThreadId), String> {
    let draw = || {
        let mut noise = Zeroizing::new(Vec::with_capacity(components.iter().map(|(values, _)| values.len()).sum()));
        for (values, sigma) in components {
            let mut drawn = of_zeroes(values.len(), *sigma).map_err(|error| error.to_string())?;
            noise.append(&mut drawn);
        }
        Ok((noise, thread::current().id()))
    };
    thread::scope(|scope| match thread::Builder::new().name("noise".into()).spawn_scoped(scope, draw) {
        Ok(drawing) => drawing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        Err(error) => Err(format!("no thread could be started that draws noise: {error}")),
    })
}

/// Zeroes with noise, to which values are added with wrap-around afterwards: opendp's own sum would saturate, and a saturated value
/// depends on the data in a way that modular sums do not.
fn of_zeroes(count: usize, sigma: u64) -> Fallible<Vec<i64>> {
    let domain = VectorDomain::new(AtomDomain::<i64>::default());
    let gaussian =
        make_gaussian::<_, _, ZeroConcentratedDivergence>(domain, L2Distance::<f64>::default(), sigma as f64, None)?;
    gaussian.invoke(&vec![0i64; count])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread's generator is seeded when the thread first draws, and threads are numbered for good.
    #[test]
    fn every_release_has_a_generator_of_its_own() {
        let thread = || drawn(&[(&[0, 0], 4), (&[0], 8)]).unwrap().1;
        let (one, other) = (thread(), thread());
        assert!(one != other && ![one, other].contains(&thread::current().id()));
    }

    /// Pearson's χ² of 200,000 draws at σ = 4 against the exact distribution, over the 33 values from −16 to 16 and
    /// the two tails: 34 degrees of freedom. The bound 130 is exceeded by chance with probability below 1e-12.
    #[test]
    fn draws_have_the_exact_distribution() {
        let (sigma, draws) = (4u64, 200_000usize);
        let weight = |x: i64| (-(x as f64).powi(2) / (2.0 * (sigma as f64).powi(2))).exp();
        let total: f64 = (-200..=200).map(weight).sum();
        let mut counts = [0u32; 35];
        for value in add_noise(&[(&vec![0; draws], sigma)]).unwrap() {
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
        let noise = add_noise(&[(&vec![0; draws], sigma)]).unwrap();
        let scaled = || noise.iter().map(|&value| value as f64 / sigma as f64);
        let mean = scaled().sum::<f64>() / draws as f64;
        let variance = scaled().map(|z| z * z).sum::<f64>() / draws as f64;
        assert!(mean.abs() < 7.0 / (draws as f64).sqrt(), "{mean}");
        assert!((variance - 1.0).abs() < 7.0 * (2.0 / draws as f64).sqrt(), "{variance}");
    }

    #[test]
    fn sums_wrap_instead_of_saturating() {
        let noised = add_noise(&[(&[i64::MAX; 64], 1 << 20)]).unwrap();
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
