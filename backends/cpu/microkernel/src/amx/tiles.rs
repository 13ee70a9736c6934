//! The configuration of this thread's tile registers, for as long as a task needs them.

use std::arch::asm;

/// Tile registers. They are released when this is dropped.
pub(crate) struct Tiles(());

/// Eight tiles of 16 rows of 64 bytes, as `ldtilecfg` reads it.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    line_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Eight tiles: four of sums and two of A, and two of B.
fn configuration(rows: u8) -> Configuration {
    Configuration {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        line_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
        rows: [
            rows, rows, rows, rows, rows, rows, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0,
        ],
    }
}

impl Tiles {
    /// Configures the tiles of this thread, all of full size.
    ///
    /// # Safety
    /// [`super::has_amx`] holds.
    pub(crate) unsafe fn configure() -> Self {
        // SAFETY: the caller's.
        unsafe { Self::of_rows(super::TILE_ROWS) }
    }

    /// Configures them with so many rows of A and of sums, at most sixteen.
    ///
    /// # Safety
    /// [`super::has_amx`] holds.
    pub(crate) unsafe fn of_rows(rows: usize) -> Self {
        assert!((1..=super::TILE_ROWS).contains(&rows));
        let configuration = configuration(rows as u8);
        // SAFETY: the configuration is valid for the palette that was checked.
        unsafe {
            asm!(
                "ldtilecfg [{}]",
                in(reg) &raw const configuration,
                options(readonly, nostack, preserves_flags)
            );
        }
        Self(())
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: there are tiles, or `configure` would not have been called.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }
}
