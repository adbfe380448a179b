#!/usr/bin/env python3
"""Races airlock against bare pingora-proxy, nginx and mitmproxy, in turns, and prints ratios.

    just race          everything, about five minutes
    just race-quick    a sanity check, about half a minute
    just race-rules    airlock with 100,000 rules against airlock with 10, under three minutes

Single figures of a shared machine are noise. So the contenders take turns (A B C D A B C D ...), a
ratio is the median of the rounds' own ratios, and the CPU time that a proxy used per request stands
beside it, which a busy neighbour hardly changes.

Everything runs in a network namespace of its own: names are local, ports are free, and no packet
can leave. Needs a release build (`just race` makes it), nginx, openssl and, once, pip for mitmproxy.
"""

import argparse
import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time

import race_door

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
RELEASE = BUILD / "release"
SCRATCH = BUILD / "race"
MITMPROXY = "mitmproxy==11.0.2"
INSIDE = "AIRLOCK_RACE_INSIDE"

EXPLICIT, REVERSE = 18001, 18002
NGINX, BARE, BARE_MIMALLOC, MITM = 18011, 18012, 18013, 18014
ORIGIN, ORIGIN_TLS, LLM = 18080, 18443, 18090

children = []


def main():
    options = parse()
    if os.environ.get(INSIDE) != "1":
        prepare(options)
        enter_namespace()
    own_network()
    try:
        print(machine())
        result = race_rules(options) if options.rules else race(options)
    finally:
        for child in reversed(children):
            stop(child)
    out = SCRATCH / ("rules.json" if options.rules else "result.json")
    out.write_text(json.dumps(result, indent=1))
    print(f"\nall figures: {out}\n{machine()}")
    misses = [t["name"] for t in result["targets"] if not t["met"]]
    if misses:
        print("missed: " + ", ".join(misses))
    return 1 if misses and options.strict else 0


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="few and short rounds")
    parser.add_argument("--workers", type=int, default=1, help="worker threads of each proxy")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, help="rounds of each mode")
    parser.add_argument("--seconds", type=float, help="length of one turn")
    parser.add_argument(
        "--only", choices=["plain", "intercept", "ttft", "start", "door"], action="append", help="modes"
    )
    parser.add_argument("--baseline", type=pathlib.Path, help="an earlier airlock binary, to race against")
    parser.add_argument("--rules", type=int, nargs="?", const=100_000, metavar="N",
                        help="race N rules (100,000) against 10, and nothing else")
    parser.add_argument("--strict", action="store_true", help="exit 1 if a target is missed")
    options = parser.parse_args()
    # Short turns and many rounds: a neighbour's work then hits all contenders alike.
    # One program against itself differs by little: more rounds to tell.
    usual = 32 if options.rules else 20
    options.rounds = options.rounds or (6 if options.quick else usual)
    options.seconds = options.seconds or (0.3 if options.quick else 0.5)
    options.samples = 150 if options.quick else 300
    options.processes = 1 if options.quick else 7
    options.starts = 5 if options.quick else 20
    options.only = options.only or ["plain", "intercept", "ttft", "start", "door"]
    return options


# ---- the stage ----


def prepare(options):
    """What must exist before the network is gone."""
    race_door.tools(search_path())
    for tool in ("nginx", "openssl", "unshare"):
        if not shutil.which(tool, path=search_path()):
            sys.exit(f"error: {tool} is missing; 'apt install nginx-light openssl util-linux'")
    examples = ("load",) if options.rules else ("load", "fake_sse", "bare_pingora", "bare_pingora_mimalloc")
    for binary in ("airlock", *(f"examples/{e}" for e in examples)):
        if not (RELEASE / binary).exists():
            sys.exit(f"error: {binary} is not built; run 'just race', which builds it")
    SCRATCH.mkdir(parents=True, exist_ok=True)
    if not options.rules and not mitmdump().exists():
        print(f"==> installing {MITMPROXY} into {SCRATCH / 'mitmproxy'}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", mitmdump().parents[1]], check=True)
        pip = [mitmdump().with_name("pip"), "install", "-q", "--disable-pip-version-check", MITMPROXY]
        subprocess.run(pip, check=True)


def search_path():
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def mitmdump():
    return SCRATCH / "mitmproxy/bin/mitmdump"


def enter_namespace():
    os.environ[INSIDE] = "1"
    os.environ["PATH"] = search_path()
    command = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--"]
    os.execvp("unshare", [*command, sys.executable, *sys.argv])


