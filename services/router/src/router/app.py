"""The page to read first: which event goes to which handler, and what runs in this process."""

from collections.abc import Callable, Mapping
from typing import Any

from router.api import ticket_routes
from router.domain.classification import Classifier
from router.handlers import (
    on_ticket_closed,
    on_ticket_created,
    on_ticket_deescalation_requested,
    on_ticket_escalation_requested,
    on_ticket_message_added,
    on_ticket_reclassified,
    on_ticket_reopened,
    on_ticket_resolved,
    on_ticket_restricted,
    on_ticket_signals_added,
    on_ticket_tier_changed,
)
from router.settings import RouterSettings
from router.store import RoutedTickets, RoutingUnit
from shared.events.envelope import Event, Received
from shared.events.ticket import (
    TicketClosed,
    TicketCreated,
    TicketDeescalationRequested,
    TicketEscalationRequested,
    TicketMessageAdded,
    TicketReclassified,
    TicketReopened,
    TicketResolved,
    TicketRestricted,
    TicketSignalsAdded,
    TicketTierChanged,
)
from shared.events.topics import TICKET, Lane
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
from shared.runtime.now import Now
from shared.runtime.settings import ApiKeys

NAME = "router"
GROUP = "support.router"
SUBSCRIPTIONS: Mapping[type[Event], Callable[[Received[Any], RoutingUnit], None]] = {
    TicketCreated: on_ticket_created,
    TicketMessageAdded: on_ticket_message_added,
    TicketReclassified: on_ticket_reclassified,
    TicketSignalsAdded: on_ticket_signals_added,
    TicketTierChanged: on_ticket_tier_changed,
    TicketEscalationRequested: on_ticket_escalation_requested,
    TicketDeescalationRequested: on_ticket_deescalation_requested,
    TicketResolved: on_ticket_resolved,
    TicketReopened: on_ticket_reopened,
    TicketClosed: on_ticket_closed,
    TicketRestricted: on_ticket_restricted,
}


def build(settings: RouterSettings, *, now: Now, kafka: Kafka, bulk: Database, urgent: Database) -> App:
    """The router, wired. What asks for screening leaves over a relay of its own and waits behind nothing (S7)."""
    classifier = Classifier(settings.policy())
    relays = {Lane.BULK: Relay(bulk, kafka, Lane.BULK), Lane.URGENT: Relay(urgent, kafka, Lane.URGENT)}
    units = UnitsOfWork(
        bulk,
        lambda connection, at: RoutingUnit(connection, at, classifier),
        now=now,
        wake=lambda lane: relays[lane].wake(),
    )
    consumer = Consumer(GROUP, [TICKET], SUBSCRIPTIONS, units, kafka)
    waiting = Ticker("waiting", SecondTry(consumer).retry_waiting)
    parts: list[Part] = [consumer, waiting, *relays.values()]
    api = create_api(NAME, keys=ApiKeys(settings.api_keys), checks={part.name: part.failing for part in parts})
    api.include_router(ticket_routes(RoutedTickets(bulk)))
    api.include_router(dead_letter_routes([consumer], bulk))
    return App(api, parts)
