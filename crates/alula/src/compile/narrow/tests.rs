//! Which values are stored as bf16.

use alula_cpu::Isa;
use alula_ir::Graph;
use alula_lower::plan::{Lowered, lower_as};
use alula_tensor::{DType, ValueType};

use crate::compile::{CompileOptions, cpu, lower_options};
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
fn what_loops_compute_and_what_is_wanted_exactly_stays() {
    assert_eq!(
        between("%y = gelu %p"),
        [""; 0],
        "loops round in many instructions"
    );
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

#[test]
fn residuals_and_poolings_read_what_convolutions_read() {
    let text = "graph @g(%x: f32[1, 32, 30, 30], %w: f32[64, 32, 3, 3], %v: f32[64, 64, 3, 3]) {
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
    let found = narrow(text, Precision::Medium);
    let pooled = "bf16[1, 64, 15, 15]";
    let wanted = ["bf16[1, 64, 30, 30]", pooled, pooled, pooled, pooled];
    assert_eq!(found, wanted);
}
