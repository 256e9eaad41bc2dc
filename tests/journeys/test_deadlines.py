"""Deadlines fall due in a stream while monitors and the database are killed, and while nobody was there for forty minutes.

Two monitors share the work. Every threshold of every ticket is told exactly once with its true time; a warning is missing only
where it was overtaken before anybody could tell it (L10).
"""

import asyncio
import json
import os
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from journeys.conftest import StartSystem
from journeys.fast_monitor import SERVICE, FastTime, environment_of
from journeys.system import System, by_ticket
from shared.events.envelope import rfc3339
from shared.events.routing import RoutingAssigned
from shared.policy.load import load_policy
from shared.testing.builders import headers_of
from shared.testing.topic import Seen, producer

SEED = int(os.environ.get("SUPPORT_TEST_SEED", "1"))
SHARES = (0.25, 0.5, 0.75)
"""Far enough apart for a process to come back between two of them."""
TARGET = timedelta(hours=1)
DOWNTIME = timedelta(minutes=40)
SECONDS_TO_RECOVER = 6.0
"""The longest pause between two tries of a ticker, and a look."""


class Window(NamedTuple):
    """A stretch of the test's time in which nobody looked, or perhaps nobody."""

    began_at: datetime
    ended_at: datetime

    def overtakes(self, threshold: datetime, following: datetime) -> bool:
        """Whether the next threshold passed as well before anybody could tell this one."""
        return self.began_at <= threshold and following <= self.ended_at


@dataclass
class Play:
    """Two monitors under way, what befell them, and when each ticket was created."""

    system: System
    time_file: Path
    time: FastTime
    chance: random.Random
    created_at: dict[str, datetime] = field(default_factory=dict)
    perhaps_dark: list[Window] = field(default_factory=list)
    dark: list[Window] = field(default_factory=list)
    befell: Counter[str] = field(default_factory=Counter)

    async def route(self, count: int, *, ages: tuple[timedelta, timedelta]) -> None:
        """Routing decisions about enterprise tickets that were created so long ago."""
        now, (youngest, oldest) = self.time(), ages
        async with producer(self.system.engines.kafka_address) as router:
            for number in range(len(self.created_at), len(self.created_at) + count):
                ticket_id, age = f"T-{number}", youngest + (oldest - youngest) * self.chance.random()
                self.created_at[ticket_id] = now - age
                await router.send(
                    self.system.topic_prefix + "support.routing.v1",
                    json.dumps(_assigned(ticket_id, now - age, now)).encode(),
                    key=ticket_id.encode(),
                    headers=headers_of(RoutingAssigned.wire_type, f"{ticket_id}-1", at=now),
                )
            await router.flush()

    async def trouble(self, what: str) -> None:
        """One of two monitors is killed, or both, or the database; afterwards everything is there again."""
        self.befell[what] += 1
        began_at = self.time()
        names = [process.name for process in self.system.stack.processes]
        if what == "database":
            await asyncio.to_thread(self.system.engines.restart_database)
        else:
            for name in names if what == "both" else [self.chance.choice(names)]:
                await asyncio.to_thread(self.system.stack.kill, name)
        await self._recovered(None if what == "one" else began_at)

    async def nobody_for_forty_minutes(self) -> None:
        """Both monitors die, and come back when it is forty minutes later."""
        began_at, self.time = self.time(), replace(self.time, ahead_seconds=DOWNTIME.total_seconds())
        self.time.write(self.time_file)
        late = self.time()
        for process in self.system.stack.processes:
            await asyncio.to_thread(self.system.stack.kill, process.name)
        self.dark.append(Window(self.time() - DOWNTIME, late))
        await self._recovered(began_at)

    async def _recovered(self, dark_since: datetime | None) -> None:
        await asyncio.to_thread(self.system.stack.wait_until_ready, 120.0)
        if dark_since is not None:
            await asyncio.sleep(SECONDS_TO_RECOVER)
            before = timedelta(seconds=SECONDS_TO_RECOVER * self.time.speed)  # what was due then is told at its end
            self.perhaps_dark.append(Window(dark_since - before, self.time()))

    async def told(self, turn: str) -> dict[str, list[Seen]]:
        """What was told of the first answer of each ticket, once each has come to this turn."""
        seen = await self.system.read_until(
            "support.sla.v1",
            lambda seen: {one.key for one in _of_first_answer(seen) if one.fact == turn} >= set(self.created_at),
            deadline_seconds=120.0,
        )
        return by_ticket(_of_first_answer(seen))

    def check(self, ticket_id: str, told: list[Seen]) -> int:
        """Everything once, in order, with its true time; answers how many warnings were overtaken."""
        created_at = self.created_at[ticket_id]
        assert told[0].fact == "sla.clock_started"
        not_yet_routed = Window(created_at, datetime.fromisoformat(told[0].data["emitted_at"]))
        thresholds = {share: created_at + share * TARGET for share in (*SHARES, 1.0)}
        heard = [one.data["threshold"] or 1.0 for one in told[1:]]
        assert heard == sorted(set(heard)), ticket_id
        assert [one.fact for one in told[1:]] == ["sla.warning"] * (len(heard) - 1) + ["sla.breached"], ticket_id
        for one, share in zip(told[1:], heard, strict=True):
            assert one.data["occurred_at"] == one.headers["ce_time"] == rfc3339(thresholds[share])
            assert datetime.fromisoformat(one.data["emitted_at"]) >= thresholds[share]
        for share, following in zip(SHARES, (*SHARES[1:], 1.0), strict=True):
            passed = thresholds[share], thresholds[following]
            if any(window.overtakes(*passed) for window in (*self.dark, not_yet_routed)):
                assert share not in heard, (ticket_id, share)
            elif not any(window.overtakes(*passed) for window in self.perhaps_dark):
                assert share in heard, (ticket_id, share)
        return len(thresholds) - len(heard)


