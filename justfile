# The one list of commands. CI runs the same ones (.ci/run).

default:
    @just --list

# Release build and the demo: the plugin's real traffic, loopback only.
demo *ARGS:
    ./run demo {{ARGS}}

# All tests, the Python SDKs included.
test *ARGS:
    ./run test {{ARGS}}

# The leak proof: an isolated program, the compose network, the whole demo, each under a packet capture
# and (where nftables is installed) packet counters. Linux; needs user namespaces, iproute2, Python 3.
leak *ARGS:
    AIRLOCK_REQUIRE_NETNS=1 ./run cargo test --test it -- leak:: isolate:: compose_net:: {{ARGS}}

# Faults: a full disk, a dead resolver, no descriptors, slow clients. Refused, recorded, and mended.
faults *ARGS:
    AIRLOCK_REQUIRE_NETNS=1 ./run cargo test --test it -- fault:: {{ARGS}}

# Only the tests that drive the real SDKs.
clients:
    ./run test --test it clients

# The Autobahn WebSocket suite, straight to an echo server and through the front door: the verdicts have to
# be the same. A quarter of an hour. Needs Python 2.7 or PyPy 2, which the suite runs on; fetches it from PyPI.
autobahn *ARGS:
    ./run cargo build --bin airlock
    python3 tests/autobahn.py {{ARGS}}

# The Python environments of the SDK tests, by themselves.
clients-env:
    ./run clients-env

# One fuzz target under libFuzzer for some seconds; new inputs go to fuzz/found, failures to
# fuzz/artifacts. Needs `cargo install cargo-fuzz`. Without a sanitizer, because no code here is
# unsafe, and then a stable compiler does.
fuzz TARGET SECONDS='60':
    mkdir -p fuzz/found/{{TARGET}}
    cd fuzz && cargo fuzz run --sanitizer none {{TARGET}} found/{{TARGET}} corpus/{{TARGET}} -- -max_total_time={{SECONDS}} -max_len=8192 -timeout=10

# All fuzz targets over their corpora and mutations with a fixed seed, as `just test` runs them.
fuzz-quick RUNS='2000':
    AIRLOCK_FUZZ_RUNS={{RUNS}} ./run cargo test --test it fuzz::

# docs/EGRESS.md anew, from a run of the whole corpus.
egress-doc:
    AIRLOCK_WRITE_DOCS=1 ./run cargo test --test it corpus::every_case

# A file of this many rules taken back and forth, in release, while clients ask: none may fail.
reload-many RULES='100000':
    AIRLOCK_RELOAD_RULES={{RULES}} ./run cargo test --release --test it reload::many -- --nocapture

# Line coverage of what decides; fails below 96 of 100. Needs `cargo install cargo-llvm-cov` and
# `rustup component add llvm-tools`. `--verbose` names the lines.
coverage *ARGS:
    python3 tests/coverage.py {{ARGS}}

# Mutation tests of what decides, about an hour on two cores; fails below 95 of 100 caught in a group. Groups:
# token, net, policy, edge; `--again` after tests were added tries the survivors alone. Goes on where it was
# interrupted. Needs `cargo install cargo-mutants`.
mutants *ARGS:
    python3 tests/mutants.py {{ARGS}}

# Races airlock against bare pingora-proxy, nginx, HAProxy and mitmproxy in turns; needs nginx and haproxy.
# Five minutes after the release build; `just race --help` for what can be chosen.
race *ARGS:
    ./run cargo build --release --bin airlock
    ./run cargo build --release --examples
    python3 benches/race.py {{ARGS}}

# The same in about half a minute: does it still hold, roughly?
race-quick *ARGS: (race "--quick" ARGS)

# Airlock with 100,000 rules against airlock with 10, in turns; needs nginx. Under three minutes after the
# release build.
race-rules *ARGS:
    ./run cargo build --release --bin airlock --example load
    python3 benches/race.py --rules {{ARGS}}

# Writes src/link_order.ld (ADR 0014) and src/prefetch/table.txt (0015) anew; needs valgrind and what the race needs.
# Half a minute after the release build. `--check` only counts which of their names are still there.
link-order *ARGS:
    ./run cargo build --release --bin airlock
    ./run cargo build --release --examples
    python3 benches/link_order.py {{ARGS}}

# Criterion benches: policy, leaf minting, heads, JSON edits, stream repair.
bench *ARGS:
    ./run cargo bench {{ARGS}}

# The corpus of docs/EGRESS.md against mitmproxy, squid and tinyproxy, side by side, into docs/MATRIX.md.
# About three minutes. Needs squid and tinyproxy (Debian packages), and once pip for mitmproxy.
matrix *ARGS:
    ./run cargo build --bin airlock
    python3 tests/matrix/matrix.py {{ARGS}}

fmt:
    cargo fmt --all

lint:
    cargo fmt --all --check
    ./run cargo clippy --all-targets -- -D warnings

# Licences, banned and foreign crates.
deny:
    cargo deny check --hide-inclusion-graph bans licenses sources

# Known holes in dependencies; fetches the advisory database.
advisories:
    cargo deny check --hide-inclusion-graph advisories

# Everything a change has to pass.
ci:
    .ci/run
