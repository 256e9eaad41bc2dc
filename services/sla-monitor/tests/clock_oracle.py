"""A naive second implementation of the ticket clocks (policy L1-L16): sort the facts, play them one by one, count by walking."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

ZERO = timedelta(0)
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ELAPSED = {"minutes", "hours"}
PAUSING = {"resolution", "escalation"}
ANSWERED = {"acknowledgement", "initial_response"}
LEGAL = {"legal", "legal_compliance"}


# ---------------------------------------------------------------- interface


@dataclass(frozen=True)
class Target:
    amount: int
    unit: str  # minutes | hours | business_hours | business_days | same_day | next_business_day


@dataclass(frozen=True)
class Rules:
    targets: dict[str, dict[str, Target]]
    overlays: dict[str, dict[str, Target]]
    zone: str
    opening_hours: dict[
        str, list[tuple[time, time]]
    ]  # closing <= opening: over midnight; (00:00, 00:00): the whole day
    closed_days: set[date] = field(default_factory=set)
    special_days: dict[date, list[tuple[time, time]]] = field(
        default_factory=dict
    )  # stands before closed_days and weekday
    nominal_day: timedelta = timedelta(hours=8)
    grace_share: float = 0.25
    reopen_within: timedelta = timedelta(days=7)


@dataclass(frozen=True)
class Fact:
    at: datetime
    id: str


@dataclass(frozen=True)
class Routed(Fact):
    tier: str | None
    subcategory: str | None
    category: str | None
    team: str
    owning_team: str
    level: int
    rise: bool = False


@dataclass(frozen=True)
class TierChanged(Fact):
    tier: str | None


class Acknowledged(Fact): ...


class Replied(Fact): ...


class Resolved(Fact): ...


class Waiting(Fact): ...


class Continued(Fact): ...


class CustomerWrote(Fact): ...


class Reopened(Fact): ...


@dataclass(frozen=True)
class Closed(Fact):
    reason: str = "closed"


class Restricted(Fact): ...


ORDER = (
    TierChanged,
    Routed,
    Acknowledged,
    Replied,
    Resolved,
    Waiting,
    Continued,
    CustomerWrote,
    Reopened,
    Closed,
    Restricted,
)


@dataclass(frozen=True)
class Outcome:
    started_at: datetime
    due_at: datetime
    state: str  # running | paused | met | breached | cancelled
    ended_at: datetime | None = None
    reason: str | None = None
    level: int | None = None
    breached_at: datetime | None = None


def outcomes(created_at: datetime, facts: list, rules: Rules, now: datetime) -> dict[tuple[str, int], Outcome]:
    """The final state of every clock (milestone, cycle) at `now`; facts after `now` are not yet known."""
    facts = [replace(fact, at=max(fact.at, created_at)) for fact in facts if fact.at <= now]
    facts.sort(key=lambda fact: (fact.at, ORDER.index(type(fact)), fact.id))
    first = next((n for n, fact in enumerate(facts) if isinstance(fact, Routed)), None)
    if first is None:
        return {}
    # The clocks begin with the first decision but count from creation: what happened between is judged by its time,
    # only the tier changes up to the decision have no history of their own.
    tiers = [fact.tier for fact in facts[:first] if isinstance(fact, TierChanged)]
    ticket = Ticket(created_at, facts[first], tiers[-1] if tiers else facts[first].tier, rules)
    for n, fact in enumerate(facts):
        if n != first and not (n < first and isinstance(fact, TierChanged)):
            ticket.breach(lambda due, at=fact.at: due < at)  # at exactly the due instant a fact is in time
            ticket.play(fact)
    ticket.breach(lambda due: due <= now)
    return {
        (c.milestone, c.cycle): Outcome(c.started_at, c.due_at, c.state, c.ended_at, c.reason, c.level, c.breached_at)
        for c in ticket.clocks
    }


# ---------------------------------------------------------------- counting


@lru_cache(maxsize=100_000)
def instant_of(day: date, at: time, zone: ZoneInfo) -> datetime:
    """A local time that is missing is the moment of the change; of a twofold one the first counts."""
    wall = datetime.combine(day, at)
    one, other = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if one <= other:
        return one
    found = other.replace(second=0, microsecond=0)
    while found.astimezone(zone).replace(tzinfo=None) < wall:
        found += timedelta(minutes=1)
    return found


class Counting:
    def __init__(self, rules: Rules):
        self.rules, self.zone = rules, ZoneInfo(rules.zone)

    def windows(self, day: date) -> list[tuple[datetime, datetime]]:
        """The day's windows as instants."""
        rules = self.rules
        if day in rules.special_days:
            hours = rules.special_days[day]
        elif day in rules.closed_days:
            hours = []
        else:
            hours = rules.opening_hours.get(WEEKDAYS[day.weekday()], [])
        found = []
        for opens, closes in sorted(hours):
            last = day if closes > opens else day + timedelta(days=1)
            start, end = instant_of(day, opens, self.zone), instant_of(last, closes, self.zone)
            if start < end:
                found.append((start, end))
        return found

    def days(self, at: datetime):
        day = at.astimezone(self.zone).date() - timedelta(days=2)
        for _ in range(4000):
            yield day
            day += timedelta(days=1)
        raise ValueError("no business time within reach")

    def add(self, unit: str, at: datetime, length: timedelta) -> datetime:
        """The first instant by which `length` is counted from `at`."""
        if unit in ELAPSED or length <= ZERO:
            return at + max(length, ZERO)
        for day in self.days(at):
            for start, end in self.windows(day):
                start = max(start, at)
                if start < end:
                    if end - start >= length:
                        return start + length
                    length -= end - start
                    at = end
        raise AssertionError

    def count(self, unit: str, start: datetime, end: datetime) -> timedelta:
        """The time counted from `start` to `end`."""
        if unit in ELAPSED:
            return max(end - start, ZERO)
        total, at = ZERO, start
        for day in self.days(start):
            if day > end.astimezone(self.zone).date() + timedelta(days=2):
                return total
            for opens, closes in self.windows(day):
                opens, closes = max(opens, at), min(closes, end)
                if opens < closes:
                    total += closes - opens
                    at = closes
        raise AssertionError

    def add_around(self, unit: str, at: datetime, length: timedelta, pauses: list) -> datetime:
        for begin, end in pauses:
            before = self.count(unit, at, begin)
            if before >= length:
                break
            length -= before
            at = end
        return self.add(unit, at, length)

    def count_around(self, unit: str, start: datetime, end: datetime, pauses: list) -> timedelta:
        total = ZERO
        for begin, resumed in pauses:
            if begin >= end:
                break
            total += self.count(unit, start, begin)
            start = resumed
        return total + self.count(unit, start, end)

    def close_of_business(self, at: datetime, later: int) -> datetime:
        """The last closing of the business day on which counting starts, or of the business day `later` days after."""
        ahead = None
        for day in self.days(at):
            ends = [end for _, end in self.windows(day)]
            if ahead is None and any(end > at for end in ends):
                ahead = later
            elif ahead is not None and ends:
                ahead -= 1
            if ahead == 0:
                return max(ends)
        raise AssertionError

    def length(self, target: Target, start: datetime) -> timedelta:
        match target.unit:
            case "minutes":
                return timedelta(minutes=target.amount)
            case "hours" | "business_hours":
                return timedelta(hours=target.amount)
            case "business_days":
                return target.amount * self.rules.nominal_day
            case "same_day":
                return self.count(target.unit, start, self.close_of_business(start, 0))
            case "next_business_day":
                return self.count(target.unit, start, self.close_of_business(start, 1))
        raise ValueError(target.unit)

    def due(self, target: Target, start: datetime) -> datetime:
        return self.add(target.unit, start, self.length(target, start))

    def grace(self, target: Target, start: datetime) -> timedelta:
        whole = self.rules.nominal_day if target.unit.endswith("_day") else self.length(target, start)
        return whole * self.rules.grace_share


