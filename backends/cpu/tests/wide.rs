//! Loops at the full width of the machine: that they are taken, and that they give the same bits.

mod support;

use alula_cpu::{CpuTarget, Dump, Isa, emit_kernel};
use alula_kernel::{Access, Carried, FoldOp, Inst, Kernel, Loop, LoopKind};
use alula_tensor::{DType, Dim, Scalar, ScalarOp};
use support::{Builder, compile, run};

fn floats(n: usize, from: impl Fn(usize) -> f32) -> Vec<u8> {
    (0..n).flat_map(|i| from(i).to_le_bytes()).collect()
}

/// Signs, zeros, numbers of every size, and what is no number.
fn hard(i: usize) -> f32 {
    match i % 23 {
        3 => -0.0,
        7 => f32::NAN,
        11 => f32::INFINITY,
        13 => f32::NEG_INFINITY,
        17 => f32::MIN_POSITIVE / 8.0,
        19 => f32::MAX,
        _ => ((i * 37 % 101) as f32 - 50.0) * 0.37,
    }
}

/// Instructions of a kernel on this machine.
fn listed(kernel: &Kernel) -> (String, bool) {
    let target = CpuTarget::host().expect("a target");
    let dump = Dump {
        clif: false,
        asm: true,
    };
    let emitted = emit_kernel(kernel, &target, dump).expect("the kernel is printed");
    let is_wide = ["avx512f", "avx512vl", "avx512dq", "bmi2"]
        .iter()
        .all(|name| target.features().has(name));
    (emitted.asm.unwrap_or_default(), is_wide)
}

/// `out[i] = min(max(x[i], lo[0]), 6) / (1 + |x[i]|)`, with a select and a cast.
fn chain(width: u32) -> Kernel {
    let mut b = Builder::new("chain");
    let n = b.symbol("n");
    let x = b.param(DType::F32, n.clone(), Access::Read);
    let lo = b.param(DType::F32, 1_i64, Access::Read);
    let out = b.param(DType::F32, n.clone(), Access::Write);
    let (extent, zero) = (b.dim(n), b.int(0));
    let least = b.load(lo, zero);
    let float = |b: &mut Builder, value: f64| b.constant(DType::F32, Scalar::Float(value));
    let (six, one) = (float(&mut b, 6.0), float(&mut b, 1.0));
    b.each(LoopKind::Lanes(width), extent, |b, i| {
        let value = b.load(x, i);
        let above = b.apply(ScalarOp::Max, &[value, least]);
        let clipped = b.apply(ScalarOp::Min, &[above, six]);
        let magnitude = b.apply(ScalarOp::Abs, &[value]);
        let below = b.apply(ScalarOp::Fma, &[magnitude, magnitude, one]);
        let quotient = b.apply(ScalarOp::Div, &[clipped, below]);
        let rounded = b.cast(quotient, DType::I32);
        let rounded = b.cast(rounded, DType::F32);
        let is_small = b.apply(ScalarOp::Lt, &[value, six]);
        let chosen = b.apply(ScalarOp::Select, &[is_small, quotient, rounded]);
        b.store(out, i, chosen);
    });
    b.finish()
}

#[test]
fn chains_are_printed_wide_and_every_tail_is_right() {
    for width in [4, 16] {
        let kernel = chain(width);
        let (text, is_wide) = listed(&kernel);
        assert_eq!(text.contains("wide0:"), is_wide, "{text}");
        let module = compile(&kernel);
        for n in (0..70).chain([127, 128, 129, 1000]) {
            let mut buffers = [floats(n, hard), floats(1, |_| -3.5), vec![0x5a; n * 4]];
            run(&module, &[("n", n as i64)], &mut buffers);
        }
    }
}

