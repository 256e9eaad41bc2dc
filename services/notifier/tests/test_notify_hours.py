"""Warnings keep the notify hours and are said together where there are many; breaches and safety never wait (T6, L10).

The notify hours of the policy are those of New York, Monday to Friday from 08:00 to 18:00.
"""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifier.domain.roll_up import NAMED, ONE_BY_ONE
from shared.events.envelope import rfc3339
from shared.events.sla import SlaCancelled, SlaFulfilledLate, SlaMet, SlaPaused, SlaResumed, SlaRetargeted

SATURDAY_23H = datetime(2026, 3, 8, 4, tzinfo=UTC)
MONDAY_8H = datetime(2026, 3, 9, 12, tzinfo=UTC)
LATER = rfc3339(MONDAY_8H + timedelta(days=9))
DIGEST = "Several targets are coming near"
WARNING = "A target is coming near"


def digests(replica: Any) -> list[str]:
    return [message.body for message in replica.post.given if message.subject == DIGEST]


def lines(body: str) -> list[str]:
    return [line for line in body.splitlines() if line.startswith("Ticket ")]


@pytest.fixture
def warn(replica, say) -> Callable[..., Awaitable[None]]:
    """So many tickets of the finance team are routed and warned about."""

    async def warn(count: int, *, first: int = 0, **data: Any) -> None:
        for number in range(first, first + count):
            await replica.hear(say.assigned(ticket_id=f"T-{number}", team="finance"))
            await replica.hear(say.warned(f"T-{number}", **({"due_at": LATER} | data)))
        await replica.deliver()

    return warn


async def test_at_the_weekend_a_breach_and_a_page_go_out_at_once_and_a_warning_on_monday(
    replica, now, say, warn
) -> None:
    """HD-45: a breach of Saturday at 23:00 has that time in its mail and its event, and is told at once, as T6 has it; the
    warning's own time is not moved either."""
    now.set(SATURDAY_23H)
    await warn(1)
    await replica.hear(say.breached("T-0", milestone="resolution", due_at=rfc3339(SATURDAY_23H)))
    await replica.hear(say.paged(roles=["primary"]))
    await replica.deliver()
    subjects = [message.subject for message in replica.post.given]
    assert subjects.count("[Ticket #T-0] A target was missed") == 2
    assert "[SI-0A1B2C3D] Action needed now" in subjects
    (missed, _) = (message for message in replica.post.given if "missed" in message.subject)
    assert "Was due: 2026-03-08 04:00 UTC" in missed.body
    assert await replica.states("T-0") == {"team_assigned": "sent", "sla_warning": "queued", "sla_breached": "sent"}
    now.set(MONDAY_8H - timedelta(seconds=1))
    await replica.deliver()
    assert digests(replica) == []
    now.set(MONDAY_8H)
    await replica.deliver()
    await replica.deliver()
    (digest,) = digests(replica)
    assert lines(digest) == ["Ticket T-0: initial response, 75% used, due 2026-03-18 12:00 UTC"]
    assert (await replica.states("T-0"))["sla_warning"] == "superseded"


async def test_a_weekends_warnings_are_one_mail_to_each_team(replica, now, say, warn) -> None:
    """However they are spread over it; computed when it goes out (T6)."""
    for hours in range(40):
        now.set(SATURDAY_23H - timedelta(hours=20) + timedelta(hours=hours))
        await warn(1, first=hours)
    await replica.hear(say.assigned(ticket_id="T-99", team="content"), say.warned("T-99", due_at=LATER))
    await replica.hear(say.moved(SlaMet, "T-7", state="met"))
    now.set(MONDAY_8H)
    for _ in range(3):
        await replica.deliver()
    content, finance = sorted(digests(replica), key=len)
    assert lines(content) == ["Ticket T-99: initial response, 75% used, due 2026-03-18 12:00 UTC"]
    assert len(lines(finance)) == NAMED
    assert finance.strip().endswith(f"and {40 - 1 - NAMED} more")
    assert "Ticket T-7:" not in finance
    rows = await replica.rows("select reason, document from notification where rolled_up_in is not null")
    assert sorted(row["reason"] for row in rows) == ["outdated"] + ["rolled_up"] * 40
    told = [json.loads(row["document"])["covered_by"] for row in rows if row["reason"] == "rolled_up"]
    assert len(set(told)) == 2
    assert None not in told


