//! Maps: what is made of scores, what is made of maps, and what is refused by name.

use alula_onnx::proto::tensor_proto::DataType::{
    self, Double, Float, Int32, Int64, String as Text,
};
use alula_onnx::proto::{AttributeProto, TypeProto};
use alula_tensor::{Map, Tensor, Value};

use crate::build::{
    floats, import, int, ints, map, map_to, node, nodes, numbers, run, sequence, tensor, text,
    texts,
};

fn words(values: &[&str]) -> Tensor {
    let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
    Tensor::from_strings(&[values.len()], values).expect("a tensor")
}

fn slice(values: &[f32]) -> Tensor {
    Tensor::from_slice(&[values.len()], values).expect("a tensor")
}

fn value(keys: Tensor, values: Tensor) -> Value {
    Map::new(keys, values).expect("a map").into()
}

fn zipped(dims: &[i64], values: &[f32], labels: Vec<AttributeProto>) -> Result<String, String> {
    let shape: Vec<usize> = dims.iter().map(|extent| *extent as usize).collect();
    let node = node("ai.onnx.ml::ZipMap", "x", "y", labels);
    let graph = nodes(&[("x", tensor(Float, Some(dims)))], vec![node], "y");
    let outputs = run(21, graph, vec![floats(&shape, values)])?;
    let maps = outputs[0].as_sequence().expect("a sequence").iter();
    let maps = maps.map(|map| map.as_map().expect("a map").to_string());
    Ok(maps.collect::<Vec<_>>().join(" "))
}

