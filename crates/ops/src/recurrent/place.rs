//! The kernel of a scan: its loops over steps, and a cell's place in them.

use alula_ir::{LowerCtx, LowerError};
use alula_kernel::{Access, Kernel, ValueId};
use alula_tensor::{DType, Dim, Scalar, ScalarOp};

use super::quantized::{Params, Quantized};
use super::scan::{Extents, GATES, LENGTHS, TRANSPOSED};
use super::sums::columns;
use crate::loops::Loops;

/// A kernel's place in one step of one sequence.
pub(super) struct Place {
    pub(super) hidden: Dim,
    /// Values are computed in this dtype.
    pub(super) dtype: DType,
    /// Direction, an `i64`.
    pub(super) direction: ValueId,
    /// First element of the gates' inputs.
    gates: ValueId,
    /// First element of the direction's recurrent weights.
    pub(super) weights: ValueId,
    /// First element of the step in result 0, all hidden states.
    all: ValueId,
    /// First element in the last states.
    pub(super) state: ValueId,
    /// Position of result 0 among the parameters.
    first_result: usize,
    /// Number of the direction's first row of weights.
    pub(super) first_row: ValueId,
    /// Elements between rows of weights, and between columns.
    pub(super) strides: [Dim; 2],
    /// Columns of weights, if they are read column by column.
    pub(super) columns: Option<i64>,
    /// Where the hidden state is quantized: the operands for weights, and the step's scale.
    pub(super) quantized: Option<(Params, ValueId)>,
}

impl Place {
    /// Input of gate `gate` of hidden element `j`; those of the next gate follow.
    pub(super) fn gate(&self, l: &mut Loops, gate: i64, j: ValueId) -> ValueId {
        let row = self.row(l, gate, j);
        let at = l.add(self.gates, row);
        let value = l.load(GATES, at);
        l.cast(value, self.dtype)
    }

    /// `gate * H + j`.
    pub(super) fn row(&self, l: &mut Loops, gate: i64, j: ValueId) -> ValueId {
        let offset = l.dim(self.hidden.clone() * Dim::new(gate));
        l.add(offset, j)
    }

    /// Element `k` of a state before the step: 0 for the hidden one.
    pub(super) fn before(&self, l: &mut Loops, state: usize, k: ValueId) -> ValueId {
        let at = l.add(self.state, k);
        let value = l.load(self.first_result + 1 + state, at);
        l.cast(value, self.dtype)
    }

    /// Replaces element `k` of a state.
    pub(super) fn replace(&self, l: &mut Loops, state: usize, k: ValueId, value: ValueId) {
        let at = l.add(self.state, k);
        l.store(self.first_result + 1 + state, at, value);
    }

    /// Notes element `k` of the hidden state after the step.
    pub(super) fn note(&self, l: &mut Loops, k: ValueId, value: ValueId) {
        let at = l.add(self.all, k);
        l.store(self.first_result, at, value);
    }

    /// Element `k` of what [`Place::note`] wrote in this step.
    pub(super) fn noted(&self, l: &mut Loops, k: ValueId) -> ValueId {
        let at = l.add(self.all, k);
        let value = l.load(self.first_result, at);
        l.cast(value, self.dtype)
    }

    /// Makes what was noted the hidden state.
    pub(super) fn adopt(&self, l: &mut Loops) {
        let hidden = l.dim(self.hidden.clone());
        l.repeat_lanes(hidden, |l, k| {
            let value = self.noted(l, k);
            self.replace(l, 0, k, value);
        });
    }
}

/// The loops around a cell.
pub(super) struct Walk<'c> {
    ctx: &'c LowerCtx<'c>,
    extents: Extents,
    direction: ValueId,
    first_result: usize,
}

