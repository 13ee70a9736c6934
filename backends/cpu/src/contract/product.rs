//! A contraction in the form that micro-kernels take, as data.

use alula_microkernel::{BlockLimit, Isa, Products};
use alula_program::KernelParam;
use alula_tensor::{DType, Dim, Symbol};
use serde::{Deserialize, Serialize};

/// A contraction, planned for one family of micro-kernels. Offsets and strides are in elements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CpuContract {
    /// The family; the right side is packed for it.
    pub isa: Isa,
    /// How values of f32 are multiplied; the right side is packed for that, too.
    pub products: Products,
    /// How large blocks are at most, where that was measured.
    pub limit: BlockLimit,
    /// What is computed.
    pub form: Form,
    /// Position of the left side among the operands.
    pub a: u32,
    /// Position of the right side.
    pub b: u32,
    /// Dtype of the left side: of a product of floats `f32` or, where values are multiplied as
    /// `bf16`, that.
    pub a_dtype: DType,
    /// Dtype of the right side.
    pub b_dtype: DType,
    /// Position of the left side's zero point, a scalar.
    pub a_zero: Option<u32>,
    /// Position of the right side's zero point: a scalar, or one for each column.
    pub b_zero: Option<u32>,
    /// Dtype of the result, where it is not the sums'.
    pub result: Option<DType>,
    /// What happens to accumulated values.
    pub epilogue: Epilogue,
    /// Access and least length of each operand, then of the result.
    pub params: Vec<KernelParam>,
    /// Every symbol that sizes depend on, sorted.
    pub symbols: Vec<Symbol>,
}

/// The two forms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Form {
    /// A batch-reduce product.
    Product(Product),
    /// A convolution of each channel with its own filter.
    Depthwise(DepthwiseMap),
}

/// One axis: its extent and its stride in each operand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AxisMap {
    /// Number of positions.
    pub extent: Dim,
    /// Stride in the left side.
    pub a: Dim,
    /// Stride in the right side, unpacked.
    pub b: Dim,
    /// Stride in the result (and in a residual).
    pub c: Dim,
    /// Stride in the bias.
    pub bias: Dim,
}

/// A batch-reduce product: `c[batch, row, col] = sum over tap, k of a[..] * b[..]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Product {
    /// Independent products, outermost axis first.
    pub batch: Vec<AxisMap>,
    /// Rows, outermost axis first. With a window: images, then its rows, then its columns.
    pub rows: Vec<AxisMap>,
    /// Columns, outermost axis first.
    pub cols: Vec<AxisMap>,
    /// Summed axes that are taken tap by tap.
    pub taps: Vec<AxisMap>,
    /// The summed axis within a tap.
    pub depth: AxisMap,
    /// Where rows of the left side come from a sliding window.
    pub window: Option<WindowMap>,
    /// Whether the window slides over a padded copy. The taps are then channels and rows of the
    /// window, the depth is its columns.
    pub is_copied: bool,
    /// Where the first element of the left side, right side and result is.
    pub offsets: [Dim; 3],
}

/// A sliding window over images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowMap {
    /// Number of images.
    pub images: Dim,
    /// Height and width of an image.
    pub input: [Dim; 2],
    /// Height and width of the result.
    pub out: [Dim; 2],
    /// Taps in height and width.
    pub kernel: [Dim; 2],
    /// Step between positions.
    pub stride: [Dim; 2],
    /// Step between taps.
    pub dilation: [Dim; 2],
    /// Padding before the first row and column.
    pub pad: [Dim; 2],
    /// Strides of image, row and column in the left side.
    pub strides: [Dim; 3],
}

/// A depthwise convolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DepthwiseMap {
    /// The window.
    pub window: WindowMap,
    /// Number of channels.
    pub channels: Dim,
    /// Stride of a channel in the left side and in the result.
    pub channel: [Dim; 2],
    /// Strides of image, row and column of the result.
    pub out: [Dim; 3],
    /// Strides of channel, row and column of the filters; dense in this order.
    pub filter: [Dim; 3],
    /// Where the first element of the left side, right side and result is.
    pub offsets: [Dim; 3],
}

