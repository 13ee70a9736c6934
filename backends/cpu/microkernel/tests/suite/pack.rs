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
