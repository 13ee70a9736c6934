//! Measures every kernel shape against the measured peak of each family of this CPU.
//!
//! `roof [FILTER] [SECONDS]` prints GFLOP/s (GB/s for the bandwidth-bound) and percent of the FMA
//! peak, one thread then two. Best of several rounds, since a shared machine only adds time.

#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

use std::time::Instant;

use alula_microkernel::{
    ARows, BStrides, BatchReduceGemm, Bias, ByteSign, CStore, ChannelOrder, Depthwise,
    DepthwiseOperands, DepthwiseSpec, GemmOperands, GemmSpec, ISA_VARIABLE, IntGemm,
    IntGemmOperands, Isa, Offsets, Pool, Products, Stored, Window, fma_peak, pack_b, pack_b_i8,
};

/// Seconds of the fastest of the runs that fit into `budget` seconds.
fn best(budget: f64, threads: usize, mut f: impl FnMut()) -> f64 {
    f();
    let begin = Instant::now();
    let mut least = f64::INFINITY;
    loop {
        let (start, own) = (Instant::now(), thread_seconds());
        f();
        least = least.min(match threads {
            1 => thread_seconds() - own,
            _ => start.elapsed().as_secs_f64(),
        });
        if begin.elapsed().as_secs_f64() >= budget {
            return least;
        }
    }
}

/// Elements that begin on a cache line, as a runtime's buffers do.
struct Lines {
    elements: Vec<f32>,
    first: usize,
}

impl Lines {
    fn zeros(len: usize) -> Self {
        let elements = vec![0.0; len + 16];
        let first = elements.as_ptr().align_offset(64).min(16);
        Self { elements, first }
    }
}

impl std::ops::Deref for Lines {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.elements[self.first..]
    }
}

impl std::ops::DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.elements[self.first..]
    }
}

fn filled(len: usize) -> Lines {
    let mut lines = Lines::zeros(len);
    for (i, x) in lines.iter_mut().enumerate() {
        *x = ((i * 7919) % 1009) as f32 / 504.5 - 1.0;
    }
    lines
}

struct Row {
    name: &'static str,
    spec: GemmSpec,
    a: usize,
    c: usize,
}

fn conv(isa: Isa, name: &'static str, side: usize, c: usize, kernel: usize, n: usize) -> Row {
    conv_step(isa, name, side, c, kernel, n, 1)
}

fn conv_step(
    isa: Isa,
    name: &'static str,
    side: usize,
    c: usize,
    kernel: usize,
    n: usize,
    step: usize,
) -> Row {
    let out = side.div_ceil(step);
    let window = Window {
        images: 1,
        input: [side, side],
        out: [out, out],
        kernel: [kernel, kernel],
        stride: [step, step],
        dilation: [1, 1],
        pad: [kernel / 2, kernel / 2],
        strides: [(side * side * c) as isize, (side * c) as isize, c as isize],
    };
    let mut spec = GemmSpec::conv2d(isa, window, c, n);
    spec.bias = Bias::PerN;
    spec.clip = Some((0.0, f32::INFINITY));
    let c_len = spec.m * n;
    Row {
        name,
        spec,
        a: side * side * c,
        c: c_len,
    }
}

fn rows(isa: Isa) -> Vec<Row> {
    let matmul = |name, m, k, n| Row {
        name,
        spec: GemmSpec::matmul(isa, m, k, n),
        a: m * k,
        c: m * n,
    };
    let mut transposed = matmul("gemm 1024 (A transposed)", 1024, 1024, 1024);
    transposed.spec.a_rows = ARows::Affine {
        rows: Offsets::Uniform(1),
        taps: vec![0],
    };
    transposed.spec.a_k_stride = 1024;
    let mut first = conv(isa, "conv 3x3 56x56x64 nchw", 56, 64, 3, 64);
    if let ARows::Window(w) = &mut first.spec.a_rows {
        w.strides = [56 * 56 * 64, 56, 1];
    }
    first.spec.a_k_stride = 56 * 56;
    first.spec.c_rows = Offsets::Uniform(1);
    first.spec.c_store = CStore::Strided(56 * 56);
    vec![
        matmul("gemm 1024", 1024, 1024, 1024),
        transposed,
        matmul("gemm 128x768x3072", 128, 768, 3072),
        matmul("gemm 128x64x128", 128, 64, 128),
        matmul("gemm 197x192x576", 197, 192, 576),
        conv(isa, "conv 3x3 56x56x64", 56, 64, 3, 64),
        first,
        conv(isa, "conv 3x3 28x28x128", 28, 128, 3, 128),
        conv(isa, "conv 3x3 14x14x256", 14, 256, 3, 256),
        conv(isa, "conv 3x3 7x7x512", 7, 512, 3, 512),
        conv_step(isa, "conv 3x3/2 56x56x128", 56, 128, 3, 128, 2),
        conv(isa, "conv 1x1 56x56x64-256", 56, 64, 1, 256),
        conv(isa, "conv 1x1 56x56x256-64", 56, 256, 1, 64),
        conv(isa, "conv 1x1 14x14x1024-256", 14, 1024, 1, 256),
        conv(isa, "conv 1x1 7x7x512-2048", 7, 512, 1, 2048),
        conv(isa, "conv 1x1 112x112x16-96", 112, 16, 1, 96),
        conv(isa, "conv 1x1 56x56x144-24", 56, 144, 1, 24),
        conv_step(isa, "conv 7x7/2 224x224x3", 224, 3, 7, 64, 2),
        matmul("gemv 768x3072", 1, 768, 3072),
        matmul("gemv 256x256", 1, 256, 256),
        matmul("gemv 4096x4096", 1, 4096, 4096),
        matmul("gemm 4x768x3072", 4, 768, 3072),
    ]
}

