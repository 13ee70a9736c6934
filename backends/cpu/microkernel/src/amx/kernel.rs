//! Register tiles of 32 by 32 in assembly: two tiles of A by two of B into four accumulators.

use std::arch::asm;

use super::{Operands, TILE_ROWS};

/// The tiles that a part of A is loaded from.
macro_rules! a_two {
    (0) => {
        tiles!(
            "tileloadd tmm4, [{a} + {line}*1]",
            "tileloadd tmm5, [{a} + {line}*1 + 1024]"
        )
    };
    (1) => {
        tiles!(
            "tileloadd tmm4, [{a} + {line}*1 + 2048]",
            "tileloadd tmm5, [{a} + {line}*1 + 3072]"
        )
    };
    (2) => {
        tiles!(
            "tileloadd tmm4, [{a} + {line}*1 + 4096]",
            "tileloadd tmm5, [{a} + {line}*1 + 5120]"
        )
    };
}
macro_rules! a_one {
    (0) => {
        tiles!("tileloadd tmm4, [{a} + {line}*1]")
    };
    (1) => {
        tiles!("tileloadd tmm4, [{a} + {line}*1 + 2048]")
    };
    (2) => {
        tiles!("tileloadd tmm4, [{a} + {line}*1 + 4096]")
    };
}

/// Accumulators that begin with nothing.
macro_rules! zeros {
    () => {
        "tilezero tmm0\ntilezero tmm1\ntilezero tmm2\ntilezero tmm3"
    };
}
/// Accumulators that begin with rows of f32, or with the same row sixteen times.
macro_rules! sums {
    () => {
        tiles!(
            "tileloadd tmm0, [{begin} + {begin_line}*1]",
            "tileloadd tmm1, [{begin} + {begin_line}*1 + 64]",
            "tileloadd tmm2, [{begin_second} + {begin_line}*1]",
            "tileloadd tmm3, [{begin_second} + {begin_line}*1 + 64]"
        )
    };
}

/// Operands of a register tile that is stored where it stays.
#[derive(Clone, Copy)]
pub(crate) struct StoredOperands {
    /// The product, of 32 rows and columns; sums are stored from `out` on.
    pub(crate) product: Operands,
    /// Bytes between rows of what is stored.
    pub(crate) line: usize,
    /// What sums begin with, and the bytes between its rows (0 for one row).
    pub(crate) begin: Option<(*const f32, usize)>,
}

/// A kernel: a loop over the steps of K between zeroing and storing the accumulators.
macro_rules! kernel {
    ($o:ident, $products:ident, $a:ident, $b:ident, $dot:ident, $fetch:ident,
     [$step:literal, $ahead:literal]) => {
        asm!(
            zeros!(),
            "2:",
            $fetch!(),
            $products!($a, $b, $dot),
            concat!("add {a}, ", $step),
            concat!("add {b}, ", $step),
            concat!("add {next}, ", $ahead),
            "dec {steps}",
            "jnz 2b",
            "tilestored [{out} + {two}*1], tmm0",
            "tilestored [{out} + {two}*1 + 64], tmm1",
            "tilestored [{out} + {two}*1 + 2048], tmm2",
            "tilestored [{out} + {two}*1 + 2112], tmm3",
            a = inout(reg) $o.a => _,
            b = inout(reg) $o.b => _,
            next = inout(reg) $o.next => _,
            steps = inout(reg) $o.steps => _,
            line = in(reg) 64usize,
            b_line = in(reg) 64usize,
            two = in(reg) 128usize,
            out = in(reg) $o.out,
            options(nostack)
        )
    };
}

/// As `kernel`, of one part and 32 rows and columns; rows of sums are `line` bytes apart.
macro_rules! stored_kernel {
    ($o:ident, $line:ident, $begins:ident $(, $name:ident = $value:expr)*) => {
        asm!(
            $begins!(),
            "2:",
            fetch_eight!(),
            one!(a_two, b_two, dot_two_two),
            "add {a}, 2048",
            "add {b}, 2048",
            "add {next}, 512",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{out} + {stored_line}*1], tmm0",
            "tilestored [{out} + {stored_line}*1 + 64], tmm1",
            "tilestored [{second} + {stored_line}*1], tmm2",
            "tilestored [{second} + {stored_line}*1 + 64], tmm3",
            a = inout(reg) $o.a => _,
            b = inout(reg) $o.b => _,
            next = inout(reg) $o.next => _,
            steps = inout(reg) $o.steps => _,
            line = in(reg) 64usize,
            b_line = in(reg) 64usize,
            stored_line = in(reg) $line,
            out = in(reg) $o.out,
            second = in(reg) $o.out.wrapping_add(TILE_ROWS * $line),
            $($name = in(reg) $value,)*
            options(nostack)
        )
    };
}

/// One product of bf16, summed in f32 onto what sums begin with, and stored where it stays.
///
/// # Safety
/// The tiles are configured. A, B, what sums begin with and what is stored are valid as
/// [`StoredOperands`] says.
pub(crate) unsafe fn multiply_stored(o: &StoredOperands) {
    let (p, stored_line) = (&o.product, o.line);
    assert!(p.steps > 0 && p.rows_past && p.cols_past);
    // SAFETY: the caller's; a prefetch may name any address.
    unsafe {
        match o.begin {
            None => stored_kernel!(p, stored_line, zeros),
            Some((begin, line)) => {
                let second = begin.wrapping_byte_add(TILE_ROWS * line);
                stored_kernel!(
                    p,
                    stored_line,
                    sums,
                    begin = begin,
                    begin_second = second,
                    begin_line = line
                );
            }
        }
    }
}

/// Products of bf16 parts, summed in f32.
///
/// # Safety
/// The tiles are configured. A, B and the sums are valid as [`Operands`] says, for `parts` parts.
pub(crate) unsafe fn multiply_bf16(parts: usize, o: &Operands) {
    assert!(o.steps > 0 && (1..=3).contains(&parts));
    // SAFETY: the caller's; a prefetch may name any address.
    unsafe {
        match parts {
            1 => by_shape!(kernel, o, one, fetch_eight, ["2048", "512"]),
            2 => by_shape!(kernel, o, three, fetch_sixteen, ["4096", "1024"]),
            _ => by_shape!(kernel, o, six, fetch_more, ["6144", "1536"]),
        }
    }
}
