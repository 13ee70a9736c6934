//! The configuration of this thread's tile registers, for as long as a task needs them.

use std::arch::asm;

/// Tile registers, all of full size. They are released when this is dropped.
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

static WHOLE: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    line_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

impl Tiles {
    /// Configures the tiles of this thread.
    ///
    /// # Safety
    /// [`super::has_amx`] holds.
    pub(crate) unsafe fn configure() -> Self {
        // SAFETY: the configuration is valid for the palette that was checked.
        unsafe {
            asm!(
                "ldtilecfg [{}]",
                in(reg) &raw const WHOLE,
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
