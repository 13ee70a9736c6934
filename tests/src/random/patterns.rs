//! What models are made of: sequences of operators that rules recognise, with small variations.

use alula_ir::{Attrs, ValueId};
use alula_tensor::Dim;

use super::elementwise::partner;
use super::{Draw, Maker};

fn none() -> Attrs {
    Attrs::new()
}

/// One of the patterns on a value of floats.
pub(super) fn pattern(maker: &mut Maker) -> Option<()> {
    let x = maker.pick_float()?;
    match maker.random.below(11) {
        0 => gelu(maker, x),
        1 => layer_norm(maker, x),
        2 => gate(maker, x),
        3 => affine_chain(maker, x),
        4 => attention(maker, x),
        5 => transposed_pair(maker, x),
        6 => softmax(maker, x),
        7 => split_and_joined(maker, x),
        8 => conv_and_norm(maker, x),
        9 => joined_rows(maker, x),
        _ => normalized(maker, x),
    }
}

fn gelu(maker: &mut Maker, x: ValueId) -> Option<()> {
    let dtype = maker.dtype(x);
    let (root, one, half) = (
        maker.scalar(dtype, std::f64::consts::SQRT_2),
        maker.scalar(dtype, 1.0),
        maker.scalar(dtype, 0.5),
    );
    let scaled = maker.apply("div", &[x, root], none())?;
    let erf = maker.apply("erf", &[scaled], none())?;
    let sum = maker.apply("add", &[erf, one], none())?;
    let product = maker.apply("mul", &[x, sum], none())?;
    maker.apply("mul", &[product, half], none())?;
    Some(())
}

fn reduced(maker: &mut Maker, op: &str, x: ValueId) -> Option<ValueId> {
    let attrs = Attrs::new()
        .with("axes", vec![-1_i64])
        .with("keepdims", true);
    maker.apply(op, &[x], attrs)
}

fn layer_norm(maker: &mut Maker, x: ValueId) -> Option<()> {
    let dtype = maker.dtype(x);
    let last = maker.shape(x).last()?.clone();
    let mean = reduced(maker, "reduce_mean", x)?;
    let centred = maker.apply("sub", &[x, mean], none())?;
    let two = maker.scalar(dtype, 2.0);
    let square = match maker.random.chance(2) {
        true => maker.apply("pow", &[centred, two], none())?,
        false => maker.apply("mul", &[centred, centred], none())?,
    };
    let variance = reduced(maker, "reduce_mean", square)?;
    let epsilon = maker.scalar(dtype, 1e-2);
    let sum = maker.apply("add", &[variance, epsilon], none())?;
    let deviation = maker.apply("sqrt", &[sum], none())?;
    let normal = maker.apply("div", &[centred, deviation], none())?;
    let scale = maker.leaf(dtype, vec![last.clone()], Draw::of(dtype));
    let bias = maker.leaf(dtype, vec![last], Draw::of(dtype));
    let scaled = maker.apply("mul", &[normal, scale], none())?;
    maker.apply("add", &[scaled, bias], none())?;
    Some(())
}

fn gate(maker: &mut Maker, x: ValueId) -> Option<()> {
    let op = *maker
        .random
        .pick(&["sigmoid", "tanh", "softplus", "relu", "hard_sigmoid"]);
    let gate = maker.apply(op, &[x], none())?;
    let other = if maker.random.chance(2) {
        x
    } else {
        partner(maker, x)
    };
    maker.apply("mul", &[other, gate], none())?;
    Some(())
}

/// Scalars added and multiplied in a row, neutral ones among them.
fn affine_chain(maker: &mut Maker, x: ValueId) -> Option<()> {
    let mut value = x;
    for _ in 0..2 + maker.random.below(4) {
        let op = *maker
            .random
            .pick(&["add", "mul", "sub", "div", "max", "min"]);
        let scalar = *maker.random.pick(&[0.0, 1.0, 2.0, 0.5, -1.0, 3.0]);
        let scalar = maker.scalar(maker.dtype(x), scalar);
        let is_turned = op == "sub" && maker.random.chance(2);
        let operands = if is_turned {
            [scalar, value]
        } else {
            [value, scalar]
        };
        value = maker.apply(op, &operands, none())?;
        if maker.random.chance(4) {
            let op = *maker.random.pick(&["neg", "abs", "relu"]);
            value = maker.apply(op, &[value], none())?;
        }
    }
    Some(())
}

