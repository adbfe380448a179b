"""httpx (and httpx2 where it is there), as the SDKs under the plugin use it."""

import asyncio
import importlib
import importlib.util
import json

from common import (
    ENTRY, LLM_IS_UP, PLUGIN_KEY, PLUGIN_MODEL, UNLISTED, VENDOR_PAGE, UpstreamLog, check, equal, expect, finish,
    nothing_private_went_upstream, vendor,
)

BEARER = {"Authorization": f"Bearer {PLUGIN_KEY}", "X-Session-Id": "6f1c2b8e-0000-4000-8000-000000000001"}

# Odd but legal JSON that any re-serialisation would change.
ODD = b'"x_unknown" : {"z":1.0,"a":[1e2, 10000000000000000001,-0.0],"t":"\\u00e9\\/\xc3\xa9","n":null}'


def models(library) -> None:
    with check(f"{library.__name__}: GET /v1/models answers at once", within=3) as found:
        answer = library.get(f"{vendor()}/v1/models", headers=BEARER, timeout=10)
        if LLM_IS_UP:
            equal(answer.status_code, 200, "status")
            expect("local-model" in answer.text, answer.text[:200])
        found.detail = f"{answer.http_version} {answer.status_code}"


def untouched(library) -> None:
    log = UpstreamLog()
    with check(f"{library.__name__}: JSON that Airlock does not know passes byte for byte"):
        body = (b'{"model":"%s", %s,"messages":[{"role":"user","content":"hello","name_x":"\xf0\x9f\x8e\xa8"}]}'
                % (PLUGIN_MODEL.encode(), ODD))
        answer = library.post(f"{vendor()}/v1/chat/completions", content=body, timeout=10,
                              headers={**BEARER, "Content-Type": "application/json"})
        equal(answer.status_code, 200, "status")
        expect("🎨" in answer.json()["choices"][0]["message"]["content"], answer.text[:300])
        (arrived,) = log.raw_bodies()
        expect(ODD in arrived, f"the unknown field arrived as {arrived!r}")
        nothing_private_went_upstream(log)


async def concurrent(library) -> None:
    with check(f"{library.__name__}: 40 requests at once") as found:
        async with library.AsyncClient(timeout=15) as client:
            async def one(number: int) -> None:
                body = {"model": PLUGIN_MODEL, "messages": [{"role": "user", "content": f"number {number}"}]}
                answer = await client.post(f"{vendor()}/v1/chat/completions", json=body, headers=BEARER)
                equal(answer.status_code, 200, f"status of {number}")
            await asyncio.gather(*(one(number) for number in range(40)))
        found.detail = "40 answers"


def cors(library) -> None:
    origin = "http://127.0.0.1:8188"
    asked = "authorization,content-type,trace-id,access-control-allow-origin,openai-base-url"
    with check(f"{library.__name__}: a preflight is answered", within=3):
        answer = library.options(f"{VENDOR_PAGE}/api/chat/get_optimized_workflow", timeout=5, headers={
            "Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked})
        expect(answer.is_success, f"status {answer.status_code}")
        expect(answer.headers.get("access-control-allow-origin") in (origin, "*"), str(dict(answer.headers)))
        allowed = {name.strip().lower() for name in answer.headers.get("access-control-allow-headers", "").split(",")}
        expect(set(asked.split(",")) <= allowed, f"allowed are {sorted(allowed)}")
    with check(f"{library.__name__}: the RSA key is a real one", within=3):
        answer = library.get(f"{VENDOR_PAGE}/api/chat/rsa_public_key", headers={"Origin": origin}, timeout=5)
        expect(answer.headers.get("access-control-allow-origin") in (origin, "*"), str(dict(answer.headers)))
        expect(answer.json()["data"].startswith("-----BEGIN PUBLIC KEY-----"), answer.text[:100])
    with check(f"{library.__name__}: an uploaded image comes back as a data URL", within=3):
        picture = b"\x89PNG\r\n\x1a\n" + bytes(64)
        answer = library.post(f"{VENDOR_PAGE}/api/chat/imgfile2oss", timeout=5, headers={"Origin": origin},
                              files={"file": ("a.png", picture, "image/png")})
        expect(answer.json()["data"].startswith("data:image/png;base64,"), answer.text[:100])
    with check(f"{library.__name__}: an intent ends with a finished line", within=5) as found:
        body = {"session_id": "s", "prompt": "VAEDecode", "mock": False, "intent": "node_explain", "ext": [],
                "messages": [{"role": "user", "content": "VAEDecode"}], "images": [], "workflow_checkpoint_id": None}
        answer = library.post(f"{VENDOR_PAGE}/api/chat/invoke", json=body, headers={**BEARER, "Origin": origin}, timeout=5)
        last = json.loads(answer.text.strip().splitlines()[-1])
        expect(last["finished"] is True and last["text"], f"last line is {last}")
        found.detail = last["text"]


def denied(library) -> None:
    with check(f"{library.__name__}: a refused CONNECT is a proxy error", within=2) as found:
        try:
            library.get(f"https://{UNLISTED}/", timeout=5)
        except library.ProxyError as error:
            expect("403" in str(error), str(error))
            found.detail = str(error)
        else:
            raise AssertionError("the request went through")
    with check(f"{library.__name__}: a refusal over plain HTTP is typed", within=2):
        answer = library.get(f"http://{UNLISTED}/", timeout=5)
        equal(answer.status_code, 403, "status")
        expect("x-airlock-decision" in answer.headers, str(dict(answer.headers)))
        equal(answer.json()["error"]["host"].rsplit(":", 1)[0], UNLISTED, "host")


for name in ("httpx", "httpx2"):
    if importlib.util.find_spec(name) is None:
        continue
    library = importlib.import_module(name)
    models(library)
    if LLM_IS_UP:
        untouched(library)
        asyncio.run(concurrent(library))
    if ENTRY == "proxy":
        cors(library)
        denied(library)
finish()
