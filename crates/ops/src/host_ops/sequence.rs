//! Sequences and optionals. They live on the host.
//!
//! The element type of a sequence states what all elements share; an extent in which they differ,
//! or that nothing in the graph decides, is the symbol `any`, which is never bound. Whatever is
//! taken out of a sequence gets a symbol of its own in its place. Elements of different ranks
//! share a dtype only, and what is taken out has no rank: it can go into sequences and out of the
//! graph, and that is all.
//!
//! A bare value may stand where an optional is declared.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, Lowering,
    OpDef,
};
use alula_program::HostFn;
use alula_tensor::{DType, Dim, Tensor, TensorType, ValueType};

use crate::movement::{assemble, axis_of, linear};
use crate::shape::PLAIN;

/// Most axes of an element.
const RANK_MAX: usize = 64;

/// The extent that elements of a sequence do not share.
const ANY: &str = "any";

fn any() -> Dim {
    Dim::named(ANY)
}

/// The type that stands for both: extents that differ become `any`.
///
/// # Errors
/// [`InferError::Mismatch`] where no type does.
pub fn merged(a: &ValueType, b: &ValueType) -> Result<ValueType, InferError> {
    match (a, b) {
        (ValueType::Tensor(x), ValueType::Tensor(y)) => {
            if x.dtype != y.dtype {
                return Err(InferError::Mismatch(format!("{x} and {y} in one sequence")));
            }
            if x.rank() != y.rank() {
                return Ok(ValueType::Unranked(x.dtype));
            }
            let dims = x.shape.iter().zip(&y.shape);
            let shape = dims.map(|(x, y)| if x == y { x.clone() } else { any() });
            Ok(TensorType::new(x.dtype, shape.collect::<Vec<_>>()).into())
        }
        (ValueType::Unranked(x), ValueType::Tensor(TensorType { dtype: y, .. }))
        | (ValueType::Tensor(TensorType { dtype: x, .. }), ValueType::Unranked(y))
        | (ValueType::Unranked(x), ValueType::Unranked(y))
            if x == y =>
        {
            Ok(ValueType::Unranked(*x))
        }
        (ValueType::Sequence(x), ValueType::Sequence(y)) => {
            Ok(ValueType::Sequence(Box::new(merged(x, y)?)))
        }
        (ValueType::Optional(x), ValueType::Optional(y)) => {
            Ok(ValueType::Optional(Box::new(merged(x, y)?)))
        }
        (ValueType::Optional(held), bare) | (bare, ValueType::Optional(held)) => {
            Ok(ValueType::Optional(Box::new(merged(held, bare)?)))
        }
        (ValueType::Map { .. }, ValueType::Map { .. }) if a == b => Ok(a.clone()),
        _ => Err(InferError::Mismatch(format!("{a} and {b} as one value"))),
    }
}

/// The type with only extents that are numbers: what may be said of a value anywhere.
fn general(ty: &ValueType) -> ValueType {
    match ty {
        ValueType::Tensor(ty) => {
            let dims = ty.shape.iter();
            let shape = dims.map(|dim| {
                if dim.as_const().is_some() {
                    dim.clone()
                } else {
                    any()
                }
            });
            TensorType::new(ty.dtype, shape.collect::<Vec<_>>()).into()
        }
        ValueType::Sequence(inner) => ValueType::Sequence(Box::new(general(inner))),
        ValueType::Optional(inner) => ValueType::Optional(Box::new(general(inner))),
        ValueType::Unranked(_) | ValueType::Map { .. } => ty.clone(),
    }
}

/// The type of something taken out: extents that are not numbers get symbols of their own.
fn taken(ctx: &mut InferCtx<'_>, ty: &ValueType) -> Inferred {
    match ty {
        ValueType::Tensor(ty) => {
            let mut shape = ty.shape.clone();
            for (axis, dim) in shape.iter_mut().enumerate() {
                if dim.as_const().is_none() {
                    *dim = ctx.fresh_extent(0, axis);
                }
            }
            Inferred::tensor(ty.dtype, shape)
        }
        other => other.clone().into(),
    }
}

