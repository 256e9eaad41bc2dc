"""Where the engines come from: what PROVIDER says, else given addresses, else embedded."""

from pathlib import Path

import pytest

from deploy.embedded import EmbeddedKafka
from deploy.engines import EngineError
from deploy.given import GivenDatabase, GivenKafka
from deploy.provider import provide_engines

ADDRESSES = {
    "SUPPORT_KAFKA_BOOTSTRAP_SERVERS": "kafka.example:9092",
    "SUPPORT_DATABASE_URL": "postgresql://support:secret@db.example/support",
}


def test_without_any_setting_the_engines_are_embedded(tmp_path: Path) -> None:
    """Nothing but Python is needed to begin with."""
    assert isinstance(provide_engines(tmp_path, {}).kafka, EmbeddedKafka)


@pytest.mark.parametrize("environment", [ADDRESSES, {"PROVIDER": "given", **ADDRESSES}])
def test_engines_whose_addresses_are_set_are_used(environment: dict[str, str], tmp_path: Path) -> None:
    """They are somebody else's: they cannot be killed from here."""
    engines = provide_engines(tmp_path, environment)
    assert isinstance(engines.kafka, GivenKafka)
    assert isinstance(engines.database, GivenDatabase)
    assert engines.database_url == ADDRESSES["SUPPORT_DATABASE_URL"]
    with pytest.raises(EngineError, match="was given"):
        engines.restart_kafka()


def test_provider_wins_over_addresses(tmp_path: Path) -> None:
    """What is said aloud is meant."""
    assert isinstance(provide_engines(tmp_path, {"PROVIDER": "embedded", **ADDRESSES}).kafka, EmbeddedKafka)


@pytest.mark.parametrize("environment", [{"PROVIDER": "cloud"}, {"PROVIDER": "given"}])
def test_bad_choice_is_told(environment: dict[str, str], tmp_path: Path) -> None:
    """An unknown word, or `given` without addresses."""
    with pytest.raises(EngineError, match="PROVIDER"):
        provide_engines(tmp_path, environment)
