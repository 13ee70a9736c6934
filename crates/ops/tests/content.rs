//! Known elements of small integer tensors: shape arithmetic that models do on pairs of pads.

use alula_ops::registry;

/// The known elements of the first output, as text; empty where nothing is known.
fn content(text: &str) -> Vec<String> {
    let graph = alula_ir::parse(text, registry(), &|_| None).expect("the graph parses");
    let (_, value) = &graph.outputs()[0];
    let known = graph.value(*value).content.clone().unwrap_or_default();
    known.iter().map(ToString::to_string).collect()
}

#[test]
fn pads_reversed_in_pairs_stay_known() {
    // How exporters turn pads of the last axis first into those of ONNX.
    let pads = content(
        "graph @g(%x: f32[N, M]) {
           %pads = dims {values = [1, 2, N - 5, M + 3]}
           %pairs = reshape %pads {to = [2, 2]}
           %turned = slice %pairs
             {axes = [0], starts = [-1], ends = [-9223372036854775807], steps = [-1]}
           %sides = transpose %turned {perm = [1, 0]}
           %all = reshape %sides {to = [4]}
           return all: %all, x: %x }",
    );
    assert_eq!(pads, ["N - 5", "1", "M + 3", "2"]);
}

#[test]
fn one_element_pairs_with_each() {
    let sum = content(
        "graph @g(%x: f32[N]) {
           %a = dims {values = [N, 2, 3, 4]} %b = reshape %a {to = [2, 2]}
           %c = dims {values = [N]} %y = add %b, %c return y: %y, x: %x }",
    );
    assert_eq!(sum, ["2*N", "N + 2", "N + 3", "N + 4"]);
}

#[test]
fn a_column_and_a_row_are_not_taken_for_pairs() {
    let outer = content(
        "graph @g(%x: f32[N]) {
           %a = dims {values = [N, 2]} %b = reshape %a {to = [2, 1]}
           %c = dims {values = [3, 4]} %y = add %b, %c return y: %y, x: %x }",
    );
    assert!(outer.is_empty(), "{outer:?}");
}
