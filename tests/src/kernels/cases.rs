//! Kernels of every operator's examples, lowered and built one by one, with their operands and the
//! results that they must give.

use std::collections::BTreeMap;

use alula_ir::{Graph, HostValue, ValueId};
use alula_kernel::{Compute, Kernel};
use alula_lower::build::{ParamSpec, Policy};
use alula_lower::cluster::{Item, Work, items};
use alula_lower::expand;
use alula_lower::plan::LowerOptions;
use alula_lower::schedule::{schedule, schedule_rows};
use alula_ops::{evaluate_node, registry};
use alula_tensor::{DTypeClass, Scalar, Symbol, Tensor};
use alula_testkit::SplitMix64;
use alula_testkit::tolerance::Class;

use super::Case;

/// One case for each kernel of each operator's examples, laid out under a policy.
///
/// # Panics
/// When an example does not parse or expand.
pub fn operator_cases(policy: Policy) -> Vec<Case> {
    let mut cases = Vec::new();
    for op in registry().iter() {
        // Random operators have no one right result.
        if op.traits.random {
            continue;
        }
        for (position, example) in op.examples.iter().enumerate() {
            let mut graph = alula_ir::parse(example, registry(), &|_| None)
                .unwrap_or_else(|error| panic!("{}: {error}", op.name));
            let options = LowerOptions::default();
            expand(&mut graph, &options).unwrap_or_else(|error| panic!("{}: {error}", op.name));
            let name = format!("{}.{position}", op.name);
            graph_cases(&name, &graph, policy, &mut cases);
        }
    }
    cases
}

fn graph_cases(name: &str, graph: &Graph, policy: Policy, cases: &mut Vec<Case>) {
    let Ok(items) = items(graph) else {
        return;
    };
    let mut values: BTreeMap<ValueId, HostValue> = BTreeMap::new();
    let mut symbols = BTreeMap::new();
    let mut random = SplitMix64::new(7);
    for &id in graph.inputs() {
        let tensor = input(graph, id, &mut symbols, &mut random);
        values.insert(id, tensor.into());
    }
    for item in &items {
        for &node in &item.nodes {
            let operands: Vec<Option<HostValue>> = graph
                .node(node)
                .operands
                .iter()
                .map(|operand| operand.map(|id| value(graph, &values, id)))
                .collect();
            let lent: Vec<Option<&HostValue>> = operands.iter().map(Option::as_ref).collect();
            let Ok(results) = evaluate_node(graph, node, &lent, &symbols) else {
                return;
            };
            for (id, result) in graph.node(node).results.iter().zip(results) {
                bind(graph, *id, &result, &mut symbols);
                values.insert(*id, result);
            }
        }
        let number = cases.len();
        if let Some(kernel) = kernel(&format!("{name}.{number}"), item, policy) {
            let tensors = |ids: &mut dyn Iterator<Item = ValueId>| -> Option<Vec<Tensor>> {
                ids.map(|id| match value(graph, &values, id) {
                    HostValue::Tensor(tensor) => Some(tensor),
                    _ => None,
                })
                .collect()
            };
            let (Some(operands), Some(results)) = (
                tensors(&mut item.reads()),
                tensors(&mut item.results.iter().copied()),
            ) else {
                continue;
            };
            let symbols = symbols.clone();
            cases.push(Case {
                name: kernel.name.clone(),
                kernel,
                operands,
                results,
                symbols,
                class: Class::Normalization,
            });
        }
    }
}

fn value(graph: &Graph, values: &BTreeMap<ValueId, HostValue>, id: ValueId) -> HostValue {
    match graph.as_constant(id) {
        Some(tensor) => tensor.clone().into(),
        None => values[&id].clone(),
    }
}

/// Lanes that share a row: fewer than most rows are long.
const ROW_LANES: u32 = 4;

/// The kernel of a work item, if it has one.
fn kernel(name: &str, item: &Item, policy: Policy) -> Option<Kernel> {
    let params = item.operands.len();
    let specs: Vec<ParamSpec> = (0..params)
        .map(|position| ParamSpec::row_major(format!("x{position}")))
        .chain([ParamSpec::row_major("out")])
        .collect();
    // Examples are too small for workgroups to pay: they show that these compute the same.
    let lay_out = |compute: &Compute| {
        let rows = match policy {
            Policy::Gpu { .. } => schedule_rows(name, compute, &specs, ROW_LANES),
            _ => None,
        };
        rows.unwrap_or_else(|| schedule(name, compute, &specs, policy))
    };
    match &item.work {
        Work::Compute(compute) => Some(lay_out(compute)),
        Work::Contract(contract) => Some(lay_out(&contract.to_compute()?)),
        Work::Kernel(kernel) => {
            let mut kernel = kernel.as_ref().clone();
            kernel.name = name.to_owned();
            Some(kernel)
        }
        Work::View | Work::Host(_) | Work::Control | Work::Dims(_) => None,
    }
}

fn input(
    graph: &Graph,
    id: ValueId,
    symbols: &mut BTreeMap<Symbol, i64>,
    random: &mut SplitMix64,
) -> Tensor {
    let ty = graph.ty(id).as_tensor().expect("examples take tensors");
    for dim in &ty.shape {
        if let Some(symbol) = dim.as_symbol() {
            symbols.entry(symbol.clone()).or_insert(3);
        }
    }
    let shape: Vec<usize> = ty
        .shape
        .iter()
        .map(|dim| {
            dim.eval(&|symbol| symbols.get(symbol).copied())
                .map_or(3, |e| e as usize)
        })
        .collect();
    let values: Vec<Scalar> = (0..shape.iter().product())
        .map(|_| match ty.dtype.class() {
            DTypeClass::Float => Scalar::Float(random.integer(-2000, 2000) as f64 / 1000.0),
            DTypeClass::Bool => Scalar::Int(random.below(2).into()),
            DTypeClass::Signed => Scalar::Int(random.integer(-3, 5).into()),
            DTypeClass::Unsigned | DTypeClass::String => Scalar::Int(random.below(9).into()),
        })
        .collect();
    Tensor::from_scalars(ty.dtype, &shape, &values).expect("the count fits")
}

fn bind(graph: &Graph, id: ValueId, value: &HostValue, symbols: &mut BTreeMap<Symbol, i64>) {
    if let (Some(ty), HostValue::Tensor(tensor)) = (graph.ty(id).as_tensor(), value) {
        for (dim, &extent) in ty.shape.iter().zip(tensor.shape()) {
            if let Some(symbol) = dim.as_symbol() {
                symbols.insert(symbol.clone(), extent as i64);
            }
        }
    }
}
