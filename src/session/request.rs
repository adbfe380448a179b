//! What the owner of this machine may ask: the commands `session`, `secret`, `user` and `key`.
//!
//! One value in, JSON out, so that a command does the same whether it holds the store itself or
//! asks the airlock that does. The JSON is the `--json` contract of the commands. Times are seconds
//! since 1970.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    store::StoreError,
    token::{Role, SessionId, UnixTime, Username},
};

use super::{
    Active, Identity, NoRandomness, SecretError, SessionError, UserError,
    api_key::{KeyError, Wish},
    identity::ChangeError,
    random,
    record::SessionRecord,
};

/// Body of the control plane's `POST /identity`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    SessionIssue {
        username: Username,
        /// At most the user's own; needed where there is no such user.
        role: Option<Role>,
        /// Seconds.
        lifetime: Option<u64>,
    },
    SessionShow {
        session_id: SessionId,
    },
    SessionVerify {
        token: String,
    },
    SessionRevoke {
        session_id: SessionId,
    },
    SessionRevokeUser {
        username: Username,
    },
    SessionList,
    SecretRotate {
        force: bool,
    },
    UserAdd {
        username: Username,
        role: Role,
        /// `None`: one is made, and shown once.
        password: Option<String>,
    },
    UserList,
    UserPassword {
        username: Username,
        password: Option<String>,
    },
    UserRemove {
        username: Username,
    },
    KeyAdd {
        name: Username,
        role: Role,
        /// Seconds.
        lifetime: Option<u64>,
        requests_per_minute: Option<u32>,
        concurrent: Option<u32>,
    },
    KeyList,
    KeyRotate {
        name: Username,
        /// Seconds that the old secret is taken for.
        overlap: u64,
    },
    KeyRemove {
        name: Username,
    },
}

impl Request {
    /// For the log: what, and nothing of what is in it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SessionIssue { .. } => "session_issue",
            Self::SessionShow { .. } => "session_show",
            Self::SessionVerify { .. } => "session_verify",
            Self::SessionRevoke { .. } => "session_revoke",
            Self::SessionRevokeUser { .. } => "session_revoke_user",
            Self::SessionList => "session_list",
            Self::SecretRotate { .. } => "secret_rotate",
            Self::UserAdd { .. } => "user_add",
            Self::UserList => "user_list",
            Self::UserPassword { .. } => "user_password",
            Self::UserRemove { .. } => "user_remove",
            Self::KeyAdd { .. } => "key_add",
            Self::KeyList => "key_list",
            Self::KeyRotate { .. } => "key_rotate",
            Self::KeyRemove { .. } => "key_remove",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    #[error(
        "there is no user {0}: add one (`airlock user add {0}`), or name a role for a session without one (--role user)"
    )]
    NoSuchUser(Username),
    #[error("{username} is {role} only: a session cannot be more than its user")]
    AboveUser { username: Username, role: Role },
    #[error("a limit of 0 would let nothing through: write 1 or more, or leave it out")]
    Zero,
}

impl From<ChangeError> for RequestError {
    fn from(e: ChangeError) -> Self {
        match e {
            ChangeError::User(e) => e.into(),
            ChangeError::Session(e) => e.into(),
            ChangeError::Store(e) => e.into(),
        }
    }
}