impl Walk<'_> {
    pub(super) fn batch(&self) -> Dim {
        self.extents.batch.clone()
    }

    pub(super) fn hidden(&self) -> Dim {
        self.extents.hidden.clone()
    }

    /// The parameter with the hidden states.
    pub(super) fn hidden_param(&self) -> usize {
        self.first_result + 1
    }

    fn gates_dtype(&self) -> DType {
        self.ctx.tensor(GATES).dtype
    }

    /// First element of a sequence's states.
    pub(super) fn state(&self, l: &mut Loops, run: ValueId) -> ValueId {
        let place = l.times(self.direction, self.batch());
        let place = l.add(place, run);
        l.times(place, self.hidden())
    }

    /// Writes the first states of a sequence, which are in the operands `firsts`.
    fn begin(&self, l: &mut Loops, run: ValueId, firsts: &[usize]) {
        let state = self.state(l, run);
        for (kind, &first) in firsts.iter().enumerate() {
            let param = self.ctx.has(first).then(|| self.ctx.present(first));
            l.repeat(self.hidden(), |l, k| {
                let at = l.add(state, k);
                let value = match param {
                    Some(param) => l.load(param, at),
                    None => l.constant(self.gates_dtype(), Scalar::Float(0.0)),
                };
                l.store(self.first_result + 1 + kind, at, value);
            });
        }
    }

    /// Number of a sequence's steps.
    fn length(&self, l: &mut Loops, run: ValueId) -> ValueId {
        let steps = l.dim(self.extents.steps.clone());
        if !self.ctx.has(LENGTHS) {
            return steps;
        }
        let given = l.load(self.ctx.present(LENGTHS), run);
        let given = l.cast(given, DType::I64);
        let zero = l.constant(DType::I64, Scalar::Int(0));
        let some = l.apply(ScalarOp::Max, &[given, zero]);
        l.apply(ScalarOp::Min, &[some, steps])
    }

    /// Whether the step before `k` of a sequence left its state; `None` where all did.
    pub(super) fn left_state(&self, l: &mut Loops, run: ValueId, k: ValueId) -> Option<ValueId> {
        self.ctx.has(LENGTHS).then(|| {
            let length = self.length(l, run);
            l.apply(ScalarOp::Le, &[k, length])
        })
    }

    /// What happens to a sequence that has a step `k`; `body` gets its length.
    pub(super) fn if_runs(
        &self,
        l: &mut Loops,
        run: ValueId,
        k: ValueId,
        body: impl FnOnce(&mut Loops, ValueId),
    ) {
        let length = self.length(l, run);
        if !self.ctx.has(LENGTHS) {
            return body(l, length);
        }
        let runs = l.apply(ScalarOp::Lt, &[k, length]);
        l.when(runs, |l| body(l, length));
    }

    /// First element of a step in result 0.
    fn first_of(&self, l: &mut Loops, step: ValueId, run: ValueId) -> ValueId {
        let at = l.times(step, self.extents.directions.clone());
        let at = l.add(at, self.direction);
        let at = l.times(at, self.batch());
        let at = l.add(at, run);
        l.times(at, self.hidden())
    }

    /// The place of step `k` of a sequence with `length` steps.
    fn place(
        &self,
        l: &mut Loops,
        run: ValueId,
        (k, length): (ValueId, ValueId),
        quantized: Option<(Params, ValueId)>,
    ) -> Place {
        let (rows, hidden) = (self.extents.rows.clone(), self.hidden());
        let columns = columns(self.ctx, &self.extents).map(|[_, columns]| columns);
        let one = l.constant(DType::I64, Scalar::Int(1));
        let from_end = l.apply(ScalarOp::Sub, &[length, k]);
        let from_end = l.apply(ScalarOp::Sub, &[from_end, one]);
        let is_single = self.extents.directions.is(1);
        let step = match (is_single, self.ctx.attrs.bool("reverse")) {
            (true, true) => from_end,
            (true, false) => k,
            (false, _) => {
                let is_second = l.apply(ScalarOp::Eq, &[self.direction, one]);
                l.apply(ScalarOp::Select, &[is_second, from_end, k])
            }
        };
        let gates = l.times(step, self.batch());
        let gates = l.add(gates, run);
        let gates = l.times(gates, self.extents.directions.clone());
        let gates = l.add(gates, self.direction);
        let first_row = l.times(self.direction, rows.clone());
        Place {
            hidden: self.hidden(),
            dtype: self.gates_dtype().compute(),
            direction: self.direction,
            gates: l.times(gates, rows.clone()),
            weights: l.times(first_row, hidden.clone()),
            all: self.first_of(l, step, run),
            state: self.state(l, run),
            first_result: self.first_result,
            first_row,
            strides: match self.ctx.attrs.bool(TRANSPOSED.name) {
                true => [Dim::new(1), rows],
                false => [hidden, Dim::new(1)],
            },
            columns,
            quantized,
        }
    }

    /// Writes zeros after the last step of a sequence.
    fn end(&self, l: &mut Loops, run: ValueId) {
        let steps = l.dim(self.extents.steps.clone());
        let length = self.length(l, run);
        let rest = l.apply(ScalarOp::Sub, &[steps, length]);
        l.repeat_value(rest, |l, k| {
            let step = l.add(length, k);
            let at = self.first_of(l, step, run);
            l.repeat(self.hidden(), |l, j| {
                let at = l.add(at, j);
                let zero = l.constant(self.gates_dtype(), Scalar::Float(0.0));
                l.store(self.first_result, at, zero);
            });
        });
    }
}

/// The kernel: a point for each direction and sequence, and the steps one after the other. Where
/// the hidden states are quantized, sequences share a range: a point for each direction, and within
/// a step the sequences one after the other.
///
/// The states live in their results, so that any hidden size will do. `firsts` are the operands
/// with the first states.
pub(super) fn lower(
    ctx: &LowerCtx<'_>,
    firsts: &[usize],
    quantized: Option<Quantized>,
    prepare: impl FnOnce(&mut Loops),
    cell: impl FnOnce(&mut Loops, &Place),
) -> Result<Kernel, LowerError> {
    let mut l = Loops::begin(ctx, Access::ReadWrite)?;
    prepare(&mut l);
    let extents = Extents::of(ctx);
    let walk = Walk {
        ctx,
        direction: l.grid(extents.directions.clone()),
        extents,
        first_result: ctx.operands.iter().flatten().count(),
    };
    let Some(params) = quantized.and_then(|quantized| Params::new(ctx, quantized)) else {
        let run = l.grid(walk.batch());
        walk.begin(&mut l, run, firsts);
        let length = walk.length(&mut l, run);
        l.repeat_value(length, |l, k| {
            let place = walk.place(l, run, (k, length), None);
            cell(l, &place);
        });
        walk.end(&mut l, run);
        return Ok(l.finish());
    };
    l.repeat(walk.batch(), |l, run| walk.begin(l, run, firsts));
    l.repeat(walk.extents.steps.clone(), |l, k| {
        let scale = params.quantize(l, &walk, k);
        l.repeat(walk.batch(), |l, run| {
            walk.if_runs(l, run, k, |l, length| {
                let place = walk.place(l, run, (k, length), Some((params, scale)));
                cell(l, &place);
            });
        });
    });
    l.repeat(walk.batch(), |l, run| walk.end(l, run));
    Ok(l.finish())
}
