//! A long file back and forth, under clients that never stop asking.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    GET_PICTURE, PICTURE, echo, forward_rule, get, json_of, switching, tunnel_rule, tunnel_to,
    upstreams, web_socket,
};
use crate::support::{Identity, Origin, Setup, Wire};

/// Rules of the long file; `just reload-many` asks for a hundred thousand.
fn rules() -> usize {
    let asked = std::env::var("AIRLOCK_RELOAD_RULES").ok();
    asked.map_or(10_000, |n| {
        n.parse().expect("AIRLOCK_RELOAD_RULES is a number")
    })
}

/// All kinds of rules that the index tells apart; none of them is met by a request here. Names whose
/// TLS is opened stand in the root certificate, which holds five hundred.
fn long_file(rules: usize) -> String {
    let line = |n: usize| {
        let opened = n % 100;
        let kind = match n % 4 {
            0 => format!("hosts: [h{n}.example.test], action: tunnel"),
            1 => format!("hosts: ['*.f{opened}.test'], paths: ['/v{n}/*'], action: forward"),
            2 => {
                format!("hosts: [r{opened}.test], paths: [/{n}], read_only: true, action: forward")
            }
            _ => format!("hosts: [h{n}.example.test], action: deny"),
        };
        format!("  - {{name: r{n}, {kind}}}\n")
    };
    (0..rules).map(line).collect()
}

/// What one client met.
struct Asked {
    requests: u64,
    longest: Duration,
}

/// Asks for the same on one connection until told to stop; every answer must be a 200.
fn hammer(to: SocketAddr, request: String, stop: Arc<AtomicBool>) -> JoinHandle<Asked> {
    thread::spawn(move || {
        let mut wire: Wire<TcpStream> = Wire::to(to);
        let (mut requests, mut longest) = (0, Duration::ZERO);
        while !stop.load(Ordering::SeqCst) {
            let began = Instant::now();
            let reply = wire.ask(&request);
            assert_eq!(reply.status, 200, "{}", reply.text());
            requests += 1;
            longest = longest.max(began.elapsed());
        }
        Asked { requests, longest }
    })
}

/// Sends a byte and waits for it on the same connection, over and over.
fn echoes<S: Read + Write + Send + 'static>(
    mut wire: Wire<S>,
    stop: Arc<AtomicBool>,
) -> JoinHandle<u64> {
    thread::spawn(move || {
        let mut bytes = 0;
        while !stop.load(Ordering::SeqCst) {
            wire.send("x");
            assert_eq!(wire.exact(1), b"x");
            bytes += 1;
        }
        bytes
    })
}

#[test]
fn reloading_a_long_file_back_and_forth_fails_no_request_and_cuts_nothing() {
    let rules = rules();
    let identity = Identity::of(&["localhost"]);
    let tunnel = Origin::scripted_tls(identity.server.clone(), echo);
    let (socket, plain) = (
        switching(),
        Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    );
    let needed = PICTURE.to_owned()
        + &tunnel_rule(tunnel.port())
        + &forward_rule(socket.port(), "    upgrade: true\n")
        + &forward_rule(plain.port(), "");
    let setup = |more: &str| {
        Setup::rules(needed.clone() + more).more(upstreams(&[
            tunnel.port(),
            socket.port(),
            plain.port(),
        ]))
    };
    let airlock = setup("").start();
    let stop = Arc::new(AtomicBool::new(false));
    let in_tunnel = tunnel_to(&airlock, tunnel.port(), &identity.ca_pem);
    let echoing = [
        echoes(in_tunnel, stop.clone()),
        echoes(web_socket(&airlock, &socket), stop.clone()),
    ];
    let clients = [GET_PICTURE.to_owned(), get(&plain, ""), get(&plain, "")]
        .map(|request| hammer(airlock.ready.explicit, request, stop.clone()));

    let long = long_file(rules);
    for (file, expected) in [(&*long, rules), ("", 0), (&*long, rules), ("", 0)] {
        airlock.rewrite(&setup(file));
        let began = Instant::now();
        let out = airlock.command(&["reload", "--json"]);
        println!("{} rules: taken in {:?}", expected + 4, began.elapsed());
        let report = json_of(&out);
        assert_eq!(report["ok"], true, "{out:?}");
        assert_eq!(report["rules"], expected + 4, "{out:?}");
        assert_eq!(report["cut"], 0, "{out:?}");
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        let Asked { requests, longest } = client.join().expect("no request fails");
        println!("{requests} requests, the longest took {longest:?}");
        assert!(
            requests > 10,
            "only {requests} requests were made meanwhile"
        );
    }
    for echoing in echoing {
        let bytes = echoing.join().expect("what is open stays open");
        assert!(bytes > 10, "only {bytes} bytes came back meanwhile");
    }
    airlock.assert_healthy();
}
