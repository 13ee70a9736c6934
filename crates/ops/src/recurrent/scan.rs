//! What the scans share: types, and the walk over steps in the reference.

use alula_ir::{
    AttrSpec, Attrs, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
};
use alula_tensor::{DTypeClass, Dim, Scalar, Shape, Tensor};

use super::activation::Activations;
use super::quantized::{Codes, Quantized, StepScale, Table};

/// Whether the only direction runs backwards.
pub(super) const REVERSE: AttrSpec =
    AttrSpec::bool("reverse", false, "the only direction runs backwards");

/// Whether the recurrent weights lie column by column.
pub(super) const TRANSPOSED: AttrSpec = AttrSpec::bool("transposed", false, "`r` is `[D, H, G*H]`");

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
    /// Rows of the recurrent weights, as many as a step has inputs of gates.
    pub(super) rows: Dim,
}

impl Extents {
    /// From the shapes of `gates` and of the recurrent weights.
    pub(super) fn new(gates: &Shape, weights: &Shape, attrs: &Attrs) -> Extents {
        let (rows, hidden) = match attrs.bool(TRANSPOSED.name) {
            true => (&weights[2], &weights[1]),
            false => (&weights[1], &weights[2]),
        };
        Extents {
            steps: gates[0].clone(),
            batch: gates[1].clone(),
            directions: gates[2].clone(),
            hidden: hidden.clone(),
            rows: rows.clone(),
        }
    }

    /// Of the scan that is lowered.
    pub(super) fn of(ctx: &LowerCtx<'_>) -> Extents {
        let (gates, weights) = (ctx.tensor(GATES), ctx.tensor(WEIGHTS));
        Extents::new(&gates.shape, &weights.shape, ctx.attrs)
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
    quantized: Option<Quantized>,
) -> Result<Vec<Inferred>, InferError> {
    let dtype = ctx.expect_class(GATES, &[DTypeClass::Float])?;
    match quantized.filter(|quantized| quantized.is_given(ctx)) {
        Some(_) if ctx.attrs.bool(TRANSPOSED.name) => {
            return Err(InferError::Mismatch(
                "quantized weights are not transposed".to_owned(),
            ));
        }
        Some(quantized) => quantized.check(ctx)?,
        None => {
            ctx.expect_same_dtype(GATES, WEIGHTS)?;
        }
    }
    let (gates, weights) = (ctx.tensor(GATES)?, ctx.tensor(WEIGHTS)?);
    if gates.rank() != 4 || weights.rank() != 3 {
        return Err(InferError::Mismatch(format!(
            "gates {gates} must be [T, B, D, G*H], recurrent weights {weights} [D, G*H, H] \
             (transposed: [D, H, G*H])"
        )));
    }
    let extents = Extents::new(&gates.shape, &weights.shape, ctx.attrs);
    let rows = extents.hidden.clone() * Dim::new(num_gates);
    let equal = |a: &Dim, b: &Dim| a == b || a.as_const().is_none() || b.as_const().is_none();
    let fits = equal(&gates.shape[3], &rows)
        && equal(&extents.rows, &rows)
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
    /// Elements between rows of these, and between columns.
    strides: [usize; 2],
    /// States before the step; the cell replaces them. The hidden one is first.
    pub(super) states: &'s mut [Vec<f64>],
    /// The hidden state before the step where products take its codes.
    codes: Option<&'s Codes<'s>>,
}

impl Step<'_> {
    /// A row of the recurrent weights times a vector, which is the hidden state before the step
    /// where weights are quantized.
    pub(super) fn product(&self, row: usize, with: &[f64]) -> f64 {
        let [of_row, of_column] = self.strides;
        let weights = &self.weights[row * of_row..];
        match self.codes {
            Some(codes) => codes.product(row, &weights[..with.len()]),
            None => {
                let weights = weights.iter().step_by(of_column);
                weights.zip(with).map(|(a, b)| a * b).sum()
            }
        }
    }
}

/// Walks over directions, steps and sequences. `firsts` are the operands with the first states.
pub(super) fn eval(
    ctx: &EvalCtx<'_>,
    firsts: &[usize],
    quantized: Option<Quantized>,
    cell: impl Fn(&mut Step<'_>),
) -> Result<Vec<HostValue>, EvalError> {
    let (gates, weights) = (ctx.tensor(GATES)?, ctx.tensor(WEIGHTS)?);
    let &[steps, batch, directions, rows] = gates.shape() else {
        return Err(EvalError::Value("gates have not four axes".to_owned()));
    };
    let (hidden, strides) = match ctx.attrs.bool(TRANSPOSED.name) {
        true => (weights.shape()[1], [1, rows]),
        false => (weights.shape()[2], [weights.shape()[2], 1]),
    };
    let lengths = match ctx.optional(LENGTHS) {
        Some(_) => ctx.ints(LENGTHS)?,
        None => vec![steps as i64; batch],
    };
    let lengths = lengths.iter().map(|n| (*n).clamp(0, steps as i64) as usize);
    let lengths: Vec<usize> = lengths.take(batch).collect();
    let table = quantized.and_then(|quantized| Table::new(ctx, quantized));
    let (xs, ws) = (gates.to_f64s(), weights.to_f64s());
    let mut all = vec![Scalar::Float(0.0); steps * directions * batch * hidden];
    let mut last: Vec<Vec<Scalar>> = vec![Vec::new(); firsts.len()];
    let given: Vec<Option<Vec<f64>>> = firsts
        .iter()
        .map(|&first| ctx.optional(first).map(Tensor::to_f64s))
        .collect();
    for direction in 0..directions {
        let first_states = |run: usize| -> Vec<Vec<f64>> {
            let at = (direction * batch + run) * hidden;
            let state = |first: &Option<Vec<f64>>| match first {
                Some(first) => first[at..at + hidden].to_vec(),
                None => vec![0.0; hidden],
            };
            given.iter().map(state).collect()
        };
        let mut states: Vec<Vec<Vec<f64>>> = (0..lengths.len()).map(first_states).collect();
        let backwards = direction == 1 || ctx.attrs.bool("reverse");
        for k in 0..steps {
            let running: Vec<usize> = (0..states.len()).filter(|&run| k < lengths[run]).collect();
            let scale = table.as_ref().map(|_| {
                let seen = (0..states.len()).filter(|&run| k <= lengths[run]);
                StepScale::new(seen.flat_map(|run| &states[run][0]).copied())
            });
            for run in running {
                let step = if backwards { lengths[run] - 1 - k } else { k };
                let from = ((step * batch + run) * directions + direction) * rows;
                let codes = table.as_ref().zip(scale);
                let codes =
                    codes.map(|(table, scale)| table.codes(direction, scale, &states[run][0]));
                cell(&mut Step {
                    direction,
                    gates: &xs[from..from + rows],
                    weights: &ws[direction * rows * hidden..(direction + 1) * rows * hidden],
                    strides,
                    states: &mut states[run],
                    codes: codes.as_ref(),
                });
                let to = ((step * directions + direction) * batch + run) * hidden;
                for (k, value) in states[run][0].iter().enumerate() {
                    all[to + k] = Scalar::Float(*value);
                }
            }
        }
        for run in states {
            for (last, state) in last.iter_mut().zip(&run) {
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