fn element(ctx: &InferCtx<'_>, position: usize) -> Result<ValueType, InferError> {
    match ctx.facts(position)?.ty {
        ValueType::Sequence(inner) => Ok(inner.as_ref().clone()),
        other => Err(InferError::BadDType {
            operand: position,
            given: other.to_string(),
            wanted: "a sequence".to_owned(),
        }),
    }
}

fn expect_place(ctx: &InferCtx<'_>, position: usize) -> Result<(), InferError> {
    if !ctx.has(position) {
        return Ok(());
    }
    let ty = ctx.tensor(position)?;
    match ty.dtype.is_integer() && ty.num_elements().as_const().is_none_or(|n| n == 1) {
        true => Ok(()),
        false => Err(InferError::Mismatch(format!(
            "position {ty} is not one integer"
        ))),
    }
}

fn value<'v>(ctx: &EvalCtx<'v>, position: usize) -> Result<&'v HostValue, EvalError> {
    let value = ctx.operands.get(position).copied().flatten();
    value.ok_or_else(|| EvalError::Value(format!("operand {position} is absent")))
}

fn list(ctx: &EvalCtx<'_>, position: usize) -> Result<Vec<HostValue>, EvalError> {
    let values = value(ctx, position)?.as_sequence();
    let values = values.ok_or_else(|| EvalError::Value("a sequence is needed".to_owned()))?;
    Ok(values.to_vec())
}

/// A position among `count`, counted from the end if negative.
fn place(ctx: &EvalCtx<'_>, position: usize, count: usize) -> Result<usize, EvalError> {
    let given = ctx.ints(position)?.first().copied().unwrap_or(0);
    let at = if given < 0 {
        given.saturating_add(count as i64)
    } else {
        given
    };
    let at = usize::try_from(at).ok().filter(|at| *at < count);
    at.ok_or_else(|| EvalError::Value(format!("position {given} of {count}")))
}

/// An empty sequence.
pub static SEQUENCE_EMPTY: OpDef = OpDef {
    name: "sequence_empty",
    summary: "a sequence of no tensors of a dtype, and of a rank if it is given",
    operands: &[],
    attrs: &[
        AttrSpec::required("dtype", AttrKind::DType, "dtype of the elements"),
        AttrSpec::optional(
            "rank",
            AttrKind::Int,
            "rank of the elements, if they share one",
        ),
    ],
    traits: PLAIN,
    infer: |ctx| {
        let dtype = ctx.attrs.dtype("dtype");
        let ty = match ctx.attrs.has("rank") {
            false => ValueType::Unranked(dtype),
            true => {
                let rank = ctx.attrs.int("rank");
                let rank = usize::try_from(rank).ok().filter(|rank| *rank <= RANK_MAX);
                let rank = rank.ok_or_else(|| InferError::BadAttr {
                    name: "rank".to_owned(),
                    reason: format!("is not between 0 and {RANK_MAX}"),
                })?;
                TensorType::new(dtype, vec![any(); rank]).into()
            }
        };
        Ok(vec![ValueType::Sequence(Box::new(ty)).into()])
    },
    eval: |_| Ok(vec![HostValue::Sequence(Vec::new())]),
    lowering: Lowering::Host(|_| Ok(HostFn::SequenceEmpty)),
    examples: &[
        "graph @e(%x: f32[2]) {
       %s = sequence_empty {dtype = f32, rank = 1} %t = sequence_insert %s, %x
       %i = const i64[] [0] %z = sequence_at %t, %i %y = neg %z
       %n = sequence_length %t return y: %y, n: %n }",
        "graph @e(%x: f32[2], %y: f32[1, 3]) {
       %s = sequence_empty {dtype = f32} %t = sequence_insert %s, %x
       %u = sequence_insert %t, %y %i = const i64[] [1]
       %z = sequence_at %u, %i return z: %z }",
    ],
};

