//! Scans with quantized recurrent weights: each step quantizes the hidden states, too, so that
//! products are sums of integers.
//!
//! The range of a step is that of 0 and the states that the step before left: those of sequences
//! that ended earlier do not count. As in
//! `DynamicQuantizeLinear`, it is divided into 255 steps: `scale = (most - least) / 255` (1 for an
//! empty range), `zero = round(-least / scale)`, and a state's code less the zero point is
//! `round(h / scale)` within `-zero..255 - zero`. All of this is `f32`: codes depend on the last
//! bit.

use alula_ir::{EvalCtx, InferCtx, InferError, LowerCtx};
use alula_kernel::ValueId;
use alula_tensor::{DType, Scalar, ScalarOp, Tensor};

use super::place::Walk;
use super::scan::{GATES, WEIGHTS};
use crate::loops::Loops;

/// Positions of the operands that quantize recurrent weights: for each row a scale, `f32[D, G*H]`,
/// and a zero point of the weights' dtype (0 if absent).
#[derive(Clone, Copy, Debug)]
pub(super) struct Quantized {
    pub(super) scale: usize,
    pub(super) zero: usize,
}

impl Quantized {
    /// Whether a node has such weights.
    pub(super) fn is_given(self, ctx: &InferCtx<'_>) -> bool {
        ctx.has(self.scale) || ctx.has(self.zero)
    }

    /// Checks dtypes and shapes.
    pub(super) fn check(self, ctx: &InferCtx<'_>) -> Result<(), InferError> {
        let (gates, weights) = (ctx.tensor(GATES)?, ctx.tensor(WEIGHTS)?);
        let scale = ctx.tensor(self.scale)?;
        let is_byte = matches!(weights.dtype, DType::I8 | DType::U8);
        if !is_byte || scale.dtype != DType::F32 || gates.dtype != DType::F32 {
            return Err(InferError::Mismatch(format!(
                "quantized weights {weights} with scale {scale} must be bytes and f32, \
                 gates {gates} f32"
            )));
        }
        let mut params = vec![scale];
        if ctx.has(self.zero) {
            ctx.expect_same_dtype(WEIGHTS, self.zero)?;
            params.push(ctx.tensor(self.zero)?);
        }
        for param in params {
            let fits = param.rank() == 2
                && weights.rank() == 3
                && param.shape.iter().zip(&weights.shape).all(|(a, b)| a == b);
            if !fits {
                return Err(InferError::Mismatch(format!(
                    "{param} must have one element for each row of {weights}"
                )));
            }
        }
        Ok(())
    }
}

/// How a step quantizes the hidden states.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepScale {
    scale: f32,
    zero: f32,
}

impl StepScale {
    /// For these states.
    pub(super) fn new(states: impl Iterator<Item = f64>) -> StepScale {
        let (least, most) = states.fold((0.0_f32, 0.0_f32), |(least, most), state| {
            (least.min(state as f32), most.max(state as f32))
        });
        let range = most - least;
        let scale = if range == 0.0 { 1.0 } else { range / 255.0 };
        let zero = ((0.0 - least) / scale).round_ties_even();
        StepScale { scale, zero }
    }

    fn code(self, state: f64) -> f64 {
        let code = (state as f32 / self.scale).round_ties_even();
        f64::from(code.max(0.0 - self.zero).min(255.0 - self.zero))
    }
}

/// Scales and zero points in the reference.
pub(super) struct Table {
    rows: usize,
    scales: Vec<f64>,
    zeros: Option<Vec<f64>>,
}

impl Table {
    /// Those of a node, if its weights are quantized.
    pub(super) fn new(ctx: &EvalCtx<'_>, quantized: Quantized) -> Option<Table> {
        let scales = ctx.optional(quantized.scale)?;
        Some(Table {
            rows: scales.shape()[1],
            scales: scales.to_f64s(),
            zeros: ctx.optional(quantized.zero).map(Tensor::to_f64s),
        })
    }

    /// The codes of a sequence's hidden state.
    pub(super) fn codes(&self, direction: usize, scale: StepScale, state: &[f64]) -> Codes<'_> {
        Codes {
            table: self,
            direction,
            scale: scale.scale,
            codes: state.iter().map(|value| scale.code(*value)).collect(),
        }
    }
}

/// A hidden state, quantized, in the reference.
pub(super) struct Codes<'t> {
    table: &'t Table,
    direction: usize,
    scale: f32,
    codes: Vec<f64>,
}

