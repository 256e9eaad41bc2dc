"""The journeys of a sample day: the source document's examples, its IP cases, safety, and what goes wrong on any day."""

from collections.abc import Awaitable, Callable

from deploy.demo.journey import Journey, Unexpected
from shared.events.topics import TICKET
from shared.messaging.kafka import Message

AGENT = {"kind": "agent", "id": "agent-7", "name": "Noor"}
CUSTOMER = {"kind": "customer", "id": "user"}
FAST_LANE = "/v1/safety/events"
Part = Callable[[Journey], Awaitable[None]]
"""One journey; its docstring is the title."""


async def technical_issue(journey: Journey) -> None:
    """Example 1: a standard technical issue, solved at Level 1"""
    await journey.create_ticket(
        subject="No new stories", body="Since this morning story generation does not work.", tier="individual"
    )
    await journey.sees("routing.assigned", team="customer_service", level=1, subcategory="story_generation")
    for milestone in ("initial_response", "resolution", "escalation"):
        await journey.sees("sla.clock_started", milestone=milestone, show=["due_at"])
    await journey.mail("customer-service@storytailor.example", journey.name)
    await journey.mail(journey.customer, journey.name, "Hi Mia")
    await _answer(journey, "Please reset your password, sign in again, and try another story.")
    await journey.sees("sla.met", milestone="initial_response")
    await journey.tell("ticket.resolved", summary="Solved by a password reset.", by=AGENT)
    await journey.sees("sla.met", milestone="resolution")
    await journey.sees("sla.cancelled", milestone="escalation", reason="resolved")
    await journey.mail(journey.customer, "Resolved", "Solved by a password reset.", "Noor")


async def billing_issue(journey: Journey) -> None:
    """Example 2: a payment failure; the clock waits while the customer is asked"""
    await journey.create_ticket(
        subject="Payment failed", body="My payment failed although the card is fine.", tier="premium"
    )
    await journey.sees("routing.assigned", team="customer_service", level=1, subcategory="payment_failure")
    await journey.sees("sla.clock_started", milestone="resolution", show=["due_at"])
    await journey.mail(journey.customer, journey.name)
    await _answer(journey, "Could you update the payment method, please?")
    await journey.tell("ticket.status_changed", status="pending_customer")
    await journey.sees("sla.paused", milestone="resolution")
    await journey.tell("ticket.message_added", author=CUSTOMER, public=True, body="Done, thank you!")
    await journey.sees("sla.resumed", milestone="resolution", show=["due_at"])
    await journey.tell("ticket.resolved", summary="The payment went through with the new card.", by=AGENT)
    await journey.sees("sla.met", milestone="resolution")
    await journey.mail(journey.customer, "Resolved", "The payment went through with the new card.")


async def safety_issue(journey: Journey) -> None:
    """Example 3: the Child Safety Agent detects a crisis; people are paged until one of them takes it"""
    await journey.tell("safety.crisis_detected", FAST_LANE, severity="critical", responses=["crisis_intervention"])
    opened = await journey.sees("safety.incident_opened", severity_working="critical", show=["incident_ref"])
    ref = opened["incident_ref"]
    await journey.sees("safety.page_requested", of=ref, step=0, show=["roles"])
    for person in ("on-call-1", "safety-1", "safety-2"):
        await journey.mail(f"{person}@storytailor.example", ref, "critical")
    await journey.sees("routing.assigned", of=opened["ticket_id"], restricted=True, team="safety", subcategory=None)
    await _acknowledge(journey, ref, ("support", "on-call-1"))


async def missing_attribution(journey: Journey) -> None:
    """IP: an attribution is missing; the text goes out only once it has been added"""
    await _ip_ticket(journey, "missing_attribution")
    await journey.sees("routing.assigned", team="content", level=2, subcategory="missing_attribution")
    await journey.mail(journey.customer, journey.name, "Hi Mia")
    await journey.tell("ticket.resolved", summary="Added.", facts={"attribution_added": True}, by=AGENT)
    await journey.mail(journey.customer, "Missing IP Attribution", "Captain Comet belongs to Comet Studios")


