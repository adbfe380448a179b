//! Users, passwords, throttled logins.

use std::net::IpAddr;

use super::{
    password::{self, Hasher, PasswordError},
    throttle::Patience,
    *,
};

const GOOD: &str = "tractor lantern velvet";

fn from(client: &str) -> IpAddr {
    client.parse().unwrap()
}

fn login(
    identity: &Identity,
    user: &str,
    password: &str,
    client: &str,
    now: UnixTime,
) -> Result<Issued, LoginRefused> {
    identity.login(user, password, from(client), now).unwrap()
}

#[test]
fn the_first_start_makes_an_admin_and_no_other_does() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let first = identity.first_admin(NOW).unwrap().unwrap();
    assert_eq!(first.username, name("admin"));
    assert_eq!(first.password.len(), 29, "24 letters in groups of four");
    assert!(identity.first_admin(NOW).unwrap().is_none());
    drop(identity);
    let identity = open(dir.path());
    assert!(identity.first_admin(NOW).unwrap().is_none());
    let issued = login(&identity, "admin", &first.password, "192.0.2.1", NOW).unwrap();
    assert_eq!(issued.session.role, Role::Admin);
    assert!(identity.sessions.verify(&issued.token, NOW).is_ok());
    drop(identity);
    let stored = std::fs::read(dir.path().join("airlock.redb")).unwrap();
    let holds = |text: &str| stored.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(holds("$argon2id$v=19$m=19456,t=2,p=1$"));
    assert!(!holds(&first.password), "the password is stored");
    assert!(!holds(&issued.token), "the token is stored");
}

#[test]
fn a_login_needs_the_name_and_the_password_of_one_user() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    identity
        .users
        .add(name("ada"), Role::User, GOOD, NOW)
        .unwrap();
    for (what, user, password) in [
        ("another password", "ada", "tractor lantern velvets"),
        ("no password", "ada", ""),
        ("an endless one", "ada", &GOOD.repeat(20)),
        ("another name", "bob", GOOD),
        ("no name", "", GOOD),
        ("a name that is none", "ada\n", GOOD),
        ("the name in capitals", "ADA", GOOD),
    ] {
        // From everywhere at once: only the rows count, not the throttle.
        let client = format!("192.0.2.{}", what.len());
        let refused = login(&identity, user, password, &client, NOW).unwrap_err();
        assert_eq!(refused, LoginRefused::Wrong, "{what}");
    }
    assert!(login(&identity, "ada", GOOD, "192.0.2.99", NOW).is_ok());
}

#[test]
fn a_new_password_and_a_removal_end_the_users_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let ada = name("ada");
    identity
        .users
        .add(ada.clone(), Role::User, GOOD, NOW)
        .unwrap();
    let session = login(&identity, "ada", GOOD, "192.0.2.1", NOW).unwrap();
    let (_, ended) = identity
        .set_password(&ada, "velvet lantern tractor", NOW)
        .unwrap();
    assert_eq!(ended, 1);
    let verify = |token: &str| identity.sessions.verify(token, NOW).map(drop);
    assert_eq!(verify(&session.token), Err(Refused::Revoked));
    assert_eq!(
        login(&identity, "ada", GOOD, "192.0.2.1", NOW),
        Err(LoginRefused::Wrong)
    );
    let session = login(&identity, "ada", "velvet lantern tractor", "192.0.2.1", NOW).unwrap();
    let active = identity.sessions.verify(&session.token, NOW).unwrap();
    let chat: VendorId = "chat".parse().unwrap();
    identity.sessions.bind(&active, &chat, NOW).unwrap();
    assert_eq!(identity.remove_user(&ada, NOW).unwrap().1, 1);
    assert_eq!(verify(&session.token), Err(Refused::Revoked));
    assert!(matches!(
        identity.remove_user(&ada, NOW),
        Err(identity::ChangeError::User(UserError::Unknown(_)))
    ));
    // Whoever is called so next gets none of the chats.
    assert_eq!(identity.sessions.bound(&chat, NOW), Err(Refused::Unknown));
    drop(identity);
    let identity = open(dir.path());
    assert!(identity.users.is_empty());
    assert_eq!(identity.sessions.bound(&chat, NOW), Err(Refused::Unknown));
}

#[test]
fn there_is_always_an_admin_and_a_name_is_given_once() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let add = |user: &str, role| identity.users.add(name(user), role, GOOD, NOW);
    add("ada", Role::Admin).unwrap();
    add("bob", Role::Viewer).unwrap();
    assert!(matches!(add("bob", Role::Admin), Err(UserError::Exists(_))));
    let remove = |user: &str| identity.remove_user(&name(user), NOW).map(drop);
    let said = remove("ada").unwrap_err().to_string();
    assert!(said.contains("last admin"), "{said}");
    add("eve", Role::Admin).unwrap();
    remove("ada").unwrap();
    remove("bob").unwrap();
    // Alone, she may leave as well: the next start that needs an admin makes one.
    remove("eve").unwrap();
    assert!(identity.first_admin(NOW).unwrap().is_some());
}

