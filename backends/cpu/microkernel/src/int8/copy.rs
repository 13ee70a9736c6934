//! Copies rows of A to the order in which tiles are loaded, `[step][2][row][64]`, zeros where there
//! is no K, signed bytes made unsigned by their top bit.

use std::ptr;

use super::{
    plan::{ByteSign, IntGemm},
    run::{IntGemmOperands, Scratch},
    tiles::{GROUPS, KBlock},
};
use crate::amx::{SIDE, TILE_LINE};

/// Bytes of one row that lie next to each other and go to one line.
struct Piece {
    /// A row of one tap, and its first byte.
    tap: usize,
    first: usize,
    bytes: usize,
    /// Where they go.
    step: usize,
    at: usize,
}

impl IntGemm {
    /// Copies up to sixteen rows, those from row `local` of the block on.
    ///
    /// # Safety
    /// The starts of the tile are filled, and the scratch has room.
    pub(super) unsafe fn copy_tile(
        &self,
        o: &IntGemmOperands,
        scratch: &Scratch,
        local: usize,
        rows: usize,
        part: KBlock,
    ) {
        let k = self.spec.k;
        // SAFETY: the caller's.
        unsafe {
            if self.spec.a_k_stride != 1 {
                self.copy_apart(scratch, local, rows, part);
            } else if k <= 4 {
                #[cfg(target_arch = "x86_64")]
                if let Some(runs) = &self.runs {
                    return self.copy_runs(o, scratch, [local, rows], part, runs);
                }
                self.copy_words(o, scratch, local, rows, part);
            } else {
                #[cfg(target_arch = "x86_64")]
                if self.has_wide_bytes() {
                    return self.copy_wide(scratch, local, rows, part);
                }
                self.copy_pieces(scratch, local, rows, part);
            }
        }
    }

    /// Where a line of a row is.
    pub(super) fn line(
        &self,
        scratch: &Scratch,
        local: usize,
        part: KBlock,
        step: usize,
        r: usize,
    ) -> *mut u8 {
        let strip = local / SIDE * SIDE;
        let at = strip * part.steps + step * SIDE + (local - strip) + r;
        scratch.pack.wrapping_add(at * TILE_LINE)
    }

    /// The start of a row of a tap.
    ///
    /// # Safety
    /// It is filled.
    pub(super) unsafe fn start(
        &self,
        scratch: &Scratch,
        [local, rows]: [usize; 2],
        tap: usize,
        r: usize,
    ) -> *const u8 {
        // SAFETY: the caller's.
        unsafe {
            let at = local * self.taps + tap * rows + r;
            scratch.pointers.add(at).read()
        }
    }

    pub(super) fn flip(&self) -> u8 {
        match self.sign {
            ByteSign::Unsigned => 0,
            ByteSign::Signed => 0x80,
        }
    }

    /// The pieces of a block of K in order; they fill every line but the end of the last.
    fn pieces(&self, part: KBlock) -> impl Iterator<Item = Piece> + use<> {
        let (k, taps) = (self.spec.k, self.taps);
        let of_tap = k.div_ceil(4);
        let group = part.first_step * GROUPS;
        let (mut tap, mut group) = (group / of_tap.max(1), group % of_tap.max(1));
        let mut at = 0;
        std::iter::from_fn(move || {
            if at >= part.steps * GROUPS || tap >= taps || of_tap == 0 {
                return None;
            }
            let here = (of_tap - group).min(GROUPS - at % GROUPS);
            let first = 4 * group;
            let piece = Piece {
                tap,
                first,
                bytes: (k - first).min(4 * here),
                step: at / GROUPS,
                at: at % GROUPS * 4,
            };
            at += here;
            group += here;
            if group == of_tap {
                (tap, group) = (tap + 1, 0);
            }
            Some(piece)
        })
    }

    /// Zeros in the lines that K does not fill.
    ///
    /// # Safety
    /// As [`IntGemm::copy_tile`].
    unsafe fn clear_last(&self, scratch: &Scratch, local: usize, rows: usize, part: KBlock) {
        let groups = self.taps * self.spec.k.div_ceil(4);
        let filled = (groups - part.first_step * GROUPS).min(part.steps * GROUPS) / GROUPS;
        for step in filled..part.steps {
            for r in 0..rows {
                let line = self.line(scratch, local, part, step, r);
                // SAFETY: the caller's.
                unsafe { ptr::write_bytes(line, 0, TILE_LINE) };
            }
        }
    }

