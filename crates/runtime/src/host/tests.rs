//! Host steps on small tables.

use alula_program::{HostFn, PixelFormat};
use alula_tensor::{DType, Dim, Tensor, TensorType, Value, ValueType};

use super::{Room, Wanted, call};

fn floats(shape: &[usize], values: &[f32]) -> Value {
    Tensor::from_slice(shape, values).expect("tensor").into()
}

fn ints(shape: &[usize], values: &[i64]) -> Value {
    Tensor::from_slice(shape, values).expect("tensor").into()
}

/// Runs a function for as many results as `n`.
fn run(function: HostFn, operands: &[Value], n: usize) -> Vec<Value> {
    let ty = ValueType::from(TensorType::new(DType::F32, Vec::<Dim>::new()));
    let wanted: Vec<Wanted<'_>> = (0..n)
        .map(|_| Wanted {
            ty: &ty,
            shape: Some(vec![1000]),
        })
        .collect();
    let operands: Vec<Option<Value>> = operands.iter().cloned().map(Some).collect();
    call(&function, &operands, &wanted, &Room::new(0, 1 << 20))
        .expect("call")
        .into_vec()
}

#[test]
fn what_is_no_image_has_no_pixels() {
    let x = |bytes: &[u8]| Value::from(Tensor::from_slice(&[bytes.len()], bytes).expect("tensor"));
    let decode = |bytes: &[u8]| {
        let format = PixelFormat::Bgr;
        run(HostFn::DecodeImage { format }, &[x(bytes)], 1)
    };
    let empty = Value::from(Tensor::from_slice::<u8>(&[0, 0, 3], &[]).expect("tensor"));
    assert_eq!(decode(b"\xff\xd8\xff\xd9"), std::slice::from_ref(&empty));
    if cfg!(feature = "images") {
        assert_eq!(decode(b"no image"), [empty]);
        let one = Tensor::from_slice(&[1, 1, 3], &[3_u8, 2, 1]).expect("tensor");
        assert_eq!(decode(b"P6\n1 1\n255\n\x01\x02\x03"), [one.into()]);
    }
}

#[test]
fn nonzero_lists_indices_by_axis() {
    let x = floats(&[2, 3], &[0.0, 1.0, -0.0, f32::NAN, 0.0, 2.0]);
    let y = run(HostFn::NonZero, &[x], 1);
    assert_eq!(y, [ints(&[2, 3], &[0, 1, 1, 1, 0, 2])]);
    let scalar = run(HostFn::NonZero, &[floats(&[], &[3.0])], 1);
    assert_eq!(scalar, [ints(&[0, 1], &[])]);
}

#[test]
fn topk_breaks_ties_by_position() {
    let x = floats(&[2, 4], &[1.0, 3.0, 3.0, 2.0, -0.0, 0.0, f32::NAN, -1.0]);
    let top = |largest| HostFn::TopK {
        axis: 1,
        largest,
        sorted: true,
    };
    let y = run(top(true), &[x.clone(), ints(&[1], &[2])], 2);
    assert_eq!(y[1], ints(&[2, 2], &[1, 2, 2, 0]));
    let y = run(top(false), &[x, ints(&[1], &[3])], 2);
    assert_eq!(y[1], ints(&[2, 3], &[0, 3, 1, 3, 0, 1]));
}

#[test]
fn unique_counts_and_maps_back() {
    let x = floats(&[6], &[2.0, 1.0, 1.0, 3.0, 4.0, 3.0]);
    let unique = |sorted| HostFn::Unique { axis: None, sorted };
    let y = run(unique(false), std::slice::from_ref(&x), 4);
    assert_eq!(y[0], floats(&[4], &[2.0, 1.0, 3.0, 4.0]));
    assert_eq!(y[1], ints(&[4], &[0, 1, 3, 4]));
    assert_eq!(y[2], ints(&[6], &[0, 1, 1, 2, 3, 2]));
    assert_eq!(y[3], ints(&[4], &[1, 2, 2, 1]));
    let y = run(unique(true), &[x], 1);
    assert_eq!(y, [floats(&[4], &[1.0, 2.0, 3.0, 4.0])]);
}

#[test]
fn unique_slices_along_an_axis() {
    let x = floats(&[3, 2], &[1.0, 0.0, 1.0, 0.0, 0.0, 5.0]);
    let function = HostFn::Unique {
        axis: Some(0),
        sorted: true,
    };
    let y = run(function, &[x], 4);
    assert_eq!(y[0], floats(&[2, 2], &[0.0, 5.0, 1.0, 0.0]));
    assert_eq!(y[2], ints(&[3], &[1, 1, 0]));
}

