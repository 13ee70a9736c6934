//! Values that break what an operator demands of them: indices out of range, steps of 0, axes that
//! are not there. Known as the model is read, they are refused then; computed, a run is refused, on
//! every target, by the name of the node.

use std::sync::Arc;

use alula::compile::{CompileOptions, compile};
use alula::{Model, Target, Tensor, Value};
use alula_onnx::proto::tensor_proto::DataType;
use alula_onnx::proto::{ModelProto, NodeProto, TensorProto};
use alula_opt::{Options, optimize};
use alula_program::Device;
use alula_runtime::Session;
use alula_tests::backends::Devices;
use alula_tests::child::{First, folder_of};
use alula_tests::model::{body, floats, int, ints, model, node, tensor, with_graph, with_int};
use prost::Message;

use super::support::{Fate, Refused, Right, both_with, compare, expect, x};

/// What a session of a device makes of a model.
fn outcome(
    model: &ModelProto,
    inputs: &[(&str, Value)],
    target: Target,
    device: &dyn Device,
) -> Result<First, String> {
    let folder = folder_of(&model.encode_to_vec());
    let import = Model::builder(folder.path("model.onnx")).import();
    let mut graph = import.map_err(|error| error.to_string())?.graph;
    optimize(&mut graph, &Options::default()).map_err(|error| error.to_string())?;
    let compiled = compile(graph, target, &CompileOptions::default());
    let program = Arc::clone(&compiled.map_err(|error| error.to_string())?.program);
    let session = Session::new(program, device, Default::default());
    let session = session.map_err(|error| error.to_string())?;
    let outputs = session.run(inputs).map_err(|error| error.to_string())?;
    let tensor = outputs[0].1.as_tensor().expect("a tensor");
    let values = tensor.to_scalars().iter().map(|s| s.to_f64()).collect();
    Ok((tensor.shape().to_vec(), values))
}

/// Nodes over `x: f32[2, 3]` and `i: i64[K]`, with other constants.
struct Case {
    name: &'static str,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    i: Vec<i64>,
    fate: Fate,
}

