//! Static and symbolic plans without control flow.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use alula_program::{Place, SlotId, Step, SymbolOrigin};
use alula_runtime::{RunError, RunOptions, Session, SessionError, SessionOptions, TensorRef};
use alula_tensor::{DType, Dim, Tensor};

use crate::device::Fake;
use crate::plans::{floats, launch, negated_sum, plan, program, session, slot, symbol, ty};

#[test]
fn runs_under_several_bindings() {
    let session = session(negated_sum());
    for n in [3_usize, 1, 0, 100, 3] {
        let x: Vec<f32> = (0..n).map(|k| k as f32).collect();
        let sum: Vec<f32> = x.iter().map(|x| x + 1.0).collect();
        let negated: Vec<f32> = sum.iter().map(|x| -x).collect();
        let outputs = session.run(&[("x", floats(&x))]).expect("run");
        let wanted = [
            ("out".to_owned(), floats(&negated)),
            ("sum".to_owned(), floats(&sum)),
        ];
        assert_eq!(outputs, wanted, "N = {n}");
    }
}

#[test]
fn memory_is_kept_between_runs() {
    let device = Fake::default();
    let program = Arc::new(negated_sum());
    let session = Session::new(program, &device, SessionOptions::default()).expect("session");
    let x = [1.0_f32, 2.0];
    let feed = TensorRef {
        dtype: DType::F32,
        shape: &[2],
        bytes: bytemuck::cast_slice(&x),
    };
    let (mut out, mut sum) = ([0; 8], [0; 8]);
    for _ in 0..3 {
        session
            .run_into(&[feed], &mut [&mut out, &mut sum])
            .expect("run");
    }
    assert_eq!(bytemuck::cast::<[u8; 8], [f32; 2]>(out), [-2.0, -3.0]);
    // An empty arena of the new state, then one that is long enough.
    assert_eq!(device.counts.arenas.load(Ordering::Relaxed), 2);
    assert_eq!(device.counts.launches.load(Ordering::Relaxed), 6);
    let error = session.run_into(&[feed], &mut [&mut out, &mut [0; 4]]);
    assert!(matches!(
        error,
        Err(RunError::OutputLength {
            needed: 8,
            given: 4,
            ..
        })
    ));
}

#[test]
fn runs_side_by_side_do_not_disturb_one_another() {
    let session = session(negated_sum());
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let session = &session;
            scope.spawn(move || {
                for n in 1..50_usize {
                    let x = vec![f32::from(thread); n];
                    let outputs = session.run(&[("x", floats(&x))]).expect("run");
                    assert_eq!(outputs[0].1, floats(&vec![-f32::from(thread) - 1.0; n]));
                }
            });
        }
    });
}

#[test]
fn inputs_are_checked_by_name_and_type() {
    let session = session(negated_sum());
    let message = |inputs: &[(&str, alula_tensor::Value)]| {
        session.run(inputs).expect_err("refused").to_string()
    };
    assert_eq!(
        message(&[("q", floats(&[1.0]))]),
        "there is no input \"q\": the model's inputs are x"
    );
    assert_eq!(message(&[]), "input \"x\" (f32[N]) is missing");
    let matrix = Tensor::zeros(DType::F32, &[1, 1]).expect("tensor");
    assert_eq!(
        message(&[("x", matrix.into())]),
        "input \"x\" is declared f32[N], given f32[1, 1]: the ranks differ"
    );
    let ints = Tensor::from_i64s(&[1]);
    assert_eq!(
        message(&[("x", ints.into())]),
        "input \"x\" is declared f32[N], given i64[1]: the dtypes differ"
    );
}

#[test]
fn inputs_that_disagree_are_named() {
    let n = Dim::named("N");
    let twice = n.clone() * Dim::new(2);
    let slots = vec![
        slot(ty(DType::F32, &[n]), Place::Input(0)),
        slot(ty(DType::F32, &[twice]), Place::Input(1)),
    ];
    let origin = SymbolOrigin::Input { input: 0, axis: 0 };
    let plan = plan(
        vec![symbol("N", origin)],
        slots,
        vec![],
        &[("a", 0), ("b", 1)],
    );
    let session = session(program(vec![plan], &[]));
    let (x, y) = (floats(&[1.0; 2]), floats(&[2.0; 4]));
    let outputs = session
        .run(&[("y", y.clone()), ("x", x.clone())])
        .expect("run");
    assert_eq!(outputs[1].1, y, "an input may be an output");
    let error = session
        .run(&[("x", x.clone()), ("y", x)])
        .expect_err("refused");
    let text = error.to_string();
    assert!(
        text.contains("axis 0 is 2, but other inputs make 2*N 4"),
        "{text}"
    );
}

