//! External data: tensor payloads in files beside the model.
//!
//! A model file is hostile until checked, and these entries are paths and ranges that it chose.
//! Promises:
//! - nothing outside the model's own folder is opened: locations are relative, without `..`, and
//!   what symbolic links lead to must lie in that folder too. One layout is let through besides:
//!   in a Hugging Face cache (`models--NAME/snapshots/REV/...`) links may lead to
//!   `models--NAME/blobs`, the same model's store;
//! - only regular files with a single name are opened: a FIFO, device or socket could block or
//!   act, and a hard link is a file of somebody else's under a name of this folder;
//! - ranges lie inside the file, sums do not overflow, checksums (SHA-1 of the whole file, as the
//!   specification says) hold where they are given.
//!
//! Files are memory-mapped, each once, and tensors are slices of the mapping: a model larger than
//! memory can be opened. A file must not be changed while a model that uses it is alive.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use memmap2::Mmap;
use sha1::{Digest, Sha1};

use crate::proto::StringStringEntryProto;

/// Why external data cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExternalError {
    /// The model was not read from a file, so that there is no folder to look in.
    #[error("external data, but the model was read from memory and has no folder")]
    NoFolder,
    /// The entry does not say in which file the data are.
    #[error("external data without a location")]
    NoLocation,
    /// One key given twice.
    #[error("external data gives the key `{key}` twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A value that is not of its key's form.
    #[error("external data: `{value}` is no {key}")]
    BadValue {
        /// `offset`, `length` or `checksum`.
        key: &'static str,
        /// What the model says.
        value: String,
    },
    /// An absolute path, one with `..`, an empty one, or one with a NUL byte.
    #[error("external data location {location:?} is not a plain path below the model's folder")]
    NotBelow {
        /// What the model says.
        location: String,
    },
    /// A symbolic link leads out of the model's folder.
    #[error("external data location {location:?} leads out of the model's folder, to {target:?}")]
    Escapes {
        /// What the model says.
        location: String,
        /// Where it leads.
        target: PathBuf,
    },
    /// A directory, FIFO, device or socket.
    #[error("external data location {location:?} is not a regular file")]
    NotRegular {
        /// What the model says.
        location: String,
    },
    /// A file with more than one name.
    #[error("external data file {location:?} has {links} hard links: use a copy of its own")]
    HardLinked {
        /// What the model says.
        location: String,
        /// How many names the file has.
        links: u64,
    },
    /// The system refused to find, open or map the file.
    #[error("external data file {location:?}: {source}")]
    Io {
        /// What the model says.
        location: String,
        /// What the system says.
        source: io::Error,
    },
    /// The range does not lie in the file.
    #[error(
        "external data file {location:?} has {size} bytes, \
         the model asks for {length} from offset {offset}"
    )]
    OutOfRange {
        /// What the model says.
        location: String,
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        length: u64,
        /// Bytes there are.
        size: u64,
    },
    /// The file is not the one that the model was written with.
    #[error("external data file {location:?} has SHA-1 {actual}, the model says {expected}")]
    Checksum {
        /// What the model says.
        location: String,
        /// The digest the model gives, in lower-case hexadecimal.
        expected: String,
        /// The file's.
        actual: String,
    },
}

/// The files a model may draw on, opened as tensors ask for them.
#[derive(Debug, Default)]
pub struct ExternalFiles {
    folder: Option<Folder>,
    open: Mutex<HashMap<PathBuf, Opened>>,
}

/// Where files may lie; both paths canonical.
#[derive(Debug)]
struct Folder {
    root: PathBuf,
    /// The `blobs` of the Hugging Face cache that the root is a snapshot in.
    blobs: Option<PathBuf>,
}

#[derive(Debug, Clone)]
struct Opened {
    data: Bytes,
    /// Set once a tensor asked for it: hashing reads the whole file.
    sha1: Option<String>,
}

/// One tensor's `external_data`, parsed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entry {
    location: String,
    offset: u64,
    length: Option<u64>,
    sha1: Option<String>,
}

