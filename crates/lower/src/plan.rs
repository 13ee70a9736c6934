//! Work items to plans: every value gets a slot, every item a step.

use std::collections::{BTreeMap, BTreeSet};

use alula_ir::{Def, Graph, Origin, Requirement, ValueId};
use alula_kernel::{Access, Compute, Contract, Kernel};
use alula_program::{Check, Place, Plan, Port, Slot, SlotId, Step, SymbolDef, SymbolOrigin};
use alula_tensor::{Dim, Symbol, Tensor, TensorType, ValueType};

use crate::build::{Layout, ParamSpec};
use crate::cluster::{
    EpilogueCost, FusionPlan, FusionReport, Item, Rules, Strategy, Work, cluster, items,
};
use crate::layout::{LayoutReport, Layouts, lay_out};
use crate::quant::{Fate, Native};
use crate::{LowerFailure, expand, parts};

/// What a launch computes, before loops are laid out for a target.
#[derive(Clone, Debug)]
pub enum KernelWork {
    /// A definition.
    Compute(Box<Compute>),
    /// A contraction.
    Contract(Box<Contract>),
    /// Loops as the operator wrote them.
    Kernel(Box<Kernel>),
}

impl KernelWork {
    /// Whether a parameter is written.
    pub(crate) fn writes(&self, param: usize) -> bool {
        match self {
            KernelWork::Compute(compute) => param == compute.operands.len(),
            KernelWork::Contract(contract) => param == contract.epilogue.operands.len(),
            KernelWork::Kernel(kernel) => kernel.params[param].access != Access::Read,
        }
    }

    /// Scalar evaluations, about.
    pub fn evaluations(&self) -> Dim {
        match self {
            KernelWork::Compute(compute) => compute.work(),
            KernelWork::Contract(contract) => contract.work(),
            KernelWork::Kernel(kernel) => kernel.work(),
        }
    }
}

/// A launch's work. Its position is the `kernel` of the step until kernels are merged.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What is computed; parameters are operands, then results.
    pub work: KernelWork,
    /// A name made of the operators it stands for.
    pub name: String,
    /// For each parameter the constant that it is, if it is one.
    pub constants: Vec<Option<usize>>,
    /// For each parameter where its elements are, if not row-major; what is absent is.
    pub layouts: Vec<Option<Layout>>,
}

impl Launch {
    /// Where a parameter's elements are, if not row-major.
    pub fn layout(&self, param: usize) -> Option<&Layout> {
        self.layouts.get(param)?.as_ref()
    }

    /// The parameters of the work as a definition.
    pub fn params(&self, compute: &Compute) -> Vec<ParamSpec> {
        let params = 0..=compute.operands.len();
        params
            .map(|position| ParamSpec {
                name: format!("p{position}"),
                layout: self.layout(position).cloned(),
            })
            .collect()
    }
}

/// A graph as plans, with the work of each launch still to be compiled.
#[derive(Debug, Default)]
pub struct Lowered {
    /// The first is the graph's; the others are of sub-graphs.
    pub plans: Vec<Plan>,
    /// Work of every launch in every plan.
    pub launches: Vec<Launch>,
    /// Constants with their names.
    pub constants: Vec<(String, Tensor)>,
    /// What fused in each plan.
    pub fusion: Vec<FusionReport>,
    /// How the buffers of each plan lie.
    pub layouts: Vec<LayoutReport>,
    /// What became of the annotations on types.
    pub annotations: Vec<Fate>,
}

/// Lowers a graph and its sub-graphs, with every buffer row-major.
///
/// # Errors
/// [`LowerFailure`] naming the node.
pub fn lower(graph: Graph, strategy: Strategy) -> Result<Lowered, LowerFailure> {
    lower_with(graph, strategy, Layouts::RowMajor)
}

