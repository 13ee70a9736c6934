//! Which micro-kernels a contraction takes, by an estimate of their cost.
//!
//! Without tiles, a right side is read as bf16 where that is permitted and rows are few.
//!
//! Products of bf16 parts run where the family has tiles, the precision permits them, and they are
//! clearly faster: rows, columns and depth are large enough to fill tiles and to pay for splitting
//! the left side, and the right side does not come to more bytes than the time saved is worth. The
//! choice depends on the contraction alone, so that it is the same on every machine of a family.

use alula_microkernel::{FEW_ROWS, Isa, Products};
use alula_tensor::Dim;

use super::{Form, Product};

/// What a contraction may run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The family of the machine.
    pub isa: Isa,
    /// The least exact products of f32 that are wanted.
    pub products: Products,
    /// Whether the right side is a constant, packed when the program is compiled.
    pub is_constant: bool,
    /// What a number of rows that only a run knows is taken to be.
    pub rows: i64,
}

impl Wanted {
    /// f32 products of one family.
    pub fn whole(isa: Isa) -> Wanted {
        Wanted {
            isa,
            products: Products::Whole,
            is_constant: false,
            rows: UNKNOWN,
        }
    }
}

/// What an extent that only a run knows is taken to be.
const UNKNOWN: i64 = 128;
/// Products of f32 in a cycle of the vector kernels.
const WHOLE_RATE: f64 = 30.0;
/// Products of bf16 in a cycle of the tiles, as far as loads let them.
const SPLIT_RATE: f64 = 320.0;
/// Bytes of a constant right side that a cycle brings, since most are in no near cache.
const BYTE_RATE: f64 = 8.0;
/// Cycles of packing an element of a right side that is no constant, whole and for each part.
const PACK: [f64; 2] = [0.3, 0.7];
/// Cycles of splitting an element of the left side; and more where it is not found next to the
/// last one, for each run of neighbours, and for each of few neighbours in a row that is short.
const SPLIT: [f64; 4] = [0.5, 2.0, 8.0, 2.0];
/// Neighbours in a run, and elements in a row of such runs, that are few: `gemm::split::rows` puts
/// together as a whole what has no more.
const FEW: [f64; 2] = [16.0, 1024.0];
/// Cycles of an element of the result that is finished in registers.
const FINISH: f64 = 0.25;
/// Cycles of an element of the result that goes through memory first.
const DELIVER: f64 = 0.35;
/// Elements of a right side at least that vectors read as bf16: fewer are in a near cache.
const STREAMED_MIN: f64 = 65536.0;
/// How much faster products of parts must seem.
const MARGIN: f64 = 1.15;

/// Sizes of a product, as far as they are known.
struct Sizes {
    m: f64,
    k: f64,
    n: f64,
    /// Neighbours along K in the left side.
    run: f64,
    is_adjacent: bool,
}

/// The family and the products that this form takes.
pub(super) fn choose(form: &Form, wanted: Wanted, is_integer: bool) -> (Isa, Products) {
    let plain = wanted.isa.without_tiles();
    let Form::Product(product) = form else {
        return (plain, Products::Whole);
    };
    let sizes = sizes(product, wanted.rows);
    if is_integer {
        // The kernels themselves decide, once sizes are known.
        let small = sizes.m < 4.0 || sizes.k < 32.0;
        return (if small { plain } else { wanted.isa }, Products::Whole);
    }
    let serves = match wanted.isa {
        Isa::Amx => {
            wanted.products != Products::Whole
                && split_cost(&sizes, wanted) * MARGIN < whole_cost(&sizes, wanted)
        }
        _ => is_streamed(form, wanted),
    };
    match serves {
        true => (wanted.isa, wanted.products),
        false => (plain, Products::Whole),
    }
}

/// Whether vectors read a constant right side as bf16: without tiles, that serves where rows are
/// so few, at every run, that its bytes are what a product takes.
pub(super) fn is_streamed(form: &Form, wanted: Wanted) -> bool {
    let Form::Product(product) = form else {
        return false;
    };
    let is_few = match &product.window {
        Some(_) => false,
        None => {
            let rows = product.rows.iter().map(|axis| axis.extent.as_const());
            let rows = rows.product::<Option<i64>>();
            rows.is_some_and(|rows| rows <= FEW_ROWS as i64)
        }
    };
    let sizes = sizes(product, wanted.rows);
    wanted.isa == Isa::Avx512
        && wanted.products == Products::One
        && wanted.is_constant
        && is_few
        && sizes.is_adjacent
        && sizes.k * sizes.n >= STREAMED_MIN
}

