//! How many there can be, how much each keeps, and many at once.

use super::*;

#[test]
fn ids_of_the_plugin_are_bounded_and_pushed_out_by_their_own_user_alone() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let sessions = &identity.sessions;
    let [ada, bob] = ["ada", "bob"].map(|user| {
        let token = issue(&identity, user).token;
        sessions.verify(&token, NOW).unwrap()
    });
    let id = |n: u64| format!("chat-{n}").parse::<VendorId>().unwrap();
    sessions.bind(&bob, &"bobs".parse().unwrap(), NOW).unwrap();
    for n in 0..1100 {
        sessions.bind(&ada, &id(n), after(n)).unwrap();
    }
    assert!(sessions.bound(&id(0), NOW).is_err(), "the oldest is gone");
    assert!(sessions.bound(&id(1099), NOW).is_ok());
    assert!(sessions.bound(&"bobs".parse().unwrap(), NOW).is_ok());
    for (text, good) in [
        ("", false),
        ("a b", false),
        ("a\n", false),
        ("é", false),
        (&"x".repeat(129), false),
        (&"x".repeat(128), true),
        ("3f2a-{}/:", true),
    ] {
        assert_eq!(text.parse::<VendorId>().is_ok(), good, "{text:?}");
    }
}

#[test]
fn what_a_session_keeps_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let sessions = &identity.sessions;
    let id = issue(&identity, "ada").session.session_id;
    for n in 0..300 {
        assert!(sessions.note_checkpoint(id, &n.to_string()).is_some());
        assert!(
            sessions.note_checkpoint(id, &n.to_string()).is_none(),
            "again"
        );
    }
    let known = sessions.show(id).unwrap().checkpoints;
    assert_eq!(
        (known.len(), known[0].as_str(), known[255].as_str()),
        (256, "44", "299")
    );
    for bad in ["", "a b", &"x".repeat(129)] {
        assert!(sessions.note_checkpoint(id, bad).is_none(), "{bad:?}");
    }
    for (config, good) in [
        ("{}", true),
        ("{\"theme\": {\"dark\": true}}", true),
        ("[]", false),
        ("\"x\"", false),
        ("{", false),
        (&format!("{{\"x\":\"{}\"}}", "x".repeat(16 << 10)), false),
    ] {
        assert_eq!(sessions.set_config(id, config).is_ok(), good, "{config}");
    }
    assert_eq!(
        sessions.show(id).unwrap().config,
        "{\"theme\": {\"dark\": true}}"
    );
    drop(identity);
    assert_eq!(
        open(dir.path()).sessions.show(id).unwrap().config,
        "{\"theme\": {\"dark\": true}}"
    );
}

#[test]
fn the_number_of_sessions_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let tight = Settings {
        max_sessions: 3,
        ..settings(dir.path())
    };
    let identity = Identity::open(Disk::at(dir.path()), tight, NOW).unwrap();
    (0..3).for_each(|n| drop(issue(&identity, &format!("user{n}"))));
    let full = identity.sessions.issue(name("bob"), Role::User, None, NOW);
    let said = full.unwrap_err().to_string();
    assert!(said.contains("session.max_sessions"), "{said}");
    identity.tick(after(HOUR)).unwrap();
    issue(&identity, "bob");

    // A user's own hundred-and-first ends the one that was quiet longest.
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let tokens: Vec<_> = (0..100).map(|_| issue(&identity, "ada").token).collect();
    tokens
        .iter()
        .skip(1)
        .for_each(|t| drop(identity.sessions.verify(t, after(9)).unwrap()));
    issue(&identity, "ada");
    let refused = identity.sessions.verify(&tokens[0], after(9)).unwrap_err();
    assert_eq!(refused, Refused::Unknown);
    assert_eq!(identity.sessions.list().len(), 100);
}

#[test]
fn many_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let shared = issue(&identity, "shared").token;
    let issued: Vec<Issued> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|worker| {
                let (identity, shared) = (&identity, &shared);
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    for n in 0..8 {
                        let issued = issue(identity, &format!("user{worker}"));
                        let active = identity.sessions.verify(&issued.token, after(n)).unwrap();
                        let chat = format!("{worker}-{n}").parse().unwrap();
                        identity.sessions.bind(&active, &chat, after(n)).unwrap();
                        identity.sessions.verify(shared, after(n)).unwrap();
                        if n % 2 == 0 {
                            identity
                                .sessions
                                .revoke(issued.session.session_id, after(n))
                                .unwrap();
                        }
                        identity.tick(after(n)).unwrap();
                        mine.push(issued);
                    }
                    mine
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|w| w.join().unwrap())
            .collect()
    });
    assert_eq!(issued.len(), 64);
    let killed = as_killed(dir.path());
    for identity in [&identity, &open(killed.path())] {
        let good = issued
            .iter()
            .filter(|i| identity.sessions.verify(&i.token, after(9)).is_ok());
        assert_eq!(good.count(), 32);
        assert_eq!(identity.sessions.list().len(), 65);
        identity.sessions.verify(&shared, after(9)).unwrap();
    }
}

