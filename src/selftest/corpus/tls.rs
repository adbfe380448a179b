//! Groups 29 to 35: what stands in a ClientHello.

use super::{Corpus, Expected, Lane, Opening, Step};
use crate::{
    policy::Reason,
    selftest::hello::{Hello, records},
};

const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

pub fn add(corpus: &mut Corpus<'_>) {
    names(corpus);
    fragments(corpus);
    resumption(corpus);
    alpn(corpus);
    redirected(corpus);
}

fn invalid() -> Expected {
    Expected::Refused(vec![Reason::ClientHelloInvalid])
}

fn names(corpus: &mut Corpus<'_>) {
    corpus.group(29);
    let stranger = corpus.ground.stranger.clone();
    let Some(name) = corpus.ground.answered.as_ref().map(|p| p.host.clone()) else {
        return;
    };
    let mismatch = Expected::Refused(vec![Reason::SniMismatch]);
    for (sentence, other) in [
        ("another name", stranger.clone()),
        ("a name below the target", format!("a.{name}")),
        ("the target below another name", format!("{name}.{stranger}")),
        ("a name that ends as the target does", format!("evil{name}")),
        ("the target without its last letter", name[..name.len() - 1].to_owned()),
    ] {
        let closed = corpus.by_rule(Reason::NoRuleMatched);
        let hello = Hello::named(&other).bytes();
        corpus.hello(sentence, &[hello], &mismatch, &closed);
    }
    let missing = Expected::Refused(vec![Reason::SniMissing]);
    corpus.hello("no server name", &[Hello::nameless().bytes()], &missing, &missing);
    for (sentence, hello) in [
        ("the extension twice, the second another name", Hello::named(&name).names(&[(0, stranger.as_bytes())])),
        ("the extension twice, the first another name", Hello::named(&stranger).names(&[(0, name.as_bytes())])),
        ("the extension twice with one name", Hello::named(&name).names(&[(0, name.as_bytes())])),
        ("two names in one list", Hello::nameless().names(&[(0, name.as_bytes()), (0, stranger.as_bytes())])),
        ("one name twice in a list", Hello::nameless().names(&[(0, name.as_bytes()), (0, name.as_bytes())])),
        ("a name of an unknown type", Hello::nameless().names(&[(1, name.as_bytes())])),
        ("a name and one of an unknown type", Hello::nameless().names(&[(0, name.as_bytes()), (1, stranger.as_bytes())])),
        ("one of an unknown type and a name", Hello::nameless().names(&[(255, stranger.as_bytes()), (0, name.as_bytes())])),
        ("an empty name", Hello::named("")),
        ("an empty list", Hello::nameless().names(&[])),
        ("an empty extension", Hello::nameless().extension(0, [])),
        ("a list whose length is wrong", Hello::nameless().extension(0, [0, 9, 0, 0, 1, b'a'])),
        ("bytes behind the list", Hello::nameless().extension(0, [0, 4, 0, 0, 1, b'a', 0])),
        ("an IPv4 address", Hello::named("192.0.2.1")),
        ("loopback", Hello::named("127.0.0.1")),
        ("an IPv6 address", Hello::named("::1")),
        ("an IPv6 address in brackets", Hello::named("[2001:db8::1]")),
        ("a NUL in the name", Hello::named(format!("{name}\0.{stranger}"))),
        ("a wildcard", Hello::named("*.test")),
        ("a space behind the name", Hello::named(format!("{name} "))),
        ("a name in UTF-8", Hello::named("b\u{fc}cher.test")),
        ("an A-label that is none", Hello::named("xn--zzzzzzzzzzzz99999.test")),
        ("a name of 300 bytes", Hello::named("a.".repeat(150) + "test")),
        ("an email address", Hello::named(format!("x@{name}"))),
        ("two trailing dots", Hello::named(format!("{name}.."))),
    ] {
        corpus.hello(sentence, &[hello.bytes()], &invalid(), &invalid());
    }
}

