//! Small models of nodes that ONNX's own tests and the judges have no case of.

use alula_onnx::proto::attribute_proto::AttributeType;
use alula_onnx::proto::tensor_proto::DataType::{
    Float, Float8e8m0, Int32, Int64, String as Text, Uint8,
};
use alula_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, OperatorSetIdProto, TensorProto, TypeProto,
};
use alula_tensor::{DType, Map, Tensor, Value};

use crate::build::{TRAINING, float, floats, int, ints, map, node, nodes, tensor, text, texts};
use crate::cases::{Case, Inputs, run};

const OPSET: i64 = 25;
const MICROSOFT: &str = "com.microsoft";
const LEARNING: &str = "ai.onnx.ml";

/// A graph as a model.
pub(crate) fn model(graph: GraphProto) -> ModelProto {
    let opset = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    };
    let domains = [(TRAINING, 1), (MICROSOFT, 1), (LEARNING, 4)];
    let mut opsets = vec![opset("", OPSET)];
    opsets.extend(domains.map(|(domain, version)| opset(domain, version)));
    ModelProto {
        ir_version: Some(11),
        opset_import: opsets,
        graph: Some(graph),
        ..ModelProto::default()
    }
}

fn case(name: &str, at: usize, graph: GraphProto, inputs: Vec<Value>) -> Case {
    let model = model(graph);
    let inputs = Inputs::Values(inputs);
    let outputs = run(&model, &inputs).unwrap_or_else(|error| panic!("{name}: {error}"));
    Case {
        name: name.to_owned(),
        model,
        at,
        inputs,
        outputs,
    }
}

fn texts_of(values: &[&str]) -> Value {
    let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
    let count = values.len();
    Tensor::from_strings(&[count], values)
        .expect("a tensor")
        .into()
}

/// A float type as an attribute.
fn float_type(name: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::TypeProto.into()),
        tp: Some(tensor(Float, Some(&[2]))),
        ..AttributeProto::default()
    }
}

fn constants() -> Vec<Case> {
    let value = AttributeProto {
        name: Some("value".to_owned()),
        r#type: Some(AttributeType::Tensor.into()),
        t: Some(TensorProto {
            data_type: Some(Float.into()),
            float_data: vec![1.5],
            ..TensorProto::default()
        }),
        ..AttributeProto::default()
    };
    let values = [
        value,
        float("value_float", 1.5),
        AttributeProto {
            name: Some("value_floats".to_owned()),
            r#type: Some(AttributeType::Floats.into()),
            floats: vec![1.5, -2.0],
            ..AttributeProto::default()
        },
        int("value_int", 3),
        ints("value_ints", &[3, -4]),
        text("value_string", "a"),
        texts("value_strings", &["a", "b"]),
    ];
    let graph = |value| nodes(&[], vec![node("Constant", "", "y", vec![value])], "y");
    let cases = values
        .into_iter()
        .map(|value| case("made_constant", 0, graph(value), vec![]));
    cases.collect()
}

fn random() -> Vec<Case> {
    let normal = || vec![float("mean", 0.5), float("scale", 2.0)];
    let uniform = || vec![float("low", 0.5), float("high", 2.0)];
    let mut cases = Vec::new();
    for (op_type, range) in [("RandomNormal", normal()), ("RandomUniform", uniform())] {
        let mut attributes = range;
        attributes.extend([int("dtype", Float as i64), float("seed", 7.0)]);
        let like = format!("{op_type}Like");
        let inputs = [("x", tensor(Float, Some(&[3])))];
        let graph = nodes(
            &inputs,
            vec![node(&like, "x", "y", attributes.clone())],
            "y",
        );
        cases.push(case(
            "made_random_like",
            0,
            graph,
            vec![floats(&[3], &[0.0; 3])],
        ));
        attributes.push(ints("shape", &[3]));
        let graph = nodes(&[], vec![node(op_type, "", "y", attributes)], "y");
        cases.push(case("made_random", 0, graph, vec![]));
    }
    let attributes = vec![
        int("dtype", Int64 as i64),
        int("sample_size", 9),
        float("seed", 7.0),
    ];
    let graph = nodes(
        &[("x", tensor(Float, Some(&[1, 3])))],
        vec![node("Multinomial", "x", "y", attributes)],
        "y",
    );
    let x = floats(&[1, 3], &[0.0, 1.0, 0.5]);
    cases.push(case("made_multinomial", 0, graph, vec![x]));
    cases
}

