"""An exercise through the whole chain: a signal by the fast lane, an incident, pages. It is marked as one in every byte (S4)."""

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from console.services import Services, Unanswered
from console.settings import Installation

SOURCE = "/supportctl/drill"
LOOK_SECONDS = 0.2
ON_THE_WAY = ("queued", "sending")

T = TypeVar("T")


class Drill:
    """A synthetic crisis in drill mode. It opens no ticket and reaches no customer, guardian or authority.

    Args:
        within_seconds: how long to wait for the incident, and for its pages.
    """

    def __init__(self, installation: Installation, *, within_seconds: float) -> None:
        self._services = Services(installation)
        self._within = within_seconds

    def run(self, *, acknowledge_as: str | None, role: str) -> Iterator[str]:
        """Lines of a report, as the drill goes on; without an acknowledgement it pages until somebody gives one.

        Raises:
            Unanswered: a service does not answer, or the incident or its pages do not come in time.
        """
        agent_incident_id = f"drill-{secrets.token_hex(6)}"
        began = time.monotonic()
        self._services.ask("POST", "intake", "/v1/safety/events", json=_signal(agent_incident_id))
        yield f"signal accepted after {time.monotonic() - began:.2f} s"
        found = self._wait_for(lambda: self._incident(agent_incident_id), "no incident was opened")
        yield f"{found['incident_ref']} {found['mode']} opened after {time.monotonic() - began:.2f} s"
        if found["mode"] != "drill" or found["ticket_id"] is not None:
            raise Unanswered(f"{found['incident_ref']} is not kept apart from what is real")
        pages = self._wait_for(lambda: self._pages(found["incident_ref"]), "no page has left")
        for page in pages:
            yield f"  {page['recipient']} by {page['channel']}: {page['state']} {page['reason_code'] or ''}".rstrip()
        yield f"pages settled after {time.monotonic() - began:.2f} s"
        if acknowledge_as is not None:
            body = {"epoch": found["epoch"], "actor": {"id": acknowledge_as, "role": role}}
            self._services.ask("POST", "safety-bridge", f"/v1/incidents/{found['incident_ref']}/acknowledge", json=body)
            yield f"acknowledged as {acknowledge_as}"
        if not any(page["state"] == "sent" for page in pages):
            raise Unanswered("nobody was reached")

    def _incident(self, agent_incident_id: str) -> dict[str, Any] | None:
        path = f"/v1/incidents?agent_incident_id={agent_incident_id}"
        found: list[dict[str, Any]] = self._services.ask("GET", "safety-bridge", path)["incidents"]
        return found[0] if found else None

    def _pages(self, incident_ref: str) -> list[dict[str, Any]] | None:
        path = f"/v1/notifications?incident_ref={incident_ref}"
        found: list[dict[str, Any]] = self._services.ask("GET", "notifier", path)["notifications"]
        return found if found and all(page["state"] not in ON_THE_WAY for page in found) else None

    def _wait_for(self, look: Callable[[], T | None], otherwise: str) -> T:
        end = time.monotonic() + self._within
        while (found := look()) is None:
            if time.monotonic() > end:
                raise Unanswered(f"{otherwise} within {self._within:g} s")
            time.sleep(LOOK_SECONDS)
        return found


def _signal(agent_incident_id: str) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": agent_incident_id,
        "source": SOURCE,
        "type": "com.storytailor.safety.crisis_detected.v1",
        "data": {"agent_incident_id": agent_incident_id, "mode": "drill", "severity": "critical"},
    }
