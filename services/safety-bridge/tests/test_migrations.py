"""Incidents written before a migration go on after it."""

import json
from importlib.resources import files
from typing import Any

from safety_bridge.timers import page_who_is_due
from shared.events.agent import SafetyCrisisDetected


async def test_an_incident_of_the_first_version_is_read_and_paged(service: Any) -> None:
    """Migration 0002: its classes get the time their clocks start at, and it is looked at again (S4)."""
    await service.hear(SafetyCrisisDetected, {"agent_incident_id": "A-1", "severity": "critical"})
    (row,) = await service.rows("select ref, document::text from incident")
    written = json.loads(row["document"])
    facts = {
        "detected_at": written["facts"]["detected_at"],
        "severity": 4,
        "classes": ["crisis"],
        "responses": ["crisis_intervention"],
        "report": 0,
        "guardian_contact": 1,
        "agent_incident_ids": ["A-1"],
        "flags": [],
    }
    kept = (
        "ref",
        "mode",
        "opened_at",
        "epoch_started_at",
        "next_page_at",
        "revision",
        "epoch",
        "next_page",
        "ticket_id",
    )
    old = {name: written[name] for name in kept} | {"facts": facts, "acknowledgements": [], "continues_in": None}
    source = (files("safety_bridge") / "migrations/versions/0002_due.py").read_text()
    update = source[source.index("update incident set document") : source.index("create index incident_subjects")]
    await service.rows("update incident set document = '" + json.dumps(old) + "'")
    for statement in update.split(";\n"):
        if statement.strip():
            await service.rows(statement)
    shown = await service.one()
    assert (shown["classes"], shown["responses"]) == (["crisis"], ["crisis_intervention"])
    service.now.advance(minutes=2)
    await page_who_is_due(service.units)
    assert {clock["clock"] for clock in (await service.one())["deadlines"]["clocks"]} == {"acknowledge", "outcome"}
