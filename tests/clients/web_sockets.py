"""What a WebSocket does, frame by frame, straight to a server and through the front door.

Each row is bytes on the wire, and the verdict is what comes back: frames, and how it ends. Airlock looks
into no frame, so both verdicts must be the same; what the row expects keeps the table honest.
After the table, the `websockets` library: large messages, previews, and a connection that idles.
"""

import asyncio
import os
import socket
import struct
import time
import zlib

import websockets

from common import check, equal, expect, finish

DOOR, DIRECT = os.environ["AIRLOCK_DOOR"], os.environ["COMFYUI_DIRECT"]
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MASK = b"\x11\x22\x33\x44"


def frame(opcode, payload=b"", fin=True, rsv=0, mask=True):
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    n = len(payload)
    head = bytes([first]) + (
        bytes([n | mask << 7]) if n < 126
        else struct.pack(">BH", 126 | mask << 7, n) if n < 1 << 16
        else struct.pack(">BQ", 127 | mask << 7, n)
    )
    if not mask:
        return head + payload
    key = (MASK * (n // 4 + 1))[:n]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(n, "big")
    return head + MASK + masked


def close(code=1000, reason=b""):
    return frame(CLOSE, struct.pack(">H", code) + reason)


def deflated(payload):
    squeeze = zlib.compressobj(wbits=-15)
    return (squeeze.compress(payload) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4]


BIG = os.urandom(1 << 20)
OVERLONG = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80edited"

# Name, what is sent (a list: piece by piece), the code that aiohttp closes with, if it does.
ROWS = [
    ("a text", [frame(TEXT, "hé".encode()), close()], 1000),
    ("an empty text", [frame(TEXT), close()], 1000),
    ("two messages in one segment", [frame(TEXT, b"a") + frame(BINARY, b"b") + close()], 1000),
    ("a frame byte by byte", [bytes([b]) for b in frame(TEXT, b"slow") + close()], 1000),
    ("fragments", [frame(TEXT, b"a", fin=False), frame(0, b"b", fin=False), frame(0, b"c"), close()], 1000),
    ("a ping between fragments",
     [frame(TEXT, b"a", fin=False), frame(PING, b"?"), frame(0, b"b"), close()], 1000),
    ("a code point cut by fragments", [frame(TEXT, b"\xce", fin=False), frame(0, b"\xba"), close()], 1000),
    ("a pong nobody asked for", [frame(PONG, b"!"), frame(TEXT, b"a"), close()], 1000),
    ("the longest ping", [frame(PING, b"p" * 125), close()], 1000),
    ("a ping that is too long", [frame(PING, b"p" * 126)], 1002),
    ("a ping in fragments", [frame(PING, b"p", fin=False)], 1002),
    ("a megabyte", [frame(BINARY, BIG), close()], 1000),
    ("a megabyte in fragments",
     [frame(BINARY, BIG[:65536], fin=False)]
     + [frame(0, BIG[n:n + 65536], fin=n + 65536 >= len(BIG)) for n in range(65536, len(BIG), 65536)]
     + [close()], 1000),
    ("more than the server takes", [frame(BINARY, BIG * 9)], 1009),
    ("a reserved opcode", [frame(3, b"x")], 1002),
    ("a reserved control opcode", [frame(11, b"x")], 1002),
    ("a reserved bit", [frame(TEXT, b"x", rsv=1)], 1002),
    ("a continuation of nothing", [frame(0, b"x")], 1002),
    ("a message within another", [frame(TEXT, b"a", fin=False), frame(TEXT, b"b")], 1002),
    ("text that is no UTF-8", [frame(TEXT, OVERLONG)], 1007),
    ("the same in fragments", [frame(TEXT, OVERLONG[:12], fin=False), frame(0, OVERLONG[12:])], 1007),
    ("an empty close", [frame(CLOSE)], 1000),
    ("a close with a reason", [close(1001, b"going")], 1000),
    ("a close of a program's own", [close(4999, b"mine")], 1000),
    ("a close of one byte", [frame(CLOSE, b"\x03")], 1002),
    ("a close with a code that is none", [close(999)], 1002),
    ("a close with a code for no wire", [close(1006)], 1000),
    ("a message behind a close", [close(), frame(TEXT, b"late")], 1000),
    ("an end without a close", [frame(TEXT, b"bye"), None], None),
    ("half a frame, and the end", [frame(TEXT, b"half")[:4], None], None),
]
OFFERS = [
    ("nothing", "", b""),
    ("a protocol that is spoken", "Sec-WebSocket-Protocol: two, three\r\n", b""),
    ("a protocol that is not", "Sec-WebSocket-Protocol: three\r\n", b""),
    ("compression", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
     frame(TEXT, deflated(b"squeezed " * 99), rsv=4)),
    ("compression without memory", "Sec-WebSocket-Extensions: permessage-deflate; "
     "server_no_context_takeover; client_no_context_takeover\r\n", frame(TEXT, deflated(b"squeezed " * 99), rsv=4)),
    ("another extension", "Sec-WebSocket-Extensions: x-mine\r\n", b""),
]


class Talk:
    """One connection, and all that comes by it."""

    def __init__(self, address, lines="", early=b"", path="/echo"):
        host, port = address.split(":")
        self.wire = socket.create_connection((host, int(port)), timeout=20)
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wire.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nUpgrade: websocket\r\n"
            f"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n".encode() + early
        )
        self.behind = b""
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.more()
        head, self.behind = head.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}

    def more(self):
        if self.behind:
            came, self.behind = self.behind, b""
            return came
        return self.wire.recv(1 << 16)

    def verdict(self):
        """Every frame until the end, and whether the end was one."""
        data, end = bytearray(), "an end"
        try:
            while came := self.more():
                data += came
        except TimeoutError:
            end = "no end"
        except ConnectionError:
            end = "a reset"
        frames = []
        while len(data) >= 2:
            n, at = data[1] & 0x7F, 2
            if n == 126:
                n, at = struct.unpack(">H", data[2:4])[0], 4
            elif n == 127:
                n, at = struct.unpack(">Q", data[2:10])[0], 10
            frames.append((data[0], bytes(data[at:at + n])))
            data = data[at + n:]
        self.wire.close()
        # A server that closes on unread bytes resets the connection or not, as the bytes happen to lie.
        return frames, "an end" if end == "a reset" else end

    def send(self, pieces):
        try:
            for piece in pieces:
                if piece is None:
                    self.wire.shutdown(socket.SHUT_WR)
                else:
                    self.wire.sendall(piece)
        except ConnectionError:
            pass  # The server has had enough.


