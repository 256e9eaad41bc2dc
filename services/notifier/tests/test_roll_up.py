"""Pages in a storm: each person gets a bounded number, each lane its own, and nothing is acknowledged by a roll-up (4.8)."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.domain.notification import Channel
from notifier.domain.roll_up import EVERY_MINUTE, NAMED, ONE_BY_ONE, ONE_BY_ONE_WITHIN, Pace, Stream
from notifier.senders.destinations import Allowance, Channels, Destinations
from notifier.senders.email import EmailSender
from notifier.settings import SmtpServer, mailbox
from notifier.timers import Deliveries
from shared.testing.time import FakeNow

START = FakeNow()()
LANES = ("crisis", "mandatory_report", "high", "medium", "low")
References = Callable[[int], list[str]]


def refs(count: int) -> list[str]:
    return [f"SI-{number:08d}" for number in range(count)]


@given(st.lists(st.integers(0, 90), min_size=1, max_size=400), st.sampled_from(LANES))
def test_a_person_gets_few_messages_however_pages_come(pauses: list[int], lane: str) -> None:
    """SN-30: never more than five one by one in five minutes, never two roll-ups within their interval, and no page is
    without one or the other."""
    pace, now = Pace(Stream("pat", lane, "live")), START
    one_by_one: list[datetime] = []
    roll_ups: list[datetime] = []
    for pause in pauses:
        now += timedelta(seconds=pause)
        if pace.roll_up_at is not None and pace.roll_up_at <= now:
            roll_ups.append(pace.roll_up_at)
            pace = pace.rolled_up(pace.roll_up_at)
        pace = pace.paged(now)
        if pace.roll_up_at is None:
            one_by_one.append(now)
        else:
            assert now <= pace.roll_up_at <= now + pace.stream.rate.every
    assert one_by_one[0] == START + timedelta(seconds=pauses[0])
    for at in one_by_one:
        assert sum(at - ONE_BY_ONE_WITHIN < other <= at for other in one_by_one) <= ONE_BY_ONE
    every = timedelta(minutes=1 if lane in EVERY_MINUTE else 5)
    assert all(later - earlier >= every for earlier, later in pairwise(roll_ups))


def test_whoever_has_heard_nothing_for_a_minute_is_told_at_once() -> None:
    """The ceiling delays nothing then (4.5)."""
    pace = Pace(Stream("pat", "crisis", "live"))
    for _ in range(ONE_BY_ONE):
        pace = pace.paged(START)
    later = START + timedelta(seconds=90)
    assert pace.paged(later).roll_up_at == later


@pytest.fixture
async def send(room, smtp_port: int, replica, now) -> AsyncIterator[Callable[[], Any]]:
    """Lets the replica's pages leave by a real mail server."""
    sender = EmailSender(SmtpServer("127.0.0.1", smtp_port), mailbox("S <s@storytailor.example>"), None, connections=8)
    mail = Destinations(sender, Allowance(at_once=8), now, places=8)
    pages = Deliveries(replica.units, Channels({Channel.EMAIL: mail}), urgent=True)

    async def look() -> None:
        more = True
        while more or pages._under_way:
            more = await pages.look()
            await asyncio.gather(*pages._under_way)
        await pages.look()

    yield look
    await sender.close()


def mails_to(room, person: str) -> list[tuple[str, str]]:
    found = []
    for envelope in room.taken:
        if envelope.rcpt_tos == [f"{person}@staff.example"]:
            text = envelope.content.decode().replace("\r\n", "\n")
            found.append((re.findall(r"^Subject: (.*)$", text, re.MULTILINE)[0], text.split("\n\n", 1)[1]))
    return found


async def test_a_storm_becomes_five_pages_and_a_roll_up(replica, room, send, now, say) -> None:
    """SN-30: 60 incidents at once, by a real mail server. What was rolled up is superseded and names what covered it."""
    await replica.hear(*(say.paged(ref, roles=["primary"]) for ref in refs(60)))
    await send()
    assert {subject for subject, _ in mails_to(room, "pat")} == {f"[{ref}] Action needed now" for ref in refs(5)}
    now.advance(seconds=61)
    await send()
    *_, (subject, body) = mails_to(room, "pat")
    assert len(mails_to(room, "pat")) == 6
    assert subject == "[SI] Action needed now"
    assert "not paged to you one by one: 55 (55 critical)" in body
    assert "Oldest: paged 1 min ago" in body
    assert re.findall(r"SI-\d{8}", body) == refs(60)[5 : 5 + NAMED]
    assert "https://incidents.example/open" in body
    rows = await replica.rows("select state, reason, document from notification where rolled_up_in is not null")
    roll_up = await replica.value("select id from notification where incident_ref is null")
    assert [(row["state"], row["reason"]) for row in rows] == [("superseded", "rolled_up")] * 55
    assert all(f'"covered_by":"{roll_up}"'.encode() in row["document"] for row in rows)
    now.advance(seconds=600)
    await send()
    assert len(mails_to(room, "pat")) == 6


