"""An HTTP load of keep-alive connections from a process of its own; prints requests/s, p50 and p99 as JSON.

Bounded: `seconds` and the number of connections; loopback only.
"""

import asyncio
import json
import sys
import time
from urllib.parse import urlsplit

import orjson

from shared.events.envelope import rfc3339
from shared.runtime.now import machine_now

CLOSE = b"\r\n\r\n"


def ticket(number: int, run: str) -> dict[str, object]:
    """A ticket of about 600 bytes in structured mode."""
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
            "requester": {"id": f"u-{number}", "name": "Ada", "email": "ada@customers.example"},
            "category": "billing",
            "subcategory": "invoice_question",
        },
    }


async def load(url: str, key: str, *, seconds: float, connections: int, batch: int, run: str) -> dict[str, float]:
    place = urlsplit(url)
    latencies: list[float] = []
    numbers = iter(range(10**9))
    end = time.perf_counter() + seconds

    async def one() -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        while time.perf_counter() < end:
            events = [ticket(next(numbers), run) for _ in range(batch)]
            body = orjson.dumps(events if batch > 1 else events[0])
            kind = "cloudevents-batch+json" if batch > 1 else ("json" if not key else "cloudevents+json")
            head = (
                f"POST {place.path} HTTP/1.1\r\nhost: {place.netloc}\r\nauthorization: Bearer {key}\r\n"
                f"content-type: application/{kind}\r\ncontent-length: {len(body)}{CLOSE.decode()}"
            )
            started = time.perf_counter()
            writer.write(head.encode() + body)
            answer = await reader.readuntil(CLOSE)
            length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            if not answer.startswith((b"HTTP/1.1 202", b"HTTP/1.1 207")):
                raise RuntimeError(answer.split(b"\r\n")[0].decode())
            latencies.append(time.perf_counter() - started)
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    took = time.perf_counter() - started
    latencies.sort()
    return {
        "events_per_second": len(latencies) * batch / took,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
    }


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    print(json.dumps(asyncio.run(load(**arguments))))
