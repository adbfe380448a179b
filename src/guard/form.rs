//! Forms with files (`multipart/form-data`), read as they pass.
//!
//! Stricter than ComfyUI's server (aiohttp), which decodes parts that say they are encoded, takes bare
//! line feeds, and goes by a length that a part names itself: what two readers could take apart in two
//! ways is refused. Heads and small fields are held, of a file its beginning; the rest is only searched
//! for the next boundary.

use memchr::memmem;
use percent_encoding::percent_decode_str;

use super::{
    Refused, is_utf8,
    names::name_of_file,
    picture::{Beginning, Found},
    upload::{ASSET, Content, NAMES, REFERENCE, TAGS, Wanted, ending, field, fits, small_enough},
};

const MAX_PARTS: usize = 256;
const MAX_PART_HEAD: usize = 16 << 10;
/// Of a field that is looked at.
const MAX_FIELD: usize = 16 << 10;
/// RFC 2046 5.1.1.
const MAX_BOUNDARY: usize = 70;

/// One form on its way.
#[derive(Debug)]
pub struct Form {
    wanted: Wanted,
    /// `\r\n--boundary`.
    delimiter: Vec<u8>,
    state: State,
    /// What is not yet taken apart.
    held: Vec<u8>,
    parts: usize,
}

#[derive(Debug)]
enum State {
    /// At the first boundary.
    Start,
    /// Right behind a boundary.
    Boundary,
    Head,
    Body {
        part: Part,
        length: u64,
    },
    /// Behind the last boundary.
    End,
}

#[derive(Debug)]
struct Part {
    /// As the part says itself.
    length: Option<u64>,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Nothing in it is looked at.
    Passed,
    Field {
        name: String,
        value: Vec<u8>,
    },
    File {
        ending: String,
        beginning: Beginning,
    },
}

pub fn is_form(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.get(..10)
        .is_some_and(|start| start.eq_ignore_ascii_case("multipart/"))
}

impl Form {
    pub fn new(content_type: &str, wanted: Wanted) -> Result<Self, Refused> {
        let words = "the form has no boundary that can be read";
        let boundary = boundary(content_type).ok_or_else(|| Refused::unreadable(words))?;
        Ok(Self {
            wanted,
            delimiter: [b"\r\n--", boundary.as_bytes()].concat(),
            state: State::Start,
            held: Vec::new(),
            parts: 0,
        })
    }

    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    pub fn again(&mut self) {
        self.state = State::Start;
        self.held.clear();
        self.parts = 0;
    }

    pub fn push(&mut self, piece: &[u8], last: bool) -> Result<(), Refused> {
        self.held.extend_from_slice(piece);
        while self.step()? {}
        match (last, &self.state) {
            (true, State::End) | (false, _) => Ok(()),
            // Without a body there is nothing to take apart.
            (true, State::Start) if self.held.is_empty() => Ok(()),
            (true, _) => Err(Refused::unreadable("the form is cut short")),
        }
    }

