//! Damaged bytes.

use alula_onnx::proto::ModelProto;
use alula_onnx::proto::tensor_proto::DataType;
use alula_tests::child::{alone, folder_of};
use alula_tests::model::{
    body, branch, call, floats, function, ints, model, node, tensor, with_int,
};
use alula_tests::pipeline::run_bytes;
use prost::Message;

use super::support::x;

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
    for end in 0..whole.len() {
        import(&whole[..end]);
    }
    // Every bit at import; of those models that still import, every 32nd is run, too.
    let mut still = 0_usize;
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if import(&damaged) {
            still += 1;
            if still.is_multiple_of(32) {
                let name = format!("bit {bit}");
                // An error or an answer, as long as it comes soon.
                drop(alone("one_case", &name, &folder_of(&damaged), &[x()]));
            }
        }
    }
    assert!(still > 100, "{still} damaged models import");
}
