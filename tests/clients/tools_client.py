"""The tools of both MCP servers by the real SDK, as the plugin's agent lists and calls them.

ComfyUI is the stand-in of `tests/it/tools`; no LLM is there.
"""

import asyncio
import json

import anyio
from mcp import ClientSession
from mcp.client.sse import sse_client

from common import BING, PLUGIN_KEY, check, equal, expect, finish, vendor

HEADERS = {"X-Session-Id": "6f1c2b8e-0000-4000-8000-000000000002", "Authorization": f"Bearer {PLUGIN_KEY}"}
VENDOR = f"{vendor()}/mcp-server/mcp"
ORDER = {VENDOR: ["recall_workflow", "gen_workflow", "search_node", "explain_node", "search_model"], BING: ["bing_search"]}


async def tools_of(url):
    async with sse_client(url, headers=HEADERS, timeout=10) as (read, write):
        async with ClientSession(read, write) as session:
            await session.initialize()
            return (await session.list_tools()).tools


async def call(url, name, arguments):
    """The text of the result, and whether it is a failure."""
    async with sse_client(url, headers=HEADERS, timeout=10) as (read, write):
        async with ClientSession(read, write) as session:
            await session.initialize()
            result = await session.call_tool(name, arguments)
            failed = getattr(result, "is_error", None)
            return result.content[0].text, result.isError if failed is None else failed


async def listed() -> None:
    for url, names in ORDER.items():
        with check(f"{names[0]} and the others are listed in one order with schemas", within=60) as found:
            first, second = [t.name for t in await tools_of(url)], [t.name for t in await tools_of(url)]
            # Tools that were added since stand behind or between; the order of these holds.
            equal([n for n in first if n in names], names, "order")
            equal(first, second, "the second list")
            for tool in await tools_of(url):
                schema = getattr(tool, "input_schema", None) or tool.inputSchema
                equal(schema["type"], "object", f"schema of {tool.name}")
                expect(len(tool.description) > 20, f"{tool.name} says nothing of itself")
            found.detail = json.dumps(first)


async def called() -> None:
    for url, name, arguments, kind, needle in [
        (VENDOR, "recall_workflow", {"keywords": ["text to image"], "name": "", "description": "a cat"}, "workflow", "template:default"),
        (VENDOR, "recall_workflow", {"keywords": ["文生图"]}, "workflow", "图像生成"),
        (VENDOR, "search_node", {"query": "upscale image"}, "node", "ImageUpscaleWithModel"),
        (VENDOR, "search_node", {"query": "采样器", "limit": 3}, "node", "KSampler"),
        (VENDOR, "explain_node", {"node_name": "KSampler"}, "node", "1 to 10000; default 20"),
        (VENDOR, "search_model", {"query": "sdxl"}, "model", "sd_xl_base_1.0.safetensors"),
        (BING, "bing_search", {"query": "ksampler"}, None, "NOT a web search"),
    ]:
        with check(f"{name} {json.dumps(arguments)}", within=60) as found:
            with anyio.fail_after(60):
                text, failed = await call(url, name, arguments)
            expect(not failed, text)
            expect(len(text) < 1 << 20, "a result over 1 MiB ends the session of mcp 2.x")
            # As the plugin reads it.
            envelope = json.loads(text)
            expect(needle in envelope["answer"], f"{needle} is not in {envelope['answer']}")
            if kind:
                equal(envelope["ext"][0]["type"], kind, "type of the cards")
                expect(len(envelope["data"]) > 0, "no data")
            else:
                equal(envelope["ext"], None, "cards")
            found.detail = envelope["answer"].splitlines()[0]


async def failed() -> None:
    for url, name, arguments, needle in [
        (VENDOR, "search_node", {}, 'say in "query"'),
        (VENDOR, "recall_workflow", {"keywords": []}, 'say in "keywords"'),
        (VENDOR, "explain_node", {"node_name": "NodeOfNobody"}, "No node named NodeOfNobody"),
        (VENDOR, "bing_search", {"query": "x"}, "no tool of this name"),
        (BING, "bing_search", {"query": 5.5}, ""),
    ]:
        with check(f"{name} {json.dumps(arguments)} fails in words or works, and the session lives", within=60) as found:
            text, is_failure = await call(url, name, arguments)
            expect(is_failure or needle == "", f"no failure: {text}")
            expect(needle in text, f"{needle} is not in {text}")
            found.detail = text[:100]


async def main() -> None:
    await listed()
    await called()
    await failed()


asyncio.run(main())
finish()
