//! Control flow: `if` and `loop`. Sub-graphs take everything that they use as inputs, so that
//! what a node depends on is its operands.

use std::collections::BTreeSet;

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, Graph, HostValue, InferCtx, InferError, Inferred,
    Lowering, OpDef, Traits,
};
use alula_tensor::{DType, DTypeClass, Dim, Symbol, Tensor, TensorType, ValueType};

/// The family's rows.
pub const ROWS: &[&OpDef] = &[&IF, &LOOP];

const TRAITS: Traits = Traits {
    commutative: false,
    random: false,
    elementwise: false,
    control_flow: true,
};

/// Runs one of two sub-graphs.
///
/// Operands after the condition are the inputs of `then` (as many as `then_inputs` says), then
/// those of `else`.
pub static IF: OpDef = OpDef {
    name: "if",
    summary: "outputs of `then` if the bool scalar `cond` holds, else those of `else`",
    operands: &["cond", "captures*"],
    attrs: &[
        AttrSpec::required("then", AttrKind::Graph, "runs if the condition holds"),
        AttrSpec::required("else", AttrKind::Graph, "runs otherwise"),
        AttrSpec::int("then_inputs", 0, "number of captures that `then` takes"),
    ],
    traits: TRAITS,
    infer: infer_if,
    eval: eval_if,
    lowering: Lowering::Control,
    examples: &["graph @e(%c: bool[], %x: f32[2]) {
        %y = if %c, %x, %x {then_inputs = 1,
            then = graph @then(%a: f32[2]) { %r = neg %a return r: %r },
            else = graph @else(%b: f32[2]) { %r = exp %b return r: %r }}
        return y: %y }"],
};

fn infer_if(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let (then, otherwise) = (ctx.attrs.graph("then"), ctx.attrs.graph("else"));
    let cond = ctx.tensor(0)?;
    if cond.dtype != DType::Bool {
        return Err(InferError::BadDType {
            operand: 0,
            given: cond.to_string(),
            wanted: "bool".to_owned(),
        });
    }
    let split = ctx.attrs.int("then_inputs").clamp(0, ctx.len() as i64 - 1) as usize;
    check_inputs(ctx, 1, then, split)?;
    check_inputs(ctx, 1 + split, otherwise, ctx.len() - 1 - split)?;
    let (a, b) = (then.outputs(), otherwise.outputs());
    if a.len() != b.len() {
        let (a, b) = (a.len(), b.len());
        return Err(InferError::Mismatch(format!(
            "branches have {a} and {b} outputs"
        )));
    }
    let known = operand_symbols(ctx);
    let pairs: Vec<(ValueType, ValueType)> = a
        .iter()
        .zip(b)
        .map(|((_, a), (_, b))| (then.ty(*a).clone(), otherwise.ty(*b).clone()))
        .collect();
    pairs
        .into_iter()
        .enumerate()
        .map(|(result, (a, b))| merge(ctx, result, &a, &b, &known).map(Inferred::from))
        .collect()
}

/// The sub-graph's inputs must have the operands' types, from `first` on.
fn check_inputs(
    ctx: &InferCtx<'_>,
    first: usize,
    graph: &Graph,
    count: usize,
) -> Result<(), InferError> {
    if graph.inputs().len() != count {
        let (name, takes) = (&graph.name, graph.inputs().len());
        return Err(InferError::Mismatch(format!(
            "graph {name} takes {takes} inputs, not {count}"
        )));
    }
    for (position, input) in graph.inputs().iter().enumerate() {
        let given = ctx.facts(first + position)?.ty;
        if !fits(given, graph.ty(*input)) {
            return Err(InferError::Mismatch(format!(
                "input {position} of graph {} is {}, operand {} is {given}",
                graph.name,
                graph.ty(*input),
                first + position
            )));
        }
    }
    Ok(())
}

/// Whether a value of one type may be passed where another is declared: symbols take anything.
fn fits(given: &ValueType, declared: &ValueType) -> bool {
    match (given.as_tensor(), declared.as_tensor()) {
        (Some(a), Some(b)) => {
            a.dtype == b.dtype
                && a.rank() == b.rank()
                && a.shape
                    .iter()
                    .zip(&b.shape)
                    .all(|(x, y)| y.as_const().is_none() || x == y || x.as_const().is_none())
        }
        _ => holds(given, declared),
    }
}

/// Whether values of one type are all of another: a known extent or rank is also an unknown one,
/// and a bare value also an optional.
fn holds(given: &ValueType, declared: &ValueType) -> bool {
    match (given, declared) {
        (ValueType::Tensor(a), ValueType::Tensor(b)) => {
            let mut dims = a.shape.iter().zip(&b.shape);
            a.dtype == b.dtype
                && a.rank() == b.rank()
                && dims.all(|(x, y)| y.as_const().is_none() || x == y)
        }
        (
            ValueType::Tensor(TensorType { dtype, .. }) | ValueType::Unranked(dtype),
            ValueType::Unranked(b),
        ) => dtype == b,
        (ValueType::Sequence(a), ValueType::Sequence(b))
        | (ValueType::Optional(a), ValueType::Optional(b)) => holds(a, b),
        (bare, ValueType::Optional(held)) => holds(bare, held),
        _ => given == declared,
    }
}