def _assigned(ticket_id: str, created_at: datetime, now: datetime) -> dict[str, Any]:
    return {
        "ticket_id": ticket_id,
        "occurred_at": rfc3339(now),
        "emitted_at": rfc3339(now),
        "clauses": ["R2"],
        "policy_version": "test",
        "decision_id": f"{ticket_id}:1",
        "team": "customer_service",
        "level": 1,
        "owning_team": "technical_support",
        "category": "technical",
        "subcategory": "api_errors",
        "confidence": 1.0,
        "classifier_version": "test",
        "tier": "enterprise",
        "created_at": rfc3339(created_at),
    }


def _of_first_answer(seen: list[Seen]) -> list[Seen]:
    return [one for one in seen if one.fact.startswith("sla.") and one.data["milestone"] == "initial_response"]


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    """The policy that ships, with thresholds further apart."""
    policy = load_policy().model_dump(mode="json")
    policy["clocks"]["warn_at"] = SHARES
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(policy))
    return file


@pytest.mark.parametrize(("tickets", "speed"), [(60, 120.0), pytest.param(2000, 30.0, marks=pytest.mark.long)])
async def test_each_threshold_is_told_once_whatever_dies(
    start_system: StartSystem, tmp_path: Path, policy_file: Path, tickets: int, speed: float
) -> None:
    """HD-44, HD-46: monitors killed, two at once, the database restarted, forty minutes of downtime (L10)."""
    time, time_file = FastTime.begin(speed), tmp_path / "time.json"
    time.write(time_file)
    environment = environment_of(time_file, policy_file)
    system = await start_system(replicas=2, services=[SERVICE], environment=environment)
    play = Play(system, time_file, time, random.Random(SEED))
    await play.route(tickets // 2, ages=(timedelta(0), timedelta(minutes=10)))
    until = play.time() + timedelta(minutes=60)
    troubles = ["database", "one"]
    while troubles or play.time() < until:
        await asyncio.sleep(play.chance.uniform(0.5, 1.5))
        await play.trouble(troubles.pop() if troubles else play.chance.choice(("one", "one", "both", "database")))
    await play.told("sla.breached")
    await play.route(tickets // 2, ages=(timedelta(0), timedelta(minutes=50)))
    await play.told("sla.clock_started")
    await play.nobody_for_forty_minutes()
    told = await play.told("sla.breached")
    overtaken = sum(play.check(ticket_id, told[ticket_id]) for ticket_id in play.created_at)
    records = _of_first_answer(await system.read("support.sla.v1"))
    twice = len(records) - sum(map(len, told.values()))
    print(f"seed {SEED}: {dict(play.befell)}; {len(records)} records, {overtaken} overtaken, {twice} published twice")
