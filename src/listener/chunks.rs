//! Strict reading of a chunked body, while Pingora reads it, too.
//!
//! Pingora takes an empty size for the last chunk, any octets for a chunk extension, and blanks
//! behind a size. Another parser reads the same bytes in another way, so they are refused
//! (RFC 9112 7.1 has one spelling without extensions). Trailers must be well-formed fields; they are
//! never passed on. Pure; called by `listener::turn`, which cuts the stream where the body ends.

use crate::proxy::ChunkFault;

/// Fifteen hexadecimal digits: no parser's integer overflows.
const MAX_DIGITS: u8 = 15;
/// Bytes of all trailer lines.
const MAX_TRAILERS: usize = 8 << 10;

/// Where in a chunked body the next byte stands.
#[derive(Debug, Default)]
pub struct Chunks {
    state: State,
    trailers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { digits: u8, size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Line,
    Name,
    Value,
    ValueLf,
    EndLf,
    Done,
}

impl Default for State {
    fn default() -> Self {
        State::Size { digits: 0, size: 0 }
    }
}

impl Chunks {
    /// Takes the next bytes of the stream. `Some(n)`: the body ended behind the `n`th of them.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<usize>, ChunkFault> {
        let mut rest = bytes;
        loop {
            if self.state == State::Done {
                return Ok(Some(bytes.len() - rest.len()));
            }
            if let State::Data { left } = self.state {
                // Sizes of a chunk may be larger than the memory of the machine; those of a slice not.
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                rest = rest.get(here..).unwrap_or_default();
                self.state = match left - here as u64 {
                    0 => State::DataCr,
                    left => State::Data { left },
                };
            }
            let Some((byte, after)) = rest.split_first() else {
                return Ok(None);
            };
            rest = after;
            self.state = self.step(*byte)?;
        }
    }

    fn step(&mut self, byte: u8) -> Result<State, ChunkFault> {
        const NO_CRLF: ChunkFault =
            ChunkFault::Ambiguous("a line of the body is not ended by CR LF");
        const TRAILER: ChunkFault = ChunkFault::Malformed("a trailer is no header line");
        if matches!(
            self.state,
            State::Line | State::Name | State::Value | State::ValueLf
        ) {
            self.trailers += 1;
            if self.trailers > MAX_TRAILERS {
                return Err(ChunkFault::Malformed("the trailers are too long"));
            }
        }
        let expect = |wanted: u8, next: State, fault: ChunkFault| match byte == wanted {
            true => Ok(next),
            false => Err(fault),
        };
        match self.state {
            State::Size { digits, size } => size_byte(byte, digits, size),
            State::SizeLf { size } => {
                let next = match size {
                    0 => State::Line,
                    left => State::Data { left },
                };
                expect(b'\n', next, NO_CRLF)
            }
            State::DataCr => expect(
                b'\r',
                State::DataLf,
                ChunkFault::Malformed("a chunk is longer than its size says"),
            ),
            State::DataLf => expect(b'\n', State::default(), NO_CRLF),
            State::Line if byte == b'\r' => Ok(State::EndLf),
            State::Line | State::Name => match byte {
                b':' if self.state == State::Name => Ok(State::Value),
                b if super::head::is_token(b) => Ok(State::Name),
                b'\n' => Err(NO_CRLF),
                _ => Err(TRAILER),
            },
            State::Value => match byte {
                b'\r' => Ok(State::ValueLf),
                b'\n' => Err(NO_CRLF),
                b if b == b'\t' || (b >= 0x20 && b != 0x7f) => Ok(State::Value),
                _ => Err(TRAILER),
            },
            State::ValueLf => expect(b'\n', State::Line, NO_CRLF),
            State::EndLf => expect(b'\n', State::Done, NO_CRLF),
            // `push` handles both.
            State::Data { .. } | State::Done => Ok(self.state),
        }
    }
}

