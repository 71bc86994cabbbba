//! What colluders get to know who choose their keys and ciphertexts after they have seen the others': real keys, real masks.
//!
//! Colluders work with the coordinator, so they see every vector. From a vector they take the masks that they know; what is left
//! is v_i + u_i, with u_i the sum of the masks that they do not. A combination Σ c_i (v_i + u_i) tells them Σ c_i v_i if
//! Σ c_i u_i = 0. It may be zero where all c_i are equal: that is the sum of all, which the study is for. Every other one is looked
//! for, with c_i of −4 to 4, of −2 to 2 for more than three, of −1 to 1 for more than five.
//!
//! A false alarm needs a sum of masks, uniform on 64 bits, to be zero by chance: at most 5^5 combinations × 300 attempts × 2^-64, less
//! than 1e-12.

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::montgomery::MontgomeryPoint;
use hkdf::Hkdf;
use sha2::Sha256;

use crate::digest::Digest;
use crate::secagg::agreement::{Agreed, CIPHERTEXT, Encapsulation};
use crate::secagg::mask::MaskKeys;
use crate::secagg::pledge::{EphemeralKey, SignedPledge};
use crate::secagg::transcript::{Abort, Transcript};
use crate::testing::{Party, alliance};

/// Splitmix64, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % most as u64) as usize
    }

    fn is_one_in(&mut self, most: usize) -> bool {
        self.below(most) == 0
    }
}

/// An attempt in which some collude.
struct Attempt {
    parties: Vec<Party>,
    /// Whose bit is set colludes.
    colluders: Vec<bool>,
    /// Colluders who know the secret of the X25519 key that they have pledged.
    knows_x25519: Vec<bool>,
    knows_ml_kem: Vec<bool>,
    transcript: Transcript,
    encapsulations: Vec<Encapsulation>,
    /// Ciphertexts whose secret a colluder has chosen, by their receiver.
    known: Vec<(String, [u8; CIPHERTEXT])>,
}

/// A key that makes the same secrets as another one, or does not: a multiple of clamped scalars hides a point of small order.
fn shifted(key: [u8; 32], by: usize) -> Option<[u8; 32]> {
    let point = MontgomeryPoint(key).to_edwards(0)?;
    Some((point + EIGHT_TORSION[by]).to_montgomery().0)
}

impl Attempt {
    /// One of `count`, of whom `colluding` choose what they send at random from all that they have seen.
    fn draw(count: usize, colluding: usize, random: &mut Random) -> Self {
        let mut parties = Party::some(count as u8);
        let fresh = |party: &mut Party, random: &mut Random| {
            let mut secret = [0; 32];
            secret.fill_with(|| random.below(256) as u8);
            party.ephemeral = EphemeralKey::from_secret(secret);
            party.public = party.ephemeral.public();
        };
        parties.iter_mut().for_each(|party| fresh(party, random));
        let mut colluders = vec![false; count];
        while colluders.iter().filter(|is| **is).count() < colluding {
            colluders[random.below(count)] = true;
        }
        let mut attempt = Self {
            knows_x25519: colluders.clone(),
            knows_ml_kem: colluders.clone(),
            transcript: transcript(&parties),
            encapsulations: Vec::new(),
            known: Vec::new(),
            parties,
            colluders,
        };
        for me in (0..count).filter(|me| attempt.colluders[*me]).collect::<Vec<_>>() {
            attempt.choose_keys(me, random);
        }
        attempt.transcript = transcript(&attempt.parties);
        attempt.encapsulate(random);
        attempt
    }

    /// Keys of its own, or others' in any encoding, those of the honest included whom it is to deceive.
    fn choose_keys(&mut self, me: usize, random: &mut Random) {
        if !random.is_one_in(4) {
            let whose = random.below(self.parties.len());
            let theirs = self.parties[whose].public.x25519;
            let chosen = match random.below(4) {
                0 => Some(theirs),
                1 => {
                    let mut other = theirs;
                    other[31] ^= 0x80;
                    Some(other)
                }
                _ => shifted(theirs, random.below(8)),
            };
            if let Some(chosen) = chosen {
                self.parties[me].public.x25519 = chosen;
                self.knows_x25519[me] = self.knows_x25519[whose];
            }
        }
        if !random.is_one_in(3) {
            let whose = random.below(self.parties.len());
            self.parties[me].public.ml_kem = self.parties[whose].public.ml_kem;
            self.knows_ml_kem[me] = self.knows_ml_kem[whose];
        }
    }

