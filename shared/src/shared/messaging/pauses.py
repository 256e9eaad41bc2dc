"""Growing pauses between tries of what may succeed later."""

import asyncio
import random
from contextlib import suppress

FIRST_SECONDS = 0.1
LONGEST_SECONDS = 5.0


class Pauses:
    """Each pause is twice as long as the one before, up to five seconds, with jitter so that replicas do not march in step."""

    def __init__(self) -> None:
        self._next = FIRST_SECONDS

    def reset(self) -> None:
        self._next = FIRST_SECONDS

    async def wait(self, cut_short: asyncio.Event) -> None:
        """Pause; ends early when `cut_short` is set."""
        seconds = self._next * random.uniform(0.8, 1.2)
        self._next = min(self._next * 2, LONGEST_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await cut_short.wait()
