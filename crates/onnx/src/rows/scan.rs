//! `Scan`: a sub-graph over the slices of its operands, as a `loop` that knows its count.

use alula_ir::{Attr, Attrs, Graph, ValueId};
use alula_ops::control::LOOP;
use alula_ops::shape::SLICE;
use alula_tensor::{DType, Dim, Tensor, TensorType, ValueType};

use super::compose::Value;
use super::shape::normal_axis;
use super::{Built, Row, RowCtx, RowError, row};
use crate::proto::GraphProto;

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row(
    "Scan",
    &[8, 9, 11, 16, 19, 21, 23, 24, 25],
    ATTRS,
    scan,
)];

/// Version 8 has the first one only beside `body` and `num_scan_inputs`, later ones the others.
const ATTRS: &[&str] = &[
    "directions",
    "body",
    "num_scan_inputs",
    "scan_input_axes",
    "scan_input_directions",
    "scan_output_axes",
    "scan_output_directions",
];

/// A list attribute with an entry for each of `count`, 0 by default.
fn entries(ctx: &RowCtx<'_, '_>, name: &str, count: usize) -> Result<Vec<i64>, RowError> {
    let given = ctx.ints(name).unwrap_or_else(|| vec![0; count]);
    match given.len() == count {
        true => Ok(given),
        false => Err(RowError::Invalid(format!(
            "attribute {name} is {given:?}, needs {count} entries"
        ))),
    }
}

/// `x` from its last element to its first along the first axis.
fn reversed(ctx: &mut RowCtx<'_, '_>, x: ValueId) -> Value {
    let attrs = Attrs::new()
        .with("axes", vec![0_i64])
        .with("starts", vec![Dim::new(-1)])
        .with("ends", vec![Dim::new(-i64::MAX)])
        .with("steps", vec![-1_i64]);
    ctx.push(&SLICE, &[x], attrs)
}

/// Number of scanned inputs among `given`.
fn num_scanned(ctx: &RowCtx<'_, '_>, given: usize) -> Result<usize, RowError> {
    let count = ctx.int("num_scan_inputs");
    let count = count.and_then(|n| usize::try_from(n).ok());
    let count = count.filter(|count| (1..=given).contains(count));
    count.ok_or_else(|| RowError::Invalid(format!("num_scan_inputs of {given} inputs")))
}

/// Checks the body's arity; returns its number of scan outputs.
fn num_outputs(proto: &GraphProto, states: usize, scanned: usize) -> Result<usize, RowError> {
    let (takes, gives) = (proto.input.len(), proto.output.len());
    if takes != states + scanned || gives < states {
        return Err(RowError::Invalid(format!(
            "the body takes {takes} and gives {gives} values, for {states} states and {scanned} \
             inputs"
        )));
    }
    Ok(gives - states)
}

/// The graph of a loop's body: `build` makes its results of a step's number and of the operands,
/// and it goes on always.
fn body(
    ctx: &mut RowCtx<'_, '_>,
    name: &str,
    operands: &[ValueId],
    build: impl FnOnce(&mut RowCtx<'_, '_>, ValueId, &[ValueId]) -> Built,
) -> Result<(Graph, Vec<ValueId>), RowError> {
    let types: Vec<ValueType> = operands.iter().map(|&x| ctx.value_type(x)).collect();
    ctx.in_graph(name, |ctx| {
        let i64_scalar = TensorType::of(DType::I64, &[]);
        let at = ctx.graph().input("iteration", i64_scalar);
        let flag = TensorType::of(DType::Bool, &[]);
        ctx.graph().input("goes_on", flag);
        let inputs: Vec<ValueId> = types
            .iter()
            .enumerate()
            .map(|(k, ty)| ctx.graph().input(format!("operand{k}"), ty.clone()))
            .collect();
        let results = build(ctx, at, &inputs)?;
        let on = Tensor::from_bools(&[], &[true])
            .map_err(|error| RowError::Invalid(error.to_string()))?;
        let on = ctx.constant(on);
        ctx.graph().output("goes_on", on);
        for (k, value) in results.into_iter().enumerate() {
            ctx.graph().output(format!("result{k}"), value);
        }
        Ok(())
    })
}

/// `trips` steps of a body that [`body`] made, the first `carried` operands passed on.
fn repeated(
    ctx: &mut RowCtx<'_, '_>,
    trips: ValueId,
    operands: &[ValueId],
    carried: usize,
    (graph, captures): (Graph, Vec<ValueId>),
) -> Built {
    let wanted = graph.outputs().len() - 1;
    let mut all = vec![Some(trips), None];
    all.extend(operands.iter().chain(&captures).copied().map(Some));
    let attrs = Attrs::new()
        .with("carried", carried as i64)
        .with("body", Attr::Graph(Box::new(graph)));
    let name = ctx.name().to_owned();
    let graph = ctx.graph();
    Ok(graph.push_with_results(&LOOP, &all, attrs, &name, wanted)?)
}

/// The model's body over slices of `lines` along their first axis: states, then stacked outputs.
fn over_lines(
    ctx: &mut RowCtx<'_, '_>,
    proto: &GraphProto,
    states: &[ValueId],
    lines: &[ValueId],
    trips: ValueId,
) -> Built {
    let operands: Vec<ValueId> = states.iter().chain(lines).copied().collect();
    let body = body(ctx, "scan", &operands, |ctx, at, inputs| {
        let (states, lines) = inputs.split_at(states.len());
        let mut values = states.to_vec();
        for &line in lines {
            values.push(ctx.gather(line, at, 0)?);
        }
        ctx.inline_graph(proto, &values)
    })?;
    repeated(ctx, trips, &operands, states.len(), body)
}

