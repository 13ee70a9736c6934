//! Scans as `loop` operators, one for each direction, whose body is one step.
//!
//! A step is a product of the hidden states with the direction's recurrent weights, which are
//! constants of the body, and the arithmetic of the gates as operators on elements. A target that
//! has kernels of its own for products is faster at large weights so: they are packed, and
//! directions run one after the other, so that a near cache holds the weights of one over all
//! steps. Results differ from those of the scan's kernel by rounding only.

use std::ops::Range;

use alula_ir::{Attr, Attrs, Graph, GraphError, Node, NodeId, OpDef, ValueId};
use alula_tensor::{DType, Dim, Scalar, ScalarOp, Storage, Tensor, TensorType};

use super::activation::{Activations, Formulas};
use super::scan::{Extents, GATES, LENGTHS, TRANSPOSED, WEIGHTS};
use super::{gru, lstm, rnn};
use crate::contraction::MATMUL;
use crate::control::LOOP;
use crate::indexing::GATHER;
use crate::shape::{CONCAT, DIMS, EXPAND, RESHAPE, SLICE};

/// What is particular to the loop of a scan.
pub(super) struct Looped {
    /// Kinds of gates that have activations.
    pub(super) kinds: usize,
    /// Operands with the first states, the hidden one first.
    pub(super) firsts: &'static [usize],
    /// The operand with numbers for each direction, `[D, ..]`.
    pub(super) extra: Option<usize>,
    /// Operands that a loop does not take, beside `lengths`.
    pub(super) refused: &'static [usize],
    /// The states after a step, the hidden one first.
    pub(super) cell: fn(&mut Step<'_>) -> Result<Vec<ValueId>, GraphError>,
}

fn looped(op: &OpDef) -> Option<&'static Looped> {
    let all = [
        (&super::LSTM_SCAN, &lstm::LOOPED),
        (&super::GRU_SCAN, &gru::LOOPED),
        (&super::RNN_SCAN, &rnn::LOOPED),
    ];
    let known = all.into_iter().find(|(scan, _)| scan.name == op.name);
    known.map(|(_, looped)| looped)
}

/// Bytes of recurrent weights that a step of one direction reads in a scan that [`as_loop`] takes:
/// all of the direction's for each sequence of a batch, which is taken to be 1 if only a run knows.
///
/// `None` for other operators, and for scans that stay one: with weights that are quantized,
/// transposed or no constant, with `lengths`, of another dtype than `f32` and `f64`, or with
/// extents of operands that only a run finds to be equal.
pub fn loop_bytes(graph: &Graph, id: NodeId) -> Option<usize> {
    let node = graph.node(id);
    let scan = Scan::new(graph, node, looped(node.op)?)?;
    let weights = graph.as_constant(scan.weights)?.bytes().len() / scan.activations.directions();
    let batch = scan.extents.batch.as_const().unwrap_or(1);
    Some(weights.saturating_mul(usize::try_from(batch).unwrap_or(0)))
}

/// Writes a scan as loops; returns what replaces its results.
///
/// # Errors
/// [`GraphError`] if the loops do not type: a defect of ours.
///
/// # Panics
/// When [`loop_bytes`] is `None`.
pub fn as_loop(graph: &mut Graph, id: NodeId) -> Result<Vec<ValueId>, GraphError> {
    let node = graph.node(id).clone();
    let looped = looped(node.op).expect("the node is a scan");
    let scan = Scan::new(graph, &node, looped).expect("the scan has a loop");
    let directions = (0..scan.activations.directions()).map(|d| scan.direction(graph, d));
    let directions: Vec<Vec<ValueId>> = directions.collect::<Result<_, _>>()?;
    let Extents {
        steps,
        batch,
        directions: count,
        hidden,
        rows: _,
    } = &scan.extents;
    // Each direction gives its states, then the hidden one after every step.
    let mut joined = Vec::new();
    for result in 0..=looped.firsts.len() {
        let is_all = result == looped.firsts.len();
        let parts: Vec<ValueId> = directions.iter().map(|parts| parts[result]).collect();
        let attrs = Attrs::new().with("axis", i64::from(is_all));
        let whole = match parts.as_slice() {
            [only] => *only,
            parts => graph.apply(&CONCAT, parts, attrs, &node.name)?,
        };
        let mut to = vec![count.clone(), batch.clone(), hidden.clone()];
        if is_all {
            to.insert(0, steps.clone());
        }
        let attrs = Attrs::new().with("to", Attr::Dims(to));
        joined.push(graph.apply(&RESHAPE, &[whole], attrs, &node.name)?);
    }
    joined.rotate_right(1);
    Ok(joined)
}

