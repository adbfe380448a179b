//! Public test vectors (`tests/fixtures/vendor`) against the parsers that decide where a request goes.
//!
//! | module | vectors | what it shows |
//! |---|---|---|
//! | [`wpt`] | WPT URLs | a host that we take is the one a browser takes |
//! | [`idna`] | UTS #46 | A-label and U-label are one name, or refused |
//! | [`ssrf`] | PayloadsAllTheThings | nothing of the list is dialled, even where rules allow it |
//! | [`naughty`] | big list of naughty strings | one reading or none |
//! | [`llhttp`] | HTTP/1 requests and responses | what must be refused is; what is taken reads the same |
//! | [`addresses`] | EGRESS groups 12 to 17 | every range with its neighbours, every wrapping of IPv4 |
//! | [`wire`] | all of the above | the same strings at the doors of a running Airlock |
//!
//! [`readings`] holds the claim that all of them test: what is judged, resolved, put into SNI and
//! sent in Host is one string, whatever entry the text came by. Counts are asserted, so that neither
//! an empty file nor a parser that refuses everything can pass.

mod addresses;
mod idna;
mod llhttp;
mod naughty;
mod readings;
mod ssrf;
mod wire;
mod wpt;

use std::{fs, path::Path};

/// A file of `tests/fixtures/vendor`.
fn vendor(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/vendor")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
