"""What is started goes second where it was told to."""

import os
import sys
from pathlib import Path

from deploy import processes

SLEEPER = (sys.executable, "-c", "import time; time.sleep(60)")


def test_a_nice_process_is_nice_to_other_sessions_too(tmp_path: Path) -> None:
    """Its session has a share of the processors of its own, where the kernel hands them out by session."""
    process = processes.start(SLEEPER, log=tmp_path / "log", niceness=10)
    try:
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 10
        autogroup = Path(f"/proc/{process.pid}/autogroup")
        if autogroup.exists():
            assert autogroup.read_text().split()[-2:] == ["nice", "10"]
    finally:
        processes.stop(process)
