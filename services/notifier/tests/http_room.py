"""An HTTP server on loopback that does whatever a test wants a destination to do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it arrived."""

    headers: dict[str, str]
    body: bytes
    path: str = ""
    """Without the slash before it."""


@dataclass(slots=True)
class HttpRoom:
    """Answers each request with the next of `answers`, the last one again and again; `None` is no answer at all."""

    answers: list[bytes | None] = field(default_factory=lambda: [answer(200, b"ok")])
    asked: list[Asked] = field(default_factory=list)
    drops_line: bool = False
    url: str = ""
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode("latin-1").split("\r\n")[:-2]
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.asked.append(Asked(headers, body, first.split(" ")[1][1:]))
                said = self.answer_to(self.asked[-1])
                if self.drops_line:
                    break
                if said is None:
                    await self.closed.wait()
                else:
                    writer.write(said)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass
        finally:
            writer.close()

    def answer_to(self, asked: Asked) -> bytes | None:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@asynccontextmanager
async def http_room(port: int = 0, one: HttpRoom | None = None) -> AsyncIterator[HttpRoom]:
    """One that is open, until the test is done with it."""
    one = one or HttpRoom()
    server = await asyncio.start_server(one.serve, "127.0.0.1", port, backlog=2_000)
    one.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    yield one
    one.closed.set()
    server.close()
    await asyncio.sleep(0)


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of an answer; `retry_after="30"` becomes a header."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status} x", *lines, f"content-length: {len(body)}"])
    return head.encode() + b"\r\n\r\n" + body
