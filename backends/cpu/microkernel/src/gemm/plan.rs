//! From descriptor to plan: blocks, tasks, scratch.
//!
//! K is cut the same way whatever the thread count, and which summation order an element sees
//! depends on the descriptor alone: results do not depend on how tasks are spread.

use crate::{
    error::KernelError,
    gemm::{
        blocks::{Blocks, GROUP_MAX, K_BLOCK, M_BLOCK, Sizes},
        check::{Needed, check, extents},
        kernel::{TileFn, family},
        spec::{ARows, CStore, GemmSpec, Products},
        split::{Lines, STRIP, TileSizes, rows_in_place, strips_max},
    },
    layout::PackedLayout,
    offsets::Offsets,
};

/// Zeros that a window row outside of the image points to; deeper K takes packed A.
pub(super) const ZERO_ROW: usize = 2048;
/// Alignment of scratch areas, in bytes.
pub(crate) const ALIGN: usize = 64;

/// Cuts parts off a worker's scratch, one behind the other from its first aligned byte on.
pub(crate) fn cutter(scratch: *mut u8) -> impl FnMut(usize) -> *mut u8 {
    let mut at = scratch.wrapping_add(scratch.align_offset(ALIGN).min(ALIGN));
    move |bytes| {
        let part = at;
        at = at.wrapping_add(bytes);
        part
    }
}

/// A checked and blocked product. Immutable; share it between threads.
#[derive(Clone, Debug)]
pub struct BatchReduceGemm {
    pub(super) spec: GemmSpec,
    pub(super) taps: usize,
    pub(super) panels: usize,
    pub(super) blocks: Blocks,
    pub(super) pack_a: bool,
    /// How a window's pixels are split, if once.
    pub(super) lines: Option<Lines>,
    /// Elements between rows of bf16 that are read where they lie, if they are.
    pub(super) in_place: Option<usize>,
    /// Elements that A, B (packed), C, bias must have.
    pub(super) needed: Needed,
}

impl BatchReduceGemm {
    /// Checks `spec` and plans it for `threads` workers (a hint: any worker may run any task).
    ///
    /// # Errors
    /// [`KernelError`] if the family is not available, an offset map does not cover its axis,
    /// an operand would be reached below its start, or a size overflows.
    pub fn new(mut spec: GemmSpec, threads: usize) -> Result<Self, KernelError> {
        spec.isa.require()?;
        spec.b_layout().validate()?;
        check(&spec)?;
        spec.a_rows.simplify();
        let needed = extents(&spec, spec.b_layout().len())?;
        let kernels = family(spec.isa);
        let taps = spec.taps();
        let panels = spec.b_layout().panels();
        let pack_a = packs_a(&spec, panels);
        let is_streamed = streams(&spec, panels, pack_a).is_some();
        let limit = spec.limit;
        let rows_max = limit.rows.map(|rows| rows as usize);
        let panels_max = match limit.cols {
            Some(cols) => (cols as usize).div_ceil(spec.b_layout().nr).max(1),
            None => usize::MAX,
        };
        let sizes = Sizes {
            m: spec.m,
            k: spec.k,
            taps,
            panels,
            batch: spec.batch.count,
            mr: kernels.mr,
            row_bytes: spec.isa.tile_f32().1 * 4,
            // What streams sums K in parts of its own accord.
            k_block: match is_streamed {
                true => usize::MAX,
                false => K_BLOCK,
            },
            rows_max: rows_max.unwrap_or(M_BLOCK),
            panels_max,
        };
        let threads = threads.max(1);
        let lines = Lines::new(&spec);
        let mut blocks = match spec.products {
            Products::Whole => Blocks::choose(&sizes, threads),
            Products::Six | Products::Three | Products::One => {
                let depth = taps * spec.k;
                let parts = spec.products.parts();
                let of_rows = [STRIP, strips_max(depth, parts)];
                let [strip, strips_max] = lines.map_or(of_rows, |lines| lines.strips());
                // Scratch has room for no more.
                let asked = rows_max.map_or(strips_max, |rows| rows.div_ceil(strip).max(1));
                let sizes = TileSizes {
                    m: spec.m,
                    depth,
                    panels,
                    batch: spec.batch.count,
                    strip,
                    strips_max: asked.min(strips_max),
                    panels_max,
                    parts,
                    products: parts * (parts + 1) / 2,
                    c_bytes: spec.c_store.stored().bytes(),
                };
                Blocks::choose_split(&sizes, threads)
            }
        };
        if is_streamed {
            // There is no next tile for which panels should stay near.
            blocks.group = GROUP_MAX;
        }
        Ok(Self {
            taps,
            panels,
            blocks,
            pack_a,
            in_place: rows_in_place(&spec, panels),
            lines,
            needed,
            spec,
        })
    }

