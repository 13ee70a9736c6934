//! `nonzero` and `compress`: what a condition leaves.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef,
};
use alula_program::HostFn;
use alula_tensor::{DType, DTypeClass, Dim, Scalar};

use crate::movement::{assemble, axis_of, for_each_index, linear};
use crate::shape::PLAIN;

/// Indices of elements that are not zero.
pub static NONZERO: OpDef = OpDef {
    name: "nonzero",
    summary: "i64[rank, count]: the indices of elements of x that are not 0, in row-major order",
    operands: &["x"],
    attrs: &[],
    traits: PLAIN,
    infer: |ctx| {
        let x = ctx.tensor(0)?;
        if x.dtype == DType::String {
            return Err(InferError::Unsupported("nonzero of strings".to_owned()));
        }
        let count = ctx.fresh_extent(0, 1);
        Ok(vec![Inferred::tensor(
            DType::I64,
            vec![Dim::from(x.rank()), count],
        )])
    },
    eval: eval_nonzero,
    lowering: Lowering::Host(|_| Ok(HostFn::NonZero)),
    examples: &[
        "graph @e(%x: i32[2, 3]) { %y = nonzero %x return y: %y }",
        "graph @e(%x: bool[N]) { %y = nonzero %x return y: %y }",
        "graph @e(%x: f32[2, 0]) { %y = nonzero %x return y: %y }",
        "graph @e(%x: f32[]) { %y = nonzero %x return y: %y }",
    ],
};

fn eval_nonzero(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let mut found: Vec<Vec<usize>> = Vec::new();
    for_each_index(x.shape(), |index| {
        if x.get(linear(x.shape(), index)).is_some_and(Scalar::is_true) {
            found.push(index.to_vec());
        }
        Ok::<_, EvalError>(())
    })?;
    let values: Vec<Scalar> = (0..x.rank())
        .flat_map(|axis| {
            found
                .iter()
                .map(move |index| Scalar::Int(index[axis] as i128))
        })
        .collect();
    Ok(vec![ctx.result(
        DType::I64,
        &[x.rank(), found.len()],
        &values,
    )?])
}

/// Slices or elements where a condition is true.
pub static COMPRESS: OpDef = OpDef {
    name: "compress",
    summary: "slices of x along `axis` (elements of the flattened x without it) where cond is true",
    operands: &["x", "cond"],
    attrs: &[AttrSpec::optional(
        "axis",
        AttrKind::Int,
        "absent: x is flattened first",
    )],
    traits: PLAIN,
    infer: infer_compress,
    eval: eval_compress,
    lowering: Lowering::Host(lower_compress),
    examples: &[
        "graph @e(%x: f32[3, 2], %c: bool[3]) {
           %y = compress %x, %c {axis = 0} return y: %y }",
        "graph @e(%x: i64[2, N], %c: bool[2]) {
           %y = compress %x, %c {axis = -1} return y: %y }",
        "graph @e(%x: f16[3, 2], %c: bool[5]) { %y = compress %x, %c return y: %y }",
    ],
};

fn infer_compress(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    ctx.expect_class(1, &[DTypeClass::Bool])?;
    let (x, cond) = (ctx.tensor(0)?, ctx.tensor(1)?);
    if cond.rank() != 1 {
        return Err(InferError::Mismatch(format!(
            "the condition is {cond}, not of rank 1"
        )));
    }
    let shape = if ctx.attrs.has("axis") {
        let axis = ctx.axis(ctx.attrs.int("axis"), x.rank())?;
        let mut shape = x.shape.clone();
        shape[axis] = ctx.fresh_extent(0, axis);
        shape
    } else {
        vec![ctx.fresh_extent(0, 0)]
    };
    Ok(vec![Inferred::tensor(x.dtype, shape)])
}

fn eval_compress(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (x, cond) = (ctx.tensor(0)?, ctx.ints(1)?);
    let flat = x.reshape(&[x.len()])?;
    let (source, axis) = match ctx.attrs.has("axis") {
        true => (x, axis_of(ctx.attrs.int("axis"), x.rank())),
        false => (&flat, 0),
    };
    let kept: Vec<usize> = (0..cond.len()).filter(|&k| cond[k] != 0).collect();
    if let Some(outside) = kept.iter().find(|&&k| k >= source.shape()[axis]) {
        return Err(EvalError::Value(format!(
            "condition {outside} is beyond axis {axis}"
        )));
    }
    let mut shape = source.shape().to_vec();
    shape[axis] = kept.len();
    let value = assemble(ctx, &[source], &shape, |index| {
        let mut own = index.to_vec();
        own[axis] = kept[own[axis]];
        Ok((0, linear(source.shape(), &own)))
    })?;
    Ok(vec![value])
}

fn lower_compress(ctx: &LowerCtx<'_>) -> Result<HostFn, LowerError> {
    let axis = ctx.attrs.has("axis").then(|| ctx.attrs.int("axis"));
    Ok(HostFn::Compress {
        axis: axis.map(|axis| axis_of(axis, ctx.tensor(0).rank())),
    })
}
