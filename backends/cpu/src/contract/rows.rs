//! Products that run in blocks of rows, one side of which lies in a buffer of just these rows.
//!
//! A chain (see [`CpuChain`](crate::CpuChain)) computes some rows of a value, uses them, and only
//! then goes on to the next rows. Each block is a product of its own.

use alula_microkernel::{ARows, Batch, BatchReduceGemm, Bias, GemmOperands, GemmSpec, Offsets};
use alula_tensor::{DType, Dim, Symbol};

use super::bind::Sizes;
use super::bound::{ContractError, ContractOperands, behind, element_bytes};
use super::packing::Packing;
use super::{AxisMap, CpuContract, Form, Product};

/// A value as a matrix for each entry of a batch, row-major, one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrices {
    /// How many.
    pub entries: Dim,
    /// Rows of each.
    pub rows: Dim,
    /// Columns.
    pub cols: Dim,
}

/// The side of a product that is a buffer of the rows of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockSide {
    /// The left side.
    Left,
    /// The result.
    Result,
}

/// The product of extents.
fn extent(axes: &[AxisMap]) -> Dim {
    axes.iter().map(|axis| axis.extent.clone()).product()
}

/// Whether the axes, as one, have the stride `step`, and what an axis around them would have.
fn walk<'a>(
    axes: impl DoubleEndedIterator<Item = &'a AxisMap>,
    step: Dim,
    stride: impl Fn(&AxisMap) -> &Dim,
) -> Option<Dim> {
    axes.rev()
        .filter(|axis| !axis.extent.is(1))
        .try_fold(step, |step, axis| {
            (*stride(axis) == step).then(|| step * axis.extent.clone())
        })
}

/// Whether all rows are evenly apart.
fn is_even(rows: &[AxisMap], stride: impl Fn(&AxisMap) -> &Dim) -> bool {
    let innermost = rows.iter().rev().find(|axis| !axis.extent.is(1));
    innermost.is_none_or(|axis| walk(rows.iter(), stride(axis).clone(), &stride).is_some())
}

impl CpuContract {
    /// The product, if blocks of its rows are products as well.
    fn in_blocks(&self) -> Option<&Product> {
        match &self.form {
            Form::Product(product) if !self.is_integer() && product.window.is_none() => {
                Some(product)
            }
            Form::Product(_) | Form::Depthwise(_) => None,
        }
    }

    /// The result, if a buffer of a block of its rows may stand for it.
    pub fn result_in_blocks(&self) -> Option<Matrices> {
        let product = self.in_blocks()?;
        let all = product.batch.iter().chain(&product.rows);
        let dense = walk(all.chain(&product.cols), Dim::new(1), |axis| &axis.c);
        let fits = dense.is_some()
            && product.offsets[2].is(0)
            && self.result.is_none_or(|dtype| dtype == DType::F32)
            && is_even(&product.rows, |axis| &axis.a);
        fits.then(|| Matrices {
            entries: extent(&product.batch),
            rows: extent(&product.rows),
            cols: extent(&product.cols),
        })
    }

    /// The left side, if a buffer of a block of its rows may stand for it.
    pub fn left_in_blocks(&self) -> Option<Matrices> {
        let product = self.in_blocks()?;
        let depth = std::iter::once(&product.depth);
        let all = product.batch.iter().chain(&product.rows);
        let dense = walk(all.chain(depth), Dim::new(1), |axis| &axis.a);
        let fits = dense.is_some()
            && product.offsets[0].is(0)
            && extent(&product.taps).is(1)
            && is_even(&product.rows, |axis| &axis.c);
        fits.then(|| Matrices {
            entries: extent(&product.batch),
            rows: extent(&product.rows),
            cols: product.depth.extent.clone(),
        })
    }

    /// Bytes of the right side of one entry as it is packed, about.
    pub fn right_bytes(&self) -> Option<Dim> {
        let product = self.in_blocks()?;
        let each = match self.products.parts() {
            0 => 4,
            parts => 2 * parts,
        };
        let depth = product.depth.extent.clone() * extent(&product.taps);
        Some(depth * extent(&product.cols) * Dim::from(each))
    }

