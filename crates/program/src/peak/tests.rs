use alula_tensor::{DType, TensorType};

use super::*;
use crate::{Port, Slot, SymbolDef};

fn ty(dims: &[Dim]) -> ValueType {
    TensorType::new(DType::F32, dims.to_vec()).into()
}

fn slot(dims: &[Dim], place: Place) -> Slot {
    let elements: Dim = dims.iter().cloned().product();
    Slot {
        ty: ty(dims),
        bytes: elements * Dim::new(4),
        place,
    }
}

fn port(slots: &[Slot], slot: u32) -> Port {
    Port {
        name: "x".to_owned(),
        ty: slots[slot as usize].ty.clone(),
        slot: SlotId(slot),
    }
}

fn plan(
    symbols: &[(&str, SymbolOrigin)],
    slots: Vec<Slot>,
    steps: Vec<Step>,
    outputs: &[u32],
) -> Plan {
    let symbol = |(name, origin): &(&str, SymbolOrigin)| SymbolDef {
        symbol: Symbol::new(name),
        origin: origin.clone(),
    };
    let is_input = |slot: &usize| matches!(slots[*slot].place, Place::Input(_));
    let inputs = (0..slots.len()).filter(is_input);
    Plan {
        name: "test".to_owned(),
        symbols: symbols.iter().map(symbol).collect(),
        checks: Vec::new(),
        inputs: inputs.map(|slot| port(&slots, slot as u32)).collect(),
        outputs: outputs.iter().map(|&slot| port(&slots, slot)).collect(),
        slots,
        steps,
    }
}

fn program(plans: Vec<Plan>) -> Program {
    Program {
        target: "cpu".to_owned(),
        precision: "highest".to_owned(),
        abi: String::new(),
        features: Vec::new(),
        tuned: None,
        plans,
        kernels: Vec::new(),
        code: Vec::new(),
        constants: Vec::new(),
        data: Vec::new(),
    }
}

fn launch(args: &[u32]) -> Step {
    Step::Launch {
        kernel: 0,
        args: args.iter().copied().map(SlotId).collect(),
        name: String::new(),
    }
}

fn arena(first: usize, last: usize) -> Place {
    Place::Arena { first, last }
}

/// A body that doubles `y: f32[M]` by way of another value of `k` times its size.
fn body(k: i64) -> Plan {
    let m = [Dim::named("M")];
    let wide = [Dim::named("M") * Dim::new(k)];
    let origin = SymbolOrigin::Input { input: 2, axis: 0 };
    let slots = vec![
        slot(&[], Place::Input(0)),
        slot(&[], Place::Input(1)),
        slot(&m, Place::Input(2)),
        slot(&wide, arena(0, 1)),
        slot(&m, arena(1, 2)),
    ];
    let steps = vec![launch(&[2, 3]), launch(&[3, 4])];
    plan(&[("M", origin)], slots, steps, &[1, 4])
}

fn n() -> (&'static str, SymbolOrigin) {
    ("N", SymbolOrigin::Input { input: 0, axis: 0 })
}

#[test]
fn no_step_is_left_out_that_may_be_the_fullest() {
    // With all symbols equal the second step holds most; with a small N and a great K the first.
    let dims = |text: &[(i64, &str)]| -> Vec<Dim> {
        let sum = text.iter().map(|(c, name)| Dim::new(*c) * Dim::named(name));
        vec![sum.sum()]
    };
    let slots = vec![
        slot(&[Dim::named("N"), Dim::named("K")], Place::Input(0)),
        slot(&dims(&[(1, "K")]), arena(0, 0)),
        slot(&dims(&[(3, "N")]), arena(1, 1)),
        slot(&dims(&[(2, "N")]), arena(2, 2)),
    ];
    let steps = vec![launch(&[0, 1]), launch(&[0, 2]), launch(&[0, 3])];
    let k = ("K", SymbolOrigin::Input { input: 0, axis: 1 });
    let peak = program(vec![plan(&[n(), k], slots, steps, &[])]).peak();
    assert_eq!(peak.to_string(), "max(4*K, 12*N)");
    let bind = |symbol: &Symbol| Some(if symbol.name() == "K" { 100 } else { 2 });
    assert_eq!(peak.eval(&bind), Some(400));
}

#[test]
fn a_loop_has_two_frames_and_its_result_besides() {
    let m = [Dim::named("N")];
    let slots = vec![slot(&m, Place::Input(0)), slot(&m, Place::Dynamic)];
    let repeat = Step::Loop {
        trips: None,
        cond: None,
        body: 1,
        carried: vec![SlotId(0)],
        captures: Vec::new(),
        results: vec![SlotId(1)],
        name: String::new(),
    };
    let outer = plan(&[n()], slots, vec![repeat], &[1]);
    let peak = program(vec![outer, body(3)]).peak();
    // A frame is 12 * N + 4 * N, the result 4 * N.
    assert_eq!(peak.to_string(), "36*N");
}

#[test]
fn of_two_branches_the_greater_counts() {
    let m = [Dim::named("N")];
    let slots = vec![
        slot(&m, Place::Input(0)),
        slot(&[], arena(0, 0)),
        slot(&m, Place::Dynamic),
    ];
    let branch = |k: i64| {
        let origin = SymbolOrigin::Input { input: 0, axis: 0 };
        let wide = [Dim::named("M") * Dim::new(k)];
        let m = [Dim::named("M")];
        let slots = vec![
            slot(&m, Place::Input(0)),
            slot(&wide, arena(0, 1)),
            slot(&m, arena(1, 2)),
        ];
        plan(
            &[("M", origin)],
            slots,
            vec![launch(&[0, 1]), launch(&[1, 2])],
            &[2],
        )
    };
    let choose = Step::If {
        cond: SlotId(1),
        then: (1, vec![SlotId(0)]),
        otherwise: (2, vec![SlotId(0)]),
        results: vec![SlotId(2)],
        name: String::new(),
    };
    let outer = plan(&[n()], slots, vec![launch(&[0, 1]), choose], &[2]);
    let peak = program(vec![outer, branch(2), branch(5)]).peak();
    // 64 for the frame of the condition, 24 * N for the greater branch, 4 * N for the result.
    assert_eq!(peak.to_string(), "28*N + 64");
}

#[test]
fn what_data_decide_is_said() {
    let e = [Dim::named("$e0")];
    let slots = vec![
        slot(&[Dim::new(4)], Place::Input(0)),
        slot(&e, Place::Dynamic),
        slot(&[Dim::new(16)], arena(0, 1)),
    ];
    let extent = SymbolOrigin::Extent {
        slot: SlotId(1),
        axis: 0,
    };
    let steps = vec![launch(&[0, 1, 2])];
    let peak = program(vec![plan(&[("$e0", extent)], slots, steps, &[1])]).peak();
    assert_eq!(peak.to_string(), "64 + data-dependent");
}
