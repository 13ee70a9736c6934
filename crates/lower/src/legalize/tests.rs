use alula_kernel::interpret::{Bytes, Options, run};
use alula_kernel::{Access, BufferId, GridAxis, Inst, Kernel, Param, Rhs, ValueId, verify};
use alula_tensor::{DType, DTypeClass, Dim, Scalar, ScalarOp, Tensor};
use smallvec::SmallVec;

use super::{Caps, LegalizeError, legalize};

/// The least that expansions are written in.
fn minimal() -> Caps {
    Caps {
        op: |op, dtype| {
            use ScalarOp::*;
            match op {
                Select | Eq | Lt | Add | Sub | Mul | And | Or | Xor | Shl | Shr => true,
                Div | Floor | Sqrt | Neg => !matches!(dtype.class(), DTypeClass::Bool),
                _ => false,
            }
        },
        cast: |from, to| {
            let plain =
                |dtype: DType| !dtype.is_float() || dtype == DType::F32 || dtype == DType::F64;
            plain(from) && plain(to)
        },
        storage: |dtype| !dtype.is_float() || dtype == DType::F32 || dtype == DType::F64,
        lanes: true,
        unrolled: true,
    }
}

/// `out[i] = rhs(x0[i], ...)` over one grid axis.
fn pointwise(operands: &[DType], result: DType, rhs: impl Fn(&[ValueId]) -> Rhs) -> Kernel {
    let mut kernel = Kernel::new("pointwise");
    let elements = Dim::named("N");
    let i = kernel.value(DType::I64);
    kernel.symbols.push(alula_tensor::Symbol::new("N"));
    kernel.grid.push(GridAxis {
        var: i,
        extent: elements.clone(),
    });
    let mut values = Vec::new();
    for (position, &dtype) in operands.iter().enumerate() {
        let param = Param {
            name: format!("x{position}"),
            dtype,
            elements: elements.clone(),
            access: Access::Read,
            bound: None,
        };
        kernel.params.push(param);
        let id = kernel.value(dtype);
        let buffer = BufferId::Param(position as u32);
        kernel.body.0.push(Inst::Let {
            id,
            rhs: Rhs::Load { buffer, index: i },
        });
        values.push(id);
    }
    let out = Param {
        name: "out".to_owned(),
        dtype: result,
        elements,
        access: Access::Write,
        bound: None,
    };
    kernel.params.push(out);
    let value = kernel.value(result);
    kernel.body.0.push(Inst::Let {
        id: value,
        rhs: rhs(&values),
    });
    let buffer = BufferId::Param(operands.len() as u32);
    kernel.body.0.push(Inst::Store {
        buffer,
        index: i,
        value,
    });
    kernel
}

fn apply(op: ScalarOp, dtype: DType) -> Kernel {
    pointwise(&vec![dtype; op.arity()], op.result(dtype), |values| {
        Rhs::Apply {
            op,
            operands: SmallVec::from_slice(values),
        }
    })
}

/// Runs a pointwise kernel on whole tensors.
fn results(kernel: &Kernel, operands: &[&Tensor], dtype: DType) -> Vec<Scalar> {
    let count = operands[0].len();
    let mut result = Tensor::zeros(dtype, &[count]).expect("small");
    let mut buffers: Vec<Bytes<'_>> = operands.iter().map(|t| Bytes::Read(t.bytes())).collect();
    buffers.push(Bytes::Write(result.bytes_mut()));
    let options = Options {
        check_races: false,
        ..Options::default()
    };
    run(kernel, &mut buffers, &|_| Some(count as i64), options)
        .unwrap_or_else(|error| panic!("{}: {error}", kernel.name));
    result.to_scalars()
}

fn legal(mut kernel: Kernel) -> Kernel {
    legalize(&mut kernel, &minimal()).unwrap_or_else(|error| panic!("{error}"));
    verify(&kernel).unwrap_or_else(|errors| panic!("{errors:?}"));
    kernel
}

