"""Who is paged next, and when.

There is no last page: the end of a ladder repeats until every role that has to has acknowledged (S4). A report without a
receipt and a hand-off without a confirmation have ladders of their own, which no acknowledgement ends.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from safety_bridge.domain.incident import LAST_RESPONDER, ON_CALL_FOR, SAFETY_TEAM, Incident, new_epoch
from shared.policy.model import PagingLadder, PagingLane, Policy
from shared.vocabulary import IncidentClass


class Why(StrEnum):
    """Why somebody is paged."""

    NOT_ACKNOWLEDGED = "not_acknowledged"
    REPORT_OPEN = "report_open"
    HAND_OFF_OPEN = "hand_off_open"
    SUBJECT_CONFLICT = "subject_conflict"
    HAND_OVER = "hand_over"


@dataclass(frozen=True, slots=True)
class Page:
    """One page: to whom, on which step of which lane. `late_by` is how long the page before it has been missing.

    `persons` are paged beside those who hold the roles: who took it and let it lie.
    `skipped` are the roles of the steps before it that reached nobody; `handed_over_at` is when the roles changed hands, of a
    page for that reason.
    """

    lane: PagingLane
    step: int
    repeat: int
    roles: tuple[str, ...]
    late_by: timedelta = timedelta(0)
    missed: int = 0
    is_first_repeat: bool = False
    """Everybody on the ladder has been paged."""
    why: Why = Why.NOT_ACKNOWLEDGED
    persons: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    handed_over_at: datetime | None = None


def next_page(
    incident: Incident, *, now: datetime, reachable: Collection[str], policy: Policy
) -> tuple[Incident, Page | None]:
    """The incident after a look at `now`, and the page due by then, if one is.

    After an outage it is the page that belongs to now, once; the missed ones are not repeated. A step without anybody to
    reach gives way to the next one at once (S4).
    """
    if incident.next_page_at is None or now < incident.next_page_at:
        return incident, None
    lane = incident.lane
    ladder = policy.safety.paging[lane]
    started_at = incident.epoch_started_at
    number = max(incident.next_page, _number_at(ladder, started_at, now))
    if _time_of(ladder, started_at, number) > now:
        return replace(incident, next_page_at=_time_of(ladder, started_at, number)), None
    due = number
    missed = number - incident.next_page
    number, roles = _first_with_people(ladder, number, incident, reachable, policy)
    last = len(ladder.steps) - 1
    step, repeat = place(incident, number, policy)
    skipped = ladder.steps[due:number] if set(roles) & set(reachable) else ladder.steps[due:] or ladder.steps[-1:]
    page = Page(
        lane,
        step,
        repeat,
        roles,
        late_by=now - incident.next_page_at,
        missed=missed,
        is_first_repeat=incident.next_page <= last + 1 <= number,
        persons=tuple(sorted(incident.lapsed_ackers)),
        skipped=tuple(dict.fromkeys(role for one in skipped for role in one.roles)),
    )
    after = replace(
        incident,
        next_page=number + 1,
        next_page_at=_time_of(ladder, started_at, number + 1),
        lapsed_ackers=frozenset(),
    )
    return after, page


def lapse(incident: Incident, *, now: datetime, policy: Policy) -> Incident:
    """The incident after a look at `now`: an acknowledgement without progress holds no longer than its lease.

    The epoch that begins when the lease ends goes on with the step after the first, and pages who took it and let it lie
    (S4).
    """
    ends_at = incident.lease_ends_at
    if ends_at is None or now < ends_at:
        return incident
    lapsed = replace(incident, lapsed_ackers=incident.ackers)
    return replace(
        new_epoch(lapsed, now=ends_at),
        epoch_started_at=ends_at - _after(policy.safety.paging[incident.lane], 1),
        next_page=1,
    )


def insist(
    incident: Incident, *, now: datetime, reachable: Collection[str], policy: Policy
) -> tuple[Incident, list[Page]]:
    """The pages that are due whoever has acknowledged: a report has no receipt, a hand-off no confirmation (S3, S4)."""
    pages = []
    for why, lane, ladder, started_at in _insisting(incident, policy):
        number = max(incident.insisted.get(why, 0), _number_at(ladder, started_at, now))
        due_at = _time_of(ladder, started_at, number)
        if due_at > now:
            continue
        last = len(ladder.steps) - 1
        roles = _reached(ladder.steps[min(number, last)].roles, reachable)
        pages.append(Page(lane, min(number, last), max(0, number - last), roles, late_by=now - due_at, why=why))
        incident = replace(incident, insisted={**incident.insisted, why: number + 1})
    return incident, pages


def subject_conflict(incident: Incident, *, reachable: Collection[str]) -> Page:
    """The page about an incident of which more than one subject or account is named (S5)."""
    return Page(incident.lane, 0, 0, _reached((SAFETY_TEAM,), reachable), why=Why.SUBJECT_CONFLICT)


def next_insistence_at(incident: Incident, policy: Policy) -> datetime | None:
    """When the next page is due that no acknowledgement ends."""
    return min(
        (
            _time_of(ladder, started_at, incident.insisted.get(why, 0))
            for why, _, ladder, started_at in _insisting(incident, policy)
        ),
        default=None,
    )


def _reached(wanted: tuple[str, ...], reachable: Collection[str]) -> tuple[str, ...]:
    """Those who can be reached; where nobody can, the last responder is asked too (S4)."""
    return tuple(role for role in wanted if role in reachable) or (*wanted, LAST_RESPONDER)


def _insisting(incident: Incident, policy: Policy) -> list[tuple[Why, PagingLane, PagingLadder, datetime]]:
    found = []
    report_since = incident.facts.since.get(IncidentClass.MANDATORY_REPORT)
    if incident.is_report_open and report_since is not None:
        found.append((Why.REPORT_OPEN, PagingLane.MANDATORY_REPORT, policy.safety.report_paging, report_since))
    if incident.is_hand_off_open and incident.facts.handed_off_at is not None:
        handed_off_at = incident.facts.handed_off_at
        found.append((Why.HAND_OFF_OPEN, PagingLane.CRISIS, policy.safety.hand_off_paging, handed_off_at))
    return found


def roles_paged(incident: Incident, policy: Policy) -> tuple[str, ...]:
    """The roles that were paged in this epoch so far, of those that still have to be (S4)."""
    steps = policy.safety.paging[incident.lane].steps[: incident.next_page]
    return tuple(dict.fromkeys(role for step in steps for role in _wanted(step.roles, incident, policy)))


def place(incident: Incident, number: int, policy: Policy) -> tuple[int, int]:
    """The step of the page of this number, and how often that step was paged before."""
    last = len(policy.safety.paging[incident.lane].steps) - 1
    return min(number, last), max(0, number - last)


def lanes_without_end(policy: Policy, reachable: Collection[str]) -> tuple[str, ...]:
    """The ladders that end with nobody to reach: the service is not ready to page on them (S4)."""
    return tuple(
        lane
        for lane, ladder in _ladders(policy).items()
        if not set(ladder.steps[-1].roles) & set(reachable) or _lacks_last_responder(ladder, reachable)
    )


def roles_nobody_knows(policy: Policy, known: Collection[str]) -> tuple[str, ...]:
    """What a ladder or a duty to acknowledge calls a role and the directory does not: nobody could ever be reached (S4)."""
    paged = {role for ladder in _ladders(policy).values() for step in ladder.steps for role in step.roles}
    needed = {role for roles in policy.safety.must_acknowledge.values() for role in roles} - set(ON_CALL_FOR)
    return tuple(sorted((paged | needed) - set(known)))


def _ladders(policy: Policy) -> dict[str, PagingLadder]:
    numbers = policy.safety
    lanes = {lane.value: ladder for lane, ladder in numbers.paging.items()}
    return lanes | {"report_paging": numbers.report_paging, "hand_off_paging": numbers.hand_off_paging}


def _lacks_last_responder(ladder: PagingLadder, reachable: Collection[str]) -> bool:
    return LAST_RESPONDER in ladder.steps[-1].roles and LAST_RESPONDER not in reachable


def _first_with_people(
    ladder: PagingLadder, number: int, incident: Incident, reachable: Collection[str], policy: Policy
) -> tuple[int, tuple[str, ...]]:
    """The first step from `number` on that reaches somebody. If none does, its last one is paged all the same."""
    last = len(ladder.steps) - 1
    for candidate in range(number, max(number, last) + 1):
        wanted = _wanted(ladder.steps[min(candidate, last)].roles, incident, policy)
        if roles := tuple(role for role in wanted if role in reachable):
            return candidate, roles
    return max(number, last), ladder.steps[last].roles


def _wanted(roles: tuple[str, ...], incident: Incident, policy: Policy) -> tuple[str, ...]:
    """Who of a step is paged: whoever has to acknowledge is never left for a later step, so legal hears of a report at once
    on whatever lane it is (R5). Once some have acknowledged, only those who stand for the missing roles, and the last
    responder (S4).
    """
    stand_ins = {role: ON_CALL_FOR.get(role, frozenset({role})) for role in incident.roles_missing(policy)}
    forgotten = {one for on_call in stand_ins.values() if not on_call & set(roles) for one in on_call}
    roles += tuple(sorted(forgotten))
    if not incident.roles_acknowledged:
        return roles
    missing = {LAST_RESPONDER}.union(*stand_ins.values())
    return tuple(role for role in roles if role in missing)


def _number_at(ladder: PagingLadder, started_at: datetime, now: datetime) -> int:
    """The number of the page that belongs to `now`; 0 also before the first one."""
    elapsed = now - started_at
    if (beyond := elapsed - _after(ladder, len(ladder.steps) - 1)) >= timedelta(0):
        return len(ladder.steps) - 1 + beyond // timedelta(minutes=ladder.then_every_minutes)
    return max((n for n in range(len(ladder.steps)) if _after(ladder, n) <= elapsed), default=0)


def _time_of(ladder: PagingLadder, started_at: datetime, number: int) -> datetime:
    return started_at + _after(ladder, number)


def _after(ladder: PagingLadder, number: int) -> timedelta:
    """How long after the epoch's start the page of this number is due; pages beyond the ladder repeat its last step."""
    last = len(ladder.steps) - 1
    minutes = ladder.steps[min(number, last)].after_minutes + max(0, number - last) * ladder.then_every_minutes
    return timedelta(minutes=minutes)
