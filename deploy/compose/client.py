"""A client of Parley for the smoke test, in nothing but Python's standard library: HTTP, WebSocket, Server-Sent Events.

Just what smoke.py needs. It leaves out fragments, compression and TLS.
"""

import base64
import json
import os
import socket
import struct
import time
import urllib.error
import urllib.request


def http(url, body=None, token=None, method=None):
    """Status and decoded body; None where there is no JSON."""
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    try:
        return status, json.loads(text)
    except ValueError:
        return status, None


def within(seconds, what, look):
    """The first true value that `look` gives; errors of the network are one more reason to look again."""
    deadline, problem = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        try:
            if found := look():
                return found
        except (OSError, ValueError, AssertionError) as error:
            problem = f": {error!r}"
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {what}{problem}")


class Closed(OSError):
    """The other side ended the connection."""


class Socket:
    """A WebSocket that is authenticated, and live."""

    def __init__(self, address, token, device, resume=None):
        self.stream = socket.create_connection(address, timeout=10)
        self.early = b""
        self.cursor = resume
        self.seen = []
        key = base64.b64encode(os.urandom(16)).decode()
        resume = f"&resume={resume}" if resume else ""
        self.stream.sendall(
            f"GET /v1/ws?device_id={device}{resume} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\n"
            f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.take(1)
        status = head.split(b" ")[1]
        if status != b"101":
            raise Closed(f"the upgrade was answered with {status}")
        self.expect("ready")

    def take(self, count):
        while len(self.early) < count:
            some = self.stream.recv(65536)
            if not some:
                raise Closed("the connection has ended")
            self.early += some
        taken, self.early = self.early[:count], self.early[count:]
        return taken

    def write(self, opcode, payload):
        mask = os.urandom(4)
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + struct.pack(">H", size)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self.stream.sendall(bytes([0x80 | opcode]) + length + mask + masked)

    def send(self, **frame):
        self.write(1, json.dumps(frame).encode())

    def read(self):
        """The next frame of the protocol; pings are answered."""
        while True:
            first, second = self.take(2)
            size = second & 127
            if size == 126:
                (size,) = struct.unpack(">H", self.take(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", self.take(8))
            payload = self.take(size)
            match first & 15:
                case 1:
                    frame = json.loads(payload)
                    self.cursor = frame.get("cursor", self.cursor)
                    self.seen.append(frame)
                    return frame
                case 8:
                    raise Closed(f"closed with {struct.unpack('>H', payload[:2])}")
                case 9:
                    self.write(10, payload)

    def expect(self, kind, seconds=10, **fields):
        """The next frame of that type and with these fields; others are passed over."""
        self.stream.settimeout(seconds)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            frame = self.read()
            if frame["type"] == kind and all(frame.get(name) == value for name, value in fields.items()):
                return frame
        raise AssertionError(f"no {kind} with {fields} within {seconds} s")

    def close(self):
        self.stream.close()


class Events:
    """A stream of Server-Sent Events."""

    def __init__(self, url, token):
        request = urllib.request.Request(url, headers={"authorization": f"Bearer {token}"})
        self.answer = urllib.request.urlopen(request, timeout=20)

    def expect(self, kind, text):
        event = None
        for line in self.answer:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                event = value
            elif name == "data" and event == kind and json.loads(value).get("text") == text:
                return json.loads(value)
        raise AssertionError(f"the stream ended before {kind} {text}")