/// A scan that has a loop.
struct Scan<'n> {
    node: &'n Node,
    looped: &'static Looped,
    extents: Extents,
    activations: Activations,
    gates: ValueId,
    weights: ValueId,
    dtype: DType,
}

impl Scan<'_> {
    fn new<'n>(graph: &Graph, node: &'n Node, looped: &'static Looped) -> Option<Scan<'n>> {
        let operand = |position: usize| node.operands.get(position).copied().flatten();
        let (gates, weights) = (operand(GATES)?, operand(WEIGHTS)?);
        let (gates_ty, weights_ty) = (graph.ty(gates).as_tensor()?, graph.ty(weights).as_tensor()?);
        let dtype = gates_ty.dtype;
        let extents = Extents::new(&gates_ty.shape, &weights_ty.shape, &node.attrs);
        let is_covered = matches!(dtype, DType::F32 | DType::F64)
            && weights_ty.dtype == dtype
            && graph.as_constant(weights).is_some()
            && !node.attrs.bool(TRANSPOSED.name)
            && operand(LENGTHS).is_none()
            && looped.refused.iter().all(|other| operand(*other).is_none())
            && gates_ty.shape[3] == extents.rows
            && extents.directions == weights_ty.shape[0];
        let state = [&extents.directions, &extents.batch, &extents.hidden];
        let fits = |position: &usize| match operand(*position) {
            Some(first) => {
                let ty = graph.ty(first).as_tensor();
                ty.is_some_and(|ty| ty.shape.iter().eq(state))
            }
            None => true,
        };
        // Slices of it are typed by its extent.
        let extra = looped.extra.and_then(operand);
        let is_known = extra.is_none_or(|extra| {
            let ty = graph.ty(extra).as_tensor();
            ty.is_some_and(|ty| ty.static_shape().is_some())
        });
        (is_covered && is_known && looped.firsts.iter().all(fits)).then_some(())?;
        Some(Scan {
            node,
            looped,
            extents,
            activations: Activations::new(&node.attrs, looped.kinds).ok()?,
            gates,
            weights,
            dtype,
        })
    }

    fn operand(&self, position: usize) -> Option<ValueId> {
        self.node.operands.get(position).copied().flatten()
    }

    /// The loop of a direction: its last states, `[B, H]`, then the hidden one after every step,
    /// `[T, B, H]`.
    fn direction(&self, graph: &mut Graph, direction: usize) -> Result<Vec<ValueId>, GraphError> {
        let (name, states) = (self.node.name.as_str(), self.looped.firsts.len());
        let is_backwards = direction == 1 || self.node.attrs.bool("reverse");
        let trips = dim(graph, &self.extents.steps, name)?;
        let mut operands = vec![Some(trips), None];
        for &first in self.looped.firsts {
            operands.push(Some(self.first(graph, first, direction)?));
        }
        operands.push(Some(self.gates));
        if is_backwards {
            let last = self.extents.steps.clone() - Dim::new(1);
            operands.push(Some(dim(graph, &last, name)?));
        }
        let extra = self.looped.extra.and_then(|extra| self.operand(extra));
        let extra = extra.map(|extra| row(graph, extra, direction, name));
        operands.extend(extra.transpose()?.map(Some));
        let values: Vec<TensorType> = operands[2..]
            .iter()
            .flatten()
            .map(|id| {
                let ty = graph.ty(*id).as_tensor();
                ty.expect("inference has seen tensors").clone()
            })
            .collect();
        let weights = graph
            .as_constant(self.weights)
            .expect("the weights are constant");
        let body = self.body(
            weights,
            direction,
            is_backwards,
            &values,
            graph.symbol_counter(),
        )?;
        graph.set_symbol_counter(body.symbol_counter());
        let attrs = Attrs::new()
            .with("carried", states as i64)
            .with("body", Attr::Graph(Box::new(body)));
        let mut results = graph.push_with_results(&LOOP, &operands, attrs, name, states + 1)?;
        // There are as many slices as trips.
        let Extents {
            steps,
            batch,
            hidden,
            ..
        } = self.extents.clone();
        let all = TensorType::new(self.dtype, vec![steps, batch, hidden]);
        graph.refine_type(results[states], all.clone().into());
        if is_backwards {
            let attrs = Attrs::new()
                .with("axes", Attr::Ints(vec![0]))
                .with("starts", Attr::Dims(vec![Dim::new(-1)]))
                .with("ends", Attr::Dims(vec![Dim::new(-i64::MAX)]))
                .with("steps", Attr::Ints(vec![-1]));
            let turned = graph.apply(&SLICE, &[results[states]], attrs, name)?;
            graph.refine_type(turned, all.into());
            results[states] = turned;
        }
        Ok(results)
    }

    /// The first state of a direction, `[B, H]`: 0 where none is given.
    fn first(
        &self,
        graph: &mut Graph,
        operand: usize,
        direction: usize,
    ) -> Result<ValueId, GraphError> {
        let name = self.node.name.as_str();
        if let Some(first) = self.operand(operand) {
            return row(graph, first, direction, name);
        }
        let zero = graph.constant(number(self.dtype, 0.0));
        let to = vec![self.extents.batch.clone(), self.extents.hidden.clone()];
        graph.apply(
            &EXPAND,
            &[zero],
            Attrs::new().with("to", Attr::Dims(to)),
            name,
        )
    }

    /// One step. Inputs are the step's number, a condition, the states, the gates of all steps and
    /// directions, the last step if the direction runs backwards, and numbers of the direction if
    /// there are any; those from the states on are of the types `values`.
    fn body(
        &self,
        weights: &Tensor,
        direction: usize,
        is_backwards: bool,
        values: &[TensorType],
        symbol_counter: u32,
    ) -> Result<Graph, GraphError> {
        let states = self.looped.firsts.len();
        let mut graph = Graph::new("step");
        graph.set_symbol_counter(symbol_counter);
        let at = graph.input("at", TensorType::of(DType::I64, &[]));
        graph.input("goes_on", TensorType::of(DType::Bool, &[]));
        let mut names: Vec<String> = (0..states).map(|k| format!("state{k}")).collect();
        names.push("gates".to_owned());
        names.extend(is_backwards.then(|| "last".to_owned()));
        names.push("extra".to_owned());
        let named = names.iter().zip(values);
        let inputs: Vec<ValueId> = named
            .map(|(name, ty)| graph.input(name, ty.clone()))
            .collect();
        let mut others = inputs[states..].iter().copied();
        let mut step = Step {
            graph,
            name: self.node.name.as_str(),
            direction,
            activations: &self.activations,
            dtype: self.dtype,
            hidden: weights.shape()[2],
            at,
            states: inputs[..states].to_vec(),
            gates: others.next().expect("gates are among the values"),
            last: others.next().filter(|_| is_backwards),
            extra: inputs.get(states + 1 + usize::from(is_backwards)).copied(),
            weights: slice(weights, direction),
            attrs: &self.node.attrs,
        };
        let after = (self.looped.cell)(&mut step)?;
        let mut graph = step.graph;
        let goes_on = Tensor::from_bools(&[], &[true]).expect("one element");
        let goes_on = graph.constant(goes_on);
        graph.output("goes_on", goes_on);
        for (position, state) in after.iter().enumerate() {
            graph.output(format!("state{position}"), *state);
        }
        graph.output("hidden", after[0]);
        Ok(graph)
    }
}