    /// The honest as they do; then colluders, with ciphertexts of their own, others' to the same one, others' to anybody, or noise.
    fn encapsulate(&mut self, random: &mut Random) {
        let mut honest_first: Vec<usize> = (0..self.parties.len()).collect();
        honest_first.sort_by_key(|me| self.colluders[*me]);
        let (mut all, mut known) = (Vec::<Encapsulation>::new(), Vec::new());
        for me in honest_first {
            let Party { name, identity, ephemeral, .. } = &self.parties[me];
            let own = Encapsulation::of(&self.transcript, name, ephemeral, identity);
            for mut one in own.expect("every encapsulation key is somebody's") {
                if self.colluders[me] {
                    let copied = match random.below(4) {
                        0 => None,
                        1 => all.iter().find(|other| other.to == one.to).map(|other| other.ciphertext),
                        2 if !all.is_empty() => Some(all[random.below(all.len())].ciphertext),
                        _ => Some(std::array::from_fn(|_| random.below(256) as u8)),
                    };
                    match copied {
                        None => known.push((one.to.clone(), one.ciphertext)),
                        Some(copied) => {
                            one = Encapsulation::signed(&self.transcript, (name, identity), &one.to, copied);
                        }
                    }
                }
                all.push(one);
            }
        }
        (self.encapsulations, self.known) = (all, known);
    }

    /// Whether colluders know what an honest participant and one of them share.
    fn is_known(&self, honest: usize, colluder: usize) -> bool {
        let (receiver, sender) = (&self.parties[honest].name, &self.parties[colluder].name);
        let is_sent = |sent: &&Encapsulation| &sent.from == sender && &sent.to == receiver;
        let secret = match self.encapsulations.iter().find(is_sent) {
            Some(sent) => self.known.contains(&(sent.to.clone(), sent.ciphertext)),
            None => self.knows_ml_kem[colluder],
        };
        secret && self.knows_x25519[colluder]
    }

    /// The sums of masks, one word of each, that colluders do not know in the vectors of the honest.
    ///
    /// # Errors
    ///
    /// If an honest participant finds that something is wrong before it sends a vector.
    fn unknown(&self, masks: impl Fn(&Self, usize) -> Result<Vec<(usize, i64)>, Abort>) -> Result<Vec<i64>, Abort> {
        let honest = (0..self.parties.len()).filter(|me| !self.colluders[*me]);
        let sum = |me: usize| {
            let unknown =
                masks(self, me)?.into_iter().filter(|(peer, _)| !self.colluders[*peer] || !self.is_known(me, *peer));
            Ok(unknown.fold(0_i64, |sum, (_, word)| sum.wrapping_add(word)))
        };
        honest.map(sum).collect()
    }

    /// What a participant adds to the first word of its vector, by whom it shares the mask with.
    fn masks(&self, me: usize) -> Result<Vec<(usize, i64)>, Abort> {
        let Party { name, ephemeral, .. } = &self.parties[me];
        let agreed = Agreed::with_all(&self.transcript, name, ephemeral, &self.encapsulations)?;
        let word = |peer: usize| {
            let mut word = [0];
            MaskKeys::among(&agreed, &[self.parties[peer].name.clone()], 1, Digest::ZERO).apply(&mut word);
            (peer, word[0])
        };
        Ok((0..self.parties.len()).filter(|peer| *peer != me).map(word).collect())
    }

    /// The same by keys that depend on the shared secret and the transcript alone.
    fn masks_unbound(&self, me: usize) -> Result<Vec<(usize, i64)>, Abort> {
        let word = |peer: usize| {
            let theirs = &self.parties[peer];
            let shared = self.parties[me].ephemeral.shared(theirs.public.x25519);
            let shared = shared.ok_or_else(|| Abort::WeakKey(theirs.name.clone()))?;
            let mut word = [0; 8];
            let key = Hkdf::<Sha256>::new(Some(&self.transcript.digest().0), &*shared);
            key.expand(b"mask", &mut word).expect("8 bytes");
            let word = i64::from_le_bytes(word);
            Ok((peer, if me < peer { word } else { word.wrapping_neg() }))
        };
        (0..self.parties.len()).filter(|peer| *peer != me).map(word).collect()
    }
}

fn transcript(parties: &[Party]) -> Transcript {
    let (names, roster) = alliance(parties);
    let pledges: Vec<SignedPledge> = parties.iter().map(|party| party.pledge(Digest([1; 32]))).collect();
    Transcript::of(&pledges, &names, &roster).expect("all pledged the same")
}

