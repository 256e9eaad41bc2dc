"""The tables on a real database: what is kept, who waits for whom, and what a lost race does."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest

from shared.errors import TransientFailure
from shared.events.sla import SlaBreached, SlaClockStarted, SlaCorrected, SlaMet
from shared.events.ticket import TicketClosed, TicketCreated, TicketMessageAdded, TicketResolved, TicketStatusChanged
from shared.testing.builders import AT, ticket_data, wire
from shared.vocabulary import Milestone
from sla_monitor.domain.ticket import Outlook
from sla_monitor.handlers import on_ticket_created, settle
from sla_monitor.store import ClockedTickets

Service = Any
HOUR = timedelta(hours=1)


def said(fact: str, ticket_id: str = "T-1", **data: Any) -> dict[str, Any]:
    return ticket_data(fact, ticket_id, **data)


async def test_a_ticket_is_kept_whole(service: Service) -> None:
    """What is read back gives the same clocks (L13)."""
    await service.handle(wire(TicketCreated, said("created"), claimed_at=AT + HOUR))
    await service.routed("T-1", tier="professional")
    service.now.advance(hours=1)
    waiting = said("status_changed", status="pending_customer")
    await service.handle(wire(TicketStatusChanged, waiting, occurred_at=AT + HOUR))
    await service.handle(wire(TicketMessageAdded, said("message_added"), occurred_at=AT + HOUR))
    async with service.units.begin() as unit:
        await unit.load([wire(TicketResolved, said("resolved"))])
        ticket = unit.tickets.get("T-1")
        unit.tickets.save(ticket, Outlook())
    assert await ClockedTickets(service.database, service.book).find("T-1") == ticket
    assert ticket.look(service.now(), unit.rules, unit.book)[0] == []


async def test_a_batch_of_several_events_of_a_ticket_is_one_row(service: Service) -> None:
    await service.handle(
        wire(TicketCreated, said("created")),
        wire(TicketMessageAdded, said("message_added")),
        wire(TicketCreated, said("created", "T-2")),
    )
    rows = await service.rows("select ticket_id, version from ticket_clock order by ticket_id")
    assert [tuple(row) for row in rows] == [("T-1", 1), ("T-2", 1)]


async def test_a_ticket_that_is_named_before_it_comes_is_kept_and_not_shown(service: Service) -> None:
    """What was said in the one that was merged into it is said there once it has come (HD-29)."""
    await service.routed("T-2")
    await service.handle(
        wire(TicketMessageAdded, said("message_added", "T-2")),
        wire(TicketClosed, said("closed", "T-2", reason="merged", into="T-1")),
    )
    assert await ClockedTickets(service.database, service.book).find("T-1") is None
    await service.routed("T-1")
    assert [(met.ticket_id, met.milestone) for met in await service.told(SlaMet)] == [
        ("T-2", Milestone.INITIAL_RESPONSE),
        ("T-1", Milestone.INITIAL_RESPONSE),
    ]


async def test_a_timer_exists_only_while_time_alone_changes_something(service: Service) -> None:
    """Nothing is due while the customer is asked and the ticket is answered (L9, L10)."""
    await service.routed("T-1", tier="professional")
    assert await service.rows("select look_at from timer") == [(AT + 2 * HOUR,)]
    await service.handle(
        wire(TicketMessageAdded, said("message_added")),
        wire(TicketStatusChanged, said("status_changed", status="pending_customer")),
    )
    assert await service.rows("select look_at from timer") == []
    await service.handle(wire(TicketStatusChanged, said("status_changed", status="open")))
    assert len(await service.rows("select look_at from timer")) == 1


async def test_two_transactions_that_make_the_same_ticket_do_not_overwrite_each_other(service: Service) -> None:
    """The loser is told to try again, and then adds to what the winner wrote."""
    created = wire(TicketCreated, said("created"))

    async def create(*, meanwhile: Awaitable[None] | None = None) -> None:
        async with service.units.begin() as unit:
            await unit.load([created])
            if meanwhile is not None:
                await meanwhile
            on_ticket_created(created, unit)

    with pytest.raises(TransientFailure):
        await create(meanwhile=service.routed("T-1"))
    await create()
    ticket = await ClockedTickets(service.database, service.book).find("T-1")
    assert ticket.creation is not None
    assert ticket.is_routed()


async def test_what_another_replica_holds_is_left_to_it(service: Service) -> None:
    """A claim never waits; each due ticket is claimed by one (L10)."""
    await service.routed(*(f"T-{number}" for number in range(10)), tier="enterprise")
    service.now.advance(hours=1)
    async with service.units.begin() as first:
        claimed = await first.claim(6)
        async with service.units.begin() as second:
            left = await second.claim(6)
    assert len(claimed) == 6
    assert {ticket.ticket_id for ticket in left} == {f"T-{number}" for number in range(10)} - {
        ticket.ticket_id for ticket in claimed
    }


async def test_a_handler_waits_for_the_look_in_hand_and_sees_what_it_told(service: Service) -> None:
    """One lock, the ticket's row: no circle, and a reply after the breach finds it told (L13)."""
    await service.routed("T-1", tier="enterprise")
    service.now.advance(hours=1)
    replied = wire(TicketMessageAdded, said("message_added"), occurred_at=AT + HOUR / 2)
    async with service.units.begin() as unit:
        (ticket,) = await unit.claim(500)
        reply = asyncio.create_task(service.handle(replied))
        done, _ = await asyncio.wait({reply}, timeout=0.2)
        assert not done
        settle(ticket, unit)
    await reply
    told = [type(event) for event in await service.told() if event.milestone is Milestone.INITIAL_RESPONSE]
    assert told == [SlaClockStarted, SlaBreached, SlaCorrected]
