//! Register tiles of 32 by 32 in assembly: two tiles of A by two of B into four accumulators.
//!
//! Accumulators are tiles 0 to 3, A is in 4 and 5, B in 6 and 7. From one product to the next only
//! the part of A or that of B changes, so that six products take 14 loads and three take 8.

use std::arch::asm;

use super::Operands;

/// The parts that the two tiles of A or of B are loaded from, by offset.
macro_rules! a_two {
    ($first:literal, $second:literal) => {
        concat!(
            "tileloadd tmm4, [{a} + {line}*1 + ",
            $first,
            "]\n",
            "tileloadd tmm5, [{a} + {line}*1 + ",
            $second,
            "]\n"
        )
    };
}
macro_rules! a_one {
    ($first:literal, $second:literal) => {
        concat!("tileloadd tmm4, [{a} + {line}*1 + ", $first, "]\n")
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

/// The products of what is loaded, by the rows and columns of accumulators.
macro_rules! dot_two_two {
    ($dot:literal) => {
        concat!(
            $dot,
            " tmm0, tmm4, tmm6\n",
            $dot,
            " tmm1, tmm4, tmm7\n",
            $dot,
            " tmm2, tmm5, tmm6\n",
            $dot,
            " tmm3, tmm5, tmm7\n"
        )
    };
}
macro_rules! dot_two_one {
    ($dot:literal) => {
        concat!($dot, " tmm0, tmm4, tmm6\n", $dot, " tmm2, tmm5, tmm6\n")
    };
}
macro_rules! dot_one_two {
    ($dot:literal) => {
        concat!($dot, " tmm0, tmm4, tmm6\n", $dot, " tmm1, tmm4, tmm7\n")
    };
}
macro_rules! dot_one_one {
    ($dot:literal) => {
        concat!($dot, " tmm0, tmm4, tmm6\n")
    };
}

/// The products of one block of K. Parts are 2048 bytes apart, the smaller ones behind.
macro_rules! six {
    ($a:ident, $b:ident, $dot:ident) => {
        concat!(
            $a!("0", "1024"),
            $b!("4096", "5120"),
            $dot!("tdpbf16ps"),
            $b!("2048", "3072"),
            $dot!("tdpbf16ps"),
            $a!("2048", "3072"),
            $dot!("tdpbf16ps"),
            $b!("0", "1024"),
            $dot!("tdpbf16ps"),
            $a!("4096", "5120"),
            $dot!("tdpbf16ps"),
            $a!("0", "1024"),
            $dot!("tdpbf16ps")
        )
    };
}
macro_rules! three {
    ($a:ident, $b:ident, $dot:ident) => {
        concat!(
            $a!("2048", "3072"),
            $b!("0", "1024"),
            $dot!("tdpbf16ps"),
            $a!("0", "1024"),
            $dot!("tdpbf16ps"),
            $b!("2048", "3072"),
            $dot!("tdpbf16ps")
        )
    };
}
macro_rules! one {
    ($a:ident, $b:ident, $dot:ident) => {
        concat!($a!("0", "1024"), $b!("0", "1024"), $dot!("tdpbf16ps"))
    };
}

/// Fetches lines of what comes next of B: a quarter of what a step reads, since most often four
/// register tiles read the same panel.
macro_rules! fetch {
    ($($offset:literal)*) => { concat!($("prefetcht1 [{next} + ", $offset, "]\n"),*) };
}
macro_rules! fetch_eight {
    () => { fetch!("0" "64" "128" "192" "256" "320" "384" "448") };
}
macro_rules! fetch_sixteen {
    () => {
        concat!(fetch_eight!(), fetch!("512" "576" "640" "704" "768" "832" "896" "960"))
    };
}
macro_rules! fetch_more {
    () => {
        concat!(
            fetch_sixteen!(),
            fetch!("1024" "1088" "1152" "1216" "1280" "1344" "1408" "1472")
        )
    };
}

/// A kernel: a loop over the steps of K between zeroing and storing the accumulators.
macro_rules! kernel {
    ($o:ident, $products:ident, $a:ident, $b:ident, $dot:ident, $fetch:ident,
     [$b_line:literal, $step:literal, $ahead:literal]) => {
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
            b_line = in(reg) $b_line,
            two = in(reg) 128usize,
            out = in(reg) $o.out,
            options(nostack)
        )
    };
}

/// Runs the kernel for the rows and columns that there are.
macro_rules! by_shape {
    ($o:ident, $products:ident, $fetch:ident, $sizes:tt) => {
        match ($o.rows_past, $o.cols_past) {
            (true, true) => kernel!($o, $products, a_two, b_two, dot_two_two, $fetch, $sizes),
            (true, false) => kernel!($o, $products, a_two, b_one, dot_two_one, $fetch, $sizes),
            (false, true) => kernel!($o, $products, a_one, b_two, dot_one_two, $fetch, $sizes),
            (false, false) => kernel!($o, $products, a_one, b_one, dot_one_one, $fetch, $sizes),
        }
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
            1 => by_shape!(o, one, fetch_eight, [64usize, "2048", "512"]),
            2 => by_shape!(o, three, fetch_sixteen, [64usize, "4096", "1024"]),
            _ => by_shape!(o, six, fetch_more, [64usize, "6144", "1536"]),
        }
    }
}
