//! Plays one case on a connection of its own and says how it ended. The one driver of `airlock
//! selftest`, of the running process's own rounds, and of the tests.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use super::{
    case::{Case, Opening, Script, Step, Verdict},
    lane::Lane,
    reply::{self, Reply},
};
use crate::{net::Entry, upstream::own};

/// More than any answer of ours to a case.
const MAX_ANSWER: usize = 1 << 20;

/// Addresses of the listeners under test; `None` is off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doors {
    pub explicit: Option<SocketAddr>,
    pub reverse: Option<SocketAddr>,
    pub transparent_tls: Option<SocketAddr>,
    pub transparent_http: Option<SocketAddr>,
    pub front_door: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
    /// Where nobody comes in without a login or a key.
    pub asking: Vec<Entry>,
}

impl Doors {
    pub fn of(&self, lane: Lane) -> Option<SocketAddr> {
        match lane {
            Lane::ExplicitPlain | Lane::ConnectTunnel | Lane::ConnectIntercepted => self.explicit,
            Lane::Reverse => self.reverse,
            Lane::TransparentTls => self.transparent_tls,
            Lane::TransparentHttp => self.transparent_http,
            Lane::FrontDoor => self.front_door,
            Lane::Admin => self.admin,
            Lane::InProcess => None,
        }
    }

    /// A stranger's cases would all be refused there for the want of a key, which says nothing about the
    /// rules behind it.
    pub fn asks(&self, lane: Lane) -> bool {
        let entry = match lane {
            Lane::ExplicitPlain | Lane::ConnectTunnel | Lane::ConnectIntercepted => Entry::Explicit,
            Lane::Reverse => Entry::Reverse,
            Lane::TransparentTls | Lane::TransparentHttp => Entry::Transparent,
            Lane::FrontDoor => Entry::FrontDoor,
            Lane::Admin | Lane::InProcess => return false,
        };
        self.asking.contains(&entry) && self.of(lane).is_some()
    }

    pub fn all(&self) -> Vec<SocketAddr> {
        let Self {
            explicit,
            reverse,
            transparent_tls,
            transparent_http,
            front_door,
            admin,
            asking: _,
        } = self;
        [
            explicit,
            reverse,
            transparent_tls,
            transparent_http,
            front_door,
            admin,
        ]
        .into_iter()
        .flatten()
        .copied()
        .collect()
    }
}

#[derive(Clone)]
pub struct Driver {
    pub doors: Doors,
    /// Trusts our root.
    pub tls: Arc<ClientConfig>,
    /// How long an answer may take: longer than any timeout that a case waits for.
    pub patience: Duration,
}

impl Driver {
    /// Whether this lane can be played at all.
    pub fn reaches(&self, lane: Lane) -> bool {
        let open = self.doors.of(lane).is_some() && !self.doors.asks(lane);
        lane == Lane::InProcess || open
    }

    pub async fn play(&self, case: &Case) -> Verdict {
        match &case.script {
            Script::Check(check) => match check() {
                Ok(()) => Verdict::Held,
                Err(words) => Verdict::Failed(words),
            },
            Script::Wire { opening, steps } => {
                let Some(door) = self.doors.of(case.lane) else {
                    return Verdict::Failed("this listener is off".into());
                };
                self.on_the_wire(case.lane, door, opening, steps)
                    .await
                    .unwrap_or_else(|verdict| verdict)
            }
        }
    }

    /// `Err` where the case's own bytes were not reached.
    async fn on_the_wire(
        &self,
        lane: Lane,
        door: SocketAddr,
        opening: &Opening,
        steps: &[Step],
    ) -> Result<Verdict, Verdict> {
        let stream = own::connect(door)
            .await
            .map_err(|e| Verdict::Failed(format!("{door} is not reached: {e}")))?;
        let mut talk = Talk {
            stream,
            buffer: Vec::new(),
            until: Instant::now() + self.patience,
        };
        match opening {
            Opening::Direct => talk.carry_out(lane, steps).await,
            Opening::Tunnel { authority } => {
                talk.connect(authority).await?;
                talk.carry_out(lane, steps).await
            }
            Opening::Inside { authority, name } => {
                if lane == Lane::ConnectIntercepted {
                    talk.connect(authority).await?;
                }
                let mut inside = self.shake_hands(talk, name).await?;
                inside.carry_out(lane, steps).await
            }
        }
    }

    async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        talk: Talk<S>,
        name: &str,
    ) -> Result<Talk<tokio_rustls::client::TlsStream<S>>, Verdict> {
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| Verdict::Failed(format!("{name} is no server name")))?;
        let handshake = TlsConnector::from(self.tls.clone()).connect(server, talk.stream);
        match timeout_at(talk.until, handshake).await {
            Ok(Ok(stream)) => Ok(Talk {
                stream,
                buffer: Vec::new(),
                until: talk.until,
            }),
            Ok(Err(e)) => Err(Verdict::Failed(format!("no handshake for {name}: {e}"))),
            Err(_) => Err(Verdict::Failed(format!("no handshake for {name} in time"))),
        }
    }
}

/// One connection.
struct Talk<S> {
    stream: S,
    /// Read, and not looked at yet.
    buffer: Vec<u8>,
    until: Instant,
}

