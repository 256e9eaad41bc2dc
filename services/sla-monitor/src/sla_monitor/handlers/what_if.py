"""What would other rules do to the open clocks, and the explicit retarget that does exactly that (L11).

Asked without locks, a page after the other, in processes of their own that end with their deadline: no clock waits for it.
Only the retarget writes, a few hundred tickets in a transaction; one that was interrupted is simply asked for again.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

import structlog

from shared.errors import Refusal, TransientFailure
from shared.events.envelope import derived_id
from shared.messaging.unit_of_work import UnitsOfWork
from shared.policy.business_time import CalendarRefused, load_calendar
from shared.policy.calendar_check import PLACE, Weight, check_calendar
from shared.policy.draft import UnreadableDraft, drafted, replaced
from shared.policy.model import Policy
from shared.runtime.elsewhere import elsewhere
from shared.runtime.now import Now
from sla_monitor.domain.targets import Rules, RulesKey
from sla_monitor.domain.what_if import Effects, retarget_to
from sla_monitor.handlers import settle
from sla_monitor.store import ClockedTickets, KeptRules, SlaUnit, read_ticket

DEADLINE_SECONDS = 120.0
TICKETS_A_PAGE = 2000
PAGES_AT_ONCE = 3
"""So many processes fold pages, on two cores two and the next page is read meanwhile; the pages in memory are as many."""
TICKETS_A_TRANSACTION = 500

log = structlog.get_logger()


class PolicyNotInForce(Refusal):
    """The clocks can only be brought to the policy that this service runs by, and that is another one."""

    slug = "policy-not-in-force"
    clause = "L11"


@dataclass(frozen=True, slots=True)
class Outcome:
    """By which rules, as of which instant, and what they do."""

    rules: RulesKey
    at: datetime
    effects: Effects


class WhatIf:
    """Weighs rules on the live open tickets, and brings these to the rules in force when told to."""

    def __init__(self, tickets: ClockedTickets, units: UnitsOfWork[SlaUnit], policy: Policy, *, now: Now) -> None:
        self._tickets = tickets
        self._units = units
        self._policy = policy
        self._now = now
        self._one_at_a_time = asyncio.Lock()

    async def try_draft(self, draft: Mapping[str, Any], *, is_whole: bool = False) -> Outcome:
        """What a retarget would do if this draft were in force; changes nothing.

        Args:
            draft: changes of the policy in force, or a whole policy.

        Raises:
            UnreadableDraft: it is no policy, or its calendar would be refused.
            TransientFailure: the database is away, or it takes too long.
        """
        async with self._undisturbed(DEADLINE_SECONDS):
            rules = await elsewhere(partial(_drafted, self._policy.model_dump_json(), draft, is_whole))
            return await self._weigh(rules)

    async def try_retarget(self, policy_version: str | None = None) -> Outcome:
        """What `retarget` would do now; changes nothing.

        Raises:
            PolicyNotInForce: another policy is.
            TransientFailure: the database is away, or it takes too long.
        """
        self._check(policy_version)
        async with self._undisturbed(DEADLINE_SECONDS):
            return await self._weigh(self._tickets.book.kept)

    async def retarget(self, policy_version: str | None = None) -> Outcome:
        """Bring every open ticket to the rules in force and tell what that moves; those that run by them are left alone.

        Raises:
            PolicyNotInForce: another policy is.
            TransientFailure: the database is away; what was done stays, and asking again does the rest.
        """
        self._check(policy_version)
        async with self._undisturbed(None):
            rules, at, done = self._tickets.book.kept, self._now(), Effects()
            async for page in self._pages(rules, at):
                for start in range(0, len(page.to_retarget), TICKETS_A_TRANSACTION):
                    ticket_ids = page.to_retarget[start : start + TICKETS_A_TRANSACTION]
                    done.add(await self._settle(ticket_ids, rules.key, at))
                done.failed += page.failed
            log.info("retargeted", policy_version=rules.policy_version, tickets=done.retargeted, moved=done.moved)
            return Outcome(rules.key, at, done)

    async def _settle(self, ticket_ids: list[str], rules: RulesKey, at: datetime) -> Effects:
        """One transaction. What happened since the page was read is seen here, under the rows' locks."""
        done, retarget = Effects(), retarget_to(rules, at, _fact_id(rules))
        async with self._units.begin() as unit:
            for ticket in await unit.hold(ticket_ids):
                told, found = len(unit.emitted), Effects()
                try:
                    if found.weigh(ticket, retarget, at, unit.book):
                        ticket.add(retarget)
                        settle(ticket, unit)
                        done.add(found)
                except Exception as error:
                    log.error("retarget failed", ticket_id=ticket.ticket_id, error=type(error).__name__)
                    del unit.emitted[told:]
                    done.failed += 1
        return done

    async def _weigh(self, rules: KeptRules) -> Outcome:
        at, found = self._now(), Effects()
        async for page in self._pages(rules, at):
            found.add(page)
        return Outcome(rules.key, at, found)

    async def _pages(self, rules: KeptRules, at: datetime) -> AsyncIterator[Effects]:
        """What becomes of each page of tickets, in their order; the next pages are folded meanwhile."""
        kept = await self._tickets.kept_rules()
        folding: deque[asyncio.Task[Effects]] = deque()
        try:
            async for documents in self._tickets.pages(TICKETS_A_PAGE):
                question = partial(_weighed, rules, kept, documents, at)
                folding.append(asyncio.create_task(elsewhere(question)))
                if len(folding) == PAGES_AT_ONCE:
                    yield await folding.popleft()
            while folding:
                yield await folding.popleft()
        finally:
            for task in folding:
                task.cancel()
            await asyncio.gather(*folding, return_exceptions=True)

    def _check(self, policy_version: str | None) -> None:
        if policy_version not in (None, self._policy.version):
            raise PolicyNotInForce

    @asynccontextmanager
    async def _undisturbed(self, seconds: float | None) -> AsyncIterator[None]:
        """One at a time, and not for ever.

        Raises:
            TransientFailure: it takes too long, or another one does.
        """
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await self._one_at_a_time.acquire()
            try:
                async with asyncio.timeout(seconds):
                    yield
            finally:
                self._one_at_a_time.release()
        except TimeoutError as late:
            raise TransientFailure("there are too many tickets for one question") from late


