//! The descriptor of an f32 batch-reduce product.

use serde::{Deserialize, Serialize};

use crate::{isa::Isa, layout::PackedLayout, offsets::Offsets};

/// Where the rows of A begin, for each tap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ARows {
    /// Row `m` of tap `t` begins at element `rows.at(m) + taps[t]`.
    Affine {
        /// Offset of each row.
        rows: Offsets,
        /// Offset of each tap; `[0]` for a plain product.
        taps: Vec<isize>,
    },
    /// A sliding window over an image without its padding: rows are output positions
    /// `(image, oh, ow)`, taps are `(kh, kw)`, and a tap that falls outside of the image
    /// contributes nothing. No padded copy is needed.
    Window(Window),
}

impl ARows {
    /// Turns a window that is one tap over a dense image into evenly spaced rows.
    pub(crate) fn simplify(&mut self) {
        let Self::Window(w) = self else { return };
        let single = w.kernel == [1, 1] && w.stride == [1, 1] && w.pad == [0, 0];
        let col = w.strides[2];
        let line = col.checked_mul(w.input[1] as isize);
        let image = line.and_then(|line| line.checked_mul(w.input[0] as isize));
        let dense = line == Some(w.strides[1]) && (w.images == 1 || image == Some(w.strides[0]));
        if single && dense && w.out == w.input {
            *self = Self::Affine {
                rows: Offsets::Uniform(col),
                taps: vec![0],
            };
        }
    }
}

/// The geometry of a 2-D convolution (a 1-D one has `h = kernel_h = 1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Images (the N of `[N, H, W, C]`); M is `images * out[0] * out[1]`.
    pub images: usize,
    /// Height and width of one input image.
    pub input: [usize; 2],
    /// Height and width of one output image.
    pub out: [usize; 2],
    /// Taps in height and width.
    pub kernel: [usize; 2],
    /// Step between output positions.
    pub stride: [usize; 2],
    /// Step between taps.
    pub dilation: [usize; 2],
    /// Padding before the first row and column. What follows the last is implied by `out`.
    pub pad: [usize; 2],
    /// Element strides of image, row and column of the input.
    pub strides: [isize; 3],
}

/// Entries of a batch: heads of an attention, groups of a convolution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// How many products.
    pub count: usize,
    /// Element offset of each entry's A (0 repeats one A).
    pub a: Offsets,
    /// Element offset of each entry's packed B, usually a multiple of [`PackedLayout::len`].
    pub b: Offsets,
    /// Element offset of each entry's C and residual; entries must not overlap.
    pub c: Offsets,
    /// Element offset of each entry's bias.
    pub bias: Offsets,
}

impl Batch {
    /// One product.
    pub fn one() -> Self {
        let zero = Offsets::Uniform(0);
        Self {
            count: 1,
            a: zero.clone(),
            b: zero.clone(),
            c: zero.clone(),
            bias: zero,
        }
    }
}

/// What a tile starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Init {
    /// Zero: C is written, never read.
    Zero,
    /// The value in C: `C += ...`.
    Accumulate,
}

/// The axis along which a bias varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bias {
    /// No bias.
    None,
    /// One value per column: `bias[n]`.
    PerN,
    /// One value per row: `bias[m]`.
    PerM,
}

/// How finished values reach C.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CStore {
    /// Columns are adjacent: element `(m, n)` at `c_rows.at(m) + n`.
    Rows,
    /// As [`CStore::Rows`], rounded to bf16 ([`Stored::Bf16`]). C is not accumulated onto.
    Bf16,
    /// Columns are this many elements apart: element `(m, n)` at `c_rows.at(m) + n * stride`
    /// (channels-first output). Tiles are computed in scratch and transposed on the way out.
    Strided(isize),
    /// The hook stores; C, bias and residual are as in the other forms, but C itself is neither
    /// read nor written (and may be empty). The tile that the hook sees lies in scratch.
    ByHook,
}

impl CStore {
    /// How elements are stored; a hook that stores them sees f32 before.
    pub const fn stored(self) -> Stored {
        match self {
            Self::Bf16 => Stored::Bf16,
            Self::Rows | Self::Strided(_) | Self::ByHook => Stored::F32,
        }
    }
}

/// How two f32 are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Products {
    /// As f32, in a fused multiplication and addition where the family has one.
    Whole,
    /// As six products of three bf16 parts: as exact as f32, for all finite and other values.
    Six,
    /// As three products of two bf16 parts: relative errors of some 1e-5 of each product.
    Three,
    /// As one product of values rounded to bf16. Subnormal numbers count as zeros.
    One,
}

impl Products {
    /// Every form.
    pub const ALL: [Self; 4] = [Self::Whole, Self::Six, Self::Three, Self::One];

