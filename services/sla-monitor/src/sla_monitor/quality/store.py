"""The tables of quality and all of their SQL: what is kept of each ticket, what it contributes, and the figures over all.

Lengths are whole microseconds and percentiles are taken from the rows (nearest rank), so that a figure is the same however the
rows came to be (Q4). A ticket is read together with those that are or may turn out to be merged into it, because their
replies count for it.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeAlias

from pydantic import TypeAdapter

from shared.errors import TransientFailure
from shared.events.envelope import Event, Instant, Received
from shared.events.ticket import TicketClosed
from shared.messaging.unit_of_work import UnitOfWork
from shared.runtime.database import Connection, Database
from shared.vocabulary import Category, Level, Team, Tier
from sla_monitor.domain.quality import SATISFIED_FROM, Figure, Record, Standards

Row: TypeAlias = Mapping[str, Any]

OLDEST = 20
"""So many unanswered tickets are listed by name."""
TURN = 25
"""After so many tickets (some 5 ms) the clocks, which share the event loop, have their turn."""
NONE = "none"
"""The category and team of a ticket in triage or not routed yet."""

_SEPARATOR = "\n"
"""Between ids, which hold no control characters."""

_RECORD: TypeAdapter[Record] = TypeAdapter(Record)
_FIGURES: TypeAdapter[list[Figure]] = TypeAdapter(list[Figure])
_COLUMNS = [column.name for column in fields(Figure)]

_LOAD = """
with recursive family (ticket_id) as (
    select unnest($1::text[])
    union
    select linked.ticket_id
    from family cross join lateral (
        select unnest(part_of) as ticket_id from quality_record where quality_record.ticket_id = family.ticket_id
        union all
        select quality_record.ticket_id from quality_record
        where part_of is not null and part_of @> array[family.ticket_id]
    ) as linked
)
select ticket_id, version, document from quality_record
where ticket_id in (select ticket_id from family)
order by ticket_id for update
"""
_LEFT_OUT = """
select exists (
    select from quality_record
    where part_of is not null and part_of && $1::text[] and not ticket_id = any($1::text[])
)
"""
_SAVE = """
insert into quality_record as kept (ticket_id, version, part_of, document)
select ticket_id, version, string_to_array(part_of, $5), document
from unnest($1::text[], $2::int[], $3::text[], $4::bytea[]) as record (ticket_id, version, part_of, document)
on conflict (ticket_id) do update
set version = excluded.version, part_of = excluded.part_of, document = excluded.document
where kept.version = excluded.version - 1
"""
_COUNT = f"""
insert into quality_figure as kept ({", ".join(_COLUMNS)})
select {", ".join(_COLUMNS)} from jsonb_populate_recordset(null::quality_figure, $1::jsonb)
on conflict (ticket_id) do update set {", ".join(f"{column} = excluded.{column}" for column in _COLUMNS[1:])}
where kept.* is distinct from excluded.*
"""
_FORGET = "delete from quality_figure where ticket_id = any($1::text[])"


class Records:
    """The records of one unit of work, as loaded and as changed, and the figures that follow."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._versions: dict[str, int] = {}
        self._changed: set[str] = set()
        self.figures: dict[str, Figure | None] = {}

    def loaded(self, record: Record, version: int) -> None:
        self._records[record.ticket_id] = record
        self._versions[record.ticket_id] = version

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    def get(self, ticket_id: str) -> Record:
        return self._records[ticket_id]

    def changing(self, ticket_id: str) -> Record:
        """The record of a ticket, which is written in the end; an empty one for a ticket not seen yet."""
        self._changed.add(ticket_id)
        return self._records.setdefault(ticket_id, Record(ticket_id))

    def affected(self) -> list[str]:
        """The tickets whose figures may have changed: those with new facts, and those that they are or may be part of."""
        found = set(self._changed)
        ahead = list(found)
        while ahead:
            further = set(self._records[ahead.pop()].part_of()) - found
            found |= further
            ahead += further
        return sorted(found)

    def to_write(self) -> list[tuple[str, int, str | None, bytes]]:
        """The changed records with their next version, in the order in which rows are locked."""
        return [
            (
                one,
                self._versions.get(one, 0) + 1,
                _SEPARATOR.join(self._records[one].part_of()) or None,
                _RECORD.dump_json(self._records[one], exclude_defaults=True),
            )
            for one in sorted(self._changed)
        ]


