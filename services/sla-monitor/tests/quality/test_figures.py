"""The figures over many tickets, on a real database; times are those of the acceptance scenarios."""

import random
from collections.abc import Awaitable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from math import ceil
from typing import Any

import pytest

from shared.errors import TransientFailure
from shared.events.ticket import TicketCreated
from sla_monitor.domain.quality import Figure
from sla_monitor.quality.handlers import on_ticket_created
from sla_monitor.quality.store import Lengths, Period
from sla_monitor.quality.timers import LEVEL_RATIO, RATIO, RESPONSE, TICKETS, tell_figures

Books = Any
MINUTE = 60.0
CREATED = datetime.fromisoformat("2026-03-03T09:00:00+00:00")


def after(**length: float) -> datetime:
    return CREATED + timedelta(**length)


async def test_response_times_in_mean_median_and_nearest_rank(books: Books) -> None:
    """HD-69: who waits unanswered is told beside, never dropped (Q2)."""
    for minutes in (5, 10, 15, 20, 600):
        books.created(CREATED, f"T-{minutes}").replied(after(minutes=minutes), f"T-{minutes}")
    books.created(CREATED, "waiting")
    books.now.set(after(minutes=900))
    await books.write()
    summary = await books.sums()
    response = summary.all.response
    assert response.answered == 5
    assert response.elapsed == Lengths(5, 130 * MINUTE, 15 * MINUTE, 600 * MINUTE)
    assert response.business.p90_seconds == 7 * 60 * MINUTE
    assert (response.unanswered, response.oldest_age_seconds) == (1, 900 * MINUTE)
    (waiting,) = summary.oldest_unanswered
    assert (waiting.ticket_id, waiting.elapsed_seconds, waiting.business_seconds) == (
        "waiting",
        900 * MINUTE,
        7 * 60 * MINUTE,
    )


async def test_what_is_resolved_or_withdrawn_without_an_answer_does_not_wait(books: Books) -> None:
    """(L12, Q2)"""
    books.created(CREATED, "A").resolved(after(hours=1), "A")
    books.created(CREATED, "B").closed(after(hours=1), "B", reason="withdrawn")
    await books.write()
    summary = await books.sums()
    assert (summary.all.response.unanswered, summary.all.response.resolved_unanswered) == (0, 1)
    assert summary.all.resolution.resolved == 1
    assert summary.oldest_unanswered == []


async def test_a_reopened_ticket_moves_to_the_week_of_its_last_resolution(books: Books) -> None:
    """HD-70: one entry, in the week that is restated (Q2)."""
    books.created("2026-03-02 10:00").resolved("2026-03-03 10:00")
    await books.write()
    assert (await books.sums("2026-03-02", "2026-03-09")).all.resolution.resolved == 1
    books.reopened("2026-03-05 10:00").resolved("2026-03-11 10:00")
    await books.write()
    resolution = (await books.sums()).all.resolution
    assert (resolution.resolved, resolution.reopened) == (1, 1)
    assert resolution.elapsed.mean_seconds == timedelta(days=7).total_seconds()
    assert (await books.sums("2026-03-02", "2026-03-09")).all.resolution.resolved == 0
    assert (await books.sums("2026-03-09", "2026-03-16")).all.resolution.resolved == 1


async def test_the_first_contact_is_final_after_three_business_days(books: Books) -> None:
    """HD-71: answered once and resolved on Tuesday at noon: final on Friday at noon (Q3)."""
    books.created(CREATED).routed(CREATED).replied(after(hours=1)).resolved(after(hours=2))
    await books.write()
    for length, expected in (
        (timedelta(days=3, hours=2) - timedelta(microseconds=1), (0, 1, 0, None)),
        (timedelta(days=3, hours=2), (1, 0, 0, 1.0)),
    ):
        books.now.set(CREATED + length)
        contact = (await books.sums()).all.first_contact
        assert (contact.final, contact.provisional, contact.no, contact.rate) == expected


