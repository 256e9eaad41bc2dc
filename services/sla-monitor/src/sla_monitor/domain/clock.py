"""The clocks of one ticket, as a pure function of its facts (L8, L9, L11-L14).

`fold` plays the facts in the order in which they happened, whatever the order in which they arrived, and answers what became
of each clock. A late fact is played in its place, so that late, swapped and repeated events come out right by construction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from shared.vocabulary import Category, ClockState, Level, Milestone, Subcategory, Team, Tier
from sla_monitor.domain.targets import Promise, Rules, RulesKey, answered_within, grace_ends, promise

_MILESTONES = tuple(Milestone)
_PAUSING = (Milestone.RESOLUTION, Milestone.ESCALATION)
_ANSWERED = (Milestone.ACKNOWLEDGEMENT, Milestone.INITIAL_RESPONSE)
_OPEN = (ClockState.RUNNING, ClockState.PAUSED)
_NOTHING = timedelta(0)


class FactKind(StrEnum):
    """What clocks care about, in the order in which facts of one instant count: placed, answered, stopped, paused, started,
    ended."""

    TIER_CHANGED = "tier_changed"
    ROUTED = "routed"
    RULES_CHANGED = "rules_changed"
    ACKNOWLEDGED = "acknowledged"
    REPLIED = "replied"
    RESOLVED = "resolved"
    WAITING = "waiting"
    CONTINUED = "continued"
    CUSTOMER_WROTE = "customer_wrote"
    REOPENED = "reopened"
    CLOSED = "closed"
    RESTRICTED = "restricted"


_HEARD_WHEN_CLOSED = (FactKind.TIER_CHANGED, FactKind.ROUTED, FactKind.RULES_CHANGED, FactKind.RESTRICTED)
_PLACE = {kind: place for place, kind in enumerate(FactKind)}


class Care(StrEnum):
    """Whose hands a ticket is in, as far as its clocks care: with safety and legal nothing pauses (L9)."""

    ORDINARY = "ordinary"
    LEGAL = "legal"
    SAFETY = "safety"


def care_of(category: Category | None, subcategory: Subcategory | None, *teams: Team) -> Care:
    """The care that a routing decision puts a ticket in (L9)."""
    if category is Category.SAFETY:
        return Care.SAFETY
    if subcategory is Subcategory.RIGHTS_HOLDER_CLAIM or not _LAWYERS.isdisjoint(teams):
        return Care.LEGAL
    return Care.ORDINARY


_LAWYERS = frozenset((Team.LEGAL, Team.LEGAL_COMPLIANCE))


@dataclass(frozen=True, slots=True)
class Decided:
    """What clocks see of a routing decision; `rose`: whether it raised the ticket, `by_clock`: because a clock was due (L14)."""

    care: Care = Care.ORDINARY
    subcategory: Subcategory | None = None
    level: Level | None = None
    tier: Tier | None = None
    rose: bool = False
    by_clock: bool = False


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened to a ticket: a decision, a tier from then on, rules from then on, a closing with its reason."""

    at: datetime
    kind: FactKind
    id: str
    claimed_at: datetime | None = None
    reason: str | None = None
    decided: Decided | None = None
    tier: Tier | None = None
    rules: RulesKey | None = None

    @property
    def order(self) -> tuple[datetime, int, str]:
        """By the time at which it happened; of the same instant the same order whatever came first (L13)."""
        return self.at, _PLACE[self.kind], self.id


@dataclass(frozen=True, slots=True)
class Terms:
    """What was promised for a ticket: at its first routing decision, or provisionally for its tier (L16)."""

    created_at: datetime
    decided_at: datetime
    decided: Decided
    rules: RulesKey
    """The policy and the calendar that its clocks keep, whatever is in force later (L11)."""
    decided_by: str | None = None
    """The id of the routing decision; a provisional start has none."""
    provisional: bool = False

    def holds(self, fact: Fact) -> bool:
        """Whether the start was decided by this fact, or it only says which tier the ticket had by then."""
        return fact.id == self.decided_by or (fact.kind is FactKind.TIER_CHANGED and fact.at <= self.decided_at)


