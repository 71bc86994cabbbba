//! Who may take up a place: limits on handshakes and on connections without a certificate, so that a flood of
//! strangers leaves room for the enrolled.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use entente_host::locks::lock;

/// Open handshakes above which strangers must show that their address is theirs.
const RETRY_ABOVE: usize = 16;
/// The most open handshakes.
const MOST: usize = 512;
/// The most open handshakes and unauthenticated connections of one address, but for this machine itself: the operator's
/// commands come from there.
const MOST_OF_ONE: usize = 32;
/// The most unauthenticated connections.
const MOST_UNAUTHENTICATED: usize = 128;

/// What to do with a connection that comes in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Admit,
    Retry,
    Refuse,
}

#[derive(Default)]
struct Counts {
    handshakes: usize,
    unauthenticated: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Counts who is at the gate.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Mutex<Counts>>);

/// A place taken; given back when dropped.
pub(super) struct Place {
    gate: Gate,
    address: IpAddr,
    unauthenticated: bool,
}

impl Gate {
    /// What to do with a connection from `address`, which is known to be its own if `validated`.
    pub(super) fn verdict(&self, address: IpAddr, validated: bool) -> Verdict {
        let counts = lock(&self.0);
        let own = counts.by_address.get(&address).copied().unwrap_or(0);
        if !validated && counts.handshakes >= RETRY_ABOVE {
            Verdict::Retry
        } else if counts.handshakes >= MOST || (own >= MOST_OF_ONE && !address.is_loopback()) {
            Verdict::Refuse
        } else {
            Verdict::Admit
        }
    }

    /// Takes a place for a handshake.
    pub(super) fn enter(&self, address: IpAddr) -> Place {
        let mut counts = lock(&self.0);
        counts.handshakes += 1;
        *counts.by_address.entry(address).or_default() += 1;
        drop(counts);
        Place { gate: self.clone(), address, unauthenticated: false }
    }
}

impl Place {
    /// The handshake is over and there was no certificate. False if too many are there already.
    pub(super) fn stay_unauthenticated(&mut self) -> bool {
        let mut counts = lock(&self.gate.0);
        if counts.unauthenticated >= MOST_UNAUTHENTICATED {
            return false;
        }
        counts.handshakes -= 1;
        counts.unauthenticated += 1;
        self.unauthenticated = true;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = lock(&self.gate.0);
        if self.unauthenticated {
            counts.unauthenticated -= 1;
        } else {
            counts.handshakes -= 1;
        }
        if let Some(own) = counts.by_address.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_must_show_their_address_under_load_and_one_address_cannot_take_all() {
        let (gate, one, other) = (Gate::default(), IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut places = Vec::new();
        for _ in 0..RETRY_ABOVE {
            assert_eq!(gate.verdict(one, false), Verdict::Admit);
            places.push(gate.enter(one));
        }
        assert_eq!(gate.verdict(one, false), Verdict::Retry);
        for _ in RETRY_ABOVE..MOST_OF_ONE {
            assert_eq!(gate.verdict(one, true), Verdict::Admit);
            places.push(gate.enter(one));
        }
        assert_eq!(gate.verdict(one, true), Verdict::Refuse);
        assert_eq!(gate.verdict(other, true), Verdict::Admit);
        places.extend((places.len()..MOST_UNAUTHENTICATED).map(|_| gate.enter(other)));
        assert!(places.iter_mut().all(Place::stay_unauthenticated));
        assert!(!gate.enter(other).stay_unauthenticated());
        drop(places);
        assert_eq!(gate.verdict(one, false), Verdict::Admit);
        assert!(gate.0.lock().unwrap().by_address.is_empty());
    }
}
