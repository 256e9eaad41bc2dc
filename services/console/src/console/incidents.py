"""Why somebody was or was not paged: what the bridge asked for, and what became of it on its way (4.13, 46)."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from console.services import Services
from console.settings import Installation
from shared.events.envelope import rfc3339

SENTENCES = {
    "paged": "was paged",
    "not_opened": "was not paged: the incident was not open yet",
    "not_on_duty": "was not paged: held no role then",
    "other_roles": "was not paged: others were, in roles this person did not hold",
    "acknowledged": "was not paged: it was acknowledged",
    "merged": "was not paged: the incident goes on as another one",
    "closed": "was not paged: the incident was closed",
    "below_threshold": "was not paged: nobody is at this severity",
    "between_pages": "was not paged: it was between two pages",
}


class Incidents:
    """The incidents of an installation."""

    def __init__(self, installation: Installation) -> None:
        self._services = Services(installation)

    def explain(self, incident_ref: str, person: str, at: datetime) -> Iterator[str]:
        """
        Raises:
            Unanswered: the bridge or the notifier does not answer, or refuses.
        """
        query = {"person": person, "at": rfc3339(at)}
        found = self._services.ask("GET", "safety-bridge", f"/v1/incidents/{incident_ref}/explain", params=query)
        roles = ", ".join(found["roles"]) or "none"
        yield f"{incident_ref} at {rfc3339(at)}: {person} {SENTENCES.get(found['rule'], found['rule'])} (roles: {roles})"
        for told in found["because"]:
            codes = ", ".join(f"{name} {value}" for name, value in told.items() if name not in ("at", "fact"))
            yield f"  {told['at']} {told['fact']}: {codes}"
        sent = self._services.ask("GET", "notifier", "/v1/notifications", params={"incident_ref": incident_ref})
        for page in sent["notifications"]:
            if page["recipient"] == person and at <= _instant(page["created_at"]) < at + timedelta(minutes=1):
                yield f"  {page['created_at']} by {page['channel']}: {_fate(page)}"


def _fate(page: dict[str, Any]) -> str:
    covered = f", said by {page['covered_by']}" if page["covered_by"] else ""
    return f"{page['state']} {page['reason_code'] or ''}".rstrip() + covered


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
