//! The register tile of bytes, in assembly and in plain Rust: 32 by 32 sums, 64 of K at a time.
//!
//! Accumulators are tiles 0 to 3, A is in 4 and 5, B in 6 and 7. They begin with what is in memory
//! (one row for all, if rows are 0 bytes apart), so that what columns add to sums costs nothing.

use super::{SIDE, TILE_LINE, TILE_ROWS};

/// What a register tile multiplies. A is `[step][2][16][64 bytes]`, the second sixteen rows unread
/// where there are none; B is `[step][16][2][64 bytes]`.
#[derive(Clone, Copy)]
pub(crate) struct ByteOperands {
    pub(crate) a: *const u8,
    pub(crate) b: *const u8,
    /// Blocks along K; at least 1.
    pub(crate) steps: usize,
    /// Groups of four of K in them that are not zeros: vectors need not multiply the others.
    pub(crate) groups: usize,
    /// How many there are, at least 1 and at most 32 of each.
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// What the next register tile reads of B, to be fetched meanwhile, and by how many register
    /// tiles.
    pub(crate) next: *const u8,
    pub(crate) shares: usize,
    /// What sums begin with, `[32][32]` words, and the bytes between its rows.
    pub(crate) begin: *const i32,
    pub(crate) begin_apart: usize,
    /// Sums, `[32][32]` words, and the bytes between their rows; those past the rows and columns
    /// that there are hold anything.
    pub(crate) out: *mut i32,
    pub(crate) out_apart: usize,
}

/// Fetches lines of what comes next of B.
#[cfg(target_arch = "x86_64")]
macro_rules! fetch {
    ($($offset:literal)*) => { concat!($("prefetcht1 [{next} + ", $offset, "]\n"),*) };
}
#[cfg(target_arch = "x86_64")]
macro_rules! fetch_eight {
    () => {
        fetch!("0" "64" "128" "192" "256" "320" "384" "448")
    };
}
#[cfg(target_arch = "x86_64")]
macro_rules! fetch_sixteen {
    () => {
        concat!(fetch_eight!(), fetch!("512" "576" "640" "704" "768" "832" "896" "960"))
    };
}
#[cfg(target_arch = "x86_64")]
macro_rules! fetch_all {
    () => {
        concat!(
            fetch_sixteen!(),
            fetch!("1024" "1088" "1152" "1216" "1280" "1344" "1408" "1472"),
            fetch!("1536" "1600" "1664" "1728" "1792" "1856" "1920" "1984")
        )
    };
}

/// The loads and products of a step, and the accumulators of a shape.
#[cfg(target_arch = "x86_64")]
macro_rules! two_two {
    (begin) => {
        tiles!(
            "tileloadd tmm0, [{begin} + {begin_apart}*1]",
            "tileloadd tmm1, [{begin} + {begin_apart}*1 + 64]",
            "tileloadd tmm2, [{begin_low} + {begin_apart}*1]",
            "tileloadd tmm3, [{begin_low} + {begin_apart}*1 + 64]"
        )
    };
    (step) => {
        tiles!(
            "tileloadd tmm4, [{a} + {line}*1]",
            "tileloadd tmm6, [{b} + {line}*2]",
            "tileloadd tmm7, [{b} + {line}*2 + 64]",
            "tileloadd tmm5, [{a} + {line}*1 + 1024]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tdpbusd tmm1, tmm4, tmm7",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7"
        )
    };
    (end) => {
        "tilestored [{out} + {out_apart}*1], tmm0
         tilestored [{out} + {out_apart}*1 + 64], tmm1
         tilestored [{out_low} + {out_apart}*1], tmm2
         tilestored [{out_low} + {out_apart}*1 + 64], tmm3"
    };
}
#[cfg(target_arch = "x86_64")]
macro_rules! two_one {
    (begin) => {
        tiles!(
            "tileloadd tmm0, [{begin} + {begin_apart}*1]",
            "tileloadd tmm2, [{begin_low} + {begin_apart}*1]"
        )
    };
    (step) => {
        tiles!(
            "tileloadd tmm4, [{a} + {line}*1]",
            "tileloadd tmm6, [{b} + {line}*2]",
            "tileloadd tmm5, [{a} + {line}*1 + 1024]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tdpbusd tmm2, tmm5, tmm6"
        )
    };
    (end) => {
        "tilestored [{out} + {out_apart}*1], tmm0
         tilestored [{out_low} + {out_apart}*1], tmm2"
    };
}
#[cfg(target_arch = "x86_64")]
macro_rules! one_two {
    (begin) => {
        concat!(
            tiles!(
                "tileloadd tmm0, [{begin} + {begin_apart}*1]",
                "tileloadd tmm1, [{begin} + {begin_apart}*1 + 64]"
            ),
            "/* {begin_low} */"
        )
    };
    (step) => {
        tiles!(
            "tileloadd tmm4, [{a} + {line}*1]",
            "tileloadd tmm6, [{b} + {line}*2]",
            "tileloadd tmm7, [{b} + {line}*2 + 64]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tdpbusd tmm1, tmm4, tmm7"
        )
    };
    (end) => {
        "tilestored [{out} + {out_apart}*1], tmm0
         tilestored [{out} + {out_apart}*1 + 64], tmm1
         /* {out_low} */"
    };
}
#[cfg(target_arch = "x86_64")]
macro_rules! one_one {
    (begin) => {
        concat!(
            tiles!("tileloadd tmm0, [{begin} + {begin_apart}*1]"),
            "/* {begin_low} */"
        )
    };
    (step) => {
        tiles!(
            "tileloadd tmm4, [{a} + {line}*1]",
            "tileloadd tmm6, [{b} + {line}*2]",
            "tdpbusd tmm0, tmm4, tmm6"
        )
    };
    (end) => {
        "tilestored [{out} + {out_apart}*1], tmm0
         /* {out_low} */"
    };
}

