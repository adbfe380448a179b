#!/usr/bin/env python3
"""Mutation tests of the pure core: `just mutants` (needs `cargo install cargo-mutants`).

A mutant of the whole crate takes a minute to build. What decides needs few dependencies, so this
copies the core alone (names, policy, the parsers of what the network sends) into a crate of its own
below the target folder, with its unit tests and the vector tests, and runs cargo-mutants there.

    mutants.py [GROUP ...] [-- ARGUMENTS OF CARGO-MUTANTS]

Exit code 0 when at least 95 of 100 mutants that compile are caught in every group.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEAST = 95.0

# What to mutate, and which test targets can catch it.
GROUPS = {
    "net": (["src/net/**"], ["--lib", "--test", "vectors"]),
    "policy": (["src/policy/**"], ["--lib"]),
    "token": (["src/token/**"], ["--lib"]),
    "edge": (
        ["src/listener/**", "src/tls/**"],
        ["--lib", "--test", "vectors"],
    ),
}

# Copied as they are.
SOURCES = [
    *("src/net", "src/policy", "src/token", "src/listener", "src/tls/client_hello.rs", "src/tls/client_hello"),
    # Some tests of policy write their rules as a person does, and what the configuration needs.
    *("src/config", "src/packs", "src/page"),
]
# Files of `src/listener` that stand by themselves.
EDGE = ["head", "chunks"]

DEPENDENCIES = (
    "base64", "brotli", "bytes", "flate2", "hashbrown", "hmac", "http", "httparse", "idna", "ipnet", "memchr",
    "percent-encoding", "rustls", "serde", "serde_json", "serde_yaml", "sha2", "tempfile", "thiserror", "time",
    "tokio", "uuid", "zeroize", "zstd",
)  # fmt: skip

# What `chunks` needs of the pipeline.
PROXY = """\
pub mod proxy {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
    pub enum ChunkFault {
        #[error("{0}")]
        Malformed(&'static str),
        #[error("{0}")]
        Ambiguous(&'static str),
    }
}
"""

TESTING = """\
//! Stands in for the crate's own: a client that trusts nobody.
use std::sync::Arc;

pub fn client(_roots: &[()]) -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Arc::new(config)
}
"""


def target_dir():
    base = os.environ.get("CARGO_TARGET_DIR")
    return (Path(base) if base else ROOT / "target") / "mutants"


def dependency_lines():
    text = (ROOT / "Cargo.toml").read_text()
    found = {name: line for line, name in re.findall(r"^(([A-Za-z0-9_-]+) = .*)$", text, re.M)}
    return [found[name] for name in DEPENDENCIES if name in found]


def write_crate(crate):
    for old in ("src", "tests"):
        shutil.rmtree(crate / old, ignore_errors=True)
    manifest = [
        "[package]",
        'name = "airlock-core"',
        'version = "0.0.0"',
        'edition = "2024"',
        "[workspace]",
        "[lib]",
        'name = "airlock"',
        "[dependencies]",
        *dependency_lines(),
        # Line numbers are of no use here, and half of the build.
        "[profile.dev]",
        "debug = false",
        '[profile.dev.package."*"]',
        "opt-level = 1",
    ]
    crate.mkdir(parents=True, exist_ok=True)
    (crate / "Cargo.toml").write_text("\n".join(manifest) + "\n")
    shutil.copy(ROOT / "Cargo.lock", crate)
    for source in SOURCES:
        if source == "src/listener":
            for name in EDGE:
                for path in (f"{source}/{name}.rs", f"{source}/{name}"):
                    if (ROOT / path).exists():
                        copy(path, crate)
        else:
            copy(source, crate)
    edge = [name for name in EDGE if (crate / f"src/listener/{name}.rs").exists()]
    (crate / "src/lib.rs").write_text(
        "pub mod config;\npub mod net;\npub mod packs;\npub mod page;\npub mod policy;\npub mod token;\n"
        f"{PROXY}pub mod listener {{ {' '.join(f'pub mod {name};' for name in edge)} }}\n"
        "pub mod tls {\n    pub mod client_hello;\n    #[cfg(test)]\n    mod testing;\n"
        "    pub use client_hello::{ClientHelloInfo, HelloError, HelloParser};\n}\n"
    )
    (crate / "src/tls/testing.rs").write_text(TESTING)
    vectors = crate / "tests/vectors"
    shutil.copytree(ROOT / "tests/it/vectors", vectors)
    (vectors / "wire.rs").unlink()
    main = (vectors / "mod.rs").read_text().replace("mod wire;\n", "")
    (vectors / "mod.rs").unlink()
    (vectors / "main.rs").write_text(main)
    # Copies, or an edit of the originals would look like a caught mutant.
    for data in ("tests/fixtures", "config"):
        shutil.rmtree(crate / data, ignore_errors=True)
        shutil.copytree(ROOT / data, crate / data)


def copy(path, crate):
    to = crate / path
    to.parent.mkdir(parents=True, exist_ok=True)
    if (ROOT / path).is_dir():
        shutil.copytree(ROOT / path, to)
    else:
        shutil.copy(ROOT / path, to)


def run(crate, group, more):
    files, tests = GROUPS[group]
    out = crate / group
    shutil.rmtree(out, ignore_errors=True)
    # `run` brings the tools that a dependency in C is built with.
    command = [ROOT / "run", "cargo", "mutants", "--in-place", "--dir", crate]
    command += ["--timeout", "60", "--output", out]
    command += ["--no-shuffle", "--colors", "never"]
    command += [part for file in files for part in ("--file", file)]
    command += [*more, "--", *tests]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(crate / "target")}
    status = subprocess.run(command, env=environment, check=False).returncode
    # 2: some were missed; 3: some ran into the timeout, which is caught.
    if status not in (0, 2, 3):
        sys.exit(f"cargo mutants ended with {status}")
    outcomes = json.loads((out / "mutants.out/outcomes.json").read_text())
    caught = outcomes["caught"] + outcomes["timeout"]
    tried = caught + outcomes["missed"]
    share = 100 * caught / tried if tried else 0.0
    return tried, caught, share


def main():
    arguments = sys.argv[1:]
    more = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, more = arguments[:at], arguments[at + 1 :]
    if unknown := [group for group in arguments if group not in GROUPS]:
        sys.exit(f"no group {unknown}: choose from {', '.join(GROUPS)}")
    crate = target_dir()
    write_crate(crate)
    results = {group: run(crate, group, more) for group in arguments or GROUPS}
    for group, (tried, caught, share) in results.items():
        print(f"{group:8} {caught:5} of {tried:5} caught  {share:5.1f} %")
    sys.exit(0 if all(share >= LEAST for _, _, share in results.values()) else 1)


if __name__ == "__main__":
    main()
