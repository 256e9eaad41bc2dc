"""The HTTP edge of quality, through the wired service."""

from typing import Any

import pytest

Service = Any
SUMMARY = "/v1/metrics/summary"


async def test_the_summary_says_over_what_it_sums(service: Service) -> None:
    """By default over the last 30 days, in all and by tier, category, team and period (Q2, Q3)."""
    answer = await service.get(SUMMARY)
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["starts_at"], shown["ends_at"]) == ("2026-02-01T15:00:00.000000Z", "2026-03-03T15:00:00.000000Z")
    assert shown["zone"] == "America/New_York"
    assert shown["all"]["escalation"] == {"created": 0, "raised": 0, "rate": None, "entered_above": 0, "handed_over": 0}
    assert set(shown["all"]) == {"response", "resolution", "escalation", "satisfaction", "first_contact"}
    assert {"tiers", "categories", "teams", "periods", "levels", "oldest_unanswered"} < set(shown)


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-03-01",
        "from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z",
        "from=2024-01-01T00:00:00Z&to=2026-01-01T00:00:00Z",
        "to=0001-01-01T00:00:00Z&from=9999-01-01T00:00:00Z",
        "tier=gold",
        "category=weather",
        "team=No+Team",
        "period=hour",
    ],
)
async def test_what_means_nothing_is_refused(service: Service, query: str) -> None:
    answer = await service.get(f"{SUMMARY}?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


async def test_the_first_instant_is_no_bug(service: Service) -> None:
    assert (await service.get(f"{SUMMARY}?to=0001-01-01T00:00:00Z")).status_code == 200


@pytest.mark.parametrize(("key", "status"), [("nobody", 401), ("writer", 403)])
async def test_a_key_with_the_scope_is_needed(service: Service, key: str, status: int) -> None:
    """`tickets:read`."""
    assert (await service.get(SUMMARY, key=key)).status_code == status
