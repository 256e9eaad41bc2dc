"""Processes and engines die at random while tickets go through: nothing lost, no effect doubled, order per ticket kept.

`make test` plays small counts and the same seed, and whatever dies in one test; `make test-long` also plays each kind apart and
sets SUPPORT_TEST_TICKETS to thousands, and a new seed.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from journeys.conftest import StartSystem
from journeys.system import System, by_ticket, event, first_occurrences
from shared.events.topics import TOPICS
from shared.testing.topic import Seen

TICKETS = int(os.environ.get("SUPPORT_TEST_TICKETS", "100"))
SEED = int(os.environ.get("SUPPORT_TEST_SEED", "1"))
SECONDS_TO_SETTLE = 400 + TICKETS / 20
MOST_TROUBLES = 10 + TICKETS // 10
"""On a machine so busy that services start more slowly than trouble comes, nothing would ever be posted."""
LONGEST_FREEZE_SECONDS = 20.0
"""Longer than a session of a consumer group (10 s) and than a frozen relay keeps its lock (15 s)."""
AGENT = {"kind": "agent", "id": "a-1"}

ROUTING = [("routing.assigned", 1), ("routing.escalated", 2), ("routing.escalated", 3)]
"""What the router has to say of each ticket, in this order."""
CLOCKS = {
    ("initial_response", 1): ("met", None),
    ("resolution", 1): ("met", None),
    ("escalation", 1): ("cancelled", "raised"),
    ("escalation", 2): ("cancelled", "raised"),
    ("escalation", 3): ("cancelled", "resolved"),
}
"""What became of the clocks of each ticket, by milestone and cycle (L12, L14)."""
MAILS = 4
"""What a customer is told: we have it, it is with another team (twice), it is resolved."""
CUSTOMERS = "@customers.example"
Trouble = Callable[[random.Random], Awaitable[None]]


def story(ticket_id: str) -> list[dict[str, object]]:
    """A ticket that rises twice, is answered and resolved."""
    return [
        event(
            "created",
            ticket_id,
            f"{ticket_id}-1",
            tier="premium",
            category="technical",
            subcategory="api_errors",
            requester={"id": f"u-{ticket_id}", "name": "Ada", "email": f"{ticket_id}{CUSTOMERS}"},
        ),
        event("signals_added", ticket_id, f"{ticket_id}-2", signals=["needs_advanced_knowledge"], by=AGENT),
        event("message_added", ticket_id, f"{ticket_id}-3", public=True, author=AGENT),
        event("escalation_requested", ticket_id, f"{ticket_id}-4", criterion="needs_code_fix", by=AGENT),
        event("resolved", ticket_id, f"{ticket_id}-5", summary="Fixed."),
    ]


UNDER_WAY = """
select count(*) from notifier.notification where state in ('queued', 'sending') and next_look_at < now() + interval '1 day'
"""
"""Without the follow-ups, which come two business days later (T5)."""


async def play(system: System, trouble: Trouble) -> None:
    """Post every ticket's story, a part of it twice, while trouble comes at random moments; then check everything."""
    print(f"seed {SEED}, {TICKETS} tickets")
    chance = random.Random(SEED)
    tickets = [f"T-{number}" for number in range(TICKETS)]
    steps = list(zip(*(story(ticket) for ticket in tickets), strict=True))
    posting = asyncio.create_task(_post(system, steps, chance))
    for _ in range(MOST_TROUBLES):
        if posting.done():
            break
        await trouble(chance)
        await asyncio.sleep(chance.uniform(0.3, 1.2))
    await posting
    await check(system, tickets)