impl Identity {
    /// Blocking. What was changed is on disk when it returns.
    pub fn perform(&self, request: Request, now: UnixTime) -> Result<Value, RequestError> {
        Ok(match request {
            Request::SessionIssue {
                username,
                role,
                lifetime,
            } => {
                let role = self.role_for(&username, role)?;
                let lifetime = lifetime.map(Duration::from_secs);
                if lifetime.is_some_and(|l| l.is_zero()) {
                    return Err(RequestError::Zero);
                }
                let issued = self.sessions.issue(username, role, lifetime, now)?;
                let mut shown = session(&issued.session, now);
                shown["token"] = issued.token.into();
                shown
            }
            Request::SessionShow { session_id } => {
                let found = self.sessions.show(session_id);
                session(&found.ok_or(SessionError::Unknown(session_id))?, now)
            }
            Request::SessionVerify { token } => verified(self.sessions.inspect(&token, now)),
            Request::SessionRevoke { session_id } => {
                session(&self.sessions.revoke(session_id, now)?, now)
            }
            Request::SessionRevokeUser { username } => {
                json!({"username": username, "sessions_revoked": self.sessions.revoke_user(&username, now)?})
            }
            Request::SessionList => {
                let all = self.sessions.list();
                json!({"sessions": all.iter().map(|s| session(s, now)).collect::<Vec<_>>()})
            }
            Request::SecretRotate { force } => {
                json!({"rotated": true, "previous_until": self.rotate_secret(force, now)?})
            }
            Request::UserAdd {
                username,
                role,
                password,
            } => {
                let (password, made) = chosen(password)?;
                let user = self.users.add(username, role, &password, now)?;
                with(json!(user), "password", made)
            }
            Request::UserList => json!({"users": self.users.list()}),
            Request::UserPassword { username, password } => {
                let (password, made) = chosen(password)?;
                let (user, revoked) = self.set_password(&username, &password, now)?;
                let mut shown = with(json!(user), "password", made);
                shown["sessions_revoked"] = revoked.into();
                shown
            }
            Request::UserRemove { username } => {
                let (user, revoked) = self.remove_user(&username, now)?;
                let mut shown = json!(user);
                shown["sessions_revoked"] = revoked.into();
                shown
            }
            Request::KeyAdd {
                name,
                role,
                lifetime,
                requests_per_minute,
                concurrent,
            } => {
                if requests_per_minute == Some(0) || concurrent == Some(0) || lifetime == Some(0) {
                    return Err(RequestError::Zero);
                }
                let wish = Wish {
                    name,
                    role,
                    expires: lifetime.map(|l| now.plus(Duration::from_secs(l))),
                    requests_per_minute,
                    concurrent,
                };
                let (key, text) = self.keys.add(wish, now)?;
                with(json!(key), "key", Some(text.to_string()))
            }
            Request::KeyList => json!({"keys": self.keys.list()}),
            Request::KeyRotate { name, overlap } => {
                let overlap = Duration::from_secs(overlap);
                let (key, text) = self.keys.rotate(&name, overlap, now)?;
                with(json!(key), "key", Some(text.to_string()))
            }
            Request::KeyRemove { name } => json!(self.keys.remove(&name)?),
        })
    }

    fn role_for(&self, username: &Username, wanted: Option<Role>) -> Result<Role, RequestError> {
        match (self.users.find(username), wanted) {
            (Some(user), None) => Ok(user.role),
            (Some(user), Some(wanted)) if user.role.covers(wanted) => Ok(wanted),
            (Some(user), Some(_)) => Err(RequestError::AboveUser {
                username: user.username,
                role: user.role,
            }),
            (None, Some(wanted)) => Ok(wanted),
            (None, None) => Err(RequestError::NoSuchUser(username.clone())),
        }
    }
}

/// The password, and again where it was made here and is to be shown.
fn chosen(password: Option<String>) -> Result<(String, Option<String>), RequestError> {
    match password {
        Some(password) => Ok((password, None)),
        None => {
            let made = random::password()?.to_string();
            Ok((made.clone(), Some(made)))
        }
    }
}

fn with(mut shown: Value, key: &str, value: Option<String>) -> Value {
    shown[key] = value.into();
    shown
}

fn session(record: &SessionRecord, now: UnixTime) -> Value {
    let SessionRecord {
        session_id,
        username,
        role,
        created_at,
        last_activity,
        expires,
        lifetime: _,
        token_expiries: _,
        revoked_at,
        checkpoints,
        config,
    } = record;
    let state = match revoked_at {
        Some(_) => "revoked",
        None if *expires <= now => "expired",
        None => "active",
    };
    json!({
        "session_id": session_id, "username": username, "role": role, "state": state,
        "created_at": created_at, "last_activity": last_activity, "expires": expires,
        "revoked_at": revoked_at, "checkpoints": checkpoints,
        "config": serde_json::from_str::<Value>(config).unwrap_or_default(),
    })
}

fn verified(judged: Result<Active, super::Refused>) -> Value {
    match judged {
        Ok(active) => json!({
            "valid": true, "reason": null, "session_id": active.session_id(),
            "username": active.username(), "role": active.role(), "expires": active.expires(),
        }),
        Err(refused) => json!({"valid": false, "reason": refused.code()}),
    }
}
