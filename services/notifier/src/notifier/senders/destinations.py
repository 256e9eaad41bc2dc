"""One destination's trouble is its own: each has its own places, its own pace and its own pause after failures.

All of it lives in this process and is forgotten with it; what has to survive is in the rows of the notifications.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from notifier.domain.retry import Outcome, SendResult
from notifier.senders import Message, Sender
from shared.runtime.now import Now

FORGOTTEN_AFTER = timedelta(minutes=10)
_BUSY = timedelta(milliseconds=250)
"""When to come back to a destination all of whose places are taken."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What one destination is asked to bear."""

    at_once: int
    """Messages under way together."""
    per_second: float | None = None
    opens_after: int = 5
    """Failures in a row after which it is left alone for a while."""
    left_alone_for: timedelta = timedelta(seconds=15)


@dataclass(slots=True)
class _Destination:
    used_at: datetime
    under_way: int = 0
    failures: int = 0
    not_before: datetime | None = None
    sent_at: deque[datetime] = field(default_factory=deque)


class Destinations:
    """A channel that spares each of its destinations. A message that has to wait is not held here: it is `DEFERRED`.

    Args:
        of: what makes two recipients one destination, for example the server.
    """

    def __init__(self, sender: Sender, pace: Pace, now: Now, *, of: Callable[[str], str] = str) -> None:
        self._sender = sender
        self._pace = pace
        self._now = now
        self._of = of
        self._known: dict[str, _Destination] = {}

    async def send(self, message: Message, *, within: timedelta) -> SendResult:
        """Hand the message over now, or say when to come back."""
        name, now = self._of(message.recipient), self._now()
        destination = self._known[name] = self._known.pop(name) if name in self._known else _Destination(now)
        destination.used_at = now
        if (wait := self._wait(destination, now)) is not None:
            return SendResult(Outcome.DEFERRED, "destination_busy", wait)
        destination.under_way += 1
        destination.sent_at.append(now)
        try:
            result = await self._sender.send(message, within=within)
        finally:
            destination.under_way -= 1
        self._learn(destination, result)
        self._forget_unused()
        return result

    async def close(self) -> None:
        await self._sender.close()

    def _wait(self, destination: _Destination, now: datetime) -> timedelta | None:
        """How long this destination has to be spared; None when it may be asked now."""
        if destination.not_before is not None and now < destination.not_before:
            return destination.not_before - now
        if destination.under_way >= self._pace.at_once:
            return _BUSY
        if self._pace.per_second is None:
            return None
        every = timedelta(seconds=1 / self._pace.per_second)
        while destination.sent_at and now - destination.sent_at[0] >= every:
            destination.sent_at.popleft()
        return every - (now - destination.sent_at[0]) if destination.sent_at else None

    def _learn(self, destination: _Destination, result: SendResult) -> None:
        """From what the destination answered: an answer that is final is no sign of trouble."""
        if result.outcome in (Outcome.ACCEPTED, Outcome.PERMANENT):
            destination.failures = 0
            return
        destination.failures += 1
        pause = result.retry_after
        if pause is None and destination.failures >= self._pace.opens_after:
            pause = self._pace.left_alone_for
        if pause is not None:
            destination.not_before = self._now() + pause

    def _forget_unused(self) -> None:
        """The one used longest ago stands first."""
        for name, first in list(self._known.items()):
            if first.under_way or self._now() - first.used_at < FORGOTTEN_AFTER:
                return
            del self._known[name]
