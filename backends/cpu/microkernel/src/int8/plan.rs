//! From descriptor to plan, for integer products.

use serde::{Deserialize, Serialize};

#[cfg(target_arch = "x86_64")]
use super::runs::Runs;
use crate::{
    amx::SIDE,
    error::KernelError,
    gemm::{
        ALIGN, ARows, Bias, Blocks, CStore, GemmSpec, Init, M_BLOCK, Needed, Sizes, check, extents,
    },
    int8::{
        kernel::{DeliverFn, TileFn, family},
        strip::StripFn,
        tiles,
    },
    isa::Isa,
    layout::PackedLayout,
};

/// K (over all taps of a block) that one pass over a block covers.
const K_BLOCK: usize = 2048;

/// How the bytes of A are read. Those of B are always signed; unsigned ones become signed by
/// flipping their top bit and lowering their zero point by 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ByteSign {
    /// 0 to 255.
    Unsigned,
    /// -128 to 127.
    Signed,
}

/// A checked and blocked integer product. Immutable; share it between threads.
#[derive(Clone, Debug)]
pub struct IntGemm {
    pub(super) spec: GemmSpec,
    pub(super) sign: ByteSign,
    pub(super) taps: usize,
    pub(super) panels: usize,
    pub(super) blocks: Blocks,
    pub(super) pack_a: bool,
    pub(super) needed: Needed,
    pub(super) kernels: &'static [TileFn],
    /// How B is packed.
    pub(super) layout: PackedLayout,
    /// Whether sums are made by tiles.
    pub(super) by_tiles: bool,
    pub(super) deliver_words: DeliverFn,
    /// Register tiles by vectors, if the family has them.
    pub(super) strip: Option<StripFn>,
    /// How A is copied for tiles if its taps are few bytes.
    #[cfg(target_arch = "x86_64")]
    pub(super) runs: Option<Runs>,
}

impl IntGemm {
    /// Checks `spec` and plans it for `threads` workers (a hint: any worker may run any task).
    /// `spec` is read with elements of A and B being bytes and those of C and bias i32; offsets of
    /// a batch in B are bytes. Of the epilogue it may name a bias for each column.
    ///
    /// # Errors
    /// As [`crate::BatchReduceGemm::new`]; [`KernelError::Spec`] if `spec` names a residual, a
    /// clip, a bias for each row, or a strided C that accumulates.
    pub fn new(spec: GemmSpec, sign: ByteSign, threads: usize) -> Result<Self, KernelError> {
        let by_tiles = Self::is_by_tiles(&spec);
        Self::with_kernels(spec, sign, threads, true, by_tiles)
    }

    /// Whether tiles, or vectors that are used as if they were, serve a product.
    fn is_by_tiles(spec: &GemmSpec) -> bool {
        let depth = spec.taps().saturating_mul(spec.k);
        matches!(spec.isa, Isa::Amx | Isa::Avx512) && tiles::is_worth(spec.m, depth)
    }

    /// As [`IntGemm::new`], by tiles whatever the sizes. A family without tiles, or vectors as long
    /// as theirs, emulates them, and reads B as AVX-512 does. For tests; results are the same.
    ///
    /// # Errors
    /// As [`IntGemm::new`].
    pub fn new_by_tiles(
        spec: GemmSpec,
        sign: ByteSign,
        threads: usize,
    ) -> Result<Self, KernelError> {
        Self::with_kernels(spec, sign, threads, true, true)
    }

    /// As [`IntGemm::new`], without the instructions that multiply bytes directly: what a CPU of
    /// the family that lacks them runs. For tests; results are the same.
    ///
    /// # Errors
    /// As [`IntGemm::new`].
    pub fn new_without_vnni(
        spec: GemmSpec,
        sign: ByteSign,
        threads: usize,
    ) -> Result<Self, KernelError> {
        let by_tiles = Self::is_by_tiles(&spec);
        Self::with_kernels(spec, sign, threads, false, by_tiles)
    }

