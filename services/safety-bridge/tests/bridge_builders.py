"""What tests of incidents say: signals as the agent gives them, and incidents after some of them."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st

from safety_bridge.domain import commands, signal
from safety_bridge.domain.identity import IncidentRef, Mode
from safety_bridge.domain.incident import Actor, Incident, Signal, merge, open_incident
from shared.policy.model import Policy
from shared.vocabulary import Response

NOW = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)
FIELDS = (
    "agent_incident_id",
    "ticket_ref",
    "ticket_id",
    "mode",
    "revision",
    "severity",
    "incident_class",
    "responses",
    "detected_at",
    "report",
    "intervention",
    "guardian_contact",
    "preserve",
    "category_codes",
    "evidence_refs",
    "subject_ref",
    "account_ref",
)
KINDS = (
    signal.CRISIS_DETECTED,
    signal.REPORT_TRIGGERED,
    signal.REPORT_GENERATED,
    signal.REPORT_SUBMITTED,
    signal.REPORT_ACCEPTED,
    signal.REPORT_FAILED,
    signal.MODERATION_CONCERN,
    signal.PRIVACY_CONCERN,
    signal.COPPA_CONCERN,
    signal.INCIDENT_UPDATED,
    signal.RESPONSE_STARTED,
    signal.INTERVENTION_HANDED_OFF,
    signal.INTERVENTION_CONFIRMED,
    signal.GUARDIAN_NOTIFIED,
    signal.INCIDENT_RETRACTED,
)


def said(**fields: Any) -> Any:
    return SimpleNamespace(**(dict.fromkeys(FIELDS) | fields))


def heard(kind: signal.Kind, *, at: datetime = NOW, mark: str = "e-1", **fields: Any) -> Signal:
    """What the bridge understands of an event that happened at `at` and is heard at NOW."""
    return signal.understand(said(**fields), kind, occurred_at=at, received_at=NOW, is_clamped=False, mark=mark)


def opened(first: Signal, policy: Policy) -> Incident:
    return open_incident(
        IncidentRef("SI-00000000"), Mode.LIVE, first, ticket_id=None, is_born_of_ticket=False, now=NOW, policy=policy
    )


def after_all(signals: list[Signal], policy: Policy) -> Incident:
    incident = opened(signals[0], policy)
    for one in signals[1:]:
        incident = merge(incident, one, now=NOW, policy=policy)
    return incident


def taken(incident: Incident, policy: Policy, *roles: str, now: datetime = NOW) -> Incident:
    """The incident, acknowledged by `<role>-1` in each of these roles."""
    for role in roles:
        actor = Actor(f"{role}-1", role)
        incident = commands.acknowledge(incident, epoch=incident.epoch, actor=actor, now=now, policy=policy)
    return incident


def moments() -> st.SearchStrategy[datetime]:
    return st.integers(0, 9000).map(lambda seconds: NOW - timedelta(seconds=seconds))


STATES = ["required", "generated", "submitted", "accepted", "not_required", "?"]
SIGNALS = st.builds(
    heard,
    st.sampled_from(KINDS),
    at=moments(),
    mark=st.sampled_from(["e-1", "e-2", "e-3"]),
    revision=st.sampled_from([None, 0, 1, 2, "x"]),
    severity=st.sampled_from(["low", "medium", " High", "CRITICAL ", "urgent", 4, None]),
    incident_class=st.sampled_from([None, "crisis", "coppa", "?"]),
    responses=st.none() | st.lists(st.sampled_from([*Response, "dance", 1]), max_size=3),
    detected_at=st.none() | moments().map(datetime.isoformat) | st.just("yesterday") | st.just("2099-01-01T00:00:00Z"),
    report=st.none()
    | st.fixed_dictionaries(
        {},
        optional={
            "required": st.booleans(),
            "state": st.sampled_from(STATES),
            "attempt": st.sampled_from([1, 2, 3, "2", -1]),
            "accepted_at": moments().map(datetime.isoformat),
        },
    ),
    intervention=st.none()
    | st.fixed_dictionaries({"state": st.sampled_from(["started", "handed_off", "confirmed", "?"])}),
    guardian_contact=st.sampled_from([None, "allowed", "prohibited", "perhaps"]),
    preserve=st.none() | st.fixed_dictionaries({"required": st.booleans(), "until": moments().map(datetime.isoformat)}),
    category_codes=st.none() | st.lists(st.sampled_from(["grooming", "self_harm", "two words", 3]), max_size=2),
    evidence_refs=st.none() | st.lists(st.sampled_from(["ev-1", "ev-2", "ev-3", "a@b.c"]), max_size=3),
    subject_ref=st.sampled_from([None, "s-1", "s-2"]),
    account_ref=st.sampled_from([None, "a-1", "a-2"]),
    agent_incident_id=st.sampled_from([None, "A-1", "A-2", 7]),
)