fn fragments(corpus: &mut Corpus<'_>) {
    let Some(name) = corpus.ground.answered.as_ref().map(|p| p.host.clone()) else {
        return;
    };
    corpus.group(30);
    let outer = |id: u8, payload: usize| {
        // outer, KDF and AEAD, config id, an encapsulated key, a payload: RFC 9849 section 5.
        let mut data = vec![0, 0, 1, 0, 1, id, 0, 32];
        data.extend([7; 32]);
        data.extend(u16::try_from(payload).unwrap_or(0).to_be_bytes());
        data.extend(vec![0xaa; payload]);
        data
    };
    let stranger = corpus.ground.stranger.clone();
    let mismatch = Expected::Refused(vec![Reason::SniMismatch]);
    let closed = corpus.by_rule(Reason::NoRuleMatched);
    let hello = Hello::named(&stranger).extension(ENCRYPTED_CLIENT_HELLO, outer(9, 144));
    corpus.hello("an encrypted hello under another outer name", &[hello.bytes()], &mismatch, &closed);
    let nameless = Expected::Refused(vec![Reason::SniMissing]);
    let hello = Hello::nameless().extension(ENCRYPTED_CLIENT_HELLO, outer(9, 144));
    corpus.hello("an encrypted hello without an outer name", &[hello.bytes()], &nameless, &nameless);
    let twice = Hello::named(&name)
        .extension(ENCRYPTED_CLIENT_HELLO, outer(9, 144))
        .extension(ENCRYPTED_CLIENT_HELLO, outer(8, 144));
    corpus.hello("two encrypted hellos", &[twice.bytes()], &invalid(), &invalid());
    // Interception ends what it says to somebody else: the outer name is all that is served.
    let handshake = Expected::Handshake;
    let hello = Hello::named(&name).extension(ENCRYPTED_CLIENT_HELLO, outer(9, 144));
    corpus.hello("GREASE beside the name of an intercepted host", &[hello.bytes()], &handshake, &handshake);

    corpus.group(31);
    let hello = Hello::named(&name);
    let handshake = Expected::Handshake;
    for (sentence, pieces) in [
        ("in one record", vec![hello.bytes()]),
        ("in records of 100 bytes", vec![hello.records(100)]),
        ("in records of 7 bytes", vec![hello.records(7)]),
        ("byte by byte", hello.bytes().chunks(1).map(<[u8]>::to_vec).collect()),
        ("in segments of 5 bytes", hello.bytes().chunks(5).map(<[u8]>::to_vec).collect()),
        ("in records of 3 bytes, in segments of 2", hello.records(3).chunks(2).map(<[u8]>::to_vec).collect()),
        ("with 8 KiB of padding", vec![Hello::named(&name).extension(21, vec![0; 8 << 10]).bytes()]),
    ] {
        corpus.hello(&format!("an honest hello {sentence}"), &pieces, &handshake, &handshake);
    }
    let closed = corpus.by_rule(Reason::NoRuleMatched);
    for (sentence, size) in [("in records of one byte", 1), ("in records of 20 bytes", 20), ("in two records", 150)] {
        let pieces = [Hello::named(&stranger).records(size)];
        corpus.hello(&format!("another name {sentence}"), &pieces, &mismatch, &closed);
    }
    let split = Hello::named(&stranger).bytes().chunks(1).map(<[u8]>::to_vec).collect::<Vec<_>>();
    corpus.hello("another name byte by byte", &split, &mismatch, &closed);
    for (sentence, pieces) in [
        ("40 KiB of padding", vec![Hello::named(&name).extension(21, vec![0; 40 << 10]).bytes()]),
        ("60 KiB of padding in small records", vec![Hello::named(&name).extension(21, vec![0; 60 << 10]).records(512)]),
        ("a length of 16 MiB", vec![vec![0x16, 3, 1, 0, 5, 1, 0xff, 0xff, 0xff, 3]]),
        ("an empty record first", vec![[vec![0x16, 3, 1, 0, 0], hello.bytes()].concat()]),
        ("an alert inside", vec![[hello.records(100)[..105].to_vec(), vec![0x15, 3, 3, 0, 2, 1, 0]].concat()]),
        ("data inside", vec![[hello.records(100)[..105].to_vec(), vec![0x17, 3, 3, 0, 1, 0]].concat()]),
        ("a record over the limit", vec![vec![0x16, 3, 1, 0x40, 1, 1, 0, 0x3f, 0xfd, 3, 3]]),
        ("a second message in the record", vec![records(&[hello.message(), vec![1, 0, 0, 1, 0]].concat(), 1 << 14)]),
        ("a hello whose lengths are wrong", vec![damaged(&hello)]),
    ] {
        corpus.hello(sentence, &pieces, &invalid(), &invalid());
    }
    let late = Expected::Refused(vec![Reason::ClientHelloTimeout]);
    for (sentence, pieces) in [
        ("half a hello and silence", vec![hello.bytes()[..40].to_vec()]),
        ("a record's head and silence", vec![vec![0x16, 3, 1]]),
        ("all but the last byte", vec![hello.bytes()[..hello.bytes().len() - 1].to_vec()]),
        ("a first record and silence", vec![hello.records(100)[..105].to_vec()]),
    ] {
        corpus.hello(sentence, &pieces, &late, &late);
    }
    corpus.hello("silence", &[], &late, &late);
}

