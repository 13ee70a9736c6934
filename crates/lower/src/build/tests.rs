use alula_kernel::interpret::{evaluate, run_tensors};
use alula_kernel::{Compute, FoldOp, Kernel, Operand, Pool, verify};
use alula_tensor::{DType, Dim, Scalar, ScalarOp, Tensor};

use super::{ParamSpec, Policy, build};

const POLICIES: [Policy; 4] = [
    Policy::Naive,
    Policy::Cpu { lanes: 4 },
    Policy::Cpu { lanes: 16 },
    Policy::Gpu { lanes: 64 },
];

fn build_with(compute: &Compute, policy: Policy) -> Kernel {
    let params: Vec<ParamSpec> = (0..compute.operands.len())
        .map(|position| ParamSpec::row_major(format!("x{position}")))
        .chain([ParamSpec::row_major("out")])
        .collect();
    let kernel = build("test", compute, &params, policy);
    if let Err(errors) = verify(&kernel) {
        panic!("{policy:?}: {errors:?}\n{kernel}");
    }
    kernel
}

/// Numbers that differ, of both signs.
fn numbers(dtype: DType, shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<Scalar> = (0..count)
        .map(|k| Scalar::Float(((k * 37 + 11) % 101) as f64 / 16.0 - 3.0))
        .collect();
    Tensor::from_scalars(dtype, shape, &values).expect("the shape is small")
}

/// Builds with every policy and compares with the evaluated definition.
fn check(compute: &Compute, n: i64) {
    let bind = |_: &alula_tensor::Symbol| Some(n);
    let size = |dims: &[Dim]| -> Vec<usize> {
        dims.iter()
            .map(|dim| dim.eval(&bind).expect("N is bound") as usize)
            .collect()
    };
    let operands: Vec<Tensor> = compute
        .operands
        .iter()
        .map(|o| numbers(o.dtype, &size(&o.shape)))
        .collect();
    let operands: Vec<&Tensor> = operands.iter().collect();
    let expected = evaluate(compute, &operands, &bind).expect("the definition evaluates");
    for policy in POLICIES {
        let kernel = build_with(compute, policy);
        let actual = run_tensors(&kernel, &operands, expected.shape(), &bind)
            .unwrap_or_else(|error| panic!("{policy:?}: {error}\n{kernel}"));
        for (k, (a, e)) in actual.to_f64s().iter().zip(expected.to_f64s()).enumerate() {
            let close = (a - e).abs() <= 1e-5 * (1.0 + e.abs());
            assert!(close, "{policy:?} element {k}: {a} is not {e}\n{kernel}");
        }
    }
}

fn operand(dtype: DType, shape: &[Dim]) -> Operand {
    Operand {
        dtype,
        shape: shape.to_vec(),
    }
}

fn n() -> Dim {
    Dim::named("N")
}

/// Softmax over one axis.
fn softmax(shape: &[Dim], axis: usize) -> Compute {
    let mut compute = Compute::begin(vec![operand(DType::F32, shape)], DType::F32, shape);
    let index = compute.indices();
    let mut folded = index.clone();
    let k = compute.pool.var(shape[axis].clone());
    folded[axis] = compute.pool.var_expr(k);
    let (own, each) = (compute.load(0, index), compute.load(0, folded.clone()));
    let pool = &mut compute.pool;
    let top = pool.fold(FoldOp::Max, vec![k], each);
    let exp = |pool: &mut Pool, value| {
        let shifted = pool.sub(value, top);
        pool.unary(ScalarOp::Exp, shifted)
    };
    // The sum's own variable, as substitution would make one.
    let j = pool.var(shape[axis].clone());
    folded[axis] = pool.var_expr(j);
    let each = compute.load(0, folded);
    let pool = &mut compute.pool;
    let each = exp(pool, each);
    let sum = pool.fold(FoldOp::Add, vec![j], each);
    let own = exp(pool, own);
    let share = pool.div(own, sum);
    compute.finish(share)
}

fn loops(kernel: &Kernel) -> usize {
    fn count(block: &alula_kernel::Block) -> usize {
        block
            .0
            .iter()
            .map(|inst| match inst {
                alula_kernel::Inst::Loop(inner) => 1 + count(&inner.body),
                alula_kernel::Inst::If { then, .. } => count(then),
                _ => 0,
            })
            .sum()
    }
    count(&kernel.body)
}