class QualityUnit(UnitOfWork):
    """What quality reads and writes for one batch; `settle` says what follows once all its facts are known."""

    service = "sla-monitor"

    def __init__(
        self,
        connection: Connection,
        now: datetime,
        standards: Standards,
        settle: Callable[["QualityUnit"], Iterator[str]],
    ) -> None:
        super().__init__(connection, now)
        self.standards = standards
        self.records = Records()
        self._settle = settle

    async def load(self, messages: Sequence[Received[Event]]) -> None:
        """
        Raises:
            TransientFailure: a ticket was merged into one of these meanwhile; the work is done again.
        """
        ids = {message.event.key for message in messages}
        ids |= {one.event.into for one in messages if isinstance(one.event, TicketClosed) and one.event.into}
        if not ids:
            return
        rows = await self.connection.fetch(_LOAD, list(ids))
        if await self.connection.fetchval(_LEFT_OUT, [row["ticket_id"] for row in rows]):
            raise TransientFailure("a ticket was merged by another transaction")
        for row in rows:
            self.records.loaded(_RECORD.validate_json(row["document"]), row["version"])

    async def save(self) -> None:
        """
        Raises:
            TransientFailure: another transaction wrote one of the records first; the work is done again.
        """
        self.because_of(None)
        for number, _ in enumerate(self._settle(self), start=1):
            if number % TURN == 0:
                await asyncio.sleep(0)
        if not (rows := self.records.to_write()):
            return
        columns = (list(column) for column in zip(*rows, strict=True))
        status = await self.connection.execute(_SAVE, *columns, _SEPARATOR)
        if status != f"INSERT 0 {len(rows)}":
            raise TransientFailure("a record was written by another transaction")
        counted = [figure for _, figure in sorted(self.records.figures.items()) if figure is not None]
        if counted:
            await self.connection.execute(_COUNT, _FIGURES.dump_json(counted).decode())
        if gone := [one for one, figure in self.records.figures.items() if figure is None]:
            await self.connection.execute(_FORGET, gone)


class Period(StrEnum):
    """What figures may also be told by, in the zone of the calendar; weeks begin on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Lengths:
    """Of `n` measured; percentiles are nearest-rank. None where there is nothing to measure."""

    n: int = 0
    mean_seconds: float | None = None
    median_seconds: float | None = None
    p90_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """Of the tickets created: the time from creation to the first public message of a human agent (Q2)."""

    answered: int = 0
    elapsed: Lengths = Lengths()
    business: Lengths = Lengths()
    unanswered: int = 0
    """Open and waiting for their first answer; `age` is how long, by now."""
    age: Lengths = Lengths()
    oldest_age_seconds: float | None = None
    resolved_unanswered: int = 0


@dataclass(frozen=True, slots=True)
class Resolution:
    """Of the tickets last resolved: the time that counted, without pauses and without the time it was resolved before (Q2)."""

    resolved: int = 0
    elapsed: Lengths = Lengths()
    business: Lengths = Lengths()
    reopened: int = 0


@dataclass(frozen=True, slots=True)
class EscalationRate:
    """Of the tickets created (Q3)."""

    created: int = 0
    raised: int = 0
    rate: float | None = None
    entered_above: int = 0
    """Put straight above Level 1 by the policy."""
    handed_over: int = 0
    """Raised because E5 or another category puts them in other hands; not in the rate."""


@dataclass(frozen=True, slots=True)
class Satisfaction:
    """Of the resolutions, each with its last rating; safety tickets are not asked (Q3, T5)."""

    resolutions: int = 0
    rated: int = 0
    response_rate: float | None = None
    satisfied: int = 0
    satisfied_share: float | None = None
    mean: float | None = None


@dataclass(frozen=True, slots=True)
class FirstContact:
    """Of the tickets last resolved (Q3). The rate is over those whose three business days are over."""

    final: int = 0
    provisional: int = 0
    no: int = 0
    rate: float | None = None


@dataclass(slots=True)
class Figures:
    response: Response = field(default_factory=Response)
    resolution: Resolution = field(default_factory=Resolution)
    escalation: EscalationRate = field(default_factory=EscalationRate)
    satisfaction: Satisfaction = field(default_factory=Satisfaction)
    first_contact: FirstContact = field(default_factory=FirstContact)


@dataclass(frozen=True, slots=True)
class LevelRate:
    """Tickets raised from a level of a category, of those that entered it (Q3)."""

    category: Category
    level: Level
    entered: int
    raised: int
    rate: float


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A ticket that waits for its first answer, and how long by now."""

    ticket_id: str
    created_at: Instant
    elapsed_seconds: float
    business_seconds: float


