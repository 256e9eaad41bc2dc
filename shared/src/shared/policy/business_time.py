"""Business time: what was promised in days is counted in opening hours (L2-L4).

A calendar is compiled once to opening segments in UTC with the business time that lies before each, so that adding and
measuring are two binary searches at any horizon, exact to the microsecond; daylight saving changes are settled when the
calendar is compiled. Why the office is closed is kept beside, with the names of the days, so that a due time can be explained;
and a whole calendar can be kept as bytes, so that a clock goes on by the one it started by.
"""

import hashlib
import json
import struct
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import accumulate, pairwise
from operator import sub
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.policy.calendar_check import Weight, check_calendar
from shared.policy.model import WEEKDAYS, CalendarPolicy, Window
from shared.policy.public_holidays import HORIZON, public_holidays

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)
_NOTHING = timedelta(0)
_YEAR = timedelta(days=365)
_KEPT_FORM = b"calendar 1\n"


class CalendarRefused(ValueError):  # noqa: N818 - it names the calendar
    """The calendar contradicts itself or does not open; the message says where (L3)."""


class OutsideHorizon(ValueError):  # noqa: N818
    """The instant, or what is counted from it, lies outside the years the calendar was compiled for."""


class SegmentKind(StrEnum):
    """Why a stretch of time counts, or does not."""

    OPEN = "open"
    BREAK = "break"
    """Between two windows of one business day, as at lunch."""
    NIGHT = "night"
    """Between the hours of two business days, at whatever time of day that is."""
    WEEKEND = "weekend"
    """Days whose weekday has no hours."""
    HOLIDAY = "holiday"
    """A public holiday."""
    CLOSED_DAY = "closed_day"
    """A day of the policy's own."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time that counts whole or not at all; half-open (L3, L15)."""

    starts_at: datetime
    ends_at: datetime
    kind: SegmentKind
    name: str | None = None
    """What the day is called, if it is closed by name."""


_KINDS = tuple(SegmentKind)
"""Kept calendars hold kinds by their place in here: new ones come last."""


@dataclass(frozen=True, slots=True)
class _Closed:
    """Days that do not open, in a row for the same reason, from midnight to midnight of the calendar's zone."""

    starts_at: datetime
    ends_at: datetime
    kind: SegmentKind
    name: str | None


