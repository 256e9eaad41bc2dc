"""What a draft of the policy would do to the promises on open tickets, and the retarget that brings them to an edited one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from console.decisions import read_draft
from console.services import Services
from console.settings import Installation
from shared.policy.model import Policy

SLA_MONITOR = "sla-monitor"
RETARGET_SECONDS = 3600.0
"""A retarget of millions of tickets takes minutes; whoever does not wait for it asks again."""


class Promises:
    """Asks the sla-monitor; `operate` is the scope it needs."""

    def __init__(self, installation: Installation) -> None:
        self._services = Services(installation)

    def diff(self, file: Path, lines: int) -> Iterator[str]:
        """Which due times would move under this policy, or under the one in force with these changes.

        Raises:
            Unanswered: the file is no such thing, or the sla-monitor refuses.
        """
        draft = read_draft(file)
        body = {"policy" if _is_whole(draft) else "changes": draft}
        found = self._services.ask("POST", SLA_MONITOR, "/v1/drafts", json=body)
        yield from _told(found, f"would move under {found['policy_version']}", lines)

    def retarget(self, version: str | None, lines: int, *, dry_run: bool) -> Iterator[str]:
        """What moves, or would, because the open tickets are brought to the policy in force.

        Raises:
            Unanswered: another policy is in force, or the sla-monitor refuses.
        """
        body = {"policy_version": version, "dry_run": dry_run}
        found = self._services.ask("POST", SLA_MONITOR, "/v1/retargets", json=body, timeout=RETARGET_SECONDS)
        yield from _told(found, f"{'would move' if dry_run else 'moved'} to {found['policy_version']}", lines)


def _is_whole(draft: Any) -> bool:
    """Whether it has every part that a policy file has; the words are files of their own."""
    parts = {name for name, field in Policy.model_fields.items() if field.is_required()} - {"words"}
    return isinstance(draft, dict) and parts <= draft.keys()


def _told(found: dict[str, Any], what: str, lines: int) -> Iterator[str]:
    yield f"{found['moved']} of {found['clocks']} due times on {found['tickets']} open tickets {what}"
    yield f"  {found['breached_at_once']} breached at once, {found['unchanged']} unchanged"
    for name in ("started", "cancelled", "restated", "failed"):
        if found[name]:
            yield f"  {found[name]} {name}"
    changes = found["changes"]
    for one in changes[:lines]:
        due = f"{one['from'] or '-'} -> {one['to'] or '-'}"
        yield f"  {one['ticket_id']} {one['milestone']} {one['cycle']}: {one['turn']} {due}"
    total = found["moved"] + found["started"] + found["cancelled"] + found["restated"]
    if total > len(changes[:lines]):
        yield f"  and {total - len(changes[:lines])} more"
