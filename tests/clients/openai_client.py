"""The openai SDK, 1.x and 3.x: everything the plugin asks of it, and what it makes of failures."""

import asyncio
import json
import time

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from common import (
    LLM_IS_UP, PLUGIN_KEY, PLUGIN_MODEL, REWRITE_MODEL, UpstreamLog, check, equal, expect, finish,
    nothing_private_went_upstream, report, vendor,
)

TEXT = "Local answer für you 🎨."
PICTURE = ("data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
           "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
WEATHER = {"type": "function", "function": {
    "name": "search_node", "description": "finds nodes",
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}}}

client = OpenAI(base_url=f"{vendor()}/v1", api_key=PLUGIN_KEY, timeout=15)


def say(text: str, **more):
    return dict(model=PLUGIN_MODEL, messages=[{"role": "user", "content": text}]) | more


def streamed_text(stream) -> str:
    return "".join(c.choices[0].delta.content or "" for c in stream if c.choices)


def models() -> None:
    with check("models.list", within=3) as found:
        names = [model.id for model in client.models.list()]
        expect("local-model" in names, f"found {names}")
        found.detail = f"openai {openai.__version__}: {names}"


def chat() -> None:
    log = UpstreamLog()
    with check("chat, not streamed, for each name that the plugin hard-codes"):
        for model in (PLUGIN_MODEL, REWRITE_MODEL, "gpt-4.1-mini"):
            answer = client.chat.completions.create(**say("hello", model=model))
            equal(answer.choices[0].message.content, TEXT, "text")
            equal(answer.usage.total_tokens, 13, "total tokens")
        equal([chat["model"] for chat in log.chats()], ["local-model"] * 3, "models asked of the LLM")
        nothing_private_went_upstream(log)

    log = UpstreamLog()
    with check("chat, streamed, as it comes") as found:
        start = time.monotonic()
        arrived = []
        text = ""
        for chunk in client.chat.completions.create(**say("[[slow]]", stream=True)):
            if chunk.choices and chunk.choices[0].delta.content:
                arrived.append(time.monotonic() - start)
                text += chunk.choices[0].delta.content
        equal(text, TEXT, "text")
        expect(arrived[0] < 0.6 < arrived[-1], f"pieces arrived at {arrived}: something buffers")
        (chat,) = log.chats()
        equal(chat.get("stream_options"), {"include_usage": True}, "stream_options added")
        nothing_private_went_upstream(log)
        found.detail = f"first piece after {arrived[0] * 1000:.0f} ms"

    with check("usage is there for a client that asks"):
        stream = client.chat.completions.create(**say("hello", stream=True, stream_options={"include_usage": True}))
        equal([c.usage.total_tokens for c in stream if c.usage], [13], "usage")


