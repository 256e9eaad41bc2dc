"""Fixtures for every test: the real engines, started once for the session when a test first asks for them."""

import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from deploy.engines import Engines
from deploy.provider import provide_engines

import shared  # noqa: F401 - before pytest takes the folder of that name for a namespace package


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs engines, so that `-m "not engines"` is the unit suite."""
    for item in items:
        if "engines" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.engines)


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    """Kafka and PostgreSQL from the provider of the environment (PROVIDER=given|containers|embedded)."""
    with tempfile.TemporaryDirectory(prefix="support-engines-") as directory:
        engines = provide_engines(Path(directory))
        engines.start()
        yield engines
        engines.stop()


@pytest.fixture(scope="session")
def kafka_address(engines: Engines) -> str:
    """The broker's host:port, shared by all tests: name topics with `topic_prefix` and groups likewise."""
    return engines.kafka_address


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for the names of topics that no other test uses."""
    return f"t{secrets.token_hex(4)}."


@pytest.fixture
async def database_url(engines: Engines) -> AsyncIterator[str]:
    """An empty database of the test's own."""
    name = f"test_{secrets.token_hex(4)}"
    await _execute(engines.database_url, f"create database {name}")
    yield engines.database_url.rpartition("/")[0] + f"/{name}"
    await _execute(engines.database_url, f"drop database {name} with (force)")


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
