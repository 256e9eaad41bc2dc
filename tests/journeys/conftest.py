"""The whole system for a test: real engines, real processes, a real mail catcher."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from deploy.engines import Engines
from deploy.provider import provide_engines
from journeys.system import System

StartSystem = Callable[..., Awaitable[System]]


@pytest.fixture(scope="module")
def own_engines(engine_directory: Path) -> Iterator[Engines]:
    """Engines that a file's tests may kill without troubling others."""
    engines = provide_engines(engine_directory)
    engines.start()
    yield engines
    engines.stop()


@pytest.fixture
def start_system(own_engines: Engines, tmp_path: Path) -> Iterator[StartSystem]:
    """Starts a system with topics and tables of its own; stopped at the end."""
    with ExitStack() as to_stop:

        async def start(**options: Any) -> System:
            system = await System.start(tmp_path, own_engines, **options)
            to_stop.callback(system.stop)
            return system

        yield start


@pytest.fixture(scope="module")
def system(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One running system for all tests of a file: others would fill its queues, and its people's pages would be rolled up."""
    started = asyncio.run(System.start(tmp_path_factory.mktemp("system"), engines))
    yield started
    started.stop()
