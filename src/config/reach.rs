//! Which listeners other machines reach, and what opens them.
//!
//! People log in at the front door, and programs show an API key at the proxy and the base URL. Where a
//! network is itself the answer, as that of containers with nothing else in it, it is named: the name says
//! to whoever reads the file what was opened, and stands in the notes of every start.

use crate::net::Entry;

use super::{Config, Listeners, error::Errors, reader::Field};

/// Per listener: the network whose every member may use it without a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedNetworks {
    pub explicit: Option<String>,
    pub reverse: Option<String>,
    pub transparent_tls: Option<String>,
    pub transparent_http: Option<String>,
    pub admin: Option<String>,
}

pub(super) fn read(field: Field, errors: &mut Errors) -> TrustedNetworks {
    let mut out = TrustedNetworks::default();
    let Some(mut s) = field.section(errors) else {
        return out;
    };
    let name = |field: Option<Field>, errors: &mut Errors| {
        field.and_then(|f| f.parse(errors, "the name of a network, such as llm_net", network))
    };
    out.explicit = name(s.take("explicit"), errors);
    out.reverse = name(s.take("reverse"), errors);
    out.transparent_tls = name(s.take("transparent_tls"), errors);
    out.transparent_http = name(s.take("transparent_http"), errors);
    out.admin = name(s.take("admin"), errors);
    s.close(errors);
    out
}

fn network(text: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/:".contains(&b);
    match (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("is no name of a network: write one word, such as llm_net or 10.20.0.0/16"),
    }
}

/// What a listener can ask of who comes from another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// A login, a token or an API key.
    Key,
    /// It has no place for one.
    Nothing,
}

struct Reach<'l> {
    /// As in [`Listeners::addresses`].
    setting: &'static str,
    key: &'static str,
    asks: Asks,
    trusted: Option<&'l str>,
}

fn reaches(trusted: &TrustedNetworks) -> [Reach<'_>; 6] {
    let TrustedNetworks {
        explicit,
        reverse,
        transparent_tls,
        transparent_http,
        admin,
    } = trusted;
    [
        Reach {
            setting: "listeners.explicit",
            key: "explicit",
            asks: Asks::Key,
            trusted: explicit.as_deref(),
        },
        Reach {
            setting: "listeners.reverse.listen",
            key: "reverse",
            asks: Asks::Key,
            trusted: reverse.as_deref(),
        },
        Reach {
            setting: "listeners.transparent_tls",
            key: "transparent_tls",
            asks: Asks::Nothing,
            trusted: transparent_tls.as_deref(),
        },
        Reach {
            setting: "listeners.transparent_http",
            key: "transparent_http",
            asks: Asks::Nothing,
            trusted: transparent_http.as_deref(),
        },
        Reach {
            setting: "listeners.admin",
            key: "admin",
            asks: Asks::Nothing,
            trusted: admin.as_deref(),
        },
        // It is where people log in: no network takes the place of that.
        Reach {
            setting: "front_door.listen",
            key: "",
            asks: Asks::Key,
            trusted: None,
        },
    ]
}

/// A listener that other machines reach asks who comes, or names who they are; else there is no start.
pub(super) fn check(
    listeners: &Listeners,
    users_required: bool,
    errors: &mut Errors,
    notes: &mut Vec<String>,
) {
    for (name, address) in listeners.addresses() {
        let Some(reach) = reaches(&listeners.trusted)
            .into_iter()
            .find(|r| r.setting == name)
        else {
            continue;
        };
        let Reach {
            setting: _,
            key,
            asks,
            trusted,
        } = reach;
        let beyond = !address.ip().is_loopback();
        match (beyond, trusted, asks) {
            (false, None, _) => {}
            (false, Some(_), _) => {
                let setting = format!("listeners.trusted_networks.{key}");
                let message = format!("opens nothing: {name} is on {address}; leave it out");
                errors.add(&setting, None, message);
            }
            (true, Some(network), _) => notes.push(format!(
                "{name} is open to everybody in {network} on {address}: no key is asked for there"
            )),
            (true, None, Asks::Key) if users_required => {
                let asked = match name {
                    "front_door.listen" => "people log in",
                    _ => "an API key is asked for",
                };
                notes.push(format!("{name} is open to the network on {address}: {asked}"));
            }
            (true, None, Asks::Key) => errors.add(
                name,
                None,
                format!(
                    "{address} can be reached from other machines, and nobody has to log in: write\n  \
                     users:\n    required: true"
                ),
            ),
            (true, None, Asks::Nothing) => errors.add(
                name,
                None,
                format!(
                    "{address} can be reached from other machines, and there is no place for a key in \
                     what comes there; bind it to 127.0.0.1, or name the network whose members may \
                     all use it:\n  listeners:\n    trusted_networks: {{{key}: NAME}}"
                ),
            ),
        }
    }
}

impl Config {
    /// Entries where nobody comes in without a login or a key.
    pub fn asking(&self) -> Vec<Entry> {
        let mut asking = self.listeners.asking();
        if self.users.required {
            asking.push(Entry::FrontDoor);
        }
        asking
    }
}

impl Listeners {
    /// Entries of the Python side where nobody comes in without a key.
    pub fn asking(&self) -> Vec<Entry> {
        let Self {
            explicit,
            reverse,
            trusted,
            ..
        } = self;
        let beyond = |address: Option<std::net::SocketAddr>| {
            address.is_some_and(|address| !address.ip().is_loopback())
        };
        let explicit = beyond(*explicit) && trusted.explicit.is_none();
        let reverse = beyond(reverse.as_ref().map(|r| r.listen)) && trusted.reverse.is_none();
        let explicit = explicit.then_some(Entry::Explicit);
        explicit
            .into_iter()
            .chain(reverse.then_some(Entry::Reverse))
            .collect()
    }
}