/// The sum, the greatest and the sum of squares in one loop.
fn moments(width: u32) -> Kernel {
    let mut b = Builder::new("moments");
    let n = b.symbol("n");
    let x = b.param(DType::F32, n.clone(), Access::Read);
    let out = b.param(DType::F32, 3_i64, Access::Write);
    let extent = b.dim(n);
    let folds = [FoldOp::Add, FoldOp::Max, FoldOp::Add];
    let first = b.constant(DType::F32, Scalar::Float(0.5));
    let var = b.kernel.value(DType::I64);
    let accs = folds.map(|_| b.kernel.value(DType::F32));
    let results = folds.map(|_| b.kernel.value(DType::F32));
    let mut nexts = [first; 3];
    let body = b.block(|b| {
        let value = b.load(x, var);
        nexts[0] = b.apply(ScalarOp::Add, &[accs[0], value]);
        nexts[1] = b.apply(ScalarOp::Max, &[accs[1], value]);
        nexts[2] = b.apply(ScalarOp::Fma, &[value, value, accs[2]]);
    });
    let carried = (0..3)
        .map(|position| Carried {
            acc: accs[position],
            init: first,
            next: nexts[position],
            result: results[position],
            combine: Some(folds[position]),
        })
        .collect();
    b.push(Inst::Loop(Loop {
        var,
        extent,
        kind: LoopKind::Lanes(width),
        carried,
        body,
    }));
    for (position, result) in results.into_iter().enumerate() {
        let at = b.int(position as i64);
        b.store(out, at, result);
    }
    b.finish()
}

#[test]
fn folds_side_by_side_keep_their_partial_values() {
    for width in [16, 32, 64] {
        let kernel = moments(width);
        let (text, is_wide) = listed(&kernel);
        assert_eq!(text.contains("wide0:"), is_wide, "{text}");
        let module = compile(&kernel);
        // The last ones are long enough for looks.
        for n in (0..130).chain([1000, (1 << 20) + 7]) {
            for values in [|i: usize| (i as f32 * 0.7).sin(), hard] {
                let mut buffers = [floats(n, values), vec![0; 12]];
                run(&module, &[("n", n as i64)], &mut buffers);
            }
        }
    }
}

#[test]
fn more_values_than_registers_are_no_wide_loop() {
    let mut b = Builder::new("pressure");
    let n = 100_i64;
    let x = b.param(DType::F32, n, Access::Read);
    let out = b.param(DType::F32, n, Access::Write);
    let extent = b.int(n);
    b.each(LoopKind::Lanes(4), extent, |b, i| {
        let value = b.load(x, i);
        let mut values = vec![value];
        for _ in 0..40 {
            let last = values[values.len() - 1];
            values.push(b.apply(ScalarOp::Mul, &[last, value]));
        }
        // From the first to the last, so that all of them live at once.
        let mut sum = values[0];
        for &value in &values[1..] {
            sum = b.apply(ScalarOp::Sub, &[value, sum]);
        }
        b.store(out, i, sum);
    });
    let kernel = b.finish();
    assert!(!listed(&kernel).0.contains("wide0:"));
    let module = compile(&kernel);
    let mut buffers = [floats(100, |i| i as f32 * 0.011), vec![0; 400]];
    run(&module, &[], &mut buffers);
}

/// `steps[i] = cast(round(x[i] / divisor) + zero)`; if `kept`, the quotient is stored, too.
fn quantize(divisor: f32, zero: f32, dtype: DType, kept: bool) -> Kernel {
    let mut b = Builder::new("quantize");
    let n = b.symbol("n");
    let x = b.param(DType::F32, n.clone(), Access::Read);
    let out = b.param(dtype, n.clone(), Access::Write);
    let quotients = b.param(DType::F32, n.clone(), Access::Write);
    let extent = b.dim(n);
    let float =
        |b: &mut Builder, value: f32| b.constant(DType::F32, Scalar::Float(f64::from(value)));
    let (divisor, zero) = (float(&mut b, divisor), float(&mut b, zero));
    b.each(LoopKind::Lanes(4), extent, |b, i| {
        let value = b.load(x, i);
        let quotient = b.apply(ScalarOp::Div, &[value, divisor]);
        let rounded = b.apply(ScalarOp::Round, &[quotient]);
        let steps = b.apply(ScalarOp::Add, &[rounded, zero]);
        let steps = b.cast(steps, dtype);
        b.store(out, i, steps);
        let other = if kept { quotient } else { value };
        b.store(quotients, i, other);
    });
    b.finish()
}

