//! Scatters: a copy with elements or slices replaced or combined at given positions, in the order
//! of the updates.

use alula_ir::{
    AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx, LowerError,
    Lowering, OpDef,
};
use alula_kernel::{Access, Kernel, ValueId};
use alula_tensor::{DType, DTypeClass, Dim, Scalar, ScalarOp};

use crate::loops::Loops;
use crate::movement::{agree_except, axis_of, for_each_index, linear};
use crate::shape::PLAIN;

const REDUCTION: AttrSpec =
    AttrSpec::str("reduction", "none", "none (replace), add, mul, max or min");

/// Single elements along one axis.
pub static SCATTER_ELEMENTS: OpDef = OpDef {
    name: "scatter_elements",
    summary: "x with y[a.., indices[a.., i, b..], b..] combined with updates[a.., i, b..]",
    operands: &["x", "indices", "updates"],
    attrs: &[
        AttrSpec::int("axis", 0, "the axis, from the end if negative"),
        REDUCTION,
    ],
    traits: PLAIN,
    infer: infer_elements,
    eval: eval_elements,
    lowering: Lowering::Kernel(lower_elements),
    examples: &[
        "graph @e(%x: f32[3, 3], %u: f32[2, 3]) {
           %i = const i64[2, 3] [1, 0, 2, 0, -1, 1]
           %y = scatter_elements %x, %i, %u return y: %y }",
        "graph @e(%x: i32[2, N], %u: i32[2, 2]) {
           %i = const i32[2, 2] [1, 1, 0, -1]
           %y = scatter_elements %x, %i, %u {axis = 1, reduction = \"add\"} return y: %y }",
        "graph @e(%x: f16[5], %u: f16[3]) {
           %i = const i64[3] [1, 1, 4]
           %y = scatter_elements %x, %i, %u {reduction = \"mul\"} return y: %y }",
    ],
};

/// Slices at positions that the last axis of `indices` holds.
pub static SCATTER_ND: OpDef = OpDef {
    name: "scatter_nd",
    summary: "x with y[indices[i.., :].., s..] combined with updates[i.., s..]",
    operands: &["x", "indices", "updates"],
    attrs: &[REDUCTION],
    traits: PLAIN,
    infer: infer_nd,
    eval: eval_nd,
    lowering: Lowering::Kernel(lower_nd),
    examples: &[
        "graph @e(%x: f32[4, 3], %u: f32[2, 3]) {
           %i = const i64[2, 1] [0, -1] %y = scatter_nd %x, %i, %u return y: %y }",
        "graph @e(%x: i64[N, 2], %u: i64[3]) {
           %i = const i64[3, 2] [0, 1, 0, 1, 2, 0]
           %y = scatter_nd %x, %i, %u {reduction = \"max\"} return y: %y }",
        "graph @e(%x: bool[2, 2], %u: bool[0, 2]) {
           %i = const i64[0, 1] [] %y = scatter_nd %x, %i, %u return y: %y }",
    ],
};

/// The scalar operator of a reduction; `None` replaces.
fn reduction(attrs: &alula_ir::Attrs) -> Option<Option<ScalarOp>> {
    Some(match attrs.str("reduction") {
        "none" => None,
        "add" => Some(ScalarOp::Add),
        "mul" => Some(ScalarOp::Mul),
        "max" => Some(ScalarOp::Max),
        "min" => Some(ScalarOp::Min),
        _ => return None,
    })
}

fn expect_operands(ctx: &InferCtx<'_>) -> Result<(), InferError> {
    ctx.expect_class(1, &[DTypeClass::Signed, DTypeClass::Unsigned])?;
    let dtype = ctx.expect_same_dtype(0, 2)?;
    match reduction(ctx.attrs) {
        None => Err(InferError::BadAttr {
            name: "reduction".to_owned(),
            reason: format!("{:?} is no way to combine", ctx.attrs.str("reduction")),
        }),
        Some(Some(op)) if !op.accepts(dtype.class()) => Err(InferError::BadDType {
            operand: 0,
            given: dtype.to_string(),
            wanted: format!("a dtype that {op} is defined on"),
        }),
        Some(_) => Ok(()),
    }
}

fn infer_elements(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    expect_operands(ctx)?;
    let (x, indices, updates) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.tensor(2)?);
    ctx.axis(ctx.attrs.int("axis"), x.rank())?;
    if indices.rank() != x.rank() {
        return Err(InferError::Mismatch(format!(
            "indices {indices} into {x} differ in rank"
        )));
    }
    agree_except(&indices.shape, &updates.shape, None)?;
    Ok(vec![Inferred::tensor(x.dtype, x.shape.clone())])
}

