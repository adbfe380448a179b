//! The login page: what it shows, what its form brings, and where it leads to.
//!
//! Pure: `front_door::login` serves it and asks `session`, and `proxy::identity` shows it in place of a
//! refusal. It works without a script, and its policy allows none.

use std::{fmt::Write, sync::LazyLock};

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode;
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("login.html");
const STYLE: &str = include_str!("login.css");

pub const LOGIN_PATH: &str = "/airlock/login";
pub const LOGOUT_PATH: &str = "/airlock/logout";
/// Bytes of the form: a name, a password of 256 bytes percent-encoded, and a path.
pub const MAX_FORM: usize = 8 << 10;
const MAX_PATH: usize = 2048;

/// Headers of the page, beside its type. `same-origin`, because a page without a referrer posts its
/// form with `Origin: null`.
pub fn headers() -> [(&'static str, &'static str); 5] {
    [
        ("content-security-policy", POLICY.as_str()),
        ("cache-control", "no-store"),
        ("referrer-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ]
}

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    )
});

/// Where a person goes on after the login: a path of this very origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination(String);

impl Destination {
    /// The start page for whatever is no plain path of ours. `//host` and `/\host` are other hosts to
    /// a browser, which also skips tabs and line feeds.
    pub fn parse(text: &str) -> Self {
        let plain = |b: u8| b.is_ascii_graphic() && b != b'\\';
        let own = text.starts_with('/') && !text.starts_with("//");
        let path = text.split(['?', '#']).next().unwrap_or_default();
        let back_here = [LOGIN_PATH, LOGOUT_PATH].contains(&path);
        if own && !back_here && text.len() <= MAX_PATH && text.bytes().all(plain) {
            Self(text.to_owned())
        } else {
            Self("/".to_owned())
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is shown above the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'n> {
    Nothing,
    LoggedOut,
    /// A sentence about what went wrong; ours, never a client's.
    Problem(&'n str),
}

/// The form.
pub fn form(to: &Destination, notice: Notice<'_>) -> String {
    let to = escaped(to.as_str());
    let notice = match notice {
        Notice::Nothing => String::new(),
        Notice::LoggedOut => "<p role=\"status\">You are logged out.</p>\n".to_owned(),
        Notice::Problem(words) => {
            let words = escaped(words);
            format!("<p class=\"bad\" role=\"alert\">{words}</p>\n")
        }
    };
    let content = format!(
        "{notice}<form method=\"post\" action=\"{LOGIN_PATH}\">\n\
         <input type=\"hidden\" name=\"to\" value=\"{to}\">\n\
         <label for=\"name\">Name</label>\n\
         <input id=\"name\" name=\"username\" autocomplete=\"username\" autocapitalize=\"none\" \
         spellcheck=\"false\" maxlength=\"64\" required autofocus>\n\
         <label for=\"password\">Password</label>\n\
         <input id=\"password\" name=\"password\" type=\"password\" \
         autocomplete=\"current-password\" maxlength=\"256\" required>\n\
         <button>Log in</button>\n</form>\n\
         <p class=\"on\">Logged in already? <a href=\"{to}\">Go on</a></p>"
    );
    page("Log in", "Log in to ComfyUI", &content)
}

/// For somebody who is logged in.
pub fn account(username: &str, role: &str) -> String {
    let (username, role) = (escaped(username), escaped(role));
    let content = format!(
        "<p class=\"who\">You are logged in as <strong>{username}</strong> ({role}).</p>\n\
         <a class=\"button\" href=\"/\">Open ComfyUI</a>\n\
         <form method=\"post\" action=\"{LOGOUT_PATH}\"><button class=\"quiet\">Log out</button></form>"
    );
    page("Logged in", "Welcome", &content)
}

/// Where nobody has to log in.
pub fn open() -> String {
    let content = "<p class=\"who\">This ComfyUI is for one person, and asks for no login.</p>\n\
                   <a class=\"button\" href=\"/\">Open ComfyUI</a>";
    page("No login", "Come in", content)
}

fn page(title: &str, heading: &str, content: &str) -> String {
    // The style first: what follows holds words of a request.
    PAGE.replace("{style}", STYLE)
        .replace("{title}", title)
        .replace("{heading}", heading)
        .replace("{content}", content)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' | '<' | '>' | '"' | '\'' => {
                let _ = write!(out, "&#{};", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out
}

/// The fields of the form (`application/x-www-form-urlencoded`).
#[derive(Clone, PartialEq, Eq)]
pub struct Form {
    pub username: String,
    pub password: zeroize::Zeroizing<String>,
    pub to: Destination,
}

impl Form {
    /// `None`: it is not that form. A field that is given twice could be read in two ways.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let [mut username, mut password, mut to] = [None, None, None];
        for pair in body.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            let at = pair.iter().position(|b| *b == b'=')?;
            let (name, value) = pair.split_at(at);
            let field = match name {
                b"username" => &mut username,
                b"password" => &mut password,
                b"to" => &mut to,
                _ => continue,
            };
            if field.is_some() {
                return None;
            }
            *field = Some(decoded(value.get(1..)?)?);
        }
        Some(Self {
            username: username?,
            password: password?.into(),
            to: Destination::parse(&to.unwrap_or_default()),
        })
    }
}

/// The value of `to` in a query.
pub fn destination_of(query: &str) -> Destination {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut to = pairs.filter(|(name, _)| *name == "to").map(|(_, v)| v);
    let text = to.next_back().and_then(|value| decoded(value.as_bytes()));
    Destination::parse(&text.unwrap_or_default())
}

fn decoded(value: &[u8]) -> Option<String> {
    let spaced: Vec<u8> = value
        .iter()
        .map(|b| if *b == b'+' { b' ' } else { *b })
        .collect();
    let text = percent_decode(&spaced).decode_utf8().ok()?;
    Some(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_on_to_a_path_of_this_origin_and_nowhere_else() {
        for (name, text, want) in [
            ("a path", "/a/b?c=d#e", "/a/b?c=d#e"),
            ("an encoded one", "/a%2Fb", "/a%2Fb"),
            ("the start page", "/", "/"),
            ("nothing", "", "/"),
            ("another host", "//evil.example/", "/"),
            ("another host, by a backslash", "/\\evil.example", "/"),
            ("a backslash later on", "/a\\..\\b", "/"),
            ("a tab, which browsers skip", "/\t/evil.example", "/"),
            ("a line feed", "/\n/evil.example", "/"),
            ("a header of its own", "/a\r\nSet-Cookie: x=1", "/"),
            ("a whole address", "https://evil.example/", "/"),
            ("a script", "javascript:alert(1)", "/"),
            ("a path without a slash", "evil.example", "/"),
            ("beyond ASCII", "/ä", "/"),
            ("the login itself", "/airlock/login?to=/x", "/"),
            ("the logout", "/airlock/logout", "/"),
            ("the receipt", "/airlock/receipt", "/airlock/receipt"),
        ] {
            assert_eq!(Destination::parse(text).as_str(), want, "{name}");
        }
        let long = format!("/{}", "x".repeat(MAX_PATH));
        assert_eq!(Destination::parse(&long).as_str(), "/");
    }

    #[test]
    fn the_form_is_read_and_a_doubled_field_is_not() {
        let form = Form::parse(b"username=ada&password=p%26w+%C3%A4&to=%2Fa%3Fb").unwrap();
        assert_eq!(form.username, "ada");
        assert_eq!(form.password.as_str(), "p&w \u{e4}");
        assert_eq!(form.to.as_str(), "/a?b");
        assert!(Form::parse(b"username=a&password=b&other=c").is_some());
        for (name, body) in [
            ("no password", &b"username=ada"[..]),
            ("no value", b"username&password=b"),
            ("twice", b"username=a&username=b&password=c"),
            ("no UTF-8", b"username=%ff&password=b"),
            ("json", b"{\"username\":\"a\"}"),
            ("nothing", b""),
        ] {
            assert!(Form::parse(body).is_none(), "{name}");
        }
        assert_eq!(destination_of("x=1&to=%2Fa%2Fb").as_str(), "/a/b");
        assert_eq!(destination_of("to=%2F%2Fevil.example").as_str(), "/");
    }

    #[test]
    fn nothing_of_a_request_becomes_markup() {
        let to = Destination::parse("/\"><script>alert(1)</script>{style}");
        let page = form(&to, Notice::Problem("<b>"));
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
        assert!(page.contains("value=\"/&#34;&#62;&#60;script&#62;alert(1)"));
        assert_eq!(page.matches("color-scheme: light dark").count(), 1);
        assert!(!account("<i>", "user").contains("<i>"));
        for page in [page, account("ada", "user"), open()] {
            assert!(!page.contains("{title}") && !page.contains("{content}"));
            assert!(page.contains(STYLE), "the hash is of what is in the page");
        }
    }

    #[test]
    fn the_page_may_run_and_load_nothing() {
        let [(_, policy), ..] = headers();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-"),
            "{policy}"
        );
        assert!(
            !policy.contains("script") && !policy.contains("unsafe"),
            "{policy}"
        );
        // openssl dgst -sha256 -binary src/page/login.css | base64
        assert_eq!(headers().len(), 5);
    }
}
