//! Packing of B from any strides, in parts, and between families.

use alula_microkernel::{BStrides, Isa, KernelError, PackedLayout, pack_b, repack_b};

use crate::support::values;

/// Element `(tap, k, n)` of `[panel][tap][k][nr]`.
fn at(layout: &PackedLayout, tap: usize, k: usize, n: usize) -> usize {
    let row = ((n / layout.nr) * layout.taps + tap) * layout.k + k;
    row * layout.nr + n % layout.nr
}

#[test]
fn every_stride_order_packs_to_the_documented_place() {
    let (taps, k, n) = (3, 37, 75);
    let source = values(1, taps * k * n);
    let orders = [
        BStrides {
            tap: (k * n) as isize,
            k: n as isize,
            n: 1,
        },
        BStrides {
            tap: (k * n) as isize,
            k: 1,
            n: k as isize,
        },
        BStrides::oihw(k, [1, 3]),
    ];
    for isa in Isa::ALL {
        let layout = PackedLayout::f32(isa, taps, k, n);
        for strides in orders {
            let mut out = vec![f32::NAN; layout.len()];
            for panel in 0..layout.panels() {
                let part = &mut out[panel * layout.panel_len()..][..layout.panel_len()];
                pack_b(&layout, &source, strides, panel..panel + 1, part).unwrap();
            }
            for tap in 0..taps {
                for row in 0..k {
                    for col in 0..layout.panels() * layout.nr {
                        let from = tap as isize * strides.tap
                            + row as isize * strides.k
                            + col as isize * strides.n;
                        let x = if col < n { source[from as usize] } else { 0.0 };
                        assert_eq!(out[at(&layout, tap, row, col)], x);
                    }
                }
            }
        }
    }
}

#[test]
fn packed_floats_move_between_families() {
    let source = values(2, 2 * 13 * 45);
    let strides = BStrides {
        tap: 13 * 45,
        k: 45,
        n: 1,
    };
    let pack = |isa| {
        let layout = PackedLayout::f32(isa, 2, 13, 45);
        let mut out = vec![0.0; layout.len()];
        pack_b(&layout, &source, strides, 0..layout.panels(), &mut out).unwrap();
        (layout, out)
    };
    for from in Isa::ALL {
        for to in Isa::ALL {
            let ((from, packed), (to, expected)) = (pack(from), pack(to));
            let mut out = vec![1.0; to.len()];
            repack_b(&from, &packed, &to, &mut out).unwrap();
            assert_eq!(out, expected);
        }
    }
}

#[test]
fn foreign_widths_short_sources_and_missing_panels_are_refused() {
    let layout = PackedLayout::f32(Isa::Portable, 1, 4, 9);
    let mut out = vec![0.0; layout.len()];
    let short = pack_b(&layout, &[0.0; 35], BStrides::rows(9), 0..2, &mut out);
    assert_eq!(
        short,
        Err(KernelError::Short {
            operand: "b source",
            needed: 36,
            found: 35
        })
    );
    let source = [0.0; 36];
    assert!(pack_b(&layout, &source, BStrides::rows(9), 0..3, &mut out).is_err());
    let foreign = PackedLayout { nr: 7, ..layout };
    assert!(pack_b(&foreign, &source, BStrides::rows(9), 0..2, &mut out).is_err());
}

#[test]
fn parts_of_bf16_add_up_to_what_was_packed() {
    let (taps, k, n) = (2, 37, 75);
    let mut source = values(3, taps * k * n);
    source[5] = 0.0;
    source[6] = 1e-29;
    source[7] = 1e37;
    // The second panel holds what parts cannot.
    source[40] = f32::INFINITY;
    source[41] = 1e-42;
    let orders = [(n as isize, 1), (1, k as isize)];
    let row = |taps, k, n| PackedLayout::f32(Isa::Avx2, taps, k, n);
    for (k_stride, n_stride) in orders {
        let strides = BStrides {
            tap: (k * n) as isize,
            k: k_stride,
            n: n_stride,
        };
        let plain = row(taps, k, n);
        let mut expected = vec![f32::NAN; plain.len()];
        pack_b(&plain, &source, strides, 0..plain.panels(), &mut expected).unwrap();
        for isa in Isa::available() {
            for parts in 1..=3u8 {
                let layout = PackedLayout::bf16(isa, parts, taps, k, n);
                let mut packed = vec![f32::NAN; layout.len()];
                pack_b(&layout, &source, strides, 0..layout.panels(), &mut packed).unwrap();
                let mut back = vec![f32::NAN; plain.len()];
                repack_b(&layout, &packed, &plain, &mut back).unwrap();
                let bound = [0.0, 4e-3, 1.6e-5, 0.0][usize::from(parts)];
                for (x, y) in back.iter().zip(&expected) {
                    let small = parts == 1 && y.abs() < 1e-30;
                    let near = (x - y).abs() <= bound * y.abs() || small;
                    assert!(x == y || near, "{x} is not {y} of {parts} parts");
                }
                let mut again = vec![f32::NAN; layout.len()];
                repack_b(&plain, &expected, &layout, &mut again).unwrap();
                let bits = |words: &[f32]| words.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&packed), bits(&again));
            }
        }
    }
    let none = PackedLayout::bf16(Isa::Portable, 4, taps, k, n);
    assert!(matches!(none.validate(), Err(KernelError::Spec { .. })));
}
