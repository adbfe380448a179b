"""requests and the OpenAI SDK with a session's token, at the front door: each goes on with the token that
an answer brings, as docs/SESSIONS.md tells programs to."""

import os
from pathlib import Path

import openai
import requests

from common import check, equal, expect, finish

DOOR = "http://" + os.environ["AIRLOCK_DOOR"]
FRESH = "X-Airlock-Token"
old = os.environ["AIRLOCK_TOKEN"]


def of_the_sdk(token):
    """What the answer to the SDK brings; whether an LLM is there does not matter."""
    client = openai.OpenAI(base_url=f"{DOOR}/airlock/llm/v1", api_key=token, max_retries=0)
    try:
        return client.models.with_raw_response.list().headers
    except openai.APIStatusError as e:
        expect(e.status_code not in (401, 403), f"refused: {e}")
        return e.response.headers


session = requests.Session()
session.headers["Authorization"] = f"Bearer {old}"


def keep(answer, **_):
    if FRESH in answer.headers:
        session.headers["Authorization"] = "Bearer " + answer.headers[FRESH]


session.hooks["response"].append(keep)

with check("requests is given a token by ComfyUI's answer and goes on with it") as found:
    first = session.get(f"{DOOR}/api/queue", timeout=10)
    equal(first.status_code, 200, "status")
    expect(FRESH in first.headers, f"no token in {dict(first.headers)}")
    equal(first.headers["Cache-Control"], "no-store", "caching")
    second = session.get(f"{DOOR}/api/queue", timeout=10)
    equal(second.status_code, 200, "status with the new token")
    expect(FRESH not in second.headers, "a fresh token brings another")
    Path(os.environ["AIRLOCK_KEPT"]).write_text(first.headers[FRESH])
with check("the OpenAI SDK is given one by an answer of Airlock's own"):
    fresh = of_the_sdk(old).get(FRESH)
    expect(fresh and fresh != old, f"no token: {fresh}")
    expect(of_the_sdk(fresh).get(FRESH) is None, "a fresh token brings another")
finish()
