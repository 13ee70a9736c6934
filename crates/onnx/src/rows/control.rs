//! `If`, `Loop`: sub-graphs with what they capture as operands.

use alula_ir::{Attr, Attrs, Graph, ValueId};
use alula_ops::control::{IF, LOOP};
use alula_ops::host_ops::merged;
use alula_tensor::{DType, Dim, TensorType, ValueType};

use super::sequence::{empty_of, is_empty};
use super::{Built, Row, RowCtx, RowError, row};
use crate::model::SubGraph;
use crate::proto::GraphProto;

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row(
        "If",
        &[1, 11, 13, 16, 19, 21, 23, 24, 25],
        &["then_branch", "else_branch"],
        build_if,
    ),
    row(
        "Loop",
        &[1, 11, 13, 16, 19, 21, 23, 24, 25],
        &["body"],
        build_loop,
    ),
];

fn graph_attr(graph: Graph) -> Attr {
    Attr::Graph(Box::new(graph))
}

fn build_if(ctx: &mut RowCtx<'_, '_>) -> Built {
    let cond = ctx.input(0)?;
    let (then, otherwise) = (
        ctx.graph_attr("then_branch")?,
        ctx.graph_attr("else_branch")?,
    );
    // A condition that is known picks its branch, whatever the other one holds or returns.
    let constant = ctx.as_constant(cond).and_then(|tensor| tensor.get(0));
    let content = ctx
        .const_ints(cond)
        .and_then(|elements| elements.first().copied());
    let known = constant
        .map(alula_tensor::Scalar::is_true)
        .or(content.map(|value| value != 0));
    if let Some(holds) = known {
        let taken = if holds { then } else { otherwise };
        return ctx.inline_graph(taken, &[]);
    }
    if let Some(holds) = ctx.decision() {
        return ctx.inline_graph(if holds { then } else { otherwise }, &[]);
    }
    let cond = scalar_cond(ctx, cond)?;
    let (then, otherwise) = match (ctx.branch(then)?, ctx.branch(otherwise)?) {
        (Ok(then), Ok(otherwise)) => (then, otherwise),
        (Err(reason), _) | (_, Err(reason)) => return Err(ctx.undecided(cond, reason)),
    };
    if let Some(reason) = disagreement(&then.graph, &otherwise.graph) {
        return Err(ctx.undecided(cond, reason));
    }
    let mut operands = vec![Some(cond)];
    operands.extend(
        then.captures
            .iter()
            .chain(&otherwise.captures)
            .copied()
            .map(Some),
    );
    let attrs = Attrs::new()
        .with("then_inputs", then.captures.len() as i64)
        .with("then", graph_attr(then.graph))
        .with("else", graph_attr(otherwise.graph));
    ctx.push_all(&IF, &operands, attrs)
}

/// Why results of two branches have no common type, if they have none.
fn disagreement(then: &Graph, otherwise: &Graph) -> Option<String> {
    let pairs = then.outputs().iter().zip(otherwise.outputs());
    pairs.enumerate().find_map(|(result, ((_, a), (_, b)))| {
        let (a, b) = (then.ty(*a), otherwise.ty(*b));
        let agree = match (a.as_tensor(), b.as_tensor()) {
            (Some(a), Some(b)) => a.dtype == b.dtype && a.rank() == b.rank(),
            _ => merged(a, b).is_ok(),
        };
        (!agree).then(|| format!("result {result} is {a} in one branch, {b} in the other"))
    })
}

/// Conditions and counts come as scalars or with one element; ours are scalars.
fn scalar_cond(ctx: &mut RowCtx<'_, '_>, value: ValueId) -> Result<ValueId, RowError> {
    if ctx.rank(value)? == 0 {
        return Ok(value);
    }
    let attrs = Attrs::new().with("to", Vec::<Dim>::new());
    ctx.push(&alula_ops::shape::RESHAPE, &[value], attrs)
}

