//! The proxy that a site makes everything go through (`egress.upstream_proxy`).
//!
//! It is asked with CONNECT for the name that was judged, looks it up and dials it itself; so the
//! address behind a name is not ours to check, and what is left of the address checkpoint is
//! [`crate::policy::address::check_unresolved`]. Called by `dial` and `connector` with a stream to the
//! proxy, whose own address was checked like that of any named upstream.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::{Engine, prelude::BASE64_STANDARD};
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::{
    config::{EgressConfig, Exemption, Secret},
    net::{Authority, Host},
};

/// Of the proxy's answer to a CONNECT; the explanation in a refusal's body is not read.
const HEAD_BYTES: usize = 16 << 10;
const HEADERS: usize = 64;
/// Interim answers (1xx) taken before the real one.
const INTERIM: usize = 4;
/// Names that a pool is remembered for.
const POOLS: usize = 4096;
/// Pools of other kinds are numbered from zero, by generations of the policy.
const FIRST_POOL: u64 = 1 << 32;

/// Why the proxy made no connection.
#[derive(Debug, thiserror::Error)]
pub enum SiteProxyError {
    #[error("the upstream proxy answered {}", words(*.0))]
    Refused(u16),
    #[error("the upstream proxy's answer is not well-formed HTTP")]
    Malformed,
    #[error("the upstream proxy closed the connection: {0}")]
    Broken(#[from] std::io::Error),
    #[error("the upstream proxy could not be reached: {0}")]
    Unreachable(std::io::Error),
}

fn words(status: u16) -> String {
    match status {
        407 => "407: it wants other credentials (egress.credentials_env)".into(),
        status => status.to_string(),
    }
}

pub struct SiteProxy {
    authority: Authority,
    /// The value of `Proxy-Authorization`.
    authorization: Option<Secret<String>>,
    no_proxy: Vec<Exemption>,
    own_requests: bool,
    pools: Mutex<HashMap<Authority, u64>>,
    next_pool: AtomicU64,
}

impl std::fmt::Debug for SiteProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SiteProxy({})", self.authority)
    }
}

impl SiteProxy {
    pub fn of(config: &EgressConfig) -> Option<Self> {
        let proxy = config.upstream_proxy.as_ref()?;
        let basic = |credentials: &Secret<String>| {
            let encoded = Zeroizing::new(BASE64_STANDARD.encode(credentials.expose()));
            Secret::new(format!("Basic {}", *encoded))
        };
        Some(Self {
            authority: proxy.authority.clone(),
            authorization: proxy.credentials.as_ref().map(basic),
            no_proxy: config.no_proxy.clone(),
            own_requests: config.llm_through_proxy,
            pools: Mutex::default(),
            next_pool: AtomicU64::new(FIRST_POOL),
        })
    }

    /// Where the proxy itself is.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    pub fn exempts(&self, host: &Host) -> bool {
        self.no_proxy.iter().any(|e| e.covers(host))
    }

    /// Whether this process's own requests (to the LLM) go through it, too.
    pub fn takes_own_requests(&self) -> bool {
        self.own_requests
    }

    /// Tells connections through the proxy apart by where they lead: they all go to one address.
    /// Never the same number for two destinations.
    pub fn pool_of(&self, target: &Authority) -> u64 {
        let mut pools = self.pools.lock();
        if let Some(pool) = pools.get(target) {
            return *pool;
        }
        if pools.len() >= POOLS {
            // What stands in the forgotten pools idles out; their numbers do not come again.
            pools.clear();
        }
        let pool = self.next_pool.fetch_add(1, Ordering::Relaxed);
        pools.insert(target.clone(), pool);
        pool
    }

    /// Asks for a connection to `target`. The caller bounds the time.
    pub async fn ask<S>(&self, stream: &mut S, target: &Authority) -> Result<(), SiteProxyError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut head = Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
        if let Some(authorization) = &self.authorization {
            head.push_str("Proxy-Authorization: ");
            head.push_str(authorization.expose());
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await?;
        stream.flush().await?;
        let mut buffer = Vec::with_capacity(1024);
        for _ in 0..=INTERIM {
            let (status, length) = answer(stream, &mut buffer).await?;
            buffer.drain(..length);
            match status {
                100..200 => {}
                // The far side waits for our first byte: what came already is none of its.
                200..300 if buffer.is_empty() => return Ok(()),
                200..300 => break,
                status => return Err(SiteProxyError::Refused(status)),
            }
        }
        Err(SiteProxyError::Malformed)
    }
}

