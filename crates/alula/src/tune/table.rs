//! The file of measured choices for one CPU.
//!
//! It is JSON, sorted, so that equal tables are equal files. Entries are keyed by the content of
//! what they decide; one table may serve many models.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use alula_program::Tuned;
use serde::{Deserialize, Serialize};

use super::cpu::Cpu;
use super::entry::Entry;
use crate::compile::Choices;

/// The version of the form of tables.
pub const TABLE_FORMAT: u32 = 1;
/// Largest table that is read, in bytes.
const BYTES_MAX: u64 = 64 << 20;

/// Measured choices for one CPU and number of threads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    format: u32,
    /// Where its entries were measured.
    pub cpu: Cpu,
    /// Threads that they were measured with.
    pub threads: usize,
    /// Entries of graphs, by key.
    pub graphs: BTreeMap<String, Entry>,
    /// Entries of contractions, by key.
    pub contractions: BTreeMap<String, Entry>,
}

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no table.
    #[error("{}: no table of schedules: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// The table is of another version.
    #[error(
        "{}: the table has format {found}, this version of Alula reads {TABLE_FORMAT}",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u64,
    },
    /// The table was measured elsewhere.
    #[error("{}: the table was measured on another CPU: {reason}", path.display())]
    OtherCpu {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// The table was measured with another number of threads.
    #[error("{}: the table was measured with {found} threads, not {wanted}", path.display())]
    OtherThreads {
        /// The file.
        path: PathBuf,
        /// The number in the file.
        found: usize,
        /// The number that was asked for.
        wanted: usize,
    },
    /// An entry makes no sense.
    #[error("entry {key} ({what}): {reason}")]
    Entry {
        /// Its key.
        key: String,
        /// What it decides, as it says itself.
        what: String,
        /// What is wrong.
        reason: String,
    },
}

impl Table {
    /// An empty table.
    pub fn new(cpu: Cpu, threads: usize) -> Table {
        Table {
            format: TABLE_FORMAT,
            cpu,
            threads,
            graphs: BTreeMap::new(),
            contractions: BTreeMap::new(),
        }
    }

    /// The table in a file, to be gone on with, or an empty one where there is no file.
    ///
    /// # Errors
    /// As [`Table::read`]; [`TableError::OtherThreads`].
    pub fn open(path: impl AsRef<Path>, host: Cpu, threads: usize) -> Result<Table, TableError> {
        let path = path.as_ref();
        if !path.exists() {
            return Ok(Table::new(host, threads));
        }
        let table = Table::read(path, &host)?;
        if table.threads != threads {
            return Err(TableError::OtherThreads {
                path: path.to_owned(),
                found: table.threads,
                wanted: threads,
            });
        }
        Ok(table)
    }

    /// Reads a table that was measured on a CPU like `host`.
    ///
    /// # Errors
    /// [`TableError`], also for entries that make no sense.
    pub fn read(path: impl AsRef<Path>, host: &Cpu) -> Result<Table, TableError> {
        Table::read_hashed(path.as_ref(), host).map(|(table, _)| table)
    }

    /// The table, and BLAKE3 of the file in hexadecimal digits.
    fn read_hashed(path: &Path, host: &Cpu) -> Result<(Table, String), TableError> {
        let fail = |source| TableError::Io {
            path: path.to_owned(),
            source,
        };
        let damaged = |reason: String| TableError::Damaged {
            path: path.to_owned(),
            reason,
        };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(fail)?;
        file.take(BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(fail)?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(damaged(format!("it has more than {BYTES_MAX} bytes")));
        }
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        // The version first: other versions have other fields.
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(found) if found == u64::from(TABLE_FORMAT) => {}
            Some(found) => {
                let path = path.to_owned();
                return Err(TableError::Version { path, found });
            }
            None => return Err(damaged("it states no format".to_owned())),
        }
        let table: Table =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if let Some(reason) = table.cpu.unlike(host) {
            let path = path.to_owned();
            return Err(TableError::OtherCpu { path, reason });
        }
        table.choices()?;
        let hash = blake3::hash(&bytes).to_hex().to_string();
        Ok((table, hash))
    }

    /// Reads what the compiler takes of a table: its choices, and what a program tuned by it says.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub fn read_choices(path: impl AsRef<Path>) -> Result<Choices, crate::Error> {
        let (table, hash) = Table::read_hashed(path.as_ref(), &Cpu::host()?)?;
        let mut choices = table.choices()?;
        choices.tuned = Some(Tuned {
            cpu: table.cpu.describe(),
            threads: u32::try_from(table.threads).unwrap_or(u32::MAX),
            table: hash,
        });
        Ok(choices)
    }

    /// The table as text, as files hold it.
    pub fn to_text(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("words and numbers are JSON");
        text + "\n"
    }

    /// Writes the table, whole or not at all.
    ///
    /// # Errors
    /// [`TableError::Io`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), TableError> {
        let path = path.as_ref();
        let written = alula_artifact::replace(path, self.to_text().as_bytes());
        written.map_err(|source| TableError::Io {
            path: path.to_owned(),
            source,
        })
    }

    /// What is chosen, for the compiler.
    ///
    /// # Errors
    /// [`TableError::Entry`] for words that are no choice, and entries that contradict themselves.
    pub fn choices(&self) -> Result<Choices, TableError> {
        Ok(Choices {
            graphs: chosen(&self.graphs)?,
            contractions: chosen(&self.contractions)?,
            tuned: None,
        })
    }

    /// Trials of all entries together.
    pub(super) fn trials(&self) -> usize {
        let entries = self.graphs.values().chain(self.contractions.values());
        entries.map(|entry| entry.trials.len()).sum()
    }
}

fn chosen<C: FromStr<Err = String>>(
    entries: &BTreeMap<String, Entry>,
) -> Result<BTreeMap<String, C>, TableError> {
    let read = |(key, entry): (&String, &Entry)| {
        let fail = |reason: String| TableError::Entry {
            key: key.clone(),
            what: entry.what.clone(),
            reason,
        };
        if let Some(flaw) = entry.flaw() {
            return Err(fail(flaw));
        }
        let choice = entry.chosen.parse().map_err(fail)?;
        Ok((key.clone(), choice))
    };
    entries.iter().map(read).collect()
}
