//! Writes an artifact, in one pass over its sections, whole or not at all.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, BufWriter, Cursor, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::WriteError;
use crate::layout::{ENTRY_BYTES, Entry, Kind, NAME_BYTES_MAX, PREFIX_BYTES, Prefix};
use crate::metadata::Metadata;

/// Collects sections, then writes them in the order in which they were added.
pub struct Builder<'a> {
    metadata: Metadata,
    sections: Vec<Pending<'a>>,
}

struct Pending<'a> {
    name: String,
    kind: Kind,
    source: Source<'a>,
}

/// Where the bytes of a section come from.
enum Source<'a> {
    Bytes(Cow<'a, [u8]>),
    Stream(Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + 'a>),
}

impl<'a> Builder<'a> {
    /// An artifact with no sections yet.
    #[must_use]
    pub fn new(metadata: Metadata) -> Builder<'a> {
        Builder {
            metadata,
            sections: Vec::new(),
        }
    }

    /// Adds a section whose bytes are at hand, borrowed or owned.
    #[must_use]
    pub fn bytes(
        mut self,
        name: impl Into<String>,
        kind: Kind,
        bytes: impl Into<Cow<'a, [u8]>>,
    ) -> Builder<'a> {
        let source = Source::Bytes(bytes.into());
        self.sections.push(Pending {
            name: name.into(),
            kind,
            source,
        });
        self
    }

    /// Adds a section that `write` produces while the file is written, so that weights of many
    /// gigabytes need not lie in memory. It has to write the same bytes for the same input.
    #[must_use]
    pub fn stream(
        mut self,
        name: impl Into<String>,
        kind: Kind,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()> + 'a,
    ) -> Builder<'a> {
        let source = Source::Stream(Box::new(write));
        self.sections.push(Pending {
            name: name.into(),
            kind,
            source,
        });
        self
    }

    /// Writes the artifact to `path`: to a temporary file in the same folder first, which is synced
    /// to disk and renamed. Whatever fails, and whenever, `path` holds what it held before or the
    /// whole artifact. Returns the root, see [`crate::Artifact::root`].
    ///
    /// # Errors
    /// [`WriteError::Io`] when the disk or a stream fails, [`WriteError::Name`] for names that the
    /// format cannot hold.
    pub fn save(self, path: impl AsRef<Path>) -> Result<[u8; 32], WriteError> {
        let path = path.as_ref();
        let folder = folder(path);
        let io_error = |source| WriteError::Io {
            path: path.to_owned(),
            source,
        };
        let file = temporary_file(folder).map_err(io_error)?;
        let mut buffered = BufWriter::with_capacity(1 << 20, file);
        let root = self.write(&mut buffered, path)?;
        let file = buffered
            .into_inner()
            .map_err(|error| io_error(error.into_error()))?;
        keep(file, path).map_err(io_error)?;
        Ok(root)
    }

    /// The artifact as bytes in memory.
    ///
    /// # Errors
    /// As [`Builder::save`].
    pub fn to_bytes(self) -> Result<Vec<u8>, WriteError> {
        let mut memory = Cursor::new(Vec::new());
        self.write(&mut memory, Path::new("(memory)"))?;
        Ok(memory.into_inner())
    }

    /// Sections first, then what describes them, which is known only after.
    fn write(self, out: &mut (impl Write + Seek), path: &Path) -> Result<[u8; 32], WriteError> {
        self.check_names()?;
        let io_error = |source| WriteError::Io {
            path: path.to_owned(),
            source,
        };
        let header = self.metadata.encode();
        let section_count = u32::try_from(self.sections.len());
        let section_count = section_count.map_err(|_| WriteError::TooLarge)?;
        let header_bytes = u32::try_from(header.len()).map_err(|_| WriteError::TooLarge)?;

        let table_bytes = ENTRY_BYTES * self.sections.len();
        let mut end = (PREFIX_BYTES + table_bytes + header.len()) as u64;
        write_zeros(out, end).map_err(io_error)?;
        let mut table = Vec::with_capacity(table_bytes);
        for section in self.sections {
            let offset = end.next_multiple_of(section.kind.alignment() as u64);
            write_zeros(out, offset - end).map_err(io_error)?;
            let mut hashing = Hashing {
                out,
                hasher: blake3::Hasher::new(),
                length: 0,
            };
            match section.source {
                Source::Bytes(bytes) => hashing.write_all(&bytes),
                Source::Stream(write) => write(&mut hashing),
            }
            .map_err(io_error)?;
            let (length, hash) = (hashing.length, *hashing.hasher.finalize().as_bytes());
            end = offset + length;
            let entry = Entry {
                name: section.name,
                kind: section.kind,
                offset,
                length,
                hash,
            };
            table.extend(entry.encode());
        }

        let header_hash = *blake3::hash(&header).as_bytes();
        let prefix = Prefix {
            section_count,
            header_bytes,
            file_bytes: end,
            header_hash,
        };
        let prefix = prefix.encode(&table);
        out.seek(SeekFrom::Start(0)).map_err(io_error)?;
        for part in [&prefix[..], &table, &header] {
            out.write_all(part).map_err(io_error)?;
        }
        out.flush().map_err(io_error)?;
        Ok(crate::layout::hash_at(
            &prefix,
            crate::layout::PREFIX_HASHED_BYTES,
        ))
    }

    fn check_names(&self) -> Result<(), WriteError> {
        let mut seen = BTreeSet::new();
        for Pending { name, .. } in &self.sections {
            let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains('\0');
            if !fits || !seen.insert(name) {
                return Err(WriteError::Name { name: name.clone() });
            }
        }
        Ok(())
    }
}

/// Passes bytes on, counting and hashing them.
struct Hashing<'a, W> {
    out: &'a mut W,
    hasher: blake3::Hasher,
    length: u64,
}

impl<W: Write> Write for Hashing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn write_zeros(out: &mut impl Write, count: u64) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), count), out).map(|_| ())
}

/// Writes a file as [`Builder::save`] writes an artifact: whatever fails, and whenever, `path`
/// holds what it held before or all of the bytes.
///
/// # Errors
/// What the system says.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = temporary_file(folder(path))?;
    file.write_all(bytes)?;
    keep(file, path)
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Syncs a temporary file and gives it its name.
fn keep(file: tempfile::NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder(path))
}

/// A file that is removed again unless it is renamed, with the permissions of an ordinary new file.
fn temporary_file(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".alula-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Makes the rename itself last through a power failure, where folders can be synced.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        std::fs::File::open(PathBuf::from(folder))?.sync_all()
    } else {
        Ok(())
    }
}
