//! The front door as a request meets it, over a store that counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::Method;
use pingora::http::RequestHeader;
use uuid::Uuid;

use super::{Doorkeeper, Handed, Unkept, door::Visit};
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
    session::{CheckpointId, Deed, Identity, Records, SecretSource, Settings, api_key::Wish},
    store::{Change, StoreError, Table},
    token::{Role, UnixTime, Via},
};

const NOW: UnixTime = UnixTime(1_800_000_000);
const LIFE: u64 = 3600;

/// A disk that keeps nothing and counts how often it was asked to.
#[derive(Default)]
struct Counting {
    writes: AtomicUsize,
    full: AtomicBool,
    /// Set by a test, so that a write takes as long as it likes.
    slow: AtomicBool,
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
        if changes.is_empty() {
            return Ok(());
        }
        self.writes.fetch_add(1, Ordering::SeqCst);
        while self.slow.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        match self.full.load(Ordering::SeqCst) {
            true => Err(StoreError::Failed {
                path: "test".into(),
                problem: "the disk is full".into(),
            }),
            false => Ok(()),
        }
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
        turn: Default::default(),
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
    let mut first = [0; 2];
    for n in 0..1000_usize {
        // A second each, so that each has something to touch, and half of a life goes by.
        let now = UnixTime(NOW.0 + 2 * n as u64);
        let cookie = format!("airlock_session={}", ada.token);
        let by_cookie = ask("cookie", cookie, n % 50, now);
        let by_bearer = ask("authorization", format!("Bearer {}", bob.token), 100, now);
        let by_key = ask("authorization", format!("Bearer {key}"), 200, now);
        assert!(by_key.principal.is_some_and(|p| p.via == Via::ApiKey));
        for (count, known) in first.iter_mut().zip([&by_cookie, &by_bearer]) {
            let deed = known
                .deed
                .filter(|deed| !keeper.identity.deeds.is_kept(*deed));
            *count += usize::from(deed.is_some());
        }
        renewed[0] |= matches!(by_cookie.handed, Some(Handed::Cookie(_)));
        renewed[1] |= matches!(by_bearer.handed, Some(Handed::Token(_)));
        let user = &by_cookie.principal.as_ref().unwrap().username;
        if checkpoints.saved(&checkpoint, user, now).is_some() || n < 50 {
            keeper.identity.keep_deeds().unwrap();
        }
        assert!(checkpoints.is_of(&checkpoint, user, now));
    }
    assert_eq!(renewed, [true, true], "both were extended on the way");
    assert_eq!(first, [50, 1], "each chat is new once");
    assert_eq!(
        disk.writes(),
        acknowledged + 50,
        "and the disk was asked for new chats alone"
    );
    let acknowledged = disk.writes();

    let last = UnixTime(NOW.0 + 1998);
    let seen = |id| keeper.identity.sessions.show(id).unwrap();
    assert_eq!(seen(ada.session.session_id).last_activity, last);
    assert_eq!(seen(bob.session.session_id).last_activity, last);
    keeper.identity.tick(last).unwrap();
    let ticked = disk.writes() - acknowledged;
    assert!((1..=3).contains(&ticked), "one write per table: {ticked}");
}

/// Somebody's chat, bound for the first time.
fn bound(keeper: &Doorkeeper, user: &str, chat: &str) -> Option<Deed> {
    let sessions = &keeper.identity.sessions;
    let issued = sessions.issue(user.parse().unwrap(), Role::User, None, NOW);
    let active = sessions.verify(&issued.unwrap().token, NOW).unwrap();
    sessions.bind(&active, &chat.parse().unwrap(), NOW).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_while_a_write_is_under_way_shares_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Counting::default());
    let keeper = Arc::new(keeper(disk.clone(), folder.path()));
    let chats: Vec<_> = (0..40).map(|n| format!("chat-{n}")).collect();
    let issued = {
        let sessions = &keeper.identity.sessions;
        sessions
            .issue("ada".parse().unwrap(), Role::User, None, NOW)
            .unwrap()
    };
    let ada = keeper.identity.sessions.verify(&issued.token, NOW).unwrap();
    let bind = |chat: &String| {
        let id = chat.parse().unwrap();
        keeper.identity.sessions.bind(&ada, &id, NOW).unwrap()
    };
    let before = disk.writes();
    disk.slow.store(true, Ordering::SeqCst);
    let first = bind(&chats[0]);
    let wait = |deed: Option<Deed>| {
        let keeper = keeper.clone();
        tokio::spawn(async move { keeper.keep(deed).await })
    };
    let mut waiting = vec![wait(first)];
    while disk.writes() == before {
        tokio::task::yield_now().await;
    }
    waiting.extend(chats[1..].iter().map(|chat| wait(bind(chat))));
    assert!(waiting.iter().all(|task| !task.is_finished()));
    disk.slow.store(false, Ordering::SeqCst);
    for task in waiting {
        assert_eq!(task.await.unwrap(), Ok(()));
    }
    assert_eq!(
        disk.writes() - before,
        2,
        "one for the first, one for all others"
    );
    assert!(chats.iter().all(|chat| bind(chat).is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_disk_nothing_is_given_to_anybody_but_one_person_alone_goes_on() {
    for users_required in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(Counting::default());
        let keeper = Doorkeeper {
            users_required,
            ..keeper(disk.clone(), folder.path())
        };
        let deed = bound(&keeper, "ada", "chat-1");
        let of_another = bound(&keeper, "bob", "chat-2");
        disk.full.store(true, Ordering::SeqCst);
        let want = match users_required {
            true => Err(Unkept),
            false => Ok(()),
        };
        assert_eq!(keeper.keep(deed).await, want);
        assert_eq!(keeper.keep_now(deed), want);
        disk.full.store(false, Ordering::SeqCst);
        assert_eq!(keeper.keep_now(deed), Ok(()));
        let writes = disk.writes();
        assert_eq!(keeper.keep(of_another).await, Ok(()));
        assert_eq!(disk.writes(), writes, "written with the other");
    }
}
