//! A name server on 127.0.0.1:53 of the test's own namespace: as broken as the test wants, and counting.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    thread,
};

use super::system;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Answer {
    /// 127.0.0.1 for every name.
    Loopback,
    Silence,
    /// SERVFAIL.
    Failure,
    /// Bytes that are no answer.
    Garbage,
    /// NOERROR, and no address.
    Nothing,
}

impl Answer {
    const ALL: [Answer; 5] = [
        Answer::Loopback,
        Answer::Silence,
        Answer::Failure,
        Answer::Garbage,
        Answer::Nothing,
    ];
}

pub struct Dns {
    mode: Arc<AtomicU8>,
    questions: Arc<AtomicUsize>,
}

/// Points the system's resolver at 127.0.0.1, and at nothing else.
pub fn ask_loopback() {
    system(
        "dir=$(mktemp -d)
         printf 'nameserver 127.0.0.1\\noptions timeout:5 attempts:2\\n' >$dir/resolv.conf
         printf '127.0.0.1 localhost\\n' >$dir/hosts
         printf 'hosts: files dns\\n' >$dir/nsswitch.conf
         for file in resolv.conf hosts nsswitch.conf; do
             [ ! -e /etc/$file ] || mount --no-mtab --bind $dir/$file /etc/$file
         done",
    );
}

impl Dns {
    pub fn serving(mode: Answer) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
        let dns = Self {
            mode: Arc::new(AtomicU8::new(mode as u8)),
            questions: Arc::default(),
        };
        let (mode, questions) = (dns.mode.clone(), dns.questions.clone());
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((n, client)) = socket.recv_from(&mut question) {
                questions.fetch_add(1, Ordering::SeqCst);
                let mode = mode.load(Ordering::SeqCst);
                let mode = Answer::ALL.into_iter().find(|a| *a as u8 == mode).unwrap();
                reply(&socket, client, &question[..n], mode);
            }
        });
        dns
    }

    pub fn says(&self, answer: Answer) {
        self.mode.store(answer as u8, Ordering::SeqCst);
    }

    pub fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }
}

fn reply(socket: &UdpSocket, client: SocketAddr, question: &[u8], answer: Answer) {
    // Header, the name up to its empty label, type and class; what follows (EDNS) is left out.
    let name = question[12..].iter().position(|b| *b == 0).unwrap();
    let end = 12 + name + 5;
    let is_a = question[end - 4..end - 2] == [0, 1];
    let (flags, found): ([u8; 2], bool) = match answer {
        Answer::Silence => return,
        Answer::Garbage => {
            let _ = socket.send_to(b"\x00\x01garbage", client);
            return;
        }
        Answer::Failure => ([0x81, 0x82], false),
        Answer::Nothing => ([0x81, 0x80], false),
        Answer::Loopback => ([0x81, 0x80], is_a),
    };
    let mut out = question[..2].to_vec();
    out.extend(flags);
    out.extend([0, 1, 0, u8::from(found), 0, 0, 0, 0]);
    out.extend(&question[12..end]);
    if found {
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    }
    let _ = socket.send_to(&out, client);
}
