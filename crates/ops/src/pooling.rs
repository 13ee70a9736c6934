//! Pools: maximum, average and norm of sliding windows.

mod average;
mod max;
mod max_unpool;

use alula_ir::{AttrKind, AttrSpec, Attrs, InferCtx, InferError, OpDef};
use alula_tensor::{Dim, Shape};

use crate::window::Window;

pub use average::{AVERAGE_POOL, LP_POOL};
pub(crate) use average::{power_of_magnitude, root};
pub use max::MAX_POOL;
pub use max_unpool::MAX_UNPOOL;

/// The family's rows.
pub const ROWS: &[&OpDef] = &[&MAX_POOL, &AVERAGE_POOL, &LP_POOL, &MAX_UNPOOL];

const KERNEL: AttrSpec = AttrSpec::required("kernel", AttrKind::Ints, "extents of the window");

const CEIL_MODE: AttrSpec = AttrSpec::bool(
    "ceil_mode",
    false,
    "the number of windows is rounded up, so that the last one may leave the end",
);

fn window(attrs: &Attrs) -> Result<Window, InferError> {
    let kernel = attrs.ints("kernel");
    if kernel.is_empty() || kernel.iter().any(|extent| *extent < 1) {
        return Err(InferError::BadAttr {
            name: "kernel".to_owned(),
            reason: format!("is {kernel:?}, must be positive extents"),
        });
    }
    let kernel: Vec<Dim> = kernel.iter().map(|k| Dim::new(*k)).collect();
    Window::new(attrs, &kernel)
}

/// The shape of a pool's result: `[N, C, windows..]`.
fn pooled_shape(ctx: &InferCtx<'_>) -> Result<Shape, InferError> {
    let x = ctx.tensor(0)?;
    let window = window(ctx.attrs)?;
    if x.rank() != window.kernel.len() + 2 {
        return Err(InferError::Mismatch(format!(
            "a window of {} axes needs a batch, a channel and {} spatial axes, not {x}",
            window.kernel.len(),
            window.kernel.len()
        )));
    }
    let mut shape = x.shape[..2].to_vec();
    shape.extend(window.counts(&x.shape[2..], ctx.attrs.bool("ceil_mode")));
    Ok(shape)
}

/// What a reference needs of a window: everything as numbers.
struct Taps {
    window: Window,
    begins: Vec<i64>,
    kernel: Vec<usize>,
}

impl Taps {
    fn new(attrs: &Attrs) -> Result<Taps, alula_ir::EvalError> {
        let wrong = |error: InferError| alula_ir::EvalError::Value(error.to_string());
        let window = window(attrs).map_err(wrong)?;
        let begins = window.begins_known();
        let begins =
            begins.ok_or_else(|| alula_ir::EvalError::Value("pads are not known".to_owned()))?;
        let kernel = attrs.ints("kernel").iter().map(|k| *k as usize).collect();
        Ok(Taps {
            window,
            begins,
            kernel,
        })
    }

    /// The result's shape for an input's.
    fn shape(&self, input: &[usize], ceil_mode: bool) -> Vec<usize> {
        let extents: Vec<Dim> = input[2..].iter().map(|e| Dim::new(*e as i64)).collect();
        let counts = self.window.counts(&extents, ceil_mode);
        let counts = counts
            .iter()
            .map(|c| c.as_const().unwrap_or(0).max(0) as usize);
        input[..2].iter().copied().chain(counts).collect()
    }

    /// The input index of a tap of the window at `at`; it may lie outside.
    fn source(&self, at: &[usize], tap: &[usize]) -> Vec<i64> {
        let spatial = (0..tap.len()).map(|d| {
            at[2 + d] as i64 * self.window.strides[d] + tap[d] as i64 * self.window.dilations[d]
                - self.begins[d]
        });
        at[..2].iter().map(|&i| i as i64).chain(spatial).collect()
    }
}

/// Output indices, window variables and input indices of a pool's definition.
struct Sliding {
    /// The window's variables.
    taps: Vec<alula_kernel::VarId>,
    /// The element's index in the input before any check.
    index: Vec<alula_kernel::ExprId>,
    /// Spatial axes whose index may leave the input.
    padded: Vec<usize>,
}

impl Sliding {
    fn new(c: &mut alula_kernel::Compute, window: &Window, ceil_mode: bool) -> Sliding {
        let out = c.indices();
        let taps: Vec<_> = window
            .kernel
            .iter()
            .map(|k| c.pool.var(k.clone()))
            .collect();
        let mut index = out[..2].to_vec();
        let mut padded = Vec::new();
        for (axis, &tap) in taps.iter().enumerate() {
            let pool = &mut c.pool;
            let (stride, dilation) = (
                pool.int(window.strides[axis]),
                pool.int(window.dilations[axis]),
            );
            let start = pool.mul(out[2 + axis], stride);
            let tap = pool.var_expr(tap);
            let step = pool.mul(tap, dilation);
            let at = pool.add(start, step);
            let begin = pool.dim(window.begins[axis].clone());
            index.push(pool.sub(at, begin));
            if ceil_mode || !window.begins[axis].is(0) || !window.ends[axis].is(0) {
                padded.push(2 + axis);
            }
        }
        Sliding {
            taps,
            index,
            padded,
        }
    }
}
