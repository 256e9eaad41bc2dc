"""What `apprise` reaches, by the real package against a real HTTP server on loopback; and the service without the package."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import yaml
from http_room import HttpRoom, answer, http_room
from test_settings import settings

from notifier.app import build
from notifier.domain.retry import Outcome
from notifier.senders import Message
from notifier.senders.apprise import AppriseSender, is_installed
from shared.directory import InvalidDirectory
from shared.messaging.kafka import Kafka
from shared.runtime.database import Database
from shared.runtime.now import machine_now

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")

SOON, AT_ONCE = timedelta(seconds=10), timedelta(seconds=0.2)


@pytest.fixture
async def room() -> AsyncIterator[HttpRoom]:
    async with http_room() as one:
        yield one


@pytest.fixture
async def sender() -> AsyncIterator[AppriseSender]:
    one = AppriseSender()
    yield one
    await one.close()


def to(url: str) -> Message:
    return Message(
        id="0f7c1f4e",
        thread="thread",
        recipient=url.replace("http://", "json://"),
        subject="[SI-0A1B2C3D] Action needed now",
        body="",
        written_at=datetime(2026, 3, 3, 15, 0, tzinfo=UTC),
    )


async def test_it_is_handed_the_line_and_nothing_else(room: HttpRoom, sender: AppriseSender) -> None:
    """What rings on a phone says constants and the reference (invariant 30)."""
    assert (await sender.send(to(room.url), within=SOON)).outcome is Outcome.ACCEPTED
    said = json.loads(room.asked[0].body)
    assert (said["title"], said["message"]) == ("", "[SI-0A1B2C3D] Action needed now")


async def test_a_no_can_be_tried_again_and_an_address_it_cannot_read_never(
    room: HttpRoom, sender: AppriseSender, caplog: pytest.LogCaptureFixture
) -> None:
    """The package says yes or no and no more; what it would write into the log names addresses (invariant 33)."""
    room.answers = [answer(500)]
    assert (await sender.send(to(room.url), within=SOON)).outcome is Outcome.TRANSIENT
    result = await sender.send(to("canary://nobody knows"), within=SOON)
    assert (result.outcome, result.code) == (Outcome.PERMANENT, "apprise_address")
    assert "canary" not in caplog.text
    assert "127.0.0.1" not in caplog.text


async def test_a_call_that_hangs_is_cut_off_and_its_destination_not_asked_before_it_ends(
    room: HttpRoom, sender: AppriseSender
) -> None:
    """SN-58: a thread cannot be stopped, so a thousand calls take no more than one; another destination is asked meanwhile."""
    room.answers = [None]
    results = [await sender.send(to(room.url), within=AT_ONCE)]
    results += await asyncio.gather(*(sender.send(to(room.url), within=AT_ONCE) for _ in range(1_000)))
    assert [one.outcome for one in results] == [Outcome.AMBIGUOUS, *[Outcome.DEFERRED] * 1_000]
    async with http_room() as other:
        assert (await sender.send(to(other.url), within=SOON)).outcome is Outcome.ACCEPTED
    assert len(room.asked) == 1


def test_a_directory_that_needs_the_package_stops_the_start_where_it_is_missing(
    directory_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names what to install, and no address."""
    directory = yaml.safe_load(directory_file.read_text())
    channel = {"kind": "apprise", "address": "pover://canary@token", "urgent": True, "verified": True}
    directory["on_call"]["primary"] = [{"id": "kim", "channels": [channel]}]
    directory_file.write_text(yaml.safe_dump(directory))
    made, database = settings(directory_file=directory_file), Database("postgresql://d", schema="notifier")
    start = partial(build, made, now=machine_now, kafka=Kafka("k:9092"), bulk=database, urgent=database)
    assert is_installed()
    assert start()
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(InvalidDirectory, match=r"kim: .*notifier\[apprise\]") as refused:
        start()
    assert "canary" not in str(refused.value)
