"""What happens without a message: pages, thresholds, leases, the watch over what feeds and proves them, the end of retention,
the head of the audit (S4, S5).

When something of an incident is due is a row, never in memory.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

import orjson
import structlog
from prometheus_client import Counter, Gauge

from safety_bridge import audit, handlers, store, watch
from safety_bridge.domain import coverage
from safety_bridge.domain.feed import Back, Feed, Silent
from safety_bridge.domain.identity import IncidentRef
from safety_bridge.domain.retention import Reason
from safety_bridge.store import SafetyUnit
from shared.directory import Directory
from shared.errors import TransientFailure
from shared.events.safety import (
    MissingRange,
    SafetyAuditHead,
    SafetyFeedBack,
    SafetyFeedGap,
    SafetyFeedSilent,
    SafetyStormEnded,
    SafetyStormStarted,
)
from shared.events.topics import AGENT, Lane
from shared.messaging.kafka import Kafka, Partition
from shared.messaging.past_failures import past_failures
from shared.messaging.unit_of_work import UnitsOfWork
from shared.policy.model import Policy
from shared.runtime.beat import Beat
from shared.runtime.database import Database, is_transient
from shared.runtime.log import where
from shared.runtime.now import Now

PAGES_AT_ONCE = 100
RETENTIONS_AT_ONCE = 100
LOOK_AGAIN_AFTER = timedelta(seconds=30)
"""When an incident is looked at again whose page failed; the others do not wait for it."""
READ_AGAIN_AFTER = timedelta(seconds=5)
"""When one is looked at again that this version cannot read: soon, since a replica of another version may."""

FAILED = Counter(
    "support_safety_pages_failed_total", "Looks at an incident that failed and were put off; each is a bug."
)
ABOUT_STORM = "storm"
OVERDUE_AFTER = UNPUBLISHED_AFTER = timedelta(seconds=10)
LAG_AT_MOST = timedelta(seconds=30)

_OVERDUE = """
select count(*) from incident where look_at <= $1 or (look_at is not null and (document->>'next_page_at')::timestamptz <= $1)
"""
_OLDEST_UNPUBLISHED = "select created_at from outbox where lane = $1 order by seq limit 1"
_CURSORS = "select partition, next_offset from consumer_cursor where consumer = $1 and topic = $2"

SILENT = Gauge("support_safety_feed_silent", "1 while a source that has to be heard is told to be silent.", ["source"])
STORM = Gauge("support_safety_storm", "1 while many more incidents are opened than people can read one by one.")
HOLDS = Gauge(
    "support_safety_nobody_forgotten", "1 while the self-proof holds; beats to the outside watcher go out only then."
)
UNCOVERED = Gauge(
    "support_safety_uncovered_seconds", "Seconds of the next 14 days in which nobody holds the role.", ["role"]
)

log = structlog.get_logger()


async def page_who_is_due(units: UnitsOfWork[SafetyUnit]) -> bool:
    """Do what is due: pages, thresholds of clocks, leases that have run out. Answers whether there may be more.

    Replicas share the incidents by row locks. An incident that cannot be read, looked at or kept holds up no other.
    """
    try:
        return await _look(units)
    except Exception as error:
        if is_transient(error):
            raise
        log.exception("looks failed", error=type(error).__name__)
    async with units.database.connection() as connection:
        refs = await store.due_refs(connection, now=units.now(), limit=PAGES_AT_ONCE)
    await past_failures(refs, partial(_look, units), partial(_look_later, units))
    return False


async def _look_later(units: UnitsOfWork[SafetyUnit], ref: IncidentRef, error: Exception) -> None:
    _report(ref, error)
    async with units.database.connection() as connection:
        await store.put_off(connection, [ref], units.now() + LOOK_AGAIN_AFTER)


async def _look(units: UnitsOfWork[SafetyUnit], among: Sequence[IncidentRef] | None = None) -> bool:
    async with units.begin() as unit:
        due, unread = await unit.incidents.load_due(unit.connection, now=unit.now, limit=PAGES_AT_ONCE, among=among)
        if unread:
            log.error("incidents not readable", incident_refs=unread)
            FAILED.inc(len(unread))
            await store.put_off(unit.connection, unread, unit.now + READ_AGAIN_AFTER)
        for incident in due:
            emitted = len(unit.emitted)
            try:
                handlers.look(incident, unit)
            except Exception as error:
                _report(incident.ref, error)
                del unit.emitted[emitted:]
                unit.incidents.put_off(incident, unit.now + LOOK_AGAIN_AFTER)
    return len(due) + len(unread) == PAGES_AT_ONCE


def _report(ref: IncidentRef, error: Exception) -> None:
    log.error("look failed", incident_ref=ref, error=type(error).__name__, where=where(error))
    FAILED.inc()


class Coverage:
    """Looks two weeks ahead for hours in which a role is nobody's (S4); says so once a day in the log, and always when asked."""

    def __init__(self, directory: Callable[[], Directory], policy: Policy, now: Now) -> None:
        self._directory = directory
        self._policy = policy
        self._now = now
        self._logged: dict[str, date] = {}
        self._see()

    def gaps(self) -> str | None:
        return coverage.told(self._gaps)

    def last_responder_missing(self) -> str | None:
        return coverage.last_responder_missing(self._gaps)

    async def look(self) -> bool:
        self._see()
        return False

    def _see(self) -> None:
        now = self._now()
        self._gaps = coverage.gaps_ahead(self._directory(), self._policy, now)
        for role in coverage.roles_of(self._policy):
            held = self._gaps.get(role, ())
            UNCOVERED.labels(role).set(sum((end - begin).total_seconds() for begin, end in held))
            if held and self._logged.get(role) != now.date():
                self._logged[role] = now.date()
                log.warning("role not covered", role=role, gaps=coverage.told({role: held}))


