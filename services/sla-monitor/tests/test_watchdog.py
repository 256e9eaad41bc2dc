"""What notices that a deadline is not told, and that the machine's clock is wrong; on a real database (L10)."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.events.sla import SlaBreached, SlaWarning
from shared.events.topics import Lane
from shared.messaging.outbox import unpack_headers
from shared.testing.builders import AT
from shared.testing.time import FakeNow
from shared.vocabulary import Milestone
from sla_monitor.domain.ticket import Outlook
from sla_monitor.store import Timers
from sla_monitor.timers import (
    LOOKS_AT_ONCE,
    OLDEST,
    PUT_OFF,
    SWEPT,
    Deadlines,
    MachineClock,
    Watchdog,
    look_at_what_is_due,
)

Service = Any
HOUR = timedelta(hours=1)


class Killed(Exception):  # noqa: N818
    """The process is gone."""


def deadlines_of(service: Service) -> Deadlines:
    return Deadlines(service.units, monotonic=service.now.monotonic)


def watchdog_of(service: Service, deadlines: Deadlines) -> Watchdog:
    return Watchdog(
        Timers(service.database), now=service.now, monotonic=service.now.monotonic, is_held=deadlines.is_held
    )


async def test_what_is_due_and_not_told_turns_health_red_until_it_is(service: Service) -> None:
    """HD-47: red after more than a minute, with the reason and a gauge; green again once it is told (L10)."""
    deadlines = deadlines_of(service)
    watchdog = watchdog_of(service, deadlines)
    await service.routed("T-1", tier="enterprise")
    service.now.advance(minutes=30)
    await watchdog.look()
    assert (watchdog.failing(), OLDEST._value.get()) == (None, 0)
    service.now.advance(seconds=60)
    await watchdog.look()
    assert (watchdog.failing(), OLDEST._value.get()) == (None, 60)
    service.now.advance(seconds=1)
    await watchdog.look()
    assert watchdog.failing() == "nothing is told: a deadline has been due for 61 s"
    assert OLDEST._value.get() == 61
    await deadlines.look()
    await watchdog.look()
    assert (watchdog.failing(), OLDEST._value.get()) == (None, 0)


async def test_the_watchdog_is_wired_to_the_deadlines(service: Service) -> None:
    """HD-47: `readyz` says why, and that is the part that does not work."""
    service.app.api.state.started = True
    (watching,) = [part for part in service.app.parts if part.name == "watchdog"]
    await service.routed("T-1", tier="enterprise")
    service.now.advance(minutes=30)
    await watching._look()
    service.now.advance(seconds=90)
    await watching._look()
    answer = await service.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["failing"]["deadlines"] == "nothing is told: a deadline has been due for 90 s"


async def test_catching_up_after_downtime_is_no_alarm(service: Service) -> None:
    """What is overdue is told in one look after the other: another timer is the oldest each time."""
    deadlines = deadlines_of(service)
    watchdog = watchdog_of(service, deadlines)
    await service.routed(*(f"T-{number}" for number in range(LOOKS_AT_ONCE + 1)), tier="enterprise")
    service.now.advance(hours=3)
    await watchdog.look()
    service.now.advance(seconds=50)
    assert await deadlines.look()
    service.now.advance(seconds=50)
    await watchdog.look()
    assert watchdog.failing() is None
    assert OLDEST._value.get() > 9000


async def test_a_ticket_whose_look_always_fails_is_named_as_long_as_it_does(service: Service) -> None:
    """Counted and shown beside the health of the rest, which goes on (HD-47)."""
    watchdog = watchdog_of(service, deadlines_of(service))
    await service.routed("T-1", "T-2", "T-3", tier="enterprise")
    async with service.units.begin() as unit:
        service.now.advance(hours=1)
        unit.now = service.now()
        spoilt = next(ticket for ticket in await unit.claim(3) if ticket.ticket_id == "T-1")
        sound, spoilt.terms = spoilt.terms, replace(spoilt.terms, rules=("nobody's", "unknown"))
        unit.tickets.save(spoilt, Outlook(AT))
        await unit.connection.execute("update ticket_clock set document = '{', plan = null where ticket_id = 'T-2'")
    await look_at_what_is_due(service.units)
    assert {event.ticket_id for event in await service.told(SlaBreached)} == {"T-3"}
    await watchdog.look()
    assert watchdog.unwell() == "2 tickets cannot be looked at, see `look failed` in the log"
    assert (watchdog.failing(), PUT_OFF._value.get()) == (None, 2)
    async with service.units.begin() as unit:
        (mended,) = await unit.load_tickets("select * from ticket_clock where ticket_id = 'T-1' for update")
        mended.terms = sound
        unit.tickets.save(mended, Outlook(AT))
    await look_at_what_is_due(service.units)
    await watchdog.look()
    assert PUT_OFF._value.get() == 1


async def test_safety_is_looked_at_first(service: Service) -> None:
    """However long the others have been due; and its lane follows the care of the ticket (S1)."""
    await service.routed(*(f"T-{number}" for number in range(LOOKS_AT_ONCE)), tier="enterprise")
    service.now.advance(minutes=1)
    await service.routed("T-safe", category="safety", subcategory="coppa_compliance", team="safety", tier="enterprise")
    assert await service.rows("select ticket_id from timer where lane = 0") == [("T-safe",)]
    service.now.advance(days=2)
    due = await look_at_what_is_due(service.units)
    assert (due[0].ticket_id, due[0].lane, len(due)) == ("T-safe", Lane.URGENT, LOOKS_AT_ONCE)


async def test_what_lies_below_the_bound_is_found_by_the_sweep(service: Service) -> None:
    """Looks read from a bound on; what a very old transaction armed below it is found within a minute, and counted."""
    deadlines = deadlines_of(service)
    await service.routed("T-1", tier="enterprise")
    service.now.advance(minutes=20)
    await deadlines.look()
    before = SWEPT._value.get()
    async with service.database.connection() as connection:
        await connection.execute("update timer set look_at = $1", AT)
    service.now.advance(seconds=30)
    await deadlines.look()
    assert await service.rows("select look_at from timer") == [(AT,)]
    service.now.advance(seconds=30)
    await deadlines.look()
    assert await service.rows("select look_at from timer") == [(AT + HOUR / 2,)]
    assert SWEPT._value.get() == before + 1


async def test_after_a_leap_ahead_ordinary_deadlines_wait_a_minute(service: Service) -> None:
    """Safety does not wait: better a page too early than one too late. Health says why."""
    deadlines = deadlines_of(service)
    watchdog = watchdog_of(service, deadlines)
    await service.routed("T-1", tier="enterprise")
    await service.routed("T-safe", category="safety", subcategory="coppa_compliance", team="safety", tier="enterprise")
    await deadlines.look()
    service.now.set(AT + timedelta(days=3))
    await deadlines.look()
    assert {event.ticket_id for event in await service.told(SlaWarning, SlaBreached)} == {"T-safe"}
    why = deadlines.why_held()
    assert why is not None
    assert why.startswith("the machine's clock leapt 259200 s ahead")
    service.now.advance(seconds=59)
    await deadlines.look()
    await watchdog.look()
    assert {event.ticket_id for event in await service.told(SlaWarning, SlaBreached)} == {"T-safe"}
    service.now.advance(seconds=1)
    assert deadlines.why_held() is None
    await deadlines.look()
    await watchdog.look()
    assert watchdog.failing() is None
    assert "T-1" in {event.ticket_id for event in await service.told(SlaBreached)}


async def test_a_clock_set_back_untells_nothing_and_hides_nothing(service: Service) -> None:
    """What was told stays told; what falls due by the clock as it is now is told (L13)."""
    deadlines = deadlines_of(service)
    await service.routed("T-1", tier="enterprise")
    service.now.advance(hours=1)
    await deadlines.look()
    told = await service.told()
    service.now.set(AT - HOUR)
    await deadlines.look()
    await service.routed("T-2", tier="enterprise")
    service.now.advance(minutes=30)
    await deadlines.look()
    assert (await service.told())[: len(told)] == told
    assert {event.ticket_id for event in (await service.told(SlaWarning, SlaBreached))[3:]} <= {"T-1", "T-2"}
    assert "T-2" in {event.ticket_id for event in await service.told(SlaWarning)}
    assert len([event for event in await service.told(SlaBreached) if event.ticket_id == "T-1"]) == 1


@pytest.mark.parametrize(
    ("jump", "is_held"), [(4, False), (-4, False), (6, False), (299, False), (301, True), (-301, False)]
)
def test_only_a_leap_of_minutes_holds_the_ordinary_lane(jump: float, is_held: bool) -> None:
    """Drift and small corrections are nothing; a jump above five seconds is told."""
    now, clock = FakeNow(), MachineClock()
    clock.read(now(), now.monotonic())
    now.advance(seconds=10)
    now.set(now() + timedelta(seconds=jump))
    assert clock.read(now(), now.monotonic()) == (jump if abs(jump) > 5 else 0)
    assert clock.is_held(now.monotonic()) is is_held
    now.advance(seconds=60)
    assert clock.read(now(), now.monotonic()) == 0
    assert not clock.is_held(now.monotonic())


async def test_forty_minutes_of_downtime_and_a_killed_look_tell_each_threshold_once(service: Service) -> None:
    """HD-44, HD-46: due at 10:05 and 10:30, started again at 10:40 as two monitors of which one dies in its look (L10)."""
    ten = AT.replace(hour=10)
    service.now.set(ten)
    due = {"T-1": ten + timedelta(minutes=5), "T-2": ten + timedelta(minutes=30)}
    for ticket_id, due_at in due.items():
        await service.routed(ticket_id, tier="enterprise", created_at=(due_at - HOUR).isoformat())
    warned = await service.told(SlaWarning)
    service.now.set(ten + timedelta(minutes=40))
    with pytest.raises(Killed):
        await _die_in_a_look(service)
    assert await service.told(SlaBreached) == []
    first, second = deadlines_of(service), deadlines_of(service)
    await asyncio.gather(first.look(), second.look())
    await deadlines_of(service).look()
    breached = [event for event in await service.told(SlaBreached) if event.milestone is Milestone.INITIAL_RESPONSE]
    assert [(event.ticket_id, event.occurred_at) for event in breached] == list(due.items())
    assert {event.emitted_at for event in breached} == {ten + timedelta(minutes=40)}
    later = (await service.told(SlaWarning))[len(warned) :]
    assert [event for event in later if event.milestone is Milestone.INITIAL_RESPONSE] == []
    rows = await service.rows("select headers from outbox")
    identities = [dict(unpack_headers(row["headers"]))["ce_id"] for row in rows]
    assert len(identities) == len(set(identities))


async def _die_in_a_look(service: Service) -> None:
    """A monitor that dies after it has decided and before it has committed."""
    async with service.units.begin() as unit:
        for ticket in (await unit.take(await unit.due(LOOKS_AT_ONCE)))[0]:
            unit.tickets.save(ticket, Outlook())
        await unit.save()
        raise Killed
