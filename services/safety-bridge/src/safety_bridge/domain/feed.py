"""Whether a source of safety signals is heard, and whether everything it has published has arrived (S4, S6)."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from shared.policy.model import Watch

AWAY = timedelta(seconds=30)
"""A watch that has not looked for so long was away itself: the silence meanwhile was its own."""
LARGEST = 2**63 - 2


@dataclass(frozen=True, slots=True)
class Silent:
    """It has not been heard for too long; `repeat` counts how often that was told."""

    since: datetime
    repeat: int


@dataclass(frozen=True, slots=True)
class Back:
    """It was told to be silent and is heard again."""


@dataclass(frozen=True, slots=True)
class Due:
    """What was published from the first to the last number should have arrived by now."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Feed:
    """One configured source. It is armed by the configuration, not by its first heartbeat."""

    source: str
    armed_at: datetime
    looked_at: datetime
    heard_at: datetime | None = None
    highest: int | None = None
    """What its last heartbeat named as the highest number published."""
    silence_told: int = 0
    told_at: datetime | None = None
    checked_to: int | None = None
    due_to: int | None = None
    """The highest number published when it was last asked, and since when we wait for it to arrive."""
    due_since: datetime | None = None

    def look(self, now: datetime, watch: Watch) -> tuple[Self, Silent | Back | None]:
        """The feed after a look, and what there is to tell of its silence."""
        armed_at = now if now - self.looked_at > AWAY else self.armed_at
        feed = replace(self, armed_at=armed_at, looked_at=now)
        since = max(armed_at, self.heard_at or armed_at)
        if now - since <= timedelta(seconds=watch.feed_silent_after_seconds):
            is_back = self.silence_told > 0 and self.heard_at is not None and self.heard_at == since
            if is_back:
                return replace(feed, silence_told=0, told_at=None), Back()
            return feed, None
        again_after = timedelta(minutes=watch.tell_again_after_minutes)
        if self.told_at is not None and now - self.told_at < again_after:
            return feed, None
        return replace(feed, silence_told=self.silence_told + 1, told_at=now), Silent(since, self.silence_told)

    def count(self, now: datetime, watch: Watch) -> tuple[Self, Due | None]:
        """The feed after a look at its numbers, and those that should all have arrived by now.

        Each number is looked for once, some time after a heartbeat has named it or a later one. Numbers count from the first
        heartbeat; a source that begins anew with a lower one is counted from there.
        """
        if self.highest is None:
            return self, None
        if self.checked_to is None or self.highest < self.checked_to:
            return replace(self, checked_to=self.highest, due_to=None, due_since=None), None
        if self.due_to is None or self.due_since is None:
            if self.highest == self.checked_to:
                return self, None
            return replace(self, due_to=self.highest, due_since=now), None
        if now - self.due_since < timedelta(seconds=watch.gap_after_seconds):
            return self, None
        return replace(self, checked_to=self.due_to, due_to=None, due_since=None), Due(self.checked_to + 1, self.due_to)


def number_of(said: object) -> int | None:
    """A sequence number where it is one."""
    is_number = isinstance(said, int) and not isinstance(said, bool) and 0 <= said <= LARGEST
    return said if is_number and isinstance(said, int) else None
