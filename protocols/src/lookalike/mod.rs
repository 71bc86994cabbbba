//! Encrypted scoring: the candidates' owner learns the scores of its own customers under a model it does not see.
//!
//! ```text
//! seed owner (weights w_1 … w_d)                       candidates' owner (features x_1 … x_d of N customers a block)
//!   Offer         Commitment = H(ρ_S)      ─────────▶    Awaiting
//!                                          ◀─────────    SeedPart ρ_C
//!   KeyHolder     Request = ρ_S, b_0 … b_d ─────────▶    Evaluator: checks ρ_S, expands a_0 … a_d from H(ρ_S, ρ_C)
//!                 b_0 = a_0·s + e_0,                     u binary, e' uniform, fresh for each block
//!                 b_i = a_i·s + Δ·w_i + e_i              A = Σ x_i·a_i + a_0·u,  B = Σ x_i·b_i + b_0·u
//!                                          ◀─────────    MaskedBlock A' = ⌊(A + e')/2^14⌋
//!   Sharer        Share = A'·2^14·s + e''  ─────────▶    PendingBlock: B − share = Δ·score + noise, rounded
//! ```
//!
//! All is in Z_q\[X\]/(X^2048 + 1), q = 2^54; x_i(X) has feature i of 2048 customers as its coefficients. The
//! encryption of the w_i and the key are `tfhe`'s (`core_crypto`); randomness is passed in as seeds, and each type is a
//! state that is entered once.
//!
//! **Correct.** B − A'·2^14·s = Δ·Σ x_i·w_i + Σ x_i·e_i + e_0·u − r·s, r = A'·2^14 − A. [`params`] bounds the noise of
//! a whole study: no score is wrong, but with a probability of at most 2^-64. Products are exact for every input
//! (`ring`).
//!
//! **A customer's features are hidden from a malicious seed owner.** All that ever leaves is A', of which each block's
//! is a function of a_0·u + e' and of Σ x_i·a_i, computed exactly. The masks a_i do not depend on w, b_i or b_0, and
//! neither does A': choosing those chooses nothing of what is seen (a test compares the bytes). a_0 is uniform unless
//! the candidates' owner itself is dishonest (`seed`); u and e' are fresh. So (a_0, a_0·u + e') is a ring-LWE sample
//! with a binary secret: indistinguishable from uniform (block by block: a_0 is the same, u is not), and uniform plus
//! anything independent is uniform. e' is uniform over 2^14 values of 2^54, which is a sum of one over 2^8 and another,
//! independent one; so the ratio of noise to modulus is no less than that of the GLWE whose security is cited in
//! `params`. Cutting the low bits is done to the finished sample, by a public rule: a function of what is
//! indistinguishable from uniform tells no more. No score goes back, and no answer depends on what a message contains,
//! only on its size and number; so there is no oracle, for either side.
//!
//! **The weights are hidden from the candidates' owner** by ring-LWE: b_0 … b_d are d + 1 samples with a binary secret
//! and TUniform(7) of q = 2^54, which is TUniform(17) of 2^64, and the joint masks take from nobody but the seed owner
//! the choice of a_i.
//!
//! **The key is hidden from an honest-but-curious candidates' owner by smudging**, as in threshold decryption (Asharov,
//! Jain, López-Alt, Tromer, Vaikuntanathan, Wichs 2012; Mukherjee, Wichs 2016): without e'' a share is A'·s, and one
//! block gives s (a test does it). Those papers take e'' larger than all other noise by 2^λ, and have statistical
//! security. There is no room for that modulo 2^54: here the deviation of e'' is 2 to some 2^7 times that of the other
//! noise, and **the statistical distance of a study's shares from simulated ones is not small.** What holds instead is
//! that shares are *hints*, linear equations in s and the e_i with Gaussian noise; what all hints of a study take from
//! the hardness of ring-LWE is bounded by `params` (`Budget::loss`), by the measure of Dachman-Soled, Ducas, Gong and
//! Rossi 2020 and in the spirit of Hint-MLWE (Kim, Lee, Seo, Song 2023). Their reductions are for Gaussian secrets;
//! ours are binary and uniform, so for these it is a heuristic, as are all estimates of bits. Every coefficient of
//! every block counts as a hint, those of no customer too, and the seed owner answers no more blocks than the study
//! has.
//!
//! **What is not hidden, or not covered.**
//!
//! - The scores reveal the model: d customers with linearly independent features give w, by solving a linear system. A
//!   candidates' owner may also invent customers. So models are to be trained with differential privacy for the seed
//!   customers, and blocks are capped.
//! - A *malicious* candidates' owner may send an A' that is not a mask of anything. It sees A'·s + e'' for what it chose;
//!   with A' = q/2 one answer gives all of s, and with it exactly the weights, which inventing d customers would have
//!   given too. It does not reach other studies or partners: keys are fresh.
//! - The seed owner may send shares or bodies that give wrong scores. Nobody proves anything here.
//! - Numbers of blocks, and shapes, are public.
//! - What is secret here is zeroized when dropped; what tfhe keeps on its stack and in its generators while it draws a
//!   key and encrypts is not.
//! - tfhe's generator needs a processor with AES instructions on x86-64 and ARM; time is that of floating point,
//!   table-free on all paths that touch secrets but for logarithm, sine and cosine in the smudging noise.
//!
//! - [`params`]: shapes, bounds, and the proof of correctness;
//! - `ring`: exact products;
//! - `seed`: the joint seed; `draw`: secret randomness;
//! - [`message`]: what travels; [`exchange`]: in what order;
//! - [`model`]: models in whole numbers, and what is public of them;
//! - [`owner`] and [`candidates`]: the two sides;
//! - [`buckets`]: the same, but of a score only the range that it lies in is opened.

pub mod buckets;
pub mod candidates;
mod draw;
pub mod exchange;
mod mask_seed;
pub mod message;
pub mod model;
pub mod owner;
pub mod params;
mod ring;

/// Why a message or an input is not taken. Nothing in it depends on what a ciphertext contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The number or the size of the weights.
    #[error("the weights are not those that the study's columns allow for: check their number and their bounds")]
    Weights,
    /// The number or the length of features.
    #[error("the features are not those of the study's columns, all of one length of at most {most} customers", most = params::BLOCK)]
    Features,
    /// A column's kind or values.
    #[error("column {0} of the features has values that are not within the study's bounds, or is of another kind")]
    Column(usize),
    /// Another side's message.
    #[error("the other side sent a message whose size does not fit the study's parameters")]
    Size,
    /// Another side's block number, or one block too many.
    #[error("this block was answered before, is not the one that is waited for, or is one more than the study allows")]
    Number,
    /// The opening of a commitment.
    #[error("the seed owner opened another seed than it had committed to: it may be choosing its masks")]
    Opening,
    /// The edges of buckets.
    #[error("edges of buckets are 1 to {most} scores, each higher than the one before", most = buckets::MAX_BUCKETS - 1)]
    Edges,
    /// Another evaluation key.
    #[error(
        "the seed owner's request is for another evaluation key than the one that is here: ask it for its key anew"
    )]
    Key,
}

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod tests;
