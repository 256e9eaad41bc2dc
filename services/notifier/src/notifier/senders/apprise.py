"""Everything else that rings, by the package `apprise`; it is there only where the extra of that name was installed.

The package blocks, so each call has a thread. A thread cannot be stopped: one that hangs keeps its place until it ends, and
its destination is not asked again before. The package says no more than yes or no.
"""

import asyncio
import importlib
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib.util import find_spec

from notifier.domain.retry import Outcome, SendResult
from notifier.senders import Message

PACKAGE = "apprise"
THREADS = 16
ACCEPTED = SendResult(Outcome.ACCEPTED, "apprise_ok")
_BUSY = SendResult(Outcome.DEFERRED, "apprise_busy", timedelta(seconds=1))


def is_installed() -> bool:
    """Whether the extra `notifier[apprise]` was installed."""
    return find_spec(PACKAGE) is not None


class AppriseSender:
    """Hands one line to a URL of apprise's own, which is a secret.

    Raises:
        ImportError: the extra was not installed.
    """

    def __init__(self) -> None:
        self._package = importlib.import_module(PACKAGE)
        logging.getLogger(PACKAGE).disabled = True  # it writes addresses into the log
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=PACKAGE)
        self._running: set[str] = set()

    async def send(self, message: Message, *, within: timedelta) -> SendResult:
        """Hand the message over; the code of the result is `apprise_ok` or names the trouble."""
        if message.recipient in self._running or len(self._running) >= THREADS:  # some may hang beyond their deadline
            return _BUSY
        self._running.add(message.recipient)
        thread = asyncio.get_running_loop().run_in_executor(self._threads, self._notify, message)
        thread.add_done_callback(lambda _: self._running.discard(message.recipient))
        try:
            async with asyncio.timeout(within.total_seconds()):
                return await asyncio.shield(thread)
        except TimeoutError:
            return SendResult(Outcome.AMBIGUOUS, "apprise_timeout")

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _notify(self, message: Message) -> SendResult:
        there = self._package.Apprise()
        if not there.add(message.recipient):
            return SendResult(Outcome.PERMANENT, "apprise_address")
        said = there.notify(title="", body=message.subject, body_format=self._package.NotifyFormat.TEXT)
        return ACCEPTED if said else SendResult(Outcome.TRANSIENT, "apprise_refused")
