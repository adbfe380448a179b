#!/usr/bin/env python3
"""The Autobahn WebSocket suite against an echo server, straight and through the front door.

    just autobahn              all of its cases, about a quarter of an hour
    just autobahn 1.* 5.* 7.*  some of them

Airlock looks into no frame, so every verdict has to be the same on both ways. The suite is fetched from PyPI
when it is asked for (`autobahntestsuite`, which runs on Python 2.7 or PyPy 2 alone: name one in PYTHON2), and
so is the server (`websockets`). Exit 1 where a verdict differs, three times over. Nothing of the suite is kept here.
"""

import argparse
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
HOME = BUILD / "autobahn"
SUITE = "autobahntestsuite==25.10.1"
SERVER = """
import asyncio, sys
from websockets.asyncio.server import serve
async def echo(talk):
    async for message in talk:
        await talk.send(message)
async def main():
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), max_size=1 << 26, ping_interval=None) as server:
        await server.serve_forever()
asyncio.run(main())
"""
CONFIG = """
version: 1
listeners:
  explicit: off
  reverse: off
  admin: 127.0.0.1:0
llm:
  discover: false
front_door:
  listen: 127.0.0.1:0
  comfyui: http://127.0.0.1:{port}
"""
CLIENT = "import site; site.addsitedir({suite!r}); from autobahntestsuite.wstest import run; run()"
AGAIN = 2
# What stands in a verdict; times do not.
VERDICT = ("behavior", "behaviorClose", "remoteCloseCode")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("cases", nargs="*", default=["*"], help="as the suite names them")
    parser.add_argument("--airlock", type=pathlib.Path, default=BUILD / "debug/airlock")
    options = parser.parse_args()
    suite = install()
    server_python = subprocess.run([ROOT / "run", "clients-env"], check=True, capture_output=True, text=True)
    server_python = pathlib.Path(server_python.stdout.splitlines()[-1]) / "new/bin/python"
    with tempfile.TemporaryDirectory() as scratch:
        verdicts = play(options, suite, server_python, pathlib.Path(scratch))
    return compare(verdicts)


def python2():
    for name in (os.environ.get("PYTHON2"), "pypy", "pypy2", "python2.7", "python2"):
        if name and shutil.which(name):
            says = subprocess.run([name, "-c", "import sys, ssl, zlib; print(sys.version_info[0])"], capture_output=True, text=True)
            if says.stdout.strip() == "2":
                return name
    sys.exit("error: the suite needs Python 2.7 or PyPy 2 with pip; name one in PYTHON2")


def install():
    suite = HOME / SUITE
    if not (suite / "autobahntestsuite").exists():
        print(f"==> installing {SUITE} into {suite}", file=sys.stderr)
        shutil.rmtree(suite, ignore_errors=True)
        pip = [python2(), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", suite, SUITE]
        subprocess.run(pip, check=True)
    return suite


def play(options, suite, server_python, scratch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (scratch / "airlock.yaml").write_text(CONFIG.format(port=port))
    children = []
    try:
        # It tells of every frame that it does not like.
        said = open(scratch / "server.log", "w")
        children.append(subprocess.Popen([server_python, "-c", SERVER, str(port)], stdout=said, stderr=said))
        log = open(scratch / "airlock.log", "w")
        airlock = subprocess.Popen(
            [options.airlock, "run", "--print-ready", "--config", scratch / "airlock.yaml"],
            env=os.environ | {"AIRLOCK_STATE_DIR": str(scratch / "state")}, stdout=subprocess.PIPE, stderr=log,
        )
        children.append(airlock)
        ready = airlock.stdout.readline()
        if not ready:
            sys.exit("error: airlock does not start:\n" + (scratch / "airlock.log").read_text())
        door = json.loads(ready)["front_door"]
        wait_for(port)
        servers = [{"agent": agent, "url": f"ws://{address}"}
                   for agent, address in (("direct", f"127.0.0.1:{port}"), ("door", door))]
        verdicts = round_of(options.cases, servers, suite, scratch)
        # Where a server hangs up in the middle of a frame, what it had said before is a matter of time, on both
        # ways: a case that differs is played again.
        for _ in range(AGAIN):
            if again := differing(verdicts):
                for agent, cases in round_of(again, servers, suite, scratch).items():
                    verdicts[agent] |= cases
        return verdicts
    finally:
        for child in children:
            child.terminate()
            child.wait()


def round_of(cases, servers, suite, scratch):
    spec = {"outdir": "reports", "servers": servers, "cases": cases, "exclude-cases": [], "exclude-agent-cases": {}}
    (scratch / "spec.json").write_text(json.dumps(spec))
    shutil.rmtree(scratch / "reports", ignore_errors=True)
    client = [python2(), "-c", CLIENT.format(suite=str(suite)), "-m", "fuzzingclient", "-s", "spec.json"]
    with open(scratch / "suite.log", "w") as out:
        done = subprocess.run(client, cwd=scratch, stdout=out, stderr=out, timeout=3600)
    index = scratch / "reports/index.json"
    if done.returncode or not index.exists():
        sys.exit("error: the suite broke off:\n" + (scratch / "suite.log").read_text()[-2000:])
    return json.loads(index.read_text())


def wait_for(port):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    sys.exit("error: the echo server does not listen")


def verdict(agent, case):
    return {name: agent.get(case, {}).get(name) for name in VERDICT}


def differing(verdicts):
    direct, door = verdicts["direct"], verdicts["door"]
    return [case for case in sorted(direct | door) if verdict(direct, case) != verdict(door, case)]


def compare(verdicts):
    direct, door = verdicts["direct"], verdicts["door"]
    different = differing(verdicts)
    for case in different:
        print(f"{case}: direct {verdict(direct, case)}, through the door {verdict(door, case)}")
    kinds = {}
    for case in direct:
        kind = direct[case]["behavior"]
        kinds[kind] = kinds.get(kind, 0) + 1
    print(f"{len(direct)} cases ({', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))}), {len(different)} differ")
    return 1 if different or not direct else 0


if __name__ == "__main__":
    sys.exit(main())
