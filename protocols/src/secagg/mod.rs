//! Secure aggregation for two to some tens of organisations: pairwise masks that cancel in the sum.
//!
//! After Bonawitz et al. 2017, without its recovery shares: partners are durable organisations that come back and
//! resend the same bytes, so a lost one is waited for, or a new attempt is made without it.
//!
//! ```text
//! coordinator              every node
//!   Propose      ─────────▶  checks, and pledges: fresh keys for X25519 and ML-KEM-768, signed by its identity
//!                ◀─────────  SignedPledge
//!   Start(pledges) ─────────▶  checks every signature against its PINNED roster; builds the transcript T
//!                ◀─────────  signature over T; a signed encapsulation to every earlier participant
//!   Go(signatures, encapsulations) ▶  checks that all signed the same T; reserves, computes, noises, masks, stores
//!                ◀─────────  y = q + z + Σ_{j>i} m_ij − Σ_{j<i} m_ij   (mod 2^64)
//!   Σ y = Σ (q + z)
//! ```
//!
//! m_ij = ChaCha20 under HKDF-SHA256(x_ij ‖ s_ij; salt T; both names, all four keys, ciphertext, round, hash of the round's public
//! input), with x_ij of X25519 and s_ij of ML-KEM-768 ([`agreement`]).
//!
//! | message | bound to | checked by |
//! |---|---|---|
//! | pledge | attempt, participant, question, its keys, the head of its ledger; signed by its identity | every participant, against its pinned roster and its own question, before it signs T |
//! | signature over T | alliance, all pledges, all identities | every participant, before it computes |
//! | encapsulation | T, sender, receiver, ciphertext; signed by the sender | the receiver, before it computes |
//! | mask key | T, both names, all four keys, the ciphertext, round and input | nobody: another one does not cancel |
//! | vector | T, round | the coordinator, as it sums |
//! | message between two | T, both names and all their keys, ciphertext, direction | the receiver, as it opens it |
//!
//! **What a malicious coordinator can do.** It cannot swap a key (signed by a pinned identity), nor let nodes work on
//! different plans, participants or keys: the transcripts differ, so the signatures do not verify, and if that
//! check were missing the mask keys would differ and the sum would be uniform garbage. With at least two honest
//! nodes it sees of them only their sum: each single vector is hidden by a mask it cannot compute.
//!
//! **What participants who work with it can do** is to choose their keys after they have seen the others'. Whatever they choose,
//! the masks that honest nodes share with them and with each other have different keys, as these name the pair; so none cancels
//! inside a vector. `tests::colluders` tries such choices with real keys, and `tests::search` goes through all of a small model.
//!
//! - [`pledge`]: ephemeral keys and signed pledges;
//! - [`agreement`]: what two participants share;
//! - [`transcript`]: everybody's pledges, agreed by all;
//! - [`mask`]: mask streams;
//! - [`collect`]: the coordinator's side, a state machine without I/O;
//! - [`channel`]: what two participants say to each other through the coordinator, which cannot read it.

pub mod agreement;
pub mod channel;
pub mod collect;
pub mod mask;
pub mod pledge;
#[cfg(test)]
mod tests;
pub mod transcript;
