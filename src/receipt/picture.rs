//! Where everything went, as lanes of a drawing: what stays on this machine, what leaves it, what is
//! refused. Places and widths are made here, the page draws them.

use super::{
    amount,
    event::Way,
    receipt::{HostLine, Receipt},
};

/// Hosts with a lane of their own; the others share one.
const MOST_LANES: usize = 5;
/// Letters of a host that fit beside its lane.
const MOST_LABEL: usize = 34;

// In units of the drawing, which is `WIDTH` wide.
const ROW: u32 = 54;
const GAP: u32 = 34;
const TOP: u32 = 34;
const LEAST_HEIGHT: u32 = 124;
const GATE_RIGHT: u32 = 420;
const LANE_END: u32 = 600;
const WALL: u32 = 520;
const MOST_STROKE: f64 = 26.0;
const LEAST_STROKE: f64 = 3.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Stays,
    Leaves,
    Refused,
}

impl Group {
    const ALL: [Group; 3] = [Group::Stays, Group::Leaves, Group::Refused];

    fn words(self) -> &'static str {
        match self {
            Group::Stays => "stays on this machine",
            Group::Leaves => "leaves this machine",
            Group::Refused => "goes nowhere",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Group::Stays => "stays",
            Group::Leaves => "leaves",
            Group::Refused => "refused",
        }
    }
}

