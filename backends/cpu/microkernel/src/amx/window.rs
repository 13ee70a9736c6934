//! Register tiles whose rows are read where they lie: taps of a window over lines of split pixels.
//!
//! As the kernel for copied rows, but that A comes in runs, one for each tap, and each of the two
//! tiles of A has its own start in each: rows of a tile are evenly apart, tiles are not.

use std::arch::asm;

use super::WindowOperands;

/// The tiles that a part of A is loaded from.
macro_rules! a_two {
    (0) => {
        tiles!(
            "tileloadd tmm4, [{a0} + {line}*1]",
            "tileloadd tmm5, [{a1} + {line}*1]"
        )
    };
    (1) => {
        tiles!(
            "tileloadd tmm4, [{a0} + {line}*1 + 64]",
            "tileloadd tmm5, [{a1} + {line}*1 + 64]"
        )
    };
    (2) => {
        tiles!(
            "tileloadd tmm4, [{a0} + {line}*1 + 128]",
            "tileloadd tmm5, [{a1} + {line}*1 + 128]"
        )
    };
}
macro_rules! a_one {
    (0) => {
        tiles!("tileloadd tmm4, [{a0} + {line}*1]")
    };
    (1) => {
        tiles!("tileloadd tmm4, [{a0} + {line}*1 + 64]")
    };
    (2) => {
        tiles!("tileloadd tmm4, [{a0} + {line}*1 + 128]")
    };
}

/// A loop over the steps of a run in one over the runs.
macro_rules! kernel {
    ($o:ident, $products:ident, $a:ident, $b:ident, $dot:ident, $fetch:ident,
     [$a_step:literal, $b_step:literal, $ahead:literal]) => {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "3:",
            "mov {a0}, [{runs}]",
            "mov {a1}, [{runs} + 8]",
            "mov {steps}, [{runs} + 16]",
            "2:",
            $fetch!(),

            $products!($a, $b, $dot),
            concat!("add {a0}, ", $a_step),
            concat!("add {a1}, ", $a_step),
            concat!("add {b}, ", $b_step),
            concat!("add {next}, ", $ahead),
            "dec {steps}",
            "jnz 2b",
            "add {runs}, 24",
            "dec {count}",
            "jnz 3b",
            "tilestored [{out} + {b_line}*2], tmm0",
            "tilestored [{out} + {b_line}*2 + 64], tmm1",
            "tilestored [{second} + {b_line}*2], tmm2",
            "tilestored [{second} + {b_line}*2 + 64], tmm3",
            a0 = out(reg) _,
            a1 = out(reg) _,
            steps = out(reg) _,
            b = inout(reg) $o.b => _,
            next = inout(reg) $o.next => _,
            runs = inout(reg) $o.runs.as_ptr() => _,
            count = inout(reg) $o.runs.len() => _,
            line = in(reg) $o.line,
            b_line = in(reg) 64usize,
            out = in(reg) $o.out,
            second = in(reg) $o.out.wrapping_add($o.rows * 128),
            options(nostack)
        )
    };
}

/// Products of bf16 parts, summed in f32.
///
/// # Safety
/// The tiles are configured for `rows` rows. A, B and the sums are valid as [`WindowOperands`]
/// says, for `parts` parts.
pub(crate) unsafe fn multiply(parts: usize, o: &WindowOperands<'_>) {
    let has_steps = o.runs.iter().all(|run| run.steps > 0);
    assert!(has_steps && !o.runs.is_empty() && (1..=3).contains(&parts));
    // SAFETY: the caller's; a prefetch may name any address.
    unsafe {
        match parts {
            1 => by_shape!(kernel, o, one, fetch_eight, ["64", "2048", "512"]),
            2 => by_shape!(kernel, o, three, fetch_sixteen, ["128", "4096", "1024"]),
            _ => by_shape!(kernel, o, six, fetch_more, ["192", "6144", "1536"]),
        }
    }
}
