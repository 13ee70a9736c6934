//! Kernels that every GPU back end is tested with, their operands and the results that they must
//! give: every operator's examples, lowered and built one by one.
//!
//! Included by the tests of the back ends, each of which brings its capabilities.

use std::collections::BTreeMap;

use alula_ir::{Graph, HostValue, ValueId};
use alula_kernel::{Kernel, verify};
use alula_lower::build::{ParamSpec, Policy, build};
use alula_lower::cluster::{Item, Work, items};
use alula_lower::expand;
use alula_lower::legalize::{Caps, legalize};
use alula_ops::{evaluate_node, registry};
use alula_program::{Arg, DeviceError, Launch, Module};
use alula_tensor::{DTypeClass, Scalar, Symbol, Tensor};
use alula_testkit::SplitMix64;
use alula_testkit::tolerance::{Class, compare};

/// Threads of a workgroup.
pub(crate) const LANES: u32 = 64;

/// A kernel to run.
pub(crate) struct Case {
    /// Operator and which of its kernels.
    pub(crate) name: String,
    /// As built, not yet legalized.
    pub(crate) kernel: Kernel,
    /// Values of the parameters that are read, which come first.
    pub(crate) operands: Vec<Tensor>,
    /// What the others must hold afterwards.
    pub(crate) results: Vec<Tensor>,
    /// The symbols' values.
    pub(crate) symbols: BTreeMap<Symbol, i64>,
    /// How far results may be off.
    pub(crate) class: Class,
}

impl Case {
    /// Values of the kernel's symbols, in order.
    pub(crate) fn symbol_values(&self, kernel: &Kernel) -> Vec<i64> {
        kernel
            .symbols
            .iter()
            .map(|symbol| self.symbols[symbol])
            .collect()
    }

    /// The kernel in the words of a target. The error is a line for the list of refusals.
    pub(crate) fn legal(&self, caps: &Caps) -> Result<Kernel, String> {
        let mut kernel = self.kernel.clone();
        legalize(&mut kernel, caps).map_err(|error| error.to_string())?;
        verify(&kernel).map_err(|errors| format!("{errors:?}"))?;
        Ok(kernel)
    }

    /// What is wrong with the results, if anything.
    pub(crate) fn mismatch(&self, results: &[Vec<u8>]) -> Option<String> {
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
}

/// Runs a case: in an arena with its parameters at odd places, or on host memory.
pub(crate) fn run(
    module: &dyn Module,
    index: usize,
    case: &Case,
) -> Result<Vec<Vec<u8>>, DeviceError> {
    let symbols = case.symbol_values(&case.kernel);
    let mut results: Vec<Vec<u8>> = case
        .results
        .iter()
        .map(|result| vec![0xA5; result.bytes().len()])
        .collect();
    if index % 2 == 1 {
        let mut arena = module.arena(0)?;
        let reads = case
            .operands
            .iter()
            .map(|operand| Arg::Host(operand.bytes()));
        let writes = results.iter_mut().map(|result| Arg::HostMut(result));
        let mut args: Vec<Arg<'_>> = reads.chain(writes).collect();
        let launch = Launch {
            kernel: index,
            args: &mut args,
            symbols: &symbols,
        };
        module.launch(arena.as_mut(), launch)?;
        return Ok(results);
    }
    let sizes: Vec<usize> = case
        .operands
        .iter()
        .chain(&case.results)
        .map(|tensor| tensor.bytes().len())
        .collect();
    let mut at = 64;
    let offsets: Vec<usize> = sizes
        .iter()
        .map(|size| {
            let here = at;
            at = (at + size).next_multiple_of(64) + 64;
            here
        })
        .collect();
    let mut arena = module.arena(at)?;
    for (operand, &offset) in case.operands.iter().zip(&offsets) {
        arena.write(offset, operand.bytes())?;
    }
    for (result, &offset) in results.iter().zip(&offsets[case.operands.len()..]) {
        arena.write(offset, result)?;
    }
    let mut args: Vec<Arg<'_>> = offsets
        .iter()
        .zip(&sizes)
        .map(|(&offset, size)| Arg::Arena(offset..offset + size))
        .collect();
    module.launch(
        arena.as_mut(),
        Launch {
            kernel: index,
            args: &mut args,
            symbols: &symbols,
        },
    )?;
    for (result, &offset) in results.iter_mut().zip(&offsets[case.operands.len()..]) {
        let end = offset + result.len();
        arena.read(offset..end, result)?;
    }
    Ok(results)
}

/// One case for each kernel of each operator's examples.
pub(crate) fn operator_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for op in registry().iter() {
        // Random operators have no one right result.
        if op.traits.random {
            continue;
        }
        for (position, example) in op.examples.iter().enumerate() {
            let mut graph = alula_ir::parse(example, registry(), &|_| None)
                .unwrap_or_else(|error| panic!("{}: {error}", op.name));
            expand(&mut graph).unwrap_or_else(|error| panic!("{}: {error}", op.name));
            graph_cases(&format!("{}.{position}", op.name), &graph, &mut cases);
        }
    }
    cases
}

fn graph_cases(name: &str, graph: &Graph, cases: &mut Vec<Case>) {
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
        if let Some(kernel) = kernel(&format!("{name}.{number}"), item) {
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

/// The kernel of a work item, if it has one.
fn kernel(name: &str, item: &Item) -> Option<Kernel> {
    let params = item.operands.len();
    let specs: Vec<ParamSpec> = (0..params)
        .map(|position| ParamSpec::row_major(format!("x{position}")))
        .chain([ParamSpec::row_major("out")])
        .collect();
    let policy = Policy::Gpu { lanes: LANES };
    match &item.work {
        Work::Compute(compute) => Some(build(name, compute, &specs, policy)),
        Work::Contract(contract) => Some(build(name, &contract.to_compute()?, &specs, policy)),
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
