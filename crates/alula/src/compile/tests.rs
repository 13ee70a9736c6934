//! What compiling for a CPU makes of graphs.

use super::{CompileOptions, Compiled, compile};
use crate::Target;

fn compiled(text: &str) -> Compiled {
    let graph = alula_ir::parse(text, alula_ops::registry(), &|_| None).expect("a graph");
    compile(graph, Target::Cpu, &CompileOptions::default()).expect("compiled")
}

/// Kernels of a product of `[rows, 64]` and `[64, 48]` with something behind it.
fn kernels(rows: usize, behind: &str) -> Vec<String> {
    let text = format!(
        "graph @g(%x: f32[{rows}, 64], %w: f32[64, 48], %b: f32[48], %r: f32[{rows}, 48]) {{
            %p = matmul %x, %w
            %s = add %p, %b
            {behind}
            return y: %y
        }}"
    );
    let compiled = compiled(&text);
    let contractions = alula_cpu::contractions(&compiled.program);
    assert_eq!(contractions.len(), 1, "it runs on micro-kernels: {behind}");
    let kernels = compiled.program.kernels.iter();
    kernels.map(|kernel| kernel.name.clone()).collect()
}

#[test]
fn what_micro_kernels_do_themselves_is_fused() {
    assert_eq!(kernels(400, "%y = relu %s").len(), 1);
    assert_eq!(kernels(400, "%t = add %s, %r %y = relu %t").len(), 1);
}

#[test]
fn other_epilogues_of_large_results_are_loops_of_their_own() {
    assert_eq!(kernels(400, "%y = gelu %s").len(), 2);
    assert_eq!(
        kernels(400, "%t = sigmoid %s %u = mul %s, %t %y = add %u, %r").len(),
        2
    );
    assert_eq!(kernels(4, "%y = gelu %s").len(), 1);
}

#[test]
fn results_of_other_floats_stay_out_of_contractions() {
    for dtype in ["f16", "bf16"] {
        let behind = format!("%y = cast %s {{to = {dtype}}}");
        assert_eq!(kernels(400, &behind).len(), 2, "{dtype}");
        assert_eq!(kernels(4, &behind).len(), 2, "{dtype}");
    }
}
