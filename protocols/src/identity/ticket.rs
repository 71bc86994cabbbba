//! One-time tickets: what a new partner needs to reach its alliance, and nothing secret of anybody else's.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::reason::Reason;

/// A one-time invitation. Whoever has it first becomes the partner; it is handed over in private. Its secret is in
/// its text form; there is no `Debug`.
#[derive(Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Ticket {
    /// The alliance's name.
    pub alliance: String,
    /// The name the partner will have.
    pub partner: String,
    /// Where the coordinator listens, `host:port`.
    pub address: String,
    /// Fingerprint of the alliance's certificate authority: the node trusts no other.
    pub authority: Digest,
    /// Shown to the coordinator as proof of the invitation.
    pub secret: [u8; 32],
    /// The end of its life, in seconds since 1970.
    pub expires: i64,
}

const WHOLE: &str = "paste the whole text that `entente invite` printed, or give the file it wrote";

/// A text that is not a ticket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a ticket ({0}); {WHOLE}")]
pub struct TicketError(&'static str);

impl From<TicketError> for Reason {
    fn from(error: TicketError) -> Self {
        Self::from(format!("this is not a ticket ({})", error.0)).help(WHOLE)
    }
}

impl Ticket {
    /// How the text of every ticket begins.
    pub const PREFIX: &'static str = "entente-ticket-1.";
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = crate::canonical::canonical_bytes(self);
        let check = Digest::of("entente ticket 1", &[&bytes]);
        write!(f, "{}{}", Self::PREFIX, data_encoding::BASE64URL_NOPAD.encode(&[&bytes[..], &check.0[..4]].concat()))
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        let encoded = text.trim().strip_prefix(Ticket::PREFIX).ok_or(TicketError("it does not begin as one"))?;
        if encoded.len() > 4096 {
            return Err(TicketError("it is too long"));
        }
        let bytes = data_encoding::BASE64URL_NOPAD
            .decode(encoded.as_bytes())
            .map_err(|_| TicketError("a character is wrong, or one is missing"))?;
        let (bytes, check) = bytes.split_last_chunk::<4>().ok_or(TicketError("it is cut off"))?;
        if Digest::of("entente ticket 1", &[bytes]).0[..4] != check[..] {
            return Err(TicketError("its checksum is wrong: a character was changed or lost"));
        }
        crate::canonical::from_canonical(bytes, 4096).map_err(|_| TicketError("another version wrote it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            alliance: "spring".into(),
            partner: "bank".into(),
            address: "127.0.0.1:4433".into(),
            authority: Digest([7; 32]),
            secret: [9; 32],
            expires: 1_800_000_000,
        }
    }

    #[test]
    fn text_form_round_trips_and_damage_is_found() {
        let text = ticket().to_string();
        assert!(text.parse::<Ticket>().is_ok_and(|parsed| parsed == ticket()));
        assert!(format!("  {text}\n").parse::<Ticket>().is_ok(), "white space around is harmless");
        for cut in [0, 5, Ticket::PREFIX.len(), Ticket::PREFIX.len() + 10, text.len() - 1] {
            assert!(text[..cut].parse::<Ticket>().is_err());
        }
        let changed = text.replace(|c: char| c == text.chars().last().unwrap(), "_");
        assert!(changed.parse::<Ticket>().is_err());
    }
}
