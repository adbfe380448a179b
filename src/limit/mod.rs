//! How much one caller may ask: rates, open requests, and the circuit to ComfyUI.
//!
//! [`Limiter::enter`] is asked by `proxy` for every request at the front door and for every request
//! that is answered in this process; the [`Seats`] it gives are held until the request ends.
//! [`breaker::Breaker`] is asked before ComfyUI is dialled, by `proxy` and by `front_door`.
//!
//! A limit that is off costs nothing, one that is on a look-up and two atomic steps. The table of
//! callers has a bound of its own ([`table`]): who comes with many addresses or many sessions makes
//! nothing grow. Nothing here knows HTTP, and nothing here decides what is allowed.

mod account;
pub mod breaker;
mod table;

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use crate::{
    config::{LaneQuotas, Quota, RatesConfig},
    metrics::Metrics,
    token::{SessionId, Username},
};

use account::{Account, Full};
use table::Table;

pub use account::Seat;

/// Whom a request is counted for, beside the address it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A signed session.
    Session(SessionId),
    /// An API key, by its name; the key's own limits are the key's (`session::api_key`).
    ApiKey(Username),
    /// Nobody who could be told apart: the address alone counts.
    Address,
}

/// What is asked for. Each has limits of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Whatever comes by the front door and is not the LLM's.
    FrontDoor,
    /// The LLM gateway, by any entry.
    Llm,
    /// Stand-ins and MCP, by any entry but the front door.
    Answers,
}

impl Lane {
    pub fn as_str(self) -> &'static str {
        match self {
            Lane::FrontDoor => "front_door",
            Lane::Llm => "llm",
            Lane::Answers => "answers",
        }
    }

    fn quota(self, quotas: &LaneQuotas) -> Quota {
        match self {
            Lane::FrontDoor => quotas.front_door,
            Lane::Llm => quotas.llm,
            Lane::Answers => quotas.answers,
        }
    }
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Session,
    Address,
    ThisMachine,
}

impl Group {
    /// As the configuration writes it below `limits.rates`.
    pub fn as_str(self) -> &'static str {
        match self {
            Group::Session => "session",
            Group::Address => "address",
            Group::ThisMachine => "this_machine",
        }
    }
}

/// Which bound was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Rate,
    Concurrent,
}

impl Bound {
    pub fn as_str(self) -> &'static str {
        match self {
            Bound::Rate => "rate",
            Bound::Concurrent => "concurrent",
        }
    }
}

/// One request more would be too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub group: Group,
    pub lane: Lane,
    pub bound: Bound,
    /// After this long one request more may pass.
    pub wait: Duration,
    quota: Quota,
}

impl Refused {
    /// The setting that says so, and what it says.
    pub fn words(&self) -> String {
        let (group, lane) = (self.group.as_str(), self.lane.as_str());
        let allows = match (self.bound, self.quota.rate, self.quota.concurrent) {
            (Bound::Rate, Some(rate), _) => format!("allows {rate}"),
            (Bound::Concurrent, _, Some(most)) => format!("allows {most} requests at a time"),
            (Bound::Rate, None, _) | (Bound::Concurrent, _, None) => "is reached".to_owned(),
        };
        let seconds = whole_seconds(self.wait);
        format!("limits.rates.{group}.{lane} {allows}; try again in {seconds} s")
    }
}

/// For `Retry-After`: rounded up, and never 0.
pub fn whole_seconds(wait: Duration) -> u64 {
    let up = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(up).max(1)
}

/// A key of the tables. Addresses of IPv6 count by their /64, which is what one person gets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Session(SessionId),
    ApiKey(Username),
    Network(IpAddr),
}

/// Places of a request that is under way; given back when dropped.
#[derive(Debug, Default)]
pub struct Seats {
    _address: Option<Seat>,
    _session: Option<Seat>,
}

/// All limits of one process.
#[derive(Debug)]
pub struct Limiter {
    sessions: Option<PerCaller>,
    addresses: Option<PerCaller>,
    this_machine: Option<Shared>,
}

/// Limits of a group whose members are told apart.
#[derive(Debug)]
struct PerCaller {
    quotas: LaneQuotas,
    table: Table,
}

/// Limits of a group that counts as one.
#[derive(Debug)]
struct Shared {
    quotas: LaneQuotas,
    front_door: Arc<Account>,
    llm: Arc<Account>,
    answers: Arc<Account>,
}

impl Limiter {
    pub fn new(config: &RatesConfig, metrics: &Arc<Metrics>) -> Self {
        let RatesConfig {
            session,
            address,
            this_machine,
            callers,
        } = config;
        let per_caller = |quotas: &Option<LaneQuotas>| {
            quotas.map(|quotas| PerCaller {
                quotas,
                table: Table::new(*callers, metrics.clone()),
            })
        };
        let shared = |quotas: LaneQuotas| Shared {
            front_door: Account::new(quotas.front_door),
            llm: Account::new(quotas.llm),
            answers: Account::new(quotas.answers),
            quotas,
        };
        Self {
            sessions: per_caller(session),
            addresses: per_caller(address),
            this_machine: this_machine.map(shared),
        }
    }

    /// Counts a request of `caller` at `address`. Both have to have room.
    pub fn enter(&self, caller: &Caller, address: IpAddr, lane: Lane) -> Result<Seats, Refused> {
        let address = address.to_canonical();
        let of_address = match address.is_loopback() {
            true => self.here(lane)?,
            false => Self::one(&self.addresses, Group::Address, lane, || {
                Who::Network(network(address))
            })?,
        };
        let of_session = match caller {
            Caller::Address => None,
            Caller::Session(id) => {
                Self::one(&self.sessions, Group::Session, lane, || Who::Session(*id))?
            }
            Caller::ApiKey(id) => Self::one(&self.sessions, Group::Session, lane, || {
                Who::ApiKey(id.clone())
            })?,
        };
        Ok(Seats {
            _address: of_address,
            _session: of_session,
        })
    }

    fn here(&self, lane: Lane) -> Result<Option<Seat>, Refused> {
        let Some(shared) = &self.this_machine else {
            return Ok(None);
        };
        let quota = lane.quota(&shared.quotas);
        if quota.is_off() {
            return Ok(None);
        }
        let account = match lane {
            Lane::FrontDoor => &shared.front_door,
            Lane::Llm => &shared.llm,
            Lane::Answers => &shared.answers,
        };
        seat(account, Group::ThisMachine, lane, quota)
    }

    fn one(
        group: &Option<PerCaller>,
        name: Group,
        lane: Lane,
        who: impl FnOnce() -> Who,
    ) -> Result<Option<Seat>, Refused> {
        let Some(PerCaller { quotas, table }) = group else {
            return Ok(None);
        };
        let quota = lane.quota(quotas);
        if quota.is_off() {
            return Ok(None);
        }
        seat(&table.account((who(), lane), quota), name, lane, quota)
    }
}

fn seat(
    account: &Arc<Account>,
    group: Group,
    lane: Lane,
    quota: Quota,
) -> Result<Option<Seat>, Refused> {
    account.enter().map(Some).map_err(|full| {
        let (bound, wait) = match full {
            Full::Rate(wait) => (Bound::Rate, wait),
            // When one of them ends nobody knows.
            Full::Concurrent => (Bound::Concurrent, Duration::from_secs(1)),
        };
        Refused {
            group,
            lane,
            bound,
            wait,
            quota,
        }
    })
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests;
