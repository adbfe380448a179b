//! Server-sent events out of a byte stream, whatever the chunk boundaries.
//!
//! Frames keep their original bytes. LF, CRLF and CR end lines; a frame is given out the moment its
//! blank line is complete: nothing is held back but an incomplete frame, and that is bounded.

use bytes::{Bytes, BytesMut};

/// One frame, blank line included, or a rest without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The bytes as they came.
    pub raw: Bytes,
    /// `data` lines joined by LF; `None` without any.
    pub data: Option<Bytes>,
    /// Value of the last `event` line.
    pub event: Option<Bytes>,
    /// True if there is any field at all; false for comments and blank lines.
    pub has_field: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event is larger than {0} bytes")]
pub struct FrameTooLarge(pub usize);

/// Cuts a byte stream into frames.
#[derive(Debug)]
pub struct Splitter {
    buffer: BytesMut,
    /// Everything before was searched for line ends.
    scanned: usize,
    line_start: usize,
    /// The last byte given out or scanned was CR: an LF that follows belongs to it.
    after_cr: bool,
    at_start: bool,
    max: usize,
}

impl Splitter {
    pub fn new(max_frame: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            line_start: 0,
            after_cr: false,
            at_start: true,
            max: max_frame,
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `Ok(None)` when more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameTooLarge> {
        if self.at_start && !self.skip_byte_order_mark() {
            return Ok(None);
        }
        loop {
            if self.after_cr {
                match self.buffer.get(self.scanned) {
                    None => break,
                    Some(b'\n') => {
                        self.scanned += 1;
                        self.line_start = self.scanned;
                    }
                    Some(_) => {}
                }
                self.after_cr = false;
            }
            let rest = self.buffer.get(self.scanned..).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'\n', b'\r', rest) else {
                self.scanned = self.buffer.len();
                break;
            };
            let end = self.scanned + found;
            self.after_cr = rest.get(found) == Some(&b'\r');
            let blank = end == self.line_start;
            self.scanned = end + 1;
            self.line_start = end + 1;
            if blank {
                // A CR at the very end of what came may be half of a CRLF. The frame is whole
                // anyway; a late LF then opens the next frame's bytes and counts as nothing.
                if self.after_cr && self.buffer.get(self.scanned) == Some(&b'\n') {
                    self.scanned += 1;
                    self.after_cr = false;
                }
                let raw = self.buffer.split_to(self.scanned).freeze();
                self.scanned = 0;
                self.line_start = 0;
                return self.bounded(parse(raw)).map(Some);
            }
        }
        if self.buffer.len() > self.max {
            return Err(FrameTooLarge(self.max));
        }
        Ok(None)
    }

    /// What is left when the stream ended: a frame whose blank line never came, if any.
    pub fn finish(&mut self) -> Option<Frame> {
        self.scanned = 0;
        self.line_start = 0;
        let rest = self.buffer.split().freeze();
        (!rest.is_empty()).then(|| parse(rest))
    }

    fn bounded(&self, frame: Frame) -> Result<Frame, FrameTooLarge> {
        if frame.raw.len() > self.max {
            Err(FrameTooLarge(self.max))
        } else {
            Ok(frame)
        }
    }

    /// Drops a byte order mark, which SDKs read as part of the first field's name.
    /// False while it is not yet known whether there is one.
    fn skip_byte_order_mark(&mut self) -> bool {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if self.buffer.is_empty()
            || (self.buffer.len() < MARK.len() && MARK.starts_with(&self.buffer))
        {
            return false;
        }
        if self.buffer.starts_with(MARK) {
            let _ = self.buffer.split_to(MARK.len());
        }
        self.at_start = false;
        true
    }
}

fn parse(raw: Bytes) -> Frame {
    let mut frame = Frame {
        raw: raw.clone(),
        data: None,
        event: None,
        has_field: false,
    };
    let mut joined: Option<BytesMut> = None;
    for line in lines(&raw) {
        let Some((name, value)) = field(line) else {
            continue;
        };
        frame.has_field = true;
        match name {
            b"data" => match (&frame.data, &mut joined) {
                (None, _) => frame.data = Some(raw.slice_ref(value)),
                (Some(first), joined) => {
                    let all = joined.get_or_insert_with(|| BytesMut::from(&first[..]));
                    all.extend_from_slice(b"\n");
                    all.extend_from_slice(value);
                }
            },
            b"event" => frame.event = Some(raw.slice_ref(value)),
            _ => {}
        }
    }
    if let Some(all) = joined {
        frame.data = Some(all.freeze());
    }
    frame
}

