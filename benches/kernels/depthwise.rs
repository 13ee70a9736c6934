//! Depthwise convolutions by the micro-kernels.

use alula_microkernel::{
    ChannelOrder, Depthwise, DepthwiseOperands, DepthwiseSpec, Pool, Stored, fma_peak,
};
use criterion::Throughput;

use super::Bench;
use super::shapes::{Lines, window};

/// Name, side and channels, of MobileNet v2.
const SHAPES: [(&str, usize, usize); 3] = [
    ("3x3 112x112x32", 112, 32),
    ("3x3 56x56x144", 56, 144),
    ("3x3 14x14x384", 14, 384),
];

pub(crate) fn all(bench: &mut Bench) {
    for (name, side, channels) in SHAPES {
        let window = window(side, channels, 3);
        let plan = Depthwise::new(DepthwiseSpec {
            isa: bench.isa,
            y_strides: window.strides,
            window,
            channels,
            order: ChannelOrder::Last,
            bias: true,
            residual: false,
            clip: Some((0.0, 6.0)),
            x_stored: Stored::F32,
            y_stored: Stored::F32,
        })
        .expect("a valid shape");
        let (x, mut y) = (
            Lines::filled(side * side * channels),
            Lines::zeros(side * side * channels),
        );
        let (filters, bias) = (Lines::filled(9 * channels), Lines::filled(channels));
        let mut scratch = vec![0u8; plan.scratch_bytes()];
        let pool = Pool::new(1).expect("one thread");
        let work = Throughput::Elements(plan.flops() as u64);
        let (name, roof) = (format!("depthwise/{name} f32"), fma_peak(bench.isa));
        bench.measure(&name, &work, roof, || {
            let operands = DepthwiseOperands::new(&x, &filters, &mut y).with_bias(&bias);
            // SAFETY: the vectors outlive the call.
            unsafe { plan.run_on(&pool, &operands, &mut scratch) }.expect("a valid run");
        });
    }
}
