"""Engines whose addresses are set: only looked at."""

from deploy.engines import Engine, EngineError, database_answers, kafka_answers


class GivenEngine(Engine):
    """Somebody else's: only looked at, never started or stopped."""

    def launch(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def kill(self) -> None:
        raise EngineError(f"{self.address} was given; whoever runs it has to restart it")


class GivenKafka(GivenEngine):
    def __init__(self, address: str) -> None:
        self.address = address

    def is_ready(self) -> bool:
        return kafka_answers(self.address.split(",")[0])


class GivenDatabase(GivenEngine):
    def __init__(self, url: str) -> None:
        self.address = url

    def is_ready(self) -> bool:
        return database_answers(self.address)