async def look_after_the_watch(
    units: UnitsOfWork[SafetyUnit], sources: Sequence[str], is_behind: Callable[[], bool]
) -> bool:
    """Tell of feeds that are silent or have gaps, and of storms. One replica looks at a time."""
    async with units.begin() as unit:
        if await watch.take_turn(unit.connection):
            feeds = await watch.load_feeds(unit.connection, sources, unit.now)
            await watch.keep_feeds(unit.connection, [await _look_at_feed(feed, unit, is_behind) for feed in feeds])
            await _look_for_storm(unit)
            await watch.forget_old(unit.connection, unit.now)
    return False


async def _look_at_feed(feed: Feed, unit: SafetyUnit, is_behind: Callable[[], bool]) -> Feed:
    numbers = unit.policy.safety.watch
    feed, notice = feed.look(unit.now, numbers)
    SILENT.labels(feed.source).set(feed.silence_told > 0)
    match notice:
        case Silent(since, repeat):
            seconds = (unit.now - since).total_seconds()
            details = {"last_heard_at": feed.heard_at, "silent_seconds": seconds, "repeat": repeat}
            handlers.tell_of_watch(
                SafetyFeedSilent, unit, about=feed.source, seed=f"silent|{since.isoformat()}|{repeat}", **details
            )
        case Back():
            handlers.tell_of_watch(SafetyFeedBack, unit, about=feed.source, seed=f"back|{feed.heard_at}")
    if is_behind():
        return feed  # what has not arrived may be waiting for us
    feed, due = feed.count(unit.now, numbers)
    if due is not None and (gaps := await watch.missing(unit.connection, feed.source, due)):
        missing = tuple(MissingRange(first=first, last=last) for first, last in gaps)
        handlers.tell_of_watch(
            SafetyFeedGap, unit, about=feed.source, seed=f"gap|{due.first}|{due.last}", missing=missing
        )
    return feed


async def _look_for_storm(unit: SafetyUnit) -> None:
    numbers = unit.policy.safety.watch.storm
    opened = await watch.opened_since(unit.connection, unit.now - timedelta(seconds=numbers.within_seconds))
    storm = await watch.open_storm(unit.connection)
    STORM.set(storm is not None)
    if opened > numbers.opened:
        if storm is not None:
            await watch.storm_goes_on(unit.connection, unit.now)
            return
        await watch.storm_begins(unit.connection, unit.now)
        details = {"opened": opened, "within_seconds": numbers.within_seconds}
        handlers.tell_of_watch(
            SafetyStormStarted, unit, about=ABOUT_STORM, seed=f"started|{unit.now.isoformat()}", **details
        )
    elif storm is not None and unit.now - storm.last_over_at >= timedelta(minutes=numbers.over_after_minutes):
        await watch.storm_ends(unit.connection, unit.now)
        since = storm.started_at
        opened = await watch.opened_since(unit.connection, since - timedelta(seconds=numbers.within_seconds))
        seed = f"ended|{since.isoformat()}"
        handlers.tell_of_watch(SafetyStormEnded, unit, about=ABOUT_STORM, seed=seed, started_at=since, opened=opened)


