"""The tables on a real database."""

import asyncio

import pytest

from router.domain.ticket import Ticket
from router.handlers.tickets import SAFETY_BRIDGE, on_ticket_created
from router.store import RoutedTickets
from shared.errors import TransientFailure
from shared.events.ticket import TicketCreated, TicketResolved, TicketRestricted, TicketSignalsAdded
from shared.testing.builders import ticket_data, wire

RICH = {
    "body": "My payment failed and my lawyer knows; it made her want to die",
    "category": "billing",
    "subcategory": "payment_failure",
    "signals": ["needs_code_fix"],
    "tier": "family",
    "ip": {"id": "ip-9", "high_profile": True},
}


def created(ticket_id: str = "T-1", **data):
    return wire(TicketCreated, ticket_data("created", ticket_id, **data))


def signals(*words: str, ticket_id: str = "T-1"):
    return wire(TicketSignalsAdded, ticket_data("signals_added", ticket_id, signals=words))


async def found(service, ticket_id: str = "T-1") -> Ticket | None:
    return await RoutedTickets(service.database).find(ticket_id)


async def test_a_ticket_comes_back_as_it_was_saved(service) -> None:
    """Every field of the document, through the next batch and back."""
    await service.handle(created(**RICH))
    first = await found(service)
    await service.handle(wire(TicketResolved, ticket_data("resolved")))
    again = await found(service)
    assert again.resolved_at is not None
    assert (first.classification, first.criteria, first.decision, first.upstream) == (
        again.classification,
        again.criteria,
        again.decision,
        again.upstream,
    )
    assert first.in_force.placement.subcategory == "crisis_detection"


async def test_a_batch_is_one_transaction(service) -> None:
    """Created and raised in one batch: two decisions, one row, two events and a screening in order."""
    await service.handle(created(body="I want to die"), created("T-2"), signals("dmca_takedown", ticket_id="T-2"))
    assert [row["number"] for row in await service.rows("select number from decision order by ticket_id, number")] == [
        1,
        1,
        2,
    ]
    assert [(row["ticket_id"], row["version"]) for row in await service.rows("select * from ticket order by 1")] == [
        ("T-1", 1),
        ("T-2", 1),
    ]
    lanes = await service.rows("select lane, topic from outbox order by seq")
    assert [(row["lane"], row["topic"]) for row in lanes] == [
        (0, "safety.screening.v1"),
        (1, "support.routing.v1"),
        (1, "support.routing.v1"),
        (1, "support.routing.v1"),
    ]


async def test_no_words_of_a_customer_are_kept(service) -> None:
    """Subject, body and names are read and forgotten."""
    await service.handle(created(subject="Zebra", body="Zebra refund", requester={"id": "u-1", "name": "Zebra"}))
    for table in ("ticket", "decision"):
        assert b"ebra" not in (await service.rows(f"select document from {table}"))[0]["document"]


async def test_two_that_create_the_same_ticket_at_once_end_with_one(service) -> None:
    """The later one sees the first when it tries again; the first stands."""
    late = asyncio.Event()
    other = created(category="billing")

    async def handle_late() -> None:
        async with service.units.begin() as unit:
            await unit.load([other])
            await late.wait()
            unit.because_of(other)
            on_ticket_created(other, unit)

    waiting = asyncio.create_task(handle_late())
    await asyncio.sleep(0)
    await service.handle(created(category="account"))
    late.set()
    with pytest.raises(TransientFailure):
        await waiting
    assert (await found(service)).in_force.placement.category == "account"


async def test_the_history_of_a_restricted_ticket_begins_when_it_was_restricted(service) -> None:
    """What was said before is not shown again (S5, S9)."""
    await service.handle(created(category="billing"), signals("special_pricing"))
    tickets = RoutedTickets(service.database)
    assert [line["decision_id"] for line in await tickets.history("T-1")] == ["T-1:1", "T-1:2"]
    await service.handle(wire(TicketRestricted, ticket_data("restricted"), source=SAFETY_BRIDGE))
    [line] = await tickets.history("T-1")
    assert (line["decision_id"], line["restricted"], line["category"]) == ("T-1:3", True, "safety")
