"""comfy-headless from PyPI, unmodified, with the front door as ComfyUI's address."""

import asyncio
import hashlib
import os
import sys

import requests

# It logs to the stdout that it finds, and ours is for the report.
report, sys.stdout = sys.stdout, sys.stderr
from comfy_headless import ComfyClient
from comfy_headless.websocket_client import ComfyWSClient

sys.stdout = report

from common import check, equal, expect, finish

DOOR = "http://" + os.environ["AIRLOCK_DOOR"]
WORKFLOW = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 1}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}},
}
PNG = b"\x89PNG\r\n\x1a\n"


def programs():
    client = ComfyClient(base_url=DOOR)
    with check("it finds ComfyUI, its memory and its checkpoints"):
        expect(client.is_online(), "not online")
        equal(client.get_system_stats()["system"]["comfyui_version"], "0.3.64", "version")
        equal(client.get_checkpoints(), ["one.safetensors"], "checkpoints")
        equal(client.get_queue()["queue_running"], [], "queue")
    with check("it uploads a picture and has it back"):
        stored = client.upload_image(PNG + b"mine", filename="mine.png")
        expect("mine.png" in str(stored), f"stored as {stored!r}")
        equal(client.get_image("mine.png", folder_type="input"), PNG + b"mine", "the picture")
    with check("it queues a workflow, waits for it and fetches what was made", within=30):
        prompt_id = client.queue_prompt(WORKFLOW)
        entry = client.wait_for_completion(prompt_id, timeout=20, poll_interval=0.1)
        made = entry["outputs"]["9"]["images"][0]
        expect(client.get_image(made["filename"]).startswith(PNG), "no picture")
    with check("it interrupts and clears the queue"):
        expect(client.cancel_current() and client.clear_queue(), "refused")


async def sockets():
    with check("its WebSocket client sees progress, previews and the end", within=30) as found:
        seen = []

        async def note(progress):
            seen.append(progress.status)

        async with ComfyWSClient(base_url=DOOR) as client:
            client.add_listener("", note)
            prompt_id = await client.queue_prompt(WORKFLOW)
            last = await client.wait_for_completion(prompt_id, timeout=20)
            equal(last.status, "completed", "the end")
            expect({"started", "executing", "progress", "preview"} <= set(seen), f"only {seen}")
            expect((await client.get_image("made.png")).startswith(PNG), "no picture")
            found.detail = " ".join(seen)


def streams():
    length = int(os.environ.get("AIRLOCK_UPLOAD_BYTES", 64 << 20))
    piece = bytes(range(256)) * 4096

    def pieces():
        left = length
        while left > 0:
            yield piece[:left]
            left -= len(piece)

    sum_ = hashlib.sha256()
    for part in pieces():
        sum_.update(part)
    with check("a chunked upload arrives whole, as chunks", within=120):
        answer = requests.post(f"{DOOR}/swallow", data=pieces(), timeout=100).json()
        equal(answer, {"length": length, "sha256": sum_.hexdigest(), "framing": "chunked"}, "the body")
    with check("a download arrives whole", within=120):
        back, got = hashlib.sha256(), 0
        with requests.get(f"{DOOR}/many", params={"bytes": length}, stream=True, timeout=100) as answer:
            for part in answer.iter_content(1 << 20):
                back.update(part)
                got += len(part)
        equal((got, back.hexdigest()), (length, sum_.hexdigest()), "the body")
    with check("ranges are ComfyUI's"):
        for wanted, status, body in [("bytes=1-3", 206, b"PNG"), ("bytes=-4", 206, b"\xaeB`\x82"), ("bytes=9999-", 416, None)]:
            answer = requests.get(f"{DOOR}/view", params={"filename": "made.png"}, headers={"Range": wanted}, timeout=20)
            equal(answer.status_code, status, wanted)
            expect(body is None or answer.content == body, f"{wanted}: {answer.content!r}")


if __name__ == "__main__":
    programs()
    asyncio.run(sockets())
    streams()
    finish()
