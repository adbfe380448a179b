//! Numbers and times as a person reads them.

use time::{OffsetDateTime, macros::format_description};

use crate::token::UnixTime;

/// `1.2 MB`: decimal, as download pages count.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1000.0;
    let mut unit = 0;
    // 999.95 would be shown as 1000.0.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS.get(unit).copied().unwrap_or("EB"))
}

/// `12 345`, with thin spaces that do not break.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// `1 request`, `2 requests`.
pub fn of(n: u64, one: &str, many: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{} {many}", count(n)),
    }
}

/// `2026-11-21 06:40:00 UTC`
pub fn moment(at: UnixTime) -> String {
    let shape = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    written(at, shape)
}

/// `06:40:00`, where the day is said elsewhere.
pub fn clock(at: UnixTime) -> String {
    written(at, format_description!("[hour]:[minute]:[second]"))
}

/// For `<time datetime>`.
pub fn machine(at: UnixTime) -> String {
    let shape = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    written(at, shape)
}

fn written(at: UnixTime, shape: &[time::format_description::BorrowedFormatItem<'_>]) -> String {
    i64::try_from(at.0)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|at| at.format(shape).ok())
        .unwrap_or_else(|| "some time".to_owned())
}
