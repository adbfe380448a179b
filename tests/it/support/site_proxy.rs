//! A small CONNECT proxy, as a site might run one: it knows some names, and keeps what it was asked.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use super::wire::Wire;

/// What it does when asked for a name.
#[derive(Clone, Copy)]
pub enum Answer {
    /// Connects there.
    To(SocketAddr),
    /// Says this and closes.
    Say(&'static str),
    /// Says nothing for as long as the client waits.
    Hang,
}

pub struct SiteProxy {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl SiteProxy {
    /// Who asks for another name gets a 403.
    pub fn knowing(names: &[(&str, Answer)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let names: Vec<_> = names.iter().map(|(n, a)| ((*n).to_owned(), *a)).collect();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (names, seen) = (Arc::new(names), asked.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (names, seen) = (names.clone(), seen.clone());
                thread::spawn(move || serve(stream, &names, &seen));
            }
        });
        Self { address, asked }
    }

    /// The heads that it read, one for each connection.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// The configuration that names it.
    pub fn section(&self, more: &str) -> String {
        format!("egress:\n  upstream_proxy: http://{}\n{more}", self.address)
    }
}

fn serve(stream: TcpStream, names: &[(String, Answer)], seen: &Mutex<Vec<String>>) {
    let _ = stream.set_nodelay(true);
    let mut wire = Wire::over(stream);
    let Some(head) = wire.head() else { return };
    let head = String::from_utf8_lossy(&head).into_owned();
    seen.lock().unwrap().push(head.clone());
    let target = head
        .strip_prefix("CONNECT ")
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or_default();
    let known = names.iter().find(|(name, _)| name == target);
    match known.map(|(_, answer)| *answer) {
        Some(Answer::To(address)) => {
            let upstream = TcpStream::connect(address).expect("the origin listens");
            let _ = upstream.set_nodelay(true);
            wire.send("HTTP/1.1 200 Connection established\r\n\r\n");
            splice(wire.stream, upstream);
        }
        Some(Answer::Say(words)) => {
            wire.send(words);
        }
        Some(Answer::Hang) => while wire.byte().is_some() {},
        None => {
            wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        }
    }
}

fn splice(client: TcpStream, upstream: TcpStream) {
    let (Ok(client2), Ok(upstream2)) = (client.try_clone(), upstream.try_clone()) else {
        return;
    };
    let back = thread::spawn(move || copy(upstream2, client2));
    copy(client, upstream);
    let _ = back.join();
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
