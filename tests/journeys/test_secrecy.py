"""What a reader of general topics can tell of a safety matter: that there is one. And that a drill is nothing but a drill."""

import asyncio
from datetime import datetime
from typing import Any

from console.drill import Drill
from console.settings import Installation
from journeys.system import System, by_ticket, first_occurrences
from shared.testing.topic import Seen

GENERAL = ("support.ticket.v1", "support.routing.v1", "support.sla.v1", "support.notification.v1")
TYPES = (
    ("crisis_detected", "critical"),
    ("mandatory_report_triggered", "high"),
    ("mandatory_report_triggered", "critical"),
    ("moderation_concern", "high"),
    ("privacy_concern", "medium"),
    ("coppa_concern", "medium"),
)
SAME_BUCKET_SECONDS = 15.0
"""Slack for a busy machine; a class that had a wait of its own (its clock, its paging steps) would need minutes."""


async def signal(system: System, event_id: str, kind: str, **data: Any) -> None:
    async with system.client() as client:
        answer = await client.post(
            system.stack.url("intake") + "/v1/safety/events",
            json={
                "specversion": "1.0",
                "id": event_id,
                "source": "/child-safety-agent",
                "type": f"com.storytailor.safety.{kind}.v1",
                "data": {"agent_incident_id": event_id} | data,
            },
        )
        assert answer.status_code == 202


async def incident(system: System, agent_incident_id: str, mode: str = "live") -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            answer = await system.ask("safety-bridge", f"/v1/incidents?agent_incident_id={agent_incident_id}")
            found: list[dict[str, Any]] = [one for one in answer["incidents"] if one["mode"] == mode]
            if found:
                return found[0]
            await asyncio.sleep(0.2)


def shape(record: Seen) -> tuple[Any, ...]:
    """All that a record shows beside what is drawn at random: its fields, and how long everything in it is."""
    fields = tuple(sorted((name, type(value).__name__, len(str(value))) for name, value in record.data.items()))
    headers = tuple(sorted((name, len(value)) for name, value in record.headers.items()))
    return (record.fact, fields, headers, len(record.value))


async def test_a_mandatory_report_looks_like_every_other_safety_matter_on_general_topics(system: System) -> None:
    """Invariant 32, SN-40: same records with the same fields, of the same sizes, at the same times after the signal, from
    the bridge through router, sla-monitor and notifier; no two incidents of one account show it either (36)."""
    restricted: dict[str, dict[str, Any]] = {}
    for number, (kind, severity) in enumerate(TYPES):
        await signal(system, f"INV-{number}", kind, severity=severity, account_ref="account-canary")
        found = await incident(system, f"INV-{number}")
        restricted[found["ticket_id"]] = found

    def told_of_all(seen: list[Seen]) -> bool:
        return restricted.keys() <= {one.key for one in seen if one.fact == "notification.sent"}

    await system.read_until("support.notification.v1", told_of_all)
    seen = [record for topic in GENERAL for record in await system.read(topic)]
    told = by_ticket(record for record in seen if record.key in restricted)
    shapes = {ticket_id: sorted(map(shape, records), key=repr) for ticket_id, records in told.items()}
    report = next(one for one, found in restricted.items() if found["classes"] == ["mandatory_report"])
    for ticket_id, found in restricted.items():
        assert shapes[ticket_id] == shapes[report], found["classes"]
        assert {record.fact for record in told[ticket_id]} >= {
            "ticket.created",
            "ticket.restricted",
            "routing.assigned",
        }
        opened = found["opened_at"]
        assert {record.data["ticket_id"] for record in told[ticket_id]} == {ticket_id}
        assert all(_after(opened, record.headers["ce_time"]) < SAME_BUCKET_SECONDS for record in told[ticket_id])
    everything = b"".join(one.value + repr(one.headers).encode() for records in told.values() for one in records)
    for word in (
        b"canary",
        b"report",
        b"crisis",
        b"INV-",
        *(found["incident_ref"].encode() for found in restricted.values()),
    ):
        assert word not in everything
    pages = [one for one in first_occurrences(seen) if one.data.get("template") == "page"]
    assert len({shape(page)[1:] for page in pages if page.fact == "notification.sent"}) == 1


def _after(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


async def test_no_customer_mail_goes_out_for_a_restricted_ticket(system: System) -> None:
    """Invariant 35, SN-40: the team alone hears of it, and reads neither class nor incident."""
    await signal(system, "MAIL-1", "mandatory_report_triggered", severity="critical")
    found = await incident(system, "MAIL-1")
    await system.read_until(
        "support.notification.v1",
        lambda seen: any(one.key == found["ticket_id"] and one.fact == "notification.sent" for one in seen),
    )
    told = [one.data for one in await system.read("support.notification.v1") if one.key == found["ticket_id"]]
    states = {(one["audience"], one["reason_code"]) for one in told if one["audience"] == "customer"}
    assert states == {("customer", "safety_ticket")}
    mails = [mail for mail in await system.mails() if found["ticket_id"] in mail["text"]]
    assert {address for mail in mails for address in mail["to"]} == {"safety@storytailor.example"}
    assert not [mail for mail in mails for word in ("report", "critical", found["incident_ref"]) if word in str(mail)]


async def test_a_drill_reaches_people_and_nothing_else(system: System) -> None:
    """SN-41, invariant 37: pages begin with DRILL; no ticket, no general record, no guardian; live of the same id is its own."""
    installation = Installation(
        kafka=system.engines.kafka_address,
        topic_prefix=system.topic_prefix,
        api_key=system.stack.api_key,
        services={process.name: process.url for process in system.stack.processes},
    )
    told = await asyncio.to_thread(
        lambda: list(Drill(installation, within_seconds=60).run(acknowledge_as="on-call-1", role="primary"))
    )
    reference = told[1].split()[0]
    shown = await system.ask("safety-bridge", f"/v1/incidents/{reference}")
    assert (shown["mode"], shown["ticket_id"], shown["tracks"]["guardian"]) == ("drill", None, "none")
    mails = [mail for mail in await system.mails() if reference in mail["subject"]]
    assert mails
    assert all(mail["subject"].startswith("DRILL ") and mail["text"].startswith("DRILL") for mail in mails)
    for topic in GENERAL[:3]:
        assert not [one for one in await system.read(topic) if reference in one.value.decode()]
    agent_incident_id = shown["agent_incident_id"]
    await signal(
        system, f"{agent_incident_id}-live", "crisis_detected", agent_incident_id=agent_incident_id, mode="live"
    )
    live = await incident(system, agent_incident_id)
    assert live["incident_ref"] != reference
    assert (await incident(system, agent_incident_id, "drill"))["incident_ref"] == reference
    await system.read_until(
        "support.notification.v1",
        lambda seen: any(one.key == live["incident_ref"] and one.fact == "notification.sent" for one in seen),
    )
    pages = [mail for mail in await system.mails() if live["incident_ref"] in mail["subject"]]
    assert not [mail for mail in pages if "drill" in f"{mail['subject']} {mail['text']}".lower()]
