"""What a person sees and may do: acknowledge and raise, and nothing that silences (S1, S4)."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from safety_bridge import store
from safety_bridge.timers import page_who_is_due
from shared.events.agent import SafetyCrisisDetected, SafetyIncidentUpdated, SafetyMandatoryReportTriggered

CRISIS = {"agent_incident_id": "A-1", "severity": "critical"}
SUPPORT = {"id": "on-call-1", "role": "support"}
LEGAL = {"id": "legal-compliance-1", "role": "legal_compliance"}
SAFETY = {"id": "safety-1", "role": "safety_team"}


async def test_an_incident_is_shown_with_all_that_a_person_needs(service: Any) -> None:
    """Design 3.3: state, tracks and deadlines; the evidence is not here (S5)."""
    await service.hear(SafetyCrisisDetected, CRISIS | {"responses": ["crisis_intervention"]})
    listed = await service.one()
    ref = listed["incident_ref"]
    shown = (await service.get(f"/v1/incidents/{ref}", key="reader")).json()
    assert shown.pop("related") == []
    assert shown == listed
    assert shown == {
        "incident_ref": ref,
        "agent_incident_id": "A-1",
        "ticket_id": shown["ticket_id"],
        "mode": "live",
        "epoch": 1,
        "severity_working": "critical",
        "severity_peak": "critical",
        "classes": ["crisis"],
        "responses": ["crisis_intervention"],
        "tracks": {"handling": "paging", "report": "not_required", "guardian": "none", "intervention": "none"},
        "flags": [],
        "failed_report_attempts": 0,
        "unknown_responses": 0,
        "agent_would_take_back": [],
        "proposals": [],
        "detected_at": "2026-03-03T15:00:00.000000Z",
        "opened_at": "2026-03-03T15:00:00.000000Z",
        "deadlines": {
            "acknowledge_by": "2026-03-03T15:05:00.000000Z",
            "clocks": [
                {
                    "clock": clock,
                    "incident_class": "crisis",
                    "started_at": "2026-03-03T15:00:00.000000Z",
                    "due_at": f"2026-03-03T15:{minutes}:00.000000Z",
                    "state": "running",
                    "met_at": None,
                }
                for clock, minutes in (("acknowledge", "05"), ("outcome", "15"))
            ],
        },
        "roles_missing": ["support"],
        "acknowledgements": [],
        "lease_ends_at": None,
        "coordinated_with": None,
        "done": [],
        "open_points": ["acknowledgement", "coordination", "affected_person_supported", "documented"],
        "disposition": None,
        "next_page_at": "2026-03-03T15:02:00.000000Z",
        "next_look_at": "2026-03-03T15:02:00.000000Z",
        "continues_in": None,
    }


async def test_an_acknowledgement_stops_the_pages(service: Any) -> None:
    """SN-01 to its end: acknowledged once, told once, paged no more (S4)."""
    await service.hear(SafetyCrisisDetected, CRISIS)
    path = f"/v1/incidents/{(await service.one())['incident_ref']}/acknowledge"
    for _ in range(2):
        answer = await service.post(path, {"epoch": 1, "actor": SUPPORT})
        assert (answer.status_code, answer.json()["tracks"]["handling"]) == (200, "acknowledged")
    assert answer.json()["acknowledgements"] == [
        {"epoch": 1, "role": "support", "actor_id": "on-call-1", "at": "2026-03-03T15:00:00.000000Z"}
    ]
    service.now.advance(minutes=14)
    assert await page_who_is_due(service.units) is False
    assert [one for one in await service.left() if not one.startswith("deadline_")] == [
        "incident_opened",
        "page_requested",
        "created",
        "restricted",
        "incident_acknowledged",
    ]


async def test_without_an_acknowledgement_the_timer_pages_again(service: Any) -> None:
    """SN-07, invariant 15 (S4)."""
    await service.hear(SafetyCrisisDetected, CRISIS)
    for minutes in (2, 2, 1):
        service.now.advance(minutes=minutes)
        await page_who_is_due(service.units)
        await page_who_is_due(service.units)
    assert (await service.left()).count("page_requested") == 4


async def test_an_acknowledgement_of_what_has_changed_is_refused(service: Any) -> None:
    """SN-06: 409 with a slug, and the clause that says why (S4)."""
    await service.hear(SafetyMandatoryReportTriggered, {"agent_incident_id": "A-1", "severity": "high"})
    await service.hear(SafetyIncidentUpdated, CRISIS)
    incident = await service.one()
    answer = await service.post(f"/v1/incidents/{incident['incident_ref']}/acknowledge", {"epoch": 1, "actor": SUPPORT})
    problem = answer.json()
    assert (answer.status_code, problem["type"], problem["clause"]) == (409, "/problems/epoch-has-passed", "S4")
    assert (await service.one()) == incident


async def test_a_report_needs_support_and_legal(service: Any) -> None:
    """S4: and a role that is not asked cannot answer for them (invariant 18)."""
    await service.hear(SafetyMandatoryReportTriggered, {"agent_incident_id": "A-1", "severity": "high"})
    path = f"/v1/incidents/{(await service.one())['incident_ref']}/acknowledge"
    missing = []
    for actor in (SUPPORT, LEGAL):
        missing.append((await service.post(path, {"epoch": 1, "actor": actor})).json()["roles_missing"])
    assert missing == [["legal_compliance"], []]
    refused = await service.post(path, {"epoch": 1, "actor": SAFETY})
    assert refused.json()["type"] == "/problems/role-not-required"


async def test_a_person_raises_by_severity_or_by_class_and_never_lowers(service: Any) -> None:
    """S1."""
    await service.hear(SafetyIncidentUpdated, {"agent_incident_id": "A-1", "severity": "high"})
    path = f"/v1/incidents/{(await service.one())['incident_ref']}/raise"
    raised = await service.post(path, {"epoch": 1, "actor": SUPPORT, "class": "mandatory_report"})
    assert (raised.json()["epoch"], raised.json()["roles_missing"]) == (2, ["legal_compliance", "support"])
    refused = await service.post(path, {"epoch": 2, "actor": SUPPORT, "severity": "low"})
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/severity-never-falls")
    raised = await service.post(path, {"epoch": 2, "actor": SUPPORT, "severity": "critical"})
    assert (raised.json()["severity_peak"], raised.json()["epoch"]) == ("critical", 3)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_opening_a_link_changes_nothing(service: Any, method: str) -> None:
    """SN-37, invariant 22: mail scanners open every link (S4)."""
    await service.hear(SafetyCrisisDetected, CRISIS)
    before = await service.rows("select * from incident")
    ref = before[0]["ref"]
    for path in ("", "/acknowledge", "/raise"):
        await service.get(f"/v1/incidents/{ref}{path}", method=method)
    assert await service.rows("select * from incident") == before
    assert len(await service.left()) == 4 + 2


@pytest.mark.parametrize("ref", ["SI-00000000", "nonsense", "%00", "SI-" + "0" * 300])
async def test_what_is_unknown_is_not_found(service: Any, ref: str) -> None:
    """Design 3.3."""
    assert (await service.get(f"/v1/incidents/{ref}")).status_code == 404
    for command in ("acknowledge", "raise"):
        body = {"epoch": 1, "actor": SUPPORT, "severity": "high"}
        assert (await service.post(f"/v1/incidents/{ref}/{command}", body)).status_code == 404
    assert (await service.get(f"/v1/incidents?ticket_id={ref}")).json()["incidents"] == []


async def test_who_may_only_read_cannot_act(service: Any) -> None:
    """Design 3.3: scopes incidents:read and incidents:act."""
    await service.hear(SafetyCrisisDetected, CRISIS)
    path = f"/v1/incidents/{(await service.one())['incident_ref']}"
    body = {"epoch": 1, "actor": SUPPORT}
    assert (await service.post(f"{path}/acknowledge", body, key="reader")).status_code == 403
    assert (await service.post(f"{path}/acknowledge", body, key="nobody")).status_code == 401
    assert (await service.get(path, key="stranger")).status_code == 403
    assert (await service.get("/v1/incidents", key="nobody")).status_code == 401


async def test_dead_letters_are_for_operators(service: Any) -> None:
    """As in every service that consumes (design 3.3)."""
    answer = await service.get("/v1/dead-letters", key="operator")
    assert (answer.status_code, answer.json()) == (200, {"dead_letters": [], "next_after": None})
    assert (await service.get("/v1/dead-letters", key="support")).status_code == 403


@pytest.mark.parametrize(
    ("command", "body"),
    [
        ("acknowledge", {"epoch": "zq-canary", "actor": SUPPORT}),
        ("acknowledge", {"epoch": 1, "actor": {"id": "zq-canary\n", "role": "support"}}),
        ("acknowledge", {"epoch": 1, "actor": {"id": "sam", "role": "zq-canary"}}),
        ("acknowledge", ["zq-canary"]),
        ("raise", {"epoch": 1, "actor": SUPPORT, "severity": "zq-canary"}),
        ("raise", {"epoch": 1, "actor": SUPPORT, "class": "zq-canary"}),
        ("raise", {"epoch": 1, "actor": SUPPORT}),
        ("raise", {"epoch": 1, "actor": SUPPORT, "severity": "high", "class": "crisis"}),
    ],
)
async def test_a_command_that_means_nothing_is_told_where_and_not_what(service: Any, command: str, body: Any) -> None:
    """Design 3.3: no error repeats a submitted value (S5)."""
    answer = await service.post(f"/v1/incidents/SI-00000000/{command}", body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"]
    assert "zq-canary" not in answer.text


def mutating_routes(service: Any) -> dict[str, set[str]]:
    """Every route of incidents that is no reading, by what comes after the reference."""
    found = {}
    for path, methods in service.app.api.openapi()["paths"].items():
        if path.startswith("/v1/incidents") and set(methods) - {"get"}:
            found[path.rpartition("/")[2]] = set(methods)
    return found


COMMANDS: dict[str, dict[str, Any]] = {
    "acknowledge": {},
    "raise": {"class": "crisis"},
    "progress": {"kind": "documented"},
    "coordinate": {"counterpart": "safety-1"},
    "handoff": {},
    "confirm_handoff": {},
    "link_ticket": {"ticket_id": "T-9"},
    "guardian_decide": {"decision": "release", "reason": "guardian_found_safe"},
    "propose_reassessment": {"severity": "medium", "reason": "false_alarm"},
    "close_report": {"reason": "not_reportable"},
    "end_intervention": {"reason": "person_declined"},
    "close": {"disposition": "resolved"},
    "approve": {"relaxation": "close_report", "snapshot": "s"},
    "approve_reassessment": {"snapshot": "s"},
    "approve_close": {"snapshot": "s"},
    "reject": {"relaxation": "close_report"},
    "reopen": {},
}
"""Every command with a body that means something."""
IN_ANY_EPOCH: dict[str, dict[str, Any]] = {"notes": {"text": "a word"}, "erasure": {}, "legal-hold": {"hold": True}}
"""What is about the sealed content and not about the handling."""
WHOLE = CRISIS | {"responses": ["parent_notification", "mandatory_reporting"], "intervention": {"state": "started"}}


async def test_every_command_is_in_the_table(service: Any) -> None:
    """Invariant 39: a command that is added is tested here, or this fails. There is none that deletes or silences (S1)."""
    assert mutating_routes(service) == {command: {"post"} for command in COMMANDS | IN_ANY_EPOCH}


@pytest.mark.parametrize("command", COMMANDS | IN_ANY_EPOCH)
async def test_whom_nobody_knows_changes_nothing_but_may_raise(service: Any, command: str) -> None:
    """SN-36, invariants 18 and 39: a service account holds no role, nor does a person another one's (S1, S4)."""
    await service.hear(SafetyCrisisDetected, WHOLE)
    before = await service.rows("select * from incident")
    path, body = f"/v1/incidents/{before[0]['ref']}/{command}", (COMMANDS | IN_ANY_EPOCH)[command]
    for actor in ({"id": "escalation-service", "role": "safety_team"}, {"id": "on-call-1", "role": "safety_team"}):
        answer = await service.post(path, {"epoch": 1, "actor": actor} | body)
        if command == "raise":
            assert answer.status_code == 200
        else:
            assert (answer.status_code, answer.json()["type"]) == (403, "/problems/role-not-held")
            assert await service.rows("select * from incident") == before
    assert (await service.post(path, {"epoch": 1, "actor": SUPPORT} | body, key="reader")).status_code == 403