/// As [`lower`], with buffers laid out as the target asks.
///
/// # Errors
/// [`LowerFailure`] naming the node.
pub fn lower_with(
    graph: Graph,
    strategy: Strategy,
    layouts: Layouts,
) -> Result<Lowered, LowerFailure> {
    let options = LowerOptions {
        strategy,
        layouts,
        ..LowerOptions::default()
    };
    lower_as(graph, &options)
}

/// What decides how a graph is lowered.
#[derive(Clone, Debug, Default)]
pub struct LowerOptions {
    /// What fuses.
    pub strategy: Strategy,
    /// What fuses instead, group by group.
    pub fusion: Option<FusionPlan>,
    /// Most values that a fused definition loads, if the target knows a bound.
    pub operands_max: Option<usize>,
    /// What the target says of longer epilogues, if it has kernels of its own for contractions.
    pub epilogue: Option<EpilogueCost>,
    /// How buffers lie.
    pub layouts: Layouts,
    /// What takes quantized operands as they are stored.
    pub native: Native,
    /// Bytes of constant weights that a step of a recurrence reads from which on it is a loop of
    /// products, if the target is faster at those. The weights of smaller ones are transposed then.
    pub loop_bytes_min: Option<usize>,
    /// What offsets and lengths in bytes of values within others are multiples of, if the target
    /// asks for more than their elements do.
    pub part_alignment: Option<usize>,
}

/// As [`lower`], in the way that options say.
///
/// # Errors
/// [`LowerFailure`] naming the node; [`LowerFailure::FusionPlan`].
pub fn lower_as(graph: Graph, options: &LowerOptions) -> Result<Lowered, LowerFailure> {
    let mut lowered = Lowered::default();
    lower_graph(&mut lowered, graph, options, true)?;
    if let Some(plan) = &options.fusion
        && plan.graphs.len() > lowered.plans.len()
    {
        let (listed, there) = (plan.graphs.len(), lowered.plans.len());
        let text = format!("it lists {listed} graphs, the model has {there}");
        return Err(LowerFailure::FusionPlan(text));
    }
    tracing::debug_span!("parts")
        .in_scope(|| parts::place(&mut lowered, options.part_alignment.unwrap_or(1)));
    Ok(lowered)
}

/// Lowers one graph; returns the position of its plan.
fn lower_graph(
    lowered: &mut Lowered,
    mut graph: Graph,
    options: &LowerOptions,
    is_outermost: bool,
) -> Result<usize, LowerFailure> {
    let _span = tracing::debug_span!("graph", name = graph.name).entered();
    let annotations = tracing::debug_span!("expand").in_scope(|| expand(&mut graph, options))?;
    lowered.annotations.extend(annotations);
    let position = lowered.plans.len();
    let mut rules = Rules::from(options.strategy);
    if let Some(most) = options.operands_max {
        rules.operands_max = most;
    }
    rules.epilogue = options.epilogue;
    if let Some(plan) = &options.fusion {
        let listed = plan.graphs.get(position);
        rules.groups = Some(listed.map_or(&[], |(_, groups)| groups.as_slice()));
    }
    let fused = tracing::debug_span!("cluster")
        .in_scope(|| Ok::<_, LowerFailure>(cluster(&graph, items(&graph)?, rules)))?;
    let (mut items, report) = fused
        .map_err(|reason| LowerFailure::FusionPlan(format!("graph {:?}: {reason}", graph.name)))?;
    let layout =
        tracing::debug_span!("layout").in_scope(|| lay_out(&graph, &mut items, options.layouts));
    let _plan = tracing::debug_span!("plan", items = items.len()).entered();
    lowered.plans.push(Plan {
        name: graph.name.clone(),
        symbols: Vec::new(),
        checks: Vec::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        slots: Vec::new(),
        steps: Vec::new(),
    });
    lowered.fusion.push(report);
    lowered.layouts.push(layout);
    let mut checks = Vec::new();
    for requirement in graph.requirements() {
        let Requirement {
            left,
            right,
            who,
            reason,
        } = requirement.clone();
        checks.push(Check {
            left,
            right,
            nodes: who,
            reason,
        });
    }
    let mut planner = Planner {
        graph: &graph,
        lowered,
        options,
        slots: Vec::new(),
        slot_of: BTreeMap::new(),
        steps: Vec::new(),
        checks,
        late: late_symbols(&graph),
    };
    planner.inputs();
    for item in items {
        planner.item(item)?;
    }
    let plan = planner.finish(is_outermost)?;
    lowered.plans[position] = plan;
    Ok(position)
}