fn attention(maker: &mut Maker, x: ValueId) -> Option<()> {
    let (dtype, shape, rank) = (maker.dtype(x), maker.shape(x), maker.rank(x));
    if rank < 2 {
        return None;
    }
    let turned = Attrs::new().with("transpose_b", true);
    let key = maker.leaf(dtype, shape.clone(), Draw::of(dtype));
    let scores = maker.apply("matmul", &[x, key], turned)?;
    let scale = maker.scalar(dtype, 0.35);
    let scaled = maker.apply("mul", &[scores, scale], none())?;
    let masked = match maker.random.chance(2) {
        true => {
            let mask = partner(maker, scaled);
            maker.apply("add", &[scaled, mask], none())?
        }
        false => scaled,
    };
    let shares = maker.apply("softmax", &[masked], Attrs::new().with("axis", -1_i64))?;
    let value = maker.leaf(dtype, shape, Draw::of(dtype));
    maker.apply("matmul", &[shares, value], none())?;
    Some(())
}

/// A transposition, something on each element, and a transposition that may undo the first.
fn transposed_pair(maker: &mut Maker, x: ValueId) -> Option<()> {
    let rank = maker.rank(x) as i64;
    let mut perm: Vec<i64> = (0..rank).collect();
    maker.random.shuffle(&mut perm);
    let mut back = vec![0; rank as usize];
    for (to, &from) in perm.iter().enumerate() {
        back[from as usize] = to as i64;
    }
    let turned = maker.apply("transpose", &[x], Attrs::new().with("perm", perm))?;
    let inner = match maker.random.below(4) {
        0 => maker.apply("relu", &[turned], none())?,
        1 => {
            let other = partner(maker, turned);
            maker.apply("add", &[turned, other], none())?
        }
        2 => reduced(maker, "reduce_sum", turned)?,
        _ => maker.apply("softmax", &[turned], Attrs::new().with("axis", -1_i64))?,
    };
    if maker.random.chance(3) {
        maker.random.shuffle(&mut back);
    }
    maker.apply("transpose", &[inner], Attrs::new().with("perm", back))?;
    Some(())
}

fn softmax(maker: &mut Maker, x: ValueId) -> Option<()> {
    let most = reduced(maker, "reduce_max", x)?;
    let distance = maker.apply("sub", &[x, most], none())?;
    let power = maker.apply("exp", &[distance], none())?;
    let sum = reduced(maker, "reduce_sum", power)?;
    maker.apply("div", &[power, sum], none())?;
    Some(())
}

/// Halves of an axis, changed and put together again.
fn split_and_joined(maker: &mut Maker, x: ValueId) -> Option<()> {
    let rank = maker.rank(x);
    let axis = maker.random.index(rank.max(1)) as i64;
    let extent = maker.shape(x).get(axis as usize)?.as_const()?;
    let half = Dim::new(extent / 2);
    let cut = |start: Dim, end: Dim| {
        Attrs::new()
            .with("axes", vec![axis])
            .with("starts", vec![start])
            .with("ends", vec![end])
    };
    let first = maker.apply("slice", &[x], cut(Dim::new(0), half.clone()))?;
    let second = maker.apply("slice", &[x], cut(half, Dim::new(extent)))?;
    let first = match maker.random.chance(2) {
        true => maker.apply("neg", &[first], none())?,
        false => first,
    };
    let joined = if maker.random.chance(2) {
        [first, second]
    } else {
        [second, first]
    };
    maker.apply("concat", &joined, Attrs::new().with("axis", axis))?;
    Some(())
}

