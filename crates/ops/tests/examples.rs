//! Every operator's examples: they parse, verify, print and parse again, and evaluate.

use alula_ir::{Graph, HostValue};
use alula_ops::{evaluate, registry};
use alula_tensor::{DTypeClass, Scalar, Tensor};

fn inputs(graph: &Graph) -> Vec<HostValue> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    graph
        .inputs()
        .iter()
        .map(|id| {
            let ty = graph.ty(*id).as_tensor().expect("examples take tensors");
            let shape: Vec<usize> = ty
                .shape
                .iter()
                .map(|dim| dim.as_const().map_or(3, |extent| extent as usize))
                .collect();
            let count = shape.iter().product();
            let values: Vec<Scalar> = (0..count)
                .map(|_| match ty.dtype.class() {
                    DTypeClass::Float => Scalar::Float((next() % 4001) as f64 / 1000.0 - 2.0),
                    DTypeClass::Bool => Scalar::Int(i128::from(next() % 2)),
                    DTypeClass::Signed => Scalar::Int(i128::from(next() % 9) - 3),
                    DTypeClass::Unsigned | DTypeClass::String => Scalar::Int((next() % 9).into()),
                })
                .collect();
            Tensor::from_scalars(ty.dtype, &shape, &values)
                .expect("the count fits")
                .into()
        })
        .collect()
}

#[test]
fn examples_parse_verify_and_evaluate() {
    let mut failures = Vec::new();
    for op in registry().iter() {
        assert!(!op.examples.is_empty(), "{} has no example", op.name);
        for example in op.examples {
            let graph = match alula_ir::parse(example, registry(), &|_| None) {
                Ok(graph) => graph,
                Err(error) => {
                    failures.push(format!("{}: {error}\n{example}", op.name));
                    continue;
                }
            };
            graph
                .verify()
                .unwrap_or_else(|errors| panic!("{}: {errors:?}", op.name));
            let text = graph.to_string();
            let again = alula_ir::parse(&text, registry(), &|_| None)
                .unwrap_or_else(|error| panic!("{}: {error}\n{text}", op.name));
            assert_eq!(again.to_string(), text, "{} prints the same again", op.name);
            assert!(
                graph.nodes().iter().any(|id| graph.node(*id).op == op),
                "an example of {} uses it",
                op.name
            );
            if let Err(error) = evaluate(&graph, inputs(&graph)) {
                failures.push(format!("{}: {error}\n{example}", op.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
