"""One process kept alive."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.processes import free_port
from deploy.supervisor import CRASH_LOOP_DEATHS, Supervised

DUMMY = (sys.executable, str(Path(__file__).with_name("dummy_service.py")))


def test_process_that_was_killed_is_started_again_on_its_port(tmp_path: Path) -> None:
    """Whoever knew its address finds it there again, in another process."""
    service = Supervised("dummy", DUMMY, free_port(), {}, tmp_path / "log")
    service.start()
    try:
        look_until(service, lambda: service.is_ready)
        first = service.pid, service.url
        service.kill()
        assert not service.is_ready
        look_until(service, lambda: service.is_ready)
        assert service.pid != first[0]
        assert service.url == first[1]
    finally:
        service.stop()


def test_process_that_cannot_start_is_tried_with_growing_pauses_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A crash loop neither burns the machine nor stays unseen."""
    service = Supervised("broken", (sys.executable, "-c", "raise SystemExit(78)"), free_port(), {}, tmp_path / "log")
    service.start()
    look_until(service, lambda: service.deaths >= CRASH_LOOP_DEATHS)
    service.stop()
    reports = capsys.readouterr().err.splitlines()
    pauses = [report.split(" in ")[1].split(" s ")[0] for report in reports]
    assert pauses == ["0.2", "0.4", "0.8", "1.6"]
    assert "status 78 again and again" in reports[-1]


def look_until(service: Supervised, what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        service.look()
        time.sleep(0.01)
