//! Operators that move elements.

use alula_ir::{Attrs, ValueId};
use alula_tensor::{DType, Dim};

use super::{Draw, Maker};

fn permutation(maker: &mut Maker, rank: usize) -> Vec<i64> {
    let mut perm: Vec<i64> = (0..rank as i64).collect();
    match maker.random.below(3) {
        // Models swap two axes most often.
        0 if rank >= 2 => perm.swap(rank - 1, rank - 2),
        _ => maker.random.shuffle(&mut perm),
    }
    perm
}

/// Other extents for as many elements.
fn refold(maker: &mut Maker, shape: &[Dim]) -> Vec<Dim> {
    let mut to = shape.to_vec();
    for _ in 0..1 + maker.random.below(2) {
        match maker.random.below(4) {
            0 if to.len() >= 2 => {
                let at = maker.random.index(to.len() - 1);
                let next = to.remove(at + 1);
                to[at] = to[at].clone() * next;
            }
            1 => {
                let at = maker.random.index(to.len() + 1);
                to.insert(at, Dim::new(1));
            }
            2 => {
                if let Some(at) = to.iter().position(|dim| dim.is(1)) {
                    to.remove(at);
                }
            }
            _ => {
                let even = |dim: &Dim| dim.as_const().is_some_and(|n| n > 0 && n % 2 == 0);
                if let Some(at) = to.iter().position(even)
                    && let Some(half) = to[at].exact_div(&Dim::new(2))
                {
                    to[at] = half;
                    to.insert(at + 1, Dim::new(2));
                }
            }
        }
    }
    to
}

/// Transpositions, reshapes, expansions, tiles.
pub(super) fn move_whole(maker: &mut Maker) -> Option<()> {
    let x = maker.pick(|_| true)?;
    let (shape, rank) = (maker.shape(x), maker.rank(x));
    match maker.random.below(8) {
        0..3 => {
            let perm = permutation(maker, rank);
            maker.apply("transpose", &[x], Attrs::new().with("perm", perm))?;
        }
        3..6 => {
            let to = refold(maker, &shape);
            maker.apply("reshape", &[x], Attrs::new().with("to", to))?;
        }
        6 => {
            let mut to: Vec<Dim> = shape.clone();
            for dim in &mut to {
                if dim.is(1) && maker.random.chance(2) {
                    *dim = maker.extent();
                }
            }
            if rank < 4 && maker.random.chance(2) {
                to.insert(0, Dim::new(2));
            }
            maker.apply("expand", &[x], Attrs::new().with("to", to))?;
        }
        _ => {
            let repeats: Vec<Dim> = (0..rank)
                .map(|_| Dim::new(maker.random.integer(1, 2)))
                .collect();
            maker.apply("tile", &[x], Attrs::new().with("repeats", repeats))?;
        }
    }
    Some(())
}

fn slice(maker: &mut Maker, x: ValueId) -> Option<ValueId> {
    let rank = maker.rank(x);
    let axis = maker.random.index(rank.max(1)) as i64;
    let (start, end) = (maker.random.integer(-3, 3), maker.random.integer(-2, 9));
    let step = *maker.random.pick(&[1, 1, 1, 2, -1, 3]);
    let (start, end) = if step < 0 {
        (end, start - 4)
    } else {
        (start, end)
    };
    let attrs = Attrs::new()
        .with("axes", vec![axis])
        .with("starts", vec![Dim::new(start)])
        .with("ends", vec![Dim::new(end)])
        .with("steps", vec![step]);
    maker.apply("slice", &[x], attrs)
}

/// Slices, pads, concatenations, splits, triangles.
pub(super) fn cut_and_join(maker: &mut Maker) -> Option<()> {
    let x = maker.pick(|ty| ty.rank() > 0)?;
    let (dtype, shape, rank) = (maker.dtype(x), maker.shape(x), maker.rank(x));
    let axis = maker.random.index(rank);
    match maker.random.below(9) {
        0..3 => {
            slice(maker, x)?;
        }
        3 | 4 => {
            let mode = *maker
                .random
                .pick(&["constant", "constant", "edge", "reflect", "wrap"]);
            let least = if mode == "constant" { -1 } else { 0 };
            let pads: Vec<Dim> = (0..2 * rank)
                .map(|_| Dim::new(maker.random.integer(least, 2)))
                .collect();
            let value = maker.scalar(dtype, 1.0);
            let value = (mode == "constant" && maker.random.chance(2)).then_some(value);
            let attrs = Attrs::new()
                .with("pads", pads)
                .with("mode", mode.to_owned());
            maker.push("pad", &[Some(x), value], attrs, 1)?;
        }
        5 | 6 => {
            let same = |ty: &alula_tensor::TensorType| {
                ty.dtype == dtype
                    && ty.rank() == rank
                    && (0..rank).all(|k| k == axis || ty.shape[k] == shape[k])
            };
            let mut parts = vec![x];
            for _ in 0..1 + maker.random.below(2) {
                match maker.pick(same) {
                    Some(part) if maker.random.chance(2) => parts.push(part),
                    _ => {
                        let mut own = shape.clone();
                        own[axis] = Dim::new(maker.random.integer(0, 3));
                        parts.push(maker.leaf(dtype, own, Draw::of(dtype)));
                    }
                }
            }
            maker.random.shuffle(&mut parts);
            maker.apply("concat", &parts, Attrs::new().with("axis", axis as i64))?;
        }
        7 => {
            let first = Dim::new(maker.random.integer(0, 2));
            let sizes = vec![first.clone(), shape[axis].clone() - first];
            let attrs = Attrs::new().with("axis", axis as i64).with("sizes", sizes);
            maker.push("split", &[Some(x)], attrs, 2)?;
        }
        _ => {
            let attrs = Attrs::new().with("upper", maker.random.chance(2));
            maker.apply("trilu", &[x], attrs)?;
        }
    }
    Some(())
}