/// Whether a combination of vectors that is not the sum of all has no mask.
fn tells(unknown: &[i64]) -> bool {
    let most = match unknown.len() {
        0..=3 => 4,
        4..=5 => 2,
        _ => 1,
    };
    let values: i64 = 2 * most + 1;
    (0..values.pow(unknown.len() as u32)).any(|mut number| {
        let first = number % values;
        let (mut sum, mut is_the_sum_of_all) = (0_i64, true);
        for word in unknown {
            is_the_sum_of_all &= number % values == first;
            sum = sum.wrapping_add(word.wrapping_mul(number % values - most));
            number /= values;
        }
        sum == 0 && !is_the_sum_of_all
    })
}

/// Without names in the binding, u_0 + 3u_2 = 0: with the sum, both vectors are told.
#[test]
fn colluders_who_copy_both_keys_and_pass_on_ciphertexts_learn_nothing() {
    let mut random = Random(3);
    let mut attempt = Attempt::draw(4, 0, &mut random);
    attempt.colluders = vec![false, true, false, true];
    (attempt.knows_x25519, attempt.knows_ml_kem) = (vec![false; 4], vec![false; 4]);
    for colluder in [1, 3] {
        attempt.parties[colluder].public = attempt.parties[2].public.clone();
    }
    attempt.transcript = transcript(&attempt.parties);
    let party = |number: usize| &attempt.parties[number];
    let sent = Encapsulation::of(&attempt.transcript, &party(2).name, &party(2).ephemeral, &party(2).identity);
    let sent = sent.expect("every encapsulation key is somebody's");
    let [to_0, to_1] = [&sent[0], &sent[1]].map(|one| one.ciphertext);
    let passed_on = |from: usize, to: usize, ciphertext| {
        Encapsulation::signed(
            &attempt.transcript,
            (&party(from).name, &party(from).identity),
            &party(to).name,
            ciphertext,
        )
    };
    let copies = [passed_on(1, 0, to_0), passed_on(3, 0, to_0), passed_on(3, 2, to_1), passed_on(3, 1, to_1)];
    attempt.encapsulations = sent.iter().cloned().chain(copies).collect();
    attempt.known = Vec::new();
    let unknown = attempt.unknown(Attempt::masks).expect("keys that are some");
    assert!(!tells(&unknown));
}

#[test]
fn colluders_who_choose_their_keys_from_others_learn_nothing_but_the_sum() {
    let mut random = Random(20_261);
    let (mut went_on, mut found_unbound) = (0, 0);
    for number in 0..300 {
        let count = 3 + number % 6;
        // At least two are honest: what one alone brings is the sum without the others' part.
        let attempt = Attempt::draw(count, 1 + random.below(count - 2), &mut random);
        // Keys of small order end the attempt; nothing was sent.
        let Ok(unknown) = attempt.unknown(Attempt::masks) else { continue };
        went_on += 1;
        assert!(!tells(&unknown), "attempt {number} of {count}");
        found_unbound += usize::from(attempt.unknown(Attempt::masks_unbound).is_ok_and(|unknown| tells(&unknown)));
    }
    assert!(went_on > 200, "{went_on}");
    assert!(found_unbound > 10, "the attack is one where keys do not name the pair: {found_unbound}");
}

/// Without an attack the sum of all has no mask that colluders do not know, so that what is counted above are the masks.
#[test]
fn the_sum_of_the_honest_is_what_colluders_get() {
    let mut random = Random(7);
    for count in 3..=8 {
        let mut attempt = Attempt::draw(count, 1, &mut random);
        let fresh = Party::some(count as u8);
        attempt.parties = fresh;
        attempt.knows_x25519 = attempt.colluders.clone();
        attempt.knows_ml_kem = attempt.colluders.clone();
        attempt.transcript = transcript(&attempt.parties);
        attempt.encapsulations = crate::testing::encapsulations(&attempt.parties, &attempt.transcript);
        attempt.known = attempt.encapsulations.iter().map(|sent| (sent.to.clone(), sent.ciphertext)).collect();
        let unknown = attempt.unknown(Attempt::masks).expect("keys of all");
        assert_eq!(unknown.iter().fold(0_i64, |sum, word| sum.wrapping_add(*word)), 0);
        assert!(!tells(&unknown));
    }
}
