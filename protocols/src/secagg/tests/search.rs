//! A bounded search for attacks on an attempt, with terms in place of numbers: three participants, one of whom works with a
//! coordinator that passes on whatever it likes.
//!
//! ```text
//! join      the attacker chooses its keys from all that it has seen: its own, a copy, another encoding
//! start     everybody is shown pledges: the real ones, or some with keys of the attacker under an honest name
//! go        everybody is shown encapsulations: the real ones, others', the attacker's own
//! ```
//!
//! All combinations are gone through. An honest participant goes on if what the [`Rules`] make it check is right. From its vector
//! the attacker takes the masks that it can compute; the attack is one if what is left cancels in a combination of vectors other
//! than their sum. Each rule that is switched off must let the search find something, so that it is known to search.

use std::collections::BTreeMap;

/// Whose secrets: honest participants by their places, or the attacker.
type Owner = u8;
const ATTACKER: Owner = 9;

/// An X25519 key: other encodings of a key, and points of small order added to it, make the same secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    exponent: Owner,
    is_other_encoding: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Keys {
    point: Point,
    kem: Owner,
}

impl Keys {
    const fn of(owner: Owner) -> Self {
        Self { point: Point { exponent: owner, is_other_encoding: false }, kem: owner }
    }
}

/// A secret that `by` has encapsulated to the key of `to`, for the participant at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ciphertext {
    by: Owner,
    to: Owner,
    place: usize,
}

/// What is shown to an honest participant: everybody's keys, and what later participants have encapsulated to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct View {
    keys: [Keys; 3],
    received: [Ciphertext; 3],
}

/// What an honest participant makes sure of, and what the attacker can break.
#[derive(Clone, Copy)]
struct Rules {
    /// Mask keys follow from X25519's secret and the transcript alone: no names, no ML-KEM.
    is_unbound: bool,
    /// Pledges are signed, and so is the transcript by everybody who goes on.
    signs_keys: bool,
    /// Encapsulations are signed.
    signs_encapsulations: bool,
    breaks_x25519: bool,
    breaks_ml_kem: bool,
}

const RULES: Rules = Rules {
    is_unbound: false,
    signs_keys: true,
    signs_encapsulations: true,
    breaks_x25519: false,
    breaks_ml_kem: false,
};

/// The key of a mask: two are equal if and only if all of this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct MaskKey {
    exponents: [Owner; 2],
    transcript: [Keys; 3],
    /// Who decapsulates what; and whose key it is.
    bound: Option<((Owner, Ciphertext), [usize; 2])>,
}

impl Rules {
    fn knows(self, key: &MaskKey) -> bool {
        let x25519 = self.breaks_x25519 || key.exponents.contains(&ATTACKER);
        let ml_kem = key.bound.is_none_or(|((owner, ciphertext), _)| {
            let is_own = ciphertext.by == ATTACKER && ciphertext.to == owner;
            self.breaks_ml_kem || owner == ATTACKER || is_own
        });
        x25519 && ml_kem
    }

    /// The masks that an honest participant adds, those that it takes away with −1, without those that the attacker knows.
    fn unknown(self, me: usize, view: &View) -> BTreeMap<MaskKey, i32> {
        let mut masks = BTreeMap::new();
        for peer in (0..3).filter(|peer| *peer != me) {
            let theirs = view.keys[peer];
            let mut exponents = [me as Owner, theirs.point.exponent];
            exponents.sort_unstable();
            let encapsulated = if me < peer {
                (me as Owner, view.received[peer])
            } else {
                (theirs.kem, Ciphertext { by: me as Owner, to: theirs.kem, place: peer })
            };
            // The transcript has the keys, and the ciphertext is in the secret: what the pair adds are the names.
            let bound = (!self.is_unbound).then_some((encapsulated, [me.min(peer), me.max(peer)]));
            let key = MaskKey { exponents, transcript: view.keys, bound };
            if !self.knows(&key) {
                *masks.entry(key).or_insert(0) += if me < peer { 1 } else { -1 };
            }
        }
        masks.retain(|_, count| *count != 0);
        masks
    }

    /// Whether the honest, who were shown this, say more than the sum of what they bring.
    fn tells(self, honest: [usize; 2], views: &[View; 2]) -> bool {
        let [a, b] = [0, 1].map(|i| self.unknown(honest[i], &views[i]));
        // Of the combinations with −1, 0 and 1 that are not the sum, these are all up to their sign.
        let difference: bool = {
            let mut sum = a.clone();
            b.iter().for_each(|(key, count)| *sum.entry(*key).or_insert(0) -= count);
            sum.values().all(|count| *count == 0)
        };
        a.is_empty() || b.is_empty() || difference
    }