/// Gathers and scatters on axes of known extent.
pub(super) fn index(maker: &mut Maker) -> Option<()> {
    let x = maker.pick(|ty| ty.rank() > 0)?;
    let (dtype, shape) = (maker.dtype(x), maker.shape(x));
    let known: Vec<usize> = (0..shape.len())
        .filter(|&axis| shape[axis].as_const().is_some_and(|n| n > 0))
        .collect();
    if known.is_empty() {
        return None;
    }
    let axis = *maker.random.pick(&known);
    let extent = shape[axis].as_const()?;
    let along = Attrs::new().with("axis", axis as i64);
    let int = *maker.random.pick(&[DType::I64, DType::I64, DType::I32]);
    let from = Draw::Ints(-extent, extent - 1);
    match maker.random.below(8) {
        0..4 => {
            let places: Vec<Dim> = (0..maker.random.below(3))
                .map(|_| Dim::new(maker.random.integer(1, 4)))
                .collect();
            let indices = maker.leaf(int, places, from);
            maker.apply("gather", &[x, indices], along)?;
        }
        4 => {
            let mut places = shape;
            places[axis] = Dim::new(maker.random.integer(1, 4));
            let indices = maker.leaf(int, places, from);
            maker.apply("gather_elements", &[x, indices], along)?;
        }
        5 => {
            let first = shape[0].as_const().filter(|n| *n > 0)?;
            let count = Dim::new(maker.random.integer(1, 3));
            let from = Draw::Ints(-first, first - 1);
            let indices = maker.leaf(DType::I64, vec![count, Dim::new(1)], from);
            maker.apply("gather_nd", &[x, indices], Attrs::new())?;
        }
        6 => {
            // Distinct places, so that the order of writing does not matter.
            let mut places: Vec<i64> = (0..extent).collect();
            maker.random.shuffle(&mut places);
            places.truncate(1 + maker.random.index(3));
            let count = places.len();
            let indices = alula_tensor::Tensor::from_slice(&[count, 1], &places).ok()?;
            let indices = maker.constant(indices);
            let updates = [vec![Dim::from(count)], shape[1..].to_vec()].concat();
            let updates = maker.leaf(dtype, updates, Draw::of(dtype));
            maker.apply("scatter_nd", &[x, indices, updates], Attrs::new())?;
        }
        _ => {
            let mut places = shape;
            places[axis] = Dim::new(1);
            let indices = maker.leaf(int, places.clone(), from);
            let updates = maker.leaf(dtype, places, Draw::of(dtype));
            let reduction = *maker.random.pick(&["none", "add", "max", "min", "mul"]);
            let attrs = along.with("reduction", reduction.to_owned());
            maker.apply("scatter_elements", &[x, indices, updates], attrs)?;
        }
    }
    Some(())
}

/// Operators that make elements, and arithmetic on extents.
pub(super) fn generate(maker: &mut Maker) -> Option<()> {
    let x = maker.pick(|ty| ty.rank() > 0)?;
    let (dtype, shape) = (maker.dtype(x), maker.shape(x));
    match maker.random.below(4) {
        0 => {
            let (start, delta) = (maker.scalar(DType::I64, 1.0), maker.scalar(DType::I64, 2.0));
            let count = vec![shape[0].clone()];
            let range = maker.apply("range", &[start, delta], Attrs::new().with("count", count))?;
            maker.apply("cast", &[range], Attrs::new().with("to", dtype))?;
        }
        1 => {
            let to = vec![shape[0].clone(), maker.extent()];
            let attrs = Attrs::new()
                .with("to", to)
                .with("dtype", dtype)
                .with("k", 1_i64);
            maker.push("eye", &[], attrs, 1)?;
        }
        2 => {
            let indices = maker.leaf(DType::I64, vec![shape[0].clone()], Draw::Ints(-3, 2));
            let values = maker.leaf(dtype, vec![Dim::new(2)], Draw::of(dtype));
            let attrs = Attrs::new()
                .with("depth", vec![Dim::new(3)])
                .with("axis", -1_i64);
            maker.apply("one_hot", &[indices, values], attrs)?;
        }
        _ => {
            // The extents of a value, computed with.
            let extents = maker.push("dims", &[], Attrs::new().with("values", shape), 1)?[0];
            let two = maker.scalar(DType::I64, 2.0);
            let product = maker.apply("mul", &[extents, two], Attrs::new())?;
            maker.apply("cast", &[product], Attrs::new().with("to", DType::F32))?;
        }
    }
    Some(())
}
