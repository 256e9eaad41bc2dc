"""Asks the log: was this decision right by its own policy, and what would a draft of the policy change? Changes nothing.

One question at a time, in a process of its own that ends with its deadline: the decisions of the day do not wait, whatever
a draft says.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import orjson
from pydantic import ValidationError

from router.domain.classification import Classifier
from router.domain.model import Model, Parameters
from router.domain.ticket import Ticket
from router.handlers.rehearsal import Handlers, Moved, Rehearsal, Turn, differences, without_assignments
from router.store import RoutedTickets
from shared.errors import Refusal, TransientFailure
from shared.events.envelope import Record
from shared.events.ticket import TicketCreated
from shared.events.topics import SLA, TICKET
from shared.messaging.kafka import Kafka
from shared.policy.draft import drafted
from shared.policy.model import Policy
from shared.runtime.elsewhere import elsewhere
from shared.runtime.now import Now

DEADLINE_SECONDS = 120.0
RECORDS_A_TICKET = 20
RECORDS_AT_MOST = 8000
"""So many records of each partition are read for every ticket that a draft is tried on, and in all: memory is bounded."""
TICKETS_AT_MOST = 5000


class UnknownTicketHere(Refusal):
    """Nothing is known of that ticket, or it is restricted and its history nobody's business."""

    status = 404
    slug = "not-found"
    clause = "S9"


class PolicyNotKept(Refusal):
    """The policy by which the ticket was decided is not kept here, or is none any more."""

    slug = "policy-not-kept"
    clause = "R8"


@dataclass(frozen=True, slots=True)
class Recomputed:
    """A ticket's decisions, once as recorded and once as the log leads to them under the same policy."""

    policy_versions: tuple[str, ...]
    classifier_versions: tuple[str, ...]
    decisions: int
    differences: tuple[str, ...]


@dataclass(slots=True)
class Trial:
    """What a draft would change for the latest tickets."""

    policy_version: str
    tickets: int = 0
    moved: list[Moved] = field(default_factory=list)

    @property
    def by_team(self) -> dict[str, int]:
        """How many would go from which team to which."""
        return dict(Counter(f"{one.was.team} -> {one.now.team}" for one in self.moved).most_common())


class Workbench:
    """Reads the log and plays it; see `rehearsal`."""

    def __init__(
        self,
        kafka: Kafka,
        routed: RoutedTickets,
        handlers: Handlers,
        policy: Policy,
        parameters: Parameters,
        *,
        now: Now,
    ) -> None:
        self._kafka = kafka
        self._routed = routed
        self._handlers = handlers
        self._policy = policy
        self._parameters = parameters
        self._now = now
        self._one_at_a_time = asyncio.Lock()

    async def recompute(self, ticket_id: str) -> Recomputed:
        """Decide a ticket again from the log, each decision under the policy that it was taken by (R8).

        Raises:
            UnknownTicketHere, PolicyNotKept: there is nothing to compare, or not by which to.
            TransientFailure: broker or database are away, or it takes too long.
        """
        ticket = await self._routed.find(ticket_id)
        if ticket is None or ticket.restricted:
            raise UnknownTicketHere
        recorded = without_assignments(await self._routed.history(ticket_id))
        versions = list(dict.fromkeys(str(decision["policy_version"]) for decision in recorded))
        async with self._undisturbed():
            records = [record async for record in self._of_company(ticket, recorded)]
            policies = {version: await self._policy_of(version) for version in versions}
            question = partial(_decided_again, self._handlers, self._parameters, policies, records)
            again = await elsewhere(partial(question, ticket_id, recorded, self._now()))
        return Recomputed(
            policy_versions=tuple(versions),
            classifier_versions=tuple(
                dict.fromkeys(str(one["classifier_version"]) for one in recorded if "classifier_version" in one)
            ),
            decisions=len(recorded),
            differences=tuple(differences(recorded, again)),
        )

    async def try_draft(self, changes: Mapping[str, Any], last: int) -> Trial:
        """Which of the latest tickets would stand elsewhere if the policy were changed so.

        Raises:
            UnreadableDraft: the changed policy is none.
            TransientFailure: the broker is away, or it takes too long.
        """
        policy = self._policy.model_dump_json()
        async with self._undisturbed():
            draft = await elsewhere(partial(_drafted, policy, changes))
            records, ids = await self._latest(last)
            question = partial(_tried, self._handlers, self._parameters, policy, draft, records)
            return await elsewhere(partial(question, ids, self._now()))

    async def _policy_of(self, version: str) -> str:
        policy = self._policy if version == self._policy.version else await self._routed.policy(version)
        if policy is None:
            raise PolicyNotKept
        return policy if isinstance(policy, str) else policy.model_dump_json()

    async def _latest(self, last: int) -> tuple[list[Record], list[str]]:
        """The records of the latest tickets, and their ids."""
        latest: deque[tuple[Any, str]] = deque()
        records: list[Record] = []
        async with self._kafka.watcher([TICKET.name, SLA.name]) as watcher:
            async for record in watcher.until_now(last=min(last * RECORDS_A_TICKET, RECORDS_AT_MOST)):
                records.append(record)
                if _type_of(record) == TicketCreated.wire_type:
                    latest.append((record.timestamp, record.key.decode(errors="replace")))
        ids = list(dict.fromkeys(ticket_id for _, ticket_id in sorted(latest)))[-last:]
        wanted = set(ids)
        return [record for record in records if record.key.decode(errors="replace") in wanted], ids

    async def _of_company(self, ticket: Ticket, recorded: list[dict[str, Any]]) -> AsyncIterator[Record]:
        """The records of a ticket, of those that its decisions name, and of those with the same requester or property (E2)."""
        named = {ticket.ticket_id, *(other for decision in recorded for other in decision.get("related", ()))}
        keys = {str(ticket_id).encode() for ticket_id in named}
        async with self._kafka.watcher([TICKET.name, SLA.name]) as watcher:
            async for record in watcher.until_now():
                if record.key not in keys and _is_company(record, ticket):
                    keys.add(record.key)
                if record.key in keys:
                    yield record

    @asynccontextmanager
    async def _undisturbed(self) -> AsyncIterator[None]:
        """One at a time, and not for ever.

        Raises:
            TransientFailure: it takes too long.
        """
        try:
            async with asyncio.timeout(DEADLINE_SECONDS), self._one_at_a_time:
                yield
        except TimeoutError as late:
            raise TransientFailure("the log is too long for one question") from late