def own_network():
    """Loopback up, and the names of the race on it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        siocgifflags, siocsifflags, up = 0x8913, 0x8914, 0x1
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(s, siocgifflags, request))[1]
        fcntl.ioctl(s, siocsifflags, struct.pack("16sh14x", b"lo", flags | up))
    hosts = SCRATCH / "hosts"
    hosts.write_text("127.0.0.1 localhost origin.test\n")
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)


def machine():
    model = next(
        (l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "?"
    )
    load = open("/proc/loadavg").read().split()[:3]
    return f"{os.cpu_count()} x {model}, Linux {os.uname().release}, load {' '.join(load)}"


def spawn(*command, env=None, **kw):
    log = open(SCRATCH / f"{pathlib.Path(command[0]).name}.log", "ab")
    full = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")} | (env or {})
    kw.setdefault("stdout", log)
    child = subprocess.Popen([str(c) for c in command], env=full, stderr=log, cwd=SCRATCH, **kw)
    children.append(child)
    return child


def stop(child):
    if child.poll() is None:
        # Pingora takes SIGTERM for a drain of five minutes.
        bare = "bare_pingora" in str(child.args[0])
        child.send_signal(signal.SIGINT if bare else signal.SIGTERM)
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def wait_for(port, child):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if child.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"error: {child.args[0]} does not listen on {port}; see {SCRATCH}/*.log")


def origin():
    """The static origin, with a private CA; both proxies that intercept must verify it."""
    for folder in ("www/bench", "tmp"):
        (SCRATCH / folder).mkdir(parents=True, exist_ok=True)
    (SCRATCH / "www/bench/1k").write_bytes(b"x" * 1024)
    ssl = lambda *a: subprocess.run(["openssl", *a], check=True, cwd=SCRATCH, capture_output=True)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
    ssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=race CA",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    ssl("req", "-x509", *curve, "-keyout", "origin.key", "-out", "origin.pem", "-CA", "ca.pem",
        "-CAkey", "ca.key", "-subj", "/CN=origin.test", "-addext", "subjectAltName=DNS:origin.test",
        "-addext", "basicConstraints=critical,CA:FALSE")
    child = nginx("origin.conf", 1)
    wait_for(ORIGIN, child)
    return child


def nginx(conf, workers):
    text = (HERE / "race" / conf).read_text().replace("WORKERS", str(workers))
    (SCRATCH / conf).write_text(text)
    return spawn(shutil.which("nginx"), "-p", SCRATCH, "-c", SCRATCH / conf)


def airlock(workers, state, config=True, keep=False, binary=RELEASE / "airlock", ports="1800", more=lambda text: text):
    """The child, the seconds until it was ready, and what it said then. `workers`: its own default
    where `None`. `more` may edit the configuration."""
    text = more((HERE / "race/airlock.yaml").read_text())
    # Only the listeners' ports: an earlier build, raced against this one, needs others.
    (SCRATCH / f"{state}.yaml").write_text(text.replace("127.0.0.1:1800", f"127.0.0.1:{ports}"))
    env = {"AIRLOCK_STATE_DIR": str(SCRATCH / state)}
    if workers:
        env["TOKIO_WORKER_THREADS"] = str(workers)
    config = ["--config", SCRATCH / f"{state}.yaml"] if config else []
    if not keep:
        shutil.rmtree(SCRATCH / state, ignore_errors=True)
    began = time.monotonic()
    child = spawn(binary, "run", "--print-ready", "--log", "warn", *config,
                  env=env, stdout=subprocess.PIPE)
    line = child.stdout.readline()
    took = time.monotonic() - began
    if not line:
        sys.exit(f"error: airlock does not start; see {SCRATCH}/airlock.log")
    return child, took, json.loads(line)


# ---- the race ----


def race(options):
    result = {"machine": machine(), "workers": options.workers, "connections": options.connections}
    result["targets"] = targets = []
    if "start" in options.only:
        start(options, result, targets)
    origin()
    if "door" in options.only:
        race_door.run(sys.modules[__name__], options, result, targets)
    llm = spawn(RELEASE / "examples/fake_sse", "--listen", f"127.0.0.1:{LLM}")
    wait_for(LLM, llm)
    if "ttft" in options.only:
        ttft(options, result, targets)
    if not {"plain", "intercept"} & set(options.only):
        return result
    ours, _, ready = airlock(options.workers, "state")
    runners = {"airlock": (ours, REVERSE, EXPLICIT, ready["ca_bundle"])}
    if options.baseline:
        old, _, ready = airlock(options.workers, "state-baseline", binary=options.baseline.resolve(), ports="1810")
        runners["airlock, baseline"] = (old, REVERSE + 100, EXPLICIT + 100, ready["ca_bundle"])
    if "plain" in options.only:
        plain(options, result, targets, runners)
    if "intercept" in options.only:
        intercept(options, result, targets, runners)
    result["airlock_rss_mb_after"] = rss_mb(ours)
    print(f"\nairlock's memory after all this: {rss_mb(ours):.1f} MB")
    return result


def start(options, result, targets):
    """Start to ready with the embedded defaults, and memory at rest. Without any LLM to find."""
    fresh, again, memory = [], [], []
    for n in range(options.starts):
        for times in (fresh, again):
            child, took, _ = airlock(None, "start", False, keep=times is again)
            times.append(took * 1e3)
            if n < 3 and times is again:
                time.sleep(1.0)
                memory.append(rss_mb(child))
            stop(child)
    result["start_ms"] = {"first_run": fresh, "later_runs": again, "idle_mb": memory}
    print("\nstart to ready, embedded defaults (median of %d)" % options.starts)
    print(f"  first run (makes keys) {statistics.median(fresh):6.1f} ms   "
          f"later runs {statistics.median(again):6.1f} ms   idle {max(memory):5.1f} MB")
    target(targets, "ready in under 100 ms", max(map(statistics.median, (fresh, again))), "<", 100)
    target(targets, "under 25 MB idle", max(memory), "<", 25)


def ttft(options, result, targets):
    """Several processes each, in turns: one differs from the next of the same program by where its memory
    happens to lie."""
    def ours():
        child, _, _ = airlock(None, "state-ttft")
        return child, REVERSE

    def bare():
        child = spawn(RELEASE / "examples/bare_pingora", "--listen", f"127.0.0.1:{BARE}",
                      "--upstream", f"127.0.0.1:{LLM}", "--threads", 1)
        wait_for(BARE, child)
        return child, BARE

    contenders = {"airlock": ours, "bare pingora": bare}
    runs = {name: [] for name in contenders}
    for _ in range(options.processes):
        for name, start_one in contenders.items():
            child, port = start_one()
            figures = load("ttft", "--direct", f"127.0.0.1:{LLM}", "--through", f"127.0.0.1:{port}",
                           "--samples", options.samples)
            stop(child)
            runs[name].append(figures["added"])
    result["ttft"] = runs
    print(f"\nadded time to first token, {options.processes} processes each in turns, {options.samples} samples of "
          "each: median (lowest to highest) of the processes, ms")
    for name, added in runs.items():
        cells = []
        for p in ("p50", "p90", "p99"):
            values = sorted(f[f"{p}_ms"] for f in added)
            cells.append(f"{p} {statistics.median(values):.3f} ({values[0]:.3f} to {values[-1]:.3f})")
        print(f"  {name:14} {'   '.join(cells)}")
    p99 = statistics.median(f["p99_ms"] for f in runs["airlock"])
    target(targets, "added time to first token, p99 under 0.5 ms", p99, "<", 0.5)


def plain(options, result, targets, runners):
    bare = {}
    for name, port in (("bare_pingora", BARE), ("bare_pingora_mimalloc", BARE_MIMALLOC)):
        bare[name] = spawn(RELEASE / "examples" / name, "--listen", f"127.0.0.1:{port}",
                           "--upstream", f"127.0.0.1:{ORIGIN}", "--threads", options.workers)
        wait_for(port, bare[name])
    front = nginx("proxy.conf", options.workers)
    wait_for(NGINX, front)
    contenders = {name: (process, reverse) for name, (process, reverse, _, _) in runners.items()} | {
        "bare pingora": (bare["bare_pingora"], BARE),
        "bare pingora + mimalloc": (bare["bare_pingora_mimalloc"], BARE_MIMALLOC),
        "nginx": (front, NGINX),
        "direct": (None, ORIGIN),
    }
    turns = take_turns(options, contenders, lambda port: [
        "rate", "--address", f"127.0.0.1:{port}", "--host", f"127.0.0.1:{port}", "--path", "/bench/1k", "--warm-up", 0.1,
    ])
    result["plain"] = turns
    print(f"\nreverse, keep-alive, 1 KiB, {options.connections} connections, "
          f"{options.workers} worker thread(s) each, {options.rounds} rounds")
    table(turns)
    target(targets, "0.9 of bare pingora", ratio(turns, "airlock", "bare pingora"), ">=", 0.9)
    for child in (*bare.values(), front):
        stop(child)


def intercept(options, result, targets, runners):
    confdir = SCRATCH / "mitm"
    mitm = spawn(mitmdump(), "-q", "--listen-host", "127.0.0.1", "--listen-port", MITM,
                 "--set", f"confdir={confdir}", "--set", f"ssl_verify_upstream_trusted_ca={SCRATCH / 'ca.pem'}",
                 "--set", "flow_detail=0", "--set", "http2=false")
    wait_for(MITM, mitm)
    contenders = {
        name: (process, (explicit, bundle)) for name, (process, _, explicit, bundle) in runners.items()
    } | {
        "mitmproxy": (mitm, (MITM, confdir / "mitmproxy-ca-cert.pem")),
    }
    turns = take_turns(options, contenders, lambda to: [
        "rate", "--address", f"127.0.0.1:{to[0]}", "--host", f"origin.test:{ORIGIN_TLS}",
        "--path", "/bench/1k", "--ca", to[1], "--warm-up", 0.3,
    ])
    result["intercept"] = turns
    print(f"\nintercepted (CONNECT, TLS both sides), keep-alive, 1 KiB, {options.connections} "
          f"connections, {options.rounds} rounds")
    table(turns)
    target(targets, "25 times mitmproxy", ratio(turns, "airlock", "mitmproxy"), ">=", 25)
    stop(mitm)


# ---- many rules ----

FEW = 10


def race_rules(options):
    """The same program with few rules and with many. Few rules run twice: what those two differ by is
    what the machine adds, and a difference below that says nothing."""
    result = {"machine": machine(), "workers": options.workers, "connections": options.connections}
    result["rules"], result["targets"] = options.rules, []
    origin()
    names = {"few": f"{FEW} rules", "many": f"{options.rules:,} rules", "again": f"{FEW} rules, again"}
    runners = {}
    for n, (key, name) in enumerate(names.items()):
        rules = options.rules if key == "many" else FEW
        child, took, _ = airlock(options.workers, f"state-rules-{key}", ports=f"181{n}",
                                 more=lambda text: with_rules(text, rules))
        runners[name] = child
        print(f"  {name:24} ready in {took * 1e3:7.1f} ms   {rss_mb(child):6.1f} MB")
    few, many, again = names.values()
    for entry, command in (("reverse", ask_reverse), ("explicit", ask_explicit)):
        contenders = {name: (child, n) for n, (name, child) in enumerate(runners.items())}
        turns = take_turns(options, contenders, command)
        result[entry] = turns
        print(f"\n{entry}, keep-alive, 1 KiB, {options.connections} connections, "
              f"{options.workers} worker thread(s) each, {options.rounds} rounds")
        print(f"  {'':24} {'req/s':>7} {'p50 ms':>7} {'p99 ms':>7} {'CPU us':>7}"
              f"   of few rules: median (quartiles) of the rounds; by CPU time")
        for name, rounds in turns.items():
            middle = lambda field: statistics.median(r[field] for r in rounds)
            line = (f"  {name:24} {middle('per_second'):7.0f} {middle('p50_ms'):7.3f} "
                    f"{middle('p99_ms'):7.3f} {middle('cpu_us'):7.1f}")
            if name != few:
                rate = spread(turns, name, few, "per_second")
                # Less time is more work done by it: turned around, so that both read alike.
                cpu = spread(turns, few, name, "cpu_us")
                line += "   {1:.3f} ({0:.3f} to {2:.3f})".format(*rate) + "; {1:.3f} ({0:.3f} to {2:.3f})".format(*cpu)
            print(line)
        target(result["targets"], f"{entry}: 0.98 of {few}", spread(turns, many, few, "per_second")[1], ">=", 0.98)
    return result


def spread(turns, ours, theirs, field):
    """Lower quartile, median and upper quartile of the rounds' own ratios."""
    return statistics.quantiles((a[field] / b[field] for a, b in zip(turns[ours], turns[theirs])), n=4)


