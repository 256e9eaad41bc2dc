"""The HTTP edge: the clocks of a ticket as they stand now, why they are due when they are, and to whom they are shown."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.events.ticket import (
    TicketCreated,
    TicketMessageAdded,
    TicketReopened,
    TicketResolved,
    TicketStatusChanged,
    TicketTierChanged,
)
from shared.policy.business_time import load_calendar
from shared.policy.model import WEEKDAYS, CalendarPolicy, Policy
from shared.testing.builders import ticket_data, wire
from sla_monitor.domain.targets import Rules

Service = Any


@pytest.fixture
async def berlin(service: Service, database_url: str, policy: Policy) -> AsyncIterator[Service]:
    """The service, whose tickets keep a Berlin office with the holidays of Germany that is not in force any more."""
    office = CalendarPolicy.model_validate(
        {
            "id": "berlin-office",
            "zone": "Europe/Berlin",
            "nominal_day_minutes": 480,
            "opening_hours": {key: ["09:00-17:00"] for key in WEEKDAYS[:5]},
            "holidays": {"country": "DE"},
        }
    )
    berlin = type(service)(database_url, Rules.of(policy, load_calendar(office)))
    yield berlin
    await berlin.client.aclose()
    await berlin.database.close()


async def test_the_clocks_are_shown_with_the_fields_of_their_events(service: Service) -> None:
    """As they stand now: shares go on between events (L15)."""
    await service.routed("T-1", tier="professional")
    service.now.advance(hours=1)
    answer = await service.get("/v1/tickets/T-1/clocks")
    assert answer.status_code == 200
    shown = answer.json()
    assert shown["ticket_id"] == "T-1"
    first = shown["clocks"][0]
    assert first.pop("policy_version").startswith("2026.1@")
    assert first.pop("calendar").startswith("new-york-office@")
    assert first.pop("caused_by")
    assert first == {
        "ticket_id": "T-1",
        "occurred_at": "2026-03-03T15:00:00.000000Z",
        "emitted_at": "2026-03-03T16:00:00.000000Z",
        "clauses": ["L1", "L2", "L16"],
        "milestone": "initial_response",
        "cycle": 1,
        "level": None,
        "target": {"amount": 4, "unit": "hours"},
        "started_at": "2026-03-03T15:00:00.000000Z",
        "due_at": "2026-03-03T19:00:00.000000Z",
        "previous_due_at": None,
        "state": "running",
        "elapsed_share": 0.25,
        "threshold": None,
        "pauses": [],
        "short_notice": False,
        "provisional": False,
        "clamped": False,
        "claimed_at": None,
        "late_by_seconds": None,
        "reason": None,
    }
    assert [clock["milestone"] for clock in shown["clocks"]] == ["initial_response", "resolution", "escalation"]


async def test_what_is_met_stays_as_it_was(service: Service) -> None:
    """(L8)"""
    await service.routed("T-1", tier="professional")
    await service.handle(wire(TicketMessageAdded, ticket_data("message_added")))
    service.now.advance(days=3)
    first, resolution, _ = (await service.get("/v1/tickets/T-1/clocks")).json()["clocks"]
    assert (first["state"], first["elapsed_share"]) == ("met", 0.0)
    assert (resolution["state"], resolution["elapsed_share"]) == ("breached", 1.0)


async def test_a_ticket_that_is_not_routed_yet_has_no_clocks(service: Service) -> None:
    """(L16)"""
    await service.handle(wire(TicketCreated, ticket_data("created")))
    assert (await service.get("/v1/tickets/T-1/clocks")).json() == {"ticket_id": "T-1", "clocks": []}


async def test_a_restricted_ticket_shows_no_clocks(service: Service) -> None:
    """(L6)"""
    await service.routed("T-1")
    await service.routed("T-1", restricted=True)
    assert (await service.get("/v1/tickets/T-1/clocks")).json() == {"ticket_id": "T-1", "clocks": []}


async def test_an_unknown_ticket_is_not_found(service: Service) -> None:
    """404, as a problem document."""
    answer = await service.get("/v1/tickets/T-9/clocks")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(("key", "status"), [("nobody", 401), ("writer", 403)])
async def test_a_key_with_the_scope_is_needed(service: Service, key: str, status: int) -> None:
    """`tickets:read`."""
    assert (await service.get("/v1/tickets/T-1/clocks", key=key)).status_code == status


async def explained(service: Service, milestone: str = "resolution", cycle: int = 1) -> dict[str, Any]:
    answer = await service.get("/v1/tickets/T-1/clocks/explain")
    assert answer.status_code == 200
    found: dict[str, Any] = next(
        clock for clock in answer.json()["clocks"] if (clock["milestone"], clock["cycle"]) == (milestone, cycle)
    )
    counted = sum(stretch["seconds"] for stretch in found["stretches"] if stretch["counted"])
    assert counted == found["counted_seconds"] == found["length_seconds"]
    return found


def told(clock: dict[str, Any]) -> list[tuple[str, str, str | None, float]]:
    return [
        (stretch["starts_at"][5:16], stretch["kind"], stretch["name"], stretch["seconds"] / 3600)
        for stretch in clock["stretches"]
    ]


async def test_the_explanation_names_good_friday_the_weekend_and_easter_monday(berlin: Service) -> None:
    """HD-08: two business days of HD-06, by the calendar that the clock keeps (L15)."""
    berlin.now.set(datetime(2026, 4, 2, 12, tzinfo=UTC))
    await berlin.routed("T-1", tier="premium")
    clock = await explained(berlin)
    assert clock["due_at"] == "2026-04-08T12:00:00.000000Z"
    assert clock["calendar"].startswith("berlin-office@")
    assert clock["policy_version"].startswith("2026.1@")
    assert (clock["zone"], clock["in_business_time"], clock["state"]) == ("Europe/Berlin", True, "running")
    assert (clock["target"], clock["clauses"]) == ({"amount": 2, "unit": "business_days"}, ["L1", "L3", "L16"])
    assert clock["moves"] == []
    assert told(clock) == [
        ("04-02T12:00", "counted", None, 3),
        ("04-02T15:00", "night", None, 7),
        ("04-02T22:00", "holiday", "Good Friday", 24),
        ("04-03T22:00", "weekend", None, 48),
        ("04-05T22:00", "holiday", "Easter Monday", 24),
        ("04-06T22:00", "night", None, 9),
        ("04-07T07:00", "counted", None, 8),
        ("04-07T15:00", "night", None, 16),
        ("04-08T07:00", "counted", None, 5),
    ]


async def test_a_pause_and_a_retarget_are_explained_by_their_events(berlin: Service) -> None:
    """HD-23: five paused hours survive the change to one business day (L9, L11)."""
    berlin.now.set(datetime(2026, 3, 2, 8, tzinfo=UTC))
    await berlin.routed("T-1", tier="premium")
    for event, hour, data in (
        (TicketStatusChanged, 9, ticket_data("status_changed", status="pending_customer")),
        (TicketMessageAdded, 14, ticket_data("message_added", author={"kind": "customer", "id": "u-1"})),
        (TicketTierChanged, 15, ticket_data("tier_changed", tier="professional")),
    ):
        berlin.now.set(datetime(2026, 3, 2, hour, tzinfo=UTC))
        await berlin.handle(wire(event, data, id=f"at-{hour}", occurred_at=berlin.now()))
    clock = await explained(berlin)
    assert told(clock) == [
        ("03-02T08:00", "counted", None, 1),
        ("03-02T09:00", "paused", None, 5),
        ("03-02T14:00", "counted", None, 2),
        ("03-02T16:00", "night", None, 16),
        ("03-03T08:00", "counted", None, 5),
    ]
    assert (clock["stretches"][1]["begun_by"], clock["stretches"][1]["ended_by"]) == ("at-9", "at-14")
    assert clock["moves"] == [
        {
            "turn": "resumed",
            "at": "2026-03-02T14:00:00.000000Z",
            "from": "2026-03-03T16:00:00.000000Z",
            "to": "2026-03-04T13:00:00.000000Z",
            "clause": "L9",
            "because": "at-14",
            "fact": "customer_wrote",
        },
        {
            "turn": "retargeted",
            "at": "2026-03-02T15:00:00.000000Z",
            "from": "2026-03-04T13:00:00.000000Z",
            "to": "2026-03-03T13:00:00.000000Z",
            "clause": "L11",
            "because": "at-15",
            "fact": "tier_changed",
        },
    ]


async def test_a_reopened_clock_is_explained_over_the_time_it_was_resolved(berlin: Service) -> None:
    """HD-25: three business days, solved Tuesday 12:00, reopened Thursday 10:00 (L12)."""
    berlin.now.set(datetime(2026, 3, 2, 8, tzinfo=UTC))
    await berlin.routed("T-1", tier="individual")
    for event, day, hour, fact in ((TicketResolved, 3, 11, "resolved"), (TicketReopened, 5, 9, "reopened")):
        berlin.now.set(datetime(2026, 3, day, hour, tzinfo=UTC))
        await berlin.handle(wire(event, ticket_data(fact), id=fact, occurred_at=berlin.now()))
    clock = await explained(berlin, cycle=2)
    assert clock["due_at"] == "2026-03-06T14:00:00.000000Z"
    assert told(clock)[3] == ("03-03T11:00", "resolved", None, 46)
    assert (clock["stretches"][3]["begun_by"], clock["stretches"][3]["ended_by"]) == ("resolved", "reopened")
    assert [(move["turn"], move["because"]) for move in clock["moves"]] == [("resumed", "reopened")]
    first = await explained(berlin)
    assert (first["state"], first["ended_at"]) == ("met", "2026-03-03T11:00:00.000000Z")


async def test_a_ticket_without_clocks_has_nothing_to_explain(service: Service) -> None:
    """Not routed yet (L16), or restricted (L6)."""
    await service.handle(wire(TicketCreated, ticket_data("created")))
    await service.routed("T-2")
    await service.routed("T-2", restricted=True)
    for ticket_id in ("T-1", "T-2"):
        answer = await service.get(f"/v1/tickets/{ticket_id}/clocks/explain")
        assert answer.json() == {"ticket_id": ticket_id, "clocks": []}


async def test_an_unknown_ticket_is_not_explained(service: Service) -> None:
    """404, as a problem document."""
    answer = await service.get("/v1/tickets/T-9/clocks/explain")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(("key", "status"), [("nobody", 401), ("writer", 403)])
async def test_an_explanation_needs_a_key_with_the_scope(service: Service, key: str, status: int) -> None:
    """`tickets:read`."""
    assert (await service.get("/v1/tickets/T-1/clocks/explain", key=key)).status_code == status
