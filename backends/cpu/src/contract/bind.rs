//! From dims to descriptors of the micro-kernels, for one binding of symbols.

use alula_microkernel::{
    ARows, BStrides, Batch, BatchReduceGemm, Bias, CStore, ChannelOrder, Depthwise, DepthwiseSpec,
    GemmSpec, Init, Offsets, PackedLayout, Stored, Window,
};
use alula_tensor::{DType, Dim, Symbol};

use super::bound::{BoundContract, ContractError, Kernel};
use super::image::Image;
use super::packing::{Filters, PackedFor, Packing};
use super::{AxisMap, BiasAxis, CpuContract, DepthwiseMap, Epilogue, Form, Product, WindowMap};

/// An axis with numbers.
#[derive(Clone, Copy)]
struct Axis {
    extent: usize,
    a: isize,
    b: isize,
    c: isize,
    bias: isize,
}

/// Evaluates dims.
pub(super) struct Sizes<'b> {
    pub(super) bind: &'b dyn Fn(&Symbol) -> Option<i64>,
}

impl Sizes<'_> {
    pub(super) fn offset(&self, dim: &Dim) -> Result<isize, ContractError> {
        let value = dim.eval(self.bind)?;
        isize::try_from(value).map_err(|_| ContractError::Size {
            dim: dim.to_string(),
            value,
        })
    }

    /// An extent; negative ones are refused.
    fn extent(&self, dim: &Dim) -> Result<usize, ContractError> {
        let value = dim.eval(self.bind)?;
        usize::try_from(value).map_err(|_| ContractError::Size {
            dim: dim.to_string(),
            value,
        })
    }

    fn axis(&self, axis: &AxisMap) -> Result<Axis, ContractError> {
        Ok(Axis {
            extent: self.extent(&axis.extent)?,
            a: self.offset(&axis.a)?,
            b: self.offset(&axis.b)?,
            c: self.offset(&axis.c)?,
            bias: self.offset(&axis.bias)?,
        })
    }

    /// An axis as the right side sees it.
    fn right(&self, axis: &AxisMap) -> Result<Axis, ContractError> {
        Ok(Axis {
            extent: self.extent(&axis.extent)?,
            a: 0,
            b: self.offset(&axis.b)?,
            c: 0,
            bias: 0,
        })
    }

    fn axes(&self, axes: &[AxisMap]) -> Result<Vec<Axis>, ContractError> {
        axes.iter().map(|axis| self.axis(axis)).collect()
    }

    fn extents<const N: usize>(&self, dims: &[Dim; N]) -> Result<[usize; N], ContractError> {
        let mut out = [0; N];
        for (slot, dim) in out.iter_mut().zip(dims) {
            *slot = self.extent(dim)?;
        }
        Ok(out)
    }

    fn offsets<const N: usize>(&self, dims: &[Dim; N]) -> Result<[isize; N], ContractError> {
        let mut out = [0; N];
        for (slot, dim) in out.iter_mut().zip(dims) {
            *slot = self.offset(dim)?;
        }
        Ok(out)
    }

    fn window(&self, window: &WindowMap) -> Result<Window, ContractError> {
        Ok(Window {
            images: self.extent(&window.images)?,
            input: self.extents(&window.input)?,
            out: self.extents(&window.out)?,
            kernel: self.extents(&window.kernel)?,
            stride: self.extents(&window.stride)?,
            dilation: self.extents(&window.dilation)?,
            pad: self.extents(&window.pad)?,
            strides: self.offsets(&window.strides)?,
        })
    }
}

/// How the micro-kernels call it. Bytes are no floats, and have descriptors of their own.
pub(super) fn stored(dtype: DType) -> Stored {
    match dtype {
        DType::BF16 => Stored::Bf16,
        _ => Stored::F32,
    }
}

/// Elements of a list of offsets that is written out; more are refused.
const TABLE_MAX: usize = 1 << 24;

/// The product of extents.
fn count(axes: &[Axis]) -> Result<usize, ContractError> {
    let product = axes
        .iter()
        .try_fold(1_usize, |n, axis| n.checked_mul(axis.extent));
    product.ok_or(ContractError::TooLarge)
}

