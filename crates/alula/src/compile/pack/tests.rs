//! What becomes of constants, and that results are those of the reference.

use std::sync::Arc;

use alula_cpu::CpuDevice;
use alula_ir::Graph;
use alula_lower::cluster::Strategy;
use alula_lower::plan::lower;
use alula_program::Program;
use alula_runtime::{Session, SessionOptions, artifact};
use alula_tensor::{Tensor, Value};

use crate::compile::{CompileOptions, cpu};

fn graph(text: &str) -> Graph {
    alula_ir::parse(text, alula_ops::registry(), &|_| None).expect("the text is a graph")
}

fn compiled(text: &str) -> Program {
    let lowered = lower(graph(text), Strategy::default()).expect("lowered");
    cpu::program(lowered, &CompileOptions::default(), &mut Vec::new()).expect("compiled")
}

/// Names of the constants; runs the program from memory and from an artifact against the reference.
fn names_after_running(text: &str, inputs: Vec<Value>) -> Vec<String> {
    let program = compiled(text);
    let bytes = artifact::to_bytes(&[&program]).expect("stored");
    let again = artifact::to_bytes(&[&compiled(text)]).expect("stored");
    assert_eq!(bytes, again, "the same bytes again");
    let opened = alula_artifact::Artifact::from_bytes(&bytes, alula_artifact::Verify::All);
    let loaded = artifact::program(&opened.expect("opened"), "cpu").expect("loaded");
    let names = program.constants.iter().map(|c| c.name.clone()).collect();
    let wanted = alula_ops::evaluate(&graph(text), inputs.clone()).expect("evaluated");
    let device = CpuDevice::new(2).expect("a device");
    for program in [program, loaded] {
        let session = Session::new(Arc::new(program), &device, SessionOptions::default());
        let session = session.expect("a session");
        let named: Vec<(&str, Value)> = session
            .inputs()
            .iter()
            .zip(&inputs)
            .map(|(port, value)| (port.name.as_str(), value.clone()))
            .collect();
        let got = session.run(&named).expect("run");
        for ((name, got), wanted) in got.iter().zip(&wanted) {
            assert_eq!(got, wanted, "{name}");
        }
    }
    names
}

fn floats(shape: &[usize]) -> Value {
    let values: Vec<f32> = (0..shape.iter().product::<usize>())
        .map(|k| (k * 5 % 7) as f32 - 3.0)
        .collect();
    Tensor::from_slice(shape, &values)
        .expect("the shape's length")
        .into()
}

fn packed(names: &[String]) -> usize {
    names.iter().filter(|name| name.contains("packed")).count()
}

#[test]
fn a_weight_stays_in_its_packed_form_alone() {
    let names = names_after_running(
        "graph @g(%x: f32[N, 2]) {
            %w = const f32[2, 3] [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
            %y = matmul %x, %w
            return y: %y
        }",
        vec![floats(&[5, 2])],
    );
    assert_eq!((names.len(), packed(&names)), (1, 1), "{names:?}");
}

#[test]
fn contractions_of_one_form_share_it() {
    let names = names_after_running(
        "graph @g(%x: f32[4, 2], %z: f32[N, 2]) {
            %w = const f32[2, 2] [0.5, 0.75, 1.0, 1.25]
            %a = matmul %x, %w
            %b = matmul %z, %w
            return a: %a, b: %b
        }",
        vec![floats(&[4, 2]), floats(&[3, 2])],
    );
    assert_eq!((names.len(), packed(&names)), (1, 1), "{names:?}");
}

#[test]
fn a_weight_that_is_read_otherwise_stays_beside_it() {
    let names = names_after_running(
        "graph @g(%x: f32[4, 3], %i: i64[2]) {
            %w = const f32[3, 2] [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
            %rows = gather %w, %i
            %y = matmul %x, %w
            return rows: %rows, y: %y
        }",
        vec![
            floats(&[4, 3]),
            Tensor::from_slice(&[2], &[2_i64, 0]).expect("two").into(),
        ],
    );
    assert_eq!((names.len(), packed(&names)), (2, 1), "{names:?}");
}

#[test]
fn a_right_side_that_the_epilogue_reads_stays_as_it_is() {
    let names = names_after_running(
        "graph @g(%x: f32[2, 2]) {
            %w = const f32[2, 2] [0.5, 0.75, 1.0, 1.25]
            %p = matmul %x, %w
            %y = add %p, %w
            return y: %y
        }",
        vec![floats(&[2, 2])],
    );
    assert_eq!((names.len(), packed(&names)), (1, 0), "{names:?}");
}

#[test]
fn bytes_are_packed_with_the_sums_of_their_columns() {
    let values = |shape: &[usize]| -> Value {
        let bytes: Vec<u8> = (0..shape.iter().product::<usize>())
            .map(|k| (k * 53 % 256) as u8)
            .collect();
        Tensor::from_slice(shape, &bytes).expect("a shape").into()
    };
    let names = names_after_running(
        "graph @g(%x: u8[N, 3], %zero: u8[]) {
            %w = const i8[3, 2] [-128, 127, 3, -4, 5, 6]
            %y = matmul_integer %x, %w, %zero
            return y: %y
        }",
        vec![values(&[5, 3]), values(&[])],
    );
    assert_eq!((names.len(), packed(&names)), (1, 1), "{names:?}");
}
