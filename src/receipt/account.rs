//! What was counted for somebody: the machine, a user, a session, a chat. Bounded whatever comes.

use std::collections::HashMap;

use crate::{
    net::Authority,
    policy::{Reason, RuleName},
    token::UnixTime,
};

use super::{
    deed::{Deed, Deeds},
    event::{Event, Way},
};

/// Letters of a path, a method and a remark that a line keeps.
const MOST_PATH: usize = 160;
const MOST_METHOD: usize = 16;
const MOST_DETAIL: usize = 240;

/// How much an account may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub hosts: usize,
    pub refusals: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub requests: u64,
    pub up: u64,
    pub down: u64,
    pub left: u64,
}

impl Tally {
    fn add(&mut self, event: &Event<'_>) {
        self.requests = self.requests.saturating_add(1);
        self.up = self.up.saturating_add(event.up);
        self.down = self.down.saturating_add(event.down);
        self.left = self.left.saturating_add(event.left);
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            up: self.up.saturating_add(other.up),
            down: self.down.saturating_add(other.down),
            left: self.left.saturating_add(other.left),
        }
    }
}

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: UnixTime,
    pub last: UnixTime,
}

impl Span {
    fn of(event: &Event<'_>) -> Self {
        Self {
            first: event.began,
            last: event.over.max(event.began),
        }
    }

    fn widen(&mut self, event: &Event<'_>) {
        let other = Self::of(event);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// Who was dialled: as it was judged, or as a handler named it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    Judged(Authority),
    Named(Box<str>),
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Peer::Judged(authority) => authority.fmt(f),
            Peer::Named(name) => f.write_str(name),
        }
    }
}

#[derive(Clone, Debug)]
pub struct HostTally {
    pub tally: Tally,
    pub span: Span,
    pub deeds: Deeds,
    /// The rule that allowed it last.
    pub rule: RuleName,
    /// Nobody was there.
    pub unreached: u64,
    /// Report mode alone let it through.
    pub would_deny: u64,
}

/// Refusals that a person would call the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RefusalKey {
    pub authority: Option<Authority>,
    pub reason: Reason,
    pub rule: RuleName,
}

#[derive(Clone, Debug)]
pub struct RefusalTally {
    pub requests: u64,
    pub span: Span,
    /// Of the last one.
    pub method: Box<str>,
    pub path: Box<str>,
}

/// What was not kept line by line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct More {
    pub hosts: Tally,
    pub refusals: u64,
    pub browser: u64,
}

#[derive(Clone, Debug)]
pub struct Account {
    room: Room,
    pub span: Option<Span>,
    /// By [`Way`], in its order.
    ways: [Tally; Way::ALL.len()],
    deeds: Vec<(Deed, Tally, Span)>,
    pub hosts: HashMap<(Way, Peer), HostTally>,
    pub refusals: HashMap<RefusalKey, RefusalTally>,
    /// What the browser said it refused.
    pub browser: HashMap<Box<str>, (u64, Span)>,
    pub more: More,
    pub would_deny: u64,
}

impl Account {
    pub fn new(room: Room) -> Self {
        Self {
            room,
            span: None,
            ways: [Tally::default(); Way::ALL.len()],
            deeds: Vec::new(),
            hosts: HashMap::new(),
            refusals: HashMap::new(),
            browser: HashMap::new(),
            more: More::default(),
            would_deny: 0,
        }
    }

    /// Of somebody for whom nothing has come by.
    pub fn nothing() -> Self {
        Self::new(Room {
            hosts: 0,
            refusals: 0,
        })
    }

    pub fn add(&mut self, event: &Event<'_>) {
        match &mut self.span {
            Some(span) => span.widen(event),
            None => self.span = Some(Span::of(event)),
        }
        let (way, deed) = (event.way(), Deed::of(event));
        if let Some(tally) = self.ways.get_mut(way as usize) {
            tally.add(event);
        }
        match self.deeds.iter_mut().find(|(known, _, _)| *known == deed) {
            Some((_, tally, span)) => {
                tally.add(event);
                span.widen(event);
            }
            None => {
                let mut tally = Tally::default();
                tally.add(event);
                self.deeds.push((deed, tally, Span::of(event)));
            }
        }
        if event.would_deny.is_some() {
            self.would_deny = self.would_deny.saturating_add(1);
        }
        match way {
            Way::Llm | Way::ComfyUi | Way::Sent | Way::Relayed => self.host(way, deed, event),
            Way::Refused => self.refusal(event),
            Way::Here if deed == Deed::BrowserReport => self.browser(event),
            Way::Here | Way::Opened => {}
        }
    }

