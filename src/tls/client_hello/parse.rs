//! From bytes to [`ClientHelloInfo`]: records, handshake message, extensions. Pure.
//!
//! RFC 8446 5.1 (records), 4.1.2 (ClientHello), RFC 6066 3 (server_name), RFC 7301 (ALPN),
//! RFC 9849 (encrypted_client_hello). Work is linear in the bytes, however they are cut.

use rustls::server::Acceptor;

use super::{ClientHelloInfo, HelloError};
use crate::net::Host;

const HANDSHAKE_RECORD: u8 = 0x16;
const TLS_MAJOR: u8 = 0x03;
const CLIENT_HELLO: u8 = 0x01;
/// Largest plaintext of a record.
const MAX_FRAGMENT: usize = 1 << 14;
/// Clients send about twenty; past this, looking for repeated ones would become work.
const MAX_EXTENSIONS: usize = 256;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// Collects bytes until they hold a ClientHello, and parses it.
#[derive(Debug)]
pub struct HelloParser {
    max: usize,
    raw: Vec<u8>,
    /// Where in `raw` the next record starts.
    next_record: usize,
    /// The handshake message, out of its records.
    message: Vec<u8>,
    finished: bool,
}

impl HelloParser {
    /// `max`: bytes that the hello may take with its record headers.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            raw: Vec::new(),
            next_record: 0,
            message: Vec::new(),
            finished: false,
        }
    }

    /// Takes the next bytes of the stream: `None` means more are needed. After an answer or an
    /// error the parser is used up, and says so.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<ClientHelloInfo>, HelloError> {
        if self.finished {
            return Err(invalid("bytes came after the end of the hello"));
        }
        self.raw.extend_from_slice(bytes);
        let outcome = self.advance();
        self.finished = !matches!(outcome, Ok(None));
        outcome
    }

    fn advance(&mut self) -> Result<Option<ClientHelloInfo>, HelloError> {
        let too_large = HelloError::TooLarge { max: self.max };
        loop {
            let (header, fragment) = match self.raw.get(self.next_record..) {
                None | Some([]) => return Ok(None),
                Some([kind, rest @ ..]) => {
                    // Said on the very first byte: an SSH or HTTP peer may never send a fifth.
                    self.expect_record(*kind == HANDSHAKE_RECORD)?;
                    let Some((major, rest)) = rest.split_first() else {
                        return Ok(None);
                    };
                    self.expect_record(*major == TLS_MAJOR)?;
                    let [_minor, high, low, rest @ ..] = rest else {
                        return Ok(None);
                    };
                    (usize::from(u16::from_be_bytes([*high, *low])), rest)
                }
            };
            if header == 0 {
                return Err(invalid("empty handshake record"));
            }
            if header > MAX_FRAGMENT {
                return Err(invalid("record is longer than tls allows"));
            }
            let end = self.next_record + 5 + header;
            if end > self.max {
                return Err(too_large);
            }
            let Some(fragment) = fragment.get(..header) else {
                return Ok(None);
            };
            self.message.extend_from_slice(fragment);
            self.next_record = end;

            let [kind, rest @ ..] = self.message.as_slice() else {
                continue;
            };
            if *kind != CLIENT_HELLO {
                return Err(invalid("first handshake message is not a client hello"));
            }
            let [a, b, c, body @ ..] = rest else { continue };
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if length > self.max {
                return Err(too_large);
            }
            if body.len() < length {
                continue;
            }
            if body.len() > length {
                return Err(invalid("bytes follow the hello in its record"));
            }
            let hello = Hello::parse(body)?;
            let sni = hello.host()?;
            let records = self.raw.get(..self.next_record).unwrap_or_default();
            agree_with_rustls(records, hello.server_name)?;
            return Ok(Some(ClientHelloInfo {
                sni,
                alpn: hello.alpn.iter().map(|p| p.to_vec()).collect(),
                versions: hello.versions,
                ech: hello.ech,
                raw: std::mem::take(&mut self.raw),
            }));
        }
    }

    /// In the first record a surprise means that this is not TLS; later, that it is bad TLS.
    fn expect_record(&self, as_expected: bool) -> Result<(), HelloError> {
        match (as_expected, self.next_record) {
            (true, _) => Ok(()),
            (false, 0) => Err(HelloError::NotTls),
            (false, _) => Err(invalid("another record came inside the hello")),
        }
    }
}

fn invalid(why: impl Into<String>) -> HelloError {
    HelloError::Invalid(why.into())
}

/// The acceptor that will terminate the connection must read the same name from the same bytes.
fn agree_with_rustls(mut records: &[u8], ours: Option<&str>) -> Result<(), HelloError> {
    let mut acceptor = Acceptor::default();
    let accepted = loop {
        let read = acceptor.read_tls(&mut records).map_err(HelloError::Io)?;
        match acceptor.accept() {
            Ok(Some(accepted)) => break accepted,
            Ok(None) if read == 0 => return Err(invalid("tls library finds it incomplete")),
            Ok(None) => {}
            Err((error, _alert)) => return Err(invalid(error.to_string())),
        }
    };
    let agreed = match (accepted.client_hello().server_name(), ours) {
        (None, None) => true,
        (Some(theirs), Some(ours)) => theirs.eq_ignore_ascii_case(ours),
        (Some(_), None) | (None, Some(_)) => false,
    };
    if agreed {
        Ok(())
    } else {
        Err(invalid("server name can be read in two ways"))
    }
}

