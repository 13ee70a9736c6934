//! Folding of what weight arithmetic is made of, on slices of `f32` instead of boxed scalars. Each
//! function computes what the reference does; a test compares them.

use std::borrow::Cow;

use alula_ir::{Graph, NodeId};
use alula_tensor::{DType, Tensor, strides};

/// The results of a node, if it is one of the common ones.
pub(super) fn fold(graph: &Graph, id: NodeId) -> Option<Vec<Tensor>> {
    let node = graph.node(id);
    let operand = |k: usize| graph.as_constant(node.operands.get(k).copied().flatten()?);
    let shape = graph.ty(node.results[0]).as_tensor()?.static_shape()?;
    match node.op.name {
        "add" => elementwise(operand(0)?, operand(1)?, &shape, |a, b| a + b),
        "sub" => elementwise(operand(0)?, operand(1)?, &shape, |a, b| a - b),
        "mul" => elementwise(operand(0)?, operand(1)?, &shape, |a, b| a * b),
        "div" => elementwise(operand(0)?, operand(1)?, &shape, |a, b| a / b),
        "reshape" => Some(vec![operand(0)?.reshape(&shape).ok()?]),
        "expand" => {
            let x = operand(0)?;
            Some(vec![moved(
                x,
                &shape,
                broadcast_strides(x.shape(), &shape)?,
            )?])
        }
        "transpose" => {
            let order: Vec<usize> = node
                .attrs
                .ints("perm")
                .iter()
                .map(|&axis| axis as usize)
                .collect();
            Some(vec![transpose(operand(0)?, &order)?])
        }
        _ => None,
    }
}

fn elementwise(
    a: &Tensor,
    b: &Tensor,
    shape: &[usize],
    arithmetic: impl Fn(f32, f32) -> f32,
) -> Option<Vec<Tensor>> {
    let (x, y) = (floats(a)?, floats(b)?);
    let steps = [
        broadcast_strides(a.shape(), shape)?,
        broadcast_strides(b.shape(), shape)?,
    ];
    let mut made = Tensor::zeros(DType::F32, shape).ok()?;
    let mut rest = made.as_mut_slice::<f32>()?;
    walk(shape, &steps, &mut |at, inner, count| {
        let (row, behind) = std::mem::take(&mut rest).split_at_mut(count);
        rest = behind;
        let (x, y) = (&x[at[0]..], &y[at[1]..]);
        // Rows of weights against one number each are what constants are mostly folded from.
        match inner {
            [1, 0] => row
                .iter_mut()
                .zip(x)
                .for_each(|(to, a)| *to = arithmetic(*a, y[0])),
            [0, 1] => row
                .iter_mut()
                .zip(y)
                .for_each(|(to, b)| *to = arithmetic(x[0], *b)),
            [1, 1] => {
                let pairs = x.iter().zip(y);
                row.iter_mut()
                    .zip(pairs)
                    .for_each(|(to, (a, b))| *to = arithmetic(*a, *b));
            }
            _ => {
                for (k, to) in row.iter_mut().enumerate() {
                    *to = arithmetic(x[k * inner[0]], y[k * inner[1]]);
                }
            }
        }
    });
    Some(vec![made])
}

/// The elements of an `f32` tensor; copied where the model file holds them unaligned.
fn floats(tensor: &Tensor) -> Option<Cow<'_, [f32]>> {
    match tensor.as_slice::<f32>() {
        Some(slice) => Some(Cow::Borrowed(slice)),
        None => tensor.to_vec::<f32>().ok().map(Cow::Owned),
    }
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
    let own = strides(x.shape());
    let shape: Vec<usize> = order.iter().map(|&axis| x.shape()[axis]).collect();
    moved(x, &shape, order.iter().map(|&axis| own[axis]).collect())
}

/// Elements of a tensor at other places: `steps` go along the axes of the result.
fn moved(x: &Tensor, shape: &[usize], steps: Vec<usize>) -> Option<Tensor> {
    let size = x.dtype().size_bytes();
    if size == 0 {
        return None;
    }
    let mut made = Tensor::zeros(x.dtype(), shape).ok()?;
    let bytes = x.bytes();
    let mut chunks = made.bytes_mut().chunks_exact_mut(size);
    walk(shape, &[steps], &mut |at, inner, count| {
        for (k, chunk) in (0..count).zip(&mut chunks) {
            let from = (at[0] + k * inner[0]) * size;
            chunk.copy_from_slice(&bytes[from..from + size]);
        }
    });
    Some(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::by_reference;

    /// Both ways of folding give the same bits.
    fn check(body: &str) {
        let text = format!(
            "graph @g() {{
               %a = const f32[2, 3] [0.5, -1.5, 2.0, 3.25, -0.0, 7.0]
               %b = const f32[3] [1.0, -2.0, 4.0]
               %c = const f32[2, 1] [3.0, 0.1]
               %d = const f32[] [0.3]
               %e = const f32[0] []
               {body} return y: %y }}"
        );
        let graph = alula_ir::parse(&text, alula_ops::registry(), &|_| None)
            .unwrap_or_else(|error| panic!("{error}: {text}"));
        let id = graph
            .producer(graph.outputs()[0].1)
            .expect("the output is made by a node");
        let fast = fold(&graph, id).expect("the operator is one of the fast ones");
        let slow = by_reference(&graph, id).expect("the reference evaluates");
        assert_eq!(fast[0].ty(), slow[0].ty(), "{body}");
        assert_eq!(fast[0].bytes(), slow[0].bytes(), "{body}");
    }

    #[test]
    fn agrees_with_the_reference() {
        for op in ["add", "sub", "mul", "div"] {
            for operands in [
                "%a, %a", "%a, %b", "%c, %a", "%b, %c", "%d, %a", "%d, %d", "%e, %d",
            ] {
                check(&format!("%y = {op} {operands}"));
            }
        }
        check("%y = transpose %a {perm = [1, 0]}");
        check("%y = expand %c {to = [4, 2, 3]}");
        check("%y = expand %d {to = [2, 2]}");
        check("%y = expand %b {to = [0, 3]}");
        check("%y = transpose %d {perm = []}");
        check("%y = transpose %e {perm = [0]}");
        check("%y = reshape %a {to = [3, 2]}");
    }
}
