//! Reductions, normalizations, positions of the greatest.

use alula_ir::{Attrs, ValueId};
use alula_tensor::Dim;
use alula_testkit::values::Domain;

use super::{Draw, Maker};

/// Some of the axes, at least one if there is one, some counted from the end.
fn axes(maker: &mut Maker, rank: usize) -> Vec<i64> {
    let first = maker.random.index(rank.max(1));
    (0..rank)
        .filter(|&axis| axis == first || maker.random.chance(3))
        .collect::<Vec<usize>>()
        .into_iter()
        .map(|axis| {
            axis as i64
                - if maker.random.chance(3) {
                    rank as i64
                } else {
                    0
                }
        })
        .collect()
}

/// `reduce_*`, running sums.
pub(super) fn reduce(maker: &mut Maker) -> Option<()> {
    const FLOAT: &[&str] = &[
        "reduce_sum",
        "reduce_mean",
        "reduce_prod",
        "reduce_max",
        "reduce_min",
        "reduce_l1",
        "reduce_l2",
        "reduce_log_sum",
        "reduce_log_sum_exp",
        "reduce_sum_square",
        "reduce_mean",
        "reduce_sum",
        "reduce_max",
    ];
    const INT: &[&str] = &[
        "reduce_sum",
        "reduce_max",
        "reduce_min",
        "reduce_sum",
        "reduce_prod",
    ];
    let x = maker.pick(|ty| ty.rank() > 0)?;
    let (dtype, rank) = (maker.dtype(x), maker.rank(x));
    if maker.random.chance(10) {
        let axis = maker.random.index(rank) as i64;
        let attrs = Attrs::new()
            .with("axis", axis)
            .with("exclusive", maker.random.chance(3))
            .with("reverse", maker.random.chance(3));
        let op = *maker.random.pick(&["cum_sum", "cum_sum", "cum_prod"]);
        maker.apply(op, &[x], attrs)?;
        return Some(());
    }
    let op = *maker
        .random
        .pick(if dtype.is_float() { FLOAT } else { INT });
    let axes = axes(maker, rank);
    let keep = maker.random.chance(2);
    let attrs = Attrs::new().with("axes", axes).with("keepdims", keep);
    maker.apply(op, &[x], attrs)?;
    Some(())
}

/// `argmax`, `argmin`, `hardmax`.
pub(super) fn position(maker: &mut Maker) -> Option<()> {
    let x = maker.pick(|ty| ty.rank() > 0)?;
    let axis = maker.random.index(maker.rank(x)) as i64;
    if maker.random.chance(3) {
        maker.apply("hardmax", &[x], Attrs::new().with("axis", axis))?;
        return Some(());
    }
    let attrs = Attrs::new()
        .with("axis", axis)
        .with("keepdims", maker.random.chance(2))
        .with("last", maker.random.chance(2));
    let op = *maker.random.pick(&["argmax", "argmin"]);
    maker.apply(op, &[x], attrs)?;
    Some(())
}

fn vector(maker: &mut Maker, x: ValueId, extent: Dim, positive: bool) -> ValueId {
    let domain = if positive {
        Domain::Positive
    } else {
        Domain::Ordinary
    };
    maker.leaf(maker.dtype(x), vec![extent], Draw::Floats(domain))
}

/// Softmax and the norms.
pub(super) fn normalize(maker: &mut Maker) -> Option<()> {
    let x = maker.pick(|ty| ty.dtype.is_float() && ty.rank() > 0)?;
    let (rank, shape) = (maker.rank(x), maker.shape(x));
    let axis = maker.random.index(rank) as i64;
    let along = Attrs::new().with("axis", axis);
    match maker.random.below(9) {
        0..3 => {
            maker.apply("softmax", &[x], along)?;
        }
        3 => {
            maker.apply("log_softmax", &[x], along)?;
        }
        4 => {
            let (dtype, rest) = (maker.dtype(x), shape[axis as usize..].to_vec());
            let scale = maker.leaf(dtype, rest.clone(), Draw::Floats(Domain::Ordinary));
            let bias = maker.leaf(dtype, rest, Draw::Floats(Domain::Ordinary));
            let bias = maker.random.chance(2).then_some(bias);
            let wanted = if maker.random.chance(4) { 3 } else { 1 };
            maker.push("layer_norm", &[Some(x), Some(scale), bias], along, wanted)?;
        }
        5 => {
            let scale = maker.leaf(
                maker.dtype(x),
                shape[axis as usize..].to_vec(),
                Draw::Floats(Domain::Ordinary),
            );
            maker.apply("rms_norm", &[x, scale], along)?;
        }
        6 => {
            maker.apply("lp_normalization", &[x], along.with("p", 1 + axis % 2))?;
        }
        7 if rank >= 2 => {
            let channels = shape[1].clone();
            let operands = [
                x,
                vector(maker, x, channels.clone(), false),
                vector(maker, x, channels.clone(), false),
                vector(maker, x, channels.clone(), false),
                vector(maker, x, channels, true),
            ];
            maker.apply("batch_norm", &operands, Attrs::new())?;
        }
        8 if rank >= 3 => {
            let channels = shape[1].clone();
            let operands = [
                x,
                vector(maker, x, channels.clone(), false),
                vector(maker, x, channels.clone(), false),
            ];
            match maker.random.below(3) {
                0 => maker.apply("instance_norm", &operands, Attrs::new())?,
                1 => {
                    let attrs = Attrs::new().with("size", 3_i64).with("alpha", 0.3);
                    maker.apply("lrn", &[x], attrs)?
                }
                _ => {
                    let count = channels.as_const()?;
                    let groups = if count % 2 == 0 { 2 } else { 1 };
                    let attrs = Attrs::new().with("groups", groups as i64);
                    maker.apply("group_norm", &operands, attrs)?
                }
            };
        }
        _ => return None,
    }
    Some(())
}