/// The offset of each position of the axes, outermost first, in the smallest form.
fn offsets(axes: &[Axis], stride: impl Fn(&Axis) -> isize) -> Result<Offsets, ContractError> {
    let mut merged: Vec<(usize, isize)> = Vec::new();
    for axis in axes.iter().filter(|axis| axis.extent != 1) {
        let inner = (axis.extent, stride(axis));
        match merged.last_mut() {
            Some(outer) if inner.1.checked_mul(inner.0 as isize) == Some(outer.1) => {
                *outer = (outer.0.saturating_mul(inner.0), inner.1);
            }
            _ => merged.push(inner),
        }
    }
    if axes.iter().any(|axis| axis.extent == 0) {
        return Ok(Offsets::Uniform(0));
    }
    Ok(match *merged.as_slice() {
        [] => Offsets::Uniform(0),
        [(_, step)] => Offsets::Uniform(step),
        [(_, outer), (extent, inner)] => Offsets::Grid {
            inner: [1, extent],
            strides: [outer, 0, inner],
        },
        [(_, s0), (e1, s1), (e2, s2)] => Offsets::Grid {
            inner: [e1, e2],
            strides: [s0, s1, s2],
        },
        _ => Offsets::Table(table(&merged)?),
    })
}

/// The offset of each position, written out.
fn table(axes: &[(usize, isize)]) -> Result<Vec<isize>, ContractError> {
    let mut table = vec![0_isize];
    for &(extent, stride) in axes {
        let len = table
            .len()
            .checked_mul(extent)
            .filter(|&len| len <= TABLE_MAX);
        let mut next = Vec::with_capacity(len.ok_or(ContractError::TooLarge)?);
        for base in table {
            next.extend((0..extent as isize).map(|i| base.wrapping_add(i.wrapping_mul(stride))));
        }
        table = next;
    }
    Ok(table)
}

/// The single stride that walks all axes as one.
fn uniform(
    axes: &[Axis],
    what: &'static str,
    stride: impl Fn(&Axis) -> isize,
) -> Result<isize, ContractError> {
    match offsets(axes, stride)? {
        Offsets::Uniform(stride) => Ok(stride),
        Offsets::Grid { .. } | Offsets::Table(_) => Err(ContractError::Strides { what }),
    }
}

impl CpuContract {
    /// Sizes and blocks the contraction for `threads` workers under a binding of symbols.
    ///
    /// # Errors
    /// [`ContractError`] for an unbound symbol, sizes out of range, or strides that the
    /// micro-kernels do not take.
    pub fn bind(
        &self,
        bind: &dyn Fn(&Symbol) -> Option<i64>,
        threads: usize,
    ) -> Result<BoundContract, ContractError> {
        let sizes = Sizes { bind };
        match &self.form {
            Form::Product(product) => self.bind_product(&sizes, product, threads),
            Form::Depthwise(map) => self.bind_depthwise(&sizes, map),
        }
    }

    /// How the right side is packed, under a binding that may leave open what it does not depend
    /// on. Every binding that [`CpuContract::bind`] takes and that agrees gives the same.
    ///
    /// # Errors
    /// [`ContractError`] for a symbol that the packing depends on, and as [`CpuContract::bind`].
    pub fn packing(&self, bind: &dyn Fn(&Symbol) -> Option<i64>) -> Result<Packing, ContractError> {
        let sizes = Sizes { bind };
        match &self.form {
            Form::Product(product) => self.pack_product(&sizes, product),
            Form::Depthwise(map) => pack_depthwise(&sizes, map, self.b_dtype),
        }
    }

    /// What the right side is packed for.
    pub fn packed_for(&self) -> PackedFor {
        PackedFor {
            isa: self.isa,
            products: self.products,
        }
    }

    /// Axis and first element of the bias, how a residual is stored, and bounds.
    fn fused(&self) -> (Option<(BiasAxis, &Dim)>, Option<Stored>, Option<(f32, f32)>) {
        match &self.epilogue {
            Epilogue::Fused {
                bias,
                residual,
                clip,
            } => {
                let bias = bias.as_ref().map(|(_, axis, first)| (*axis, first));
                (bias, residual.map(|(_, dtype)| stored(dtype)), *clip)
            }
            Epilogue::Tile { .. } => (None, None, None),
        }
    }

    fn bind_product(
        &self,
        sizes: &Sizes<'_>,
        product: &Product,
        threads: usize,
    ) -> Result<BoundContract, ContractError> {
        let (mut spec, packing, first) = self.whole_product(sizes, product)?;
        let mut image = None;
        if let (Some(window), [channels, _], true) =
            (&product.window, product.taps.as_slice(), product.is_copied)
        {
            let channels = sizes.axis(channels)?;
            let copy = Image::new(sizes.window(window)?, channels.extent, channels.a)?;
            spec.a_k_stride = copy.step();
            spec.a_rows = ARows::Affine {
                rows: copy.rows(),
                taps: copy.taps(),
            };
            image = Some(copy);
        }
        Ok(BoundContract {
            packing,
            kernel: Kernel::Gemm(Box::new(BatchReduceGemm::new(spec, threads)?)),
            image,
            first,
            threads,
        })
    }

