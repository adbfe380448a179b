"""Reads expressions out of dashboards and alert rules, and series out of a metrics dump.

Used by queries.py. No network, no process, standard library only. It does not evaluate PromQL:
it finds the selectors in an expression, which is enough to say whether the series exist.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

# Labels that the scrape adds, and the one that a histogram's buckets carry.
SCRAPE_LABELS = {"job", "instance", "le"}
OURS = re.compile(r"\b(?:airlock|gen_ai|process)_\w+")
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\{((?:[^{}\"]|\"(?:[^\"\\]|\\.)*\")*)\}")
MATCHER = re.compile(r"\s*(\w+)\s*(=~|!~|!=|=)\s*\"((?:[^\"\\]|\\.)*)\"\s*")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
STRING = re.compile(r"\"(?:[^\"\\]|\\.)*\"")
DUMP_LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+\d+)?$")


@dataclass(frozen=True)
class Query:
    """One expression and where it stands. `must_answer` is false for alerts: quiet is their health."""

    where: str
    expr: str
    must_answer: bool


@dataclass(frozen=True)
class Selector:
    metric: str
    matchers: tuple  # of (label, operator, value)

    def text(self):
        inner = ",".join(f'{label}{op}"{value}"' for label, op, value in self.matchers)
        return f"{self.metric}{{{inner}}}"

    def without_scrape_labels(self):
        kept = tuple(m for m in self.matchers if m[0] not in ("job", "instance"))
        return Selector(self.metric, kept)

    def selects(self, labels):
        tests = {
            "=": lambda have, want: have == want,
            "!=": lambda have, want: have != want,
            "=~": lambda have, want: re.fullmatch(want, have) is not None,
            "!~": lambda have, want: re.fullmatch(want, have) is None,
        }
        return all(tests[op](labels.get(label, ""), value) for label, op, value in self.matchers)


def dashboard_queries(path):
    """Every expression of a Grafana dashboard, with Grafana's variables filled in."""
    board = json.loads(Path(path).read_text(encoding="utf-8"))
    name = Path(path).name
    found = []
    for panel in walk_panels(board.get("panels", [])):
        title = panel.get("title", "?")
        if panel.get("type") != "row" and not panel.get("targets"):
            raise ValueError(f"{name}: panel '{title}' has no query")
        for target in panel.get("targets", []):
            where = f"{name}: panel '{title}' {target['refId']}"
            found.append(Query(where, fill(target["expr"]), True))
    for note in board.get("annotations", {}).get("list", []):
        if "expr" in note:
            found.append(Query(f"{name}: annotation '{note['name']}'", fill(note["expr"]), False))
    for variable in board.get("templating", {}).get("list", []):
        if variable.get("type") == "query":
            query = variable["query"]["query"]
            inner = re.fullmatch(r"label_values\((.*),\s*(\w+)\)", query)
            if inner is None:
                raise ValueError(f"{name}: variable '{variable['name']}' is no label_values(): {query}")
            where = f"{name}: variable '{variable['name']}'"
            found.append(Query(where, f"count by ({inner[2]}) ({fill(inner[1])})", True))
    return found


def walk_panels(panels):
    for panel in panels:
        yield panel
        yield from walk_panels(panel.get("panels", []))


def fill(expr):
    """Grafana's variables, as they stand for one instance and a short range."""
    for variable, value in (
        ("$__rate_interval", "30s"),
        ("$__interval", "5s"),
        ("$__range", "30s"),
        ("$instance", ".+"),
    ):
        expr = expr.replace(variable, value)
    if "$" in STRING.sub("", expr):
        raise ValueError(f"a Grafana variable that this test does not know: {expr}")
    return expr


def alert_queries(path):
    """Every `expr` of a rule file. Reads only the YAML that the rule file uses: one line or `|`."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    found, name, index = [], None, 0
    while index < len(lines):
        line = lines[index]
        index += 1
        alert = re.match(r"\s*- alert:\s*(\S+)", line)
        if alert:
            name = alert[1]
        expr = re.match(r"(\s*)expr:\s*(.*)$", line)
        if not expr:
            continue
        text = expr[2].strip()
        if text in ("|", "|-", ">", ">-"):
            block = []
            while index < len(lines) and (
                not lines[index].strip() or len(lines[index]) - len(lines[index].lstrip()) > len(expr[1])
            ):
                block.append(lines[index].strip())
                index += 1
            text = " ".join(block)
        found.append(Query(f"{Path(path).name}: alert '{name}'", text.strip(), False))
    return found


def selectors(expr):
    """Selectors of an expression. One of our metrics without braces is an error: it would see every job."""
    found = []
    for metric, inner in SELECTOR.findall(expr):
        matchers, at = [], 0
        while at < len(inner):
            match = MATCHER.match(inner, at)
            if match is None:
                raise ValueError(f"cannot read the selector {metric}{{{inner}}}")
            matchers.append((match[1], match[2], match[3]))
            at = match.end()
            if at < len(inner) and inner[at] == ",":
                at += 1
        found.append(Selector(metric, tuple(matchers)))
    rest = GROUPING.sub("", STRING.sub('""', SELECTOR.sub("", expr)))
    bare = OURS.findall(rest)
    if bare:
        raise ValueError(f"write {bare[0]}{{job=\"airlock\"}}, not the bare name, in: {expr}")
    return found


def grouping_labels(expr):
    """Labels named in by(), on() and their kin."""
    names = set()
    for inner in GROUPING.findall(STRING.sub('""', expr)):
        names |= {n.strip() for n in inner.split(",") if n.strip()}
    return names


def dump_series(text):
    """(name, labels, value) of each sample of a Prometheus text dump."""
    found = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = DUMP_LINE.match(line)
        if match is None:
            raise ValueError(f"not a line of a metrics dump: {line!r}")
        labels = {k: v for k, _, v in MATCHER.findall(match[2] or "")}
        found.append((match[1], labels, float(match[3])))
    return found


def with_counters_at_zero(text):
    """The dump as a process that has just started would show it: `rate()` then sees the demo's work."""
    kinds, lines = {}, []
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(maxsplit=3)
            kinds[name] = kind.strip()
        match = None if line.startswith("#") else DUMP_LINE.match(line)
        if match:
            name = match[1]
            family = re.sub(r"_(?:bucket|sum|count)$", "", name)
            if kinds.get(name) == "counter" or kinds.get(family) == "histogram":
                line = line[: match.start(3)] + "0"
        lines.append(line)
    return "\n".join(lines) + "\n"


def documented_metrics(path):
    """Metric name -> set of labels, from the tables of docs/METRICS.md."""
    found = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        row = re.match(r"\| `(\w+)` \| (\w+) \| ([^|]*) \|", line)
        if row:
            labels = set(re.findall(r"`(\w+)`", row[3]))
            suffixes = ("_bucket", "_sum", "_count") if row[2] == "histogram" else ("",)
            for suffix in suffixes:
                found[row[1] + suffix] = labels
    return found


def documented_reasons(path):
    """Reason codes from the table of docs/DENIALS.md."""
    text = Path(path).read_text(encoding="utf-8")
    return set(re.findall(r"^\| `(\w+)` \| \d{3} \|", text, re.MULTILINE))