/// Before it has a place.
struct Raw {
    group: Group,
    label: String,
    note: String,
    requests: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Lane {
    pub class: &'static str,
    pub label: String,
    pub note: String,
    pub y: u32,
    pub path: String,
    pub stroke: String,
    /// Share of all requests, in percent, for the bars of narrow screens.
    pub share: u32,
    /// It ends at a wall.
    pub wall: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    pub words: &'static str,
    pub class: &'static str,
    pub y: u32,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    pub height: u32,
    pub gate_y: u32,
    pub gate_height: u32,
    pub middle: u32,
    pub lanes: Vec<Lane>,
    pub sections: Vec<Section>,
    /// The same in a sentence, for who cannot see it.
    pub words: String,
}

impl Picture {
    pub fn of(receipt: &Receipt) -> Self {
        let raw = lanes(receipt);
        if raw.is_empty() {
            return Self::default();
        }
        let all: u64 = raw.iter().map(|lane| lane.requests).sum::<u64>().max(1);
        let rows = raw.len() as u32;
        let mut picture = Self::default();
        let mut y = TOP;
        let mut placed: Vec<(Raw, u32)> = Vec::new();
        let mut raw = raw;
        for group in Group::ALL {
            let (of_group, others): (Vec<_>, Vec<_>) =
                raw.into_iter().partition(|lane| lane.group == group);
            raw = others;
            if of_group.is_empty() {
                continue;
            }
            picture.sections.push(Section {
                words: group.words(),
                class: group.class(),
                y: y - 14,
            });
            for lane in of_group {
                placed.push((lane, y + ROW / 2));
                y += ROW;
            }
            y += GAP;
        }
        picture.height = (y - GAP + 10).max(LEAST_HEIGHT);
        picture.middle = picture.height / 2;
        picture.gate_height = (rows * 30 + 36).max(104).min(picture.height - 8);
        picture.gate_y = picture.middle - picture.gate_height / 2;
        let step = f64::from(picture.gate_height - 24) / f64::from(rows);
        for (at, (lane, y)) in placed.into_iter().enumerate() {
            let from = f64::from(picture.gate_y) + 12.0 + step * (at as f64 + 0.5);
            picture.lanes.push(lane.at(y, from, all));
        }
        let said: Vec<String> = picture
            .lanes
            .iter()
            .map(|lane| format!("{}: {}", lane.label, lane.note))
            .collect();
        picture.words = said.join("; ");
        picture
    }
}

impl Raw {
    fn at(self, y: u32, from: f64, all: u64) -> Lane {
        let share = self.requests as f64 / all as f64;
        let stroke = LEAST_STROKE + (MOST_STROKE - LEAST_STROKE) * share.sqrt();
        let wall = (self.group == Group::Refused).then_some(WALL);
        let end = wall.unwrap_or(LANE_END);
        let bend = (GATE_RIGHT + end) / 2;
        Lane {
            class: self.group.class(),
            path: format!("M{GATE_RIGHT},{from:.1} C{bend},{from:.1} {bend},{y} {end},{y}"),
            stroke: format!("{stroke:.1}"),
            share: ((share * 100.0).round() as u32).clamp(1, 100),
            label: self.label,
            note: self.note,
            y,
            wall,
        }
    }
}

fn lanes(receipt: &Receipt) -> Vec<Raw> {
    let totals = receipt.totals.without_looking();
    let requests = |n| amount::of(n, "request", "requests");
    let mut lanes = Vec::new();
    if totals.answered_here > 0 {
        lanes.push(Raw {
            group: Group::Stays,
            label: "Answered by Airlock".to_owned(),
            note: requests(totals.answered_here),
            requests: totals.answered_here,
        });
    }
    let is = |line: &HostLine, way: Way| line.way == way.as_str();
    for (way, label) in [(Way::Llm, "Your LLM"), (Way::ComfyUi, "Your ComfyUI")] {
        let lines = receipt.hosts.iter().filter(|line| is(line, way));
        lanes.extend(
            lines
                .take(2)
                .map(|line| of_host(label.to_owned(), line, true)),
        );
    }
    let others: Vec<&HostLine> = receipt
        .hosts
        .iter()
        .filter(|line| is(line, Way::Sent) || is(line, Way::Relayed))
        .collect();
    for line in others.iter().take(MOST_LANES) {
        lanes.push(of_host(clipped(&line.host), line, false));
    }
    let rest = others.get(MOST_LANES..).unwrap_or_default();
    let count = rest.iter().map(|line| line.requests).sum::<u64>() + receipt.more_hosts.requests;
    if count > 0 {
        let left: u64 = rest.iter().map(|line| line.bytes_left_machine).sum();
        lanes.push(Raw {
            group: Group::Leaves,
            label: match (rest.len() as u64, receipt.more_hosts.requests) {
                (n, 0) => format!("and {}", amount::of(n, "more host", "more hosts")),
                (n, _) => format!("and more than {}", amount::of(n, "host", "hosts")),
            },
            note: format!(
                "{}, {} sent",
                requests(count),
                amount::bytes(left.saturating_add(receipt.more_hosts.bytes_left_machine))
            ),
            requests: count,
        });
    }
    if totals.refused > 0 {
        lanes.push(Raw {
            group: Group::Refused,
            label: "Refused".to_owned(),
            note: requests(totals.refused),
            requests: totals.refused,
        });
    }
    lanes
}

fn of_host(label: String, line: &HostLine, named: bool) -> Raw {
    let requests = amount::of(line.requests, "request", "requests");
    let host = match named {
        true => format!("{}, ", clipped(&line.host)),
        false => String::new(),
    };
    Raw {
        group: match line.on_this_machine {
            true => Group::Stays,
            false => Group::Leaves,
        },
        label,
        note: match (line.on_this_machine, line.unreached == line.requests) {
            (true, true) => format!("{host}{requests}, nobody was there"),
            (true, false) => format!("{host}{requests}"),
            (false, _) => format!(
                "{host}{requests}, {} sent",
                amount::bytes(line.bytes_left_machine)
            ),
        },
        requests: line.requests,
    }
}

/// The end of a name tells more than its beginning.
fn clipped(host: &str) -> String {
    let letters = host.chars().count();
    match letters.checked_sub(MOST_LABEL) {
        None | Some(0) => host.to_owned(),
        Some(over) => format!("…{}", host.chars().skip(over + 1).collect::<String>()),
    }
}
