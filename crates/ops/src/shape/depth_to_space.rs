//! `depth_to_space`: channels put between the positions of images.

use alula_ir::{
    AttrKind, AttrSpec, EvalCtx, EvalError, HostValue, InferCtx, InferError, Inferred, LowerCtx,
    LowerError, Lowering, OpDef,
};
use alula_kernel::Compute;
use alula_tensor::{Dim, ScalarOp, Shape};

use super::PLAIN;
use crate::movement::{assemble, begin, known_extents, linear, load_stored};

/// Channels as positions within blocks (ONNX DepthToSpace, for any number of axes; Shi et al.,
/// "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
/// Neural Network", 2016).
///
/// `x [N, G * B1 * .. * Bk * C, D1, .., Dk]` becomes `[N, G * C, D1 * B1, .., Dk * Bk]`. Groups of
/// as many as the result has channels are ONNX's mode CRD, one group is DCR. That it is one
/// operator, not a transposition between two reshapes, lets either side lie channels-last.
pub static DEPTH_TO_SPACE: OpDef = OpDef {
    name: "depth_to_space",
    summary: "channels [groups, blocks.., channels of a group] as positions within blocks",
    operands: &["x"],
    attrs: &[
        AttrSpec::ints("blocks", "the extent of a block along each spatial axis"),
        AttrSpec::optional(
            "groups",
            AttrKind::Dims,
            "the number of groups of channels, 1 if absent",
        ),
    ],
    traits: PLAIN,
    infer,
    eval,
    lowering: Lowering::Compute(lower),
    examples: &[
        "graph @e(%x: f32[2, 12, 2, 3]) { %y = depth_to_space %x {blocks = [2, 3]} return y: %y }",
        "graph @e(%x: i8[N, 12, H]) {
           %y = depth_to_space %x {blocks = [4], groups = [3]} return y: %y }",
        "graph @e(%x: f16[1, 24, 1, 2, 3]) {
           %y = depth_to_space %x {blocks = [2, 1, 3], groups = [2]} return y: %y }",
        "graph @e(%x: bool[0, 2, 3]) { %y = depth_to_space %x {blocks = [2]} return y: %y }",
    ],
};

fn groups(attrs: &alula_ir::Attrs) -> Dim {
    let given = attrs.has("groups").then(|| attrs.dims("groups"));
    given
        .and_then(<[Dim]>::first)
        .cloned()
        .unwrap_or(Dim::new(1))
}

fn infer(ctx: &mut InferCtx<'_>) -> Result<Vec<Inferred>, InferError> {
    let x = ctx.tensor(0)?;
    let blocks = ctx.attrs.ints("blocks");
    if x.rank() != blocks.len() + 2 || blocks.iter().any(|&block| block < 1) {
        return Err(InferError::Mismatch(format!(
            "blocks {blocks:?} do not fit {x}, which must have two axes more"
        )));
    }
    if ctx.attrs.has("groups") && ctx.attrs.dims("groups").len() != 1 {
        return Err(InferError::Mismatch(
            "`groups` is not one extent".to_owned(),
        ));
    }
    let groups = groups(ctx.attrs);
    let positions = blocks.iter().try_fold(1_i64, |n, &b| n.checked_mul(b));
    let parts = positions.map(|positions| groups.clone() * Dim::new(positions));
    let parts = parts.filter(|parts| !parts.is(0));
    let Some(own) = parts.and_then(|parts| x.shape[1].exact_div(&parts)) else {
        return Err(InferError::Mismatch(format!(
            "{} channels are no multiple of {groups} groups of blocks {blocks:?}",
            x.shape[1]
        )));
    };
    let mut shape: Shape = vec![x.shape[0].clone(), groups * own];
    let spatial = x.shape[2..].iter().zip(blocks);
    shape.extend(spatial.map(|(extent, &block)| extent.clone() * Dim::new(block)));
    Ok(vec![Inferred::tensor(x.dtype, shape)])
}

fn eval(ctx: &EvalCtx<'_>) -> Result<Vec<HostValue>, EvalError> {
    let x = ctx.tensor(0)?;
    let blocks = known_extents(&Vec::from_iter(
        ctx.attrs.ints("blocks").iter().map(|&b| Dim::new(b)),
    ))?;
    let groups = known_extents(&[groups(ctx.attrs)])?[0];
    let positions: usize = blocks.iter().product();
    let own = x.shape()[1].checked_div(groups * positions).unwrap_or(0);
    let mut shape = vec![x.shape()[0], groups * own];
    shape.extend(x.shape()[2..].iter().zip(&blocks).map(|(e, b)| e * b));
    // As one axis for each factor: [N, G, B1.., C, D1..].
    let mut split = vec![x.shape()[0], groups];
    split.extend_from_slice(&blocks);
    split.push(own);
    split.extend_from_slice(&x.shape()[2..]);
    let value = assemble(ctx, &[x], &shape, |index| {
        let mut at = vec![index[0], index[1] / own];
        let spatial = || index[2..].iter().zip(&blocks);
        at.extend(spatial().map(|(position, block)| position % block));
        at.push(index[1] % own);
        at.extend(spatial().map(|(position, block)| position / block));
        Ok((0, linear(&split, &at)))
    })?;
    Ok(vec![value])
}

fn lower(ctx: &LowerCtx<'_>) -> Result<Vec<Compute>, LowerError> {
    let mut compute = begin(ctx, 0)?;
    let (blocks, groups) = (ctx.attrs.ints("blocks"), groups(ctx.attrs));
    let at = compute.indices();
    let channels = compute.axes[1].extent.clone();
    let pool = &mut compute.pool;
    let mut index = vec![at[0], at[1]];
    let mut position = None;
    for (&at, &block) in at[2..].iter().zip(blocks) {
        let block = pool.dim(Dim::new(block));
        let within = pool.apply(ScalarOp::FloorMod, &[at, block]);
        index.push(pool.apply(ScalarOp::FloorDiv, &[at, block]));
        position = Some(match position {
            Some(outer) => {
                let outer = pool.mul(outer, block);
                pool.add(outer, within)
            }
            None => within,
        });
    }
    if let Some(position) = position {
        let positions = Dim::new(blocks.iter().product::<i64>());
        // The channel is [group, position, channel of the group].
        let (group, own, extent) = if groups.is(1) {
            (None, Some(at[1]), channels)
        } else if groups == channels {
            (Some(at[1]), None, Dim::new(1))
        } else {
            // A quotient by a sum is not always found, though inference has made it exact.
            let extent = channels.exact_div(&groups);
            let extent = extent.unwrap_or_else(|| channels.floor_div(&groups));
            let divisor = pool.dim(extent.clone());
            let group = pool.apply(ScalarOp::FloorDiv, &[at[1], divisor]);
            let own = pool.apply(ScalarOp::FloorMod, &[at[1], divisor]);
            (Some(group), Some(own), extent)
        };
        let mut channel = position;
        if let Some(group) = group {
            let positions = pool.dim(positions);
            let first = pool.mul(group, positions);
            channel = pool.add(first, channel);
        }
        if let Some(own) = own {
            let extent = pool.dim(extent);
            let first = pool.mul(channel, extent);
            channel = pool.add(first, own);
        }
        index[1] = channel;
    }
    let value = load_stored(&mut compute, 0, index);
    Ok(vec![compute.finish(value)])
}