fn sequences() -> Vec<Case> {
    let x = || [("x", tensor(Float, Some(&[2])))];
    let joined = vec![
        node("SequenceConstruct", "x x", "s", vec![]),
        node(
            "ConcatFromSequence",
            "s",
            "y",
            vec![int("axis", 0), int("new_axis", 0)],
        ),
    ];
    let stacked = vec![
        node("SequenceConstruct", "x x", "s", vec![]),
        node(
            "ConcatFromSequence",
            "s",
            "y",
            vec![int("axis", 1), int("new_axis", 1)],
        ),
    ];
    let empty = vec![
        node("SequenceEmpty", "", "e", vec![int("dtype", Float as i64)]),
        node("SequenceInsert", "e x", "s", vec![]),
        node("ConcatFromSequence", "s", "y", vec![int("axis", 0)]),
    ];
    let nothing = vec![
        node("Optional", "", "o", vec![float_type("type")]),
        node("OptionalHasElement", "o", "y", vec![]),
    ];
    let given = || vec![floats(&[2], &[1.0, 2.0])];
    vec![
        case("made_joined", 1, nodes(&x(), joined, "y"), given()),
        case("made_stacked", 1, nodes(&x(), stacked, "y"), given()),
        case("made_empty", 0, nodes(&x(), empty, "y"), given()),
        case("made_nothing", 0, nodes(&[], nothing, "y"), vec![]),
    ]
}

fn training() -> Vec<Case> {
    let one = |name| (name, tensor(Float, Some(&[2])));
    let inputs = [
        ("r", tensor(Float, Some(&[]))),
        ("t", tensor(Int64, Some(&[]))),
        one("x"),
        one("g"),
        one("h"),
    ];
    let attributes = vec![
        float("decay_factor", 0.5),
        float("epsilon", 1e-3),
        float("norm_coefficient", 0.1),
    ];
    let step = node(
        "ai.onnx.preview.training::Adagrad",
        "r t x g h",
        "y n",
        attributes,
    );
    let pair = |a, b| floats(&[2], &[a, b]);
    let given = vec![
        floats(&[], &[0.1]),
        Tensor::scalar(3_i64).into(),
        pair(1.0, -2.0),
        pair(0.5, 0.25),
        pair(2.0, 4.0),
    ];
    let adagrad = case("made_adagrad", 0, nodes(&inputs, vec![step], "y n"), given);
    let attributes = vec![texts("xs", &["a"]), texts("zs", &["b"]), text("y", "p")];
    let slopes = vec![
        node("Mul", "a b", "p", vec![]),
        node("ai.onnx.preview.training::Gradient", "a b", "y", attributes),
    ];
    let given = vec![pair(1.0, 2.0), pair(3.0, 4.0)];
    let graph = nodes(&[one("a"), one("b")], slopes, "y");
    vec![adagrad, case("made_gradient", 1, graph, given)]
}