/// The server name's length points behind the message.
fn damaged(hello: &Hello) -> Vec<u8> {
    let mut message = hello.message();
    let at = message.len().saturating_sub(60);
    if let Some(tail) = message.get_mut(at..) {
        tail.fill(0xff);
    }
    records(&message, 1 << 14)
}

fn resumption(corpus: &mut Corpus<'_>) {
    corpus.group(32);
    let stranger = corpus.ground.stranger.clone();
    let Some(name) = corpus.ground.answered.as_ref().map(|p| p.host.clone()) else {
        return;
    };
    // A ticket, its age and a binder, behind the modes that it wants.
    let identity = [vec![0, 32], vec![0x77; 32], vec![0, 0, 0, 1]].concat();
    let binder = [vec![32], vec![0x55; 32]].concat();
    let offered = [
        u16::try_from(identity.len()).unwrap_or(0).to_be_bytes().to_vec(),
        identity,
        u16::try_from(binder.len()).unwrap_or(0).to_be_bytes().to_vec(),
        binder,
    ]
    .concat();
    let with_ticket = |name: &str| {
        Hello::named(name)
            .extension(45, [1, 1])
            .extension(41, offered.clone())
            .bytes()
    };
    let mismatch = Expected::Refused(vec![Reason::SniMismatch]);
    let closed = corpus.by_rule(Reason::NoRuleMatched);
    corpus.hello("a ticket under another name", &[with_ticket(&stranger)], &mismatch, &closed);
    let handshake = Expected::Handshake;
    corpus.hello("a ticket that nobody issued is no ticket", &[with_ticket(&name)], &handshake, &handshake);
    let early = Hello::named(&stranger).extension(42, []).bytes();
    corpus.hello("early data under another name", &[early], &mismatch, &closed);
    let session = Hello::named(&stranger).versions(&[0x0303]).extension(35, [9; 64]).bytes();
    corpus.hello("a session ticket of TLS 1.2 under another name", &[session], &mismatch, &closed);

    // After a HelloRetryRequest the second hello may not change its mind about the name.
    let broken = Expected::BrokenOff(vec![Reason::TlsHandshakeFailed]);
    let second = Hello::named(&stranger).bytes();
    for (lane, opening) in [
        (Lane::ConnectTunnel, Opening::Tunnel { authority: format!("{name}:443") }),
        (Lane::TransparentTls, Opening::Direct),
    ] {
        let first = Hello::named(&name).without_key_share().bytes();
        let steps = vec![Step::Flight(first), Step::Send(second.clone())];
        corpus.push(lane, "another name after a retry was asked for", opening, steps, broken.clone());
    }
}