impl Codes<'_> {
    /// Row `row` of the weights times the state.
    pub(super) fn product(&self, row: usize, weights: &[f64]) -> f64 {
        let at = self.direction * self.table.rows + row;
        let zero = self.table.zeros.as_ref().map_or(0.0, |zeros| zeros[at]);
        let terms = weights.iter().zip(&self.codes);
        // Whole numbers far below 2^53.
        let sum: f64 = terms.map(|(weight, code)| (weight - zero) * code).sum();
        let scale = self.scale * self.table.scales[at] as f32;
        f64::from(sum as f32 * scale)
    }
}

/// Scales and zero points in a kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Params {
    /// Positions among the parameters.
    scale: usize,
    zero: Option<usize>,
}

impl Params {
    /// Those of a node, if its weights are quantized.
    pub(super) fn new(ctx: &LowerCtx<'_>, quantized: Quantized) -> Option<Params> {
        ctx.has(quantized.scale).then(|| Params {
            scale: ctx.present(quantized.scale),
            zero: ctx.has(quantized.zero).then(|| ctx.present(quantized.zero)),
        })
    }

    /// Replaces the hidden states of the sequences that still run at step `k` by their codes less
    /// the zero point, which are whole numbers. Returns the scale.
    pub(super) fn quantize(self, l: &mut Loops, walk: &Walk<'_>, k: ValueId) -> ValueId {
        let float = |l: &mut Loops, value: f64| l.constant(DType::F32, Scalar::Float(value));
        let none = float(l, 0.0);
        let least = extreme(l, walk, k, ScalarOp::Min, none);
        let most = extreme(l, walk, k, ScalarOp::Max, none);
        let range = l.apply(ScalarOp::Sub, &[most, least]);
        let steps = float(l, 255.0);
        let scale = l.apply(ScalarOp::Div, &[range, steps]);
        let is_empty = l.apply(ScalarOp::Eq, &[range, none]);
        let one = float(l, 1.0);
        let scale = l.apply(ScalarOp::Select, &[is_empty, one, scale]);
        let offset = l.apply(ScalarOp::Sub, &[none, least]);
        let zero = l.apply(ScalarOp::Div, &[offset, scale]);
        let zero = l.apply(ScalarOp::Round, &[zero]);
        let low = l.apply(ScalarOp::Sub, &[none, zero]);
        let high = l.apply(ScalarOp::Sub, &[steps, zero]);
        l.repeat(walk.batch(), |l, run| {
            walk.if_runs(l, run, k, |l, _| {
                let state = walk.state(l, run);
                l.repeat(walk.hidden(), |l, j| {
                    let at = l.add(state, j);
                    let value = l.load(walk.hidden_param(), at);
                    let code = l.apply(ScalarOp::Div, &[value, scale]);
                    let code = l.apply(ScalarOp::Round, &[code]);
                    let code = l.apply(ScalarOp::Max, &[code, low]);
                    let code = l.apply(ScalarOp::Min, &[code, high]);
                    l.store(walk.hidden_param(), at, code);
                });
            });
        });
        scale
    }

    /// A weight less the zero point of its row, in `i32`.
    pub(super) fn weight(self, l: &mut Loops, at: ValueId, zero: Option<ValueId>) -> ValueId {
        let weight = l.load(WEIGHTS, at);
        let weight = l.cast(weight, DType::I32);
        match zero {
            Some(zero) => l.apply(ScalarOp::Sub, &[weight, zero]),
            None => weight,
        }
    }

    /// The zero point of a row (counted over all directions), in `i32`.
    pub(super) fn zero(self, l: &mut Loops, row: ValueId) -> Option<ValueId> {
        let zero = l.load(self.zero?, row);
        Some(l.cast(zero, DType::I32))
    }

    /// A sum of integers as the number that it stands for.
    pub(super) fn scaled(
        self,
        l: &mut Loops,
        sum: ValueId,
        step_scale: ValueId,
        row: ValueId,
    ) -> ValueId {
        let scale = l.load(self.scale, row);
        let scale = l.mul(step_scale, scale);
        let sum = l.cast(sum, DType::F32);
        l.mul(sum, scale)
    }
}

/// The least or greatest element of 0 and the hidden states that the step before `k` left.
fn extreme(l: &mut Loops, walk: &Walk<'_>, k: ValueId, op: ScalarOp, none: ValueId) -> ValueId {
    let over_runs = |l: &mut Loops, run: ValueId, acc: Option<ValueId>| {
        let state = walk.state(l, run);
        let counts = walk.left_state(l, run, k);
        l.repeat_carrying(walk.hidden(), acc, |l, j, acc| {
            let at = l.add(state, j);
            let value = l.load(walk.hidden_param(), at);
            let value = match counts {
                Some(counts) => l.apply(ScalarOp::Select, &[counts, value, none]),
                None => value,
            };
            acc.map(|acc| l.apply(op, &[acc, value]))
        })
    };
    let result = l.repeat_carrying(walk.batch(), Some(none), over_runs);
    result.unwrap_or(none)
}
