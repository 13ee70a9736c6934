//! Runs into the caller's memory allocate nothing once they have run.
//!
//! A binary of its own: the allocator that counts is the whole process's, and so is the one test.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use alula::compile::{CompileOptions, compile};
use alula::{Model, Target, Tensor, TensorRef};

/// The system's allocator, counted.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every method passes its arguments on to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is this one's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is this one's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`, which is this one's.
        unsafe { System.realloc(block, layout, bytes) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, which is this one's.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Convolutions (dense, by channel, of bytes), products, reductions, joined parts, shapes that only
/// a run knows.
const GRAPHS: &[&str] = &[
    "graph @convolutions(%x: f32[N, 16, 20, 20], %w: f32[32, 16, 3, 3], %d: f32[32, 1, 3, 3],
        %v: f32[8, 32, 1, 1]) {
       %a = conv %x, %w {pads = [1, 1, 1, 1]}
       %b = relu %a
       %c = conv %b, %d {group = 32, pads = [1, 1, 1, 1]}
       %e = concat %b, %c {axis = 1}
       %f = conv %c, %v
       %y = add %f, %f
       return e: %e, y: %y }",
    "graph @products(%x: f32[N, 48, 96], %w: f32[96, 200], %h: f16[N, 64]) {
       %a = matmul %x, %w
       %b = softmax %a {axis = -1}
       %c = matmul %b, %a {transpose_b = true}
       %m = matmul %h, %h {transpose_b = true}
       return c: %c, m: %m }",
    "graph @bytes(%x: u8[1, 4, 12, 12], %w: i8[8, 4, 3, 3], %a: u8[]) {
       %y = conv_integer %x, %w, %a {pads = [1, 1, 1, 1]} return y: %y }",
];

/// Zeros for every input, with 3 for each symbol.
fn inputs(session: &alula_runtime::Session) -> Vec<Tensor> {
    let port = |port: &alula::ProgramPort| {
        let ty = port.ty.as_tensor().expect("inputs are tensors");
        let extents = ty.shape.iter().map(|dim| dim.eval(&|_| Some(3)));
        let shape: Vec<usize> = extents.map(|e| e.expect("it is bound") as usize).collect();
        Tensor::zeros(ty.dtype, &shape).expect("it fits")
    };
    session.inputs().iter().map(port).collect()
}

/// Allocations of 20 runs after the first ones.
fn allocations(session: &alula_runtime::Session) -> usize {
    let inputs = inputs(session);
    let given: Vec<_> = session.inputs().iter().zip(&inputs).collect();
    let named: Vec<(&str, alula::Value)> = given
        .iter()
        .map(|(port, tensor)| (port.name.as_str(), (*tensor).clone().into()))
        .collect();
    let mut outputs: Vec<Vec<u8>> = session
        .run(&named)
        .expect("it runs")
        .iter()
        .map(|(_, value)| value.as_tensor().expect("a tensor").bytes().to_vec())
        .collect();
    let given: Vec<TensorRef<'_>> = inputs.iter().map(TensorRef::of).collect();
    let mut taken: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    let mut run = || session.run_into(&given, &mut taken).expect("it runs");
    (0..3).for_each(|_| run());
    // A thread of the pool allocates when it starts, which is not before it gets a processor: what
    // each run allocates, every batch of them does.
    let mut batch = || {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        (0..20).for_each(|_| run());
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    (0..10).map(|_| batch()).min().unwrap_or(usize::MAX)
}

#[test]
fn a_run_into_the_callers_memory_allocates_nothing() {
    let digits = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/digits/digits.onnx"
    );
    let model = Model::builder(digits).compile().expect("it compiles");
    let mut programs = vec![model.program(Target::Cpu).expect("it is there").clone()];
    for text in GRAPHS {
        let graph = alula::ir::parse(text, alula::ops::registry(), &|_| None).expect("a graph");
        let compiled = compile(graph, Target::Cpu, &CompileOptions::default());
        programs.push(compiled.expect("it compiles").program);
    }
    for threads in [1, 2] {
        let device = alula_cpu::CpuDevice::new(threads).expect("a device");
        for program in &programs {
            let name = &program.plans[0].name;
            let session = alula_runtime::Session::new(program.clone(), &device, Default::default());
            let count = allocations(&session.expect("it loads"));
            assert_eq!(count, 0, "{name} on {threads} threads, in 20 runs");
        }
    }
}