@dataclass(frozen=True, slots=True)
class Pause:
    """A stretch that does not count; an open one has no end (L9, L12)."""

    started_at: datetime
    ended_at: datetime | None = None


class Clock(NamedTuple):
    """One milestone of one ticket in one cycle. While it is paused `due_at` is what it was when the pause began.

    A fold makes a dozen of them for each event: a named tuple costs a fifth of a frozen dataclass.
    """

    promise: Promise
    rules: Rules
    cycle: int
    started_at: datetime
    due_at: datetime
    state: ClockState = ClockState.RUNNING
    pauses: tuple[Pause, ...] = ()
    ended_at: datetime | None = None
    """When it was fulfilled, in time or late, or cancelled."""
    reason: str | None = None
    carried: timedelta = _NOTHING
    """What earlier cycles had counted (L12)."""
    level: Level | None = None
    """Of an escalation clock: the level from which it raises (L14)."""

    @property
    def key(self) -> str:
        """Names the clock within its ticket (L10)."""
        return f"{self.promise.milestone}|{self.cycle}"

    def counted(self, at: datetime) -> timedelta:
        """The time counted until `at`, in the unit of the target, pauses left out (L9)."""
        total, since = _NOTHING, self.started_at
        for pause in self.pauses:
            total += self._measure(since, min(pause.started_at, at))
            if pause.ended_at is None or at <= pause.ended_at:
                return total
            since = pause.ended_at
        return total + self._measure(since, at)

    def instant_of(self, counted: timedelta) -> datetime:
        """The earliest instant by which so much time is counted; of an open pause nothing is known yet."""
        since = self.started_at
        for pause in self.pauses:
            stretch = self._measure(since, pause.started_at)
            if counted <= stretch or pause.ended_at is None:
                break
            counted -= stretch
            since = pause.ended_at
        return self.rules.calendar.add(since, counted) if self.promise.in_business_time else since + counted

    def share(self, at: datetime) -> float:
        """The share of the target used up at `at`, between 0 and 1 (L15)."""
        if self.promise.length <= _NOTHING:
            return 1.0
        return min(self.counted(at) / self.promise.length, 1.0)

    def resumed(self, at: datetime) -> "Clock":
        """Running again, as late as the pause was long (L9)."""
        running = self._replace(state=ClockState.RUNNING, pauses=_ended(self.pauses, at))
        return running._replace(due_at=max(self.due_at, running.instant_of(self.promise.length)))

    def _measure(self, start: datetime, end: datetime) -> timedelta:
        if self.promise.in_business_time:
            return self.rules.calendar.measure(start, end)
        return max(end - start, _NOTHING)


class Turn(StrEnum):
    """What can become of a clock, in the words of the events."""

    STARTED = "clock_started"
    WARNING = "warning"
    BREACHED = "breached"
    MET = "met"
    FULFILLED_LATE = "fulfilled_late"
    PAUSED = "paused"
    RESUMED = "resumed"
    RETARGETED = "retargeted"
    CANCELLED = "cancelled"
    CORRECTED = "corrected"


class Change(NamedTuple):
    """One turn of one clock: the clock as it stood after it, when, by which fact and by which clause."""

    turn: Turn
    clock: Clock
    at: datetime
    clause: str | None
    because: Fact | None = None
    previous_due_at: datetime | None = None


def fold(terms: Terms, facts: Sequence[Fact], now: datetime, book: Mapping[RulesKey, Rules]) -> list[Change]:
    """Everything that became of the clocks until `now`; `facts` are in their order, those to come are left for later."""
    created_at = terms.created_at.astimezone(UTC)  # instants of one zone compare faster
    story = _Story(terms, created_at, book)
    for fact in facts:
        if fact.at > now:
            break
        if not terms.holds(fact):
            at = max(fact.at.astimezone(UTC), created_at)
            story.breach_before(at)
            story.play(fact, at)
    story.breach_until(now)
    return story.changes