DONE_ONCE = sorted((COMMANDS | IN_ANY_EPOCH).keys() - {"close", "approve_close", "reopen"})
"""Closing and reopening come at the end of other tests: their second try finds the incident closed, or its epoch passed."""


@pytest.mark.parametrize("command", DONE_ONCE)
async def test_a_command_that_comes_twice_has_done_no_more_than_once(service: Any, command: str) -> None:
    """A retry needs no Idempotency-Key: the epoch and what it is already stand for it; only a note is kept twice (4.6)."""
    await service.hear(SafetyCrisisDetected, WHOLE | {"severity": "high"})
    path = f"/v1/incidents/{(await service.one())['incident_ref']}"
    body: dict[str, Any] = {"epoch": 1, "actor": SUPPORT} | (COMMANDS | IN_ANY_EPOCH)[command]
    if command != "acknowledge":
        for actor in (SUPPORT, LEGAL):
            assert (await service.post(f"{path}/acknowledge", {"epoch": 1, "actor": actor})).is_success
    match command:
        case "raise":
            body = {"epoch": 1, "actor": SUPPORT, "severity": "critical"}
        case "confirm_handoff":
            await service.post(f"{path}/handoff", {"epoch": 1, "actor": SUPPORT})
        case "legal-hold":
            body["actor"] = LEGAL
        case "approve" | "approve_reassessment" | "reject":
            proposed = COMMANDS["propose_reassessment"] | {"epoch": 1, "actor": SUPPORT}
            await service.post(f"{path}/propose_reassessment", proposed)
            snapshot = (await service.one())["proposals"][0]["snapshot"]
            body |= {"actor": SAFETY, "snapshot": snapshot, "relaxation": "lower_severity"}
    first = await service.post(f"{path}/{command}", body)
    assert first.is_success
    once, pages = await service.one(), (await service.left()).count("page_requested")
    again = await service.post(f"{path}/{command}", body)
    assert again.is_success or again.status_code == 409
    assert (await service.one(), (await service.left()).count("page_requested")) == (once, pages)


