//! Schedules from outside: what was found by measuring, in place of what a cost says.
//!
//! A choice is listed by the key of what it decides: a hash of its content, so that it holds for
//! the same contraction in any model. It picks one of the ways that are right anyway; one that is
//! not among them is an error. What is not listed is decided as ever.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use alula_cpu::{ContractChoice, CpuContract, Wanted};
use alula_ir::Graph;
use alula_kernel::Contract;
use alula_lower::cluster::Strategy;
use alula_lower::layout::Layouts;
use alula_lower::plan::{KernelWork, Launch, Lowered};
use alula_program::Tuned;

use super::cpu::{Kernels, Planned, products};
use super::{CompileError, CompileOptions};
use crate::Target;

/// Schedules by the key of what they decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// How graphs fuse and lie.
    pub graphs: BTreeMap<String, GraphChoice>,
    /// How contractions run.
    pub contractions: BTreeMap<String, ContractChoice>,
    /// Where they were measured, for the program to say.
    pub tuned: Option<Tuned>,
}

/// How a graph fuses and how its buffers lie. In words: `auto, channels-last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GraphChoice {
    /// What fuses.
    pub fusion: Strategy,
    /// How buffers lie.
    pub layouts: Layouts,
}

impl GraphChoice {
    /// What a processor takes where nothing else is listed, and every other choice.
    pub fn all() -> Vec<GraphChoice> {
        let fusions = Strategy::ALL.into_iter().rev();
        let fusions = fusions.filter(|fusion| Strategy::Auto.alias_of() != Some(*fusion));
        let layouts = [Layouts::ChannelsLast, Layouts::RowMajor];
        fusions
            .flat_map(|fusion| layouts.map(|layouts| GraphChoice { fusion, layouts }))
            .collect()
    }
}

const fn word(layouts: Layouts) -> &'static str {
    match layouts {
        Layouts::RowMajor => "row-major",
        Layouts::ChannelsLast => "channels-last",
    }
}

impl fmt::Display for GraphChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.fusion, word(self.layouts))
    }
}

impl FromStr for GraphChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<GraphChoice, String> {
        let all = GraphChoice::all();
        let found = all.iter().find(|choice| choice.to_string() == text);
        found.copied().ok_or_else(|| {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            let all = all.join("; ");
            format!("{text:?} is no way to fuse a graph; there are {all}")
        })
    }
}

/// What choices could decide in a compiled model, and what was taken.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    /// The model's graph; none where the user said what fuses.
    pub graph: Option<GraphSite>,
    /// Each contraction that micro-kernels run, in the order of launches.
    pub contractions: Vec<Site>,
}

impl Decisions {
    /// How many were listed among the choices.
    pub fn listed(&self) -> usize {
        let graph = self.graph.iter().filter(|site| site.is_listed).count();
        let sites = self.contractions.iter().filter(|site| site.is_listed);
        graph + sites.count()
    }
}

/// The decision about a graph.
#[derive(Clone, Debug)]
pub struct GraphSite {
    /// The key to list it by: of the graph as it came out of the rules, and of the options.
    pub key: String,
    /// The graph, in words.
    pub what: String,
    /// What was taken.
    pub choice: GraphChoice,
    /// Whether the choice was listed.
    pub is_listed: bool,
}

/// The decision about a contraction.
#[derive(Clone, Debug)]
pub struct Site {
    /// The key to list it by.
    pub key: String,
    /// The contraction, in words.
    pub what: String,
    /// Position of its kernel in the program.
    pub kernel: usize,
    /// What is taken where nothing is listed.
    pub default: ContractChoice,
    /// Every choice of kernels, without limits of blocks.
    pub kernels: Vec<ContractChoice>,
    /// What was taken.
    pub choice: ContractChoice,
    /// Whether the choice was listed.
    pub is_listed: bool,
    contract: Box<CpuContract>,
    wanted: Wanted,
}