fn infer_nd(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    expect_operands(ctx)?;
    let (x, indices, updates) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.tensor(2)?);
    let Some(depth) = indices.shape.last() else {
        return Err(InferError::Mismatch(format!(
            "indices {indices} have no positions"
        )));
    };
    let Some(depth) = depth
        .as_const()
        .and_then(|depth| usize::try_from(depth).ok())
    else {
        return Err(InferError::Unsupported(format!(
            "indices {indices} whose last extent is not known"
        )));
    };
    if depth > x.rank() {
        return Err(InferError::Mismatch(format!(
            "positions of {depth} axes into {x}"
        )));
    }
    let mut wanted = indices.shape[..indices.rank() - 1].to_vec();
    wanted.extend_from_slice(&x.shape[depth..]);
    agree_except(&wanted, &updates.shape, None)?;
    Ok(vec![Inferred::tensor(x.dtype, x.shape.clone())])
}

fn place(position: i64, extent: usize) -> Result<usize, EvalError> {
    let normal = if position < 0 {
        position.saturating_add(extent as i64)
    } else {
        position
    };
    match usize::try_from(normal) {
        Ok(normal) if normal < extent => Ok(normal),
        _ => Err(EvalError::Value(format!(
            "index {position} is out of range for extent {extent}"
        ))),
    }
}

/// Combines updates at positions one by one, rounding to the dtype each time.
fn eval(
    ctx: &EvalCtx<'_>,
    target: impl Fn(&[usize]) -> Result<Vec<usize>, EvalError>,
) -> Result<Vec<HostValue>, EvalError> {
    let (x, updates) = (ctx.tensor(0)?, ctx.tensor(2)?);
    let op = reduction(ctx.attrs).flatten();
    let dtype = x.dtype();
    let target = |index: &[usize]| {
        let own = target(index)?;
        match own.iter().zip(x.shape()).all(|(at, extent)| at < extent) {
            true => Ok(linear(x.shape(), &own)),
            false => Err(EvalError::Value(format!(
                "updates reach outside {}",
                x.ty()
            ))),
        }
    };
    if dtype == DType::String {
        let mut strings = x.strings().unwrap_or_default().to_vec();
        for_each_index(updates.shape(), |index| {
            let at = target(index)?;
            let update = updates.strings().unwrap_or_default();
            strings[at] = update[linear(updates.shape(), index)].clone();
            Ok::<_, EvalError>(())
        })?;
        return Ok(vec![
            alula_tensor::Tensor::from_strings(x.shape(), strings)?.into(),
        ]);
    }
    let (mut values, new) = (x.to_scalars(), updates.to_scalars());
    for_each_index(updates.shape(), |index| {
        let (at, update) = (target(index)?, new[linear(updates.shape(), index)]);
        values[at] = match op {
            None => update,
            Some(op) => op.eval(dtype.compute(), &[values[at], update]).cast(dtype),
        };
        Ok::<_, EvalError>(())
    })?;
    Ok(vec![ctx.result(dtype, x.shape(), &values)?])
}

fn eval_elements(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (x, indices) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let axis = axis_of(ctx.attrs.int("axis"), x.rank());
    let positions = ctx.ints(1)?;
    if indices.shape() != ctx.tensor(2)?.shape() {
        return Err(EvalError::Value(
            "indices and updates differ in shape".to_owned(),
        ));
    }
    eval(ctx, |index| {
        let mut own = index.to_vec();
        own[axis] = place(positions[linear(indices.shape(), index)], x.shape()[axis])?;
        Ok(own)
    })
}

fn eval_nd(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let (x, indices) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let positions = ctx.ints(1)?;
    let lead = indices.rank() - 1;
    let depth = indices.shape()[lead];
    if ctx.tensor(2)?.rank() != lead + x.rank() - depth
        || ctx.tensor(2)?.shape()[..lead] != indices.shape()[..lead]
    {
        return Err(EvalError::Value(
            "indices and updates disagree in shape".to_owned(),
        ));
    }
    eval(ctx, |index| {
        let row = linear(&indices.shape()[..lead], &index[..lead]) * depth;
        let mut own = Vec::with_capacity(x.rank());
        for k in 0..depth {
            own.push(place(positions[row + k], x.shape()[k])?);
        }
        own.extend_from_slice(&index[lead..]);
        Ok(own)
    })
}

/// `x` copied to the result, element by element.
fn copy(loops: &mut Loops, elements: Dim) {
    loops.repeat(elements, |loops, at| {
        let value = loops.load(0, at);
        loops.store(3, at, value);
    });
}