    /// Takes something off `held`. False: more has to come first.
    fn step(&mut self) -> Result<bool, Refused> {
        match &mut self.state {
            State::Start => {
                let first = self.delimiter.get(2..).unwrap_or_default();
                if self.held.len() < first.len() && first.starts_with(&self.held) {
                    return Ok(false);
                }
                if !self.held.starts_with(first) {
                    return Err(Refused::unreadable(
                        "the form does not begin with its boundary",
                    ));
                }
                self.held.drain(..first.len());
                self.state = State::Boundary;
                Ok(true)
            }
            State::Boundary => {
                let Some(after) = self.held.get(..2) else {
                    return Ok(false);
                };
                match after {
                    b"\r\n" => self.state = State::Head,
                    b"--" => self.state = State::End,
                    _ => {
                        return Err(Refused::unreadable(
                            "a boundary of the form is followed by something else",
                        ));
                    }
                }
                self.held.drain(..2);
                Ok(true)
            }
            State::Head => {
                let window = self.held.get(..MAX_PART_HEAD).unwrap_or(&self.held);
                let Some(end) = memmem::find(window, b"\r\n\r\n") else {
                    return match self.held.len() < MAX_PART_HEAD {
                        true => Ok(false),
                        false => Err(Refused::unreadable(
                            "a part of the form has too long a head",
                        )),
                    };
                };
                self.parts += 1;
                if self.parts > MAX_PARTS {
                    return Err(Refused::unreadable("the form has too many parts"));
                }
                let head = self.held.get(..end).unwrap_or_default();
                let part = part(head, self.wanted)?;
                // The line break stays: an empty body is its own end.
                self.held.drain(..end + 2);
                self.state = State::Body { part, length: 0 };
                Ok(true)
            }
            State::Body { part, length } => {
                // The first two bytes are those of the head's end.
                let skip = if *length == 0 { 2 } else { 0 };
                let found = memmem::find(&self.held, &self.delimiter);
                let end = match found {
                    Some(at) => at,
                    // A boundary may have begun in the last bytes.
                    None => (self.held.len() + 1).saturating_sub(self.delimiter.len()),
                };
                let ended = found.is_some();
                if end < skip && !ended {
                    return Ok(false);
                }
                let content = self.held.get(skip..end).unwrap_or_default();
                if content.is_empty() && !ended {
                    return Ok(false);
                }
                *length += content.len() as u64;
                look(part, content, ended, self.wanted.content)?;
                if !ended {
                    self.held.drain(..end);
                    return Ok(false);
                }
                if part.length.is_some_and(|said| said != *length) {
                    return Err(Refused::unreadable(
                        "a part of the form is not as long as it says",
                    ));
                }
                self.held.drain(..end + self.delimiter.len());
                self.state = State::Boundary;
                Ok(true)
            }
            State::End => {
                self.held.clear();
                Ok(false)
            }
        }
    }
}

/// Reads the head of a part, and judges the name of its file.
fn part(head: &[u8], wanted: Wanted) -> Result<Part, Refused> {
    let odd = || Refused::unreadable("a part of the form has a head that can be read in two ways");
    let head = std::str::from_utf8(head).map_err(|_| odd())?;
    let mut disposition = None;
    let mut length = None;
    for line in head.split("\r\n") {
        if line.contains(char::is_control) {
            return Err(odd());
        }
        let (name, value) = line.split_once(':').ok_or_else(odd)?;
        let value = value.trim();
        if name.is_empty() || name.contains(|c: char| c.is_whitespace()) {
            return Err(odd());
        }
        match name.to_ascii_lowercase().as_str() {
            "content-disposition" if disposition.is_some() => return Err(odd()),
            "content-disposition" => disposition = Some(Disposition::parse(value).ok_or_else(odd)?),
            "content-transfer-encoding"
                if !["binary", "7bit", "8bit"]
                    .iter()
                    .any(|e| value.eq_ignore_ascii_case(e)) =>
            {
                return Err(Refused::unreadable(
                    "a part of the form is encoded; send it as it is",
                ));
            }
            "content-encoding" => {
                return Err(Refused::unreadable(
                    "a part of the form is encoded; send it as it is",
                ));
            }
            "content-length" => length = Some(value.parse().map_err(|_| odd())?),
            "content-type" if !is_utf8(value) || is_form(value) => return Err(odd()),
            _ => {}
        }
    }
    let Disposition { name, files } = disposition.ok_or_else(odd)?;
    if wanted.names {
        files.iter().try_for_each(|file| name_of_file(file))?;
    }
    if name == "_charset_" {
        return Err(odd());
    }
    // The last one is what the server goes by.
    let nameless = String::new();
    let file = match files.last() {
        // The server takes it for one.
        None if wanted.asset.is_some() && name == ASSET => Some(&nameless),
        file => file,
    };
    let refuses_models = wanted.asset.is_some_and(|asset| !asset.installs);
    let what = match file {
        // A file name makes no file of it for the server.
        _ if refuses_models && name == TAGS => What::Field {
            name,
            value: Vec::new(),
        },
        Some(file) if wanted.content.is_some() => What::File {
            ending: ending(file),
            beginning: Beginning::default(),
        },
        Some(_) => What::Passed,
        None if wanted.names && (NAMES.contains(&name.as_str()) || name == REFERENCE) => {
            What::Field {
                name,
                value: Vec::new(),
            }
        }
        None => What::Passed,
    };
    Ok(Part { length, what })
}

