//! Kernels against the measured roof of this machine: `cargo bench -p alula-benches --bench
//! kernels`.
//!
//! Each line gives GFLOP/s (GOP/s of bytes, GB/s of what memory bounds) and per cent of a roof that
//! is measured just before: products from registers of the same family and form, or reading or
//! copying as many bytes. One thread, processor time, and the least of many runs for the kernel and
//! for the roof, so that what else the machine does hardly counts. `ALULA_CPU_ISA` chooses the
//! family. Without `--bench`, as `cargo test` runs it, each kernel runs once.

#![allow(clippy::print_stderr, reason = "a report is what this program is for")]

mod depthwise;
mod loops;
mod products;
mod rate;
mod shapes;

use std::time::Duration;

use alula_microkernel::Isa;
use criterion::{Criterion, Throughput};
use rate::{Rate, Roof};

/// What is measured, and the roofs that it is held against.
struct Bench {
    criterion: Criterion<Rate>,
    roof: Roof,
    isa: Isa,
}

impl Bench {
    /// Measures runs that do so much work, against the roof of this many units of 10^9 a second.
    fn measure(&mut self, name: &str, work: &Throughput, roof: f64, run: impl FnMut()) {
        self.roof.set(roof);
        let (group, case) = name.split_once('/').expect("a name is GROUP/CASE");
        let mut group = self.criterion.benchmark_group(group);
        group.throughput(work.clone());
        let mut run = run;
        group.bench_function(case, |bencher| {
            bencher.iter_custom(|count| rate::least(count, &mut run) * count as u32);
        });
        group.finish();
    }
}

fn main() {
    let roof = Roof::default();
    let isa = Isa::current().expect("ALULA_CPU_ISA names a family of this processor");
    let criterion = Criterion::default()
        .with_measurement(Rate::new(roof.clone()))
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(20)
        .configure_from_args();
    let mut bench = Bench {
        criterion,
        roof,
        isa,
    };
    eprintln!("family {}, one thread", isa.name());
    products::gemm(&mut bench);
    products::conv(&mut bench);
    products::gemv(&mut bench);
    depthwise::all(&mut bench);
    loops::all(&mut bench);
    bench.criterion.final_summary();
}
