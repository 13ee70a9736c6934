//! `Gradient` of `ai.onnx.preview.training`: reverse-mode differentiation of the graph so far.
//!
//! The nodes between `xs` and `y` are walked from `y` back, each adding to the gradients of what it
//! was applied to. Where `y` has several elements, it is the gradient of their sum. An operator on
//! the way that is not in [`derivatives`] is refused by name, as is a graph to be differentiated
//! elsewhere than at the values that it has.

use std::collections::{BTreeMap, BTreeSet};

use alula_ir::{Attrs, Node, ValueId};
use alula_ops::contraction::MATMUL;
use alula_ops::elementwise::arithmetic::{COS, GT, LOG, NEG, POW, SIGN, SIN};
use alula_ops::reduce::REDUCE_SUM;
use alula_tensor::Dim;

use super::compose::Value;
use super::{Built, Row, RowCtx, RowError};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[Row {
    domain: "ai.onnx.preview.training",
    op_type: "Gradient",
    versions: &[1],
    attrs: &["xs", "y", "zs"],
    build: gradient,
}];

fn gradient(ctx: &mut RowCtx<'_, '_>) -> Built {
    let invalid = |name: &str| RowError::Invalid(format!("attribute {name} is absent"));
    let xs = ctx.strs("xs").ok_or_else(|| invalid("xs"))?;
    let y = ctx.str("y").ok_or_else(|| invalid("y"))?;
    let zs = ctx.strs("zs").unwrap_or_default();
    let inputs = ctx.all_inputs()?;
    if inputs.len() != xs.len() + zs.len() {
        let (given, named) = (inputs.len(), xs.len() + zs.len());
        return Err(RowError::Invalid(format!(
            "{given} inputs for {named} names"
        )));
    }
    let named = |ctx: &mut RowCtx<'_, '_>, name: &str| -> Value {
        let value = ctx.named(name);
        value.ok_or_else(|| RowError::Invalid(format!("no value {name:?} is defined before it")))
    };
    for (name, &input) in xs.iter().chain(&zs).zip(&inputs) {
        if named(ctx, name)? != input {
            return Err(RowError::Unsupported(format!(
                "a gradient at another value than that of {name:?}"
            )));
        }
    }
    let y = named(ctx, &y)?;
    let wanted = &inputs[..xs.len()];
    let mut gradients = backward(ctx, y, wanted)?;
    let mut results = Vec::new();
    for &x in wanted {
        results.push(match gradients.remove(&x) {
            Some(gradient) => gradient,
            None => filled(ctx, x, 0.0)?,
        });
    }
    Ok(results)
}

/// A tensor of the type of `x` that holds one number.
fn filled(ctx: &mut RowCtx<'_, '_>, x: ValueId, value: f64) -> Value {
    let ty = ctx.ty(x)?;
    let value = ctx.scalar(ty.dtype, value)?;
    ctx.expand(value, ty.shape)
}

/// The gradients of the sum of `y` with respect to whatever lies between it and `xs`.
fn backward(
    ctx: &mut RowCtx<'_, '_>,
    y: ValueId,
    xs: &[ValueId],
) -> Result<BTreeMap<ValueId, ValueId>, RowError> {
    let order = ctx.graph().nodes();
    let mut depends: BTreeSet<ValueId> = xs.iter().copied().collect();
    let mut between: Vec<Node> = Vec::new();
    for id in order {
        let node = ctx.graph().node(id).clone();
        let makes_xs = node.results.iter().any(|result| xs.contains(result));
        if !makes_xs
            && node
                .operands
                .iter()
                .flatten()
                .any(|value| depends.contains(value))
        {
            depends.extend(&node.results);
            between.push(node);
        }
    }
    let mut gradients = BTreeMap::new();
    if depends.contains(&y) {
        gradients.insert(y, filled(ctx, y, 1.0)?);
    }
    for node in between.into_iter().rev() {
        let Some(&gradient) = node.results.iter().find_map(|result| gradients.get(result)) else {
            continue;
        };
        for (operand, part) in node.operands.iter().zip(derivatives(ctx, &node, gradient)?) {
            let (&Some(operand), Some(part)) = (operand, part) else {
                continue;
            };
            if !depends.contains(&operand) {
                continue;
            }
            let part = summed(ctx, part, operand)?;
            let sum = match gradients.get(&operand) {
                Some(&known) => ctx.add(known, part)?,
                None => part,
            };
            gradients.insert(operand, sum);
        }
    }
    Ok(gradients)
}

/// What broadcasting repeated is added up again.
fn summed(ctx: &mut RowCtx<'_, '_>, gradient: ValueId, like: ValueId) -> Value {
    let (have, want) = (ctx.ty(gradient)?.shape, ctx.ty(like)?.shape);
    let new = have.len().saturating_sub(want.len());
    let axes: Vec<i64> = (0..have.len())
        .filter(|&axis| axis < new || (want[axis - new].is(1) && !have[axis].is(1)))
        .map(|axis| axis as i64)
        .collect();
    if axes.is_empty() {
        return Ok(gradient);
    }
    let sum = ctx.reduce(&REDUCE_SUM, gradient, axes, true)?;
    ctx.view(sum, want)
}

