//! Loops of every form: tails, folds, gathers, strides, grids, branches, dims.

mod support;

use alula_kernel::{Access, FoldOp, LoopKind};
use alula_tensor::{DType, Dim, Scalar, ScalarOp};
use support::{Builder, compile, compile_unverified, run, to_bytes, to_scalars};

fn floats(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

fn as_floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]]))
        .collect()
}

#[test]
fn every_tail_length_is_covered_and_nothing_beyond() {
    for width in [2, 4, 8, 16] {
        for dtype in [DType::F32, DType::I8, DType::F64, DType::U16, DType::Bool] {
            let mut b = Builder::new("not_or_double");
            let n = b.symbol("n");
            let x = b.param(dtype, n.clone(), Access::Read);
            let y = b.param(dtype, n.clone(), Access::Write);
            let extent = b.dim(n);
            b.each(LoopKind::Lanes(width), extent, |b, i| {
                let value = b.load(x, i);
                let value = match dtype {
                    DType::Bool => b.apply(ScalarOp::Not, &[value]),
                    _ => b.apply(ScalarOp::Add, &[value, value]),
                };
                b.store(y, i, value);
            });
            let module = compile(&b.finish());
            for n in (0..40).chain([63, 64, 65, 100]) {
                let values: Vec<Scalar> = (0..n)
                    .map(|i| {
                        if dtype.is_float() {
                            Scalar::Float(f64::from(i))
                        } else {
                            Scalar::Int(i128::from(i % 2))
                        }
                    })
                    .collect();
                let guard = 16;
                let len = n as usize * dtype.size_bytes();
                let mut buffers = [to_bytes(dtype, &values), vec![0x5a; len + guard]];
                run(&module, &[("n", i64::from(n))], &mut buffers);
                for (value, got) in values.iter().zip(to_scalars(dtype, &buffers[1][..len])) {
                    let wanted = match dtype {
                        DType::Bool => ScalarOp::Not.eval(dtype, &[*value]),
                        _ => ScalarOp::Add.eval(dtype, &[*value, *value]),
                    };
                    assert_eq!(got, wanted, "{dtype} n = {n} width {width}");
                }
                assert_eq!(
                    buffers[1][len..],
                    [0x5a; 16],
                    "{dtype} n = {n} width {width}"
                );
            }
        }
    }
}

/// The documented order: partial values by lane, then halves combined.
fn folded(op: ScalarOp, dtype: DType, width: usize, identity: Scalar, values: &[Scalar]) -> Scalar {
    let mut partials = vec![identity; width];
    for group in values.chunks(width) {
        for (partial, value) in partials.iter_mut().zip(group) {
            *partial = op.eval(dtype, &[*partial, *value]);
        }
    }
    while partials.len() > 1 {
        let half = partials.len() / 2;
        for i in 0..half {
            partials[i] = op.eval(dtype, &[partials[i], partials[i + half]]);
        }
        partials.truncate(half);
    }
    partials[0]
}

#[test]
fn folds_combine_in_the_documented_order() {
    let ops = [FoldOp::Add, FoldOp::Mul, FoldOp::Max, FoldOp::Min];
    for dtype in [DType::F32, DType::F64, DType::I32, DType::I64, DType::U8] {
        for op in ops {
            for width in [2_u32, 4, 8, 16, 32] {
                let mut b = Builder::new("fold");
                let n = b.symbol("n");
                let x = b.param(dtype, n.clone(), Access::Read);
                let y = b.param(dtype, 1_i64, Access::Write);
                let (extent, zero) = (b.dim(n), b.int(0));
                let sum = b.fold(LoopKind::Lanes(width), op, dtype, extent, |b, i| {
                    b.load(x, i)
                });
                b.store(y, zero, sum);
                let module = compile(&b.finish());
                for n in [0_usize, 1, 3, 4, 5, 15, 16, 17, 33, 70] {
                    let values: Vec<Scalar> = (0..n)
                        .map(|i| match dtype.is_float() {
                            true => Scalar::Float(1.0 + (i as f64 * 0.37).sin() / 3.0),
                            false => Scalar::Int((i as i128 * 7 + 3) % 11),
                        })
                        .map(|v| v.cast(dtype))
                        .collect();
                    let mut buffers = [to_bytes(dtype, &values), vec![0; dtype.size_bytes()]];
                    run(&module, &[("n", n as i64)], &mut buffers);
                    let wanted = folded(
                        op.scalar_op(),
                        dtype,
                        width as usize,
                        op.identity(dtype),
                        &values,
                    );
                    let got = to_scalars(dtype, &buffers[1])[0];
                    assert_eq!(got, wanted, "{op:?} {dtype} width {width} n = {n}");
                }
            }
        }
    }
}

