//! `airlock exec --isolate`: a program in a network namespace whose only way out is Airlock (Linux).
//!
//! The namespace has no interface but `lo`, so whatever the program sends elsewhere has no route:
//! UDP, ICMP, raw sockets, IPv6, clients that ignore proxy variables. Inside, a helper (this binary
//! again) listens where the proxy variables point and carries each connection over a Unix socket to
//! [`outside`], which knows nothing but Airlock's own listeners.
//!
//! | file | what |
//! |---|---|
//! | [`kernel`] | does this system allow it, and if not, what to change |
//! | [`plan`] | what the parent tells the helper; `--publish` |
//! | [`outside`] | the parent: Unix sockets to Airlock's listeners, published ports, signals |
//! | [`inside`] | the helper: `lo`, covers, listeners, the program |
//! | [`cover`] | Unix sockets and private folders put out of the program's sight |
//! | [`sockets`] | which families of sockets the program may make |
//! | [`interface`] | brings `lo` up by a netlink message |
//! | [`control`] | the lines between parent and helper |
//!
//! Called by `cli`. It must never dial an address that comes from the namespace: the doors are fixed
//! before the program starts, and everything else stays policy's business, behind Airlock's listeners.

mod control;
mod cover;
pub mod inside;
mod interface;
mod kernel;
mod outside;
mod plan;
mod sockets;

use std::{io, net::SocketAddr, path::PathBuf};

pub use outside::{Isolated, run};
pub use plan::{Publish, PublishError};

/// Connections at a time through each door and each published port.
const MAX_CONNECTIONS: usize = 1024;

/// Why an isolated program was not started. Nothing of it has run.
#[derive(Debug, thiserror::Error)]
pub enum IsolateError {
    #[error("`{0}` is missing; install util-linux 2.36 or newer, and put it on PATH")]
    ToolMissing(&'static str),
    #[error("no network namespace can be made here: {0}")]
    Namespace(String),
    #[error(
        "the working directory {cwd} lies in {hidden}, which an isolated program does not see; start it from another folder"
    )]
    WorkingDirectory { cwd: PathBuf, hidden: PathBuf },
    #[error("--publish {text}: {source}")]
    PublishSyntax { text: String, source: PublishError },
    #[error("cannot publish on {address}: {source}; name a free port, as in --publish 8190:8188")]
    Publish {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("port {0} is published twice; name each one once")]
    PublishedTwice(u16),
    #[error(
        "this kernel takes no filter for sockets that leave the namespace ({0}); it needs CONFIG_SECCOMP_FILTER"
    )]
    Filter(#[from] seccompiler::Error),
    #[error("cannot {what}: {source}")]
    Io {
        what: &'static str,
        source: io::Error,
    },
}

impl IsolateError {
    /// For `map_err`: says what was being done.
    fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}