struct Planner<'p> {
    graph: &'p Graph,
    lowered: &'p mut Lowered,
    options: &'p LowerOptions,
    slots: Vec<Slot>,
    slot_of: BTreeMap<ValueId, SlotId>,
    steps: Vec<Step>,
    checks: Vec<Check>,
    /// Symbols that are known only while the plan runs.
    late: BTreeSet<Symbol>,
}

/// Symbols that a step decides.
fn late_symbols(graph: &Graph) -> BTreeSet<Symbol> {
    let mut late = BTreeSet::new();
    // A definition follows the symbols that it mentions.
    for (symbol, origin) in graph.origins() {
        let is_late = match origin {
            Origin::Input { .. } => false,
            Origin::Content { .. } | Origin::Extent { .. } => true,
            Origin::Defined(dim) => {
                let mut mentioned = BTreeSet::new();
                dim.collect_symbols(&mut mentioned);
                !mentioned.is_disjoint(&late)
            }
        };
        if is_late {
            late.insert(symbol.clone());
        }
    }
    late
}

fn elements(ty: &ValueType) -> Dim {
    ty.as_tensor().map_or(Dim::new(0), TensorType::num_elements)
}

/// Length in bytes; 0 for what is no tensor of numbers.
fn slot_bytes(ty: &ValueType) -> Dim {
    match ty.as_tensor() {
        Some(tensor) => tensor.num_elements() * Dim::from(tensor.dtype.size_bytes()),
        None => Dim::new(0),
    }
}