/// Looks at the next content of a part; `ended` with the last of it.
fn look(
    part: &mut Part,
    content: &[u8],
    ended: bool,
    wanted: Option<Content>,
) -> Result<(), Refused> {
    match &mut part.what {
        What::Passed => Ok(()),
        What::Field { name, value } => {
            if value.len() + content.len() > MAX_FIELD {
                return Err(Refused::unreadable(
                    "a field of the form is too long for a name",
                ));
            }
            value.extend_from_slice(content);
            match ended {
                true => field(name, value),
                false => Ok(()),
            }
        }
        What::File { ending, beginning } => {
            let Some(wanted) = wanted else { return Ok(()) };
            let (kind, size) = match beginning.push(content, ended) {
                Found::Nothing => return Ok(()),
                Found::Kind(kind, size) => (Some(kind), size),
                Found::Size(size) => (None, Some(size)),
            };
            if let Some(kind) = kind.filter(|_| wanted.types) {
                fits(ending, kind)?;
            }
            match (size, wanted.pixels) {
                (Some(size), Some(most)) => small_enough(size, most),
                (None, _) | (_, None) => Ok(()),
            }
        }
    }
}

/// `form-data; name="image"; filename="a.png"`.
#[derive(Debug, PartialEq, Eq)]
struct Disposition {
    name: String,
    /// `filename`, and `filename*` behind it, which wins.
    files: Vec<String>,
}

impl Disposition {
    fn parse(value: &str) -> Option<Self> {
        let (kind, params) = value.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return None;
        }
        let (mut name, mut file, mut extended) = (None, None, None);
        for (key, value) in parameters(params)? {
            let place = match key.as_str() {
                "name" => &mut name,
                "filename" => &mut file,
                "filename*" => &mut extended,
                // Continuations (`filename*0`) are put together differently everywhere.
                _ if key.contains('*') => return None,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        if let Some(text) = &mut extended {
            let (charset, rest) = text.split_once('\'')?;
            let (_language, encoded) = rest.split_once('\'')?;
            if !charset.eq_ignore_ascii_case("utf-8") {
                return None;
            }
            *text = percent_decode_str(encoded).decode_utf8().ok()?.into_owned();
        }
        Some(Self {
            name: name?,
            files: file.into_iter().chain(extended).collect(),
        })
    }
}

/// `; a=b; c="d;e"`, with lower-case keys. `None` where it could be read in two ways: escapes among
/// them, since one reader undoes them and another does not.
fn parameters(text: &str) -> Option<Vec<(String, String)>> {
    if text.contains('\\') {
        return None;
    }
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let (value, tail) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                let (value, tail) = after.split_at(end);
                let value = value.trim();
                if value.contains(|c: char| c.is_whitespace() || c == '"') {
                    return None;
                }
                (value, tail)
            }
        };
        let key = key.trim().to_ascii_lowercase();
        if key.is_empty() || key.contains(|c: char| c.is_whitespace() || "\";".contains(c)) {
            return None;
        }
        found.push((key, value.to_owned()));
        let tail = tail.trim_start();
        rest = match tail.is_empty() {
            true => tail,
            false => tail.strip_prefix(';')?.trim_start(),
        };
    }
    Some(found)
}

fn boundary(content_type: &str) -> Option<String> {
    let (_, params) = content_type.split_once(';')?;
    let mut found = None;
    for (key, value) in parameters(params)? {
        if key == "boundary" && found.replace(value).is_some() {
            return None;
        }
    }
    let stands = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
    found.filter(|b| {
        !b.is_empty() && b.len() <= MAX_BOUNDARY && !b.ends_with(' ') && b.bytes().all(stands)
    })
}
