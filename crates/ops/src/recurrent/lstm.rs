//! `lstm_scan`: long short-term memory.

use alula_ir::{
    AttrSpec, EvalCtx, EvalError, GraphError, HostValue, LowerCtx, LowerError, Lowering, OpDef,
    Traits,
};
use alula_kernel::{Kernel, ValueId};
use alula_tensor::{Dim, Scalar, ScalarOp, Tensor};

use super::activation::{ACTIVATIONS, ALPHAS, Activations, BETAS, CLIP, Formulas};
use super::looped::{Looped, Step};
use super::place::{self, Place};
use super::quantized::Quantized;
use super::scan::{self, FIRST_STATE, REVERSE, TRANSPOSED};
use super::sums::{self, Start};
use crate::loops::Loops;

const FIRST_CELL: usize = 4;
const PEEPHOLES: usize = 5;
const QUANTIZED: Quantized = Quantized { scale: 6, zero: 7 };

pub(super) static LOOPED: Looped = Looped {
    kinds: 3,
    firsts: &[FIRST_STATE, FIRST_CELL],
    extra: Some(PEEPHOLES),
    refused: &[QUANTIZED.scale, QUANTIZED.zero],
    cell: step,
};

/// At each step, with gates in the order input `i`, output `o`, forget `f`, cell `c`:
///
/// `i = f(g_i + r_i h + p_i c)`, `f = f(g_f + r_f h + p_f c)` (or `1 - i` with `input_forget`),
/// `c = f c + i g(g_c + r_c h)`, `o = f(g_o + r_o h + p_o c)`, `h = o h(c)`.
///
/// `r` is `[D, 4H, H]`, or `[D, H, 4H]` if it is `transposed`; `peepholes` `p` is `[D, 3H]` in the
/// order `i`, `o`, `f`. Activations are `f`, `g`, `h` for each direction. Results: all `h`, the
/// last `h`, the last `c`.
///
/// With `r_scale`, `f32[D, 4H]`, `r` is bytes: its rows have these scales and the zero points
/// `r_zero` (0 if absent), and each step quantizes `h` of all sequences together, as
/// `DynamicQuantizeLinear` does.
pub static LSTM_SCAN: OpDef = OpDef {
    name: "lstm_scan",
    summary: "c = f c + i g(..), h = o h(c) at each step; all h, the last h, the last c",
    operands: &[
        "gates",
        "r",
        "h0?",
        "lengths?",
        "c0?",
        "peepholes?",
        "r_scale?",
        "r_zero?",
    ],
    attrs: &[
        ACTIVATIONS,
        ALPHAS,
        BETAS,
        CLIP,
        REVERSE,
        TRANSPOSED,
        AttrSpec::bool(
            "input_forget",
            false,
            "the forget gate is 1 less the input gate",
        ),
    ],
    traits: Traits::NONE,
    infer: |ctx| {
        scan::infer(
            ctx,
            4,
            3,
            2,
            &[
                (FIRST_CELL, |e| {
                    vec![e.directions.clone(), e.batch.clone(), e.hidden.clone()]
                }),
                (PEEPHOLES, |e| {
                    vec![e.directions.clone(), e.hidden.clone() * Dim::new(3)]
                }),
            ],
            Some(QUANTIZED),
        )
    },
    eval,
    lowering: Lowering::Kernel(lower),
    examples: &[
        "graph @e(%g: f32[4, 2, 1, 12], %r: f32[1, 12, 3]) {
           %y, %h, %c = lstm_scan %g, %r {activations = [\"sigmoid\", \"tanh\", \"tanh\"],
             alphas = [0.0, 0.0, 0.0], betas = [0.0, 0.0, 0.0]}
           return y: %y, h: %h, c: %c }",
        "graph @e(%g: f32[T, N, 2, 8], %r: f32[2, 8, 2], %h0: f32[2, N, 2], %c0: f32[2, N, 2],
           %p: f32[2, 6]) {
           %y, %h, %c = lstm_scan %g, %r, %h0, _, %c0, %p {
             activations = [\"sigmoid\", \"tanh\", \"tanh\", \"hard_sigmoid\",
                            \"softplus\", \"elu\"],
             alphas = [0.0, 0.0, 0.0, 0.2, 0.0, 1.0], betas = [0.0, 0.0, 0.0, 0.5, 0.0, 0.0],
             clip = 2.0}
           return y: %y, h: %h, c: %c }",
        "graph @e(%g: f64[3, 3, 1, 4], %r: f64[1, 4, 1]) {
           %l = const i32[3] [3, 1, 0]
           %y, %h, %c = lstm_scan %g, %r, _, %l {activations = [\"sigmoid\", \"tanh\", \"relu\"],
             alphas = [0.0, 0.0, 0.0], betas = [0.0, 0.0, 0.0], reverse = true,
             input_forget = true}
           return y: %y, h: %h, c: %c }",
        "graph @e(%g: f32[3, N, 2, 40], %r: f32[2, 10, 40], %p: f32[2, 30]) {
           %y, %h, %c = lstm_scan %g, %r, _, _, _, %p {transposed = true,
             activations = [\"sigmoid\", \"tanh\", \"tanh\", \"sigmoid\", \"tanh\", \"tanh\"],
             alphas = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0], betas = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]}
           return y: %y, h: %h, c: %c }",
        "graph @e(%g: f32[T, N, 2, 8], %r: i8[2, 8, 2], %h0: f32[2, N, 2], %s: f32[2, 8]) {
           %y, %h, %c = lstm_scan %g, %r, %h0, _, _, _, %s {
             activations = [\"sigmoid\", \"tanh\", \"tanh\", \"sigmoid\", \"tanh\", \"tanh\"],
             alphas = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0], betas = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]}
           return y: %y, h: %h, c: %c }",
        "graph @e(%g: f32[3, 3, 1, 12], %r: u8[1, 12, 3], %s: f32[1, 12], %z: u8[1, 12]) {
           %l = const i32[3] [3, 1, 0]
           %y, %h, %c = lstm_scan %g, %r, _, %l, _, _, %s, %z {
             activations = [\"sigmoid\", \"tanh\", \"tanh\"],
             alphas = [0.0, 0.0, 0.0], betas = [0.0, 0.0, 0.0], reverse = true}
           return y: %y, h: %h, c: %c }",
    ],
};

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let activations = Activations::new(ctx.attrs, 3);
    let activations = activations.map_err(|error| EvalError::Value(error.to_string()))?;
    let peepholes = ctx.optional(PEEPHOLES).map(Tensor::to_f64s);
    let tied = ctx.attrs.bool("input_forget");
    scan::eval(ctx, &[FIRST_STATE, FIRST_CELL], Some(QUANTIZED), |step| {
        let (before, cell) = (step.states[0].clone(), step.states[1].clone());
        let size = before.len();
        let peep = |gate: usize, j: usize, cell: f64| match &peepholes {
            Some(peepholes) => peepholes[step.direction * 3 * size + gate * size + j] * cell,
            None => 0.0,
        };
        for (j, &old) in cell.iter().enumerate() {
            let input =
                |gate: usize| step.gates[gate * size + j] + step.product(gate * size + j, &before);
            let f = |kind: usize, x: f64| activations.eval(step.direction, kind, x);
            let i = f(0, input(0) + peep(0, j, old));
            let forget = if tied {
                1.0 - i
            } else {
                f(0, input(2) + peep(2, j, old))
            };
            let new_cell = forget * old + i * f(1, input(3));
            let o = f(0, input(1) + peep(1, j, new_cell));
            let new = o * activations.eval_unlimited(step.direction, 2, new_cell);
            step.states[0][j] = new;
            step.states[1][j] = new_cell;
        }
    })
}

