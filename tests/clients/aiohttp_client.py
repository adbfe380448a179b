"""aiohttp with `trust_env`, which is what it takes for it to see a proxy at all.

aiohttp takes no CA from the environment: OpenSSL reads SSL_CERT_FILE when its context is made.
"""

import asyncio
import time

import aiohttp

from common import (
    ENTRY, LLM_IS_UP, PLUGIN_KEY, PLUGIN_MODEL, UNLISTED, UpstreamLog, check, equal, expect, finish,
    nothing_private_went_upstream, vendor,
)

BEARER = {"Authorization": f"Bearer {PLUGIN_KEY}"}


async def main() -> None:
    async with aiohttp.ClientSession(trust_env=True, headers=BEARER, timeout=aiohttp.ClientTimeout(total=15)) as session:
        with check("GET /v1/models answers at once", within=3) as found:
            async with session.get(f"{vendor()}/v1/models") as answer:
                text = await answer.text()
                if LLM_IS_UP:
                    equal(answer.status, 200, "status")
                    expect("local-model" in text, text[:200])
                found.detail = f"aiohttp {aiohttp.__version__}: {answer.status}"

        if LLM_IS_UP:
            log = UpstreamLog()
            with check("a stream arrives piece by piece") as found:
                body = {"model": PLUGIN_MODEL, "stream": True, "messages": [{"role": "user", "content": "[[slow]]"}]}
                start = time.monotonic()
                pieces = []
                async with session.post(f"{vendor()}/v1/chat/completions", json=body) as answer:
                    equal(answer.status, 200, "status")
                    equal(answer.content_type, "text/event-stream", "content type")
                    async for line in answer.content:
                        if line.startswith(b"data: {"):
                            pieces.append(time.monotonic() - start)
                expect(pieces[0] < 0.5, f"the first piece took {pieces[0]:.2f} s: something buffers")
                expect(pieces[-1] > 0.6, "the pause of the model was not seen")
                nothing_private_went_upstream(log)
                found.detail = f"first piece after {pieces[0] * 1000:.0f} ms, last after {pieces[-1] * 1000:.0f} ms"

        if ENTRY == "proxy":
            with check("a refused CONNECT is a proxy error", within=2) as found:
                try:
                    await session.get(f"https://{UNLISTED}/")
                except aiohttp.ClientHttpProxyError as error:
                    equal(error.status, 403, "status")
                    found.detail = str(error)
                else:
                    raise AssertionError("the request went through")
            with check("a refusal over plain HTTP is typed", within=2):
                async with session.get(f"http://{UNLISTED}/") as answer:
                    equal(answer.status, 403, "status")
                    expect("x-airlock-decision" in answer.headers, str(dict(answer.headers)))
                    equal((await answer.json())["error"]["host"].rsplit(":", 1)[0], UNLISTED, "host")


asyncio.run(main())
finish()
