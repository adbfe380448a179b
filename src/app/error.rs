//! Why a start failed.

use crate::{
    audit::AuditError,
    listener::BindError,
    session::{IdentityError, SessionError, UserError},
    store::StoreError,
    tls::{CaError, LeafError, TlsConfigError},
    upstream::private_ca::PrivateCaError,
};

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "cannot use the state folder {path}: {problem}; set AIRLOCK_STATE_DIR to one this user can write"
    )]
    StateDir { path: String, problem: String },
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error("cannot write the CA bundle: {0}")]
    Bundle(String),
    #[error(transparent)]
    Leaf(#[from] LeafError),
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
    #[error(transparent)]
    PrivateCa(#[from] PrivateCaError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the first admin cannot be made: {0}")]
    FirstAdmin(#[from] UserError),
    #[error("the sessions of before people had to log in cannot be ended: {0}")]
    EndLocal(SessionError),
    #[error(transparent)]
    Bind(#[from] BindError),
}

impl StartError {
    /// A setting is wrong, as opposed to a resource that is not to be had.
    pub fn is_configuration(&self) -> bool {
        match self {
            StartError::Tls(_) | StartError::PrivateCa(_) => true,
            StartError::StateDir { .. }
            | StartError::Ca(_)
            | StartError::Bundle(_)
            | StartError::Leaf(_)
            | StartError::Audit(_)
            | StartError::EndLocal(_)
            | StartError::Store(_)
            | StartError::Identity(_)
            | StartError::FirstAdmin(_)
            | StartError::Bind(_) => false,
        }
    }
}
