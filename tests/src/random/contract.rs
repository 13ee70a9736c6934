//! Matrix products, convolutions, pools.

use alula_ir::{Attrs, ValueId};
use alula_tensor::Dim;

use super::elementwise::broadcasts;
use super::{Draw, Maker};

/// A value with at least so many axes: `x` itself, or as it is with axes of 1 before it.
fn at_least(maker: &mut Maker, x: ValueId, rank: usize) -> Option<ValueId> {
    let shape = maker.shape(x);
    if shape.len() >= rank {
        return Some(x);
    }
    let to = [vec![Dim::new(1); rank - shape.len()], shape].concat();
    maker.apply("reshape", &[x], Attrs::new().with("to", to))
}

/// `matmul`, the other side from the pool or new.
pub(super) fn matrices(maker: &mut Maker) -> Option<()> {
    let a = maker.pick_main()?;
    let a = at_least(maker, a, 2)?;
    let (dtype, shape, rank) = (maker.dtype(a), maker.shape(a), maker.rank(a));
    let (turn_a, turn_b) = (maker.random.chance(5), maker.random.chance(3));
    let inner = shape[if turn_a { rank - 2 } else { rank - 1 }].clone();
    let found = maker.pick(|ty| {
        let inner_axis = ty.rank().checked_sub(if turn_b { 1 } else { 2 });
        ty.dtype == dtype
            && ty.rank() >= 2
            && inner_axis.is_some_and(|axis| ty.shape[axis] == inner)
            && broadcasts(&ty.shape[..ty.rank() - 2], &shape[..rank - 2])
    });
    let b = match found {
        Some(b) if maker.random.chance(2) => b,
        _ => {
            let outer = maker.extent();
            let matrix = if turn_b {
                vec![outer, inner]
            } else {
                vec![inner, outer]
            };
            let batch = match maker.random.chance(3) {
                true => shape[..rank - 2].to_vec(),
                false => Vec::new(),
            };
            maker.leaf(dtype, [batch, matrix].concat(), Draw::of(dtype))
        }
    };
    let attrs = Attrs::new()
        .with("transpose_a", turn_a)
        .with("transpose_b", turn_b);
    let y = maker.apply("matmul", &[a, b], attrs)?;
    epilogue(maker, y);
    Some(())
}

/// Often a bias and an activation follow.
fn epilogue(maker: &mut Maker, y: ValueId) {
    if maker.random.chance(2) {
        let other = super::elementwise::partner(maker, y);
        let sum = maker.apply("add", &[y, other], Attrs::new());
        if let Some(sum) = sum
            && maker.random.chance(2)
        {
            let _ = maker.apply("relu", &[sum], Attrs::new());
        }
    }
}

/// Convolutions and pools on one or two spatial axes.
pub(super) fn window(maker: &mut Maker) -> Option<()> {
    let x = maker.pick_float()?;
    let rank = *maker.random.pick(&[3, 4, 4]);
    let x = at_least(maker, x, rank)?;
    let shape = maker.shape(x);
    let spatial = shape.len().checked_sub(2).filter(|n| (1..=2).contains(n))?;
    let channels = shape[1].as_const().filter(|c| (1..=17).contains(c))?;
    let mut each = |low, high| -> Vec<i64> {
        (0..spatial)
            .map(|_| maker.random.integer(low, high))
            .collect()
    };
    let (kernel, strides, dilations) = (each(1, 3), each(1, 2), each(1, 2));
    let pads: Vec<Dim> = [each(0, 1), each(0, 1)]
        .concat()
        .into_iter()
        .map(Dim::new)
        .collect();
    let mut attrs = Attrs::new().with("pads", pads);
    if maker.random.chance(2) {
        attrs.set("strides", strides);
    }
    if maker.random.chance(4) {
        attrs.set("dilations", dilations);
    }
    let dtype = maker.dtype(x);
    let filter = |first: i64, second: i64| -> Vec<Dim> {
        [first, second]
            .into_iter()
            .chain(kernel.clone())
            .map(Dim::new)
            .collect()
    };
    let y = match maker.random.below(8) {
        0..4 => {
            let group = match maker.random.below(4) {
                0 => channels,
                1 if channels % 2 == 0 => 2,
                _ => 1,
            };
            let out = group * maker.random.integer(1, 3);
            let w = maker.leaf(dtype, filter(out, channels / group), Draw::of(dtype));
            let bias = maker.leaf(dtype, vec![Dim::new(out)], Draw::of(dtype));
            let bias = maker.random.chance(2).then_some(bias);
            attrs.set("group", group);
            maker.push("conv", &[Some(x), Some(w), bias], attrs, 1)?[0]
        }
        4 => {
            let group = if channels % 2 == 0 && maker.random.chance(2) {
                2
            } else {
                1
            };
            let out = maker.random.integer(1, 3);
            let w = maker.leaf(dtype, filter(channels, out), Draw::of(dtype));
            attrs.set("group", group as i64);
            maker.apply("conv_transpose", &[x, w], attrs)?
        }
        5 => {
            let attrs = attrs
                .with("kernel", kernel)
                .with("ceil_mode", maker.random.chance(3));
            let wanted = if maker.random.chance(4) { 2 } else { 1 };
            maker.push("max_pool", &[Some(x)], attrs, wanted)?[0]
        }
        6 => {
            let attrs = attrs
                .with("kernel", kernel)
                .with("ceil_mode", maker.random.chance(3))
                .with("count_include_pad", maker.random.chance(2));
            maker.apply("average_pool", &[x], attrs)?
        }
        _ => {
            let attrs = attrs
                .with("kernel", kernel)
                .with("p", maker.random.integer(1, 3));
            maker.apply("lp_pool", &[x], attrs)?
        }
    };
    epilogue(maker, y);
    Some(())
}
