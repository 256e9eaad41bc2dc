"""The machine's time. This module alone reads it; everything else is given `now`."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Now = Callable[[], datetime]
"""Answers the instant, aware and in UTC."""


def machine_now() -> datetime:
    """The machine's time, UTC."""
    return datetime.now(UTC)  # noqa: TID251 - the one place that may


Monotonic = Callable[[], float]
"""Answers seconds that only ever go forwards, as time does; they say nothing about the instant."""


def machine_monotonic() -> float:
    """Seconds of the machine's monotonic clock."""
    return time.monotonic()
