//! Advanced Matrix Extensions: what this machine has, its tiles, the register tile of a product.
//!
//! Rust knows no such instructions yet: the kernels are assembly, one block for each. A task
//! configures the tiles when it begins and releases them when it ends ([`Tiles`]), so that no
//! thread is left with tile state: any pool will do, and a thread that waits costs the system
//! nothing more than one that never touched a tile.
//!
//! [`emulate`] says what the instructions mean in plain Rust. A family without them runs it, which
//! is slow: it is for tests, and no plan chooses it.

#[cfg(target_arch = "x86_64")]
#[macro_use]
mod spaced;
pub(crate) mod bytes;
mod detect;
pub(crate) mod emulate;
#[cfg(target_arch = "x86_64")]
#[macro_use]
mod parts;
#[cfg(target_arch = "x86_64")]
pub(crate) mod kernel;
#[cfg(target_arch = "x86_64")]
pub(crate) mod rider;
#[cfg(target_arch = "x86_64")]
mod tiles;
#[cfg(target_arch = "x86_64")]
pub(crate) mod window;

pub(crate) use detect::has_amx;
#[cfg(target_arch = "x86_64")]
pub(crate) use tiles::Tiles;

/// Rows of one tile register; with four accumulators a register tile has twice as many.
pub(crate) const TILE_ROWS: usize = 16;
/// Bytes of a row of a tile register.
pub(crate) const TILE_LINE: usize = 64;
/// Bytes of a tile register.
pub(crate) const TILE_BYTES: usize = TILE_ROWS * TILE_LINE;
/// Rows and columns of a register tile.
pub(crate) const SIDE: usize = 2 * TILE_ROWS;

/// What a register tile of bf16 multiplies. A is `[step][part][2][16][64 bytes]`, the second
/// sixteen rows unread where there are none.
#[derive(Clone, Copy)]
pub(crate) struct Operands {
    pub(crate) a: *const u8,
    /// Packed B, `[step][part][2][16][64 bytes]`.
    pub(crate) b: *const u8,
    /// Blocks along K; at least 1.
    pub(crate) steps: usize,
    /// Whether there are more than sixteen rows, and columns.
    pub(crate) rows_past: bool,
    pub(crate) cols_past: bool,
    /// What the next register tile reads of B, to be fetched meanwhile.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "a hint to the tiles")
    )]
    pub(crate) next: *const u8,
    /// Where sums are stored, and the bytes between rows of 32 words.
    pub(crate) out: *mut u8,
    pub(crate) out_line: usize,
    /// What sums begin with, and the bytes between its rows: 0 for the same row each time. Only
    /// for one part and 32 rows and columns.
    pub(crate) begin: Option<(*const f32, usize)>,
}

/// Steps that follow one another in memory: where they begin for the rows of each of two tiles.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Run {
    pub(crate) starts: [*const u8; 2],
    pub(crate) steps: usize,
}

impl Run {
    pub(crate) const NONE: Self = Self {
        starts: [std::ptr::null(); 2],
        steps: 0,
    };

    /// The only one of packed rows.
    pub(crate) fn packed(a: *const u8, steps: usize) -> Self {
        Self {
            starts: [a, a.wrapping_add(TILE_BYTES)],
            steps,
        }
    }
}

/// What a register tile of a window multiplies. A step of a row of A is `[part][64 bytes]`, and the
/// next step of its run is behind it.
#[derive(Clone, Copy)]
pub(crate) struct WindowOperands<'r> {
    pub(crate) runs: &'r [Run],
    /// Rows of a tile, at most sixteen, and bytes from one to the next.
    pub(crate) rows: usize,
    pub(crate) line: usize,
    /// As of [`Operands`].
    pub(crate) b: *const u8,
    /// Whether there is a second tile of rows, and of columns.
    pub(crate) rows_past: bool,
    pub(crate) cols_past: bool,
    /// As of [`Operands`].
    pub(crate) next: *const u8,
    /// Sums, `[row][32]` words, the second tile's rows behind the first's.
    pub(crate) out: *mut u8,
}
