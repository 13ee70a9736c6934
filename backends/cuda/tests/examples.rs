//! Every operator's examples and every scalar operator through the device and the PTX
//! interpreter, against their references; and through the vendor's assembler, where there is one.

#[path = "../../../tests/emit/arguments.rs"]
mod arguments;
#[path = "../../../tests/emit/cases.rs"]
mod cases;
#[path = "../../../tests/emit/scalars.rs"]
mod scalars;
mod support;

use std::sync::Arc;

use alula_cuda::{
    CudaCode, CudaDevice, CudaDriver, Driver, Emitted, emit_kernel, is_native, is_native_cast,
    is_stored, link,
};
use alula_lower::legalize::Caps;
use alula_program::{Device, DeviceError, Program};
use alula_tensor::{ScalarOp, Storage};
use alula_testkit::tolerance::Class;
use arguments::{check_arguments, negation};
use cases::{Case, operator_cases, run};
use scalars::scalar_cases;
use support::{InterpreterDriver, assemble, find_ptxas};

const CAPS: Caps = Caps {
    op: is_native,
    cast: is_native_cast,
    storage: is_stored,
};

fn emit(case: &Case) -> Result<Emitted, String> {
    let kernel = case.legal(&CAPS)?;
    emit_kernel(&kernel).map_err(|error| error.to_string())
}

/// One module of all cases; nothing is refused.
fn compile(cases: &[Case]) -> CudaCode {
    let emitted: Result<Vec<Emitted>, String> = cases.iter().map(emit).collect();
    link(emitted.unwrap_or_else(|refused| panic!("{refused}")))
}

/// Scalar operators are exact: arithmetic names its rounding, and functions are expanded.
fn scalars() -> Vec<Case> {
    scalar_cases(is_native, is_native_cast, |_: ScalarOp| Class::Exact)
}

fn check(cases: &[Case]) {
    let code = compile(cases);
    let program = Arc::new(Program {
        target: "cuda".to_owned(),
        precision: "highest".to_owned(),
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
    for (index, case) in cases.iter().enumerate() {
        match run(module.as_ref(), index, case) {
            Ok(results) => wrong.extend(case.mismatch(&results)),
            Err(error) => wrong.push(format!("{}: {error}", case.name)),
        }
    }
    eprintln!("{} ran, {} wrong", cases.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn operator_examples_agree_with_their_references() {
    let cases = operator_cases();
    assert!(cases.len() > 200, "only {} kernels", cases.len());
    check(&cases);
}

#[test]
fn scalar_operators_agree_with_their_table() {
    let cases = scalars();
    assert!(cases.len() > 300, "only {} kernels", cases.len());
    check(&cases);
}

#[test]
fn launches_are_checked_before_they_run() {
    let code = compile(&[negation()]);
    let floats: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let program = Program {
        target: "cuda".to_owned(),
        precision: "highest".to_owned(),
        features: code.features,
        plans: Vec::new(),
        kernels: code.kernels,
        code: code.code,
        constants: Vec::new(),
        data: vec![Storage::copy_from(&floats)],
    };
    let device = CudaDevice::with_driver(Arc::new(InterpreterDriver::default()));
    check_arguments(
        device
            .load(Arc::new(program))
            .expect("it is well formed")
            .as_ref(),
    );
}

#[test]
fn every_kernel_assembles_for_three_generations() {
    let Some(ptxas) = find_ptxas() else {
        let reason = "no ptxas: neither $PTXAS, nor on the path, nor in the cache";
        return alula_testkit::skip("cuda::ptxas", reason);
    };
    let mut cases = operator_cases();
    cases.extend(scalars());
    let code = compile(&cases);
    let text = String::from_utf8(code.code).expect("code is text");
    for target in ["sm_75", "sm_80", "sm_90"] {
        assemble(&ptxas, target, &text).unwrap_or_else(|words| panic!("{target}: {words}"));
    }
}

#[test]
fn a_machine_without_the_driver_is_told_so() {
    match CudaDriver::open(0) {
        Ok(driver) => assert!(!driver.name().is_empty()),
        Err(error) => assert!(matches!(error, DeviceError::Unavailable { .. }), "{error}"),
    }
}