/// Every symbol that the types of the operands mention: known outside of the sub-graphs.
fn operand_symbols(ctx: &InferCtx<'_>) -> BTreeSet<Symbol> {
    let mut symbols = BTreeSet::new();
    for facts in ctx.operands.iter().flatten() {
        if let Some(ty) = facts.ty.as_tensor() {
            ty.shape
                .iter()
                .for_each(|dim| dim.collect_symbols(&mut symbols));
        }
        for dim in facts.content.iter().flatten() {
            dim.collect_symbols(&mut symbols);
        }
    }
    symbols
}

fn is_known(dim: &Dim, known: &BTreeSet<Symbol>) -> bool {
    let mut used = BTreeSet::new();
    dim.collect_symbols(&mut used);
    used.is_subset(known)
}

/// The type of a result that may come from either branch.
fn merge(
    ctx: &mut InferCtx<'_>,
    result: usize,
    a: &ValueType,
    b: &ValueType,
    known: &BTreeSet<Symbol>,
) -> Result<ValueType, InferError> {
    let (Some(x), Some(y)) = (a.as_tensor(), b.as_tensor()) else {
        return crate::host_ops::merged(a, b);
    };
    if x.dtype != y.dtype {
        return Err(InferError::Mismatch(format!(
            "result {result} is {a} in one branch, {b} in the other"
        )));
    }
    if x.rank() != y.rank() {
        return Err(InferError::Unsupported(format!(
            "result {result} has rank {} in one branch, {} in the other",
            x.rank(),
            y.rank()
        )));
    }
    let shape = (0..x.rank())
        .map(|axis| {
            if x.shape[axis] == y.shape[axis] && is_known(&x.shape[axis], known) {
                x.shape[axis].clone()
            } else {
                ctx.fresh_extent(result, axis)
            }
        })
        .collect::<Vec<_>>();
    Ok(TensorType::new(x.dtype, shape).into())
}

fn eval_if(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let holds = ctx
        .tensor(0)?
        .get(0)
        .is_some_and(alula_tensor::Scalar::is_true);
    let split = ctx.attrs.int("then_inputs") as usize;
    let captures: Vec<HostValue> = ctx.operands[1..]
        .iter()
        .map(|operand| present(*operand))
        .collect::<Result<_, _>>()?;
    let (then, otherwise) = captures.split_at(split);
    if holds {
        (ctx.run_graph)(ctx.attrs.graph("then"), then.to_vec())
    } else {
        (ctx.run_graph)(ctx.attrs.graph("else"), otherwise.to_vec())
    }
}

fn present(operand: Option<&HostValue>) -> Result<HostValue, EvalError> {
    operand
        .cloned()
        .ok_or_else(|| EvalError::Value("a captured value is absent".to_owned()))
}

/// Repeats a sub-graph (ONNX Loop).
///
/// Operands: trip count (`i64` scalar, absent = no bound), condition (bool scalar, absent =
/// true), `carried` values, then captures. The body takes iteration number, condition, carried
/// values and captures; it gives condition, carried values and one slice for each scan output.
/// Results: final carried values, then scan outputs stacked along a new first axis.
pub static LOOP: OpDef = OpDef {
    name: "loop",
    summary: "repeats `body` up to a count and while its condition holds",
    operands: &["trip_count?", "cond?", "values*"],
    attrs: &[
        AttrSpec::required("body", AttrKind::Graph, "one iteration"),
        AttrSpec::int(
            "carried",
            0,
            "number of values passed from one iteration to the next",
        ),
    ],
    traits: TRAITS,
    infer: infer_loop,
    eval: eval_loop,
    lowering: Lowering::Control,
    examples: &["graph @e(%n: i64[], %c: bool[], %x: f32[2], %y: f32[2]) {
        %s, %t = loop %n, %c, %x, %y {carried = 1,
            body = graph @body(%i: i64[], %c: bool[], %a: f32[2], %b: f32[2]) {
                %r = add %a, %b
                %d = neg %r
                return c: %c, r: %r, d: %d }}
        return s: %s, t: %t }"],
};