def _decided_again(
    handlers: Handlers,
    parameters: Parameters,
    policies: Mapping[str, str],
    records: list[Record],
    ticket_id: str,
    recorded: list[dict[str, Any]],
    now: datetime,
) -> list[dict[str, Any]]:
    """From the log, each decision under the policy of its time."""
    try:
        read = {version: Policy.model_validate_json(text) for version, text in policies.items()}
    except ValidationError:
        raise PolicyNotKept from None
    classifiers = {version: Classifier(policy, Model(parameters)) for version, policy in read.items()}
    versions = [str(decision["policy_version"]) for decision in recorded]
    turns = [
        Turn(ticket_id, number, str(recorded[number]["occurred_at"]), classifiers[version])
        for number, version in enumerate(versions)
        if number and version != versions[number - 1]
    ]
    rehearsal = Rehearsal(handlers, classifiers[versions[0]], now, turns)
    rehearsal.play(records)
    return without_assignments(rehearsal.decisions(ticket_id))


def _drafted(policy: str, changes: Mapping[str, Any]) -> str:
    """The changed policy.

    Raises:
        UnreadableDraft: it is none.
    """
    return drafted(policy, changes).model_dump_json()


def _tried(
    handlers: Handlers,
    parameters: Parameters,
    policy: str,
    draft: str,
    records: list[Record],
    ids: list[str],
    now: datetime,
) -> Trial:
    """The records once by the policy and once by the draft."""
    by = [Policy.model_validate_json(text) for text in (policy, draft)]
    was, then = (Rehearsal(handlers, Classifier(one, Model(parameters)), now) for one in by)
    was.play(records)
    then.play(records)
    trial = Trial(by[1].version, len(ids))
    for ticket_id in ids:
        before, after = was.placement(ticket_id), then.placement(ticket_id)
        if before is not None and after is not None and not before.equals(after):
            trial.moved.append(Moved(ticket_id, before, after))
    return trial


def _type_of(record: Record) -> str:
    return next((value.decode(errors="replace") for name, value in record.headers if name == "ce_type"), "")


def _is_company(record: Record, ticket: Ticket) -> bool:
    """Whether a new ticket has the same requester or property."""
    if _type_of(record) != TicketCreated.wire_type:
        return False
    try:
        data = orjson.loads(record.value)
        requester, ip = data["requester"]["id"], (data.get("ip") or {}).get("id")
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return bool(requester == ticket.requester_id or (ip is not None and ip == ticket.ip_id))
