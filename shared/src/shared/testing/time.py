"""Time that moves by hand."""

from datetime import UTC, datetime, timedelta


class FakeNow:
    """A `now` that stands still until it is told to move: time passes with `advance`; with `set` the clock alone jumps."""

    def __init__(self, instant: datetime = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)) -> None:
        self.instant = instant
        self._elapsed = 0.0

    def __call__(self) -> datetime:
        return self.instant

    def advance(self, **length: float) -> datetime:
        """Move by `timedelta(**length)`, for example `hours=4`. Answers the new instant."""
        self.instant += timedelta(**length)
        self._elapsed += timedelta(**length).total_seconds()
        return self.instant

    def monotonic(self) -> float:
        """The seconds that have passed."""
        return self._elapsed

    def set(self, instant: datetime) -> None:
        self.instant = instant
