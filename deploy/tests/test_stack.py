"""The system as a whole: the file that tells where it is, and that nothing of it stays behind."""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from deploy.engines import Engines
from deploy.given import GivenDatabase, GivenKafka
from deploy.stack import Service, Stack, StackError

HERE = Path(__file__).parent
DUMMY = (sys.executable, str(HERE / "dummy_service.py"))


@pytest.fixture
def given(engines: Engines) -> Engines:
    """The session's engines as somebody else's: a stack over them neither starts nor stops them."""
    return Engines(GivenKafka(engines.kafka_address), GivenDatabase(engines.database_url))


@pytest.fixture
def stack(given: Engines, tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path, given, services=[Service("alpha", 0, DUMMY), Service("beta", 0, DUMMY)], replicas=2)
    (tmp_path / "endpoints.json").write_text("left behind by a crash")
    stack.start()
    yield stack
    stack.stop()


def test_endpoints_tell_where_everything_is_and_only_to_their_owner(stack: Stack) -> None:
    """Any tool finds the running system; the key in the file can do everything."""
    told = json.loads(stack.endpoints_file.read_text())
    assert told["kafka"] == stack.engines.kafka_address
    assert told["database"] == stack.engines.database_url
    assert told["api_key"] == stack.api_key
    assert list(told["services"]) == ["alpha", "alpha-2", "beta", "beta-2"]
    for service in told["services"].values():
        assert psutil.pid_exists(service["pid"])
        with urllib.request.urlopen(f"{service['url']}/readyz") as answer:
            assert answer.status == 200
    with urllib.request.urlopen(f"{told['catchers']['mail']['url']}/mails.json") as answer:
        assert json.load(answer) == []
    assert stack.endpoints_file.stat().st_mode & 0o777 == 0o600


def test_endpoints_tell_the_new_process_after_a_restart(stack: Stack) -> None:
    """Written again once the restarted service is ready; the others keep running."""
    before = json.loads(stack.endpoints_file.read_text())["services"]
    stack.kill("beta")
    stack.wait_until_ready()
    after = json.loads(stack.endpoints_file.read_text())["services"]
    assert after["beta"]["pid"] != before["beta"]["pid"]
    assert after["beta"]["url"] == before["beta"]["url"]
    assert after["alpha"] == before["alpha"]


def test_endpoints_are_gone_once_it_has_stopped(given: Engines, tmp_path: Path) -> None:
    """A tool never connects to what is no longer there."""
    stack = Stack(tmp_path, given, services=[Service("alpha", 0, DUMMY)])
    stack.start()
    stack.stop()
    assert not stack.endpoints_file.exists()


def test_directory_belongs_to_one_stack_at_a_time(stack: Stack, given: Engines) -> None:
    """Two engines on the same data would destroy it; the second start says so and harms nothing."""
    second = Stack(stack.directory, given, services=[])
    with pytest.raises(StackError, match="another system runs"):
        second.start()
    second.stop()
    assert stack.endpoints_file.exists()


def test_start_fails_with_the_log_when_a_service_keeps_dying(given: Engines, tmp_path: Path) -> None:
    """A bad setting is seen at once, with the words of the service itself."""
    broken = Service("broken", 0, (sys.executable, "-c", "raise SystemExit('SUPPORT_X: missing')"))
    stack = Stack(tmp_path, given, services=[broken])
    with pytest.raises(StackError, match="SUPPORT_X: missing"):
        stack.start()
    stack.stop()


def test_nothing_stays_behind_however_the_supervisor_ends(tmp_path: Path) -> None:
    """Told to stop it ends with status 0, services before engines; killed, its children die with it. Data stays usable."""
    for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGTERM):
        with subprocess.Popen([sys.executable, HERE / "dummy_system.py", tmp_path]) as system:
            try:
                wait_until((tmp_path / "endpoints.json").exists, while_running=system)
                children = psutil.Process(system.pid).children(recursive=True)
                assert len(children) > 3
                system.send_signal(ending)
                assert system.wait(60) == (-signal.SIGKILL if ending == signal.SIGKILL else 0)
            finally:
                system.kill()
        wait_until(partial(all_gone, children))
        (tmp_path / "endpoints.json").unlink(missing_ok=True)


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def wait_until(what: Callable[[], bool], *, while_running: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + 180
    while not what():
        assert time.monotonic() < deadline
        assert while_running is None or while_running.poll() is None
        time.sleep(0.05)
