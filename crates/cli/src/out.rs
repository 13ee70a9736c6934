//! Data on stdout.

use std::fmt::Display;
use std::io::Write;

/// Writes a line. A reader that went away, such as `head`, ends the command in peace.
pub(crate) fn line(text: impl Display) {
    let mut stdout = std::io::stdout().lock();
    if writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .is_err()
    {
        std::process::exit(0);
    }
}

/// A plain table: no frame, columns apart.
pub(crate) fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.to_vec());
    table
}

/// Bytes in MB (10^6), for people.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
