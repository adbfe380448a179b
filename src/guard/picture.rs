//! What an uploaded file is, by its first bytes, and how large the picture is that its header announces.
//!
//! Nothing is decoded: a picture of a few bytes may announce one that fills all memory. Of a JPEG the
//! segments are walked until the one with its size; of the others the first bytes are enough. TIFF, AVIF
//! and HEIC are known as pictures, their sizes are not looked for.

/// Enough for every format but JPEG: a tar says what it is behind the name of its first file.
const HEAD: usize = TAR + 5;
const TAR: usize = 257;

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Picture,
    /// Sound, video, a 3D model.
    Media,
    Archive,
    /// Python runs it when it is loaded.
    Pickle,
    /// A page, a drawing with scripts, a script with an interpreter's name.
    Active,
    /// A program of the system.
    Program,
    Unknown,
}

/// Width and height, as announced.
pub type Size = (u64, u64);

/// What the first bytes of a file say.
pub fn kind(head: &[u8]) -> Kind {
    let at = |offset: usize, magic: &[u8]| {
        head.get(offset..)
            .is_some_and(|rest| rest.starts_with(magic))
    };
    // Whatever that file is called.
    if at(TAR, b"ustar") {
        return Kind::Archive;
    }
    let riff = at(0, b"RIFF");
    let picture = at(0, b"\x89PNG\r\n\x1a\n")
        || at(0, b"\xff\xd8\xff")
        || at(0, b"GIF87a")
        || at(0, b"GIF89a")
        || (riff && at(8, b"WEBP"))
        || (at(0, b"BM") && at(6, &[0; 4]))
        || at(0, b"II*\0")
        || at(0, b"MM\0*")
        || at(0, b"v/1\x01")
        || at(0, b"#?RADIANCE")
        || at(0, b"\xff\x0a")
        || at(0, b"\0\0\0\x0cJXL ")
        || (at(4, b"ftyp")
            && ["avif", "avis", "heic", "heix", "mif1"]
                .iter()
                .any(|b| at(8, b.as_bytes())));
    if picture {
        return Kind::Picture;
    }
    // Text in another charset, of which a browser could make a page; an MP3 begins nearly so.
    if at(0, b"\xff\xfe") || at(0, b"\xfe\xff") {
        return Kind::Active;
    }
    let media = at(4, b"ftyp")
        || at(4, b"moov")
        || at(4, b"mdat")
        || at(0, b"\x1aE\xdf\xa3")
        || (riff && (at(8, b"WAVE") || at(8, b"AVI ")))
        || at(0, b"OggS")
        || at(0, b"fLaC")
        || at(0, b"ID3")
        || matches!(head, [0xff, second, ..] if second & 0xe0 == 0xe0)
        || (at(0, b"FORM") && at(8, b"AIF"))
        || at(0, b"glTF")
        || at(0, b"Kaydara FBX")
        || at(0, b"ply\n")
        || at(0, b"ply\r\n");
    if media {
        return Kind::Media;
    }
    if at(0, b"PK\x03\x04")
        || at(0, b"PK\x05\x06")
        || at(0, b"\x1f\x8b")
        || at(0, b"BZh")
        || at(0, b"\xfd7zXZ\0")
        || at(0, b"7z\xbc\xaf\x27\x1c")
        || at(0, b"Rar!\x1a\x07")
        || at(0, b"\x28\xb5\x2f\xfd")
    {
        return Kind::Archive;
    }
    // No opcode of a pickle is below a space; the length that begins a safetensors file is followed by 0.
    if matches!(head, [0x80, 2..=5, b' '..=0xff, ..]) {
        return Kind::Pickle;
    }
    if at(0, b"MZ") || at(0, b"\x7fELF") || at(0, b"\xca\xfe\xba\xbe") || at(0, b"\0asm") {
        return Kind::Program;
    }
    let text = head
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(head)
        .trim_ascii_start();
    if text.starts_with(b"<") || at(0, b"#!") {
        return Kind::Active;
    }
    Kind::Unknown
}

/// Looks at the beginning of a file as it passes.
#[derive(Debug, Default)]
pub struct Beginning {
    head: Vec<u8>,
    jpeg: Option<Jpeg>,
    settled: bool,
}

/// What [`Beginning::push`] has found, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Kind(Kind, Option<Size>),
    /// The size of a JPEG, of which the kind was told before.
    Size(Size),
}

