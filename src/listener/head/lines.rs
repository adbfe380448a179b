//! The lines of a head.

use super::{HeadError, malformed};

/// Lines ended by CR LF and nothing else.
pub struct Lines<'a> {
    pub rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], HeadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some(at) = memchr::memchr2(b'\r', b'\n', self.rest) else {
            self.rest = &[];
            return Some(Err(malformed("a line is not ended by CR LF")));
        };
        let (line, tail) = self.rest.split_at(at);
        let Some(after) = tail.strip_prefix(b"\r\n") else {
            self.rest = &[];
            return Some(Err(malformed("a line is not ended by CR LF")));
        };
        self.rest = after;
        Some(Ok(line))
    }
}