fn lower(ctx: &LowerCtx<'_>) -> Result<Kernel, LowerError> {
    let activations = Activations::new(ctx.attrs, 3);
    let activations = activations.map_err(|error| LowerError::Unsupported(error.to_string()))?;
    let tied = ctx.attrs.bool("input_forget");
    let peepholes = ctx.has(PEEPHOLES).then(|| ctx.present(PEEPHOLES));
    place::lower(
        ctx,
        &[FIRST_STATE, FIRST_CELL],
        Some(QUANTIZED),
        |l| sums::keep_sums(l, ctx),
        |l, place| {
            let before = |l: &mut Loops, k| place.before(l, 0, k);
            let gates = [0, 1, 2, 3].map(|gate| (gate, Start::Input));
            place.each(l, 0, &gates, before, |l, j, inputs| {
                let cell = place.before(l, 1, j);
                let input = with_peephole(l, place, peepholes, (inputs[0], 0), j, cell);
                let i = activations.emit(l, place.direction, 0, input);
                let forget = if tied {
                    let one = l.constant(place.dtype, Scalar::Float(1.0));
                    l.apply(ScalarOp::Sub, &[one, i])
                } else {
                    let input = with_peephole(l, place, peepholes, (inputs[2], 2), j, cell);
                    activations.emit(l, place.direction, 0, input)
                };
                let candidate = activations.emit(l, place.direction, 1, inputs[3]);
                let (kept, added) = (l.mul(forget, cell), l.mul(i, candidate));
                let new_cell = l.add(kept, added);
                place.replace(l, 1, j, new_cell);
                let input = with_peephole(l, place, peepholes, (inputs[1], 1), j, new_cell);
                let o = activations.emit(l, place.direction, 0, input);
                let bent = activations.emit_unlimited(l, place.direction, 2, new_cell);
                let value = l.mul(o, bent);
                place.note(l, j, value);
            });
            place.adopt(l);
        },
    )
}

