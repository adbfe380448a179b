//! Users: who may log in, and as what.
//!
//! Every change is on disk when it returns. A login takes the same time and gives the same answer
//! whether the name or the password is wrong, and failures are slowed down by client and by name.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use serde::Serialize;

use crate::{
    store::{StoreError, Table},
    token::{Role, UnixTime, Username},
};

use super::{
    Records, Throttle, Wait,
    password::{self, Hasher, PasswordError},
    record::{self, RecordError, UserRecord},
    throttle::Patience,
};

const MAX_USERS: usize = 10_000;
/// By client: a guesser is stopped.
const BY_CLIENT: Patience = Patience {
    free: 5,
    first: Duration::from_secs(2),
    longest: Duration::from_secs(900),
    max_entries: 4096,
};
/// By name, over all clients: more lenient, so that nobody can lock another person out for long.
const BY_NAME: Patience = Patience {
    free: 20,
    first: Duration::from_secs(1),
    longest: Duration::from_secs(30),
    max_entries: 4096,
};

#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("there is a user {0} already: choose another name, or `airlock user passwd {0}`")]
    Exists(Username),
    #[error("there is no user {0}: `airlock user list` shows them")]
    Unknown(Username),
    #[error("{0} is the last admin: add another first")]
    LastAdmin(Username),
    #[error("{0} is whoever sits at this machine where no login is asked for: choose another name")]
    Reserved(Username),
    #[error("{MAX_USERS} users are enough: remove some")]
    Full,
}

/// Why a login failed. `Wrong` says no more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefused {
    #[error("the name or the password is wrong")]
    Wrong,
    #[error(transparent)]
    Throttled(#[from] Wait),
    #[error("too many logins at once; try again in {} s", .0.as_secs())]
    Busy(Duration),
}

impl LoginRefused {
    pub fn code(self) -> &'static str {
        match self {
            Self::Wrong => "login_wrong",
            Self::Throttled(_) => "login_throttled",
            Self::Busy(_) => "login_busy",
        }
    }

    /// For `Retry-After`.
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Wrong => None,
            Self::Throttled(Wait(wait)) | Self::Busy(wait) => Some(wait),
        }
    }
}

/// As listed: without the hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    pub username: Username,
    pub role: Role,
    pub created_at: UnixTime,
    pub password_changed_at: UnixTime,
}

impl From<&UserRecord> for User {
    fn from(record: &UserRecord) -> Self {
        let UserRecord {
            username,
            role,
            password: _,
            created_at,
            password_changed_at,
        } = record;
        Self {
            username: username.clone(),
            role: *role,
            created_at: *created_at,
            password_changed_at: *password_changed_at,
        }
    }
}

pub struct Users {
    records: Arc<dyn Records>,
    known: RwLock<BTreeMap<Username, UserRecord>>,
    writing: Mutex<()>,
    hasher: Hasher,
    /// What the password of an unknown user is compared with.
    nobody: Mutex<Option<String>>,
    by_client: Throttle<IpAddr>,
    by_name: Throttle<Username>,
}

impl Users {
    /// Blocking.
    pub fn open(records: Arc<dyn Records>) -> Result<Self, RecordError> {
        let stored: Vec<(String, UserRecord)> = record::load(records.as_ref(), Table::Users)?;
        let known = stored.into_iter().map(|(_, r)| (r.username.clone(), r));
        Ok(Self {
            known: RwLock::new(known.collect()),
            records,
            writing: Mutex::default(),
            hasher: Hasher::default(),
            nobody: Mutex::default(),
            by_client: Throttle::new(BY_CLIENT),
            by_name: Throttle::new(BY_NAME),
        })
    }

    pub fn is_empty(&self) -> bool {
        self.known.read().is_empty()
    }

    pub fn find(&self, name: &Username) -> Option<User> {
        self.known.read().get(name).map(User::from)
    }

    pub fn list(&self) -> Vec<User> {
        self.known.read().values().map(User::from).collect()
    }

