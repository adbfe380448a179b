//! The key dialog: who gets a key, and that it works.

use super::*;
use crate::{
    session::now,
    token::{Principal, Role, Username, Via},
};

fn principal(via: Via) -> Principal {
    Principal {
        session: None,
        username: "ann".parse::<Username>().expect("a name"),
        role: Role::User,
        via,
    }
}

#[tokio::test]
async fn the_dialog_ends_with_a_key_that_works() {
    for (row, who, client, holder, says) in [
        (
            "whoever sits at this machine",
            None,
            "127.0.0.1",
            Some(("local", Role::Admin)),
            "No mail was sent",
        ),
        (
            "the owner where nobody logs in",
            Some(Principal::owner()),
            "127.0.0.1",
            Some(("local", Role::Admin)),
            "No mail was sent",
        ),
        (
            "a user who is logged in",
            Some(principal(Via::Cookie)),
            "192.168.1.5",
            Some(("ann", Role::User)),
            "No mail was sent",
        ),
        (
            "a program that holds a key",
            Some(principal(Via::ApiKey)),
            "127.0.0.1",
            None,
            "hold an Airlock key already",
        ),
        (
            "a chat, which others may have named",
            Some(principal(Via::Chat)),
            "127.0.0.1",
            None,
            "people who are logged in",
        ),
        (
            "somebody on the network",
            None,
            "192.168.1.5",
            None,
            "people who are logged in",
        ),
    ] {
        let rig = rig().await;
        let body = r#"{"username":"someone","email":"someone@example.com"}"#;
        let mut request = request(HOST, "POST", "/api/user/create", &[PAGE], body);
        request.exchange.principal = who.map(Arc::new);
        request.exchange.client = client.parse().expect("an address");
        let exchange = request.exchange.clone();
        let answer = body_json(rig.responder.handle(request).await).await;
        // Falsy data: the page's other words are that a mail was sent.
        assert_eq!(answer["data"], Value::Null, "{row}");
        let words = answer["message"].as_str().expect(row);
        assert!(words.contains(says), "{row}: {words}");
        assert!(!words.contains("someone"), "{row}: {words}");
        let longest = words.split_whitespace().map(str::len).max();
        assert!(longest <= Some(40), "{row}: it runs out of the dialog");
        let token = words.split("\n\n").nth(1).map(|t| t.replace(' ', ""));
        let held = token.as_ref().map(|token| {
            let active = rig.identity.sessions.verify(token, now()).expect(row);
            assert!(active.is_whole(), "{row}");
            (active.username().to_string(), active.role())
        });
        let want = holder.map(|(name, role)| (name.to_owned(), role));
        assert_eq!(held, want, "{row}");
        let told = exchange.note.read().detail.unwrap_or_default();
        if let Some(token) = token {
            assert!(!told.contains(&token), "{row}");
        }
    }
}
