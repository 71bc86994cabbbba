//! Buckets: of an encrypted score the candidates' owner learns only in which of at most sixteen ranges it lies.
//!
//! ```text
//! model's owner (weights, edges, keys z and S)          candidates' owner (features of up to 2048 customers a block)
//!   EvaluationKey, once a model        ─────────▶    Evaluation: bits of z under S, automorphisms of S under S
//!   as for scores: Commitment, SeedPart, Request with the weights under s; beside it
//!   BucketRequest, once a study        ─────────▶    BucketEvaluator: s under z, the table under S, S under s
//!                                                    scores      A, B of all customers, under s    (nothing leaves)
//!                                                    bootstrap   customer by customer:
//!                                                                extract, switch to z, to 4096 positions, rotate the
//!                                                                table by it: the bucket, under S
//!                                                    finish      pack 2048 of them, switch to s, mask by a fresh u
//!                                      ◀─────────    MaskedBlock, as for scores
//!   Sharer: Share, as for scores       ─────────▶    PendingBuckets: the buckets
//! ```
//!
//! s is the study's fresh key, z (918 bits) and S (degree 2048) are the model's. The evaluation key, 22.8 MB, is named by
//! its digest and kept by whoever has it; a study adds 86 kB, and a candidate nine bytes. Bootstrapping is `tfhe`'s
//! (Chillotti, Gama, Georgieva, Izabachène 2016 and 2020, "TFHE: fast fully homomorphic encryption over the torus"), and
//! takes nearly all the time; packing and the rest are exact sums in the ring of scores.
//!
//! **Correct.** [`params`] has the noise: a score that is farther than [`clear`] from all edges is put into its bucket but
//! with a probability of at most 2^-64. Nearer than some [`blur`], it may be put into the one beside it. Both are shares of
//! the range of scores that the model's own weights can give, which its owner lays on the whole of the table: it knows
//! it ([`owner::range`]), and nobody else has to.
//!
//! **A customer's features are hidden from a malicious model's owner** as they are with scores. Nothing leaves but one
//! masked block: a_0·u + e' with u and e' fresh, plus a mask A that depends on features, keys and table, but neither on u
//! nor on e'. a_0 is of the joint seed; so the first is indistinguishable from uniform and the sum is too, whatever keys
//! and table the model's owner made. No bucket goes back, and no answer depends on what a message contains.
//!
//! **Weights and edges are hidden from the candidates' owner** by ring-LWE and LWE: weights under s, as with scores; edges
//! in a table that is encrypted under S; and the keys by the evaluation key's own encryptions. z encrypts s, S encrypts z
//! and itself, s encrypts S: that is a cycle, so it takes the assumption of circular security that all of bootstrapping
//! takes (the same authors, 2016). Parameters are those of tfhe's `V1_8_PARAM_MESSAGE_2_CARRY_2_KS_PBS_TUNIFORM_2M128`.
//! tfhe's source says 128 bits of security of its parameters (`shortint::parameters`), and 132 of the noise for which it
//! has formulas (`core_crypto::commons::noise_formulas`); for degree 2048 see `params` of scores. No estimate of our own
//! was made. Bodies are rounded where they travel (`BODY_CUT`), by a public rule. Shares are hints about s, and here
//! about z and S too: `Budget::loss` bounds what they take together, 0.04 bits with a million candidates.
//!
//! **What is not hidden, or not covered.**
//!
//! - Buckets reveal the model, more slowly than scores: whoever has those of many customers estimates weights and edges by
//!   regression. A candidates' owner may also invent customers. The number of blocks bounds both.
//! - **Buckets of customers at an edge are hints about the keys, and `loss` does not count these.** Which side a score falls
//!   on depends on z through roundings that the candidates' owner sees (Cheon, Choe, Passelègue, Stehlé, Suvanto 2024 and
//!   Checri, Sirdey, Boudguiga, Bultel 2024 attack exact schemes by such failures). The same regression that estimates the
//!   weights from buckets can take z's 918 bits as further unknowns: expect it to succeed with some hundred thousand
//!   customers. z opens s, and s the weights, exactly. So keep partners to numbers of candidates at which the weights
//!   themselves may be estimated, and train models with differential privacy; z and S are of one model, and open
//!   nothing else.
//! - A model's evaluation key may serve several studies and partners: what it can lead to is that model. Blocks of all its
//!   studies count together towards the loss about z and S.
//! - A malicious model's owner may send a wrong key, table or share: that gives wrong buckets, and nothing says so.
//! - A malicious candidates' owner may send a block that it chose, as with scores, and learn the weights.
//! - Numbers of blocks are public. A bootstrap skips masks that are rounded to zero; its time is otherwise that of floating
//!   point. **When blocks come tells about how many candidates there are**: each takes its time, and a block of nobody next to none.
//! - What is computed from features is zeroized when dropped, and so are z, S and s; what tfhe keeps on its stack, in its
//!   generators and beside the places passed to it is not.
//!
//! - [`params`]: sizes, sharpness, noise;
//! - [`message`]: what travels;
//! - [`owner`] and [`candidates`]: the two sides; `pack`: many ciphertexts become one.

pub mod candidates;
pub mod message;
pub mod owner;
mod pack;
pub mod params;

pub use params::{MAX_BUCKETS, blur, clear};

#[cfg(test)]
mod tests;