fn others() -> Vec<Case> {
    let round = vec![text("round_mode", "up")];
    let inputs = [
        ("x", tensor(Float, Some(&[3]))),
        ("like", tensor(Float8e8m0, Some(&[1]))),
    ];
    let like = nodes(&inputs, vec![node("CastLike", "x like", "y", round)], "y");
    let zeros = Tensor::zeros(DType::F8E8M0, &[1]).expect("a tensor");
    let given = vec![floats(&[3], &[1.1, 2.5, 3.0]), zeros.into()];
    let cast = case("made_cast_like", 0, like, given);

    let attributes = vec![
        int("ceil_mode", 1),
        ints("kernel_shape", &[3]),
        ints("strides", &[2]),
    ];
    let inputs = [("x", tensor(Float, Some(&[1, 1, 4])))];
    let pool = nodes(&inputs, vec![node("LpPool", "x", "y", attributes)], "y");
    let pool = case(
        "made_lp_pool",
        0,
        pool,
        vec![floats(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0])],
    );

    let attributes = vec![text("case_change_action", "LOWER"), text("locale", "en_US")];
    let inputs = [("x", tensor(Text, Some(&[1])))];
    let words = node("StringNormalizer", "x", "y", attributes);
    let words = nodes(&inputs, vec![words], "y");
    let words = case("made_words", 0, words, vec![texts_of(&["ISI"])]);
    vec![cast, pool, words]
}

/// Nodes of other domains.
fn vendors() -> Vec<Case> {
    let attributes = vec![
        text("activation", "HardSigmoid"),
        float("activation_alpha", 0.25),
        float("activation_beta", 0.4),
        int("transB", 1),
    ];
    let one = |name| (name, tensor(Float, Some(&[1, 2])));
    let gemm = node("com.microsoft::FusedGemm", "a b", "y", attributes);
    let gemm = nodes(&[one("a"), one("b")], vec![gemm], "y");
    let given = vec![floats(&[1, 2], &[0.5, 1.0]), floats(&[1, 2], &[1.0, -0.25])];
    let gemm = case("made_fused_gemm", 0, gemm, given);

    let inputs = [
        ("q", tensor(Float, Some(&[1, 1, 2]))),
        ("k", tensor(Float, Some(&[1, 2, 2]))),
        ("m", tensor(Int32, Some(&[1, 2]))),
    ];
    let attributes = vec![int("num_heads", 1), float("mask_filter_value", -1.5)];
    let heads = node(
        "com.microsoft::MultiHeadAttention",
        "q k k - m",
        "y",
        attributes,
    );
    let mask = Tensor::from_slice(&[1, 2], &[1, 0]).expect("a tensor");
    let given = vec![
        floats(&[1, 1, 2], &[0.5, 1.0]),
        floats(&[1, 2, 2], &[1.0, -0.25, 0.5, 2.0]),
        mask.into(),
    ];
    let heads = case("made_heads", 0, nodes(&inputs, vec![heads], "y"), given);

    let list = |name: &str, values: &[f32]| AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Floats.into()),
        floats: values.to_vec(),
        ..AttributeProto::default()
    };
    let attributes = vec![
        list("keys_floats", &[0.5, 1.5]),
        list("values_floats", &[3.0, 4.0]),
        float("default_float", -1.0),
    ];
    let encoder = node("ai.onnx.ml::LabelEncoder", "x", "y", attributes);
    let inputs = [("x", tensor(Float, Some(&[3])))];
    let given = vec![floats(&[3], &[0.5, 1.5, 7.0])];
    let encoder = case("made_labels", 0, nodes(&inputs, vec![encoder], "y"), given);
    vec![gemm, heads, encoder]
}

