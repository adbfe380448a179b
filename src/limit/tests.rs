//! Limits as a table; quotas that refill in hours, so that nothing depends on how fast a test runs.

use std::time::Duration;

use super::*;
use crate::config::Rate;

const HOUR: Duration = Duration::from_secs(3600);

fn quota(burst: u32, concurrent: Option<u32>) -> Quota {
    Quota {
        rate: Some(Rate {
            requests: 1,
            per: HOUR,
        }),
        burst,
        concurrent,
    }
}

fn same(quota: Quota) -> Option<LaneQuotas> {
    Some(LaneQuotas {
        front_door: quota,
        llm: quota,
        answers: quota,
    })
}

fn limiter(session: Option<LaneQuotas>, address: Option<LaneQuotas>, callers: usize) -> Limiter {
    let config = RatesConfig {
        session,
        address,
        this_machine: None,
        callers,
    };
    Limiter::new(&config, &Arc::default())
}

fn session(id: &str) -> Caller {
    Caller::Session(id.parse().unwrap())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn each_caller_and_each_lane_has_its_own_rate() {
    let limiter = limiter(same(quota(2, None)), same(quota(3, None)), 100);
    let (a, b) = (
        session("6f1c0b52-6c1f-4b2e-9d3a-0c5a4f1e7b90"),
        session("6f1c0b52-6c1f-4b2e-9d3a-0c5a4f1e7b91"),
    );
    let key = Caller::ApiKey("render-farm".parse().unwrap());
    for (name, caller, address, lane, wants) in [
        ("a session's first", &a, "192.0.2.1", Lane::Llm, None),
        ("its second", &a, "192.0.2.2", Lane::Llm, None),
        (
            "its third, elsewhere",
            &a,
            "192.0.2.3",
            Lane::Llm,
            Some(Group::Session),
        ),
        (
            "the same in another lane",
            &a,
            "192.0.2.3",
            Lane::FrontDoor,
            None,
        ),
        ("another session", &b, "192.0.2.4", Lane::Llm, None),
        ("an API key", &key, "192.0.2.5", Lane::Llm, None),
        (
            "an address's first",
            &Caller::Address,
            "2001:db8::1",
            Lane::Answers,
            None,
        ),
        (
            "its neighbour in the /64",
            &Caller::Address,
            "2001:db8::2",
            Lane::Answers,
            None,
        ),
        (
            "another neighbour",
            &Caller::Address,
            "2001:db8::3:1",
            Lane::Answers,
            None,
        ),
        (
            "one too many of the /64",
            &Caller::Address,
            "2001:db8::4",
            Lane::Answers,
            Some(Group::Address),
        ),
        (
            "another /64",
            &Caller::Address,
            "2001:db8:0:1::1",
            Lane::Answers,
            None,
        ),
        (
            "an IPv4 address",
            &Caller::Address,
            "198.51.100.7",
            Lane::Answers,
            None,
        ),
        (
            "the same, mapped",
            &Caller::Address,
            "::ffff:198.51.100.7",
            Lane::Answers,
            None,
        ),
        (
            "the same again",
            &Caller::Address,
            "198.51.100.7",
            Lane::Answers,
            None,
        ),
        (
            "the same, mapped, once too often",
            &Caller::Address,
            "::ffff:198.51.100.7",
            Lane::Answers,
            Some(Group::Address),
        ),
    ] {
        let refused = limiter.enter(caller, ip(address), lane).err();
        assert_eq!(refused.map(|r| r.group), wants, "{name}");
        if let Some(refused) = refused {
            assert_eq!(refused.bound, Bound::Rate, "{name}");
            assert!(
                refused.wait <= HOUR && refused.wait > HOUR / 2,
                "{name}: {:?}",
                refused.wait
            );
        }
    }
}

#[test]
fn open_requests_are_bounded_and_come_back() {
    let limiter = limiter(None, same(quota(100, Some(2))), 100);
    let enter = || limiter.enter(&Caller::Address, ip("192.0.2.1"), Lane::FrontDoor);
    let first = enter().unwrap();
    let second = enter().unwrap();
    for _ in 0..3 {
        let refused = enter().unwrap_err();
        assert_eq!(
            (refused.bound, refused.wait.as_secs()),
            (Bound::Concurrent, 1)
        );
    }
    drop(first);
    let third = enter().unwrap();
    assert!(enter().is_err(), "a refusal takes no place, and gives none");
    drop((second, third));
    assert!(enter().is_ok());
}

#[test]
fn this_machine_is_one_caller_and_unlimited_where_nothing_is_said() {
    let unlimited = limiter(None, same(quota(1, None)), 10);
    for _ in 0..1000 {
        for here in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            unlimited
                .enter(&Caller::Address, ip(here), Lane::Llm)
                .unwrap();
        }
    }
    let config = RatesConfig {
        session: None,
        address: None,
        this_machine: same(quota(2, None)),
        callers: 10,
    };
    let limited = Limiter::new(&config, &Arc::default());
    limited
        .enter(&Caller::Address, ip("127.0.0.1"), Lane::Llm)
        .unwrap();
    limited
        .enter(&Caller::Address, ip("::1"), Lane::Llm)
        .unwrap();
    let refused = limited
        .enter(&Caller::Address, ip("127.0.0.2"), Lane::Llm)
        .unwrap_err();
    assert_eq!(refused.group, Group::ThisMachine);
    assert!(
        refused
            .words()
            .starts_with("limits.rates.this_machine.llm allows 1/h; try again in "),
        "{}",
        refused.words()
    );
}

#[test]
fn many_callers_make_nothing_grow_and_push_out_nobody_who_is_busy() {
    let limiter = limiter(None, same(quota(1, Some(1))), 64);
    let table = &limiter.addresses.as_ref().unwrap().table;
    let busy = limiter
        .enter(&Caller::Address, ip("192.0.2.1"), Lane::Llm)
        .unwrap();
    for n in 0..5000_u32 {
        let address = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        limiter.enter(&Caller::Address, address, Lane::Llm).unwrap();
        assert!(table.len() <= 64, "{n}");
    }
    let again = limiter.enter(&Caller::Address, ip("192.0.2.1"), Lane::Llm);
    assert_eq!(again.unwrap_err().bound, Bound::Concurrent);
    drop(busy);
}

#[test]
fn where_everyone_is_busy_newcomers_share_one_account() {
    let limiter = limiter(None, same(quota(100, Some(1))), 16);
    let mut held = Vec::new();
    let mut refused = 0;
    for n in 0..500_u32 {
        let address = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        match limiter.enter(&Caller::Address, address, Lane::Llm) {
            Ok(seat) => held.push(seat),
            Err(_) => refused += 1,
        }
    }
    // One remembered and one crowd in each shard that anybody fell into.
    assert!(held.len() <= 32, "{}", held.len());
    assert_eq!(held.len() + refused, 500);
}

#[test]
fn seconds_are_rounded_up_and_never_none() {
    for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (60_000, 60)] {
        assert_eq!(
            whole_seconds(Duration::from_millis(millis)),
            seconds,
            "{millis}"
        );
    }
}
