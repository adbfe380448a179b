//! File descriptors as a budget: what the system grants is dealt out before the first connection.
//!
//! Without this the limit of a bare shell (1024) is reached before `limits.connections` is, and then
//! nothing works any more: no accept, no dial, no look-up, no health check. With it the edge refuses
//! the connection that would be one too many, by 503 and with a record. Read once by `app`.

use std::path::Path;

/// Log files, store, listeners, the runtime, look-ups in flight, the control plane.
const RESERVED: usize = 128;
/// A client's socket, and the one to the upstream.
const PER_CONNECTION: usize = 2;
const FAREWELLS: usize = 256;
const IDLE_UPSTREAMS: usize = 256;
/// Below that many connections nothing sensible can be served.
const FEWEST: usize = 8;

/// What the edge may hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    pub connections: usize,
    /// Refusals for overload that are being written.
    pub farewells: usize,
    /// Kept-alive connections to upstreams that nobody uses at the moment.
    pub idle_upstreams: usize,
}

impl Descriptors {
    /// `wanted` connections, or as many as fit into what the system grants; and a word about it.
    pub fn dealt(wanted: usize, granted: Option<usize>) -> (Self, Option<String>) {
        let Some(granted) = granted else {
            let all = Self {
                connections: wanted,
                farewells: FAREWELLS,
                idle_upstreams: IDLE_UPSTREAMS,
            };
            return (all, None);
        };
        let farewells = (granted / 16).clamp(1, FAREWELLS);
        let idle_upstreams = (granted / 8).clamp(1, IDLE_UPSTREAMS);
        let left = granted.saturating_sub(RESERVED + farewells + idle_upstreams);
        let possible = (left / PER_CONNECTION).max(FEWEST);
        let note = (possible < wanted).then(|| {
            format!(
                "{possible} connections at a time instead of {wanted}: the limit of open files is \
                 {granted}; raise it (ulimit -n {})",
                wanted * PER_CONNECTION + RESERVED + FAREWELLS + IDLE_UPSTREAMS
            )
        });
        let dealt = Self {
            connections: wanted.min(possible),
            farewells,
            idle_upstreams,
        };
        (dealt, note)
    }
}

/// The soft limit of open files of this process, where the system says it.
pub fn granted() -> Option<usize> {
    let text = std::fs::read_to_string(Path::new("/proc/self/limits")).ok()?;
    soft_limit(&text)
}

fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find(|l| l.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read_from_the_kernels_table() {
        let table = "Limit                     Soft Limit           Hard Limit           Units     \n\
                     Max processes             63                   63                   processes \n\
                     Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(table), Some(1024));
        assert_eq!(
            soft_limit("Max open files            unlimited            unlimited            files"),
            None
        );
        assert_eq!(soft_limit(""), None);
    }

    #[test]
    fn what_is_dealt_out_never_exceeds_what_is_granted() {
        for (name, granted, connections, says) in [
            ("plenty", Some(65_536), 4096, false),
            ("unknown or unlimited", None, 4096, false),
            ("a bare shell", Some(1024), 352, true),
            ("hardly any", Some(256), 40, true),
            ("less than is needed", Some(64), FEWEST, true),
        ] {
            let (dealt, note) = Descriptors::dealt(4096, granted);
            assert_eq!(dealt.connections, connections, "{name}");
            assert_eq!(note.is_some(), says, "{name}: {note:?}");
            if let Some(granted) = granted.filter(|g| *g >= 256) {
                let most = RESERVED
                    + dealt.farewells
                    + dealt.idle_upstreams
                    + PER_CONNECTION * dealt.connections;
                assert!(most <= granted, "{name}: {most} of {granted}");
            }
        }
        let (few, note) = Descriptors::dealt(10, Some(1024));
        assert_eq!((few.connections, note), (10, None));
    }
}