# ---------------------------------------------------------------- the ticket


@dataclass
class Clock:
    milestone: str
    cycle: int
    started_at: datetime
    unit: str
    length: timedelta
    due_at: datetime
    level: int | None
    state: str = "running"
    ended_at: datetime | None = None
    reason: str | None = None
    breached_at: datetime | None = None
    pauses: list = field(default_factory=list)  # ended ones
    paused_at: datetime | None = None

    @property
    def live(self) -> bool:
        return self.state in ("running", "paused")

    @property
    def unanswered(self) -> bool:
        return self.live or (self.state == "breached" and self.ended_at is None)

    def cancel(self, at: datetime, reason: str) -> None:
        self.state, self.ended_at, self.reason = "cancelled", at, reason

    def fulfil(self, at: datetime) -> None:
        """`at` is not after the due, else the clock would have been breached before."""
        self.state, self.ended_at = ("met" if self.live else self.state), at


class Ticket:
    def __init__(self, created_at: datetime, first: Routed, tier: str | None, rules: Rules):
        self.rules, self.counting, self.clocks = rules, Counting(rules), []
        self.tier, self.waiting, self.raised = tier, False, False  # raised: a rise whose clock is still to start
        self.closed, self.restricted, self.resolved_at, self.stopped = False, False, None, []
        self.take(first)
        self.base = self.promised_by()
        for milestone in self.promise(self.base):
            self.start(milestone, created_at)

    def take(self, routed: Routed) -> None:
        self.category, self.subcategory, self.level = routed.category, routed.subcategory, routed.level
        self.teams = {routed.team, routed.owning_team}

    def promised_by(self) -> tuple:
        return self.tier, self.category, self.subcategory

    def promise(self, by: tuple) -> dict[str, list[Target]]:
        """Per milestone what the tier and what the subcategory promise."""
        tier, _, subcategory = by
        promised: dict[str, list[Target]] = {}
        for source in (self.rules.targets[tier or "free"], self.rules.overlays.get(subcategory, {})):
            for milestone, target in source.items():
                promised.setdefault(milestone, []).append(target)
        return promised

    def earlier(self, milestone: str, by: tuple, start: datetime) -> Target:
        """L7, counted from `start` without pauses; of two equal ones the tier's."""
        return min(self.promise(by)[milestone], key=lambda target: self.counting.due(target, start))

    def of(self, milestone: str) -> list[Clock]:
        return [clock for clock in self.clocks if clock.milestone == milestone]

    def live(self) -> list[Clock]:
        return [clock for clock in self.clocks if clock.live]

    def start(self, milestone: str, at: datetime, latest: datetime | None = None) -> None:
        target = self.earlier(milestone, self.promised_by(), at)
        length, due = self.counting.length(target, at), self.counting.due(target, at)
        if latest is not None and latest < due:
            length, due = self.counting.count(target.unit, at, latest), latest
        level = self.level if milestone == "escalation" else None
        self.clocks.append(Clock(milestone, len(self.of(milestone)) + 1, at, target.unit, length, due, level))

    def breach(self, over) -> None:
        for clock in self.clocks:
            if clock.state == "running" and over(clock.due_at):
                clock.state, clock.breached_at = "breached", clock.due_at

    # ---- pauses (L9)

    def may_pause(self) -> bool:
        protected = self.category == "safety" or self.teams & LEGAL or self.subcategory == "rights_holder_claim"
        return self.waiting and not protected

    def end_pauses(self, at: datetime) -> None:
        if not self.may_pause():
            for clock in self.clocks:
                if clock.state == "paused":
                    self.go_on(clock, clock.paused_at, at)

    def begin_pauses(self, at: datetime) -> None:
        if self.may_pause():
            for clock in self.clocks:
                if clock.state == "running" and clock.milestone in PAUSING and clock.due_at > at:
                    clock.state, clock.paused_at = "paused", at

    def go_on(self, clock: Clock, since: datetime, at: datetime) -> None:
        """The clock stood from `since` to `at`. A pause never makes a due earlier, nor does it end in the past."""
        clock.pauses = [*clock.pauses, (since, at)]
        due = self.counting.add_around(clock.unit, clock.started_at, clock.length, clock.pauses)
        clock.state, clock.paused_at, clock.due_at = "running", None, max(due, clock.due_at, at)

    # ---- facts

    def play(self, fact) -> None:
        at = fact.at
        match fact:
            case _ if self.restricted:
                return
            case Routed():
                cry = fact.category == "safety" != self.category
                self.take(fact)
                self.end_pauses(at)
                if cry:  # reopens whatever has ended, however long ago
                    self.closed = False
                    if self.resolved_at is not None:
                        self.come_back(at)
                self.raised = self.raised or (fact.rise and not self.closed)
                self.retarget(at, into_safety=cry)
                self.rise(at)
                self.set_level()
            case TierChanged():
                self.tier = fact.tier
                self.retarget(at)
            case Restricted():
                self.restricted = True
                self.end_all(at, "restricted")
            case _ if self.closed:
                return
            case Acknowledged():
                self.answer(at, {"acknowledgement"})
            case Replied():
                self.answer(at, ANSWERED)
            case Resolved():
                self.resolve(at)
            case Waiting():
                self.waiting = self.resolved_at is None
            case Continued():
                self.waiting = False
            case CustomerWrote():
                self.waiting = False
                self.reopen(at)
            case Reopened():
                self.reopen(at)
            case Closed():
                if self.category != "safety":
                    self.closed, self.waiting = True, False
                    self.end_all(at, fact.reason)
        self.end_pauses(at)
        self.begin_pauses(at)

    def answer(self, at: datetime, milestones: set[str]) -> None:
        for clock in self.clocks:
            if clock.milestone in milestones and clock.unanswered:
                clock.fulfil(at)

    def end_all(self, at: datetime, reason: str) -> None:
        for clock in self.live():
            clock.cancel(at, reason)

    def set_level(self) -> None:
        for clock in self.live():
            if clock.milestone == "escalation":
                clock.level = self.level

    def rise(self, at: datetime) -> None:
        """L14. On a resolved ticket it waits for the reopening."""
        if not self.raised or self.resolved_at is not None:
            return
        self.raised = False
        for clock in self.live():
            if clock.milestone == "escalation":
                clock.cancel(at, "raised")
        if "escalation" in self.promise(self.promised_by()):
            self.start("escalation", at)

    # ---- resolving and reopening (L12)

    def resolve(self, at: datetime) -> None:
        self.waiting = False
        if self.resolved_at is not None:
            return
        self.end_pauses(at)
        self.resolved_at, self.stopped = at, []
        for clock in self.clocks:
            if clock.milestone == "resolution" and clock.unanswered:
                clock.fulfil(at)
                self.stopped.append(clock)
            elif clock.milestone == "escalation" and clock.live:
                clock.cancel(at, "resolved")
                self.stopped.append(clock)
            elif clock.milestone in ANSWERED and clock.live:
                clock.cancel(at, "resolved_unanswered")

    def reopen(self, at: datetime) -> None:
        if self.resolved_at is not None and at - self.resolved_at <= self.rules.reopen_within:
            self.come_back(at)
            self.retarget(at)
            self.rise(at)

    def come_back(self, at: datetime) -> None:
        """What ended at the resolution goes on in the next cycle, at the level of now."""
        for old in self.stopped:
            clock = replace(old, cycle=len(self.of(old.milestone)) + 1, ended_at=None, reason=None)
            if clock.state != "breached":
                self.go_on(clock, self.resolved_at, at)
            self.clocks.append(clock)
        self.resolved_at, self.stopped = None, []
        self.set_level()

    # ---- other promises (L11)

    def own_response(self, subcategory: str | None, at: datetime) -> timedelta:
        target = self.rules.overlays.get(subcategory, {}).get("initial_response")
        return self.counting.length(target, at) if target else timedelta.max

    def retarget(self, at: datetime, *, into_safety: bool = False) -> None:
        """From the promise the clocks run by to the one in force, unless nothing differs or the ticket is resolved or closed."""
        before, after = self.base, self.promised_by()
        if (before == after and not into_safety) or self.resolved_at is not None or self.closed:
            return
        self.base = after
        promised = self.promise(after)
        in_safety = before[1] == after[1] == "safety"
        sooner = in_safety and self.own_response(after[2], at) < self.own_response(before[2], at)
        into_claim = after[2] == "rights_holder_claim" != before[2]
        renewed = ANSWERED if into_safety or sooner or into_claim else set()
        latest: dict[str, datetime] = {}
        for clock in self.live():
            if clock.milestone not in promised:
                clock.cancel(at, "superseded")
            elif clock.milestone in renewed:
                latest[clock.milestone] = clock.due_at
                clock.cancel(at, "superseded")
            else:
                may_loosen = not (in_safety and clock.milestone == "initial_response")
                self.move(clock, self.earlier(clock.milestone, after, clock.started_at), at, may_loosen=may_loosen)
        for milestone in promised:
            if milestone in renewed:
                self.start(milestone, at, latest.get(milestone))
            elif (
                milestone not in self.promise(before)
                and not any(  # it appears; what was met or breached stays so
                    clock.state in ("met", "breached") for clock in self.of(milestone)[-1:]
                )
            ):
                self.start(milestone, at)

    def move(self, clock: Clock, target: Target, at: datetime, *, may_loosen: bool) -> None:
        """A paused clock is moved as if its pause ended now, and then stands on as if it had not."""
        counting, unit, start = self.counting, target.unit, clock.started_at
        paused_at, pauses = clock.paused_at, clock.pauses
        if paused_at is not None:
            self.go_on(clock, paused_at, at)
        due = counting.add_around(unit, start, counting.length(target, start), clock.pauses)
        if due < clock.due_at:
            due = min(clock.due_at, max(due, counting.add(unit, at, counting.grace(target, start))))
        elif not may_loosen:
            due = clock.due_at
        clock.unit, clock.due_at = unit, due
        clock.length = counting.count_around(unit, start, due, clock.pauses)
        if paused_at is not None:
            clock.state, clock.paused_at, clock.pauses = "paused", paused_at, pauses
            clock.due_at = counting.add_around(unit, start, clock.length, pauses)