#[test]
fn quotients_that_become_steps_are_those_of_a_division() {
    let divisors = [
        0.062_180_66,
        0.007_855_755,
        -1.5,
        3.0,
        1.0,
        1.999_999_9,
        1e-12,
        7e9,
    ];
    for (dtype, zero) in [
        (DType::I8, 0.0),
        (DType::U8, 128.0),
        (DType::I16, -7.0),
        (DType::U16, 30_000.0),
    ] {
        for divisor in divisors {
            let kernel = quantize(divisor, zero, dtype, false);
            let (text, is_wide) = listed(&kernel);
            assert!(!is_wide || !text.contains("vdivps"), "{text}");
            let module = compile(&kernel);
            // The middle between two steps, its neighbours, and what is far from any.
            let value = |i: usize| match i % 5 {
                0 => hard(i),
                1 => hard(i) * divisor,
                k => {
                    let step = (i as f32 - 4000.0) * if dtype.bits() == 8 { 0.1 } else { 9.0 };
                    let middle = (step.trunc() + 0.5) * divisor;
                    f32::from_bits(middle.to_bits().wrapping_add(k as u32).wrapping_sub(3))
                }
            };
            let n = 8000;
            let steps = vec![0x5a; n * dtype.size_bytes()];
            let mut buffers = [floats(n, value), steps, vec![0; n * 4]];
            run(&module, &[("n", n as i64)], &mut buffers);
        }
    }
}

#[test]
fn quotients_that_are_read_elsewhere_or_by_wide_integers_are_divided() {
    for (dtype, zero, kept) in [
        (DType::I8, 0.0, true),
        (DType::I32, 0.0, false),
        (DType::I8, 1e6, false),
    ] {
        let kernel = quantize(0.3, zero, dtype, kept);
        let (text, is_wide) = listed(&kernel);
        assert!(!is_wide || text.contains("vdivps"), "{text}");
        let module = compile(&kernel);
        let steps = vec![0x5a; 100 * dtype.size_bytes()];
        let mut buffers = [floats(100, hard), steps, vec![0; 400]];
        run(&module, &[("n", 100)], &mut buffers);
    }
}

/// What is done with steps.
#[derive(Clone, Copy, Debug)]
enum Then {
    Stored,
    /// Within 3 and 100, and stored.
    Bounded,
    /// As real numbers, stored, too.
    Real,
}

/// `steps[i] = cast(round(x[i] * factor[i]))` of sums `x`, the factors within a bound.
fn requantize(dtype: DType, bound: Option<f32>, then: Then) -> Kernel {
    let mut b = Builder::new("requantize");
    let n = b.symbol("n");
    let x = b.param(DType::I32, n.clone(), Access::Read);
    let factor = b.param(DType::F32, n.clone(), Access::Read);
    let out = b.param(dtype, n.clone(), Access::Write);
    let real = b.param(DType::F32, n.clone(), Access::Write);
    let extent = b.dim(n);
    let [lo, hi] = [3, 100].map(|value| b.constant(dtype, Scalar::Int(value)));
    b.each(LoopKind::Lanes(4), extent, |b, i| {
        let (sum, factor) = (b.load(x, i), b.load(factor, i));
        let sum = b.cast(sum, DType::F32);
        let product = b.apply(ScalarOp::Mul, &[sum, factor]);
        let rounded = b.apply(ScalarOp::Round, &[product]);
        let mut steps = b.cast(rounded, dtype);
        if let Then::Bounded = then {
            steps = b.apply(ScalarOp::Max, &[steps, lo]);
            steps = b.apply(ScalarOp::Min, &[steps, hi]);
        }
        b.store(out, i, steps);
        let other = match then {
            Then::Real => b.cast(steps, DType::F32),
            Then::Stored | Then::Bounded => sum,
        };
        b.store(real, i, other);
    });
    let mut kernel = b.finish();
    kernel.params[1].bound = bound;
    kernel
}

