//! Canonical bytes: what is hashed, signed, stored and compared. The only module that names bincode, so that it can be
//! replaced.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};

/// The canonical bytes of a value: what is hashed, signed and compared. Fixed-width little-endian.
pub fn canonical_bytes<T: bincode::Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, config()).expect("encoding into memory of types without references cannot fail")
}

/// The longest canonical encoding that [`from_canonical`] reads: a vector of [`crate::privacy::mechanism::MAX_LENGTH`].
pub const MAX_CANONICAL: usize = (1 << 27) + 1024;

/// Bytes that are not what they should be. Says no more, as it goes to whoever sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are malformed, truncated or too long")]
pub struct Malformed;

/// Reads canonical bytes, all of them, without ever allocating more than `limit` bytes.
///
/// `limit` is one of a few sizes, the least that is enough: 4 KiB, 64 KiB, 4 MiB, [`MAX_CANONICAL`].
pub fn from_canonical<T: bincode::Decode<()>>(bytes: &[u8], limit: usize) -> Result<T, Malformed> {
    if bytes.len() > limit {
        return Err(Malformed);
    }
    // The limit of the decoder is a type; it bounds what is claimed, on top of the bound on what is there.
    let (value, read) = match limit {
        0..=0x1000 => bincode::decode_from_slice(bytes, limited::<0x1000>()),
        0x1001..=0x1_0000 => bincode::decode_from_slice(bytes, limited::<0x1_0000>()),
        0x1_0001..=0x40_0000 => bincode::decode_from_slice(bytes, limited::<0x40_0000>()),
        _ => bincode::decode_from_slice(bytes, limited::<MAX_CANONICAL>()),
    }
    .map_err(|_| Malformed)?;
    if read == bytes.len() { Ok(value) } else { Err(Malformed) }
}

fn config() -> Configuration<LittleEndian, Fixint> {
    bincode::config::standard().with_fixed_int_encoding()
}

fn limited<const LIMIT: usize>() -> Configuration<LittleEndian, Fixint, Limit<LIMIT>> {
    config().with_limit::<LIMIT>()
}
