//! How many bytes may be sent in an hour or a day. Pure: the ledger is a value, time an argument.
//!
//! Called by `proxy`, which holds the one [`Ledger`] of the process behind a lock. Windows begin with
//! the hour or the day in UTC. A full ledger refuses: it never forgets a budget that is being spent.

use std::net::IpAddr;

use hashbrown::HashMap;
use time::OffsetDateTime;

use super::RuleName;
use crate::net::Host;

/// Written `budget: {bytes: 1MiB, per: hour, each: host}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Heads and bodies of requests, or a tunnel's bytes towards the upstream.
    pub bytes: u64,
    pub per: Per,
    pub each: Each,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    Hour,
    Day,
}

/// Who has a budget of his own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Each {
    /// All requests of the rule together.
    #[default]
    Rule,
    /// Each destination host.
    Host,
    /// Each client address.
    Client,
    /// Each session and each API key; who shows neither pays as a client address.
    Session,
}

impl Per {
    pub const ALL: [Per; 2] = [Per::Hour, Per::Day];

    pub fn as_str(self) -> &'static str {
        match self {
            Per::Hour => "hour",
            Per::Day => "day",
        }
    }

    fn seconds(self) -> i64 {
        match self {
            Per::Hour => 3_600,
            Per::Day => 86_400,
        }
    }
}

impl Each {
    pub const ALL: [Each; 4] = [Each::Rule, Each::Host, Each::Client, Each::Session];

    pub fn as_str(self) -> &'static str {
        match self {
            Each::Rule => "rule",
            Each::Host => "host",
            Each::Client => "client",
            Each::Session => "session",
        }
    }
}

/// One budget: a rule's, and within it a host's or a client's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    rule: RuleName,
    share: Share,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Share {
    Whole,
    Host(Host),
    Client(IpAddr),
    Caller(Box<str>),
}

/// Whose bytes are counted.
#[derive(Clone, Copy, Debug)]
pub struct Payer<'a> {
    pub host: &'a Host,
    pub client: IpAddr,
    /// A name for the session or the key that was shown.
    pub caller: Option<&'a str>,
}

impl Account {
    pub fn of(budget: &Budget, rule: &RuleName, payer: Payer<'_>) -> Self {
        let Payer {
            host,
            client,
            caller,
        } = payer;
        Self {
            rule: rule.clone(),
            share: match (budget.each, caller) {
                (Each::Rule, _) => Share::Whole,
                (Each::Host, _) => Share::Host(host.clone()),
                (Each::Session, Some(caller)) => Share::Caller(caller.into()),
                (Each::Client, _) | (Each::Session, None) => Share::Client(client.to_canonical()),
            },
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Window {
    ends: i64,
    spent: u64,
}

/// What was spent, by account.
#[derive(Debug)]
pub struct Ledger {
    windows: HashMap<Account, Window>,
    capacity: usize,
}

impl Ledger {
    pub fn new(capacity: usize) -> Self {
        Self {
            windows: HashMap::new(),
            capacity,
        }
    }

    /// Takes up to `want` bytes from the account and says how many it gave.
    pub fn take(
        &mut self,
        account: &Account,
        budget: &Budget,
        want: u64,
        now: OffsetDateTime,
    ) -> u64 {
        let now = now.unix_timestamp();
        let length = budget.per.seconds();
        let ends = (now.div_euclid(length) + 1) * length;
        let fresh = Window { ends, spent: 0 };
        let window = match self.windows.get_mut(account) {
            Some(window) => window,
            None => {
                if self.windows.len() >= self.capacity {
                    self.windows.retain(|_, w| w.ends > now);
                }
                if self.windows.len() >= self.capacity {
                    return 0;
                }
                self.windows.entry(account.clone()).or_insert(fresh)
            }
        };
        if window.ends <= now {
            *window = fresh;
        }
        let given = want.min(budget.bytes.saturating_sub(window.spent));
        window.spent += given;
        given
    }

    /// Returns what was taken and not sent.
    pub fn give_back(&mut self, account: &Account, bytes: u64) {
        if let Some(window) = self.windows.get_mut(account) {
            window.spent = window.spent.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::{Duration, macros::datetime};

    const NOON: OffsetDateTime = datetime!(2026-06-01 12:00 UTC);

    fn account(budget: &Budget, host: &str, client: &str) -> Account {
        account_of(budget, host, client, None)
    }

    fn account_of(budget: &Budget, host: &str, client: &str, caller: Option<&str>) -> Account {
        let payer = Payer {
            host: &Host::parse(host).unwrap(),
            client: client.parse().unwrap(),
            caller,
        };
        Account::of(budget, &RuleName::new("r"), payer)
    }

    #[test]
    fn a_budget_is_given_out_once_per_window() {
        let budget = Budget {
            bytes: 100,
            per: Per::Hour,
            each: Each::Rule,
        };
        let who = account(&budget, "a.test", "127.0.0.1");
        let mut ledger = Ledger::new(8);
        let rows = [
            ("the first bytes are given", 60, 0, 60),
            ("the rest is given in part", 60, 1, 40),
            ("then nothing more", 1, 2, 0),
            ("until the hour is over", 1, 59, 0),
            ("a new hour is a new budget", 150, 60, 100),
        ];
        for (name, want, minutes, given) in rows {
            let now = NOON + Duration::minutes(minutes);
            assert_eq!(ledger.take(&who, &budget, want, now), given, "{name}");
        }
        ledger.give_back(&who, 30);
        let now = NOON + Duration::minutes(61);
        assert_eq!(ledger.take(&who, &budget, 50, now), 30);
    }

    #[test]
    fn each_says_who_shares() {
        for (each, hosts_share, clients_share, callers_share) in [
            (Each::Rule, true, true, true),
            (Each::Host, false, true, true),
            (Each::Client, true, false, true),
            (Each::Session, true, false, false),
        ] {
            let budget = Budget {
                bytes: 10,
                per: Per::Day,
                each,
            };
            let first = account(&budget, "a.test", "10.0.0.1");
            assert_eq!(first == account(&budget, "b.test", "10.0.0.1"), hosts_share);
            assert_eq!(
                first == account(&budget, "a.test", "10.0.0.2"),
                clients_share
            );
            assert_eq!(
                first,
                account(&budget, "a.test", "::ffff:10.0.0.1"),
                "one client"
            );
            let by = |client, caller| account_of(&budget, "a.test", client, Some(caller));
            let of = |caller| by("10.0.0.1", caller);
            assert_eq!(of("one") == of("two"), callers_share, "{each:?}");
            assert_eq!(of("one") == first, callers_share, "{each:?}");
            // A session is one wherever it comes from.
            let moved = of("one") == by("10.0.0.2", "one");
            assert_eq!(moved, each != Each::Client, "{each:?}");
        }
    }

    #[test]
    fn a_full_ledger_refuses_newcomers_and_forgets_only_what_is_over() {
        let budget = Budget {
            bytes: 10,
            per: Per::Hour,
            each: Each::Host,
        };
        let mut ledger = Ledger::new(2);
        let take = |ledger: &mut Ledger, host, hours| {
            let who = account(&budget, host, "127.0.0.1");
            ledger.take(&who, &budget, 10, NOON + Duration::hours(hours))
        };
        assert_eq!(take(&mut ledger, "a.test", 0), 10);
        assert_eq!(take(&mut ledger, "b.test", 0), 10);
        assert_eq!(take(&mut ledger, "c.test", 0), 0);
        assert_eq!(take(&mut ledger, "c.test", 1), 10);
    }
}
