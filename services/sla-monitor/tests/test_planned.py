"""What is told as planned is what a fold would have told, byte for byte, and is remembered alike (L10, L13)."""

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from pydantic import TypeAdapter
from test_against_oracle import CASES, case_of, fact_of
from test_replay import STEP, TICKETS, log

from shared.events.envelope import Outgoing
from shared.events.sla import SlaBreached, SlaClockStarted, SlaCorrected, SlaWarning
from shared.events.ticket import TicketMessageAdded, TicketStatusChanged
from shared.events.topics import Lane
from shared.messaging.outbox import unpack_headers
from shared.runtime.migrate import migrate
from shared.testing.builders import AT, ticket_data, wire
from shared.vocabulary import Milestone
from sla_monitor.domain.clock import Fact, FactKind
from sla_monitor.domain.plan import Plan, catch_up
from sla_monitor.domain.targets import Rules
from sla_monitor.domain.ticket import Ticket
from sla_monitor.handlers import settle
from sla_monitor.handlers.planned import tell_planned
from sla_monitor.store import Due, Rulebook, SlaUnit
from sla_monitor.timers import look_at_what_is_due

Service = Any
DOCUMENT = TypeAdapter(Ticket)
HOUR = timedelta(hours=1)


class Kept:
    """A ticket as it lies in the tables: its document, its plan and its timer."""

    def __init__(self, rules: Rules, *, by_plan: bool) -> None:
        self.unit = OneTicket(rules)
        self.by_plan = by_plan
        self.document = DOCUMENT.dump_json(Ticket('T-"ö"%s', "c-1"))
        self.plan: bytes | None = None
        self.looks: tuple[datetime, ...] = ()
        self.look_at: datetime | None = None
        self.planned = 0

    @property
    def told(self) -> list[Outgoing]:
        return self.unit.emitted

    def read(self) -> Ticket:
        """The document with what was told since it was written."""
        ticket = DOCUMENT.validate_json(self.document)
        if self.plan is not None:
            catch_up(ticket, Plan.from_bytes(self.plan), self.looks, lambda *what: self.unit._planned_id(ID, *what))
        return ticket

    def hear(self, fact: Fact, created_at: datetime) -> None:
        """A fact comes when it happens, or late."""
        self.unit.now = max(self.unit.now, fact.at)
        ticket = self.read()
        if ticket.terms is None and fact.kind is FactKind.ROUTED:
            ticket.start(fact, created_at=created_at, rules=self.unit.rules)
        else:
            ticket.add(fact)
        self.settle(ticket)

    async def look(self, now: datetime) -> None:
        """Look if something is due, as planned if there is a plan."""
        self.unit.now = max(self.unit.now, now)
        if self.look_at is None or self.look_at > self.unit.now:
            return
        self.unit.plan = self.plan if self.by_plan else None
        left, _ = await tell_planned(self.unit, [Due(ID, self.look_at, Lane.BULK, self.looks)])
        if left:
            self.settle(self.read())
        else:
            self.planned += 1
            self.looks += (self.unit.now,)
            self.look_at = self.unit.tickets.looked[ID]

    def settle(self, ticket: Ticket) -> None:
        settle(ticket, self.unit)
        ((_, _, self.document, _, self.plan),) = self.unit.tickets.to_write()
        self.looks, self.look_at = (), self.unit.tickets.outlook[ID].look_at