#[test]
fn rows_become_maps_with_keys_in_order() {
    let labels = || vec![ints("classlabels_int64s", &[5, -1, 3])];
    let two = zipped(&[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], labels());
    let expected = "{-1: 1, 3: 2, 5: 0} {-1: 4, 3: 5, 5: 3}";
    assert_eq!(two, Ok(expected.to_owned()));
    let one = zipped(&[3], &[0.5, 1.5, 2.5], labels());
    assert_eq!(one, Ok("{-1: 1.5, 3: 2.5, 5: 0.5}".to_owned()));
    let labels = vec![texts("classlabels_strings", &["b", "a"])];
    let named = zipped(&[1, 2], &[0.5, 1.5], labels.clone());
    assert_eq!(named, Ok(r#"{"a": 1.5, "b": 0.5}"#.to_owned()));
    assert_eq!(zipped(&[0, 2], &[], labels), Ok(String::new()));
    // Some exporters write the other list, too, with nothing in it.
    let labels = vec![
        ints("classlabels_int64s", &[1]),
        texts("classlabels_strings", &[]),
    ];
    assert_eq!(zipped(&[1], &[0.5], labels), Ok("{1: 0.5}".to_owned()));
}

#[test]
fn labels_that_are_no_keys_of_the_columns_are_refused() {
    let refused = |dims: &[i64], labels: Vec<AttributeProto>, words: &str| {
        let count = dims.iter().product::<i64>() as usize;
        let error = zipped(dims, &vec![0.0; count], labels).expect_err("it is refused");
        assert!(error.contains("ZipMap") && error.contains(words), "{error}");
    };
    let numbers = |values: &[i64]| ints("classlabels_int64s", values);
    let words = |values: &[&str]| texts("classlabels_strings", values);
    refused(&[2, 2], vec![], "neither classlabels_int64s nor");
    refused(&[1, 1], vec![numbers(&[1]), words(&["a"])], "both");
    refused(&[1, 2], vec![words(&["a", "a"])], "\"a\" is there twice");
    refused(&[1, 2], vec![numbers(&[1, 2, 3])], "keys i64[3]");
    refused(&[1, 1, 2], vec![numbers(&[1, 2])], "no table of rows");
}

fn cast(given: Value, ty: TypeProto, attributes: Vec<AttributeProto>) -> Result<Value, String> {
    let node = node("ai.onnx.ml::CastMap", "x", "y", attributes);
    let mut outputs = run(21, nodes(&[("x", ty)], vec![node], "y"), vec![given])?;
    Ok(outputs.remove(0))
}

#[test]
fn maps_become_rows_by_order_or_by_place() {
    let ty = || map(Int64, Float);
    let given = || value(Tensor::from_i64s(&[3, 1]), slice(&[1.75, -2.5]));
    let sparse = |more: AttributeProto| vec![text("map_form", "SPARSE"), int("max_map", 5), more];
    let to = |word| text("cast_to", word);
    let y = cast(given(), ty(), vec![]).expect("it runs");
    assert_eq!(y, floats(&[1, 2], &[-2.5, 1.75]));
    let y = cast(given(), ty(), sparse(to("TO_INT64"))).expect("it runs");
    let expected = Tensor::from_slice(&[1, 5], &[0_i64, -2, 0, 1, 0]);
    assert_eq!(y, expected.expect("a tensor").into());
    let y = cast(given(), ty(), sparse(to("TO_STRING"))).expect("it runs");
    let y = y.into_tensor().expect("a tensor");
    let expected = ["0.f", "-2.500000", "0.f", "1.750000", "0.f"];
    assert_eq!(y.strings(), Some(&expected.map(str::to_owned)[..]));
    let spelled = value(Tensor::from_i64s(&[0, 2]), words(&["1e2", " -7 "]));
    let y = cast(spelled, map(Int64, Text), sparse(to("TO_FLOAT"))).expect("it runs");
    assert_eq!(y, floats(&[1, 5], &[100.0, 0.0, -7.0, 0.0, 0.0]));
    let none = value(Tensor::from_i64s(&[]), slice(&[]));
    let y = cast(none, ty(), vec![]).expect("it runs");
    assert_eq!(y, floats(&[1, 0], &[]));
}

#[test]
fn what_cannot_be_a_row_is_refused() {
    let ty = || map(Int64, Float);
    let given = |key: i64| value(Tensor::from_i64s(&[key]), slice(&[1.0]));
    let sparse = |most| vec![text("map_form", "SPARSE"), int("max_map", most)];
    assert!(cast(given(2), ty(), sparse(3)).is_ok());
    for key in [-1, 3] {
        let error = cast(given(key), ty(), sparse(3)).expect_err("the key is outside");
        assert!(error.contains("outside of 0..3"), "{error}");
    }
    let error = cast(given(0), ty(), sparse(0)).expect_err("there is no place");
    assert!(
        error.contains("CastMap") && error.contains("max_map is 0"),
        "{error}"
    );
    let error = cast(given(0), ty(), vec![text("cast_to", "TO_BYTE")]).expect_err("no such");
    assert!(error.contains("TO_BYTE"), "{error}");
    let spelled = value(Tensor::from_i64s(&[0]), words(&["seven"]));
    let error = cast(spelled, map(Int64, Text), vec![]).expect_err("it is no number");
    assert!(error.contains("\"seven\" is no number"), "{error}");
}

fn vector(given: Value, ty: TypeProto, vocabulary: AttributeProto) -> Result<Value, String> {
    let node = node("ai.onnx.ml::DictVectorizer", "x", "y", vec![vocabulary]);
    let mut outputs = run(21, nodes(&[("x", ty)], vec![node], "y"), vec![given])?;
    Ok(outputs.remove(0))
}

#[test]
fn values_stand_where_the_vocabulary_has_their_keys() {
    let named = || texts("string_vocabulary", &["z", "q", "a"]);
    let numbered = || ints("int64_vocabulary", &[7, 1, 5]);
    let keys = || words(&["a", "unknown", "z"]);
    let places = || Tensor::from_i64s(&[1, 2, 7]);
    let doubles = |values: &[f64]| Tensor::from_slice(&[values.len()], values).expect("a tensor");
    let integers = |values: &[i64]| Tensor::from_i64s(values);
    let three = || slice(&[1.5, 2.5, 3.5]);
    let row = |list: Tensor| Value::from(list.reshape(&[1, 3]).expect("a row"));
    let cases = [
        (
            map(Text, Float),
            value(keys(), three()),
            named(),
            slice(&[3.5, 0.0, 1.5]),
        ),
        (
            map(Text, Double),
            value(keys(), doubles(&[1.5, 2.5, 3.5])),
            named(),
            doubles(&[3.5, 0.0, 1.5]),
        ),
        (
            map(Text, Int64),
            value(keys(), integers(&[1, 2, 3])),
            named(),
            integers(&[3, 0, 1]),
        ),
        (
            map(Int64, Float),
            value(places(), three()),
            numbered(),
            slice(&[3.5, 1.5, 0.0]),
        ),
        (
            map(Int64, Double),
            value(places(), doubles(&[1.5, 2.5, 3.5])),
            numbered(),
            doubles(&[3.5, 1.5, 0.0]),
        ),
        (
            map(Int64, Text),
            value(places(), words(&["u", "v", "w"])),
            numbered(),
            words(&["w", "u", ""]),
        ),
    ];
    for (ty, given, vocabulary, expected) in cases {
        assert_eq!(vector(given, ty, vocabulary), Ok(row(expected)));
    }
    let given = value(places(), three());
    let error = vector(given, map(Int64, Float), named()).expect_err("keys are no strings");
    let wanted = "a vocabulary of string for map<i64, f32>";
    assert!(
        error.contains("DictVectorizer") && error.contains(wanted),
        "{error}"
    );
}

#[test]
fn scores_go_through_maps_in_the_rest_of_a_graph() {
    // A map that is an input of a model goes out as it is, alone and in a sequence.
    let given = value(words(&["a"]), slice(&[1.0]));
    let same = |ty: TypeProto| {
        let mut graph = nodes(&[("x", ty)], vec![], "x");
        graph.output[0].name = Some("x".to_owned());
        graph
    };
    let outputs = run(21, same(map(Text, Float)), vec![given.clone()]);
    assert_eq!(outputs, Ok(vec![given.clone()]));
    let list = Value::Sequence(vec![given.clone(), given]);
    let outputs = run(21, same(sequence(map(Text, Float))), vec![list.clone()]);
    assert_eq!(outputs, Ok(vec![list]));
}

#[test]
fn maps_of_other_kinds_are_refused_by_name() {
    let refused = |ty: TypeProto, words: &str| {
        let error = import(21, nodes(&[("x", ty)], vec![], "x")).expect_err("it is refused");
        assert!(error.contains("\"x\"") && error.contains(words), "{error}");
    };
    refused(
        map(Int32, Float),
        "keys of a map are i64 or string, not i32",
    );
    refused(
        map_to(Int64, map(Int64, Float)),
        "values that are no tensors",
    );
    let pair = tensor(Float, Some(&[2]));
    refused(map_to(Int64, pair), "more than one element");
    let scalar = map_to(Int64, tensor(Float, Some(&[])));
    assert!(import(21, nodes(&[("x", scalar)], vec![], "x")).is_ok());
    // What takes no map says so.
    let node = node("Neg", "x", "y", vec![]);
    let graph = nodes(&[("x", map(Int64, Float))], vec![node], "y");
    let error = import(21, graph).expect_err("it is refused");
    assert!(
        error.contains("Neg") && error.contains("map(i64,f32)"),
        "{error}"
    );
}

#[test]
fn texts_are_cast_in_a_run() {
    let graph = |from: DataType, to: DataType| {
        let node = node("Cast", "x", "y", vec![int("to", to as i64)]);
        nodes(&[("x", tensor(from, Some(&[2])))], vec![node], "y")
    };
    let spelled = Value::from(words(&["1.5", "-2e3"]));
    let y = run(21, graph(Text, Float), vec![spelled]).expect("it runs");
    assert_eq!(numbers(&y[0]), [1.5, -2000.0]);
    let y = run(
        21,
        graph(Float, Text),
        vec![floats(&[2], &[0.1, f32::INFINITY])],
    );
    let y = y
        .expect("it runs")
        .remove(0)
        .into_tensor()
        .expect("a tensor");
    assert_eq!(y.strings(), Some(&["0.1".to_owned(), "INF".to_owned()][..]));
    let error = run(21, graph(Text, Float), vec![words(&["one", "2"]).into()]);
    let error = error.expect_err("it is no number");
    assert!(error.contains("\"one\" is no number"), "{error}");
}
