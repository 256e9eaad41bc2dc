"""The outside watcher: whoever raises the alarm when we are silent, since what has failed cannot tell of it."""

import asyncio
from datetime import datetime, timedelta

import httpx2
from prometheus_client import Counter
from pydantic import SecretStr

from shared.runtime.now import Now

BEAT_EVERY = timedelta(seconds=30)
BEAT_SECONDS = 5.0

BEATS = Counter("support_beats_total", "Beats to the outside watcher, by outcome.", ["outcome"])


class Beat:
    """A POST to the outside watcher, every 30 seconds for as long as whoever calls `send` finds that all is well."""

    def __init__(self, url: SecretStr | None, now: Now) -> None:
        self._url = url
        self._now = now
        self._sent_at: datetime | None = None
        self._trouble: str | None = None

    async def send(self) -> str | None:
        """Send one if it is time for it; why the last one was not taken, or None."""
        if self._url is None or (self._sent_at is not None and self._now() - self._sent_at < BEAT_EVERY):
            return self._trouble
        self._sent_at = self._now()
        try:
            async with asyncio.timeout(BEAT_SECONDS), httpx2.AsyncClient(timeout=BEAT_SECONDS) as client:
                answer = await client.post(self._url.get_secret_value())
        except (
            httpx2.HTTPError,
            httpx2.InvalidURL,
            OSError,
            ExceptionGroup,
        ) as error:  # the last of a port there cannot be
            outcome = type(error).__name__
        else:
            outcome = "taken" if answer.is_success else f"answered {answer.status_code}"
        BEATS.labels("taken" if outcome == "taken" else "failed").inc()
        self._trouble = None if outcome == "taken" else f"the outside watcher was not reached: {outcome}"
        return self._trouble
