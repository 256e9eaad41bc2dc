"""What `supportctl drill` says and asks, against small real servers; the whole chain is a journey."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from console.drill import Drill
from console.services import Unanswered
from console.settings import Installation

INCIDENT = {"incident_ref": "SI-0A1B2C3D", "mode": "drill", "epoch": 1, "ticket_id": None}
PAGE = {"recipient": "pat", "channel": "email", "state": "sent", "reason_code": None}


@pytest.fixture
def drill(router: Any, sla_monitor: Any, answering: Any) -> Iterator[Drill]:
    """Stand-ins: `router` for intake, `sla_monitor` for the bridge, `answering` for the notifier."""
    urls = {"intake": router.url, "safety-bridge": sla_monitor.url, "notifier": answering.url}
    sla_monitor.answers({"incidents": [INCIDENT]})
    answering.answers({"notifications": [PAGE]})
    return Drill(Installation(kafka="127.0.0.1:9", api_key=SecretStr("k"), services=urls), within_seconds=0.5)


def test_a_drill_is_one_in_the_signal_and_tells_whom_it_reached(drill: Drill, router: Any, sla_monitor: Any) -> None:
    """SN-41: the mode stands in the event; nothing acknowledges it unless asked to."""
    told = "\n".join(drill.run(acknowledge_as=None, role="primary"))
    assert "SI-0A1B2C3D drill opened" in told
    assert "pat by email: sent" in told
    ((_, path, _, signal),) = router.asked
    assert path == "/v1/safety/events"
    assert signal["data"]["mode"] == "drill"
    assert {method for method, *_ in sla_monitor.asked} == {"GET"}


def test_it_acknowledges_in_somebodys_name_if_asked_to(drill: Drill, sla_monitor: Any) -> None:
    list(drill.run(acknowledge_as="pat", role="primary"))
    method, path, _, body = sla_monitor.asked[-1]
    assert (method, path) == ("POST", "/v1/incidents/SI-0A1B2C3D/acknowledge")
    assert body == {"epoch": 1, "actor": {"id": "pat", "role": "primary"}}


@pytest.mark.parametrize(
    ("incidents", "pages", "why"),
    [
        ([], [PAGE], "no incident was opened"),
        ([INCIDENT | {"mode": "live"}], [PAGE], "not kept apart"),
        ([INCIDENT | {"ticket_id": "T-1"}], [PAGE], "not kept apart"),
        ([INCIDENT], [], "no page has left"),
        ([INCIDENT], [PAGE | {"state": "queued"}], "no page has left"),
        ([INCIDENT], [PAGE | {"state": "failed", "reason_code": "smtp_550"}], "nobody was reached"),
    ],
)
def test_a_drill_that_reaches_nobody_fails(
    drill: Drill, sla_monitor: Any, answering: Any, incidents: list, pages: list, why: str
) -> None:
    sla_monitor.answers({"incidents": incidents})
    answering.answers({"notifications": pages})
    with pytest.raises(Unanswered, match=why):
        list(drill.run(acknowledge_as=None, role="primary"))
