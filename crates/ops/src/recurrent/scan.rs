//! What the scans share: types, the walk over steps in the reference, and the kernel's time loop.

use alula_ir::{
    AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx, LowerError,
};
use alula_kernel::{Access, Kernel, ValueId};
use alula_tensor::{DType, DTypeClass, Dim, Scalar, ScalarOp, Shape, Tensor};

use super::activation::Activations;
use crate::loops::Loops;

/// Whether the only direction runs backwards.
pub(super) const REVERSE: AttrSpec =
    AttrSpec::bool("reverse", false, "the only direction runs backwards");

/// Positions of operands that every scan has.
pub(super) const GATES: usize = 0;
pub(super) const WEIGHTS: usize = 1;
pub(super) const FIRST_STATE: usize = 2;
pub(super) const LENGTHS: usize = 3;

/// Extents of a scan.
#[derive(Clone, Debug)]
pub(super) struct Extents {
    pub(super) steps: Dim,
    pub(super) batch: Dim,
    pub(super) directions: Dim,
    pub(super) hidden: Dim,
}

impl Extents {
    /// From the shapes of `gates` and of the recurrent weights.
    fn new(gates: &Shape, weights: &Shape) -> Extents {
        Extents {
            steps: gates[0].clone(),
            batch: gates[1].clone(),
            directions: gates[2].clone(),
            hidden: weights[2].clone(),
        }
    }

    fn state(&self) -> Shape {
        vec![
            self.directions.clone(),
            self.batch.clone(),
            self.hidden.clone(),
        ]
    }
}

/// Infers a scan with `gates` gates and `states` kinds of states; `others` are optional operands
/// with their shapes as functions of the extents.
pub(super) fn infer(
    ctx: &InferCtx<'_>,
    num_gates: i64,
    kinds: usize,
    states: usize,
    others: &[(usize, fn(&Extents) -> Shape)],
) -> Result<Vec<Inferred>, InferError> {
    let dtype = ctx.expect_class(GATES, &[DTypeClass::Float])?;
    ctx.expect_same_dtype(GATES, WEIGHTS)?;
    let (gates, weights) = (ctx.tensor(GATES)?, ctx.tensor(WEIGHTS)?);
    if gates.rank() != 4 || weights.rank() != 3 {
        return Err(InferError::Mismatch(format!(
            "gates {gates} must be [T, B, D, G*H], recurrent weights {weights} [D, G*H, H]"
        )));
    }
    let extents = Extents::new(&gates.shape, &weights.shape);
    let rows = extents.hidden.clone() * Dim::new(num_gates);
    let equal = |a: &Dim, b: &Dim| a == b || a.as_const().is_none() || b.as_const().is_none();
    let fits = equal(&gates.shape[3], &rows)
        && equal(&weights.shape[1], &rows)
        && equal(&weights.shape[0], &extents.directions);
    if !fits {
        return Err(InferError::Mismatch(format!(
            "gates {gates} and recurrent weights {weights} do not fit {num_gates} gates"
        )));
    }
    let activations = Activations::new(ctx.attrs, kinds)?;
    let directions = extents.directions.as_const();
    if directions != Some(activations.directions() as i64) {
        return Err(InferError::Mismatch(format!(
            "{} directions of gates {gates}, activations for {}",
            extents.directions,
            activations.directions()
        )));
    }
    if ctx.attrs.bool("reverse") && directions != Some(1) {
        return Err(InferError::Mismatch(format!(
            "{gates} has two directions, reverse is for one"
        )));
    }
    let mut wanted: Vec<(usize, Shape)> = vec![(FIRST_STATE, extents.state())];
    wanted.extend(
        others
            .iter()
            .map(|(position, shape)| (*position, shape(&extents))),
    );
    for (position, shape) in wanted {
        if !ctx.has(position) {
            continue;
        }
        ctx.expect_same_dtype(GATES, position)?;
        let ty = ctx.tensor(position)?;
        if ty.rank() != shape.len() || !ty.shape.iter().zip(&shape).all(|(a, b)| equal(a, b)) {
            return Err(InferError::Mismatch(format!(
                "operand {position} is {ty}, gates {gates} ask for other extents"
            )));
        }
    }
    if ctx.has(LENGTHS) {
        ctx.expect_class(LENGTHS, &[DTypeClass::Signed])?;
        let ty = ctx.tensor(LENGTHS)?;
        if ty.rank() != 1 || !equal(&ty.shape[0], &extents.batch) {
            return Err(InferError::Mismatch(format!(
                "lengths {ty} of {} runs",
                extents.batch
            )));
        }
    }
    let mut shape = vec![extents.steps.clone()];
    shape.extend(extents.state());
    let mut results = vec![Inferred::tensor(dtype, shape)];
    for _ in 0..states {
        results.push(Inferred::tensor(dtype, extents.state()));
    }
    Ok(results)
}

