//! Room in memory that several works share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many bytes, for all who have a clone of it together. Whoever finds no room writes to a file.
#[derive(Clone, Debug)]
pub struct Room(Arc<Bytes>);

#[derive(Debug)]
struct Bytes {
    most: usize,
    taken: AtomicUsize,
}

/// A part of a [`Room`], until it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    room: Room,
    bytes: usize,
}

impl Room {
    /// Room for `most` bytes.
    pub fn of(most: usize) -> Self {
        Self(Arc::new(Bytes { most, taken: AtomicUsize::new(0) }))
    }

    /// Takes a part, if there is room for it.
    pub(super) fn take(&self, bytes: usize) -> Option<Taken> {
        let fits = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= self.0.most);
        let taken = self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.ok().map(|_| Taken { room: self.clone(), bytes })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.0.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_much_at_a_time() {
        let room = Room::of(10);
        let first = room.take(6);
        assert!(first.is_some() && room.clone().take(5).is_none() && room.take(usize::MAX).is_none());
        let second = room.take(4);
        assert!(second.is_some() && room.take(1).is_none());
        drop(first);
        assert!(room.take(7).is_none() && room.take(6).is_some());
    }
}