async def test_a_refused_acknowledgement_is_logged_and_paging_goes_on(service: Any) -> None:
    """SN-36, invariant 18: by whom nobody knows, by a person without the role, and one that is replayed ten minutes later,
    when the incident has moved on (S4). The log names the key, and neither person nor incident."""
    await service.hear(SafetyCrisisDetected, CRISIS)
    path = f"/v1/incidents/{(await service.one())['incident_ref']}/acknowledge"
    with capture_logs() as logged:
        for actor in ({"id": "stranger", "role": "support"}, {"id": "on-call-1", "role": "safety_team"}):
            assert (await service.post(path, {"epoch": 1, "actor": actor})).status_code == 403
    refused = {"event": "refused", "log_level": "info", "slug": "role-not-held", "key": "support"}
    assert [line for line in logged if line["event"] == "refused"] == [
        refused | {"route": "/v1/incidents/{ref}/acknowledge"}
    ] * 2
    before = (await service.left()).count("page_requested")
    service.now.advance(minutes=2)
    await page_who_is_due(service.units)
    assert (await service.left()).count("page_requested") == before + 1
    assert (await service.post(path, {"epoch": 1, "actor": SUPPORT})).status_code == 200
    await service.hear(SafetyMandatoryReportTriggered, {"agent_incident_id": "A-1", "severity": "critical"})
    service.now.advance(minutes=10)
    with capture_logs() as logged:
        assert (await service.post(path, {"epoch": 1, "actor": SUPPORT})).status_code == 409
    assert [line["slug"] for line in logged if line["event"] == "refused"] == ["epoch-has-passed"]
    before = (await service.left()).count("page_requested")
    await page_who_is_due(service.units)
    assert (await service.left()).count("page_requested") > before


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"]
)
@pytest.mark.parametrize("command", ["acknowledge", "close", "raise"])
async def test_a_form_that_is_sent_without_a_key_changes_nothing(service: Any, command: str, content_type: str) -> None:
    """SN-37, invariant 22: mail scanners submit what they find on a page as well (S4)."""
    await service.hear(SafetyCrisisDetected, CRISIS)
    before = await service.rows("select * from incident")
    path = f"/v1/incidents/{before[0]['ref']}/{command}"
    for query in ("", "?epoch=1&actor=on-call-1"):
        answer = await service.client.post(path + query, content=b"epoch=1", headers={"content-type": content_type})
        assert answer.status_code == 401
    assert await service.rows("select * from incident") == before


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_command_for_another_epoch_changes_nothing(service: Any, command: str) -> None:
    """SN-06, invariant 18: whatever it is (S4)."""
    await service.hear(SafetyCrisisDetected, WHOLE)
    before = await service.rows("select * from incident")
    for epoch in (0, 2):
        body = {"epoch": epoch, "actor": SAFETY} | COMMANDS[command]
        answer = await service.post(f"/v1/incidents/{before[0]['ref']}/{command}", body)
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/epoch-has-passed")
    assert await service.rows("select * from incident") == before


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"])
async def test_no_other_method_commands_anything(service: Any, method: str) -> None:
    """SN-37, invariant 22: for every command (S4)."""
    await service.hear(SafetyCrisisDetected, WHOLE)
    before = await service.rows("select * from incident")
    ref = before[0]["ref"]
    for path in (f"/{ref}", *(f"/{ref}/{command}" for command in COMMANDS), "/acknowledge"):
        await service.get(f"/v1/incidents{path}", method=method)
    assert await service.rows("select * from incident") == before


