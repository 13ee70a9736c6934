//! Register tiles of 32 by 32 in assembly: two tiles of A by two of B into four accumulators.

use std::arch::asm;

use super::Operands;

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

/// A kernel: a loop over the steps of K between zeroing and storing the accumulators.
macro_rules! kernel {
    ($o:ident, $products:ident, $a:ident, $b:ident, $dot:ident, $fetch:ident,
     [$step:literal, $ahead:literal]) => {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
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
