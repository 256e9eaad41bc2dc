"""Business time: what was promised in days is counted in opening hours (L2-L4).

A calendar is compiled once to opening segments in UTC with the business time that lies before each, so that adding and
measuring are two binary searches at any horizon. Inside, instants are whole microseconds since 1970: exact, and daylight
saving changes are settled when the calendar is compiled.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.policy.model import WEEKDAYS, CalendarPolicy, Window

HORIZON = range(2000, 2061)
"""The years a calendar is compiled for. Fixed, so that the same calendar has the same name whenever it is loaded."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = _EPOCH.replace(tzinfo=None)
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)


class CalendarRefused(ValueError):  # noqa: N818 - it names the calendar
    """The calendar contradicts itself or does not open; the message says where (L3)."""


class OutsideHorizon(ValueError):  # noqa: N818
    """The instant, or what is counted from it, lies outside the years the calendar was compiled for."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """When business time counts. Windows are half-open; what ends at closing time ends at closing time (L3)."""

    name: str
    """`<id>@<hash of the compiled segments>`: equal names give equal due times (L15)."""
    nominal_day: timedelta
    """What one business day of a target is worth (L3)."""
    _horizon: tuple[int, int]
    _opens: Sequence[int] = field(repr=False)
    _closes: Sequence[int] = field(repr=False)
    _before: Sequence[int] = field(repr=False)
    """Business time before each segment; the last item is the total."""
    _day: Sequence[int] = field(repr=False)
    """For each segment the number of the business day on which it opens."""
    _day_closes: Sequence[int] = field(repr=False)
    """Close of business of each business day."""

    def add(self, instant: datetime, length: timedelta) -> datetime:
        """The earliest instant by which `length` of business time has passed since `instant` (L3).

        Raises:
            OutsideHorizon: it lies outside the calendar's years.
        """
        if length <= timedelta(0):
            return instant
        goal = self._position(_micros(instant)) + _micros_of(length)
        if goal > self._before[-1]:
            raise OutsideHorizon(self.name)
        segment = bisect_left(self._before, goal) - 1
        return _instant(self._opens[segment] + goal - self._before[segment])

    def measure(self, start: datetime, end: datetime) -> timedelta:
        """The business time between two instants; nothing when `end` is not after `start` (L3).

        Raises:
            OutsideHorizon: as for `add`.
        """
        if end <= start:
            return timedelta(0)
        return timedelta(microseconds=self._position(_micros(end)) - self._position(_micros(start)))

    def close_of_business(self, instant: datetime, *, business_days_later: int = 0) -> datetime:
        """Close of the business day on which counting from `instant` starts, or of a later one (L4).

        Raises:
            OutsideHorizon: as for `add`.
        """
        segment = bisect_right(self._closes, self._inside(_micros(instant)))
        if segment == len(self._closes) or self._day[segment] + business_days_later >= len(self._day_closes):
            raise OutsideHorizon(self.name)
        return _instant(self._day_closes[self._day[segment] + business_days_later])

    def covers(self, instant: datetime) -> bool:
        """Whether the calendar can count from this instant; its last year is kept free for what is counted."""
        return self._horizon[0] <= _micros(instant) < self._horizon[1] - 365 * _micros_of(_DAY)

    def _position(self, moment: int) -> int:
        """The business time between the beginning of the horizon and a moment."""
        segment = bisect_right(self._opens, self._inside(moment)) - 1
        if segment < 0:
            return 0
        return self._before[segment] + min(moment, self._closes[segment]) - self._opens[segment]

    def _inside(self, moment: int) -> int:
        if not self._horizon[0] <= moment < self._horizon[1]:
            raise OutsideHorizon(self.name)
        return moment


def compile_calendar(policy: CalendarPolicy, holidays: Mapping[date, str], years: range = HORIZON) -> Calendar:
    """The calendar that the policy's opening hours and these public holidays make over `years` (L2, L3).

    A special day replaces the weekday's hours and any holiday. A window belongs to the day on which it opens: a night shift
    that began before a holiday is finished.

    Raises:
        CalendarRefused: unknown zone, overlapping windows, a day both closed and special, a calendar that never opens or
            stops opening before its horizon ends.
    """
    try:
        zone = ZoneInfo(policy.zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise CalendarRefused(f"{policy.id}: there is no time zone {policy.zone}") from None
    if both := sorted(policy.closed_days.keys() & policy.special_days.keys()):
        raise CalendarRefused(f"{policy.id}: {both[0]} is both a closed and a special day")
    opens: list[int] = []
    closes: list[int] = []
    days: list[int] = []
    day_closes: list[int] = []
    closed = holidays.keys() | policy.closed_days.keys()
    for day in _days(years):
        spans = [span for window in _windows(policy, day, closed) if (span := _span(day, window, zone))]
        for opens_at, closes_at in sorted(spans):
            if closes and opens_at < closes[-1]:
                raise CalendarRefused(f"{policy.id}: windows overlap on {day}")
            opens.append(opens_at)
            closes.append(closes_at)
            days.append(len(day_closes))
        if spans:
            day_closes.append(closes[-1])
    horizon = (_utc(date(years[0], 1, 1), time(), zone), _utc(date(years[-1] + 1, 1, 1), time(), zone))
    if not closes or closes[-1] < horizon[1] - 365 * _micros_of(_DAY):
        raise CalendarRefused(f"{policy.id}: no business time in {years[-1]}")
    lengths = [end - start for start, end in zip(opens, closes, strict=True)]
    return Calendar(
        name=f"{policy.id}@{_digest(policy.nominal_day_minutes, opens, closes, days)}",
        nominal_day=timedelta(minutes=policy.nominal_day_minutes),
        _horizon=horizon,
        _opens=opens,
        _closes=closes,
        _before=list(accumulate(lengths, initial=0)),
        _day=days,
        _day_closes=day_closes,
    )


def _days(years: range) -> Iterator[date]:
    day, end = date(years[0], 1, 1), date(years[-1] + 1, 1, 1)
    while day < end:
        yield day
        day += _DAY


def _windows(policy: CalendarPolicy, day: date, closed: Iterable[date]) -> tuple[Window, ...]:
    if (special := policy.special_days.get(day)) is not None:
        return special
    return () if day in closed else policy.opening_hours.get(WEEKDAYS[day.weekday()], ())


def _span(day: date, window: Window, zone: ZoneInfo) -> tuple[int, int] | None:
    """A window on one day; None when the change to summer time swallows it."""
    last_day = day if window.opens < window.closes else day + _DAY
    span = _utc(day, window.opens, zone), _utc(last_day, window.closes, zone)
    return span if span[0] < span[1] else None


def _utc(day: date, at: time, zone: ZoneInfo) -> int:
    """The moment of a local time. Of a repeated hour it is the first; a skipped one is the moment of the change.

    So windows that meet on paper meet in time as well.
    """
    wall = datetime.combine(day, at)
    first, second = (_offset(wall.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    low, high = ((wall - _NAIVE_EPOCH) // _MICROSECOND - offset for offset in (second, first))
    if first >= second:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _offset(_instant(middle).astimezone(zone)) == second else (middle, high)
    return high


def _offset(local: datetime) -> int:
    offset = local.utcoffset()
    assert offset is not None
    return _micros_of(offset)


def _digest(*content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()[:12]


def _micros(instant: datetime) -> int:
    return _micros_of(instant - _EPOCH)


def _micros_of(length: timedelta) -> int:
    return (length.days * 86_400 + length.seconds) * 1_000_000 + length.microseconds


def _instant(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