/// One step of one sequence in the reference.
pub(super) struct Step<'s> {
    pub(super) direction: usize,
    /// Inputs of the gates, `G*H`.
    pub(super) gates: &'s [f64],
    /// Recurrent weights of the direction, `[G*H, H]`.
    weights: &'s [f64],
    /// States before the step; the cell replaces them. The hidden one is first.
    pub(super) states: &'s mut [Vec<f64>],
}

impl Step<'_> {
    /// A row of the recurrent weights times a vector.
    pub(super) fn product(&self, row: usize, with: &[f64]) -> f64 {
        let hidden = with.len();
        let row = &self.weights[row * hidden..(row + 1) * hidden];
        row.iter().zip(with).map(|(a, b)| a * b).sum()
    }
}

/// Walks over directions, sequences and steps. `firsts` are the operands with the first states.
pub(super) fn eval(
    ctx: &EvalCtx<'_>,
    firsts: &[usize],
    cell: impl Fn(&mut Step<'_>),
) -> Result<Vec<HostValue>, EvalError> {
    let (gates, weights) = (ctx.tensor(GATES)?, ctx.tensor(WEIGHTS)?);
    let &[steps, batch, directions, rows] = gates.shape() else {
        return Err(EvalError::Value("gates have not four axes".to_owned()));
    };
    let hidden = weights.shape()[2];
    let lengths = match ctx.optional(LENGTHS) {
        Some(_) => ctx.ints(LENGTHS)?,
        None => vec![steps as i64; batch],
    };
    let (xs, ws) = (gates.to_f64s(), weights.to_f64s());
    let mut all = vec![Scalar::Float(0.0); steps * directions * batch * hidden];
    let mut last: Vec<Vec<Scalar>> = vec![Vec::new(); firsts.len()];
    let given: Vec<Option<Vec<f64>>> = firsts
        .iter()
        .map(|&first| ctx.optional(first).map(Tensor::to_f64s))
        .collect();
    for direction in 0..directions {
        for (run, &length) in lengths.iter().enumerate().take(batch) {
            let at = (direction * batch + run) * hidden;
            let mut states: Vec<Vec<f64>> = given
                .iter()
                .map(|first| match first {
                    Some(first) => first[at..at + hidden].to_vec(),
                    None => vec![0.0; hidden],
                })
                .collect();
            let length = length.clamp(0, steps as i64) as usize;
            let backwards = direction == 1 || ctx.attrs.bool("reverse");
            for k in 0..length {
                let step = if backwards { length - 1 - k } else { k };
                let from = ((step * batch + run) * directions + direction) * rows;
                cell(&mut Step {
                    direction,
                    gates: &xs[from..from + rows],
                    weights: &ws[direction * rows * hidden..(direction + 1) * rows * hidden],
                    states: &mut states,
                });
                let to = ((step * directions + direction) * batch + run) * hidden;
                for (k, value) in states[0].iter().enumerate() {
                    all[to + k] = Scalar::Float(*value);
                }
            }
            for (last, state) in last.iter_mut().zip(&states) {
                last.extend(state.iter().map(|value| Scalar::Float(*value)));
            }
        }
    }
    let dtype = gates.dtype();
    let mut results = vec![ctx.result(dtype, &[steps, directions, batch, hidden], &all)?];
    for state in last {
        results.push(ctx.result(dtype, &[directions, batch, hidden], &state)?);
    }
    Ok(results)
}

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
    weights: ValueId,
    /// First element of the step in result 0, all hidden states.
    all: ValueId,
    /// First element in the last states.
    pub(super) state: ValueId,
    /// Position of result 0 among the parameters.
    first_result: usize,
}

impl Place {
    /// Input of gate `gate` of hidden element `j`.
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