#[test]
fn aliases_share_bytes_under_another_shape() {
    let slots = vec![
        slot(ty(DType::F32, &[Dim::new(4)]), Place::Input(0)),
        slot(
            ty(DType::F32, &[Dim::new(2), Dim::new(2)]),
            Place::Alias(SlotId(0)),
        ),
        slot(ty(DType::F32, &[Dim::new(4)]), crate::plans::arena(0, 1)),
        slot(
            ty(DType::F32, &[Dim::new(1), Dim::new(4)]),
            Place::Alias(SlotId(2)),
        ),
    ];
    let plan = plan(
        vec![],
        slots,
        vec![launch(1, &[1, 2])],
        &[("a", 1), ("b", 3)],
    );
    let session = session(program(vec![plan], &[]));
    let outputs = session
        .run(&[("x", floats(&[1.0, 2.0, 3.0, 4.0]))])
        .expect("run");
    let shapes: Vec<&[usize]> = outputs
        .iter()
        .map(|(_, value)| value.as_tensor().expect("tensor").shape())
        .collect();
    assert_eq!(shapes, [&[2, 2], &[1, 4]]);
}

#[test]
fn dims_become_tensors() {
    let n = Dim::named("N");
    let slots = vec![
        slot(ty(DType::F32, std::slice::from_ref(&n)), Place::Input(0)),
        slot(ty(DType::I64, &[Dim::new(2)]), crate::plans::arena(0, 1)),
    ];
    let step = Step::Dims {
        values: vec![n.clone(), n * Dim::new(3)],
        result: SlotId(1),
    };
    let origin = SymbolOrigin::Input { input: 0, axis: 0 };
    let plan = plan(vec![symbol("N", origin)], slots, vec![step], &[("dims", 1)]);
    let session = session(program(vec![plan], &[]));
    for n in [5, 0] {
        let outputs = session.run(&[("x", floats(&vec![0.0; n]))]).expect("run");
        let wanted = Tensor::from_i64s(&[n as i64, 3 * n as i64]);
        assert_eq!(outputs[0].1, wanted.into());
    }
}

#[test]
fn profiles_name_kernels_and_nodes() {
    let session = session(negated_sum());
    let options = RunOptions {
        profile: true,
        ..RunOptions::default()
    };
    let inputs = [("x", floats(&[1.0; 8]))];
    let profile = session.run_with(&inputs, &options).expect("run").profile;
    let profile = profile.expect("asked for");
    assert_eq!(profile.steps.len(), 2);
    assert_eq!(profile.steps[1].bytes, 64);
    assert!(profile.table(10).contains("neg"));
    let trace = profile.chrome_trace();
    assert!(trace.contains("\"name\":\"add\"") && trace.contains("\"nodes\":\"node_0\""));
}

#[test]
fn damaged_programs_are_refused() {
    let refuse = |change: &dyn Fn(&mut alula_program::Program)| {
        let mut program = negated_sum();
        change(&mut program);
        let session = Session::new(
            Arc::new(program),
            &Fake::default(),
            SessionOptions::default(),
        );
        match session.expect_err("refused") {
            SessionError::Damaged(text) => text,
            error => panic!("another error: {error}"),
        }
    };
    assert!(refuse(&|p| p.plans[0].steps[0] = launch(9, &[0])).contains("no kernel 9"));
    assert!(refuse(&|p| p.plans[0].steps[0] = launch(1, &[0, 77])).contains("no slot 77"));
    assert!(refuse(&|p| p.plans[0].steps[0] = launch(1, &[0])).contains("other parameters"));
    assert!(refuse(&|p| p.constants[0].bytes = 3).contains("another length"));
    let place = Place::Alias(SlotId(2));
    assert!(refuse(&|p| p.plans[0].slots[2].place = place.clone()).contains("one another"));
}
