"""Poison among good records: each good one is handled, each bad one is set aside with its reason, and the service stays ready."""

import json
import os
import random
from collections import Counter

from journeys.system import System, first_occurrences
from shared.events.ticket import TicketCreated
from shared.events.topics import TICKET
from shared.testing.builders import headers_of, ticket_data
from shared.testing.topic import producer

GOOD = int(os.environ.get("SUPPORT_TEST_GOOD", "1000"))
POISON = GOOD // 10
DEAD_LETTERS = TICKET.dead_letters("support.router")
KINDS: list[tuple[str, str, bytes]] = [
    ("invalid_json", TicketCreated.wire_type, b"{"),
    ("invalid_json", TicketCreated.wire_type, b"\xff\x00"),
    ("invalid_json", TicketCreated.wire_type, b'{"a":' * 3000),
    ("invalid_data", TicketCreated.wire_type, b'{"ticket_id": 7}'),
    ("invalid_data", TicketCreated.wire_type, b"[]"),
    ("invalid_data", TicketCreated.wire_type, b"null"),
    ("unknown_type", "com.storytailor.support.ticket.exploded.v1", b"{}"),
]
"""What is wrong, and how it looks."""


async def test_poison_among_good_records(system: System) -> None:
    """Written straight to the topic, as a broken producer would: a tenth is poison of every kind."""
    chance = random.Random(7)
    records: list[tuple[str, str, bytes]] = []
    for number in range(GOOD):
        data = ticket_data("created", f"T-{number}", category="billing", subcategory="refund_request")
        records.append((TicketCreated.wire_type, f"T-{number}", json.dumps(data).encode()))
    expected: Counter[str] = Counter()
    for number in range(POISON):
        code, wire_type, value = KINDS[number % len(KINDS)]
        expected[code] += 1
        records.insert(chance.randrange(len(records)), (wire_type, f"P-{number}", value))
    async with producer(system.engines.kafka_address) as plain:
        for wire_type, key, value in records:
            topic = system.topic_prefix + TICKET.name
            await plain.send(topic, value, key=key.encode(), headers=headers_of(wire_type, f"e-{key}"))
        await plain.flush()
    good = {f"T-{number}" for number in range(GOOD)}
    routed = await system.read_until("support.routing.v1", lambda seen: good <= {one.key for one in seen})
    assert not {one.key for one in first_occurrences(routed) if one.key.startswith("P-")}
    letters = await system.read_until(DEAD_LETTERS, lambda seen: len(seen) >= POISON)
    assert Counter(one.headers["x-error-code"] for one in letters) == expected
    assert {(one.key, one.value) for one in letters} == {
        (key, value) for _, key, value in records if key.startswith("P-")
    }
    async with system.client() as client:
        assert (await client.get(system.stack.url("router") + "/readyz")).status_code == 200
