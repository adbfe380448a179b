//! The front door as a request meets it, over a store that counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::Method;
use pingora::http::RequestHeader;
use uuid::Uuid;

use super::{Doorkeeper, Handed, door::Visit};
use crate::{
    guard::Guards,
    net::{Authority, Entry, Port},
    page::OwnNames,
    proxy::{
        arrival::{Arrival, AtDoor, Connection},
        body::Framing,
        carries::Carries,
        live::Leash,
        services::DoorRoute,
    },
    session::{CheckpointId, Identity, Records, SecretSource, Settings, api_key::Wish},
    store::{Change, StoreError, Table},
    token::{Role, UnixTime, Via},
};

const NOW: UnixTime = UnixTime(1_800_000_000);
const LIFE: u64 = 3600;

/// A disk that keeps nothing and counts how often it was asked to.
#[derive(Default)]
struct Counting {
    writes: AtomicUsize,
}

impl Counting {
    fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }
}

impl Records for Counting {
    fn read(&self, _: Table) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        Ok(Vec::new())
    }

    fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        if !changes.is_empty() {
            self.writes.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

fn keeper(disk: Arc<Counting>, folder: &std::path::Path) -> Doorkeeper {
    let settings = Settings {
        state_dir: folder.to_owned(),
        secret: SecretSource::default(),
        lifetime: Duration::from_secs(LIFE),
        max_lifetime: Duration::from_secs(100 * LIFE),
        max_sessions: 100,
    };
    Doorkeeper {
        identity: Arc::new(Identity::open(disk, settings, NOW).unwrap()),
        users_required: true,
        asks: Vec::new(),
    }
}

fn authority(text: &str) -> Authority {
    Authority::parse(text, Some(Port::HTTP)).unwrap()
}

/// A request for ComfyUI by this name, as the edge hands it over.
fn arrival(target: &str) -> Arrival {
    Arrival {
        connection: Arc::new(Connection {
            entry: Entry::FrontDoor,
            client: "127.0.0.1:50000".parse().unwrap(),
            tls: false,
            bound_to: None,
            visitor: None,
            leash: Leash::default(),
            head_waits: Default::default(),
        }),
        id: Uuid::nil(),
        started: Instant::now(),
        authority: authority("127.0.0.1:8188"),
        target: target.into(),
        path_length: target.len(),
        upgrade: false,
        gate: None,
        rewritten: false,
        framing: Framing::Nothing,
        // Who asks may have any of them.
        carries: Carries::COOKIE | Carries::AUTHORIZATION | Carries::CHAT,
        route: None,
        proxy_key: None,
        door: Some(AtDoor {
            called: authority("127.0.0.1:8189"),
            for_comfyui: true,
        }),
    }
}

fn route() -> DoorRoute {
    DoorRoute {
        names: OwnNames::default(),
        comfyui: authority("127.0.0.1:8188"),
        tls: false,
        own: authority("airlock.invalid:80"),
        upload_bytes: None,
        guards: Guards::default(),
    }
}

#[test]
fn a_thousand_requests_touch_their_session_and_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Counting::default());
    let keeper = keeper(disk.clone(), folder.path());
    let issue = |user: &str| {
        let user = user.parse().unwrap();
        let sessions = &keeper.identity.sessions;
        sessions.issue(user, Role::User, None, NOW).unwrap()
    };
    let (ada, bob) = (issue("ada"), issue("bob"));
    let key = {
        let wish = Wish {
            name: "render-box".parse().unwrap(),
            role: Role::User,
            expires: None,
            requests_per_minute: None,
            concurrent: None,
        };
        let (_, key) = keeper.identity.keys.add(wish, NOW).unwrap();
        key.to_string()
    };
    let acknowledged = disk.writes();
    assert!(acknowledged >= 3, "what is issued is on disk");

    let (route, arrival) = (route(), arrival("/api/queue"));
    let at = arrival.door.as_ref().unwrap();
    let ask = |name: &'static str, value: String, chat: usize, now: UnixTime| {
        let mut request = RequestHeader::build(Method::GET, b"/api/queue", None).unwrap();
        request.append_header(name, value).unwrap();
        let chat = format!("chat-{chat}");
        request.append_header("x-session-id", chat).unwrap();
        let visit = Visit {
            keeper: &keeper,
            route: &route,
            at,
            arrival: &arrival,
            request: &request,
        };
        visit.judge(now).map_err(|why| why.reason.code()).unwrap()
    };
    let checkpoint: CheckpointId = "7".parse().unwrap();
    let checkpoints = &keeper.identity.checkpoints;
    let mut renewed = [false; 2];
    for n in 0..1000_usize {
        // A second each, so that each has something to touch, and half of a life goes by.
        let now = UnixTime(NOW.0 + 2 * n as u64);
        let cookie = format!("airlock_session={}", ada.token);
        let by_cookie = ask("cookie", cookie, n % 50, now);
        let by_bearer = ask("authorization", format!("Bearer {}", bob.token), 100, now);
        let by_key = ask("authorization", format!("Bearer {key}"), 200, now);
        assert!(by_key.principal.is_some_and(|p| p.via == Via::ApiKey));
        renewed[0] |= matches!(by_cookie.handed, Some(Handed::Cookie(_)));
        renewed[1] |= matches!(by_bearer.handed, Some(Handed::Token(_)));
        let user = &by_cookie.principal.as_ref().unwrap().username;
        checkpoints.saved(&checkpoint, user, now);
        assert!(checkpoints.is_of(&checkpoint, user, now));
    }
    assert_eq!(renewed, [true, true], "both were extended on the way");
    assert_eq!(disk.writes(), acknowledged, "and the disk was not asked");

    let last = UnixTime(NOW.0 + 1998);
    let seen = |id| keeper.identity.sessions.show(id).unwrap();
    assert_eq!(seen(ada.session.session_id).last_activity, last);
    assert_eq!(seen(bob.session.session_id).last_activity, last);
    keeper.identity.tick(last).unwrap();
    let ticked = disk.writes() - acknowledged;
    assert!((1..=3).contains(&ticked), "one write per table: {ticked}");
}
