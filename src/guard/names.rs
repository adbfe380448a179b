//! What no name of a file or folder may be: a way out of the folder it is meant for.
//!
//! A name is judged as it is and percent-decoded, once and twice, with `/` and `\` alike, whatever the
//! system ComfyUI runs on.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::{Refused, routes::Route};
use crate::policy::Reason;

/// Names that Windows takes for devices, with any ending.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];
/// Keys of queries that are names of files or folders on ComfyUI's own routes.
const KEYS: [&str; 7] = [
    "filename",
    "subfolder",
    "file",
    "path",
    "dir",
    "dest",
    "type",
];

/// A query, taken apart and decoded.
#[derive(Debug)]
pub struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    pub fn of(raw: &'a str) -> Self {
        // Some readers split at ';' too.
        let pairs = raw.split(['&', ';']).filter(|pair| !pair.is_empty());
        let decode = |text: &'a str| match text.contains(['%', '+']) {
            false => Cow::Borrowed(text),
            true => {
                let spaced = text.replace('+', " ");
                let decoded = percent_decode_str(&spaced).decode_utf8_lossy().into_owned();
                Cow::Owned(decoded)
            }
        };
        let pairs = pairs.map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(k, _)| k == key)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let named = |key: &str| KEYS.contains(&key);
        self.0
            .iter()
            .filter(move |(k, _)| named(k))
            .map(|(_, v)| &**v)
    }
}

/// Judges the names in path and query of `route`.
pub fn judge(route: Route<'_>, path: &str, query: &Query<'_>) -> Result<(), Refused> {
    if path.contains("%00") || query.0.iter().any(|(_, v)| v.contains('\0')) {
        return Err(refused("a NUL"));
    }
    match route {
        Route::UserData(rest) | Route::Files(rest) => {
            for segment in rest.split('/') {
                let name = percent_decode_str(segment).decode_utf8_lossy();
                name_of_file(&name)?;
            }
            query.names().try_for_each(name_of_file)
        }
        Route::Upload | Route::Assets => query.names().try_for_each(name_of_file),
        Route::Manager => {
            let breaks = |text: &str| text.contains(|c: char| c.is_control());
            match query.0.iter().any(|(k, v)| breaks(k) || breaks(v)) {
                true => Err(refused("a line break or another control character")),
                false => Ok(()),
            }
        }
        Route::Prompt | Route::Other => Ok(()),
    }
}

/// What ComfyUI-Manager keeps among the user's files: its security level is set there.
pub fn of_the_manager(route: Route<'_>, path: &str, query: &Query<'_>) -> Result<(), Refused> {
    let Route::UserData(_) = route else {
        return Ok(());
    };
    let path = percent_decode_str(path).decode_utf8_lossy();
    let mut names = std::iter::once(&*path).chain(query.names());
    let inside = |name: &str| {
        let mut all = name
            .split(['/', '\\'])
            .map(|part| part.trim_end_matches([' ', '.']));
        all.any(|part| part.eq_ignore_ascii_case("comfyui-manager"))
    };
    match names.any(inside) {
        true => {
            let words = "files of ComfyUI-Manager are not for its page";
            Err(Refused::new(Reason::GuardManagerFiles, words))
        }
        false => Ok(()),
    }
}

/// A name, maybe with folders, relative to the folder it is meant for.
pub fn name_of_file(name: &str) -> Result<(), Refused> {
    let fault = fault(name).or_else(|| {
        name.contains('%').then(|| {
            let once = percent_decode_str(name).decode_utf8_lossy().into_owned();
            let twice = percent_decode_str(&once).decode_utf8_lossy().into_owned();
            fault(&once).or_else(|| fault(&twice))
        })?
    });
    fault.map_or(Ok(()), |what| Err(refused(what)))
}

fn refused(what: &str) -> Refused {
    Refused::new(Reason::GuardTraversal, format!("a file name holds {what}"))
}

fn fault(name: &str) -> Option<&'static str> {
    let slash = |b: Option<&u8>| matches!(b, Some(b'/' | b'\\'));
    let bytes = name.as_bytes();
    if name.contains(char::is_control) {
        return Some("a control character");
    }
    match (slash(bytes.first()), slash(bytes.get(1))) {
        (true, true) => return Some("the name of another machine"),
        (true, false) => return Some("a path from the root"),
        (false, _) => {}
    }
    for part in name.split(['/', '\\']) {
        let [first, second, ..] = part.as_bytes() else {
            continue;
        };
        if first.is_ascii_alphabetic() && *second == b':' {
            return Some("a drive");
        }
        // Windows drops dots and spaces at the end of a name.
        if part.starts_with("..") && part.trim_end_matches([' ', '.']).is_empty() {
            return Some("a step out of its folder ('..')");
        }
        if is_device(part) {
            return Some("the name of a device");
        }
    }
    None
}

fn is_device(part: &str) -> bool {
    let stem = part.split(['.', ':']).next().unwrap_or_default().trim_end();
    if stem.len() > 8 {
        return false;
    }
    let lower = stem.to_lowercase();
    if DEVICES.contains(&&*lower) {
        return true;
    }
    let number = lower
        .strip_prefix("com")
        .or_else(|| lower.strip_prefix("lpt"));
    let mut digits = number.unwrap_or_default().chars();
    let first = digits.next();
    first.is_some_and(|c| matches!(c, '1'..='9' | '¹' | '²' | '³')) && digits.next().is_none()
}
