//! A request of the plugin, before it is known by which way it goes.

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN},
};
use http_body_util::Full;
use serde_json::Value;

use super::step::Fault;
use crate::net::{Authority, Port};

/// By which door a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// CONNECT to the proxy, TLS inside.
    Tunnel,
    /// Absolute-form request to the proxy.
    Plain,
    /// To the reverse listener, which stands for a vendor host.
    Reverse,
}

/// ComfyUI's page as a browser names it (WIRE.md 10.0).
pub const PAGE: &str = "http://127.0.0.1:8188";
/// What the plugin sends as its key before the user has one (WIRE.md 2.1).
const PLUGIN_CREDENTIAL: &str = "Bearer cp-demo-key-of-the-plugin";

#[derive(Clone, Debug)]
pub struct Call {
    pub way: Way,
    pub method: Method,
    /// Host and port of the URL; for [`Way::Reverse`] the host that the listener stands for.
    pub authority: Authority,
    /// Path and query.
    pub target: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Call {
    /// `https` goes through a tunnel, `http` in absolute form.
    pub fn new(method: Method, url: &str) -> Result<Self, Fault> {
        let bad = || Fault(format!("{url} is no URL"));
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let (way, port) = match uri.scheme_str() {
            Some("https") => (Way::Tunnel, Port::HTTPS),
            Some("http") => (Way::Plain, Port::HTTP),
            Some(_) | None => return Err(bad()),
        };
        let authority = uri.authority().ok_or_else(bad)?.as_str();
        let authority = Authority::parse(authority, Some(port)).map_err(|_| bad())?;
        let target = uri.path_and_query().map_or("/", |t| t.as_str()).to_owned();
        Ok(Self {
            way,
            method,
            authority,
            target,
            headers: Vec::new(),
            body: Bytes::new(),
        })
    }

    pub fn get(url: &str) -> Result<Self, Fault> {
        Self::new(Method::GET, url)
    }

    /// A POST of JSON.
    pub fn post(url: &str, body: &Value) -> Result<Self, Fault> {
        Ok(Self::new(Method::POST, url)?.json(body))
    }

    pub fn json(self, body: &Value) -> Self {
        self.header(CONTENT_TYPE, "application/json")
            .body(body.to_string())
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub fn by_reverse(mut self) -> Self {
        self.way = Way::Reverse;
        self
    }

    pub fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// As the plugin's Python side sends it: its key, and the agents' user agent.
    pub fn by_plugin(self) -> Self {
        self.header(AUTHORIZATION, PLUGIN_CREDENTIAL)
            .header(http::header::USER_AGENT, "Agents/Python 0.22.2")
    }

    /// As the page sends it: from another origin, with a key that does not exist yet.
    pub fn by_page(self) -> Self {
        self.header(ORIGIN, PAGE)
            .header(AUTHORIZATION, "Bearer null")
            .header(
                HeaderName::from_static("trace-id"),
                "0f9d0cf1-6a6e-4f9e-9a55-3d4a4d3f0a11",
            )
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// As it goes onto a connection; `listener` is the reverse listener's own address.
    pub fn request(&self, listener: &str) -> Result<Request<Full<Bytes>>, Fault> {
        let (uri, host) = match self.way {
            Way::Tunnel => (
                self.target.clone(),
                self.authority.without_port(Port::HTTPS),
            ),
            Way::Plain => {
                let host = self.authority.without_port(Port::HTTP);
                (format!("http://{host}{}", self.target), host)
            }
            Way::Reverse => (self.target.clone(), listener.to_owned()),
        };
        let mut builder = Request::builder()
            .method(self.method.clone())
            .uri(uri)
            .header(HOST, host);
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        builder
            .body(Full::new(self.body.clone()))
            .map_err(|e| Fault(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_own_request_form() {
        for (url, reverse, uri, host) in [
            ("https://a.test/x?q=1", false, "/x?q=1", "a.test"),
            ("http://a.test/x", false, "http://a.test/x", "a.test"),
            ("http://a.test:81/", false, "http://a.test:81/", "a.test:81"),
            ("https://a.test/x", true, "/x", "127.0.0.1:9"),
        ] {
            let call = Call::get(url).unwrap();
            let call = if reverse { call.by_reverse() } else { call };
            let request = call.request("127.0.0.1:9").unwrap();
            assert_eq!(request.uri().to_string(), uri, "{url}");
            assert_eq!(request.headers()[HOST], host, "{url}");
        }
        assert!(Call::get("ftp://a.test/").is_err());
    }
}