def with_rules(text, rules):
    """The race's own rule in the middle of others, of all kinds that the policy's index tells apart. Names
    whose TLS is opened repeat: a root certificate holds five hundred."""
    def line(n):
        kind = (
            f"hosts: [h{n}.example.test], action: tunnel",
            f"hosts: ['*.f{n % 100}.test'], paths: ['/v{n}/*'], action: forward",
            f"hosts: [r{n % 100}.test], paths: [/{n}], read_only: true, action: forward",
            f"hosts: [h{n}.example.test], action: deny",
        )[n % 4]
        return f"  - {{name: r{n}, {kind}}}\n"
    others = [line(n) for n in range(rules - 1)]
    half = len(others) // 2
    before, rest = text.split("rules:\n")
    own, after = rest.split("\nupstreams:\n")
    own = own.replace("ports: [18443]", f"ports: [{ORIGIN}, {ORIGIN_TLS}]")
    plain = f"  - {{name: race-plain, url: 'http://origin.test:{ORIGIN}'}}\n"
    return f"{before}rules:\n{''.join(others[:half])}{own}{''.join(others[half:])}\nupstreams:\n{plain}{after}"


def ask_reverse(n):
    port = REVERSE + 100 + n * 10
    return ["rate", "--address", f"127.0.0.1:{port}", "--host", f"127.0.0.1:{port}", "--path", "/bench/1k", "--warm-up", 0.1]


