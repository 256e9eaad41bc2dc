"""Who is on duty when: rotations in a team's zone, overrides before them, half-open shifts compared in UTC (S4).

A shift begins and ends by the clock on the wall of its zone. A time that the wall skips is the instant at which it leaps, one
that it shows twice is the first of the two, so that shifts follow each other without a gap or a double in every night of the
year (SN-56).
"""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NaiveDatetime,
    StringConstraints,
    model_validator,
)

PersonId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("no such time zone") from None
    return name


def _in_quotes(value: Any) -> Any:
    if isinstance(value, int):
        raise ValueError("write the time in quotes")  # YAML reads 17:00 as a number of the base 60
    return value


WallTime = Annotated[time, BeforeValidator(_in_quotes)]


class Part(BaseModel):
    """A part of the directory file. What is refused is named by its place, never by its value (S5)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_by_name=True)


class Hours(Part):
    """The hours of some days of the week. An end that is not after the beginning is on the next day."""

    days: tuple[Weekday, ...] = Field(min_length=1)
    begins: WallTime = Field(alias="from")
    ends: WallTime = Field(alias="until")


class Rotation(Part):
    """Members in turn, each for a shift of whole days or hours from `start` on, by the wall of `zone`.

    With `hours` only in these: outside them nobody of the rotation is on duty.
    """

    zone: Annotated[str, AfterValidator(_known_zone)]
    start: NaiveDatetime
    shift_days: int | None = Field(default=None, gt=0, le=366)
    shift_hours: int | None = Field(default=None, gt=0, le=366 * 24)
    members: tuple[PersonId, ...] = Field(min_length=1)
    hours: tuple[Hours, ...] = ()

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.shift_days is None) == (self.shift_hours is None):
            raise ValueError("either shift_days or shift_hours")
        return self

    def person(self, at: datetime) -> PersonId | None:
        """Whose shift it is; None before the first one and outside the hours."""
        number = self._shift(at)
        if number < 0 or (self.hours and not any(begin <= at < end for begin, end in self._spans(at))):
            return None
        return self.members[number % len(self.members)]

    def next_edge(self, after: datetime) -> datetime:
        """The first instant after this one at which a shift or its hours begin or end."""
        edges = [self._begin(max(self._shift(after) + 1, 0))]
        edges += [edge for span in self._spans(after) for edge in span if edge > after]
        return min(edges)

    def _shift(self, at: datetime) -> int:
        """The number of the last shift that has begun by then."""
        wall = at.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)
        number = (wall - self.start) // self._length
        while self._begin(number + 1) <= at:
            number += 1
        while self._begin(number) > at:
            number -= 1
        return number

    def _begin(self, number: int) -> datetime:
        return instant(self.start + number * self._length, ZoneInfo(self.zone))

    @property
    def _length(self) -> timedelta:
        return timedelta(days=self.shift_days or 0, hours=self.shift_hours or 0)

    def _spans(self, around: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The hours of the day before `around` and of the eight days from it on."""
        zone = ZoneInfo(self.zone)
        today = around.astimezone(zone).date()
        for hours in self.hours:
            lasts = timedelta(days=int(hours.ends <= hours.begins))
            for day in (today + timedelta(days=number) for number in range(-1, 9)):
                if WEEKDAYS[day.weekday()] in hours.days:
                    begins, ends = datetime.combine(day, hours.begins), datetime.combine(day + lasts, hours.ends)
                    yield instant(begins, zone), instant(ends, zone)


class Override(Part):
    """Somebody stands in for whoever is on duty by the rotation; of several the one created last counts."""

    begins: AwareDatetime = Field(alias="from")
    ends: AwareDatetime = Field(alias="until")
    person: PersonId
    created_at: AwareDatetime

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.ends <= self.begins:
            raise ValueError("until must be after from")
        return self


class Schedule(Part):
    """One person at a time: by the latest override, else by the first rotation that has somebody on duty."""

    rotations: tuple[Rotation, ...] = Field(min_length=1)
    overrides: tuple[Override, ...] = ()

    @property
    def members(self) -> frozenset[PersonId]:
        """Everybody who may ever be on duty by it."""
        in_turn = {member for rotation in self.rotations for member in rotation.members}
        return frozenset(in_turn | {override.person for override in self.overrides})

    def person(self, at: datetime) -> PersonId | None:
        """Who is on duty; nobody where neither override nor rotation covers the instant."""
        standing_in = [one for one in self.overrides if one.begins <= at < one.ends]
        if standing_in:
            return max(reversed(standing_in), key=lambda one: one.created_at).person
        on_duty = (rotation.person(at) for rotation in self.rotations)
        return next((person for person in on_duty if person is not None), None)

    def handovers(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """The instants after the one and up to the other at which somebody else, or nobody, comes on duty."""
        before, at = self.person(after), self._next_edge(after)
        while at <= until:
            if (now := self.person(at)) != before:
                yield at
            before, at = now, self._next_edge(at)

    def _next_edge(self, after: datetime) -> datetime:
        edges = [rotation.next_edge(after) for rotation in self.rotations]
        edges += [edge for one in self.overrides for edge in (one.begins, one.ends) if edge > after]
        return min(edges).astimezone(UTC)


def instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """When the wall of the zone shows this: the first time if twice; the instant of the leap if never."""
    found = wall.replace(tzinfo=zone).astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) == wall:
        return found
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    while found - before > timedelta(seconds=1):
        middle = before + (found - before) // 2
        if middle.astimezone(zone).replace(tzinfo=None) < wall:
            before = middle
        else:
            found = middle
    return found.replace(microsecond=0)