/// Status and length of the next head.
async fn answer<S>(stream: &mut S, buffer: &mut Vec<u8>) -> Result<(u16, usize), SiteProxyError>
where
    S: AsyncRead + Unpin,
{
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(buffer) {
            Ok(httparse::Status::Complete(length)) => {
                let status = response.code.ok_or(SiteProxyError::Malformed)?;
                return Ok((status, length));
            }
            Ok(httparse::Status::Partial) if buffer.len() < HEAD_BYTES => {}
            Ok(httparse::Status::Partial) | Err(_) => return Err(SiteProxyError::Malformed),
        }
        let mut room = (HEAD_BYTES - buffer.len()) as u64;
        room = room.min(1024);
        if (&mut *stream).take(room).read_buf(buffer).await? == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SiteProxy as Settings;

    fn proxy(credentials: Option<&str>) -> SiteProxy {
        let config = EgressConfig {
            upstream_proxy: Some(Settings {
                authority: Authority::parse("proxy.test:3128", None).unwrap(),
                credentials: credentials.map(|c| Secret::new(c.to_owned())),
            }),
            ..EgressConfig::default()
        };
        SiteProxy::of(&config).unwrap()
    }

    /// What came of asking a proxy that answers in these pieces, and what it was asked.
    async fn ask(proxy: &SiteProxy, pieces: &[&str]) -> (Result<(), String>, String) {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        for piece in pieces {
            far.write_all(piece.as_bytes()).await.unwrap();
        }
        far.shutdown().await.unwrap();
        let target = Authority::parse("a.test:443", None).unwrap();
        let outcome = proxy.ask(&mut near, &target).await;
        drop(near);
        let mut asked = String::new();
        far.read_to_string(&mut asked).await.unwrap();
        (outcome.map_err(|e| e.to_string()), asked)
    }

    #[tokio::test]
    async fn answers_to_connect() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(HEAD_BYTES));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(HEADERS + 1));
        let interim = "HTTP/1.1 100 Continue\r\n\r\n";
        let endless = interim.repeat(INTERIM + 1) + "HTTP/1.1 200 OK\r\n\r\n";
        let malformed = Err("not well-formed");
        let rows: &[(&str, &[&str], Result<(), &str>)] = &[
            (
                "plainly",
                &["HTTP/1.1 200 Connection established\r\n\r\n"],
                Ok(()),
            ),
            ("another success", &["HTTP/1.1 204 Fine\r\n\r\n"], Ok(())),
            (
                "in pieces",
                &["HTTP/1.0 2", "00 OK\r\nVia: x\r", "\n\r\n"],
                Ok(()),
            ),
            (
                "with a length, which means nothing here",
                &["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"],
                Ok(()),
            ),
            (
                "after an interim answer",
                &[interim, "HTTP/1.1 200 OK\r\n\r\n"],
                Ok(()),
            ),
            ("with interim answers for ever", &[&endless], malformed),
            (
                "refused",
                &["HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"],
                Err("answered 403"),
            ),
            (
                "not authenticated",
                &["HTTP/1.1 407 Who\r\n\r\n"],
                Err("answered 407: it wants other credentials"),
            ),
            (
                "moved",
                &["HTTP/1.1 302 There\r\nLocation: http://x\r\n\r\n"],
                Err("answered 302"),
            ),
            (
                "bytes behind the answer",
                &["HTTP/1.1 200 OK\r\n\r\nx"],
                malformed,
            ),
            ("not HTTP", &["SSH-2.0-OpenSSH\r\n"], malformed),
            ("a head without end", &[&long], malformed),
            ("too many headers", &[&many], malformed),
            ("nothing", &[], Err("closed the connection")),
            (
                "half an answer",
                &["HTTP/1.1 200 OK\r\n"],
                Err("closed the connection"),
            ),
        ];
        for (name, pieces, expected) in rows {
            let (outcome, asked) = ask(&proxy(None), pieces).await;
            match (outcome, expected) {
                (Ok(()), Ok(())) => {}
                (Err(words), Err(part)) => assert!(words.contains(part), "{name}: {words}"),
                (outcome, _) => panic!("{name}: {outcome:?}"),
            }
            assert_eq!(
                asked, "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
                "{name}"
            );
        }
    }

    #[tokio::test]
    async fn credentials_are_sent_and_never_shown() {
        let proxy = proxy(Some("me:hush"));
        let (outcome, asked) = ask(&proxy, &["HTTP/1.1 407 Who\r\n\r\n"]).await;
        assert!(
            asked.contains("\r\nProxy-Authorization: Basic bWU6aHVzaA==\r\n"),
            "{asked}"
        );
        let shown = format!("{proxy:?} {outcome:?}");
        assert!(
            !shown.contains("hush") && !shown.contains("bWU6"),
            "{shown}"
        );
    }

    #[test]
    fn no_two_destinations_share_a_pool() {
        let proxy = proxy(None);
        let of = |text: &str| proxy.pool_of(&Authority::parse(text, None).unwrap());
        let (a, b) = (of("a.test:443"), of("a.test:8443"));
        assert_ne!(a, b);
        assert_eq!(of("a.test:443"), a);
        for n in 0..POOLS {
            of(&format!("h{n}.test:443"));
        }
        assert!(of("a.test:443") > b, "forgotten, and numbered anew");
    }
}
