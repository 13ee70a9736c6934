//! Kernels with operands and results: those of every operator's examples ([`operator_cases`]), one
//! for each scalar operator ([`scalar_cases`]), and launches that must be refused
//! ([`check_arguments`]).

mod arguments;
mod cases;
mod scalars;

use std::collections::BTreeMap;

use alula_kernel::{Access, Kernel};
use alula_program::{Arg, DeviceError, Launch, Module};
use alula_tensor::{Scalar, Symbol, Tensor};
use alula_testkit::tolerance::{Class, compare};

pub use arguments::{check_arguments, negation};
pub use cases::operator_cases;
pub use scalars::scalar_cases;

/// Threads of a workgroup in kernels for GPUs.
pub const LANES: u32 = 64;

/// A kernel to run.
pub struct Case {
    /// Operator and which of its kernels.
    pub name: String,
    /// As built, not yet legalized.
    pub kernel: Kernel,
    /// Values of the parameters that are read, which come first.
    pub operands: Vec<Tensor>,
    /// What the others must hold afterwards.
    pub results: Vec<Tensor>,
    /// The symbols' values.
    pub symbols: BTreeMap<Symbol, i64>,
    /// How far results may be off.
    pub class: Class,
}

impl Case {
    /// Values of the kernel's symbols, in order.
    pub fn symbol_values(&self, kernel: &Kernel) -> Vec<i64> {
        kernel
            .symbols
            .iter()
            .map(|symbol| self.symbols[symbol])
            .collect()
    }

    /// What is wrong with the results, if anything.
    pub fn mismatch(&self, results: &[Vec<u8>]) -> Option<String> {
        let wrong = self
            .results
            .iter()
            .zip(results)
            .find_map(|(expected, bytes)| {
                let dtype = expected.dtype();
                let size = dtype.size_bytes();
                let actual: Vec<f64> = bytes
                    .chunks(size)
                    .map(|e| Scalar::load(dtype, e).to_f64())
                    .collect();
                let report = compare(&expected.to_f64s(), &actual, self.class, dtype);
                (!report.is_ok()).then(|| report.to_string())
            });
        wrong.map(|report| format!("{}: {report}", self.name))
    }

    /// Runs it as a module's one kernel, and returns the results.
    ///
    /// # Errors
    /// What the device says.
    pub fn run(&self, module: &dyn Module, memory: Memory) -> Result<Vec<Vec<u8>>, DeviceError> {
        let operands = self.operands.iter().map(|tensor| tensor.bytes().to_vec());
        let poison = self.results.iter().map(|r| vec![0xA5; r.bytes().len()]);
        let mut buffers: Vec<Vec<u8>> = operands.chain(poison).collect();
        let symbols = self.symbol_values(&self.kernel);
        launch(module, &self.kernel, &symbols, &mut buffers, memory)?;
        Ok(buffers.split_off(self.operands.len()))
    }
}

/// Where the parameters of a launch lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// In one arena, with gaps.
    Arena,
    /// In memory of the host.
    Host,
}

/// Launches a module's first kernel on its parameters' bytes, and brings back what was written.
///
/// # Errors
/// What the device says.
pub fn launch(
    module: &dyn Module,
    kernel: &Kernel,
    symbols: &[i64],
    buffers: &mut [Vec<u8>],
    memory: Memory,
) -> Result<(), DeviceError> {
    let start = |arena: &mut dyn alula_program::Arena, args: &mut [Arg<'_>]| {
        let launch = Launch {
            kernel: 0,
            args,
            symbols,
            work: 0,
            deadline: None,
        };
        module.launch(arena, launch)
    };
    let reads = |position: usize| kernel.params[position].access == Access::Read;
    if memory == Memory::Host {
        let mut args: Vec<Arg<'_>> = buffers
            .iter_mut()
            .enumerate()
            .map(|(position, bytes)| match reads(position) {
                true => Arg::Host(bytes),
                false => Arg::HostMut(bytes),
            })
            .collect();
        return start(module.arena(0)?.as_mut(), &mut args);
    }
    let mut end = 64;
    let ranges: Vec<std::ops::Range<usize>> = buffers
        .iter()
        .map(|bytes| {
            let begin = end;
            end = (begin + bytes.len()).next_multiple_of(64) + 64;
            begin..begin + bytes.len()
        })
        .collect();
    let mut arena = module.arena(end)?;
    for (bytes, range) in buffers.iter().zip(&ranges) {
        arena.write(range.start, bytes)?;
    }
    let mut args: Vec<Arg<'_>> = ranges.iter().cloned().map(Arg::Arena).collect();
    start(arena.as_mut(), &mut args)?;
    for (bytes, range) in buffers.iter_mut().zip(ranges) {
        arena.read(range, bytes)?;
    }
    Ok(())
}
