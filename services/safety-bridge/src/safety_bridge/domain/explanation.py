"""Why a person was or was not paged about an incident in a minute: the rule that held, and the rows it follows from (4.13, 46).

It goes by what the bridge has told of the incident, so that it answers for any minute, whatever has become of the incident since.
What became of a page on its way to the person is the notifier's to say.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

A_MINUTE = timedelta(minutes=1)
PAGE = "page_requested"
ACKNOWLEDGED = "incident_acknowledged"
SHOWN = (
    "epoch",
    "step",
    "repeat",
    "lane",
    "roles",
    "persons",
    "severity_working",
    "actor_id",
    "actor_role",
    "reason_code",
    "late_by_seconds",
)


class Rule(StrEnum):
    """Why."""

    PAGED = "paged"
    NOT_OPENED = "not_opened"
    NOT_ON_DUTY = "not_on_duty"
    OTHER_ROLES = "other_roles"
    """Somebody was paged in that minute, but nobody in a role of this person."""
    ACKNOWLEDGED = "acknowledged"
    MERGED = "merged"
    CLOSED = "closed"
    BELOW_THRESHOLD = "below_threshold"
    """Nobody is paged about incidents of this severity."""
    BETWEEN_PAGES = "between_pages"


_OF_TRACK = {
    "acknowledged": Rule.ACKNOWLEDGED,
    "coordinating": Rule.ACKNOWLEDGED,
    "follow_up": Rule.ACKNOWLEDGED,
    "merged": Rule.MERGED,
    "closed": Rule.CLOSED,
    "new": Rule.BELOW_THRESHOLD,
}
"""What a handling track says about silence."""


@dataclass(frozen=True, slots=True)
class Told:
    """Something the bridge has told of an incident: when, which fact, and its codes."""

    at: datetime
    fact: str
    data: Mapping[str, Any]

    def shown(self) -> dict[str, Any]:
        codes = {name: self.data[name] for name in SHOWN if self.data.get(name) not in (None, (), [])}
        return {"at": self.at, "fact": self.fact, **codes}


@dataclass(frozen=True, slots=True)
class Explanation:
    """The rule, and the rows it follows from in order of time."""

    rule: Rule
    because: tuple[Told, ...] = ()


def explain(history: Sequence[Told], *, person: str, roles: Collection[str], at: datetime) -> Explanation:
    """Why `person`, who held these roles then, was or was not paged in the minute that begins at `at`.

    Args:
        history: what was told of the incident, in order of time.
    """
    end = at + A_MINUTE
    before = [told for told in history if told.at < end]
    pages = [told for told in before if told.fact == PAGE]
    in_minute = [told for told in pages if told.at >= at]
    if not before:
        return Explanation(Rule.NOT_OPENED, tuple(history[:1]))
    if meant := [told for told in in_minute if _means(told, person, roles)]:
        return Explanation(Rule.PAGED, tuple(meant))
    if not roles:
        return Explanation(Rule.NOT_ON_DUTY, tuple(in_minute))
    if in_minute:
        return Explanation(Rule.OTHER_ROLES, tuple(in_minute))
    latest = next((told for told in reversed(before) if "tracks" in told.data), before[-1])
    rule = _OF_TRACK.get(latest.data.get("tracks", {}).get("handling", ""))
    if rule is Rule.ACKNOWLEDGED:
        return Explanation(rule, tuple(_acknowledgements(before, latest)))
    if rule is not None:
        return Explanation(rule, (latest,))
    following = [told for told in history if told.at >= end and told.fact == PAGE]
    return Explanation(Rule.BETWEEN_PAGES, (*pages[-1:], *following[:1]))


def _means(page: Told, person: str, roles: Collection[str]) -> bool:
    return person in page.data.get("persons", ()) or bool(set(roles) & set(page.data["roles"]))


def _acknowledgements(before: Sequence[Told], latest: Told) -> list[Told]:
    """Those of the epoch it stands in; they are why nobody is paged."""
    epoch = latest.data["epoch"]
    return [told for told in before if told.fact == ACKNOWLEDGED and told.data["epoch"] == epoch] or [latest]