impl ExternalFiles {
    /// For a model without a file: any external data is [`ExternalError::NoFolder`].
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// For the model file at `model`, which need not be read yet. Its folder is that of the path as
    /// given: where the path is a symbolic link, data are not looked for beside the link's target.
    ///
    /// # Errors
    /// [`ExternalError::Io`] when the folder cannot be resolved.
    pub fn beside(model: &Path) -> Result<Self, ExternalError> {
        let parent = model.parent().filter(|p| !p.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let root = parent.canonicalize().map_err(|source| ExternalError::Io {
            location: parent.display().to_string(),
            source,
        })?;
        let blobs = snapshot_blobs(&root);
        Ok(Self {
            folder: Some(Folder { root, blobs }),
            open: Mutex::default(),
        })
    }

    /// The bytes that a tensor's `external_data` stands for, as a slice of the mapped file.
    ///
    /// Keys other than `location`, `offset`, `length` and `checksum` are left to whoever wrote
    /// them. Without a length the data run to the end of the file.
    ///
    /// # Errors
    /// Any [`ExternalError`]; the file is opened only when the location is in bounds.
    pub fn read(&self, entries: &[StringStringEntryProto]) -> Result<Bytes, ExternalError> {
        let folder = self.folder.as_ref().ok_or(ExternalError::NoFolder)?;
        let entry = Entry::parse(entries)?;
        let path = folder.resolve(&entry.location)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.contains_key(&path) {
            let data = map(&path, &entry.location)?;
            open.insert(path.clone(), Opened { data, sha1: None });
        }
        let Some(file) = open.get_mut(&path) else {
            return Err(ExternalError::NoFolder);
        };
        if let Some(expected) = entry.sha1 {
            let actual = file
                .sha1
                .get_or_insert_with(|| hex(&Sha1::digest(&file.data)));
            if *actual != expected {
                let (location, actual) = (entry.location, actual.clone());
                return Err(ExternalError::Checksum {
                    location,
                    expected,
                    actual,
                });
            }
        }
        let size = file.data.len() as u64;
        let length = entry
            .length
            .unwrap_or_else(|| size.saturating_sub(entry.offset));
        match entry.offset.checked_add(length) {
            // Both bounds are at most `size`, which is a `usize`.
            Some(end) if end <= size => Ok(file.data.slice(entry.offset as usize..end as usize)),
            _ => {
                let (location, offset) = (entry.location, entry.offset);
                Err(ExternalError::OutOfRange {
                    location,
                    offset,
                    length,
                    size,
                })
            }
        }
    }
}

impl Entry {
    fn parse(entries: &[StringStringEntryProto]) -> Result<Self, ExternalError> {
        let mut found: HashMap<&str, &str> = HashMap::new();
        for entry in entries {
            let (key, value) = (entry.key(), entry.value());
            if found.insert(key, value).is_some() {
                return Err(ExternalError::DuplicateKey {
                    key: key.to_owned(),
                });
            }
        }
        let number = |key: &'static str| {
            let parse = |value: &&str| {
                value.parse::<u64>().map_err(|_| {
                    let value = (*value).to_owned();
                    ExternalError::BadValue { key, value }
                })
            };
            found.get(key).map(parse).transpose()
        };
        let sha1 = found.get("checksum").map(|value| {
            let digest = value.to_ascii_lowercase();
            if digest.len() == 40 && digest.bytes().all(|b| b.is_ascii_hexdigit()) {
                Ok(digest)
            } else {
                let value = (*value).to_owned();
                Err(ExternalError::BadValue {
                    key: "checksum",
                    value,
                })
            }
        });
        Ok(Self {
            location: (*found.get("location").ok_or(ExternalError::NoLocation)?).to_owned(),
            offset: number("offset")?.unwrap_or(0),
            length: number("length")?,
            sha1: sha1.transpose()?,
        })
    }
}

impl Folder {
    /// The canonical path of a location, inside the folder or the cache's blobs.
    fn resolve(&self, location: &str) -> Result<PathBuf, ExternalError> {
        let below = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        let path = Path::new(location);
        if location.is_empty() || location.contains('\0') || !path.components().all(below) {
            return Err(ExternalError::NotBelow {
                location: location.to_owned(),
            });
        }
        let target = self
            .root
            .join(path)
            .canonicalize()
            .map_err(|source| ExternalError::Io {
                location: location.to_owned(),
                source,
            })?;
        let inside = |root: &PathBuf| target.starts_with(root);
        if inside(&self.root) || self.blobs.as_ref().is_some_and(inside) {
            Ok(target)
        } else {
            Err(ExternalError::Escapes {
                location: location.to_owned(),
                target,
            })
        }
    }
}

/// The `blobs` folder beside `snapshots` if `root` is (below) a snapshot of a Hugging Face cache.
fn snapshot_blobs(root: &Path) -> Option<PathBuf> {
    let snapshots = root
        .ancestors()
        .skip(1)
        .find(|p| p.file_name() == Some("snapshots".as_ref()))?;
    let model = snapshots.parent()?;
    if !model.file_name()?.to_str()?.starts_with("models--") {
        return None;
    }
    // The store must be a folder of the cache itself, not a link to elsewhere.
    let blobs = model.join("blobs");
    (blobs.canonicalize().ok()? == blobs).then_some(blobs)
}

/// Opens, checks and maps the file at a canonical path.
fn map(path: &Path, location: &str) -> Result<Bytes, ExternalError> {
    let io = |source| ExternalError::Io {
        location: location.to_owned(),
        source,
    };
    let not_regular = || ExternalError::NotRegular {
        location: location.to_owned(),
    };
    // Before opening, because opening a device may act; after it, because of what was opened.
    if !fs::symlink_metadata(path).map_err(io)?.is_file() {
        return Err(not_regular());
    }
    let file = open_read_only(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(not_regular());
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let links = metadata.nlink();
        if links > 1 {
            return Err(ExternalError::HardLinked {
                location: location.to_owned(),
                links,
            });
        }
    }
    if metadata.len() == 0 {
        return Ok(Bytes::new()); // an empty range cannot be mapped
    }
    // SAFETY: the mapping is private and read-only, of a regular file that nothing here writes.
    // That nobody else shortens the file meanwhile is the caller's duty, in the module's contract.
    let mapping = unsafe { Mmap::map(&file) }.map_err(io)?;
    Ok(Bytes::from_owner(mapping))
}

/// Opens without following a link put there since, and without waiting for a FIFO's writer.
fn open_read_only(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY);
    }
    options.open(path)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