/// A sequence of the operands.
pub static SEQUENCE_CONSTRUCT: OpDef = OpDef {
    name: "sequence_construct",
    summary: "the operands in order",
    operands: &["x", "more*"],
    attrs: &[],
    traits: PLAIN,
    infer: |ctx| {
        let mut ty = ctx.facts(0)?.ty.clone();
        for position in 1..ctx.len() {
            ty = merged(&ty, ctx.facts(position)?.ty)?;
        }
        Ok(vec![ValueType::Sequence(Box::new(general(&ty))).into()])
    },
    eval: |ctx| {
        let all = (0..ctx.operands.len()).map(|k| value(ctx, k).cloned());
        Ok(vec![HostValue::Sequence(all.collect::<Result<_, _>>()?)])
    },
    lowering: Lowering::Host(|_| Ok(HostFn::SequenceConstruct)),
    examples: &["graph @e(%x: f32[2], %y: f32[N]) {
       %s = sequence_construct %x, %y, %x
       %i = const i64[] [-2] %z = sequence_at %s, %i return z: %z }"],
};

/// One element.
pub static SEQUENCE_AT: OpDef = OpDef {
    name: "sequence_at",
    summary: "the element at a position, from the end if negative",
    operands: &["sequence", "position"],
    attrs: &[],
    traits: PLAIN,
    infer: |ctx| {
        expect_place(ctx, 1)?;
        let ty = element(ctx, 0)?;
        Ok(vec![taken(ctx, &ty)])
    },
    eval: |ctx| {
        let mut values = list(ctx, 0)?;
        let at = place(ctx, 1, values.len())?;
        Ok(vec![values.swap_remove(at)])
    },
    lowering: Lowering::Host(|_| Ok(HostFn::SequenceAt)),
    examples: &["graph @e(%x: i32[2], %y: i32[2]) {
       %s = sequence_construct %x, %y
       %i = const i64[] [1] %z = sequence_at %s, %i %w = add %z, %x return w: %w }"],
};

/// One element more.
pub static SEQUENCE_INSERT: OpDef = OpDef {
    name: "sequence_insert",
    summary: "the sequence with x in front of a position, at the end without one",
    operands: &["sequence", "x", "position?"],
    attrs: &[],
    traits: PLAIN,
    infer: |ctx| {
        expect_place(ctx, 2)?;
        let ty = merged(&element(ctx, 0)?, ctx.facts(1)?.ty)?;
        Ok(vec![ValueType::Sequence(Box::new(general(&ty))).into()])
    },
    eval: |ctx| {
        let mut values = list(ctx, 0)?;
        let at = match ctx.optional(2) {
            // Counted from the end, a position is in front of an element.
            Some(_) if ctx.ints(2)?.first() == Some(&(values.len() as i64)) => values.len(),
            Some(_) => place(ctx, 2, values.len())?,
            None => values.len(),
        };
        values.insert(at, value(ctx, 1)?.clone());
        Ok(vec![HostValue::Sequence(values)])
    },
    lowering: Lowering::Host(|_| Ok(HostFn::SequenceInsert)),
    examples: &[
        "graph @e(%x: f32[2], %y: f32[2]) {
       %s = sequence_construct %x %i = const i64[] [0]
       %t = sequence_insert %s, %y, %i %z = sequence_at %t, %i return z: %z }",
        "graph @e(%x: f32[2], %y: f32[2]) {
       %s = sequence_construct %x, %x %i = const i64[] [-1]
       %t = sequence_insert %s, %y, %i %z = sequence_at %t, %i return z: %z }",
    ],
};

/// One element less.
pub static SEQUENCE_ERASE: OpDef = OpDef {
    name: "sequence_erase",
    summary: "the sequence without the element at a position, without the last one by default",
    operands: &["sequence", "position?"],
    attrs: &[],
    traits: PLAIN,
    infer: |ctx| {
        expect_place(ctx, 1)?;
        element(ctx, 0)?;
        Ok(vec![ctx.facts(0)?.ty.clone().into()])
    },
    eval: |ctx| {
        let mut values = list(ctx, 0)?;
        let at = match ctx.optional(1) {
            Some(_) => place(ctx, 1, values.len())?,
            None if values.is_empty() => {
                return Err(EvalError::Value("the sequence is empty".to_owned()));
            }
            None => values.len() - 1,
        };
        values.remove(at);
        Ok(vec![HostValue::Sequence(values)])
    },
    lowering: Lowering::Host(|_| Ok(HostFn::SequenceErase)),
    examples: &["graph @e(%x: f32[2], %y: f32[3]) {
       %s = sequence_construct %x, %y %i = const i64[] [0]
       %t = sequence_erase %s, %i %z = sequence_at %t, %i return z: %z }"],
};