fn size_byte(byte: u8, digits: u8, size: u64) -> Result<State, ChunkFault> {
    if let Some(digit) = char::from(byte).to_digit(16) {
        if digits == MAX_DIGITS {
            return Err(ChunkFault::Ambiguous("a chunk size has too many digits"));
        }
        return Ok(State::Size {
            digits: digits + 1,
            size: size * 16 + u64::from(digit),
        });
    }
    match byte {
        b'\r' if digits > 0 => Ok(State::SizeLf { size }),
        b'\r' => Err(ChunkFault::Ambiguous("a chunk has no size")),
        b'\n' => Err(ChunkFault::Ambiguous(
            "a line of the body is not ended by CR LF",
        )),
        b';' => Err(ChunkFault::Ambiguous(
            "chunk extensions are not spoken here",
        )),
        b' ' | b'\t' | b'+' | b'-' | b'_' | b'x' | b'X' => Err(ChunkFault::Ambiguous(
            "a chunk size is not plain hexadecimal digits",
        )),
        _ => Err(ChunkFault::Malformed("the body is not chunked as it says")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole, and cut at every place: where the body ends is the same.
    fn read(bytes: &[u8]) -> Result<Option<usize>, ChunkFault> {
        let whole = Chunks::default().push(bytes);
        for at in 0..bytes.len() {
            let (first, second) = bytes.split_at(at);
            let mut chunks = Chunks::default();
            let cut = chunks.push(first).and_then(|end| match end {
                Some(end) => Ok(Some(end)),
                None => chunks.push(second).map(|end| end.map(|n| n + at)),
            });
            assert_eq!(cut, whole, "cut at {at}");
        }
        whole
    }

    #[test]
    fn a_good_body_ends_where_it_says() {
        let rows: &[(&str, &[u8], Option<usize>)] = &[
            ("an empty body", b"0\r\n\r\n", Some(5)),
            ("one chunk", b"3\r\nabc\r\n0\r\n\r\n", Some(13)),
            (
                "a request behind it",
                b"1\r\na\r\n0\r\n\r\nGET / ",
                Some(11),
            ),
            (
                "leading zeros and both cases",
                b"000A\r\n0123456789\r\n0\r\n\r\n",
                Some(23),
            ),
            (
                "line ends inside a chunk",
                b"4\r\n\r\n\r\n\r\n0\r\n\r\n",
                Some(14),
            ),
            ("trailers", b"0\r\nHost: a\r\nX-Y:\tz \r\n\r\n", Some(23)),
            ("half of it", b"5\r\nab", None),
            ("no blank line", b"0\r\n", None),
        ];
        for (name, bytes, end) in rows {
            assert_eq!(read(bytes), Ok(*end), "{name}");
        }
    }

    #[test]
    fn what_two_parsers_could_read_two_ways_is_refused() {
        let rows: &[(&str, &[u8], bool)] = &[
            ("an extension", b"1;a=b\r\nx\r\n0\r\n\r\n", true),
            ("an extension of the last chunk", b"0;a\r\n\r\n", true),
            ("a blank behind the size", b"1 \r\nx\r\n", true),
            ("a blank before the size", b" 1\r\nx\r\n", true),
            ("a tab behind the size", b"1\t\r\nx\r\n", true),
            ("a plus", b"+1\r\nx\r\n", true),
            ("a minus", b"-1\r\nx\r\n", true),
            ("0x", b"0x1\r\nx\r\n", true),
            ("a digit separator", b"1_0\r\n", true),
            ("no size", b"\r\n\r\n", true),
            ("a size of sixteen digits", b"0000000000000001\r\nx", true),
            ("a size over 64 bits", b"10000000000000001\r\nx", true),
            ("a bare LF behind the size", b"1\nx\r\n0\r\n\r\n", true),
            ("a bare CR behind the size", b"1\rx", true),
            ("a bare LF behind the data", b"1\r\nx\n0\r\n\r\n", false),
            ("data longer than the size", b"1\r\nxy\r\n", false),
            ("a bare CR behind the data", b"1\r\nx\r0", true),
            ("a bare LF at the end", b"0\r\n\n", true),
            ("a bare LF behind a trailer", b"0\r\nA: b\n\r\n", true),
            ("a trailer without a colon", b"0\r\nabc\r\n\r\n", false),
            ("a folded trailer", b"0\r\nA: b\r\n c\r\n\r\n", false),
            ("a blank before the colon", b"0\r\nA : b\r\n\r\n", false),
            ("a trailer without a name", b"0\r\n: b\r\n\r\n", false),
            (
                "a control character in a trailer",
                b"0\r\nA: \0\r\n\r\n",
                false,
            ),
            (
                "a request instead of a size",
                b"GET / HTTP/1.1\r\n\r\n",
                false,
            ),
            ("a letter behind the size", b"1g\r\n", false),
            ("an 8-bit size", b"\xb2\r\n", false),
        ];
        for (name, bytes, ambiguous) in rows {
            let fault = read(bytes).expect_err(name);
            assert_eq!(
                matches!(fault, ChunkFault::Ambiguous(_)),
                *ambiguous,
                "{name}: {fault}"
            );
        }
    }

    #[test]
    fn trailers_are_bounded() {
        let mut chunks = Chunks::default();
        assert_eq!(chunks.push(b"0\r\n"), Ok(None));
        let line = format!("A: {}\r\n", "b".repeat(1000));
        let fault = (0..20).find_map(|_| chunks.push(line.as_bytes()).err());
        assert_eq!(
            fault,
            Some(ChunkFault::Malformed("the trailers are too long"))
        );
        // To the byte: `A:`, the value, CR LF, and the blank line's CR.
        let ended = |length: usize| {
            let mut chunks = Chunks::default();
            let value = "b".repeat(length - 5);
            chunks.push(format!("0\r\nA:{value}\r\n\r\n").as_bytes())
        };
        assert_eq!(ended(MAX_TRAILERS), Ok(Some(3 + MAX_TRAILERS + 1)));
        assert!(ended(MAX_TRAILERS + 1).is_err());
    }

    #[test]
    fn every_byte_is_taken_in_a_trailer_where_a_header_has_it() {
        for b in 0..=u8::MAX {
            let ended = |before: &str, after: &str| {
                let bytes = [before.as_bytes(), &[b], after.as_bytes()].concat();
                Chunks::default()
                    .push(&bytes)
                    .is_ok_and(|end| end.is_some())
            };
            let token = b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            assert_eq!(ended("0\r\n", ": v\r\n\r\n"), token, "first {b:#04x}");
            let name = token || b == b':';
            assert_eq!(ended("0\r\nX", "Y: v\r\n\r\n"), name, "name {b:#04x}");
            let value = b == b'\t' || (b >= 0x20 && b != 0x7f);
            assert_eq!(ended("0\r\nX: v", "w\r\n\r\n"), value, "value {b:#04x}");
            let size = b.is_ascii_hexdigit();
            let whole = [b"0", &[b][..], b"\r\n"].concat();
            assert_eq!(
                Chunks::default().push(&whole).is_ok(),
                size,
                "size {b:#04x}"
            );
        }
    }

    #[test]
    fn a_chunk_of_any_size_is_counted_and_not_held() {
        let mut chunks = Chunks::default();
        assert_eq!(chunks.push(b"fffffffffffffff\r\n"), Ok(None));
        assert_eq!(chunks.push(&[b'a'; 100_000]), Ok(None));
    }
}