#[test]
fn what_is_known_to_be_in_reach_is_converted_as_it_is() {
    let n = 999;
    let sums: Vec<u8> = (0..n)
        .flat_map(|i| {
            let sum = (i as i32 - 500).wrapping_mul(1 << (i % 29));
            let sum = [i32::MIN, i32::MAX, sum, sum / 1000, sum][i % 5];
            sum.to_le_bytes()
        })
        .collect();
    let factor = |i: usize| [0.0, -0.25, 0.001_3, 0.25, 0.017][i % 5] as f32;
    for dtype in [DType::I8, DType::U8, DType::I16, DType::U16] {
        for then in [Then::Stored, Then::Bounded, Then::Real] {
            // Near misses: nothing is known, and what is converted may be out of reach.
            for (bound, is_known) in [(Some(0.25), true), (None, false), (Some(2.0), false)] {
                let kernel = requantize(dtype, bound, then);
                let (text, is_wide) = listed(&kernel);
                let is_guarded = text.contains("vcmpordps");
                assert_eq!(is_guarded, is_wide && !is_known, "{dtype} {then:?}: {text}");
                let module = compile(&kernel);
                let factors = match is_known {
                    true => floats(n, factor),
                    false => floats(n, hard),
                };
                let steps = vec![0x5a; n * dtype.size_bytes()];
                let mut buffers = [sums.clone(), factors, steps, vec![0; n * 4]];
                run(&module, &[("n", n as i64)], &mut buffers);
            }
        }
    }
}

/// `out[3 i + 1] = cast(round(x[i]))`, of places that nothing else stores to.
fn spread(dtype: DType) -> Kernel {
    let mut b = Builder::new("spread");
    let n = b.symbol("n");
    let x = b.param(DType::F32, n.clone(), Access::Read);
    let out = b.param(dtype, n.clone() * Dim::new(3), Access::Write);
    let extent = b.dim(n);
    let [three, one] = [3, 1].map(|value| b.constant(DType::I64, Scalar::Int(value)));
    b.each(LoopKind::Lanes(4), extent, |b, i| {
        let value = b.load(x, i);
        let value = b.apply(ScalarOp::Round, &[value]);
        let steps = b.cast(value, dtype);
        let at = b.apply(ScalarOp::Mul, &[i, three]);
        let at = b.apply(ScalarOp::Add, &[at, one]);
        b.store(out, at, steps);
    });
    b.finish()
}

#[test]
fn bytes_that_are_apart_are_stored_one_by_one() {
    // What is no byte is scattered by other code.
    for (dtype, is_byte) in [(DType::I8, true), (DType::U8, true), (DType::I16, false)] {
        let kernel = spread(dtype);
        let (text, is_wide) = listed(&kernel);
        assert!(!is_wide || text.contains("vpextrb") == is_byte, "{text}");
        let module = compile(&kernel);
        for n in [16, 17, 31, 32, 33, 47, 100] {
            let steps = vec![0x5a; 3 * n * dtype.size_bytes()];
            let mut buffers = [floats(n, hard), steps];
            run(&module, &[("n", n as i64)], &mut buffers);
        }
    }
}

