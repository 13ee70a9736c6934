//! The pipeline: a graph in, a program out, one call per stage.

mod chain;
mod choices;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod epilogues;
mod launches;
mod narrow;
mod pack;
mod rows;
mod scalars;
pub mod stages;
#[cfg(test)]
mod tests;
#[cfg(feature = "wgpu")]
mod wgpu;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alula_ir::Graph;
use alula_lower::LowerFailure;
use alula_lower::cluster::{FusionPlan, FusionReport, Strategy};
use alula_lower::layout::{LayoutReport, Layouts};
use alula_lower::plan::{LowerOptions, Lowered, lower_as};
use alula_lower::quant::{Fate, Native};
use alula_program::Program;

pub use choices::{Choices, Decisions, GraphChoice, GraphSite, Site};

use crate::{Precision, Target};

/// What the user decides about compiling.
#[derive(Clone, Debug, Default)]
pub struct CompileOptions {
    /// What fuses.
    pub strategy: Strategy,
    /// What fuses instead, group by group.
    pub fusion: Option<FusionPlan>,
    /// What takes quantized operands as they are stored.
    pub native: Native,
    /// Verify every graph and kernel between stages.
    pub verify: bool,
    /// How exact contractions of `f32` are at least.
    pub precision: Precision,
    /// Schedules for a CPU that were measured, in place of what costs say.
    pub choices: Option<Arc<Choices>>,
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
    /// What became of the annotations on types.
    pub annotations: Vec<Fate>,
    /// What [`CompileOptions::choices`] could decide; empty without any.
    pub decisions: Decisions,
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
    /// The target does not do what some nodes ask for; all of them.
    #[error("{}", refused(*target, refusals))]
    Refused {
        /// The target.
        target: Target,
        /// Each kernel that it cannot run.
        refusals: Vec<Refusal>,
    },
    /// A kernel cannot be printed for the target: a defect of Alula.
    #[error("kernel {kernel} of {nodes}: {reason}")]
    Emit {
        /// The kernel.
        kernel: String,
        /// The nodes it stands for.
        nodes: String,
        /// Why.
        reason: String,
    },
    /// A choice that may not be taken, for what it is listed.
    #[error("the choice for {of}, listed as {key}: {reason}")]
    Choice {
        /// The key that it is listed by.
        key: String,
        /// The kernel that it is for.
        of: String,
        /// Why not.
        reason: String,
    },
    /// The target is not there.
    #[error("{0}")]
    Target(String),
    /// The target has no such stage.
    #[error("target {target} has no stage {stage}")]
    NoStage {
        /// The target.
        target: Target,
        /// The stage.
        stage: stages::Stage,
    },
    /// This build has no compiler for a target.
    #[error("this build has no compiler for target {0}")]
    Missing(Target),
}

/// A kernel that a target cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The nodes it stands for.
    pub nodes: String,
    /// What the target lacks.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.nodes, self.reason)
    }
}

fn refused(target: Target, refusals: &[Refusal]) -> String {
    let lines: String = refusals.iter().map(|one| format!("\n  {one}")).collect();
    format!(
        "target {target} cannot run {} kernels:{lines}",
        refusals.len()
    )
}

/// Compiles a graph for a target. The program is the same whatever the number of threads.
///
/// # Errors
/// [`CompileError`] naming the nodes.
pub fn compile(
    graph: Graph,
    target: Target,
    options: &CompileOptions,
) -> Result<Compiled, CompileError> {
    let _span = tracing::info_span!("compile", target = target.name()).entered();
    let mut clock = Clock::default();
    let (lowered, graph) = {
        let _span = tracing::info_span!("lower").entered();
        lowered(graph, target, options)?
    };
    clock.lap("lower");
    let (fusion, layouts) = (lowered.fusion.clone(), lowered.layouts.clone());
    let annotations = lowered.annotations.clone();
    let mut decisions = Decisions {
        graph,
        contractions: Vec::new(),
    };
    let mut program = match target {
        Target::Cpu => cpu::program(lowered, options, &mut decisions.contractions)?,
        #[cfg(feature = "wgpu")]
        Target::Wgpu => wgpu::program(lowered, options)?,
        #[cfg(feature = "cuda")]
        Target::Cuda => cuda::program(lowered, options)?,
        other => return Err(CompileError::Missing(other)),
    };
    clock.lap("emit");
    if decisions.listed() > 0 {
        let choices = options.choices.as_ref();
        program.tuned = choices.and_then(|choices| choices.tuned.clone());
    }
    Ok(Compiled {
        program: Arc::new(program),
        fusion,
        layouts,
        annotations,
        decisions,
        times: clock.laps,
    })
}

/// The graph as plans and launches, in the way that suits the target or was chosen.
fn lowered(
    graph: Graph,
    target: Target,
    options: &CompileOptions,
) -> Result<(Lowered, Option<GraphSite>), CompileError> {
    let (options, site) = lower_options(&graph, target, options);
    Ok((lower_as(graph, &options)?, site))
}

/// How a graph is lowered: as suits the target, or as was chosen.
fn lower_options(
    graph: &Graph,
    target: Target,
    options: &CompileOptions,
) -> (LowerOptions, Option<GraphSite>) {
    let site = choices::of_graph(graph, target, options);
    let chosen = site.as_ref().map(|site| site.choice);
    let options = LowerOptions {
        strategy: chosen.map_or(options.strategy, |chosen| chosen.fusion),
        fusion: options.fusion.clone(),
        // What every adapter binds, and the result; a plan may ask for more.
        operands_max: (target == Target::Wgpu && options.fusion.is_none()).then_some(7),
        epilogue: match target {
            Target::Cpu => Some(epilogues::cost),
            _ => None,
        },
        // The loops of a processor like channels last; threads of a GPU lie along rows.
        layouts: match (chosen, target) {
            (Some(chosen), _) => chosen.layouts,
            (None, Target::Cpu) => Layouts::ChannelsLast,
            (None, _) => Layouts::RowMajor,
        },
        native: options.native,
        loop_bytes_min: (target == Target::Cpu).then_some(cpu::LOOP_BYTES_MIN),
        // Elements of one or two bytes lie several to a word that a shader binds and writes.
        part_alignment: (target == Target::Wgpu).then_some(4),
    };
    (options, site)
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
        self.laps.push((stage, now - self.last));
        self.last = now;
    }
}
