//! `limits.rates` and `front_door.breaker`: how much one caller may ask, and when ComfyUI is left alone.

use std::{fmt, time::Duration};

use super::{
    error::Errors,
    reader::{Field, Section},
    sections::count,
};

/// So many per so long, evenly; what was saved up comes at once, at most a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub requests: u32,
    /// A second, a minute or an hour.
    pub per: Duration,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            1 => "s",
            60 => "m",
            _ => "h",
        };
        write!(f, "{}/{unit}", self.requests)
    }
}

/// What one caller may do in one lane. `None` is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub rate: Option<Rate>,
    /// At once, after a while without any.
    pub burst: u32,
    pub concurrent: Option<u32>,
}

impl Quota {
    pub const OFF: Self = Self {
        rate: None,
        burst: 0,
        concurrent: None,
    };

    pub fn is_off(&self) -> bool {
        self.rate.is_none() && self.concurrent.is_none()
    }

    const fn of(requests: u32, seconds: u64, burst: u32, concurrent: u32) -> Self {
        Self {
            rate: Some(Rate {
                requests,
                per: Duration::from_secs(seconds),
            }),
            burst,
            concurrent: Some(concurrent),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneQuotas {
    pub front_door: Quota,
    pub llm: Quota,
    pub answers: Quota,
}

/// `None` is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatesConfig {
    /// Each signed session and each API key.
    pub session: Option<LaneQuotas>,
    /// Each address of another machine.
    pub address: Option<LaneQuotas>,
    /// All of this machine together.
    pub this_machine: Option<LaneQuotas>,
    /// Of each group, so many are remembered.
    pub callers: usize,
}

/// ComfyUI's page asks for about a hundred files at once when it is opened, and for one more per picture.
const SESSION: LaneQuotas = LaneQuotas {
    front_door: Quota::of(200, 1, 4000, 256),
    llm: Quota::of(120, 60, 60, 16),
    answers: Quota::of(100, 1, 1000, 128),
};
/// A studio behind one address.
const ADDRESS: LaneQuotas = LaneQuotas {
    front_door: Quota::of(2000, 1, 20_000, 2048),
    llm: Quota::of(1200, 60, 600, 128),
    answers: Quota::of(1000, 1, 5000, 1024),
};

impl Default for RatesConfig {
    fn default() -> Self {
        Self {
            session: Some(SESSION),
            address: Some(ADDRESS),
            this_machine: None,
            callers: 10_000,
        }
    }
}

/// When ComfyUI is left alone, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Connections in a row that could not be made.
    pub failures: u32,
    /// Until one request tries again.
    pub open_for: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failures: 5,
            open_for: Duration::from_secs(2),
        }
    }
}

pub(super) fn rates(field: Field, errors: &mut Errors) -> RatesConfig {
    let mut out = RatesConfig::default();
    let Some(mut s) = field.section(errors) else {
        return out;
    };
    group(s.take("session"), &mut out.session, SESSION, errors);
    group(s.take("address"), &mut out.address, ADDRESS, errors);
    let here = s.take("this_machine");
    group(here, &mut out.this_machine, ADDRESS, errors);
    let range = (16, 1_000_000);
    count(&mut s, "callers", &mut out.callers, range, errors);
    s.close(errors);
    out
}

/// A lane that is not named keeps what `start` says.
fn group(
    field: Option<Field>,
    target: &mut Option<LaneQuotas>,
    start: LaneQuotas,
    errors: &mut Errors,
) {
    let Some(field) = field else { return };
    if field.is_off() {
        *target = None;
        return;
    }
    let mut lanes = start;
    let Some(mut s) = field.section(errors) else {
        return;
    };
    quota(s.take("front_door"), &mut lanes.front_door, errors);
    quota(s.take("llm"), &mut lanes.llm, errors);
    quota(s.take("answers"), &mut lanes.answers, errors);
    s.close(errors);
    *target = Some(lanes);
}

fn quota(field: Option<Field>, target: &mut Quota, errors: &mut Errors) {
    let Some(field) = field else { return };
    if field.is_off() {
        *target = Quota::OFF;
        return;
    }
    let Some(mut s) = field.section(errors) else {
        return;
    };
    if let Some(field) = s.take("rate") {
        if field.is_off() {
            target.rate = None;
        } else if let Some(rate) = field.parse(errors, "a rate such as 100/s", parse_rate) {
            target.rate = Some(rate);
        }
    }
    let mut burst = u64::from(target.burst);
    s.integer("burst", &mut burst, (1, MOST), errors);
    target.burst = narrow(burst);
    if let Some(field) = s.take("concurrent") {
        target.concurrent = match field.is_off() {
            true => None,
            false => field
                .integer(errors, 1, MOST)
                .map(narrow)
                .or(target.concurrent),
        };
    }
    s.close(errors);
}

const MOST: u64 = 1_000_000;

fn narrow(number: u64) -> u32 {
    // The ranges above fit.
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn parse_rate(text: &str) -> Result<Rate, &'static str> {
    const WORDS: &str = "is no rate: write a number from 1 to 1000000 per second, minute or hour, as in 100/s, 60/m or 5/h";
    let (number, unit) = text.split_once('/').ok_or(WORDS)?;
    let per = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(WORDS),
    };
    let requests: u32 = number.trim().parse().map_err(|_| WORDS)?;
    if !(1..=MOST).contains(&u64::from(requests)) {
        return Err(WORDS);
    }
    Ok(Rate {
        requests,
        per: Duration::from_secs(per),
    })
}

/// `front_door.breaker`; it stands unless it is `off`.
pub(super) fn breaker(section: &mut Section, errors: &mut Errors) -> Option<BreakerConfig> {
    let mut out = BreakerConfig::default();
    let Some(field) = section.take("breaker") else {
        return Some(out);
    };
    if field.is_off() {
        return None;
    }
    let mut s = field.section(errors)?;
    let mut failures = u64::from(out.failures);
    s.integer("failures", &mut failures, (1, 1000), errors);
    out.failures = narrow(failures);
    let range = (Duration::from_millis(100), Duration::from_secs(300));
    s.duration("open_for", &mut out.open_for, range, errors);
    s.close(errors);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_a_number_per_unit() {
        for (text, want) in [
            ("100/s", Some("100/s")),
            ("60 / m", Some("60/m")),
            ("5/h", Some("5/h")),
            ("1000000/s", Some("1000000/s")),
            ("0/s", None),
            ("1000001/s", None),
            ("5", None),
            ("5/d", None),
            ("-5/s", None),
            ("1.5/s", None),
            ("/s", None),
        ] {
            let rate = parse_rate(text).ok().map(|rate| rate.to_string());
            assert_eq!(rate.as_deref(), want, "{text}");
        }
    }
}
