//! A stand-in for ComfyUI: files by their exact path, as aiohttp serves them, and what was asked.

use std::net::SocketAddr;

use crate::support::Origin;

/// The tag of every file here.
pub const TAG: &str = "\"comfyui-1\"";

#[derive(Clone)]
pub struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    pub fn file(content_type: &str, body: &str) -> Self {
        Self::with(content_type, "", body.as_bytes())
    }

    /// With these header lines.
    pub fn saying(content_type: &str, lines: &str, body: &str) -> Self {
        Self::with(content_type, lines, body.as_bytes())
    }

    /// Nothing but its type and length.
    pub fn plain(content_type: &str, body: &str) -> Self {
        Self {
            head: format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ),
            body: body.as_bytes().to_owned(),
        }
    }

    /// A body with this content coding, whether it was asked for or not.
    pub fn coded(content_type: &str, coding: &str, body: &[u8]) -> Self {
        Self::with(
            content_type,
            &format!("Content-Encoding: {coding}\r\n"),
            body,
        )
    }

    fn with(content_type: &str, lines: &str, body: &[u8]) -> Self {
        Self {
            head: format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{lines}Etag: {TAG}\r\n\
                 Last-Modified: Fri, 20 Nov 2020 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n\
                 Content-Length: {}\r\n\r\n",
                body.len()
            ),
            body: body.to_owned(),
        }
    }
}

pub struct ComfyUi(Origin);

impl ComfyUi {
    pub fn serving(files: Vec<(&'static str, Answer)>) -> Self {
        Self(Origin::recording(move |head| {
            let mut words = head.split(' ');
            let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let path = target.split('?').next().unwrap_or(target);
            let Some((_, answer)) = files.iter().find(|(file, _)| *file == path) else {
                return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec();
            };
            let mut bytes = answer.head.clone().into_bytes();
            if method != "HEAD" {
                bytes.extend_from_slice(&answer.body);
            }
            bytes
        }))
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    pub fn heads(&self) -> Vec<String> {
        self.0.heads()
    }
}
