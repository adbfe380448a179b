//! What the parent tells the helper before it starts, and how a published port is written.

use std::{path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

/// File in the private folder that holds the [`Plan`].
pub const PLAN: &str = "plan.json";
/// Unix socket of the lines in [`super::control`].
pub const CONTROL: &str = "control.sock";
/// Unix socket on which the helper answers a request for a published port.
pub const PUBLISHED: &str = "published.sock";

/// Unix socket that leads to Airlock's listener of this port.
pub fn door_socket(port: u16) -> String {
    format!("door-{port}.sock")
}

/// Everything the helper does before the program starts.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Ports on the namespace's loopback, each one a door to an Airlock listener.
    pub doors: Vec<u16>,
    /// Folders that become empty.
    pub hidden_folders: Vec<PathBuf>,
    /// Unix sockets that become unusable.
    pub hidden_sockets: Vec<PathBuf>,
    /// Public file that must be readable at its place although its folder is hidden.
    pub ca_bundle: PathBuf,
    /// Airlock's configuration, which is read again when it changes: not for the program to write.
    pub sealed: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`, made anew and empty.
    pub runtime_folder: Option<PathBuf>,
}

/// A port of the host's loopback that leads to a port inside: `8188`, or `8190:8188`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// 0 for any free port.
    pub host: u16,
    pub inside: u16,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a port, as in 8188, or the host's and the program's, as in 8190:8188")]
pub struct PublishError;

impl FromStr for Publish {
    type Err = PublishError;

    fn from_str(text: &str) -> Result<Self, PublishError> {
        let port = |text: &str| {
            let plain = text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| plain).ok_or(PublishError)
        };
        let (host, inside) = match text.split_once(':') {
            Some((host, inside)) => (port(host)?, port(inside)?),
            None => (port(text)?, port(text)?),
        };
        match inside {
            0 => Err(PublishError),
            inside => Ok(Self { host, inside }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_port_is_one_or_two_numbers() {
        for (name, text, want) in [
            ("one port is both", "8188", Some((8188, 8188))),
            ("the host's comes first", "8190:8188", Some((8190, 8188))),
            ("any free port of the host", "0:8188", Some((0, 8188))),
            ("no port inside is any port", "8188:0", None),
            ("nor is zero alone", "0", None),
            ("out of range", "65536", None),
            ("a sign is no digit", "+80", None),
            ("an address is not for the taking", "0.0.0.0:80:80", None),
            ("a name", "http", None),
            ("nothing", "", None),
            ("half of a pair", "80:", None),
        ] {
            let got = text.parse::<Publish>().ok().map(|p| (p.host, p.inside));
            assert_eq!(got, want, "{name}");
        }
    }
}