/// `x[i] * 2^n`, of `n` the nearest integer to `p[i]`, in two factors, one of which is stored, too,
/// if `kept`.
fn power(kept: bool) -> Kernel {
    let mut b = Builder::new("power");
    let n = b.symbol("n");
    let [x, p] = [0; 2].map(|_| b.param(DType::F32, n.clone(), Access::Read));
    let [out, other] = [0; 2].map(|_| b.param(DType::F32, n.clone(), Access::Write));
    let extent = b.dim(n);
    let anchor = 12_582_912.0_f64;
    let number = b.constant(DType::F32, Scalar::Float(anchor));
    let word = |b: &mut Builder, value: i128| b.constant(DType::I32, Scalar::Int(value));
    let base = word(&mut b, i128::from((anchor as f32).to_bits()));
    let [one, bias, shift] = [1, 127, 23].map(|value| word(&mut b, value));
    b.each(LoopKind::Lanes(4), extent, |b, i| {
        let (value, power) = (b.load(x, i), b.load(p, i));
        let shifted = b.apply(ScalarOp::Add, &[power, number]);
        let whole = b.apply(ScalarOp::Sub, &[shifted, number]);
        let bits = b.bitcast(shifted, DType::I32);
        let n = b.apply(ScalarOp::Sub, &[bits, base]);
        let half = b.apply(ScalarOp::Shr, &[n, one]);
        let rest = b.apply(ScalarOp::Sub, &[n, half]);
        let [first, second] = [half, rest].map(|n| {
            let biased = b.apply(ScalarOp::Add, &[n, bias]);
            let bits = b.apply(ScalarOp::Shl, &[biased, shift]);
            b.bitcast(bits, DType::F32)
        });
        let product = b.apply(ScalarOp::Mul, &[value, first]);
        let result = b.apply(ScalarOp::Mul, &[product, second]);
        b.store(out, i, result);
        b.store(other, i, if kept { first } else { whole });
    });
    b.finish()
}

#[test]
fn two_factors_of_a_power_of_two_are_one_instruction() {
    for kept in [false, true] {
        let kernel = power(kept);
        let (text, is_wide) = listed(&kernel);
        assert_eq!(text.contains("vscalefps"), is_wide && !kept, "{text}");
        let module = compile(&kernel);
        // Every power that two factors reach, from values near 1.
        let n = 507;
        let values = floats(n, |i| match i % 17 {
            3 => f32::NAN,
            _ => 0.7 + (i * 37 % 101) as f32 * 0.01,
        });
        let powers = floats(n, |i| i as f32 - 252.0);
        let mut buffers = [values, powers, vec![0; n * 4], vec![0; n * 4]];
        run(&module, &[("n", n as i64)], &mut buffers);
    }
}

/// `x[i]` as bf16, 0 where it is subnormal if that is `flushed`.
fn rounded(flushed: bool) -> Kernel {
    let mut b = Builder::new("rounded");
    let n = b.symbol("n");
    let x = b.param(DType::F32, n.clone(), Access::Read);
    let out = b.param(DType::BF16, n.clone(), Access::Write);
    let extent = b.dim(n);
    let least = Scalar::Float(f64::from(f32::MIN_POSITIVE));
    let least = b.constant(DType::F32, least);
    let nothing = b.constant(DType::F32, Scalar::Float(0.0));
    b.each(LoopKind::Lanes(4), extent, |b, i| {
        let mut value = b.load(x, i);
        if flushed {
            let size = b.apply(ScalarOp::Abs, &[value]);
            let is_small = b.apply(ScalarOp::Lt, &[size, least]);
            let zero = b.apply(ScalarOp::Mul, &[value, nothing]);
            value = b.apply(ScalarOp::Select, &[is_small, zero, value]);
        }
        let narrow = b.cast(value, DType::BF16);
        b.store(out, i, narrow);
    });
    b.finish()
}

#[test]
fn bf16_without_subnormals_is_rounded_by_the_processor() {
    let has_tiles = Isa::current().is_ok_and(|isa| isa == Isa::Amx);
    for flushed in [true, false] {
        let kernel = rounded(flushed);
        let (text, _) = listed(&kernel);
        let is_native = text.contains("vcvtneps2bf16");
        assert_eq!(is_native, flushed && has_tiles, "{text}");
        let module = compile(&kernel);
        // Ties to even, and the greatest of both formats.
        let value = |i: usize| match i % 3 {
            0 => hard(i),
            1 => f32::from_bits(0x3f80_8000 + (i as u32 % 5) * 0x8000),
            _ => f32::from_bits(0x7f7f_7fff + i as u32 % 2),
        };
        for n in (0..40).chain([1000]) {
            let mut buffers = [floats(n, value), vec![0x5a; n * 2]];
            run(&module, &[("n", n as i64)], &mut buffers);
        }
    }
}
