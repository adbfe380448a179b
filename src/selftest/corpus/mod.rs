//! The corpus: every case of docs/EGRESS.md as data. One file per section of that list.
//!
//! A case is written once, as a host, an authority, a head or a ClientHello, and rendered here into
//! the bytes of every lane it can reach. What the rendered bytes must meet is known here too: the
//! same host is refused by another reason where it is a destination than where it contradicts one.
//!
//! Called by `selftest` and by the tests. Nothing here is sent or decided.

// Tables: a row is a line.
#[rustfmt::skip]
mod addresses;
#[rustfmt::skip]
mod around;
#[rustfmt::skip]
mod connect;
#[rustfmt::skip]
mod groups;
#[rustfmt::skip]
mod host_forms;
#[rustfmt::skip]
mod host_strings;
#[rustfmt::skip]
mod http;
mod in_process;
#[rustfmt::skip]
mod tls;
mod render;

use std::sync::Arc;

use crate::{
    net::{Authority, Port},
    policy::Reason,
};

use super::{
    case::{Case, Expected, Opening, Script, Step},
    ground::{Ground, Place},
    hello::Hello,
    lane::Lane,
};

pub use groups::{GROUPS, Group};
use render::{Slots, connect, in_a_header, in_a_line, inside, origin, plain, slots};

/// Every case that this ground has room for.
pub fn cases(ground: &Ground) -> Vec<Case> {
    let mut corpus = Corpus {
        ground,
        group: 0,
        cases: Vec::new(),
    };
    host_strings::add(&mut corpus);
    host_forms::add(&mut corpus);
    addresses::add(&mut corpus);
    connect::add(&mut corpus);
    tls::add(&mut corpus);
    http::add(&mut corpus);
    around::add(&mut corpus);
    corpus.cases
}

struct Corpus<'g> {
    ground: &'g Ground,
    group: u8,
    cases: Vec<Case>,
}

impl<'g> Corpus<'g> {
    fn group(&mut self, number: u8) {
        self.group = number;
    }

    fn push(
        &mut self,
        lane: Lane,
        sentence: impl Into<String>,
        opening: Opening,
        steps: Vec<Step>,
        expected: Expected,
    ) -> &mut Case {
        self.cases.push(Case {
            group: self.group,
            lane,
            sentence: sentence.into(),
            script: Script::Wire { opening, steps },
            expected,
            destination: None,
        });
        let last = self.cases.len() - 1;
        &mut self.cases[last]
    }

    /// Bytes as they are, to the door of this lane.
    fn raw(
        &mut self,
        lane: Lane,
        sentence: &str,
        bytes: impl Into<Vec<u8>>,
        reasons: &[Reason],
    ) -> &mut Case {
        let steps = vec![Step::Send(bytes.into())];
        let expected = Expected::Refused(reasons.to_vec());
        self.push(lane, sentence, Opening::Direct, steps, expected)
    }

    /// A checkpoint called directly.
    fn check(
        &mut self,
        sentence: impl Into<String>,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.cases.push(Case {
            group: self.group,
            lane: Lane::InProcess,
            sentence: sentence.into(),
            script: Script::Check(Arc::new(check)),
            expected: Expected::Holds,
            destination: None,
        });
    }

    /// Refused by the rules: exactly so on a known policy, by any rule on a person's own.
    fn by_rule(&self, reason: Reason) -> Expected {
        if self.ground.exact {
            return Expected::Refused(vec![reason]);
        }
        Expected::Refused(vec![
            Reason::NoRuleMatched,
            Reason::HostKnownRequestNot,
            Reason::RuleDenies,
            Reason::AllowExpired,
            Reason::NotForYou,
            Reason::ReadOnly,
        ])
    }