#[test]
fn conjunction_folds_over_lanes() {
    for op in [FoldOp::And, FoldOp::Or] {
        let mut b = Builder::new("all_or_any");
        let x = b.param(DType::Bool, 37_i64, Access::Read);
        let y = b.param(DType::Bool, 1_i64, Access::Write);
        let (extent, zero) = (b.int(37), b.int(0));
        let all = b.fold(LoopKind::Lanes(8), op, DType::Bool, extent, |b, i| {
            b.load(x, i)
        });
        b.store(y, zero, all);
        let module = compile(&b.finish());
        let base = u8::from(op == FoldOp::And);
        for odd in [None, Some(0), Some(7), Some(21), Some(36)] {
            let mut values = vec![base; 37];
            if let Some(odd) = odd {
                values[odd] = 1 - base;
            }
            let mut buffers = [values, vec![9]];
            run(&module, &[], &mut buffers);
            assert_eq!(
                buffers[1],
                [if odd.is_some() { 1 - base } else { base }],
                "{op:?} {odd:?}"
            );
        }
    }
}

#[test]
fn rows_are_summed_in_lanes_over_a_serial_loop() {
    // y[j] = sum over i of x[i, j]: vectors across j, a serial loop inside.
    let (rows, cols) = (5_usize, 22_usize);
    let mut b = Builder::new("columns");
    let x = b.param(DType::F32, rows * cols, Access::Read);
    let y = b.param(DType::F32, cols, Access::Write);
    let (outer, inner, stride) = (b.dim(cols), b.dim(rows), b.dim(cols));
    b.each(LoopKind::Lanes(4), outer, |b, j| {
        let sum = b.fold(LoopKind::Serial, FoldOp::Add, DType::F32, inner, |b, i| {
            let row = b.apply(ScalarOp::Mul, &[i, stride]);
            let index = b.apply(ScalarOp::Add, &[row, j]);
            b.load(x, index)
        });
        b.store(y, j, sum);
    });
    let module = compile(&b.finish());
    let values: Vec<f32> = (0..rows * cols).map(|i| (i as f32).sin()).collect();
    let mut buffers = [floats(values.iter().copied()), vec![0; cols * 4]];
    run(&module, &[], &mut buffers);
    for (j, got) in as_floats(&buffers[1]).into_iter().enumerate() {
        let wanted = (0..rows).fold(0.0_f32, |acc, i| acc + values[i * cols + j]);
        assert_eq!(got, wanted, "column {j}");
    }
}