@pytest.mark.parametrize("spoilt_by", ["reopening", "two answers", "no answer", "another ticket"])
async def test_the_first_contact_is_not_enough(books: Books, spoilt_by: str) -> None:
    """HD-71: reopened on day 2: no. Nor with another number of answers, nor when the same trouble comes back (Q3)."""
    books.created(CREATED, requester="u-1").routed(CREATED).resolved(after(hours=2))
    if spoilt_by != "no answer":
        books.replied(after(hours=1))
    if spoilt_by == "two answers":
        books.replied(after(minutes=90))
    if spoilt_by == "another ticket":
        books.created(after(days=2), "T-2", requester="u-1").routed(after(days=2), "T-2")
    if spoilt_by == "reopening":
        books.reopened(after(days=2)).resolved(after(days=2, hours=1))
    books.now.set(after(days=10))
    await books.write()
    contact = (await books.sums()).all.first_contact
    assert (contact.final, contact.provisional, contact.no, contact.rate) == (0, 0, 1, 0.0)


@pytest.mark.parametrize("other", ["of another requester", "of another category", "later", "merged into it"])
async def test_another_ticket_may_be_another_matter(books: Books, other: str) -> None:
    """(Q3)"""
    books.created(CREATED, requester="u-1").routed(CREATED).replied(after(hours=1)).resolved(after(hours=2))
    at = after(days=6) if other == "later" else after(days=1)
    books.created(at, "T-2", requester="u-2" if other == "of another requester" else "u-1")
    books.routed(at, "T-2", **({"category": "billing", "subcategory": None} if other == "of another category" else {}))
    if other == "merged into it":
        books.closed(after(days=1, hours=1), "T-2", reason="merged", into="T-1")
    books.now.set(after(days=10))
    await books.write()
    assert (await books.sums()).all.first_contact.final == 1


async def test_escalation_rates_count_tickets_by_the_level_that_they_entered(books: Books) -> None:
    """HD-72: 100 entered Level 1, 20 went to 2, 5 of those to 3, one twice to 2; hand-overs by policy are apart (Q3)."""
    for number in range(100):
        ticket = f"T-{number}"
        books.created(CREATED, ticket).routed(CREATED, ticket)
        if number < 20:
            books.moved(after(hours=1), ticket, number=2, levels=(1, 2), criterion="needs_advanced_knowledge")
        if number < 5:
            books.moved(after(hours=2), ticket, number=3, levels=(2, 3), criterion="needs_code_fix")
    books.moved(after(hours=2), "T-19", number=3, levels=(2, 1))
    books.moved(after(hours=3), "T-19", number=4, levels=(1, 2), criterion="needs_advanced_knowledge")
    claim = {"category": "ip_attribution", "subcategory": "rights_holder_claim", "team": "legal"}
    books.created(CREATED, "claim").routed(CREATED, "claim", level=3, **claim)
    books.moved(after(hours=2), "T-50", number=2, levels=(1, 3), criterion="dmca_takedown", **claim)
    await books.write()
    summary = await books.sums()
    assert {(one.category, int(one.level)): (one.entered, one.raised, one.rate) for one in summary.levels} == {
        ("technical", 1): (100, 20, 0.20),
        ("technical", 2): (20, 5, 0.25),
        ("technical", 3): (5, 0, 0.0),
        ("ip_attribution", 3): (2, 0, 0.0),
    }
    escalation = summary.all.escalation
    assert (escalation.created, escalation.raised, escalation.rate) == (101, 20, 20 / 101)
    assert (escalation.entered_above, escalation.handed_over) == (1, 1)


async def test_satisfaction_takes_the_last_rating_of_each_resolution(books: Books) -> None:
    """HD-73: two answers for one resolution: the last wins; one of four answered; safety tickets are not asked (Q3)."""
    for ticket in ("A", "B", "C"):
        books.created(CREATED, ticket).resolved(after(hours=1), ticket)
    books.rated(after(hours=2), 5, "A").rated(after(hours=3), 2, "A")
    books.reopened(after(days=1), "A").resolved(after(days=2), "A")
    books.created(CREATED, "S").routed(CREATED, "S", category="safety", subcategory=None, team="safety")
    books.resolved(after(hours=1), "S").rated(after(hours=2), 1, "S")
    await books.write()
    given = (await books.sums()).all.satisfaction
    assert (given.resolutions, given.rated, given.response_rate) == (4, 1, 0.25)
    assert (given.satisfied_share, given.mean) == (0.0, 2.0)
    books.rated(after(days=3), 4, "A")
    await books.write()
    given = (await books.sums()).all.satisfaction
    assert (given.response_rate, given.satisfied_share, given.mean) == (0.5, 0.5, 3.0)