async def test_lanes_and_modes_are_rolled_up_apart(replica, room, send, now, say) -> None:
    """SN-30: a report among crises is paged at once on its own lane; a drill hides nothing and is hidden by nothing."""
    await replica.hear(*(say.paged(ref, roles=["primary"]) for ref in refs(30)))
    await send()
    await replica.hear(say.paged("SI-RRRRRRRR", roles=["primary"], lane="mandatory_report", severity_working="high"))
    await replica.hear(*(say.paged(f"SI-DDDDDD0{n}", roles=["primary"], mode="drill") for n in range(7)))
    await send()
    subjects = sorted(subject for subject, _ in mails_to(room, "pat")[5:])
    drills = [f"DRILL [SI-DDDDDD0{n}] Action needed now" for n in range(5)]
    assert subjects == [*drills, "[SI-RRRRRRRR] Action needed now"]
    now.advance(seconds=61)
    await send()
    live, drill = sorted(mails_to(room, "pat")[11:], reverse=True)
    assert (live[0], drill[0]) == ("[SI] Action needed now", "DRILL [SI] Action needed now")
    assert "25 (25 critical)" in live[1]
    assert "2 (2 critical)" in drill[1]
    assert "SI-R" not in live[1] + drill[1]
    assert "DDD" not in live[1]


async def test_what_is_acknowledged_before_the_roll_up_goes_out_is_not_in_it(replica, room, send, now, say) -> None:
    """Counted from the rows when it is sent (2.13 of the failures: never by linking jobs)."""
    await replica.hear(*(say.paged(ref, roles=["primary"]) for ref in refs(8)))
    await replica.hear(say.acknowledged(refs(8)[5]), say.acknowledged(refs(8)[6]))
    now.advance(seconds=61)
    await send()
    (body,) = [body for subject, body in mails_to(room, "pat") if subject == "[SI] Action needed now"]
    assert re.findall(r"SI-\d{8}", body) == [refs(8)[7]]


async def test_a_roll_up_of_nothing_is_not_sent(replica, room, send, now, say) -> None:
    await replica.hear(*(say.paged(ref, roles=["primary"]) for ref in refs(6)))
    await replica.hear(say.acknowledged(refs(6)[5]))
    now.advance(seconds=61)
    await send()
    assert len(mails_to(room, "pat")) == 5
    await replica.hear(say.paged("SI-99999999", roles=["primary"]))
    await send()
    assert len(mails_to(room, "pat")) == 6


async def test_a_roll_up_acknowledges_nothing(replica, room, send, now, say) -> None:
    """SN-31: a rolled-up incident that is paged again is told again; what else happens to it is its own."""
    await replica.hear(*(say.paged(ref, roles=["primary"]) for ref in refs(7)))
    now.advance(seconds=61)
    await send()
    await replica.hear(say.paged(refs(7)[6], roles=["primary"], step=1))
    now.advance(seconds=61)
    await send()
    roll_ups = [body for subject, body in mails_to(room, "pat") if subject == "[SI] Action needed now"]
    assert [re.findall(r"SI-\d{8}", body) for body in roll_ups] == [refs(7)[5:], refs(7)[6:]]


async def test_a_repeated_request_changes_no_pace_and_makes_no_second_roll_up(replica, room, send, now, say) -> None:
    """Idempotent by person, lane and window (4.8)."""
    pages = [say.paged(ref, roles=["primary"]) for ref in refs(8)]
    await replica.hear(*pages)
    await replica.hear(*pages)
    now.advance(seconds=61)
    await send()
    await replica.hear(*pages)
    now.advance(seconds=61)
    await send()
    assert len(mails_to(room, "pat")) == 6
