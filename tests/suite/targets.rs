//! The example model on every target: the same graph, lowered once, gives the reference's answer on
//! wgpu (a software Vulkan driver) and as PTX (in the interpreter).

use std::path::Path;
use std::sync::Arc;

use alula_cuda::CudaDevice;
use alula_ir::Graph;
use alula_kernel::Kernel;
use alula_lower::build::{ParamSpec, Policy, build};
use alula_lower::cluster::Strategy;
use alula_lower::legalize::{Caps, legalize};
use alula_lower::plan::{KernelWork, Launch, Lowered, lower};
use alula_program::{Constant, Device, KernelEntry, Program};
use alula_runtime::Session;
use alula_tensor::{Tensor, Value};
use alula_wgpu::WgpuDevice;

#[allow(dead_code, reason = "the back end's own tests use more of it")]
#[path = "../../backends/cuda/tests/support/mod.rs"]
mod support;

/// Threads of a workgroup.
const LANES: u32 = 64;

/// The model, optimised, and a few of its test images.
fn example() -> (Graph, Tensor) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits");
    let options = alula_onnx::ImportOptions::default();
    let import = alula_onnx::import_file(&folder.join("digits.onnx"), &options);
    let mut graph = import.expect("the model imports").graph;
    alula_opt::optimize(&mut graph, &alula_opt::Options::default()).expect("rules apply");
    let pixels: Vec<f32> = (0..2 * 64).map(|k| (k * 37 % 17) as f32 / 16.0).collect();
    let images = Tensor::from_slice(&[2, 1, 8, 8], &pixels).expect("the count fits");
    (graph, images)
}

fn kernel(launch: &Launch, caps: &Caps) -> Kernel {
    let lay_out = |compute: &alula_kernel::Compute| {
        let params: Vec<ParamSpec> = (0..=compute.operands.len())
            .map(|k| ParamSpec::row_major(format!("p{k}")))
            .collect();
        build(&launch.name, compute, &params, Policy::Gpu { lanes: LANES })
    };
    let mut kernel = match &launch.work {
        KernelWork::Compute(compute) => lay_out(compute),
        KernelWork::Contract(contract) => lay_out(&contract.to_compute().expect("a plain form")),
        KernelWork::Kernel(kernel) => kernel.as_ref().clone(),
    };
    legalize(&mut kernel, caps).expect("the target's words are enough");
    kernel
}

fn program(
    target: &str,
    lowered: Lowered,
    kernels: Vec<KernelEntry>,
    features: Vec<String>,
    code: Vec<u8>,
) -> Arc<Program> {
    let (mut constants, mut data) = (Vec::new(), Vec::new());
    for (name, tensor) in lowered.constants {
        let storage = tensor.storage().expect("constants are numbers").clone();
        let bytes = storage.bytes().len() as u64;
        constants.push(Constant {
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
            bytes,
            name,
        });
        data.push(storage);
    }
    Arc::new(Program {
        target: target.to_owned(),
        precision: "highest".to_owned(),
        features,
        plans: lowered.plans,
        kernels,
        code,
        constants,
        data,
    })
}

/// Runs the program and compares with the reference evaluator.
fn check(program: Arc<Program>, device: &dyn Device) {
    let (graph, images) = example();
    let wanted = alula_ops::evaluate(&graph, vec![images.clone().into()]).expect("evaluates");
    let session = Session::new(program, device, Default::default()).expect("the program loads");
    let got = session
        .run(&[("image", Value::Tensor(images))])
        .expect("the program runs");
    let (got, wanted) = (got[0].1.as_tensor(), wanted[0].as_tensor());
    let (got, wanted) = (
        got.expect("a tensor").to_f64s(),
        wanted.expect("a tensor").to_f64s(),
    );
    assert_eq!(got.len(), wanted.len());
    for (a, b) in got.iter().zip(&wanted) {
        assert!((a - b).abs() <= 1e-5, "{got:?} against {wanted:?}");
    }
}

#[test]
fn example_model_runs_on_wgpu() {
    let device = match WgpuDevice::open(None) {
        Ok(device) => device,
        Err(error) => {
            alula_testkit::skip("example_model_runs_on_wgpu", &error.to_string());
            return;
        }
    };
    let caps = Caps {
        op: alula_wgpu::is_native,
        cast: alula_wgpu::is_native_cast,
        storage: alula_wgpu::is_stored,
    };
    let lowered = lower(example().0, Strategy::Auto).expect("the graph lowers");
    let emitted = lowered
        .launches
        .iter()
        .map(|launch| alula_wgpu::emit_kernel(&kernel(launch, &caps)).expect("WGSL is printed"));
    let code = alula_wgpu::link(emitted.collect::<Vec<_>>());
    let program = program("wgpu", lowered, code.kernels, code.features, code.code);
    check(program, &device);
}

#[test]
fn example_model_runs_as_ptx() {
    let driver = Arc::new(support::InterpreterDriver::default());
    let device = CudaDevice::with_driver(driver);
    let caps = Caps {
        op: alula_cuda::is_native,
        cast: alula_cuda::is_native_cast,
        storage: alula_cuda::is_stored,
    };
    let lowered = lower(example().0, Strategy::Auto).expect("the graph lowers");
    let emitted = lowered
        .launches
        .iter()
        .map(|launch| alula_cuda::emit_kernel(&kernel(launch, &caps)).expect("PTX is printed"));
    let code = alula_cuda::link(emitted.collect::<Vec<_>>());
    let program = program("cuda", lowered, code.kernels, code.features, code.code);
    check(program, &device);
}
