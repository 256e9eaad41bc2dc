"""What `supportctl incident explain` makes of the answers of bridge and notifier (invariant 46)."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from console.incidents import SENTENCES, Incidents
from console.settings import Installation
from safety_bridge.domain.explanation import Rule

AT = datetime(2026, 3, 3, 3, 17, tzinfo=UTC)
FOUND = {
    "rule": "acknowledged",
    "roles": ["primary"],
    "because": [{"at": "03:12", "fact": "incident_acknowledged", "epoch": 2, "actor_role": "support"}],
}


def notification(recipient: str, created_at: str, **fields: Any) -> dict[str, Any]:
    plain = {"channel": "email", "state": "sent", "reason_code": None, "covered_by": None}
    return plain | {"recipient": recipient, "created_at": created_at} | fields


@pytest.fixture
def incidents(router: Any, answering: Any) -> Incidents:
    """Stand-ins: `router` for the bridge, `answering` for the notifier."""
    router.answers(FOUND)
    urls = {"safety-bridge": router.url, "notifier": answering.url}
    return Incidents(Installation(kafka="127.0.0.1:9", api_key=SecretStr("k"), services=urls))


def test_it_names_the_rule_its_rows_and_what_became_of_the_page(
    incidents: Incidents, answering: Any, router: Any
) -> None:
    """SN-59; a page that a roll-up stands for says so."""
    covered = {"state": "superseded", "reason_code": "rolled_up", "covered_by": "n-9"}
    pages = [
        notification("pat", "2026-03-03T03:17:05.000000Z", **covered),
        notification("pat", "2026-03-03T03:18:00.000000Z"),
        notification("sam", "2026-03-03T03:17:05.000000Z"),
    ]
    answering.answers({"notifications": pages})
    assert list(incidents.explain("SI-0A1B2C3D", "pat", AT)) == [
        "SI-0A1B2C3D at 2026-03-03T03:17:00.000000Z: pat was not paged: it was acknowledged (roles: primary)",
        "  03:12 incident_acknowledged: epoch 2, actor_role support",
        "  2026-03-03T03:17:05.000000Z by email: superseded rolled_up, said by n-9",
    ]
    assert router.asked[0][1].startswith("/v1/incidents/SI-0A1B2C3D/explain?person=pat&at=2026-03-03T03")


def test_every_rule_has_a_sentence() -> None:
    assert SENTENCES.keys() == {rule.value for rule in Rule}