#[test]
fn gathers_strides_and_reversals_load_the_right_elements() {
    // y[3 i] = x[table[i]] + z[n - 1 - i] + w[2 i] + i
    let n = 27_i64;
    let mut b = Builder::new("gather");
    let x = b.param(DType::F32, n, Access::Read);
    let table = b.param(DType::I64, n, Access::Read);
    let z = b.param(DType::F32, n, Access::Read);
    let w = b.param(DType::F32, 2 * n, Access::Read);
    let y = b.param(DType::F32, 3 * n, Access::ReadWrite);
    let (extent, last, two, three) = (b.int(n), b.int(n - 1), b.int(2), b.int(3));
    b.each(LoopKind::Lanes(4), extent, |b, i| {
        let at = b.load(table, i);
        let first = b.load(x, at);
        let back = b.apply(ScalarOp::Sub, &[last, i]);
        let second = b.load(z, back);
        let twice = b.apply(ScalarOp::Mul, &[i, two]);
        let third = b.load(w, twice);
        let sum = b.apply(ScalarOp::Add, &[first, second]);
        let sum = b.apply(ScalarOp::Add, &[sum, third]);
        let position = b.cast(i, DType::F32);
        let sum = b.apply(ScalarOp::Add, &[sum, position]);
        let to = b.apply(ScalarOp::Mul, &[i, three]);
        b.store(y, to, sum);
    });
    let module = compile(&b.finish());
    let xs: Vec<f32> = (0..n).map(|i| i as f32 * 10.0).collect();
    let table: Vec<i64> = (0..n).map(|i| (i * 7) % n).collect();
    let zs: Vec<f32> = (0..n).map(|i| i as f32 * 1000.0).collect();
    let ws: Vec<f32> = (0..2 * n).map(|i| i as f32 * 0.5).collect();
    let mut buffers = [
        floats(xs.iter().copied()),
        table.iter().flat_map(|i| i.to_le_bytes()).collect(),
        floats(zs.iter().copied()),
        floats(ws.iter().copied()),
        floats(std::iter::repeat_n(-1.0, 3 * n as usize)),
    ];
    run(&module, &[], &mut buffers);
    let got = as_floats(&buffers[4]);
    for i in 0..n as usize {
        let back = zs[n as usize - 1 - i];
        let wanted = xs[table[i] as usize] + back + ws[2 * i] + i as f32;
        assert_eq!(got[3 * i], wanted, "element {i}");
        assert_eq!(got[3 * i + 1..3 * i + 3], [-1.0, -1.0], "between {i}");
    }
}

#[test]
fn grids_count_in_row_major_order_from_any_point() {
    use alula_cpu::{Buffer, Launch};
    let mut b = Builder::new("grid");
    let (rows, cols) = (b.symbol("r"), b.symbol("c"));
    let y = b.param(
        DType::I64,
        rows.clone() * cols.clone() * Dim::new(3),
        Access::Write,
    );
    let (i, j, k) = (b.grid(rows), b.grid(cols.clone()), b.grid(3_i64));
    let (width, three, hundred) = (b.dim(cols), b.int(3), b.int(100));
    let at = b.apply(ScalarOp::Mul, &[i, width]);
    let at = b.apply(ScalarOp::Add, &[at, j]);
    let at = b.apply(ScalarOp::Mul, &[at, three]);
    let at = b.apply(ScalarOp::Add, &[at, k]);
    let value = b.apply(ScalarOp::Mul, &[i, hundred]);
    let value = b.apply(ScalarOp::Add, &[value, j]);
    let value = b.apply(ScalarOp::Mul, &[value, hundred]);
    let value = b.apply(ScalarOp::Add, &[value, k]);
    b.store(y, at, value);
    let module = compile(&b.finish());
    let bind = |s: &alula_tensor::Symbol| Some(if s.name() == "r" { 4 } else { 5 });
    let launch = Launch::new(&module.module, 0, &bind).expect("sizes are known");
    assert_eq!(launch.points(), 60);
    let mut bytes = vec![0xff; 60 * 8];
    let buffers = [Buffer::write(&mut bytes)];
    for (begin, end) in [(0, 1), (1, 7), (7, 29), (29, 29), (29, 60)] {
        // SAFETY: one buffer of the checked length.
        unsafe { launch.run_points(&buffers, begin..end) }.expect("in order");
    }
    let wanted: Vec<i64> = (0..60)
        .map(|p| (p / 15 * 100 + p / 3 % 5) * 100 + p % 3)
        .collect();
    let got: Vec<i64> = bytes
        .chunks_exact(8)
        .map(|c| i64::from_le_bytes(c.try_into().expect("8")))
        .collect();
    assert_eq!(got, wanted);
}

