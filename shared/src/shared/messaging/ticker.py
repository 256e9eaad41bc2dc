"""What happens without a message: looks for due rows again and again. Time due is in the rows, never in memory."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from shared.messaging.pauses import Pauses
from shared.runtime.database import is_transient

log = structlog.get_logger()


class Ticker:
    """Calls `look` every so often, at once again while it answers True (there was more than one look could take)."""

    def __init__(self, name: str, look: Callable[[], Awaitable[bool]], *, every_seconds: float = 1.0) -> None:
        self.name = name
        self._look = look
        self._every_seconds = every_seconds
        self._woken = asyncio.Event()
        self._stop = asyncio.Event()
        self._trouble: str | None = None

    def wake(self) -> None:
        """Something may be due earlier than the next look."""
        self._woken.set()

    def failing(self) -> str | None:
        return self._trouble

    async def stop(self) -> None:
        self._stop.set()
        self._woken.set()

    async def run(self) -> None:
        """Look until stopped; a look that fails is repeated with growing pauses, for ever."""
        pauses = Pauses()
        while not self._stop.is_set():
            self._woken.clear()
            try:
                more = await self._look()
            except Exception as error:
                if not is_transient(error):
                    log.exception("look failed", ticker=self.name, error=type(error).__name__)
                self._trouble = f"not looking: {type(error).__name__}"
                await pauses.wait(self._stop)
                continue
            self._trouble = None
            pauses.reset()
            if not more:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._every_seconds):
                        await self._woken.wait()
