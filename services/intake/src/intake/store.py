"""The tables of intake and all of its SQL: ids accepted within the window.

An event is known by 16 bytes of (source, id) and told from another with the same id by 16 bytes of its meaning; neither its
words nor its names are kept here. The outbox takes what leaves in the same transaction.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from shared.events.topics import Lane
from shared.messaging import outbox
from shared.messaging.kafka import Message
from shared.runtime.database import Connection, Database
from shared.runtime.now import Now

FORGET_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Post:
    """One event as it was judged: what it is known by, and what is written when it is new."""

    identity: bytes
    meaning: bytes
    event_id: str
    ticket_id: str | None
    known_from: datetime
    """The later of receipt and claimed time; from then on the id is remembered for the window's length."""
    messages: tuple[Message, ...]
    otherwise: "Post | None" = None
    """What it becomes if its id has another meaning already; without this it is a conflict."""
    is_safety: bool = False


class Outcome(Enum):
    """What the store knew of a post's id."""

    NEW = auto()
    DUPLICATE = auto()
    CONFLICT = auto()


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to one post. It is given only once the post cannot be lost any more."""

    event_id: str
    ticket_id: str | None
    outcome: Outcome


_REMEMBER = """
insert into accepted (identity, meaning, forget_at)
select identity, meaning, known_from + $4::interval
from unnest($1::bytea[], $2::bytea[], $3::timestamptz[]) as new (identity, meaning, known_from)
on conflict (identity) do nothing
returning identity
"""
_MEANINGS = "select identity, meaning from accepted where identity = any($1::bytea[])"
_FORGET = """
delete from accepted where identity in
    (select identity from accepted where forget_at < $1 order by forget_at limit $2 for update skip locked)
"""


class Store:
    """Writes posts in one transaction, however many they are."""

    def __init__(self, database: Database, *, window: timedelta, now: Now, wake: Callable[[Lane], None]) -> None:
        self._database = database
        self._window = window
        self._now = now
        self._wake = wake

    async def accept(self, posts: Sequence[Post]) -> list[Receipt]:
        """Remember what is new, and let it leave; the receipts come in the order of the posts, after the commit.

        Raises:
            TransientFailure: the database is away. The same posts may be accepted again: they are known if they were written.
        """
        async with self._database.transaction() as connection:
            settled = await self._settle(connection, posts)
            new = [post for post, outcome in settled if outcome is Outcome.NEW]
            leaving = [message for post in new for message in post.messages]
            lanes = await outbox.add(connection, leaving, now=self._now())
        for lane in lanes:
            self._wake(lane)
        return [Receipt(post.event_id, post.ticket_id, outcome) for post, outcome in settled]

    async def forget(self) -> bool:
        """Drop ids whose window has passed. Answers whether there may be more."""
        async with self._database.transaction() as connection:
            status: str = await connection.execute(_FORGET, self._now(), FORGET_AT_ONCE)
        return status == f"DELETE {FORGET_AT_ONCE}"

    async def _settle(self, connection: Connection, posts: Sequence[Post]) -> list[tuple[Post, Outcome]]:
        """Each post, or what it became, with what was known of it."""
        outcomes = await self._recognise(connection, posts)
        settled = list(zip(posts, outcomes, strict=True))
        taken = [i for i, (post, outcome) in enumerate(settled) if outcome is Outcome.CONFLICT and post.otherwise]
        if taken:
            others = [other for i in taken if (other := settled[i][0].otherwise)]
            for i, instead in zip(taken, await self._settle(connection, others), strict=True):
                settled[i] = instead
        return settled

    async def _recognise(self, connection: Connection, posts: Sequence[Post]) -> list[Outcome]:
        firsts: dict[bytes, Post] = {}
        for post in posts:
            firsts.setdefault(post.identity, post)
        # sorted: two transactions that meet in several ids wait for each other in one order only
        rows = [firsts[identity] for identity in sorted(firsts)]
        fetched = await connection.fetch(
            _REMEMBER,
            [post.identity for post in rows],
            [post.meaning for post in rows],
            [post.known_from for post in rows],
            self._window,
        )
        new = {row[0] for row in fetched}
        meanings = {post.identity: post.meaning for post in rows}
        if len(new) < len(rows):
            meanings |= dict(await connection.fetch(_MEANINGS, [i for i in firsts if i not in new]))
        return [_outcome(post, firsts, new, meanings) for post in posts]


def _outcome(post: Post, firsts: dict[bytes, Post], new: set[bytes], meanings: dict[bytes, bytes]) -> Outcome:
    if post.identity in new and firsts[post.identity] is post:
        return Outcome.NEW
    return Outcome.DUPLICATE if meanings[post.identity] == post.meaning else Outcome.CONFLICT
