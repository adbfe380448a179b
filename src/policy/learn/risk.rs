//! Which destinations a person should look at twice before opening them.
//!
//! A warning puts the rule behind `#`; a note stands beside a live rule. None of this decides about
//! a request: it is about what a person is told.

use std::fmt;

use crate::net::{AddressClass, Host, classify};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Warning {
    /// A cloud's metadata service by one of its names.
    MetadataName,
    /// Written as an address.
    Ip(AddressClass),
    /// Anybody can have a name below this one.
    Shared(&'static str),
    /// A name that looks drawn by lot: one-off, generated, or data in disguise.
    Random,
    /// The name led to an address of a closed class.
    AddressClosed,
    /// Enforcing nothing was not enough: each time it was refused for these reasons.
    NothingPassed(String),
    /// A method that no rule can name.
    Method,
    /// A path that no rule can name.
    Path,
}

impl Warning {
    /// False where the loader refuses the rule, so that it must stay behind `#`.
    pub fn loads(&self) -> bool {
        match self {
            Warning::Ip(class) => *class == AddressClass::Public || class.openable(),
            Warning::Method | Warning::Path => false,
            Warning::MetadataName
            | Warning::Shared(_)
            | Warning::Random
            | Warning::AddressClosed
            | Warning::NothingPassed(_) => true,
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::MetadataName => {
                f.write_str("the metadata service of a cloud: credentials behind a GET")
            }
            Warning::Ip(class) if !self.loads() => {
                write!(f, "a {class} address: never dialled, no rule can allow it")
            }
            Warning::Ip(AddressClass::Public) => {
                f.write_str("an address, not a name: nothing says whose it is tomorrow")
            }
            Warning::Ip(class) => write!(
                f,
                "a {class} address: closed unless `upstreams:` names this address and port too"
            ),
            Warning::Shared(suffix) => write!(
                f,
                "shared hosting: anybody can have a name or a bucket at {suffix}, so it is a way out for data"
            ),
            Warning::Random => f.write_str(
                "the name looks random: generated, soon another one, or data in disguise",
            ),
            Warning::AddressClosed => f.write_str(
                "it led to a closed address: `upstreams:` has to name the host and port too, if you trust it",
            ),
            Warning::NothingPassed(reasons) => {
                write!(f, "a rule is not enough: each time it was refused by {reasons}")
            }
            Warning::Method => f.write_str("a method that no rule can name; a rule without methods allows all"),
            Warning::Path => f.write_str("a path that no rule can name; a rule without paths allows all"),
        }
    }
}

pub(super) fn of_host(host: &Host) -> Vec<Warning> {
    match host {
        Host::Ip(ip) => vec![Warning::Ip(classify(*ip))],
        Host::Name(name) => {
            let mut out = Vec::new();
            if METADATA_NAMES.iter().any(|m| is_or_below(name, m)) {
                out.push(Warning::MetadataName);
            }
            if let Some(suffix) = SHARED.iter().copied().find(|s| is_or_below(name, s)) {
                out.push(Warning::Shared(suffix));
            }
            if looks_random(name) {
                out.push(Warning::Random);
            }
            out
        }
    }
}

/// A name of this machine or network: a rule for it is fine, and opens no address by itself.
pub(super) fn is_private_name(host: &Host) -> bool {
    let Host::Name(name) = host else {
        return false;
    };
    let suffixes = [
        "localhost",
        "local",
        "lan",
        "internal",
        "intranet",
        "home.arpa",
    ];
    !name.contains('.') || suffixes.iter().any(|s| is_or_below(name, s))
}

fn is_or_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix)
        .is_some_and(|head| head.is_empty() || head.ends_with('.'))
}

/// Long names and labels whose pieces mix letters and digits, or hold no vowels, as words do not.
fn looks_random(name: &str) -> bool {
    name.len() > 100
        || name
            .split(['.', '-', '_'])
            .filter(|piece| *piece != "xn")
            .any(|piece| is_random_piece(piece.as_bytes()))
}

