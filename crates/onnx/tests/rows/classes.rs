//! Classifiers: labels that are strings, runs of no rows, and what is refused by name.

use alula_onnx::proto::attribute_proto::AttributeType;
use alula_onnx::proto::tensor_proto::DataType::{Float, String as Text};
use alula_onnx::proto::{AttributeProto, TensorProto};
use alula_tensor::Value;

use crate::build::{floats, import, int, ints, node, nodes, numbers, run, tensor, text, texts};

fn list(name: &str, values: &[f32]) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Floats.into()),
        floats: values.to_vec(),
        ..AttributeProto::default()
    }
}

/// Feature 1 is above 0.5, or not.
fn stump(feature: i64, class_ids: &[i64], weights: &[f32]) -> Vec<AttributeProto> {
    vec![
        ints("nodes_treeids", &[0, 0, 0]),
        ints("nodes_nodeids", &[0, 1, 2]),
        ints("nodes_featureids", &[feature, 0, 0]),
        texts("nodes_modes", &["BRANCH_GT", "LEAF", "LEAF"]),
        list("nodes_values", &[0.5, 0.0, 0.0]),
        ints("nodes_truenodeids", &[1, 0, 0]),
        ints("nodes_falsenodeids", &[2, 0, 0]),
        ints("class_treeids", &[0, 0]),
        ints("class_nodeids", &[1, 2]),
        ints("class_ids", class_ids),
        list("class_weights", weights),
    ]
}

fn classified(
    operator: &str,
    shape: &[usize],
    values: &[f32],
    attributes: Vec<AttributeProto>,
) -> Result<Vec<Value>, String> {
    let dims: Vec<i64> = shape.iter().map(|extent| *extent as i64).collect();
    let inputs = [("x", tensor(Float, Some(&dims)))];
    let node = node(&format!("ai.onnx.ml::{operator}"), "x", "y z", attributes);
    run(
        21,
        nodes(&inputs, vec![node], "y z"),
        vec![floats(shape, values)],
    )
}

fn words(value: &Value) -> Vec<String> {
    let strings = value.as_tensor().and_then(|tensor| tensor.strings());
    strings.expect("strings").to_vec()
}

#[test]
fn one_share_makes_two_scores() {
    let mut attributes = stump(1, &[0, 0], &[0.75, 0.25]);
    attributes.push(texts("classlabels_strings", &["no", "yes"]));
    let values = [0.0, 1.0, 0.0, 0.0];
    let outputs = classified("TreeEnsembleClassifier", &[2, 2], &values, attributes);
    let outputs = outputs.expect("it runs");
    assert_eq!(words(&outputs[0]), ["yes", "no"]);
    assert_eq!(numbers(&outputs[1]), [0.25, 0.75, 0.75, 0.25]);
}

#[test]
fn feature_that_there_is_not_is_refused() {
    let mut attributes = stump(2, &[0, 0], &[0.75, 0.25]);
    attributes.push(ints("classlabels_int64s", &[0, 1]));
    let given = classified("TreeEnsembleClassifier", &[1, 2], &[0.0, 1.0], attributes);
    let error = given.expect_err("it is refused");
    assert!(error.contains("axis 1 of f32[1, 2]"), "{error}");
}

#[test]
fn labels_are_extracted() {
    let value = TensorProto {
        data_type: Some(Text.into()),
        dims: vec![3],
        string_data: ["a", "b", "c"]
            .map(|word| word.as_bytes().to_vec())
            .to_vec(),
        ..TensorProto::default()
    };
    let value = AttributeProto {
        name: Some("value".to_owned()),
        r#type: Some(AttributeType::Tensor.into()),
        t: Some(value),
        ..AttributeProto::default()
    };
    let graph = nodes(
        &[("x", tensor(Float, Some(&[2, 3])))],
        vec![
            node("Constant", "", "labels", vec![value]),
            node("ArgMax", "x", "at", vec![int("axis", 1)]),
            node(
                "ai.onnx.ml::ArrayFeatureExtractor",
                "labels at",
                "y",
                vec![],
            ),
        ],
        "y",
    );
    let given = floats(&[2, 3], &[0.1, 0.2, 0.7, 0.5, 0.3, 0.2]);
    let outputs = run(21, graph, vec![given]).expect("it runs");
    assert_eq!(words(&outputs[0]), ["c", "a"]);
}

#[test]
fn what_engines_differ_in_is_refused() {
    let tree = |labels: &[i64], more: AttributeProto| {
        let mut attributes = stump(1, &[0, 0], &[0.75, 0.25]);
        attributes.extend([ints("classlabels_int64s", labels), more]);
        let given = classified("TreeEnsembleClassifier", &[1, 2], &[0.0, 1.0], attributes);
        given.expect_err("it is refused")
    };
    let none = || text("post_transform", "NONE");
    let probit = text("post_transform", "PROBIT");
    assert!(tree(&[7], none()).contains("a classifier of one class"));
    assert!(tree(&[0, 1], probit).contains("PROBIT of the one score"));
    assert!(tree(&[0, 1], list("base_values", &[0.1, 0.2])).contains("2 base values"));
}

/// A machine of three classes with chances.
fn machine(width: i64) -> Vec<AttributeProto> {
    let vectors = vec![0.5_f32; 3 * width as usize];
    vec![
        texts("classlabels_strings", &["a", "b", "c"]),
        text("kernel_type", "RBF"),
        list("kernel_params", &[0.3, 0.0, 3.0]),
        ints("vectors_per_class", &[1, 1, 1]),
        list("support_vectors", &vectors),
        list("coefficients", &[1.0, -0.5, 0.25, 0.5, -1.0, 0.75]),
        list("rho", &[0.1, -0.2, 0.3]),
        list("prob_a", &[-1.0, -1.5, -0.5]),
        list("prob_b", &[0.1, 0.0, -0.1]),
    ]
}

#[test]
fn chances_add_up_to_one() {
    let values = [0.1, 0.9, -3.0, 2.0];
    let outputs = classified("SVMClassifier", &[2, 2], &values, machine(2)).expect("it runs");
    for row in numbers(&outputs[1]).chunks(3) {
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{row:?}");
    }
}

#[test]
fn no_rows_have_no_labels() {
    let outputs = classified("SVMClassifier", &[0, 2], &[], machine(2)).expect("it runs");
    let shapes = outputs
        .iter()
        .map(|output| output.as_tensor().map(|t| t.shape().to_vec()));
    assert_eq!(
        shapes.collect::<Vec<_>>(),
        [Some(vec![0]), Some(vec![0, 3])]
    );
}

#[test]
fn vectors_of_another_width_are_refused() {
    let inputs = [("x", tensor(Float, Some(&[2, 1])))];
    let node = node("ai.onnx.ml::SVMClassifier", "x", "y z", machine(2));
    let error = import(21, nodes(&inputs, vec![node], "y z")).expect_err("it is refused");
    assert!(error.contains("SVMClassifier"), "{error}");
}

#[test]
fn regression_has_no_transformation() {
    let inputs = [("x", tensor(Float, Some(&[2, 2])))];
    let attributes = vec![
        list("coefficients", &[1.0, 2.0]),
        list("rho", &[0.5]),
        int("n_supports", 0),
        text("post_transform", "LOGISTIC"),
    ];
    let node = node("ai.onnx.ml::SVMRegressor", "x", "y", attributes);
    let error = import(21, nodes(&inputs, vec![node], "y")).expect_err("it is refused");
    assert!(error.contains("a post_transform of one number"), "{error}");
}