@dataclass(frozen=True, slots=True)
class Calendar:
    """When business time counts. Windows are half-open; what ends at closing time ends at closing time (L3)."""

    name: str
    """`<id>@<hash of the compiled segments>`: equal names give equal due times (L15). What days are called is not in it."""
    zone: str
    nominal_day: timedelta
    """What one business day of a target is worth (L3)."""
    _horizon: tuple[datetime, datetime]
    _opens: Sequence[datetime] = field(repr=False)
    _closes: Sequence[datetime] = field(repr=False)
    _before: Sequence[timedelta] = field(repr=False)
    """Business time before each segment; the last item is the total."""
    _day: Sequence[int] = field(repr=False)
    """For each segment the number of the business day on which it opens."""
    _day_closes: Sequence[datetime] = field(repr=False)
    """Close of business of each business day."""
    _closed: Sequence[_Closed] = field(repr=False)

    def add(self, instant: datetime, length: timedelta) -> datetime:
        """The earliest instant by which `length` of business time has passed since `instant` (L3).

        Raises:
            OutsideHorizon: it lies outside the calendar's years.
        """
        if length <= _NOTHING:
            return instant
        before = self._before
        goal = self._position(instant) + length
        if goal > before[-1]:
            raise OutsideHorizon(self.name)
        segment = bisect_left(before, goal) - 1
        return self._opens[segment] + (goal - before[segment])

    def measure(self, start: datetime, end: datetime) -> timedelta:
        """The business time between two instants; nothing when `end` is not after `start` (L3).

        Raises:
            OutsideHorizon: as for `add`.
        """
        if end <= start:
            return _NOTHING
        return self._position(end) - self._position(start)

    def next_open(self, instant: datetime) -> datetime:
        """The instant itself where it counts, else the next opening (T6).

        Raises:
            OutsideHorizon: as for `add`.
        """
        instant = self._inside(instant)
        segment = bisect_right(self._closes, instant)
        if segment == len(self._opens):
            raise OutsideHorizon(self.name)
        return max(instant, self._opens[segment])

    def close_of_business(self, instant: datetime, *, business_days_later: int = 0) -> datetime:
        """Close of the business day on which counting from `instant` starts, or of a later one (L4).

        Raises:
            OutsideHorizon: as for `add`.
        """
        segment = bisect_right(self._closes, self._inside(instant))
        if segment == len(self._closes) or self._day[segment] + business_days_later >= len(self._day_closes):
            raise OutsideHorizon(self.name)
        return self._day_closes[self._day[segment] + business_days_later]

    def segments(self, start: datetime, end: datetime) -> Iterator[Segment]:
        """Every counted and skipped stretch from `start` to `end`, without a gap; the open ones sum up to `measure` (L15).

        A night, a weekend, a holiday is one stretch each; days closed for one reason are one as well. Whatever closes it, a
        day that would not have opened anyway is a weekend.

        Raises:
            OutsideHorizon: as for `add`.
        """
        return self._stretches(self._inside(start), self._inside(end)) if start < end else iter(())

    def covers(self, instant: datetime) -> bool:
        """Whether the calendar can count from this instant; its last year is kept free for what is counted."""
        return self._horizon[0] <= instant < self._horizon[1] - _YEAR

    def to_bytes(self) -> bytes:
        """The whole calendar, names of days included; about 3 kB for 60 years of office hours (L11).

        `from_bytes` makes the same of it, whatever zone data, holidays or policy say by then.
        """
        names = sorted({closed.name for closed in self._closed if closed.name is not None})
        number = {name: position for position, name in enumerate(names, start=1)} | {None: 0}
        head = {
            "name": self.name,
            "zone": self.zone,
            "nominal_day": _micros_of(self.nominal_day),
            "horizon": [*map(_micros, self._horizon)],
            "names": names,
        }
        columns = (
            _steps([*map(_micros, self._opens)]),
            [*map(_micros_of, map(sub, self._closes, self._opens))],
            _steps(self._day),
            _steps([_micros(closed.starts_at) for closed in self._closed]),
            [_micros_of(closed.ends_at - closed.starts_at) for closed in self._closed],
            [_KINDS.index(closed.kind) for closed in self._closed],
            [number[closed.name] for closed in self._closed],
        )
        first = json.dumps(head, ensure_ascii=False).encode()
        return _KEPT_FORM + zlib.compress(b"".join((_packed([len(first)]), first, *map(_column, columns))), 9)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The calendar that `to_bytes` wrote.

        Raises:
            CalendarRefused: these bytes are none, or damaged.
        """
        if not data.startswith(_KEPT_FORM):
            raise CalendarRefused("not a kept calendar, or of a form that is not known here")
        try:
            content = zlib.decompress(data[len(_KEPT_FORM) :])
            (length,) = struct.unpack_from("<q", content)
            head = json.loads(content[8 : 8 + length])
            gaps, lengths, day_steps, closed_gaps, closed_lengths, kinds, numbers = _columns(content, 8 + length)
            names = (None, *head["names"])
            opens, starts = _instants(gaps), _instants(closed_gaps)
            return cls._of(
                name=head["name"],
                zone=head["zone"],
                nominal_day=head["nominal_day"] * _MICROSECOND,
                horizon=(_instant(head["horizon"][0]), _instant(head["horizon"][1])),
                opens=opens,
                closes=[start + length for start, length in zip(opens, _lengths(lengths), strict=True)],
                day=[*accumulate(day_steps)],
                closed=[
                    _Closed(start, start + length, _KINDS[kind], names[number])
                    for start, length, kind, number in zip(
                        starts, _lengths(closed_lengths), kinds, numbers, strict=True
                    )
                ],
            )
        except (zlib.error, struct.error, ValueError, LookupError, TypeError):
            raise CalendarRefused("the kept calendar is damaged") from None

    @classmethod
    def _of(
        cls,
        *,
        name: str,
        zone: str,
        nominal_day: timedelta,
        horizon: tuple[datetime, datetime],
        opens: Sequence[datetime],
        closes: Sequence[datetime],
        day: Sequence[int],
        closed: Sequence[_Closed],
    ) -> Self:
        return cls(
            name=name,
            zone=zone,
            nominal_day=nominal_day,
            _horizon=horizon,
            _opens=opens,
            _closes=closes,
            _before=list(accumulate(map(sub, closes, opens), initial=_NOTHING)),
            _day=day,
            _day_closes=[
                *(end for end, (one, other) in zip(closes, pairwise(day), strict=False) if one != other),
                closes[-1],
            ],
            _closed=closed,
        )

    def _position(self, instant: datetime) -> timedelta:
        """The business time between the beginning of the horizon and an instant."""
        if instant.tzinfo is not UTC:
            instant = _EPOCH + (instant - _EPOCH)
        first, end = self._horizon
        if not first <= instant < end:
            raise OutsideHorizon(self.name)
        segment = bisect_right(self._opens, instant) - 1
        if segment < 0:
            return _NOTHING
        closes = self._closes[segment]
        return self._before[segment] + ((instant if instant < closes else closes) - self._opens[segment])

    def _inside(self, instant: datetime) -> datetime:
        """The instant in UTC, so that it compares by what it means and fast."""
        instant = _EPOCH + (instant - _EPOCH)
        if not self._horizon[0] <= instant < self._horizon[1]:
            raise OutsideHorizon(self.name)
        return instant

    def _stretches(self, start: datetime, end: datetime) -> Iterator[Segment]:
        at, segment = start, bisect_right(self._closes, start)
        while at < end:
            if segment == len(self._opens):
                yield from self._skipped(at, end, SegmentKind.NIGHT)
                return
            if at < self._opens[segment]:
                same_day = segment > 0 and self._day[segment - 1] == self._day[segment]
                until = min(self._opens[segment], end)
                yield from self._skipped(at, until, SegmentKind.BREAK if same_day else SegmentKind.NIGHT)
                at = until
                continue
            until = self._closes[segment]
            segment += 1
            while segment < len(self._opens) and self._opens[segment] == until < end:
                until = self._closes[segment]
                segment += 1
            until = min(until, end)
            yield Segment(at, until, SegmentKind.OPEN)
            at = until

    def _skipped(self, at: datetime, end: datetime, otherwise: SegmentKind) -> Iterator[Segment]:
        """The closed days of a stretch without opening hours, and what lies between them."""
        number = bisect_right(self._closed, at, key=_ends_at)
        while number < len(self._closed) and self._closed[number].starts_at < end:
            closed = self._closed[number]
            if at < closed.starts_at:
                yield Segment(at, closed.starts_at, otherwise)
            until = min(closed.ends_at, end)
            yield Segment(max(at, closed.starts_at), until, closed.kind, closed.name)
            at, number = until, number + 1
        if at < end:
            yield Segment(at, end, otherwise)


def load_calendar(policy: CalendarPolicy) -> Calendar:
    """The policy's calendar with the public holidays of its country, observed days included (L2).

    Raises:
        CalendarRefused: it contradicts itself, or nobody knows the holidays of its country; all errors are told (L3).
    """
    if errors := [str(finding) for finding in check_calendar(policy) if finding.weight is Weight.ERROR]:
        raise CalendarRefused(f"{policy.id}: " + "; ".join(errors))
    return compile_calendar(policy, public_holidays(policy.holidays).days if policy.holidays else {})


def compile_calendar(
    policy: CalendarPolicy,
    holidays: Mapping[date, str],
    years: range = HORIZON,
    *,
    zone: ZoneInfo | None = None,
) -> Calendar:
    """The calendar that the policy's opening hours and these public holidays make over `years` (L2, L3).

    A special day replaces the weekday's hours and any holiday. A window belongs to the day on which it opens: a night shift
    that began before a holiday is finished. `zone` is the data of the policy's zone, if not this machine's.

    Raises:
        CalendarRefused: unknown zone, overlapping windows, a day both closed and special, a calendar that never opens or
            stops opening before its horizon ends.
    """
    zone = zone or _zone(policy)
    if both := sorted(policy.closed_days.keys() & policy.special_days.keys()):
        raise CalendarRefused(f"{policy.id}: {both[0]} is both a closed and a special day")
    opens: list[int] = []
    closes: list[int] = []
    days: list[int] = []
    closed: list[_Closed] = []
    business_days = 0
    for day in _days(years):
        windows, kind, name = _plan(policy, day, holidays)
        spans = [span for window in windows if (span := _span(day, window, zone))]
        for opens_at, closes_at in sorted(spans):
            if closes and opens_at < closes[-1]:
                raise CalendarRefused(f"{policy.id}: windows overlap on {day}")
            opens.append(opens_at)
            closes.append(closes_at)
            days.append(business_days)
        business_days += bool(spans)
        if not windows:
            starts_at, ends_at = (_instant(_utc(midnight, time(), zone)) for midnight in (day, day + _DAY))
            if closed and (closed[-1].ends_at, closed[-1].kind, closed[-1].name) == (starts_at, kind, name):
                starts_at = closed.pop().starts_at
            if starts_at < ends_at:
                closed.append(_Closed(starts_at, ends_at, kind, name))
    horizon = (_utc(date(years[0], 1, 1), time(), zone), _utc(date(years[-1] + 1, 1, 1), time(), zone))
    if not closes or closes[-1] < horizon[1] - _micros_of(_YEAR):
        raise CalendarRefused(f"{policy.id}: no business time in {years[-1]}")
    return Calendar._of(
        name=f"{policy.id}@{_digest(policy.nominal_day_minutes, opens, closes, days)}",
        zone=policy.zone,
        nominal_day=timedelta(minutes=policy.nominal_day_minutes),
        horizon=(_instant(horizon[0]), _instant(horizon[1])),
        opens=[*map(_instant, opens)],
        closes=[*map(_instant, closes)],
        day=days,
        closed=closed,
    )


def _zone(policy: CalendarPolicy) -> ZoneInfo:
    try:
        return ZoneInfo(policy.zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise CalendarRefused(f"{policy.id}: there is no time zone {policy.zone}") from None


def _days(years: range) -> Iterator[date]:
    day, end = date(years[0], 1, 1), date(years[-1] + 1, 1, 1)
    while day < end:
        yield day
        day += _DAY


def _plan(
    policy: CalendarPolicy, day: date, holidays: Mapping[date, str]
) -> tuple[tuple[Window, ...], SegmentKind, str | None]:
    """The hours of a day; and, for one without, why it has none."""
    if (special := policy.special_days.get(day)) is not None:
        return special, SegmentKind.CLOSED_DAY, None
    usual = policy.opening_hours.get(WEEKDAYS[day.weekday()], ())
    if not usual:
        return (), SegmentKind.WEEKEND, None
    if (name := policy.closed_days.get(day)) is not None:
        return (), SegmentKind.CLOSED_DAY, name
    if (name := holidays.get(day)) is not None:
        return (), SegmentKind.HOLIDAY, name
    return usual, SegmentKind.OPEN, None


def _span(day: date, window: Window, zone: ZoneInfo) -> tuple[int, int] | None:
    """A window on one day; None when the change to summer time swallows it."""
    last_day = day if window.opens < window.closes else day + _DAY
    span = _utc(day, window.opens, zone), _utc(last_day, window.closes, zone)
    return span if span[0] < span[1] else None


def _utc(day: date, at: time, zone: ZoneInfo) -> int:
    """The moment of a local time. Of a repeated hour it is the first; a skipped one is the moment of the change.

    So windows that meet on paper meet in time as well.
    """
    first = datetime.combine(day, at, zone)
    second = first.replace(fold=1)
    low, high = _micros(second), _micros(first)
    while high - low > 1:
        middle = (low + high) // 2
        is_changed = _instant(middle).astimezone(zone).utcoffset() == second.utcoffset()
        low, high = (low, middle) if is_changed else (middle, high)
    return high


def _digest(*content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()[:12]


def _micros(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


def _micros_of(length: timedelta) -> int:
    return length // _MICROSECOND


def _instant(micros: int) -> datetime:
    return _EPOCH + micros * _MICROSECOND


def _ends_at(closed: _Closed) -> datetime:
    return closed.ends_at


def _instants(steps: Sequence[int]) -> list[datetime]:
    """What `_steps` made of instants."""
    found: list[datetime] = []
    at = _EPOCH
    for length in _lengths(steps):
        found.append(at := at + length)
    return found


def _lengths(micros: Sequence[int]) -> Iterator[timedelta]:
    """There are few different ones, so each is made once."""
    made = {one: one * _MICROSECOND for one in set(micros)}
    return map(made.__getitem__, micros)


def _steps(numbers: Sequence[int]) -> list[int]:
    """The first number, and from each to the next."""
    return [*numbers[:1], *map(sub, numbers[1:], numbers)]


def _column(numbers: Sequence[int]) -> bytes:
    return _packed([len(numbers), *numbers])


def _packed(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}q", *numbers)


def _columns(content: bytes, at: int) -> Iterator[tuple[int, ...]]:
    while at < len(content):
        (length,) = struct.unpack_from("<q", content, at)
        yield struct.unpack_from(f"<{length}q", content, at + 8)
        at += 8 + 8 * length