fn is_random_piece(piece: &[u8]) -> bool {
    let digits = piece.iter().filter(|b| b.is_ascii_digit()).count();
    let changes = piece
        .windows(2)
        .filter(|w| matches!(w, [a, b] if a.is_ascii_digit() != b.is_ascii_digit()))
        .count();
    let vowel = |b: &u8| b"aeiouy".contains(b);
    let consonants = piece
        .split(|b| vowel(b) || b.is_ascii_digit())
        .map(<[u8]>::len)
        .max()
        .unwrap_or_default();
    let hex = piece.len() >= 12 && digits >= 2 && piece.iter().all(u8::is_ascii_hexdigit);
    let mixed = piece.len() >= 10 && changes >= 3;
    hex || mixed || consonants >= 7 || piece.len() >= 16 && entropy(piece) >= 4.0
}

/// Bits per byte. Long words stay below 4.0, because they repeat letters.
fn entropy(piece: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for b in piece {
        if let Some(count) = counts.get_mut(usize::from(*b)) {
            *count += 1;
        }
    }
    let total = u32::try_from(piece.len()).unwrap_or(u32::MAX);
    counts
        .into_iter()
        .filter(|count| *count > 0)
        .map(|count| {
            let share = f64::from(count) / f64::from(total);
            -share * share.log2()
        })
        .sum()
}

const METADATA_NAMES: &[&str] = &[
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.azure.com",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
    "metadata.packet.net",
];

