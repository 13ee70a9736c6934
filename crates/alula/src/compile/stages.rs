//! Every stage as text.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use alula_cpu::{CpuTarget, Dump, emit_kernel};
use alula_ir::{Attr, Graph};
use alula_kernel::Kernel;
use alula_kernel::text::{Definition, Printed, parse_definitions};
use alula_lower::cluster::FusionPlan;
use alula_lower::plan::{KernelWork, Launch, Lowered};

use alula_tensor::{DType, Tensor};

use super::cpu::Planned;
use super::launches::{Words, each};
use super::{CompileError, CompileOptions, cpu, lower_options, lowered, scalars};
use crate::Target;

/// A stage of compiling, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The graph as it was imported.
    Import,
    /// The graph after the rewrite rules.
    Opt,
    /// The graph of primitives.
    Prim,
    /// What fuses: a plan to edit and load again.
    Fusion,
    /// The definition of each kernel.
    Kernel,
    /// Each kernel's loops, bound to grid, workgroups and lanes.
    Sched,
    /// The same in the words that the target has.
    Legal,
    /// Slots and steps.
    Plan,
    /// Input of the processor's code generator.
    Clif,
    /// The processor's instructions.
    Asm,
    /// Shaders.
    Wgsl,
    /// NVIDIA's assembly.
    Ptx,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Stage; 12] = [
        Stage::Import,
        Stage::Opt,
        Stage::Prim,
        Stage::Fusion,
        Stage::Kernel,
        Stage::Sched,
        Stage::Legal,
        Stage::Plan,
        Stage::Clif,
        Stage::Asm,
        Stage::Wgsl,
        Stage::Ptx,
    ];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Import => "import",
            Stage::Opt => "opt",
            Stage::Prim => "prim",
            Stage::Fusion => "fusion",
            Stage::Kernel => "kernel",
            Stage::Sched => "sched",
            Stage::Legal => "legal",
            Stage::Plan => "plan",
            Stage::Clif => "clif",
            Stage::Asm => "asm",
            Stage::Wgsl => "wgsl",
            Stage::Ptx => "ptx",
        }
    }

    /// Whether compiling for a target goes through the stage.
    pub fn is_of(self, target: Target) -> bool {
        match self {
            Stage::Import | Stage::Opt => true,
            Stage::Prim
            | Stage::Fusion
            | Stage::Kernel
            | Stage::Sched
            | Stage::Legal
            | Stage::Plan => target != Target::Reference,
            Stage::Clif | Stage::Asm => target == Target::Cpu,
            Stage::Wgsl => target == Target::Wgpu,
            Stage::Ptx => target == Target::Cuda,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Stage, String> {
        let found = Stage::ALL.into_iter().find(|stage| stage.name() == text);
        found.ok_or_else(|| {
            let names = Stage::ALL.map(Stage::name).join(", ");
            format!("no stage is named {text:?}; there are {names}")
        })
    }
}

/// A text of a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct StageText {
    /// The kernel that it is of, with its position; empty where the text is of the whole.
    pub name: String,
    /// The text.
    pub text: String,
    /// What the text names as `blob "HASH"`, by hash: data of large constants.
    pub blobs: Vec<(String, Tensor)>,
}

impl StageText {
    pub(crate) fn of_graph(graph: &Graph) -> StageText {
        let mut whole = StageText::whole(graph);
        let mut known = BTreeMap::new();
        blobs(graph, &whole.text, &mut known);
        whole.blobs = known.into_iter().collect();
        whole
    }

    fn whole(text: &dyn fmt::Display) -> StageText {
        StageText {
            name: String::new(),
            text: text.to_string(),
            blobs: Vec::new(),
        }
    }
}

/// Constants of a graph and its sub-graphs that a text names by their hash.
fn blobs(graph: &Graph, text: &str, known: &mut BTreeMap<String, Tensor>) {
    for (id, _) in graph.values() {
        let constant = graph.as_constant(id);
        let Some(tensor) = constant.filter(|tensor| tensor.dtype() != DType::String) else {
            continue;
        };
        // Small constants are in the text.
        if tensor.len() < BLOB_ELEMENTS {
            continue;
        }
        let hash = blake3::hash(tensor.bytes()).to_hex().to_string();
        if text.contains(&hash) {
            known.insert(hash, tensor.clone());
        }
    }
    for node in graph.nodes() {
        for (_, attr) in graph.node(node).attrs.iter() {
            if let Attr::Graph(inner) = attr {
                blobs(inner, text, known);
            }
        }
    }
}