async def test_a_list_is_taken_exactly_as_it_was_read(service: Any) -> None:
    """SN-31: the listed incidents in the listed epochs; what has come since keeps paging (S4)."""
    for number in range(4):
        await service.hear(SafetyCrisisDetected, CRISIS | {"agent_incident_id": f"A-{number}"})
    refs = {
        one["agent_incident_id"]: one["incident_ref"]
        for one in (await service.get("/v1/incidents")).json()["incidents"]
    }
    listed = [{"incident_ref": refs[f"A-{number}"], "epoch": epoch} for number, epoch in ((0, 1), (1, 2), (2, 1))]
    body = {"actor": SUPPORT, "incidents": [*listed, {"incident_ref": "SI-00000000", "epoch": 1}]}
    answer = await service.post("/v1/incidents/acknowledge", body)
    assert [(one["status"], one["problem"]) for one in answer.json()["results"]] == [
        (200, None),
        (409, "/problems/epoch-has-passed"),
        (200, None),
        (404, "/problems/not-found"),
    ]
    paged = {
        one["agent_incident_id"]
        for one in (await service.get("/v1/incidents")).json()["incidents"]
        if one["next_page_at"] is not None
    }
    assert paged == {"A-1", "A-3"}


async def test_two_close_a_critical_incident_over_http(service: Any) -> None:
    """SN-20 from the page to the end: each answer says what is still open (S1)."""
    await service.hear(SafetyCrisisDetected, CRISIS)
    path = f"/v1/incidents/{(await service.one())['incident_ref']}"

    async def say(command: str, actor: Any = SUPPORT, **more: Any) -> Any:
        return (await service.post(f"{path}/{command}", {"epoch": 1, "actor": actor} | more)).json()

    await say("acknowledge")
    assert (await say("close", disposition="resolved"))["type"] == "/problems/not-applicable"
    assert (await say("coordinate", counterpart="safety-2"))["tracks"]["handling"] == "coordinating"
    assert (await say("progress", kind="affected_person_supported"))["open_points"] == ["documented"]
    assert (await say("progress", kind="documented"))["tracks"]["handling"] == "follow_up"
    (proposal,) = (await say("close", disposition="resolved"))["proposals"]
    assert (proposal["relaxation"], proposal["is_pending"]) == ("close", True)
    assert (await say("approve_close", snapshot=proposal["snapshot"]))["type"] == "/problems/takes-another-person"
    closed = await say("approve_close", SAFETY, snapshot=proposal["snapshot"])
    assert (closed["tracks"]["handling"], closed["disposition"], closed["next_look_at"]) == ("closed", "resolved", None)
    assert {clock["state"] for clock in closed["deadlines"]["clocks"]} == {"met"}