impl DepthwiseMap {
    /// [`channels_are_last`] of its own.
    pub fn is_channels_last(&self) -> bool {
        channels_are_last(&self.channel)
    }
}

/// Whether channels, with these strides in the images and in the result, follow one another. That
/// is known when the epilogue is compiled, which gets its tiles accordingly; an image of one
/// element, which only a run knows of, does not make it so.
pub(super) fn channels_are_last(strides: &[Dim; 2]) -> bool {
    strides.iter().all(|stride| stride.is(1))
}

/// The axis along which a bias varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BiasAxis {
    /// One value for each column (for depthwise: for each channel).
    Cols,
    /// One value for each row.
    Rows,
}

/// What happens to an accumulated value before it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Epilogue {
    /// Bias, then residual, then clip, each if present: built into the micro-kernels.
    Fused {
        /// Operand position, axis and first element of the bias.
        bias: Option<(u32, BiasAxis, Dim)>,
        /// Operand position and dtype (`f32` or `bf16`) of a tensor with the result's layout.
        residual: Option<(u32, DType)>,
        /// Least and greatest value.
        clip: Option<(f32, f32)>,
    },
    /// A compiled kernel finishes each tile; see [`TILE_SYMBOLS`]. The operands are those of its
    /// parameters before the last two: the sums, and the result. Those of floats are the same
    /// memory; sums of integers are in scratch, and the kernel stores the result.
    Tile {
        /// Operand position of each parameter but the last two.
        operands: Vec<u32>,
    },
}

/// The symbols that a tile kernel is given beside those of the model: rows and columns of the tile,
/// elements between its rows, its first row and column in the product, its batch entry, elements
/// between its rows in the result.
pub const TILE_SYMBOLS: [&str; 7] = [
    "tile_rows",
    "tile_cols",
    "tile_stride",
    "tile_m0",
    "tile_n0",
    "tile_batch",
    "tile_out_stride",
];

impl CpuContract {
    /// Position of the operand whose memory the result may take, if there is one: a residual. Each
    /// sum is finished before its element is stored, or starts from what is there.
    pub fn shared_operand(&self) -> Option<u32> {
        let (
            Epilogue::Fused {
                residual: Some((residual, dtype)),
                ..
            },
            Form::Product(_),
        ) = (&self.epilogue, &self.form)
        else {
            return None;
        };
        let is_alike = *dtype == self.result.unwrap_or(DType::F32);
        let is_other = [self.a, self.b].iter().all(|operand| operand != residual);
        // Partial sums of parts lie in the result.
        let is_whole = self.products == Products::Whole || *dtype == DType::BF16;
        (is_other && is_alike && is_whole && !self.is_integer()).then_some(*residual)
    }

    /// The same with some of its parameters, which are `f32`, stored as `bf16`; `None` where the
    /// micro-kernels take no such thing. A result is rounded to nearest even, and becomes a zero
    /// where it is subnormal: a product of `bf16` takes it for one in any case.
    pub fn stored_as_bf16(&self, params: &[usize]) -> Option<CpuContract> {
        let mut new = self.clone();
        let result = self.params.len() - 1;
        for &param in params {
            let is_residual = match &mut new.epilogue {
                Epilogue::Fused {
                    residual: Some((position, dtype)),
                    ..
                } if *position as usize == param => {
                    *dtype = DType::BF16;
                    true
                }
                Epilogue::Fused { .. } | Epilogue::Tile { .. } => false,
            };
            match param {
                _ if param == result => new.result = Some(DType::BF16),
                _ if is_residual => {}
                _ if param == self.a as usize => new.a_dtype = DType::BF16,
                _ => return None,
            }
            new.params[param].bytes = self.params[param].bytes.exact_div(&Dim::new(2))?;
        }
        if self.isa == Isa::Avx512 && new.result == Some(DType::BF16) {
            // Where tiles multiply bf16, the processor rounds to it.
            new.isa = Isa::Amx;
        }
        let is_once = params.iter().all(|&param| self.times(param as u32) == 1);
        (is_once && !self.is_integer() && new.takes_bf16()).then_some(new)
    }