async def test_a_late_answer_restates_the_figures(books: Books) -> None:
    """HD-65: told at 11:20 that it was given at 10:50."""
    books.created("2026-03-03 10:00").replied("2026-03-03 11:10")
    await books.write()
    assert (await books.sums()).all.response.elapsed.mean_seconds == 70 * MINUTE
    books.replied("2026-03-03 10:50")
    await books.write()
    assert (await books.sums()).all.response.elapsed.mean_seconds == 50 * MINUTE


async def test_merged_tickets_count_once_whichever_is_heard_of_first(books: Books) -> None:
    """HD-29, HD-30: over batches, in both orders, and when the merge turns out to have been another one."""
    for ticket in "ABC":
        books.created("2026-03-03 10:00", ticket)
    books.closed("2026-03-03 11:00", "B", reason="merged", into="A")
    await books.write()
    books.replied("2026-03-03 10:30", "B")
    await books.write()
    summary = await books.sums()
    assert (summary.all.escalation.created, summary.all.response.elapsed.mean_seconds) == (2, 30 * MINUTE)
    assert [one.ticket_id for one in summary.oldest_unanswered] == ["C"]
    books.closed("2026-03-03 10:45", "B", reason="merged", into="C")
    await books.write()
    assert [one.ticket_id for one in (await books.sums()).oldest_unanswered] == ["A"]


async def test_a_merge_that_another_replica_writes_meanwhile_is_noticed(books: Books) -> None:
    """The loser of the race does its work again, with what the winner wrote."""
    books.closed("2026-03-03 11:00", "B", reason="merged", into="A").created("2026-03-03 10:00", "A")
    merged, created = books.messages
    books.messages.clear()

    async def create(*, meanwhile: Awaitable[None] | None = None) -> None:
        async with books.units.begin() as unit:
            await unit.load([created])
            if meanwhile is not None:
                await meanwhile
            on_ticket_created(created, unit)

    with pytest.raises(TransientFailure):
        await create(meanwhile=books.write([merged]))
    await create()
    assert (await books.sums()).all.escalation.created == 1


async def test_restricted_tickets_leave_the_figures(books: Books) -> None:
    """(Q3, S9)"""
    books.created(CREATED).routed(CREATED).resolved(after(hours=1))
    await books.write()
    books.routed(after(hours=2), number=2, restricted=True)
    await books.write()
    summary = await books.sums()
    assert (summary.all.escalation.created, summary.all.resolution.resolved, summary.levels) == (0, 0, [])
    assert await books.rows("select from quality_figure") == []


async def test_figures_are_told_by_tier_category_team_and_period_and_for_one_of_each(books: Books) -> None:
    """(Q2)"""
    books.created("2026-03-02 23:30+00:00", "A", tier="premium").routed(CREATED, "A").replied(CREATED, "A")
    books.created(CREATED, "B", tier="free").routed(CREATED, "B", category="billing", subcategory=None, team="finance")
    books.created(CREATED, "C")
    await books.write()
    summary = await books.sums(period=Period.DAY)
    counts = [{key: one.escalation.created for key, one in groups.items()} for groups in
              (summary.tiers, summary.categories, summary.teams)]  # fmt: skip
    assert counts == [
        {"premium": 1, "free": 2},
        {"technical": 1, "billing": 1, "none": 1},
        {"customer_service": 1, "finance": 1, "none": 1},
    ]
    assert sum(one.figures.escalation.created for one in summary.periods) == 3
    assert len(summary.periods) == 2
    assert summary.zone == "America/New_York"
    assert summary.periods[0].starts_at.isoformat() == "2026-03-02T05:00:00+00:00"
    for chosen in ({"tier": "premium"}, {"category": "technical"}, {"team": "customer_service"}):
        assert (await books.sums(**chosen)).all.escalation.created == 1