#[test]
fn softmax_is_three_loops_under_a_row() {
    let compute = softmax(&[n(), Dim::new(37)], 1);
    check(&compute, 5);
    assert_eq!(loops(&build_with(&compute, Policy::Cpu { lanes: 4 })), 4);
}

#[test]
fn softmax_keeps_its_exponentials_in_a_row() {
    let kernel = build_with(&softmax(&[n(), Dim::new(37)], 1), Policy::Cpu { lanes: 4 });
    let text = kernel.to_string();
    assert_eq!(text.matches("= exp ").count(), 1, "{text}");
    assert_eq!(text.matches("store row0[").count(), 1, "{text}");
    let symbolic = build_with(&softmax(&[Dim::new(3), n()], 1), Policy::Cpu { lanes: 4 });
    assert!(symbolic.locals.is_empty(), "{symbolic}");
}

#[test]
fn softmax_over_an_inner_axis_keeps_lanes_contiguous() {
    let compute = softmax(&[Dim::new(2), n(), Dim::new(40)], 1);
    check(&compute, 33);
    check(&softmax(&[n()], 0), 40);
}

#[test]
fn elementwise_chains_become_one_axis() {
    let shape = [n(), Dim::new(3), Dim::new(50), Dim::new(7)];
    let mut compute = Compute::begin(
        vec![operand(DType::F32, &shape), operand(DType::F32, &shape)],
        DType::F32,
        &shape,
    );
    let (a, b) = (compute.load_broadcast(0), compute.load_broadcast(1));
    let product = compute.pool.mul(a, b);
    let root = compute.pool.unary(ScalarOp::Abs, product);
    let compute = compute.finish(root);
    check(&compute, 9);
    let kernel = build_with(&compute, Policy::Cpu { lanes: 4 });
    assert_eq!((kernel.grid.len(), loops(&kernel)), (1, 1));
}

/// `out[n, p, c] = cast(x[n, c, p])`.
fn interleaved(channels: i64, dtype: DType) -> Compute {
    let (points, channels) = (Dim::new(70), Dim::new(channels));
    let x = operand(DType::F32, &[n(), channels.clone(), points.clone()]);
    let mut compute = Compute::begin(vec![x], dtype, &[n(), points, channels]);
    let at = compute.indices();
    let value = compute.load(0, vec![at[0], at[2], at[1]]);
    let value = compute.pool.cast(value, dtype);
    compute.finish(value)
}

#[test]
fn lanes_of_few_bytes_are_places() {
    // Near misses: as many channels as lanes, and what is no byte.
    for (channels, dtype, expected) in [
        (3, DType::U8, true),
        (2, DType::I8, true),
        (4, DType::U8, false),
        (3, DType::I16, false),
    ] {
        let compute = interleaved(channels, dtype);
        check(&compute, 5);
        let text = build_with(&compute, Policy::Cpu { lanes: 4 }).to_string();
        let has_loop = text
            .split_once(" lanes 4 {")
            .is_some_and(|(_, inside)| inside.contains("for "));
        assert_eq!(has_loop, expected, "{text}");
    }
}

#[test]
fn broadcasts_keep_their_axes() {
    let shape = [n(), Dim::new(20), Dim::new(60)];
    let operands = vec![
        operand(DType::F32, &shape),
        operand(DType::F32, &[Dim::new(20), Dim::new(1)]),
        operand(DType::F32, &[Dim::new(1)]),
    ];
    let mut compute = Compute::begin(operands, DType::F32, &shape);
    let (a, b, c) = (
        compute.load_broadcast(0),
        compute.load_broadcast(1),
        compute.load_broadcast(2),
    );
    let sum = compute.pool.add(a, b);
    let scaled = compute.pool.mul(sum, c);
    check(&compute.finish(scaled), 7);
}

