//! Benchmarks: `cargo bench -p alula-benches`. `kernels` holds kernels against measured roofs,
//! `example` compiles and runs the example model. Models side by side with peers are measured
//! through `alula bench`, by `tools/models/speed.py`.