fn measure(row: &Row, pool: &Pool, budget: f64) -> (f64, f64) {
    let gemm = BatchReduceGemm::new(row.spec.clone(), pool.threads()).expect("a valid shape");
    let (layout, b) = (gemm.b_layout(), packed(&gemm));
    let (a, bias, mut c) = (filled(row.a), filled(layout.n), Lines::zeros(row.c));
    let mut scratch = vec![0u8; gemm.scratch_bytes() * pool.threads()];
    let operands = GemmOperands::new(&a, &b, &mut c).with_bias(&bias);
    let seconds = best(budget, pool.threads(), || {
        // SAFETY: the vectors outlive the call, and C overlaps nothing.
        unsafe { gemm.run_on(pool, &operands, &mut scratch) }.expect("a valid run");
    });
    (
        gemm.flops() / seconds * 1e-9,
        4.0 * layout.len() as f64 / seconds * 1e-9,
    )
}

fn integer(row: &Row, pool: &Pool, budget: f64) -> f64 {
    let spec = GemmSpec {
        bias: Bias::None,
        clip: None,
        ..row.spec.clone()
    };
    let gemm = IntGemm::new(spec, ByteSign::Unsigned, pool.threads()).expect("a valid shape");
    let layout = gemm.b_layout();
    let source = vec![3u8; layout.taps * layout.k * layout.n];
    let strides = BStrides {
        tap: (layout.k * layout.n) as isize,
        k: layout.n as isize,
        n: 1,
    };
    let mut b = vec![0u8; layout.len()];
    pack_b_i8(
        &layout,
        (&source, ByteSign::Signed),
        strides,
        0..layout.panels(),
        &mut b,
    )
    .expect("a valid layout");
    let (a, mut c) = (vec![5u8; row.a], vec![0i32; row.c]);
    let mut scratch = vec![0u8; gemm.scratch_bytes() * pool.threads()];
    let operands = IntGemmOperands::new(&a, &b, &mut c).with_zeros(3, &[]);
    let seconds = best(budget, pool.threads(), || {
        // SAFETY: the vectors outlive the call, and C overlaps nothing.
        unsafe { gemm.run_on(pool, &operands, &mut scratch) }.expect("a valid run");
    });
    gemm.operations() / seconds * 1e-9
}

/// Processor seconds of this thread: on a busy machine, what a run would take alone.
fn thread_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a plain system call that writes the struct.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// GFLOP/s of each form of product of a shape, run by run in turns, so that all see the machine
/// alike.
fn split(row: &Row, pool: &Pool, budget: f64) -> [f64; 4] {
    let (a, bias, mut c) = (filled(row.a), filled(row.spec.n), Lines::zeros(row.c));
    let mut forms: Vec<_> = Products::ALL
        .into_iter()
        .map(|products| {
            let spec = GemmSpec {
                products,
                ..row.spec.clone()
            };
            let gemm = BatchReduceGemm::new(spec, pool.threads()).expect("a valid shape");
            let b = packed(&gemm);
            let scratch = vec![0u8; gemm.scratch_bytes() * pool.threads()];
            (gemm, b, scratch)
        })
        .collect();
    let mut least = [f64::INFINITY; 4];
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < budget {
        for ((gemm, b, scratch), least) in forms.iter_mut().zip(&mut least) {
            let operands = GemmOperands::new(&a, b, &mut c).with_bias(&bias);
            *least = least.min(best(0.0, pool.threads(), || {
                // SAFETY: the vectors outlive the call, and C overlaps nothing.
                unsafe { gemm.run_on(pool, &operands, scratch) }.expect("a valid run");
            }));
        }
    }
    least.map(|seconds| forms[0].0.flops() / seconds * 1e-9)
}

/// A right side, packed.
fn packed(gemm: &BatchReduceGemm) -> Lines {
    let layout = gemm.b_layout();
    let source = filled(layout.taps * layout.k * layout.n);
    let strides = BStrides {
        tap: (layout.k * layout.n) as isize,
        k: layout.n as isize,
        n: 1,
    };
    let mut b = Lines::zeros(layout.len());
    pack_b(&layout, &source, strides, 0..layout.panels(), &mut b).expect("a valid layout");
    b
}

