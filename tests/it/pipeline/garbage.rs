//! Random bytes at every door: nothing may panic, and the next client is served.

use std::{net::SocketAddr, thread};

use super::PICTURE;
use crate::support::{Setup, Wire, client_hello, handshake, trusting};

/// xorshift: the same bytes on every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| (self.next() >> 24) as u8).collect()
    }

    /// Good beginnings reach further in than noise alone.
    fn garbage(&mut self) -> Vec<u8> {
        let hello = client_hello("pic.test");
        let beginnings: [&[u8]; 8] = [
            b"",
            b"GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\n",
            b"POST http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n",
            b"CONNECT pic.test:443 HTTP/1.1\r\nHost: pic.test:443\r\n\r\n",
            b"CONNECT ",
            &hello,
        ];
        let mut bytes = beginnings[(self.next() % 8) as usize].to_vec();
        let length = (self.next() % 3000) as usize;
        bytes.extend(self.bytes(length));
        if self.next().is_multiple_of(2) {
            bytes.extend(b"\r\n\r\n");
        }
        // Now and then a good beginning with one byte wrong.
        if self.next().is_multiple_of(4) {
            let at = (self.next() as usize) % bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (self.next() % 8);
            }
        }
        bytes
    }
}

fn pelt(door: SocketAddr, seed: u64) {
    let mut dice = Dice(seed);
    for n in 0..200 {
        let mut wire = Wire::to(door);
        wire.send(dice.garbage());
        if n % 3 == 0 {
            let _ = wire.stream.shutdown(std::net::Shutdown::Write);
            let mut sink = Vec::new();
            let _ = std::io::Read::read_to_end(&mut wire, &mut sink);
        }
    }
}

#[test]
fn two_hundred_garbled_connections_at_each_door_do_no_harm() {
    let airlock = Setup {
        listeners: "  transparent_tls: 127.0.0.1:0\n  transparent_http: 127.0.0.1:0\n".into(),
        ..Setup::rules(PICTURE)
    }
    .more("limits:\n  head_timeout: 100ms\n  client_hello_timeout: 100ms")
    .start();
    let ready = &airlock.ready;
    let doors = [
        ready.explicit,
        ready.reverse,
        ready.transparent_tls.unwrap(),
        ready.transparent_http.unwrap(),
        ready.admin,
    ];
    let threads: Vec<_> = (1..)
        .zip(doors)
        .map(|(n, door)| thread::spawn(move || pelt(door, 0x9e37_79b9 * n)))
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());

    let trust = trusting(&ready.ca_bundle);
    let mut dice = Dice(77);
    for _ in 0..50 {
        let outside = Wire::to(ready.explicit).connect("pic.test:443");
        let mut inside = handshake(outside, &trust, "pic.test").unwrap();
        inside.send(dice.garbage());
    }

    airlock.assert_healthy();
    let mut wire = Wire::to(ready.explicit);
    assert_eq!(
        wire.ask("GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\n\r\n")
            .status,
        200
    );
    airlock.assert_touched_nothing();
    // Every line of the log is whole, whatever was thrown at it.
    assert!(airlock.records().len() > 200);
    for record in airlock.records() {
        assert!(
            record["reason"] != "internal" && record["ended"] != "internal",
            "{record}"
        );
    }
}