@dataclass(frozen=True, slots=True)
class PeriodFigures:
    starts_at: Instant
    figures: Figures


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of Q2 and Q3 over some tickets, as of `as_of`: in all and by tier, category, team and period."""

    starts_at: Instant
    ends_at: Instant
    as_of: Instant
    zone: str
    all: Figures
    tiers: dict[str, Figures]
    categories: dict[str, Figures]
    teams: dict[str, Figures]
    periods: list[PeriodFigures]
    levels: list[LevelRate]
    oldest_unanswered: list[Unanswered]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tickets are summed up: created, or last resolved, in [starts_at, ends_at), and of these kinds only."""

    starts_at: datetime
    ends_at: datetime
    tier: Tier | None = None
    category: Category | None = None
    team: Team | None = None
    period: Period | None = None


_CHOSEN = """and ($3::text is null or tier = $3) and ($4::text is null or category = $4)
      and ($5::text is null or team = $5)"""
_GROUPS = """grouping(tier) = 0 as by_tier, grouping(of_category) = 0 as by_category, grouping(of_team) = 0 as by_team,
    grouping(period) = 0 as by_period, tier, of_category as category, of_team as team, period"""
_GROUPED = "group by grouping sets ((), (tier), (of_category), (of_team), (period))"
_DIMENSIONS = ("tier", "category", "team", "period")


def _grouped_by(at: str) -> str:
    """What figures are grouped by; `at` is the instant that puts a ticket into its period."""
    return f"""coalesce(category, '{NONE}') as of_category, coalesce(team, '{NONE}') as of_team,
        date_trunc($6::text, {at}, $7::text) as period"""


def _lengths_of(column: str, name: str) -> str:
    return f"""count({column}) as {name}_n, avg({column}) as {name}_mean,
    percentile_disc(array[0.5, 0.9]) within group (order by {column}) as {name}_ranks"""


_IS_WAITING = "answered_at is null and resolved_at is null and not is_closed"
_BY_CREATION = f"""
with chosen as (
    select *, {_grouped_by("created_at")},
        case when {_IS_WAITING} then (extract(epoch from $8::timestamptz - created_at) * 1000000)::bigint end as age
    from quality_figure where created_at >= $1 and created_at < $2 {_CHOSEN}
)
select {_GROUPS}, count(*) as created, count(answered_at) as answered, count(age) as unanswered, max(age) as oldest,
    {_lengths_of("response_elapsed", "elapsed")}, {_lengths_of("response_business", "business")},
    {_lengths_of("age", "age")},
    count(*) filter (where answered_at is null and resolved_at is not null) as resolved_unanswered,
    count(*) filter (where is_raised) as raised, count(*) filter (where entered_above) as entered_above,
    count(*) filter (where is_handed_over) as handed_over
from chosen {_GROUPED}
"""
_BY_RESOLUTION = f"""
with chosen as (
    select *, {_grouped_by("resolved_at")}, first_contact_until <= $8::timestamptz as is_over,
        is_first_contact and not exists (
            select from quality_figure as next
            where next.requester = figure.requester and next.category = figure.category
              and next.created_at > figure.resolved_at and next.created_at <= figure.first_contact_until
        ) as is_solved_at_first
    from quality_figure as figure where resolved_at >= $1 and resolved_at < $2 {_CHOSEN}
)
select {_GROUPS}, count(*) as resolved, count(*) filter (where is_reopened) as reopened,
    {_lengths_of("resolution_elapsed", "elapsed")}, {_lengths_of("resolution_business", "business")},
    count(*) filter (where is_solved_at_first and is_over) as final,
    count(*) filter (where is_solved_at_first and not is_over) as provisional,
    count(*) filter (where not is_solved_at_first) as no, count(*) filter (where is_over) as over
from chosen {_GROUPED}
"""
_BY_RATING = f"""
with chosen as (
    select tier, given.score, {_grouped_by("given.at")}
    from quality_figure, unnest(resolutions, scores) as given (at, score)
    where created_at < $2 and given.at >= $1 and given.at < $2
      and category is distinct from '{Category.SAFETY}' {_CHOSEN}
)
select {_GROUPS}, count(*) as resolutions, count(score) as rated,
    count(*) filter (where score >= {SATISFIED_FROM}) as satisfied, avg(score) as mean
from chosen {_GROUPED}
"""
_BY_LEVEL = """
select place, count(*) as entered, count(*) filter (where place = any(raised_from)) as raised
from quality_figure, unnest(entered) as place
where created_at >= $1 and created_at < $2 and ($3::text is null or tier = $3)
  and ($4::text is null or split_part(place, ':', 1) = $4) and ($5::text is null or team = $5)
group by place order by place
"""
_OLDEST = f"""
select ticket_id, created_at from quality_figure
where created_at >= $1 and created_at < $2 {_CHOSEN} and {_IS_WAITING}
order by created_at, ticket_id limit {OLDEST}
"""


