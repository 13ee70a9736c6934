//! `reshape` and `as_dims`: nothing moves.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, Lowering,
    OpDef,
};
use alula_tensor::{DTypeClass, Dim, Shape};

use super::PLAIN;
use crate::extent::{is_negative, is_not_negative, is_zero};
use crate::movement::known_extents;

/// The same elements in row-major order under other extents.
pub static RESHAPE: OpDef = OpDef {
    name: "reshape",
    summary: "the same elements in row-major order under the extents `to`",
    operands: &["x"],
    attrs: &[AttrSpec::required(
        "to",
        AttrKind::Dims,
        "extents of the result, none left open",
    )],
    traits: PLAIN,
    infer: infer_reshape,
    eval: |ctx| {
        let to = known_extents(ctx.attrs.dims("to"))?;
        Ok(vec![ctx.tensor(0)?.reshape(&to)?.into()])
    },
    lowering: Lowering::View,
    examples: &[
        "graph @e(%x: f32[2, 6]) { %y = reshape %x {to = [3, 4]} return y: %y }",
        "graph @e(%x: i8[N, 4, 2]) { %y = reshape %x {to = [2, N, 4]} return y: %y }",
        "graph @e(%x: f64[]) { %y = reshape %x {to = [1, 1]} return y: %y }",
        "graph @e(%x: bool[0, 3]) { %y = reshape %x {to = [7, 0]} return y: %y }",
    ],
};

fn infer_reshape(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let x = ctx.tensor(0)?;
    let to: Shape = ctx.attrs.dims("to").to_vec();
    let (given, wanted) = (x.num_elements(), to.iter().cloned().product::<Dim>());
    if (given.clone() - wanted.clone())
        .as_const()
        .is_some_and(|difference| difference != 0)
    {
        return Err(InferError::Mismatch(format!(
            "{x} has {given} elements, the result {wanted}"
        )));
    }
    let content = ctx.content(0).map(<[Dim]>::to_vec);
    Ok(vec![Inferred::tensor(x.dtype, to).with_content(content)])
}

/// An integer tensor, unchanged, whose elements become dims.
pub static AS_DIMS: OpDef = OpDef {
    name: "as_dims",
    summary: "x, each element of which may be used as a dim from here on",
    operands: &["x"],
    attrs: &[],
    traits: PLAIN,
    infer: infer_as_dims,
    eval: |ctx: &EvalCtx<'_>| -> Result<Vec<HostValue>, EvalError> {
        Ok(vec![ctx.tensor(0)?.clone().into()])
    },
    lowering: Lowering::View,
    examples: &[
        "graph @e(%x: i64[2]) { %y = as_dims %x return y: %y }",
        "graph @e(%x: i32[]) { %y = as_dims %x return y: %y }",
    ],
};

fn infer_as_dims(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let dtype = ctx.expect_class(0, &[DTypeClass::Signed, DTypeClass::Unsigned])?;
    let x = ctx.tensor(0)?;
    let count = match x.shape.as_slice() {
        [] => Some(1),
        [extent] => extent.as_const().and_then(|n| usize::try_from(n).ok()),
        _ => None,
    };
    let Some(count) = count else {
        return Err(InferError::Unsupported(format!("elements of {x} as dims")));
    };
    let content = match ctx.content(0) {
        Some(content) => content.to_vec(),
        None => (0..count)
            .map(|index| ctx.fresh_content(0, index))
            .collect::<Result<_, _>>()?,
    };
    Ok(vec![
        Inferred::tensor(dtype, x.shape.clone()).with_content(Some(content)),
    ])
}

