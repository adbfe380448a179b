//! The session cookie of the front door: out of a request, into a response, and off what goes to ComfyUI.
//!
//! `SameSite=Strict`, because ComfyUI and its nodes change things by GET too, where `Lax` would let a
//! link of another site act as the person who follows it. Who comes by such a link and is logged in
//! goes on from the login page by one click.

use http::{HeaderMap, HeaderValue, header};

use super::OwnNames;
use crate::net::Host;

const PLAIN: &str = "airlock_session";
/// The prefix makes browsers refuse it in the clear, from other hosts and for other paths.
const SECURE: &str = "__Host-airlock_session";

/// How a browser that called by some name keeps the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieScope {
    /// On this machine, and where plain HTTP was allowed by name.
    Plain,
    /// Everywhere else: over TLS alone.
    Secure,
}

/// What a request brings of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought<'h> {
    Nothing,
    Token(&'h str),
    /// Two, or one that is no text: set by somebody else beside ours.
    Unclear,
}

impl CookieScope {
    pub fn of(called: &Host, names: &OwnNames) -> Self {
        match names.plain_is_fine(called) {
            true => Self::Plain,
            false => Self::Secure,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Plain => PLAIN,
            Self::Secure => SECURE,
        }
    }

    pub fn find(self, headers: &HeaderMap) -> Brought<'_> {
        let mut found = Brought::Nothing;
        for line in headers.get_all(header::COOKIE) {
            for pair in line.as_bytes().split(|b| *b == b';') {
                let Some(value) = value_of(pair, self.name()) else {
                    continue;
                };
                found = match (found, std::str::from_utf8(value)) {
                    (Brought::Nothing, Ok(token)) => Brought::Token(token),
                    _ => return Brought::Unclear,
                };
            }
        }
        found
    }

    /// For `Set-Cookie`; `None` for a token that is none of ours.
    pub fn set(self, token: &str, seconds: u64) -> Option<HeaderValue> {
        let (name, secure) = (self.name(), self.secure());
        let text =
            format!("{name}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
        HeaderValue::from_str(&text).ok()
    }

    /// Makes the browser forget it.
    pub fn clear(self) -> Option<HeaderValue> {
        self.set("", 0)
    }

    fn secure(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Secure => "; Secure",
        }
    }
}

fn value_of<'p>(pair: &'p [u8], name: &str) -> Option<&'p [u8]> {
    let pair = pair.trim_ascii();
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

fn is_ours(pair: &[u8]) -> bool {
    [PLAIN, SECURE]
        .iter()
        .any(|name| value_of(pair, name).is_some() || pair.trim_ascii() == name.as_bytes())
}

/// Whether a `Set-Cookie` is for a cookie of ours: nobody behind us may set one.
pub fn sets_ours(cookie: &HeaderValue) -> bool {
    let pair = cookie.as_bytes().split(|b| *b == b';').next();
    pair.is_some_and(is_ours)
}