#[test]
fn passwords_that_are_none_are_refused() {
    for (text, user, want) in [
        (GOOD, "ada", Ok(())),
        ("å∫ç∂´ƒ©˙ˆ∆˚¬", "ada", Ok(())),
        ("elevenchars", "ada", Err(PasswordError::Short)),
        ("", "ada", Err(PasswordError::Short)),
        (&"long ".repeat(52), "ada", Err(PasswordError::Long)),
        ("aaaaaaaaaaaaaaaa", "ada", Err(PasswordError::Easy)),
        ("abababababababab", "ada", Err(PasswordError::Easy)),
        ("MyPassword2026!", "ada", Err(PasswordError::Easy)),
        ("lovelace-lovelace", "lovelace", Err(PasswordError::Easy)),
    ] {
        assert_eq!(password::acceptable(text, user), want, "{text}");
    }
    let hasher = Hasher::default();
    let (one, two) = (hasher.hash(GOOD).unwrap(), hasher.hash(GOOD).unwrap());
    assert_ne!(one, two, "each has a salt of its own");
    assert_eq!(hasher.verifies(GOOD, &one), Ok(true));
    for broken in [
        "",
        "$argon2id$",
        &one[..one.len() - 1],
        &one.replace("argon2id", "argon2"),
    ] {
        assert_eq!(hasher.verifies(GOOD, broken), Ok(false), "{broken}");
    }
}

#[test]
fn made_passwords_differ_and_hold_no_letter_that_looks_like_a_digit() {
    let made: std::collections::BTreeSet<String> = (0..200)
        .map(|_| random::password().unwrap().to_string())
        .collect();
    assert_eq!(made.len(), 200);
    for password in made {
        assert!(!password.contains(['0', '1', 'l', 'o']), "{password}");
        assert!(
            password::acceptable(&password, "admin").is_ok(),
            "{password}"
        );
    }
}

#[test]
fn guessing_is_slowed_down_by_client_and_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    identity
        .users
        .add(name("ada"), Role::User, GOOD, NOW)
        .unwrap();
    let client = "192.0.2.1";
    for n in 0..6 {
        let refused = login(&identity, "ada", "wrong", client, NOW).unwrap_err();
        assert_eq!(refused, LoginRefused::Wrong, "{n}");
    }
    let throttled = login(&identity, "ada", GOOD, client, NOW).unwrap_err();
    assert_eq!(throttled.retry_after(), Some(Duration::from_secs(2)));
    // The other side of the same IPv4 address, but not the neighbour.
    assert!(login(&identity, "ada", GOOD, "::ffff:192.0.2.1", NOW).is_err());
    assert!(login(&identity, "ada", GOOD, "192.0.2.2", NOW).is_ok());
    // Patience is rewarded; but one's own login does not clear the way for guessing others.
    assert!(login(&identity, "ada", GOOD, client, after(2)).is_ok());
    assert_eq!(
        login(&identity, "bob", "wrong", client, after(2)),
        Err(LoginRefused::Wrong)
    );
    let throttled = login(&identity, "bob", "wrong", client, after(2)).unwrap_err();
    assert_eq!(throttled.retry_after(), Some(Duration::from_secs(4)));
    // One user guessed from many places.
    let mut waits = 0;
    for n in 0..30 {
        let client = format!("2001:db8:{n}::1");
        let refused = login(&identity, "ada", "wrong", &client, after(9)).unwrap_err();
        waits += u32::from(refused.retry_after().is_some());
    }
    assert_eq!(waits, 9, "21 tries, then each waits");
    assert!(login(&identity, "ada", GOOD, "192.0.2.3", after(40)).is_ok());
}

#[test]
fn a_throttle_doubles_forgets_and_is_bounded() {
    let throttle = Throttle::new(Patience {
        free: 2,
        first: Duration::from_secs(10),
        longest: Duration::from_secs(60),
        max_entries: 3,
    });
    let mut now = NOW.0;
    for wait in [0, 0, 10, 20, 40, 60, 60] {
        assert_eq!(throttle.attempt(&"a", UnixTime(now)), Ok(()));
        if wait > 0 {
            let early = throttle.attempt(&"a", UnixTime(now + wait - 1));
            assert_eq!(early, Err(Wait(Duration::from_secs(1))), "{wait}");
        }
        now += wait;
    }
    // Quiet for twice the longest wait.
    now += 120;
    assert_eq!(throttle.attempt(&"a", UnixTime(now)), Ok(()));
    assert_eq!(throttle.attempt(&"a", UnixTime(now)), Ok(()));
    throttle.succeeded(&"a");
    (0..3).for_each(|_| assert_eq!(throttle.attempt(&"a", UnixTime(now)), Ok(())));
    assert!(throttle.attempt(&"a", UnixTime(now)).is_err());
    for other in ["b", "c", "d"] {
        assert_eq!(throttle.attempt(&other, UnixTime(now + 1)), Ok(()));
    }
    assert_eq!(
        throttle.attempt(&"a", UnixTime(now + 1)),
        Ok(()),
        "pushed out: it failed longest ago"
    );
}

#[test]
fn attempts_at_once_cannot_get_around_the_throttle() {
    let throttle = Throttle::new(Patience {
        free: 5,
        first: Duration::from_secs(60),
        longest: Duration::from_secs(60),
        max_entries: 10,
    });
    let taken: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    (0..10)
                        .filter(|_| throttle.attempt(&(), NOW).is_ok())
                        .count()
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().unwrap()).sum()
    });
    assert_eq!(taken, 6);
}