async def false_positive(journey: Journey) -> None:
    """IP: an attribution is wrong"""
    await _ip_ticket(journey, "false_positive")
    await journey.sees("routing.assigned", team="content", level=2, subcategory="false_positive")
    facts = {"attribution_removed": True, "detection_reviewed": True}
    await journey.tell("ticket.resolved", summary="Removed.", facts=facts, by=AGENT)
    await journey.mail(journey.customer, "False Positive IP Detection", "removed the incorrect attribution")


async def rights_holder_claim(journey: Journey) -> None:
    """IP: a rights holder claims; legal has it at once, the full text waits for what it says to be true"""
    await _ip_ticket(journey, "rights_holder_claim")
    await journey.sees("routing.assigned", team="legal", level=3, owning_team="legal")
    await journey.sees("sla.clock_started", milestone="acknowledgement", show=["due_at"])
    await journey.mail("legal@storytailor.example", journey.name)
    await journey.mail(journey.customer, "We have received your message")
    held = await journey.sees("notification.held", template="rights_holder_claim", show=["missing"])
    await journey.tell("ticket.acknowledged", by=AGENT)
    await journey.sees("sla.met", milestone="acknowledgement")
    path = f"/v1/held/{held['notification_id']}/complete"
    await journey.post("notifier", path, {"facts": dict.fromkeys(held["missing"], True)})
    journey.note("POST /v1/held/…/complete", f"200 {', '.join(held['missing'])}")
    await journey.mail(journey.customer, "Rights Holder Claim", "We are not the owners of Captain Comet")


async def ip_question(journey: Journey) -> None:
    """IP: a question about attribution is answered by its text"""
    await _ip_ticket(journey, "user_question")
    await journey.sees("routing.assigned", team="customer_service", level=1, subcategory="user_question")
    await journey.mail(journey.customer, "IP Attribution Question", "Great question!")


async def crisis_in_a_ticket(journey: Journey) -> None:
    """A crisis in a ticket's words: paged at once, screened by the agent, and no automatic mail to the family"""
    await journey.create_ticket(
        subject="Please help", body="My son told the story that he wants to die.", category="content"
    )
    await journey.sees("safety.ticket_flagged", show=["evidence"])
    opened = await journey.sees("safety.incident_opened", severity_working="critical", show=["incident_ref"])
    await journey.mail("on-call-1@storytailor.example", opened["incident_ref"])
    await journey.sees("routing.assigned", team="child_safety_agent", level=0, subcategory="crisis_detection")
    await journey.sees("safety.screening_requested")
    await journey.sees("sla.clock_started", milestone="initial_response", show=["due_at"])
    await journey.sees("notification.suppressed", audience="customer", show=["reason_code"])
    await _acknowledge(journey, opened["incident_ref"], ("support", "on-call-1"))
    await journey.no_mail(journey.customer)


async def mandatory_report(journey: Journey) -> None:
    """A mandatory report: triggered, generated, submitted; support and legal compliance both have to take it"""
    known = {"severity": "high", "responses": ["mandatory_reporting"]}
    await journey.tell("safety.mandatory_report_triggered", FAST_LANE, **known)
    opened = await journey.sees("safety.incident_opened", show=["incident_ref", "classes"])
    ref = opened["incident_ref"]
    for person in ("on-call-1", "legal-compliance-1"):
        await journey.mail(f"{person}@storytailor.example", ref)
    for state in ("generated", "submitted"):
        await journey.tell(f"safety.mandatory_report_{state}", FAST_LANE, **known)
        await journey.sees("safety.incident_updated", of=ref, report=state)
    await _acknowledge(journey, ref, ("support", "on-call-1"), ("legal_compliance", "legal-compliance-1"))