/// The number of elements.
pub static SEQUENCE_LENGTH: OpDef = OpDef {
    name: "sequence_length",
    summary: "the number of elements, an i64 scalar",
    operands: &["sequence"],
    attrs: &[],
    traits: PLAIN,
    infer: |ctx| {
        element(ctx, 0)?;
        Ok(vec![Inferred::tensor(DType::I64, Vec::new())])
    },
    eval: |ctx| Ok(vec![Tensor::scalar(list(ctx, 0)?.len() as i64).into()]),
    lowering: Lowering::Host(|_| Ok(HostFn::SequenceLength)),
    examples: &["graph @e(%x: f32[2], %y: f32[2]) {
       %s = sequence_construct %x, %y %n = sequence_length %s return n: %n }"],
};

const NEW_AXIS: AttrSpec = AttrSpec::bool("new_axis", false, "along a new axis");

/// Elements joined.
pub static CONCAT_FROM_SEQUENCE: OpDef = OpDef {
    name: "concat_from_sequence",
    summary: "the elements joined along `axis`, a new one if `new_axis`",
    operands: &["sequence"],
    attrs: &[
        AttrSpec::required("axis", AttrKind::Int, "the axis, from the end if negative"),
        NEW_AXIS,
    ],
    traits: PLAIN,
    infer: |ctx| {
        let ty = match element(ctx, 0)? {
            ValueType::Tensor(ty) => ty,
            ValueType::Unranked(_) => {
                let reason = "the rank of the elements is not known".to_owned();
                return Err(InferError::Unsupported(reason));
            }
            other => {
                return Err(InferError::Mismatch(format!(
                    "elements are {other}, no tensors"
                )));
            }
        };
        let mut shape = ty.shape;
        let rank = shape.len() + usize::from(ctx.attrs.bool("new_axis"));
        let axis = ctx.axis(ctx.attrs.int("axis"), rank)?;
        if ctx.attrs.bool("new_axis") {
            shape.insert(axis, any());
        }
        for (place, dim) in shape.iter_mut().enumerate() {
            if place == axis || dim.as_const().is_none() {
                *dim = ctx.fresh_extent(0, place);
            }
        }
        Ok(vec![Inferred::tensor(ty.dtype, shape)])
    },
    eval: eval_concat,
    lowering: Lowering::Host(|ctx| {
        Ok(HostFn::ConcatFromSequence {
            axis: ctx.attrs.int("axis"),
            new_axis: ctx.attrs.bool("new_axis"),
        })
    }),
    examples: &[
        "graph @e(%x: f32[2, 1], %y: f32[2, 3]) {
           %s = sequence_construct %x, %y
           %z = concat_from_sequence %s {axis = 1} return z: %z }",
        "graph @e(%x: f32[2], %y: f32[2]) {
           %s = sequence_construct %x, %y
           %z = concat_from_sequence %s {axis = -1, new_axis = true} return z: %z }",
    ],
};