    /// How many operands a parameter is.
    fn times(&self, param: u32) -> usize {
        let (fused, tile) = match &self.epilogue {
            Epilogue::Fused { bias, residual, .. } => (
                [bias.as_ref().map(|bias| bias.0), residual.map(|of| of.0)],
                &[][..],
            ),
            Epilogue::Tile { operands } => ([None; 2], operands.as_slice()),
        };
        let sides = [Some(self.a), Some(self.b), self.a_zero, self.b_zero];
        let all = sides.into_iter().chain(fused).flatten();
        let result = self.params.len() as u32 - 1;
        let all = all.chain(tile.iter().copied()).chain([result]);
        all.filter(|&position| position == param).count()
    }

    /// Whether what is stored as `bf16` may be: a left side that is multiplied as `bf16`, where it
    /// lies; a residual and a result whose columns are neighbours, finished by the micro-kernels;
    /// images of a depthwise convolution with channels last, without a residual.
    fn takes_bf16(&self) -> bool {
        let product = match &self.form {
            Form::Product(product) => product,
            Form::Depthwise(map) => {
                let is_plain = matches!(&self.epilogue, Epilogue::Fused { residual: None, .. });
                return is_plain && map.is_channels_last();
            }
        };
        let Epilogue::Fused { residual, .. } = &self.epilogue else {
            return self.a_dtype == DType::BF16 && self.result.is_none() && self.is_rounded();
        };
        let is_bf16 = |dtype: Option<DType>| dtype == Some(DType::BF16);
        let is_narrow = is_bf16(self.result) || is_bf16(residual.map(|(_, dtype)| dtype));
        let are_neighbours = product.cols.last().is_none_or(|axis| axis.c.is(1));
        (self.a_dtype != DType::BF16 || self.is_rounded()) && (!is_narrow || are_neighbours)
    }

    /// Whether the left side is rounded to `bf16` from where it lies.
    fn is_rounded(&self) -> bool {
        let is_copied = matches!(&self.form, Form::Product(product) if product.is_copied);
        self.products == Products::One && !is_copied
    }

    /// Whether bytes are multiplied, and summed in `i32`.
    pub fn is_integer(&self) -> bool {
        self.a_dtype.is_integer()
    }

    /// Sizes in words, for people.
    pub fn sizes(&self) -> String {
        let extents =
            |axes: &[AxisMap]| -> Dim { axes.iter().map(|axis| axis.extent.clone()).product() };
        match &self.form {
            Form::Depthwise(map) => {
                let [h, w] = &map.window.out;
                format!("{} channels to {h} x {w}, depthwise", map.channels)
            }
            Form::Product(product) => {
                let depth = product.depth.extent.clone() * extents(&product.taps);
                let (m, n) = (extents(&product.rows), extents(&product.cols));
                format!("{m} x {depth} x {n}")
            }
        }
    }

    /// Sizes and arithmetic in words, for people.
    pub fn describe(&self) -> String {
        let (sizes, isa) = (self.sizes(), self.isa.name());
        let limit = super::limit_words(self.limit);
        match &self.form {
            Form::Depthwise(_) => format!("{sizes}, on {isa}"),
            Form::Product(_) if self.is_integer() => format!("{sizes}, integers on {isa}"),
            Form::Product(_) => {
                let stored = match [Some(self.a_dtype), self.result].map(|d| d == Some(DType::BF16))
                {
                    [false, false] => "",
                    [true, false] => ", from bf16",
                    [false, true] => ", to bf16",
                    [true, true] => ", from and to bf16",
                };
                let products = self.products.describe();
                format!("{sizes}, {products}{stored} on {isa}{limit}")
            }
        }
    }
}
