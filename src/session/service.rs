//! Sessions: issued, looked up and touched in memory, written behind, revoked at once.
//!
//! Every session is in memory, so a look-up never waits for the disk. [`Sessions::issue`],
//! [`Sessions::revoke`] and [`Sessions::set_config`] are on disk when they return. What is a [`Deed`] is
//! when `Identity` says so. Last activity and extension are written by [`Sessions::flush`]: a crash loses
//! what happened since the last one, which costs nobody their login, because a session that has been
//! extended was in its second half, not at its end.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::Notify;

use crate::{
    store::{Change, StoreError, Table},
    token::{Claims, KeyRing, Role, SessionId, SignedBy, TokenError, UnixTime, Username},
};

use super::{
    Active, Issued, Records, Refused, SessionError,
    active::{Bounds, MAX_CONFIG},
    binding::{Bindings, Foreign, VendorId},
    deed::{Deed, Deeds},
    random,
    record::{self, RecordError, SessionRecord},
};

/// Logged in this often at once, the session that was quiet longest ends.
const MAX_PER_USER: usize = 100;
/// Expiry times of tokens that one session can have had handed out and that are still to come: an
/// extension adds at least half a lifetime, so there are three at most.
const MAX_EXPIRIES: usize = 4;

pub(super) struct Entry {
    pub(super) record: SessionRecord,
    /// The disk has an older one.
    pub(super) dirty: bool,
}

pub struct Sessions {
    records: Arc<dyn Records>,
    ring: ArcSwap<KeyRing>,
    bounds: Bounds,
    live: RwLock<HashMap<SessionId, Arc<Mutex<Entry>>>>,
    pub(super) bindings: Bindings,
    pub(super) deeds: Arc<Deeds>,
    /// With a checkpoint that is a deed.
    pub(super) noted: Mutex<Vec<Arc<Mutex<Entry>>>>,
    endings: Arc<Notify>,
    /// Held while records are made and written, so that the disk gets them in order.
    writing: Mutex<()>,
}

impl Sessions {
    /// Blocking.
    pub fn open(
        records: Arc<dyn Records>,
        ring: KeyRing,
        bounds: Bounds,
        deeds: Arc<Deeds>,
    ) -> Result<Self, RecordError> {
        let stored: Vec<(String, SessionRecord)> = record::load(records.as_ref(), Table::Sessions)?;
        let live = stored
            .into_iter()
            .map(|(_, record)| (record.session_id, Entry::written(record)));
        Ok(Self {
            live: RwLock::new(live.collect()),
            bindings: Bindings::new(
                record::load(records.as_ref(), Table::Bindings)?,
                deeds.clone(),
            ),
            deeds,
            noted: Mutex::default(),
            endings: Arc::default(),
            records,
            ring: ArcSwap::from_pointee(ring),
            bounds,
            writing: Mutex::new(()),
        })
    }

    /// That sign at present; a receipt is signed with them as well.
    pub fn keys(&self) -> Arc<KeyRing> {
        self.ring.load_full()
    }

    /// Signs with these keys from now on.
    pub fn set_keys(&self, ring: KeyRing) {
        self.ring.store(Arc::new(ring));
    }

    /// How long the previous key must be taken after a rotation.
    pub fn longest_token(&self) -> Duration {
        let live = self.live.read();
        let of = |e: &Arc<Mutex<Entry>>| Duration::from_secs(e.lock().record.lifetime);
        let longest = live.values().map(of).max().unwrap_or_default();
        longest.max(self.bounds.lifetime)
    }