    /// The descriptor of a product with its epilogue, how the right side is packed, and the first
    /// element of the left side, result and bias.
    pub(super) fn whole_product(
        &self,
        sizes: &Sizes<'_>,
        product: &Product,
    ) -> Result<(GemmSpec, Packing, [isize; 3]), ContractError> {
        let (bias, residual, clip) = self.fused();
        let bias_first = bias.map_or(Ok(0), |(_, first)| sizes.offset(first))?;
        let packing = self.pack_product(sizes, product)?;
        let (spec, [a_first, c_first]) = self.product_spec(sizes, product, &packing)?;
        let spec = GemmSpec {
            bias: match bias {
                None => Bias::None,
                Some((BiasAxis::Cols, _)) => Bias::PerN,
                Some((BiasAxis::Rows, _)) => Bias::PerM,
            },
            residual: residual.is_some(),
            residual_stored: residual.unwrap_or_default(),
            clip,
            ..spec
        };
        Ok((spec, packing, [a_first, c_first, bias_first]))
    }

    /// The descriptor of a product without an epilogue, and the first element of the left side
    /// and of the result.
    pub(super) fn product_spec(
        &self,
        sizes: &Sizes<'_>,
        product: &Product,
        packing: &Packing,
    ) -> Result<(GemmSpec, [isize; 2]), ContractError> {
        let batch = sizes.axes(&product.batch)?;
        let (rows, cols) = (sizes.axes(&product.rows)?, sizes.axes(&product.cols)?);
        let (taps, depth) = (sizes.axes(&product.taps)?, sizes.axis(&product.depth)?);
        let [a_first, _, c_first] = sizes.offsets(&product.offsets)?;
        let (m, n) = (count(&rows)?, count(&cols)?);
        let k = depth.extent;
        let Filters::Panels { layout, .. } = &packing.filters else {
            unreachable!("a product is packed in panels");
        };
        let a_rows = match &product.window {
            Some(window) => ARows::Window(sizes.window(window)?),
            None => {
                let steps: Vec<(usize, isize)> =
                    taps.iter().map(|axis| (axis.extent, axis.a)).collect();
                ARows::Affine {
                    rows: offsets(&rows, |axis| axis.a)?,
                    taps: table(&steps)?,
                }
            }
        };
        let c_step = uniform(&cols, "columns of the result", |axis| axis.c)?;
        let spec = GemmSpec {
            isa: self.isa,
            products: self.products,
            m,
            n,
            k,
            a_rows,
            a_k_stride: if k == 1 { 1 } else { depth.a },
            a_stored: stored(self.a_dtype),
            c_rows: offsets(&rows, |axis| axis.c)?,
            c_store: match self.result {
                Some(DType::BF16) if !self.is_integer() => CStore::Bf16,
                _ if n <= 1 || c_step == 1 => CStore::Rows,
                _ => CStore::Strided(c_step),
            },
            init: Init::Zero,
            bias: Bias::None,
            residual: false,
            residual_stored: Stored::F32,
            clip: None,
            batch: bind_batch(&batch, layout)?,
            limit: self.limit,
        };
        Ok((spec, [a_first, c_first]))
    }

    /// How the right side of a product is packed: what does not move along it does not matter.
    pub(super) fn pack_product(
        &self,
        sizes: &Sizes<'_>,
        product: &Product,
    ) -> Result<Packing, ContractError> {
        let axis = |map: &AxisMap| sizes.right(map);
        let axes = |maps: &[AxisMap]| maps.iter().map(axis).collect::<Result<Vec<_>, _>>();
        let (cols, taps) = (axes(&product.cols)?, axes(&product.taps)?);
        let moving = product.batch.iter().filter(|map| !map.b.is(0));
        let batch = moving.map(axis).collect::<Result<Vec<_>, _>>()?;
        let depth = axis(&product.depth)?;
        let strides = BStrides {
            tap: uniform(&taps, "taps of the right side", |axis| axis.b)?,
            k: depth.b,
            n: uniform(&cols, "columns of the right side", |axis| axis.b)?,
        };
        let entries: Vec<(usize, isize)> = batch
            .iter()
            .filter(|axis| axis.b != 0 && axis.extent != 1)
            .map(|axis| (axis.extent, axis.b))
            .collect();
        let packed_for = self.packed_for();
        let (taps_of, k, n) = (count(&taps)?, depth.extent, count(&cols)?);
        let layout = match self.is_integer() {
            true => PackedLayout::i8(self.isa, taps_of, k, n),
            false => packed_for.layout(taps_of, k, n),
        };
        Ok(Packing {
            first: sizes.offset(&product.offsets[1])?,
            source: self.b_dtype,
            filters: Filters::Panels {
                layout,
                strides,
                entries: table(&entries)?,
            },
        })
    }

