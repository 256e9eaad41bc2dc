"""Small real servers in the place of the services."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Answering:
    """A service on loopback that answers one thing and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: tuple[int, bytes] = (200, b"{}")
        self.asked: list[tuple[str, str, str | None, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answers(self, document: Any, status: int = 200) -> None:
        self.answer = (status, document if isinstance(document, bytes) else json.dumps(document).encode())

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                document = json.loads(body) if body else None
                outer.asked.append((self.command, self.path, self.headers.get("authorization"), document))
                status, value = outer.answer
                self.send_response(status)
                self.send_header("content-length", str(len(value)))
                self.end_headers()
                self.wfile.write(value)

            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Nothing is written to the terminal."""

        return Handler


@pytest.fixture
def router() -> Iterator[Answering]:
    router = Answering()
    yield router
    router.stop()


@pytest.fixture
def sla_monitor() -> Iterator[Answering]:
    sla_monitor = Answering()
    yield sla_monitor
    sla_monitor.stop()


@pytest.fixture
def answering() -> Iterator[Answering]:
    answering = Answering()
    yield answering
    answering.stop()
