//! The reference evaluation, node by node, with every value kept.

use std::collections::BTreeMap;

use alula_ir::{Def, Graph, HostValue, NodeId, Origin, ValueId};
use alula_ops::{EvaluateError, evaluate_node};
use alula_tensor::Symbol;

/// A graph under evaluation: values so far, and of symbols.
#[derive(Clone, Debug)]
pub struct State {
    /// The graph.
    pub graph: Graph,
    /// Known values.
    pub values: BTreeMap<ValueId, HostValue>,
    /// Known symbols.
    pub symbols: BTreeMap<Symbol, i64>,
}

impl State {
    /// Nothing is known.
    pub fn new(graph: Graph) -> State {
        State {
            graph,
            values: BTreeMap::new(),
            symbols: BTreeMap::new(),
        }
    }

    /// Inputs and constants are known.
    pub fn with_inputs(graph: &Graph, inputs: &[HostValue]) -> State {
        let mut state = State::new(graph.clone());
        for (id, value) in graph.values() {
            if let Def::Constant(tensor) = &value.def {
                state.set(id, tensor.clone().into());
            }
        }
        for (id, value) in graph.inputs().iter().zip(inputs) {
            state.set(*id, value.clone());
        }
        state
    }

    /// Gives a value, and with it the symbols that it decides.
    pub fn set(&mut self, id: ValueId, value: HostValue) {
        let inputs = self.graph.inputs();
        for (symbol, origin) in self.graph.origins() {
            let extent = |axis: usize| {
                let tensor = value.as_tensor()?;
                tensor.shape().get(axis).map(|&n| n as i64)
            };
            let bound = match *origin {
                Origin::Input { input, axis } if inputs[input] == id => extent(axis),
                Origin::Extent { value, axis } if value == id => extent(axis),
                Origin::Content { value: of, index } if of == id => {
                    let all = value.as_tensor().and_then(|tensor| tensor.to_i64s());
                    all.and_then(|all| all.get(index).copied())
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

    /// The results of a node whose operands are known.
    ///
    /// # Errors
    /// [`EvaluateError`].
    pub fn node(&self, id: NodeId) -> Result<Vec<HostValue>, EvaluateError> {
        let operands = &self.graph.node(id).operands;
        let operands: Vec<Option<&HostValue>> = operands
            .iter()
            .map(|operand| operand.map(|id| &self.values[&id]))
            .collect();
        evaluate_node(&self.graph, id, &operands, &self.symbols)
    }

    /// Evaluates all nodes.
    ///
    /// # Errors
    /// [`EvaluateError`].
    pub fn run(&mut self) -> Result<(), EvaluateError> {
        for id in self.graph.nodes() {
            let results = self.node(id)?;
            for (result, value) in self.graph.node(id).results.clone().into_iter().zip(results) {
                self.set(result, value);
            }
        }
        Ok(())
    }
}
