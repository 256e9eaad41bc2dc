"""An HTTP load of keep-alive connections from a process of its own; prints requests/s, p50 and p99 as JSON.

Bounded: `seconds` and the number of connections; loopback only.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from typing import cast
from urllib.parse import urlsplit

import orjson
import uvloop

from shared.events.envelope import rfc3339
from shared.runtime.now import machine_now

CLOSE = b"\r\n\r\n"


def ticket(number: int, run: str, *, with_category: bool = True) -> dict[str, object]:
    """A ticket of about 600 bytes in structured mode."""
    category = {"category": "billing", "subcategory": "invoice_question"} if with_category else {}
    return {
        "specversion": "1.0",
        "id": f"{run}-{number}",
        "source": "/bench",
        "type": "com.storytailor.support.ticket.created.v1",
        "time": rfc3339(machine_now()),
        "data": {
            "ticket_id": f"{run}-{number}",
            "subject": "The invoice of this month",
            "body": "Please send me the invoice of this month once more. " * 6,
            "channel": "web",
            "tier": "premium",
            "requester": {"id": f"u-{number}", "name": "Ada", "email": f"u-{number}@customers.example"},
            **category,
        },
    }


def story(number: int, run: str) -> list[dict[str, object]]:
    """A ticket's whole life: created, written to by the customer, answered, resolved."""
    created = ticket(number, run)
    ticket_id = f"{run}-{number}"
    agent = {"kind": "agent", "id": "a-1"}
    customer = {"kind": "customer", "id": f"u-{number}"}
    rest: list[tuple[str, dict[str, object]]] = [
        ("message_added", {"author": customer, "public": True, "body": "It is the one of October."}),
        ("message_added", {"author": agent, "public": True, "body": "Here it is."}),
        ("resolved", {"summary": "The invoice was sent again.", "by": agent}),
    ]
    later = [
        created
        | {
            "id": f"{ticket_id}-{place}",
            "type": f"com.storytailor.support.ticket.{fact}.v1",
            "data": {"ticket_id": ticket_id} | data,
        }
        for place, (fact, data) in enumerate(rest)
    ]
    return [created, *later]


class Connection(asyncio.Protocol):
    """One keep-alive connection: sends the next request as soon as the answer to the last one is there."""

    def __init__(self, requests: Iterator[bytes], latencies: list[float], end: float) -> None:
        self._requests = requests
        self._latencies = latencies
        self._end = end
        self._sent_at = 0.0
        self._received = b""
        self._transport: asyncio.Transport
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(CLOSE)
        if not found or len(rest) < int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]):
            return
        if not head.startswith((b"HTTP/1.1 202", b"HTTP/1.1 207")):
            self.done.set_exception(RuntimeError(head.split(b"\r\n")[0].decode()))
            return
        self._latencies.append(time.perf_counter() - self._sent_at)
        self._received = b""
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("closed by the server"))

    def _send(self) -> None:
        request = next(self._requests, None) if time.perf_counter() < self._end else None
        if request is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


async def load(url: str, key: str, *, seconds: float, connections: int, batch: int, run: str) -> dict[str, float]:
    """Requests are made beforehand, so that the load itself costs little."""
    place = urlsplit(url)
    most = int(seconds * 12_000 / batch**0.75)
    requests = iter([_request(url, key, batch, run, number) for number in range(most)])
    latencies: list[float] = []
    started = time.perf_counter()
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(
            lambda: Connection(requests, latencies, started + seconds), place.hostname or "", place.port or 80
        )
        for _ in range(connections)
    ]
    await asyncio.gather(*(connection.done for _, connection in made))
    took = time.perf_counter() - started
    latencies.sort()
    return {
        "events_per_second": len(latencies) * batch / took,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
    }


def _request(url: str, key: str, batch: int, run: str, number: int) -> bytes:
    place = urlsplit(url)
    events = [ticket(number * batch + n, run) for n in range(batch)]
    body = orjson.dumps(events if batch > 1 else events[0])
    kind = "cloudevents-batch+json" if batch > 1 else ("cloudevents+json" if key else "json")
    head = (
        f"POST {place.path} HTTP/1.1\r\nhost: {place.netloc}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/{kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


if __name__ == "__main__":
    print(json.dumps(uvloop.run(load(**json.loads(sys.argv[1])))))
