"""How well a ticket was served, through the whole system: its assessment and the figures that it is part of (Q)."""

from journeys.system import System, event

AGENT = {"kind": "agent", "id": "a-1", "name": "Sam"}


async def test_a_ticket_that_was_served_well(system: System) -> None:
    """Answered in time, resolved, documented and rated: all five checks pass in the end (Q1), and it is counted (Q2, Q3)."""
    await system.post(
        event("created", "Q-1", "Q-1-1", tier="family", category="billing", subcategory="payment_failure")
    )
    await system.post(event("message_added", "Q-1", "Q-1-2", author=AGENT, public=True))
    await system.post(event("resolved", "Q-1", "Q-1-3", summary="Paid.", documentation=True, by=AGENT))
    await system.post(event("rated", "Q-1", "Q-1-4", score=5))
    told = await system.read_until(
        "support.sla.v1",
        lambda seen: any(
            one.key == "Q-1"
            and one.fact == "quality.assessed"
            and {check["verdict"] for check in one.data["checks"]} == {"pass"}
            for one in seen
        ),
    )
    versions = [one.data["version"] for one in told if one.key == "Q-1" and one.fact == "quality.assessed"]
    assert sorted(set(versions)) == list(range(1, max(versions) + 1))
    figures = (await system.ask("sla-monitor", "/v1/metrics/summary"))["tiers"]["family"]
    assert (figures["response"]["answered"], figures["resolution"]["resolved"]) == (1, 1)
    assert figures["first_contact"]["provisional"] == 1
    assert figures["satisfaction"]["mean"] == 5.0
