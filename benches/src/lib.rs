//! Benchmarks: `cargo bench -p alula-benches`. Models side by side with peers are measured through
//! `alula bench`.
