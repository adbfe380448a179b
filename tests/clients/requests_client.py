"""requests, as the plugin's model list, model search and telemetry use it.

With urllib3 1.26 (set `old`) CONNECT goes out as HTTP/1.0 without a single header.
"""

import json
import os
import re
import socket
import time
from urllib.parse import urlsplit

import requests
import urllib3

from common import (
    ENTRY, LLM_IS_UP, MODELSCOPE, PLUGIN_KEY, UNLISTED, VENDOR_PAGE, UpstreamLog, check, equal, expect, finish,
    nothing_private_went_upstream, vendor,
)

BEARER = {"Authorization": f"Bearer {PLUGIN_KEY}"}


def model_list() -> None:
    # The list may come from a copy that Airlock keeps: what it fetched before counts as well.
    log = UpstreamLog(from_start=True)
    with check("GET /v1/models lists models at once", within=3) as found:
        answer = requests.get(f"{vendor()}/v1/models", headers=BEARER, timeout=10)
        if LLM_IS_UP:
            equal(answer.status_code, 200, "status")
            names = [model["id"] for model in answer.json()["data"]]
            expect("local-model" in names, f"the local model is not in {names}")
            nothing_private_went_upstream(log)
            found.detail = f"urllib3 {urllib3.__version__}: {names}"
        else:
            # Any status: the plugin shows its built-in list. A hang would freeze ComfyUI.
            found.detail = f"LLM down: {answer.status_code} in {answer.elapsed.total_seconds():.2f} s"


def model_search() -> None:
    session = requests.Session()
    session.headers.update({
        "Accept": "application/json, text/plain, */*",
        "User-Agent": "ComfyUI-Copilot/1.0 (requests)",
        "x-modelscope-accept-language": "zh_CN",
    })
    with check("ModelScope search has the shape that the plugin reads", within=3) as found:
        query = {"PageSize": 30, "PageNumber": 1, "SortBy": "Default", "Target": "", "SingleCriterion": [],
                 "Name": "pose", "Criterion": None}
        answer = session.put(f"{MODELSCOPE}/api/v1/dolphin/models", json=query, timeout=10)
        equal(answer.status_code, 200, "status")
        models = (answer.json()["Data"] or {}).get("Model", {}).get("Models")
        expect(models is None or isinstance(models, list), f"Models is {models!r}")
        found.detail = f"{len(models or [])} models"
    with check("ModelScope suggestion has the shape that the plugin reads", within=3):
        query = {"PageSize": 30, "PageNumber": 1, "SortBy": "Default", "Target": "", "SingleCriterion": [], "Name": "pose"}
        answer = session.post(f"{MODELSCOPE}/api/v1/dolphin/model/suggestv2", json=query, timeout=10)
        equal(answer.status_code, 200, "status")
        expect("Data" in answer.json(), f"no Data in {answer.text[:200]}")


def telemetry() -> None:
    event = {"event_type": "chat_request", "message_type": "chat", "session_id": "s",
             "data": {"prompt": "a private prompt", "ext": None, "intent": None, "messageId": "m"}}
    with check("telemetry is accepted and kept", within=3) as found:
        answer = requests.post(f"{VENDOR_PAGE}/api/chat/track_event", json=event, headers=BEARER, timeout=10)
        expect(answer.ok, f"status {answer.status_code}")
        expect("a private prompt" not in answer.text, "the prompt came back")
        found.detail = str(answer.status_code)
    with check("agents' traces are accepted and kept", within=3) as found:
        answer = requests.post("https://api.openai.com/v1/traces/ingest", json={"data": [{"object": "trace"}]},
                               headers={**BEARER, "OpenAI-Beta": "traces=v1"}, timeout=10)
        expect(answer.ok, f"status {answer.status_code}")
        found.detail = str(answer.status_code)


def check_denial(status: int, headers: dict, body: bytes) -> str:
    equal(status, 403, "status")
    expect("x-airlock-decision" in headers, f"no x-airlock-decision in {sorted(headers)}")
    expect("proxy-status" in headers, f"no proxy-status in {sorted(headers)}")
    error = json.loads(body)["error"]
    missing = {"code", "message", "host", "rule", "how_to_allow"} - set(error)
    expect(not missing, f"the error lacks {sorted(missing)}")
    equal(error["host"].rsplit(":", 1)[0], UNLISTED, "host")
    return f"{headers['x-airlock-decision']}: {error['message']}"


def connect_raw(line: bytes) -> tuple[int, dict, bytes]:
    """One CONNECT by hand, to see the whole answer that the libraries hide."""
    proxy = urlsplit(os.environ["AIRLOCK_PROXY"])
    with socket.create_connection((proxy.hostname, proxy.port), timeout=5) as plain:
        plain.sendall(line)
        data = b""
        while b"\r\n\r\n" not in data:
            piece = plain.recv(65536)
            expect(bool(piece), f"closed after {data!r}")
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        while len(body) < int(headers.get("content-length", 0)):
            piece = plain.recv(65536)
            expect(bool(piece), "the body of the denial was cut")
            body += piece
        return int(lines[0].split()[1]), headers, body


def denials() -> None:
    with check("an unlisted host is refused on CONNECT, typed", within=2) as found:
        found.detail = check_denial(*connect_raw(
            f"CONNECT {UNLISTED}:443 HTTP/1.1\r\nHost: {UNLISTED}:443\r\n\r\n".encode()))
    with check("an unlisted host is refused on a bare HTTP/1.0 CONNECT, typed", within=2) as found:
        found.detail = check_denial(*connect_raw(f"CONNECT {UNLISTED}:443 HTTP/1.0\r\n\r\n".encode()))
    with check("requests sees the refused CONNECT as a 403 of the proxy", within=2) as found:
        try:
            requests.get(f"https://{UNLISTED}/", timeout=5)
        except requests.exceptions.ProxyError as error:
            expect(re.search(r"\b403\b", str(error)) is not None, f"no 403 in {error}")
            found.detail = str(error)[:120]
        else:
            raise AssertionError("the request went through")
    with check("an unlisted host is refused over plain HTTP, typed", within=2) as found:
        answer = requests.get(f"http://{UNLISTED}/path", timeout=5)
        found.detail = check_denial(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.content)
    with check("an unknown path of a vendor's host ends here, and says so", within=2) as found:
        answer = requests.get(f"{vendor()}/no/such/path", timeout=5)
        expect(400 <= answer.status_code < 500, f"status {answer.status_code}")
        expect("Airlock" in answer.text and "x-airlock-decision" in answer.headers, answer.text[:200])
        found.detail = f"{answer.status_code}: {answer.json()}"


def bare_connect_works() -> None:
    with check("a bare HTTP/1.0 CONNECT to an intercepted host opens a tunnel", within=2) as found:
        status, _, _ = connect_raw(b"CONNECT comfyui-copilot-server.onrender.com:443 HTTP/1.0\r\n\r\n")
        equal(status, 200, "status")
        found.detail = "200"


def keep_alive() -> None:
    with check("one connection carries many requests") as found:
        session = requests.Session()
        start = time.monotonic()
        for _ in range(50):
            answer = session.post(f"{VENDOR_PAGE}/api/chat/track_event", json={"event_type": "x"}, timeout=5)
            expect(answer.ok, f"status {answer.status_code}")
        found.detail = f"50 requests in {time.monotonic() - start:.2f} s"


model_list()
if ENTRY == "proxy":
    bare_connect_works()
    model_search()
    telemetry()
    keep_alive()
    denials()
finish()
