//! What a round found: for machines as JSON, for a person as a table.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{case::Case, lane::Lane};

/// `airlock selftest --json` prints exactly this, without the fields that are skipped.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Every case ended as it should.
    pub ok: bool,
    /// Cases that were not refused, dialled, or asked a name server.
    pub escapes: usize,
    /// Groups with at least one case.
    pub groups: usize,
    pub cases: usize,
    pub entries: BTreeMap<&'static str, Tally>,
    /// Escapes, and cases that ended in another way than they should.
    pub failed: Vec<Failure>,
    /// Not played: nobody comes in there without a key, so that a refusal would say nothing. Cases by
    /// entry.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub wants_key: BTreeMap<&'static str, usize>,
    #[serde(skip)]
    pub table: BTreeMap<(u8, Lane), Tally>,
    /// Not played: their listener is off, or the rules would let them out.
    #[serde(skip)]
    pub skipped: usize,
    /// What a person should know of this round.
    #[serde(skip)]
    pub notes: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub cases: usize,
    pub escapes: usize,
    #[serde(skip)]
    pub wrong: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    pub group: u8,
    pub entry: &'static str,
    pub case: String,
    pub escape: bool,
    /// What was expected, and what came.
    pub detail: String,
}

impl Failure {
    pub fn new(case: &Case, escape: bool, detail: String) -> Self {
        Self {
            group: case.group,
            entry: case.lane.as_str(),
            case: case.sentence.clone(),
            escape,
            detail,
        }
    }
}

impl Report {
    pub fn of(played: &[Case], failed: Vec<Failure>, skipped: usize, notes: Vec<String>) -> Self {
        let mut table: BTreeMap<(u8, Lane), Tally> = BTreeMap::new();
        for case in played {
            table.entry((case.group, case.lane)).or_default().cases += 1;
        }
        for failure in &failed {
            let lane = Lane::ALL.into_iter().find(|l| l.as_str() == failure.entry);
            if let Some(tally) = lane.and_then(|lane| table.get_mut(&(failure.group, lane))) {
                tally.escapes += usize::from(failure.escape);
                tally.wrong += usize::from(!failure.escape);
            }
        }
        let mut entries: BTreeMap<&'static str, Tally> = BTreeMap::new();
        for ((_, lane), tally) in &table {
            let entry = entries.entry(lane.as_str()).or_default();
            entry.cases += tally.cases;
            entry.escapes += tally.escapes;
            entry.wrong += tally.wrong;
        }
        let groups: BTreeSet<u8> = table.keys().map(|(group, _)| *group).collect();
        Self {
            ok: failed.is_empty() && !played.is_empty(),
            escapes: failed.iter().filter(|f| f.escape).count(),
            groups: groups.len(),
            cases: played.len(),
            entries,
            failed,
            wants_key: BTreeMap::new(),
            table,
            skipped,
            notes,
        }
    }
}