/// A gate's input plus what its peephole sees of the cell.
fn with_peephole(
    l: &mut Loops,
    place: &Place,
    peepholes: Option<usize>,
    (input, gate): (ValueId, i64),
    j: ValueId,
    cell: ValueId,
) -> ValueId {
    let Some(param) = peepholes else {
        return input;
    };
    let start = l.times(place.direction, place.hidden.clone() * Dim::new(3));
    let row = place.row(l, gate, j);
    let at = l.add(start, row);
    let weight = l.load(param, at);
    let weight = l.cast(weight, place.dtype);
    let seen = l.mul(weight, cell);
    l.add(input, seen)
}

/// One step of the loop.
fn step(step: &mut Step<'_>) -> Result<Vec<alula_ir::ValueId>, GraphError> {
    let (before, cell) = (step.states[0], step.states[1]);
    let products = step.products(0..4, before)?;
    // A gate's input, plus what its peephole sees of a cell.
    let sum = |step: &mut Step<'_>, gate: usize, cell: Option<alula_ir::ValueId>| {
        let input = step.sum(gate, products, gate)?;
        let (Some(peepholes), Some(cell)) = (step.extra, cell) else {
            return Ok(input);
        };
        let weights = step.part(peepholes, gate)?;
        let seen = step.apply(ScalarOp::Mul, &[weights, cell]);
        Ok(step.apply(ScalarOp::Add, &[input, seen]))
    };
    let i = sum(step, 0, Some(cell))?;
    let i = step.activate(0, i);
    let forget = match step.attrs.bool("input_forget") {
        true => {
            let one = step.number(i, 1.0);
            step.apply(ScalarOp::Sub, &[one, i])
        }
        false => {
            let input = sum(step, 2, Some(cell))?;
            step.activate(0, input)
        }
    };
    let candidate = sum(step, 3, None)?;
    let candidate = step.activate(1, candidate);
    let kept = step.apply(ScalarOp::Mul, &[forget, cell]);
    let added = step.apply(ScalarOp::Mul, &[i, candidate]);
    let new_cell = step.apply(ScalarOp::Add, &[kept, added]);
    let o = sum(step, 1, Some(new_cell))?;
    let o = step.activate(0, o);
    let bent = step.activate_unlimited(2, new_cell);
    let hidden = step.apply(ScalarOp::Mul, &[o, bent]);
    Ok(vec![hidden, new_cell])
}