def ask_explicit(n):
    """In the clear, by absolute URI; a request of an intercepted tunnel is judged by the same look-up."""
    host = f"origin.test:{ORIGIN}"
    return ["rate", "--address", f"127.0.0.1:{EXPLICIT + 100 + n * 10}", "--host", host,
            "--path", f"http://{host}/bench/1k", "--warm-up", 0.1]


# ---- turns and figures ----


def take_turns(options, contenders, command):
    """Round after round, every contender once a round, the first one another each time."""
    turns = {name: [] for name in contenders}
    order = list(contenders)
    for n in range(options.rounds):
        for name in order[n % len(order):] + order[:n % len(order)]:
            process, where = contenders[name]
            before = cpu_seconds(process)
            figures = load(*command(where), "--connections", options.connections,
                           "--seconds", options.seconds)
            if not figures["requests"]:
                sys.exit(f"error: {name} was starved: not one answer in {options.seconds} s; is the machine busy?")
            # The warm-up's CPU is in the sum, so its requests must be in the divisor.
            requests = figures["requests_with_warm_up"]
            figures["cpu_us"] = (cpu_seconds(process) - before) * 1e6 / max(requests, 1)
            turns[name].append(figures)
    return turns


def load(*arguments):
    command = [RELEASE / "examples/load", *arguments]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd=SCRATCH)
    if done.returncode:
        sys.exit(f"error: load {' '.join(map(str, arguments))}: {done.stderr}")
    return json.loads(done.stdout)


