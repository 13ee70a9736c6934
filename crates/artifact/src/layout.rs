//! The bytes of an artifact file, field by field.
//!
//! Integers are little-endian. Offsets count from the start of the file.
//!
//! | Bytes | Field |
//! |---|---|
//! | 0..8 | magic, [`MAGIC`] |
//! | 8..12 | format version, [`FORMAT_VERSION`] |
//! | 12..16 | number of sections |
//! | 16..20 | bytes of the header |
//! | 20..24 | zero |
//! | 24..32 | bytes of the file |
//! | 32..64 | blake3 of the header |
//! | 64..96 | root: blake3 of bytes 0..64 followed by the section table |
//! | 96.. | section table, [`ENTRY_BYTES`] per section |
//! | then | header: [`crate::Metadata`] in postcard |
//! | then | sections in table order, each at the next multiple of its alignment |
//!
//! Every table entry holds the blake3 of its section, and all gaps are zero, so the root speaks for
//! every byte of the file: two artifacts with the same root are the same.

use crate::error::{ReadError, SectionProblem};

/// The first bytes of each artifact. The high bit and the line ending catch text-mode transfers.
pub const MAGIC: [u8; 8] = *b"\x89ALULA\r\n";

/// The layout that this crate reads and writes. Readers take exactly this version.
pub const FORMAT_VERSION: u32 = 2;

/// Bytes before the section table.
pub const PREFIX_BYTES: usize = 96;

/// Bytes of the prefix that the root covers.
pub(crate) const PREFIX_HASHED_BYTES: usize = 64;

/// Bytes of an entry of the section table.
pub const ENTRY_BYTES: usize = 96;

/// The longest name of a section, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 40;

/// What a section holds, which fixes its alignment and when its checksum is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything that is decoded before use: the plan, WGSL or PTX text. Aligned to 8 bytes.
    Plan,
    /// Machine code, mapped executable by whole pages. Aligned to 4096 bytes.
    Code,
    /// Constants that kernels read where they lie. Aligned to 64 bytes.
    Weights,
}

impl Kind {
    /// The multiple of bytes at which a section of this kind begins, in the file and in memory.
    #[must_use]
    pub fn alignment(self) -> usize {
        match self {
            Kind::Plan => 8,
            Kind::Code => PAGE_BYTES,
            Kind::Weights => 64,
        }
    }

    fn code(self) -> u32 {
        match self {
            Kind::Plan => 0,
            Kind::Code => 1,
            Kind::Weights => 2,
        }
    }

    fn from_code(code: u32) -> Option<Kind> {
        [Kind::Plan, Kind::Code, Kind::Weights]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// The largest alignment of any kind: backings start at a multiple of it.
pub(crate) const PAGE_BYTES: usize = 4096;

/// The fixed fields at the start of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub(crate) section_count: u32,
    pub(crate) header_bytes: u32,
    pub(crate) file_bytes: u64,
    pub(crate) header_hash: [u8; 32],
}

impl Prefix {
    /// The prefix as stored, given the section table that follows it.
    pub(crate) fn encode(&self, table: &[u8]) -> [u8; PREFIX_BYTES] {
        let mut bytes = [0; PREFIX_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.section_count.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.header_bytes.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.file_bytes.to_le_bytes());
        bytes[32..64].copy_from_slice(&self.header_hash);
        let root = root(&bytes[..PREFIX_HASHED_BYTES], table);
        bytes[64..96].copy_from_slice(&root);
        bytes
    }

    /// Reads the prefix of `file`, checking magic and version, and nothing else.
    pub(crate) fn decode(file: &[u8]) -> Result<Prefix, ReadError> {
        // The magic comes first: a short text file is not a truncated artifact.
        let magic_bytes = file.len().min(MAGIC.len());
        if file[..magic_bytes] != MAGIC[..magic_bytes] {
            return Err(ReadError::Magic);
        }
        if file.len() < PREFIX_BYTES {
            return Err(ReadError::Truncated {
                needed: PREFIX_BYTES as u64,
                found: file.len() as u64,
            });
        }
        match u32_at(file, 8) {
            FORMAT_VERSION => {}
            found if found > FORMAT_VERSION => {
                return Err(ReadError::VersionTooNew {
                    found,
                    supported: FORMAT_VERSION,
                });
            }
            found => {
                return Err(ReadError::VersionTooOld {
                    found,
                    supported: FORMAT_VERSION,
                });
            }
        }
        Ok(Prefix {
            section_count: u32_at(file, 12),
            header_bytes: u32_at(file, 16),
            file_bytes: u64_at(file, 24),
            header_hash: hash_at(file, 32),
        })
    }
}

/// The hash that speaks for the whole file.
pub(crate) fn root(prefix_hashed: &[u8], table: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(prefix_hashed).update(table);
    *hasher.finalize().as_bytes()
}

/// A row of the section table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) hash: [u8; 32],
}

impl Entry {
    /// The entry as stored: name in 40 zero-padded bytes, kind, alignment, offset, length, hash.
    pub(crate) fn encode(&self) -> [u8; ENTRY_BYTES] {
        assert!(
            self.name.len() <= NAME_BYTES_MAX,
            "the builder checks names"
        );
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..self.name.len()].copy_from_slice(self.name.as_bytes());
        bytes[40..44].copy_from_slice(&self.kind.code().to_le_bytes());
        bytes[44..48].copy_from_slice(&(self.kind.alignment() as u32).to_le_bytes());
        bytes[48..56].copy_from_slice(&self.offset.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.length.to_le_bytes());
        bytes[64..96].copy_from_slice(&self.hash);
        bytes
    }

    /// Reads an entry of exactly [`ENTRY_BYTES`]; the reader checks places against the file.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Entry, SectionProblem> {
        assert_eq!(
            bytes.len(),
            ENTRY_BYTES,
            "the reader cuts the table into entries"
        );
        let name_field = &bytes[..NAME_BYTES_MAX];
        let name_bytes = name_field
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(NAME_BYTES_MAX);
        let (name, padding) = name_field.split_at(name_bytes);
        if name.is_empty() || padding.iter().any(|&byte| byte != 0) {
            return Err(SectionProblem::Name);
        }
        let name = str::from_utf8(name).map_err(|_| SectionProblem::Name)?;
        let kind_code = u32_at(bytes, 40);
        let kind = Kind::from_code(kind_code).ok_or(SectionProblem::Kind { found: kind_code })?;
        let alignment = u32_at(bytes, 44);
        if alignment as usize != kind.alignment() {
            return Err(SectionProblem::Alignment {
                found: alignment,
                expected: kind.alignment() as u32,
            });
        }
        Ok(Entry {
            name: name.to_owned(),
            kind,
            offset: u64_at(bytes, 48),
            length: u64_at(bytes, 56),
            hash: hash_at(bytes, 64),
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

pub(crate) fn hash_at(bytes: &[u8], at: usize) -> [u8; 32] {
    bytes[at..at + 32].try_into().expect("thirty-two bytes")
}
