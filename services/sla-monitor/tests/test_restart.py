"""Started again by other rules, on a real database: open tickets keep what they were promised (L11)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from shared.events.sla import SlaBreached, SlaClockStarted, SlaFulfilledLate, SlaResumed
from shared.events.ticket import TicketMessageAdded, TicketStatusChanged
from shared.policy.business_time import compile_calendar
from shared.policy.load import load_policy
from shared.policy.public_holidays import public_holidays
from shared.testing.builders import ticket_data, wire
from shared.vocabulary import Milestone
from sla_monitor.domain.targets import Rules
from sla_monitor.store import ClockedTickets, Rulebook
from sla_monitor.timers import look_at_what_is_due

Service = Any
Restart = Callable[[Rules], Awaitable[Service]]
SHIPPED = (files("shared.policy") / "policy.yaml").read_text()
FRIDAY_13H = datetime(2026, 3, 6, 18, tzinfo=UTC)
"""In New York; two nights later its summer time begins."""
TUESDAY_13H = datetime(2026, 3, 10, 17, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def restart(service: Service, database_url: str) -> AsyncIterator[Restart]:
    """Another process on the same tables: it knows the rules in force, and what it finds."""
    async with AsyncExitStack() as to_close:

        async def start(rules: Rules) -> Service:
            one = type(service)(database_url, rules, now=service.now)
            to_close.push_async_callback(one.database.close)
            to_close.push_async_callback(one.client.aclose)
            return one

        yield start


@pytest.fixture(scope="module")
def without_summer_time() -> Rules:
    """The shipped policy after a zone-data update that abolished summer time in New York."""
    policy = load_policy()
    calendar = policy.clocks.calendar
    assert calendar.holidays is not None
    with (files("tzdata.zoneinfo.America") / "Jamaica").open("rb") as data:
        zone = ZoneInfo.from_file(data, key=calendar.zone)
    return Rules.of(policy, compile_calendar(calendar, public_holidays(calendar.holidays).days, zone=zone))


@pytest.fixture(scope="module")
def stricter(without_summer_time: Rules) -> Rules:
    """Half the time for the same tier, and no warning before 90 %."""
    text = SHIPPED.replace(
        "premium: {initial_response: 12 hours, resolution: 2", "premium: {initial_response: 6 hours, resolution: 1"
    )
    return Rules.of(
        load_policy(text.replace("warn_at: [0.5, 0.75, 0.9]", "warn_at: [0.9]")), without_summer_time.calendar
    )


async def due_of(service: Service, ticket_id: str, milestone: Milestone) -> datetime:
    """When it is due, by what the tables alone tell a process that has just started."""
    book = Rulebook(service.book.in_force)
    ticket = await ClockedTickets(service.database, book).find(ticket_id)
    [due_at] = [
        one.clock.due_at for one in ticket.clocks(service.now(), book) if one.clock.promise.milestone is milestone
    ]
    return due_at


async def test_newer_zone_data_moves_no_clock_that_runs(
    service: Service, restart: Restart, without_summer_time: Rules
) -> None:
    """HD-19: two business days from Friday 13:00 end on Tuesday at 13:00 as it was promised; a newer ticket counts anew."""
    service.now.set(FRIDAY_13H)
    await service.routed("T-old")
    after = await restart(without_summer_time)
    assert set(after.book) == {without_summer_time.key}
    await after.routed("T-new")
    assert await due_of(after, "T-old", Milestone.RESOLUTION) == TUESDAY_13H
    assert await due_of(after, "T-new", Milestone.RESOLUTION) == TUESDAY_13H + HOUR
    after.now.set(TUESDAY_13H)
    await look_at_what_is_due(after.units)
    [breached] = [one for one in await after.told(SlaBreached) if one.milestone is Milestone.RESOLUTION]
    assert (breached.ticket_id, breached.due_at) == ("T-old", TUESDAY_13H)
    assert breached.calendar == service.book.in_force.calendar.name


async def test_an_edited_policy_leaves_open_tickets_their_targets_pauses_and_warnings(
    service: Service, restart: Restart, stricter: Rules
) -> None:
    """HD-19, HD-33: what happens after the restart is counted by the rules of before it."""
    service.now.set(FRIDAY_13H)
    await service.routed("T-old")
    after = await restart(stricter)
    await after.routed("T-new")
    for minutes, status in ((60, "pending_customer"), (90, "open")):
        after.now.set(FRIDAY_13H + timedelta(minutes=minutes))
        changed = ticket_data("status_changed", "T-old", status=status)
        await after.handle(wire(TicketStatusChanged, changed, occurred_at=after.now()))
    resumed = next(one for one in await after.told(SlaResumed) if one.milestone is Milestone.RESOLUTION)
    assert (resumed.due_at, resumed.target.amount) == (TUESDAY_13H + HOUR / 2, 2)
    assert resumed.policy_version == load_policy().version
    timers = {row["ticket_id"]: row["look_at"] for row in await after.rows("select ticket_id, look_at from timer")}
    assert timers == {"T-old": FRIDAY_13H + 6 * HOUR, "T-new": FRIDAY_13H + 5.4 * HOUR}
    await after.handle(wire(TicketMessageAdded, ticket_data("message_added", "T-old"), occurred_at=after.now()))
    started = {one.ticket_id: one for one in await after.told(SlaClockStarted) if one.milestone is Milestone.RESOLUTION}
    assert started["T-new"].policy_version == stricter.policy_version != started["T-old"].policy_version
    assert len(await after.rows("select 1 from rules")) == 2


async def test_rules_of_three_restarts_are_read_when_their_tickets_are(
    service: Service, restart: Restart, without_summer_time: Rules, stricter: Rules
) -> None:
    """HD-19: one look and one batch take tickets of all of them, by a process that has seen none start."""
    service.now.set(FRIDAY_13H)
    for number, rules in enumerate((service.book.in_force, without_summer_time, stricter), start=1):
        await (await restart(rules)).routed(f"T-{number}")
    last = await restart(service.book.in_force)
    last.now.set(FRIDAY_13H + timedelta(days=30))
    await look_at_what_is_due(last.units)
    breached = [one for one in await last.told(SlaBreached) if one.milestone is Milestone.INITIAL_RESPONSE]
    assert {one.ticket_id: one.due_at - FRIDAY_13H for one in breached} == {
        "T-1": 12 * HOUR,
        "T-2": 12 * HOUR,
        "T-3": 6 * HOUR,
    }
    await last.handle(
        *(
            wire(TicketMessageAdded, ticket_data("message_added", f"T-{number}"), occurred_at=last.now())
            for number in (1, 2, 3)
        )
    )
    late = await last.told(SlaFulfilledLate)
    assert [(one.policy_version, one.calendar) for one in late] == [
        (rules.policy_version, rules.calendar.name) for rules in (service.book.in_force, without_summer_time, stricter)
    ]
    assert len(last.book) == 3
