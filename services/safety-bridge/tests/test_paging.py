"""Who is paged when, to the second, and that it does not end before somebody needed has acknowledged (S4)."""

from datetime import UTC, datetime, timedelta
from importlib.resources import files

import pytest
import yaml
from pydantic import ValidationError

from safety_bridge.domain.commands import acknowledge
from safety_bridge.domain.facts import Facts
from safety_bridge.domain.identity import IncidentRef, Mode
from safety_bridge.domain.incident import Actor, Incident, Signal, merge, open_incident
from safety_bridge.domain.paging import Page, lanes_without_end, next_page, roles_nobody_knows
from shared.policy.load import load_policy
from shared.policy.model import PagingLane, Policy
from shared.vocabulary import IncidentClass, Severity

NIGHT = datetime(2026, 3, 3, 3, 0, tzinfo=UTC)
EVERYBODY = frozenset({"primary", "secondary", "lead", "safety_team", "legal_compliance", "last_responder"})
CRISIS = frozenset({IncidentClass.CRISIS})
REPORT = frozenset({IncidentClass.MANDATORY_REPORT})


def an_incident(
    policy: Policy,
    severity: Severity = Severity.CRITICAL,
    classes: frozenset[IncidentClass] = CRISIS,
    detected_at: datetime = NIGHT,
) -> Incident:
    return open_incident(
        IncidentRef("SI-00000000"),
        Mode.LIVE,
        Signal(Facts(detected_at, severity, dict.fromkeys(classes, detected_at))),
        ticket_id=None,
        is_born_of_ticket=False,
        now=max(NIGHT, detected_at),
        policy=policy,
    )


def pages_of(
    incident: Incident, policy: Policy, *, until: timedelta, reachable: frozenset[str] = EVERYBODY
) -> list[tuple[float, Page]]:
    """Minutes and page of everything that is paged, looking whenever the incident says to look."""
    pages = []
    while incident.next_page_at is not None and incident.next_page_at <= NIGHT + until:
        at = incident.next_page_at
        incident, page = next_page(incident, now=at, reachable=reachable, policy=policy)
        if page is not None:
            pages.append(((at - NIGHT) / timedelta(minutes=1), page))
    return pages


@pytest.mark.parametrize(
    ("severity", "classes", "minutes"),
    [
        (Severity.CRITICAL, CRISIS, [0, 2, 4, 5, 8, 13, 18, 23, 28]),
        (Severity.HIGH, CRISIS, [0, 2, 4, 5, 8, 13, 18, 23, 28]),
        (Severity.CRITICAL, frozenset(), [0, 2, 4, 5, 8, 13, 18, 23, 28]),
        (Severity.HIGH, REPORT, [0, 5, 10, 15, 30, 40]),
        (Severity.HIGH, frozenset({IncidentClass.CONTENT_MODERATION}), [0, 5, 15, 30, 45]),
        (Severity.MEDIUM, frozenset({IncidentClass.PRIVACY}), [0, 30, 60, 120, 180]),
        (Severity.LOW, frozenset({IncidentClass.COPPA}), [240, 1680]),
    ],
    ids=["crisis", "crisis at high", "critical", "mandatory report", "high", "medium", "low"],
)
def test_each_lane_keeps_its_times(
    policy: Policy, severity: Severity, classes: frozenset[IncidentClass], minutes: list[float]
) -> None:
    """S4, the ladders of the policy."""
    incident = an_incident(policy, severity, classes)
    assert [at for at, _ in pages_of(incident, policy, until=timedelta(minutes=minutes[-1]))] == minutes


def test_a_crisis_nobody_answers_is_paged_wider_and_without_end(policy: Policy) -> None:
    """SN-07, HD-79, invariant 16: still paging at eight in the morning, and everybody by then (S4)."""
    pages = pages_of(an_incident(policy), policy, until=timedelta(hours=5))
    assert [page.roles for _, page in pages[:4]] == [
        ("primary", "safety_team"),
        ("primary", "secondary", "safety_team"),
        ("primary", "secondary", "safety_team", "lead"),
        ("primary", "secondary", "safety_team", "lead", "legal_compliance"),
    ]
    assert all(set(page.roles) == EVERYBODY for _, page in pages[4:])
    assert [(page.step, page.repeat) for _, page in pages[3:7]] == [(3, 0), (4, 0), (4, 1), (4, 2)]
    assert pages[-1][0] == 298.0
    assert len(pages) == 63


