//! ClientHellos that no TLS library would send: any name, any list of names, cut into any records.
//!
//! RFC 8446 4.1.2. The key share is the curve's base point, so that an honest server can answer.

/// Largest plaintext of a record.
const RECORD: usize = 1 << 14;

#[derive(Clone, Debug)]
pub struct Hello {
    /// Entries of each server_name extension: type and name.
    names: Vec<Vec<(u8, Vec<u8>)>>,
    alpn: Vec<&'static [u8]>,
    versions: Vec<u16>,
    key_share: bool,
    more: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    pub fn nameless() -> Self {
        Self {
            names: Vec::new(),
            alpn: Vec::new(),
            versions: vec![0x0304, 0x0303],
            key_share: true,
            more: Vec::new(),
        }
    }

    pub fn named(name: impl AsRef<[u8]>) -> Self {
        Self::nameless().names(&[(0, name.as_ref())])
    }

    /// One more server_name extension with these entries.
    pub fn names(mut self, entries: &[(u8, &[u8])]) -> Self {
        let entries = entries.iter().map(|(kind, name)| (*kind, name.to_vec()));
        self.names.push(entries.collect());
        self
    }

    pub fn alpn(mut self, protocols: &[&'static [u8]]) -> Self {
        self.alpn = protocols.to_vec();
        self
    }

    pub fn versions(mut self, versions: &[u16]) -> Self {
        self.versions = versions.to_vec();
        self
    }

    /// The server will have to ask for one.
    pub fn without_key_share(mut self) -> Self {
        self.key_share = false;
        self
    }

    pub fn extension(mut self, kind: u16, data: impl Into<Vec<u8>>) -> Self {
        self.more.push((kind, data.into()));
        self
    }

    /// The handshake message.
    pub fn message(&self) -> Vec<u8> {
        let mut body = vec![0x03, 0x03];
        body.extend(0x40_u8..0x60);
        body.extend(vec8(&[0x5a; 32]));
        let suites = [0x1301_u16, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xcca9, 0xcca8];
        body.extend(vec16(&words(&suites)));
        body.extend([1, 0]);
        let mut extensions = Vec::new();
        for entries in &self.names {
            let list: Vec<u8> = entries
                .iter()
                .flat_map(|(kind, name)| [vec![*kind], vec16(name)].concat())
                .collect();
            extensions.extend(extension(0, &vec16(&list)));
        }
        extensions.extend(extension(10, &vec16(&words(&[0x001d, 0x0017]))));
        let schemes = [0x0403_u16, 0x0503, 0x0804, 0x0805, 0x0401, 0x0807];
        extensions.extend(extension(13, &vec16(&words(&schemes))));
        if !self.alpn.is_empty() {
            let list: Vec<u8> = self.alpn.iter().flat_map(|p| vec8(p)).collect();
            extensions.extend(extension(16, &vec16(&list)));
        }
        extensions.extend(extension(43, &vec8(&words(&self.versions))));
        let share = if self.key_share {
            let mut point = [0_u8; 32];
            point[0] = 9;
            [vec![0x00, 0x1d], vec16(&point)].concat()
        } else {
            Vec::new()
        };
        extensions.extend(extension(51, &vec16(&share)));
        for (kind, data) in &self.more {
            extensions.extend(extension(*kind, data));
        }
        // pre_shared_key has to be the last one, and wants its modes before.
        body.extend(vec16(&extensions));
        let mut message = vec![1];
        message.extend(length24(body.len()));
        message.extend(body);
        message
    }

    /// In one record, or as many as it takes.
    pub fn bytes(&self) -> Vec<u8> {
        self.records(RECORD)
    }

    /// In records of at most `size` bytes each.
    pub fn records(&self, size: usize) -> Vec<u8> {
        records(&self.message(), size)
    }
}

/// Handshake records of at most `size` bytes each.
pub fn records(message: &[u8], size: usize) -> Vec<u8> {
    message
        .chunks(size.clamp(1, RECORD))
        .flat_map(|part| [vec![0x16, 0x03, 0x01], vec16(part)].concat())
        .collect()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), vec16(data)].concat()
}

fn words(list: &[u16]) -> Vec<u8> {
    list.iter().flat_map(|w| w.to_be_bytes()).collect()
}

fn vec8(data: &[u8]) -> Vec<u8> {
    let mut out = vec![u8::try_from(data.len()).unwrap_or(u8::MAX)];
    out.extend(data);
    out
}

fn vec16(data: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(data.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes()
        .to_vec();
    out.extend(data);
    out
}

fn length24(length: usize) -> [u8; 3] {
    let [_, a, b, c] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [a, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::HelloParser;

    #[test]
    fn what_is_built_is_read_as_meant() {
        let hello = Hello::named("a.test").alpn(&[b"h2", b"http/1.1"]);
        for size in [1, 7, RECORD] {
            let info = HelloParser::new(1 << 16)
                .push(&hello.records(size))
                .unwrap()
                .unwrap();
            assert_eq!(info.sni.unwrap().to_string(), "a.test", "{size}");
            assert_eq!(info.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
            assert_eq!(info.versions, [0x0304, 0x0303]);
        }
        let info = HelloParser::new(1 << 16)
            .push(&Hello::nameless().bytes())
            .unwrap();
        assert!(info.unwrap().sni.is_none());
    }
}