/// Name and value of a line; `None` for comments and blank lines.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    match memchr::memchr(b':', line) {
        None if line.is_empty() => None,
        None => Some((line, line.get(line.len()..)?)),
        Some(0) => None,
        Some(colon) => {
            let value = line.get(colon + 1..)?;
            Some((
                line.get(..colon)?,
                value.strip_prefix(b" ").unwrap_or(value),
            ))
        }
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    // A CRLF makes an empty line of its own here, which is no field either.
    text.split(|b| matches!(b, b'\n' | b'\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(input: &[u8], piece: usize) -> Vec<Frame> {
        let mut splitter = Splitter::new(1 << 16);
        let mut frames = Vec::new();
        for bytes in input.chunks(piece) {
            splitter.push(bytes);
            while let Some(frame) = splitter.next_frame().expect("small frames") {
                frames.push(frame);
            }
        }
        frames.extend(splitter.finish());
        frames
    }

    fn texts(frames: &[Frame]) -> Vec<Option<String>> {
        let text = |b: &Bytes| String::from_utf8_lossy(b).into_owned();
        frames
            .iter()
            .filter(|f| f.has_field)
            .map(|f| f.data.as_ref().map(text))
            .collect()
    }

    #[test]
    fn frames_are_the_same_for_every_piece_size_and_no_byte_is_lost() {
        let cases: [(&str, &str, Vec<Option<&str>>); 10] = [
            ("LF", "data: a\n\ndata: b\n\n", vec![Some("a"), Some("b")]),
            (
                "CRLF",
                "data: a\r\n\r\ndata: b\r\n\r\n",
                vec![Some("a"), Some("b")],
            ),
            ("CR", "data: a\r\rdata: b\r\r", vec![Some("a"), Some("b")]),
            (
                "mixed line ends",
                "data: a\r\n\ndata: b\n\r\ndata: c\r\r\n",
                vec![Some("a"), Some("b"), Some("c")],
            ),
            (
                "several data lines",
                "data: a\ndata:b\ndata:  c\n\n",
                vec![Some("a\nb\n c")],
            ),
            (
                "comments and blank lines between",
                ": ping\n\n\n\ndata: a\n: x\n\n",
                vec![Some("a")],
            ),
            (
                "fields without data",
                "retry: 5\n\nid: 1\n\nevent: x\ndata: a\n\n",
                vec![None, None, Some("a")],
            ),
            (
                "a name without a colon",
                "data\n\nnoise\n\n",
                vec![Some(""), None],
            ),
            (
                "an end without a blank line",
                "data: a\n\ndata: b",
                vec![Some("a"), Some("b")],
            ),
            (
                "text of several bytes a letter",
                "data: é漢🙂\n\n",
                vec![Some("é漢🙂")],
            ),
        ];
        for (name, input, want) in cases {
            for piece in 1..=input.len() {
                let frames = split(input.as_bytes(), piece);
                let got = texts(&frames);
                let got: Vec<Option<&str>> = got.iter().map(|t| t.as_deref()).collect();
                assert_eq!(got, want, "{name}, pieces of {piece}");
                let raw: Vec<u8> = frames.iter().flat_map(|f| f.raw.to_vec()).collect();
                assert_eq!(raw, input.as_bytes(), "{name}, pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_frame_is_given_out_with_its_last_byte() {
        for end in ["\n\n", "\r\n\r\n", "\r\r", "\r\n\r"] {
            let mut splitter = Splitter::new(100);
            splitter.push(format!("data: a{end}").as_bytes());
            assert!(splitter.next_frame().expect("small").is_some(), "{end:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_dropped() {
        for piece in 1..6 {
            let frames = split("\u{feff}data: a\n\n".as_bytes(), piece);
            assert_eq!(texts(&frames), [Some("a".to_owned())], "pieces of {piece}");
        }
    }

    #[test]
    fn a_frame_without_end_is_refused() {
        let mut splitter = Splitter::new(10);
        splitter.push(b"data: 0123456789");
        assert_eq!(splitter.next_frame(), Err(FrameTooLarge(10)));
        let mut splitter = Splitter::new(10);
        splitter.push(b"data: 0123456789\n\n");
        assert_eq!(splitter.next_frame(), Err(FrameTooLarge(10)));
    }
}
