"""The page to read first: which event goes to which handler of quality, and what runs for it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter

from shared.events.envelope import Event, Received
from shared.events.routing import RoutingAssigned, RoutingDeescalated, RoutingEscalated, RoutingRefused
from shared.events.sla import SlaBreached, SlaCancelled, SlaCorrected, SlaMet
from shared.events.ticket import (
    TicketClosed,
    TicketCreated,
    TicketEscalationRequested,
    TicketMessageAdded,
    TicketRated,
    TicketReopened,
    TicketResolved,
    TicketRestricted,
    TicketReviewed,
    TicketSignalsAdded,
    TicketStatusChanged,
    TicketTierChanged,
)
from shared.events.topics import ROUTING, SLA, TICKET
from shared.messaging.consumer import Consumer
from shared.messaging.kafka import Kafka
from shared.messaging.outbox import Relay
from shared.messaging.ticker import Ticker
from shared.messaging.unit_of_work import UnitsOfWork
from shared.runtime.database import Database
from shared.runtime.now import Now
from sla_monitor.domain.quality import Standards
from sla_monitor.quality.api import metrics_routes
from sla_monitor.quality.handlers import (
    concerns,
    on_clock,
    on_routing_assigned,
    on_routing_moved,
    on_routing_refused,
    on_ticket_closed,
    on_ticket_created,
    on_ticket_escalation_requested,
    on_ticket_message_added,
    on_ticket_rated,
    on_ticket_reopened,
    on_ticket_resolved,
    on_ticket_restricted,
    on_ticket_reviewed,
    on_ticket_signals_added,
    on_ticket_status_changed,
    on_ticket_tier_changed,
    settle,
)
from sla_monitor.quality.store import QualityUnit, Summaries
from sla_monitor.quality.timers import EVERY_SECONDS, tell_figures

SUBSCRIPTIONS: Mapping[type[Event], Callable[[Received[Any], QualityUnit], None]] = {
    TicketCreated: on_ticket_created,
    TicketMessageAdded: on_ticket_message_added,
    TicketStatusChanged: on_ticket_status_changed,
    TicketTierChanged: on_ticket_tier_changed,
    TicketSignalsAdded: on_ticket_signals_added,
    TicketEscalationRequested: on_ticket_escalation_requested,
    TicketResolved: on_ticket_resolved,
    TicketReopened: on_ticket_reopened,
    TicketClosed: on_ticket_closed,
    TicketRated: on_ticket_rated,
    TicketReviewed: on_ticket_reviewed,
    TicketRestricted: on_ticket_restricted,
    RoutingAssigned: on_routing_assigned,
    RoutingEscalated: on_routing_moved,
    RoutingDeescalated: on_routing_moved,
    RoutingRefused: on_routing_refused,
    SlaBreached: on_clock,
    SlaMet: on_clock,
    SlaCancelled: on_clock,
    SlaCorrected: on_clock,
}


def build_quality(
    group: str, *, standards: Standards, now: Now, kafka: Kafka, database: Database, relay: Relay
) -> tuple[Consumer[QualityUnit], Ticker, APIRouter]:
    """The consumer, what tells the figures, and the routes. `database` is a pool that the clocks do not use."""
    units = UnitsOfWork(
        database,
        lambda connection, at: QualityUnit(connection, at, standards, settle),
        now=now,
        wake=lambda _: relay.wake(),
    )
    consumer = Consumer(group, [TICKET, ROUTING, SLA], SUBSCRIPTIONS, units, kafka, concerns=concerns)
    summaries = Summaries(database, standards)
    figures = Ticker("figures", partial(tell_figures, summaries, now), every_seconds=EVERY_SECONDS)
    return consumer, figures, metrics_routes(summaries, now)
