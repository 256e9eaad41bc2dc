"""When a post cannot be lost any more: shared commits, and the fast lane's second way."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from intake.handlers.saving import AT_ONCE, FastLane, Gathering
from intake.store import Outcome, Post, Receipt
from shared.errors import TransientFailure
from shared.messaging.kafka import Message

NOW = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)


def a_post(name: str, *, value: bytes = b"") -> Post:
    messages = (Message("support.ticket.v1", b"T-1", (), value),)
    return Post(name.encode(), b"", name, None, known_from=NOW, messages=messages)


def receipts_of(posts: Sequence[Post], outcome: Outcome = Outcome.NEW) -> list[Receipt]:
    return [Receipt(post.event_id, None, outcome) for post in posts]


class Place:
    """Somewhere to save in: it answers when it is told to, and knows what it was given."""

    def __init__(self, outcome: Outcome = Outcome.NEW) -> None:
        self.outcome = outcome
        self.closed = False
        self.given: list[list[str]] = []
        self.failure: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.asked = asyncio.Event()

    async def close(self) -> None:
        self.closed = True

    async def save(self, posts: Sequence[Post]) -> list[Receipt]:
        self.given.append([post.event_id for post in posts])
        self.asked.set()
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return receipts_of(posts, self.outcome)


def a_lane(store: Place, kafka: Place, **options: Any) -> FastLane:
    return FastLane(store.save, kafka.save, close=kafka.close, **options)


@pytest.fixture
def store() -> Place:
    return Place(Outcome.DUPLICATE)


@pytest.fixture
def kafka() -> Place:
    return Place()


async def test_posts_that_wait_share_one_save(store: Place) -> None:
    """While one save is under way the next posts gather, and each caller gets its own receipts (design 2)."""
    save = Gathering(store.save).save
    store.open.clear()
    first = asyncio.create_task(save([a_post("a")]))
    await store.asked.wait()
    others = [asyncio.create_task(save([a_post(name), a_post(name + name)])) for name in "bc"]
    await asyncio.sleep(0)
    store.open.set()
    assert [receipt.event_id for receipt in await first] == ["a"]
    assert [[one.event_id for one in await other] for other in others] == [["b", "bb"], ["c", "cc"]]
    assert store.given == [["a"], ["b", "bb", "c", "cc"]]


async def test_one_save_takes_a_thousand_posts_at_most(store: Place) -> None:
    """A transaction stays short, whatever waits."""
    save = Gathering(store.save).save
    await asyncio.gather(*(save([a_post(str(n)) for n in range(400)]) for _ in range(5)))
    assert [len(given) for given in store.given] == [800, 800, 400]
    assert max(len(given) for given in store.given) <= AT_ONCE


async def test_more_posts_than_there_is_room_for_are_refused_at_once(store: Place) -> None:
    """503, not a request that hangs."""
    save = Gathering(store.save, room=2).save
    store.open.clear()
    under_way = asyncio.create_task(save([a_post("a")]))
    await store.asked.wait()
    waiting = asyncio.create_task(save([a_post("b"), a_post("c")]))
    await asyncio.sleep(0)
    with pytest.raises(TransientFailure):
        await save([a_post("d")])
    store.open.set()
    await asyncio.gather(under_way, waiting)
    assert len(await save([a_post("d")])) == 1


@pytest.mark.parametrize("large", [a_post("b", value=bytes(10))])
async def test_more_bytes_than_there_is_room_for_are_refused_at_once(store: Place, large: Post) -> None:
    """503: what waits for a database that is slow does not fill the memory."""
    save = Gathering(store.save, room_bytes=10).save
    store.open.clear()
    under_way = asyncio.create_task(save([large]))
    await store.asked.wait()
    waiting = asyncio.create_task(save([large]))
    await asyncio.sleep(0)
    with pytest.raises(TransientFailure):
        await save([a_post("c", value=b"1")])
    store.open.set()
    await asyncio.gather(under_way, waiting)
    assert len(await save([large])) == 1


@pytest.mark.parametrize("failure", [TransientFailure("away"), ZeroDivisionError("a bug")])
async def test_a_failed_save_is_told_to_those_who_waited_for_it(store: Place, failure: Exception) -> None:
    """The next ones are tried again."""
    save = Gathering(store.save).save
    store.failure = failure
    with pytest.raises(type(failure)):
        await save([a_post("a")])
    store.failure = None
    assert len(await save([a_post("a")])) == 1


async def test_the_fast_lane_answers_from_the_store(store: Place, kafka: Place) -> None:
    """The database knows duplicates; Kafka is not asked while it is quick (design 3.3)."""
    answer = await a_lane(store, kafka).save([a_post("a")])
    assert answer == receipts_of([a_post("a")], Outcome.DUPLICATE)
    assert kafka.given == []


async def test_the_fast_lane_answers_from_kafka_when_the_database_is_away(store: Place, kafka: Place) -> None:
    """At once, not after the hedge (design 2)."""
    store.failure = TransientFailure("away")
    answer = await a_lane(store, kafka, hedge_seconds=3600).save([a_post("a")])
    assert answer == receipts_of([a_post("a")])


async def test_the_fast_lane_answers_from_kafka_when_the_database_is_slow(store: Place, kafka: Place) -> None:
    """Either the database has committed or Kafka has acknowledged (design 2)."""
    store.open.clear()
    answer = await a_lane(store, kafka, hedge_seconds=0).save([a_post("a")])
    assert answer == receipts_of([a_post("a")])
    store.open.set()


async def test_the_fast_lane_takes_the_store_when_it_is_first_after_all(store: Place, kafka: Place) -> None:
    """Whichever succeeds first answers."""
    store.open.clear()
    kafka.open.clear()
    answer = asyncio.create_task(a_lane(store, kafka, hedge_seconds=0).save([a_post("a")]))
    await kafka.asked.wait()
    store.open.set()
    assert (await answer)[0].outcome is Outcome.DUPLICATE
    kafka.open.set()


async def test_the_fast_lane_gives_up_only_when_both_fail(store: Place, kafka: Place) -> None:
    """503: it could be lost."""
    store.failure = kafka.failure = TransientFailure("away")
    with pytest.raises(TransientFailure):
        await a_lane(store, kafka).save([a_post("a")])