def cpu_seconds(process):
    """CPU time of a process, of all its threads, and of its children (nginx's workers)."""
    if process is None:
        return 0.0
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    nanoseconds = 0
    for pid in (process.pid, *children.split()):
        for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
            nanoseconds += int((thread / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def rss_mb(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6


def ratio(turns, ours, theirs, field="per_second"):
    return statistics.median(a[field] / b[field] for a, b in zip(turns[ours], turns[theirs]))


def quiet(turns, name, field="per_second"):
    """What a contender does in its better turns: neighbours only ever take away."""
    values = sorted(r[field] for r in turns[name])
    quarter = max(1, len(values) // 4)
    return statistics.mean(values[-quarter:] if field == "per_second" else values[:quarter])


def table(turns):
    print(f"  {'':24} {'req/s':>7} {'best':>7} {'p50 ms':>7} {'p99 ms':>7} {'CPU us':>7} {'best':>6}"
          f"   airlock is, of that (all rounds, best quarter; by CPU)")
    for name, rounds in turns.items():
        middle = lambda field: statistics.median(r[field] for r in rounds)
        line = (f"  {name:24} {middle('per_second'):7.0f} {quiet(turns, name):7.0f} "
                f"{middle('p50_ms'):7.3f} {middle('p99_ms'):7.3f} ")
        busy = middle("cpu_us") > 0
        line += f"{middle('cpu_us'):7.1f} {quiet(turns, name, 'cpu_us'):6.1f}" if busy else " " * 14
        if name != "airlock":
            line += f"   {ratio(turns, 'airlock', name):5.2f} {quiet(turns, 'airlock') / quiet(turns, name):5.2f}"
            if busy:
                line += (f"; {1 / ratio(turns, 'airlock', name, 'cpu_us'):5.2f} "
                         f"{quiet(turns, name, 'cpu_us') / quiet(turns, 'airlock', 'cpu_us'):5.2f}")
        print(line)


def target(targets, name, value, relation, wanted):
    met = {">=": value >= wanted, "<=": value <= wanted, "<": value < wanted}[relation]
    targets.append({"name": name, "value": value, "wanted": f"{relation} {wanted}", "met": met})
    print(f"  -> {name}: {value:.3g} (wanted {relation} {wanted}): {'met' if met else 'MISSED'}")


if __name__ == "__main__":
    sys.exit(main())
