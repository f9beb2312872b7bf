"""A chat-completions service on loopback that answers as a test tells it to, misbehaviour included."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What goes back for one request."""

    content: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """In place of a completion."""
    delay_s: float = 0.0
    cut: bool = False
    """Close the connection in the middle of the body."""
    byte_every_s: float = 0.0
    """Send the body a byte at a time."""
    finish_reason: str = "stop"
    refusal: str | None = None


def verdict(word: str, reason: str = "it says so") -> Reply:
    return Reply(json.dumps({"reason": reason, "verdict": word}))


@dataclass
class Service:
    """The running service and all that it was asked."""

    url: str = ""
    behave: Callable[[str, int], Reply] = lambda prefix, time_asked: verdict("subject")
    """The reply to a prefix, asked about for the first, second ... time."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """Requests by prefix."""
    most_at_once: int = 0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, body: dict[str, Any], headers: dict[str, str]) -> Reply:
        prefix = prefix_in(body)
        with self._lock:
            self.bodies.append(body)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            self.counts[prefix] += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            number = self.counts[prefix]
        return self.behave(prefix, number)

    def end(self) -> None:
        with self._lock:
            self._at_once -= 1


def prefix_in(body: dict[str, Any]) -> str:
    marker = "part of the site: "
    lines = [line for line in body["messages"][-1]["content"].splitlines() if line.startswith(marker)]
    return lines[0].removeprefix(marker) if lines else ""


@contextmanager
def serve() -> Iterator[Service]:
    """The service, up while the block runs."""
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/v1/chat/completions":
                self.send(Reply(status=404, body=b'{"error": "no such path"}'))
                return
            reply = service.begin(body, dict(self.headers.items()))
            try:
                self.send(reply)
            except OSError:
                pass  # the client had enough
            finally:
                service.end()

        def send(self, reply: Reply) -> None:
            time.sleep(reply.delay_s)
            message = {"role": "assistant", "content": reply.content, "refusal": reply.refusal}
            completion = {
                "id": "1",
                "object": "chat.completion",
                "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
            }
            payload = json.dumps(completion).encode() if reply.body is None else reply.body
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(payload)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if reply.cut:
                self.wfile.write(payload[: len(payload) // 2])
                self.close_connection = True
            elif reply.byte_every_s:
                for place in range(len(payload)):
                    self.wfile.write(payload[place : place + 1])
                    time.sleep(reply.byte_every_s)
            else:
                self.wfile.write(payload)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
