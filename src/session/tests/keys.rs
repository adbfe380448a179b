//! API keys: made, judged, limited, rotated.

use super::{api_key::Wish, *};

fn wish(key: &str) -> Wish {
    Wish {
        name: name(key),
        role: Role::User,
        expires: None,
        requests_per_minute: None,
        concurrent: None,
    }
}

#[test]
fn a_key_is_known_whole_and_stored_hashed() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let (shown, key) = identity.keys.add(wish("box"), NOW).unwrap();
    // The plugin logs the first twelve characters of what it has.
    assert!(key.starts_with(&format!("airlock_{}_", shown.id)) && shown.id.len() == 12);
    let secret = key.rsplit_once('_').map_or("", |(_, s)| s);
    for (what, offered) in [
        ("nothing", String::new()),
        ("the id alone", format!("airlock_{}", shown.id)),
        ("no secret", format!("airlock_{}_", shown.id)),
        ("cut short", key[..key.len() - 1].to_owned()),
        ("with one more", format!("{}x", *key)),
        ("another prefix", key.replace("airlock", "sk")),
        ("another id", key.replace(&shown.id, "000000000000")),
        ("in capitals", key.to_uppercase()),
        (
            "the secret of zeroes",
            format!("airlock_{}_{}", shown.id, "0".repeat(43)),
        ),
    ] {
        let refused = identity.keys.admit(&offered, NOW).unwrap_err();
        assert_eq!(refused, KeyRefused::Unknown, "{what}");
    }
    for at in key.len() - 43..key.len() {
        let mut other = key.as_bytes().to_vec();
        other[at] = if other[at] == b'x' { b'y' } else { b'x' };
        let refused = identity
            .keys
            .admit(std::str::from_utf8(&other).unwrap(), NOW);
        assert_eq!(refused.unwrap_err(), KeyRefused::Unknown, "letter {at}");
    }
    let grant = identity.keys.admit(&key, NOW).unwrap();
    assert_eq!((grant.name(), grant.role()), (&name("box"), Role::User));
    identity.tick(NOW).unwrap();
    drop((grant, identity));
    let stored = std::fs::read(dir.path().join("airlock.redb")).unwrap();
    assert!(
        !stored.windows(43).any(|w| w == secret.as_bytes()),
        "the secret is stored"
    );
    let identity = open(dir.path());
    assert_eq!(identity.keys.list()[0].last_used, Some(NOW));
    assert!(identity.keys.admit(&key, NOW).is_ok());
}

#[test]
fn a_key_is_rotated_removed_and_expires() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let keys = &identity.keys;
    let (_, first) = keys.add(wish("box"), NOW).unwrap();
    assert!(keys.add(wish("box"), NOW).is_err(), "a name is given once");
    let overlap = Duration::from_secs(60);
    let (_, second) = keys.rotate(&name("box"), overlap, NOW).unwrap();
    let good = |key: &str, at| keys.admit(key, after(at)).is_ok();
    assert!(good(&first, 59) && good(&second, 59));
    assert!(!good(&first, 60) && good(&second, 60));
    let (_, third) = keys.rotate(&name("box"), Duration::ZERO, NOW).unwrap();
    assert!(!good(&first, 0) && !good(&second, 0) && good(&third, 0));
    let killed = as_killed(dir.path());
    let restarted = open(killed.path());
    assert!(restarted.keys.admit(&second, NOW).is_err());
    assert!(restarted.keys.admit(&third, NOW).is_ok());
    keys.remove(&name("box")).unwrap();
    assert!(!good(&third, 0));
    assert!(keys.remove(&name("box")).is_err());
    let short = Wish {
        expires: Some(after(10)),
        ..wish("guest")
    };
    let (_, guest) = keys.add(short, NOW).unwrap();
    assert!(good(&guest, 9));
    assert_eq!(
        keys.admit(&guest, after(10)).unwrap_err(),
        KeyRefused::Expired
    );
    drop(identity);
    let names: Vec<_> = open(dir.path())
        .keys
        .list()
        .into_iter()
        .map(|k| k.name)
        .collect();
    assert_eq!(names, [name("guest")]);
}

#[test]
fn each_key_has_its_own_limits() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let keys = &identity.keys;
    let limited = Wish {
        requests_per_minute: Some(6),
        ..wish("slow")
    };
    let (_, slow) = keys.add(limited, NOW).unwrap();
    let narrow = Wish {
        concurrent: Some(2),
        ..wish("narrow")
    };
    let (_, narrow) = keys.add(narrow, NOW).unwrap();
    (0..6).for_each(|_| drop(keys.admit(&slow, NOW).unwrap()));
    let refused = keys.admit(&slow, NOW).unwrap_err();
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(10)));
    // Neither a rotation nor a tick fills the account.
    identity.tick(NOW).unwrap();
    let (_, slow) = keys.rotate(&name("slow"), Duration::ZERO, NOW).unwrap();
    assert!(keys.admit(&slow, after(9)).is_err());
    assert!(keys.admit(&slow, after(10)).is_ok());
    assert!(keys.admit(&slow, after(10)).is_err());
    assert_eq!(
        (0..20)
            .filter(|_| keys.admit(&slow, after(HOUR)).is_ok())
            .count(),
        6
    );

    let (one, two) = (
        keys.admit(&narrow, NOW).unwrap(),
        keys.admit(&narrow, NOW).unwrap(),
    );
    assert_eq!(keys.admit(&narrow, NOW).unwrap_err(), KeyRefused::Busy);
    identity.tick(NOW).unwrap();
    assert_eq!(keys.admit(&narrow, NOW).unwrap_err(), KeyRefused::Busy);
    drop(one);
    let three = keys.admit(&narrow, NOW).unwrap();
    drop((two, three));
    assert!(keys.admit(&narrow, NOW).is_ok());
}

#[test]
fn a_key_that_a_full_disk_keeps_is_worth_nothing_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::at(dir.path());
    let identity = Identity::open(disk.clone(), settings(dir.path()), NOW).unwrap();
    let (_, key) = identity.keys.add(wish("box"), NOW).unwrap();
    disk.fill(true);
    assert!(identity.keys.remove(&name("box")).is_err());
    assert!(
        identity
            .keys
            .rotate(&name("box"), Duration::ZERO, NOW)
            .is_err()
    );
    assert!(identity.keys.admit(&key, NOW).is_err());
    disk.fill(false);
    identity.tick(NOW).unwrap();
    let killed = as_killed(dir.path());
    assert_eq!(open(killed.path()).keys.list(), []);
}
