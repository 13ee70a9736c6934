//! Runs a graph by the operators' references: slow, independent of every lowering, and the
//! oracle that back ends are tested against.

use std::collections::BTreeMap;

use alula_ir::{Def, EvalCtx, EvalError, Graph, HostValue, NodeId, Origin, Requirement, ValueId};
use alula_tensor::{Dim, Symbol, TensorType, ValueType};

use crate::quantization::rounded;

/// Why a graph could not be evaluated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EvaluateError {
    /// The number of inputs is wrong.
    #[error("graph {graph} takes {wanted} inputs, not {given}")]
    Arity {
        /// The graph's name.
        graph: String,
        /// What it takes.
        wanted: usize,
        /// What was given.
        given: usize,
    },
    /// Something that the graph relies on does not hold.
    #[error("{}", broken(.0))]
    Requirement(Box<Requirement>),
    /// A node could not be evaluated.
    #[error("{op} {name:?}: {error}")]
    Node {
        /// The operator.
        op: &'static str,
        /// The node's name.
        name: String,
        /// Why.
        error: EvalError,
    },
}

fn broken(requirement: &Requirement) -> String {
    let Requirement {
        left,
        right,
        who,
        reason,
    } = requirement;
    match reason {
        Some(reason) => format!("{who}: {reason}"),
        None => format!("{who} takes {left} and {right} to be equal, which they are not"),
    }
}

/// Most bytes that one result may have.
const BYTES_MAX: u64 = 4 << 30;

/// Evaluates a graph on input values, in order; returns the outputs in order.
///
/// # Errors
/// [`EvaluateError`] naming the node.
pub fn evaluate(graph: &Graph, inputs: Vec<HostValue>) -> Result<Vec<HostValue>, EvaluateError> {
    evaluate_within(graph, inputs, &BTreeMap::new())
}

fn evaluate_within(
    graph: &Graph,
    inputs: Vec<HostValue>,
    outer: &BTreeMap<Symbol, i64>,
) -> Result<Vec<HostValue>, EvaluateError> {
    if inputs.len() != graph.inputs().len() {
        let (wanted, given) = (graph.inputs().len(), inputs.len());
        return Err(EvaluateError::Arity {
            graph: graph.name.clone(),
            wanted,
            given,
        });
    }
    let mut symbols = outer.clone();
    let mut values: BTreeMap<ValueId, HostValue> =
        graph.inputs().iter().copied().zip(inputs).collect();
    for (id, value) in &mut values {
        *value = annotated(graph, *id, value).map_err(|error| EvaluateError::Node {
            op: "input",
            name: graph.value(*id).name.clone().unwrap_or_default(),
            error,
        })?;
    }
    for (position, id) in graph.inputs().iter().enumerate() {
        bind_input(graph, position, &values[id], &mut symbols);
        bind_result(graph, *id, &values[id], &mut symbols);
    }
    for (id, value) in graph.values() {
        if let Def::Constant(tensor) = &value.def {
            values.insert(id, tensor.clone().into());
        }
    }
    let mut last_use: BTreeMap<ValueId, NodeId> = BTreeMap::new();
    let nodes = graph.nodes();
    for &id in &nodes {
        for operand in graph.node(id).operands.iter().flatten() {
            last_use.insert(*operand, id);
        }
    }
    let keep: Vec<ValueId> = graph.outputs().iter().map(|(_, value)| *value).collect();
    for &id in &nodes {
        let node = graph.node(id);
        let operands: Vec<Option<&HostValue>> = node
            .operands
            .iter()
            .map(|operand| operand.map(|id| &values[&id]))
            .collect();
        define(graph, &mut symbols);
        let results = evaluate_node(graph, id, &operands, &symbols)?;
        for (result, value) in node.results.iter().zip(results) {
            bind_result(graph, *result, &value, &mut symbols);
            values.insert(*result, value);
        }
        for operand in node.operands.iter().flatten() {
            let is_source = !matches!(graph.value(*operand).def, Def::Result { .. });
            if last_use[operand] == id && !keep.contains(operand) && !is_source {
                values.remove(operand);
            }
        }
    }
    define(graph, &mut symbols);
    check_requirements(graph, &symbols)?;
    Ok(keep.into_iter().map(|id| values[&id].clone()).collect())
}

fn check_requirements(graph: &Graph, symbols: &BTreeMap<Symbol, i64>) -> Result<(), EvaluateError> {
    for requirement in graph.requirements() {
        let value = |dim: &Dim| dim.eval(&|symbol| symbols.get(symbol).copied()).ok();
        if value(&requirement.left) != value(&requirement.right) {
            let broken = Box::new(requirement.clone());
            return Err(EvaluateError::Requirement(broken));
        }
    }
    Ok(())
}

/// A value as the annotation of its type says it is.
fn annotated(graph: &Graph, id: ValueId, value: &HostValue) -> Result<HostValue, EvalError> {
    match graph.ty(id).as_tensor() {
        Some(ty) => rounded(value, ty),
        None => Ok(value.clone()),
    }
}

