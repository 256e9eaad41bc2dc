"""An edited policy, tried dry on open tickets and then brought to them: the one tells what the other does (L11, HD-19, HD-33)."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import datetime, time, timedelta
from importlib.resources import files
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import Any

import clock_oracle as oracle
import pytest
import yaml
from random_tickets import SEED_OVERLAYS, SEED_TARGETS, random_case
from test_against_oracle import fact_of

from shared.events.envelope import SAFETY_BRIDGE, rfc3339
from shared.events.sla import SlaCancelled, SlaClockStarted, SlaEvent, SlaRetargeted, SlaWarning
from shared.events.ticket import TicketMessageAdded, TicketResolved, TicketRestricted, TicketStatusChanged
from shared.policy.business_time import load_calendar
from shared.policy.draft import drafted
from shared.policy.load import load_policy
from shared.testing.builders import AT, ticket_data, wire
from shared.vocabulary import Milestone
from sla_monitor.domain import what_if as domain
from sla_monitor.domain.clock import FactKind
from sla_monitor.domain.targets import Rules
from sla_monitor.domain.ticket import Ticket
from sla_monitor.handlers import settle, what_if

Service = Any
HOUR = timedelta(hours=1)
SHIPPED = (files("shared.policy") / "policy.yaml").read_text()
TABLES = ("ticket_clock", "timer", "rules", "outbox", "inbox", "dead_letter")
TIGHTER = {"clocks": {"targets": {"professional": {"initial_response": "2 hours"}}}}
WRITTEN = ("professional: {initial_response: 4 hours", "professional: {initial_response: 2 hours")


def said(fact: str, ticket_id: str = "T-1", **data: Any) -> dict[str, Any]:
    return ticket_data(fact, ticket_id, **data)


@pytest.fixture
def other_processes() -> None:
    """The test pays for processes of their own."""


@pytest.fixture(autouse=True)
def folded_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests fold in this process: starting another one takes a second."""

    async def here(question: Callable[[], Any]) -> Any:
        return question()

    if "other_processes" not in request.fixturenames:
        monkeypatch.setattr(what_if, "elsewhere", here)


async def some_tickets(service: Service) -> None:
    """Two of the tier that is edited, one answered, one waiting, one of another tier, one resolved, one restricted."""
    names = ("T-1", "T-2", "T-answered", "T-waiting", "T-resolved", "T-restricted")
    await service.routed(*names, tier="professional")
    await service.routed("T-free", tier="free")
    service.now.advance(minutes=15)
    await service.handle(
        wire(TicketMessageAdded, said("message_added", "T-answered"), occurred_at=AT + HOUR / 4),
        wire(
            TicketStatusChanged,
            said("status_changed", "T-waiting", status="pending_customer"),
            occurred_at=AT + HOUR / 4,
        ),
        wire(TicketResolved, said("resolved", "T-resolved"), occurred_at=AT + HOUR / 4),
        wire(TicketRestricted, said("restricted", "T-restricted"), source=SAFETY_BRIDGE, occurred_at=AT + HOUR / 4),
    )
    service.now.advance(minutes=45)


async def everything(service: Service) -> list[list[tuple[Any, ...]]]:
    return [[tuple(row) for row in await service.rows(f"select * from {table} order by 1, 2")] for table in TABLES]


@pytest.fixture
async def edited(service: Service, database_url: str, tmp_path: Path) -> AsyncIterator[Service]:
    """The service after the policy file was edited and it was restarted."""
    one = restarted(service, database_url, tmp_path, SHIPPED.replace(*WRITTEN))
    yield one
    await one.client.aclose()
    await one.database.close()


def restarted(service: Service, database_url: str, directory: Path, text: str) -> Service:
    file = directory / "policy.yaml"
    file.write_text(text)
    policy = load_policy(text)
    rules = Rules.of(policy, load_calendar(policy.clocks.calendar))
    return type(service)(database_url, rules, policy_file=file, now=service.now)


