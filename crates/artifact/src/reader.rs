//! Opens an artifact, and hands out its sections once they are verified.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use crate::backing::Backing;
use crate::error::{ReadError, SectionProblem};
use crate::layout::{
    ENTRY_BYTES, Entry, Kind, PREFIX_BYTES, PREFIX_HASHED_BYTES, Prefix, hash_at, root,
};
use crate::metadata::Metadata;
use crate::mmap::map_read_only;
use crate::section::Section;

/// How much of an artifact is checksummed when it is opened. Lengths, the table, the header and the
/// gaps are always checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// Every section.
    #[default]
    All,
    /// Every section but weights, so that a large model opens without being read from disk.
    /// [`Artifact::verify`] checks them later. Damaged weights give wrong numbers, nothing worse.
    HeaderAndCode,
}

/// What the table says of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionInfo<'a> {
    /// The name under which [`Artifact::section`] finds it.
    pub name: &'a str,
    /// What it holds.
    pub kind: Kind,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// The blake3 of its bytes.
    pub hash: [u8; 32],
}

/// An open artifact whose structure holds. Cloning shares the bytes.
#[derive(Debug, Clone)]
pub struct Artifact {
    backing: Arc<Backing>,
    metadata: Metadata,
    entries: Arc<[Entry]>,
}

impl Artifact {
    /// Maps the file at `path` into memory and verifies it.
    ///
    /// The file must not be changed in place while it is open, as with an executable that runs;
    /// replacing it by another, as [`crate::Builder::save`] does, is safe.
    ///
    /// # Errors
    /// [`ReadError::Io`] and [`ReadError::NotAFile`] where there is nothing to map, any other
    /// variant for what is wrong with the contents.
    pub fn open(path: impl AsRef<Path>, verify: Verify) -> Result<Artifact, ReadError> {
        let path = path.as_ref();
        let io_error = |source| ReadError::Io {
            path: path.to_owned(),
            source,
        };
        // Asked before opening: to open a pipe that nobody writes to would wait for ever.
        if !fs::metadata(path).map_err(io_error)?.is_file() {
            return Err(ReadError::NotAFile {
                path: path.to_owned(),
            });
        }
        let file = File::open(path).map_err(io_error)?;
        let backing = if file.metadata().map_err(io_error)?.len() == 0 {
            Backing::Empty
        } else {
            Backing::Mapped(map_read_only(&file).map_err(io_error)?)
        };
        Artifact::from_backing(backing, verify)
    }

    /// Copies `bytes` and verifies them.
    ///
    /// # Errors
    /// [`ReadError::Memory`] where there is no room for the copy, any other variant for what is
    /// wrong with the contents.
    pub fn from_bytes(bytes: &[u8], verify: Verify) -> Result<Artifact, ReadError> {
        let backing = Backing::copy(bytes).map_err(|source| ReadError::Memory {
            bytes: bytes.len(),
            source,
        })?;
        Artifact::from_backing(backing, verify)
    }

    /// Verifies bytes that are part of the program, as `include_bytes!` gives them. They are used
    /// where they lie if they begin at a multiple of 4096, which a wrapper with
    /// `#[repr(align(4096))]` brings about, and copied otherwise.
    ///
    /// # Errors
    /// As [`Artifact::from_bytes`].
    pub fn from_static(bytes: &'static [u8], verify: Verify) -> Result<Artifact, ReadError> {
        let backing = Backing::from_static(bytes).map_err(|source| ReadError::Memory {
            bytes: bytes.len(),
            source,
        })?;
        Artifact::from_backing(backing, verify)
    }

    fn from_backing(backing: Backing, verify: Verify) -> Result<Artifact, ReadError> {
        let (metadata, entries) = read_structure(&backing)?;
        let artifact = Artifact {
            backing: Arc::new(backing),
            metadata,
            entries: entries.into(),
        };
        for (index, entry) in artifact.entries.iter().enumerate() {
            if verify == Verify::All || entry.kind != Kind::Weights {
                artifact.verify_entry(index, entry)?;
            }
        }
        Ok(artifact)
    }