/// Constants of fewer elements are always printed whole.
const BLOB_ELEMENTS: usize = 64;

/// The texts of a stage from `opt` on, of an optimised graph.
///
/// # Errors
/// [`CompileError::NoStage`], or as compiling.
pub fn emit(
    mut graph: Graph,
    stage: Stage,
    target: Target,
    options: &CompileOptions,
) -> Result<Vec<StageText>, CompileError> {
    if !stage.is_of(target) {
        return Err(CompileError::NoStage { target, stage });
    }
    match stage {
        Stage::Import | Stage::Opt => return Ok(vec![StageText::of_graph(&graph)]),
        Stage::Prim => {
            let (options, _) = lower_options(&graph, target, options);
            alula_lower::expand(&mut graph, &options)?;
            return Ok(vec![StageText::of_graph(&graph)]);
        }
        _ => {}
    }
    let (mut lowered, _) = lowered(graph, target, options)?;
    match stage {
        Stage::Fusion => Ok(vec![StageText::whole(&FusionPlan::of(&lowered.fusion))]),
        Stage::Plan => {
            if target == Target::Cpu {
                let (_, isa) = cpu::host()?;
                cpu::planned(&mut lowered, isa, options, &mut Vec::new())?;
            }
            let plans: Vec<String> = lowered.plans.iter().map(ToString::to_string).collect();
            Ok(vec![StageText::whole(&plans.join("\n"))])
        }
        Stage::Kernel => Ok(named(&lowered, lowered.launches.iter().map(definition))),
        _ => kernels(&lowered, stage, target, options),
    }
}

fn definition(launch: &Launch) -> String {
    match &launch.work {
        KernelWork::Compute(compute) => Printed(compute.as_ref()).to_string(),
        KernelWork::Contract(contract) => Printed(contract.as_ref()).to_string(),
        KernelWork::Kernel(kernel) => kernel.to_string(),
    }
}

/// Texts with the names of launches.
fn named(lowered: &Lowered, texts: impl IntoIterator<Item = String>) -> Vec<StageText> {
    let nodes = super::launches::nodes(lowered);
    let texts = texts.into_iter().enumerate();
    texts
        .map(|(position, text)| StageText {
            name: format!("{position:04}-{}", lowered.launches[position].name),
            text: format!(
                "; {}\n{}\n",
                nodes[position].escape_debug(),
                text.trim_end()
            ),
            blobs: Vec::new(),
        })
        .collect()
}

