//! `Scan`: a sub-graph over the slices of its operands, as a `loop` that knows its count.

use alula_ir::{Attr, Attrs, ValueId};
use alula_ops::control::LOOP;
use alula_ops::shape::SLICE;
use alula_tensor::{Dim, Tensor, TensorType, ValueType};

use super::compose::Value;
use super::shape::normal_axis;
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[row(
    "Scan",
    &[9, 11, 16, 19, 21, 23, 24, 25],
    &[
        "body",
        "num_scan_inputs",
        "scan_input_axes",
        "scan_input_directions",
        "scan_output_axes",
        "scan_output_directions",
    ],
    scan,
)];

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

fn scan(ctx: &mut RowCtx<'_, '_>) -> Built {
    let proto = ctx.graph_attr("body")?;
    let inputs = ctx.all_inputs()?;
    let count = ctx
        .int("num_scan_inputs")
        .and_then(|n| usize::try_from(n).ok());
    let count = count.filter(|count| (1..=inputs.len()).contains(count));
    let count = count
        .ok_or_else(|| RowError::Invalid(format!("num_scan_inputs of {} inputs", inputs.len())))?;
    let (states, scanned) = inputs.split_at(inputs.len() - count);
    if proto.input.len() != inputs.len() || proto.output.len() < states.len() {
        let (takes, gives) = (proto.input.len(), proto.output.len());
        return Err(RowError::Invalid(format!(
            "the body takes {takes} and gives {gives} values, for {} states and {count} inputs",
            states.len()
        )));
    }
    let outputs = proto.output.len() - states.len();
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
    let types: Vec<ValueType> = states
        .iter()
        .chain(&lines)
        .map(|&value| ctx.value_type(value))
        .collect();
    let (graph, captures) = ctx.in_graph("scan", |ctx| {
        let i64_scalar = TensorType::of(alula_tensor::DType::I64, &[]);
        let at = ctx.graph().input("iteration", i64_scalar);
        let flag = TensorType::of(alula_tensor::DType::Bool, &[]);
        ctx.graph().input("goes_on", flag);
        let inputs: Vec<ValueId> = types
            .iter()
            .enumerate()
            .map(|(k, ty)| ctx.graph().input(format!("operand{k}"), ty.clone()))
            .collect();
        let (states, lines) = inputs.split_at(types.len() - count);
        let mut values = states.to_vec();
        for &line in lines {
            values.push(ctx.gather(line, at, 0)?);
        }
        let results = ctx.inline_graph(proto, &values)?;
        let on = Tensor::from_bools(&[], &[true])
            .map_err(|error| RowError::Invalid(error.to_string()))?;
        let on = ctx.constant(on);
        ctx.graph().output("goes_on", on);
        for (k, value) in results.into_iter().enumerate() {
            ctx.graph().output(format!("result{k}"), value);
        }
        Ok(())
    })?;
    let trips = ctx.dim(length)?;
    let mut operands = vec![Some(trips), None];
    operands.extend(
        states
            .iter()
            .chain(&lines)
            .chain(&captures)
            .copied()
            .map(Some),
    );
    let attrs = Attrs::new()
        .with("carried", states.len() as i64)
        .with("body", Attr::Graph(Box::new(graph)));
    let name = ctx.name().to_owned();
    let wanted = proto.output.len();
    let mut results = ctx
        .graph()
        .push_with_results(&LOOP, &operands, attrs, &name, wanted)?;
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