/// The extents that an ONNX Reshape target stands for: -1 is what the others leave, and 0 copies
/// the extent at its position unless `allow_zero`. Symbols may turn out to be either.
///
/// # Errors
/// What is wrong with the target.
pub fn resolve_target(shape: &[Dim], target: &[Dim], allow_zero: bool) -> Result<Shape, String> {
    let open = target.iter().filter(|dim| dim.is(-1)).count();
    if open > 1 {
        return Err("more than one extent of the target is -1".to_owned());
    }
    // With the open extent found, no other one is -1.
    let may_be_open = |dim: &Dim| open == 0 && !is_not_negative(dim);
    let mut extents = Vec::with_capacity(target.len());
    for (axis, dim) in target.iter().enumerate() {
        let own = shape.get(axis);
        if dim.as_const().is_some_and(|value| value < -1) {
            return Err(format!("the target's extent {dim} is negative"));
        }
        extents.push(match (allow_zero, own) {
            (true, _) => dim.clone(),
            (false, Some(own)) if own == dim => dim.clone(),
            (false, Some(own)) => dim.clone() + is_zero(dim) * own.clone(),
            (false, None) if dim.is(0) => {
                return Err(format!(
                    "extent 0 at {axis} copies an axis that is not there"
                ));
            }
            (false, None) => dim.clone(),
        });
    }
    if open == 0 && !target.iter().any(may_be_open) {
        return Ok(extents);
    }
    let total: Dim = shape.iter().cloned().product();
    // The open extent counts as 1 among the others.
    let others: Dim = (target.iter().zip(&extents))
        .map(|(dim, extent)| match dim.is(-1) {
            true => Dim::new(1),
            false if may_be_open(dim) => extent.clone() + is_negative(dim) * Dim::new(2),
            false => extent.clone(),
        })
        .product();
    let rest = match total.exact_div(&others) {
        Some(rest) => rest,
        None if others.as_const() == Some(0) => {
            return Err("an extent of -1 beside one of 0 has no meaning".to_owned());
        }
        None if total.as_const().is_some() && others.as_const().is_some() => {
            return Err(format!("{total} elements do not fill extents of {others}"));
        }
        None => total.floor_div(&others),
    };
    for (dim, extent) in target.iter().zip(&mut extents) {
        if dim.is(-1) {
            *extent = rest.clone();
        } else if may_be_open(dim) {
            *extent = extent.clone() + is_negative(dim) * (rest.clone() + Dim::new(1));
        }
    }
    Ok(extents)
}

#[cfg(test)]
mod tests {
    use alula_tensor::Dim;

    use super::resolve_target;

    fn dims(text: &[&str]) -> Vec<Dim> {
        text.iter().map(|dim| dim.parse().expect("a dim")).collect()
    }

    fn resolved(shape: &[&str], target: &[&str], allow_zero: bool) -> Result<String, String> {
        let extents = resolve_target(&dims(shape), &dims(target), allow_zero)?;
        Ok(extents
            .iter()
            .map(Dim::to_string)
            .collect::<Vec<_>>()
            .join(" "))
    }

    #[test]
    fn targets_are_filled_in() {
        let cases: &[(&[&str], &[&str], bool, Result<&str, &str>)] = &[
            (&["2", "6"], &["3", "-1"], false, Ok("3 4")),
            (&["N", "6"], &["0", "2", "-1"], false, Ok("N 2 3")),
            (&["N", "6"], &["-1"], false, Ok("6*N")),
            (&["0", "3"], &["7", "0"], true, Ok("7 0")),
            (&["N", "4"], &["N", "2", "2"], false, Ok("N 2 2")),
            (
                &["4"],
                &["-1", "-1"],
                false,
                Err("more than one extent of the target is -1"),
            ),
            (
                &["4"],
                &["3", "-1"],
                false,
                Err("4 elements do not fill extents of 3"),
            ),
            (
                &["4"],
                &["-2"],
                false,
                Err("the target's extent -2 is negative"),
            ),
        ];
        for (shape, target, allow_zero, wanted) in cases {
            let wanted = wanted.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(
                resolved(shape, target, *allow_zero),
                wanted,
                "{shape:?} as {target:?}"
            );
        }
    }

    #[test]
    fn a_target_known_at_run_time_may_hold_any_sign() {
        let extents = resolve_target(&dims(&["2", "6"]), &dims(&["$0", "$1"]), false);
        let extents = extents.expect("symbols resolve");
        let at = |a: i64, b: i64| -> Vec<Option<i64>> {
            let bind =
                |symbol: &alula_tensor::Symbol| Some(if symbol.name() == "$0" { a } else { b });
            extents.iter().map(|dim| dim.eval(&bind).ok()).collect()
        };
        assert_eq!(at(3, -1), [Some(3), Some(4)]);
        assert_eq!(at(-1, 0), [Some(2), Some(6)]);
        assert_eq!(at(4, 3), [Some(4), Some(3)]);
    }
}
