//! Sessions, users, keys and the secret, as one thing that is opened, ticked and asked.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::{
    store::StoreError,
    token::{Role, UnixTime, Username},
};

use super::{
    ApiKeys, Bounds, Checkpoints, Deeds, Issued, LoginRefused, NoRandomness, Records, SecretError,
    SecretSource, SessionError, Sessions, UserError, Users, random, record::RecordError, secret,
    user::User,
};

/// What `app` and the commands read from the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    pub state_dir: PathBuf,
    pub secret: SecretSource,
    pub lifetime: Duration,
    pub max_lifetime: Duration,
    pub max_sessions: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Made on first run; the password is shown once.
pub struct FirstAdmin {
    pub username: Username,
    pub password: Zeroizing<String>,
}

pub struct Identity {
    pub sessions: Sessions,
    pub checkpoints: Checkpoints,
    pub users: Users,
    pub keys: ApiKeys,
    pub deeds: Arc<Deeds>,
    records: Arc<dyn Records>,
    settings: Settings,
    rotating: Mutex<()>,
}

impl Identity {
    /// Blocking. Everything is read here, once.
    pub fn open(
        records: Arc<dyn Records>,
        settings: Settings,
        now: UnixTime,
    ) -> Result<Self, IdentityError> {
        let ring = secret::load_or_create(&settings.state_dir, &settings.secret, now)?;
        let bounds = Bounds {
            lifetime: settings.lifetime,
            max_lifetime: settings.max_lifetime,
            max_sessions: settings.max_sessions,
        };
        let deeds = Arc::<Deeds>::default();
        Ok(Self {
            sessions: Sessions::open(records.clone(), ring, bounds, deeds.clone())?,
            checkpoints: Checkpoints::open(records.clone(), deeds.clone())?,
            users: Users::open(records.clone())?,
            keys: ApiKeys::open(records.clone())?,
            deeds,
            records,
            settings,
            rotating: Mutex::default(),
        })
    }

    /// Blocking. An admin where there is no user at all, so that a person can log in.
    pub fn first_admin(&self, now: UnixTime) -> Result<Option<FirstAdmin>, UserError> {
        if !self.users.is_empty() {
            return Ok(None);
        }
        let Ok(username) = "admin".parse::<Username>() else {
            return Ok(None);
        };
        let password =
            random::password().map_err(|e: NoRandomness| UserError::Password(e.into()))?;
        match self.users.add(username, Role::Admin, &password, now) {
            Ok(user) => Ok(Some(FirstAdmin {
                username: user.username,
                password,
            })),
            Err(UserError::Exists(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Blocking. A session for a browser where nobody has to log in.
    pub fn local_session(&self, now: UnixTime) -> Result<Issued, SessionError> {
        self.sessions
            .issue(Username::local(), Role::Admin, None, now)
    }

    /// Blocking. From now on people log in: what was given to whoever came by is worth nothing, and the
    /// chats of that time are anybody's who knows them.
    pub fn end_local(&self, now: UnixTime) -> Result<usize, SessionError> {
        let ended = self.sessions.revoke_user(&Username::local(), now)?;
        self.sessions.forget_user(&Username::local());
        self.checkpoints.forget_user(&Username::local());
        Ok(ended)
    }

    /// Blocking: hashes, and writes the session. `client` is whose guesses are counted.
    pub fn login(
        &self,
        name: &str,
        password: &str,
        client: IpAddr,
        now: UnixTime,
    ) -> Result<Result<Issued, LoginRefused>, SessionError> {
        let user = match self.users.check(name, password, client, now) {
            Ok(user) => user,
            Err(refused) => return Ok(Err(refused)),
        };
        self.issue_to(&user, now)
    }

    /// The user may have been removed, or given another password, while theirs was compared. Then
    /// revoking their sessions missed this one.
    fn issue_to(
        &self,
        user: &User,
        now: UnixTime,
    ) -> Result<Result<Issued, LoginRefused>, SessionError> {
        let issued = self
            .sessions
            .issue(user.username.clone(), user.role, None, now)?;
        if self.users.unchanged(user) {
            return Ok(Ok(issued));
        }
        self.sessions.revoke(issued.session.session_id, now)?;
        Ok(Err(LoginRefused::Wrong))
    }

    /// Blocking. Logs the user out everywhere; says of how many sessions.
    pub fn set_password(
        &self,
        username: &Username,
        password: &str,
        now: UnixTime,
    ) -> Result<(User, usize), ChangeError> {
        let user = self.users.set_password(username, password, now)?;
        Ok((user, self.sessions.revoke_user(username, now)?))
    }

    /// Blocking. Logs the user out everywhere; says of how many sessions.
    pub fn remove_user(
        &self,
        username: &Username,
        now: UnixTime,
    ) -> Result<(User, usize), ChangeError> {
        let user = self.users.remove(username)?;
        // Refused from here on, even where the disk fails.
        let revoked = self.sessions.revoke_user(username, now);
        self.sessions.forget_user(username);
        self.checkpoints.forget_user(username);
        let revoked = revoked?;
        self.sessions.flush(now)?;
        self.checkpoints.flush(now)?;
        Ok((user, revoked))
    }

    /// Blocking. A new signing key at once; until when the old one is still taken.
    pub fn rotate_secret(&self, force: bool, now: UnixTime) -> Result<UnixTime, SecretError> {
        let _one = self.rotating.lock();
        let keep = self.sessions.longest_token();
        let Settings {
            state_dir, secret, ..
        } = &self.settings;
        let ring = secret::rotate(state_dir, secret, keep, force, now)?;
        let until = ring.previous().map_or(now, |p| p.until);
        self.sessions.set_keys(ring);
        Ok(until)
    }

    /// Blocking. Every deed that was made until now is on disk when it returns, and whatever else there is
    /// to be written about chats and saved workflows. One write, however many wait for it; none where
    /// there is nothing.
    pub fn keep_deeds(&self) -> Result<(), StoreError> {
        let _of_sessions = self.sessions.in_order();
        let _of_checkpoints = self.checkpoints.in_order();
        let last = self.deeds.last();
        if self.deeds.is_kept(last) {
            return Ok(());
        }
        let sessions = self.sessions.unwritten();
        let checkpoints = self.checkpoints.unwritten();
        let of_sessions = sessions.sessions.iter().chain(&sessions.bindings);
        let changes: Vec<_> = of_sessions.chain(&checkpoints).cloned().collect();
        match self.records.write(&changes) {
            Ok(()) => {
                self.deeds.keep(last);
                Ok(())
            }
            Err(e) => {
                self.sessions.not_written(sessions);
                self.checkpoints.not_written(&checkpoints);
                Err(e)
            }
        }
    }

    /// Blocking. Writes what requests left in memory, and sweeps the expired. Called on a clock and
    /// at the end.
    pub fn tick(&self, now: UnixTime) -> Result<(), StoreError> {
        self.sessions.flush(now)?;
        self.checkpoints.flush(now)?;
        self.keys.flush()
    }
}

/// A change of a user that also ends sessions.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Store(#[from] StoreError),
}
