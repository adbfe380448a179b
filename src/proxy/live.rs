//! What is open now, so that a new policy or the kill switch can end it.
//!
//! Tunnels, forwarded requests and local answers that take their time stand in here with what was
//! judged; a local answer that is there at once never does, so the quickest path pays one atomic
//! load. There is at most one entry per downstream connection, which `limits.connections` bounds.
//!
//! The order that makes it tight: who changes something stores it, raises the [`Live::epoch`], then
//! sweeps. Who opens something reads the epoch, decides, enters, and reads the epoch again: either
//! the sweep sees the entry, or the opener sees that it has to judge again.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use hashbrown::HashMap;
use parking_lot::Mutex;
use pingora::proxy::Session;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::{
    arrival::{Arrival, Connection},
    looked::LookedInto,
    services::Services,
};
use crate::{
    handler::EgressMeter,
    net::Authority,
    policy::{
        Action, ConnectionAction, Decision, Flow, Lockdown, Reason, RequestFacts, RequestSize,
        Terms, guarded,
        secrets::{Search, SecretMode},
    },
    token::Principal,
};

/// Ends a connection from outside, with the reason.
#[derive(Debug, Default)]
pub struct Leash {
    pulled: CancellationToken,
    why: OnceLock<Reason>,
}

impl Leash {
    fn pull(&self, why: Reason) {
        // The first reason stands.
        let _ = self.why.set(why);
        self.pulled.cancel();
    }

    /// Set once the connection has to end.
    pub fn why(&self) -> Option<Reason> {
        self.why.get().copied()
    }

    pub fn pulled(&self) -> WaitForCancellationFuture<'_> {
        self.pulled.cancelled()
    }
}

/// What was judged, to be judged again.
#[derive(Clone, Debug)]
pub struct Subject {
    pub authority: Authority,
    /// Where it was dialled to.
    pub address: Option<SocketAddr>,
    /// Of the rule that allowed it.
    pub terms: Option<Arc<Terms>>,
    /// Whose session or key it stands on.
    pub who: Option<Arc<Principal>>,
    /// How it was looked into for secrets. `None`: not at all.
    pub looked: Option<Arc<LookedInto>>,
    /// The CAs that its server's certificate was judged by, as [`PrivateCas::generation`] counts.
    ///
    /// [`PrivateCas::generation`]: crate::upstream::private_ca::PrivateCas::generation
    pub trusted: Option<u64>,
    pub doing: Doing,
}

#[derive(Clone, Debug)]
pub enum Doing {
    Tunnel {
        /// Its ClientHello had the extension that may hide a second name.
        ech: bool,
    },
    Forward(Asked),
    /// Sent on to the ComfyUI behind the front door, by Pingora or by the door itself.
    ComfyUi(Asked),
    /// With what the answer has sent off this machine so far.
    Respond(Asked, EgressMeter),
}

#[derive(Clone, Debug)]
pub struct Asked {
    pub method: http::Method,
    /// Path and query, and how much of it is the path.
    target: Arc<str>,
    path_length: usize,
    pub upgrade: bool,
    pub size: RequestSize,
}

impl Asked {
    /// A request of our own.
    pub fn of_our_own(method: http::Method, target: &str, size: RequestSize) -> Self {
        Self {
            method,
            path_length: target.find('?').unwrap_or(target.len()),
            target: target.into(),
            upgrade: false,
            size,
        }
    }
}

impl Doing {
    /// A request that is sent on, to ComfyUI or elsewhere.
    pub fn sending_on(asked: Asked, arrival: &Arrival) -> Self {
        match arrival.for_comfyui() {
            Some(_) => Doing::ComfyUi(asked),
            None => Doing::Forward(asked),
        }
    }
}

impl Asked {
    pub fn of(session: &Session, arrival: &Arrival, size: RequestSize) -> Self {
        Self {
            method: session.req_header().method.clone(),
            target: arrival.target.clone(),
            path_length: arrival.path_length,
            upgrade: arrival.upgrade,
            size,
        }
    }

    pub fn path(&self) -> &str {
        self.target.get(..self.path_length).unwrap_or(&self.target)
    }
}

const SHARDS: usize = 16;

/// Boxed: a table has room for nearly twice what is in it.
type Shard = HashMap<u64, Box<(Arc<Connection>, Subject)>>;