    /// Blocking: on disk when it returns. `lifetime`: other than the configured one.
    pub fn issue(
        &self,
        username: Username,
        role: Role,
        lifetime: Option<Duration>,
        now: UnixTime,
    ) -> Result<Issued, SessionError> {
        let lifetime = lifetime
            .unwrap_or(self.bounds.lifetime)
            .min(self.bounds.max_lifetime);
        let session = SessionRecord {
            session_id: random::session_id()?,
            username,
            role,
            created_at: now,
            last_activity: now,
            expires: now.plus(lifetime),
            lifetime: lifetime.as_secs(),
            token_expiries: vec![now.plus(lifetime)],
            revoked_at: None,
            checkpoints: VecDeque::new(),
            config: "{}".to_owned(),
        };
        let _in_order = self.writing.lock();
        let max = self.bounds.max_sessions;
        let crowded = self.quietest_of(&session.username);
        if self.live.read().len() >= max && crowded.is_none() {
            return Err(SessionError::Full { max });
        }
        let mut changes = vec![change(&session)];
        changes.extend(crowded.map(|id| record::remove(Table::Sessions, id.to_string())));
        self.records.write(&changes)?;
        let mut live = self.live.write();
        if let Some(id) = crowded {
            live.remove(&id);
        }
        live.insert(session.session_id, Entry::written(session.clone()));
        drop(live);
        let token = self.sign(&session);
        Ok(Issued { token, session })
    }

    /// Judges a token, and touches its session: last activity, and past half of its life the session
    /// is extended and a fresh token made. Writes nothing.
    pub fn verify(&self, token: &str, now: UnixTime) -> Result<Active, Refused> {
        self.judge(token, now, true)
    }

    /// The same without leaving a trace.
    pub fn inspect(&self, token: &str, now: UnixTime) -> Result<Active, Refused> {
        self.judge(token, now, false)
    }

    fn judge(&self, token: &str, now: UnixTime, touch: bool) -> Result<Active, Refused> {
        let verified = self.ring.load().verify(token, now)?;
        let claims = verified.claims();
        let entry = self.entry(claims.session_id).ok_or(Refused::Unknown)?;
        let mut entry = entry.lock();
        let Claims {
            session_id: _,
            username,
            role,
            exp,
        } = claims;
        if entry.record.username != *username || entry.record.role != *role {
            return Err(Refused::Mismatch);
        }
        // Only we make such a token: the extension it was made for was lost in a crash.
        if touch && *exp > entry.record.expires && *exp <= self.end_of(&entry.record) {
            extend(&mut entry.record, *exp, now);
            entry.dirty = true;
        }
        let renewable = entry.record.token_expiries.contains(exp);
        let mut active = self.activate(&mut entry, now, touch)?;
        active.whole = renewable;
        let half = Duration::from_secs(entry.record.lifetime / 2);
        let ageing = exp.since(now) <= half && *exp < entry.record.expires;
        if touch && renewable && (ageing || verified.signed_by() == SignedBy::Previous) {
            active.fresh = Some(self.sign(&entry.record));
        }
        Ok(active)
    }

    /// When a session ends, whatever the activity.
    fn end_of(&self, record: &SessionRecord) -> UnixTime {
        record.created_at.plus(self.bounds.max_lifetime)
    }

    fn activate(&self, entry: &mut Entry, now: UnixTime, touch: bool) -> Result<Active, Refused> {
        let record = &mut entry.record;
        if record.revoked_at.is_some() {
            return Err(Refused::Revoked);
        }
        if record.expires <= now {
            return Err(Refused::Expired);
        }
        if touch {
            entry.dirty |= record.last_activity < now;
            record.last_activity = record.last_activity.max(now);
            let lifetime = Duration::from_secs(record.lifetime);
            let longer = now.plus(lifetime).min(self.end_of(record));
            if record.expires.since(now) <= lifetime / 2 && longer > record.expires {
                extend(record, longer, now);
                entry.dirty = true;
            }
        }
        Ok(Active {
            session_id: record.session_id,
            username: record.username.clone(),
            role: record.role,
            expires: record.expires,
            lifetime: record.lifetime,
            token_expiries: record.token_expiries.clone(),
            fresh: None,
            whole: false,
        })
    }

    /// A token for the way to ComfyUI, for `lifetime` and no longer than a quarter of the session's.
    /// What others see of it there cannot be traded for a longer one: such a token always ends
    /// before the session does, and only those that end with it are renewed.
    pub fn token_for(&self, active: &Active, lifetime: Duration, now: UnixTime) -> String {
        let most = Duration::from_secs(active.lifetime / 4);
        let mut exp = now.plus(lifetime.min(most));
        while active.token_expiries.contains(&exp) {
            exp = UnixTime(exp.0.saturating_sub(1));
        }
        self.ring.load().sign(&Claims {
            session_id: active.session_id,
            username: active.username.clone(),
            role: active.role,
            exp: exp.min(UnixTime(active.expires.0.saturating_sub(1))),
        })
    }

