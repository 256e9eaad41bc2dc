"""The HTTP edge: what became of messages, what waits for a person, and letting it go (T2, T3)."""

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from notifier.app import SUBSCRIPTIONS, build
from notifier.domain.notification import State, Verdict
from notifier.settings import NotifierSettings
from notifier.store import NotifierUnit, Sought
from shared.events.envelope import Received
from shared.messaging.kafka import Kafka
from shared.messaging.unit_of_work import UnitsOfWork
from shared.testing.time import FakeNow

KEYS = [
    {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "scopes": scopes}
    for name, scopes in (
        ("reader", ["notifications:read"]),
        ("robin", ["notifications:read", "notifications:act"]),
        ("auditor", ["notifications:text"]),
    )
]


class Service:
    """The notifier's HTTP side over a database of its own; batches are handed to it, nothing is sent."""

    def __init__(self, database, desk, directory_file) -> None:
        settings = NotifierSettings.model_validate(
            {
                "kafka_bootstrap_servers": "nobody:9",
                "database_url": "postgresql://nobody",
                "directory_file": directory_file,
                "smtp_url": "smtp://nobody:25",
                "mail_from": "Support <support@storytailor.example>",
                "api_keys": KEYS,
            }
        )
        self.now = FakeNow()
        app = build(settings, now=self.now, kafka=Kafka("nobody:9"), bulk=database, urgent=database)
        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app.api), base_url="http://notifier")
        self.units = UnitsOfWork(
            database,
            lambda connection, at: NotifierUnit(connection, at, desk, lambda _: None),
            now=self.now,
            wake=lambda _: None,
        )

    async def hear(self, *messages: Received[Any]) -> None:
        async with self.units.begin() as unit:
            await unit.load(messages)
            for message in messages:
                unit.because_of(message)
                SUBSCRIPTIONS[type(message.event)](message, unit)

    async def get(self, path: str, *, key: str = "reader", **query: Any) -> httpx2.Response:
        return await self.client.get(path, params=query, headers={"authorization": f"Bearer {key}"})

    async def post(self, path: str, body: Any = None, *, key: str = "robin", **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(path, json=body, headers={"authorization": f"Bearer {key}"} | named)

    async def listed(self, **query: Any) -> list[dict[str, Any]]:
        return (await self.get("/v1/notifications", **query)).json()["notifications"]

    async def ends(self, verdict: Verdict, **query: Any) -> None:
        """What fits and is still on its way has ended so."""
        async with self.units.begin() as unit:
            for one in await unit.notifications.sought(unit.connection, Sought(**query), limit=1000):
                if one.state is State.QUEUED:
                    unit.notifications.save(replace(one.under(verdict, self.now()), attempts=1))

    async def held(self) -> list[dict[str, Any]]:
        return (await self.get("/v1/held")).json()["held"]


@pytest.fixture
async def service(database, desk, directory_file) -> AsyncIterator[Service]:
    service = Service(database, desk, directory_file)
    yield service
    await service.client.aclose()


async def test_what_became_of_the_messages_of_a_ticket_is_shown_without_words_or_addresses(service, say) -> None:
    await service.hear(say.created(), say.assigned("missing_attribution"), say.resolved(summary="secret"))
    answer = await service.get("/v1/notifications", ticket_id="T-1")
    shown = answer.json()["notifications"]
    assert {(one["template"], one["state"]) for one in shown} == {
        ("team_assigned", "queued"),
        ("initial_response", "queued"),
        ("missing_attribution", "held"),
    }
    assert not [word for word in ("secret", "Ada", "example.com", "Moonbear") if word in answer.text]
    assert (await service.get("/v1/notifications", ticket_id="T-2")).json()["notifications"] == []


async def test_the_words_that_were_decided_on_are_shown(service, desk, say) -> None:
    """Edition, language, and that it is not the very one that was asked for (HD-67, HD-68)."""
    await service.hear(
        say.created(requester={"id": "u", "email": "a@b.example", "locale": "fr-CA"}), say.assigned("login")
    )
    shown = (await service.get("/v1/notifications", ticket_id="T-1")).json()["notifications"]
    version = desk.templates.edition.version
    assert {one["template"]: (one["edition"], one["language"], one["fallback"]) for one in shown} == {
        "team_assigned": (version, "en", None),
        "initial_response": (version, "fr", "shorter"),
    }


async def test_a_held_message_is_completed_by_a_person(service, say) -> None:
    """Named in the list, supplied over HTTP, gone from the list (T2)."""
    await service.hear(say.created(), say.assigned("false_positive"), say.resolved())
    (held,) = await service.held()
    assert (held["reason_code"], held["missing"]) == ("missing_facts", ["attribution_removed", "detection_reviewed"])
    path = f"/v1/held/{held['notification_id']}/complete"
    half = await service.post(path, {"facts": {"attribution_removed": True}})
    assert (half.status_code, half.json()["state"], half.json()["missing"]) == (200, "held", ["detection_reviewed"])
    done = await service.post(path, {"facts": {"detection_reviewed": True}})
    assert (done.json()["state"], done.json()["decided_by"]) == ("queued", "robin")
    assert await service.held() == []


async def test_a_suppressed_message_is_released_by_a_person_once(service, say) -> None:
    """(T3)"""
    await service.hear(say.created(), say.assigned("privacy_concern"))
    (held,) = await service.held()
    assert (held["state"], held["reason_code"]) == ("suppressed", "safety_ticket")
    path = f"/v1/held/{held['notification_id']}/release"
    assert (await service.post(path)).json()["state"] == "queued"
    again = await service.post(path)
    assert (again.status_code, again.json()["type"], again.json()["clause"]) == (409, "/problems/not-held", "T2")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"facts": {"detection_reviewed": True}}, 422),
        ({"facts": {"attribution_added": "canary"}}, 422),
        ({"facts": {}}, 422),
        ({"facts": {"attribution_added": True}, "state": "sent"}, 422),
        ({"facts": {"attribution_added": ["canary"]}}, 422),
        (["canary"], 422),
    ],
)
async def test_facts_that_nobody_waits_for_are_refused_without_repeating_them(service, say, body, status) -> None:
    await service.hear(say.created(), say.assigned("missing_attribution"), say.resolved())
    (held,) = await service.held()
    answer = await service.post(f"/v1/held/{held['notification_id']}/complete", body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert "canary" not in answer.text
    assert (await service.held())[0]["state"] == "held"


async def test_only_who_may_act_acts(service, say) -> None:
    await service.hear(say.created(), say.assigned("privacy_concern"))
    (held,) = await service.held()
    path = f"/v1/held/{held['notification_id']}/release"
    assert (await service.post(path, key="reader")).status_code == 403
    assert (await service.post(path, key="nobody")).status_code == 401
    assert (await service.get("/v1/held", key="")).status_code == 401


async def test_what_does_not_exist_is_not_found(service) -> None:
    assert (await service.post("/v1/held/nothing/release")).status_code == 404
    assert (await service.get("/v1/held", page_token="nothing")).status_code == 422
    assert (await service.get("/v1/notifications", page_token="nothing")).status_code == 422
    assert (await service.get("/v1/notifications", state="lost")).status_code == 422
    assert (await service.get("/v1/notifications/nothing/text", key="auditor")).status_code == 404
    assert (await service.post("/v1/notifications/nothing/resend")).status_code == 404


async def test_the_list_comes_in_pages(service, say) -> None:
    for number in range(205):
        ticket_id = f"T-{number}"
        await service.hear(say.created(ticket_id), say.assigned("privacy_concern", ticket_id))
    first = (await service.get("/v1/held")).json()
    second = (await service.get("/v1/held", page_token=first["next_page_token"])).json()
    assert (len(first["held"]), len(second["held"]), second["next_page_token"]) == (200, 5, None)
    assert len({one["ticket_id"] for one in first["held"] + second["held"]}) == 205


async def test_one_that_cannot_be_read_hides_no_other_and_is_named(service, say) -> None:
    """In either list."""
    await service.hear(say.created(), say.assigned("privacy_concern"))
    await service.hear(say.created("T-2"), say.assigned("privacy_concern", "T-2"))
    (lost,) = [one["notification_id"] for one in await service.held() if one["ticket_id"] == "T-1"]
    async with service.units.database.connection() as connection:
        await connection.execute("update notification set document = $1 where id = $2", b'{"id": 7}', lost)
    waiting, every = [(await service.get(f"/v1/{of}")).json() for of in ("held", "notifications")]
    assert ([one["ticket_id"] for one in waiting["held"]], waiting["unreadable"]) == (["T-2"], [lost])
    assert (len(every["notifications"]), every["unreadable"]) == (3, [lost])


FAILED, SENT = Verdict(State.FAILED, "smtp_550"), Verdict(State.SENT)


async def test_notifications_are_found_by_what_they_are(service, say) -> None:
    """By state, channel, audience, ticket, incident and time, each with the others."""
    await service.hear(say.created(), say.assigned("missing_attribution"), say.resolved())
    start = service.now()
    service.now.advance(hours=1)
    await service.hear(say.created("T-2"), say.assigned("login", "T-2"), say.paged(roles=["primary"]))
    assert len(await service.listed()) == 6
    assert [one["template"] for one in await service.listed(state="held")] == ["missing_attribution"]
    assert {one["template"] for one in await service.listed(audience="customer", ticket_id="T-2")} == {
        "initial_response"
    }
    assert {one["audience"] for one in await service.listed(incident_ref="SI-0A1B2C3D")} == {"on_call"}
    assert len(await service.listed(channel="email", since=start.isoformat(), until=service.now().isoformat())) == 3
    assert len(await service.listed(since=service.now().isoformat())) == 3
    assert await service.listed(until=start.isoformat()) == []
    assert await service.listed(state="sent", ticket_id="T-1") == []


async def test_notifications_come_in_pages(service, say) -> None:
    """Each once, in the order in which they were made."""
    tickets = [f"T-{number}" for number in range(501)]
    await service.hear(*(say.created(one) for one in tickets), *(say.assigned("login", one) for one in tickets))
    first = (await service.get("/v1/notifications", since="2026-03-01T00:00:00Z")).json()
    second = (await service.get("/v1/notifications", page_token=first["next_page_token"])).json()
    ids = [one["notification_id"] for one in first["notifications"] + second["notifications"]]
    assert (len(first["notifications"]), len(ids), len(set(ids)), second["next_page_token"]) == (1000, 1002, 1002, None)


async def test_who_read_a_text_is_logged_with_key_and_id_and_without_its_words(service, say) -> None:
    """It has a scope of its own: it is a customer's name and what they were told (S5)."""
    await service.hear(say.created(number="12345"), say.assigned("login"))
    (answer,) = await service.listed(audience="customer")
    path = f"/v1/notifications/{answer['notification_id']}/text"
    with capture_logs() as logged:
        shown = await service.get(path, key="auditor")
    assert (shown.json()["subject"], shown.json()["body"][:8]) == ("Re: [Ticket #12345] Login", "Hi Ada,\n")
    assert shown.json()["language"] == "en"
    assert "Hi Ada," in shown.json()["html"]
    assert {
        "event": "text read",
        "log_level": "info",
        "notification_id": answer["notification_id"],
        "key": "auditor",
    } in logged
    assert "Ada" not in json.dumps(logged)
    for key in ("reader", "robin"):
        assert (await service.get(path, key=key)).status_code == 403


async def test_what_a_customer_is_told_about_a_safety_ticket_is_shown_to_nobody_else(service, say) -> None:
    """As the matrix has it, released or not, restricted or not; its staff's mails and pages show what those may read (S5)."""
    await service.hear(say.created(), say.assigned("privacy_concern", team="safety"), say.paged(roles=["primary"]))
    await service.hear(say.created("T-2"), say.assigned("login", "T-2"), say.restricted("T-2"))
    for ticket_id in ("T-1", "T-2"):
        (text,) = await service.listed(audience="customer", ticket_id=ticket_id)
        path = f"/v1/notifications/{text['notification_id']}"
        refused = await service.get(f"{path}/text", key="auditor")
        assert (refused.status_code, refused.json()["type"], refused.json()["clause"]) == (
            403,
            "/problems/not-shown",
            "S5",
        )
        assert "Ada" not in refused.text
    await service.post(f"/v1/held/{text['notification_id']}/release")
    assert (await service.get(f"{path}/text", key="auditor")).status_code == 403
    (mail,) = await service.listed(audience="team", ticket_id="T-1")
    (page,) = await service.listed(audience="on_call")
    for one, subject in ((mail, "[Ticket] A ticket is with your team"), (page, "[SI-0A1B2C3D] Action needed now")):
        shown = await service.get(f"/v1/notifications/{one['notification_id']}/text", key="auditor")
        assert shown.json()["subject"] == subject
        assert not [word for word in ("privacy", "Ada", "example.com") if word in shown.text]


async def test_a_text_that_waits_for_facts_cannot_be_shown(service, say) -> None:
    """(T2)"""
    await service.hear(say.created(), say.assigned("missing_attribution"), say.resolved())
    (held,) = await service.held()
    answer = await service.get(f"/v1/notifications/{held['notification_id']}/text", key="auditor")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/facts-missing")


async def test_one_is_sent_again_once_for_each_key(service, say) -> None:
    """A request that is repeated sends nothing twice; another key is another wish."""
    await service.hear(say.created(), say.assigned("login"))
    await service.ends(SENT)
    (first,) = await service.listed(audience="customer")
    path = f"/v1/notifications/{first['notification_id']}/resend"
    again = [(await service.post(path, idempotency_key=key)).json() for key in ("a", "a", "b")]
    assert again[0] == again[1]
    assert {(one["state"], one["decided_by"], one["resend_of"]) for one in again} == {
        ("queued", "robin", first["notification_id"])
    }
    without = [(await service.post(path)).json()["notification_id"] for _ in range(2)]
    assert len({first["notification_id"], *without, *(one["notification_id"] for one in again)}) == 4
    assert len(await service.listed(audience="customer")) == 4
    assert (await service.post(path, key="auditor")).status_code == 403


@pytest.mark.parametrize("state", ["queued", "held", "superseded"])
async def test_what_is_on_its_way_waits_or_was_overtaken_is_not_sent_again(service, say, state: str) -> None:
    """(T2, T3)"""
    await service.hear(say.created(), say.assigned("missing_attribution"))
    if state != "queued":
        await service.hear(say.resolved())
    if state == "superseded":
        await service.hear(say.reopened())
    template = "initial_response" if state == "queued" else "missing_attribution"
    (one,) = (one for one in await service.listed(state=state) if one["template"] == template)
    answer = await service.post(f"/v1/notifications/{one['notification_id']}/resend")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/not-resendable")


async def test_what_no_longer_holds_is_not_sent_again(service, say) -> None:
    """It failed, and the ticket was reopened, or has become one of safety (T3)."""
    await service.hear(say.created(), say.assigned("login"), say.resolved())
    await service.ends(FAILED)
    await service.hear(say.reopened())
    resolution = next(one for one in await service.listed() if one["template"] == "resolution")
    answer = await service.post(f"/v1/notifications/{resolution['notification_id']}/resend")
    assert answer.status_code == 409
    await service.hear(say.restricted())
    response = next(one for one in await service.listed() if one["template"] == "initial_response")
    answer = await service.post(f"/v1/notifications/{response['notification_id']}/resend")
    assert answer.status_code == 409


async def test_what_was_said_of_a_clock_is_not_sent_again_once_it_is_withdrawn(service, say) -> None:
    """A breach that failed and was corrected; a warning says what was then (L10, L13)."""
    breach = say.breached()
    await service.hear(say.created(), say.assigned("login"), say.warned(), breach)
    await service.ends(FAILED)
    await service.hear(say.warned(cycle=2))
    await service.ends(SENT)
    await service.hear(say.corrected(caused_by=breach.id))
    about = [one for one in await service.listed() if one["template"] in ("sla_breached", "sla_warning")]
    assert {(one["template"], one["state"]) for one in about} >= {
        ("sla_breached", "superseded"),
        ("sla_warning", "sent"),
    }
    for one in about:
        assert (await service.post(f"/v1/notifications/{one['notification_id']}/resend")).status_code == 409


async def test_a_page_is_repeated_by_its_incident_alone(service, say) -> None:
    """(S4)"""
    await service.hear(say.paged(roles=["primary"]))
    await service.ends(SENT)
    (page,) = await service.listed()
    assert (await service.post(f"/v1/notifications/{page['notification_id']}/resend")).status_code == 409


async def test_a_range_is_sent_again_after_a_dry_run(service, say) -> None:
    """A mail server refused for an hour: what failed then and still holds goes out, once, however often it is asked for."""
    start = service.now()
    for number in range(5):
        await service.hear(say.created(f"T-{number}"), say.assigned("login", f"T-{number}"))
    await service.hear(say.closed("T-4"))
    await service.ends(FAILED, until=service.now() + timedelta(seconds=1))
    service.now.advance(hours=1)
    await service.hear(say.created("T-9"), say.assigned("login", "T-9"))
    await service.ends(FAILED, ticket_id="T-9")
    body = {
        "state": "failed",
        "audience": "customer",
        "since": start.isoformat(),
        "until": service.now().isoformat(),
    }
    dry = (await service.post("/v1/notifications/resend", body)).json()
    assert dry == {"dry_run": True, "matched": 4, "resent": 4, "already_resent": 0, "refused": {}}
    assert await service.listed(state="queued") == []
    for resent, already in ((4, 0), (0, 4)):
        answer = (await service.post("/v1/notifications/resend", body | {"dry_run": False})).json()
        assert (answer["resent"], answer["already_resent"]) == (resent, already)
    again = await service.listed(state="queued")
    assert {one["ticket_id"] for one in again} == {"T-0", "T-1", "T-2", "T-3"}
    assert {one["decided_by"] for one in again} == {"robin"}


async def test_a_range_sends_once_what_was_sent_again_and_failed_again(service, say) -> None:
    """The first message and the one that repeated it both stand in the range; its reader gets it once (T3)."""
    await service.hear(say.created(), say.assigned("login"))
    await service.ends(FAILED)
    (first,) = await service.listed(audience="customer")
    await service.post(f"/v1/notifications/{first['notification_id']}/resend")
    await service.ends(FAILED)
    service.now.advance(seconds=1)
    body = {
        "state": "failed",
        "audience": "customer",
        "since": "2026-03-01T00:00:00Z",
        "until": service.now().isoformat(),
    }
    for body["dry_run"] in (True, False):
        answer = (await service.post("/v1/notifications/resend", body, idempotency_key="after the outage")).json()
        assert (answer["matched"], answer["resent"], answer["already_resent"]) == (2, 1, 0)
    assert len(await service.listed(audience="customer", state="queued")) == 1


async def test_of_a_range_what_no_longer_holds_is_counted_by_reason(service, say) -> None:
    """(T3)"""
    for number in range(3):
        await service.hear(say.created(f"T-{number}"), say.assigned("login", f"T-{number}"))
    await service.ends(FAILED)
    await service.hear(say.restricted("T-0"), say.closed("T-1"))
    service.now.advance(seconds=1)
    body = {
        "state": "failed",
        "audience": "customer",
        "since": "2026-03-01T00:00:00Z",
        "until": service.now().isoformat(),
    }
    answer = (await service.post("/v1/notifications/resend", body | {"dry_run": False})).json()
    assert (answer["matched"], answer["resent"]) == (3, 1)
    assert answer["refused"] == {"safety_ticket": 1, "ticket_closed": 1}


async def test_a_range_is_bounded_and_ends_before_now(service, say) -> None:
    """So that no slip writes to everybody, and no request meets what it has made."""
    day = {"state": "sent", "since": "2026-03-01T00:00:00Z"}
    ahead = (service.now() + timedelta(seconds=1)).isoformat()
    assert (await service.post("/v1/notifications/resend", day | {"until": ahead})).status_code == 422
    assert (await service.post("/v1/notifications/resend", day)).status_code == 422
    assert (
        await service.post("/v1/notifications/resend", day | {"state": "queued", "until": ahead})
    ).status_code == 422
    for number in range(251):
        await service.hear(say.created(f"T-{number}"), say.assigned("login", f"T-{number}"))
    await service.ends(SENT)
    service.now.advance(seconds=1)
    answer = await service.post("/v1/notifications/resend", day | {"until": service.now().isoformat()})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/until")
    assert await service.listed(state="queued") == []
