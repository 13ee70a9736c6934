//! Every operator's examples and every scalar operator on every back end, kernel by kernel, against
//! their references; and through the vendor's assembler, where there is one.

use alula_kernel::Kernel;
use alula_lower::build::Policy;
use alula_tensor::{DType, ScalarOp, Storage};
use alula_testkit::tolerance::Class;
use alula_tests::backends::{Backend, Devices, NoRun, assemble, find_ptxas};
use alula_tests::kernels::{
    Case, LANES, Memory, check_arguments, negation, operator_cases, scalar_cases,
};

/// Kernels laid out as the back end's compiler does it.
fn policy(backend: Backend) -> Policy {
    match backend {
        Backend::Interpreter => Policy::Naive,
        Backend::Cpu => Policy::Cpu { lanes: 4 },
        Backend::Wgpu | Backend::Cuda => Policy::Gpu { lanes: LANES },
    }
}

/// What is native to a back end.
fn scalars(backend: Backend) -> Vec<Case> {
    let caps = backend.caps().expect("a back end has words of its own");
    let class = |op: ScalarOp| match (backend, op) {
        // Drivers fuse, and flush subnormals, as they like.
        (Backend::Wgpu, ScalarOp::Select) => Class::Exact,
        (Backend::Wgpu, _) => Class::Function,
        // Arithmetic names its rounding, and functions are expanded.
        _ => Class::Exact,
    };
    scalar_cases(caps.op, caps.cast, class)
}

/// Runs all cases, at least `least` of them; adapters may refuse 64-bit floats and nothing else.
fn check(test: &str, backend: Backend, cases: &[Case], least: usize) {
    let devices = Devices::open();
    let (mut ran, mut wrong) = (0, Vec::new());
    for (index, case) in cases.iter().enumerate() {
        let module = match devices.load(backend, &case.kernel, Vec::new()) {
            Ok(module) => module,
            Err(NoRun::Absent(why)) => return alula_testkit::skip(test, &why),
            Err(NoRun::Refused(why)) if backend == Backend::Wgpu && why.contains("f64") => continue,
            Err(NoRun::Refused(why) | NoRun::Failed(why)) => {
                wrong.push(format!("{}: {why}", case.name));
                continue;
            }
        };
        ran += 1;
        let memory = [Memory::Arena, Memory::Host][index % 2];
        match case.run(module.as_ref(), memory) {
            Ok(results) => wrong.extend(case.mismatch(&results)),
            Err(error) => wrong.push(format!("{}: {error}", case.name)),
        }
    }
    eprintln!(
        "{test}: {ran} of {} ran, {} wrong",
        cases.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran >= least, "only {ran} kernels ran");
}

fn check_operators(test: &str, backend: Backend) {
    check(test, backend, &operator_cases(policy(backend)), 200);
}

#[test]
fn operator_examples_agree_on_the_processor() {
    check_operators("operator_examples_agree_on_the_processor", Backend::Cpu);
}

#[test]
fn operator_examples_agree_on_an_adapter() {
    check_operators("operator_examples_agree_on_an_adapter", Backend::Wgpu);
}

#[test]
fn operator_examples_agree_as_ptx() {
    check_operators("operator_examples_agree_as_ptx", Backend::Cuda);
}

#[test]
fn scalar_operators_agree_with_their_table_on_an_adapter() {
    let test = "scalar_operators_agree_with_their_table_on_an_adapter";
    check(test, Backend::Wgpu, &scalars(Backend::Wgpu), 300);
}

#[test]
fn scalar_operators_agree_with_their_table_as_ptx() {
    let test = "scalar_operators_agree_with_their_table_as_ptx";
    check(test, Backend::Cuda, &scalars(Backend::Cuda), 300);
}

#[test]
fn launches_are_checked_before_they_run() {
    let floats: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let devices = Devices::open();
    for backend in [Backend::Cpu, Backend::Wgpu, Backend::Cuda] {
        let constants = vec![Storage::copy_from(&floats)];
        match devices.load(backend, &negation().kernel, constants) {
            Ok(module) => check_arguments(module.as_ref()),
            Err(NoRun::Absent(why)) => {
                alula_testkit::skip("launches_are_checked_before_they_run", &why);
            }
            Err(error) => panic!("{backend:?}: {error:?}"),
        }
    }
}

#[test]
fn every_kernel_assembles_for_three_generations() {
    let Some(ptxas) = find_ptxas() else {
        let reason = "no ptxas: neither $PTXAS, nor on the path, nor in the cache";
        return alula_testkit::skip("every_kernel_assembles_for_three_generations", reason);
    };
    let mut cases = operator_cases(policy(Backend::Cuda));
    cases.extend(scalars(Backend::Cuda));
    let emit = |kernel: &Kernel| {
        let kernel = Backend::Cuda.legal(kernel).expect("PTX has the words");
        alula_cuda::emit_kernel(&kernel).expect("PTX is printed")
    };
    let code = alula_cuda::link(cases.iter().map(|case| emit(&case.kernel)));
    let text = String::from_utf8(code.code).expect("code is text");
    for target in ["sm_75", "sm_80", "sm_90"] {
        assemble(&ptxas, target, &text).unwrap_or_else(|words| panic!("{target}: {words}"));
    }
}

#[test]
fn every_dtype_is_among_the_scalar_cases() {
    for backend in [Backend::Wgpu, Backend::Cuda] {
        let cases = scalars(backend);
        let caps = backend.caps().expect("a back end has words of its own");
        for dtype in DType::ALL
            .into_iter()
            .filter(|&dtype| (caps.storage)(dtype))
        {
            let has = |case: &Case| case.operands.iter().any(|operand| operand.dtype() == dtype);
            assert!(cases.iter().any(has), "{dtype} on {}", backend.name());
        }
    }
}
