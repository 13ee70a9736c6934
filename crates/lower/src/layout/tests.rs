//! Which values move, and that what is computed stays the same.

use std::collections::BTreeMap;

use alula_ir::{Graph, HostValue, ValueId, parse};
use alula_kernel::interpret::evaluate;
use alula_ops::registry;
use alula_tensor::Tensor;

use super::{LayoutReport, Layouts, lay_out};
use crate::cluster::{Item, Strategy, Work, cluster, items};

fn laid_out(text: &str) -> (Graph, Vec<Item>, LayoutReport) {
    let graph = parse(text, registry(), &|_| None).unwrap_or_else(|error| panic!("{error}"));
    let (mut items, _) = cluster(&graph, items(&graph).unwrap(), Strategy::Auto).unwrap();
    let report = lay_out(&graph, &mut items, Layouts::ChannelsLast);
    (graph, items, report)
}

fn input(shape: &[usize], seed: usize) -> Tensor {
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|k| ((k * 37 + seed * 11) % 17) as f32 - 8.0)
        .collect();
    Tensor::from_slice(shape, &values).unwrap()
}

/// Runs the items on the buffers as they lie, and compares the outputs with the reference.
fn check(graph: &Graph, items: &[Item]) {
    let extents = |id: ValueId| -> Vec<usize> {
        let shape = &graph.ty(id).as_tensor().unwrap().shape;
        shape
            .iter()
            .map(|dim| dim.as_const().unwrap() as usize)
            .collect()
    };
    let inputs: Vec<Tensor> = graph
        .inputs()
        .iter()
        .enumerate()
        .map(|(seed, id)| input(&extents(*id), seed))
        .collect();
    let mut buffers: BTreeMap<ValueId, Tensor> = graph
        .inputs()
        .iter()
        .copied()
        .zip(inputs.iter().cloned())
        .collect();
    for item in items {
        let operands: Vec<&Tensor> = item
            .reads()
            .map(|id| buffers.get(&id).or(graph.as_constant(id)).unwrap())
            .collect();
        let result = match &item.work {
            Work::Compute(compute) => evaluate(compute, &operands, &|_| None).unwrap(),
            Work::Contract(contract) => {
                let compute = contract.to_compute().unwrap();
                evaluate(&compute, &operands, &|_| None).unwrap()
            }
            Work::View => {
                let mut shape = extents(item.results[0]);
                // A view between values that lie channels-last: axis 1 comes last on both sides.
                let from = extents(item.reads().next().unwrap());
                if operands[0].shape() != from.as_slice() {
                    shape[1..].rotate_left(1);
                }
                operands[0].reshape(&shape).unwrap()
            }
            other => panic!("{other:?}"),
        };
        buffers.insert(item.results[0], result);
    }
    let inputs = inputs.into_iter().map(HostValue::from).collect();
    let wanted = alula_ops::evaluate(graph, inputs).unwrap();
    for ((name, id), wanted) in graph.outputs().iter().zip(wanted) {
        let wanted = wanted.as_tensor().unwrap().clone();
        assert_eq!(buffers[id].shape(), wanted.shape(), "{name}");
        for (found, wanted) in buffers[id].to_f64s().iter().zip(wanted.to_f64s()) {
            assert!(
                (found - wanted).abs() <= 1e-5 * wanted.abs().max(1.0),
                "{name}: {found} {wanted}"
            );
        }
    }
}

#[test]
fn values_between_convolutions_lie_channels_last() {
    let (graph, items, report) = laid_out(
        "graph @e(%x: f32[1, 3, 12, 10], %w: f32[8, 3, 3, 3], %d: f32[8, 1, 3, 3],
                  %v: f32[8, 8, 1, 1]) {
           %a = conv %x, %w {pads = [1, 1, 1, 1]}
           %b = relu %a
           %c = conv %b, %d {group = 8, pads = [1, 0, 0, 1], strides = [2, 1]}
           %e = max_pool %c {kernel = [3, 2], pads = [1, 1, 1, 0]}
           %f = conv %e, %v
           %g = add %e, %f
           %h = conv %g, %v
           return h: %h }",
    );
    assert!(report.channels_last.len() >= 4, "{report:?}");
    assert!(report.conversions.len() <= 2, "{report:?}");
    check(&graph, &items);
}

#[test]
fn channels_put_between_positions_stay_channels_last() {
    let (graph, items, report) = laid_out(
        "graph @e(%x: f32[1, 3, 6, 5], %w: f32[32, 3, 3, 3], %v: f32[8, 16, 3, 3]) {
           %a = conv %x, %w {pads = [1, 1, 1, 1]}
           %u = depth_to_space %a {blocks = [2, 2]}
           %t = concat %u, %u {axis = 1}
           %c = conv %t, %v
           return c: %c }",
    );
    assert!(report.channels_last.contains(&"u".to_owned()), "{report:?}");
    check(&graph, &items);
}

#[test]
fn views_that_keep_channels_apart_keep_the_order() {
    let (graph, items, report) = laid_out(
        "graph @e(%x: f32[1, 4, 6, 5], %w: f32[8, 4, 3, 3], %v: f32[8, 8, 1]) {
           %a = conv %x, %w {pads = [1, 1, 1, 1]}
           %b = reshape %a {to = [1, 8, 30]}
           %c = conv %b, %v
           %d = mul %c, %b
           %e = conv %d, %v
           return e: %e }",
    );
    assert!(report.channels_last.len() >= 3, "{report:?}");
    check(&graph, &items);
}

#[test]
fn other_views_and_outputs_are_row_major() {
    let (graph, items, report) = laid_out(
        "graph @e(%x: f32[1, 4, 6, 5], %w: f32[8, 4, 3, 3]) {
           %a = conv %x, %w {pads = [1, 1, 1, 1]}
           %b = reshape %a {to = [8, 30]}
           return b: %b }",
    );
    assert_eq!(report, LayoutReport::default());
    check(&graph, &items);
}