/// What each operand of a node gets of the gradient of its result, before broadcasting is undone.
fn derivatives(
    ctx: &mut RowCtx<'_, '_>,
    node: &Node,
    g: ValueId,
) -> Result<Vec<Option<ValueId>>, RowError> {
    let operand = |position: usize| {
        let value = node.operands.get(position).copied().flatten();
        value.ok_or_else(|| RowError::Invalid(format!("operand {position} is absent")))
    };
    let (a, y) = (operand(0)?, node.results[0]);
    let one = |value: ValueId| Ok(vec![Some(value)]);
    match node.op.name {
        "add" => Ok(vec![Some(g), Some(g)]),
        "sub" => Ok(vec![Some(g), Some(ctx.op(&NEG, &[g])?)]),
        "mul" => {
            let b = operand(1)?;
            Ok(vec![Some(ctx.mul(g, b)?), Some(ctx.mul(g, a)?)])
        }
        "div" => {
            let by_a = ctx.div(g, operand(1)?)?;
            let by_b = ctx.mul(by_a, y)?;
            Ok(vec![Some(by_a), Some(ctx.op(&NEG, &[by_b])?)])
        }
        "pow" => {
            let b = operand(1)?;
            let less = ctx.plus(b, -1.0)?;
            let power = ctx.op(&POW, &[a, less])?;
            let slope = ctx.mul(b, power)?;
            let log = ctx.op(&LOG, &[a])?;
            let rise = ctx.mul(y, log)?;
            Ok(vec![Some(ctx.mul(g, slope)?), Some(ctx.mul(g, rise)?)])
        }
        "neg" => one(ctx.op(&NEG, &[g])?),
        "exp" => one(ctx.mul(g, y)?),
        "log" => one(ctx.div(g, a)?),
        "sqrt" => {
            let half = ctx.times(g, 0.5)?;
            one(ctx.div(half, y)?)
        }
        "sin" => {
            let slope = ctx.op(&COS, &[a])?;
            one(ctx.mul(g, slope)?)
        }
        "cos" => {
            let slope = ctx.op(&SIN, &[a])?;
            let slope = ctx.op(&NEG, &[slope])?;
            one(ctx.mul(g, slope)?)
        }
        "abs" => {
            let slope = ctx.op(&SIGN, &[a])?;
            one(ctx.mul(g, slope)?)
        }
        "tanh" => {
            let square = ctx.mul(y, y)?;
            let all = ctx.number(y, 1.0)?;
            let slope = ctx.sub(all, square)?;
            one(ctx.mul(g, slope)?)
        }
        "sigmoid" => {
            let all = ctx.number(y, 1.0)?;
            let rest = ctx.sub(all, y)?;
            let slope = ctx.mul(y, rest)?;
            one(ctx.mul(g, slope)?)
        }
        "relu" => {
            let zero = ctx.number(a, 0.0)?;
            let is_above = ctx.op(&GT, &[a, zero])?;
            one(ctx.select(is_above, g, zero)?)
        }
        "select" => {
            let zero = ctx.number(g, 0.0)?;
            let (x, z) = (ctx.select(a, g, zero)?, ctx.select(a, zero, g)?);
            Ok(vec![None, Some(x), Some(z)])
        }
        "expand" => one(g),
        "reshape" => {
            let shape = ctx.ty(a)?.shape;
            one(ctx.view(g, shape)?)
        }
        "transpose" => {
            let perm = node.attrs.ints("perm");
            let mut back = vec![0; perm.len()];
            for (to, &from) in perm.iter().enumerate() {
                back[from as usize] = to as i64;
            }
            one(ctx.permute(g, &back)?)
        }
        "reduce_sum" | "reduce_mean" => {
            let shape = ctx.ty(a)?.shape;
            let kept = kept(node, &shape)?;
            let repeated = ctx.view(g, kept.clone())?;
            let repeated = ctx.expand(repeated, shape.clone())?;
            if node.op.name == "reduce_sum" {
                return one(repeated);
            }
            let count: Dim = shape.iter().cloned().product();
            let left: Dim = kept.into_iter().product();
            let (count, left) = (ctx.dim(count)?, ctx.dim(left)?);
            let dtype = ctx.ty(g)?.dtype;
            let (count, left) = (ctx.cast(count, dtype)?, ctx.cast(left, dtype)?);
            let share = ctx.div(left, count)?;
            one(ctx.mul(repeated, share)?)
        }
        "matmul" => {
            let b = operand(1)?;
            let flag = |name: &str| node.attrs.bool(name);
            if flag("transpose_a") || flag("transpose_b") {
                return Err(RowError::Unsupported(
                    "the gradient of a transposed matmul".to_owned(),
                ));
            }
            let of_b = Attrs::new().with("transpose_b", true);
            let of_a = Attrs::new().with("transpose_a", true);
            let by_a = ctx.push(&MATMUL, &[g, b], of_b)?;
            let by_b = ctx.push(&MATMUL, &[a, g], of_a)?;
            Ok(vec![Some(by_a), Some(by_b)])
        }
        other => Err(RowError::Unsupported(format!("the gradient of {other}"))),
    }
}

/// The extents of a reduction's result with its axes kept.
fn kept(node: &Node, shape: &[Dim]) -> Result<Vec<Dim>, RowError> {
    let rank = shape.len();
    let mut kept = shape.to_vec();
    for &axis in node.attrs.ints("axes") {
        kept[super::shape::normal_axis(axis, rank)?] = Dim::new(1);
    }
    Ok(kept)
}