async def test_the_series_tell_the_last_thirty_days(books: Books) -> None:
    """Labels are closed vocabularies; what has no value has no series."""
    books.created(CREATED, tier="premium").routed(CREATED).replied(after(minutes=5))
    books.created(after(days=-40), "old")
    await books.write()
    await tell_figures(books.summaries, lambda: after(days=1))
    assert RESPONSE.labels("tier", "premium", "elapsed", "p90")._value.get() == 300
    assert TICKETS.labels("all", "", "created")._value.get() == 1
    assert LEVEL_RATIO.labels("technical", "1")._value.get() == 0.0
    labels = {tuple(sample.labels.values()) for metric in RATIO.collect() for sample in metric.samples}
    assert ("all", "", "escalation") in labels
    assert ("all", "", "first_contact") not in labels


def some_log(books: Books, seed: int, tickets: int) -> None:
    """A plausible month of tickets, with merges, rises, ratings and reopenings."""
    chance = random.Random(seed)
    for number in range(tickets):
        ticket = f"T-{number}"
        at = CREATED + timedelta(minutes=chance.randrange(20_000))
        books.created(at, ticket, requester=f"u-{chance.randrange(tickets)}", tier=chance.choice(["free", "premium"]))
        category = chance.choice([{}, {"category": "billing", "subcategory": None, "team": "finance"}])
        books.routed(at, ticket, **category)
        for _ in range(chance.randrange(6)):
            at += timedelta(minutes=chance.randrange(1, 4000))
            match chance.randrange(9):
                case 0 | 1 | 2:
                    books.replied(at, ticket)
                case 3 | 4:
                    books.resolved(at, ticket)
                case 5:
                    books.wrote(at, ticket)
                case 6:
                    books.waits(at, ticket)
                case 7:
                    books.rated(at, chance.randint(1, 5), ticket)
                case 8:
                    into = f"T-{chance.randrange(tickets)}"
                    books.closed(at, ticket, reason="merged", into=into)
        if chance.random() < 0.3:
            books.moved(at, ticket, number=2, levels=(1, 2), criterion="needs_advanced_knowledge", **category)


@pytest.mark.parametrize("seed", range(3))
async def test_the_streamed_figures_equal_a_batch_recomputation(books: Books, seed: int) -> None:
    """HD-74: the log in pieces, in another order and partly twice, against the same log in order into empty tables (Q4)."""
    some_log(books, seed, tickets=60)
    log = sorted(books.messages, key=lambda message: message.occurred_at)
    books.messages.clear()
    books.now.set(after(days=30))
    for prefix in (log[: len(log) // 2], log):
        await books.write_in_pieces(prefix, seed)
        streamed = await books.sums("2026-01-01", "2026-12-01", period=Period.WEEK)
        await books.forget()
        await books.write(prefix)
        assert asdict(await books.sums("2026-01-01", "2026-12-01", period=Period.WEEK)) == asdict(streamed)
        naive = await naive_figures(books)
        assert streamed.all.response.elapsed == naive["response"]
        assert streamed.all.resolution.business == naive["resolution"]
        assert streamed.all.escalation.created == naive["created"] < len({m.event.ticket_id for m in log})
        await books.forget()


async def naive_figures(books: Books) -> dict[str, Any]:
    """The same from the rows by hand, without a database's aggregates."""
    rows = await books.rows("select * from quality_figure")
    assert set(rows[0].keys()) == set(Figure.__dataclass_fields__)
    return {
        "created": len(rows),
        "response": lengths([row["response_elapsed"] for row in rows if row["answered_at"]]),
        "resolution": lengths([row["resolution_business"] for row in rows if row["resolved_at"]]),
    }


def lengths(micros: Sequence[int]) -> Lengths:
    ranked = sorted(micros)
    median, p90 = (ranked[ceil(share * len(ranked)) - 1] / 1_000_000 for share in (0.5, 0.9))
    return Lengths(len(ranked), pytest.approx(sum(ranked) / len(ranked) / 1_000_000, rel=1e-12), median, p90)


async def test_an_assessment_leaves_with_the_batch(books: Books) -> None:
    """And is not told again when nothing new is known (Q1)."""
    books.created(CREATED).routed(CREATED).resolved(after(hours=1))
    await books.write(books.messages)
    await books.write(books.messages)
    assert len(await books.rows("select from outbox")) == 1
    assert isinstance(books.messages[0].event, TicketCreated)
