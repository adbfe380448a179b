#!/usr/bin/env python3
"""Answers every query of the dashboards and alerts from metrics that Airlock really emitted.

    airlock demo --metrics-file demo.prom
    tests/deploy/queries.py --metrics demo.prom --strict

What it checks:
 1. each metric and label in an expression stands in docs/METRICS.md, each reason in docs/DENIALS.md;
 2. each selector finds a series in the dump, or stands in MAY_BE_EMPTY below with the reason;
 3. a real Prometheus with the shipped configuration takes the dump, every dashboard query returns
    at least one number, every alert rule is evaluated without an error and none is active;
 4. `promtool test rules` passes.
Without Prometheus (Debian: `apt install prometheus`) 3 and 4 are left out and the output says so;
with --strict that is a failure.

Exit code: 0 all answered, 1 something is wrong, 2 wrong usage.
"""

import argparse
import math
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import promql
from prometheus import Prometheus

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/prometheus"
DASHBOARDS = ROOT / "deploy/grafana/dashboards"

# Selectors that a demo in which all is well leaves empty, and why. The queries around them still
# answer (with zero); the names, labels and reasons in them are still checked against the documents.
MAY_BE_EMPTY = {
    'airlock_decisions_total{reason="internal"}': "no fault of our own in a healthy demo",
    'airlock_broken_off_total{reason="internal"}': "no fault of our own in a healthy demo",
    'airlock_decisions_total{reason="overloaded"}': "a demo reaches no bound",
    'airlock_decisions_total{action=~"forward|tunnel"}': "the demo lets nothing through",
    'airlock_upstream_sockets_total{class="public",outcome="ok"}': "nothing leaves the machine",
    "airlock_dns_queries_total{}": "the demo's LLM is reached by address",
    "airlock_standin_drift_total{}": "the demo plays what the stand-ins know",
    "airlock_llm_upstream_errors_total{}": "no LLM call fails in a healthy demo",
    'gen_ai_client_operation_duration_seconds_count{error_type!=""}': "no LLM call fails in a healthy demo",
}


def check_names(queries, metrics, reasons):
    """Problems with names, labels and reasons, against the documents."""
    problems = []
    for query in queries:
        try:
            found = promql.selectors(query.expr)
        except ValueError as error:
            problems.append(f"{query.where}: {error}")
            continue
        if not found:
            problems.append(f"{query.where}: no metric in {query.expr}")
        known = set(promql.SCRAPE_LABELS)
        for selector in found:
            if selector.metric == "up":
                continue
            if selector.metric not in metrics:
                problems.append(f"{query.where}: {selector.metric} is not in docs/METRICS.md")
                continue
            labels = metrics[selector.metric] | promql.SCRAPE_LABELS
            known |= labels
            for label, op, value in selector.matchers:
                if label not in labels:
                    problems.append(f"{query.where}: {selector.metric} has no label {label}")
                if label == "reason" and op == "=" and value not in reasons:
                    problems.append(f"{query.where}: the reason {value} is not in docs/DENIALS.md")
        for label in promql.grouping_labels(query.expr) - known:
            problems.append(f"{query.where}: no metric in it has the label {label}")
    return problems


def check_series(queries, series):
    """Selectors that find nothing in the dump and have no excuse; and excuses that nothing uses."""
    problems, used = [], set()
    for query in queries:
        for selector in promql.selectors(query.expr):
            if selector.metric == "up":
                continue
            plain = selector.without_scrape_labels()
            used.add(plain.text())
            if any(name == plain.metric and plain.selects(labels) for name, labels, _ in series):
                continue
            if plain.text() not in MAY_BE_EMPTY:
                problems.append(f"{query.where}: nothing in the dump for {plain.text()}")
    for text in sorted(set(MAY_BE_EMPTY) - used):
        problems.append(f"MAY_BE_EMPTY holds {text}, which no query uses any more: remove it")
    return problems


def check_answers(prometheus, queries, verbose):
    """Problems that a real Prometheus has with the queries and the alert rules."""
    problems = []
    for query in queries:
        try:
            values = prometheus.query(query.expr)
        except ValueError as error:
            problems.append(f"{query.where}: prometheus refuses it: {error}")
            continue
        if query.must_answer and not any(math.isfinite(v) for v in values):
            problems.append(f"{query.where}: no number comes back ({len(values)} samples): {query.expr}")
        elif verbose:
            print(f"  {len(values):3d} samples  {query.where}")
    rules = prometheus.alerts()
    for name, health, error, state in rules:
        if health != "ok":
            problems.append(f"alerts.yaml: alert '{name}' is {health}: {error}")
        if state != "inactive":
            problems.append(f"alerts.yaml: alert '{name}' is {state} on the metrics of a healthy demo")
    expected = sum(1 for q in queries if q.where.startswith("alerts.yaml"))
    if len(rules) != expected:
        problems.append(f"prometheus loaded {len(rules)} alert rules, this test read {expected}")
    return problems


def check_rule_tests(promtool):
    done = subprocess.run(
        [promtool, "test", "rules", str(RULES / "alerts.test.yaml")], capture_output=True, text=True
    )
    return [] if done.returncode == 0 else [f"promtool test rules: {done.stdout}{done.stderr}".strip()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metrics", required=True, type=Path, help="a /metrics dump of a finished demo run")
    parser.add_argument("--prometheus", default=shutil.which("prometheus"), help="the prometheus binary")
    parser.add_argument("--promtool", default=shutil.which("promtool"), help="the promtool binary")
    parser.add_argument("--strict", action="store_true", help="fail where Prometheus or promtool is missing")
    parser.add_argument("--verbose", action="store_true", help="one line per query")
    arguments = parser.parse_args()
    if not arguments.metrics.is_file():
        parser.error(f"no such file: {arguments.metrics} (write it with `airlock demo --metrics-file`)")

    text = arguments.metrics.read_text(encoding="utf-8")
    queries = promql.alert_queries(RULES / "alerts.yaml")
    boards = sorted(DASHBOARDS.glob("*.json"))
    for board in boards:
        queries += promql.dashboard_queries(board)

    problems = check_names(
        queries,
        promql.documented_metrics(ROOT / "docs/METRICS.md"),
        promql.documented_reasons(ROOT / "docs/DENIALS.md"),
    )
    left_out = []
    if not problems:
        problems += check_series(queries, promql.dump_series(text))
        if arguments.prometheus:
            with Prometheus(arguments.prometheus, RULES, text) as prometheus:
                problems += check_answers(prometheus, queries, arguments.verbose)
        else:
            left_out.append("prometheus is not installed: names and series were checked, no query was run")
        if arguments.promtool:
            problems += check_rule_tests(arguments.promtool)
        else:
            left_out.append("promtool is not installed: the alert rules' own tests were not run")

    for problem in problems:
        print(f"FAIL {problem}")
    for remark in left_out:
        print(f"{'FAIL' if arguments.strict else 'WEAKER'} {remark}")
    failed = bool(problems) or (arguments.strict and bool(left_out))
    print(f"{len(queries)} queries of {len(boards)} dashboard(s) and the alert rules: {'failed' if failed else 'answered'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
