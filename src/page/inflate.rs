//! Taking a content coding off, chunk by chunk and within a bound.
//!
//! We ask ComfyUI for bodies without a coding; a server or a cache between us that codes them anyway
//! must not get an address past the rewriting. A body that ends early or goes on behind its end is
//! refused: half a script must not pass for a whole one.

use std::io::{self, Write};

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder as Zstd, InBuffer, Operation, OutBuffer};

/// What comes out of one step.
const STEP: usize = 32 << 10;

/// A content coding that we can take off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    #[error("the content coding is none of gzip, deflate, br and zstd, or more than one")]
    Unknown,
    #[error("the compressed body is broken: {0}")]
    Broken(&'static str),
    #[error("the body is longer than {0} bytes")]
    TooLong(usize),
}

impl Coding {
    /// From the value of `Content-Encoding`; of several codings none is taken.
    pub fn parse(value: &str) -> Result<Self, InflateError> {
        match value.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Coding::Identity),
            "gzip" | "x-gzip" => Ok(Coding::Gzip),
            "deflate" => Ok(Coding::Deflate),
            "br" => Ok(Coding::Brotli),
            "zstd" => Ok(Coding::Zstd),
            _ => Err(InflateError::Unknown),
        }
    }
}

/// One body that is being inflated.
pub struct Inflater {
    state: State,
    /// Bytes that may still come out.
    left: usize,
    limit: usize,
}

enum State {
    Identity,
    /// gzip, or deflate once its first two bytes have told zlib and raw apart.
    Flate {
        stream: Decompress,
        ended: bool,
    },
    DeflateUnread(Vec<u8>),
    Brotli(Box<brotli::DecompressorWriter<Bounded>>),
    Zstd {
        stream: Zstd<'static>,
        /// No frame is open.
        whole: bool,
    },
}

/// Takes what a decoder writes, up to a bound.
struct Bounded {
    bytes: Vec<u8>,
    left: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = match self.left.checked_sub(bytes.len()) {
            Some(left) => left,
            None => return Err(io::ErrorKind::FileTooLarge.into()),
        };
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Inflater {
    /// `limit`: the most bytes that may come out.
    pub fn new(coding: Coding, limit: usize) -> Result<Self, InflateError> {
        let state = match coding {
            Coding::Identity => State::Identity,
            Coding::Gzip => State::Flate {
                stream: Decompress::new_gzip(15),
                ended: false,
            },
            Coding::Deflate => State::DeflateUnread(Vec::new()),
            Coding::Brotli => {
                let out = Bounded {
                    bytes: Vec::new(),
                    left: limit,
                };
                State::Brotli(Box::new(brotli::DecompressorWriter::new(out, STEP)))
            }
            Coding::Zstd => State::Zstd {
                stream: Zstd::new().map_err(|_| InflateError::Broken("zstd"))?,
                whole: true,
            },
        };
        Ok(Self {
            state,
            left: limit,
            limit,
        })
    }

    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), InflateError> {
        let before = out.len();
        let room = self.left;
        match &mut self.state {
            State::Identity if chunk.len() > room => return Err(InflateError::TooLong(self.limit)),
            State::Identity => out.extend_from_slice(chunk),
            State::DeflateUnread(first) => {
                first.extend_from_slice(chunk);
                let [a, b, ..] = first.as_slice() else {
                    return Ok(());
                };
                // RFC 1950, 2.2: the method is 8, and the two bytes are a multiple of 31.
                let zlib = a & 0x0f == 8 && u16::from_be_bytes([*a, *b]) % 31 == 0;
                let first = std::mem::take(first);
                self.state = State::Flate {
                    stream: Decompress::new(zlib),
                    ended: false,
                };
                return self.push(&first, out);
            }
            State::Flate { stream, ended } => {
                flate(stream, ended, chunk, out, before + room, self.limit)?;
            }
            State::Brotli(stream) => {
                stream.write_all(chunk).map_err(|e| match e.kind() {
                    io::ErrorKind::FileTooLarge => InflateError::TooLong(self.limit),
                    _ => InflateError::Broken("br"),
                })?;
                out.append(&mut stream.get_mut().bytes);
            }
            State::Zstd { stream, whole } => {
                unzstd(stream, whole, chunk, out, before + room, self.limit)?;
            }
        }
        self.left -= (out.len() - before).min(room);
        Ok(())
    }

    /// The body is over: what is missing is an error.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), InflateError> {
        match &mut self.state {
            State::Identity
            | State::Flate { ended: true, .. }
            | State::Zstd { whole: true, .. } => Ok(()),
            State::Flate { .. } => Err(InflateError::Broken("gzip or deflate, cut short")),
            State::DeflateUnread(_) => Err(InflateError::Broken("deflate, cut short")),
            State::Zstd { .. } => Err(InflateError::Broken("zstd, cut short")),
            State::Brotli(stream) => {
                let closed = stream.close();
                out.append(&mut stream.get_mut().bytes);
                closed.map_err(|e| match e.kind() {
                    io::ErrorKind::FileTooLarge => InflateError::TooLong(self.limit),
                    _ => InflateError::Broken("br, cut short"),
                })
            }
        }
    }
}

