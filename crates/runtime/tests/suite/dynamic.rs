//! Shapes that data decide.

use alula_program::{Check, HostFn, Place, SlotId, Step, SymbolOrigin};
use alula_tensor::{DType, Dim, Tensor};

use crate::plans::{arena, floats, launch, plan, program, session, slot, symbol, ty};

/// `kept = compress(x, mask)`, `out = -(kept + kept)`: its extent is known after the first step.
#[test]
fn extents_bind_as_steps_finish() {
    let (n, k) = (Dim::named("N"), Dim::named("$0"));
    let kept = || ty(DType::F32, std::slice::from_ref(&k));
    let slots = vec![
        slot(ty(DType::F32, std::slice::from_ref(&n)), Place::Input(0)),
        slot(ty(DType::Bool, std::slice::from_ref(&n)), Place::Input(1)),
        slot(kept(), Place::Dynamic),
        slot(kept(), Place::Dynamic),
        // Planned by a compiler that did not know better: still right.
        slot(kept(), arena(2, 3)),
        slot(ty(DType::I64, &[Dim::new(1)]), arena(3, 4)),
    ];
    let host = Step::Host {
        function: HostFn::Compress { axis: Some(0) },
        operands: vec![Some(SlotId(0)), Some(SlotId(1))],
        results: vec![SlotId(2)],
        name: "compress".to_owned(),
    };
    let dims = Step::Dims {
        values: vec![k.clone()],
        result: SlotId(5),
    };
    let symbols = vec![
        symbol("N", SymbolOrigin::Input { input: 0, axis: 0 }),
        symbol(
            "$0",
            SymbolOrigin::Extent {
                slot: SlotId(2),
                axis: 0,
            },
        ),
    ];
    let steps = vec![host, launch(0, &[2, 2, 3]), launch(1, &[3, 4]), dims];
    let mut plan = plan(symbols, slots, steps, &[("out", 4), ("count", 5)]);
    let session = session_of(plan.clone());
    let x = floats(&[1.0, 2.0, 3.0]);
    for marks in [[true, false, true], [false; 3], [true; 3]] {
        let mask = Tensor::from_bools(&[3], &marks).expect("tensor");
        let outputs = session
            .run(&[("x", x.clone()), ("y", mask.into())])
            .expect("run");
        let wanted: Vec<f32> = (0..3)
            .filter(|&k| marks[k])
            .map(|k| -2.0 * (k as f32 + 1.0))
            .collect();
        assert_eq!(outputs[0].1, floats(&wanted));
        let count = Tensor::from_i64s(&[wanted.len() as i64]);
        assert_eq!(outputs[1].1, count.into());
    }
    // A plan may rely on dims being equal: that is checked as soon as both are known.
    plan.checks = vec![Check {
        left: k,
        right: n,
        nodes: "add".to_owned(),
        reason: None,
    }];
    let mask = |marks: &[bool]| Tensor::from_bools(&[3], marks).expect("tensor");
    let session = session_of(plan);
    let run = |marks| session.run(&[("x", x.clone()), ("y", mask(marks).into())]);
    run(&[true; 3]).expect("all are kept");
    let error = run(&[true, false, true])
        .expect_err("one is dropped")
        .to_string();
    assert!(error.contains("step 0 (compress)"), "{error}");
    assert!(
        error.contains("add takes $0 and N to be equal, but they are 2 and 3"),
        "{error}"
    );
}

fn session_of(plan: alula_program::Plan) -> alula_runtime::Session {
    session(program(vec![plan], &[]))
}

/// The element of an input decides an extent before the first step.
#[test]
fn contents_of_inputs_bind_at_once() {
    let k = Dim::named("$0");
    let slots = vec![
        slot(ty(DType::I64, &[Dim::new(1)]), Place::Input(0)),
        slot(ty(DType::I64, &[Dim::new(1)]), arena(0, 1)),
        slot(ty(DType::F32, std::slice::from_ref(&k)), arena(1, 2)),
    ];
    let origin = SymbolOrigin::Content {
        slot: SlotId(0),
        index: 0,
    };
    let dims = Step::Dims {
        values: vec![k * Dim::new(2)],
        result: SlotId(1),
    };
    let plan = plan(
        vec![symbol("$0", origin)],
        slots,
        vec![dims],
        &[("twice", 1)],
    );
    let session = session(program(vec![plan], &[]));
    for value in [4_i64, 7] {
        let outputs = session
            .run(&[("x", Tensor::from_i64s(&[value]).into())])
            .expect("run");
        assert_eq!(outputs[0].1, Tensor::from_i64s(&[2 * value]).into());
    }
    let error = session
        .run(&[("x", Tensor::from_i64s(&[-1]).into())])
        .expect_err("a negative extent");
    assert!(error.to_string().contains("which is no size"), "{error}");
}