    /// Blocking. The password must be acceptable already, or made by us.
    pub fn add(
        &self,
        username: Username,
        role: Role,
        password: &str,
        now: UnixTime,
    ) -> Result<User, UserError> {
        if username == Username::local() {
            return Err(UserError::Reserved(username));
        }
        password::acceptable(password, username.as_str())?;
        let hash = self.hasher.hash(password)?;
        let _in_order = self.writing.lock();
        if self.known.read().contains_key(&username) {
            return Err(UserError::Exists(username));
        }
        if self.known.read().len() >= MAX_USERS {
            return Err(UserError::Full);
        }
        self.keep(UserRecord {
            username,
            role,
            password: hash,
            created_at: now,
            password_changed_at: now,
        })
    }

    /// Blocking. The caller revokes the user's sessions: see [`super::Identity::set_password`].
    pub(super) fn set_password(
        &self,
        username: &Username,
        password: &str,
        now: UnixTime,
    ) -> Result<User, UserError> {
        password::acceptable(password, username.as_str())?;
        let hash = self.hasher.hash(password)?;
        let _in_order = self.writing.lock();
        let known = self.known.read().get(username).cloned();
        let mut record = known.ok_or_else(|| UserError::Unknown(username.clone()))?;
        record.password = hash;
        record.password_changed_at = now;
        let user = self.keep(record)?;
        self.by_name.succeeded(username);
        Ok(user)
    }

    /// Blocking. The caller revokes the user's sessions: see [`super::Identity::remove_user`].
    pub(super) fn remove(&self, username: &Username) -> Result<User, UserError> {
        let _in_order = self.writing.lock();
        let user = self
            .find(username)
            .ok_or_else(|| UserError::Unknown(username.clone()))?;
        let admins = |r: &&UserRecord| r.role == Role::Admin;
        let others = self.known.read().len() > 1;
        if user.role == Role::Admin
            && others
            && self.known.read().values().filter(admins).count() == 1
        {
            return Err(UserError::LastAdmin(user.username));
        }
        let change = record::remove(Table::Users, username.to_string());
        self.records.write(&[change])?;
        self.known.write().remove(username);
        Ok(user)
    }

    /// Under `writing`.
    fn keep(&self, record: UserRecord) -> Result<User, UserError> {
        let user = User::from(&record);
        let change = record::put(Table::Users, record.username.to_string(), &record);
        self.records.write(&[change])?;
        self.known.write().insert(user.username.clone(), record);
        Ok(user)
    }

    /// Blocking: hashes. The front door calls [`super::Identity::login`].
    pub(super) fn check(
        &self,
        name: &str,
        password: &str,
        client: IpAddr,
        now: UnixTime,
    ) -> Result<User, LoginRefused> {
        let client = network(client);
        self.by_client.attempt(&client, now)?;
        let username: Option<Username> = name.parse().ok();
        if let Some(username) = &username {
            self.by_name.attempt(username, now)?;
        }
        let known = username.and_then(|name| self.known.read().get(&name).cloned());
        // Made in both cases, so that the first login of all takes as long either way.
        let nobodys = self.nobodys_hash();
        let stored = known.as_ref().map_or(nobodys, |r| r.password.clone());
        let busy = LoginRefused::Busy(Duration::from_secs(1));
        let right = self.hasher.verifies(password, &stored).map_err(|_| busy)?;
        match known.filter(|_| right) {
            Some(record) => {
                self.by_client.forgiven(&client);
                self.by_name.succeeded(&record.username);
                Ok(User::from(&record))
            }
            None => Err(LoginRefused::Wrong),
        }
    }

    /// True while the user is what they were when `user` was read: same password, same role.
    pub(super) fn unchanged(&self, user: &User) -> bool {
        self.find(&user.username).as_ref() == Some(user)
    }

    fn nobodys_hash(&self) -> String {
        let mut nobody = self.nobody.lock();
        if let Some(hash) = nobody.as_ref() {
            return hash.clone();
        }
        let hash = super::random::text()
            .ok()
            .and_then(|random| self.hasher.hash(&random).ok())
            .unwrap_or_default();
        *nobody = Some(hash.clone());
        hash
    }
}

/// Whoever has one address of an IPv6 network has all of its /64.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}