async def test_a_ticket_is_linked_once_and_to_one_incident(service: Any) -> None:
    """S8."""
    for name in ("A-1", "A-2"):
        await service.hear(SafetyCrisisDetected, CRISIS | {"agent_incident_id": name})
    listed = (await service.get("/v1/incidents")).json()["incidents"]
    statuses = []
    for one in listed:
        path = f"/v1/incidents/{one['incident_ref']}/link_ticket"
        statuses.append((await service.post(path, {"epoch": 1, "actor": SUPPORT, "ticket_id": "T-7"})).status_code)
    assert statuses == [200, 409]
    (found,) = (await service.get("/v1/incidents?ticket_id=T-7")).json()["incidents"]
    assert found["incident_ref"] == listed[0]["incident_ref"]


async def test_a_list_names_what_it_cannot_show_and_says_that_there_is_more(
    audited: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One incident that this version cannot read hides no other."""
    for name in ("A-1", "A-2", "A-3"):
        await audited.hear(SafetyCrisisDetected, CRISIS | {"agent_incident_id": name})
    (lost, *others) = [row["ref"] for row in await audited.rows("select ref from incident order by ref")]
    await audited.rows(f"update incident set document = document - 'facts' where ref = '{lost}' returning ref")
    listed = (await audited.get("/v1/incidents")).json()
    assert sorted(one["incident_ref"] for one in listed["incidents"]) == others
    assert (listed["unreadable"], listed["more"]) == ([lost], False)
    (alias,) = await audited.rows(f"select name from incident_alias where ref = '{lost}' and kind = 'agent'")
    assert (await audited.get(f"/v1/incidents?agent_incident_id={alias['name']}")).json()["unreadable"] == [lost]
    read = await audited.rows("select incident_ref from audit where type = 'incident_read' order by seq")
    assert [row["incident_ref"] for row in read] == ["*", lost]
    monkeypatch.setattr(store, "LISTED", 2)
    listed = (await audited.get("/v1/incidents")).json()
    assert (len(listed["incidents"]) + len(listed["unreadable"]), listed["more"]) == (2, True)


async def test_incidents_of_one_account_know_of_each_other_and_stay_apart(service: Any) -> None:
    """SN-19, SN-57: a second report is a second track; the link is here alone and names nobody (S3, S5)."""
    for name, account in (("A-1", "acc-1"), ("A-2", "acc-1"), ("A-3", "acc-3"), ("A-4", None)):
        said = {"agent_incident_id": name, "severity": "high", "account_ref": account}
        await service.hear(SafetyMandatoryReportTriggered, said)
    refs = {
        one["agent_incident_id"]: one["incident_ref"]
        for one in (await service.get("/v1/incidents")).json()["incidents"]
    }
    related = {
        name: (await service.get(f"/v1/incidents/{ref}")).json()["related"] for name, ref in sorted(refs.items())
    }
    assert related == {"A-1": [refs["A-2"]], "A-2": [refs["A-1"]], "A-3": [], "A-4": []}
    (documents,) = await service.rows("select string_agg(document::text, '') from incident")
    assert "acc-1" not in documents[0]


async def test_who_reads_an_incident_is_written_down_before_it_is_shown(audited: Any) -> None:
    """Invariant 45: actor, role and reason; a program that does not say stands there by its key (S5)."""
    await audited.hear(SafetyCrisisDetected, CRISIS)
    ref = (await audited.one())["incident_ref"]
    await audited.get(f"/v1/incidents/{ref}", key="reader")
    await audited.get("/v1/incidents?agent_incident_id=A-1")
    said = {"x-actor-id": "sam", "x-actor-role": "support", "x-reason": "on_call"}
    assert (await audited.get(f"/v1/incidents/{ref}", **said)).status_code == 200
    assert (await audited.get("/v1/incidents/SI-00000000", **said)).status_code == 404
    refused = await audited.get(f"/v1/incidents/{ref}", **(said | {"x-reason": "Zanzibar wants to know"}))
    assert refused.status_code == 422
    assert "Zanzibar" not in refused.text
    rows = await audited.rows("select * from audit where type = 'incident_read' order by seq")
    assert [(row["incident_ref"], row["actor"], row["role"], row["reason"]) for row in rows] == [
        ("*", "key support", "system", "not_stated"),
        (ref, "key reader", "system", "not_stated"),
        (ref, "key support", "system", "not_stated"),
        (ref, "sam", "support", "on_call"),
    ]
