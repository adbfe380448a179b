"""Sends the corpus of docs/EGRESS.md to Airlock, mitmproxy, squid and tinyproxy, and writes docs/MATRIX.md.

    just matrix            (or: python3 tests/matrix/matrix.py [--airlock PATH] [--only NAME]... [--out FILE])

Each proxy runs in a network namespace of its own, with the same allow-list: allowed.test, *.w.test,
inside.test and read.test, on ports 80 and 443. Every address is local there, so nothing can leave; a
packet socket counts each TCP connection and DNS question, listeners on ports 80 and 443 stand for the
outside and keep what they are sent, and a name server answers every name with a public address.

The bytes are those of `airlock selftest --dump`. For each case that must be refused:

    denied   nothing reached the outside, and no name server was asked
    asked    refused, and yet a name server was asked for it
    let out  a connection was opened to the outside (behind a CONNECT that had to be allowed: bytes of
             the case were passed on)
    other    the proxy died, or did not let the preparation of the case through

Standard library only. Needs unshare and ip (iproute2), squid and tinyproxy (Debian), openssl, and mitmproxy
in a virtual environment that is made below the build folder; a proxy that is missing is left out, aloud.
"""

import argparse
import base64
import collections
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve()
ROOT = HERE.parents[2]
BUILD = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
SCRATCH = BUILD / "matrix"
MITMPROXY = "mitmproxy==11.0.2"
PROXY = ("127.0.0.1", 3128)
# Public addresses: documentation ranges are closed to Airlock.
OUTSIDE = "93.184.215.14"
NAME_SERVER = "93.184.215.53"
# An answer comes at once or not at all; what waits for a timeout of the proxy's own counts as not let out.
PATIENCE = 0.5
# Where a case of each entry is sent; what has no door here is not played.
FRONT_DOOR = ("127.0.0.1", 8189)
COMFYUI = ("127.0.0.1", 8188)
DOORS = {
    "explicit_plain": PROXY,
    "connect_tunnel": PROXY,
    "connect_intercepted": PROXY,
    "front_door": FRONT_DOOR,
}
# Entries that the other three have as well: only these are counted side by side.
SHARED = ("explicit_plain", "connect_tunnel", "connect_intercepted")
ALLOWED = ["allowed.test", "inside.test", "read.test"]


# ---- the outside ----


