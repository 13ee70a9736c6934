//! `gru_scan`: gated recurrent unit.

use alula_ir::{
    AttrSpec, EvalCtx, EvalError, GraphError, HostValue, LowerCtx, LowerError, Lowering, OpDef,
    Traits,
};
use alula_kernel::{Kernel, ValueId};
use alula_tensor::{Scalar, ScalarOp, Tensor};

use super::activation::{ACTIVATIONS, ALPHAS, Activations, BETAS, CLIP, Formulas};
use super::looped::{Looped, Step};
use super::place::{self, Place};
use super::scan::{self, Extents, FIRST_STATE, REVERSE, TRANSPOSED};
use super::sums::{self, Start};
use crate::loops::Loops;

const RECURRENT_BIAS: usize = 4;

pub(super) static LOOPED: Looped = Looped {
    kinds: 2,
    firsts: &[FIRST_STATE],
    extra: Some(RECURRENT_BIAS),
    refused: &[],
    cell: step,
};

/// At each step, with gates in the order update `z`, reset `r`, hidden `n`:
///
/// `z = f(g_z + r_z h)`, `r = f(g_r + r_r h)`, `n = g(g_n + r_n (r h))`, `h = (1 - z) n + z h`.
///
/// With `linear_before_reset`, `n = g(g_n + r (r_n h + b))`, where `b` is `recurrent_bias`,
/// `[D, H]` (0 if absent). `r` is `[D, 3H, H]`, or `[D, H, 3H]` if it is `transposed`. Activations
/// are `f`, `g` for each direction.
/// Results: all `h`, the last `h`.
pub static GRU_SCAN: OpDef = OpDef {
    name: "gru_scan",
    summary: "h = (1 - z) n + z h at each step; all h, and the last",
    operands: &["gates", "r", "h0?", "lengths?", "recurrent_bias?"],
    attrs: &[
        ACTIVATIONS,
        ALPHAS,
        BETAS,
        CLIP,
        REVERSE,
        TRANSPOSED,
        AttrSpec::bool(
            "linear_before_reset",
            false,
            "the reset gate scales the product",
        ),
    ],
    traits: Traits::NONE,
    infer: |ctx| {
        let bias = (
            RECURRENT_BIAS,
            bias_shape as fn(&Extents) -> alula_tensor::Shape,
        );
        scan::infer(ctx, 3, 2, 1, &[bias], None)
    },
    eval,
    lowering: Lowering::Kernel(lower),
    examples: &[
        "graph @e(%g: f32[4, 2, 1, 9], %r: f32[1, 9, 3]) {
           %y, %h = gru_scan %g, %r {activations = [\"sigmoid\", \"tanh\"], alphas = [0.0, 0.0],
             betas = [0.0, 0.0]}
           return y: %y, h: %h }",
        "graph @e(%g: f32[T, N, 2, 6], %r: f32[2, 6, 2], %h0: f32[2, N, 2], %b: f32[2, 2]) {
           %y, %h = gru_scan %g, %r, %h0, _, %b {linear_before_reset = true,
             activations = [\"sigmoid\", \"tanh\", \"sigmoid\", \"scaled_tanh\"],
             alphas = [0.0, 0.0, 0.0, 0.5], betas = [0.0, 0.0, 0.0, 2.0]}
           return y: %y, h: %h }",
        "graph @e(%g: f64[3, 3, 2, 3], %r: f64[2, 3, 1]) {
           %l = const i32[3] [3, 1, 0]
           %y, %h = gru_scan %g, %r, _, %l {
             activations = [\"sigmoid\", \"leaky_relu\", \"sigmoid\", \"thresholded_relu\"],
             alphas = [0.0, 0.1, 0.0, 0.2], betas = [0.0, 0.0, 0.0, 0.0], clip = 1.0}
           return y: %y, h: %h }",
        "graph @e(%g: f32[3, 2, 1, 33], %r: f32[1, 11, 33], %b: f32[1, 11]) {
           %l = const i32[2] [3, 2]
           %y, %h = gru_scan %g, %r, _, %l, %b {transposed = true, reverse = true,
             activations = [\"sigmoid\", \"tanh\"], alphas = [0.0, 0.0], betas = [0.0, 0.0]}
           return y: %y, h: %h }",
        "graph @e(%g: f64[3, 2, 1, 48], %r: f64[1, 16, 48]) {
           %y, %h = gru_scan %g, %r {transposed = true, linear_before_reset = true,
             activations = [\"sigmoid\", \"tanh\"], alphas = [0.0, 0.0], betas = [0.0, 0.0]}
           return y: %y, h: %h }",
    ],
};

fn bias_shape(extents: &Extents) -> alula_tensor::Shape {
    vec![extents.directions.clone(), extents.hidden.clone()]
}

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let activations = Activations::new(ctx.attrs, 2);
    let activations = activations.map_err(|error| EvalError::Value(error.to_string()))?;
    let bias = ctx.optional(RECURRENT_BIAS).map(Tensor::to_f64s);
    let linear = ctx.attrs.bool("linear_before_reset");
    scan::eval(ctx, &[FIRST_STATE], None, |step| {
        let before = step.states[0].clone();
        let size = before.len();
        let gate = |row: usize| {
            activations.eval(
                step.direction,
                0,
                step.gates[row] + step.product(row, &before),
            )
        };
        let update: Vec<f64> = (0..size).map(gate).collect();
        let reset: Vec<f64> = (size..2 * size).map(gate).collect();
        let shrunk: Vec<f64> = reset.iter().zip(&before).map(|(r, h)| r * h).collect();
        for j in 0..size {
            let row = 2 * size + j;
            let bias = bias
                .as_ref()
                .map_or(0.0, |bias| bias[step.direction * size + j]);
            let recurrent = match linear {
                true => reset[j] * (step.product(row, &before) + bias),
                false => step.product(row, &shrunk) + bias,
            };
            let new = activations.eval(step.direction, 1, step.gates[row] + recurrent);
            step.states[0][j] = (1.0 - update[j]) * new + update[j] * before[j];
        }
    })
}

fn lower(ctx: &LowerCtx<'_>) -> Result<Kernel, LowerError> {
    let activations = Activations::new(ctx.attrs, 2);
    let activations = activations.map_err(|error| LowerError::Unsupported(error.to_string()))?;
    let bias = ctx.has(RECURRENT_BIAS).then(|| ctx.present(RECURRENT_BIAS));
    let cell = Cell { activations, bias };
    if ctx.attrs.bool("linear_before_reset") {
        return place::lower(
            ctx,
            &[FIRST_STATE],
            None,
            |l| sums::keep_sums(l, ctx),
            |l, place| {
                let before = |l: &mut Loops, k| place.before(l, 0, k);
                let gates = [(0, Start::Input), (1, Start::Input), (2, Start::Zero)];
                place.each(l, 0, &gates, before, |l, j, sums| {
                    let update = cell.gate(l, place, sums[0]);
                    let reset = cell.gate(l, place, sums[1]);
                    let recurrent = cell.with_bias(l, place, j, sums[2]);
                    let recurrent = l.mul(reset, recurrent);
                    let input = place.gate(l, 2, j);
                    let input = l.add(input, recurrent);
                    let value = cell.next(l, place, j, input, update);
                    place.note(l, j, value);
                });
                place.adopt(l);
            },
        );
    }
    let hidden = Extents::of(ctx).hidden;
    let Some(size) = hidden.as_const().and_then(|size| u32::try_from(size).ok()) else {
        return Err(LowerError::Unsupported(format!(
            "gru_scan with a hidden size of {hidden} that is not known when compiling"
        )));
    };
    // The product takes the reset state of every element, so all gates are computed before.
    let dtype = ctx.tensor(0).dtype.compute();
    let prepare = |l: &mut Loops| {
        l.local("update", dtype, size);
        l.local("shrunk", dtype, size);
        sums::keep_sums(l, ctx);
    };
    place::lower(ctx, &[FIRST_STATE], None, prepare, |l, place| {
        let before = |l: &mut Loops, k| place.before(l, 0, k);
        let gates = [0, 1].map(|gate| (gate, Start::Input));
        place.each(l, 2, &gates, before, |l, j, sums| {
            let update = cell.gate(l, place, sums[0]);
            l.store_local(0, j, update);
            let reset = cell.gate(l, place, sums[1]);
            let before = place.before(l, 0, j);
            let shrunk = l.mul(reset, before);
            l.store_local(1, j, shrunk);
        });
        let shrunk = |l: &mut Loops, k| l.load_local(1, k);
        place.each(l, 2, &[(2, Start::Input)], shrunk, |l, j, sums| {
            let input = cell.with_bias(l, place, j, sums[0]);
            let update = l.load_local(0, j);
            let value = cell.next(l, place, j, input, update);
            place.note(l, j, value);
        });
        place.adopt(l);
    })
}

struct Cell {
    activations: Activations,
    bias: Option<usize>,
}

impl Cell {
    /// `f(input)`.
    fn gate(&self, l: &mut Loops, place: &Place, input: ValueId) -> ValueId {
        self.activations.emit(l, place.direction, 0, input)
    }

    fn with_bias(&self, l: &mut Loops, place: &Place, j: ValueId, sum: ValueId) -> ValueId {
        let Some(param) = self.bias else {
            return sum;
        };
        let start = l.times(place.direction, place.hidden.clone());
        let at = l.add(start, j);
        let bias = l.load(param, at);
        let bias = l.cast(bias, place.dtype);
        l.add(sum, bias)
    }

    /// `(1 - z) g(input) + z h`.
    fn next(
        &self,
        l: &mut Loops,
        place: &Place,
        j: ValueId,
        input: ValueId,
        update: ValueId,
    ) -> ValueId {
        let new = self.activations.emit(l, place.direction, 1, input);
        let one = l.constant(place.dtype, Scalar::Float(1.0));
        let rest = l.apply(ScalarOp::Sub, &[one, update]);
        let before = place.before(l, 0, j);
        let (fresh, kept) = (l.mul(rest, new), l.mul(update, before));
        l.add(fresh, kept)
    }
}

/// One step of the loop.
fn step(step: &mut Step<'_>) -> Result<Vec<alula_ir::ValueId>, GraphError> {
    let before = step.states[0];
    let is_linear = step.attrs.bool("linear_before_reset");
    let products = step.products(0..if is_linear { 3 } else { 2 }, before)?;
    let update = step.sum(0, products, 0)?;
    let update = step.activate(0, update);
    let reset = step.sum(1, products, 1)?;
    let reset = step.activate(0, reset);
    let mut recurrent = match is_linear {
        true => step.part(products, 2)?,
        false => {
            let shrunk = step.apply(ScalarOp::Mul, &[reset, before]);
            step.products(2..3, shrunk)?
        }
    };
    if let Some(bias) = step.extra {
        recurrent = step.apply(ScalarOp::Add, &[recurrent, bias]);
    }
    if is_linear {
        recurrent = step.apply(ScalarOp::Mul, &[reset, recurrent]);
    }
    let input = step.input(2)?;
    let input = step.apply(ScalarOp::Add, &[input, recurrent]);
    let new = step.activate(1, input);
    let one = step.number(update, 1.0);
    let rest = step.apply(ScalarOp::Sub, &[one, update]);
    let fresh = step.apply(ScalarOp::Mul, &[rest, new]);
    let kept = step.apply(ScalarOp::Mul, &[update, before]);
    Ok(vec![step.apply(ScalarOp::Add, &[fresh, kept])])
}
