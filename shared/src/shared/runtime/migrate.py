"""Brings a service's schema up to date when the service starts; one replica at a time, forwards only.

Each service keeps its numbered steps in `<package>/migrations/versions`; its `env.py` calls `run_migrations`. Everything a
step makes belongs to the service's own role, which may touch no other schema.
"""

import asyncio
from importlib.resources import files

from alembic import command, context, op
from alembic.config import Config
from sqlalchemy import Connection, text

from shared.errors import TransientFailure
from shared.runtime.database import Database, is_transient, role_of

MIGRATE_SECONDS = 60


async def migrate(url: str, *, schema: str, package: str) -> None:
    """Make the role and the schema if they are missing and run the steps that have not run yet.

    Raises:
        TransientFailure: the database is away.
    """
    database = Database(url, schema=schema, pool_size=1, use_role=False)
    try:
        async with asyncio.timeout(MIGRATE_SECONDS), database.engine.begin() as connection:
            await connection.run_sync(_upgrade, schema, package)
    except Exception as error:
        if is_transient(error):
            raise TransientFailure(type(error).__name__) from error
        raise
    finally:
        await database.close()


def _upgrade(connection: Connection, schema: str, package: str) -> None:
    connection.execute(text("select pg_advisory_xact_lock(hashtext('support migrations'))"))
    _own_place(connection, schema)
    config = Config()
    config.set_main_option("script_location", str(files(package) / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _own_place(connection: Connection, schema: str) -> None:
    """A schema and a role of the service's own; the user who logs in may act as that role."""
    role = role_of(schema)
    if not connection.scalar(text("select 1 from pg_roles where rolname = :role"), {"role": role}):
        connection.execute(text(f'create role "{role}" nologin'))
        connection.execute(text(f'grant "{role}" to current_user'))
    if not connection.scalar(text("select 1 from pg_namespace where nspname = :schema"), {"schema": schema}):
        connection.execute(text(f'create schema "{schema}" authorization "{role}"'))
    connection.execute(text(f'set local role "{role}"'))
    connection.execute(text(f'set local search_path to "{schema}"'))


def run_migrations() -> None:
    """What a service's `env.py` does."""
    context.configure(connection=context.config.attributes["connection"])
    context.run_migrations()


def run_script(script: str) -> None:
    """Run the statements of a script, each of which ends with a semicolon at the end of a line."""
    for statement in script.split(";\n"):
        if statement.strip():
            op.execute(statement)