/// A loaded index as a position in `extent`, and whether it is inside.
fn place_value(loops: &mut Loops, at: ValueId, extent: &Dim) -> (ValueId, ValueId) {
    let position = loops.load(1, at);
    let position = loops.cast(position, DType::I64);
    let zero = loops.constant(DType::I64, Scalar::Int(0));
    let end = loops.dim(extent.clone());
    let below = loops.apply(ScalarOp::Lt, &[position, zero]);
    let turned = loops.add(position, end);
    let position = loops.apply(ScalarOp::Select, &[below, turned, position]);
    let above = loops.apply(ScalarOp::Ge, &[position, zero]);
    let under = loops.apply(ScalarOp::Lt, &[position, end]);
    let inside = loops.apply(ScalarOp::And, &[above, under]);
    (position, inside)
}

/// Combines update `from` into the result at `to`.
fn update(loops: &mut Loops, op: Option<ScalarOp>, to: ValueId, from: ValueId) {
    let new = loops.load(2, from);
    let value = match op {
        None => new,
        Some(op) => {
            let dtype = loops.dtype(new).compute();
            let old = loops.load(3, to);
            let (old, new) = (loops.cast(old, dtype), loops.cast(new, dtype));
            loops.apply(op, &[old, new])
        }
    };
    loops.store(3, to, value);
}

fn lower_elements(ctx: &LowerCtx<'_>) -> Result<Kernel, LowerError> {
    let (x, updates) = (ctx.tensor(0), ctx.tensor(2));
    let axis = axis_of(ctx.attrs.int("axis"), x.rank());
    let op = reduction(ctx.attrs).flatten();
    let mut loops = Loops::begin(ctx, Access::ReadWrite)?;
    copy(&mut loops, x.num_elements());
    let zero = loops.constant(DType::I64, Scalar::Int(0));
    nest(
        &mut loops,
        &updates.shape,
        0,
        (zero, Vec::new()),
        &mut |loops, from, index| {
            let (position, inside) = place_value(loops, from, &x.shape[axis]);
            loops.when(inside, |loops| {
                let mut to = zero;
                for (k, extent) in x.shape.iter().enumerate() {
                    to = loops.times(to, extent.clone());
                    to = loops.add(to, if k == axis { position } else { index[k] });
                }
                update(loops, op, to, from);
            });
        },
    );
    Ok(loops.finish())
}

/// Loops over `shape[depth..]`; the body gets the row-major position and the index.
fn nest(
    loops: &mut Loops,
    shape: &[Dim],
    depth: usize,
    (at, index): (ValueId, Vec<ValueId>),
    body: &mut dyn FnMut(&mut Loops, ValueId, &[ValueId]),
) {
    let Some(extent) = shape.get(depth) else {
        return body(loops, at, &index);
    };
    loops.repeat(extent.clone(), |loops, var| {
        let scaled = loops.times(at, extent.clone());
        let at = loops.add(scaled, var);
        let mut index = index;
        index.push(var);
        nest(loops, shape, depth + 1, (at, index), body);
    });
}

fn lower_nd(ctx: &LowerCtx<'_>) -> Result<Kernel, LowerError> {
    let (x, indices) = (ctx.tensor(0), ctx.tensor(1));
    let depth = indices.shape.last().and_then(Dim::as_const);
    let Some(depth) = depth.and_then(|depth| usize::try_from(depth).ok()) else {
        return Err(LowerError::Unsupported(format!(
            "indices {indices} of unknown depth"
        )));
    };
    let op = reduction(ctx.attrs).flatten();
    let rows: Dim = indices.shape[..indices.rank() - 1]
        .iter()
        .cloned()
        .product();
    let slice: Dim = x.shape[depth..].iter().cloned().product();
    let mut loops = Loops::begin(ctx, Access::ReadWrite)?;
    copy(&mut loops, x.num_elements());
    loops.repeat(rows, |loops, row| {
        let first = loops.times(row, Dim::from(depth));
        let mut start = loops.constant(DType::I64, Scalar::Int(0));
        let mut all_inside = loops.constant(DType::Bool, Scalar::Int(1));
        for k in 0..depth {
            let offset = loops.dim(Dim::from(k));
            let at = loops.add(first, offset);
            let (position, inside) = place_value(loops, at, &x.shape[k]);
            start = loops.times(start, x.shape[k].clone());
            start = loops.add(start, position);
            all_inside = loops.apply(ScalarOp::And, &[all_inside, inside]);
        }
        loops.when(all_inside, |loops| {
            loops.repeat(slice.clone(), |loops, k| {
                let to = loops.times(start, slice.clone());
                let to = loops.add(to, k);
                let from = loops.times(row, slice);
                let from = loops.add(from, k);
                update(loops, op, to, from);
            });
        });
    });
    Ok(loops.finish())
}
