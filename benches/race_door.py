"""The front door's part of `just race`: plain requests against bare pingora-proxy, the echo of a WebSocket
against nginx, and the memory of many idle ones against HAProxy and nginx.

Called by `race.py`, which it uses as `race`; everything runs inside of that one's namespace.
"""

import resource
import shutil
import subprocess
import sys
import time

DOOR, SOCKET_DOOR, BARE = 18021, 18022, 18023
NGINX, HAPROXY, ECHO = 18024, 18025, 18091
IDLE = 5000
# A page of ComfyUI says something every few milliseconds while it works.
TALKS, EVERY_MS = 32, 5
# What is freed behind a handshake is given back a little later.
SETTLE = 3.0


def tools(search_path):
    if not shutil.which("haproxy", path=search_path):
        sys.exit("error: haproxy is missing; 'apt install haproxy'")


def run(race, options, result, targets):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 2 * IDLE + 200:
        sys.exit(f"error: {2 * IDLE + 200} open files are needed, {hard} are allowed; raise 'ulimit -Hn'")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    get(race, options, result, targets)
    origin = race.spawn(race.RELEASE / "examples/load", "socket-origin", "--listen", f"127.0.0.1:{ECHO}")
    race.wait_for(ECHO, origin)
    echo(race, options, result, targets)
    idle(race, options, result, targets)
    race.stop(origin)


def airlock(race, listen, comfyui, workers, binary=None):
    state = f"state-door-{listen}"
    text = (race.HERE / "race/door.yaml").read_text()
    config = race.SCRATCH / f"{state}.yaml"
    config.write_text(text.replace("LISTEN", str(listen)).replace("COMFYUI", str(comfyui)))
    shutil.rmtree(race.SCRATCH / state, ignore_errors=True)
    env = {"AIRLOCK_STATE_DIR": str(race.SCRATCH / state), "TOKIO_WORKER_THREADS": str(workers)}
    child = race.spawn(binary or race.RELEASE / "airlock", "run", "--log", "warn", "--config", config, env=env)
    race.wait_for(listen, child)
    return child


def haproxy(race, workers):
    config = race.SCRATCH / "haproxy.cfg"
    config.write_text((race.HERE / "race/haproxy.cfg").read_text().replace("WORKERS", str(workers)))
    child = race.spawn(shutil.which("haproxy"), "-db", "-f", config)
    race.wait_for(HAPROXY, child)
    return child


def nginx(race, workers):
    child = race.nginx("sockets.conf", workers)
    race.wait_for(NGINX, child)
    return child


def bare(race, upstream, workers):
    child = race.spawn(race.RELEASE / "examples/bare_pingora", "--listen", f"127.0.0.1:{BARE}",
                       "--upstream", f"127.0.0.1:{upstream}", "--threads", workers)
    race.wait_for(BARE, child)
    return child


def get(race, options, result, targets):
    contenders = {
        "airlock": (airlock(race, DOOR, race.ORIGIN, options.workers), DOOR),
        "bare pingora": (bare(race, race.ORIGIN, options.workers), BARE),
        "direct": (None, race.ORIGIN),
    }
    turns = race.take_turns(options, contenders, lambda port: [
        "rate", "--address", f"127.0.0.1:{port}", "--host", f"127.0.0.1:{port}", "--path", "/bench/1k", "--warm-up", 0.1,
    ])
    result["door"] = turns
    print(f"\nfront door, keep-alive, 1 KiB, {options.connections} connections, {options.rounds} rounds")
    race.table(turns)
    race.target(targets, "front door, 0.9 of bare pingora", race.ratio(turns, "airlock", "bare pingora"), ">=", 0.9)
    for child, _ in contenders.values():
        if child:
            race.stop(child)


def echo(race, options, result, targets):
    contenders = {
        "airlock": (airlock(race, SOCKET_DOOR, ECHO, options.workers), SOCKET_DOOR),
        "nginx": (nginx(race, options.workers), NGINX),
        "haproxy": (haproxy(race, options.workers), HAPROXY),
        "direct": (None, ECHO),
    }
    steady = type(options)(**vars(options) | {"connections": TALKS, "seconds": max(options.seconds, 1.0)})
    turns = race.take_turns(steady, contenders, lambda port: [
        "sockets", "--address", f"127.0.0.1:{port}", "--every-ms", EVERY_MS, "--warm-up", 0.2,
    ])
    result["echo"] = turns
    print(f"\nWebSocket echo, {TALKS} connections with a message every {EVERY_MS} ms, {options.rounds} rounds")
    race.table(turns)
    race.target(targets, "echo p99 against nginx", race.ratio(turns, "airlock", "nginx", "p99_ms"), "<=", 1.15)
    for child, _ in contenders.values():
        if child:
            race.stop(child)


def idle(race, options, result, targets):
    """Each alone, from its start: what it has in memory with all of them open, and what it had without."""
    weights = {}
    for name, port, start in (
        ("airlock", SOCKET_DOOR, lambda: airlock(race, SOCKET_DOOR, ECHO, options.workers)),
        ("haproxy", HAPROXY, lambda: haproxy(race, options.workers)),
        ("nginx", NGINX, lambda: nginx(race, options.workers)),
        ("bare pingora", BARE, lambda: bare(race, ECHO, options.workers)),
    ):
        child = start()
        time.sleep(0.5)
        before = weight_mb(race, child)
        held = subprocess.Popen(
            [str(race.RELEASE / "examples/load"), "idle-sockets", "--address", f"127.0.0.1:{port}", "--connections", str(IDLE)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=race.SCRATCH,
        )
        if not held.stdout.readline():
            sys.exit(f"error: {name} does not hold {IDLE} WebSockets")
        time.sleep(SETTLE)
        weights[name] = (before, weight_mb(race, child))
        held.stdin.close()
        if held.wait(60):
            sys.exit(f"error: {name} has lost some of {IDLE} idle WebSockets")
        race.stop(child)
    result["idle_mb"] = weights
    print(f"\nmemory with {IDLE} idle WebSockets (MB), and for each of them")
    for name, (before, after) in weights.items():
        print(f"  {name:24} {before:7.1f} -> {after:7.1f}   {(after - before) * 1e3 / IDLE:6.2f} kB each")
    race.target(targets, f"memory of {IDLE} idle WebSockets against haproxy",
                weights["airlock"][1] / weights["haproxy"][1], "<=", 1.0)


def weight_mb(race, child):
    """Of a process and its children: nginx has workers."""
    kilobytes = 0
    children = open(f"/proc/{child.pid}/task/{child.pid}/children").read().split()
    for pid in (str(child.pid), *children):
        status = open(f"/proc/{pid}/status").read()
        kilobytes += int(status.split("VmRSS:")[1].split()[0])
    return kilobytes * 1024 / 1e6