    /// The descriptor; `a_rows` may be in a simpler form that means the same.
    pub fn spec(&self) -> &GemmSpec {
        &self.spec
    }

    /// The layout that each batch entry of B must be packed in.
    pub fn b_layout(&self) -> PackedLayout {
        self.spec.b_layout()
    }

    /// Whether each element of C is stored once, finished. Elsewhere C holds partial sums for a
    /// while, which start from the residual if that is C.
    pub fn stores_once(&self) -> bool {
        let (taps, k) = (self.taps.max(1), self.spec.k.max(1));
        self.spec.c_store == CStore::Bf16
            || self.tiles_in_scratch()
            || (self.blocks.taps, self.blocks.k) == (taps, k)
    }

    /// Independent tasks; they write disjoint parts of C.
    pub fn tasks(&self) -> usize {
        if self.spec.m == 0 || self.spec.n == 0 {
            return 0;
        }
        self.spec.batch.count * self.blocks.m_blocks * self.blocks.n_blocks
    }

    /// Blocks of rows and of columns that each batch entry is cut into.
    pub fn blocks(&self) -> [usize; 2] {
        [self.blocks.m_blocks, self.blocks.n_blocks]
    }

    /// Bytes of scratch that one worker needs; no alignment is asked for.
    pub fn scratch_bytes(&self) -> usize {
        if self.spec.products != Products::Whole {
            return self.split_scratch().total();
        }
        let s = self.scratch();
        s.pointers + s.rows * 2 + s.pack + s.tile + ALIGN
    }

    /// Floating-point operations of one run, for reports.
    pub fn flops(&self) -> f64 {
        let s = &self.spec;
        2.0 * s.m as f64 * s.n as f64 * s.k as f64 * self.taps as f64 * s.batch.count as f64
    }

    /// The kernels for several panels at once, if they serve: the same whatever the tasks.
    pub(super) fn streaming(&self) -> Option<&'static [TileFn; 3]> {
        streams(&self.spec, self.panels, self.pack_a)
    }

    /// Whether tiles are finished in scratch rather than in C.
    pub(super) fn tiles_in_scratch(&self) -> bool {
        match self.spec.c_store {
            CStore::Rows => false,
            CStore::Strided(_) | CStore::ByHook => true,
            // Sums of parts are stored from where the tiles leave them.
            CStore::Bf16 => {
                let is_whole = self.spec.products == Products::Whole;
                is_whole || self.taps * self.spec.k > self.blocks.k
            }
        }
    }

    pub(super) fn scratch(&self) -> ScratchBytes {
        let rows = self.blocks.rows_max(self.spec.m);
        let round = |bytes: usize| bytes.next_multiple_of(ALIGN);
        let block = self.blocks.taps * self.blocks.k.min(self.spec.k.max(1));
        let cols = self.panels.div_ceil(self.blocks.n_blocks) * self.spec.isa.tile_f32().1;
        ScratchBytes {
            pointers: round(rows * self.taps * size_of::<*const f32>()),
            rows: round(rows * size_of::<isize>()),
            pack: if self.pack_a {
                round(rows * block * 4)
            } else {
                0
            },
            tile: if self.tiles_in_scratch() {
                round(rows * cols * 4)
            } else {
                0
            },
        }
    }
}

/// Sizes of the parts of one worker's scratch, in bytes.
pub(super) struct ScratchBytes {
    /// `[tile][tap][row]` row starts.
    pub(super) pointers: usize,
    /// Offsets of rows in C (and once more for rows in scratch).
    pub(super) rows: usize,
    pub(super) pack: usize,
    pub(super) tile: usize,
}

fn streams(spec: &GemmSpec, panels: usize, pack_a: bool) -> Option<&'static [TileFn; 3]> {
    let is_plain = spec.products == Products::Whole && !pack_a;
    family(spec.isa)
        .streaming(spec.m, panels)
        .filter(|_| is_plain)
}

/// Whether blocks of A are copied to tile order first.
fn packs_a(spec: &GemmSpec, panels: usize) -> bool {
    if let ARows::Window(_) = spec.a_rows
        && (spec.a_k_stride != 1 || spec.k > ZERO_ROW)
    {
        return true;
    }
    let conflicts = |stride: isize| stride != 0 && stride % 512 == 0;
    if spec.a_k_stride != 1 {
        return spec.m > 3 && (panels > 2 || conflicts(spec.a_k_stride));
    }
    // Rows a multiple of 2 KiB apart fall into few sets of the first-level cache.
    let row = match &spec.a_rows {
        ARows::Affine {
            rows: Offsets::Uniform(stride),
            ..
        } => *stride,
        ARows::Window(w) if w.kernel == [1, 1] => w.strides[2] * w.stride[1] as isize,
        ARows::Affine { .. } | ARows::Window(_) => 1,
    };
    conflicts(row) && panels > 3 && spec.m > 8 && spec.k > 64
}
