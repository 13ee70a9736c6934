//! Products and convolutions by the micro-kernels: f32, parts of bf16, bytes.

use alula_microkernel::{
    BStrides, BatchReduceGemm, Bias, ByteSign, GemmOperands, GemmSpec, IntGemm, IntGemmOperands,
    Pool, Products, byte_peak, pack_b, pack_b_i8, product_peak, read_peak,
};
use criterion::Throughput;

use super::Bench;
use super::shapes::{Lines, Shape, convolutions, products, rows};

/// Products of matrices in every form.
pub(crate) fn gemm(bench: &mut Bench) {
    for shape in products(bench.isa) {
        every_form(bench, "gemm", &shape);
    }
}

/// Convolutions in every form.
pub(crate) fn conv(bench: &mut Bench) {
    for shape in convolutions(bench.isa) {
        every_form(bench, "conv", &shape);
    }
}

/// One row by a matrix, which takes as long as the matrix takes to be read.
pub(crate) fn gemv(bench: &mut Bench) {
    for shape in rows(bench.isa) {
        let mut gemm = Gemm::new(&shape, Products::Whole);
        let roof = read_peak(bench.isa, &gemm.b);
        let bytes = Throughput::BytesDecimal(4 * gemm.b.len() as u64);
        let name = format!("gemv/{} f32", shape.name);
        bench.measure(&name, &bytes, roof, || gemm.run());
    }
}

fn every_form(bench: &mut Bench, group: &str, shape: &Shape) {
    let words = ["f32", "six products", "three products", "one product"];
    for (products, word) in Products::ALL.into_iter().zip(words) {
        let (name, roof) = (
            format!("{group}/{} {word}", shape.name),
            product_peak(bench.isa, products),
        );
        if roof == 0.0 {
            eprintln!("{name}: {} has no tiles of bf16", bench.isa.name());
            continue;
        }
        let mut gemm = Gemm::new(shape, products);
        let work = Throughput::Elements(gemm.gemm.flops() as u64);
        bench.measure(&name, &work, roof, || gemm.run());
    }
    let mut bytes = Bytes::new(shape);
    let (name, roof) = (format!("{group}/{} int8", shape.name), byte_peak(bench.isa));
    let work = Throughput::Bits(bytes.gemm.operations() as u64);
    bench.measure(&name, &work, roof, || bytes.run());
}

/// A product of f32, ready to run.
struct Gemm {
    gemm: BatchReduceGemm,
    pool: Pool,
    a: Lines,
    b: Lines,
    c: Lines,
    bias: Lines,
    scratch: Vec<u8>,
}

impl Gemm {
    fn new(shape: &Shape, products: Products) -> Gemm {
        let spec = GemmSpec {
            products,
            ..shape.spec.clone()
        };
        let gemm = BatchReduceGemm::new(spec, 1).expect("a valid shape");
        let layout = gemm.b_layout();
        let source = Lines::filled(layout.taps * layout.k * layout.n);
        let mut b = Lines::zeros(layout.len());
        let strides = strides(layout.k, layout.n);
        pack_b(&layout, &source, strides, 0..layout.panels(), &mut b).expect("a valid layout");
        Gemm {
            pool: Pool::new(1).expect("one thread"),
            a: Lines::filled(shape.a),
            b,
            c: Lines::zeros(shape.c),
            bias: Lines::filled(layout.n),
            scratch: vec![0; gemm.scratch_bytes()],
            gemm,
        }
    }

    fn run(&mut self) {
        let operands = GemmOperands::new(&self.a, &self.b, &mut self.c).with_bias(&self.bias);
        // SAFETY: the vectors outlive the call, and C overlaps nothing.
        let done = unsafe { self.gemm.run_on(&self.pool, &operands, &mut self.scratch) };
        done.expect("a valid run");
    }
}

/// A product of bytes, ready to run.
struct Bytes {
    gemm: IntGemm,
    pool: Pool,
    a: Vec<u8>,
    b: Vec<u8>,
    c: Vec<i32>,
    scratch: Vec<u8>,
}

impl Bytes {
    fn new(shape: &Shape) -> Bytes {
        let spec = GemmSpec {
            bias: Bias::None,
            clip: None,
            ..shape.spec.clone()
        };
        let gemm = IntGemm::new(spec, ByteSign::Unsigned, 1).expect("a valid shape");
        let layout = gemm.b_layout();
        let source = vec![3; layout.taps * layout.k * layout.n];
        let (mut b, panels) = (vec![0; layout.len()], 0..layout.panels());
        let strides = strides(layout.k, layout.n);
        let packed = pack_b_i8(
            &layout,
            (&source, ByteSign::Signed),
            strides,
            panels,
            &mut b,
        );
        packed.expect("a valid layout");
        Bytes {
            pool: Pool::new(1).expect("one thread"),
            a: vec![5; shape.a],
            b,
            c: vec![0; shape.c],
            scratch: vec![0; gemm.scratch_bytes()],
            gemm,
        }
    }

    fn run(&mut self) {
        let operands = IntGemmOperands::new(&self.a, &self.b, &mut self.c).with_zeros(3, &[]);
        // SAFETY: the vectors outlive the call, and C overlaps nothing.
        let done = unsafe { self.gemm.run_on(&self.pool, &operands, &mut self.scratch) };
        done.expect("a valid run");
    }
}

/// Of a right side `[tap][k][n]`.
fn strides(k: usize, n: usize) -> BStrides {
    BStrides {
        tap: (k * n) as isize,
        k: n as isize,
        n: 1,
    }
}
