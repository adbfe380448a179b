#!/usr/bin/env python3
"""Line coverage of what decides: `just coverage` (needs `cargo install cargo-llvm-cov cargo-nextest`
and `rustup component add llvm-tools`).

Runs the unit tests, the vectors and the fuzz corpora, counts product lines only (not the test modules
that stand in the same files), and fails below 96 of 100 lines in any group.

    coverage.py [--verbose]
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEAST = 96.0

GROUPS = {
    "net": ["src/net/"],
    "policy": ["src/policy/"],
    "token": ["src/token/"],
    "heads and chunks": ["src/listener/head.rs", "src/listener/chunks.rs", "src/listener/judge.rs"],
    "client hello": ["src/tls/client_hello"],
    "mcp": ["src/mcp/"],
    "llm": ["src/llm/"],
}

# Whatever runs in this process; a started `airlock` would write its profile elsewhere.
TESTS = "kind(lib) + test(fuzz::) + (test(vectors::) - test(vectors::wire))"


def measured(report):
    command = [ROOT / "run", "cargo", "llvm-cov", "nextest", "--lcov", "--output-path", report]
    command += ["--lib", "--test", "it", "-E", TESTS]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "CARGO_INCREMENTAL": "0"})
    lines = {}
    file = None
    for line in Path(report).read_text().splitlines():
        if line.startswith("SF:"):
            name = line[3:]
            file = os.path.relpath(name, ROOT)
        elif line.startswith("DA:"):
            number, hits = line[3:].split(",")[:2]
            lines.setdefault(file, {})[int(number)] = int(hits)
    return lines


def first_test_line(path):
    """Test modules stand last in a file."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if re.match(r"#\[cfg\(test\)\]", line):
            return number
    return sys.maxsize


def main():
    verbose = "--verbose" in sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        lines = measured(os.path.join(folder, "lcov.info"))
    short = False
    for group, prefixes in GROUPS.items():
        count = covered = 0
        for file, hits in sorted(lines.items()):
            if not file.startswith(tuple(prefixes)) or re.search(r"test(s|ing)?(\.rs|/)|_tests\.rs", file):
                continue
            end = first_test_line(ROOT / file)
            product = {number: n for number, n in hits.items() if number < end}
            missed = sorted(number for number, n in product.items() if n == 0)
            count += len(product)
            covered += len(product) - len(missed)
            if verbose and missed:
                print(f"{file}: {', '.join(map(str, missed))}")
        share = 100 * covered / count if count else 0.0
        short = short or share < LEAST
        print(f"{group:18} {covered:5} of {count:5} lines  {share:5.1f} %")
    sys.exit(1 if short else 0)


if __name__ == "__main__":
    main()