def tools() -> None:
    log = UpstreamLog()
    with check("a tool call, streamed, then its result"):
        messages = [{"role": "user", "content": '[[tool:search_node {"query":"blur"}]]'}]
        call = {"id": "", "name": "", "arguments": ""}
        for chunk in client.chat.completions.create(model=PLUGIN_MODEL, messages=messages, tools=[WEATHER], stream=True):
            for part in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
                call["id"] += part.id or ""
                call["name"] += part.function.name or ""
                call["arguments"] += part.function.arguments or ""
        equal((call["name"], json.loads(call["arguments"])), ("search_node", {"query": "blur"}), "call")
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": call["id"], "type": "function",
                 "function": {"name": call["name"], "arguments": call["arguments"]}}]},
            {"role": "tool", "tool_call_id": call["id"], "content": "found it"},
        ]
        answer = client.chat.completions.create(model=PLUGIN_MODEL, messages=messages, tools=[WEATHER])
        equal(answer.choices[0].message.content, "The tool said: found it", "text")
        nothing_private_went_upstream(log)

    # WIRE 2.2: how openai-agents of either age sends a tool's result; the LLM refuses both.
    result = '{"answer": "a \\"quoted\\" text", "ext": []}'
    shapes = {
        "a list (agents 0.8 and later)": [{"type": "text", "text": result}],
        "a string escaped twice (agents before 0.8)":
            json.dumps({"type": "text", "text": result, "annotations": None, "meta": None}),
    }
    for name, content in shapes.items():
        log = UpstreamLog()
        with check(f"a tool result as {name} arrives flat"):
            call = {"id": "call_1", "type": "function", "function": {"name": "search_node", "arguments": "{}"}}
            client.chat.completions.create(model=PLUGIN_MODEL, tools=[WEATHER], messages=[
                {"role": "user", "content": "go"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "call_1", "content": content},
            ])
            (chat,) = log.chats()
            equal(chat["messages"][2]["content"], result, "tool content at the LLM")

    log = UpstreamLog()
    with check("the rewrite agent's request without a user message gets one"):
        arguments = json.dumps({"latest_rewrite_intent": "add a LoRA node"})
        handoff = {"id": "call_2", "type": "function",
                   "function": {"name": "transfer_to_workflow_rewrite_agent", "arguments": arguments}}
        client.chat.completions.create(model=REWRITE_MODEL, max_tokens=8192, messages=[
            {"role": "system", "content": "你是专业的ComfyUI工作流改写代理"},
            {"role": "assistant", "content": None, "tool_calls": [handoff]},
            {"role": "tool", "tool_call_id": "call_2", "content": '{"assistant": "Workflow Rewrite Agent"}'},
        ])
        (chat,) = log.chats()
        users = [m["content"] for m in chat["messages"] if m["role"] == "user"]
        equal(users, ["add a LoRA node"], "user messages at the LLM")
        equal(chat["max_tokens"], 8192, "max_tokens")


class Summary(BaseModel):
    summary: str


def formats() -> None:
    log = UpstreamLog()
    with check("response_format with a JSON schema, as the history summary asks"):
        answer = client.chat.completions.parse(**say("summarise"), response_format=Summary)
        equal(answer.choices[0].message.parsed, Summary(summary="from the schema"), "parsed")
        equal(log.chats()[0]["response_format"]["json_schema"]["name"], "Summary", "schema name at the LLM")

    log = UpstreamLog()
    with check("an image part reaches the LLM unchanged"):
        content = [{"type": "text", "text": "what is this?"},
                   {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}}]
        answer = client.chat.completions.create(model=PLUGIN_MODEL, messages=[{"role": "user", "content": content}])
        equal(answer.choices[0].message.content, TEXT, "text")
        equal(log.chats()[0]["messages"][0]["content"], content, "content at the LLM")

    with check("embeddings"):
        equal(client.embeddings.create(model="text-embedding-3-small", input="a").data[0].embedding,
              [0.25, -0.5, 1.0], "vector")
    with check("completions"):
        equal(client.completions.create(model=PLUGIN_MODEL, prompt="a").choices[0].text, TEXT, "text")


def quirks() -> None:
    with check("<think> text is not shown, streamed"):
        text = streamed_text(client.chat.completions.create(**say("[[think]]", stream=True)))
        equal(text.strip(), TEXT, "text")
    with check("<think> text is not shown, not streamed"):
        answer = client.chat.completions.create(**say("[[think]]"))
        equal(answer.choices[0].message.content.strip(), TEXT, "text")
    with check("chunks get the fields that current SDKs require"):
        chunks = list(client.chat.completions.create(**say("[[bare]]", stream=True)))
        equal(streamed_text(chunks), TEXT, "text")
        for chunk in chunks:
            expect(bool(chunk.id and chunk.object and chunk.created and chunk.model), f"incomplete: {chunk}")
            expect(all(choice.index == 0 for choice in chunk.choices), f"no index: {chunk}")
    with check("tool calls get ids"):
        body = say('[[no-call-id]] [[tool:search_node {"query":"a"}]]', tools=[WEATHER])
        answer = client.chat.completions.create(**body)
        expect(bool(answer.choices[0].message.tool_calls[0].id), "no id, not streamed")
        ids = [part.id for chunk in client.chat.completions.create(**body, stream=True) if chunk.choices
               for part in chunk.choices[0].delta.tool_calls or [] if part.id]
        equal(len(ids), 1, "ids, streamed")