    /// What the artifact says of itself.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The hash that stands for every byte of the artifact: equal if and only if the files are.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        hash_at(&self.backing, PREFIX_HASHED_BYTES)
    }

    /// The sections in file order.
    pub fn sections(&self) -> impl ExactSizeIterator<Item = SectionInfo<'_>> {
        self.entries.iter().map(|entry| SectionInfo {
            name: &entry.name,
            kind: entry.kind,
            offset: entry.offset,
            length: entry.length,
            hash: entry.hash,
        })
    }

    /// The bytes of the section `name`, shared with the artifact.
    ///
    /// # Errors
    /// [`ReadError::MissingSection`].
    pub fn section(&self, name: &str) -> Result<Section, ReadError> {
        let (_, entry) = self.entry(name)?;
        Ok(self.bytes_of(entry))
    }

    /// Checksums the section `name`, for those that were left out by [`Verify::HeaderAndCode`].
    ///
    /// # Errors
    /// [`ReadError::MissingSection`], or [`ReadError::Section`] with [`SectionProblem::Hash`].
    pub fn verify(&self, name: &str) -> Result<(), ReadError> {
        let (index, entry) = self.entry(name)?;
        self.verify_entry(index, entry)
    }

    fn entry(&self, name: &str) -> Result<(usize, &Entry), ReadError> {
        self.entries
            .iter()
            .enumerate()
            .find(|(_, entry)| entry.name == name)
            .ok_or_else(|| ReadError::MissingSection {
                name: name.to_owned(),
            })
    }

    fn bytes_of(&self, entry: &Entry) -> Section {
        // `read_structure` has checked that the section lies within the bytes, hence in `usize`.
        let start = entry.offset as usize;
        Section::new(
            Arc::clone(&self.backing),
            start..start + entry.length as usize,
        )
    }

    fn verify_entry(&self, index: usize, entry: &Entry) -> Result<(), ReadError> {
        if *blake3::hash(&self.bytes_of(entry)).as_bytes() == entry.hash {
            return Ok(());
        }
        Err(section_error(index, &entry.name, SectionProblem::Hash))
    }
}

/// Reads and checks everything but the contents of sections.
fn read_structure(file: &[u8]) -> Result<(Metadata, Vec<Entry>), ReadError> {
    let prefix = Prefix::decode(file)?;
    let found = file.len() as u64;
    if prefix.file_bytes != found {
        return Err(ReadError::Length {
            stated: prefix.file_bytes,
            found,
        });
    }
    // No overflow: both counts are 32 bits wide.
    let table_end = PREFIX_BYTES as u64 + u64::from(prefix.section_count) * ENTRY_BYTES as u64;
    let header_end = table_end + u64::from(prefix.header_bytes);
    if header_end > found {
        return Err(ReadError::Truncated {
            needed: header_end,
            found,
        });
    }
    let table = &file[PREFIX_BYTES..table_end as usize];
    let header = &file[table_end as usize..header_end as usize];
    if root(&file[..PREFIX_HASHED_BYTES], table) != hash_at(file, PREFIX_HASHED_BYTES) {
        return Err(ReadError::RootHash);
    }
    if *blake3::hash(header).as_bytes() != prefix.header_hash {
        return Err(ReadError::HeaderHash);
    }
    let metadata = Metadata::decode(header)?;
    let entries = read_table(file, table, header_end)?;
    Ok((metadata, entries))
}

/// Reads the section table and checks that its sections, in order, fill the rest of the file with
/// nothing but the zeros that alignment needs. That leaves no room for overlaps.
fn read_table(file: &[u8], table: &[u8], header_end: u64) -> Result<Vec<Entry>, ReadError> {
    let file_bytes = file.len() as u64;
    let mut entries: Vec<Entry> = Vec::with_capacity(table.len() / ENTRY_BYTES);
    let mut names = std::collections::BTreeSet::new();
    let mut end = header_end;
    for (index, bytes) in table.chunks_exact(ENTRY_BYTES).enumerate() {
        let entry = Entry::decode(bytes).map_err(|problem| section_error(index, "", problem))?;
        let fail = |problem| Err(section_error(index, &entry.name, problem));
        if !names.insert(entry.name.clone()) {
            return fail(SectionProblem::DuplicateName);
        }
        // `end` is at most the length of a slice, so that rounding it up stays in range.
        let expected = end.next_multiple_of(entry.kind.alignment() as u64);
        if entry.offset != expected {
            return fail(SectionProblem::Offset {
                found: entry.offset,
                expected,
            });
        }
        let section_end = match entry.offset.checked_add(entry.length) {
            Some(section_end) if section_end <= file_bytes => section_end,
            _ => {
                let Entry { offset, length, .. } = entry;
                return fail(SectionProblem::OutOfFile {
                    offset,
                    length,
                    file_bytes,
                });
            }
        };
        check_zero(file, end, entry.offset)?;
        end = section_end;
        entries.push(entry);
    }
    if end != file_bytes {
        return Err(ReadError::Length {
            stated: end,
            found: file_bytes,
        });
    }
    Ok(entries)
}

fn check_zero(file: &[u8], start: u64, end: u64) -> Result<(), ReadError> {
    let gap = &file[start as usize..end as usize];
    match gap.iter().position(|&byte| byte != 0) {
        Some(at) => Err(ReadError::Padding {
            offset: start + at as u64,
        }),
        None => Ok(()),
    }
}

fn section_error(index: usize, name: &str, problem: SectionProblem) -> ReadError {
    ReadError::Section {
        index,
        name: name.to_owned(),
        problem,
    }
}
