//! Secure aggregation for two to some tens of organisations: pairwise masks that cancel in the sum.
//!
//! After Bonawitz et al. 2017, without its recovery shares: partners are durable organisations that come back and
//! resend the same bytes, so a lost one is waited for, or a new attempt is made without it.
//!
//! ```text
//! coordinator              every node
//!   Propose      ─────────▶  checks, and pledges: a fresh X25519 key, signed by its identity
//!                ◀─────────  SignedPledge
//!   Start(pledges) ─────────▶  checks every signature against its PINNED roster; builds the transcript T
//!                ◀─────────  signature over T
//!   Go(signatures) ───────▶  checks that all signed the same T; reserves, computes, noises, masks, stores
//!                ◀─────────  y = q + z + Σ_{j>i} m_ij − Σ_{j<i} m_ij   (mod 2^64)
//!   Σ y = Σ (q + z)
//! ```
//!
//! m_ij = ChaCha20 under HKDF-SHA256(X25519(i, j); salt T; info: round and hash of the round's public input).
//!
//! **What a malicious coordinator can do.** It cannot swap a key (signed by a pinned identity), nor let nodes work on
//! different plans, participants or keys: the transcripts differ, so the signatures do not verify, and if that
//! check were missing the mask keys would differ and the sum would be uniform garbage. With at least two honest
//! nodes it sees of them only their sum: each single vector is hidden by a mask it cannot compute.
//!
//! - [`pledge`]: ephemeral keys and signed pledges;
//! - [`transcript`]: everybody's pledges, agreed by all;
//! - [`mask`]: mask streams;
//! - [`collect`]: the coordinator's side, a state machine without I/O;
//! - [`channel`]: what two participants say to each other through the coordinator, which cannot read it.

pub mod channel;
pub mod collect;
pub mod mask;
pub mod pledge;
pub mod transcript;