/// Every exponent with several mantissas, both signs, and the special values.
fn floats(dtype: DType) -> Vec<f64> {
    let (low, high) = if dtype == DType::F32 {
        (-149, 127)
    } else {
        (-1074, 1023)
    };
    let mut values = vec![
        0.0,
        -0.0,
        1.0,
        -1.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        0.5,
        -0.5,
    ];
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    for exponent in low..=high {
        for _ in 0..6 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let mantissa = 1.0 + (seed >> 12) as f64 / 2.0_f64.powi(52);
            let value = mantissa * 2.0_f64.powi(exponent.max(-1022));
            let value = if exponent < -1022 {
                value * 2.0_f64.powi(exponent + 1022)
            } else {
                value
            };
            values.extend([value, -value]);
        }
    }
    // Where functions bend.
    for k in -4000..4000 {
        let seeded = (f64::from(k) * 0.618_033_988_749).fract() * 0.004;
        values.push(f64::from(k) / 250.0 + seeded);
        values.push(f64::from(k) / 5.0 + seeded);
    }
    values
}

/// Distance in units of the last place of `dtype` at the expected value.
fn ulps(dtype: DType, actual: f64, expected: f64) -> f64 {
    if actual.is_nan() && expected.is_nan() || actual == expected {
        return 0.0;
    }
    if !actual.is_finite() || !expected.is_finite() {
        return f64::INFINITY;
    }
    let (bits, least) = if dtype == DType::F32 {
        (23, -149)
    } else {
        (52, -1074)
    };
    let exponent = ((expected.abs().to_bits() >> 52) as i32 - 1023).max(-1022);
    let unit_exponent = (exponent - bits).max(least);
    let scaled = (actual - expected).abs() * 2.0_f64.powi(-unit_exponent / 2);
    scaled * 2.0_f64.powi(-unit_exponent - (-unit_exponent / 2))
}

/// The definition, but where that cancels in `f64`: `acosh` near 1 and `atanh` near -1.
fn expected(op: ScalarOp, dtype: DType, x: Scalar) -> f64 {
    let t = x.to_f64() - 1.0;
    if op == ScalarOp::Acosh && dtype == DType::F64 && (0.0..0.5).contains(&t) {
        return (t + (2.0 * t + t * t).sqrt()).ln_1p();
    }
    if op == ScalarOp::Atanh {
        let size = op.eval(dtype, &[Scalar::Float(x.to_f64().abs())]).to_f64();
        return size.copysign(x.to_f64());
    }
    op.eval(dtype, &[x]).to_f64()
}

fn check_function(op: ScalarOp, dtype: DType, ulps_max: f64, accept: impl Fn(f64) -> bool) {
    let values: Vec<Scalar> = floats(dtype)
        .into_iter()
        .map(|value| Scalar::Float(value).cast(dtype))
        .filter(|value| accept(value.to_f64()))
        .collect();
    let x = Tensor::from_scalars(dtype, &[values.len()], &values).expect("one axis");
    let actual = results(&legal(apply(op, dtype)), &[&x], dtype);
    let mut worst = (0.0, 0.0, 0.0, 0.0);
    for (x, y) in values.iter().zip(actual) {
        let expected = expected(op, dtype, *x);
        let error = ulps(dtype, y.to_f64(), expected);
        if error > worst.0 {
            worst = (error, x.to_f64(), y.to_f64(), expected);
        }
    }
    let (error, x, actual, expected) = worst;
    assert!(
        error <= ulps_max,
        "{op} {dtype} of {x:e}: {actual:e} is not {expected:e}, {error} ulp"
    );
}

const FUNCTIONS: [ScalarOp; 18] = [
    ScalarOp::Exp,
    ScalarOp::Log,
    ScalarOp::Expm1,
    ScalarOp::Log1p,
    ScalarOp::Sin,
    ScalarOp::Cos,
    ScalarOp::Tan,
    ScalarOp::Asin,
    ScalarOp::Acos,
    ScalarOp::Atan,
    ScalarOp::Sinh,
    ScalarOp::Cosh,
    ScalarOp::Tanh,
    ScalarOp::Asinh,
    ScalarOp::Acosh,
    ScalarOp::Atanh,
    ScalarOp::Erf,
    ScalarOp::Erfc,
];

fn accepts(op: ScalarOp, x: f64) -> bool {
    let periodic = matches!(op, ScalarOp::Sin | ScalarOp::Cos | ScalarOp::Tan);
    // The reference overflows where twice the argument does.
    let doubled = matches!(op, ScalarOp::Asinh | ScalarOp::Acosh) && x.abs() > 8e307;
    !doubled && (!periodic || x.abs() < 1.6e6 || !x.is_finite())
}