    /// Sizes the product for blocks of so many rows, of which `side` is a buffer.
    ///
    /// # Errors
    /// As [`CpuContract::bind`]; [`ContractError::Strides`] where rows are not evenly apart.
    pub fn bind_blocks(
        &self,
        bind: &dyn Fn(&Symbol) -> Option<i64>,
        side: BlockSide,
        rows: usize,
    ) -> Result<BlockContract, ContractError> {
        let sizes = Sizes { bind };
        let Some(product) = self.in_blocks() else {
            let what = "rows of a window";
            return Err(ContractError::Strides { what });
        };
        let (spec, packing, first) = self.whole_product(&sizes, product)?;
        let even = |rows: &Offsets, what| match rows {
            Offsets::Uniform(stride) => Ok(*stride),
            Offsets::Grid { .. } | Offsets::Table(_) => Err(ContractError::Strides { what }),
        };
        let a_rows = match &spec.a_rows {
            ARows::Affine { rows, .. } => even(rows, "rows of the left side")?,
            ARows::Window(_) => {
                let what = "rows of a window";
                return Err(ContractError::Strides { what });
            }
        };
        let c_rows = even(&spec.c_rows, "rows of the result")?;
        let of = |m: usize| {
            let spec = GemmSpec {
                m,
                batch: Batch::one(),
                ..spec.clone()
            };
            BatchReduceGemm::new(spec, 1)
        };
        let block = rows.clamp(1, spec.m.max(1));
        let rest = match spec.m % block {
            0 => None,
            rest => Some(of(rest)?),
        };
        Ok(BlockContract {
            full: of(block.min(spec.m))?,
            rest,
            packing,
            side,
            strides: [a_rows, c_rows],
            first,
            bias: spec.bias,
            batch: spec.batch,
        })
    }
}

/// A product in blocks of rows that can run. Immutable; share it between threads.
#[derive(Clone, Debug)]
pub struct BlockContract {
    /// A block of all rows.
    full: BatchReduceGemm,
    /// The last block, if it has fewer.
    rest: Option<BatchReduceGemm>,
    packing: Packing,
    side: BlockSide,
    /// Elements between rows of the left side and of the result.
    strides: [isize; 2],
    /// First element of the left side, result and bias.
    first: [isize; 3],
    bias: Bias,
    batch: Batch,
}

impl BlockContract {
    /// How the right side is packed.
    pub fn packing(&self) -> &Packing {
        &self.packing
    }

    /// Bytes of scratch of one block.
    pub fn scratch_bytes(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.scratch_bytes());
        self.full.scratch_bytes().max(rest)
    }

    /// Runs `rows` rows from `first` on of one entry on this thread: a block of all rows, or the
    /// last one. The side that is a buffer begins with these rows, the others with their first
    /// element; `scratch` holds [`BlockContract::scratch_bytes`].
    ///
    /// # Errors
    /// [`ContractError`] if an operand or the scratch is too short.
    ///
    /// # Safety
    /// As [`BoundContract::run`](super::BoundContract::run).
    pub unsafe fn run(
        &self,
        [entry, first, rows]: [usize; 3],
        operands: &ContractOperands,
        scratch: &mut [u8],
    ) -> Result<(), ContractError> {
        let whole = self.full.spec().m == rows;
        let gemm = match &self.rest {
            _ if whole => &self.full,
            Some(rest) if rest.spec().m == rows => rest,
            _ => return Err(ContractError::TooLarge),
        };
        let none = (std::ptr::null(), 0);
        let [of_a, of_c, of_residual] = element_bytes(gemm.spec());
        let [a_first, c_first, bias_first] = self.first;
        let [a_row, c_row] = self.strides.map(|stride| stride * first as isize);
        let [a_at, c_at] = [
            a_first + self.batch.a.at(entry) + a_row,
            c_first + self.batch.c.at(entry) + c_row,
        ];
        let bias_row = match self.bias {
            Bias::PerM => first as isize,
            Bias::PerN | Bias::None => 0,
        };
        let bias_at = bias_first + self.batch.bias.at(entry) + bias_row;
        let floats = |what, (pointer, len): (*const f32, usize), at| {
            let found = behind(what, (pointer.cast(), len), at, 4)?;
            Ok::<_, ContractError>((found.0.cast::<f32>(), found.1))
        };
        let c = (operands.c.0.cast_const(), operands.c.1);
        let c = match self.side {
            BlockSide::Left => behind("the result", c, c_at, of_c)?,
            BlockSide::Result => c,
        };
        let bias = operands.bias.unwrap_or((std::ptr::null(), 0));
        let operands = GemmOperands {
            a: match self.side {
                BlockSide::Left => operands.a,
                BlockSide::Result => behind("the left side", operands.a, a_at, of_a)?,
            },
            b: floats("the right side", operands.b, self.batch.b.at(entry))?,
            c: (c.0.cast_mut(), c.1),
            bias: floats("the bias", bias, bias_at)?,
            residual: match operands.residual {
                Some(residual) => behind("the residual", residual, c_at, of_residual)?,
                None => none,
            },
            hook: operands.hook,
        };
        // SAFETY: the caller's.
        unsafe { gemm.run(&operands, 0..gemm.tasks(), scratch)? };
        Ok(())
    }
}
