"""openai-agents 0.3 and 0.24: a chat turn as the plugin makes it.

Two MCP servers opened one after the other, an agent on chat completions with a function tool of its
own, and a hand-off to a rewrite agent whose request holds no user message (WIRE.md 2.3).
In `reverse` the model and the first MCP server move by base URL; the second MCP server is
hard-coded in the plugin and still comes through the proxy.
"""

import asyncio
import json
import logging
import os
import time
from importlib.metadata import version

# As the plugin's process with tracing on: traces go to api.openai.com with this key.
os.environ["OPENAI_API_KEY"] = "sk-process-key-41aa"

from agents import (  # noqa: E402
    Agent, HandoffInputData, ModelSettings, OpenAIChatCompletionsModel, RunContextWrapper, Runner, function_tool,
    handoff, set_default_openai_api, set_tracing_disabled,
)
from agents.mcp import MCPServerSse  # noqa: E402
from openai import AsyncOpenAI  # noqa: E402
from openai.types.responses import ResponseTextDeltaEvent  # noqa: E402
from pydantic import BaseModel  # noqa: E402

from common import (  # noqa: E402
    BING, LLM_IS_UP, PLUGIN_KEY, PLUGIN_MODEL, REWRITE_MODEL, UpstreamLog, check, equal, expect, finish,
    nothing_private_went_upstream, vendor,
)

SESSION = "6f1c2b8e-0000-4000-8000-000000000001"
WORKFLOW = '{"3": {"class_type": "KSampler", "inputs": {"seed": 7}}}'
TEXT = "Local answer für you 🎨."
NAME = f"openai-agents {version('openai-agents')}"

set_default_openai_api("chat_completions")
set_tracing_disabled(False)


class TraceComplaints(logging.Handler):
    """What openai-agents says when its trace upload is refused."""

    lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "trac" in record.getMessage().lower():
            self.lines.append(record.getMessage())


logging.getLogger("openai.agents").addHandler(TraceComplaints())


@function_tool
def get_current_workflow() -> str:
    """Returns the workflow on the canvas."""
    return WORKFLOW


def model(name: str) -> OpenAIChatCompletionsModel:
    client = AsyncOpenAI(base_url=f"{vendor()}/v1", api_key=PLUGIN_KEY, default_headers={"X-Session-ID": SESSION})
    return OpenAIChatCompletionsModel(name, openai_client=client)


def mcp_server(url: str) -> MCPServerSse:
    return MCPServerSse(
        params={"url": url, "timeout": 300.0,
                "headers": {"X-Session-Id": SESSION, "Authorization": f"Bearer {PLUGIN_KEY}"}},
        cache_tools_list=True, client_session_timeout_seconds=300.0)


class RewriteIntent(BaseModel):
    latest_rewrite_intent: str


async def on_handoff(_: RunContextWrapper[None], __: RewriteIntent) -> None:
    pass


def only_the_handoff(data: HandoffInputData) -> HandoffInputData:
    """Drops the conversation: the second agent sees the hand-off call and nothing else."""
    return HandoffInputData(input_history=(), pre_handoff_items=(), new_items=tuple(data.new_items))


class Turn:
    """What the person sees of one chat turn, and how it came about."""

    def __init__(self) -> None:
        self.text = ""
        self.tools: list[str] = []
        self.outputs: list[str] = []
        self.agents: list[str] = []
        self.first_text = 0.0


async def turn(prompt: str) -> Turn:
    seen = Turn()
    start = time.monotonic()
    first, second = mcp_server(f"{vendor()}/mcp-server/mcp"), mcp_server(BING)
    async with first, second:
        rewrite = Agent(
            name="Workflow Rewrite Agent", model=model(REWRITE_MODEL), model_settings=ModelSettings(max_tokens=8192),
            handoff_description="rewrites the workflow", instructions="你是专业的ComfyUI工作流改写代理",
            tools=[get_current_workflow])
        agent = Agent(
            name="ComfyUI-Copilot", model=model(PLUGIN_MODEL), mcp_servers=[first, second],
            instructions="You are a powerful AI assistant for designing image processing workflows, "
                         "capable of automating problem-solving using tools and commands.",
            tools=[get_current_workflow],
            handoffs=[handoff(agent=rewrite, input_type=RewriteIntent, on_handoff=on_handoff,
                              input_filter=only_the_handoff)])
        result = Runner.run_streamed(agent, input=[{"role": "user", "content": prompt}], max_turns=30)
        async for event in result.stream_events():
            if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
                seen.first_text = seen.first_text or time.monotonic() - start
                seen.text += event.data.delta
            elif event.type == "agent_updated_stream_event":
                seen.agents.append(event.new_agent.name)
            elif event.type == "run_item_stream_event" and event.item.type == "tool_call_item":
                seen.tools.append(event.item.raw_item.name)
            elif event.type == "run_item_stream_event" and event.item.type == "tool_call_output_item":
                seen.outputs.append(str(event.item.output))
    return seen