/// What rows are made of, joined along the outermost axis or, where rows are long, along the
/// innermost one, perhaps again, read whole and in parts.
fn joined_rows(maker: &mut Maker, x: ValueId) -> Option<()> {
    if maker.rank(x) == 0 {
        return None;
    }
    // A single leading axis, so that any other one may be the outermost.
    let (x, axis) = match maker.random.below(4) {
        0 if maker.rank(x) >= 2 => {
            let columns = Dim::new(16 + maker.random.integer(0, 4));
            let rows = maker.shape(x).last()?.clone();
            let w = maker.leaf(
                maker.dtype(x),
                vec![rows, columns],
                Draw::of(maker.dtype(x)),
            );
            let x = maker.apply("matmul", &[x, w], none())?;
            (x, maker.rank(x) as i64)
        }
        0 | 1 => {
            let mut to = maker.shape(x);
            to.insert(0, Dim::new(1));
            let x = maker.apply("reshape", &[x], Attrs::new().with("to", to))?;
            (x, 1 + maker.random.below(2) as i64)
        }
        _ => (x, 0),
    };
    let axis = axis.min(maker.rank(x) as i64 - 1);
    let rows = |maker: &mut Maker, x: ValueId| {
        let along = Attrs::new().with("axis", -1_i64);
        match maker.random.below(5) {
            0 => Some(x),
            1 => maker.apply("neg", &[x], none()),
            _ => maker.apply("softmax", &[x], along),
        }
    };
    let mut joined = x;
    for _ in 0..1 + maker.random.below(2) {
        let mut parts = vec![rows(maker, joined)?];
        for _ in 0..1 + maker.random.below(3) {
            let part = match maker.random.below(4) {
                0 => parts[0],
                1 => rows(maker, parts[0])?,
                _ => rows(maker, joined)?,
            };
            parts.push(part);
        }
        maker.random.shuffle(&mut parts);
        joined = maker.apply("concat", &parts, Attrs::new().with("axis", axis))?;
        if maker.random.chance(3) {
            let part = *maker.random.pick(&parts);
            maker.apply("exp", &[part], none())?;
        }
    }
    let all = rows(maker, joined)?;
    let (start, end) = (maker.random.integer(-3, 2), maker.random.integer(1, 9));
    let cut = Attrs::new()
        .with("axes", vec![axis])
        .with("starts", vec![Dim::new(start)])
        .with("ends", vec![Dim::new(end)]);
    let part = *maker.random.pick(&[joined, all]);
    let part = maker.apply("slice", &[part], cut)?;
    rows(maker, part)?;
    Some(())
}

/// A convolution, an affine step for each channel, an activation, a sum with what came in.
fn conv_and_norm(maker: &mut Maker, x: ValueId) -> Option<()> {
    let (dtype, shape) = (maker.dtype(x), maker.shape(x));
    if shape.len() != 4 {
        return None;
    }
    let channels = shape[1].as_const().filter(|c| (1..=17).contains(c))?;
    let filter = vec![
        Dim::new(channels),
        Dim::new(channels),
        Dim::new(3),
        Dim::new(3),
    ];
    let w = maker.leaf(dtype, filter, Draw::of(dtype));
    let attrs = Attrs::new().with("pads", vec![Dim::new(1); 4]);
    let y = maker.apply("conv", &[x, w], attrs)?;
    let vector = |maker: &mut Maker| {
        let positive = Draw::Floats(alula_testkit::values::Domain::Positive);
        let tensor = super::draw(&mut maker.random, dtype, &[channels as usize], positive);
        maker.constant(tensor)
    };
    let operands = [
        y,
        vector(maker),
        vector(maker),
        vector(maker),
        vector(maker),
    ];
    let y = maker.apply("batch_norm", &operands, none())?;
    let sum = maker.apply("add", &[y, x], none())?;
    maker.apply("relu", &[sum], none())?;
    Some(())
}

fn normalized(maker: &mut Maker, x: ValueId) -> Option<()> {
    let dtype = maker.dtype(x);
    let square = maker.apply("mul", &[x, x], none())?;
    let mean = reduced(maker, "reduce_mean", square)?;
    let epsilon = maker.scalar(dtype, 1e-2);
    let sum = maker.apply("add", &[mean, epsilon], none())?;
    let root = maker.apply("sqrt", &[sum], none())?;
    let normal = maker.apply("div", &[x, root], none())?;
    let last = maker.shape(x).last()?.clone();
    let scale = maker.leaf(dtype, vec![last], Draw::of(dtype));
    maker.apply("mul", &[normal, scale], none())?;
    Some(())
}
