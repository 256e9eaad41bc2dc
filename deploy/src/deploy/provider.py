"""Which of the three providers is used, in this order: what PROVIDER says, given addresses, embedded."""

import os
from collections.abc import Mapping
from pathlib import Path

from deploy.containers import KafkaContainer, PostgresContainer
from deploy.embedded import EmbeddedKafka, EmbeddedPostgres
from deploy.engines import EngineError, Engines
from deploy.given import GivenDatabase, GivenKafka
from deploy.processes import free_port


def provide_engines(
    directory: Path, environment: Mapping[str, str] = os.environ, *, usual_ports: bool = False
) -> Engines:
    """The engines, not yet started.

    Embedded ones keep their data and logs in `directory`, and take 9092 and 5432 if asked to and nobody else has them.

    Raises:
        EngineError: PROVIDER is an unknown word, or `given` without the two addresses.
    """
    kafka = environment.get("SUPPORT_KAFKA_BOOTSTRAP_SERVERS", "")
    database = environment.get("SUPPORT_DATABASE_URL", "")
    match environment.get("PROVIDER") or ("given" if kafka and database else "embedded"):
        case "given" if kafka and database:
            return Engines(GivenKafka(kafka), GivenDatabase(database))
        case "given":
            raise EngineError("PROVIDER=given needs SUPPORT_KAFKA_BOOTSTRAP_SERVERS and SUPPORT_DATABASE_URL")
        case "containers":
            return Engines(KafkaContainer(), PostgresContainer())
        case "embedded":
            kafka_port, database_port = (free_port(usual if usual_ports else None) for usual in (9092, 5432))
            return Engines(
                EmbeddedKafka(directory / "kafka", kafka_port), EmbeddedPostgres(directory / "postgres", database_port)
            )
        case other:
            raise EngineError(f"PROVIDER is {other!r}, not given, containers or embedded")
