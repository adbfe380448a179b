//! A receipt as values: what the page shows, what the JSON holds, what is signed.
//!
//! Made of an account and of what is known around it; nothing here is counted or shown. The field names
//! are the format of docs/RECEIPT.md. Times are seconds since 1970, sizes are bytes.

use serde::{Deserialize, Serialize};

use super::{
    account::{Account, HostTally, Peer, RefusalKey, RefusalTally, Span, Tally},
    deed::Deed,
    event::Way,
    headline::{self, Headline},
    ledger::{Ledger, SessionKey},
    plane::Plane,
    reasons,
    viewer::Viewer,
};
use crate::{policy::how_to_allow, token::UnixTime};

/// Of the fields below and their meaning.
pub const FORMAT: &str = "airlock-receipt/1";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub format: String,
    /// Version of the program that made it.
    pub airlock: String,
    pub made: UnixTime,
    /// Counted since then: the start of the program.
    pub since: UnixTime,
    pub about: About,
    /// `null`: nothing has come by.
    pub first: Option<UnixTime>,
    pub last: Option<UnixTime>,
    pub headline: Headline,
    /// `enforce` or `report`.
    pub mode: String,
    /// `off`, `egress` or `all`.
    pub lockdown: String,
    pub totals: Totals,
    /// Earlier runs included; of the whole machine alone.
    pub ever: Option<Ever>,
    pub hosts: Vec<HostLine>,
    pub more_hosts: MoreHosts,
    pub answered_here: Vec<DeedLine>,
    pub refused: Vec<RefusedLine>,
    pub more_refused: u64,
    pub browser_refused: Vec<BrowserLine>,
    pub more_browser_refused: u64,
    pub sessions: Vec<SessionLine>,
    /// Chats and sessions that made room for newer ones; their sums are in the machine's.
    pub more_sessions: u64,
    pub browser: Plane,
    pub cannot_see: Vec<String>,
}

/// Whose doings it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum About {
    Machine,
    User { user: String },
    Chat { id: String, user: Option<String> },
    Login { id: String, user: Option<String> },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// All below but `opened`.
    pub requests: u64,
    pub answered_here: u64,
    pub your_llm: u64,
    pub your_comfyui: u64,
    pub sent_on: u64,
    pub relayed_unread: u64,
    pub refused: u64,
    pub opened: u64,
    /// Of `answered_here`: looking at the receipt.
    pub receipt_views: u64,
    /// Let through by report mode alone.
    pub would_be_refused: u64,
    pub bytes_from_programs: u64,
    pub bytes_to_programs: u64,
    pub bytes_left_machine: u64,
}