fn infer_loop(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let body = ctx.attrs.graph("body");
    let carried = usize::try_from(ctx.attrs.int("carried"));
    let carried = carried.map_err(|_| InferError::BadAttr {
        name: "carried".to_owned(),
        reason: "is negative".to_owned(),
    })?;
    if ctx.has(0) {
        ctx.expect_class(0, &[DTypeClass::Signed, DTypeClass::Unsigned])?;
    }
    if ctx.has(1) {
        ctx.expect_class(1, &[DTypeClass::Bool])?;
    }
    if ctx.len().max(2) - 2 < carried {
        return Err(InferError::Arity {
            wanted: format!("{}", carried + 2),
            given: ctx.len(),
        });
    }
    let values = ctx.len().max(2) - 2;
    if body.inputs().len() != values + 2 || body.outputs().len() < carried + 1 {
        let (inputs, outputs) = (body.inputs().len(), body.outputs().len());
        return Err(InferError::Mismatch(format!(
            "body takes {inputs} and gives {outputs} values; there are {values} operands, \
             {carried} of them carried"
        )));
    }
    for (position, (_, output)) in (0..carried).zip(&body.outputs()[1..]) {
        let (after, before) = (body.ty(*output), body.ty(body.inputs()[2 + position]));
        if after.as_tensor().is_none() && !holds(after, before) {
            return Err(InferError::Mismatch(format!(
                "carried value {position} is {before} before an iteration, {after} after it"
            )));
        }
    }
    for position in 0..values {
        let (given, declared) = (
            ctx.facts(2 + position)?.ty,
            body.ty(body.inputs()[2 + position]),
        );
        if !fits(given, declared) {
            return Err(InferError::Mismatch(format!(
                "the body's input {} is {declared}, its operand is {given}",
                2 + position
            )));
        }
    }
    let known = operand_symbols(ctx);
    let mut results = Vec::new();
    for (result, (_, value)) in body.outputs()[1..].iter().enumerate() {
        let ty = body.ty(*value).clone();
        if result < carried {
            // Any number of iterations, zero included: initial and final types must agree.
            let initial = ctx.facts(2 + result)?.ty.clone();
            results.push(merge(ctx, result, &initial, &ty, &known)?.into());
            continue;
        }
        let Some(slice) = ty.as_tensor() else {
            return Err(InferError::Unsupported(format!(
                "scan output {result} is {ty}"
            )));
        };
        let mut shape = vec![ctx.fresh_extent(result, 0)];
        for (axis, dim) in slice.shape.iter().enumerate() {
            shape.push(match is_known(dim, &known) {
                true => dim.clone(),
                false => ctx.fresh_extent(result, axis + 1),
            });
        }
        results.push(Inferred::tensor(slice.dtype, shape));
    }
    Ok(results)
}

fn eval_loop(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let body = ctx.attrs.graph("body");
    let carried = ctx.attrs.int("carried") as usize;
    let trips = match ctx.optional(0) {
        Some(count) => count
            .to_i64s()
            .and_then(|ints| ints.first().copied())
            .unwrap_or(0),
        None => i64::MAX,
    };
    let is_true = |value: &HostValue| {
        value
            .as_tensor()
            .and_then(|t| t.get(0))
            .is_some_and(alula_tensor::Scalar::is_true)
    };
    let mut goes_on = ctx.optional(1).is_none_or(|c| is_true(&c.clone().into()));
    let values: Vec<HostValue> = ctx
        .operands
        .get(2..)
        .unwrap_or_default()
        .iter()
        .map(|operand| present(*operand))
        .collect::<Result<_, _>>()?;
    let (mut state, captures) = (values[..carried].to_vec(), &values[carried..]);
    let scans = body.outputs().len() - 1 - carried;
    let mut slices: Vec<Vec<Tensor>> = vec![Vec::new(); scans];
    let mut iteration = 0;
    while goes_on && iteration < trips {
        let condition = Tensor::from_bools(&[], &[true])?;
        let mut inputs = vec![Tensor::scalar(iteration).into(), condition.into()];
        inputs.append(&mut state);
        inputs.extend_from_slice(captures);
        let mut outputs = (ctx.run_graph)(body, inputs)?.into_iter();
        goes_on = outputs.next().is_some_and(|value| is_true(&value));
        state = outputs.by_ref().take(carried).collect();
        for (scan, output) in outputs.enumerate() {
            let HostValue::Tensor(slice) = output else {
                return Err(EvalError::Value("a scan output is no tensor".to_owned()));
            };
            slices[scan].push(slice);
        }
        iteration += 1;
    }
    for (scan, parts) in slices.into_iter().enumerate() {
        let ty = ctx.results[carried + scan].as_tensor();
        let ty = ty.ok_or_else(|| EvalError::Value("a scan output is no tensor".to_owned()))?;
        state.push(stack(&parts, ty)?.into());
    }
    Ok(state)
}

/// Tensors of one shape along a new first axis; none of them give extents of 0 where unknown.
fn stack(parts: &[Tensor], ty: &TensorType) -> Result<Tensor, EvalError> {
    let inner: Vec<usize> = match parts.first() {
        Some(part) => part.shape().to_vec(),
        None => ty.shape[1..]
            .iter()
            .map(|d| d.as_const().unwrap_or(0).max(0) as usize)
            .collect(),
    };
    if parts.iter().any(|part| part.shape() != inner) {
        return Err(EvalError::Value(
            "slices of a scan output differ in shape".to_owned(),
        ));
    }
    let shape: Vec<usize> = std::iter::once(parts.len()).chain(inner).collect();
    let mut all = Tensor::zeros(ty.dtype, &shape)?;
    let mut at = 0;
    for part in parts {
        all.bytes_mut()[at..at + part.bytes().len()].copy_from_slice(part.bytes());
        at += part.bytes().len();
    }
    Ok(all)
}