def closing(frames):
    codes = [struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1000
             for first, payload in frames if first & 0x0F == CLOSE]
    return codes[0] if codes else None


def table():
    for name, pieces, code in ROWS:
        with check(f"the same verdict on {name}"):
            verdicts = []
            for address in (DIRECT, DOOR):
                talk = Talk(address)
                equal(talk.status, 101, "status")
                talk.send(pieces)
                verdicts.append(talk.verdict())
            direct, through = verdicts
            equal(direct[1], "an end", "straight to the server it comes to")
            equal(closing(direct[0]), code, "the server closes with")
            expect(direct == through, f"direct {summary(direct)}, through the door {summary(through)}")


def offers():
    for name, lines, message in OFFERS:
        with check(f"the same handshake for an offer of {name}"):
            seen = []
            for address in (DIRECT, DOOR):
                talk = Talk(address, lines)
                agreed = {k: v for k, v in talk.headers.items() if k.startswith("sec-websocket-")}
                talk.send([message, close()])
                seen.append((talk.status, agreed, talk.verdict()))
            equal(seen[1], seen[0], "through the door")
            expect(not message or seen[0][1].get("sec-websocket-extensions"), "the server does not compress")
    with check("a message that comes with the handshake waits for the switch"):
        for address in (DIRECT, DOOR):
            talk = Talk(address, early=frame(TEXT, b"early") + close())
            frames, _ = talk.verdict()
            equal(frames[0], (0x81, b"early"), "the first frame")
    with check("a page of elsewhere is refused by the server and by the door"):
        for address, status in ((DIRECT, 403), (DOOR, 403)):
            host, port = address.split(":")
            with socket.create_connection((host, int(port)), timeout=20) as wire:
                wire.sendall(
                    f"GET /ws HTTP/1.1\r\nHost: {address}\r\nOrigin: http://evil.example\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
                )
                equal(int(wire.recv(4096).split()[1]), status, address)


def summary(verdict):
    frames, end = verdict
    return f"{[(hex(first), len(payload), payload[:20]) for first, payload in frames[:8]]}, then {end}"


async def library():
    own = {"origin": f"http://{DOOR}", "max_size": None}
    with check("websockets: large messages both ways, and pings", within=30):
        async with websockets.connect(f"ws://{DOOR}/echo", **own) as talk:
            for size in (0, 1, 125, 126, 65535, 65536, 1 << 20, 4 << 20):
                message = os.urandom(size)
                await talk.send(message)
                equal(await talk.recv() == message, True, f"{size} bytes come back")
            await (await talk.ping())
    with check("websockets: ComfyUI's first message and its previews"):
        async with websockets.connect(f"ws://{DOOR}/ws?clientId=w", **own) as talk:
            expect('"status"' in await talk.recv(), "the first message is no status")
    with check("websockets: a connection that idles is there afterwards", within=30):
        async with websockets.connect(f"ws://{DOOR}/echo", ping_interval=None, **own) as talk:
            # Longer than what a kept-alive upstream connection lasts.
            await asyncio.sleep(6)
            await talk.send("still there?")
            equal(await asyncio.wait_for(talk.recv(), 10), "still there?", "after a while")
    with check("websockets: a hundred at once", within=40):
        talks = await asyncio.gather(*(websockets.connect(f"ws://{DOOR}/echo", **own) for _ in range(100)))
        await asyncio.gather(*(talk.send(str(n)) for n, talk in enumerate(talks)))
        back = await asyncio.gather(*(talk.recv() for talk in talks))
        equal(back, [str(n) for n in range(100)], "each its own")
        await asyncio.gather(*(talk.close() for talk in talks))


if __name__ == "__main__":
    began = time.monotonic()
    table()
    offers()
    asyncio.run(library())
    finish()
