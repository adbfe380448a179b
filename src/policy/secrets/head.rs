//! The head of a request: its target and its headers, each a short text that is there whole.

use std::{borrow::Cow, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Detector, Kind, Scanner, SecretMode, Seen, Spot};
use crate::net::Host;

/// Path and query as they will be sent, and decoded. The result is what to send instead.
pub fn target(
    detector: &Arc<Detector>,
    mode: SecretMode,
    host: &Host,
    target: &str,
) -> Result<Option<Seen>, Kind> {
    // The path was judged as it is, so it is sent as it is or not at all.
    let path = target.split('?').next().unwrap_or(target);
    whole(
        detector,
        never_redact(mode),
        Spot::Target,
        host,
        path.as_bytes(),
    )?;
    let seen = whole(detector, mode, Spot::Target, host, target.as_bytes())?;
    let sent = seen.as_ref().map_or(target.as_bytes(), |s| &s.bytes);
    let decoded: Cow<'_, [u8]> = percent_encoding::percent_decode(sent).into();
    // What is seen only behind percent signs cannot be masked in its place.
    if *decoded != *sent {
        whole(detector, never_redact(mode), Spot::Target, host, &decoded)?;
    }
    Ok(seen)
}

/// One header. `name` in lower case. The result is the value to send instead.
pub fn header(
    detector: &Arc<Detector>,
    mode: SecretMode,
    host: &Host,
    name: &str,
    value: &[u8],
) -> Result<Option<Seen>, Kind> {
    let spot = match name {
        "authorization" | "cookie" | "x-api-key" | "api-key" | "x-goog-api-key"
        | "x-xet-access-token" => Spot::Credential,
        _ => Spot::Header,
    };
    if let Some(credentials) = basic(value) {
        whole(detector, never_redact(mode), spot, host, &credentials)?;
    }
    whole(detector, mode, spot, host, value)
}

/// What `Basic` credentials say, in whatever header.
fn basic(value: &[u8]) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    STANDARD
        .decode(rest.trim_ascii())
        .ok()
        .map(zeroize::Zeroizing::new)
}

fn never_redact(mode: SecretMode) -> SecretMode {
    match mode {
        SecretMode::Block | SecretMode::Redact => SecretMode::Block,
        SecretMode::Off => SecretMode::Off,
    }
}

/// `None` where nothing has to be changed.
fn whole(
    detector: &Arc<Detector>,
    mode: SecretMode,
    spot: Spot,
    host: &Host,
    text: &[u8],
) -> Result<Option<Seen>, Kind> {
    // Most heads hold none; that is seen without copying them.
    if !detector.suspects(text) {
        return Ok(None);
    }
    let mut scanner = Scanner::new(detector.clone(), mode, spot, host.clone());
    let seen = scanner.push(text, true)?;
    Ok((!seen.masked.is_empty()).then_some(seen))
}
