//! f32 batch-reduce products of every family against an f64 reference.

use crate::support::Case;
use alula_microkernel::{
    ARows, Batch, BatchReduceGemm, Bias, CStore, EpilogueTile, GemmSpec, Hook, Init, Isa,
    KernelError, Offsets, Window,
};

#[test]
fn every_tile_size_is_right() {
    for isa in Isa::available() {
        let (mr, nr) = isa.tile_f32();
        for m in 1..=2 * mr + 1 {
            for n in 1..=2 * nr + 1 {
                let mut spec = GemmSpec::matmul(isa, m, 1 + (m * n) % 19, n);
                spec.bias = [Bias::None, Bias::PerN, Bias::PerM][(m + n) % 3];
                spec.residual = n % 2 == 0;
                spec.clip = (m % 2 == 0).then_some((-0.5, 1.5));
                let (a_len, c_len) = (m * spec.k, m * n);
                Case::new(spec, a_len, c_len).check(1);
            }
        }
    }
}

#[test]
fn every_depth_is_right() {
    for isa in Isa::available() {
        for k in [0, 1, 2, 3, 7, 8, 511, 512, 513, 1030, 2500] {
            for m in [1, 2, 3, 5, 29] {
                for init in [Init::Zero, Init::Accumulate] {
                    let spec = GemmSpec {
                        init,
                        ..GemmSpec::matmul(isa, m, k, 35)
                    };
                    Case::new(spec, m * k, m * 35).check(2);
                }
            }
        }
    }
}

#[test]
fn blocks_of_any_size_give_the_same_bits() {
    for isa in Isa::available() {
        let spec = GemmSpec {
            bias: Bias::PerN,
            residual: true,
            ..GemmSpec::matmul(isa, 300, 600, 200)
        };
        Case::new(spec, 300 * 600, 300 * 200).check_limits();
        let mut w = window(2, 12, 3, 1, 1);
        w.strides = [144 * 20, 12 * 20, 20];
        let spec = GemmSpec::conv2d(isa, w, 20, 100);
        Case::new(spec, 2 * 144 * 20, 2 * 144 * 100).check_limits();
    }
}

#[test]
fn few_rows_of_many_panels_are_right() {
    for isa in Isa::available() {
        let nr = isa.tile_f32().1;
        for m in 1..=4 {
            for panels in [7, 8, 9, 10, 11, 23] {
                for k in [0, 1, 511, 513, 1100] {
                    let n = panels * nr - panels % 5;
                    let mut spec = GemmSpec::matmul(isa, m, k, n);
                    spec.bias = [Bias::None, Bias::PerN, Bias::PerM][(m + panels) % 3];
                    spec.residual = k % 2 == 1;
                    spec.init = if k == 1100 {
                        Init::Accumulate
                    } else {
                        Init::Zero
                    };
                    Case::new(spec, m * k, m * n).check(2);
                }
            }
        }
    }
}

#[test]
fn a_residual_may_be_the_result_at_every_depth() {
    for isa in Isa::available() {
        for (k, m) in [(0, 3), (7, 1), (512, 29), (513, 5), (2500, 3), (2500, 40)] {
            for c_store in [CStore::Rows, CStore::Strided(m as isize)] {
                let mut spec = GemmSpec::matmul(isa, m, k, 35);
                if c_store != CStore::Rows {
                    (spec.c_store, spec.c_rows) = (c_store, Offsets::Uniform(1));
                }
                spec.residual = true;
                spec.bias = Bias::PerN;
                spec.clip = Some((-9.0, 9.5));
                Case::new(spec, m * k, m * 35).in_place().check(2);
            }
        }
    }
}

#[test]
fn taps_and_any_strides_of_a_and_c_are_right() {
    for isa in Isa::available() {
        for taps in 1..=9usize {
            for (k, k_stride) in [(5, 1), (70, 1), (130, 3), (5, 40)] {
                for (n, store) in [
                    (70, CStore::Rows),
                    (33, CStore::Strided(50)),
                    (130, CStore::Strided(37)),
                ] {
                    let m = 31;
                    let mut spec = GemmSpec::matmul(isa, m, k, n);
                    spec.a_k_stride = k_stride;
                    spec.a_rows = ARows::Affine {
                        rows: Offsets::Grid {
                            inner: [2, 4],
                            strides: [90, 30, 1],
                        },
                        taps: (0..taps as isize).map(|t| (t * 7) % 20).collect(),
                    };
                    spec.c_rows = if store == CStore::Rows {
                        Offsets::Table((0..31).map(|m| ((m * 5) % 31) * 75).collect())
                    } else {
                        Offsets::Uniform(1)
                    };
                    spec.c_store = store;
                    spec.bias = Bias::PerN;
                    let a_len = 3 * 90 + 30 + 4 + 20 + k * k_stride as usize;
                    spec.residual = taps % 2 == 0;
                    spec.init = if taps % 3 == 0 && !spec.residual {
                        Init::Accumulate
                    } else {
                        Init::Zero
                    };
                    Case::new(spec, a_len, 31 * 140 + 130 * 50).check(2);
                }
            }
        }
    }
}

