//! ONNX's own tests: a model, inputs, and what it must give of them.
//!
//! Floats are right within the tolerance of ONNX's runner, `1e-7 + 1e-3 |reference|` (in bf16
//! `2^-6 |reference|`), or within two units in the last place of the tensor's largest element, as
//! is left where the terms of a sum cancel. All else must be equal.

use std::path::Path;
use std::sync::Arc;

use alula::compile::{CompileError, CompileOptions, compile};
use alula::{Model, Value, pb};
use alula_opt::{Options, optimize};
use alula_program::Device;
use alula_runtime::Session;
use alula_tensor::{DType, Tensor};
use alula_testkit::tolerance::{Bound, compare_within, ulp};

/// Why a test did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPass {
    /// The importer or the target says what it does not do.
    Refused(String),
    /// An output is wrong, or what was compiled does not run.
    Wrong(String),
}

/// Compiles the model in a folder for a device, and runs it on each of its data sets.
///
/// # Errors
/// [`NoPass`].
pub fn judge(folder: &Path, target: alula::Target, device: &dyn Device) -> Result<(), NoPass> {
    let refused = |error: &dyn std::fmt::Display| NoPass::Refused(error.to_string());
    let wrong = |error: &dyn std::fmt::Display| NoPass::Wrong(error.to_string());
    let import = Model::builder(folder.join("model.onnx")).import();
    let mut graph = import.map_err(|error| refused(&error))?.graph;
    optimize(&mut graph, &Options::default()).map_err(|error| wrong(&error))?;
    let compiled = compile(graph, target, &CompileOptions::default());
    let program = compiled.map_err(|error| match error {
        CompileError::Refused { .. } | CompileError::Lower(_) => refused(&error),
        other => wrong(&other),
    })?;
    let program = Arc::clone(&program.program);
    let session = Session::new(program, device, Default::default());
    let session = session.map_err(|error| refused(&error))?;
    let sets = (0..).map(|set| folder.join(format!("test_data_set_{set}")));
    for data in sets.take_while(|data| data.is_dir()) {
        run(&session, &data)?;
    }
    Ok(())
}

/// Runs a data set and compares.
fn run(session: &Session, data: &Path) -> Result<(), NoPass> {
    let read = |name: String, ty| {
        let value = pb::read(data.join(&name), ty);
        value.map_err(|error| NoPass::Refused(format!("{name}: {error}")))
    };
    let mut inputs = Vec::new();
    for (k, port) in session.inputs().iter().enumerate() {
        inputs.push((port.name.as_str(), read(format!("input_{k}.pb"), &port.ty)?));
    }
    let outputs = session.run(&inputs);
    let outputs = outputs.map_err(|error| NoPass::Wrong(error.to_string()))?;
    for (k, (port, (name, actual))) in session.outputs().iter().zip(&outputs).enumerate() {
        let expected = read(format!("output_{k}.pb"), &port.ty)?;
        same(actual, &expected).map_err(|why| NoPass::Wrong(format!("{name}: {why}")))?;
    }
    Ok(())
}

/// Whether a value is its reference, or near enough.
fn same(actual: &Value, expected: &Value) -> Result<(), String> {
    match (actual, expected) {
        (Value::Tensor(actual), Value::Tensor(expected)) => tensors(actual, expected),
        (Value::Sequence(a), Value::Sequence(b)) if a.len() == b.len() => {
            a.iter().zip(b).try_for_each(|(a, b)| same(a, b))
        }
        (Value::Optional(Some(a)), Value::Optional(Some(b))) => same(a, b),
        (Value::Optional(Some(a)), b @ (Value::Tensor(_) | Value::Sequence(_))) => same(a, b),
        (a @ (Value::Tensor(_) | Value::Sequence(_)), Value::Optional(Some(b))) => same(a, b),
        (Value::Optional(None), Value::Optional(None)) => Ok(()),
        (actual, expected) => Err(format!(
            "{}, not {}",
            actual.describe(),
            expected.describe()
        )),
    }
}

fn tensors(actual: &Tensor, expected: &Tensor) -> Result<(), String> {
    let dtype = expected.dtype();
    if actual.dtype() != dtype || actual.shape() != expected.shape() {
        return Err(format!("{}, not {}", actual.ty(), expected.ty()));
    }
    if !dtype.is_float() {
        return match actual == expected {
            true => Ok(()),
            false => Err("elements differ".to_owned()),
        };
    }
    let relative = if dtype == DType::BF16 {
        1.0 / 64.0
    } else {
        1e-3
    };
    let (actual, expected) = (actual.to_f64s(), expected.to_f64s());
    let finite = expected.iter().copied().filter(|value| value.is_finite());
    let near = 2.0 * ulp(dtype, finite.map(f64::abs).fold(0.0, f64::max));
    let exact = Bound {
        ulp: 0.0,
        rel_to_max: 0.0,
    };
    for (k, (&a, &b)) in actual.iter().zip(&expected).enumerate() {
        let is_close = (a - b).abs() <= (1e-7 + relative * b.abs()).max(near);
        if !is_close && !compare_within(&[b], &[a], exact, dtype).is_ok() {
            return Err(format!("element {k} is {a}, not {b}"));
        }
    }
    Ok(())
}
