//! Where the bytes of an artifact lie, and for how long.

use std::io;
use std::ops::Deref;

use memmap2::{Mmap, MmapMut};

use crate::layout::PAGE_BYTES;

/// The bytes of a whole artifact, at a multiple of [`PAGE_BYTES`].
#[derive(Debug)]
pub(crate) enum Backing {
    /// A mapped file, or anonymous memory that holds a copy.
    Mapped(Mmap),
    /// Bytes that are part of the program.
    Static(&'static [u8]),
    /// No bytes at all, which cannot be mapped.
    Empty,
}

impl Backing {
    /// Borrows `bytes` where they lie, if they are aligned as sections need, and copies otherwise.
    pub(crate) fn from_static(bytes: &'static [u8]) -> io::Result<Backing> {
        if bytes.as_ptr().addr().is_multiple_of(PAGE_BYTES) {
            return Ok(Backing::Static(bytes));
        }
        Backing::copy(bytes)
    }

    /// Copies `bytes` into memory of their size.
    pub(crate) fn copy(bytes: &[u8]) -> io::Result<Backing> {
        if bytes.is_empty() {
            return Ok(Backing::Empty);
        }
        let mut memory = MmapMut::map_anon(bytes.len())?;
        memory.copy_from_slice(bytes);
        Ok(Backing::Mapped(memory.make_read_only()?))
    }
}

impl Deref for Backing {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Backing::Mapped(mapping) => mapping,
            Backing::Static(bytes) => bytes,
            Backing::Empty => &[],
        }
    }
}
