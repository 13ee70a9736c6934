//! Shared memory of one block, with a race detector.
//!
//! Each warp has a vector clock: its own entry counts the barriers it has passed, the others tell
//! up to which of their barriers it is ordered after them. A barrier joins the clocks of the warps
//! that meet. Each cell remembers its last write, and two reads and two atomics by different
//! warps; an access that is not ordered after a conflicting one of another warp is a race.
//!
//! A cell covers as many bytes as the smallest access of the kernel, so that neighbours that two
//! warps may touch never share one. Races within a warp are not looked for.

use crate::bytes::Bytes;

/// Most warps in a block.
pub(crate) const WARPS_MAX: usize = 32;

/// Who touched a byte: clock of the warp, warp, instruction. Zero: nobody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tag(u64);

impl Tag {
    fn new(clock: u32, access: Access) -> Self {
        let low = access.warp << 26 | (access.at & 0x3ff_ffff);
        Self(u64::from(clock) << 32 | u64::from(low))
    }

    fn clock(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn warp(self) -> u32 {
        (self.0 >> 26) as u32 & 31
    }

    fn at(self) -> u32 {
        self.0 as u32 & 0x3ff_ffff
    }

    /// Whether this is another warp's access that `access`, at `clock`, is not ordered after.
    fn races(self, access: Access, clock: &[u32; WARPS_MAX]) -> bool {
        self.0 != 0 && self.warp() != access.warp && self.clock() > clock[self.warp() as usize]
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    write: Tag,
    reads: [Tag; 2],
    atomics: [Tag; 2],
    /// The copy that is filling this byte.
    pending: Tag,
}

/// An access to check.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    pub(crate) warp: u32,
    /// Index of the instruction.
    pub(crate) at: u32,
}

/// How an access touches its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    Read,
    Write,
    Atomic,
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
    /// Bytes of a cell; a power of two that divides the size of every access.
    granule: usize,
    clocks: Vec<[u32; WARPS_MAX]>,
}

impl Shared {
    pub(crate) fn new(size: usize, warps: usize, granule: usize) -> Self {
        let mut clocks = vec![[0; WARPS_MAX]; warps];
        for (warp, clock) in clocks.iter_mut().enumerate() {
            clock[warp] = 1;
        }
        Self {
            bytes: Bytes::poisoned(size),
            cells: vec![Cell::default(); size.div_ceil(granule)],
            granule,
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

    /// Checks an access against what others did to the bytes, and records it.
    ///
    /// An atomic counts as one access; it conflicts with plain reads and writes only.
    pub(crate) fn note(
        &mut self,
        at: usize,
        size: usize,
        access: Access,
        kind: Touch,
    ) -> Result<(), Conflict> {
        let clock = self.clocks[access.warp as usize];
        let tag = Tag::new(clock[access.warp as usize], access);
        for index in at / self.granule..(at + size) / self.granule {
            let (cell, byte) = (&mut self.cells[index], index * self.granule);
            if cell.pending.0 != 0 {
                return Err(conflict(byte, None, cell.pending));
            }
            if cell.write.races(access, &clock) {
                let what = match kind {
                    Touch::Read => "read after write",
                    Touch::Write => "write after write",
                    Touch::Atomic => "atomic after write",
                };
                return Err(conflict(byte, Some(what), cell.write));
            }
            if kind != Touch::Read
                && let Some(read) = cell.reads.iter().find(|tag| tag.races(access, &clock))
            {
                return Err(conflict(byte, Some("write after read"), *read));
            }
            if kind != Touch::Atomic
                && let Some(atomic) = cell.atomics.iter().find(|tag| tag.races(access, &clock))
            {
                return Err(conflict(byte, Some("plain access after atomic"), *atomic));
            }
            match kind {
                Touch::Read => remember(&mut cell.reads, tag, access, &clock),
                Touch::Write => cell.write = tag,
                Touch::Atomic => remember(&mut cell.atomics, tag, access, &clock),
            }
        }
        Ok(())
    }

    /// Records that an asynchronous copy is filling the bytes.
    pub(crate) fn begin_copy(&mut self, at: usize, size: usize, access: Access) {
        let tag = Tag::new(
            self.clocks[access.warp as usize][access.warp as usize],
            access,
        );
        for cell in &mut self.cells[at / self.granule..(at + size) / self.granule] {
            cell.pending = tag;
        }
    }

    /// Records that the copy is complete for the warp that waited.
    pub(crate) fn end_copy(&mut self, at: usize, size: usize, access: Access) {
        let tag = Tag::new(
            self.clocks[access.warp as usize][access.warp as usize],
            access,
        );
        for cell in &mut self.cells[at / self.granule..(at + size) / self.granule] {
            cell.pending = Tag::default();
            cell.write = tag;
        }
    }
}

/// Keeps the accesses of two different warps: whoever comes later differs from one of them.
fn remember(slots: &mut [Tag; 2], tag: Tag, access: Access, clock: &[u32; WARPS_MAX]) {
    let first = slots[0];
    let is_concurrent = first.races(access, clock);
    slots[usize::from(is_concurrent)] = tag;
}

fn conflict(byte: usize, kind: Option<&'static str>, tag: Tag) -> Conflict {
    Conflict {
        byte,
        kind,
        other_warp: tag.warp(),
        other_at: tag.at(),
    }
}
