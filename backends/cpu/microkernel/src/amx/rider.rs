//! Register tiles between whose instructions another tile is finished: its sums, which lie in
//! memory, get their bias and residual, are clipped and stored as bf16.
//!
//! Tile instructions want room between them (see `spaced`), and a tile that is finished only
//! after its products makes the next one wait. So it rides along with the next one: eight rows in
//! each step, until they are done. What is computed is what `gemm::narrow` computes. For one
//! product of parts only, of which a tile takes few steps; and f32 is not stored so: twice as many
//! stores between loads of tiles hold those up, and nothing was gained.

use std::arch::asm;

use super::{Run, TILE_BYTES, TILE_LINE, WindowOperands};

/// Rows of a rider that a step of products finishes.
pub(crate) const ROWS: usize = 8;
/// Columns of a register tile.
const COLS: usize = 32;

/// Sums of a register tile of 32 columns, `[row][32]`, that are to be finished and stored.
pub(crate) struct Rider {
    pub(crate) sums: *const f32,
    /// C and the residual at the first column, and the offset of each row in both.
    pub(crate) c: *mut u16,
    pub(crate) residual: Residual,
    pub(crate) offsets: *const isize,
    pub(crate) rows: usize,
    /// One for each column.
    pub(crate) bias: *const f32,
    pub(crate) low: f32,
    pub(crate) high: f32,
}

/// A residual, by how it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Residual {
    None,
    F32(*const f32),
    Bf16(*const u16),
}

/// What the assembly reads and counts down.
#[repr(C)]
struct Context {
    runs: *const Run,
    count: usize,
    left: usize,
    a_step: usize,
    out: *mut u8,
    second: *mut u8,
    bias: *const f32,
    limits: [f32; 2],
}

/// Finishes and stores a row of the rider: 32 columns in two registers. The numbers are where it is
/// among its sums and among the offsets of rows.
macro_rules! row {
    ($sums:literal, $row:literal, $plus:ident) => {
        concat!(
            "mov {t}, [{rows} + ",
            $row,
            "]\n",
            "vaddps zmm0, zmm2, [{sums} + ",
            $sums,
            "]\n",
            "vaddps zmm1, zmm3, [{sums} + ",
            $sums,
            " + 64]\n",
            $plus!(),
            "vmaxps zmm0, zmm4, zmm0\n",
            "vmaxps zmm1, zmm4, zmm1\n",
            "vminps zmm0, zmm5, zmm0\n",
            "vminps zmm1, zmm5, zmm1\n",
            "vcvtne2ps2bf16 zmm0, zmm1, zmm0\n",
            "vmovdqu16 [{c} + {t}*2], zmm0\n"
        )
    };
}
macro_rules! plus_nothing {
    () => {
        ""
    };
}
macro_rules! plus_f32 {
    () => {
        "vaddps zmm0, zmm0, [{r} + {t}*4]\nvaddps zmm1, zmm1, [{r} + {t}*4 + 64]\n"
    };
}
macro_rules! plus_bf16 {
    () => {
        concat!(
            "vpmovzxwd zmm6, [{r} + {t}*2]\n",
            "vpmovzxwd zmm7, [{r} + {t}*2 + 32]\n",
            "vpslld zmm6, zmm6, 16\n",
            "vpslld zmm7, zmm7, 16\n",
            "vaddps zmm0, zmm0, zmm6\n",
            "vaddps zmm1, zmm1, zmm7\n"
        )
    };
}

/// The tiles that A is loaded from.
macro_rules! a_two {
    (0) => {
        tiles!(
            "tileloadd tmm4, [{a0} + {line}*1]",
            "tileloadd tmm5, [{a1} + {line}*1]"
        )
    };
}

/// The products of one step, with a row of the rider behind each instruction.
macro_rules! riding {
    ($plus:ident) => {
        concat!(
            "tileloadd tmm4, [{a0} + {line}*1]\n",
            row!("0", "0", $plus),
            "tileloadd tmm5, [{a1} + {line}*1]\n",
            row!("128", "8", $plus),
            "tileloadd tmm6, [{b} + {b_line}*1]\n",
            row!("256", "16", $plus),
            "tileloadd tmm7, [{b} + {b_line}*1 + 1024]\n",
            row!("384", "24", $plus),
            "tdpbf16ps tmm0, tmm4, tmm6\n",
            row!("512", "32", $plus),
            "tdpbf16ps tmm1, tmm4, tmm7\n",
            row!("640", "40", $plus),
            "tdpbf16ps tmm2, tmm5, tmm6\n",
            row!("768", "48", $plus),
            "tdpbf16ps tmm3, tmm5, tmm7\n",
            row!("896", "56", $plus)
        )
    };
}