def listed(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    return sorted(
        (one["ticket_id"], one["milestone"], one["cycle"], one["from"], one["to"]) for one in found["changes"]
    )


async def announced(service: Service) -> list[tuple[Any, ...]]:
    return sorted(
        (one.ticket_id, one.milestone.value, one.cycle, rfc3339(one.previous_due_at), rfc3339(one.due_at))
        for one in await service.told(SlaRetargeted)
    )


@pytest.mark.usefixtures("other_processes")
async def test_a_draft_tells_which_due_times_would_move_and_changes_nothing(service: Service) -> None:
    """L11: from 4 hours to 2, not before a quarter of that has passed from now on; no row, no event."""
    await some_tickets(service)
    before = await everything(service)
    answer = await service.post("/v1/drafts", {"changes": TIGHTER})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    moves = ("2026-03-03T19:00:00.000000Z", "2026-03-03T17:00:00.000000Z")
    assert listed(found) == [(one, "initial_response", 1, *moves) for one in ("T-1", "T-2", "T-waiting")]
    assert (found["tickets"], found["clocks"], found["moved"], found["unchanged"]) == (5, 14, 3, 11)
    assert (found["breached_at_once"], found["started"], found["cancelled"], found["failed"]) == (0, 0, 0, 0)
    assert found["policy_version"] != load_policy().version
    assert await everything(service) == before


async def test_what_is_in_force_moves_nothing(service: Service) -> None:
    """Changes that are none, and the whole document that is in force (its words are files of their own)."""
    await some_tickets(service)
    whole = load_policy().model_dump(mode="json", exclude={"words"})
    for body in ({"changes": {}}, {"policy": whole}):
        found = (await service.post("/v1/drafts", body)).json()
        assert (found["policy_version"], found["moved"], found["retargeted"]) == (load_policy().version, 0, 0)


async def test_a_whole_policy_can_take_a_promise_away(service: Service) -> None:
    """What it does not name is not promised; a change of the calendar counts as well."""
    await some_tickets(service)
    whole = load_policy().model_dump(mode="json", exclude={"words"})
    whole["clocks"]["targets"]["free"]["escalation"] = None
    whole["clocks"]["calendar"]["closed_days"] = {"2026-03-04": "moving house"}
    found = (await service.post("/v1/drafts", {"policy": whole})).json()
    assert found["cancelled"] == 1
    ends = [(one["ticket_id"], one["milestone"]) for one in found["changes"] if one["to"] is None]
    assert ends == [("T-free", "escalation")]
    assert found["moved"] == 9  # resolution of five, escalation of four: all reach over that Wednesday


async def test_a_tighter_promise_without_grace_is_breached_at_once(service: Service) -> None:
    """Told apart, since nobody wants that."""
    await some_tickets(service)
    service.now.advance(hours=2)
    changes = {"clocks": {**TIGHTER["clocks"], "grace_share": 0}}
    found = (await service.post("/v1/drafts", {"changes": changes})).json()
    assert (found["moved"], found["breached_at_once"]) == (3, 3)


FAULTY = {
    "no such field": ({"changes": {"nonsense": 1}}, "/changes/nonsense"),
    "no such unit": ({"changes": {"clocks": {"warn_at": [2]}}}, "/changes/clocks/warn_at/0"),
    "no such zone": (
        {"changes": {"clocks": {"calendar": {"zone": "Nowhere/Atall"}}}},
        "/changes/clocks/calendar/zone",
    ),
    "never open": (
        {"policy": load_policy().model_dump(mode="json") | {"clocks": {}}},
        "/policy/clocks/targets",
    ),
    "neither": ({}, ""),
    "both": ({"changes": {}, "policy": {}}, ""),
    "more": ({"changes": {}, "last": 1}, "/last"),
}


@pytest.mark.parametrize(("body", "place"), FAULTY.values(), ids=list(FAULTY))
async def test_a_draft_that_is_no_policy_is_refused_with_its_place(
    service: Service, body: dict[str, Any], place: str
) -> None:
    """422 with pointer and kind; what was sent is not repeated."""
    answer = await service.post("/v1/drafts", body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, place), answer.text
    assert "Nowhere" not in answer.text


@pytest.mark.parametrize("path", ["/v1/drafts", "/v1/retargets"])
async def test_only_operators_may_ask(service: Service, path: str) -> None:
    for key, status in (("reader", 403), ("nobody", 401)):
        assert (await service.post(path, {"changes": {}}, key=key)).status_code == status


async def test_an_edited_policy_reaches_running_clocks_by_a_retarget_alone(service: Service, edited: Service) -> None:
    """HD-33, HD-19: through a restart old clocks keep what they were promised, new ones get the new promise."""
    await some_tickets(service)
    await edited.routed("T-new", tier="professional")
    old, new = [(await edited.get(f"/v1/tickets/{one}/clocks")).json()["clocks"][0] for one in ("T-1", "T-new")]
    assert [one["target"]["amount"] for one in (old, new)] == [4, 2]
    assert old["policy_version"] == load_policy().version != new["policy_version"]
    await edited.handle(wire(TicketMessageAdded, said("message_added", "T-2"), occurred_at=edited.now()))
    assert await edited.told(SlaRetargeted) == []


async def test_a_retarget_does_what_its_dry_run_told_and_a_second_one_nothing(
    service: Service, edited: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HD-33: over several pages and transactions; the list is what is announced, to the microsecond."""
    monkeypatch.setattr(what_if, "TICKETS_A_PAGE", 3)
    monkeypatch.setattr(what_if, "TICKETS_A_TRANSACTION", 2)
    await some_tickets(service)
    await edited.routed("T-new", tier="professional")
    before, told = await everything(edited), len(await edited.told())
    dry = (await edited.post("/v1/retargets", {"dry_run": True})).json()
    assert await everything(edited) == before
    assert (dry["dry_run"], dry["tickets"], dry["retargeted"], dry["moved"]) == (True, 6, 5, 3)

    done = (await edited.post("/v1/retargets", {})).json()
    assert (done["tickets"], done["retargeted"], done["moved"], done["failed"]) == (5, 5, 3, 0)
    assert done["changes"] == dry["changes"]
    assert listed(dry) == await announced(edited)
    assert len(await edited.told(SlaRetargeted)) == len(dry["changes"]) == 3
    assert len(await edited.told()) - told == 3 + len(await edited.told(SlaWarning))  # half of two hours is over
    shown = (await edited.get("/v1/tickets/T-free/clocks")).json()["clocks"]
    assert {clock["policy_version"] for clock in shown} == {done["policy_version"]}
    shown = (await edited.get("/v1/tickets/T-resolved/clocks")).json()["clocks"]
    assert {clock["policy_version"] for clock in shown} == {load_policy().version}

    after = await everything(edited)
    edited.now.advance(minutes=1)
    again = (await edited.post("/v1/retargets", {})).json()
    assert (again["retargeted"], again["changes"]) == (0, [])
    assert await everything(edited) == after


async def test_a_retarget_that_broke_off_does_the_rest_when_asked_again(
    service: Service, edited: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was committed stays and is not announced twice."""
    monkeypatch.setattr(what_if, "TICKETS_A_TRANSACTION", 1)
    await some_tickets(service)
    settle, left = what_if.settle, iter([True, True, False])

    def breaks_off(*given: Any) -> Any:
        if not next(left):
            raise asyncio.CancelledError
        return settle(*given)

    monkeypatch.setattr(what_if, "settle", breaks_off)
    with pytest.raises(asyncio.CancelledError):
        await edited.post("/v1/retargets", {})
    monkeypatch.setattr(what_if, "settle", settle)
    assert [one.ticket_id for one in await edited.told(SlaRetargeted)] == ["T-1", "T-2"]
    edited.now.advance(minutes=1)
    assert (await edited.post("/v1/retargets", {})).json()["retargeted"] == 3
    assert [one.ticket_id for one in await edited.told(SlaRetargeted)] == ["T-1", "T-2", "T-waiting"]


async def test_one_ticket_that_cannot_be_computed_holds_up_no_other(
    service: Service, edited: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await some_tickets(service)
    settle = what_if.settle

    def fails_once(ticket: Any, unit: Any) -> Any:
        if ticket.ticket_id == "T-2":
            raise ValueError
        return settle(ticket, unit)

    monkeypatch.setattr(what_if, "settle", fails_once)
    done = (await edited.post("/v1/retargets", {})).json()
    assert (done["failed"], done["retargeted"]) == (1, 4)
    assert [one.ticket_id for one in await edited.told(SlaRetargeted)] == ["T-1", "T-waiting"]


async def test_there_and_back_again(service: Service, edited: Service, database_url: str, tmp_path: Path) -> None:
    """A policy that is put back is another edit: it loosens what the first had tightened (L11)."""
    await some_tickets(service)
    await edited.post("/v1/retargets", {})
    service.now.advance(minutes=10)
    found = (await service.post("/v1/retargets", {})).json()
    assert (found["moved"], {one["to"] for one in found["changes"]}) == (3, {"2026-03-03T19:00:00.000000Z"})
    service.now.advance(minutes=10)
    assert (await edited.post("/v1/retargets", {})).json()["moved"] == 3


async def test_a_milestone_that_an_edit_adds_starts_with_the_retarget(
    service: Service, database_url: str, tmp_path: Path
) -> None:
    """L11: and one that it takes away is cancelled; both stand in the list."""
    await service.routed("T-1", tier="free")
    service.now.advance(hours=1)
    text = SHIPPED.replace(
        "free: {initial_response: 48 hours, resolution: 5 business_days, escalation: 7 business_days}",
        "free: {initial_response: 48 hours, acknowledgement: 3 hours, escalation: 7 business_days}",
    )
    edited = restarted(service, database_url, tmp_path, text)
    dry = (await edited.post("/v1/retargets", {"dry_run": True})).json()
    done = (await edited.post("/v1/retargets", {})).json()
    assert done["changes"] == dry["changes"]
    assert {(one["turn"], one["milestone"]) for one in done["changes"]} == {
        ("clock_started", "acknowledgement"),
        ("cancelled", "resolution"),
    }
    assert [one.milestone for one in await edited.told(SlaCancelled)] == [Milestone.RESOLUTION]
    assert (await edited.told(SlaClockStarted))[-1].milestone is Milestone.ACKNOWLEDGEMENT
    await edited.client.aclose()
    await edited.database.close()


MIXED = int(os.environ.get("SUPPORT_TEST_MIXED", "200"))
STORIES = min(MIXED, 400)
EFFECTS = ("retargeted", "moved", "restated", "started", "cancelled", "breached_at_once", "failed")
OFFICE_HOURS = oracle.Rules(
    SEED_TARGETS, SEED_OVERLAYS, "America/New_York", {day: [(time(9), time(17))] for day in oracle.WEEKDAYS[:5]}
)
EDITS: list[dict[str, Any]] = [
    {
        "clocks": {
            "grace_share": 0.1,
            "targets": {
                "free": {"initial_response": "24 hours", "resolution": "3 business_days", "acknowledgement": "4 hours"},
                "premium": {"initial_response": "14 hours", "escalation": None},
                "enterprise": {"initial_response": "90 minutes", "resolution": "1 business_days"},
            },
            "overlays": {"user_question": {"initial_response": "2 hours", "escalation": "next_business_day"}},
        }
    },
    {
        "clocks": {
            "calendar": {"opening_hours": {"friday": ["10:00-14:00"]}, "closed_days": {"2026-03-09": "moving house"}},
            "targets": {"premium": {"escalation": "5 business_days"}},
        }
    },
]


def mixed_tickets(rules: Rules, now: datetime) -> Iterator[Ticket]:
    """Of every kind and in every state, with facts that are still to come, but routed by now."""
    stories = [random_case(Random(seed), AT.date(), OFFICE_HOURS) for seed in range(STORIES)]
    for number in range(MIXED):
        created_at, facts, _ = stories[number % STORIES]
        later = number // STORIES * timedelta(hours=5)
        ticket = Ticket(f"T-{number:06}", f"c-{number}")
        for fact in (fact_of(replace(fact, at=fact.at + later)) for fact in facts):
            if fact.kind is FactKind.ROUTED and not ticket.is_routed():
                ticket.start(fact, created_at=created_at + later, rules=rules)
            else:
                ticket.add(fact)
        if ticket.terms is not None and ticket.terms.decided_at <= now:
            yield ticket


def effect_of(event: SlaEvent) -> dict[str, Any]:
    """What the list says of an announced turn."""
    is_cancelled = isinstance(event, SlaCancelled)
    was_due_at = event.due_at if is_cancelled else event.previous_due_at
    return {
        "ticket_id": event.ticket_id,
        "milestone": event.milestone,
        "cycle": event.cycle,
        "turn": event.wire_type.split(".")[-2],
        "from": rfc3339(was_due_at) if was_due_at else None,
        "to": None if is_cancelled else rfc3339(event.due_at),
    }


async def test_mixed_tickets_get_what_the_dry_run_told_clock_by_clock(
    service: Service, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HD-33: a draft, the dry run once it is in force, and what is announced then, one edit after the other (L11)."""
    monkeypatch.setattr(domain, "EFFECTS_AT_MOST", 10 * MIXED)
    service.now.advance(days=6, seconds=1)  # at no due instant: there a breach just told is taken back as a correction
    tickets = list(mixed_tickets(service.book.in_force, service.now()))
    for start in range(0, len(tickets), 100):
        async with service.units.begin() as unit:
            for ticket in tickets[start : start + 100]:
                settle(ticket, unit)
    in_force, policy, restarts = service, load_policy(), []
    for edit in EDITS:
        told = len(await service.told())
        draft = (await in_force.post("/v1/drafts", {"changes": edit})).json()
        policy = drafted(policy.model_dump_json(), edit)
        text = yaml.safe_dump(policy.model_dump(mode="json", exclude={"words"}))
        in_force = restarted(service, database_url, tmp_path, text)
        dry = (await in_force.post("/v1/retargets", {"dry_run": True})).json()
        done = (await in_force.post("/v1/retargets", {})).json()
        assert dry == draft | {"policy_version": dry["policy_version"]}
        assert done["changes"] == dry["changes"]
        assert {name: done[name] for name in EFFECTS} == {name: dry[name] for name in EFFECTS}
        moves = (SlaRetargeted, SlaClockStarted, SlaCancelled)
        announced = [effect_of(event) for event in (await service.told())[told:] if isinstance(event, moves)]
        place = itemgetter("ticket_id", "milestone", "cycle")
        assert sorted(announced, key=place) == sorted(dry["changes"], key=place)
        assert min(dry[name] for name in ("moved", "unchanged")) > MIXED / 20
        again = (await in_force.post("/v1/retargets", {"dry_run": True})).json()
        assert (again["retargeted"], again["changes"]) == (0, [])
        service.now.advance(minutes=1)
        restarts.append(in_force)
    for one in restarts:
        await one.client.aclose()
        await one.database.close()


async def test_only_the_policy_in_force_can_be_named(service: Service) -> None:
    """409: asked of a replica that was not restarted yet, it does nothing."""
    for dry_run in (True, False):
        answer = await service.post("/v1/retargets", {"policy_version": "2027.1@0", "dry_run": dry_run})
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/policy-not-in-force")
    answer = await service.post("/v1/retargets", {"policy_version": load_policy().version})
    assert answer.status_code == 200


@pytest.mark.usefixtures("other_processes")
async def test_a_question_that_takes_too_long_ends_with_its_deadline(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, and the process that folded is gone."""
    await some_tickets(service)
    monkeypatch.setattr(what_if, "DEADLINE_SECONDS", 0.2)  # shorter than a process takes to begin
    before = children()
    answer = await service.post("/v1/retargets", {"dry_run": True})
    assert answer.status_code == 503
    assert children() <= before


def children() -> set[str]:
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())
