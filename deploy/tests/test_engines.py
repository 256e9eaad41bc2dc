"""The engines keep what they were given, however they end."""

import asyncio

import asyncpg

from deploy.engines import Engines, kafka_answers


async def test_rows_committed_before_the_database_is_killed_are_there_afterwards(
    engines: Engines, database_url: str
) -> None:
    """Commits are durable: fsync and synchronous_commit are on, and the port and the data stay."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("create table kept (n int); insert into kept values (1)")
    await asyncio.to_thread(engines.restart_database)
    await connection.close()
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("select n from kept") == 1
    await connection.close()


def test_killed_broker_answers_on_the_same_port_again(engines: Engines, kafka_address: str) -> None:
    """Clients need not be told anything."""
    engines.kafka.kill()
    assert not kafka_answers(kafka_address)
    engines.kafka.launch()
    engines.kafka.wait()
    assert kafka_answers(kafka_address)
