"""The HTTP edge of quality: the figures over some tickets."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from shared.events.envelope import Instant
from shared.runtime.http import Problem, require
from shared.runtime.now import Now
from shared.runtime.settings import Scope
from shared.vocabulary import Category, Team, Tier
from sla_monitor.quality.store import Period, Selection, Summaries, Summary

USUAL_SPAN = timedelta(days=30)
LONGEST_SPAN = timedelta(days=400)


def metrics_routes(summaries: Summaries, now: Now) -> APIRouter:
    """`GET /v1/metrics/summary`."""
    router = APIRouter(prefix="/v1/metrics", tags=["metrics"], dependencies=[Depends(require(Scope.TICKETS_READ))])

    @router.get("/summary")
    async def summarise(
        starts_at: Annotated[Instant | None, Query(alias="from")] = None,
        ends_at: Annotated[Instant | None, Query(alias="to")] = None,
        tier: Tier | None = None,
        category: Category | None = None,
        team: Team | None = None,
        period: Period | None = None,
    ) -> Summary:
        """The figures of Q2 and Q3 over the tickets created, or last resolved, in [from, to): the last 30 days by default."""
        as_of = now()
        until = ends_at or as_of
        since = starts_at or _before(until)
        if since > until or until - since > LONGEST_SPAN:
            detail = f"must not be after `to`, nor more than {LONGEST_SPAN.days} days before it"
            raise Problem(422, errors=[{"pointer": "/from", "detail": detail}])
        return await summaries.of(Selection(since, until, tier, category, team, period), as_of)

    return router


def _before(until: datetime) -> datetime:
    try:
        return until - USUAL_SPAN
    except OverflowError:
        return until