async def test_in_a_rush_a_team_gets_a_few_warnings_and_then_one_digest_an_hour(replica, now, say, warn) -> None:
    """Idempotent by team and hour (T6)."""
    await warn(12)
    for _ in range(2):
        await replica.hear(say.warned("T-11", due_at=LATER))
        await replica.deliver()
    one_by_one = [message for message in replica.post.given if WARNING in message.subject]
    assert len(one_by_one) == ONE_BY_ONE
    assert digests(replica) == []
    now.advance(minutes=30)
    await warn(3, first=12)
    now.advance(minutes=30)
    for _ in range(3):
        await replica.deliver()
    (digest,) = digests(replica)
    assert len(lines(digest)) == 10
    now.advance(hours=2)
    await warn(1, first=20)
    assert len([message for message in replica.post.given if WARNING in message.subject]) == ONE_BY_ONE + 1
    assert len(digests(replica)) == 1


@pytest.mark.parametrize("moved", [SlaMet, SlaFulfilledLate, SlaCancelled, SlaPaused, SlaResumed, SlaRetargeted])
async def test_what_no_longer_holds_at_the_opening_is_not_told(replica, now, say, warn, moved: type) -> None:
    """A digest of nothing is not sent (T6)."""
    now.set(SATURDAY_23H)
    await warn(1)
    await replica.hear(say.moved(moved, "T-0"))
    assert (await replica.states("T-0"))["sla_warning"] == "superseded"
    now.set(MONDAY_8H)
    for _ in range(2):
        await replica.deliver()
    assert digests(replica) == []
    await warn(1, first=1)
    assert [message.subject for message in replica.post.given if WARNING in message.subject] == [
        "[Ticket #T-1] A target is coming near"
    ]


async def test_another_clock_of_the_ticket_takes_nothing_back(replica, now, say, warn) -> None:
    """(L10)"""
    now.set(SATURDAY_23H)
    await warn(1)
    await replica.hear(say.moved(SlaMet, "T-0", milestone="resolution"), say.moved(SlaMet, "T-0", cycle=2))
    assert (await replica.states("T-0"))["sla_warning"] == "queued"


async def test_of_one_clock_the_latest_warning_is_told(replica, now, say, warn) -> None:
    """Thresholds that passed in the night are one line (L10, T6)."""
    now.set(SATURDAY_23H)
    await warn(1)
    await replica.hear(say.warned("T-0", threshold=0.9, due_at=LATER))
    now.set(MONDAY_8H)
    for _ in range(2):
        await replica.deliver()
    (digest,) = digests(replica)
    assert lines(digest) == ["Ticket T-0: initial response, 90% used, due 2026-03-18 12:00 UTC"]


async def test_a_warning_that_is_due_before_the_opening_is_not_told_with_the_others(replica, now, say, warn) -> None:
    """Its breach is told at once; it has expired (L10, T6)."""
    now.set(SATURDAY_23H)
    await warn(1, due_at=rfc3339(SATURDAY_23H + timedelta(hours=3)))
    await warn(1, first=1)
    now.set(MONDAY_8H)
    for _ in range(2):
        await replica.deliver()
    (digest,) = digests(replica)
    assert lines(digest) == ["Ticket T-1: initial response, 75% used, due 2026-03-18 12:00 UTC"]
    assert (await replica.states("T-0"))["sla_warning"] == "expired"


async def test_a_second_try_of_a_digest_keeps_the_hours_and_its_words(replica, now, warn) -> None:
    """What was counted stays counted (T6)."""
    now.set(SATURDAY_23H)
    await warn(1)
    now.set(datetime(2026, 3, 9, 21, 59, 59, tzinfo=UTC))
    await replica.mails.look()
    now.advance(seconds=1)  # 18:00 in New York
    await replica.deliver()
    assert digests(replica) == []
    now.set(datetime(2026, 3, 10, 12, tzinfo=UTC))
    await replica.deliver()
    assert len(digests(replica)) == 1


async def test_the_number_of_a_ticket_adds_no_line_to_a_digest(replica, now, say) -> None:
    """SN-28: upstream's number is somebody's words."""
    now.set(SATURDAY_23H)
    await replica.hear(say.created(number="1\nTicket 2: nothing"), say.assigned("login"), say.warned(due_at=LATER))
    now.set(MONDAY_8H)
    for _ in range(2):
        await replica.deliver()
    (digest,) = digests(replica)
    assert len(lines(digest)) == 1
