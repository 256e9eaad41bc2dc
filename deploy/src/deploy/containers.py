"""Engines in containers by testcontainers, from the images that docker-compose.yml names.

The ports are picked beforehand instead of by Docker: the broker has to know the address it tells its clients, and both
keep their ports when they are restarted.
"""

from abc import abstractmethod

from testcontainers.core.container import DockerContainer

from deploy import processes
from deploy.engines import CLUSTER_ID, Engine, EngineError, broker_settings, database_answers, kafka_answers

KAFKA_IMAGE = "apache/kafka:4.1.0"
POSTGRES_IMAGE = "postgres:18"
DATABASE = "support"
KAFKA_SETTINGS = """\
controller.quorum.voters=1@localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
advertised.listeners=PLAINTEXT://{address}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=/var/lib/kafka/data
"""
KAFKA_COMMAND = f"""
set -eu
printf %s "$BROKER_PROPERTIES" > /tmp/broker.properties
export CLASSPATH='/opt/kafka/libs/*'
java kafka.tools.StorageTool format --ignore-formatted --cluster-id {CLUSTER_ID} --config /tmp/broker.properties
exec java -Xmx512m -XX:+UseSerialGC -Dlog4j2.level=WARN kafka.Kafka /tmp/broker.properties
"""


class ContainerEngine(Engine):
    """A container that is kept, with its data, until `stop`."""

    def __init__(self, image: str, port: int) -> None:
        self.port = processes.free_port()
        self._container = DockerContainer(image).with_bind_ports(port, self.port)
        self.host = self._container.get_docker_client().host()
        self._started = False

    def launch(self) -> None:
        if self._started:
            self._container.get_wrapped_container().start()
        else:
            self._container.start()
            self._started = True

    def is_ready(self) -> bool:
        self._container.reload()
        if self._container.status != "running":
            raise EngineError(f"{type(self).__name__} has ended:\n{self._logs()}")
        return self._answers()

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it answers a request."""

    def _logs(self) -> str:
        return "\n".join(part.decode(errors="replace")[-2000:] for part in self._container.get_logs())

    def kill(self) -> None:
        self._container.get_wrapped_container().kill()

    def stop(self) -> None:
        if self._started:
            self._container.stop()


class KafkaContainer(ContainerEngine):
    """One broker that is its own controller.

    It is started by Kafka's own classes instead of the image's script: the settings are those of the other brokers, and a
    container that is started again finds its storage formatted.
    """

    def __init__(self) -> None:
        super().__init__(KAFKA_IMAGE, 9092)
        self.address = f"{self.host}:{self.port}"
        own = KAFKA_SETTINGS.format(address=self.address)
        self._container.with_env("BROKER_PROPERTIES", broker_settings() + own).with_command(["sh", "-c", KAFKA_COMMAND])

    def _answers(self) -> bool:
        return kafka_answers(self.address)


class PostgresContainer(ContainerEngine):
    """The server as the image sets it up, with room for the connections of every service."""

    def __init__(self) -> None:
        super().__init__(POSTGRES_IMAGE, 5432)
        self.address = f"postgresql://{DATABASE}:{DATABASE}@{self.host}:{self.port}/{DATABASE}"
        self._container.with_envs(POSTGRES_USER=DATABASE, POSTGRES_PASSWORD=DATABASE, POSTGRES_DB=DATABASE)
        self._container.with_command(["postgres", "-c", "max_connections=200"])

    def _answers(self) -> bool:
        return database_answers(self.address)
