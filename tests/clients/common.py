"""What every SDK script here shares: where Airlock is, and how a check is reported.

A script is started by `tests/it/clients.rs` with the environment that `airlock exec` would give
the plugin, and these variables:

  AIRLOCK_ENTRY      `proxy` (vendor URLs through HTTPS_PROXY) or `reverse` (AIRLOCK_REVERSE as base URL)
  AIRLOCK_PROXY      http://127.0.0.1:PORT of the explicit listener
  AIRLOCK_REVERSE    http://127.0.0.1:PORT of the reverse listener
  AIRLOCK_LLM        `up` or `down`: whether an LLM is behind Airlock
  FAKE_LLM_LOG       file in which `fake_llm.py` writes what reached it

It prints one JSON line per check, `{"check", "ok", "detail"}`, and exits 1 if one failed.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

VENDOR = "https://comfyui-copilot-server.onrender.com"
VENDOR_PAGE = "https://comfyui-copilot-server-pre.onrender.com"
BING = "https://mcp.api-inference.modelscope.net/8c9fe550938e4f/sse"
MODELSCOPE = "https://www.modelscope.cn"
# A name that no rule allows and that does not exist either.
UNLISTED = "unlisted.example"

# What the plugin sends as its key. It may reach Airlock, and nobody behind it.
PLUGIN_KEY = "cp-plugin-credential-7c1d"
# What the person configured for the LLM.
LLM_KEY = "local-llm-secret-93ab"

PLUGIN_MODEL = "gemini-2.5-flash"
REWRITE_MODEL = "us.anthropic.claude-sonnet-4-20250514-v1:0"

ENTRY = os.environ.get("AIRLOCK_ENTRY", "proxy")
LLM_IS_UP = os.environ.get("AIRLOCK_LLM", "up") == "up"


def vendor() -> str:
    """The base URL that stands for the vendor's Python-side host."""
    return os.environ["AIRLOCK_REVERSE"] if ENTRY == "reverse" else VENDOR


_failed = 0


def report(check: str, ok: bool, detail: str = "") -> None:
    global _failed
    _failed += not ok
    print(json.dumps({"check": f"{ENTRY}: {check}", "ok": ok, "detail": detail[:2000]}), flush=True)


class Check:
    """Handed to the body of a check; `detail` is what the report says when it went well."""

    detail = ""


@contextmanager
def check(name: str, within: float = 20.0) -> Iterator[Check]:
    """Reports `name`: failed when the body raises, or took longer than `within` seconds."""
    state = Check()
    start = time.monotonic()
    try:
        yield state
    except Exception as error:  # a check must never end the script
        while getattr(error, "exceptions", None):  # a task group's error says nothing by itself
            error = error.exceptions[0]
        where = traceback.extract_tb(error.__traceback__)[-1]
        report(name, False, f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})")
        return
    took = time.monotonic() - start
    if took > within:
        report(name, False, f"took {took:.2f} s, {within} s allowed; {state.detail}")
    else:
        report(name, True, state.detail or f"{took:.2f} s")


def expect(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def equal(found: Any, wanted: Any, what: str) -> None:
    expect(found == wanted, f"{what} is {found!r}, wanted {wanted!r}")


def finish() -> None:
    sys.exit(1 if _failed else 0)


class UpstreamLog:
    """What reached the LLM since this object was made, or since the LLM was started."""

    def __init__(self, from_start: bool = False) -> None:
        self._path = Path(os.environ["FAKE_LLM_LOG"])
        self._start = 0 if from_start or not self._path.exists() else self._path.stat().st_size

    def requests(self) -> list[dict[str, Any]]:
        with self._path.open("rb") as log:
            log.seek(self._start)
            return [json.loads(line) for line in log if line.strip()]

    def chats(self) -> list[dict[str, Any]]:
        """Bodies of the chat requests, parsed."""
        return [
            json.loads(base64.b64decode(r["body"]))
            for r in self.requests()
            if r["path"].endswith("/chat/completions")
        ]

    def raw_bodies(self) -> list[bytes]:
        return [base64.b64decode(r["body"]) for r in self.requests()]

    def refused(self) -> list[str]:
        """Why the strict LLM turned a request down."""
        return [r["refused"] for r in self.requests() if r["refused"]]


def nothing_private_went_upstream(log: UpstreamLog) -> None:
    """The plugin's credential and session stay with Airlock; the configured key arrives."""
    requests = log.requests()
    expect(bool(requests), "no request reached the LLM")
    for request in requests:
        headers = {name.lower(): value for name, value in request["headers"]}
        everything = json.dumps(request["headers"]).encode() + base64.b64decode(request["body"])
        expect(PLUGIN_KEY.encode() not in everything, f"the plugin's credential reached {request['path']}")
        equal(headers.get("authorization"), f"Bearer {LLM_KEY}", f"authorization of {request['path']}")
        for name in ("cookie", "proxy-authorization", "proxy-connection"):
            expect(name not in headers, f"{name} reached {request['path']}")