    /// Rows whose bytes are next to each other, a vector for each piece of a line.
    ///
    /// # Safety
    /// As [`IntGemm::copy_tile`]; the family is there.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn copy_wide(&self, scratch: &Scratch, local: usize, rows: usize, part: KBlock) {
        use std::arch::x86_64::{
            _mm512_mask_storeu_epi8, _mm512_maskz_loadu_epi8, _mm512_maskz_mov_epi8,
            _mm512_set1_epi8, _mm512_xor_si512,
        };
        let flip = _mm512_set1_epi8(self.flip() as i8);
        let low = |bytes: usize| u64::MAX >> (64 - bytes.clamp(1, 64));
        // SAFETY: valid rows, and that of zero points, reach `k`; masks end there.
        unsafe {
            self.clear_last(scratch, local, rows, part);
            for piece in self.pieces(part) {
                let (there, stored) = (low(piece.bytes), low(piece.bytes.next_multiple_of(4)));
                let flip = _mm512_maskz_mov_epi8(there, flip);
                for r in 0..rows {
                    let from = self.start(scratch, [local, rows], piece.tap, r);
                    let line = self.line(scratch, local, part, piece.step, r);
                    let bytes = _mm512_maskz_loadu_epi8(there, from.add(piece.first).cast());
                    let bytes = _mm512_xor_si512(bytes, flip);
                    _mm512_mask_storeu_epi8(line.add(piece.at).cast(), stored, bytes);
                }
            }
        }
    }

    /// Rows whose bytes are next to each other.
    ///
    /// # Safety
    /// As [`IntGemm::copy_tile`].
    unsafe fn copy_pieces(&self, scratch: &Scratch, local: usize, rows: usize, part: KBlock) {
        let flip = self.flip();
        // SAFETY: valid rows, and that of zero points, reach `k`; the lines have room.
        unsafe {
            self.clear_last(scratch, local, rows, part);
            for piece in self.pieces(part) {
                for r in 0..rows {
                    let from = self.start(scratch, [local, rows], piece.tap, r);
                    let line = self.line(scratch, local, part, piece.step, r);
                    for i in 0..piece.bytes.next_multiple_of(4) {
                        let byte = match i < piece.bytes {
                            true => from.add(piece.first + i).read() ^ flip,
                            false => 0,
                        };
                        line.add(piece.at + i).write(byte);
                    }
                }
            }
        }
    }

    /// Whether the family has vectors of 64 bytes and masks for them.
    #[cfg(target_arch = "x86_64")]
    fn has_wide_bytes(&self) -> bool {
        use crate::isa::Isa;
        matches!(self.spec.isa, Isa::Avx512 | Isa::Amx)
    }

    /// The at most four bytes of a tap, zeros behind them.
    ///
    /// # Safety
    /// Valid rows, and that of zero points, reach `k`.
    #[inline(always)]
    unsafe fn word(&self, o: &IntGemmOperands, scratch: &Scratch, from: *const u8) -> u32 {
        let k = self.spec.k;
        let there = match k {
            0 => 0,
            _ => u32::MAX >> (32 - 8 * k),
        };
        // A word that begins here ends within A; those of the row of zero points do anyway.
        let last = o.a.0.wrapping_add(o.a.1).wrapping_sub(4);
        let is_whole = ptr::eq(from, scratch.outside) || o.a.1 >= 4 && from <= last;
        // SAFETY: the caller's.
        let word = unsafe {
            if is_whole {
                u32::from_le(from.cast::<u32>().read_unaligned()) & there
            } else {
                let mut bytes = [0u8; 4];
                ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), k);
                u32::from_le_bytes(bytes)
            }
        };
        word ^ u32::from_le_bytes([self.flip(); 4]) & there
    }

    /// Rows of at most four bytes for each tap: images of few channels.
    ///
    /// # Safety
    /// As [`IntGemm::copy_tile`].
    unsafe fn copy_words(
        &self,
        o: &IntGemmOperands,
        scratch: &Scratch,
        local: usize,
        rows: usize,
        part: KBlock,
    ) {
        // SAFETY: valid rows, and that of zero points, reach `k`; the lines have room.
        unsafe {
            self.clear_last(scratch, local, rows, part);
            for (i, tap) in (part.first_step * GROUPS..self.taps)
                .take(part.steps * GROUPS)
                .enumerate()
            {
                let line = self.line(scratch, local, part, i / GROUPS, 0);
                let line = line.add(i % GROUPS * 4);
                for r in 0..rows {
                    let from = self.start(scratch, [local, rows], tap, r);
                    let word = self.word(o, scratch, from).to_le();
                    line.add(r * TILE_LINE).cast::<u32>().write_unaligned(word);
                }
            }
        }
    }

    /// Rows whose bytes are apart.
    ///
    /// # Safety
    /// As [`IntGemm::copy_tile`].
    unsafe fn copy_apart(&self, scratch: &Scratch, local: usize, rows: usize, part: KBlock) {
        let flip = self.flip();
        // SAFETY: valid rows reach `k` within the checked extent of A; the lines have room.
        unsafe {
            self.clear_last(scratch, local, rows, part);
            for piece in self.pieces(part) {
                for r in 0..rows {
                    let from = self.start(scratch, [local, rows], piece.tap, r);
                    let line = self.line(scratch, local, part, piece.step, r);
                    let stride = match ptr::eq(from, scratch.outside) {
                        true => 0,
                        false => self.spec.a_k_stride,
                    };
                    for i in 0..piece.bytes.next_multiple_of(4) {
                        let byte = match i < piece.bytes {
                            true => from.offset((piece.first + i) as isize * stride).read() ^ flip,
                            false => 0,
                        };
                        line.add(piece.at + i).write(byte);
                    }
                }
            }
        }
    }
}
