#!/usr/bin/env python3
"""Mutation tests of the pure core: `just mutants` (needs `cargo install cargo-mutants`).

A mutant of the whole crate takes a minute to build. What decides has no IO and imports nothing higher, so
this copies it into a workspace of its own below the target folder, a crate for each group with the unit
tests of that group alone, and runs cargo-mutants there: about three seconds for a mutant.

    mutants.py [GROUP ...] [--slice SECONDS] [--wrap 'COMMAND ...'] [-- ARGUMENTS OF CARGO-MUTANTS]

A run goes in parts of some minutes and keeps what it found: interrupted, or after its `--slice` (exit
code 3), it goes on where it was while nothing of the group has changed. `--again` keeps what was caught where
only tests changed, which is right after tests were added. `--wrap` is put before the cargo-mutants of each part.
Exit code 0 when in every group at least 95 of 100 mutants that compile are caught.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEAST = 95.0
PART = 60
MISSED = "MissedMutant"

# Of each group: what is copied and mutated, and the groups that it stands on.
GROUPS = {
    "token": (["src/token"], []),
    "net": (["src/net"], []),
    "policy": (["src/policy"], ["net"]),
    "edge": (
        [
            *("src/listener/head.rs", "src/listener/head", "src/listener/chunks.rs", "src/listener/chunks"),
            *("src/tls/client_hello.rs", "src/tls/client_hello"),
            "src/proxy/carries.rs",
        ],
        ["net", "policy"],
    ),
}

# What the tests read.
DATA = {
    "token": ["config/.env.template", "tests/fixtures/vendor/wycheproof/hmac_sha256_test.json"],
    "net": [],
    "policy": [],
    "edge": [],
}

# Mutants that no test can tell from the original, with the reason. A pattern is looked for in the name that
# cargo-mutants prints. Keep it short: most survivors want a test, or are code that is not needed.
SAME = [
    # Filters before a closer look, which spare work and decide nothing.
    (r"replace first_bytes -> \[bool; 256\] with \[true; 256\]", "each byte is looked at then"),
    (r"replace Detector::suspects -> bool with true", "each head is copied then"),
    # A name has more letters than dots: the bound on look-ups is wider then, and the same rules are found.
    (r"replace == with != in HostIndex::build", "more suffixes are looked up, none of them is a key"),
]

DEPENDENCIES = (
    "base64", "bytes", "hashbrown", "hmac", "http", "idna", "ipnet", "memchr", "percent-encoding", "rustls",
    "serde", "serde_json", "sha2", "thiserror", "time", "tokio", "uuid", "zeroize",
)  # fmt: skip

# Tests that take a second, and what they are for: other files are tried without them.
APART = {"policy/src/policy/learn/": "policy::learn::"}

# The root of each crate, with what stands in for the rest of Airlock.
ROOTS = {
    "token": "pub mod token;\n",
    "net": "pub mod net;\n",
    "policy": "pub use airlock_net::net;\npub mod policy;\n",
    "edge": """\
