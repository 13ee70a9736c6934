//! Two statements of every operator: on its examples, each lowering says what the reference says.

use std::collections::BTreeMap;

use alula_ir::{
    Def, Graph, HostValue, LowerCtx, LowerError, Lowering, NodeId, OpDef, Origin, ValueId,
};
use alula_kernel::interpret::{self, Bytes, Options};
use alula_ops::{evaluate_node, indexing, registry, shape};
use alula_tensor::{DTypeClass, Scalar, Symbol, Tensor};
use alula_testkit::SplitMix64;
use alula_testkit::tolerance::{Class, compare};

fn inputs(graph: &Graph) -> Vec<Tensor> {
    let mut random = SplitMix64::new(7);
    let tensor = |id: &ValueId| {
        let ty = graph.ty(*id).as_tensor().expect("examples take tensors");
        let extents = ty
            .shape
            .iter()
            .map(|dim| dim.as_const().map_or(3, |n| n as usize));
        let extents: Vec<usize> = extents.collect();
        let mut value = || match ty.dtype.class() {
            DTypeClass::Float => Scalar::Float(random.uniform(-2.0..2.0)),
            DTypeClass::Bool => Scalar::Int(random.below(2).into()),
            DTypeClass::Signed => Scalar::Int(i128::from(random.below(9)) - 3),
            DTypeClass::Unsigned | DTypeClass::String => Scalar::Int(random.below(9).into()),
        };
        let values: Vec<Scalar> = (0..extents.iter().product()).map(|_| value()).collect();
        Tensor::from_scalars(ty.dtype, &extents, &values).expect("the count fits")
    };
    graph.inputs().iter().map(tensor).collect()
}

/// Values of a graph under evaluation, and of its symbols.
struct State<'g> {
    graph: &'g Graph,
    values: BTreeMap<ValueId, HostValue>,
    symbols: BTreeMap<Symbol, i64>,
}

impl State<'_> {
    fn set(&mut self, id: ValueId, value: HostValue) {
        let tensor = value.as_tensor().cloned();
        for (symbol, origin) in self.graph.origins() {
            let Some(tensor) = &tensor else { continue };
            let inputs = self.graph.inputs();
            let extent = |axis: usize| tensor.shape().get(axis).map(|&n| n as i64);
            let bound = match *origin {
                Origin::Input { input, axis } if inputs[input] == id => extent(axis),
                Origin::Extent { value, axis } if value == id => extent(axis),
                Origin::Content { value, index } if value == id => {
                    tensor.to_i64s().and_then(|all| all.get(index).copied())
                }
                Origin::Input { .. } | Origin::Extent { .. } | Origin::Content { .. } => None,
                // What it mentions comes before it.
                Origin::Defined(ref dim) => dim.eval(&|s| self.symbols.get(s).copied()).ok(),
            };
            if let Some(bound) = bound {
                self.symbols.insert(symbol.clone(), bound);
            }
        }
        self.values.insert(id, value);
    }
}

/// What the lowering makes; `None` where there is nothing to execute here.
fn lowered(
    op: &OpDef,
    ctx: &LowerCtx<'_>,
    operands: &[&Tensor],
    symbols: &BTreeMap<Symbol, i64>,
    wanted: &[HostValue],
) -> Result<Option<Vec<Tensor>>, String> {
    let bind = |symbol: &Symbol| symbols.get(symbol).copied();
    let lower = |error: LowerError| error.to_string();
    let text = |error: interpret::InterpretError| error.to_string();
    match op.lowering {
        Lowering::Compute(define) => {
            let definitions = define(ctx).map_err(lower)?;
            let values = definitions
                .iter()
                .map(|d| interpret::evaluate(d, operands, &bind));
            values
                .collect::<Result<Vec<_>, _>>()
                .map(Some)
                .map_err(text)
        }
        Lowering::Contract(define) => {
            let contract = define(ctx).map_err(lower)?;
            let definition = contract.to_compute().ok_or("no plain form")?;
            let value = interpret::evaluate(&definition, operands, &bind).map_err(text)?;
            Ok(Some(vec![value]))
        }
        Lowering::Kernel(build) => {
            let kernel = build(ctx).map_err(lower)?;
            alula_kernel::verify(&kernel).map_err(|errors| format!("{errors:?}"))?;
            let mut results: Vec<Tensor> = wanted
                .iter()
                .filter_map(HostValue::as_tensor)
                .map(|t| Tensor::zeros(t.dtype(), t.shape()).expect("small"))
                .collect();
            let reads = operands.iter().map(|t| Bytes::Read(t.bytes()));
            let mut buffers: Vec<Bytes<'_>> = reads.collect();
            buffers.extend(results.iter_mut().map(|t| Bytes::Write(t.bytes_mut())));
            interpret::run(&kernel, &mut buffers, &bind, Options::default()).map_err(text)?;
            Ok(Some(results))
        }
        Lowering::View | Lowering::Compose(_) | Lowering::Host(_) | Lowering::Control => Ok(None),
    }
}

