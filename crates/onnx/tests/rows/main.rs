//! What rows build, by the reference evaluation: operators that ONNX's own tests say little of.

mod build;
mod classes;
mod draws;
mod maps;
mod ranges;

use alula_onnx::proto::tensor_proto::DataType::{Bool, Float, Int64};
use alula_tensor::{Tensor, Value};
use build::{
    float, floats, graph, import, int, ints, node, nodes, numbers, run, sequence, tensor, text,
    texts,
};

const GRADIENT: &str = "ai.onnx.preview.training::Gradient";

/// `y = mean(tanh(a b) / c + a)` and its gradients.
fn differentiated(a: &[f32], b: &[f32], c: &[f32]) -> Vec<Value> {
    let graph = nodes(
        &[
            ("a", tensor(Float, Some(&[2, 2]))),
            ("b", tensor(Float, Some(&[2, 2]))),
            ("c", tensor(Float, Some(&[2]))),
        ],
        vec![
            node("MatMul", "a b", "p", vec![]),
            node("Tanh", "p", "t", vec![]),
            node("Div", "t c", "q", vec![]),
            node("Add", "q a", "s", vec![]),
            node("ReduceMean", "s", "y", vec![int("keepdims", 0)]),
            node(
                GRADIENT,
                "a b c",
                "da db dc",
                vec![texts("xs", &["a", "b", "c"]), text("y", "y")],
            ),
        ],
        "y da db dc",
    );
    let inputs = vec![floats(&[2, 2], a), floats(&[2, 2], b), floats(&[2], c)];
    run(13, graph, inputs).expect("it runs")
}

#[test]
fn gradients_are_slopes() {
    let given = [
        vec![0.3, -0.2, 0.7, 0.1],
        vec![0.5, 0.4, -0.6, 0.9],
        vec![1.5, 0.8],
    ];
    let at = |given: &[Vec<f32>; 3]| differentiated(&given[0], &given[1], &given[2]);
    let outputs = at(&given);
    const STEP: f32 = 1e-2;
    for operand in 0..3 {
        let gradient = numbers(&outputs[1 + operand]);
        for (element, gradient) in gradient.iter().enumerate() {
            let moved = |step: f32| {
                let mut given = given.clone();
                given[operand][element] += step;
                numbers(&at(&given)[0])[0]
            };
            let slope = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
            assert!(
                (slope - gradient).abs() < 1e-3,
                "{operand} {element}: {slope} {gradient}"
            );
        }
    }
}

#[test]
fn gradients_of_other_operators_and_elsewhere_are_refused_by_name() {
    let model = |op_type: &str, at: &str| {
        nodes(
            &[
                ("a", tensor(Float, Some(&[2]))),
                ("b", tensor(Float, Some(&[2]))),
            ],
            vec![
                node(op_type, "a", "y", vec![]),
                node(
                    GRADIENT,
                    at,
                    "da",
                    vec![texts("xs", &["a"]), text("y", "y")],
                ),
            ],
            "da",
        )
    };
    let error = |model| import(13, model).expect_err("it is refused");
    assert!(error(model("Softmax", "a")).contains("the gradient of softmax"));
    assert!(error(model("Exp", "b")).contains("at another value than that of \"a\""));
    assert!(import(13, model("Exp", "a")).is_ok());
}

