"""The directory in force: the file is read again and again, so that a shift or a stand-in counts within seconds.

A bad edit is refused and the last good one stays in force, since a page must find somebody at every moment (S4).
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog
from prometheus_client import Gauge

from shared.directory import Directory, InvalidDirectory

REFUSED = Gauge(
    "support_directory_refused", "1 while an edit of the directory file is refused and an older one is in force."
)
UNREADABLE = "the file cannot be read"
LOOK_SECONDS = 5.0
"""How often the file is read."""

log = structlog.get_logger()


class DirectoryFile:
    """
    Args:
        check: raises `InvalidDirectory` for what this service cannot use.

    Raises:
        OSError, InvalidDirectory: the first reading fails; later ones are refused instead.
    """

    def __init__(self, path: Path, *, check: Callable[[Directory], None] = lambda _: None) -> None:
        self._path = path
        self._check = check
        self._text: str | None = path.read_text()
        self.directory = self._read(self._text)
        self._refused: str | None = None

    def refused(self) -> str | None:
        """What is wrong with the file as it stands now, or None; names places in it, never an address."""
        return self._refused

    async def look(self) -> bool:
        """Put an edit into force, or refuse it."""
        try:
            text = await asyncio.to_thread(self._path.read_text)
            if text != self._text:
                self._text, self._refused = text, None
                self.directory = self._read(text)
                log.info("directory read")
        except (OSError, ValueError) as error:
            self._refuse(str(error) if isinstance(error, InvalidDirectory) else UNREADABLE)
        REFUSED.set(self._refused is not None)
        return False

    def _read(self, text: str) -> Directory:
        directory = Directory.from_yaml(text)
        self._check(directory)
        return directory

    def _refuse(self, reason: str) -> None:
        if reason == UNREADABLE:
            self._text = None  # once it can be read again it is judged anew
        told = f"an edit is refused and the last good one in force: {reason}"
        if told != self._refused:
            log.error("directory refused", reason=reason)
        self._refused = told