/// How far the operator's results may be off: moved elements not at all.
fn class(op: &OpDef) -> Class {
    let moves = shape::ROWS
        .iter()
        .chain(indexing::ROWS)
        .any(|row| *row == op);
    let computes = ["cum_sum", "cum_prod", "range"].contains(&op.name);
    match op.lowering {
        Lowering::Contract(_) => Class::Contraction,
        Lowering::Compute(_) | Lowering::Kernel(_) if moves && !computes => Class::Exact,
        _ => Class::Normalization,
    }
}

/// Whether there was something to compare.
fn check_node(state: &State<'_>, id: NodeId, wanted: &[HostValue]) -> Result<bool, String> {
    let graph = state.graph;
    let node = graph.node(id);
    let operands = node
        .operands
        .iter()
        .flatten()
        .map(|id| state.values[id].as_tensor());
    let Some(operands) = operands.collect::<Option<Vec<&Tensor>>>() else {
        return Ok(false);
    };
    let ctx = LowerCtx {
        op: node.op.name,
        attrs: &node.attrs,
        operands: node
            .operands
            .iter()
            .map(|o| o.map(|id| graph.ty(id)))
            .collect(),
        constants: node
            .operands
            .iter()
            .map(|o| o.and_then(|id| graph.as_constant(id)))
            .collect(),
        results: node.results.iter().map(|id| graph.ty(*id)).collect(),
    };
    let Some(results) = lowered(node.op, &ctx, &operands, &state.symbols, wanted)? else {
        return Ok(false);
    };
    if results.len() != wanted.len() {
        return Err(format!("{} results, not {}", results.len(), wanted.len()));
    }
    for (position, (result, wanted)) in results.iter().zip(wanted).enumerate() {
        let wanted = wanted.as_tensor().ok_or("a result is no tensor")?;
        if result.ty() != wanted.ty() {
            return Err(format!(
                "result {position} is {}, not {}",
                result.ty(),
                wanted.ty()
            ));
        }
        let (expected, actual) = (wanted.to_f64s(), result.to_f64s());
        let report = compare(&expected, &actual, class(node.op), wanted.dtype());
        if !report.is_ok() {
            return Err(format!("result {position}: {report}"));
        }
    }
    Ok(true)
}

/// Number of nodes compared.
fn check_example(example: &str) -> Result<usize, String> {
    let mut compared = 0;
    let graph = alula_ir::parse(example, registry(), &|_| None).map_err(|e| e.to_string())?;
    let mut state = State {
        graph: &graph,
        values: BTreeMap::new(),
        symbols: BTreeMap::new(),
    };
    for (id, value) in graph.values() {
        if let Def::Constant(tensor) = &value.def {
            state.set(id, tensor.clone().into());
        }
    }
    for (id, tensor) in graph.inputs().iter().zip(inputs(&graph)) {
        state.set(*id, tensor.into());
    }
    for id in graph.nodes() {
        let node = graph.node(id);
        let operands: Vec<_> = node
            .operands
            .iter()
            .map(|o| o.map(|id| &state.values[&id]))
            .collect();
        let results = evaluate_node(&graph, id, &operands, &state.symbols);
        let results = results.map_err(|error| error.to_string())?;
        let checked = check_node(&state, id, &results);
        let checked = checked.map_err(|why| format!("{}: {why}", node.op.name))?;
        compared += usize::from(checked);
        for (result, value) in node.results.iter().zip(results) {
            state.set(*result, value);
        }
    }
    Ok(compared)
}

#[test]
fn lowerings_agree_with_references() {
    let (mut failures, mut compared, mut examples) = (Vec::new(), 0, 0);
    for op in registry().iter() {
        for example in op.examples {
            examples += 1;
            match check_example(example) {
                Ok(count) => compared += count,
                Err(why) => failures.push(format!("{why}\n{example}")),
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(
        compared > examples / 2,
        "{compared} nodes of {examples} examples"
    );
}
