use alula_kernel::interpret::evaluate;
use alula_kernel::text::{Definition, parse_definitions};
use alula_kernel::verify_compute;
use alula_program::{Place, SlotId};
use alula_tensor::{DType, Dim, Scalar, Tensor};

use super::{is_move, loads_neighbours, store_as, stored, work_stored_as};
use crate::layout::Layouts;
use crate::plan::{KernelWork, Lowered, lower_with};

fn work(text: &str) -> KernelWork {
    let parsed = parse_definitions(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    match parsed.into_iter().next().expect("one definition") {
        Definition::Compute(compute) => KernelWork::Compute(compute),
        Definition::Contract(contract) => KernelWork::Contract(contract),
        Definition::Kernel(kernel) => KernelWork::Kernel(kernel),
    }
}

/// A definition of one operand over `[2, 3]`.
fn of(body: &str) -> KernelWork {
    work(&format!(
        "compute (x0: f32[2, 3]) -> f32[2, 3] over (i0 < 2, i1 < 3) {{\n{body}\n}}\n"
    ))
}

#[test]
fn a_definition_rounds_what_it_stores_and_widens_what_it_loads() {
    let work = of("e0: f32 = load x0[i0, i1]\ne1: f32 = add e0, e0\nresult e1");
    let narrow = work_stored_as(&work, &[0, 1], DType::BF16).expect("a definition");
    let KernelWork::Compute(narrow) = &narrow else {
        panic!("still a definition");
    };
    verify_compute("narrow", narrow).expect("well formed");
    let values = [1.25, 1.0 + 1.0 / 128.0, -3.0, 0.0, 1e38, f64::INFINITY];
    let bf16 = |values: [f64; 6]| {
        let scalars = values.map(Scalar::Float);
        Tensor::from_scalars(DType::BF16, &[2, 3], &scalars).unwrap()
    };
    let found = evaluate(narrow, &[&bf16(values)], &|_| None).unwrap();
    assert_eq!(found.dtype(), DType::BF16);
    assert_eq!(found.to_f64s(), bf16(values.map(|x| 2.0 * x)).to_f64s());
}

#[test]
fn one_operand_changes_and_the_others_stay() {
    let work = work(
        "compute (x0: f32[3], x1: f32[3]) -> f32[3] over (i0 < 3) {
          e0: f32 = load x0[i0]
          e1: f32 = load x1[i0]
          e2: f32 = mul e0, e1
          result e2
        }",
    );
    let Some(KernelWork::Compute(narrow)) = work_stored_as(&work, &[1], DType::BF16) else {
        panic!("a definition");
    };
    let dtypes: Vec<DType> = narrow
        .operands
        .iter()
        .map(|operand| operand.dtype)
        .collect();
    assert_eq!(dtypes, [DType::F32, DType::BF16]);
    assert_eq!(narrow.dtype, DType::F32);
    verify_compute("narrow", &narrow).expect("well formed");
}

#[test]
fn moves_and_the_greatest_compute_nothing_and_sums_do() {
    let moved = "e0: f32 = load x0[i0, i1]\nresult e0";
    let greatest = "e0: f32 = load x0[i0, i2]\ne1: f32 = fold max over (i2 < 3) of e0\nresult e1";
    let summed = "e0: f32 = load x0[i0, i2]\ne1: f32 = fold add over (i2 < 3) of e0\nresult e1";
    let scaled = "e0: f32 = load x0[i0, i1]\ne1: f32 = mul e0, e0\nresult e1";
    assert!(is_move(&of(moved)));
    assert!(is_move(&of(greatest)));
    assert!(!is_move(&of(summed)));
    assert!(!is_move(&of(scaled)));
}

#[test]
fn neighbours_are_told_from_columns() {
    let rows = of("e0: f32 = load x0[i0, i1]\nresult e0");
    let columns = work(
        "compute (x0: f32[3, 2]) -> f32[2, 3] over (i0 < 2, i1 < 3) {
          e0: f32 = load x0[i1, i0]
          result e0
        }",
    );
    assert!(loads_neighbours(&rows, &[0]));
    assert!(!loads_neighbours(&columns, &[0]));
    assert!(loads_neighbours(&columns, &[1]), "another operand");
}

fn lowered(text: &str) -> Lowered {
    let graph = alula_ir::parse(text, alula_ops::registry(), &|_| None).expect("a graph");
    lower_with(graph, crate::cluster::Strategy::Auto, Layouts::RowMajor).expect("lowered")
}

#[test]
fn only_what_launches_alone_touch_may_change() {
    let lowered = lowered(
        "graph @g(%x: f32[4, 8], %w: f32[8, 8]) {
            %a = matmul %x, %w
            %b = matmul %a, %w
            %c = matmul %b, %w
            return y: %c, b: %b
        }",
    );
    let plan = &lowered.plans[0];
    let found = stored(plan, DType::F32);
    assert_eq!(found.len(), 1, "inputs and outputs stay: {plan:?}");
    assert_eq!(found[0].uses, [(0, 2), (1, 0)], "written, then read");
    assert_eq!(stored(plan, DType::BF16), []);
}

#[test]
fn parts_begin_at_the_same_elements() {
    let lowered = lowered(
        "graph @g(%x: f32[4, 8], %w: f32[8, 8]) {
            %a = matmul %x, %w
            %b = matmul %a, %w
            %c = concat %a, %b {axis = 0}
            %d = matmul %c, %w
            return y: %d
        }",
    );
    let mut plan = lowered.plans[0].clone();
    let found = stored(&plan, DType::F32);
    let [joined] = found.as_slice() else {
        panic!("both are parts of what they are joined to: {plan:?}");
    };
    assert!(store_as(&mut plan, joined.root, DType::BF16));
    let part = |plan: &alula_program::Plan| {
        let of = |place: &Place| match place {
            Place::Part { offset, .. } => Some(offset.clone()),
            _ => None,
        };
        let slots = plan.slots.iter().filter(|slot| of(&slot.place).is_some());
        let parts: Vec<(Option<Dim>, Dim)> = slots
            .map(|slot| (of(&slot.place), slot.bytes.clone()))
            .collect();
        parts
    };
    let halves = |parts: Vec<(Option<Dim>, Dim)>| -> Vec<(Option<Dim>, Dim)> {
        let half = |dim: &Dim| dim.exact_div(&Dim::new(2)).expect("even");
        let parts = parts.iter();
        parts
            .map(|(offset, bytes)| (offset.as_ref().map(half), half(bytes)))
            .collect()
    };
    assert_eq!(part(&plan), halves(part(&lowered.plans[0])));
    let bytes = |plan: &alula_program::Plan| plan.slots[joined.root].bytes.clone();
    assert_eq!(bytes(&plan), Dim::new(4 * 16 * 2));
    assert_eq!(plan.root(SlotId(joined.root as u32)), joined.root);
}