/// Evaluates one node on operand values. Results of quantized types are quantized and dequantized.
///
/// # Errors
/// [`EvaluateError::Node`].
pub fn evaluate_node(
    graph: &Graph,
    id: NodeId,
    operands: &[Option<&HostValue>],
    symbols: &BTreeMap<Symbol, i64>,
) -> Result<Vec<HostValue>, EvaluateError> {
    let node = graph.node(id);
    let fail = |error| EvaluateError::Node {
        op: node.op.name,
        name: node.name.clone(),
        error,
    };
    let known = |symbol: &Symbol| symbols.get(symbol).map(|&value| Dim::new(value));
    let results: Vec<ValueType> = node
        .results
        .iter()
        .map(|r| substitute(graph.ty(*r), &known))
        .collect();
    for ty in &results {
        let dims = ty.as_tensor().map_or(&[][..], |ty| &ty.shape);
        if dims
            .iter()
            .filter_map(Dim::as_const)
            .any(|extent| extent < 0)
        {
            let reason = format!("result {ty} has a negative extent");
            return Err(fail(EvalError::Value(reason)));
        }
    }
    let mut attrs = node.attrs.clone();
    for (name, attr) in node.attrs.iter() {
        if let alula_ir::Attr::Dims(dims) = attr {
            attrs.set(
                name,
                dims.iter()
                    .map(|d| d.substitute(&known))
                    .collect::<Vec<Dim>>(),
            );
        }
    }
    let run_graph = |graph: &Graph, inputs: Vec<HostValue>| {
        evaluate_within(graph, inputs, symbols).map_err(|error| EvalError::Value(error.to_string()))
    };
    let ctx = EvalCtx {
        attrs: &attrs,
        operands: operands.to_vec(),
        results,
        bytes_max: BYTES_MAX,
        run_graph: &run_graph,
    };
    let values = (node.op.eval)(&ctx).map_err(fail)?;
    assert_eq!(
        values.len(),
        node.results.len(),
        "{} evaluates all results",
        node.op.name
    );
    for (result, value) in ctx.results.iter().zip(&values) {
        check_type(result, value).map_err(|reason| fail(EvalError::Value(reason)))?;
    }
    let results = node.results.iter().zip(&values);
    results
        .map(|(id, value)| annotated(graph, *id, value).map_err(fail))
        .collect()
}

fn substitute(ty: &ValueType, known: &dyn Fn(&Symbol) -> Option<Dim>) -> ValueType {
    match ty {
        ValueType::Tensor(tensor) => tensor.substitute(known).into(),
        other => other.clone(),
    }
}

/// The value's type must be the inferred one: both statements of the operator agree on it.
fn check_type(ty: &ValueType, value: &HostValue) -> Result<(), String> {
    let (Some(ty), HostValue::Tensor(tensor)) = (ty.as_tensor(), value) else {
        return Ok(());
    };
    let TensorType { dtype, shape, .. } = ty;
    let fits = *dtype == tensor.dtype()
        && shape.len() == tensor.rank()
        && shape.iter().zip(tensor.shape()).all(|(dim, extent)| {
            dim.as_const()
                .is_none_or(|known| usize::try_from(known) == Ok(*extent))
        });
    if fits {
        Ok(())
    } else {
        Err(format!("result is {}, inference gives {ty}", tensor.ty()))
    }
}

/// Gives their values to symbols that are defined by others.
fn define(graph: &Graph, symbols: &mut BTreeMap<Symbol, i64>) {
    for (symbol, origin) in graph.origins() {
        if let Origin::Defined(dim) = origin
            && let Ok(value) = dim.eval(&|symbol| symbols.get(symbol).copied())
        {
            symbols.insert(symbol.clone(), value);
        }
    }
}

fn bind_input(
    graph: &Graph,
    position: usize,
    value: &HostValue,
    symbols: &mut BTreeMap<Symbol, i64>,
) {
    let HostValue::Tensor(tensor) = value else {
        return;
    };
    for (symbol, origin) in graph.origins() {
        if let Origin::Input { input, axis } = origin
            && *input == position
            && let Some(extent) = tensor.shape().get(*axis)
        {
            symbols.insert(symbol.clone(), *extent as i64);
        }
    }
}

fn bind_result(graph: &Graph, id: ValueId, value: &HostValue, symbols: &mut BTreeMap<Symbol, i64>) {
    let HostValue::Tensor(tensor) = value else {
        return;
    };
    for (symbol, origin) in graph.origins() {
        let bound = match origin {
            Origin::Extent { value, axis } if *value == id => {
                tensor.shape().get(*axis).map(|&extent| extent as i64)
            }
            Origin::Content { value, index } if *value == id => {
                tensor.to_i64s().and_then(|ints| ints.get(*index).copied())
            }
            _ => None,
        };
        if let Some(bound) = bound {
            symbols.insert(symbol.clone(), bound);
        }
    }
}
