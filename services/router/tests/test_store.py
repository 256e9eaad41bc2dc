"""The tables on a real database."""

import asyncio
import json

import pytest

from router.app import NAME
from router.domain.ticket import Ticket
from router.handlers.tickets import SAFETY_BRIDGE, on_ticket_created
from router.store import RoutedTickets
from shared.errors import TransientFailure
from shared.events.envelope import rfc3339
from shared.events.ticket import TicketClosed, TicketCreated, TicketResolved, TicketRestricted, TicketSignalsAdded
from shared.runtime.database import Database
from shared.runtime.migrate import migrate
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
    loaded, late = asyncio.Event(), asyncio.Event()
    other = created(category="billing")

    async def handle_late() -> None:
        async with service.units.begin() as unit:
            await unit.load([other])
            loaded.set()
            await late.wait()
            unit.because_of(other)
            on_ticket_created(other, unit)

    waiting = asyncio.create_task(handle_late())
    await loaded.wait()
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


async def test_tickets_from_before_the_second_migration_are_in_the_queue_and_their_disputes_count(
    database_url: str,
) -> None:
    """E2, HD-59: what was open then can be taken, and a dispute of then and one of now are raised together."""
    database = Database(database_url, schema=NAME)
    before = {
        "T-1": {"ip_id": "IP-1", "classification": {"primary": {"subcategory": "false_positive"}}},
        "T-2": {"ip_id": "IP-1", "classification": {"primary": None}, "criteria": [{"criterion": "legal_dispute"}]},
        "T-3": {"ip_id": "IP-1", "classification": {"primary": None}, "resolved_at": "2026-03-04T15:00:00Z"},
        "T-4": {"ip_id": "IP-1", "classification": {"primary": None}, "restricted": True},
        "T-5": {"ip_id": None, "classification": {"primary": None}},
    }
    always = {"requester_id": "u-1", "created_at": "2026-03-03T15:00:00Z", "criteria": [], "restricted": False}
    try:
        async with database.connection() as connection:
            await connection.execute(
                """
                drop table sighting, feedback, policy_version;
                alter table ticket drop column assignee, drop column is_assignable, drop column is_load, drop column due_at,
                    drop column created_at;
                alter table decision drop column explanation;
                update alembic_version set version_num = '0001';
                """
            )
            for ticket_id, told in before.items():
                await connection.execute(
                    "insert into ticket (ticket_id, version, team, level, document) values ($1, 1, 'technical_support', 1, $2)",
                    ticket_id,
                    json.dumps(always | told).encode(),
                )
        await migrate(database_url, schema=NAME, package=NAME)
        async with database.connection() as connection:
            tickets = await connection.fetch(
                "select ticket_id, is_assignable, is_load, created_at from ticket order by 1"
            )
            disputes = await connection.fetch("select ticket_id, requester_id, key, counts from sighting order by 1")
    finally:
        await database.close()
    assert [tuple(row)[:3] for row in tickets] == [
        ("T-1", True, True),
        ("T-2", True, True),
        ("T-3", False, False),
        ("T-4", False, True),
        ("T-5", True, True),
    ]
    assert {rfc3339(row["created_at"]) for row in tickets} == {"2026-03-03T15:00:00.000000Z"}
    assert [tuple(row) for row in disputes] == [
        ("T-1", "u-1", "IP-1", True),
        ("T-2", "u-1", "IP-1", True),
        ("T-3", "u-1", "IP-1", False),
    ]


async def test_a_ticket_restricted_later_is_named_nowhere_and_its_words_are_gone(service) -> None:
    """S9: neither as company nor as what another repeats, in later events and over HTTP; of its explanation nothing is left."""
    words = {"subject": "Charged twice", "body": "I was charged twice for my subscription, please refund me."}
    dispute = {"category": "ip_attribution", "subcategory": "false_positive", "ip": {"id": "IP-1"}}
    await service.handle(
        created("T-1", **words),
        created("T-2", **words),
        created("T-3", **dispute, requester={"id": "u-2"}),
        created("T-4", **dispute, requester={"id": "u-3"}),
    )
    tickets = RoutedTickets(service.database)
    assert (await tickets.find("T-2")).named == ("T-1",)
    assert (await tickets.find("T-4")).named == ("T-3",)
    async with service.database.connection() as connection:
        explained = "select count(*) from decision where ticket_id = 'T-1' and explanation is not null"
        assert await connection.fetchval(explained) == 1
    await service.handle(
        wire(TicketRestricted, ticket_data("restricted", "T-1"), source=SAFETY_BRIDGE),
        wire(TicketRestricted, ticket_data("restricted", "T-3"), source=SAFETY_BRIDGE),
        signals("special_pricing", ticket_id="T-2"),
    )
    for ticket_id in ("T-2", "T-4"):
        assert (await tickets.find(ticket_id)).named == ()
        assert [one.named for one in await tickets.page(team=None, level=None, after="", limit=9)] == [()] * 4
    assert (await tickets.history("T-2"))[-1]["related"] == []
    async with service.database.connection() as connection:
        assert await connection.fetchval(explained) == 0


async def test_a_circle_of_merges_is_found_over_batches(service) -> None:
    """HD-30: each merge comes in a batch of its own, and the chain is read from the table; one event, one open ticket."""
    tickets = [f"T-{number}" for number in range(1, 6)]
    await service.handle(*(created(one) for one in tickets))
    for one, into in zip(reversed(tickets), [tickets[0], *reversed(tickets[1:])], strict=True):
        await service.handle(wire(TicketClosed, ticket_data("closed", one, reason="merged", into=into)))
    assert [one for one in tickets if (await found(service, one)).is_open] == ["T-1"]
    refused = await service.rows("select payload from outbox where position('refused'::bytea in headers) > 0")
    assert [json.loads(row["payload"])["reason_code"] for row in refused] == ["merged_in_a_circle"]