    fn with_kernels(
        spec: GemmSpec,
        sign: ByteSign,
        threads: usize,
        byte_product: bool,
        by_tiles: bool,
    ) -> Result<Self, KernelError> {
        spec.isa.require()?;
        let packed_for = match by_tiles && spec.isa.tile_i8().1 != SIDE {
            true => Isa::Amx,
            false => spec.isa,
        };
        let layout = PackedLayout::i8(packed_for, spec.taps(), spec.k, spec.n);
        layout.validate()?;
        check(&spec)?;
        let mut spec = spec;
        spec.a_rows.simplify();
        if spec.residual || spec.clip.is_some() || spec.bias == Bias::PerM {
            let detail = "residual, clip and a bias for each row are the hook's";
            return Err(KernelError::spec("integer epilogue", detail));
        }
        if spec.init == Init::Accumulate && spec.c_store != CStore::Rows {
            return Err(KernelError::spec(
                "c_store",
                "an integer product accumulates in rows",
            ));
        }
        let needed = extents(&spec, layout.len())?;
        let family = family(spec.isa, byte_product);
        let kernels = match sign {
            ByteSign::Unsigned => family.unsigned,
            ByteSign::Signed => family.signed,
        };
        let sizes = Sizes {
            m: spec.m,
            k: spec.k,
            taps: spec.taps(),
            panels: layout.panels(),
            batch: spec.batch.count,
            mr: kernels.len(),
            row_bytes: layout.nr,
            k_block: K_BLOCK,
            rows_max: M_BLOCK,
            panels_max: usize::MAX,
        };
        let threads = threads.max(1);
        let blocks = match by_tiles {
            true => {
                let groups = sizes.taps * spec.k.div_ceil(4);
                // What a register tile takes by vectors, beside what it takes by tiles.
                let products = match spec.isa {
                    Isa::Amx => 1,
                    _ => 8,
                };
                Self::choose_tiles(spec.m, groups, sizes.panels, sizes.batch, threads, products)
            }
            false => Blocks::choose(&sizes, threads),
        };
        let pack_a = spec.a_k_stride != 1;
        let (taps, panels) = (sizes.taps, sizes.panels);
        Ok(Self {
            #[cfg(target_arch = "x86_64")]
            runs: by_tiles.then(|| Runs::new(&spec, &blocks)).flatten(),
            spec,
            sign,
            taps,
            panels,
            blocks,
            pack_a,
            needed,
            kernels,
            layout,
            by_tiles,
            deliver_words: family.deliver,
            strip: family.strip,
        })
    }

    /// The descriptor; `a_rows` may be in a simpler form that means the same.
    pub fn spec(&self) -> &GemmSpec {
        &self.spec
    }

    /// The layout that each batch entry of B must be packed in.
    pub fn b_layout(&self) -> PackedLayout {
        self.layout
    }

    /// Independent tasks; they write disjoint parts of C.
    pub fn tasks(&self) -> usize {
        if self.spec.m == 0 || self.spec.n == 0 {
            return 0;
        }
        self.spec.batch.count * self.blocks.m_blocks * self.blocks.n_blocks
    }

    /// Bytes of scratch that one worker needs; no alignment is asked for.
    pub fn scratch_bytes(&self) -> usize {
        let s = self.scratch();
        s.pointers + 2 * s.rows + s.sums + s.pack + s.tile + s.outside + s.words + ALIGN
    }

    /// Multiplications and additions of one run, for reports.
    pub fn operations(&self) -> f64 {
        let s = &self.spec;
        2.0 * s.m as f64 * s.n as f64 * s.k as f64 * self.taps as f64 * s.batch.count as f64
    }

    pub(super) fn tiles_in_scratch(&self) -> bool {
        self.spec.c_store != CStore::Rows
    }

    /// Whether all of taps and K is one block, so that sums are finished as soon as they are made.
    pub(super) fn is_one_part(&self) -> bool {
        let b = &self.blocks;
        match self.by_tiles {
            true => self.taps * self.spec.k.next_multiple_of(4) <= b.k,
            false => b.taps >= self.taps && b.k >= self.spec.k,
        }
    }

    /// Panels out of so many of a block whose sums lie in scratch at a time.
    pub(super) fn panels_in_scratch(&self, panels: usize) -> usize {
        match self.is_one_part() {
            true => panels.min(self.blocks.group),
            false => panels,
        }
    }

    pub(super) fn scratch(&self) -> ScratchBytes {
        let rows = match self.by_tiles {
            true => self.blocks.m_tiles.div_ceil(self.blocks.m_blocks) * SIDE,
            false => self.blocks.rows_max(self.spec.m),
        };
        let round = |bytes: usize| bytes.next_multiple_of(ALIGN);
        let depth = self.blocks.taps * self.blocks.k.min(self.spec.k.max(1)).next_multiple_of(4);
        let panels = self.panels.div_ceil(self.blocks.n_blocks);
        let cols = self.panels_in_scratch(panels) * self.layout.nr;
        let window = matches!(self.spec.a_rows, ARows::Window(_));
        let reach = if self.pack_a { 0 } else { self.spec.k };
        ScratchBytes {
            pointers: round(rows * self.taps * size_of::<*const u8>()),
            rows: round(rows * size_of::<isize>()),
            sums: round(rows * size_of::<i32>()),
            pack: match self.by_tiles {
                true => rows * self.blocks.k,
                false if self.pack_a => round(rows * depth),
                false => 0,
            },
            words: match self.by_tiles {
                true => SIDE * SIDE * 4 + tiles::STEP_BYTES,
                false => 0,
            },
            tile: if self.tiles_in_scratch() {
                round(rows * cols * 4)
            } else {
                0
            },
            outside: if window { round(reach + 1) } else { 0 },
        }
    }
}

/// Sizes of the parts of one worker's scratch, in bytes.
pub(super) struct ScratchBytes {
    /// `[tile][tap][row]` row starts.
    pub(super) pointers: usize,
    /// Offsets of rows in C, and once more for rows in scratch.
    pub(super) rows: usize,
    /// What each row of A contributes through the zero point of B.
    pub(super) sums: usize,
    pub(super) pack: usize,
    pub(super) tile: usize,
    /// A row of zero points, for taps outside of the image.
    pub(super) outside: usize,
    /// Sums of a register tile, and a step of B.
    pub(super) words: usize,
}
