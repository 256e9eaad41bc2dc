"""Runs a service: its HTTP side and its long-lived parts in one event loop, until told to stop.

A part that ends or fails by itself ends the process (whoever supervises it starts it anew): nothing that matters lives in
memory.
"""

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, NoReturn, Protocol, TypeVar

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI

from shared.errors import TransientFailure
from shared.messaging.kafka import Kafka
from shared.messaging.pauses import Pauses
from shared.runtime.database import Database
from shared.runtime.log import configure_log
from shared.runtime.migrate import migrate
from shared.runtime.now import Now, machine_now
from shared.runtime.settings import BAD_CONFIGURATION, ServiceSettings, settings_or_exit

STOP_SECONDS = 15.0
POOL_SIZE = 5

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
    """A service, wired: what it answers and what runs in it. Parts are stopped in this order."""

    api: FastAPI
    parts: Sequence[Part]
    works_without_kafka: bool = False
    """It starts while the broker is away; missing topics are made as soon as it is there."""


S_contra = TypeVar("S_contra", bound=ServiceSettings, contravariant=True)


class Build(Protocol[S_contra]):
    """A service's wiring. `bulk` and `urgent` are pools of their own on the same schema."""

    def __call__(self, settings: S_contra, *, now: Now, kafka: Kafka, bulk: Database, urgent: Database) -> App: ...


S = TypeVar("S", bound=ServiceSettings)


def main(name: str, settings_class: type[S], build: Build[S]) -> NoReturn:
    """Run a service to its end and leave with its exit status; with `--check-config` only look at settings and files."""
    settings = settings_or_exit(settings_class)
    configure_log(name, settings.log_level)
    try:
        service = _Service(name, settings, build)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(BAD_CONFIGURATION)
    if "--check-config" in sys.argv[1:]:
        sys.exit(0)
    status = uvloop.run(service.serve())
    log.info("stopped", status=status)
    sys.exit(status)


class _Service(Generic[S]):
    """A wired service and the engines' clients it works with; nothing is connected before `serve`."""

    def __init__(self, name: str, settings: S, build: Build[S]) -> None:
        """
        Raises:
            OSError: a file that the settings name cannot be read.
            ValueError: a file contradicts itself; the message says where.
        """
        self._package = name.replace("-", "_")
        self._settings = settings
        self._url = settings.database_url.get_secret_value()
        self._kafka = Kafka(
            settings.kafka_bootstrap_servers, topic_prefix=settings.topic_prefix, client_id=f"support-{name}"
        )
        self._bulk = Database(self._url, schema=self._package, pool_size=POOL_SIZE)
        self._urgent = Database(self._url, schema=self._package, pool_size=POOL_SIZE)
        self._app = build(settings, now=machine_now, kafka=self._kafka, bulk=self._bulk, urgent=self._urgent)

    async def serve(self) -> int:
        """Serve until SIGTERM or SIGINT; answers the exit status."""
        making: asyncio.Task[None] | None = None
        try:
            if not self._app.works_without_kafka:
                return await _run(self._app, self._settings, first=[self._tables, self._topics])
            making = asyncio.create_task(_take([self._topics], asyncio.Event()), name="topics")
            return await _run(self._app, self._settings, first=[self._tables])
        finally:
            if making is not None:
                making.cancel()
            await self._bulk.close()
            await self._urgent.close()

    async def _tables(self) -> None:
        await migrate(self._url, schema=self._package, package=self._package)

    async def _topics(self) -> None:
        await self._kafka.create_topics(
            replication_factor=self._settings.topic_replication_factor,
            min_insync_replicas=self._settings.topic_min_insync_replicas,
        )


async def _run(app: App, settings: ServiceSettings, first: Sequence[Callable[[], Awaitable[None]]]) -> int:
    """Serve until SIGTERM or SIGINT; answers the exit status, 1 when a part ended by itself."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = _server(app, settings)
    serving = asyncio.create_task(server.serve(), name="http")
    working = asyncio.create_task(_work(app, first, stop), name="parts")
    await asyncio.wait({working, serving}, return_when=asyncio.FIRST_COMPLETED)
    failed = serving.done()
    stop.set()
    server.should_exit = True
    failed |= not await working
    await asyncio.wait({serving}, timeout=STOP_SECONDS)
    return 1 if failed else 0


async def _work(app: App, first: Sequence[Callable[[], Awaitable[None]]], stop: asyncio.Event) -> bool:
    """Take the first steps, then run the parts until told to stop; False when a part ended by itself."""
    await _take(first, stop)
    if stop.is_set():
        return True
    app.api.state.started = True
    _rarely_collect_garbage()
    log.info("started", parts=[part.name for part in app.parts])
    running = {asyncio.create_task(part.run(), name=part.name): part for part in app.parts}
    stopping = asyncio.create_task(_until(stop), name="stop")
    done, _ = await asyncio.wait({*running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    failed = done - {stopping}
    for task in failed:
        log.error("a part ended by itself", part=task.get_name(), exc_info=task.exception())
    stop.set()
    for part in app.parts:
        await part.stop()
    _, late = await asyncio.wait(running, timeout=STOP_SECONDS)
    for task in late:
        log.warning("a part did not stop in time", part=task.get_name())
        task.cancel()
    return not failed


def _rarely_collect_garbage() -> None:
    """A batch makes tens of thousands of short-lived objects and no cycles; by default the collector would walk the whole
    heap many times for each batch, which cost a fifth of the router's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


def _server(app: App, settings: ServiceSettings) -> uvicorn.Server:
    config = uvicorn.Config(
        app.api,
        host=settings.http_host,
        port=settings.http_port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=5,
        http="httptools",
    )
    return _Server(config)


class _Server(uvicorn.Server):
    """Signals are ours: they stop the parts first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _take(steps: Sequence[Callable[[], Awaitable[None]]], stop: asyncio.Event) -> None:
    """Take the first steps, waiting for the world as long as it takes."""
    for step in steps:
        pauses = Pauses()
        while not stop.is_set():
            try:
                await step()
                break
            except TransientFailure as failure:
                log.warning("waiting", step=step.__name__, reason=str(failure))
                await pauses.wait(stop)
