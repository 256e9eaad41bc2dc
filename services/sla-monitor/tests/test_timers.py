"""What is told because time passes, on a real database (L10, L16)."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from shared.events.sla import SlaBreached, SlaClockStarted, SlaRetargeted, SlaWarning
from shared.events.ticket import TicketCreated
from shared.testing.builders import AT, ticket_data, wire
from shared.vocabulary import Milestone
from sla_monitor.domain.ticket import Outlook
from sla_monitor.timers import LATENESS, LOOK_AGAIN_AFTER, LOOKS_AT_ONCE, look_at_what_is_due

Service = Any
HOUR = timedelta(hours=1)


async def test_nothing_is_told_before_it_is_due(service: Service) -> None:
    """Half an hour of an hour is the first threshold (L10)."""
    await service.routed("T-1", tier="enterprise")
    service.now.advance(minutes=29, seconds=59)
    assert not await look_at_what_is_due(service.units)
    assert await service.told(SlaWarning, SlaBreached) == []
    service.now.advance(seconds=1)
    await look_at_what_is_due(service.units)
    warned = await service.told(SlaWarning)
    assert {event.occurred_at for event in warned} == {AT + HOUR / 2}
    assert {(event.threshold, event.elapsed_share) for event in warned} == {(0.5, 0.5)}


async def test_two_replicas_tell_each_breach_once(service: Service) -> None:
    """HD-44: more tickets than one look takes, looked at from two sides (L10)."""
    tickets = [f"T-{number}" for number in range(LOOKS_AT_ONCE + 40)]
    await service.routed(*tickets, tier="enterprise")
    service.now.advance(hours=1)
    assert await look_at_what_is_due(service.units)
    await asyncio.gather(look_at_what_is_due(service.units), look_at_what_is_due(service.units))
    told = [event for event in await service.told(SlaBreached) if event.milestone is Milestone.INITIAL_RESPONSE]
    assert sorted(event.ticket_id for event in told) == sorted(tickets)


async def test_after_downtime_everything_is_told_with_its_true_time(service: Service) -> None:
    """HD-46: due at 16:00 and 16:25, nobody looked until 16:40; how late that was is measured (L10)."""
    await service.routed("T-1", tier="enterprise", created_at="2026-03-03T08:00:00Z")
    before = LATENESS._sum.get()
    service.now.advance(minutes=25)
    await service.routed("T-2", tier="professional")
    service.now.set(AT + 5 * HOUR)
    await look_at_what_is_due(service.units)
    breached = [event for event in await service.told(SlaBreached) if event.ticket_id == "T-2"]
    assert [event.occurred_at for event in breached] == [AT + timedelta(hours=4, minutes=25)]
    assert {event.emitted_at for event in breached} == {AT + 5 * HOUR}
    assert LATENESS._sum.get() - before >= 35 * 60


async def test_deadlines_of_a_downtime_are_told_as_of_then_and_overtaken_warnings_are_not(service: Service) -> None:
    """HD-46: down from 10:00 to 10:40 with deadlines at 10:05 and 10:30 (L10)."""
    ten = AT
    for ticket_id, due_in in (("T-1", 5), ("T-2", 30)):
        service.now.set(ten + timedelta(minutes=due_in) - HOUR)
        await service.routed(ticket_id, tier="enterprise")
    service.now.set(ten)
    await look_at_what_is_due(service.units)
    before, said = LATENESS._sum.get(), len(await service.told())
    service.now.set(ten + timedelta(minutes=40))
    await look_at_what_is_due(service.units)
    told = [event for event in (await service.told())[said:] if event.milestone is Milestone.INITIAL_RESPONSE]
    assert [(type(event), event.ticket_id, event.occurred_at - ten) for event in told] == [
        (SlaBreached, "T-1", timedelta(minutes=5)),
        (SlaBreached, "T-2", timedelta(minutes=30)),
    ]
    assert {event.emitted_at for event in told} == {ten + timedelta(minutes=40)}
    assert LATENESS._sum.get() - before >= (35 + 10) * 60


async def test_a_ticket_that_nobody_routes_is_found_after_a_minute(service: Service) -> None:
    """Provisional clocks, retargeted by the decision (L16)."""
    await service.handle(wire(TicketCreated, ticket_data("created", tier="premium")))
    service.now.advance(seconds=59)
    await look_at_what_is_due(service.units)
    assert await service.told() == []
    service.now.advance(seconds=1)
    await look_at_what_is_due(service.units)
    assert [event.provisional for event in await service.told(SlaClockStarted)] == [True] * 3
    await service.routed("T-1", created_at=AT.isoformat())
    assert [event.provisional for event in await service.told(SlaRetargeted)] == [False] * 3
    assert len(await service.told(SlaClockStarted)) == 3


async def test_a_ticket_whose_look_fails_does_not_hold_up_the_others(service: Service) -> None:
    """It is left as it was and looked at again a minute later; the others are told (L10)."""
    await service.routed("T-1", "T-2", tier="enterprise")
    async with service.units.begin() as unit:
        service.now.advance(hours=1)
        unit.now = service.now()
        spoilt, sound = await unit.claim(2)
        spoilt.terms = replace(spoilt.terms, rules=("nobody's", "unknown"))
        unit.tickets.save(spoilt, Outlook(AT))
    await look_at_what_is_due(service.units)
    assert {event.ticket_id for event in await service.told(SlaBreached)} == {sound.ticket_id}
    timers = await service.rows(f"select look_at from timer where ticket_id = '{spoilt.ticket_id}'")
    assert timers == [(service.now() + LOOK_AGAIN_AFTER,)]
