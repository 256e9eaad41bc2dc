"""Records of the agent's topic as they come, on a real database: none waits for another, and no field costs it its words (S6)."""

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from safety_bridge import custody, handlers
from safety_bridge.domain import signal
from shared.events import agent
from shared.events.envelope import Record
from shared.events.topics import AGENT
from shared.messaging import consumer, inbox
from shared.runtime.keys import MasterKeys, new_key
from shared.testing.builders import record

LOW = {"agent_incident_id": "A-1", "severity": "low"}
CRISIS = {"agent_incident_id": "A-1", "severity": "critical"}


def consumer_of_signals(service: Any) -> Any:
    (signals,) = [part for part in service.app.parts if part.name == "consumer-safety-bridge"]
    return signals


async def consume(service: Any, records: list[Record], *, goes_well: bool = True) -> None:
    """As the consumer of the agent's topic does with what it has polled."""
    signals = consumer_of_signals(service)
    first = {(AGENT.name, 0): records[0].offset}
    async with signals.units.database.transaction() as connection:
        assert await inbox.cursors(connection, signals.group, first) == first
    signals._ready = first
    assert await signals._apply([signals.decode(one) for one in records]) == goes_well


async def incidents(service: Any) -> dict[str | None, tuple[str, list[str]]]:
    found = (await service.get("/v1/incidents")).json()["incidents"]
    return {one["agent_incident_id"]: (one["severity_working"], one["classes"]) for one in found}


async def test_the_same_event_again_counts_as_a_duplicate_and_pages_nobody(service: Any) -> None:
    """SN-02: five more times, two of them to whoever has the partition after a rebalance."""
    crisis = record(agent.SafetyCrisisDetected, CRISIS, event_id="e-1", at=service.now())
    before = _duplicates()
    await consume(service, [replace(crisis, offset=offset) for offset in range(4)])
    await consume(service, [replace(crisis, offset=offset) for offset in (4, 5)])
    assert await incidents(service) == {"A-1": ("critical", ["crisis"])}
    assert (await service.left()).count("page_requested") == 1
    assert _duplicates() - before == 5


