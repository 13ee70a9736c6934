//! Branches and loops.

use alula_program::{Place, Plan, Program, SlotId, Step, SymbolOrigin};
use alula_tensor::{DType, Dim, Tensor, Value};

use crate::plans::{arena, floats, launch, plan, program, session, slot, symbol, ty};

fn scalar(value: bool) -> Value {
    Tensor::from_bools(&[], &[value]).expect("tensor").into()
}

fn vector(n: &Dim) -> alula_tensor::ValueType {
    ty(DType::F32, std::slice::from_ref(n))
}

fn extent(name: &str, input: usize) -> alula_program::SymbolDef {
    symbol(name, SymbolOrigin::Input { input, axis: 0 })
}

/// `if y then -x else 2x`.
#[test]
fn branches_take_one_plan() {
    let n = Dim::named("N");
    let outer = plan(
        vec![extent("N", 0)],
        vec![
            slot(vector(&n), Place::Input(0)),
            slot(ty(DType::Bool, &[]), Place::Input(1)),
            slot(vector(&n), arena(0, 1)),
            slot(vector(&n), Place::Dynamic),
        ],
        vec![
            launch(2, &[0, 2]),
            Step::If {
                cond: SlotId(1),
                then: (1, vec![SlotId(2)]),
                otherwise: (2, vec![SlotId(2)]),
                results: vec![SlotId(3)],
                name: "choice".to_owned(),
            },
        ],
        &[("out", 3)],
    );
    let branch = |kernel| {
        let m = Dim::named("M");
        plan(
            vec![extent("M", 0)],
            vec![
                slot(vector(&m), Place::Input(0)),
                slot(vector(&m), arena(0, 1)),
            ],
            vec![launch(kernel, &[0, 1])],
            &[("r", 1)],
        )
    };
    let session = session(program(vec![outer, branch(1), branch(3)], &[]));
    let x = floats(&[1.0, 2.0]);
    for (cond, wanted) in [(true, [-1.0, -2.0]), (false, [2.0, 4.0])] {
        let outputs = session.run(&[("x", x.clone()), ("y", scalar(cond))]);
        assert_eq!(outputs.expect("run")[0].1, floats(&wanted));
    }
}

/// A loop that carries `a` and `b`: `a' = a + c`, `b' = a` (left where the last iteration put it),
/// and collects `-a`.
pub(crate) fn looping(pass_through: bool) -> Program {
    let n = Dim::named("N");
    let outer = plan(
        vec![extent("N", 0)],
        vec![
            slot(vector(&n), Place::Input(0)),
            slot(ty(DType::I64, &[]), Place::Input(1)),
            slot(vector(&n), Place::Dynamic),
            slot(vector(&n), Place::Dynamic),
            slot(
                ty(DType::F32, &[Dim::named("$t"), n.clone()]),
                Place::Dynamic,
            ),
            slot(ty(DType::F32, &[Dim::new(1)]), Place::Constant(0)),
        ],
        vec![Step::Loop {
            trips: Some(SlotId(1)),
            cond: None,
            body: 1,
            carried: vec![SlotId(0), SlotId(0)],
            captures: vec![SlotId(5)],
            results: vec![SlotId(2), SlotId(3), SlotId(4)],
            name: "loop".to_owned(),
        }],
        &[("a", 2), ("b", 3), ("collected", 4)],
    );
    let body = plan(
        vec![symbol("N", SymbolOrigin::Outer)],
        vec![
            slot(ty(DType::I64, &[]), Place::Input(0)),
            slot(ty(DType::Bool, &[]), Place::Input(1)),
            slot(vector(&n), Place::Input(2)),
            slot(vector(&n), Place::Input(3)),
            slot(ty(DType::F32, &[Dim::new(1)]), Place::Input(4)),
            slot(vector(&n), arena(0, 2)),
            slot(vector(&n), arena(1, 2)),
        ],
        vec![launch(0, &[2, 4, 5]), launch(1, &[5, 6])],
        &[],
    );
    let port = |slot: u32| alula_program::Port {
        name: format!("o{slot}"),
        ty: body.slots[slot as usize].ty.clone(),
        slot: SlotId(slot),
    };
    let second = if pass_through { 3 } else { 2 };
    let body = Plan {
        inputs: (0..5).map(port).collect(),
        outputs: [1, 5, second, 6].map(port).to_vec(),
        ..body.clone()
    };
    let one = Tensor::from_slice(&[1], &[1.0_f32]).expect("tensor");
    program(vec![outer, body], &[one])
}

fn run_loop(program: Program, trips: i64) -> Vec<Value> {
    let session = session(program);
    let inputs = [
        ("x", floats(&[0.0, 10.0])),
        ("y", Tensor::scalar(trips).into()),
    ];
    let first = session.run(&inputs).expect("run");
    assert_eq!(
        first,
        session.run(&inputs).expect("run"),
        "a second run is the same"
    );
    first.into_iter().map(|(_, value)| value).collect()
}

#[test]
fn loops_carry_and_collect() {
    let values = run_loop(looping(false), 4);
    assert_eq!(values[0], floats(&[4.0, 14.0]));
    assert_eq!(
        values[1],
        floats(&[3.0, 13.0]),
        "the value of the iteration before"
    );
    let slices = [-1.0, -11.0, -2.0, -12.0, -3.0, -13.0, -4.0, -14.0_f32];
    let stacked = Tensor::from_slice(&[4, 2], &slices).expect("tensor");
    assert_eq!(values[2], stacked.into());
}

#[test]
fn values_that_pass_through_survive() {
    for trips in 1..6 {
        let values = run_loop(looping(true), trips);
        assert_eq!(values[1], floats(&[0.0, 10.0]), "{trips} trips");
    }
}

#[test]
fn loops_may_not_run_at_all() {
    let values = run_loop(looping(false), 0);
    assert_eq!(values[0], floats(&[0.0, 10.0]));
    let none = Tensor::zeros(DType::F32, &[0, 2]).expect("tensor");
    assert_eq!(values[2], none.into());
}