/// Everything that is open and can be cut.
#[derive(Default)]
pub struct Live {
    shards: [Mutex<Shard>; SHARDS],
    next: AtomicU64,
    epoch: AtomicU64,
    /// For [`super::expiry`], which looks at the new policy.
    changed: Notify,
}

/// An entry; gone when it is dropped.
pub struct Standing {
    live: Arc<Live>,
    key: u64,
}

impl Standing {
    /// What stands here, out of the lock.
    fn subject(&self) -> Option<Subject> {
        let shard = self.live.shard(self.key).lock();
        shard.get(&self.key).map(|entry| entry.1.clone())
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.live.shard(self.key).lock().remove(&self.key);
    }
}

impl Live {
    /// Changes with every change of what is allowed.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|s| s.lock().len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, key: u64) -> &Mutex<Shard> {
        &self.shards[key as usize % SHARDS]
    }

    /// Resolves after the next change of what is allowed, or at once if one went unseen.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn enter(self: &Arc<Self>, connection: &Arc<Connection>, subject: Subject) -> Standing {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = Box::new((connection.clone(), subject));
        self.shard(key).lock().insert(key, entry);
        Standing {
            live: self.clone(),
            key,
        }
    }

    /// Cuts what `judge` refuses; returns how many. The lock is held while a shard is judged, so
    /// that an entry that has ended is never cut with the connection's next request.
    fn cut(&self, judge: impl Fn(&Connection, &Subject) -> Result<(), Reason>) -> usize {
        let mut cut = 0;
        for shard in &self.shards {
            for entry in shard.lock().values() {
                let (connection, subject) = &**entry;
                if let Err(why) = judge(connection, subject) {
                    connection.leash.pull(why);
                    cut += 1;
                }
            }
        }
        cut
    }
}

impl Services {
    /// Makes something open stand in the registry. `epoch` is from before it was decided; the error
    /// is what has come in between and refuses it.
    pub fn stand(
        &self,
        connection: &Arc<Connection>,
        epoch: u64,
        subject: Subject,
    ) -> Result<Standing, Reason> {
        let standing = self.live.enter(connection, subject);
        if self.live.epoch() != epoch
            && let Some(subject) = standing.subject()
        {
            self.still_allowed(connection, &subject)?;
        }
        Ok(standing)
    }

    /// Judges everything open again, after what is allowed was changed. Returns how many were cut.
    pub fn sweep(&self) -> usize {
        self.live.epoch.fetch_add(1, Ordering::SeqCst);
        let cut = self
            .live
            .cut(|connection, subject| self.still_allowed(connection, subject));
        self.live.changed.notify_one();
        cut
    }

