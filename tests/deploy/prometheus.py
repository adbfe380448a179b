"""A real Prometheus on loopback that scrapes a metrics dump, with the configuration that is shipped.

Used by queries.py. The dump is served with its counters at zero first and then as it is, so that
rates, increases and quantiles have two points to work with. Ends what it started, and nothing else.
"""

import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from promql import with_counters_at_zero

ZERO_SCRAPES = 3
FINAL_SCRAPES = 5
# Never through a proxy that the environment names.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class DumpServer:
    """Serves the dump on a port of its own; counts the scrapes."""

    def __init__(self, text):
        before, after = with_counters_at_zero(text).encode(), text.encode()
        self.scrapes = 0
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                with lock:
                    body = before if outer.scrapes < ZERO_SCRAPES else after
                    outer.scrapes += 1
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Prometheus:
    """`with Prometheus(binary, deploy_dir, dump) as p: p.query(expr)`"""

    def __init__(self, binary, rules_dir, text):
        self.binary, self.rules_dir = binary, Path(rules_dir)
        self.dump = DumpServer(text)
        self.folder = Path(tempfile.mkdtemp(prefix="airlock-queries-"))
        self.process = None

    def __enter__(self):
        try:
            self._start()
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.dump.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self):
        shipped = (self.rules_dir / "prometheus.yaml").read_text(encoding="utf-8")
        config = shipped
        for old, new in (
            ("airlock:9464", f"127.0.0.1:{self.dump.port}"),
            ("scrape_interval: 15s", "scrape_interval: 1s"),
            ("evaluation_interval: 15s", "evaluation_interval: 1s"),
        ):
            if config.count(old) != 1:
                raise RuntimeError(f"prometheus.yaml must hold '{old}' once; change this test with it")
            config = config.replace(old, new)
        (self.folder / "prometheus.yaml").write_text(config, encoding="utf-8")
        shutil.copy(self.rules_dir / "alerts.yaml", self.folder / "alerts.yaml")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = (self.folder / "log").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [
                self.binary,
                f"--config.file={self.folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={self.folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def _wait(self):
        """Until enough scrapes were made, and the last of them can be queried."""
        deadline = time.monotonic() + 60
        wanted = ZERO_SCRAPES + FINAL_SCRAPES
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                self.log.seek(0)
                raise RuntimeError(f"prometheus ended with {self.process.returncode}: {self.log.read()[-2000:]}")
            if self.dump.scrapes >= wanted:
                if self.query('sum(count_over_time(up{job="airlock"}[1m]))')[0] >= wanted - 1:
                    return
            time.sleep(0.2)
        raise RuntimeError("prometheus did not scrape the dump within a minute")

    def _call(self, path, **parameters):
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with DIRECT.open(url, timeout=10) as answer:
                body = json.load(answer)
        except urllib.error.HTTPError as error:
            body = json.load(error)
        if body.get("status") != "success":
            raise ValueError(body.get("error", "prometheus gave no reason"))
        return body["data"]

    def query(self, expr):
        """Values of an instant query; a ValueError says why Prometheus refused it."""
        data = self._call("query", query=expr)
        if data["resultType"] == "scalar":
            return [float(data["result"][1])]
        return [float(sample["value"][1]) for sample in data["result"]]

    def alerts(self):
        """(name, health, last error, state) of every alert rule, once each was evaluated."""
        deadline = time.monotonic() + 20
        while True:
            groups = self._call("rules", type="alert")["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            if all(rule["health"] != "unknown" for rule in rules) or time.monotonic() > deadline:
                return [(r["name"], r["health"], r.get("lastError", ""), r["state"]) for r in rules]
            time.sleep(0.2)
