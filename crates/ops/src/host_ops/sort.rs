//! `topk` and `unique`: sorting.

use std::cmp::Ordering;

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef,
};
use alula_program::HostFn;
use alula_tensor::{DType, DTypeClass, Dim, Scalar, Tensor};

use crate::movement::{assemble, axis_of, linear};
use crate::shape::PLAIN;

/// The greatest or least elements along an axis, and where they are.
pub static TOPK: OpDef = OpDef {
    name: "topk",
    summary: "the k greatest (least) elements along `axis` in order, and their i64 positions; \
              of equal elements the first one comes first; NaN counts as the greatest",
    operands: &["x", "k"],
    attrs: &[
        AttrSpec::int("axis", -1, "the axis, from the end if negative"),
        AttrSpec::bool("largest", true, "the greatest, else the least"),
        AttrSpec::bool("sorted", true, "in order; else any order will do"),
    ],
    traits: PLAIN,
    infer: infer_topk,
    eval: eval_topk,
    lowering: Lowering::Host(lower_topk),
    examples: &[
        "graph @e(%x: f32[3, 5]) {
           %k = const i64[1] [2] %v, %i = topk %x, %k return v: %v, i: %i }",
        "graph @e(%x: i32[N, 4]) {
           %k = const i64[] [1]
           %v, %i = topk %x, %k {axis = 0, largest = false} return v: %v, i: %i }",
        "graph @e(%x: u8[4]) {
           %k = const i64[1] [0] %v, %i = topk %x, %k {sorted = false} return v: %v, i: %i }",
    ],
};

fn infer_topk(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    ctx.expect_class(
        0,
        &[DTypeClass::Float, DTypeClass::Signed, DTypeClass::Unsigned],
    )?;
    ctx.expect_class(1, &[DTypeClass::Signed, DTypeClass::Unsigned])?;
    let (x, k) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let axis = ctx.axis(ctx.attrs.int("axis"), x.rank())?;
    if k.rank() > 1 || !k.num_elements().is(1) {
        return Err(InferError::Mismatch(format!("k is {k}, not one integer")));
    }
    let count = match ctx.content(1) {
        Some([count]) => count.clone(),
        _ => ctx.fresh_content(1, 0)?,
    };
    if let (Some(count), Some(extent)) = (count.as_const(), x.shape[axis].as_const())
        && !(0..=extent).contains(&count)
    {
        return Err(InferError::Mismatch(format!(
            "{count} of {extent} elements are asked for"
        )));
    }
    let mut shape = x.shape.clone();
    shape[axis] = count;
    Ok(vec![
        Inferred::tensor(x.dtype, shape.clone()),
        Inferred::tensor(DType::I64, shape),
    ])
}

/// Numbers by value; NaN is equal to itself and above everything.
fn order(a: Scalar, b: Scalar) -> Ordering {
    match (a, b) {
        (Scalar::Int(a), Scalar::Int(b)) => a.cmp(&b),
        (a, b) => {
            let (a, b) = (a.to_f64(), b.to_f64());
            a.partial_cmp(&b)
                .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }
    }
}

fn eval_topk(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (x, k) = (ctx.tensor(0)?, ctx.ints(1)?);
    let axis = axis_of(ctx.attrs.int("axis"), x.rank());
    let (extent, largest) = (x.shape()[axis], ctx.attrs.bool("largest"));
    let count = k
        .first()
        .and_then(|&k| usize::try_from(k).ok())
        .filter(|&k| k <= extent);
    let Some(count) = count else {
        return Err(EvalError::Value(format!(
            "{k:?} of {extent} elements are asked for"
        )));
    };
    let mut shape = x.shape().to_vec();
    shape[axis] = count;
    let values = x.to_scalars();
    let mut results = ctx.zeros(DType::I64, &shape)?.to_scalars();
    let stride: usize = x.shape()[axis + 1..].iter().product();
    for row in 0..values.len() / extent.max(1) {
        let (outer, inner) = (row / stride, row % stride);
        let first = outer * extent * stride + inner;
        let mut by_value: Vec<usize> = (0..extent).collect();
        by_value.sort_by(|&a, &b| {
            let order = order(values[first + a * stride], values[first + b * stride]);
            if largest { order.reverse() } else { order }
        });
        for (rank, &at) in by_value.iter().take(count).enumerate() {
            results[(outer * count + rank) * stride + inner] = Scalar::Int(at as i128);
        }
    }
    let taken = assemble(ctx, &[x], &shape, |index| {
        let mut own = index.to_vec();
        own[axis] = results[linear(&shape, index)].as_int().unwrap_or_default() as usize;
        Ok((0, linear(x.shape(), &own)))
    })?;
    Ok(vec![taken, ctx.result(DType::I64, &shape, &results)?])
}

fn lower_topk(ctx: &LowerCtx<'_>) -> Result<HostFn, LowerError> {
    Ok(HostFn::TopK {
        axis: axis_of(ctx.attrs.int("axis"), ctx.tensor(0).rank()),
        largest: ctx.attrs.bool("largest"),
        sorted: ctx.attrs.bool("sorted"),
    })
}

