"""The figures of the last 30 days as Prometheus series, read from the tables every minute; every replica tells the same."""

from collections.abc import Iterator
from datetime import timedelta

from prometheus_client import Gauge

from shared.runtime.now import Now
from sla_monitor.quality.store import Figures, Lengths, Selection, Summaries, Summary

SPAN = timedelta(days=30)
EVERY_SECONDS = 60.0

_GROUP = ["dimension", "value"]
"""`all`, or `tier`, `category`, `team` with their words: closed vocabularies."""
RESPONSE = Gauge(
    "support_quality_response_seconds",
    "Time to the first answer, of tickets created in the last 30 days (Q2).",
    [*_GROUP, "time", "statistic"],
)
RESOLUTION = Gauge(
    "support_quality_resolution_seconds",
    "Time to the last resolution without pauses, of tickets resolved in the last 30 days (Q2).",
    [*_GROUP, "time", "statistic"],
)
OLDEST = Gauge("support_quality_unanswered_oldest_seconds", "Age of the oldest ticket without any answer (Q2).", _GROUP)
TICKETS = Gauge(
    "support_quality_tickets", "Tickets of the last 30 days by what became of them (Q2, Q3).", [*_GROUP, "what"]
)
RATIO = Gauge("support_quality_ratio", "Rates of the last 30 days, 0-1 (Q3).", [*_GROUP, "what"])
SCORE = Gauge("support_quality_satisfaction_score", "Mean rating of the last 30 days, 1-5 (Q3).", _GROUP)
LEVEL_RATIO = Gauge(
    "support_quality_level_escalation_ratio",
    "Tickets raised from a level, of those that entered it, 0-1 (Q3).",
    ["category", "level"],
)
_ALL = (RESPONSE, RESOLUTION, OLDEST, TICKETS, RATIO, SCORE, LEVEL_RATIO)


async def tell_figures(summaries: Summaries, now: Now) -> bool:
    """Set the series to what the tables say; what has no value has no series."""
    at = now()
    summary = await summaries.of(Selection(at - SPAN, at), at)
    for gauge in _ALL:
        gauge.clear()
    for group, figures in _groups(summary):
        _tell(group, figures)
    for level in summary.levels:
        LEVEL_RATIO.labels(level.category, level.level).set(level.rate)
    return False


def _groups(summary: Summary) -> Iterator[tuple[tuple[str, str], Figures]]:
    yield ("all", ""), summary.all
    for dimension, groups in (("tier", summary.tiers), ("category", summary.categories), ("team", summary.teams)):
        for value, figures in groups.items():
            yield (dimension, value), figures


def _tell(group: tuple[str, str], figures: Figures) -> None:
    response, resolution, escalation = figures.response, figures.resolution, figures.escalation
    _tell_lengths(RESPONSE, (*group, "elapsed"), response.elapsed)
    _tell_lengths(RESPONSE, (*group, "business"), response.business)
    _tell_lengths(RESOLUTION, (*group, "elapsed"), resolution.elapsed)
    _tell_lengths(RESOLUTION, (*group, "business"), resolution.business)
    counts = {
        "created": escalation.created,
        "answered": response.answered,
        "unanswered": response.unanswered,
        "resolved_unanswered": response.resolved_unanswered,
        "resolved": resolution.resolved,
        "reopened": resolution.reopened,
        "raised": escalation.raised,
        "entered_above": escalation.entered_above,
        "handed_over": escalation.handed_over,
        "rated": figures.satisfaction.rated,
    }
    for what, count in counts.items():
        TICKETS.labels(*group, what).set(count)
    ratios = {
        "escalation": escalation.rate,
        "satisfied": figures.satisfaction.satisfied_share,
        "survey_response": figures.satisfaction.response_rate,
        "first_contact": figures.first_contact.rate,
    }
    for what, ratio in ratios.items():
        _tell_one(RATIO, (*group, what), ratio)
    _tell_one(OLDEST, group, response.oldest_age_seconds)
    _tell_one(SCORE, group, figures.satisfaction.mean)


def _tell_lengths(gauge: Gauge, labels: tuple[str, ...], lengths: Lengths) -> None:
    for statistic in ("mean", "median", "p90"):
        _tell_one(gauge, (*labels, statistic), getattr(lengths, f"{statistic}_seconds"))


def _tell_one(gauge: Gauge, labels: tuple[str, ...], value: float | None) -> None:
    if value is not None:
        gauge.labels(*labels).set(value)