/// Running sums of `[2, 3, 1]` with the lengths 3 and 2, backwards if `back`.
fn scanned(lengths: bool, back: i64) -> Vec<Vec<f64>> {
    let body = nodes(
        &[
            ("s", tensor(Float, Some(&[1]))),
            ("x", tensor(Float, Some(&[1]))),
        ],
        vec![
            node("Add", "s x", "t", vec![]),
            node("Identity", "t", "z", vec![]),
        ],
        "t z",
    );
    let mut given = vec![
        ("first", tensor(Float, Some(&[2, 1]))),
        ("xs", tensor(Float, Some(&[2, 3, 1]))),
    ];
    let mut inputs = vec![
        floats(&[2, 1], &[0.0, 100.0]),
        floats(&[2, 3, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    ];
    if lengths {
        given.push(("lengths", tensor(Int64, Some(&[2]))));
        inputs.push(Tensor::from_i64s(&[3, 2]).into());
    }
    let operands = if lengths {
        "lengths first xs"
    } else {
        "- first xs"
    };
    let scan = node(
        "Scan",
        operands,
        "last sums",
        vec![
            graph("body", body),
            int("num_scan_inputs", 1),
            ints("directions", &[back]),
        ],
    );
    let outputs = run(8, nodes(&given, vec![scan], "last sums"), inputs).expect("it runs");
    outputs.iter().map(numbers).collect()
}

#[test]
fn scans_of_version_8_have_a_batch_and_lengths() {
    let sums = vec![vec![6.0, 115.0], vec![1.0, 3.0, 6.0, 104.0, 109.0, 115.0]];
    assert_eq!(scanned(false, 0), sums);
    let back = vec![vec![6.0, 115.0], vec![3.0, 5.0, 6.0, 106.0, 111.0, 115.0]];
    assert_eq!(scanned(false, 1), back);
    let short = vec![vec![6.0, 109.0], vec![1.0, 3.0, 6.0, 104.0, 109.0, 0.0]];
    assert_eq!(scanned(true, 0), short);
}

#[test]
fn axes_of_unknown_extent_are_not_squeezed() {
    let model = || {
        nodes(
            &[("x", tensor(Float, Some(&[-1, 1, 2])))],
            vec![node("Squeeze", "x", "y", vec![])],
            "y",
        )
    };
    let outputs = run(13, model(), vec![floats(&[3, 1, 2], &[0.0; 6])]).expect("it runs");
    assert_eq!(outputs[0].as_tensor().map(Tensor::shape), Some(&[3, 2][..]));
    let outputs = run(13, model(), vec![floats(&[0, 1, 2], &[])]).expect("it runs");
    assert_eq!(outputs[0].as_tensor().map(Tensor::shape), Some(&[0, 2][..]));
    let error = run(13, model(), vec![floats(&[1, 1, 2], &[0.0; 2])]).expect_err("1 is squeezed");
    assert!(error.contains("keeps axis 0"), "{error}");
}

#[test]
fn determinants_change_sign_with_rows() {
    let det = |shape: &[usize], values: &[f32]| {
        let dims: Vec<i64> = shape.iter().map(|&extent| extent as i64).collect();
        let model = nodes(
            &[("x", tensor(Float, Some(&dims)))],
            vec![node("Det", "x", "y", vec![])],
            "y",
        );
        run(22, model, vec![floats(shape, values)]).map(|outputs| numbers(&outputs[0]))
    };
    let rows = [0.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0, 0.0, 0.0];
    assert_eq!(det(&[3, 3], &rows), Ok(vec![-24.0]));
    let two = [1.0, 2.0, 2.0, 4.0, 0.0, 1.0, 1.0, 0.0];
    assert_eq!(det(&[2, 2, 2], &two), Ok(vec![0.0, -1.0]));
    assert_eq!(det(&[1, 0, 0], &[]), Ok(vec![1.0]));
    for position in 0..4 {
        let mut values = [1.0, 2.0, 0.0, 1.0];
        values[position] = f32::NAN;
        assert!(
            det(&[2, 2], &values).expect("it runs")[0].is_nan(),
            "{position}"
        );
    }
    assert!(
        det(&[2, 3], &[0.0; 6])
            .expect_err("no square")
            .contains("Det")
    );
}

/// A dropout of ones.
fn dropped(opset: i64, training: bool, ratio: f32, seed: i64) -> Vec<f64> {
    let attributes = match opset {
        6 => vec![int("is_test", i64::from(!training)), float("ratio", ratio)],
        _ => vec![int("seed", seed)],
    };
    let x = floats(&[200], &[1.0; 200]);
    let mut given = vec![("x", tensor(Float, Some(&[200])))];
    let (mut inputs, mut operands) = (vec![x], "x");
    if opset > 6 {
        given.push(("ratio", tensor(Float, Some(&[]))));
        given.push(("training", tensor(Bool, Some(&[]))));
        inputs.push(floats(&[], &[ratio]));
        inputs.push(
            Tensor::from_bools(&[], &[training])
                .expect("a tensor")
                .into(),
        );
        operands = "x ratio training";
    }
    let model = nodes(
        &given,
        vec![node("Dropout", operands, "y", attributes)],
        "y",
    );
    numbers(&run(opset, model, inputs).expect("it runs")[0])
}

#[test]
fn dropout_keeps_and_scales_its_share() {
    for opset in [6, 13] {
        let y = dropped(opset, true, 0.75, 3);
        assert!(y.iter().all(|&y| y == 0.0 || y == 4.0));
        let kept = y.iter().filter(|&&y| y != 0.0).count();
        assert!((20..80).contains(&kept), "{kept} of 200");
        assert_eq!(dropped(opset, false, 0.75, 3), [1.0; 200]);
        assert_eq!(dropped(opset, true, 0.0, 3), [1.0; 200]);
    }
    assert_eq!(dropped(13, true, 0.5, 1), dropped(13, true, 0.5, 1));
    assert_ne!(dropped(13, true, 0.5, 1), dropped(13, true, 0.5, 2));
}

/// A loop that appends its input to a sequence that begins empty, and what follows it.
fn collected(after: &str, results: &str) -> alula_onnx::proto::GraphProto {
    let scalar = |dtype| tensor(dtype, Some(&[]));
    let body = nodes(
        &[
            ("k", scalar(Int64)),
            ("go", scalar(Bool)),
            ("list", sequence(tensor(Float, None))),
        ],
        vec![
            node("Identity", "go", "on", vec![]),
            node("SequenceInsert", "list x", "longer", vec![]),
        ],
        "on longer",
    );
    nodes(
        &[
            ("x", tensor(Float, Some(&[-1]))),
            ("trips", scalar(Int64)),
            ("at", scalar(Int64)),
        ],
        vec![
            node("SequenceEmpty", "", "empty", vec![]),
            node("Loop", "trips - empty", "list", vec![graph("body", body)]),
            node("SequenceAt", "list at", "one", vec![]),
            node(after, "one", results, vec![]),
        ],
        results,
    )
}

#[test]
fn what_a_loop_collects_has_the_rank_of_what_it_puts_in() {
    let model = collected("Neg", "y");
    let inputs = vec![
        floats(&[2], &[1.0, 2.0]),
        Tensor::scalar(3_i64).into(),
        Tensor::scalar(2_i64).into(),
    ];
    let outputs = run(13, model, inputs).expect("it runs");
    assert_eq!(numbers(&outputs[0]), [-1.0, -2.0]);
}

#[test]
fn what_has_no_rank_leaves_the_graph_and_goes_nowhere_else() {
    let model = |after: &str| {
        nodes(
            &[
                ("list", sequence(tensor(Float, None))),
                ("at", tensor(Int64, Some(&[]))),
            ],
            vec![
                node("SequenceAt", "list at", "one", vec![]),
                node(after, "one", "y", vec![]),
            ],
            "y",
        )
    };
    let list = Value::Sequence(vec![floats(&[1], &[1.0]), floats(&[1, 2], &[2.0, 3.0])]);
    let at = || Value::from(Tensor::scalar(1_i64));
    let outputs = run(13, model("Identity"), vec![list, at()]).expect("it runs");
    assert_eq!(outputs, [floats(&[1, 2], &[2.0, 3.0])]);
    let error = import(13, model("Neg")).expect_err("it is refused");
    assert!(
        error.contains("Neg") && error.contains("whose rank is not known"),
        "{error}"
    );
}

#[test]
fn causal_attention_hides_later_keys_whatever_the_filter() {
    let qkv = |name| (name, tensor(Float, Some(&[1, 2, 1])));
    let attributes = vec![
        int("num_heads", 1),
        int("unidirectional", 1),
        float("mask_filter_value", -1.5),
    ];
    let node = node(
        "com.microsoft::MultiHeadAttention",
        "q k v",
        "y",
        attributes,
    );
    let graph = nodes(&[qkv("q"), qkv("k"), qkv("v")], vec![node], "y");
    let given = vec![
        floats(&[1, 2, 1], &[-3.0, 0.0]),
        floats(&[1, 2, 1], &[2.0, 1.0]),
        floats(&[1, 2, 1], &[5.0, 7.0]),
    ];
    let y = run(17, graph, given).expect("it runs");
    assert_eq!(numbers(&y[0]), [5.0, 6.0]);
}

#[test]
fn causal_attention_needs_a_key_for_each_query() {
    let of = |name, length| (name, tensor(Float, Some(&[1, length, 1])));
    let attributes = vec![int("num_heads", 1), int("unidirectional", 1)];
    let node = node(
        "com.microsoft::MultiHeadAttention",
        "q k v",
        "y",
        attributes,
    );
    let graph = nodes(&[of("q", 2), of("k", 3), of("v", 3)], vec![node], "y");
    let error = import(17, graph).expect_err("who comes after whom is open");
    assert!(error.contains("MultiHeadAttention"), "{error}");
}

#[test]
fn skip_norm_without_a_shift_has_the_same_epsilon() {
    let x = |name| (name, tensor(Float, Some(&[1, 1, 2])));
    let inputs = [x("x"), x("skip"), ("gamma", tensor(Float, Some(&[2])))];
    let node = node(
        "com.microsoft::SkipLayerNormalization",
        "x skip gamma",
        "y",
        vec![],
    );
    let near = floats(&[1, 1, 2], &[1e-3, 0.0]);
    let given = vec![near, floats(&[1, 1, 2], &[0.0; 2]), floats(&[2], &[1.0; 2])];
    let y = run(17, nodes(&inputs, vec![node], "y"), given).expect("it runs");
    let y = numbers(&y[0]);
    assert!(
        (y[0] - 1.0).abs() < 1e-4 && (y[1] + 1.0).abs() < 1e-4,
        "{y:?}"
    );
}