class OneTicket(SlaUnit):
    """A unit of work without a database."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(None, datetime.min.replace(tzinfo=UTC), Rulebook(rules))
        self.plan: bytes | None = None

    async def plans(self, due: Any) -> dict[str, bytes]:
        return {} if self.plan is None else {ID: self.plan}


ID = 'T-"ö"%s'


@pytest.mark.parametrize("part", range(4))
async def test_a_plan_tells_what_a_fold_tells(part: int) -> None:
    """Any ticket, looked at when something is due or long after: same events, same state (L10, L13)."""
    planned = 0
    for seed in range(part * CASES // 8, (part + 1) * CASES // 8):
        planned += await told_both_ways(seed)
    assert planned > CASES // 8


async def told_both_ways(seed: int) -> int:
    """How many looks at a random ticket told what was planned."""
    created_at, given, _, rules, end = case_of(seed)
    chance = Random(seed)
    facts = sorted(map(fact_of, given), key=lambda fact: fact.at + chance.choice((0, 0, 3)) * HOUR)
    planned, folded = Kept(rules, by_plan=True), Kept(rules, by_plan=False)
    for fact in [*facts, None]:
        heard_at = max(end, folded.unit.now) + timedelta(days=9) if fact is None else fact.at
        while folded.look_at is not None and folded.look_at <= heard_at:
            downtime = chance.choice((timedelta(0), timedelta(0), HOUR, timedelta(days=2)))
            now = min(folded.look_at + downtime, heard_at)
            await planned.look(now)
            await folded.look(now)
            assert planned.look_at == folded.look_at
        if fact is not None:
            planned.hear(fact, created_at)
            folded.hear(fact, created_at)
        assert planned.told == folded.told
        assert DOCUMENT.dump_json(planned.read()) == DOCUMENT.dump_json(folded.read())
    return planned.planned


async def test_a_log_gives_the_same_with_and_without_plans(
    service: Service, database_url: str, shipped_rules: Rules
) -> None:
    """Same events of each ticket, same bytes; and the same documents once all is added up (L13, L15)."""
    await migrate(database_url, schema="unplanned", package="sla_monitor")
    unplanned = type(service)(database_url, shipped_rules, schema="unplanned")
    try:
        batches = log(5)
        told = await played(service, batches, "select 1")
        assert told == await played(unplanned, batches, "update ticket_clock set plan = null")
    finally:
        await unplanned.client.aclose()
        await unplanned.database.close()
    documents, events = told
    assert (len(documents), len(events) > 60) == (len(TICKETS), True)


async def played(service: Service, batches: list[Any], between: str) -> tuple[list[Any], list[Any]]:
    """The documents and the events of each ticket after a log, with looks between."""
    for step, batch in enumerate(batches):
        service.now.set(AT + step * STEP)
        await service.handle(*batch)
        async with service.database.connection() as connection:
            await connection.execute(between)
        await look_at_what_is_due(service.units)
    async with service.units.begin() as unit:
        documents = [DOCUMENT.dump_json(ticket) for ticket in await unit.hold(TICKETS)]
    events = await service.rows("select topic, headers, payload from outbox order by key, seq")
    return documents, [tuple(row) for row in events]


async def test_a_look_that_tells_what_is_planned_leaves_the_ticket_as_it_is(service: Service) -> None:
    """It writes that it has looked; what it told is added when the ticket is read next, and can be corrected (L13)."""
    await service.routed("T-1", tier="enterprise")
    service.now.advance(hours=1)
    await look_at_what_is_due(service.units)
    assert await service.rows("select version from ticket_clock") == [(1,)]
    assert await service.rows("select looks from timer") == [([AT + HOUR],)]
    replied = wire(TicketMessageAdded, ticket_data("message_added", "T-1"), occurred_at=AT + HOUR / 2)
    await service.handle(replied)
    assert await service.rows("select looks from timer") == [(None,)]
    told = [
        event
        for event in await service.told(SlaBreached, SlaCorrected)
        if event.milestone is Milestone.INITIAL_RESPONSE
    ]
    assert [type(event) for event in told] == [SlaBreached, SlaCorrected]
    headers = await service.rows("select headers from outbox where position('breached.v1'::bytea in headers) > 0")
    assert told[1].caused_by == dict(unpack_headers(headers[0]["headers"]))["ce_id"].decode()


async def test_after_the_last_deadline_it_is_still_known_what_was_told(service: Service) -> None:
    """Nothing is due any more, and nothing is told again (L10)."""
    await service.routed("T-1", tier="enterprise")
    service.now.advance(days=9)
    await look_at_what_is_due(service.units)
    assert await service.rows("select look_at from timer") == [(None,)]
    told = await service.told(SlaWarning, SlaBreached)
    assert {type(event) for event in told} == {SlaBreached}
    asked = wire(TicketStatusChanged, ticket_data("status_changed", "T-1", status="open"), occurred_at=service.now())
    await service.handle(asked)
    assert await service.told(SlaWarning, SlaBreached) == told
    assert await service.rows("select look_at from timer") == []


async def test_a_handler_waits_for_a_look_that_tells_what_is_planned(service: Service) -> None:
    """It locks the timer, and then reads what was told meanwhile (L13)."""
    await service.routed("T-1", tier="enterprise")
    service.now.advance(hours=1)
    async with service.units.begin() as unit:
        left, passed = await tell_planned(unit, await unit.due(500))
        replied = wire(TicketMessageAdded, ticket_data("message_added", "T-1"), occurred_at=AT + HOUR / 2)
        reply = asyncio.create_task(service.handle(replied))
        done, _ = await asyncio.wait({reply}, timeout=0.2)
        assert (left, len(passed), done) == ([], 1, set())
    await reply
    told = [type(event) for event in await service.told() if event.milestone is Milestone.INITIAL_RESPONSE]
    assert told == [SlaClockStarted, SlaBreached, SlaCorrected]


async def test_a_plan_that_cannot_be_read_holds_up_nobody(service: Service) -> None:
    """The facts tell it; where they alone do not say what was told, the ticket is looked at again (L10)."""
    await service.routed("T-1", "T-2", "T-3", tier="enterprise")
    service.now.advance(minutes=30)
    await look_at_what_is_due(service.units)
    async with service.database.connection() as connection:
        await connection.execute("update timer set looks = null where ticket_id = 'T-1'")
        await connection.execute("update ticket_clock set plan = '[1, null, [[2]]]' where ticket_id <> 'T-3'")
    service.now.advance(minutes=30)
    await look_at_what_is_due(service.units)
    assert {event.ticket_id for event in await service.told(SlaBreached)} == {"T-1", "T-3"}
    assert await service.rows("select ticket_id from timer where is_put_off") == [("T-2",)]
