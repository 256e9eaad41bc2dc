"""What `supportctl` shows of records."""

import json
from datetime import timedelta
from typing import Any

from console.timeline import line_of, timeline
from shared.events.envelope import Record
from shared.testing.builders import AT, headers_of


def a_record(data: Any, fact: str = "support.routing.assigned", *, key: str = "T-1", minute: int = 0) -> Record:
    value = data if isinstance(data, bytes) else json.dumps(data).encode()
    headers = tuple(headers_of(f"com.storytailor.{fact}.v1", "e-1"))
    return Record("support.routing.v1", 0, 0, AT + timedelta(minutes=minute), key.encode(), value, headers)


def test_a_line_shows_codes_and_never_words() -> None:
    """Only listed fields have a place in it: a subject or a name cannot slip through (S5)."""
    line = line_of(a_record({"ticket_id": "T-1", "team": "legal", "level": 3, "subject": "My secret", "body": "words"}))
    assert line.detail == "team=legal level=3"
    assert line.fact == "routing.assigned"


def test_what_cannot_be_read_is_shown_as_such() -> None:
    assert line_of(a_record(b"\xff{")).detail == ""
    assert line_of(a_record(b'{"a":' * 50_000)).detail == ""
    assert line_of(Record("t", 0, 0, AT, b"\xff", b"", ())).fact == "?"


def test_a_timeline_holds_the_ticket_and_its_incidents_in_order() -> None:
    """A ticket's safety incident is keyed by its own reference; the timeline still finds all of it."""
    opened = a_record(
        {"incident_ref": "SI-1", "ticket_id": "T-1"}, "support.safety.incident_opened", key="SI-1", minute=1
    )
    paged = a_record({"incident_ref": "SI-1"}, "support.safety.page_requested", key="SI-1", minute=2)
    other = a_record({"incident_ref": "SI-2"}, "support.safety.page_requested", key="SI-2", minute=2)
    first = a_record({"ticket_id": "T-1"}, minute=0)
    found = timeline("T-1", [paged, other, opened, first])
    assert [line.fact for line in found] == ["routing.assigned", "safety.incident_opened", "safety.page_requested"]
