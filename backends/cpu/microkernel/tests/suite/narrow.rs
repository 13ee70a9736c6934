//! Operands and results that are stored as bf16.

use crate::gemm::window;
use crate::split::tiles;
use crate::support::Case;
use alula_microkernel::{
    ARows, BatchReduceGemm, Bias, CStore, GemmSpec, Init, Isa, Offsets, Products, Stored,
};

fn matmul(products: Products, isa: Isa, [m, k, n]: [usize; 3]) -> GemmSpec {
    GemmSpec {
        products,
        ..GemmSpec::matmul(isa, m, k, n)
    }
}

#[test]
fn left_sides_of_bf16_are_read_where_they_lie_or_copied() {
    for m in [1, 3, 15, 16, 17, 31, 32, 33, 48, 130] {
        for k in [1_usize, 31, 32, 33, 64, 100, 1056, 2048] {
            for stride in [k, k.next_multiple_of(32) + 32] {
                let mut spec = matmul(Products::One, tiles(), [m, k, 35]);
                spec.a_stored = Stored::Bf16;
                spec.bias = Bias::PerN;
                if let ARows::Affine { rows, .. } = &mut spec.a_rows {
                    *rows = Offsets::Uniform(stride as isize);
                }
                Case::new(spec, m * stride, m * 35).check(2);
            }
        }
    }
}

#[test]
fn windows_over_bf16_pad_with_zeros() {
    for (side, kernel, step) in [(7, 3, 1), (14, 3, 1), (28, 3, 2), (14, 1, 2), (14, 1, 1)] {
        for channels in [3, 32, 64] {
            let mut w = window(2, side, kernel, step, 1);
            let (area, c) = ((side * side) as isize, channels as isize);
            w.strides = [area * c, side as isize * c, c];
            let mut spec = GemmSpec::conv2d(tiles(), w, channels, 40);
            spec.products = Products::One;
            spec.a_stored = Stored::Bf16;
            spec.c_store = CStore::Bf16;
            spec.clip = Some((0.0, f32::INFINITY));
            let c_len = spec.m * 40;
            Case::new(spec, 2 * side * side * channels, c_len).check(2);
        }
    }
}

#[test]
fn any_product_is_stored_as_bf16_and_takes_such_a_residual() {
    let families = Isa::ALL.into_iter().filter(|isa| isa.is_available());
    let whole = families.map(|isa| (isa, Products::Whole));
    let split = [Products::Six, Products::Three, Products::One].map(|each| (tiles(), each));
    for (isa, products) in whole.chain(split) {
        for m in [1, 2, 7, 16, 33] {
            for (k, n) in [(5, 1), (70, 15), (600, 33), (1100, 70), (40, 600)] {
                for residual in [None, Some(Stored::F32), Some(Stored::Bf16)] {
                    let mut spec = matmul(products, isa, [m, k, n]);
                    spec.c_store = match k {
                        600 => CStore::Rows,
                        _ => CStore::Bf16,
                    };
                    spec.c_rows = Offsets::Uniform(n as isize + 3);
                    spec.bias = [Bias::None, Bias::PerN, Bias::PerM][(m + n) % 3];
                    spec.residual = residual.is_some();
                    spec.residual_stored = residual.unwrap_or_default();
                    spec.clip = (m % 2 == 0).then_some((-0.5, 1.5));
                    Case::new(spec, m * k, m * (n + 3)).check(2);
                }
            }
        }
    }
}

#[test]
fn a_residual_of_bf16_may_be_the_result() {
    for (products, k) in [
        (Products::One, 64),
        (Products::One, 1100),
        (Products::Whole, 1100),
    ] {
        let mut spec = matmul(products, tiles(), [33, k, 70]);
        spec.c_store = CStore::Bf16;
        spec.residual = true;
        spec.residual_stored = Stored::Bf16;
        let apart = Case::new(spec.clone(), 33 * k, 33 * 70).actual(2, None);
        let shared = Case::new(spec, 33 * k, 33 * 70).in_place().actual(2, None);
        assert_eq!(apart, shared, "{products:?} of {k}");
    }
}

#[test]
fn numbers_at_the_edges_become_what_bf16_has_for_them() {
    // Ties to even, both ways; a number that rounds to an infinity; a subnormal one; no number.
    let odd = f32::from_bits(0x3f81_8000);
    let even = f32::from_bits(0x3f80_8000);
    let values = [odd, even, f32::MAX, -1e-40, f32::NAN, f32::NEG_INFINITY];
    let expected: [u32; 6] = [0x3f82, 0x3f80, 0x7f80, 0x8000, 0x7fc0, 0xff80];
    let families = Isa::ALL.into_iter().filter(|isa| isa.is_available());
    for isa in families {
        let mut spec = matmul(Products::Whole, isa, [1, 0, 6]);
        spec.c_store = CStore::Bf16;
        spec.bias = Bias::PerN;
        let mut case = Case::new(spec, 0, 6);
        case.bias = values.to_vec();
        let found = case.actual(1, None);
        let found: Vec<u32> = found.iter().map(|x| x.to_bits() >> 16).collect();
        assert_eq!(found, expected, "{}", isa.name());
    }
}

#[test]
fn what_bf16_cannot_be_is_refused() {
    let refused = |change: &dyn Fn(&mut GemmSpec)| {
        let mut spec = matmul(Products::One, tiles(), [4, 4, 4]);
        change(&mut spec);
        BatchReduceGemm::new(spec, 1).unwrap_err().to_string()
    };
    let found = refused(&|spec| {
        spec.products = Products::Six;
        spec.a_stored = Stored::Bf16;
    });
    assert!(found.contains("a_stored"), "{found}");
    let found = refused(&|spec| {
        spec.c_store = CStore::Bf16;
        spec.init = Init::Accumulate;
    });
    assert!(found.contains("accumulated"), "{found}");
    let found = refused(&|spec| {
        spec.residual = true;
        spec.residual_stored = Stored::Bf16;
        spec.c_store = CStore::Strided(4);
        spec.c_rows = Offsets::Uniform(1);
    });
    assert!(found.contains("residual_stored"), "{found}");
}