class Outside:
    """Counts, by a packet socket on loopback, and answers on ports 80, 443 and 53."""

    def __init__(self, folder):
        self.packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self.packets.setblocking(False)
        self.received = 0
        self.lock = threading.Lock()
        key, certificate = folder / "key.pem", folder / "cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
             "-nodes", "-days", "2", "-subj", "/CN=inside.test", "-addext", "subjectAltName=DNS:inside.test",
             "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate, key)
        for port, serve in ((80, self.plain), (443, self.secret)):
            for family, any_address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                listener = socket.socket(family, socket.SOCK_STREAM)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind((any_address, port))
                listener.listen(256)
                threading.Thread(target=self.accept, args=(listener, serve), daemon=True).start()
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        names.bind((NAME_SERVER, 53))
        threading.Thread(target=self.answer_names, args=(names,), daemon=True).start()

    def accept(self, listener, serve):
        while True:
            client, _ = listener.accept()
            client.settimeout(5)
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    def count(self, data):
        with self.lock:
            self.received += len(data)

    def plain(self, client):
        try:
            while data := client.recv(65536):
                self.count(data)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except OSError:
            pass
        finally:
            client.close()

    def secret(self, client):
        """Counts the bytes as they come, TLS or not, and speaks TLS with who does."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = self.tls.wrap_bio(incoming, outgoing, server_side=True)
        shaken = False
        try:
            while data := client.recv(65536):
                self.count(data)
                incoming.write(data)
                try:
                    if not shaken:
                        session.do_handshake()
                        shaken = True
                    while session.read(65536):
                        session.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                except ssl.SSLWantReadError:
                    pass
                if pending := outgoing.read():
                    client.sendall(pending)
        except (OSError, ssl.SSLError):
            pass
        finally:
            client.close()

    def answer_names(self, server):
        while True:
            question, asker = server.recvfrom(4096)
            end = 12
            while end < len(question) and question[end]:
                end += question[end] + 1
            kind = question[end + 1 : end + 3]
            body = question[12 : end + 5]
            head = question[:2] + b"\x81\x80\0\1"
            if kind == b"\0\1":
                answer = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(OUTSIDE)
                server.sendto(head + b"\0\1\0\0\0\0" + body + answer, asker)
            else:
                server.sendto(head + b"\0\0\0\0\0\0" + body, asker)

    def seen(self):
        """Connections begun and names asked since the last call; loopback shows each packet twice."""
        connections, names = [], set()
        while True:
            try:
                frame, address = self.packets.recvfrom(65535)
            except BlockingIOError:
                return connections, names
            if address[2] == 4:  # PACKET_OUTGOING; the incoming copy counts
                continue
            kind, body = struct.unpack("!H", frame[12:14])[0], frame[14:]
            if kind == 0x0800 and len(body) >= 20:
                size, protocol, to = (body[0] & 15) * 4, body[9], socket.inet_ntop(socket.AF_INET, body[16:20])
                rest = body[size:]
            elif kind == 0x86DD and len(body) >= 40:
                protocol, to, rest = body[6], socket.inet_ntop(socket.AF_INET6, body[24:40]), body[40:]
            else:
                continue
            if protocol == 6 and len(rest) >= 14 and rest[13] & 0x12 == 0x02:
                connections.append((to, struct.unpack("!H", rest[2:4])[0]))
            elif protocol == 17 and len(rest) > 20 and struct.unpack("!H", rest[2:4])[0] == 53:
                names.add(rest[20:].split(b"\0\0")[0])


# ---- the contenders ----


def squid(folder):
    program = shutil.which("squid", path=search_path())
    if not program:
        return None, "squid is not installed"
    config = folder / "squid.conf"
    # The apex is not below the wildcard: a deny of its own stands before the allow. `-n`: no look-ups to
    # decide by a name.
    config.write_text(
        f"""http_port {PROXY[0]}:{PROXY[1]}
acl names dstdomain -n allowed.test .w.test inside.test read.test
acl apex_itself dstdom_regex -n -i ^w\\.test\\.?$
acl web port 80 443
acl tls port 443
acl CONNECT method CONNECT
acl private dst 0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 224.0.0.0/3 ::1 fc00::/7 fe80::/10
http_access deny !web
http_access deny CONNECT !tls
http_access deny apex_itself
http_access deny !names
http_access deny private
http_access allow names
http_access deny all
cache deny all
access_log none
cache_log {folder}/cache.log
pid_filename {folder}/squid.pid
coredump_dir {folder}
dns_nameservers {NAME_SERVER}
pinger_enable off
cache_mem 8 MB
shutdown_lifetime 1 second
"""
    )
    # As root it would change its user, which a namespace of one user does not allow.
    folder.chmod(0o755)
    command = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--", program]
    return [*command, "-N", "-f", str(config)], version([program, "--version"])


def tinyproxy(folder):
    program = shutil.which("tinyproxy", path=search_path())
    if not program:
        return None, "tinyproxy is not installed"
    names = folder / "filter"
    names.write_text("^allowed\\.test$\n\\.w\\.test$\n^inside\\.test$\n^read\\.test$\n")
    config = folder / "tinyproxy.conf"
    config.write_text(
        f"""Port {PROXY[1]}
