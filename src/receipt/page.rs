//! The receipt as a page. What is shown is escaped by the templates: host names and paths are anybody's.
//!
//! [`part`] is what changes while one looks, [`page`] is all of it around that. `templates/` has the
//! HTML, [`STYLE`] and [`SCRIPT`] are files of their own, because the page allows no others.

use askama::Template;

use super::{
    amount,
    event::Way,
    headline::Verdict,
    picture::Picture,
    plane::Plane,
    receipt::{About, Receipt},
};
use crate::{page::RECEIPT_PATH, token::UnixTime};

pub const STYLE: &str = include_str!("../../templates/receipt.css");
pub const SCRIPT: &str = include_str!("../../templates/receipt.js");

/// Rows of a table that a page shows; the JSON has them all.
const MOST_ROWS: usize = 100;

/// A moment, for people and for scripts.
struct Moment {
    words: String,
    machine: String,
}

impl Moment {
    fn of(at: UnixTime) -> Self {
        Self {
            words: amount::moment(at),
            machine: amount::machine(at),
        }
    }
}

/// Words, or a command among them, which stands between backticks.
struct Piece {
    code: bool,
    text: String,
}

fn pieces(text: &str) -> Vec<Piece> {
    let parts = text.split('`').enumerate();
    parts
        .map(|(at, part)| Piece {
            code: at % 2 == 1,
            text: part.to_owned(),
        })
        .collect()
}

struct Tile {
    class: &'static str,
    number: String,
    words: &'static str,
}

struct Host {
    name: String,
    class: &'static str,
    badge: &'static str,
    what: String,
    why: String,
    requests: String,
    sent: String,
    received: String,
    remark: String,
    last: Moment,
}

struct Deed {
    what: String,
    came: String,
    requests: String,
    size: String,
    last: Moment,
}

struct Refusal {
    host: String,
    why: String,
    way_out: Vec<Piece>,
    to_allow: Option<String>,
    code: String,
    times: String,
    last: Moment,
}

struct Session {
    link: String,
    name: String,
    kind: &'static str,
    user: Option<String>,
    requests: String,
    left: String,
    last: Moment,
}

#[derive(Template)]
#[template(path = "receipt_part.html")]
struct Part {
    class: &'static str,
    headline: String,
    more: String,
    made: Moment,
    since: Moment,
    picture: Picture,
    tiles: Vec<Tile>,
    hosts: Vec<Host>,
    more_hosts: Option<String>,
    deeds: Vec<Deed>,
    refusals: Vec<Refusal>,
    more_refusals: Option<String>,
    browser: Vec<(String, String)>,
    sessions: Vec<Session>,
    more_sessions: Option<String>,
    ever: Option<String>,
    plane_class: &'static str,
    plane: Plane,
    cannot_see: Vec<Vec<Piece>>,
}

#[derive(Template)]
#[template(path = "receipt.html")]
struct Page<'a> {
    title: String,
    about: String,
    whole: Option<&'static str>,
    json: String,
    live: String,
    style: String,
    script: String,
    part: &'a str,
}

pub fn style_path() -> String {
    format!("{RECEIPT_PATH}/style.css")
}

pub fn script_path() -> String {
    format!("{RECEIPT_PATH}/script.js")
}

/// What changes while one looks.
pub fn part(receipt: &Receipt) -> Result<String, askama::Error> {
    let totals = receipt.totals.without_looking();
    let yours = totals.your_llm.saturating_add(totals.your_comfyui);
    let others = totals.sent_on.saturating_add(totals.relayed_unread);
    let tile = |class, number: String, words| Tile {
        class,
        number,
        words,
    };
    let shown = Part {
        class: class_of(receipt.headline.verdict),
        headline: receipt.headline.words.clone(),
        more: receipt.headline.more.clone(),
        made: Moment::of(receipt.made),
        since: Moment::of(receipt.since),
        picture: Picture::of(receipt),
        tiles: vec![
            tile("stays", amount::count(totals.answered_here), "answered by Airlock"),
            tile("stays", amount::count(yours), "answered by your LLM or ComfyUI"),
            tile(if others > 0 { "leaves" } else { "quiet" }, amount::count(others), "sent to others, by your rules"),
            tile(if totals.refused > 0 { "refused" } else { "quiet" }, amount::count(totals.refused), "refused"),
            tile(
                if totals.bytes_left_machine > 0 { "leaves" } else { "quiet" },
                amount::bytes(totals.bytes_left_machine),
                "left this machine",
            ),
        ],
        hosts: receipt.hosts.iter().take(MOST_ROWS).map(host).collect(),
        more_hosts: more_hosts(receipt),
        deeds: receipt.answered_here.iter().map(deed).collect(),
        refusals: receipt.refused.iter().take(MOST_ROWS).map(refusal).collect(),
        more_refusals: {
            let hidden = receipt.refused.iter().skip(MOST_ROWS);
            let hidden = hidden.map(|line| line.requests).sum::<u64>() + receipt.more_refused;
            (hidden > 0).then(|| amount::of(hidden, "more refusal", "more refusals"))
        },
        browser: browser(receipt),
        sessions: receipt.sessions.iter().take(MOST_ROWS).map(session).collect(),
        more_sessions: {
            let hidden = receipt.sessions.len().saturating_sub(MOST_ROWS) as u64;
            let hidden = hidden.saturating_add(receipt.more_sessions);
            (hidden > 0).then(|| amount::of(hidden, "earlier one", "earlier ones"))
        },
        ever: receipt.ever.map(|ever| {
            format!(
                "Since Airlock was first started here: {} answered here, {} sent on, {} refused, {} left.",
                amount::count(ever.answered_here),
                amount::count(ever.sent_on),
                amount::count(ever.refused),
                amount::bytes(ever.bytes_left_machine)
            )
        }),
        plane_class: if receipt.browser.is_closed() { "stays" } else { "leaves" },
        plane: receipt.browser,
        cannot_see: receipt.cannot_see.iter().map(|line| pieces(line)).collect(),
    };
    shown.render()
}

