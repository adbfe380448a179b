//! What a browser reports about a refusal (`application/csp-report`), read with suspicion.
//!
//! Anything can send one, so nothing in it is believed beyond its form. The blocked URL may carry a
//! prompt or a key in its path or query: of it only host and port are kept, of the page its path.

use serde::Deserialize;

use crate::{
    net::{Authority, Port},
    policy::path,
};

/// Bytes of a report that are read at all; a browser's has about two thousand.
pub const MAX_REPORT: usize = 16 << 10;
const MAX_PAGE: usize = 256;

/// One refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the page, without its query; `None` for a document that is none of ours.
    pub page: Option<String>,
    pub directive: Directive,
    pub blocked: Blocked,
    /// The browser refused it; otherwise it only reports.
    pub enforced: bool,
}

/// What the page tried to reach or run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    Host(Authority),
    /// An inline script or style.
    Inline,
    /// Text run as a program.
    Eval,
    /// A URL without a host: `data:`, `blob:` and the like.
    NoHost,
}

impl std::fmt::Display for Blocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Blocked::Host(authority) => authority.fmt(f),
            Blocked::Inline => f.write_str("inline"),
            Blocked::Eval => f.write_str("eval"),
            Blocked::NoHost => f.write_str("no host"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    #[error("a report may have {MAX_REPORT} bytes")]
    TooLong,
    #[error("this is no application/csp-report: {{\"csp-report\":{{…}}}} with its directive")]
    Malformed,
}

macro_rules! directives {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// The closed set that metrics are labelled with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Directive { $($name,)* Other }

        impl Directive {
            pub const ALL: &'static [Directive] = &[$(Directive::$name,)* Directive::Other];
            pub fn as_str(self) -> &'static str {
                match self { $(Directive::$name => $text,)* Directive::Other => "other" }
            }
            fn parse(text: &str) -> Self {
                match text { $($text => Directive::$name,)* _ => Directive::Other }
            }
        }
    };
}

directives! {
    BaseUri = "base-uri",
    ChildSrc = "child-src",
    ConnectSrc = "connect-src",
    DefaultSrc = "default-src",
    FontSrc = "font-src",
    FormAction = "form-action",
    FrameAncestors = "frame-ancestors",
    FrameSrc = "frame-src",
    ImgSrc = "img-src",
    ManifestSrc = "manifest-src",
    MediaSrc = "media-src",
    ObjectSrc = "object-src",
    ScriptSrc = "script-src",
    ScriptSrcAttr = "script-src-attr",
    ScriptSrcElem = "script-src-elem",
    StyleSrc = "style-src",
    StyleSrcAttr = "style-src-attr",
    StyleSrcElem = "style-src-elem",
    WorkerSrc = "worker-src",
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "csp-report")]
    report: Fields,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Fields {
    #[serde(default)]
    document_uri: String,
    #[serde(default)]
    blocked_uri: String,
    #[serde(default)]
    effective_directive: String,
    /// The older name; its value may go on with the sources.
    #[serde(default)]
    violated_directive: String,
    #[serde(default)]
    disposition: String,
}

impl Violation {
    pub fn parse(body: &[u8]) -> Result<Self, ReportError> {
        if body.len() > MAX_REPORT {
            return Err(ReportError::TooLong);
        }
        let Body { report } = serde_json::from_slice(body).map_err(|_| ReportError::Malformed)?;
        let Fields {
            document_uri,
            blocked_uri,
            effective_directive,
            violated_directive,
            disposition,
        } = report;
        let directive = if effective_directive.is_empty() {
            violated_directive.split(' ').next().unwrap_or_default()
        } else {
            &effective_directive
        };
        if directive.is_empty() {
            return Err(ReportError::Malformed);
        }
        Ok(Self {
            page: page(&document_uri),
            directive: Directive::parse(directive),
            blocked: blocked(&blocked_uri),
            enforced: disposition != "report",
        })
    }
}

/// Authority and the rest of a URL with one of the schemes that have a host.
fn split(url: &str) -> Option<(Port, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let port = match scheme.to_ascii_lowercase().as_str() {
        "https" | "wss" => Port::HTTPS,
        "http" | "ws" => Port::HTTP,
        _ => return None,
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    Some((port, authority, rest))
}

fn blocked(url: &str) -> Blocked {
    match url {
        "inline" => return Blocked::Inline,
        "eval" | "wasm-eval" => return Blocked::Eval,
        _ => {}
    }
    let Some((port, authority, _)) = split(url) else {
        return Blocked::NoHost;
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, h)| h);
    Authority::parse(host, Some(port)).map_or(Blocked::NoHost, Blocked::Host)
}