/// The parts of a ClientHello that are acted on.
struct Hello<'a> {
    server_name: Option<&'a str>,
    alpn: Vec<&'a [u8]>,
    versions: Vec<u16>,
    ech: bool,
}

impl<'a> Hello<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, HelloError> {
        let mut r = Reader(body);
        let cut = || invalid("message ends too early or a length is wrong");
        let legacy_version = r.u16().ok_or_else(cut)?;
        r.take(32).ok_or_else(cut)?;
        let session_id = r.vec8().ok_or_else(cut)?;
        if session_id.len() > 32 {
            return Err(invalid("session id is longer than 32 bytes"));
        }
        let suites = r.vec16().ok_or_else(cut)?;
        if suites.is_empty() || suites.len() % 2 != 0 {
            return Err(invalid("cipher suite list is malformed"));
        }
        if r.vec8().ok_or_else(cut)?.is_empty() {
            return Err(invalid("compression list is empty"));
        }
        let mut hello = Self {
            server_name: None,
            alpn: Vec::new(),
            versions: vec![legacy_version],
            ech: false,
        };
        if r.is_empty() {
            return Ok(hello);
        }
        let mut extensions = Reader(r.vec16().ok_or_else(cut)?);
        if !r.is_empty() {
            return Err(invalid("bytes follow the extensions"));
        }
        let mut seen = Vec::new();
        while !extensions.is_empty() {
            let kind = extensions.u16().ok_or_else(cut)?;
            let data = extensions.vec16().ok_or_else(cut)?;
            if seen.contains(&kind) {
                return Err(invalid(format!("extension {kind} is sent twice")));
            }
            if seen.len() == MAX_EXTENSIONS {
                return Err(invalid("too many extensions"));
            }
            seen.push(kind);
            hello.extension(kind, data)?;
        }
        Ok(hello)
    }

    fn extension(&mut self, kind: u16, data: &'a [u8]) -> Result<(), HelloError> {
        match kind {
            SERVER_NAME => self.server_name = Some(server_name(data)?),
            ALPN => {
                self.alpn = protocols(data).ok_or_else(|| invalid("alpn list is malformed"))?;
            }
            SUPPORTED_VERSIONS => {
                self.versions =
                    versions(data).ok_or_else(|| invalid("version list is malformed"))?;
            }
            ENCRYPTED_CLIENT_HELLO => {
                outer_ech(data).ok_or_else(|| {
                    invalid("encrypted_client_hello is not one of an outer hello")
                })?;
                self.ech = true;
            }
            // GREASE and everything else is between the client and whoever terminates TLS.
            _ => {}
        }
        Ok(())
    }

    fn host(&self) -> Result<Option<Host>, HelloError> {
        let Some(name) = self.server_name else {
            return Ok(None);
        };
        match Host::parse(name) {
            Ok(host @ Host::Name(_)) => Ok(Some(host)),
            Ok(Host::Ip(_)) => Err(invalid("server name is an address")),
            Err(e) => Err(invalid(format!("server name: {e}"))),
        }
    }
}

/// Exactly one entry, of type host_name, in ASCII.
fn server_name(data: &[u8]) -> Result<&str, HelloError> {
    let malformed = || invalid("server name list is malformed");
    let mut r = Reader(data);
    let mut list = Reader(r.vec16().ok_or_else(malformed)?);
    if !r.is_empty() {
        return Err(malformed());
    }
    if list.u8().ok_or_else(malformed)? != 0 {
        return Err(invalid("server name is of an unknown type"));
    }
    let name = list.vec16().ok_or_else(malformed)?;
    if !list.is_empty() {
        return Err(invalid("more than one server name"));
    }
    if !name.is_ascii() || name.is_empty() {
        return Err(invalid("server name is not a host name in ascii"));
    }
    std::str::from_utf8(name).map_err(|_| malformed())
}

fn protocols(data: &[u8]) -> Option<Vec<&[u8]>> {
    let mut r = Reader(data);
    let mut list = Reader(r.vec16()?);
    let mut found = Vec::new();
    while !list.is_empty() {
        found.push(list.vec8().filter(|p| !p.is_empty())?);
    }
    (r.is_empty() && !found.is_empty()).then_some(found)
}

/// RFC 9849 5: type outer, cipher suite, config id, encapsulated key, payload. A real one and GREASE
/// have this form; the inner form belongs into what is encrypted.
fn outer_ech(data: &[u8]) -> Option<()> {
    const OUTER: u8 = 0;
    let mut r = Reader(data);
    if r.u8()? != OUTER {
        return None;
    }
    let (_kdf, _aead, _config_id) = (r.u16()?, r.u16()?, r.u8()?);
    let (_enc, payload) = (r.vec16()?, r.vec16()?);
    (r.is_empty() && !payload.is_empty()).then_some(())
}

fn versions(data: &[u8]) -> Option<Vec<u16>> {
    let mut r = Reader(data);
    let mut list = Reader(r.vec8()?);
    let mut found = Vec::new();
    while !list.is_empty() {
        found.push(list.u16()?);
    }
    (r.is_empty() && !found.is_empty()).then_some(found)
}

/// Takes from the front of a slice; `None` past its end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }
    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }
    /// Bytes behind an 8-bit length.
    fn vec8(&mut self) -> Option<&'a [u8]> {
        let n = self.u8()?;
        self.take(n.into())
    }
    /// Bytes behind a 16-bit length.
    fn vec16(&mut self) -> Option<&'a [u8]> {
        let n = self.u16()?;
        self.take(n.into())
    }
}
