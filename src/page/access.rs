//! Who may call the front door: by which Host, and from which page.
//!
//! ComfyUI checks its own loopback names only; a page that rebinds its name to this machine passes
//! there with its own Host and Origin. So the names are listed here, and a page must be of the very
//! origin that it calls. A program sends no `Origin` and is no page.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::net::{Authority, Host, Port};

/// Whose page asks, and what for, as browsers say it of every request.
pub const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
pub const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Names by which the front door may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnNames {
    /// Beside `localhost` and addresses.
    pub named: Vec<Host>,
    /// Addresses of this machine other than loopback are names of ours too: it listens on them.
    pub beyond_loopback: bool,
    /// Where a WebSocket may be in the clear, beside this machine itself.
    pub plain_websockets: Vec<Host>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessFault {
    #[error(
        "the front door is not known by this name; list it under front_door.hosts if it is yours"
    )]
    Host,
    #[error("a page of another origin may not call this one")]
    Origin,
    #[error("a WebSocket beyond this machine needs TLS")]
    PlainWebsocket,
}

/// What a request says about where it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'h> {
    /// The Host that it calls.
    pub own: &'h Authority,
    pub method: &'h Method,
    pub headers: &'h HeaderMap,
    pub upgrade: bool,
    /// It came to us over TLS.
    pub tls: bool,
}

impl OwnNames {
    /// An address in Host cannot be rebound: the browser dialled it.
    pub fn admits(&self, host: &Host) -> Result<(), AccessFault> {
        let ours = match host {
            Host::Ip(ip) => ip.is_loopback() || self.beyond_loopback,
            Host::Name(_) => is_this_machine(host),
        };
        if ours || self.named.contains(host) {
            Ok(())
        } else {
            Err(AccessFault::Host)
        }
    }

    /// Whether this name may be used without TLS: this machine itself, and what was allowed by name.
    pub fn plain_is_fine(&self, host: &Host) -> bool {
        is_this_machine(host) || self.plain_websockets.contains(host)
    }

    pub fn judge(&self, caller: &Caller<'_>) -> Result<(), AccessFault> {
        self.admits(&caller.own.host)?;
        let origin = origin(caller)?;
        fetch_site(caller)?;
        let in_the_clear = !caller.tls && origin != Some(Scheme::Https);
        if caller.upgrade && in_the_clear && !self.plain_is_fine(&caller.own.host) {
            return Err(AccessFault::PlainWebsocket);
        }
        Ok(())
    }
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Ip(ip) => ip.is_loopback(),
        Host::Name(name) => &**name == "localhost" || name.ends_with(".localhost"),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// The scheme of the page's origin, which must be the one it calls; `None`: no page.
fn origin(caller: &Caller<'_>) -> Result<Option<Scheme>, AccessFault> {
    let mut values = caller.headers.get_all(header::ORIGIN).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| AccessFault::Origin)?;
    let (scheme, port, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (Scheme::Http, Port::HTTP, rest),
        (None, Some(rest)) => (Scheme::Https, Port::HTTPS, rest),
        (None, None) => return Err(AccessFault::Origin),
    };
    // An origin is host and port alone; what reads otherwise is meant to be read in two ways.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    if values.next().is_some() || !rest.bytes().all(plain) {
        return Err(AccessFault::Origin);
    }
    let page = Authority::parse(rest, Some(port)).map_err(|_| AccessFault::Origin)?;
    // Before a terminator of TLS, a Host without a port means the page's own port.
    let by_default = scheme == Scheme::Https && caller.own.port == Port::HTTP;
    let same_port = page.port == caller.own.port || (by_default && page.port == Port::HTTPS);
    if page.host == caller.own.host && same_port {
        Ok(Some(scheme))
    } else {
        Err(AccessFault::Origin)
    }
}