Listen {PROXY[0]}
Timeout 10
MaxClients 100
Allow 127.0.0.1
ConnectPort 443
Filter "{names}"
FilterDefaultDeny Yes
FilterType ere
FilterCaseSensitive Off
LogFile "{folder}/tinyproxy.log"
LogLevel Error
"""
    )
    return [program, "-d", "-c", str(config)], version([program, "-v"])


def mitmproxy(folder):
    program = SCRATCH / "mitmproxy/bin/mitmdump"
    if not program.exists():
        return None, "mitmproxy is not installed"
    addon = folder / "allow.py"
    addon.write_text(
        '''from mitmproxy import http
NAMES = {"allowed.test", "inside.test", "read.test"}
def allowed(request):
    host = request.host.lower()
    return request.port in (80, 443) and (host in NAMES or host.endswith(".w.test"))
def http_connect(flow):
    if not allowed(flow.request):
        flow.response = http.Response.make(403)
def requestheaders(flow):
    if not allowed(flow.request) or flow.request.pretty_host.lower() != flow.request.host.lower():
        flow.response = http.Response.make(403)
'''
    )
    command = [
        str(program), "-q", "--mode", "regular", "--listen-host", PROXY[0], "-p", str(PROXY[1]),
        "-s", str(addon), "--ssl-insecure", "--set", "connection_strategy=lazy",
        "--set", f"confdir={folder}", "--set", "upstream_cert=false",
    ]
    return command, version([str(program), "--version"])


def airlock(folder):
    program = options().airlock
    if not program.exists():
        return None, f"{program} is not built"
    config = folder / "airlock.yaml"
    config.write_text(
        f"""version: 1
state_dir: {folder}/state
listeners:
  explicit: {PROXY[0]}:{PROXY[1]}
  reverse:
    host: inside.test
    listen: 127.0.0.1:8787
    routes: [{{path_prefix: /comfy, upstream: 'http://{COMFYUI[0]}:{COMFYUI[1]}'}}]
front_door:
  listen: {FRONT_DOOR[0]}:{FRONT_DOOR[1]}
  comfyui: http://{COMFYUI[0]}:{COMFYUI[1]}