/// Nodes that make maps, and that take them.
fn maps() -> Vec<Case> {
    let table = || ("x", tensor(Float, Some(&[1, 2])));
    let zipped = |labels: AttributeProto| {
        let node = node("ai.onnx.ml::ZipMap", "x", "y", vec![labels]);
        let given = vec![floats(&[1, 2], &[0.5, 1.5])];
        case("made_map", 0, nodes(&[table()], vec![node], "y"), given)
    };
    let keyed = |keys: Value, values: [f32; 2]| {
        let keys = keys.into_tensor().expect("a tensor");
        let values = Tensor::from_slice(&[2], &values).expect("a tensor");
        Value::from(Map::new(keys, values).expect("a map"))
    };
    let taken = |op_type: &str, ty: TypeProto, attributes: Vec<AttributeProto>, given: Value| {
        let node = node(op_type, "x", "y", attributes);
        case(
            "made_of_map",
            0,
            nodes(&[("x", ty)], vec![node], "y"),
            vec![given],
        )
    };
    let numbered = || keyed(Tensor::from_i64s(&[2, 0]).into(), [0.5, 1.5]);
    let named = keyed(texts_of(&["b", "a"]), [0.5, 1.5]);
    let sparse = vec![
        text("cast_to", "TO_INT64"),
        text("map_form", "SPARSE"),
        int("max_map", 4),
    ];
    let (vectorizer, of_numbers) = ("ai.onnx.ml::DictVectorizer", || map(Int64, Float));
    let places = vec![ints("int64_vocabulary", &[2, 1, 0])];
    let words = vec![texts("string_vocabulary", &["a", "c", "b"])];
    vec![
        zipped(ints("classlabels_int64s", &[3, 1])),
        zipped(texts("classlabels_strings", &["b", "a"])),
        taken("ai.onnx.ml::CastMap", of_numbers(), sparse, numbered()),
        taken(vectorizer, of_numbers(), places, numbered()),
        taken(vectorizer, map(Text, Float), words, named),
    ]
}

/// Nodes of images: a crop that leaves its image, pads of unlike sides, windows beyond the end.
fn images() -> Vec<Case> {
    let counted = |dims: &[usize]| {
        let count: usize = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|k| k as f32).collect();
        floats(dims, &values)
    };
    let inputs = [
        ("x", tensor(Float, Some(&[1, 1, 2, 2]))),
        ("r", tensor(Float, Some(&[1, 4]))),
        ("i", tensor(Int32, Some(&[1]))),
        ("s", tensor(Int32, Some(&[2]))),
    ];
    let attributes = vec![float("extrapolation_value", -1.0)];
    let crop = node("com.microsoft::CropAndResize", "x r i s", "y", attributes);
    let given = vec![
        counted(&[1, 1, 2, 2]),
        floats(&[1, 4], &[0.0, 0.0, 2.0, 1.0]),
        Tensor::from_slice(&[1], &[0]).expect("a tensor").into(),
        Tensor::from_slice(&[2], &[2, 2]).expect("a tensor").into(),
    ];
    let crop = case("made_crop", 0, nodes(&inputs, vec![crop], "y"), given);

    let inputs = [
        ("x", tensor(Float, Some(&[1, 3, 3, 1]))),
        ("w", tensor(Float, Some(&[1, 1, 2, 2]))),
    ];
    let attributes = vec![ints("pads", &[1, 0, 0, 0])];
    let conv = node("com.microsoft::NhwcConv", "x w", "y", attributes);
    let given = vec![counted(&[1, 3, 3, 1]), counted(&[1, 1, 2, 2])];
    let conv = case("made_nhwc_conv", 0, nodes(&inputs, vec![conv], "y"), given);

    let inputs = [("x", tensor(Uint8, Some(&[1, 4, 1])))];
    let attributes = vec![
        int("ceil_mode", 1),
        ints("kernel_shape", &[3]),
        ints("strides", &[2]),
    ];
    let pool = node("com.microsoft::NhwcMaxPool", "x", "y", attributes);
    let given = Tensor::from_slice(&[1, 4, 1], &[1_u8, 2, 3, 4]).expect("a tensor");
    let pool = nodes(&inputs, vec![pool], "y");
    vec![
        crop,
        conv,
        case("made_nhwc_pool", 0, pool, vec![given.into()]),
    ]
}

/// The cases; each runs.
pub(crate) fn made() -> Vec<Case> {
    let kinds = [
        constants(),
        random(),
        sequences(),
        training(),
        others(),
        vendors(),
        images(),
        maps(),
    ];
    kinds.into_iter().flatten().collect()
}
