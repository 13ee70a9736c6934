//! What can be wrong with an artifact, and what can go wrong in writing one.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a file is not usable as an artifact. Whatever the file holds, reading it ends in `Ok` or in
/// one of these.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file cannot be opened or mapped.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The path as the caller gave it.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The path names a folder, a pipe or a device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path as the caller gave it.
        path: PathBuf,
    },
    /// There is not enough memory for a copy of the bytes.
    #[error("cannot hold {bytes} bytes of an artifact in memory: {source}")]
    Memory {
        /// The size of the copy.
        bytes: usize,
        /// What the operating system said.
        source: io::Error,
    },
    /// The first bytes are not those of an artifact.
    #[error("not an alula artifact: the file does not begin with its magic bytes")]
    Magic,
    /// A newer alula wrote the file.
    #[error("artifact format {found} is newer than the supported {supported}: update alula")]
    VersionTooNew {
        /// The version that the file states.
        found: u32,
        /// The version that this reader takes.
        supported: u32,
    },
    /// An older alula wrote the file.
    #[error("artifact format {found} is older than the supported {supported}: compile again")]
    VersionTooOld {
        /// The version that the file states.
        found: u32,
        /// The version that this reader takes.
        supported: u32,
    },
    /// The file ends before its prefix, table or header does.
    #[error("artifact is truncated: {needed} bytes needed, {found} found")]
    Truncated {
        /// Bytes that the prefix, table and header take.
        needed: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// The file is not as long as it says.
    #[error("artifact states {stated} bytes, the file has {found}")]
    Length {
        /// The length in the prefix.
        stated: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// The prefix or the section table is damaged.
    #[error("artifact is damaged: the checksum of its section table does not match")]
    RootHash,
    /// The header is damaged.
    #[error("artifact is damaged: the checksum of its header does not match")]
    HeaderHash,
    /// The header has the right checksum and still does not decode.
    #[error("artifact header does not decode: {reason}")]
    Header {
        /// What the decoder said.
        reason: String,
    },
    /// Bytes between sections are not zero.
    #[error("artifact is damaged: byte {offset} lies between sections and is not zero")]
    Padding {
        /// The place in the file.
        offset: u64,
    },
    /// An entry of the section table is wrong.
    #[error("artifact section {index} ({name:?}): {problem}")]
    Section {
        /// Its place in the table.
        index: usize,
        /// Its name, or an empty string when the name itself is wrong.
        name: String,
        /// What is wrong with it.
        problem: SectionProblem,
    },
    /// A section that the caller needs is not there.
    #[error("artifact has no section {name:?}")]
    MissingSection {
        /// The name that was asked for.
        name: String,
    },
}

/// What is wrong with a section.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SectionProblem {
    /// Empty, not UTF-8, or followed by something else than zeros.
    #[error("the name is empty or malformed")]
    Name,
    /// Two sections share a name.
    #[error("the name is used twice")]
    DuplicateName,
    /// A kind that this reader does not know.
    #[error("unknown kind {found}")]
    Kind {
        /// The code in the table.
        found: u32,
    },
    /// An alignment other than the kind's.
    #[error("alignment is {found}, its kind needs {expected}")]
    Alignment {
        /// The alignment in the table.
        found: u32,
        /// The alignment of the kind.
        expected: u32,
    },
    /// Not at the first aligned place after its predecessor: an overlap, a gap or a misalignment.
    #[error("begins at byte {found}, expected {expected}")]
    Offset {
        /// The offset in the table.
        found: u64,
        /// Where the section has to begin.
        expected: u64,
    },
    /// Reaches beyond the end of the file, or of the number range.
    #[error("{length} bytes at {offset} reach beyond the end of the file at {file_bytes}")]
    OutOfFile {
        /// Where the section begins.
        offset: u64,
        /// Its stated length.
        length: u64,
        /// Bytes of the file.
        file_bytes: u64,
    },
    /// The bytes do not match their checksum.
    #[error("damaged: the checksum does not match")]
    Hash,
}

/// Why an artifact was not written. In each case the destination is as it was before.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Creating, writing, syncing or renaming failed.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The destination, or `(memory)`.
        path: PathBuf,
        /// What the operating system, or the stream of a section, said.
        source: io::Error,
    },
    /// A section name is empty, too long, has a zero byte or was used before.
    #[error("section name {name:?} is empty, longer than 40 bytes, has a zero byte or is repeated")]
    Name {
        /// The name as it was given.
        name: String,
    },
    /// More sections, or a longer header, than the format can state.
    #[error("artifact has too many sections or too large a header")]
    TooLarge,
}
