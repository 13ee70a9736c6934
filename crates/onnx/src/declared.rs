//! What a graph declares before its nodes: initializers and inputs.

use alula_tensor::{Dim, Tensor, ValueType};

use crate::error::{INITIALIZER, INPUT};
use crate::model::Importer;
use crate::proto::{GraphProto, ValueInfoProto};
use crate::scope::Bound;
use crate::symbols::Symbols;
use crate::tensor::import_tensor;
use crate::types::{self, TypeError};
use crate::{ImportError, NodeRef, Unsupported, sparse};

impl Importer<'_> {
    /// Binds the initializers of a graph; those that we do not do are reported.
    pub(crate) fn initializers(&mut self, proto: &GraphProto) -> Result<(), ImportError> {
        for tensor in &proto.initializer {
            let imported = import_tensor(tensor, self.external);
            self.initializer(tensor.name(), imported)?;
        }
        for tensor in &proto.sparse_initializer {
            let dense = sparse::dense(tensor, self.external, &mut self.dense_bytes_left);
            self.initializer(sparse::name(tensor), dense)?;
        }
        Ok(())
    }

    fn initializer(
        &mut self,
        name: &str,
        imported: Result<Tensor, ImportError>,
    ) -> Result<(), ImportError> {
        let bound = match imported {
            Ok(tensor) => Bound::Value(self.graph().named_constant(name, tensor)),
            Err(ImportError::DataType { reason, .. }) => {
                self.report_declared(INITIALIZER, name, reason);
                Bound::Missing
            }
            Err(error) => return Err(error),
        };
        self.bind(name, bound)
    }

    /// Adds the inputs of the model's graph; those that we do not do are reported.
    pub(crate) fn inputs(&mut self, proto: &GraphProto) -> Result<(), ImportError> {
        let symbols = Symbols::of(&proto.input, &self.options.dims).map_err(ImportError::Model)?;
        // Before IR version 4 initializers are inputs, too: with a value, they are constants.
        let names = &self.scopes.top_frame().names;
        let inputs: Vec<&ValueInfoProto> = proto
            .input
            .iter()
            .filter(|info| !names.contains_key(info.name()))
            .collect();
        let is_input = |name: &str| inputs.iter().any(|info| info.name() == name);
        if let Some(name) = self.options.shapes.keys().find(|name| !is_input(name)) {
            let known: Vec<String> = inputs.iter().map(|i| format!("{:?}", i.name())).collect();
            let known = known.join(", ");
            return Err(ImportError::Model(format!(
                "there is no input {name:?}: the model's are {known}"
            )));
        }
        for info in inputs {
            let name = info.name();
            let shape = self.options.shapes.get(name).map(Vec::as_slice);
            let bound = match types::value_type(info, &symbols, shape) {
                Ok(ty) => {
                    let ty = self.fixed_shape(name, ty)?;
                    Bound::Value(self.graph().input(name, ty))
                }
                Err(TypeError::Unsupported(reason)) => {
                    self.report_declared(INPUT, name, reason);
                    Bound::Missing
                }
                Err(TypeError::Invalid(reason)) => {
                    return Err(ImportError::Model(format!("input {name:?} {reason}")));
                }
            };
            self.bind(name, bound)?;
        }
        Ok(())
    }

    /// The declared type with the shape that the user gave for this input, if any.
    fn fixed_shape(&self, name: &str, ty: ValueType) -> Result<ValueType, ImportError> {
        let (Some(shape), ValueType::Tensor(mut tensor)) =
            (self.options.shapes.get(name), ty.clone())
        else {
            return Ok(ty);
        };
        let fits = shape.len() == tensor.rank()
            && shape.iter().zip(&tensor.shape).all(|(&extent, dim)| {
                extent >= 0 && dim.as_const().is_none_or(|known| known == extent)
            });
        if !fits {
            return Err(ImportError::Model(format!(
                "input {name:?} is {tensor}, shape {shape:?} was asked for"
            )));
        }
        tensor.shape = shape.iter().map(|&extent| Dim::new(extent)).collect();
        Ok(tensor.into())
    }

    /// Reports something of a graph that is no node.
    fn report_declared(&mut self, what: &str, name: &str, reason: String) {
        let node = NodeRef {
            name: name.to_owned(),
            op_type: what.to_owned(),
            opset: 0,
            call: self.scopes.top_frame().call.clone(),
        };
        self.report(vec![Unsupported::new(node, reason)]);
    }
}
