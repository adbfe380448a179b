"""A stand-in for ComfyUI on aiohttp, which ComfyUI itself is built on.

Its API as far as programs use it, its WebSocket with previews, and its own check of Host and Origin.
`/echo` is a WebSocket that says everything back. Prints `{"address": "127.0.0.1:PORT"}` when it listens.
"""

import asyncio
import hashlib
import json
import struct
import tempfile
import uuid
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

# A PNG of one pixel.
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000"
    "00030101001b06a1c40000000049454e44ae426082"
)
LARGEST = 8 << 30


@web.middleware
async def one_origin(request, handler):
    """As ComfyUI does it: on loopback, a page's origin has to be what was called."""
    origin, host = request.headers.get("Origin"), request.headers.get("Host", "")
    if origin and urlsplit(origin).netloc.lower() != host.lower():
        return web.Response(status=403, text="host and origin differ")
    return await handler(request)


class ComfyUi:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.history, self.sockets = {}, {}

    async def socket(self, request):
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        sid = request.query.get("clientId") or uuid.uuid4().hex
        self.sockets[sid] = socket
        await self.say(sid, "status", {"status": {"exec_info": {"queue_remaining": 0}}, "sid": sid})
        try:
            async for message in socket:
                if message.type == WSMsgType.ERROR:
                    break
        finally:
            self.sockets.pop(sid, None)
        return socket

    async def say(self, sid, kind, data):
        if sid in self.sockets:
            await self.sockets[sid].send_str(json.dumps({"type": kind, "data": data}))

    async def prompt(self, request):
        asked = await request.json()
        prompt_id = str(uuid.uuid4())
        asyncio.ensure_future(self.work(prompt_id, asked.get("client_id"), list(asked["prompt"])))
        return web.json_response({"prompt_id": prompt_id, "number": 1, "node_errors": {}})

    async def work(self, prompt_id, sid, nodes):
        # A client listens only once it has its answer.
        await asyncio.sleep(0.3)
        await self.say(sid, "execution_start", {"prompt_id": prompt_id})
        for n, node in enumerate(nodes):
            await self.say(sid, "executing", {"node": node, "prompt_id": prompt_id})
            await self.say(sid, "progress", {"value": n + 1, "max": len(nodes), "node": node, "prompt_id": prompt_id})
            if sid in self.sockets:
                await self.sockets[sid].send_bytes(struct.pack(">II", 1, 2) + PICTURE)
        self.history[prompt_id] = {
            "outputs": {"9": {"images": [{"filename": "made.png", "subfolder": "", "type": "output"}]}},
            "status": {"status_str": "success", "completed": True, "messages": []},
        }
        await self.say(sid, "executing", {"node": None, "prompt_id": prompt_id})

    async def upload(self, request):
        """Keeps small pictures; of everything the length and the sum."""
        name, kind, sum_, length, kept = "", "input", hashlib.sha256(), 0, bytearray()
        async for part in await request.multipart():
            if part.name == "type":
                kind = await part.text()
            if part.name not in ("image", "mask"):
                continue
            name = part.filename
            while piece := await part.read_chunk(1 << 20):
                sum_.update(piece)
                length += len(piece)
                if length <= 1 << 20:
                    kept += piece
        (self.folder / Path(name).name).write_bytes(kept)
        return web.json_response(
            {"name": name, "subfolder": "", "type": kind, "length": length, "sha256": sum_.hexdigest()}
        )

    async def view(self, request):
        file = self.folder / Path(request.query["filename"]).name
        if not file.exists():
            return web.Response(status=404)
        return web.FileResponse(file, headers={"Content-Type": "image/png"})

    async def many(self, request):
        """As many bytes as asked for, in pieces."""
        left = int(request.query["bytes"])
        answer = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        await answer.prepare(request)
        piece = bytes(range(256)) * 4096
        while left > 0:
            await answer.write(piece[:left])
            left -= len(piece)
        return answer

    async def swallow(self, request):
        """Reads a body of any framing, and says how long it was and what its bytes sum to."""
        sum_, length = hashlib.sha256(), 0
        async for piece in request.content.iter_chunked(1 << 20):
            sum_.update(piece)
            length += len(piece)
        framing = request.headers.get("Transfer-Encoding", "length")
        return web.json_response({"length": length, "sha256": sum_.hexdigest(), "framing": framing})

    async def echo(self, request):
        socket = web.WebSocketResponse(protocols=("one", "two"), max_msg_size=8 << 20)
        await socket.prepare(request)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type == WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        return socket

    def application(self):
        app = web.Application(client_max_size=LARGEST, middlewares=[one_origin])

        def fixed(body):
            async def answer(_request):
                return web.json_response(body)

            return answer

        async def past(request):
            asked = request.match_info.get("prompt_id")
            return web.json_response(self.history if asked is None else {k: v for k, v in self.history.items() if k == asked})

        stats = {"system": {"os": "posix", "comfyui_version": "0.3.64"}, "devices": [
            {"name": "cuda:0", "type": "cuda", "vram_total": 24 << 30, "vram_free": 20 << 30}]}
        checkpoint = {"CheckpointLoaderSimple": {"input": {"required": {"ckpt_name": [["one.safetensors"]]}}}}
        for prefix in ("", "/api"):
            app.router.add_get(prefix + "/ws", self.socket)
            app.router.add_get(prefix + "/system_stats", fixed(stats))
            app.router.add_get(prefix + "/queue", fixed({"queue_running": [], "queue_pending": []}))
            app.router.add_post(prefix + "/queue", fixed({}))
            app.router.add_get(prefix + "/object_info", fixed(checkpoint))
            app.router.add_get(prefix + "/object_info/{node}", fixed(checkpoint))
            app.router.add_post(prefix + "/interrupt", fixed({}))
            app.router.add_post(prefix + "/prompt", self.prompt)
            app.router.add_get(prefix + "/history", past)
            app.router.add_get(prefix + "/history/{prompt_id}", past)
            app.router.add_post(prefix + "/upload/image", self.upload)
            app.router.add_post(prefix + "/upload/mask", self.upload)
            app.router.add_get(prefix + "/view", self.view)
        app.router.add_get("/echo", self.echo)
        app.router.add_get("/many", self.many)
        app.router.add_post("/swallow", self.swallow)
        return app


async def main():
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "made.png").write_bytes(PICTURE)
        runner = web.AppRunner(ComfyUi(folder).application(), shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = site._server.sockets[0].getsockname()
        print(json.dumps({"address": f"{host}:{port}"}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