packs: []
llm: {{discover: false}}
rules:
  - {{name: allowed, hosts: [allowed.test], action: tunnel}}
  - {{name: below, hosts: ['*.w.test'], action: tunnel}}
  - {{name: inside, hosts: [inside.test], paths: [/open/*], respond: image}}
  - {{name: read-only, hosts: [read.test], methods: [GET, HEAD], respond: image}}
  - {{name: international, hosts: [bücher.test], respond: image}}
limits: {{head_timeout: 400ms, client_hello_timeout: 400ms}}
""",
        encoding="utf-8",
    )
    return [str(program), "run", "--config", str(config)], version([str(program), "--version"])


def plays(name, entry):
    """Whether this proxy has such an entry."""
    if entry == "connect_intercepted":
        return name in ("airlock", "mitmproxy")
    if entry == "front_door":
        return name == "airlock"
    return entry in SHARED


CONTENDERS = {"airlock": airlock, "mitmproxy": mitmproxy, "squid": squid, "tinyproxy": tinyproxy}


def version(command):
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    first = (out.stdout or out.stderr).strip().splitlines()
    return first[0].replace("Mitmproxy:", "mitmproxy").replace("Squid Cache: Version", "squid") if first else "?"


# ---- one case ----


class Preparation(Exception):
    """The CONNECT or handshake that a case needs was not let through."""


def read_head(stream, until):
    data = b""
    while b"\r\n\r\n" not in data:
        wait(stream, until)
        piece = stream.recv(65536)
        if not piece:
            raise OSError("it ended")
        data += piece
    return data


def wait(stream, until):
    if isinstance(stream, ssl.SSLSocket) and stream.pending():
        return
    if not select.select([stream], [], [], max(0, until - time.monotonic()))[0]:
        raise TimeoutError


def play(case, trust):
    """Sends it, and waits until the proxy has said its last word or PATIENCE is over."""
    until = time.monotonic() + 3
    stream = socket.create_connection(DOORS[case["entry"]], timeout=3)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        if case["tunnel"]:
            stream.sendall(f"CONNECT {case['tunnel']} HTTP/1.1\r\nHost: {case['tunnel']}\r\n\r\n".encode())
            try:
                head = read_head(stream, until)
            except OSError as e:
                raise Preparation(f"CONNECT: {e}") from e
            if head.split(b" ")[1:2] != [b"200"]:
                raise Preparation(head.split(b"\r\n")[0].decode("latin-1"))
        if case["inside"]:
            try:
                stream = trust.wrap_socket(stream, server_hostname=case["inside"], suppress_ragged_eofs=True)
            except OSError as e:
                raise Preparation(f"handshake: {e}") from e
        yield "ready"
        for step in case["steps"]:
            data = base64.b64decode(step["bytes"])
            if step["act"] == "half_close":
                if not isinstance(stream, ssl.SSLSocket):
                    stream.shutdown(socket.SHUT_WR)
                continue
            try:
                stream.sendall(data)
                if step["act"] == "answered":
                    head = read_head(stream, until)
                    length = next(
                        (int(l.split(b":")[1]) for l in head.split(b"\r\n") if l.lower().startswith(b"content-length:")), 0
                    )
                    body = head.split(b"\r\n\r\n", 1)[1]
                    while len(body) < length:
                        wait(stream, until)
                        piece = stream.recv(65536)
                        if not piece:
                            break
                        body += piece
                    yield "ready"
                elif step["act"] == "flight":
                    wait(stream, time.monotonic() + PATIENCE)
                    stream.recv(65536)
            except TimeoutError as e:
                if step["act"] == "answered":
                    raise Preparation("the first request was not answered") from e
            except OSError:
                pass
        until = time.monotonic() + PATIENCE
        said = b""
        try:
            while len(said) < 1 << 20:
                wait(stream, until)
                piece = stream.recv(65536)
                if not piece:
                    break
                said += piece
                # An answer is there; a little longer for what comes behind it.
                until = min(until, time.monotonic() + 0.05)
        except OSError:
            pass
        yield said
    finally:
        stream.close()


def verdict(case, outside, trust):
    outside.seen()
    before, said = outside.received, b""
    try:
        for state in play(case, trust):
            if state == "ready":
                outside.seen()
                before = outside.received
            else:
                said = state
    except Preparation as e:
        return "other", str(e)
    # What was written to the outside is counted by a thread of its own.
    time.sleep(0.002)
    connections, names = outside.seen()
    # Our own connection was seen before the first "ready": another one to a listener of the proxy is its own.
    loops = any(c[1] in (PROXY[1], FRONT_DOOR[1]) for c in connections)
    passed = outside.received > before
    if case["expected"] == "allowed":
        return ("denied" if said == b"" or said[:12].split(b" ")[1:2] in ([b"403"], [b"400"]) else "allowed"), ""
    if passed or (connections and not case["tunnel"]) or loops:
        return "let out", str(connections[:1])
    if names:
        return "asked", repr(sorted(names)[:1])
    return "denied", ""


# ---- the run ----


def inside(name):
    """In the namespace: plays all cases against one proxy, prints one JSON object."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"matrix-{name}-", dir=SCRATCH))
    ip = lambda *a: subprocess.run(["ip", *a], check=True)
    ip("link", "set", "lo", "up")
    ip("route", "add", "local", "0.0.0.0/0", "dev", "lo")
    ip("-6", "route", "add", "local", "::/0", "dev", "lo")
    for target, text in (
        ("/etc/resolv.conf", f"nameserver {NAME_SERVER}\noptions timeout:1 attempts:1\n"),
        ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ):
        file = folder / pathlib.Path(target).name
        file.write_text(text)
        subprocess.run(["mount", "--bind", file, target], check=True)
    outside = Outside(folder)
    command, words = CONTENDERS[name](folder)
    if command is None:
        print(json.dumps({"name": name, "missing": words}))
        return
    environment = {"PATH": search_path(), "HOME": str(folder), "LANG": "C.UTF-8"}

    def start():
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=open(folder / "stderr", "ab")
        )
        for _ in range(300):
            try:
                socket.create_connection(PROXY, timeout=1).close()
                return process
            except OSError:
                if process.poll() is not None:
                    break
                time.sleep(0.1)
        sys.exit(f"{name} did not start: {(folder / 'stderr').read_text()[-2000:]}")

    process = start()
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    results, restarts = [], 0
    began = time.monotonic()
    for line in open(SCRATCH / "cases.jsonl", encoding="utf-8"):
        case = json.loads(line)
        if not plays(name, case["entry"]):
            continue
        found, detail = verdict(case, outside, trust)
        if process.poll() is not None:
            found, detail = "other", "the proxy died"
            process, restarts = start(), restarts + 1
        results.append([case["group"], case["entry"], case["expected"], found, case["case"], detail])
    process.send_signal(signal.SIGKILL)
    process.wait()
    seconds = round(time.monotonic() - began)
    print(json.dumps({"name": name, "version": words, "results": results, "restarts": restarts, "seconds": seconds}))
    shutil.rmtree(folder, ignore_errors=True)


def main():
    SCRATCH.mkdir(parents=True, exist_ok=True)
    if not (SCRATCH / "mitmproxy/bin/mitmdump").exists() and "mitmproxy" in options().only:
        print(f"==> installing {MITMPROXY} into {SCRATCH / 'mitmproxy'}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", SCRATCH / "mitmproxy"], check=True)
        pip = [SCRATCH / "mitmproxy/bin/pip", "install", "-q", "--disable-pip-version-check", MITMPROXY]
        subprocess.run(pip, check=False)
    with open(SCRATCH / "cases.jsonl", "wb") as out:
        proxy = f"{PROXY[0]}:{PROXY[1]}"
        subprocess.run([options().airlock, "selftest", "--dump", proxy], stdout=out, check=True)
    runs = {}
    for name in options().only:
        runs[name] = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--net", "--mount", "--", sys.executable, HERE,
             "--airlock", options().airlock, "--inside", name],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PATH": search_path()},
        )
    found = {}
    for name, process in runs.items():
        out, _ = process.communicate()
        if process.returncode:
            sys.exit(f"error: the run of {name} ended with {process.returncode}")
        found[name] = json.loads(out)
        print(f"{name}: {found[name].get('seconds', 0)} s", file=sys.stderr)
    (SCRATCH / "found.json").write_text(json.dumps(found))
    text = page(found)
    options().out.write_text(text, encoding="utf-8")
    print(text)


def page(found):
    there = {n: f for n, f in found.items() if "results" in f}
    titles = json.loads(os.environ.get("MATRIX_TITLES", "{}")) or titles_of_the_page()
    lines = [HEAD.rstrip(), "", "| | version | cases | denied | asked | let out | other | controls that passed |", "|---|---|---:|---:|---:|---:|---:|---:|"]
    for name, f in there.items():
        shared = [r for r in f["results"] if r[1] in SHARED]
        must = [r for r in shared if r[2] == "refused"]
        count = collections.Counter(r[3] for r in must)
        controls = [r for r in shared if r[2] == "allowed"]
        passed = sum(r[3] == "allowed" for r in controls)
        cells = " | ".join(str(count[k]) for k in ("denied", "asked", "let out", "other"))
        lines.append(f"| {name} | {f['version']} | {len(must)} | {cells} | {passed} of {len(controls)} |")
    for name, f in found.items():
        if "missing" in f:
            lines.append(f"\n{f['missing']}: left out.")
    lines += ["", "## Entry by entry", "", *LEGEND, ""]
    lines.append("| entry | " + " | ".join(there) + " |")
    lines.append("|---|" + "---:|" * len(there))
    for entry in DOORS:
        cells = []
        for name, f in there.items():
            of = lambda expected: [r[3] for r in f["results"] if r[1] == entry and r[2] == expected]
            passed = f"; controls {of('allowed').count('allowed')}/{len(of('allowed'))}"
            cells.append(denied(of("refused")) + passed if plays(name, entry) else "n/a")
        lines.append(f"| {ENTRIES[entry]} | " + " | ".join(cells) + " |")
    lines += ["", "## Group by group", "", *LEGEND, "The last column is the front door of Airlock, in the others it is not counted.", ""]
    lines.append("| # | what is tried | " + " | ".join(there) + " | front door |")
    lines.append("|---:|---|" + "---:|" * len(there) + "---:|")
    groups = sorted({r[0] for f in there.values() for r in f["results"] if r[2] == "refused"})
    for group in groups:
        of = lambda f, entries: [r[3] for r in f["results"] if r[0] == group and r[2] == "refused" and r[1] in entries]
        cells = [denied(of(f, SHARED)) for f in there.values()]
        cells.append(denied(of(there["airlock"], ("front_door",))) if "airlock" in there else "")
        lines.append(f"| {group} | {titles.get(str(group), '')} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def denied(rows):
    """How many of them were, and in brackets what the others were; nothing where nothing was played."""
    if not rows:
        return ""
    count = collections.Counter(rows)
    marks = [f"{count[k]} {m}" for k, m in (("let out", "o"), ("asked", "n"), ("other", "?")) if count[k]]
    return f"{count['denied']}/{len(rows)}" + (f" ({', '.join(marks)})" if marks else "")


def titles_of_the_page():
    titles = {}
    for line in (ROOT / "docs/EGRESS.md").read_text(encoding="utf-8").splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if len(cells) > 3 and cells[0].isdigit():
            titles[cells[0]] = cells[1]
    return titles


ENTRIES = {
    "explicit_plain": "absolute URI",
    "connect_tunnel": "CONNECT",
    "connect_intercepted": "inside an intercepted CONNECT",
    "front_door": "front door (calls of ComfyUI's page)",
}
LEGEND = ["Denied of all that must be denied; in brackets what was let out (o), what asked a name server (n) and", "the rest (?)."]
HEAD = """\
# The same attacks against other proxies

Written by `just matrix` (`tests/matrix/matrix.py`): the bytes of [EGRESS.md](EGRESS.md)'s cases, sent to
Airlock and to three well-known proxies in one run, each in a network namespace where every address is local,
listeners stand for the outside, and packets are counted. All four have the same allow-list (`allowed.test`,
`*.w.test` without its apex, `inside.test`, `read.test`, ports 80 and 443), squid and Airlock with private
addresses closed, mitmproxy with `connection_strategy=lazy`. The configurations are in the script.

**How to read it.** *denied*: nothing reached the outside and no name server was asked, whatever the client was
told. *asked*: refused in the end, but a name server was asked. *let out*: a connection to the outside was opened,
or, behind a CONNECT that had to be allowed, bytes of the case were passed on. *other*: the case could not be
played or the proxy died.

**What it does not say.** It is our list and our idea of what must be refused. tinyproxy and squid relay what is
behind an allowed CONNECT without looking, by design: groups 26 and 29 to 33 are not their job, and count here all
the same. A proxy that repairs a malformed request and sends a clean one counts as *let out*, and may be as safe;
so does one that goes on with an allowed request behind a refused one (group 25).
The rules about paths, methods and upgrades of a host (groups 27, 40, 41, 43, 52) have no counterpart in the other
three configurations, which allow hosts. Every one of them can be configured further than this. Cases inside an
intercepted CONNECT are played against Airlock and mitmproxy, which intercept. Airlock's front door, a page's way
to the vendor, has no counterpart in the others (n/a): its cases are in columns of their own, and a connection to
ComfyUI counts as *let out* there. The reverse and redirected entries, the control plane and what only tests of
ours can prove are not in the tables. Two runs of mitmproxy differed in two cases (a ClientHello that comes byte by
byte among them): the last digit is not to be leaned on.
"""


def search_path():
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--airlock", type=pathlib.Path, default=BUILD / "debug/airlock")
    parser.add_argument("--only", action="append", choices=list(CONTENDERS))
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/MATRIX.md")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    found = parser.parse_args()
    found.only = found.only or list(CONTENDERS)
    return found


if __name__ == "__main__":
    if options().inside:
        inside(options().inside)
    else:
        main()
