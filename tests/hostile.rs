//! Models that ask for the absurd, through the whole pipeline: a clear error or the right answer,
//! at once, in little memory, and never a panic. Sizes come as constants of the model, which the
//! importer sees, and as inputs, which only a run does.

use alula::{Tensor, Value};
use alula_onnx::proto::tensor_proto::DataType;
use alula_onnx::proto::{ModelProto, NodeProto, TensorProto};
use alula_tests::model::{
    body, branch, call, floats, function, int, ints, model, node, tensor, with_int, with_ints,
};
use alula_tests::pipeline::{peak_bytes, run, run_bytes, soon};
use prost::Message;

const HUGE: i64 = 1 << 62;
const BYTES_MAX: u64 = 256 << 20;

/// What must become of a model.
enum Fate {
    /// An error that says one of these.
    Refused(&'static [&'static str]),
    /// Results, the first of this shape and these elements as f64.
    Right(&'static [usize], &'static [f64]),
}
use Fate::{Refused, Right};

/// Runs a model and compares its fate with the one that it must have.
fn expect(name: &str, model: &ModelProto, inputs: &[(&str, Value)], fate: &Fate) {
    let before = peak_bytes();
    let result = soon(name, || run(model, inputs));
    // Other tests run beside this one, and code generators are not small.
    if let (Some(before), Some(after)) = (before, peak_bytes()) {
        let grown = after.saturating_sub(before);
        assert!(grown < BYTES_MAX, "{name} took {} MiB", grown >> 20);
    }
    match (result, fate) {
        (Err(error), Refused(words)) => {
            let text = error.to_string();
            let found = words.iter().any(|word| text.contains(word));
            assert!(found, "{name}: none of {words:?} in: {text}");
        }
        (Ok(outputs), Right(shape, values)) => {
            let tensor = outputs[0].1.as_tensor().expect("a tensor");
            let given: Vec<f64> = tensor.to_scalars().iter().map(|s| s.to_f64()).collect();
            assert_eq!((tensor.shape(), &given[..]), (*shape, *values), "{name}");
        }
        (Ok(outputs), Refused(_)) => panic!("{name} was not refused: {outputs:?}"),
        (Err(error), Right(..)) => panic!("{name}: {error}"),
    }
}

/// `x = [[1, 2, 3], [4, 5, 6]]`.
fn x() -> (&'static str, Value) {
    let values = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let tensor = Tensor::from_slice(&[2, 3], &values).expect("six values");
    ("x", tensor.into())
}

/// Both variants of nodes over `x: f32[2, 3]` and vectors of integers: as initializers, and as
/// inputs whose values only the run knows.
fn both(name: &str, nodes: &[NodeProto], vectors: &[(&str, &[i64])], fate: &Fate) {
    both_with(name, nodes, vectors, &[], fate, fate);
}

fn both_with(
    name: &str,
    nodes: &[NodeProto],
    vectors: &[(&str, &[i64])],
    constants: &[TensorProto],
    fixed: &Fate,
    open: &Fate,
) {
    let x_type = tensor("x", DataType::Float, "2 3");
    let mut initializers: Vec<TensorProto> = constants.to_vec();
    initializers.extend(vectors.iter().map(|(name, values)| ints(name, values)));
    let constant = model(vec![x_type.clone()], initializers, nodes.to_vec());
    expect(&format!("{name}, constant"), &constant, &[x()], fixed);
    let (mut types, mut inputs) = (vec![x_type], vec![x()]);
    for (name, values) in vectors {
        types.push(tensor(name, DataType::Int64, &values.len().to_string()));
        let value = Tensor::from_slice(&[values.len()], values).expect("the count fits");
        inputs.push((name, value.into()));
    }
    let dynamic = model(types, constants.to_vec(), nodes.to_vec());
    expect(&format!("{name}, input"), &dynamic, &inputs, open);
}

const TOO_LARGE: &Fate = &Refused(&[
    "memory",
    "too large",
    "overflow",
    "beyond",
    "64 bits",
    "out of range",
]);

