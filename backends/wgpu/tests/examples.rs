//! Every operator's examples and every scalar operator on an adapter, against their references.

#[path = "../../../tests/emit/arguments.rs"]
mod arguments;
#[path = "../../../tests/emit/cases.rs"]
mod cases;
#[path = "../../../tests/emit/scalars.rs"]
mod scalars;

use std::sync::Arc;

use alula_kernel::{Access, Kernel, Param};
use alula_lower::legalize::Caps;
use alula_program::{Device, Program};
use alula_tensor::{DType, Dim, ScalarOp, Storage};
use alula_testkit::tolerance::Class;
use alula_wgpu::{Emitted, WgpuDevice, emit_kernel, is_native, is_native_cast, is_stored, link};
use arguments::{check_arguments, negation};
use cases::{Case, operator_cases, run};
use scalars::scalar_cases;

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

/// Runs all cases as one program. Returns how many ran, and what was refused.
fn check(test: &str, cases: Vec<Case>) -> Option<(usize, Vec<String>)> {
    let device = match WgpuDevice::open(None) {
        Ok(device) => device,
        Err(error) => {
            alula_testkit::skip(test, &error.to_string());
            return None;
        }
    };
    let (mut runs, mut refused, mut emitted) = (Vec::new(), Vec::new(), Vec::new());
    for case in cases {
        match emit(&case) {
            Ok(shader) => {
                emitted.push(shader);
                runs.push(case);
            }
            Err(reason) => refused.push(reason),
        }
    }
    let code = link(emitted);
    let program = Arc::new(Program {
        target: "wgpu".to_owned(),
        precision: "highest".to_owned(),
        features: code.features,
        plans: Vec::new(),
        kernels: code.kernels,
        code: code.code,
        constants: Vec::new(),
        data: Vec::new(),
    });
    let module = device.load(program).expect("the program fits the adapter");
    let mut wrong = Vec::new();
    for (index, case) in runs.iter().enumerate() {
        match run(module.as_ref(), index, case) {
            Ok(results) => wrong.extend(case.mismatch(&results)),
            Err(error) => wrong.push(format!("{}: {error}", case.name)),
        }
    }
    let counts = (runs.len(), refused.len(), wrong.len());
    eprintln!(
        "{test} on {}: {counts:?} ran, refused, wrong",
        device.describe()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Some((runs.len(), refused))
}

#[test]
fn operator_examples_agree_with_their_references() {
    let Some((ran, refused)) = check("wgpu::operator_examples", operator_cases()) else {
        return;
    };
    // The one thing that is refused: few adapters have 64-bit floats.
    let unexpected: Vec<&String> = refused.iter().filter(|r| !r.contains("f64")).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    assert!(ran > 200, "only {ran} kernels ran");
}

#[test]
fn scalar_operators_agree_with_their_table() {
    // Drivers fuse, and flush subnormals, as they like.
    let class = |op: ScalarOp| match op {
        ScalarOp::Select => Class::Exact,
        _ => Class::Function,
    };
    let cases = scalar_cases(is_native, is_native_cast, class);
    let Some((ran, refused)) = check("wgpu::scalar_operators", cases) else {
        return;
    };
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(ran > 300, "only {ran} kernels ran");
}

#[test]
fn launches_are_checked_before_they_run() {
    let device = match WgpuDevice::open(None) {
        Ok(device) => device,
        Err(error) => return alula_testkit::skip("wgpu::launches", &error.to_string()),
    };
    let code = link([emit(&negation()).expect("it is native")]);
    let floats: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let program = Program {
        target: "wgpu".to_owned(),
        precision: "highest".to_owned(),
        features: code.features,
        plans: Vec::new(),
        kernels: code.kernels,
        code: code.code,
        constants: Vec::new(),
        data: vec![Storage::copy_from(&floats)],
    };
    check_arguments(
        device
            .load(Arc::new(program))
            .expect("it fits the adapter")
            .as_ref(),
    );
}

#[test]
fn an_adapter_that_is_not_there_is_named() {
    let error = WgpuDevice::open(Some("no such adapter")).expect_err("nobody calls one so");
    assert!(error.to_string().contains("adapter"), "{error}");
}

#[test]
fn a_kernel_with_too_many_parameters_is_refused_by_name() {
    let mut kernel = Kernel::new("many");
    for position in 0..31 {
        kernel.params.push(Param {
            name: format!("x{position}"),
            dtype: DType::F32,
            elements: Dim::new(1),
            access: Access::Read,
        });
    }
    let error = emit_kernel(&kernel).expect_err("one more than any");
    assert_eq!(
        error.to_string(),
        "kernel many has 31 parameters, a shader binds 30"
    );
}
