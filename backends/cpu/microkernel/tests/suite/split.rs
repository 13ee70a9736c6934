//! Products of bf16 parts against an f64 reference: on tiles where the CPU has them, else emulated.

use crate::gemm::{stamp, window};
use crate::support::Case;
use alula_microkernel::{
    ARows, Batch, BatchReduceGemm, Bias, CStore, GemmSpec, Hook, Init, Isa, Offsets, Products,
};

const SPLIT: [Products; 3] = [Products::Six, Products::Three, Products::One];

/// The family with tiles if there is one here, else one that emulates them.
pub(crate) fn tiles() -> Isa {
    match Isa::Amx.is_available() {
        true => Isa::Amx,
        false => Isa::Portable,
    }
}

fn matmul(products: Products, [m, k, n]: [usize; 3]) -> GemmSpec {
    GemmSpec {
        products,
        ..GemmSpec::matmul(tiles(), m, k, n)
    }
}

#[test]
fn every_tail_is_right() {
    for products in SPLIT {
        for m in [1, 2, 15, 16, 17, 31, 32, 33, 65, 130] {
            for n in [1, 2, 15, 16, 17, 31, 32, 33, 65] {
                let mut spec = matmul(products, [m, 1 + (m * n) % 67, n]);
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
    for products in SPLIT {
        for k in [0, 1, 2, 31, 32, 33, 64, 1023, 1024, 1025, 2500] {
            for m in [1, 35] {
                for init in [Init::Zero, Init::Accumulate] {
                    let spec = GemmSpec {
                        init,
                        ..matmul(products, [m, k, 35])
                    };
                    Case::new(spec, m * k, m * 35).check(2);
                }
            }
        }
    }
}

#[test]
fn blocks_of_any_size_give_the_same_bits() {
    for products in SPLIT {
        let spec = matmul(products, [300, 1100, 200]);
        let mut case = Case::new(spec, 300 * 1100, 300 * 200);
        // Rows that parts cannot hold, so that some are multiplied whole.
        case.a[100 * 1100 + 3] = 1e38;
        case.check_limits();
        let mut w = window(2, 12, 3, 1, 1);
        w.strides = [144 * 32, 12 * 32, 32];
        let spec = GemmSpec {
            products,
            ..GemmSpec::conv2d(tiles(), w, 32, 100)
        };
        Case::new(spec, 2 * 144 * 32, 2 * 144 * 100).check_limits();
    }
}

#[test]
fn few_rows_of_many_panels_are_right() {
    for products in SPLIT {
        for m in 1..=4 {
            for panels in [3, 4, 5, 6, 7, 11] {
                for k in [1, 31, 64, 1030] {
                    let n = panels * 32 - panels % 5;
                    let mut spec = matmul(products, [m, k, n]);
                    spec.bias = [Bias::None, Bias::PerN, Bias::PerM][(m + panels) % 3];
                    spec.residual = k % 2 == 1;
                    Case::new(spec, m * k, m * n).check(2);
                }
            }
        }
    }
}

#[test]
fn taps_and_any_strides_of_a_and_c_are_right() {
    for products in SPLIT {
        for taps in [1, 2, 5] {
            for (k, k_stride) in [(5, 1), (70, 1), (130, 3)] {
                for (n, store) in [(70, CStore::Rows), (130, CStore::Strided(37))] {
                    let m = 31;
                    let mut spec = matmul(products, [m, k, n]);
                    spec.a_k_stride = k_stride;
                    spec.a_rows = ARows::Affine {
                        rows: Offsets::Grid {
                            inner: [2, 4],
                            strides: [90, 30, 1],
                        },
                        taps: (0..taps as isize).map(|t| (t * 7) % 20).collect(),
                    };
                    spec.c_rows = match store {
                        CStore::Rows => {
                            Offsets::Table((0..31).map(|m| ((m * 5) % 31) * 75).collect())
                        }
                        _ => Offsets::Uniform(1),
                    };
                    spec.c_store = store;
                    spec.bias = Bias::PerN;
                    spec.residual = taps % 2 == 0;
                    if !spec.residual {
                        spec.init = Init::Accumulate;
                    }
                    let a_len = 3 * 90 + 30 + 4 + 20 + k * k_stride as usize;
                    Case::new(spec, a_len, 31 * 140 + 130 * 50).check(2);
                }
            }
        }
    }
}

#[test]
fn windows_pad_with_zeros_in_both_layouts() {
    for products in SPLIT {
        for (side, kernel, step, dilation) in [(7, 3, 1, 1), (8, 3, 2, 1), (9, 3, 1, 2)] {
            for (channels, n) in [(3, 5), (64, 40)] {
                for first in [false, true] {
                    let mut w = window(2, side, kernel, step, dilation);
                    let (area, c) = ((side * side) as isize, channels as isize);
                    w.strides = match first {
                        true => [area * c, side as isize, 1],
                        false => [area * c, side as isize * c, c],
                    };
                    let mut spec = GemmSpec::conv2d(tiles(), w, channels, n);
                    spec.products = products;
                    spec.bias = Bias::PerN;
                    spec.clip = Some((0.0, f32::INFINITY));
                    if first {
                        spec.a_k_stride = area;
                        let out = w.out[0] * w.out[1];
                        spec.c_rows = Offsets::Grid {
                            inner: [1, out],
                            strides: [(out * n) as isize, 0, 1],
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

/// Windows over lines of twelve positions and more, whose pixels are split once.
fn wide_windows(products: Products) -> impl Iterator<Item = Case> {
    let sizes = [
        (14, 3, 1, 3),
        (28, 3, 2, 2),
        (30, 3, 1, 1),
        (37, 3, 1, 1),
        (24, 5, 1, 2),
    ];
    sizes
        .into_iter()
        .flat_map(move |(side, kernel, step, images)| {
            [(32, 40), (96, 33)].map(|(channels, n)| {
                let mut w = window(images, side, kernel, step, 1);
                let c = channels as isize;
                w.strides = [(side * side) as isize * c, side as isize * c, c];
                let mut spec = GemmSpec::conv2d(tiles(), w, channels, n);
                spec.products = products;
                spec.bias = Bias::PerN;
                let c_len = spec.m * n;
                Case::new(spec, images * side * side * channels, c_len)
            })
        })
}

#[test]
fn pixels_under_several_taps_are_right() {
    for products in SPLIT {
        wide_windows(products).for_each(|case| case.check(2));
    }
}

#[test]
fn pixels_that_cannot_be_split_are_multiplied_whole() {
    for products in SPLIT {
        for mut case in wide_windows(products) {
            let middle = case.a.len() / 2;
            case.a[middle] = 1e-39;
            case.a[middle + 500] = 1e38;
            let one = case.actual(1, None);
            for threads in [2, 3, 8] {
                assert_eq!(one, case.actual(threads, None), "{threads} threads");
            }
            if products == Products::Six {
                case.check(1);
            }
        }
    }
}

#[test]
fn groups_are_right() {
    for products in SPLIT {
        let (groups, k, n, m) = (3, 10, 20, 17);
        let mut spec = matmul(products, [m, k, n]);
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
        Case::new(spec, m * groups * k, m * groups * n).check(2);
    }
}

#[test]
fn thread_count_does_not_change_a_bit() {
    for products in SPLIT {
        for m in [1, 50, 200] {
            let mut case = Case::new(matmul(products, [m, 1100, 150]), m * 1100, m * 150);
            // Some rows and columns that six products are not taken of.
            case.a[m / 2 * 1100 + 7] = 1e-39;
            case.b[40] = 1e38;
            let one = case.actual(1, None);
            for threads in [2, 3, 8] {
                assert_eq!(
                    one,
                    case.actual(threads, None),
                    "{m} rows, {threads} threads"
                );
            }
        }
    }
}

#[test]
fn hooks_see_every_element_once_after_the_other_epilogues() {
    for products in SPLIT {
        for store in [CStore::Rows, CStore::Strided(33)] {
            let mut spec = matmul(products, [33, 600, 70]);
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

/// Tiles and their emulation give the same bits, by whichever family the rest is done.
#[test]
fn emulation_gives_the_same_bits() {
    for isa in Isa::available() {
        for products in SPLIT {
            let mut spec = matmul(products, [19, 70, 37]);
            let expected = Case::new(spec.clone(), 19 * 70, 19 * 37).actual(1, None);
            spec.isa = isa;
            let actual = Case::new(spec, 19 * 70, 19 * 37).actual(1, None);
            assert_eq!(expected, actual, "{products:?} on {isa:?}");
        }
        let mut w = window(1, 12, 3, 1, 1);
        w.strides = [144 * 32, 12 * 32, 32];
        for products in SPLIT {
            let spec = GemmSpec {
                products,
                ..GemmSpec::conv2d(tiles(), w, 32, 20)
            };
            let expected = Case::new(spec.clone(), 144 * 32, 144 * 20).actual(1, None);
            let spec = GemmSpec { isa, ..spec };
            let actual = Case::new(spec, 144 * 32, 144 * 20).actual(1, None);
            assert_eq!(expected, actual, "a window of {products:?} on {isa:?}");
        }
    }
}

#[test]
fn other_products_keep_what_is_not_finite() {
    for products in [Products::Three, Products::One] {
        for x in [f32::INFINITY, f32::NAN, f32::from_bits(0x7fff_ffff)] {
            let mut case = Case::new(matmul(products, [40, 64, 40]), 40 * 64, 1600);
            case.a.iter_mut().for_each(|x| *x = x.abs() + 0.1);
            case.b.iter_mut().for_each(|x| *x = x.abs() + 0.1);
            case.a[64 + 5] = x;
            let c = case.actual(1, None);
            for (i, y) in c.into_iter().enumerate() {
                let wanted = i / 40 == 1;
                assert_eq!(!y.is_finite(), wanted, "{products:?} {x} at {i}: {y}");
                assert!(!wanted || y.is_nan() == x.is_nan());
            }
        }
    }
}

#[test]
fn scratch_of_another_alignment_does() {
    let spec = matmul(Products::Six, [40, 100, 40]);
    let gemm = BatchReduceGemm::new(spec.clone(), 1).unwrap();
    let case = Case::new(spec, 4000, 1600);
    let expected = case.actual(1, None);
    let layout = gemm.b_layout();
    let mut b = vec![0.0; layout.len() + 1];
    let strides = alula_microkernel::BStrides::rows(40);
    let panels = 0..layout.panels();
    alula_microkernel::pack_b(&layout, &case.b, strides, panels, &mut b[1..]).unwrap();
    let mut c = vec![0.0; 1600];
    let operands = alula_microkernel::GemmOperands::new(&case.a, &b[1..], &mut c);
    let mut scratch = vec![0u8; gemm.scratch_bytes() + 1];
    // SAFETY: the vectors outlive the call, and C overlaps nothing.
    unsafe { gemm.run(&operands, 0..gemm.tasks(), &mut scratch[1..]) }.unwrap();
    assert_eq!(c, expected);
}