/// Requests without `Origin` that a page of elsewhere makes (pictures, scripts, forms by GET) say so
/// by `Sec-Fetch-Site`. A person who follows a link here is welcome.
fn fetch_site(caller: &Caller<'_>) -> Result<(), AccessFault> {
    let value = |name| caller.headers.get(name).map(HeaderValue::as_bytes);
    match value(FETCH_SITE) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => {
            let followed = value(FETCH_MODE) == Some(b"navigate")
                && value(FETCH_DEST) == Some(b"document")
                && matches!(*caller.method, Method::GET | Method::HEAD);
            if followed && !caller.upgrade {
                Ok(())
            } else {
                Err(AccessFault::Origin)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> OwnNames {
        OwnNames {
            named: vec![Host::parse("studio.lan").unwrap()],
            beyond_loopback: false,
            plain_websockets: vec![],
        }
    }

    struct Row<'t> {
        host: &'t str,
        method: Method,
        headers: &'t [(&'static str, &'t str)],
        upgrade: bool,
    }

    impl Default for Row<'_> {
        fn default() -> Self {
            Self {
                host: "127.0.0.1:8189",
                method: Method::GET,
                headers: &[],
                upgrade: false,
            }
        }
    }

    fn judge(names: &OwnNames, row: &Row<'_>) -> Result<(), AccessFault> {
        let mut headers = HeaderMap::new();
        for (name, value) in row.headers {
            headers.append(*name, value.parse().unwrap());
        }
        names.judge(&Caller {
            own: &Authority::parse(row.host, Some(Port::HTTP)).unwrap(),
            method: &row.method,
            headers: &headers,
            upgrade: row.upgrade,
            tls: false,
        })
    }

    #[test]
    fn names_that_cannot_be_rebound_are_ours() {
        for (host, ours) in [
            ("127.0.0.1:8189", true),
            ("127.0.0.2", true),
            ("[::1]:8189", true),
            ("localhost:8189", true),
            ("LOCALHOST.", true),
            ("a.localhost", true),
            ("studio.lan", true),
            ("evil.example:8189", false),
            ("studio.lan.evil.example", false),
            ("localhost.evil.example", false),
            ("notlocalhost", false),
            ("comfyui", false),
            ("192.168.1.9:8189", false),
            ("0.0.0.0:8189", false),
        ] {
            let host = Authority::parse(host, Some(Port::HTTP)).unwrap().host;
            assert_eq!(names().admits(&host).is_ok(), ours, "{host}");
        }
        let wide = OwnNames {
            beyond_loopback: true,
            ..names()
        };
        for (host, ours) in [("192.168.1.9", true), ("evil.example", false)] {
            assert_eq!(
                wide.admits(&Host::parse(host).unwrap()).is_ok(),
                ours,
                "{host}"
            );
        }
    }

    #[test]
    fn a_page_calls_its_own_origin_and_no_other() {
        use AccessFault::Origin as No;
        for (name, host, origin, want) in [
            ("its own", "127.0.0.1:8189", "http://127.0.0.1:8189", Ok(())),
            (
                "its own by name",
                "localhost:8189",
                "http://localhost:8189",
                Ok(()),
            ),
            (
                "its own in other case",
                "localhost:8189",
                "http://LOCALHOST:8189",
                Ok(()),
            ),
            (
                "behind a terminator of tls",
                "studio.lan",
                "https://studio.lan",
                Ok(()),
            ),
            (
                "behind one on a port",
                "studio.lan:8443",
                "https://studio.lan:8443",
                Ok(()),
            ),
            (
                "another host",
                "127.0.0.1:8189",
                "http://evil.example:8189",
                Err(No),
            ),
            (
                "another port of this machine",
                "127.0.0.1:8189",
                "http://127.0.0.1:3000",
                Err(No),
            ),
            (
                "ComfyUI's own port",
                "127.0.0.1:8189",
                "http://127.0.0.1:8188",
                Err(No),
            ),
            (
                "another name of this machine",
                "127.0.0.1:8189",
                "http://localhost:8189",
                Err(No),
            ),
            ("null", "127.0.0.1:8189", "null", Err(No)),
            ("nothing", "127.0.0.1:8189", "", Err(No)),
            (
                "a path",
                "127.0.0.1:8189",
                "http://127.0.0.1:8189/",
                Err(No),
            ),
            (
                "a user",
                "127.0.0.1:8189",
                "http://a@127.0.0.1:8189",
                Err(No),
            ),
            (
                "a query",
                "127.0.0.1:8189",
                "http://127.0.0.1:8189?",
                Err(No),
            ),
            (
                "a fragment",
                "127.0.0.1:8189",
                "http://127.0.0.1:8189#",
                Err(No),
            ),
            (
                "two in one",
                "127.0.0.1:8189",
                "http://127.0.0.1:8189 http://evil.example",
                Err(No),
            ),
            (
                "another scheme",
                "127.0.0.1:8189",
                "file://127.0.0.1:8189",
                Err(No),
            ),
            (
                "an extension",
                "127.0.0.1:8189",
                "chrome-extension://abcdef",
                Err(No),
            ),
        ] {
            let row = Row {
                host,
                headers: &[("origin", origin)],
                ..Row::default()
            };
            assert_eq!(judge(&names(), &row), want, "{name}");
        }
        let twice = Row {
            headers: &[
                ("origin", "http://127.0.0.1:8189"),
                ("origin", "http://127.0.0.1:8189"),
            ],
            ..Row::default()
        };
        assert_eq!(judge(&names(), &twice), Err(No));
    }

    #[test]
    fn a_rebound_name_is_refused_though_host_and_origin_agree() {
        let row = Row {
            host: "evil.example:8189",
            headers: &[("origin", "http://evil.example:8189")],
            ..Row::default()
        };
        assert_eq!(judge(&names(), &row), Err(AccessFault::Host));
    }

    #[test]
    fn what_a_page_of_elsewhere_fetches_without_an_origin_is_refused() {
        let fetch = |site, mode, dest| {
            vec![
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
                ("sec-fetch-dest", dest),
            ]
        };
        for (name, method, headers, ok) in [
            ("a program", Method::POST, vec![], true),
            (
                "typed by a person",
                Method::GET,
                fetch("none", "navigate", "document"),
                true,
            ),
            (
                "our own page",
                Method::GET,
                fetch("same-origin", "cors", "empty"),
                true,
            ),
            (
                "a link from elsewhere",
                Method::GET,
                fetch("cross-site", "navigate", "document"),
                true,
            ),
            (
                "a form from elsewhere",
                Method::POST,
                fetch("cross-site", "navigate", "document"),
                false,
            ),
            (
                "a picture elsewhere",
                Method::GET,
                fetch("cross-site", "no-cors", "image"),
                false,
            ),
            (
                "a frame elsewhere",
                Method::GET,
                fetch("cross-site", "navigate", "iframe"),
                false,
            ),
            (
                "another port of this machine",
                Method::GET,
                fetch("same-site", "no-cors", "script"),
                false,
            ),
            (
                "a word we do not know",
                Method::GET,
                fetch("x", "no-cors", "image"),
                false,
            ),
        ] {
            let row = Row {
                method,
                headers: &headers,
                ..Row::default()
            };
            assert_eq!(judge(&names(), &row).is_ok(), ok, "{name}");
        }
    }

    #[test]
    fn a_websocket_in_the_clear_stays_on_this_machine() {
        use AccessFault::PlainWebsocket as No;
        let listed = OwnNames {
            plain_websockets: vec![Host::parse("studio.lan").unwrap()],
            ..names()
        };
        for (name, names, host, origin, want) in [
            (
                "loopback",
                names(),
                "127.0.0.1:8189",
                "http://127.0.0.1:8189",
                Ok(()),
            ),
            (
                "localhost",
                names(),
                "localhost:8189",
                "http://localhost:8189",
                Ok(()),
            ),
            (
                "a name in the network",
                names(),
                "studio.lan:8189",
                "http://studio.lan:8189",
                Err(No),
            ),
            (
                "the same, listed",
                listed,
                "studio.lan:8189",
                "http://studio.lan:8189",
                Ok(()),
            ),
            (
                "the same behind tls",
                names(),
                "studio.lan",
                "https://studio.lan",
                Ok(()),
            ),
        ] {
            let row = Row {
                host,
                headers: &[("origin", origin)],
                upgrade: true,
                ..Row::default()
            };
            assert_eq!(judge(&names, &row), want, "{name}");
        }
    }
}
