//! Which values are stored as bf16, and that results are near those of the reference.

use alula_cpu::{CpuDevice, Isa};
use alula_ir::Graph;
use alula_lower::plan::{Lowered, lower_as};
use alula_runtime::{Session, SessionOptions};
use alula_tensor::{DType, Tensor, Value, ValueType};

use crate::compile::{CompileOptions, compile, cpu, lower_options};
use crate::{Precision, Target};

fn graph(text: &str) -> Graph {
    alula_ir::parse(text, alula_ops::registry(), &|_| None).expect("the text is a graph")
}

/// The plans for a processor with tiles, which this one need not be.
fn planned(text: &str, precision: Precision) -> Lowered {
    let options = CompileOptions {
        precision,
        verify: true,
        ..CompileOptions::default()
    };
    let graph = graph(text);
    let (lower, _) = lower_options(&graph, Target::Cpu, &options);
    let mut lowered = lower_as(graph, &lower).expect("lowered");
    let planned = cpu::planned(&mut lowered, Isa::Amx, &options, &mut Vec::new());
    planned.expect("planned");
    lowered
}

/// Shapes of the values that are stored as bf16.
fn narrow(text: &str, precision: Precision) -> Vec<String> {
    let lowered = planned(text, precision);
    let slots = lowered.plans.iter().flat_map(|plan| &plan.slots);
    let types = slots.filter_map(|slot| match &slot.ty {
        ValueType::Tensor(ty) if ty.dtype == DType::BF16 => Some(ty.to_string()),
        _ => None,
    });
    types.collect()
}

/// Two products with something between them.
fn between(behind: &str) -> Vec<String> {
    let text = format!(
        "graph @g(%x: f32[256, 256], %w: f32[256, 256], %v: f32[256, 256], %b: f32[256]) {{
            %p = matmul %x, %w
            {behind}
            %z = matmul %y, %v
            return z: %z
        }}"
    );
    narrow(&text, Precision::Medium)
}

#[test]
fn what_a_product_leaves_to_a_product_is_bf16() {
    assert_eq!(between("%y = relu %p"), ["bf16[256, 256]"]);
    assert_eq!(between("%s = add %p, %b %y = relu %s"), ["bf16[256, 256]"]);
}

#[test]
fn what_loops_leave_to_a_product_is_bf16() {
    // The product before is read by loops only.
    assert_eq!(between("%y = gelu %p"), ["bf16[256, 256]"]);
    let softmax = "%y = softmax %p {axis = 1}";
    assert_eq!(between(softmax), ["bf16[256, 256]"]);
}

#[test]
fn what_is_wanted_exactly_stays() {
    let text = "graph @g(%x: f32[256, 256], %w: f32[256, 256], %v: f32[256, 256]) {
        %p = matmul %x, %w
        %y = relu %p
        %z = matmul %y, %v
        return z: %z
    }";
    assert_eq!(narrow(text, Precision::High), [""; 0]);
    assert_eq!(narrow(text, Precision::Highest), [""; 0]);
    let output = text.replace("return z: %z", "return z: %z, y: %y");
    assert_eq!(narrow(&output, Precision::Medium), [""; 0], "an output");
    let right = text.replace("matmul %y, %v", "matmul %v, %y");
    assert_eq!(narrow(&right, Precision::Medium), [""; 0], "a right side");
}

/// Convolutions with a pooling between them and one beside them.
const BLOCK: &str =
    "graph @g(%x: f32[1, 32, 24, 24], %w: f32[32, 32, 3, 3], %v: f32[32, 32, 3, 3]) {
        %a = conv %x, %w {pads = [1, 1, 1, 1]}
        %b = relu %a
        %m = max_pool %b {kernel = [2, 2], strides = [2, 2]}
        %c = conv %m, %v {pads = [1, 1, 1, 1]}
        %d = relu %c
        %e = conv %d, %v {pads = [1, 1, 1, 1]}
        %k = conv %m, %v {pads = [1, 1, 1, 1]}
        %f = add %e, %k
        %g = relu %f
        %h = conv %g, %v
        return y: %h
    }";

#[test]
fn residuals_and_poolings_read_what_convolutions_read() {
    let found = narrow(BLOCK, Precision::Medium);
    let pooled = "bf16[1, 32, 12, 12]";
    let wanted = ["bf16[1, 32, 24, 24]", pooled, pooled, pooled, pooled];
    assert_eq!(found, wanted);
}

#[test]
fn depthwise_convolutions_pass_on_what_is_bf16() {
    let block = "graph @g(%x: f32[1, 32, 24, 24], %w: f32[96, 32, 1, 1], %d: f32[96, 1, 3, 3],
        %v: f32[32, 96, 1, 1]) {
        %a = conv %x, %w
        %b = relu %a
        %c = conv %b, %d {pads = [1, 1, 1, 1], group = 96}
        %e = relu %c
        %f = conv %e, %v
        return y: %f
    }";
    let hidden = "bf16[1, 96, 24, 24]";
    assert_eq!(narrow(block, Precision::Medium), [hidden, hidden]);
    // No product reads what the depthwise convolution gives.
    let last = block.replace("%f = conv %e, %v", "%f = exp %e");
    assert_eq!(narrow(&last, Precision::Medium), [""; 0]);
}

fn floats(shape: &[usize], seed: usize) -> Tensor {
    let count = shape.iter().product();
    let value = |k: usize| ((k * 37 + seed * 11) % 101) as f32 / 101.0 - 0.5;
    let values: Vec<f32> = (0..count).map(value).collect();
    Tensor::from_slice(shape, &values).expect("the shape's length")
}

#[test]
fn results_stay_within_the_precision() {
    let shapes = [[1, 32, 24, 24], [32, 32, 3, 3], [32, 32, 3, 3]];
    let inputs: Vec<Tensor> = (0..)
        .zip(&shapes)
        .map(|(seed, shape)| floats(shape, seed))
        .collect();
    let values: Vec<Value> = inputs.iter().cloned().map(Value::from).collect();
    let wanted = alula_ops::evaluate(&graph(BLOCK), values.clone()).expect("evaluated");
    let options = CompileOptions {
        precision: Precision::Medium,
        ..CompileOptions::default()
    };
    let compiled = compile(graph(BLOCK), Target::Cpu, &options).expect("compiled");
    let device = CpuDevice::new(2).expect("a device");
    let session = Session::new(compiled.program, &device, SessionOptions::default());
    let session = session.expect("a session");
    let named = session.inputs().iter().zip(&values);
    let named: Vec<(&str, Value)> = named
        .map(|(port, value)| (port.name.as_str(), value.clone()))
        .collect();
    let got = session.run(&named).expect("run");
    let of = |value: &Value| value.as_tensor().expect("a tensor").to_f64s();
    let (got, wanted) = (of(&got[0].1), of(&wanted[0]));
    let largest = wanted.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    for (position, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
        let apart = (got - wanted).abs() / largest;
        assert!(apart < 2e-2, "element {position}: {got}, not {wanted}");
    }
}