    /// A well-formed host that no rule allows, as the destination, and inside as a contradiction.
    fn foreign(&mut self, sentence: &str, host: &str) {
        let reason = self.reason_for(host);
        let is_name =
            !host.starts_with('[') && !host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        for lane in [
            Lane::ExplicitPlain,
            Lane::ConnectTunnel,
            Lane::TransparentHttp,
            Lane::TransparentTls,
        ] {
            let port = match lane {
                Lane::ConnectTunnel | Lane::TransparentTls => Port::HTTPS,
                _ => Port::HTTP,
            };
            let expected = self.by_rule(reason);
            let (opening, bytes) = match lane {
                Lane::ExplicitPlain => (Opening::Direct, plain(host)),
                Lane::ConnectTunnel => (Opening::Direct, connect(&format!("{host}:443"))),
                Lane::TransparentHttp => (Opening::Direct, origin(host)),
                // Addresses are no server names: group 29 has them.
                _ if !is_name => continue,
                _ => (Opening::Direct, Hello::named(host).bytes()),
            };
            let case = self.push(lane, sentence, opening, vec![Step::Send(bytes)], expected);
            let text = format!("{host}:{}", port.number());
            case.destination = Authority::parse(&text, None).ok();
        }
        // The reverse entry takes names that no name server answers for its own.
        let rebound = is_name && host.contains('.') && !host.ends_with(".localhost");
        self.contradiction(
            sentence,
            host.as_bytes(),
            Reason::AuthorityMismatch,
            rebound,
        );
    }

    fn reason_for(&self, host: &str) -> Reason {
        if self.ground.known.iter().any(|known| known == host) {
            Reason::HostKnownRequestNot
        } else {
            Reason::NoRuleMatched
        }
    }

    /// A Host that is not the one of the connection. `rebound`: the reverse entry refuses it too.
    fn contradiction(&mut self, sentence: &str, host: &[u8], reason: Reason, rebound: bool) {
        for lane in [
            Lane::ConnectIntercepted,
            Lane::TransparentTls,
            Lane::Reverse,
            Lane::FrontDoor,
        ] {
            if matches!(lane, Lane::Reverse | Lane::FrontDoor) && !rebound {
                continue;
            }
            let Some(slots) = self.slots(lane) else {
                continue;
            };
            let bytes = [b"GET / HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"].concat();
            let sentence = match lane {
                Lane::TransparentTls => format!("{sentence}, as the Host inside"),
                _ => sentence.to_owned(),
            };
            let reason = match (lane, reason) {
                (Lane::FrontDoor, Reason::AuthorityMismatch) => Reason::HostNotAllowed,
                _ => reason,
            };
            self.push(
                lane,
                sentence,
                slots.opening,
                vec![Step::Send(bytes)],
                Expected::Refused(vec![reason]),
            );
        }
    }

    /// A host that is none, wherever a lane takes one.
    fn ill(&mut self, sentence: &str, host: impl AsRef<[u8]>) {
        let host = host.as_ref();
        self.ill_authority(sentence, host, &[host, b":443"].concat());
        self.raw(
            Lane::TransparentTls,
            &format!("{sentence}, as the server name"),
            Hello::named(host).bytes(),
            &[Reason::ClientHelloInvalid],
        );
    }

    /// What stands for host and port: `plain` where a port may be left out, `tunnel` in a CONNECT.
    fn ill_authority(&mut self, sentence: &str, plain_form: &[u8], tunnel: &[u8]) {
        let line = [
            b"GET http://",
            plain_form,
            b"/ HTTP/1.1\r\nHost: ",
            plain_form,
            b"\r\n\r\n",
        ]
        .concat();
        self.raw(
            Lane::ExplicitPlain,
            sentence,
            line,
            &[in_a_line(plain_form)],
        );
        let line = [
            b"CONNECT ",
            tunnel,
            b" HTTP/1.1\r\nHost: ",
            tunnel,
            b"\r\n\r\n",
        ]
        .concat();
        self.raw(Lane::ConnectTunnel, sentence, line, &[in_a_line(tunnel)]);
        self.ill_host_header(sentence, plain_form);
    }

    /// A Host header that names nothing, in every lane that reads one.
    fn ill_host_header(&mut self, sentence: &str, host: &[u8]) {
        let reason = in_a_header(host);
        let head = [b"GET / HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"].concat();
        self.raw(Lane::TransparentHttp, sentence, head, &[reason]);
        self.contradiction(sentence, host, reason, true);
    }

    /// A head in every lane that reads requests. `{to}`, `{host}` and `{path}` are the lane's.
    fn head(&mut self, sentence: &str, template: impl AsRef<[u8]>, reason: Reason) {
        self.heads(
            sentence,
            template,
            &Lane::REQUESTS,
            Expected::Refused(vec![reason]),
        );
    }

