//! Operators on each element.

use alula_ir::{Attrs, ValueId};
use alula_tensor::{DType, DTypeClass, Dim};
use alula_testkit::values::Domain;

use super::{Draw, Maker};

/// Functions of one operand.
pub(super) fn unary(maker: &mut Maker) -> Option<()> {
    const FLOAT: &[&str] = &[
        "neg", "abs", "sign", "floor", "ceil", "round", "trunc", "sqrt", "exp", "log", "expm1",
        "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh",
        "acosh", "atanh", "erf", "is_nan", "neg", "abs", "exp", "tanh", "sqrt",
    ];
    let x = match maker.random.chance(5) {
        true => maker.pick(|_| true)?,
        false => maker.pick_main()?,
    };
    let op = match maker.dtype(x).class() {
        DTypeClass::Float => *maker.random.pick(FLOAT),
        DTypeClass::Bool => "not",
        DTypeClass::Signed => *maker.random.pick(&["neg", "abs", "sign", "relu", "not"]),
        DTypeClass::Unsigned | DTypeClass::String => *maker.random.pick(&["not", "relu"]),
    };
    // Functions on part of the line are given what they are defined on.
    let x = match op {
        "sqrt" | "log" | "log1p" if maker.random.chance(2) => {
            maker.apply("abs", &[x], Attrs::new())?
        }
        "asin" | "acos" | "atanh" => maker.apply("sin", &[x], Attrs::new())?,
        "acosh" => maker.apply("cosh", &[x], Attrs::new())?,
        _ => x,
    };
    maker.apply(op, &[x], Attrs::new())?;
    Some(())
}

/// Whether shapes broadcast without relying on symbols being equal.
pub(super) fn broadcasts(a: &[Dim], b: &[Dim]) -> bool {
    a.iter()
        .rev()
        .zip(b.iter().rev())
        .all(|(a, b)| a == b || a.is(1) || b.is(1))
}

/// A value that broadcasts with `x`: from the pool, or new.
pub(super) fn partner(maker: &mut Maker, x: ValueId) -> ValueId {
    let (dtype, shape) = (maker.dtype(x), maker.shape(x));
    if maker.random.chance(2) {
        let fits =
            |ty: &alula_tensor::TensorType| ty.dtype == dtype && broadcasts(&ty.shape, &shape);
        if let Some(other) = maker.pick(fits) {
            return other;
        }
    }
    let from = Draw::of(dtype);
    match maker.random.below(6) {
        0 | 1 => {
            let value = *maker
                .random
                .pick(&[0.0, 1.0, 2.0, 0.5, -1.0, 3.0, 0.1, 1e-3]);
            maker.scalar(dtype, value)
        }
        2 => {
            let last: Vec<Dim> = shape.last().cloned().into_iter().collect();
            maker.leaf(dtype, last, from)
        }
        3 => {
            // One of each pair of axes stays, the others are 1.
            let mut some = shape;
            for dim in &mut some {
                if maker.random.chance(2) {
                    *dim = Dim::new(1);
                }
            }
            maker.leaf(dtype, some, from)
        }
        4 if shape.len() >= 3 => {
            let mut channel = vec![Dim::new(1); shape.len() - 1];
            channel[0] = shape[1].clone();
            maker.leaf(dtype, channel, from)
        }
        _ => maker.leaf(dtype, shape, from),
    }
}

/// Functions of two operands, comparisons among them.
pub(super) fn binary(maker: &mut Maker) -> Option<()> {
    const FLOAT: &[&str] = &[
        "add", "sub", "mul", "div", "add", "sub", "mul", "min", "max", "pow", "rem", "floormod",
        "lt", "le", "gt", "ge", "eq", "ne",
    ];
    const INT: &[&str] = &[
        "add", "sub", "mul", "div", "rem", "floormod", "min", "max", "and", "or", "xor", "shl",
        "shr", "eq", "ne", "lt", "le", "gt", "ge", "add", "mul",
    ];
    const BOOL: &[&str] = &["and", "or", "xor", "eq", "ne"];
    let x = match maker.random.chance(5) {
        true => maker.pick(|_| true)?,
        false => maker.pick_main()?,
    };
    let op = *maker.random.pick(match maker.dtype(x).class() {
        DTypeClass::Float => FLOAT,
        DTypeClass::Bool => BOOL,
        DTypeClass::Signed | DTypeClass::Unsigned | DTypeClass::String => INT,
    });
    let mut y = match maker.random.chance(12) {
        true => x,
        false => partner(maker, x),
    };
    let mut x = x;
    if op == "pow" {
        x = maker.apply("abs", &[x], Attrs::new())?;
        let exponent = *maker
            .random
            .pick(&[2.0, 3.0, 0.5, -1.0, 1.0, -0.5, 0.0, 1.7]);
        y = maker.scalar(maker.dtype(x), exponent);
    }
    let operands = if maker.random.chance(2) && op != "pow" {
        [y, x]
    } else {
        [x, y]
    };
    maker.apply(op, &operands, Attrs::new())?;
    Some(())
}

