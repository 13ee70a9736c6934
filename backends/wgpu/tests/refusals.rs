//! What is refused, by name.

use alula_kernel::{Access, Kernel, Param};
use alula_tensor::{DType, Dim};
use alula_wgpu::{WgpuDevice, emit_kernel};

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
            bound: None,
        });
    }
    let error = emit_kernel(&kernel).expect_err("one more than any");
    assert_eq!(
        error.to_string(),
        "kernel many has 31 parameters, a shader binds 30"
    );
}
