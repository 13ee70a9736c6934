//! Definitions to kernels: loops laid out, every expression placed once.
//!
//! Each expression is computed in the outermost loop where the variables that it needs are
//! known, so loop-invariant code and folds over outer axes (the maximum and the sum of a softmax
//! row) are hoisted without a special case. Axes that every access walks as one are collapsed,
//! indices are affine sums whose invariant part is computed outside.
//!
//! Steps: `split` cuts a definition where it reads other operands in other parts of an axis;
//! `access` makes indices linear and collapses axes; `nest` decides the order of loops and
//! what becomes grid, block, lanes; `emit` writes instructions. The kernel that comes out passes
//! [`alula_kernel::verify()`] and computes what `alula_kernel::interpret::evaluate` does, up to the
//! order of floating-point folds.

mod access;
mod emit;
mod nest;
#[cfg(test)]
mod random_tests;
mod reuse;
mod split;
#[cfg(test)]
mod tests;

use alula_kernel::{Access, Compute, Kernel, Param};
use alula_tensor::{DType, Dim};

/// How elements of a buffer are placed, where that is not row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Distance of neighbours along each axis, in elements, outermost axis first.
    pub strides: Vec<Dim>,
    /// Number of elements of the buffer.
    pub elements: Dim,
}

/// A parameter of the kernel to build.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    /// Its name, an identifier.
    pub name: String,
    /// Where elements are; `None` is row-major.
    pub layout: Option<Layout>,
}

impl ParamSpec {
    /// A row-major parameter.
    pub fn row_major(name: impl Into<String>) -> ParamSpec {
        ParamSpec {
            name: name.into(),
            layout: None,
        }
    }
}

/// How loops are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Every output axis in the grid, folds serial: the plainest kernel.
    Naive,
    /// Blocks of a few thousand scalar operations as grid points, and one contiguous axis as
    /// `Lanes` loops: of this width, a power of two above 1, for an axis of the result, and of
    /// several times as many for that of a fold.
    Cpu {
        /// Iterations at once.
        lanes: u32,
    },
    /// One thread for each output element, or for each row that a fold runs over; workgroups of
    /// this many threads.
    Gpu {
        /// Threads of a workgroup.
        lanes: u32,
    },
    /// One grid point for each row that a fold runs over, its loops serial: what
    /// [`schedule`](crate::schedule) shares among the lanes of a workgroup.
    Rows,
}

/// Lays out the loops of a definition. `params` are the operands in order, then the result.
///
/// # Panics
/// When the number of parameters or strides does not fit the definition, or the definition has an
/// accumulator outside a contraction: a caller's bug.
pub fn build(name: &str, compute: &Compute, params: &[ParamSpec], policy: Policy) -> Kernel {
    build_for(name, compute, params, policy, nest::WORK_PER_POINT)
}

/// As [`build`], with all loops inside of one grid point.
pub fn build_serial(name: &str, compute: &Compute, params: &[ParamSpec], policy: Policy) -> Kernel {
    build_for(name, compute, params, policy, u64::MAX)
}

/// As [`build`], with another amount of work for a grid point: `u64::MAX` if there is but one.
fn build_for(
    name: &str,
    compute: &Compute,
    params: &[ParamSpec],
    policy: Policy,
    work: u64,
) -> Kernel {
    assert_eq!(
        params.len(),
        compute.operands.len() + 1,
        "operands, then the result"
    );
    let mut kernel = Kernel::new(name);
    let shapes = compute
        .operands
        .iter()
        .map(|operand| (operand.dtype, operand.shape.clone()));
    let shapes: Vec<(DType, Vec<Dim>)> = shapes.chain([(compute.dtype, compute.shape())]).collect();
    for (position, (spec, (dtype, shape))) in params.iter().zip(&shapes).enumerate() {
        let access = if position < compute.operands.len() {
            Access::Read
        } else {
            Access::Write
        };
        let elements = match &spec.layout {
            Some(layout) => layout.elements.clone(),
            None => shape.iter().cloned().product(),
        };
        kernel.params.push(Param {
            name: spec.name.clone(),
            dtype: *dtype,
            elements,
            access,
            bound: None,
        });
    }
    let strides: Vec<Vec<Dim>> = params
        .iter()
        .zip(&shapes)
        .map(|(spec, (_, shape))| match &spec.layout {
            Some(layout) => {
                assert_eq!(layout.strides.len(), shape.len(), "one stride per axis");
                layout.strides.clone()
            }
            None => row_major(shape),
        })
        .collect();
    let result = strides.len() - 1;
    let lay_out = |kernel: Kernel, compute: &Compute, first: &Dim| {
        let linear = access::linearize(compute, &strides, first);
        let nest = nest::plan(access::collapse(&linear), policy, work);
        emit::emit(kernel, &nest)
    };
    let Some(pieces) = split::pieces(compute, policy) else {
        return lay_out(kernel, compute, &Dim::new(0));
    };
    let parts = pieces.iter().map(|piece| {
        let first = strides[result][piece.axis].clone() * Dim::new(piece.start);
        lay_out(kernel.clone(), &piece.compute, &first)
    });
    let parts = parts.collect();
    split::join(kernel, parts)
}

/// How many loops follow one another in the kernel that [`build`] makes for a definition: more
/// than one where the definition reads other operands in other parts of an axis.
pub fn num_parts(compute: &Compute, policy: Policy) -> usize {
    split::pieces(compute, policy).map_or(1, |pieces| pieces.len())
}

/// Row-major strides of a shape.
pub fn row_major(shape: &[Dim]) -> Vec<Dim> {
    let mut strides = vec![Dim::new(1); shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].clone() * shape[axis].clone();
    }
    strides
}
