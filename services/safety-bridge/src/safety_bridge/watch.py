"""The tables of the watch: feeds, the numbers that have arrived of them, storms, and what is told once only."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from safety_bridge.domain.feed import Due, Feed
from shared.runtime.database import Connection

LOCK = 0x57_41_54_43
REMEMBERED = timedelta(days=30)
"""How long it is known that something was told."""

_FEED_COLUMNS = ", ".join(field.name for field in fields(Feed))
_ARM = "insert into feed (source, armed_at, looked_at) select unnest($1::text[]), $2, $2 on conflict do nothing"
_FEEDS = f"select {_FEED_COLUMNS} from feed where source = any($1) order by source"
_KEEP_FEED = """
update feed set armed_at = $2, looked_at = $3, silence_told = $4, told_at = $5, checked_to = $6, due_to = $7, due_since = $8
where source = $1
"""
_BEATS = """
update feed set heard_at = greatest(feed.heard_at, $2), highest = coalesce(beat.highest, feed.highest)
from unnest($1::text[], $3::bigint[]) as beat (source, highest) where feed.source = beat.source
"""
_ARRIVED = """
insert into feed_number (source, number)
select source, number from unnest($1::text[], $2::bigint[]) as arrived (source, number) join feed using (source)
order by source, number
on conflict do nothing
"""
_MISSING = """
select lower(gap) as first, upper(gap) - 1 as last
from unnest(
    int8multirange(int8range($2, $3 + 1)) - coalesce(
        (select range_agg(int8range(number, number + 1)) from feed_number where source = $1 and number between $2 and $3), '{}'
    )
) as gap
"""
_FORGET = "delete from feed_number where source = $1 and number <= $2"
_ONCE = """
insert into told_once (key, told_at) select unnest($1::text[]), $2 order by 1 on conflict do nothing returning key
"""
_STORM = "select started_at, last_over_at from storm where ended_at is null"
_OPENED = "select count(*) from incident where opened_at > $1 and document->>'mode' = 'live'"


@dataclass(frozen=True, slots=True)
class OpenStorm:
    started_at: datetime
    last_over_at: datetime


class Noticed:
    """What one unit of work has noticed: heartbeats, numbers, and notices to be told once. Written at its end."""

    def __init__(self) -> None:
        self._beats: dict[str, int | None] = {}
        self._arrived: set[tuple[str, int]] = set()
        self._once: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)

    def beat(self, source: str, highest: int | None) -> None:
        self._beats[source] = highest

    def arrived(self, source: str, number: int | None) -> None:
        if number is not None:
            self._arrived.add((source, number))

    def once(self, key: str, tell: Callable[[], None]) -> None:
        """Tell it if nobody has told what has this key before."""
        self._once[key].append(tell)

    async def write(self, connection: Connection, now: datetime) -> None:
        """Only sources that are watched leave a trace."""
        if self._arrived:
            sources, numbers = zip(*self._arrived, strict=True)
            await connection.execute(_ARRIVED, sources, numbers)
        if self._beats:
            await connection.execute(_BEATS, list(self._beats), now, list(self._beats.values()))
        if self._once:
            for row in await connection.fetch(_ONCE, list(self._once), now):
                self._once[row["key"]][0]()


async def take_turn(connection: Connection) -> bool:
    """Whether this replica looks now; the others need not."""
    return bool(await connection.fetchval("select pg_try_advisory_xact_lock($1, hashtext(current_schema))", LOCK))


async def load_feeds(connection: Connection, sources: Collection[str], now: datetime) -> list[Feed]:
    """The sources that have to be heard; one that is new is armed now."""
    await connection.execute(_ARM, list(sources), now)
    return [Feed(**row) for row in await connection.fetch(_FEEDS, list(sources))]


async def keep_feeds(connection: Connection, feeds: Iterable[Feed]) -> None:
    """What the looks have changed; what heartbeats change is left to them."""
    rows = [
        (f.source, f.armed_at, f.looked_at, f.silence_told, f.told_at, f.checked_to, f.due_to, f.due_since)
        for f in feeds
    ]
    await connection.executemany(_KEEP_FEED, rows)


async def missing(connection: Connection, source: str, due: Due) -> list[tuple[int, int]]:
    """The ranges of numbers that have not arrived, both ends included; numbers that were looked for are forgotten."""
    gaps = [(row["first"], row["last"]) for row in await connection.fetch(_MISSING, source, due.first, due.last)]
    await connection.execute(_FORGET, source, due.last)
    return gaps


async def open_storm(connection: Connection) -> OpenStorm | None:
    row = await connection.fetchrow(_STORM)
    return OpenStorm(**row) if row else None


async def opened_since(connection: Connection, since: datetime) -> int:
    """How many incidents were opened after this; drills are none."""
    return int(await connection.fetchval(_OPENED, since))


async def storm_begins(connection: Connection, now: datetime) -> None:
    await connection.execute("insert into storm (started_at, last_over_at) values ($1, $1)", now)


async def storm_goes_on(connection: Connection, now: datetime) -> None:
    await connection.execute("update storm set last_over_at = $1 where ended_at is null", now)


async def storm_ends(connection: Connection, now: datetime) -> None:
    await connection.execute("update storm set ended_at = $1 where ended_at is null", now)


async def forget_old(connection: Connection, now: datetime) -> None:
    await connection.execute("delete from told_once where told_at < $1", now - REMEMBERED)
