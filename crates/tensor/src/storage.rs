//! Shared immutable bytes behind a tensor: owned and aligned, or a slice of something mapped.

use std::ops::Range;
use std::sync::Arc;

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
    Foreign {
        owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
        range: Range<usize>,
    },
}

impl Storage {
    /// `len` zero bytes, aligned to 64.
    pub fn zeroed(len: usize) -> Storage {
        // Pages that nobody has touched are zero already.
        let lines = bytemuck::zeroed_vec::<Line>(len.div_ceil(64));
        Storage(Repr::Owned {
            lines: Arc::new(lines),
            len,
        })
    }

    /// A copy of `bytes`, aligned to 64.
    pub fn copy_from(bytes: &[u8]) -> Storage {
        let mut storage = Storage::zeroed(bytes.len());
        storage.to_mut().copy_from_slice(bytes);
        storage
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
            // The range was checked when the storage was made.
            Repr::Foreign { owner, range } => &(**owner).as_ref()[range.clone()],
        }
    }

    /// The bytes for writing; copies first if they are shared or foreign.
    pub fn to_mut(&mut self) -> &mut [u8] {
        if matches!(self.0, Repr::Foreign { .. }) {
            *self = Storage::copy_from(self.bytes());
        }
        match &mut self.0 {
            Repr::Owned { lines, len } => {
                let len = *len;
                &mut bytemuck::cast_slice_mut(Arc::make_mut(lines).as_mut_slice())[..len]
            }
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
