"""One destination's trouble is its own: each has its own places, its own pace and its own pause after failures.

So has each channel, since a provider may fail for all of its destinations at once. All of it lives in this process and is
forgotten with it; what has to survive is in the rows of the notifications.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from notifier.domain.notification import Channel
from notifier.domain.retry import Outcome, SendResult
from notifier.senders import Message, Sender
from shared.runtime.now import Now

FORGOTTEN_AFTER = timedelta(minutes=10)
_BUSY = timedelta(milliseconds=250)
"""When to come back to a destination all of whose places are taken."""
_MISSING = SendResult(Outcome.PERMANENT, "channel_missing")
_PLACES_OF_MISSING = 4


@dataclass(frozen=True, slots=True)
class Allowance:
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
        places: messages under way together on the whole channel.
    """

    def __init__(self, sender: Sender, allowance: Allowance, now: Now, *, places: int) -> None:
        self.places = places
        self._sender = sender
        self._allowance = allowance
        self._now = now
        self._known: dict[str, _Destination] = {}

    async def send(self, message: Message, *, within: timedelta) -> SendResult:
        """Hand the message over now, or say when to come back."""
        name, now = message.destination, self._now()
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

    def busy(self) -> list[str]:
        """The destinations that have to be spared now."""
        return [name for name in self._known if self.room(name) == 0]

    def troubled(self) -> list[str]:
        """Those of them that have failed lately; the others only have enough to do."""
        return [name for name in self.busy() if self._known[name].failures]

    def room(self, name: str) -> int:
        """How many messages the destination may be handed now; one that is in trouble gets one to show that it is back."""
        destination = self._known.get(name)
        if destination is not None and self._wait(destination, self._now()) is not None:
            return 0
        if self._allowance.per_second or (destination and destination.failures >= self._allowance.opens_after):
            return 1
        return self._allowance.at_once - (destination.under_way if destination else 0)

    async def close(self) -> None:
        await self._sender.close()

    def _wait(self, destination: _Destination, now: datetime) -> timedelta | None:
        """How long this destination has to be spared; None when it may be asked now."""
        if destination.not_before is not None and now < destination.not_before:
            return destination.not_before - now
        in_trouble = destination.failures >= self._allowance.opens_after
        if destination.under_way >= (1 if in_trouble else self._allowance.at_once):
            return _BUSY
        every = timedelta(seconds=1 / self._allowance.per_second) if self._allowance.per_second else timedelta(0)
        while destination.sent_at and now - destination.sent_at[0] >= every:
            destination.sent_at.popleft()
        return every - (now - destination.sent_at[0]) if destination.sent_at else None

    def _learn(self, destination: _Destination, result: SendResult) -> None:
        """From what the destination answered: an answer that is final, or about the message alone, is no sign of trouble."""
        if result.outcome in (Outcome.ACCEPTED, Outcome.PERMANENT) or result.of_message:
            destination.failures = 0
            return
        destination.failures += 1
        pause = result.retry_after
        if pause is None and destination.failures >= self._allowance.opens_after:
            pause = self._allowance.left_alone_for
        if pause is not None:
            destination.not_before = self._now() + pause

    def _forget_unused(self) -> None:
        """The one used longest ago stands first; one that asked to be left alone for longer is remembered."""
        now = self._now()
        for name, first in list(self._known.items()):
            if now - first.used_at < FORGOTTEN_AFTER:
                return
            if not first.under_way and (first.not_before is None or first.not_before <= now):
                del self._known[name]


class Channels:
    """The ways out of one lane, side by side: a channel that hangs takes no place of another."""

    def __init__(self, of: Mapping[Channel, Destinations]) -> None:
        self._of = of
        self.places = {channel: of[channel].places if channel in of else _PLACES_OF_MISSING for channel in Channel}
        """How many messages may be under way together."""

    async def send(self, message: Message, *, within: timedelta) -> SendResult:
        """Hand the message over by its channel; one that this deployment does not have fails for good."""
        of = self._of.get(message.channel)
        return _MISSING if of is None else await of.send(message, within=within)

    def room(self, channel: Channel, destination: str) -> int:
        """How many messages a destination may be handed now."""
        of = self._of.get(channel)
        return _PLACES_OF_MISSING if of is None else of.room(destination)

    def busy(self) -> list[str]:
        """The destinations of all channels that have to be spared now."""
        return [name for one in self._of.values() for name in one.busy()]

    def troubled(self) -> list[str]:
        """Those of them that have failed lately."""
        return [name for one in self._of.values() for name in one.troubled()]

    async def close(self) -> None:
        for one in self._of.values():
            await one.close()
