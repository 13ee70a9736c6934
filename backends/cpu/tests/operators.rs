//! Every scalar operator and conversion that the back end claims, on edge values, one by one and
//! in lanes, against `ScalarOp::eval` and `Scalar::cast`.

mod support;

use alula_cpu::{is_native, is_native_cast};
use alula_kernel::{Access, LoopKind};
use alula_tensor::{DType, Dim, Scalar, ScalarOp};
use support::{Builder, compile, run, same, to_bytes, to_scalars};

const DTYPES: [DType; 17] = [
    DType::Bool,
    DType::I2,
    DType::I4,
    DType::I8,
    DType::I16,
    DType::I32,
    DType::I64,
    DType::U2,
    DType::U4,
    DType::U8,
    DType::U16,
    DType::U32,
    DType::U64,
    DType::F16,
    DType::BF16,
    DType::F32,
    DType::F64,
];

/// Values at the edges of a dtype, all representable.
fn edges(dtype: DType) -> Vec<Scalar> {
    let values: Vec<Scalar> = match dtype.int_range() {
        Some((least, greatest)) => [
            0,
            1,
            2,
            3,
            5,
            7,
            8,
            15,
            16,
            31,
            32,
            63,
            64,
            100,
            127,
            128,
            255,
            -1,
            -2,
            -3,
            -7,
            -8,
            -100,
            least,
            least + 1,
            greatest,
            greatest - 1,
            greatest / 2,
            greatest / 3,
        ]
        .into_iter()
        .filter(|v| (least..=greatest).contains(v))
        .map(Scalar::Int)
        .collect(),
        None => [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            -0.5,
            1.5,
            2.5,
            -2.5,
            0.1,
            -0.1,
            3.0,
            7.0,
            10.0,
            126.5,
            127.5,
            -128.5,
            255.5,
            256.0,
            1e-3,
            -1e-3,
            6e-8,
            3e-8,
            2.9e-8,
            1e-40,
            65504.0,
            65519.0,
            65520.0,
            1e5,
            32767.5,
            65535.5,
            2147483648.0,
            -2147483649.0,
            4294967296.0,
            1e10,
            -1e10,
            9.3e18,
            1.9e19,
            1e30,
            -1e30,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            f64::from(f32::MAX),
            1.1754944e-38,
            0.333_333_34,
            -7.9999995,
        ]
        .into_iter()
        .map(|v| Scalar::Float(v).cast(dtype))
        .collect(),
    };
    let mut distinct: Vec<Scalar> = Vec::new();
    for value in values {
        if !distinct.iter().any(|&known| same(known, value)) {
            distinct.push(value);
        }
    }
    distinct
}

/// `out[i] = op(in0[i], in1[i], ..)` over a symbolic number of elements.
fn kernel(kind: LoopKind, op: ScalarOp, dtype: DType) -> alula_kernel::Kernel {
    let mut b = Builder::new(op.name());
    let n = b.symbol("n");
    let mut inputs = Vec::new();
    for position in 0..op.arity() {
        let dtype = if op == ScalarOp::Select && position == 0 {
            DType::Bool
        } else {
            dtype
        };
        inputs.push(b.param(dtype, n.clone(), Access::Read));
    }
    let out = b.param(op.result(dtype), n.clone(), Access::Write);
    let extent = b.dim(n);
    b.each(kind, extent, |b, i| {
        let operands: Vec<_> = inputs.iter().map(|&input| b.load(input, i)).collect();
        let value = b.apply(op, &operands);
        b.store(out, i, value);
    });
    b.finish()
}

/// Columns of operands: every combination of edge values.
fn combinations(op: ScalarOp, dtype: DType) -> Vec<Vec<Scalar>> {
    let values = edges(dtype);
    let mut rows: Vec<Vec<Scalar>> = vec![Vec::new()];
    for position in 0..op.arity() {
        let choices = match (op, position) {
            (ScalarOp::Select, 0) => edges(DType::Bool),
            (ScalarOp::Select, _) => values.iter().copied().step_by(3).collect(),
            _ => values.clone(),
        };
        rows = rows
            .iter()
            .flat_map(|row| choices.iter().map(|&v| [row.as_slice(), &[v]].concat()))
            .collect();
    }
    rows
}

