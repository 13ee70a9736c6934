//! The invariants of a graph:
//!
//! - it has no cycle;
//! - operands and outputs are values of the graph; an operand is absent only where the operator's
//!   row allows it;
//! - each result's definition names its node and position;
//! - attributes are those of the row, complete and of the right kinds;
//! - inference, run again, gives each result's dtype and rank, and no other known extent;
//! - annotations fit the types that they are on: scales the shape, zero points the stored type,
//!   axes the rank; only constants are sparse, and none is quantized, which integers behind a
//!   `dequantize_linear` are;
//! - keys of maps are `i64` or strings;
//! - sub-graphs hold the same invariants.

use crate::{Attr, Def, Graph, InferCtx, NodeId, VerifyError};

fn verify_type(value: &crate::Value) -> Result<(), String> {
    let Some(ty) = value.ty.as_tensor() else {
        return value.ty.check();
    };
    let is_constant = matches!(value.def, Def::Constant(_));
    match (&ty.quant, &ty.sparsity) {
        (Some(quant), _) if is_constant => Err(format!("is a constant with {quant}")),
        (_, Some(sparsity)) if !is_constant => Err(format!("is no constant, but {sparsity}")),
        _ => ty.check_annotations(),
    }
}

impl Graph {
    /// Checks every invariant in the module's list.
    ///
    /// # Errors
    /// Everything that does not hold.
    pub fn verify(&self) -> Result<(), Vec<VerifyError>> {
        let mut errors = Vec::new();
        let nodes = self.nodes();
        if nodes.len() != self.num_nodes() {
            let place = format!("graph {}", self.name);
            errors.push(VerifyError {
                place,
                broken: "has a cycle".to_owned(),
            });
        }
        let known: std::collections::BTreeSet<_> = self.values().map(|(id, _)| id).collect();
        for (name, value) in self.outputs() {
            if !known.contains(value) {
                let broken = "is no value of the graph".to_owned();
                errors.push(VerifyError {
                    place: format!("output {name}"),
                    broken,
                });
            }
        }
        for (id, value) in self.values() {
            if let Err(broken) = verify_type(value) {
                let name = value.name.clone().unwrap_or_else(|| format!("{id:?}"));
                errors.push(VerifyError {
                    place: format!("value {name:?}"),
                    broken,
                });
            }
        }
        for id in nodes {
            self.verify_node(id, &known, &mut errors);
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    fn verify_node(
        &self,
        id: NodeId,
        known: &std::collections::BTreeSet<crate::ValueId>,
        errors: &mut Vec<VerifyError>,
    ) {
        let node = self.node(id);
        let mut broken = |broken: String| {
            let place = format!("{} {:?}", node.op.name, node.name);
            errors.push(VerifyError { place, broken });
        };
        for (position, operand) in node.operands.iter().enumerate() {
            match operand {
                Some(value) if !known.contains(value) => {
                    return broken(format!("operand {position} is no value of the graph"));
                }
                None if !node.op.is_optional(position) => {
                    broken(format!("operand {position} is absent"));
                }
                Some(_) | None => {}
            }
        }
        for (position, result) in node.results.iter().enumerate() {
            match self.value(*result).def {
                Def::Result { node, index } if node == id && index == position => {}
                _ => broken(format!("result {position} says it is defined elsewhere")),
            }
        }
        for (name, attr) in node.attrs.iter() {
            match node.op.attr(name) {
                None => broken(format!("{name} is not an attribute of the operator")),
                Some(spec) if spec.kind != attr.kind() => {
                    broken(format!("{name} is no {:?}", spec.kind));
                }
                Some(_) => {}
            }
        }
        if let Err(reason) = self.verify_types(id) {
            broken(reason);
        }
        for (name, attr) in node.attrs.iter() {
            if let Attr::Graph(graph) = attr
                && let Err(inner) = graph.verify()
            {
                errors.extend(inner.into_iter().map(|error| VerifyError {
                    place: format!("{} {:?} {name}: {}", node.op.name, node.name, error.place),
                    broken: error.broken,
                }));
            }
        }
    }

    fn verify_types(&self, id: NodeId) -> Result<(), String> {
        let node = self.node(id);
        let mut ctx = InferCtx {
            attrs: &node.attrs,
            operands: node
                .operands
                .iter()
                .map(|operand| {
                    operand.map(|value| crate::OperandFacts {
                        value,
                        ty: self.ty(value),
                        content: self.value(value).content.clone(),
                        constant: self.as_constant(value),
                    })
                })
                .collect(),
            results_wanted: node.results.len(),
            fresh: Vec::new(),
            next_symbol: 0,
        };
        let inferred = (node.op.infer)(&mut ctx).map_err(|error| error.to_string())?;
        if inferred.len() != node.results.len() {
            return Err(format!(
                "has {} results, not {}",
                node.results.len(),
                inferred.len()
            ));
        }
        for (result, again) in node.results.iter().zip(inferred) {
            let (stored, again) = (self.ty(*result), again.ty);
            let agree = match (stored.as_tensor(), again.as_tensor()) {
                (Some(a), Some(b)) => {
                    a.dtype == b.dtype
                        && a.rank() == b.rank()
                        && a.shape.iter().zip(&b.shape).all(|(x, y)| {
                            x.as_const().is_none() || y.as_const().is_none() || x == y
                        })
                }
                (None, None) => std::mem::discriminant(stored) == std::mem::discriminant(&again),
                _ => false,
            };
            if !agree {
                return Err(format!("result is {stored}, inference gives {again}"));
            }
        }
        Ok(())
    }
}
