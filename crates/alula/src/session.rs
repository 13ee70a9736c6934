//! A model on a device.

use alula_runtime::{Outcome, RunError, RunOptions};
use alula_tensor::{Value, ValueType};

use crate::{Error, Target};

/// An input or output.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// The model's name for it.
    pub name: String,
    /// Its type; dims may be symbols.
    pub ty: ValueType,
}

/// A model that is ready to run. Runs take `&self` and may be concurrent.
#[derive(Debug)]
pub struct Session {
    engine: Engine,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    target: Target,
}

#[derive(Debug)]
enum Engine {
    /// The graph, evaluated by the reference.
    #[cfg(feature = "emit")]
    Reference(Box<alula_ir::Graph>),
    /// A loaded program.
    Loaded(Box<alula_runtime::Session>),
}

impl Session {
    #[cfg(feature = "emit")]
    pub(crate) fn reference(graph: alula_ir::Graph) -> Session {
        let port = |name: &str, id| Port {
            name: name.to_owned(),
            ty: graph.ty(id).clone(),
        };
        let name = |id| graph.value(id).name.as_deref().unwrap_or_default();
        Session {
            inputs: graph
                .inputs()
                .iter()
                .map(|id| port(name(*id), *id))
                .collect(),
            outputs: graph
                .outputs()
                .iter()
                .map(|(name, id)| port(name, *id))
                .collect(),
            engine: Engine::Reference(Box::new(graph)),
            target: Target::Reference,
        }
    }

    pub(crate) fn loaded(session: alula_runtime::Session, target: Target) -> Session {
        let ports = |ports: &[alula_program::Port]| {
            ports
                .iter()
                .map(|port| Port {
                    name: port.name.clone(),
                    ty: port.ty.clone(),
                })
                .collect()
        };
        Session {
            inputs: ports(session.inputs()),
            outputs: ports(session.outputs()),
            engine: Engine::Loaded(Box::new(session)),
            target,
        }
    }

    /// The model's inputs in order.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// The model's outputs in order.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// What the model was compiled for.
    pub fn target(&self) -> Target {
        self.target
    }

    /// The loaded program, unless this is the reference. It runs into the caller's memory, and
    /// after the first run of a binding of symbols allocates nothing:
    ///
    /// ```
    /// use alula::{Model, Tensor, TensorRef};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("model.onnx");
    /// # std::fs::write(&path, alula::doc_model())?;
    /// let session = Model::open(&path)?.session()?;
    /// let program = session.loaded_program().expect("the target is the processor");
    /// let x = Tensor::from_slice(&[2], &[1.0_f32, -2.0])?;
    /// let mut y = [0; 8];
    /// program.run_into(&[TensorRef::of(&x)], &mut [&mut y])?;
    /// assert_eq!(y, [(-1.0_f32).to_le_bytes(), 2.0_f32.to_le_bytes()].concat()[..]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn loaded_program(&self) -> Option<&alula_runtime::Session> {
        match &self.engine {
            #[cfg(feature = "emit")]
            Engine::Reference(_) => None,
            Engine::Loaded(session) => Some(session),
        }
    }

    /// Runs the model on inputs by name; gives outputs by name in the model's order.
    ///
    /// # Errors
    /// [`Error::Run`], or [`Error::Evaluate`] from the reference.
    pub fn run(&self, inputs: &[(&str, Value)]) -> Result<Vec<(String, Value)>, Error> {
        Ok(self.run_with(inputs, &RunOptions::default())?.outputs)
    }

    /// [`Session::run`] with a deadline or a profile. The reference has no steps to measure.
    ///
    /// ```
    /// use std::time::Duration;
    /// use alula::{Model, RunOptions, Tensor};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("model.onnx");
    /// # std::fs::write(&path, alula::doc_model())?;
    /// let session = Model::open(&path)?.session()?;
    /// let x = Tensor::from_slice(&[2], &[1.0_f32, -2.0])?;
    /// let options = RunOptions {
    ///     deadline: Some(Duration::from_secs(60)),
    ///     profile: true,
    ///     ..RunOptions::default()
    /// };
    /// let outcome = session.run_with(&[("x", x.clone().into())], &options)?;
    /// let profile = outcome.profile.expect("it was asked for");
    /// assert!(profile.table(10).contains("y"));
    ///
    /// let late = RunOptions { deadline: Some(Duration::ZERO), ..options };
    /// let error = session.run_with(&[("x", x.into())], &late).unwrap_err();
    /// assert!(error.to_string().contains("deadline"), "{error}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Session::run`]; [`Error::Unheeded`] for a deadline of the reference.
    pub fn run_with(
        &self,
        inputs: &[(&str, Value)],
        options: &RunOptions,
    ) -> Result<Outcome, Error> {
        match &self.engine {
            Engine::Loaded(session) => Ok(session.run_with(inputs, options)?),
            #[cfg(feature = "emit")]
            Engine::Reference(_) if options.deadline.is_some() => Err(Error::Unheeded {
                what: "deadline",
                target: self.target,
            }),
            #[cfg(feature = "emit")]
            Engine::Reference(graph) => {
                let values = self.in_order(inputs)?;
                let results = alula_ops::evaluate(graph, values)?;
                let names = self.outputs.iter().map(|port| port.name.clone());
                Ok(Outcome {
                    outputs: names.zip(results).collect(),
                    profile: None,
                    arena_bytes: 0,
                    peak_bytes: 0,
                })
            }
        }
    }

    /// Inputs in the model's order, checked.
    #[cfg_attr(not(feature = "emit"), expect(dead_code, reason = "for the reference"))]
    fn in_order(&self, inputs: &[(&str, Value)]) -> Result<Vec<Value>, RunError> {
        for (position, (name, _)) in inputs.iter().enumerate() {
            if !self.inputs.iter().any(|port| port.name == *name) {
                return Err(RunError::UnknownInput {
                    name: (*name).to_owned(),
                    known: self.inputs.iter().map(|port| port.name.clone()).collect(),
                });
            }
            if inputs[..position].iter().any(|(other, _)| other == name) {
                return Err(RunError::RepeatedInput((*name).to_owned()));
            }
        }
        let value = |port: &Port| {
            let given = inputs.iter().find(|(name, _)| *name == port.name);
            let (_, value) = given.ok_or_else(|| RunError::MissingInput {
                name: port.name.clone(),
                declared: port.ty.to_string(),
            })?;
            if value.fits(&port.ty) {
                return Ok(value.clone());
            }
            Err(RunError::InputType {
                name: port.name.clone(),
                declared: port.ty.to_string(),
                given: value.describe(),
                reason: "the types differ".to_owned(),
            })
        };
        self.inputs.iter().map(value).collect()
    }
}