def test_a_step_without_people_gives_way_to_the_next_in_the_same_look(policy: Policy) -> None:
    """SN-08, invariant 23 (S4)."""
    pages = pages_of(
        an_incident(policy),
        policy,
        until=timedelta(minutes=13),
        reachable=frozenset({"legal_compliance", "last_responder"}),
    )
    assert [(at, page.step, page.roles) for at, page in pages] == [
        (0, 3, ("legal_compliance",)),
        (8, 4, ("legal_compliance", "last_responder")),
        (13, 4, ("legal_compliance", "last_responder")),
    ]


def test_where_nobody_is_reachable_the_end_of_the_list_is_paged_all_the_same(policy: Policy) -> None:
    """The directory may know better at the moment of sending; silence is never the answer (S4)."""
    pages = pages_of(an_incident(policy), policy, until=timedelta(minutes=10), reachable=frozenset())
    assert [(at, set(page.roles) == EVERYBODY) for at, page in pages] == [(0, True)]
    assert pages_of(an_incident(policy), policy, until=timedelta(minutes=13), reachable=frozenset())[1][0] == 13


def test_once_support_has_taken_a_report_only_legal_is_paged(policy: Policy) -> None:
    """Until the last role acknowledges, only the missing ones are paged, and in the end the last responder (S4)."""
    incident, _ = next_page(an_incident(policy, Severity.HIGH, REPORT), now=NIGHT, reachable=EVERYBODY, policy=policy)
    incident = acknowledge(incident, epoch=1, actor=Actor("a-1", "support"), now=NIGHT, policy=policy)
    pages = pages_of(incident, policy, until=timedelta(minutes=40))
    assert [(at, page.roles) for at, page in pages] == [
        (5, ("legal_compliance",)),
        (10, ("legal_compliance",)),
        (15, ("legal_compliance",)),
        (30, ("legal_compliance", "last_responder")),
        (40, ("legal_compliance", "last_responder")),
    ]


def test_after_an_outage_the_step_that_belongs_to_now_is_paged_once(policy: Policy) -> None:
    """SN-34, invariant 28: 47 minutes of pages are not repeated (S4)."""
    incident, _ = next_page(an_incident(policy), now=NIGHT, reachable=EVERYBODY, policy=policy)
    back = NIGHT + timedelta(minutes=47)
    incident, page = next_page(incident, now=back, reachable=EVERYBODY, policy=policy)
    everybody = policy.safety.paging[PagingLane.CRISIS].steps[-1].roles
    missed = {"late_by": timedelta(minutes=45), "missed": 10, "is_first_repeat": True}
    assert page == Page(PagingLane.CRISIS, 4, 7, everybody, **missed)
    assert incident.next_page_at == NIGHT + timedelta(minutes=48)
    assert next_page(incident, now=back, reachable=EVERYBODY, policy=policy) == (incident, None)


def test_what_was_detected_long_ago_starts_at_the_step_of_its_age(policy: Policy) -> None:
    """SN-35: a report heard of three hours late is paged to everybody at once (S4)."""
    incident = an_incident(policy, Severity.HIGH, REPORT, detected_at=NIGHT - timedelta(hours=3))
    incident, page = next_page(incident, now=NIGHT, reachable=EVERYBODY, policy=policy)
    assert page is not None
    assert (set(page.roles), page.step, page.late_by) == (EVERYBODY, 4, timedelta(hours=3))
    assert incident.next_page_at == NIGHT + timedelta(minutes=10)


def test_a_new_epoch_starts_at_its_first_step_at_once(policy: Policy) -> None:
    """S4: worse news is a new beginning, not the next rung of the old ladder."""
    incident = an_incident(policy, Severity.HIGH, frozenset({IncidentClass.CONTENT_MODERATION}))
    for minutes in (0, 5, 15):
        at = NIGHT + timedelta(minutes=minutes)
        incident, _ = next_page(incident, now=at, reachable=EVERYBODY, policy=policy)
    later = NIGHT + timedelta(minutes=16)
    incident = merge(incident, Signal(Facts(later, Severity.CRITICAL)), now=later, policy=policy)
    _, page = next_page(incident, now=later, reachable=EVERYBODY, policy=policy)
    assert page == Page(PagingLane.CRISIS, 0, 0, ("primary", "safety_team"))