fn alpn(corpus: &mut Corpus<'_>) {
    corpus.group(33);
    let Some(name) = corpus.ground.answered.as_ref().map(|p| p.host.clone()) else {
        return;
    };
    let handshake = Expected::Handshake;
    for (sentence, protocols) in [
        ("h2 and http/1.1", &[b"h2".as_slice(), b"http/1.1"][..]),
        ("http/1.1 alone", &[b"http/1.1"]),
        ("GREASE and http/1.1", &[b"\x0a\x0a", b"http/1.1"]),
    ] {
        let hello = Hello::named(&name).alpn(protocols).bytes();
        corpus.hello(&format!("{sentence}, of which we speak one"), &[hello], &handshake, &handshake);
    }
    let broken = Expected::BrokenOff(vec![Reason::TlsHandshakeFailed]);
    for (sentence, protocols) in [
        ("h2 alone", &[b"h2".as_slice()][..]),
        ("HTTP/3", &[b"h3"]),
        ("a mail protocol", &[b"imap"]),
        ("DNS over TLS", &[b"dot"]),
        ("ACME", &[b"acme-tls/1"]),
        ("HTTP/1.1 in capitals", &[b"HTTP/1.1"]),
        ("h2 over TCP", &[b"h2c"]),
        ("a name with a NUL", &[b"http/1.1\0"]),
    ] {
        let hello = Hello::named(&name).alpn(protocols).bytes();
        // What a relay's upstream speaks is between it and the client: only ours is tried.
        corpus.hello(sentence, &[hello], &broken, &broken);
    }
    for (sentence, data) in [
        ("an empty list of protocols", &[0_u8, 0][..]),
        ("an empty protocol", &[0, 1, 0]),
        ("a list whose length is wrong", &[0, 9, 2, b'h', b'2']),
    ] {
        let hello = Hello::named(&name).extension(16, data).bytes();
        corpus.hello(sentence, &[hello], &invalid(), &invalid());
    }
    for (sentence, versions) in [("TLS 1.1 alone", &[0x0302_u16][..]), ("SSL 3", &[0x0300]), ("a version of no TLS", &[0x0a0a])] {
        let hello = Hello::named(&name).versions(versions).bytes();
        corpus.hello(sentence, &[hello], &broken, &broken);
    }
    let lanes = [Lane::ConnectIntercepted, Lane::TransparentTls];
    let refused = Expected::Refused(vec![Reason::MalformedRequest]);
    corpus.heads("the preface of HTTP/2 after http/1.1 was agreed", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &lanes, refused);
}

fn redirected(corpus: &mut Corpus<'_>) {
    corpus.group(35);
    // The connection was redirected from loopback, from a private and from a public address alike:
    // only the name counts. An address in it is no name.
    for (sentence, hello, expected) in [
        ("a redirected connection without a name", Hello::nameless(), Expected::Refused(vec![Reason::SniMissing])),
        ("a redirected connection to an address", Hello::named("8.8.8.8"), invalid()),
        ("a redirected connection to a private address", Hello::named("10.0.0.1"), invalid()),
        ("a redirected connection to a metadata service", Hello::named("169.254.169.254"), invalid()),
    ] {
        let steps = vec![Step::Send(hello.bytes())];
        corpus.push(Lane::TransparentTls, sentence, Opening::Direct, steps, expected);
    }
    corpus.foreign("a redirected connection to a name that no rule has", &format!("redirected.{}", corpus.ground.stranger.clone()));
    corpus.foreign("a redirected connection to localhost's name", "a.localhost.test");
    for (sentence, head, reason) in [
        ("a redirected request without Host", "GET / HTTP/1.0\r\n\r\n", Reason::BadAuthority),
        ("a redirected request in absolute form", "GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n", Reason::WrongEntry),
        ("a redirected request to the asterisk", "GET * HTTP/1.1\r\nHost: evil.test\r\n\r\n", Reason::MalformedRequest),
    ] {
        corpus.raw(Lane::TransparentHttp, sentence, head, &[reason]);
    }
}
