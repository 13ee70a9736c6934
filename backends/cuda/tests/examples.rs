//! Every operator's examples through the device and the PTX interpreter, against the operators'
//! references.

#[path = "../../../tests/emit/cases.rs"]
mod cases;
mod support;

use std::sync::Arc;

use alula_cuda::{
    CudaDevice, CudaDriver, Emitted, emit_kernel, is_native, is_native_cast, is_stored, link,
};
use alula_lower::legalize::Caps;
use alula_program::{Device, DeviceError, Program};
use cases::{Case, operator_cases, run};
use support::InterpreterDriver;

const CAPS: Caps = Caps {
    op: is_native,
    cast: is_native_cast,
    storage: is_stored,
};

fn emit(case: &Case) -> Result<Emitted, String> {
    let kernel = case.legal(&CAPS)?;
    emit_kernel(&kernel).map_err(|error| error.to_string())
}

#[test]
fn operator_examples_agree_with_their_references() {
    let (mut runs, mut refused, mut emitted) = (Vec::new(), Vec::new(), Vec::new());
    for case in operator_cases() {
        match emit(&case) {
            Ok(entry) => {
                emitted.push(entry);
                runs.push(case);
            }
            Err(reason) => refused.push(reason),
        }
    }
    let code = link(emitted);
    let program = Arc::new(Program {
        target: "cuda".to_owned(),
        features: code.features,
        plans: Vec::new(),
        kernels: code.kernels,
        code: code.code,
        constants: Vec::new(),
        data: Vec::new(),
    });
    let device = CudaDevice::with_driver(Arc::new(InterpreterDriver::default()));
    let module = device
        .load(program)
        .expect("the interpreter takes every entry");
    let mut wrong = Vec::new();
    for (index, case) in runs.iter().enumerate() {
        match run(module.as_ref(), index, case) {
            Ok(results) => wrong.extend(case.mismatch(&results)),
            Err(error) => wrong.push(format!("{}: {error}", case.name)),
        }
    }
    eprintln!(
        "{} ran, {} refused, {} wrong",
        runs.len(),
        refused.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(runs.len() > 100, "only {} kernels ran", runs.len());
}

#[test]
fn a_machine_without_the_driver_is_told_so() {
    match CudaDriver::open(0) {
        Ok(driver) => assert!(!alula_cuda::Driver::name(&driver).is_empty()),
        Err(error) => assert!(matches!(error, DeviceError::Unavailable { .. }), "{error}"),
    }
}