    fn still_allowed(&self, connection: &Connection, subject: &Subject) -> Result<(), Reason> {
        let Subject {
            authority,
            address,
            terms,
            who,
            looked,
            trusted,
            doing,
        } = subject;
        let lockdown = self.dialer.gate().level();
        let locked = match doing {
            Doing::Tunnel { ech: _ } => lockdown.forbids_connection(ConnectionAction::Tunnel),
            Doing::Forward(_) => lockdown.forbids_request(Action::Forward),
            Doing::ComfyUi(_) => lockdown == Lockdown::All,
            Doing::Respond(_, egress) => match lockdown {
                Lockdown::Off => false,
                Lockdown::Egress => egress.bytes() > 0,
                Lockdown::All => true,
            },
        };
        if locked {
            return Err(Reason::LockedDown);
        }
        if let Some(why) = who.as_ref().and_then(|who| self.doorkeeper.ended(who)) {
            return Err(why);
        }
        if let Some(address) = address {
            self.dialer.still_open(authority, *address)?;
        }
        let narrowed = |since| self.private_cas.load().narrowed_since(authority, since);
        if trusted.is_some_and(narrowed) {
            return Err(Reason::PolicyChanged);
        }
        let (policy, now) = (self.policy.load(), OffsetDateTime::now_utc());
        let request = |asked: &Asked| {
            let facts = RequestFacts {
                entry: connection.entry,
                client: connection.client.ip(),
                authority,
                method: asked.method.as_str(),
                path: asked.path(),
                upgrade: asked.upgrade,
                size: asked.size,
            };
            guarded(Action::Deny, || policy.decide_request(&facts, now))
        };
        // A budget is drawn from by the terms of old: other ones want another tunnel or request.
        let budget = |terms: &Option<Arc<Terms>>| terms.as_ref().and_then(|t| t.budget);
        let search = |now: &Decision<Action>| Search::under(policy.secrets(), now.terms.as_deref());
        let theirs = |terms: &Option<Arc<Terms>>| {
            let terms = terms.as_deref();
            terms.is_none_or(|terms| terms.are_for(who.as_deref()))
        };
        let (allowed, reason) = match doing {
            Doing::Tunnel { ech } => {
                let flow = Flow {
                    entry: connection.entry,
                    client: connection.client.ip(),
                    authority,
                };
                let deny = ConnectionAction::Deny;
                let now = guarded(deny, || policy.decide_connection(&flow, now));
                let same = budget(&now.terms) == budget(terms) && theirs(&now.terms);
                let seen = !(*ech && self.ech.load().refuses_all());
                (
                    now.action == ConnectionAction::Tunnel && same && seen,
                    now.reason,
                )
            }
            // An answer of ours in its place means: it is not to be sent on.
            Doing::Forward(asked) | Doing::ComfyUi(asked) => {
                let now = request(asked);
                let same = budget(&now.terms) == budget(terms) && theirs(&now.terms);
                let search = search(&now);
                let clean = match looked {
                    Some(looked) => looked.passes(&search, &authority.host, &asked.target),
                    None => search.mode == SecretMode::Off,
                };
                let forward = now.action == Action::Forward;
                (forward && same && clean, now.reason)
            }
            Doing::Respond(asked, _) => {
                let now = request(asked);
                let same = theirs(&now.terms);
                (now.action != Action::Deny && same, now.reason)
            }
        };
        if allowed {
            return Ok(());
        }
        let expired =
            reason == Reason::AllowExpired || terms.as_ref().is_some_and(|t| t.ended(now));
        Err(match expired {
            true => Reason::AllowExpired,
            false => Reason::PolicyChanged,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::net::Entry;

    fn connection() -> Arc<Connection> {
        Arc::new(Connection {
            entry: Entry::Explicit,
            client: "127.0.0.1:1".parse().unwrap(),
            tls: false,
            bound_to: None,
            visitor: None,
            leash: Leash::default(),
            head_waits: Default::default(),
        })
    }

    fn tunnel(host: &str) -> Subject {
        Subject {
            authority: Authority::parse(host, None).unwrap(),
            address: None,
            terms: None,
            who: None,
            looked: None,
            trusted: None,
            doing: Doing::Tunnel { ech: false },
        }
    }

    #[test]
    fn what_is_refused_is_cut_with_its_reason_and_what_ended_is_not() {
        let live = Arc::new(Live::default());
        let (kept, cut, ended) = (connection(), connection(), connection());
        let _kept = live.enter(&kept, tunnel("kept.test:443"));
        let _cut = live.enter(&cut, tunnel("cut.test:443"));
        drop(live.enter(&ended, tunnel("cut.test:443")));
        assert_eq!(live.len(), 2);
        let n = live.cut(
            |_, subject| match subject.authority.host.to_string().as_str() {
                "cut.test" => Err(Reason::PolicyChanged),
                _ => Ok(()),
            },
        );
        assert_eq!(n, 1);
        let whys = [&kept, &cut, &ended].map(|c| c.leash.why());
        assert_eq!(whys, [None, Some(Reason::PolicyChanged), None]);
        cut.leash.pull(Reason::LockedDown);
        assert_eq!(
            cut.leash.why(),
            Some(Reason::PolicyChanged),
            "the first reason stands"
        );
    }

    /// `cargo test --release -- --ignored --nocapture entering`
    #[test]
    #[ignore = "a measurement"]
    fn entering_and_leaving_takes_this_long() {
        let live = Arc::new(Live::default());
        let connection = connection();
        let began = Instant::now();
        const N: u32 = 1_000_000;
        for _ in 0..N {
            drop(live.enter(&connection, tunnel_of(&connection)));
        }
        println!("{:?} each", began.elapsed() / N);
    }

    fn tunnel_of(_: &Connection) -> Subject {
        static HOST: std::sync::LazyLock<Authority> =
            std::sync::LazyLock::new(|| Authority::parse("a.test:443", None).unwrap());
        Subject {
            authority: HOST.clone(),
            address: None,
            terms: None,
            who: None,
            looked: None,
            trusted: None,
            doing: Doing::Tunnel { ech: false },
        }
    }
}