/// A step of one direction on its way to be a graph.
pub(super) struct Step<'s> {
    graph: Graph,
    name: &'s str,
    direction: usize,
    activations: &'s Activations,
    dtype: DType,
    hidden: usize,
    /// The number of the step, `i64`.
    at: ValueId,
    /// The last step where they are counted backwards.
    last: Option<ValueId>,
    /// Inputs of all gates, `[T, B, D, G*H]`.
    gates: ValueId,
    /// The states before the step, `[B, H]`.
    pub(super) states: Vec<ValueId>,
    /// The operand with numbers of the direction, a vector.
    pub(super) extra: Option<ValueId>,
    /// Recurrent weights, `[G*H, H]`.
    weights: Tensor,
    pub(super) attrs: &'s Attrs,
}

impl Step<'_> {
    /// Rows of some gates of the recurrent weights times states `[B, H]`: `[B, gates*H]`.
    pub(super) fn products(
        &mut self,
        gates: Range<usize>,
        with: ValueId,
    ) -> Result<ValueId, GraphError> {
        let (hidden, row_bytes) = (self.hidden, self.hidden * self.dtype.size_bytes());
        let rows = gates.start * hidden..gates.end * hidden;
        let bytes = &self.weights.bytes()[rows.start * row_bytes..rows.end * row_bytes];
        let storage = Storage::copy_from(bytes);
        let weights = Tensor::from_storage(self.dtype, &[rows.len(), hidden], storage);
        let weights = self.graph.constant(weights.expect("the length fits"));
        let attrs = Attrs::new().with("transpose_b", true);
        self.graph
            .apply(&MATMUL, &[with, weights], attrs, self.name)
    }

    /// The input of a gate, `[B, H]`. Made of nodes of its own for each gate, so that each kernel
    /// reads where the gates are, and none copies those of a step.
    pub(super) fn input(&mut self, gate: usize) -> Result<ValueId, GraphError> {
        let at = match self.last {
            Some(last) => self.apply(ScalarOp::Sub, &[last, self.at]),
            None => self.at,
        };
        let number = self.graph.constant(Tensor::scalar(self.direction as i64));
        let graph = &mut self.graph;
        let of_step = graph.apply(&GATHER, &[self.gates, at], Attrs::new(), self.name)?;
        let attrs = Attrs::new().with("axis", 1_i64);
        let gates = graph.apply(&GATHER, &[of_step, number], attrs, self.name)?;
        self.part(gates, gate)
    }

    /// Part `number` of the last axis, each of which has as many elements as the hidden state.
    pub(super) fn part(&mut self, of: ValueId, number: usize) -> Result<ValueId, GraphError> {
        let first = (number * self.hidden) as i64;
        let attrs = Attrs::new()
            .with("axes", Attr::Ints(vec![-1]))
            .with("starts", Attr::Dims(vec![Dim::new(first)]))
            .with(
                "ends",
                Attr::Dims(vec![Dim::new(first + self.hidden as i64)]),
            );
        self.graph.apply(&SLICE, &[of], attrs, self.name)
    }

    /// The input of a gate and its part of products, added.
    pub(super) fn sum(
        &mut self,
        gate: usize,
        products: ValueId,
        number: usize,
    ) -> Result<ValueId, GraphError> {
        let (input, product) = (self.input(gate)?, self.part(products, number)?);
        Ok(self.apply(ScalarOp::Add, &[input, product]))
    }

    /// The activation of a kind of gate, input limited.
    pub(super) fn activate(&mut self, kind: usize, x: ValueId) -> ValueId {
        let (activations, direction) = (self.activations, self.direction);
        activations.emit_in(self, direction, kind, x)
    }

    /// As [`Step::activate`] without the limit.
    pub(super) fn activate_unlimited(&mut self, kind: usize, x: ValueId) -> ValueId {
        let (activations, direction) = (self.activations, self.direction);
        activations.emit_unlimited_in(self, direction, kind, x)
    }
}

