//! Tables on a terminal, plain columns elsewhere.

use std::io::IsTerminal;

use comfy_table::{Table, presets};

/// An empty table with a header, styled for where it is printed.
pub fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    let preset = if std::io::stdout().is_terminal() {
        presets::UTF8_HORIZONTAL_ONLY
    } else {
        presets::NOTHING
    };
    table.load_style(preset).set_header(header);
    table
}

/// Colours only where a person looks.
pub fn colour() -> bool {
    std::io::stdout().is_terminal()
}
