//! How fast the interpreter runs the test kernels: lane instructions and flops per second.
//!
//! `cargo run -p alula-ptx-interpreter --example throughput`

use std::time::Instant;

use alula_ptx_interpreter::{Device, LaunchOptions, Module, ParamValue, Stats};

fn report(name: &str, run: impl FnOnce() -> Result<Stats, Box<dyn std::error::Error>>) {
    let start = Instant::now();
    let result = run();
    let seconds = start.elapsed().as_secs_f64();
    match result {
        Err(error) => eprintln!("{name}: {error}"),
        Ok(stats) => eprintln!(
            "{name}: {:.0} M lane instructions/s, {:.3} matrix GFLOP/s, {seconds:.3} s",
            stats.lane_instructions as f64 / seconds / 1e6,
            stats.matrix_flops as f64 / seconds / 1e9,
        ),
    }
}

fn main() {
    let options = LaunchOptions::default();
    report("tiled f32 GEMM 256x256x256", || {
        let module = Module::parse(include_str!("../tests/ptx/gemm_tiled.ptx"))?;
        let mut device = Device::new();
        let size = 256usize;
        let zeros = vec![0; size * size * 4];
        let [a, b, c] = [(); 3].map(|()| ParamValue::U64(device.alloc_with(&zeros)));
        let extent = ParamValue::U32(size as u32);
        let params = [a, b, c, extent.clone(), extent];
        let grid = [size as u32 / 16; 2];
        let grid = [grid[0], grid[1], 1];
        Ok(device.launch(&module, "gemm", grid, [16, 16, 1], 0, &params, &options)?)
    });
    report("mma f16 GEMM 16x8x65536", || {
        let module = Module::parse(include_str!("../tests/ptx/gemm_mma.ptx"))?;
        let mut device = Device::new();
        let k = 65_536usize;
        let a = ParamValue::U64(device.alloc_with(&vec![0; 16 * k * 2]));
        let b = ParamValue::U64(device.alloc_with(&vec![0; k * 8 * 2]));
        let c = ParamValue::U64(device.alloc(512));
        let params = [a, b, c, ParamValue::U32(k as u32)];
        Ok(device.launch(&module, "gemm", [1; 3], [32, 1, 1], 2048, &params, &options)?)
    });
    report("softmax 64 x 8192", || {
        let module = Module::parse(include_str!("../tests/ptx/softmax.ptx"))?;
        let mut device = Device::new();
        let (rows, cols) = (64usize, 8192usize);
        let x = ParamValue::U64(device.alloc_with(&vec![0; rows * cols * 4]));
        let y = ParamValue::U64(device.alloc(rows * cols * 4));
        let params = [x, y, ParamValue::U32(cols as u32)];
        Ok(device.launch(
            &module,
            "softmax",
            [rows as u32, 1, 1],
            [128, 1, 1],
            0,
            &params,
            &options,
        )?)
    });
}
