"""Shifts end while an incident waits: whoever comes on duty is paged at that moment and told so (S4)."""

from dataclasses import replace
from datetime import datetime

from safety_bridge.domain import paging
from safety_bridge.domain.incident import Incident
from safety_bridge.domain.paging import Page, Why
from shared.directory import Directory, OnCallRole
from shared.policy.model import Policy


def reachable_at(directory: Directory, at: datetime) -> frozenset[str]:
    """The roles that somebody holds at this instant."""
    return frozenset(role.value for role in OnCallRole if directory.on_duty(role, at))


def next_page(
    incident: Incident, *, now: datetime, directory: Directory, policy: Policy
) -> tuple[Incident, Page | None]:
    """As `paging.next_page`; moreover the next look is at the latest when one of the roles paged so far changes hands."""
    after, page = paging.next_page(incident, now=now, reachable=reachable_at(directory, now), policy=policy)
    if after is incident or after.next_page_at is None:
        return after, page
    if page is None and incident.next_page_at is not None:
        page = _to_whoever_came(incident, incident.next_page_at, now, directory, policy)
    changes = directory.handovers(paging.roles_paged(after, policy), now, after.next_page_at)
    return replace(after, next_page_at=min([after.next_page_at, *changes])), page


def _to_whoever_came(
    incident: Incident, handed_over_at: datetime, now: datetime, directory: Directory, policy: Policy
) -> Page | None:
    roles = tuple(role for role in paging.roles_paged(incident, policy) if directory.relieved_at(role, handed_over_at))
    if not roles:
        return None
    step, repeat = paging.place(incident, incident.next_page - 1, policy)
    late_by = now - handed_over_at
    return Page(incident.lane, step, repeat, roles, late_by, why=Why.HAND_OVER, handed_over_at=handed_over_at)