/// Cases of the same nodes and constants.
fn cases(
    nodes: &[NodeProto],
    constants: &[TensorProto],
    fates: Vec<(&'static str, &[i64], Fate)>,
) -> Vec<Case> {
    let case = |(name, i, fate): (&'static str, &[i64], Fate)| Case {
        name,
        nodes: nodes.to_vec(),
        constants: constants.to_vec(),
        i: i.to_vec(),
        fate,
    };
    fates.into_iter().map(case).collect()
}

/// Runs cases with `i` as a constant and as an input, the latter on GPUs as well.
fn everywhere(test: &str, cases: Vec<Case>) {
    let devices = Devices::open();
    let cuda = devices.cuda();
    for Case {
        name,
        nodes,
        constants,
        i,
        fate,
    } in cases
    {
        both_with(name, &nodes, &[("i", &i)], &constants, &fate, &fate);
        let types = vec![
            tensor("x", DataType::Float, "2 3"),
            tensor("i", DataType::Int64, &i.len().to_string()),
        ];
        let open = model(types, constants, nodes);
        let given = Tensor::from_slice(&[i.len()], &i).expect("the count fits");
        let inputs = [x(), ("i", given.into())];
        let ptx = outcome(&open, &inputs, Target::Cuda, &cuda);
        compare(&format!("{name}, PTX"), ptx, &fate);
        if let Ok(wgpu) = devices.wgpu() {
            let wgsl = outcome(&open, &inputs, Target::Wgpu, wgpu);
            compare(&format!("{name}, WGSL"), wgsl, &fate);
        }
    }
    if let Some(why) = devices.lacks_wgpu() {
        alula_testkit::skip(test, why);
    }
}

const ROWS: Fate = Refused(&["outside of axis 0 of f32[2, 3]"]);
const COLUMNS: Fate = Refused(&["outside of axis 1 of f32[2, 3]"]);
const PLACES: Fate = Refused(&["outside of f32[2, 3]"]);
const AXES: Fate = Refused(&["axis"]);
const ALL: Fate = Right(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
const LAST: Fate = Right(&[1, 3], &[4.0, 5.0, 6.0]);

#[test]
fn gathers() {
    let gather = [node("Gather", &["x", "i"], &["y"])];
    let mut all = cases(
        &gather,
        &[],
        vec![
            ("index 100 of 2", &[0, 100], ROWS),
            ("index 2 of 2", &[2], ROWS),
            ("index -3 of 2", &[-3], ROWS),
            ("the least index", &[i64::MIN], ROWS),
            ("index -1", &[-1], LAST),
            ("index 1", &[1], LAST),
            ("no index", &[], Right(&[0, 3], &[])),
        ],
    );
    let elements = [
        node("Reshape", &["i", "column"], &["at"]),
        node("GatherElements", &["x", "at"], &["y"]),
    ];
    all.extend(cases(
        &elements,
        &[ints("column", &[-1, 1])],
        vec![
            ("element 2 of 2", &[0, 2], ROWS),
            ("elements -2 and 1", &[-2, 1], Right(&[2, 1], &[1.0, 4.0])),
        ],
    ));
    let positions = [node("GatherND", &["x", "i"], &["y"])];
    all.extend(cases(
        &positions,
        &[],
        vec![
            ("position [1, 3]", &[1, 3], PLACES),
            ("position [-3, 0]", &[-3, 0], PLACES),
            ("position [-2, 2]", &[-2, 2], Right(&[], &[3.0])),
        ],
    ));
    everywhere("gathers", all);
}

#[test]
fn scatters() {
    let update = TensorProto {
        dims: vec![],
        ..floats("u", &[9.0])
    };
    let mut all = cases(
        &[node("ScatterND", &["x", "i", "u"], &["y"])],
        &[update],
        vec![
            ("to [0, 3]", &[0, 3], PLACES),
            ("to [-3, 0]", &[-3, 0], PLACES),
            (
                "to [-1, 0]",
                &[-1, 0],
                Right(&[2, 3], &[1.0, 2.0, 3.0, 9.0, 5.0, 6.0]),
            ),
        ],
    );
    let updates = TensorProto {
        dims: vec![1, 2],
        ..floats("u", &[8.0, 9.0])
    };
    let elements = [
        node("Unsqueeze", &["i", "zero"], &["at"]),
        with_int(
            node("ScatterElements", &["x", "at", "u"], &["y"]),
            "axis",
            1,
        ),
    ];
    all.extend(cases(
        &elements,
        &[updates, ints("zero", &[0])],
        vec![
            ("to column 3", &[0, 3], COLUMNS),
            (
                "to columns 0 and -1",
                &[0, -1],
                Right(&[2, 3], &[8.0, 2.0, 9.0, 4.0, 5.0, 6.0]),
            ),
        ],
    ));
    everywhere("scatters", all);
}

#[test]
fn axes_and_steps() {
    let slice = [node("Slice", &["x", "s", "e", "i", "t"], &["y"])];
    let bounds = [ints("s", &[0]), ints("e", &[3]), ints("t", &[1])];
    let fates = vec![
        ("slice of axis 7", &[7][..], AXES),
        ("slice of axis 1", &[1], ALL),
    ];
    let mut all = cases(&slice, &bounds, fates);
    let slice = [node("Slice", &["x", "s", "e", "a", "i"], &["y"])];
    let bounds = [ints("s", &[0]), ints("e", &[3]), ints("a", &[1])];
    all.extend(cases(
        &slice,
        &bounds,
        vec![
            ("step 0", &[0], Refused(&["step"])),
            ("step 2", &[2], Right(&[2, 2], &[1.0, 3.0, 4.0, 6.0])),
        ],
    ));
    let pad = [node("Pad", &["x", "p", "", "i"], &["y"])];
    all.extend(cases(
        &pad,
        &[ints("p", &[0, 0])],
        vec![
            ("pad of axis 7", &[7], AXES),
            ("pad of axis -1", &[-1], ALL),
        ],
    ));
    let sum = [node("ReduceSum", &["x", "i"], &["y"])];
    all.extend(cases(
        &sum,
        &[],
        vec![
            ("sum over axis 7", &[7], AXES),
            ("sum over axis 1 twice", &[1, -1], AXES),
            ("sum over both axes", &[0, -1], Right(&[1, 1], &[21.0])),
        ],
    ));
    let unsqueeze = [node("Unsqueeze", &["x", "i"], &["y"])];
    all.extend(cases(
        &unsqueeze,
        &[],
        vec![
            ("a new axis 7", &[7], AXES),
            (
                "a new axis 2",
                &[2],
                Right(&[2, 3, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            ),
        ],
    ));
    let squeeze = [
        node("Unsqueeze", &["x", "zero"], &["wide"]),
        node("Squeeze", &["wide", "i"], &["y"]),
    ];
    all.extend(cases(
        &squeeze,
        &[ints("zero", &[0])],
        vec![
            ("without axis 7", &[7], AXES),
            ("without axis 0", &[0], ALL),
        ],
    ));
    let sums = [
        node("Squeeze", &["i"], &["axis"]),
        node("CumSum", &["x", "axis"], &["y"]),
    ];
    all.extend(cases(
        &sums,
        &[],
        vec![
            ("sums along axis 7", &[7], AXES),
            (
                "sums along axis 1",
                &[1],
                Right(&[2, 3], &[1.0, 3.0, 6.0, 4.0, 9.0, 15.0]),
            ),
        ],
    ));
    everywhere("axes_and_steps", all);
}

#[test]
fn ranges_and_lengths() {
    let range = [
        node("Squeeze", &["i"], &["delta"]),
        node("Range", &["zero", "three", "delta"], &["y"]),
    ];
    let mut all = cases(
        &range,
        &[int("zero", 0), int("three", 3)],
        vec![
            ("a delta of 0", &[0], Refused(&["step is 0"])),
            ("a delta of 2", &[2], Right(&[2], &[0.0, 2.0])),
        ],
    );
    let reverse = node("ReverseSequence", &["x", "i"], &["y"]);
    let reverse = [with_int(with_int(reverse, "time_axis", 1), "batch_axis", 0)];
    let lengths = || Refused(&["axis 1 of f32[2, 3]"]);
    all.extend(cases(
        &reverse,
        &[],
        vec![
            ("lengths of 9", &[9, 1], lengths()),
            ("lengths of -1", &[1, -1], lengths()),
            (
                "lengths of 3 and 0",
                &[3, 0],
                Right(&[2, 3], &[3.0, 2.0, 1.0, 4.0, 5.0, 6.0]),
            ),
        ],
    ));
    everywhere("ranges_and_lengths", all);
}

/// Whether a run of a model checks any value.
fn demands(model: &ModelProto) -> bool {
    let folder = folder_of(&model.encode_to_vec());
    let import = Model::builder(folder.path("model.onnx")).import();
    !import.expect("it imports").graph.requirements().is_empty()
}

/// Positions that are provably in range cost a run nothing.
#[test]
fn positions_that_operators_count() {
    let greatest = with_int(node("ArgMax", &["x"], &["k"]), "axis", 0);
    let x_type = || vec![tensor("x", DataType::Float, "2 3")];
    let picked = model(
        x_type(),
        vec![],
        vec![
            with_int(greatest, "keepdims", 1),
            node("GatherElements", &["x", "k"], &["y"]),
        ],
    );
    assert!(!demands(&picked));
    let fate = Right(&[1, 3], &[4.0, 5.0, 6.0]);
    expect("the greatest elements", &picked, &[x()], &fate);
}

/// The first places of a table, as embeddings take them, and of one that is too long.
#[test]
fn positions_of_a_table() {
    let first = |last: i64| {
        let places = ints("places", &[0, 1, last]);
        model(
            vec![
                tensor("x", DataType::Float, "2 3"),
                tensor("n", DataType::Int64, "1"),
            ],
            vec![places, ints("zero", &[0])],
            vec![
                node("Slice", &["places", "zero", "n"], &["at"]),
                with_int(node("Gather", &["x", "at"], &["y"]), "axis", 1),
            ],
        )
    };
    assert!(!demands(&first(2)));
    assert!(demands(&first(3)));
    let n = |count: i64| Tensor::from_slice(&[1], &[count]).expect("one value");
    let fate = Right(&[2, 1], &[1.0, 4.0]);
    expect("one place", &first(3), &[x(), ("n", n(1).into())], &fate);
    expect(
        "a place too far",
        &first(3),
        &[x(), ("n", n(3).into())],
        &COLUMNS,
    );
}

/// A position for each row, joined of a row and a column.
#[test]
fn positions_that_are_joined() {
    let row = with_int(node("ArgMax", &["x"], &["r"]), "axis", 0);
    let column = with_int(node("ArgMax", &["x"], &["c"]), "axis", 1);
    let mut joined = vec![
        with_int(row, "keepdims", 0),
        with_int(column, "keepdims", 0),
        node("Reshape", &["r", "shape"], &["all"]),
        node("Slice", &["all", "zero", "two"], &["rows"]),
        node("Reshape", &["c", "shape"], &["columns"]),
        with_int(node("Concat", &["rows", "columns"], &["at"]), "axis", 1),
        node("GatherND", &["x", "at"], &["y"]),
    ];
    let picked = |nodes: &[NodeProto]| {
        let constants = vec![
            ints("shape", &[-1, 1]),
            ints("zero", &[0]),
            ints("two", &[2]),
        ];
        let x = tensor("x", DataType::Float, "2 3");
        model(vec![x], constants, nodes.to_vec())
    };
    assert!(!demands(&picked(&joined)));
    let fate = Right(&[2], &[6.0, 6.0]);
    expect("joined positions", &picked(&joined), &[x()], &fate);
    // The other way round columns are taken for rows.
    joined[5].input.swap(0, 1);
    assert!(demands(&picked(&joined)));
    expect("swapped positions", &picked(&joined), &[x()], &PLACES);
}

/// In the body of a loop, in the iteration in which it happens.
#[test]
fn gathers_in_a_loop() {
    let mut graph = body(
        vec![
            node("Gather", &["v", "i"], &["row"]),
            node("Add", &["v", "row"], &["w"]),
        ],
        &["c", "w"],
    );
    graph.input = vec![
        tensor("i", DataType::Int64, ""),
        tensor("c", DataType::Bool, ""),
        tensor("v", DataType::Float, "2 3"),
    ];
    graph.name = Some("body".to_owned());
    let nodes = [
        node("Squeeze", &["i"], &["n"]),
        with_graph(node("Loop", &["n", "", "x"], &["y"]), "body", graph),
    ];
    let twice = Right(&[2, 3], &[7.0, 11.0, 15.0, 10.0, 14.0, 18.0]);
    let fates = vec![
        ("3 trips over 2 rows", &[3][..], ROWS),
        ("2 trips", &[2], twice),
    ];
    everywhere("gathers_in_a_loop", cases(&nodes, &[], fates));
}

#[test]
fn slices() {
    let nodes = [node("Slice", &["x", "s", "e", "a", "t"], &["y"])];
    let slice = |name: &str, s: i64, e: i64, t: i64, fate: &Fate| {
        let constants = [ints("a", &[1]), ints("t", &[t])];
        let bounds: [(&str, &[i64]); 2] = [("s", &[s]), ("e", &[e])];
        both_with(name, &nodes, &bounds, &constants, fate, fate);
    };
    slice("step 0", 0, 3, 0, &Refused(&["step"]));
    let none = &Right(&[2, 0], &[]);
    slice("everything", i64::MIN, i64::MAX, 1, &ALL);
    slice("nothing", i64::MAX, i64::MIN, 1, none);
    let back = &Right(&[2, 3], &[3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
    slice("backwards", i64::MAX, i64::MIN, -1, back);
    slice("a far step", 0, 3, i64::MAX, &Right(&[2, 1], &[1.0, 4.0]));
    let far = &Right(&[2, 1], &[3.0, 6.0]);
    slice("a far step back", -1, i64::MIN, i64::MIN + 1, far);
}
