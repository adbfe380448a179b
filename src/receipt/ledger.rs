//! The accounts of everybody: the machine, users, sessions, chats. Bounded; the quietest make room.

use std::collections::HashMap;

use crate::token::{UnixTime, Username};

use super::{
    account::{Account, Room},
    deed::Deed,
    event::Event,
    viewer::Viewer,
};

const MACHINE: Room = Room {
    hosts: 512,
    refusals: 256,
};
const ONE: Room = Room {
    hosts: 32,
    refusals: 32,
};
const MOST_SESSIONS: usize = 128;
const MOST_USERS: usize = 64;
/// Letters of a name that a client gave itself.
const MOST_NAME: usize = 128;

/// Whose chat or session it is, and by which name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    pub kind: SessionKind,
    pub id: Box<str>,
    /// Two users may bring the same name: then these are two.
    pub user: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SessionKind {
    /// A chat, by the plugin's own name of it.
    Chat,
    /// Logged in once: a signed session.
    Login,
}

impl SessionKind {
    pub fn as_str(self) -> &'static str {
        match self {
            SessionKind::Chat => "chat",
            SessionKind::Login => "login",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Ledger {
    since: UnixTime,
    machine: Account,
    users: HashMap<Box<str>, Account>,
    sessions: HashMap<SessionKey, Account>,
    forgotten: u64,
    changes: u64,
}

impl Ledger {
    /// From now on.
    pub fn new(now: UnixTime) -> Self {
        Self {
            since: now,
            machine: Account::new(MACHINE),
            users: HashMap::new(),
            sessions: HashMap::new(),
            forgotten: 0,
            changes: 0,
        }
    }

    pub fn since(&self) -> UnixTime {
        self.since
    }

    /// Grows with everything that a person who looks on would want to see.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Chats and sessions that made room for newer ones.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub fn add(&mut self, event: &Event<'_>) {
        self.machine.add(event);
        let user = event.user.map(Username::as_str);
        if let Some(user) = user {
            match self.users.get_mut(user) {
                Some(account) => account.add(event),
                None => {
                    make_room(&mut self.users, MOST_USERS);
                    let mut account = Account::new(ONE);
                    account.add(event);
                    self.users.insert(user.into(), account);
                }
            }
        }
        let chat = event.chat.map(clipped).filter(|id| !id.is_empty());
        let named = [
            (SessionKind::Chat, chat.map(Box::from)),
            (
                SessionKind::Login,
                event.session.map(|id| id.to_string().into()),
            ),
        ];
        for (kind, id) in named {
            let Some(id) = id else { continue };
            let key = SessionKey {
                kind,
                id,
                user: user.map(Box::from),
            };
            if let Some(account) = self.sessions.get_mut(&key) {
                account.add(event);
                continue;
            }
            let gone = make_room(&mut self.sessions, MOST_SESSIONS);
            self.forgotten = self.forgotten.saturating_add(gone.into());
            let mut account = Account::new(ONE);
            account.add(event);
            self.sessions.insert(key, account);
        }
        if Deed::of(event).is_news() {
            self.changes = self.changes.wrapping_add(1);
        }
    }

    /// All that this person may see of the whole: the machine, or their own part of it. `None`:
    /// nothing of theirs has come by yet.
    pub fn whole(&self, viewer: &Viewer) -> Option<&Account> {
        match viewer {
            Viewer::Everything => Some(&self.machine),
            Viewer::Own(user) => self.users.get(user.as_str()),
        }
    }

    /// By the name of a chat or a session, if this person may see it.
    pub fn session(&self, id: &str, viewer: &Viewer) -> Option<(&SessionKey, &Account)> {
        let mut found: Vec<_> = self
            .sessions(viewer)
            .filter(|(key, _)| &*key.id == id)
            .collect();
        found.sort_by_key(|(key, _)| *key);
        found.into_iter().next()
    }

    pub fn sessions(&self, viewer: &Viewer) -> impl Iterator<Item = (&SessionKey, &Account)> {
        self.sessions
            .iter()
            .filter(|(key, _)| viewer.may_see(key.user.as_deref()))
    }
}

/// The quietest goes. Says whether one did.
fn make_room<K: Clone + Eq + std::hash::Hash>(
    accounts: &mut HashMap<K, Account>,
    most: usize,
) -> bool {
    if accounts.len() < most {
        return false;
    }
    let last = |account: &Account| account.span.map_or(UnixTime(0), |span| span.last);
    let quietest = accounts
        .iter()
        .min_by_key(|(_, account)| last(account))
        .map(|(key, _)| key.clone());
    quietest.is_some_and(|key| accounts.remove(&key).is_some())
}

fn clipped(text: &str) -> &str {
    match text.char_indices().nth(MOST_NAME) {
        Some((end, _)) => text.get(..end).unwrap_or_default(),
        None => text,
    }
}
