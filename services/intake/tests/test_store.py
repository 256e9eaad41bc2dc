"""Which posts are new, on a real database, also when several replicas are asked at once."""

import asyncio
from typing import Any

import pytest

from intake.settings import IntakeSettings
from shared.errors import TransientFailure


async def test_replicas_accept_an_event_once(intake: Any, replica: Any) -> None:
    """The second insert waits for the first; whoever is later answers `duplicate` (design 4)."""
    both = [
        service.post("/v1/events", service.event(event_id=f"e-{n}")) for n in range(50) for service in (intake, replica)
    ]
    answers = [answer.json() for answer in await asyncio.gather(*both)]
    assert sorted(answer["duplicate"] for answer in answers) == [False] * 50 + [True] * 50
    assert len(await intake.left()) == 50


async def test_requests_that_wait_together_settle_among_themselves(intake: Any) -> None:
    """The same id twice in one commit: the first is new, the second is a duplicate or a conflict (design 3.3)."""
    bodies = ["one", "one", "two"]
    answers = await asyncio.gather(*(intake.post("/v1/events", intake.event(body=body)) for body in bodies))
    assert [answer.status_code for answer in answers] == [202, 202, 409]
    assert [answer.json().get("duplicate") for answer in answers] == [False, True, None]
    assert [left.data["body"] for left in await intake.left()] == ["one"]


async def test_nothing_is_accepted_while_the_database_is_away(away: Any) -> None:
    """503 with `Retry-After`; the fast lane too when Kafka is away as well."""
    for path in ("/v1/events", "/v1/tickets", "/v1/safety/events"):
        answer = await away.post(path, {**away.event()["data"]}, "application/json", headers=_attributes(away))
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")
        assert int(answer.headers["retry-after"]) > 0


async def test_nothing_is_accepted_before_the_tables_are_there(intake: Any) -> None:
    """The service answers from its first moment on, and says that it is not ready."""
    intake.app.api.state.started = False
    answer = await intake.post("/v1/events", intake.event())
    assert answer.status_code == 503


async def test_the_database_that_is_away_shows_in_its_part(away: Any) -> None:
    """Not ready with the database away (design 3.3)."""
    [forgetting] = [part for part in away.app.parts if part.name == "forget"]
    with pytest.raises(TransientFailure):
        await forgetting._look()


def test_a_bad_setting_is_named(settings: Any) -> None:
    """The window has a length (design 3.4)."""
    with pytest.raises(ValueError, match="intake_max_age_days"):
        settings(intake_max_age_days=0)
    assert isinstance(settings(), IntakeSettings)


def _attributes(service: Any) -> dict[str, str]:
    return {f"ce-{name}": value for name, value in service.event().items() if name != "data"}