pub use airlock_net::net;
pub use airlock_policy::policy;
pub mod config {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Secret<T>(T);
    impl<T> Secret<T> {
        pub fn new(value: T) -> Self {
            Self(value)
        }
        pub fn expose(&self) -> &T {
            &self.0
        }
    }
}
pub mod listener {
    pub mod chunks;
    pub mod head;
}
pub mod proxy {
    mod carries;
    pub use carries::Carries;
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Framing {
        Nothing,
        Length(u64),
        Chunked,
    }
    #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
    pub enum ChunkFault {
        #[error("{0}")]
        Malformed(&'static str),
        #[error("{0}")]
        Ambiguous(&'static str),
    }
}
pub mod tls {
    pub mod client_hello;
    #[cfg(test)]
    mod testing {
        use std::sync::Arc;
        /// A client that trusts nobody.
        pub fn client(_roots: &[()]) -> Arc<rustls::ClientConfig> {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            Arc::new(config)
        }
    }
}
""",
}

WORKSPACE = """\
[workspace]
resolver = "2"
members = [{members}]
[profile.dev]
# Line numbers are of no use here, and half of the build.
debug = false
[profile.dev.package."*"]
opt-level = 1
"""

CRATE = """\
[package]
name = "airlock-{group}"
version = "0.0.0"
edition = "2024"
[lib]
doctest = false
[dependencies]
{dependencies}
"""


def target_dir():
    base = os.environ.get("CARGO_TARGET_DIR")
    return (Path(base) if base else ROOT / "target") / "mutants"


def dependency_lines():
    text = (ROOT / "Cargo.toml").read_text()
    dependencies = text.split("[dependencies]")[1].split("\n[")[0]
    found = {name: line for line, name in re.findall(r"^(([A-Za-z0-9_-]+) = .*)$", dependencies, re.M)}
    return [found[name] for name in DEPENDENCIES]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_crates(home):
    members = ", ".join(f'"{group}"' for group in GROUPS)
    write(home / "Cargo.toml", WORKSPACE.format(members=members))
    shutil.copy(ROOT / "Cargo.lock", home)
    for group, (sources, below) in GROUPS.items():
        crate = home / group
        shutil.rmtree(crate, ignore_errors=True)
        lines = dependency_lines() + [f'airlock-{other} = {{ path = "../{other}" }}' for other in below]
        write(crate / "Cargo.toml", CRATE.format(group=group, dependencies="\n".join(lines)))
        write(crate / "src/lib.rs", ROOTS[group])
        for source in [*sources, *DATA[group]]:
            to = crate / source
            to.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, to)
            elif (ROOT / source).exists():
                shutil.copy(ROOT / source, to)


def fingerprint(crate):
    """Of all that a group's results follow from, its own crate alone."""
    digest = hashlib.sha256((ROOT / "Cargo.lock").read_bytes())
    for path in sorted(path for path in crate.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(crate)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def code_of(path):
    """Of a file without the tests at its end."""
    code = path.read_text().split("#[cfg(test)]\nmod ")[0]
    return hashlib.sha256(code.encode()).hexdigest()


def mutants_of(home, group, more):
    """Names of the mutants of a group, by file."""
    command = ["cargo", "mutants", "--list", "--json", *more, *common(home, group)]
    listed = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    found = {}
    for mutant in json.loads(listed):
        found.setdefault(mutant["file"], []).append(mutant["name"])
    return found


def common(home, group):
    command = ["--dir", home / group, "--package", f"airlock-{group}", "--colors", "never"]
    return command + [part for pattern, _ in SAME for part in ("--exclude-re", pattern)]


class OutOfTime(Exception):
    pass


def run(home, group, chosen, more, until):
    """Name of each mutant of a group, and what became of it."""
    kept = home / "results" / f"{group}.json"
    todo = mutants_of(home, group, more)
    code = {str(path.relative_to(home)): code_of(path) for path in sorted((home / group).rglob("*.rs"))}
    results = {"key": fingerprint(home / group), "code": code, "outcomes": {}}
    if kept.exists():
        old = json.loads(kept.read_text())
        for name, outcome in old["outcomes"].items():
            file = name.split(":")[0]
            unchanged = file in code and old["code"].get(file) == code[file]
            if old["key"] == results["key"] or chosen.again and unchanged and outcome != MISSED:
                results["outcomes"][name] = outcome
    left = {}
    for file, names in todo.items():
        named = [(file, name) for name in names if name not in results["outcomes"]]
        left.setdefault(tests_for(file), []).extend(named)
    for tests, mutants in left.items():
        for at in range(0, len(mutants), PART):
            if time.monotonic() > until:
                raise OutOfTime
            results["outcomes"] |= run_part(home, group, tests, mutants[at : at + PART], chosen.wrap)
            write(kept, json.dumps(results, indent=1))
    return {name: results["outcomes"][name] for names in todo.values() for name in names}


def tests_for(file):
    """Arguments of `cargo test`."""
    for folder, tests in APART.items():
        if file.startswith(folder):
            return ("--lib", tests)
    return ("--lib", "--", *(part for tests in APART.values() for part in ("--skip", tests)))


def run_part(home, group, tests, mutants, wrap):
    out = home / "results" / group
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    names = [name for _, name in mutants]
    # Each part runs the tests on the original first: where they fail, every mutant would seem to be caught.
    command = [*wrap, "cargo", "mutants", "--in-place", "--timeout", "30", "--no-shuffle", *common(home, group)]
    for file in dict.fromkeys(file for file, _ in mutants):
        command += ["--file", file]
    command += ["--re", "^(" + "|".join(map(re.escape, names)) + ")$", "--output", out, "--", *tests]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(home / "target")}
    status = subprocess.run(command, env=environment, check=False).returncode
    # 2: some were missed; 3: some ran into the timeout, which is caught.
    if status not in (0, 2, 3):
        sys.exit(f"cargo mutants ended with {status}")
    outcomes = json.loads((out / "mutants.out/outcomes.json").read_text())["outcomes"]
    found = {o["scenario"]["Mutant"]["name"]: o["summary"] for o in outcomes if o["scenario"] != "Baseline"}
    # Some kinds of mutants are tried whatever `--re` says.
    if missing := set(names) - set(found):
        sys.exit(f"cargo mutants did not try {sorted(missing)}")
    return {name: found[name] for name in names}


def main():
    arguments, more = sys.argv[1:], []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, more = arguments[:at], arguments[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--slice", type=float, default=float("inf"), metavar="SECONDS")
    parser.add_argument("--wrap", type=shlex.split, default=[], metavar="'COMMAND ...'")
    parser.add_argument("--again", action="store_true")
    chosen = parser.parse_args(arguments)
    if unknown := [group for group in chosen.groups if group not in GROUPS]:
        sys.exit(f"no group {unknown}: choose from {', '.join(GROUPS)}")
    groups = chosen.groups or list(GROUPS)
    until = time.monotonic() + chosen.slice
    home = target_dir()
    write_crates(home)
    enough = True
    try:
        for group in groups:
            results = run(home, group, chosen, more, until)
            caught = sum(outcome in ("CaughtMutant", "Timeout") for outcome in results.values())
            missed = [name for name, outcome in results.items() if outcome == MISSED]
            tried = caught + len(missed)
            share = 100 * caught / tried if tried else 100.0
            for name in missed:
                print(f"missed: {name}")
            print(f"{group:8} {caught:5} of {tried:5} caught  {share:5.1f} %", flush=True)
            enough &= share >= LEAST
    except OutOfTime:
        print("not done: the same command goes on where this one ended")
        sys.exit(3)
    sys.exit(0 if enough else 1)


if __name__ == "__main__":
    main()