def test_nobody_is_paged_for_what_has_been_taken(policy: Policy) -> None:
    """Invariant 19 (S4)."""
    incident = acknowledge(an_incident(policy), epoch=1, actor=Actor("a-1", "support"), now=NIGHT, policy=policy)
    assert next_page(incident, now=NIGHT + timedelta(days=1), reachable=EVERYBODY, policy=policy) == (incident, None)


def test_a_report_that_is_critical_runs_on_the_crisis_lane(policy: Policy) -> None:
    """S4."""
    assert an_incident(policy, Severity.CRITICAL, REPORT).lane == "crisis"
    assert an_incident(policy, Severity.HIGH, REPORT).lane == "mandatory_report"


def test_a_lane_that_ends_with_nobody_makes_the_service_unready(policy: Policy) -> None:
    """Invariant 24 (S4)."""
    assert lanes_without_end(policy, EVERYBODY) == ()
    assert lanes_without_end(policy, EVERYBODY - {"last_responder"}) == ("crisis", "mandatory_report", "high")
    assert lanes_without_end(policy, EVERYBODY - {"lead"}) == ("low",)
    assert lanes_without_end(policy, EVERYBODY - {"legal_compliance", "safety_team"}) == ("report_paging",)


def test_a_role_that_is_misspelt_in_the_policy_makes_the_service_unready(policy: Policy) -> None:
    """Whom nobody could ever reach must not be found out by the first crisis (S4)."""
    assert roles_nobody_knows(policy, EVERYBODY) == ()
    assert roles_nobody_knows(policy, EVERYBODY - {"safety_team"}) == ("safety_team",)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("no lane", "safety.paging: missing high"),
        ("no class", "safety.acknowledge_within_minutes: missing coppa"),
        ("steps backwards", "steps must ascend"),
    ],
)
def test_a_policy_by_which_somebody_would_not_be_paged_is_refused_when_loaded(broken: str, told: str) -> None:
    """A gap in the ladders must not be found by the first crisis (S4)."""
    numbers = yaml.safe_load((files("shared.policy") / "policy.yaml").read_text())
    match broken:
        case "no lane":
            del numbers["safety"]["paging"]["high"]
        case "no class":
            del numbers["safety"]["acknowledge_within_minutes"]["coppa"]
        case "steps backwards":
            numbers["safety"]["paging"]["crisis"]["steps"].reverse()
    with pytest.raises(ValidationError, match=told):
        load_policy(yaml.safe_dump(numbers))


def test_legal_hears_of_a_critical_report_at_once(policy: Policy) -> None:
    """The crisis lane names legal after five minutes; a report has to be acknowledged by them, so they are on its first page."""
    (_, first), *_ = pages_of(an_incident(policy, Severity.CRITICAL, REPORT), policy, until=timedelta(0))
    assert first.lane is PagingLane.CRISIS
    assert first.roles == ("primary", "safety_team", "legal_compliance")


@pytest.mark.parametrize(
    ("severity", "classes"),
    [
        (Severity.CRITICAL, CRISIS),
        (Severity.HIGH, REPORT),
        (Severity.HIGH, frozenset({IncidentClass.CONTENT_MODERATION})),
    ],
    ids=["crisis", "report", "high"],
)
def test_no_hour_and_no_day_is_quiet(policy: Policy, severity: Severity, classes: frozenset[IncidentClass]) -> None:
    """Invariant 25: at every hour of two weeks with Christmas and New Year in them the same pages go to the same roles, as far
    apart (4.5). That no command silences is shown over the table of commands."""
    first = datetime(2026, 12, 20, tzinfo=UTC)
    paged = set()
    for hour in range(14 * 24):
        at = first + timedelta(hours=hour)
        incident, pages = an_incident(policy, severity, classes, at), []
        while len(pages) < 8 and incident.next_page_at is not None:
            now = incident.next_page_at
            incident, page = next_page(incident, now=now, reachable=EVERYBODY, policy=policy)
            pages += [(now - at, page.roles)] if page else []
        paged.add(tuple(pages))
    (everywhere,) = paged
    assert len(everywhere) == 8