/// Where a name or a bucket is to be had for the asking: object stores, application hosting,
/// content delivery, tunnels, wildcard and dynamic DNS, request catchers, paste bins.
const SHARED: &[&str] = &[
    // Clouds and object stores.
    "amazonaws.com",
    "cloudfront.net",
    "awsapprunner.com",
    "elasticbeanstalk.com",
    "on.aws",
    "windows.net",
    "azurewebsites.net",
    "azureedge.net",
    "azurefd.net",
    "azurecontainerapps.io",
    "azurestaticapps.net",
    "cloudapp.net",
    "cloudapp.azure.com",
    "trafficmanager.net",
    "storage.googleapis.com",
    "firebasestorage.googleapis.com",
    "googleusercontent.com",
    "appspot.com",
    "run.app",
    "cloudfunctions.net",
    "firebaseapp.com",
    "firebaseio.com",
    "web.app",
    "aliyuncs.com",
    "myqcloud.com",
    "digitaloceanspaces.com",
    "ondigitalocean.app",
    "backblazeb2.com",
    "wasabisys.com",
    "linodeobjects.com",
    "r2.dev",
    "r2.cloudflarestorage.com",
    "supabase.co",
    // Application and page hosting.
    "github.io",
    "githubusercontent.com",
    "gitlab.io",
    "pages.dev",
    "workers.dev",
    "herokuapp.com",
    "onrender.com",
    "vercel.app",
    "now.sh",
    "netlify.app",
    "fly.dev",
    "railway.app",
    "deno.dev",
    "surge.sh",
    "glitch.me",
    "repl.co",
    "replit.app",
    "replit.dev",
    "hf.space",
    "streamlit.app",
    "blogspot.com",
    "wordpress.com",
    "wixsite.com",
    "webflow.io",
    "notion.site",
    // Content delivery.
    "fastly.net",
    "akamai.net",
    "akamaiedge.net",
    "akamaihd.net",
    "akamaized.net",
    "edgekey.net",
    "edgesuite.net",
    "b-cdn.net",
    "cdn77.org",
    "stackpathcdn.com",
    "jsdelivr.net",
    "unpkg.com",
    // Tunnels, wildcard and dynamic DNS.
    "ngrok.io",
    "ngrok.app",
    "ngrok.dev",
    "ngrok-free.app",
    "ngrok-free.dev",
    "trycloudflare.com",
    "cfargotunnel.com",
    "loca.lt",
    "lhr.life",
    "serveo.net",
    "ts.net",
    "nip.io",
    "sslip.io",
    "duckdns.org",
    "ddns.net",
    "dyndns.org",
    "no-ip.org",
    // Request catchers and paste bins.
    "webhook.site",
    "requestbin.com",
    "pipedream.net",
    "interact.sh",
    "oast.fun",
    "oast.live",
    "oast.me",
    "oast.online",
    "oast.pro",
    "oast.site",
    "oastify.com",
    "burpcollaborator.net",
    "dnslog.cn",
    "ceye.io",
    "pastebin.com",
    "transfer.sh",
    "0x0.st",
    "file.io",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_want_a_second_look() {
        let rows: &[(&str, &str, &[Warning])] = &[
            (
                "a bucket",
                "logs.s3.amazonaws.com",
                &[Warning::Shared("amazonaws.com")],
            ),
            (
                "the apex of one",
                "pastebin.com",
                &[Warning::Shared("pastebin.com")],
            ),
            ("only on a label boundary", "notpastebin.com", &[]),
            (
                "a page",
                "someone.github.io",
                &[Warning::Shared("github.io")],
            ),
            (
                "a distribution",
                "d111abc2def3g4.cloudfront.net",
                &[Warning::Shared("cloudfront.net"), Warning::Random],
            ),
            ("hex", "deadbeef01234567.example.com", &[Warning::Random]),
            (
                "a UUID",
                "3f2b8c1e-9d4a-4f0e-8a7b-1c2d3e4f5a6b.example.com",
                &[Warning::Random],
            ),
            ("base32", "mzxw6ytboi5gk3tf.example.com", &[Warning::Random]),
            (
                "letters without vowels",
                "qxvzkjhwrtpl.example.com",
                &[Warning::Random],
            ),
            (
                "many different letters",
                "ahwoqbizupjleyfkodrcumxesi.example.com",
                &[Warning::Random],
            ),
            (
                "metadata by name",
                "metadata.google.internal",
                &[Warning::MetadataName],
            ),
            (
                "a public address",
                "8.8.8.8",
                &[Warning::Ip(AddressClass::Public)],
            ),
            (
                "a private address",
                "192.168.1.9",
                &[Warning::Ip(AddressClass::Private)],
            ),
            (
                "metadata by address",
                "169.254.169.254",
                &[Warning::Ip(AddressClass::Metadata)],
            ),
        ];
        for (what, host, want) in rows {
            assert_eq!(of_host(&Host::parse(host).unwrap()), *want, "{what}");
        }
    }

    #[test]
    fn names_of_common_services_are_not_taken_for_random() {
        for name in [
            "api.openai.com",
            "huggingface.co",
            "cdn-lfs-us-1.hf.co",
            "files.pythonhosted.org",
            "generativelanguage.googleapis.com",
            "www.googletagmanager.com",
            "comfyregistry.org",
            "comfyui-copilot.example.com",
            "s3-us-west-2.example.com",
            "registry.npmjs.org",
            "static.cloudflareinsights.com",
            "modelscope.cn",
            "telemetry.individual.githubcopilot.com",
            "authentication.internationalization.example",
            "xn--bcher-kva.example",
            "web01.prod-eu2.example.com",
        ] {
            assert_eq!(of_host(&Host::parse(name).unwrap()), [], "{name}");
        }
    }

    #[test]
    fn a_long_name_is_looked_at_whatever_is_in_it() {
        for (length, random) in [(99, false), (100, false), (101, true), (102, true)] {
            let name = format!("{}.test", "hello.".repeat(15) + &"a".repeat(length - 95));
            assert_eq!(name.len(), length);
            assert_eq!(looks_random(&name), random, "{length}");
        }
    }

    #[test]
    fn what_a_warning_says_and_whether_its_rule_would_load() {
        use AddressClass::{Metadata, Private, Public};
        for (warning, loads, words) in [
            (Warning::Ip(Public), true, "whose it is tomorrow"),
            (Warning::Ip(Private), true, "closed unless `upstreams:`"),
            (Warning::Ip(Metadata), false, "no rule can allow it"),
            (Warning::Method, false, "method"),
            (Warning::Path, false, "path"),
            (Warning::Random, true, "random"),
            (Warning::Shared("x.test"), true, "x.test"),
        ] {
            assert_eq!(warning.loads(), loads, "{warning:?}");
            assert!(warning.to_string().contains(words), "{warning}");
        }
    }

    #[test]
    fn private_names() {
        for (name, private) in [
            ("localhost", true),
            ("sparkle", true),
            ("nas.local", true),
            ("db.internal", true),
            ("example.com", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(
                is_private_name(&Host::parse(name).unwrap()),
                private,
                "{name}"
            );
        }
    }
}
