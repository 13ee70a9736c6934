//! Every operator's examples on an adapter, against the operators' references.

#[path = "../../../tests/emit/cases.rs"]
mod cases;

use std::sync::Arc;

use alula_lower::legalize::Caps;
use alula_program::{Device, Program};
use alula_tensor::Dim;
use alula_wgpu::{Emitted, WgpuDevice, emit_kernel, is_native, is_native_cast, is_stored, link};
use cases::{Case, operator_cases, run};

const CAPS: Caps = Caps {
    op: is_native,
    cast: is_native_cast,
    storage: is_stored,
};

/// The shader, or why there is none.
fn emit(case: &Case) -> Result<Emitted, String> {
    let kernel = case.legal(&CAPS)?;
    emit_kernel(&kernel).map_err(|error| error.to_string())
}

#[test]
fn operator_examples_agree_with_their_references() {
    let device = match WgpuDevice::open(None) {
        Ok(device) => device,
        Err(error) => {
            return alula_testkit::skip("wgpu::operator_examples", &error.to_string());
        }
    };
    eprintln!("{}", device.describe());
    let (mut runs, mut refusals, mut emitted) = (Vec::new(), Vec::new(), Vec::new());
    for case in operator_cases() {
        match emit(&case) {
            Ok(shader) => {
                emitted.push(shader);
                runs.push(case);
            }
            Err(reason) => refusals.push(reason),
        }
    }
    let code = link(emitted);
    let program = Arc::new(Program {
        target: "wgpu".to_owned(),
        features: code.features,
        plans: Vec::new(),
        kernels: code.kernels,
        code: code.code,
        constants: Vec::new(),
        data: Vec::new(),
    });
    let module = device
        .load(Arc::clone(&program))
        .expect("the program fits the adapter");
    let mut wrong = Vec::new();
    for (index, case) in runs.iter().enumerate() {
        match run(module.as_ref(), index, case) {
            Ok(results) => wrong.extend(case.mismatch(&results)),
            Err(error) => wrong.push(format!("{}: {error}", case.name)),
        }
    }
    // The one thing that is refused: few adapters have 64-bit floats.
    let unexpected: Vec<&String> = refusals
        .iter()
        .filter(|reason| !reason.contains("f64"))
        .collect();
    eprintln!(
        "{} ran, {} refused, {} wrong",
        runs.len(),
        refusals.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    assert!(runs.len() > 100, "only {} kernels ran", runs.len());
}

#[test]
fn a_kernel_with_too_many_parameters_is_refused_by_name() {
    let mut kernel = alula_kernel::Kernel::new("many");
    for position in 0..9 {
        kernel.params.push(alula_kernel::Param {
            name: format!("x{position}"),
            dtype: alula_tensor::DType::F32,
            elements: Dim::new(1),
            access: alula_kernel::Access::Read,
        });
    }
    let error = emit_kernel(&kernel).expect_err("nine parameters");
    assert_eq!(
        error.to_string(),
        "kernel many has 9 parameters, a shader binds 8"
    );
}
