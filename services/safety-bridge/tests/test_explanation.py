"""For any incident, person and minute: why somebody was or was not paged (invariant 46, SN-59)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from safety_bridge.domain.explanation import A_MINUTE, Rule, Told, explain
from safety_bridge.timers import page_who_is_due
from shared.events.agent import SafetyCrisisDetected
from shared.events.envelope import rfc3339

OPENED = datetime(2026, 3, 3, 3, 0, tzinfo=UTC)
PRIMARY, LEGAL = ("primary",), ("legal_compliance",)


def minute(after: float) -> datetime:
    return OPENED + timedelta(minutes=after)


def state(after: float, fact: str, handling: str, **data: Any) -> Told:
    return Told(minute(after), fact, {"epoch": 1, "tracks": {"handling": handling}} | data)


def page(after: float, *roles: str, **data: Any) -> Told:
    return Told(minute(after), "page_requested", {"epoch": 1, "lane": "crisis", "step": 0, "roles": roles} | data)


OPEN = state(0, "incident_opened", "paging")
HISTORY = [
    OPEN,
    page(0, "primary", "safety_team"),
    page(2, "primary", "secondary"),
    state(2.5, "incident_raised", "paging", epoch=2, reason_code="severity_rose"),
    page(2.5, "primary", "lead", epoch=2),
    state(12, "incident_acknowledged", "acknowledged", epoch=2, actor_id="sam", actor_role="support"),
]


@pytest.mark.parametrize(
    ("at", "roles", "rule", "because"),
    [
        (-5, PRIMARY, Rule.NOT_OPENED, ["incident_opened"]),
        (0, PRIMARY, Rule.PAGED, ["page_requested"]),
        (2, PRIMARY, Rule.PAGED, ["page_requested", "page_requested"]),
        (0, LEGAL, Rule.OTHER_ROLES, ["page_requested"]),
        (0, (), Rule.NOT_ON_DUTY, ["page_requested"]),
        (5, (), Rule.NOT_ON_DUTY, []),
        (1, PRIMARY, Rule.BETWEEN_PAGES, ["page_requested", "page_requested"]),
        (11, PRIMARY, Rule.BETWEEN_PAGES, ["page_requested"]),
        (17, PRIMARY, Rule.ACKNOWLEDGED, ["incident_acknowledged"]),
    ],
)
def test_silence_and_pages_have_a_rule_and_rows(at: float, roles: tuple, rule: Rule, because: list[str]) -> None:
    """SN-59: "not paged: acked epoch 2 by role support at 03:12"."""
    found = explain(HISTORY, person="pat", roles=roles, at=minute(at))
    assert (found.rule, [told.fact for told in found.because]) == (rule, because)
    if rule is Rule.ACKNOWLEDGED:
        (row,) = (told.shown() for told in found.because)
        assert (row["epoch"], row["actor_role"], row["at"]) == (2, "support", minute(12))


@pytest.mark.parametrize(
    ("handling", "rule"),
    [("new", Rule.BELOW_THRESHOLD), ("closed", Rule.CLOSED), ("merged", Rule.MERGED), ("follow_up", Rule.ACKNOWLEDGED)],
)
def test_what_ends_paging_is_named(handling: str, rule: Rule) -> None:
    history = [OPEN, page(0, "primary"), state(3, "incident_updated", handling)]
    found = explain(history, person="pat", roles=PRIMARY, at=minute(4))
    assert (found.rule, found.because[-1].at) == (rule, minute(3))


def test_a_page_names_persons_too() -> None:
    """Whoever took it and let it lapse is paged by name (21)."""
    history = [OPEN, page(20, "secondary", persons=["sam"])]
    assert explain(history, person="sam", roles=(), at=minute(20)).rule is Rule.PAGED


def test_a_minute_is_half_open() -> None:
    history = [OPEN, page(10, "primary")]
    assert explain(history, person="pat", roles=PRIMARY, at=minute(10)).rule is Rule.PAGED
    assert explain(history, person="pat", roles=PRIMARY, at=minute(10) - A_MINUTE).rule is Rule.BETWEEN_PAGES


async def test_the_service_explains_from_what_it_told(service: Any) -> None:
    """Whatever has become of the incident since; codes and ids only (S5), and nothing changes by asking (22)."""
    began = service.now()
    await service.hear(SafetyCrisisDetected, {"agent_incident_id": "A-1", "severity": "critical"})
    ref = (await service.one())["incident_ref"]
    service.now.advance(minutes=2)
    await page_who_is_due(service.units)
    service.now.advance(minutes=1)
    body = {"epoch": 1, "actor": {"id": "on-call-1", "role": "support"}}
    await service.post(f"/v1/incidents/{ref}/acknowledge", body)
    rules = []
    for minutes in (-1, 0, 1, 2, 3, 60):
        at = rfc3339(began + timedelta(minutes=minutes)).replace("+", "%2B")
        answer = await service.get(f"/v1/incidents/{ref}/explain?person=on-call-1&at={at}", key="reader")
        assert answer.status_code == 200, answer.text
        rules.append(answer.json()["rule"])
        assert answer.json()["paged"] is (rules[-1] == "paged")
    assert rules == ["not_opened", "paged", "between_pages", "paged", "acknowledged", "acknowledged"]
    nobody = await service.get(f"/v1/incidents/{ref}/explain?person=ghost&at={rfc3339(began)}", key="reader")
    assert (nobody.json()["rule"], nobody.json()["roles"]) == ("not_on_duty", [])
    missing = await service.get(f"/v1/incidents/SI-00000000/explain?person=x&at={rfc3339(began)}", key="reader")
    assert missing.status_code == 404
