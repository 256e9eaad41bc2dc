"""Time that moves by hand."""

from datetime import UTC, datetime, timedelta


class FakeNow:
    """A `now` that stands still until it is told to move."""

    def __init__(self, instant: datetime = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)) -> None:
        self.instant = instant

    def __call__(self) -> datetime:
        return self.instant

    def advance(self, **length: float) -> datetime:
        """Move by `timedelta(**length)`, for example `hours=4`. Answers the new instant."""
        self.instant += timedelta(**length)
        return self.instant

    def set(self, instant: datetime) -> None:
        self.instant = instant