#[test]
fn constant_of_shape() {
    let nodes = [node("ConstantOfShape", &["s"], &["y"])];
    both(
        "2^40 elements",
        &nodes,
        &[("s", &[1 << 20, 1 << 20])],
        TOO_LARGE,
    );
    both("2^124 elements", &nodes, &[("s", &[HUGE, HUGE])], TOO_LARGE);
    both(
        "a negative extent",
        &nodes,
        &[("s", &[-5])],
        &Refused(&["negative", "no size"]),
    );
    both(
        "no elements",
        &nodes,
        &[("s", &[0, 5])],
        &Right(&[0, 5], &[]),
    );
    // Known at import, an absurd extent is refused; a run finds nothing to make.
    let nothing = Right(&[0, HUGE as usize], &[]);
    both_with(
        "none of 2^62",
        &nodes,
        &[("s", &[0, HUGE])],
        &[],
        TOO_LARGE,
        &nothing,
    );
}

#[test]
fn expand() {
    let nodes = [node("Expand", &["x", "s"], &["y"])];
    both("to 2^62", &nodes, &[("s", &[HUGE, 2, 3])], TOO_LARGE);
    both("to 2^40", &nodes, &[("s", &[1 << 40, 2, 3])], TOO_LARGE);
    both(
        "no broadcast",
        &nodes,
        &[("s", &[5, 3])],
        &Refused(&["broadcast", "equal"]),
    );
    both(
        "negative",
        &nodes,
        &[("s", &[-2, 3])],
        &Refused(&["negative", "no size", "broadcast", "equal"]),
    );
    both(
        "as it is",
        &nodes,
        &[("s", &[1, 1])],
        &Right(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    );
}

#[test]
fn tile_and_reshape() {
    let tile = [node("Tile", &["x", "s"], &["y"])];
    both("tile 2^62", &tile, &[("s", &[HUGE, HUGE])], TOO_LARGE);
    both("tile 2^40", &tile, &[("s", &[1 << 40, 1])], TOO_LARGE);
    both(
        "tile -1",
        &tile,
        &[("s", &[-1, 1])],
        &Refused(&["negative", "no size"]),
    );
    let reshape = [node("Reshape", &["x", "s"], &["y"])];
    let elements = &Refused(&[
        "elements",
        "equal",
        "too large",
        "beyond",
        "no size",
        "overflow",
        "memory",
    ]);
    both("reshape 2^62", &reshape, &[("s", &[HUGE, -1])], elements);
    both("reshape to 7", &reshape, &[("s", &[7])], elements);
    both(
        "reshape -1 -1",
        &reshape,
        &[("s", &[-1, -1])],
        &Refused(&["-1", "no size", "equal"]),
    );
    both(
        "reshape -7",
        &reshape,
        &[("s", &[-7])],
        &Refused(&["negative", "elements", "no size", "-7", "equal"]),
    );
}

#[test]
fn slices() {
    let nodes = [node("Slice", &["x", "s", "e", "a", "t"], &["y"])];
    let slice = |name: &str, s: i64, e: i64, t: i64, fate: &Fate, open: &Fate| {
        let constants = [ints("a", &[1]), ints("t", &[t])];
        both_with(
            name,
            &nodes,
            &[("s", &[s]), ("e", &[e])],
            &constants,
            fate,
            open,
        );
    };
    let step = &Refused(&["step"]);
    slice("step 0", 0, 3, 0, step, step);
    let (all, none) = (
        &Right(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        &Right(&[2, 0], &[]),
    );
    slice("everything", i64::MIN, i64::MAX, 1, all, all);
    slice("nothing", i64::MAX, i64::MIN, 1, none, none);
    let back = &Right(&[2, 3], &[3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
    slice("backwards", i64::MAX, i64::MIN, -1, back, back);
    slice(
        "a far step",
        0,
        3,
        i64::MAX,
        &Right(&[2, 1], &[1.0, 4.0]),
        &Right(&[2, 1], &[1.0, 4.0]),
    );
    slice(
        "a far step back",
        -1,
        i64::MIN,
        i64::MIN + 1,
        &Right(&[2, 1], &[3.0, 6.0]),
        &Right(&[2, 1], &[3.0, 6.0]),
    );
    let constants = [ints("s", &[0]), ints("e", &[3]), ints("a", &[1])];
    both_with(
        "steps",
        &nodes,
        &[("t", &[0])],
        &constants,
        step,
        // A run cannot refuse the value of an element yet: no step is taken.
        none,
    );
    let constants = [ints("s", &[0]), ints("e", &[3]), ints("t", &[1])];
    both_with(
        "axis",
        &nodes,
        &[("a", &[7])],
        &constants,
        &Refused(&["axis"]),
        // As above: no axis is 7, and none is cut.
        all,
    );
}

#[test]
fn one_hot() {
    let nodes = [
        node("OneHot", &["i", "depth", "values"], &["hot"]),
        node("Cast", &["hot"], &["y"]),
    ];
    let nodes = [nodes[0].clone(), with_int(nodes[1].clone(), "to", 1)];
    let constants = [ints("i", &[0, 2]), floats("values", &[0.0, 1.0])];
    for (name, depth, fate) in [
        ("depth 2^40", 1_i64 << 40, TOO_LARGE),
        ("depth 2^62", HUGE, TOO_LARGE),
        ("depth -3", -3, &Refused(&["negative", "no size"])),
        (
            "depth 3",
            3,
            &Right(&[2, 3], &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
        ),
    ] {
        both_with(name, &nodes, &[("depth", &[depth])], &constants, fate, fate);
    }
}

#[test]
fn pads() {
    let nodes = [node("Pad", &["x", "p"], &["y"])];
    both(
        "2^62",
        &nodes,
        &[("p", &[HUGE, HUGE, HUGE, HUGE])],
        TOO_LARGE,
    );
    both("2^40", &nodes, &[("p", &[1 << 40, 0, 0, 0])], TOO_LARGE);
    both(
        "more than there is",
        &nodes,
        &[("p", &[0, -2, 0, -2])],
        &Refused(&["negative", "no size"]),
    );
    both(
        "cropped",
        &nodes,
        &[("p", &[-1, 0, 0, -2])],
        &Right(&[1, 1], &[4.0]),
    );
    both(
        "a count that does not fit",
        &nodes,
        &[("p", &[1, 1])],
        &Refused(&["pads"]),
    );
}

#[test]
fn gathers() {
    let gather = [node("Gather", &["x", "i"], &["y"])];
    let far = model(
        vec![tensor("x", DataType::Float, "2 3")],
        vec![ints("i", &[0, 100])],
        gather.to_vec(),
    );
    expect("index 100 of 2", &far, &[x()], &Refused(&["100"]));
    let last = Right(&[1, 3], &[4.0, 5.0, 6.0]);
    both("index -1", &gather, &[("i", &[-1])], &last);
}

#[test]
fn ranges() {
    let nodes = [node("Range", &["s", "e", "d"], &["y"])];
    let range = |name: &str, s: i64, e: i64, d: i64, fate: &Fate| {
        let constant = model(
            vec![],
            vec![int("s", s), int("e", e), int("d", d)],
            nodes.to_vec(),
        );
        expect(&format!("{name}, constant"), &constant, &[], fate);
        let scalar = |name| tensor(name, DataType::Int64, "");
        let open = model(
            vec![scalar("s"), scalar("e"), scalar("d")],
            vec![],
            nodes.to_vec(),
        );
        let value = |v: i64| Value::from(Tensor::scalar(v));
        let inputs = [("s", value(s)), ("e", value(e)), ("d", value(d))];
        expect(&format!("{name}, input"), &open, &inputs, fate);
    };
    range("up", 1, 4, 1, &Right(&[3], &[1.0, 2.0, 3.0]));
    range("down", 1, 4, -1, &Right(&[0], &[]));
    range("2^62", 0, HUGE, 1, TOO_LARGE);
    range("2^40", 0, 1 << 40, 1, TOO_LARGE);
}

#[test]
fn windows() {
    let image = tensor("x", DataType::Float, "1 1 4 4");
    let values: Vec<f32> = (0..16).map(|k| k as f32).collect();
    let input = (
        "x",
        Value::from(Tensor::from_slice(&[1, 1, 4, 4], &values).expect("16 values")),
    );
    let kernel = TensorProto {
        dims: vec![1, 1, 2, 2],
        ..floats("w", &[1.0, 1.0, 1.0, 1.0])
    };
    let window = |name: &str, node: NodeProto, words: &'static [&'static str]| {
        let odd = model(vec![image.clone()], vec![kernel.clone()], vec![node]);
        expect(name, &odd, std::slice::from_ref(&input), &Refused(words));
    };
    let conv = || node("Conv", &["x", "w"], &["y"]);
    let pool = || with_ints(node("MaxPool", &["x"], &["y"]), "kernel_shape", &[2, 2]);
    window(
        "conv of stride 0",
        with_ints(conv(), "strides", &[0, 0]),
        &["stride"],
    );
    window(
        "pool of stride 0",
        with_ints(pool(), "strides", &[0, 1]),
        &["stride"],
    );
    window(
        "conv of dilation 0",
        with_ints(conv(), "dilations", &[0, 0]),
        &["dilation"],
    );
    window(
        "conv of pads 2^62",
        with_ints(conv(), "pads", &[HUGE, HUGE, HUGE, HUGE]),
        &["pad", "too large", "overflow"],
    );
    window(
        "pool of pads -2^62",
        with_ints(pool(), "pads", &[-HUGE, 0, 0, 0]),
        &["pad", "negative", "overflow"],
    );
    window(
        "conv of 2^62 groups",
        with_int(conv(), "group", HUGE),
        &["group"],
    );
    window("conv of 0 groups", with_int(conv(), "group", 0), &["group"]);
    window(
        "pool of kernel 0",
        with_ints(node("MaxPool", &["x"], &["y"]), "kernel_shape", &[0, 0]),
        &["kernel", "window"],
    );
    window(
        "pool of kernel 2^62",
        with_ints(
            node("AveragePool", &["x"], &["y"]),
            "kernel_shape",
            &[HUGE, HUGE],
        ),
        &["kernel", "window", "negative", "too large"],
    );
    // The window reaches beyond the image everywhere.
    let far = with_ints(conv(), "strides", &[i64::MAX, i64::MAX]);
    let far = with_ints(far, "dilations", &[i64::MAX, i64::MAX]);
    let far = model(vec![image], vec![kernel], vec![far]);
    let nothing = Right(&[1, 1, 0, 0], &[]);
    expect("far strides and dilations", &far, &[input], &nothing);
}

#[test]
fn counts() {
    let nodes = [node("TopK", &["x", "k"], &["y", "i"])];
    let count = &Refused(&["elements", "k ", "TopK", "topk", "top_k", "no size"]);
    both("top 2^40", &nodes, &[("k", &[1 << 40])], count);
    both("top -1", &nodes, &[("k", &[-1])], count);
    let split = [node("Split", &["x", "s"], &["y", "z"])];
    let parts = &Refused(&["parts", "split", "equal", "no size", "sizes", "overflow"]);
    both("parts of 2^62", &split, &[("s", &[HUGE, HUGE])], parts);
    both(
        "parts of -1 and 3",
        &split,
        &[("s", &[-1, 3])],
        &Refused(&["parts", "negative", "no size", "sizes"]),
    );
    let cases = [("eye 2^40", 1_i64 << 40), ("eye 2^62", HUGE)];
    for (name, n) in cases {
        let eye = [
            node("ConstantOfShape", &["s"], &["z"]),
            node("EyeLike", &["z"], &["y"]),
        ];
        both(name, &eye, &[("s", &[n, n])], TOO_LARGE);
    }
}

#[test]
fn loops() {
    let step = |name: &str| {
        let mut graph = body(vec![node("Neg", &["v"], &["w"])], &["c", "w"]);
        graph.input = vec![
            tensor("i", DataType::Int64, ""),
            tensor("c", DataType::Bool, ""),
            tensor("v", DataType::Float, "2 3"),
        ];
        graph.name = Some(name.to_owned());
        graph
    };
    let node =
        alula_tests::model::with_graph(node("Loop", &["n", "", "x"], &["y"]), "body", step("b"));
    let fate = Right(&[2, 3], &[-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]);
    both(
        "3 trips",
        std::slice::from_ref(&node),
        &[("n", &[3])],
        &fate,
    );
    both(
        "-3 trips",
        &[node],
        &[("n", &[-3])],
        &Right(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    );
}

/// A model of branches in branches. It is made, encoded and dropped on a stack of its own, because
/// messages so deep take one frame for each level.
fn nested(depth: usize) -> Vec<u8> {
    let leaf = |op: &str| body(vec![node(op, &["x"], &["t"])], &["t"]);
    let build = move || {
        let mut graph = leaf("Neg");
        for _ in 0..depth {
            graph = body(vec![branch("c", &["t"], graph, leaf("Abs"))], &["t"]);
        }
        let inputs = vec![
            tensor("x", DataType::Float, "2 3"),
            tensor("c", DataType::Bool, ""),
        ];
        let nodes = vec![branch("c", &["y"], graph, leaf("Exp"))];
        model(inputs, vec![], nodes).encode_to_vec()
    };
    let thread = std::thread::Builder::new().stack_size(1 << 30);
    let thread = thread.spawn(build).expect("a thread starts");
    thread.join().expect("the model is made")
}

#[test]
fn deep_nesting() {
    for depth in [10, 60, 200, 1000] {
        let bytes = nested(depth);
        let cond = Tensor::from_bools(&[], &[true]).expect("one value");
        let inputs = [x(), ("c", cond.into())];
        match soon("nested branches", || run_bytes(&bytes, &inputs)) {
            Ok(outputs) => {
                let tensor = outputs[0].1.as_tensor().expect("a tensor");
                let values: Vec<f32> = tensor.to_vec().expect("floats");
                assert_eq!(values, [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]);
                assert!(depth < 100, "{depth} levels");
            }
            Err(error) => {
                let text = error.to_string();
                let words = ["deep", "levels", "nested", "recursion"];
                assert!(words.iter().any(|word| text.contains(word)), "{text}");
                assert!(depth > 10, "{depth} levels: {text}");
            }
        }
    }
}

#[test]
fn functions() {
    let x_type = || vec![tensor("x", DataType::Float, "2 3")];
    let with = |nodes, functions| ModelProto {
        functions,
        ..model(x_type(), vec![], nodes)
    };
    let itself = with(
        vec![call("f", "x", "y")],
        vec![function("f", vec![call("f", "a", "b")])],
    );
    expect("recursive", &itself, &[x()], &Refused(&["calls itself"]));
    let there = function("f", vec![call("g", "a", "b")]);
    let back = function("g", vec![call("f", "a", "b")]);
    let cyclic = with(vec![call("f", "x", "y")], vec![there, back]);
    expect("cyclic", &cyclic, &[x()], &Refused(&["calls itself"]));
    // A call of itself that hides in a branch.
    let hidden = function(
        "f",
        vec![
            node("ReduceMax", &["a"], &["m"]),
            with_int(node("Cast", &["m"], &["c"]), "to", 9),
            branch(
                "c",
                &["b"],
                body(vec![call("f", "a", "t")], &["t"]),
                body(vec![call("f", "a", "e")], &["e"]),
            ),
        ],
    );
    let hidden = with(vec![call("f", "x", "y")], vec![hidden]);
    expect(
        "hidden recursion",
        &hidden,
        &[x()],
        &Refused(&["calls itself", "levels"]),
    );
    let mut doubling = vec![function("f0", vec![node("Neg", &["a"], &["b"])])];
    for level in 1..=28 {
        let inner = format!("f{}", level - 1);
        let nodes = vec![call(&inner, "a", "t"), call(&inner, "t", "b")];
        doubling.push(function(&format!("f{level}"), nodes));
    }
    let doubling = with(vec![call("f28", "x", "y")], doubling);
    expect("2^28 calls", &doubling, &[x()], &Refused(&["nodes"]));
}

#[test]
fn payloads() {
    let weights = |dims: &[i64], bytes: usize| TensorProto {
        name: Some("w".to_owned()),
        data_type: Some(DataType::Float.into()),
        dims: dims.to_vec(),
        raw_data: Some(vec![0; bytes].into()),
        ..TensorProto::default()
    };
    let nodes = vec![node("Add", &["x", "w"], &["y"])];
    for (name, tensor_) in [
        ("short", weights(&[2, 3], 20)),
        ("long", weights(&[2, 3], 28)),
        ("no multiple", weights(&[2, 3], 23)),
        ("none for many", weights(&[1 << 20, 1 << 20], 0)),
        ("2^126 elements", weights(&[HUGE, HUGE], 24)),
        ("a negative extent", weights(&[-2, -3], 24)),
    ] {
        let odd = model(
            vec![tensor("x", DataType::Float, "2 3")],
            vec![tensor_],
            nodes.clone(),
        );
        expect(name, &odd, &[x()], &Refused(&["\"w\""]));
    }
}

#[test]
fn names() {
    let x_type = || vec![tensor("x", DataType::Float, "2 3")];
    let twice = vec![node("Neg", &["x"], &["y"]), node("Abs", &["x"], &["y"])];
    expect(
        "twice",
        &model(x_type(), vec![], twice),
        &[x()],
        &Refused(&["defined twice"]),
    );
    let shadow = vec![node("Neg", &["x"], &["x"])];
    expect(
        "an input again",
        &model(x_type(), vec![], shadow),
        &[x()],
        &Refused(&["defined twice"]),
    );
    let cycle = vec![
        node("Add", &["x", "b"], &["a"]),
        node("Neg", &["a"], &["b"]),
    ];
    expect(
        "a cycle",
        &model(x_type(), vec![], cycle),
        &[x()],
        &Refused(&["not defined"]),
    );
}

/// A model with most kinds of messages.
fn varied() -> Vec<u8> {
    let sum = with_int(node("ReduceSum", &["x", "one"], &["t"]), "keepdims", 0);
    let nodes = vec![
        node("ReduceMax", &["x"], &["m"]),
        with_int(node("Cast", &["m"], &["c"]), "to", 9),
        branch(
            "c",
            &["s"],
            body(vec![sum], &["t"]),
            body(vec![call("f", "v", "e")], &["e"]),
        ),
        node("Softmax", &["s"], &["y"]),
    ];
    let whole = ModelProto {
        functions: vec![function("f", vec![node("Exp", &["a"], &["b"])])],
        ..model(
            vec![tensor("x", DataType::Float, "2 3")],
            vec![ints("one", &[1]), floats("v", &[1.0, 2.0])],
            nodes,
        )
    };
    whole.encode_to_vec()
}

/// What the fuzz target `import` does with bytes; whether they are a model.
fn import(bytes: &[u8]) -> bool {
    let options = alula_onnx::ImportOptions {
        limits: alula_onnx::ImportLimits {
            nodes: 1 << 12,
            ..Default::default()
        },
        ..Default::default()
    };
    match alula_onnx::import_bytes(bytes.to_vec(), &options) {
        Ok(import) => {
            let verified = import.graph.verify();
            assert!(verified.is_ok(), "{verified:?}");
            assert!(!import.graph.to_string().is_empty());
            true
        }
        Err(_) => false,
    }
}

#[test]
fn mutated_bytes() {
    let whole = varied();
    let mut state = 1_u64;
    let mut below = move |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound.max(1)
    };
    let mut models = 0;
    for _ in 0..4000 {
        let mut bytes = whole.clone();
        for _ in 0..=below(4) {
            let at = below(bytes.len());
            let end = (at + below(16)).min(bytes.len());
            match below(5) {
                0 => bytes[at] = below(256) as u8,
                // Extremes of varints.
                1 => bytes[at..end].fill(0xff),
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let part = bytes[at..end].to_vec();
                    let to = below(bytes.len());
                    bytes.splice(to..to, part);
                }
                _ => bytes.truncate(at.max(1)),
            }
            if bytes.is_empty() {
                break;
            }
        }
        models += usize::from(import(&bytes));
    }
    assert!(models > 10, "{models} of the mutations are models");
}

#[test]
fn damaged_bytes() {
    let whole = varied();
    run_bytes(&whole, &[x()]).expect("undamaged it runs");
    let before = peak_bytes();
    for end in 0..whole.len() {
        import(&whole[..end]);
    }
    // Every bit at import; of those models that still import, every 16th is run, too.
    let mut still = 0_usize;
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if import(&damaged) {
            still += 1;
            if still.is_multiple_of(16) {
                let result = soon("a damaged model", || run_bytes(&damaged, &[x()]));
                drop(result);
            }
        }
    }
    assert!(still > 100, "{still} damaged models import");
    if let (Some(before), Some(after)) = (before, peak_bytes()) {
        assert!(after - before < BYTES_MAX, "{} MiB", (after - before) >> 20);
    }
}
