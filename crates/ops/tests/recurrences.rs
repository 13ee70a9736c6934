//! Scans written as loops, and with transposed weights, say what the scans say.

use alula_ir::{Graph, GraphError, HostValue, NodeId, ValueId};
use alula_ops::recurrent::{ROWS, as_loop, by_column, is_by_row, loop_bytes};
use alula_ops::{evaluate, registry};
use alula_tensor::{Scalar, Tensor};
use alula_testkit::SplitMix64;

/// Position of the recurrent weights among the inputs of an example.
const WEIGHTS: usize = 1;

fn parse(text: &str) -> Graph {
    alula_ir::parse(text, registry(), &|_| None).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A value for an input; symbols are 3.
fn value(graph: &Graph, id: ValueId, random: &mut SplitMix64) -> Tensor {
    let ty = graph.ty(id).as_tensor().expect("examples take tensors");
    let extents = ty.shape.iter();
    let extents: Vec<usize> = extents
        .map(|dim| dim.as_const().unwrap_or(3) as usize)
        .collect();
    let count = extents.iter().product();
    let values = (0..count).map(|_| Scalar::Float(random.uniform(-1.0..1.0)));
    let values: Vec<Scalar> = values.collect();
    Tensor::from_scalars(ty.dtype, &extents, &values).expect("the count fits")
}

/// The example with constant recurrent weights, and values of its inputs.
fn with_constant_weights(text: &str) -> (Graph, Vec<HostValue>) {
    let (mut graph, mut random) = (parse(text), SplitMix64::new(5));
    let ids = graph.inputs().to_vec();
    let values: Vec<Tensor> = ids
        .iter()
        .map(|id| value(&graph, *id, &mut random))
        .collect();
    let weights = graph.constant(values[WEIGHTS].clone());
    graph.replace(ids[WEIGHTS], weights).expect("of one type");
    (graph, values.into_iter().map(HostValue::from).collect())
}

type Rewrite = fn(&mut Graph, NodeId) -> Result<Vec<ValueId>, GraphError>;

/// The same with every scan that `takes` allows written anew; how many there were.
fn rewritten(
    mut graph: Graph,
    takes: fn(&Graph, NodeId) -> bool,
    rewrite: Rewrite,
) -> (Graph, usize) {
    let mut count = 0;
    for id in graph.nodes() {
        if !takes(&graph, id) {
            continue;
        }
        let old = graph.node(id).results.clone();
        for (old, new) in old
            .into_iter()
            .zip(rewrite(&mut graph, id).expect("it types"))
        {
            graph.replace(old, new).expect("results keep their types");
        }
        count += 1;
    }
    graph.remove_dead();
    graph
        .verify()
        .unwrap_or_else(|errors| panic!("{errors:?}\n{graph}"));
    (graph, count)
}

fn compare(text: &str, takes: fn(&Graph, NodeId) -> bool, rewrite: Rewrite) {
    let (graph, inputs) = with_constant_weights(text);
    let (changed, count) = rewritten(graph.clone(), takes, rewrite);
    assert_eq!(count, 1, "{text}");
    let want = evaluate(&graph, inputs.clone()).expect("the scan runs");
    let got = evaluate(&changed, inputs).expect("what it was rewritten to runs");
    for (want, got) in want.iter().zip(&got) {
        let (want, got) = (want.as_tensor().unwrap(), got.as_tensor().unwrap());
        assert_eq!(got.shape(), want.shape(), "{text}");
        for (want, got) in want.to_f64s().iter().zip(got.to_f64s()) {
            assert!((want - got).abs() < 1e-5, "{got} for {want}: {text}");
        }
    }
}

#[test]
fn examples_agree_with_their_loops() {
    let mut count = 0;
    for op in ROWS {
        let refused = |text: &str| text.contains("%s: f32[") || text.contains("transposed");
        for example in op.examples.iter().filter(|text| !refused(text)) {
            // Loops take no lengths.
            let example = example.replace(", _, %l", "");
            compare(
                &example,
                |graph, id| loop_bytes(graph, id).is_some(),
                as_loop,
            );
            count += 1;
        }
    }
    // Those with quantized weights are another two; one has first states named `s`.
    assert_eq!(count, 9);
}

#[test]
fn scans_agree_with_those_of_transposed_weights() {
    for (op, gates, kinds) in [("lstm_scan", 4, 3), ("gru_scan", 3, 2), ("rnn_scan", 1, 1)] {
        // Two directions of 19 hidden elements each.
        let rows = gates * 19;
        let list = |each: &str| vec![each; 2 * kinds].join(", ");
        let attrs = format!(
            "{{activations = [{}], alphas = [{zeros}], betas = [{zeros}]}}",
            list("\"tanh\""),
            zeros = list("0.0")
        );
        let inputs = format!("%g: f32[4, 2, 2, {rows}], %r: f32[2, {rows}, 19]");
        let scan = |results: &str| format!("{results} = {op} %g, %r {attrs}");
        let body = match op {
            "lstm_scan" => scan("%y, %h, %c") + " return y: %y, h: %h, c: %c",
            _ => scan("%y, %h") + " return y: %y, h: %h",
        };
        compare(
            &format!("graph @e({inputs}) {{ {body} }}"),
            is_by_row,
            by_column,
        );
    }
}

#[test]
fn few_rows_and_others_are_not_transposed() {
    for op in ROWS {
        // Weights of extents that only a run knows are no constant.
        for example in op.examples.iter().filter(|text| !text.contains("H, H]")) {
            let (graph, _) = with_constant_weights(example);
            let takes = graph.nodes().into_iter().any(|id| is_by_row(&graph, id));
            assert!(!takes, "{example}");
        }
    }
}

#[test]
fn others_stay_scans() {
    let stays = |text: &str| {
        let graph = parse(text);
        let nodes = graph.nodes().into_iter();
        let bytes: Vec<_> = nodes.filter_map(|id| loop_bytes(&graph, id)).collect();
        assert!(bytes.is_empty(), "{text}");
    };
    for op in ROWS {
        for example in op.examples {
            stays(example);
        }
    }
    let attrs = "{activations = [\"tanh\"], alphas = [0.0], betas = [0.0]}";
    let weights = "%r = const f32[1, 2, 2] [1.0, 2.0, 3.0, 4.0]";
    stays(&format!(
        "graph @e(%g: f32[4, 3, 1, 2], %l: i32[3]) {{
           {weights} %y, %h = rnn_scan %g, %r, _, %l {attrs} return y: %y }}"
    ));
    // Nothing says that the states are of as many sequences as the gates.
    stays(&format!(
        "graph @e(%g: f32[4, N, 1, 2], %s: f32[1, M, 2]) {{
           {weights} %y, %h = rnn_scan %g, %r, %s {attrs} return y: %y }}"
    ));
    let half = weights.replace("f32", "f16");
    stays(&format!(
        "graph @e(%g: f16[4, 3, 1, 2]) {{ {half} %y, %h = rnn_scan %g, %r {attrs} return y: %y }}"
    ));
}