/// Steps with rows of the rider, until those are done, then steps without.
macro_rules! kernel {
    ($o:ident, $context:ident, $rider:ident, $plus:ident, $residual:expr) => {
        asm!(
            "/* a residual, if there is one: {r} */",
            "mov {t}, [{context} + 48]",
            "vmovups zmm2, [{t}]",
            "vmovups zmm3, [{t} + 64]",
            "vbroadcastss zmm4, [{context} + 56]",
            "vbroadcastss zmm5, [{context} + 60]",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            // The next run, with rows of the rider and without.
            "3:",
            "mov {t}, [{context}]",
            "mov {a0}, [{t}]",
            "mov {a1}, [{t} + 8]",
            "mov {steps}, [{t} + 16]",
            "2:",
            fetch_eight!(),
            riding!($plus),
            "add {a0}, [{context} + 24]",
            "add {a1}, [{context} + 24]",
            "add {b}, 2048",
            "add {next}, 512",
            "add {sums}, 1024",
            "add {rows}, 64",
            "dec qword ptr [{context} + 16]",
            "jz 6f",
            "dec {steps}",
            "jnz 2b",
            "add qword ptr [{context}], 24",
            "dec qword ptr [{context} + 8]",
            "jnz 3b",
            "jmp 9f",
            "4:",
            "mov {t}, [{context}]",
            "mov {a0}, [{t}]",
            "mov {a1}, [{t} + 8]",
            "mov {steps}, [{t} + 16]",
            "5:",
            fetch_eight!(),
            one!(a_two, b_two, dot_two_two),
            "add {a0}, [{context} + 24]",
            "add {a1}, [{context} + 24]",
            "add {b}, 2048",
            "add {next}, 512",
            "6:",
            "dec {steps}",
            "jnz 5b",
            "add qword ptr [{context}], 24",
            "dec qword ptr [{context} + 8]",
            "jnz 4b",
            "9:",
            "mov {t}, [{context} + 32]",
            "tilestored [{t} + {b_line}*2], tmm0",
            "tilestored [{t} + {b_line}*2 + 64], tmm1",
            "mov {t}, [{context} + 40]",
            "tilestored [{t} + {b_line}*2], tmm2",
            "tilestored [{t} + {b_line}*2 + 64], tmm3",
            a0 = out(reg) _,
            a1 = out(reg) _,
            steps = out(reg) _,
            t = out(reg) _,
            b = inout(reg) $o.b => _,
            next = inout(reg) $o.next => _,
            sums = inout(reg) $rider.sums => _,
            rows = inout(reg) $rider.offsets => _,
            c = in(reg) $rider.c,
            r = in(reg) $residual,
            line = in(reg) $o.line,
            b_line = in(reg) 64usize,
            context = in(reg) &raw mut $context,
            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _,
            out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
            options(nostack)
        )
    };
}

/// Products of bf16, summed in f32, of a whole register tile, while the first rows of another are
/// finished: how many is returned.
///
/// # Safety
/// As [`super::window::multiply`] for one part, A being packed or not; the rider's pointers are
/// valid, and its sums are not those that are written.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(crate) unsafe fn multiply(is_packed: bool, o: &WindowOperands<'_>, rider: &Rider) -> usize {
    let steps: usize = o.runs.iter().map(|run| run.steps).sum();
    let has_steps = o.runs.iter().all(|run| run.steps > 0);
    assert!(has_steps && !o.runs.is_empty() && o.rows_past && o.cols_past);
    let left = (rider.rows / ROWS).min(steps);
    assert!(left > 0, "no row rides along");
    let mut context = Context {
        runs: o.runs.as_ptr(),
        count: o.runs.len(),
        left,
        a_step: if is_packed { 2 * TILE_BYTES } else { TILE_LINE },
        out: o.out,
        second: o.out.wrapping_add(o.rows * COLS * 4),
        bias: rider.bias,
        limits: [rider.low, rider.high],
    };
    // SAFETY: the caller's; a prefetch may name any address.
    unsafe {
        match rider.residual {
            Residual::None => kernel!(o, context, rider, plus_nothing, rider.sums),
            Residual::F32(residual) => kernel!(o, context, rider, plus_f32, residual),
            Residual::Bf16(residual) => kernel!(o, context, rider, plus_bf16, residual),
        }
    }
    left * ROWS
}
