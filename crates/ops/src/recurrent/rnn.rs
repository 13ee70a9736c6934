//! `rnn_scan`: the simple recurrence.

use alula_ir::{Lowering, OpDef, Traits};

use super::activation::{ACTIVATIONS, ALPHAS, Activations, BETAS, CLIP};
use super::looped::Looped;
use super::place;
use super::scan::{self, FIRST_STATE, REVERSE, TRANSPOSED};
use super::sums::{self, Start};

pub(super) static LOOPED: Looped = Looped {
    kinds: 1,
    firsts: &[FIRST_STATE],
    extra: None,
    refused: &[],
    cell: |step| {
        let products = step.products(0..1, step.states[0])?;
        let input = step.sum(0, products, 0)?;
        Ok(vec![step.activate(0, input)])
    },
};

/// `h = f(gates + r h)` at each step. `r` is `[D, H, H]`, of columns first if it is `transposed`.
pub static RNN_SCAN: OpDef = OpDef {
    name: "rnn_scan",
    summary: "h = f(gates + r h) at each step; all h, and the last",
    operands: &["gates", "r", "h0?", "lengths?"],
    attrs: &[ACTIVATIONS, ALPHAS, BETAS, CLIP, REVERSE, TRANSPOSED],
    traits: Traits::NONE,
    infer: |ctx| scan::infer(ctx, 1, 1, 1, &[], None),
    eval: |ctx| {
        let activations = Activations::new(ctx.attrs, 1)
            .map_err(|error| alula_ir::EvalError::Value(error.to_string()))?;
        scan::eval(ctx, &[FIRST_STATE], None, |step| {
            let before = step.states[0].clone();
            for j in 0..before.len() {
                let input = step.gates[j] + step.product(j, &before);
                step.states[0][j] = activations.eval(step.direction, 0, input);
            }
        })
    },
    lowering: Lowering::Kernel(|ctx| {
        let activations = Activations::new(ctx.attrs, 1)
            .map_err(|error| alula_ir::LowerError::Unsupported(error.to_string()))?;
        place::lower(
            ctx,
            &[FIRST_STATE],
            None,
            |l| sums::keep_sums(l, ctx),
            |l, place| {
                let before = |l: &mut crate::loops::Loops, k| place.before(l, 0, k);
                place.each(l, 0, &[(0, Start::Input)], before, |l, j, inputs| {
                    let value = activations.emit(l, place.direction, 0, inputs[0]);
                    place.note(l, j, value);
                });
                place.adopt(l);
            },
        )
    }),
    examples: &[
        "graph @e(%g: f32[4, 2, 1, 3], %r: f32[1, 3, 3]) {
           %y, %h = rnn_scan %g, %r {activations = [\"tanh\"], alphas = [0.0], betas = [0.0]}
           return y: %y, h: %h }",
        "graph @e(%g: f64[T, N, 2, 3], %r: f64[2, 3, 3], %s: f64[2, N, 3]) {
           %y, %h = rnn_scan %g, %r, %s {activations = [\"relu\", \"affine\"],
             alphas = [0.0, 0.3], betas = [0.0, 0.1], clip = 1.5}
           return y: %y, h: %h }",
        "graph @e(%g: f32[4, N, 1, H], %r: f32[1, H, H]) {
           %y, %h = rnn_scan %g, %r {transposed = true, activations = [\"tanh\"], alphas = [0.0],
             betas = [0.0]}
           return y: %y, h: %h }",
        "graph @e(%g: f32[4, 3, 1, 2], %r: f32[1, 2, 2]) {
           %l = const i32[3] [4, 0, 2]
           %y, %h = rnn_scan %g, %r, _, %l {activations = [\"softsign\"], alphas = [0.0],
             betas = [0.0], reverse = true}
           return y: %y, h: %h }",
    ],
};