    /// Products of rows `gates * H + j` of the recurrent weights with a vector: element `k` of it
    /// is loaded by `with`.
    pub(super) fn products(
        &self,
        l: &mut Loops,
        gates: &[i64],
        j: ValueId,
        with: impl Fn(&mut Loops, ValueId) -> ValueId,
    ) -> Vec<ValueId> {
        let starts: Vec<ValueId> = gates
            .iter()
            .map(|&gate| {
                let row = self.row(l, gate, j);
                let offset = l.times(row, self.hidden.clone());
                l.add(self.weights, offset)
            })
            .collect();
        let dtype = self.dtype;
        l.sums(self.hidden.clone(), dtype, gates.len(), |l, k| {
            let element = with(l, k);
            starts
                .iter()
                .map(|&start| {
                    let at = l.add(start, k);
                    let weight = l.load(WEIGHTS, at);
                    let weight = l.cast(weight, dtype);
                    l.mul(weight, element)
                })
                .collect()
        })
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
        l.repeat(self.hidden.clone(), |l, k| {
            let value = self.noted(l, k);
            self.replace(l, 0, k, value);
        });
    }
}

/// The kernel: a point for each direction and sequence, and the steps one after the other.
///
/// The states live in their results, so that any hidden size will do. `firsts` are the operands
/// with the first states.
pub(super) fn lower(
    ctx: &LowerCtx<'_>,
    firsts: &[usize],
    prepare: impl FnOnce(&mut Loops),
    cell: impl FnOnce(&mut Loops, &Place),
) -> Result<Kernel, LowerError> {
    let (gates, weights) = (ctx.tensor(GATES), ctx.tensor(WEIGHTS));
    let extents = Extents::new(&gates.shape, &weights.shape);
    let first_result = ctx.operands.iter().flatten().count();
    let mut l = Loops::begin(ctx, Access::ReadWrite)?;
    prepare(&mut l);
    let direction = l.grid(extents.directions.clone());
    let run = l.grid(extents.batch.clone());
    let hidden = extents.hidden.clone();
    let place = l.times(direction, extents.batch.clone());
    let place = l.add(place, run);
    let state = l.times(place, hidden.clone());
    for (kind, &first) in firsts.iter().enumerate() {
        let param = ctx.has(first).then(|| ctx.present(first));
        let dtype = gates.dtype;
        l.repeat(hidden.clone(), |l, k| {
            let at = l.add(state, k);
            let value = match param {
                Some(param) => l.load(param, at),
                None => l.constant(dtype, Scalar::Float(0.0)),
            };
            l.store(first_result + 1 + kind, at, value);
        });
    }
    let steps = l.dim(extents.steps.clone());
    let length = match ctx.has(LENGTHS) {
        true => {
            let given = l.load(ctx.present(LENGTHS), run);
            let given = l.cast(given, DType::I64);
            let zero = l.constant(DType::I64, Scalar::Int(0));
            let some = l.apply(ScalarOp::Max, &[given, zero]);
            l.apply(ScalarOp::Min, &[some, steps])
        }
        false => steps,
    };
    let rows = weights.shape[1].clone();
    let one_way = extents.directions.is(1);
    let reverse = ctx.attrs.bool("reverse");
    let first_of = |l: &mut Loops, step: ValueId| {
        let at = l.times(step, extents.directions.clone());
        let at = l.add(at, direction);
        let at = l.times(at, extents.batch.clone());
        let at = l.add(at, run);
        l.times(at, hidden.clone())
    };
    let weights_at = l.times(direction, rows.clone() * hidden.clone());
    l.repeat_value(length, |l, k| {
        let one = l.constant(DType::I64, Scalar::Int(1));
        let from_end = l.apply(ScalarOp::Sub, &[length, k]);
        let from_end = l.apply(ScalarOp::Sub, &[from_end, one]);
        let step = match (one_way, reverse) {
            (true, true) => from_end,
            (true, false) => k,
            (false, _) => {
                let is_second = l.apply(ScalarOp::Eq, &[direction, one]);
                l.apply(ScalarOp::Select, &[is_second, from_end, k])
            }
        };
        let gates_at = l.times(step, extents.batch.clone());
        let gates_at = l.add(gates_at, run);
        let gates_at = l.times(gates_at, extents.directions.clone());
        let gates_at = l.add(gates_at, direction);
        let gates_at = l.times(gates_at, rows.clone());
        let place = Place {
            hidden: hidden.clone(),
            dtype: gates.dtype.compute(),
            direction,
            gates: gates_at,
            weights: weights_at,
            all: first_of(l, step),
            state,
            first_result,
        };
        cell(l, &place);
    });
    let rest = l.apply(ScalarOp::Sub, &[steps, length]);
    l.repeat_value(rest, |l, k| {
        let step = l.add(length, k);
        let at = first_of(l, step);
        l.repeat(hidden.clone(), |l, j| {
            let at = l.add(at, j);
            let zero = l.constant(gates.dtype, Scalar::Float(0.0));
            l.store(first_result, at, zero);
        });
    });
    Ok(l.finish())
}
