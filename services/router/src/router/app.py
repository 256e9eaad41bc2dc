"""The page to read first: which event goes to which handler, and what runs in this process."""

from collections.abc import Callable, Mapping
from functools import cache, lru_cache, partial
from importlib.resources import files
from typing import Any

from router.api import ticket_routes, workbench_routes
from router.domain.classification import Classifier
from router.domain.model import Model, Parameters
from router.handlers.tickets import (
    on_sla_breached,
    on_sla_clock_ended,
    on_sla_clock_moved,
    on_sla_corrected,
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
    on_ticket_status_changed,
    on_ticket_tier_changed,
)
from router.handlers.workbench import Workbench
from router.settings import RouterSettings
from router.store import RoutedTickets, RoutingUnit
from router.timers import HOUSE_EVERY_SECONDS, assign_waiting, keep_house
from shared.events.envelope import Event, Received
from shared.events.sla import (
    SlaBreached,
    SlaCancelled,
    SlaClockStarted,
    SlaCorrected,
    SlaEvent,
    SlaFulfilledLate,
    SlaMet,
    SlaPaused,
    SlaResumed,
    SlaRetargeted,
)
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
    TicketStatusChanged,
    TicketTierChanged,
)
from shared.events.topics import SLA, TICKET, Lane
from shared.messaging.consumer import Consumer
from shared.messaging.dead_letter_api import dead_letter_routes
from shared.messaging.kafka import Kafka
from shared.messaging.outbox import Relay
from shared.messaging.second_try import SecondTry
from shared.messaging.ticker import Ticker
from shared.messaging.unit_of_work import UnitsOfWork
from shared.policy.model import Policy
from shared.runtime.database import Database
from shared.runtime.http import create_api
from shared.runtime.lifecycle import App, Part
from shared.runtime.now import Now
from shared.runtime.settings import ApiKeys
from shared.vocabulary import Milestone

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
    TicketStatusChanged: on_ticket_status_changed,
    SlaBreached: on_sla_breached,
    SlaCorrected: on_sla_corrected,
    SlaClockStarted: on_sla_clock_moved,
    SlaRetargeted: on_sla_clock_moved,
    SlaResumed: on_sla_clock_moved,
    SlaMet: on_sla_clock_ended,
    SlaFulfilledLate: on_sla_clock_ended,
    SlaCancelled: on_sla_clock_ended,
    SlaPaused: on_sla_clock_ended,
}


def build(settings: RouterSettings, *, now: Now, kafka: Kafka, bulk: Database, urgent: Database) -> App:
    """The router, wired. What asks for screening leaves over a relay of its own and waits behind nothing (S7)."""
    policy = settings.policy()
    classifier = classifier_of(policy)
    relays = {Lane.BULK: Relay(bulk, kafka, Lane.BULK), Lane.URGENT: Relay(urgent, kafka, Lane.URGENT)}
    units = UnitsOfWork(
        bulk,
        lambda connection, at: RoutingUnit(connection, at, classifier),
        now=now,
        wake=lambda lane: relays[lane].wake(),
    )
    consumer = Consumer(GROUP, [TICKET, SLA], SUBSCRIPTIONS, units, kafka, concerns=_concerns(policy))
    tickers = [
        Ticker("waiting", SecondTry(consumer).retry_waiting),
        Ticker("assignment", partial(assign_waiting, units), every_seconds=0.5),
        Ticker("house", partial(keep_house, units), every_seconds=HOUSE_EVERY_SECONDS),
    ]
    parts: list[Part] = [consumer, *tickers, *relays.values()]
    api = create_api(NAME, keys=ApiKeys(settings.api_keys), checks={part.name: part.failing for part in parts})
    routed = RoutedTickets(bulk)
    workbench = Workbench(kafka, routed, SUBSCRIPTIONS, policy, shipped_parameters(), now=now)
    api.include_router(ticket_routes(routed, policy))
    api.include_router(workbench_routes(workbench, routed, classifier_version=classifier.version, now=now))
    api.include_router(dead_letter_routes([consumer], bulk))
    return App(api, parts)


@cache
def shipped_parameters() -> Parameters:
    """The model that ships, as `make model` wrote it."""
    return Parameters.from_bytes((files("router.training") / "model.npz").read_bytes())


@lru_cache(maxsize=4)
def classifier_of(policy: Policy) -> Classifier:
    """The patterns of a policy and the model that ships, read and compiled once a process."""
    return Classifier(policy, Model(shipped_parameters()))


def _concerns(policy: Policy) -> Callable[[Event], bool]:
    """Of the clocks the router needs escalations (L14), and when tickets are due only where somebody is to take them (HD-59)."""
    has_members = bool(policy.routing.members)

    def concerns(event: Event) -> bool:
        if not isinstance(event, SlaEvent):
            return True
        raises = isinstance(event, SlaBreached | SlaCorrected) and event.milestone is Milestone.ESCALATION
        return raises or (has_members and not isinstance(event, SlaBreached))

    return concerns
