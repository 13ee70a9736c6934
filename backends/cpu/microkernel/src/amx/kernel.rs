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

/// A kernel: a loop over the steps of K between the beginning and the storing of accumulators.
macro_rules! kernel {
    ($o:ident, $products:ident, $a:ident, $b:ident, $dot:ident, $fetch:ident,
     [$step:literal, $ahead:literal, $begins:ident $(, $name:ident = $value:expr)*]) => {
        asm!(
            $begins!(),
            "2:",
            $fetch!(),
            $products!($a, $b, $dot),
            concat!("add {a}, ", $step),
            concat!("add {b}, ", $step),
            concat!("add {next}, ", $ahead),
            "dec {steps}",
            "jnz 2b",
            "tilestored [{out} + {out_line}*1], tmm0",
            "tilestored [{out} + {out_line}*1 + 64], tmm1",
            "tilestored [{second} + {out_line}*1], tmm2",
            "tilestored [{second} + {out_line}*1 + 64], tmm3",
            a = inout(reg) $o.a => _,
            b = inout(reg) $o.b => _,
            next = inout(reg) $o.next => _,
            steps = inout(reg) $o.steps => _,
            line = in(reg) 64usize,
            b_line = in(reg) 64usize,
            out = in(reg) $o.out,
            second = in(reg) $o.out.wrapping_add(TILE_ROWS * $o.out_line),
            out_line = in(reg) $o.out_line,
            $($name = in(reg) $value,)*
            options(nostack)
        )
    };
}

/// Products of bf16 parts, summed in f32.
///
/// # Safety
/// The tiles are configured. A, B, what sums begin with and where they are stored are valid as
/// [`Operands`] says, for `parts` parts.
pub(crate) unsafe fn multiply_bf16(parts: usize, o: &Operands) {
    assert!(o.steps > 0 && (1..=3).contains(&parts));
    // SAFETY: the caller's; a prefetch may name any address.
    unsafe {
        if let Some((begin, begin_line)) = o.begin {
            assert!(parts == 1 && o.rows_past && o.cols_past);
            return kernel!(
                o,
                one,
                a_two,
                b_two,
                dot_two_two,
                fetch_eight,
                [
                    "2048",
                    "512",
                    sums,
                    begin = begin,
                    begin_second = begin.wrapping_byte_add(TILE_ROWS * begin_line),
                    begin_line = begin_line
                ]
            );
        }
        match parts {
            1 => by_shape!(kernel, o, one, fetch_eight, ["2048", "512", zeros]),
            2 => by_shape!(kernel, o, three, fetch_sixteen, ["4096", "1024", zeros]),
            _ => by_shape!(kernel, o, six, fetch_more, ["6144", "1536", zeros]),
        }
    }
}