#[test]
fn single_functions_are_within_two_ulps() {
    for op in FUNCTIONS {
        // Angles of an f32 are right however large they are.
        let is_periodic = matches!(op, ScalarOp::Sin | ScalarOp::Cos | ScalarOp::Tan);
        let ulps_max = if op == ScalarOp::Erfc { 6.0 } else { 2.0 };
        check_function(op, DType::F32, ulps_max, |x| is_periodic || accepts(op, x));
    }
}

#[test]
fn double_functions_are_within_four_ulps() {
    for op in FUNCTIONS {
        // The reference series of erf loses three bits around 2: known values follow.
        let ulps_max = match op {
            ScalarOp::Erf => 10.0,
            ScalarOp::Erfc => 8.0,
            _ => 4.0,
        };
        check_function(op, DType::F64, ulps_max, |x| accepts(op, x));
    }
    let known = [
        (2.099_399_240_417_904, 0.997_012_283_132_447_7),
        (1.5, 0.966_105_146_475_310_7),
        (3.0, 0.999_977_909_503_001_4),
    ];
    let x = Tensor::from_slice(&[3], &known.map(|(x, _)| x)).expect("one axis");
    let actual = results(&legal(apply(ScalarOp::Erf, DType::F64)), &[&x], DType::F64);
    for ((x, expected), actual) in known.into_iter().zip(actual) {
        let error = ulps(DType::F64, actual.to_f64(), expected);
        assert!(error <= 2.0, "erf({x}) = {actual:?}, {error} ulp");
    }
}

#[test]
fn rounding_and_signs_are_exact() {
    let ops = [
        ScalarOp::Round,
        ScalarOp::Trunc,
        ScalarOp::Ceil,
        ScalarOp::Abs,
        ScalarOp::Sign,
        ScalarOp::IsNan,
        ScalarOp::IsInf,
    ];
    for op in ops {
        for dtype in [DType::F32, DType::F64] {
            let values: Vec<Scalar> = floats(dtype)
                .into_iter()
                .map(|v| Scalar::Float(v).cast(dtype))
                .collect();
            let x = Tensor::from_scalars(dtype, &[values.len()], &values).expect("one axis");
            let actual = results(&legal(apply(op, dtype)), &[&x], op.result(dtype));
            for (x, y) in values.iter().zip(actual) {
                let expected = op.eval(dtype, &[*x]);
                let same = match (y, expected) {
                    (Scalar::Float(a), Scalar::Float(b)) => {
                        a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
                    }
                    (a, b) => a == b,
                };
                assert!(same, "{op} {dtype} of {x:?}: {y:?} is not {expected:?}");
            }
        }
    }
}

/// Pairs of interesting values of a dtype.
fn pairs(dtype: DType) -> (Vec<Scalar>, Vec<Scalar>) {
    let values: Vec<Scalar> = if dtype.is_float() {
        [
            0.0, -0.0, 1.0, -1.0, 2.0, 3.0, -3.0, 0.5, -2.5, 7.25, 1e10, -1e-10, 1.000_001, 100.0,
        ]
        .into_iter()
        .chain([
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            1e-40,
            3e38,
            -17.0,
            0.1,
        ])
        .map(|v| Scalar::Float(v).cast(dtype))
        .collect()
    } else {
        [
            0,
            1,
            -1,
            2,
            -2,
            3,
            5,
            -7,
            10,
            63,
            64,
            100,
            127,
            -128,
            i128::from(i64::MIN),
        ]
        .into_iter()
        .map(|v| Scalar::Int(v).cast(dtype))
        .collect()
    };
    let a = values.iter().flat_map(|&a| vec![a; values.len()]).collect();
    let b = values
        .iter()
        .cycle()
        .take(values.len() * values.len())
        .copied()
        .collect();
    (a, b)
}

