"""A connection that dies is a world that fails, whatever the driver calls it, and nobody gets it from the pool again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from shared.errors import TransientFailure
from shared.runtime.database import Database, is_transient


class Wire:
    """Carries bytes to the server and back; the client never hears that the server has hung up."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._ends = asyncio.Event()
        self.hung_up = asyncio.Event()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(*self._server)
        there = asyncio.create_task(self._pump(reader, to_server))
        await self._pump(from_server, writer)
        self.hung_up.set()
        await self._ends.wait()
        there.cancel()
        for end in (to_server, writer):
            end.close()

    def cut(self) -> None:
        self._ends.set()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while chunk := await source.read(65536):
                target.write(chunk)
                await target.drain()
        except OSError:
            return


@asynccontextmanager
async def through_a_wire(url: str) -> AsyncIterator[tuple[str, Wire]]:
    """The URL of the same database behind a wire."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    wire = Wire(parts.hostname, parts.port)
    server = await asyncio.start_server(wire.carry, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{port}"), wire
    finally:
        wire.cut()
        server.close()
        await server.wait_closed()


async def test_a_session_ended_before_its_next_statement_is_a_transient_failure(database_url: str) -> None:
    """The server's last words have been read and the socket is still open: the driver calls that a fault of its own."""
    async with through_a_wire(database_url) as (url, wire):
        database = Database(url, schema="public", pool_size=1, use_role=False)
        with pytest.raises(TransientFailure):
            await _work_while_the_session_ends(database, database_url, wire)
        async with database.transaction() as connection:
            assert await connection.fetchval("select 1") == 1
        wire.cut()
        await database.close()


def test_other_faults_of_the_driver_are_bugs() -> None:
    """They would fail the same way for ever."""
    assert not is_transient(asyncpg.InternalClientError("no decoder for OID 600"))


async def test_a_value_that_no_column_holds_is_a_bug(database_url: str) -> None:
    """Whoever tried it again would never come past it."""
    database = Database(database_url, schema="public", pool_size=1, use_role=False)
    with pytest.raises(asyncpg.DataError):
        async with database.connection() as connection:
            await connection.fetchval("select $1::integer", 2**40)
    await database.close()


async def _work_while_the_session_ends(database: Database, url: str, wire: Wire) -> None:
    async with database.transaction() as connection:
        other = await asyncpg.connect(url)
        await other.execute("select pg_terminate_backend($1)", connection.get_server_pid())
        await other.close()
        await asyncio.wait_for(wire.hung_up.wait(), 5)
