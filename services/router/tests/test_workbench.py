"""Asked of the real log and the real tables: is a decision the same again, and what would a draft change?"""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx2
import pytest

from router.app import NAME, SUBSCRIPTIONS, build, shipped_parameters
from router.handlers import workbench
from router.handlers.workbench import Workbench
from router.settings import RouterSettings
from router.store import RoutedTickets
from shared.errors import TransientFailure
from shared.events.envelope import rfc3339, source_of
from shared.events.topics import ROUTING, SLA, TICKET, TOPICS
from shared.messaging.kafka import Kafka
from shared.policy.load import load_policy
from shared.runtime.database import Database
from shared.runtime.now import machine_now
from shared.testing.builders import UPSTREAM, headers_of, ticket_data
from shared.testing.topic import producer, wait_for_records

SHIPPED = (files("shared.policy") / "policy.yaml").read_text()
TABLES = ("ticket", "decision", "sighting", "feedback", "policy_version", "outbox", "inbox", "dead_letter")
DISPUTE = {"category": "ip_attribution", "subcategory": "false_positive", "ip": {"id": "IP-1"}}


def edited(**lines: str) -> str:
    """The policy that ships with other text in some places, each of which is there once."""
    text = SHIPPED
    for old, new in lines.values():
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


LATER_REOPENED = edited(days=("reopen_within_days: 7", "reopen_within_days: 8"))
COMPLEX_IS_3 = edited(
    from_2=("2: [complex_billing, ", "2: ["),
    to_3=("3: [executive_dispute, ", "3: [complex_billing, executive_dispute, "),
)
WITH_MEMBERS = edited(
    members=(
        "members: {} #",
        "members: {customer_service: [{id: a-1, capacity: 9}], engineering: [{id: a-2, capacity: 9}]} #",
    )
)


class Desk:
    """A log and a database, the service that works on them, and the question put to it afterwards."""

    def __init__(self, kafka_address: str, topic_prefix: str, database_url: str, directory: Path) -> None:
        self.kafka = Kafka(kafka_address, topic_prefix=topic_prefix)
        self.database = Database(database_url, schema=NAME)
        self._database_url = database_url
        self._directory = directory
        self._put = 0

    @asynccontextmanager
    async def at_work(self, policy: str = SHIPPED) -> AsyncIterator[None]:
        """The service by this policy, as `main` runs it."""
        databases = [Database(self._database_url, schema=NAME) for _ in range(2)]
        app = build(self._settings(policy), now=machine_now, kafka=self.kafka, bulk=databases[0], urgent=databases[1])
        tasks = [asyncio.create_task(part.run()) for part in app.parts]
        try:
            yield
        finally:
            for part in app.parts:
                await part.stop()
            await asyncio.gather(*tasks)
            for database in databases:
                await database.close()

    async def put(
        self,
        fact: str,
        ticket_id: str = "T-1",
        *,
        times: int = 1,
        source: str = UPSTREAM,
        prefix: str = "",
        **data: Any,
    ) -> None:
        """A ticket record on the topic, as often as it is sent."""
        self._put += 1
        headers = headers_of(
            f"com.storytailor.support.ticket.{fact}.v1", f"e-{self._put}", source=source, at=machine_now()
        )
        value = json.dumps(ticket_data(fact, ticket_id, **data)).encode()
        await self._send(TICKET.name, ticket_id, value, headers, times, prefix)

    async def breach(self, ticket_id: str, level: int) -> None:
        """The SLA monitor says that the escalation clock of a level is due."""
        at = machine_now()
        value = {
            "ticket_id": ticket_id,
            "clauses": ["L14"],
            "policy_version": "test",
            "milestone": "escalation",
            "cycle": 1,
            "level": level,
            "target": {"amount": 7, "unit": "business_days"},
            "state": "breached",
            "elapsed_share": 1.0,
            "calendar": "test",
        } | {name: rfc3339(at) for name in ("occurred_at", "emitted_at", "started_at", "due_at")}
        source = source_of("sla-monitor")
        headers = headers_of("com.storytailor.support.sla.breached.v1", f"breach-{ticket_id}", source=source, at=at)
        await self._send(SLA.name, ticket_id, json.dumps(value).encode(), headers, 1, "")

    async def decided(self, count: int) -> None:
        """So many decisions were announced."""
        topic = self.kafka.topic_prefix + ROUTING.name
        await wait_for_records(self.kafka.bootstrap_servers, topic, lambda seen: len(seen) >= count)

    async def ask(self, path: str, body: Any = None, *, policy: str = SHIPPED) -> httpx2.Response:
        """What the API answers, with nothing else at work."""
        app = build(self._settings(policy), now=machine_now, kafka=self.kafka, bulk=self.database, urgent=self.database)
        transport = httpx2.ASGITransport(app.api)
        async with httpx2.AsyncClient(transport=transport, base_url="http://router", timeout=60) as client:
            return await client.post(path, json=body, headers={"authorization": "Bearer operator"})

    async def recomputed(self, ticket_id: str = "T-1", *, policy: str = SHIPPED) -> dict[str, Any]:
        answer = await self.ask(f"/v1/tickets/{ticket_id}/recompute", policy=policy)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def rows(self) -> dict[str, list[Any]]:
        """Every row of every table that says anything."""
        async with self.database.connection() as connection:
            return {
                table: sorted(map(str, await connection.fetch(f"select t::text from {table} t"))) for table in TABLES
            }

    async def length(self) -> int:
        """How many records all topics hold."""
        async with self.kafka.watcher([topic.name for topic in TOPICS]) as watcher:
            return await watcher.length()

    async def execute(self, statement: str, *values: Any) -> None:
        async with self.database.connection() as connection:
            await connection.execute(statement, *values)

    def workbench(self, *, prefix: str | None = None, **changes: Any) -> Workbench:
        """With another log, or another model."""
        kafka = self.kafka if prefix is None else Kafka(self.kafka.bootstrap_servers, topic_prefix=prefix)
        parameters = replace(shipped_parameters(), **changes)
        routed = RoutedTickets(self.database)
        return Workbench(kafka, routed, SUBSCRIPTIONS, load_policy(), parameters, now=machine_now)

    def _settings(self, policy: str) -> RouterSettings:
        file = self._directory / f"{hashlib.sha256(policy.encode()).hexdigest()}.yaml"
        file.write_text(policy)
        key = {"name": "operator", "sha256": hashlib.sha256(b"operator").hexdigest(), "scopes": ["operate"]}
        return RouterSettings.model_validate(
            {
                "kafka_bootstrap_servers": "used:0",
                "database_url": self._database_url,
                "policy_file": file,
                "api_keys": [key],
            }
        )

    async def _send(self, topic: str, key: str, value: bytes, headers, times: int, prefix: str) -> None:
        async with producer(self.kafka.bootstrap_servers) as upstream:
            for _ in range(times):
                await upstream.send_and_wait(
                    (prefix or self.kafka.topic_prefix) + topic, value, key=key.encode(), headers=headers
                )


