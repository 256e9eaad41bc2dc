"""When a post cannot be lost any more: many share one commit, and the fast lane has a second way past the database.

A thousand posts that wait for the disk at the same time cost as many flushes as one. The fast lane also sends its events to
Kafka itself when the database is slow or away; consumers drop the second copy by its id.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog
from prometheus_client import Counter

from intake.store import Outcome, Post, Receipt
from shared.errors import TransientFailure
from shared.messaging.kafka import Publisher

AT_ONCE = 1_000
ROOM = 10_000
ROOM_BYTES = 64 * 1024 * 1024
"""How much may wait at once; what comes then is told to try again, or goes the fast lane's other way."""
HEDGE_SECONDS = 0.25

HEDGED = Counter("support_intake_hedged_total", "Fast-lane posts sent to Kafka past a slow or absent database.")

log = structlog.get_logger()
Save = Callable[[Sequence[Post]], Coroutine[Any, Any, list[Receipt]]]


class Gathering:
    """Saves whatever waits in one go: while one save is under way, the next posts gather."""

    def __init__(self, save: Save, *, room: int = ROOM, room_bytes: int = ROOM_BYTES) -> None:
        self._save = save
        self._room = room
        self._room_bytes = room_bytes
        self._waiting: deque[tuple[Sequence[Post], asyncio.Future[list[Receipt]]]] = deque()
        self._count = 0
        self._bytes = 0
        self._working: asyncio.Task[None] | None = None

    async def save(self, posts: Sequence[Post]) -> list[Receipt]:
        """The receipts of these posts, in order; they are saved all or none.

        Raises:
            TransientFailure: they could not be saved, or too many wait already.
        """
        size = _size_of(posts)
        if self._count + len(posts) > self._room or self._bytes + size > self._room_bytes:
            raise TransientFailure("too many posts wait to be saved")
        receipts: asyncio.Future[list[Receipt]] = asyncio.get_running_loop().create_future()
        self._waiting.append((posts, receipts))
        self._count += len(posts)
        self._bytes += size
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return await receipts

    async def _work(self) -> None:
        await asyncio.sleep(0)  # the other requests of this turn of the loop come along
        while self._waiting:
            taken = self._take()
            try:
                saved = await self._save([post for posts, _ in taken for post in posts])
            except Exception as error:  # it belongs to those who wait, whatever it is
                for _, receipts in taken:
                    if not receipts.done():
                        receipts.set_exception(error)
            else:
                _hand_out(saved, taken)
        self._working = None

    def _take(self) -> list[tuple[Sequence[Post], asyncio.Future[list[Receipt]]]]:
        taken = [self._waiting.popleft()]
        count = len(taken[0][0])
        while self._waiting and count + len(self._waiting[0][0]) <= AT_ONCE:
            taken.append(self._waiting.popleft())
            count += len(taken[-1][0])
        self._count -= count
        self._bytes -= sum(_size_of(posts) for posts, _ in taken)
        return taken


def _size_of(posts: Sequence[Post]) -> int:
    """The bytes that a wait keeps in memory."""
    return sum(len(message.value) for post in posts for message in post.messages)


def _hand_out(saved: list[Receipt], taken: Sequence[tuple[Sequence[Post], asyncio.Future[list[Receipt]]]]) -> None:
    start = 0
    for posts, receipts in taken:
        if not receipts.done():  # the caller may be gone
            receipts.set_result(saved[start : start + len(posts)])
        start += len(posts)


def straight_to(publisher: Publisher) -> Save:
    """Saving in Kafka: whether the posts are known already is left to those who read them."""

    async def publish(posts: Sequence[Post]) -> list[Receipt]:
        await publisher.publish([message for post in posts for message in post.messages])
        return [Receipt(post.event_id, post.ticket_id, Outcome.NEW) for post in posts]

    return publish


class FastLane:
    """Saves in the database; where that takes longer than a moment or fails, in Kafka too. The first that succeeds answers.

    It is a part of the service only to be stopped: what is still in memory is given up, and `close` called.
    """

    name = "fast-lane"

    def __init__(
        self,
        store: Save,
        kafka: Save,
        *,
        close: Callable[[], Coroutine[Any, Any, None]],
        hedge_seconds: float = HEDGE_SECONDS,
    ) -> None:
        self._store = store
        self._kafka = kafka
        self._close = close
        self._stop = asyncio.Event()
        self._hedge_seconds = hedge_seconds
        self._under_way: set[asyncio.Task[list[Receipt]]] = set()

    async def save(self, posts: Sequence[Post]) -> list[Receipt]:
        """
        Raises:
            TransientFailure: neither the database nor Kafka has taken them.
        """
        stored = self._begin(self._store(posts), self._under_way)
        await asyncio.wait({stored}, timeout=self._hedge_seconds)
        if stored.done() and stored.exception() is None:
            return stored.result()
        HEDGED.inc(len(posts))
        published = self._begin(self._kafka(posts), self._under_way)
        waiting = {stored, published}
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if stored in done and stored.exception() is None:
                return stored.result()
            if published in done and published.exception() is None:
                return published.result()
        raise TransientFailure("neither the database nor Kafka")

    async def run(self) -> None:
        await self._stop.wait()
        await self._close()

    async def stop(self) -> None:
        self._stop.set()

    def failing(self) -> str | None:
        return None

    def _begin(
        self, saving: Coroutine[Any, Any, list[Receipt]], tasks: set[asyncio.Task[list[Receipt]]]
    ) -> asyncio.Task[list[Receipt]]:
        """A task that goes on without whoever waits for it."""
        task = asyncio.create_task(saving)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(_tell_of_bugs)
        return task


def _tell_of_bugs(task: asyncio.Task[list[Receipt]]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, TransientFailure):
        log.error("saving failed", error=type(error).__name__, exc_info=error)