    fn heads(
        &mut self,
        sentence: &str,
        template: impl AsRef<[u8]>,
        lanes: &[Lane],
        expected: Expected,
    ) {
        for lane in lanes {
            // Behind the prefix of the front door a path climbs into ComfyUI's own, which are another
            // matter: they may hold encoded slashes, and lead to it.
            if *lane == Lane::FrontDoor && self.group == 43 {
                continue;
            }
            let Some(slots) = self.slots(*lane) else {
                continue;
            };
            let bytes = slots.fill(template.as_ref());
            let sentence = inside(*lane, sentence);
            let case = self.push(
                *lane,
                sentence,
                slots.opening,
                vec![Step::Send(bytes)],
                expected.clone(),
            );
            case.destination = slots.destination;
        }
    }

    /// A head to a host of its own, refused by its rules.
    fn of_place(&mut self, sentence: &str, template: &str, place: &Place, reason: Reason) {
        for lane in Lane::REQUESTS {
            if let Some(slots) = self.slots_of(lane, place) {
                let steps = vec![Step::Send(slots.fill(template.as_bytes()))];
                let expected = self.by_rule(reason);
                self.push(lane, inside(lane, sentence), slots.opening, steps, expected);
            }
        }
    }

    /// Requests on one connection: the first is answered, the second is the case.
    fn second(&mut self, sentence: &str, template: &str, lanes: &[Lane], expected: &Expected) {
        for lane in lanes {
            let Some(slots) = self.slots(*lane).filter(|s| s.destination.is_none()) else {
                continue;
            };
            let first = slots.fill(b"{method} {to}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let second = slots.fill(template.as_bytes());
            let steps = vec![Step::Answered(first), Step::Send(second)];
            let sentence = inside(*lane, sentence);
            self.push(*lane, sentence, slots.opening, steps, expected.clone());
        }
    }

    /// A ClientHello behind a CONNECT that is answered with 200, and on a redirected connection.
    fn hello(
        &mut self,
        sentence: &str,
        pieces: &[Vec<u8>],
        behind_connect: &Expected,
        redirected: &Expected,
    ) {
        let steps: Vec<Step> = pieces.iter().cloned().map(Step::Send).collect();
        let ground = self.ground;
        if let Some(place) = &ground.answered {
            let opening = Opening::Tunnel {
                authority: format!("{}:443", place.host),
            };
            self.push(
                Lane::ConnectTunnel,
                sentence,
                opening,
                steps.clone(),
                behind_connect.clone(),
            );
        }
        // The same before a real tunnel, where nothing but the hello keeps the bytes in.
        if let Some(name) = ground
            .tunnelled
            .as_ref()
            .filter(|_| ground.exact && matches!(behind_connect, Expected::Refused(_)))
        {
            let opening = Opening::Tunnel {
                authority: format!("{name}:443"),
            };
            let sentence = format!("{sentence}, before a relay");
            self.push(
                Lane::ConnectTunnel,
                sentence,
                opening,
                steps.clone(),
                behind_connect.clone(),
            );
        }
        self.push(
            Lane::TransparentTls,
            sentence,
            Opening::Direct,
            steps,
            redirected.clone(),
        );
    }

    fn slots(&self, lane: Lane) -> Option<Slots> {
        match self.ground.place(lane) {
            Some(place) => slots(lane, place, None),
            // Nothing is answered here: what is refused by its form is refused on its way to a
            // stranger, too.
            None => {
                let place = Place {
                    host: self.ground.stranger.clone(),
                    path: "/".into(),
                    method: "GET".into(),
                };
                let destination = Authority::parse(&place.host, Some(Port::HTTP)).ok();
                match lane {
                    Lane::ExplicitPlain | Lane::TransparentHttp => slots(lane, &place, destination),
                    Lane::ConnectTunnel
                    | Lane::ConnectIntercepted
                    | Lane::Reverse
                    | Lane::TransparentTls
                    | Lane::FrontDoor
                    | Lane::Admin
                    | Lane::InProcess => None,
                }
            }
        }
    }

    /// Slots of a host of its own in the lanes that can name one.
    fn slots_of(&self, lane: Lane, place: &Place) -> Option<Slots> {
        let reverse = self
            .ground
            .vendor
            .as_ref()
            .is_some_and(|v| v.host == place.host);
        if matches!(lane, Lane::Reverse | Lane::FrontDoor) && !reverse {
            return None;
        }
        slots(lane, place, None)
    }
}
