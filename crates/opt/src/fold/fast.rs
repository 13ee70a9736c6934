//! Folding of what weight arithmetic is made of, on slices of `f32` instead of boxed scalars. Each
//! function computes what the reference does; a test compares them.

use alula_ir::{Graph, NodeId};
use alula_tensor::{Tensor, strides};

/// The results of a node, if it is one of the common ones.
pub(super) fn fold(graph: &Graph, id: NodeId) -> Option<Vec<Tensor>> {
    let node = graph.node(id);
    let operand = |k: usize| graph.as_constant(node.operands.get(k).copied().flatten()?);
    let shape = graph.ty(node.results[0]).as_tensor()?.static_shape()?;
    let arithmetic: fn(f32, f32) -> f32 = match node.op.name {
        "add" => |a, b| a + b,
        "sub" => |a, b| a - b,
        "mul" => |a, b| a * b,
        "div" => |a, b| a / b,
        "reshape" => return Some(vec![operand(0)?.reshape(&shape).ok()?]),
        "transpose" => {
            let order: Vec<usize> = node
                .attrs
                .ints("perm")
                .iter()
                .map(|&axis| axis as usize)
                .collect();
            return Some(vec![transpose(operand(0)?, &order)?]);
        }
        _ => return None,
    };
    let (a, b) = (operand(0)?, operand(1)?);
    let (x, y) = (a.as_slice::<f32>()?, b.as_slice::<f32>()?);
    let steps = [
        broadcast_strides(a.shape(), &shape)?,
        broadcast_strides(b.shape(), &shape)?,
    ];
    let mut values = Vec::with_capacity(shape.iter().product());
    walk(&shape, &steps, &mut |at, inner, count| {
        for k in 0..count {
            values.push(arithmetic(x[at[0] + k * inner[0]], y[at[1] + k * inner[1]]));
        }
    });
    Some(vec![Tensor::from_slice(&shape, &values).ok()?])
}

/// Steps of a tensor's elements along the axes of the shape it broadcasts to.
fn broadcast_strides(own: &[usize], shape: &[usize]) -> Option<Vec<usize>> {
    let skipped = shape.len().checked_sub(own.len())?;
    let steps = strides(own);
    (0..shape.len())
        .map(|axis| match axis.checked_sub(skipped) {
            Some(k) if own[k] == shape[axis] => Some(steps[k]),
            Some(k) if own[k] != 1 => None,
            Some(_) | None => Some(0),
        })
        .collect()
}

/// Calls `row` for each run along the last axis, with offsets, inner steps and the run's length.
fn walk<const N: usize>(
    shape: &[usize],
    steps: &[Vec<usize>; N],
    row: &mut impl FnMut([usize; N], [usize; N], usize),
) {
    let Some((&count, outer)) = shape.split_last() else {
        return row([0; N], [0; N], 1);
    };
    if shape.contains(&0) {
        return;
    }
    let inner: [usize; N] = std::array::from_fn(|n| steps[n][outer.len()]);
    let mut index = vec![0_usize; outer.len()];
    loop {
        let at = std::array::from_fn(|n| index.iter().zip(&steps[n]).map(|(i, s)| i * s).sum());
        row(at, inner, count);
        let Some(axis) = (0..outer.len())
            .rev()
            .find(|&axis| index[axis] + 1 < outer[axis])
        else {
            return;
        };
        index[axis] += 1;
        index[axis + 1..].fill(0);
    }
}

fn transpose(x: &Tensor, order: &[usize]) -> Option<Tensor> {
    let size = x.dtype().size_bytes();
    let own = strides(x.shape());
    let shape: Vec<usize> = order.iter().map(|&axis| x.shape()[axis]).collect();
    let steps = [order.iter().map(|&axis| own[axis]).collect::<Vec<usize>>()];
    let mut made = Tensor::zeros(x.dtype(), &shape).ok()?;
    let bytes = x.bytes();
    let mut chunks = made.bytes_mut().chunks_exact_mut(size.max(1));
    walk(&shape, &steps, &mut |at, inner, count| {
        for (k, chunk) in (0..count).zip(&mut chunks) {
            let from = (at[0] + k * inner[0]) * size;
            chunk.copy_from_slice(&bytes[from..from + size]);
        }
    });
    (size > 0).then_some(made)
}