/// As the store has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ever {
    pub answered_here: u64,
    pub sent_on: u64,
    pub refused: u64,
    pub bytes_left_machine: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLine {
    pub host: String,
    /// [`Way::as_str`].
    pub way: String,
    /// Not one byte of it went to another machine.
    pub on_this_machine: bool,
    pub requests: u64,
    /// Requests where nobody was there.
    pub unreached: u64,
    pub would_be_refused: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub bytes_left_machine: u64,
    /// The rule that allowed it, and what that rule says it is for.
    pub rule: String,
    pub purpose: Option<String>,
    pub what: Vec<String>,
    pub first: UnixTime,
    pub last: UnixTime,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoreHosts {
    pub requests: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub bytes_left_machine: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeedLine {
    pub code: String,
    pub what: String,
    pub came: String,
    pub requests: u64,
    pub bytes_from_programs: u64,
    pub bytes_to_programs: u64,
    pub first: UnixTime,
    pub last: UnixTime,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedLine {
    /// `null`: it could not be made out.
    pub host: Option<String>,
    pub reason: String,
    pub rule: String,
    pub why: String,
    pub way_out: String,
    /// To be written into the configuration, where that helps.
    pub to_allow: Option<String>,
    pub requests: u64,
    pub first: UnixTime,
    pub last: UnixTime,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrowserLine {
    pub what: String,
    pub times: u64,
    pub first: UnixTime,
    pub last: UnixTime,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLine {
    pub kind: String,
    pub id: String,
    pub user: Option<String>,
    pub requests: u64,
    pub refused: u64,
    pub bytes_left_machine: u64,
    pub first: UnixTime,
    pub last: UnixTime,
}

/// What is known around an account.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    pub now: UnixTime,
    pub mode: &'static str,
    pub lockdown: &'static str,
    pub ever: Option<Ever>,
    pub browser: Plane,
    /// What a rule is for, by its name.
    pub purpose: &'a dyn Fn(&str) -> Option<String>,
}

impl Receipt {
    /// Of a chat or session by its name, or of the whole. `None`: no such thing is known, or it is not
    /// this person's, which is the same to them.
    pub fn of(
        ledger: &Ledger,
        session: Option<&str>,
        viewer: &Viewer,
        around: &Around<'_>,
    ) -> Option<Self> {
        let empty;
        let (about, account) = match session {
            Some(id) => {
                let (key, account) = ledger.session(id, viewer)?;
                (About::session(key), account)
            }
            None => match ledger.whole(viewer) {
                Some(account) => (About::whole(viewer), account),
                None => {
                    empty = Account::nothing();
                    (About::whole(viewer), &empty)
                }
            },
        };
        Some(Self::about(about, account, ledger, viewer, around))
    }

    fn about(
        about: About,
        account: &Account,
        ledger: &Ledger,
        viewer: &Viewer,
        around: &Around<'_>,
    ) -> Self {
        let totals = Totals::of(account);
        let hosts = hosts(account, around);
        let more_hosts = MoreHosts::of(account.more.hosts);
        let is_whole = matches!(about, About::Machine | About::User { .. });
        let is_machine = about == About::Machine;
        Self {
            format: FORMAT.to_owned(),
            airlock: env!("CARGO_PKG_VERSION").to_owned(),
            made: around.now,
            since: ledger.since(),
            first: account.span.map(|span| span.first),
            last: account.span.map(|span| span.last),
            headline: headline::of(&totals.without_looking(), &hosts, &more_hosts, around),
            about,
            mode: around.mode.to_owned(),
            lockdown: around.lockdown.to_owned(),
            totals,
            ever: around.ever.filter(|_| is_machine),
            hosts,
            more_hosts,
            answered_here: answered(account),
            refused: refused(account),
            more_refused: account.more.refusals,
            browser_refused: browser_refused(account),
            more_browser_refused: account.more.browser,
            sessions: match is_whole {
                true => sessions(ledger, viewer),
                false => Vec::new(),
            },
            more_sessions: match is_machine {
                true => ledger.forgotten(),
                false => 0,
            },
            browser: around.browser,
            cannot_see: cannot_see(around.browser),
        }
    }
}

impl About {
    fn whole(viewer: &Viewer) -> Self {
        match viewer {
            Viewer::Everything => About::Machine,
            Viewer::Own(user) => About::User { user: user.clone() },
        }
    }

    fn session(key: &SessionKey) -> Self {
        let id = key.id.to_string();
        let user = key.user.as_ref().map(ToString::to_string);
        match key.kind {
            super::ledger::SessionKind::Chat => About::Chat { id, user },
            super::ledger::SessionKind::Login => About::Login { id, user },
        }
    }
}

impl Totals {
    /// What would have been the same without anybody looking.
    pub fn without_looking(&self) -> Self {
        Self {
            requests: self.requests.saturating_sub(self.receipt_views),
            answered_here: self.answered_here.saturating_sub(self.receipt_views),
            ..*self
        }
    }

    fn of(account: &Account) -> Self {
        let Tally {
            requests,
            up,
            down,
            left,
        } = account.total();
        let of = |way| account.way(way).requests;
        Self {
            requests,
            answered_here: of(Way::Here),
            your_llm: of(Way::Llm),
            your_comfyui: of(Way::ComfyUi),
            sent_on: of(Way::Sent),
            relayed_unread: of(Way::Relayed),
            refused: of(Way::Refused),
            opened: of(Way::Opened),
            receipt_views: account.times(Deed::ReceiptPage),
            would_be_refused: account.would_deny,
            bytes_from_programs: up,
            bytes_to_programs: down,
            bytes_left_machine: left,
        }
    }
}

impl MoreHosts {
    fn of(tally: Tally) -> Self {
        let Tally {
            requests,
            up,
            down,
            left,
        } = tally;
        Self {
            requests,
            bytes_sent: up,
            bytes_received: down,
            bytes_left_machine: left,
        }
    }
}

/// What left first, and of that the most.
fn hosts(account: &Account, around: &Around<'_>) -> Vec<HostLine> {
    let mut lines: Vec<HostLine> = account
        .hosts
        .iter()
        .map(|((way, peer), tally)| host(*way, peer, tally, around))
        .collect();
    lines.sort_by(|a, b| {
        let key = |line: &HostLine| (line.bytes_left_machine, line.requests);
        key(b).cmp(&key(a)).then_with(|| a.host.cmp(&b.host))
    });
    lines
}

fn host(way: Way, peer: &Peer, line: &HostTally, around: &Around<'_>) -> HostLine {
    let HostTally {
        tally,
        span,
        deeds,
        rule,
        unreached,
        would_deny,
    } = line;
    HostLine {
        host: peer.to_string(),
        way: way.as_str().to_owned(),
        on_this_machine: tally.left == 0,
        requests: tally.requests,
        unreached: *unreached,
        would_be_refused: *would_deny,
        bytes_sent: tally.up.max(tally.left),
        bytes_received: tally.down,
        bytes_left_machine: tally.left,
        rule: rule.to_string(),
        purpose: (around.purpose)(rule.as_str()),
        what: deeds.list().map(|deed| deed.what().to_owned()).collect(),
        first: span.first,
        last: span.last,
    }
}

/// The stand-ins' work, most of it first. What went to the LLM stands among the hosts as well.
fn answered(account: &Account) -> Vec<DeedLine> {
    let mut lines: Vec<_> = account
        .deeds()
        .filter(|(deed, _, _)| deed.is_answer())
        .collect();
    // Looking at the receipt comes last, however often.
    lines.sort_by_key(|(deed, tally, _)| {
        (!deed.is_news(), std::cmp::Reverse(tally.requests), *deed)
    });
    let line = |(deed, tally, span): (Deed, Tally, Span)| DeedLine {
        code: deed.code().to_owned(),
        what: deed.what().to_owned(),
        came: deed.came().to_owned(),
        requests: tally.requests,
        bytes_from_programs: tally.up,
        bytes_to_programs: tally.down,
        first: span.first,
        last: span.last,
    };
    lines.into_iter().map(line).collect()
}

fn refused(account: &Account) -> Vec<RefusedLine> {
    let mut lines: Vec<_> = account.refusals.iter().collect();
    lines.sort_by(|(a, x), (b, y)| {
        let name = |key: &RefusalKey| key.authority.clone();
        y.requests
            .cmp(&x.requests)
            .then_with(|| name(a).cmp(&name(b)))
            .then_with(|| a.reason.code().cmp(b.reason.code()))
    });
    lines
        .into_iter()
        .map(|(key, tally)| refusal(key, tally))
        .collect()
}

fn refusal(key: &RefusalKey, line: &RefusalTally) -> RefusedLine {
    let words = reasons::words(key.reason);
    let to_allow = key
        .authority
        .as_ref()
        .filter(|_| words.a_rule_helps)
        .map(|at| how_to_allow(key.reason, at, &line.method, &line.path))
        // A comment is no rule; our own words say it better.
        .filter(|yaml| !yaml.is_empty() && !yaml.starts_with('#'));
    RefusedLine {
        host: key.authority.as_ref().map(ToString::to_string),
        reason: key.reason.code().to_owned(),
        rule: key.rule.to_string(),
        why: words.why.to_owned(),
        way_out: match (words.a_rule_helps, &to_allow) {
            (true, None) => "No rule can allow that.".to_owned(),
            (true, Some(_)) | (false, _) => words.way_out.to_owned(),
        },
        to_allow,
        requests: line.requests,
        first: line.span.first,
        last: line.span.last,
    }
}

fn browser_refused(account: &Account) -> Vec<BrowserLine> {
    let mut lines: Vec<BrowserLine> = account
        .browser
        .iter()
        .map(|(what, (times, span))| BrowserLine {
            what: what.to_string(),
            times: *times,
            first: span.first,
            last: span.last,
        })
        .collect();
    lines.sort_by(|a, b| b.times.cmp(&a.times).then_with(|| a.what.cmp(&b.what)));
    lines
}

/// The newest first.
fn sessions(ledger: &Ledger, viewer: &Viewer) -> Vec<SessionLine> {
    let mut lines: Vec<SessionLine> = ledger
        .sessions(viewer)
        .filter_map(|(key, account)| {
            let Span { first, last } = account.span?;
            Some(SessionLine {
                kind: key.kind.as_str().to_owned(),
                id: key.id.to_string(),
                user: key.user.as_ref().map(ToString::to_string),
                requests: account.total().requests,
                refused: account.way(Way::Refused).requests,
                bytes_left_machine: account.total().left,
                first,
                last,
            })
        })
        .collect();
    lines.sort_by(|a, b| b.last.cmp(&a.last).then_with(|| a.id.cmp(&b.id)));
    lines
}

/// What no receipt of ours can vouch for.
fn cannot_see(browser: Plane) -> Vec<String> {
    let mut all = vec![
        "Programs that do not go through Airlock: it sees what is sent to its ports. Started with \
         `airlock exec --isolate`, a program has no other way out."
            .to_owned(),
        "The contents of connections that are relayed unread: of those, only the host and the bytes \
         are counted."
            .to_owned(),
        "What is still open: a connection is written down when it ends.".to_owned(),
        "Who looked up which name: for a host that you allow, your name server is asked.".to_owned(),
        "What your own LLM and your own ComfyUI do with what they are sent; if they run on another \
         machine, the bytes to them count as having left this one."
            .to_owned(),
    ];
    match browser {
        Plane::Closed | Plane::NotABrowser => {}
        Plane::CspOnly | Plane::AllowlistOff | Plane::ReportOnly | Plane::NoFrontDoor => {
            all.push(
                "What this browser sends past Airlock by the channels that are not closed in it; see \
                 above."
                    .to_owned(),
            );
        }
    }
    all
}
