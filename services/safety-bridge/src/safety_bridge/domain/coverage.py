"""Hours in which a role is nobody's, known two weeks before they come (S4)."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from shared.directory import Directory, OnCallRole
from shared.policy.model import Policy

AHEAD = timedelta(days=14)

Gap = tuple[datetime, datetime]


def roles_of(policy: Policy) -> tuple[str, ...]:
    """Every role that a paging ladder names."""
    safety = policy.safety
    ladders = (*safety.paging.values(), safety.report_paging, safety.hand_off_paging)
    return tuple(dict.fromkeys(role for ladder in ladders for step in ladder.steps for role in step.roles))


def gaps_ahead(directory: Directory, policy: Policy, now: datetime) -> dict[str, tuple[Gap, ...]]:
    """By role, the stretches of the next two weeks in which nobody holds it; roles without any are left out."""
    found = {role: tuple(directory.gaps(role, now, now + AHEAD)) for role in roles_of(policy)}
    return {role: gaps for role, gaps in found.items() if gaps}


def told(gaps: Mapping[str, tuple[Gap, ...]]) -> str | None:
    """What people are told of gaps: the first of each role, and how many more; None without any."""
    return "; ".join(f"nobody is {role} {_stretch(held)}" for role, held in sorted(gaps.items())) or None


def last_responder_missing(gaps: Mapping[str, tuple[Gap, ...]]) -> str | None:
    """The one role that has to be held at every moment: without it a ladder has no end (S4)."""
    return told({role: held for role, held in gaps.items() if role == OnCallRole.LAST_RESPONDER})


def _stretch(gaps: tuple[Gap, ...]) -> str:
    begin, end = gaps[0]
    more = f" and {len(gaps) - 1} times more" if len(gaps) > 1 else ""
    return f"from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC{more}"
