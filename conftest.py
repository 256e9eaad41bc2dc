"""Fixtures for every test: the real engines, started once for the session when a test first asks for them."""

import asyncio
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
import structlog
from hypothesis import HealthCheck, settings

import shared  # noqa: F401 - before pytest takes the folder of that name for a namespace package
from deploy import processes
from deploy.engines import Engines
from deploy.provider import provide_engines
from shared.runtime.migrate import migrate

# How random tests draw their examples: always the same ones, unless --hypothesis-profile=random asks for new ones. A machine
# that is busy fails no test.
for name, is_repeatable in (("repeatable", True), ("random", False)):
    settings.register_profile(
        name,
        derandomize=is_repeatable,
        database=None,
        print_blob=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile("repeatable")

# A traceback that is logged stays as short as Python writes it: with every local it takes seconds, and deadlines pass meanwhile.
plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])

# Tests that run side by side have engines of their own each, and take turns with the ports.
if "PYTEST_XDIST_WORKER" in os.environ:
    number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    processes.PORTS = processes.PORTS[number :: int(os.environ["PYTEST_XDIST_WORKER_COUNT"])]

# A broker of a few minutes spends more on optimising its code than it wins by that.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs engines, so that `-m "not engines"` is the unit suite."""
    for item in items:
        if "engines" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.engines)


def fast_disk() -> str | None:
    """Where engines of tests keep their data: in memory where there is such a place. It outlives every kill of a process;
    only the loss of power would be another matter, and no test cuts that."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture(scope="module")
def engine_directory() -> Iterator[Path]:
    """A place for engines of a file's own."""
    with tempfile.TemporaryDirectory(prefix="support-engines-", dir=fast_disk()) as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    """Kafka and PostgreSQL from the provider of the environment (PROVIDER=given|containers|embedded)."""
    with tempfile.TemporaryDirectory(prefix="support-engines-", dir=fast_disk()) as directory:
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


@pytest.fixture(scope="session")
def template_with_tables(engines: Engines) -> Iterator[Callable[[str], str]]:
    """Makes a database with the tables of a service, for others to be copies of: that takes less than migrating each."""
    made: list[str] = []

    def make(package: str) -> str:
        made.append(f"template_{package}_{secrets.token_hex(4)}")
        asyncio.run(_make_template(engines.database_url, made[-1], package))
        return made[-1]

    yield make
    for name in made:
        asyncio.run(_execute(engines.database_url, f"drop database {name} with (force)"))


@pytest.fixture(scope="session")
def template() -> str:
    """What a test's database is a copy of: an empty one, unless the tests of a service say otherwise."""
    return "template1"


@pytest.fixture
async def database_url(engines: Engines, template: str) -> AsyncIterator[str]:
    """A database of the test's own."""
    name = f"test_{secrets.token_hex(4)}"
    await _execute(engines.database_url, f"create database {name} template {template}")
    yield _in_database(engines.database_url, name)
    await _execute(engines.database_url, f"drop database {name} with (force)")


async def _make_template(url: str, name: str, package: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "select pg_advisory_lock(hashtext('support templates'))"
        )  # roles are of the whole server
        await connection.execute(f"create database {name}")
        await migrate(_in_database(url, name), schema=package, package=package)
    finally:
        await connection.close()


def _in_database(url: str, name: str) -> str:
    return url.rpartition("/")[0] + f"/{name}"


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
