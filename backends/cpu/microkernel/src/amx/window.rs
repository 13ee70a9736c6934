//! Register tiles whose rows are read where they lie: taps of a window over lines of split pixels.
//!
//! As the kernel for copied rows, but that A comes in runs, one for each tap, and each of the two
//! tiles of A has its own start in each: rows of a tile are evenly apart, tiles are not.

use std::arch::asm;

use super::WindowOperands;

/// The tiles of A from a part, by offset.
macro_rules! a_two {
    ($part:literal) => {
        concat!(
            "tileloadd tmm4, [{a0} + {line}*1 + ",
            $part,
            "]\n",
            "tileloadd tmm5, [{a1} + {line}*1 + ",
            $part,
            "]\n"
        )
    };
}
macro_rules! a_one {
    ($part:literal) => {
        concat!("tileloadd tmm4, [{a0} + {line}*1 + ", $part, "]\n")
    };
}
macro_rules! b_two {
    ($first:literal, $second:literal) => {
        concat!(
            "tileloadd tmm6, [{b} + {b_line}*1 + ",
            $first,
            "]\n",
            "tileloadd tmm7, [{b} + {b_line}*1 + ",
            $second,
            "]\n"
        )
    };
}
macro_rules! b_one {
    ($first:literal, $second:literal) => {
        concat!("tileloadd tmm6, [{b} + {b_line}*1 + ", $first, "]\n")
    };
}
macro_rules! dot_two_two {
    () => {
        "tdpbf16ps tmm0, tmm4, tmm6
         tdpbf16ps tmm1, tmm4, tmm7
         tdpbf16ps tmm2, tmm5, tmm6
         tdpbf16ps tmm3, tmm5, tmm7\n"
    };
}
macro_rules! dot_two_one {
    () => {
        "tdpbf16ps tmm0, tmm4, tmm6
         tdpbf16ps tmm2, tmm5, tmm6\n"
    };
}
macro_rules! dot_one_two {
    () => {
        "tdpbf16ps tmm0, tmm4, tmm6
         tdpbf16ps tmm1, tmm4, tmm7\n"
    };
}
macro_rules! dot_one_one {
    () => {
        "tdpbf16ps tmm0, tmm4, tmm6\n"
    };
}

/// The products of one step, in the order of the other kernel: sums are the same bits.
macro_rules! six {
    ($a:ident, $b:ident, $dot:ident) => {
        concat!(
            $a!("0"),
            $b!("4096", "5120"),
            $dot!(),
            $b!("2048", "3072"),
            $dot!(),
            $a!("64"),
            $dot!(),
            $b!("0", "1024"),
            $dot!(),
            $a!("128"),
            $dot!(),
            $a!("0"),
            $dot!()
        )
    };
}
macro_rules! three {
    ($a:ident, $b:ident, $dot:ident) => {
        concat!(
            $a!("64"),
            $b!("0", "1024"),
            $dot!(),
            $a!("0"),
            $dot!(),
            $b!("2048", "3072"),
            $dot!()
        )
    };
}
macro_rules! one {
    ($a:ident, $b:ident, $dot:ident) => {
        concat!($a!("0"), $b!("0", "1024"), $dot!())
    };
}

macro_rules! fetch_eight {
    () => {
        "prefetcht1 [{next}]
         prefetcht1 [{next} + 64]
         prefetcht1 [{next} + 128]
         prefetcht1 [{next} + 192]
         prefetcht1 [{next} + 256]
         prefetcht1 [{next} + 320]
         prefetcht1 [{next} + 384]
         prefetcht1 [{next} + 448]\n"
    };
}

/// A loop over the steps of a run in one over the runs.
macro_rules! kernel {
    ($o:ident, $products:ident, $a:ident, $b:ident, $dot:ident,
     [$a_step:literal, $b_step:literal]) => {
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
            fetch_eight!(),

            $products!($a, $b, $dot),
            concat!("add {a0}, ", $a_step),
            concat!("add {a1}, ", $a_step),
            concat!("add {b}, ", $b_step),
            "add {next}, 512",
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

macro_rules! by_shape {
    ($o:ident, $products:ident, $sizes:tt) => {
        match ($o.rows_past, $o.cols_past) {
            (true, true) => kernel!($o, $products, a_two, b_two, dot_two_two, $sizes),
            (true, false) => kernel!($o, $products, a_two, b_one, dot_two_one, $sizes),
            (false, true) => kernel!($o, $products, a_one, b_two, dot_one_two, $sizes),
            (false, false) => kernel!($o, $products, a_one, b_one, dot_one_one, $sizes),
        }
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
            1 => by_shape!(o, one, ["64", "2048"]),
            2 => by_shape!(o, three, ["128", "4096"]),
            _ => by_shape!(o, six, ["192", "6144"]),
        }
    }
}