/// Distinct elements or slices.
pub static UNIQUE: OpDef = OpDef {
    name: "unique",
    summary: "distinct slices of x along `axis` (elements of the flattened x without it), their \
              first positions, the position of each in the result, and how often each occurs",
    operands: &["x"],
    attrs: &[
        AttrSpec::optional("axis", AttrKind::Int, "absent: x is flattened first"),
        AttrSpec::bool(
            "sorted",
            true,
            "in ascending order, else of first occurrence",
        ),
    ],
    traits: PLAIN,
    infer: infer_unique,
    eval: eval_unique,
    lowering: Lowering::Host(lower_unique),
    examples: &[
        "graph @e(%x: i32[6]) {
           %v, %f, %i, %c = unique %x return v: %v, f: %f, i: %i, c: %c }",
        "graph @e(%x: bool[4, N]) {
           %v, %f, %i, %c = unique %x {axis = 0, sorted = false}
           return v: %v, f: %f, i: %i, c: %c }",
        "graph @e(%x: f32[2, 0]) {
           %v, %f, %i, %c = unique %x return v: %v, f: %f, i: %i, c: %c }",
    ],
};

fn infer_unique(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let x = ctx.tensor(0)?;
    let (shape, axis, total) = if ctx.attrs.has("axis") {
        let axis = ctx.axis(ctx.attrs.int("axis"), x.rank())?;
        (x.shape.clone(), axis, x.shape[axis].clone())
    } else {
        (vec![Dim::new(0)], 0, x.num_elements())
    };
    let count = ctx.fresh_extent(0, axis);
    let mut values = shape;
    values[axis] = count.clone();
    Ok(vec![
        Inferred::tensor(x.dtype, values),
        Inferred::tensor(DType::I64, vec![count.clone()]),
        Inferred::tensor(DType::I64, vec![total]),
        Inferred::tensor(DType::I64, vec![count]),
    ])
}

fn eval_unique(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let flat = x.reshape(&[x.len()])?;
    let (source, axis) = match ctx.attrs.has("axis") {
        true => (x, axis_of(ctx.attrs.int("axis"), x.rank())),
        false => (&flat, 0),
    };
    let extent = source.shape()[axis];
    let slices: Vec<Vec<usize>> = (0..extent)
        .map(|k| positions(source.shape(), axis, k))
        .collect();
    let compare = |a: usize, b: usize| compare_slices(source, &slices[a], &slices[b]);
    // First positions of distinct slices, in order of occurrence, then sorted if asked for.
    let mut firsts: Vec<usize> = Vec::new();
    for k in 0..extent {
        if !firsts
            .iter()
            .any(|&first| compare(first, k) == Ordering::Equal)
        {
            firsts.push(k);
        }
    }
    if ctx.attrs.bool("sorted") {
        firsts.sort_by(|&a, &b| compare(a, b));
    }
    let mut counts = vec![0_usize; firsts.len()];
    let mut inverse = Vec::with_capacity(extent);
    for k in 0..extent {
        let found = firsts
            .iter()
            .position(|&first| compare(first, k) == Ordering::Equal);
        let found = found.expect("every slice has a first one");
        counts[found] += 1;
        inverse.push(found);
    }
    let mut shape = source.shape().to_vec();
    shape[axis] = firsts.len();
    let values = assemble(ctx, &[source], &shape, |index| {
        let mut own = index.to_vec();
        own[axis] = firsts[own[axis]];
        Ok((0, linear(source.shape(), &own)))
    })?;
    let ints = |all: &[usize]| {
        let scalars: Vec<Scalar> = all.iter().map(|&k| Scalar::Int(k as i128)).collect();
        ctx.result(DType::I64, &[all.len()], &scalars)
    };
    Ok(vec![
        values,
        ints(&firsts)?,
        ints(&inverse)?,
        ints(&counts)?,
    ])
}

/// Row-major positions of slice `at` along an axis.
fn positions(shape: &[usize], axis: usize, at: usize) -> Vec<usize> {
    let stride: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    (0..outer)
        .flat_map(|o| (0..stride).map(move |i| (o * shape[axis] + at) * stride + i))
        .collect()
}

fn compare_slices(source: &Tensor, a: &[usize], b: &[usize]) -> Ordering {
    let pairs = a.iter().zip(b);
    let orders = pairs.map(|(&a, &b)| match source.strings() {
        Some(strings) => strings[a].cmp(&strings[b]),
        None => match (source.get(a), source.get(b)) {
            (Some(a), Some(b)) => order(a, b),
            _ => Ordering::Equal,
        },
    });
    orders.fold(Ordering::Equal, Ordering::then)
}

fn lower_unique(ctx: &LowerCtx<'_>) -> Result<HostFn, LowerError> {
    let axis = ctx.attrs.has("axis").then(|| ctx.attrs.int("axis"));
    Ok(HostFn::Unique {
        axis: axis.map(|axis| axis_of(axis, ctx.tensor(0).rank())),
        sorted: ctx.attrs.bool("sorted"),
    })
}
