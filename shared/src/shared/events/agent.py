"""`safety.agent.v1`: what the Child Safety Agent says, and intake's flags (S6).

Read leniently: an unknown field, word or version is never a reason to refuse a safety signal. Only what the bridge needs is
named here; the rest is held apart (`model_extra`) for the bridge to seal, and travels no further (S5).
"""

from typing import Any

from pydantic import ConfigDict, Field

from shared.events.envelope import Event


class AgentEvent(Event):
    """Any fact on the agent's topic. Every field may be missing or odd; the bridge decides what that means."""

    model_config = ConfigDict(frozen=True, extra="allow", validate_by_name=True, serialize_by_alias=True)

    agent_incident_id: Any = None
    ticket_ref: Any = None
    ticket_id: Any = None
    mode: Any = None
    environment: Any = None
    revision: Any = None
    severity: Any = None
    incident_class: Any = Field(default=None, alias="class")
    responses: Any = None
    detected_at: Any = None
    report: Any = None
    intervention: Any = None
    guardian_contact: Any = None
    preserve: Any = None
    category_codes: Any = None
    evidence_refs: Any = None
    subject_ref: Any = None
    account_ref: Any = None
    sequence: Any = None
    """The event's place among all that its source has published, so that a gap shows."""

    @property
    def key(self) -> str:
        for candidate in (self.agent_incident_id, self.ticket_id):
            if isinstance(candidate, str) and candidate:
                return candidate
        return "unknown"


class SafetyCrisisDetected(AgentEvent):
    wire_type = "com.storytailor.safety.crisis_detected.v1"


class SafetyMandatoryReportTriggered(AgentEvent):
    wire_type = "com.storytailor.safety.mandatory_report_triggered.v1"


class SafetyMandatoryReportGenerated(AgentEvent):
    wire_type = "com.storytailor.safety.mandatory_report_generated.v1"


class SafetyMandatoryReportSubmitted(AgentEvent):
    wire_type = "com.storytailor.safety.mandatory_report_submitted.v1"


class SafetyMandatoryReportAccepted(AgentEvent):
    wire_type = "com.storytailor.safety.mandatory_report_accepted.v1"


class SafetyMandatoryReportFailed(AgentEvent):
    wire_type = "com.storytailor.safety.mandatory_report_failed.v1"


class SafetyModerationConcern(AgentEvent):
    wire_type = "com.storytailor.safety.moderation_concern.v1"


class SafetyPrivacyConcern(AgentEvent):
    wire_type = "com.storytailor.safety.privacy_concern.v1"


class SafetyCoppaConcern(AgentEvent):
    wire_type = "com.storytailor.safety.coppa_concern.v1"


class SafetyIncidentUpdated(AgentEvent):
    wire_type = "com.storytailor.safety.incident_updated.v1"


class SafetyResponseStarted(AgentEvent):
    wire_type = "com.storytailor.safety.response_started.v1"


class SafetyInterventionHandedOff(AgentEvent):
    wire_type = "com.storytailor.safety.intervention_handed_off.v1"


class SafetyInterventionConfirmed(AgentEvent):
    wire_type = "com.storytailor.safety.intervention_confirmed.v1"


class SafetyGuardianNotified(AgentEvent):
    wire_type = "com.storytailor.safety.guardian_notified.v1"


class SafetyIncidentRetracted(AgentEvent):
    """The agent would take it back. That lowers nothing: two persons may decide so (S1)."""

    wire_type = "com.storytailor.safety.incident_retracted.v1"


class SafetyAgentHeartbeat(AgentEvent):
    """The source is alive; every 30 seconds. It opens no incident, its silence is told (S4)."""

    wire_type = "com.storytailor.safety.agent_heartbeat.v1"

    highest_sequence: Any = None
    """The highest `sequence` that the source has published so far."""


class SafetyTicketFlagged(AgentEvent):
    """Intake's flag: ids and criterion ids only, written in the transaction that accepts the ticket (S6)."""

    wire_type = "com.storytailor.safety.ticket_flagged.v1"

    subcategory: str | None = None
    evidence: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.ticket_id if isinstance(self.ticket_id, str) else "unknown"


class SafetyUnreadable(AgentEvent):
    """Intake's word for a body that it could not read, with headers and body for the bridge's vault alone (S5, S6)."""

    wire_type = "com.storytailor.safety.unreadable.v1"

    reason_code: str | None = None
    sealed: str | None = None
    """JSON of `headers` and `value` in base64, sealed with the master key about the event's id; in base64."""


EVENTS: tuple[type[AgentEvent], ...] = (
    SafetyCrisisDetected,
    SafetyMandatoryReportTriggered,
    SafetyMandatoryReportGenerated,
    SafetyMandatoryReportSubmitted,
    SafetyMandatoryReportAccepted,
    SafetyMandatoryReportFailed,
    SafetyModerationConcern,
    SafetyPrivacyConcern,
    SafetyCoppaConcern,
    SafetyIncidentUpdated,
    SafetyResponseStarted,
    SafetyInterventionHandedOff,
    SafetyInterventionConfirmed,
    SafetyGuardianNotified,
    SafetyIncidentRetracted,
    SafetyAgentHeartbeat,
    SafetyTicketFlagged,
    SafetyUnreadable,
)