#[test]
fn dims_are_computed_from_symbols() {
    let (h, w) = (Dim::named("h"), Dim::named("w"));
    let dims = [
        h.clone() * w.clone() * Dim::new(3) - Dim::new(7),
        (h.clone() + Dim::new(5)).floor_div(&Dim::new(4)),
        (w.clone() - Dim::new(9)).modulo(&Dim::new(4)),
        h.clone().floor_div(&w),
        h.maximum(&w),
        h.minimum(&Dim::new(6)),
        h.clone() * h.clone(),
    ];
    let mut b = Builder::new("dims");
    b.symbol("h");
    b.symbol("w");
    let y = b.param(DType::I64, dims.len(), Access::Write);
    for (position, dim) in dims.iter().enumerate() {
        let (at, value) = (b.int(position as i64), b.dim(dim.clone()));
        b.store(y, at, value);
    }
    let module = compile(&b.finish());
    for (h, w) in [(11_i64, 2_i64), (1, 7), (6, 6)] {
        let bind = |s: &alula_tensor::Symbol| Some(if s.name() == "h" { h } else { w });
        let mut buffers = [vec![0; dims.len() * 8]];
        run(&module, &[("h", h), ("w", w)], &mut buffers);
        for (dim, got) in dims.iter().zip(to_scalars(DType::I64, &buffers[0])) {
            let wanted = dim.eval(&bind).expect("bound");
            assert_eq!(got, Scalar::Int(wanted.into()), "{dim} at {h}, {w}");
        }
    }
}

#[test]
fn branches_run_only_when_taken_also_in_lanes() {
    // A condition that differs between lanes makes the loop serial.
    let n = 21_i64;
    let mut b = Builder::new("branch");
    let y = b.param(DType::I32, n, Access::ReadWrite);
    let (extent, five) = (b.int(n), b.int(5));
    b.each(LoopKind::Lanes(4), extent, |b, i| {
        let small = b.apply(ScalarOp::Lt, &[i, five]);
        b.branch(small, |b| {
            let value = b.cast(i, DType::I32);
            b.store(y, i, value);
        });
    });
    let module = compile_unverified(&b.finish());
    let mut buffers = [vec![0xff; n as usize * 4]];
    run(&module, &[], &mut buffers);
    for (i, got) in to_scalars(DType::I32, &buffers[0]).into_iter().enumerate() {
        assert_eq!(got, Scalar::Int(if i < 5 { i as i128 } else { -1 }));
    }
}

/// A long loop pauses to look whether the run is over; nobody says so, and it goes on.
#[test]
fn long_loops_lose_no_iteration() {
    for kind in [LoopKind::Serial, LoopKind::Lanes(8)] {
        let mut b = Builder::new("count_up");
        let n = b.symbol("n");
        let y = b.param(DType::U8, n.clone(), Access::Write);
        let sum = b.param(DType::I64, Dim::new(1), Access::Write);
        let extent = b.dim(n);
        b.each(kind, extent, |b, i| {
            let value = b.cast(i, DType::U8);
            b.store(y, i, value);
        });
        let total = b.fold(kind, FoldOp::Add, DType::I64, extent, |_, i| i);
        let zero = b.int(0);
        b.store(sum, zero, total);
        let module = compile(&b.finish());
        for n in [0, 1, (1 << 20) - 1, 1 << 20, (1 << 21) + 5, 3_000_001_i64] {
            let mut buffers = [vec![0xff; n as usize], vec![0; 8]];
            run(&module, &[("n", n)], &mut buffers);
            let counts = (0..n).map(|i| i as u8);
            assert!(counts.eq(buffers[0].iter().copied()), "{n} {kind:?}");
            let total = i64::from_le_bytes(buffers[1][..].try_into().expect("8 bytes"));
            assert_eq!(total, n * (n - 1) / 2, "{n} {kind:?}");
        }
    }
}