/// Version 8: every state and input has a batch axis in front, which the body does not see, and
/// each batch may be of another length; outputs are 0 beyond it.
fn batched(ctx: &mut RowCtx<'_, '_>) -> Built {
    let proto = ctx.graph_attr("body")?;
    only(ctx, &["body", "directions", "num_scan_inputs"])?;
    let inputs = (1..ctx.num_inputs()).map(|position| ctx.input(position));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    let count = num_scanned(ctx, inputs.len())?;
    let first = inputs.len() - count;
    num_outputs(proto, first, count)?;
    let directions = entries(ctx, "directions", count)?;
    let ty = ctx.ty(inputs[first])?;
    let [batch, length, ..] = ty.shape.as_slice() else {
        return Err(RowError::Invalid(format!(
            "{ty} has no batch and no sequence"
        )));
    };
    let lengths = match ctx.optional(0) {
        None => None,
        Some(lengths) => Some(ctx.cast(lengths, DType::I64)?),
    };
    let operands: Vec<ValueId> = inputs.iter().copied().chain(lengths).collect();
    let body = body(ctx, "batch", &operands, |ctx, at, operands| {
        let mut values = Vec::new();
        for &operand in operands {
            values.push(ctx.gather(operand, at, 0)?);
        }
        let trips = match values.get(inputs.len()) {
            Some(&own) => own,
            None => ctx.dim(length.clone())?,
        };
        let (states, lines) = values[..inputs.len()].split_at_mut(first);
        for (line, direction) in lines.iter_mut().zip(directions) {
            if direction != 0 {
                *line = reversed(ctx, *line)?;
            }
        }
        let mut results = over_lines(ctx, proto, states, lines, trips)?;
        if lengths.is_some() {
            for result in &mut results[first..] {
                *result = filled(ctx, *result, length)?;
            }
        }
        Ok(results)
    })?;
    let trips = ctx.dim(batch.clone())?;
    repeated(ctx, trips, &operands, 0, body)
}

/// `x` with zeros behind, so that its first axis has an extent.
fn filled(ctx: &mut RowCtx<'_, '_>, x: ValueId, extent: &Dim) -> Value {
    let mut missing = ctx.ty(x)?;
    missing.shape[0] = extent.clone() - missing.shape[0].clone();
    let zero = ctx.scalar(missing.dtype, 0.0)?;
    let zeros = ctx.expand(zero, missing.shape)?;
    ctx.join(&[x, zeros], 0)
}

/// Refuses attributes that the node's version does not have.
fn only(ctx: &RowCtx<'_, '_>, names: &[&str]) -> Result<(), RowError> {
    let extra = ATTRS
        .iter()
        .find(|name| ctx.has_attr(name) && !names.contains(name));
    match extra {
        None => Ok(()),
        Some(name) => Err(RowError::Invalid(format!(
            "version {} has no attribute {name}",
            ctx.version
        ))),
    }
}

fn scan(ctx: &mut RowCtx<'_, '_>) -> Built {
    if ctx.version < 9 {
        return batched(ctx);
    }
    only(ctx, &ATTRS[1..])?;
    let proto = ctx.graph_attr("body")?;
    let inputs = ctx.all_inputs()?;
    let count = num_scanned(ctx, inputs.len())?;
    let (states, scanned) = inputs.split_at(inputs.len() - count);
    let outputs = num_outputs(proto, states.len(), count)?;
    let axes = entries(ctx, "scan_input_axes", count)?;
    let directions = entries(ctx, "scan_input_directions", count)?;
    let out_axes = entries(ctx, "scan_output_axes", outputs)?;
    let out_directions = entries(ctx, "scan_output_directions", outputs)?;
    // Slices are taken along the first axis.
    let mut lines = Vec::new();
    for ((&x, axis), direction) in scanned.iter().zip(axes).zip(directions) {
        let rank = ctx.rank(x)?;
        let axis = normal_axis(axis, rank)?;
        let mut perm: Vec<i64> = (0..rank as i64).collect();
        let first = perm.remove(axis);
        perm.insert(0, first);
        let line = if axis == 0 { x } else { ctx.permute(x, &perm)? };
        lines.push(match direction {
            0 => line,
            _ => reversed(ctx, line)?,
        });
    }
    let length = ctx.ty(lines[0])?.shape[0].clone();
    let trips = ctx.dim(length)?;
    let mut results = over_lines(ctx, proto, states, &lines, trips)?;
    let ends = out_axes.into_iter().zip(out_directions);
    for (result, (axis, direction)) in results[states.len()..].iter_mut().zip(ends) {
        if direction != 0 {
            *result = reversed(ctx, *result)?;
        }
        let rank = ctx.rank(*result)?;
        let axis = normal_axis(axis, rank)?;
        if axis > 0 {
            let mut perm: Vec<i64> = (1..rank as i64).collect();
            perm.insert(axis, 0);
            *result = ctx.permute(*result, &perm)?;
        }
    }
    Ok(results)
}
