//! What the instance under test has dialled, asked and allowed, by its own counters.

use std::{net::SocketAddr, sync::Arc};

use crate::{metrics::Metrics, upstream::control};

/// Where the counters are.
#[derive(Clone)]
pub enum Meter {
    /// Of this very process.
    Here(Arc<Metrics>),
    /// Of a running one, on its control plane.
    Page(SocketAddr),
    /// Nowhere: the control plane is off.
    None,
}

/// Totals since the start of the instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub sockets: u64,
    pub questions: u64,
    /// Decisions that let something through, whoever asked.
    pub allowed: u64,
}

impl Meter {
    pub async fn read(&self) -> Option<Counts> {
        match self {
            Meter::Here(metrics) => Some(Counts::of(&metrics.render())),
            Meter::Page(admin) => match control::get(*admin, "/metrics").await {
                Ok((200, page)) => Some(Counts::of(&page)),
                Ok(_) | Err(_) => None,
            },
            Meter::None => None,
        }
    }
}

impl Counts {
    /// From a page in Prometheus' text format.
    pub fn of(page: &str) -> Self {
        let allows = |line: &str| {
            ["tunnel", "forward"]
                .iter()
                .any(|action| line.contains(&format!("action=\"{action}\"")))
        };
        let mut counts = Self::default();
        for line in page.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let value = value.parse::<f64>().map_or(0, |v| v as u64);
            match series.split('{').next() {
                Some("airlock_upstream_sockets_total") => counts.sockets += value,
                Some("airlock_dns_queries_total") => counts.questions += value,
                Some("airlock_decisions_total") if allows(series) => counts.allowed += value,
                _ => {}
            }
        }
        counts
    }

    pub fn since(self, earlier: Self) -> Self {
        Self {
            sockets: self.sockets.saturating_sub(earlier.sockets),
            questions: self.questions.saturating_sub(earlier.questions),
            allowed: self.allowed.saturating_sub(earlier.allowed),
        }
    }

    /// Nothing went out, and no name server was asked.
    pub fn is_quiet(self) -> bool {
        self.sockets == 0 && self.questions == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_summed() {
        let page = "# TYPE airlock_upstream_sockets_total counter\n\
            airlock_upstream_sockets_total{class=\"public\",outcome=\"ok\"} 2\n\
            airlock_upstream_sockets_total{class=\"loopback\",outcome=\"ok\"} 1\n\
            airlock_upstream_sockets_total_other 9\n\
            airlock_dns_queries_total{outcome=\"ok\"} 4\n\
            airlock_decisions_total{entry=\"explicit\",action=\"tunnel\",rule=\"x\",reason=\"rule_allows\"} 3\n\
            airlock_decisions_total{entry=\"explicit\",action=\"deny\",rule=\"none\",reason=\"y\"} 7\n";
        let counts = Counts {
            sockets: 3,
            questions: 4,
            allowed: 3,
        };
        assert_eq!(Counts::of(page), counts);
        assert!(!counts.is_quiet() && counts.since(counts).is_quiet());
    }
}