async def _post(system: System, steps: list[tuple[dict[str, object], ...]], chance: random.Random) -> None:
    for step in steps:
        await system.post(*step, *chance.sample(step, len(step) // 20), deadline_seconds=SECONDS_TO_SETTLE)
        await asyncio.sleep(1)


async def check(system: System, tickets: list[str]) -> None:
    """Every topic holds what it must, once, in order; nothing waits, nothing is dead."""
    expected = set(tickets)
    routing = await system.read_until(
        "support.routing.v1",
        lambda seen: len(first_occurrences(seen)) >= len(expected) * len(ROUTING),
        deadline_seconds=SECONDS_TO_SETTLE,
    )
    decisions = by_ticket(routing)
    assert set(decisions) == expected
    for ticket, seen in decisions.items():
        assert [(one.fact, one.data.get("to_level", one.data.get("level"))) for one in seen] == ROUTING, ticket
    sla = await system.read_until(
        "support.sla.v1",
        lambda seen: {one for one, told in by_ticket(_of_clocks(seen)).items() if _ended(told) == CLOCKS} >= expected,
        deadline_seconds=SECONDS_TO_SETTLE,
    )
    for ticket, seen in by_ticket(_of_clocks(sla)).items():
        started = Counter(_clock_of(one) for one in seen if one.fact == "sla.clock_started")
        assert started == Counter(CLOCKS.keys()), ticket
    await check_mails(system, expected)
    for topic in TOPICS:
        for group in topic.consumers:
            assert await system.read(topic.dead_letters(group)) == []
    for schema in ("router", "sla_monitor", "safety_bridge", "notifier"):
        assert await system.sql(f"select count(*) from {schema}.dead_letter") == 0, schema
    for schema in ("intake", "router", "sla_monitor", "safety_bridge", "notifier"):
        assert await system.sql(f"select count(*) from {schema}.outbox") == 0, schema


async def check_mails(system: System, tickets: set[str]) -> None:
    """Each of a ticket's four mails to its customer went out once, or is held for a person because a process died while it
    was handed over and nobody can know (customers get a mail at most once)."""
    ended = dict.fromkeys(tickets, MAILS)
    told = await system.read_until(
        "support.notification.v1", lambda seen: _mails(seen) == ended, deadline_seconds=SECONDS_TO_SETTLE
    )
    async with asyncio.timeout(SECONDS_TO_SETTLE):
        while await system.sql(UNDER_WAY):
            await asyncio.sleep(0.5)
        while await system.sql("select count(*) from notifier.outbox"):
            await asyncio.sleep(0.2)
    assert _mails(await system.read("support.notification.v1")) == ended
    sent = sum(one.fact == "notification.sent" for one in _last_of_customers(told).values())
    ids = Counter(header_of(mail, "message-id") for mail in await system.mails() if CUSTOMERS in str(mail["to"]))
    assert [message_id for message_id, count in ids.items() if count > 1] == []
    assert len(ids) >= sent


def _last_of_customers(seen: list[Seen]) -> dict[str, Seen]:
    """What became of each notification to a customer in the end."""
    mine = [one for one in first_occurrences(seen) if one.data["audience"] == "customer"]
    return {one.data["notification_id"]: one for one in mine}


def _of_clocks(seen: list[Seen]) -> list[Seen]:
    """Without what is said of quality."""
    return [one for one in seen if one.fact.startswith("sla.")]


def _clock_of(one: Seen) -> tuple[str, int]:
    return one.data["milestone"], one.data["cycle"]


def _ended(seen: list[Seen]) -> dict[tuple[str, int], tuple[str, str | None]]:
    """How each clock stood when it was told last; a rise that came late is corrected into its place (L13)."""
    return {_clock_of(one): (one.data["state"], one.data["reason"]) for one in seen}


def _mails(seen: list[Seen]) -> Counter[str]:
    """How many of a ticket's mails to its customer are sent, or held for a person."""
    ended = ("notification.sent", "notification.held")
    return Counter(one.key for one in _last_of_customers(seen).values() if one.fact in ended)


def header_of(mail: dict[str, object], name: str) -> str:
    headers = mail["headers"]
    assert isinstance(headers, dict)
    return next(value for key, value in headers.items() if key.lower() == name)


async def test_anything_is_killed_at_random(start_system: StartSystem) -> None:
    """Services, broker and database. Posts are refused with 503 meanwhile and repeated; nothing accepted is lost."""
    system = await start_system()
    kills = [_killing(system), _restarting_the_broker(system), _restarting_the_database(system)]

    async def trouble(chance: random.Random) -> None:
        (kill,) = chance.choices(kills, (6, 1, 2))
        await kill(chance)

    await play(system, trouble)


@pytest.mark.parametrize("replicas", [pytest.param(1, marks=pytest.mark.long), 2])
async def test_services_are_killed_at_random(start_system: StartSystem, replicas: int) -> None:
    """SIGKILL at any instruction; two replicas of each service give the same result as one."""
    system = await start_system(replicas=replicas)
    await play(system, _killing(system))


@pytest.mark.long
async def test_services_are_frozen_at_random(start_system: StartSystem) -> None:
    """SIGSTOP, until others have taken over its partitions and locks or nearly so, then SIGCONT: a zombie does nothing twice."""
    system = await start_system(replicas=2)

    async def freeze_one(chance: random.Random) -> None:
        pid = chance.choice(system.stack.processes).pid
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(chance.uniform(1, LONGEST_FREEZE_SECONDS))
        os.kill(pid, signal.SIGCONT)

    await play(system, freeze_one)


@pytest.mark.long
async def test_the_broker_is_killed_and_started_again(start_system: StartSystem) -> None:
    """Intake keeps accepting; everything comes out once the broker is back."""
    system = await start_system()
    await play(system, _restarting_the_broker(system))


@pytest.mark.long
async def test_the_database_is_killed_and_started_again(start_system: StartSystem) -> None:
    """Posts are refused with 503 meanwhile and repeated; nothing accepted is lost."""
    system = await start_system()
    await play(system, _restarting_the_database(system))


def _killing(system: System) -> Trouble:
    names = [process.name for process in system.stack.processes]

    async def kill_one(chance: random.Random) -> None:
        await asyncio.to_thread(system.stack.kill, chance.choice(names))

    return kill_one


def _restarting_the_broker(system: System) -> Trouble:
    async def restart(chance: random.Random) -> None:
        await asyncio.sleep(chance.uniform(0, 2))
        await asyncio.to_thread(system.engines.restart_kafka)

    return restart


def _restarting_the_database(system: System) -> Trouble:
    async def restart(chance: random.Random) -> None:
        await asyncio.sleep(chance.uniform(0, 2))
        await asyncio.to_thread(system.engines.restart_database)

    return restart
