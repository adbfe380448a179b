"""python3 -m unittest discover -s tests/deploy: the reader that queries.py relies on."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import promql
import queries

METRICS = {"airlock_requests_total": {"entry", "status"}}
REASONS = {"internal"}
DUMP = """\
# TYPE airlock_requests_total counter
airlock_requests_total{entry="explicit",status="200"} 7
# TYPE airlock_ready gauge
airlock_ready 1
# TYPE t_seconds histogram
t_seconds_bucket{le="0.1"} 3
t_seconds_sum 0.2
t_seconds_count 3
"""


def names(expr):
    return queries.check_names([promql.Query("here", expr, True)], METRICS, REASONS)


def series(expr):
    problems = queries.check_series([promql.Query("here", expr, True)], promql.dump_series(DUMP))
    return [p for p in problems if p.startswith("here")]


class Reader(unittest.TestCase):
    def test_a_good_expression_has_no_problems(self):
        expr = 'sum by (entry) (rate(airlock_requests_total{job="airlock",status=~"2.."}[1m]))'
        self.assertEqual((names(expr), series(expr)), ([], []))

    def test_mistakes_in_names_are_found(self):
        rows = [
            ("an unknown metric", 'airlock_request_total{job="airlock"}', "not in docs/METRICS.md"),
            ("an unknown label", 'airlock_requests_total{rule="x"}', "has no label rule"),
            ("an unknown grouping", 'sum by (rule) (airlock_requests_total{job="airlock"})', "has the label rule"),
            ("a bare name", "sum(airlock_requests_total)", "not the bare name"),
            ("no metric at all", "vector(1)", "no metric"),
        ]
        for name, expr, words in rows:
            with self.subTest(name):
                self.assertTrue(any(words in p for p in names(expr)), names(expr))

    def test_a_reason_that_does_not_exist_is_found(self):
        known = {"airlock_decisions_total": {"reason"}}
        query = promql.Query("here", 'airlock_decisions_total{reason="no_such"}', True)
        self.assertIn("no_such", queries.check_names([query], known, REASONS)[0])

    def test_a_label_value_that_never_occurs_is_found(self):
        self.assertIn("nothing in the dump", series('airlock_requests_total{status="299"}')[0])

    def test_matchers_select_as_prometheus_does(self):
        rows = [
            ('x{a="1"}', {"a": "1"}, True),
            ('x{a!="1"}', {}, True),
            ('x{a=~"1|2"}', {"a": "12"}, False),
            ('x{a!~"local|llm"}', {"a": "rule"}, True),
            ('x{a=""}', {}, True),
        ]
        for expr, labels, expected in rows:
            with self.subTest(expr):
                self.assertEqual(promql.selectors(expr)[0].selects(labels), expected)

    def test_counters_and_histograms_start_at_zero_and_gauges_do_not(self):
        values = {name: value for name, _, value in promql.dump_series(promql.with_counters_at_zero(DUMP))}
        self.assertEqual(
            values,
            {
                "airlock_requests_total": 0,
                "airlock_ready": 1,
                "t_seconds_bucket": 0,
                "t_seconds_sum": 0,
                "t_seconds_count": 0,
            },
        )

    def test_every_alert_of_the_shipped_file_is_read_whole(self):
        found = promql.alert_queries(queries.RULES / "alerts.yaml")
        self.assertGreater(len(found), 10)
        for query in found:
            self.assertEqual(query.expr.count("("), query.expr.count(")"), query.where)


if __name__ == "__main__":
    unittest.main()
