"""What `supportctl explain` says of clocks, and that it says of one service what the other does not answer."""

import json
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from console.app import app
from console.clocks import Clocks
from console.services import Unanswered
from console.settings import Installation

Answering = Any


def stretch(starts_at: str, ends_at: str, kind: str, seconds: float, **more: Any) -> dict[str, Any]:
    told = {"starts_at": f"2026-{starts_at}Z", "ends_at": f"2026-{ends_at}Z", "kind": kind, "seconds": seconds}
    return told | {"counted": kind == "counted", "name": None, "begun_by": None, "ended_by": None} | more


CLOCK = {
    "milestone": "resolution",
    "cycle": 1,
    "level": None,
    "target": {"amount": 2, "unit": "business_days"},
    "in_business_time": True,
    "clauses": ["L1", "L3", "L16"],
    "started_at": "2026-04-02T12:00:00.000000Z",
    "due_at": "2026-04-08T12:00:00.000000Z",
    "ended_at": None,
    "state": "running",
    "reason": None,
    "policy_version": "2026.1@a",
    "calendar": "berlin-office@b",
    "zone": "Europe/Berlin",
    "length_seconds": 57600.0,
    "counted_seconds": 57600.0,
    "stretches": [
        stretch("04-02T12:00:00", "04-02T15:00:00", "counted", 10800.0),
        stretch("04-02T15:00:00", "04-02T22:00:00", "night", 25200.0),
        stretch("04-02T22:00:00", "04-03T22:00:00", "holiday", 86400.0, name="Good Friday"),
        stretch("04-03T22:00:00", "04-05T22:00:00", "weekend", 172800.0),
        stretch("04-05T22:00:00", "04-06T22:00:00", "holiday", 86400.0, name="Easter Monday"),
        stretch("04-06T22:00:00", "04-07T07:00:00", "night", 32400.0),
        stretch("04-07T07:00:00", "04-07T15:00:00", "counted", 28800.0),
        stretch("04-07T15:00:00", "04-08T07:00:00", "night", 57600.0),
        stretch("04-08T07:00:00", "04-08T12:00:00", "counted", 18000.0),
    ],
    "moves": [],
}
PAUSED = CLOCK | {
    "cycle": 2,
    "state": "met",
    "ended_at": "2026-03-02T15:00:00.000000Z",
    "due_at": "2026-03-02T15:30:00.500000Z",
    "length_seconds": 5400.5,
    "counted_seconds": 5400.5,
    "stretches": [
        stretch("03-02T13:00:00", "03-02T14:00:00", "counted", 3600.0),
        stretch("03-02T14:00:00", "03-02T15:00:00", "paused", 3600.0, begun_by="e-1", ended_by="e-2"),
        stretch("03-02T15:00:00", "03-02T15:30:00.500000", "counted", 1800.5),
    ],
    "moves": [
        {
            "turn": "resumed",
            "at": "2026-03-02T15:00:00.000000Z",
            "from": "2026-03-02T14:30:00.500000Z",
            "to": "2026-03-02T15:30:00.500000Z",
            "clause": "L9",
            "because": "e-2",
            "fact": "customer_wrote",
        }
    ],
}


def clocks_at(**services: str) -> Clocks:
    installed = {name.replace("_", "-"): url for name, url in services.items()}
    return Clocks(Installation(kafka="127.0.0.1:9", api_key=SecretStr("a-key"), services=installed))


def test_a_clock_is_told_stretch_by_stretch_in_the_time_of_its_calendar(sla_monitor: Answering) -> None:
    """HD-08: the skipped days by name, with the version of the calendar (L15)."""
    sla_monitor.answers({"ticket_id": "T-1", "clocks": [CLOCK]})
    assert list(clocks_at(sla_monitor=sla_monitor.url).explain("T-1")) == [
        "resolution 1: 2 business_days, by L1, L3, L16",
        "  running, due Wed 2026-04-08 14:00",
        "  policy 2026.1@a, calendar berlin-office@b, times of Europe/Berlin",
        "  Thu 2026-04-02 14:00 - 17:00                   3:00:00  counted",
        "  Thu 2026-04-02 17:00 - Fri 2026-04-03 00:00    7:00:00  night",
        "  Fri 2026-04-03                                24:00:00  holiday Good Friday",
        "  Sat 2026-04-04 - Sun 2026-04-05               48:00:00  weekend",
        "  Mon 2026-04-06                                24:00:00  holiday Easter Monday",
        "  Tue 2026-04-07 00:00 - 09:00                   9:00:00  night",
        "  Tue 2026-04-07 09:00 - 17:00                   8:00:00  counted",
        "  Tue 2026-04-07 17:00 - Wed 2026-04-08 09:00   16:00:00  night",
        "  Wed 2026-04-08 09:00 - 14:00                   5:00:00  counted",
        "  counted                                       16:00:00  of 16:00:00",
    ]
    assert sla_monitor.asked == [("GET", "/v1/tickets/T-1/clocks/explain", "Bearer a-key", None)]