class _Story:
    """Plays facts; holds the clock of each milestone in its latest cycle."""

    def __init__(self, terms: Terms, created_at: datetime, book: Mapping[RulesKey, Rules]) -> None:
        self._book = book
        self._rules = book[terms.rules]
        self._tier = terms.decided.tier
        self._care = terms.decided.care
        self._subcategory = terms.decided.subcategory
        self._level = terms.decided.level
        self._is_waiting = False
        self._resolved_at: datetime | None = None
        self._is_closed = False
        self._is_restricted = False
        self._rose_meanwhile = False
        self._clocks: dict[Milestone, Clock] = {}
        self._unanswered: list[Clock] = []
        """Breached clocks of earlier cycles that an answer still ends (L8)."""
        self.changes: list[Change] = []
        self._runs_by = self._basis()
        for milestone in _MILESTONES:
            if (promised := self._promised(milestone, created_at)) is not None:
                self._start(promised, created_at, terms.decided_at, "L16")

    def breach_before(self, instant: datetime) -> None:
        """What is due earlier is breached: an event at the due instant is still in time (L8)."""
        for clock in self._running():
            if clock.due_at < instant:
                self._breach(clock)

    def breach_until(self, now: datetime) -> None:
        """What is due by now is breached (L10)."""
        for clock in self._running():
            if clock.due_at <= now:
                self._breach(clock)

    def play(self, fact: Fact, at: datetime) -> None:
        if self._is_closed and fact.kind not in _HEARD_WHEN_CLOSED:
            return
        match fact.kind:
            case FactKind.TIER_CHANGED:
                self._tier = fact.tier
                self._retarget(at, fact)
            case FactKind.ROUTED if fact.decided is not None:
                self._decide(fact.decided, at, fact)
            case FactKind.RULES_CHANGED if fact.rules is not None:
                self._rules = self._book[fact.rules]
                self._retarget(at, fact)
            case FactKind.ACKNOWLEDGED:
                self._fulfil(Milestone.ACKNOWLEDGEMENT, at, fact, "L8")
            case FactKind.REPLIED:
                for milestone in _ANSWERED:
                    self._fulfil(milestone, at, fact, "L8")
            case FactKind.RESOLVED:
                self._resolve(at, fact)
            case FactKind.WAITING:
                self._is_waiting = self._resolved_at is None
            case FactKind.CONTINUED:
                self._is_waiting = False
            case FactKind.CUSTOMER_WROTE:
                self._is_waiting = False
                self._reopen(at, fact)
            case FactKind.REOPENED:
                self._reopen(at, fact)
            case FactKind.CLOSED if self._care is not Care.SAFETY:
                self._close(at, fact, fact.reason, None)
            case FactKind.RESTRICTED:
                self._is_restricted = True
                self._close(at, fact, fact.kind, "L6")
        self._pause_or_resume(at, fact)

    def _decide(self, decided: Decided, at: datetime, fact: Fact) -> None:
        """Another category, team or level: recompute what runs (L11), and after a rise escalate anew (L14)."""
        is_cry = decided.care is Care.SAFETY and self._care is not Care.SAFETY and not self._is_restricted
        reopens = is_cry and self._resolved_at is not None
        self._care, self._subcategory, self._level = decided.care, decided.subcategory, decided.level
        if is_cry:  # it opens a ticket again, however that was ended (S6)
            self._is_closed = False
            self._rose_meanwhile = self._rose_meanwhile and not decided.rose
            self._reopen(at, fact, is_cry=True)
        if self._care is not Care.ORDINARY:
            self._pause_or_resume(at, fact)
        self._retarget(at, fact, is_cry=is_cry and not reopens)
        if decided.rose:
            self._escalate_anew(at, fact, by_clock=decided.by_clock)
        clock = self._clocks.get(Milestone.ESCALATION)
        if clock is not None and clock.state in _OPEN and clock.level is not self._level:
            self._amend(clock._replace(level=self._level))

    def _retarget(self, at: datetime, fact: Fact, *, is_cry: bool = False) -> None:
        """Recompute every running milestone from its start, pauses kept; what was met or breached stays so (L11).

        While the ticket is resolved nothing runs: then this waits for its reopening.
        """
        before, basis = self._runs_by, self._basis()
        if self._resolved_at is not None or self._is_closed or (basis == before and not is_cry):
            return
        self._runs_by = basis
        begins_anew = is_cry or _begins_anew(before, basis)
        for milestone in _MILESTONES:
            clock = self._clocks.get(milestone)
            if begins_anew and milestone in _ANSWERED:
                self._answer_anew(milestone, clock, at, fact)
            elif clock is not None and clock.state in _OPEN:
                promised = self._promised(milestone, clock.started_at)
                if promised is None:
                    self._cancel(milestone, at, fact, "superseded", "L11")
                else:
                    self._move(clock, promised, before, at, fact)
            elif (
                (clock is None or clock.state is ClockState.CANCELLED)
                and not before.promises(milestone)
                and (promised := self._promised(milestone, at)) is not None
            ):
                self._start(promised, at, at, "L11", fact, cycle=clock.cycle + 1 if clock else 1)

    def _move(self, clock: Clock, promised: Promise, before: "_Basis", at: datetime, fact: Fact) -> None:
        """To its due time by the new promise; a tighter one leaves a grace from the change, and is never later than before."""
        running = clock.resumed(at) if clock.state is ClockState.PAUSED else clock
        moved = running._replace(promise=promised, rules=self._rules)
        due_at = recomputed = moved.instant_of(promised.length)
        if recomputed < running.due_at:
            due_at = min(running.due_at, max(recomputed, grace_ends(promised.target, at, self._rules)))
        if before.care is self._care is Care.SAFETY and clock.promise.milestone is Milestone.INITIAL_RESPONSE:
            due_at = min(due_at, running.due_at)  # nothing loosens the answer to a cry (S1)
        if due_at != recomputed:
            moved = moved._replace(promise=promised._replace(length=moved.counted(due_at)))
        if clock.state is ClockState.PAUSED:
            moved = moved._replace(state=ClockState.PAUSED, pauses=clock.pauses)
            due_at = moved.instant_of(moved.promise.length)
        if due_at != moved.due_at:
            moved = moved._replace(due_at=due_at)
        if due_at == clock.due_at and promised.target == clock.promise.target:
            self._amend(moved)
        else:
            self._turn(Turn.RETARGETED, moved, at, "L11", fact, clock.due_at)

    def _answer_anew(self, milestone: Milestone, clock: Clock | None, at: datetime, fact: Fact) -> None:
        """A new cycle from the change on, even if the last one was met; never due later than the one it replaces (L11)."""
        promised = self._promised(milestone, at)
        if clock is not None and clock.state in _OPEN:
            self._cancel(milestone, at, fact, "superseded", "L11")
            if promised is not None and clock.due_at < promised.due_at:
                started = Clock(promised, self._rules, 1, at, clock.due_at)
                promised = promised._replace(due_at=clock.due_at, length=started.counted(clock.due_at))
        elif clock is not None and clock.state is ClockState.BREACHED and clock.ended_at is None:
            self._unanswered.append(clock)
        if promised is not None:
            self._start(promised, at, at, "L11", fact, cycle=clock.cycle + 1 if clock else 1)

    def _escalate_anew(self, at: datetime, fact: Fact, *, by_clock: bool = False) -> None:
        """After a rise the escalation clock starts with the same target at the time of the decision (L14).

        A rise because it was due has the due time: then the clock is breached, not cancelled.
        """
        if self._resolved_at is not None or self._is_closed:
            self._rose_meanwhile |= not self._is_closed
            return
        self._rose_meanwhile = False
        clock = self._clocks.get(Milestone.ESCALATION)
        if by_clock and clock is not None and clock.state is ClockState.RUNNING and clock.due_at <= at:
            self._breach(clock)
        self._cancel(Milestone.ESCALATION, at, fact, "raised", "L14")
        if (promised := self._promised(Milestone.ESCALATION, at)) is not None:
            self._start(promised, at, at, "L14", fact, cycle=clock.cycle + 1 if clock else 1)

    def _resolve(self, at: datetime, fact: Fact) -> None:
        """Meets `resolution` and cancels the rest (L12)."""
        if self._resolved_at is not None or self._is_closed:
            return
        self._is_waiting = False
        for milestone in _PAUSING:
            clock = self._clocks.get(milestone)
            if clock is not None and clock.state is ClockState.PAUSED:
                self._clocks[milestone] = clock.resumed(at)
        self._fulfil(Milestone.RESOLUTION, at, fact, "L12")
        self._cancel(Milestone.ESCALATION, at, fact, "resolved", "L12")
        for milestone in _ANSWERED:
            self._cancel(milestone, at, fact, "resolved_unanswered", "L12")
        self._resolved_at = at

    def _reopen(self, at: datetime, fact: Fact, *, is_cry: bool = False) -> None:
        """Resumes what the resolution ended, in the next cycle; the time in between is a pause (L12).

        A breach stands: its clock goes on breached, and is not breached again.
        """
        resolved_at = self._resolved_at
        if resolved_at is None or self._is_closed:
            return
        if at - resolved_at > timedelta(days=self._rules.clocks.reopen_within_days) and not is_cry:
            return
        self._resolved_at = None
        for milestone in _PAUSING:
            ended = self._clocks.get(milestone)
            if ended is None or ended.ended_at != resolved_at or ended.reason not in (None, "resolved"):
                continue
            is_breached = ended.state is ClockState.BREACHED
            resumed = ended._replace(
                cycle=ended.cycle + 1,
                state=ClockState.BREACHED if is_breached else ClockState.RUNNING,
                pauses=(*ended.pauses, Pause(resolved_at, at)),
                ended_at=None,
                reason=None,
                carried=ended.counted(resolved_at),
                level=self._level if milestone is Milestone.ESCALATION else None,
            )
            if not is_breached:
                resumed = resumed._replace(due_at=max(at, ended.due_at, resumed.instant_of(ended.promise.length)))
            self._turn(Turn.RESUMED, resumed, at, "L12", fact, ended.due_at)
        self._retarget(at, fact, is_cry=is_cry)
        if self._rose_meanwhile:
            self._escalate_anew(at, fact)

    def _close(self, at: datetime, fact: Fact, reason: str | None, clause: str | None) -> None:
        """Cancels what still runs."""
        self._is_closed = True
        self._is_waiting = False
        for milestone in list(self._clocks):
            self._cancel(milestone, at, fact, reason, clause)

    def _pause_or_resume(self, at: datetime, fact: Fact) -> None:
        """While the customer is asked, resolution and escalation pause; never with safety or legal (L9)."""
        is_paused = self._is_waiting and self._care is Care.ORDINARY
        for milestone in _PAUSING:
            clock = self._clocks.get(milestone)
            if clock is None:
                continue
            if is_paused and clock.state is ClockState.RUNNING and clock.due_at > at:
                paused = clock._replace(state=ClockState.PAUSED, pauses=(*clock.pauses, Pause(at)))
                self._turn(Turn.PAUSED, paused, at, "L9", fact)
            elif not is_paused and clock.state is ClockState.PAUSED:
                self._turn(Turn.RESUMED, clock.resumed(at), at, "L9", fact, clock.due_at)

    def _fulfil(self, milestone: Milestone, at: datetime, fact: Fact, clause: str) -> None:
        for late in [one for one in self._unanswered if one.promise.milestone is milestone]:
            self._unanswered.remove(late)
            self._turn(Turn.FULFILLED_LATE, late._replace(ended_at=at), at, "L13", fact)
        clock = self._clocks.get(milestone)
        if clock is None:
            return
        if clock.state in _OPEN:
            met = clock._replace(state=ClockState.MET, ended_at=at, pauses=_ended(clock.pauses, at))
            self._turn(Turn.MET, met, at, clause, fact)
        elif clock.state is ClockState.BREACHED and clock.ended_at is None:
            self._turn(Turn.FULFILLED_LATE, clock._replace(ended_at=at), at, "L13", fact)

    def _cancel(self, milestone: Milestone, at: datetime, fact: Fact, reason: str | None, clause: str | None) -> None:
        clock = self._clocks.get(milestone)
        if clock is not None and clock.state in _OPEN:
            pauses = _ended(clock.pauses, at)
            cancelled = clock._replace(state=ClockState.CANCELLED, ended_at=at, reason=reason, pauses=pauses)
            self._turn(Turn.CANCELLED, cancelled, at, clause, fact)

    def _breach(self, clock: Clock) -> None:
        self._turn(Turn.BREACHED, clock._replace(state=ClockState.BREACHED), clock.due_at, "L10")

    def _start(
        self,
        promised: Promise,
        started_at: datetime,
        at: datetime,
        clause: str,
        because: Fact | None = None,
        *,
        cycle: int = 1,
    ) -> None:
        level = self._level if promised.milestone is Milestone.ESCALATION else None
        clock = Clock(promised, self._rules, cycle, started_at, promised.due_at, level=level)
        self._turn(Turn.STARTED, clock, at, clause, because)

    def _promised(self, milestone: Milestone, started_at: datetime) -> Promise | None:
        return promise(milestone, self._tier, self._subcategory, started_at, self._rules)

    def _basis(self) -> "_Basis":
        return _Basis(self._tier, self._subcategory, self._care, self._rules)

    def _running(self) -> list[Clock]:
        return [clock for clock in self._clocks.values() if clock.state is ClockState.RUNNING]

    def _turn(
        self,
        turn: Turn,
        clock: Clock,
        at: datetime,
        clause: str | None,
        because: Fact | None = None,
        previous_due_at: datetime | None = None,
    ) -> None:
        latest = self._clocks.get(clock.promise.milestone)
        if latest is None or clock.cycle >= latest.cycle:
            self._clocks[clock.promise.milestone] = clock
        self.changes.append(Change(turn, clock, at, clause, because, previous_due_at))

    def _amend(self, clock: Clock) -> None:
        """What is different about a clock without a turn of it."""
        milestone, cycle = clock.promise.milestone, clock.cycle
        self._clocks[milestone] = clock
        for place in range(len(self.changes) - 1, -1, -1):
            changed = self.changes[place].clock
            if changed.promise.milestone is milestone and changed.cycle == cycle:
                self.changes[place] = self.changes[place]._replace(clock=clock)
                return


class _Basis(NamedTuple):
    """What promises follow from."""

    tier: Tier | None
    subcategory: Subcategory | None
    care: Care
    rules: Rules

    def promises(self, milestone: Milestone) -> bool:
        return self.rules.promises(milestone, self.tier, self.subcategory)


def _begins_anew(before: _Basis, now: _Basis) -> bool:
    """Whether the first answer is owed once more: into safety, to what is more urgent there, or to a claim (L11).

    Other rules alone are no such change: they move what runs.
    """
    if now.care is Care.SAFETY:
        return before.care is not Care.SAFETY or (
            answered_within(now.subcategory, now.rules) < answered_within(before.subcategory, now.rules)
        )
    claim = Subcategory.RIGHTS_HOLDER_CLAIM
    return now.subcategory is claim and before.subcategory is not claim


def _ended(pauses: tuple[Pause, ...], at: datetime) -> tuple[Pause, ...]:
    """The pauses with the open one ended."""
    if pauses and pauses[-1].ended_at is None:
        return (*pauses[:-1], Pause(pauses[-1].started_at, at))
    return pauses