class SelfProof:
    """Shows an outside watcher that nobody is forgotten: a beat goes out only while that is true; its silence is the alarm.

    True is: no page is overdue, nothing urgent waits to be published, the agent's topic is read up to now. A database or a
    broker that does not answer proves nothing.
    """

    def __init__(self, database: Database, kafka: Kafka, now: Now, beat: Beat, *, group: str) -> None:
        self._database = database
        self._group = group
        self._kafka = kafka
        self._now = now
        self._beat = beat
        self._ends: list[tuple[datetime, Mapping[Partition, int]]] = []
        self._doubt: str | None = "not looked yet"
        self._is_behind = True

    def doubt(self) -> str | None:
        """Why no beat goes out, or None."""
        return self._doubt

    def is_behind(self) -> bool:
        """Whether records of the agent's topic may be waiting for us."""
        return self._is_behind

    async def look(self) -> bool:
        """Look whether it is true, and send a beat if it is time for one."""
        try:
            doubts = [await self._overdue(), await self._unpublished(), await self._behind()]
        except TransientFailure as failure:
            doubts = [f"cannot be shown: {failure}"]
            self._is_behind = True
        holds = not any(doubts)
        HOLDS.set(holds)
        if holds:
            doubts = [await self._beat.send()]
        self._doubt = "; ".join(doubt for doubt in doubts if doubt) or None
        return False

    async def _overdue(self) -> str | None:
        """An incident that nobody has acknowledged has its next page ahead (invariant 15)."""
        async with self._database.connection() as connection:
            overdue = await connection.fetchval(_OVERDUE, self._now() - OVERDUE_AFTER)
        return f"{overdue} pages are overdue" if overdue else None

    async def _unpublished(self) -> str | None:
        async with self._database.connection() as connection:
            oldest = await connection.fetchval(_OLDEST_UNPUBLISHED, int(Lane.URGENT))
        waits = oldest is not None and self._now() - oldest >= UNPUBLISHED_AFTER
        return "an urgent event waits to be published" if waits else None

    async def _behind(self) -> str | None:
        """Read up to where the topic ended at some moment of the last 30 seconds: so far behind it is at most."""
        async with self._kafka.watcher([AGENT.name]) as topic:
            self._ends.append((self._now(), await topic.ends()))
        self._ends = [(at, ends) for at, ends in self._ends if self._now() - at < LAG_AT_MOST]
        async with self._database.connection() as connection:
            rows = await connection.fetch(_CURSORS, self._group, AGENT.name)
        read = {(AGENT.name, row["partition"]): row["next_offset"] for row in rows}
        self._is_behind = not any(
            all(read.get(partition, 0) >= end for partition, end in ends.items()) for _, ends in self._ends
        )
        return "the agent's topic is not read up to now" if self._is_behind else None


async def destroy_what_is_due(units: UnitsOfWork[SafetyUnit]) -> bool:
    """Destroy the content of incidents whose time has come; what is kept longer is told with its reason, once a day (S5).

    What was merged into another incident is kept as long as any of that. An incident that is still open when its date comes
    begins its time anew. Answers whether there may be more.
    """
    async with units.begin() as unit:
        due = await unit.vault.due(unit.connection, limit=RETENTIONS_AT_ONCE)
        for one in due:
            incident = await store.read_whole(unit.connection, one.incident_ref)
            whole = await unit.vault.retention_of_whole(unit.connection, incident.ref) if incident is not None else one
            why = whole.why_kept(incident, unit.now) if incident is not None else None
            if why is None:
                await unit.vault.destroy(unit.connection, one.incident_ref)
                handlers.decide_retention(one, unit, "destroyed", Reason.RETENTION_OVER)
                continue
            kept, look_at = one, unit.now + timedelta(days=1)
            if why is Reason.INCIDENT_OPEN:
                look_at = unit.now + unit.vault.keep_for
                kept = replace(one, delete_after=look_at)
            elif why is Reason.RETENTION_RUNS:
                look_at = whole.delete_after
                kept = replace(one, delete_after=look_at)
            await unit.vault.keep(unit.connection, kept, look_at=look_at)
            handlers.decide_retention(kept, unit, "kept", why)
    return len(due) == RETENTIONS_AT_ONCE


async def rewrap_keys(units: UnitsOfWork[SafetyUnit]) -> bool:
    """Wrap with the newest master key what an older one wraps, so that the older one can be destroyed."""
    async with units.begin() as unit:
        rewrapped = await unit.vault.rewrap(unit.connection, limit=RETENTIONS_AT_ONCE)
    if rewrapped:
        log.info("keys wrapped anew", keys=rewrapped)
    return rewrapped == RETENTIONS_AT_ONCE


async def publish_audit_head(units: UnitsOfWork[SafetyUnit], file: Path | None) -> bool:
    """Tell where the audit stands, once a minute and all replicas together; also as a line of a file where one is set."""
    async with units.begin() as unit:
        head = await audit.head_to_publish(unit.connection, now=unit.now)
        if head is not None:
            told = SafetyAuditHead(
                occurred_at=unit.now, emitted_at=unit.now, count=head.count, row_hash=head.row_hash.hex()
            )
            minute = unit.now.replace(second=0, microsecond=0)
            unit.emit(told, occurred_at=unit.now, seed=f"audit|{minute.isoformat()}", correlation_id=told.key)
            if file is not None:
                unit.after_commit.append(partial(_add_line, file, told))
    return False


def _add_line(file: Path, told: SafetyAuditHead) -> None:
    with file.open("ab") as lines:
        lines.write(orjson.dumps(told.model_dump(mode="json")) + b"\n")
