//! Generated loops, compiled from graphs as models are: each reads its operand and writes its
//! result once, and is held against copying as many bytes.

use std::time::Instant;

use alula::compile::{CompileOptions, compile};
use alula::ir::parse;
use alula::ops::registry;
use alula::{DType, Target, TensorRef, open_device};
use alula_runtime::Session;
use criterion::Throughput;

use super::Bench;
use super::shapes::Lines;

/// Shapes of a whole activation of MobileNet v2 and of one beyond every cache but the last.
const CHAIN: [[usize; 2]; 2] = [[144, 3136], [2048, 4096]];
/// Scores of BERT base at 128 tokens, and of ViT.
const SCORES: [[usize; 2]; 2] = [[1536, 128], [2364, 197]];
/// Tokens of BERT base and of DeiT tiny.
const TOKENS: [[usize; 2]; 2] = [[128, 768], [197, 192]];

pub(crate) fn all(bench: &mut Bench) {
    for shape in CHAIN {
        let body = "%a = mul %x, %x %b = add %a, %x %c = sigmoid %b %y = mul %c, %x";
        graph(bench, "elementwise", shape, "", body);
    }
    for shape in SCORES {
        graph(bench, "softmax", shape, "", "%y = softmax %x");
    }
    for shape in TOKENS {
        let n = shape[1];
        let weights = format!(", %s: f32[{n}], %b: f32[{n}]");
        graph(
            bench,
            "layer norm",
            shape,
            &weights,
            "%y = layer_norm %x, %s, %b",
        );
    }
}

/// Measures a graph of one launch from `x` to `y`.
fn graph(bench: &mut Bench, group: &str, [rows, columns]: [usize; 2], more: &str, body: &str) {
    let text = format!("graph @g(%x: f32[{rows}, {columns}]{more}) {{ {body} return y: %y }}");
    let graph = parse(&text, registry(), &|_| None).expect("it parses");
    let compiled = compile(graph, Target::Cpu, &CompileOptions::default()).expect("it compiles");
    assert_eq!(compiled.program.kernels.len(), 1, "{group} is one launch");
    let device = open_device(Target::Cpu, 1).expect("a device");
    let session = Session::new(compiled.program, device.as_ref(), Default::default());
    let session = session.expect("it loads");
    let (x, weights) = (Lines::filled(rows * columns), Lines::filled(columns));
    let mut y = Lines::zeros(rows * columns + 16);
    let (of_x, of_weights) = ([rows, columns], [columns]);
    let inputs: Vec<TensorRef<'_>> = (0..session.inputs().len())
        .map(|position| match position {
            0 => floats(&of_x, &x[..rows * columns]),
            _ => floats(&of_weights, &weights[..columns]),
        })
        .collect();
    let bytes = 2 * 4 * (rows * columns) as u64;
    let roof = copy_peak(&x, &mut y);
    let name = format!("{group}/{rows}x{columns}");
    bench.measure(&name, &Throughput::BytesDecimal(bytes), roof, || {
        let result = bytemuck::cast_slice_mut(&mut y[..rows * columns]);
        session.run_into(&inputs, &mut [result]).expect("it runs");
    });
}

fn floats<'a>(shape: &'a [usize], values: &'a [f32]) -> TensorRef<'a> {
    TensorRef {
        dtype: DType::F32,
        shape,
        bytes: bytemuck::cast_slice(values),
    }
}

/// GB/s of copying, bytes read and written, best of many rounds.
fn copy_peak(from: &[f32], to: &mut [f32]) -> f64 {
    let len = from.len().min(to.len());
    let rounds = ((1 << 28) / len).clamp(16, 1000);
    let timed = (0..rounds).map(|_| {
        let start = Instant::now();
        to[..len].copy_from_slice(&from[..len]);
        std::hint::black_box(&mut *to);
        start.elapsed().as_secs_f64()
    });
    (8 * len) as f64 / timed.fold(f64::INFINITY, f64::min) * 1e-9
}
