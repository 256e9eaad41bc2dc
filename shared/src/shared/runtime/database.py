"""PostgreSQL as every service uses it: one schema and one role per service, deadlines on everything.

SQLAlchemy keeps the pool (pre-ping, deadlines); statements run on its raw asyncpg connections, because the work is done in
few, large, set-based statements (`unnest`) and the driver's own calls cost half as much.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
from sqlalchemy import exc, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from shared.errors import TransientFailure

Connection: TypeAlias = asyncpg.Connection
STATEMENT_SECONDS = 10
_TRANSIENT_STATES = re.compile(r"^(08|40|53|55|57|58)|^25P0[34]|^XX000")
"""SQLSTATE classes of a world that fails: connection, rollback, resources, locks, operator, system; terminated sessions."""


def role_of(schema: str) -> str:
    """The role that owns a service's schema and may touch no other."""
    return f"support_{schema}"


class Database:
    """A pool of connections that see one service's schema with that service's role."""

    def __init__(self, url: str, *, schema: str, pool_size: int = 4, use_role: bool = True) -> None:
        self._url = url
        self.schema = schema
        settings = {
            "search_path": schema,
            "statement_timeout": str(STATEMENT_SECONDS * 1000),
            "lock_timeout": "5000",
            "idle_in_transaction_session_timeout": "30000",
            "tcp_keepalives_idle": "10",
            "jit": "off",
            "application_name": f"support-{schema}",
        }
        if use_role:
            settings["role"] = role_of(schema)
        self._connect_args: dict[str, Any] = {
            "server_settings": settings,
            "command_timeout": STATEMENT_SECONDS + 1,
            "timeout": 5,
        }
        self.engine: AsyncEngine = create_async_engine(
            make_url(url).set(drivername="postgresql+asyncpg"),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=5,
            pool_pre_ping=True,
            connect_args=self._connect_args,
        )

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A pooled connection outside a transaction.

        Raises:
            TransientFailure: the database is away, too slow, or ended a lost race; the work may be tried again.
        """
        try:
            async with self.engine.connect() as pooled:
                raw = (await pooled.get_raw_connection()).driver_connection
                assert raw is not None
                yield raw
        except Exception as error:
            if is_transient(error):
                raise TransientFailure(type(error).__name__) from error
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A pooled connection inside one transaction: committed at the end, rolled back on any error.

        Raises:
            TransientFailure: as for `connection`. After a failed commit the outcome is unknown; the inbox and the cursor
                make it harmless to try again.
        """
        async with self.connection() as raw, raw.transaction():
            yield raw

    async def dedicated(self) -> Connection:
        """A connection of its own, outside the pool, for a session that holds a lock. The caller closes it."""
        try:
            connection: Connection = await asyncpg.connect(_plain(self._url), **self._connect_args)
        except Exception as error:
            if is_transient(error):
                raise TransientFailure(type(error).__name__) from error
            raise
        return connection

    async def close(self) -> None:
        await self.engine.dispose()


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed later: the one place that reads SQLSTATE."""
    if isinstance(error, exc.DBAPIError):
        if error.connection_invalidated:
            return True
        error = getattr(error.orig, "__cause__", None) or error
    if isinstance(error, TransientFailure | OSError | TimeoutError | exc.TimeoutError):
        return True
    if isinstance(error, asyncpg.InterfaceError) or _has_lost_its_place(error):
        return not isinstance(error, ValueError)  # a value that no column holds fails the same way for ever
    state = getattr(error, "sqlstate", None)
    return state is not None and _TRANSIENT_STATES.match(state) is not None


def took_too_long(error: BaseException) -> bool:
    """Whether the server is there and has ended a statement at its deadline: less work at once may succeed."""
    return isinstance(error.__cause__, asyncpg.QueryCanceledError)


def _has_lost_its_place(error: BaseException) -> bool:
    """The server ended the session and the driver, in the middle of reading that, takes no statement any more (asyncpg #1069)."""
    return isinstance(error, asyncpg.InternalClientError) and str(error).startswith("cannot switch to state")


def _plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