    /// Ties one of the plugin's ids to a signed session; [`Foreign::Others`] where it is another
    /// user's. For every request of the page that carries one. A deed, where that it is this user's is not
    /// known to be on disk.
    pub fn bind(
        &self,
        active: &Active,
        id: &VendorId,
        now: UnixTime,
    ) -> Result<Option<Deed>, Foreign> {
        self.bindings
            .bind(id, &active.username, active.session_id, now)
    }

    /// The session that one of the plugin's ids speaks for, on requests of its Python side, whose
    /// bearer may be another user's. The session is judged and touched as by its token.
    pub fn bound(&self, id: &VendorId, now: UnixTime) -> Result<Active, Refused> {
        let (user, session) = self.bindings.owner(id).ok_or(Refused::Unknown)?;
        let entry = self.entry(session).ok_or(Refused::Unknown)?;
        let mut entry = entry.lock();
        if entry.record.username != user {
            return Err(Refused::Mismatch);
        }
        self.activate(&mut entry, now, true)
    }

    /// Whose one of the plugin's ids is.
    pub fn owner_of(&self, id: &VendorId) -> Option<Username> {
        self.bindings.owner(id).map(|(user, _)| user)
    }

    /// Whether one of our keys signed it, whatever it says and however old it is.
    pub fn signed(&self, token: &str, now: UnixTime) -> bool {
        match self.ring.load().verify(token, now) {
            Ok(_) | Err(TokenError::Expired | TokenError::BadPayload) => true,
            Err(TokenError::Malformed | TokenError::BadSignature) => false,
        }
    }

    /// Whether a session that had acted may go on, without leaving a trace.
    pub fn stands(&self, id: SessionId, now: UnixTime) -> Result<(), Refused> {
        let entry = self.entry(id).ok_or(Refused::Unknown)?;
        let mut entry = entry.lock();
        self.activate(&mut entry, now, false).map(drop)
    }

    /// Told when sessions have ended: what they have open is to be cut.
    pub fn endings(&self) -> Arc<Notify> {
        self.endings.clone()
    }

    /// Blocking. In memory first, so that it holds from this moment even if the disk fails.
    pub fn revoke(&self, id: SessionId, now: UnixTime) -> Result<SessionRecord, SessionError> {
        let entry = self.entry(id).ok_or(SessionError::Unknown(id))?;
        mark_revoked(&mut entry.lock(), now);
        self.endings.notify_one();
        let _in_order = self.writing.lock();
        let record = entry.lock().record.clone();
        self.records.write(&[change(&record)])?;
        Ok(record)
    }

    /// Blocking. Every session of a user; how many there were.
    pub fn revoke_user(&self, user: &Username, now: UnixTime) -> Result<usize, SessionError> {
        let mut revoked: Vec<_> = self.live.read().values().cloned().collect();
        revoked.retain(|entry| {
            let mut entry = entry.lock();
            let theirs = entry.record.username == *user && entry.record.revoked_at.is_none();
            if theirs {
                mark_revoked(&mut entry, now);
            }
            theirs
        });
        self.endings.notify_one();
        let _in_order = self.writing.lock();
        let changes: Vec<_> = revoked.iter().map(|e| change(&e.lock().record)).collect();
        self.records.write(&changes)?;
        Ok(changes.len())
    }

    /// For a user who is removed: whoever gets the name next gets none of their chats.
    pub fn forget_user(&self, user: &Username) {
        self.bindings.forget_user(user);
    }

