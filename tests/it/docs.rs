//! The pages that list codes and names must list them all, and nothing that is gone.

use std::collections::{BTreeMap, BTreeSet};

use airlock::policy::Reason;

const METRICS_SOURCE: &str = concat!(
    include_str!("../../src/metrics/mod.rs"),
    include_str!("../../src/metrics/limit.rs"),
    include_str!("../../src/metrics/page.rs"),
    include_str!("../../src/metrics/models.rs"),
    include_str!("../../src/metrics/comfyui.rs"),
);
const METRICS_PAGE: &str = include_str!("../../docs/METRICS.md");
const DENIALS_PAGE: &str = include_str!("../../docs/DENIALS.md");

/// The cells of each table row whose first cell is one name in backticks.
fn rows(page: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    page.lines().filter_map(|line| {
        let inner = line.strip_prefix("| `")?.strip_suffix(" |")?;
        let (name, rest) = inner.split_once("` | ")?;
        Some((name, rest.split(" | ").map(str::trim).collect()))
    })
}

fn backticked(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Name to type and labels, as `Metrics::new` registers them.
fn registered() -> BTreeMap<String, (&'static str, BTreeSet<String>)> {
    let mut found = BTreeMap::new();
    let kinds = [
        ("r.counters(", "counter"),
        ("r.counter(", "counter"),
        ("r.gauges(", "gauge"),
        ("r.gauge(", "gauge"),
        ("r.histograms(", "histogram"),
        ("r.histogram(", "histogram"),
    ];
    for (call, kind) in kinds {
        for after in METRICS_SOURCE.split(call).skip(1) {
            let mut strings = after.splitn(3, '"').skip(1);
            let name = strings.next().expect("a registration begins with a name");
            let rest = strings.next().unwrap_or_default();
            let labels = match call.ends_with("s(") {
                // The slice of labels is the first one after the help text.
                true => {
                    let slice = rest.split_once("&[").expect("a vector has labels").1;
                    let slice = slice.split_once(']').expect("a slice ends").0;
                    slice
                        .split('"')
                        .skip(1)
                        .step_by(2)
                        .map(str::to_owned)
                        .collect()
                }
                false => BTreeSet::new(),
            };
            found.insert(name.to_owned(), (kind, labels));
        }
    }
    found
}

#[test]
fn the_metrics_page_lists_every_metric_with_its_type_and_labels() {
    let registered = registered();
    assert!(
        registered.len() > 20,
        "found only {} metrics in the source",
        registered.len()
    );
    let documented: BTreeMap<_, _> = rows(METRICS_PAGE)
        .filter(|(_, cells)| {
            cells.len() == 3 && ["counter", "gauge", "histogram"].contains(&cells[0])
        })
        .map(|(name, cells)| (name.to_owned(), (cells[0], backticked(cells[1]))))
        .collect();
    for (name, (kind, labels)) in &registered {
        let Some((page_kind, page_labels)) = documented.get(name) else {
            panic!("docs/METRICS.md does not list {name}");
        };
        assert_eq!(
            (page_kind, page_labels),
            (kind, labels),
            "docs/METRICS.md on {name}"
        );
    }
    for name in documented.keys() {
        assert!(
            registered.contains_key(name),
            "docs/METRICS.md lists {name}, which is gone"
        );
    }
}

#[test]
fn the_denials_page_lists_every_reason_with_its_status_and_a_way_out() {
    let documented: BTreeMap<_, _> = rows(DENIALS_PAGE).collect();
    for reason in Reason::ALL {
        let Some(cells) = documented.get(reason.code()) else {
            panic!("docs/DENIALS.md does not list {reason}");
        };
        assert_eq!(
            cells[0],
            reason.status().to_string(),
            "docs/DENIALS.md on {reason}"
        );
        let has_a_way_out = cells.len() == 3 && !cells[2].is_empty();
        assert!(
            has_a_way_out || *reason == Reason::RuleAllows,
            "{reason}: say what to do"
        );
    }
    for code in documented.keys() {
        assert!(
            Reason::ALL.iter().any(|r| r.code() == *code),
            "docs/DENIALS.md lists {code}, which is gone"
        );
    }
}
