//! How far the browser that looks at the receipt is closed (FRONTDOOR.md 2).
//!
//! A Content-Security-Policy leaves look-ups of names, links and WebRTC open; Connection-Allowlist
//! closes them, in Chromium from 152 on. Who asks is known by what the browser says of itself: a
//! browser that lies about its name is not caught here, which the page says.

use http::HeaderMap;
use serde::{Deserialize, Serialize};

/// Chromium knows `Connection-Allowlist` from here on.
pub const KNOWS_ALLOWLIST: u32 = 152;

/// What the front door tells browsers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its section is there at all.
    pub front_door: bool,
    /// `front_door.connection_allowlist`.
    pub allowlist: bool,
    /// The mode is `enforce`.
    pub enforced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plane {
    /// CSP and Connection-Allowlist: every channel that was tried.
    Closed,
    /// CSP alone: this browser does not know the rest, or does not say who it is.
    CspOnly,
    /// CSP alone: `connection_allowlist` is off.
    AllowlistOff,
    /// Everything is reported and nothing is held back.
    ReportOnly,
    /// No browser is held to anything.
    NoFrontDoor,
    /// It was no browser that asked.
    NotABrowser,
}

impl Plane {
    pub fn of(told: Told, headers: Option<&HeaderMap>) -> Self {
        let Told {
            front_door,
            allowlist,
            enforced,
        } = told;
        match headers {
            _ if !front_door => Plane::NoFrontDoor,
            None => Plane::NotABrowser,
            Some(_) if !enforced => Plane::ReportOnly,
            Some(_) if !allowlist => Plane::AllowlistOff,
            Some(headers) => match chromium(headers) {
                Some(version) if version >= KNOWS_ALLOWLIST => Plane::Closed,
                Some(_) | None => Plane::CspOnly,
            },
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Plane::Closed => "This browser is fully closed",
            Plane::CspOnly => "This browser is mostly closed",
            Plane::AllowlistOff => "This browser is mostly closed",
            Plane::ReportOnly => "This browser is only watched",
            Plane::NoFrontDoor => "No browser is held to anything",
            Plane::NotABrowser => "It was no browser that asked",
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Plane::Closed => {
                "ComfyUI's page can reach this machine and what you opened to it, and nothing else: \
                 it keeps both a Content-Security-Policy and a Connection-Allowlist. Links to the \
                 outside are closed as well."
            }
            Plane::CspOnly => {
                "It keeps the Content-Security-Policy, which stops what a page loads and sends. It is \
                 not known to keep a Connection-Allowlist (Chromium does from 152 on), so these stay \
                 open: looking up names, following links, WebRTC."
            }
            Plane::AllowlistOff => {
                "It keeps the Content-Security-Policy, which stops what a page loads and sends. \
                 front_door.connection_allowlist is off, so these stay open: looking up names, \
                 following links, WebRTC."
            }
            Plane::ReportOnly => {
                "The mode is report: your browser tells Airlock what the page would not have been \
                 allowed, and stops nothing of it."
            }
            Plane::NoFrontDoor => {
                "Airlock does not stand before ComfyUI's page (front_door is off), so what the page \
                 itself sends is not seen here."
            }
            Plane::NotABrowser => {
                "Which plane is closed is said of the browser that opens the receipt's page; this \
                 copy was made by a command."
            }
        }
    }

    pub fn is_closed(self) -> bool {
        match self {
            Plane::Closed => true,
            Plane::CspOnly
            | Plane::AllowlistOff
            | Plane::ReportOnly
            | Plane::NoFrontDoor
            | Plane::NotABrowser => false,
        }
    }
}

/// The version of Chromium that the browser is built on: by `Sec-CH-UA`, which only it sends, else by
/// the `User-Agent`.
fn chromium(headers: &HeaderMap) -> Option<u32> {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    if let Some(brands) = header("sec-ch-ua") {
        let rest = brands.split_once("\"Chromium\";v=\"")?.1;
        return leading_number(rest);
    }
    // Every browser's string holds the names of others; only Chromium's has this one.
    leading_number(header("user-agent")?.split_once(" Chrome/")?.1)
}

fn leading_number(text: &str) -> Option<u32> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
