//! Scalars of the configuration: durations, sizes, listen addresses.

use std::{net::SocketAddr, time::Duration};

use super::{
    error::Errors,
    reader::{Field, Section},
    tree::Value,
};

/// `500ms`, `10s`, `5m`, `1h`: whole numbers with a unit.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// `64MiB`, `64KiB`, `1GiB`, `512B`: whole numbers with a binary unit.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let bytes = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

impl Section {
    /// Sets `target` where the key is given and good.
    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        target: &mut Duration,
        (low, high): (Duration, Duration),
        errors: &mut Errors,
    ) {
        let Some(field) = self.take(key) else { return };
        let parsed = match &field.value {
            Value::Text(text) => parse_duration(text),
            _ => None,
        };
        match parsed {
            Some(d) if (low..=high).contains(&d) => *target = d,
            Some(_) => field.error(
                errors,
                format!("is not in range: write {low:?} to {high:?}"),
            ),
            None => field.error(
                errors,
                "is no duration: write a number with a unit, as in 500ms, 10s or 5m",
            ),
        }
    }

    pub(crate) fn size(
        &mut self,
        key: &'static str,
        target: &mut u64,
        (low, high): (u64, u64),
        errors: &mut Errors,
    ) {
        let Some(field) = self.take(key) else { return };
        let parsed = match &field.value {
            Value::Text(text) => parse_size(text),
            Value::Integer(bytes) => u64::try_from(*bytes).ok(),
            _ => None,
        };
        match parsed {
            Some(n) if (low..=high).contains(&n) => *target = n,
            Some(_) => {
                let message = format!("is not in range: write {} to {}", show(low), show(high));
                field.error(errors, message);
            }
            None => field.error(
                errors,
                "is no size: write a number with a unit, as in 64KiB or 64MiB",
            ),
        }
    }

    pub(crate) fn integer(
        &mut self,
        key: &'static str,
        target: &mut u64,
        (low, high): (u64, u64),
        errors: &mut Errors,
    ) {
        if let Some(n) = self.take(key).and_then(|f| f.integer(errors, low, high)) {
            *target = n;
        }
    }

    pub(crate) fn boolean(&mut self, key: &'static str, target: &mut bool, errors: &mut Errors) {
        if let Some(on) = self.take(key).and_then(|f| f.boolean(errors)) {
            *target = on;
        }
    }
}

fn show(bytes: u64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes}B")
}

/// `127.0.0.1:3128`.
pub(crate) fn listen_address(field: Field, errors: &mut Errors) -> Option<SocketAddr> {
    const WHAT: &str = "an address with a port, such as 127.0.0.1:3128, or off";
    if let Value::Integer(port) = field.value {
        let message = format!("is a port alone: write the address too, as in 127.0.0.1:{port}");
        field.error(errors, message);
        return None;
    }
    field.parse(errors, WHAT, |text| {
        text.parse()
            .map_err(|_| format!("{text:?} is no listen address: write {WHAT}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        for (text, want) in [
            ("500ms", Some(500)),
            ("10s", Some(10_000)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("10", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("99999999999999999999s", None),
            ("9999999999999999999h", None),
        ] {
            assert_eq!(
                parse_duration(text),
                want.map(Duration::from_millis),
                "{text}"
            );
        }
        for (text, want) in [
            ("64MiB", Some(64 << 20)),
            ("64 KiB", Some(64 << 10)),
            ("1GiB", Some(1 << 30)),
            ("7B", Some(7)),
            ("64MB", None),
            ("64", None),
            ("MiB", None),
        ] {
            assert_eq!(parse_size(text), want, "{text}");
        }
        assert_eq!(show(64 << 20), "64MiB");
        assert_eq!(show(1000), "1000B");
    }
}