fn extent(dim: &Dim) -> f64 {
    dim.as_const().unwrap_or(UNKNOWN).max(1) as f64
}

fn sizes(product: &Product, unknown_rows: i64) -> Sizes {
    let all = |axes: &[super::AxisMap]| axes.iter().map(|axis| extent(&axis.extent)).product();
    let rows = |axis: &super::AxisMap| axis.extent.as_const().unwrap_or(unknown_rows).max(1) as f64;
    let m: f64 = match &product.window {
        Some(window) => extent(&window.images) * extent(&window.out[0]) * extent(&window.out[1]),
        None => product.rows.iter().map(rows).product(),
    };
    let run = extent(&product.depth.extent);
    Sizes {
        m,
        k: run * all(&product.taps),
        n: all(&product.cols),
        run,
        is_adjacent: product.depth.a.is(1) || run == 1.0 || product.is_copied,
    }
}

fn up(x: f64, to: f64) -> f64 {
    (x / to).ceil() * to
}

fn whole_cost(s: &Sizes, wanted: Wanted) -> f64 {
    let right = s.k * s.n;
    let products = s.m * s.k * up(s.n, 16.0) / WHOLE_RATE + s.m * s.n * FINISH;
    match wanted.is_constant {
        true => products.max(right * 4.0 / BYTE_RATE),
        false => products + right * PACK[0],
    }
}

fn split_cost(s: &Sizes, wanted: Wanted) -> f64 {
    let parts = wanted.products.parts() as f64;
    let count = parts * (parts + 1.0) / 2.0;
    let right = up(s.k, 32.0) * up(s.n, 16.0);
    let products = up(s.m, 16.0) * right * count / SPLIT_RATE;
    let left = match (s.is_adjacent, s.run % 32.0 == 0.0) {
        (false, _) => SPLIT[0] + SPLIT[1],
        (true, true) => SPLIT[0],
        (true, false) if s.run <= FEW[0] && s.k <= FEW[1] => SPLIT[0] + SPLIT[3] / s.run,
        // Which is bf16 already, most often: lines are copied.
        (true, false) if parts == 1.0 => SPLIT[0] + SPLIT[3] * (1.0 / s.run + 1.0 / 32.0),
        (true, false) => SPLIT[0] + SPLIT[2] * (1.0 / s.run + 1.0 / 32.0),
    };
    let blocks = (s.k / 1024.0).ceil();
    let moved = s.m * s.k * left + s.m * s.n * DELIVER * blocks;
    match wanted.is_constant {
        true => (products + moved).max(right * parts * 2.0 / BYTE_RATE),
        false => products + moved + right * parts * PACK[1],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(products: Products, is_constant: bool, [m, k, n]: [f64; 3]) -> bool {
        let sizes = Sizes {
            m,
            k,
            n,
            run: k,
            is_adjacent: true,
        };
        let wanted = Wanted {
            isa: Isa::Amx,
            products,
            is_constant,
            rows: UNKNOWN,
        };
        split_cost(&sizes, wanted) * MARGIN < whole_cost(&sizes, wanted)
    }

    #[test]
    fn parts_serve_large_products_and_bf16_serves_vectors() {
        for products in [Products::Six, Products::Three, Products::One] {
            assert!(chosen(products, true, [1024.0, 1024.0, 1024.0]));
            assert!(chosen(products, true, [128.0, 768.0, 3072.0]));
            assert!(!chosen(products, true, [1024.0, 8.0, 8.0]));
            assert!(!chosen(products, false, [2.0, 64.0, 64.0]));
        }
        // A single row is bound by the bytes of the right side.
        assert!(!chosen(Products::Six, true, [1.0, 4096.0, 4096.0]));
        assert!(!chosen(Products::Three, true, [1.0, 4096.0, 4096.0]));
        assert!(chosen(Products::One, true, [1.0, 4096.0, 4096.0]));
    }
}
