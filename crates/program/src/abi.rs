//! The version of what a program means.

/// What compiler and runtime agree in: how a [`Program`](crate::Program) is serialised, and what
/// its plans mean. An artifact states it, and a runtime takes exactly its own.
///
/// It is raised whenever either changes. Where the serialised form does,
/// `crates/program/tests/abi.rs` fails until it is; a change of meaning is for its author to see.
pub const PROGRAM_ABI: u32 = 6;
