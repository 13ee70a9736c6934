//! Choosing schedules by measuring.
//!
//! A [`Table`] is a file of measured choices for one CPU: how graphs fuse and lie, which
//! micro-kernels and blocks contractions take. [`Table::choices`] makes of it what the compiler
//! takes; [`search`] fills it. What is measured is the model itself: two programs that differ in
//! one choice for each entry run in turns, and the least time of each counts, so that caches are
//! as they are in a run. An entry is the best choice so far and the trials that led there: a
//! search that was stopped goes on where it was.
//!
//! A choice is taken only if it is faster, in two trials, by more than [`MARGIN`] and the noise
//! that they saw themselves. Every choice is right; products of other parts change bits within the
//! precision.
//!
//! ```
//! use std::time::Duration;
//! use alula::tune::{Cpu, ModelBench, Search, Table, search};
//! use alula::{Model, Tensor, Value};
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("model.onnx");
//! # std::fs::write(&path, alula::doc_model())?;
//! let builder = Model::builder(&path).threads(1);
//! let x = Value::from(Tensor::from_slice(&[2], &[1.0_f32, -2.0])?);
//! let mut bench = ModelBench::new(builder.clone(), vec![("x".to_owned(), x)], 1)?;
//! let mut table = Table::new(Cpu::host()?, 1);
//! let options = Search { budget: Duration::from_secs(2), seed: 0, threads: 1 };
//! search(&mut bench, &mut table, &options, &mut |_, _| Ok(()))?;
//! let file = folder.path().join("table.json");
//! table.write(&file)?;
//! let model = builder.table(&file)?.compile()?;
//! # assert!(model.program(alula::Target::Cpu).is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bench;
mod column;
mod cpu;
mod entry;
mod sample;
mod search;
mod table;
#[cfg(test)]
mod tests;

pub use bench::{Bench, ModelBench, Times};
pub use cpu::Cpu;
pub use entry::{Entry, Trial};
pub use sample::MARGIN;
pub use search::{Outcome, Search, Told, Whole, search};
pub use table::{TABLE_FORMAT, Table, TableError};