/// `most`: the length that `out` may reach.
fn flate(
    stream: &mut Decompress,
    ended: &mut bool,
    chunk: &[u8],
    out: &mut Vec<u8>,
    most: usize,
    limit: usize,
) -> Result<(), InflateError> {
    let mut rest = chunk;
    loop {
        if *ended {
            return if rest.is_empty() {
                Ok(())
            } else {
                Err(InflateError::Broken("bytes behind the end"))
            };
        }
        out.reserve(STEP);
        let (read, written) = (stream.total_in(), out.len());
        let status = stream
            .decompress_vec(rest, out, FlushDecompress::None)
            .map_err(|_| InflateError::Broken("gzip or deflate"))?;
        let read = usize::try_from(stream.total_in() - read).unwrap_or(rest.len());
        rest = rest.get(read..).unwrap_or_default();
        if out.len() > most {
            return Err(InflateError::TooLong(limit));
        }
        match status {
            Status::StreamEnd => *ended = true,
            // Nothing moved: it waits for more.
            Status::Ok | Status::BufError if read == 0 && out.len() == written => return Ok(()),
            Status::Ok | Status::BufError => {}
        }
    }
}

fn unzstd(
    stream: &mut Zstd<'static>,
    whole: &mut bool,
    chunk: &[u8],
    out: &mut Vec<u8>,
    most: usize,
    limit: usize,
) -> Result<(), InflateError> {
    let mut input = InBuffer::around(chunk);
    let mut step = vec![0; STEP];
    loop {
        let mut output = OutBuffer::around(&mut step[..]);
        let before = input.pos();
        let hint = stream
            .run(&mut input, &mut output)
            .map_err(|_| InflateError::Broken("zstd"))?;
        let written = output.pos();
        if input.pos() > before || written > 0 {
            *whole = hint == 0;
        }
        out.extend_from_slice(output.as_slice());
        if out.len() > most {
            return Err(InflateError::TooLong(limit));
        }
        if input.pos() == chunk.len() && written < STEP {
            return Ok(());
        }
        if input.pos() == before && written == 0 {
            return Err(InflateError::Broken("zstd"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::{
        Compression,
        read::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };

    use super::*;

    const LIMIT: usize = 8 << 20;

    fn text() -> Vec<u8> {
        (0..20_000)
            .flat_map(|n: u32| format!("line {n} of https://vendor.test;\n").into_bytes())
            .collect()
    }

    fn coded() -> Vec<(&'static str, Coding, Vec<u8>)> {
        let text = text();
        let all = |mut r: Box<dyn Read + '_>| {
            let mut out = Vec::new();
            r.read_to_end(&mut out).unwrap();
            out
        };
        let level = Compression::fast();
        let br = brotli::CompressorReader::new(&text[..], 4096, 4, 20);
        vec![
            ("identity", Coding::Identity, text.clone()),
            (
                "gzip",
                Coding::Gzip,
                all(Box::new(GzEncoder::new(&text[..], level))),
            ),
            (
                "deflate in zlib, as it should be",
                Coding::Deflate,
                all(Box::new(ZlibEncoder::new(&text[..], level))),
            ),
            (
                "raw deflate, as some send it",
                Coding::Deflate,
                all(Box::new(DeflateEncoder::new(&text[..], level))),
            ),
            ("br", Coding::Brotli, all(Box::new(br))),
            (
                "zstd",
                Coding::Zstd,
                zstd::stream::encode_all(&text[..], 1).unwrap(),
            ),
        ]
    }

    fn inflate(
        coding: Coding,
        body: &[u8],
        piece: usize,
        limit: usize,
    ) -> Result<Vec<u8>, InflateError> {
        let mut inflater = Inflater::new(coding, limit)?;
        let mut out = Vec::new();
        for chunk in body.chunks(piece) {
            inflater.push(chunk, &mut out)?;
        }
        inflater.finish(&mut out)?;
        Ok(out)
    }

    #[test]
    fn every_coding_comes_off_in_pieces_of_any_size() {
        let text = text();
        for (name, coding, body) in coded() {
            for piece in [1, 7, 1000, body.len()] {
                let got = inflate(coding, &body, piece, LIMIT);
                assert!(got.as_deref() == Ok(&text), "{name} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_body_that_is_cut_short_or_goes_on_is_refused() {
        for (name, coding, body) in coded() {
            if coding == Coding::Identity {
                continue;
            }
            for cut in [1, 4, body.len() / 2] {
                let short = &body[..body.len() - cut];
                assert!(
                    inflate(coding, short, 1000, LIMIT).is_err(),
                    "{name} without {cut}"
                );
            }
            if matches!(coding, Coding::Gzip | Coding::Deflate) {
                let long = [&body[..], b"more"].concat();
                assert!(
                    inflate(coding, &long, 1000, LIMIT).is_err(),
                    "{name} and more"
                );
            }
            let mut wrong = body.clone();
            wrong[body.len() / 2] ^= 0x55;
            // Raw deflate, brotli and zstd without a checksum cannot always tell; gzip must.
            if coding == Coding::Gzip {
                assert!(
                    inflate(coding, &wrong, 1000, LIMIT).is_err(),
                    "{name} broken"
                );
            }
        }
    }

    #[test]
    fn a_bomb_ends_at_the_bound() {
        for (name, coding, body) in coded() {
            let limit = text().len() - 1;
            let got = inflate(coding, &body, 1000, limit);
            assert_eq!(got, Err(InflateError::TooLong(limit)), "{name}");
        }
    }

    #[test]
    fn codings_by_name() {
        for (value, want) in [
            ("gzip", Ok(Coding::Gzip)),
            (" X-GZIP ", Ok(Coding::Gzip)),
            ("br", Ok(Coding::Brotli)),
            ("deflate", Ok(Coding::Deflate)),
            ("zstd", Ok(Coding::Zstd)),
            ("", Ok(Coding::Identity)),
            ("gzip, br", Err(InflateError::Unknown)),
            ("compress", Err(InflateError::Unknown)),
        ] {
            assert_eq!(Coding::parse(value), want, "{value}");
        }
    }
}
