"""An update finds the rows of the notifier as they were, whatever stands in them."""

import json
from functools import partial
from importlib.resources import files

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from shared.runtime.database import Database
from shared.runtime.migrate import _own_place

SCHEMA = "notifier_of_old"
ROWS = [
    ("a", "customer", {"resolution_details": 'a NUL \0 and "audience":"team"'}),
    ("b", "on_call", {"audience": "team", "severity": "high"}),
]


def to(connection: Connection, revision: str) -> None:
    _own_place(connection, SCHEMA)
    config = Config()
    config.set_main_option("script_location", str(files("notifier") / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


async def test_rows_from_before_the_channels_are_carried_over(database_url: str) -> None:
    """Migrations 0003 to 0005: each gets its channel, its destination and its audience."""
    database = Database(database_url, schema=SCHEMA, pool_size=1, use_role=False)
    insert = """
    insert into notification (id, urgent, state, created_at, document)
    values (:id, false, 'queued', '2026-03-03T15:00:00Z', :document)
    """
    async with database.engine.begin() as connection:
        await connection.run_sync(partial(to, revision="0002"))
        for number, audience, facts in ROWS:
            document = json.dumps({"intent": {"audience": audience, "facts": facts}}, separators=(",", ":"))
            await connection.execute(text(insert), {"id": number, "document": document.encode()})
        await connection.run_sync(partial(to, revision="head"))
        found = await connection.execute(
            text("select id, channel, destination, audience from notification order by id")
        )
        assert [tuple(row) for row in found] == [(one, "email", "email", audience) for one, audience, _ in ROWS]
    await database.close()
