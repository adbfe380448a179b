//! The one sentence that answers "did anything leave?", and the one behind it.

use serde::{Deserialize, Serialize};

use super::{
    amount,
    event::Way,
    receipt::{Around, HostLine, MoreHosts, Totals},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing has come by.
    Quiet,
    /// Not one byte went to another machine.
    NothingLeft,
    /// To the user's own machines alone.
    OwnOnly,
    /// To hosts that rules allow.
    Allowed,
    /// Report mode let something through that would have been refused.
    Watched,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headline {
    pub verdict: Verdict,
    pub words: String,
    pub more: String,
}

pub fn of(
    totals: &Totals,
    hosts: &[HostLine],
    beyond: &MoreHosts,
    around: &Around<'_>,
) -> Headline {
    let left = |line: &&HostLine| line.bytes_left_machine > 0;
    let is = |line: &HostLine, way: Way| line.way == way.as_str();
    let own = |line: &&HostLine| is(line, Way::Llm) || is(line, Way::ComfyUi);
    let contacted = hosts.iter().filter(left).filter(|line| !own(line)).count() as u64;
    let own_names: Vec<&str> = hosts
        .iter()
        .filter(left)
        .filter(own)
        .map(|line| line.host.as_str())
        .collect();
    let verdict = match () {
        () if totals.requests == 0 => Verdict::Quiet,
        () if totals.would_be_refused > 0 => Verdict::Watched,
        () if contacted > 0 || beyond.bytes_left_machine > 0 => Verdict::Allowed,
        () if !own_names.is_empty() => Verdict::OwnOnly,
        // Sent, and then refused half way, or by a host that has no line of its own.
        () if totals.bytes_left_machine > 0 => Verdict::Allowed,
        () => Verdict::NothingLeft,
    };
    let words = match verdict {
        Verdict::Quiet => "Nothing has come by yet".to_owned(),
        Verdict::NothingLeft => "Nothing left this machine".to_owned(),
        Verdict::OwnOnly => "Only your own machines were contacted".to_owned(),
        Verdict::Allowed if beyond.bytes_left_machine > 0 => format!(
            "More than {} were contacted, because you allowed them",
            amount::of(contacted, "host", "hosts")
        ),
        Verdict::Allowed if contacted == 0 => format!(
            "{} left before a request was stopped",
            amount::bytes(totals.bytes_left_machine)
        ),
        Verdict::Allowed => match contacted {
            1 => "1 host was contacted, because you allowed it".to_owned(),
            n => format!(
                "{} hosts were contacted, because you allowed them",
                amount::count(n)
            ),
        },
        Verdict::Watched => format!(
            "{} went through that you did not allow",
            amount::of(totals.would_be_refused, "request", "requests")
        ),
    };
    Headline {
        verdict,
        words,
        more: more(verdict, totals, &own_names, around),
    }
}

fn more(verdict: Verdict, totals: &Totals, own: &[&str], around: &Around<'_>) -> String {
    let mut said = Vec::new();
    match verdict {
        Verdict::Quiet => {
            return "As soon as ComfyUI, its plugin or your browser asks for something, it stands here."
                .to_owned();
        }
        Verdict::Watched => said.push(
            "The mode is report: Airlock writes down what it would refuse, and lets it through."
                .to_owned(),
        ),
        Verdict::NothingLeft | Verdict::OwnOnly | Verdict::Allowed => {}
    }
    if totals.bytes_left_machine > 0 {
        let bytes = amount::bytes(totals.bytes_left_machine);
        said.push(match own {
            [] => format!("{bytes} went to other machines."),
            [one] if verdict == Verdict::OwnOnly => {
                format!("{bytes} went to {one}, which is yours.")
            }
            _ if verdict == Verdict::OwnOnly => format!("{bytes} went to machines of yours."),
            _ => format!("{bytes} went to other machines, some of them yours."),
        });
    }
    let here = totals
        .answered_here
        .saturating_add(totals.your_llm)
        .saturating_add(totals.your_comfyui);
    let stayed = match (here, totals.refused) {
        (0, 0) => None,
        (0, refused) => Some(format!(
            "{} refused.",
            amount::of(refused, "request was", "requests were")
        )),
        (here, 0) => Some(format!(
            "{} answered by what is yours, and nothing was refused.",
            amount::of(here, "request was", "requests were")
        )),
        (here, refused) => Some(format!(
            "{} answered by what is yours, and {} refused.",
            amount::of(here, "request was", "requests were"),
            match refused {
                1 => "1 was".to_owned(),
                n => format!("{} were", amount::count(n)),
            }
        )),
    };
    said.extend(stayed);
    if around.lockdown != "off" {
        said.push("The kill switch is on.".to_owned());
    }
    said.join(" ")
}
