//! The pipeline: a graph in, a program out, one call per stage.

mod cpu;
mod pack;

use std::sync::Arc;
use std::time::{Duration, Instant};

use alula_ir::Graph;
use alula_lower::LowerFailure;
use alula_lower::cluster::{FusionReport, Strategy};
use alula_lower::layout::{LayoutReport, Layouts};
use alula_lower::plan::{Lowered, lower_with};
use alula_program::Program;

/// What the user decides about compiling.
#[derive(Clone, Debug, Default)]
pub struct CompileOptions {
    /// What fuses.
    pub strategy: Strategy,
    /// Verify every graph and kernel between stages.
    pub verify: bool,
}

/// A compiled model.
#[derive(Debug)]
pub struct Compiled {
    /// What the runtime runs.
    pub program: Arc<Program>,
    /// What fused in each plan, and what did not, with the reason.
    pub fusion: Vec<FusionReport>,
    /// How the buffers of each plan lie.
    pub layouts: Vec<LayoutReport>,
    /// How long each stage took, in order.
    pub times: Vec<(&'static str, Duration)>,
}

/// Why a graph cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// A node has no kernel.
    #[error(transparent)]
    Lower(#[from] LowerFailure),
    /// A kernel cannot be printed for the target.
    #[error("kernel {kernel}: {reason}")]
    Emit {
        /// The kernel.
        kernel: String,
        /// Why.
        reason: String,
    },
    /// The target is not there.
    #[error("{0}")]
    Target(String),
}

/// Compiles a graph for this machine's processors.
///
/// # Errors
/// [`CompileError`] naming the node or kernel.
pub fn compile(graph: Graph, options: &CompileOptions) -> Result<Compiled, CompileError> {
    let mut clock = Clock::default();
    let lowered: Lowered = lower_with(graph, options.strategy, Layouts::ChannelsLast)?;
    clock.lap("lower");
    let (fusion, layouts) = (lowered.fusion.clone(), lowered.layouts.clone());
    let program = cpu::program(lowered, options)?;
    clock.lap("emit");
    Ok(Compiled {
        program: Arc::new(program),
        fusion,
        layouts,
        times: clock.laps,
    })
}

/// Times of stages.
struct Clock {
    last: Instant,
    laps: Vec<(&'static str, Duration)>,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock {
            last: Instant::now(),
            laps: Vec::new(),
        }
    }
}

impl Clock {
    fn lap(&mut self, stage: &'static str) {
        let now = Instant::now();
        tracing::debug!(stage, took = ?(now - self.last));
        self.laps.push((stage, now - self.last));
        self.last = now;
    }
}