enum Read {
    Some,
    End,
    Late,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    /// A CONNECT that has to be let through.
    async fn connect(&mut self, authority: &str) -> Result<(), Verdict> {
        let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        self.send(head.as_bytes()).await;
        match self.reply().await {
            Ok(Reply { status: 200, .. }) => Ok(()),
            Ok(reply) => Err(Verdict::Failed(format!(
                "CONNECT {authority} was answered with {}: {}",
                reply.status,
                reply.refusal.as_deref().unwrap_or("no reason")
            ))),
            Err(verdict) => Err(Verdict::Failed(format!("CONNECT {authority}: {verdict}"))),
        }
    }

    async fn carry_out(&mut self, lane: Lane, steps: &[Step]) -> Result<Verdict, Verdict> {
        for step in steps {
            match step {
                Step::Send(bytes) => self.send(bytes).await,
                Step::HalfClose => {
                    let _ = self.stream.shutdown().await;
                }
                Step::Answered(bytes) => {
                    self.send(bytes).await;
                    match self.reply().await {
                        Ok(reply) if reply.ours && reply.refusal.is_none() => {}
                        Ok(reply) => {
                            return Err(Verdict::Failed(format!(
                                "the first request was answered with {}: {}",
                                reply.status,
                                reply.refusal.as_deref().unwrap_or("unmarked")
                            )));
                        }
                        Err(verdict) => {
                            return Err(Verdict::Failed(format!("the first request: {verdict}")));
                        }
                    }
                }
                Step::Flight(bytes) => {
                    self.send(bytes).await;
                    self.record().await?;
                }
            }
        }
        Ok(self.verdict(lane).await)
    }

    /// A peer that has refused already may not take it all: what it says counts.
    async fn send(&mut self, bytes: &[u8]) {
        let writing = async {
            let _ = self.stream.write_all(bytes).await;
            let _ = self.stream.flush().await;
        };
        let _ = timeout_at(self.until, writing).await;
    }

    async fn read(&mut self) -> Read {
        if self.buffer.len() > MAX_ANSWER {
            return Read::End;
        }
        match timeout_at(self.until, self.stream.read_buf(&mut self.buffer)).await {
            Err(_) => Read::Late,
            // A reset, and a TLS stream that ends without a goodbye, end it as well.
            Ok(Ok(0) | Err(_)) => Read::End,
            Ok(Ok(_)) => Read::Some,
        }
    }

    /// Drops one TLS record.
    async fn record(&mut self) -> Result<(), Verdict> {
        loop {
            if let Some(header) = self.buffer.first_chunk::<5>() {
                let [_, _, _, high, low] = *header;
                let length = 5 + usize::from(u16::from_be_bytes([high, low]));
                if self.buffer.len() >= length {
                    self.buffer.drain(..length);
                    return Ok(());
                }
            }
            match self.read().await {
                Read::Some => {}
                Read::End => return Err(Verdict::Closed),
                Read::Late => return Err(Verdict::Silent),
            }
        }
    }

    /// One whole answer.
    async fn reply(&mut self) -> Result<Reply, Verdict> {
        let mut ended = false;
        loop {
            match reply::parse(&self.buffer, ended) {
                reply::Parsed::Whole(reply, length) => {
                    self.buffer.drain(..length.min(self.buffer.len()));
                    return Ok(reply);
                }
                reply::Parsed::None => {
                    return Err(Verdict::Answered {
                        status: 0,
                        ours: false,
                    });
                }
                reply::Parsed::Part if ended => return Err(Verdict::Closed),
                reply::Parsed::Part => {}
            }
            match self.read().await {
                Read::Some => {}
                Read::End => ended = true,
                Read::Late => return Err(Verdict::Silent),
            }
        }
    }

    async fn verdict(&mut self, lane: Lane) -> Verdict {
        loop {
            match self.buffer.first() {
                None => match self.read().await {
                    Read::Some => {}
                    Read::End => return Verdict::Closed,
                    Read::Late => return Verdict::Silent,
                },
                Some(0x14) => {
                    if let Err(verdict) = self.record().await {
                        return verdict;
                    }
                }
                Some(0x15) => return Verdict::Closed,
                Some(0x16 | 0x17) => return Verdict::Handshake,
                Some(_) => break,
            }
        }
        let first = match self.reply().await {
            Ok(reply) => reply,
            Err(verdict) => return verdict,
        };
        if lane == Lane::Admin {
            return Verdict::Status(first.status);
        }
        let Some(reason) = first.refusal else {
            return Verdict::Answered {
                status: first.status,
                ours: first.ours,
            };
        };
        // Nothing may follow a refusal but the end.
        loop {
            if !self.buffer.is_empty() {
                return match self.reply().await {
                    Ok(second) => Verdict::Answered {
                        status: second.status,
                        ours: second.ours,
                    },
                    Err(_) => Verdict::Answered {
                        status: 0,
                        ours: false,
                    },
                };
            }
            match self.read().await {
                Read::Some => {}
                Read::End => return Verdict::Refused(reason),
                Read::Late => return Verdict::Failed(format!("refused ({reason}), and left open")),
            }
        }
    }
}