/// The whole page around it. `session`: as it was asked for.
pub fn page(receipt: &Receipt, session: Option<&str>) -> Result<String, askama::Error> {
    let query = session.map(query).unwrap_or_default();
    let about = match &receipt.about {
        About::Machine => "What this machine sent where".to_owned(),
        About::User { user } => format!("What {user} sent where"),
        About::Chat { id, .. } => format!("What the chat {id} sent where"),
        About::Login { id, .. } => format!("What the session {id} sent where"),
    };
    let part = part(receipt)?;
    Page {
        title: receipt.headline.words.clone(),
        about,
        whole: session.map(|_| RECEIPT_PATH),
        json: format!("{RECEIPT_PATH}.json{query}"),
        live: format!("{RECEIPT_PATH}/live{query}"),
        style: style_path(),
        script: script_path(),
        part: &part,
    }
    .render()
}

fn query(session: &str) -> String {
    let name = percent_encoding::utf8_percent_encode(session, percent_encoding::NON_ALPHANUMERIC);
    format!("?session={name}")
}

fn class_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Quiet => "quiet",
        Verdict::NothingLeft | Verdict::OwnOnly => "stays",
        Verdict::Allowed => "leaves",
        Verdict::Watched => "refused",
    }
}

fn host(line: &super::receipt::HostLine) -> Host {
    let way = Way::ALL.into_iter().find(|way| way.as_str() == line.way);
    let badge = match way {
        Some(Way::Llm) => "your LLM",
        Some(Way::ComfyUi) => "your ComfyUI",
        Some(Way::Sent) => "sent on",
        Some(Way::Relayed) => "relayed unread",
        Some(Way::Here | Way::Refused | Way::Opened) | None => "other",
    };
    let mut remarks = Vec::new();
    if line.unreached > 0 {
        remarks.push(match line.unreached == line.requests {
            true => "nobody was there".to_owned(),
            false => format!("{} of them reached nobody", amount::count(line.unreached)),
        });
    }
    if line.would_be_refused > 0 {
        remarks.push(format!(
            "{} would be refused in enforce mode",
            amount::count(line.would_be_refused)
        ));
    }
    if line.on_this_machine && line.unreached < line.requests {
        remarks.push("on this machine".to_owned());
    }
    Host {
        name: line.host.clone(),
        class: if line.on_this_machine {
            "stays"
        } else {
            "leaves"
        },
        badge,
        what: line.what.join(", "),
        why: match &line.purpose {
            Some(purpose) => format!("rule {}: {purpose}", line.rule),
            None => format!("rule {}", line.rule),
        },
        requests: amount::count(line.requests),
        sent: amount::bytes(line.bytes_sent),
        received: amount::bytes(line.bytes_received),
        remark: remarks.join("; "),
        last: Moment::of(line.last),
    }
}

fn more_hosts(receipt: &Receipt) -> Option<String> {
    let hidden = receipt.hosts.get(MOST_ROWS..).unwrap_or_default();
    let listed = match hidden.len() as u64 {
        0 => None,
        n => Some(amount::of(n, "more host", "more hosts")),
    };
    let beyond = match receipt.more_hosts.requests {
        0 => None,
        n => Some(format!(
            "{} to further hosts, whose names were not kept ({} left)",
            amount::of(n, "request", "requests"),
            amount::bytes(receipt.more_hosts.bytes_left_machine)
        )),
    };
    match (listed, beyond) {
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => Some(one),
        (Some(listed), Some(beyond)) => Some(format!("{listed}, and {beyond}")),
    }
}

fn deed(line: &super::receipt::DeedLine) -> Deed {
    Deed {
        what: line.what.clone(),
        came: line.came.clone(),
        requests: amount::count(line.requests),
        size: amount::bytes(line.bytes_from_programs),
        last: Moment::of(line.last),
    }
}

fn refusal(line: &super::receipt::RefusedLine) -> Refusal {
    Refusal {
        host: line
            .host
            .clone()
            .unwrap_or_else(|| "not to be made out".to_owned()),
        why: line.why.clone(),
        way_out: pieces(&line.way_out),
        to_allow: line.to_allow.clone(),
        code: line.reason.clone(),
        times: amount::count(line.requests),
        last: Moment::of(line.last),
    }
}

fn browser(receipt: &Receipt) -> Vec<(String, String)> {
    let lines = receipt.browser_refused.iter().take(MOST_ROWS);
    let mut lines: Vec<_> = lines
        .map(|line| (line.what.clone(), amount::count(line.times)))
        .collect();
    if receipt.more_browser_refused > 0 {
        lines.push((
            "and others, which were not kept".to_owned(),
            amount::count(receipt.more_browser_refused),
        ));
    }
    lines
}

fn session(line: &super::receipt::SessionLine) -> Session {
    Session {
        link: format!("{RECEIPT_PATH}{}", query(&line.id)),
        name: line.id.clone(),
        kind: match line.kind.as_str() {
            "chat" => "chat",
            _ => "session",
        },
        user: line.user.clone(),
        requests: amount::count(line.requests),
        left: amount::bytes(line.bytes_left_machine),
        last: Moment::of(line.last),
    }
}
