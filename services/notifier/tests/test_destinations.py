"""One destination in trouble does not hold up the others, and is itself spared (SN-12, SN-58)."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from notifier.domain.notification import Channel as Way
from notifier.domain.retry import Outcome, SendResult
from notifier.senders import Message
from notifier.senders.destinations import Allowance, Channels, Destinations
from shared.testing.time import FakeNow

SOON = timedelta(seconds=5)
ACCEPTED = SendResult(Outcome.ACCEPTED, "ok")
FAILED = SendResult(Outcome.TRANSIENT, "500")


class Channel:
    """Answers what it was told to, and hangs for the recipients that it was told to."""

    def __init__(self) -> None:
        self.results: dict[str, SendResult] = {}
        self.hangs: set[str] = set()
        self.asked: list[str] = []

    async def send(self, message: Message, *, within: timedelta) -> SendResult:
        self.asked.append(message.recipient)
        if message.recipient in self.hangs:
            await asyncio.sleep(within.total_seconds())
        return self.results.get(message.recipient, ACCEPTED)

    async def close(self) -> None:
        pass


@pytest.fixture
def now() -> FakeNow:
    return FakeNow()


@pytest.fixture
def channel() -> Channel:
    return Channel()


def to(recipient: str) -> Message:
    at = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)
    return Message(id="m", thread="t", recipient=recipient, subject="s", body="b", written_at=at, destination=recipient)


async def test_a_destination_that_asks_to_be_left_alone_is_left_alone(channel: Channel, now: FakeNow) -> None:
    """SN-12: no call for 30 s, also not for another message; the next one after that goes out."""
    spared = Destinations(channel, Allowance(at_once=4), now, places=1_000)
    channel.results["a"] = SendResult(Outcome.TRANSIENT, "429", timedelta(seconds=30))
    await spared.send(to("a"), within=SOON)
    channel.results.clear()
    now.advance(seconds=29)
    deferred = await spared.send(to("a"), within=SOON)
    assert (deferred.outcome, deferred.retry_after) == (Outcome.DEFERRED, timedelta(seconds=1))
    assert (await spared.send(to("b"), within=SOON)).outcome is Outcome.ACCEPTED
    now.advance(seconds=1)
    assert (await spared.send(to("a"), within=SOON)).outcome is Outcome.ACCEPTED
    assert channel.asked == ["a", "b", "a"]


async def test_what_was_asked_for_is_remembered_however_long_it_is(channel: Channel, now: FakeNow) -> None:
    """SN-12: an hour is an hour, whatever goes out to others meanwhile; what only was unused is forgotten."""
    spared = Destinations(channel, Allowance(at_once=4), now, places=1_000)
    channel.results["a"] = SendResult(Outcome.TRANSIENT, "429", timedelta(hours=1))
    await spared.send(to("a"), within=SOON)
    await spared.send(to("b"), within=SOON)
    now.advance(seconds=3_599)
    await spared.send(to("c"), within=SOON)
    assert spared.busy() == ["a"]
    assert list(spared._known) == ["a", "c"]
    assert (await spared.send(to("a"), within=SOON)).retry_after == timedelta(seconds=1)


async def test_a_destination_that_keeps_failing_gets_a_pause(channel: Channel, now: FakeNow) -> None:
    """Then one message tries it again; an answer, also a final no, ends the trouble."""
    spared = Destinations(channel, Allowance(at_once=4, opens_after=2), now, places=1_000)
    channel.results["a"] = FAILED
    outcomes = [(await spared.send(to("a"), within=SOON)).outcome for _ in range(3)]
    assert outcomes == [Outcome.TRANSIENT, Outcome.TRANSIENT, Outcome.DEFERRED]
    now.advance(seconds=15)
    channel.results["a"] = SendResult(Outcome.PERMANENT, "404")
    assert (await spared.send(to("a"), within=SOON)).outcome is Outcome.PERMANENT
    channel.results["a"] = FAILED
    assert (await spared.send(to("a"), within=SOON)).outcome is Outcome.TRANSIENT
    assert (await spared.send(to("a"), within=SOON)).outcome is Outcome.TRANSIENT


async def test_the_pace_of_a_destination_is_kept(channel: Channel, now: FakeNow) -> None:
    """SN-12: one message a second to one Slack channel, whatever the others do."""
    spared = Destinations(channel, Allowance(at_once=4, per_second=1), now, places=1_000)
    assert (await spared.send(to("a"), within=SOON)).outcome is Outcome.ACCEPTED
    now.advance(milliseconds=400)
    deferred = await spared.send(to("a"), within=SOON)
    assert (deferred.outcome, deferred.retry_after) == (Outcome.DEFERRED, timedelta(milliseconds=600))
    assert (await spared.send(to("b"), within=SOON)).outcome is Outcome.ACCEPTED
    now.advance(milliseconds=600)
    assert (await spared.send(to("a"), within=SOON)).outcome is Outcome.ACCEPTED


async def test_a_thousand_hanging_calls_take_no_place_of_another_destination(channel: Channel, now: FakeNow) -> None:
    """SN-58: places are by destination; what finds none comes back later and was not tried."""
    spared = Destinations(channel, Allowance(at_once=8), now, places=1_000)
    channel.hangs.add("dead")
    hanging = [asyncio.create_task(spared.send(to("dead"), within=timedelta(seconds=0.3))) for _ in range(1_000)]
    await asyncio.sleep(0)
    results = await asyncio.gather(*(spared.send(to(f"alive-{number}"), within=SOON) for number in range(100)))
    assert {one.outcome for one in results} == {Outcome.ACCEPTED}
    assert not any(one.done() and one.result().outcome is Outcome.ACCEPTED for one in hanging)
    outcomes = [one.outcome for one in await asyncio.gather(*hanging)]
    assert (outcomes.count(Outcome.ACCEPTED), outcomes.count(Outcome.DEFERRED)) == (8, 992)


async def test_recipients_may_share_a_destination(channel: Channel, now: FakeNow) -> None:
    """All mail goes to one server."""
    spared = Destinations(channel, Allowance(at_once=4, per_second=1), now, places=4)
    one, another = (replace(to(recipient), destination="email") for recipient in "ab")
    assert (await spared.send(one, within=SOON)).outcome is Outcome.ACCEPTED
    assert (await spared.send(another, within=SOON)).outcome is Outcome.DEFERRED
    assert spared.busy() == ["email"]


async def test_an_answer_about_one_mailbox_says_nothing_of_the_others(channel: Channel, now: FakeNow) -> None:
    """A mailbox that is full, or greylists, is no trouble of the mail server's."""
    spared = Destinations(channel, Allowance(at_once=4, opens_after=2), now, places=4)
    channel.results["full"] = SendResult(Outcome.TRANSIENT, "smtp_452", of_message=True)
    full, well = (replace(to(recipient), destination="email") for recipient in ("full", "well"))
    for _ in range(5):
        assert (await spared.send(full, within=SOON)).outcome is Outcome.TRANSIENT
    assert (await spared.send(well, within=SOON)).outcome is Outcome.ACCEPTED


async def test_a_channel_that_this_deployment_does_not_have_fails_for_good(channel: Channel, now: FakeNow) -> None:
    """So that a page for it goes another way (invariant 27)."""
    channels = Channels({Way.EMAIL: Destinations(channel, Allowance(at_once=4), now, places=4)})
    assert channels.places[Way.WEBHOOK] > 0
    result = await channels.send(replace(to("a"), channel=Way.WEBHOOK), within=SOON)
    assert (result.outcome, channel.asked) == (Outcome.PERMANENT, [])
    assert (await channels.send(to("a"), within=SOON)).outcome is Outcome.ACCEPTED
