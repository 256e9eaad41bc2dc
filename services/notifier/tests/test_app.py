"""The whole service on real engines and a real SMTP server: from its topics to mails, and back to its own topic."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.policy import default
from importlib.resources import files
from pathlib import Path

import httpx2
import pytest

from notifier.app import GROUP, SUBSCRIPTIONS, URGENT_GROUP, build
from notifier.settings import NotifierSettings
from shared.events.envelope import Received
from shared.events.safety import SafetyPageRequested
from shared.events.topics import NOTIFICATION, SAFETY, TOPIC_OF, TOPICS
from shared.messaging.kafka import Kafka
from shared.runtime.database import Database
from shared.runtime.now import machine_now
from shared.testing.builders import headers_of
from shared.testing.topic import producer, wait_for_records


def test_every_event_that_is_handled_comes_from_a_topic_that_names_the_group() -> None:
    for event_class in SUBSCRIPTIONS:
        assert {GROUP, URGENT_GROUP} & set(TOPIC_OF[event_class.wire_type].consumers)
    assert [topic.name for topic in TOPICS if GROUP in topic.consumers] == [
        "support.ticket.v1",
        "support.routing.v1",
        "support.sla.v1",
    ]


def test_two_processes_of_one_lane_each_do_what_one_process_of_both_does(directory_file: Path) -> None:
    """S6: the lanes share nothing but the look at the directory file."""
    settings = settings_for(25, directory_file, "nobody:9", "postgresql://nobody/x")

    def parts(lane: str | None) -> list[str]:
        database = Database("postgresql://nobody/x", schema="notifier")
        of_lane = settings.model_copy(update={"lane": lane})
        app = build(of_lane, now=machine_now, kafka=Kafka("nobody:9"), bulk=database, urgent=database)
        return sorted(part.name for part in app.parts)

    assert sorted([*parts("urgent"), *parts("bulk")]) == sorted([*parts(None), "directory"])
    assert not [name for name in parts("urgent") if "bulk" in name]


@asynccontextmanager
async def running(settings: NotifierSettings, database_url: str, kafka: Kafka) -> AsyncIterator[None]:
    """The service at work, as `main` runs it, until the test is done."""
    await kafka.create_topics()
    databases = [Database(database_url, schema="notifier") for _ in range(2)]
    app = build(settings, now=machine_now, kafka=kafka, bulk=databases[0], urgent=databases[1])
    tasks = [asyncio.create_task(part.run()) for part in app.parts]
    try:
        yield
    finally:
        for part in app.parts:
            await part.stop()
        await asyncio.gather(*tasks)
        for database in databases:
            await database.close()


def settings_for(smtp_port: int, directory_file: Path, kafka_address: str, database_url: str) -> NotifierSettings:
    return NotifierSettings.model_validate(
        {
            "kafka_bootstrap_servers": kafka_address,
            "database_url": database_url,
            "directory_file": directory_file,
            "smtp_url": f"smtp://127.0.0.1:{smtp_port}",
            "mail_from": "Storytailor Support <support@storytailor.example>",
        }
    )


async def test_from_the_topics_to_mails_and_what_became_of_them(
    room, smtp_port, say, directory_file, kafka_address: str, topic_prefix: str, database_url: str
) -> None:
    """A ticket to its customer (in German, in two parts) and team, a page to everybody on duty; each told on its topic."""
    kafka = Kafka(kafka_address, topic_prefix=topic_prefix)
    settings = settings_for(smtp_port, directory_file, kafka_address, database_url)
    async with running(settings, database_url, kafka), producer(kafka_address) as upstream:

        async def publish(message: Received, data: dict) -> None:
            wire_type = message.event.wire_type
            topic = topic_prefix + TOPIC_OF[wire_type].name
            headers = headers_of(wire_type, message.id, at=machine_now())
            await upstream.send_and_wait(topic, json.dumps(data).encode(), message.event.key.encode(), headers=headers)

        requester = {"id": "u-1", "name": "Ada", "email": "ada@example.com", "locale": "de-AT"}
        for message in (say.created(requester=requester), say.assigned("login"), say.paged()):
            await publish(message, message.event.model_dump(mode="json"))
        async with asyncio.timeout(60):
            arrived = [await room.arrivals.get() for _ in range(4)]
        told = await wait_for_records(kafka_address, topic_prefix + NOTIFICATION.name, lambda seen: len(seen) >= 8)
    mails = [message_from_bytes(envelope.content, policy=default) for envelope in arrived]
    assert sorted((mail["To"], mail["Subject"]) for mail in mails) == [
        ("ada@example.com", "Re: [Ticket #T-1] Anmeldung"),
        ("customer_service@staff.example", "[Ticket #T-1] A ticket is with your team"),
        ("pat@staff.example", "[SI-0A1B2C3D] Action needed now"),
        ("sam@staff.example", "[SI-0A1B2C3D] Action needed now"),
    ]
    (to_customer,) = [mail for mail in mails if mail["To"] == "ada@example.com"]
    assert to_customer["Content-Language"] == "de"
    for part in ("plain", "html"):
        assert "Hallo Ada," in to_customer.get_body((part,)).get_content()
    assert sorted(one.fact for one in told) == ["notification.queued"] * 4 + ["notification.sent"] * 4
    assert {one.key for one in told} == {"T-1", "SI-0A1B2C3D"}


async def test_a_text_that_cannot_be_sent_keeps_the_service_from_being_ready(directory_file, tmp_path: Path) -> None:
    """Named with its language, edition and the fixture (SN-27); pages go out meanwhile, so the process runs (S6)."""
    policy = tmp_path / "policy.yaml"
    shipped = (files("shared.policy") / "policy.yaml").read_text()
    policy.write_text(shipped.replace("issue_type: Login", 'issue_type: " "'))
    settings = settings_for(9, directory_file, "nobody:9", "postgresql://nobody")
    settings = NotifierSettings.model_validate(settings.model_dump() | {"policy_file": policy})
    nowhere = Database("postgresql://nobody", schema="notifier")
    app = build(settings, now=machine_now, kafka=Kafka("nobody:9"), bulk=nowhere, urgent=nowhere)
    app.api.state.started = True
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app.api), base_url="http://notifier") as client:
        answer = await client.get("/readyz")
    failing = answer.json()["failing"]["texts"]
    assert answer.status_code == 503
    assert failing.startswith("initial_response (en) of edition ")
    assert failing.endswith(", first_routed login, named: UndefinedError: 'issue_type' is undefined")


def test_a_default_language_without_texts_stops_the_start(directory_file) -> None:
    settings = settings_for(9, directory_file, "nobody:9", "postgresql://nobody")
    settings = NotifierSettings.model_validate(settings.model_dump() | {"default_language": "tlh"})
    nowhere = Database("postgresql://nobody", schema="notifier")
    with pytest.raises(ValueError, match="SUPPORT_DEFAULT_LANGUAGE: there are texts in de, en, es, fr"):
        build(settings, now=machine_now, kafka=Kafka("nobody:9"), bulk=nowhere, urgent=nowhere)


async def test_what_cannot_be_read_on_the_urgent_lane_reaches_its_dead_letter_topic(
    directory_file, kafka_address: str, topic_prefix: str, database_url: str
) -> None:
    """Each lane of the outbox has its relay (S6)."""
    kafka = Kafka(kafka_address, topic_prefix=topic_prefix)
    settings = settings_for(9, directory_file, kafka_address, database_url)
    async with running(settings, database_url, kafka), producer(kafka_address) as upstream:
        headers = headers_of(SafetyPageRequested.wire_type, "p-1", at=machine_now())
        await upstream.send_and_wait(topic_prefix + SAFETY.name, b"{", b"SI-0A1B2C3D", headers=headers)
        dead = f"{topic_prefix}{SAFETY.name}.{URGENT_GROUP}.dlq"
        [letter] = await wait_for_records(kafka_address, dead, lambda seen: len(seen) >= 1)
    assert letter.key == "SI-0A1B2C3D"
