"""Pages without a message, on a real database: nobody is forgotten because of somebody else (S4)."""

from typing import Any

import pytest

from safety_bridge import handlers
from safety_bridge.timers import LOOK_AGAIN_AFTER, READ_AGAIN_AFTER, page_who_is_due
from shared.events.agent import SafetyCrisisDetected


@pytest.mark.parametrize("fails", ["when it is looked at", "when that is kept"])
async def test_an_incident_whose_page_fails_does_not_hold_up_the_others(
    service: Any, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """It says nothing, stays as it was and is looked at again; the others are paged, and so is it once it can be."""
    for number in range(3):
        await service.hear(SafetyCrisisDetected, {"agent_incident_id": f"A-{number}", "severity": "critical"})
    service.now.advance(minutes=2)
    refs = [row["ref"] for row in await service.rows("select ref from incident order by look_at, ref")]
    look, spoilt = handlers.look, refs[1]

    def look_with_a_bug(due: Any, unit: Any) -> None:
        look(due, unit)
        if due.ref == spoilt and fails == "when it is looked at":
            raise ZeroDivisionError
        if due.ref == spoilt:
            unit.noted.append("no entry of an audit")

    monkeypatch.setattr(handlers, "look", look_with_a_bug)
    await page_who_is_due(service.units)
    assert (await service.left()).count("page_requested") == 3 + 2
    put_off = await service.rows(f"select look_at, document->>'next_page' from incident where ref = '{spoilt}'")
    assert put_off == [(service.now() + LOOK_AGAIN_AFTER, "1")]
    monkeypatch.undo()
    service.now.advance(seconds=LOOK_AGAIN_AFTER.total_seconds())
    await page_who_is_due(service.units)
    assert (await service.left()).count("page_requested") == 3 + 3


async def test_an_incident_that_this_version_cannot_read_does_not_hold_up_the_others(service: Any) -> None:
    """After a step back to an older version: the others are paged, and the self-proof goes on to call this one overdue (S4)."""
    for number in range(3):
        await service.hear(SafetyCrisisDetected, {"agent_incident_id": f"A-{number}", "severity": "critical"})
    (spoilt,) = await service.rows(
        """update incident set document = jsonb_set(document, '{handling}', '"of_a_later_version"')
           where ref = (select min(ref) from incident) returning ref, document, version"""
    )
    service.now.advance(minutes=2)
    assert not await page_who_is_due(service.units)
    assert (await service.left()).count("page_requested") == 3 + 2
    after = await service.rows(f"select document, version, look_at from incident where ref = '{spoilt['ref']}'")
    assert after == [(spoilt["document"], spoilt["version"], service.now() + READ_AGAIN_AFTER)]
    await service.rows("update incident set document = jsonb_set(document, '{handling}', '\"paging\"')")
    service.now.advance(seconds=READ_AGAIN_AFTER.total_seconds())
    await page_who_is_due(service.units)
    assert (await service.left()).count("page_requested") == 3 + 3
