//! Frames, messages, versions and limits.

pub mod frame;
pub mod message;