fn eval_concat(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let values = list(ctx, 0)?;
    let mut parts: Vec<Tensor> = values
        .into_iter()
        .filter_map(HostValue::into_tensor)
        .collect();
    let Some(first) = parts.first() else {
        return Err(EvalError::Value(
            "an empty sequence cannot be joined".to_owned(),
        ));
    };
    let rank = first.rank() + usize::from(ctx.attrs.bool("new_axis"));
    let axis = axis_of(ctx.attrs.int("axis"), rank);
    if ctx.attrs.bool("new_axis") {
        for part in &mut parts {
            let mut shape = part.shape().to_vec();
            shape.insert(axis, 1);
            *part = part.reshape(&shape)?;
        }
    }
    let mut shape = parts[0].shape().to_vec();
    shape[axis] = parts
        .iter()
        .map(|part| part.shape().get(axis).copied().unwrap_or(0))
        .sum();
    let fits = |part: &Tensor| {
        part.rank() == rank && (0..rank).all(|k| k == axis || part.shape()[k] == shape[k])
    };
    if !parts.iter().all(fits) {
        return Err(EvalError::Value("elements differ in shape".to_owned()));
    }
    let sources: Vec<&Tensor> = parts.iter().collect();
    let value = assemble(ctx, &sources, &shape, |index| {
        let mut own = index.to_vec();
        let mut source = 0;
        while own[axis] >= sources[source].shape()[axis] {
            own[axis] -= sources[source].shape()[axis];
            source += 1;
        }
        Ok((source, linear(sources[source].shape(), &own)))
    })?;
    Ok(vec![value])
}

/// A tensor in parts.
pub static SPLIT_TO_SEQUENCE: OpDef = OpDef {
    name: "split_to_sequence",
    summary: "parts of x along `axis`: of extent 1, of one extent (the last may be less), or of a \
              list of extents",
    operands: &["x", "split?"],
    attrs: &[
        AttrSpec::int("axis", 0, "the axis, from the end if negative"),
        AttrSpec::bool(
            "keepdims",
            true,
            "parts of extent 1 keep the axis, without a split",
        ),
    ],
    traits: PLAIN,
    infer: |ctx| {
        let x = ctx.tensor(0)?;
        let axis = ctx.axis(ctx.attrs.int("axis"), x.rank())?;
        let mut shape = x.shape.clone();
        if ctx.has(1) {
            shape[axis] = any();
        } else if ctx.attrs.bool("keepdims") {
            shape[axis] = Dim::new(1);
        } else {
            shape.remove(axis);
        }
        let ty = general(&TensorType::new(x.dtype, shape).into());
        Ok(vec![ValueType::Sequence(Box::new(ty)).into()])
    },
    eval: eval_split,
    lowering: Lowering::Host(|ctx| {
        Ok(HostFn::SplitToSequence {
            axis: ctx.attrs.int("axis"),
            keepdims: ctx.attrs.bool("keepdims"),
        })
    }),
    examples: &[
        "graph @e(%x: f32[3, 2]) {
           %s = split_to_sequence %x {keepdims = false}
           %i = const i64[] [1] %y = sequence_at %s, %i return y: %y }",
        "graph @e(%x: f32[2, 5]) {
           %n = const i64[] [2] %s = split_to_sequence %x, %n {axis = 1}
           %i = const i64[] [-1] %y = sequence_at %s, %i return y: %y }",
        "graph @e(%x: f32[2, N]) {
           %n = const i64[2] [1, 2] %s = split_to_sequence %x, %n {axis = -1}
           %y = concat_from_sequence %s {axis = 1} return y: %y }",
    ],
};

fn eval_split(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let axis = axis_of(ctx.attrs.int("axis"), x.rank());
    let extent = x.shape()[axis];
    let drop_axis = ctx.optional(1).is_none() && !ctx.attrs.bool("keepdims");
    let lengths: Vec<i64> = match ctx.optional(1) {
        None => vec![1; extent],
        Some(split) => {
            let given = ctx.ints(1)?;
            match (split.rank(), given.as_slice()) {
                (0, &[length]) if length > 0 => {
                    let starts = (0..extent as i64).step_by(length as usize);
                    starts
                        .map(|start| length.min(extent as i64 - start))
                        .collect()
                }
                (1, _) => given,
                _ => return Err(EvalError::Value("split is no extent".to_owned())),
            }
        }
    };
    if lengths.iter().any(|l| *l < 0) || lengths.iter().sum::<i64>() != extent as i64 {
        return Err(EvalError::Value(format!("parts {lengths:?} of {extent}")));
    }
    let mut begin = 0;
    let mut parts = Vec::new();
    for length in lengths {
        let mut shape = x.shape().to_vec();
        shape[axis] = length as usize;
        let part = assemble(ctx, &[x], &shape, |index| {
            let mut own = index.to_vec();
            own[axis] += begin;
            Ok((0, linear(x.shape(), &own)))
        })?;
        begin += length as usize;
        let part = part.into_tensor();
        let part = part.ok_or_else(|| EvalError::Value("a part is no tensor".to_owned()))?;
        if drop_axis {
            shape.remove(axis);
        }
        parts.push(part.reshape(&shape)?.into());
    }
    Ok(vec![HostValue::Sequence(parts)])
}

