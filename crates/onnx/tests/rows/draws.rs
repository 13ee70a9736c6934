//! Draws follow their chances.

use alula_onnx::proto::tensor_proto::DataType::Float;
use alula_tensor::Value;

use crate::build::{float, floats, int, node, nodes, numbers, run, tensor};

const COUNT: usize = 4000;
const CHANCES: [[f32; 3]; 2] = [[0.2, 0.3, 0.5], [0.0, 0.9, 0.1]];

fn drawn(seed: f32) -> Vec<f64> {
    let graph = nodes(
        &[("x", tensor(Float, Some(&[2, 3])))],
        vec![node(
            "Multinomial",
            "x",
            "y",
            vec![int("sample_size", COUNT as i64), float("seed", seed)],
        )],
        "y",
    );
    // Only differences of logarithms count.
    let logarithms: Vec<f32> = CHANCES.iter().flatten().map(|p| p.ln() + 3.0).collect();
    let outputs = run(22, graph, vec![floats(&[2, 3], &logarithms)]).expect("it runs");
    assert!(matches!(&outputs[0], Value::Tensor(y) if y.shape() == [2, COUNT]));
    numbers(&outputs[0])
}

#[test]
fn classes_are_drawn_by_their_chances() {
    let classes = drawn(7.0);
    for (row, chances) in CHANCES.iter().enumerate() {
        let row = &classes[row * COUNT..][..COUNT];
        for (class, chance) in chances.iter().enumerate() {
            let (count, chance) = (COUNT as f64, f64::from(*chance));
            let times = row.iter().filter(|drawn| **drawn == class as f64).count() as f64;
            let sigma = (count * chance * (1.0 - chance)).sqrt();
            let off = (times - count * chance).abs();
            assert!(
                off <= 5.0 * sigma,
                "{class}: {times} of {count} with {chance}"
            );
        }
    }
    assert_eq!(classes, drawn(7.0));
    assert_ne!(classes, drawn(8.0));
}
