//! Shared immutable bytes behind a tensor: owned and aligned, or a slice of something mapped.

use std::ops::Range;
use std::sync::Arc;

use memmap2::MmapMut;

/// 64 bytes with the alignment that every back end's widest loads want.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Reference-counted bytes. Cloning shares them; [`Storage::to_mut`] copies if shared.
#[derive(Clone)]
pub struct Storage(Repr);

#[derive(Clone)]
enum Repr {
    Owned {
        lines: Arc<Vec<Line>>,
        len: usize,
    },
    /// Of its own, straight from the system.
    Pages {
        pages: Arc<MmapMut>,
    },
    Foreign {
        owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
        range: Range<usize>,
    },
}

/// From how many bytes on memory is asked of the system: it comes as zeros, and only what is
/// touched is there. The allocator fills aligned memory with zeros itself, and keeps pieces below
/// this size, which are faster to fill than new pages are to map.
const PAGES_MIN: usize = 32 << 20;

/// The system has no such memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes of memory could not be allocated")]
pub struct OutOfMemory {
    /// What was asked for.
    pub bytes: usize,
}

impl Storage {
    /// `len` zero bytes, aligned to 64, for what is known to be small.
    ///
    /// # Panics
    /// Without memory. Where the user's data decide the length, see [`Storage::try_zeroed`].
    pub fn zeroed(len: usize) -> Storage {
        Storage::try_zeroed(len).unwrap_or_else(|error| panic!("{error}"))
    }

    /// `len` zero bytes, aligned to 64.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn try_zeroed(len: usize) -> Result<Storage, OutOfMemory> {
        if len >= PAGES_MIN {
            let pages = MmapMut::map_anon(len).map_err(|_| OutOfMemory { bytes: len })?;
            let pages = Arc::new(pages);
            return Ok(Storage(Repr::Pages { pages }));
        }
        let lines = bytemuck::try_zeroed_vec::<Line>(len.div_ceil(64));
        let lines = lines.map_err(|()| OutOfMemory { bytes: len })?;
        Ok(Storage(Repr::Owned {
            lines: Arc::new(lines),
            len,
        }))
    }

    /// A copy of `bytes`, aligned to 64, for what is known to be small.
    ///
    /// # Panics
    /// As [`Storage::zeroed`].
    pub fn copy_from(bytes: &[u8]) -> Storage {
        Storage::try_copy_from(bytes).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A copy of `bytes`, aligned to 64.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn try_copy_from(bytes: &[u8]) -> Result<Storage, OutOfMemory> {
        let mut storage = Storage::try_zeroed(bytes.len())?;
        storage.to_mut().copy_from_slice(bytes);
        Ok(storage)
    }

    /// A range of bytes that something else owns, e.g. a memory-mapped file.
    ///
    /// Returns `None` when the range lies outside the owner's bytes.
    pub fn foreign(
        owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
        range: Range<usize>,
    ) -> Option<Storage> {
        (*owner).as_ref().get(range.clone())?;
        Some(Storage(Repr::Foreign { owner, range }))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Owned { lines, len } => &bytemuck::cast_slice(lines.as_slice())[..*len],
            Repr::Pages { pages } => pages,
            // The range was checked when the storage was made.
            Repr::Foreign { owner, range } => &(**owner).as_ref()[range.clone()],
        }
    }

    /// The storage, if nothing shares its bytes and they are not foreign.
    pub fn into_unshared(mut self) -> Option<Storage> {
        let is_own = match &mut self.0 {
            Repr::Owned { lines, .. } => Arc::get_mut(lines).is_some(),
            Repr::Pages { pages } => Arc::get_mut(pages).is_some(),
            Repr::Foreign { .. } => false,
        };
        is_own.then_some(self)
    }

    /// The bytes for writing; copies first if they are shared or foreign.
    pub fn to_mut(&mut self) -> &mut [u8] {
        let is_own = match &mut self.0 {
            Repr::Owned { .. } => true,
            Repr::Pages { pages } => Arc::get_mut(pages).is_some(),
            Repr::Foreign { .. } => false,
        };
        if !is_own {
            *self = Storage::copy_from(self.bytes());
        }
        match &mut self.0 {
            Repr::Owned { lines, len } => {
                let len = *len;
                &mut bytemuck::cast_slice_mut(Arc::make_mut(lines).as_mut_slice())[..len]
            }
            Repr::Pages { pages } => Arc::get_mut(pages).expect("shared pages were copied above"),
            Repr::Foreign { .. } => unreachable!("foreign bytes were copied above"),
        }
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Storage({} bytes)", self.bytes().len())
    }
}

impl PartialEq for Storage {
    fn eq(&self, other: &Storage) -> bool {
        self.bytes() == other.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_storage_is_zero_shared_and_copied_when_written() {
        let mut storage = Storage::try_zeroed(PAGES_MIN + 3).expect("there is memory");
        assert_eq!(storage.bytes().len(), PAGES_MIN + 3);
        assert_eq!(storage.bytes().as_ptr().align_offset(64), 0);
        assert!(storage.bytes()[PAGES_MIN..].iter().all(|&byte| byte == 0));
        storage.to_mut()[PAGES_MIN + 2] = 7;
        let start = storage.bytes().as_ptr();
        let other = storage.clone();
        assert_eq!(other.bytes().as_ptr(), start);
        storage.to_mut()[PAGES_MIN + 2] = 8;
        assert_ne!(storage.bytes().as_ptr(), start);
        assert_eq!(other.bytes()[PAGES_MIN + 2], 7);
        assert_eq!(storage.bytes()[PAGES_MIN + 2], 8);
    }

    #[test]
    fn what_the_system_does_not_have_is_an_error() {
        let error = Storage::try_zeroed(usize::MAX >> 1).expect_err("no machine has it");
        assert_eq!(error.bytes, usize::MAX >> 1);
    }
}
