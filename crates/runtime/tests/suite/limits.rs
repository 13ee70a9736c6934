//! Limits and deadlines.

use std::sync::Arc;
use std::time::Duration;

use alula_program::{Place, SlotId, Step};
use alula_runtime::{Limits, RunOptions, Session, SessionOptions};
use alula_tensor::{DType, Tensor};

use crate::device::Fake;
use crate::plans::{floats, negated_sum, plan, program, slot, ty};

fn session(program: alula_program::Program, limits: Limits) -> Session {
    let options = SessionOptions { limits };
    Session::new(Arc::new(program), &Fake::default(), options).expect("session")
}

#[test]
fn memory_is_limited_before_anything_runs() {
    let limits = Limits {
        bytes_max: 256,
        ..Limits::default()
    };
    let session = session(negated_sum(), limits);
    session.run(&[("x", floats(&[0.0; 16]))]).expect("fits");
    let error = session
        .run(&[("x", floats(&[0.0; 64]))])
        .expect_err("too large");
    assert!(error.is_limit(), "{error}");
    assert!(
        error.to_string().contains("would be 512, the limit is 256"),
        "{error}"
    );
}

#[test]
fn launches_are_limited_before_they_start() {
    let limits = Limits {
        work_max: 0,
        ..Limits::default()
    };
    let session = session(negated_sum(), limits);
    let inputs = [("x", floats(&[0.0; 4]))];
    let error = session.run(&inputs).expect_err("one evaluation");
    assert!(error.is_limit(), "{error}");
    let text = error.to_string();
    let evaluations = "a kernel's scalar evaluations would be 1, the limit is 0";
    assert!(text.contains(evaluations), "{text}");
    let options = RunOptions {
        work_max: Some(1),
        ..RunOptions::default()
    };
    let outcome = session.run_with(&inputs, &options);
    outcome.expect("this run may do more");
}

fn endless() -> alula_program::Program {
    let cond = || ty(DType::Bool, &[]);
    let outer = plan(
        vec![],
        vec![slot(ty(DType::F32, &[]), Place::Input(0))],
        vec![Step::Loop {
            trips: None,
            cond: None,
            body: 1,
            carried: vec![],
            captures: vec![],
            results: vec![],
            name: "for ever".to_owned(),
        }],
        &[],
    );
    let body = plan(
        vec![],
        vec![
            slot(ty(DType::I64, &[]), Place::Input(0)),
            slot(cond(), Place::Input(1)),
        ],
        vec![],
        &[("c", 1)],
    );
    assert_eq!(body.outputs[0].slot, SlotId(1));
    program(vec![outer, body], &[])
}

#[test]
fn loops_are_limited() {
    let limits = Limits {
        trips_max: 1000,
        ..Limits::default()
    };
    let session = session(endless(), limits);
    let error = session
        .run(&[("x", Tensor::scalar(0.0_f32).into())])
        .expect_err("endless");
    assert!(error.is_limit(), "{error}");
    assert!(error.to_string().contains("for ever"), "{error}");
}

#[test]
fn runs_end_at_their_deadline() {
    let session = session(endless(), Limits::default());
    let options = RunOptions {
        deadline: Some(Duration::from_millis(20)),
        ..RunOptions::default()
    };
    let error = session
        .run_with(&[("x", Tensor::scalar(0.0_f32).into())], &options)
        .expect_err("endless");
    assert!(
        error.to_string().contains("the deadline has passed"),
        "{error}"
    );
}

#[test]
fn slices_that_a_loop_stacks_are_counted() {
    let limits = Limits {
        bytes_max: 4000,
        ..Limits::default()
    };
    let session = session(crate::control::looping(false), limits);
    let run = |trips: i64| {
        let x = floats(&[0.0, 10.0]);
        session.run_with(
            &[("x", x), ("y", Tensor::scalar(trips).into())],
            &RunOptions::default(),
        )
    };
    let held = run(10).expect("fits").peak_bytes;
    assert!((10 * 8..4000).contains(&held), "{held}");
    // The stack alone would fit: 400 slices of 8 bytes.
    let error = run(400).expect_err("too many slices");
    assert!(error.is_limit(), "{error}");
}

#[test]
fn a_plan_tells_what_a_run_holds() {
    let program = negated_sum();
    let peak = program.peak();
    assert_eq!(peak.to_string(), "8*N");
    let session = session(program, Limits::default());
    let outcome = session.run_with(&[("x", floats(&[0.0; 64]))], &RunOptions::default());
    let outcome = outcome.expect("it runs");
    let planned = peak.eval(&|_| Some(64)).expect("N is all there is") as u64;
    // Copies of both outputs come on top.
    assert_eq!(
        (outcome.arena_bytes as u64, outcome.peak_bytes),
        (planned, 2 * planned)
    );
}