/// The lines of `Cookie` without ours; `None` where there was none of ours among them.
pub fn without_ours(headers: &HeaderMap) -> Option<Vec<HeaderValue>> {
    let lines = || headers.get_all(header::COOKIE).iter();
    let pairs = |line: &HeaderValue| {
        let pairs = line.as_bytes().split(|b| *b == b';');
        pairs.map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    if !lines().any(|line| pairs(line).iter().any(|pair| is_ours(pair))) {
        return None;
    }
    let kept = lines().filter_map(|line| {
        let mut pairs = pairs(line);
        pairs.retain(|pair| !is_ours(pair) && !pair.trim_ascii().is_empty());
        let joined = pairs.join(&b';');
        // A part of a header value is one.
        let value = HeaderValue::from_bytes(joined.trim_ascii()).ok()?;
        (!value.is_empty()).then_some(value)
    });
    Some(kept.collect())
}

/// Takes ours out of what goes on to somebody else.
pub fn strip(headers: &mut HeaderMap) {
    if let Some(lines) = without_ours(headers) {
        headers.remove(header::COOKIE);
        for line in lines {
            headers.append(header::COOKIE, line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, line.parse().unwrap());
        }
        headers
    }

    #[test]
    fn one_cookie_of_ours_is_found_and_two_are_unclear() {
        use Brought::{Nothing, Token, Unclear};
        for (name, lines, plain, secure) in [
            ("none", vec![], Nothing, Nothing),
            ("alone", vec!["airlock_session=a.b"], Token("a.b"), Nothing),
            (
                "among others",
                vec!["x=1; airlock_session=a.b; y=2"],
                Token("a.b"),
                Nothing,
            ),
            (
                "the one for TLS",
                vec!["__Host-airlock_session=a.b"],
                Nothing,
                Token("a.b"),
            ),
            (
                "in the second line",
                vec!["x=1", "airlock_session=a.b"],
                Token("a.b"),
                Nothing,
            ),
            (
                "a name that ends like ours",
                vec!["x_airlock_session=a.b"],
                Nothing,
                Nothing,
            ),
            (
                "a name that begins like ours",
                vec!["airlock_session2=a.b"],
                Nothing,
                Nothing,
            ),
            (
                "two in a line",
                vec!["airlock_session=a.b; airlock_session=c.d"],
                Unclear,
                Nothing,
            ),
            (
                "two lines",
                vec!["airlock_session=a.b", "airlock_session=a.b"],
                Unclear,
                Nothing,
            ),
        ] {
            let headers = headers(&lines);
            assert_eq!(CookieScope::Plain.find(&headers), plain, "{name}");
            assert_eq!(CookieScope::Secure.find(&headers), secure, "{name}");
        }
    }

    #[test]
    fn what_goes_on_has_every_cookie_but_ours() {
        for (lines, left) in [
            (vec!["x=1; y=2"], vec!["x=1; y=2"]),
            (vec!["x=1; airlock_session=a.b; y=2"], vec!["x=1; y=2"]),
            (vec!["airlock_session=a.b"], vec![]),
            (
                vec![
                    "__Host-airlock_session=a.b; x=1",
                    "airlock_session=c; airlock_session=d",
                ],
                vec!["x=1"],
            ),
            (vec!["airlock_session; x=1"], vec!["x=1"]),
        ] {
            let mut headers = headers(&lines);
            strip(&mut headers);
            let all: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
            assert_eq!(all, left, "{lines:?}");
        }
    }

    #[test]
    fn it_is_set_for_this_origin_alone_and_out_of_reach_of_scripts() {
        let set = |scope: CookieScope| scope.set("a.b", 60).unwrap();
        assert_eq!(
            set(CookieScope::Plain),
            "airlock_session=a.b; Path=/; Max-Age=60; HttpOnly; SameSite=Strict"
        );
        assert_eq!(
            set(CookieScope::Secure),
            "__Host-airlock_session=a.b; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure"
        );
        assert!(sets_ours(&set(CookieScope::Plain)) && sets_ours(&set(CookieScope::Secure)));
        assert!(!sets_ours(&HeaderValue::from_static("x=airlock_session")));
    }

    #[test]
    fn beyond_this_machine_it_wants_tls_unless_the_name_is_allowed_without() {
        let names = OwnNames {
            named: vec![],
            beyond_loopback: true,
            plain_websockets: vec![Host::parse("studio.lan").unwrap()],
        };
        for (host, scope) in [
            ("127.0.0.1", CookieScope::Plain),
            ("localhost", CookieScope::Plain),
            ("studio.lan", CookieScope::Plain),
            ("192.168.1.20", CookieScope::Secure),
            ("comfy.example.com", CookieScope::Secure),
        ] {
            let host = Host::parse(host).unwrap();
            assert_eq!(CookieScope::of(&host, &names), scope, "{host}");
        }
    }
}