    /// The first attack that there is.
    fn attack(self) -> Option<([usize; 2], [View; 2])> {
        [[0, 1], [0, 2], [1, 2]].into_iter().find_map(|honest| {
            let shown = self.shown(honest);
            // If all sign what they were shown, it is the same to all.
            let both = shown[0].iter().flat_map(|one| shown[1].iter().map(move |other| [*one, *other]));
            let mut both = both.filter(|keys| !self.signs_keys || keys[0] == keys[1]);
            both.find_map(|keys| {
                let [one, other] = [0, 1].map(|i| self.received(honest, i, keys[i]));
                let mut views = one.iter().flat_map(|one| other.iter().map(move |other| [*one, *other]));
                views.find(|views| self.tells(honest, views)).map(|views| (honest, views))
            })
        })
    }

    /// The keys that each of the honest may be shown.
    fn shown(self, honest: [usize; 2]) -> [Vec<[Keys; 3]>; 2] {
        let owners = [honest[0] as Owner, honest[1] as Owner, ATTACKER];
        let points = owners
            .into_iter()
            .flat_map(|exponent| [false, true].map(|is_other_encoding| Point { exponent, is_other_encoding }));
        let chosen: Vec<Keys> = points.flat_map(|point| owners.map(|kem| Keys { point, kem })).collect();
        [0, 1].map(|i| {
            let under_the_other_name = if self.signs_keys { vec![] } else { vec![Keys::of(ATTACKER)] };
            let other = [Keys::of(honest[1 - i] as Owner)].into_iter().chain(under_the_other_name);
            let both = other.flat_map(|other| chosen.iter().map(move |own| (other, *own)));
            let keys = |(other, own): (Keys, Keys)| {
                let mut keys = [own; 3];
                keys[honest[i]] = Keys::of(honest[i] as Owner);
                keys[honest[1 - i]] = other;
                keys
            };
            both.map(keys).collect()
        })
    }

    /// What an honest participant may be shown further, to whom these keys were.
    fn received(self, honest: [usize; 2], i: usize, keys: [Keys; 3]) -> Vec<View> {
        let (me, other) = (honest[i], honest[1 - i]);
        let real = |to: usize| Ciphertext { by: other as Owner, to: keys[to].kem, place: to };
        // Its own for this participant; those of the honest, to this participant or to itself.
        let own = Ciphertext { by: ATTACKER, to: me as Owner, place: me };
        let attacker = 3 - me - other;
        let free = [own, real(me), real(attacker)];
        let from = |peer: usize| match peer {
            peer if peer < me => vec![own],
            peer if peer == other && self.signs_encapsulations => vec![real(me)],
            _ => free.to_vec(),
        };
        let mut views = vec![View { keys, received: [own; 3] }];
        for peer in (0..3).filter(|peer| *peer != me) {
            let all = views.iter().flat_map(|view| {
                from(peer).into_iter().map(move |ciphertext| {
                    let mut view = *view;
                    view.received[peer] = ciphertext;
                    view
                })
            });
            views = all.collect();
        }
        views
    }
}

#[test]
fn no_choice_of_keys_and_messages_tells_more_than_the_sum() {
    for (breaks_x25519, breaks_ml_kem) in [(false, false), (true, false), (false, true)] {
        let rules = Rules { breaks_x25519, breaks_ml_kem, ..RULES };
        assert_eq!(rules.attack(), None, "X25519 broken: {breaks_x25519}, ML-KEM broken: {breaks_ml_kem}");
    }
}

/// A copy of an honest key, in whatever encoding: two masks at one participant are the same and cancel.
#[test]
fn keys_that_do_not_name_the_pair_cancel() {
    let rules = Rules { is_unbound: true, ..RULES };
    let (honest, views) = rules.attack().expect("an attack");
    let attacker = 3 - honest[0] - honest[1];
    for view in views {
        assert!(honest.contains(&(view.keys[attacker].point.exponent as usize)), "{view:?}");
    }
}

#[test]
fn keys_that_are_not_signed_are_swapped() {
    let rules = Rules { signs_keys: false, signs_encapsulations: false, ..RULES };
    let (honest, views) = rules.attack().expect("an attack");
    assert!([0, 1].iter().any(|i| views[*i].keys[honest[1 - i]] == Keys::of(ATTACKER)), "{views:?}");
}

/// Against somebody who can compute X25519's secrets, the encapsulation alone protects.
#[test]
fn encapsulations_that_are_not_signed_are_swapped() {
    let rules = Rules { signs_encapsulations: false, breaks_x25519: true, ..RULES };
    let (honest, views) = rules.attack().expect("an attack");
    assert_eq!(views[0].received[honest[1]].by, ATTACKER);
    assert_eq!(Rules { breaks_x25519: false, ..rules }.attack(), None, "X25519 protects as long as it does");
}

#[test]
fn whoever_breaks_both_learns_all() {
    assert!(Rules { breaks_x25519: true, breaks_ml_kem: true, ..RULES }.attack().is_some());
}