class Summaries:
    """Sums up what tickets contribute."""

    def __init__(self, database: Database, standards: Standards) -> None:
        self._database = database
        self._standards = standards
        self._zone = standards.policy.clocks.calendar.zone

    async def of(self, selection: Selection, now: datetime) -> Summary:
        """The figures over a selection as they stand at `now`, all from one moment of the tables."""
        which = (selection.starts_at, selection.ends_at, selection.tier, selection.category, selection.team)
        grouped = (*which, selection.period, self._zone)
        async with self._database.transaction() as connection:
            await connection.execute("set transaction isolation level repeatable read, read only")
            await connection.execute("set local work_mem = '64MB'")  # thirty sorts; on disk they took a third longer
            groups = _Groups()
            for row in await connection.fetch(_BY_CREATION, *grouped, now):
                groups.of(row).response, groups.of(row).escalation = _response(row), _escalation(row)
            for row in await connection.fetch(_BY_RESOLUTION, *grouped, now):
                groups.of(row).resolution, groups.of(row).first_contact = _resolution(row), _first_contact(row)
            for row in await connection.fetch(_BY_RATING, *grouped):
                groups.of(row).satisfaction = _satisfaction(row)
            levels = [_level(row) for row in await connection.fetch(_BY_LEVEL, *which)]
            oldest = await connection.fetch(_OLDEST, *which)
        return Summary(
            starts_at=selection.starts_at,
            ends_at=selection.ends_at,
            as_of=now,
            zone=self._zone,
            all=groups.all,
            tiers=groups.by["tier"],
            categories=groups.by["category"],
            teams=groups.by["team"],
            periods=[PeriodFigures(at, figures) for at, figures in sorted(groups.by["period"].items())],
            levels=levels,
            oldest_unanswered=[self._unanswered(row["ticket_id"], row["created_at"], now) for row in oldest],
        )

    def _unanswered(self, ticket_id: str, created_at: datetime, now: datetime) -> Unanswered:
        business = self._standards.calendar.measure(created_at, now)
        return Unanswered(ticket_id, created_at, (now - created_at).total_seconds(), business.total_seconds())


class _Groups:
    """Figures by what they are grouped by; the rows of several queries meet here."""

    def __init__(self) -> None:
        self.all = Figures()
        self.by: dict[str, dict[Any, Figures]] = {dimension: {} for dimension in _DIMENSIONS}

    def of(self, row: Row) -> Figures:
        for dimension in _DIMENSIONS:
            if row[f"by_{dimension}"]:
                if row[dimension] is None:
                    return Figures()
                return self.by[dimension].setdefault(row[dimension], Figures())
        return self.all


def _response(row: Row) -> Response:
    return Response(
        answered=row["answered"],
        elapsed=_lengths(row, "elapsed"),
        business=_lengths(row, "business"),
        unanswered=row["unanswered"],
        age=_lengths(row, "age"),
        oldest_age_seconds=_seconds(row["oldest"]),
        resolved_unanswered=row["resolved_unanswered"],
    )


def _resolution(row: Row) -> Resolution:
    elapsed, business = _lengths(row, "elapsed"), _lengths(row, "business")
    return Resolution(row["resolved"], elapsed, business, row["reopened"])


def _escalation(row: Row) -> EscalationRate:
    rate = _share(row["raised"], row["created"])
    return EscalationRate(row["created"], row["raised"], rate, row["entered_above"], row["handed_over"])


def _satisfaction(row: Row) -> Satisfaction:
    return Satisfaction(
        resolutions=row["resolutions"],
        rated=row["rated"],
        response_rate=_share(row["rated"], row["resolutions"]),
        satisfied=row["satisfied"],
        satisfied_share=_share(row["satisfied"], row["rated"]),
        mean=float(row["mean"]) if row["mean"] is not None else None,
    )


def _first_contact(row: Row) -> FirstContact:
    return FirstContact(row["final"], row["provisional"], row["no"], _share(row["final"], row["over"]))


def _level(row: Row) -> LevelRate:
    category, _, level = row["place"].partition(":")
    rate = row["raised"] / row["entered"]
    return LevelRate(Category(category), Level(int(level)), row["entered"], row["raised"], rate)


def _lengths(row: Row, name: str) -> Lengths:
    median, p90 = row[f"{name}_ranks"] or (None, None)
    return Lengths(row[f"{name}_n"], _seconds(row[f"{name}_mean"]), _seconds(median), _seconds(p90))


def _seconds(micros: Decimal | int | None) -> float | None:
    return float(micros) / 1_000_000 if micros is not None else None


def _share(some: int, of_all: int) -> float | None:
    return some / of_all if of_all else None