@pytest.fixture
async def desk(kafka_address: str, topic_prefix: str, database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(kafka_address, topic_prefix, database_url, tmp_path)
    await desk.kafka.create_topics()
    yield desk
    await desk.database.close()


async def with_duplicates(desk: Desk) -> None:
    await desk.put("created", times=3, category="technical")
    await desk.put("signals_added", times=2, signals=["needs_code_fix"])
    await desk.decided(2)


async def before_created(desk: Desk) -> None:
    await desk.put("signals_added", signals=["needs_code_fix"])
    await desk.put("created", category="technical")
    await desk.decided(2)


async def overdue(desk: Desk) -> None:
    await desk.put("created", category="technical")
    await desk.decided(1)
    await desk.breach("T-1", 1)
    await desk.decided(2)


async def two_disputes(desk: Desk) -> None:
    await desk.put("created", **DISPUTE)
    await desk.decided(1)
    await desk.put("created", "T-2", requester={"id": "u-2"}, **DISPUTE)
    await desk.decided(3)


async def by_words_alone(desk: Desk) -> None:
    await desk.put("created", subject="Card", body="I was charged twice on my card.")
    await desk.decided(1)
    await desk.put("message_added", author={"kind": "customer", "id": "u-1"}, body="I will take legal action.")
    await desk.decided(2)


async def taken_in_between(desk: Desk) -> None:
    await desk.put("created", category="technical")
    await desk.decided(2)
    await desk.put("signals_added", signals=["needs_code_fix"])
    await desk.decided(4)


STORIES = {
    "with duplicates in the log": (with_duplicates, SHIPPED, 2),
    "with an event before created": (before_created, SHIPPED, 2),
    "raised by the escalation clock": (overdue, SHIPPED, 2),
    "one of two disputes": (two_disputes, SHIPPED, 2),
    "by its words alone": (by_words_alone, SHIPPED, 2),
    "taken by members in between": (taken_in_between, WITH_MEMBERS, 2),
}


@pytest.mark.parametrize(("story", "policy", "decisions"), STORIES.values(), ids=list(STORIES))
async def test_a_decision_recomputed_from_the_log_is_the_same(desk: Desk, story, policy: str, decisions: int) -> None:
    """R8: under the policy version it was taken by; who of the team had it is not the log's to say."""
    async with desk.at_work(policy):
        await story(desk)
    found = await desk.recomputed(policy=policy)
    assert (found["same"], found["differences"], found["decisions"]) == (True, [], decisions)
    assert found["policy_versions"] == [load_policy(policy).version]
    assert found["classifier_versions"] == [found["classifier_here"]]


EDITS = {
    "what is not asked": (LATER_REOPENED, [1, 2]),
    "the level of a later criterion": (COMPLEX_IS_3, [1, 3]),
}


@pytest.mark.parametrize(("later", "levels"), EDITS.values(), ids=list(EDITS))
async def test_each_decision_is_recomputed_by_the_policy_of_its_time(desk: Desk, later: str, levels) -> None:
    """R8: the earlier by the earlier version, which is kept."""
    async with desk.at_work():
        await desk.put("created", category="billing")
        await desk.decided(1)
    async with desk.at_work(later):
        await desk.put("signals_added", signals=["complex_billing"])
        await desk.decided(2)
    found = await desk.recomputed(policy=later)
    assert (found["same"], found["differences"]) == (True, [])
    assert found["policy_versions"] == [load_policy().version, load_policy(later).version]
    ticket = await RoutedTickets(desk.database).find("T-1")
    assert ticket.in_force.placement.level == levels[-1]


async def test_what_an_edited_policy_would_have_said_before_it_was_in_force_does_not_count(desk: Desk) -> None:
    """R8: a ticket that rose to level 2 by the earlier policy rises from there by the later one, which would have said 3."""
    async with desk.at_work():
        await desk.put("created", category="billing")
        await desk.put("signals_added", signals=["complex_billing"])
        await desk.decided(2)
    async with desk.at_work(COMPLEX_IS_3):
        await desk.put("signals_added", signals=["special_pricing"])
        await desk.decided(3)
    found = await desk.recomputed(policy=COMPLEX_IS_3)
    assert (found["same"], found["differences"], found["decisions"]) == (True, [], 3)


async def test_a_policy_that_was_put_back_is_the_policy_of_its_decisions(desk: Desk) -> None:
    """R8: one, another, and the first again."""
    for number, (policy, fact, data) in enumerate(
        [
            (SHIPPED, "created", {"category": "billing"}),
            (LATER_REOPENED, "signals_added", {"signals": ["complex_billing"]}),
            (SHIPPED, "signals_added", {"signals": ["special_pricing"]}),
        ],
        start=1,
    ):
        async with desk.at_work(policy):
            await desk.put(fact, **data)
            await desk.decided(number)
    found = await desk.recomputed()
    assert (found["same"], found["differences"], found["decisions"]) == (True, [], 3)


async def test_a_policy_that_was_not_kept_is_said_to_be_missing(desk: Desk) -> None:
    """R8: 409, instead of a result by another policy."""
    async with desk.at_work():
        await desk.put("created", category="billing")
        await desk.decided(1)
    await desk.execute("delete from policy_version")
    answer = await desk.ask("/v1/tickets/T-1/recompute", policy=LATER_REOPENED)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/policy-not-kept")
    assert (await desk.recomputed())["same"]


async def test_of_an_unknown_ticket_there_is_nothing_to_recompute(desk: Desk) -> None:
    """404, as a problem document."""
    answer = await desk.ask("/v1/tickets/T-9/recompute")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


async def test_a_restricted_ticket_is_not_recomputed(desk: Desk) -> None:
    """S9: what it was before is nobody's business, however it became restricted."""
    bridge = source_of("safety-bridge")
    async with desk.at_work():
        await desk.put("created", "T-1", source=bridge)
        await desk.put("created", "T-2", category="billing")
        await desk.put("restricted", "T-2", source=bridge)
        await desk.decided(3)
    for ticket_id in ("T-1", "T-2"):
        assert (await desk.ask(f"/v1/tickets/{ticket_id}/recompute")).status_code == 404


async def test_what_was_tampered_with_is_a_difference(desk: Desk) -> None:
    """R8: in the log, in the history, or by another model, and the field says where."""
    other_prefix = f"{desk.kafka.topic_prefix}other."
    await Kafka(desk.kafka.bootstrap_servers, topic_prefix=other_prefix).create_topics()
    async with desk.at_work():
        await desk.put("created", category="technical")
        await desk.decided(1)
    await desk.put("created", category="account", prefix=other_prefix)
    assert (await desk.workbench().recompute("T-1")).differences == ()
    tampered = await desk.workbench(prefix=other_prefix).recompute("T-1")
    assert {"1.category", "1.upstream", "1.occurred_at"} <= set(tampered.differences)
    other_model = await desk.workbench(version="another").recompute("T-1")
    assert other_model.differences == ("1.classifier_version",)
    await desk.execute(
        "update decision set document = convert_to(replace(convert_from(document, 'UTF8'), 'R2', 'R3'), 'UTF8')"
    )
    assert (await desk.workbench().recompute("T-1")).differences == ("1.clauses",)


DRAFTS = {
    "a criterion at another level": (
        {
            "escalation": {
                "rows": {
                    "billing": {
                        "to_level": {
                            "2": ["enterprise_contract_question", "refund_policy_exception", "payment_method_issue"],
                            "3": [
                                "complex_billing",
                                "executive_dispute",
                                "special_pricing",
                                "contract_modification",
                                "legal_or_compliance",
                            ],
                        }
                    }
                }
            }
        },
        {"T-2": ("finance", 2, "executive", 3)},
    ),
    "triage below 0.99": (
        {"classification": {"triage_below": {"billing": 0.99}}},
        {"T-3": ("customer_service", 1, "customer_service", 1)},
    ),
    "another team for a level": (
        {"routing": {"teams": {"billing": {"levels": {"1": "finance"}}}}},
        {"T-1": ("customer_service", 1, "finance", 1), "T-3": ("customer_service", 1, "finance", 1)},
    ),
    "nothing": ({}, {}),
}


async def test_a_draft_names_the_tickets_that_stand_elsewhere_and_changes_nothing(desk: Desk) -> None:
    """C3, E0, R1: a restricted ticket moves by no draft (S9); no row is written and nothing is announced."""
    async with desk.at_work():
        await desk.put("created", "T-1", category="billing")
        await desk.put("created", "T-2", category="billing", signals=["complex_billing"])
        await desk.put("created", "T-3", subject="Invoice", body="I need an invoice")
        await desk.put("created", "T-4", category="technical")
        await desk.put("created", "T-5", source=source_of("safety-bridge"), category="billing")
        await desk.decided(5)
    rows, length = await desk.rows(), await desk.length()
    for changes, expected in DRAFTS.values():
        answer = await desk.ask("/v1/drafts", {"changes": changes, "last": 100})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        moved = {
            one["ticket_id"]: (one["was"]["team"], one["was"]["level"], one["now"]["team"], one["now"]["level"])
            for one in found["moved"]
        }
        assert (found["tickets"], found["changed"], moved) == (5, len(expected), expected)
        assert sum(found["by_team"].values()) == len(expected)
        assert (found["policy_version"] == load_policy().version) is (changes == {})
    assert (await desk.rows(), await desk.length()) == (rows, length)


@pytest.mark.parametrize("times", [1, 3], ids=["once", "three times"])
async def test_a_draft_is_tried_on_the_latest_tickets(desk: Desk, times: int) -> None:
    """A ticket counts once, however often its record is in the log."""
    for number in range(1, 5):
        await desk.put("created", f"T-{number}", category="billing", times=times)
    changes = {"routing": {"teams": {"billing": {"levels": {"1": "finance"}}}}}
    found = (await desk.ask("/v1/drafts", {"changes": changes, "last": 2})).json()
    assert (found["tickets"], [one["ticket_id"] for one in found["moved"]]) == (2, ["T-3", "T-4"])


def doubling(depth: int) -> dict[str, Any]:
    """Sets of words each of which names the one before twice."""
    return {f"set{n}": [f"$set{n - 1}"] * 2 if n else ["one", "two"] for n in range(depth)}


FAULTY = {
    "no such team": ({"routing": {"triage": {"team": ""}}}, "/changes/routing/triage/team"),
    "no such field": ({"nonsense": 1}, "/changes/nonsense"),
    "words that double": (
        {"words": {"en": {"sets": doubling(40), "topics": {"refund_request": {"says": ["$set39 back"]}}}}},
        "/changes/words/en",
    ),
    "too wide in all": (
        {"words": {"en": {"topics": {"refund_request": {"says": ["money ~20 back ~20 now ~20 please"]}}}}},
        "/changes/words/en",
    ),
}


async def test_a_draft_that_is_no_policy_is_refused_with_its_place(desk: Desk) -> None:
    """422 with pointer and kind; what was sent is not repeated."""
    for changes, place in FAULTY.values():
        answer = await desk.ask("/v1/drafts", {"changes": changes, "last": 10})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, place), answer.text
        assert "please" not in answer.text


async def test_a_draft_that_takes_too_long_ends_with_its_deadline(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, the process that played it is gone, and the loop answers others meanwhile."""
    monkeypatch.setattr(workbench, "DEADLINE_SECONDS", 0.5)
    asking = asyncio.create_task(desk.workbench().try_draft({}, 10))
    assert await desk.length() == 0
    with pytest.raises(TransientFailure):
        await asking
    assert workers_of_ours() == []


def workers_of_ours() -> list[Path]:
    """Children of this process that work out questions and have not ended."""
    return [stat.parent for stat in Path("/proc").glob("[0-9]*/stat") if is_worker_of_ours(stat)]


def is_worker_of_ours(stat: Path) -> bool:
    """Whether a process is a child of this one that works out questions, and not ended."""
    try:
        state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        return int(parent) == os.getpid() and state != "Z" and b"to_process" in (stat.parent / "cmdline").read_bytes()
    except OSError:
        return False