impl Formulas for Step<'_> {
    type Value = ValueId;

    fn number(&mut self, _like: ValueId, value: f64) -> ValueId {
        self.graph.constant(number(self.dtype, value))
    }

    fn apply(&mut self, op: ScalarOp, operands: &[ValueId]) -> ValueId {
        let applied = self
            .graph
            .apply(operator(op), operands, Attrs::new(), self.name);
        applied.expect("elements of one dtype and shape")
    }
}

fn operator(op: ScalarOp) -> &'static OpDef {
    let row = crate::registry().get(op.name());
    row.expect("scalar operators of formulas are operators of graphs")
}

fn number(dtype: DType, value: f64) -> Tensor {
    Tensor::from_scalars(dtype, &[], &[Scalar::Float(value)]).expect("one element")
}

/// A dim as an `i64` scalar.
fn dim(graph: &mut Graph, dim: &Dim, name: &str) -> Result<ValueId, GraphError> {
    let attrs = Attrs::new()
        .with("values", Attr::Dims(vec![dim.clone()]))
        .with("scalar", true);
    graph.apply(&DIMS, &[], attrs, name)
}

/// What an operand `[D, ..]` has for a direction.
fn row(
    graph: &mut Graph,
    of: ValueId,
    direction: usize,
    name: &str,
) -> Result<ValueId, GraphError> {
    if let Some(tensor) = graph.as_constant(of) {
        let slice = slice(tensor, direction);
        return Ok(graph.constant(slice));
    }
    let number = graph.constant(Tensor::scalar(direction as i64));
    graph.apply(&GATHER, &[of, number], Attrs::new(), name)
}

/// Element `position` of the first axis.
fn slice(tensor: &Tensor, position: usize) -> Tensor {
    let (count, shape) = (tensor.shape()[0], &tensor.shape()[1..]);
    let bytes = tensor.bytes().len() / count;
    let bytes = &tensor.bytes()[position * bytes..(position + 1) * bytes];
    let slice = Tensor::from_storage(tensor.dtype(), shape, Storage::copy_from(bytes));
    slice.expect("the length fits")
}
