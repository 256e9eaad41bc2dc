"""The ways out. A channel is whatever can hand over a message before a deadline and say what is known of it then."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from notifier.domain.notification import Channel
from notifier.domain.retry import SendResult


@dataclass(frozen=True, slots=True)
class Message:
    """What goes out. `id` is the same on every try, so that repetitions can be recognised; `recipient` is an address, and
    where it is a URL whoever knows it can use it."""

    id: str
    thread: str
    """The same for all messages about one ticket or incident."""
    recipient: str = field(repr=False)
    subject: str
    body: str
    written_at: datetime
    html: str | None = None
    """The same words as the body, for channels that show HTML."""
    language: str | None = None
    channel: Channel = Channel.EMAIL
    destination: str = Channel.EMAIL
    """What shares places, pace and pauses: one mail server, or one URL."""
    to_customer: bool = False


class Sender(Protocol):
    """One channel."""

    async def send(self, message: Message, *, within: timedelta) -> SendResult:
        """Hand the message over. Never raises: what went wrong is in the result."""

    async def close(self) -> None:
        """Give up the connections that wait for another message."""