#[test]
fn row_and_column_sums() {
    let shape = [n(), Dim::new(70)];
    for (axis, kept) in [(1, n()), (0, Dim::new(70))] {
        let result = std::slice::from_ref(&kept);
        let mut compute = Compute::begin(vec![operand(DType::F32, &shape)], DType::F32, result);
        let mut index = compute.indices();
        let k = compute.pool.var(shape[axis].clone());
        let k_index = compute.pool.var_expr(k);
        index.insert(axis, k_index);
        let each = compute.load(0, index);
        let sum = compute.pool.fold(FoldOp::Add, vec![k], each);
        check(&compute.finish(sum), 45);
    }
}

#[test]
fn folds_over_several_axes_and_to_a_scalar() {
    let shape = [n(), Dim::new(6), Dim::new(11)];
    let mut compute = Compute::begin(vec![operand(DType::F32, &shape)], DType::F32, &[]);
    let vars: Vec<_> = shape
        .iter()
        .map(|extent| compute.pool.var(extent.clone()))
        .collect();
    let index = vars.iter().map(|&var| compute.pool.var_expr(var)).collect();
    let each = compute.load(0, index);
    let sum = compute.pool.fold(FoldOp::Add, vars, each);
    let compute = compute.finish(sum);
    check(&compute, 8);
    check(&compute, 0);
    assert_eq!(loops(&build_with(&compute, Policy::Cpu { lanes: 4 })), 1);
}

#[test]
fn independent_folds_share_a_loop() {
    let shape = [n(), Dim::new(48)];
    let mut compute = Compute::begin(vec![operand(DType::F32, &shape)], DType::F32, &shape);
    let index = compute.indices();
    let mut fold_of = |square: bool| {
        let k = compute.pool.var(48_i64);
        let at = vec![index[0], compute.pool.var_expr(k)];
        let mut each = compute.load(0, at);
        if square {
            each = compute.pool.mul(each, each);
        }
        compute.pool.fold(FoldOp::Add, vec![k], each)
    };
    let (sum, squares) = (fold_of(false), fold_of(true));
    let own = compute.load(0, index);
    let centred = compute.pool.sub(own, sum);
    let result = compute.pool.div(centred, squares);
    let compute = compute.finish(result);
    check(&compute, 5);
    assert_eq!(loops(&build_with(&compute, Policy::Cpu { lanes: 4 })), 3);
}

#[test]
fn a_transposed_operand_and_matrix_product() {
    let (a, b) = ([n(), Dim::new(19)], [Dim::new(24), Dim::new(19)]);
    let result = [n(), Dim::new(24)];
    let operands = vec![operand(DType::F32, &a), operand(DType::F32, &b)];
    let mut compute = Compute::begin(operands, DType::F32, &result);
    let index = compute.indices();
    let k = compute.pool.var(19_i64);
    let k = (k, compute.pool.var_expr(k));
    let left = compute.load(0, vec![index[0], k.1]);
    let right = compute.load(1, vec![index[1], k.1]);
    let product = compute.pool.mul(left, right);
    let sum = compute.pool.fold(FoldOp::Add, vec![k.0], product);
    check(&compute.finish(sum), 13);

    let mut turned = Compute::begin(
        vec![operand(DType::F32, &a)],
        DType::F32,
        &[Dim::new(19), n()],
    );
    let mut index = turned.indices();
    index.reverse();
    let value = turned.load(0, index);
    check(&turned.finish(value), 21);
}

#[test]
fn padded_windows_and_narrow_floats() {
    let shape = [n(), Dim::new(9)];
    let mut compute = Compute::begin(vec![operand(DType::F16, &shape)], DType::F16, &shape);
    let index = compute.indices();
    let k = compute.pool.var(3_i64);
    let (k_index, one) = (compute.pool.var_expr(k), compute.pool.int(1));
    let at = compute.pool.add(index[1], k_index);
    let at = compute.pool.sub(at, one);
    let outside = compute.pool.float(DType::F32, f64::NEG_INFINITY);
    let value = compute.load_padded(0, vec![index[0], at], &[1], outside);
    let top = compute.pool.fold(FoldOp::Max, vec![k], value);
    check(&compute.finish(top), 6);
}

