//! The example model on every target: it gives the reference's answer in the kernel interpreter, as
//! machine code, on wgpu (a software Vulkan driver) and as PTX (in its interpreter).

use std::path::Path;

use alula_lower::build::Policy;
use alula_lower::cluster::Strategy;
use alula_lower::plan::lower;
use alula_tensor::Tensor;
use alula_tests::backends::Devices;
use alula_tests::definitions::round_trip;
use alula_tests::differential::{Checked, Source, Stage, Target, check, references};
use alula_tests::random::Case;

/// The model and a few images.
fn example() -> Case {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits");
    let options = alula_onnx::ImportOptions::default();
    let import = alula_onnx::import_file(&folder.join("digits.onnx"), &options);
    let graph = import.expect("the model imports").graph;
    let images = |count: usize| {
        let pixels: Vec<f32> = (0..count * 64)
            .map(|k| (k * 37 % 17) as f32 / 16.0)
            .collect();
        let images = Tensor::from_slice(&[count, 1, 8, 8], &pixels).expect("the count fits");
        vec![images.into()]
    };
    Case {
        graph,
        feeds: vec![images(2), images(5)],
    }
}

fn check_target(test: &str, target: Target) {
    let case = example();
    let expected = references(&case);
    assert!(
        expected.iter().all(Option::is_some),
        "the reference runs it"
    );
    let stage = Stage {
        source: Source::Optimized,
        strategy: Strategy::Auto,
        target,
    };
    let devices = Devices::open();
    match check(&case, &expected, stage, &devices) {
        Ok(Checked::Right(compared)) => assert_eq!(compared, 2, "each feed has one output"),
        Ok(Checked::Absent) => {
            alula_testkit::skip(test, devices.lacks_wgpu().unwrap_or_default());
        }
        Ok(Checked::Refused(why)) => panic!("{target:?} refuses the example: {why}"),
        Err(failure) => panic!("{target:?}: {}: {}", failure.kind, failure.message),
    }
}

#[test]
fn example_model_runs_in_the_kernel_interpreter() {
    let test = "example_model_runs_in_the_kernel_interpreter";
    check_target(test, Target::Built(Policy::Gpu { lanes: 64 }));
}

#[test]
fn example_model_runs_as_machine_code() {
    check_target("example_model_runs_as_machine_code", Target::Cpu(2));
}

#[test]
fn definitions_of_the_example_model_parse_back() {
    let mut graph = example().graph;
    alula_opt::optimize(&mut graph, &alula_opt::Options::default()).expect("the rules hold");
    for strategy in Strategy::ALL {
        let lowered = lower(graph.clone(), strategy).expect("every node has a kernel");
        assert!(!lowered.launches.is_empty());
        for launch in &lowered.launches {
            round_trip(launch).unwrap_or_else(|reason| panic!("{strategy}: {reason}"));
        }
    }
}

#[test]
fn example_model_runs_on_wgpu() {
    check_target("example_model_runs_on_wgpu", Target::Wgpu);
}

#[test]
fn example_model_runs_as_ptx() {
    check_target("example_model_runs_as_ptx", Target::Ptx);
}