def _fact_id(rules: RulesKey) -> str:
    """The same for the same rules: a retarget that is asked for twice is one."""
    return derived_id(SlaUnit.service, "rules_changed", *rules)


def _drafted(policy: str, draft: Mapping[str, Any], is_whole: bool) -> KeptRules:
    """The rules that a draft makes.

    Raises:
        UnreadableDraft: it is no policy, or its calendar would be refused.
    """
    changed = replaced(policy, draft) if is_whole else drafted(policy, draft)
    errors = [one for one in check_calendar(changed.clocks.calendar) if one.weight is Weight.ERROR]
    if errors:
        raise UnreadableDraft(tuple((one.place, one.code) for one in errors))
    try:
        return KeptRules.of(Rules.of(changed, load_calendar(changed.clocks.calendar)))
    except CalendarRefused:
        raise UnreadableDraft(((PLACE, "calendar_refused"),)) from None


def _weighed(rules: KeptRules, kept: tuple[KeptRules, ...], documents: list[bytes], at: datetime) -> Effects:
    """What becomes of these tickets by other rules."""
    book = {one.key: _read(one) for one in (rules, *kept)}
    retarget, found = retarget_to(rules.key, at, _fact_id(rules.key)), Effects()
    for document in documents:
        try:
            found.weigh(read_ticket(document), retarget, at, book)
        except Exception:
            found.failed += 1
    return found


@lru_cache(maxsize=256)
def _read(rules: KeptRules) -> Rules:
    return rules.read()