/// A kernel: a loop over the steps of K between loading and storing the accumulators.
#[cfg(target_arch = "x86_64")]
macro_rules! kernel {
    ($o:ident, $shape:ident, $fetch:ident, $ahead:literal) => {
        std::arch::asm!(
            $shape!(begin),
            "2:",
            $fetch!(),
            $shape!(step),
            "add {a}, 2048",
            "add {b}, 2048",
            concat!("add {next}, ", $ahead),
            "dec {steps}",
            "jnz 2b",
            $shape!(end),
            a = inout(reg) $o.a => _,
            b = inout(reg) $o.b => _,
            next = inout(reg) $o.next => _,
            steps = inout(reg) $o.steps => _,
            line = in(reg) 64usize,
            begin = in(reg) $o.begin,
            begin_low = in(reg) $o.begin.cast::<u8>().wrapping_add(TILE_ROWS * $o.begin_apart),
            begin_apart = in(reg) $o.begin_apart,
            out = in(reg) $o.out,
            out_low = in(reg) $o.out.cast::<u8>().wrapping_add(TILE_ROWS * $o.out_apart),
            out_apart = in(reg) $o.out_apart,
            options(nostack)
        )
    };
}

/// Runs the kernel for the rows and columns that there are.
#[cfg(target_arch = "x86_64")]
macro_rules! by_shape {
    ($o:ident, $fetch:ident, $ahead:literal) => {
        match ($o.rows > TILE_ROWS, $o.cols > TILE_ROWS) {
            (true, true) => kernel!($o, two_two, $fetch, $ahead),
            (true, false) => kernel!($o, two_one, $fetch, $ahead),
            (false, true) => kernel!($o, one_two, $fetch, $ahead),
            (false, false) => kernel!($o, one_one, $fetch, $ahead),
        }
    };
}

/// Products of unsigned bytes with signed ones, summed in i32.
///
/// # Safety
/// The tiles are configured. A, B, what sums begin with and the sums are valid as [`ByteOperands`]
/// says.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn multiply(o: &ByteOperands) {
    assert!(o.steps > 0);
    // SAFETY: the caller's; a prefetch may name any address.
    unsafe {
        match o.shares {
            0 | 1 => by_shape!(o, fetch_all, "2048"),
            2 | 3 => by_shape!(o, fetch_sixteen, "1024"),
            _ => by_shape!(o, fetch_eight, "512"),
        }
    }
}

/// As [`multiply`], in plain Rust.
///
/// # Safety
/// As [`multiply`], without tiles.
pub(crate) unsafe fn emulate(o: &ByteOperands) {
    for m in 0..SIDE {
        for n in 0..SIDE {
            let (tile_m, tile_n) = (m / TILE_ROWS, n / TILE_ROWS);
            if tile_m * TILE_ROWS >= o.rows || tile_n * TILE_ROWS >= o.cols {
                continue;
            }
            // SAFETY: the caller's.
            let mut sum = unsafe {
                let row = o.begin.cast::<u8>().wrapping_add(m * o.begin_apart);
                row.cast::<i32>().add(n).read()
            };
            for step in 0..o.steps {
                let a = (step * 2 + tile_m) * TILE_ROWS * TILE_LINE + m % TILE_ROWS * TILE_LINE;
                let b = step * 2 * TILE_ROWS * TILE_LINE + n * 4;
                for k in 0..TILE_LINE {
                    // SAFETY: the caller's.
                    let (x, y) = unsafe {
                        let x = o.a.add(a + k).read();
                        (x, o.b.add(b + k / 4 * 2 * TILE_LINE + k % 4).read() as i8)
                    };
                    sum = sum.wrapping_add(i32::from(x) * i32::from(y));
                }
            }
            // SAFETY: the caller's.
            unsafe {
                let row = o.out.cast::<u8>().wrapping_add(m * o.out_apart);
                row.cast::<i32>().add(n).write(sum);
            }
        }
    }
}