#[test]
fn a_fold_inside_a_fold() {
    // out[i] = sum over k of (max over j of x[i, k, j])^2
    let shape = [n(), Dim::new(5), Dim::new(40)];
    let mut compute = Compute::begin(vec![operand(DType::F32, &shape)], DType::F32, &[n()]);
    let index = compute.indices();
    let (k, j) = (compute.pool.var(5_i64), compute.pool.var(40_i64));
    let at = vec![index[0], compute.pool.var_expr(k), compute.pool.var_expr(j)];
    let each = compute.load(0, at);
    let top = compute.pool.fold(FoldOp::Max, vec![j], each);
    let square = compute.pool.mul(top, top);
    let sum = compute.pool.fold(FoldOp::Add, vec![k], square);
    check(&compute.finish(sum), 4);
}

#[test]
fn gathered_rows() {
    let (table, ids) = ([Dim::new(12), Dim::new(30)], [n()]);
    let operands = vec![operand(DType::F32, &table), operand(DType::I64, &ids)];
    let mut compute = Compute::begin(operands, DType::F32, &[n(), Dim::new(30)]);
    let index = compute.indices();
    let row = compute.load(1, vec![index[0]]);
    let (zero, last) = (compute.pool.int(0), compute.pool.int(11));
    let row = compute.pool.apply(ScalarOp::Min, &[row, last]);
    let row = compute.pool.apply(ScalarOp::Max, &[row, zero]);
    let value = compute.load(0, vec![row, index[1]]);
    check(&compute.finish(value), 10);
}

/// Operands of these extents one after the other along an axis, every element times 2.
fn doubled_concat(shape: &[Dim], axis: usize, extents: &[i64]) -> Compute {
    let part = |extent: i64| {
        let mut shape = shape.to_vec();
        shape[axis] = Dim::new(extent);
        operand(DType::F32, &shape)
    };
    let mut whole = shape.to_vec();
    whole[axis] = Dim::new(extents.iter().sum());
    let operands = extents.iter().map(|&extent| part(extent)).collect();
    let mut compute = Compute::begin(operands, DType::F32, &whole);
    let indices = compute.indices();
    let (mut end, mut value) = (extents.iter().sum::<i64>(), None);
    for (position, extent) in extents.iter().enumerate().rev() {
        let (start, bound) = (compute.pool.int(end - extent), compute.pool.int(end));
        let mut index = indices.clone();
        index[axis] = compute.pool.sub(index[axis], start);
        let (_, index) = compute.clamp_inside(position, index, &[axis]);
        let own = compute.load(position, index);
        value = Some(match value {
            None => own,
            Some(behind) => {
                let before = compute.pool.apply(ScalarOp::Lt, &[indices[axis], bound]);
                compute.pool.select(before, own, behind)
            }
        });
        end -= extent;
    }
    let value = value.expect("there are parts");
    let two = compute.pool.float(DType::F32, 2.0);
    let value = compute.pool.mul(value, two);
    compute.finish(value)
}

fn selects(kernel: &Kernel) -> usize {
    kernel.to_string().matches("select").count()
}

#[test]
fn long_parts_of_an_axis_have_loops_of_their_own() {
    let rows = [Dim::new(3), Dim::new(0), Dim::new(40), Dim::new(41)];
    let inner = [n(), Dim::new(1), Dim::new(33), Dim::new(0)];
    for (compute, parts) in [
        (doubled_concat(&rows, 1, &[2, 9, 1]), 3),
        (doubled_concat(&inner, 3, &[64, 32, 32, 128]), 4),
        (doubled_concat(&[n(), n()], 1, &[300, 4000]), 2),
        (doubled_concat(&[n()], 0, &[30_000, 5000]), 2),
    ] {
        check(&compute, 5);
        let policy = Policy::Cpu { lanes: 4 };
        assert_eq!(super::num_parts(&compute, policy), parts);
        assert_eq!(selects(&build_with(&compute, policy)), 0);
        assert!(selects(&build_with(&compute, Policy::Gpu { lanes: 64 })) > 0);
    }
}

#[test]
fn short_parts_of_an_axis_stay_selects() {
    for compute in [
        doubled_concat(&[n(), Dim::new(0)], 1, &[1, 1, 1, 1]),
        doubled_concat(&[Dim::new(2), Dim::new(0)], 1, &[16, 16]),
    ] {
        check(&compute, 5);
        let policy = Policy::Cpu { lanes: 4 };
        assert_eq!(super::num_parts(&compute, policy), 1);
        assert!(selects(&build_with(&compute, policy)) > 0);
    }
}