fn build_loop(ctx: &mut RowCtx<'_, '_>) -> Built {
    let proto = ctx.graph_attr("body")?;
    let optional_scalar = |ctx: &mut RowCtx<'_, '_>, position| match ctx.optional(position) {
        Some(value) => scalar_cond(ctx, value).map(Some),
        None => Ok(None),
    };
    let trips = optional_scalar(ctx, 0)?;
    let cond = optional_scalar(ctx, 1)?;
    let mut carried: Vec<ValueId> = (2..ctx.num_inputs())
        .map(|position| ctx.input(position))
        .collect::<Result<_, _>>()?;
    let mut types = vec![
        ValueType::from(TensorType::of(DType::I64, &[])),
        ValueType::from(TensorType::of(DType::Bool, &[])),
    ];
    for &value in &carried {
        types.push(ctx.value_type(value));
    }
    ranked(ctx, proto, &mut carried, &mut types)?;
    let body = stable_body(ctx, proto, types)?;
    let mut operands = vec![trips, cond];
    operands.extend(carried.iter().chain(&body.captures).copied().map(Some));
    let attrs = Attrs::new()
        .with("carried", carried.len() as i64)
        .with("body", graph_attr(body.graph));
    ctx.push_all(&LOOP, &operands, attrs)
}

/// Gives carried sequences that begin empty the rank of what the body puts into them.
fn ranked(
    ctx: &mut RowCtx<'_, '_>,
    proto: &GraphProto,
    carried: &mut [ValueId],
    types: &mut [ValueType],
) -> Result<(), RowError> {
    let mut empty = vec![None; types.len()];
    for (&value, dtype) in carried.iter().zip(&mut empty[2..]) {
        *dtype = is_empty(ctx, value);
    }
    if empty.iter().all(Option::is_none) || proto.input.len() != types.len() {
        return Ok(());
    }
    let Some(after) = ctx.types_from_empty(proto, types, &empty)? else {
        return Ok(());
    };
    for (position, value) in carried.iter_mut().enumerate() {
        let (Some(dtype), Some(ValueType::Sequence(held))) =
            (empty[2 + position], after.get(1 + position))
        else {
            continue;
        };
        *value = empty_of(ctx, dtype, held)?;
        types[2 + position] = ctx.value_type(*value);
    }
    Ok(())
}

/// Imports the body with carried types that hold in every iteration: extents that an iteration
/// changes become symbols of the body, what sequences hold becomes more general.
fn stable_body(
    ctx: &mut RowCtx<'_, '_>,
    proto: &GraphProto,
    mut types: Vec<ValueType>,
) -> Result<SubGraph, RowError> {
    // A symbol takes whatever extent the last iteration left, so one more round is enough for
    // each that is made.
    let level = ctx.depth();
    loop {
        let body = ctx.sub_graph(proto, &types)?;
        let outputs = body.graph.outputs();
        if outputs.len() + 1 < types.len() {
            let (has, needs) = (outputs.len(), types.len() - 1);
            return Err(RowError::Invalid(format!(
                "the body has {has} outputs, not {needs}"
            )));
        }
        let mut is_stable = true;
        for (position, ty) in types.iter_mut().enumerate().skip(2) {
            let after = body.graph.ty(outputs[position - 1].1);
            let changes = |ty: &ValueType| {
                let position = position - 2;
                format!("carried value {position} changes from {ty} to {after}")
            };
            let (ValueType::Tensor(before), Some(after)) = (&mut *ty, after.as_tensor()) else {
                let both = merged(ty, after).map_err(|_| RowError::Unsupported(changes(ty)))?;
                is_stable &= both == *ty;
                *ty = both;
                continue;
            };
            if before.dtype != after.dtype || before.rank() != after.rank() {
                return Err(RowError::Unsupported(changes(ty)));
            }
            for (axis, (old, new)) in before.shape.iter_mut().zip(&after.shape).enumerate() {
                let name = format!("carried{level}_{}_{axis}", position - 2);
                let is_generic = old.as_symbol().is_some_and(|symbol| symbol.name() == name);
                if old != new && !is_generic {
                    *old = Dim::named(&name);
                    is_stable = false;
                }
            }
        }
        if is_stable {
            return Ok(body);
        }
    }
}
