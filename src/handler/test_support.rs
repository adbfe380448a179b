//! Requests and bodies for the tests of the stand-ins.

use bytes::Bytes;
use futures_util::StreamExt;
use http::Request;
use uuid::Uuid;

use crate::{
    handler::{EgressMeter, Exchange, LocalBody, LocalRequest, LocalResponse, Note},
    net::{Authority, Entry, Port},
};

pub fn exchange(host: &str) -> Exchange {
    Exchange {
        id: Uuid::nil(),
        entry: Entry::Explicit,
        client: std::net::Ipv4Addr::LOCALHOST.into(),
        authority: Authority::parse(host, Some(Port::HTTPS)).expect("authority"),
        tls: true,
        egress: EgressMeter::default(),
        principal: None,
        note: Note::default(),
    }
}

pub fn request(
    host: &str,
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> LocalRequest {
    let mut builder = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let (parts, ()) = builder.body(()).expect("request").into_parts();
    LocalRequest {
        parts,
        body: body.into(),
        exchange: exchange(host),
    }
}

pub async fn body_bytes(response: LocalResponse) -> Vec<u8> {
    match response.into_body() {
        LocalBody::Empty => Vec::new(),
        LocalBody::Full(bytes) => bytes.to_vec(),
        LocalBody::Stream(mut stream) | LocalBody::Sized(_, mut stream) => {
            let mut out = Vec::new();
            while let Some(chunk) = stream.next().await {
                out.extend_from_slice(&chunk.expect("stream goes on"));
            }
            out
        }
    }
}

pub async fn body_text(response: LocalResponse) -> String {
    String::from_utf8(body_bytes(response).await).expect("UTF-8")
}

pub async fn body_json(response: LocalResponse) -> serde_json::Value {
    serde_json::from_slice(&body_bytes(response).await).expect("JSON")
}

pub fn header<'a>(response: &'a LocalResponse, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |v| v.to_str().expect("ASCII header"))
}
