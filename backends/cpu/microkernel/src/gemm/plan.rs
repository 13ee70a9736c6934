//! From descriptor to plan: checks, extents of the operands, blocking, tasks, scratch.
//!
//! K is cut the same way whatever the thread count, and which summation order an element sees
//! depends on the descriptor alone: results do not depend on how tasks are spread.

use crate::{
    error::KernelError,
    gemm::{
        kernel::{TileFn, family},
        spec::{ARows, CStore, GemmSpec, Init, Products, Stored, Window},
        split::{Lines, STRIP, TileSizes, rows_in_place, strips_max},
    },
    layout::PackedLayout,
    offsets::{Offsets, span},
};

/// Elements along K (all taps together) that one pass over a block covers.
const K_BLOCK: usize = 512;
/// Rows to a block at most: with `K_BLOCK` columns of A they take a quarter of a 1 MiB cache.
pub(crate) const M_BLOCK: usize = 128;
/// Bytes of packed B that are swept for each tile of A before the next.
const B_GROUP_BYTES: usize = 64 << 10;
/// Panels that are swept for one tile of A, at most.
pub(crate) const GROUP_MAX: usize = 8;
/// Zeros that a window row outside of the image points to; deeper K takes packed A.
pub(super) const ZERO_ROW: usize = 2048;
/// Cycles that a tile of C costs more where columns are divided between cores: its lines are those
/// that another core wrote last, now and when C is read. See `split::AWAY_RATE`.
const AWAY: usize = 350;
/// Bytes of packed B that stay in the second-level cache from one block of rows to the next.
const NEAR_B_BYTES: usize = 1 << 20;
/// Bytes of packed B from behind it that a core gets in a cycle, while others get theirs.
const FAR_RATE: usize = 4;
/// Of a task, what others wait for at the end, as its inverse.
const TAIL: usize = 16;
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

#[derive(Clone, Debug)]
pub(crate) struct Needed {
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) c: usize,
    pub(crate) bias: usize,
}

/// How a product is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocks {
    /// Register tiles along M, of nearly equal height.
    pub(crate) m_tiles: usize,
    /// Blocks along M (of whole tiles) and along N (of whole panels); their product is the task
    /// count of one batch entry.
    pub(crate) m_blocks: usize,
    pub(crate) n_blocks: usize,
    /// Panels swept for one tile of A.
    pub(crate) group: usize,
    /// Taps and K of one K block; one of them is whole.
    pub(crate) taps: usize,
    pub(crate) k: usize,
}

/// What decides how a product is cut.
pub(crate) struct Sizes {
    pub(crate) m: usize,
    pub(crate) k: usize,
    pub(crate) taps: usize,
    pub(crate) panels: usize,
    pub(crate) batch: usize,
    /// Rows of the register tile.
    pub(crate) mr: usize,
    /// Bytes of packed B for one K of one panel.
    pub(crate) row_bytes: usize,
    /// Most K (over all taps of a block) to a block.
    pub(crate) k_block: usize,
    /// Most rows and panels to a block.
    pub(crate) rows_max: usize,
    pub(crate) panels_max: usize,
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

impl Blocks {
    pub(crate) fn choose(s: &Sizes, threads: usize) -> Self {
        let m_tiles = s.m.div_ceil(s.mr).max(1);
        let panels = s.panels.max(1);
        let (tap_block, k_block) = k_blocks(s.taps.max(1), s.k.max(1), s.k_block);
        let panel_bytes = tap_block * k_block * s.row_bytes;
        let group = (B_GROUP_BYTES / panel_bytes).clamp(1, GROUP_MAX);
        let batch = s.batch.max(1);
        let m_least = s.m.div_ceil(s.rows_max.max(1)).clamp(1, m_tiles);
        let n_least = panels.div_ceil(s.panels_max);
        // In cycles: a register tile takes one for each row and K, about; panels that are in no
        // near cache are brought for each block of rows, while that is multiplied.
        let depth = s.taps.max(1) * s.k.max(1);
        let tile = depth.saturating_mul(s.mr);
        let panel_bytes = depth.saturating_mul(s.row_bytes);
        let far = match panels.saturating_mul(panel_bytes) > NEAR_B_BYTES {
            true => panel_bytes / FAR_RATE,
            false => 0,
        };
        let mut best = (usize::MAX, m_least, n_least);
        for n_blocks in n_least..=(n_least - 1 + 4 * threads).min(panels) {
            for m_blocks in m_least..=(m_least + 4 * threads).min(m_tiles) {
                // A price for each task, whose first panel nobody has fetched, and for sweeping A
                // once more per block of columns.
                let (rows, panels) = (m_tiles.div_ceil(m_blocks), panels.div_ceil(n_blocks));
                let each = rows.saturating_mul(tile).max(far);
                let mut task = panels.saturating_mul(each).saturating_add(tile / 8 + far);
                if n_blocks > 1 && threads > 1 {
                    task = task.saturating_add(rows * panels * AWAY);
                }
                let again = ((n_blocks - 1) * m_tiles).saturating_mul(tile / 256);
                let tasks = batch * m_blocks * n_blocks;
                let cost = in_turns(task, tasks, threads, TAIL).saturating_add(again);
                if cost < best.0 {
                    best = (cost, m_blocks, n_blocks);
                }
            }
        }
        Self {
            m_tiles,
            m_blocks: best.1,
            n_blocks: best.2,
            group,
            taps: tap_block,
            k: k_block,
        }
    }

