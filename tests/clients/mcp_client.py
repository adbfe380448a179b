"""The MCP SDK, 1.14 and 2.3, as the plugin connects to its two servers for every chat turn."""

import asyncio
import json
import time
from contextlib import asynccontextmanager
from importlib.metadata import version

import anyio
from mcp import ClientSession
from mcp.client import streamable_http
from mcp.client.sse import sse_client

from common import BING, ENTRY, PLUGIN_KEY, check, equal, expect, finish, vendor

HEADERS = {"X-Session-Id": "6f1c2b8e-0000-4000-8000-000000000001", "Authorization": f"Bearer {PLUGIN_KEY}"}
IS_V2 = int(version("mcp").split(".")[0]) >= 2

SERVERS = {"vendor": f"{vendor()}/mcp-server/mcp"}
if ENTRY == "proxy":
    SERVERS["bing"] = BING


@asynccontextmanager
async def session_over_sse(url: str):
    async with sse_client(url, headers=HEADERS, timeout=10) as (read, write):
        async with ClientSession(read, write) as session:
            yield session


@asynccontextmanager
async def session_over_http(url: str):
    if IS_V2:
        async with streamable_http.create_mcp_http_client(headers=HEADERS) as http:
            async with streamable_http.streamable_http_client(url, http_client=http) as streams:
                async with ClientSession(streams[0], streams[1]) as session:
                    yield session
    else:
        async with streamable_http.streamablehttp_client(url, headers=HEADERS, timeout=10) as streams:
            async with ClientSession(streams[0], streams[1]) as session:
                yield session


def protocol(result) -> str:
    return result.protocol_version if IS_V2 else result.protocolVersion


async def greet(session) -> str:
    """What each chat turn does: greet, list the tools, and a ping on top."""
    result = await session.initialize()
    tools = (await session.list_tools()).tools
    names = [tool.name for tool in tools]
    equal(len(set(names)), len(names), "distinct tool names")
    await session.send_ping()
    return f"mcp {version('mcp')}, protocol {protocol(result)}, tools {names}"


async def unknown_tool(session) -> str:
    """A failing tool is `isError`, never a JSON-RPC error: that ends a chat turn of old agents."""
    await session.initialize()
    result = await session.call_tool("no_such_tool", {"query": "x"})
    expect(result.is_error if IS_V2 else result.isError, f"no error flag in {result}")
    return result.content[0].text


async def discover_first(session) -> str:
    """How mcp 2.x opens: `server/discover`, refused at once, then `initialize` on the same session."""
    from mcp import MCPError

    start = time.monotonic()
    try:
        await session.send_discover("2026-07-28")
    except MCPError as error:
        equal(error.error.code, -32601, f"code of {error!r}")
    else:
        raise AssertionError("server/discover was accepted: 2.x then wants fields that nobody sends")
    took = time.monotonic() - start
    expect(took < 0.5, f"the refusal took {took:.2f} s")
    return f"refused in {took * 1000:.0f} ms; " + await greet(session)


async def run(name: str, transport, url: str, what, within: float = 3) -> None:
    with check(name, within=within) as found:
        with anyio.fail_after(20):
            async with transport(url) as session:
                found.detail = await what(session)


async def both_servers_at_once() -> None:
    with check("ten chat turns at once, both servers each", within=60) as found:
        async def turn() -> None:
            with anyio.fail_after(20):
                for url in SERVERS.values():
                    async with session_over_sse(url) as session:
                        await greet(session)
        await asyncio.gather(*(turn() for _ in range(10)))
        found.detail = f"{10 * len(SERVERS)} sessions"


async def high_level_client() -> None:
    """mcp 2.x's own `Client`, which discovers first and falls back by itself."""
    from mcp import Client

    for name, url in SERVERS.items():
        with check(f"{name}: mcp.Client over SSE", within=3) as found:
            with anyio.fail_after(20):
                async with Client(sse_client(url, headers=HEADERS, timeout=10)) as client:
                    found.detail = json.dumps([tool.name for tool in (await client.list_tools()).tools])


async def main() -> None:
    for name, url in SERVERS.items():
        await run(f"{name}: SSE: initialize, list tools, ping", session_over_sse, url, greet)
        await run(f"{name}: SSE: a failing tool is an error of the tool", session_over_sse, url, unknown_tool)
        await run(f"{name}: streamable HTTP: initialize, list tools, ping", session_over_http, url, greet)
        if IS_V2:
            await run(f"{name}: SSE: server/discover is refused at once", session_over_sse, url, discover_first)
    if IS_V2:
        await high_level_client()
    await both_servers_at_once()


asyncio.run(main())
finish()
