//! A name server on 127.0.0.1:53 of the test's own namespace: as broken as the test wants, and counting.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
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
    /// NXDOMAIN.
    NoSuchName,
    /// Bytes that are no answer.
    Garbage,
    /// NOERROR, and no address.
    Nothing,
}

impl Answer {
    const ALL: [Answer; 6] = [
        Answer::Loopback,
        Answer::Silence,
        Answer::Failure,
        Answer::NoSuchName,
        Answer::Garbage,
        Answer::Nothing,
    ];
}

pub struct Dns {
    mode: Arc<AtomicU8>,
    questions: Arc<AtomicUsize>,
    names: Arc<Mutex<BTreeSet<String>>>,
}

/// Points the system's resolver at 127.0.0.1, and at nothing else.
pub fn ask_loopback() {
    ask_loopback_with("options timeout:5 attempts:2");
}

/// With this line in `resolv.conf` too.
pub fn ask_loopback_with(line: &str) {
    system(&format!(
        "line='{line}'
         dir=$(mktemp -d)
         printf 'nameserver 127.0.0.1\\n%s\\n' \"$line\" >$dir/resolv.conf
         printf '127.0.0.1 localhost\\n' >$dir/hosts
         printf 'hosts: files dns\\n' >$dir/nsswitch.conf
         for file in resolv.conf hosts nsswitch.conf; do
             [ ! -e /etc/$file ] || mount --no-mtab --bind $dir/$file /etc/$file
         done"
    ));
}

impl Dns {
    pub fn serving(mode: Answer) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
        let dns = Self {
            mode: Arc::new(AtomicU8::new(mode as u8)),
            questions: Arc::default(),
            names: Arc::default(),
        };
        let (mode, questions) = (dns.mode.clone(), dns.questions.clone());
        let names = dns.names.clone();
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((n, client)) = socket.recv_from(&mut question) {
                questions.fetch_add(1, Ordering::SeqCst);
                names.lock().unwrap().insert(name_in(&question[..n]));
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

    /// Names that were asked for since the last call, without a final dot.
    pub fn names(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.names.lock().unwrap())
    }
}

fn name_in(question: &[u8]) -> String {
    let (mut at, mut labels) = (12, Vec::new());
    while question[at] > 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..end]).into_owned());
        at = end;
    }
    labels.join(".")
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
        Answer::NoSuchName => ([0x81, 0x83], false),
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