    fn host(&mut self, way: Way, deed: Deed, event: &Event<'_>) {
        let peer = match (way, event.authority, event.upstream) {
            // A handler was asked in the vendor's name, and dialled another.
            (Way::Llm, _, Some(name)) | (_, None, Some(name)) => Peer::Named(name.into()),
            (_, Some(authority), _) => Peer::Judged(authority.clone()),
            (_, None, None) => Peer::Named("unknown".into()),
        };
        let key = (way, peer);
        let crowded = self.hosts.len() >= self.room.hosts;
        let line = match self.hosts.get_mut(&key) {
            Some(line) => line,
            None if crowded => return self.more.hosts.add(event),
            None => self.hosts.entry(key).or_insert_with(|| HostTally {
                tally: Tally::default(),
                span: Span::of(event),
                deeds: Deeds::default(),
                rule: event.rule.clone(),
                unreached: 0,
                would_deny: 0,
            }),
        };
        line.tally.add(event);
        line.span.widen(event);
        line.deeds.add(deed);
        if line.rule != *event.rule {
            line.rule = event.rule.clone();
        }
        line.unreached = line.unreached.saturating_add(event.unreached().into());
        let seen = event.would_deny.is_some();
        line.would_deny = line.would_deny.saturating_add(seen.into());
    }

    fn refusal(&mut self, event: &Event<'_>) {
        let key = RefusalKey {
            authority: event.authority.cloned(),
            reason: event.reason,
            rule: event.rule.clone(),
        };
        let crowded = self.refusals.len() >= self.room.refusals;
        match self.refusals.get_mut(&key) {
            Some(line) => {
                line.requests = line.requests.saturating_add(1);
                line.span.widen(event);
            }
            None if crowded => self.more.refusals = self.more.refusals.saturating_add(1),
            None => {
                let line = RefusalTally {
                    requests: 1,
                    span: Span::of(event),
                    method: clipped(event.method.unwrap_or_default(), MOST_METHOD),
                    path: clipped(event.path.unwrap_or_default(), MOST_PATH),
                };
                self.refusals.insert(key, line);
            }
        }
    }

    fn browser(&mut self, event: &Event<'_>) {
        let words = clipped(event.detail.unwrap_or_default(), MOST_DETAIL);
        let crowded = self.browser.len() >= self.room.refusals;
        match self.browser.get_mut(&words) {
            Some((times, span)) => {
                *times = times.saturating_add(1);
                span.widen(event);
            }
            None if crowded => self.more.browser = self.more.browser.saturating_add(1),
            None => {
                self.browser.insert(words, (1, Span::of(event)));
            }
        }
    }

    pub fn way(&self, way: Way) -> Tally {
        self.ways.get(way as usize).copied().unwrap_or_default()
    }

    /// All but [`Way::Opened`], whose bytes are those of the requests in it.
    pub fn total(&self) -> Tally {
        Way::ALL
            .into_iter()
            .filter(|way| *way != Way::Opened)
            .fold(Tally::default(), |sum, way| sum.plus(self.way(way)))
    }

    pub fn times(&self, deed: Deed) -> u64 {
        let found = self.deeds.iter().find(|(known, _, _)| *known == deed);
        found.map_or(0, |(_, tally, _)| tally.requests)
    }

    pub fn deeds(&self) -> impl Iterator<Item = (Deed, Tally, Span)> + '_ {
        self.deeds.iter().copied()
    }
}

/// Cut on a character, without what would change how a line looks.
fn clipped(text: &str, most: usize) -> Box<str> {
    let kept = text.chars().filter(|c| !c.is_control()).take(most);
    kept.collect::<String>().into()
}