/// Activations with their attributes.
pub(super) fn activation(maker: &mut Maker) -> Option<()> {
    let x = maker.pick_float()?;
    let (alpha, beta) = (
        maker.random.uniform(0.1..1.5),
        maker.random.uniform(0.1..1.0),
    );
    let with = |name: &str, value: f64| Attrs::new().with(name, value);
    let (op, attrs) = match maker.random.below(17) {
        0 | 1 => ("relu", Attrs::new()),
        2 | 3 => ("sigmoid", Attrs::new()),
        4 => ("silu", Attrs::new()),
        5 => ("silu", with("alpha", alpha)),
        6 => ("gelu", Attrs::new().with("tanh", maker.random.chance(2))),
        7 => ("leaky_relu", with("alpha", alpha - 0.7)),
        8 => ("elu", with("alpha", alpha)),
        9 => ("selu", with("alpha", alpha).with("gamma", beta)),
        10 => ("hard_sigmoid", with("alpha", alpha).with("beta", beta)),
        11 => ("hard_swish", Attrs::new()),
        12 => (*maker.random.pick(&["softplus", "softsign"]), Attrs::new()),
        13 => ("mish", Attrs::new()),
        14 => ("celu", with("alpha", alpha)),
        15 => ("thresholded_relu", with("alpha", alpha)),
        _ => ("shrink", with("bias", beta).with("lambd", alpha)),
    };
    maker.apply(op, &[x], attrs)?;
    Some(())
}

/// A condition that broadcasts with `x`.
pub(super) fn condition(maker: &mut Maker, x: ValueId) -> Option<ValueId> {
    let shape = maker.shape(x);
    let fits =
        |ty: &alula_tensor::TensorType| ty.dtype == DType::Bool && broadcasts(&ty.shape, &shape);
    if maker.random.chance(2)
        && let Some(found) = maker.pick(fits)
    {
        return Some(found);
    }
    if maker.random.chance(3) {
        return Some(maker.leaf(DType::Bool, shape, Draw::Bools));
    }
    let y = partner(maker, x);
    let op = *maker.random.pick(&["lt", "ge", "eq"]);
    match maker.dtype(x) {
        DType::Bool => maker.apply("xor", &[x, y], Attrs::new()),
        _ => maker.apply(op, &[x, y], Attrs::new()),
    }
}

/// `select`, `clip`, `prelu`.
pub(super) fn choose(maker: &mut Maker) -> Option<()> {
    match maker.random.below(4) {
        0 | 1 => {
            let x = maker.pick(|_| true)?;
            let cond = condition(maker, x)?;
            let y = partner(maker, x);
            // Both fit `x`, where it has an extent of 1 by extents that one run does not share.
            if !broadcasts(&maker.shape(cond), &maker.shape(y)) {
                return None;
            }
            let operands = if maker.random.chance(2) {
                [cond, x, y]
            } else {
                [cond, y, x]
            };
            maker.apply("select", &operands, Attrs::new())?;
        }
        2 => {
            let x = maker.pick(|ty| ty.dtype != DType::Bool)?;
            let dtype = maker.dtype(x);
            let low = maker.scalar(dtype, 0.0);
            let high = maker.scalar(dtype, 2.0);
            let operands = match maker.random.below(3) {
                0 => [Some(x), Some(low), Some(high)],
                1 => [Some(x), None, Some(high)],
                _ => [Some(x), Some(low), None],
            };
            maker.push("clip", &operands, Attrs::new(), 1)?;
        }
        _ => {
            let x = maker.pick_float()?;
            let (dtype, shape) = (maker.dtype(x), maker.shape(x));
            let slopes: Vec<Dim> = match shape.len() {
                0 | 1 => vec![Dim::new(1)],
                rank => [vec![shape[1].clone()], vec![Dim::new(1); rank - 2]].concat(),
            };
            let slope = maker.leaf(dtype, slopes, Draw::Floats(Domain::Ordinary));
            maker.apply("prelu", &[x, slope], Attrs::new())?;
        }
    }
    Some(())
}

/// `cast`.
pub(super) fn convert(maker: &mut Maker) -> Option<()> {
    const TO: &[DType] = &[
        DType::F32,
        DType::F32,
        DType::F16,
        DType::BF16,
        DType::F64,
        DType::I64,
        DType::I32,
        DType::I8,
        DType::U8,
        DType::Bool,
        DType::I16,
        DType::U16,
        DType::U32,
        DType::U64,
        DType::F8E4M3FN,
        DType::F8E5M2,
    ];
    let x = maker.pick(|_| true)?;
    let back = maker.dtype(x);
    let to = *maker.random.pick(TO);
    // What becomes an integer is rounded first, so that it has some distance from the next one.
    let from = match to.is_float() || !back.is_float() {
        true => x,
        false => maker.apply("round", &[x], Attrs::new())?,
    };
    let there = maker.apply("cast", &[from], Attrs::new().with("to", to))?;
    if !maker.random.chance(3) {
        maker.apply("cast", &[there], Attrs::new().with("to", back))?;
    }
    Some(())
}
