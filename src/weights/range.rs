//! `Range` headers (RFC 9110, 14.2), as far as download clients write them: one range of bytes.

use std::fmt;

/// Bytes `first` to `last`, both included, of `total`. Never empty, never beyond the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    first: u64,
    last: u64,
    total: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no byte of the file is in the range")]
pub struct RangeError;

impl ByteRange {
    /// `None`: the whole file is asked for, or what was asked for is no range of bytes and does not count.
    pub fn parse(header: Option<&str>, total: u64) -> Result<Option<Self>, RangeError> {
        let asked = header.and_then(|h| h.trim().strip_prefix("bytes="));
        let Some((first, last)) = asked.and_then(|r| r.trim().split_once('-')) else {
            return Ok(None);
        };
        let number = |text: &str| -> Option<u64> {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse().unwrap_or(u64::MAX))
        };
        let end = total.checked_sub(1).ok_or(RangeError)?;
        let range = match (number(first), number(last)) {
            (Some(first), Some(last)) if last < first => return Ok(None),
            (Some(first), Some(last)) => (first, last.min(end)),
            (Some(first), None) if last.is_empty() => (first, end),
            (None, Some(0)) if first.is_empty() => return Err(RangeError),
            (None, Some(suffix)) if first.is_empty() => (total.saturating_sub(suffix), end),
            (Some(_) | None, Some(_) | None) => return Ok(None),
        };
        if range.0 > end {
            return Err(RangeError);
        }
        let range = Self {
            first: range.0,
            last: range.1,
            total,
        };
        // All of it is no part of it: asked for whole, its digest can be compared here.
        Ok((range.length() < total).then_some(range))
    }

    pub fn length(&self) -> u64 {
        self.last - self.first + 1
    }

    /// Whether it is the rest of a file of that size.
    pub fn ends(&self, size: u64) -> bool {
        self.last + 1 == size
    }

    /// For a request.
    pub fn header(&self) -> String {
        format!("bytes={}-{}", self.first, self.last)
    }

    /// Whether a `Content-Range` is exactly this.
    pub fn is_answered_by(&self, content_range: &str) -> bool {
        content_range.trim() == self.to_string()
    }
}

/// As in `Content-Range`.
impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}-{}/{}", self.first, self.last, self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_inside_the_file_or_no_range() {
        for (row, header, want) in [
            ("none", None, Ok(None)),
            ("to the end", Some("bytes=40-"), Ok(Some("bytes 40-99/100"))),
            ("closed", Some("bytes=10-19"), Ok(Some("bytes 10-19/100"))),
            (
                "closed beyond the end",
                Some("bytes=10-500"),
                Ok(Some("bytes 10-99/100")),
            ),
            (
                "the last ten",
                Some("bytes=-10"),
                Ok(Some("bytes 90-99/100")),
            ),
            ("all of it, open", Some("bytes=0-"), Ok(None)),
            ("all of it, closed", Some("bytes=0-99"), Ok(None)),
            ("behind the end", Some("bytes=100-"), Err(RangeError)),
            (
                "a number that is none",
                Some("bytes=99999999999999999999-"),
                Err(RangeError),
            ),
            ("the last none", Some("bytes=-0"), Err(RangeError)),
            ("two ranges", Some("bytes=0-1,5-6"), Ok(None)),
            ("backwards", Some("bytes=9-1"), Ok(None)),
            ("another unit", Some("pages=1-2"), Ok(None)),
            ("a sign", Some("bytes=+1-2"), Ok(None)),
        ] {
            let range = ByteRange::parse(header, 100);
            let text = range.map(|r| r.map(|r| r.to_string()));
            assert_eq!(text, want.map(|w| w.map(str::to_owned)), "{row}");
        }
        assert_eq!(ByteRange::parse(Some("bytes=0-"), 0), Err(RangeError));
        let range = ByteRange::parse(Some("bytes=10-19"), 100).unwrap().unwrap();
        assert_eq!(
            (range.length(), range.header().as_str()),
            (10, "bytes=10-19")
        );
        assert!(range.is_answered_by("bytes 10-19/100"));
        for other in ["bytes 0-99/100", "bytes 10-19/*", "bytes 10-19/200", ""] {
            assert!(!range.is_answered_by(other), "{other}");
        }
    }
}
