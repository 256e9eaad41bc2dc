"""How many events one key may post in a second, so that one producer cannot crowd out the others. Safety is never counted."""

from datetime import datetime

from shared.runtime.http import Problem
from shared.runtime.now import Now


class RateLimit:
    """A bucket of tokens for each key: it holds one second's worth and refills evenly. Each replica counts for itself."""

    def __init__(self, events_per_second: float, *, now: Now) -> None:
        self._events_per_second = events_per_second
        self._now = now
        self._buckets: dict[str, tuple[float, datetime]] = {}

    def take(self, name: str) -> None:
        """
        Raises:
            Problem: 429, with the second in which there is a token again.
        """
        if not self._events_per_second:
            return
        now = self._now()
        tokens, counted_at = self._buckets.get(name, (self._events_per_second, now))
        refilled = max(0.0, (now - counted_at).total_seconds()) * self._events_per_second
        tokens = min(self._events_per_second, tokens + refilled)
        if tokens < 1:
            self._buckets[name] = tokens, now
            raise Problem(429, headers={"retry-after": "1"})
        self._buckets[name] = tokens - 1, now