#[test]
fn native_operators_agree_with_their_meaning() {
    let mut checked = 0;
    for op in ScalarOp::ALL {
        for dtype in DTYPES {
            if !is_native(op, dtype) {
                continue;
            }
            let rows = combinations(op, dtype);
            let mut buffers: Vec<Vec<u8>> = (0..op.arity())
                .map(|position| {
                    let column: Vec<Scalar> = rows.iter().map(|row| row[position]).collect();
                    let first = op == ScalarOp::Select && position == 0;
                    to_bytes(if first { DType::Bool } else { dtype }, &column)
                })
                .collect();
            let result = op.result(dtype);
            buffers.push(vec![0xa5; rows.len() * result.size_bytes()]);
            for kind in [LoopKind::Serial, LoopKind::Lanes(4)] {
                let module = compile(&kernel(kind, op, dtype));
                run(&module, &[("n", rows.len() as i64)], &mut buffers);
                let got = to_scalars(result, &buffers[op.arity()]);
                for (row, got) in rows.iter().zip(got) {
                    let wanted = op.eval(dtype, row);
                    assert!(
                        same(got, wanted),
                        "{op} {dtype} {row:?} {kind:?}: {got:?}, not {wanted:?}"
                    );
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 500, "only {checked} combinations are native");
}

#[test]
fn native_casts_agree_with_their_meaning() {
    let mut checked = 0;
    for from in DTYPES {
        for to in DTYPES {
            if !is_native_cast(from, to) {
                continue;
            }
            let values = edges(from);
            for kind in [LoopKind::Serial, LoopKind::Lanes(4)] {
                let mut b = Builder::new("cast");
                let n = Dim::new(values.len() as i64);
                let input = b.param(from, n.clone(), Access::Read);
                let out = b.param(to, n.clone(), Access::Write);
                let extent = b.dim(n);
                b.each(kind, extent, |b, i| {
                    let value = b.load(input, i);
                    let value = b.cast(value, to);
                    b.store(out, i, value);
                });
                let module = compile(&b.finish());
                let mut buffers = [
                    to_bytes(from, &values),
                    vec![0; values.len() * to.size_bytes()],
                ];
                run(&module, &[], &mut buffers);
                for (&value, got) in values.iter().zip(to_scalars(to, &buffers[1])) {
                    let wanted = value.cast(to);
                    assert!(
                        same(got, wanted),
                        "{from} to {to} of {value:?} {kind:?}: {got:?}, not {wanted:?}"
                    );
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 400, "only {checked} pairs are native");
}

#[test]
fn half_floats_convert_exactly() {
    for dtype in [DType::F16, DType::BF16] {
        let mut b = Builder::new("round");
        let n = b.symbol("n");
        let input = b.param(DType::F32, n.clone(), Access::Read);
        let out = b.param(dtype, n.clone(), Access::Write);
        let back = b.param(DType::F32, n.clone(), Access::Write);
        let extent = b.dim(n);
        b.each(LoopKind::Lanes(4), extent, |b, i| {
            let value = b.load(input, i);
            let narrow = b.cast(value, dtype);
            b.store(out, i, narrow);
            let wide = b.cast(narrow, DType::F32);
            b.store(back, i, wide);
        });
        let module = compile(&b.finish());
        let values: Vec<Scalar> = (0..200_003_u32)
            .map(|k| Scalar::Float(f64::from(f32::from_bits(k.wrapping_mul(0x9E37_79B9)))))
            .collect();
        let len = values.len();
        let mut buffers = [
            to_bytes(DType::F32, &values),
            vec![0; len * 2],
            vec![0; len * 4],
        ];
        run(&module, &[("n", len as i64)], &mut buffers);
        let (narrow, wide) = (
            to_scalars(dtype, &buffers[1]),
            to_scalars(DType::F32, &buffers[2]),
        );
        for ((value, narrow), wide) in values.into_iter().zip(narrow).zip(wide) {
            let wanted = value.cast(dtype);
            assert!(
                same(narrow, wanted),
                "{value:?} as {dtype}: {narrow:?}, not {wanted:?}"
            );
            assert!(same(wide, wanted), "{narrow:?} back from {dtype}: {wide:?}");
        }
    }
}

#[test]
fn bits_survive_a_change_of_type() {
    let pairs = [
        (DType::F32, DType::I32),
        (DType::F32, DType::U32),
        (DType::F64, DType::I64),
        (DType::I8, DType::U8),
        (DType::F16, DType::U16),
        (DType::U16, DType::BF16),
    ];
    for (from, to) in pairs {
        for kind in [LoopKind::Serial, LoopKind::Lanes(4)] {
            let values = edges(from);
            let mut b = Builder::new("bits");
            let input = b.param(from, values.len(), Access::Read);
            let out = b.param(to, values.len(), Access::Write);
            let extent = b.dim(values.len());
            b.each(kind, extent, |b, i| {
                let value = b.load(input, i);
                let value = b.bitcast(value, to);
                b.store(out, i, value);
            });
            let module = compile(&b.finish());
            let bytes = to_bytes(from, &values);
            let mut buffers = [bytes.clone(), vec![0; bytes.len()]];
            run(&module, &[], &mut buffers);
            assert_eq!(buffers[1], bytes, "{from} as {to} {kind:?}");
        }
    }
}
