"""Runs a service: its HTTP side and its long-lived parts in one event loop, until told to stop.

A part that ends or fails by itself ends the process (the supervisor starts it anew): nothing that matters lives in memory.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI

from shared.errors import TransientFailure
from shared.messaging.pauses import Pauses
from shared.runtime.database import Database
from shared.runtime.settings import ServiceSettings

STOP_SECONDS = 20.0

log = structlog.get_logger()


class Part(Protocol):
    """Something that runs as long as the service does."""

    name: str

    async def run(self) -> None: ...

    async def stop(self) -> None:
        """Finish what is in hand; `run` returns soon after."""

    def failing(self) -> str | None:
        """Why the service is not ready because of this part, or None."""


@dataclass(frozen=True)
class App:
    """A service, wired: what it answers, what runs in it, and what has to be closed at the end."""

    name: str
    api: FastAPI
    parts: Sequence[Part]
    databases: Sequence[Database]
    first: Sequence[Callable[[], Awaitable[None]]] = field(default=())
    """Steps before anything starts (tables, topics); each is tried again while the world is away."""


async def run_app(app: App, settings: ServiceSettings) -> int:
    """Serve until SIGTERM or SIGINT; answers the exit status, 1 when a part failed."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = _Server(
        uvicorn.Config(
            app.api,
            host=settings.http_host,
            port=settings.http_port,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=5,
            http="httptools",
            limit_concurrency=2000,
        )
    )
    serving = asyncio.create_task(server.serve(), name="http")
    failed = False
    if await _first(app, stop):
        app.api.state.started = True
        log.info("started", parts=[part.name for part in app.parts])
        running = {asyncio.create_task(part.run(), name=part.name) for part in app.parts}
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait({*running, serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopping}:
            failed = True
            error = task.exception()
            log.error(
                "a part ended",
                part=task.get_name(),
                error=type(error).__name__ if error else "returned",
                exc_info=error,
            )
        stopping.cancel()
        await _stop(app, running)
    server.should_exit = True
    await asyncio.wait({serving}, timeout=STOP_SECONDS)
    for database in app.databases:
        await database.close()
    return 1 if failed else 0


class _Server(uvicorn.Server):
    """Signals are ours: they stop the parts first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _first(app: App, stop: asyncio.Event) -> bool:
    """Take the first steps, waiting for the world as long as it takes; False when told to stop meanwhile."""
    for step in app.first:
        pauses = Pauses()
        while not stop.is_set():
            try:
                await step()
                break
            except TransientFailure as failure:
                log.warning("waiting", step=getattr(step, "__name__", "step"), reason=str(failure))
                await pauses.wait(stop)
    return not stop.is_set()


async def _stop(app: App, running: set[asyncio.Task[None]]) -> None:
    for part in app.parts:
        await part.stop()
    _, late = await asyncio.wait(running, timeout=STOP_SECONDS)
    for task in late:
        log.warning("a part did not stop in time", part=task.get_name())
        task.cancel()


def run(name: str, start: Coroutine[Any, Any, int]) -> None:
    """Run a service to its end and leave with its exit status. What the process holds is given up by the kernel."""
    status = uvloop.run(start)
    log.info("stopped", service=name, status=status)
    sys.stdout.flush()
    sys.exit(status)
