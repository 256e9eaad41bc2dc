"""The sla-monitor as a process whose time passes faster than the machine's, and may leap while no monitor runs."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from deploy.stack import Service
from shared.messaging.kafka import Kafka
from shared.runtime.database import Database
from shared.runtime.lifecycle import App, main
from shared.runtime.now import machine_monotonic, machine_now
from sla_monitor.app import NAME, build
from sla_monitor.settings import SlaMonitorSettings

BEGAN_AT = datetime(2026, 3, 3, 15, tzinfo=UTC)
FILE = "SUPPORT_TEST_TIME"
"""The variable that names the file with the time of a test."""
SERVICE = Service(NAME, 8082, (sys.executable, "-m", "journeys.fast_monitor"))


@dataclass(frozen=True)
class FastTime:
    """A `now` that began at a fixed instant, passes so many times as fast as the machine's, and is so far ahead."""

    machine_began_at: float
    speed: float
    ahead_seconds: float = 0.0

    @classmethod
    def begin(cls, speed: float) -> Self:
        return cls(machine_now().timestamp(), speed)

    @classmethod
    def read(cls, file: Path) -> Self:
        return cls(**json.loads(file.read_text()))

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)))

    def __call__(self) -> datetime:
        passed = (machine_now().timestamp() - self.machine_began_at) * self.speed
        return BEGAN_AT + timedelta(seconds=passed + self.ahead_seconds)

    def monotonic(self) -> float:
        return machine_monotonic() * self.speed


def environment_of(time_file: Path, policy_file: Path) -> Mapping[str, str]:
    """What such a process needs beside what every service does."""
    tests = str(Path(__file__).parents[1])
    return {FILE: str(time_file), "SUPPORT_POLICY_FILE": str(policy_file), "PYTHONPATH": tests}


def build_fast(settings: SlaMonitorSettings, *, now: Any, kafka: Kafka, bulk: Database, urgent: Database) -> App:
    """The sla-monitor, wired to the test's time as it is when the process starts."""
    time = FastTime.read(Path(os.environ[FILE]))
    return build(settings, now=time, kafka=kafka, bulk=bulk, urgent=urgent, monotonic=time.monotonic)


if __name__ == "__main__":
    main(NAME, SlaMonitorSettings, build_fast)
