//! Shared memory of one block, with a race detector.
//!
//! Each warp has a vector clock: its own entry counts the barriers it has passed, the others tell
//! up to which of their barriers it is ordered after them. A barrier joins the clocks of the warps
//! that meet. Each byte remembers its last write and two reads by different warps; an access that
//! is not ordered after a conflicting one of another warp is a race.

use crate::bytes::Bytes;

/// Most warps in a block.
pub(crate) const WARPS_MAX: usize = 32;

/// Who touched a byte: clock of the warp, whether atomically, warp, program counter. Zero: nobody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tag(u64);

impl Tag {
    fn new(clock: u32, access: Access) -> Self {
        let low = u32::from(access.atomic) << 31 | access.warp << 26 | (access.at & 0x3ff_ffff);
        Self(u64::from(clock) << 32 | u64::from(low))
    }

    fn clock(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn atomic(self) -> bool {
        self.0 >> 31 & 1 == 1
    }

    fn warp(self) -> u32 {
        (self.0 >> 26) as u32 & 31
    }

    fn at(self) -> u32 {
        self.0 as u32 & 0x3ff_ffff
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    write: Tag,
    reads: [Tag; 2],
    /// The copy that is filling this byte.
    pending: Tag,
}

/// An access to check.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    pub(crate) warp: u32,
    /// Index of the instruction.
    pub(crate) at: u32,
    pub(crate) atomic: bool,
}

/// A conflict: the byte, the kind, and the warp and instruction that came first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conflict {
    pub(crate) byte: usize,
    /// `None`: the byte is being filled by an asynchronous copy.
    pub(crate) kind: Option<&'static str>,
    pub(crate) other_warp: u32,
    pub(crate) other_at: u32,
}

/// Shared memory and its shadow.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) bytes: Bytes,
    cells: Vec<Cell>,
    clocks: Vec<[u32; WARPS_MAX]>,
}

impl Shared {
    pub(crate) fn new(size: usize, warps: usize) -> Self {
        let mut clocks = vec![[0; WARPS_MAX]; warps];
        for (warp, clock) in clocks.iter_mut().enumerate() {
            clock[warp] = 1;
        }
        Self {
            bytes: Bytes::poisoned(size),
            cells: vec![Cell::default(); size],
            clocks,
        }
    }

    /// Forgets everything for the next block.
    pub(crate) fn reset(&mut self) {
        self.bytes.poison();
        self.cells.fill(Cell::default());
    }

    /// Orders everything before for the warps in `members` against everything after.
    pub(crate) fn join(&mut self, members: u32) {
        let mut merged = [0; WARPS_MAX];
        let is_member = |warp: usize| members >> warp & 1 == 1;
        for (_, clock) in self
            .clocks
            .iter()
            .enumerate()
            .filter(|(warp, _)| is_member(*warp))
        {
            for (into, from) in merged.iter_mut().zip(clock) {
                *into = (*into).max(*from);
            }
        }
        for (warp, clock) in self
            .clocks
            .iter_mut()
            .enumerate()
            .filter(|(w, _)| is_member(*w))
        {
            *clock = merged;
            clock[warp] += 1;
        }
    }

    /// The conflict between an access and an earlier one, if they are not ordered.
    fn conflict(&self, tag: Tag, access: Access) -> bool {
        tag.0 != 0
            && tag.warp() != access.warp
            && tag.clock() > self.clocks[access.warp as usize][tag.warp() as usize]
            && !(tag.atomic() && access.atomic)
    }

    /// Checks and records a read.
    pub(crate) fn note_read(
        &mut self,
        at: usize,
        size: usize,
        access: Access,
    ) -> Result<(), Conflict> {
        let clock = self.clocks[access.warp as usize];
        let tag = Tag::new(clock[access.warp as usize], access);
        for byte in at..at + size {
            let cell = self.cells[byte];
            if cell.pending.0 != 0 {
                return Err(conflict(byte, None, cell.pending));
            }
            if self.conflict(cell.write, access) {
                return Err(conflict(byte, Some("read after write"), cell.write));
            }
            let first = cell.reads[0];
            let replaces = first.0 == 0
                || first.warp() == access.warp
                || first.clock() <= clock[first.warp() as usize];
            self.cells[byte].reads[usize::from(!replaces)] = tag;
        }
        Ok(())
    }

    /// Checks and records a write.
    pub(crate) fn note_write(
        &mut self,
        at: usize,
        size: usize,
        access: Access,
    ) -> Result<(), Conflict> {
        let tag = Tag::new(
            self.clocks[access.warp as usize][access.warp as usize],
            access,
        );
        for byte in at..at + size {
            let cell = self.cells[byte];
            if cell.pending.0 != 0 {
                return Err(conflict(byte, None, cell.pending));
            }
            if self.conflict(cell.write, access) {
                return Err(conflict(byte, Some("write after write"), cell.write));
            }
            for read in cell.reads {
                if self.conflict(read, access) {
                    return Err(conflict(byte, Some("write after read"), read));
                }
            }
            self.cells[byte].write = tag;
        }
        Ok(())
    }

    /// Records that an asynchronous copy is filling the bytes.
    pub(crate) fn begin_copy(&mut self, at: usize, size: usize, access: Access) {
        let tag = Tag::new(
            self.clocks[access.warp as usize][access.warp as usize],
            access,
        );
        for cell in &mut self.cells[at..at + size] {
            cell.pending = tag;
        }
    }

    /// Records that the copy is complete for the warp that waited.
    pub(crate) fn end_copy(&mut self, at: usize, size: usize, access: Access) {
        let tag = Tag::new(
            self.clocks[access.warp as usize][access.warp as usize],
            access,
        );
        for cell in &mut self.cells[at..at + size] {
            cell.pending = Tag::default();
            cell.write = tag;
        }
    }
}

fn conflict(byte: usize, kind: Option<&'static str>, tag: Tag) -> Conflict {
    Conflict {
        byte,
        kind,
        other_warp: tag.warp(),
        other_at: tag.at(),
    }
}