const DEPTHWISE: [(&str, usize, usize, usize, usize, bool); 9] = [
    ("dw 3x3 34x34x32", 34, 32, 3, 1, false),
    ("dw 3x3 112x112x32", 112, 32, 3, 1, false),
    ("dw 3x3 56x56x144", 56, 144, 3, 1, false),
    ("dw 3x3/2 56x56x144", 56, 144, 3, 2, false),
    ("dw 3x3 14x14x384", 14, 384, 3, 1, false),
    ("dw 5x5 14x14x480", 14, 480, 5, 1, false),
    ("dw 3x3 56x56x144 nchw", 56, 144, 3, 1, true),
    ("dw 3x3/2 56x56x144 nchw", 56, 144, 3, 2, true),
    ("dw 3x3 14x14x384 nchw", 14, 384, 3, 1, true),
];

fn depthwise(
    isa: Isa,
    side: usize,
    c: usize,
    kernel: usize,
    step: usize,
    first: bool,
    pool: &Pool,
    budget: f64,
) -> f64 {
    let out = side.div_ceil(step);
    let strides = |side: usize| {
        let (side, c) = (side as isize, c as isize);
        if first {
            [side * side * c, side, 1]
        } else {
            [side * side * c, side * c, c]
        }
    };
    let window = Window {
        images: 1,
        input: [side, side],
        out: [out, out],
        kernel: [kernel, kernel],
        stride: [step, step],
        dilation: [1, 1],
        pad: [kernel / 2, kernel / 2],
        strides: strides(side),
    };
    let order = if first {
        ChannelOrder::First {
            x: (side * side) as isize,
            y: (out * out) as isize,
        }
    } else {
        ChannelOrder::Last
    };
    let plan = Depthwise::new(DepthwiseSpec {
        isa,
        window,
        channels: c,
        order,
        y_strides: strides(out),
        bias: true,
        residual: false,
        clip: Some((0.0, 6.0)),
        x_stored: Stored::F32,
        y_stored: Stored::F32,
    })
    .expect("a valid shape");
    let (x, w, bias) = (
        filled(side * side * c),
        filled(kernel * kernel * c),
        filled(c),
    );
    let mut y = Lines::zeros(out * out * c);
    let mut scratch = vec![0u8; plan.scratch_bytes() * pool.threads()];
    let operands = DepthwiseOperands::new(&x, &w, &mut y).with_bias(&bias);
    let seconds = best(budget, pool.threads(), || {
        // SAFETY: the vectors outlive the call.
        unsafe { plan.run_on(pool, &operands, &mut scratch) }.expect("a valid run");
    });
    plan.flops() / seconds * 1e-9
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let filter = arguments.next().unwrap_or_default();
    let budget = arguments.next().and_then(|s| s.parse().ok()).unwrap_or(0.2);
    let families = match std::env::var(ISA_VARIABLE) {
        Ok(_) => vec![Isa::current().expect("a family of this cpu")],
        Err(_) => Isa::available().collect(),
    };
    let pools = [1, 2].map(|threads| Pool::new(threads).expect("two threads"));
    if "region".contains(&filter) {
        for pool in &pools {
            let seconds = best(budget, pool.threads(), || {
                for _ in 0..100 {
                    pool.run(2, |_, _| ()).expect("nothing panics");
                }
            });
            println!(
                "empty region, {} threads: {:.0} ns",
                pool.threads(),
                seconds * 1e7
            );
        }
    }
    for isa in families {
        let peak = fma_peak(isa);
        println!("{}: fma peak {peak:.0} GFLOP/s", isa.name());
        for row in rows(isa).iter().filter(|row| row.name.contains(&filter)) {
            print!("  {:26}", row.name);
            for pool in &pools {
                let (gflops, gbytes) = measure(row, pool, budget);
                let percent = 100.0 * gflops / peak / pool.threads() as f64;
                print!(" {gflops:7.1} GF {percent:4.0} % (B {gbytes:5.1} GB/s)");
            }
            println!();
        }
        let with_tiles = isa == Isa::Amx;
        for row in rows(isa)
            .iter()
            .filter(|row| with_tiles && row.name.contains(&filter))
        {
            print!("  split {:26}", row.name);
            for pool in &pools {
                let [whole, six, three, one] = split(row, pool, budget);
                print!(
                    " f32 {whole:5.0} GF, products of 6: {six:5.0}, 3: {three:5.0}, 1: {one:5.0};"
                );
            }
            println!();
        }
        for row in rows(isa)
            .iter()
            .filter(|row| format!("int8 {}", row.name).contains(&filter))
        {
            if row.spec.a_k_stride != 1 {
                continue;
            }
            print!("  int8 {:21}", row.name);
            for pool in &pools {
                let gops = integer(row, pool, budget);
                print!(" {gops:7.0} GOP/s                    ");
            }
            println!();
        }
        for (name, side, c, kernel, step, first) in DEPTHWISE {
            if !name.contains(&filter) {
                continue;
            }
            print!("  {name:26}");
            for pool in &pools {
                let gflops = depthwise(isa, side, c, kernel, step, first, pool, budget);
                let percent = 100.0 * gflops / peak / pool.threads() as f64;
                print!(" {gflops:7.1} GF {percent:4.0} %                ");
            }
            println!();
        }
    }
}