    /// Rows in the tallest block of rows.
    pub(crate) fn rows_max(&self, m: usize) -> usize {
        self.m_tiles.div_ceil(self.m_blocks) * m.div_ceil(self.m_tiles).max(1)
    }
}

/// What tasks of this cost take on so many threads. Cores of a shared machine are not equally fast:
/// at the end some wait for a part of a task, one in `tail`, shorter ones for less.
pub(crate) fn in_turns(task: usize, tasks: usize, threads: usize, tail: usize) -> usize {
    let all = task.saturating_mul(tasks.div_ceil(threads.max(1)));
    match threads {
        1 => all,
        _ => all.saturating_add(task / tail),
    }
}

/// Nearly equal parts of `most` or less: whole taps if K is short, else parts of one tap that are
/// multiples of four.
fn k_blocks(taps: usize, k: usize, most: usize) -> (usize, usize) {
    if k >= most {
        (1, k.div_ceil(k.div_ceil(most)).next_multiple_of(4))
    } else {
        let most = (most / k).clamp(1, taps);
        (taps.div_ceil(taps.div_ceil(most)), k)
    }
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

/// Checks what all kinds of products share.
pub(crate) fn check(spec: &GemmSpec) -> Result<(), KernelError> {
    let fail = |what, detail: String| Err(KernelError::spec(what, detail));
    if spec.c_store == CStore::ByHook && spec.init == Init::Accumulate {
        return fail(
            "c_store",
            "a tile stored by the hook cannot accumulate into c".into(),
        );
    }
    if spec.init == Init::Accumulate && spec.residual && spec.c_store != CStore::Rows {
        return fail(
            "c_store",
            "strided accumulation leaves no room for a residual".into(),
        );
    }
    if spec.a_stored == Stored::Bf16 && spec.products != Products::One {
        return fail("a_stored", "bf16 is multiplied as bf16 only".into());
    }
    if spec.c_store == CStore::Bf16 && spec.init == Init::Accumulate {
        return fail("c_store", "bf16 is not accumulated onto".into());
    }
    let is_apart = matches!(spec.c_store, CStore::Strided(_));
    let is_c = spec.init == Init::Accumulate && spec.c_store != CStore::Rows;
    if spec.residual_stored == Stored::Bf16 && (is_apart || is_c) {
        return fail("residual_stored", "bf16 is not strided".into());
    }
    check_rows(&spec.a_rows, spec.m)?;
    let batch = &spec.batch;
    let maps = [
        ("c_rows", &spec.c_rows, spec.m),
        ("batch a", &batch.a, batch.count),
        ("batch b", &batch.b, batch.count),
        ("batch c", &batch.c, batch.count),
        ("batch bias", &batch.bias, batch.count),
    ];
    for (what, map, count) in maps {
        if !map.covers(count) {
            return fail(what, format!("the offsets do not cover {count} entries"));
        }
    }
    Ok(())
}

/// Checks that `a_rows` describes `m` rows.
fn check_rows(a_rows: &ARows, m: usize) -> Result<(), KernelError> {
    match a_rows {
        ARows::Window(window) => check_window(window, m),
        ARows::Affine { rows, .. } if !rows.covers(m) => Err(KernelError::spec(
            "a_rows",
            format!("the offsets do not cover {m} rows"),
        )),
        ARows::Affine { .. } => Ok(()),
    }
}

pub(crate) fn check_window(w: &Window, m: usize) -> Result<(), KernelError> {
    let rows = w
        .images
        .checked_mul(w.out[0])
        .and_then(|r| r.checked_mul(w.out[1]));
    if rows != Some(m) {
        let detail = format!(
            "{} x {} x {} positions, but m is {m}",
            w.images, w.out[0], w.out[1]
        );
        return Err(KernelError::spec("window", detail));
    }
    let sizes = [w.input, w.out, w.kernel, w.stride, w.dilation, w.pad];
    if sizes.iter().flatten().any(|&size| size > i32::MAX as usize) {
        return Err(KernelError::spec("window", "a size exceeds 31 bits"));
    }
    if w.kernel.contains(&0) || w.stride.contains(&0) || w.dilation.contains(&0) {
        return Err(KernelError::spec(
            "window",
            "kernel, stride and dilation must be positive",
        ));
    }
    Ok(())
}

/// Checks that no operand is reached below its start, and returns how far each is reached.
pub(crate) fn extents(spec: &GemmSpec, b_len: usize) -> Result<Needed, KernelError> {
    let none = Needed {
        a: 0,
        b: 0,
        c: 0,
        bias: 0,
    };
    if spec.m == 0 || spec.n == 0 || spec.batch.count == 0 {
        return Ok(none);
    }
    let count = spec.batch.count;
    let depth = span(&[(spec.k.max(1) - 1, spec.a_k_stride)]);
    let a = match &spec.a_rows {
        _ if spec.k == 0 || spec.taps() == 0 => 0,
        ARows::Affine { rows, taps } => {
            let taps = Offsets::Table(taps.clone()).extent(taps.len());
            reach(
                "a",
                &[rows.extent(spec.m), taps, depth, spec.batch.a.extent(count)],
            )?
        }
        ARows::Window(w) if w.input.contains(&0) => 0,
        ARows::Window(w) => {
            let last = [w.images - 1, w.input[0] - 1, w.input[1] - 1];
            let image = span(&[
                (last[0], w.strides[0]),
                (last[1], w.strides[1]),
                (last[2], w.strides[2]),
            ]);
            reach("a", &[image, depth, spec.batch.a.extent(count)])?
        }
    };
    let b = match b_len.checked_sub(1) {
        Some(last) => reach("b", &[span(&[(last, 1)]), spec.batch.b.extent(count)])?,
        None => 0,
    };
    let columns = match spec.c_store {
        CStore::Rows | CStore::Bf16 | CStore::ByHook => span(&[(spec.n - 1, 1)]),
        CStore::Strided(stride) => span(&[(spec.n - 1, stride)]),
    };
    let c = reach(
        "c",
        &[
            spec.c_rows.extent(spec.m),
            columns,
            spec.batch.c.extent(count),
        ],
    )?;
    let bias_last = match spec.bias {
        crate::gemm::Bias::None => return Ok(Needed { a, b, c, bias: 0 }),
        crate::gemm::Bias::PerN => spec.n - 1,
        crate::gemm::Bias::PerM => spec.m - 1,
    };
    let bias = reach(
        "bias",
        &[span(&[(bias_last, 1)]), spec.batch.bias.extent(count)],
    )?;
    Ok(Needed { a, b, c, bias })
}

/// One more than the highest offset of a sum of ranges; the lowest must not be negative.
pub(crate) fn reach(
    operand: &'static str,
    ranges: &[Option<(isize, isize)>],
) -> Result<usize, KernelError> {
    let (mut low, mut high) = (0isize, 0isize);
    for range in ranges {
        let sums = range.and_then(|(l, h)| Some((low.checked_add(l)?, high.checked_add(h)?)));
        (low, high) = sums.ok_or_else(|| KernelError::spec(operand, "offsets overflow"))?;
    }
    if low < 0 {
        return Err(KernelError::Negative {
            operand,
            offset: low,
        });
    }
    Ok(high as usize + 1)
}