impl Beginning {
    pub fn push(&mut self, piece: &[u8], last: bool) -> Found {
        if self.settled {
            return Found::Nothing;
        }
        if let Some(jpeg) = &mut self.jpeg {
            let size = jpeg.push(piece);
            self.settled = size.is_some();
            return size.map_or(Found::Nothing, Found::Size);
        }
        let wanted = HEAD.saturating_sub(self.head.len()).min(piece.len());
        let (mine, rest) = piece.split_at(wanted);
        self.head.extend_from_slice(mine);
        if self.head.len() < HEAD && !last {
            return Found::Nothing;
        }
        let kind = kind(&self.head);
        if kind == Kind::Picture && self.head.starts_with(b"\xff\xd8") {
            let mut jpeg = Jpeg::default();
            let size = jpeg.push(&self.head).or_else(|| jpeg.push(rest));
            self.settled = size.is_some();
            self.jpeg = Some(jpeg);
            return Found::Kind(kind, size);
        }
        self.settled = true;
        Found::Kind(kind, size(&self.head))
    }
}

fn size(head: &[u8]) -> Option<Size> {
    let le16 = |at: usize| Some(u64::from(u16::from_le_bytes(array(head, at)?)));
    let le24 = |at: usize| {
        let [a, b, c] = array(head, at)?;
        Some(u64::from(u32::from_le_bytes([a, b, c, 0])))
    };
    let be32 = |at: usize| Some(u64::from(u32::from_be_bytes(array(head, at)?)));
    if head.starts_with(b"\x89PNG") {
        return Some((be32(16)?, be32(20)?));
    }
    if head.starts_with(b"GIF8") {
        return Some((le16(6)?, le16(8)?));
    }
    if head.starts_with(b"BM") {
        let height = i32::from_le_bytes(array(head, 22)?);
        let width = i32::from_le_bytes(array(head, 18)?);
        return Some((width.unsigned_abs().into(), height.unsigned_abs().into()));
    }
    if !head.starts_with(b"RIFF") {
        return None;
    }
    match head.get(12..16)? {
        b"VP8X" => Some((le24(24)? + 1, le24(27)? + 1)),
        b"VP8 " => Some((le16(26)? & 0x3fff, le16(28)? & 0x3fff)),
        b"VP8L" => {
            let bits = u64::from(u32::from_le_bytes(array(head, 21)?));
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        _ => None,
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Walks the segments of a JPEG.
#[derive(Debug, Default)]
struct Jpeg {
    state: Segment,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Segment {
    /// Between segments, where 0xff leads to the next marker.
    #[default]
    Between,
    Marker,
    Length {
        marker: u8,
    },
    LengthLow {
        marker: u8,
        high: u8,
    },
    Skip(u32),
    /// Precision, height, width; so many bytes of them are there.
    Frame {
        at: u8,
        value: u64,
    },
    /// The picture itself has begun, or this is none.
    End,
}

impl Jpeg {
    fn push(&mut self, piece: &[u8]) -> Option<Size> {
        let mut rest = piece;
        while let [byte, tail @ ..] = rest {
            if let Segment::Skip(left) = self.state {
                let skipped = rest.len().min(left as usize);
                rest = rest.get(skipped..).unwrap_or_default();
                let left = left.saturating_sub(u32::try_from(skipped).unwrap_or(u32::MAX));
                self.state = match left {
                    0 => Segment::Between,
                    left => Segment::Skip(left),
                };
                continue;
            }
            rest = tail;
            self.state = match self.state {
                Segment::Between if *byte == 0xff => Segment::Marker,
                Segment::Between => Segment::Between,
                Segment::Marker => match *byte {
                    0xff => Segment::Marker,
                    // They have no length: start, restarts.
                    0x00 | 0x01 | 0xd0..=0xd8 => Segment::Between,
                    0xd9 | 0xda => Segment::End,
                    marker => Segment::Length { marker },
                },
                Segment::Length { marker } => Segment::LengthLow {
                    marker,
                    high: *byte,
                },
                Segment::LengthLow { marker, high } => {
                    let length = u32::from(u16::from_be_bytes([high, *byte]));
                    match marker {
                        // Start of frame; c4, c8 and cc are other things.
                        0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                            Segment::Frame { at: 0, value: 0 }
                        }
                        _ if length < 2 => Segment::End,
                        _ if length == 2 => Segment::Between,
                        _ => Segment::Skip(length - 2),
                    }
                }
                Segment::Frame { at, value } => {
                    let value = match at {
                        0 => 0,
                        _ => value << 8 | u64::from(*byte),
                    };
                    if at == 4 {
                        self.state = Segment::End;
                        return Some((value & 0xffff, value >> 16));
                    }
                    Segment::Frame { at: at + 1, value }
                }
                Segment::Skip(_) | Segment::End => return None,
            };
        }
        None
    }
}