async def test_no_signal_waits_behind_one_that_failed(audited: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one matter or without any key: the crisis is paged as one, not set aside unread until somebody puts it back (S6)."""
    set_apart = handlers._set_apart

    def fails_on_low(message: Any, *more: Any) -> None:
        if message.event.severity == "low":
            raise ZeroDivisionError
        set_apart(message, *more)

    monkeypatch.setattr(handlers, "_set_apart", fails_on_low)
    first = record(agent.SafetyIncidentUpdated, LOW, at=audited.now(), offset=0)
    await consume(audited, [first, record(agent.SafetyCrisisDetected, CRISIS, at=audited.now(), offset=1)])
    assert (await incidents(audited))["A-1"] == ("critical", ["crisis"])
    kept = await audited.rows("select record_offset, state, code from dead_letter")
    assert [tuple(one) for one in kept] == [(0, "dead", "handler_error")]


@pytest.mark.parametrize(
    "fails", [(signal, "_severity"), (signal, "identities_of"), (consumer, "decode")], ids=lambda fails: fails[1]
)
async def test_no_signal_waits_behind_one_of_which_nothing_can_be_understood(
    audited: Any, monkeypatch: pytest.MonkeyPatch, fails: tuple[Any, str]
) -> None:
    """Invariant 1: what is set aside is an incident without our understanding it; so is a second body under a known id (S6)."""
    worse = CRISIS | {"agent_incident_id": "A-2"}
    await consume(audited, [record(agent.SafetyIncidentUpdated, LOW, event_id="e-1", at=audited.now())])
    with monkeypatch.context() as patch:
        for module in (fails[0], handlers):
            patch.setattr(module, fails[1], _divide_by_zero, raising=module is fails[0])
        conflict = record(agent.SafetyCrisisDetected, worse, event_id="e-1", at=audited.now(), offset=1)
        await consume(audited, [conflict, record(agent.SafetyCrisisDetected, worse, at=audited.now(), offset=2)])
    await consume(audited, [record(agent.SafetyCrisisDetected, CRISIS, at=audited.now(), offset=3)])
    found = await incidents(audited)
    assert found["A-1"] == ("critical", ["crisis"])
    assert found[None] == ("high" if fails[1] == "decode" else "critical", [])
    assert await audited.rows("select record_offset from dead_letter order by 1") == [(1,), (2,)]


async def test_a_record_that_cannot_even_be_set_aside_turns_readiness_red(
    audited: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read again for ever, and whatever is behind it waits: somebody has to know (S6)."""
    signals = consumer_of_signals(audited)
    crisis = record(agent.SafetyCrisisDetected, CRISIS, at=audited.now())
    with monkeypatch.context() as patch:
        patch.setattr(handlers, "_set_apart", _divide_by_zero)
        patch.setattr(signals, "_unreadable", _divide_by_zero)
        await consume(audited, [crisis], goes_well=False)
    assert signals.failing() == "not set aside: ZeroDivisionError"
    await consume(audited, [crisis])
    assert signals.failing() is None


async def test_no_signal_waits_because_a_key_is_gone(audited: Any) -> None:
    """A master key that was taken away too early costs words, and nobody's page (S6)."""
    said = CRISIS | {"subject_ref": "sub-81c2"}
    garbage = record(agent.SafetyCrisisDetected, said, at=audited.now())
    await consume(audited, [replace(garbage, value=b"{"), replace(garbage, offset=1)])
    keys = consumer_of_signals(audited).units._make(None, audited.now()).vault._keys
    other = MasterKeys([new_key()])
    keys._keys, keys.prefix = other._keys, other.prefix
    worse = record(agent.SafetyMandatoryReportTriggered, said, at=audited.now(), offset=2)
    await consume(audited, [worse, replace(garbage, value=b"[", offset=3)])
    assert (await incidents(audited))["A-1"] == ("critical", ["crisis", "mandatory_report"])
    async with consumer_of_signals(audited).units.begin() as unit:
        kept = await unit.vault.open_place(unit.connection, f"{AGENT.name}/0/3")
    assert custody._unpacked(garbage, kept or b"").value == b"["


def _duplicates() -> float:
    return REGISTRY.get_sample_value("support_events_duplicate_total", {"group": "support.safety-bridge"}) or 0.0


def _divide_by_zero(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError


@pytest.mark.parametrize("until", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "soon", 7])
async def test_no_date_of_the_agents_costs_a_crisis_its_words(audited: Any, until: Any) -> None:
    """Invariant 5: a date that no calendar can hold is set apart like any other odd value, and the crisis is a crisis (S6)."""
    said = CRISIS | {"preserve": {"required": True, "until": until}, "detected_at": until}
    await consume(audited, [record(agent.SafetyCrisisDetected, said, at=audited.now())])
    assert await incidents(audited) == {"A-1": ("critical", ["crisis"])}
    assert await audited.rows("select 1 from dead_letter") == []


async def test_signals_are_consumed_and_paged_while_nothing_of_tickets_can_be(audited: Any) -> None:
    """Invariant 6: the agent's topic has a consumer and connections of its own; here all those that tickets use are gone (S6)."""
    bulk, urgent = audited.databases
    await bulk.close()
    await consume(audited, [record(agent.SafetyCrisisDetected, CRISIS, at=audited.now())])
    audited.now.advance(minutes=2)
    (pages,) = [part for part in audited.app.parts if part.name == "pages"]
    await pages._look()
    async with urgent.connection() as connection:
        facts = [row["fact"] for row in await connection.fetch("select fact from told order by at, seq")]
    assert (facts[0], facts.count("page_requested")) == ("incident_opened", 2)
    (consumer,) = [part for part in audited.app.parts if part.name == "consumer-safety-bridge"]
    assert [topic.name for topic in consumer._topics] == [AGENT.name]
