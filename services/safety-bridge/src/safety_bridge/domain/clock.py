"""One promise of an incident: nothing pauses it, only its own outcome stops it, and it tells each threshold once (S4)."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from shared.vocabulary import IncidentClass

ALL = 100


class Promise(StrEnum):
    """What has to happen in time."""

    ACKNOWLEDGE = "acknowledge"
    OUTCOME = "outcome"
    CONFIRMATION = "confirmation"
    """That whoever was handed over to has confirmed it."""


ClockKey = tuple[Promise, IncidentClass | None]
"""Which of an incident's promises: a confirmation is of a hand-off and has no class."""


class Step(StrEnum):
    STARTED = "started"
    WARNING = "warning"
    BREACHED = "breached"
    MET = "met"
    MOVED = "moved"
    """The incident goes on as another one, whose clock stands for this promise too."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What a look found, with its true time, however late the look was. `percent` of the time was used up by then."""

    step: Step
    at: datetime
    percent: int


@dataclass(frozen=True, slots=True)
class Clock:
    """`due_at` never moves later. `told` counts the thresholds that were told, the breach last."""

    promise: Promise
    incident_class: IncidentClass | None
    started_at: datetime
    due_at: datetime
    told: int = 0
    met_at: datetime | None = None

    @property
    def key(self) -> ClockKey:
        return self.promise, self.incident_class

    def tightened(self, started_at: datetime, due_at: datetime) -> Self:
        """The clock by earlier times, where these are earlier; what was told stays told."""
        return replace(self, started_at=min(self.started_at, started_at), due_at=min(self.due_at, due_at))

    def look(
        self, now: datetime, *, outcome_at: datetime | None, warn_at: tuple[int, ...]
    ) -> tuple[Self, tuple[Notice, ...]]:
        """The clock after a look, and each threshold that passed before its outcome and was not told; then the outcome."""
        met_at = min((at for at in (self.met_at, outcome_at) if at is not None), default=None)
        passed = [
            (percent, at) for percent, at in self._thresholds(warn_at) if (at <= now if met_at is None else at < met_at)
        ]
        notices = [
            Notice(Step.BREACHED if percent == ALL else Step.WARNING, at, percent)
            for percent, at in passed[self.told :]
        ]
        if met_at is not None and self.met_at is None:
            notices.append(Notice(Step.MET, met_at, self.percent_at(met_at)))
        return replace(self, told=max(self.told, len(passed)), met_at=met_at), tuple(notices)

    def next_at(self, warn_at: tuple[int, ...]) -> datetime | None:
        """When the next threshold passes; None once met or breached."""
        left = [at for _, at in self._thresholds(warn_at)][self.told :]
        return left[0] if left and self.met_at is None else None

    def percent_at(self, at: datetime) -> int:
        """How much of the time is used up, in whole percent."""
        return max(0, ALL * (at - self.started_at) // (self.due_at - self.started_at))

    def _thresholds(self, warn_at: tuple[int, ...]) -> list[tuple[int, datetime]]:
        within = self.due_at - self.started_at
        return [(percent, self.started_at + within * percent / ALL) for percent in (*warn_at, ALL)]