def failures() -> None:
    """Each is an error that the SDK raises as its own, with words in it; none is a silent truncation."""
    def fails(name: str, reason: str, call) -> None:
        with check(name, within=6) as found:
            try:
                call()
            except openai.APIError as error:
                expect(reason.lower() in str(error).lower(), f"the reason {reason!r} is not in {error!r}")
                found.detail = f"{type(error).__name__}: {error.message[:200]}"
            else:
                raise AssertionError("no error was raised")

    create = client.with_options(max_retries=0).chat.completions.create
    for status in (400, 401, 403, 404, 429, 500, 503):
        marker, reason = f"[[status:{status}]]", f"scripted status {status}"
        fails(f"the LLM answers {status}", reason, lambda: create(**say(marker)))
        fails(f"the LLM answers {status} to a stream", reason, lambda: list(create(**say(marker, stream=True))))
    with_retries = client.chat.completions.create
    fails("the LLM answers 503 to every attempt", "scripted status 503", lambda: with_retries(**say("[[status:503]]")))
    fails("the LLM dies in the middle of a stream", "LLM", lambda: list(create(**say("[[die]]", stream=True))))
    fails("the LLM sends an error event", "CUDA out of memory", lambda: list(create(**say("[[error-event]]", stream=True))))


def down() -> None:
    for streamed in (False, True):
        with check(f"LLM down: an error with the reason, stream={streamed}", within=5) as found:
            start = time.monotonic()
            try:
                answer = client.chat.completions.create(**say("hello", stream=streamed))
                if streamed:
                    list(answer)
            except openai.APIError as error:
                expect("llm" in error.message.lower(), f"no reason in {error.message!r}")
                found.detail = f"{type(error).__name__} after {time.monotonic() - start:.2f} s: {error.message[:200]}"
            else:
                raise AssertionError("no error was raised")
    with check("LLM down: models.list never hangs", within=5) as found:
        try:
            found.detail = f"models {[model.id for model in client.models.list()]}"
        except openai.APIError as error:
            found.detail = f"{type(error).__name__}: {error.message[:200]}"


async def asynchronous() -> None:
    with check("AsyncOpenAI, streamed, many at once"):
        async with AsyncOpenAI(base_url=f"{vendor()}/v1", api_key=PLUGIN_KEY, timeout=15,
                               default_headers={"X-Session-ID": "6f1c2b8e-0000-4000-8000-000000000001"}) as many:
            async def one() -> str:
                stream = await many.chat.completions.create(**say("hello", stream=True))
                return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
            equal(set(await asyncio.gather(*(one() for _ in range(10)))), {TEXT}, "texts")

    log = UpstreamLog()
    with check("a client that goes away in the middle leaves the next one alone"):
        async with AsyncOpenAI(base_url=f"{vendor()}/v1", api_key=PLUGIN_KEY, timeout=15) as leaving:
            stream = await leaving.chat.completions.create(**say("[[slow]]", stream=True))
            async for _ in stream:
                break
            await stream.close()
            answer = await leaving.chat.completions.create(**say("hello"))
            equal(answer.choices[0].message.content, TEXT, "text")
        nothing_private_went_upstream(log)


if LLM_IS_UP:
    whole = UpstreamLog()
    models()
    chat()
    tools()
    formats()
    quirks()
    asyncio.run(asynchronous())
    refused = whole.refused()
    report("the strict LLM refused nothing", not refused, "; ".join(refused))
    failures()
else:
    down()
finish()