#[test]
fn checkpoints_are_their_users_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let checkpoints = &identity.checkpoints;
    let id = |n: u64| n.to_string().parse::<CheckpointId>().unwrap();
    let (ada, bob) = (name("ada"), name("bob"));
    let day = |n: u64| after(n * 24 * HOUR);
    checkpoints.saved(&id(1), &ada, NOW);
    assert_eq!(checkpoints.named(&id(1), &bob, NOW), None);
    assert!(!checkpoints.is_of(&id(1), &bob, NOW), "named is not had");
    assert!(checkpoints.is_of(&id(1), &ada, NOW));
    // The plugin began anew with an empty database.
    checkpoints.saved(&id(1), &bob, NOW);
    assert!(!checkpoints.is_of(&id(1), &ada, NOW));
    assert!(checkpoints.is_of(&id(1), &bob, NOW));
    assert!(!checkpoints.is_of(&id(2), &bob, NOW), "nobody's");

    // One user's many push out their own oldest ones and nobody else's.
    for n in 100..6000 {
        checkpoints.saved(&id(n), &ada, after(n));
    }
    assert!(checkpoints.is_of(&id(1), &bob, after(6000)));
    assert!(!checkpoints.is_of(&id(100), &ada, after(6000)));
    assert!(checkpoints.is_of(&id(5999), &ada, after(6000)));

    // What is used stays; what is not is forgotten, in memory and on disk.
    checkpoints.flush(day(80)).unwrap();
    assert!(checkpoints.is_of(&id(1), &bob, day(80)));
    checkpoints.flush(day(100)).unwrap();
    assert!(checkpoints.is_of(&id(1), &bob, day(100)));
    assert!(!checkpoints.is_of(&id(5999), &ada, day(100)));
    let killed = as_killed(dir.path());
    let kept = open(killed.path());
    assert!(kept.checkpoints.is_of(&id(1), &bob, day(100)));
    assert!(!kept.checkpoints.is_of(&id(5999), &ada, day(100)));
    kept.checkpoints.forget_user(&bob);
    assert!(!kept.checkpoints.is_of(&id(1), &bob, day(100)));
}

#[test]
fn whose_something_is_outlives_a_kill_once_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::at(dir.path());
    let identity = Identity::open(disk.clone(), settings(dir.path()), NOW).unwrap();
    let Issued { token, session } = issue(&identity, "ada");
    let ada = identity.sessions.verify(&token, NOW).unwrap();
    let chat: VendorId = "chat-1".parse().unwrap();
    let workflow: CheckpointId = "7".parse().unwrap();
    let deeds = &identity.deeds;
    let bind = || identity.sessions.bind(&ada, &chat, NOW).unwrap();
    let saved = || identity.checkpoints.saved(&workflow, &name("ada"), NOW);
    let known = |identity: &Identity| {
        let sessions = &identity.sessions;
        let record = sessions.show(session.session_id).unwrap();
        (
            sessions.owner_of(&chat).is_some(),
            identity.checkpoints.is_of(&workflow, &name("ada"), NOW),
            record.checkpoints.len(),
        )
    };

    let of_chat = bind().expect("nobody had it");
    assert_eq!(bind(), Some(of_chat), "the next request waits as well");
    let of_workflow = saved().unwrap();
    assert_eq!(saved(), Some(of_workflow));
    let of_session = identity.sessions.note_checkpoint(session.session_id, "7");
    let last = of_session.unwrap();
    assert!(of_chat < of_workflow && of_workflow < last && !deeds.is_kept(of_chat));
    let killed = as_killed(dir.path());
    assert_eq!(known(&open(killed.path())), (false, false, 0));

    disk.fill(true);
    assert!(identity.keep_deeds().is_err());
    assert!(!deeds.is_kept(of_chat), "nobody is told that it is kept");
    assert_eq!(bind(), Some(of_chat));
    // The clock's own write neither loses it nor counts as the one that is waited for.
    assert!(identity.tick(NOW).is_err());
    disk.fill(false);
    identity.keep_deeds().unwrap();
    assert!(deeds.is_kept(last));
    assert_eq!((bind(), saved()), (None, None), "known from here on");
    let killed = as_killed(dir.path());
    assert_eq!(known(&open(killed.path())), (true, true, 1));

    // Nothing more to write: the disk is not asked.
    disk.fill(true);
    identity.keep_deeds().unwrap();
}

#[test]
fn what_the_clock_has_written_is_kept_without_a_write_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::at(dir.path());
    let identity = Identity::open(disk.clone(), settings(dir.path()), NOW).unwrap();
    let ada = issue(&identity, "ada").token;
    let ada = identity.sessions.verify(&ada, NOW).unwrap();
    let chat = "chat-1".parse().unwrap();
    let deed = identity.sessions.bind(&ada, &chat, NOW).unwrap().unwrap();
    identity.tick(NOW).unwrap();
    disk.fill(true);
    identity.keep_deeds().unwrap();
    assert!(identity.deeds.is_kept(deed));
}

#[test]
fn a_checkpoint_that_could_not_be_written_is_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::at(dir.path());
    let identity = Identity::open(disk.clone(), settings(dir.path()), NOW).unwrap();
    let id: CheckpointId = "7".parse().unwrap();
    identity.checkpoints.saved(&id, &name("ada"), NOW);
    disk.fill(true);
    assert!(identity.checkpoints.flush(NOW).is_err());
    disk.fill(false);
    identity.checkpoints.flush(NOW).unwrap();
    let killed = as_killed(dir.path());
    let kept = open(killed.path());
    assert!(kept.checkpoints.is_of(&id, &name("ada"), NOW));
}
