//! Wide loops that go from row to row, read many places, or select: the same bits as interpreted.

mod support;

use alula_cpu::{CpuTarget, Dump, emit_kernel};
use alula_kernel::{Access, Kernel, LoopKind};
use alula_tensor::{DType, ScalarOp};
use support::{Builder, compile, run};

/// Numbers of every kind.
fn floats(n: usize) -> Vec<u8> {
    let value = |i: usize| match i % 13 {
        3 => -0.0,
        5 => f32::NAN,
        7 => f32::INFINITY,
        11 => 0.0,
        _ => ((i * 37 % 101) as f32 - 50.0) * 0.37,
    };
    (0..n).flat_map(|i| value(i).to_le_bytes()).collect()
}

/// The instructions of wide loops, if this machine has any.
fn listed(kernel: &Kernel) -> Option<String> {
    let target = CpuTarget::host().expect("a target");
    let dump = Dump {
        clif: false,
        asm: true,
    };
    let emitted = emit_kernel(kernel, &target, dump).expect("the kernel is printed");
    let names = ["avx512f", "avx512vl", "avx512dq", "bmi2"];
    let is_wide = names.iter().all(|name| target.features().has(name));
    is_wide.then(|| emitted.asm.unwrap_or_default())
}

/// Rows, columns and the distance of rows: those of tiles, which are known to be small. Other loops
/// look every now and then whether a run has been stopped.
const SIZES: [&str; 3] = ["tile_rows", "tile_cols", "tile_stride"];

/// `out[r, c] = x[r, c] * scale[c]` of rows that are `apart` in `x`, and next to one another in
/// `out`; times what is loaded for each row, if that is `scaled`.
fn rows(scaled: bool) -> Kernel {
    let mut b = Builder::new("rows");
    let [rows, cols, apart] = SIZES.map(|name| b.symbol(name));
    let x = b.param(DType::F32, rows.clone() * apart.clone(), Access::Read);
    let scale = b.param(DType::F32, cols.clone(), Access::Read);
    let each = b.param(DType::F32, rows.clone(), Access::Read);
    let out = b.param(DType::F32, rows.clone() * cols.clone(), Access::Write);
    let [rows, cols, apart] = [rows, cols, apart].map(|dim| b.dim(dim));
    b.each(LoopKind::Serial, rows, |b, row| {
        let from = b.apply(ScalarOp::Mul, &[row, apart]);
        let to = b.apply(ScalarOp::Mul, &[row, cols]);
        let of_row = scaled.then(|| b.load(each, row));
        b.each(LoopKind::Lanes(4), cols, |b, col| {
            let at = b.apply(ScalarOp::Add, &[from, col]);
            let (value, by) = (b.load(x, at), b.load(scale, col));
            let mut value = b.apply(ScalarOp::Mul, &[value, by]);
            if let Some(of_row) = of_row {
                value = b.apply(ScalarOp::Mul, &[value, of_row]);
            }
            let at = b.apply(ScalarOp::Add, &[to, col]);
            b.store(out, at, value);
        });
    });
    b.finish()
}

#[test]
fn rows_are_one_call_unless_something_is_loaded_for_each() {
    for scaled in [false, true] {
        let kernel = rows(scaled);
        if let Some(text) = listed(&kernel) {
            assert!(text.contains("wide0:"), "{text}");
            // A row ends by counting down how many are left.
            assert_eq!(text.contains("dec qword"), !scaled, "{text}");
        }
        let module = compile(&kernel);
        for (rows, cols) in [0, 1, 2, 5]
            .into_iter()
            .flat_map(|rows| (0..70).map(move |cols| (rows, cols)))
        {
            let apart = cols + 3;
            let sizes = [rows * apart, cols, rows].map(floats);
            let [x, scale, each] = sizes;
            let mut buffers = [x, scale, each, vec![0x5a; rows * cols * 4]];
            let [a, b, c] = SIZES;
            let sizes = [(a, rows as i64), (b, cols as i64), (c, apart as i64)];
            run(&module, &sizes, &mut buffers);
        }
    }
}

#[test]
fn more_places_than_registers_are_read_wide() {
    const TAPS: i64 = 14;
    let mut b = Builder::new("window");
    let n = b.symbol("n");
    let x = b.param(DType::F32, n.clone() + TAPS.into(), Access::Read);
    let out = b.param(DType::F32, n.clone(), Access::Write);
    let extent = b.dim(n);
    let starts: Vec<_> = (0..TAPS).map(|tap| b.int(tap)).collect();
    b.each(LoopKind::Lanes(4), extent, |b, i| {
        let mut sum = b.load(x, i);
        for &start in &starts {
            let at = b.apply(ScalarOp::Add, &[i, start]);
            let value = b.load(x, at);
            sum = b.apply(ScalarOp::Sub, &[value, sum]);
        }
        b.store(out, i, sum);
    });
    let kernel = b.finish();
    if let Some(text) = listed(&kernel) {
        assert!(text.contains("wide0:"), "{text}");
    }
    let module = compile(&kernel);
    for n in [0, 1, 15, 16, 47, 130] {
        let mut buffers = [floats(n + TAPS as usize), vec![0x5a; n * 4]];
        run(&module, &[("n", n as i64)], &mut buffers);
    }
}

#[test]
fn selections_of_the_lesser_and_the_greater_are_one_instruction() {
    // Of `lt(x, y)`: which is chosen, and by what. The last is no extreme of both.
    for (order, instruction) in [
        ([0, 1], Some("vminps")),
        ([1, 0], Some("vmaxps")),
        ([0, 0], None),
    ] {
        let mut b = Builder::new("chosen");
        let n = b.symbol("n");
        let [x, y] = [0; 2].map(|_| b.param(DType::F32, n.clone(), Access::Read));
        let out = b.param(DType::F32, n.clone(), Access::Write);
        let extent = b.dim(n);
        b.each(LoopKind::Lanes(4), extent, |b, i| {
            let of = [b.load(x, i), b.load(y, i)];
            let is_less = b.apply(ScalarOp::Lt, &of);
            let [first, second] = order.map(|which| of[which]);
            let chosen = b.apply(ScalarOp::Select, &[is_less, first, second]);
            b.store(out, i, chosen);
        });
        let kernel = b.finish();
        if let Some(text) = listed(&kernel) {
            let found = ["vminps", "vmaxps"]
                .into_iter()
                .find(|name| text.contains(name));
            assert_eq!(found, instruction, "{text}");
        }
        let module = compile(&kernel);
        // Each of one side beside each of the other.
        let n = 13 * 17;
        let mut other = floats(n + 5);
        let other = other.split_off(5 * 4);
        let mixed: Vec<u8> = (0..n)
            .flat_map(|i| other[(i * 16 + i / 13) % n * 4..][..4].to_vec())
            .collect();
        let mut buffers = [floats(n), mixed, vec![0x5a; n * 4]];
        run(&module, &[("n", n as i64)], &mut buffers);
    }
}
