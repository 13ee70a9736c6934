//! Recurrences on a processor, with weights that make them kernels and with such that make them
//! loops of products.

use alula::compile::{CompileOptions, compile};
use alula::{Target, Tensor, Value};
use alula_program::Step;
use alula_testkit::SplitMix64;

/// Steps of each sequence.
const STEPS: usize = 5;

fn random(shape: &[usize], random: &mut SplitMix64, scale: f64) -> Tensor {
    let mut value = || (random.uniform(-1.0..1.0) * scale) as f32;
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| value()).collect();
    Tensor::from_slice(shape, &values).expect("the count fits")
}

/// Runs a recurrence in both directions on a batch, which is of 2 if its extent is a symbol: the
/// number of its loops in the program. The results must be near the reference, and the same with
/// one and two threads.
fn loops(op: &str, [gates, kinds]: [usize; 2], hidden: usize, batch: &str) -> usize {
    let names = ["sigmoid", "tanh", "tanh"];
    let activations: Vec<String> = (0..2 * kinds)
        .map(|k| format!("{:?}", names[k % kinds]))
        .collect();
    let (activations, zeros) = (activations.join(", "), vec!["0.0"; 2 * kinds].join(", "));
    let (rows, is_lstm) = (gates * hidden, op == "lstm_scan");
    let (results, outputs) = match is_lstm {
        true => ("%y, %h, %c", "y: %y, h: %h, c: %c"),
        false => ("%y, %h", "y: %y, h: %h"),
    };
    let text = format!(
        "graph @g(%g: f32[T, {batch}, 2, {rows}], %r: f32[2, {rows}, {hidden}],
           %s: f32[2, {batch}, {hidden}]) {{
           {results} = {op} %g, %r, %s {{activations = [{activations}],
             alphas = [{zeros}], betas = [{zeros}]}}
           return {outputs} }}"
    );
    let mut graph = alula::ir::parse(&text, alula::ops::registry(), &|_| None).expect("a graph");
    let mut numbers = SplitMix64::new(3);
    let batch = batch.parse().unwrap_or(2);
    let weights = random(&[2, rows, hidden], &mut numbers, 0.1);
    let constant = graph.constant(weights.clone());
    let input = graph.inputs()[1];
    graph.replace(input, constant).expect("of one type");
    let inputs = [
        random(&[STEPS, batch, 2, rows], &mut numbers, 2.0),
        weights,
        random(&[2, batch, hidden], &mut numbers, 1.0),
    ];
    let values = inputs.iter().cloned().map(Into::into).collect();
    let want = alula::ops::evaluate(&graph, values).expect("the reference runs");
    let compiled = compile(graph, Target::Cpu, &CompileOptions::default()).expect("it compiles");
    let named: Vec<(&str, Value)> = ["g", "r", "s"]
        .into_iter()
        .zip(inputs.map(Value::from))
        .collect();
    let runs = [1, 2].map(|threads| {
        let device = alula_cpu::CpuDevice::new(threads).expect("a device");
        let program = compiled.program.clone();
        let session = alula_runtime::Session::new(program, &device, Default::default());
        let session = session.expect("it loads");
        // The second run finds frames of the first.
        session.run(&named).expect("it runs");
        session.run(&named).expect("it runs")
    });
    let tensors = runs.map(|outputs| -> Vec<Tensor> {
        let tensor = |(_, value): &(String, Value)| value.as_tensor().expect("a tensor").clone();
        outputs.iter().map(tensor).collect()
    });
    for ((one, two), want) in tensors[0].iter().zip(&tensors[1]).zip(&want) {
        assert_eq!(one.bytes(), two.bytes(), "{op}: threads change nothing");
        let want = want.as_tensor().expect("a tensor");
        assert_eq!(one.shape(), want.shape());
        for (one, want) in one.to_f64s().into_iter().zip(want.to_f64s()) {
            assert!((one - want).abs() < 1e-5, "{op}: {one} for {want}");
        }
    }
    let steps = compiled.program.plans.iter().flat_map(|plan| &plan.steps);
    steps
        .filter(|step| matches!(step, Step::Loop { .. }))
        .count()
}

#[test]
fn large_recurrent_weights_are_packed() {
    assert_eq!(loops("lstm_scan", [4, 3], 256, "N"), 2);
    assert_eq!(loops("gru_scan", [3, 2], 304, "N"), 2);
    assert_eq!(loops("rnn_scan", [1, 1], 512, "N"), 2);
    // They are read for each sequence.
    assert_eq!(loops("lstm_scan", [4, 3], 96, "8"), 2);
}

#[test]
fn small_ones_stay_in_a_kernel() {
    assert_eq!(loops("lstm_scan", [4, 3], 24, "N"), 0);
    assert_eq!(loops("gru_scan", [3, 2], 24, "8"), 0);
}