/// Stages of single kernels.
fn kernels(
    lowered: &Lowered,
    stage: Stage,
    target: Target,
    options: &CompileOptions,
) -> Result<Vec<StageText>, CompileError> {
    let texts = match target {
        Target::Cpu => {
            let ((host, isa), words) = (cpu::host()?, cpu::words(options));
            let of_graph = cpu::Kernels::new(lowered, isa, options);
            each(lowered, target, |position, launch| {
                if stage == Stage::Sched && !matches!(launch.work, KernelWork::Contract(_)) {
                    return Ok(words.scheduled(launch)?.to_string());
                }
                let launch = &*scalars::inlined(launch, &lowered.constants);
                let planned = cpu::plan(launch, position, &of_graph, &words)?;
                let (note, kernel) = match &planned {
                    Planned::Loops(kernel) => (None, Some(kernel)),
                    Planned::Contract(contract, tile, _) => (Some(contract), tile.as_ref()),
                    Planned::Chain(_) => unreachable!("launches are planned one by one"),
                };
                let note = note.map(|_| {
                    let text = definition(launch).replace('\n', "\n; ");
                    format!("; by micro-kernels; what follows it is run on each tile\n; {text}\n")
                });
                let text = kernel
                    .map(|kernel| printed(kernel, stage, &host))
                    .transpose()?;
                Ok(note.unwrap_or_default() + &text.unwrap_or_default())
            })?
        }
        #[cfg(feature = "wgpu")]
        Target::Wgpu => {
            let words = super::wgpu::words(options);
            each(lowered, target, |_, launch| {
                legal(launch, stage, &words, |kernel| {
                    Ok(super::wgpu::emit(kernel)?.text)
                })
            })?
        }
        #[cfg(feature = "cuda")]
        Target::Cuda => {
            let words = super::cuda::words(options);
            each(lowered, target, |_, launch| {
                legal(launch, stage, &words, |kernel| {
                    Ok(alula_cuda::module_text(&super::cuda::emit(kernel)?))
                })
            })?
        }
        other => return Err(CompileError::Missing(other)),
    };
    // Shaders and PTX know `//` only.
    let named = named(lowered, texts).into_iter();
    Ok(match stage {
        Stage::Wgsl | Stage::Ptx => named
            .map(|text| StageText {
                text: text.text.replacen(';', "//", 1),
                ..text
            })
            .collect(),
        _ => named.collect(),
    })
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn legal(
    launch: &Launch,
    stage: Stage,
    words: &Words,
    print: impl Fn(&Kernel) -> Result<String, super::launches::NoCode>,
) -> Result<String, super::launches::NoCode> {
    let kernel = words.scheduled(launch)?;
    match stage {
        Stage::Sched => Ok(kernel.to_string()),
        Stage::Legal => Ok(words.finish(kernel)?.to_string()),
        _ => print(&words.finish(kernel)?),
    }
}

/// A kernel of the processor.
fn printed(
    kernel: &Kernel,
    stage: Stage,
    host: &CpuTarget,
) -> Result<String, super::launches::NoCode> {
    if matches!(stage, Stage::Sched | Stage::Legal) {
        return Ok(kernel.to_string());
    }
    let dump = Dump {
        clif: stage == Stage::Clif,
        asm: stage == Stage::Asm,
    };
    let emitted = emit_kernel(kernel, host, dump).map_err(super::launches::NoCode::failed)?;
    Ok(emitted.clif.or(emitted.asm).unwrap_or_default())
}

/// Why kernels in their text form have no words in a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct KernelTextError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The kernel that begins there; none where the text is no kernel.
    pub kernel: Option<String>,
    /// What is wrong.
    pub reason: String,
}

/// What a kernel, or what becomes one, begins with in text.
const HEADS: [&str; 3] = ["kernel ", "compute ", "contract "];

/// Kernels in their text form, in the words of a target.
///
/// # Errors
/// The place where the text is no kernel, or the kernel and what the target lacks.
pub fn legalize_text(text: &str, target: Target) -> Result<String, KernelTextError> {
    let definitions = parse_definitions(text).map_err(|error| KernelTextError {
        line: error.line,
        column: error.column,
        kernel: None,
        reason: error.message,
    })?;
    let options = CompileOptions {
        verify: true,
        ..CompileOptions::default()
    };
    let words = match target {
        Target::Cpu => cpu::words(&options),
        #[cfg(feature = "wgpu")]
        Target::Wgpu => super::wgpu::words(&options),
        #[cfg(feature = "cuda")]
        Target::Cuda => super::cuda::words(&options),
        other => {
            return Err(KernelTextError {
                line: 1,
                column: 1,
                kernel: None,
                reason: format!("target {other} has no words of its own"),
            });
        }
    };
    let heads: Vec<usize> = (1..)
        .zip(text.lines())
        .filter(|(_, line)| HEADS.iter().any(|head| line.trim_start().starts_with(head)))
        .map(|(line, _)| line)
        .collect();
    let mut texts = Vec::new();
    for (position, definition) in definitions.into_iter().enumerate() {
        let (name, work) = match definition {
            Definition::Kernel(kernel) => (kernel.name.clone(), KernelWork::Kernel(kernel)),
            Definition::Compute(compute) => {
                (format!("compute_{position}"), KernelWork::Compute(compute))
            }
            Definition::Contract(contract) => (
                format!("contract_{position}"),
                KernelWork::Contract(contract),
            ),
        };
        let launch = Launch {
            work,
            name: name.clone(),
            constants: Vec::new(),
            layouts: Vec::new(),
        };
        let kernel = words.kernel(&launch).map_err(|error| match error {
            super::launches::NoCode::Refused(reason) | super::launches::NoCode::Failed(reason) => {
                KernelTextError {
                    line: heads.get(position).copied().unwrap_or(1),
                    column: 1,
                    kernel: Some(name),
                    reason,
                }
            }
        })?;
        texts.push(kernel.to_string());
    }
    Ok(texts.join("\n"))
}
