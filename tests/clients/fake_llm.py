"""A scripted, strict, OpenAI-compatible LLM: it refuses what real local servers refuse.

    python fake_llm.py --log FILE      prints {"ready":true,"port":N} when it listens

Its one model is `local-model`, its key `local-llm-secret-93ab`. Every request is written to FILE as a
JSON line `{"method","path","headers","body","refused"}` (body in base64).

Markers in the last user message choose what it does; they may be combined:

  [[tool:NAME {"json":"arguments"}]]   call that tool (once: after its result it answers with text)
  [[handoff:INTENT]]    call transfer_to_workflow_rewrite_agent with that intent
  [[think]]             text that begins with <think>...</think>
  [[bare]]              chunks without id, object, created, model and index
  [[no-call-id]]        tool calls without an id
  [[slow]]              a pause of 0.7 s after the first piece
  [[die]]               the connection is cut in the middle of the stream
  [[status:N]]          an HTTP error N
  [[error-event]]       an error event in the middle of the stream
  [[plain-json]]        plain JSON although a stream was asked for
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "local-model"
KEY = "local-llm-secret-93ab"
PIECES = ["Local ", "answer ", "für ", "you ", "🎨", "."]
TEXT = "".join(PIECES)

_log_lock = threading.Lock()


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content if part.get("type") == "text")
    return ""


def check_messages(messages: Any) -> None:
    """What chat templates and strict servers refuse."""
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "messages must be a non-empty list")
    open_calls: set[str] = set()
    for number, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ("system", "developer", "user", "assistant", "tool"):
            raise Refused(400, f"messages[{number}].role: unknown role {role!r}")
        if role == "tool":
            if not isinstance(content, str):
                raise Refused(400, f"messages[{number}].content: tool content must be a string")
            if message.get("tool_call_id") not in open_calls:
                raise Refused(400, f"messages[{number}].tool_call_id: no such tool call")
        if role == "assistant":
            for call in message.get("tool_calls") or []:
                if not call.get("id"):
                    raise Refused(400, f"messages[{number}].tool_calls: a call has no id")
                json.loads(call["function"]["arguments"])
                open_calls.add(call["id"])
        if isinstance(content, list):
            for part in content:
                if part.get("type") == "image_url":
                    if not part["image_url"]["url"].startswith("data:image/"):
                        raise Refused(400, "image_url: only data URLs, this server fetches nothing")
                elif part.get("type") != "text":
                    raise Refused(400, f"messages[{number}].content: unknown part {part.get('type')!r}")
    if not any(message.get("role") == "user" for message in messages):
        raise Refused(400, "No user query found in messages.")


def instance_of(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """The smallest value of a JSON schema, as constrained decoding would give."""
    if "$ref" in schema:
        return instance_of(root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    if kind == "object":
        return {name: instance_of(sub, root) for name, sub in schema.get("properties", {}).items()}
    return {"string": "from the schema", "integer": 1, "number": 1.5, "boolean": True, "array": [], "null": None}[kind]


class Script:
    """What one chat request asks for."""

    def __init__(self, body: dict[str, Any]) -> None:
        messages = body["messages"]
        self.body = body
        users = [text_of(m.get("content")) for m in messages if m.get("role") == "user"]
        self.user = users[-1]
        answered = any(m.get("role") == "tool" for m in messages)
        self.calls: list[tuple[str, str]] = []
        if not answered:
            self.calls += re.findall(r"\[\[tool:(\S+) (\{.*?\})\]\]", self.user)
            for intent in re.findall(r"\[\[handoff:(.*?)\]\]", self.user):
                self.calls.append(
                    ("transfer_to_workflow_rewrite_agent", json.dumps({"latest_rewrite_intent": intent}))
                )
        offered = {tool["function"]["name"] for tool in body.get("tools") or []}
        for name, _ in self.calls:
            if name not in offered:
                raise Refused(400, f"tool {name!r} was not offered")

    def has(self, marker: str) -> bool:
        return f"[[{marker}]]" in self.user

    def pieces(self) -> list[str]:
        schema = (self.body.get("response_format") or {}).get("json_schema", {}).get("schema")
        if schema:
            return [json.dumps(instance_of(schema, schema))]
        tool_results = [m["content"] for m in self.body["messages"] if m.get("role") == "tool"]
        if tool_results and "[[tool:" in self.user:
            return ["The tool said: ", tool_results[-1]]
        if any("transfer_to_workflow_rewrite_agent" in json.dumps(m) for m in self.body["messages"]):
            return ["Rewriting: ", self.user]
        if self.has("think"):
            return ["<thi", "nk>secret ", "thoughts</th", "ink>\n\n", *PIECES]
        return PIECES

    def tool_calls(self) -> list[dict[str, Any]]:
        return [
            {
                "index": index,
                **({} if self.has("no-call-id") else {"id": f"call_{time.monotonic_ns()}_{index}"}),
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for index, (name, arguments) in enumerate(self.calls)
        ]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    log_path = ""

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.serve(b"")

    def do_POST(self) -> None:
        if "chunked" in (self.headers.get("transfer-encoding") or ""):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.serve(body)

    def serve(self, body: bytes) -> None:
        refused = None
        try:
            answer = self.judge(body)
        except Refused as error:
            refused = error
        except (ValueError, KeyError, TypeError) as error:
            refused = Refused(400, f"malformed request: {type(error).__name__}: {error}")
        line = {
            "method": self.command,
            "path": self.path,
            "headers": [list(pair) for pair in self.headers.items()],
            "body": base64.b64encode(body).decode(),
            "refused": str(refused) if refused else "",
        }
        with _log_lock, open(self.log_path, "a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        if refused:
            error = {"message": str(refused), "type": "invalid_request_error", "code": refused.status}
            self.json(refused.status, {"error": error})
        else:
            answer()

    def judge(self, body: bytes) -> Any:
        """Refuses, or returns what to do."""
        if self.headers.get("authorization") != f"Bearer {KEY}":
            raise Refused(401, "Incorrect API key provided")
        if self.command == "GET":
            if self.path != "/v1/models":
                raise Refused(404, f"no route for GET {self.path}")
            models = {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": "local"}]}
            return lambda: self.json(200, models)
        request = json.loads(body)
        if request.get("model") != MODEL:
            raise Refused(404, f"The model `{request.get('model')}` does not exist.")
        match self.path:
            case "/v1/chat/completions":
                check_messages(request.get("messages"))
                script = Script(request)
                if status := re.search(r"\[\[status:(\d+)\]\]", script.user):
                    raise Refused(int(status[1]), f"scripted status {status[1]}")
                streamed = request.get("stream") and not script.has("plain-json")
                return lambda: self.stream(script) if streamed else self.whole(script)
            case "/v1/completions":
                return lambda: self.json(200, {**self.envelope("text_completion"), "choices": [
                    {"index": 0, "text": TEXT, "finish_reason": "stop", "logprobs": None}], "usage": self.usage()})
            case "/v1/embeddings":
                return lambda: self.json(200, {"object": "list", "model": MODEL, "data": [
                    {"object": "embedding", "index": 0, "embedding": self.embedding(request)}],
                    "usage": {"prompt_tokens": 3, "total_tokens": 3}})
            case path:
                raise Refused(404, f"no route for POST {path}")

    @staticmethod
    def embedding(request: dict[str, Any]) -> Any:
        vector = [0.25, -0.5, 1.0]
        if request.get("encoding_format") == "base64":
            return base64.b64encode(struct.pack("<3f", *vector)).decode()
        return vector

    @staticmethod
    def envelope(kind: str) -> dict[str, Any]:
        return {"id": "local-1", "object": kind, "created": int(time.time()), "model": MODEL}

    @staticmethod
    def usage() -> dict[str, int]:
        return {"prompt_tokens": 7, "completion_tokens": 6, "total_tokens": 13}

    def json(self, status: int, value: Any) -> None:
        data = json.dumps(value, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def whole(self, script: Script) -> None:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(script.pieces())}
        if script.calls:
            calls = [{k: v for k, v in call.items() if k != "index"} for call in script.tool_calls()]
            message = {"role": "assistant", "content": None, "tool_calls": calls}
        reason = "tool_calls" if script.calls else "stop"
        if script.has("slow"):
            time.sleep(0.7)
        self.json(200, {**self.envelope("chat.completion"), "usage": self.usage(), "choices": [
            {"index": 0, "message": message, "finish_reason": reason}]})

    def stream(self, script: Script) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        bare = script.has("bare")

        def send(data: bytes) -> None:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()

        def event(value: Any) -> None:
            send(b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n")

        def delta(value: dict[str, Any], reason: str | None = None) -> None:
            if bare:
                event({"choices": [{"delta": value, **({"finish_reason": reason} if reason else {})}]})
            else:
                event({**self.envelope("chat.completion.chunk"), "choices": [
                    {"index": 0, "delta": value, "finish_reason": reason}]})

        if script.calls:
            for call in script.tool_calls():
                arguments = call["function"]["arguments"]
                middle = len(arguments) // 2
                call["function"]["arguments"] = arguments[:middle]
                delta({"role": "assistant", "content": None, "tool_calls": [call]})
                delta({"tool_calls": [{"index": call["index"], "function": {"arguments": arguments[middle:]}}]})
            delta({}, "tool_calls")
        else:
            for number, piece in enumerate(script.pieces()):
                if number == 1 and script.has("slow"):
                    time.sleep(0.7)
                if number == 3 and script.has("die"):
                    # A reset, as a crashed server leaves it.
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                    self.close_connection = True
                    return
                if number == 3 and script.has("error-event"):
                    event({"error": {"message": "CUDA out of memory", "type": "server_error", "code": 500}})
                    break
                delta({"content": piece})
            else:
                delta({}, "stop")
        if (script.body.get("stream_options") or {}).get("include_usage"):
            event({**self.envelope("chat.completion.chunk"), "choices": [], "usage": self.usage()})
        send(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # The default is 5: of more callers at once the system drops connections, which then take seconds.
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that goes away in the middle is part of the script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", required=True)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    Handler.log_path = arguments.log
    open(arguments.log, "a").close()
    server = Server(("127.0.0.1", arguments.port), Handler)
    print(json.dumps({"ready": True, "port": server.server_address[1]}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