#[test]
fn rows_that_fall_into_few_cache_sets_are_right() {
    for isa in Isa::available() {
        let (mr, nr) = isa.tile_f32();
        for m in [9, 2 * mr + 3] {
            for k in [512, 1024] {
                let n = 3 * nr + 1;
                Case::new(GemmSpec::matmul(isa, m, k, n), m * k, m * n).check(2);
            }
        }
        let mut w = window(1, 7, 1, 2, 1);
        w.strides = [0, 7 * 512, 512];
        let spec = GemmSpec::conv2d(isa, w, 512, 4 * nr);
        let c_len = spec.m * spec.n;
        Case::new(spec, 49 * 512, c_len).check(1);
    }
}

pub(crate) fn window(
    images: usize,
    side: usize,
    kernel: usize,
    step: usize,
    dilation: usize,
) -> Window {
    let pad = dilation * (kernel - 1) / 2;
    let out = (side + 2 * pad - dilation * (kernel - 1) - 1) / step + 1;
    Window {
        images,
        input: [side, side],
        out: [out, out],
        kernel: [kernel, kernel],
        stride: [step, step],
        dilation: [dilation, dilation],
        pad: [pad, pad],
        strides: [0, 0, 0],
    }
}

#[test]
fn windows_pad_with_zeros_in_both_layouts() {
    for isa in Isa::available() {
        for (side, kernel, step, dilation) in [
            (7, 3, 1, 1),
            (8, 3, 2, 1),
            (9, 5, 1, 1),
            (9, 3, 1, 2),
            (5, 1, 2, 1),
            (2, 3, 1, 1),
        ] {
            for (channels, n) in [(3, 5), (16, 40), (600, 33)] {
                for first in [false, true] {
                    let mut w = window(2, side, kernel, step, dilation);
                    let (area, c) = ((side * side) as isize, channels as isize);
                    w.strides = if first {
                        [area * c, side as isize, 1]
                    } else {
                        [area * c, side as isize * c, c]
                    };
                    let mut spec = GemmSpec::conv2d(isa, w, channels, n);
                    spec.bias = Bias::PerN;
                    spec.clip = Some((0.0, f32::INFINITY));
                    if first {
                        spec.a_k_stride = area;
                        let out = w.out[0] * w.out[1];
                        let image = (out * n) as isize;
                        spec.c_rows = Offsets::Grid {
                            inner: [1, out],
                            strides: [image, 0, 1],
                        };
                        spec.c_store = CStore::Strided(out as isize);
                    }
                    let c_len = spec.m * n;
                    Case::new(spec, 2 * side * side * channels, c_len).check(2);
                }
            }
        }
    }
}

#[test]
fn groups_and_broadcast_batches_are_right() {
    for isa in Isa::available() {
        let (groups, k, n, m) = (3, 10, 20, 17);
        let mut spec = GemmSpec::matmul(isa, m, k, n);
        spec.a_rows = ARows::Affine {
            rows: Offsets::Uniform((groups * k) as isize),
            taps: vec![0],
        };
        spec.c_rows = Offsets::Uniform((groups * n) as isize);
        spec.bias = Bias::PerN;
        spec.batch = Batch {
            count: groups,
            a: Offsets::Uniform(k as isize),
            b: Offsets::Uniform(spec.b_layout().len() as isize),
            c: Offsets::Uniform(n as isize),
            bias: Offsets::Uniform(n as isize),
        };
        Case::new(spec.clone(), m * groups * k, m * groups * n).check(2);
        spec.batch.a = Offsets::Uniform(0);
        Case::new(spec, m * groups * k, m * groups * n).check(2);
    }
}

#[test]
fn thread_count_does_not_change_a_bit() {
    for isa in Isa::available() {
        for m in [1, 2, 3, 4, 50] {
            let case = Case::new(GemmSpec::matmul(isa, m, 700, 150), m * 700, m * 150);
            let one = case.actual(1, None);
            for threads in [2, 3, 8] {
                assert_eq!(
                    one,
                    case.actual(threads, None),
                    "{isa:?} {m} rows, {threads} threads"
                );
            }
        }
    }
}

