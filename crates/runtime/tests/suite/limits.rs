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
