//! What kind of picture some bytes are, by their first bytes and nothing else.

/// Formats that a browser shows and that vision models take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureKind {
    Png,
    Jpeg,
    WebP,
    Gif,
}

impl PictureKind {
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(PictureKind::Png),
            [0xff, 0xd8, 0xff, ..] => Some(PictureKind::Jpeg),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(PictureKind::Gif),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Some(PictureKind::WebP),
            _ => None,
        }
    }

    pub fn mime(self) -> &'static str {
        match self {
            PictureKind::Png => "image/png",
            PictureKind::Jpeg => "image/jpeg",
            PictureKind::WebP => "image/webp",
            PictureKind::Gif => "image/gif",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide() {
        for (row, bytes, want) in [
            ("png", &b"\x89PNG\r\n\x1a\n...."[..], Some("image/png")),
            ("jpeg", b"\xff\xd8\xff\xe0..", Some("image/jpeg")),
            ("gif", b"GIF89a..", Some("image/gif")),
            ("webp", b"RIFF\x10\0\0\0WEBPVP8 ", Some("image/webp")),
            (
                "a sound in the same container",
                b"RIFF\x10\0\0\0WAVEfmt ",
                None,
            ),
            (
                "svg can hold scripts",
                b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>",
                None,
            ),
            ("a page", b"<html>", None),
            ("cut short", b"\x89PNG", None),
            ("nothing", b"", None),
        ] {
            assert_eq!(
                PictureKind::sniff(bytes).map(PictureKind::mime),
                want,
                "{row}"
            );
        }
    }
}
