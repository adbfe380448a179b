//! One response body from ComfyUI's form into ours: inflated, rewritten, hashed.
//!
//! The body is taken chunk by chunk and kept, for its `ETag` and the hashes of a document's import
//! maps stand in the head, before it. `limit` bounds what is kept.

use super::{
    html::{self, ScriptHash},
    inflate::{Coding, InflateError, Inflater},
    replace::{Replacements, Replacer},
    validator,
};

/// What is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Document,
    Script,
}

impl Kind {
    /// From a `Content-Type`; `None`: the body passes as it is.
    pub fn of(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "text/html" | "application/xhtml+xml" => Some(Kind::Document),
            "text/javascript"
            | "application/javascript"
            | "application/x-javascript"
            | "application/ecmascript"
            | "text/ecmascript" => Some(Kind::Script),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    #[error(transparent)]
    Inflate(#[from] InflateError),
}

/// A body on its way.
pub struct Rewrite {
    kind: Kind,
    inflater: Inflater,
    replacer: Replacer,
    /// Inflated, not yet rewritten; kept for its room.
    plain: Vec<u8>,
    body: Vec<u8>,
}

/// A body as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    pub body: Vec<u8>,
    pub etag: String,
    /// Inline import maps, for `script-src`.
    pub scripts: Vec<ScriptHash>,
    /// Addresses of the vendor that were replaced.
    pub replaced: usize,
}

impl Rewrite {
    /// `limit`: bytes of the inflated body.
    pub fn new(
        kind: Kind,
        coding: Coding,
        replacements: Replacements,
        limit: usize,
    ) -> Result<Self, RewriteError> {
        Ok(Self {
            kind,
            inflater: Inflater::new(coding, limit)?,
            replacer: Replacer::new(replacements),
            plain: Vec::new(),
            body: Vec::new(),
        })
    }

    pub fn push(&mut self, chunk: &[u8]) -> Result<(), RewriteError> {
        self.plain.clear();
        self.inflater.push(chunk, &mut self.plain)?;
        self.replacer.push(&self.plain, &mut self.body);
        Ok(())
    }

    pub fn finish(self) -> Result<Rewritten, RewriteError> {
        let Self {
            kind,
            inflater,
            mut replacer,
            mut plain,
            mut body,
        } = self;
        plain.clear();
        inflater.finish(&mut plain)?;
        replacer.push(&plain, &mut body);
        let replaced = replacer.finish(&mut body);
        let scripts = match kind {
            Kind::Document => html::import_maps(&body),
            Kind::Script => Vec::new(),
        };
        Ok(Rewritten {
            etag: validator::etag(&body),
            body,
            scripts,
            replaced,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const PAGE: &str = "<html><script type=importmap>{\"a\":\"https://vendor.test/a\"}</script>\
                        <script src=x></script></html>";

    fn rewrite(coding: Coding, body: &[u8], piece: usize) -> Rewritten {
        let replacements = Replacements::new(["vendor.test"], "/ours");
        let mut rewrite = Rewrite::new(Kind::Document, coding, replacements, 1 << 20).unwrap();
        body.chunks(piece).for_each(|c| rewrite.push(c).unwrap());
        rewrite.finish().unwrap()
    }

    #[test]
    fn a_page_is_the_same_compressed_or_not_and_in_any_pieces() {
        let whole = rewrite(Coding::Identity, PAGE.as_bytes(), PAGE.len());
        assert_eq!(
            String::from_utf8_lossy(&whole.body),
            PAGE.replace("https://vendor.test", "/ours")
        );
        assert_eq!(whole.replaced, 1);
        // The hash is that of what is served, not of what came.
        let served = html::import_maps(&whole.body);
        assert_eq!(whole.scripts, served);
        assert_eq!(served.len(), 1);
        let mut gzip = Vec::new();
        flate2::read::GzEncoder::new(PAGE.as_bytes(), flate2::Compression::fast())
            .read_to_end(&mut gzip)
            .unwrap();
        for piece in 1..40 {
            assert_eq!(rewrite(Coding::Identity, PAGE.as_bytes(), piece), whole);
            assert_eq!(rewrite(Coding::Gzip, &gzip, piece), whole);
        }
    }

    #[test]
    fn what_is_rewritten_is_told_by_its_type() {
        for (value, want) in [
            ("text/html; charset=utf-8", Some(Kind::Document)),
            ("Text/JavaScript", Some(Kind::Script)),
            ("application/javascript;charset=utf-8", Some(Kind::Script)),
            ("application/json", None),
            ("image/svg+xml", None),
            ("", None),
        ] {
            assert_eq!(Kind::of(value), want, "{value}");
        }
    }
}