impl Planner<'_> {
    fn add_slot(&mut self, id: ValueId, place: Place) -> SlotId {
        let ty = self.graph.ty(id).clone();
        let slot = SlotId(self.slots.len() as u32);
        self.slots.push(Slot {
            bytes: slot_bytes(&ty),
            ty,
            place,
        });
        self.slot_of.insert(id, slot);
        slot
    }

    fn inputs(&mut self) {
        for (position, id) in self.graph.inputs().iter().enumerate() {
            self.add_slot(*id, Place::Input(position));
        }
    }

    /// The slot of a value that exists; constants get theirs when first used.
    fn slot(&mut self, id: ValueId) -> SlotId {
        if let Some(slot) = self.slot_of.get(&id) {
            return *slot;
        }
        let value = self.graph.value(id);
        let Def::Constant(tensor) = &value.def else {
            panic!("value {id:?} is used before it is made");
        };
        let constant = self.lowered.constants.len();
        let name = value.name.clone().unwrap_or_default();
        self.lowered.constants.push((name, tensor.clone()));
        self.add_slot(id, Place::Constant(constant))
    }

    /// The slot of a value that the step about to be added makes.
    fn result_slot(&mut self, id: ValueId) -> SlotId {
        let mut symbols = BTreeSet::new();
        slot_bytes(self.graph.ty(id)).collect_symbols(&mut symbols);
        let is_planned = symbols.is_disjoint(&self.late) && !self.graph.ty(id).is_host_only();
        let step = self.steps.len();
        let place = match is_planned {
            true => Place::Arena {
                first: step,
                last: step,
            },
            false => Place::Dynamic,
        };
        self.add_slot(id, place)
    }

    fn constant_of(&self, slot: SlotId) -> Option<usize> {
        match self.slots[slot.0 as usize].place {
            Place::Constant(position) => Some(position),
            Place::Alias(base) => self.constant_of(base),
            Place::Input(_) | Place::Arena { .. } | Place::Dynamic | Place::Part { .. } => None,
        }
    }

    fn item(&mut self, item: Item) -> Result<(), LowerFailure> {
        let node = self
            .graph
            .node(*item.nodes.last().expect("an item stands for a node"));
        let name = node.name.clone();
        let operands: Vec<Option<SlotId>> = item
            .operands
            .iter()
            .map(|o| o.map(|id| self.slot(id)))
            .collect();
        let present: Vec<SlotId> = operands.iter().copied().flatten().collect();
        let step = match item.work {
            Work::Compute(compute) => {
                return self.launch(
                    KernelWork::Compute(compute),
                    present,
                    &item.results,
                    &item.nodes,
                );
            }
            Work::Contract(contract) => {
                let work = KernelWork::Contract(contract);
                return self.launch(work, present, &item.results, &item.nodes);
            }
            Work::Kernel(kernel) => {
                return self.launch(
                    KernelWork::Kernel(kernel),
                    present,
                    &item.results,
                    &item.nodes,
                );
            }
            Work::View => {
                let from = elements(&self.slots[present[0].0 as usize].ty);
                let to = elements(self.graph.ty(item.results[0]));
                if from != to {
                    self.check_equal(from, to, &name);
                }
                self.add_slot(item.results[0], Place::Alias(present[0]));
                return Ok(());
            }
            Work::Dims(values) => Step::Dims {
                values,
                result: self.result_slot(item.results[0]),
            },
            Work::Host(function) => {
                let results = self.dynamic_slots(&item.results);
                Step::Host {
                    function,
                    operands,
                    results,
                    name,
                }
            }
            Work::Control => self.control(node, &operands, &item.results, name)?,
        };
        self.steps.push(step);
        Ok(())
    }

    fn launch(
        &mut self,
        work: KernelWork,
        mut args: Vec<SlotId>,
        results: &[ValueId],
        nodes: &[alula_ir::NodeId],
    ) -> Result<(), LowerFailure> {
        for id in results {
            let slot = self.result_slot(*id);
            args.push(slot);
        }
        let constants = args.iter().map(|slot| self.constant_of(*slot)).collect();
        let kernel = self.lowered.launches.len();
        let mut ops: Vec<&str> = nodes
            .iter()
            .map(|id| self.graph.node(*id).op.name)
            .collect();
        ops.dedup();
        if ops.len() > 6 {
            let last = ops[ops.len() - 1];
            ops.truncate(5);
            ops.push(last);
        }
        let names: Vec<&str> = nodes
            .iter()
            .map(|id| self.graph.node(*id).name.as_str())
            .collect();
        let name = names.join(" + ");
        let equal: &[(Dim, Dim)] = match &work {
            KernelWork::Compute(compute) => &compute.equal,
            KernelWork::Contract(contract) => &contract.epilogue.equal,
            KernelWork::Kernel(_) => &[],
        };
        for (a, b) in equal {
            let is_known = self.checks.iter().any(|c| (&c.left, &c.right) == (a, b));
            if !is_known {
                self.check_equal(a.clone(), b.clone(), &name);
            }
        }
        self.lowered.launches.push(Launch {
            work,
            name: ops.join("_"),
            layouts: Vec::new(),
            constants,
        });
        self.steps.push(Step::Launch { kernel, args, name });
        Ok(())
    }

    fn check_equal(&mut self, left: Dim, right: Dim, nodes: &str) {
        self.checks.push(Check {
            left,
            right,
            nodes: nodes.to_owned(),
            reason: None,
        });
    }

    fn dynamic_slots(&mut self, results: &[ValueId]) -> Vec<SlotId> {
        results
            .iter()
            .map(|id| self.add_slot(*id, Place::Dynamic))
            .collect()
    }

    fn control(
        &mut self,
        node: &alula_ir::Node,
        operands: &[Option<SlotId>],
        results: &[ValueId],
        name: String,
    ) -> Result<Step, LowerFailure> {
        let slots = |operands: &[Option<SlotId>]| operands.iter().copied().flatten().collect();
        if node.op.name == alula_ops::control::IF.name {
            let split = 1 + node.attrs.int("then_inputs") as usize;
            let then = self.sub_plan(node.attrs.graph("then"))?;
            let otherwise = self.sub_plan(node.attrs.graph("else"))?;
            return Ok(Step::If {
                cond: operands[0].expect("inference has seen a condition"),
                then: (then, slots(&operands[1..split])),
                otherwise: (otherwise, slots(&operands[split..])),
                results: self.dynamic_slots(results),
                name,
            });
        }
        let carried = node.attrs.int("carried") as usize;
        let values = operands.get(2..).unwrap_or_default();
        Ok(Step::Loop {
            trips: operands.first().copied().flatten(),
            cond: operands.get(1).copied().flatten(),
            body: self.sub_plan(node.attrs.graph("body"))?,
            carried: slots(&values[..carried]),
            captures: slots(&values[carried..]),
            results: self.dynamic_slots(results),
            name,
        })
    }

    fn sub_plan(&mut self, graph: &Graph) -> Result<usize, LowerFailure> {
        lower_graph(self.lowered, graph.clone(), self.options, false)
    }

    fn finish(mut self, is_outermost: bool) -> Result<Plan, LowerFailure> {
        let port = |planner: &mut Self, name: &str, id: ValueId| Port {
            name: name.to_owned(),
            ty: planner.graph.ty(id).clone(),
            slot: planner.slot(id),
        };
        let graph = self.graph;
        let inputs = graph
            .inputs()
            .iter()
            .map(|id| {
                port(
                    &mut self,
                    graph.value(*id).name.as_deref().unwrap_or_default(),
                    *id,
                )
            })
            .collect();
        let outputs: Vec<Port> = graph
            .outputs()
            .iter()
            .map(|(name, id)| port(&mut self, name, *id))
            .collect();
        let symbols = self.symbols(is_outermost)?;
        let mut plan = Plan {
            name: graph.name.clone(),
            symbols,
            checks: self.checks,
            inputs,
            outputs,
            slots: self.slots,
            steps: self.steps,
        };
        parts::lifetimes(&mut plan);
        Ok(plan)
    }

    fn symbols(&mut self, is_outermost: bool) -> Result<Vec<SymbolDef>, LowerFailure> {
        let mut used = self.graph.symbols();
        for step in &self.steps {
            if let Step::Dims { values, .. } = step {
                values.iter().for_each(|dim| dim.collect_symbols(&mut used));
            }
        }
        // What a definition mentions is used, too; later definitions may mention earlier ones.
        for (symbol, origin) in self.graph.origins().iter().rev() {
            if let Origin::Defined(dim) = origin
                && used.contains(symbol)
            {
                dim.collect_symbols(&mut used);
            }
        }
        let mut defs = Vec::new();
        // In order of origin: inputs first, then as values are made.
        for (symbol, origin) in self.graph.origins() {
            if !used.remove(symbol) {
                continue;
            }
            let origin = match *origin {
                Origin::Defined(ref dim) => SymbolOrigin::Defined(dim.clone()),
                Origin::Input { input, axis } => SymbolOrigin::Input { input, axis },
                Origin::Content { value, index } => SymbolOrigin::Content {
                    slot: self.slot(value),
                    index,
                },
                Origin::Extent { value, axis } => SymbolOrigin::Extent {
                    slot: self.slot(value),
                    axis,
                },
            };
            defs.push(SymbolDef {
                symbol: symbol.clone(),
                origin,
            });
        }
        for symbol in used {
            if is_outermost {
                let place = format!("graph {}", self.graph.name);
                return Err(LowerFailure::Symbol {
                    symbol: symbol.to_string(),
                    place,
                });
            }
            defs.push(SymbolDef {
                symbol,
                origin: SymbolOrigin::Outer,
            });
        }
        Ok(defs)
    }
}
