"""The page to read first: which event goes to which handler, and what runs in this process."""

from collections.abc import Callable, Mapping
from typing import Any

from shared.events.envelope import Event, Received
from shared.events.routing import RoutingAssigned, RoutingDeescalated, RoutingEscalated
from shared.events.ticket import (
    TicketAcknowledged,
    TicketClosed,
    TicketCreated,
    TicketMessageAdded,
    TicketReopened,
    TicketResolved,
    TicketRestricted,
    TicketStatusChanged,
    TicketTierChanged,
)
from shared.events.topics import ROUTING, TICKET, Lane
from shared.messaging.consumer import Consumer
from shared.messaging.dead_letter_api import dead_letter_routes
from shared.messaging.kafka import Kafka
from shared.messaging.outbox import Relay
from shared.messaging.second_try import SecondTry
from shared.messaging.ticker import Ticker
from shared.messaging.unit_of_work import UnitsOfWork
from shared.runtime.database import Database
from shared.runtime.http import create_api
from shared.runtime.lifecycle import App, Part
from shared.runtime.now import Monotonic, Now, machine_monotonic
from shared.runtime.settings import ApiKeys
from sla_monitor.api import clock_routes, what_if_routes
from sla_monitor.domain.quality import Standards
from sla_monitor.handlers import (
    on_routing_assigned,
    on_routing_moved,
    on_ticket_acknowledged,
    on_ticket_closed,
    on_ticket_created,
    on_ticket_message_added,
    on_ticket_reopened,
    on_ticket_resolved,
    on_ticket_restricted,
    on_ticket_status_changed,
    on_ticket_tier_changed,
)
from sla_monitor.handlers.what_if import WhatIf
from sla_monitor.quality.app import build_quality
from sla_monitor.settings import SlaMonitorSettings
from sla_monitor.store import ClockedTickets, Rulebook, SlaUnit, Timers
from sla_monitor.timers import Deadlines, Watchdog

NAME = "sla-monitor"
GROUP = "support.sla-monitor"
QUALITY_GROUP = "support.sla-monitor.quality"
SUBSCRIPTIONS: Mapping[type[Event], Callable[[Received[Any], SlaUnit], None]] = {
    TicketCreated: on_ticket_created,
    TicketMessageAdded: on_ticket_message_added,
    TicketAcknowledged: on_ticket_acknowledged,
    TicketStatusChanged: on_ticket_status_changed,
    TicketTierChanged: on_ticket_tier_changed,
    TicketResolved: on_ticket_resolved,
    TicketReopened: on_ticket_reopened,
    TicketClosed: on_ticket_closed,
    TicketRestricted: on_ticket_restricted,
    RoutingAssigned: on_routing_assigned,
    RoutingEscalated: on_routing_moved,
    RoutingDeescalated: on_routing_moved,
}


def build(
    settings: SlaMonitorSettings,
    *,
    now: Now,
    kafka: Kafka,
    bulk: Database,
    urgent: Database,
    monotonic: Monotonic = machine_monotonic,
) -> App:
    """The sla-monitor, wired. Nothing of it is urgent: incidents have their own clocks in the safety bridge (L6).

    Quality has the other pool to itself, so that the clocks never wait for it.
    """
    policy, rules = settings.policy(), settings.rules()
    book = Rulebook(rules)
    relay = Relay(bulk, kafka, Lane.BULK)
    units = UnitsOfWork(
        bulk,
        lambda connection, at: SlaUnit(connection, at, book),
        now=now,
        wake=lambda _: relay.wake(),
    )
    consumer = Consumer(GROUP, [TICKET, ROUTING], SUBSCRIPTIONS, units, kafka)
    waiting = Ticker("waiting", SecondTry(consumer).retry_waiting)
    looks = Deadlines(units, monotonic=monotonic)
    watchdog = Watchdog(Timers(bulk), now=now, monotonic=monotonic, is_held=looks.is_held)
    deadlines = Ticker("deadlines", looks.look, every_seconds=0.5)
    watching = Ticker("watchdog", watchdog.look, every_seconds=5.0)
    quality, figures, metrics = build_quality(
        QUALITY_GROUP,
        standards=Standards(policy, rules.calendar),
        now=now,
        kafka=kafka,
        database=urgent,
        relay=relay,
    )
    parts: list[Part] = [consumer, waiting, deadlines, watching, quality, figures, relay]
    checks = {part.name: part.failing for part in parts if part is not figures}
    checks[deadlines.name] = lambda: deadlines.failing() or watchdog.failing()
    api = create_api(
        NAME,
        keys=ApiKeys(settings.api_keys),
        checks=checks,
        degraded={figures.name: figures.failing, "looks": watchdog.unwell, "machine_clock": looks.why_held},
    )
    tickets = ClockedTickets(bulk, book)
    api.include_router(clock_routes(tickets, now))
    api.include_router(what_if_routes(WhatIf(tickets, units, policy, now=now)))
    api.include_router(metrics)
    api.include_router(dead_letter_routes([consumer, quality], bulk))
    return App(api, parts)