/// Writes `2 * x + 1000 * row + column` to the tile.
pub(crate) unsafe extern "C" fn stamp(tile: *const EpilogueTile) {
    // SAFETY: the driver passes a live tile.
    unsafe {
        let tile = &*tile;
        for r in 0..tile.rows {
            for n in 0..tile.cols {
                let p = tile.c.offset(tile.row_offsets.add(r).read()).add(n);
                p.write(2.0 * p.read() + (1000 * (tile.m0 + r) + tile.n0 + n) as f32);
            }
        }
    }
}

#[test]
fn hooks_see_every_element_once_after_the_other_epilogues() {
    for isa in Isa::available() {
        for store in [CStore::Rows, CStore::Strided(33)] {
            let mut spec = GemmSpec::matmul(isa, 33, 600, 70);
            spec.c_store = store;
            if store != CStore::Rows {
                spec.c_rows = Offsets::Uniform(1);
            }
            spec.clip = Some((0.0, 6.0));
            let case = Case::new(spec, 33 * 600, 33 * 70);
            let hook = Hook {
                function: stamp,
                user: std::ptr::null_mut(),
            };
            let (plain, hooked) = (case.actual(2, None), case.actual(2, Some(hook)));
            for m in 0..33 {
                for n in 0..70 {
                    let at = case.c_at(0, m, n);
                    assert_eq!(hooked[at], 2.0 * plain[at] + (1000 * m + n) as f32);
                }
            }
        }
    }
}

/// Stores the tile to the dense `[33, 70]` f32 at `user`.
unsafe extern "C" fn deliver(tile: *const EpilogueTile) {
    // SAFETY: the driver passes a live tile; `user` is the test's own buffer.
    unsafe {
        let tile = &*tile;
        for r in 0..tile.rows {
            for n in 0..tile.cols {
                let x = tile.c.offset(tile.row_offsets.add(r).read()).add(n).read();
                tile.user
                    .cast::<f32>()
                    .add((tile.m0 + r) * 70 + tile.n0 + n)
                    .write(x);
            }
        }
    }
}

#[test]
fn a_hook_can_store_alone() {
    for isa in Isa::available() {
        let mut spec = GemmSpec::matmul(isa, 33, 40, 70);
        let plain = Case::new(spec.clone(), 33 * 40, 33 * 70);
        spec.c_store = CStore::ByHook;
        let mut out = vec![f32::NAN; 33 * 70];
        let case = Case {
            spec,
            c: Vec::new(),
            ..Case::new(plain.spec.clone(), 33 * 40, 33 * 70)
        };
        let hook = Hook {
            function: deliver,
            user: out.as_mut_ptr().cast(),
        };
        case.actual(1, Some(hook));
        assert_eq!(out, plain.actual(1, None));
    }
}

#[test]
fn clip_keeps_nan() {
    for isa in Isa::available() {
        let spec = GemmSpec {
            clip: Some((0.0, 6.0)),
            ..GemmSpec::matmul(isa, 5, 2, 19)
        };
        let mut case = Case::new(spec, 10, 5 * 19);
        case.a[0] = f32::NAN;
        let c = case.actual(1, None);
        assert!(c[..19].iter().all(|x| x.is_nan()) && c[19..].iter().all(|x| !x.is_nan()));
    }
}

#[test]
fn short_or_contradictory_descriptions_are_refused() {
    let isa = Isa::Portable;
    let mut spec = GemmSpec::matmul(isa, 4, 4, 4);
    spec.c_rows = Offsets::Uniform(-4);
    let refused = BatchReduceGemm::new(spec, 1);
    assert!(matches!(
        refused,
        Err(KernelError::Negative {
            operand: "c",
            offset: -12
        })
    ));
    let mut spec = GemmSpec::matmul(isa, 4, 4, 4);
    spec.c_rows = Offsets::Table(vec![0; 3]);
    assert!(matches!(
        BatchReduceGemm::new(spec, 1),
        Err(KernelError::Spec { .. })
    ));
    let huge = GemmSpec::matmul(isa, usize::MAX / 2, usize::MAX / 2, 4);
    assert!(BatchReduceGemm::new(huge, 1).is_err());
    let gemm = BatchReduceGemm::new(GemmSpec::matmul(isa, 4, 4, 4), 1).unwrap();
    let (a, b, mut c) = (
        vec![0.0; 15],
        vec![0.0; gemm.b_layout().len()],
        vec![0.0; 16],
    );
    let operands = alula_microkernel::GemmOperands::new(&a, &b, &mut c);
    let mut scratch = vec![0u8; gemm.scratch_bytes()];
    // SAFETY: the vectors are alive; the plan must refuse the short A.
    let refused = unsafe { gemm.run(&operands, 0..1, &mut scratch) };
    assert_eq!(
        refused,
        Err(KernelError::Short {
            operand: "a",
            needed: 16,
            found: 15
        })
    );
}