    /// bf16 parts of each value; 0 if it stays whole.
    pub const fn parts(self) -> usize {
        match self {
            Self::Whole => 0,
            Self::Six => 3,
            Self::Three => 2,
            Self::One => 1,
        }
    }

    /// A word on it, for people.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Whole => "f32 products",
            Self::Six => "six products of bf16 parts",
            Self::Three => "three products of bf16 parts",
            Self::One => "products of bf16",
        }
    }
}

/// How elements of A, of C or of a residual are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stored {
    /// As f32.
    #[default]
    F32,
    /// As bf16: the upper half of an f32. A value is rounded to the nearest, ties to even, when it
    /// is stored; a subnormal one becomes a zero.
    Bf16,
}

impl Stored {
    /// Bytes of an element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// `C[m, n] (=|+=) sum_t sum_k A[a(m, t) + k * a_k_stride] * B[t][k][n]`, then bias, residual,
/// clip, hook, in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GemmSpec {
    /// The micro-kernel family. B must be packed for it.
    pub isa: Isa,
    /// How values are multiplied. Families without tiles of bf16 emulate them, which is slow.
    pub products: Products,
    /// Rows of C.
    pub m: usize,
    /// Columns of C.
    pub n: usize,
    /// Depth of each tap. Zero is legal: the sum is then zero.
    pub k: usize,
    /// Where rows of A begin.
    pub a_rows: ARows,
    /// Elements between neighbours along K in A (1: row-major or channels-last).
    pub a_k_stride: isize,
    /// How A is stored. bf16 is multiplied by [`Products::One`] only, and read where it lies if
    /// rows allow it.
    pub a_stored: Stored,
    /// Where rows of C (and of the residual) begin.
    pub c_rows: Offsets,
    /// How C is stored.
    pub c_store: CStore,
    /// What C starts from.
    pub init: Init,
    /// Bias that is added after the sum.
    pub bias: Bias,
    /// Whether a tensor of C's own layout is added after the bias. It may be C itself only through
    /// [`Init::Accumulate`].
    pub residual: bool,
    /// How the residual is stored: as bf16 only where columns are adjacent.
    pub residual_stored: Stored,
    /// Bounds applied last: `min(max(x, low), high)`; NaN stays NaN. relu is `(0, inf)`.
    pub clip: Option<(f32, f32)>,
    /// Several products in one descriptor.
    pub batch: Batch,
    /// Most rows and columns of a block, for who knows better than the plan. Products of bytes
    /// take none.
    pub limit: BlockLimit,
}

/// Most rows and columns of a block of C, each rounded up to a whole register tile. A block of
/// columns is swept over a block of rows before the next. The plan decides what is left open, and
/// keeps to what scratch allows. Results are the same whatever the blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockLimit {
    /// Rows.
    pub rows: Option<u32>,
    /// Columns.
    pub cols: Option<u32>,
}

impl GemmSpec {
    /// Row-major `C[m, n] = A[m, k] B[k, n]`, no epilogue.
    pub fn matmul(isa: Isa, m: usize, k: usize, n: usize) -> Self {
        Self {
            isa,
            products: Products::Whole,
            m,
            n,
            k,
            a_rows: ARows::Affine {
                rows: Offsets::Uniform(k as isize),
                taps: vec![0],
            },
            a_k_stride: 1,
            a_stored: Stored::F32,
            c_rows: Offsets::Uniform(n as isize),
            c_store: CStore::Rows,
            init: Init::Zero,
            bias: Bias::None,
            residual: false,
            residual_stored: Stored::F32,
            clip: None,
            batch: Batch::one(),
            limit: BlockLimit::default(),
        }
    }

    /// Channels-last convolution: input `[images, H, W, C]` (`k` = C), output `[images, OH, OW, N]`
    /// dense, B packed from `[KH * KW][C][N]` with `kernel[0] * kernel[1]` taps.
    pub fn conv2d(isa: Isa, window: Window, k: usize, n: usize) -> Self {
        let m = window.images * window.out[0] * window.out[1];
        Self {
            a_rows: ARows::Window(window),
            ..Self::matmul(isa, m, k, n)
        }
    }

    /// How many taps A has.
    pub fn taps(&self) -> usize {
        match &self.a_rows {
            ARows::Affine { taps, .. } => taps.len(),
            ARows::Window(window) => window.kernel[0] * window.kernel[1],
        }
    }

    /// The layout that B must be packed in (one batch entry).
    pub fn b_layout(&self) -> PackedLayout {
        let (taps, k, n) = (self.taps(), self.k, self.n);
        match self.products {
            Products::Whole => PackedLayout::f32(self.isa, taps, k, n),
            Products::Six | Products::Three | Products::One => {
                PackedLayout::bf16(self.isa, self.products.parts() as u8, taps, k, n)
            }
        }
    }
}
