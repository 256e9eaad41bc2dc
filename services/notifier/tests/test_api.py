"""The HTTP edge: what became of messages, what waits for a person, and letting it go (T2, T3)."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from notifier.app import SUBSCRIPTIONS, build
from notifier.settings import NotifierSettings
from notifier.store import NotifierUnit
from shared.events.envelope import Received
from shared.messaging.kafka import Kafka
from shared.messaging.unit_of_work import UnitsOfWork
from shared.testing.time import FakeNow

KEYS = [
    {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "scopes": scopes}
    for name, scopes in (("reader", ["notifications:read"]), ("robin", ["notifications:read", "notifications:act"]))
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
        app = build(settings, now=FakeNow(), kafka=Kafka("nobody:9"), bulk=database, urgent=database)
        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app.api), base_url="http://notifier")
        self.units = UnitsOfWork(
            database,
            lambda connection, at: NotifierUnit(connection, at, desk, lambda _: None),
            now=FakeNow(),
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

    async def post(self, path: str, body: Any = None, *, key: str = "robin") -> httpx2.Response:
        return await self.client.post(path, json=body, headers={"authorization": f"Bearer {key}"})

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
    assert (await service.get("/v1/notifications", ticket_id="T-2")).json() == {"notifications": []}


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
    assert (await service.get("/v1/notifications")).status_code == 422
    assert (await service.get("/v1/held", page_token="nothing")).status_code == 422


async def test_the_list_comes_in_pages(service, say) -> None:
    for number in range(205):
        ticket_id = f"T-{number}"
        await service.hear(say.created(ticket_id), say.assigned("privacy_concern", ticket_id))
    first = (await service.get("/v1/held")).json()
    second = (await service.get("/v1/held", page_token=first["next_page_token"])).json()
    assert (len(first["held"]), len(second["held"]), second["next_page_token"]) == (200, 5, None)
    assert len({one["ticket_id"] for one in first["held"] + second["held"]}) == 205
