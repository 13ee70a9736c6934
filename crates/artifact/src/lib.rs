//! The container of a compiled program: one file of named, checksummed byte sections.
//!
//! This crate knows nothing of what a program is. It promises, to whoever writes:
//! - the same input gives the same bytes: no time stamps, no machine names, sections in the order
//!   in which they were added;
//! - a file appears under its name whole or not at all.
//!
//! And to whoever reads:
//! - nothing of a file is handed out before its lengths, table and checksums were verified
//!   ([`Verify`] says how much of the checksums);
//! - no input, however hostile, makes the reader panic or allocate more than the file's size;
//! - sections lie at addresses aligned as their [`Kind`] says, and stay mapped for as long as any
//!   [`Section`] lives.
//!
//! The byte layout is described in [`layout`].
//!
//! ```
//! use alula_artifact::{Artifact, Builder, Kind, Metadata, Verify};
//! let metadata = Metadata {
//!     producer: "alula 0.1.0".into(),
//!     contents: 1,
//!     targets: vec!["cpu".into()],
//!     cpu_features: vec!["avx2".into()],
//! };
//! let bytes = Builder::new(metadata)
//!     .bytes("plan", Kind::Plan, b"steps")
//!     .bytes("weights", Kind::Weights, &[0; 128])
//!     .to_bytes()?;
//! let artifact = Artifact::from_bytes(&bytes, Verify::All)?;
//! assert_eq!(&artifact.section("plan")?[..], b"steps");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backing;
mod error;
pub mod layout;
mod metadata;
mod mmap;
mod reader;
mod section;
mod writer;

pub use error::{ReadError, SectionProblem, WriteError};
pub use layout::{FORMAT_VERSION, Kind};
pub use metadata::Metadata;
pub use reader::{Artifact, SectionInfo, Verify};
pub use section::Section;
pub use writer::{Builder, replace};
