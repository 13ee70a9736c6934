//! Outputs that kernels write themselves, where arenas are host memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use alula_program::{Place, Program, SlotId};
use alula_runtime::{RunError, Session, SessionOptions, TensorRef};
use alula_tensor::{DType, Dim, Value};

use crate::device::Fake;
use crate::plans::{arena, floats, launch, negated_sum, plan, program, slot, ty};

fn lending(program: Program) -> (Session, Fake) {
    let device = Fake {
        lends: true,
        ..Fake::default()
    };
    let session = Session::new(Arc::new(program), &device, SessionOptions::default());
    (session.expect("session"), device)
}

fn address(value: &Value) -> *const u8 {
    value.as_tensor().expect("a tensor").bytes().as_ptr()
}

#[test]
fn outputs_stay_when_the_session_runs_again() {
    let (session, _) = lending(negated_sum());
    let run = |x: &[f32]| session.run(&[("x", floats(x))]).expect("run");
    let first = run(&[1.0, 2.0]);
    let second = run(&[5.0, 6.0]);
    let third = run(&[7.0]);
    assert_eq!(first[0].1, floats(&[-2.0, -3.0]));
    assert_eq!(first[1].1, floats(&[2.0, 3.0]));
    assert_eq!(second[0].1, floats(&[-6.0, -7.0]));
    assert_eq!(third[1].1, floats(&[8.0]));
}

#[test]
fn memory_of_outputs_that_nobody_has_is_used_again() {
    let (session, _) = lending(negated_sum());
    let run = || session.run(&[("x", floats(&[1.0, 2.0]))]).expect("run");
    let first = address(&run()[0].1);
    let kept = run();
    assert_eq!(address(&kept[0].1), first);
    assert_ne!(address(&run()[0].1), first);
}

#[test]
fn the_callers_memory_is_written_without_an_arena() {
    let (session, device) = lending(negated_sum());
    let x = [1.0_f32, 2.0];
    let feed = TensorRef {
        dtype: DType::F32,
        shape: &[2],
        bytes: bytemuck::cast_slice(&x),
    };
    let (mut out, mut sum) = ([0; 8], [0; 8]);
    let run = session.run_into(&[feed], &mut [&mut out, &mut sum]);
    run.expect("run");
    assert_eq!(bytemuck::cast::<[u8; 8], [f32; 2]>(out), [-2.0, -3.0]);
    assert_eq!(bytemuck::cast::<[u8; 8], [f32; 2]>(sum), [2.0, 3.0]);
    assert_eq!(
        device.counts.arenas.load(Ordering::Relaxed),
        1,
        "the empty one"
    );
    let error = session.run_into(&[feed], &mut [&mut out, &mut [0; 4]]);
    let wanted = matches!(
        error,
        Err(RunError::OutputLength {
            needed: 8,
            given: 4,
            ..
        })
    );
    assert!(wanted, "{error:?}");
}

#[test]
fn memory_that_is_not_aligned_is_copied_to() {
    let (session, _) = lending(negated_sum());
    let x = [1.0_f32, 2.0];
    let feed = TensorRef {
        dtype: DType::F32,
        shape: &[2],
        bytes: bytemuck::cast_slice(&x),
    };
    let mut memory = [0_u64; 4];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut memory);
    let (out, sum) = bytes.split_at_mut(16);
    let run = session.run_into(&[feed], &mut [&mut out[1..9], &mut sum[..8]]);
    run.expect("run");
    assert_eq!(
        bytemuck::pod_read_unaligned::<[f32; 2]>(&out[1..9]),
        [-2.0, -3.0]
    );
    assert_eq!(
        bytemuck::pod_read_unaligned::<[f32; 2]>(&sum[..8]),
        [2.0, 3.0]
    );
}

/// `y = double(x)`, then `out = neg(y)` in the memory of `y`; `first` is the place of `y`.
fn in_place(outputs: &[(&str, u32)]) -> Program {
    let of = ty(DType::F32, &[Dim::new(2)]);
    let slots = vec![
        slot(of.clone(), Place::Input(0)),
        slot(of.clone(), arena(0, 1)),
        slot(of, Place::Alias(SlotId(1))),
    ];
    let steps = vec![launch(3, &[0, 1]), launch(1, &[1, 2])];
    program(vec![plan(Vec::new(), slots, steps, outputs)], &[])
}

#[test]
fn a_kernel_overwrites_an_output_in_place() {
    let (session, device) = lending(in_place(&[("out", 2)]));
    let out = session.run(&[("x", floats(&[1.0, 2.0]))]).expect("run");
    assert_eq!(out[0].1, floats(&[-2.0, -4.0]));
    assert_eq!(
        device.counts.arenas.load(Ordering::Relaxed),
        1,
        "the empty one"
    );
}

#[test]
fn memory_of_two_outputs_is_copied() {
    // Both are the same memory, which is planned as ever.
    let (session, device) = lending(in_place(&[("out", 2), ("again", 1)]));
    let out = session.run(&[("x", floats(&[1.0, 2.0]))]).expect("run");
    assert_eq!(out[0].1, floats(&[-2.0, -4.0]));
    assert_ne!(address(&out[0].1), address(&out[1].1));
    assert_eq!(device.counts.arenas.load(Ordering::Relaxed), 2);
}
