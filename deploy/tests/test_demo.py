"""The sample day over the real services."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.demo import journey
from deploy.demo.installation import Installation
from deploy.demo.journey import Journey
from deploy.demo.play import play
from deploy.engines import Engines
from deploy.given import GivenDatabase, GivenKafka
from deploy.stack import Stack


@pytest.fixture
def installation(kafka_address: str, database_url: str, topic_prefix: str, tmp_path: Path) -> Iterator[Installation]:
    engines = Engines(GivenKafka(kafka_address), GivenDatabase(database_url))
    stack = Stack(tmp_path, engines, environment={"SUPPORT_TOPIC_PREFIX": topic_prefix})
    try:
        stack.start()
        yield replace(Installation.of(stack.endpoints_file), topic_prefix=topic_prefix)
    finally:
        stack.stop()


async def test_every_journey_of_the_sample_day_ends_as_expected_and_what_does_not_is_told(
    installation: Installation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the demo shows is what the system does: it fails when a single step is missing, and says which."""
    assert await play(installation), capsys.readouterr().out

    async def wrong(part: Journey) -> None:
        """A question goes to the executives"""
        await part.create_ticket(subject="Refund", body="I would like my money back.")
        await part.sees("routing.assigned", team="executive")

    monkeypatch.setattr(journey, "PATIENCE_SECONDS", 3.0)
    assert not await play(installation, day=[wrong])
    told = capsys.readouterr().out
    assert "NOT AS EXPECTED  A question goes to the executives: no routing.assigned with {'team': 'executive'}" in told
    assert "0 of 1 journeys ended as expected." in told