    fn bind_depthwise(
        &self,
        sizes: &Sizes<'_>,
        map: &DepthwiseMap,
    ) -> Result<BoundContract, ContractError> {
        let (bias, residual, clip) = self.fused();
        let bias_first = bias.map_or(Ok(0), |(_, first)| sizes.offset(first))?;
        let (spec, [a_first, c_first]) = self.depthwise_spec(sizes, map)?;
        let spec = DepthwiseSpec {
            bias: bias.is_some(),
            residual: residual.is_some(),
            clip,
            ..spec
        };
        Ok(BoundContract {
            packing: pack_depthwise(sizes, map, self.b_dtype)?,
            kernel: Kernel::Depthwise(Box::new(Depthwise::new(spec)?)),
            image: None,
            first: [a_first, c_first, bias_first],
            threads: 1,
        })
    }

    /// The descriptor of a depthwise convolution without an epilogue, and the first element of the
    /// left side and of the result.
    pub(super) fn depthwise_spec(
        &self,
        sizes: &Sizes<'_>,
        map: &DepthwiseMap,
    ) -> Result<(DepthwiseSpec, [isize; 2]), ContractError> {
        let [a_first, _, c_first] = sizes.offsets(&map.offsets)?;
        let mut window = sizes.window(&map.window)?;
        let channels = sizes.extent(&map.channels)?;
        let [x, y] = sizes.offsets(&map.channel)?;
        let mut y_strides = sizes.offsets(&map.out)?;
        let order = if map.is_channels_last() {
            ChannelOrder::Last
        } else {
            // The stride of an axis of extent 1 is never taken.
            if window.input[1] == 1 {
                window.strides[2] = 1;
            }
            if window.out[1] == 1 {
                y_strides[2] = 1;
            }
            ChannelOrder::First { x, y }
        };
        let spec = DepthwiseSpec {
            isa: self.isa,
            window,
            channels,
            order,
            y_strides,
            bias: false,
            residual: false,
            clip: None,
            x_stored: stored(self.a_dtype),
            y_stored: match self.result {
                Some(DType::BF16) if !self.is_integer() => Stored::Bf16,
                _ => Stored::F32,
            },
        };
        Ok((spec, [a_first, c_first]))
    }
}

/// How the filters of a depthwise convolution are packed: with channels last if they are so in the
/// images and in the result.
pub(super) fn pack_depthwise(
    sizes: &Sizes<'_>,
    map: &DepthwiseMap,
    source: DType,
) -> Result<Packing, ContractError> {
    let [kh, kw] = sizes.extents(&map.window.kernel)?;
    Ok(Packing {
        first: sizes.offset(&map.offsets[1])?,
        source,
        filters: Filters::Depthwise {
            channels: sizes.extent(&map.channels)?,
            taps: kh.checked_mul(kw).ok_or(ContractError::TooLarge)?,
            transpose: map.is_channels_last(),
        },
    })
}

/// Offsets of each entry of the batch. Packed right sides follow one another; entries that share
/// one refer to the same.
fn bind_batch(batch: &[Axis], layout: &PackedLayout) -> Result<Batch, ContractError> {
    let mut step = isize::try_from(layout.len()).map_err(|_| ContractError::TooLarge)?;
    let mut packed = batch.to_vec();
    for axis in packed.iter_mut().rev() {
        let own = axis.b != 0 && axis.extent != 1;
        axis.b = if own { step } else { 0 };
        if own {
            step = step
                .checked_mul(axis.extent as isize)
                .ok_or(ContractError::TooLarge)?;
        }
    }
    Ok(Batch {
        count: count(batch)?,
        a: offsets(batch, |axis| axis.a)?,
        b: offsets(&packed, |axis| axis.b)?,
        c: offsets(batch, |axis| axis.c)?,
        bias: offsets(batch, |axis| axis.bias)?,
    })
}