fn page(url: &str) -> Option<String> {
    let (_, _, rest) = split(url)?;
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let path = path::canonical(if path.is_empty() { "/" } else { path }).ok()?;
    if !path.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    // All ASCII: every cut is one between characters.
    Some(path.get(..MAX_PAGE).unwrap_or(&path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(fields: &str) -> Vec<u8> {
        format!("{{\"csp-report\":{{{fields}}}}}").into_bytes()
    }

    fn host(text: &str) -> Blocked {
        Blocked::Host(Authority::parse(text, None).unwrap())
    }

    /// As Chromium sends it.
    const REAL: &str = r#""document-uri":"http://127.0.0.1:8189/?key=s3cret#x","referrer":"","violated-directive":"connect-src","effective-directive":"connect-src","original-policy":"default-src 'none'","disposition":"enforce","blocked-uri":"https://api.comfy.org/releases?project=s3cret","line-number":1,"column-number":2,"source-file":"http://127.0.0.1:8189/a.js","status-code":200,"script-sample":"""#;

    #[test]
    fn a_report_of_chromium_is_read_and_its_secrets_are_not_kept() {
        let got = Violation::parse(&report(REAL)).unwrap();
        let want = Violation {
            page: Some("/".into()),
            directive: Directive::ConnectSrc,
            blocked: host("api.comfy.org:443"),
            enforced: true,
        };
        assert_eq!(got, want);
        assert!(!format!("{got:?}").contains("s3cret"));
    }

    #[test]
    fn what_was_blocked_is_told_by_host_alone() {
        for (url, want) in [
            ("https://evil.test/a?b", host("evil.test:443")),
            ("http://evil.test:8080", host("evil.test:8080")),
            ("wss://evil.test/x", host("evil.test:443")),
            ("HTTPS://Evil.Test", host("evil.test:443")),
            ("https://user:pw@evil.test/", host("evil.test:443")),
            ("https://a@b@evil.test/", host("evil.test:443")),
            ("inline", Blocked::Inline),
            ("eval", Blocked::Eval),
            ("wasm-eval", Blocked::Eval),
            ("data", Blocked::NoHost),
            ("blob", Blocked::NoHost),
            ("", Blocked::NoHost),
            ("https://", Blocked::NoHost),
            ("https://evil test/", Blocked::NoHost),
            ("gopher://evil.test/", Blocked::NoHost),
        ] {
            assert_eq!(blocked(url), want, "{url}");
        }
    }

    #[test]
    fn pages_are_told_by_path_alone() {
        for (url, want) in [
            ("http://127.0.0.1:8189/", Some("/")),
            ("http://127.0.0.1:8189", Some("/")),
            ("http://h/a/b?secret#secret", Some("/a/b")),
            ("http://h?secret", Some("/")),
            ("about", None),
            ("", None),
        ] {
            assert_eq!(page(url).as_deref(), want, "{url}");
        }
        let long = format!("http://h/{}", "a".repeat(5000));
        assert_eq!(page(&long).unwrap().len(), MAX_PAGE);
    }

    #[test]
    fn directives_are_a_closed_set() {
        for (fields, want) in [
            (r#""effective-directive":"img-src""#, Directive::ImgSrc),
            (
                r#""violated-directive":"script-src-elem 'self' x""#,
                Directive::ScriptSrcElem,
            ),
            (
                r#""effective-directive":"made-up-\n-src""#,
                Directive::Other,
            ),
        ] {
            let got = Violation::parse(&report(fields)).unwrap();
            assert_eq!(got.directive, want, "{fields}");
        }
        for directive in Directive::ALL {
            assert_eq!(Directive::parse(directive.as_str()), *directive);
        }
    }

    #[test]
    fn a_report_that_only_reports_says_so() {
        let fields = r#""effective-directive":"img-src","disposition":"report""#;
        assert!(!Violation::parse(&report(fields)).unwrap().enforced);
    }

    #[test]
    fn anything_else_is_refused() {
        let deep = "[".repeat(10_000);
        let long = format!(
            "{{\"csp-report\":{{\"x\":\"{}\"}}}}",
            "a".repeat(MAX_REPORT)
        );
        for (name, body, want) in [
            ("nothing", "", ReportError::Malformed),
            ("no JSON", "csp", ReportError::Malformed),
            ("another shape", "[]", ReportError::Malformed),
            (
                "no directive",
                r#"{"csp-report":{}}"#,
                ReportError::Malformed,
            ),
            (
                "a number for a text",
                r#"{"csp-report":{"effective-directive":1}}"#,
                ReportError::Malformed,
            ),
            ("nested without end", &deep, ReportError::Malformed),
            ("too long", &long, ReportError::TooLong),
        ] {
            assert_eq!(Violation::parse(body.as_bytes()), Err(want), "{name}");
        }
    }
}