/// Something that may be absent.
pub static OPTIONAL: OpDef = OpDef {
    name: "optional",
    summary: "an optional that holds x, or nothing where it is absent",
    operands: &["x?"],
    attrs: &[AttrSpec::optional(
        "type",
        AttrKind::Str,
        "the type, as text, of what an optional that holds nothing might hold",
    )],
    traits: PLAIN,
    infer: |ctx| {
        let bad = |reason: String| InferError::BadAttr {
            name: "type".to_owned(),
            reason,
        };
        let ty = match (ctx.has(0), ctx.attrs.has("type")) {
            (true, false) => ctx.facts(0)?.ty.clone(),
            (false, true) => alula_ir::parse_type(ctx.attrs.str("type")).map_err(bad)?,
            (true, true) => return Err(bad("is given beside an operand".to_owned())),
            (false, false) => return Err(InferError::MissingOperand(0)),
        };
        Ok(vec![ValueType::Optional(Box::new(general(&ty))).into()])
    },
    eval: |ctx| {
        let held = ctx.operands.first().copied().flatten();
        let held = held.map(|held| Box::new(held.clone()));
        Ok(vec![HostValue::Optional(held)])
    },
    lowering: Lowering::Host(|_| Ok(HostFn::Optional)),
    examples: &[
        "graph @e(%x: f32[2]) {
       %o = optional %x %y = optional_get_element %o return y: %y }",
        "graph @e() {
       %o = optional {type = \"seq<f32[N]>\"}
       %y = optional_has_element %o return y: %y }",
    ],
};

/// What an optional holds.
pub static OPTIONAL_GET_ELEMENT: OpDef = OpDef {
    name: "optional_get_element",
    summary: "what an optional holds, which must be something",
    operands: &["x"],
    attrs: &[],
    traits: PLAIN,
    infer: |ctx| match ctx.facts(0)?.ty.clone() {
        ValueType::Optional(inner) => Ok(vec![taken(ctx, &inner)]),
        other => Err(InferError::BadDType {
            operand: 0,
            given: other.to_string(),
            wanted: "an optional".to_owned(),
        }),
    },
    eval: |ctx| match value(ctx, 0)? {
        HostValue::Optional(Some(held)) => Ok(vec![held.as_ref().clone()]),
        _ => Err(EvalError::Value("the optional is empty".to_owned())),
    },
    lowering: Lowering::Host(|_| Ok(HostFn::OptionalGetElement)),
    examples: &["graph @e(%x: f32[N]) {
       %o = optional %x %y = optional_get_element %o return y: %y }"],
};

/// Whether an optional holds something.
pub static OPTIONAL_HAS_ELEMENT: OpDef = OpDef {
    name: "optional_has_element",
    summary: "whether an optional holds something, a bool scalar",
    operands: &["x"],
    attrs: &[],
    traits: PLAIN,
    infer: |_| Ok(vec![Inferred::tensor(DType::Bool, Vec::new())]),
    eval: |ctx| {
        let holds = !matches!(value(ctx, 0)?, HostValue::Optional(None));
        Ok(vec![Tensor::from_bools(&[], &[holds])?.into()])
    },
    lowering: Lowering::Host(|_| Ok(HostFn::OptionalHasElement)),
    examples: &["graph @e(%x: f32[2]) {
       %o = optional %x %y = optional_has_element %o return y: %y }"],
};
