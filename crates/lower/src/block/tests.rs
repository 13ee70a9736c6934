use alula_kernel::interpret::evaluate;
use alula_kernel::text::{Definition, parse_definitions};
use alula_kernel::{Compute, verify_compute};
use alula_tensor::{Dim, Symbol, Tensor};

use super::block_of_rows;

/// A masked softmax over rows of five in two heads of three rows.
const SOFTMAX: &str = "\
compute (x0: f32[1, 2, 3, 5], x1: f32[3, 5]) -> f32[1, 2, 3, 5] over \
(i0 < 1, i1 < 2, i2 < 3, i3 < 5) {
  e0: f32 = load x0[i0, i1, i2, i3]
  e1: f32 = load x1[i2, i3]
  e2: f32 = add e0, e1
  e3: f32 = load x0[i0, i1, i2, i4]
  e4: f32 = load x1[i2, i4]
  e5: f32 = add e3, e4
  e6: f32 = fold max over (i4 < 5) of e5
  e7: f32 = sub e2, e6
  e8: f32 = exp e7
  result e8
}
";

fn compute(text: &str) -> Compute {
    let parsed = parse_definitions(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let [Definition::Compute(compute)] = parsed.as_slice() else {
        panic!("one definition");
    };
    compute.as_ref().clone()
}

fn block(text: &str, rows: i64, elements: i64) -> Option<Compute> {
    let size = [&Dim::new(rows), &Dim::new(elements)];
    block_of_rows(&compute(text), 0, size, ["first", "rows"])
}

fn values(shape: &[usize], seed: usize) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|k| ((k * 37 + seed * 11) % 17) as f32 / 4.0)
        .collect();
    Tensor::from_slice(shape, &values).unwrap()
}

#[test]
fn a_block_gives_the_rows_of_the_whole() {
    let (x, mask) = (values(&[1, 2, 3, 5], 1), values(&[3, 5], 2));
    let whole = evaluate(&compute(SOFTMAX), &[&x, &mask], &|_| None).unwrap();
    let block = block(SOFTMAX, 6, 5).expect("rows are leading axes");
    verify_compute("block", &block).unwrap();
    let of = |tensor: &Tensor, rows: std::ops::Range<usize>| {
        tensor.as_slice::<f32>().unwrap()[rows.start * 5..rows.end * 5].to_vec()
    };
    for (first, rows) in [(0, 6), (1, 4), (2, 1), (5, 1), (3, 3)] {
        let range = first..first + rows;
        let own = Tensor::from_slice(&[rows, 5], &of(&x, range.clone())).unwrap();
        let bind = |symbol: &Symbol| match symbol.name() {
            "first" => Some(first as i64),
            _ => Some(rows as i64),
        };
        let part = evaluate(&block, &[&own, &mask], &bind).unwrap();
        assert_eq!(
            of(&part, 0..rows),
            of(&whole, range),
            "{rows} rows from {first}"
        );
    }
}

#[test]
fn rows_that_need_one_another_are_no_block() {
    assert!(block(SOFTMAX, 6, 5).is_some());
    // Another row of the same operand.
    let other = SOFTMAX.replace("x0[i0, i1, i2, i4]", "x0[i0, i1, 0, i4]");
    assert!(block(&other, 6, 5).is_none());
    // Rows along the axis in which the fold runs.
    assert!(block(SOFTMAX, 30, 1).is_none());
    // No leading axes come to four rows, and none have seven elements each.
    assert!(block(SOFTMAX, 4, 5).is_none());
    assert!(block(SOFTMAX, 6, 7).is_none());
}
