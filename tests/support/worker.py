"""A real service for workflows: its actions wait, fail or answer a lot when a test wants them to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE = 30.0
BIG = 1_000_000


class Worker:
    """What the service does. Its actions are the paths: quick, slow, picky and big.

    Attributes:
        gate: `slow` answers when it is open.
        refuses: whether `picky` answers 400.
        extra: what every answer has besides.
        url: the service's.
    """

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.refuses = False
        self.extra: dict[str, Any] = {}
        self.url = ""

    def answer(self, action: str, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if action == "slow":
            self.gate.wait(PATIENCE)
        if action == "picky" and self.refuses:
            return 400, {"detail": "not today"}
        if action == "big":
            return 200, {"text": "x" * BIG}
        return 200, {f"did_{action}": True, "saw": len(given), **self.extra}


@contextmanager
def working() -> Iterator[Worker]:
    """The service while the block runs."""
    worker = Worker()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(200, {"status": "ok"})

        def do_POST(self) -> None:
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(*worker.answer(self.path.rpartition("/")[2], given))

        def _send(self, status: int, answer: dict[str, Any]) -> None:
            body = json.dumps(answer).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                # Who asked is gone: a cancelled step.
                self.close_connection = True

        def log_message(self, *args: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    worker.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield worker
    finally:
        worker.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