#[test]
fn compress_takes_marked_slices() {
    let x = floats(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let marks: Value = Tensor::from_bools(&[3], &[false, true, true])
        .expect("tensor")
        .into();
    let y = run(
        HostFn::Compress { axis: Some(0) },
        &[x.clone(), marks.clone()],
        1,
    );
    assert_eq!(y, [floats(&[2, 2], &[3.0, 4.0, 5.0, 6.0])]);
    let y = run(HostFn::Compress { axis: None }, &[x, marks], 1);
    assert_eq!(y, [floats(&[2], &[2.0, 3.0])]);
}

#[test]
fn suppression_keeps_the_best_of_overlapping_boxes() {
    let boxes = floats(
        &[1, 3, 4],
        &[0.0, 0.0, 1.0, 1.0, 0.0, 0.1, 1.0, 1.1, 0.0, 10.0, 1.0, 11.0],
    );
    let scores = floats(&[1, 1, 3], &[0.75, 0.9, 0.3]);
    let function = HostFn::NonMaxSuppression {
        center_point_box: false,
    };
    let operands = [
        boxes,
        scores,
        ints(&[1], &[3]),
        floats(&[1], &[0.5]),
        floats(&[1], &[0.4]),
    ];
    assert_eq!(
        run(function.clone(), &operands, 1),
        [ints(&[1, 3], &[0, 0, 1])]
    );
    let y = run(function, &operands[..4], 1);
    assert_eq!(y, [ints(&[2, 3], &[0, 0, 1, 0, 0, 2])]);
}

#[test]
fn random_numbers_follow_their_seed() {
    let normal = |seed| HostFn::RandomNormal {
        mean: 3.0,
        scale: 2.0,
        seed,
        dtype: DType::F32,
    };
    let y = run(normal(7), &[], 1);
    assert_eq!(y, run(normal(7), &[], 1));
    assert_ne!(y, run(normal(8), &[], 1));
    let values = y[0].as_tensor().expect("tensor").to_f64s();
    let mean = values.iter().sum::<f64>() / 1000.0;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 1000.0;
    assert!(
        (mean - 3.0).abs() < 0.3 && (variance - 4.0).abs() < 0.8,
        "{mean} {variance}"
    );
}

#[test]
fn sequences_are_built_and_joined() {
    let (a, b) = (floats(&[1, 2], &[1.0, 2.0]), floats(&[1, 2], &[3.0, 4.0]));
    let list = run(HostFn::SequenceConstruct, &[a.clone(), b.clone()], 1);
    let joined = |axis, new_axis| HostFn::ConcatFromSequence { axis, new_axis };
    let y = run(joined(-1, false), &list, 1);
    assert_eq!(y, [floats(&[1, 4], &[1.0, 2.0, 3.0, 4.0])]);
    let y = run(joined(2, true), &list, 1);
    assert_eq!(y, [floats(&[1, 2, 2], &[1.0, 3.0, 2.0, 4.0])]);
    let longer = run(
        HostFn::SequenceInsert,
        &[list[0].clone(), b.clone(), ints(&[], &[0])],
        1,
    );
    assert_eq!(
        longer,
        [Value::Sequence(vec![b.clone(), a.clone(), b.clone()])]
    );
    // Before the last one, not behind it.
    let inserted = run(
        HostFn::SequenceInsert,
        &[longer[0].clone(), a.clone(), ints(&[], &[-1])],
        1,
    );
    assert_eq!(
        inserted,
        [Value::Sequence(vec![
            b.clone(),
            a.clone(),
            a.clone(),
            b.clone()
        ])]
    );
    assert_eq!(
        run(HostFn::SequenceErase, &longer, 1)[0],
        Value::Sequence(vec![b.clone(), a])
    );
    let split = HostFn::SplitToSequence {
        axis: 1,
        keepdims: false,
    };
    let y = run(split, &[b], 1);
    assert_eq!(
        y,
        [Value::Sequence(vec![
            floats(&[1], &[3.0]),
            floats(&[1], &[4.0])
        ])]
    );
}

#[test]
fn optionals_hold_or_not() {
    let some = run(HostFn::Optional, &[ints(&[], &[1])], 1);
    let none = run(HostFn::Optional, &[], 1);
    let holds = |value: &[Value]| {
        let has = run(HostFn::OptionalHasElement, value, 1);
        has[0].as_tensor().expect("tensor").bytes() == [1]
    };
    assert!(holds(&some) && !holds(&none) && !holds(&[]));
    assert_eq!(run(HostFn::OptionalGetElement, &some, 1), [ints(&[], &[1])]);
}