async def family_in_austria(journey: Journey) -> None:
    """A family in Austria: written to in German, by the locale of who asks"""
    await journey.create_ticket(
        subject="Anmeldung geht nicht",
        body="Wir können uns seit gestern nicht mehr anmelden.",
        category="account",
        subcategory="login",
        requester={"id": f"user-{journey.name}", "name": "Resi", "email": journey.customer, "locale": "de-AT"},
    )
    await journey.mail(journey.customer, "Anmeldung", "Hallo Resi,")
    await journey.tell("ticket.escalation_requested", criterion="needs_advanced_knowledge", by=AGENT)
    await journey.mail(journey.customer, "Weitergeleitet", "an unser Technik-Team")
    await journey.tell("ticket.resolved", summary="Das neue Passwort gilt jetzt.", by=AGENT)
    await journey.mail(journey.customer, "Gelöst", "Das neue Passwort gilt jetzt.")


async def duplicate(journey: Journey) -> None:
    """A duplicate: upstream posts twice, and everything happens once"""
    for again in (False, True):
        await journey.create_ticket(subject="Refund", body="I would like my money back, please.", again=again)
    await journey.sees("routing.assigned", subcategory="refund_request")
    await journey.mail(journey.customer, journey.name)
    facts = [seen.fact for seen in journey.system.records(lambda one: one.concerns(journey.name))]
    for fact in ("ticket.created", "routing.assigned"):
        if facts.count(fact) != 1:
            raise Unexpected(f"{facts.count(fact)} times {fact}")
        journey.note("all topics", f"one {fact}")


async def poison(journey: Journey) -> None:
    """A poison message: set aside with its reason by every reader; what comes behind it goes on"""
    publisher = journey.system.kafka.publisher()
    await publisher.publish([Message(TICKET.name, journey.name.encode(), [("ce_id", b"broken")], b"{not json")])
    await publisher.stop()
    journey.note(TICKET.name, "a record nobody can read")
    for group in TICKET.consumers:
        await journey.sees_dead_letter(TICKET.dead_letters(group), "invalid_json")
    await journey.create_ticket(subject="Forgot my password", body="Please reset my password.")
    await journey.sees("routing.assigned", subcategory="password_reset")
    for service in journey.system.installation.services:
        await journey.get(service, "/readyz")
    journey.note("GET /readyz", "200 from every service")


DAY: tuple[Part, ...] = (
    technical_issue,
    billing_issue,
    safety_issue,
    missing_attribution,
    false_positive,
    rights_holder_claim,
    ip_question,
    crisis_in_a_ticket,
    mandatory_report,
    family_in_austria,
    duplicate,
    poison,
)


async def _answer(journey: Journey, words: str) -> None:
    await journey.tell("ticket.message_added", author=AGENT, public=True, body=words)


async def _ip_ticket(journey: Journey, subcategory: str) -> None:
    await journey.create_ticket(
        subject="About Captain Comet",
        body="In our story there is Captain Comet.",
        tier="family",
        category="ip_attribution",
        subcategory=subcategory,
        ip={"id": f"ip-{journey.name}", "character": "Captain Comet", "owner": "Comet Studios"},
    )


async def _acknowledge(journey: Journey, ref: str, *people: tuple[str, str]) -> None:
    """Each of them takes the incident in a role; after the last one it counts as acknowledged and paging has ended."""
    for role, person in people:
        epoch = (await journey.get("safety-bridge", f"/v1/incidents/{ref}"))["epoch"]
        actor = {"id": person, "role": role}
        await journey.post("safety-bridge", f"/v1/incidents/{ref}/acknowledge", {"epoch": epoch, "actor": actor})
        await journey.sees("safety.incident_acknowledged", of=ref, actor_role=role)
    incident = await journey.get("safety-bridge", f"/v1/incidents/{ref}")
    if incident["tracks"]["handling"] != "acknowledged" or incident["next_page_at"] is not None:
        raise Unexpected(f"the incident stands at {incident['tracks']}, next page {incident['next_page_at']}")
    journey.note(f"GET /v1/incidents/{ref}", "handling=acknowledged next_page_at=None")