#[test]
fn binary_operators_keep_their_meaning() {
    use ScalarOp::{FloorDiv, FloorMod, Ge, Gt, Le, Max, Min, Ne, Pow, Rem};
    let dtypes = [
        DType::F32,
        DType::F64,
        DType::I64,
        DType::I32,
        DType::U8,
        DType::F16,
    ];
    for op in [Min, Max, Rem, FloorDiv, FloorMod, Pow, Ne, Gt, Ge, Le] {
        for dtype in dtypes {
            let (a, b) = pairs(dtype);
            let tensors = [&a, &b].map(|values| {
                Tensor::from_scalars(dtype, &[values.len()], values).expect("one axis")
            });
            let kernel = legal(apply(op, dtype));
            let actual = results(&kernel, &[&tensors[0], &tensors[1]], op.result(dtype));
            for ((a, b), y) in a.iter().zip(&b).zip(actual) {
                let quotient = (a.to_f64() / b.to_f64()).abs();
                if dtype == DType::F64
                    && matches!(op, Rem | FloorMod)
                    && quotient > 2.0_f64.powi(53)
                {
                    continue;
                }
                let expected = op.eval(dtype, &[*a, *b]);
                let close = match (y, expected) {
                    (Scalar::Float(y), Scalar::Float(e)) if op == Pow && dtype != DType::F16 => {
                        ulps(dtype, y, e) <= if dtype == DType::F64 { 8.0 } else { 1.0 }
                    }
                    (Scalar::Float(y), Scalar::Float(e)) => y == e || y.is_nan() && e.is_nan(),
                    (y, e) => y == e,
                };
                assert!(
                    close,
                    "{op} {dtype} of {a:?} and {b:?}: {y:?} is not {expected:?}"
                );
            }
        }
    }
}

const NARROW: [DType; 8] = [
    DType::F16,
    DType::BF16,
    DType::F8E4M3FN,
    DType::F8E4M3FNUZ,
    DType::F8E5M2,
    DType::F8E5M2FNUZ,
    DType::F8E8M0,
    DType::F4E2M1,
];

#[test]
fn every_narrow_code_decodes() {
    for dtype in NARROW {
        let size = dtype.size_bytes();
        let bytes: Vec<u8> = (0..1_u32 << dtype.bits())
            .flat_map(|code| code.to_le_bytes()[..size].to_vec())
            .collect();
        let storage = alula_tensor::Storage::copy_from(&bytes);
        let x = Tensor::from_storage(dtype, &[bytes.len() / size], storage).expect("all codes");
        let kernel = legal(pointwise(&[dtype], DType::F32, |v| Rhs::Cast(v[0])));
        let actual = results(&kernel, &[&x], DType::F32);
        for (code, (y, e)) in actual.into_iter().zip(x.to_scalars()).enumerate() {
            let (y, e) = (y.to_f64(), e.to_f64());
            assert!(
                y.to_bits() == e.to_bits() || y.is_nan() && e.is_nan(),
                "{dtype} {code}: {y} {e}"
            );
        }
    }
}

#[test]
fn narrow_floats_round_as_the_cast_does() {
    for from in [DType::F32, DType::F64] {
        for to in NARROW {
            let mut values: Vec<Scalar> = floats(from)
                .into_iter()
                .map(|v| Scalar::Float(v).cast(from))
                .collect();
            // Ties and their neighbours.
            for k in 0..4000_i32 {
                let tie = f64::from(k) / 64.0 * 2.0_f64.powi(k % 40 - 20);
                values.push(Scalar::Float(tie).cast(from));
                values.push(Scalar::Float(tie * (1.0 + 2.0_f64.powi(-40))).cast(from));
            }
            let x = Tensor::from_scalars(from, &[values.len()], &values).expect("one axis");
            let kernel = legal(pointwise(&[from], to, |v| Rhs::Cast(v[0])));
            let actual = results(&kernel, &[&x], to);
            for (x, y) in values.iter().zip(actual) {
                let (y, e) = (y.to_f64(), x.cast(to).to_f64());
                let same = y.to_bits() == e.to_bits() || y.is_nan() && e.is_nan();
                assert!(same, "{from} {x:?} as {to}: {y} is not {e}");
            }
        }
    }
}

#[test]
fn what_has_no_expansion_is_named() {
    let caps = Caps {
        op: |_, _| false,
        ..minimal()
    };
    let mut kernel = apply(ScalarOp::Add, DType::I64);
    let error = legalize(&mut kernel, &caps).expect_err("nothing adds");
    assert!(
        matches!(
            error,
            LegalizeError::Operator {
                op: ScalarOp::Add,
                ..
            }
        ),
        "{error}"
    );
}