async def with_llm() -> None:
    log = UpstreamLog()
    with check(f"{NAME}: a plain turn", within=8) as found:
        seen = await turn("Say hello")
        equal(seen.text, TEXT, "text")
        equal(seen.agents, ["ComfyUI-Copilot"], "agents")
        (chat,) = log.chats()
        equal(chat["model"], "local-model", "model at the LLM")
        names = [tool["function"]["name"] for tool in chat["tools"]]
        expect({"get_current_workflow", "transfer_to_workflow_rewrite_agent"} <= set(names), f"tools are {names}")
        equal(len(set(names)), len(names), "distinct tools")
        nothing_private_went_upstream(log)
        found.detail = f"first text after {seen.first_text:.2f} s, both MCP servers included"

    with check(f"{NAME}: a slow model is streamed", within=8) as found:
        start = time.monotonic()
        seen = await turn("[[slow]]")
        total = time.monotonic() - start
        equal(seen.text, TEXT, "text")
        expect(total - seen.first_text > 0.5, f"first text {seen.first_text:.2f} s of {total:.2f} s: something buffers")
        found.detail = f"first text at {seen.first_text:.2f} s of {total:.2f} s"

    log = UpstreamLog()
    with check(f"{NAME}: a turn with a tool call", within=8):
        seen = await turn("[[tool:get_current_workflow {}]]")
        equal(seen.tools, ["get_current_workflow"], "tools called")
        equal(seen.text, f"The tool said: {WORKFLOW}", "text")
        first, second = log.chats()
        (result,) = [m for m in second["messages"] if m["role"] == "tool"]
        equal(result["content"], WORKFLOW, "tool result at the LLM")
        nothing_private_went_upstream(log)

    log = UpstreamLog()
    with check(f"{NAME}: a turn with a tool call without id", within=8):
        seen = await turn("[[no-call-id]] [[tool:get_current_workflow {}]]")
        equal(seen.text, f"The tool said: {WORKFLOW}", "text")

    log = UpstreamLog()
    with check(f"{NAME}: a hand-off whose request has no user message", within=8) as found:
        seen = await turn("[[handoff:add a LoRA node]]")
        equal(seen.agents, ["ComfyUI-Copilot", "Workflow Rewrite Agent"], "agents")
        equal(seen.text, "Rewriting: add a LoRA node", "text")
        equal([chat["model"] for chat in log.chats()], ["local-model"] * 2, "models at the LLM")
        users = [m["content"] for m in log.chats()[1]["messages"] if m["role"] == "user"]
        equal(users, ["add a LoRA node"], "user messages of the second request")
        equal(log.refused(), [], "refusals of the strict LLM")
        nothing_private_went_upstream(log)
        found.detail = json.dumps([message["role"] for message in log.chats()[1]["messages"]])

    with check(f"{NAME}: <think> text stays out of the chat", within=8):
        equal((await turn("[[think]]")).text.strip(), TEXT, "text")
    with check(f"{NAME}: chunks without the required fields are shown", within=8):
        equal((await turn("[[bare]]")).text, TEXT, "text")

    # WIRE.md 2.4: any of these is an empty bubble, unless the reason comes as text.
    for marker, reason in {
        "[[status:400]]": "scripted status 400",
        "[[status:500]]": "scripted status 500",
        "[[error-event]]": "CUDA out of memory",
        "[[die]]": "Local answer für",
    }.items():
        with check(f"{NAME}: {marker} ends with the reason in the chat", within=8) as found:
            seen = await turn(marker)
            expect(reason in seen.text, f"{reason!r} is not in {seen.text!r}")
            expect(len(seen.text) > len(reason) + 10, f"nothing but {seen.text!r} was said")
            found.detail = seen.text
    with check(f"{NAME}: plain JSON in place of a stream is shown", within=8):
        equal((await turn("[[plain-json]]")).text, TEXT, "text")

    with check(f"{NAME}: five people at once", within=15):
        texts = await asyncio.gather(*(turn("Say hello") for _ in range(5)))
        equal({seen.text for seen in texts}, {TEXT}, "texts")


async def without_llm() -> None:
    with check(f"{NAME}: LLM down: the reason and the fix arrive as text", within=8) as found:
        seen = await turn("Say hello")
        expect("LLM" in seen.text and len(seen.text) > 40, f"the person reads {seen.text!r}")
        found.detail = seen.text


asyncio.run(with_llm() if LLM_IS_UP else without_llm())
with check(f"{NAME}: traces are taken without complaint"):
    try:
        from agents.tracing import flush_traces
    except ImportError:
        from agents.tracing import get_trace_provider
        get_trace_provider().shutdown()
    else:
        flush_traces()
    equal(TraceComplaints.lines, [], "complaints")
finish()