    /// Nobody else writes while it is held.
    pub(super) fn in_order(&self) -> MutexGuard<'_, ()> {
        self.writing.lock()
    }

    /// Blocking. The user's own settings: a JSON object.
    pub fn set_config(&self, id: SessionId, config: &str) -> Result<(), SessionError> {
        let object = config.len() <= MAX_CONFIG
            && serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(config).is_ok();
        if !object {
            return Err(SessionError::Config);
        }
        let entry = self.entry(id).ok_or(SessionError::Unknown(id))?;
        let _in_order = self.writing.lock();
        let mut record = entry.lock().record.clone();
        record.config = config.to_owned();
        self.records.write(&[change(&record)])?;
        entry.lock().record.config = record.config;
        Ok(())
    }

    pub fn show(&self, id: SessionId) -> Option<SessionRecord> {
        Some(self.entry(id)?.lock().record.clone())
    }

    /// All that have not been swept, the newest first.
    pub fn list(&self) -> Vec<SessionRecord> {
        let live = self.live.read();
        let mut all: Vec<_> = live.values().map(|e| e.lock().record.clone()).collect();
        all.sort_by_key(|r| (std::cmp::Reverse(r.created_at), r.session_id));
        all
    }

    /// Blocking. Writes what is only in memory and removes what has expired.
    pub fn flush(&self, now: UnixTime) -> Result<(), StoreError> {
        let _in_order = self.in_order();
        let entries: Vec<_> = self.live.read().values().cloned().collect();
        let mut changes = Vec::new();
        let mut ended = Vec::new();
        let mut taken = Vec::new();
        for shared in entries {
            let mut entry = shared.lock();
            let id = entry.record.session_id;
            if entry.record.expires <= now {
                changes.push(record::remove(Table::Sessions, id.to_string()));
                ended.push(id);
            } else if std::mem::take(&mut entry.dirty) {
                changes.push(change(&entry.record));
                drop(entry);
                taken.push(shared);
            }
        }
        let bindings = self.bindings.changes(now);
        changes.extend(bindings.iter().cloned());
        let written = self.records.write(&changes);
        if written.is_err() {
            taken.iter().for_each(|entry| entry.lock().dirty = true);
            self.bindings.not_written(&bindings);
        }
        // Gone from memory even where the disk fails: the next start removes them again.
        let mut live = self.live.write();
        ended.iter().for_each(|id| drop(live.remove(id)));
        drop(live);
        if !ended.is_empty() {
            self.endings.notify_one();
        }
        written
    }

    pub(super) fn entry(&self, id: SessionId) -> Option<Arc<Mutex<Entry>>> {
        self.live.read().get(&id).cloned()
    }

    /// The one to end where the user has too many: one that is over, or the longest quiet.
    fn quietest_of(&self, user: &Username) -> Option<SessionId> {
        let live = self.live.read();
        let mut theirs: Vec<_> = live
            .values()
            .filter_map(|entry| {
                let entry = entry.lock();
                let record = &entry.record;
                let rank = (record.revoked_at.is_none(), record.last_activity);
                (record.username == *user).then_some((rank, record.session_id))
            })
            .collect();
        theirs.sort();
        let crowded = theirs.len() >= MAX_PER_USER;
        theirs.first().filter(|_| crowded).map(|(_, id)| *id)
    }

    /// The whole token of a session: it ends when the session does, and is renewed.
    fn sign(&self, record: &SessionRecord) -> String {
        self.ring.load().sign(&Claims {
            session_id: record.session_id,
            username: record.username.clone(),
            role: record.role,
            exp: record.expires,
        })
    }
}

impl Entry {
    fn written(record: SessionRecord) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            record,
            dirty: false,
        }))
    }
}

pub(super) fn change(record: &SessionRecord) -> Change {
    record::put(Table::Sessions, record.session_id.to_string(), record)
}

/// Dirty, so that it is written by the next flush if the write at hand fails.
fn mark_revoked(entry: &mut Entry, now: UnixTime) {
    entry.record.revoked_at.get_or_insert(now);
    entry.dirty = true;
}

fn extend(record: &mut SessionRecord, until: UnixTime, now: UnixTime) {
    record.expires = until;
    record.token_expiries.retain(|exp| *exp > now);
    let surplus = (record.token_expiries.len() + 1).saturating_sub(MAX_EXPIRIES);
    record.token_expiries.drain(..surplus);
    record.token_expiries.push(until);
}
