//! Sequences and optionals.

use alula_ir::{Attrs, ValueId};
use alula_ops::host_ops::{
    CONCAT_FROM_SEQUENCE, OPTIONAL, OPTIONAL_GET_ELEMENT, OPTIONAL_HAS_ELEMENT, SEQUENCE_AT,
    SEQUENCE_CONSTRUCT, SEQUENCE_EMPTY, SEQUENCE_ERASE, SEQUENCE_INSERT, SEQUENCE_LENGTH,
    SPLIT_TO_SEQUENCE,
};
use alula_tensor::{DType, Tensor, ValueType};

use super::compose::Value;
use super::{Built, Row, RowCtx, RowError, row};

/// The family's rows.
pub(super) const ROWS: &[Row] = &[
    row("SequenceConstruct", &[11], &[], |ctx| {
        let inputs = ctx.all_inputs()?;
        Ok(vec![ctx.op(&SEQUENCE_CONSTRUCT, &inputs)?])
    }),
    row("SequenceEmpty", &[11], &["dtype"], |ctx| {
        let dtype = ctx.dtype("dtype")?.unwrap_or(DType::F32);
        let attrs = Attrs::new().with("dtype", dtype);
        Ok(vec![ctx.push(&SEQUENCE_EMPTY, &[], attrs)?])
    }),
    row("SequenceAt", &[11], &[], |ctx| {
        let inputs = ctx.all_inputs()?;
        Ok(vec![ctx.op(&SEQUENCE_AT, &inputs)?])
    }),
    row("SequenceInsert", &[11], &[], insert),
    row("SequenceErase", &[11], &[], |ctx| {
        let (list, at) = (ctx.input(0)?, ctx.optional(1));
        ctx.push_all(&SEQUENCE_ERASE, &[Some(list), at], Attrs::new())
    }),
    row("SequenceLength", &[11], &[], |ctx| {
        let list = ctx.input(0)?;
        Ok(vec![ctx.op(&SEQUENCE_LENGTH, &[list])?])
    }),
    row("ConcatFromSequence", &[11], &["axis", "new_axis"], |ctx| {
        let list = ctx.input(0)?;
        let axis = ctx.int("axis");
        let axis = axis.ok_or_else(|| RowError::Invalid("attribute axis is absent".to_owned()))?;
        let attrs = Attrs::new()
            .with("axis", axis)
            .with("new_axis", ctx.flag("new_axis", false));
        Ok(vec![ctx.push(&CONCAT_FROM_SEQUENCE, &[list], attrs)?])
    }),
    row("SplitToSequence", &[11, 24], &["axis", "keepdims"], |ctx| {
        let (x, split) = (ctx.input(0)?, ctx.optional(1));
        let attrs = Attrs::new()
            .with("axis", ctx.int_or("axis", 0))
            .with("keepdims", ctx.flag("keepdims", true));
        ctx.push_all(&SPLIT_TO_SEQUENCE, &[Some(x), split], attrs)
    }),
    row("OptionalHasElement", &[15, 18, 28], &[], |ctx| {
        let Some(x) = ctx.optional(0) else {
            let none = Tensor::from_bools(&[], &[false]);
            let none = none.map_err(|error| RowError::Invalid(error.to_string()))?;
            return Ok(vec![ctx.constant(none)]);
        };
        Ok(vec![ctx.op(&OPTIONAL_HAS_ELEMENT, &[x])?])
    }),
    // What is no optional is what it holds.
    row("OptionalGetElement", &[15, 18, 28], &[], |ctx| {
        let x = ctx.input(0)?;
        match ctx.value_type(x) {
            ValueType::Optional(_) => Ok(vec![ctx.op(&OPTIONAL_GET_ELEMENT, &[x])?]),
            _ => Ok(vec![x]),
        }
    }),
    row("Optional", &[15, 28], &["type"], |ctx| {
        match ctx.optional(0) {
            Some(x) => Ok(vec![ctx.op(&OPTIONAL, &[x])?]),
            None => {
                let ty = ctx.type_attr("type")?;
                let ty =
                    ty.ok_or_else(|| RowError::Invalid("attribute type is absent".to_owned()))?;
                let attrs = Attrs::new().with("type", ty.to_string());
                ctx.push_all(&OPTIONAL, &[None], attrs)
            }
        }
    }),
];

/// An empty sequence takes the rank of what is inserted first.
fn insert(ctx: &mut RowCtx<'_, '_>) -> Built {
    let (list, x, at) = (ctx.input(0)?, ctx.input(1)?, ctx.optional(2));
    let list = match is_empty(ctx, list) {
        Some(dtype) => {
            let ty = ctx.value_type(x);
            empty_of(ctx, dtype, &ty)?
        }
        None => list,
    };
    ctx.push_all(&SEQUENCE_INSERT, &[Some(list), Some(x), at], Attrs::new())
}

/// An empty sequence of what such a value may join.
pub(super) fn empty_of(ctx: &mut RowCtx<'_, '_>, dtype: DType, ty: &ValueType) -> Value {
    let mut attrs = Attrs::new().with("dtype", dtype);
    if let Some(ty) = ty.as_tensor() {
        attrs.set("rank", ty.rank() as i64);
    }
    ctx.push(&SEQUENCE_EMPTY, &[], attrs)
}

/// The dtype, if a value is made as an empty sequence.
pub(super) fn is_empty(ctx: &mut RowCtx<'_, '_>, list: ValueId) -> Option<DType> {
    let graph = ctx.graph();
    let node = graph.node(graph.producer(list)?);
    (node.op == &SEQUENCE_EMPTY).then(|| node.attrs.dtype("dtype"))
}
