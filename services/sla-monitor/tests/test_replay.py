"""A log handled again gives the same clocks and the same events, byte for byte (L13, L15)."""

from datetime import timedelta
from random import Random
from typing import Any

from shared.events.envelope import Received
from shared.events.routing import RoutingAssigned, RoutingEscalated
from shared.events.ticket import (
    TicketAcknowledged,
    TicketClosed,
    TicketCreated,
    TicketMessageAdded,
    TicketReopened,
    TicketResolved,
    TicketStatusChanged,
    TicketTierChanged,
)
from shared.runtime.migrate import migrate
from shared.testing.builders import AT, ticket_data, wire
from shared.vocabulary import Tier
from sla_monitor.domain.targets import Rules
from sla_monitor.timers import look_at_what_is_due

Service = Any
TICKETS = [f"T-{number}" for number in range(8)]
STEP = timedelta(minutes=47)


def log(seed: int, *, batches: int = 25) -> list[list[Received[Any]]]:
    """Batches of messages, one for each step of time; some of them hours late."""
    chance = Random(seed)
    first = [
        wire(TicketCreated, ticket_data("created", ticket_id, tier=chance.choice(list(Tier)))) for ticket_id in TICKETS
    ]
    return [first, *([message(chance, AT + step * STEP) for _ in range(3)] for step in range(1, batches))]


def message(chance: Random, now: Any) -> Received[Any]:
    ticket_id, heir = chance.sample(TICKETS, 2)
    occurred_at = now - chance.choice([0, 0, 0, 1, 5]) * STEP
    earlier = (now - chance.randrange(10) * STEP).isoformat()
    decided = {
        "ticket_id": ticket_id,
        "occurred_at": occurred_at.isoformat(),
        "emitted_at": now.isoformat(),
        "clauses": ["R2"],
        "policy_version": "test",
        "decision_id": f"d-{chance.random()}",
        "replaces": "d-0",
        "team": "customer_service",
        "owning_team": "technical_support",
        "category": "technical",
        "subcategory": "api_errors",
        "confidence": 1.0,
        "classifier_version": "test",
    }
    kind, data = chance.choice(
        [
            (TicketMessageAdded, ticket_data("message_added", ticket_id)),
            (TicketMessageAdded, ticket_data("message_added", ticket_id, author={"kind": "customer", "id": "u-1"})),
            (TicketStatusChanged, ticket_data("status_changed", ticket_id, status="pending_customer")),
            (TicketStatusChanged, ticket_data("status_changed", ticket_id, status="open")),
            (
                TicketTierChanged,
                ticket_data("tier_changed", ticket_id, tier=chance.choice(list(Tier)), effective_from=earlier),
            ),
            (TicketResolved, ticket_data("resolved", ticket_id)),
            (TicketReopened, ticket_data("reopened", ticket_id)),
            (TicketAcknowledged, ticket_data("acknowledged", ticket_id)),
            (TicketClosed, ticket_data("closed", ticket_id, reason="merged", into=heir)),
            (
                RoutingAssigned,
                decided | {"level": 1, "tier": chance.choice(list(Tier)), "created_at": AT.isoformat()},
            ),
            (
                RoutingEscalated,
                decided
                | {"from_team": "customer_service", "from_level": 1, "to_level": 2}
                | {"criterion": "needs_code_fix", "origin": "person"},
            ),
        ]
    )
    return wire(kind, data, occurred_at=occurred_at)


async def played(service: Service, batches: list[list[Received[Any]]]) -> tuple[list[Any], list[Any]]:
    """The clocks and the events after the log, with looks between."""
    for step, batch in enumerate(batches):
        service.now.set(AT + step * STEP)
        await service.handle(*batch)
        await look_at_what_is_due(service.units)
    clocks = await service.rows("select ticket_id, version, document, merged_into from ticket_clock order by ticket_id")
    events = await service.rows("select topic, headers, payload from outbox order by seq")
    return [tuple(row) for row in clocks], [tuple(row) for row in events]


async def test_a_log_replayed_into_an_empty_database_gives_the_same_bytes(
    service: Service, database_url: str, shipped_rules: Rules
) -> None:
    """Same messages, same times: same documents, same payloads, same ids (L13, L15)."""
    batches = log(3)
    await migrate(database_url, schema="again", package="sla_monitor")
    again = type(service)(database_url, shipped_rules, schema="again")
    try:
        clocks, events = await played(service, batches)
        assert (clocks, events) == await played(again, batches)
    finally:
        await again.client.aclose()
        await again.database.close()
    assert len(clocks) == len(TICKETS)
    assert len(events) > 60