def test_a_pause_and_a_move_name_their_events(sla_monitor: Answering) -> None:
    """Seconds and their parts where there are any (L9, L15)."""
    sla_monitor.answers({"ticket_id": "T-1", "clocks": [PAUSED]})
    told = list(clocks_at(sla_monitor=sla_monitor.url).explain("T-1"))
    assert told[1] == "  met, due Mon 2026-03-02 16:30:00.500000, ended Mon 2026-03-02 16:00"
    assert told[4].split("  ")[-1] == "paused by e-1 until e-2"
    assert told[6].split() == ["counted", "1:30:00.500000", "of", "1:30:00.500000"]
    assert told[7:] == [
        "  Mon 2026-03-02 16:00 resumed: due Mon 2026-03-02 15:30:00.500000 -> Mon 2026-03-02 16:30:00.500000, "
        "by L9, customer_wrote, e-2"
    ]


@pytest.mark.parametrize(("ticket_id", "path"), [("a/b", "a%2Fb"), ("a?b#c", "a%3Fb%23c"), ("ü 1", "%C3%BC%201")])
def test_a_ticket_without_clocks_is_said_so(sla_monitor: Answering, ticket_id: str, path: str) -> None:
    """Asked for by its own id; why there are none is not told (L6, L16)."""
    sla_monitor.answers({"ticket_id": ticket_id, "clocks": []})
    assert list(clocks_at(sla_monitor=sla_monitor.url).explain(ticket_id)) == ["no clocks"]
    assert [asked for _, asked, *_ in sla_monitor.asked] == [f"/v1/tickets/{path}/clocks/explain"]


def test_a_refusal_is_a_sentence(sla_monitor: Answering) -> None:
    """As of every service."""
    sla_monitor.answers({"title": "There is nothing here"}, 404)
    with pytest.raises(Unanswered, match=r"^sla-monitor answered 404: There is nothing here$"):
        list(clocks_at(sla_monitor=sla_monitor.url).explain("T-1"))


def supportctl_explain(**services: str) -> tuple[int, list[str], list[str]]:
    installed = {
        "SUPPORT_ENDPOINTS": "/nowhere/endpoints.json",
        "SUPPORT_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
        "SUPPORT_API_KEY": "a-key",
        "SUPPORT_SERVICE_URLS": json.dumps({name.replace("_", "-"): url for name, url in services.items()}),
    }
    result = CliRunner().invoke(app, ["explain", "T-1"], env=installed)
    return result.exit_code, result.stdout.splitlines(), result.stderr.splitlines()


DECISION = {
    "type": "com.storytailor.support.routing.assigned.v1",
    "occurred_at": "2026-04-02T12:00:00.000000Z",
    "team": "finance",
    "level": 2,
    "clauses": ["C2"],
}


def test_the_clocks_are_told_after_the_decisions(router: Answering, sla_monitor: Answering) -> None:
    """R8, then L15."""
    router.answers({"ticket_id": "T-1", "decisions": [{"decision": DECISION, "explanation": None}]})
    sla_monitor.answers({"ticket_id": "T-1", "clocks": [CLOCK]})
    status, told, failures = supportctl_explain(router=router.url, sla_monitor=sla_monitor.url)
    assert (status, failures) == (0, [])
    assert told[0] == "2026-04-02T12:00:00.000000Z  assigned: finance, level 2, by C2"
    assert told[2] == "resolution 1: 2 business_days, by L1, L3, L16"


def test_one_service_that_is_away_does_not_silence_the_other(router: Answering, sla_monitor: Answering) -> None:
    """A sentence on standard error stands for it."""
    router.answers({"title": "This key may not do that"}, 403)
    sla_monitor.answers({"ticket_id": "T-1", "clocks": []})
    assert supportctl_explain(router=router.url, sla_monitor=sla_monitor.url) == (
        0,
        ["no clocks"],
        ["router answered 403: This key may not do that"],
    )
    router.answers({"ticket_id": "T-1", "decisions": []})
    assert supportctl_explain(router=router.url) == (0, [], ["there is no address for sla-monitor"])


def test_nobody_who_answers_is_a_failure() -> None:
    """Exit status 1, and a sentence for each."""
    assert supportctl_explain() == (
        1,
        [],
        ["there is no address for router", "there is no address for sla-monitor"],
    )