impl Site {
    /// The limits of blocks that are worth a try with these kernels, for so many threads.
    pub fn limits(&self, kernels: ContractChoice, threads: usize) -> Vec<ContractChoice> {
        let contract = self.contract.as_ref().clone();
        match contract.with_choice(kernels, self.wanted) {
            Ok(contract) => contract.limit_choices(threads),
            Err(_) => Vec::new(),
        }
    }
}

/// What decides about the graph, if the choices may: no user named a strategy.
pub(super) fn of_graph(
    graph: &Graph,
    target: Target,
    options: &CompileOptions,
) -> Option<GraphSite> {
    let choices = options.choices.as_ref()?;
    let is_open = options.strategy == Strategy::Auto && options.fusion.is_none();
    if target != Target::Cpu || !is_open {
        return None;
    }
    let key = graph_key(graph, target, options);
    let listed = choices.graphs.get(&key).copied();
    Some(GraphSite {
        key,
        what: format!("graph {}", graph.name),
        choice: listed.unwrap_or(GraphChoice {
            fusion: Strategy::Auto,
            layouts: Layouts::ChannelsLast,
        }),
        is_listed: listed.is_some(),
    })
}

/// The text of a graph counts, but not what its large constants hold: the same network with other
/// weights runs alike.
fn graph_key(graph: &Graph, target: Target, options: &CompileOptions) -> String {
    let mut hasher = blake3::Hasher::new();
    let CompileOptions {
        precision, native, ..
    } = options;
    hasher.update(format!("{target} {precision} {native:?}\n").as_bytes());
    for line in graph.to_string().lines() {
        let text = match line.split_once(" = const ") {
            Some((_, constant)) => constant.split(" blob ").next().unwrap_or(constant),
            None => line,
        };
        hasher.update(text.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finalize().to_hex().to_string()
}

/// Runs contractions as the choices list them. Returns what could be decided; there the positions
/// of kernels are those of launches.
///
/// # Errors
/// [`CompileError::Choice`] for a choice that may not be taken.
pub(super) fn apply(
    lowered: &Lowered,
    planned: &mut [Planned],
    kernels: &Kernels,
    options: &CompileOptions,
) -> Result<Vec<Site>, CompileError> {
    let Some(choices) = &options.choices else {
        return Ok(Vec::new());
    };
    let mut sites = Vec::new();
    for (position, (planned, launch)) in planned.iter_mut().zip(&lowered.launches).enumerate() {
        let (Planned::Contract(planned, ..), KernelWork::Contract(contract)) =
            (planned, &launch.work)
        else {
            continue;
        };
        let wanted = wanted(launch, contract, kernels, position);
        let key = blake3::hash(&planned.content(wanted)).to_hex().to_string();
        let default = planned.choice();
        let listed = choices.contractions.get(&key).copied();
        let choice = listed.unwrap_or(default);
        let plain = planned.as_ref().clone();
        let made = plain.clone().with_choice(choice, wanted);
        *planned.as_mut() = made.map_err(|reason| CompileError::Choice {
            key: key.clone(),
            of: launch.name.clone(),
            reason,
        })?;
        sites.push(Site {
            key,
            what: plain.sizes(),
            kernel: position,
            default,
            kernels: plain.kernel_choices(wanted),
            choice,
            is_listed: listed.is_some(),
            contract: Box::new(plain),
            wanted,
        });
    }
    Ok(sites)
}

/// What is wanted of a contraction, the work of the launch at `position`.
pub(super) fn wanted(
    launch: &Launch,
    contract: &Contract,
    kernels: &Kernels,
    position: usize,
) -> Wanted {
    let right = launch.constants.get(contract.b.operand as usize);
    Wanted {
        isa: kernels.isa,
        products: products(kernels.precision),
        is_constant: right.is_some_and(Option::is_some),
        rows: kernels.rows.of(position),
    }
}
