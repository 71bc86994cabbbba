//! Random bytes from the operating system.

use zeroize::Zeroizing;

use crate::error::Error;

/// Random bytes for what need not stay secret, such as nonces and identifiers.
///
/// # Errors
///
/// If the operating system has none.
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// 32 random bytes to be kept secret.
///
/// # Errors
///
/// If the operating system has none.
pub fn random_secret() -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut secret = Zeroizing::new([0; 32]);
    fill(&mut *secret)?;
    Ok(secret)
}

fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|error| Error::failed(format!("the operating system gave no randomness: {error}")))
}
