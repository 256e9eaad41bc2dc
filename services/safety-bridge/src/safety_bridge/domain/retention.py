"""When what an incident holds sealed is destroyed: after its time, when nobody needs it any more and nobody holds it (S5)."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from safety_bridge.domain.incident import SAFETY_TEAM, Incident
from safety_bridge.domain.tracks import Handling
from shared.errors import Refusal

LEGAL = "legal_compliance"
"""The role that places legal holds."""
LIFTING = frozenset({LEGAL, SAFETY_TEAM})


class Reason(StrEnum):
    """Why the content of an incident is kept or gone."""

    RETENTION_OVER = "retention_over"
    RETENTION_RUNS = "retention_runs"
    LEGAL_HOLD = "legal_hold"
    INCIDENT_OPEN = "incident_open"


class OnlyLegal(Refusal):
    """A legal hold is placed by legal and compliance, and lifted by them or the Safety Team."""

    slug = "role-not-allowed"
    status = 403
    clause = "S1"


class LiftedByAnother(Refusal):
    """Who placed a legal hold does not lift it alone: another person does."""

    slug = "two-persons-needed"
    clause = "S1"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long an incident's content is kept. `held_by` is the person who placed a legal hold on it."""

    incident_ref: str
    delete_after: datetime
    held_by: str | None = None

    def why_kept(self, incident: Incident, now: datetime) -> Reason | None:
        """What forbids destroying it now; None when its time has come. An incident that is not closed is not over."""
        if self.held_by is not None:
            return Reason.LEGAL_HOLD
        if incident.handling is not Handling.CLOSED:
            return Reason.INCIDENT_OPEN
        return Reason.RETENTION_RUNS if now < self.delete_after else None

    def held(self, *, actor_id: str, actor_role: str) -> "Retention":
        """With a hold of this person, or the one it has already.

        Raises:
            OnlyLegal: nothing changes.
        """
        if actor_role != LEGAL:
            raise OnlyLegal
        return replace(self, held_by=self.held_by or actor_id)

    def lifted(self, *, actor_id: str, actor_role: str) -> "Retention":
        """Without a hold.

        Raises:
            OnlyLegal, LiftedByAnother: nothing changes.
        """
        if actor_role not in LIFTING:
            raise OnlyLegal
        if self.held_by == actor_id:
            raise LiftedByAnother
        return replace(self, held_by=None)
